//! What Helm installs, changes and takes away.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::runbook;
use crate::harness::Cluster;
use crate::world::{PATIENCE, RELEASE, World, golden, image, pods, pull_document, spec};

/// The rights of the operator, in its own namespace and in others, equal a list that somebody reviewed.
pub async fn rights(world: &World) -> Result<()> {
    let user = format!("--as=system:serviceaccount:{RELEASE}:{RELEASE}");
    for (namespace, file) in
        [(RELEASE, "cluster/rights-own-namespace.txt"), ("default", "cluster/rights-elsewhere.txt")]
    {
        let table = world.cluster.kubectl(&["auth", "can-i", "--list", "-n", namespace, &user])?;
        let mut lines: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.get_mut(1..).context("rows")?.sort();
        golden(file, &format!("{}\n", lines.join("\n")))?;
    }
    // A Secret of somebody else, and writing a pod, in so many words.
    for question in [
        ["get", "secrets/somebody-elses", RELEASE],
        ["list", "secrets", RELEASE],
        ["get", "secrets", "default"],
        ["create", "pods", "default"],
        ["update", "pods", "default"],
        ["create", "secrets", RELEASE],
    ] {
        let [verb, resource, namespace] = question;
        let answer = world.cluster.kubectl_output(&["auth", "can-i", verb, resource, "-n", namespace, &user], None)?;
        ensure!(String::from_utf8_lossy(&answer.stdout).trim() == "no", "{question:?}: {answer:?}");
    }
    Ok(())
}

