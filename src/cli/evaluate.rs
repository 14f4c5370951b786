//! Not written yet.

use super::Outcome;

/// Arguments of `ecr-access evaluate`.
#[derive(Debug, clap::Args)]
pub struct EvaluateArgs {}

/// Runs the subcommand.
pub fn run(_args: &EvaluateArgs) -> Outcome {
    Outcome::BadInput
}
