//! The others: hundreds of objects of each kind that nothing is wrong with, changed in one burst and judged afterwards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::ledger::{Ledger, Moment};
use super::objects::{
    CANARY, Kind, cluster_policy, config_map, counted_object, declared, from_config_map, namespace, policy,
    service_account,
};
use crate::world::{ANNOTATION, PATIENCE, World, image, policies, pull_document, role};

pub const HONEST: &str = "attacks-honest";
/// The namespace that a cluster policy is for which is edited in the burst.
pub const EDITED: &str = "attacks-edited";
/// The namespace whose label is changed in the burst.
pub const RELABELLED: &str = "attacks-relabelled";
/// More than a page of the index.
const MEMBERS: usize = 510;
const PLACES: usize = 10;
/// More than a page of the leader.
const COUNTED: usize = 210;
/// Events of every kind in the burst.
const EVENTS: usize = 510;
/// Made in the burst.
const LATER: usize = 3;
/// One event in so many is of the workloads of which there are few.
const SELDOM: usize = 8;
/// What is not in force yet is looked at again after this.
const AGAIN: Duration = Duration::from_millis(200);
/// Requests at a time.
const AT_ONCE: usize = 32;
/// Pods of either sort that are asked about at each moment.
const ASKED: usize = 50;

/// Makes all of them. Their namespaces sort before those of the attacker: what he stores is on a later page.
pub async fn make(world: &World) -> Result<()> {
    world.namespace(HONEST, &[]).await?;
    let mut objects: Vec<(String, Value)> =
        places().map(|place| at(Kind::Namespace, namespace(&place, "none"))).collect();
    objects.extend([
        at(Kind::Namespace, namespace(EDITED, "edited")),
        at(Kind::Namespace, namespace(RELABELLED, "none")),
        at(Kind::ClusterPolicy, cluster_policy("attacks-edited", "edited", pull_document(&["good"]))),
        at(Kind::ClusterPolicy, cluster_policy("attacks-tier", "tier", pull_document(&["good"]))),
        at(Kind::ServiceAccount, service_account("api", "good")),
        at(Kind::Policy, policy("api", &["api"], &declared("good"))),
    ]);
    for kind in Kind::all_counted() {
        let counter = kind.counter();
        objects.push(at(Kind::ServiceAccount, service_account(&counter, "good")));
        objects.push(at(Kind::Policy, policy(&counter, &[&counter], &declared("good"))));
    }
    create(world, &objects).await?;
    objects.clear();
    for index in 0..MEMBERS {
        let (place, name) = member(index);
        objects.push((Kind::ServiceAccount.path(&place), service_account(&name, "good")));
        objects.push((Kind::ConfigMap.path(&place), config_map(&name, "good")));
        objects.push((Kind::Policy.path(&place), policy(&name, &[&name], &from_config_map(&name))));
    }
    for kind in Kind::all_counted() {
        for index in 0..first_of(kind) {
            objects.push(at(kind, counted_object(kind, &format!("w{index:03}"), &kind.counter(), "good")));
        }
    }
    create(world, &objects).await?;
    for namespace in [EDITED, RELABELLED] {
        default_account(world, namespace).await?;
    }
    Ok(())
}

/// Hundreds of events of every watch, with `meanwhile` in the middle: all that matters comes with or behind it.
pub async fn burst(world: &World, meanwhile: impl Future<Output = Result<()>>) -> Result<()> {
    let mut changes: Vec<(String, Value)> = Vec::new();
    let touched = |index: usize| json!({"metadata": {"labels": {"burst": index.to_string()}}});
    for index in 0..EVENTS {
        let (place, member) = member(index % MEMBERS);
        let changed = |kind: Kind| (is_changed(index) == Some(kind)).then(|| change(kind, &member));
        for kind in [Kind::ServiceAccount, Kind::ConfigMap, Kind::Policy] {
            let patch = changed(kind).unwrap_or_else(|| touched(index));
            changes.push((format!("{}/{member}", kind.path(&place)), patch));
        }
        for kind in Kind::all_counted() {
            // What costs the controllers much comes less often.
            if index.is_multiple_of(SELDOM) || first_of(kind) > 1 {
                let name = format!("w{:03}", index % first_of(kind));
                changes.push((format!("{}/{name}", kind.path(HONEST)), touched(index)));
            }
        }
        changes.push((format!("{}/attacks-edited", Kind::ClusterPolicy.path("")), touched(index)));
        changes.push((format!("{}/{RELABELLED}", Kind::Namespace.path("")), touched(index)));
    }
    let second = changes.split_off(changes.len() / 2);
    patch(world, &changes).await?;
    let behind = async {
        patch(world, &second).await?;
        let edited = cluster_policy("attacks-edited", "edited", pull_document(&["other"]));
        let edited = json!({"spec": edited["spec"]});
        let tier = json!({"metadata": {"labels": {"attacks": "tier"}}});
        let last = [
            (format!("{}/attacks-edited", Kind::ClusterPolicy.path("")), edited),
            (format!("{}/{RELABELLED}", Kind::Namespace.path("")), tier),
        ];
        patch(world, &last).await?;
        let mut later = Vec::new();
        for kind in Kind::all_counted() {
            let name = |index| format!("later{index}");
            later.extend((0..LATER).map(|index| at(kind, counted_object(kind, &name(index), &kind.counter(), "good"))));
        }
        create(world, &later).await
    };
    tokio::try_join!(behind, meanwhile).map(drop)
}

