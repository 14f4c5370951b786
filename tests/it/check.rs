//! `ecr-access check` as a program: golden reports over `tests/data/check`, and what it says of bad input.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it check` rewrites the golden files; read the diff.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use golden::Goldens;
use serde_json::Value;

const AT: &str = "2026-11-23T00:00:00Z";

pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

pub fn program(directory: &Path, args: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ecr-access"))
        .args(args)
        .current_dir(directory)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Small inputs only: they fit into the pipe before anything is read. A run that fails early closes it.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/check")
}

#[test]
fn reports_are_as_recorded_and_match_the_schema() {
    let schema = schema();
    let mut goldens = Goldens::default();
    let mut wrong = Vec::new();
    let mut cases: Vec<PathBuf> = fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 12, "the cases are not there");
    for case in cases {
        let extra = fs::read_to_string(case.join("args")).unwrap_or_default();
        let mut args = vec!["check", "-f", "input", "--at", AT];
        args.extend(extra.split_whitespace());

        let text = program(&case, &args, b"");
        let record = format!(
            "$ ecr-access {}\n{}{}exit code {}\n",
            args.join(" "),
            text.stdout,
            if text.stderr.is_empty() { String::new() } else { format!("--- standard error\n{}---\n", text.stderr) },
            text.code
        );
        goldens.hold(case.join("report.txt"), &record);
        assert!(!text.stdout.contains('\u{1b}'), "colours only for a terminal");

        args.extend(["-o", "json"]);
        let json = program(&case, &args, b"");
        goldens.hold(case.join("report.json"), &json.stdout);
        assert_eq!(json.code, text.code, "{}: the format does not change the outcome", case.display());

        let report: Value = serde_json::from_str(&json.stdout).unwrap();
        let mut broken = Vec::new();
        hold(&schema, &schema, &report, "$", &mut broken);
        wrong.extend(broken.iter().map(|what| format!("{}: {what}", case.display())));
        agree(&report, json.code);
    }
    goldens.finish();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What must be true of every report: the summary counts the results, the exit code says what they say.
fn agree(report: &Value, code: i32) {
    let results = report["results"].as_array().unwrap();
    let is_of_ecr = |image: &Value| image["verdict"] != "OutOfScope";
    let has_some = |result: &Value| result["images"].as_array().unwrap().iter().any(is_of_ecr);
    for (name, verdict) in
        [("allow", "Allow"), ("deny", "Deny"), ("unknown", "Unknown"), ("notSelected", "NotSelected")]
    {
        let of = |result: &&Value| result["verdict"] == verdict && (verdict != "Allow" || has_some(result));
        assert_eq!(report["summary"][name], results.iter().filter(of).count(), "{verdict}");
    }
    let without = results.iter().filter(|result| result["verdict"] == "Allow" && !has_some(result)).count();
    assert_eq!(report["summary"]["outOfScope"], without);
    assert_eq!(report["summary"]["skipped"], report["skipped"].as_array().unwrap().len());
    let denied = results.iter().any(|result| result["verdict"] == "Deny" || result["admission"] == "Rejected");
    let problems = !report["problems"].as_array().unwrap().is_empty();
    assert_eq!(code, if problems { 2 } else { i32::from(denied) });
    assert_eq!(report["at"], AT);
}

#[test]
fn the_verdicts_of_the_cases() {
    // Told apart from the golden files, which a careless UPDATE would overwrite.
    let verdicts = |case: &str| {
        let run = program(&data().join(case), &["check", "-f", "input", "--at", AT, "-o", "json"], b"");
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        let results = report["results"].as_array().unwrap().clone();
        let told = results.iter().map(|result| {
            let text = |name: &str| result[name].as_str().unwrap().to_owned();
            format!("{} {} {}", text("name"), text("verdict"), text("admission"))
        });
        (told.collect::<Vec<_>>(), run.code)
    };
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(verdicts("one-repository"), (strings(&["allowed Allow Admitted", "denied Deny Rejected"]), 1));
    assert_eq!(verdicts("image-places"), (strings(&["everywhere Deny Rejected"]), 1));
    assert_eq!(
        verdicts("out-of-scope"),
        (strings(&["elsewhere Allow Admitted", "not-selected NotSelected Admitted", "system NotSelected Admitted"]), 0)
    );
    assert_eq!(
        verdicts("unknown"),
        (strings(&["no-role Unknown Warned", "account-not-in-the-input Unknown Warned"]), 0)
    );
    assert_eq!(
        verdicts("cluster-policy"),
        (strings(&["open Allow Admitted", "secret Deny Warned", "secret NotSelected Admitted"]), 1)
    );
    assert_eq!(verdicts("pull-secret"), (strings(&["app Unknown Warned"]), 0));
    assert_eq!(verdicts("reject-unknown"), (strings(&["app Unknown Rejected"]), 1));
    assert_eq!(verdicts("bad-documents"), (strings(&["app Unknown Warned"]), 2));
    assert_eq!(
        verdicts("config-maps"),
        (strings(&["good Allow Admitted", "not-granted Deny Rejected", "denied-by-the-registry Deny Rejected"]), 1)
    );
    let (trouble, code) = verdicts("config-maps-trouble");
    assert_eq!(trouble.iter().filter(|told| told.ends_with("Unknown Warned")).count(), 9, "{trouble:?}");
    assert_eq!((trouble.last().map(String::as_str), code), (Some("strict Deny Rejected"), 2));
    assert_eq!(verdicts("twice"), (strings(&["app Allow Admitted"]), 0));
    assert_eq!(verdicts("list"), (strings(&["one Allow Admitted", "two Allow Admitted"]), 2));
    let (exemptions, _) = verdicts("exemptions");
    assert_eq!(
        exemptions,
        [
            "exempted Deny Warned",
            "one-image-is-not Deny Rejected",
            "another-account Deny Rejected",
            "its-exemption-has-ended Deny Rejected",
            "exempted Deny Warned"
        ]
    );
    let (workloads, code) = verdicts("workloads");
    assert_eq!(workloads.iter().filter(|told| told.ends_with("Deny Warned")).count(), 6, "{workloads:?}");
    assert_eq!((workloads.len(), code), (7, 1));
}

