//! The report of `check`, as JSON has it.

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
    /// No policy selects the service account.
    pub not_selected: usize,
}

impl Summary {
    /// Of these reports.
    pub fn of(reports: &[Report]) -> Self {
        let mut summary = Self::default();
        for report in reports {
            *match report.verdict {
                Verdict::Allow => &mut summary.allow,
                Verdict::Deny => &mut summary.deny,
                Verdict::Unknown => &mut summary.unknown,
                _ => &mut summary.not_selected,
            } += 1;
        }
        summary
    }
}
