//! One review in memory: the bytes of the request in, the bytes of the answer out, through the router as it is served,
//! without TLS and without an API server.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a bench may stop when its own data is wrong")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecr_access::runtime::metrics::Metrics;
use ecr_access::runtime::watch::object::Raw;
use ecr_access::webhook::cluster::{Cluster, Read, ReadError};
use ecr_access::webhook::limits::Limits;
use ecr_access::webhook::review::Reviewer;
use ecr_access::webhook::server::router;
use ecr_forecast::cluster::ObjectRef;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::Options;
use ecr_forecast::policy::compiled::PolicyObject;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const ROLE: &str = "arn:aws:iam::111122223333:role/pull";

/// Memory that is up to date, so fresh reads change nothing.
struct FakeCluster {
    inventory: Arc<Inventory>,
    policies: Vec<Value>,
}

impl FakeCluster {
    /// The namespace of the reviews among 200 others, each with a policy and five service accounts.
    fn new() -> FakeCluster {
        let mut inventory = Inventory::default();
        let mut policies = Vec::new();
        for namespace in std::iter::once("payments".to_owned()).chain((0..200).map(|i| format!("team-{i}"))) {
            let document = json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
                {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/team/*"},
                {"Effect": "Deny", "Action": "ecr:DeleteRepository", "Resource": "*"}]});
            let policy = json!({
                "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
                "metadata": {"namespace": namespace, "name": "pull", "resourceVersion": "1"},
                "spec": {"puller": {"serviceAccount": {"identity": {"policies": [{"name": "pull", "document": document}]}}}}});
            inventory.put_policy(PolicyObject::from_json(policy.clone()).expect("a policy"));
            if namespace == "payments" {
                policies.push(policy);
            }
            for name in ["api", "plain", "worker", "default", "batch"] {
                let account = json!({"metadata": {"namespace": namespace, "name": name, "resourceVersion": "1",
                    "annotations": {"eks.amazonaws.com/ecr-role-arn": ROLE}}});
                inventory.put_service_account(ServiceAccountFacts::from_json(&account).expect("an account"));
            }
            inventory.put_namespace(namespace, BTreeMap::new());
        }
        FakeCluster { inventory: Arc::new(inventory), policies }
    }
}

impl Cluster for FakeCluster {
    fn snapshot(&self) -> Option<Arc<Inventory>> {
        Some(Arc::clone(&self.inventory))
    }

    async fn get(&self, what: &ObjectRef) -> Result<Read, ReadError> {
        let inventory = &self.inventory;
        Ok(match what {
            ObjectRef::ServiceAccount { namespace, name } => {
                Read::ServiceAccount(inventory.service_account(namespace, name).map(|facts| (**facts).clone()))
            }
            ObjectRef::Namespace(name) => Read::Namespace(inventory.namespace(name).cloned()),
            ObjectRef::ConfigMap(name) => Read::ConfigMap(inventory.config_map(name).map(|facts| (**facts).clone())),
            ObjectRef::Policies(namespace) => {
                let policies = self.policies.iter().filter(|_| namespace.is_some());
                Read::Policies(policies.map(|policy| Raw::new(policy.clone()).into()).collect())
            }
        })
    }
}

fn review(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/reviews/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).expect("a review of the tests")
}

/// The same pod with this many containers, all of different repositories.
fn wide(containers: usize) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&review("allow")).expect("JSON");
    let list = review.pointer_mut("/request/object/spec/containers").and_then(Value::as_array_mut).expect("containers");
    let first = list.first().cloned().expect("a container");
    *list = (0..containers)
        .map(|i| {
            let mut container = first.clone();
            container["name"] = json!(format!("c{i}"));
            container["image"] = json!(format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app{i}:1"));
            container
        })
        .collect();
    serde_json::to_vec(&review).expect("JSON")
}

fn reviews(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let metrics = Metrics::new();
    let app =
        router(Reviewer::new(FakeCluster::new(), Options::default(), metrics.clone()), Limits::default(), metrics);
    let mut group = criterion.benchmark_group("review");
    for (name, body) in [
        ("allow", review("allow")),
        ("deny with its fresh reads", review("deny")),
        ("not selected", review("not-selected")),
        ("100 containers", wide(100)),
        ("8000 containers", wide(8000)),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = Request::post("/validate/pods").body(Body::from(body.clone())).expect("a request");
                runtime.block_on(async {
                    let response = app.clone().oneshot(request).await.expect("infallible");
                    black_box(response.into_body().collect().await.expect("a body").to_bytes())
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reviews);
criterion_main!(benches);
