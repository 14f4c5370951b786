//! TLS: the accept loop, with a certificate that can be exchanged while connections are open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use axum::Router;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
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
/// From the handshake to the first request, headers and all: whoever connects wants to ask something.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How often an HTTP/2 connection is asked whether somebody is still there, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Connections at a time. API servers keep a connection for each call on its way, and a few more. Together with what else
/// is open it stays below 1,024 files, which is what a process may have where nobody raised it.
const CONNECTIONS: usize = 900;
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
    let open = Arc::new(Connections::default());
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
        let Some(slot) = open.take() else {
            count(&metrics, "shed");
            continue;
        };
        let (acceptor, router, metrics, watcher) =
            (acceptor.clone(), router.clone(), metrics.clone(), graceful.watcher());
        tasks.spawn(async move {
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(HANDSHAKE, handshake(acceptor, stream)) => shaken,
                () = slot.activity.close.cancelled() => return count(&metrics, "evicted"),
            };
            let outcome = match shaken {
                Ok(Ok(stream)) => {
                    count(&metrics, "accepted");
                    tokio::select! {
                        () = connection(stream, router, watcher, &slot.activity) => {}
                        () = slot.activity.close.cancelled() => count(&metrics, "evicted"),
                        () = no_request(&slot.activity) => count(&metrics, "silent"),
                    }
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

/// Ends when no request has come for too long after the beginning.
async fn no_request(activity: &Activity) {
    tokio::time::sleep(FIRST_REQUEST).await;
    if activity.lock().requests > 0 {
        std::future::pending::<()>().await;
    }
}

async fn connection(stream: Stream, router: Router, watcher: Watcher, activity: &Arc<Activity>) {
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
    let (router, activity) = (TowerToHyperService::new(router), Arc::clone(activity));
    let service = hyper::service::service_fn(move |request| {
        let busy = Busy::new(&activity);
        let answer = router.call(request);
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "a connection ended");
    }
}

/// The connections that are open. When there are as many as may be, a new one takes the place of the one that has been
/// idle for the longest: clients that connect and say nothing keep nobody out.
#[derive(Default)]
struct Connections {
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
    next: AtomicU64,
}

/// What happens on a connection.
struct Activity {
    state: Mutex<ActivityState>,
    /// Cancelled to make room.
    close: CancellationToken,
}

struct ActivityState {
    /// Requests that began.
    requests: u64,
    /// Of these, the ones that are being answered.
    busy: usize,
    /// Since when nothing is being answered.
    idle_since: Instant,
}

/// A connection's place; free again when dropped.
struct Slot {
    all: Arc<Connections>,
    number: u64,
    activity: Arc<Activity>,
}

impl Connections {
    /// A place for one more, or `None` where every connection is being answered.
    fn take(self: &Arc<Connections>) -> Option<Slot> {
        let mut open = lock(&self.open);
        if open.len() >= CONNECTIONS {
            let idle = open.iter().filter_map(|(number, activity)| {
                let state = activity.lock();
                (state.busy == 0).then_some((state.idle_since, *number))
            });
            let (_, number) = idle.min()?;
            if let Some(activity) = open.remove(&number) {
                activity.close.cancel();
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = ActivityState { requests: 0, busy: 0, idle_since: Instant::now() };
        let activity = Arc::new(Activity { state: Mutex::new(state), close: CancellationToken::new() });
        open.insert(number, Arc::clone(&activity));
        Some(Slot { all: Arc::clone(self), number, activity })
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, ActivityState> {
        lock(&self.state)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.all.open).remove(&self.number);
    }
}

/// A request that is being answered.
struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: &Arc<Activity>) -> Busy {
        let mut state = activity.lock();
        state.requests += 1;
        state.busy += 1;
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        state.idle_since = Instant::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_takes_the_place_of_the_one_that_was_idle_for_longest() {
        let all = Arc::new(Connections::default());
        let slots: Vec<Slot> = (0..CONNECTIONS).map(|_| all.take().unwrap()).collect();
        // The first is being answered, the second was until now.
        let answering = Busy::new(&slots[0].activity);
        drop(Busy::new(&slots[1].activity));
        let new = all.take().unwrap();
        let closed: Vec<usize> = (0..CONNECTIONS).filter(|i| slots[*i].activity.close.is_cancelled()).collect();
        assert_eq!(closed, [2]);
        assert_eq!(lock(&all.open).len(), CONNECTIONS);
        drop((slots, new, answering));
        assert!(lock(&all.open).is_empty());
    }

    #[test]
    fn where_all_are_being_answered_there_is_no_room() {
        let all = Arc::new(Connections::default());
        let slots: Vec<Slot> = (0..CONNECTIONS).map(|_| all.take().unwrap()).collect();
        let busy: Vec<Busy> = slots.iter().map(|slot| Busy::new(&slot.activity)).collect();
        assert!(all.take().is_none());
        drop(busy);
        assert!(all.take().is_some());
    }
}
