//! The Kubernetes API of this program: the kinds `EcrAccessPolicy` and `ClusterEcrAccessPolicy` of
//! `ecraccess.dev/v1alpha1`, their schema with its CEL rules, their conditions, and the strict way to read them.
//!
//! - [`spec`] and [`status`] are the Rust types.
//! - [`schema`] is what the API server enforces and what `kubectl explain` prints; [`crds`] wraps it.
//! - [`rules`] are the cross-field rules once more, in Rust, for manifests that never met an API server.
//! - [`decode`] reads an object and refuses, with the path, what this binary does not understand.
//! - [`conditions`] are the names that `status.conditions` uses.

pub mod conditions;
mod decode;
mod kinds;
pub mod rules;
pub mod schema;
pub mod spec;
pub mod status;

pub use decode::{DecodeError, SHAPE, decode, validate, validate_config_map_key_ref};
pub use kinds::{AnyPolicy, PolicyKind};
pub use schema::crds;
pub use spec::{
    Action, ClusterEcrAccessPolicy, ClusterEcrAccessPolicySpec, ConfigMapKeyRef, DEFAULT_ROLE_ANNOTATION, EVERY_REGION,
    EcrAccessPolicy, EcrAccessPolicySpec, Exemption, Identity, MappedRole, Organization, OrganizationLevel,
    POLICY_DOCUMENT_LABEL, PermissionsBoundary, PolicyEntry, PolicyScope, Presence, PullThroughRule, Puller,
    RegistryDeclaration, RepositoryDeclaration, ResourcePolicy, RolePuller, ServiceAccountPuller,
    ServiceAccountSelection, UnknownWord,
};
pub use status::{AdviceEntry, Denial, ExemptionStatus, PolicyStatus, VerdictCounts};

/// The API group of every kind here.
pub const GROUP: &str = "ecraccess.dev";
/// The only version served so far.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` as it stands in a manifest.
pub const API_VERSION: &str = "ecraccess.dev/v1alpha1";
