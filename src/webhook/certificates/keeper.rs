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

use super::material::{CertificateError, Pair, trusted, unix};
use super::notice::{self, Happened, Notices, Usable};
use super::plan::{Found, STALE, Why, plan};
use crate::runtime::metrics::Metrics;
use crate::webhook::tls::Serving;

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
pub struct Keeper {
    place: Place,
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    notices: Notices,
    is_leader: IsLeader,
    serving: Arc<Serving>,
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

impl Keeper {
    /// Keeps what `serving` serves.
    pub fn new(client: Client, place: Place, serving: Arc<Serving>, metrics: Metrics, is_leader: IsLeader) -> Keeper {
        let state = State { ready: Err("no certificate is loaded yet".to_owned()), looked: 0, expires: 0 };
        Keeper {
            secrets: Api::namespaced(client.clone(), &place.namespace),
            configurations: Api::all(client.clone()),
            notices: Notices::new(client, &place.namespace, &place.service, &place.replica),
            is_leader,
            state: KeeperState(Arc::new(Mutex::new(state))),
            place,
            serving,
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
        let current = self.serving.current();
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
        self.serving.swap(pair.certified);
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
        let serving = self.serving.current();
        let bundles = ours(&self.place, configuration).filter_map(|(_, bundle)| std::str::from_utf8(bundle?).ok());
        let found =
            Found { data: &data, until: until_of(secret), bundles: bundles.collect(), serving: serving.as_deref() };
        let plan = plan(&found, name, now)?;
        if let Some(write) = &plan.write {
            let until = i64::try_from(write.until).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            let patch = json!({
                "metadata": {
                    "resourceVersion": secret.metadata.resource_version,
                    "annotations": {UNTIL: until.map(|until| until.to_string())},
                },
                "data": plan.loaded.material.to_secret(),
            });
            let params = PatchParams { field_manager: Some(SECRET_MANAGER.to_owned()), ..PatchParams::default() };
            let what = format!("secret {}/{}", self.place.namespace, self.place.secret);
            let written = self.secrets.patch(&self.place.secret, &params, &Patch::Merge(&patch)).await;
            match (written.map_err(|error| write_error(what, error)), &write.why) {
                (Ok(_), why) => self.tell_of_write(secret, why).await,
                (Err(error @ KeeperError::Conflict(_)), _) => return Err(error),
                (Err(error), Why::Unusable(problem)) => {
                    self.metrics.certificate_errors.inc();
                    return Ok(Err((problem.reason(), format!("{problem}; it cannot be replaced: {error}"))));
                }
                (Err(error), _) => return Err(error),
            }
        }
        let bundle = plan.loaded.material.authorities.as_bytes();
        let published = ours(&self.place, configuration).all(|(_, found)| found == Some(bundle));
        let configuration = if published { configuration.clone() } else { self.publish(configuration, bundle).await? };
        Ok(Ok((plan.loaded.pair, configuration)))
    }

    /// Who wrote the Secret tells of it: that is one replica, whichever it is.
    async fn tell_of_write(&mut self, secret: &Secret, why: &Why) {
        let name = &self.place.secret;
        tracing::info!(secret = name, %why, "wrote the certificate");
        let told = match why {
            Why::Unusable(problem) => {
                self.metrics.certificate_unusable.inc();
                let message = format!(
                    "the certificate in Secret {name} could not be used and was replaced: {problem}; replicas serve the \
                     one before until the new one is trusted"
                );
                let event = self.notices.event(secret, Happened::Unusable, &message).await;
                let usable = Usable { is: true, reason: "Replaced", message };
                event.and(self.notices.condition(&usable).await)
            }
            Why::Trusted | Why::Outlived | Why::NotDated => Ok(()),
            why => self.notices.event(secret, Happened::Renewed, &format!("a new certificate was made: {why}")).await,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "an event or a condition about the certificate cannot be written");
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
            Ok::<_, kube::Error>(())
        });
        if let Ok(Err(error)) = result.await {
            tracing::debug!(%error, "an event or a condition about the certificate cannot be written");
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
mod tests {
    use rustls::pki_types::CertificateDer;
    use serde_json::Value;

    use super::*;
    use crate::runtime::fake::FakeApi;
    use crate::webhook::certificates::Material;

    const NAME: &str = "ecr-access.ecr-access-system.svc";

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
            mode: Mode::Own,
            replica: String::new(),
            namespace: "n".to_owned(),
            secret: String::new(),
            service: "s".to_owned(),
            configuration: String::new(),
        };
        let found: Vec<_> = ours(&place, &configuration).collect();
        assert_eq!(found, [("pods.ecraccess.dev", Some("ca".as_bytes()))]);
    }

    const SECRET: &str = "/api/v1/namespaces/ecr-access-system/secrets/certificate";
    const SERVICE_STATUS: &str = "/api/v1/namespaces/ecr-access-system/services/ecr-access/status";
    const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ecr-access";

