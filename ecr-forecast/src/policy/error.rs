//! What is wrong with a field of an object.

/// What is wrong with an object, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{path}`: {message}")]
pub struct FieldError {
    /// The field, such as `spec.puller.role.arn` or `spec.serviceAccounts.names[2]`.
    pub path: String,
    /// What is wrong with it, without the path.
    pub message: String,
}
