//! Objects that no parser takes, of every kind that is watched, wherever they come from: a list, its second page, a burst
//! in a watch, a new list. All others are known as they are.

use std::sync::Arc;
use std::time::Duration;

use ecr_forecast::cluster::WorkloadKind;
use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::inventory::Inventory;
use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::compiled::PolicyKey;
use fixtures::stored_policy;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::kinds::KINDS;
use super::pods::{Pods, watch_pods};
use super::workloads::{Workloads, watch_workloads};
use super::{Index, IndexOptions};
use crate::runtime::fake::{FakeApi, VERSION};
use crate::runtime::watch::source::Signal;

const TIMEOUTS: Duration = Duration::from_secs(30);

/// What a tenant writes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trick {
    /// `managedFields` of 200 levels, as the API server stores them.
    Deep,
    /// Bytes in `managedFields` that are no UTF-8.
    NotUtf8,
    /// The same depth where it is looked at. Only `document` of a policy can have it in a real API server.
    DeepSpec,
}

const TRICKS: [Trick; 3] = [Trick::Deep, Trick::NotUtf8, Trick::DeepSpec];

fn nested(levels: usize) -> String {
    format!("{}{{}}{}", r#"{"f:x":"#.repeat(levels), "}".repeat(levels))
}

/// The bytes of `object` with the trick in it.
fn tricked(object: &Value, trick: Option<Trick>) -> Vec<u8> {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = VERSION.into();
    object["metadata"]["managedFields"] = json!([{"manager": "x", "fieldsType": "FieldsV1", "fieldsV1": "@fields@"}]);
    let place = if object.get("data").is_some() { "data" } else { "spec" };
    if trick == Some(Trick::DeepSpec) {
        object[place]["deep"] = "@deep@".into();
    }
    let text = object.to_string();
    let (before, behind) = text.split_once("\"@fields@\"").unwrap();
    let fields: Vec<u8> = match trick {
        Some(Trick::Deep) => nested(200).into_bytes(),
        Some(Trick::NotUtf8) => b"{\"f:\xff\xfe\":{}}".to_vec(),
        Some(Trick::DeepSpec) | None => b"{}".to_vec(),
    };
    let deep = |text: &str| text.replace("\"@deep@\"", &nested(200)).into_bytes();
    [deep(before), fields, deep(behind)].concat()
}

fn object(resource: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": "payments", "labels": {"team": "a"}});
    let template = json!({"spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": "x"}]}});
    match resource {
        "ecraccesspolicies" => stored_policy("payments", name),
        "clusterecraccesspolicies" => {
            let mut policy = stored_policy("", name);
            policy["kind"] = "ClusterEcrAccessPolicy".into();
            policy["metadata"].as_object_mut().unwrap().remove("namespace");
            policy
        }
        "namespaces" => json!({"metadata": {"name": name, "labels": {"team": "a"}}}),
        "configmaps" => json!({"data": {"app.json": "{}"}, "metadata":
            {"name": name, "namespace": "payments", "labels": {"ecraccess.dev/policy-document": "true"}}}),
        "pods" => json!({"metadata": metadata, "spec": template["spec"]}),
        "deployments" => json!({"metadata": metadata, "spec": {"template": template}}),
        _ => json!({"metadata": metadata}),
    }
}

fn key(kind: PolicyKind, name: &str) -> PolicyKey {
    let namespace = (kind == PolicyKind::EcrAccessPolicy).then(|| "payments".to_owned());
    PolicyKey { kind, namespace, name: name.to_owned() }
}

/// `None`: not known. Otherwise whether it is as it was written.
fn known(inventory: &Inventory, resource: &str, name: &str) -> Option<bool> {
    let policy = |kind| inventory.policy(&key(kind, name)).map(|policy| policy.body.is_ok());
    match resource {
        "ecraccesspolicies" => policy(PolicyKind::EcrAccessPolicy),
        "clusterecraccesspolicies" => policy(PolicyKind::ClusterEcrAccessPolicy),
        "serviceaccounts" => inventory.service_account("payments", name).map(|account| account.labels["team"] == "a"),
        "namespaces" => inventory.namespace(name).map(|labels| labels["team"] == "a"),
        "configmaps" => {
            let name = ConfigMapName { namespace: "payments".to_owned(), name: name.to_owned() };
            inventory.config_map(&name).map(|facts| facts.text("app.json") == Some("{}"))
        }
        other => panic!("what of {other}?"),
    }
}

fn namespace(resource: &str) -> &'static str {
    if matches!(resource, "namespaces" | "clusterecraccesspolicies") { "" } else { "payments" }
}

