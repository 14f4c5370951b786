//! `ecr-access crd`: prints the CustomResourceDefinitions that belong to this binary.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::outcome::Outcome;
use crate::api;

/// Arguments of `ecr-access crd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ecr-access crd | kubectl apply --server-side -f -     install or upgrade the CRDs
  ecr-access crd --output-dir crds                      write one file each, named by the plural")]
pub struct CrdArgs {
    /// Write one file per CRD into this existing directory instead of printing them
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Runs the subcommand: the same bytes every time.
pub fn run(args: &CrdArgs) -> Outcome {
    let done = match &args.output_dir {
        Some(directory) => write_files(directory),
        None => print(),
    };
    match done {
        Ok(()) => Outcome::Clean,
        Err(error) => {
            eprintln!("error: {error:#}");
            Outcome::BadInput
        }
    }
}

/// A CRD as YAML, one document without a separator.
///
/// # Errors
/// When the serializer refuses, which it does for no CRD of this program.
pub fn yaml(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: true };
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    serde_saphyr::to_string_with_options(crd, options).with_context(|| format!("CRD `{name}` as YAML"))
}

/// The name of a CRD's file: its plural.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}

fn print() -> anyhow::Result<()> {
    let mut text = String::new();
    for crd in api::crds() {
        write!(text, "---\n{}", yaml(&crd)?)?;
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

fn write_files(directory: &Path) -> anyhow::Result<()> {
    for crd in api::crds() {
        let path = directory.join(file_name(&crd));
        std::fs::write(&path, yaml(&crd)?).with_context(|| format!("`{}`", path.display()))?;
    }
    Ok(())
}
