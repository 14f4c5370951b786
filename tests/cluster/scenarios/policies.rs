//! What happens to policy objects, and how fast they take effect.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::world::{World, data, golden, image, policies, pull_document, spec};

/// Each object of `tests/data/refused`, with the API server's whole answer beside it.
pub async fn refused_by_the_schema(world: &World) -> Result<()> {
    let mut files: Vec<_> =
        std::fs::read_dir(data("refused"))?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(files.len() >= 12, "only {} objects", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().context("a name")?.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file)?;
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: ")).context("# expect:")?;
        let object: Value = serde_saphyr::from_str(&text).with_context(|| name.clone())?;
        let path = match object["kind"].as_str() {
            Some("ClusterEcrAccessPolicy") => "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies".to_owned(),
            _ => policies("default"),
        };
        let answer = world.call("POST", &format!("{path}?fieldValidation=Strict"), Some(&object)).await?;
        let verdict = if answer.code < 400 {
            Err(anyhow::anyhow!("it was taken"))
        } else if !answer.message().contains(expected) {
            Err(anyhow::anyhow!("expected `{expected}`, not: {}", answer.message()))
        } else {
            golden(&format!("refused/{name}.txt"), &format!("{}\n", answer.message()))
        };
        if let Err(error) = verdict {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
    Ok(())
}

pub async fn malformed_documents_are_refused(world: &World) -> Result<()> {
    world.namespace("malformed", &[]).await?;
    world.policy("malformed", "good", spec(pull_document(&["good"]))).await?;
    for (name, document, parts) in [
        (
            "effect",
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "ecr:*", "Resource": "*"}]}),
            ["policies[0].document", "$.Statement[0].Effect: `allow`"],
        ),
        ("text", json!("{\"Version\": \"2012-10-17\", \"Statement\": ["), ["policies[0].document", "$"]),
        (
            "duplicate",
            json!(
                "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Effect\": \"Deny\", \"Action\": \"ecr:*\", \"Resource\": \"*\"}]}"
            ),
            ["policies[0].document", "$.Statement[0]"],
        ),
    ] {
        let answer = world.try_policy("malformed", name, spec(document.clone())).await?;
        ensure!(
            !answer.ok()
                && answer.message().starts_with("admission webhook \"policies.ecraccess.dev\" denied the request: "),
            "{name}: {answer:?}"
        );
        ensure!(parts.iter().all(|part| answer.message().contains(part)), "{name}: {parts:?} in {}", answer.message());
        golden(&format!("cluster/malformed-{name}.txt"), &format!("{}\n", answer.message()))?;
        // The same as an edit of a good one; that stays in force.
        ensure!(!world.try_policy("malformed", "good", spec(document)).await?.ok(), "{name}: the edit was taken");
    }
    world.until_refused("malformed", "default", &image("bad")).await.map(drop)
}

pub async fn an_edit_flips_the_verdict(world: &World) -> Result<()> {
    world.namespace("edit", &["api"]).await?;
    for _ in 0..10 {
        world.policy("edit", "pull", spec(pull_document(&["one"]))).await?;
        world.until_refused("edit", "api", &image("two")).await?;
        world.policy("edit", "pull", spec(pull_document(&["two"]))).await?;
        // The fix is read afresh before a refusal leaves: no waiting at all.
        world.try_pod("edit", "api", &image("two")).await?.admitted()?;
        world.until_refused("edit", "api", &image("one")).await?;
    }

    // A service account's annotation decides as well.
    let mut by_role = json!({"puller": {"serviceAccount": {"roles": [
        {"arn": "arn:aws:iam::111122223333:role/one", "identity": {"policies": [{"name": "p", "document": pull_document(&["one"])}]}},
        {"arn": "arn:aws:iam::111122223333:role/two", "identity": {"policies": [{"name": "p", "document": pull_document(&["two"])}]}},
    ]}}});
    by_role["serviceAccounts"] = json!({"names": ["annotated"]});
    world.policy("edit", "by-role", by_role).await?;
    let role = |name: &str| json!({"eks.amazonaws.com/ecr-role-arn": format!("arn:aws:iam::111122223333:role/{name}")});
    world.service_account("edit", "annotated", role("one")).await?;
    world.until_refused("edit", "annotated", &image("two")).await?;
    let path = "/api/v1/namespaces/edit/serviceaccounts/annotated";
    world.must("PATCH", path, Some(&json!({"metadata": {"annotations": role("two")}}))).await?;
    world.try_pod("edit", "annotated", &image("two")).await?.admitted()?;
    world.until_refused("edit", "annotated", &image("one")).await.map(drop)
}

