//! What a request to the webhook may take.

use std::time::Duration;

use crate::runtime::callers::Standing;

/// What a request may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request to its answer, where the caller does not say how long it waits. See
    /// [`Limits::time_for`].
    pub deadline: Duration,
    /// Bytes of one body. The API server takes objects up to 3 MiB, but an escaped string in JSON can be six times as
    /// long, and an update carries the object twice.
    pub body: usize,
    /// Bytes of all bodies together; more have to wait.
    pub bodies: usize,
    /// Bytes of one body of a stranger, while API servers call from addresses that are known for them: enough for any pod
    /// that can be stored, and little enough to be decoded several times at once.
    pub stranger_body: usize,
    /// Reviews that are worked on at a time; more have to wait. See [`Limits::turns_for`].
    pub turns: usize,
    /// Processors that these turns share. API servers have no more turns than there are processors.
    pub processors: usize,
    /// Requests of the API server for fresh reads that are on their way at a time; more have to wait.
    pub reads: usize,
    /// Reviews in a second, of one caller that is no API server, for which a service account or a namespace is read that
    /// memory does not know. Four times as many for all such callers, twice as many at once.
    pub unknown_reads: u32,
    /// How long a request waits for its first turn, and for its share of `bodies`, before it is turned away. Whoever
    /// has to wait longer would only make everybody behind it wait as well.
    pub longest_wait: Duration,
    /// Bodies from so many bytes on are worked on in a thread of their own.
    pub big: usize,
}

/// How much earlier an answer leaves than its caller gives up: that our own words arrive, rather than the API server's
/// "context deadline exceeded".
const MARGIN: Duration = Duration::from_millis(500);

/// The longest that a webhook configuration of the chart lets the API server wait.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a review's time is left when its fresh reads are given up on, to say what happened.
const TIME_TO_SAY: Duration = Duration::from_millis(500);

impl Limits {
    /// How long a review may take whose request had this `query`.
    ///
    /// The API server says how long it waits, which is `timeoutSeconds` of the webhook configuration in whole seconds
    /// (`?timeout=3s`, Kubernetes: "Dynamic Admission Control", Timeouts): the answer leaves half a second earlier. A
    /// stranger gets no more than `deadline`, whatever it says.
    pub fn time_for(&self, query: Option<&str>, standing: Standing) -> Duration {
        let Some(timeout) = query.and_then(timeout) else { return self.deadline };
        let time = timeout.min(LONGEST_TIMEOUT).saturating_sub(MARGIN).max(MARGIN);
        if standing == Standing::Apart { time.min(self.deadline) } else { time }
    }

    /// How much of a review's `time` its fresh reads may use: what they leave is to say what happened.
    pub fn time_for_reads(time: Duration) -> Duration {
        time - TIME_TO_SAY.min(time / 4)
    }

    /// As many turns as there are processors, and not less than four, since a quarter of them is what one stranger may
    /// have.
    pub fn turns_for(processors: usize) -> usize {
        processors.max(4)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Limits {
            deadline: Duration::from_secs(2),
            body: 40 << 20,
            bodies: 64 << 20,
            stranger_body: 4 << 20,
            turns: Limits::turns_for(processors),
            processors,
            reads: 128,
            unknown_reads: 50,
            longest_wait: Duration::from_millis(25),
            big: 32 << 10,
        }
    }
}

/// What `timeout=3s` says in a query.
fn timeout(query: &str) -> Option<Duration> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("timeout="))?;
    value.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leaves_before_its_caller_gives_up() {
        let limits = Limits::default();
        let time = |query, standing| limits.time_for(query, standing).as_millis();
        let cases = [
            (None, 2000, 2000),
            (Some("timeout=3s"), 2500, 2000),
            (Some("timeout=10s"), 9500, 2000),
            (Some("timeout=30s"), 9500, 2000),
            (Some("timeout=2s"), 1500, 1500),
            (Some("a=b&timeout=5s&c"), 4500, 2000),
            // Less than the margin leaves time for nothing, and an answer that is too late is as good as none.
            (Some("timeout=0s"), 500, 500),
            (Some("timeout=1m0s"), 2000, 2000),
            (Some("timeout=-1s"), 2000, 2000),
            (Some("timeout="), 2000, 2000),
            (Some("timeout=99999999999999999999s"), 2000, 2000),
            (Some("xtimeout=9s"), 2000, 2000),
        ];
        for (query, api_server, stranger) in cases {
            assert_eq!(time(query, Standing::ApiServer), api_server, "{query:?}");
            assert_eq!(time(query, Standing::Apart), stranger, "{query:?}");
            assert_eq!(time(query, Standing::Equal), api_server, "{query:?}");
        }
        let reads = |millis| Limits::time_for_reads(Duration::from_millis(millis)).as_millis();
        assert_eq!((reads(2500), reads(2000), reads(500), reads(100)), (2000, 1500, 375, 75));
    }
}