    /// An installation that nobody has touched yet.
    fn installed() -> Arc<FakeApi> {
        let api = FakeApi::new();
        api.put(SECRET, json!({"metadata": {"name": "certificate", "namespace": "ecr-access-system"}}));
        let service = json!({"metadata": {"name": "ecr-access", "namespace": "ecr-access-system"}});
        api.put(SERVICE_STATUS, service.clone());
        api.put(SERVICE_STATUS.trim_end_matches("/status"), service);
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
            mode: Mode::Own,
            namespace: "ecr-access-system".to_owned(),
            secret: "certificate".to_owned(),
            service: "ecr-access".to_owned(),
            configuration: "ecr-access".to_owned(),
            replica: "ecr-access-0".to_owned(),
        };
        let mut keeper = Keeper::new(api.client(), place, Serving::new(), Metrics::new(), Box::new(|| true));
        keeper.settle = Duration::ZERO;
        keeper
    }

    /// Looks until the keeper is content. Conflicts are part of the game.
    async fn settle(keeper: &mut Keeper) {
        for _ in 0..10 {
            match keeper.look().await {
                Ok(Seen::Good) => return,
                Ok(_) | Err(KeeperError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the keeper does not settle");
    }

    async fn is_good(keeper: &mut Keeper) {
        let seen = keeper.look().await.unwrap();
        assert!(matches!(seen, Seen::Good), "{seen:?}");
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
            is_good(keeper).await;
        }
        assert_eq!(api.writes().len(), writes);
    }

    /// Lets `change` happen to the Secret, and lets both replicas look in turns until they are content. At every step
    /// what each of them serves is trusted.
    async fn exchange(change: impl Fn(&mut Value)) -> (Arc<FakeApi>, bool, usize) {
        let api = installed();
        let (mut a, mut b) = (keeper(&api), keeper(&api));
        settle(&mut a).await;
        settle(&mut b).await;
        let before = served(&a);
        let mut secret = api.get(SECRET);
        change(&mut secret);
        api.put(SECRET, secret);
        let good = |keeper: &Keeper| {
            trusted(&bundle(&api), &keeper.serving.current().unwrap(), NAME, SystemTime::now()).unwrap();
        };
        for keeper in [&mut a, &mut b] {
            keeper.settle = SETTLE;
            let seen = keeper.look().await.unwrap();
            assert!(matches!(seen, Seen::Settling), "not before API servers can know its authority: {seen:?}");
            assert!(served(keeper) == before);
            keeper.settle = Duration::ZERO;
        }
        good(&a);
        good(&b);
        for _ in 0..3 {
            is_good(&mut a).await;
            good(&a);
            good(&b);
            is_good(&mut b).await;
            good(&a);
            good(&b);
        }
        assert!(served(&a) == served(&b));
        let authorities = String::from_utf8(bundle(&api)).unwrap().matches("BEGIN CERTIFICATE").count();
        (api, served(&a) != before, authorities)
    }

    fn events(api: &FakeApi) -> Vec<(String, String, String)> {
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let told = |event: &Value| (text(event, "type"), text(event, "reason"), text(event, "note"));
        api.created()
            .iter()
            .map(|(path, event)| {
                assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/ecr-access-system/events");
                assert_eq!(
                    (&event["regarding"]["kind"], &event["regarding"]["name"]),
                    (&json!("Secret"), &json!("certificate"))
                );
                told(event)
            })
            .collect()
    }

    fn condition(api: &FakeApi) -> (String, String, String) {
        let condition = api.get(SERVICE_STATUS)["status"]["conditions"][0].clone();
        assert_eq!(condition["type"], notice::CONDITION);
        let text = |field: &str| condition[field].as_str().unwrap().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    #[tokio::test]
    async fn a_renewed_authority_is_trusted_before_anything_is_served_by_it() {
        let (api, exchanged, authorities) = exchange(|secret| secret["data"] = json!({})).await;
        assert!(exchanged);
        assert_eq!(authorities, 2);
        let renewed = "a new certificate was made: `ca.crt` is missing, which asks for a new one";
        assert_eq!(events(&api).last().unwrap(), &("Normal".into(), "CertificateRenewed".into(), renewed.into()));
    }

    #[tokio::test]
    async fn what_cannot_be_used_stays_out_of_service_and_is_told_once() {
        let garbage = |secret: &mut Value| secret["data"]["tls.key"] = json!(ByteString(b"garbage".to_vec()));
        let (api, exchanged, authorities) = exchange(garbage).await;
        assert!(exchanged);
        assert_eq!(authorities, 1, "the same authority signs again");
        let told: Vec<_> = events(&api).into_iter().filter(|(kind, ..)| kind == "Warning").collect();
        let [(_, reason, note)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(reason, "CertificateUnusable");
        assert!(note.contains("`tls.key` cannot be read") && note.contains("was replaced"), "{note}");
        let (status, reason, message) = condition(&api);
        assert_eq!((status.as_str(), reason.as_str()), ("True", "Replaced"));
        assert_eq!(&message, note);
    }

    #[tokio::test]
    async fn what_can_neither_be_used_nor_replaced_leaves_the_one_before_in_service() {
        let api = installed();
        let mut keeper = keeper(&api);
        settle(&mut keeper).await;
        let before = served(&keeper);
        let mut secret = api.get(SECRET);
        secret["data"]["tls.key"] = json!(ByteString(b"garbage".to_vec()));
        api.put(SECRET, secret);
        api.refuse(SECRET, Some(422));
        let mut logged = None;
        for _ in 0..5 {
            keeper.step(&mut logged).await;
        }
        assert!(served(&keeper) == before);
        keeper.state().check().expect("ready all the same");
        assert_eq!(keeper.metrics.certificate_usable.get(), 0);
        assert_eq!(keeper.metrics.certificate_unusable.get(), 1);
        let told: Vec<_> = events(&api).into_iter().filter(|(kind, ..)| kind == "Warning").collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].2.contains("`tls.key` cannot be read") && told[0].2.contains("it cannot be replaced"),
            "{told:?}"
        );
        let (status, reason, message) = condition(&api);
        assert_eq!((status.as_str(), reason.as_str(), &message), ("False", "Unreadable", &told[0].2));

        api.refuse(SECRET, None);
        for _ in 0..3 {
            keeper.step(&mut logged).await;
        }
        assert!(served(&keeper) != before);
        assert_eq!(keeper.metrics.certificate_usable.get(), 1);
        assert_eq!(condition(&api).0, "True");
    }

    #[tokio::test]
    async fn a_given_certificate_is_served_once_it_is_trusted_and_never_written() {
        let api = installed();
        let mut keeper = keeper(&api);
        keeper.place.mode = Mode::Given;
        let give = |api: &FakeApi, material: &Material| {
            let mut secret = api.get(SECRET);
            let data = material.to_secret().into_iter().filter(|(key, _)| *key != "ca.key");
            secret["data"] = json!(data.collect::<std::collections::BTreeMap<_, _>>());
            api.put(SECRET, secret);
        };
        let inject = |api: &FakeApi, material: &Material| {
            let mut configuration = api.get(CONFIGURATION);
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                webhook["clientConfig"]["caBundle"] = json!(ByteString(material.authorities.clone().into_bytes()));
            }
            api.put(CONFIGURATION, configuration);
        };
        let mut logged = None;
        keeper.step(&mut logged).await;
        assert_eq!(keeper.state().check().unwrap_err(), "`tls.crt` is missing");
        let (one, two) = (
            Material::new(NAME, SystemTime::now(), &[]).unwrap(),
            Material::new(NAME, SystemTime::now(), &[]).unwrap(),
        );
        give(&api, &one);
        keeper.step(&mut logged).await;
        let waiting = keeper.state().check().unwrap_err();
        assert!(waiting.contains("ecr-access does not trust the certificate"), "{waiting}");
        inject(&api, &one);
        keeper.step(&mut logged).await;
        keeper.state().check().unwrap();
        let before = served(&keeper);
        // The next one comes before its authority does.
        give(&api, &two);
        keeper.step(&mut logged).await;
        assert!(served(&keeper) == before);
        keeper.state().check().unwrap();
        inject(&api, &two);
        keeper.step(&mut logged).await;
        assert!(served(&keeper) != before);
        keeper.state().check().unwrap();
        assert!(api.writes().iter().all(|path| path == SERVICE_STATUS), "{:?}", api.writes());
    }

    #[tokio::test]
    async fn only_the_leader_tells_of_what_every_replica_sees() {
        let api = installed();
        let mut keeper = keeper(&api);
        settle(&mut keeper).await;
        keeper.is_leader = Box::new(|| false);
        let before = api.created().len();
        let mut secret = api.get(SECRET);
        secret["data"]["tls.crt"] = json!(ByteString(b"garbage".to_vec()));
        api.put(SECRET, secret);
        api.refuse(SECRET, Some(403));
        let mut logged = None;
        for _ in 0..3 {
            keeper.step(&mut logged).await;
        }
        assert_eq!(api.created().len(), before);
        keeper.is_leader = Box::new(|| true);
        keeper.step(&mut logged).await;
        assert_eq!(api.created().len(), before + 1);
    }

    #[test]
    fn what_may_have_lost_its_trust_is_not_ready() {
        let state = State { ready: Ok(()), looked: 1_000_000, expires: 1_000_000 + 2 * STALE };
        let state = KeeperState(Arc::new(Mutex::new(state)));
        state.check_at(1_000_000 + STALE - 1).unwrap();
        let reason = state.check_at(1_000_000 + STALE).unwrap_err();
        assert!(reason.starts_with("for 12 hours it could not be looked"), "{reason}");
        state.change(|state| state.looked += STALE);
        assert_eq!(state.check_at(1_000_000 + 2 * STALE).unwrap_err(), "the certificate in service has expired");
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
        is_good(&mut keeper).await;
        trusted(&bundle(&api), &keeper.serving.current().unwrap(), NAME, SystemTime::now()).unwrap();
    }

    #[tokio::test]
    async fn without_its_objects_the_keeper_says_which_one_is_missing() {
        let error = keeper(&FakeApi::new()).look().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot read webhook configuration ecr-access: "), "{error}");
    }
}
