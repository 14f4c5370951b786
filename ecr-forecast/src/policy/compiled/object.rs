//! A policy object as verdicts need it: read through a guard that never fails on a bad spec, compiled once.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cluster::config_map::ConfigMapKey;
use crate::policy::compiled::compile::Compiler;
use crate::policy::compiled::problem::{InventoryError, Problem, Remark};
use crate::policy::compiled::selector::Selector;
use crate::policy::compiled::spec::CompiledSpec;
use crate::policy::{self, Action, ClusterEcrAccessPolicySpec, LabelSelector, PolicyKind, ServiceAccountSelection};

/// Names one policy object. Displayed as `EcrAccessPolicy/NAMESPACE/NAME` or `ClusterEcrAccessPolicy/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its namespace; none for the cluster kind.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Serialize for PolicyKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// Whom a policy selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `serviceAccounts.names`.
    pub names: Vec<String>,
    /// `serviceAccounts.selector`.
    pub selector: Option<Selector>,
    /// `namespaceSelector` of the cluster kind; none selects every namespace.
    pub namespaces: Option<Selector>,
    /// The selection could not be read: the policy may select anything in its reach, so it is considered after every
    /// policy whose selection is known.
    pub unreadable: bool,
}

impl Scope {
    /// Whether the policy selects service accounts by neither name nor selector, which means all of them.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.names.is_empty() && self.selector.is_none()
    }
}

/// One policy, compiled. Its selection and actions are read apart from the rest, so that a spec this version cannot
/// read makes the verdicts of *its* service accounts Unknown and nobody else's.
#[derive(Clone, Debug)]
pub struct PolicyObject {
    /// Which object this is.
    pub key: PolicyKey,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<String>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `metadata.creationTimestamp`; an object without one counts as the youngest.
    pub creation: Option<jiff::Timestamp>,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// Whom it selects.
    pub scope: Scope,
    /// What happens on a Deny.
    pub on_deny: Action,
    /// What happens on an Unknown; never more than `on_deny`.
    pub on_unknown: Action,
    /// Who pulls, or why that could not be read (`UnsupportedSpec`: the verdicts are Unknown). Of documents in ConfigMaps
    /// there is no more than where they stand: see [`Inventory::with_documents`].
    ///
    /// [`Inventory::with_documents`]: crate::inventory::Inventory::with_documents
    pub body: Result<Arc<CompiledSpec>, String>,
    /// What there is to say of its parts: first why the body could not be read, then in the order of the spec.
    pub(crate) remarks: Vec<Remark>,
}

impl PolicyObject {
    /// Reads a policy object as the API server or a file has it.
    ///
    /// Items of a list may lack `kind`; then the one with a namespace is an EcrAccessPolicy.
    ///
    /// # Errors
    /// When the value is not a policy object with a name. Whatever is wrong inside `spec` is no error: it is in
    /// [`body`](Self::body) and among the [`problems`](crate::policy::compiled::PolicyWithDocuments::problems).
    pub fn from_json(value: Value) -> Result<Self, InventoryError> {
        let object = value.as_object().ok_or(InventoryError::NotAnObject)?;
        let metadata = object.get("metadata");
        let text = |field: &str| {
            metadata.and_then(|m| m.get(field)).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
        };
        let kind = match object.get("kind").and_then(Value::as_str) {
            Some(name) => PolicyKind::from_name(name).ok_or_else(|| InventoryError::OtherKind(name.to_owned()))?,
            None => PolicyKind::within(text("namespace").as_deref()),
        };
        let key = PolicyKey {
            kind,
            namespace: match kind {
                PolicyKind::EcrAccessPolicy => Some(text("namespace").unwrap_or_else(|| "default".to_owned())),
                PolicyKind::ClusterEcrAccessPolicy => None,
            },
            name: text("name").ok_or(InventoryError::NoName)?,
        };

        let mut compiler = Compiler::new(key.namespace.as_deref());
        let compiled = policy::decode(kind, &value).map_err(Problem::from).and_then(|decoded| {
            let scope = Scope::of(&decoded).ok_or_else(|| Problem::at("spec", "a selector is not valid"))?;
            let spec = &decoded.policy;
            Ok((scope, spec.on_deny(), spec.on_unknown(), compiler.spec(spec)?))
        });
        let (scope, on_deny, on_unknown, body) = match compiled {
            Ok((scope, on_deny, on_unknown, spec)) => (scope, on_deny, on_unknown, Ok(Arc::new(spec))),
            Err(problem) => {
                let null = Value::Null;
                let (scope, on_deny, on_unknown) = salvage(object.get("spec").unwrap_or(&null));
                let message = problem.to_string();
                compiler.remarks.insert(0, Remark::Problem(problem));
                (scope, on_deny, on_unknown, Err(message))
            }
        };
        let remarks = compiler.remarks;
        Ok(Self {
            resource_version: text("resourceVersion"),
            generation: metadata.and_then(|m| m.get("generation")).and_then(Value::as_i64),
            creation: text("creationTimestamp").and_then(|t| t.parse().ok()),
            uid: text("uid"),
            key,
            scope,
            on_deny,
            on_unknown,
            body,
            remarks,
        })
    }

