//! The strict validator.

use crate::document::{DocumentError, Policy};

/// What a document is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyType {
    /// Attached to a user, group or role.
    Identity,
    /// A permissions boundary.
    Boundary,
    /// Passed when a session is made.
    Session,
    /// Attached to a resource.
    Resource,
    /// Attached to an ECR registry.
    Registry,
    /// A service control policy.
    Scp,
    /// A resource control policy.
    Rcp,
    /// The trust policy of a role.
    Trust,
}

/// Whether AWS would take `text` as a policy of this type.
///
/// # Errors
/// The first thing that AWS would refuse.
pub fn validate(_kind: PolicyType, text: &str) -> Result<(), DocumentError> {
    Policy::parse(text).map(|_| ())
}
