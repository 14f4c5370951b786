//! What is wrong with a policy object or with a document that it names.

use std::fmt;

use iam_verdict::DocumentError;

use crate::policy::FieldError;

/// A place in a policy object, or in a ConfigMap that it names, that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object, such as `ConfigMap/payments/iam-policies`; none where it is the policy object itself.
    pub object: Option<String>,
    /// Where, as a JSON path from the object: `$.spec.puller.role.arn`.
    pub path: String,
    /// What is wrong, for a person.
    pub message: String,
    /// It says that a document is not in the ConfigMap that should have it.
    pub is_missing_config_map: bool,
}

impl Problem {
    /// A problem at a path relative to the object.
    pub(crate) fn at(path: &str, message: impl Into<String>) -> Self {
        let path = if path.is_empty() { "$".to_owned() } else { format!("$.{path}") };
        Self { object: None, path, message: message.into(), is_missing_config_map: false }
    }

    /// A document that is not in the ConfigMap which the reference at a path names.
    pub(crate) fn missing_config_map(path: &str, message: impl Into<String>) -> Self {
        Self { is_missing_config_map: true, ..Self::at(path, message) }
    }

    /// The same of another object.
    pub(crate) fn of(self, object: String) -> Self {
        Self { object: Some(object), ..self }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::at(&error.path, error.message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object} ")?;
        }
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

/// Why a value is no policy object (or service account) at all. A bad *spec* is never an error, see
/// [`crate::policy::compiled::object::PolicyObject::body`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// The value is not a JSON object.
    #[error("not an object")]
    NotAnObject,
    /// `kind` is another one.
    #[error("kind `{0}` is neither EcrAccessPolicy nor ClusterEcrAccessPolicy")]
    OtherKind(String),
    /// `metadata.name` is missing or empty.
    #[error("`metadata.name` is missing")]
    NoName,
}

/// Joins the path of the document with the path inside it.
pub(crate) fn document_problem(path: &str, error: &DocumentError) -> Problem {
    let inner = error.path.strip_prefix('$').unwrap_or(&error.path);
    let message = match &error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message.clone(),
    };
    Problem::at(&format!("{path}{inner}"), message)
}
