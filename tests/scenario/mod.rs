//! Reads `tests/data/scenarios` and holds reports against what is expected there. The format is told in its `README.md`.
//!
//! Used by the tests of `check` and by those of the cluster, so that both hold the program against the same words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, which `clippy.toml` knows only by `#[test]`"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ecr_access::cli::check::yaml;
use serde_json::{Map, Value, json};

/// When the scenarios are judged, where they do not say.
pub const NOW: &str = "2026-11-23T00:00:00Z";
/// The namespace of every scenario.
pub const NAMESPACE: &str = "payments";
/// The value of `set` that removes a place.
const LEFT_OUT: &str = "(left out)";

/// One cluster with its expected report.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file without its ending.
    pub file: String,
    /// Its name, unique in the file.
    pub name: String,
    /// The scenario that it is a near miss of.
    pub misses: Option<String>,
    /// Files alone can hold it: the API server refuses something in it.
    pub files_only: bool,
    /// The objects, in the order namespace, service account, policies, pod.
    pub objects: Vec<Value>,
    /// Further arguments of `check`.
    pub args: Vec<String>,
    /// When it is judged.
    pub now: String,
    /// What is expected.
    pub expect: Expect,
}

impl Scenario {
    /// Its full name.
    pub fn title(&self) -> String {
        format!("{}: {}", self.file, self.name)
    }

    /// The input of `check`: one `List`.
    pub fn list(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "List", "items": self.objects})
    }

    /// The pod or workload.
    pub fn subject(&self) -> &Value {
        self.objects.last().expect("the subject comes last")
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scenarios")
}

/// Every scenario, in the order of the files and their lines.
pub fn all() -> Vec<Scenario> {
    let common = fs::read_to_string(folder().join("common.yaml")).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        file.extension().is_some_and(|ending| ending == "yaml") && !file.ends_with(Path::new("common.yaml"))
    });
    files.sort();
    files.iter().flat_map(|file| read(file, &common)).collect()
}

fn read(path: &Path, common: &str) -> Vec<Scenario> {
    let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let text = format!("{common}{}", fs::read_to_string(path).unwrap());
    let document = yaml::parse(&text).unwrap_or_else(|error| {
        panic!("{file}: line {}: {}", error.line.saturating_sub(common.lines().count()), error.message)
    });
    assert!(document.duplicates.kept().is_empty(), "{file}: {:?}", document.duplicates);
    let document = document.value.unwrap();
    known(&document, &["define", "start", "paths", "about", "base", "at", "scenarios"], &file);
    let mut places = BTreeMap::new();
    for names in ["paths", "at"] {
        for (name, pointer) in document[names].as_object().into_iter().flatten() {
            places.insert(name.clone(), pointer.as_str().unwrap().to_owned());
        }
    }
    let mut start = document["start"].clone();
    given(&mut start, &document["base"]);
    let reader = Reader { file, places };
    let mut found = Vec::new();
    for scenario in document["scenarios"].as_array().unwrap() {
        let (parts, first) = reader.scenario(&start, scenario, None);
        let name = first.name.clone();
        found.push(first);
        let misses = scenario["but"].as_array().unwrap_or_else(|| panic!("{}: {name} has no near miss", reader.file));
        found.extend(misses.iter().map(|miss| reader.scenario(&parts, miss, Some(&name)).1));
    }
    let names: BTreeSet<&str> = found.iter().map(|scenario| scenario.name.as_str()).collect();
    for name in &names {
        assert_eq!(
            found.iter().filter(|other| other.name == *name).count(),
            1,
            "{}: `{name}` is given twice",
            reader.file
        );
    }
    found
}

struct Reader {
    file: String,
    places: BTreeMap<String, String>,
}

impl Reader {
    fn scenario(&self, parts: &Value, scenario: &Value, misses: Option<&str>) -> (Value, Scenario) {
        let name = scenario["name"].as_str().unwrap_or_else(|| panic!("{}: no name: {scenario}", self.file)).to_owned();
        let title = format!("{}: {name}", self.file);
        known(scenario, &["name", "why", "filesOnly", "given", "set", "expect", "but"], &title);
        let mut parts = parts.clone();
        given(&mut parts, &scenario["given"]);
        let before = parts.clone();
        for (place, value) in scenario["set"].as_object().into_iter().flatten() {
            set(&mut parts, &self.pointer(place, &title), value, &title);
        }
        assert!(misses.is_none() || before != parts || !scenario["given"].is_null(), "{title}: nothing is different");
        let strings = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let found = Scenario {
            file: self.file.clone(),
            misses: misses.map(str::to_owned),
            files_only: scenario["filesOnly"] == true,
            objects: objects(&parts, &title),
            args: strings(&parts["args"]),
            now: parts["now"].as_str().unwrap_or(NOW).to_owned(),
            expect: Expect::read(&scenario["expect"], &title),
            name,
        };
        (parts, found)
    }

