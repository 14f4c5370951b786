//! Whether a pod can pull its images from Amazon ECR, foretold from what the cluster and IAM say: no clock, no network, no
//! file, the same answer for the same facts.
//!
//! Webhook, controller and command line all take the one way to a verdict, in three stages with three types:
//!
//! 1. [`judge`](judge::judge) decides: a [`Judgement`] is data, and cheap to come by. [`Judgement::next_change`] tells when it
//!    changes by itself.
//! 2. [`diagnose`](diagnose::diagnose) finds out why it is no Allow and what would help: a
//!    [`Diagnosis`](diagnose::Diagnosis), which costs a multiple of the first.
//! 3. [`render`] makes words of both: a [`Report`].
//!
//! Each answer depends on what the stage before has, and the first on the inventory, the subject, the time and the options
//! alone. Nobody pays for more than he reads: the background scan takes the first stage, and of the second the
//! [`causes`](diagnose::causes); a review takes the others once its verdict stands. [`forecast()`] is all of them.

use std::sync::Arc;

use jiff::Timestamp;

use cluster::Subject;
use diagnose::diagnose;
use inventory::Inventory;
use judge::{Judgement, Options, judge, judge_under};
use policy::compiled::PolicyObject;
use report::{Report, render};

mod annotation;
pub mod cluster;
pub mod diagnose;
pub mod ecr;
pub mod facts;
pub mod inventory;
pub mod judge;
pub mod policy;
pub mod puller;
pub mod report;
pub mod scope;
pub mod select;
pub mod text;

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
    told(subject, &judge_under(&inventory.with_documents(policy), inventory, subject, at, options))
}

fn told(subject: &Subject, judgement: &Judgement) -> Report {
    render(subject, judgement, &diagnose(judgement))
}

#[cfg(test)]
mod tests;
