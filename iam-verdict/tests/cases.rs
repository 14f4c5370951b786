//! Replays `tests/data/cases.jsonl`: 422 requests with the decision that AWS documents for them. The context of a case
//! is complete, so that every decision is definite.

mod support;

use iam_verdict::evaluate;
use serde_json::Value;

#[test]
fn every_case_gives_the_expected_decision() {
    let text = include_str!("data/cases.jsonl");
    let mut wrong = Vec::new();
    let mut right = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let (env, request) = support::case(&case).expect("a case has the documented form");
        let outcome = evaluate(&env, &request);
        if outcome.decision.as_str() == case["expected"] {
            right += 1;
        } else {
            wrong.push(format!("{}: {} instead of {}", case["id"], outcome.decision, case["expected"]));
        }
    }
    println!("{right} cases right, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(right, 422);
}
