//! What somebody who is no API server can do to the webhook, through the router: little, and nothing to others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use ecr_access::runtime::callers::{ApiServers, Caller, Standing};
use ecr_access::runtime::guarded::{Guard, Plain, Server};
use ecr_access::runtime::metrics::{CallerLabels, Metrics, OutcomeLabels};
use ecr_access::webhook::cluster::{Cluster, Read, ReadError};
use ecr_access::webhook::limits::Limits;
use ecr_access::webhook::review::Reviewer;
use ecr_access::webhook::server::router;
use ecr_forecast::cluster::ObjectRef;
use ecr_forecast::inventory::Inventory;
use ecr_forecast::judge::Options;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::fake_cluster::{FakeCluster, Mood};
use crate::webhook::{ROLE, account, allowed, annotation, app, payments, warnings};

const PODS: &str = "/validate/pods";

fn api_server() -> Caller {
    Caller { address: [10, 0, 0, 1].into(), standing: Standing::ApiServer }
}

fn stranger(last: u8) -> Caller {
    Caller { address: [10, 244, 0, last].into(), standing: Standing::Apart }
}

async fn call(app: &Router, caller: Caller, body: impl Into<Body>) -> Response<Body> {
    let body = body.into();
    let mut request = Request::post(PODS).header(header::CONTENT_TYPE, "application/json");
    if let Some(length) = axum::body::HttpBody::size_hint(&body).exact() {
        request = request.header(header::CONTENT_LENGTH, length);
    }
    app.clone().oneshot(request.extension(caller).body(body).unwrap()).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn answer(app: &Router, caller: Caller, body: String) -> Value {
    let response = call(app, caller, body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let review: Value = serde_json::from_str(&text(response).await).unwrap();
    review["response"].clone()
}

/// A review of a pod of this service account of `payments` that may not be pulled.
fn review(account: &str) -> String {
    let image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/other/app:1";
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "namespace": "payments", "name": "p",
        "object": {"metadata": {"name": "p"}, "spec": {"serviceAccountName": account,
            "containers": [{"name": "app", "image": image}]}}}})
    .to_string()
}

fn refused(metrics: &Metrics, outcome: &'static str) -> u64 {
    metrics.refused.get_or_create(&OutcomeLabels { outcome }).get()
}

/// A body of which nothing is ever asked for.
struct Untouchable(u64);

impl hyper::body::Body for Untouchable {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        panic!("the body was read");
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_big_body_of_a_stranger_is_turned_away_unread() {
    let (app, metrics) = app(&FakeCluster::synced(payments()), Limits::default());
    let response = call(&app, stranger(2), Body::new(Untouchable(5 << 20))).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(response).await, "ecr-access: the body has more than 4 MiB\n");
    assert_eq!(refused(&metrics, "too_large"), 1);
    // One that does not say how much it is going to be is read until it is too much.
    let chunk = Bytes::from(vec![b' '; 1 << 20]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    let response = call(&app, stranger(2), Body::from_stream(endless)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // An API server may send more, and so may anybody where none is known.
    for caller in [api_server(), Caller::default()] {
        let response = call(&app, caller, vec![b' '; 5 << 20]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "read, and no JSON");
    }
}

#[tokio::test]
async fn slow_bodies_of_a_stranger_keep_nobody_else_out() {
    let (app, metrics) = app(&FakeCluster::synced(payments()), Limits::default());
    let begin = Instant::now();
    let slow: Vec<_> = (0..64)
        .map(|_| {
            let app = app.clone();
            let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
            let body = Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()));
            tokio::spawn(async move { call(&app, stranger(2), body).await.status() })
        })
        .collect();
    while metrics.bytes_in_flight.get() < 8 {
        assert!(begin.elapsed() < Duration::from_secs(30), "{} are read", metrics.bytes_in_flight.get());
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.bytes_in_flight.get(), 8, "so many of one stranger are read");
    for caller in [api_server(), stranger(3)] {
        assert!(!allowed(&answer(&app, caller, review("api")).await));
    }
    assert!(begin.elapsed() < Limits::default().deadline, "{:?}", begin.elapsed());
    let mut statuses: BTreeMap<StatusCode, usize> = BTreeMap::new();
    for task in slow {
        *statuses.entry(task.await.unwrap()).or_default() += 1;
    }
    // Those that were let in did not go on, the others were kept waiting and sent away.
    let expected = [(StatusCode::REQUEST_TIMEOUT, 8), (StatusCode::TOO_MANY_REQUESTS, 56)];
    assert_eq!(statuses, BTreeMap::from(expected));
    assert_eq!((refused(&metrics, "share"), refused(&metrics, "overloaded")), (56, 0));
}

