//! The first stage: what is decided about a pod, as data. No words are made here, and nothing is looked for that would help.

mod admission;
mod config_maps;
mod court;
mod hearing;
mod judgement;
mod options;
mod pull;
mod pull_judgement;
mod timeline;
mod transition;
mod trial;

pub(crate) use admission::{Actions, Ruling};
pub use admission::{Admission, ExemptionUse};
pub use config_maps::config_maps;
pub(crate) use court::Court;
pub(crate) use judgement::{Found, RepositoryJudgement, speaks_up};
pub use judgement::{ImageJudgement, Judgement, judge, judge_under};
pub use options::Options;
pub(crate) use pull::Misses;
pub use pull_judgement::{Answer, Verdict, note};
pub(crate) use pull_judgement::{Existence, PullJudgement};
pub use transition::NextChange;
