//! A client that creates pods, dry, while something happens to the cluster, and counts what became of each.
//!
//! Under `failurePolicy: Fail` a webhook that does not answer is an error that the client sees, so nothing is hidden. The
//! client tries each request once. Half of the pods are such that they must be refused, so that a webhook which admits
//! everything would be seen too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::harness;
use crate::scenarios::release;
use crate::world::{RELEASE, World, dry_pods, image, pod, pull_document, spec};

/// Requests at a time.
const WORKERS: usize = 8;
/// Between two requests of a worker: the cluster has other things to do, too.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest that a request may take. The API server itself gives up on a webhook after 3 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many admissions a scenario is to see at least: `ADMISSIONS` in the environment, or what `make test` has time for.
pub fn wanted() -> u64 {
    std::env::var("ADMISSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered by the API server.
    pub answered: u64,
    /// Of these, pods that had to be admitted, and were, without a word.
    pub admitted: u64,
    /// Of these, pods that had to be refused, and were, by the webhook.
    pub refused: u64,
    /// Of these, pods that were admitted with our warning that they could not be judged.
    pub unjudged: u64,
    /// Of these, everything else, by its text.
    pub failed: BTreeMap<String, u64>,
    /// Not answered: the API server was away. No admission took place.
    pub unanswered: u64,
    /// The longest time from a request to its answer.
    pub slowest: Duration,
    /// When the last failure was.
    pub last_failure: Option<Instant>,
}

impl Tally {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// None failed.
    pub fn none_failed(&self, what: &str) -> Result<()> {
        println!("    {what}: {self}");
        ensure!(self.failures() == 0, "{what}: {} of {} failed: {:#?}", self.failures(), self.answered, self.failed);
        ensure!(self.admitted > 0 && self.refused > 0, "{what}: nothing was proved: {self:?}");
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} failed of {} admissions ({} admitted, {} refused, {} admitted unjudged); {} requests while the API server \
             was away; slowest {:.2} s",
            self.failures(),
            self.answered,
            self.admitted,
            self.refused,
            self.unjudged,
            self.unanswered,
            self.slowest.as_secs_f32()
        )
    }
}

/// A namespace with a policy, and the webhooks under `failurePolicy: Fail`.
pub struct Strict<'a> {
    world: &'a World,
    client: Client,
    namespace: String,
}

impl<'a> Strict<'a> {
    pub async fn begin(world: &'a World, namespace: &str) -> Result<Strict<'a>> {
        release::upgrade(world, &["--set=webhook.failurePolicy=Fail"])?;
        world.operator_ready(2).await?;
        world.namespace(namespace, &["api"]).await?;
        world.policy(namespace, "pull", spec(pull_document(&["good"]))).await?;
        world.until_refused(namespace, "api", &image("bad")).await?;
        let client = harness::client_without_retries(&world.cluster.kubeconfig).await?;
        let strict = Strict { world, client, namespace: namespace.to_owned() };
        strict.in_force().await?;
        Ok(strict)
    }

    /// Gives the webhooks their default again.
    pub async fn end(self) -> Result<()> {
        release::upgrade(self.world, &[])?;
        self.world.operator_ready(2).await
    }

    /// The API server knows that it has to fail.
    async fn in_force(&self) -> Result<()> {
        let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{RELEASE}");
        let live = self.world.must("GET", &path, None).await?;
        ensure!(live["webhooks"][0]["failurePolicy"] == "Fail", "{live}");
        Ok(())
    }

    /// Asks for admissions while `event` happens, until it has happened and `at_least` were answered.
    pub async fn admit_during<T>(&self, at_least: u64, event: impl Future<Output = Result<T>>) -> Result<(T, Tally)> {
        let over = AtomicBool::new(false);
        let tally = Mutex::new(Tally::default());
        let number = AtomicU64::new(0);
        let workers = try_join_all((0..WORKERS).map(|_| async {
            while !over.load(Ordering::Relaxed) || lock(&tally).answered < at_least {
                self.admit_one(number.fetch_add(1, Ordering::Relaxed), &tally).await?;
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, anyhow::Error>(())
        }));
        let event = async {
            let result = event.await;
            over.store(true, Ordering::Relaxed);
            result
        };
        let (value, _) = tokio::try_join!(event, workers)?;
        Ok((value, tally.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn admit_one(&self, number: u64, tally: &Mutex<Tally>) -> Result<()> {
        let good = number.is_multiple_of(2);
        let body = pod(&format!("pod-{number}"), "api", &image(if good { "good" } else { "bad" }));
        let request = axum::http::Request::post(dry_pods(&self.namespace))
            .header("content-type", "application/json")
            .body(Body::from(serde_json::to_vec(&body)?))?;
        let begin = Instant::now();
        let answer = tokio::time::timeout(TIMEOUT, async {
            let response = self.client.send(request).await?;
            let code = response.status().as_u16();
            let warned = response.headers().contains_key("warning");
            Ok::<_, anyhow::Error>((code, warned, response.into_body().collect().await?.to_bytes()))
        });
        let answer = answer.await.context("the API server does not answer")?;
        let mut tally = lock(tally);
        let Ok((code, warned, bytes)) = answer else {
            tally.unanswered += 1;
            return Ok(());
        };
        let object: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({}));
        let message = object["message"].as_str().unwrap_or_default();
        tally.answered += 1;
        tally.slowest = tally.slowest.max(begin.elapsed());
        match (good, code) {
            (true, 201) if !warned => tally.admitted += 1,
            (false, 403) if message.starts_with("admission webhook \"pods.ecraccess.dev\" denied the request: ") => {
                tally.refused += 1;
            }
            (_, 201) if warned => tally.unjudged += 1,
            _ => {
                *tally
                    .failed
                    .entry(format!("{code}: {}", message.chars().take(200).collect::<String>()))
                    .or_default() += 1;
                tally.last_failure = Some(Instant::now());
            }
        }
        Ok(())
    }
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
