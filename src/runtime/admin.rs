//! The admin port: plain HTTP for the kubelet's probes and for Prometheus.
//!
//! `/livez` fails when the runtime that does the work stands still, `/readyz` with a reason per line while this replica
//! should get no requests, `/metrics` in OpenMetrics text. `/readyz/reasons` says what `/readyz` says and always succeeds:
//! `kubectl get --raw` shows nothing of an answer that is an error. The port has a thread of its own, so that it answers
//! in time also while the program has all hands full: a replica that is busy must not be killed for it. Whoever connects
//! and says nothing makes room for whoever asks ([`super::guarded`]).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::callers::ApiServers;
use super::guarded::{Guard, Outcome, Plain, Server};
use super::heartbeat::Heartbeat;
use super::metrics::{CONTENT_TYPE, Metrics, OutcomeLabels};
use super::readiness::Readiness;

/// From connecting to the headers of the first request.
const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// From an answer to the headers of the next request. A kubelet makes a connection for each probe, Prometheus one for
/// many scrapes, and another one where it finds it closed.
const NEXT_REQUEST: Duration = Duration::from_secs(90);
/// Bytes of headers.
const HEADERS: usize = 8 << 10;

/// The routes of the admin port.
pub fn router(heartbeat: Heartbeat, readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(livez).with_state(heartbeat))
        .route("/readyz", get(readyz).with_state(readiness.clone()))
        .route("/readyz/reasons", get(reasons).with_state(readiness))
        .route("/metrics", get(openmetrics).with_state(metrics))
}

/// Serves `router` on a thread of its own, on so many connections at most, until `stop` is cancelled and open requests
/// are answered. The returned future waits for that.
///
/// # Errors
/// When the thread cannot be started; from the future, when the listener fails.
pub fn serve(
    listener: std::net::TcpListener,
    router: Router,
    connections: usize,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = std::io::Result<()>> + Send> {
    let guard = Guard {
        connections,
        secure: FIRST_REQUEST,
        first_request: FIRST_REQUEST,
        next_request: NEXT_REQUEST,
        headers: HEADERS,
    };
    serve_guarded(listener, router, guard, metrics, stop)
}

fn serve_guarded(
    listener: std::net::TcpListener,
    router: Router,
    guard: Guard,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = std::io::Result<()>> + Send> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = move |outcome: Outcome| {
        metrics.admin_connections.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    };
    // Kubelets, Prometheus and people: no address is worth more than another.
    let server = Server { transport: Plain, guard, api_servers: ApiServers::nobody(), count: Arc::new(count) };
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let result = runtime.block_on(async {
            server.serve(TcpListener::from_std(listener)?, router, stop).await;
            Ok(())
        });
        // Whoever waited may be gone.
        let _ = done.send(result);
    })?;
    Ok(async { ended.await.unwrap_or_else(|_| Err(std::io::Error::other("its thread panicked"))) })
}

async fn livez(State(heartbeat): State<Heartbeat>) -> Response {
    match heartbeat.check() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not alive\n{reason}\n")).into_response(),
    }
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n")))
}

async fn reasons(readiness: State<Readiness>) -> String {
    readyz(readiness).await.1
}

