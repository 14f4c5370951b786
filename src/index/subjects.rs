//! Pods and workloads as they are kept in memory: what a verdict depends on, and who controls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecr_forecast::cluster::Subject;
use serde_json::Value;

use crate::runtime::watch::event::Event;
use crate::runtime::watch::object::{Item, Raw};
use crate::runtime::watch::relist::Relist;

/// A pod or workload of the cluster, stripped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrackedObject {
    /// What a verdict depends on. An owned workload has no images here: its owner is judged.
    pub subject: Subject,
    /// `apiVersion` of the object.
    pub api_version: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The object that controls this one.
    pub owner: Option<Owner>,
}

/// An object that controls another one, as an owner reference has it. It is of the same namespace.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Owner {
    /// Its kind, of any API group.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `metadata.uid`.
    pub uid: String,
}

impl Owner {
    /// The controlling owner of an object; an object has at most one.
    pub fn of(object: &Value) -> Option<Owner> {
        let owner = controller(object)?;
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let owner = Owner { kind: text("kind"), name: text("name"), api_version: text("apiVersion"), uid: text("uid") };
        (!owner.kind.is_empty() && !owner.name.is_empty()).then_some(owner)
    }
}

/// The owner reference of what controls an object ("Owners and Dependents").
pub fn controller(object: &Value) -> Option<&Value> {
    let references = object.get("metadata")?.get("ownerReferences")?.as_array()?;
    references.iter().find(|reference| reference.get("controller") == Some(&Value::Bool(true)))
}

