//! Exemptions at the webhook: what lets a pod in, how it is counted and recorded, and that nothing else does.

use ecr_access::webhook::limits::Limits;
use serde_json::{Value, json};

use crate::fake_cluster::{FakeCluster, Objects};
use crate::webhook::{allowed, annotation, app, payments, policy, send, warnings};

const PODS: &str = "/validate/pods";
const BAD: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/other/app:1";

fn review(metadata: Value, images: &[&str]) -> Value {
    let spec = fixtures::pod_spec("api", images.iter().copied());
    let pod = json!({"kind": "Pod", "metadata": metadata, "spec": spec});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "e-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "namespace": "payments", "name": "api-0", "object": pod}})
}

/// A policy with one exemption, of images `other/*`, until `end`.
fn objects(end: &str) -> Objects {
    let exemption = json!({"name": "others", "serviceAccounts": ["api"], "reason": "moves in March", "expiresAt": end,
        "images": ["111122223333.dkr.ecr.us-east-1.amazonaws.com/other/*"]});
    let mut objects = payments();
    objects.policies = vec![policy(Some("payments"), "pull", "1", "team/*", json!({"exemptions": [exemption]}))];
    objects
}

fn cluster(end: &str) -> FakeCluster {
    FakeCluster::synced(objects(end))
}

const NEVER: &str = "9999-01-01T00:00:00Z";

#[tokio::test]
async fn what_is_let_in_is_told_counted_and_recorded() {
    let cluster = cluster(NEVER);
    let (app, metrics) = app(&cluster, Limits::default());
    let response = send(&app, PODS, review(json!({"name": "api-0"}), &[BAD]).to_string()).await.response();
    assert!(allowed(&response), "{response:#}");
    assert_eq!((annotation(&response, "verdict"), annotation(&response, "reason")), ("Deny", "ActionDenied"));
    assert_eq!(annotation(&response, "exemptions"), "others");
    let told = warnings(&response);
    assert!(told[0].starts_with("Pod payments/api-0, container c0: cannot pull "), "{told:#?}");
    assert_eq!(
        told[1..],
        ["Pod payments/api-0 is admitted all the same, until 9999-01-01T00:00:00Z, by exemption others of \
          EcrAccessPolicy/payments/pull: moves in March"]
    );
    // Nothing is refused, so nothing has to be confirmed.
    assert!(cluster.reads().is_empty());
    let text = metrics.text().unwrap();
    assert!(text.contains("ecr_access_exempted_admissions_total 1"), "{text}");
    assert!(text.contains(r#"verdict="Deny",admission="Warned",reason="ActionDenied"} 1"#), "{text}");
}

#[tokio::test]
async fn it_ends_without_an_edit_and_nothing_that_a_pod_carries_is_one() {
    let words = json!({"ecraccess.dev/exempt": "true", "ecraccess.dev/exemption": "others"});
    let carrying = json!({"name": "api-0", "labels": words, "annotations": words});
    let third = "111122223333.dkr.ecr.us-east-1.amazonaws.com/third/app:1";
    for (what, cluster, metadata, images) in [
        ("ended", cluster("2026-01-01T00:00:00Z"), json!({"name": "api-0"}), vec![BAD]),
        ("carried", cluster(NEVER), carrying, vec![third]),
        ("another image", cluster(NEVER), json!({"name": "api-0"}), vec![BAD, third]),
    ] {
        let (app, metrics) = app(&cluster, Limits::default());
        let response = send(&app, PODS, review(metadata, &images).to_string()).await.response();
        assert!(!allowed(&response), "{what}: {response:#}");
        assert_eq!(response["auditAnnotations"].get("exemptions"), None, "{what}");
        assert!(metrics.text().unwrap().contains("ecr_access_exempted_admissions_total 0"), "{what}");
    }
}

/// An exemption that came with the pod in one apply counts, as every other change of a policy does.
#[tokio::test]
async fn one_that_came_with_the_pod_counts() {
    let mut new = objects(NEVER);
    new.policies[0]["metadata"]["resourceVersion"] = json!("2");
    let cluster = FakeCluster::new(payments(), new);
    let (app, metrics) = app(&cluster, Limits::default());
    let response = send(&app, PODS, review(json!({"name": "api-0"}), &[BAD]).to_string()).await.response();
    assert!(allowed(&response), "{response:#}");
    let text = metrics.text().unwrap();
    assert!(text.contains("ecr_access_exempted_admissions_total 1"), "{text}");
    assert!(text.contains("ecr_access_confirmations_total{outcome=\"changed\"} 1"), "{text}");
}
