//! What was asked for a moment ago and is not there: service accounts and namespaces.
//!
//! Whoever sends reviews can name as many as he likes that nobody has made, and each costs a read. So a read that found
//! nothing is remembered, for less than anybody waits before he tries again. It is looked at only where the watches do
//! not know the object: as soon as they tell of it, this is forgotten by not being asked. Before a rejection leaves, it is
//! not asked either.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(2);
/// How many things are remembered.
const MOST: usize = 4096;

/// Things that are not there, by name.
#[derive(Debug, Default)]
pub struct Absent(Mutex<HashMap<String, Instant>>);

impl Absent {
    /// Whether it was not there a moment ago.
    pub fn has(&self, name: &str) -> bool {
        self.has_at(name, Instant::now())
    }

    /// These were not there just now.
    pub fn extend(&self, names: impl IntoIterator<Item = String>) {
        names.into_iter().for_each(|name| self.put_at(name, Instant::now()));
    }

    fn has_at(&self, name: &str, now: Instant) -> bool {
        self.lock().get(name).is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }

    fn put_at(&self, name: String, now: Instant) {
        let mut names = self.lock();
        if names.len() >= MOST {
            names.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        }
        // Whoever names so many in so short a time has them read.
        if names.len() < MOST {
            names.insert(name, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_remembered_for_a_moment() {
        let (absent, begin) = (Absent::default(), Instant::now());
        assert!(!absent.has_at("payments/api", begin));
        absent.put_at("payments/api".to_owned(), begin);
        assert!(absent.has_at("payments/api", begin + Duration::from_millis(1999)));
        assert!(!absent.has_at("payments/other", begin));
        assert!(!absent.has_at("payments/api", begin + REMEMBERED));
        absent.put_at("payments/api".to_owned(), begin + REMEMBERED);
        assert!(absent.has_at("payments/api", begin + REMEMBERED));
    }

    #[test]
    fn memory_has_a_bound() {
        let (absent, begin) = (Absent::default(), Instant::now());
        for index in 0..10_000 {
            absent.put_at(format!("n/{index}"), begin);
        }
        assert_eq!(absent.lock().len(), MOST);
        absent.put_at("n/later".to_owned(), begin + REMEMBERED);
        assert_eq!(absent.lock().len(), 1);
    }
}
