//! What users see: status, conditions, and Events, as `kubectl` shows them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::policies::condition;
use crate::world::{PATIENCE, RELEASE, World, golden, image, pods, policies, pull_document, spec, spec_of};

/// Conditions come within a second, counts alone at most every 10 s.
const COUNTED: Duration = Duration::from_secs(15);

/// A Deployment whose pods cannot pull, as its team and as the author of the policy see it.
pub async fn a_denied_deployment_and_what_happens_to_a_policy(world: &World) -> Result<()> {
    world.namespace("told", &["api"]).await?;
    deployment(world, "told", "web", "bad", 2).await?;
    deployment(world, "told", "fine", "good", 1).await?;
    in_time("the pods are made", PATIENCE, async || {
        let list = world.must("GET", &pods("told"), None).await?;
        Ok(list["items"].as_array().is_some_and(|items| items.len() == 3))
    })
    .await?;
    world.policy("told", "pull", spec(pull_document(&["good"]))).await?;
    let status = until_status(world, "told", "pull", "counted", |status| status["pods"]["denied"] == 2).await?;
    ensure!(status["workloads"] == json!({"allowed": 1, "denied": 1, "unknown": 0}), "{status}");
    ensure!(status["pods"] == json!({"allowed": 1, "denied": 2, "unknown": 0}), "{status}");
    let denials = status["denials"].as_array().context("denials")?;
    ensure!(denials.len() == 1 && status["denialsOmitted"] == 0, "one row for the Deployment and its pods: {status}");
    let row = &denials[0];
    ensure!((&row["kind"], &row["name"], &row["pods"]) == (&json!("Deployment"), &json!("web"), &json!(2)), "{status}");
    until_told(world, "told", 1).await?;

    // A policy that is not known, and one that is.
    let foreign = spec_of(json!([{"name": "ours", "managedPolicyArn": "arn:aws:iam::111122223333:policy/ours"}]));
    world.policy("told", "pull", foreign.clone()).await?;
    until_told(world, "told", 2).await?;
    world.policy("told", "pull", spec(pull_document(&["good"]))).await?;
    until_told(world, "told", 3).await?;
    // Another one for the same service accounts, and it goes again.
    world.policy("told", "twin", spec(pull_document(&["good"]))).await?;
    until_told(world, "told", 5).await?;
    world.must("DELETE", &format!("{}/twin", policies("told")), None).await?;
    until_told(world, "told", 6).await?;

    for (kind, name) in [("deployment", "web"), ("ecraccesspolicy", "pull"), ("deployment", "fine")] {
        let described = world.cluster.kubectl(&["describe", kind, name, "-n", "told"])?;
        let told = shown(&described, &["ScalingReplicaSet"]);
        golden(&format!("cluster/describe-{kind}-{name}.txt"), &told)?;
    }
    let table = world.cluster.kubectl(&["get", "events", "-n", "told", "--field-selector", "reason=PullWouldFail"])?;
    golden("cluster/get-events.txt", &shown(&format!("Events:\n{table}"), &[]))?;

    // The same once more is a count on what was told.
    world.policy("told", "pull", foreign).await?;
    in_time("a second count", COUNTED, async || {
        let told = until_told(world, "told", 6).await?;
        Ok(told.iter().any(|event| event["reason"] == "PolicyNotFound" && event["series"]["count"] == 2))
    })
    .await
}

