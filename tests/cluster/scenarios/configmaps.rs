//! Policy documents in ConfigMaps: when they count, and what is said when they do not.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::races::{TIMES, apply};
use crate::canary::canary;
use crate::world::{Answer, IN_FORCE, World, image, pod, policies, pull_document, spec_of};

const LABEL: &str = "ecraccess.dev/policy-document";

fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn config_map(namespace: &str, name: &str, document: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: "true"},
            "annotations": {"example.com/note": canary("annotation")}},
        "data": {"app.json": document},
    })
}

/// A policy whose one document is in ConfigMap `iam`.
fn spec(reference: Value) -> Value {
    spec_of(json!([{"name": "shared", "configMapKeyRef": reference}]))
}

fn own() -> Value {
    spec(json!({"name": "iam", "key": "app.json"}))
}

fn document(repository: &str) -> String {
    pull_document(&[repository]).to_string()
}

async fn set(world: &World, namespace: &str, document: &str) -> Result<()> {
    let change = json!({"data": {"app.json": document}});
    world.must("PATCH", &format!("{}/iam", path(namespace)), Some(&change)).await.map(drop)
}

/// Waits until pods of `api` get a warning with these parts, from every replica, and status says the same.
async fn until_unknown(world: &World, namespace: &str, reason: &str, parts: &[&str]) -> Result<Duration> {
    let took = world
        .until(namespace, "api", &image("good"), &format!("Unknown: {parts:?}"), |answer| {
            answer.warned_with(parts).is_ok()
        })
        .await?;
    let mut status = Value::Null;
    let said = world
        .eventually(IN_FORCE, &format!("PoliciesResolved is False, {reason}"), async || {
            status = world.settled_status(namespace, "pull").await?;
            let found = condition(&status, "PoliciesResolved").context("condition PoliciesResolved")?;
            Ok(found["status"] == "False" && found["reason"] == reason)
        })
        .await;
    said.with_context(|| status.to_string())?;
    Ok(took)
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// `until` asks for a second at most, through the API server and each replica by itself.
pub async fn an_edit_is_in_force_within_a_second(world: &World) -> Result<()> {
    world.namespace("cm-edit", &["api"]).await?;
    world.must("POST", &path("cm-edit"), Some(&config_map("cm-edit", "iam", &document("one")))).await?;
    world.policy("cm-edit", "pull", own()).await?;
    world.until_refused("cm-edit", "api", &image("two")).await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        for (allowed, refused) in [("two", "one"), ("one", "two")] {
            set(world, "cm-edit", &document(allowed)).await?;
            // The fix is read afresh before a refusal leaves: no waiting at all.
            world.try_pod("cm-edit", "api", &image(allowed)).await?.admitted()?;
            slowest = slowest.max(world.until_refused("cm-edit", "api", &image(refused)).await?);
        }
    }
    println!("    the slowest of 20 edits was in force after {} ms", slowest.as_millis());
    Ok(())
}

/// Missing, without the label, without the key, malformed, fixed; then each step back.
pub async fn what_is_wrong_is_said_with_the_way_out(world: &World) -> Result<()> {
    let namespace = "cm-trouble";
    world.namespace(namespace, &["api"]).await?;
    world.policy(namespace, "pull", own()).await?;
    let labelling = "kubectl label configmap -n cm-trouble iam ecraccess.dev/policy-document=true";
    let missing = ["there is no ConfigMap cm-trouble/iam with the label", "[ConfigMapNotFound]", labelling];
    until_unknown(world, namespace, "ConfigMapNotFound", &missing).await?;

    // There, and without the label: the same words, and the command in them helps.
    let mut unlabelled = config_map(namespace, "iam", "{");
    unlabelled["metadata"]["labels"].take();
    world.must("POST", &path(namespace), Some(&unlabelled)).await?;
    until_unknown(world, namespace, "ConfigMapNotFound", &missing).await?;
    let words: Vec<&str> = labelling.split(' ').skip(1).collect();
    world.cluster.kubectl(&words)?;
    let malformed = [
        "policy shared is malformed: ConfigMap/cm-trouble/iam `$.data[\"app.json\"]`: not JSON",
        "[DocumentMalformed]",
    ];
    until_unknown(world, namespace, "InvalidDocument", &malformed).await?;

    let broken = document("good").replace("\"Allow\"", "\"allow\"");
    set(world, namespace, &broken).await?;
    until_unknown(world, namespace, "InvalidDocument", &["data[\"app.json\"].Statement[0].Effect"]).await?;
    let status = world.settled_status(namespace, "pull").await?;
    let ready = condition(&status, "Ready").context("condition Ready")?;
    ensure!(ready["status"] == "False" && ready["reason"] == "InvalidDocument", "{status}");

    set(world, namespace, &document("good")).await?;
    world.until_admitted(namespace, "api", &image("good")).await?;
    world.until_refused(namespace, "api", &image("bad")).await?;
    let mut status = Value::Null;
    let is_ready = world.eventually(IN_FORCE, "all is resolved", async || {
        status = world.settled_status(namespace, "pull").await?;
        let holds = |kind| condition(&status, kind).is_some_and(|found| found["status"] == "True");
        Ok(holds("Ready") && holds("PoliciesResolved"))
    });
    is_ready.await.with_context(|| status.to_string())?;

    // No better past is remembered: without the key, without the label, gone.
    let gone_key = json!({"data": {"app.json": null, "other.json": "{}"}});
    world.must("PATCH", &format!("{}/iam", path(namespace)), Some(&gone_key)).await?;
    until_unknown(world, namespace, "ConfigMapNotFound", &["has no key `app.json`: it has `other.json`"]).await?;
    set(world, namespace, &document("good")).await?;
    world.until_admitted(namespace, "api", &image("good")).await?;
    let gone_label = json!({"metadata": {"labels": {LABEL: null}}});
    world.must("PATCH", &format!("{}/iam", path(namespace)), Some(&gone_label)).await?;
    until_unknown(world, namespace, "ConfigMapNotFound", &missing).await?;
    world
        .must("PATCH", &format!("{}/iam", path(namespace)), Some(&json!({"metadata": {"labels": {LABEL: "true"}}})))
        .await?;
    world.until_admitted(namespace, "api", &image("good")).await?;
    world.must("DELETE", &format!("{}/iam", path(namespace)), None).await?;
    until_unknown(world, namespace, "ConfigMapNotFound", &missing).await?;
    world.must("DELETE", &format!("{}/pull", policies(namespace)), None).await.map(drop)
}

