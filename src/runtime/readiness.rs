//! Readiness: a list of named conditions, each with a reason while it does not hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers why a condition does not hold.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Whether this replica should get requests: all conditions hold and it is not shutting down.
///
/// Cheap to clone; every clone sees the same [`Readiness::drain`].
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<Vec<(&'static str, Check)>>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// No condition: ready at once.
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Adds a condition. `check` is called for each probe, so it must only look at memory; its error says, in words for
    /// people, what is being waited for.
    ///
    /// To be called before the first clone: a condition that is added to a shared list is lost, which the returned
    /// value makes impossible to overlook.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Readiness {
        let mut checks = Arc::try_unwrap(self.checks).unwrap_or_default();
        checks.push((name, Box::new(check)));
        self.checks = Arc::new(checks);
        self
    }

    /// From now on not ready, for ever: the program is shutting down.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the program is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// What stands between this replica and its requests, one line each; empty when it is ready.
    pub fn reasons(&self) -> Vec<String> {
        let draining = self.is_draining().then(|| "shutdown: the program is shutting down".to_owned());
        let failed = self.checks.iter().filter_map(|(name, check)| Some(format!("{name}: {}", check().err()?)));
        draining.into_iter().chain(failed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_that_does_not_hold_is_named_with_its_reason() {
        let loaded = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&loaded);
        let readiness =
            Readiness::new()
                .with("certificate", move || {
                    if seen.load(Ordering::SeqCst) { Ok(()) } else { Err("not loaded yet".to_owned()) }
                })
                .with("engine", || Ok(()));
        assert_eq!(readiness.reasons(), ["certificate: not loaded yet"]);
        loaded.store(true, Ordering::SeqCst);
        assert!(readiness.reasons().is_empty());
    }

    #[test]
    fn draining_is_seen_by_every_clone_and_is_for_ever() {
        let readiness = Readiness::new();
        let clone = readiness.clone();
        assert!(clone.reasons().is_empty());
        readiness.drain();
        assert_eq!(clone.reasons(), ["shutdown: the program is shutting down"]);
    }
}
