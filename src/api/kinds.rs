//! The kinds of this API, one row each, and both kinds of policies treated alike.

use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{ClusterEcrAccessPolicy, EcrAccessPolicy, EcrAccessPolicySpec, PolicyStatus, schema};

/// A kind of the group [`super::GROUP`], as its CustomResourceDefinition has it.
#[derive(Debug)]
pub(super) struct Kind {
    /// `kind` as it stands in a manifest.
    pub(super) name: &'static str,
    /// The resource name in URLs and RBAC rules.
    pub(super) plural: &'static str,
    /// The name for those who type it.
    pub(super) short_name: &'static str,
    /// Whether its objects are of a namespace, or of the cluster.
    pub(super) namespaced: bool,
    /// What `kubectl get` shows.
    pub(super) columns: &'static [Column],
    /// The schema of its objects.
    pub(super) schema: fn() -> JSONSchemaProps,
}

/// A column of `kubectl get`.
#[derive(Debug)]
pub(super) struct Column {
    /// The title.
    pub(super) name: &'static str,
    /// A type of OpenAPI, or `date`.
    pub(super) type_: &'static str,
    /// Where the value stands in an object, as JSONPath.
    pub(super) path: &'static str,
    /// Whether it takes `-o wide` to see it.
    pub(super) wide: bool,
    /// What the value says.
    pub(super) about: &'static str,
}

/// Every kind, the policies first.
pub(super) static KINDS: [Kind; 2] = [
    Kind {
        name: "EcrAccessPolicy",
        plural: "ecraccesspolicies",
        short_name: "eap",
        namespaced: true,
        columns: &POLICY_COLUMNS,
        schema: schema::of_one_namespace,
    },
    Kind {
        name: "ClusterEcrAccessPolicy",
        plural: "clusterecraccesspolicies",
        short_name: "ceap",
        namespaced: false,
        columns: &POLICY_COLUMNS,
        schema: schema::of::<ClusterEcrAccessPolicy>,
    },
];

static POLICY_COLUMNS: [Column; 8] = [
    column("Ready", "string", READY_STATUS, "Whether pods are judged by this policy."),
    column("Allowed", "integer", ".status.pods.allowed", "Pods that can pull all their images."),
    column("Denied", "integer", ".status.pods.denied", "Pods that could not pull one of their images."),
    column("Unknown", "integer", ".status.pods.unknown", "Pods for which some fact is missing."),
    column("OnDeny", "string", ".spec.onDeny", "What happens to a pod that could not pull."),
    column("Age", "date", ".metadata.creationTimestamp", "Time since the policy was created."),
    wide("Accounts", "integer", ".status.serviceAccounts", "Service accounts that this policy decides for."),
    wide("Message", "string", READY_MESSAGE, "Why the policy is, or is not, ready."),
];
const READY_STATUS: &str = r#".status.conditions[?(@.type=="Ready")].status"#;
const READY_MESSAGE: &str = r#".status.conditions[?(@.type=="Ready")].message"#;

const fn column(name: &'static str, type_: &'static str, path: &'static str, about: &'static str) -> Column {
    Column { name, type_, path, wide: false, about }
}

const fn wide(name: &'static str, type_: &'static str, path: &'static str, about: &'static str) -> Column {
    Column { name, type_, path, wide: true, about }
}

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

    /// Its row of the table of kinds.
    pub(super) fn row(self) -> &'static Kind {
        let [namespaced, cluster, ..] = &KINDS;
        match self {
            PolicyKind::EcrAccessPolicy => namespaced,
            PolicyKind::ClusterEcrAccessPolicy => cluster,
        }
    }

    /// `kind` as it stands in a manifest.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The kind of this name; `None` where it is neither.
    pub fn from_name(kind: &str) -> Option<PolicyKind> {
        PolicyKind::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The resource name in URLs and RBAC rules.
    pub fn plural(self) -> &'static str {
        self.row().plural
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
