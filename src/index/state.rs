//! What the watches have told so far, as one memory. No I/O: events in, memory out.

use std::collections::BTreeMap;

use super::kinds::WatchedKind;
use super::memory::{Memory, ObjectName, Put, Touched, name};
use crate::runtime::watch::event::Event;
use crate::runtime::watch::object::Item;
use crate::runtime::watch::relist::Relist;

/// Counts changes; whoever compares two of these knows what changed in between, however many changes it missed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Policies that came, went, or have another spec.
    pub policies: u64,
    /// Policies of which something else changed, which is the status above all.
    pub statuses: u64,
    /// Events, and lists, that changed something else that verdicts rest on.
    pub surroundings: u64,
}

/// Memory under construction.
#[derive(Default)]
pub struct State {
    memory: Memory,
    changes: Changes,
    /// By kind.
    relists: BTreeMap<&'static str, Relist<ObjectName, Put>>,
}

impl State {
    /// An empty state that goes on counting where another one stopped. What that one had may be gone, which no event tells.
    pub fn continuing(Changes { policies, statuses, surroundings }: Changes) -> State {
        let changes = Changes { policies: policies + 1, statuses: statuses + 1, surroundings: surroundings + 1 };
        State { changes, ..State::default() }
    }

    /// All that is known as of now.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How much changed since the beginning.
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// Takes one event of a kind. `true` when it completed the list.
    ///
    /// Objects are stripped at once, so that a list in the making holds no more than what is kept of it.
    pub fn apply(&mut self, row: &WatchedKind, event: Event<Item>) -> bool {
        // An object without a name cannot be addressed and is skipped.
        let Some(event) = event.filter_map(|item| Some((name(item.raw())?, (row.keep)(item)))) else { return false };
        let change = self.relists.entry(row.kind.plural).or_default().apply(event);
        let mut surroundings = false;
        let mut count = |touched| match touched {
            Touched::Nothing => {}
            Touched::Policy => self.changes.policies += 1,
            Touched::Status => self.changes.statuses += 1,
            Touched::Surroundings => surroundings = true,
        };
        for name in change.removed {
            count((row.remove)(&mut self.memory, name));
        }
        for (_, put) in change.put {
            count(put(&mut self.memory));
        }
        self.changes.surroundings += u64::from(surroundings);
        change.listed
    }
}

#[cfg(test)]
mod tests {
    use ecr_forecast::inventory::Inventory;
    use ecr_forecast::policy::compiled::PolicyKey;
    use ecr_forecast::policy::{self, PolicyKind};
    use serde_json::json;

    use super::*;
    use crate::index::kinds::KINDS;
    use crate::runtime::watch::object::Raw;

    const POLICIES: &str = "ecraccesspolicies";
    const CLUSTER_POLICIES: &str = "clusterecraccesspolicies";

    impl State {
        fn inventory(&self) -> &Inventory {
            &self.memory.inventory
        }

        fn take(&mut self, plural: &str, event: Event<Item>) -> bool {
            let row = KINDS.iter().find(|row| row.kind.plural == plural).unwrap();
            self.apply(row, event)
        }
    }

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

    fn list(state: &mut State, plural: &str, objects: Vec<Raw>) {
        assert!(!state.take(plural, Event::Init));
        for object in objects {
            assert!(!state.take(plural, Event::InitApply(object.into())));
        }
        assert!(state.take(plural, Event::InitDone));
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
        state.take(POLICIES, Event::Delete(policy("b", 1, "9").into()));
        assert_eq!(policies(&state), ["ClusterEcrAccessPolicy/a"]);
        assert_eq!(state.memory().observed.len(), 1);
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
        state.take(POLICIES, Event::Apply(Raw::new(with_status).into()));
        assert_eq!(state.changes(), Changes { statuses: before.statuses + 1, ..before });
        let (namespace, name) = (Some("payments".to_owned()), "a".to_owned());
        let key = PolicyKey { kind: PolicyKind::EcrAccessPolicy, namespace, name };
        assert_eq!(state.memory().observed[&key].status.as_ref().unwrap().service_accounts, 3);
        let stored = state.inventory().policies().next().unwrap();
        assert_eq!(stored.resource_version.as_deref(), Some("2"), "a fresh read compares resource versions");

        state.take(POLICIES, Event::Apply(policy("a", 2, "3").into()));
        assert_eq!(state.changes().policies, before.policies + 1);
        // Deleted and created again between two lists: the same generation, another object.
        let mut other = policy("a", 2, "4").into_value("", "");
        other["metadata"]["uid"] = "another".into();
        state.take(POLICIES, Event::Apply(Raw::new(other).into()));
        assert_eq!(state.changes().policies, before.policies + 2);
    }

    #[test]
    fn service_accounts_are_stripped_to_what_a_verdict_depends_on() {
        let mut state = State::default();
        list(&mut state, "serviceaccounts", vec![account("api"), account("worker")]);
        let facts = state.inventory().service_account("payments", "api").unwrap();
        assert_eq!(facts.labels["team"], "a");
        assert_eq!(facts.annotations["eks.amazonaws.com/ecr-role-arn"], "arn");
        assert_eq!(facts.image_pull_secrets, ["registry"]);
        assert_eq!(facts.resource_version.as_deref(), Some("5"));
        assert_eq!(state.changes(), Changes { surroundings: 1, ..Changes::default() });
        state.take("serviceaccounts", Event::Delete(account("api").into()));
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
        list(&mut state, "configmaps", vec![config_map("other", "1", "true"), config_map("iam", "2", "no")]);
        let before = state.changes();
        assert_eq!((before.surroundings, unresolved(&state)), (1, 1));
        state.take("configmaps", Event::Apply(config_map("iam", "3", "true").into()));
        assert_eq!((state.changes().surroundings, unresolved(&state)), (2, 0));
        assert_eq!(state.changes().policies, before.policies);
        // The watch starts over and finds all as it was.
        let policy = looked_up(&state);
        list(&mut state, "configmaps", vec![config_map("other", "1", "true"), config_map("iam", "3", "true")]);
        assert_eq!(state.changes().surroundings, 2);
        assert!(policy.is_same(&looked_up(&state)));
        // Losing the label, which the watch tells as a delete, and being deleted are the same.
        state.take("configmaps", Event::Delete(config_map("iam", "4", "no").into()));
        assert_eq!((state.changes().surroundings, unresolved(&state)), (3, 1));
    }

    #[test]
    fn namespaces_are_stripped_to_their_labels_and_disappear_with_a_new_list() {
        let namespace = |name: &str| Raw::new(json!({"metadata": {"name": name, "labels": {"team": "a"}}}));
        let mut state = State::default();
        list(&mut state, "namespaces", vec![namespace("payments"), namespace("search")]);
        assert!(state.inventory().namespace("payments").is_some());
        list(&mut state, "namespaces", vec![namespace("search")]);
        assert!(state.inventory().namespace("payments").is_none());
        assert!(state.inventory().namespace("search").is_some());
        assert_eq!(state.changes().surroundings, 2);
    }
}
