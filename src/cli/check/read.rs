//! From the paths on the command line to the objects in them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use globset::Glob;
use serde_json::Value;

use super::json;
use super::left_aside::{self, LeftAside};
use super::origin::Origin;
use super::problems::{CheckProblem, Firsts, Problems};
use super::yaml::{self, Document, Expansion, YamlError};

const EMPTY: &str = "there is nothing in it";

/// One value of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Where it stands.
    pub origin: Origin,
    /// What stands there.
    pub value: Value,
}

/// What was read.
#[derive(Debug)]
pub struct Input {
    /// In its order.
    pub loaded: Vec<Loaded>,
    /// What was left aside.
    pub notes: Firsts<String>,
}

/// Reads every path: files as they are named, directories recursively in the order of their names and without what
/// `exclude` matches, `-` as standard input. What cannot be read is a problem, and the rest is read all the same.
pub fn read(paths: &[PathBuf], exclude: &[Glob], problems: &mut Problems) -> Input {
    let mut reading = Reading { loaded: Vec::new(), problems, expansion: Expansion::default(), aside: Vec::new() };
    let mut standard_input = false;
    for path in paths {
        if path.as_os_str() == "-" {
            // A second `-` would read an empty rest.
            if !standard_input {
                standard_input = true;
                let mut bytes = Vec::new();
                match std::io::stdin().lock().read_to_end(&mut bytes) {
                    Ok(_) => {
                        if !reading.text("<stdin>", bytes, None) {
                            reading.problems.push(whole("<stdin>", EMPTY));
                        }
                    }
                    Err(error) => reading.problems.push(whole("<stdin>", &reason(&error))),
                }
            }
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let before = reading.problems.count();
                let mut files = Vec::new();
                walk(path, &mut files, reading.problems);
                let mut any = false;
                let aside = LeftAside::below(path, &files, exclude);
                // A file of comments alone is nothing unusual among others; a directory of nothing is a wrong path.
                for file in &files {
                    match aside.why(file) {
                        Some(why) => reading.aside.push((why, file.display().to_string())),
                        None => any |= reading.file_at(file, true),
                    }
                }
                if !any && before == reading.problems.count() {
                    let message = "there is no manifest in this directory (*.yaml, *.yml, *.json)";
                    reading.problems.push(whole(&path.display().to_string(), message));
                }
            }
            Ok(_) => {
                if !reading.file_at(path, false) {
                    reading.problems.push(whole(&path.display().to_string(), EMPTY));
                }
            }
            Err(error) => reading.problems.push(whole(&path.display().to_string(), &reason(&error))),
        }
    }
    Input { loaded: reading.loaded, notes: left_aside::notes(reading.aside) }
}

/// Manifests below a directory, sorted. Hidden entries are left out: in a mounted ConfigMap they are the same files
/// once more. A link to a directory is not followed, so there is no way into a circle.
fn walk(directory: &Path, files: &mut Vec<PathBuf>, problems: &mut Problems) {
    let entries: Result<Vec<_>, _> = fs::read_dir(directory).and_then(Iterator::collect);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return problems.push(whole(&directory.display().to_string(), &reason(&error))),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, files, problems);
        } else if path.is_file()
            && path
                .extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            files.push(path);
        }
    }
}

/// What was read so far.
struct Reading<'p> {
    loaded: Vec<Loaded>,
    problems: &'p mut Problems,
    expansion: Expansion,
    /// Why something was left aside, and the file.
    aside: Vec<(&'static str, String)>,
}

