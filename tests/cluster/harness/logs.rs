//! The part of the kubelet's own port that `kubectl logs` reaches, through the API server: what a container printed.
//!
//! Only what is there already: nobody can follow, and what a container printed before it was started again is in the same
//! file. What is not played is refused loudly.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use ecr_access::runtime::callers::ApiServers;
use ecr_access::runtime::metrics::Metrics;
use ecr_access::webhook::tls::{self, CertResolver};
use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::namespace::API_SERVER_ADDRESS;

/// The port at which the API server looks for a kubelet.
const PORT: u16 = 10250;

/// Serves the files `POD.log` of `folder` at the node's address until the task that runs it ends.
pub async fn serve(folder: PathBuf) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![API_SERVER_ADDRESS.to_owned()])?.self_signed(&key)?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let serving = CertResolver::new();
    // An API server that is not told whom to trust takes any certificate from a kubelet.
    serving.swap(Arc::new(CertifiedKey::from_der(vec![certificate.der().clone()], private, &tls::provider())?));
    let listener = TcpListener::bind((API_SERVER_ADDRESS, PORT)).await.context("the kubelet's port")?;
    let router = Router::new().route("/containerLogs/{namespace}/{pod}/{container}", get(log)).with_state(folder);
    let (config, stop) = (tls::server_config(serving)?, CancellationToken::new());
    tls::serve(listener, config, router, 64, ApiServers::nobody(), Metrics::new(), stop).await;
    Ok(())
}

async fn log(
    State(folder): State<PathBuf>,
    Path((_, pod, _)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<String, (StatusCode, String)> {
    let mut tail = usize::MAX;
    for option in query.iter().flat_map(|query| query.split('&')).filter(|option| !option.is_empty()) {
        match option.split_once('=').map(|(name, value)| (name, value.parse())) {
            Some(("tailLines", Ok(lines))) => tail = lines,
            _ => return Err((StatusCode::NOT_IMPLEMENTED, format!("`{option}` is not played\n"))),
        }
    }
    let text = std::fs::read_to_string(folder.join(format!("{pod}.log")));
    let text = text.map_err(|error| (StatusCode::NOT_FOUND, format!("{pod}: {error}\n")))?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    Ok(lines.get(lines.len().saturating_sub(tail)..).unwrap_or_default().concat())
}
