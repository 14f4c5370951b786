//! The webhook from bytes to bytes: the reviews in `tests/data/reviews` through the router, the fresh reads before a
//! rejection, the limits, and TLS over a real socket. What an API server does with it is shown by `tests/cluster`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use ecr_access::runtime::callers::ApiServers;
use ecr_access::runtime::metrics::Metrics;
use ecr_access::runtime::readiness::Readiness;
use ecr_access::runtime::shutdown::closing_connections;
use ecr_access::webhook::certificates::{CertificateSecret, Loaded};
use ecr_access::webhook::limits::Limits;
use ecr_access::webhook::review::Reviewer;
use ecr_access::webhook::server::router;
use ecr_access::webhook::tls::{self, CertResolver};
use ecr_forecast::judge::Options;
use fixtures::{PULL, ROLE_ANNOTATION, allow, marked};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::fake_cluster::{FakeCluster, Mood, Objects};

pub const PODS: &str = "/validate/pods";
pub const POLICIES: &str = "/validate/policies";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/pull";

// ---- the cluster that is asked ----

/// A cluster that looks at its memory until the deadline of a review has passed, and limits under which the judging that
/// follows is waited for. A pod of hundreds of images is never judged before that is seen.
pub fn beyond_the_deadline() -> (Mood, Limits) {
    let limits = Limits { deadline: Duration::from_millis(100), big: 0, ..Limits::default() };
    let (held, receiver) = std::sync::mpsc::channel();
    let passed = limits.deadline + Duration::from_millis(50);
    std::thread::spawn(move || {
        std::thread::sleep(passed);
        drop(held);
    });
    (Mood::Works(Arc::new(Mutex::new(receiver))), limits)
}

pub fn account(name: &str, version: &str, role: Option<&str>) -> Value {
    let annotations = role.map_or(json!({}), |role| json!({ROLE_ANNOTATION: role}));
    let mut account = marked(fixtures::service_account(name), json!({}), annotations);
    account["metadata"]["resourceVersion"] = version.into();
    account
}

/// A policy object whose roles may pull `repositories`; without a namespace of the cluster kind.
pub fn policy(namespace: Option<&str>, name: &str, version: &str, repositories: &str, more: Value) -> Value {
    let statements =
        [allow("ecr:GetAuthorizationToken", "*"), allow(PULL.as_slice(), fixtures::repository(repositories))];
    let identity = fixtures::identity("pull", statements.to_vec());
    let roles = json!([{"arn": ROLE, "identity": identity}, {"arn": format!("{ROLE}-more"), "identity": {"policies": [
        {"name": "all", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}]}}]);
    let policy = match namespace {
        Some(namespace) => fixtures::policy(name).metadata("namespace", namespace),
        None => fixtures::cluster_policy(name),
    };
    let policy = policy.metadata("resourceVersion", version).metadata("creationTimestamp", "2026-11-01T00:00:00Z");
    let policy = policy.with("puller", json!({"serviceAccount": {"roles": roles}}));
    more.as_object().unwrap().iter().fold(policy, |policy, (field, value)| policy.with(field, value.clone())).object()
}

/// In namespace `payments`, the role of `api` may pull `team/*`; `plain` has no role.
pub fn payments() -> Objects {
    Objects {
        policies: vec![policy(Some("payments"), "pull", "1", "team/*", json!({}))],
        accounts: vec![account("api", "2", Some(ROLE)), account("plain", "3", None)],
        namespaces: vec![("payments".to_owned(), BTreeMap::new())],
        config_maps: Vec::new(),
    }
}

// ---- asking ----

pub struct Asked {
    pub status: StatusCode,
    content_type: String,
    pub text: String,
}

impl Asked {
    pub fn response(&self) -> Value {
        assert_eq!((self.status, self.content_type.as_str()), (StatusCode::OK, "application/json"), "{}", self.text);
        let review: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        review["response"].clone()
    }
}

pub fn app(cluster: &FakeCluster, limits: Limits) -> (Router, Metrics) {
    let metrics = Metrics::new();
    let options = Options { operator_namespace: Some("ecr-access-system".to_owned()), ..Options::default() };
    (router(Reviewer::new(cluster.clone(), options, metrics.clone()), limits, metrics.clone()), metrics)
}

pub async fn send(app: &Router, path: &str, body: impl Into<Body>) -> Asked {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    let body = body.into();
    if let Some(length) = axum::body::HttpBody::size_hint(&body).exact() {
        request = request.header(header::CONTENT_LENGTH, length);
    }
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let content_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Asked { status, content_type: content_type.unwrap_or_default(), text: String::from_utf8(bytes.to_vec()).unwrap() }
}

pub fn review(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/reviews/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn ask(cluster: &FakeCluster, name: &str) -> Value {
    send(&app(cluster, Limits::default()).0, PODS, review(name)).await.response()
}

pub fn allowed(response: &Value) -> bool {
    response["allowed"].as_bool().unwrap()
}

pub fn warnings(response: &Value) -> Vec<String> {
    response.get("warnings").map(|list| serde_json::from_value(list.clone()).unwrap()).unwrap_or_default()
}

pub fn annotation<'a>(response: &'a Value, key: &str) -> &'a str {
    response["auditAnnotations"][key].as_str().unwrap_or_default()
}

