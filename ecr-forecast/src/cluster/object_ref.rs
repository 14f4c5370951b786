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
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Policies(Some(namespace)) => write!(f, "policies of {namespace}"),
            Self::Policies(None) => f.write_str("policies of the cluster"),
            Self::ConfigMap(name) => write!(f, "ConfigMap {name}"),
        }
    }
}
