//! Who calls: an API server, or a stranger.
//!
//! Nothing in a review proves who sent it. The address that a connection comes from does not lie, since TCP needs the way
//! back, so callers are told apart by it. [`ApiServers`] are the addresses that belong to API servers: those that were
//! found in the cluster, and those that were named by hand.
//!
//! Where the calls of the API server come by a detour (an agent of konnectivity, a source address that a network
//! rewrites), none of its addresses is ever seen here, and everybody is a stranger. So it counts as a difference only
//! once an API server has called from an address that is known for it: before that, and again when none has for
//! [`LATELY`], nothing is reserved and everybody shares alike.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use ecr_forecast::text::{Unit, cut, escaped};

/// For so long after the last call of an API server, strangers are kept out of what is reserved.
pub const LATELY: Duration = Duration::from_secs(600);

/// Addresses that are written down as one: `10.0.0.0/16`, `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

/// Why a text is no [`Cidr`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no range of addresses such as `10.0.0.0/16`, `fd00::/8` or `10.0.0.1`")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let wrong = || CidrError(escaped(&cut(text, 60, Unit::Bytes)).into_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            // A sign, which the standard library would take, is no part of it.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > all { Err(wrong()) } else { Ok(Cidr { network, bits }) }
    }
}

impl Cidr {
    /// Whether the address is in the range. An IPv4 address in its IPv6 spelling is the same address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ends_in = |bits: u32| bits.saturating_sub(u32::from(self.bits));
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).checked_shr(ends_in(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).checked_shr(ends_in(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// What a caller may take of what is shared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Standing {
    /// An API server: everything that is free.
    ApiServer,
    /// Not known for an API server, while API servers call from addresses that are: a quarter, and together with all
    /// others of the kind a half.
    Apart,
    /// Nobody is known for an API server, so it may be one.
    Equal,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Caller {
    /// Where the connection comes from.
    pub address: IpAddr,
    /// What that gives it.
    pub standing: Standing,
}

impl Default for Caller {
    /// Somebody of whom nothing is known.
    fn default() -> Caller {
        Caller { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), standing: Standing::Equal }
    }
}

impl Caller {
    /// Whether it is held to a stranger's share.
    pub fn is_apart(&self) -> bool {
        self.standing == Standing::Apart
    }
}

/// The addresses of API servers, and whether they call from them.
#[derive(Debug)]
pub struct ApiServers {
    named: Vec<Cidr>,
    found: ArcSwap<BTreeSet<IpAddr>>,
    begin: Instant,
    /// Seconds from `begin` to the last call of one of them, plus one; 0 where none has called.
    called: AtomicU64,
}

impl ApiServers {
    /// Those that were named; more can be found.
    pub fn new(named: Vec<Cidr>) -> Arc<ApiServers> {
        Arc::new(ApiServers { named, found: ArcSwap::default(), begin: Instant::now(), called: AtomicU64::new(0) })
    }

    /// Nobody is known, and nobody will be: everybody shares alike.
    pub fn nobody() -> Arc<ApiServers> {
        ApiServers::new(Vec::new())
    }

    /// These were found, instead of those before.
    pub fn replace(&self, found: BTreeSet<IpAddr>) {
        self.found.store(Arc::new(found.into_iter().map(|address| address.to_canonical()).collect()));
    }

    /// How many were found.
    pub fn found(&self) -> usize {
        self.found.load().len()
    }

    /// What an address is worth now.
    pub fn standing(&self, address: IpAddr) -> Standing {
        self.standing_at(address, self.begin.elapsed())
    }

    /// Who calls from this address. A call of an API server is noted.
    pub fn call(&self, address: IpAddr) -> Caller {
        self.call_at(address, self.begin.elapsed())
    }

    /// `now` is the time since the beginning.
    fn standing_at(&self, address: IpAddr, now: Duration) -> Standing {
        let address = address.to_canonical();
        if self.found.load().contains(&address) || self.named.iter().any(|range| range.contains(address)) {
            return Standing::ApiServer;
        }
        let called = self.called.load(Ordering::Relaxed);
        let lately = called > 0 && now.as_secs() < called.saturating_add(LATELY.as_secs());
        if lately { Standing::Apart } else { Standing::Equal }
    }

    fn call_at(&self, address: IpAddr, now: Duration) -> Caller {
        let standing = self.standing_at(address, now);
        if standing == Standing::ApiServer {
            self.called.store(now.as_secs().saturating_add(1), Ordering::Relaxed);
        }
        Caller { address: address.to_canonical(), standing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_has_the_addresses_that_share_its_beginning() {
        for (range, inside, outside) in [
            ("10.0.0.0/16", "10.0.255.1", "10.1.0.0"),
            ("10.0.3.7/16", "10.0.0.0", "11.0.0.0"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
        ] {
            let range: Cidr = range.parse().unwrap();
            assert!(range.contains(ip(inside)), "{inside} is not in {range}");
            assert!(!range.contains(ip(outside)), "{outside} is in {range}");
        }
    }

    #[test]
    fn what_is_no_range_is_named() {
        for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "host/8"]
        {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no range")), "{error}");
        }
    }

    #[test]
    fn strangers_are_held_to_their_share_only_while_api_servers_call_from_known_addresses() {
        let servers = ApiServers::new(vec!["192.0.2.0/24".parse().unwrap()]);
        let (server, other) = (ip("10.0.0.1"), ip("10.244.0.9"));
        let at = Duration::from_secs;
        assert_eq!(servers.standing_at(server, at(0)), Standing::Equal);
        servers.replace(BTreeSet::from([server]));
        // It is known and has never called: perhaps its calls come by a detour.
        assert_eq!(servers.standing_at(server, at(5)), Standing::ApiServer);
        assert_eq!(servers.call_at(other, at(5)).standing, Standing::Equal);
        assert_eq!(servers.call_at(server, at(5)), Caller { address: server, standing: Standing::ApiServer });
        assert_eq!(servers.call_at(other, at(5)).standing, Standing::Apart);
        assert_eq!(servers.standing_at(other, at(604)), Standing::Apart);
        assert_eq!(servers.standing_at(other, at(606)), Standing::Equal);
        // Also one of a range that was named, and one that found its way here in the other spelling.
        assert_eq!(servers.call_at(ip("::ffff:192.0.2.7"), at(700)).standing, Standing::ApiServer);
        assert_eq!(
            servers.call_at(ip("::ffff:10.244.0.9"), at(700)),
            Caller { address: other, standing: Standing::Apart }
        );
        // An address that is one's no more is a stranger's.
        servers.replace(BTreeSet::new());
        assert_eq!(servers.call_at(server, at(700)).standing, Standing::Apart);
    }
}
