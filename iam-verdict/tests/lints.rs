//! Holds `docs/lints.md` and the lints together: each is documented, its first document has it, the second has not.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

use iam_verdict::{ActionFacts, LintId, Linter, MAX_LINTS, PolicyType, ServiceFacts, Severity, problems};

const DOCUMENT: &str = include_str!("../../docs/lints.md");

const FACTS: &[ServiceFacts<'static>] = &[ServiceFacts {
    prefix: "ecr",
    actions: &[
        ActionFacts { name: "GetAuthorizationToken", resource_level: false, keys: &[] },
        ActionFacts { name: "BatchGetImage", resource_level: true, keys: &["aws:ResourceTag/", "ecr:ResourceTag/"] },
        ActionFacts { name: "TagResource", resource_level: true, keys: &["aws:RequestTag/", "aws:TagKeys"] },
    ],
}];

struct Section<'a> {
    id: &'a str,
    text: &'a str,
    examples: Vec<(PolicyType, String)>,
}

fn sections() -> Vec<Section<'static>> {
    DOCUMENT
        .split("\n## `")
        .skip(1)
        .map(|section| {
            let (id, text) = section.split_once("`\n").expect("a heading is an id");
            let examples = text.split("```json").skip(1).map(example).collect();
            Section { id, text, examples }
        })
        .collect()
}

fn example(block: &str) -> (PolicyType, String) {
    let (kind, rest) = block.split_once('\n').expect("a block has lines");
    let kind = if kind.is_empty() { "identity" } else { kind.trim() };
    let body = rest.split("```").next().expect("a block ends").trim().replace("PAD", &"p".repeat(2000));
    let whole = body.contains("\"Statement\"");
    let text = if whole { body } else { format!(r#"{{"Version": "2012-10-17", "Statement": {body}}}"#) };
    (PolicyType::from_word(kind).expect("a policy type"), text)
}

fn ids(kind: PolicyType, text: &str) -> Vec<&'static str> {
    Linter::new(kind).services(FACTS).lint(text).iter().map(|lint| lint.id.as_str()).collect()
}

#[test]
fn every_lint_is_documented_in_order() {
    let documented: Vec<&str> = sections().iter().map(|section| section.id).collect();
    let all: Vec<&str> = LintId::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(documented, all);
    for (section, id) in sections().iter().zip(LintId::ALL) {
        let word = if id.severity() == Severity::Warning { "Warning" } else { "Note" };
        assert!(section.text.starts_with(word), "{} should start with {word}", section.id);
    }
}

#[test]
fn the_first_example_has_the_lint_and_the_second_has_not() {
    for section in sections() {
        let [(kind, with), (other, without)] = section.examples.as_slice() else {
            panic!("{}: {} examples", section.id, section.examples.len())
        };
        let found = ids(*kind, with);
        assert!(found.contains(&section.id), "{}: {found:?} in {with}", section.id);
        let found = ids(*other, without);
        assert!(!found.contains(&section.id), "{} in {without}", section.id);
    }
}

/// The near misses are good documents: nothing is wrong with them, or only what the twin shares.
#[test]
fn the_examples_are_documents_that_aws_takes() {
    for section in sections() {
        for (kind, text) in &section.examples {
            // The one lint about something that only stored documents have.
            if section.id != "allow-not-principal" {
                assert_eq!(problems(*kind, text), [], "{}", section.id);
            }
        }
    }
}

#[test]
fn facts_are_needed_for_what_needs_facts() {
    for section in sections() {
        let needs = section.text.lines().next().is_some_and(|line| line.contains("*(facts)*"));
        let (kind, text) = &section.examples[0];
        let without = iam_verdict::lint(*kind, text);
        assert_eq!(without.iter().any(|lint| lint.id.as_str() == section.id), !needs, "{}", section.id);
    }
}

#[test]
fn paths_messages_and_hints() {
    let text = r#"{"Version": "2012-10-17", "Statement": [
        {"Sid": "Login", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "arn:aws:ecr:*:*:repository/a"},
        {"Effect": "Allow", "Action": "ecr:BatchGetImages", "Resource": "*",
         "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalTag/team": ["a", "b*"]}}}]}"#;
    let shown: Vec<String> =
        Linter::new(PolicyType::Identity).services(FACTS).lint(text).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "warning `$.Statement[0].Action[0]`: `ecr:GetAuthorizationToken` knows no resources: this statement never grants it (give it a statement with `\"Resource\": \"*\"`) [needs-star-resource]",
            "warning `$.Statement[1].Action`: `ecr:BatchGetImages` is no action of its service (did you mean `ecr:BatchGetImage`?) [unknown-action]",
            "warning `$.Statement[1].Condition.StringNotEqualsIfExists[\"aws:PrincipalTag/team\"][1]`: `StringNotEqualsIfExists` compares literally: `*` in `b*` is a star (use `StringNotLikeIfExists`, or write `${*}` where a star is meant) [wildcard-in-exact-value]",
        ]
    );
}