/// A stranger's work has one turn of four, however much of it there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 5)]
async fn work_of_a_stranger_leaves_turns_to_api_servers() {
    let (works, held) = std::sync::mpsc::channel();
    let mut cluster = FakeCluster::synced(payments());
    cluster.mood = Mood::Works(Arc::new(Mutex::new(held)));
    let (app, metrics) = app(&cluster, Limits { turns: 4, processors: 4, ..Limits::default() });
    let flood: Vec<_> = (0..20)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { call(&app, stranger(2), review("api")).await.status() })
        })
        .collect();
    // All but the one that has the turn are sent away.
    let begin = Instant::now();
    while refused(&metrics, "share") < 19 {
        assert!(begin.elapsed() < Duration::from_secs(30), "{} were sent away", refused(&metrics, "share"));
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        assert_eq!(call(&app, api_server(), "no review").await.status(), StatusCode::BAD_REQUEST, "it had a turn");
    }
    drop(works);
    let mut answered = 0;
    for task in flood {
        answered += usize::from(task.await.unwrap() == StatusCode::OK);
    }
    assert_eq!(answered, 1);
}

/// A cluster whose memory changes.
#[derive(Clone)]
struct Watched(Arc<Mutex<FakeCluster>>);

impl Watched {
    fn now(&self) -> FakeCluster {
        self.0.lock().unwrap().clone()
    }
}

impl Cluster for Watched {
    fn snapshot(&self) -> Option<Arc<Inventory>> {
        self.now().snapshot()
    }

    async fn get(&self, what: &ObjectRef) -> Result<Read, ReadError> {
        self.now().get(what).await
    }
}

#[tokio::test]
async fn what_is_not_there_is_read_once_in_a_moment_and_seen_as_soon_as_the_watch_tells() {
    let before = FakeCluster::synced(payments());
    let cluster = Watched(Arc::new(Mutex::new(before.clone())));
    let metrics = Metrics::new();
    let reviewer = Reviewer::new(cluster.clone(), Options::default(), metrics.clone());
    let app = router(reviewer, Limits::default(), metrics);
    for _ in 0..20 {
        let response = answer(&app, api_server(), review("late")).await;
        assert!(allowed(&response));
        assert_eq!(annotation(&response, "verdict"), "Unknown", "{response:#}");
    }
    assert_eq!(before.reads(), ["service account payments/late"]);
    // It is made, and the watch tells of it.
    let mut objects = payments();
    objects.accounts.push(account("late", "9", Some(ROLE)));
    *cluster.0.lock().unwrap() = FakeCluster::synced(objects);
    let response = answer(&app, api_server(), review("late")).await;
    assert_eq!((allowed(&response), annotation(&response, "verdict")), (false, "Deny"), "{response:#}");
}

/// Two in a second, four at once; and as many turns as processors, so that a stranger need not wait for them.
fn few_reads() -> Limits {
    Limits { unknown_reads: 2, turns: 4, processors: 4, ..Limits::default() }
}

#[tokio::test]
async fn invented_service_accounts_cost_a_stranger_more_than_the_api_server() {
    let cluster = FakeCluster::synced(payments());
    let (app, _) = app(&cluster, few_reads());
    let begin = Instant::now();
    for index in 0..60 {
        let response = answer(&app, stranger(2), review(&format!("invented-{index}"))).await;
        assert!(allowed(&response) && annotation(&response, "verdict") == "Unknown", "{response:#}");
    }
    let reads = cluster.reads().len();
    assert!((4..60).contains(&reads) && reads as f64 <= 5.0 + 2.0 * begin.elapsed().as_secs_f64(), "{reads} reads");
    // Others are not held to it.
    let response = answer(&app, api_server(), review("invented-by-the-api-server")).await;
    assert_eq!(annotation(&response, "verdict"), "Unknown");
    assert_eq!(cluster.reads().len(), reads + 1);
}

/// Where the service account does not matter to who pulls, it is read before a refusal leaves: also at a rate.
#[tokio::test]
async fn a_refusal_that_a_stranger_asks_for_too_often_is_not_confirmed() {
    let mut objects = payments();
    let roles = objects.policies[0]["spec"]["puller"]["serviceAccount"]["roles"].take();
    objects.policies[0]["spec"]["puller"] = json!({"role": roles[0]});
    let cluster = FakeCluster::synced(objects);
    let (app, _) = app(&cluster, few_reads());
    let (mut refusals, begin) = (0, Instant::now());
    for index in 0..60 {
        let response = answer(&app, stranger(2), review(&format!("invented-{index}"))).await;
        if allowed(&response) {
            assert_eq!(annotation(&response, "reason"), "NotConfirmed", "{response:#}");
            assert!(warnings(&response)[0].contains("too many reads"), "{response:#}");
        } else {
            refusals += 1;
        }
    }
    assert!(
        (4..60).contains(&refusals) && f64::from(refusals) <= 5.0 + 2.0 * begin.elapsed().as_secs_f64(),
        "{refusals}"
    );
    assert!(!allowed(&answer(&app, api_server(), review("invented")).await));
}