impl TrackedObject {
    /// The object by itself, as others refer to it.
    pub fn reference(&self) -> Owner {
        Owner {
            kind: self.subject.kind.clone(),
            name: self.subject.name.clone(),
            api_version: self.api_version.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// Namespace and name.
pub type ObjectName = (String, String);

/// The objects of one kind by namespace and name.
pub type ObjectMap = BTreeMap<ObjectName, Arc<TrackedObject>>;

/// The objects of one kind that were seen so far.
#[derive(Default)]
pub struct Subjects {
    tracked: Arc<ObjectMap>,
    relist: Relist<ObjectName, Arc<TrackedObject>>,
    listed: bool,
}

impl Subjects {
    /// Takes one event; `strip` makes of an object what is kept, or nothing. `true` when what is kept changed, which
    /// it does not by most events of a pod's life. What cannot be read is not judged.
    pub fn apply(&mut self, event: Event<Item>, strip: impl Fn(Raw) -> Option<TrackedObject>) -> bool {
        let Some(event) = stripped(event, strip) else { return false };
        let change = self.relist.apply(event);
        let mut changed = change.listed && !self.listed;
        self.listed |= change.listed;
        if change.is_empty() {
            return changed;
        }
        let removed = change.removed.iter().any(|name| self.tracked.contains_key(name));
        let put: Vec<_> =
            change.put.into_iter().filter(|(name, tracked)| self.tracked.get(name) != Some(tracked)).collect();
        if removed || !put.is_empty() {
            changed = true;
            // Copied only while a computation still holds the map, and then it is a map of pointers.
            let tracked = Arc::make_mut(&mut self.tracked);
            for name in &change.removed {
                tracked.remove(name);
            }
            tracked.extend(put);
        }
        changed
    }

    /// What is known is no longer to be counted on, up to the next list. `true` when something was.
    pub fn give_up(&mut self) -> bool {
        // A list that is being received goes on.
        self.tracked = Arc::default();
        std::mem::take(&mut self.listed)
    }

    /// The objects; `None` until they were listed once: some pods are not the pods.
    pub fn objects(&self) -> Option<Arc<ObjectMap>> {
        self.listed.then(|| Arc::clone(&self.tracked))
    }
}

fn stripped(
    event: Event<Item>,
    strip: impl Fn(Raw) -> Option<TrackedObject>,
) -> Option<Event<(ObjectName, Option<Arc<TrackedObject>>)>> {
    let is_gone = matches!(event, Event::Delete(_));
    event.filter_map(|item| {
        let name = name(item.raw())?;
        let tracked = match item {
            Item::Object(raw) if !is_gone => strip(raw).map(Arc::new),
            Item::Object(_) | Item::Unreadable(_) => None,
        };
        Some((name, tracked))
    })
}

fn name(raw: &Raw) -> Option<ObjectName> {
    Some((raw.namespace()?.to_owned(), raw.name()?.to_owned()))
}

/// What is judged at a look: the pods, and the workloads by kind.
#[derive(Clone, Debug, Default)]
pub struct ClusterWorkloads {
    /// `None` while the pods are not known.
    pub pods: Option<Arc<ObjectMap>>,
    /// By kind, in a fixed order; `None` while the workloads are not known. A kind that cannot be listed is not there.
    pub workloads: Option<Vec<(&'static str, Arc<ObjectMap>)>>,
}

/// Owners of owners are followed this far. In practice there are two: pod, ReplicaSet, Deployment.
const MAX_OWNERS: usize = 4;

impl ClusterWorkloads {
    /// The topmost object that controls `tracked`, as far as that is known; `None` where nothing does.
    pub fn root(&self, tracked: &TrackedObject) -> Option<Owner> {
        let namespace = &tracked.subject.namespace;
        let mut root = tracked.owner.clone()?;
        for _ in 0..MAX_OWNERS {
            let kinds = self.workloads.iter().flatten();
            let map = kinds.filter(|(kind, _)| *kind == root.kind).map(|(_, map)| map).next();
            // A name that was given again to something else is no owner.
            let above = map
                .and_then(|map| map.get(&(namespace.clone(), root.name.clone())))
                .filter(|above| above.uid == root.uid)
                .and_then(|above| above.owner.clone());
            match above {
                Some(above) => root = above,
                None => break,
            }
        }
        Some(root)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tracked(kind: &str, name: &str, owner: Option<(&str, &str)>) -> TrackedObject {
        TrackedObject {
            subject: Subject {
                kind: kind.to_owned(),
                namespace: "payments".to_owned(),
                name: name.to_owned(),
                ..Subject::default()
            },
            uid: format!("uid-{name}"),
            owner: owner.map(|(kind, name)| Owner {
                kind: kind.to_owned(),
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                ..Owner::default()
            }),
            ..TrackedObject::default()
        }
    }

    fn map(objects: Vec<TrackedObject>) -> Arc<ObjectMap> {
        Arc::new(
            objects
                .into_iter()
                .map(|tracked| (("payments".to_owned(), tracked.subject.name.clone()), tracked.into()))
                .collect(),
        )
    }

    #[test]
    fn only_the_owner_that_controls_counts() {
        let owner = |controller: Value| {
            Owner::of(&json!({"metadata": {"ownerReferences": [
                {"kind": "Thing", "name": "x", "apiVersion": "v1", "uid": "1"},
                {"kind": "ReplicaSet", "name": "api-1", "apiVersion": "apps/v1", "uid": "2", "controller": controller}]}}))
        };
        assert_eq!(owner(json!(true)).unwrap().name, "api-1");
        assert_eq!((owner(json!(false)), owner(json!("true"))), (None, None));
        assert_eq!(Owner::of(&json!({"metadata": 7})), None);
    }

    #[test]
    fn owners_are_followed_to_the_top_even_of_kinds_that_are_not_watched() {
        let pod = tracked("Pod", "api-1-x", Some(("ReplicaSet", "api-1")));
        let sets = map(vec![
            tracked("ReplicaSet", "api-1", Some(("Deployment", "api"))),
            tracked("ReplicaSet", "canary-1", Some(("Rollout", "canary"))),
            tracked("ReplicaSet", "alone", None),
        ]);
        let workloads = Some(vec![("Deployment", map(vec![tracked("Deployment", "api", None)])), ("ReplicaSet", sets)]);
        let cluster_workloads = ClusterWorkloads { pods: None, workloads };
        let root = |tracked: &TrackedObject| {
            cluster_workloads.root(tracked).map(|root| format!("{}/{}", root.kind, root.name))
        };
        assert_eq!(root(&pod).as_deref(), Some("Deployment/api"));
        let of = |name: &str| tracked("Pod", "p", Some(("ReplicaSet", name)));
        assert_eq!(root(&of("canary-1")).as_deref(), Some("Rollout/canary"));
        assert_eq!(root(&of("alone")).as_deref(), Some("ReplicaSet/alone"));
        assert_eq!(root(&of("gone")).as_deref(), Some("ReplicaSet/gone"));
        assert_eq!(root(&tracked("Pod", "bare", None)), None);
        let mut again = of("api-1");
        again.owner.as_mut().unwrap().uid = "another".to_owned();
        assert_eq!(root(&again).as_deref(), Some("ReplicaSet/api-1"), "another object of the same name");
        assert_eq!(ClusterWorkloads::default().root(&pod).unwrap().name, "api-1", "before the workloads are known");
    }

    #[test]
    fn owners_that_own_each_other_have_an_end() {
        let one = tracked("ReplicaSet", "one", Some(("ReplicaSet", "two")));
        let two = tracked("ReplicaSet", "two", Some(("ReplicaSet", "one")));
        let cluster_workloads =
            ClusterWorkloads { pods: None, workloads: Some(vec![("ReplicaSet", map(vec![one.clone(), two]))]) };
        assert_eq!(cluster_workloads.root(&one).unwrap().kind, "ReplicaSet");
    }
}
