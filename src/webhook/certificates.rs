//! The certificate of the webhook: made here, kept in a Secret that the installation brings empty, published as
//! `caBundle` of the webhook configuration.
//!
//! Any number of replicas run this at the same time. Each write of the Secret carries the resource version that was
//! read, so one writes and the others adopt what is there. `caBundle` is the Secret's `ca.crt` and nothing else, so
//! whoever applies it applies the same. A replica serves a certificate only once the configuration trusts it, and
//! `ca.crt` keeps the previous authority beside a new one, so both are trusted while replicas change over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::{self, Serving};
use crate::runtime::metrics::Metrics;

const CONFIGURATION_MANAGER: &str = "ecr-access-webhook";
const SECRET_MANAGER: &str = "ecr-access-certificates";

const DAY: u64 = 24 * 60 * 60;
const CA_DAYS: u64 = 365;
const LEAF_DAYS: u64 = 90;
/// Clocks of machines differ: what is made now is valid already for those that are behind.
const BACKDATED: u64 = 60 * 60;

/// How often Secret and configuration are looked at, and how often while not everything is as it should be.
const PERIOD: Duration = Duration::from_secs(10);
const HURRY: Duration = Duration::from_secs(1);
/// One look, all its requests together.
const TIMEOUT: Duration = Duration::from_secs(8);

/// What is kept in the Secret, all of it PEM.
#[derive(Clone, Eq, PartialEq)]
pub struct Material {
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
    /// A certificate could not be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Material that is in order.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As in the Secret.
    pub material: Material,
    /// For the TLS server.
    pub certified: Arc<CertifiedKey>,
    /// When the serving certificate expires, in seconds of Unix time.
    pub expires: u64,
    /// Whether the serving certificate should be replaced: a third of its life or less is left.
    pub leaf_due: bool,
    /// Whether the authority should be replaced: a third of its life or less is left.
    pub authority_due: bool,
}