#[tokio::test]
async fn what_a_stranger_wrote_is_cut_where_it_is_repeated() {
    let (app, _) = app(&FakeCluster::synced(payments()), few_reads());
    let long = "x".repeat(1 << 20);
    for body in [
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": long}),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": long}}),
        json!({"apiVersion": long, "kind": long}),
    ] {
        let response = call(&app, stranger(2), body.to_string()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let text = text(response).await;
        assert!(text.len() < 300, "{} bytes", text.len());
    }
}

/// On two processors there are four turns, so a stranger's is taken for twice as long as it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_alone_is_served_at_its_rate_and_not_turned_away() {
    let (app, metrics) = app(&FakeCluster::synced(payments()), Limits { turns: 4, processors: 2, ..Limits::default() });
    for _ in 0..20 {
        assert!(!allowed(&answer(&app, stranger(2), review("api")).await));
    }
    assert_eq!(refused(&metrics, "share"), 0);
}

// ---- by address, over sockets ----

/// A pod of so many containers, none of whose images may be pulled.
fn wide_review(containers: usize) -> String {
    let mut review: Value = serde_json::from_str(&review("api")).unwrap();
    review["request"]["object"]["spec"]["containers"] = (0..containers)
        .map(|index| {
            json!({"name": format!("c{index}"),
            "image": format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/other/app-{index}:1")})
        })
        .collect();
    review.to_string()
}

/// A connection, and what becomes of it.
struct Connection {
    sender: hyper::client::conn::http1::SendRequest<http_body_util::Full<Bytes>>,
    end: JoinHandle<hyper::Result<()>>,
}

async fn connect(from: [u8; 4], to: SocketAddr) -> Connection {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.into(), 0)).unwrap();
    let stream = socket.connect(to).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    Connection { sender, end: tokio::spawn(connection) }
}

impl Connection {
    /// The code of one answer, or nothing where the connection was closed.
    async fn post(&mut self, body: &str) -> Option<StatusCode> {
        let request = Request::post(PODS).header(header::HOST, "x").body(body.to_owned().into()).unwrap();
        let sender = &mut self.sender;
        let answer = async move {
            sender.ready().await.ok()?;
            let response = sender.send_request(request).await.ok()?;
            let status = response.status();
            response.into_body().collect().await.ok()?;
            Some(status)
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            // A request that is sent just when the connection ends is otherwise waited for without end now and then.
            _ = &mut self.end => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 5)]
async fn a_flood_from_one_address_refuses_no_call_of_an_api_server() {
    let (app, metrics) = app(&FakeCluster::synced(payments()), Limits { processors: 2, turns: 4, ..Limits::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let long = Duration::from_secs(60);
    let guard = Guard { connections: 100, secure: long, first_request: long, next_request: long, headers: 8192 };
    let api_servers = ApiServers::new(vec!["127.0.0.1".parse().unwrap()]);
    let port = Server { transport: Plain, guard, api_servers, count: Arc::new(|_| {}) };
    let port = tokio::spawn(port.serve(listener, app, stop.clone()));

    // An API server has called, so it is known that its calls come from its address.
    let mut server = connect([127, 0, 0, 1], address).await;
    assert_eq!(server.post(&review("api")).await, Some(StatusCode::OK));
    let until = Instant::now() + Duration::from_secs(2);
    let wide = wide_review(200);
    let flood: Vec<_> = (0..40)
        .map(|_| {
            let wide = wide.clone();
            tokio::spawn(async move {
                let mut answers = 0_u64;
                while Instant::now() < until {
                    let mut connection = connect([127, 0, 0, 9], address).await;
                    while Instant::now() < until {
                        match connection.post(&wide).await {
                            Some(_) => answers += 1,
                            None => break,
                        }
                    }
                }
                answers
            })
        })
        .collect();
    let mut calls = 0;
    while Instant::now() < until {
        assert_eq!(server.post(&review("api")).await, Some(StatusCode::OK), "call {calls}");
        calls += 1;
    }
    let mut answers = 0;
    for task in flood {
        answers += task.await.unwrap();
    }
    assert!(calls > 5 && answers > 0, "{calls} calls beside {answers}");
    assert_eq!(refused(&metrics, "overloaded"), 0, "nobody but the stranger was turned away");
    let by = |caller| metrics.calls.get_or_create(&CallerLabels { caller }).get();
    assert_eq!(by("api_server"), calls + 1);
    assert!(by("other") >= answers);
    stop.cancel();
    port.await.unwrap();
}
