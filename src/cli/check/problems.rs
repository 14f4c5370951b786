//! What is wrong with the input: the first of it, and how much more there is.
//!
//! An input of a few hundred kilobytes can be wrong in as many ways as it has lines. Nobody reads more than the first,
//! and the rest must cost neither memory nor a log of its own.

use std::fmt;

use ecr_forecast::text::{Unit, cut};
use schemars::JsonSchema;
use serde::Serialize;

use super::origin::Origin;

/// So many are shown; the rest is counted.
pub const MOST: usize = 100;

/// Bytes of one part of a problem at most. A name has 253; a key of a mapping may be of any length.
pub const LONGEST: usize = 1024;

/// Something in the input that is wrong.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(inline)]
pub struct CheckProblem {
    /// A text of more than 1,024 bytes ends in `…` here, in `path` and in `message`. The file, the document in it counted from 1, the item of a list, and the object where it has a name:
    /// `app.yaml: document 2: Pod/payments/api-0`.
    pub object: String,
    /// The field, such as `spec.puller.role.arn`; empty where the whole is meant.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl CheckProblem {
    /// Each part is cut to [`LONGEST`] bytes.
    pub fn new(origin: &Origin, reference: Option<&str>, path: &str, message: &str) -> CheckProblem {
        let object = match reference {
            Some(reference) => format!("{origin}: {}", cut(reference, LONGEST, Unit::Bytes)),
            None => origin.to_string(),
        };
        CheckProblem {
            object,
            path: cut(path, LONGEST, Unit::Bytes).into_owned(),
            message: cut(message, LONGEST, Unit::Bytes).into_owned(),
        }
    }
}

impl fmt::Display for CheckProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The first [`MOST`] of something, and how many came behind them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Firsts<T> {
    kept: Vec<T>,
    omitted: usize,
}

/// Problems as they are found.
pub type Problems = Firsts<CheckProblem>;

impl<T> Default for Firsts<T> {
    fn default() -> Firsts<T> {
        Firsts { kept: Vec::new(), omitted: 0 }
    }
}

impl<T> Firsts<T> {
    /// Adds one, kept or counted.
    pub fn push(&mut self, item: T) {
        self.push_with(|| item);
    }

    /// Adds one that is only made where it is kept.
    pub fn push_with(&mut self, item: impl FnOnce() -> T) {
        if self.kept.len() < MOST { self.kept.push(item()) } else { self.omit(1) }
    }

    /// Counts more that are not kept.
    pub fn omit(&mut self, more: usize) {
        self.omitted = self.omitted.saturating_add(more);
    }

    /// Adds all of another.
    pub fn append(&mut self, other: Firsts<T>) {
        other.kept.into_iter().for_each(|item| self.push(item));
        self.omit(other.omitted);
    }

    /// The first ones.
    pub fn kept(&self) -> &[T] {
        &self.kept
    }

    /// How many are not kept.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.kept.len().saturating_add(self.omitted)
    }

    /// The first ones, and how many there are behind them.
    pub fn into_parts(self) -> (Vec<T>, usize) {
        (self.kept, self.omitted)
    }
}

/// Problems that are found in another order than that of the input: of the first objects, the first ones.
#[derive(Debug, Default)]
pub struct ByObject {
    found: Vec<(usize, CheckProblem)>,
    omitted: usize,
}

impl ByObject {
    /// Takes the problems of the object with this number.
    pub fn take(&mut self, number: usize, problems: Problems) {
        let (kept, omitted) = problems.into_parts();
        self.omitted = self.omitted.saturating_add(omitted);
        self.found.extend(kept.into_iter().map(|problem| (number, problem)));
        // Now and then, so that what is not shown is not held either.
        if self.found.len() > 4 * MOST {
            self.settle();
        }
    }

    /// All of them, in the order of the input.
    pub fn finish(mut self) -> Problems {
        self.settle();
        Firsts { kept: self.found.into_iter().map(|(_, problem)| problem).collect(), omitted: self.omitted }
    }

    fn settle(&mut self) {
        self.found.sort_by_key(|(number, _)| *number);
        self.omitted = self.omitted.saturating_add(self.found.len().saturating_sub(MOST));
        self.found.truncate(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> CheckProblem {
        CheckProblem { object: String::new(), path: String::new(), message: text.to_owned() }
    }

    #[test]
    fn the_first_are_kept_and_the_rest_is_counted() {
        let mut firsts = Firsts::default();
        let mut made = 0;
        for number in 0..MOST + 5 {
            firsts.push_with(|| {
                made += 1;
                number
            });
        }
        assert_eq!((firsts.kept().len(), firsts.omitted(), firsts.count(), made), (MOST, 5, MOST + 5, MOST));
        let mut other = Firsts::default();
        other.push(7);
        other.append(firsts);
        assert_eq!((other.kept()[..2].to_vec(), other.kept().len(), other.omitted()), (vec![7, 0], MOST, 6));
    }

    #[test]
    fn of_objects_that_come_in_any_order_the_first_are_told() {
        let mut all = ByObject::default();
        for number in (0..1000).rev() {
            let mut problems = Problems::default();
            problems.push(problem(&format!("{number} a")));
            problems.push(problem(&format!("{number} b")));
            all.take(number, problems);
        }
        assert!(all.found.len() <= 4 * MOST, "{}", all.found.len());
        let problems = all.finish();
        let told: Vec<&str> = problems.kept().iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!((told.len(), problems.omitted()), (MOST, 2000 - MOST));
        assert_eq!(told[..4], ["0 a", "0 b", "1 a", "1 b"]);
        assert_eq!(told.last(), Some(&"49 b"));
    }

    #[test]
    fn no_part_of_a_problem_is_longer_than_it_is_shown() {
        let long = "x".repeat(100_000);
        let origin = Origin { file: "f".to_owned(), document: None, item: None };
        let problem = CheckProblem::new(&origin, Some(&long), &long, &long);
        assert_eq!((problem.path.len(), problem.message.len()), (LONGEST, LONGEST));
        assert!(problem.object.starts_with("f: xxx") && problem.object.len() == LONGEST + 3);
    }
}
