//! Reading a policy document: from text to matchers.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use crate::arn;
use crate::condition::Condition;
use crate::condition::operator::Operator;
use crate::context::Context;
use crate::index::{Action, Index};
use crate::json::{self, Json};
use crate::pattern::{Pattern, Wildcards};
use crate::quote::{Clipped, MAX_SHOWN, Quoted};
use crate::truth::Truth;

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
    /// What is said of a document with more than [`MAX_DEPTH`](crate::MAX_DEPTH) levels, for who found that out without
    /// reading it.
    #[must_use]
    pub fn too_deep() -> Self {
        let error = Self::new("$", json::JsonError::ValueTooDeep.to_string()).hint("a policy needs six");
        Self { kind: DocumentErrorKind::TooDeep, ..error }
    }

    pub(crate) fn new(path: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { path: path.to_string(), message: message.into(), hint: None, kind: DocumentErrorKind::Malformed }
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

impl From<json::JsonError> for DocumentError {
    fn from(error: json::JsonError) -> Self {
        match error {
            json::JsonError::Text { .. } => Self::new("$", format!("not JSON: {error}")),
            json::JsonError::TooDeep { .. } | json::JsonError::ValueTooDeep => {
                Self { message: error.to_string(), ..Self::too_deep() }
            }
        }
    }
}

/// Entries of Action elements from which on an index is built.
const WORTH_AN_INDEX: usize = 8;

/// Effect of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// A compiled policy document. Compile once, share in an [`Arc`](std::sync::Arc), evaluate often.
///
/// ```
/// use iam_verdict::Policy;
/// let error = Policy::parse(r#"{"Statement": {"Effect": "allow", "Action": "*", "Resource": "*"}}"#).unwrap_err();
/// assert_eq!(error.path, "$.Statement.Effect");
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) statements: Box<[Statement]>,
    /// None for a few statements, which are looked through as fast.
    index: Option<Index>,
    keys: Box<[String]>,
}

/// A compiled statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Sid, or `#index`.
    pub(crate) label: Arc<str>,
    pub(crate) effect: Effect,
    pub(crate) principal: Option<PrincipalClause>,
    pub(crate) action: Clause,
    /// None: the policy is attached to its resource.
    pub(crate) resource: Option<Clause>,
    pub(crate) conditions: Box<[Condition]>,
}

/// `Action`, `NotAction`, `Resource` or `NotResource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) negated: bool,
    pub(crate) entries: Box<[Entry]>,
}

/// One entry of a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) text: Arc<str>,
    pub(crate) pattern: Pattern,
    /// The pattern with the missing fields of a short ARN.
    pub(crate) completed: Option<Box<Pattern>>,
}

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrincipalClause {
    pub(crate) negated: bool,
    pub(crate) entries: Box<[PrincipalEntry]>,
}

/// One principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrincipalEntry {
    Everyone,
    /// An account id, alone or as `arn:…:root`.
    Account(Box<str>),
    /// Any other ARN under `AWS`.
    Arn(Box<str>),
    /// A service, a federated provider, or a canonical user: matched by its text.
    Other(Box<str>),
}

impl Clause {
    /// Whether an action matches; never Unknown, actions have no variables.
    pub(crate) fn matches_action(&self, action: &str) -> bool {
        self.entries.iter().any(|entry| entry.pattern.matches_plain(action)) != self.negated
    }

    /// Whether a resource matches.
    pub(crate) fn matches_resource(&self, resource: &str, context: &Context) -> Truth {
        let hit = Truth::any(&self.entries, |entry| entry.matches_resource(resource, context));
        if self.negated { !hit } else { hit }
    }
}

impl Entry {
    pub(crate) fn matches_resource(&self, resource: &str, context: &Context) -> Truth {
        // IAM-RES-6: an action without resource-level support is granted on `*` alone.
        if resource == "*" {
            return Truth::from(self.pattern.is_any());
        }
        let completed = || self.completed.as_ref().map_or(Truth::False, |pattern| pattern.matches(resource, context));
        match self.pattern.matches(resource, context) {
            Truth::True => Truth::True,
            other => other | completed(),
        }
    }
}

