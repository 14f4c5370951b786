//! Holds `docs/iam-semantics.md`, the cases and the code together by the numbers of the rules.

#![allow(clippy::expect_used, clippy::string_slice)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rule numbers in a text: `IAM-`, letters, `-`, digits.
fn citations(text: &str) -> BTreeSet<String> {
    text.split("IAM-")
        .skip(1)
        .filter_map(|rest| {
            let group: String = rest.chars().take_while(char::is_ascii_uppercase).collect();
            let number: String =
                rest[group.len()..].strip_prefix('-')?.chars().take_while(char::is_ascii_digit).collect();
            (!group.is_empty() && !number.is_empty()).then(|| format!("IAM-{group}-{number}"))
        })
        .collect()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).expect("the file can be read"));
        }
    }
}

#[test]
fn every_rule_has_a_case_and_every_citation_a_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("../docs/iam-semantics.md")).expect("the rules can be read");
    let rules: BTreeSet<String> = document
        .lines()
        .filter(|line| line.starts_with("- **IAM-"))
        .flat_map(|line| citations(line).into_iter().take(1))
        .collect();
    assert!(rules.len() > 40, "{rules:?}");
    let cases = citations(include_str!("data/own.jsonl"));
    let without: Vec<_> = rules.difference(&cases).collect();
    assert!(without.is_empty(), "rules without a case: {without:?}");
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    let cited: BTreeSet<String> = citations(&code).union(&cases).cloned().collect();
    let unknown: Vec<_> = cited.difference(&rules).collect();
    assert!(unknown.is_empty(), "citations of no rule: {unknown:?}");
}