// ---- verdicts ----

#[tokio::test]
async fn every_review_gets_its_verdict_and_its_uid() {
    // review, uid, allowed, warnings, verdict, reason
    let expected = [
        ("allow", "allow-1", true, 0, "Allow", "Allowed"),
        ("deny", "deny-1", false, 0, "Deny", "ActionDenied"),
        ("deny-dry-run", "dry-1", false, 0, "Deny", "ActionDenied"),
        ("unknown", "unknown-1", true, 1, "Unknown", "DependsOnNode"),
        ("not-selected", "not-selected-1", true, 0, "NotSelected", "NotSelected"),
        ("no-ecr-image", "no-ecr-1", true, 0, "Allow", "NotEcr"),
        ("generate-name", "generated-1", false, 0, "Deny", "ActionDenied"),
        ("update-unchanged", "update-1", true, 0, "Allow", "Unchanged"),
        ("update-new-image", "update-2", false, 0, "Deny", "ActionDenied"),
        ("ephemeral-allowed", "ephemeral-1", true, 0, "Allow", "Allowed"),
        ("ephemeral-denied", "ephemeral-2", false, 0, "Deny", "ActionDenied"),
        ("terminating", "terminating-1", true, 0, "NotSelected", "Terminating"),
        ("mirror", "mirror-1", true, 0, "NotSelected", "Excluded"),
        ("kube-system", "kube-system-1", true, 0, "NotSelected", "Excluded"),
        ("own-namespace", "own-1", true, 0, "NotSelected", "Excluded"),
        ("delete", "delete-1", true, 0, "NotSelected", "NotApplicable"),
        ("other-kind", "other-1", true, 0, "NotSelected", "NotApplicable"),
        ("unreadable", "unreadable-1", true, 1, "Unknown", "Unreadable"),
    ];
    let mut objects = payments();
    // Policies that would deny in the namespaces that are left alone.
    for namespace in ["kube-system", "ecr-access-system"] {
        objects.policies.push(policy(Some(namespace), "pull", "1", "team/*", json!({})));
    }
    let cluster = FakeCluster::synced(objects);
    for (name, uid, admitted, warned, verdict, reason) in expected {
        let response = ask(&cluster, name).await;
        assert_eq!(response["uid"], json!(uid), "{name}: {response:#}");
        assert_eq!(allowed(&response), admitted, "{name}: {response:#}");
        assert_eq!(warnings(&response).len(), warned, "{name}: {response:#}");
        assert_eq!(annotation(&response, "verdict"), verdict, "{name}: {response:#}");
        assert_eq!(annotation(&response, "reason"), reason, "{name}: {response:#}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_forbidden_with_a_cause_per_container() {
    let response = ask(&FakeCluster::synced(payments()), "deny").await;
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.containers[1].image"], "{status:#}");
    let message = status["message"].as_str().unwrap();
    for part in ["c1", "ecr:BatchGetImage", "repository/other/app", ROLE] {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
    assert!(message.len() <= 900, "{}", message.len());
    assert_eq!(annotation(&response, "policy"), "EcrAccessPolicy/payments/pull");
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refusal_is_one_line_of_the_log_and_an_admission_none() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = FakeCluster::synced(payments());
    for name in ["allow", "unknown", "not-selected", "deny"] {
        ask(&cluster, name).await;
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let [line] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let line: Value = serde_json::from_str(line).unwrap();
    let said = ["level", "message", "uid", "kind", "namespace", "policy", "reason"].map(|field| line[field].as_str());
    let policy = Some("EcrAccessPolicy/payments/pull");
    assert_eq!(
        said,
        [Some("INFO"), Some("refused"), Some("deny-1"), Some("Pod"), Some("payments"), policy, Some("ActionDenied")]
    );
}

#[tokio::test]
async fn the_images_that_run_already_are_no_cause() {
    let cluster = FakeCluster::synced(payments());
    for (name, field) in
        [("update-new-image", "spec.containers[1].image"), ("ephemeral-denied", "spec.ephemeralContainers[0].image")]
    {
        let response = ask(&cluster, name).await;
        let causes = response["status"]["details"]["causes"].as_array().unwrap();
        assert_eq!(causes.iter().map(|cause| &cause["field"]).collect::<Vec<_>>(), [&json!(field)], "{name}");
    }
}

#[tokio::test]
async fn a_pod_without_a_name_is_called_by_its_prefix() {
    let response = ask(&FakeCluster::synced(payments()), "generate-name").await;
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("payments/web-7d4b9c6f5-"), "{message}");
}

#[tokio::test]
async fn the_same_review_gives_the_same_bytes() {
    let app = app(&FakeCluster::synced(payments()), Limits::default()).0;
    let first = send(&app, PODS, review("deny")).await.text;
    for _ in 0..5 {
        assert_eq!(send(&app, PODS, review("deny")).await.text, first);
    }
}

#[tokio::test]
async fn before_everything_is_known_pods_are_admitted_with_a_word() {
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::NotSynced);
    let response = ask(&cluster, "deny").await;
    assert!(allowed(&response));
    assert_eq!(annotation(&response, "reason"), "NotSynced");
    assert!(warnings(&response)[0].contains("pod payments/api-0 is admitted unjudged"), "{response:#}");
}

// ---- fresh reads ----

#[tokio::test]
async fn an_admitted_pod_costs_no_read_and_a_refused_one_two() {
    let cluster = FakeCluster::synced(payments());
    for name in ["allow", "unknown", "no-ecr-image", "update-unchanged"] {
        ask(&cluster, name).await;
        assert_eq!(cluster.reads(), Vec::<String>::new(), "{name}");
    }
    ask(&cluster, "deny").await;
    assert_eq!(cluster.reads(), ["policies of payments", "service account payments/api"]);
}

#[tokio::test]
async fn whatever_came_with_the_pod_in_one_apply_counts() {
    let with = |change: &dyn Fn(&mut Objects)| {
        let mut api_server = payments();
        change(&mut api_server);
        FakeCluster::new(payments(), api_server)
    };
    let everything = |version: &str| policy(Some("payments"), "pull", version, "*", json!({}));
    let cases: [(&str, FakeCluster, &str); 6] = [
        ("the policy was fixed", with(&|objects| objects.policies = vec![everything("9")]), "Allow"),
        ("the policy was deleted", with(&|objects| objects.policies.clear()), "NotSelected"),
        (
            "the service account was mapped to another role",
            with(&|objects| objects.accounts = vec![account("api", "9", Some(&format!("{ROLE}-more")))]),
            "Allow",
        ),
        (
            "a more specific policy was created",
            with(&|objects| {
                let names = json!({"serviceAccounts": {"names": ["api"]}});
                objects.policies.push(policy(Some("payments"), "special", "9", "*", names));
            }),
            "Allow",
        ),
        (
            "the policy was deleted and created again under another name",
            with(&|objects| objects.policies = vec![policy(Some("payments"), "renamed", "9", "*", json!({}))]),
            "Allow",
        ),
        (
            "the policy was taken the teeth out of",
            with(&|objects| {
                let more = json!({"onDeny": "Warn", "onUnknown": "Audit"});
                objects.policies = vec![policy(Some("payments"), "pull", "9", "team/*", more)];
            }),
            "Deny",
        ),
    ];
    for (what, cluster, verdict) in cases {
        let (app, metrics) = app(&cluster, Limits::default());
        let response = send(&app, PODS, review("deny")).await.response();
        assert!(allowed(&response), "{what}: {response:#}");
        assert_eq!(annotation(&response, "verdict"), verdict, "{what}: {response:#}");
        assert!(metrics.text().unwrap().contains("ecr_access_confirmations_total{outcome=\"changed\"} 1"), "{what}");
    }
}

/// Memory is behind: what it would refuse by is deleted, so that nothing is known of it any more.
#[tokio::test]
async fn an_account_and_a_namespace_that_are_gone_count_no_more() {
    let response = ask(&FakeCluster::synced(payments()), "deny").await;
    assert_eq!(annotation(&response, "verdict"), "Deny");
    let mut api_server = payments();
    api_server.accounts.clear();
    let cluster = FakeCluster::new(payments(), api_server);
    let response = ask(&cluster, "deny").await;
    assert!(allowed(&response), "{response:#}");
    assert_eq!(annotation(&response, "verdict"), "Unknown", "{response:#}");
    assert!(warnings(&response)[0].ends_with("[ServiceAccountNotFound]"), "{response:#}");
    assert!(cluster.reads().contains(&"service account payments/api".to_owned()));

    // A cluster policy that selects by a label of the namespace, which memory still has.
    let mut memory = payments();
    let selector = json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}});
    memory.policies = vec![policy(None, "everywhere", "1", "team/*", selector)];
    memory.namespaces = vec![("payments".to_owned(), BTreeMap::from([("tier".to_owned(), "gold".to_owned())]))];
    let response = ask(&FakeCluster::synced(memory.clone()), "deny").await;
    assert_eq!(annotation(&response, "verdict"), "Deny");
    let api_server = Objects { namespaces: Vec::new(), ..memory.clone() };
    let cluster = FakeCluster::new(memory, api_server);
    let response = ask(&cluster, "deny").await;
    assert!(allowed(&response), "{response:#}");
    assert_eq!(annotation(&response, "verdict"), "Unknown", "{response:#}");
    assert!(warnings(&response)[0].ends_with("[SelectionNotKnown]"), "{response:#}");
    assert!(cluster.reads().contains(&"namespace payments".to_owned()));
}

