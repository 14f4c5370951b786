//! What the running program needs and what knows nothing of pods or policies: the admin port, metrics, logs, readiness,
//! leader election and shutdown.

pub mod admin;
pub mod callers;
pub mod events;
#[cfg(test)]
pub(crate) mod fake;
pub mod guarded;
pub mod heartbeat;
pub mod leader;
pub mod metrics;
pub mod readiness;
pub mod seldom;
pub mod shares;
pub mod shutdown;
pub mod telemetry;
pub mod watch;