    /// The JSON pointer of a place, whose first step may be a name.
    fn pointer(&self, place: &str, title: &str) -> String {
        if place.starts_with('/') {
            return place.to_owned();
        }
        let (name, rest) =
            place.split_once('/').map_or((place, String::new()), |(name, rest)| (name, format!("/{rest}")));
        let pointer = self.places.get(name).unwrap_or_else(|| panic!("{title}: no place is called `{name}`"));
        format!("{pointer}{rest}")
    }
}

fn known(value: &Value, names: &[&str], title: &str) {
    for name in value.as_object().unwrap_or_else(|| panic!("{title}: no mapping: {value}")).keys() {
        assert!(names.contains(&name.as_str()), "{title}: `{name}` is none of {names:?}");
    }
}

fn given(parts: &mut Value, given: &Value) {
    for (name, part) in given.as_object().into_iter().flatten() {
        parts[name] = part.clone();
        // An image of its own replaces a pod, and the other way about.
        match name.as_str() {
            "image" => parts["pod"] = Value::Null,
            "pod" => parts["image"] = Value::Null,
            _ => {}
        }
    }
}

fn set(parts: &mut Value, pointer: &str, value: &Value, title: &str) {
    let mut steps: Vec<String> =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let last = steps.pop().unwrap();
    let mut place = parts;
    for step in steps {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Array(items) => {
                let index: usize = step.parse().unwrap_or_else(|_| panic!("{title}: {pointer}: `{step}` is no index"));
                items.get_mut(index).unwrap_or_else(|| panic!("{title}: {pointer}: nothing at {index}"))
            }
            Value::Object(fields) => fields.entry(step).or_insert(Value::Null),
            other => panic!("{title}: {pointer}: {other} has no parts"),
        };
    }
    let leave_out = value.as_str() == Some(LEFT_OUT);
    if place.is_null() {
        *place = if last.parse::<usize>().is_ok() || last == "-" { json!([]) } else { json!({}) };
    }
    match place {
        Value::Array(items) => {
            let index = if last == "-" { items.len() } else { last.parse().unwrap() };
            assert!(index < items.len() || (index == items.len() && !leave_out), "{title}: {pointer}: no such item");
            if leave_out {
                items.remove(index);
            } else if index == items.len() {
                items.push(value.clone());
            } else {
                items[index] = value.clone();
            }
        }
        Value::Object(fields) if leave_out => {
            assert!(fields.remove(&last).is_some(), "{title}: {pointer} was never there");
        }
        Value::Object(fields) => drop(fields.insert(last, value.clone())),
        other => panic!("{title}: {pointer}: {other} has no parts"),
    }
}

fn objects(parts: &Value, title: &str) -> Vec<Value> {
    known(
        parts,
        &["namespace", "account", "policy", "image", "pod", "podMetadata", "workload", "more", "args", "now"],
        title,
    );
    let mut objects = Vec::new();
    let mut metadata = json!({"name": NAMESPACE});
    if let Some(namespace) = parts["namespace"].as_object() {
        metadata.as_object_mut().unwrap().extend(namespace.clone());
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
    }
    if let Some(account) = parts["account"].as_object() {
        let mut object =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "api", "namespace": NAMESPACE}});
        for (name, value) in account {
            match name.as_str() {
                "labels" | "annotations" => object["metadata"][name] = value.clone(),
                "imagePullSecrets" => object[name] = value.clone(),
                other => panic!("{title}: `{other}` is no part of a service account"),
            }
        }
        objects.push(object);
    }
    if !parts["policy"].is_null() {
        objects.push(json!({"apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
            "metadata": {"name": "pull", "namespace": NAMESPACE}, "spec": parts["policy"]}));
    }
    objects.extend(parts["more"].as_array().into_iter().flatten().cloned());

    let mut spec = match parts["pod"].is_null() {
        false => parts["pod"].clone(),
        true => json!({"containers": [{"name": "app", "image": parts["image"].as_str().expect(title)}]}),
    };
    let fields = spec.as_object_mut().unwrap();
    fields.entry("serviceAccountName").or_insert_with(|| Value::from("api"));
    let mut metadata = json!({"name": "app", "namespace": NAMESPACE});
    for (name, value) in parts["podMetadata"].as_object().into_iter().flatten() {
        metadata[name] = value.clone();
    }
    objects.push(match parts["workload"].as_str() {
        None => json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
        Some(kind) => workload(kind, &metadata, spec),
    });
    objects
}

