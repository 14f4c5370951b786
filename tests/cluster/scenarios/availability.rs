//! What happens to admissions while the operator, its leader or the API server goes and comes, and who writes meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::admissions::{Strict, wanted};
use crate::harness::http;
use crate::harness::kubelet::ReplicaView;
use crate::world::{PATIENCE, RELEASE, World, image, pods, pull_document, spec};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ecr-access/leases/ecr-access-leader";
/// Longer than the Lease lasts: 15 seconds, and what it takes to notice.
const TAKEN_OVER: Duration = Duration::from_secs(40);

pub async fn a_rolling_restart(world: &World) -> Result<()> {
    let strict = Strict::begin(world, "rolling").await?;
    let before = names(world);
    let restart = async {
        world.cluster.kubectl(&["rollout", "restart", &format!("deployment/{RELEASE}"), "-n", RELEASE])?;
        world
            .eventually(PATIENCE * 2, "both replicas are new ones", async || {
                let now = names(world);
                Ok(now.len() == 2 && now.is_disjoint(&before))
            })
            .await?;
        world.operator_ready(2).await
    };
    let (_, tally) = strict.admit_during(wanted(), restart).await?;
    tally.none_failed("rolling restart of two replicas")?;
    strict.end().await?;

    // The new ones: who has not led has not looked at pods.
    let leader = leader(world).await?;
    world
        .eventually(PATIENCE, "the leader watches pods", async || {
            let audit = world.cluster.audit()?;
            Ok(audit.iter().any(|entry| entry.pod == leader && entry.verb == "watch" && entry.resource == "pods"))
        })
        .await?;
    let led: BTreeSet<String> = writers_of(world, "leases")?;
    for entry in world.cluster.audit()? {
        ensure!(
            entry.resource != "pods" || led.contains(&entry.pod),
            "a replica that never led looked at pods: {entry:?}"
        );
    }
    Ok(())
}

pub async fn the_leader_goes(world: &World) -> Result<()> {
    let strict = Strict::begin(world, "leader").await?;
    // Asked to go, as Kubernetes asks.
    let (_, tally) = strict
        .admit_during(wanted(), async {
            let leader = leader(world).await?;
            world.must("DELETE", &format!("{}/{leader}", pods(RELEASE)), None).await?;
            until_another_leads(world, &leader).await?;
            gone(world, &leader).await?;
            world.operator_ready(2).await
        })
        .await?;
    tally.none_failed("the leader is deleted")?;

    // Killed without a word. What it was about to answer is lost, and so are calls on their way until the API server
    // knows that it is gone; under `Fail` they are refused. Nothing that runs in the replica can help that, so it is
    // told what it costs, and that it is over at once.
    let leader = self::leader(world).await?;
    let (killed, tally) = strict
        .admit_during(wanted() / 2, async {
            let killed = Instant::now();
            signal(&replica(world, &leader)?, "KILL")?;
            comes_back(world, &leader).await?;
            Ok(killed)
        })
        .await?;
    println!("    the leader is killed by SIGKILL: {tally}");
    let trouble = tally.last_failure.map(|last| last.duration_since(killed)).unwrap_or_default();
    println!("    (the last failure came {:.2} s after it)", trouble.as_secs_f32());
    ensure!(trouble < Duration::from_secs(5), "it is felt for {trouble:?}: {:#?}", tally.failed);
    ensure!(tally.failed.keys().all(|text| text.contains("failed calling webhook")), "{:#?}", tally.failed);
    strict.end().await
}

pub async fn the_api_server_restarts(world: &World) -> Result<()> {
    let strict = Strict::begin(world, "api-server").await?;
    let (_, tally) = strict
        .admit_during(wanted(), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.cluster.restart_api_server().await?;
            world.operator_ready(2).await
        })
        .await?;
    tally.none_failed("restart of the API server")?;
    ensure!(tally.unanswered > 0, "the API server was never away: {tally}");
    // And the watches go on where they were.
    world.policy("api-server", "pull", spec(pull_document(&["other"]))).await?;
    let answer = async || Ok(world.try_pod("api-server", "api", &image("good")).await?.code == 403);
    world.eventually(PATIENCE, "an edit after the restart is in force", answer).await?;
    strict.end().await
}

