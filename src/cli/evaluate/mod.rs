//! `ecr-access evaluate`: the bare IAM engine over JSON Lines, one answer for each line, in order.
//!
//! `docs/evaluate.md` documents the format. A line that is wrong is answered with its error, and the others go on.

mod explanation;
mod line;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::value::RawValue;

use super::outcome::Outcome;
pub use explanation::{Explained, NearestMiss};
pub use line::LineError;

/// Lines beyond this many bytes are answered with an error: a policy has at most 1 MiB, and a line a handful of them.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// Arguments of `ecr-access evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = FORMAT)]
pub struct EvaluateArgs {
    /// JSON Lines to answer; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Add to each decision what every statement says of the request, and what came closest to another decision
    #[arg(long)]
    explain: bool,
}

const FORMAT: &str = r##"A line is one JSON object:
  {"id": "…",
   "request": {"principal": "arn:aws:iam::111122223333:role/app", "action": "ecr:BatchGetImage",
               "resource": "arn:aws:ecr:us-east-1:111122223333:repository/team/app", "context": {"aws:SourceIp": "192.0.2.1"}},
   "identityPolicies": [{…}], "permissionsBoundary": null, "sessionPolicies": [], "resourcePolicy": null,
   "registryPolicy": null, "endpointPolicy": null, "serviceControlPolicies": [[{…}]], "resourceControlPolicies": [],
   "resourceAccountId": "111122223333", "unknownContext": ["aws:SourceVpce"],
   "at": "2026-11-23T00:00:00Z", "nextTransition": true}
and its answer is one line:
  {"id":"…","decision":"Allowed","layer":"identity","policy":"identityPolicies[0]","statement":"#0","missing":[],"nextTransition":null}

Everything but `request` may be left out or null. The context is complete: a key that is not listed is absent, unless
`unknownContext` names it (`"*"` names all that are not listed). `at` sets aws:CurrentTime and aws:EpochTime, and
`nextTransition` asks when the decision changes by the passing of time.

Where something is not known:
  a context value        {"present": true}, {"absentOr": ["false"]}, {"absent": true} or {"unknown": true}
  a policy               {"unreadable": "repositoryPolicy"}: it may allow or deny; the name is reported as missing
  the principal          {"arns": ["…"], "account": "111122223333" | "unknown" | "sameAsResource" | "none",
                          "scpExempt": false, "sessionUnknown": false}
  resourceAccountId      left out or null

Policies are JSON objects, or strings that hold the JSON text. The strict validator alone:
  {"id": "…", "validate": {"policyType": "identity", "document": "{\"Version\": …}"}}  is answered  {"id":"…","valid":true}
with the types identity, boundary, session, resource, registry, scp, rcp, trust.

A bad line is answered {"id":"…","error":{"path":"$.identityPolicies[0].Statement[0].Effect","message":"…"}}.
Exit codes: 0 nothing denied, 1 some decision is a denial, 2 some line was answered with an error."##;

/// The answer to one line.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The line's `id`, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<RawValue>>,
    /// What the line asked for, or why it could not be answered.
    #[serde(flatten)]
    pub body: Body,
}

/// What an [`Answer`] says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// To a request.
    #[serde(rename_all = "camelCase")]
    Decision {
        /// `Allowed`, `ExplicitlyDenied`, `ImplicitlyDenied` or `Unknown`.
        decision: &'static str,
        /// The deciding layer, such as `identity`.
        layer: Option<&'static str>,
        /// The deciding policy by its place in the line, such as `identityPolicies[0]`.
        policy: Option<String>,
        /// The deciding statement: its Sid, or `#index`.
        statement: Option<String>,
        /// The facts that would settle an `Unknown`.
        missing: Vec<String>,
        /// Where the line asks for it: when the decision changes by the passing of time, null where it never does.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_transition: Option<Option<Change>>,
        /// With `--explain`.
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        explained: Option<Box<Explained>>,
    },
    /// To `validate`, where AWS would take the document.
    Valid {
        /// Always true.
        valid: bool,
        /// Where the line asks for them: what AWS accepts and what yet does not do what it says.
        #[serde(skip_serializing_if = "Option::is_none")]
        lints: Option<Vec<LintOf>>,
    },
    /// To a bad line or an invalid document.
    Error {
        /// Where and what.
        error: LineError,
    },
}