impl Reading<'_> {
    /// Reads one file, `found` in a directory that was named; false where there is nothing in it.
    fn file_at(&mut self, path: &Path, found: bool) -> bool {
        let name = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => self.text(&name, bytes, found.then_some(path)),
            Err(error) => {
                self.problems.push(whole(&name, &reason(&error)));
                true
            }
        }
    }

    /// Reads the documents of one text; false where there are none. `found` is its path where nobody named the file itself.
    fn text(&mut self, file: &str, bytes: Vec<u8>, found: Option<&Path>) -> bool {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
                self.problems.push(whole(file, &format!("line {line}: not UTF-8 text")));
                return true;
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut number = 0;
        for (result, first_line) in documents(text, &mut self.expansion) {
            let document = match result {
                Ok(Document { value: None, .. }) => continue,
                result => {
                    number += 1;
                    result
                }
            };
            let origin = Origin { document: Some(number), ..Origin::file(file) };
            match document {
                Ok(Document { value: Some(value), .. })
                    if found.is_some_and(|path| left_aside::is_no_manifest(path, &value)) =>
                {
                    self.aside.push(("no `apiVersion` and `kind`", origin.to_string()));
                }
                Ok(Document { value, duplicates }) => {
                    let (duplicates, more) = duplicates.into_parts();
                    for duplicate in duplicates {
                        let at = match duplicate.line {
                            0 => String::new(),
                            line => format!("line {}: ", first_line + line - 1),
                        };
                        let message = format!("{at}the key is given twice; kubectl takes the last one silently");
                        self.problems.push(CheckProblem::new(&origin, None, &duplicate.path, &message));
                    }
                    self.problems.omit(more);
                    self.loaded.extend(value.map(|value| Loaded { origin, value }));
                }
                Err(error) => {
                    let message = format!("line {}: {}", first_line + error.line.max(1) - 1, error.message);
                    self.problems.push(CheckProblem::new(&origin, None, "", &message));
                }
            }
        }
        number > 0
    }
}

/// The words of the operating system without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn whole(file: &str, message: &str) -> CheckProblem {
    CheckProblem::new(&Origin::file(file), None, "", message)
}

/// Splits and reads a text as kubectl does, by what stands in it and not by the name of its file: JSON where it starts with `{`,
/// unless that fails and YAML does not. Each document comes with the line it starts at, from 1.
fn documents(text: &str, expansion: &mut Expansion) -> Vec<(Result<Document, YamlError>, usize)> {
    let Some(inside) = text.trim_start().strip_prefix('{') else { return of_yaml(text, expansion) };
    let (documents, error) = json::parse_stream(text);
    if error.is_some() && documents.len() <= 1 {
        // Flow mappings (`{a: b}`) and JSON objects between `---` lines are YAML that begins like JSON. Where neither reads
        // it, whoever quoted the first key meant JSON.
        let yaml = of_yaml(text, expansion);
        if !inside.trim_start().starts_with('"') || yaml.iter().all(|(document, _)| document.is_ok()) {
            return yaml;
        }
    }
    let error = error.map(|error| (Err(error), 1));
    documents.into_iter().map(|document| (Ok(document), 1)).chain(error).collect()
}

fn of_yaml(text: &str, expansion: &mut Expansion) -> Vec<(Result<Document, YamlError>, usize)> {
    chunks(text)
        .into_iter()
        .map(|(chunk, line)| match chunk {
            Ok(chunk) => (yaml::parse_within(chunk, expansion), line),
            Err(error) => (Err(error), line),
        })
        .collect()
}

/// The text between `---` lines. As for kubectl, only a comment may follow the three hyphens.
fn chunks(text: &str) -> Vec<(Result<&str, YamlError>, usize)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut position) = (0, 1, 0);
    let mut push = |start: usize, end: usize, line: usize| {
        if let Some(chunk) = text.get(start..end)
            && !only_directives(chunk)
        {
            chunks.push((Ok(chunk), line));
        }
    };
    let mut bad = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = position + line.len();
        if let Some(rest) = line.strip_prefix("---") {
            push(start, position, start_line);
            (start, start_line) = (end, index + 2);
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let message = format!("only a comment may follow `---` on its line, not `{rest}`");
                bad.push((index + 1, YamlError { line: 1, message }));
            }
        }
        position = end;
    }
    push(start, text.len(), start_line);
    chunks.extend(bad.into_iter().map(|(line, error)| (Err(error), line)));
    chunks.sort_by_key(|(_, line)| *line);
    chunks
}

