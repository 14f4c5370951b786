//! Rules about the source that the compiler does not enforce: the direction of dependencies inside the crate, no clock
//! and no I/O where verdicts are made, and a doc at the head of every file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::tree;

/// What a module at the top of the crate may use of its siblings. `ARCHITECTURE.md` draws the picture.
const MAY_USE: &[(&str, &[&str])] = &[
    // How texts of strangers are shown: of use to all, and knows nothing.
    ("text", &[]),
    // The types of the Kubernetes API know nothing but themselves.
    ("api", &["text", "policy"]),
    // What the spec of a policy object says.
    ("policy", &["text"]),
    // What is true of ECR without Kubernetes.
    ("ecr", &[]),
    ("inventory", &["policy", "ecr"]),
    ("puller", &["policy", "ecr", "inventory"]),
    ("forecast", &["text", "policy", "ecr", "inventory", "puller"]),
    ("index", &["text", "api", "policy", "ecr", "inventory", "puller", "forecast", "runtime"]),
    // Servers, leases, metrics and signals of any operator: what it serves comes in by parameters.
    ("runtime", &["text"]),
    // The outermost: they may use all of the above, and not each other.
    ("controller", &["text", "api", "policy", "ecr", "inventory", "puller", "forecast", "index", "runtime"]),
    ("webhook", &["text", "api", "policy", "ecr", "inventory", "puller", "forecast", "index", "runtime"]),
    (
        "cli",
        &[
            "text",
            "api",
            "policy",
            "ecr",
            "inventory",
            "puller",
            "forecast",
            "index",
            "runtime",
            "controller",
            "webhook",
        ],
    ),
];

/// The modules that make verdicts: the same input gives the same bytes, so they may not look around.
const PURE: &[&str] = &["text", "policy", "ecr", "inventory", "puller", "forecast"];

/// Crates that do I/O, wait, or write logs: not for pure modules.
const IMPURE_CRATES: &[&str] = &[
    "anyhow",
    "axum",
    "clap",
    "futures",
    "hyper",
    "hyper_util",
    "kube",
    "prometheus_client",
    "rcgen",
    "rustls",
    "tokio",
    "tokio_rustls",
    "tokio_util",
    "tower",
    "tracing",
];

#[test]
fn dependencies_point_inward() {
    let mut found = Vec::new();
    for file in code("src") {
        if let Some(module) = top_module(&file.path) {
            found
                .extend(direction(&module, file.depth, &file.text).iter().map(|what| format!("{}: {what}", file.path)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_module_at_the_top_has_its_rule() {
    let in_source: BTreeSet<String> = sources("src").iter().filter_map(|file| top_module(&file.path)).collect();
    let in_rules: BTreeSet<String> = MAY_USE.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(in_source, in_rules);
}

#[test]
fn verdicts_are_made_without_clock_and_input() {
    let mut found = Vec::new();
    for file in code("src") {
        if top_module(&file.path).is_some_and(|module| PURE.contains(&module.as_str())) {
            found.extend(impurities(&file.text).iter().map(|what| format!("{}: {what}", file.path)));
        }
    }
    for file in code("iam-verdict/src") {
        found.extend(impurities(&file.text).iter().map(|what| format!("{}: {what}", file.path)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Which characters of a stranger's text are shown is said once, or one way to show it forgets one of them.
#[test]
fn only_one_module_says_which_characters_are_harmless() {
    let others: Vec<String> =
        code("src").into_iter().filter(|file| file.path != "src/text.rs").flat_map(|file| suspects(&file)).collect();
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
    let missing: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("iam-verdict/src"))
        .filter(|file| !begins_with_doc(&file.text))
        .map(|file| file.path)
        .collect();
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
fn top_module(path: &str) -> Option<String> {
    let module = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    (module != "lib" && module != "main").then(|| module.to_owned())
}

/// What `module` uses of the crate and may not.
fn direction(module: &str, depth: usize, text: &str) -> Vec<String> {
    let allowed = MAY_USE.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, allowed)| *allowed);
    let mut found = Vec::new();
    for path in paths(&tokens(text)) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let used = match path.first().map(String::as_str) {
            Some("crate" | "ecr_access") => path.get(1),
            Some("super") if supers >= depth => path.get(supers),
            _ => None,
        };
        if let Some(used) = used
            && used != module
            && !allowed.contains(&used.as_str())
        {
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
            [first, ..] if IMPURE_CRATES.contains(first) => true,
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
            direction("ecr", 2, "use crate::forecast::Report;"),
            ["`ecr` may not use `crate::forecast::Report`"]
        );
        assert_eq!(
            direction("api", 2, "fn f() { super::super::ecr::f() }"),
            ["`api` may not use `super::super::ecr::f`"]
        );
        assert_eq!(direction("puller", 1, "use super::index::Index;"), ["`puller` may not use `super::index::Index`"]);
        assert_eq!(
            direction("runtime", 2, "use crate::{runtime::a, webhook};"),
            ["`runtime` may not use `crate::webhook`"]
        );
        assert_eq!(direction("webhook", 2, "use crate::controller::x;").len(), 1);
        assert_eq!(direction("nowhere", 1, "use crate::api::x;").len(), 1);
    }

    #[test]
    fn the_right_direction_and_tests_pass() {
        let nothing: [String; 0] = [];
        assert_eq!(direction("forecast", 1, "use crate::ecr::judge; use super::puller::Puller;"), nothing);
        assert_eq!(direction("ecr", 2, "use super::image; use crate::ecr::arn;"), nothing);
        assert_eq!(direction("ecr", 2, "#[cfg(test)]\nmod tests {\n use crate::cli; }"), nothing);
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
            "fn f() { tracing::info!(\"x\") }",
            "fn f() { println!(\"x\") }",
            "async fn f() { tokio::spawn(g()) }",
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
        assert_eq!(top_module("src/ecr/image.rs").as_deref(), Some("ecr"));
        assert_eq!(top_module("src/forecast.rs").as_deref(), Some("forecast"));
        assert_eq!(top_module("src/lib.rs"), None);
    }
}