/// A lint of a valid document, as `docs/lints.md` has them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LintOf {
    id: &'static str,
    severity: &'static str,
    path: String,
    message: String,
    hint: String,
}

impl From<&iam_verdict::Lint> for LintOf {
    fn from(lint: &iam_verdict::Lint) -> Self {
        Self {
            id: lint.id.as_str(),
            severity: lint.severity().as_str(),
            path: lint.path.clone(),
            message: lint.message.clone(),
            hint: lint.hint.clone(),
        }
    }
}

/// A change of a decision by the passing of time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Change {
    /// The first second of the new decision, in RFC 3339.
    pub at: String,
    /// The decision from then on.
    pub decision: &'static str,
}

/// Runs the subcommand.
pub fn run(args: &EvaluateArgs) -> Outcome {
    let result = if args.file.as_os_str() == "-" {
        answer_all(io::stdin().lock(), io::stdout().lock(), args.explain)
    } else {
        File::open(&args.file).and_then(|file| answer_all(file, io::stdout().lock(), args.explain))
    };
    match result {
        Ok(outcome) => outcome,
        // The reader of the answers went away: `ecr-access evaluate | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Clean,
        Err(error) => {
            eprintln!("error: `{}`: {error}", args.file.display());
            Outcome::BadInput
        }
    }
}

/// Answers every line of `input` on `output`; blank lines have no answer. Memory is bounded by the longest line that is
/// read, 16 MiB.
///
/// # Errors
/// Only those of reading and writing: a bad line is an answer.
pub fn answer_all(input: impl Read, output: impl Write, explain: bool) -> io::Result<Outcome> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut output = BufWriter::with_capacity(64 * 1024, output);
    let mut outcome = Outcome::Clean;
    let mut line = Vec::new();
    let mut number = 0_usize;
    loop {
        // Whoever writes a line and waits for its answer gets it.
        if !input.buffer().contains(&b'\n') {
            output.flush()?;
        }
        let read = read_line(&mut input, &mut line)?;
        number += 1;
        if read == Line::End {
            output.flush()?;
            return Ok(outcome);
        }
        // A byte order mark, as some editors write it; `cat` leaves it in the middle.
        let bytes = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        let answer = match std::str::from_utf8(bytes) {
            _ if read == Line::TooLong => failed(format!("line {number}: longer than {MAX_LINE} bytes")),
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => answer_at(text.trim_end(), number, explain),
            Err(_) => failed(format!("line {number}: not UTF-8")),
        };
        outcome = match (&answer.body, outcome) {
            (Body::Error { .. }, _) | (_, Outcome::BadInput) => Outcome::BadInput,
            (Body::Decision { decision, .. }, _) if decision.ends_with("Denied") => Outcome::Denied,
            (_, outcome) => outcome,
        };
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Line {
    Read,
    TooLong,
    End,
}

/// Reads a line, of one that is too long only the start; the rest is skipped.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(1);
    if input.by_ref().take(limit).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.len() <= MAX_LINE || line.ends_with(b"\n") {
        return Ok(Line::Read);
    }
    loop {
        let buffer = input.fill_buf()?;
        let (skipped, found) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(skipped);
        if found {
            return Ok(Line::TooLong);
        }
    }
}

/// Answers one line.
pub fn answer(line: &str, explain: bool) -> Answer {
    answer_at(line, 1, explain)
}

fn answer_at(text: &str, number: usize, explain: bool) -> Answer {
    match line::Fields::of_line(text) {
        Err(message) => failed(format!("line {number}{message}")),
        Ok(fields) => {
            let id = fields.id().map(ToOwned::to_owned);
            let body = match fields.ask() {
                Ok(line::Ask::Decision(asked)) => decide(&asked, explain),
                Ok(line::Ask::Valid(lints)) => {
                    let lints = lints.map(|lints| lints.iter().map(LintOf::from).collect());
                    Body::Valid { valid: true, lints }
                }
                Err(error) => Body::Error { error },
            };
            Answer { id, body }
        }
    }
}

/// The answer to a line of which nothing could be read.
fn failed(message: String) -> Answer {
    Answer { id: None, body: Body::Error { error: LineError { path: "$".to_owned(), message } } }
}

