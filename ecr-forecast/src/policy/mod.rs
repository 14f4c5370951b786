//! What a policy object says: the Rust types of `spec`, their schema, the rules that types cannot express, and the strict way
//! to read them.
//!
//! - [`EcrAccessPolicySpec`] and what it is made of are the types, with a [`LabelSelector`] among them; both kinds
//!   ([`PolicyKind`]) have the same.
//! - [`schema`] is their schema as a CustomResourceDefinition takes it.
//! - [`rules`] are the rules in CEL; objects that never met an API server are held against the same in Rust.
//! - [`decode()`] reads an object and refuses, with the path, what this binary does not understand.
//! - [`compiled`] is what verdicts are made of.

pub mod check;
pub mod compiled;
mod decode;
mod documents;
mod error;
mod grammar;
mod kind;
mod label_selector;
pub mod parts;
pub mod rules;
pub mod schema;
mod spec;
mod violations;

pub use decode::{API_VERSION, decode, validate};
pub use error::FieldError;
pub(crate) use grammar::date_time;
pub use kind::PolicyKind;
pub use label_selector::{LabelSelector, LabelSelectorRequirement};
pub use spec::{
    Action, ClusterEcrAccessPolicySpec, ConfigMapKeyRef, DocumentSource, EcrAccessPolicySpec, Exemption, Identity,
    MAX_EXEMPTIONS, MappedRole, Organization, OrganizationLevel, POLICY_DOCUMENT_LABEL, PolicyEntry, PolicyScope,
    Presence, PullThroughRule, Puller, RegistryDeclaration, RepositoryDeclaration, ResourcePolicy, RolePuller,
    ServiceAccountPuller, ServiceAccountSelection, UnknownActionError, UnknownWord,
};
pub(crate) use spec::{DEFAULT_ROLE_ANNOTATION, EVERY_REGION};
