//! One review in memory: the bytes of the request in, the bytes of the answer out, through the router as it is served,
//! without TLS and without an API server.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a bench may stop when its own data is wrong")]

use std::collections::BTreeMap;
use std::hint::black_box;

use axum::body::Body;
use axum::http::Request;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecr_access::runtime::metrics::Metrics;
use ecr_access::webhook::limits::Limits;
use ecr_access::webhook::review::Reviewer;
use ecr_access::webhook::server::router;
use ecr_forecast::judge::Options;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/fake_cluster/mod.rs"]
mod fake_cluster;
use fake_cluster::{FakeCluster, Objects};

/// The namespace of the reviews among 200 others, each with a policy and five service accounts.
fn objects() -> Objects {
    let mut objects = Objects::default();
    for namespace in std::iter::once("payments".to_owned()).chain((0..200).map(|i| format!("team-{i}"))) {
        let mut statements = fixtures::pulls_of(fixtures::repository("team/*"));
        let deny = json!({"Effect": "Deny", "Action": "ecr:DeleteRepository", "Resource": "*"});
        statements.as_array_mut().expect("a list").push(deny);
        let policy = fixtures::policy("pull").metadata("namespace", &*namespace).metadata("resourceVersion", "1");
        objects.policies.push(policy.identity(fixtures::identity("pull", statements)).object());
        for name in ["api", "plain", "worker", "default", "batch"] {
            let role = json!({fixtures::ROLE_ANNOTATION: fixtures::ROLE});
            let mut account = fixtures::marked(fixtures::service_account(name), json!({}), role);
            account["metadata"]["namespace"] = json!(namespace);
            account["metadata"]["resourceVersion"] = json!("1");
            objects.accounts.push(account);
        }
        objects.namespaces.push((namespace, BTreeMap::new()));
    }
    objects
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
            container["image"] = json!(fixtures::image(&format!("team/app{i}")));
            container
        })
        .collect();
    serde_json::to_vec(&review).expect("JSON")
}

fn reviews(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let metrics = Metrics::new();
    // Memory is up to date, so fresh reads change nothing.
    let reviewer = Reviewer::new(FakeCluster::synced(objects()), Options::default(), metrics.clone());
    let app = router(reviewer, Limits::default(), metrics);
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
