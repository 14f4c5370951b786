//! The kinds of this API, one row each.

use ecr_forecast::policy::PolicyKind;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::policies::ClusterEcrAccessPolicy;
use super::schema;

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
        name: PolicyKind::EcrAccessPolicy.as_str(),
        plural: PolicyKind::EcrAccessPolicy.plural(),
        short_name: "eap",
        namespaced: PolicyKind::EcrAccessPolicy.is_namespaced(),
        columns: &POLICY_COLUMNS,
        schema: schema::of_one_namespace,
    },
    Kind {
        name: PolicyKind::ClusterEcrAccessPolicy.as_str(),
        plural: PolicyKind::ClusterEcrAccessPolicy.plural(),
        short_name: "ceap",
        namespaced: PolicyKind::ClusterEcrAccessPolicy.is_namespaced(),
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
