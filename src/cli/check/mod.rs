//! `ecr-access check`: judges manifests offline, by the function that the webhook calls.
//!
//! [`read`](self) turns paths into JSON values ([`yaml`] as kubectl does), `objects` turns those into an inventory and
//! pods, [`ecr_forecast::forecast`] judges, and this module or `text` prints. Bad input never hides the rest: it
//! is a problem of the report, and the exit code says so.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use ecr_forecast::cluster::Subject;
use ecr_forecast::diagnose::advise;
use ecr_forecast::ecr::needs::Need;
use ecr_forecast::judge::{Admission, Options, Verdict, note};
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::policy::{API_VERSION, Action};
use ecr_forecast::report::Report;
use ecr_forecast::scope::is_left_alone;
use ecr_forecast::select::{Selection, covers, select};
use ecr_forecast::text::escaped;
use ecr_forecast::{forecast, forecast_under};
use globset::Glob;
use jiff::Timestamp;

use objects::Gathered;
use problems::{Firsts, Problems};
use report::{CheckReport, Summary};

use super::outcome::Outcome;

mod json;
mod left_aside;
mod objects;
mod origin;
mod path;
pub mod problems;
mod read;
mod report;
mod schema;
mod text;
pub mod yaml;

pub use schema::schema;

/// Arguments of `ecr-access check`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub struct CheckArgs {
    /// Manifests to judge: a file, a directory (recursive) or `-` for standard input; repeatable
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// How to print the report
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Judge as of this moment instead of now, for example 2026-11-23T00:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = timestamp)]
    at: Option<Timestamp>,
    /// The most that a verdict may lead to, as in the chart's `maxAction`
    #[arg(long, value_name = "Reject|Warn|Audit", value_parser = action, default_value = "Reject")]
    max_action: Action,
    /// Ask for this too, of every repository and with the credentials that pull; repeatable
    #[arg(long, value_name = "Push|List|Console", value_parser = need)]
    requires: Vec<Need>,
    /// Exit with 1 where there is one of these as well; repeatable
    #[arg(long, value_name = "unknown|unselected|skipped", value_enum)]
    fail_on: Vec<FailOn>,
    /// Leave out what this matches in directories, such as `overlays/dev/**` or `*-patch.yaml`; repeatable
    #[arg(long, value_name = "GLOB", value_parser = left_aside::pattern)]
    exclude: Vec<Glob>,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
}

/// What makes an exit code of 1 beside a denial.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum FailOn {
    /// A verdict is Unknown
    Unknown,
    /// No policy selects a pod or workload that may be judged
    Unselected,
    /// An object has containers, and its kind is not known
    Skipped,
}

impl FailOn {
    fn is_met(self, report: &CheckReport) -> bool {
        match self {
            FailOn::Unknown => report.summary.unknown > 0,
            FailOn::Unselected => {
                let unselected = |result: &Report| {
                    result.verdict == Verdict::NotSelected && !result.notes.contains(&note::NEVER_JUDGED)
                };
                report.results.iter().any(unselected)
            }
            FailOn::Skipped => report.summary.skipped > 0,
        }
    }
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    /// For a person
    Text,
    /// For a program: docs/check-report.schema.json describes it
    Json,
}

const DETAILS: &str = "\
Judged are pods and the templates of Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs and
ReplicationControllers, by the EcrAccessPolicies, ClusterEcrAccessPolicies, ServiceAccounts, Namespaces and labelled
ConfigMaps of the same input. Of other kinds, those with containers are named as skipped. What the input does not hold is
not known: a pod whose service account is missing may be Unknown here and Allow in the cluster.

With --requires a pod is denied as well where its puller could not Push to its repositories, List their images, or look at
them in the Console. The webhook never asks for that: pushes use other credentials than the kubelet's.

PATH is YAML or JSON, of several documents or `List`s; of a directory, its *.yaml, *.yml and *.json files that are not
hidden. In a directory, what is no manifest is left aside and counted: documents without `apiVersion` and `kind`, the files that
a kustomization names as patches, and the templates of a Helm chart, which have to be rendered first. Scalars are read as kubectl
reads them: a plain `yes` is a boolean, 012 is ten. Documents are counted from 1, without empty ones. An object that is given
twice counts as the last one given.

Policies with `onDeny: Audit` are tried on what they select, and what they would say is shown apart: it changes nothing.

Exit codes: 0 nothing denied, 1 some verdict is Deny, some admission Rejected, or what --fail-on names is there, 2 bad input
(the rest is still judged). What the cluster's webhook would refuse is bad input.";

