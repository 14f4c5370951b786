//! What a tenant may store that a parser stumbles over, and objects of every watched kind that have it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::scenarios::workloads::{self, workload};
use crate::world::{ANNOTATION, RawAnswer, World, image, pod, pods, policies, pull_document, role};

/// Written by users into what no log may hold.
pub const CANARY: &str = "hunter2-s3cret";
/// Beyond the 128 levels that serde_json reads.
const LEVELS: usize = 200;
/// As deep as a document of this API can be and still have the depth of its list, its watch line and its review beyond 128.
pub const DOCUMENT_LEVELS: usize = 118;
const MANAGED_FIELDS: &str = "@managed-fields@";

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Attack {
    /// `metadata.managedFields`, which users may send and the API server stores as it came, 200 levels deep.
    Deep,
    /// The same with bytes in a field's name that are no UTF-8.
    NotUtf8,
    /// A policy's `document`, 118 levels deep.
    Document,
}

impl Attack {
    pub fn as_str(self) -> &'static str {
        match self {
            Attack::Deep => "deep",
            Attack::NotUtf8 => "not-utf8",
            Attack::Document => "document",
        }
    }
}

/// The watched kinds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    ServiceAccount,
    ConfigMap,
    Policy,
    ClusterPolicy,
    Namespace,
    Pod,
    Workload(&'static str),
}

impl Kind {
    /// All of them.
    pub fn all() -> Vec<Kind> {
        let mut all =
            vec![Kind::ServiceAccount, Kind::ConfigMap, Kind::Policy, Kind::ClusterPolicy, Kind::Namespace, Kind::Pod];
        all.extend(workloads::KINDS.map(|(kind, ..)| Kind::Workload(kind)));
        all
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ServiceAccount => "ServiceAccount",
            Kind::ConfigMap => "ConfigMap",
            Kind::Policy => "EcrAccessPolicy",
            Kind::ClusterPolicy => "ClusterEcrAccessPolicy",
            Kind::Namespace => "Namespace",
            Kind::Pod => "Pod",
            Kind::Workload(kind) => kind,
        }
    }

    /// The account whose pods and templates of this kind are counted, and the policy that counts them.
    pub fn counter(self) -> String {
        format!("counted-{}", self.as_str().to_ascii_lowercase())
    }

    /// The kinds that are counted in the status of policies.
    pub fn all_counted() -> Vec<Kind> {
        Kind::all().into_iter().filter(|kind| matches!(kind, Kind::Pod | Kind::Workload(_))).collect()
    }

    /// What can be wrong with its objects.
    pub fn attacks(self) -> &'static [Attack] {
        match self {
            Kind::Policy | Kind::ClusterPolicy => &[Attack::Deep, Attack::NotUtf8, Attack::Document],
            _ => &[Attack::Deep, Attack::NotUtf8],
        }
    }

    /// Where its objects are made; a namespace is no matter to what is in none.
    pub fn path(self, namespace: &str) -> String {
        match self {
            Kind::ServiceAccount => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            Kind::ConfigMap => format!("/api/v1/namespaces/{namespace}/configmaps"),
            Kind::Policy => policies(namespace),
            Kind::ClusterPolicy => "/apis/ecraccess.dev/v1alpha1/clusterecraccesspolicies".to_owned(),
            Kind::Namespace => "/api/v1/namespaces".to_owned(),
            Kind::Pod => pods(namespace),
            Kind::Workload(kind) => workloads::path(kind, namespace),
        }
    }
}

/// With this role in the annotation.
pub fn service_account(name: &str, role_name: &str) -> Value {
    let annotations = json!({ANNOTATION: role(role_name), "note": CANARY});
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "annotations": annotations}})
}

/// With a document that lets pull from this repository.
pub fn config_map(name: &str, repository: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"ecraccess.dev/policy-document": "true"}},
        "data": {"app.json": pull_document(&[repository]).to_string(), "note": CANARY},
    })
}

/// For the service accounts named: role `good` has the identity given, role `bad` may pull `other` only.
pub fn policy(name: &str, accounts: &[&str], good: &Value) -> Value {
    let identity = |document: &Value| json!({"policies": [document]});
    let bad = json!({"name": "app", "document": pull_document(&["other"])});
    json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy", "metadata": {"name": name},
        "spec": {
            "serviceAccounts": {"names": accounts},
            "puller": {"serviceAccount": {"roles": [
                {"arn": role("good"), "identity": identity(good)},
                {"arn": role("bad"), "identity": identity(&bad)},
            ]}},
        },
    })
}

/// A document of its own that lets pull from this repository.
pub fn declared(repository: &str) -> Value {
    json!({"name": "app", "document": pull_document(&[repository])})
}

