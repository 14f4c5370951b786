//! `ecr-access evaluate`: the bare IAM engine over JSON Lines, one answer for each line, in order.
//!
//! `docs/evaluate.md` documents the format. A line that is wrong is answered with its error, and the others go on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;

use iam_verdict::{
    Account, Context, Decision, DocumentError, Environment, Fact, NamedPolicy, Policy, PolicyType, Principal, Request,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Outcome;

/// Arguments of `ecr-access evaluate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = FORMAT)]
pub struct EvaluateArgs {
    /// JSON Lines to answer; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

const FORMAT: &str = r##"A line is one JSON object:
  {"id": "…",
   "request": {"principal": "arn:aws:iam::111122223333:role/app", "action": "ecr:BatchGetImage",
               "resource": "arn:aws:ecr:us-east-1:111122223333:repository/team/app", "context": {"aws:SourceIp": "192.0.2.1"}},
   "identityPolicies": [{…}], "permissionsBoundary": null, "sessionPolicies": [], "resourcePolicy": null,
   "registryPolicy": null, "endpointPolicy": null, "serviceControlPolicies": [[{…}]], "resourceControlPolicies": [],
   "resourceAccountId": "111122223333", "unknownContext": ["aws:SourceVpce"]}
and its answer is one line:
  {"id":"…","decision":"Allowed","layer":"identity","policy":"identityPolicies[0]","statement":"#0","missing":[]}

Everything but `request` may be left out. The context is complete: a key that is not listed is absent, unless
`unknownContext` names it (`"*"` names all that are not listed).

Where something is not known:
  a context value        {"present": true}, {"absentOr": ["false"]}, {"absent": true} or {"unknown": true}
  a policy               {"unreadable": "repositoryPolicy"}: it may allow or deny; the name is reported as missing
  the principal          {"arns": ["…"], "account": "111122223333" | "unknown" | "sameAsResource",
                          "scpExempt": false, "sessionUnknown": false}
  resourceAccountId      left out or null

Policies are JSON objects, or strings that hold the JSON text and keep its every byte. The strict validator alone:
  {"id": "…", "validate": {"policyType": "identity", "document": "{\"Version\": …}"}}  is answered  {"id":"…","valid":true}
with the types identity, boundary, session, resource, registry, scp, rcp, trust.

A bad line is answered {"id":"…","error":{"path":"$.identityPolicies[0].Statement[0].Effect","message":"…"}}.
Exit codes: 0 nothing denied, 1 some decision is a denial, 2 some line was answered with an error."##;

/// The answer to one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The line's `id`, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// What the line asked for, or why it could not be answered.
    #[serde(flatten)]
    pub body: Body,
}

/// What an [`Answer`] says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// To a request.
    Decision {
        /// `Allowed`, `ExplicitlyDenied`, `ImplicitlyDenied` or `Unknown`.
        decision: String,
        /// The deciding layer, such as `identity`.
        layer: Option<String>,
        /// The deciding policy by its place in the line, such as `identityPolicies[0]`.
        policy: Option<String>,
        /// The deciding statement: its Sid, or `#index`.
        statement: Option<String>,
        /// The facts that would settle an `Unknown`.
        missing: Vec<String>,
    },
    /// To `validate`, where AWS would take the document.
    Valid {
        /// Always true.
        valid: bool,
    },
    /// To a bad line or an invalid document.
    Error {
        /// Where and what.
        error: LineError,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{path}: {message}")]
pub struct LineError {
    /// A JSON path from the line's root, such as `$.request.action`; for `validate` from the document's root.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl LineError {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Runs the subcommand.
pub fn run(args: &EvaluateArgs) -> Outcome {
    let result = if args.file.as_os_str() == "-" {
        answer_all(io::stdin().lock(), io::stdout().lock())
    } else {
        File::open(&args.file).and_then(|file| answer_all(BufReader::new(file), io::stdout().lock()))
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

/// Answers every line of `input` on `output`; blank lines have no answer.
///
/// # Errors
/// Only those of reading and writing: a bad line is an answer.
pub fn answer_all(mut input: impl BufRead, mut output: impl Write) -> io::Result<Outcome> {
    let mut outcome = Outcome::Clean;
    let mut line = Vec::new();
    let mut number = 0_usize;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(outcome);
        }
        number += 1;
        let answer = match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => answer_at(text, number),
            Err(_) => Answer { id: None, body: error(LineError::new("$", format!("line {number}: not UTF-8"))) },
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

/// Answers one line.
pub fn answer(line: &str) -> Answer {
    answer_at(line, 1)
}

fn answer_at(line: &str, number: usize) -> Answer {
    let value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(bad) => {
            let full = bad.to_string();
            let what = full.rsplit_once(" at line ").map_or(full.as_str(), |(what, _)| what);
            let message = format!("line {number}, column {}: not JSON: {what}", bad.column());
            return Answer { id: None, body: error(LineError::new("$", message)) };
        }
    };
    let Value::Object(fields) = value else {
        return Answer { id: None, body: error(LineError::new("$", format!("line {number}: must be an object"))) };
    };
    let id = fields.get("id").filter(|id| !id.is_null()).cloned();
    let body = match fields.get("validate") {
        Some(asked) => validate(&fields, asked),
        None => decide(&fields),
    };
    Answer { id, body: body.unwrap_or_else(error) }
}

fn error(error: LineError) -> Body {
    Body::Error { error }
}

fn decide(fields: &Map<String, Value>) -> Result<Body, LineError> {
    // A misspelled layer would silently change the answer, so only known names pass. The last three say nothing.
    only(
        fields,
        "$",
        &[
            "request",
            "identityPolicies",
            "permissionsBoundary",
            "sessionPolicies",
            "resourcePolicy",
            "registryPolicy",
            "endpointPolicy",
            "serviceControlPolicies",
            "resourceControlPolicies",
            "resourceAccountId",
            "unknownContext",
            "id",
            "origin",
            "expected",
        ],
    )?;
    let environment = Environment {
        identity: policies(fields, "identityPolicies")?,
        boundary: policy_field(fields, "permissionsBoundary")?,
        session: policies(fields, "sessionPolicies")?,
        resource: policy_field(fields, "resourcePolicy")?,
        registry: policy_field(fields, "registryPolicy")?,
        scps: levels(fields, "serviceControlPolicies")?,
        rcps: levels(fields, "resourceControlPolicies")?,
        endpoint: policy_field(fields, "endpointPolicy")?,
        resource_account: match fields.get("resourceAccountId") {
            None | Some(Value::Null) => Account::Unknown,
            Some(value) => Account::Known(account_id("$.resourceAccountId", value)?),
        },
    };
    let request = request(fields)?;
    let outcome = iam_verdict::evaluate(&environment, &request);
    let missing = match outcome.decision {
        Decision::Unknown => iam_verdict::missing(&environment, &request).facts,
        _ => Vec::new(),
    };
    Ok(Body::Decision {
        decision: outcome.decision.to_string(),
        layer: outcome.layer.map(|layer| layer.to_string()),
        policy: outcome.policy,
        statement: outcome.statement,
        missing,
    })
}

fn request(fields: &Map<String, Value>) -> Result<Request, LineError> {
    let request = match fields.get("request") {
        Some(Value::Object(request)) => request,
        Some(_) => return Err(LineError::new("$.request", "must be an object")),
        None => return Err(LineError::new("$.request", "is missing")),
    };
    only(request, "$.request", &["principal", "action", "resource", "context"])?;
    let principal = principal(request)?;
    let action = required_text(request, "$.request", "action")?;
    if action.split_once(':').is_none_or(|(service, name)| service.is_empty() || name.is_empty()) {
        return Err(LineError::new("$.request.action", format!("`{action}` is not `service:Action`")));
    }
    let mut context = Context::new();
    let mut listed = Vec::new();
    if let Some(given) = request.get("context").filter(|given| !given.is_null()) {
        let given = object("$.request.context", given)?;
        for (key, value) in given {
            let path = member("$.request.context", key);
            once(&mut listed, key, &path)?;
            context.set(key, fact(&path, value)?);
        }
    }
    if let Some(given) = fields.get("unknownContext").filter(|given| !given.is_null()) {
        for (index, key) in array("$.unknownContext", given)?.iter().enumerate() {
            let path = format!("$.unknownContext[{index}]");
            let key = text(&path, key)?;
            once(&mut listed, key, &path)?;
            if key == "*" {
                context = context.with_unlisted(Fact::Unknown);
            } else {
                context.set(key, Fact::Unknown);
            }
        }
    }
    Ok(Request {
        principal,
        action: action.to_owned(),
        resource: required_text(request, "$.request", "resource")?.to_owned(),
        context,
    })
}

/// Context keys are case-insensitive, so `aws:SourceIp` and `aws:sourceip` would be two answers to one question.
fn once(listed: &mut Vec<String>, key: &str, path: &str) -> Result<(), LineError> {
    let key = key.to_ascii_lowercase();
    if listed.contains(&key) {
        return Err(LineError::new(path, "the context key is given twice (case does not distinguish keys)"));
    }
    listed.push(key);
    Ok(())
}

fn principal(request: &Map<String, Value>) -> Result<Principal, LineError> {
    let path = "$.request.principal";
    let fields = match request.get("principal") {
        None => return Err(LineError::new(path, "is missing")),
        Some(Value::String(arn)) => return Ok(Principal::from_arn(arn)),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(LineError::new(path, "must be an ARN or an object")),
    };
    only(fields, path, &["arns", "account", "scpExempt", "sessionUnknown"])?;
    let arns = match fields.get("arns") {
        None => Vec::new(),
        Some(given) => strings(&member(path, "arns"), given)?,
    };
    let account = match fields.get("account") {
        None => arns.first().map_or(Account::Unknown, |arn| Principal::from_arn(arn).account),
        Some(Value::String(word)) if word == "unknown" => Account::Unknown,
        Some(Value::String(word)) if word == "sameAsResource" => Account::SameAsResource,
        Some(value) => Account::Known(account_id(&member(path, "account"), value)?),
    };
    let flag = |name: &str| match fields.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(LineError::new(member(path, name), "must be true or false")),
    };
    Ok(Principal { account, scp_exempt: flag("scpExempt")?, session_unknown: flag("sessionUnknown")?, arns })
}

fn fact(path: &str, value: &Value) -> Result<Fact, LineError> {
    let Value::Object(fields) = value else { return values(path, value).map(Fact::Values) };
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (Some((word, Value::Bool(true))), None) if word == "present" => Ok(Fact::Present),
        (Some((word, Value::Bool(true))), None) if word == "absent" => Ok(Fact::Absent),
        (Some((word, Value::Bool(true))), None) if word == "unknown" => Ok(Fact::Unknown),
        (Some((word, given)), None) if word == "absentOr" => {
            values(&member(path, "absentOr"), given).map(Fact::AbsentOr)
        }
        _ => Err(LineError::new(
            path,
            "must be a value, a list of values, or one of {\"present\": true}, {\"absent\": true}, \
             {\"unknown\": true}, {\"absentOr\": […]}",
        )),
    }
}

/// The values of a context key, which are text in a request however they were written.
fn values(path: &str, value: &Value) -> Result<Vec<String>, LineError> {
    let scalar = |path: &str, value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(LineError::new(path, "must be a string, a number or a boolean")),
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| scalar(&format!("{path}[{index}]"), item)).collect()
        }
        value => Ok(vec![scalar(path, value)?]),
    }
}

