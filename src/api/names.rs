//! The group and the version of this API.

/// The API group of every kind here.
pub const GROUP: &str = "ecraccess.dev";
/// The only version served so far.
pub const VERSION: &str = "v1alpha1";
