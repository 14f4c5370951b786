//! The first stage: what is decided about a pod, as data. No words are made here, and nothing is looked for that would help.

mod admission;
mod depends_on;
mod judgement;
mod options;
mod pull;
mod pull_evaluator;
mod pull_judgement;
mod repository_evaluation;
mod request_evaluation;
mod timeline;
mod transition;

pub(crate) use admission::{Actions, AdmissionDecision};
pub use admission::{Admission, ExemptionUse};
pub use depends_on::depends_on;
pub(crate) use judgement::{Found, RepositoryJudgement, speaks_up};
pub use judgement::{ImageJudgement, Judgement, judge, judge_under};
pub use options::Options;
pub(crate) use pull::Misses;
pub(crate) use pull_evaluator::PullEvaluator;
pub(crate) use pull_judgement::{Existence, PullJudgement};
pub use pull_judgement::{RequestDecision, Verdict, note};
pub use transition::NextChange;
