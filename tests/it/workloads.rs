//! The webhook for workloads, from bytes to bytes: what is judged of a template, and what of an update. What an API
//! server does with it is shown by `tests/cluster`.

use ecr_forecast::cluster::WorkloadKind;
use fixtures::pod_spec;
use serde_json::{Value, json};

use crate::fake_cluster::{FakeCluster, Mood};
use crate::webhook::{ROLE, account, allowed, annotation, app, payments, policy, send, warnings};
use ecr_access::webhook::limits::Limits;

const PATH: &str = "/validate/workloads";
const GOOD: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1";
const BAD: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/other/app:1";

/// A workload of `kind` with this pod spec.
fn workload(kind: &str, spec: Value) -> Value {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": spec});
    let spec = match kind {
        "CronJob" => json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"replicas": 0, "paused": true, "template": template}),
    };
    json!({"kind": kind, "metadata": {"name": "app", "namespace": "payments"}, "spec": spec})
}

fn review(object: &Value, old: Option<&Value>) -> Value {
    let kind = object["kind"].as_str().unwrap();
    let group = WorkloadKind::ALL.iter().find(|known| known.as_str() == kind).map_or("", |known| known.group());
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "w-1", "kind": {"group": group, "version": "v1", "kind": kind},
        "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
        "namespace": object["metadata"]["namespace"], "name": "app", "object": object, "oldObject": old}})
}

async fn ask(cluster: &FakeCluster, object: &Value, old: Option<&Value>) -> Value {
    ask_with(cluster, &review(object, old)).await
}

async fn ask_with(cluster: &FakeCluster, review: &Value) -> Value {
    send(&app(cluster, Limits::default()).0, PATH, review.to_string()).await.response()
}

#[tokio::test]
async fn every_kind_is_judged_and_none_is_refused() {
    let cluster = FakeCluster::synced(payments());
    for kind in WorkloadKind::ALL.map(WorkloadKind::as_str) {
        let field = match kind {
            "CronJob" => "spec.jobTemplate.spec.template.spec",
            _ => "spec.template.spec",
        };
        let good = ask(&cluster, &workload(kind, pod_spec("api", [GOOD])), None).await;
        assert!(allowed(&good) && warnings(&good).is_empty(), "{kind}: {good:#}");
        assert_eq!(annotation(&good, "verdict"), "Allow", "{kind}");

        let object = workload(kind, pod_spec("api", [GOOD, BAD]));
        let (app, metrics) = app(&cluster, Limits::default());
        let bad = send(&app, PATH, review(&object, None).to_string()).await.response();
        assert_eq!((allowed(&bad), &bad["uid"], bad.get("status")), (true, &json!("w-1"), None), "{kind}: {bad:#}");
        let told = warnings(&bad);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].starts_with(&format!("{kind} payments/app, container c1: cannot pull {BAD}: ")), "{told:#?}");
        assert!(told[1].contains(" is admitted, but its pods will be refused; fix: add "), "{told:#?}");
        assert_eq!((annotation(&bad, "verdict"), annotation(&bad, "reason")), ("Deny", "ActionDenied"), "{kind}");
        assert_eq!(annotation(&bad, "policy"), "EcrAccessPolicy/payments/pull");
        let counted = "ecr_access_reviews_total{webhook=\"workloads.ecraccess.dev\",verdict=\"Deny\",admission=\"Warned\",\
                       reason=\"ActionDenied\"} 1";
        assert!(metrics.text().unwrap().contains(counted), "{}", metrics.text().unwrap());

        let subject = ecr_forecast::cluster::Subject::from_workload(&object).unwrap().unwrap();
        assert_eq!(subject.images[1].field, format!("{field}.containers[1].image"));
    }
}

