//! Strangers who call the operator's ports, and what of it is felt by those who create pods. `make attacks`.
//!
//! Honest load goes through the API server all the while, at a fixed rate: pods that must be refused and pods that must
//! be admitted. It is compared with the same load beside a neighbour that takes as much of the processors as the stranger
//! took, and calls nobody.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::load::{peak, resident};
use crate::harness::{self, namespace};
use crate::stranger::{Stranger, Task, Told};
use crate::world::{RELEASE, World, dry_pods, image, pod, pull_document, spec};

/// The stranger's address: not the API server's.
const STRANGER: &str = "10.99.250.1";
const NAMESPACE: &str = "attacks-load";
/// Honest requests a second; one in four is of a pod that must be admitted.
const RATE: u32 = 20;
/// How much later than beside the neighbour the last honest pod may be.
const LATER: Duration = Duration::from_millis(200);
/// The API server gives up on a webhook after three seconds.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What a stranger may add to the log of a replica.
const LOG: u64 = 1 << 20;

/// A client without credentials sends what costs the most.
pub async fn a_stranger_floods(world: &World) -> Result<()> {
    let replicas = begin(world).await?;
    let seconds = 60;
    let task = Task::Flood {
        source: STRANGER.to_owned(),
        targets: replicas.iter().map(|address| format!("{address}:9443")).collect(),
        namespace: NAMESPACE.to_owned(),
        connections: 64,
        seconds,
    };
    compare(world, "64 connections for each replica that flood", &task, seconds).await
}

/// Connections to both ports that say nothing.
pub async fn idle_connections(world: &World) -> Result<()> {
    let replicas = begin(world).await?;
    let seconds = 120;
    let ports = |address: &String| [format!("{address}:8080"), format!("{address}:9443")];
    let task = Task::Idle {
        source: STRANGER.to_owned(),
        targets: replicas.iter().flat_map(ports).collect(),
        connections: 1_200,
        seconds,
    };
    compare(world, "1,200 idle connections for each port of each replica", &task, seconds).await
}

/// Makes what is asked about, and returns the addresses of the replicas.
async fn begin(world: &World) -> Result<Vec<String>> {
    namespace::add_address(STRANGER)?;
    world.operator_settled(2).await?;
    // The addresses of API servers are known to whoever looks.
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slices = world.must("GET", slices, None).await?;
    ensure!(slices.to_string().contains(namespace::API_SERVER_ADDRESS), "the API server has no endpoint: {slices}");
    if !world.call("GET", &format!("/api/v1/namespaces/{NAMESPACE}"), None).await?.ok() {
        world.namespace(NAMESPACE, &["api"]).await?;
        world.policy(NAMESPACE, "pull", spec(pull_document(&["good"]))).await?;
    }
    world.until_refused(NAMESPACE, "api", &image("bad")).await?;
    Ok(world.cluster.replicas().into_iter().map(|replica| replica.address).collect())
}

