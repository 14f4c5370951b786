//! What is kept in the Secret of the certificate: making it, renewing it, and checking that it may be served.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::webhook::tls;

/// In seconds.
pub const DAY: u64 = 24 * 60 * 60;
const CA_DAYS: u64 = 365;
const LEAF_DAYS: u64 = 90;
/// Clocks of machines differ: what is made now is valid already for those that are behind.
const BACKDATED: u64 = 60 * 60;

/// Authorities that are trusted at a time. More would mean as many renewals within the time that a predecessor is kept.
const AUTHORITIES: usize = 8;

/// What is kept in the Secret, all of it PEM.
#[derive(Clone, Eq, PartialEq)]
pub struct CertificateSecret {
    /// `ca.crt`: the authorities to be trusted, the one that signs first.
    pub authorities: String,
    /// `ca.key`: the key of the first of them.
    pub authority_key: String,
    /// `tls.crt`: the serving certificate.
    pub certificate: String,
    /// `tls.key`: its key.
    pub key: String,
}

/// Why a certificate cannot be used, made or published.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A key of the Secret is missing or empty.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A key of the Secret holds no PEM of its kind.
    #[error("`{key}` cannot be read: {message}")]
    Unreadable {
        /// Which.
        key: &'static str,
        /// Why.
        message: String,
    },
    /// A private key does not belong to its certificate.
    #[error("`{key}` does not fit its certificate: {message}")]
    Mismatch {
        /// Which.
        key: &'static str,
        /// Why.
        message: String,
    },
    /// An authority does not vouch for the certificate under the name of the Service, now.
    #[error("the certificate is not trusted for `{name}`: {message}")]
    Untrusted {
        /// The name that the API server calls.
        name: String,
        /// Why.
        message: String,
    },
    /// The authority has to be renewed before anything is signed by it.
    #[error("the authority is due for renewal")]
    Due,
    /// A certificate could not be made.
    #[error("a certificate cannot be made: {}", made(.0))]
    Make(#[from] rcgen::Error),
}

impl CertificateError {
    /// The words for programs, of a fixed list: the reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            CertificateError::Missing(_) => "Missing",
            CertificateError::Unreadable { .. } => "Unreadable",
            CertificateError::Mismatch { .. } => "KeyMismatch",
            CertificateError::Untrusted { .. } => "NotTrusted",
            CertificateError::Due => "AuthorityDue",
            CertificateError::Make(_) => "CannotBeMade",
        }
    }
}

/// A certificate with its key, that fit.
#[derive(Clone, Debug)]
pub struct Pair {
    /// For the TLS server.
    pub certified: Arc<CertifiedKey>,
    /// From when it is valid, in seconds of Unix time.
    pub begins: u64,
    /// When it expires, in seconds of Unix time.
    pub expires: u64,
}

impl Pair {
    /// Reads `tls.crt` and `tls.key` of a Secret. Whether anybody trusts it is another question: [`trusted`].
    ///
    /// # Errors
    /// When one of them is missing, cannot be read, or does not belong to the other.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Pair, CertificateError> {
        Pair::read(&text(data, "tls.crt")?, &text(data, "tls.key")?)
    }

    fn read(certificate: &str, key: &str) -> Result<Pair, CertificateError> {
        let certified = fit("tls.key", chain("tls.crt", certificate)?, key)?;
        let leaf = certified.end_entity_cert().map_err(|error| unreadable("tls.crt")(error))?;
        let (begins, expires) = validity("tls.crt", leaf)?;
        Ok(Pair { certified: Arc::new(certified), begins, expires })
    }
}

/// Material that is in order.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As in the Secret.
    pub secret: CertificateSecret,
    /// The serving certificate.
    pub pair: Pair,
    /// Whether the serving certificate should be replaced: a third of its life or less is left.
    pub leaf_due: bool,
    /// Whether the authority should be replaced: a third of its life or less is left.
    pub authority_due: bool,
}