/// In namespace `payments`, the role of `api` may pull what key `app.json` of ConfigMap `iam` says, at `version`.
pub fn by_config_map(version: &str, repositories: Option<&str>) -> Objects {
    let mut objects = payments();
    let inline = &mut objects.policies[0]["spec"]["puller"]["serviceAccount"]["roles"][0]["identity"]["policies"][0];
    let document = inline["document"].take().to_string();
    *inline = json!({"name": "pull", "configMapKeyRef": {"name": "iam", "key": "app.json"}});
    if let Some(repositories) = repositories {
        let document = document.replace("repository/team/*", &format!("repository/{repositories}"));
        let mut config_map = fixtures::config_map("iam", json!({"app.json": document}));
        config_map["metadata"]["resourceVersion"] = version.into();
        objects.config_maps = vec![config_map];
    }
    objects
}

#[tokio::test]
async fn a_config_map_is_read_before_a_refusal_leaves() {
    let fresh = ["ConfigMap payments/iam", "policies of payments", "service account payments/api"];
    let behind = by_config_map("1", Some("team/*"));
    let cluster = FakeCluster::synced(behind.clone());
    let response = ask(&cluster, "deny").await;
    assert_eq!((annotation(&response, "verdict"), cluster.reads()), ("Deny", fresh.map(str::to_owned).to_vec()));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("in ConfigMap payments/iam/app.json: {"), "the fix is where the document is: {message}");

    // Its fix came with the pod; it lost its label or is gone, so that nothing is known; it says another thing now.
    let unlabelled = {
        let mut objects = by_config_map("9", Some("team/*"));
        objects.config_maps[0]["metadata"]["labels"] = json!({});
        objects
    };
    for (what, now, verdict) in [
        ("fixed", by_config_map("9", Some("*")), "Allow"),
        ("without its label", unlabelled, "Unknown"),
        ("deleted", by_config_map("9", None), "Unknown"),
        ("changed", by_config_map("9", Some("third/*")), "Deny"),
    ] {
        let cluster = FakeCluster::new(behind.clone(), now);
        let response = ask(&cluster, "deny").await;
        assert_eq!(annotation(&response, "verdict"), verdict, "{what}: {response:#}");
        assert_eq!(
            (allowed(&response), cluster.reads()),
            (verdict != "Deny", fresh.map(str::to_owned).to_vec()),
            "{what}"
        );
    }

    // Memory has an inline document; the policy as it is now names a ConfigMap that memory has not seen.
    let cluster = FakeCluster::new(payments(), {
        let mut now = by_config_map("9", Some("*"));
        now.policies[0]["metadata"]["resourceVersion"] = json!("9");
        now
    });
    let response = ask(&cluster, "deny").await;
    assert!(allowed(&response), "{response:#}");
    assert_eq!(annotation(&response, "verdict"), "Unknown", "nothing is read that no refusal needs");

    let mut nowhere = by_config_map("1", None);
    nowhere.policies[0]["spec"]["onUnknown"] = json!("Reject");
    let mut now = by_config_map("9", Some("*"));
    now.policies = nowhere.policies.clone();
    assert!(!allowed(&ask(&FakeCluster::synced(nowhere.clone()), "deny").await));
    let response = ask(&FakeCluster::new(nowhere, now), "deny").await;
    assert_eq!(annotation(&response, "verdict"), "Allow", "the ConfigMap came with the pod: {response:#}");
}