/// The first hundred say what is wrong; the rest is as many lines that nobody reads, in a log that somebody pays for.
#[test]
fn of_many_problems_the_first_are_told_and_the_rest_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let account = |labels: &str| {
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: api, namespace: payments}}\n{labels}---\n")
    };
    let bad: String = (0..150).map(|n| format!("  l{n:03}: yes\n")).collect();
    let bad = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: bad\n  labels:\n{}",
        bad.replace("  l", "    l")
    );
    for (input, problems, first) in [
        // Of one document, which is judged all the same.
        (
            account(&"x: 1\n".repeat(1001)),
            1000,
            "f.yaml: document 1: `x`: line 5: the key is given twice; kubectl takes the last one silently",
        ),
        // Of one object.
        (
            bad,
            150,
            "f.yaml: document 1: ServiceAccount/default/bad: `metadata.labels.l000`: must be a string, not a boolean; quote it",
        ),
        // Of many.
        ("kind: Pod\n---\n".repeat(300), 300, "f.yaml: document 1: `apiVersion`: is missing"),
    ] {
        fs::write(directory.path().join("f.yaml"), input).unwrap();
        let text = program(directory.path(), &["check", "-f", "f.yaml", "--at", AT], b"");
        let lines: Vec<&str> = text.stderr.lines().collect();
        assert_eq!((lines.len(), lines[0]), (101, &*format!("error: {first}")), "{}", text.stderr);
        assert_eq!(lines[100], format!("error: {} more are not shown", problems - 100));
        assert!(text.stdout.contains(&format!("; {problems} problems in the input")), "{}", text.stdout);

        let json = program(directory.path(), &["check", "-f", "f.yaml", "--at", AT, "-o", "json"], b"");
        assert_eq!((text.code, json.code), (2, 2));
        let report: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(
            (report["problems"].as_array().unwrap().len(), &report["problemsOmitted"]),
            (100, &(problems - 100).into())
        );
        let (schema, mut broken) = (schema(), Vec::new());
        hold(&schema, &schema, &report, "$", &mut broken);
        assert_eq!(broken, [""; 0]);
    }
    // Notes are no problems, and as many.
    fs::write(directory.path().join("f.yaml"), account("").repeat(202)).unwrap();
    let run = program(directory.path(), &["check", "-f", "f.yaml", "--at", AT], b"");
    assert_eq!((run.stderr.lines().count(), run.code), (101, 0), "{}", run.stderr);
    assert_eq!(run.stderr.lines().last(), Some("note: 101 more are not shown"));
}

/// A text of 162 KB must not become gigabytes.
#[test]
fn an_alias_of_a_long_text_counts_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let bomb = format!("k: &k {}\nlist: [{}]\n", "x".repeat(100_000), "*k, ".repeat(20_000));
    fs::write(directory.path().join("f.yaml"), bomb).unwrap();
    let run = program(directory.path(), &["check", "-f", "f.yaml"], b"");
    assert_eq!(
        (run.stderr.as_str(), run.code),
        ("error: f.yaml: document 1: line 2: the aliases of the input expand to more than 64 MiB of text\n", 2)
    );
}

/// One of each kind that moves the cursor, turns the direction of a line or shows as nothing, as YAML spells them.
const HARMFUL: &str = r"\e[31m\u000a\u0085\u00ad\u034f\u061c\u115f\u180e\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2064\u2066\u2067\u2068\u2069\ufe0f\ufeff\U000E0001\U000E0041\U000E0100";

