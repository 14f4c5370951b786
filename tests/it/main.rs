//! The tests that need no cluster: one binary, a module per subject.

mod api;
mod check;
mod chart;
mod conformance;
mod ecr;
mod tidy;
mod webhook;
