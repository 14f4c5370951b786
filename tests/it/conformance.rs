//! The conformance cases of the engine, through the code of `ecr-access evaluate`.

use std::collections::BTreeMap;

use ecr_access::cli::evaluate::{Body, answer};
use serde_json::Value;

const CASES: &str = include_str!("../../iam-verdict/tests/data/cases.jsonl");

/// Whether a case needs what the engine may still call Unknown: a `Condition` or a policy variable.
///
/// Judged on the text, so a case is never excused by accident of parsing.
fn may_be_unknown(line: &str) -> bool {
    line.contains("\"Condition\"") || line.contains("${")
}

#[test]
fn every_case_has_the_expected_decision_or_an_honest_unknown() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut open = Vec::new();
    let mut cases = 0_usize;
    for line in CASES.lines().filter(|line| !line.trim().is_empty()) {
        cases += 1;
        let case: Value = serde_json::from_str(line).unwrap();
        let id = case["id"].as_str().unwrap();
        let expected = case["expected"].as_str().unwrap();
        let answer = answer(line, false);
        assert_eq!(
            answer.id.map(|id| id.get().to_owned()),
            Some(case["id"].to_string()),
            "the answer carries the line's id"
        );
        match answer.body {
            Body::Decision { decision: "Unknown", missing, .. } => {
                *counts.entry("unknown".to_owned()).or_default() += 1;
                if missing.is_empty() {
                    wrong.push(format!("{id}: Unknown without a missing fact"));
                }
                if !may_be_unknown(line) {
                    open.push(format!("{id}: expected {expected}, got Unknown ({})", missing.join(", ")));
                }
            }
            Body::Decision { decision, .. } if decision == expected => {
                *counts.entry(format!("right {decision}")).or_default() += 1;
            }
            Body::Decision { decision, layer, policy, .. } => {
                wrong.push(format!("{id}: expected {expected}, got {decision} by {layer:?} {policy:?}"));
            }
            other => wrong.push(format!("{id}: {other:?}")),
        }
    }
    println!("{cases} cases: {counts:?}, {} wrong, {} open that should not be", wrong.len(), open.len());
    assert!(cases > 400, "the case file is not read whole: {cases}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(open.is_empty(), "{} Unknown without a condition:\n{}", open.len(), open.join("\n"));
}
