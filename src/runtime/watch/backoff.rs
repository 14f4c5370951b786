//! Pauses between attempts.

use std::time::Duration;

use tokio::time::Instant;

/// Pauses that double, and start over after a quiet time.
///
/// Success does not reset them: a list that works and a watch behind it that fails at once would otherwise list all
/// objects again and again as fast as it can.
#[derive(Debug, Default)]
pub struct Backoff {
    last: Option<(Instant, Duration)>,
}

impl Backoff {
    /// The first pause.
    pub const FIRST: Duration = Duration::from_millis(100);
    const QUIET: Duration = Duration::from_secs(30);

    /// The pause after a failure at `now`, at most `longest`.
    pub fn next(&mut self, now: Instant, longest: Duration) -> Duration {
        let pause = match self.last {
            Some((at, pause)) if now.duration_since(at) < pause + Backoff::QUIET => (pause * 2).min(longest),
            _ => Backoff::FIRST,
        };
        self.last = Some((now, pause));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_over_after_a_quiet_time() {
        let [short, long] = [2, 10].map(Duration::from_secs);
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for longest in [long; 8].into_iter().chain([short, long]) {
            let pause = backoff.next(now, longest);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 2000, 4000]);
        assert_eq!(backoff.next(now + Backoff::QUIET, long), Backoff::FIRST);
    }
}