/// After the operator wrote what it writes, applying the render again would change nothing.
pub async fn render_equals_the_live_objects(world: &World) -> Result<()> {
    let mut arguments = vec!["template".to_owned(), RELEASE.to_owned(), crate::chart().display().to_string()];
    arguments.extend(["--namespace", RELEASE].map(str::to_owned));
    arguments.extend(crate::image_arguments()?);
    let render = world.cluster.helm(&arguments)?;
    ensure!(render == world.cluster.helm(&arguments)?, "two renders differ");
    // Each object says its namespace: one Role is for the namespace `default`. `helm template` says `Helm` as the manager, as the installed objects do.
    let output = world.cluster.kubectl_output(&["diff", "--server-side", "-f", "-"], Some(&render))?;
    ensure!(
        output.status.code() == Some(0),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let live = world
        .must("GET", &format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{RELEASE}"), None)
        .await?;
    let bundles = live["webhooks"].as_array().context("webhooks")?;
    ensure!(bundles.iter().all(|webhook| webhook["clientConfig"]["caBundle"].is_string()), "no caBundle in {live}");
    Ok(())
}

pub async fn upgrade_with_changed_values(world: &World) -> Result<()> {
    world.namespace("upgrade", &["api"]).await?;
    world.policy("upgrade", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("upgrade", "api", &image("bad")).await?;
    upgrade(world, &["--set=maxAction=Warn", "--set=replicaCount=1", "--set=webhook.timeoutSeconds=5"])?;
    // The API server keeps its connections to the old replicas, with the old values, until those have gone.
    world.operator_settled(1).await?;
    let hold = async || Ok(world.try_pod("upgrade", "api", &image("bad")).await?.code == 201);
    world.eventually(PATIENCE, "the new values hold", hold).await?;
    let warned = world.pod("upgrade", "app", "api", &image("bad")).await?;
    warned.warned_with(&[&image("bad")])?;
    let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{RELEASE}");
    let live = world.must("GET", &path, None).await?;
    ensure!(live["webhooks"][0]["timeoutSeconds"] == 5, "{live}");
    ensure!(live["webhooks"][0]["clientConfig"]["caBundle"].is_string(), "the upgrade took the caBundle away: {live}");
    world.must("DELETE", &format!("{}/app?gracePeriodSeconds=0", pods("upgrade")), None).await?;

    upgrade(world, &[])?;
    world.operator_settled(2).await?;
    let refused = async || Ok(world.try_pod("upgrade", "api", &image("bad")).await?.code == 403);
    world.eventually(PATIENCE, "the new values hold", refused).await?;
    world.until_refused("upgrade", "api", &image("bad")).await.map(drop)
}

/// Upgrades the release to the chart's defaults and `values`.
pub fn upgrade(world: &World, values: &[&str]) -> Result<()> {
    let mut arguments = vec!["upgrade".to_owned(), RELEASE.to_owned(), crate::chart().display().to_string()];
    arguments.extend(["--namespace", RELEASE, "--reset-values"].map(str::to_owned));
    arguments.extend(crate::image_arguments()?);
    arguments.extend(values.iter().map(|value| (*value).to_owned()));
    world.cluster.helm(&arguments).map(drop)
}

/// Uninstalls, and compares everything in the cluster with how it was before the installation.
pub async fn uninstall(world: &World, before: &BTreeSet<String>) -> Result<()> {
    // What the tests made, first.
    let list = world.must("GET", "/api/v1/namespaces", None).await?;
    let names = list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str());
    let kept = ["default", "kube-system", "kube-public", "kube-node-lease", RELEASE];
    let ours: Vec<&str> = names.filter(|name| !kept.contains(name)).collect();
    if world.cluster.is_own() {
        let now = json!({"gracePeriodSeconds": 0});
        for name in &ours {
            world.must("DELETE", &pods(name), Some(&now)).await?;
            // One that a scenario took away may be gone since the list was made.
            let path = format!("/api/v1/namespaces/{name}");
            let answer = world.call("DELETE", &path, None).await?;
            ensure!(answer.code / 100 == 2 || answer.code == 404, "DELETE {path}: {answer:?}");
        }
        world
            .eventually(PATIENCE, "the tests' namespaces go", async || {
                let list = world.must("GET", "/api/v1/namespaces", None).await?;
                Ok(list["items"].as_array().is_some_and(|items| items.len() == kept.len()))
            })
            .await?;
    }

    runbook::at_the_end(world, "Uninstall", 0)?;
    // No webhook configuration, so nothing in anybody's way, at once.
    let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{RELEASE}");
    ensure!(world.call("GET", &path, None).await?.code == 404, "the webhook configuration is still there");
    if !world.cluster.is_own() {
        println!("    (leftovers are not looked for in a cluster that others use)");
        return Ok(());
    }
    // `helm install --create-namespace` made it, and Helm leaves it.
    runbook::at_the_end(world, "Uninstall", 1)?;
    let mut left = Vec::new();
    let result = world
        .eventually(PATIENCE, "nothing is left", async || {
            left = objects(&world.cluster)?.difference(before).cloned().collect();
            left.retain(|object| !expected_leftover(object));
            Ok(left.is_empty() && world.cluster.replicas().is_empty())
        })
        .await;
    result.map(drop).with_context(|| left.join(", "))
}

/// The definitions, kept so that nobody's policies are lost, and what the cluster itself makes meanwhile.
fn expected_leftover(object: &str) -> bool {
    let definition = object.starts_with("customresourcedefinition.apiextensions.k8s.io/");
    if definition && object.ends_with("ecraccesspolicies.ecraccess.dev") {
        return true;
    }
    let by_the_controllers = ["/kube-system/", "/kube-public/", "/kube-node-lease/", "/default/"];
    object == "apiservice.apiregistration.k8s.io/v1alpha1.ecraccess.dev"
        || object.starts_with("clustertrustbundle.certificates.k8s.io/kubernetes.io:")
        || !object.contains(RELEASE) && by_the_controllers.iter().any(|place| object.contains(place))
}

/// The names of all objects in the cluster, but for what comes and goes by itself.
pub fn objects(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let resources = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"])?;
    let resources: Vec<&str> = resources
        .lines()
        .filter(|name| !name.starts_with("events") && !name.starts_with("componentstatuses"))
        .collect();
    let list = cluster.kubectl(&[
        "get",
        &resources.join(","),
        "-A",
        "--ignore-not-found",
        "-o",
        "jsonpath={range .items[*]}{.apiVersion}|{.kind}|{.metadata.namespace}|{.metadata.name}{\"\\n\"}{end}",
    ])?;
    Ok(list
        .lines()
        .filter_map(|line| {
            let [version, kind, namespace, name] = line.split('|').collect::<Vec<_>>().try_into().ok()?;
            let group = version.split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
            let place = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
            Some(format!("{}{group}/{place}{name}", kind.to_ascii_lowercase()))
        })
        .collect())
}