impl CertificateSecret {
    /// Makes a new authority and a certificate for `name`.
    ///
    /// `previous` are authorities to be trusted on, in PEM: those which signed what replicas may still be serving.
    ///
    /// # Errors
    /// When the name is no DNS name, or when there is no randomness.
    pub fn new(name: &str, now: SystemTime, previous: &[&str]) -> Result<CertificateSecret, CertificateError> {
        let time = unix(now);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // Its own name per authority: clients look for the issuer by name.
        params.distinguished_name = common_name(&format!("ecr-access webhook authority {time}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        valid(&mut params, time.saturating_sub(BACKDATED), time + CA_DAYS * DAY);
        let authorities = params.self_signed(&key)?.pem();
        let authority_key = key.serialize_pem();
        let (certificate, key) = leaf(&Issuer::new(params, key), name, time, time + CA_DAYS * DAY)?;
        let made = CertificateSecret { authorities, authority_key, certificate, key };
        Ok(made.trusting(previous, now))
    }

    /// The same, with the authorities of `others`, PEM each, trusted behind its own: those which are valid, not there
    /// yet, and as many as are kept at a time.
    pub fn trusting(mut self, others: &[&str], now: SystemTime) -> CertificateSecret {
        let mut known: Vec<_> = blocks(&self.authorities).into_iter().map(|(certificate, _)| certificate).collect();
        for (certificate, pem) in others.iter().flat_map(|pem| blocks(pem)) {
            let valid = validity("ca.crt", &certificate).is_ok_and(|(_, until)| until > unix(now));
            if valid && known.len() < AUTHORITIES && !known.contains(&certificate) {
                if !self.authorities.ends_with('\n') {
                    self.authorities.push('\n');
                }
                self.authorities.push_str(&pem);
                known.push(certificate);
            }
        }
        self
    }

    /// The same, with no authority trusted but its own.
    pub fn alone(mut self) -> CertificateSecret {
        self.authorities = blocks(&self.authorities).into_iter().next().map(|(_, pem)| pem).unwrap_or_default();
        self
    }

    /// How many authorities are trusted.
    pub fn authority_count(&self) -> usize {
        blocks(&self.authorities).len()
    }

    /// Makes a new certificate for `name`, signed by the same authority.
    ///
    /// # Errors
    /// When the authority or its key cannot be read.
    pub fn reissue(&self, name: &str, now: SystemTime) -> Result<CertificateSecret, CertificateError> {
        let now = unix(now);
        let authority = self.signing_authority()?;
        let key = KeyPair::from_pem(&self.authority_key)?;
        let (_, until) = validity("ca.crt", &authority)?;
        let issuer = Issuer::from_ca_cert_der(&authority, key)?;
        let (certificate, key) = leaf(&issuer, name, now, until)?;
        Ok(CertificateSecret { certificate, key, ..self.clone() })
    }

    /// Reads the data of the Secret.
    ///
    /// # Errors
    /// When a key is missing or is no text.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<CertificateSecret, CertificateError> {
        Ok(CertificateSecret {
            authorities: text(data, "ca.crt")?,
            authority_key: text(data, "ca.key")?,
            certificate: text(data, "tls.crt")?,
            key: text(data, "tls.key")?,
        })
    }

    /// Reads the authority alone, for what is to be signed by it now: it is in order and not due for renewal.
    ///
    /// # Errors
    /// What is not in order.
    pub fn authority_of(
        data: &BTreeMap<String, ByteString>,
        now: SystemTime,
    ) -> Result<CertificateSecret, CertificateError> {
        let secret = CertificateSecret {
            authorities: text(data, "ca.crt")?,
            authority_key: text(data, "ca.key")?,
            certificate: String::new(),
            key: String::new(),
        };
        let authority = secret.signing_authority()?;
        fit("ca.key", vec![authority.clone()], &secret.authority_key)?;
        let (from, until) = validity("ca.crt", &authority)?;
        if due(from, until, now) { Err(CertificateError::Due) } else { Ok(secret) }
    }

    /// The data of the Secret.
    pub fn to_secret(&self) -> BTreeMap<&'static str, ByteString> {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        BTreeMap::from([
            ("ca.crt", bytes(&self.authorities)),
            ("ca.key", bytes(&self.authority_key)),
            ("tls.crt", bytes(&self.certificate)),
            ("tls.key", bytes(&self.key)),
        ])
    }

    /// Checks that everything fits together and may be served as `name` now.
    ///
    /// # Errors
    /// The first thing that is not in order.
    pub fn load(self, name: &str, now: SystemTime) -> Result<Loaded, CertificateError> {
        let authority = self.signing_authority()?;
        fit("ca.key", vec![authority.clone()], &self.authority_key)?;
        let pair = Pair::read(&self.certificate, &self.key)?;
        trusted(self.authorities.as_bytes(), &pair.certified, name, now)?;
        let (from, until) = validity("ca.crt", &authority)?;
        Ok(Loaded {
            leaf_due: due(pair.begins, pair.expires, now),
            authority_due: due(from, until, now),
            pair,
            secret: self,
        })
    }

    fn signing_authority(&self) -> Result<CertificateDer<'static>, CertificateError> {
        chain("ca.crt", &self.authorities)?.into_iter().next().ok_or(CertificateError::Missing("ca.crt"))
    }
}