#[test]
fn no_text_of_the_input_reaches_the_terminal_with_a_character_that_is_not_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let pod = |name: &str, image: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: \"{name}\", namespace: payments{more}}}\n\
             spec: {{serviceAccountName: api, containers: [{{name: \"c{HARMFUL}\", image: \"{image}\"}}]}}\n---\n"
        )
    };
    let ecr = format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/a{HARMFUL}:1");
    let input = [
        format!("{}---\n", POLICY.replace("name: pull", "name: pull, namespace: payments")),
        pod(&format!("n{HARMFUL}"), &ecr, ""),
        pod("elsewhere", &format!("registry.example.org/{HARMFUL}"), ""),
        pod("twice", &ecr, &format!(", labels: {{\"k{HARMFUL}\": yes}}")),
        pod("twice", &ecr, ""),
        // Problems and notes.
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: \"n{HARMFUL}\", labels: {{\"k{HARMFUL}\": yes}}}}\n---\n").repeat(2),
        format!("\"k{HARMFUL}\": 1\n\"k{HARMFUL}\": 1\n"),
    ]
    .concat();
    fs::write(directory.path().join("f.yaml"), input).unwrap();
    let run = program(directory.path(), &["check", "-f", "f.yaml", "--at", AT], b"");
    assert_eq!(run.code, 2);
    for (stream, text) in [("output", &run.stdout), ("error", &run.stderr)] {
        assert_eq!(ecr_forecast::text::escaped_lines(text), *text, "standard {stream}");
        assert!(text.contains(r"\u{202e}") && text.contains(r"\u{e0041}"), "standard {stream}: {text}");
    }
    assert!(run.stderr.contains("note: ") && run.stderr.contains("error: "), "{}", run.stderr);
}

const POLICY: &str = "\
apiVersion: ecraccess.dev/v1alpha1
kind: EcrAccessPolicy
metadata: {name: pull}
spec: {puller: {role: {arn: 'arn:aws:iam::111122223333:role/app'}}}
";

#[test]
fn bad_input_is_named_with_file_document_and_field() {
    // The file's bytes, and all that standard error says. The exit code is always 2.
    let with = |more: &str| format!("{POLICY}---\n{more}").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("an empty file", b"".to_vec(), "error: f.yaml: there is nothing in it\n"),
        ("comments alone", b"# later\n---\n".to_vec(), "error: f.yaml: there is nothing in it\n"),
        (
            "not YAML",
            with("a: b: c\n"),
            "error: f.yaml: document 2: line 6: mapping values are not allowed in this context\n",
        ),
        ("not UTF-8", b"a: 1\nb: \xff\n".to_vec(), "error: f.yaml: line 2: not UTF-8 text\n"),
        (
            "a text",
            with("just a text\n"),
            "error: f.yaml: document 2: must be a mapping with `apiVersion` and `kind`, not a string\n",
        ),
        ("no kind", with("apiVersion: v1\n"), "error: f.yaml: document 2: `kind`: is missing\n"),
        ("no apiVersion", with("kind: Pod\n"), "error: f.yaml: document 2: `apiVersion`: is missing\n"),
        (
            "kind is a number",
            with("apiVersion: v1\nkind: 7\n"),
            "error: f.yaml: document 2: `kind`: must be a string, not a number\n",
        ),
        (
            "no name",
            with("apiVersion: v1\nkind: Namespace\nmetadata: {generateName: a-}\n"),
            "error: f.yaml: document 2: Namespace: `metadata.name`: is missing\n",
        ),
        (
            "a name that YAML takes for a boolean",
            with("apiVersion: v1\nkind: Pod\nmetadata: {name: on}\n"),
            "error: f.yaml: document 2: Pod: `metadata.name`: must be a string, not a boolean; quote it\n",
        ),
        (
            "a label that YAML takes for a boolean",
            with("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, labels: {app.kubernetes.io/on: yes}}\n"),
            "error: f.yaml: document 2: ServiceAccount/default/a: `metadata.labels[\"app.kubernetes.io/on\"]`: must be a string, not a boolean; quote it\n",
        ),
        (
            "another version",
            POLICY.replace("v1alpha1", "v1").into_bytes(),
            "error: f.yaml: document 1: EcrAccessPolicy: `apiVersion`: must be `ecraccess.dev/v1alpha1`, not `ecraccess.dev/v1`\n",
        ),
        (
            "another kind of the group",
            POLICY.replace("EcrAccessPolicy", "EcrAccesPolicy").into_bytes(),
            "error: f.yaml: document 1: EcrAccesPolicy: `kind`: `EcrAccesPolicy` is not a kind of ecraccess.dev/v1alpha1: EcrAccessPolicy, ClusterEcrAccessPolicy\n",
        ),
        (
            "an unknown field",
            POLICY.replace("puller:", "pullr: 1, puller:").into_bytes(),
            "error: f.yaml: document 1: EcrAccessPolicy/default/pull: `spec.pullr`: unknown field `pullr`\n",
        ),
        (
            "two wrong fields",
            POLICY.replace("puller:", "onDeny: reject, serviceAccounts: [a], puller:").into_bytes(),
            "error: f.yaml: document 1: EcrAccessPolicy/default/pull: `spec.onDeny`: Unsupported value: \"reject\": supported values: \"Reject\", \"Warn\", \"Audit\"\n\
             error: f.yaml: document 1: EcrAccessPolicy/default/pull: `spec.serviceAccounts`: must be of type object, not array\n",
        ),
        (
            "a key given twice",
            POLICY.replace("spec:", "spec: {}\nspec:").into_bytes(),
            "error: f.yaml: document 1: `spec`: line 5: the key is given twice; kubectl takes the last one silently\n",
        ),
        (
            "a list with a bad item",
            b"apiVersion: v1\nkind: List\nitems:\n- 7\n- {apiVersion: v1, kind: List, items: {}}\n".to_vec(),
            "error: f.yaml: document 1: items[0]: must be a mapping with `apiVersion` and `kind`, not a number\n\
             error: f.yaml: document 1: items[1]: List: `items`: must be a list, not a mapping\n",
        ),
        (
            "text after the hyphens",
            b"--- {apiVersion: v1, kind: Pod}\n".to_vec(),
            "error: f.yaml: document 1: line 1: only a comment may follow `---` on its line, not `{apiVersion: v1, kind: Pod}`\n",
        ),
        (
            "no JSON value",
            b"a: .inf\n".to_vec(),
            "error: f.yaml: document 1: line 1: `.inf` has no JSON form; quote it if text is meant\n",
        ),
        (
            "no containers",
            with(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {container: []}}}\n",
            ),
            "error: f.yaml: document 2: Deployment/default/a: `spec.template.spec.containers`: is missing\n",
        ),
        (
            "no image",
            with("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: b, imag: c}]}\n"),
            "error: f.yaml: document 2: Pod/default/a: `spec.containers[0].image`: is missing\n",
        ),
        (
            "an image that YAML takes for a number",
            with("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: b, image: 12}]}\n"),
            "error: f.yaml: document 2: Pod/default/a: `spec.containers[0].image`: must be a string\n",
        ),
        (
            "a malformed document as mapping and as text",
            POLICY
                .replace(
                    "role/app'",
                    "role/app', identity: {policies: [{name: a, document: {Statement: 7}}, {name: b, document: '{'}]}",
                )
                .into_bytes(),
            "error: f.yaml: document 1: EcrAccessPolicy/default/pull: `spec.puller.role.identity.policies[0].document.Statement`: an object should stand here, not a number\n\
             error: f.yaml: document 1: EcrAccessPolicy/default/pull: `spec.puller.role.identity.policies[1].document`: not JSON: the document ends where a quoted key should stand at line 1 column 2\n",
        ),
        (
            "metadata is a list",
            with("apiVersion: v1\nkind: Pod\nmetadata: []\n"),
            "error: f.yaml: document 2: Pod: `metadata`: must be a mapping, not a list\n",
        ),
    ];
    assert!(cases.len() >= 15);
    for (name, content, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("f.yaml"), content).unwrap();
        let run = program(directory.path(), &["check", "-f", "f.yaml"], b"");
        assert_eq!(run.stderr, expected, "{name}");
        assert_eq!(run.code, 2, "{name}");
    }
}