fn put(api: &FakeApi, resource: &str, name: &str, trick: Option<Trick>) {
    api.put_bytes(resource, namespace(resource), name, &tricked(&object(resource, name), trick));
}

/// Five hundred at once, the tricked one among them.
fn burst(api: &FakeApi, resource: &str, trick: Trick) {
    let one = |index: usize| {
        let (name, trick) = match index {
            250 => ("bad-burst".to_owned(), Some(trick)),
            index => (format!("burst-{index:03}"), None),
        };
        let bytes = tricked(&object(resource, &name), trick);
        (namespace(resource).to_owned(), name, bytes)
    };
    api.put_burst(resource, (0..500).map(one).collect());
}

async fn until(index: &Index, what: &str, is: impl Fn(&Inventory) -> bool) {
    let mut changed = index.changed();
    let waiting = async {
        while !is(&index.snapshot()) {
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(TIMEOUTS, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What is known of an object with this trick: a policy and a ConfigMap stay there, to be told of.
fn of_bad(resource: &str, trick: Trick) -> Option<bool> {
    match (trick, resource) {
        (Trick::Deep | Trick::NotUtf8, _) => Some(true),
        (Trick::DeepSpec, "serviceaccounts" | "namespaces") => None,
        (Trick::DeepSpec, _) => Some(false),
    }
}

async fn attack(resource: &'static str, trick: Trick) {
    let api = FakeApi::new();
    for name in ["a", "b", "d"] {
        put(&api, resource, name, None);
    }
    // On the second page.
    put(&api, resource, "c-bad", Some(trick));
    let token = CancellationToken::new();
    let _guard = token.clone().drop_guard();
    let options = IndexOptions { page_size: 2, ..IndexOptions::default() };
    let index = Index::start(api.client(), options, token);
    tokio::time::timeout(TIMEOUTS, index.wait_until_synced()).await.expect("the index syncs");
    let is = |inventory: &Inventory, name: &str| known(inventory, resource, name);
    let what = format!("{resource}, {trick:?}");
    for name in ["a", "b", "d"] {
        assert_eq!(is(&index.snapshot(), name), Some(true), "{what}: {name}");
    }
    assert_eq!(is(&index.snapshot(), "c-bad"), of_bad(resource, trick), "{what}");

    burst(&api, resource, trick);
    until(&index, &what, |inventory| is(inventory, "burst-499") == Some(true)).await;
    let snapshot = index.snapshot();
    let right = (0..500).filter(|index| is(&snapshot, &format!("burst-{index:03}")) == Some(true)).count();
    assert_eq!((right, is(&snapshot, "bad-burst")), (499, of_bad(resource, trick)), "{what}");

    // The bad ones are there still when everything is listed again.
    api.forget(resource);
    put(&api, resource, "later", None);
    until(&index, &what, |inventory| is(inventory, "later") == Some(true)).await;
    assert_eq!(is(&index.snapshot(), "c-bad"), of_bad(resource, trick), "{what}");
    // It is mended.
    put(&api, resource, "c-bad", None);
    until(&index, &what, |inventory| is(inventory, "c-bad") == Some(true)).await;
    let unreadable = if trick == Trick::DeepSpec { 1 } else { 0 };
    assert_eq!(gauge(&index, "unreadable_objects", resource), unreadable, "{what}: bad-burst is left");
    api.delete(resource, namespace(resource), "bad-burst");
    until(&index, &what, |inventory| is(inventory, "burst-000") == Some(true) && is(inventory, "bad-burst").is_none())
        .await;
    let gone = async {
        while gauge(&index, "unreadable_objects", resource) != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUTS, gone).await.expect("it is forgotten");
    assert_eq!(index.progress(resource).failure, None, "{what}: no watch failed but for the one that was told to");
}

/// A gauge of a kind, as it is scraped.
fn gauge(index: &Index, name: &str, kind: &str) -> u32 {
    let mut registry = prometheus_client::registry::Registry::default();
    index.health().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = format!("{name}{{kind=\"{kind}\"}} ");
    text.lines()
        .find_map(|found| found.strip_prefix(&line))
        .unwrap_or_else(|| panic!("{line}\n{text}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn one_object_that_no_parser_takes_leaves_all_others_known() {
    for row in KINDS {
        for trick in TRICKS {
            attack(row.kind.plural, trick).await;
        }
    }
}

/// A document that is deeper than any policy is, whether the object around it decodes or not.
#[tokio::test]
async fn a_document_that_nests_too_deeply_spoils_its_own_policy_alone() {
    for levels in [117, 200] {
        let api = FakeApi::new();
        let put = |name: &str| {
            let mut object = stored_policy("payments", name);
            object["metadata"]["resourceVersion"] = VERSION.into();
            let entry = "/spec/puller/nodes/0/identity/policies/0/document";
            *object.pointer_mut(entry).unwrap() = "@deep@".into();
            let text = object.to_string().replace("\"@deep@\"", &nested(levels));
            api.put_bytes("ecraccesspolicies", "payments", name, text.as_bytes());
        };
        put("bad");
        api.put("ecraccesspolicies", stored_policy("payments", "good"));
        let token = CancellationToken::new();
        let _guard = token.clone().drop_guard();
        let index = Index::start(api.client(), IndexOptions::default(), token);
        tokio::time::timeout(TIMEOUTS, index.wait_until_synced()).await.expect("the index syncs");
        // The one document alone, which is told: everything else of the policy is in force.
        let told = |inventory: &Inventory, name: &str| {
            let policy = inventory.policy(&key(PolicyKind::EcrAccessPolicy, name))?;
            let policy = inventory.with_documents(policy);
            assert!(policy.spec().is_ok(), "{levels}: {:?}", policy.problems());
            Some(policy.problems().into_iter().map(|problem| problem.message).collect::<Vec<_>>())
        };
        let too_deep = Some(vec!["the document nests deeper than 64 levels (a policy needs six)".to_owned()]);
        assert_eq!(
            (told(&index.snapshot(), "bad"), told(&index.snapshot(), "good")),
            (too_deep.clone(), Some(vec![])),
            "{levels}"
        );
        put("bad-too");
        api.put("ecraccesspolicies", stored_policy("payments", "good-too"));
        until(&index, "the watch goes on", |inventory| told(inventory, "good-too") == Some(vec![])).await;
        assert_eq!(told(&index.snapshot(), "bad-too"), too_deep, "{levels}");
    }
}

/// Follows `signals` until `is`, each of which `apply` takes.
async fn follow<T>(
    signals: &mut (impl StreamExt<Item = T> + Unpin),
    what: &str,
    mut apply: impl FnMut(T),
    mut is: impl FnMut() -> bool,
) {
    let all = async {
        while !is() {
            apply(signals.next().await.unwrap());
        }
    };
    tokio::time::timeout(TIMEOUTS, all).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn pods_and_workloads_are_counted_whatever_stands_beside_them() {
    use std::cell::RefCell;
    let options = IndexOptions { page_size: 2, ..IndexOptions::default() };
    for trick in TRICKS {
        let api = FakeApi::new();
        for resource in ["pods", "deployments"] {
            for name in ["a", "b", "d"] {
                put(&api, resource, name, None);
            }
            put(&api, resource, "c-bad", Some(trick));
        }
        let bad = usize::from(trick != Trick::DeepSpec);
        let counts = |tracked: Option<Arc<super::subjects::ObjectMap>>| {
            let named = |part: &str| {
                tracked.iter().flat_map(|tracked| tracked.keys()).filter(|(_, name)| name.contains(part)).count()
            };
            (tracked.iter().map(|tracked| tracked.len()).sum::<usize>(), named("bad"))
        };
        let pods = RefCell::new(Pods::default());
        let mut signals = Box::pin(watch_pods(api.client(), &options));
        let apply = |signal| {
            if let Signal::Event(event) = signal {
                pods.borrow_mut().apply(event);
            }
        };
        let what = format!("pods, {trick:?}");
        follow(&mut signals, &what, apply, || counts(pods.borrow().objects()) == (3 + bad, bad)).await;
        let workloads = RefCell::new(Workloads::default());
        let deployments = || {
            let tracked = workloads.borrow().objects()?;
            tracked.into_iter().find(|(kind, _)| *kind == "Deployment").map(|(_, tracked)| tracked)
        };
        let mut others = Box::pin(watch_workloads(&api.client(), &options));
        let apply_workload = |(kind, signal): (WorkloadKind, Signal)| {
            if let Signal::Event(event) = signal {
                workloads.borrow_mut().apply(kind, event);
            }
        };
        follow(&mut others, &what, apply_workload, || counts(deployments()) == (3 + bad, bad)).await;
        // A watch has to be there for a burst to be one.
        burst(&api, "pods", trick);
        burst(&api, "deployments", trick);
        let all = (3 + bad + 499 + bad, 2 * bad);
        follow(&mut signals, &what, apply, || counts(pods.borrow().objects()) == all).await;
        follow(&mut others, &what, apply_workload, || counts(deployments()) == all).await;
        api.forget("pods");
        put(&api, "pods", "later", None);
        follow(&mut signals, &what, apply, || counts(pods.borrow().objects()) == (all.0 + 1, all.1)).await;
    }
}
