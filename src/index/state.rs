//! What the watches have told so far, as one inventory. No I/O: events in, inventory out.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::policy::compiled::{ConfigMapFacts, InventoryError, PolicyKey, PolicyObject};
use ecr_forecast::policy::{self, PolicyKind};

use super::kinds;
use crate::api::PolicyStatus;
use crate::runtime::watch::event::Event;
use crate::runtime::watch::kind::Kind;
use crate::runtime::watch::object::{Item, Raw};
use crate::runtime::watch::relist::{Change, Relist};

/// Which watch an event came from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// Policies of one of the two kinds.
    Policies(PolicyKind),
    /// ServiceAccounts.
    ServiceAccounts,
    /// Namespaces.
    Namespaces,
    /// ConfigMaps with the label of policy documents, and no others.
    ConfigMaps,
}

impl Source {
    /// Everything that a verdict depends on.
    pub const ALL: [Source; 5] = [
        Source::Policies(PolicyKind::EcrAccessPolicy),
        Source::Policies(PolicyKind::ClusterEcrAccessPolicy),
        Source::ServiceAccounts,
        Source::Namespaces,
        Source::ConfigMaps,
    ];

    /// The word for it in logs and messages, plural.
    pub const fn as_str(self) -> &'static str {
        self.kind().plural
    }

    /// The row of the table of kinds.
    pub const fn kind(self) -> Kind {
        match self {
            Source::Policies(kind) => kinds::policies(kind),
            Source::ServiceAccounts => kinds::SERVICE_ACCOUNTS,
            Source::Namespaces => kinds::NAMESPACES,
            Source::ConfigMaps => kinds::CONFIG_MAPS,
        }
    }
}

/// Counts changes; whoever compares two of these knows what changed in between, however many changes it missed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Policies that came, went, or have another spec.
    pub policies: u64,
    /// Policies of which something else changed, which is the status above all.
    pub statuses: u64,
    /// Service accounts, namespaces and ConfigMaps that came, went or changed.
    pub surroundings: u64,
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

/// The inventory under construction.
#[derive(Default)]
pub struct State {
    inventory: Inventory,
    observed: BTreeMap<PolicyKey, Arc<Observed>>,
    changes: Changes,
    namespaced_policies: Relist<ObjectName, Item>,
    cluster_policies: Relist<ObjectName, Item>,
    service_accounts: Relist<ObjectName, ServiceAccountFacts>,
    namespaces: Relist<ObjectName, BTreeMap<String, String>>,
    config_maps: Relist<ObjectName, ConfigMapFacts>,
}

/// Namespace (empty for objects of the cluster) and name.
type ObjectName = (String, String);

impl State {
    /// An empty state that goes on counting where another one stopped.
    pub fn continuing(changes: Changes) -> State {
        State { changes, ..State::default() }
    }

    /// The inventory as of now.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What stands about each policy in the API server.
    pub fn observed(&self) -> &BTreeMap<PolicyKey, Arc<Observed>> {
        &self.observed
    }

