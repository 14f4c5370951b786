//! `ecr-access` answers one question before the kubelet does: *can this pod pull its images from Amazon ECR?*
//!
//! A controller watches `EcrAccessPolicy` objects, the engine of the crate `iam-verdict` evaluates the IAM policies of
//! whoever pulls, and a validating admission webhook refuses pods that would end in `ImagePullBackOff`.
//!
//! Dependencies point inward: `iam-verdict` ← [`ecr`] ← [`inventory`], [`puller`] ← [`forecast`] ← [`index`] ←
//! [`controller`], [`webhook`], [`cli`]. `tests/it/tidy.rs` enforces it; `ARCHITECTURE.md` explains it.

pub mod api;
pub mod cli;
pub mod controller;
pub mod ecr;
pub mod forecast;
pub mod index;
pub mod inventory;
pub mod policy;
pub mod puller;
pub mod runtime;
pub mod text;
pub mod webhook;
