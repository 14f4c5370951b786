//! Exact decisions where facts are not known.

use crate::request::{Environment, Missing, Request};

/// The facts that would settle the decision.
#[must_use]
pub fn missing(_env: &Environment, _request: &Request) -> Missing {
    Missing::default()
}

/// Placeholder.
pub(crate) fn decide(_env: &Environment, _request: &Request, bound: crate::request::Decision) -> crate::request::Decision {
    bound
}
