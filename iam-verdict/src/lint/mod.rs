//! Lints: what AWS stores and what yet does not do what it says. Each is certain, or it would not be here; each is
//! documented by its id in `docs/lints.md`.

mod cover;
pub(crate) mod facts;
mod lints;
mod rules;

pub use lints::{Lint, LintId, Linter, MAX_LINTS, Severity};

use crate::document::Policy;
use crate::element::{Path, field};
use crate::json::{self, Json};
use crate::validate::PolicyType;
use lints::Lints;
use rules::Statement;

impl Linter<'_> {
    /// The lints of a document in its order, [`MAX_LINTS`] at most. Empty for a text that
    /// [`Policy::parse`](crate::Policy::parse) refuses: ask [`problems`](crate::problems) first.
    ///
    /// Time is linear in the length of the text (but for a logarithm); statements and entries are compared with each
    /// other within a fixed budget, beyond which the lints that compare fall silent.
    #[must_use]
    pub fn lint(&self, text: &str) -> Vec<Lint> {
        let Ok(json) = json::read(text) else { return Vec::new() };
        if Policy::compile(&json).is_err() {
            return Vec::new();
        }
        let Json::Object(fields) = &json else { return Vec::new() };
        let path = Path::root();
        let at = path.field("Statement");
        let modern = matches!(field(fields, "Version"), Some(Json::String(version)) if version == "2012-10-17");
        let mut lints = Lints::new(*self, modern);
        rules::document(&mut lints, fields, text, &path);
        let statements: Vec<Statement<'_>> = match field(fields, "Statement") {
            Some(Json::Array(items)) => {
                items.iter().enumerate().filter_map(|(index, item)| Statement::read(item, Some(index))).collect()
            }
            Some(single) => Statement::read(single, None).into_iter().collect(),
            None => Vec::new(),
        };
        for statement in &statements {
            if lints.full() {
                break;
            }
            match statement.index {
                Some(index) => rules::statement(&mut lints, statement, &at.index(index)),
                None => rules::statement(&mut lints, statement, &at),
            }
        }
        rules::across(&mut lints, &statements, &at);
        lints.found
    }
}

/// [`Linter::lint`] without knowledge of services.
#[must_use]
pub fn lint(kind: PolicyType, text: &str) -> Vec<Lint> {
    Linter::new(kind).lint(text)
}