fn workload(kind: &str, metadata: &Value, mut spec: Value) -> Value {
    let labels = json!({"app": "app"});
    let version = match kind {
        "Job" | "CronJob" => {
            spec["restartPolicy"] = json!("Never");
            "batch/v1"
        }
        "ReplicationController" => "v1",
        _ => "apps/v1",
    };
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let outer = match kind {
        "CronJob" => json!({"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": template}}}),
        "Job" => json!({"template": template}),
        "ReplicationController" => json!({"selector": labels, "template": template}),
        "StatefulSet" => json!({"selector": {"matchLabels": labels}, "serviceName": "app", "template": template}),
        _ => json!({"selector": {"matchLabels": labels}, "template": template}),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": outer})
}

/// What a report must say.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The verdict; none where only what it must not be is told.
    pub verdict: Option<String>,
    not: Vec<String>,
    fields: Map<String, Value>,
    title: String,
}

const VERDICTS: [&str; 5] = ["Allow", "Deny", "Unknown", "NotSelected", "OutOfScope"];
const OF_IMAGES: [&str; 9] =
    ["reason", "cause", "principals", "foundBy", "decisions", "missing", "says", "silent", "field"];

impl Expect {
    fn read(value: &Value, title: &str) -> Self {
        let mut expect = Self { verdict: None, not: Vec::new(), fields: Map::new(), title: title.to_owned() };
        match value {
            Value::String(verdict) => expect.verdict(verdict, &Value::Null),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let word = name.strip_prefix('!').unwrap_or(name);
                    if VERDICTS.contains(&word) {
                        expect.verdict(name, value);
                    } else {
                        let known = ["admission", "policy", "notes", "images", "image", "problems", "exit"];
                        assert!(
                            known.contains(&word) || OF_IMAGES.contains(&word),
                            "{title}: nothing of a report is called `{word}`"
                        );
                        expect.fields.insert(name.clone(), value.clone());
                    }
                }
            }
            other => panic!("{title}: nothing is expected by {other}"),
        }
        assert!(expect.verdict.is_some() || !expect.not.is_empty(), "{title}: no verdict is expected");
        expect
    }

    fn verdict(&mut self, word: &str, value: &Value) {
        match word.strip_prefix('!') {
            Some(word) => self.not.push(word.to_owned()),
            None => {
                assert!(VERDICTS.contains(&word) && self.verdict.is_none(), "{}: `{word}`", self.title);
                self.verdict = Some(word.to_owned());
                if !value.is_null() {
                    let name = if word == "Unknown" { "missing" } else { "decisions" };
                    self.fields.insert(name.to_owned(), value.clone());
                }
            }
        }
    }

    fn texts(&self, name: &str) -> Vec<String> {
        texts(self.fields.get(name))
    }

    /// Everything that is expected, to tell two expectations apart.
    pub fn summary(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    /// Whether problems of the input are expected.
    pub fn has_problems(&self) -> bool {
        self.fields.contains_key("problems")
    }

    /// What the report and the exit code say otherwise; nothing where all is as expected.
    pub fn differences(&self, report: &Value, exit: i32) -> Vec<String> {
        let mut wrong = Vec::new();
        let problems: Vec<String> = report["problems"].as_array().into_iter().flatten().map(problem).collect();
        let expected = self.texts("problems");
        if expected.is_empty() != problems.is_empty() {
            wrong.push(format!("problems: expected {expected:?}, got {problems:?}"));
        }
        for text in &expected {
            if !problems.iter().any(|problem| problem.contains(text.as_str())) {
                wrong.push(format!("problems: `{text}` is in none of {problems:?}"));
            }
        }
        let [result] = report["results"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            wrong.push(format!("one result is expected: {report}"));
            return wrong;
        };
        let verdict = word(&result["verdict"]);
        if let Some(expected) = &self.verdict {
            same(&mut wrong, "verdict", expected, verdict);
        }
        for not in &self.not {
            if verdict == not {
                wrong.push(format!("verdict: must not be {not}"));
            }
        }
        let admission = match verdict {
            "Deny" => "Rejected",
            "Unknown" => "Warned",
            _ => "Admitted",
        };
        let admission = self.fields.get("admission").map_or(admission, word);
        same(&mut wrong, "admission", admission, word(&result["admission"]));
        if let Some(policy) = self.fields.get("policy") {
            same(&mut wrong, "policy", &policy.to_string(), &result["policy"].to_string());
        }
        let notes = texts(result.get("notes"));
        for note in self.texts("notes") {
            match note.strip_prefix('-') {
                Some(note) if notes.iter().any(|other| other == note) => wrong.push(format!("notes: has {note}")),
                None if !notes.contains(&note) => wrong.push(format!("notes: {note} is not among {notes:?}")),
                _ => {}
            }
        }
        let denied = verdict == "Deny" || result["admission"] == "Rejected";
        let code = if problems.is_empty() { i64::from(denied) } else { 2 };
        let code = self.fields.get("exit").map_or(code, |code| code.as_i64().unwrap());
        same(&mut wrong, "exit code", &code.to_string(), &exit.to_string());

        let images = result["images"].as_array().map(Vec::as_slice).unwrap_or_default();
        match self.fields.get("images") {
            Some(expected) => {
                for (container, expected) in expected.as_object().unwrap() {
                    match images.iter().find(|image| image["container"] == *container) {
                        Some(image) => self.image(&mut wrong, container, expected.as_object().unwrap(), image),
                        None => wrong.push(format!("there is no image of {container}")),
                    }
                }
                same(&mut wrong, "images", &expected.as_object().unwrap().len().to_string(), &images.len().to_string());
            }
            None if verdict == "NotSelected" => {}
            None => {
                let [image] = images else {
                    wrong.push(format!("one image is expected, not {}", images.len()));
                    return wrong;
                };
                let mut expected = self.fields.clone();
                let of_image = self.fields.get("image").map_or(verdict, word);
                expected.insert("verdict".to_owned(), Value::from(of_image));
                if !expected.contains_key("reason") && self.verdict.is_some() {
                    let reason = match of_image {
                        "Deny" => "ActionDenied",
                        "Unknown" => "FactsMissing",
                        _ => "Allowed",
                    };
                    expected.insert("reason".to_owned(), Value::from(reason));
                }
                self.image(&mut wrong, "app", &expected, image);
            }
        }
        wrong
    }

    fn image(&self, wrong: &mut Vec<String>, container: &str, expected: &Map<String, Value>, image: &Value) {
        let mut own = Vec::new();
        for name in ["verdict", "reason", "field"] {
            if let Some(expected) = expected.get(name) {
                same(&mut own, name, word(expected), word(&image[name]));
            }
        }
        if let Some(cause) = expected.get("cause").filter(|cause| **cause != "*") {
            same(&mut own, "cause", word(cause), image["cause"].as_str().unwrap_or("none"));
        }
        let candidates = image["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
        if expected.contains_key("principals") {
            let told = |candidate: &Value| format!("{} {}", word(&candidate["principal"]), word(&candidate["verdict"]));
            let actual: Vec<String> = candidates.iter().map(told).collect();
            same(&mut own, "principals", &format!("{:?}", texts(expected.get("principals"))), &format!("{actual:?}"));
        }
        for pattern in texts(expected.get("foundBy")) {
            for candidate in candidates.iter().filter(|candidate| !glob(&pattern, word(&candidate["foundBy"]))) {
                own.push(format!("foundBy: `{}` is not {pattern}", word(&candidate["foundBy"])));
            }
        }
        let decisions: Vec<Vec<&str>> =
            candidates.iter().flat_map(|candidate| candidate["decisions"].as_array().unwrap()).map(decision).collect();
        for line in texts(expected.get("decisions")) {
            let matches = |parts: &Vec<&str>| {
                line.split_whitespace().zip(parts).all(|(expected, actual)| expected == "?" || expected == *actual)
            };
            if !decisions.iter().any(matches) {
                let all: Vec<String> = decisions.iter().map(|parts| parts.join(" ")).collect();
                own.push(format!("decisions: `{line}` is none of\n        {}", all.join("\n        ")));
            }
        }
        if expected.contains_key("missing") {
            let (patterns, actual) = (texts(expected.get("missing")), texts(image.get("missing")));
            let fits = |pattern: &str, fact: &str| glob(&pattern.to_lowercase(), &fact.to_lowercase());
            let surplus = actual.iter().any(|fact| !patterns.iter().any(|pattern| fits(pattern, fact)));
            let lacking =
                patterns.iter().any(|pattern| pattern != "*" && !actual.iter().any(|fact| fits(pattern, fact)));
            if surplus || lacking || actual.is_empty() != patterns.is_empty() {
                own.push(format!("missing: expected {patterns:?}, got {actual:?}"));
            }
        }
        let message = word(&image["message"]);
        for text in texts(expected.get("says")) {
            if !message.contains(&text) {
                own.push(format!("message: does not say `{text}`: {message}"));
            }
        }
        for text in texts(expected.get("silent")) {
            if message.contains(&text) {
                own.push(format!("message: says `{text}`: {message}"));
            }
        }
        wrong
            .extend(own.into_iter().map(|text| if container == "app" { text } else { format!("{container}: {text}") }));
    }
}

fn same(wrong: &mut Vec<String>, what: &str, expected: &str, actual: &str) {
    if expected != actual {
        wrong.push(format!("{what}: expected {expected}, got {actual}"));
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// One text or a list of them.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().map(|item| word(item).to_owned()).collect(),
        Some(other) => panic!("neither a text nor a list: {other}"),
    }
}

fn problem(problem: &Value) -> String {
    format!("{}: `{}`: {}", word(&problem["object"]), word(&problem["path"]), word(&problem["message"]))
}

/// Action without its service, decision, layer, policy, statement; `-` for none.
fn decision(decision: &Value) -> Vec<&str> {
    let part = |name: &str| decision[name].as_str().unwrap_or("-");
    vec![part("action").trim_start_matches("ecr:"), part("decision"), part("layer"), part("policy"), part("statement")]
}

/// Whether `text` is `pattern`, in which `*` is any text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len()).any(|from| text.is_char_boundary(from) && glob(rest, text.get(from..).unwrap_or_default()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: &str, decision: &str) -> Value {
        json!({"problems": [], "results": [{"verdict": verdict, "admission": "Rejected", "policy": null, "notes": ["A"],
            "images": [{"container": "app", "verdict": verdict, "reason": "ActionDenied", "missing": [], "message": "m",
                "cause": "C", "field": "f", "candidates": [{"principal": "p", "foundBy": "by hand", "verdict": verdict,
                    "decisions": [{"action": "ecr:X", "decision": decision, "layer": "scp", "policy": "q", "statement": null}]}]}]}]})
    }

    fn differences(expect: Value, report: &Value, exit: i32) -> usize {
        Expect::read(&expect, "test").differences(report, exit).len()
    }

    #[test]
    fn what_differs_is_found() {
        let denied = report("Deny", "ExplicitlyDenied");
        for (expect, exit, wrong) in [
            (json!("Deny"), 1, 0),
            (json!("Deny"), 0, 1),
            (json!({"Deny": "X ExplicitlyDenied scp q"}), 1, 0),
            (json!({"Deny": "X ExplicitlyDenied ? ? -"}), 1, 0),
            (json!({"Deny": "X ExplicitlyDenied rcp"}), 1, 1),
            (json!({"Deny": ["X", "Y"]}), 1, 1),
            (json!({"!Allow": null}), 1, 0),
            (json!({"!Deny": null}), 1, 1),
            (json!({"Deny": null, "notes": ["A", "-B"]}), 1, 0),
            (json!({"Deny": null, "notes": ["-A", "B"]}), 1, 2),
            (json!({"Deny": null, "policy": "x", "admission": "Warned", "problems": "p"}), 1, 4),
            (json!({"Deny": null, "principals": ["p Deny"], "foundBy": "by *", "says": "m", "silent": "n"}), 1, 0),
            (json!({"Deny": null, "principals": ["p Allow"], "foundBy": "by", "says": "n", "silent": "m"}), 1, 4),
            (json!({"Deny": null, "missing": ["*"], "reason": "PullSecret", "cause": "D", "field": "g"}), 1, 4),
            (json!({"Deny": null, "images": {"app": {"verdict": "Deny"}}}), 1, 0),
            (json!({"Deny": null, "images": {"side": {"verdict": "Deny"}}}), 1, 1),
        ] {
            assert_eq!(differences(expect.clone(), &denied, exit), wrong, "{expect}");
        }
        assert_eq!(differences(json!("Allow"), &denied, 1), 1, "the verdict; the rest follows from what it is");
    }

    #[test]
    fn places_are_set_and_left_out() {
        let mut parts = json!({"a": {"b": [1, {"c": 2}]}});
        for (pointer, value) in [
            ("/a/b/-", json!(3)),
            ("/a/b/1/c", json!(4)),
            ("/a/x~1y/z", json!(5)),
            ("/a/b/0", json!(LEFT_OUT)),
            ("/new/-", json!(6)),
        ] {
            set(&mut parts, pointer, &value, "test");
        }
        assert_eq!(parts, json!({"a": {"b": [{"c": 4}, 3], "x/y": {"z": 5}}, "new": [6]}));
    }

    #[test]
    fn stars_are_any_text() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("*", "", true),
            ("a*c*", "acd", true),
            ("a*c", "acd", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
