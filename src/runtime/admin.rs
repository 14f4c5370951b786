//! The admin port: plain HTTP for the kubelet's probes and for Prometheus.
//!
//! `/livez` fails when the runtime that does the work stands still, `/readyz` with a reason per line while this replica
//! should get no requests, `/metrics` in OpenMetrics text. `/readyz/reasons` says what `/readyz` says and always succeeds:
//! `kubectl get --raw` shows nothing of an answer that is an error. The port has a thread of its own, so that it answers
//! in time also while the program has all hands full: a replica that is busy must not be killed for it.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::heartbeat::Heartbeat;
use super::metrics::{CONTENT_TYPE, Metrics};
use super::readiness::Readiness;

/// The routes of the admin port.
pub fn router(heartbeat: Heartbeat, readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(livez).with_state(heartbeat))
        .route("/readyz", get(readyz).with_state(readiness.clone()))
        .route("/readyz/reasons", get(reasons).with_state(readiness))
        .route("/metrics", get(openmetrics).with_state(metrics))
}

/// Serves `router` on a thread of its own until `stop` is cancelled and open requests are answered. The returned future
/// waits for that.
///
/// # Errors
/// When the thread cannot be started; from the future, when the listener fails.
pub fn serve(
    listener: std::net::TcpListener,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<impl Future<Output = std::io::Result<()>> + Send> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, ended) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let result = runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
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
        let admin = serve(listener, router(heartbeat.clone(), Readiness::new(), Metrics::new()), stop.clone()).unwrap();
        let ask = || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
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

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let (status, text) = get_path(&router(Heartbeat::new(), Readiness::new(), Metrics::new()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("# TYPE ecr_access_certificate_errors counter"), "{text}");
    }
}
