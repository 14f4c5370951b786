//! What has to be written to the Secret of the certificate, and why. A function of what there is; it writes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use rustls::sign::CertifiedKey;

use super::secret::{CertificateError, CertificateSecret, DAY, Loaded, trusted, unix};

/// How long, in seconds, the authorities before the present one are trusted after a change: no replica that is ready can
/// be serving what they signed any more by then ([`STALE`]).
pub const OVERLAP: u64 = DAY;

/// After so many seconds without a look at the Secret a replica is not ready: what it serves may be about to lose trust.
pub const STALE: u64 = OVERLAP / 2;

/// What there is.
#[derive(Debug)]
pub struct Found<'a> {
    /// The data of the Secret.
    pub data: &'a BTreeMap<String, ByteString>,
    /// Until when the authorities behind the first are to be trusted, in seconds of Unix time, as the Secret says.
    pub until: Option<u64>,
    /// The `caBundle` of each webhook of ours that has one.
    pub bundles: Vec<&'a str>,
    /// What this replica serves.
    pub served: Option<&'a CertifiedKey>,
}

/// What the Secret should hold.
#[derive(Debug)]
pub struct Plan {
    /// What is to be served.
    pub loaded: Loaded,
    /// `None` where the Secret holds it already.
    pub write: Option<Write>,
}

/// Why the Secret has to be written.
#[derive(Debug)]
pub struct Write {
    /// For people.
    pub reason: RotationReason,
    /// Until when the authorities behind the first are to be trusted, in seconds of Unix time.
    pub until: u64,
}

/// Why the Secret has to be written.
#[derive(Debug)]
pub enum RotationReason {
    /// There is no certificate yet.
    First,
    /// The authority comes to its end.
    AuthorityDue,
    /// The certificate comes to its end.
    LeafDue,
    /// Somebody took a part away, which asks for a new one.
    Requested(CertificateError),
    /// What there is cannot be used.
    Unusable(CertificateError),
    /// What is served, here or maybe elsewhere, is trusted by an authority that the Secret does not have.
    Trusted,
    /// Nothing can be served any more that an earlier authority signed.
    Outlived,
    /// Nobody has written down how long the earlier authorities are trusted.
    NotDated,
}

impl fmt::Display for RotationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RotationReason::First => f.write_str("there was no certificate yet"),
            RotationReason::AuthorityDue => f.write_str("the certificate authority was due for renewal"),
            RotationReason::LeafDue => f.write_str("the certificate was due for renewal"),
            RotationReason::Requested(missing) => write!(f, "{missing}, which asks for a new one"),
            RotationReason::Unusable(problem) => write!(f, "what was there cannot be used: {problem}"),
            RotationReason::Trusted => {
                f.write_str("the authority of what is served now has to stay trusted for a while")
            }
            RotationReason::Outlived => f.write_str("earlier authorities are no longer needed"),
            RotationReason::NotDated => f.write_str("it was not said how long earlier authorities are trusted"),
        }
    }
}

/// Works out what the Secret should hold, to be served as `name`, at the time `now`.
///
/// # Errors
/// When a certificate cannot be made.
pub fn plan(found: &Found<'_>, name: &str, now: SystemTime) -> Result<Plan, CertificateError> {
    let until = unix(now).saturating_add(OVERLAP);
    let (secret, reason) = match CertificateSecret::from_secret(found.data).and_then(|secret| secret.load(name, now)) {
        Ok(loaded) if loaded.authority_due => (successor(found, name, now)?, RotationReason::AuthorityDue),
        Ok(loaded) if loaded.leaf_due => (loaded.secret.reissue(name, now)?, RotationReason::LeafDue),
        Ok(loaded) => return keep(found, loaded, name, now),
        Err(problem) => {
            // An authority that is in order signs again, so that nobody has to learn to trust another one.
            let secret = match CertificateSecret::authority_of(found.data, now) {
                Ok(authority) => authority.reissue(name, now)?,
                Err(_) => successor(found, name, now)?,
            };
            let reason = match problem {
                CertificateError::Missing(_) if found.bundles.is_empty() && found.served.is_none() => {
                    RotationReason::First
                }
                CertificateError::Missing(_) => RotationReason::Requested(problem),
                _ => RotationReason::Unusable(problem),
            };
            (secret, reason)
        }
    };
    let secret = if lacks(found, &secret, name, now) { secret.trusting(&found.bundles, now) } else { secret };
    Ok(Plan { loaded: secret.load(name, now)?, write: Some(Write { reason, until }) })
}

