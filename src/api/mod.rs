//! The Kubernetes API of this program: the kinds `EcrAccessPolicy` and `ClusterEcrAccessPolicy` of
//! `ecraccess.dev/v1alpha1`, their CustomResourceDefinitions, status and conditions. What `spec` says is [`ecr_forecast::policy`].
//!
//! - [`crds`] is what the API server enforces and what `kubectl explain` prints.
//! - [`status`] are the Rust types of `status`, [`conditions`] the names that `status.conditions` uses.

pub mod conditions;
mod crd;
mod kinds;
mod names;
mod policies;
mod schema;
pub mod status;

pub use crd::crds;
pub use names::{GROUP, VERSION};
pub use policies::{ClusterEcrAccessPolicy, EcrAccessPolicy, validate};
pub use status::{AdviceEntry, Denial, ExemptionStatus, PolicyStatus, VerdictCounts};