impl Policy {
    /// Reads a document as evaluation does: what AWS stores is accepted, short ARNs are completed. Use
    /// [`validate`](crate::validate) to ask whether AWS would take the document.
    ///
    /// # Errors
    /// Where the text is no JSON, or no policy: unknown or repeated elements, wrong types, a wrong `Effect` or
    /// `Version`, both or neither of `Action` and `NotAction`, both of `Resource` and `NotResource`, an operator that
    /// does not exist.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let json: json::Borrowed<'_> = json::read(text)?;
        Self::compile(&json)
    }

    /// As [`parse`](Self::parse), from a value that was read already. Repeated keys and the spelling of numbers are
    /// lost by then.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_value(value: &serde_json::Value) -> Result<Self, DocumentError> {
        Self::compile(&json::from_value(value, 0)?)
    }

    /// The context keys that conditions and policy variables read, lower-cased and sorted.
    pub fn condition_keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// The texts that conditions compare a context key (lower-cased) with, as they are written: wildcards and variables
    /// are not resolved. None where the key is read as a policy variable too, so that the rest of the policy may depend
    /// on its value.
    #[must_use]
    pub fn compared_with(&self, key: &str) -> Option<Vec<&str>> {
        let conditions = || self.statements.iter().flat_map(|statement| statement.conditions.iter());
        let resources = self.statements.iter().filter_map(|statement| statement.resource.as_ref());
        let in_resources = resources.flat_map(|clause| &clause.entries).flat_map(|entry| entry.pattern.variables());
        let mut variables = conditions().flat_map(|condition| condition.variables()).chain(in_resources);
        if variables.any(|variable| *variable.key == *key) {
            return None;
        }
        let of_key = conditions().filter(|condition| *condition.key == *key);
        Some(of_key.flat_map(|condition| condition.values.iter()).map(|value| &*value.text).collect())
    }

    pub(crate) fn compile<S: AsRef<str>>(json: &Json<S>) -> Result<Self, DocumentError> {
        let path = Path::root();
        let fields = object(json, &path)?;
        known_fields(fields, &path, &["Version", "Id", "Statement"])?;
        let modern = match field(fields, "Version") {
            None => false,
            Some(version) => match string(version, &path.field("Version"))? {
                "2012-10-17" => true,
                "2008-10-17" => false,
                other => {
                    return Err(DocumentError::new(
                        path.field("Version"),
                        format!("{} is not a version of the policy language", Quoted(other)),
                    )
                    .hint("write `2012-10-17`"));
                }
            },
        };
        if let Some(id) = field(fields, "Id") {
            string(id, &path.field("Id"))?;
        }
        let at = path.field("Statement");
        let statements = match field(fields, "Statement") {
            None => return Err(DocumentError::new(path, "`Statement` is missing")),
            Some(Json::Array(items)) => {
                let mut statements = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    statements.push(Statement::compile(item, index, &at.index(index), modern)?);
                }
                statements.into_boxed_slice()
            }
            Some(single) => Box::new([Statement::compile(single, 0, &at, modern)?]),
        };
        let mut keys = BTreeSet::new();
        for statement in &statements {
            for condition in &statement.conditions {
                keys.insert(condition.key.to_string());
                keys.extend(condition.variables().map(|variable| variable.key.to_string()));
            }
            for entry in statement.resource.iter().flat_map(|clause| &clause.entries) {
                keys.extend(entry.pattern.variables().map(|variable| variable.key.to_string()));
            }
        }
        let entries: usize = statements.iter().map(|statement| statement.action.entries.len()).sum();
        let index = if entries > WORTH_AN_INDEX { Index::new(&statements) } else { None };
        Ok(Self { statements, index, keys: keys.into_iter().collect() })
    }

    /// Calls `visit` for each statement about the action, in order, until it breaks.
    pub(crate) fn about<'a, B>(
        &'a self,
        action: &Action<'_>,
        mut visit: impl FnMut(&'a Statement) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match self.index.as_ref().and_then(|index| index.find(&self.statements, action)) {
            Some(found) => {
                let at = |number| usize::try_from(number).ok().and_then(|at| self.statements.get(at));
                found.iter().filter_map(at).try_for_each(visit)
            }
            None => self
                .statements
                .iter()
                .filter(|statement| statement.action.matches_action(action.text))
                .try_for_each(&mut visit),
        }
    }
}