/// What the burst changed of a member, so that its pods are refused.
fn is_changed(index: usize) -> Option<Kind> {
    if index < MEMBERS / 2 {
        return None;
    }
    [None, Some(Kind::ServiceAccount), Some(Kind::ConfigMap), Some(Kind::Policy)][index % 4]
}

fn change(kind: Kind, member: &str) -> Value {
    match kind {
        Kind::ServiceAccount => json!({"metadata": {"annotations": {ANNOTATION: role("bad")}}}),
        Kind::ConfigMap => json!({"data": {"app.json": pull_document(&["other"]).to_string()}}),
        _ => json!({"spec": policy(member, &[member], &declared("other"))["spec"]}),
    }
}

/// One more of each kind that is counted: what came before may have been counted by somebody who can see no more.
pub async fn come(world: &World, moment: Moment) -> Result<()> {
    let name = format!("came-{}", more_at(moment));
    let came = Kind::all_counted().into_iter();
    let came = came.map(|kind| at(kind, counted_object(kind, &name, &kind.counter(), "good")));
    create(world, &came.collect::<Vec<_>>()).await
}

/// How many came so far, one before each moment but the first.
fn more_at(moment: Moment) -> usize {
    match moment {
        Moment::Burst | Moment::Pages => 0,
        Moment::Restart => 1,
        Moment::Fail => 2,
    }
}

/// Whether everybody else is judged right.
pub async fn look(world: &World, ledger: &mut Ledger, moment: Moment, until: Instant) -> Result<()> {
    honest_pods(world, ledger, moment).await?;
    members(world, ledger, moment, until).await?;
    for (kind, namespace, repository, other) in
        [(Kind::ClusterPolicy, EDITED, "good", "other"), (Kind::Namespace, RELABELLED, "bad", "good")]
    {
        let found = in_time(until, async || judged(world, namespace, "default", other, repository).await);
        ledger.note_kind(kind, moment, found.await);
    }
    let all = |kind| first_of(kind) + LATER + more_at(moment);
    let expected = Kind::all_counted().into_iter().map(|kind| (kind, "allowed", all(kind)));
    counted(world, ledger, moment, HONEST, &expected.collect::<Vec<_>>()).await
}

/// Pods that must be refused, N of N, and pods that must be admitted.
async fn honest_pods(world: &World, ledger: &mut Ledger, moment: Moment) -> Result<()> {
    let asked: Vec<Result<()>> = stream::iter(0..2 * ASKED)
        .map(async |index| {
            let repository = if index % 2 == 0 { "good" } else { "bad" };
            let answer = world.try_pod(HONEST, "api", &image(repository)).await?;
            if index % 2 == 0 { answer.admitted() } else { answer.refused_with(&[&image("bad")]) }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let wrong: Vec<String> = asked.into_iter().filter_map(|found| Some(format!("{:#}", found.err()?))).collect();
    let first = wrong.first().map(String::as_str).unwrap_or_default();
    let found = if wrong.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!("{} of {} honest pods are judged wrongly; the first: {first}", wrong.len(), 2 * ASKED))
    };
    ledger.note_all(moment, found);
    Ok(())
}

async fn members(world: &World, ledger: &mut Ledger, moment: Moment, until: Instant) -> Result<()> {
    let mut wrong: BTreeMap<usize, u16> = (0..MEMBERS).map(|index| (index, 0)).collect();
    // On a busy machine the first look at all of them may last beyond the end: who was late then is asked once more.
    for look in 1.. {
        let asked: Vec<(usize, u16)> = stream::iter(wrong.keys().copied())
            .map(async |index| {
                let (place, name) = member(index);
                let answer = world.try_pod(&place, &name, &image("good")).await?;
                let silent = answer.warnings.is_empty();
                anyhow::Ok((index, if answer.code == 201 && !silent { 299 } else { answer.code }))
            })
            .buffer_unordered(8)
            .try_collect()
            .await?;
        let expected = |index| if is_changed(index).is_some() { 403 } else { 201 };
        wrong = asked.into_iter().filter(|(index, code)| *code != expected(*index)).collect();
        if wrong.is_empty() || (look > 1 && Instant::now() > until) {
            break;
        }
        tokio::time::sleep(AGAIN).await;
    }
    let all = [None, Some(Kind::ServiceAccount), Some(Kind::ConfigMap), Some(Kind::Policy)];
    for changed in all {
        let wrong: Vec<_> = wrong.iter().filter(|(index, _)| is_changed(**index) == changed).collect();
        let found = (|| {
            let some: Vec<_> = wrong.iter().take(3).collect();
            ensure!(wrong.is_empty(), "{} members are judged wrongly (299: with a warning): {some:?}", wrong.len());
            Ok(())
        })();
        match changed {
            Some(kind) => ledger.note_kind(kind, moment, found),
            None => ledger.note_all(moment, found.context("of those that nobody changed")),
        }
    }
    Ok(())
}

