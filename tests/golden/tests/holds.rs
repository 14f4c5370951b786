//! What happens to files, by the value of the variable.

// Helpers of tests may panic as tests may.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::{env, fs, panic};

use golden::{Goldens, VARIABLE, compare};

/// The file that the child compares with `new\n`.
const FILE: &str = "GOLDEN_TEST_FILE";

/// By itself, this compares with a file of its own; for the tests below it is what they run with another environment.
#[test]
fn compares_one_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("own.txt");
    fs::write(&own, "new\n").expect("it can be written");
    golden::hold(env::var_os(FILE).map_or(own, Into::into), "new\n");
}

/// Runs one of the tests below without the variable, if somebody has set it for them.
fn is_set_aside(test: &str) -> bool {
    let is_set = env::var_os(VARIABLE).is_some();
    if is_set {
        let mut child = Command::new(env::current_exe().expect("this program has a path"));
        let output = child.args(["--exact", test]).env_remove(VARIABLE).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    is_set
}

/// Whether the comparison with the file passes where the variable has this value.
fn passes(file: &Path, value: Option<&str>) -> bool {
    let mut child = Command::new(env::current_exe().expect("this program has a path"));
    child.args(["--exact", "compares_one_text"]).env(FILE, file).env_remove(VARIABLE);
    if let Some(value) = value {
        child.env(VARIABLE, value);
    }
    let output = child.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("running 1 test"), "{told}");
    output.status.success()
}

#[test]
fn only_a_clear_demand_rewrites() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("deeper/file.txt");
    fs::create_dir(folder.path().join("deeper")).expect("it can be made");
    for value in [None, Some(""), Some("0"), Some("false"), Some("no"), Some(" ")] {
        fs::write(&file, "old\n").expect("it can be written");
        assert!(!passes(&file, value), "{value:?} passes");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "old\n", "{value:?} rewrites");
    }
    for value in ["1", "true"] {
        fs::write(&file, "old\n").expect("it can be written");
        assert!(passes(&file, Some(value)), "{value:?} fails");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "new\n", "{value:?} does not rewrite");
    }
    // A file that is not there is none that agrees, and on demand its folder is made, too.
    fs::remove_dir_all(folder.path().join("deeper")).expect("it can be removed");
    assert!(!passes(&file, None) && !passes(&file, Some("")) && !file.exists());
    assert!(passes(&file, Some("1")) && passes(&file, None));
}

#[test]
fn tells_the_difference() {
    if is_set_aside("tells_the_difference") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.txt");
    fs::write(&file, "one\ntwo\nthree\n").expect("it can be written");
    let told = |actual: &str| compare(&file, actual).map_err(|error| error.to_string());
    assert_eq!(told("one\ntwo\nthree\n"), Ok(()));
    let differs = format!("`{}` differs (UPDATE_GOLDEN=1 accepts what is new):\n", file.display());
    assert_eq!(
        told("one\n2\nthree\n"),
        Err(format!("{differs}--- reviewed\n+++ now\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"))
    );
    let ending = told("one\ntwo\nthree").expect_err("the last line ends");
    assert!(ending.contains("\\ No newline at end of file"), "{ending}");
    let returns = told("one\r\ntwo\nthree\n").expect_err("another line ending");
    assert!(returns.starts_with(&differs) && returns.len() > differs.len(), "{returns}");
}

#[test]
fn tells_of_all_and_of_what_is_left_over() {
    if is_set_aside("tells_of_all_and_of_what_is_left_over") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    for name in ["a", "b", "c", "left"] {
        fs::write(file(name), name).expect("it can be written");
    }
    let caught = |run: &dyn Fn()| {
        let error = panic::catch_unwind(panic::AssertUnwindSafe(run)).expect_err("it ends the test");
        error.downcast_ref::<String>().cloned().unwrap_or_else(|| error.downcast_ref::<&str>().unwrap().to_string())
    };
    let told = caught(&|| {
        let mut goldens = Goldens::default();
        goldens.hold(file("a"), "other");
        goldens.hold(file("b"), "b");
        goldens.hold(file("c"), "another");
        goldens.finish_folder(folder.path());
    });
    for name in ["a", "c"] {
        assert!(told.contains(&format!("`{}` differs", file(name).display())), "{told}");
    }
    assert!(told.contains(&format!("`{}` is left over", file("left").display())), "{told}");
    assert!(!told.contains(&format!("`{}`", file("b").display())), "{told}");
    assert!(caught(&|| Goldens::default().finish()).contains("nothing was compared"));
    let twice = caught(&|| {
        let mut goldens = Goldens::default();
        goldens.hold(file("a"), "a");
        goldens.hold(file("a"), "a");
    });
    assert!(twice.contains("compared twice"), "{twice}");
}