#[test]
fn bad_input_does_not_hide_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: nginx}]}\n";
    fs::write(
        directory.path().join("a.yaml"),
        format!("{pod}---\n[\n---\n{pod}").replacen("name: a}", "name: first}", 1),
    )
    .unwrap();
    let run = program(directory.path(), &["check", "-f", "a.yaml", "missing.yaml", "-o", "json", "--at", AT], b"");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["results"].as_array().unwrap().len(), 2);
    assert_eq!(report["problems"].as_array().unwrap().len(), 2);
    assert_eq!(report["problems"][0]["object"], "a.yaml: document 2");
    assert_eq!(
        report["problems"][1],
        serde_json::json!({"object": "missing.yaml", "path": "", "message": "no such file or directory"})
    );
    assert_eq!((run.code, run.stderr.as_str()), (2, ""), "with -o json the problems are in the report");
}

#[test]
fn paths_are_files_directories_and_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: nginx}}]}}\n"
        )
    };
    let at = |path: &str| directory.path().join(path);
    for path in ["m/z", "m/.hidden", "empty"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    fs::write(at("m/b.yml"), pod("b")).unwrap();
    fs::write(at("m/a.yaml"), pod("a")).unwrap();
    fs::write(
        at("m/z/c.json"),
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"},"spec":{"containers":[{"image":"x"}]}}"#,
    )
    .unwrap();
    fs::write(at("m/notes.md"), "- x\n").unwrap();
    fs::write(at("m/comments.yaml"), "# nothing\n").unwrap();
    fs::write(at("m/.hidden/d.yaml"), pod("d")).unwrap();
    let names = |args: &[&str], input: &str| {
        let mut all = vec!["check", "-o", "json"];
        all.extend(args);
        let run = program(directory.path(), &all, input.as_bytes());
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        let names =
            report["results"].as_array().unwrap().iter().map(|result| result["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>().join(" "), run.code)
    };
    assert_eq!(names(&["-f", "m"], ""), ("a b c".to_owned(), 0));
    assert_eq!(names(&["-f", "m/b.yml", "-f", "m/z"], ""), ("b c".to_owned(), 0));
    assert_eq!(names(&["-f", "-", "m/a.yaml"], &pod("s")), ("s a".to_owned(), 0));
    let run = program(directory.path(), &["check", "-f", "empty"], b"");
    assert_eq!(run.stderr, "error: empty: there is no manifest in this directory (*.yaml, *.yml, *.json)\n");
    assert_eq!(run.code, 2);
    let run = program(directory.path(), &["check", "-f", "-"], b"");
    assert_eq!((run.stderr.as_str(), run.code), ("error: <stdin>: there is nothing in it\n", 2));
}

#[test]
fn usage_errors_exit_with_2() {
    for (args, expected) in [
        (
            &["check", "-f", "-", "--at", "yesterday"][..],
            "error: invalid value 'yesterday' for '--at <RFC3339>': not a moment in RFC 3339, such as 2026-11-23T00:00:00Z\n",
        ),
        (
            &["check", "-f", "-", "--max-action", "reject"][..],
            "error: invalid value 'reject' for '--max-action <Reject|Warn|Audit>': not one of Reject, Warn, Audit\n",
        ),
        (&["check"][..], "error: the following required arguments were not provided:\n  --filename <PATH>...\n"),
        (&["check", "-f", "-", "-o", "xml"][..], "error: invalid value 'xml' for '--output <FORMAT>'\n"),
    ] {
        let run = program(&data(), args, b"");
        assert!(run.stderr.starts_with(expected), "{args:?}: {}", run.stderr);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn evaluate_answers_line_by_line() {
    let input = concat!(
        r#"{"id":"a","request":{"principal":"arn:aws:iam::111122223333:role/app","action":"ecr:BatchGetImage","resource":"*"},"#,
        r#""identityPolicies":[{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}]}],"#,
        r#""resourceAccountId":"111122223333"}"#,
        "\n",
        r#"{"id":"b","request":{}}"#,
        "\n",
    );
    let run = program(&data(), &["evaluate"], input.as_bytes());
    assert_eq!(
        run.stdout,
        concat!(
            r#"{"id":"a","decision":"Allowed","layer":"identity","policy":"identityPolicies[0]","statement":"All","missing":[]}"#,
            "\n",
            r#"{"id":"b","error":{"path":"$.request.principal","message":"is missing"}}"#,
            "\n"
        )
    );
    assert_eq!((run.code, run.stderr.as_str()), (2, ""));
    let run = program(&data(), &["evaluate", "missing.jsonl"], b"");
    assert_eq!(run.stderr, "error: `missing.jsonl`: No such file or directory (os error 2)\n");
    assert_eq!(run.code, 2);
}

#[test]
fn the_schema_in_docs_is_that_of_the_types() {
    let text = format!("{}\n", serde_json::to_string_pretty(&ecr_access::cli::check::schema()).unwrap());
    golden::hold(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check-report.schema.json"), &text);
}

pub fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check-report.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Holds a value against the part of JSON Schema that `docs/check-report.schema.json` uses; another keyword fails.
pub fn hold(root: &Value, schema: &Value, value: &Value, path: &str, broken: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        let ok = match keyword.as_str() {
            "$ref" => {
                let place = rule.as_str().unwrap().trim_start_matches('#');
                hold(root, root.pointer(place).unwrap(), value, path, broken);
                true
            }
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "minimum" => value.as_f64().is_some_and(|number| number >= rule.as_f64().unwrap()),
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
            }
            "required" => rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    if let Some(field) = value.get(name) {
                        hold(root, inner, field, &format!("{path}.{name}"), broken);
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(rule, false);
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|fields| fields.keys().all(|name| known.contains_key(name)))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    hold(root, rule, item, &format!("{path}[{index}]"), broken);
                }
                true
            }
            "format" => rule == "date-time" && value.as_str().is_some_and(|text| text.ends_with('Z')),
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            other => panic!("the schema uses `{other}`, which this test does not know"),
        };
        if !ok {
            broken.push(format!("{path}: breaks {keyword} {rule}: {value}"));
        }
    }
}

#[test]
fn the_schema_refuses_what_it_should() {
    let schema = schema();
    let good = serde_json::json!({"apiVersion": "ecraccess.dev/v1alpha1", "kind": "CheckReport", "at": AT,
        "summary": {"allow": 0, "deny": 0, "unknown": 0, "notSelected": 0, "outOfScope": 0, "skipped": 0}, "problems": [],
        "problemsOmitted": 0, "results": [], "trials": [], "skipped": [], "advice": []});
    let broken = |value: &Value| {
        let mut broken = Vec::new();
        hold(&schema, &schema, value, "$", &mut broken);
        broken.len()
    };
    assert_eq!(broken(&good), 0);
    for (at, value) in [
        ("/kind", serde_json::json!("Report")),
        ("/summary/allow", serde_json::json!(-1)),
        ("/summary", serde_json::json!({})),
        ("/problems", serde_json::json!([{"object": "a", "path": "b", "message": "c", "more": 1}])),
        ("/problems", serde_json::json!(vec![serde_json::json!({"object": "a", "path": "b", "message": "c"}); 101])),
        ("/problemsOmitted", serde_json::json!(-1)),
        ("/results", serde_json::json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(at).unwrap() = value;
        assert_eq!(broken(&bad), 1, "{at}");
    }
}

/// The need that a denied request is for shows what made the difference.
#[test]
fn requires_asks_for_more_than_the_pull() {
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/pullers");
    let check = |requires: &[&str]| {
        let mut args = vec!["check", "-f", "nodes.yaml", "-o", "json", "--at", AT];
        requires.iter().for_each(|need| args.extend(["--requires", need]));
        let run = program(&input, &args, b"");
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        let asked: Vec<String> = report["results"][0]["images"][0]["candidates"][0]["decisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|decision| {
                let word = |name: &str| decision[name].as_str().unwrap_or_default().to_owned();
                format!("{} {}", word("action").trim_start_matches("ecr:"), word("decision"))
            })
            .collect();
        (run.code, report["results"][0]["verdict"].as_str().unwrap().to_owned(), asked)
    };
    let pull = ["GetAuthorizationToken Allowed", "BatchGetImage Allowed", "GetDownloadUrlForLayer Allowed"];
    let (code, verdict, asked) = check(&[]);
    assert_eq!((code, verdict.as_str()), (0, "Allow"));
    assert_eq!(asked, pull);
    // Of the two node roles one may list images, the other one may not.
    let (code, verdict, asked) = check(&["List"]);
    assert_eq!((code, verdict.as_str()), (0, "Unknown"));
    assert_eq!(asked[..3], pull);
    assert_eq!(asked[3..], ["ListImages ImplicitlyDenied"]);
    let (code, verdict, asked) = check(&["Push", "List"]);
    assert_eq!((code, verdict.as_str()), (1, "Deny"));
    assert!(asked.contains(&"PutImage ImplicitlyDenied".to_owned()), "{asked:?}");
    assert!(asked.contains(&"ListImages ImplicitlyDenied".to_owned()), "{asked:?}");
    let (code, verdict, asked) = check(&["Console"]);
    assert_eq!((code, verdict.as_str()), (0, "Unknown"));
    assert!(asked.contains(&"DescribeRepositories ImplicitlyDenied".to_owned()), "{asked:?}");

    let wrong = program(&input, &["check", "-f", "nodes.yaml", "--requires", "Pull"], b"");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("not one of Push, List, Console"), "{}", wrong.stderr);
}

