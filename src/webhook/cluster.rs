//! What a review asks of the cluster: the snapshot in memory, and a few fresh reads of the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecr_forecast::cluster::ObjectRef;
use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::compiled::ConfigMapFacts;
use kube::Client;

use super::single_flight::SingleFlight;
use crate::index::{Index, config_map_facts, kinds};
use crate::runtime::watch::answer::AnswerError;
use crate::runtime::watch::kind::{Kind, NameError};
use crate::runtime::watch::object::{Item, Raw};
use crate::runtime::watch::reader::Reader;

/// Pages of policies that are read before a rejection, 500 objects each. A namespace with more of them gets `Unknown`
/// rather than a rejection that rests on half of them.
const PAGES: usize = 4;
const PAGE_SIZE: u32 = 500;

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
    #[error("the API server did not answer in time")]
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

    /// What it is now, past all caches.
    fn get(&self, what: &ObjectRef) -> impl Future<Output = Result<Read, ReadError>> + Send;
}

/// What was read of an [`ObjectRef`], by its kind. `None` where there is no such object.
#[derive(Clone, Debug)]
pub enum Read {
    /// A service account.
    ServiceAccount(Option<ServiceAccountFacts>),
    /// The labels of a namespace.
    Namespace(Option<BTreeMap<String, String>>),
    /// The policies.
    Policies(Vec<Item>),
    /// A ConfigMap; none too where it lacks the label of policy documents.
    ConfigMap(Option<ConfigMapFacts>),
}

