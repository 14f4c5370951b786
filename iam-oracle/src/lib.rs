//! A second evaluator of IAM policies, written from the rules of `docs/iam-semantics.md` and the AWS pages they cite.
//!
//! It reads the JSON of the policies on every request, compiles nothing and shares no code with `iam-verdict`, so that
//! tests may hold one against the other. Slow and obvious on purpose. It decides requests of which everything is known:
//! a test that leaves facts open asks for each of their values.
//!
//! ```
//! use iam_oracle::{Decision, Policies, Request, decide};
//! use serde_json::json;
//!
//! let policies = Policies {
//!     identity: vec![json!({"Version": "2012-10-17", "Statement": {
//!         "Effect": "Allow", "Action": "ecr:*", "Resource": "*",
//!         "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-0abc"}}}}).into()],
//!     ..Policies::default()
//! };
//! let request = Request::new(
//!     "arn:aws:sts::111122223333:assumed-role/app/pod",
//!     "ecr:BatchGetImage",
//!     "arn:aws:ecr:us-east-1:111122223333:repository/team/app",
//! );
//! assert_eq!(decide(&policies, &request), Decision::ImplicitlyDenied);
//! assert_eq!(decide(&policies, &request.with("aws:SourceVpc", ["vpc-0abc"])), Decision::Allowed);
//! ```
//!
//! Documents have to be well formed: it panics on what the engine would refuse.

// Only tests use it, and a document that it cannot read is to end them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod condition;
mod decide;
mod pattern;
mod policies;
mod principal;
mod request;
mod value;

pub use condition::line_holds;
pub use decide::{Decision, decide, resource_applies};
pub use pattern::variables;
pub use policies::{Kind, Policies, Policy};
pub use principal::role_of;
pub use request::{Draw, Request, is_multivalued};
pub use value::address_bits;
