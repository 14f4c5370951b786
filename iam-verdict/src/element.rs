//! Elements of a document as JSON: where they stand, what type they have, and how it is said that they are wrong.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;

use crate::condition::operator::Operator;
use crate::json::{Json, JsonError};
use crate::quote::{Clipped, MAX_SHOWN, Quoted};

/// Why a document is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocumentError {
    /// A JSON path, for example `$.Statement[0].Effect`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// What kind of mistake it is.
    pub kind: DocumentErrorKind,
    /// In which element of a statement it is, of those that programs tell apart.
    pub element: Option<StatementElement>,
}

/// Elements of a statement that programs tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatementElement {
    /// `Sid`.
    Sid,
    /// A type of principals within `Principal` or `NotPrincipal`, such as `AWS`, or one of them.
    PrincipalType,
    /// `Resource` or `NotResource`, or an entry of it.
    Resource,
}

/// Kinds of mistakes that programs tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentErrorKind {
    /// The text is no JSON, or no policy.
    #[default]
    Malformed,
    /// More than 64 lists and objects stand inside of each other. Nothing beyond is looked at.
    TooDeep,
}

impl DocumentError {
    pub(crate) fn new<'p>(path: impl Borrow<Path<'p>>, message: impl Into<String>) -> Self {
        let path = path.borrow();
        Self {
            path: path.to_string(),
            message: message.into(),
            hint: None,
            kind: DocumentErrorKind::Malformed,
            element: path.element(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DocumentError {}

impl From<JsonError> for DocumentError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Text { .. } => Self::new(Path::root(), format!("not JSON: {error}")),
            JsonError::TooDeep { .. } | JsonError::ValueTooDeep => {
                let error = Self::new(Path::root(), error.to_string()).hint("a policy needs six");
                Self { kind: DocumentErrorKind::TooDeep, ..error }
            }
        }
    }
}

/// A place in a document; printed only when an error needs it.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const fn root() -> Self {
        Self { parent: None, step: Step::Root }
    }

    pub(crate) const fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// The element of a statement that it is in.
    fn element(&self) -> Option<StatementElement> {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            steps.push(path.step);
            at = path.parent;
        }
        steps.reverse();
        let below = match steps.as_slice() {
            [Step::Root, Step::Field("Statement"), Step::Index(_), below @ ..]
            | [Step::Root, Step::Field("Statement"), below @ ..] => below,
            _ => return None,
        };
        match below {
            [Step::Field("Sid"), ..] => Some(StatementElement::Sid),
            [Step::Field("Resource" | "NotResource"), ..] => Some(StatementElement::Resource),
            [Step::Field("Principal" | "NotPrincipal"), Step::Field(_), ..] => Some(StatementElement::PrincipalType),
            _ => None,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => f.write_str("$"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Field(name)
                if !name.is_empty() && name.len() <= MAX_SHOWN && name.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                write!(f, ".{name}")
            }
            Step::Field(name) if name.chars().nth(MAX_SHOWN).is_some() => {
                write!(f, "[\"{}\"]", Clipped(name))
            }
            Step::Field(name) => write!(f, "[{name:?}]"),
        }
    }
}

pub(crate) fn field<'a, S: AsRef<str>>(fields: &'a [(S, Json<S>)], name: &str) -> Option<&'a Json<S>> {
    fields.iter().find(|(key, _)| key.as_ref() == name).map(|(_, value)| value)
}

pub(crate) fn object<'a, S>(json: &'a Json<S>, path: &Path<'_>) -> Result<&'a [(S, Json<S>)], DocumentError> {
    match json {
        Json::Object(fields) => Ok(fields),
        other => Err(DocumentError::new(path, format!("an object should stand here, not {}", other.kind()))),
    }
}

pub(crate) fn string<'a, S: AsRef<str>>(json: &'a Json<S>, path: &Path<'_>) -> Result<&'a str, DocumentError> {
    match json {
        Json::String(text) => Ok(text.as_ref()),
        other => Err(not_a_string(other, path, "a string")),
    }
}

/// That `expected` should stand where something else does. Whoever writes YAML and leaves the quotes out sees no difference, so
/// the hint is about them.
pub(crate) fn not_a_string<S: AsRef<str>>(json: &Json<S>, path: &Path<'_>, expected: &str) -> DocumentError {
    let error = DocumentError::new(path, format!("{expected} should stand here, not {}", json.kind()));
    match json {
        Json::Number(number) => {
            let number = number.as_ref();
            // An account id has twelve digits, and those in front may be zeros.
            let is_account = (9..=12).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            error.hint(if is_account {
                format!(
                    "write `\"{number:0>12}\"`; without quotes an account id is a number, and loses the zeros in front"
                )
            } else {
                format!("write `\"{}\"`", Clipped(number))
            })
        }
        Json::Bool(flag) => error.hint(format!(
            "write `\"{flag}\"`, or in YAML what stands there in quotes: without them yes, no, on and off are booleans"
        )),
        _ => error,
    }
}

/// A string or a list of strings.
pub(crate) fn strings<'a, S: AsRef<str>>(json: &'a Json<S>, path: &Path<'_>) -> Result<Vec<&'a str>, DocumentError> {
    let mut all = Vec::new();
    each_string(json, path, |text| all.push(text))?;
    Ok(all)
}

