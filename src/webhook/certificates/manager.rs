//! Keeps a trusted certificate in service: looks again and again, writes what is due, publishes it, and serves it when
//! it can be trusted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::notice::{self, Happened, NoticeError, Notices, Usable};
use super::plan::{Found, RotationReason, STALE, plan};
use super::secret::{CertificateError, Pair, trusted, unix};
use crate::runtime::metrics::Metrics;
use crate::runtime::telemetry::{self, read_error};
use crate::webhook::tls::CertResolver;

const CONFIGURATION_MANAGER: &str = "ecr-access-webhook";
const SECRET_MANAGER: &str = "ecr-access-certificates";
/// Annotation of the Secret: until when the authorities behind the first one in `ca.crt` are trusted, RFC 3339.
pub const UNTIL: &str = "ecraccess.dev/previous-authorities-until";

/// How often Secret and configuration are looked at, and how often while not everything is as it should be.
const PERIOD: Duration = Duration::from_secs(10);
const HURRY: Duration = Duration::from_secs(1);
/// One look, all its requests together.
const TIMEOUT: Duration = Duration::from_secs(8);
/// API servers see a change of the configuration a moment later. Where what is served is still good, its successor waits
/// for so long after it was seen to be trusted.
const SETTLE: Duration = Duration::from_secs(5);

/// Who makes the certificate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Mode {
    /// This program: it makes and renews certificate and authority, and publishes `caBundle`.
    #[default]
    Own,
    /// Somebody else, cert-manager for one: the Secret and `caBundle` are only read.
    Given,
}

/// Where the certificate is kept and published.
#[derive(Clone, Debug)]
pub struct Place {
    /// Who makes it.
    pub mode: Mode,
    /// The operator's namespace.
    pub namespace: String,
    /// The Secret that keeps it.
    pub secret: String,
    /// The Service that the API server calls.
    pub service: String,
    /// The `ValidatingWebhookConfiguration` with the `caBundle`.
    pub configuration: String,
    /// The name of this replica, for Events.
    pub replica: String,
}

impl Place {
    /// The name under which the API server calls: `service.namespace.svc`.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// Tells whether this replica leads: of several that see the same trouble, one should report it.
pub type IsLeader = Box<dyn Fn() -> bool + Send + Sync>;

/// Keeps a trusted certificate in service.
pub struct CertificateManager {
    place: Place,
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    notices: Notices,
    is_leader: IsLeader,
    resolver: Arc<CertResolver>,
    metrics: Metrics,
    state: KeeperState,
    /// The certificate that waits to be served, and since when it is trusted.
    waiting: Option<(Arc<CertifiedKey>, Instant)>,
    /// [`SETTLE`], but for tests.
    settle: Duration,
    /// What is wrong with the Secret, and whether an Event told of it.
    trouble: Option<(String, bool)>,
    /// What the condition was last made to say.
    told: Option<Usable>,
}

/// Whether a trusted certificate is in service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperState(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    ready: Result<(), String>,
    /// The last look that came to its end, in seconds of Unix time.
    looked: u64,
    /// When what is served expires, in seconds of Unix time.
    expires: u64,
}