/// What is there is in order; only the authorities beside the first may have to change.
fn keep(found: &Found<'_>, loaded: Loaded, name: &str, now: SystemTime) -> Result<Plan, CertificateError> {
    let write = |secret: CertificateSecret, reason, until| {
        Ok(Plan { loaded: secret.load(name, now)?, write: Some(Write { reason, until }) })
    };
    let later = unix(now).saturating_add(OVERLAP);
    let count = loaded.secret.authority_count();
    if lacks(found, &loaded.secret, name, now) {
        let secret = loaded.secret.clone().trusting(&found.bundles, now);
        if secret.authority_count() > count {
            return write(secret, RotationReason::Trusted, later);
        }
    }
    if count > 1 {
        let alone = loaded.secret.clone().alone();
        match found.until {
            None => return write(loaded.secret, RotationReason::NotDated, later),
            Some(until) if until <= unix(now) && !lacks(found, &alone, name, now) => {
                return write(alone, RotationReason::Outlived, until);
            }
            Some(_) => {}
        }
    }
    Ok(Plan { loaded, write: None })
}

/// A new authority; the ones that anything in service was signed by stay trusted.
fn successor(found: &Found<'_>, name: &str, now: SystemTime) -> Result<CertificateSecret, CertificateError> {
    let stored = found.data.get("ca.crt").and_then(|pem| std::str::from_utf8(&pem.0).ok());
    let previous: Vec<&str> = stored.into_iter().chain(found.bundles.iter().copied()).collect();
    CertificateSecret::new(name, now, &previous)
}

