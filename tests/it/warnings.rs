//! The warnings that the webhooks give of their own, beside those about images (see `messages`): golden files in
//! `tests/data/warnings-webhook`, as kubectl prints them. `UPDATE_GOLDEN=1 cargo test --test it warnings` rewrites them; read
//! the diff as a stranger would.

use std::path::PathBuf;

use ecr_access::webhook::limits::Limits;
use golden::Goldens;
use serde_json::{Value, json};

use crate::fake_cluster::{FakeCluster, Mood, Objects};
use crate::webhook::{ROLE, allowed, annotation, app, beyond_the_deadline, payments, policy, send, warnings};

const HOST: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/warnings-webhook")
}

fn review(group: &str, object: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "w-1", "kind": {"group": group, "version": "v1", "kind": object["kind"]}, "operation": "CREATE",
        "namespace": "payments", "name": object["metadata"]["name"], "object": object}})
}

fn pod(spec: Value) -> Value {
    review("", &json!({"kind": "Pod", "metadata": {"name": "api-0"}, "spec": spec}))
}

fn deployment(spec: Value) -> Value {
    let spec = json!({"template": {"spec": spec}});
    review("apps", &json!({"kind": "Deployment", "metadata": {"name": "api"}, "spec": spec}))
}

pub fn with_images(count: usize) -> Value {
    let images: Vec<String> = (0..count).map(|n| fixtures::image(&format!("other/app-{n}"))).collect();
    fixtures::pod_spec("api", images.iter().map(String::as_str))
}

fn policy_object(spec: Value) -> Value {
    let object = json!({"kind": "EcrAccessPolicy", "metadata": {"name": "pull"}, "spec": spec});
    review("ecraccess.dev", &object)
}

fn managed(arn: &str) -> Value {
    json!({"puller": {"role": {"arn": ROLE, "identity": {"policies": [{"name": "p", "managedPolicyArn": arn}]}}}})
}

/// How the cluster behaves, and what is asked where.
struct Case {
    name: &'static str,
    mood: Mood,
    objects: Objects,
    path: &'static str,
    review: Value,
}

fn cases() -> Vec<Case> {
    let case = |name, mood, path, review| Case { name, mood, objects: payments(), path, review };
    let (pods, workloads, policies) = ("/validate/pods", "/validate/workloads", "/validate/policies");
    let exempting = |image: &str, end: &str| {
        policy_object(json!({"exemptions": [
            {"name": "legacy-images", "images": [image], "reason": "why", "expiresAt": end}]}))
    };
    let repositories = |list: Value| policy_object(json!({"repositories": list}));
    let scp = json!([{"level": "root", "policies": [
        {"name": "p", "managedPolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}]}]);
    let with_resource = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage", "Resource": "*"}]});
    let unreadable = json!({"containers": "none"});
    let deep = |levels: usize| (0..levels).fold(json!("*"), |inner, _| json!([inner]));
    let undecoded = managed("arn:aws:iam::aws:policy/AdministratorAccess");
    let undecoded = |label: &str| {
        let mut review = policy_object(json!({"puller": undecoded["puller"], "color": deep(200)}));
        review["request"]["object"]["metadata"]["labels"] = json!({"team": label});
        review
    };
    let mut labelled = undecoded("new");
    labelled["request"]["operation"] = json!("UPDATE");
    labelled["request"]["oldObject"] = undecoded("old")["request"]["object"].take();
    let mut cases = vec![
        case("not-synced-pod", Mood::NotSynced, pods, pod(with_images(1))),
        case("not-synced-deployment", Mood::NotSynced, workloads, deployment(with_images(1))),
        case("panic", Mood::Panics, pods, pod(with_images(1))),
        case("deadline", Mood::Answers, pods, pod(with_images(300))),
        case("not-confirmed-pod", Mood::Fails, pods, pod(with_images(1))),
        case("not-confirmed-deployment", Mood::Fails, workloads, deployment(with_images(1))),
        case("unreadable-pod", Mood::Answers, pods, pod(unreadable.clone())),
        case("unreadable-deployment", Mood::Answers, workloads, deployment(unreadable)),
        case("undecoded-pod", Mood::Answers, pods, pod(json!({"containers": [{"name": "app", "env": deep(200)}]}))),
        case("undecoded-policy-as-stored", Mood::Answers, policies, labelled),
        case("many-images-of-a-deployment", Mood::Answers, workloads, deployment(with_images(20))),
        case(
            "policy-unknown-managed-policy",
            Mood::Answers,
            policies,
            policy_object(managed("arn:aws:iam::aws:policy/Invented")),
        ),
        case(
            "policy-not-of-an-organization",
            Mood::Answers,
            policies,
            policy_object(json!({"organization": {"serviceControlPolicies": scp}})),
        ),
        case(
            "policy-entry-never-counts",
            Mood::Answers,
            policies,
            repositories(json!([{"match": "*"}, {"match": "a"}])),
        ),
        case(
            "policy-doubtful-document",
            Mood::Answers,
            policies,
            repositories(json!([{"match": "*", "policy": {"document": with_resource}}])),
        ),
        case(
            "policy-exemption-has-ended",
            Mood::Answers,
            policies,
            exempting(&format!("{HOST}/*"), "2026-01-01T00:00:00Z"),
        ),
        case("policy-exemption-of-nothing", Mood::Answers, policies, exempting("legacy/*", "9999-01-01T00:00:00Z")),
    ];
    // Beyond the eight that are told.
    let many: Vec<Value> = (0..12).map(|_| json!({"match": "*"})).collect();
    cases.push(case("policy-many-warnings", Mood::Answers, policies, repositories(json!(many))));
    let mut warned = payments();
    warned.policies = vec![policy(Some("payments"), "pull", "1", "team/*", json!({"onDeny": "Warn"}))];
    cases.push(Case {
        name: "many-images-of-a-pod",
        mood: Mood::Answers,
        objects: warned,
        path: pods,
        review: pod(with_images(20)),
    });
    cases
}

#[tokio::test]
async fn what_a_webhook_says_of_its_own_accord() {
    let mut goldens = Goldens::default();
    let mut reasons = Vec::new();
    for Case { name, mood, objects, path, review } in cases() {
        let mut cluster = FakeCluster::synced(objects);
        cluster.mood = mood;
        let mut limits = Limits::default();
        if name == "deadline" {
            (cluster.mood, limits) = beyond_the_deadline();
        }
        let response = send(&app(&cluster, limits).0, path, review.to_string()).await.response();
        assert!(allowed(&response), "{name}: {response:#}");
        let warnings = warnings(&response);
        assert!(!warnings.is_empty(), "{name}: {response:#}");
        let whole: usize = warnings.iter().map(String::len).sum();
        assert!(whole <= 4096 && warnings.iter().all(|warning| !warning.contains(char::is_control)), "{name}");
        reasons.push(annotation(&response, "reason").to_owned());
        let told: String = warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
        goldens.hold(folder().join(format!("{name}.txt")), &told);
    }
    for reason in [
        "NotSynced",
        "Panic",
        "Deadline",
        "NotConfirmed",
        "Unreadable",
        "UnknownManagedPolicy",
        "NotOfOrganization",
        "EntryNeverCounts",
        "DoubtfulDocument",
        "ExemptionEnded",
    ] {
        assert!(reasons.iter().any(|known| known == reason), "{reason} is not among {reasons:?}");
    }
    goldens.finish_folder(folder());
}