impl Statement {
    fn compile<S: AsRef<str>>(
        json: &Json<S>,
        index: usize,
        path: &Path<'_>,
        modern: bool,
    ) -> Result<Self, DocumentError> {
        let fields = object(json, path)?;
        known_fields(
            fields,
            path,
            &[
                "Sid",
                "Effect",
                "Principal",
                "NotPrincipal",
                "Action",
                "NotAction",
                "Resource",
                "NotResource",
                "Condition",
            ],
        )?;
        let sid = match field(fields, "Sid") {
            Some(sid) => string(sid, &path.field("Sid"))?,
            None => "",
        };
        let label = if sid.is_empty() { number(index) } else { sid.into() };
        let effect = match field(fields, "Effect") {
            None => return Err(DocumentError::new(path, "`Effect` is missing").hint("write `Allow` or `Deny`")),
            Some(effect) => match string(effect, &path.field("Effect"))? {
                "Allow" => Effect::Allow,
                "Deny" => Effect::Deny,
                other => {
                    return Err(DocumentError::new(
                        path.field("Effect"),
                        format!("{} is not an effect", Quoted(other)),
                    )
                    .hint("write `Allow` or `Deny`, with this capital letter"));
                }
            },
        };
        let action = one_of(fields, path, "Action", "NotAction")?.ok_or_else(|| missing_action(path))?;
        let resource = one_of(fields, path, "Resource", "NotResource")?;
        let principal = one_of(fields, path, "Principal", "NotPrincipal")?;
        Ok(Self {
            label,
            effect,
            principal: match principal {
                None => None,
                Some((name, json)) => Some(PrincipalClause {
                    negated: name.starts_with("Not"),
                    entries: principals(json, &path.field(name))?,
                }),
            },
            action: Clause {
                negated: action.0.starts_with("Not"),
                entries: entries(action.1, &path.field(action.0), Entry::action)?,
            },
            resource: match resource {
                None => None,
                Some((name, json)) => Some(Clause {
                    negated: name.starts_with("Not"),
                    entries: entries(json, &path.field(name), |text| Entry::resource(text, modern))?,
                }),
            },
            conditions: match field(fields, "Condition") {
                None => Box::default(),
                Some(json) => conditions(json, &path.field("Condition"), modern)?,
            },
        })
    }
}

/// The label of a statement without Sid. The first few are made once.
fn number(index: usize) -> Arc<str> {
    static FIRST: LazyLock<[Arc<str>; 32]> = LazyLock::new(|| std::array::from_fn(|index| format!("#{index}").into()));
    FIRST.get(index).map_or_else(|| format!("#{index}").into(), Arc::clone)
}

impl Entry {
    fn action(text: &str) -> Self {
        let text = Arc::from(text);
        let pattern = Pattern::shared(&text, Wildcards::Free, false, true);
        Self { text, pattern, completed: None }
    }

    fn resource(text: &str, variables: bool) -> Self {
        let text: Arc<str> = Arc::from(text);
        let pattern = Pattern::shared(&text, Wildcards::Resource, variables, false);
        // IAM-RES-5: fields that an ARN leaves out at its end are completed with `*`.
        let short = text.starts_with("arn:") && text.matches(':').count() < 5;
        let completed = short.then(|| {
            let missing = 5 - text.matches(':').count();
            Box::new(Pattern::new(&format!("{text}{}", ":*".repeat(missing)), Wildcards::Resource, variables, false))
        });
        Self { text, pattern, completed }
    }
}

fn entries<S: AsRef<str>>(
    json: &Json<S>,
    path: &Path<'_>,
    mut compile: impl FnMut(&str) -> Entry,
) -> Result<Box<[Entry]>, DocumentError> {
    let mut entries = Vec::with_capacity(if let Json::Array(items) = json { items.len() } else { 1 });
    each_string(json, path, |text| entries.push(compile(text)))?;
    Ok(entries.into_boxed_slice())
}

fn principals<S: AsRef<str>>(json: &Json<S>, path: &Path<'_>) -> Result<Box<[PrincipalEntry]>, DocumentError> {
    if let Json::String(text) = json {
        return match text.as_ref() {
            "*" => Ok(Box::new([PrincipalEntry::Everyone])),
            other => Err(DocumentError::new(path, format!("{} is not a principal", Quoted(other)))
                .hint("write `\"*\"` or an object such as `{\"AWS\": \"arn:…\"}`")),
        };
    }
    let fields = object(json, path)?;
    known_fields(fields, path, &["AWS", "Service", "Federated", "CanonicalUser"])?;
    let mut entries = Vec::new();
    for (kind, json) in fields {
        let kind = kind.as_ref();
        for text in strings(json, &path.field(kind))? {
            entries.push(match kind {
                "AWS" if text == "*" => PrincipalEntry::Everyone,
                "AWS" if arn::is_account_id(text) => PrincipalEntry::Account(text.into()),
                "AWS" => match arn::account_of_root(text) {
                    Some(account) => PrincipalEntry::Account(account.into()),
                    None => PrincipalEntry::Arn(text.into()),
                },
                _ => PrincipalEntry::Other(text.into()),
            });
        }
    }
    Ok(entries.into_boxed_slice())
}

