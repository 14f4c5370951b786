//! Whether a pod can pull its images from Amazon ECR, foretold from what the cluster and IAM say: no clock, no network, no
//! file, the same answer for the same facts.
//!
//! Dependencies point inward: [`policy`] and [`ecr`] know nothing of each other, [`inventory`] joins them, [`puller`] finds
//! who pulls, and [`forecast`] judges, explains and writes.

pub mod ecr;
pub mod forecast;
pub mod inventory;
pub mod policy;
pub mod puller;
pub mod text;
