//! The report of `check`, as JSON has it.

use std::fmt;

use ecr_forecast::diagnose::Advice;
use ecr_forecast::judge::Verdict;
use ecr_forecast::policy::API_VERSION;
use ecr_forecast::report::Report;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::problems::{CheckProblem, MOST};

/// What `ecr-access check -o json` prints. Within v1alpha1 fields are added, never renamed or removed; the same input and
/// `at` give the same bytes.
///
/// In this order of fields. `docs/check-report.schema.json` is [`schema`](super::schema()) of it.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Always `ecraccess.dev/v1alpha1`.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: &'static str,
    /// Always `CheckReport`.
    #[schemars(extend("const" = "CheckReport"))]
    pub kind: &'static str,
    /// The moment as of which everything was judged, in UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How many pods and workloads got which verdict.
    pub summary: Summary,
    /// What is wrong with the input, in its order; the first 100. Where there is one, the exit code is 2 and the rest is judged
    /// all the same.
    #[schemars(length(max = MOST))]
    pub problems: Vec<CheckProblem>,
    /// How many problems there are behind those in `problems`. Of an object with more than 1,000 problems the first 1,000 are
    /// counted.
    pub problems_omitted: usize,
    /// The pods and workloads, in the order of the input: paths as given, files of a directory sorted, documents as they
    /// stand.
    pub results: Vec<Report>,
    /// What policies with `onDeny: Audit` would say of them. Such a policy is never in force, so this changes no verdict and no
    /// exit code.
    pub trials: Vec<Report>,
    /// Objects with containers whose kinds are not known here, such as a Rollout: their images were not judged. The first 100.
    #[schemars(length(max = MOST))]
    pub skipped: Vec<SkippedObject>,
    /// What is worth changing in the policies that the results pull with. It changes no verdict, and no exit code.
    pub advice: Vec<Advice>,
}

/// Counts by verdict.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Summary {
    /// Every image can be pulled.
    pub allow: usize,
    /// Some image cannot be pulled.
    pub deny: usize,
    /// It depends on facts that are not known.
    pub unknown: usize,
    /// No policy selects the service account, or the pod is never judged.
    pub not_selected: usize,
    /// No image of theirs is in ECR, so there is nothing to judge, though a policy is in force.
    pub out_of_scope: usize,
    /// Objects with containers that were not judged, since their kinds are not known here.
    pub skipped: usize,
}

/// An object that was not judged.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct SkippedObject {
    /// Where it stands: the file, the document in it, the item of a list, and the object where it has a name.
    pub object: String,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Where its containers stand, such as `spec.template.spec.containers`.
    pub path: String,
}

impl fmt::Display for SkippedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, kind, path, .. } = self;
        write!(f, "{object}: `{path}`: {kind} is no kind that is known here, so its images were not judged")
    }
}

impl Summary {
    /// Of these reports, beside so many objects that were skipped.
    pub fn of(reports: &[Report], skipped: usize) -> Self {
        let mut summary = Self { skipped, ..Self::default() };
        for report in reports {
            *match report.verdict {
                Verdict::Allow if is_out_of_scope(report) => &mut summary.out_of_scope,
                Verdict::Allow => &mut summary.allow,
                Verdict::Deny => &mut summary.deny,
                Verdict::Unknown => &mut summary.unknown,
                _ => &mut summary.not_selected,
            } += 1;
        }
        summary
    }
}

/// Whether a report says nothing of any image.
fn is_out_of_scope(report: &Report) -> bool {
    report.images.iter().all(|image| image.verdict == Verdict::OutOfScope)
}
