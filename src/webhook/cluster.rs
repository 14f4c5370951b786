//! What a review asks of the cluster: the snapshot in memory, and a few fresh reads of the API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http;
use kube::Client;
use serde_json::Value;

use super::shared::SharedReads;
use crate::api::{self, PolicyKind};
use crate::index::Index;
use crate::inventory::{ConfigMapFacts, ConfigMapName, Inventory, ServiceAccountFacts};
use crate::runtime::watch::object::Raw;

/// Pages of policies that are read before a rejection, 500 objects each. A namespace with more of them gets `Unknown`
/// rather than a rejection that rests on half of them.
const PAGES: usize = 4;
const PAGE_SIZE: usize = 500;

/// How long the fresh reads of one review may take, together. Shorter than the deadline of the review, so that there is
/// time left to say what happened.
pub const READ_TIMEOUT: Duration = Duration::from_millis(1500);

/// ConfigMaps that are read for one review. One whose policies are spread over more gets `Unknown` rather than a rejection
/// that rests on half of them.
pub const MAX_CONFIG_MAPS: usize = 32;

/// A read of the API server that gave no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The API server, or the way to it, failed.
    #[error("cannot read {what}: {message}")]
    Failed {
        /// What was to be read, such as `service account payments/api`.
        what: String,
        /// Why it was not.
        message: String,
    },
    /// No answer in time.
    #[error("the API server did not answer within {} s", READ_TIMEOUT.as_secs_f64())]
    Timeout,
    /// More objects than are read for one review.
    #[error("there are more than {} {what}", PAGES * PAGE_SIZE)]
    TooMany {
        /// The resource.
        what: String,
    },
    /// More ConfigMaps than are read for one review.
    #[error("its policies are in {0} ConfigMaps, and {MAX_CONFIG_MAPS} are read; put their documents into fewer")]
    TooManyConfigMaps(usize),
    /// A name that no object can have, so it is not put into a URL.
    #[error("`{0}` is no name of an object")]
    Name(String),
}

impl ReadError {
    fn failed(what: &str, error: &dyn std::error::Error) -> ReadError {
        ReadError::Failed { what: what.to_owned(), message: error.to_string() }
    }
}

/// The cluster as a review sees it.
pub trait Cluster: Send + Sync + 'static {
    /// Memory: everything that the watches know; `None` until they have seen everything once.
    fn snapshot(&self) -> Option<Arc<Inventory>>;

    /// The ServiceAccount now, `None` where there is none.
    fn service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<ServiceAccountFacts>, ReadError>> + Send;

    /// The labels of the Namespace now, `None` where there is none.
    fn namespace(&self, name: &str)
    -> impl Future<Output = Result<Option<BTreeMap<String, String>>, ReadError>> + Send;

    /// The ConfigMap now, `None` where there is none, or none with the label of policy documents.
    fn config_map(
        &self,
        name: &ConfigMapName,
    ) -> impl Future<Output = Result<Option<ConfigMapFacts>, ReadError>> + Send;

    /// All policies now, as JSON: the `EcrAccessPolicy` objects of a namespace, or without one every
    /// `ClusterEcrAccessPolicy`.
    fn policies(&self, namespace: Option<&str>) -> impl Future<Output = Result<Vec<Value>, ReadError>> + Send;
}

/// The cluster that this program runs for.
pub struct LiveCluster {
    index: Arc<Index>,
    reader: Reader,
    /// Answers of [`Reader`], by path.
    objects: SharedReads<String, Result<Option<Value>, ReadError>>,
    lists: SharedReads<String, Result<Vec<Value>, ReadError>>,
}

impl LiveCluster {
    /// Memory is `index`, fresh reads go through `client`.
    pub fn new(index: Arc<Index>, client: Client) -> LiveCluster {
        let reader = Reader { client };
        LiveCluster { index, reader, objects: SharedReads::default(), lists: SharedReads::default() }
    }

    async fn object(&self, what: &str, path: String) -> Result<Option<Value>, ReadError> {
        let (reader, what) = (self.reader.clone(), what.to_owned());
        self.objects.read(path.clone(), move || async move { reader.get(&what, path).await }).await
    }
}

/// Reads past all caches.
#[derive(Clone)]
struct Reader {
    client: Client,
}