    /// How much changed since the beginning.
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// Takes one event. `true` when it completed the list of its source.
    ///
    /// Objects are stripped at once, so that a list in the making holds no more than what is kept of it. A service account
    /// or a namespace that cannot be read is as one that was not seen.
    pub fn apply(&mut self, source: Source, event: Event<Item>) -> bool {
        match source {
            Source::ConfigMaps => {
                let Some(event) = stripped(event, |item| config_map_facts(&item)) else { return false };
                let change = self.config_maps.apply(event);
                let mut changed = false;
                for (namespace, name) in change.removed {
                    changed |= self.inventory.remove_config_map(&ConfigMapName { namespace, name });
                }
                for (_, facts) in change.put {
                    changed |= self.inventory.put_config_map(facts);
                }
                self.changes.surroundings += u64::from(changed);
                change.listed
            }
            Source::Policies(kind) => {
                let Some(event) = stripped(event, Some) else { return false };
                let change = match kind {
                    PolicyKind::EcrAccessPolicy => self.namespaced_policies.apply(event),
                    PolicyKind::ClusterEcrAccessPolicy => self.cluster_policies.apply(event),
                };
                self.change_policies(kind, change)
            }
            Source::ServiceAccounts => {
                let facts = |raw: &Raw| ServiceAccountFacts::from_json(raw.value()).ok();
                let Some(event) = stripped(event, |item| facts(readable(&item)?)) else { return false };
                let change = self.service_accounts.apply(event);
                self.changes.surroundings += u64::from(!change.is_empty());
                for (namespace, name) in &change.removed {
                    self.inventory.remove_service_account(namespace, name);
                }
                for (_, facts) in change.put {
                    self.inventory.put_service_account(facts);
                }
                change.listed
            }
            Source::Namespaces => {
                let Some(event) = stripped(event, |item| readable(&item).map(Raw::labels)) else { return false };
                let change = self.namespaces.apply(event);
                self.changes.surroundings += u64::from(!change.is_empty());
                for (_, name) in &change.removed {
                    self.inventory.remove_namespace(name);
                }
                for ((_, name), labels) in change.put {
                    self.inventory.put_namespace(name, labels);
                }
                change.listed
            }
        }
    }

    fn change_policies(&mut self, kind: PolicyKind, change: Change<ObjectName, Item>) -> bool {
        for name in change.removed {
            let key = policy_key(kind, name);
            self.inventory.remove_policy(&key);
            self.observed.remove(&key);
            self.changes.policies += 1;
        }
        for (name, item) in change.put {
            let key = policy_key(kind, name);
            let seen = observed(item.raw());
            let before = self.observed.insert(key.clone(), Arc::new(seen.clone()));
            // Without a generation (which the API server always sets) every event counts as a new spec.
            let same_spec = before.is_some_and(|before| {
                before.uid == seen.uid && before.generation == seen.generation && seen.generation.is_some()
            });
            if same_spec {
                self.changes.statuses += 1;
            } else {
                self.changes.policies += 1;
            }
            match policy_object(kind, item) {
                Ok(policy) => self.inventory.put_policy(policy),
                Err(error) => {
                    // The key was addressed, so this does not happen with anything an API server sends.
                    tracing::warn!(policy = %key, %error, "a policy cannot be stored and is left out");
                    self.inventory.remove_policy(&key);
                    self.observed.remove(&key);
                }
            }
        }
        change.listed
    }
}

