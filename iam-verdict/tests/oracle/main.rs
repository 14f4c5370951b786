//! The engine against the naive evaluator `iam-oracle`, over generated environments (`docs/iam-semantics.md`).
//!
//! Some thousand environments by default; `ORACLE_ENVIRONMENTS` and `ORACLE_SEED` set another number and another start
//! (`make differential`). A difference is printed as a line of `ecr-access evaluate`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod fill;
mod generate;
mod line;
mod plain;
mod random;

use iam_verdict::{Decision, decide, evaluate, missing};
use serde_json::Value;

use fill::Open;
use random::Random;

/// Fillings up to which all are looked at.
const FILLINGS: usize = 400;

#[derive(Default, Debug)]
struct Tally {
    environments: usize,
    allowed: usize,
    explicit: usize,
    implicit: usize,
    unknown: usize,
    /// Cases with open facts that are definite all the same.
    settled: usize,
    /// Judged over every filling.
    exact: usize,
    /// Too many fillings or facts: some of them.
    sampled: usize,
    /// Unknown although every filling that was found agrees, for a reason that IAM-UNK-3 names.
    excepted: usize,
    minimal: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.environments += other.environments;
        self.allowed += other.allowed;
        self.explicit += other.explicit;
        self.implicit += other.implicit;
        self.unknown += other.unknown;
        self.settled += other.settled;
        self.exact += other.exact;
        self.sampled += other.sampled;
        self.excepted += other.excepted;
        self.minimal += other.minimal;
    }
}

/// What the readings have in common.
fn fold(all: &[(Vec<usize>, Decision)]) -> Decision {
    let allowed = all.iter().filter(|(_, decision)| *decision == Decision::Allowed).count();
    if allowed == all.len() {
        Decision::Allowed
    } else if allowed > 0 {
        Decision::Unknown
    } else if all.iter().all(|(_, decision)| *decision == Decision::ExplicitlyDenied) {
        Decision::ExplicitlyDenied
    } else {
        Decision::ImplicitlyDenied
    }
}

fn check(case: &Value, random: &mut Random, tally: &mut Tally) -> Result<(), String> {
    let (env, request) = line::read(case);
    let got = evaluate(&env, &request).decision;
    if decide(&env, &request) != got {
        return Err(format!("`decide` says {}, `evaluate` {got}", decide(&env, &request)));
    }
    tally.environments += 1;
    match got {
        Decision::Allowed => tally.allowed += 1,
        Decision::ExplicitlyDenied => tally.explicit += 1,
        Decision::ImplicitlyDenied => tally.implicit += 1,
        Decision::Unknown => tally.unknown += 1,
    }
    let open = Open::new(case);
    let every = open.count() <= FILLINGS;
    let all = if every { open.all() } else { open.some(random, 100) };
    let expected = fold(&all);
    tally.settled += usize::from(open.facts() > 0 && got != Decision::Unknown);
    // Soundness: no filling contradicts.
    if got != Decision::Unknown {
        let contradicts = |decision: Decision| match got {
            Decision::Allowed | Decision::ExplicitlyDenied => decision != got,
            _ => decision == Decision::Allowed,
        };
        if let Some((chosen, decision)) = all.iter().find(|(_, decision)| contradicts(*decision)) {
            return Err(format!("{got}, but {decision} with {}", open.show(chosen)));
        }
    }
    if !every || open.facts() > 6 {
        tally.sampled += 1;
        return Ok(());
    }
    tally.exact += 1;
    if got != expected {
        if open.excepted {
            tally.excepted += 1;
            return Ok(());
        }
        return Err(format!("{got} instead of {expected}, over {} fillings", all.len()));
    }
    let facts = missing(&env, &request);
    if (got == Decision::Unknown) == facts.facts.is_empty() {
        return Err(format!("{got}, missing {facts:?}"));
    }
    if got == Decision::Unknown && facts.minimal {
        if open.unsettled(&all, &facts.facts) {
            return Err(format!("missing {:?} does not settle", facts.facts));
        }
        for left_out in &facts.facts {
            let fewer: Vec<String> = facts.facts.iter().filter(|fact| *fact != left_out).cloned().collect();
            if !open.unsettled(&all, &fewer) && !open.excepted {
                return Err(format!("missing {:?}, but {fewer:?} settles", facts.facts));
            }
        }
        tally.minimal += 1;
    }
    Ok(())
}

fn run(seed: u64, count: usize, keep_going: usize) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut differences = Vec::new();
    for index in 0..count {
        // Each case has a seed of its own, so that one can be repeated alone.
        let mut random = Random::new(seed.wrapping_add(index as u64));
        let mut case = generate::case(&mut random);
        case["id"] = Value::String(format!("seed {}", seed.wrapping_add(index as u64)));
        if let Err(difference) = check(&case, &mut random, &mut tally) {
            differences.push(format!("{difference}\n{case}\n"));
            if differences.len() > keep_going {
                break;
            }
        }
    }
    (tally, differences)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_difference_between_engine_and_oracle() {
    let count = usize::try_from(number("ORACLE_ENVIRONMENTS", 1_200)).expect("fits");
    let seed = number("ORACLE_SEED", 1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    let share = count.div_ceil(threads);
    let results: Vec<(Tally, Vec<String>)> = std::thread::scope(|scope| {
        let start = |thread: usize| scope.spawn(move || run(seed + (thread * share) as u64, share, 20));
        let handles: Vec<_> = (0..threads).map(start).collect();
        handles.into_iter().map(|handle| handle.join().expect("a thread ends")).collect()
    });
    let mut tally = Tally::default();
    results.iter().for_each(|(one, _)| tally.add(one));
    println!("{tally:?}");
    let differences: Vec<&String> = results.iter().flat_map(|(_, differences)| differences).collect();
    let shown: Vec<&str> = differences.iter().take(12).map(|text| text.as_str()).collect();
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), shown.join("\n"));
    // The run tells something: each decision is a healthy share, and so are the hard cases.
    let share = |part: usize| part * 100 / tally.environments;
    let shares = [tally.allowed, tally.explicit, tally.implicit, tally.unknown].map(share);
    assert!(shares.iter().all(|share| *share >= 8), "{shares:?} of a hundred");
    assert!(share(tally.settled) >= 5 && share(tally.exact) >= 90, "{tally:?}");
    assert!(tally.excepted * 100 <= tally.unknown * 4, "{tally:?}");
}

/// The naive evaluator is not the engine's shadow: it gives the decision that AWS documents, by itself.
#[test]
fn the_oracle_decides_the_documented_cases() {
    let mut count = 0;
    for line in include_str!("../data/cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        // Everything is known, so that there is one filling.
        let [(_, decision)] = &Open::new(&case).all()[..] else { panic!("{} leaves something open", case["id"]) };
        assert_eq!(decision.as_str(), case["expected"], "{}", case["id"]);
        count += 1;
    }
    assert_eq!(count, 422);
}
