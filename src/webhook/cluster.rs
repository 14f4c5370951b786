//! What a review asks of the cluster: the snapshot in memory, and a few fresh reads of the API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use super::shared::SharedReads;
use crate::api::PolicyKind;
use crate::index::{Index, config_map_facts, kinds};
use crate::inventory::{ConfigMapFacts, ConfigMapName, Inventory, ServiceAccountFacts};
use crate::runtime::watch::kind::{Kind, NameError};
use crate::runtime::watch::object::{Item, Raw};
use crate::runtime::watch::reader::{AnswerError, Reader};

/// Pages of policies that are read before a rejection, 500 objects each. A namespace with more of them gets `Unknown`
/// rather than a rejection that rests on half of them.
const PAGES: usize = 4;
const PAGE_SIZE: u32 = 500;

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
    #[error("there are more than {} {what}", PAGES * PAGE_SIZE as usize)]
    TooMany {
        /// The resource.
        what: String,
    },
    /// More ConfigMaps than are read for one review.
    #[error("its policies are in {0} ConfigMaps, and {MAX_CONFIG_MAPS} are read; put their documents into fewer")]
    TooManyConfigMaps(usize),
    /// As many reads are on their way as may be, or as may be for whoever asks.
    #[error("too many reads of the API server are on their way")]
    Busy,
    /// A name that no object can have, so it is not put into a URL.
    #[error(transparent)]
    Name(NameError),
}

impl ReadError {
    fn failed(what: &str, error: &dyn std::error::Error) -> ReadError {
        ReadError::Failed { what: what.to_owned(), message: error.to_string() }
    }

    fn of(what: &str, error: AnswerError) -> ReadError {
        match error {
            AnswerError::Name(error) => ReadError::Name(error),
            error => ReadError::failed(what, &error),
        }
    }

    /// The same for the log: what stands in the pod for a name, and is none, is the pod's own affair.
    pub fn in_log(&self) -> String {
        match self {
            ReadError::Name(_) => "a name in the object is no name of an object".to_owned(),
            error => error.to_string(),
        }
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

    /// All policies now: the `EcrAccessPolicy` objects of a namespace, or without one every
    /// `ClusterEcrAccessPolicy`.
    fn policies(&self, namespace: Option<&str>) -> impl Future<Output = Result<Vec<Item>, ReadError>> + Send;
}

/// The cluster that this program runs for. What it reads is as of now, past all caches.
pub struct LiveCluster {
    index: Arc<Index>,
    reader: Reader,
    /// Answers about single objects, by resource, namespace and name.
    objects: SharedReads<(&'static str, String, String), Result<Option<Item>, ReadError>>,
    /// Lists of policies, by namespace; the empty one is that of the cluster.
    lists: SharedReads<String, Result<Vec<Item>, ReadError>>,
}

impl LiveCluster {
    /// Memory is `index`, fresh reads go through `client`.
    pub fn new(index: Arc<Index>, client: Client) -> LiveCluster {
        let reader = Reader::new(client);
        LiveCluster { index, reader, objects: SharedReads::default(), lists: SharedReads::default() }
    }

    /// `None` where there is no such object; `what` names it.
    async fn item(&self, what: &str, kind: Kind, namespace: &str, name: &str) -> Result<Option<Item>, ReadError> {
        let (reader, what) = (self.reader.clone(), what.to_owned());
        let [namespace, name] = [namespace, name].map(str::to_owned);
        let key = (kind.plural, namespace.clone(), name.clone());
        let read = move || async move {
            reader.get(&kind, Some(&namespace), &name).await.map_err(|error| ReadError::of(&what, error))
        };
        self.objects.read(key, read).await
    }

    /// The same of an object that says nothing unless it can be read.
    async fn object(&self, what: &str, kind: Kind, namespace: &str, name: &str) -> Result<Option<Raw>, ReadError> {
        match self.item(what, kind, namespace, name).await? {
            Some(Item::Object(raw)) => Ok(Some(raw)),
            Some(Item::Unreadable(object)) => Err(ReadError::failed(what, &object.error)),
            None => Ok(None),
        }
    }
}

/// Every page of a list of policies.
async fn policies(reader: &Reader, kind: PolicyKind, namespace: Option<&str>) -> Result<Vec<Item>, ReadError> {
    let (row, plural) = (kinds::policies(kind), kind.plural());
    let (mut policies, mut from) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = match reader.list(&row, namespace, PAGE_SIZE, from.as_deref()).await {
            Ok(page) => page,
            // The CRD is gone, and with it every policy.
            Err(AnswerError::Status(status)) if status.code == 404 => return Ok(policies),
            Err(error) => return Err(ReadError::of(plural, error)),
        };
        policies.extend(page.items.iter().filter_map(|bytes| Item::decode(bytes)));
        from = page.next;
        if from.is_none() {
            return Ok(policies);
        }
    }
    Err(ReadError::TooMany { what: plural.to_owned() })
}

impl Cluster for LiveCluster {
    fn snapshot(&self) -> Option<Arc<Inventory>> {
        self.index.synced().then(|| self.index.snapshot())
    }

    async fn service_account(&self, namespace: &str, name: &str) -> Result<Option<ServiceAccountFacts>, ReadError> {
        let what = format!("service account {namespace}/{name}");
        let Some(raw) = self.object(&what, kinds::SERVICE_ACCOUNTS, namespace, name).await? else { return Ok(None) };
        ServiceAccountFacts::from_json(raw.value()).map(Some).map_err(|error| ReadError::failed(&what, &error))
    }

    async fn namespace(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, ReadError> {
        let raw = self.object(&format!("namespace {name}"), kinds::NAMESPACES, "", name).await?;
        Ok(raw.as_ref().map(Raw::labels))
    }

    async fn config_map(&self, name: &ConfigMapName) -> Result<Option<ConfigMapFacts>, ReadError> {
        let item = self.item(&format!("ConfigMap {name}"), kinds::CONFIG_MAPS, &name.namespace, &name.name).await?;
        Ok(item.as_ref().and_then(config_map_facts))
    }

    async fn policies(&self, namespace: Option<&str>) -> Result<Vec<Item>, ReadError> {
        let (reader, namespace) = (self.reader.clone(), namespace.map(str::to_owned));
        let kind = match namespace {
            Some(_) => PolicyKind::EcrAccessPolicy,
            None => PolicyKind::ClusterEcrAccessPolicy,
        };
        let key = namespace.clone().unwrap_or_default();
        self.lists.read(key, move || async move { policies(&reader, kind, namespace.as_deref()).await }).await
    }
}
