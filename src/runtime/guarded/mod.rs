//! One server for both ports: HTTP over whatever a [`Transport`] makes of a connection, with a bound of connections and
//! an end to everything that somebody else could draw out.
//!
//! - [`connections`] is who has a place, and who makes room.
//! - [`files`] is how many places there are.
//!
//! Each request carries its [`Caller`](super::callers::Caller) as an extension.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::callers::{ApiServers, Standing};
use super::seldom::Seldom;
use connections::{Activity, Busy, Quiet, Table};

pub mod connections;
pub mod files;

/// How often an HTTP/2 connection is asked whether somebody is still there, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Windows of HTTP/2 for an API server: an AdmissionReview of several megabytes should not wait for a round trip per
/// 64 KiB.
const WINDOWS: Windows = Windows { stream: 1 << 20, connection: 4 << 20, streams: 256 };
/// For everybody else, since whatever fits into a window is kept in memory until it is read.
const SMALL_WINDOWS: Windows = Windows { stream: 128 << 10, connection: 256 << 10, streams: 8 };
/// Connections that were told to make room and have not ended yet, at most.
const LEAVING: usize = 32;
/// The least that hyper takes.
const MIN_BUFFER: usize = 8192;
/// How long open requests get to finish after the end was announced: longer than any review may take. Whoever is on a
/// connection and does not answer at all is not waited for any longer.
const DRAIN: Duration = Duration::from_secs(5);

struct Windows {
    stream: u32,
    connection: u32,
    /// Requests at a time.
    streams: u32,
}

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Connections at a time.
    pub connections: usize,
    /// From accepting a connection to what its [`Transport`] makes of it.
    pub secure: Duration,
    /// From then to the first request, headers and all: whoever connects wants to ask something.
    pub first_request: Duration,
    /// From an answer to the headers of the next request.
    pub next_request: Duration,
    /// Bytes of the headers of a request of HTTP/1.1.
    pub headers: usize,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It could ask.
    Accepted,
    /// The handshake failed.
    Failed,
    /// The handshake took too long.
    Timeout,
    /// No request came, or none came any more: see [`Guard`].
    Silent,
    /// It made room for another one.
    Evicted,
    /// There was no room.
    Shed,
}

impl Outcome {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Failed => "failed",
            Outcome::Timeout => "timeout",
            Outcome::Silent => "silent",
            Outcome::Evicted => "evicted",
            Outcome::Shed => "shed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The protocol that is spoken on a connection, settled before the first byte: guessing it has no time limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What is between TCP and HTTP.
pub trait Transport: Clone + Send + Sync + 'static {
    /// A connection that HTTP is spoken on.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Makes it of an accepted one.
    fn secure(&self, stream: TcpStream) -> impl Future<Output = std::io::Result<(Self::Stream, Protocol)>> + Send;
}

/// HTTP/1.1 over bare TCP.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Transport for Plain {
    type Stream = TcpStream;

    async fn secure(&self, stream: TcpStream) -> std::io::Result<(TcpStream, Protocol)> {
        stream.set_nodelay(true)?;
        Ok((stream, Protocol::Http1))
    }
}

/// A server, but for its socket and what it answers.
pub struct Server<T> {
    /// What is between TCP and HTTP.
    pub transport: T,
    /// What a connection may take.
    pub guard: Guard,
    /// Who calls.
    pub api_servers: Arc<ApiServers>,
    /// Told of what becomes of each connection; a connection that could ask may be told of twice.
    pub count: Arc<dyn Fn(Outcome) + Send + Sync>,
}

impl<T: Transport> Server<T> {
    /// Serves `router` until `stop` is cancelled; then no connection is accepted any more, open ones are told so, and what
    /// they have sent is answered.
    pub async fn serve(self, listener: TcpListener, router: Router, stop: CancellationToken) {
        let table = Table::new(self.guard.connections, Arc::clone(&self.api_servers));
        let most = self.guard.connections + LEAVING;
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener) => accepted,
                () = stop.cancelled() => break,
            };
            let Some((stream, address)) = accepted else { continue };
            // Whoever was told to leave has its file until it does.
            while tasks.len() >= most {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let Some(slot) = table.take(address) else {
                (server.count)(Outcome::Shed);
                continue;
            };
            let (server, router, watcher) = (Arc::clone(&server), router.clone(), graceful.watcher());
            tasks.spawn(async move {
                tokio::select! {
                    () = server.serve_one(stream, address, &slot.activity, router, watcher) => {}
                    () = slot.activity.close.cancelled() => (server.count)(Outcome::Evicted),
                }
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

    /// From the accepted connection to its end.
    async fn serve_one(
        &self,
        stream: TcpStream,
        address: IpAddr,
        activity: &Arc<Activity>,
        router: Router,
        watcher: Watcher,
    ) {
        let Guard { secure, first_request, next_request, .. } = self.guard;
        let (stream, protocol) = match tokio::time::timeout(secure, self.transport.secure(stream)).await {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake failed");
                return (self.count)(Outcome::Failed);
            }
            Err(_) => return (self.count)(Outcome::Timeout),
        };
        (self.count)(Outcome::Accepted);
        let api_servers = Arc::clone(&self.api_servers);
        let (router, busy_with) = (TowerToHyperService::new(router), Arc::clone(activity));
        let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let busy = Busy::new(&busy_with);
            request.extensions_mut().insert(api_servers.call(address));
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        });
        let builder = self.builder(protocol, address);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            ended = watcher.watch(connection) => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended");
                }
            }
            quiet = activity.until_quiet(first_request, next_request) => {
                tracing::debug!(%address, ?quiet, "a connection was closed");
                if quiet == Quiet::Silent {
                    (self.count)(Outcome::Silent);
                }
            }
        }
    }

    fn builder(&self, protocol: Protocol, address: IpAddr) -> auto::Builder<TokioExecutor> {
        let builder = auto::Builder::new(TokioExecutor::new());
        let mut builder = match protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_only(),
        };
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.guard.next_request)
            .max_buf_size(self.guard.headers.max(MIN_BUFFER));
        let known = self.api_servers.standing(address) == Standing::ApiServer;
        let windows = if known { WINDOWS } else { SMALL_WINDOWS };
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .initial_stream_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .max_concurrent_streams(windows.streams);
        builder
    }
}

/// The next connection, with the address that it comes from: an IPv4 address is the same one on a socket of IPv6.
async fn accept(listener: &TcpListener) -> Option<(TcpStream, IpAddr)> {
    static NOT_ACCEPTED: Seldom = Seldom::new();
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address.ip().to_canonical())),
        Err(error) => {
            // A client that went away, or no file handles left: in both cases others may be luckier, later.
            if let Some(held_back) = NOT_ACCEPTED.may_tell() {
                tracing::warn!(%error, held_back, "a connection could not be accepted");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}
