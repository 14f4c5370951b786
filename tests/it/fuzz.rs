//! Replays the corpus of the fuzz targets (`fuzz/`) on a stable compiler, with a few plans of its own, and holds `make fuzz` to
//! the targets that are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/bodies.rs"]
mod bodies;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn replay(target: &str, body: fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(root().join("fuzz/corpus").join(target)).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        body(&bytes);
        // Cut anywhere, and with a byte of another kind.
        for at in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            body(&bytes[..at]);
            let mut other = bytes.clone();
            if let Some(byte) = other.get_mut(at) {
                *byte ^= 0x80;
            }
            body(&other);
        }
        count += 1;
    }
    assert!(count >= 10, "{target}: {count} files");
}

#[test]
fn list_page() {
    replay("list_page", bodies::list_page);
}

#[test]
fn watch_line() {
    replay("watch_line", bodies::watch_line);
}

#[test]
fn review() {
    replay("review", bodies::review);
}

#[test]
fn every_target_is_run_by_make_fuzz_and_has_a_corpus() {
    let names = |folder: &Path| -> BTreeSet<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut run: Vec<BTreeSet<String>> = Vec::new();
    for variable in ["FUZZ_TARGETS :=", "ENGINE_FUZZ_TARGETS :="] {
        let line = makefile.lines().find_map(|line| line.strip_prefix(variable)).unwrap();
        run.push(line.split_whitespace().map(str::to_owned).collect());
    }
    for (folder, run) in ["fuzz", "iam-verdict/fuzz"].iter().zip(run) {
        let folder = root().join(folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let built: BTreeSet<String> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
            .map(str::to_owned)
            .collect();
        assert_eq!(names(&folder.join("fuzz_targets")), run, "{}", folder.display());
        assert_eq!(names(&folder.join("corpus")), run, "{}", folder.display());
        assert_eq!(built, run, "{}", folder.display());
    }
}