async fn compare(world: &World, what: &str, task: &Task, seconds: u64) -> Result<()> {
    let client = harness::client_without_retries(&world.cluster.kubeconfig).await?;
    let (restarts, logs, reads) = (restarts(world), log_sizes(world)?, reads(world)?);
    let (attacked, told) = beside(&client, task, seconds).await?;
    let (restarted, told_reads) = (self::restarts(world) - restarts, self::reads(world)? - reads);
    let logged = log_sizes(world)?.saturating_sub(logs);
    // Whoever was started again comes back; the baseline is of a cluster that works.
    world.operator_ready(2).await?;
    let neighbour = Task::Busy { processor_seconds: told.processor_seconds, seconds };
    let (baseline, busy) = beside(&client, &neighbour, seconds).await?;

    println!(
        "    | beside | bad pods | refused | admitted silently | with a warning | other | good pods, admitted silently | p50 | p99 | most |"
    );
    println!("    |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    println!("    | {what} | {attacked} |");
    println!(
        "    | a neighbour that takes {:.0} s of the processors and calls nobody | {baseline} |",
        busy.processor_seconds
    );
    println!(
        "    the stranger: {} connections, {} of them closed or not opened, {:.0} s of the processors; {:?}",
        told.opened, told.closed, told.processor_seconds, told.answers
    );
    for replica in world.cluster.replicas() {
        println!("    {}: resident {} MiB, peak {} MiB", replica.pod, resident(&replica)? >> 20, peak(&replica)? >> 20,);
    }
    println!("    {restarted} restarts, {told_reads} reads of service accounts, {logged} bytes of log");

    let mut wrong = Vec::new();
    if attacked.refused != attacked.bad {
        wrong.push(format!(
            "{} of {} bad pods were not refused: {:?}",
            attacked.bad - attacked.refused,
            attacked.bad,
            attacked.first_other
        ));
    }
    if attacked.admitted != attacked.good {
        wrong.push(format!(
            "{} of {} good pods were not admitted silently",
            attacked.good - attacked.admitted,
            attacked.good
        ));
    }
    if restarted != 0 {
        wrong.push(format!("{restarted} restarts"));
    }
    let allowed = baseline.most() + LATER;
    if attacked.most() > allowed {
        wrong.push(format!("the last honest pod took {:?}, allowed are {allowed:?}", attacked.most()));
    }
    if logged > LOG * 2 {
        wrong.push(format!("the log grew by {logged} bytes"));
    }
    ensure!(baseline.refused == baseline.bad, "the baseline is none: {baseline}");
    ensure!(told.opened > 0, "nobody called");
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

/// Honest load while a stranger is at work.
async fn beside(client: &Client, task: &Task, seconds: u64) -> Result<(Honest, Told)> {
    let stranger = Stranger::start(task)?;
    // Once he is at it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let honest = Honest::send(client, Duration::from_secs(seconds - 2)).await?;
    Ok((honest, stranger.told().await?))
}

/// What became of honest pods.
#[derive(Debug, Default)]
struct Honest {
    bad: u64,
    refused: u64,
    silently: u64,
    warned: u64,
    other: u64,
    first_other: Option<String>,
    good: u64,
    admitted: u64,
    times: Vec<Duration>,
}

impl Honest {
    /// At a fixed rate, however long each takes.
    async fn send(client: &Client, length: Duration) -> Result<Honest> {
        let honest = Mutex::new(Honest::default());
        let begin = Instant::now();
        let count = u32::try_from(length.as_secs())? * RATE;
        let all = (0..count).map(async |number| {
            tokio::time::sleep_until((begin + Duration::from_secs(1) * number / RATE).into()).await;
            let good = number % 4 == 0;
            let sent = Instant::now();
            let answer = tokio::time::timeout(TIMEOUT, ask(client, number, good)).await;
            let mut honest = honest.lock().unwrap_or_else(PoisonError::into_inner);
            honest.note(good, sent.elapsed(), answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer"))));
        });
        futures::future::join_all(all).await;
        let mut honest = honest.into_inner().unwrap_or_else(PoisonError::into_inner);
        honest.times.sort_unstable();
        Ok(honest)
    }

    fn note(&mut self, good: bool, took: Duration, answer: Result<(u16, bool, String)>) {
        self.times.push(took);
        *(if good { &mut self.good } else { &mut self.bad }) += 1;
        match (good, answer) {
            (true, Ok((201, false, _))) => self.admitted += 1,
            (true, _) => {}
            (false, Ok((403, _, message))) if message.contains("\"pods.ecraccess.dev\" denied the request") => {
                self.refused += 1
            }
            (false, Ok((201, warned, _))) => *(if warned { &mut self.warned } else { &mut self.silently }) += 1,
            (false, other) => {
                self.other += 1;
                self.first_other.get_or_insert_with(|| format!("{other:?}").chars().take(300).collect());
            }
        }
    }

    fn quantile(&self, per_mille: usize) -> Duration {
        let index = (self.times.len() * per_mille / 1000).min(self.times.len().saturating_sub(1));
        self.times.get(index).copied().unwrap_or_default()
    }

    fn most(&self) -> Duration {
        self.quantile(1000)
    }
}

impl fmt::Display for Honest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |per_mille| self.quantile(per_mille).as_millis();
        write!(
            f,
            "{} | {} | {} | {} | {} | {} of {} | {} ms | {} ms | {} ms",
            self.bad,
            self.refused,
            self.silently,
            self.warned,
            self.other,
            self.admitted,
            self.good,
            ms(500),
            ms(990),
            ms(1000)
        )
    }
}

/// The code, whether there was a warning, and the message.
async fn ask(client: &Client, number: u32, good: bool) -> Result<(u16, bool, String)> {
    let body = pod(&format!("honest-{number}"), "api", &image(if good { "good" } else { "bad" }));
    let request = axum::http::Request::post(dry_pods(NAMESPACE))
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(&body)?))?;
    let response = client.send(request).await?;
    let (code, warned) = (response.status().as_u16(), response.headers().contains_key("warning"));
    let bytes = response.into_body().collect().await?.to_bytes();
    let object: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({}));
    Ok((code, warned, object["message"].as_str().unwrap_or_default().to_owned()))
}

fn restarts(world: &World) -> u32 {
    world.cluster.replicas().iter().map(|replica| replica.restarts).sum()
}

fn log_sizes(world: &World) -> Result<u64> {
    world.cluster.replicas().iter().map(|replica| Ok(std::fs::metadata(&replica.log).context("a log")?.len())).sum()
}

/// Service accounts that the operator has read one by one.
fn reads(world: &World) -> Result<usize> {
    let audit = world.cluster.audit()?;
    let of_the_operator = |entry: &&harness::audit::Entry| entry.pod.starts_with(RELEASE);
    Ok(audit
        .iter()
        .filter(of_the_operator)
        .filter(|entry| entry.verb == "get" && entry.resource == "serviceaccounts")
        .count())
}