    /// The object, of which this is what could be read: its verdicts are Unknown, for the reason `why`.
    #[must_use]
    pub fn unreadable(self, why: &str) -> Self {
        let problem = Problem::at("", why);
        Self { body: Err(problem.to_string()), remarks: vec![Remark::Problem(problem)], ..self }
    }

    /// Where documents stand that the object names, there or not, as often as it names them.
    pub fn references(&self) -> impl Iterator<Item = &ConfigMapKey> {
        self.remarks.iter().filter_map(|remark| match remark {
            Remark::Reference { at, .. } => Some(at),
            Remark::Problem(_) | Remark::Unresolved(_) => None,
        })
    }
}

/// What can still be read of a spec that does not decode: whom it selects and what it does. Every part that is not as
/// this version knows it gets the mildest reading.
fn salvage(spec: &Value) -> (Scope, Action, Action) {
    fn part<T: DeserializeOwned>(spec: &Value, field: &str) -> Result<Option<T>, serde_json::Error> {
        spec.get(field).filter(|value| !value.is_null()).map(|value| serde_json::from_value(value.clone())).transpose()
    }
    let scope = || {
        let accounts: Option<ServiceAccountSelection> = part(spec, "serviceAccounts").ok()?;
        let namespaces: Option<LabelSelector> = part(spec, "namespaceSelector").ok()?;
        Scope::compile(accounts.as_ref(), namespaces.as_ref())
    };
    let on_deny = part(spec, "onDeny").unwrap_or(Some(Action::Warn)).unwrap_or(Action::Reject);
    let mut on_unknown = part(spec, "onUnknown").unwrap_or(Some(Action::Warn)).unwrap_or(Action::Warn);
    // Whom it exempts cannot be told either.
    if spec.get("exemptions").is_some_and(|exemptions| !exemptions.is_null()) {
        on_unknown = on_unknown.min(Action::Warn);
    }
    (scope().unwrap_or(Scope { unreadable: true, ..Scope::default() }), on_deny, on_unknown.min(on_deny))
}

impl Scope {
    fn of(spec: &ClusterEcrAccessPolicySpec) -> Option<Self> {
        Self::compile(spec.policy.service_accounts.as_ref(), spec.namespace_selector.as_ref())
    }

    fn compile(accounts: Option<&ServiceAccountSelection>, namespaces: Option<&LabelSelector>) -> Option<Self> {
        let mut scope = Self::default();
        if let Some(namespaces) = namespaces {
            scope.namespaces = Some(Selector::compile(namespaces)?);
        }
        if let Some(accounts) = accounts {
            scope.names = accounts.names.clone().unwrap_or_default();
            if let Some(selector) = &accounts.selector {
                scope.selector = Some(Selector::compile(selector)?);
            }
            // Selecting nobody by name must not come to mean everybody.
            if scope.is_everyone() {
                return None;
            }
        }
        Some(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compiled::PolicyWithDocuments;
    use crate::policy::compiled::spec::CompiledPuller;
    use serde_json::json;

    const PULL_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly";

    fn object(kind: &str, spec: Value) -> PolicyObject {
        PolicyObject::from_json(json!({
            "apiVersion": "ecraccess.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "pull", "namespace": "payments", "resourceVersion": "7", "generation": 2,
                "uid": "u-1", "creationTimestamp": "2026-11-23T00:00:00Z"},
            "spec": spec,
        }))
        .unwrap()
    }

    fn problems(policy: PolicyObject) -> Vec<Problem> {
        PolicyWithDocuments::alone(policy).problems()
    }

    fn with_policies(policies: Value) -> Value {
        json!({"puller": {"serviceAccount": {"identity": {"policies": policies}}}})
    }

    #[test]
    fn reads_metadata_and_defaults() {
        let policy = object("EcrAccessPolicy", with_policies(json!([{"name": "p", "managedPolicyArn": PULL_ONLY}])));
        assert_eq!(policy.key.to_string(), "EcrAccessPolicy/payments/pull");
        assert_eq!((policy.resource_version.as_deref(), policy.generation), (Some("7"), Some(2)));
        assert_eq!(policy.uid.as_deref(), Some("u-1"));
        assert_eq!(policy.creation, Some("2026-11-23T00:00:00Z".parse().unwrap()));
        assert_eq!((policy.on_deny, policy.on_unknown), (Action::Reject, Action::Warn));
        assert!(policy.scope.is_everyone() && !policy.scope.unreadable);
        assert_eq!(policy.remarks, []);
        let body = policy.body.unwrap();
        let CompiledPuller::ServiceAccount { annotation, identity, .. } = &body.puller else {
            panic!("another puller")
        };
        assert_eq!(annotation, "eks.amazonaws.com/ecr-role-arn");
        assert_eq!(identity.as_ref().unwrap().policies().len(), 1);

        let policy =
            object("ClusterEcrAccessPolicy", with_policies(json!([{"name": "p", "managedPolicyArn": PULL_ONLY}])));
        assert_eq!(policy.key.to_string(), "ClusterEcrAccessPolicy/pull");
    }

    #[test]
    fn unknown_never_does_more_than_deny() {
        let spec = json!({"onDeny": "Warn", "puller": {"role": {"arn": "arn:aws:iam::111122223333:role/r"}}});
        let policy = object("EcrAccessPolicy", spec);
        assert_eq!((policy.on_deny, policy.on_unknown), (Action::Warn, Action::Warn));
        let spec = json!({"onDeny": "Audit", "puller": {"role": {"arn": "arn:aws:iam::111122223333:role/r"}}});
        assert_eq!(object("EcrAccessPolicy", spec).on_unknown, Action::Audit);
    }

    #[test]
    fn a_malformed_document_is_a_problem_of_one_layer() {
        let policy = object(
            "EcrAccessPolicy",
            with_policies(json!([
                {"name": "bad", "document": {"Version": "2012-10-17", "Statement": [{"Effect": "Maybe", "Action": "*", "Resource": "*"}]}},
                {"name": "text", "document": "{"},
                {"name": "good", "document": "{\"Version\": \"2012-10-17\", \"Statement\": []}"},
            ])),
        );
        assert!(policy.body.is_ok());
        let problems = problems(policy);
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths.first(),
            Some(&"$.spec.puller.serviceAccount.identity.policies[0].document.Statement[0].Effect")
        );
        assert!(paths[1].starts_with("$.spec.puller.serviceAccount.identity.policies[1].document"), "{paths:?}");
        assert_eq!(paths.len(), 2);
    }

