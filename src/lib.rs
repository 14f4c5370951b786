//! `ecr-access` answers one question before the kubelet does: *can this pod pull its images from Amazon ECR?*
//!
//! A controller watches `EcrAccessPolicy` objects, the engine of the crate `iam-verdict` evaluates the IAM policies of
//! whoever pulls, and a validating admission webhook refuses pods that would end in `ImagePullBackOff`.
//!
//! Verdicts are made by the crate `ecr-forecast`; this one is what surrounds them: dependencies point inward, `iam-verdict` ←
//! `ecr-forecast` ← [`index`] ← [`controller`], [`webhook`], [`cli`]. `tests/it/tidy.rs` holds the arrows inside of this crate;
//! `ARCHITECTURE.md` explains it.

pub mod api;
pub mod cli;
pub mod controller;
pub mod index;
pub mod runtime;
pub mod webhook;