/// Checks that one of the authorities in `bundle` vouches for `certified` as `name` at the time `now`, by the rules that
/// any TLS client follows.
///
/// # Errors
/// Why not.
pub fn trusted(bundle: &[u8], certified: &CertifiedKey, name: &str, now: SystemTime) -> Result<(), CertificateError> {
    let untrusted = |message: String| CertificateError::Untrusted { name: name.to_owned(), message };
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(bundle) {
        roots
            .add(authority.map_err(|error| unreadable("ca.crt")(no_pem(&error)))?)
            .map_err(|error| untrusted(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .build()
        .map_err(|error| untrusted(error.to_string()))?;
    let server = ServerName::try_from(name.to_owned()).map_err(|error| untrusted(error.to_string()))?;
    let (leaf, rest) = certified.cert.split_first().ok_or(CertificateError::Missing("tls.crt"))?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(unix(now)));
    verifier.verify_server_cert(leaf, rest, &server, &[], now).map_err(|error| untrusted(error.to_string()))?;
    Ok(())
}

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    now: u64,
    authority_until: u64,
) -> Result<(String, String), CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    // A common name has at most 64 characters, a DNS name may have more; nobody reads it.
    params.distinguished_name = common_name("ecr-access webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now.saturating_sub(BACKDATED), (now + LEAF_DAYS * DAY).min(authority_until));
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// Sets the validity, in seconds of Unix time.
fn valid(params: &mut CertificateParams, from: u64, until: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from);
    params.not_after = epoch + Duration::from_secs(until);
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn chain(key: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = certificates.map_err(|error| unreadable(key)(no_pem(&error)))?;
    if certificates.is_empty() { Err(unreadable(key)("there is no certificate in it")) } else { Ok(certificates) }
}

fn fit(key: &'static str, chain: Vec<CertificateDer<'static>>, pem: &str) -> Result<CertifiedKey, CertificateError> {
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable(key)(no_pem(&error)))?;
    CertifiedKey::from_der(chain, private, &tls::provider())
        .map_err(|error| CertificateError::Mismatch { key, message: error.to_string() })
}

/// From when and until when a certificate is valid, in seconds of Unix time.
fn validity(key: &'static str, certificate: &CertificateDer<'_>) -> Result<(u64, u64), CertificateError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| unreadable(key)(error))?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = parsed.validity();
    Ok((seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp())))
}

/// Whether a third of a life or less is left.
fn due(from: u64, until: u64, now: SystemTime) -> bool {
    unix(now).saturating_add(until.saturating_sub(from) / 3) >= until
}

/// The certificates of `pem` that can be read, each with its text; anything around them is comment.
fn blocks(pem: &str) -> Vec<(CertificateDer<'static>, String)> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let readable = |part: &str| {
        let (_, inner) = part.split_once(BEGIN)?;
        let text = format!("{BEGIN}{inner}{END}\n");
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        validity("ca.crt", &certificate).ok()?;
        Some((certificate, text))
    };
    pem.split(END).filter_map(readable).collect()
}

fn text(data: &BTreeMap<String, ByteString>, key: &'static str) -> Result<String, CertificateError> {
    let bytes = data.get(key).filter(|bytes| !bytes.0.is_empty()).ok_or(CertificateError::Missing(key))?;
    String::from_utf8(bytes.0.clone()).map_err(|error| unreadable(key)(error))
}

fn unreadable<E: fmt::Display>(key: &'static str) -> impl Fn(E) -> CertificateError {
    move |error| CertificateError::Unreadable { key, message: error.to_string() }
}

