//! The one way to a verdict: webhook, controller and command line all take it, in three stages with three types.
//!
//! 1. [`judge`] decides: a [`Judgement`] is data, and cheap to come by. [`Judgement::next_change`] tells when it changes by
//!    itself.
//! 2. [`diagnose`] finds out why it is no Allow and what would help: a [`Diagnosis`], which costs a multiple of the first.
//! 3. [`render`] makes words of both: a [`Report`].
//!
//! Each answer depends on what the stage before has, and the first on the inventory, the subject, the time and the options
//! alone. Nobody pays for more than he reads: the background scan takes the first stage, and of the second the
//! [`causes`]; a review takes the others once its verdict stands.

use std::sync::Arc;

use jiff::Timestamp;

use crate::inventory::{Inventory, PolicyObject};

mod admission;
mod advise;
mod compose;
mod config_maps;
mod diagnose;
mod explain;
mod judge;
mod message;
mod options;
mod render;
mod report;
pub mod scope;
mod subject;
mod texts;
mod transition;
mod workload_kind;

pub use self::config_maps::config_maps;
pub use crate::ecr::judge::Verdict;
pub use admission::{Admission, ExemptionUse};
pub use advise::{Advice, AdviceKind, Uses, advise, lints_of};
pub use diagnose::{Diagnosis, causes, diagnose};
pub use judge::{ImageJudgement, Judgement, judge, judge_under};
pub use message::{MAX_LINE, MAX_MESSAGE};
pub use options::Options;
pub use render::render;
pub use report::{Candidate, Cause, DecisionReport, ImageReport, Report};
pub use subject::{ContainerKind, ImageUse, Subject, SubjectError};
pub use transition::NextChange;
pub use workload_kind::WorkloadKind;

/// All three stages for a subject at the time `at`.
#[must_use]
pub fn forecast(inventory: &Inventory, subject: &Subject, at: Timestamp, options: &Options) -> Report {
    let judgement = judge(inventory, subject, at, options);
    let mut report = told(subject, &judgement);
    report.next_transition = judgement.next_change().at();
    report
}

/// The same as if `policy` were in force: for policies that are tried out with `onDeny: Audit`, and take no part in
/// selection. When it changes by itself is not looked for.
#[must_use]
pub fn forecast_under(
    policy: &Arc<PolicyObject>,
    inventory: &Inventory,
    subject: &Subject,
    at: Timestamp,
    options: &Options,
) -> Report {
    told(subject, &judge_under(policy, inventory, subject, at, options))
}

fn told(subject: &Subject, judgement: &Judgement) -> Report {
    render(subject, judgement, &diagnose(judgement))
}

#[cfg(test)]
mod tests;
