//! The pods of the cluster, stripped to what a verdict depends on. Only the controller, and there only the leader,
//! watches them: the webhook gets each pod it judges from the API server.

use std::sync::Arc;

use ecr_forecast::cluster::Subject;
use futures::Stream;
use kube::Client;

use super::IndexOptions;
use super::kinds::PODS;
use super::subjects::{ObjectMap, Owner, Subjects, TrackedObject};
use crate::runtime::watch::event::Event;
use crate::runtime::watch::object::{Item, Raw};
use crate::runtime::watch::source::{Signal, watch};

/// Watches all pods that are not terminated.
pub fn watch_pods(client: Client, options: &IndexOptions) -> impl Stream<Item = Signal> + Send + use<> {
    watch(client, options.row(PODS), options.watch_timeout)
}

/// The pods seen so far.
#[derive(Default)]
pub struct Pods(Subjects);

impl Pods {
    /// Takes one event. `true` when what a verdict depends on changed, which most events of a pod's life do not.
    pub fn apply(&mut self, event: Event<Item>) -> bool {
        self.0.apply(event, |raw| tracked(&raw))
    }

    /// The pods by namespace and name; `None` until they were listed once: some pods are not the pods.
    pub fn objects(&self) -> Option<Arc<ObjectMap>> {
        self.0.objects()
    }
}

/// `None` for a pod that is not counted: terminated, or nothing that can be read as a pod.
fn tracked(raw: &Raw) -> Option<TrackedObject> {
    let value = raw.value();
    let phase = value.get("status").and_then(|status| status.get("phase")).and_then(|phase| phase.as_str());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    Some(TrackedObject {
        subject: Subject::from_pod(value).ok()?,
        api_version: "v1".to_owned(),
        uid: raw.uid().unwrap_or_default().to_owned(),
        owner: Owner::of(value),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(value: Value) -> Item {
        Raw::new(value).into()
    }

    fn pod(name: &str, image: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "payments", "resourceVersion": "1"},
            "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": image}]},
            "status": {"phase": "Running"}
        })
    }

    fn names(pods: &Pods) -> Vec<String> {
        pods.objects().unwrap().keys().map(|(_, name)| name.clone()).collect()
    }

    #[test]
    fn pods_are_known_only_when_the_list_is_complete() {
        let mut pods = Pods::default();
        assert!(!pods.apply(Event::Init));
        assert!(!pods.apply(Event::InitApply(item(pod("a", "x")))));
        assert!(pods.objects().is_none());
        assert!(pods.apply(Event::InitDone));
        assert_eq!(names(&pods), ["a"]);
        // Listing the same again changes nothing.
        pods.apply(Event::Init);
        pods.apply(Event::InitApply(item(pod("a", "x"))));
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
        assert!(pods.apply(Event::Apply(item(pod("a", "x")))));
        let mut ready = pod("a", "x");
        ready["metadata"]["labels"] = json!({"a": "b"});
        ready["metadata"]["resourceVersion"] = "2".into();
        ready["status"]["conditions"] = json!([{"type": "Ready"}]);
        assert!(!pods.apply(Event::Apply(item(ready))));
        assert!(pods.apply(Event::Apply(item(pod("a", "y")))));
        assert!(pods.apply(Event::Delete(item(pod("a", "y")))));
        assert!(names(&pods).is_empty());
    }

    #[test]
    fn terminated_pods_and_nonsense_are_not_counted() {
        let mut pods = Pods::default();
        pods.apply(Event::Init);
        for phase in ["Succeeded", "Failed"] {
            let mut done = pod(phase, "x");
            done["status"]["phase"] = phase.into();
            pods.apply(Event::InitApply(item(done)));
        }
        pods.apply(Event::InitApply(item(
            json!({"metadata": {"name": "no-spec", "namespace": "payments"}, "spec": 7}),
        )));
        pods.apply(Event::InitApply(item(pod("running", "x"))));
        pods.apply(Event::InitDone);
        assert_eq!(names(&pods), ["running"]);
        let mut done = pod("running", "x");
        done["status"]["phase"] = "Failed".into();
        assert!(pods.apply(Event::Apply(item(done))));
        assert!(names(&pods).is_empty());
    }
}
