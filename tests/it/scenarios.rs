//! Every scenario of `tests/data/scenarios` through `ecr-access check -o json`, and what must be true of any report.
//!
//! `SCENARIO=word` runs those whose file or name has the word, `SCENARIOS_OUT=DIR` writes them as manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::check::{hold, program, schema};
use crate::scenario::{self, Scenario};

#[test]
fn every_scenario_has_its_report() {
    let word = std::env::var("SCENARIO").unwrap_or_default();
    let all = scenario::all();
    let chosen: Vec<&Scenario> = all.iter().filter(|scenario| scenario.title().contains(&word)).collect();
    assert!(!chosen.is_empty(), "no scenario has `{word}` in its name");
    if let Some(folder) = std::env::var_os("SCENARIOS_OUT") {
        chosen.iter().for_each(|scenario| write(Path::new(&folder), scenario));
    }
    let schema = schema();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let wrong = run(scenario, &schema);
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push(told(scenario, &wrong));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios differ:\n\n{}",
        failures.len(),
        chosen.len(),
        failures.join("\n\n")
    );
}

#[test]
fn there_are_enough_and_each_has_its_near_miss() {
    let all = scenario::all();
    let first = all.iter().filter(|scenario| scenario.misses.is_none());
    let pairs = all.iter().filter(|scenario| scenario.misses.is_some()).count();
    assert!(first.clone().count() >= 150 && pairs >= 500, "{} scenarios, {pairs} near misses", first.count());
    // A near miss that is told the same as its scenario shows little; most must differ.
    for scenario in first {
        let misses =
            all.iter().filter(|other| other.file == scenario.file && other.misses.as_ref() == Some(&scenario.name));
        let differs = misses.into_iter().any(|miss| {
            format!("{:?}", miss.expect.verdict) != format!("{:?}", scenario.expect.verdict)
                || miss.expect.summary() != scenario.expect.summary()
        });
        assert!(differs, "{}: no near miss is told otherwise", scenario.title());
    }
    let verdicts: BTreeSet<&str> = all.iter().filter_map(|scenario| scenario.expect.verdict.as_deref()).collect();
    assert_eq!(verdicts, BTreeSet::from(["Allow", "Deny", "NotSelected", "Unknown"]));
}

fn run(scenario: &Scenario, schema: &Value) -> Vec<String> {
    let mut args = vec!["check", "-f", "-", "-o", "json", "--at", &scenario.now];
    args.extend(scenario.args.iter().map(String::as_str));
    let run = program(Path::new("."), &args, &serde_json::to_vec(&scenario.list()).unwrap());
    let report: Value = match serde_json::from_str(&run.stdout) {
        Ok(report) => report,
        Err(error) => return vec![format!("no report ({error}): {}", run.stderr)],
    };
    let mut wrong = scenario.expect.differences(&report, run.code);
    hold(schema, schema, &report, "$", &mut wrong);
    for result in report["results"].as_array().into_iter().flatten() {
        invariants(result, &mut wrong);
    }
    wrong
}

/// What holds for every report, whatever was asked (design sections 3.7, 6.1.9, 11).
fn invariants(result: &Value, wrong: &mut Vec<String>) {
    let images = result["images"].as_array().unwrap();
    let is = |image: &Value, verdict: &str| image["verdict"] == verdict;
    let folded = match () {
        () if result["verdict"] == "NotSelected" => "NotSelected",
        () if images.iter().any(|image| is(image, "Deny")) => "Deny",
        () if images.iter().any(|image| is(image, "Unknown")) => "Unknown",
        () => "Allow",
    };
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("always: {what}"));
        }
    };
    must(result["verdict"] == folded, "the verdict is folded from those of the images");
    for image in images {
        let missing = image["missing"].as_array().unwrap();
        must(is(image, "Unknown") != missing.is_empty(), "what is missing is told of an Unknown, and of nothing else");
        let message = image["message"].as_str().unwrap();
        let first = message.lines().next().unwrap_or_default();
        must(!first.is_empty() && first.len() <= 400, "line 1 has 1 to 400 bytes");
        must(message.len() <= 900, "a message has at most 900 bytes");
        must(!message.chars().any(|c| c.is_control() && c != '\n'), "a message has no control characters");
        let open = is(image, "Deny") || is(image, "Unknown");
        must(open == image["cause"].is_string(), "a Deny and an Unknown have a cause, and nothing else has");
        if is(image, "Deny") {
            let container = image["container"].as_str().unwrap();
            must(message.contains(container) && message.contains("fix"), "a Deny names the container and the fix");
            must(!image["fix"].as_array().unwrap().is_empty(), "a Deny has a fix, if only `None` with the reason");
        }
        for candidate in image["candidates"].as_array().unwrap() {
            candidates(image, candidate, &mut must);
        }
    }
}

fn candidates(image: &Value, candidate: &Value, must: &mut impl FnMut(bool, &str)) {
    let decisions = candidate["decisions"].as_array().unwrap();
    let has = |word: &str| decisions.iter().any(|decision| decision["decision"] == word);
    let denied = has("ExplicitlyDenied") || has("ImplicitlyDenied");
    if candidate["verdict"] == "Deny" && image["reason"] == "ActionDenied" {
        must(denied, "a candidate is denied by a decision");
    }
    if candidate["verdict"] == "Allow" {
        must(!denied, "an allowed candidate has no decision against it");
        for action in ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"] {
            let allowed = |decision: &Value| decision["action"] == action && decision["decision"] == "Allowed";
            must(decisions.iter().any(allowed), "an allowed candidate is allowed all three actions of a pull");
        }
    }
    for decision in decisions {
        let resource = decision["resource"].as_str().unwrap();
        let login = decision["action"] == "ecr:GetAuthorizationToken";
        must(login == (resource == "*"), "login alone is asked on `*`");
        if decision["decision"] == "ExplicitlyDenied" {
            let told = decision["layer"].is_string() && decision["statement"].is_string();
            must(told, "an explicit deny names its layer and statement");
        }
        if decision["decision"] == "ImplicitlyDenied" {
            must(decision["layer"].is_string(), "an implicit deny names its layer");
        }
    }
}

/// A failure as a person wants it: what differs, and the input to try it with.
fn told(scenario: &Scenario, wrong: &[String]) -> String {
    let mut command = format!("ecr-access check -f - --at {}", scenario.now);
    scenario.args.iter().for_each(|argument| command.push_str(&format!(" {argument}")));
    format!(
        "{}\n    {}\n    try: SCENARIO='{}' SCENARIOS_OUT=out cargo test --test it scenarios; {command}",
        scenario.title(),
        wrong.join("\n    "),
        scenario.name
    )
}

/// The scenario as manifests, for `ecr-access check -f`.
fn write(folder: &Path, scenario: &Scenario) {
    let folder = folder.join(&scenario.file);
    fs::create_dir_all(&folder).unwrap();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
    let name: String = scenario.name.chars().map(plain).collect();
    let documents: Vec<String> =
        scenario.objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect();
    fs::write(folder.join(format!("{name}.yaml")), documents.join("---\n")).unwrap();
}
