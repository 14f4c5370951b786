//! Objects that arrive together: no verdict may be made from a memory that is behind.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::world::{World, image, pod, policies, pull_document, spec};

pub const TIMES: usize = 50;

pub async fn a_fix_and_its_pod_in_one_apply(world: &World) -> Result<()> {
    world.namespace("fix", &["api"]).await?;
    for round in 0..TIMES {
        let (broken, fixed) = (format!("before-{round}"), format!("after-{round}"));
        world.policy("fix", "pull", spec(pull_document(&[&broken]))).await?;
        world.until_refused("fix", "api", &image(&fixed)).await?;
        let policy = json!({
            "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
            "metadata": {"name": "pull", "namespace": "fix"}, "spec": spec(pull_document(&[&fixed])),
        });
        let mut pod = pod(&format!("app-{round}"), "api", &image(&fixed));
        pod["metadata"]["namespace"] = json!("fix");
        apply(world, &[policy, pod]).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

pub async fn a_namespace_an_account_and_a_pod_in_one_apply(world: &World) -> Result<()> {
    // One policy for the namespaces to come; which repository an account may pull from says its annotation.
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let policy = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy", "metadata": {"name": "together"},
        "spec": {
            "namespaceSelector": {"matchLabels": {"together": "yes"}},
            "puller": {"serviceAccount": {"roles": [
                {"arn": role("good"), "identity": {"policies": [{"name": "p", "document": pull_document(&["good"])}]}},
                {"arn": role("bad"), "identity": {"policies": [{"name": "p", "document": pull_document(&["other"])}]}},
            ]}},
        },
    });
    let path = "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies";
    world.must("POST", path, Some(&policy)).await?;
    world.namespace("together", &[]).await?;
    world
        .must("PATCH", "/api/v1/namespaces/together", Some(&json!({"metadata": {"labels": {"together": "yes"}}})))
        .await?;
    world.service_account("together", "probe", json!({"eks.amazonaws.com/ecr-role-arn": role("bad")})).await?;
    world.until_refused("together", "probe", &image("good")).await?;

    for round in 0..TIMES {
        let name = format!("together-{round}");
        let allowed = round % 2 == 0;
        let annotations = json!({"eks.amazonaws.com/ecr-role-arn": role(if allowed { "good" } else { "bad" })});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"together": "yes"}}});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "api", "namespace": name, "annotations": annotations}});
        let mut pod = pod("app", "api", &image("good"));
        pod["metadata"]["namespace"] = json!(name);
        match apply(world, &[namespace, account, pod]) {
            Ok(()) => ensure!(allowed, "round {round}: admitted, with the role that may not pull"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(!allowed && text.contains("role/bad"), "round {round}: {text}");
            }
        }
    }
    world.must("DELETE", &format!("{path}/together"), None).await.map(drop)
}

pub async fn two_hundred_pods_at_once(world: &World) -> Result<()> {
    world.namespace("crowd", &["api"]).await?;
    world.policy("crowd", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("crowd", "api", &image("bad")).await?;
    let all = (0..200).map(async |index| {
        let good = index % 2 == 0;
        let answer =
            world.pod("crowd", &format!("pod-{index}"), "api", &image(if good { "good" } else { "bad" })).await?;
        let verdict = if good { answer.admitted() } else { answer.refused_with(&[&image("bad")]) };
        verdict.with_context(|| format!("pod {index}"))
    });
    try_join_all(all).await?;
    let listed = world.must("GET", &crate::world::pods("crowd"), None).await?;
    ensure!(listed["items"].as_array().is_some_and(|items| items.len() == 100), "100 pods are stored");
    world.must("DELETE", &format!("{}/pull", policies("crowd")), None).await.map(drop)
}

/// One `kubectl apply` of all objects, in the order given. A retry would hide what is tested, so there is none.
pub fn apply(world: &World, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let output = world.cluster.kubectl_output(&["apply", "-f", "-"], Some(&list))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let warnings = String::from_utf8_lossy(&output.stderr);
    ensure!(!warnings.contains("ECR") && !warnings.contains("ecr:"), "{warnings}");
    Ok(())
}
