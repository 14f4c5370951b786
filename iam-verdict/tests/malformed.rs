//! Bad documents with everything that is said about them: `tests/data/malformed.jsonl`, one a line, with the error of
//! `Policy::parse` (null where evaluation reads the document) and all problems of the validator. After a change of
//! messages, `UPDATE_GOLDEN=1 cargo test -p iam-verdict --test malformed` rewrites the file: read its diff as a
//! stranger would.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::Path;

use iam_verdict::{MAX_PROBLEMS, Policy, PolicyType, lint, problems, validate};
use serde_json::{Value, json};

fn recorded() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/malformed.jsonl")
}

fn answer(case: &Value) -> Value {
    let kind = case["type"].as_str().and_then(PolicyType::from_word).expect("a policy type");
    let document = case["document"].as_str().expect("a document");
    let said: Vec<String> = problems(kind, document).iter().map(ToString::to_string).collect();
    json!({
        "name": case["name"], "type": case["type"], "document": document,
        "parse": Policy::parse(document).err().map(|error| error.to_string()),
        "problems": said,
    })
}

#[test]
fn every_message_is_as_recorded() {
    let text = std::fs::read_to_string(recorded()).expect("the file can be read");
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let now: String = cases.iter().map(|case| format!("{}\n", answer(case))).collect();
    golden::hold(recorded(), &now);
    let names: BTreeSet<&str> = cases.iter().filter_map(|case| case["name"].as_str()).collect();
    assert!(names.len() == cases.len() && cases.len() >= 100, "{} names of {}", names.len(), cases.len());
}

#[test]
fn every_document_is_refused_and_the_first_problem_is_the_validators_answer() {
    let text = std::fs::read_to_string(recorded()).expect("the file can be read");
    for case in text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON")) {
        let kind = case["type"].as_str().and_then(PolicyType::from_word).expect("a policy type");
        let document = case["document"].as_str().expect("a document");
        let all = problems(kind, document);
        assert_eq!(validate(kind, document).err().as_ref(), all.first(), "{}", case["name"]);
        assert!(!all.is_empty(), "{} is accepted", case["name"]);
        // What evaluation refuses, the validator refuses.
        if Policy::parse(document).is_ok() {
            assert!(lint(kind, document).len() < 100, "{}", case["name"]);
        }
    }
}

/// One statement over and over, around a list.
fn statements(statement: &str, count: usize) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, vec![statement; count].join(","))
}

