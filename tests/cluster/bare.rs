//! The least that a webhook can be: a process that reads each review as its type over TLS and HTTP/1.1 and allows it. What
//! ours takes of the processors beside it is what judging and guarding cost. It is this program once more.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::routing::post;
use axum::serve::Listener;
use axum::{Json, Router};
use ecr_access::webhook::tls;
use k8s_openapi::api::core::v1::Pod;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Set for the process.
const TASK: &str = "ECR_ACCESS_BARE_SERVER";

/// One that serves, until it is dropped.
pub struct BareServer {
    child: Child,
    /// Where.
    pub address: SocketAddr,
}

impl BareServer {
    /// Starts one on loopback.
    pub fn start() -> Result<BareServer> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(TASK, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the bare server")?;
        let output = child.stdout.take().context("it has an output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("`{line}` is no address"))?;
        Ok(BareServer { child, address })
    }

    /// Its process, as this one knows it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves, if that is what this process is for, until it is killed. `false` where it is not.
pub fn is_one() -> Result<bool> {
    if std::env::var_os(TASK).is_none() {
        return Ok(false);
    }
    tokio::runtime::Runtime::new()?.block_on(serve())?;
    Ok(true)
}

async fn serve() -> Result<()> {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", listener.local_addr()?)?;
    output.flush()?;
    drop(output);
    let listener = Secured { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
    axum::serve(listener, Router::new().route("/validate/pods", post(allow))).await.context("serving")
}

/// What any webhook for pods reads of a review.
#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    uid: String,
    object: Pod,
}

async fn allow(Json(review): Json<Review>) -> Json<Value> {
    let Request { uid, object } = review.request;
    Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": uid, "allowed": object.spec.is_some()},
    }))
}

/// TLS over TCP.
struct Secured {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