#[test]
fn contradictions_of_each_kind() {
    let statement = |conditions: &str| {
        format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Deny", "Action": "a:b", "Resource": "*", "Condition": {{{conditions}}}}}}}"#
        )
    };
    for (conditions, expected) in [
        (r#""StringEquals": {"aws:username": ["a", "b"]}, "StringNotEquals": {"aws:Username": ["b", "a", "c"]}"#, true),
        (r#""StringEquals": {"aws:username": ["a", "b"]}, "StringNotEquals": {"aws:username": "a"}"#, false),
        (r#""StringEqualsIfExists": {"aws:username": "a"}, "StringNotEqualsIfExists": {"aws:username": "a"}"#, false),
        (
            r#""NumericLessThan": {"aws:MultiFactorAuthAge": 5}, "NumericGreaterThan": {"aws:MultiFactorAuthAge": 5}"#,
            true,
        ),
        (
            r#""NumericLessThanEquals": {"aws:MultiFactorAuthAge": 5}, "NumericGreaterThanEquals": {"aws:MultiFactorAuthAge": 5}"#,
            false,
        ),
        (
            r#""NumericLessThan": {"aws:MultiFactorAuthAge": [1, 9]}, "NumericGreaterThan": {"aws:MultiFactorAuthAge": 5}"#,
            false,
        ),
        (
            r#""DateLessThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"}, "DateGreaterThan": {"aws:CurrentTime": "1717200000"}"#,
            true,
        ),
        (
            r#""DateLessThan": {"aws:CurrentTime": "2025-01-01T00:00:00Z"}, "DateGreaterThan": {"aws:CurrentTime": "1717200000"}"#,
            false,
        ),
        (r#""Null": {"aws:username": "true"}, "StringLikeIfExists": {"aws:username": "a"}"#, false),
        (r#""Null": {"aws:username": "true"}, "ForAnyValue:StringNotEquals": {"aws:username": "a"}"#, true),
        (r#""Null": {"aws:username": "true"}, "ForAllValues:StringEquals": {"aws:username": "a"}"#, false),
    ] {
        let found = ids(PolicyType::Identity, &statement(conditions)).contains(&"contradictory-conditions");
        assert_eq!(found, expected, "{conditions}");
    }
}

#[test]
fn shadows_respect_principals_conditions_and_negation() {
    for (deny, expected) in [
        (r#""Principal": "*", "Action": "ecr:*""#, true),
        (r#""Principal": {"AWS": "111122223333"}, "Action": "*""#, true),
        (r#""Principal": {"AWS": "444455556666"}, "Action": "*""#, false),
        (r#""Principal": "*", "Action": "ecr:Put*""#, false),
        (r#""Principal": "*", "NotAction": "ecr:Put*""#, false),
        (r#""Principal": "*", "NotAction": "*""#, false),
        (r#""Principal": "*", "Action": "*", "Condition": {"Null": {"aws:SourceVpc": "true"}}"#, false),
    ] {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Deny", {deny}}},
                {{"Effect": "Allow", "Principal": {{"AWS": "111122223333"}}, "Action": "ecr:BatchGetImage"}}]}}"#
        );
        assert_eq!(ids(PolicyType::Resource, &text).contains(&"shadowed-allow"), expected, "{deny}");
    }
}

/// What an `Allow` with `NotAction` allows, only `*` covers.
#[test]
fn shadows_of_what_is_not_listed() {
    for (deny, expected) in [("*", true), ("iam:*", false)] {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Deny", "Action": "{deny}", "Resource": "*"}},
                {{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}}]}}"#
        );
        assert_eq!(ids(PolicyType::Identity, &text).contains(&"shadowed-allow"), expected, "{deny}");
    }
}

#[test]
fn near_misses_that_need_more_than_one_entry() {
    let identity = |fields: &str| {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", {fields}}}}}"#);
        ids(PolicyType::Identity, &text)
    };
    // A pattern that also matches an action with resource-level support has an effect.
    let arn = r#""Resource": "arn:aws:ecr:*:*:repository/a""#;
    assert_eq!(identity(&format!(r#""Action": "ecr:*Get*", {arn}"#)), [""; 0]);
    assert_eq!(identity(&format!(r#""Action": "ecr:GetAuth*", {arn}"#)), ["needs-star-resource"]);
    assert_eq!(identity(r#""Action": "ecr:GetAuth*", "NotResource": "arn:aws:ecr:*:*:repository/a""#), [""; 0]);
    // Of two equal entries one is named.
    assert_eq!(identity(r#""Action": ["a:b", "A:B"], "Resource": "*""#), ["redundant-entry"]);
    // `Null` asks for presence, of any number of values.
    let null = r#""Action": "a:b", "Resource": "*", "Condition": {"Null": {"aws:TagKeys": "false"}}"#;
    assert_eq!(identity(null), [""; 0]);
}

#[test]
fn documents_that_aws_owns_have_no_quota() {
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Action": "a:{}", "Resource": "*"}}}}"#,
        "b".repeat(7000)
    );
    assert_eq!(ids(PolicyType::Identity, &text), ["quota"]);
    assert_eq!(Linter::new(PolicyType::Identity).aws_owned().lint(&text), []);
    assert_eq!(problems(PolicyType::Identity, &text), []);
    // White space does not count.
    let spaced = format!(
        r#"{{"Version": "2012-10-17", {}"Statement": {{"Effect": "Allow", "Action": "a:b", "Resource": "*"}}}}"#,
        " ".repeat(7000)
    );
    assert_eq!(ids(PolicyType::Identity, &spaced), [""; 0]);
}

#[test]
fn what_cannot_be_read_has_no_lints_and_many_are_cut() {
    assert_eq!(ids(PolicyType::Identity, "{"), [""; 0]);
    assert_eq!(ids(PolicyType::Identity, r#"{"Statement": [{"Effect": "Deny"}]}"#), [""; 0]);
    let statement = r#"{"Effect":"Deny","NotAction":"*","Resource":"*"}"#;
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, vec![statement; 200].join(","));
    let found = ids(PolicyType::Identity, &text);
    assert_eq!(found.len(), MAX_LINTS);
    // Notes stand back: of eighty equal entries fifty are named, and then still the warning.
    let twice = r#""a:b""#;
    let entries = vec![twice; 80].join(",");
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":[{entries}],"Resource":"*"}},{statement}]}}"#
    );
    let found = ids(PolicyType::Identity, &text);
    assert_eq!(found.iter().filter(|id| **id == "redundant-entry").count(), MAX_LINTS / 2);
    assert_eq!(found.last(), Some(&"matches-nothing"));
}

#[test]
fn ids_are_unique_words() {
    let words: BTreeSet<&str> = LintId::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(words.len(), LintId::ALL.len());
    assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
}