/// Whether a chunk is what stands before the first `---` of a file that begins with `%YAML 1.1`.
fn only_directives(chunk: &str) -> bool {
    let mut lines = chunk.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
    lines.peek().is_some() && lines.all(|line| line.starts_with('%'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What there is in it, and whether there is anything.
    fn read_into(input: &str, problems: &mut Problems) -> (Vec<Loaded>, bool) {
        let mut reading = Reading { loaded: Vec::new(), problems, expansion: Expansion::default(), aside: Vec::new() };
        let any = reading.text("f", input.as_bytes().to_vec(), None);
        (reading.loaded, any)
    }

    fn read_text(input: &str) -> (Vec<(String, Value)>, Vec<String>) {
        let mut problems = Problems::default();
        let loaded = read_into(input, &mut problems).0;
        (
            loaded.into_iter().map(|loaded| (loaded.origin.to_string(), loaded.value)).collect(),
            problems.kept().iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn documents_are_counted_without_the_empty_ones() {
        let (loaded, problems) = read_text("---\n# comment\n---\na: 1\n--- # next\n\n---\nb: 2");
        assert_eq!(
            loaded,
            [("f: document 1".to_owned(), json!({"a": 1})), ("f: document 2".to_owned(), json!({"b": 2}))]
        );
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn a_bad_document_leaves_the_others() {
        let (loaded, problems) = read_text("a: 1\n---\nb: [\n---\nc: 3\n---x\nd: 4\n");
        let values: Vec<_> = loaded.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"c": 3}), json!({"d": 4})]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("f: document 2: line "), "{problems:?}");
        assert_eq!(problems[1], "f: document 4: line 6: only a comment may follow `---` on its line, not `x`");
    }

    #[test]
    fn json_streams_and_what_only_looks_like_them() {
        let values = |input| read_text(input).0.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(values("{\"a\": 1}\n{\"b\": 2}"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(values("{a: 1}"), [json!({"a": 1})]);
        assert_eq!(values("{\"a\": 1}\n---\n{\"b\": 2}\n"), [json!({"a": 1}), json!({"b": 2})]);
    }

    #[test]
    fn a_text_may_begin_with_a_mark_or_a_directive_and_end_its_lines_with_two_characters() {
        let values = |input| read_text(input).0.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(values("\u{feff}a: 1\r\n---\r\nb: 2\r\n"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(values("%YAML 1.1\n---\na: 1\n"), [json!({"a": 1})]);
    }

    #[test]
    fn emptiness_is_told() {
        assert!(!read_into("# nothing\n---\n", &mut Problems::default()).1);
    }

    #[test]
    fn a_key_given_twice_is_a_problem_with_its_line() {
        let (loaded, problems) = read_text("x: 1\n---\na: 1\na: 2\n");
        assert_eq!(loaded.len(), 2);
        assert_eq!(
            problems,
            ["f: document 2: `a`: line 4: the key is given twice; kubectl takes the last one silently"]
        );
        let mut problems = Problems::default();
        read_into(&"a: 1\n".repeat(20_000), &mut problems);
        assert_eq!((problems.kept().len(), problems.count()), (100, 19_999));
    }

    #[test]
    fn what_aliases_may_add_is_shared_by_all_documents() {
        let bomb = format!("k: &k {}\nlist: [{}]\n---\n", "x".repeat(100_000), "*k, ".repeat(200));
        let mut problems = Problems::default();
        let (loaded, _) = read_into(&format!("{}last: 1\n", bomb.repeat(20)), &mut problems);
        // Three of them are 60 MB; the fourth goes beyond, and so does every one behind it.
        assert_eq!((loaded.len(), problems.count()), (4, 17));
        assert_eq!(
            problems.kept()[0].to_string(),
            "f: document 4: line 11: the aliases of the input expand to more than 64 MiB of text"
        );
        assert_eq!(loaded.last().map(|loaded| &loaded.value), Some(&json!({"last": 1})));
    }
}
