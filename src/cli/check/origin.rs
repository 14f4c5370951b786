//! Where an object of the input stands.

use std::fmt;

/// Where an object stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The file as it was named, or found in a directory that was named.
    pub file: String,
    /// Which document of the file, counted from 1 without those that are empty; none for the file as a whole.
    pub document: Option<usize>,
    /// Which item of a `List`, such as `items[3]`.
    pub item: Option<String>,
}

impl Origin {
    /// The file as a whole.
    pub fn file(file: &str) -> Self {
        Self { file: file.to_owned(), document: None, item: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(document) = self.document {
            write!(f, ": document {document}")?;
        }
        if let Some(item) = &self.item {
            write!(f, ": {item}")?;
        }
        Ok(())
    }
}
