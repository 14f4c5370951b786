//! What is wrong with a policy object or with a document that it names.

use std::fmt;

use iam_verdict::DocumentError;

use crate::cluster::config_map::ConfigMapKey;
use crate::facts::{Known, Unread};
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

    /// That a document is not in the ConfigMap which the reference at `path` names; none where it is there.
    pub(crate) fn missing_config_map<T>(path: &str, known: &Known<T>) -> Option<Self> {
        let Unread { wrong: None, why, way_out } = known.value.as_ref().err()? else { return None };
        Some(Self { is_missing_config_map: true, ..Self::at(path, format!("{why}; {way_out}")) })
    }

    /// What is wrong with a document in a ConfigMap; none where nothing is, and where it is not there.
    pub(crate) fn in_config_map<T>(known: &Known<T>) -> Option<Self> {
        let Unread { wrong: Some((_, path)), why, .. } = known.value.as_ref().err()? else { return None };
        Some(Self {
            object: Some(format!("ConfigMap/{}", known.from.config_map)),
            path: path.clone(),
            message: why.clone(),
            is_missing_config_map: false,
        })
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

/// What there is to say of a part of a policy object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// It is wrong, and passed over.
    Problem(Problem),
    /// It names a managed policy that is not built in, so what that allows is not known.
    Unresolved(Problem),
    /// The reference at this path names a document in a ConfigMap. What there is to say of it shows when it is looked up.
    Reference {
        /// The path, relative to the object.
        path: String,
        /// Where the document stands.
        at: ConfigMapKey,
    },
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
