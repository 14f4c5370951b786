//! Watches that break in every way that a network and an API server know. Whatever happened meanwhile, the state afterwards
//! is the one that a fresh start computes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ecr_access::controller::{scan::scan, status::desired_status};
use ecr_access::index::pods::{Pods, watch_pods};
use ecr_access::index::subjects::ClusterWorkloads;
use ecr_access::index::{self, Index, IndexOptions, WatchSignal};
use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::forecast;
use ecr_forecast::judge::Options;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::fault_proxy::{Fault, FaultProxy};
use crate::world::{PATIENCE, World, image, pod, pods, policies, pull_document};

/// Watches of the index, and that of the pods.
const WATCHES: usize = 6;
/// Of those that run, one may just be between its end and its next beginning.
const MOST: usize = 4;
const NAMESPACES: [&str; 3] = ["fault-a", "fault-b", "fault-c"];
const CLUSTER_POLICIES: &str = "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies";

/// What follows the cluster: an index, and the pods beside it as the controller has them.
struct View {
    index: Arc<Index>,
    pods: Arc<Mutex<Pods>>,
    token: CancellationToken,
}

impl Drop for View {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl View {
    fn start(config: kube::Config) -> Result<View> {
        // As the operator runs, with times that a test can wait for.
        let answer_timeout = Duration::from_secs(2);
        let options = IndexOptions { page_size: 3, watch_timeout: 3, answer_timeout, ..IndexOptions::default() };
        let (token, pods) = (CancellationToken::new(), Arc::<Mutex<Pods>>::default());
        let index = Index::start(index::client(config)?, options.clone(), token.clone());
        let (signals, into) = (watch_pods(index.client(), &options), pods.clone());
        let follow = async move {
            tokio::pin!(signals);
            while let Some(signal) = signals.next().await {
                if let WatchSignal::Event(event) = signal {
                    into.lock().unwrap_or_else(PoisonError::into_inner).apply(event);
                }
            }
        };
        let ended = token.clone();
        tokio::spawn(async move { ended.run_until_cancelled(follow).await });
        Ok(View { index, pods, token })
    }

    fn is_complete(&self) -> bool {
        self.index.synced() && self.pods.lock().unwrap_or_else(PoisonError::into_inner).objects().is_some()
    }

    /// Everything that is known, and everything that follows from it: verdicts and statuses.
    fn digest(&self) -> BTreeMap<String, String> {
        let inventory = self.index.snapshot();
        let subjects = self.pods.lock().unwrap_or_else(PoisonError::into_inner).objects().unwrap_or_default();
        let at = jiff::Timestamp::UNIX_EPOCH;
        let options = Options::default();
        let cluster_workloads = ClusterWorkloads { pods: Some(Arc::clone(&subjects)), workloads: Some(Vec::new()) };
        let scan = scan(&inventory, &cluster_workloads, at, &options);
        let mut told = BTreeMap::new();
        for policy in inventory.policies() {
            let looked_up = inventory.with_documents(policy);
            let status = scan.counts(policy).map(|counts| json!(desired_status(&looked_up, counts, None, at)));
            told.insert(
                policy.key.to_string(),
                format!(
                    "{:?} {:?} {:?}",
                    policy.resource_version,
                    looked_up.unresolved(),
                    status.map(|status| status.to_string())
                ),
            );
        }
        for facts in inventory.service_accounts() {
            told.insert(format!("ServiceAccount/{}/{}", facts.namespace, facts.name), format!("{facts:?}"));
        }
        for namespace in NAMESPACES {
            told.insert(format!("Namespace/{namespace}"), format!("{:?}", inventory.namespace(namespace)));
            for name in CONFIG_MAPS {
                let name = ConfigMapName { namespace: namespace.to_owned(), name: name.to_owned() };
                let facts = inventory.config_map(&name);
                let seen = facts.map(|facts| (facts.as_of.clone(), facts.text("app.json").map(str::to_owned)));
                told.insert(format!("ConfigMap/{name}"), format!("{seen:?}"));
            }
        }
        for ((namespace, name), subject) in subjects.iter() {
            let report = json!(forecast(&inventory, &subject.subject, at, &options));
            told.insert(format!("Pod/{namespace}/{name}"), report.to_string());
        }
        told
    }
}

const CONFIG_MAPS: [&str; 3] = ["m0", "m1", "m2"];

/// Edits by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }

