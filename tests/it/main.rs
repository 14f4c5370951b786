//! The tests that need no cluster: one binary, a module per subject.

mod api;
mod chart;
mod check;
mod conformance;
mod ecr;
mod tidy;
mod webhook;
