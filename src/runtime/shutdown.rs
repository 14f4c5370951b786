//! Shutdown in an order that refuses no request.
//!
//! On SIGTERM the endpoint of this pod is removed, but the API server learns of it a moment later and keeps using the
//! connections it has. So: first not ready, then serve on for a delay, in which each connection ends with its next answer,
//! then let open requests finish, then exit.
//! (Kubernetes documentation, "Pod Lifecycle", section "Termination of Pods".)

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, Version, header};
use axum::middleware::{Next, from_fn};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::readiness::Readiness;

/// The exit code after a second signal: 128 + 15, as a shell reports a process that SIGTERM ended.
const ABORTED: i32 = 143;

/// Waits for SIGTERM or SIGINT, then takes the program down: `readiness` fails at once, `stop` is cancelled after
/// `delay`. A second signal ends the process on the spot.
///
/// Returns when `stop` is cancelled, also by somebody else.
///
/// # Errors
/// When the process cannot be told of signals.
pub async fn on_signal(readiness: Readiness, stop: CancellationToken, delay: Duration) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stop.cancelled() => return Ok(()),
    }
    tracing::info!(
        delay_seconds = delay.as_secs_f64(),
        "shutting down: not ready from now on, serving on for the delay"
    );
    readiness.drain();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: exiting at once");
        std::process::exit(ABORTED);
    });
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stop.cancelled() => {}
    }
    tracing::info!("finishing what is in flight");
    stop.cancel();
    Ok(())
}

/// The router, whose answers end their connections while the program is shutting down.
///
/// API servers call webhooks over HTTP/1.1 and keep connections. One that is still in use when it is closed may lose a
/// request that was sent at that moment, which a client must not repeat (RFC 9112, "Connection Management"). HTTP/2 says
/// by itself up to which request it has read.
pub fn closing_connections(router: Router, readiness: Readiness) -> Router {
    router.layer(from_fn(move |request: Request<axum::body::Body>, next: Next| {
        let readiness = readiness.clone();
        async move {
            let closes = request.version() < Version::HTTP_2;
            let mut response = next.run(request).await;
            if closes && readiness.is_draining() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }))
}
