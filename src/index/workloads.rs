//! The workloads of the cluster, stripped like the [`pods`](super::pods), and like them watched by the leader alone.
//!
//! Each kind is watched by itself: a kind that this program may not list, or that the cluster does not have, is left out
//! and stops no other. Of a workload that another object controls nothing is kept but that link, which leads from a pod
//! to what people know it by: the ReplicaSets of a Deployment would say the same once more.

use std::sync::Arc;

use ecr_forecast::cluster::{Subject, WorkloadKind};
use futures::{Stream, StreamExt, stream};
use kube::Client;
use serde_json::Value;

use super::subjects::{ObjectMap, Owner, Subjects, TrackedObject};
use super::{IndexOptions, kinds};
use crate::runtime::watch::event::Event;
use crate::runtime::watch::object::{Item, Raw};
use crate::runtime::watch::source::{Signal, watch};

/// Watches all workloads, each signal with its kind.
pub fn watch_workloads(
    client: &Client,
    options: &IndexOptions,
) -> impl Stream<Item = (WorkloadKind, Signal)> + Send + use<> {
    let watches = WorkloadKind::ALL.map(|kind| {
        let row = options.row(kinds::workloads(kind));
        watch(client.clone(), row, options.watch_timeout).map(move |signal| (kind, signal)).boxed()
    });
    stream::select_all(watches)
}

/// The workloads seen so far.
#[derive(Default)]
pub struct Workloads {
    kinds: [Subjects; WorkloadKind::ALL.len()],
    /// Kinds that the API server does not give out.
    refused: [bool; WorkloadKind::ALL.len()],
}

impl Workloads {
    /// Takes one event. `true` when what a verdict depends on changed.
    pub fn apply(&mut self, kind: WorkloadKind, event: Event<Item>) -> bool {
        let listed = matches!(event, Event::InitDone);
        if let (true, Some(refused)) = (listed, self.refused.get_mut(kind as usize)) {
            *refused = false;
        }
        self.kinds.get_mut(kind as usize).is_some_and(|subjects| subjects.apply(event, |raw| tracked(kind, raw)))
    }

    /// The API server has not given out this kind for so long that what is known of it says nothing any more. `true` when
    /// that is news.
    pub fn give_up(&mut self, kind: WorkloadKind) -> bool {
        self.refuse(kind) | self.kinds.get_mut(kind as usize).is_some_and(Subjects::give_up)
    }

    /// The API server does not give out this kind. `true` when that is news, so that it is no longer waited for.
    pub fn refuse(&mut self, kind: WorkloadKind) -> bool {
        self.refused.get_mut(kind as usize).is_some_and(|refused| !std::mem::replace(refused, true))
    }

    /// The workloads by kind; `None` until each kind was listed once or refused.
    pub fn objects(&self) -> Option<Vec<(&'static str, Arc<ObjectMap>)>> {
        let mut all = Vec::with_capacity(WorkloadKind::ALL.len());
        for ((kind, subjects), refused) in WorkloadKind::ALL.iter().zip(&self.kinds).zip(&self.refused) {
            match subjects.objects() {
                Some(tracked) => all.push((kind.as_str(), tracked)),
                None if *refused => {}
                None => return None,
            }
        }
        Some(all)
    }
}

/// `None` for what makes no pods (any more): a Job that has ended, an owned ReplicaSet that is scaled to none.
fn tracked(kind: WorkloadKind, raw: Raw) -> Option<TrackedObject> {
    let api_version = kinds::workloads(kind).api_version();
    let uid = raw.uid().unwrap_or_default().to_owned();
    // The items of a list have no kind.
    let value = raw.into_value(&api_version, kind.as_str());
    if kind == WorkloadKind::Job && has_ended(&value) {
        return None;
    }
    let owner = Owner::of(&value);
    let mut subject = match &owner {
        // Every old version of a Deployment is such a ReplicaSet.
        Some(_) if value.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) => return None,
        // Read without its template.
        Some(_) => {
            Subject::from_workload(&serde_json::json!({"kind": kind.as_str(), "metadata": value.get("metadata")}))
        }
        None => Subject::from_workload(&value),
    }
    .ok()??;
    subject.kind = kind.as_str().to_owned();
    Some(TrackedObject { subject, api_version, uid, owner })
}

