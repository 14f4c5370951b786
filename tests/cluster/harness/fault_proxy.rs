//! Everything that can go wrong between a client and the API server, on demand: a proxy that speaks plain HTTP with the
//! client and TLS with the API server, and has an ear for lists and watches.
//!
//! Only for requests without a body. The answers of the API server are taken as they come (HTTP/1.0 to it, so that they are
//! not framed) and framed anew, so that a stream can be cut, held or added to at any byte.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// What goes wrong from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Watches that run end, and new ones are answered like this; lists work.
    RefuseWatches { code: u16, retry_after: Option<u32> },
    /// Watches that run end, and every request is answered like this.
    RefuseAll { code: u16, retry_after: Option<u32> },
    /// Watches that run are told that the API server forgot where they stand; new ones work.
    GoneInStream,
    /// Watches that run end in the middle of a line; new ones work.
    Cut,
    /// Watches that run stay open and carry nothing any more; new ones work.
    Stall,
    /// Watches that run end; new requests are taken, and nothing comes back.
    Silence,
    /// What watches carry comes byte by byte.
    Drip,
}

/// Runs until dropped.
pub struct FaultProxy {
    pub address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    api_server: String,
    token: String,
    connector: TlsConnector,
    fault: watch::Sender<Fault>,
    /// Requests and streams that met a fault.
    met: AtomicUsize,
    /// Watches that run.
    running: AtomicUsize,
}

/// One watch that runs.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicUsize) -> Running<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Running(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultProxy {
    /// In front of the API server of a kubeconfig that the harness wrote, with its rights.
    pub async fn start(kubeconfig: &Path) -> Result<FaultProxy> {
        let kubeconfig: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
        let text = |pointer: &str| {
            kubeconfig.pointer(pointer).and_then(Value::as_str).map(str::to_owned).with_context(|| pointer.to_owned())
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(text("/clusters/0/cluster/certificate-authority")?)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = text("/clusters/0/cluster/server")?;
        let state = Arc::new(State {
            api_server: server.strip_prefix("https://").context("an API server with TLS")?.to_owned(),
            token: text("/users/0/user/token")?,
            connector: TlsConnector::from(Arc::new(tls)),
            fault: watch::Sender::new(Fault::None),
            met: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = accepting.clone();
                // A client that hangs up, or an API server that does, ends its connection and nothing else.
                tokio::spawn(async move { serve(&state, client).await });
            }
        });
        Ok(FaultProxy { address, state, task })
    }

    pub fn set(&self, fault: Fault) {
        self.state.met.store(0, Ordering::SeqCst);
        self.state.fault.send_replace(fault);
    }

    /// How many watches run.
    pub fn running(&self) -> usize {
        self.state.running.load(Ordering::SeqCst)
    }

    /// How many requests and streams have met the present fault.
    pub fn met(&self) -> usize {
        self.state.met.load(Ordering::SeqCst)
    }
}

async fn serve(state: &State, client: TcpStream) -> Result<()> {
    let (input, mut output) = client.into_split();
    let mut input = BufReader::new(input);
    loop {
        let head = read_head(&mut input).await?;
        let request = head.first().context("a request line")?.clone();
        let target = request.split(' ').nth(1).context("a target")?.to_owned();
        let is_watch = target.contains("watch=true");
        let mut fault = state.fault.subscribe();
        let now = *fault.borrow_and_update();
        match now {
            Fault::RefuseAll { code, retry_after } => refuse(state, &mut output, code, retry_after).await?,
            Fault::RefuseWatches { code, retry_after } if is_watch => {
                refuse(state, &mut output, code, retry_after).await?;
            }
            Fault::Silence => {
                state.met.fetch_add(1, Ordering::SeqCst);
                // Until the client has had enough.
                let _ = input.read(&mut [0]).await;
                return Ok(());
            }
            _ => pass(state, &target, is_watch, &mut fault, &mut input, &mut output).await?,
        }
    }
}