/// What was told is not told again by the next leader, and what is new is. That one may not list Jobs and CronJobs, which
/// stops nothing else.
pub async fn a_new_leader_repeats_no_event(world: &World) -> Result<()> {
    world.namespace("leaders", &["api"]).await?;
    deployment(world, "leaders", "one", "bad", 0).await?;
    world.policy("leaders", "pull", spec(pull_document(&["good"]))).await?;
    until_told(world, "leaders", 1).await?;
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}");
    let rules = world.must("GET", &role, None).await?["rules"].clone();
    let fewer: Vec<&Value> =
        rules.as_array().context("rules")?.iter().filter(|rule| rule["apiGroups"] != json!(["batch"])).collect();
    world.must("PATCH", &role, Some(&json!({"rules": fewer}))).await?;
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{RELEASE}/leases/{RELEASE}-leader");
    let holder = world.must("GET", &lease, None).await?["spec"]["holderIdentity"].clone();
    let path = format!("{}/{}", pods(RELEASE), holder.as_str().context("a holder")?);
    world.must("DELETE", &path, None).await?;
    in_time("another replica leads", PATIENCE, async || {
        let next = world.must("GET", &lease, None).await?["spec"]["holderIdentity"].clone();
        Ok(next.as_str().is_some_and(|next| !next.is_empty()) && next != holder)
    })
    .await?;
    // Comes behind whatever the new leader would repeat.
    deployment(world, "leaders", "two", "worse", 0).await?;
    let told = until_told(world, "leaders", 2).await?;
    let regarding: BTreeSet<&str> = told.iter().filter_map(|event| event["regarding"]["name"].as_str()).collect();
    ensure!(regarding == BTreeSet::from(["one", "two"]), "{told:#?}");
    ensure!(told.iter().all(|event| event["series"].is_null()), "{told:#?}");
    let counted = |status: &Value| status["workloads"] == json!({"allowed": 0, "denied": 2, "unknown": 0});
    until_status(world, "leaders", "pull", "counted", counted).await?;
    world.must("PATCH", &role, Some(&json!({"rules": rules}))).await?;
    world.operator_ready(2).await
}

/// A policy on trial is judged beside the one in force: it refuses nobody, conflicts with nobody, and is told to nobody
/// but its author. A tie is a conflict, a rank is not.
pub async fn audit_beside_the_winner_and_conflicts_only_on_ties(world: &World) -> Result<()> {
    world.namespace("trial", &["api"]).await?;
    world.policy("trial", "in-force", spec(pull_document(&["good"]))).await?;
    let mut audit = spec(pull_document(&["better"]));
    audit["onDeny"] = json!("Audit");
    world.policy("trial", "on-trial", audit).await?;
    world.until_refused("trial", "api", &image("better")).await?;
    world.pod("trial", "app", "api", &image("good")).await?.admitted()?;
    let counted = |status: &Value| status["pods"] != json!({"allowed": 0, "denied": 0, "unknown": 0});
    let winner = until_status(world, "trial", "in-force", "counted", counted).await?;
    let trial = until_status(world, "trial", "on-trial", "counted", counted).await?;
    ensure!(winner["pods"] == json!({"allowed": 1, "denied": 0, "unknown": 0}), "{winner}");
    ensure!(trial["pods"] == json!({"allowed": 0, "denied": 1, "unknown": 0}), "{trial}");
    // `default` and `api`, for both.
    ensure!((&winner["serviceAccounts"], &trial["serviceAccounts"]) == (&json!(2), &json!(2)), "{winner} {trial}");
    let conflicted = |status: &Value| condition(status, "Conflicted").map(|found| found["status"].clone());
    ensure!(conflicted(&winner) == Some(json!("False")) && conflicted(&trial) == Some(json!("False")), "{trial}");
    let told = until_told(world, "trial", 1).await?;
    let regarding = (&told[0]["regarding"]["kind"], &told[0]["regarding"]["name"]);
    ensure!(regarding == (&json!("EcrAccessPolicy"), &json!("on-trial")), "{told:#?}");
    ensure!(told[0]["related"]["name"] == "app", "{told:#?}");

    // A name outranks no name: no conflict.
    let named = |name: &str| {
        let mut spec = spec(pull_document(&["good"]));
        spec["serviceAccounts"] = json!({"names": [name]});
        spec
    };
    world.policy("trial", "named", named("api")).await?;
    let accounts = |count: u64| move |status: &Value| status["serviceAccounts"] == count;
    let by_name = until_status(world, "trial", "named", "selects", accounts(1)).await?;
    let rest = until_status(world, "trial", "in-force", "left with one", accounts(1)).await?;
    ensure!(
        conflicted(&by_name) == Some(json!("False")) && conflicted(&rest) == Some(json!("False")),
        "{by_name} {rest}"
    );
    // A second name is a tie, which age breaks.
    world.policy("trial", "named-too", named("api")).await?;
    let tied = |status: &Value| conflicted(status) == Some(json!("True"));
    let older = until_status(world, "trial", "named", "conflicted", tied).await?;
    let younger = until_status(world, "trial", "named-too", "conflicted", tied).await?;
    ensure!((&older["serviceAccounts"], &younger["serviceAccounts"]) == (&json!(1), &json!(0)), "{older} {younger}");
    let rest = world.settled_status("trial", "in-force").await?;
    ensure!(conflicted(&rest) == Some(json!("False")), "{rest}");
    Ok(())
}

