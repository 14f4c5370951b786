//! TLS: what is between TCP and HTTP on the webhook's port, with a certificate that can be exchanged while connections
//! are open. [`crate::runtime::guarded`] serves it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::runtime::callers::ApiServers;
use crate::runtime::guarded::{Guard, Outcome, Protocol, Server, Transport};
use crate::runtime::metrics::{Metrics, OutcomeLabels};

/// The protocols offered, best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// From accepting a connection to the end of its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// From an answer to the headers of the next request. Longer than the 90 seconds after which the API server closes an
/// idle connection: whoever closes first must be the one who sends, or a request meets a closed door.
const NEXT_REQUEST: Duration = Duration::from_secs(120);
/// From the handshake to the first request, headers and all: whoever connects wants to ask something.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Bytes of headers. The API server sends a few hundred; what is begun and not ended is kept in memory.
const HEADERS: usize = 32 << 10;

/// The certificate being served; empty at first.
#[derive(Debug, Default)]
pub struct CertResolver(ArcSwapOption<CertifiedKey>);

impl CertResolver {
    /// No certificate yet: handshakes fail.
    pub fn new() -> Arc<CertResolver> {
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

impl ResolvesServerCert for CertResolver {
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
pub fn server_config(serving: Arc<CertResolver>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(serving);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// Serves `router` on so many connections at most, until `stop` is cancelled; then no connection is accepted any more,
/// open ones are told so, and what they have sent is answered.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    connections: usize,
    api_servers: Arc<ApiServers>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let guard = Guard {
        connections,
        secure: HANDSHAKE,
        first_request: FIRST_REQUEST,
        next_request: NEXT_REQUEST,
        headers: HEADERS,
    };
    let count = move |outcome: Outcome| {
        metrics.connections.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    };
    let transport = Tls(TlsAcceptor::from(config));
    Server { transport, guard, api_servers, count: Arc::new(count) }.serve(listener, router, stop).await;
}

/// HTTP/2 or HTTP/1.1 over TLS, as the handshake settles it.
#[derive(Clone)]
struct Tls(TlsAcceptor);

impl Transport for Tls {
    type Stream = tokio_rustls::server::TlsStream<TcpStream>;

    async fn secure(&self, stream: TcpStream) -> std::io::Result<(Self::Stream, Protocol)> {
        stream.set_nodelay(true)?;
        let stream = self.0.accept(stream).await?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, if is_h2 { Protocol::Http2 } else { Protocol::Http1 }))
    }
}
