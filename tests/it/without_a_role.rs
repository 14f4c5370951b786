//! Which files declare IAM policies in `puller.serviceAccount.identity` for service accounts that have no role. They make
//! none: a kubelet pulls with the node's role there, so whatever is not about this declares nodes or annotates the service
//! account, and what is about it stands in [`ABOUT_IT`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::tree;

/// The files, and what each is about.
const ABOUT_IT: &[(&str, &str)] = &[
    ("ecr-forecast/src/policy/documents.rs", "every place where a policy stands: nobody pulls"),
    ("ecr-forecast/src/policy/decode.rs", "a spec that is not understood: nobody pulls"),
    ("src/controller/status.rs", "what conditions say of a spec: nobody pulls"),
    ("src/webhook/policies.rs", "what is wrong with documents when they are applied: nobody pulls"),
    ("tests/it/withholding.rs", "clusters of every kind, by chance"),
];

/// How such a declaration is named from outside of it.
const WORDS: &[&str] = &["(spec.puller.serviceAccount.identity)", "/serviceAccount/identity\""];

/// How the annotation of a service account that has a role is named: as it is, or as `fixtures` calls it.
const ANNOTATION: &[&str] = &["eks.amazonaws.com/ecr-role-arn", "ROLE_ANNOTATION"];

#[test]
fn service_accounts_without_a_role_are_where_they_are_the_point() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let about_it = |file: &PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        let found = path != file!() && takes_an_identity_for_the_account(path, &fs::read_to_string(file).unwrap());
        found.then(|| path.to_owned())
    };
    let found: Vec<String> = files(root).iter().filter_map(about_it).collect();
    let listed = |path: &str| ABOUT_IT.iter().any(|(known, _)| *known == path);
    let more: Vec<&String> = found.iter().filter(|path| !listed(path)).collect();
    assert!(more.is_empty(), "declare nodes, or annotate the service account with its role, in {more:?}");
    let less: Vec<&str> =
        ABOUT_IT.iter().map(|(path, _)| *path).filter(|path| !found.iter().any(|f| f == path)).collect();
    assert!(less.is_empty(), "no longer about a service account without a role, so off the list: {less:?}");
}

/// The project's own texts, but for what was made by chance or by a build.
fn files(root: &Path) -> Vec<PathBuf> {
    let own = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        !name.starts_with('.') && !["target", "fuzz"].contains(&name)
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(own).collect();
    paths.sort();
    let below = |path: PathBuf| match path.is_dir() {
        true => tree::files(&path, &["rs", "yaml", "json", "md", "txt", "sh"]),
        false => Some(path).filter(|path| path.extension().is_some_and(|end| end == "md")).into_iter().collect(),
    };
    paths.into_iter().flat_map(below).collect()
}

fn takes_an_identity_for_the_account(path: &str, text: &str) -> bool {
    (declares_identity(text) && !ANNOTATION.iter().any(|name| text.contains(name)))
        || WORDS.iter().any(|word| tests_of(path, text).contains(word))
}

/// `serviceAccount` with `identity` first in it, as YAML, JSON, or either in a string of Rust.
fn declares_identity(text: &str) -> bool {
    let bare = |text: &str| -> String {
        text.chars().filter(|c| !c.is_whitespace() && !['"', '\\'].contains(c)).take(":{identity:".len()).collect()
    };
    let after = |text: &str| [":identity:", ":{identity:"].iter().any(|form| bare(text).starts_with(form));
    text.split("serviceAccount").skip(1).any(after)
}

/// Of the program's source its tests alone: the program itself has to know.
fn tests_of<'a>(path: &str, text: &'a str) -> &'a str {
    let is = |name: &str| path.split('/').any(|part| part == name);
    if is("src") && !is("tests") && !is("tests.rs") {
        text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests)
    } else {
        text
    }
}