impl Material {
    /// Makes a new authority and a certificate for `name`.
    ///
    /// `previous` are authorities to be trusted on, in PEM: those which signed what other replicas may still be serving.
    ///
    /// # Errors
    /// When the name is no DNS name, or when there is no randomness.
    pub fn new(name: &str, now: SystemTime, previous: Option<&str>) -> Result<Material, CertificateError> {
        let now = unix(now);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // Its own name per authority: clients look for the issuer by name.
        params.distinguished_name = common_name(&format!("ecr-access webhook authority {now}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        valid(&mut params, now.saturating_sub(BACKDATED), now + CA_DAYS * DAY);
        let mut authorities = params.self_signed(&key)?.pem();
        let authority_key = key.serialize_pem();
        let (certificate, key) = leaf(&Issuer::new(params, key), name, now, now + CA_DAYS * DAY)?;
        // One predecessor is enough: a replica that serves something older has slept for months.
        let predecessor = previous.and_then(|pem| first_valid(pem, now));
        if let Some(pem) = predecessor {
            authorities.push_str(&pem);
        }
        Ok(Material { authorities, authority_key, certificate, key })
    }

    /// Makes a new certificate for `name`, signed by the same authority.
    ///
    /// # Errors
    /// When the authority or its key cannot be read.
    pub fn reissue(&self, name: &str, now: SystemTime) -> Result<Material, CertificateError> {
        let now = unix(now);
        let authority = self.signing_authority()?;
        let key = KeyPair::from_pem(&self.authority_key)?;
        let (_, until) = validity("ca.crt", &authority)?;
        let issuer = Issuer::from_ca_cert_der(&authority, key)?;
        let (certificate, key) = leaf(&issuer, name, now, until)?;
        Ok(Material { certificate, key, ..self.clone() })
    }

    /// Reads the data of the Secret.
    ///
    /// # Errors
    /// When a key is missing or is no text.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Material, CertificateError> {
        let text = |key: &'static str| {
            let bytes = data.get(key).filter(|bytes| !bytes.0.is_empty()).ok_or(CertificateError::Missing(key))?;
            String::from_utf8(bytes.0.clone()).map_err(|error| unreadable(key)(error))
        };
        Ok(Material {
            authorities: text("ca.crt")?,
            authority_key: text("ca.key")?,
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
        })
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
        let certified = fit("tls.key", chain("tls.crt", &self.certificate)?, &self.key)?;
        trusted(self.authorities.as_bytes(), &certified, name, now)?;
        let leaf = certified.end_entity_cert().map_err(|error| unreadable("tls.crt")(error))?;
        let (leaf_from, expires) = validity("tls.crt", leaf)?;
        let (authority_from, authority_until) = validity("ca.crt", &authority)?;
        let due = |from: u64, until: u64| unix(now).saturating_add(until.saturating_sub(from) / 3) >= until;
        Ok(Loaded {
            leaf_due: due(leaf_from, expires),
            authority_due: due(authority_from, authority_until),
            expires,
            certified: Arc::new(certified),
            material: self,
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
            .add(authority.map_err(|error| unreadable("ca.crt")(error))?)
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
    let certificates = certificates.map_err(|error| unreadable(key)(error))?;
    if certificates.is_empty() { Err(CertificateError::Missing(key)) } else { Ok(certificates) }
}

fn fit(key: &'static str, chain: Vec<CertificateDer<'static>>, pem: &str) -> Result<CertifiedKey, CertificateError> {
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable(key)(error))?;
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

/// The first certificate of `pem` that is valid for a while yet, in PEM.
fn first_valid(pem: &str, now: u64) -> Option<String> {
    let certificate = CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok()?;
    let (_, until) = validity("ca.crt", &certificate).ok()?;
    // Text up to and with the end of the first block; anything before the block is a comment.
    const END: &str = "-----END CERTIFICATE-----";
    let (first, _) = pem.split_once(END)?;
    (until > now).then(|| format!("{first}{END}\n"))
}

fn unreadable<E: fmt::Display>(key: &'static str) -> impl Fn(E) -> CertificateError {
    move |error| CertificateError::Unreadable { key, message: error.to_string() }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Material {
    /// Nothing of it: half of it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// Where the certificate is kept and published.
#[derive(Clone, Debug)]
pub struct Place {
    /// The operator's namespace.
    pub namespace: String,
    /// The Secret that keeps it.
    pub secret: String,
    /// The Service that the API server calls.
    pub service: String,
    /// The `ValidatingWebhookConfiguration` with the `caBundle`.
    pub configuration: String,
}

impl Place {
    /// The name under which the API server calls: `service.namespace.svc`.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// Keeps a trusted certificate in service.
pub struct Keeper {
    place: Place,
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    serving: Arc<Serving>,
    metrics: Metrics,
    state: KeeperState,
    /// The certificate that waits to be served, since the look before this one.
    waiting: Option<Arc<CertifiedKey>>,
}

/// Whether a trusted certificate is in service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperState(Arc<Mutex<Result<(), String>>>);

impl KeeperState {
    /// Why no certificate is served that the API server trusts, in words for people.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Why a look at the Secret and the configuration ended early.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error("cannot read {0}: {1}")]
    Read(String, #[source] Box<kube::Error>),
    #[error("cannot write {0}: {1}")]
    Write(String, #[source] Box<kube::Error>),
    /// Somebody else wrote in between. Nothing is wrong, it only has to be looked at again.
    #[error("{0} was changed by somebody else just now")]
    Conflict(String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Keeper {
    /// Keeps what `serving` serves.
    pub fn new(client: Client, place: Place, serving: Arc<Serving>, metrics: Metrics) -> Keeper {
        Keeper {
            secrets: Api::namespaced(client.clone(), &place.namespace),
            configurations: Api::all(client),
            state: KeeperState(Arc::new(Mutex::new(Err("no certificate is loaded yet".to_owned())))),
            place,
            serving,
            metrics,
            waiting: None,
        }
    }

    /// For readiness.
    pub fn state(&self) -> KeeperState {
        self.state.clone()
    }

    /// Keeps at it until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut logged = None;
        loop {
            let outcome = match tokio::time::timeout(TIMEOUT, self.look()).await {
                Ok(outcome) => outcome.map_err(|error| (matches!(error, KeeperError::Conflict(_)), error.to_string())),
                Err(_) => Err((false, "the API server did not answer in time".to_owned())),
            };
            let pause = match outcome {
                Ok(Ok(())) => {
                    self.state.set(Ok(()));
                    logged = None;
                    PERIOD
                }
                Ok(Err(reason)) => {
                    self.state.set(Err(reason));
                    HURRY
                }
                // Another replica is at it. A little later its work can be seen.
                Err((true, _)) => HURRY / 5,
                Err((false, error)) => {
                    self.metrics.certificate_errors.inc();
                    // What is served stays good when the API server is away for a while.
                    if self.state.check().is_err() {
                        self.state.set(Err(error.clone()));
                    }
                    if logged.as_ref() != Some(&error) {
                        tracing::warn!(error, "the certificate cannot be looked after");
                        logged = Some(error);
                    }
                    HURRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look: what is wanted, what there is, and what has to be done about it. The inner result is readiness.
    async fn look(&mut self) -> Result<Result<(), String>, KeeperError> {
        let (now, name) = (SystemTime::now(), self.place.dns_name());
        // The configuration before the Secret, and its resource version with the write: had another replica exchanged the
        // authority in the meantime, it would have written the configuration after we read it, and our write, of what is
        // old by then, fails.
        let configuration = self.configuration().await?;
        let loaded = self.loaded(&name, now).await?;

        let bundle = loaded.material.authorities.as_bytes();
        let place = self.place.clone();
        let trusts = |configuration: &ValidatingWebhookConfiguration, certified: &CertifiedKey| {
            ours(&place, configuration)
                .try_for_each(|(_, bundle)| trusted(bundle.unwrap_or_default(), certified, &name, now))
        };
        let published = ours(&place, &configuration).all(|(_, found)| found == Some(bundle));
        let configuration = if published { configuration } else { self.publish(&configuration, bundle).await? };

        let current = self.serving.current();
        let same = current.as_ref().is_some_and(|current| current.cert == loaded.certified.cert);
        if !same {
            // API servers see a change of the configuration a moment later. So where what is served is still good, its
            // successor waits for one more look.
            let good = current.is_some_and(|current| trusts(&configuration, &current).is_ok());
            let waited = self.waiting.as_ref().is_some_and(|waiting| waiting.cert == loaded.certified.cert);
            if good && !waited {
                tracing::info!("a new certificate waits until every API server can know its authority");
                self.waiting = Some(loaded.certified);
                return Ok(Ok(()));
            }
            self.waiting = None;
            self.serving.swap(Arc::clone(&loaded.certified));
            #[expect(clippy::cast_precision_loss, reason = "exact until the year 285 million")]
            self.metrics.certificate_expiry.set(loaded.expires as f64);
            tracing::info!(name, expires = loaded.expires, "serving a certificate");
        }
        Ok(trusts(&configuration, &loaded.certified).map_err(|error| {
            format!("the webhook configuration {} does not trust the certificate: {error}", self.place.configuration)
        }))
    }

    /// What the Secret holds, made or renewed first where that is due.
    async fn loaded(&self, name: &str, now: SystemTime) -> Result<Loaded, KeeperError> {
        let what = format!("secret {}/{}", self.place.namespace, self.place.secret);
        let secret = self.secrets.get(&self.place.secret).await;
        let secret = secret.map_err(|error| KeeperError::Read(what.clone(), Box::new(error)))?;
        let data = secret.data.unwrap_or_default();
        let found = Material::from_secret(&data).and_then(|material| material.load(name, now));
        let wanted = match found {
            Ok(loaded) if loaded.authority_due => {
                tracing::info!("the certificate authority is due for renewal");
                Material::new(name, now, Some(&loaded.material.authorities))?
            }
            Ok(loaded) if loaded.leaf_due => {
                tracing::info!("the certificate is due for renewal");
                loaded.material.reissue(name, now)?
            }
            Ok(loaded) => return Ok(loaded),
            Err(problem) => {
                if data.values().any(|value| !value.0.is_empty()) {
                    tracing::warn!(secret = self.place.secret, %problem, "the certificate cannot be used and is replaced");
                }
                // What is trusted now, by whatever the Secret still says, stays so while replicas change over.
                let previous = data.get("ca.crt").and_then(|pem| std::str::from_utf8(&pem.0).ok());
                Material::new(name, now, previous)?
            }
        };
        let loaded = wanted.load(name, now)?;
        let patch = json!({
            "metadata": {"resourceVersion": secret.metadata.resource_version},
            "data": loaded.material.to_secret(),
        });
        let params = PatchParams { field_manager: Some(SECRET_MANAGER.to_owned()), ..PatchParams::default() };
        match self.secrets.patch(&self.place.secret, &params, &Patch::Merge(&patch)).await {
            Ok(_) => {
                tracing::info!(secret = self.place.secret, "wrote a new certificate");
                Ok(loaded)
            }
            Err(error) => Err(write_error(what, error)),
        }
    }

    async fn configuration(&self) -> Result<ValidatingWebhookConfiguration, KeeperError> {
        let name = &self.place.configuration;
        let what = format!("webhook configuration {name}");
        self.configurations.get(name).await.map_err(|error| KeeperError::Read(what, Box::new(error)))
    }

    /// Writes `caBundle`, and no other field, by server-side apply.
    async fn publish(
        &self,
        configuration: &ValidatingWebhookConfiguration,
        bundle: &[u8],
    ) -> Result<ValidatingWebhookConfiguration, KeeperError> {
        let name = &self.place.configuration;
        let bundle = ByteString(bundle.to_vec());
        let webhooks: Vec<_> = ours(&self.place, configuration)
            .map(|(webhook, _)| json!({"name": webhook, "clientConfig": {"caBundle": bundle}}))
            .collect();
        let patch = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            // With a resource version the apply cannot bring back a configuration that was just deleted, either.
            "metadata": {"name": name, "resourceVersion": configuration.metadata.resource_version},
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(CONFIGURATION_MANAGER).force();
        let written = self.configurations.patch(name, &params, &Patch::Apply(&patch)).await;
        let written = written.map_err(|error| write_error(format!("webhook configuration {name}"), error))?;
        tracing::info!(configuration = name, "published the certificate authority");
        Ok(written)
    }
}

fn write_error(what: String, error: kube::Error) -> KeeperError {
    match error {
        kube::Error::Api(status) if status.code == 409 => KeeperError::Conflict(what),
        error => KeeperError::Write(what, Box::new(error)),
    }
}

/// Name and `caBundle` of each webhook that calls the Service of `place`.
fn ours<'a>(
    place: &Place,
    configuration: &'a ValidatingWebhookConfiguration,
) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
    let (namespace, name) = (place.namespace.clone(), place.service.clone());
    configuration.webhooks.iter().flatten().filter_map(move |webhook| {
        let service = webhook.client_config.service.as_ref()?;
        let bundle = webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
        (service.namespace == namespace && service.name == name).then_some((webhook.name.as_str(), bundle))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fake::FakeApi;

    const NAME: &str = "ecr-access.ecr-access-system.svc";

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days * DAY)
    }

    fn error(material: Material, days: u64) -> String {
        material.load(NAME, at(days)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_made_is_in_order_and_survives_the_secret() {
        let material = Material::new(NAME, at(0), None).unwrap();
        let data = material.to_secret().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let read = Material::from_secret(&data).unwrap();
        assert!(read == material);
        let loaded = read.load(NAME, at(0)).unwrap();
        assert_eq!(loaded.expires, 1_800_000_000 + 90 * DAY);
        assert!(!loaded.leaf_due && !loaded.authority_due);
    }

    #[test]
    fn an_empty_secret_says_what_is_missing() {
        let error = Material::from_secret(&BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "`ca.crt` is missing");
    }

    #[test]
    fn whatever_does_not_fit_is_refused() {
        let (good, other) = (Material::new(NAME, at(0), None).unwrap(), Material::new(NAME, at(0), None).unwrap());
        let with = |change: fn(&mut Material, Material)| {
            let mut material = good.clone();
            change(&mut material, other.clone());
            error(material, 0)
        };
        assert!(with(|m, o| m.key = o.key).starts_with("`tls.key` does not fit its certificate"));
        assert!(with(|m, o| m.authority_key = o.authority_key).starts_with("`ca.key` does not fit its certificate"));
        assert!(
            with(|m, o| (m.certificate, m.key) = (o.certificate, o.key)).starts_with("the certificate is not trusted")
        );
        assert!(with(|m, _| m.key = "no key".to_owned()).starts_with("`tls.key` cannot be read"));
        assert_eq!(with(|m, _| m.certificate = "text".to_owned()), "`tls.crt` is missing");
    }

    #[test]
    fn another_name_and_another_time_are_refused() {
        let material = Material::new("other.ns.svc", at(0), None).unwrap();
        assert!(error(material, 0).starts_with(&format!("the certificate is not trusted for `{NAME}`")));
        let material = Material::new(NAME, at(0), None).unwrap();
        assert!(error(material.clone(), 91).contains("expired"), "{}", error(material, 91));
    }

    #[test]
    fn a_third_before_its_end_a_certificate_is_due() {
        let material = Material::new(NAME, at(0), None).unwrap();
        let due = |days| material.clone().load(NAME, at(days)).map(|loaded| loaded.leaf_due).unwrap();
        assert!(!due(59));
        assert!(due(61));
        let renewed = material.reissue(NAME, at(61)).unwrap();
        assert!(renewed.authorities == material.authorities && renewed.certificate != material.certificate);
        let loaded = renewed.clone().load(NAME, at(61)).unwrap();
        assert!(!loaded.leaf_due && !loaded.authority_due);
        // The authority's turn comes later, and no certificate outlives it.
        let late = renewed.reissue(NAME, at(300)).unwrap().load(NAME, at(300)).unwrap();
        assert!(late.authority_due);
        assert_eq!(late.expires, 1_800_000_000 + 365 * DAY);
    }

    #[test]
    fn a_new_authority_is_published_beside_the_previous_one() {
        let old = Material::new(NAME, at(0), None).unwrap();
        let new = Material::new(NAME, at(300), Some(&old.authorities)).unwrap();
        let served = old.clone().reissue(NAME, at(299)).unwrap().load(NAME, at(300)).unwrap();
        trusted(new.authorities.as_bytes(), &served.certified, NAME, at(300)).unwrap();
        let next = new.clone().load(NAME, at(300)).unwrap();
        trusted(new.authorities.as_bytes(), &next.certified, NAME, at(300)).unwrap();
        assert!(trusted(old.authorities.as_bytes(), &next.certified, NAME, at(300)).is_err());
        // Only one is kept, and only while it is valid.
        let third = Material::new(NAME, at(301), Some(&new.authorities)).unwrap();
        assert_eq!(chain("ca.crt", &third.authorities).unwrap().len(), 2);
        let late = Material::new(NAME, at(400), Some(&old.authorities)).unwrap();
        assert_eq!(chain("ca.crt", &late.authorities).unwrap().len(), 1);
        let garbage = Material::new(NAME, at(400), Some("garbage")).unwrap();
        assert_eq!(chain("ca.crt", &garbage.authorities).unwrap().len(), 1);
    }

    #[test]
    fn secrets_do_not_get_into_debug_output() {
        let material = Material::new(NAME, at(0), None).unwrap();
        assert_eq!(format!("{material:?}"), "Material { .. }");
    }

    #[test]
    fn only_webhooks_that_call_our_service_are_ours() {
        let configuration: ValidatingWebhookConfiguration = serde_json::from_value(json!({
            "webhooks": [
                {"name": "pods.ecraccess.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"caBundle": "Y2E=", "service": {"name": "s", "namespace": "n"}}},
                {"name": "other", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"service": {"name": "s", "namespace": "elsewhere"}}},
                {"name": "url", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"url": "https://x"}}]}))
        .unwrap();
        let place = Place {
            namespace: "n".to_owned(),
            secret: String::new(),
            service: "s".to_owned(),
            configuration: String::new(),
        };
        let found: Vec<_> = ours(&place, &configuration).collect();
        assert_eq!(found, [("pods.ecraccess.dev", Some("ca".as_bytes()))]);
    }

    const SECRET: &str = "/api/v1/namespaces/ecr-access-system/secrets/certificate";
    const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ecr-access";

    /// An installation that nobody has touched yet.
    fn installed() -> Arc<FakeApi> {
        let api = FakeApi::new();
        api.put(SECRET, json!({"metadata": {"name": "certificate", "namespace": "ecr-access-system"}}));
        let webhook = |name: &str| {
            json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"service": {"name": "ecr-access", "namespace": "ecr-access-system"}}})
        };
        let webhooks = [webhook("pods.ecraccess.dev"), webhook("policies.ecraccess.dev")];
        api.put(CONFIGURATION, json!({"metadata": {"name": "ecr-access"}, "webhooks": webhooks}));
        api
    }

    fn keeper(api: &Arc<FakeApi>) -> Keeper {
        let place = Place {
            namespace: "ecr-access-system".to_owned(),
            secret: "certificate".to_owned(),
            service: "ecr-access".to_owned(),
            configuration: "ecr-access".to_owned(),
        };
        Keeper::new(api.client(), place, Serving::new(), Metrics::new())
    }

    /// Looks until the keeper is content. Conflicts are part of the game.
    async fn settle(keeper: &mut Keeper) {
        for _ in 0..10 {
            match keeper.look().await {
                Ok(Ok(())) => return,
                Ok(Err(_)) | Err(KeeperError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the keeper does not settle");
    }

    fn served(keeper: &Keeper) -> Vec<CertificateDer<'static>> {
        keeper.serving.current().unwrap().cert.clone()
    }

    fn bundle(api: &FakeApi) -> Vec<u8> {
        let configuration: ValidatingWebhookConfiguration = serde_json::from_value(api.get(CONFIGURATION)).unwrap();
        let bundles =
            configuration.webhooks.into_iter().flatten().map(|webhook| webhook.client_config.ca_bundle.unwrap().0);
        let mut bundles: Vec<Vec<u8>> = bundles.collect();
        bundles.dedup();
        assert_eq!(bundles.len(), 1, "both webhooks have the same");
        bundles.remove(0)
    }

    #[tokio::test]
    async fn three_replicas_that_find_an_empty_secret_at_once_end_up_with_one_certificate() {
        let api = installed();
        let (mut a, mut b, mut c) = (keeper(&api), keeper(&api), keeper(&api));
        api.race(SECRET, 3);
        tokio::join!(settle(&mut a), settle(&mut b), settle(&mut c));
        let secrets = api.writes().iter().filter(|path| *path == SECRET).count();
        assert_eq!(secrets, 1, "{:?}", api.writes());
        assert!(served(&a) == served(&b) && served(&b) == served(&c));
        trusted(&bundle(&api), &a.serving.current().unwrap(), NAME, SystemTime::now()).unwrap();
        // And then there is peace.
        let writes = api.writes().len();
        for keeper in [&mut a, &mut b, &mut c] {
            assert_eq!(keeper.look().await.unwrap(), Ok(()));
        }
        assert_eq!(api.writes().len(), writes);
    }

    #[tokio::test]
    async fn what_is_served_is_trusted_at_every_step_of_an_exchange() {
        let api = installed();
        let (mut a, mut b) = (keeper(&api), keeper(&api));
        settle(&mut a).await;
        settle(&mut b).await;
        let before = served(&a);
        let mut secret = api.get(SECRET);
        secret["data"]["tls.key"] = json!(ByteString(b"garbage".to_vec()));
        api.put(SECRET, secret);
        let good = |keeper: &Keeper| {
            trusted(&bundle(&api), &keeper.serving.current().unwrap(), NAME, SystemTime::now()).unwrap();
        };
        for _ in 0..3 {
            a.look().await.unwrap().unwrap();
            good(&a);
            good(&b);
            b.look().await.unwrap().unwrap();
            good(&a);
            good(&b);
        }
        assert!(served(&a) != before && served(&a) == served(&b));
    }

    #[tokio::test]
    async fn a_ca_bundle_that_somebody_removed_is_put_back() {
        let api = installed();
        let mut keeper = keeper(&api);
        settle(&mut keeper).await;
        let mut configuration = api.get(CONFIGURATION);
        configuration["webhooks"][0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
        configuration["webhooks"][1]["clientConfig"]["caBundle"] = json!("Cg==");
        api.put(CONFIGURATION, configuration);
        keeper.look().await.unwrap().unwrap();
        trusted(&bundle(&api), &keeper.serving.current().unwrap(), NAME, SystemTime::now()).unwrap();
    }

    #[tokio::test]
    async fn without_its_objects_the_keeper_says_which_one_is_missing() {
        let error = keeper(&FakeApi::new()).look().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot read webhook configuration ecr-access: "), "{error}");
    }
}
