//! Reading one line: from JSON to what the engine is asked, with the place of whatever is wrong.
//!
//! Values are kept as they are spelled until it is known what they are: a policy reaches the engine with its repeated
//! keys, its order and its numbers, as if it had been read from a file.

use std::borrow::Cow;
use std::fmt;

use iam_verdict::{
    Account, Context, DocumentError, Environment, Fact, Lint, NamedPolicy, Policy, PolicyType, Principal, Request,
};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

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

/// What a line asks.
pub(super) enum Ask {
    /// To decide.
    Decision(Box<Asked>),
    /// Whether a document is valid; it is. With its lints, where they are asked for.
    Valid(Option<Vec<Lint>>),
}

/// A request and its layers.
pub(super) struct Asked {
    pub(super) environment: Environment,
    pub(super) request: Request,
    /// The next transition after this instant is asked for, in epoch seconds.
    pub(super) transition_after: Option<i64>,
}

/// The fields of a JSON object in their order, with the text of their values.
pub(super) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'a> Fields<'a> {
    /// The fields of a line.
    ///
    /// # Errors
    /// What is wrong, to follow the line's number.
    pub(super) fn of_line(line: &'a str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|bad| {
            if bad.is_data() {
                return ": must be an object".to_owned();
            }
            format!(", column {}: not JSON: {}", bad.column(), what(&bad))
        })
    }

    /// The line's `id`.
    pub(super) fn id(&self) -> Option<&'a RawValue> {
        self.get("id")
    }

    /// Reads the line.
    pub(super) fn ask(&self) -> Result<Ask, LineError> {
        match self.given("validate") {
            Some(asked) => self.validate(asked).map(Ask::Valid),
            None => self.decision().map(|asked| Ask::Decision(Box::new(asked))),
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// The field, where it is there and not null.
    fn given(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| kind(value) != Kind::Null)
    }

    /// A misspelled or repeated field would change the answer silently.
    fn only(&self, path: &str, known: &[&str]) -> Result<(), LineError> {
        if let Some((key, _)) = self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(LineError::new(member(path, key), format!("unknown field `{key}`")));
        }
        for (index, (key, _)) in self.0.iter().enumerate() {
            if self.0.iter().take(index).any(|(earlier, _)| earlier == key) {
                return Err(LineError::new(member(path, key), format!("`{key}` stands twice")));
            }
        }
        Ok(())
    }

    fn required(&self, path: &str, name: &str) -> Result<String, LineError> {
        let path = member(path, name);
        match self.given(name) {
            None => Err(LineError::new(path, "is missing")),
            Some(value) => text(&path, value),
        }
    }

    fn flag(&self, path: &str, name: &str) -> Result<bool, LineError> {
        match self.given(name).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(LineError::new(member(path, name), "must be true or false")),
        }
    }

    fn decision(&self) -> Result<Asked, LineError> {
        // The last three say nothing.
        self.only(
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
                "at",
                "nextTransition",
                "id",
                "origin",
                "expected",
            ],
        )?;
        let mut environment = Environment::new();
        environment.identity = self.policies("identityPolicies")?;
        environment.boundary = self.policy("permissionsBoundary")?;
        environment.session = self.policies("sessionPolicies")?;
        environment.resource = self.policy("resourcePolicy")?;
        environment.registry = self.policy("registryPolicy")?;
        environment.scps = self.levels("serviceControlPolicies")?;
        environment.rcps = self.levels("resourceControlPolicies")?;
        environment.endpoint = self.policy("endpointPolicy")?;
        environment.resource_account = match self.given("resourceAccountId") {
            None => Account::Unknown,
            Some(value) => Account::Known(account_id("$.resourceAccountId", value)?),
        };
        let at = self.given("at").map(|value| instant("$.at", value)).transpose()?;
        let request = self.request(at)?;
        let transition_after = match (self.flag("$", "nextTransition")?, at) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => return Err(LineError::new("$.nextTransition", "needs `at`, the time to look from")),
        };
        Ok(Asked { environment, request, transition_after })
    }

    fn request(&self, at: Option<i64>) -> Result<Request, LineError> {
        let path = "$.request";
        let Some(given) = self.given("request") else { return Err(LineError::new(path, "is missing")) };
        let fields = object(path, given)?;
        fields.only(path, &["principal", "action", "resource", "context"])?;
        let principal = fields.principal()?;
        let action = fields.required(path, "action")?;
        if action.split_once(':').is_none_or(|(service, name)| service.is_empty() || name.is_empty()) {
            return Err(LineError::new("$.request.action", format!("`{action}` is not `service:Action`")));
        }
        let resource = fields.required(path, "resource")?;
        if resource != "*" && !resource.starts_with("arn:") {
            return Err(LineError::new("$.request.resource", format!("`{resource}` is neither an ARN nor `*`")));
        }
        let context = self.context(fields.given("context"), at)?;
        Ok(Request::new(principal, action, resource).with_context(context))
    }

    fn context(&self, given: Option<&RawValue>, at: Option<i64>) -> Result<Context, LineError> {
        let mut context = Context::new();
        let mut listed: Vec<String> = Vec::new();
        // Keys are case-insensitive, so `aws:SourceIp` and `aws:sourceip` would be two answers to one question.
        let mut once = |key: &str, path: &str| {
            let key = key.to_ascii_lowercase();
            if listed.contains(&key) {
                return Err(LineError::new(path, "the context key is given twice (case does not distinguish keys)"));
            }
            listed.push(key);
            Ok(())
        };
        if let Some(given) = given {
            for (key, value) in object("$.request.context", given)?.0 {
                let path = member("$.request.context", &key);
                once(&key, &path)?;
                context.set(&key, fact(&path, value)?);
            }
        }
        if let Some(given) = self.given("unknownContext") {
            let unknown = "$.unknownContext";
            let keys = match kind(given) {
                Kind::String => vec![(unknown.to_owned(), given)],
                _ => list(unknown, given)?,
            };
            for (path, key) in keys {
                let key = text(&path, key)?;
                once(&key, &path)?;
                if key == "*" {
                    context = context.with_unlisted(Fact::Unknown);
                } else {
                    context.set(&key, Fact::Unknown);
                }
            }
        }
        if let Some(at) = at {
            for key in ["aws:CurrentTime", "aws:EpochTime"] {
                once(key, "$.at").map_err(|error| LineError {
                    message: format!("`{key}` follows from `at` and cannot be given beside it"),
                    ..error
                })?;
            }
            context.set_time(at);
        }
        Ok(context)
    }

    fn principal(&self) -> Result<Principal, LineError> {
        let path = "$.request.principal";
        let Some(given) = self.given("principal") else { return Err(LineError::new(path, "is missing")) };
        match kind(given) {
            Kind::String => named(path, given),
            Kind::Object => object(path, given)?.principal_object(path),
            _ => Err(LineError::new(path, "must be an ARN or an object")),
        }
    }

    fn principal_object(&self, path: &str) -> Result<Principal, LineError> {
        self.only(path, &["arns", "account", "scpExempt", "sessionUnknown"])?;
        let mut principal = Principal::default();
        if let Some(given) = self.given("arns") {
            for (path, item) in list(&member(path, "arns"), given)? {
                let one = named(&path, item)?;
                if principal.arns.is_empty() {
                    principal.account = one.account;
                    principal.scp_exempt = one.scp_exempt;
                }
                // The role of a session is derived only where the ARN stands alone: here both may be given.
                principal.arns.extend(one.arns.last().cloned());
            }
        }
        if let Some(given) = self.given("account") {
            principal.account = match word(given).as_deref() {
                Some("unknown") => Account::Unknown,
                Some("sameAsResource") => Account::SameAsResource,
                Some("none") => Account::Outside,
                _ => Account::Known(account_id(&member(path, "account"), given)?),
            };
        }
        principal.scp_exempt |= self.flag(path, "scpExempt")?;
        principal.session_unknown = self.flag(path, "sessionUnknown")?;
        Ok(principal)
    }

    fn policies(&self, name: &str) -> Result<Vec<NamedPolicy>, LineError> {
        self.given(name).map_or(Ok(Vec::new()), |given| policy_list(name, given))
    }

    fn levels(&self, name: &str) -> Result<Vec<Vec<NamedPolicy>>, LineError> {
        let Some(given) = self.given(name) else { return Ok(Vec::new()) };
        let levels = list(&format!("$.{name}"), given)?;
        levels.into_iter().map(|(path, level)| policy_list(path.trim_start_matches("$."), level)).collect()
    }

    fn policy(&self, name: &str) -> Result<Option<NamedPolicy>, LineError> {
        self.given(name).map(|given| policy(name, given)).transpose()
    }

    fn validate(&self, asked: &RawValue) -> Result<Option<Vec<Lint>>, LineError> {
        self.only("$", &["validate", "id", "origin", "expected"])?;
        let path = "$.validate";
        let asked = object(path, asked)?;
        asked.only(path, &["policyType", "document", "lints"])?;
        let word = asked.required(path, "policyType")?;
        let policy_type = PolicyType::from_word(word.as_str()).ok_or_else(|| {
            let types = PolicyType::ALL.map(PolicyType::as_str).join(", ");
            LineError::new("$.validate.policyType", format!("`{}` is not one of {types}", word.as_str()))
        })?;
        let document = match asked.get("document") {
            None => return Err(LineError::new("$.validate.document", "is missing")),
            Some(value) => document("$.validate.document", value)?,
        };
        let lints = asked.flag(path, "lints")?;
        iam_verdict::validate(policy_type, &document).map_err(|error| document_error("$", error))?;
        Ok(lints.then(|| iam_verdict::lint(policy_type, &document)))
    }
}