    #[test]
    fn a_managed_policy_that_is_not_built_in_is_unresolved() {
        let arn = "arn:aws:iam::111122223333:policy/mine";
        let policy = object("EcrAccessPolicy", with_policies(json!([{"name": "mine", "managedPolicyArn": arn}])));
        let policy = PolicyWithDocuments::alone(policy);
        assert_eq!(policy.problems(), []);
        let paths: Vec<String> = policy.unresolved().into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["$.spec.puller.serviceAccount.identity.policies[0].managedPolicyArn"]);
    }

    #[test]
    fn what_is_not_understood_spoils_the_body_and_nothing_else() {
        let role = json!({"role": {"arn": "arn:aws:iam::111122223333:role/r"}});
        let cases = [
            (json!({"puller": role, "color": "red"}), "$.spec.color"),
            (json!({}), "$.spec.puller"),
            (json!({"puller": {}}), "$.spec.puller"),
            (json!({"puller": {"nodes": []}}), "$.spec.puller.nodes"),
            (json!({"puller": {"role": {"arn": "nope"}}}), "$.spec.puller.role.arn"),
            (json!({"puller": role, "namespaceSelector": {}}), "$.spec.namespaceSelector"),
            (with_policies(json!([{"name": "p"}])), "$.spec.puller.serviceAccount.identity.policies[0]"),
            (json!({"puller": role, "onDeny": "Explode"}), "$.spec.onDeny"),
        ];
        for (spec, path) in cases {
            let policy = object("EcrAccessPolicy", spec.clone());
            assert!(policy.body.is_err(), "{spec}");
            assert!(policy.body.as_ref().unwrap_err().contains(path), "{spec}");
            assert_eq!(problems(policy)[0].path, path, "{spec}");
        }
    }

    #[test]
    fn selection_and_actions_survive_a_body_that_does_not_decode() {
        let policy = object(
            "EcrAccessPolicy",
            json!({"serviceAccounts": {"names": ["api"], "future": 1}, "onDeny": "Audit", "puller": {"nodes": []}}),
        );
        assert!(policy.body.is_err());
        assert_eq!(policy.scope.names, ["api"]);
        assert!(!policy.scope.unreadable);
        assert_eq!((policy.on_deny, policy.on_unknown), (Action::Audit, Action::Audit));
        for accounts in [
            json!(7),
            json!({}),
            json!({"names": []}),
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
        ] {
            let policy = object("EcrAccessPolicy", json!({"serviceAccounts": accounts, "puller": {"nodes": []}}));
            assert!(policy.scope.unreadable, "{accounts}");
        }
        // An action that is not known does not reject.
        let policy = object("EcrAccessPolicy", json!({"onDeny": "Explode", "puller": {}}));
        assert_eq!(policy.on_deny, Action::Warn);
    }

    #[test]
    fn refuses_what_is_no_policy() {
        assert_eq!(PolicyObject::from_json(json!(1)).unwrap_err(), InventoryError::NotAnObject);
        assert_eq!(
            PolicyObject::from_json(json!({"kind": "Pod", "metadata": {"name": "a"}})).unwrap_err(),
            InventoryError::OtherKind("Pod".to_owned())
        );
        assert_eq!(
            PolicyObject::from_json(json!({"kind": "EcrAccessPolicy", "metadata": {"name": ""}})).unwrap_err(),
            InventoryError::NoName
        );
        // Items of a list have no kind.
        let policy = PolicyObject::from_json(json!({"metadata": {"name": "a", "namespace": "b"}})).unwrap();
        assert_eq!(policy.key.to_string(), "EcrAccessPolicy/b/a");
    }
}
