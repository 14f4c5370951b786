//! Documents that AWS takes: `tests/data/wellformed.jsonl`, the near misses of `malformed.jsonl` among them. A false
//! refusal is as bad as a false acceptance.

#![allow(clippy::expect_used)]

use iam_verdict::{Policy, PolicyType, problems};
use serde_json::Value;

#[test]
fn what_the_grammar_accepts_is_accepted() {
    let text = include_str!("data/wellformed.jsonl");
    let mut refused = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a line is JSON");
        let kind = case["type"].as_str().and_then(PolicyType::from_word).expect("a policy type");
        let document = case["document"].as_str().expect("a document");
        refused.extend(problems(kind, document).iter().map(|problem| format!("{}: {problem}", case["name"])));
        if let Err(error) = Policy::parse(document) {
            refused.push(format!("{}: not read: {error}", case["name"]));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(text.lines().count() >= 80);
}
