//! What a request to the webhook may take.

use std::time::Duration;

/// What a request may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request to its answer. Shorter than `timeoutSeconds` of the webhook configuration, so
    /// that our own words arrive rather than the API server's "context deadline exceeded".
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
    pub patience: Duration,
    /// Bodies from so many bytes on are worked on in a thread of their own.
    pub big: usize,
}

impl Limits {
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
            patience: Duration::from_millis(25),
            big: 32 << 10,
        }
    }
}