/// A document that AWS would not store is judged as it reads, and is a problem: the webhook refuses the policy. What it only
/// warns of is a note.
#[test]
fn what_the_webhook_would_refuse_is_a_problem_and_what_it_warns_of_a_note() {
    let policy = r#"
apiVersion: ecraccess.dev/v1alpha1
kind: EcrAccessPolicy
metadata: {name: p, namespace: a}
spec:
  puller: {role: {arn: "arn:aws:iam::111122223333:role/r"}}
  repositories:
    - {match: "*", policy: {document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "ecr:*"}]}}}
    - {match: "arn:aws:ecr:us-east-1:111122223333:repository/a"}
"#;
    let (report, stderr, code) = checked(&data(), &["-f", "-", "--at", AT], policy);
    let notes: Vec<&str> = stderr.lines().collect();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.contains("`spec.repositories[1]`: ") && note.contains(" never counts: "), "{note}");
    let problem = &report["problems"][0];
    assert_eq!(problem["path"], "spec.repositories[0].policy.document");
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.starts_with("$.Statement[0]: ") && message.ends_with("; the webhook of the cluster refuses it"),
        "{message}"
    );
    assert_eq!(code, 2);
}

/// The report as JSON, standard error and the exit code.
fn checked(directory: &Path, args: &[&str], input: &str) -> (Value, String, i32) {
    let mut all = vec!["check", "-o", "json"];
    all.extend(args);
    let run = program(directory, &all, input.as_bytes());
    let report =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", run.stdout, run.stderr));
    (report, run.stderr, run.code)
}