fn policies(fields: &Map<String, Value>, name: &str) -> Result<Vec<NamedPolicy>, LineError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(given) => policy_list(name, given),
    }
}

fn levels(fields: &Map<String, Value>, name: &str) -> Result<Vec<Vec<NamedPolicy>>, LineError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(given) => array(&format!("$.{name}"), given)?
            .iter()
            .enumerate()
            .map(|(index, level)| policy_list(&format!("{name}[{index}]"), level))
            .collect(),
    }
}

fn policy_list(name: &str, given: &Value) -> Result<Vec<NamedPolicy>, LineError> {
    array(&format!("$.{name}"), given)?
        .iter()
        .enumerate()
        .map(|(index, given)| named_policy(&format!("{name}[{index}]"), given))
        .collect()
}

fn policy_field(fields: &Map<String, Value>, name: &str) -> Result<Option<NamedPolicy>, LineError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => named_policy(name, given).map(Some),
    }
}

/// A policy is named by its place in the line, which is where its errors are too.
fn named_policy(name: &str, given: &Value) -> Result<NamedPolicy, LineError> {
    let path = format!("$.{name}");
    if let Value::Object(fields) = given
        && fields.len() == 1
        && let Some(missing) = fields.get("unreadable")
    {
        return Ok(NamedPolicy::unreadable(name, text(&member(&path, "unreadable"), missing)?));
    }
    let policy = match given {
        Value::String(text) => Policy::parse(text),
        value => Policy::from_value(value),
    };
    match policy {
        Ok(policy) => Ok(NamedPolicy::known(name, Arc::new(policy))),
        Err(error) => Err(document_error(&path, error)),
    }
}