/// `2024-06-01T00:00:00Z`, or the bare number where there is no such date.
pub(super) fn rfc3339(epoch_seconds: i64) -> String {
    Timestamp::from_second(epoch_seconds).map_or_else(|_| epoch_seconds.to_string(), |at| at.to_string())
}

/// What a JSON value is, by its first character.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Null,
    Bool,
    Number,
    String,
    List,
    Object,
}

fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::List,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    }
}

/// What a reader of JSON says, without the place.
fn what(bad: &serde_json::Error) -> String {
    let full = bad.to_string();
    full.rsplit_once(" at line ").map_or(full.as_str(), |(what, _)| what).to_owned()
}

/// `path.key`, or `path["key"]` where the key is not a plain word.
fn member(path: &str, key: &str) -> String {
    if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        format!("{path}.{key}")
    } else {
        format!("{path}[{}]", serde_json::Value::from(key))
    }
}

fn object<'a>(path: &str, value: &'a RawValue) -> Result<Fields<'a>, LineError> {
    match kind(value) {
        Kind::Object => serde_json::from_str(value.get()).map_err(|bad| LineError::new(path, what(&bad))),
        _ => Err(LineError::new(path, "must be an object")),
    }
}

/// The items with their paths.
fn list<'a>(path: &str, value: &'a RawValue) -> Result<Vec<(String, &'a RawValue)>, LineError> {
    if kind(value) != Kind::List {
        return Err(LineError::new(path, "must be a list"));
    }
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|bad| LineError::new(path, what(&bad)))?;
    Ok(items.into_iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect())
}

