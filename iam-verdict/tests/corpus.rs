//! Replays the corpus of the fuzz targets (`fuzz/`) on a stable compiler.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)]

use std::path::Path;

#[path = "../fuzz/bodies.rs"]
mod bodies;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("the entry can be read").path();
        body(&std::fs::read(&path).expect("the file can be read"));
        count += 1;
    }
    assert!(count >= 10, "{target}: {count} files");
}

#[test]
fn parse() {
    replay("parse", bodies::parse);
}

#[test]
fn validate() {
    replay("validate", bodies::validate_and_lint);
}

#[test]
fn evaluate() {
    replay("evaluate", bodies::evaluate_case);
}

#[test]
fn pattern() {
    replay("pattern", bodies::pattern);
}

#[test]
fn variables() {
    replay("variables", bodies::variables);
}

#[test]
fn round_trip() {
    replay("round_trip", bodies::round_trip);
}