fn document_error(root: &str, error: DocumentError) -> LineError {
    let path = match error.path.strip_prefix('$') {
        Some(rest) => format!("{root}{rest}"),
        None => format!("{root}.{}", error.path),
    };
    let message = match error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message,
    };
    LineError { path, message }
}

fn validate(fields: &Map<String, Value>, asked: &Value) -> Result<Body, LineError> {
    only(fields, "$", &["validate", "id", "origin", "expected"])?;
    let asked = object("$.validate", asked)?;
    only(asked, "$.validate", &["policyType", "document"])?;
    let kind = match required_text(asked, "$.validate", "policyType")? {
        "identity" => PolicyType::Identity,
        "boundary" => PolicyType::Boundary,
        "session" => PolicyType::Session,
        "resource" => PolicyType::Resource,
        "registry" => PolicyType::Registry,
        "scp" => PolicyType::Scp,
        "rcp" => PolicyType::Rcp,
        "trust" => PolicyType::Trust,
        other => {
            let message =
                format!("`{other}` is not one of identity, boundary, session, resource, registry, scp, rcp, trust");
            return Err(LineError::new("$.validate.policyType", message));
        }
    };
    let result = match asked.get("document") {
        None => return Err(LineError::new("$.validate.document", "is missing")),
        Some(Value::String(text)) => iam_verdict::validate(kind, text),
        Some(value) => iam_verdict::validate(kind, &value.to_string()),
    };
    result.map(|()| Body::Valid { valid: true }).map_err(|error| document_error("$", error))
}