pub async fn deleted(world: &World) -> Result<()> {
    world.namespace("deleted", &["api"]).await?;
    world.policy("deleted", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("deleted", "api", &image("bad")).await?;
    world.must("DELETE", &format!("{}/pull", policies("deleted")), None).await?;
    // A policy that is gone refuses nobody, from the next moment on.
    world.try_pod("deleted", "api", &image("bad")).await?.admitted()?;
    world.until_admitted("deleted", "api", &image("bad")).await.map(drop)
}

pub async fn status_and_columns(world: &World) -> Result<()> {
    world.namespace("status", &["api"]).await?;
    world.pod("status", "denied", "api", &image("bad")).await?.admitted()?;
    world.pod("status", "allowed", "api", &image("good")).await?.admitted()?;
    world.pod("status", "elsewhere", "api", "docker.io/library/busybox:1").await?.admitted()?;
    world.policy("status", "pull", spec(pull_document(&["good"]))).await?;
    let mut status = world.settled_status("status", "pull").await?;
    // Conditions come within a second, counts alone at most every 10 s.
    world
        .eventually(std::time::Duration::from_secs(15), "the pods are counted", async || {
            status = world.settled_status("status", "pull").await?;
            Ok(status["pods"]["denied"] == 1)
        })
        .await
        .with_context(|| status.to_string())?;
    ensure!(status["pods"]["unknown"] == 0, "{status}");
    let ready = condition(&status, "Ready").context("condition Ready")?;
    ensure!(ready["status"] == "True" && ready["observedGeneration"] == 1, "{ready}");
    ensure!(condition(&status, "PoliciesResolved").is_some_and(|found| found["status"] == "True"), "{status}");
    ensure!(condition(&status, "Conflicted").is_some_and(|found| found["status"] == "False"), "{status}");
    let denial = &status["denials"][0];
    ensure!(
        denial["pod"] == "denied" && denial["serviceAccount"] == "api" && denial["action"] == "ecr:BatchGetImage",
        "{status}"
    );

    let table = world.cluster.kubectl(&["get", "eap", "-n", "status"])?;
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().context("a head")?;
    ensure!(head == ["NAME", "READY", "ALLOWED", "DENIED", "UNKNOWN", "ONDENY", "AGE"], "{table}");
    let row = lines.next().context("a row")?;
    ensure!(row.get(1) == Some(&"True") && row.get(3) == Some(&"1"), "{table}");

    // A managed policy that this binary does not have: known by its name, and said.
    let foreign = json!({"puller": {"serviceAccount": {"identity": {"policies": [
        {"name": "ours", "managedPolicyArn": "arn:aws:iam::111122223333:policy/ours"}]}}}});
    world.policy("status", "pull", foreign).await?;
    let status = world.settled_status("status", "pull").await?;
    ensure!(condition(&status, "PoliciesResolved").is_some_and(|found| found["status"] == "False"), "{status}");
    ensure!(condition(&status, "Ready").is_some_and(|found| found["observedGeneration"] == 2), "{status}");
    Ok(())
}

pub async fn a_cluster_policy(world: &World) -> Result<()> {
    world.namespace("cluster-in", &["api"]).await?;
    world.namespace("cluster-out", &["api"]).await?;
    let label = json!({"metadata": {"labels": {"team": "payments"}}});
    world.must("PATCH", "/api/v1/namespaces/cluster-in", Some(&label)).await?;
    let mut policy = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy", "metadata": {"name": "payments"},
        "spec": {"puller": {"role": {"arn": "arn:aws:iam::111122223333:role/node", "identity": {"policies": [
            {"name": "pull-only", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}]}}}},
    });
    policy["spec"]["namespaceSelector"] = json!({"matchLabels": {"team": "payments"}});
    let path = "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies";
    world.must("POST", path, Some(&policy)).await?;
    // The managed policy may pull everything of its own account. Of a foreign one it is the registry that decides.
    let foreign = "444455556666.dkr.ecr.us-east-1.amazonaws.com/app:1";
    world.until("cluster-in", "api", foreign, "Unknown", |answer| answer.warned_with(&[foreign]).is_ok()).await?;
    world.try_pod("cluster-in", "api", &image("any")).await?.admitted()?;
    world.try_pod("cluster-out", "api", foreign).await?.admitted()?;
    // A policy of the namespace wins.
    world.policy("cluster-in", "own", spec(pull_document(&["good"]))).await?;
    world.until_refused("cluster-in", "api", &image("any")).await?;
    world.must("DELETE", &format!("{path}/payments"), None).await.map(drop)
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}
