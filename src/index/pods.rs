//! The pods of the cluster, stripped to what a verdict depends on. Only the controller, and there only the leader,
//! watches them: the webhook gets each pod it judges from the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::Stream;
use kube::Client;
use kube::runtime::watcher::Event;

use super::IndexOptions;
use super::object::{Raw, core_resource};
use super::relist::Relist;
use super::source::{Signal, WatchOptions, watch};
use crate::forecast::Subject;

/// Terminated pods pull nothing any more: the API server leaves them out, and sends a delete when a pod terminates.
const NOT_TERMINATED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Objects per page. Pods are big and are decoded whole before they are stripped; this bounds the memory for it.
const PAGE_SIZE: u32 = 200;

/// Watches all pods that are not terminated.
pub fn watch_pods(client: Client, options: &IndexOptions) -> impl Stream<Item = Signal> + Send + use<> {
    let options = WatchOptions {
        page_size: options.page_size.min(PAGE_SIZE),
        timeout: options.watch_timeout,
        fields: Some(NOT_TERMINATED.to_owned()),
        labels: None,
    };
    watch(client, core_resource("Pod", "pods"), options)
}

/// The pods seen so far.
#[derive(Default)]
pub struct Pods {
    subjects: Arc<BTreeMap<PodName, Arc<Subject>>>,
    relist: Relist<PodName, Arc<Subject>>,
    listed: bool,
}

/// Namespace and name of a pod.
pub type PodName = (String, String);

impl Pods {
    /// Takes one event. `true` when what a verdict depends on changed, which most events of a pod's life do not.
    pub fn apply(&mut self, event: Event<Raw>) -> bool {
        let Some(event) = subject_event(event) else { return false };
        let change = self.relist.apply(event);
        let mut changed = change.listed && !self.listed;
        self.listed |= change.listed;
        if change.is_empty() {
            return changed;
        }
        let removed = change.removed.iter().any(|name| self.subjects.contains_key(name));
        let put: Vec<_> =
            change.put.into_iter().filter(|(name, subject)| self.subjects.get(name) != Some(subject)).collect();
        if removed || !put.is_empty() {
            changed = true;
            // Copied only while a computation still holds the map, and then it is a map of pointers.
            let subjects = Arc::make_mut(&mut self.subjects);
            for name in &change.removed {
                subjects.remove(name);
            }
            subjects.extend(put);
        }
        changed
    }

    /// The pods by namespace and name; `None` until they were listed once: some pods are not the pods.
    pub fn subjects(&self) -> Option<Arc<BTreeMap<PodName, Arc<Subject>>>> {
        self.listed.then(|| Arc::clone(&self.subjects))
    }
}

fn subject_event(event: Event<Raw>) -> Option<Event<(PodName, Option<Arc<Subject>>)>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(raw) => Event::InitApply((pod_name(&raw)?, subject(&raw))),
        Event::Apply(raw) => Event::Apply((pod_name(&raw)?, subject(&raw))),
        Event::Delete(raw) => Event::Delete((pod_name(&raw)?, None)),
    })
}

fn pod_name(raw: &Raw) -> Option<PodName> {
    Some((raw.namespace()?.to_owned(), raw.name()?.to_owned()))
}

/// `None` for a pod that is not counted: terminated, or nothing that can be read as a pod.
fn subject(raw: &Raw) -> Option<Arc<Subject>> {
    let value = raw.value();
    let phase = value.get("status").and_then(|status| status.get("phase")).and_then(|phase| phase.as_str());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    Subject::from_pod(value).ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, image: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "payments", "resourceVersion": "1"},
            "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": image}]},
            "status": {"phase": "Running"}
        })
    }

    fn names(pods: &Pods) -> Vec<String> {
        pods.subjects().unwrap().keys().map(|(_, name)| name.clone()).collect()
    }

    #[test]
    fn pods_are_known_only_when_the_list_is_complete() {
        let mut pods = Pods::default();
        assert!(!pods.apply(Event::Init));
        assert!(!pods.apply(Event::InitApply(Raw::new(pod("a", "x")))));
        assert!(pods.subjects().is_none());
        assert!(pods.apply(Event::InitDone));
        assert_eq!(names(&pods), ["a"]);
        // Listing the same again changes nothing.
        pods.apply(Event::Init);
        pods.apply(Event::InitApply(Raw::new(pod("a", "x"))));
        assert!(!pods.apply(Event::InitDone));
    }

    #[test]
    fn an_empty_cluster_is_known_too() {
        let mut pods = Pods::default();
        pods.apply(Event::Init);
        assert!(pods.apply(Event::InitDone), "counts of zero are news as well");
        assert!(names(&pods).is_empty());
    }

    #[test]
    fn only_what_a_verdict_depends_on_counts_as_a_change() {
        let mut pods = Pods::default();
        pods.apply(Event::Init);
        pods.apply(Event::InitDone);
        assert!(pods.apply(Event::Apply(Raw::new(pod("a", "x")))));
        let mut ready = pod("a", "x");
        ready["metadata"]["resourceVersion"] = "2".into();
        ready["status"]["conditions"] = json!([{"type": "Ready"}]);
        assert!(!pods.apply(Event::Apply(Raw::new(ready))));
        assert!(pods.apply(Event::Apply(Raw::new(pod("a", "y")))));
        assert!(pods.apply(Event::Delete(Raw::new(pod("a", "y")))));
        assert!(names(&pods).is_empty());
    }

    #[test]
    fn terminated_pods_and_nonsense_are_not_counted() {
        let mut pods = Pods::default();
        pods.apply(Event::Init);
        for phase in ["Succeeded", "Failed"] {
            let mut done = pod(phase, "x");
            done["status"]["phase"] = phase.into();
            pods.apply(Event::InitApply(Raw::new(done)));
        }
        pods.apply(Event::InitApply(Raw::new(
            json!({"metadata": {"name": "no-spec", "namespace": "payments"}, "spec": 7}),
        )));
        pods.apply(Event::InitApply(Raw::new(pod("running", "x"))));
        pods.apply(Event::InitDone);
        assert_eq!(names(&pods), ["running"]);
        let mut done = pod("running", "x");
        done["status"]["phase"] = "Failed".into();
        assert!(pods.apply(Event::Apply(Raw::new(done))));
        assert!(names(&pods).is_empty());
    }
}