/// A policy that is not touched by it goes on, and so does the rest of one that is.
pub async fn trouble_stays_where_it_is(world: &World) -> Result<()> {
    world.namespace("cm-apart", &["api", "other"]).await?;
    world.must("POST", &path("cm-apart"), Some(&config_map("cm-apart", "iam", "{"))).await?;
    world.must("POST", &path("cm-apart"), Some(&config_map("cm-apart", "fine", &document("good")))).await?;
    let mut other = spec(json!({"name": "fine", "key": "app.json"}));
    other["serviceAccounts"] = json!({"names": ["other"]});
    world.policy("cm-apart", "other", other).await?;
    let mut mixed = own();
    mixed["puller"]["serviceAccount"]["identity"]["policies"]
        .as_array_mut()
        .context("a list")?
        .push(json!({"name": "inline",
        "document": {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]}}));
    world.policy("cm-apart", "mixed", mixed).await?;
    world.until_admitted("cm-apart", "other", &image("good")).await?;
    world.until_refused("cm-apart", "other", &image("bad")).await?;
    // An explicit deny is one, whatever else may be written.
    world.until_refused("cm-apart", "api", &image("good")).await.map(drop)
}

pub async fn a_cluster_policy_reads_another_namespace(world: &World) -> Result<()> {
    world.namespace("cm-platform", &[]).await?;
    world.namespace("cm-tenant", &["api"]).await?;
    let guard = json!({"Version": "2012-10-17", "Statement": [{"Sid": "NoLegacy", "Effect": "Deny", "Principal": "*",
        "Action": "ecr:BatchGetImage", "Resource": "arn:aws:ecr:*:*:repository/legacy"}]});
    let mut iam = config_map("cm-platform", "iam", &document("*"));
    iam["data"]["registry.json"] = json!(guard.to_string());
    world.must("POST", &path("cm-platform"), Some(&iam)).await?;
    // One of the same name in the tenant's namespace means nothing.
    world.must("POST", &path("cm-tenant"), Some(&config_map("cm-tenant", "iam", "{"))).await?;
    let reference = |key: &str| json!({"namespace": "cm-platform", "name": "iam", "key": key});
    let mut policy = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy", "metadata": {"name": "cm-platform"},
        "spec": spec(reference("app.json")),
    });
    policy["spec"]["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "cm-tenant"}});
    policy["spec"]["registries"] =
        json!([{"accountId": "111122223333", "policy": {"configMapKeyRef": reference("registry.json")}}]);
    let all = "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies";
    world.must("POST", all, Some(&policy)).await?;
    world.until_refused("cm-tenant", "api", &image("legacy")).await?;
    let answer = world.try_pod("cm-tenant", "api", &image("legacy")).await?;
    answer.refused_with(&["statement NoLegacy of registry policy", "[ExplicitDeny]"])?;
    world.try_pod("cm-tenant", "api", &image("good")).await?.admitted()?;
    world.must("DELETE", &format!("{all}/cm-platform"), None).await.map(drop)
}

pub async fn a_fix_and_its_pod_in_one_apply(world: &World) -> Result<()> {
    world.namespace("cm-fix", &["api"]).await?;
    world.must("POST", &path("cm-fix"), Some(&config_map("cm-fix", "iam", &document("nothing")))).await?;
    world.policy("cm-fix", "pull", own()).await?;
    for round in 0..TIMES {
        let fixed = format!("after-{round}");
        world.until_refused("cm-fix", "api", &image(&fixed)).await?;
        let mut pod = pod(&format!("app-{round}"), "api", &image(&fixed));
        pod["metadata"]["namespace"] = json!("cm-fix");
        apply(world, &[config_map("cm-fix", "iam", &document(&fixed)), pod])
            .with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// What a rejection rests on is read afresh: the ConfigMap that lets nothing pull any more, and one that is gone.
pub async fn no_refusal_rests_on_what_is_gone(world: &World) -> Result<()> {
    world.namespace("cm-gone", &["api"]).await?;
    world.policy("cm-gone", "pull", own()).await?;
    for round in 0..20 {
        world.must("POST", &path("cm-gone"), Some(&config_map("cm-gone", "iam", &document("one")))).await?;
        world.until_refused("cm-gone", "api", &image("two")).await?;
        world.must("DELETE", &format!("{}/iam", path("cm-gone")), None).await?;
        let answer: Answer = world.try_pod("cm-gone", "api", &image("two")).await?;
        ensure!(answer.ok(), "round {round}: {answer:?}");
    }
    Ok(())
}
