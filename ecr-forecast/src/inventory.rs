//! Everything that a verdict depends on, as one value: policies, service accounts, namespaces, ConfigMaps with policy
//! documents, and roles as other sources have them.
//!
//! The index builds it from watches, `check` builds it from files; both hand it to [`crate::forecast`]. An
//! [`Inventory`] is persistent: a clone shares everything, a change copies only the namespace it touches. Each kind of
//! object comes and goes by itself, in any order: a policy is compiled when it enters, a document in a ConfigMap when a
//! verdict first rests on it, and what one names of the other is looked up when judging
//! ([`with_documents`](Inventory::with_documents)).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::config_map::ConfigMapName;
use crate::ecr::arn::RoleArn;
use crate::facts::{RoleFact, Roles, Source};
use crate::policy::compiled::{
    ConfigMapFacts, ConfigMaps, InventoryError, Label, PolicyKey, PolicyObject, PolicyWithDocuments,
};

/// The label that the API server puts on every namespace, with the namespace's name as value ("Well-Known Labels,
/// Annotations and Taints").
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The facts that verdicts are made of. A clone is cheap and never changes.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    namespaces: Arc<BTreeMap<String, Arc<NamespaceShelf>>>,
    cluster_policies: Arc<BTreeMap<String, Arc<PolicyObject>>>,
    config_maps: ConfigMaps,
    roles: Roles,
}

/// What is kept of one namespace. It may hold policies and service accounts before the namespace itself was seen.
#[derive(Clone, Debug, Default)]
struct NamespaceShelf {
    labels: Option<Arc<BTreeMap<String, String>>>,
    service_accounts: BTreeMap<String, Arc<ServiceAccountFacts>>,
    policies: BTreeMap<String, Arc<PolicyObject>>,
}

impl NamespaceShelf {
    fn is_empty(&self) -> bool {
        self.labels.is_none() && self.service_accounts.is_empty() && self.policies.is_empty()
    }
}

/// What a verdict may depend on of a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccountFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, for `serviceAccounts.selector`.
    pub labels: BTreeMap<String, String>,
    /// Its annotations: one of them may name the role that pulls.
    pub annotations: BTreeMap<String, String>,
    /// The names of its `imagePullSecrets`. The secrets themselves are never read.
    pub image_pull_secrets: Vec<String>,
    /// The resource version it was read at, to tell whether a later read is newer.
    pub resource_version: Option<String>,
}

impl ServiceAccountFacts {
    /// Reads a ServiceAccount object. Fields of another type than the API's count as left out.
    ///
    /// # Errors
    /// When `metadata.name` is missing.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, InventoryError> {
        let metadata = value.get("metadata");
        let text = |field: &str| metadata.and_then(|m| m.get(field)).and_then(|v| v.as_str()).map(str::to_owned);
        let map = |field: &str| string_map(metadata.and_then(|m| m.get(field)));
        let image_pull_secrets = value
            .get("imagePullSecrets")
            .and_then(|list| list.as_array())
            .into_iter()
            .flatten()
            .filter_map(|secret| secret.get("name")?.as_str())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            namespace: text("namespace").filter(|n| !n.is_empty()).unwrap_or_else(|| "default".to_owned()),
            name: text("name").filter(|n| !n.is_empty()).ok_or(InventoryError::NoName)?,
            labels: map("labels"),
            annotations: map("annotations"),
            image_pull_secrets,
            resource_version: text("resourceVersion"),
        })
    }
}