/// A Job has ended when one of these conditions says so ("Jobs", Terminal Job conditions).
fn has_ended(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let is = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
        matches!(is("type"), "Complete" | "Failed") && is("status") == "True"
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(name: &str, more: Value) -> Raw {
        let mut object = json!({
            "metadata": {"name": name, "namespace": "payments", "uid": format!("uid-{name}")},
            "spec": {"template": {"spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": "x"}]}}}
        });
        for (pointer, value) in more.as_object().unwrap() {
            object[pointer] = value.clone();
        }
        Raw::new(object)
    }

    fn owned(name: &str, replicas: u64) -> Raw {
        let mut value = workload(name, json!({})).into_value("apps/v1", "ReplicaSet");
        value["spec"]["replicas"] = replicas.into();
        value["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "uid-api", "controller": true}]);
        Raw::new(value)
    }

    fn list(workloads: &mut Workloads, kind: WorkloadKind, objects: Vec<Raw>) -> bool {
        workloads.apply(kind, Event::Init);
        for object in objects {
            workloads.apply(kind, Event::InitApply(object.into()));
        }
        workloads.apply(kind, Event::InitDone)
    }

    fn of(workloads: &Workloads, kind: &str) -> Vec<Arc<TrackedObject>> {
        let all = workloads.objects().unwrap();
        all.iter().find(|(of, _)| *of == kind).map(|(_, map)| map.values().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn workloads_are_known_when_every_kind_was_listed_or_refused() {
        let mut workloads = Workloads::default();
        for kind in WorkloadKind::ALL.into_iter().filter(|kind| *kind != WorkloadKind::CronJob) {
            assert!(workloads.objects().is_none());
            assert!(list(&mut workloads, kind, vec![workload("api", json!({}))]));
        }
        assert!(workloads.objects().is_none());
        assert!(workloads.refuse(WorkloadKind::CronJob));
        assert!(!workloads.refuse(WorkloadKind::CronJob), "no news");
        assert_eq!(workloads.objects().unwrap().len(), 6);
        let deployment = of(&workloads, "Deployment").remove(0);
        assert_eq!((deployment.api_version.as_str(), deployment.uid.as_str()), ("apps/v1", "uid-api"));
        assert_eq!(deployment.subject.images[0].field, "spec.template.spec.containers[0].image");
        assert!(deployment.subject.template && deployment.subject.kind == "Deployment");
        // The right is given later.
        assert!(list(&mut workloads, WorkloadKind::CronJob, vec![]));
        assert_eq!(workloads.objects().unwrap().len(), 7);
    }

    #[test]
    fn owned_ones_are_links_and_what_has_ended_is_gone() {
        let mut workloads = Workloads::default();
        for kind in WorkloadKind::ALL {
            list(&mut workloads, kind, vec![]);
        }
        let apply = |workloads: &mut Workloads, kind, raw| workloads.apply(kind, Event::Apply(Item::from(raw)));
        assert!(apply(&mut workloads, WorkloadKind::ReplicaSet, owned("api-2", 3)));
        assert!(!apply(&mut workloads, WorkloadKind::ReplicaSet, owned("api-1", 0)), "an old version");
        let set = of(&workloads, "ReplicaSet").remove(0);
        assert_eq!((set.owner.as_ref().unwrap().name.as_str(), set.subject.images.len()), ("api", 0));
        assert!(!apply(&mut workloads, WorkloadKind::ReplicaSet, owned("api-2", 4)), "the same to a reader");
        assert!(apply(&mut workloads, WorkloadKind::ReplicaSet, owned("api-2", 0)));
        assert!(of(&workloads, "ReplicaSet").is_empty());

        let ended = |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
        assert!(apply(&mut workloads, WorkloadKind::Job, workload("job", ended("Suspended"))));
        assert!(apply(&mut workloads, WorkloadKind::Job, workload("job", ended("Complete"))));
        assert!(of(&workloads, "Job").is_empty());
        assert!(!apply(&mut workloads, WorkloadKind::Job, workload("job", ended("Failed"))));
    }
}