    fn one_of(&mut self, texts: &[&'static str]) -> &'static str {
        texts.get(self.below(texts.len())).copied().unwrap_or_default()
    }

    fn spec(&mut self, namespace: Option<&str>) -> Value {
        let repository = self.one_of(&["one", "two", "*"]);
        let mut entry = json!({"name": "app"});
        if self.below(2) == 0 {
            entry["document"] = pull_document(&[repository]);
        } else {
            entry["configMapKeyRef"] = json!({"name": self.one_of(&CONFIG_MAPS), "key": "app.json"});
            if namespace.is_none() {
                entry["configMapKeyRef"]["namespace"] = json!(self.one_of(&NAMESPACES));
            }
        }
        let identity = json!({"policies": [entry]});
        let puller = match self.below(2) {
            0 => json!({"serviceAccount": {"identity": identity}}),
            _ => {
                json!({"serviceAccount": {"roles": [{"arn": "arn:aws:iam::111122223333:role/one", "identity": identity}]}})
            }
        };
        // Nothing is refused here: the pods are to be there.
        let mut spec = json!({"onDeny": "Warn", "puller": puller});
        if self.below(2) == 0 {
            spec["serviceAccounts"] = json!({"names": [self.one_of(&["api", "worker"])]});
        }
        if namespace.is_none() {
            spec["namespaceSelector"] = json!({"matchLabels": {"tier": self.one_of(&["gold", "lead"])}});
        }
        spec
    }

    /// One change of the cluster. That what it deletes is not there is no failure.
    async fn edit(&mut self, world: &World) -> Result<()> {
        let namespace = self.one_of(&NAMESPACES);
        let core = |resource: &str, name: &str| format!("/api/v1/namespaces/{namespace}/{resource}/{name}");
        let name = self.one_of(&CONFIG_MAPS);
        let account = self.one_of(&["api", "worker"]);
        let policy = self.one_of(&["p0", "p1", "p2"]);
        let pod_name = self.one_of(&["q0", "q1", "q2", "q3"]);
        let (method, path, object) = match self.below(11) {
            0 | 1 => (
                "APPLY",
                format!("{}/{policy}", policies(namespace)),
                json!({
                "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
                "metadata": {"name": policy, "namespace": namespace}, "spec": self.spec(Some(namespace))}),
            ),
            2 => ("DELETE", format!("{}/{policy}", policies(namespace)), Value::Null),
            3 | 4 => {
                let document = match self.below(4) {
                    0 => "{".to_owned(),
                    _ => pull_document(&[self.one_of(&["one", "two", "*"])]).to_string(),
                };
                let labels = match self.below(4) {
                    0 => json!({}),
                    _ => json!({"ecraccess.dev/policy-document": "true"}),
                };
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": name, "namespace": namespace, "labels": labels}, "data": {"app.json": document}});
                ("APPLY", core("configmaps", name), object)
            }
            5 => ("DELETE", core("configmaps", name), Value::Null),
            6 => {
                let role = format!("arn:aws:iam::111122223333:role/{}", self.one_of(&["one", "two"]));
                let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account,
                    "namespace": namespace, "annotations": {"eks.amazonaws.com/ecr-role-arn": role}}});
                ("APPLY", core("serviceaccounts", account), object)
            }
            7 => ("DELETE", core("serviceaccounts", account), Value::Null),
            8 => (
                "PATCH",
                format!("/api/v1/namespaces/{namespace}"),
                json!({"metadata": {"labels": {"tier": self.one_of(&["gold", "lead"])}}}),
            ),
            9 => match self.below(2) {
                0 => ("DELETE", format!("{}/{pod_name}?gracePeriodSeconds=0", pods(namespace)), Value::Null),
                _ => ("POST", pods(namespace), pod(pod_name, account, &image(self.one_of(&["one", "two"])))),
            },
            _ => match self.below(3) {
                0 => ("DELETE", format!("{CLUSTER_POLICIES}/faults"), Value::Null),
                _ => (
                    "APPLY",
                    format!("{CLUSTER_POLICIES}/faults"),
                    json!({
                    "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy",
                    "metadata": {"name": "faults"}, "spec": self.spec(None)}),
                ),
            },
        };
        let answer = match method {
            "APPLY" => {
                let path = format!("{path}?fieldManager=faults&force=true");
                world.call_as("PATCH", &path, "application/apply-patch+yaml", serde_json::to_vec(&object)?).await?
            }
            "DELETE" => world.call(method, &path, None).await?,
            _ => world.call(method, &path, Some(&object)).await?,
        };
        // A pod that is there, or whose account is not.
        let expected = answer.ok() || answer.code == 404 || (method == "POST" && matches!(answer.code, 403 | 409));
        ensure!(expected, "{method} {path}: {answer:?}");
        Ok(())
    }
}

