//! Open files: as many as this process may have, and how many of them each port may take.
//!
//! A connection is an open file, and a process without any left accepts nothing, not even a probe. So both ports together
//! stay below the limit, with room for the calls that the program makes itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections of a port: connections to the API server (a watch each, a fresh read each), the
/// runtime's own, the log.
const OWN: u64 = 192;
/// Connections of the admin port: the kubelet, a few Prometheus, a person.
const ADMIN: u64 = 64;
/// Connections of the webhook port. API servers keep a connection for each call on its way, and a few more.
const WEBHOOK: u64 = 900;

/// How many connections each port may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connections {
    /// Of the admin port.
    pub admin: usize,
    /// Of the webhook port.
    pub webhook: usize,
}

impl Connections {
    /// What fits into a limit of open files; `None` is none. Never nothing at all, as a program that answers few is better
    /// than one that answers nobody.
    pub fn within(limit: Option<u64>) -> Connections {
        let free = limit.unwrap_or(u64::MAX).saturating_sub(OWN);
        let admin = ADMIN.min(free / 8).max(4);
        let webhook = WEBHOOK.min(free.saturating_sub(admin)).max(16);
        let count = |n| usize::try_from(n).unwrap_or(usize::MAX);
        Connections { admin: count(admin), webhook: count(webhook) }
    }
}

/// Raises the soft limit of open files to the hard one, and returns the limit that is in force then; `None` is none.
///
/// Programs start with a low soft limit for the sake of old ones that use `select`; this one may raise it by itself
/// (systemd, "File Descriptor Limits").
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, limit = current, "the limit of open files could not be raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ports_together_stay_below_the_limit() {
        for limit in [256, 512, 1024, 4096, 65_536, 1_048_576] {
            let connections = Connections::within(Some(limit));
            let files = (connections.admin + connections.webhook) as u64 + OWN;
            assert!(files <= limit, "{limit}: {connections:?}");
        }
        assert_eq!(Connections::within(Some(1024)), Connections { admin: 64, webhook: 768 });
        assert_eq!(Connections::within(Some(2048)), Connections { admin: 64, webhook: 900 });
        assert_eq!(Connections::within(None), Connections { admin: 64, webhook: 900 });
        assert_eq!(Connections::within(Some(0)), Connections { admin: 4, webhook: 16 });
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lower = before.current.map_or(1024, |current| current.min(1024));
        setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..before }).unwrap();
        assert_eq!(raise_limit(), before.maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
