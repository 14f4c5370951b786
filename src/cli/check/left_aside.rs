//! What in the directories of a GitOps repository is no manifest: patches of Kustomize, templates of Helm, and files that other
//! tools read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;

use super::problems::Firsts;
use super::yaml;

/// The names that Kustomize looks for ("kustomization.yaml", Kustomize reference).
const KUSTOMIZATIONS: [&str; 2] = ["kustomization.yaml", "kustomization.yml"];
/// The largest kustomization that is looked into.
const LARGEST: u64 = 1 << 20;

/// A pattern of paths: `*` stays within a directory, `**` does not; one without `/` is about names of files alone.
pub fn pattern(text: &str) -> Result<Glob, String> {
    let anywhere = if text.contains('/') { text.to_owned() } else { format!("**/{text}") };
    GlobBuilder::new(&anywhere).literal_separator(true).build().map_err(|error| error.kind().to_string())
}

/// What is left aside below one directory that was named.
#[derive(Debug)]
pub struct LeftAside {
    root: PathBuf,
    excluded: GlobSet,
    patches: BTreeSet<PathBuf>,
    /// Charts, whose templates no parser of YAML reads.
    charts: BTreeSet<PathBuf>,
}

impl LeftAside {
    /// Looks for kustomizations and charts among the files below `root`.
    pub fn below(root: &Path, files: &[PathBuf], exclude: &[Glob]) -> Self {
        let mut excluded = GlobSetBuilder::new();
        for glob in exclude {
            excluded.add(glob.clone());
        }
        let (mut patches, mut charts) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            let (Some(name), Some(folder)) = (file.file_name().and_then(|name| name.to_str()), file.parent()) else {
                continue;
            };
            if KUSTOMIZATIONS.contains(&name) {
                patches.extend(patches_of(file).iter().map(|patch| within(folder, patch)));
            }
            if name == "Chart.yaml" {
                charts.insert(folder.join("templates"));
            }
        }
        // Each was valid by itself; together they are only refused where they are too big.
        let excluded = excluded.build().unwrap_or_default();
        Self { root: root.to_owned(), excluded, patches, charts }
    }

    /// Why a file is left aside; none where it is read.
    pub fn why(&self, file: &Path) -> Option<&'static str> {
        let relative = file.strip_prefix(&self.root).unwrap_or(file);
        if self.excluded.is_match(relative) || self.excluded.is_match(file) {
            Some("excluded")
        } else if self.patches.contains(file) {
            Some("a patch of a kustomization: build it first, as with `kubectl kustomize`")
        } else if self.charts.iter().any(|templates| file.starts_with(templates)) {
            Some("a template of a chart: render it first, as with `helm template`")
        } else {
            None
        }
    }
}

/// Whether a document of a directory is something that other tools read, such as `values.yaml`, a patch in JSON or the
/// description of a chart.
pub fn is_no_manifest(file: &Path, value: &Value) -> bool {
    let Some(fields) = value.as_object() else { return true };
    let named = file.file_name().is_some_and(|name| name == "Chart.yaml");
    !fields.contains_key("kind") && (named || !fields.contains_key("apiVersion"))
}

/// Files that were left aside, as notes: one for each reason.
pub fn notes(aside: Vec<(&'static str, String)>) -> Firsts<String> {
    let mut notes = Firsts::default();
    let reasons: BTreeSet<&str> = aside.iter().map(|(reason, _)| *reason).collect();
    for reason in reasons {
        let files: Vec<&str> =
            aside.iter().filter(|(other, _)| *other == reason).map(|(_, file)| file.as_str()).collect();
        let shown: Vec<&str> = files.iter().take(3).copied().collect();
        let more = match files.len() - shown.len() {
            0 => String::new(),
            more => format!(" (+{more} more)"),
        };
        notes.push(format!("left aside, {reason}: {}{more}", shown.join(", ")));
    }
    notes
}

/// The files that a kustomization applies as patches. One that does not parse has none: it is told of as any file.
fn patches_of(file: &Path) -> Vec<String> {
    let small = fs::metadata(file).is_ok_and(|metadata| metadata.len() <= LARGEST);
    let text = if small { fs::read_to_string(file).unwrap_or_default() } else { String::new() };
    let Ok(document) = yaml::parse_within(&text, &mut yaml::Expansion::default()) else { return Vec::new() };
    let Some(value) = document.value else { return Vec::new() };
    let entries = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten();
    let paths = ["patches", "patchesJson6902", "replacements"].into_iter().flat_map(entries);
    let paths = paths.filter_map(|entry| entry.get("path"));
    let whole = ["patchesStrategicMerge", "transformers", "generators", "configurations"].into_iter().flat_map(entries);
    paths.chain(whole).filter_map(|path| path.as_str().map(str::to_owned)).collect()
}

/// `path` as seen from `folder`, with `..` taken away.
fn within(folder: &Path, path: &str) -> PathBuf {
    let mut all = folder.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir if all.file_name().is_some() => drop(all.pop()),
            Component::CurDir => {}
            part => all.push(part),
        }
    }
    all
}
