//! A heartbeat of the runtime: a task that notes the time again and again, for the liveness probe to look at.
//!
//! It depends on nothing outside of the process. A replica that cannot reach the API server is not helped by being killed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(1);
/// Without a beat for so long, the runtime stands still: no review may take half of this.
pub const LONGEST: Duration = Duration::from_secs(15);

/// When the runtime was last seen to run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat::new()
    }
}

impl Heartbeat {
    /// Beats now.
    pub fn new() -> Heartbeat {
        Heartbeat(Arc::new(Mutex::new(Instant::now())))
    }

    /// Beats until it is dropped. To be spawned on the runtime that is watched.
    pub async fn beat(self) {
        loop {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Whether it has beaten lately.
    ///
    /// # Errors
    /// In words for people, when it has not.
    pub fn check(&self) -> Result<(), String> {
        let age = self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if age < LONGEST { Ok(()) } else { Err(format!("the runtime stands still since {} s", age.as_secs())) }
    }

    /// As if the last beat had been so much earlier.
    #[cfg(test)]
    pub fn age_for_a_test(&self, by: Duration) {
        let mut last = self.0.lock().unwrap();
        *last = last.checked_sub(by).unwrap();
    }
}
