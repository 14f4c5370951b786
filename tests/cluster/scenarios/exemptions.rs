//! Exemptions: what they let in, what the status says of them, and how they end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::workloads::{path, workload};
use crate::world::{Answer, PATIENCE, World, image, pod, pods, policies, pull_document, spec};

/// A policy with one exemption, of the image `legacy` for the account `legacy`, until `end`.
fn exempting(end: &str) -> Value {
    let mut spec = spec(pull_document(&["good"]));
    spec["exemptions"] = json!([{"name": "legacy-images", "serviceAccounts": ["legacy"],
        "images": [image("legacy").trim_end_matches(":1")], "reason": "registry moves in March", "expiresAt": end}]);
    spec
}

pub async fn an_exemption_lets_in_until_its_end(world: &World) -> Result<()> {
    world.namespace("exempted", &["api", "legacy"]).await?;
    let legacy = image("legacy");
    world.policy("exempted", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("exempted", "legacy", &legacy).await?;

    // Its end is far away for as long as what holds until then is looked at: counts come every ten seconds at most.
    let end = in_seconds(3600)?;
    world.policy("exempted", "pull", exempting(&end.to_string())).await?;
    until_let_in(world, &legacy, end).await?;
    world.pod("exempted", "legacy", "legacy", &legacy).await?.warned_with(&["is admitted all the same"])?;
    // Nobody else, nothing else, and no label that anybody could set.
    world.try_pod("exempted", "api", &legacy).await?.refused_with(&[&legacy])?;
    world.try_pod("exempted", "legacy", &image("other")).await?.refused_with(&[&image("other")])?;
    let mut labelled = pod("labelled", "api", &legacy);
    let words = json!({"ecraccess.dev/exempt": "true", "ecraccess.dev/exemption": "legacy-images"});
    labelled["metadata"]["labels"] = words.clone();
    labelled["metadata"]["annotations"] = words;
    world.call("POST", &pods("exempted"), Some(&labelled)).await?.refused_with(&[&legacy])?;
    // Its workload is told until when.
    let deployment = workload("Deployment", "legacy", pod("", "legacy", &legacy)["spec"].clone());
    let answer = world.call("POST", &path("Deployment", "exempted"), Some(&deployment)).await?;
    let told = format!("Deployment exempted/legacy: its pods are admitted until {end}, by exemption legacy-images of ");
    answer.warned_with(&["cannot pull ", &told])?;

    let status = async |end: jiff::Timestamp, active: bool, pods: u64| {
        let expected = json!([{"name": "legacy-images", "expiresAt": end.to_string(), "active": active, "pods": pods}]);
        let mut seen = Value::Null;
        let what = format!("exemptions are {expected}");
        let told = world
            .eventually(PATIENCE, &what, async || {
                let policy = world.must("GET", &format!("{}/pull", policies("exempted")), None).await?;
                seen = policy["status"].clone();
                Ok(seen["exemptions"] == expected)
            })
            .await;
        told.map(drop).with_context(|| format!("{seen}"))
    };
    status(end, true, 1).await?;

    // Without an edit, at its end and not before.
    let end = in_seconds(10)?;
    world.policy("exempted", "pull", exempting(&end.to_string())).await?;
    until_let_in(world, &legacy, end).await?;
    world
        .eventually(Duration::from_secs(20), "the exemption is gone", async || {
            Ok(world.try_pod("exempted", "legacy", &legacy).await?.code == 403)
        })
        .await?;
    let now = jiff::Timestamp::now();
    ensure!(now >= end, "it is {now}, and it was to be gone at {end}");
    status(end, false, 0).await
}

fn in_seconds(seconds: i64) -> Result<jiff::Timestamp> {
    Ok(jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + seconds)?)
}

/// Waits until a pod of `legacy` is let in by the exemption with this end.
async fn until_let_in(world: &World, legacy: &str, end: jiff::Timestamp) -> Result<()> {
    let told = format!(
        "Pod exempted/try is admitted all the same, until {end}, by exemption legacy-images of \
         EcrAccessPolicy/exempted/pull: registry moves in March"
    );
    let let_in = |answer: &Answer| answer.warned_with(&["cannot pull ", &told]).is_ok();
    world.until("exempted", "legacy", legacy, "let in", let_in).await.map(drop)
}

/// What lets nothing in is said when it is applied.
pub async fn an_exemption_that_lets_nothing_in_is_told(world: &World) -> Result<()> {
    world.namespace("exempted-late", &[]).await?;
    let answer = world.try_policy("exempted-late", "pull", exempting("2026-01-01T00:00:00Z")).await?;
    answer.warned_with(&["spec.exemptions[0].expiresAt: `2026-01-01T00:00:00Z` is in the past"])?;
    let mut spec = exempting("9999-01-01T00:00:00Z");
    spec["exemptions"][0]["images"] = json!(["legacy/*"]);
    let answer = world.try_policy("exempted-late", "pull", spec).await?;
    answer.warned_with(&["spec.exemptions[0].images[0]: `legacy/*` exempts nothing"])
}