fn string_map(value: Option<&serde_json::Value>) -> BTreeMap<String, String> {
    value
        .and_then(|map| map.as_object())
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

impl Inventory {
    /// Adds a policy, or replaces the one of the same key.
    pub fn put_policy(&mut self, policy: PolicyObject) {
        let policy = Arc::new(policy);
        let name = policy.key.name.clone();
        match policy.key.namespace.clone() {
            Some(namespace) => self.shelf(&namespace).policies.insert(name, policy),
            None => Arc::make_mut(&mut self.cluster_policies).insert(name, policy),
        };
    }

    /// A policy with the documents that it names, as they are here.
    #[must_use]
    pub fn with_documents(&self, policy: &Arc<PolicyObject>) -> PolicyWithDocuments {
        PolicyWithDocuments::look_up(policy, &self.config_maps)
    }

    /// Adds a ConfigMap, or replaces the one of the same name. Whether anything differs now: one that comes again in the same
    /// version changes nothing.
    pub fn put_config_map(&mut self, facts: ConfigMapFacts) -> bool {
        self.config_maps.put(facts)
    }

    /// Removes a ConfigMap. Whether it was there.
    pub fn remove_config_map(&mut self, name: &ConfigMapName) -> bool {
        self.config_maps.remove(name)
    }

    /// A ConfigMap with policy documents, where it was seen.
    #[must_use]
    pub fn config_map(&self, name: &ConfigMapName) -> Option<&Arc<ConfigMapFacts>> {
        self.config_maps.get(name)
    }

    /// Adds what a source says of a role, or replaces what it said before. Whether any verdict may come out otherwise now.
    pub fn put_role(&mut self, fact: RoleFact) -> bool {
        self.roles.put(fact)
    }

    /// Removes what a source says of a role. Whether it was there.
    pub fn remove_role(&mut self, arn: &RoleArn, source: &Source) -> bool {
        self.roles.remove(arn, source)
    }

    /// Removes all that a source says of roles, since the source is gone. Whether it was there.
    pub fn remove_roles_of(&mut self, source: &Source) -> bool {
        self.roles.remove_source(source)
    }

    /// What is known of a role of which a policy object declares nothing: what the first source says that has it.
    #[must_use]
    pub fn role(&self, arn: &RoleArn) -> Option<&Arc<RoleFact>> {
        self.roles.first(arn)
    }

    /// All that sources say of roles.
    pub(crate) const fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Removes a policy; nothing happens when it is not there.
    pub fn remove_policy(&mut self, key: &PolicyKey) {
        match &key.namespace {
            Some(namespace) => self.trim(namespace, |shelf| {
                shelf.policies.remove(&key.name);
            }),
            None => {
                if self.cluster_policies.contains_key(&key.name) {
                    Arc::make_mut(&mut self.cluster_policies).remove(&key.name);
                }
            }
        }
    }

    /// Adds a service account, or replaces the one of the same name.
    pub fn put_service_account(&mut self, facts: ServiceAccountFacts) {
        let namespace = facts.namespace.clone();
        self.shelf(&namespace).service_accounts.insert(facts.name.clone(), Arc::new(facts));
    }

    /// Removes a service account: from now on its labels and annotations are not known.
    pub fn remove_service_account(&mut self, namespace: &str, name: &str) {
        self.trim(namespace, |shelf| {
            shelf.service_accounts.remove(name);
        });
    }

    /// Adds a namespace with its labels, or replaces its labels.
    pub fn put_namespace(&mut self, name: String, labels: BTreeMap<String, String>) {
        self.shelf(&name).labels = Some(Arc::new(labels));
    }

    /// Removes a namespace's labels. Its policies and service accounts leave by their own deletes.
    pub fn remove_namespace(&mut self, name: &str) {
        self.trim(name, |shelf| shelf.labels = None);
    }

    /// Every policy: namespaced ones by namespace and name, then cluster policies by name.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<PolicyObject>> {
        self.namespaces.values().flat_map(|shelf| shelf.policies.values()).chain(self.cluster_policies.values())
    }

    /// The policy of this key.
    #[must_use]
    pub fn policy(&self, key: &PolicyKey) -> Option<&Arc<PolicyObject>> {
        match &key.namespace {
            Some(namespace) => self.namespaces.get(namespace)?.policies.get(&key.name),
            None => self.cluster_policies.get(&key.name),
        }
    }

    /// The policies that may select service accounts of `namespace`: its own, and every cluster policy (whose
    /// `namespaceSelector` is not applied yet).
    pub fn policies_for(&self, namespace: &str) -> impl Iterator<Item = &Arc<PolicyObject>> {
        self.namespaces
            .get(namespace)
            .into_iter()
            .flat_map(|shelf| shelf.policies.values())
            .chain(self.cluster_policies.values())
    }

    /// A service account, where it was seen.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> Option<&Arc<ServiceAccountFacts>> {
        self.namespaces.get(namespace)?.service_accounts.get(name)
    }

    /// Every service account, by namespace and name.
    pub fn service_accounts(&self) -> impl Iterator<Item = &Arc<ServiceAccountFacts>> {
        self.namespaces.values().flat_map(|shelf| shelf.service_accounts.values())
    }

    /// The labels of a namespace, where it was seen.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)?.labels.as_deref()
    }

    /// One label of a namespace. The name label is known of every namespace, seen or not.
    #[must_use]
    pub fn namespace_label<'a>(&'a self, namespace: &'a str, key: &str) -> Label<'a> {
        if key == NAMESPACE_NAME_LABEL {
            return Label::Is(namespace);
        }
        match self.namespace(namespace) {
            Some(labels) => Label::of(labels, key),
            None => Label::Unknown,
        }
    }

    fn shelf(&mut self, namespace: &str) -> &mut NamespaceShelf {
        Arc::make_mut(Arc::make_mut(&mut self.namespaces).entry(namespace.to_owned()).or_default())
    }

    /// Changes a shelf that exists, and drops it when nothing is left on it.
    fn trim(&mut self, namespace: &str, change: impl FnOnce(&mut NamespaceShelf)) {
        if !self.namespaces.contains_key(namespace) {
            return;
        }
        let shelf = self.shelf(namespace);
        change(shelf);
        if shelf.is_empty() {
            Arc::make_mut(&mut self.namespaces).remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyKind;
    use crate::policy::compiled::{CompiledPuller, Problem};
    use fixtures::{allow, document};
    use serde_json::{Value, json};

    fn account(namespace: &str, name: &str) -> ServiceAccountFacts {
        ServiceAccountFacts { namespace: namespace.into(), name: name.into(), ..ServiceAccountFacts::default() }
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut inventory = Inventory::default();
        inventory.put_service_account(account("a", "one"));
        let before = inventory.clone();
        inventory.put_service_account(account("a", "two"));
        inventory.remove_service_account("a", "one");
        assert!(before.service_account("a", "one").is_some());
        assert!(before.service_account("a", "two").is_none());
        assert!(inventory.service_account("a", "one").is_none());
        assert_eq!(inventory.service_accounts().count(), 1);
    }

    #[test]
    fn empty_namespaces_leave_no_trace() {
        let mut inventory = Inventory::default();
        inventory.put_namespace("a".into(), BTreeMap::new());
        inventory.put_service_account(account("a", "one"));
        inventory.remove_namespace("a");
        assert!(inventory.namespace("a").is_none());
        assert!(inventory.service_account("a", "one").is_some());
        inventory.remove_service_account("a", "one");
        inventory.remove_service_account("never", "seen");
        assert!(inventory.namespaces.is_empty());
    }

    #[test]
    fn the_name_label_is_known_of_unseen_namespaces() {
        let mut inventory = Inventory::default();
        assert_eq!(inventory.namespace_label("a", "kubernetes.io/metadata.name"), Label::Is("a"));
        assert_eq!(inventory.namespace_label("a", "team"), Label::Unknown);
        inventory.put_namespace("a".into(), BTreeMap::from([("team".to_owned(), "x".to_owned())]));
        assert_eq!(inventory.namespace_label("a", "team"), Label::Is("x"));
        assert_eq!(inventory.namespace_label("a", "other"), Label::Absent);
    }

    fn config_map(version: &str, resource: Option<&str>) -> ConfigMapFacts {
        let text = |resource: &str| document(json!([allow("ecr:*", resource)])).to_string();
        let data = resource.map_or(json!({}), |resource| json!({"app.json": text(resource)}));
        let mut object = fixtures::config_map("iam", data);
        (object["metadata"]["namespace"], object["metadata"]["resourceVersion"]) = ("a".into(), version.into());
        ConfigMapFacts::from_json(&object).unwrap().unwrap()
    }

    fn policy(namespace: &str, name: &str, reference: Value) -> PolicyObject {
        let identity = json!({"policies": [{"name": "app", "configMapKeyRef": reference}]});
        let policy = fixtures::policy(name).metadata("namespace", namespace).role(identity);
        PolicyObject::from_json(policy.object()).unwrap()
    }

    #[test]
    fn a_document_is_looked_up_where_it_stands_and_compiled_once() {
        let name = ConfigMapName { namespace: "a".into(), name: "iam".into() };
        let reference = || json!({"name": "iam", "key": "app.json"});
        let at = |inventory: &Inventory, namespace: &str, name: &str| {
            let namespace = Some(namespace.to_owned());
            let key = PolicyKey { kind: PolicyKind::EcrAccessPolicy, namespace, name: name.to_owned() };
            inventory.with_documents(inventory.policy(&key).unwrap())
        };
        let document = |policy: &PolicyWithDocuments| match &policy.spec().unwrap().puller {
            CompiledPuller::Role(role) => match &role.identity.as_ref().unwrap().policies()[0].policy.policy {
                iam_verdict::PolicyState::Known(policy) => Ok(Arc::clone(policy)),
                iam_verdict::PolicyState::Unreadable(fact) => Err(fact.clone()),
            },
            other => panic!("{other:?}"),
        };
        let said = |policy: &PolicyWithDocuments| {
            let Problem { path, message, .. } = policy.unresolved().into_iter().next()?;
            assert_eq!(path, "$.spec.puller.role.identity.policies[0].configMapKeyRef");
            Some(message)
        };
        // Whatever comes first: policies or their documents.
        let (mut inventory, mut other_order) = (Inventory::default(), Inventory::default());
        other_order.put_config_map(config_map("1", Some("*")));
        for inventory in [&mut inventory, &mut other_order] {
            for (namespace, name) in [("a", "one"), ("a", "two"), ("b", "other")] {
                inventory.put_policy(policy(namespace, name, reference()));
            }
        }
        let before = inventory.clone();
        let not_there = at(&before, "a", "one");
        assert!(said(&not_there).unwrap().starts_with("there is no ConfigMap a/iam with the label"));
        assert_eq!(document(&not_there).unwrap_err(), "configMap:a/iam/app.json");
        assert!(inventory.put_config_map(config_map("1", Some("*"))));
        for inventory in [&inventory, &other_order] {
            let (one, two) = (at(inventory, "a", "one"), at(inventory, "a", "two"));
            assert_eq!((said(&one), said(&two)), (None, None));
            assert!(Arc::ptr_eq(&document(&one).unwrap(), &document(&two).unwrap()), "one document for both");
            assert!(said(&at(inventory, "b", "other")).is_some(), "another namespace has another ConfigMap");
        }
        assert!(said(&at(&before, "a", "one")).is_some(), "a clone does not see later changes");

        let one = at(&inventory, "a", "one");
        assert!(!inventory.put_config_map(config_map("1", Some("*"))), "the same version again");
        assert!(one.is_same(&at(&inventory, "a", "one")) && !one.is_same(&not_there));
        assert!(inventory.put_config_map(config_map("2", Some("*"))));
        assert!(one.is_same(&at(&inventory, "a", "one")), "another version of the object, and the same text");
        assert!(inventory.put_config_map(config_map("3", Some("arn:aws:ecr:*:*:repository/x"))));
        assert!(!one.is_same(&at(&inventory, "a", "one")));
        assert!(inventory.put_config_map(config_map("4", None)));
        let message = said(&at(&inventory, "a", "one")).unwrap();
        assert!(message.starts_with("ConfigMap a/iam has no key `app.json`: it is empty"), "{message}");
        assert!(inventory.remove_config_map(&name));
        assert!(!inventory.remove_config_map(&name));
        assert!(inventory.config_map(&name).is_none());
        let message = said(&at(&inventory, "a", "one")).unwrap();
        assert!(message.starts_with("there is no ConfigMap a/iam"), "no memory of a better past");
        assert!(not_there.is_same(&at(&before, "a", "one")));
    }

    #[test]
    fn reads_a_service_account() {
        let facts = ServiceAccountFacts::from_json(&json!({
            "metadata": {"name": "api", "namespace": "payments", "resourceVersion": "7",
                "labels": {"team": "payments"}, "annotations": {"eks.amazonaws.com/ecr-role-arn": ""}},
            "imagePullSecrets": [{"name": "regcred"}, {}],
        }))
        .unwrap();
        assert_eq!(facts.image_pull_secrets, ["regcred"]);
        assert_eq!(facts.annotations["eks.amazonaws.com/ecr-role-arn"], "");
        assert_eq!(facts.labels["team"], "payments");
        assert_eq!(facts.resource_version.as_deref(), Some("7"));
        assert!(ServiceAccountFacts::from_json(&json!({"metadata": {}})).is_err());
    }
}
