//! Soundness and exactness of Unknown: random policies over two open keys, against every filling of a list that holds
//! all values the policies can tell apart.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use iam_verdict::{Context, Decision, Environment, Fact, NamedPolicy, Policy, Principal, Request, decide, missing};

/// A small generator of pseudo-random numbers (xorshift), so that a failure is repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }
}

const KEYS: [&str; 2] = ["aws:PrincipalTag/a", "aws:TagKeys"];
/// Whatever the patterns below can tell apart, and texts that none of them knows.
const TEXTS: [&str; 26] = [
    "", "a", "b", "A", "B", "ab", "AB", "ba", "abc", "cab", "cb", "xab", "aa", "zzz", "ac", "bb", "axb", "xaxx", "a*",
    "*b", "*a*", "?b", "A*", "*B", "*A*", "?B",
];

/// Two conditions on the list at most: then two values of it show all there is to see.
fn condition(random: &mut Random, lists: bool) -> String {
    let negated = random.pick(&["Not", ""]);
    let operator = random.pick(&["Equals", "Like", "Like", "EqualsIgnoreCase"]);
    let value = random.pick(&["a", "b", "a*", "*b", "*a*", "?b", "ab"]);
    let suffix = random.pick(&["IfExists", "", ""]);
    match if lists { random.below(6) } else { 5 } {
        0 => format!(r#"{{"Null": {{"{}": "{}"}}}}"#, random.pick(&KEYS), random.pick(&["true", "false"])),
        1 | 2 => {
            let set = random.pick(&["ForAllValues:", "ForAnyValue:"]);
            format!(r#"{{"{set}String{negated}{operator}{suffix}": {{"aws:TagKeys": ["{value}"]}}}}"#)
        }
        _ => format!(r#"{{"String{negated}{operator}{suffix}": {{"aws:PrincipalTag/a": ["{value}"]}}}}"#),
    }
}

fn environment(random: &mut Random) -> (Environment, String) {
    let statements: Vec<String> = (0..1 + random.below(3))
        .map(|index| {
            let effect = random.pick(&["Allow", "Allow", "Deny"]);
            format!(
                r#"{{"Effect": "{effect}", "Action": "a:b", "Resource": "*", "Condition": {}}}"#,
                condition(random, index < 2)
            )
        })
        .collect();
    let policy = Policy::parse(&format!(r#"{{"Statement": [{}]}}"#, statements.join(","))).expect("well formed");
    let env = Environment { identity: vec![NamedPolicy::known("p", policy)], ..Environment::default() };
    (env, statements.join("\n"))
}

fn request(tag: Fact, keys: Fact) -> Request {
    Request {
        principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
        action: "a:b".into(),
        resource: "*".into(),
        context: Context::new().with(KEYS[0], tag).with(KEYS[1], keys),
    }
}

#[test]
fn definite_decisions_hold_for_every_filling_and_unknown_ones_do_not() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut singles = vec![Fact::Absent];
    singles.extend(TEXTS.iter().map(|text| Fact::value(*text)));
    let mut lists = singles.clone();
    for (index, a) in TEXTS.into_iter().enumerate() {
        for b in TEXTS.into_iter().skip(index + 1) {
            lists.push(Fact::Values(vec![a.into(), b.into()]));
        }
    }
    let mut unknown = 0;
    for round in 0..20 {
        let (env, statements) = environment(&mut random);
        let open = request(Fact::Unknown, Fact::Unknown);
        let decision = decide(&env, &open);
        let mut allowed = 0;
        let mut explicit = 0;
        let mut all = 0;
        for tag in &singles {
            for keys in &lists {
                all += 1;
                match decide(&env, &request(tag.clone(), keys.clone())) {
                    Decision::Allowed => allowed += 1,
                    Decision::ExplicitlyDenied => explicit += 1,
                    Decision::ImplicitlyDenied => {}
                    Decision::Unknown => panic!("round {round}: Unknown although every fact is given"),
                }
            }
        }
        let expected = if allowed == all {
            Decision::Allowed
        } else if allowed > 0 {
            Decision::Unknown
        } else if explicit == all {
            Decision::ExplicitlyDenied
        } else {
            Decision::ImplicitlyDenied
        };
        assert_eq!(decision, expected, "round {round}: {statements}");
        if decision == Decision::Unknown {
            unknown += 1;
            settles(&env, &singles, &lists, &missing(&env, &open).facts);
        }
    }
    assert!(unknown > 4, "{unknown}");
}

/// Whatever the missing facts turn out to be, the decision is definite.
fn settles(env: &Environment, singles: &[Fact], lists: &[Fact], facts: &[String]) {
    let fill = |key: &str, all: &[Fact]| {
        if facts.iter().any(|fact| fact.eq_ignore_ascii_case(key)) { all.to_vec() } else { vec![Fact::Unknown] }
    };
    for tag in fill(KEYS[0], singles) {
        for keys in fill(KEYS[1], lists) {
            assert_ne!(decide(env, &request(tag.clone(), keys)), Decision::Unknown, "{facts:?}");
        }
    }
}
