//! Texts that tests compare with reviewed files.
//!
//! With `UPDATE_GOLDEN=1` (or `true`) in the environment the files are written before they are compared; read the
//! difference as a stranger would. Any other value is no demand: an empty one neither.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use similar::TextDiff;

/// The variable that asks for files to be written.
pub const VARIABLE: &str = "UPDATE_GOLDEN";

/// Why a text is not as it was reviewed.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file has another text.
    #[error("`{}` differs ({VARIABLE}=1 accepts what is new):\n{difference}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// A unified diff from the file to the text.
        difference: String,
    },
    /// The file cannot be read, or not be written.
    #[error("`{}`: {source} ({VARIABLE}=1 writes it)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// A file is held against no text.
    #[error("`{}` is left over: no text is held against it", path.display())]
    LeftOver {
        /// The file.
        path: PathBuf,
    },
}

/// Compares a text with a file.
///
/// # Errors
/// Where the file has another text, or cannot be read or written.
pub fn compare(path: impl AsRef<Path>, actual: &str) -> Result<(), GoldenError> {
    let path = path.as_ref();
    let file = |source| GoldenError::File { path: path.to_owned(), source };
    if is_demanded(env::var_os(VARIABLE).as_deref()) {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(file)?;
        }
        fs::write(path, actual).map_err(file)?;
    }
    let expected = fs::read_to_string(path).map_err(file)?;
    if expected == actual {
        return Ok(());
    }
    let diff = TextDiff::from_lines(expected.as_str(), actual);
    let difference = diff.unified_diff().header("reviewed", "now").to_string();
    Err(GoldenError::Differs { path: path.to_owned(), difference })
}

/// As [`compare`], for a test of one text.
///
/// # Panics
/// Where [`compare`] has an error.
#[track_caller]
pub fn hold(path: impl AsRef<Path>, actual: &str) {
    let mut goldens = Goldens::default();
    goldens.hold(path, actual);
    goldens.finish();
}

/// Compares many texts, and tells of all that differ.
#[derive(Debug, Default)]
#[must_use = "nothing is told before `finish`"]
pub struct Goldens {
    held: BTreeSet<PathBuf>,
    errors: Vec<String>,
}

impl Goldens {
    /// Compares a text with a file.
    ///
    /// # Panics
    /// Where the file was held against another text before.
    #[track_caller]
    pub fn hold(&mut self, path: impl AsRef<Path>, actual: &str) {
        let path = path.as_ref();
        assert!(self.held.insert(path.to_owned()), "`{}` is compared twice", path.display());
        self.errors.extend(compare(path, actual).err().map(|error| error.to_string()));
    }

    /// Ends the test if a text differs.
    ///
    /// # Panics
    /// Where [`compare`] had an error, with all of them, and where nothing was compared.
    #[track_caller]
    pub fn finish(self) {
        assert!(!self.held.is_empty(), "nothing was compared");
        assert!(self.errors.is_empty(), "{}", self.errors.join("\n"));
    }

    /// As [`finish`](Self::finish); the folder has to hold no other files.
    ///
    /// # Panics
    /// As [`finish`](Self::finish), and where a file is left over.
    #[track_caller]
    pub fn finish_folder(mut self, folder: impl AsRef<Path>) {
        let entries = fs::read_dir(folder.as_ref()).into_iter().flatten().filter_map(Result::ok);
        let mut left: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| !self.held.contains(path)).collect();
        left.sort();
        self.errors.extend(left.into_iter().map(|path| GoldenError::LeftOver { path }.to_string()));
        self.finish();
    }
}

/// Whether the variable asks for files to be written.
fn is_demanded(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| value == "1" || value == "true")
}
