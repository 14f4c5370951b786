//! What is said to whoever applies a workload.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::world::{Answer, PATIENCE, RELEASE, World, image, pod, pull_document, spec};

/// The kinds, with the path of their resource.
pub const KINDS: [(&str, &str, &str); 7] = [
    ("Deployment", "apis/apps/v1", "deployments"),
    ("ReplicaSet", "apis/apps/v1", "replicasets"),
    ("StatefulSet", "apis/apps/v1", "statefulsets"),
    ("DaemonSet", "apis/apps/v1", "daemonsets"),
    ("Job", "apis/batch/v1", "jobs"),
    ("CronJob", "apis/batch/v1", "cronjobs"),
    ("ReplicationController", "api/v1", "replicationcontrollers"),
];

/// Where the objects of a kind are.
pub fn path(kind: &str, namespace: &str) -> String {
    let (_, version, resource) = KINDS.iter().find(|(known, ..)| *known == kind).expect("a workload");
    format!("/{version}/namespaces/{namespace}/{resource}")
}

/// A workload that makes no pods yet, with this pod spec.
pub fn workload(kind: &str, name: &str, mut pod_spec: Value) -> Value {
    match kind {
        "Job" | "CronJob" => pod_spec["restartPolicy"] = json!("Never"),
        // There are nodes, and it would make pods on them.
        "DaemonSet" => pod_spec["nodeSelector"] = json!({"on": "no-node"}),
        _ => {}
    }
    let (_, version, _) = KINDS.iter().find(|(known, ..)| *known == kind).expect("a workload");
    let version = version.rsplit_once("apis/").map_or("v1", |(_, version)| version);
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec});
    let spec = match kind {
        "Deployment" | "ReplicaSet" => {
            json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template})
        }
        "StatefulSet" => {
            json!({"replicas": 0, "serviceName": name, "selector": {"matchLabels": labels}, "template": template})
        }
        "DaemonSet" => json!({"selector": {"matchLabels": labels}, "template": template}),
        "Job" => json!({"suspend": true, "template": template}),
        "CronJob" => json!({"suspend": true, "schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"replicas": 0, "selector": labels, "template": template}),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn pod_spec(account: &str, image: &str) -> Value {
    pod("", account, image)["spec"].clone()
}

/// Admitted, with these two lines.
fn warned(answer: &Answer, kind: &str, name: &str, image: &str) -> Result<()> {
    ensure!(answer.code == 201 && answer.warnings.len() == 2, "{kind}: {answer:?}");
    let place = format!("{kind} warned/{name}, container app: cannot pull {image}: ");
    ensure!(answer.warnings[0].starts_with(&place), "{kind}: {answer:?}");
    let refused = format!("{kind} warned/{name} is admitted, but its pods will be refused; fix: add ");
    ensure!(answer.warnings[1].starts_with(&refused), "{kind}: {answer:?}");
    Ok(())
}

pub async fn every_kind_is_warned_of_and_admitted(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    world.namespace("warned", &["api"]).await?;
    world.policy("warned", "pull", spec(pull_document(&["good"]))).await?;
    world.until_refused("warned", "api", &image("bad")).await?;
    for (kind, ..) in KINDS {
        let path = path(kind, "warned");
        let good = workload(kind, "good", pod_spec("api", &image("good")));
        world.call("POST", &path, Some(&good)).await?.admitted().with_context(|| kind)?;
        // In a dry run just as for good.
        let bad = workload(kind, "bad", pod_spec("api", &image("bad")));
        let dry = world.call("POST", &format!("{path}?dryRun=All"), Some(&bad)).await?;
        warned(&dry, kind, "bad", &image("bad"))?;
        let answer = world.call("POST", &path, Some(&bad)).await?;
        warned(&answer, kind, "bad", &image("bad"))?;
        ensure!(answer.warnings == dry.warnings, "{answer:?}");
        let stored = world.must("GET", &format!("{path}/bad"), None).await?;
        ensure!(stored["metadata"]["uid"].is_string(), "{stored}");
        // In every place of an image, in the order of the places.
        let mut places = pod_spec("api", &image("good"));
        places["initContainers"] = json!([{"name": "init", "image": image("bad")}]);
        places["volumes"] = json!([{"name": "model", "image": {"reference": image("worse")}}]);
        let answer = world.call("POST", &path, Some(&workload(kind, "places", places))).await?;
        let expected = [", init container init: cannot pull ", ", volume model: cannot pull ", "; fix for init: "];
        ensure!(
            answer.warnings.len() == expected.len()
                && answer.warnings.iter().zip(expected).all(|(warning, part)| warning.contains(part)),
            "{kind}: {answer:?}"
        );
    }
    // A service account may come later.
    let later = workload("Deployment", "later", pod_spec("later", &image("good")));
    world.call("POST", &path("Deployment", "warned"), Some(&later)).await?.admitted()?;
    // Thousands of containers are within the cost that the API server lets the expressions have.
    let mut many = pod_spec("api", &image("good"));
    let containers = (0..8000)
        .map(|index| json!({"name": format!("c{index}"), "image": image(if index == 7999 { "bad" } else { "good" })}));
    many["containers"] = containers.collect();
    for kind in ["Deployment", "CronJob"] {
        let dry = format!("{}?dryRun=All", path(kind, "warned"));
        let answer = world.call("POST", &dry, Some(&workload(kind, "many", many.clone()))).await?;
        answer.warned_with(&[", container c7999: cannot pull "]).with_context(|| kind)?;
    }
    // Nobody is called where nothing is judged.
    for namespace in ["kube-system", RELEASE] {
        let dry = format!("{}?dryRun=All", path("Deployment", namespace));
        let before = world.reviews_of("workloads.ecraccess.dev")?;
        let bad = workload("Deployment", "bad", pod_spec("default", &image("bad")));
        world.call("POST", &dry, Some(&bad)).await?.admitted()?;
        ensure!(world.reviews_of("workloads.ecraccess.dev")? == before, "called for {namespace}");
    }
    Ok(())
}

/// One Deployment is one call, its ReplicaSet none; and of its updates those alone that change how its pods pull.
pub async fn only_the_topmost_owner_and_only_what_changes_pulls_is_called(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    world.namespace("calls", &["api", "other"]).await?;
    let mut policy = spec(pull_document(&["good"]));
    policy["serviceAccounts"] = json!({"names": ["api"]});
    world.policy("calls", "pull", policy).await?;
    let mut policy = spec(pull_document(&["good", "bad"]));
    policy["serviceAccounts"] = json!({"names": ["other"]});
    world.policy("calls", "pull-more", policy).await?;
    world.until_refused("calls", "api", &image("bad")).await?;
    world.until_admitted("calls", "other", &image("bad")).await?;

    let deployments = path("Deployment", "calls");
    let one = format!("{deployments}/app");
    // Counts the calls of one request. The controllers write the Deployment too: what meets one of their writes is tried
    // again, and counted anew.
    let calls = async |what: &str, expected: u64, method: &str, path: &str, body: &dyn Fn(Value) -> Value| {
        loop {
            let live = if method == "POST" { Value::Null } else { world.must("GET", path, None).await? };
            let before = world.reviews_of("workloads.ecraccess.dev")?;
            let answer = world.call(method, path, Some(&body(live))).await?;
            let calls = world.reviews_of("workloads.ecraccess.dev")? - before;
            if answer.code == 409 {
                continue;
            }
            ensure!(answer.ok(), "{what}: {answer:?}");
            ensure!(calls == expected, "{what}: {calls} calls, should be {expected}");
            return Ok(answer);
        }
    };
    let app = workload("Deployment", "app", pod_spec("other", &image("bad")));
    let before = world.reviews_of("workloads.ecraccess.dev")?;
    calls("a Deployment", 1, "POST", &deployments, &|_| app.clone()).await?.admitted()?;
    world
        .eventually(PATIENCE, "its ReplicaSet", async || {
            let list = world.must("GET", &path("ReplicaSet", "calls"), None).await?;
            Ok(list["items"].as_array().is_some_and(|items| items.len() == 1))
        })
        .await?;
    let all = world.reviews_of("workloads.ecraccess.dev")? - before;
    ensure!(all == 1, "the ReplicaSet was called for: {all} calls");

    let change = |pointer: &'static str, value: Value| {
        move |mut live: Value| {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            live.pointer_mut(parent).expect("a parent")[field] = value.clone();
            live
        }
    };
    for (what, changed) in [
        ("scale", change("/spec/replicas", json!(1))),
        ("labels", change("/metadata/labels", json!({"a": "b"}))),
        ("pause", change("/spec/paused", json!(true))),
        ("restart", change("/spec/template/metadata/annotations", json!({"restartedAt": "now"}))),
    ] {
        calls(what, 0, "PUT", &one, &changed).await?.admitted()?;
    }
    calls("the scale subresource", 0, "PUT", &format!("{one}/scale"), &change("/spec/replicas", json!(0))).await?;
    // Called, and nothing new in it.
    let pod = "/spec/template/spec";
    let grace = |seconds: u64| change("/spec/template/spec/terminationGracePeriodSeconds", json!(seconds));
    calls("a setting", 1, "PUT", &one, &grace(7)).await?.admitted()?;
    // The same image, pulled by somebody else.
    let account = |mut live: Value| {
        live.pointer_mut(pod).expect("a pod spec")["serviceAccountName"] = json!("api");
        live.pointer_mut(pod).expect("a pod spec")["serviceAccount"] = json!("api");
        live
    };
    let answer = calls("the service account", 1, "PUT", &one, &account).await?;
    answer.warned_with(&["Deployment calls/app, container app: cannot pull ", "its pods will be refused"])?;
    // Or with a secret, which is tried first.
    let secret = change("/spec/template/spec/imagePullSecrets", json!([{"name": "registry"}]));
    let answer = calls("the pull secrets", 1, "PUT", &one, &secret).await?;
    answer.warned_with(&["Deployment calls/app, container app: only an image pull secret can pull "])?;
    ensure!(answer.warnings.len() == 1, "{answer:?}");
    // What was there before is nobody's news.
    calls("another setting", 1, "PUT", &one, &grace(8)).await?.admitted()?;
    world.must("DELETE", &one, None).await.map(drop)
}
