//! The tests that need no cluster: one binary, a module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking; clippy.toml allows it in test functions, not in their helpers"
)]

mod api;
mod bad_input;
mod chart;
mod check;
mod conformance;
mod docs;
mod ecr;
mod evaluate;
mod exemptions;
#[path = "../fake_cluster/mod.rs"]
mod fake_cluster;
mod fixes;
mod fuzz;
mod messages;
mod operations;
mod pages;
mod resolution;
mod reviews;
#[allow(dead_code, reason = "the tests of the cluster use the rest")]
#[path = "../scenario/mod.rs"]
mod scenario;
mod scenarios;
mod status;
mod strangers;
mod tidy;
mod tree;
mod warnings;
mod webhook;
mod withholding;
mod without_a_role;
mod workloads;
