//! Reading a policy document: from text to matchers.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use crate::arn;
use crate::clause::{Clause, Entry};
use crate::condition::Condition;
use crate::condition::operator::Operator;
use crate::element::{
    DocumentError, Path, each_string, field, known_fields, missing_action, no_repeats, object, one_of, scalars, string,
    strings, unknown_operator,
};
use crate::index::{Action, Index};
use crate::json::{self, Json};
use crate::quote::Quoted;

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
        let actions = statements.iter().map(|statement| &statement.action);
        let index = if entries > WORTH_AN_INDEX { Index::new(actions) } else { None };
        Ok(Self { statements, index, keys: keys.into_iter().collect() })
    }

    /// Calls `visit` for each statement about the action, in order, until it breaks.
    pub(crate) fn about<'a, B>(
        &'a self,
        action: &Action<'_>,
        mut visit: impl FnMut(&'a Statement) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let clause = |at: usize| self.statements.get(at).map(|statement| &statement.action);
        match self.index.as_ref().and_then(|index| index.find(clause, action)) {
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