impl Reader {
    /// One object, or one page of a list; `None` where there is no such object, or no such resource.
    async fn get(&self, what: &str, path: String) -> Result<Option<Value>, ReadError> {
        // No resourceVersion in the query: the API server answers with the latest state, not with its cache's.
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| ReadError::failed(what, &error))?;
        match self.client.request::<Value>(request).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(ReadError::failed(what, &error)),
        }
    }

    /// Every page of a list of policies at `path`.
    async fn policies(&self, kind: PolicyKind, path: &str) -> Result<Vec<Value>, ReadError> {
        let plural = kind.plural();
        let mut policies = Vec::new();
        let mut from = String::new();
        for _ in 0..PAGES {
            // A 404 here means that the CRD is gone, and with it every policy.
            let Some(mut page) = self.get(plural, format!("{path}{from}")).await? else { return Ok(policies) };
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                policies.extend(items.into_iter().map(|item| with_type(item, kind)));
            }
            match page.get("metadata").and_then(|metadata| metadata.get("continue")).and_then(Value::as_str) {
                None | Some("") => return Ok(policies),
                Some(token) => from = format!("&continue={}", escaped(token)),
            }
        }
        Err(ReadError::TooMany { what: plural.to_owned() })
    }
}

impl Cluster for LiveCluster {
    fn snapshot(&self) -> Option<Arc<Inventory>> {
        self.index.synced().then(|| self.index.snapshot())
    }

    async fn service_account(&self, namespace: &str, name: &str) -> Result<Option<ServiceAccountFacts>, ReadError> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}", segment(namespace)?, segment(name)?);
        let what = format!("service account {namespace}/{name}");
        let Some(object) = self.object(&what, path).await? else { return Ok(None) };
        ServiceAccountFacts::from_json(&object).map(Some).map_err(|error| ReadError::failed(&what, &error))
    }

    async fn namespace(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, ReadError> {
        let object =
            self.object(&format!("namespace {name}"), format!("/api/v1/namespaces/{}", segment(name)?)).await?;
        Ok(object.map(|object| Raw::new(object).labels()))
    }

    async fn config_map(&self, name: &ConfigMapName) -> Result<Option<ConfigMapFacts>, ReadError> {
        let path = format!("/api/v1/namespaces/{}/configmaps/{}", segment(&name.namespace)?, segment(&name.name)?);
        let what = format!("ConfigMap {name}");
        let Some(object) = self.object(&what, path).await? else { return Ok(None) };
        ConfigMapFacts::from_json(&object).map_err(|error| ReadError::failed(&what, &error))
    }

    async fn policies(&self, namespace: Option<&str>) -> Result<Vec<Value>, ReadError> {
        let (kind, scope) = match namespace {
            Some(namespace) => (PolicyKind::EcrAccessPolicy, format!("namespaces/{}/", segment(namespace)?)),
            None => (PolicyKind::ClusterEcrAccessPolicy, String::new()),
        };
        let path = format!("/apis/{}/{scope}{}?limit={PAGE_SIZE}", api::API_VERSION, kind.plural());
        let reader = self.reader.clone();
        self.lists.read(path.clone(), move || async move { reader.policies(kind, &path).await }).await
    }
}

/// Items of a list may come without the fields that say what they are.
fn with_type(mut item: Value, kind: PolicyKind) -> Value {
    if let Some(object) = item.as_object_mut() {
        object.entry("apiVersion").or_insert_with(|| api::API_VERSION.into());
        object.entry("kind").or_insert_with(|| kind.as_str().into());
    }
    item
}

/// A name as part of a path: what the names of objects are made of ("Object Names and IDs"), nothing else.
fn segment(name: &str) -> Result<&str, ReadError> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !name.is_empty() && name.chars().all(known) && name != "." && name != ".." {
        Ok(name)
    } else {
        Err(ReadError::Name(name.chars().filter(|c| !c.is_control()).take(260).collect()))
    }
}

/// A value of a query, percent-encoded.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_get_into_a_path() {
        assert_eq!(segment("api-0.x"), Ok("api-0.x"));
        for name in ["", ".", "..", "a/b", "a?b", "Ü", "a b", "a%2fb", "A"] {
            assert_eq!(segment(name), Err(ReadError::Name(name.to_owned())));
        }
    }

    #[test]
    fn a_continue_token_is_encoded() {
        assert_eq!(escaped("aZ09-_.~=+/&"), "aZ09-_.~%3D%2B%2F%26");
    }
}