/// Why it is no PEM, without a word of it: the errors of the reader quote the line, and a key that lost its line ends is
/// one line. What is said here goes into the log, an Event and a condition.
fn no_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end; are the line ends still there?",
        pem::Error::IllegalSectionStart { .. } => {
            "a section does not begin as it should; are the line ends still there?"
        }
        pem::Error::Base64Decode(_) => "a section is no base64",
        pem::Error::NoItemsFound => "there is nothing of its kind in it",
        _ => "it is no PEM",
    }
}

/// As [`no_pem`], of what makes certificates.
fn made(error: &rcgen::Error) -> String {
    match error {
        rcgen::Error::PemError(_) => "the key of the authority is no PEM".to_owned(),
        error => error.to_string(),
    }
}

/// Seconds of Unix time.
pub fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Debug for CertificateSecret {
    /// Nothing of it: half of it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ecr-access.ecr-access-system.svc";

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days * DAY)
    }

    fn error(secret: CertificateSecret, days: u64) -> String {
        secret.load(NAME, at(days)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_made_is_in_order_and_survives_the_secret() {
        let secret = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        let data = secret.to_secret().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let read = CertificateSecret::from_secret(&data).unwrap();
        assert!(read == secret);
        let loaded = read.load(NAME, at(0)).unwrap();
        assert_eq!(loaded.pair.expires, 1_800_000_000 + 90 * DAY);
        assert!(!loaded.leaf_due && !loaded.authority_due);
    }

    #[test]
    fn an_empty_secret_says_what_is_missing() {
        let error = CertificateSecret::from_secret(&BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "`ca.crt` is missing");
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        let (good, other) =
            (CertificateSecret::new(NAME, at(0), &[]).unwrap(), CertificateSecret::new(NAME, at(0), &[]).unwrap());
        let with = |change: fn(&mut CertificateSecret, CertificateSecret)| {
            let mut secret = good.clone();
            change(&mut secret, other.clone());
            error(secret, 0)
        };
        assert!(with(|m, o| m.key = o.key).starts_with("`tls.key` does not fit its certificate"));
        assert!(with(|m, o| m.authority_key = o.authority_key).starts_with("`ca.key` does not fit its certificate"));
        assert!(
            with(|m, o| (m.certificate, m.key) = (o.certificate, o.key)).starts_with("the certificate is not trusted")
        );
        assert!(with(|m, _| m.key = "no key".to_owned()).starts_with("`tls.key` cannot be read"));
        let text = with(|m, _| m.certificate = "text".to_owned());
        assert_eq!(text, "`tls.crt` cannot be read: there is no certificate in it");
    }

    #[test]
    fn a_key_that_is_no_pem_is_not_quoted() {
        let good = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        // As if it had gone through a tool that takes line ends away, spells them out, or cuts a text.
        let spoilt: [fn(&str) -> String; 5] = [
            |pem| pem.replace('\n', ""),
            |pem| pem.replace('\n', "\\n"),
            |pem| pem.replace("-----\n", "--\n"),
            |pem| pem.trim_end_matches("-----END PRIVATE KEY-----\n").to_owned(),
            |pem| pem.replacen('M', "\u{201c}", 3),
        ];
        for spoil in spoilt {
            for field in ["tls.key", "ca.key"] {
                let mut secret = good.clone();
                let pem = if field == "tls.key" { &mut secret.key } else { &mut secret.authority_key };
                let part = pem.lines().nth(1).unwrap().get(8..16).unwrap().to_owned();
                *pem = spoil(pem);
                let text = error(secret, 0);
                assert!(text.starts_with(&format!("`{field}` cannot be read: ")) && text.len() < 120, "{text}");
                // Neither as a text nor as the numbers of its bytes.
                assert!(!text.contains(&part) && !text.contains("45, 45"), "{text}");
            }
        }
    }

    #[test]
    fn another_name_and_another_time_are_refused() {
        let secret = CertificateSecret::new("other.ns.svc", at(0), &[]).unwrap();
        assert!(error(secret, 0).starts_with(&format!("the certificate is not trusted for `{NAME}`")));
        let secret = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        assert!(error(secret.clone(), 91).contains("expired"), "{}", error(secret, 91));
    }

    #[test]
    fn a_third_before_its_end_a_certificate_is_due() {
        let secret = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        let due = |days| secret.clone().load(NAME, at(days)).map(|loaded| loaded.leaf_due).unwrap();
        assert!(!due(59));
        assert!(due(61));
        let renewed = secret.reissue(NAME, at(61)).unwrap();
        assert!(renewed.authorities == secret.authorities && renewed.certificate != secret.certificate);
        let loaded = renewed.clone().load(NAME, at(61)).unwrap();
        assert!(!loaded.leaf_due && !loaded.authority_due);
        // The authority's turn comes later, and no certificate outlives it.
        let late = renewed.reissue(NAME, at(300)).unwrap().load(NAME, at(300)).unwrap();
        assert!(late.authority_due);
        assert_eq!(late.pair.expires, 1_800_000_000 + 365 * DAY);
    }

    #[test]
    fn a_new_authority_is_published_beside_the_previous_one() {
        let old = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        let new = CertificateSecret::new(NAME, at(300), &[&old.authorities]).unwrap();
        let served = old.clone().reissue(NAME, at(299)).unwrap().load(NAME, at(300)).unwrap();
        trusted(new.authorities.as_bytes(), &served.pair.certified, NAME, at(300)).unwrap();
        let next = new.clone().load(NAME, at(300)).unwrap();
        trusted(new.authorities.as_bytes(), &next.pair.certified, NAME, at(300)).unwrap();
        assert!(trusted(old.authorities.as_bytes(), &next.pair.certified, NAME, at(300)).is_err());
        // All of them are kept, each once, and only while they are valid.
        let third =
            CertificateSecret::new(NAME, at(301), &[&new.authorities, &new.authorities, &old.authorities]).unwrap();
        assert_eq!(third.authority_count(), 3);
        trusted(third.authorities.as_bytes(), &served.pair.certified, NAME, at(301)).unwrap();
        assert_eq!(third.clone().alone().authority_count(), 1);
        third.alone().load(NAME, at(301)).unwrap();
        let late = CertificateSecret::new(NAME, at(400), &[&old.authorities]).unwrap();
        assert_eq!(late.authority_count(), 1);
        let garbage = CertificateSecret::new(NAME, at(400), &["garbage"]).unwrap();
        assert_eq!(garbage.authority_count(), 1);
    }

    #[test]
    fn secrets_do_not_get_into_debug_output() {
        let secret = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        assert_eq!(format!("{secret:?}"), "Material { .. }");
    }
    #[test]
    fn the_number_of_authorities_is_bounded() {
        let many: Vec<CertificateSecret> =
            (0..20).map(|day| CertificateSecret::new(NAME, at(day), &[]).unwrap()).collect();
        let previous: Vec<&str> = many.iter().map(|secret| secret.authorities.as_str()).collect();
        let secret = CertificateSecret::new(NAME, at(20), &previous).unwrap();
        assert_eq!(secret.authority_count(), AUTHORITIES);
        secret.load(NAME, at(20)).unwrap();
    }

    #[test]
    fn comments_between_authorities_and_what_cannot_be_read_are_left_out() {
        let (one, two) =
            (CertificateSecret::new(NAME, at(0), &[]).unwrap(), CertificateSecret::new(NAME, at(1), &[]).unwrap());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let bundle = format!("# first\n{}{broken}# second\r\n{}trailing", one.authorities, two.authorities);
        let texts: Vec<String> = blocks(&bundle).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, [one.authorities, two.authorities]);
    }

    #[test]
    fn an_authority_signs_again_while_it_is_in_order_and_not_due() {
        let secret = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        let data = |secret: &CertificateSecret| -> BTreeMap<String, ByteString> {
            let data = secret.to_secret().into_iter().filter(|(key, _)| key.starts_with("ca."));
            data.map(|(key, value)| (key.to_owned(), value)).collect()
        };
        let again = CertificateSecret::authority_of(&data(&secret), at(1)).unwrap().reissue(NAME, at(1)).unwrap();
        assert!(again.authorities == secret.authorities);
        again.load(NAME, at(1)).unwrap();
        assert_eq!(CertificateSecret::authority_of(&data(&secret), at(300)).unwrap_err().reason(), "AuthorityDue");
        let other = CertificateSecret::new(NAME, at(0), &[]).unwrap();
        let mixed = CertificateSecret { authority_key: other.authority_key, ..secret };
        assert_eq!(CertificateSecret::authority_of(&data(&mixed), at(1)).unwrap_err().reason(), "KeyMismatch");
    }
}
