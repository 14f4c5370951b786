//! Not written yet.

use super::Outcome;

/// Arguments of `ecr-access run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {}

/// Runs the subcommand.
pub fn run(_args: RunArgs) -> Outcome {
    Outcome::BadInput
}
