//! Holds `docs/iam-semantics.md`, the cases and the code together by the numbers of the rules.
//!
//! `UPDATE_GOLDEN=1 cargo test -p iam-verdict --test rules` writes the list of tests at the end of the page again.

#![allow(clippy::expect_used, clippy::string_slice, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const CASES: &str = include_str!("data/own.jsonl");
/// What the list of tests at the end of the page starts with; all after it is generated.
const LIST: &str = "## Tests by rule\n";

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

/// The Rust files below a folder, by their path from the root.
fn sources(root: &Path, folder: &str, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(folder)).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        let name = format!("{folder}/{}", path.file_name().expect("a name").to_string_lossy());
        if path.is_dir() {
            sources(root, &name, all);
        } else if name.ends_with(".rs") {
            all.insert(name, fs::read_to_string(path).expect("the file can be read"));
        }
    }
}

/// The part of a file that is tests.
fn tests_of<'a>(name: &str, text: &'a str) -> &'a str {
    if name.starts_with("tests/") || name.starts_with("iam-oracle/") || name.ends_with("/tests.rs") {
        text
    } else {
        text.find("#[cfg(test)]\nmod tests {").map_or("", |at| &text[at..])
    }
}

struct Project {
    page: PathBuf,
    document: String,
    files: BTreeMap<String, String>,
    cases: Vec<Value>,
}

impl Project {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = root.join("../docs/iam-semantics.md");
        let document = fs::read_to_string(&page).expect("the rules can be read");
        let mut files = BTreeMap::new();
        for folder in ["src", "tests"] {
            sources(root, folder, &mut files);
        }
        let workspace = root.parent().expect("the crate is in a workspace");
        sources(workspace, "iam-oracle/src", &mut files);
        let cases = CASES.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect();
        Self { page, document, files, cases }
    }

    /// The rules in the order of the page.
    fn rules(&self) -> Vec<(String, &str)> {
        let lines = self.document.lines().filter(|line| line.starts_with("- **IAM-"));
        lines.filter_map(|line| Some((citations(line.split("**").nth(1)?).pop_first()?, line))).collect()
    }

    /// Whether the rule stands under a heading that says it is ours.
    fn is_ours(&self, rule: &str) -> bool {
        let before = self.document.split(&format!("**{rule}**")).next().unwrap_or_default();
        before.lines().rfind(|line| line.starts_with("## ")).is_some_and(|heading| heading.ends_with("(ours)"))
    }

    /// The cases and the files that test a rule.
    fn tests(&self, rule: &str) -> (Vec<&str>, Vec<&str>) {
        let cases = self.cases.iter().filter(|case| case["rule"] == rule).filter_map(|case| case["id"].as_str());
        let files = self.files.iter().filter(|(name, text)| citations(tests_of(name, text)).contains(rule));
        (cases.collect(), files.map(|(name, _)| name.as_str()).collect())
    }

    fn list(&self) -> String {
        let mut list = String::from(LIST);
        list.push_str("\nGenerated: cases of `iam-verdict/tests/data/own.jsonl` by id, then files of `iam-verdict/` that test the rule, and of the naive evaluator in `iam-oracle/`.\n\n");
        for (rule, _) in self.rules() {
            let (cases, files) = self.tests(&rule);
            let files = files.into_iter().map(|file| format!("`{file}`"));
            let all: Vec<String> = cases.into_iter().map(|case| format!("`{case}`")).chain(files).collect();
            writeln!(list, "- {rule}: {}", all.join(", ")).expect("a text can be written to");
        }
        list
    }
}

#[test]
fn every_rule_has_a_number_of_its_own_a_source_and_a_test() {
    let project = Project::read();
    let rules = project.rules();
    assert!(rules.len() > 40, "{rules:?}");
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for (rule, line) in &rules {
        if !seen.insert(rule) {
            wrong.push(format!("{rule} stands twice"));
        }
        let prose: String = line.replace("**", "").split('`').step_by(2).collect();
        // The title of a page is in italics.
        if prose.matches('*').count() < 2 && !prose.to_lowercase().contains("ours") && !project.is_ours(rule) {
            wrong.push(format!("{rule} has no source"));
        }
        let (cases, files) = project.tests(rule);
        if cases.is_empty() && files.is_empty() {
            wrong.push(format!("{rule} has no test"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_citation_names_a_rule() {
    let project = Project::read();
    let rules: BTreeSet<String> = project.rules().into_iter().map(|(rule, _)| rule).collect();
    let cited = project
        .files
        .iter()
        .flat_map(|(name, text)| citations(text).into_iter().map(move |rule| (name.as_str(), rule)));
    let cases = project.cases.iter().map(|case| {
        (case["id"].as_str().expect("a case has an id"), case["rule"].as_str().expect("a case has a rule").to_owned())
    });
    let unknown: Vec<_> = cited.chain(cases).filter(|(_, rule)| !rules.contains(rule)).collect();
    assert!(unknown.is_empty(), "citations of no rule: {unknown:?}");
}

#[test]
fn the_page_lists_the_tests_of_each_rule() {
    let project = Project::read();
    let rules = project.document.split_once(LIST).map_or(project.document.as_str(), |(rules, _)| rules);
    let list = project.list();
    golden::hold(&project.page, &format!("{}\n\n{list}", rules.trim_end()));
}

#[test]
fn each_known_error_of_other_evaluators_has_cases() {
    let project = Project::read();
    let mut ids = BTreeSet::new();
    let mut counts: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for case in &project.cases {
        let id = case["id"].as_str().expect("a case has an id");
        assert!(ids.insert(id), "the id `{id}` stands twice");
        if let Some(number) = case["elsewhere"].as_u64() {
            counts.entry(number).or_default().push(case["expected"].as_str().expect("a case has a decision"));
        }
    }
    for number in 1..=10 {
        let decisions = counts.get(&number).map_or(&[][..], Vec::as_slice);
        let different: BTreeSet<_> = decisions.iter().collect();
        // A twin that just differs shows that the case is right for its reason.
        assert!(decisions.len() >= 3 && different.len() >= 2, "known error {number}: {decisions:?}");
    }
}
