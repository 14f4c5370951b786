//! TLS: the accept loop, with a certificate that can be exchanged while connections are open.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::runtime::metrics::{Metrics, OutcomeLabels};

/// The protocols offered, best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// From accepting a connection to the end of its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// From one request on an HTTP/1.1 connection to the headers of the next. Longer than the 90 seconds after which the API
/// server closes an idle connection: whoever closes first must be the one who sends, or a request meets a closed door.
const HEADERS: Duration = Duration::from_secs(120);
/// How often an HTTP/2 connection is asked whether somebody is still there, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Connections at a time. A handful of API servers need a handful.
const CONNECTIONS: usize = 1024;
/// Windows of HTTP/2: an AdmissionReview of several megabytes should not wait for a round trip per 64 KiB.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How long open requests get to finish after the end was announced: longer than any review may take. Whoever is on a
/// connection and does not answer at all is not waited for any longer.
const DRAIN: Duration = Duration::from_secs(5);

/// The certificate being served; empty at first.
#[derive(Debug, Default)]
pub struct Serving(ArcSwapOption<CertifiedKey>);

impl Serving {
    /// No certificate yet: handshakes fail.
    pub fn new() -> Arc<Serving> {
        Arc::default()
    }

    /// From now on handshakes get this one. Connections that are open stay open.
    pub fn swap(&self, certificate: Arc<CertifiedKey>) {
        self.0.store(Some(certificate));
    }

    /// What is served now.
    pub fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

/// The provider of cryptography, everywhere in this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The configuration of the server: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, no client certificates.
///
/// # Errors
/// When the provider lacks what these versions need, which would be a mistake of the build.
pub fn server_config(serving: Arc<Serving>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(serving);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// Serves `router` until `stop` is cancelled; then no connection is accepted any more, open ones are told so, and what
/// they have sent is answered.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(config);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let tasks = TaskTracker::new();
    let count = |metrics: &Metrics, outcome| {
        metrics.connections.get_or_create(&OutcomeLabels { outcome }).inc();
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A client that went away, or no file handles left: in both cases others may be luckier, later.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            count(&metrics, "shed");
            continue;
        };
        let (acceptor, router, metrics, watcher) =
            (acceptor.clone(), router.clone(), metrics.clone(), graceful.watcher());
        tasks.spawn(async move {
            let outcome = match tokio::time::timeout(HANDSHAKE, handshake(acceptor, stream)).await {
                Ok(Ok(stream)) => {
                    count(&metrics, "accepted");
                    connection(stream, router, watcher).await;
                    drop(slot);
                    return;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    "failed"
                }
                Err(_) => "timeout",
            };
            count(&metrics, outcome);
        });
    }
    drop(listener);
    tasks.close();
    let drained = async {
        graceful.shutdown().await;
        tasks.wait().await;
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<Stream> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

async fn connection(stream: Stream, router: Router, watcher: Watcher) {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The protocol is settled by the handshake. Guessing it from the first bytes has no timeout.
    builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(256);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "a connection ended");
    }
}
