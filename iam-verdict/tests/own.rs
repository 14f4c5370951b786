//! Cases of our own, by rule: what must be Unknown and what must not, and where other evaluators err.

mod support;

use iam_verdict::{Decision, evaluate, missing};
use serde_json::Value;

#[test]
fn every_case_gives_the_expected_decision() {
    let text = include_str!("data/own.jsonl");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let (env, request) = support::case(&case).expect("a case has the documented form");
        let outcome = evaluate(&env, &request);
        count += 1;
        if outcome.decision.as_str() != case["expected"] {
            wrong.push(format!(
                "{} ({}): {} instead of {}",
                case["id"], case["rule"], outcome.decision, case["expected"]
            ));
        }
        for (field, found) in
            [("layer", outcome.layer.map(|layer| layer.as_str())), ("statement", outcome.statement.as_deref())]
        {
            if let Some(expected) = case.get(field)
                && found != expected.as_str()
            {
                wrong.push(format!("{}: {field} {found:?} instead of {expected}", case["id"]));
            }
        }
        let facts = missing(&env, &request);
        assert_eq!(facts.facts.is_empty(), outcome.decision != Decision::Unknown, "{}: {facts:?}", case["id"]);
        if let Some(expected) = case["missing"].as_array() {
            let expected: Vec<&str> = expected.iter().filter_map(Value::as_str).collect();
            if facts.facts != expected || !facts.minimal {
                wrong.push(format!("{}: missing {facts:?} instead of {expected:?}", case["id"]));
            }
        }
    }
    println!("{} of {count} cases right", count - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 60);
}