/// A leader that is stopped for longer than its Lease lasts, while another takes over, writes nothing when it goes on.
pub async fn a_paused_leader_writes_nothing(world: &World) -> Result<()> {
    let pause =
        std::env::var("PAUSE").ok().and_then(|text| text.parse().ok()).map_or(TAKEN_OVER / 2, Duration::from_secs);
    world.operator_settled(2).await?;
    world.namespace("paused", &["api"]).await?;
    world.policy("paused", "pull", spec(pull_document(&["one"]))).await?;
    world.settled_status("paused", "pull").await?;
    let old = leader(world).await?;
    let paused = replica(world, &old)?;
    // A kubelet would have it killed for not being alive. Here it goes on, which is worse.
    world.cluster.spare(&old, true);
    signal(&paused, "STOP")?;
    let stopped = Instant::now();
    // What it has to say when it goes on: the edit is in its connection, unread.
    world.policy("paused", "pull", spec(pull_document(&["two"]))).await?;
    let new = until_another_leads(world, &old).await?;
    world.settled_status("paused", "pull").await?;
    tokio::time::sleep(pause.saturating_sub(stopped.elapsed())).await;
    let length = stopped.elapsed();
    let resumed = jiff::Timestamp::now();
    signal(&paused, "CONT")?;
    // It is heard of again, as a follower; and there is something to write that only the leader may.
    world.policy("paused", "pull", spec(pull_document(&["three"]))).await?;
    world.settled_status("paused", "pull").await?;
    world
        .eventually(PATIENCE, "the resumed replica looks at the lease", async || {
            let audit = world.cluster.audit()?;
            let looks =
                audit.iter().filter(|entry| entry.pod == old && entry.at > resumed && entry.resource == "leases");
            Ok(looks.count() >= 3)
        })
        .await?;
    let audit = world.cluster.audit()?;
    let writes: Vec<_> =
        audit.iter().filter(|entry| entry.pod == old && entry.at > resumed && entry.is_write()).collect();
    ensure!(writes.is_empty(), "{old} wrote after it went on: {writes:#?}");
    let by_the_new = audit
        .iter()
        .filter(|entry| entry.pod == new && entry.at > resumed && entry.resource == "ecraccesspolicies/status")
        .count();
    ensure!(by_the_new > 0, "nothing was proved: the new leader wrote nothing either");
    ensure!(leader(world).await? == new, "the leader changed again");
    world.cluster.spare(&old, false);
    println!(
        "    paused for {:.0} s: the resumed leader wrote 0 times, the new one {by_the_new}",
        length.as_secs_f32()
    );
    world.must("DELETE", "/api/v1/namespaces/paused", None).await.map(drop)
}

// ---------------------------------------------------------------------------------------------- replicas

fn names(world: &World) -> BTreeSet<String> {
    world.cluster.replicas().into_iter().map(|replica| replica.pod).collect()
}

fn replica(world: &World, name: &str) -> Result<ReplicaView> {
    let found = world.cluster.replicas().into_iter().find(|replica| replica.pod == name);
    found.with_context(|| format!("replica {name} runs"))
}

fn signal(replica: &ReplicaView, signal: &str) -> Result<()> {
    let status = std::process::Command::new("kill").args([&format!("-{signal}"), &replica.pid.to_string()]).status()?;
    ensure!(status.success(), "kill -{signal} {}", replica.pid);
    Ok(())
}

async fn gone(world: &World, name: &str) -> Result<()> {
    world.eventually(PATIENCE, &format!("{name} is gone"), async || Ok(!names(world).contains(name))).await.map(drop)
}

/// Waits until a container that was killed was started again and is ready.
async fn comes_back(world: &World, name: &str) -> Result<()> {
    let before = replica(world, name)?.restarts;
    world
        .eventually(PATIENCE, &format!("{name} is started again"), async || {
            Ok(replica(world, name).is_ok_and(|replica| replica.restarts > before))
        })
        .await?;
    world.operator_ready(2).await
}

async fn leader(world: &World) -> Result<String> {
    let mut holder = String::new();
    world
        .eventually(TAKEN_OVER, "somebody leads", async || {
            let lease = world.must("GET", LEASE, None).await?;
            holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            Ok(names(world).contains(&holder))
        })
        .await?;
    Ok(holder)
}

async fn until_another_leads(world: &World, old: &str) -> Result<String> {
    let mut new = String::new();
    world
        .eventually(TAKEN_OVER, &format!("somebody else than {old} leads"), async || {
            new = leader(world).await?;
            Ok(new != old)
        })
        .await?;
    Ok(new)
}

/// The sum of a metric's series whose line begins like this.
pub fn metric(address: &str, begins: &str) -> Result<f64> {
    let answer = http::get(format!("{address}:8080").parse()?, "/metrics", Duration::from_secs(5))?;
    let lines = answer.body.lines().filter(|line| line.starts_with(begins));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

fn writers_of(world: &World, resource: &str) -> Result<BTreeSet<String>> {
    let audit = world.cluster.audit()?;
    Ok(audit
        .into_iter()
        .filter(|entry| entry.resource == resource && entry.is_write())
        .map(|entry| entry.pod)
        .collect())
}
