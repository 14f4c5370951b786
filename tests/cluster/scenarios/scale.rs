//! A cluster with thousands of pods: what a replica needs to start, in memory, and of the API server. `make scale`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{TryStreamExt as _, stream};
use serde_json::json;

use super::load::{peak, resident};
use crate::harness::http;
use crate::harness::kubelet::ReplicaView;
use crate::world::{PATIENCE, RELEASE, World, image, pod, pods, pull_document, spec};

const NAMESPACES: usize = 100;
const ACCOUNTS: usize = 5;
const POLICIES: usize = 2;
const PODS: usize = 50;
const EDITS: usize = 20;
/// After the start, until memory is called steady.
const STEADY: Duration = Duration::from_secs(30);

pub async fn five_thousand_pods(world: &World) -> Result<()> {
    let begin = Instant::now();
    stream::iter((0..NAMESPACES).map(Ok)).try_for_each_concurrent(8, async |number| fill(world, number).await).await?;
    println!(
        "    {} pods, {} service accounts, {} policies in {NAMESPACES} namespaces, made in {:.0} s",
        NAMESPACES * PODS,
        NAMESPACES * ACCOUNTS,
        NAMESPACES * POLICIES,
        begin.elapsed().as_secs_f32()
    );

    // New replicas, from nothing.
    let before: Vec<String> = world.cluster.replicas().into_iter().map(|replica| replica.pod).collect();
    world.cluster.kubectl(&["rollout", "restart", &format!("deployment/{RELEASE}"), "-n", RELEASE])?;
    let mut ready: BTreeMap<String, Duration> = BTreeMap::new();
    let mut seen: BTreeMap<String, Instant> = BTreeMap::new();
    world
        .eventually(PATIENCE * 2, "both replicas are new ones", async || {
            let now = world.cluster.replicas();
            for replica in now.iter().filter(|replica| !before.contains(&replica.pod)) {
                let since = *seen.entry(replica.pod.clone()).or_insert_with(Instant::now);
                if !ready.contains_key(&replica.pod) && is_ready(replica) {
                    ready.insert(replica.pod.clone(), since.elapsed());
                }
            }
            Ok(ready.len() == 2 && now.len() == 2)
        })
        .await?;
    world.operator_ready(2).await?;
    tokio::time::sleep(STEADY).await;

    let audit = world.cluster.audit()?;
    println!("    | replica | start to ready | peak memory | steady memory | requests to the API server |");
    println!("    |---|---:|---:|---:|---|");
    let mut replicas = world.cluster.replicas();
    let leads = |replica: &ReplicaView| {
        super::availability::metric(&replica.address, "ecr_access_leader ").is_ok_and(|leads| leads > 0.0)
    };
    replicas.sort_by_key(|replica| !leads(replica));
    for replica in &replicas {
        let mut requests: BTreeMap<String, u64> = BTreeMap::new();
        for entry in audit.iter().filter(|entry| entry.pod == replica.pod) {
            *requests.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
        }
        let list: Vec<String> = requests.iter().map(|(what, count)| format!("{count} {what}")).collect();
        println!(
            "    | {} | {:.2} s | {} MiB | {} MiB | {}: {} |",
            if leads(replica) { "leader" } else { "follower" },
            ready.get(&replica.pod).context("measured")?.as_secs_f32(),
            peak(replica)? >> 20,
            resident(replica)? >> 20,
            requests.values().sum::<u64>(),
            list.join(", ")
        );
    }

    // From an edit to the verdict of every replica, and to the status.
    let (mut verdicts, mut statuses) = (Vec::new(), Vec::new());
    for round in 0..EDITS {
        let allowed = if round % 2 == 0 { "other" } else { "good" };
        let begin = Instant::now();
        world.policy("scale-0", "pull-0", spec(pull_document(&[allowed]))).await?;
        if allowed == "good" {
            world.until_admitted("scale-0", "account-0", &image("good")).await?;
        } else {
            world.until_refused("scale-0", "account-0", &image("good")).await?;
        }
        verdicts.push(begin.elapsed());
        world.settled_status("scale-0", "pull-0").await?;
        statuses.push(begin.elapsed());
    }
    for (what, mut times) in [("the verdict of both replicas", verdicts), ("the status", statuses)] {
        times.sort_unstable();
        let (median, most) = (times.get(EDITS / 2).context("measured")?, times.last().context("measured")?);
        println!("    from an edit to {what}: median {:.0} ms, most {:.0} ms, of {EDITS}", ms(median), ms(most));
    }
    Ok(())
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn is_ready(replica: &ReplicaView) -> bool {
    let Ok(address) = format!("{}:8080", replica.address).parse() else { return false };
    http::get(address, "/readyz", Duration::from_millis(500)).is_ok_and(|answer| answer.status == 200)
}

async fn fill(world: &World, number: usize) -> Result<()> {
    let namespace = format!("scale-{number}");
    let accounts: Vec<String> = (0..ACCOUNTS).map(|account| format!("account-{account}")).collect();
    world.namespace(&namespace, &accounts.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for policy in 0..POLICIES {
        let mut spec = spec(pull_document(&["good"]));
        // The first is for one account, the second for all the others.
        spec["serviceAccounts"] = if policy == 0 {
            json!({"names": ["account-0"]})
        } else {
            json!({"names": accounts.get(1..).context("accounts")?})
        };
        spec["onDeny"] = json!("Reject");
        world.policy(&namespace, &format!("pull-{policy}"), spec).await?;
    }
    for index in 0..PODS {
        let account = accounts.get(index % ACCOUNTS).context("an account")?;
        // A label, an annotation and some environment, as pods have.
        let mut object = pod(&format!("pod-{index}"), account, &image("good"));
        object["metadata"]["labels"] = json!({"app.kubernetes.io/name": "scale-test", "pod": format!("pod-{index}")});
        object["spec"]["containers"][0]["env"] =
            (0..20).map(|i| json!({"name": format!("SETTING_{i}"), "value": format!("value {i}")})).collect();
        let answer = world.call("POST", &pods(&namespace), Some(&object)).await?;
        anyhow::ensure!(answer.ok(), "{answer:?}");
    }
    Ok(())
}