/// The document of this ConfigMap.
pub fn from_config_map(name: &str) -> Value {
    json!({"name": "app", "configMapKeyRef": {"name": name, "key": "app.json"}})
}

/// For all service accounts of namespaces with the label `attacks=VALUE`.
pub fn cluster_policy(name: &str, value: &str, document: Value) -> Value {
    json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "ClusterEcrAccessPolicy", "metadata": {"name": name},
        "spec": {
            "namespaceSelector": {"matchLabels": {"attacks": value}},
            "puller": {"role": {"arn": role("node"), "identity": {"policies": [{"name": "app", "document": document}]}}},
        },
    })
}

pub fn namespace(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"attacks": value}}})
}

/// A pod or a workload, with an environment that is nobody else's business.
pub fn counted_object(kind: Kind, name: &str, account: &str, repository: &str) -> Value {
    let mut object = pod(name, account, &image(repository));
    object["spec"]["containers"][0]["env"] = json!([{"name": "DB_PASSWORD", "value": CANARY}]);
    match kind {
        Kind::Workload(kind) => workload(kind, name, object["spec"].take()),
        _ => object,
    }
}

/// The object as bytes, with what the attack puts into its `managedFields`.
pub fn with_managed_fields(object: &Value, attack: Attack) -> Result<Vec<u8>> {
    let mut object = object.clone();
    object["metadata"]["managedFields"] = json!([{
        "manager": CANARY, "operation": "Update", "apiVersion": object["apiVersion"],
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": MANAGED_FIELDS,
    }]);
    let text = serde_json::to_string(&object)?;
    let (before, after) = text.split_once(&format!("\"{MANAGED_FIELDS}\"")).context("a place for them")?;
    Ok([before.as_bytes(), &fields(attack), after.as_bytes()].concat())
}

/// What the API server stores and gives out again of it.
fn fields(attack: Attack) -> Vec<u8> {
    match attack {
        Attack::NotUtf8 => b"{\"f:\xff\xfe\":{}}".to_vec(),
        Attack::Deep | Attack::Document => format!("{}{{}}{}", "{\"f:x\":".repeat(LEVELS), "}".repeat(LEVELS)).into(),
    }
}

/// Lists in lists.
pub fn deep_document(levels: usize) -> Value {
    (1..levels).fold(json!({"Version": "2012-10-17"}), |inner, _| json!({"Statement": inner}))
}

/// Whoever sends something.
#[derive(Clone, Copy)]
pub struct Tenant<'a> {
    pub world: &'a World,
    /// `None`: the cluster's administrator.
    pub user: Option<&'static str>,
}

impl<'a> Tenant<'a> {
    /// A user with the roles that a team has in its namespace, and no other right.
    pub async fn of(world: &'a World, user: &'static str, namespace: &str) -> Result<Tenant<'a>> {
        for role in ["edit", "ecr-access-edit"] {
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
            });
            let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
            world.must("POST", &path, Some(&binding)).await?;
        }
        Ok(Tenant { world, user: Some(user) })
    }

    /// Makes an object of these bytes.
    pub async fn post(self, path: &str, bytes: Vec<u8>) -> Result<RawAnswer> {
        // A binding takes a moment to be known.
        let until = std::time::Instant::now() + crate::world::PATIENCE;
        loop {
            let answer = self.world.raw(self.user, "POST", path, "application/json", bytes.clone()).await?;
            let forbidden = answer.code == 403 && !String::from_utf8_lossy(&answer.bytes).contains("admission webhook");
            if !forbidden || std::time::Instant::now() > until {
                return Ok(answer);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Makes an object that has to get in.
    pub async fn store(self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let answer = self.post(path, bytes).await?;
        ensure!((200..300).contains(&answer.code), "{path}: {:?}", answer.read());
        Ok(())
    }
}

/// The API server gives an object out as the attack wants it. The bytes of a custom resource are read and written by the
/// API server itself, so what is no UTF-8 is put right on the way.
pub async fn is_as_meant(world: &World, kind: Kind, path: &str, attack: Attack) -> Result<bool> {
    let answer = world.raw(None, "GET", path, "application/json", Vec::new()).await?;
    ensure!(answer.code == 200, "{path}: {:?}", answer.read());
    let needle: &[u8] = match attack {
        Attack::Deep => b"{\"f:x\":{\"f:x\":{\"f:x\":{\"f:x\":",
        Attack::NotUtf8 => b"\xff\xfe",
        Attack::Document => b"{\"Statement\":{\"Statement\":{\"Statement\":{\"Statement\":",
    };
    let found = answer.bytes.windows(needle.len()).any(|window| window == needle);
    let custom = matches!(kind, Kind::Policy | Kind::ClusterPolicy) && attack == Attack::NotUtf8;
    ensure!(found || custom, "{path} is not stored as it was sent");
    Ok(found)
}
