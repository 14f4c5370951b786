//! What the logs hold when everything is asked for, and everything goes wrong that quotes what users wrote. The end of a
//! run searches them: see [`crate::canary`].

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::release::upgrade;
use super::workloads::{path, workload};
use crate::canary::canary;
use crate::harness::audit::Entry;
use crate::world::{PATIENCE, RELEASE, World, image, pod, pods, policies, pull_document, spec, spec_of};

const NAMESPACE: &str = "secrecy";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

/// Both replicas log all that they can, and the API server and strangers give them every reason to.
pub async fn no_level_and_no_error_brings_what_users_wrote_into_a_log(world: &World) -> Result<()> {
    let everything = [r#"--set-json=extraEnv=[{"name":"RUST_LOG","value":"trace"}]"#, "--set=log.level=trace"];
    upgrade(world, &everything)?;
    world.operator_ready(2).await?;
    until_logged(world, "\"target\":\"kube_client::client::builder\"").await?;

    world.namespace(NAMESPACE, &["api"]).await?;
    let account = json!({"eks.amazonaws.com/ecr-role-arm": canary("almost"), "note": canary("annotation")});
    world.service_account(NAMESPACE, "almost", account).await?;
    // Somebody's admission policies refuse what the leader writes, and say why by quoting it.
    refuse(world, "events", "events.k8s.io", "events", "CREATE", "object.note").await?;
    let mut document = pull_document(&["good"]);
    document["Statement"][1]["Sid"] = json!(canary("Sid"));
    document["Statement"][1]["Condition"] = json!({"StringEquals": {"aws:SourceVpc": canary("condition")}});
    world.policy(NAMESPACE, "pull", spec(document.clone())).await?;
    let denied = image(&canary("repository"));
    world.until_refused(NAMESPACE, "api", &denied).await?;
    let deployment = workload("Deployment", "web", pod("", "api", &denied)["spec"].clone());
    world.must("POST", &path("Deployment", NAMESPACE), Some(&deployment)).await?;
    until_logged(world, "cannot write an Event").await?;
    // What the next refusal quotes has to be there.
    let status = format!("{}/pull", policies(NAMESPACE));
    let told = async || Ok(world.must("GET", &status, None).await?["status"]["denials"][0]["image"].is_string());
    world.eventually(PATIENCE, "the denial stands in the status", told).await?;
    refuse(world, "statuses", "ecraccess.dev", "ecraccesspolicies/status", "UPDATE", "object.status.denials[0].image")
        .await?;
    let other = workload("Deployment", "other", pod("", "api", &image(&canary("other")))["spec"].clone());
    world.must("POST", &path("Deployment", NAMESPACE), Some(&other)).await?;
    until_logged(world, "cannot write the status").await?;

    // Documents that AWS would not take, in a ConfigMap where nobody refuses them.
    let config_maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "iam", "labels": {"ecraccess.dev/policy-document": "true"}},
        "data": {"a.json": format!("{{\"Version\": \"{}\"}}", canary("version")), "b.json": canary("json")},
    });
    world.must("POST", &config_maps, Some(&config_map)).await?;
    for key in ["a.json", "b.json"] {
        let reference = json!({"name": "shared", "configMapKeyRef": {"name": "iam", "key": key}});
        let spec = spec_of(json!([reference]));
        world.policy(NAMESPACE, &format!("by-{}", key.trim_end_matches(".json")), spec).await?;
    }

    let deep = too_deep(world).await?;
    reviews(world).await?;
    for text in ["a request was turned away", "an object was not understood", "a gap in memory could not be filled"] {
        until_logged(world, text).await?;
    }

    // The pod last: it is the leader alone who lists pods, and who leads next begins with that.
    for path in deep.iter().rev() {
        if path.ends_with("/pods/deep") {
            another_leads(world).await?;
        }
        world.must("DELETE", path, None).await?;
    }
    for name in ["events", "statuses"] {
        world.must("DELETE", &format!("{BINDINGS}/{NAMESPACE}-{name}"), None).await?;
        world.must("DELETE", &format!("{POLICIES}/{NAMESPACE}-{name}"), None).await?;
    }
    upgrade(world, &[])?;
    world.operator_ready(2).await
}

/// Waits until a replica has logged a line with `text`.
async fn until_logged(world: &World, text: &str) -> Result<()> {
    let logged = async || {
        let logs = world.cluster.replicas().into_iter().map(|replica| std::fs::read(replica.log));
        let logs: Vec<String> =
            logs.map(|log| Ok(String::from_utf8_lossy(&log?).into_owned())).collect::<Result<_>>()?;
        Ok(logs.iter().any(|log| log.contains(text)))
    };
    world.eventually(PATIENCE, &format!("a replica logs `{text}`"), logged).await.map(drop)
}