/// What is found, or, as long as there is time for what happened to be in force, what is found later.
pub async fn in_time(until: Instant, look: impl AsyncFn() -> Result<()>) -> Result<()> {
    loop {
        let found = look().await;
        if found.is_ok() || Instant::now() > until {
            return found;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A pod with one image is admitted silently, and with the other it is refused.
pub async fn judged(world: &World, namespace: &str, account: &str, good: &str, bad: &str) -> Result<()> {
    let who = || format!("pods of {namespace}/{account}");
    world.try_pod(namespace, account, &image(good)).await?.admitted().with_context(who)?;
    world.try_pod(namespace, account, &image(bad)).await?.refused_with(&[&image(bad)]).with_context(who)
}

/// How many there are from the beginning: of two kinds more than a page of the leader.
fn first_of(kind: Kind) -> usize {
    if matches!(kind, Kind::Pod | Kind::Workload("Deployment")) { COUNTED } else { 1 }
}

/// The policies of a namespace that count a kind each have so many with this verdict in their status, and nothing else.
pub async fn counted(
    world: &World,
    ledger: &mut Ledger,
    moment: Moment,
    namespace: &str,
    expected: &[(Kind, &str, usize)],
) -> Result<()> {
    let mut said: BTreeMap<Kind, String> = BTreeMap::new();
    let all_said = async || {
        said.clear();
        for (kind, verdict, count) in expected {
            let path = format!("{}/{}", policies(namespace), kind.counter());
            let status =
                world.raw(None, "GET", &path, "application/json", Vec::new()).await?.read().body["status"].take();
            let what = if *kind == Kind::Pod { "pods" } else { "workloads" };
            let of = |other: &str| if other == *verdict { *count } else { 0 };
            let wanted = json!({"allowed": of("allowed"), "denied": of("denied"), "unknown": 0});
            if status[what] != wanted {
                said.insert(*kind, format!("{what} of {namespace} are counted as {}, not {wanted}", status[what]));
            }
        }
        Ok(said.is_empty())
    };
    // Counts are written at most every ten seconds. Who is still wrong then is told.
    let in_time = world.eventually(PATIENCE / 2, "counted", all_said).await;
    for (kind, ..) in expected {
        let found = if in_time.is_ok() { None } else { said.remove(kind) };
        ledger.note_kind(*kind, moment, found.map_or(Ok(()), |said| Err(anyhow::anyhow!(said))));
    }
    Ok(())
}

/// No log of a replica, of those that run or ran, has what users wrote.
pub fn logs_are_clean(world: &World) -> Result<()> {
    let mut logs = 0;
    for entry in std::fs::read_dir(world.cluster.directory.join("logs"))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with("ecr-access-") {
            continue;
        }
        logs += 1;
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
        let first = lines.first().map(|line| line.chars().take(200).collect::<String>()).unwrap_or_default();
        ensure!(lines.is_empty(), "{name} has what users wrote, in {} lines: {first}…", lines.len());
    }
    ensure!(logs >= 2, "there are {logs} logs");
    Ok(())
}

/// Waits for the service account that the controller manager makes.
pub async fn default_account(world: &World, namespace: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    world
        .eventually(PATIENCE, "account `default`", async || Ok(world.call("GET", &path, None).await?.ok()))
        .await
        .map(drop)
}

/// The namespaces of the members. A review reads the policies of one before it refuses, so no namespace has all of them.
pub fn places() -> impl Iterator<Item = String> {
    (0..PLACES).map(|number| format!("attacks-m{number}"))
}

/// Namespace and name of a member.
fn member(index: usize) -> (String, String) {
    (format!("attacks-m{}", index % PLACES), format!("m{index:03}"))
}

/// With the path at which it is made.
fn at(kind: Kind, object: Value) -> (String, Value) {
    (kind.path(HONEST), object)
}

async fn create(world: &World, objects: &[(String, Value)]) -> Result<()> {
    stream::iter(objects.iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, async |(path, object)| world.must("POST", path, Some(object)).await.map(drop))
        .await
}

async fn patch(world: &World, changes: &[(String, Value)]) -> Result<()> {
    stream::iter(changes.iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, async |(path, change)| {
            world.must("PATCH", path, Some(change)).await.map(drop)
        })
        .await
}
