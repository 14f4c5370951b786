//! The admission webhooks: `pods.ecraccess.dev` judges pods, `workloads.ecraccess.dev` warns of the pod templates of
//! workloads, `policies.ecraccess.dev` refuses a policy object whose IAM document is malformed.
//!
//! - [`message`] is the AdmissionReview, in and out.
//! - [`review_input`] is what a request about a pod or a workload comes down to, [`review`] judges it, [`policies`] checks
//!   policy objects. None knows of HTTP.
//! - [`cluster`] is what a review asks: the snapshot in memory, and the fresh reads before a rejection.
//! - [`single_flight`] makes one of the fresh reads of many reviews.
//! - [`absent`] remembers for a moment what such a read did not find.
//! - [`allotment`] is what callers share, and a half of it is kept for API servers; [`api_servers`] finds their addresses.
//! - [`server`] is HTTP: routes, limits, the deadline, the guard against panics.
//! - [`selftest`] keeps a broken judge from judging.
//! - [`tls`] serves it, [`certificates`] keeps the certificate that it serves with.
//!
//! A webhook has no side effects at all, so a dry run is an ordinary review.

pub mod absent;
pub mod allotment;
pub mod api_servers;
pub mod certificates;
pub mod cluster;
pub mod limits;
pub mod message;
pub mod policies;
pub mod review;
pub mod review_input;
pub mod selftest;
pub mod server;
pub mod single_flight;
pub mod tls;

use std::fmt;

/// Which webhook was called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Webhook {
    /// `pods.ecraccess.dev` at `/validate/pods`.
    Pods,
    /// `workloads.ecraccess.dev` at `/validate/workloads`.
    Workloads,
    /// `policies.ecraccess.dev` at `/validate/policies`.
    Policies,
}

impl Webhook {
    /// Every webhook, in the order of the configuration.
    pub const ALL: [Webhook; 3] = [Webhook::Pods, Webhook::Workloads, Webhook::Policies];

    /// The name in the webhook configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Webhook::Pods => "pods.ecraccess.dev",
            Webhook::Workloads => "workloads.ecraccess.dev",
            Webhook::Policies => "policies.ecraccess.dev",
        }
    }

    /// The path it is called at.
    pub fn path(self) -> &'static str {
        match self {
            Webhook::Pods => "/validate/pods",
            Webhook::Workloads => "/validate/workloads",
            Webhook::Policies => "/validate/policies",
        }
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
