//! What is kept of the objects that are watched, and how each kind of them changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::policy::compiled::{ConfigMapFacts, InventoryError, PolicyKey, PolicyObject};
use ecr_forecast::policy::{self, PolicyKind};

use crate::api::PolicyStatus;
use crate::runtime::watch::object::{Item, Raw};

/// Everything that is known of the cluster.
#[derive(Default)]
pub struct Memory {
    /// What verdicts are made of.
    pub inventory: Inventory,
    /// What stands about each policy in the API server.
    pub observed: BTreeMap<PolicyKey, Arc<Observed>>,
}

/// A change of memory that an object comes to.
///
/// It holds no more of the object than is kept, so that a list in the making takes no more memory than it leaves.
pub type Put = Box<dyn FnOnce(&mut Memory) -> Touched + Send>;

/// Namespace (empty for objects of the cluster) and name.
pub type ObjectName = (String, String);

/// What a change of memory is a change of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Touched {
    /// Of nothing.
    Nothing,
    /// A policy came, went, or has another spec.
    Policy,
    /// Something else of a policy, which is the status above all.
    Status,
    /// Something else that verdicts rest on.
    Surroundings,
}

/// What stands in the API server about a policy, besides its spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The status that somebody wrote; `None` where there is none, or none that decodes.
    pub status: Option<PolicyStatus>,
}

/// The name of an object; one without a name cannot be addressed.
pub fn name(raw: &Raw) -> Option<ObjectName> {
    Some((raw.namespace().unwrap_or_default().to_owned(), raw.name()?.to_owned()))
}

/// Keeps a policy, whatever its spec looks like.
pub fn policy(kind: PolicyKind, item: Item) -> Option<Put> {
    let key = policy_key(kind, name(item.raw())?);
    Some(Box::new(move |memory| {
        let seen = observed(item.raw());
        let before = memory.observed.insert(key.clone(), Arc::new(seen.clone()));
        // Without a generation (which the API server always sets) every event counts as a new spec.
        let same_spec = before.is_some_and(|before| {
            before.uid == seen.uid && before.generation == seen.generation && seen.generation.is_some()
        });
        match policy_object(kind, item) {
            Ok(policy) => memory.inventory.put_policy(policy),
            Err(error) => {
                // The key was addressed, so this does not happen with anything an API server sends.
                tracing::warn!(policy = %key, %error, "a policy cannot be stored and is left out");
                memory.inventory.remove_policy(&key);
                memory.observed.remove(&key);
            }
        }
        if same_spec { Touched::Status } else { Touched::Policy }
    }))
}

/// A policy is gone.
pub fn remove_policy(memory: &mut Memory, kind: PolicyKind, name: ObjectName) -> Touched {
    let key = policy_key(kind, name);
    memory.inventory.remove_policy(&key);
    memory.observed.remove(&key);
    Touched::Policy
}

/// Keeps a service account. One that cannot be read is as one that was not seen.
pub fn service_account(item: &Item) -> Option<Put> {
    let facts = ServiceAccountFacts::from_json(readable(item)?.value()).ok()?;
    Some(Box::new(move |memory| {
        memory.inventory.put_service_account(facts);
        Touched::Surroundings
    }))
}

/// A service account is gone.
pub fn remove_service_account(memory: &mut Memory, (namespace, name): &ObjectName) -> Touched {
    memory.inventory.remove_service_account(namespace, name);
    Touched::Surroundings
}

/// Keeps the labels of a namespace. One that cannot be read is as one that was not seen.
pub fn namespace(item: &Item) -> Option<Put> {
    let raw = readable(item)?;
    let (name, labels) = (raw.name()?.to_owned(), raw.labels());
    Some(Box::new(move |memory| {
        memory.inventory.put_namespace(name, labels);
        Touched::Surroundings
    }))
}

/// A namespace is gone.
pub fn remove_namespace(memory: &mut Memory, (_, name): &ObjectName) -> Touched {
    memory.inventory.remove_namespace(name);
    Touched::Surroundings
}

/// Keeps the documents of a ConfigMap.
pub fn config_map(item: &Item) -> Option<Put> {
    let facts = config_map_facts(item)?;
    Some(Box::new(move |memory| surroundings(memory.inventory.put_config_map(facts))))
}

/// A ConfigMap is gone, or has lost its label, which the watch tells as a delete.
pub fn remove_config_map(memory: &mut Memory, (namespace, name): ObjectName) -> Touched {
    surroundings(memory.inventory.remove_config_map(&ConfigMapName { namespace, name }))
}

/// What the inventory keeps of a policy, whatever its spec looks like.
///
/// # Errors
/// When it is no policy object with a name.
pub fn policy_object(kind: PolicyKind, item: Item) -> Result<PolicyObject, InventoryError> {
    let policy = |raw: Raw| PolicyObject::from_json(raw.into_value(policy::API_VERSION, kind.as_str()));
    match item {
        Item::Object(raw) => policy(raw),
        // What of a policy can be nested too deeply is a document, which is not read for that reason, or a field that no
        // policy has.
        Item::Unreadable(object) if object.too_deep => policy(object.rest),
        Item::Unreadable(object) => Ok(policy(object.rest)?.unreadable(&object.error.to_string())),
    }
}

/// What the inventory keeps of a ConfigMap; `None` for one without the label, should a server's idea of the selector be
/// another one.
pub fn config_map_facts(item: &Item) -> Option<ConfigMapFacts> {
    let facts = ConfigMapFacts::from_json(item.raw().value()).ok().flatten();
    match item {
        Item::Object(_) => facts,
        Item::Unreadable(object) => facts.map(|facts| facts.unreadable(object.error.to_string())),
    }
}

const fn surroundings(changed: bool) -> Touched {
    if changed { Touched::Surroundings } else { Touched::Nothing }
}

fn readable(item: &Item) -> Option<&Raw> {
    match item {
        Item::Object(raw) => Some(raw),
        Item::Unreadable(_) => None,
    }
}

fn policy_key(kind: PolicyKind, (namespace, name): ObjectName) -> PolicyKey {
    PolicyKey { kind, namespace: Some(namespace).filter(|namespace| !namespace.is_empty()), name }
}

fn observed(raw: &Raw) -> Observed {
    Observed {
        uid: raw.uid().map(str::to_owned),
        generation: raw.generation(),
        status: raw.value().get("status").and_then(|status| serde_json::from_value(status.clone()).ok()),
    }
}
