#![doc = include_str!("../README.md")]

mod arn;
mod condition;
mod document;
mod evaluate;
mod explain;
mod index;
mod json;
mod lint;
mod pattern;
mod quote;
mod request;
mod settle;
mod time;
mod transition;
mod truth;
mod validate;

pub use condition::key::is_multivalued_key;
pub use document::{DocumentError, Policy};
pub use evaluate::{allows_at_sight, decide, evaluate};
pub use explain::{
    ConditionFinding, Explanation, Finding, LayerExplanation, MissCause, MissedPart, NearMiss, PolicyExplanation,
    Resolution, StatementExplanation, Wanted, explain, nearest_miss,
};
pub use lint::facts::{ActionFacts, ServiceFacts};
pub use lint::{Lint, LintId, Linter, MAX_LINTS, Severity, lint};
pub use request::{
    Account, Context, Decision, Environment, Fact, Layer, Missing, NamedPolicy, Outcome, PolicyState, Principal,
    Request,
};
pub use settle::missing;
pub use transition::{Transition, change_instants, next_transition};
pub use truth::Truth;
pub use validate::{MAX_PROBLEMS, PolicyType, problems, validate};