/// Puts the object's name beside what `strip` keeps of it; an object without a name cannot be addressed and is skipped.
fn stripped<V>(event: Event<Item>, strip: impl FnOnce(Item) -> Option<V>) -> Option<Event<(ObjectName, Option<V>)>> {
    event.filter_map(|item| {
        let raw = item.raw();
        let name = (raw.namespace().unwrap_or_default().to_owned(), raw.name()?.to_owned());
        Some((name, strip(item)))
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POLICIES: Source = Source::Policies(PolicyKind::EcrAccessPolicy);
    const CLUSTER_POLICIES: Source = Source::Policies(PolicyKind::ClusterEcrAccessPolicy);

    fn policy(name: &str, generation: i64, version: &str) -> Raw {
        Raw::new(json!({
            "apiVersion": policy::API_VERSION, "kind": "EcrAccessPolicy",
            "metadata": {"name": name, "namespace": "payments", "uid": format!("uid-{name}"), "generation": generation, "resourceVersion": version},
            "spec": {"puller": {"role": {"arn": "arn:aws:iam::111122223333:role/app"}}}
        }))
    }

    fn account(name: &str) -> Raw {
        Raw::new(json!({
            "metadata": {
                "name": name, "namespace": "payments", "resourceVersion": "5",
                "labels": {"team": "a"}, "annotations": {"eks.amazonaws.com/ecr-role-arn": "arn"}
            },
            "imagePullSecrets": [{"name": "registry"}, {}],
            "secrets": [{"name": "token"}]
        }))
    }

    fn list(state: &mut State, source: Source, objects: Vec<Raw>) {
        assert!(!state.apply(source, Event::Init));
        for object in objects {
            assert!(!state.apply(source, Event::InitApply(object.into())));
        }
        assert!(state.apply(source, Event::InitDone));
    }

    fn policies(state: &State) -> Vec<String> {
        let mut keys: Vec<_> = state.inventory().policies().map(|policy| policy.key.to_string()).collect();
        keys.sort();
        keys
    }

    #[test]
    fn policies_of_both_kinds_are_listed_changed_and_removed_apart() {
        let mut state = State::default();
        list(&mut state, POLICIES, vec![policy("a", 1, "1"), policy("b", 1, "2")]);
        let mut cluster = policy("a", 1, "3").into_value("", "");
        cluster["kind"] = "ClusterEcrAccessPolicy".into();
        cluster["metadata"]["namespace"].take();
        list(&mut state, CLUSTER_POLICIES, vec![Raw::new(cluster)]);
        assert_eq!(
            policies(&state),
            ["ClusterEcrAccessPolicy/a", "EcrAccessPolicy/payments/a", "EcrAccessPolicy/payments/b"]
        );
        // The watch of one kind starts over: the other kind is left alone.
        list(&mut state, POLICIES, vec![policy("b", 1, "2")]);
        assert_eq!(policies(&state), ["ClusterEcrAccessPolicy/a", "EcrAccessPolicy/payments/b"]);
        state.apply(POLICIES, Event::Delete(policy("b", 1, "9").into()));
        assert_eq!(policies(&state), ["ClusterEcrAccessPolicy/a"]);
        assert_eq!(state.observed().len(), 1);
    }

    #[test]
    fn a_policy_that_does_not_decode_is_kept_as_such_and_harms_no_other() {
        let mut state = State::default();
        let broken = Raw::new(json!({
            "kind": "EcrAccessPolicy", "apiVersion": policy::API_VERSION,
            "metadata": {"name": "broken", "namespace": "payments", "resourceVersion": "1", "generation": 1},
            "spec": {"puller": "nobody", "status": 7}, "status": []
        }));
        list(&mut state, POLICIES, vec![policy("a", 1, "1"), broken, Raw::new(json!(7))]);
        assert_eq!(policies(&state), ["EcrAccessPolicy/payments/a", "EcrAccessPolicy/payments/broken"]);
        let broken = state.inventory().policies().find(|policy| policy.key.name == "broken").unwrap();
        assert!(broken.body.is_err());
    }

    #[test]
    fn a_status_alone_is_no_change_of_a_policy() {
        let mut state = State::default();
        list(&mut state, POLICIES, vec![policy("a", 1, "1")]);
        let before = state.changes();
        let mut with_status = policy("a", 1, "2").into_value("", "");
        with_status["status"] = json!({"serviceAccounts": 3});
        state.apply(POLICIES, Event::Apply(Raw::new(with_status).into()));
        assert_eq!(state.changes(), Changes { statuses: before.statuses + 1, ..before });
        let key = policy_key(PolicyKind::EcrAccessPolicy, ("payments".to_owned(), "a".to_owned()));
        assert_eq!(state.observed()[&key].status.as_ref().unwrap().service_accounts, 3);
        let stored = state.inventory().policies().next().unwrap();
        assert_eq!(stored.resource_version.as_deref(), Some("2"), "a fresh read compares resource versions");

        state.apply(POLICIES, Event::Apply(policy("a", 2, "3").into()));
        assert_eq!(state.changes().policies, before.policies + 1);
        // Deleted and created again between two lists: the same generation, another object.
        let mut other = policy("a", 2, "4").into_value("", "");
        other["metadata"]["uid"] = "another".into();
        state.apply(POLICIES, Event::Apply(Raw::new(other).into()));
        assert_eq!(state.changes().policies, before.policies + 2);
    }

    #[test]
    fn service_accounts_are_stripped_to_what_a_verdict_depends_on() {
        let mut state = State::default();
        list(&mut state, Source::ServiceAccounts, vec![account("api"), account("worker")]);
        let facts = state.inventory().service_account("payments", "api").unwrap();
        assert_eq!(facts.labels["team"], "a");
        assert_eq!(facts.annotations["eks.amazonaws.com/ecr-role-arn"], "arn");
        assert_eq!(facts.image_pull_secrets, ["registry"]);
        assert_eq!(facts.resource_version.as_deref(), Some("5"));
        assert_eq!(state.changes(), Changes { surroundings: 1, ..Changes::default() });
        state.apply(Source::ServiceAccounts, Event::Delete(account("api").into()));
        assert!(state.inventory().service_account("payments", "api").is_none());
        assert!(state.inventory().service_account("payments", "worker").is_some());
    }

    #[test]
    fn config_maps_with_the_label_are_stripped_to_their_texts_and_reach_the_policies() {
        let config_map = |name: &str, version: &str, label: &str| {
            Raw::new(json!({
                "metadata": {"name": name, "namespace": "payments", "uid": name, "resourceVersion": version,
                    "labels": {"ecraccess.dev/policy-document": label}},
                "data": {"app.json": "{\"Version\": \"2012-10-17\", \"Statement\": []}"}
            }))
        };
        let naming = Raw::new(json!({
            "metadata": {"name": "naming", "namespace": "payments", "resourceVersion": "1", "generation": 1},
            "spec": {"puller": {"role": {"arn": "arn:aws:iam::111122223333:role/app", "identity": {"policies": [
                {"name": "app", "configMapKeyRef": {"name": "iam", "key": "app.json"}}]}}}}
        }));
        let mut state = State::default();
        list(&mut state, POLICIES, vec![naming]);
        let looked_up = |state: &State| {
            let inventory = state.inventory();
            inventory.with_documents(inventory.policies().next().unwrap())
        };
        let unresolved = |state: &State| looked_up(state).unresolved().len();
        list(&mut state, Source::ConfigMaps, vec![config_map("other", "1", "true"), config_map("iam", "2", "no")]);
        let before = state.changes();
        assert_eq!((before.surroundings, unresolved(&state)), (1, 1));
        state.apply(Source::ConfigMaps, Event::Apply(config_map("iam", "3", "true").into()));
        assert_eq!((state.changes().surroundings, unresolved(&state)), (2, 0));
        assert_eq!(state.changes().policies, before.policies);
        // The watch starts over and finds all as it was.
        let policy = looked_up(&state);
        list(&mut state, Source::ConfigMaps, vec![config_map("other", "1", "true"), config_map("iam", "3", "true")]);
        assert_eq!(state.changes().surroundings, 2);
        assert!(policy.is_same(&looked_up(&state)));
        // Losing the label, which the watch tells as a delete, and being deleted are the same.
        state.apply(Source::ConfigMaps, Event::Delete(config_map("iam", "4", "no").into()));
        assert_eq!((state.changes().surroundings, unresolved(&state)), (3, 1));
    }

    #[test]
    fn namespaces_are_stripped_to_their_labels_and_disappear_with_a_new_list() {
        let namespace = |name: &str| Raw::new(json!({"metadata": {"name": name, "labels": {"team": "a"}}}));
        let mut state = State::default();
        list(&mut state, Source::Namespaces, vec![namespace("payments"), namespace("search")]);
        assert!(state.inventory().namespace("payments").is_some());
        list(&mut state, Source::Namespaces, vec![namespace("search")]);
        assert!(state.inventory().namespace("payments").is_none());
        assert!(state.inventory().namespace("search").is_some());
        assert_eq!(state.changes().surroundings, 2);
    }
}
