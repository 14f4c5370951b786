//! The policies that take part in a decision, as JSON.

use serde_json::Value;

/// The policies that take part in a decision, by layer. The default has none of them.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Identity-based policies of the principal.
    pub identity: Vec<Policy>,
    /// The permissions boundary, if there is one.
    pub boundary: Option<Policy>,
    /// Session policies; none means that the session is not limited.
    pub session: Vec<Policy>,
    /// The policy of the resource.
    pub resource: Option<Policy>,
    /// The policy of the registry that holds the resource.
    pub registry: Option<Policy>,
    /// Service control policies by level. A level that does not allow denies.
    pub scps: Vec<Vec<Policy>>,
    /// Resource control policies by level. They only deny.
    pub rcps: Vec<Vec<Policy>>,
    /// The policy of the VPC endpoint, if the request goes through one that has a policy.
    pub endpoint: Option<Policy>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The document.
    Document(Value),
    /// The document could not be read; the request says under this name what it says ([`Request::draws`]).
    ///
    /// [`Request::draws`]: crate::Request::draws
    Unreadable(String),
}

impl From<Value> for Policy {
    fn from(document: Value) -> Self {
        Self::Document(document)
    }
}

/// How a policy stands to principal and resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Attached to the principal, whom it means: identity, boundary, session, SCP.
    Attached,
    /// Attached to the resource, which it means: repository, registry. Without a principal it means nobody.
    Resource,
    /// RCP and endpoint: without a principal it means everyone.
    Guard,
}

/// A value, or the values of a list.
pub(crate) fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        single => vec![single],
    }
}

/// The same as texts; numbers and booleans as they are written.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    one_or_many(value)
        .into_iter()
        .map(|item| match item {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}