#[tokio::test]
async fn reads_of_config_maps_are_bounded() {
    let with = |count: usize| {
        let mut objects = by_config_map("1", Some("team/*"));
        let policies = (0..count)
            .map(|n| json!({"name": format!("p{n}"), "configMapKeyRef": {"name": format!("m{n}"), "key": "a"}}));
        let role = &mut objects.policies[0]["spec"]["puller"]["serviceAccount"]["roles"][0];
        role["identity"]["policies"] = policies.collect();
        objects.policies[0]["spec"]["onUnknown"] = json!("Reject");
        objects
    };
    let cluster = FakeCluster::synced(with(32));
    let response = ask(&cluster, "deny").await;
    assert_eq!((allowed(&response), cluster.reads().len()), (false, 34));
    let cluster = FakeCluster::synced(with(33));
    let response = ask(&cluster, "deny").await;
    assert!(allowed(&response));
    let warning = warnings(&response).concat();
    assert!(warning.contains("its policies are in 33 ConfigMaps, and 32 are read"), "{warning}");
    assert_eq!(cluster.reads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_change_that_fixes_nothing_refuses_with_the_words_of_now() {
    let mut api_server = payments();
    api_server.policies = vec![policy(Some("payments"), "pull", "9", "third/*", json!({}))];
    let response = ask(&FakeCluster::new(payments(), api_server), "deny").await;
    assert!(!allowed(&response));
    // `team/app` was allowed by what memory knows.
    assert_eq!(response["status"]["details"]["causes"].as_array().unwrap().len(), 2, "{response:#}");
}

#[tokio::test]
async fn a_service_account_and_a_namespace_that_memory_has_not_seen_are_read() {
    let selecting = |tier: &str| {
        let selector = json!({"namespaceSelector": {"matchLabels": {"tier": tier}}});
        let mut objects = payments();
        objects.policies = vec![policy(None, "everywhere", "1", "team/*", selector)];
        objects.namespaces = vec![("payments".to_owned(), BTreeMap::from([("tier".to_owned(), "gold".to_owned())]))];
        objects
    };
    for (tier, name, verdict) in [
        ("gold", "allow", "Allow"),
        ("gold", "deny", "Deny"),
        ("gold", "unknown", "Unknown"),
        ("lead", "deny", "NotSelected"),
    ] {
        let api_server = selecting(tier);
        let memory = Objects { accounts: vec![], namespaces: vec![], ..api_server.clone() };
        let cluster = FakeCluster::new(memory, api_server);
        let response = ask(&cluster, name).await;
        assert_eq!(annotation(&response, "verdict"), verdict, "{tier} {name}: {response:#}");
        let mut reads = cluster.reads();
        reads.dedup();
        assert_eq!(reads, cluster.reads(), "read more than once");
        assert!(reads.contains(&"namespace payments".to_owned()), "{reads:?}");
    }
}

#[tokio::test]
async fn a_gap_is_not_filled_where_no_policy_asks() {
    let cluster = FakeCluster::default();
    assert!(allowed(&ask(&cluster, "deny").await));
    assert!(cluster.reads().is_empty());
}

#[tokio::test]
async fn a_cluster_policy_that_takes_over_is_read_fresh_too() {
    // Memory: the namespace's policy denies, and so does the cluster's. In truth the namespace's is gone and the
    // cluster's has been fixed.
    let mut memory = payments();
    memory.policies.push(policy(None, "everywhere", "1", "team/*", json!({})));
    let mut api_server = payments();
    api_server.policies = vec![policy(None, "everywhere", "9", "*", json!({}))];
    let cluster = FakeCluster::new(memory.clone(), api_server.clone());
    let response = ask(&cluster, "deny").await;
    assert_eq!(annotation(&response, "verdict"), "Allow", "{response:#}");
    assert_eq!(cluster.reads().len(), 4);
    // And where it has not been fixed, the refusal is its.
    api_server.policies = vec![policy(None, "everywhere", "1", "team/*", json!({}))];
    let response = ask(&FakeCluster::new(memory, api_server), "deny").await;
    assert!(!allowed(&response));
    assert_eq!(annotation(&response, "policy"), "ClusterEcrAccessPolicy/everywhere");
}

#[tokio::test]
async fn what_cannot_be_confirmed_is_not_refused() {
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Fails);
    let (app, metrics) = app(&cluster, Limits::default());
    let response = send(&app, PODS, review("deny")).await.response();
    assert!(allowed(&response));
    assert_eq!((annotation(&response, "verdict"), annotation(&response, "reason")), ("Unknown", "NotConfirmed"));
    let warning = warnings(&response).concat();
    assert!(warning.contains("pod payments/api-0 would be refused") && warning.contains("it is on fire"), "{warning}");
    assert!(metrics.text().unwrap().contains("ecr_access_confirmations_total{outcome=\"failed\"} 1"));
}

// ---- policies ----

/// No label holds anything that a tenant can make many of.
#[tokio::test]
async fn a_thousand_namespaces_have_as_many_series_as_one() {
    let series = async |namespaces: usize| {
        let metrics = Metrics::new();
        for index in 0..namespaces {
            let name = format!("tenant-{index}");
            let mut account = account("api", "2", Some(ROLE));
            account["metadata"]["namespace"] = json!(name);
            let here = Objects {
                policies: vec![policy(None, "all", "1", "team/*", json!({}))],
                accounts: vec![account],
                namespaces: vec![(name.clone(), BTreeMap::new())],
                ..Objects::default()
            };
            let reviewer = Reviewer::new(FakeCluster::synced(here), Options::default(), metrics.clone());
            let app = router(reviewer, Limits::default(), metrics.clone());
            for repository in ["team/app", "secret/app"] {
                let image = format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{repository}-{index}:1");
                let pod = json!({"metadata": {"name": format!("pod-{index}"), "namespace": name},
                    "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": image}]}});
                let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                    "uid": format!("uid-{index}"), "kind": {"group": "", "version": "v1", "kind": "Pod"},
                    "operation": "CREATE", "namespace": name, "object": pod}});
                let response = send(&app, PODS, review.to_string()).await.response();
                assert_eq!(allowed(&response), repository == "team/app", "{response}");
            }
        }
        let text = metrics.text().unwrap();
        assert!(!text.contains("tenant-"), "{text}");
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    assert_eq!(series(1000).await, series(1).await);
}