/// The cluster that this program runs for. What it reads is as of now, past all caches.
pub struct LiveCluster {
    index: Arc<Index>,
    reader: Reader,
    /// Answers about single objects, by resource, namespace and name.
    objects: SingleFlight<(&'static str, String, String), Result<Option<Item>, ReadError>>,
    /// Lists of policies, by namespace; the empty one is that of the cluster.
    lists: SingleFlight<String, Result<Vec<Item>, ReadError>>,
}

impl LiveCluster {
    /// Memory is `index`, fresh reads go through `client`.
    pub fn new(index: Arc<Index>, client: Client) -> LiveCluster {
        let reader = Reader::new(client);
        LiveCluster { index, reader, objects: SingleFlight::default(), lists: SingleFlight::default() }
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

    async fn get(&self, what: &ObjectRef) -> Result<Read, ReadError> {
        let named = what.to_string();
        match what {
            ObjectRef::ServiceAccount { namespace, name } => {
                let raw = self.object(&named, kinds::SERVICE_ACCOUNTS, namespace, name).await?;
                let facts = raw.map(|raw| ServiceAccountFacts::from_json(raw.value())).transpose();
                facts.map(Read::ServiceAccount).map_err(|error| ReadError::failed(&named, &error))
            }
            ObjectRef::Namespace(name) => {
                let raw = self.object(&named, kinds::NAMESPACES, "", name).await?;
                Ok(Read::Namespace(raw.as_ref().map(Raw::labels)))
            }
            ObjectRef::Policies(namespace) => {
                let (reader, namespace) = (self.reader.clone(), namespace.clone());
                let kind = PolicyKind::within(namespace.as_deref());
                let key = namespace.clone().unwrap_or_default();
                let list = move || async move { policies(&reader, kind, namespace.as_deref()).await };
                self.lists.read(key, list).await.map(Read::Policies)
            }
            ObjectRef::ConfigMap(ConfigMapName { namespace, name }) => {
                let item = self.item(&named, kinds::CONFIG_MAPS, namespace, name).await?;
                Ok(Read::ConfigMap(item.as_ref().and_then(config_map_facts)))
            }
            ObjectRef::Fact { .. } => {
                Err(ReadError::Failed { what: named, message: "nothing reads it but its watch".to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fixtures::stored_policy;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::index::IndexOptions;
    use crate::runtime::fake::{FakeApi, VERSION};

    fn cluster(api: &Arc<FakeApi>) -> (LiveCluster, tokio_util::sync::DropGuard) {
        let token = CancellationToken::new();
        let index = Index::start(api.client(), IndexOptions::default(), token.clone());
        (LiveCluster::new(index, api.client()), token.drop_guard())
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", r#"{"f:x":"#.repeat(levels), "}".repeat(levels))
    }

    /// An object with `managedFields` that no parser takes, and more.
    fn tricky(name: &str, more: &str) -> Vec<u8> {
        let metadata = format!(r#""name":"{name}","namespace":"payments","resourceVersion":"{VERSION}""#);
        let labels = r#""labels":{"ecraccess.dev/policy-document":"true"}"#;
        let fields = format!(r#""managedFields":[{{"fieldsV1":{}}},""#, nested(200));
        let metadata = format!(r#"{{"metadata":{{{metadata},{labels},{fields}"#);
        [metadata.as_bytes(), b"\xff", format!(r#""]}}{more}}}"#).as_bytes()].concat()
    }

    #[tokio::test]
    async fn reads_are_past_the_watches_and_of_objects_that_no_parser_takes_as_a_whole() {
        let api = FakeApi::new();
        let (cluster, _guard) = cluster(&api);
        let deep = format!(r#","data":{{"app.json":"{{}}"}},"deep":{}"#, nested(200));
        for resource in ["serviceaccounts", "configmaps"] {
            let text = r#","data":{"app.json":"{}"},"imagePullSecrets":[{"name":"x"}]"#;
            api.put_bytes(resource, "payments", "fine", &tricky("fine", text));
            api.put_bytes(resource, "payments", "deep", &tricky("deep", &deep));
        }
        let account = async |name: &str| {
            let what = ObjectRef::ServiceAccount { namespace: "payments".to_owned(), name: name.to_owned() };
            cluster.get(&what).await.map(|read| match read {
                Read::ServiceAccount(facts) => facts,
                other => panic!("{other:?}"),
            })
        };
        let fine = account("fine").await.unwrap().unwrap();
        assert_eq!((fine.image_pull_secrets, fine.resource_version.is_some()), (vec!["x".to_owned()], true));
        assert_eq!(account("other").await, Ok(None));
        let error = account("deep").await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read service account payments/deep: it cannot be read from line 1, "),
            "{error}"
        );

        let config_map = async |name: &str| {
            let name = ConfigMapName { namespace: "payments".to_owned(), name: name.to_owned() };
            match cluster.get(&ObjectRef::ConfigMap(name)).await.unwrap() {
                Read::ConfigMap(facts) => facts,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(config_map("fine").await.unwrap().text("app.json"), Some("{}"));
        assert_eq!(config_map("deep").await.unwrap().text("app.json"), None);
        api.put("configmaps", json!({"metadata": {"name": "plain", "namespace": "payments"}}));
        for absent in ["plain", "other"] {
            assert!(config_map(absent).await.is_none(), "{absent}");
        }

        api.put("namespaces", json!({"metadata": {"name": "payments", "labels": {"team": "a"}}}));
        match cluster.get(&ObjectRef::Namespace("payments".to_owned())).await.unwrap() {
            Read::Namespace(labels) => assert_eq!(labels.unwrap()["team"], "a"),
            other => panic!("{other:?}"),
        }
        api.answer("serviceaccounts", 500);
        let error = account("fine").await.unwrap_err();
        assert!(matches!(error, ReadError::Failed { .. }), "{error}");
        let names = [("payments", "a/../b"), ("a?b", "x"), ("", "x")];
        for (namespace, name) in names {
            let what = ObjectRef::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() };
            let error = cluster.get(&what).await.unwrap_err();
            assert!(matches!(error, ReadError::Name(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn policies_are_read_page_by_page_and_one_that_no_parser_takes_is_among_them() {
        let api = FakeApi::new();
        let (cluster, _guard) = cluster(&api);
        for index in 0..600 {
            api.put("ecraccesspolicies", stored_policy("payments", &format!("p{index:03}")));
        }
        let deep = format!(r#","spec":{{"onDeny":"Warn","puller":{}}}"#, nested(200));
        api.put_bytes("ecraccesspolicies", "payments", "p550-deep", &tricky("p550-deep", &deep));
        let policies = async |namespace: Option<&str>| {
            cluster.get(&ObjectRef::Policies(namespace.map(str::to_owned))).await.map(|read| match read {
                Read::Policies(policies) => policies,
                other => panic!("{other:?}"),
            })
        };
        let found = policies(Some("payments")).await.unwrap();
        assert_eq!(found.len(), 601);
        let unreadable: Vec<_> = found.iter().filter(|item| matches!(item, Item::Unreadable(_))).collect();
        assert_eq!(unreadable.iter().map(|item| item.raw().name()).collect::<Vec<_>>(), [Some("p550-deep")]);
        assert!(policies(None).await.unwrap().is_empty());
        // Without the CRD there are none.
        api.answer("clusterecraccesspolicies", 404);
        assert!(policies(None).await.unwrap().is_empty());
        api.answer("clusterecraccesspolicies", 403);
        assert!(policies(None).await.is_err());
        for index in 0..1500 {
            api.put("ecraccesspolicies", stored_policy("payments", &format!("q{index:04}")));
        }
        let error = policies(Some("payments")).await.unwrap_err();
        assert_eq!(error, ReadError::TooMany { what: "ecraccesspolicies".to_owned() });
    }
}