async fn refuse(
    state: &State,
    output: &mut (impl AsyncWrite + Unpin),
    code: u16,
    retry_after: Option<u32>,
) -> Result<()> {
    state.met.fetch_add(1, Ordering::SeqCst);
    let status = status(code, retry_after);
    let header = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    let body = status.to_string();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} Fault\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{header}\r\n");
    output.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(())
}

fn status(code: u16, retry_after: Option<u32>) -> Value {
    json!({"details": {"retryAfterSeconds": retry_after.unwrap_or(0)},
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "message": "a fault of the tests", "reason": if code == 410 { "Expired" } else { "TooManyRequests" }})
}

/// Hands a request on, and its answer back, as far as the fault lets it.
async fn pass(
    state: &State,
    target: &str,
    is_watch: bool,
    fault: &mut watch::Receiver<Fault>,
    input: &mut (impl AsyncRead + Unpin),
    output: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    let server = TcpStream::connect(&state.api_server).await?;
    let name = state.api_server.rsplit_once(':').map_or(state.api_server.as_str(), |(host, _)| host).to_owned();
    let mut server = BufReader::new(state.connector.connect(ServerName::try_from(name)?, server).await?);
    let (host, token) = (&state.api_server, &state.token);
    let head = format!(
        "GET {target} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
    );
    server.write_all(head.as_bytes()).await?;
    server.flush().await?;
    let head = read_head(&mut server).await?;
    let code = head.first().and_then(|line| line.split(' ').nth(1)).context("a status line")?.to_owned();
    let head =
        format!("HTTP/1.1 {code} Passed\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    output.write_all(head.as_bytes()).await?;
    if !is_watch {
        let mut body = Vec::new();
        server.read_to_end(&mut body).await?;
        chunk(output, &body).await?;
        return end(output).await;
    }
    let _running = Running::begin(&state.running);
    let mut line = Vec::new();
    loop {
        // `line` keeps what was read when the fault comes first.
        tokio::select! {
            read = server.read_until(b'\n', &mut line) => {
                if read? == 0 {
                    if !line.is_empty() {
                        chunk(output, &line).await?;
                    }
                    return end(output).await;
                }
                if line.ends_with(b"\n") {
                    if *fault.borrow() == Fault::Drip {
                        state.met.fetch_add(1, Ordering::SeqCst);
                        for byte in &line {
                            chunk(output, &[*byte]).await?;
                            tokio::time::sleep(Duration::from_micros(200)).await;
                        }
                    } else {
                        chunk(output, &line).await?;
                    }
                    line.clear();
                }
            }
            // The client gives up.
            _ = input.read_u8() => bail!("the client hung up"),
            changed = fault.changed() => {
                changed?;
                let now = *fault.borrow_and_update();
                if !matches!(now, Fault::None | Fault::Drip) {
                    state.met.fetch_add(1, Ordering::SeqCst);
                }
                match now {
                    Fault::None | Fault::Drip => {}
                    Fault::RefuseWatches { .. } | Fault::RefuseAll { .. } | Fault::Silence => return end(output).await,
                    Fault::GoneInStream => {
                        chunk(output, format!("{}\n", json!({"type": "ERROR", "object": status(410, None)})).as_bytes()).await?;
                        return end(output).await;
                    }
                    Fault::Cut => {
                        // Half of what comes next, and the connection with it.
                        let _ = tokio::time::timeout(Duration::from_millis(300), server.read_until(b'\n', &mut line)).await;
                        let half = line.get(..line.len() / 2).filter(|half| !half.is_empty());
                        chunk(output, half.unwrap_or(br#"{"type":"MODIFIED","object":{"kind":"#)).await?;
                        bail!("cut");
                    }
                    Fault::Stall => {
                        let _ = input.read_u8().await;
                        bail!("stalled until the client hung up");
                    }
                }
            }
        }
    }
}

/// The lines of a head, without the empty one.
async fn read_head(input: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).await? == 0 {
            bail!("hung up");
        }
        match line.trim_end() {
            "" => return Ok(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

async fn chunk(output: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    output.write_all(&framed).await?;
    output.flush().await?;
    Ok(())
}

async fn end(output: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    output.write_all(b"0\r\n\r\n").await?;
    output.flush().await?;
    Ok(())
}