#[tokio::test]
async fn a_malformed_document_is_refused_when_it_is_applied() {
    let (app, _) = app(&FakeCluster::synced(payments()), Limits::default());
    let send = async |name: &str| send(&app, POLICIES, review(name)).await.response();
    assert!(allowed(&send("policy-good").await));
    let refused = send("policy-malformed").await;
    assert!(!allowed(&refused));
    assert_eq!((&refused["uid"], &refused["status"]["code"]), (&json!("policy-2"), &json!(422)));
    let message = refused["status"]["message"].as_str().unwrap();
    let path = "spec.puller.nodes[0].identity.policies[0].document: $.Statement[0].Effect: ";
    assert!(message.starts_with(path), "{message}");
    assert!(allowed(&send("policy-malformed-labelled").await));
}

// ---- limits ----

#[tokio::test]
async fn what_is_no_review_is_a_bad_request_in_plain_words() {
    let (app, metrics) = app(&FakeCluster::synced(payments()), Limits::default());
    let asked = send(&app, PODS, review("no-review")).await;
    assert_eq!(asked.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        asked.text,
        "ecr-access: the body is no AdmissionReview of admission.k8s.io/v1: it has apiVersion `v1` and kind `Pod`\n"
    );
    assert_eq!(send(&app, PODS, "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send(&app, "/validate/others", "{}").await.status, StatusCode::NOT_FOUND);
    let get = Request::builder().method(Method::GET).uri(PODS).body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(get).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(metrics.text().unwrap().contains("ecr_access_requests_refused_total{outcome=\"malformed\"} 2"));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_with_and_without_a_length() {
    let limits = Limits { body: 4096, ..Limits::default() };
    let (app, metrics) = app(&FakeCluster::synced(payments()), limits);
    assert_eq!(send(&app, PODS, vec![b' '; 4097]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = |n: usize| {
        Body::from_stream(futures::stream::iter((0..n).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024])))))
    };
    assert_eq!(send(&app, PODS, chunks(5)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // As long as allowed: read, and found to be no JSON.
    assert_eq!(send(&app, PODS, chunks(4)).await.status, StatusCode::BAD_REQUEST);
    let text = metrics.text().unwrap();
    assert!(text.contains("ecr_access_requests_refused_total{outcome=\"too_large\"} 2"), "{text}");
    assert!(text.contains("ecr_access_request_bytes_in_flight 0"), "{text}");
}

#[tokio::test]
async fn a_big_pod_is_judged_like_a_small_one() {
    let mut big: Value = serde_json::from_slice(&review("deny")).unwrap();
    big["request"]["object"]["metadata"]["annotations"] = json!({"padding": "\u{1}".repeat(3 << 20)});
    // The verdict is what counts here, on whatever machine.
    let limits = Limits { deadline: Duration::from_secs(60), ..Limits::default() };
    let (app, _) = app(&FakeCluster::synced(payments()), limits);
    let body = big.to_string();
    assert!(body.len() > 17 << 20);
    let response = send(&app, PODS, body).await.response();
    assert!(!allowed(&response));
    assert_eq!(annotation(&response, "verdict"), "Deny");
}

#[tokio::test]
async fn a_panic_is_answered_with_the_reviews_uid() {
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Panics);
    let (app, metrics) = app(&cluster, Limits::default());
    let response = send(&app, PODS, review("deny")).await.response();
    assert_eq!(response["uid"], json!("deny-1"));
    assert!(allowed(&response));
    assert!(warnings(&response)[0].contains("an internal error stopped the review"), "{response:#}");
    let text = metrics.text().unwrap();
    assert!(text.contains(r#"verdict="Unknown",admission="Warned",reason="Panic"} 1"#), "{text}");
    assert!(text.contains("ecr_access_reviews_in_flight 0"), "{text}");
}

#[tokio::test]
async fn our_own_deadline_comes_first_and_speaks() {
    let (mood, limits) = beyond_the_deadline();
    let cluster = FakeCluster::synced(payments()).in_mood(mood);
    let mut many: Value = serde_json::from_slice(&review("deny")).unwrap();
    many["request"]["object"]["spec"]["containers"] = crate::warnings::with_images(300)["containers"].take();
    let started = Instant::now();
    let response = send(&app(&cluster, limits).0, PODS, many.to_string()).await.response();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(response["uid"], json!("deny-1"));
    assert!(allowed(&response));
    assert_eq!(annotation(&response, "reason"), "Deadline");
    assert_eq!(
        warnings(&response),
        ["ecr-access: Unknown: the review did not end within 0.1 s, so nothing was judged; it is admitted"]
    );
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_given_up_on_before_the_deadline() {
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Waits(Arc::default()));
    let response = ask(&cluster, "deny").await;
    assert!(allowed(&response));
    assert_eq!(annotation(&response, "reason"), "NotConfirmed");
    assert!(warnings(&response)[0].contains("the API server did not answer in time"), "{response:#}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_on() {
    let limits = Limits { deadline: Duration::from_millis(100), ..Limits::default() };
    let (app, metrics) = app(&FakeCluster::synced(payments()), limits);
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(send(&app, PODS, never).await.status, StatusCode::REQUEST_TIMEOUT);
    assert!(metrics.text().unwrap().contains("ecr_access_requests_refused_total{outcome=\"slow\"} 1"));
}

#[tokio::test]
async fn bodies_together_stay_within_their_budget() {
    let told = Arc::new(Notify::new());
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Waits(told.clone()));
    let size = review("deny").len();
    // One fits, two do not.
    let limits = Limits { body: size, bodies: size + size / 2, ..Limits::default() };
    let (app, metrics) = app(&cluster, limits);
    let first = tokio::spawn({
        let app = app.clone();
        async move { send(&app, PODS, review("deny")).await }
    });
    // The first is in its fresh reads.
    while cluster.reads().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(&app, PODS, review("deny")).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(metrics.text().unwrap().contains("ecr_access_requests_refused_total{outcome=\"overloaded\"} 1"));
    told.notify_waiters();
    assert!(!allowed(&first.await.unwrap().response()));
    assert!(metrics.text().unwrap().contains("ecr_access_request_bytes_in_flight 0"));
    // And then there is room again.
    let third = tokio::spawn({
        let app = app.clone();
        async move { send(&app, PODS, review("allow")).await }
    });
    assert!(allowed(&third.await.unwrap().response()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_would_have_to_wait_for_its_turn_is_turned_away_at_once() {
    let (works, held) = std::sync::mpsc::channel();
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Works(Arc::new(Mutex::new(held))));
    let (app, metrics) = app(&cluster, Limits { turns: 1, ..Limits::default() });
    let first = tokio::spawn({
        let app = app.clone();
        async move { send(&app, PODS, review("allow")).await }
    });
    while metrics.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    // Until the first has its turn, others may be faster.
    let mut refused = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let request = Request::post(PODS).body(Body::from(review("no-review"))).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
            refused.push(started.elapsed());
        }
    }
    assert!(refused.len() >= 10, "{refused:?}");
    refused.sort();
    assert!(refused[refused.len() / 2] < Duration::from_millis(100), "{refused:?}");
    drop(works);
    assert!(allowed(&first.await.unwrap().response()));
    assert_eq!(metrics.in_flight.get(), 0);
}

#[tokio::test]
async fn a_review_that_waits_for_the_api_server_gives_its_turn_to_others() {
    let told = Arc::new(Notify::new());
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Waits(told.clone()));
    let (app, _) = app(&cluster, Limits { turns: 1, ..Limits::default() });
    let waiting = tokio::spawn({
        let app = app.clone();
        async move { send(&app, PODS, review("deny")).await }
    });
    while cluster.reads().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(allowed(&send(&app, PODS, review("allow")).await.response()));
    told.notify_waiters();
    assert!(!allowed(&waiting.await.unwrap().response()));
}

#[tokio::test]
async fn whoever_announces_much_and_sends_little_keeps_nobody_out() {
    let (app, metrics) = app(&FakeCluster::synced(payments()), Limits::default());
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
            let body = Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()));
            let request = Request::post(PODS).header(header::CONTENT_LENGTH, 40 << 20).body(body).unwrap();
            tokio::spawn(app.clone().oneshot(request))
        })
        .collect();
    while metrics.in_flight.get() < 200 || metrics.bytes_in_flight.get() < 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.bytes_in_flight.get(), 200, "what has arrived, not what was announced");
    assert!(allowed(&send(&app, PODS, review("allow")).await.response()));
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    for request in slow {
        assert!(request.await.unwrap_err().is_cancelled());
    }
    assert_eq!(metrics.bytes_in_flight.get(), 0);
}