/// Refuses what is written to `resource` in the namespace, with the text that `quoted` stands for as the reason.
async fn refuse(world: &World, name: &str, group: &str, resource: &str, operation: &str, quoted: &str) -> Result<()> {
    let name = format!("{NAMESPACE}-{name}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "resourceRules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": [resource]}],
            },
            "validations": [{"expression": "false", "messageExpression": format!("'not this: ' + {quoted}")}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    world.must("POST", POLICIES, Some(&policy)).await?;
    world.must("POST", BINDINGS, Some(&binding)).await?;
    // It counts a moment later. What is tried has what the reason quotes.
    let (method, path, body) = if operation == "CREATE" {
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "try", "namespace": NAMESPACE},
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/test", "action": "Try",
            "reportingInstance": "test", "reason": "Try", "type": "Normal", "note": "a note",
            "regarding": {"kind": "Namespace", "name": NAMESPACE, "namespace": NAMESPACE},
        });
        ("POST", format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events?dryRun=All"), event)
    } else {
        let status = json!({"status": {"serviceAccounts": 77}});
        ("PATCH", format!("{}/pull/status?dryRun=All", policies(NAMESPACE)), status)
    };
    world
        .eventually(Duration::from_secs(30), "an admission policy is in force", async || {
            let answer = world.call(method, &path, Some(&body)).await?;
            ensure!(answer.ok() || answer.message().contains("not this: "), "refused for another reason: {answer:?}");
            Ok(!answer.ok())
        })
        .await
        .map(drop)
}

/// Objects that no decoder of JSON takes, among others that hold what nobody else may read. Returns their paths.
async fn too_deep(world: &World) -> Result<Vec<String>> {
    let neighbour = world.pod(NAMESPACE, "neighbour", "api", &image("good")).await?;
    ensure!(neighbour.ok(), "{neighbour:?}");
    let step = format!("{{\"f:{}\":", canary("key"));
    let nested = format!("{}{{}}{}", step.repeat(200), "}".repeat(200));
    let fields = format!(
        r#"[{{"manager":"{}","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{nested}}}]"#,
        canary("manager")
    );
    let mut paths = Vec::new();
    for (kind, plural, mut object) in [
        ("Pod", "pods", pod("deep", "api", &image("good"))),
        (
            "ServiceAccount",
            "serviceaccounts",
            json!({"metadata": {"name": "deep", "annotations": {"note": canary("deep")}}}),
        ),
        (
            "ConfigMap",
            "configmaps",
            json!({"metadata": {"name": "deep", "labels": {"ecraccess.dev/policy-document": "true"}}, "data": {"x": canary("deep")}}),
        ),
    ] {
        (object["apiVersion"], object["kind"]) = (json!("v1"), json!(kind));
        object["metadata"]["managedFields"] = json!("HERE");
        let text = object.to_string().replace("\"HERE\"", &fields);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/{plural}");
        let answer = world.call_as("POST", &path, "application/json", text.into_bytes()).await?;
        ensure!(answer.ok(), "{kind}: {answer:?}");
        paths.push(format!("{path}/deep"));
        // Whoever watches this kind is told of it, and a new watch begins with a list that has it.
        let touched = json!({"metadata": {"labels": {"touched": "yes"}}});
        if kind != "Pod" {
            world.must("PATCH", &format!("{path}/deep"), Some(&touched)).await?;
        }
    }
    // With the deep account, which is read again before a refusal leaves.
    for account in ["deep", "almost"] {
        world.try_pod(NAMESPACE, account, &image(&canary("tried"))).await?;
    }
    Ok(paths)
}

/// Lets the leader go, and waits until the next one has listed all pods.
async fn another_leads(world: &World) -> Result<()> {
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{RELEASE}/leases/{RELEASE}-leader");
    let leader = world.must("GET", &lease, None).await?["spec"]["holderIdentity"].clone();
    let leader = leader.as_str().filter(|leader| !leader.is_empty()).context("somebody leads")?.to_owned();
    let since = jiff::Timestamp::now();
    world.must("DELETE", &format!("{}/{leader}", pods(RELEASE)), None).await?;
    let listed = async || {
        let of_pods = |entry: &Entry| entry.verb == "list" && entry.resource == "pods" && entry.at > since;
        Ok(world.cluster.audit()?.iter().any(|entry| entry.pod != leader && of_pods(entry)))
    };
    world.eventually(PATIENCE, "the next leader lists pods", listed).await.map(drop)
}

/// Reviews as a stranger sends them, to each replica.
async fn reviews(world: &World) -> Result<()> {
    let review = |object: Value| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "asked-by-a-test", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": NAMESPACE, "name": "forged", "object": object,
        }})
    };
    let mut wrong_kind = review(Value::Null);
    wrong_kind["request"]["kind"] = json!(canary("kind"));
    let no_name = format!("{}_", canary("account"));
    let bodies = [
        wrong_kind.to_string(),
        canary("body"),
        format!("{{\"apiVersion\": \"admission.k8s.io/v1\", \"{}\": [}}", canary("key")),
        review(json!({"spec": {"containers": canary("containers")}})).to_string(),
        review(json!({"spec": {"serviceAccountName": [canary("account")], "containers": []}})).to_string(),
        review(pod("forged", &no_name, &image(&canary("forged")))).to_string(),
    ];
    for replica in world.cluster.replicas() {
        for webhook in ["pods", "workloads", "policies"] {
            let path = format!("{}/https:{}:9443/proxy/validate/{webhook}", pods(RELEASE), replica.pod);
            for body in &bodies {
                world.call_as("POST", &path, "application/json", body.clone().into_bytes()).await?;
            }
        }
    }
    Ok(())
}
