//! Reviews of objects that a parser stumbles over: judged where they can be read, and answered in any case.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::super::availability::metric;
use super::objects::{Attack, Kind, Tenant, counted_object, declared, deep_document, policy, with_managed_fields};
use crate::world::{Answer, RELEASE, World, image, pod, pods, policies, pull_document, spec};

/// How often each is asked: whichever replica answers.
const TIMES: usize = 10;

/// Pods and workloads whose `managedFields` are deep, or no UTF-8: as they are made, and as they are changed.
pub async fn a_pod_is_judged_whatever_its_managed_fields(world: &World) -> Result<()> {
    const NAMESPACE: &str = "attacks-reviews";
    world.namespace(NAMESPACE, &["api"]).await?;
    world.policy(NAMESPACE, "api", spec(pull_document(&["good"]))).await?;
    world.until_refused(NAMESPACE, "api", &image("bad")).await?;
    let tenant = Tenant::of(world, "mallory", NAMESPACE).await?;
    let mut wrong = Vec::new();
    for attack in [Attack::Deep, Attack::NotUtf8] {
        for kind in [Kind::Pod, Kind::Workload("Deployment"), Kind::Workload("CronJob")] {
            let found = judged_at_the_door(world, NAMESPACE, kind, attack).await;
            wrong.extend(found.err().map(|error| format!("{kind:?} {attack:?}: {error:#}")));
        }
        // One that is there already: the review of a change carries it twice.
        let stored = pod(attack.as_str(), "api", &image("good"));
        tenant.store(&pods(NAMESPACE), with_managed_fields(&stored, attack)?).await?;
        let path = format!("{}/{}", pods(NAMESPACE), attack.as_str());
        let change = json!({"spec": {"containers": [{"name": "app", "image": image("bad")}]}});
        let kind = "application/strategic-merge-patch+json";
        let answer = world.raw(None, "PATCH", &path, kind, serde_json::to_vec(&change)?).await?.read();
        let found = answer.refused_with(&[&image("bad")]);
        wrong.extend(found.err().map(|error| format!("a change of a pod, {attack:?}: {error:#}")));
        world.raw(None, "DELETE", &format!("{path}?gracePeriodSeconds=0"), "application/json", Vec::new()).await?;
    }
    ensure!(wrong.is_empty(), "{} things do not hold:\n    {}", wrong.len(), wrong.join("\n    "));
    Ok(())
}

/// With an image that cannot be pulled a pod is refused and a workload warned of, N of N; with one that can, nothing is said.
pub async fn judged_at_the_door(world: &World, namespace: &str, kind: Kind, attack: Attack) -> Result<()> {
    let path = format!("{}?dryRun=All", kind.path(namespace));
    let ask = async |repository: &str| -> Result<Answer> {
        let object = counted_object(kind, "try", "api", repository);
        let bytes = with_managed_fields(&object, attack)?;
        Ok(world.raw(None, "POST", &path, "application/json", bytes).await?.read())
    };
    for time in 0..TIMES {
        let found = match kind {
            Kind::Workload(_) => ask("bad").await?.warned_with(&["cannot pull ", &image("bad")]),
            _ => ask("bad").await?.refused_with(&[&image("bad")]),
        };
        found.with_context(|| format!("question {time} of {TIMES}"))?;
    }
    ask("good").await?.admitted()
}

/// What cannot be read at all is no refusal of a pod, and no failed call either.
pub async fn what_cannot_be_read_is_unknown(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    let deep = "{\"x\":".repeat(300) + "{}" + &"}".repeat(300);
    let bodies: [(&str, &str, Vec<u8>); 4] = [
        ("pods", "deep", review("Pod", "pods", deep.as_bytes())),
        ("pods", "not UTF-8", review("Pod", "pods", b"{\"spec\":{\"containers\":[{\"image\":\"\xff\xfe\"}]}}")),
        ("policies", "deep", review("EcrAccessPolicy", "ecraccesspolicies", deep.as_bytes())),
        (
            "policies",
            "not UTF-8",
            review("EcrAccessPolicy", "ecraccesspolicies", b"{\"spec\":{\"puller\":\"\xff\xfe\"}}"),
        ),
    ];
    let mut wrong = Vec::new();
    for replica in world.cluster.replicas() {
        let malformed = "ecr_access_requests_refused_total{outcome=\"malformed\"}";
        let before = metric(&replica.address, malformed)?;
        for (webhook, what, body) in &bodies {
            let path = format!("{}/https:{}:9443/proxy/validate/{webhook}", pods(RELEASE), replica.pod);
            let answer = world.raw(None, "POST", &path, "application/json", body.clone()).await?.read();
            let response = &answer.body["response"];
            let warned = response["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
            let held = answer.code == 200
                && response["uid"] == "asked-by-a-test"
                && if *webhook == "pods" {
                    response["allowed"] == true && warned
                } else {
                    response["allowed"] == false
                };
            if !held {
                wrong.push(format!("{webhook}, {what}: {answer:?}"));
            }
        }
        if metric(&replica.address, malformed)? != before {
            wrong.push(format!("{} calls some of them malformed", replica.pod));
        }
    }
    ensure!(wrong.is_empty(), "{} things do not hold:\n    {}", wrong.len(), wrong.join("\n    "));
    Ok(())
}

fn review(kind: &str, resource: &str, object: &[u8]) -> Vec<u8> {
    let group = if kind == "Pod" { "" } else { "ecraccess.dev" };
    let head = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "asked-by-a-test", "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource}, "operation": "CREATE",
            "namespace": "default", "name": "unreadable", "object": "@object@",
        },
    })
    .to_string();
    let (before, after) = head.split_once("\"@object@\"").unwrap_or_default();
    [before.as_bytes(), object, after.as_bytes()].concat()
}

/// In both kinds, as JSON and as a string; and what is less deep is told for what it is.
pub async fn a_document_that_is_too_deep_is_refused_by_name(world: &World) -> Result<()> {
    const NAMESPACE: &str = "attacks-documents";
    world.namespace(NAMESPACE, &[]).await?;
    let cluster = Kind::ClusterPolicy.path("");
    let mut wrong = Vec::new();
    for levels in [60, 70, 100, 118, 126, 500] {
        let document = deep_document(levels);
        for (form, document) in [("JSON", document.clone()), ("a string", json!(document.to_string()))] {
            let mut object = policy("deep", &["api"], &json!({"name": "app", "document": document}));
            for (kind, path) in [("EcrAccessPolicy", policies(NAMESPACE)), ("ClusterEcrAccessPolicy", cluster.clone())]
            {
                object["kind"] = json!(kind);
                if kind == "ClusterEcrAccessPolicy" {
                    object["spec"]["namespaceSelector"] = json!({"matchLabels": {"attacks": "nobody"}});
                }
                let answer = world.call("POST", &format!("{path}?dryRun=All"), Some(&object)).await?;
                let refused =
                    answer.message().starts_with("admission webhook \"policies.ecraccess.dev\" denied the request: ");
                let named = answer.body.to_string().contains("DocumentTooDeep");
                if !refused || named != (levels > 64) {
                    let said: String = format!("{answer:?}").chars().take(300).collect();
                    wrong.push(format!("{kind}, {levels} levels as {form}: {said}"));
                }
            }
        }
    }
    // What nothing is wrong with gets in.
    let good: Value = policy("good", &["api"], &declared("good"));
    world.call("POST", &format!("{}?dryRun=All", policies(NAMESPACE)), Some(&good)).await?.admitted()?;
    ensure!(wrong.is_empty(), "{} things do not hold:\n    {}", wrong.len(), wrong.join("\n    "));
    Ok(())
}