/// A condition on the date: foretold, and then it is so, without anybody's doing.
pub async fn a_date_changes_counts_without_an_edit(world: &World) -> Result<()> {
    // A machine that is too slow to be told ahead of an instant is asked once more, about one that is further away.
    for (namespace, seconds) in [("date", 12), ("date-later", 40)] {
        if date(world, namespace, seconds).await? {
            return Ok(());
        }
        println!("    (nobody could be told within {seconds} s)");
    }
    bail!("the machine is too slow to be told ahead of an instant")
}

/// False where the instant came before everything that was to be seen ahead of it.
async fn date(world: &World, namespace: &str, seconds: i64) -> Result<bool> {
    world.namespace(namespace, &["api"]).await?;
    deployment(world, namespace, "web", "good", 0).await?;
    let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + seconds)?;
    let mut document = pull_document(&["good"]);
    document["Statement"][1]["Condition"] = json!({"DateLessThan": {"aws:CurrentTime": end.to_string()}});
    world.policy(namespace, "pull", spec(document)).await?;
    let ahead = async {
        let foretold = |status: &Value| status["nextTransition"] == end.to_string();
        let status = until_status(world, namespace, "pull", "foretold", foretold).await?;
        ensure!(status["workloads"]["allowed"] == 1, "{status}");
        let ahead = condition(&status, "ChangeAhead").context("ChangeAhead")?;
        let told = until_told(world, namespace, 1).await?;
        ensure!(
            (&told[0]["reason"], &told[0]["type"]) == (&json!("VerdictWillChange"), &json!("Warning")),
            "{told:#?}"
        );
        ensure!(told[0]["note"] == ahead["message"], "{told:#?} {ahead}");
        world.try_pod(namespace, "api", &image("good")).await?.admitted()
    };
    let ahead = ahead.await;
    if jiff::Timestamp::now() >= end {
        return Ok(false);
    }
    ahead?;

    let until_then = Duration::try_from(end.duration_since(jiff::Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(until_then).await;
    let denied = |status: &Value| status["workloads"]["denied"] == 1;
    let status = until_status(world, namespace, "pull", "turned", denied).await?;
    let late = jiff::Timestamp::now().duration_since(end);
    println!("    (the status had turned {:.1} s after the instant)", late.as_secs_f64());
    ensure!(status["nextTransition"].is_null() && condition(&status, "ChangeAhead").is_none(), "{status}");
    world.try_pod(namespace, "api", &image("good")).await?.refused_with(&["[ConditionNotMet]"])?;
    let told = until_told(world, namespace, 2).await?;
    ensure!(told.iter().any(|event| event["reason"] == "PullWouldFail"), "{told:#?}");
    Ok(true)
}

/// Pods come and go by the hundred, and the status of their policy is written now and then.
pub async fn a_busy_namespace_is_written_seldom(world: &World) -> Result<()> {
    const BURSTS: usize = 10;
    const PODS: usize = 20;
    world.namespace("busy", &["api"]).await?;
    world.policy("busy", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("busy", "api", &image("bad")).await?;
    world.settled_status("busy", "pull").await?;
    let path = format!("{}/pull", policies("busy"));
    let begin = Instant::now();
    let busy = async {
        for burst in 0..BURSTS {
            let names: Vec<String> = (0..PODS).map(|pod| format!("pod-{burst}-{pod}")).collect();
            try_join_all(names.iter().map(async |name| {
                let answer = world.pod("busy", name, "api", &image("good")).await?;
                answer.admitted()
            }))
            .await?;
            // Long enough to be counted, were each change counted.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let now = json!({"gracePeriodSeconds": 0});
            try_join_all(
                names
                    .iter()
                    .map(async |name| world.must("DELETE", &format!("{}/{name}", pods("busy")), Some(&now)).await),
            )
            .await?;
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
        anyhow::Ok(())
    };
    let mut versions = BTreeSet::new();
    let watching = async {
        loop {
            let policy = world.must("GET", &path, None).await?;
            versions.insert(policy["metadata"]["resourceVersion"].to_string());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        #[allow(unreachable_code, reason = "tells the type")]
        anyhow::Ok(())
    };
    tokio::select! {
        done = busy => done?,
        failed = watching => failed?,
    }
    let seconds = begin.elapsed().as_secs();
    let writes = versions.len() - 1;
    println!("    ({} pods came and went in {seconds} s: {writes} writes of the status)", BURSTS * PODS);
    ensure!(writes >= 1, "nothing was counted at all");
    let most = 1 + usize::try_from(seconds)? / 10;
    ensure!(writes <= most, "{writes} writes in {seconds} s, at most {most} are meant");
    Ok(())
}

async fn deployment(world: &World, namespace: &str, name: &str, repository: &str, replicas: u64) -> Result<()> {
    let labels = json!({"app": name});
    let pod = json!({"serviceAccountName": "api", "containers": [{"name": "app", "image": image(repository)}]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": pod}},
    });
    world.must("POST", &format!("/apis/apps/v1/namespaces/{namespace}/deployments"), Some(&deployment)).await.map(drop)
}

async fn in_time(what: &str, patience: Duration, mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + patience;
    while !ask().await? {
        ensure!(Instant::now() < until, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The status, once it says so.
async fn until_status(
    world: &World,
    namespace: &str,
    name: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let mut status = Value::Null;
    in_time(&format!("{namespace}/{name} is {what}"), COUNTED, async || {
        status = world.settled_status(namespace, name).await?;
        Ok(is(&status))
    })
    .await
    .with_context(|| status.to_string())?;
    Ok(status)
}

/// The operator's Events of a namespace, once there are so many; never more.
async fn until_told(world: &World, namespace: &str, count: usize) -> Result<Vec<Value>> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    let mut told = Vec::new();
    in_time(&format!("{count} Events in {namespace}"), COUNTED, async || {
        let list = world.must("GET", &path, None).await?;
        let ours = |event: &&Value| event["reportingController"] == "ecraccess.dev/controller";
        told = list["items"].as_array().into_iter().flatten().filter(ours).cloned().collect();
        Ok(told.len() >= count)
    })
    .await
    .with_context(|| format!("{told:#?}"))?;
    ensure!(told.len() == count, "more than {count}: {told:#?}");
    Ok(told)
}

/// The Events of a description, without what differs from run to run, and without those of others.
fn shown(described: &str, others: &[&str]) -> String {
    let table = described.split_once("Events:").map_or("", |(_, table)| table);
    let mut text = String::new();
    for line in table.lines().filter(|line| !others.iter().any(|other| line.contains(other))) {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| match word {
                // Ages, and which replica leads.
                word if word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm']) => {
                    "AGE".to_owned()
                }
                word if word.starts_with(&format!("{RELEASE}-")) => "REPLICA".to_owned(),
                word => word.to_owned(),
            })
            .collect();
        if !words.is_empty() {
            text.push_str(&words.join(" "));
            text.push('\n');
        }
    }
    text
}