/// Hostile documents: each ends (a quadratic check would not), each in an answer of bounded size.
#[test]
fn hostile_documents_end_in_short_answers() {
    let million = 1_000_000;
    let inside = |fields: &str| {
        format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"a:b","Resource":"*",{fields}}}}}"#)
    };
    let many = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let documents = [
        ("lists", "[".repeat(million)),
        ("objects", r#"{"a":"#.repeat(200_000)),
        ("closed lists", format!("{}{}", "[".repeat(500_000), "]".repeat(500_000))),
        ("a deep value", inside(&format!(r#""Sid":{}1{}"#, "[".repeat(200), "]".repeat(200)))),
        ("blanks", " ".repeat(million)),
        ("too long", " ".repeat(2 * million)),
        ("statements", statements(r#"{"Effect":"Deny"}"#, 50_000)),
        ("numbers for statements", statements("1", 112_500)),
        ("100,000 statements", statements("{}", 100_000)),
        ("good statements", statements(r#"{"Effect":"Allow","Action":"a:b","Resource":"*"}"#, 5_000)),
        (
            "denies and allows",
            statements(
                r#"{"Effect":"Allow","Action":"a:b","Resource":"*"},{"Effect":"Deny","Action":"a:c","Resource":"*"}"#,
                2_500,
            ),
        ),
        (
            "stars in an action",
            inside("\"NotAction\":\"*\"").replace("a:b", &format!("a:{}", "*".repeat(million - 200))),
        ),
        (
            "stars in a resource",
            inside("\"Sid\":\"\"").replace(r#""*""#, &format!(r#""arn:aws:s3:::{}""#, "*".repeat(million - 200))),
        ),
        (
            "stars and letters",
            inside("\"Sid\":\"\"").replace(r#""*""#, &format!(r#""arn:aws:s3:::{}""#, "*a".repeat(37_500))),
        ),
        ("one key", format!("{{{}}}", vec![r#""a":1"#; 40_000].join(","))),
        ("many keys", format!("{{{}}}", many(20_000, &|index| format!(r#""k{index}":1"#)))),
        ("elements of a statement", inside(&many(20_000, &|index| format!(r#""k{index}":1"#)))),
        ("one Sid", statements(r#"{"Sid":"A","Effect":"Allow","Action":"a:b","Resource":"*"}"#, 4_250)),
        (
            "many Sids",
            format!(
                r#"{{"Statement":[{}]}}"#,
                many(3_750, &|index| format!(r#"{{"Sid":"S{index}","Effect":"Allow","Action":"a:b","Resource":"*"}}"#))
            ),
        ),
        ("a long Sid", inside(&format!(r#""Sid":"{}""#, "-".repeat(225_000)))),
        ("a long element", inside(&format!(r#""{}":1"#, "x".repeat(225_000)))),
        ("a long operator", inside(&format!(r#""Condition":{{"{}":{{}}}}"#, "x".repeat(225_000)))),
        ("a long key", inside(&format!(r#""Condition":{{"StringEquals":{{"{}":"a"}}}}"#, "é".repeat(100_000)))),
        ("a long number", inside(&format!(r#""Sid":{}"#, "1".repeat(225_000)))),
        ("a long version", format!(r#"{{"Version":"{}"}}"#, "1".repeat(225_000))),
        ("control characters", inside(&format!(r#""Sid":"{}""#, "\\u0001".repeat(37_500)))),
        (
            "condition keys",
            inside(&format!(
                r#""Condition":{{"StringEquals":{{{}}}}}"#,
                many(5_000, &|index| format!(r#""aws:k{index}":"v""#))
            )),
        ),
        (
            "one condition key",
            inside(&format!(r#""Condition":{{"StringEquals":{{{}}}}}"#, vec![r#""aws:a":"v""#; 20_000].join(","))),
        ),
        (
            "condition values",
            inside(&format!(r#""Condition":{{"StringEquals":{{"aws:a":[{}]}}}}"#, vec![r#""v*""#; 40_000].join(","))),
        ),
        (
            "addresses",
            inside(&format!(
                r#""Condition":{{"IpAddress":{{"aws:SourceIp":[{}]}}}}"#,
                vec![r#""10.0.0.0/8""#; 17_500].join(",")
            )),
        ),
        ("operators", inside(&format!(r#""Condition":{{{}}}"#, vec![r#""StringEquals":{}"#; 12_500].join(",")))),
        (
            "variables",
            inside("\"Sid\":\"\"").replace(r#""*""#, &format!(r#""arn:aws:s3:::{}""#, "${a:b}".repeat(37_500))),
        ),
        (
            "open variables",
            inside("\"Sid\":\"\"").replace(r#""*""#, &format!(r#""arn:aws:s3:::{}}}""#, "${".repeat(37_500))),
        ),
        (
            "open defaults",
            inside("\"Sid\":\"\"").replace(r#""*""#, &format!(r#""arn:aws:s3:::{}""#, "${a, '".repeat(15_000))),
        ),
        (
            "open variables of the old version",
            inside("\"Sid\":\"\"")
                .replace("2012", "2008")
                .replace(r#""*""#, &format!(r#""arn:aws:s3:::{}""#, "${a".repeat(25_000))),
        ),
        ("colons", inside("\"Sid\":\"\"").replace(r#""*""#, &format!(r#""{}""#, ":".repeat(225_000)))),
        (
            "actions",
            inside("\"Sid\":\"\"")
                .replace(r#""a:b""#, &format!("[{}]", many(7_500, &|index| format!(r#""a:b{index}*""#)))),
        ),
        (
            "resources",
            inside("\"Sid\":\"\"")
                .replace(r#""*""#, &format!("[{}]", many(2_500, &|index| format!(r#""arn:aws:s3:::*{index}*a*""#)))),
        ),
        ("principals", inside(&format!(r#""Principal":{{"AWS":[{}]}}"#, vec![r#""111122223333""#; 15_000].join(",")))),
    ];
    for (name, text) in &documents {
        let kind = if name.contains("principal") { PolicyType::Resource } else { PolicyType::Identity };
        let all = problems(kind, text);
        assert!(all.len() <= MAX_PROBLEMS, "{name}");
        // A document without problems can be read.
        assert!(!all.is_empty() || Policy::parse(text).is_ok(), "{name}");
        for said in all.iter().map(ToString::to_string).chain(lint(kind, text).iter().map(ToString::to_string)) {
            assert!(said.len() < 2000, "{name}: {} bytes: {}", said.len(), said.chars().take(3000).collect::<String>());
        }
        if let Err(error) = Policy::parse(text) {
            assert!(error.to_string().len() < 2000, "{name}");
        }
    }
}