fn decide(asked: &line::Asked, explain: bool) -> Body {
    let (environment, request) = (&asked.environment, &asked.request);
    let explanation = explain.then(|| iam_verdict::explain(environment, request));
    let outcome = match &explanation {
        Some(explanation) => explanation.outcome.clone(),
        None => iam_verdict::evaluate(environment, request),
    };
    let missing = match outcome.decision {
        iam_verdict::Decision::Unknown => iam_verdict::missing(environment, request).facts,
        _ => Vec::new(),
    };
    let next_transition = asked.transition_after.map(|now| {
        iam_verdict::next_transition(environment, request, now)
            .map(|change| Change { at: line::rfc3339(change.at), decision: change.decision.as_str() })
    });
    Body::Decision {
        decision: outcome.decision.as_str(),
        layer: outcome.layer.map(iam_verdict::Layer::as_str),
        policy: outcome.policy.as_deref().map(str::to_owned),
        statement: outcome.statement.as_deref().map(str::to_owned),
        missing,
        next_transition,
        explained: explanation.as_ref().map(|explanation| Box::new(Explained::from(explanation))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}"#;

    fn line() -> Value {
        json!({
            "id": "a",
            "request": {
                "principal": "arn:aws:iam::111122223333:role/app",
                "action": "ecr:BatchGetImage",
                "resource": "arn:aws:ecr:us-east-1:111122223333:repository/app",
                "context": {},
            },
            "identityPolicies": [serde_json::from_str::<Value>(ALLOW).unwrap()],
            "resourceAccountId": "111122223333",
        })
    }

    fn told(line: &Value) -> String {
        serde_json::to_string(&answer(&line.to_string(), false)).unwrap()
    }

    #[test]
    fn an_answer_is_one_line_with_its_fields_in_order() {
        assert_eq!(
            told(&line()),
            r##"{"id":"a","decision":"Allowed","layer":"identity","policy":"identityPolicies[0]","statement":"#0","missing":[]}"##
        );
    }

    #[test]
    fn a_policy_may_be_text_and_may_be_unreadable() {
        let mut given = line();
        given["identityPolicies"] = json!([ALLOW]);
        assert!(told(&given).contains(r#""decision":"Allowed""#));
        given["permissionsBoundary"] = json!({"unreadable": "boundary:b"});
        let told = told(&given);
        assert!(told.contains(r#""decision":"Unknown""#), "{told}");
        assert!(told.contains(r#""missing":["boundary:b"]"#), "{told}");
    }

    #[test]
    fn an_error_in_a_document_has_the_path_from_the_line() {
        let mut given = line();
        given["serviceControlPolicies"] = json!([[{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}]]);
        match answer(&given.to_string(), false).body {
            Body::Error { error } => {
                assert!(error.path.starts_with("$.serviceControlPolicies[0][0].Statement[0]"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bad_line_stops_nobody() {
        let allowed = line();
        let mut denied = line();
        denied["identityPolicies"] = json!([]);
        let input = format!("{allowed}\n\nnonsense\n[]\n{denied}\n");
        let mut output = Vec::new();
        assert_eq!(answer_all(input.as_bytes(), &mut output, false).unwrap(), Outcome::BadInput);
        let output = String::from_utf8(output).unwrap();
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains("Allowed"));
        assert_eq!(lines[1], r#"{"error":{"path":"$","message":"line 3, column 2: not JSON: expected ident"}}"#);
        assert_eq!(lines[2], r#"{"error":{"path":"$","message":"line 4: must be an object"}}"#);
        assert!(lines[3].contains("ImplicitlyDenied"));

        let outcome = |input: &Value| answer_all(format!("{input}\n").as_bytes(), io::sink(), false).unwrap();
        assert_eq!(outcome(&denied), Outcome::Denied);
        assert_eq!(outcome(&allowed), Outcome::Clean);
        assert_eq!(answer_all(&b"\xff\n"[..], io::sink(), false).unwrap(), Outcome::BadInput);
    }

    #[test]
    fn the_validator_alone() {
        let asked = |kind: &str, document: &str| {
            told(&json!({"id": 7, "validate": {"policyType": kind, "document": document}}))
        };
        assert_eq!(asked("identity", ALLOW), r#"{"id":7,"valid":true}"#);
        assert!(asked("identity", "{").starts_with(r#"{"id":7,"error":{"path":"$"#));
        assert!(asked("none", ALLOW).contains("$.validate.policyType"));
    }
}
