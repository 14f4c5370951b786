//! The command line: one binary with subcommands, and one place that turns their outcome into an exit code.
//!
//! Exit codes everywhere: 0 nothing denied, 1 some verdict is `Deny` or some admission `Rejected`, 2 bad input or usage.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use ecr_forecast::ecr::managed;

use outcome::Outcome;

pub mod check;
pub mod crd;
pub mod evaluate;
mod outcome;
pub mod run;

/// Predicts whether pods can pull their images from Amazon ECR, at admission and offline.
#[derive(Debug, Parser)]
#[command(
    name = "ecr-access",
    version,
    about = "Can this pod pull its images from Amazon ECR? Answered before the kubelet does.",
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP
)]
struct Cli {
    /// AWS managed policies that come before those built in: a JSON file, see docs/managed-policies.md
    #[arg(long, global = true, value_name = "FILE")]
    managed_policies: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator: the controller and the admission webhook (this is what the Helm chart starts)
    Run(run::RunArgs),
    /// Print the CustomResourceDefinitions that belong to this binary, as YAML
    Crd(crd::CrdArgs),
    /// Judge manifests offline, exactly as the webhook would
    Check(check::CheckArgs),
    /// Evaluate bare IAM requests against policies, one JSON line each
    Evaluate(evaluate::EvaluateArgs),
}

const LONG_ABOUT: &str = "\
ecr-access answers one question before the kubelet does: can this pod pull its images from Amazon ECR?

An EcrAccessPolicy says who pulls (a role behind the service account, or a fixed role) and which IAM policies that
principal has. A local IAM engine evaluates them for ecr:GetAuthorizationToken, ecr:BatchGetImage and
ecr:GetDownloadUrlForLayer. What cannot be known is `Unknown`, never guessed.";

const AFTER_HELP: &str = "\
Examples:
  ecr-access check -f policy.yaml -f deployment.yaml     judge the pods of these manifests, no cluster needed
  helm template my-app | ecr-access check -f policy.yaml -f -
  ecr-access check -f manifests/ -o json | jq .summary
  ecr-access crd | kubectl apply --server-side -f -       install the CRDs that match this binary

Exit codes: 0 nothing denied, 1 something is denied or rejected, 2 bad input or usage.";

/// Parses the command line, runs the subcommand and returns the exit code.
///
/// Usage errors are printed by `clap` and exit with 2, help and version with 0.
pub fn main() -> ExitCode {
    // The version says which managed policies it knows, since verdicts rest on them.
    let version = format!("{}\n{}", env!("CARGO_PKG_VERSION"), managed::summary());
    let parsed = Cli::command().long_version(&*version.leak()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe while printing help is not worth a second error.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    if let Some(path) = &cli.managed_policies {
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        if let Err(error) = text.and_then(|text| managed::put(&text).map_err(|error| error.to_string())) {
            eprintln!("error: --managed-policies {}: {error}", path.display());
            return Outcome::BadInput.into();
        }
    }
    let outcome = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Crd(args) => crd::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
    };
    outcome.into()
}