async fn openmetrics(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use std::io::{Read, Write};
    use std::net::{IpAddr, SocketAddr, TcpStream};
    use std::time::Instant;

    use super::*;

    async fn get_path(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_its_conditions_and_liveness_does_not() {
        let readiness = Readiness::new();
        let router = router(Heartbeat::new(), readiness.clone(), Metrics::new());
        for path in ["/readyz", "/readyz/reasons"] {
            assert_eq!(get_path(&router, path).await, (StatusCode::OK, "ok\n".to_owned()));
        }
        readiness.drain();
        let expected = "not ready\nshutdown: the program is shutting down\n".to_owned();
        assert_eq!(get_path(&router, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, expected.clone()));
        assert_eq!(get_path(&router, "/readyz/reasons").await, (StatusCode::OK, expected));
        assert_eq!(get_path(&router, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    }

    #[test]
    fn a_runtime_that_stands_still_is_told_of_in_time() {
        let heartbeat = Heartbeat::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let routes = router(heartbeat.clone(), Readiness::new(), Metrics::new());
        let admin = serve(listener, routes, 8, Metrics::new(), stop.clone()).unwrap();
        let ask = || ask(address, "/livez");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            tokio::spawn(heartbeat.clone().beat());
            tokio::task::yield_now().await;
            assert!(ask().starts_with("HTTP/1.0 200"));
            // Nothing else runs on this runtime from here on, so its heart does not beat.
            heartbeat.age_for_a_test(super::super::heartbeat::LONGEST);
            ask()
        });
        assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("stands still"), "{answer}");
        stop.cancel();
        runtime.block_on(admin).unwrap();
    }

    /// What the port answers, or nothing in time.
    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        // A connection that is reset, or not answered, has said all that it will.
        let _ = stream.read_to_string(&mut text);
        text
    }

    struct Running {
        address: SocketAddr,
        metrics: Metrics,
        stop: CancellationToken,
        ended: std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>,
    }

    fn running(guard: Guard) -> Running {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, metrics, stop) = (listener.local_addr().unwrap(), Metrics::new(), CancellationToken::new());
        let routes = router(Heartbeat::new(), Readiness::new(), metrics.clone());
        let ended = Box::pin(serve_guarded(listener, routes, guard, metrics.clone(), stop.clone()).unwrap());
        Running { address, metrics, stop, ended }
    }

    fn guard(connections: usize) -> Guard {
        let long = Duration::from_secs(60);
        Guard { connections, secure: long, first_request: long, next_request: long, headers: HEADERS }
    }

    impl Running {
        fn end(self) {
            self.stop.cancel();
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.ended).unwrap();
        }

        fn became(&self, outcome: Outcome) -> u64 {
            self.metrics.admin_connections.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).get()
        }
    }

    /// Whether the other end has closed it; waits for it.
    fn is_closed(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        match stream.read(&mut [0; 1]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn probes_are_answered_beside_more_idle_connections_than_there_is_room_for() {
        const MOST: usize = 16;
        let port = running(guard(MOST));
        let mut idle: Vec<TcpStream> = (0..20 * MOST).map(|_| TcpStream::connect(port.address).unwrap()).collect();
        for round in 0..50 {
            for path in ["/livez", "/readyz", "/metrics"] {
                let answer = ask(port.address, path);
                assert!(answer.starts_with("HTTP/1.0 200"), "{path}, round {round}: {answer}");
            }
            idle.push(TcpStream::connect(port.address).unwrap());
        }
        // Those that came first were told to go.
        let first = idle.len() - MOST;
        assert!(idle.iter_mut().take(first).all(is_closed));
        assert!(port.became(Outcome::Evicted) >= 200, "{}", port.became(Outcome::Evicted));
        assert_eq!(port.became(Outcome::Shed), 0);
        port.end();
    }

    /// Whoever has many connections makes room, whoever has few keeps them: here 127.0.0.2, a kubelet that keeps its own.
    #[test]
    fn one_address_with_many_connections_closes_none_of_another() {
        let port = running(guard(16));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let from = |address: [u8; 4]| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(IpAddr::from(address), 0)).unwrap();
            let stream = runtime.block_on(socket.connect(port.address)).unwrap().into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream
        };
        let mut kept = from([127, 0, 0, 2]);
        let mut others: Vec<TcpStream> = (0..200).map(|_| from([127, 0, 0, 3])).collect();
        assert!(others.iter_mut().take(150).all(is_closed));
        for _ in 0..2 {
            kept.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            kept.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut start = [0; 12];
            kept.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            // The rest of the answer.
            let mut rest = [0; 1024];
            assert!(kept.read(&mut rest).unwrap() > 0);
        }
        port.end();
    }

    #[test]
    fn who_says_nothing_says_it_slowly_or_has_said_all_is_not_waited_for() {
        let short = Duration::from_millis(200);
        let port = running(Guard { first_request: short, next_request: 2 * short, ..guard(16) });
        let begin = Instant::now();
        let mut silent = TcpStream::connect(port.address).unwrap();
        let mut slow = TcpStream::connect(port.address).unwrap();
        slow.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
        let mut asked = TcpStream::connect(port.address).unwrap();
        asked.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nX: ").unwrap();
        // A byte of a header now and then is no request.
        let writer = {
            let mut slow = slow.try_clone().unwrap();
            std::thread::spawn(move || {
                while slow.write_all(b"x").is_ok() && begin.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        };
        assert!(is_closed(&mut silent) && is_closed(&mut slow));
        let mut answers = String::new();
        asked.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        asked.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
        assert!(begin.elapsed() >= short && begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(port.became(Outcome::Silent), 2);
        writer.join().unwrap();
        port.end();
    }

    #[test]
    fn headers_have_a_bound() {
        let port = running(guard(16));
        let mut stream = TcpStream::connect(port.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let filler = "x".repeat(2 * HEADERS);
        stream.write_all(format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {filler}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
        port.end();
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let (status, text) = get_path(&router(Heartbeat::new(), Readiness::new(), Metrics::new()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("# TYPE ecr_access_certificate_errors counter"), "{text}");
    }
}