fn text(path: &str, value: &RawValue) -> Result<String, LineError> {
    match kind(value) {
        // Half of a surrogate pair is no text.
        Kind::String => serde_json::from_str(value.get()).map_err(|bad| LineError::new(path, what(&bad))),
        Kind::Number => Err(LineError::new(path, format!("must be a string (write `\"{}\"`)", value.get()))),
        _ => Err(LineError::new(path, "must be a string")),
    }
}

/// The text, where the value is one.
fn word(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn named(path: &str, value: &RawValue) -> Result<Principal, LineError> {
    let text = text(path, value)?;
    Principal::from_text(&text).ok_or_else(|| {
        LineError::new(path, format!("`{text}` is not an ARN, an account id, the host name of a service, or `*`"))
    })
}

fn account_id(path: &str, value: &RawValue) -> Result<String, LineError> {
    let id = text(path, value)?;
    if id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()) {
        Ok(id)
    } else {
        Err(LineError::new(path, format!("`{id}` is not an account id of twelve digits")))
    }
}

/// An instant of whole seconds, which is how finely AWS tells time in conditions.
fn instant(path: &str, value: &RawValue) -> Result<i64, LineError> {
    let text = text(path, value)?;
    match text.parse::<Timestamp>() {
        Ok(at) if at.subsec_nanosecond() == 0 => Ok(at.as_second()),
        Ok(_) => Err(LineError::new(path, format!("`{text}` has a fraction of a second"))),
        Err(_) => Err(LineError::new(path, format!("`{text}` is not a time such as `2026-11-23T00:00:00Z`"))),
    }
}

