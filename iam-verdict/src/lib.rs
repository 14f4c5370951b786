#![doc = include_str!("../README.md")]

mod arn;
mod clause;
mod condition;
mod context;
mod decision;
mod document;
mod element;
mod environment;
mod evaluate;
mod exact;
mod explain;
mod index;
mod json;
mod key;
mod layers;
mod lint;
mod missing;
mod pattern;
mod principal;
mod quote;
mod request;
mod statement;
mod time;
mod transition;
mod truth;
mod typing;
mod validate;
mod variable;

pub use context::{Context, Fact};
pub use decision::{Decision, Layer, Missing, Outcome};
pub use document::Policy;
pub use element::{DocumentError, DocumentErrorKind, StatementElement};
pub use environment::{Environment, NamedPolicy, PolicyState};
pub use evaluate::{allows_at_sight, decide, evaluate};
pub use explain::{
    ConditionFinding, Explanation, Finding, LayerExplanation, MissCause, MissedPart, NearMiss, PolicyExplanation,
    Resolution, StatementExplanation, Wanted, explain, nearest_miss,
};
pub use key::is_multivalued_key;
pub use lint::facts::{ActionFacts, ServiceFacts};
pub use lint::{Lint, LintId, Linter, MAX_LINTS, Severity, lint};
pub use missing::missing;
pub use principal::{Account, Principal};
pub use request::Request;
pub use transition::{Transition, change_instants, next_transition};
pub use truth::Truth;
pub use typing::mistyped;
pub use validate::{MAX_PROBLEMS, PolicyType, problems, validate};