/// Runs the subcommand.
pub fn run(args: &CheckArgs) -> Outcome {
    // The one place where the clock is read; nanoseconds would only make the report longer.
    let now = || {
        let now = Timestamp::now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    };
    let at = args.at.unwrap_or_else(now);
    let mut problems = Problems::default();
    let read::Input { loaded, notes: aside } = read::read(&args.paths, &args.exclude, &mut problems);
    let mut gathered = objects::gather(loaded, &args.namespace, at, &mut problems);
    let options = Options { max_action: args.max_action, requires: args.requires.clone(), ..Options::default() };
    let results: Vec<Report> =
        gathered.subjects.iter().map(|subject| forecast(&gathered.inventory, subject, at, &options)).collect();

    let trials = trials(&gathered, at, &options);
    let summary = Summary::of(&results, gathered.skipped.count());
    let advice = advise(&gathered.inventory, &gathered.subjects, &options.requires);
    let mut notes = aside;
    notes.append(std::mem::take(&mut gathered.notes));
    notes.append(conflicts(&gathered));
    for skipped in gathered.skipped.kept() {
        notes.push_with(|| skipped.to_string());
    }
    notes.omit(gathered.skipped.omitted());
    let bad_input = problems.count() > 0;
    let (problems, problems_omitted) = problems.into_parts();
    let report = CheckReport {
        api_version: API_VERSION,
        kind: "CheckReport",
        at,
        summary,
        problems,
        problems_omitted,
        results,
        trials,
        skipped: gathered.skipped.into_parts().0,
        advice,
    };
    let denied =
        report.results.iter().any(|report| report.verdict == Verdict::Deny || report.admission == Admission::Rejected);
    let outcome = match (bad_input, denied || args.fail_on.iter().any(|what| what.is_met(&report))) {
        (true, _) => Outcome::BadInput,
        (false, true) => Outcome::Denied,
        (false, false) => Outcome::Clean,
    };
    tell("note", notes.kept(), notes.omitted());
    match print(args.output, &report, gathered.objects) {
        Ok(()) => outcome,
        // The reader went away, as in `ecr-access check … | head`; what it saw was right.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => outcome,
        Err(error) => {
            eprintln!("error: standard output: {error}");
            Outcome::BadInput
        }
    }
}

/// What policies that are tried out would say of what they select.
fn trials(gathered: &Gathered, at: Timestamp, options: &Options) -> Vec<Report> {
    let Gathered { inventory, subjects, .. } = gathered;
    let is_judged = |subject: &&Subject| !subject.mirror && !is_left_alone(&subject.namespace, None);
    let mut trials = Vec::new();
    for subject in subjects.iter().filter(is_judged) {
        let selects = |policy: &&Arc<PolicyObject>| {
            let covered = covers(policy, inventory, &subject.namespace, &subject.service_account);
            policy.on_deny == Action::Audit && covered.is_some_and(|(_, sure)| sure)
        };
        let on_trial = inventory.policies_for(&subject.namespace).filter(selects);
        trials.extend(on_trial.map(|policy| forecast_under(policy, inventory, subject, at, options)));
    }
    trials
}

/// Notes of policies between which nothing but their age decides: a cluster knows it, an input seldom does.
fn conflicts(gathered: &Gathered) -> Firsts<String> {
    let Gathered { inventory, subjects, .. } = gathered;
    let accounts: BTreeSet<_> =
        subjects.iter().map(|subject| (subject.namespace.as_str(), subject.service_account.as_str())).collect();
    let mut notes = Firsts::default();
    for (namespace, name) in accounts {
        if let Selection::Policy { policy, tied, .. } = select(inventory, namespace, name)
            && let Some(other) = tied.first()
        {
            notes.push_with(|| {
                let more = if tied.len() > 1 { format!(" (+{} more)", tied.len() - 1) } else { String::new() };
                format!(
                    "{} and {other}{more} select service account {namespace}/{name} alike: in a cluster the older one is in force, \
                     here {}",
                    policy.key,
                    match policy.creation {
                        Some(_) => "the one with the earlier creationTimestamp".to_owned(),
                        None => format!("{}, by its name, since the input has no creationTimestamp", policy.key),
                    }
                )
            });
        }
    }
    notes
}

fn print(format: Format, report: &CheckReport, objects: usize) -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut output, report)?;
            output.write_all(b"\n")?;
        }
        Format::Text => {
            // https://no-color.org: set and not empty means no colour.
            let colour =
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            output.write_all(text::render(report, objects, colour).as_bytes())?;
        }
    }
    output.flush()?;
    if format == Format::Text {
        tell("error", &report.problems, report.problems_omitted);
    }
    Ok(())
}

/// One line each on standard error. Names and texts in it are the input's.
fn tell(word: &str, first: &[impl fmt::Display], omitted: usize) {
    for one in first {
        eprintln!("{word}: {}", escaped(&one.to_string()));
    }
    if omitted > 0 {
        eprintln!("{word}: {omitted} more are not shown");
    }
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "not a moment in RFC 3339, such as 2026-11-23T00:00:00Z".to_owned())
}

/// A pull is asked for in any case, and imports where a pull-through cache makes them.
fn need(text: &str) -> Result<Need, String> {
    match text {
        "Push" => Ok(Need::Push),
        "List" => Ok(Need::List),
        "Console" => Ok(Need::Console),
        _ => Err("not one of Push, List, Console".to_owned()),
    }
}

fn action(text: &str) -> Result<Action, String> {
    match text {
        "Reject" => Ok(Action::Reject),
        "Warn" => Ok(Action::Warn),
        "Audit" => Ok(Action::Audit),
        _ => Err("not one of Reject, Warn, Audit".to_owned()),
    }
}
