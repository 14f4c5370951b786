//! A watch that fails for a minute is told, and stops nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::availability::metric;
use super::super::policies::condition;
use crate::world::{PATIENCE, RELEASE, World, image, policies, pull_document, spec};

/// A watch is renewed within this time, and then the right is missed; a minute later it is told.
const TOLD: Duration = Duration::from_secs(70 + 70);

/// The operator may not list service accounts any more, while it watches them.
pub async fn a_right_taken_away_is_noticed(world: &World) -> Result<()> {
    const NAMESPACE: &str = "attacks-right";
    world.operator_settled(2).await?;
    world.namespace(NAMESPACE, &["api"]).await?;
    world.policy(NAMESPACE, "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused(NAMESPACE, "api", &image("bad")).await?;
    world.settled_status(NAMESPACE, "pull").await?;
    let before: u32 = world.cluster.replicas().iter().map(|replica| replica.restarts).sum();

    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{RELEASE}");
    let rules = world.must("GET", &role, None).await?["rules"].clone();
    let fewer: Vec<Value> = rules
        .as_array()
        .context("rules")?
        .iter()
        .cloned()
        .map(|mut rule| {
            if let Some(resources) = rule["resources"].as_array_mut() {
                resources.retain(|resource| resource != "serviceaccounts");
            }
            rule
        })
        .filter(|rule| rule["resources"].as_array().is_none_or(|resources| !resources.is_empty()))
        .collect();
    world.must("PATCH", &role, Some(&json!({"rules": fewer}))).await?;
    let looked = without_the_right(world, NAMESPACE).await;
    world.must("PATCH", &role, Some(&json!({"rules": rules}))).await?;
    looked?;

    let begin = Instant::now();
    world.eventually(PATIENCE, "no watch fails any more", async || Ok(failing(world)? == 0.0)).await?;
    let judging = async || Ok(judging(world, NAMESPACE).await?.is_none_or(|found| found["status"] == "True"));
    world.eventually(PATIENCE, "the policy is judged by again", judging).await?;
    println!("    {:.1} s after the right was given back all is well", begin.elapsed().as_secs_f32());
    world.operator_ready(2).await?;
    world.until_refused(NAMESPACE, "api", &image("bad")).await?;
    let restarts: u32 = world.cluster.replicas().iter().map(|replica| replica.restarts).sum();
    ensure!(restarts == before, "a replica was started again");
    world.must("DELETE", &format!("{}/pull", policies(NAMESPACE)), None).await.map(drop)
}

async fn without_the_right(world: &World, namespace: &str) -> Result<()> {
    let begin = Instant::now();
    // Each replica has a watch of its own.
    world.eventually(TOLD, "both replicas tell of the watch", async || Ok(failing(world)? == 2.0)).await?;
    println!("    the metric tells of it after {:.0} s", begin.elapsed().as_secs_f32());
    let mut seen = None;
    let told = world.eventually(PATIENCE, "the policy is Judging=False, WatchFailing", async || {
        seen = judging(world, namespace).await?;
        let holds = |found: &Value| found["status"] == "False" && found["reason"] == "WatchFailing";
        Ok(seen.as_ref().is_some_and(holds))
    });
    let told = told.await;
    told.with_context(|| format!("{seen:?}"))?;
    println!("    the condition after {:.0} s: {}", begin.elapsed().as_secs_f32(), seen.unwrap_or_default()["message"]);
    // A replica that works on with what it has stays in service.
    world.operator_ready(2).await
}

async fn judging(world: &World, namespace: &str) -> Result<Option<Value>> {
    let policy = world.must("GET", &format!("{}/pull", policies(namespace)), None).await?;
    Ok(condition(&policy["status"], "Judging").cloned())
}

/// How many watches of both replicas together fail.
fn failing(world: &World) -> Result<f64> {
    let replicas = world.cluster.replicas();
    replicas.iter().map(|replica| metric(&replica.address, "ecr_access_watch_failing{")).sum()
}