/// Calls `take` for a string, or each string of a list.
pub(crate) fn each_string<'a, S: AsRef<str>>(
    json: &'a Json<S>,
    path: &Path<'_>,
    mut take: impl FnMut(&'a str),
) -> Result<(), DocumentError> {
    match json {
        Json::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| string(item, &path.index(index)).map(&mut take))
        }
        Json::String(text) => {
            take(text.as_ref());
            Ok(())
        }
        other => Err(not_a_string(other, path, "a string or a list of strings")),
    }
}

/// A string, boolean or number, or a list of them, as text.
pub(crate) fn scalars<S: AsRef<str>>(json: &Json<S>, path: &Path<'_>) -> Result<Vec<String>, DocumentError> {
    let scalar = |json: &Json<S>, path: &Path<'_>| match json {
        Json::String(text) | Json::Number(text) => Ok(text.as_ref().to_owned()),
        Json::Bool(flag) => Ok(flag.to_string()),
        other => Err(DocumentError::new(
            path,
            format!("a string, a number or a boolean should stand here, not {}", other.kind()),
        )),
    };
    match json {
        Json::Array(items) => items.iter().enumerate().map(|(index, item)| scalar(item, &path.index(index))).collect(),
        single => Ok(vec![scalar(single, path)?]),
    }
}

/// Refuses repeated keys: AWS does, and readers that take the first or the last would differ.
pub(crate) fn no_repeats<S: AsRef<str>>(fields: &[(S, Json<S>)], path: &Path<'_>) -> Result<(), DocumentError> {
    match first_repeat(fields) {
        Some(key) => Err(repeated(key, path)),
        None => Ok(()),
    }
}

/// The first key that stood before.
fn first_repeat<S: AsRef<str>>(fields: &[(S, Json<S>)]) -> Option<&str> {
    let mut keys = fields.iter().map(|(key, _)| key.as_ref());
    // A few keys are compared faster than a set is built.
    if fields.len() <= 16 {
        let before = |at, key| fields.iter().take(at).any(|(other, _)| other.as_ref() == key);
        return keys.enumerate().find(|(at, key)| before(*at, *key)).map(|(_, key)| key);
    }
    let mut seen = BTreeSet::new();
    keys.find(|key| !seen.insert(*key))
}

/// A key that stands twice.
pub(crate) fn repeated(key: &str, path: &Path<'_>) -> DocumentError {
    DocumentError::new(path.field(key), format!("{} stands twice", Quoted(key))).hint("merge the two")
}

pub(crate) fn known_fields<S: AsRef<str>>(
    fields: &[(S, Json<S>)],
    path: &Path<'_>,
    known: &[&str],
) -> Result<(), DocumentError> {
    match fields.iter().map(|(key, _)| key.as_ref()).find(|key| !known.contains(key)) {
        Some(key) => Err(unknown_field(key, path, known)),
        None => no_repeats(fields, path),
    }
}

/// An element that may not stand here; `known` are the ones that may.
pub(crate) fn unknown_field(key: &str, path: &Path<'_>, known: &[&str]) -> DocumentError {
    let error = DocumentError::new(path.field(key), format!("{} is not an element that may stand here", Quoted(key)));
    let singular = |name: &&&str| {
        name.eq_ignore_ascii_case(key) || name.eq_ignore_ascii_case(key.strip_suffix('s').unwrap_or(key))
    };
    match known.iter().find(singular) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error
            .hint(format!("known are {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))),
    }
}

/// A statement about no action.
pub(crate) fn missing_action(path: &Path<'_>) -> DocumentError {
    DocumentError::new(path, "neither `Action` nor `NotAction` is there")
        .hint("write for example `\"Action\": \"ecr:BatchGetImage\"`")
}

/// An element stands beside its `Not` form.
pub(crate) fn exclusive(path: &Path<'_>, name: &str, negated: &str) -> DocumentError {
    DocumentError::new(path, format!("`{name}` and `{negated}` exclude each other")).hint("split the statement in two")
}

/// A name of no operator, or one that is not spelled as AWS does.
pub(crate) fn unknown_operator(name: &str, path: &Path<'_>) -> DocumentError {
    let error = DocumentError::new(path, format!("{} is not a condition operator", Quoted(name)));
    let base = name.rsplit(':').next().unwrap_or(name);
    if base.eq_ignore_ascii_case("NullIfExists") {
        return error.hint("`Null` asks for presence itself: it takes no `IfExists`");
    }
    match Operator::canonical(name).or_else(|| Operator::suggestion(name).map(str::to_owned)) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error,
    }
}

/// The element and its `Not` form exclude each other.
pub(crate) fn one_of<'a, S: AsRef<str>>(
    fields: &'a [(S, Json<S>)],
    path: &Path<'_>,
    name: &'static str,
    negated: &'static str,
) -> Result<Option<(&'static str, &'a Json<S>)>, DocumentError> {
    match (field(fields, name), field(fields, negated)) {
        (Some(_), Some(_)) => Err(exclusive(path, name, negated)),
        (Some(json), None) => Ok(Some((name, json))),
        (None, Some(json)) => Ok(Some((negated, json))),
        (None, None) => Ok(None),
    }
}