fn only(fields: &Map<String, Value>, path: &str, known: &[&str]) -> Result<(), LineError> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(LineError::new(member(path, key), format!("unknown field `{key}`"))),
    }
}

/// `path.key`, or `path["key"]` where the key is not a plain word.
fn member(path: &str, key: &str) -> String {
    if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        format!("{path}.{key}")
    } else {
        format!("{path}[{}]", Value::from(key))
    }
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, LineError> {
    value.as_object().ok_or_else(|| LineError::new(path, "must be an object"))
}

fn array<'a>(path: &str, value: &'a Value) -> Result<&'a Vec<Value>, LineError> {
    value.as_array().ok_or_else(|| LineError::new(path, "must be a list"))
}

fn text<'a>(path: &str, value: &'a Value) -> Result<&'a str, LineError> {
    value.as_str().ok_or_else(|| LineError::new(path, "must be a string"))
}

fn strings(path: &str, value: &Value) -> Result<Vec<String>, LineError> {
    array(path, value)?
        .iter()
        .enumerate()
        .map(|(index, item)| text(&format!("{path}[{index}]"), item).map(str::to_owned))
        .collect()
}

fn required_text<'a>(fields: &'a Map<String, Value>, path: &str, name: &str) -> Result<&'a str, LineError> {
    match fields.get(name) {
        None => Err(LineError::new(member(path, name), "is missing")),
        Some(value) => text(&member(path, name), value),
    }
}

