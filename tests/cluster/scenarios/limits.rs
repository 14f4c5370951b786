//! The edges: sizes, what is called and what is not, and life without the operator.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ecr_forecast::ecr::image::ImageKind;
use serde_json::{Value, json};

use super::release;
use super::workloads::{KINDS, path, workload};
use crate::world::{PATIENCE, REGISTRY, RELEASE, World, dry_pods, image, pod, pods, pull_document, spec};

pub async fn big_pods(world: &World) -> Result<()> {
    world.namespace("big", &["api"]).await?;
    world.policy("big", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("big", "api", &image("bad")).await?;
    let of_size = |name: &str, repository: &str, filler: &str, bytes: usize| {
        let mut pod = pod(name, "api", &image(repository));
        let values = bytes / 100_000;
        let environment: Vec<Value> = (0..values)
            .map(|index| json!({"name": format!("V{index}"), "value": filler.repeat(bytes / values / filler.len())}))
            .collect();
        pod["spec"]["containers"][0]["env"] = json!(environment);
        pod
    };
    // Stored: less than 2 MiB.
    world.call("POST", &pods("big"), Some(&of_size("good", "good", "x", 1_900_000))).await?.admitted()?;
    world
        .call("POST", &pods("big"), Some(&of_size("bad", "bad", "x", 1_900_000)))
        .await?
        .refused_with(&[&image("bad")])?;
    // Not stored: up to the API server's 3 MB.
    let dry = dry_pods("big");
    world.call("POST", &dry, Some(&of_size("good2", "good", "x", 2_900_000))).await?.admitted()?;
    world.call("POST", &dry, Some(&of_size("bad2", "bad", "x", 2_900_000))).await?.refused_with(&[&image("bad")])?;
    // `<` is six bytes in the API server's JSON: 17 MB for the webhook.
    world.call("POST", &dry, Some(&of_size("escaped", "bad", "<", 2_800_000))).await?.refused_with(&[&image("bad")])?;
    // Thousands of containers are within the cost that the API server lets the expressions have.
    let mut many = pod("many", "api", &image("good"));
    let containers = (0..8000)
        .map(|index| json!({"name": format!("c{index}"), "image": image(if index == 7999 { "bad" } else { "good" })}));
    many["spec"]["containers"] = containers.collect();
    world.call("POST", &dry, Some(&many)).await?.refused_with(&[&image("bad")])
}

/// The filter in the webhook configuration lets through whatever the parser takes for ECR.
pub async fn every_ecr_image_reaches_the_webhook_and_no_other(world: &World) -> Result<()> {
    // Calls are counted over all replicas: none may go meanwhile.
    world.operator_settled(2).await?;
    world.namespace("filter", &[]).await?;
    let (mut called, mut spared) = (0, 0);
    for text in images() {
        let is_ecr = matches!(ImageKind::of(&text), ImageKind::Private(_) | ImageKind::Invalid { ecr: true, .. });
        let looks_like_ecr = [".dkr.ecr", ".dkr-ecr"].iter().any(|part| text.to_ascii_lowercase().contains(part));
        ensure!(looks_like_ecr || !is_ecr, "the parser takes `{text}` for ECR, the filter cannot");
        for place in 0..3 {
            let mut candidate = pod("try", "default", "docker.io/library/busybox:1");
            match place {
                0 => candidate["spec"]["containers"][0]["image"] = json!(text),
                1 => candidate["spec"]["initContainers"] = json!([{"name": "init", "image": text}]),
                _ => candidate["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": text}}]),
            }
            let before = world.reviews()?;
            let answer = world.call("POST", &dry_pods("filter"), Some(&candidate)).await?;
            // White space around it, for example: the API server itself refuses it after admission or before.
            ensure!(answer.ok() || answer.code == 422, "`{text}`: {answer:?}");
            let calls = world.reviews()? - before;
            ensure!(
                !is_ecr || calls == 1 || answer.code == 422,
                "`{text}` in place {place}: {calls} calls, should be 1"
            );
            ensure!(looks_like_ecr || calls == 0, "`{text}` in place {place}: {calls} calls, should be 0");
            *(if is_ecr { &mut called } else { &mut spared }) += 1;
        }
    }
    ensure!(called > 150 && spared > 150, "too few to prove anything: {called} and {spared}");
    Ok(())
}

/// The same of the templates of workloads: one kind and one place for each image, by turns.
pub async fn every_ecr_image_of_a_template_reaches_the_webhook_and_no_other(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    world.namespace("filter-templates", &[]).await?;
    let kinds = KINDS.map(|(kind, ..)| kind);
    let mut called = 0;
    // Seven kinds and three places have no common divisor: every kind meets every place.
    for (turn, text) in images().into_iter().enumerate() {
        let is_ecr = matches!(ImageKind::of(&text), ImageKind::Private(_) | ImageKind::Invalid { ecr: true, .. });
        let looks_like_ecr = [".dkr.ecr", ".dkr-ecr"].iter().any(|part| text.to_ascii_lowercase().contains(part));
        let kind = kinds[turn % kinds.len()];
        let mut candidate = pod("", "default", "docker.io/library/busybox:1")["spec"].clone();
        match turn % 3 {
            0 => candidate["containers"][0]["image"] = json!(text),
            1 => candidate["initContainers"] = json!([{"name": "init", "image": text}]),
            _ => candidate["volumes"] = json!([{"name": "v", "image": {"reference": text}}]),
        }
        let path = format!("{}?dryRun=All", path(kind, "filter-templates"));
        let before = world.reviews_of("workloads.ecraccess.dev")?;
        let answer = world.call("POST", &path, Some(&workload(kind, "try", candidate))).await?;
        ensure!(answer.ok() || answer.code == 422, "`{text}`: {answer:?}");
        let calls = world.reviews_of("workloads.ecraccess.dev")? - before;
        ensure!(!is_ecr || calls == 1 || answer.code == 422, "`{text}` in a {kind}: {calls} calls, should be 1");
        ensure!(looks_like_ecr || calls == 0, "`{text}` in a {kind}: {calls} calls, should be 0");
        called += calls;
    }
    ensure!(called > 150, "too few to prove anything: {called}");
    Ok(())
}

