//! Both kinds treated alike.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{ClusterEcrAccessPolicy, EcrAccessPolicy, EcrAccessPolicySpec, PolicyStatus};

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
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::EcrAccessPolicy => "EcrAccessPolicy",
            PolicyKind::ClusterEcrAccessPolicy => "ClusterEcrAccessPolicy",
        }
    }

    /// The kind of this name; `None` where it is neither.
    pub fn from_name(kind: &str) -> Option<PolicyKind> {
        PolicyKind::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The resource name in URLs and RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            PolicyKind::EcrAccessPolicy => "ecraccesspolicies",
            PolicyKind::ClusterEcrAccessPolicy => "clusterecraccesspolicies",
        }
    }

    /// What the client needs to address the kind without its Rust type.
    pub fn resource(self) -> kube::api::ApiResource {
        match self {
            PolicyKind::EcrAccessPolicy => kube::api::ApiResource::erase::<EcrAccessPolicy>(&()),
            PolicyKind::ClusterEcrAccessPolicy => kube::api::ApiResource::erase::<ClusterEcrAccessPolicy>(&()),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A decoded policy of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyPolicy {
    /// Of one namespace.
    Namespaced(Box<EcrAccessPolicy>),
    /// Of the cluster.
    Cluster(Box<ClusterEcrAccessPolicy>),
}

impl AnyPolicy {
    /// Which kind it is.
    pub fn kind(&self) -> PolicyKind {
        match self {
            AnyPolicy::Namespaced(_) => PolicyKind::EcrAccessPolicy,
            AnyPolicy::Cluster(_) => PolicyKind::ClusterEcrAccessPolicy,
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            AnyPolicy::Namespaced(policy) => &policy.metadata,
            AnyPolicy::Cluster(policy) => &policy.metadata,
        }
    }

    /// The namespace of an `EcrAccessPolicy`; `None` for the cluster kind, and for a manifest that names none.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            AnyPolicy::Namespaced(policy) => policy.metadata.namespace.as_deref(),
            AnyPolicy::Cluster(_) => None,
        }
    }

    /// The object's name; empty where a manifest names none.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// `metadata.generation`: counts changes of the spec; `None` in a manifest.
    pub fn generation(&self) -> Option<i64> {
        self.metadata().generation
    }

    /// When the object was created; `None` in a manifest.
    pub fn creation(&self) -> Option<jiff::Timestamp> {
        self.metadata().creation_timestamp.as_ref().map(|time| time.0)
    }

    /// `metadata.uid`; `None` in a manifest.
    pub fn uid(&self) -> Option<&str> {
        self.metadata().uid.as_deref()
    }

    /// `metadata.resourceVersion`: differs whenever the object does; `None` in a manifest.
    pub fn resource_version(&self) -> Option<&str> {
        self.metadata().resource_version.as_deref()
    }

    /// The fields that both kinds have.
    pub fn spec(&self) -> &EcrAccessPolicySpec {
        match self {
            AnyPolicy::Namespaced(policy) => &policy.spec,
            AnyPolicy::Cluster(policy) => &policy.spec.policy,
        }
    }

    /// The namespaces that a cluster policy covers; `None` means every one. Always `None` for the namespaced kind.
    pub fn namespace_selector(&self) -> Option<&LabelSelector> {
        match self {
            AnyPolicy::Namespaced(_) => None,
            AnyPolicy::Cluster(policy) => policy.spec.namespace_selector.as_ref(),
        }
    }

    /// What the controller wrote; `None` before it did.
    pub fn status(&self) -> Option<&PolicyStatus> {
        match self {
            AnyPolicy::Namespaced(policy) => policy.status.as_ref(),
            AnyPolicy::Cluster(policy) => policy.status.as_ref(),
        }
    }
}