fn account_id(path: &str, value: &Value) -> Result<String, LineError> {
    let id = text(path, value)?;
    if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) {
        Ok(id.to_owned())
    } else {
        Err(LineError::new(path, format!("`{id}` is not an account id of twelve digits")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        serde_json::to_string(&answer(&line.to_string())).unwrap()
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
    fn errors_name_their_place() {
        let cases: [(&str, Value, &str); 16] = [
            ("/request/action", json!("Get"), "$.request.action: `Get` is not `service:Action`"),
            ("/request/action", json!(7), "$.request.action: must be a string"),
            ("/request/context", json!([]), "$.request.context: must be an object"),
            (
                "/request/context",
                json!({"a:b": null}),
                "$.request.context[\"a:b\"]: must be a string, a number or a boolean",
            ),
            ("/request/context", json!({"a": [[]]}), "$.request.context.a[0]: must be a string, a number or a boolean"),
            (
                "/request/context",
                json!({"a": {"present": false}}),
                "$.request.context.a: must be a value, a list of values, or one of {\"present\": true}, \
                 {\"absent\": true}, {\"unknown\": true}, {\"absentOr\": […]}",
            ),
            (
                "/request/context",
                json!({"aws:SourceIp": "192.0.2.1", "aws:sourceip": "192.0.2.1"}),
                "$.request.context[\"aws:sourceip\"]: the context key is given twice (case does not distinguish keys)",
            ),
            ("/request/principal", json!(null), "$.request.principal: must be an ARN or an object"),
            ("/request/principal", json!({"arn": "x"}), "$.request.principal.arn: unknown field `arn`"),
            ("/request/principal", json!({"scpExempt": 1}), "$.request.principal.scpExempt: must be true or false"),
            ("/request", json!("x"), "$.request: must be an object"),
            ("/resourceAccountId", json!("12"), "$.resourceAccountId: `12` is not an account id of twelve digits"),
            ("/identityPolicies", json!({}), "$.identityPolicies: must be a list"),
            ("/resourcePolcy", json!({}), "$.resourcePolcy: unknown field `resourcePolcy`"),
            ("/serviceControlPolicies", json!([{}]), "$.serviceControlPolicies[0]: must be a list"),
            (
                "/unknownContext",
                json!(["a", "A"]),
                "$.unknownContext[1]: the context key is given twice (case does not distinguish keys)",
            ),
        ];
        for (at, value, expected) in cases {
            let mut given = line();
            match given.pointer_mut(at) {
                Some(place) => *place = value,
                None => given[at.trim_start_matches('/')] = value,
            }
            match answer(&given.to_string()).body {
                Body::Error { error } => assert_eq!(error.to_string(), expected),
                other => panic!("{at}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_error_in_a_document_has_the_path_from_the_line() {
        let mut given = line();
        given["serviceControlPolicies"] = json!([[{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}]]);
        match answer(&given.to_string()).body {
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
        assert_eq!(answer_all(input.as_bytes(), &mut output).unwrap(), Outcome::BadInput);
        let output = String::from_utf8(output).unwrap();
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains("Allowed"));
        assert_eq!(lines[1], r#"{"error":{"path":"$","message":"line 3, column 2: not JSON: expected ident"}}"#);
        assert_eq!(lines[2], r#"{"error":{"path":"$","message":"line 4: must be an object"}}"#);
        assert!(lines[3].contains("ImplicitlyDenied"));

        let outcome = |input: &Value| answer_all(format!("{input}\n").as_bytes(), io::sink()).unwrap();
        assert_eq!(outcome(&denied), Outcome::Denied);
        assert_eq!(outcome(&allowed), Outcome::Clean);
        assert_eq!(answer_all(&b"\xff\n"[..], io::sink()).unwrap(), Outcome::BadInput);
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
