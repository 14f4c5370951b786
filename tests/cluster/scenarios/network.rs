//! Who calls the operator, as it sees it: see `docs/network.md`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::harness::http;
use crate::world::{PATIENCE, World, image, pull_document, spec};

/// The API server's address is found, by the right that the chart gives, and its calls come from it.
pub async fn the_api_server_is_known_by_its_address(world: &World) -> Result<()> {
    world.operator_ready(2).await?;
    world.namespace("known", &["api"]).await?;
    world.policy("known", "pull", spec(pull_document(&["good"]))).await?;
    let found = async || Ok(metrics(world, "ecr_access_api_server_addresses")?.iter().all(|count| *count == 1.0));
    world.eventually(PATIENCE, "every replica has found the address of the API server", found).await?;
    let before = (calls(world, "api_server")?, calls(world, "other")?);
    for _ in 0..20 {
        ensure!(world.try_pod("known", "api", &image("good")).await?.ok(), "a good pod is admitted");
    }
    let after = (calls(world, "api_server")?, calls(world, "other")?);
    ensure!(after.0 >= before.0 + 20.0 && after.1 == before.1, "before {before:?}, after {after:?}");
    world.must("DELETE", "/api/v1/namespaces/known", None).await.map(drop)
}

fn calls(world: &World, caller: &str) -> Result<f64> {
    Ok(metrics(world, &format!("ecr_access_calls_total{{caller=\"{caller}\"}}"))?.iter().sum())
}

/// The value of one series in each replica; 0 where it has none.
fn metrics(world: &World, series: &str) -> Result<Vec<f64>> {
    let replicas = world.cluster.replicas();
    ensure!(!replicas.is_empty(), "no replica runs");
    let value = |address: &str| {
        let answer = http::get(format!("{address}:8080").parse()?, "/metrics", Duration::from_secs(2))?;
        let line = answer.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |text| text.parse().with_context(|| format!("{series} {text}")))
    };
    replicas.iter().map(|replica| value(&replica.address)).collect()
}