fn fact(path: &str, value: &RawValue) -> Result<Fact, LineError> {
    if kind(value) != Kind::Object {
        return values(path, value).map(Fact::Values);
    }
    match object(path, value)?.0.as_slice() {
        [(word, given)] if given.get() == "true" && word == "present" => Ok(Fact::Present),
        [(word, given)] if given.get() == "true" && word == "absent" => Ok(Fact::Absent),
        [(word, given)] if given.get() == "true" && word == "unknown" => Ok(Fact::Unknown),
        [(word, given)] if word == "absentOr" => values(&member(path, "absentOr"), given).map(Fact::AbsentOr),
        _ => Err(LineError::new(
            path,
            "must be a value, a list of values, or one of {\"present\": true}, {\"absent\": true}, \
             {\"unknown\": true}, {\"absentOr\": […]}",
        )),
    }
}

/// The values of a context key, which are text in a request however they were written.
fn values(path: &str, value: &RawValue) -> Result<Vec<String>, LineError> {
    let scalar = |path: &str, value: &RawValue| match kind(value) {
        Kind::String => text(path, value),
        Kind::Number | Kind::Bool => Ok(value.get().to_owned()),
        Kind::Null => Err(LineError::new(
            path,
            "must be a string, a number or a boolean (a key that the request does not have is left out)",
        )),
        Kind::List | Kind::Object => Err(LineError::new(path, "must be a string, a number or a boolean")),
    };
    match kind(value) {
        Kind::List => list(path, value)?.into_iter().map(|(path, item)| scalar(&path, item)).collect(),
        _ => Ok(vec![scalar(path, value)?]),
    }
}

fn policy_list(name: &str, given: &RawValue) -> Result<Vec<NamedPolicy>, LineError> {
    let items = list(&format!("$.{name}"), given)?;
    items.into_iter().map(|(path, item)| policy(path.trim_start_matches("$."), item)).collect()
}

/// A policy is named by its place in the line, which is where its errors are too.
fn policy(name: &str, given: &RawValue) -> Result<NamedPolicy, LineError> {
    let path = format!("$.{name}");
    if given.get().contains("\"unreadable\"")
        && kind(given) == Kind::Object
        && let [(key, missing)] = object(&path, given)?.0.as_slice()
        && key == "unreadable"
    {
        return Ok(NamedPolicy::unreadable(name, text(&member(&path, key), missing)?));
    }
    match Policy::parse(&document(&path, given)?) {
        Ok(policy) => Ok(NamedPolicy::known(name, policy)),
        Err(error) => Err(document_error(&path, error)),
    }
}

/// The text of a document: of a string what it holds, else the value as it is spelled.
fn document<'a>(path: &str, given: &'a RawValue) -> Result<Cow<'a, str>, LineError> {
    match kind(given) {
        Kind::String => text(path, given).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(given.get())),
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