#[tokio::test]
async fn of_an_update_what_is_new_is_judged_and_everything_when_somebody_else_pulls() {
    let cluster = FakeCluster::synced(payments());
    let deployment = |account: &str, images: &[&str]| workload("Deployment", pod_spec(account, images.iter().copied()));
    let old = deployment("plain", &[BAD]);
    let judged = async |new: &Value, old: &Value| {
        let response = ask(&cluster, new, Some(old)).await;
        assert!(allowed(&response), "{response:#}");
        (annotation(&response, "verdict").to_owned(), annotation(&response, "reason").to_owned())
    };
    let said = |verdict: &str, reason: &str| (verdict.to_owned(), reason.to_owned());

    let mut scaled = old.clone();
    scaled["spec"]["replicas"] = json!(5);
    assert_eq!(judged(&scaled, &old).await, said("Allow", "Unchanged"));
    let mut variable = old.clone();
    variable["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]);
    assert_eq!(judged(&variable, &old).await, said("Allow", "Unchanged"));

    // The image that was there already is nobody's news.
    let old = deployment("api", &[BAD]);
    assert_eq!(judged(&deployment("api", &[BAD, GOOD]), &old).await, said("Allow", "Allowed"));
    assert_eq!(judged(&deployment("api", &[BAD, &format!("{BAD}2")]), &old).await, said("Deny", "ActionDenied"));
    // Somebody else pulls it, or with other secrets.
    assert_eq!(judged(&deployment("api", &[BAD]), &deployment("plain", &[BAD])).await, said("Deny", "ActionDenied"));
    let mut secret = old.clone();
    secret["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
    assert_eq!(judged(&secret, &old).await, said("Unknown", "PullSecret"));
    assert_eq!(judged(&old, &secret).await, said("Deny", "ActionDenied"));
    // A ReplicationController may get its template later.
    let mut empty = workload("ReplicationController", json!({}));
    empty["spec"] = json!({"replicas": 1});
    let full = workload("ReplicationController", pod_spec("api", [BAD]));
    assert_eq!(judged(&full, &empty).await, said("Deny", "ActionDenied"));
    assert_eq!(judged(&empty, &full).await, said("Allow", "Unchanged"));
}

#[tokio::test]
async fn what_is_not_for_this_webhook_is_admitted_without_a_word() {
    let mut objects = payments();
    for namespace in ["kube-system", "ecr-access-system"] {
        objects.policies.push(policy(Some(namespace), "pull", "1", "team/*", json!({})));
    }
    let cluster = FakeCluster::synced(objects);
    let bad = |change: &dyn Fn(&mut Value)| {
        let mut review = review(&workload("ReplicaSet", pod_spec("api", [BAD])), None);
        change(&mut review["request"]);
        review
    };
    let owner = |controller: bool| json!([{"kind": "Deployment", "name": "app", "uid": "u", "controller": controller}]);
    for (what, review, reason) in [
        ("owned", bad(&|r| r["object"]["metadata"]["ownerReferences"] = owner(true)), "Owned"),
        ("kube-system", bad(&|r| r["namespace"] = json!("kube-system")), "Excluded"),
        ("our own namespace", bad(&|r| r["namespace"] = json!("ecr-access-system")), "Excluded"),
        (
            "going",
            bad(&|r| r["object"]["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z")),
            "Terminating",
        ),
        ("scale", bad(&|r| r["subResource"] = json!("scale")), "NotApplicable"),
        ("deleted", bad(&|r| r["operation"] = json!("DELETE")), "NotApplicable"),
        ("a pod", bad(&|r| r["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"})), "NotApplicable"),
        ("of another group", bad(&|r| r["kind"]["group"] = json!("example.com")), "NotApplicable"),
        ("of no kind", bad(&|r| r["object"]["kind"] = json!("Thing")), "NotApplicable"),
    ] {
        let response = ask_with(&cluster, &review).await;
        assert!(allowed(&response) && warnings(&response).is_empty(), "{what}: {response:#}");
        assert_eq!(
            (annotation(&response, "verdict"), annotation(&response, "reason")),
            ("NotSelected", reason),
            "{what}"
        );
        assert!(cluster.reads().is_empty(), "{what}: {:?}", cluster.reads());
    }
    // An owner that does not control it leaves it where people write it.
    let shared = ask_with(&cluster, &bad(&|r| r["object"]["metadata"]["ownerReferences"] = owner(false))).await;
    assert_eq!(annotation(&shared, "verdict"), "Deny");
    // Pods are not asked of at this place, nor workloads at that of pods.
    let (app, _) = app(&cluster, Limits::default());
    let elsewhere = send(&app, "/validate/pods", bad(&|_| {}).to_string()).await.response();
    assert_eq!(annotation(&elsewhere, "reason"), "NotApplicable");
}

#[tokio::test]
async fn a_dry_run_is_warned_of_too() {
    let mut review = review(&workload("Deployment", pod_spec("api", [BAD])), None);
    let wet = ask_with(&FakeCluster::synced(payments()), &review).await;
    review["request"]["dryRun"] = json!(true);
    assert_eq!(ask_with(&FakeCluster::synced(payments()), &review).await, wet);
}

#[tokio::test]
async fn what_comes_with_the_workload_in_one_apply_counts() {
    let object = workload("Deployment", pod_spec("api", [BAD]));
    let mut fixed = payments();
    fixed.policies = vec![policy(Some("payments"), "pull", "9", "*", json!({}))];
    let cluster = FakeCluster::new(payments(), fixed);
    let response = ask(&cluster, &object, None).await;
    assert!(warnings(&response).is_empty(), "{response:#}");
    assert_eq!(annotation(&response, "verdict"), "Allow");
    assert_eq!(cluster.reads(), ["policies of payments", "service account payments/api"]);
    // The service account may follow.
    let mut objects = payments();
    objects.accounts.clear();
    let response = ask(&FakeCluster::synced(objects.clone()), &object, None).await;
    assert!(warnings(&response).is_empty(), "{response:#}");
    assert_eq!(annotation(&response, "verdict"), "Unknown");
    // Or have come with it.
    let mut there = objects.clone();
    there.accounts = vec![account("api", "9", Some(ROLE))];
    let response = ask(&FakeCluster::new(objects, there), &object, None).await;
    assert_eq!(annotation(&response, "verdict"), "Deny");
}

#[tokio::test]
async fn what_cannot_be_confirmed_is_no_warning_that_pods_will_be_refused() {
    let mut cluster = FakeCluster::synced(payments());
    cluster.mood = Mood::Fails;
    let response = ask(&cluster, &workload("Deployment", pod_spec("api", [BAD])), None).await;
    assert_eq!(annotation(&response, "reason"), "NotConfirmed");
    let told = warnings(&response);
    assert_eq!(told.len(), 1);
    let start = "ecr-access: Unknown: the pods of Deployment payments/app could not pull an image as far as is known, but \
                 that could not be confirmed (";
    assert!(told[0].starts_with(start), "{told:?}");
}

#[tokio::test]
async fn before_everything_is_known_and_where_it_cannot_be_read_a_word_is_said() {
    let mut cluster = FakeCluster::synced(payments());
    cluster.mood = Mood::NotSynced;
    let response = ask(&cluster, &workload("Job", pod_spec("api", [BAD])), None).await;
    assert!(warnings(&response)[0].contains("Job payments/app is admitted unjudged"), "{response:#}");
    let object = workload("CronJob", json!({"containers": "none"}));
    let response = ask(&FakeCluster::synced(payments()), &object, None).await;
    assert_eq!(
        warnings(&response),
        [
            "ecr-access: Unknown: CronJob payments/app cannot be read: `spec.jobTemplate.spec.template.spec.containers` must \
          be a list, so its images were not judged"
        ]
    );
}
