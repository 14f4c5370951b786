//! The numbered rules of `docs/resolution.md`: what cites one finds it, and each has somebody who holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::tree;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Rules by number, with how often code, tests and scenarios cite them.
fn citations(rules: &BTreeSet<String>) -> Result<BTreeMap<String, usize>, String> {
    let mut counts: BTreeMap<String, usize> = rules.iter().map(|rule| (rule.clone(), 0)).collect();
    let folders = ["ecr-forecast/src", "src", "tests", "benches"].map(|folder| Path::new(ROOT).join(folder));
    let files = folders.iter().flat_map(|folder| tree::files(folder, &["rs", "yaml", "md"]));
    for path in files.filter(|path| !path.ends_with("it/resolution.rs")) {
        for rule in rules_in(&std::fs::read_to_string(&path).unwrap()) {
            match counts.get_mut(&rule) {
                Some(count) => *count += 1,
                None => return Err(format!("{} cites {rule}, which docs/resolution.md does not have", path.display())),
            }
        }
    }
    Ok(counts)
}

/// Every `RES-` with its number. The rules of the engine, `IAM-RES-…`, stand elsewhere.
fn rules_in(text: &str) -> Vec<String> {
    let number = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let cited = text.match_indices("RES-").filter(|(at, _)| !text[..*at].ends_with('-'));
    let numbers = cited.map(|(at, found)| number(&text[at + found.len()..]));
    numbers.filter(|number| !number.is_empty()).map(|number| format!("RES-{number}")).collect()
}

#[test]
fn each_rule_has_a_source_and_is_cited_and_each_citation_has_its_rule() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/resolution.md")).unwrap();
    // A rule is a list item that may go over several lines.
    let rules: Vec<&str> = page.split("\n- **").skip(1).map(|item| item.split("\n#").next().unwrap()).collect();
    let mut numbers = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let number = format!("RES-{}", index + 1);
        assert!(rule.starts_with(&format!("{number}** ")), "out of order: {rule}");
        let last = rule.trim_end().rsplit(['.', ';']).next().unwrap().trim();
        assert!(last.eq_ignore_ascii_case("ours") || last.ends_with('*'), "{number} has no source: {last}");
        numbers.insert(number);
    }
    let counts = citations(&numbers).unwrap();
    let silent: Vec<&String> = counts.iter().filter(|(_, count)| **count == 0).map(|(rule, _)| rule).collect();
    assert!(silent.is_empty(), "nobody cites {silent:?}");
}

#[test]
fn a_citation_is_found_wherever_it_stands() {
    assert_eq!(rules_in("see RES-1, RES-12; RES-x, IAM-RES-3"), ["RES-1", "RES-12"]);
    assert!(citations(&BTreeSet::from(["RES-1".to_owned()])).unwrap_err().contains("does not have"));
}