fn conditions<S: AsRef<str>>(json: &Json<S>, path: &Path<'_>, modern: bool) -> Result<Box<[Condition]>, DocumentError> {
    let mut all = Vec::new();
    let operators = object(json, path)?;
    no_repeats(operators, path)?;
    for (name, block) in operators {
        let name = name.as_ref();
        let at = path.field(name);
        let operator = Operator::parse(name).ok_or_else(|| unknown_operator(name, &at))?;
        let lines = object(block, &at)?;
        no_repeats(lines, &at)?;
        for (key, values) in lines {
            let key = key.as_ref();
            let texts = scalars(values, &at.field(key))?;
            all.push(Condition::new(operator, name, key, &texts, modern));
        }
    }
    Ok(all.into_boxed_slice())
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
        other => {
            let error = DocumentError::new(path, format!("a string should stand here, not {}", other.kind()));
            Err(if let Json::Number(number) = other {
                error.hint(format!("write `\"{}\"`", Clipped(number.as_ref())))
            } else {
                error
            })
        }
    }
}

/// A string or a list of strings.
pub(crate) fn strings<'a, S: AsRef<str>>(json: &'a Json<S>, path: &Path<'_>) -> Result<Vec<&'a str>, DocumentError> {
    let mut all = Vec::new();
    each_string(json, path, |text| all.push(text))?;
    Ok(all)
}

/// Calls `take` for a string, or each string of a list.
fn each_string<'a, S: AsRef<str>>(
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
        other => Err(DocumentError::new(
            path,
            format!("a string or a list of strings should stand here, not {}", other.kind()),
        )),
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
    if base.eq_ignore_ascii_case("NullIfExists") || (base != name && base.eq_ignore_ascii_case("Null")) {
        return error.hint("`Null` asks for presence itself: it takes neither `IfExists` nor a set operator");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(text: &str) -> String {
        Policy::parse(text).unwrap_err().path
    }

    #[test]
    fn errors_carry_the_path() {
        assert_eq!(path_of("[]"), "$");
        assert_eq!(path_of("{}"), "$");
        assert_eq!(path_of(r#"{"Version":"2012","Statement":[]}"#), "$.Version");
        assert_eq!(path_of(r#"{"Statement":[{"Effect":"Allow","Resource":"*"}]}"#), "$.Statement[0]");
        assert_eq!(
            path_of(r#"{"Statement":[{"Effect":"Allow","Action":["a:b",1],"Resource":"*"}]}"#),
            "$.Statement[0].Action[1]"
        );
        assert_eq!(path_of(r#"{"Statement":{"Effect":"Allow","Action":"*","Actions":"*"}}"#), "$.Statement.Actions");
        let text = r#"{"Statement":[{"Effect":"Allow","Action":"*","Condition":{"StringEquals":{"aws:a":[null]}}}]}"#;
        assert_eq!(path_of(text), r#"$.Statement[0].Condition.StringEquals["aws:a"][0]"#);
    }

    #[test]
    fn messages_hint() {
        let error = Policy::parse(r#"{"Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`$.Statement[0].Effect`: `allow` is not an effect (write `Allow` or `Deny`, with this capital letter)"
        );
    }

    #[test]
    fn tells_what_a_key_is_compared_with() {
        let policy = Policy::parse(
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"aws:UserId":["*:a","b"],"aws:username":"u"}}},
                {"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/T}","Condition":{
                    "StringNotEquals":{"aws:userid":"c"},"StringEquals":{"aws:SourceIdentity":"${aws:username}"}}}]}"#,
        )
        .unwrap();
        assert_eq!(policy.compared_with("aws:userid"), Some(vec!["*:a", "b", "c"]));
        assert_eq!(policy.compared_with("aws:sourceip"), Some(vec![]));
        assert_eq!(policy.compared_with("aws:username"), None);
        assert_eq!(policy.compared_with("aws:principaltag/t"), None);
    }

    #[test]
    fn both_readers_agree() {
        let text = r#"{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Deny","NotAction":"a:*","Resource":"arn:aws:ecr:*:*:${aws:PrincipalTag/T}",
            "Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":300},"Bool":{"aws:SecureTransport":true}}}]}"#;
        let read = Policy::parse(text).unwrap();
        let value = Policy::from_value(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(
            read.condition_keys().collect::<Vec<_>>(),
            ["aws:multifactorauthage", "aws:principaltag/t", "aws:securetransport"]
        );
        assert_eq!(read.condition_keys().collect::<Vec<_>>(), value.condition_keys().collect::<Vec<_>>());
    }
}
