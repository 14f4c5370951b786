//! Not written yet.

use super::Outcome;

/// Arguments of `ecr-access crd`.
#[derive(Debug, clap::Args)]
pub struct CrdArgs {}

/// Runs the subcommand.
pub fn run(_args: &CrdArgs) -> Outcome {
    Outcome::BadInput
}
