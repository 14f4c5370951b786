//! The admin port: plain HTTP for the kubelet's probes and for Prometheus.
//!
//! `/livez` answers as long as the runtime runs, `/readyz` with a reason per line while this replica should get no
//! requests, `/metrics` in OpenMetrics text. `/readyz/reasons` says what `/readyz` says and always succeeds: `kubectl get
//! --raw` shows nothing of an answer that is an error.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::{CONTENT_TYPE, Metrics};
use super::readiness::Readiness;

/// The routes of the admin port.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness.clone()))
        .route("/readyz/reasons", get(reasons).with_state(readiness))
        .route("/metrics", get(openmetrics).with_state(metrics))
}

/// Serves `router` until `stop` is cancelled and open requests are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
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
        let router = router(readiness.clone(), Metrics::new());
        for path in ["/readyz", "/readyz/reasons"] {
            assert_eq!(get_path(&router, path).await, (StatusCode::OK, "ok\n".to_owned()));
        }
        readiness.drain();
        let expected = "not ready\nshutdown: the program is shutting down\n".to_owned();
        assert_eq!(get_path(&router, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, expected.clone()));
        assert_eq!(get_path(&router, "/readyz/reasons").await, (StatusCode::OK, expected));
        assert_eq!(get_path(&router, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let (status, text) = get_path(&router(Readiness::new(), Metrics::new()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("# TYPE ecr_access_certificate_errors counter"), "{text}");
    }
}
