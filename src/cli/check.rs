//! Not written yet.

use super::Outcome;

/// Arguments of `ecr-access check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {}

/// Runs the subcommand.
pub fn run(_args: &CheckArgs) -> Outcome {
    Outcome::BadInput
}