#[tokio::test]
async fn replicas_that_know_different_things_agree_on_a_refusal() {
    // What two replicas may remember, and what is true.
    let state = |repositories: Option<&str>| {
        let policies = repositories.map(|name| policy(Some("payments"), "pull", &format!("v-{name}"), name, json!({})));
        Objects { policies: policies.into_iter().collect(), ..payments() }
    };
    let states = [state(None), state(Some("team/*")), state(Some("other/*")), state(Some("*"))];
    let mut refusals = 0;
    for truth in &states {
        let fresh = ask(&FakeCluster::synced(truth.clone()), "deny").await;
        for memory in &states {
            let answer = ask(&FakeCluster::new(memory.clone(), truth.clone()), "deny").await;
            if !allowed(&answer) {
                assert_eq!(answer, fresh, "a refusal is what a replica would say that has just been started");
                refusals += 1;
            }
        }
    }
    assert!(refusals >= 4, "{refusals}");
}

// ---- TLS ----

const NAME: &str = "ecr-access.ecr-access-system.svc";

fn certificate() -> Loaded {
    CertificateSecret::new(NAME, SystemTime::now(), &[]).unwrap().load(NAME, SystemTime::now()).unwrap()
}

struct Running {
    address: std::net::SocketAddr,
    serving: Arc<CertResolver>,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

async fn running(cluster: &FakeCluster) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, serving, stop) = (listener.local_addr().unwrap(), CertResolver::new(), CancellationToken::new());
    // How long a review may take is not what is tested over TLS.
    let (app, metrics) = app(cluster, Limits { deadline: Duration::from_secs(60), ..Limits::default() });
    let readiness = Readiness::new();
    let app = closing_connections(app, readiness.clone());
    let config = tls::server_config(serving.clone()).unwrap();
    let server = tls::serve(listener, config, app, 100, ApiServers::nobody(), metrics.clone(), stop.clone());
    let server = tokio::spawn(server);
    Running { address, serving, metrics, readiness, stop, server }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(running: &Running, trusting: &Loaded, alpn: &[u8]) -> std::io::Result<Tls> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(trusting.secret.authorities.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let builder = rustls::ClientConfig::builder_with_provider(tls::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(running.address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from(NAME).unwrap(), stream).await
}

fn post(version: hyper::Version, name: &str) -> Request<Full<Bytes>> {
    let uri = if version == hyper::Version::HTTP_2 { format!("https://{NAME}{PODS}") } else { PODS.to_owned() };
    Request::post(uri).header(header::HOST, NAME).body(Full::new(Bytes::from(review(name)))).unwrap()
}

async fn uid_of(response: hyper::Response<hyper::body::Incoming>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&bytes).unwrap();
    review["response"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_connections_are_open() {
    let running = running(&FakeCluster::synced(payments())).await;
    let (old, new) = (certificate(), certificate());
    assert!(connect(&running, &old, b"h2").await.is_err(), "there is no certificate yet");
    running.serving.swap(old.pair.certified.clone());

    let stream = connect(&running, &old, b"h2").await.unwrap();
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let stream = connect(&running, &old, b"http/1.1").await.unwrap();
    let (mut h1, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let response = h2.send_request(post(hyper::Version::HTTP_2, "allow")).await.unwrap();
        assert_eq!(response.version(), hyper::Version::HTTP_2);
        assert_eq!(uid_of(response).await, "allow-1");
        let response = h1.send_request(post(hyper::Version::HTTP_11, "deny")).await.unwrap();
        assert_eq!(response.version(), hyper::Version::HTTP_11);
        assert_eq!(uid_of(response).await, "deny-1");
        // The second time round over the same connections.
        running.serving.swap(new.pair.certified.clone());
    }
    let error = connect(&running, &old, b"h2").await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    assert!(connect(&running, &new, b"h2").await.is_ok());
}

/// Waits for what comes at once on a quiet machine, and on a busy one at some time. Without it, a failure would be a test
/// that never ends.
async fn soon<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), waited_for).await.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn while_the_program_shuts_down_each_connection_ends_with_its_next_answer() {
    let running = running(&FakeCluster::synced(payments())).await;
    let certificate = certificate();
    running.serving.swap(certificate.pair.certified.clone());
    let stream = connect(&running, &certificate, b"http/1.1").await.unwrap();
    let (mut h1, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let stream = connect(&running, &certificate, b"h2").await.unwrap();
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for name in ["allow", "deny"] {
        let response = h1.send_request(post(hyper::Version::HTTP_11, name)).await.unwrap();
        assert_eq!(response.headers().get(header::CONNECTION), None);
        uid_of(response).await;
    }
    running.readiness.drain();
    let response = h1.send_request(post(hyper::Version::HTTP_11, "allow")).await.unwrap();
    assert_eq!(response.headers()[header::CONNECTION], "close");
    assert_eq!(uid_of(response).await, "allow-1");
    soon("the connection ends", ended).await.unwrap().unwrap();
    // What is shared by many requests ends at the end.
    for _ in 0..2 {
        let response = h2.send_request(post(hyper::Version::HTTP_2, "allow")).await.unwrap();
        assert_eq!(uid_of(response).await, "allow-1");
    }
    // New connections are served on.
    let stream = connect(&running, &certificate, b"http/1.1").await.unwrap();
    let (mut h1, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = h1.send_request(post(hyper::Version::HTTP_11, "deny")).await.unwrap();
    assert_eq!(uid_of(response).await, "deny-1");
}

#[tokio::test]
async fn what_is_in_flight_at_the_end_is_answered() {
    let told = Arc::new(Notify::new());
    let cluster = FakeCluster::synced(payments()).in_mood(Mood::Waits(told.clone()));
    let running = running(&cluster).await;
    let certificate = certificate();
    running.serving.swap(certificate.pair.certified.clone());
    // Idle connections must not hold up the end, whether they were ever used or not.
    let mut silent = connect(&running, &certificate, b"http/1.1").await.unwrap();
    let stream = connect(&running, &certificate, b"h2").await.unwrap();
    let (_idle, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let idle = tokio::spawn(connection);
    let stream = connect(&running, &certificate, b"h2").await.unwrap();
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = tokio::spawn(h2.send_request(post(hyper::Version::HTTP_2, "deny")));
    let reads = async {
        while cluster.reads().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("the review is in its fresh reads", reads).await;
    running.stop.cancel();
    tokio::task::yield_now().await;
    assert!(!running.server.is_finished());
    told.notify_waiters();
    assert_eq!(uid_of(answer.await.unwrap().unwrap()).await, "deny-1");
    soon("the server ends", running.server).await.unwrap();
    // It ended them, and was not merely done with waiting for them.
    soon("the idle connection ends", idle).await.unwrap().unwrap();
    assert_eq!(soon("the silent one ends", silent.read(&mut [0])).await.unwrap(), 0);
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
    let text = running.metrics.text().unwrap();
    assert!(text.contains("ecr_access_tls_connections_total{outcome=\"accepted\"} 3"), "{text}");
}