pub async fn after_any_fault_the_state_is_that_of_a_fresh_start(world: &World) -> Result<()> {
    for namespace in NAMESPACES {
        world.namespace(namespace, &["api", "worker"]).await?;
    }
    let seed = match std::env::var("FAULT_SEED") {
        Ok(seed) => seed.parse().context("FAULT_SEED")?,
        Err(_) => 7,
    };
    let mut chance = Chance(seed);
    for _ in 0..40 {
        chance.edit(world).await?;
    }
    let proxy = FaultProxy::start(&world.cluster.kubeconfig).await?;
    let view = View::start(kube::Config::new(format!("http://{}", proxy.address).parse()?))?;
    world.eventually(PATIENCE, "the view through the proxy is complete", async || Ok(view.is_complete())).await?;

    let busy = |code, retry_after| Fault::RefuseAll { code, retry_after };
    for (fault, meets) in [
        (Fault::None, 0),
        (Fault::GoneInStream, MOST),
        (Fault::RefuseWatches { code: 410, retry_after: None }, WATCHES * 2),
        (Fault::RefuseWatches { code: 504, retry_after: None }, WATCHES * 2),
        (Fault::Cut, MOST),
        (Fault::Drip, 1),
        (busy(503, None), WATCHES * 2),
        (busy(429, Some(1)), WATCHES * 2),
        (Fault::Silence, WATCHES * 2),
        // An hour is more than anybody waits.
        (busy(429, Some(3600)), WATCHES * 2),
        (Fault::Stall, MOST),
    ] {
        world.eventually(PATIENCE, "every watch runs", async || Ok(proxy.running() >= WATCHES)).await?;
        proxy.set(fault);
        for _ in 0..12 {
            chance.edit(world).await?;
        }
        world.eventually(PATIENCE, &format!("{fault:?} met {meets} times"), async || Ok(proxy.met() >= meets)).await?;
        ensure!(view.is_complete() && view.index.synced(), "{fault:?}: the last state is used on");
        let begin = Instant::now();
        // What cannot be watched can still be listed.
        if matches!(fault, Fault::RefuseWatches { .. }) {
            let fresh = View::start(direct(world).await?)?;
            same(world, &view, &fresh).await.with_context(|| format!("{fault:?} lasts, seed {seed}"))?;
        }
        for _ in 0..4 {
            chance.edit(world).await?;
        }
        proxy.set(Fault::None);
        let fresh = View::start(direct(world).await?)?;
        let facts = same(world, &view, &fresh).await.with_context(|| format!("{fault:?}, seed {seed}"))?;
        println!(
            "    {fault:?}: the same {facts} facts, verdicts and statuses after {} ms",
            begin.elapsed().as_millis()
        );
    }
    world.call("DELETE", &format!("{CLUSTER_POLICIES}/faults"), None).await.map(drop)
}

/// A view with small pages, straight from the API server, is complete: everything that is there can be listed.
pub async fn everything_can_be_listed(world: &World) -> Result<()> {
    let view = View::start(direct(world).await?)?;
    let complete = world.eventually(Duration::from_secs(30), "a view is complete", async || Ok(view.is_complete()));
    let complete = complete.await;
    complete.map(drop).with_context(|| format!("{:?}", view.index.not_synced_reason()))
}

/// The API server without any proxy, as the cluster's administrator.
pub async fn direct(world: &World) -> Result<kube::Config> {
    let kubeconfig = kube::config::Kubeconfig::read_from(&world.cluster.kubeconfig)?;
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?)
}

/// Waits until both views are the same, and returns how much they agree in. The longest pause is 10 s, a silent watch is
/// trusted for 8 s here, and the rest is for a busy machine.
async fn same(world: &World, view: &View, fresh: &View) -> Result<usize> {
    world.eventually(PATIENCE, "a fresh view is complete", async || Ok(fresh.is_complete())).await?;
    let all =
        world.eventually(Duration::from_secs(20), "both are the same", async || Ok(view.digest() == fresh.digest()));
    if all.await.is_err() {
        let (ours, theirs) = (view.digest(), fresh.digest());
        let different: Vec<String> = ours
            .keys()
            .chain(theirs.keys())
            .filter(|key| ours.get(*key) != theirs.get(*key))
            .map(|key| format!("{key}:\n  through the fault {:?}\n  fresh {:?}", ours.get(key), theirs.get(key)))
            .collect();
        bail!("not the same: {}\n{:?}", different.join("\n"), view.index.health().progress().borrow());
    }
    let facts = fresh.digest().len();
    ensure!(facts > 20, "only {facts} things to compare");
    Ok(facts)
}
