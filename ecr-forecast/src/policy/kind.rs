//! The two kinds of policy objects.

use std::fmt;

/// Which of the two kinds a policy is of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PolicyKind {
    /// `EcrAccessPolicy`, of one namespace.
    EcrAccessPolicy,
    /// `ClusterEcrAccessPolicy`, of the cluster.
    ClusterEcrAccessPolicy,
}

impl PolicyKind {
    /// Both, the namespaced one first: it outranks the other.
    pub const ALL: [PolicyKind; 2] = [PolicyKind::EcrAccessPolicy, PolicyKind::ClusterEcrAccessPolicy];

    /// `kind` as it stands in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            PolicyKind::EcrAccessPolicy => "EcrAccessPolicy",
            PolicyKind::ClusterEcrAccessPolicy => "ClusterEcrAccessPolicy",
        }
    }

    /// The kind of this name; `None` where it is neither.
    pub fn from_name(kind: &str) -> Option<PolicyKind> {
        PolicyKind::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The resource name in URLs, RBAC rules and commands.
    pub const fn plural(self) -> &'static str {
        match self {
            PolicyKind::EcrAccessPolicy => "ecraccesspolicies",
            PolicyKind::ClusterEcrAccessPolicy => "clusterecraccesspolicies",
        }
    }

    /// Whether its objects are of a namespace, or of the cluster.
    pub const fn is_namespaced(self) -> bool {
        matches!(self, PolicyKind::EcrAccessPolicy)
    }

    /// The kind whose objects are in a namespace, or without one that of the cluster.
    pub const fn within(namespace: Option<&str>) -> PolicyKind {
        if namespace.is_some() { PolicyKind::EcrAccessPolicy } else { PolicyKind::ClusterEcrAccessPolicy }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
