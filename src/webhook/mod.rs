//! The admission webhooks: `pods.ecraccess.dev` judges pods, `policies.ecraccess.dev` refuses a policy object whose IAM
//! document is malformed.
//!
//! - [`message`] is the AdmissionReview, in and out.
//! - [`review`] judges pods, [`policies`] checks policy objects. Neither knows of HTTP.
//! - [`cluster`] is what a review asks: the snapshot in memory, and the fresh reads before a rejection.
//! - [`shared`] makes one of the fresh reads of many reviews.
//! - [`server`] is HTTP: routes, limits, the deadline, the guard against panics.
//! - [`selftest`] keeps a broken judge from judging.
//! - [`tls`] serves it, [`certificates`] keeps the certificate that it serves with.
//!
//! A webhook has no side effects at all, so a dry run is an ordinary review.

pub mod certificates;
pub mod cluster;
pub mod message;
pub mod policies;
pub mod review;
pub mod selftest;
pub mod server;
pub mod shared;
pub mod tls;

use std::fmt;

/// Which webhook was called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Webhook {
    /// `pods.ecraccess.dev` at `/validate/pods`.
    Pods,
    /// `policies.ecraccess.dev` at `/validate/policies`.
    Policies,
}

impl Webhook {
    /// The name in the webhook configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Webhook::Pods => "pods.ecraccess.dev",
            Webhook::Policies => "policies.ecraccess.dev",
        }
    }

    /// The path it is called at.
    pub fn path(self) -> &'static str {
        match self {
            Webhook::Pods => "/validate/pods",
            Webhook::Policies => "/validate/policies",
        }
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