/// Hosts of every form, their neighbours, and what people mistype.
fn images() -> Vec<String> {
    let mut images = Vec::new();
    let regions = [
        "us-east-1",
        "eu-central-1",
        "us-gov-west-1",
        "cn-north-1",
        "us-iso-east-1",
        "us-isob-east-1",
        "eu-isoe-west-1",
        "us-isof-south-1",
        "eusc-de-east-1",
        "ap-southeast-7",
    ];
    let suffixes = [
        "amazonaws.com",
        "amazonaws.com.cn",
        "amazonaws.eu",
        "on.aws",
        "on.amazonwebservices.com.cn",
        "c2s.ic.gov",
        "sc2s.sgov.gov",
        "cloud.adc-e.uk",
        "csp.hci.ic.gov",
    ];
    for region in regions {
        for suffix in suffixes {
            for service in ["dkr.ecr", "dkr-ecr", "dkr.ecr-fips", "dkr-ecr-fips"] {
                images.push(format!("111122223333.{service}.{region}.{suffix}/team/app:1"));
            }
        }
    }
    let upper = REGISTRY.to_ascii_uppercase();
    let digest = "a".repeat(64);
    images.extend([
        format!("{upper}/app"),
        format!("{REGISTRY}:443/app"),
        format!("{REGISTRY}/app@sha256:{digest}"),
        format!("{REGISTRY}/app:tag@sha256:{digest}"),
        format!("{REGISTRY}/a/b/c/d"),
        format!("{REGISTRY}/App"),
        format!("{REGISTRY}/a"),
        format!("{REGISTRY}/"),
        REGISTRY.to_owned(),
        format!("https://{REGISTRY}/app"),
        format!("{REGISTRY}./app"),
        format!("{REGISTRY}.evil.example/app"),
        format!("evil.example/{REGISTRY}/app"),
        format!("1{REGISTRY}/app"),
        "11112222333.dkr.ecr.us-east-1.amazonaws.com/app".to_owned(),
    ]);
    let others = [
        "busybox",
        "busybox:1",
        "library/busybox",
        "docker.io/library/busybox",
        "quay.io/a/b:1",
        "ghcr.io/a/b",
        "public.ecr.aws/docker/library/busybox:1",
        "ecr-public.aws.com/a/b",
        "registry.k8s.io/pause:3.10",
        "localhost:5000/a",
        "10.0.0.1:5000/a",
        "[::1]:5000/a",
        "602401143452.dkr.amazonaws.com/eks/pause",
        "ecr.us-east-1.amazonaws.com/a",
        "api.ecr.us-east-1.amazonaws.com/a",
        "dkr.ecr.us-east-1.amazonaws.com/a",
        "111122223333.ecr.us-east-1.amazonaws.com/a",
        "111122223333.dkrXecr.us-east-1.amazonaws.com/a",
        "111122223333.dkr.ecs.us-east-1.amazonaws.com/a",
        "111122223333.dkr/ecr/a",
        "a.b.c/dkr.ecr/app",
        "gcr.io/dkr-ecr/app",
        "x.y/z.dkr_ecr.a/b",
        "mirror.example/ecr/app",
        "a/b@sha256:0000",
    ];
    images.extend(others.map(str::to_owned));
    let mut seed = 7_u64;
    for _ in 0..40 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        images.push(format!(
            "registry-{:x}.example.com/app-{:x}:{:x}",
            seed >> 50,
            (seed >> 30) & 0xff,
            (seed >> 20) & 0xff
        ));
    }
    images
}

/// Without endpoints nobody is refused, and nobody waits long.
pub async fn nobody_is_locked_out_without_the_operator(world: &World) -> Result<()> {
    world.namespace("down", &["api"]).await?;
    world.policy("down", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("down", "api", &image("bad")).await?;
    release::upgrade(world, &["--set=replicaCount=0"])?;
    world.operator_ready(0).await?;
    world
        .eventually(PATIENCE, "the operator's processes end", async || Ok(world.cluster.replicas().is_empty()))
        .await?;
    for namespace in ["down", "default", "kube-system", RELEASE] {
        let account = if namespace == "down" { "api" } else { "default" };
        let begin = std::time::Instant::now();
        let answer = world.try_pod(namespace, account, &image("bad")).await?;
        ensure!(answer.ok(), "{namespace}: {answer:?}");
        ensure!(begin.elapsed() < Duration::from_secs(4), "{namespace}: it took {:?}", begin.elapsed());
    }
    // A policy can still be written, by the schema's rules alone.
    world.policy("down", "pull", spec(pull_document(&["better"]))).await?;
    release::upgrade(world, &[])?;
    world.operator_ready(2).await.context("it comes back")?;
    world.until_refused("down", "api", &image("good")).await.map(drop)
}
