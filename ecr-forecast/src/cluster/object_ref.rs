//! How an object that a verdict rests on is named.

use std::fmt;

use super::config_map::ConfigMapName;

/// An object of the cluster, or all of a kind, that a verdict rests on. Displayed as a person would name it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectRef {
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A namespace, for its labels.
    Namespace(String),
    /// All policy objects of a namespace, or without one those of the cluster.
    Policies(Option<String>),
    /// A ConfigMap with policy documents.
    ConfigMap(ConfigMapName),
    /// An object of another kind that a source of facts reads.
    Fact {
        /// Its kind.
        kind: String,
        /// Its namespace; none where it is of the cluster.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
}

impl ObjectRef {
    /// Whether it can be read once more, past its watch, before bad news is told. A fact is put by whoever reads it, and only
    /// there it is known how.
    #[must_use]
    pub const fn is_read_fresh(&self) -> bool {
        !matches!(self, Self::Fact { .. })
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Policies(Some(namespace)) => write!(f, "policies of {namespace}"),
            Self::Policies(None) => f.write_str("policies of the cluster"),
            Self::ConfigMap(name) => write!(f, "ConfigMap {name}"),
            Self::Fact { kind, namespace: Some(namespace), name } => write!(f, "{kind} {namespace}/{name}"),
            Self::Fact { kind, namespace: None, name } => write!(f, "{kind} {name}"),
        }
    }
}