fn pod(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: {namespace}, name: {name}}}\n\
         spec: {{containers: [{{name: a, image: {image}}}]}}\n"
    )
}

const IN_ECR: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/app:1";

const NOTHING: &str = "identity: {policies: [{name: a, document: {Version: \"2012-10-17\", Statement: [\
                       {Effect: Allow, Action: \"s3:*\", Resource: \"*\"}]}}]}";

/// The role of the nodes may do nothing with ECR.
fn policy(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: ecraccess.dev/v1alpha1\nkind: EcrAccessPolicy\nmetadata: {{namespace: shop, name: {name}}}\nspec:\n  \
         puller: {{nodes: [{{arn: \"arn:aws:iam::111122223333:role/node\", {NOTHING}}}]}}\n{more}"
    )
}

/// What other tools read in the same directory is left aside, and told; what is misspelt is still a problem.
#[test]
fn a_directory_of_a_gitops_repository_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("base/pod.yaml", &pod("shop", "web", IN_ECR));
    write("base/kustomization.yaml", "resources: [pod.yaml]\n");
    write(
        "overlays/prod/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../base]\n\
         patches: [{path: web.yaml}, {path: ../shared.yaml}]\npatchesStrategicMerge: [./merge.yaml]\n",
    );
    // Each would replace the pod with one whose image is another.
    for patch in ["overlays/prod/web.yaml", "overlays/shared.yaml", "overlays/prod/merge.yaml"] {
        write(patch, &pod("shop", "web", "nginx"));
    }
    write("overlays/prod/remove.json", "[{\"op\": \"remove\", \"path\": \"/spec\"}]");
    write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 0.1.0\n");
    write("chart/values.yaml", "image: {repository: a}\nimage: {repository: b}\n");
    write("chart/templates/pod.yaml", "apiVersion: v1\nkind: Pod\nspec: {{ toYaml .Values }}\n");
    write("docker-compose.yml", "services: {}\n");
    write("policy.yaml", &policy("pull", ""));
    let (report, stderr, code) = checked(directory.path(), &["-f", "."], "");
    assert_eq!(report["problems"], serde_json::json!([]), "{report}");
    assert_eq!((report["results"].as_array().unwrap().len(), code), (1, 1), "the pod is denied: {report}");
    assert_eq!(report["results"][0]["images"][0]["image"], IN_ECR);
    let notes: Vec<&str> = stderr.lines().collect();
    let [patches, templates, others] = notes.as_slice() else { panic!("{stderr}") };
    for path in ["overlays/prod/merge.yaml", "overlays/prod/web.yaml", "overlays/shared.yaml"] {
        assert!(
            patches.starts_with("note: left aside, a patch of a kustomization: ") && patches.contains(path),
            "{patches}"
        );
    }
    assert!(templates.contains("chart/templates/pod.yaml"), "{templates}");
    assert!(others.contains("no `apiVersion` and `kind`") && others.ends_with("(+2 more)"), "{others}");

    // A file that is named is meant, and an object that lacks one of the two is misspelt.
    let (report, _, code) = checked(directory.path(), &["-f", "chart/values.yaml"], "");
    assert_eq!(
        (report["problems"][0]["message"].as_str().unwrap().contains("given twice"), code),
        (true, 2),
        "{report}"
    );
    write("typo.yaml", "apiVersion: v1\nknd: Pod\n");
    let (report, _, code) = checked(directory.path(), &["-f", "."], "");
    assert_eq!((&report["problems"][0]["path"], code), (&Value::from("kind"), 2));
    // A pattern without a slash is about names of files, one with it about paths below the directory.
    for (pattern, code) in [("typo.yaml", 1), ("base/typo.yaml", 2), ("**/*.yaml", 0), ("*.yaml", 0)] {
        let (report, _, got) = checked(directory.path(), &["-f", ".", "--exclude", pattern], "");
        assert_eq!(got, code, "{pattern}: {report}");
    }
    let wrong = program(directory.path(), &["check", "-f", ".", "--exclude", "a{"], b"");
    assert!(wrong.code == 2 && wrong.stderr.contains("--exclude"), "{}", wrong.stderr);
}

/// JSON is what stands there, whatever the file is called, and so is YAML.
#[test]
fn the_parser_is_chosen_by_what_stands_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let json =
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"a","image":"x"}]}}"#;
    for (name, text, line) in [
        ("a.yaml", json.to_owned(), None),
        ("b.json", pod("shop", "web", "nginx"), None),
        ("c.json", format!("{json}\n---\n{json}"), None),
        (
            "d.json",
            "{apiVersion: v1, kind: Pod, metadata: {name: j}, spec: {containers: [{image: x}]}}".to_owned(),
            None,
        ),
        // Neither: the error is that of the parser that was meant.
        ("e.yaml", json.replace(r#""kind":"Pod""#, r#""kind":Pod}"#), Some("line 1: ")),
    ] {
        fs::write(directory.path().join(name), text).unwrap();
        let (report, _, _) = checked(directory.path(), &["-f", name], "");
        match line {
            None => assert_eq!(
                (report["problems"].as_array().unwrap().len(), !report["results"].as_array().unwrap().is_empty()),
                (0, true),
                "{name}: {report}"
            ),
            Some(line) => {
                assert!(report["problems"][0]["message"].as_str().unwrap().starts_with(line), "{name}: {report}")
            }
        }
    }
}

#[test]
fn objects_with_containers_of_kinds_that_are_not_known_are_skipped_and_told() {
    let input = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {namespace: shop, name: roll}
spec: {template: {spec: {containers: [{name: a, image: x}]}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: wf-}
spec: {templates: [{name: a}, {name: m, container: {image: x}}]}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec: {template: {spec: {containers: [{image: x}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {ports: [{port: 80}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec: {versions: [{schema: {properties: {containers: {type: array, items: {properties: {image: {type: string}}}}}}}]}
";
    let directory = tempfile::tempdir().unwrap();
    let (report, stderr, code) = checked(directory.path(), &["-f", "-"], input);
    let told: Vec<String> = report["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["object"].as_str().unwrap(), one["path"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            "<stdin>: document 1: Rollout/shop/roll spec.template.spec.containers",
            "<stdin>: document 2: Workflow/wf- spec.templates[1].container",
            "<stdin>: document 3: Service/hello spec.template.spec.containers",
        ]
    );
    assert_eq!((&report["summary"]["skipped"], stderr.lines().count(), code), (&Value::from(3), 3, 0), "{stderr}");
    let (_, _, code) = checked(directory.path(), &["-f", "-", "--fail-on", "skipped"], input);
    assert_eq!(code, 1);
    let text = program(directory.path(), &["check", "-f", "-"], input.as_bytes());
    assert!(text.stdout.contains("; 3 skipped"), "{}", text.stdout);
    // A key of a hundred kilobytes above twenty thousand others is no path of two gigabytes.
    let keys: Vec<String> = (0..20_000).map(|index| format!("k{index}: 1")).collect();
    let long = format!("apiVersion: a/v1\nkind: Long\n? {}\n: {{{}}}\n", "k".repeat(100_000), keys.join(", "));
    assert_eq!(checked(directory.path(), &["-f", "-"], &long).0["skipped"], serde_json::json!([]));
}

#[test]
fn what_fails_beside_a_denial_is_up_to_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let code = |input: &str, args: &[&str]| {
        let mut all = vec!["-f", "-"];
        all.extend(args);
        checked(directory.path(), &all, input).2
    };
    let unknown = policy("pull", "").replace(NOTHING, "labels: {a: b}");
    let unknown = format!("{unknown}{}", pod("shop", "web", IN_ECR));
    assert_eq!((code(&unknown, &[]), code(&unknown, &["--fail-on", "unknown"])), (0, 1));
    assert_eq!(code(&unknown, &["--fail-on", "unselected", "--fail-on", "skipped"]), 0);
    let elsewhere = pod("other", "web", IN_ECR);
    assert_eq!((code(&elsewhere, &[]), code(&elsewhere, &["--fail-on", "unselected"])), (0, 1));
    // What is never judged is not forgotten by anybody.
    let system = pod("kube-system", "proxy", IN_ECR);
    assert_eq!(code(&system, &["--fail-on", "unselected"]), 0);
    let (report, _, _) = checked(directory.path(), &["-f", "-"], &system);
    assert_eq!(report["results"][0]["notes"], serde_json::json!(["NeverJudged"]));
    // Without images of ECR there is nothing to judge, and nothing to be sure of.
    let (report, _, code) =
        checked(directory.path(), &["-f", "-"], &format!("{}{}", policy("pull", ""), pod("shop", "web", "nginx")));
    let summary = &report["summary"];
    assert_eq!((&summary["allow"], &summary["outOfScope"], code), (&Value::from(0), &Value::from(1), 0), "{report}");
}

#[test]
fn policies_on_trial_are_shown_apart_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let trial = format!("{}{}", policy("trial", "  onDeny: Audit\n"), pod("shop", "web", IN_ECR));
    let input = format!("{trial}{}{}", pod("kube-system", "proxy", IN_ECR), pod("other", "web", IN_ECR));
    let (report, _, code) = checked(directory.path(), &["-f", "-"], &input);
    assert_eq!(
        (&report["summary"]["notSelected"], &report["summary"]["deny"], code),
        (&Value::from(3), &Value::from(0), 0)
    );
    let [trial] = report["trials"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&trial["verdict"], &trial["admission"]), (&Value::from("Deny"), &Value::from("Admitted")));
    assert_eq!((&trial["policy"], &trial["name"]), (&Value::from("EcrAccessPolicy/shop/trial"), &Value::from("web")));
    let text = program(directory.path(), &["check", "-f", "-"], input.as_bytes()).stdout;
    let (before, after) = text.split_once("On trial (onDeny: Audit; changes nothing):").unwrap();
    assert!(!before.contains("is not allowed to call") && after.contains("is not allowed to call"), "{text}");
}

#[test]
fn a_conflict_that_only_age_decides_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let two = format!("{}{}{}", policy("b", ""), policy("a", ""), pod("shop", "web", IN_ECR));
    let (_, stderr, _) = checked(directory.path(), &["-f", "-"], &two);
    let begin = "note: EcrAccessPolicy/shop/a and EcrAccessPolicy/shop/b select service account shop/default alike: ";
    assert!(stderr.starts_with(begin) && stderr.contains("by its name") && stderr.lines().count() == 1, "{stderr}");
    let old = "metadata: {creationTimestamp: \"2026-01-01T00:00:00Z\", namespace: shop, name: b}";
    let dated = two.replace("metadata: {namespace: shop, name: b}", old);
    let (_, stderr, _) = checked(directory.path(), &["-f", "-"], &dated);
    assert!(stderr.contains("EcrAccessPolicy/shop/b and ") && stderr.contains("creationTimestamp"), "{stderr}");
    let named = two.replacen("  puller:", "  serviceAccounts: {names: [default]}\n  puller:", 1);
    assert_eq!(checked(directory.path(), &["-f", "-"], &named).1, "", "a name comes before none");
}
