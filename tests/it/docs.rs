//! The documents against what they describe: output that a page shows was recorded, a manifest that it shows is valid, a
//! target or a file that it names is there.

use std::fs;
use std::path::{Path, PathBuf};

use ecr_forecast::policy::{self, PolicyKind};
use serde_json::Value;

use crate::check::program;
use crate::tree;

const PAGES: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a page, with the word behind the fence.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(word), None) => open = Some((word.to_owned(), String::new())),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

#[test]
fn output_that_the_readme_shows_was_recorded() {
    let demo = read("docs/demo.txt");
    let shown: Vec<String> =
        blocks(&read("README.md")).into_iter().map(|(_, text)| text).filter(|text| text.starts_with("$ ")).collect();
    assert!(shown.len() >= 2, "{shown:?}");
    for text in shown {
        assert!(demo.contains(&text), "not in docs/demo.txt, as `make demo-record` wrote it:\n{text}");
    }
}

#[test]
fn manifests_that_pages_show_are_valid() {
    let mut seen = 0;
    let pages = ["README.md", "docs/exemptions.md"].map(read);
    for (word, text) in pages.iter().flat_map(|page| blocks(page)) {
        if word != "yaml" {
            continue;
        }
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        let kind = match object["kind"].as_str() {
            Some("EcrAccessPolicy") => PolicyKind::EcrAccessPolicy,
            Some("ClusterEcrAccessPolicy") => PolicyKind::ClusterEcrAccessPolicy,
            other => panic!("{other:?} in\n{text}"),
        };
        let problems = policy::validate(kind, &object);
        assert!(problems.is_empty(), "{problems:?} in\n{text}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn the_config_map_that_its_page_shows_lets_pull() {
    let (_, shown) = blocks(&read("docs/configmaps.md")).into_iter().find(|(word, _)| word == "yaml").unwrap();
    let rest = "---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: api, namespace: payments}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-0, namespace: payments}, spec: {serviceAccountName: api, containers: [
  {name: app, image: '111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1'}]}}
";
    let run = program(Path::new("."), &["check", "-f", "-", "-o", "json"], format!("{shown}{rest}").as_bytes());
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["summary"]["allow"], &report["problems"], run.code), (&1.into(), &Value::Array(vec![]), 0));
}

#[test]
fn targets_that_pages_name_are_there() {
    let makefile = read("Makefile");
    let targets: Vec<&str> =
        makefile.lines().filter(|line| line.contains(" ## ")).filter_map(|line| line.split(':').next()).collect();
    let mut seen = 0;
    for page in PAGES {
        let text = read(page);
        for rest in text.split("make ").skip(1) {
            // `make demo`, not the verb: only in code.
            let before = &text[..rest.as_ptr() as usize - text.as_ptr() as usize - "make ".len()];
            if !before.ends_with(['`', '\n']) {
                continue;
            }
            let target: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            assert!(targets.contains(&target.as_str()), "{page} names `make {target}`, which the Makefile has not");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

/// A defence is claimed by naming the test that shows it.
#[test]
fn tests_that_the_threat_model_names_are_there() {
    let sources: Vec<(PathBuf, String)> =
        ["ecr-forecast/src", "src", "tests"].iter().flat_map(|folder| sources(&root().join(folder))).collect();
    let mut seen = 0;
    for line in read("docs/threat-model.md").lines() {
        for name in line.split('`').skip(1).step_by(2).filter(|code| code.contains("::")) {
            let (module, test) = name.rsplit_once("::").unwrap();
            let is_there = sources.iter().any(|(path, text)| {
                let inside = path.with_extension("").iter().any(|part| part == module);
                inside && text.contains(&format!("fn {test}(")) || text.contains(&format!("\"{name}\""))
            });
            assert!(is_there, "docs/threat-model.md names the test `{name}`, which is not there");
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    tree::files(folder, &["rs"]).into_iter().map(read).collect()
}

#[test]
fn files_that_pages_link_to_are_there() {
    let mut seen = 0;
    for page in PAGES {
        for rest in read(page).split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(Path::new(&root().join(target)).exists(), "{page} links to {target}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}
