//! A fake of the cluster that a review asks, for the tests and the benches of the webhook: one set of objects in memory, and
//! one to be read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests, which `clippy.toml` knows only by `#[test]`"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ecr_access::runtime::watch::object::Raw;
use ecr_access::webhook::cluster::{Cluster, Read, ReadError};
use ecr_forecast::cluster::ObjectRef;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::policy::compiled::{ConfigMapFacts, PolicyObject};
use serde_json::Value;
use tokio::sync::Notify;

/// What memory or the API server knows.
#[derive(Clone, Default)]
pub struct Objects {
    pub policies: Vec<Value>,
    pub accounts: Vec<Value>,
    pub namespaces: Vec<(String, BTreeMap<String, String>)>,
    pub config_maps: Vec<Value>,
}

impl Objects {
    fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        for policy in &self.policies {
            inventory.put_policy(PolicyObject::from_json(policy.clone()).unwrap());
        }
        for account in &self.accounts {
            inventory.put_service_account(ServiceAccountFacts::from_json(account).unwrap());
        }
        for (name, labels) in &self.namespaces {
            inventory.put_namespace(name.clone(), labels.clone());
        }
        let config_maps = self.config_maps.iter().filter_map(|object| ConfigMapFacts::from_json(object).unwrap());
        for facts in config_maps {
            inventory.put_config_map(facts);
        }
        inventory
    }

    /// The policies of each namespace, those of the cluster by `None`.
    fn policies(self) -> Policies {
        let mut policies = Policies::new();
        for policy in self.policies {
            let namespace = policy["metadata"].get("namespace").and_then(Value::as_str).map(str::to_owned);
            policies.entry(namespace).or_default().push(policy);
        }
        policies
    }
}

/// How the API server behaves.
#[derive(Clone, Default)]
pub enum Mood {
    #[default]
    Answers,
    Fails,
    /// Answers no read before it is told to.
    Waits(Arc<Notify>),
    /// Panics when memory is looked at.
    Panics,
    /// Keeps the processor until the test drops the other end, when memory is looked at.
    Works(Arc<Mutex<std::sync::mpsc::Receiver<()>>>),
    /// Knows nothing yet.
    NotSynced,
}

/// Policy objects by namespace; those of the cluster have none.
type Policies = BTreeMap<Option<String>, Vec<Value>>;

/// The cluster. It notes what is read.
#[derive(Clone, Default)]
pub struct FakeCluster {
    memory: Arc<Inventory>,
    api_server: Arc<(Inventory, Policies)>,
    pub mood: Mood,
    reads: Arc<Mutex<Vec<String>>>,
}

impl FakeCluster {
    pub fn new(memory: Objects, api_server: Objects) -> FakeCluster {
        let api_server = Arc::new((api_server.inventory(), api_server.policies()));
        FakeCluster { memory: Arc::new(memory.inventory()), api_server, ..FakeCluster::default() }
    }

    /// Memory is up to date.
    pub fn synced(objects: Objects) -> FakeCluster {
        FakeCluster::new(objects.clone(), objects)
    }

    pub fn in_mood(self, mood: Mood) -> FakeCluster {
        FakeCluster { mood, ..self }
    }

    pub fn reads(&self) -> Vec<String> {
        let mut reads = self.reads.lock().unwrap().clone();
        reads.sort();
        reads
    }

    async fn read(&self, what: String) -> Result<(), ReadError> {
        self.reads.lock().unwrap().push(what.clone());
        match &self.mood {
            Mood::Fails => Err(ReadError::Failed { what, message: "it is on fire".to_owned() }),
            Mood::Waits(told) => {
                told.notified().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Cluster for FakeCluster {
    fn snapshot(&self) -> Option<Arc<Inventory>> {
        match &self.mood {
            Mood::Panics => panic!("a bug for the test"),
            Mood::NotSynced => return None,
            Mood::Works(held) => drop(held.lock().unwrap().recv().unwrap_err()),
            Mood::Answers | Mood::Fails | Mood::Waits(_) => {}
        }
        Some(Arc::clone(&self.memory))
    }

    async fn get(&self, what: &ObjectRef) -> Result<Read, ReadError> {
        self.read(what.to_string()).await?;
        let (inventory, policies) = &*self.api_server;
        Ok(match what {
            ObjectRef::ServiceAccount { namespace, name } => {
                Read::ServiceAccount(inventory.service_account(namespace, name).map(|facts| (**facts).clone()))
            }
            ObjectRef::Fact { .. } => return Err(ReadError::Timeout),
            ObjectRef::Namespace(name) => Read::Namespace(inventory.namespace(name).cloned()),
            ObjectRef::ConfigMap(name) => Read::ConfigMap(inventory.config_map(name).map(|facts| (**facts).clone())),
            ObjectRef::Policies(namespace) => {
                let policies = policies.get(namespace).into_iter().flatten();
                Read::Policies(policies.map(|policy| Raw::new(policy.clone()).into()).collect())
            }
        })
    }
}