impl KeeperState {
    /// Why no certificate is served that the API server trusts, in words for people.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<(), String> {
        self.check_at(unix(SystemTime::now()))
    }

    fn check_at(&self, now: u64) -> Result<(), String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ready.clone()?;
        if now >= state.expires {
            return Err("the certificate in service has expired".to_owned());
        }
        if now >= state.looked.saturating_add(STALE) {
            return Err(format!(
                "for {} hours it could not be looked whether the certificate in service is still trusted",
                STALE / 3600
            ));
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Why a look at the Secret and the configuration ended early.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error("cannot read {0}: {why}", why = read_error(.1))]
    Read(String, #[source] Box<kube::Error>),
    #[error("cannot write {0}: {why}", why = telemetry::write_error(.1))]
    Write(String, #[source] Box<kube::Error>),
    /// Somebody else wrote in between. Nothing is wrong, it only has to be looked at again.
    #[error("{0} was changed by somebody else just now")]
    Conflict(String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// What a look came to.
#[derive(Debug)]
enum Seen {
    /// What the Secret holds is in service and trusted.
    Good,
    /// What is in service is good, and its successor waits.
    Settling,
    /// What the Secret holds is not trusted.
    NotTrusted(String),
    /// What the Secret holds cannot be used, and could not be replaced.
    Unusable {
        reason: &'static str,
        problem: String,
        /// What is in service is trusted all the same.
        served_is_good: bool,
    },
}

impl CertificateManager {
    /// Keeps what `resolver` serves.
    pub fn new(
        client: Client,
        place: Place,
        resolver: Arc<CertResolver>,
        metrics: Metrics,
        is_leader: IsLeader,
    ) -> CertificateManager {
        let state = State { ready: Err("no certificate is loaded yet".to_owned()), looked: 0, expires: 0 };
        CertificateManager {
            secrets: Api::namespaced(client.clone(), &place.namespace),
            configurations: Api::all(client.clone()),
            notices: Notices::new(client, &place.namespace, &place.service, &place.replica),
            is_leader,
            state: KeeperState(Arc::new(Mutex::new(state))),
            place,
            resolver,
            metrics,
            waiting: None,
            settle: SETTLE,
            trouble: None,
            told: None,
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
            let pause = tokio::select! {
                pause = self.step(&mut logged) => pause,
                () = stop.cancelled() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look and what follows from it; returns when to look again. `logged` is the failure that was logged last.
    async fn step(&mut self, logged: &mut Option<String>) -> Duration {
        let outcome = match tokio::time::timeout(TIMEOUT, self.look()).await {
            Ok(outcome) => outcome.map_err(|error| (matches!(error, KeeperError::Conflict(_)), error.to_string())),
            Err(_) => Err((false, "the API server did not answer in time".to_owned())),
        };
        let (ready, trouble, pause) = match outcome {
            Ok(Seen::Good) => (Ok(()), None, PERIOD),
            Ok(Seen::Settling) => (Ok(()), None, self.settle),
            Ok(Seen::NotTrusted(problem)) => (Err(problem.clone()), Some(("NotTrusted", problem)), HURRY),
            Ok(Seen::Unusable { reason, problem, served_is_good }) => {
                (if served_is_good { Ok(()) } else { Err(problem.clone()) }, Some((reason, problem)), HURRY)
            }
            // Another replica is at it. A little later its work can be seen.
            Err((true, _)) => return HURRY / 5,
            Err((false, error)) => {
                self.metrics.certificate_errors.inc();
                // What is served stays good when the API server is away for a while.
                self.state.change(|state| {
                    if state.ready.is_err() {
                        state.ready = Err(error.clone());
                    }
                });
                if logged.as_ref() != Some(&error) {
                    tracing::warn!(error, "the certificate cannot be looked after");
                    *logged = Some(error);
                }
                return HURRY;
            }
        };
        *logged = None;
        self.state.change(|state| (state.ready, state.looked) = (ready, unix(SystemTime::now())));
        self.metrics.certificate_usable.set(i64::from(trouble.is_none()));
        self.report(trouble).await;
        pause
    }

    /// One look: what is wanted, what there is, and what has to be done about it.
    async fn look(&mut self) -> Result<Seen, KeeperError> {
        let (now, name) = (SystemTime::now(), self.place.dns_name());
        // The configuration before the Secret, and its resource version with the write: had another replica exchanged the
        // authority in the meantime, it would have written the configuration after we read it, and our write, of what is
        // old by then, fails.
        let configuration = self.configuration().await?;
        let secret = self.secret().await?;
        let found = match self.place.mode {
            Mode::Own => self.own(&secret, &configuration, &name, now).await?,
            Mode::Given => Pair::from_secret(&secret.data.unwrap_or_default())
                .map(|pair| (pair, configuration.clone()))
                .map_err(|error| (error.reason(), error.to_string())),
        };
        let current = self.resolver.current();
        let trusts = |configuration: &ValidatingWebhookConfiguration, certified: &CertifiedKey| {
            ours(&self.place, configuration)
                .try_for_each(|(_, bundle)| trusted(bundle.unwrap_or_default(), certified, &name, now))
        };
        let served_is_good = |configuration: &ValidatingWebhookConfiguration| {
            current.as_ref().is_some_and(|current| trusts(configuration, current).is_ok())
        };
        let (pair, configuration) = match found {
            Ok(found) => found,
            Err((reason, problem)) => {
                return Ok(Seen::Unusable { reason, problem, served_is_good: served_is_good(&configuration) });
            }
        };
        if let Err(error) = trusts(&configuration, &pair.certified) {
            let problem = format!(
                "the webhook configuration {} does not trust the certificate: {error}",
                self.place.configuration
            );
            let same = current.as_ref().is_some_and(|current| current.cert == pair.certified.cert);
            let served_is_good = !same && served_is_good(&configuration);
            return Ok(if served_is_good {
                Seen::Unusable { reason: error.reason(), problem, served_is_good }
            } else {
                Seen::NotTrusted(problem)
            });
        }
        if current.as_ref().is_some_and(|current| current.cert == pair.certified.cert) {
            self.waiting = None;
            return Ok(Seen::Good);
        }
        // API servers see a change of the configuration a moment later. So where what is served is still good, its
        // successor waits.
        if served_is_good(&configuration) {
            let since = match &self.waiting {
                Some((waiting, since)) if waiting.cert == pair.certified.cert => *since,
                _ => {
                    tracing::info!("a new certificate waits until every API server can know its authority");
                    let now = Instant::now();
                    self.waiting = Some((Arc::clone(&pair.certified), now));
                    now
                }
            };
            if since.elapsed() < self.settle {
                return Ok(Seen::Settling);
            }
        }
        self.waiting = None;
        self.resolver.swap(pair.certified);
        self.state.change(|state| state.expires = pair.expires);
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 285 million")]
        self.metrics.certificate_expiry.set(pair.expires as f64);
        self.metrics.certificate_swaps.inc();
        tracing::info!(name, expires = pair.expires, "serving a certificate");
        Ok(Seen::Good)
    }

    /// What the Secret holds, made, renewed or replaced first where that is due, and published. The inner error is a
    /// Secret that cannot be used and could not be replaced.
    async fn own(
        &mut self,
        secret: &Secret,
        configuration: &ValidatingWebhookConfiguration,
        name: &str,
        now: SystemTime,
    ) -> Result<Result<(Pair, ValidatingWebhookConfiguration), (&'static str, String)>, KeeperError> {
        let data = secret.data.clone().unwrap_or_default();
        let served = self.resolver.current();
        let bundles = ours(&self.place, configuration).filter_map(|(_, bundle)| std::str::from_utf8(bundle?).ok());
        let found =
            Found { data: &data, until: until_of(secret), bundles: bundles.collect(), served: served.as_deref() };
        let plan = plan(&found, name, now)?;
        if let Some(write) = &plan.write {
            let until = i64::try_from(write.until).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            let patch = json!({
                "metadata": {
                    "resourceVersion": secret.metadata.resource_version,
                    "annotations": {UNTIL: until.map(|until| until.to_string())},
                },
                "data": plan.loaded.secret.to_secret(),
            });
            let params = PatchParams { field_manager: Some(SECRET_MANAGER.to_owned()), ..PatchParams::default() };
            let what = format!("secret {}/{}", self.place.namespace, self.place.secret);
            let written = self.secrets.patch(&self.place.secret, &params, &Patch::Merge(&patch)).await;
            match (written.map_err(|error| write_error(what, error)), &write.reason) {
                (Ok(_), why) => self.tell_of_write(secret, why).await,
                (Err(error @ KeeperError::Conflict(_)), _) => return Err(error),
                (Err(error), RotationReason::Unusable(problem)) => {
                    self.metrics.certificate_errors.inc();
                    return Ok(Err((problem.reason(), format!("{problem}; it cannot be replaced: {error}"))));
                }
                (Err(error), _) => return Err(error),
            }
        }
        let bundle = plan.loaded.secret.authorities.as_bytes();
        let published = ours(&self.place, configuration).all(|(_, found)| found == Some(bundle));
        let configuration = if published { configuration.clone() } else { self.publish(configuration, bundle).await? };
        Ok(Ok((plan.loaded.pair, configuration)))
    }

    /// Who wrote the Secret tells of it: that is one replica, whichever it is.
    async fn tell_of_write(&mut self, secret: &Secret, why: &RotationReason) {
        let name = &self.place.secret;
        tracing::info!(secret = name, %why, "wrote the certificate");
        let told = match why {
            RotationReason::Unusable(problem) => {
                self.metrics.certificate_unusable.inc();
                let message = format!(
                    "the certificate in Secret {name} could not be used and was replaced: {problem}; replicas serve the \
                     one before until the new one is trusted"
                );
                let event = self.notices.event(secret, Happened::Unusable, &message).await;
                let usable = Usable { is: true, reason: "Replaced", message };
                event.and(self.notices.condition(&usable).await)
            }
            RotationReason::Trusted | RotationReason::Outlived | RotationReason::NotDated => Ok(()),
            why => self.notices.event(secret, Happened::Renewed, &format!("a new certificate was made: {why}")).await,
        };
        if let Err(error) = told {
            tracing::warn!(error = error.of_write(), "an event or a condition about the certificate cannot be written");
        }
    }

    /// Tells of trouble that lasts, and of its end: in the log each replica, otherwise the leader.
    async fn report(&mut self, trouble: Option<(&'static str, String)>) {
        let usable = match &trouble {
            None => Usable { is: true, reason: notice::REASON, message: "the certificate is in service".to_owned() },
            Some((reason, problem)) => Usable {
                is: false,
                reason,
                message: format!("the certificate in Secret {} is not put into service: {problem}", self.place.secret),
            },
        };
        let told = match &trouble {
            None => {
                if self.trouble.take().is_some() {
                    tracing::info!(secret = self.place.secret, "the certificate can be used again");
                }
                false
            }
            Some((_, problem)) => match &self.trouble {
                Some((known, told)) if known == problem => *told,
                _ => {
                    self.metrics.certificate_unusable.inc();
                    tracing::warn!(secret = self.place.secret, problem, "the certificate cannot be used");
                    self.trouble = Some((problem.clone(), false));
                    // Who injects `caBundle` may be a moment behind who writes the Secret: not worth an Event yet.
                    return;
                }
            },
        };
        if !(self.is_leader)() {
            self.told = None;
            return;
        }
        let result = tokio::time::timeout(TIMEOUT, async {
            if trouble.is_some() && !told {
                let secret = self.secrets.get(&self.place.secret).await?;
                self.notices.event(&secret, Happened::Unusable, &usable.message).await?;
                if let Some((_, told)) = &mut self.trouble {
                    *told = true;
                }
            }
            if self.told.as_ref() != Some(&usable) {
                self.notices.condition(&usable).await?;
                self.told = Some(usable);
            }
            Ok::<_, NoticeError>(())
        });
        if let Ok(Err(error)) = result.await {
            tracing::debug!(
                error = error.of_write(),
                "an event or a condition about the certificate cannot be written"
            );
        }
    }

    async fn secret(&self) -> Result<Secret, KeeperError> {
        let what = format!("secret {}/{}", self.place.namespace, self.place.secret);
        self.secrets.get(&self.place.secret).await.map_err(|error| KeeperError::Read(what, Box::new(error)))
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

/// Until when the authorities behind the first are trusted, in seconds of Unix time.
fn until_of(secret: &Secret) -> Option<u64> {
    let text = secret.metadata.annotations.as_ref()?.get(UNTIL)?;
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_second()).ok()
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
mod tests;
