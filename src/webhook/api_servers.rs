//! Which addresses API servers call from: those that they write down themselves, in the EndpointSlices of the Service
//! `kubernetes` in the namespace `default` (Kubernetes documentation, "EndpointSlices").
//!
//! They are read again and again rather than watched: they change when a control plane does. Whatever somebody else
//! writes there is bounded, and where nothing can be read, what was known stays, and everything goes on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, header};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::runtime::callers::ApiServers;
use crate::runtime::metrics::Metrics;

/// Those of one Service; a cluster has one slice for each family of addresses.
const PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?\
                    labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes&limit=20";
/// How often it is read.
const PERIOD: Duration = Duration::from_secs(30);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer. A hundred API servers need a tenth.
const MOST_BYTES: usize = 256 << 10;
/// Addresses that are taken for API servers'.
const MOST: usize = 256;

/// Why the addresses are not known.
#[derive(Debug, thiserror::Error)]
pub enum AddressesError {
    /// The API server, or the way to it, failed.
    #[error("the API server cannot be asked: {0}")]
    Failed(String),
    /// Another answer than the list.
    #[error("the API server answered {0}")]
    Status(u16),
    /// The answer is no list of EndpointSlices.
    #[error("the answer is no list of EndpointSlices: {0}")]
    NoList(String),
    /// No answer in time.
    #[error("the API server did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Slice>,
}

#[derive(Deserialize)]
struct Slice {
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
}

/// Keeps `api_servers` up to date until `stop` is cancelled.
pub async fn follow(client: Client, api_servers: Arc<ApiServers>, metrics: Metrics, stop: CancellationToken) {
    let mut failing = false;
    loop {
        match api_server_addresses(&client).await {
            // An API server that goes takes itself out, so a cluster may have none for a moment. They will be the same.
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                metrics.api_server_addresses.set(i64::try_from(found.len()).unwrap_or(i64::MAX));
                api_servers.replace(found);
                failing = false;
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    %error,
                    "the addresses of API servers cannot be read; those that are known stay, and no more is said of it"
                );
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The addresses of the Service `kubernetes`.
///
/// # Errors
/// As the API server answers, and when it does not.
pub async fn api_server_addresses(client: &Client) -> Result<BTreeSet<IpAddr>, AddressesError> {
    let failed = |error: &dyn std::error::Error| AddressesError::Failed(error.to_string());
    let read = async {
        let request = Request::get(PATH).header(header::ACCEPT, "application/json").body(Body::empty());
        let response = client.send(request.map_err(|error| failed(&error))?).await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(AddressesError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        addresses(&body.map_err(|error| failed(&*error))?.to_bytes())
    };
    tokio::time::timeout(TIMEOUT, read).await.map_err(|_| AddressesError::Timeout)?
}

fn addresses(list: &[u8]) -> Result<BTreeSet<IpAddr>, AddressesError> {
    let list: List = serde_json::from_slice(list).map_err(|error| AddressesError::NoList(error.to_string()))?;
    let endpoints = list.items.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
    let texts = endpoints.flat_map(|endpoint| endpoint.addresses);
    // No host calls from these.
    let real = |address: &IpAddr| !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    Ok(texts.filter_map(|text| text.parse().ok()).filter(real).take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(list: &serde_json::Value) -> Vec<String> {
        addresses(list.to_string().as_bytes()).unwrap().iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn every_slice_and_family_counts_and_nonsense_does_not() {
        let list = json!({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": {}, "items": [
            {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2", "10.0.0.3"]}], "ports": [{"port": 6443}]},
            {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:db8::1", "::", "::1", "ff02::1"]}]},
            {"addressType": "FQDN", "endpoints": [{"addresses": ["example.com", "127.0.0.1", "0.0.0.0", ""]}]},
            {"endpoints": null}, {}]});
        assert_eq!(found(&list), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"]);
        assert_eq!(found(&json!({"items": []})), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_list_is_an_error_and_much_is_cut() {
        for text in ["", "1", "{\"items\": 1}", "{\"items\": [{\"endpoints\": [{\"addresses\": [1]}]}]}"] {
            assert!(matches!(addresses(text.as_bytes()), Err(AddressesError::NoList(_))), "{text}");
        }
        let many: Vec<String> = (0..1000).map(|i| format!("10.0.{}.{}", i / 250, i % 250)).collect();
        assert_eq!(found(&json!({"items": [{"endpoints": [{"addresses": many}]}]})).len(), MOST);
    }

    /// A client that is answered so.
    fn client(status: u16, body: Vec<u8>) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().to_string(), PATH);
            let body = http_body_util::Full::new(hyper::body::Bytes::from(body.clone()));
            let response = axum::http::Response::builder().status(status).body(body).unwrap();
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn answers_are_bounded_and_errors_are_told() {
        let list = json!({"items": [{"endpoints": [{"addresses": ["10.0.0.1"]}]}]}).to_string();
        let good = api_server_addresses(&client(200, list.clone().into_bytes())).await.unwrap();
        assert_eq!(good, BTreeSet::from([IpAddr::from([10, 0, 0, 1])]));
        let forbidden = api_server_addresses(&client(403, b"{}".to_vec())).await.unwrap_err();
        assert_eq!(forbidden.to_string(), "the API server answered 403");
        let padded = format!("{list}{}", " ".repeat(MOST_BYTES)).into_bytes();
        let error = api_server_addresses(&client(200, padded)).await.unwrap_err();
        assert!(matches!(error, AddressesError::Failed(_)), "{error}");
    }

    #[tokio::test]
    async fn what_is_known_stays_when_nothing_is_found() {
        let servers = ApiServers::nobody();
        let before = BTreeSet::from([IpAddr::from([10, 0, 0, 1])]);
        servers.replace(before.clone());
        for (status, body) in [(403, "{}"), (200, "{\"items\": []}"), (200, "no json")] {
            let stop = CancellationToken::new();
            stop.cancel();
            follow(client(status, body.into()), Arc::clone(&servers), Metrics::new(), stop).await;
            assert_eq!(servers.found(), 1, "{status} {body}");
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let other = json!({"items": [{"endpoints": [{"addresses": ["10.0.0.7", "10.0.0.8"]}]}]}).to_string();
        follow(client(200, other.into_bytes()), Arc::clone(&servers), Metrics::new(), stop).await;
        assert_eq!(servers.found(), 2);
    }
}