/// Whether to publish these authorities would take the trust from something that has it now.
///
/// A replica that serves nothing yet cannot tell what the others serve, and so takes it for granted that it would.
fn lacks(found: &Found<'_>, secret: &CertificateSecret, name: &str, now: SystemTime) -> bool {
    let trusts = |bundle: &str, served| trusted(bundle.as_bytes(), served, name, now).is_ok();
    match found.served {
        Some(served) => {
            !trusts(&secret.authorities, served) && found.bundles.iter().any(|bundle| trusts(bundle, served))
        }
        None => !found.bundles.is_empty() && found.until.is_none_or(|until| until > unix(now)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NAME: &str = "ecr-access.ecr-access-system.svc";

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days * DAY)
    }

    fn data(secret: &CertificateSecret) -> BTreeMap<String, ByteString> {
        secret.to_secret().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// An installation in order: what the Secret holds, and the bundle that is published.
    struct Stage {
        data: BTreeMap<String, ByteString>,
        until: Option<u64>,
        bundle: String,
        served: Option<Loaded>,
    }

    impl Stage {
        fn new() -> Stage {
            let secret = CertificateSecret::new(NAME, at(0), &[]).unwrap();
            let served = Some(secret.clone().load(NAME, at(0)).unwrap());
            Stage { data: data(&secret), until: None, bundle: secret.authorities, served }
        }

        fn plan(&self, now: SystemTime) -> Plan {
            let found = Found {
                data: &self.data,
                until: self.until,
                bundles: vec![self.bundle.as_str()],
                served: self.served.as_ref().map(|loaded| &*loaded.pair.certified),
            };
            plan(&found, NAME, now).unwrap()
        }

        /// Does what the plan says, and says why; what is served is exchanged only afterwards.
        fn follow(&mut self, now: SystemTime) -> String {
            let plan = self.plan(now);
            let Some(write) = plan.write else { return "nothing".to_owned() };
            (self.data, self.until) = (data(&plan.loaded.secret), Some(write.until));
            self.bundle = plan.loaded.secret.authorities.clone();
            if let Some(served) = &self.served {
                trusted(self.bundle.as_bytes(), &served.pair.certified, NAME, now)
                    .expect("what is served stays trusted");
            }
            trusted(self.bundle.as_bytes(), &plan.loaded.pair.certified, NAME, now).unwrap();
            self.served = Some(plan.loaded);
            write.reason.to_string()
        }

        fn authorities(&self) -> usize {
            self.bundle.matches("BEGIN CERTIFICATE").count()
        }
    }

    #[test]
    fn an_empty_secret_gets_a_certificate() {
        let found = Found { data: &BTreeMap::new(), until: None, bundles: vec![], served: None };
        let plan = plan(&found, NAME, at(0)).unwrap();
        assert!(matches!(plan.write.unwrap().reason, RotationReason::First));
        assert_eq!(plan.loaded.secret.authority_count(), 1);
    }

    #[test]
    fn what_is_in_order_is_left_alone() {
        assert_eq!(Stage::new().follow(at(1)), "nothing");
    }

    #[test]
    fn without_the_certificate_the_same_authority_signs_a_new_one() {
        let mut stage = Stage::new();
        let before = stage.bundle.clone();
        stage.data.remove("tls.crt");
        assert_eq!(stage.follow(at(1)), "`tls.crt` is missing, which asks for a new one");
        assert_eq!(stage.bundle, before);
    }

    #[test]
    fn without_anything_there_is_a_new_authority_beside_the_one_that_is_published() {
        let mut stage = Stage::new();
        stage.data.clear();
        assert_eq!(stage.follow(at(1)), "`ca.crt` is missing, which asks for a new one");
        assert_eq!(stage.authorities(), 2);
    }

    #[test]
    fn renewals_that_overtake_each_other_take_no_trust_away() {
        let mut stage = Stage::new();
        let served = stage.served.clone();
        for round in 0..3 {
            stage.data.clear();
            // A replica that has not come to exchange what it serves.
            stage.served = served.clone();
            stage.follow(at(1) + Duration::from_secs(round));
        }
        assert_eq!(stage.authorities(), 4);
    }

    #[test]
    fn earlier_authorities_go_when_nothing_of_theirs_can_be_served() {
        let mut stage = Stage::new();
        stage.data.remove("ca.key");
        stage.follow(at(1));
        assert_eq!((stage.authorities(), stage.follow(at(1))), (2, "nothing".to_owned()));
        assert_eq!(stage.follow(at(2)), "earlier authorities are no longer needed");
        assert_eq!((stage.authorities(), stage.follow(at(2))), (1, "nothing".to_owned()));
    }

    #[test]
    fn a_replica_that_still_serves_the_old_one_keeps_its_authority() {
        let mut stage = Stage::new();
        let served = stage.served.clone();
        stage.data.remove("ca.key");
        stage.follow(at(1));
        stage.served = served;
        assert_eq!(stage.follow(at(3)), "nothing");
        assert_eq!(stage.authorities(), 2);
    }

    #[test]
    fn authorities_without_a_date_get_one_first() {
        let mut stage = Stage::new();
        stage.data.remove("ca.key");
        stage.follow(at(1));
        stage.until = None;
        assert_eq!(stage.follow(at(9)), "it was not said how long earlier authorities are trusted");
        assert_eq!((stage.authorities(), stage.until), (2, Some(unix(at(10)))));
    }

    #[test]
    fn a_secret_that_somebody_replaced_as_a_whole_takes_no_trust_away() {
        let mut stage = Stage::new();
        stage.data = data(&CertificateSecret::new(NAME, at(0), &[]).unwrap());
        assert_eq!(stage.follow(at(1)), "the authority of what is served now has to stay trusted for a while");
        assert_eq!(stage.authorities(), 2);
        // Nor does a replica that has just been started.
        let mut stage = Stage::new();
        stage.data = data(&CertificateSecret::new(NAME, at(0), &[]).unwrap());
        stage.served = None;
        stage.follow(at(1));
        assert_eq!(stage.authorities(), 2);
    }

    #[test]
    fn what_cannot_be_used_is_replaced_and_said() {
        let cases: [(&str, &[u8], usize, &str); 4] = [
            ("tls.key", b"no key", 1, "what was there cannot be used: `tls.key` cannot be read"),
            ("tls.crt", b"no certificate", 1, "what was there cannot be used: `tls.crt` cannot be read"),
            ("ca.crt", b"no certificate", 2, "what was there cannot be used: `ca.crt` cannot be read"),
            ("ca.key", b"no key", 2, "what was there cannot be used: `ca.key` cannot be read"),
        ];
        for (key, value, authorities, reason) in cases {
            let mut stage = Stage::new();
            stage.data.insert(key.to_owned(), ByteString(value.to_vec()));
            let said = stage.follow(at(1));
            assert!(said.starts_with(reason), "{said}");
            assert_eq!(stage.authorities(), authorities, "{key}");
        }
        let mut stage = Stage::new();
        stage.served = None;
        let said = stage.follow(at(91));
        assert!(said.contains("expired"), "{said}");
    }

    #[test]
    fn a_life_of_two_years_is_a_chain_of_trust() {
        let mut stage = Stage::new();
        let mut said = BTreeMap::new();
        for day in 0..730 {
            *said.entry(stage.follow(at(day))).or_insert(0) += 1;
            assert!(stage.authorities() <= 2);
        }
        assert_eq!(said["the certificate authority was due for renewal"], 2, "{said:?}");
        assert!(said["the certificate was due for renewal"] >= 9, "{said:?}");
    }
}
