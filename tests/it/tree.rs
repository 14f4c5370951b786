//! The files below a folder, for tests that read the project itself.

use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder whose names end in one of these, in order.
pub fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let wanted = |path: &Path| path.extension().is_some_and(|end| extensions.iter().any(|extension| end == *extension));
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path, extensions),
        false => Some(path).filter(|path| wanted(path)).into_iter().collect(),
    };
    entries.into_iter().flat_map(below).collect()
}
