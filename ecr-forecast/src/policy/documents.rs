//! Where IAM policies stand in the spec of a policy object, as it is written: every place once, for all that look at what is
//! given there. The same of a compiled spec is [`CompiledSpec::documents`].
//!
//! Plain JSON is read, since an object that this version cannot decode may hold documents that it can read. Tests hold the
//! places against the schema and against what is compiled, so that none is forgotten.
//!
//! [`CompiledSpec::documents`]: super::compiled::CompiledSpec::documents

use iam_verdict::PolicyType;
use serde_json::Value;

use super::parts::UNKNOWN;

/// What has an `identity`, by its place in `spec`; `[]` is every item of a list.
const PRINCIPALS: [&str; 5] = [
    "puller.serviceAccount",
    "puller.serviceAccount.roles[]",
    "puller.serviceAccount.fallbackNodes[]",
    "puller.role",
    "puller.nodes[]",
];

/// The policies of a principal, by their place in it.
const OF_PRINCIPAL: [(&str, PolicyType); 2] =
    [("identity.policies[]", PolicyType::Identity), ("identity.permissionsBoundary", PolicyType::Boundary)];

/// All other policies, by their place in `spec`.
const OTHERS: [(&str, PolicyType); 4] = [
    ("repositories[].policy", PolicyType::Resource),
    ("registries[].policy", PolicyType::Registry),
    ("organization.serviceControlPolicies[].policies[]", PolicyType::Scp),
    ("organization.resourceControlPolicies[].policies[]", PolicyType::Rcp),
];

/// A place of a policy at which something stands.
#[derive(Clone, Debug)]
pub(super) struct GivenPolicy<'a> {
    /// The field, such as `spec.repositories[0].policy`.
    pub path: String,
    /// What kind of policy it is there.
    pub kind: PolicyType,
    given: &'a Value,
}

/// What gives the text of a policy, with its field.
#[derive(Clone, Debug)]
pub(super) struct GivenSource<'a> {
    /// The field, such as `spec.repositories[0].policy.document`.
    pub path: String,
    /// What stands there.
    pub source: Source<'a>,
}

/// The ways to give a policy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// `document`: the policy document.
    Document(&'a Value),
    /// `configMapKeyRef`: where it stands in a ConfigMap.
    ConfigMap(&'a Value),
    /// `managedPolicyArn`: the ARN of a managed policy.
    Managed(&'a str),
}

/// The policies of an object with a `spec`, in the order of the schema.
pub(super) fn documents(object: &Value) -> Vec<GivenPolicy<'_>> {
    let mut found = Vec::new();
    let Some(spec) = object.get("spec") else { return found };
    for principal in PRINCIPALS {
        for (path, principal) in at("spec", principal, spec) {
            for (place, kind) in OF_PRINCIPAL {
                let policies = at(&path, place, principal);
                found.extend(policies.into_iter().map(|(path, given)| GivenPolicy { path, kind, given }));
            }
        }
    }
    for (place, kind) in OTHERS {
        found.extend(at("spec", place, spec).into_iter().map(|(path, given)| GivenPolicy { path, kind, given }));
    }
    found
}

impl<'a> GivenPolicy<'a> {
    /// Whether it is attached to a resource: then it has one source of two, or is the word `Unknown`, and the API server
    /// does not look into it.
    pub fn is_resource_based(&self) -> bool {
        matches!(self.kind, PolicyType::Resource | PolicyType::Registry)
    }

    /// What stands in place of a resource-based policy and is nothing that one may be.
    pub fn shapeless(&self) -> Option<&'a Value> {
        let good = match self.given {
            Value::String(word) => word == UNKNOWN,
            Value::Object(fields) => {
                fields.len() == 1 && (fields.contains_key("document") || fields.contains_key("configMapKeyRef"))
            }
            _ => false,
        };
        (self.is_resource_based() && !good).then_some(self.given)
    }

    /// What gives its text: one, unless the object is wrong.
    pub fn sources(&self) -> Vec<GivenSource<'a>> {
        let mut found = Vec::new();
        if self.shapeless().is_some() {
            return found;
        }
        // The API server has looked into the others, and a null there is a field that was left out.
        let is_given = |value: &&Value| self.is_resource_based() || !value.is_null();
        let field = |name: &str| self.given.get(name).filter(is_given);
        let mut add = |name: &str, source: Option<Source<'a>>| {
            found.extend(source.map(|source| GivenSource { path: format!("{}.{name}", self.path), source }));
        };
        add("document", field("document").map(Source::Document));
        add("configMapKeyRef", field("configMapKeyRef").map(Source::ConfigMap));
        if !self.is_resource_based() {
            add("managedPolicyArn", field("managedPolicyArn").and_then(Value::as_str).map(Source::Managed));
        }
        found
    }
}

/// What stands at a place below `value`, which is at `path`.
fn at<'a>(path: &str, place: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    let mut found = vec![(path.to_owned(), value)];
    for step in place.split('.') {
        let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let below = |(path, value): (String, &'a Value)| {
            let path = format!("{path}.{name}");
            match value.get(name) {
                Some(list) if is_list => items(&path, Some(list)).collect(),
                Some(value) => vec![(path, value)],
                None => Vec::new(),
            }
        };
        found = found.into_iter().flat_map(below).collect();
    }
    found
}

/// The items of a list, each with its path; none where it is no list.
pub(super) fn items<'a>(path: &str, list: Option<&'a Value>) -> impl Iterator<Item = (String, &'a Value)> {
    let items = list.and_then(Value::as_array).into_iter().flatten().enumerate();
    items.map(move |(index, item)| (format!("{path}[{index}]"), item))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::compiled::PolicyObject;
    use super::super::kind::PolicyKind;
    use super::super::{API_VERSION, schema};
    use super::*;

    /// Whether a schema is that of a policy: something that has a document, or is the word `Unknown`.
    fn is_policy(schema: &Value) -> bool {
        ["document", "managedPolicyArn", "configMapKeyRef"].iter().any(|name| schema["properties"].get(name).is_some())
            || schema["pattern"] == format!("^{UNKNOWN}$")
    }

    /// A value with every field that a schema has, and one item in every list; for a policy what `policy` makes of its path.
    fn filled(path: &str, schema: &Value, policy: &mut impl FnMut(&str) -> Value) -> Value {
        if is_policy(schema) {
            return policy(path);
        }
        if let Some(fields) = schema["properties"].as_object() {
            let fields = fields.iter();
            return fields
                .map(|(name, schema)| (name.clone(), filled(&format!("{path}.{name}"), schema, policy)))
                .collect();
        }
        match schema.get("items") {
            Some(schema) => json!([filled(&format!("{path}[0]"), schema, policy)]),
            None => Value::Null,
        }
    }

    #[test]
    fn a_policy_stands_wherever_the_schema_has_one() {
        for kind in PolicyKind::ALL {
            let mut places = Vec::new();
            let spec = filled("spec", &schema::spec(kind).to_value(), &mut |path| {
                places.push(path.to_owned());
                json!({"document": path})
            });
            assert!(places.len() > 10, "{places:?}");
            let object = json!({"spec": spec});
            let given = documents(&object);
            let mut found: Vec<&str> = given.iter().map(|policy| policy.path.as_str()).collect();
            found.sort_unstable();
            places.sort();
            assert_eq!(found, places, "{kind}");
            for policy in &given {
                let [GivenSource { path, source: Source::Document(document) }] = &policy.sources()[..] else {
                    panic!("{policy:?}");
                };
                assert_eq!(
                    (document.as_str(), path),
                    (Some(policy.path.as_str()), &format!("{}.document", policy.path))
                );
            }
        }
    }

    #[test]
    fn what_is_compiled_is_what_is_given() {
        let policy =
            |path: &str| json!({"name": "p", "document": {"Version": "2012-10-17", "Id": path, "Statement": []}});
        let named = |name: &str, mut policy: Value| {
            policy["name"] = json!(name);
            policy
        };
        let identity = |path: &str| {
            json!({
                "policies": [named("one", policy(&format!("{path}.policies[0]"))), policy(&format!("{path}.policies[1]"))],
                "permissionsBoundary": {"document": policy(&format!("{path}.permissionsBoundary"))["document"]},
            })
        };
        let role = |path: &str, n: usize| {
            let path = format!("{path}[{n}]");
            json!({"arn": format!("arn:aws:iam::111122223333:role/{n}"), "identity": identity(&format!("{path}.identity"))})
        };
        let resource = |path: &str| json!({"document": policy(path)["document"]});
        let levels = |path: &str| {
            let level =
                |n: usize| json!({"level": n.to_string(), "policies": [policy(&format!("{path}[{n}].policies[0]"))]});
            json!([level(0), level(1)])
        };
        let account = "spec.puller.serviceAccount";
        let fixed =
            json!({"arn": "arn:aws:iam::111122223333:role/a", "identity": identity("spec.puller.role.identity")});
        let mut seen = 0;
        for puller in [
            json!({"serviceAccount": {
                "identity": identity(&format!("{account}.identity")),
                "roles": [role(&format!("{account}.roles"), 0), role(&format!("{account}.roles"), 1)],
                "fallbackNodes": [role(&format!("{account}.fallbackNodes"), 0)],
            }}),
            json!({"role": fixed}),
            json!({"nodes": [role("spec.puller.nodes", 0), role("spec.puller.nodes", 1)]}),
        ] {
            let object = json!({"apiVersion": API_VERSION, "kind": "EcrAccessPolicy", "metadata": {"name": "x"}, "spec": {
                "puller": puller,
                "repositories": [{"match": "*", "policy": resource("spec.repositories[0].policy")}],
                "registries": [{"accountId": "111122223333", "policy": resource("spec.registries[0].policy")}],
                "organization": {
                    "serviceControlPolicies": levels("spec.organization.serviceControlPolicies"),
                    "resourceControlPolicies": levels("spec.organization.resourceControlPolicies"),
                },
            }});
            let mut given: Vec<(String, PolicyType)> =
                documents(&object).into_iter().map(|policy| (policy.path, policy.kind)).collect();
            let compiled = PolicyObject::from_json(object).unwrap().body.unwrap();
            let id = |text: &str| {
                let document: Map<String, Value> = serde_json::from_str(text).unwrap();
                document["Id"].as_str().unwrap().to_owned()
            };
            let mut found: Vec<(String, PolicyType)> =
                compiled.documents().map(|site| (id(site.policy.text.as_ref().unwrap()), site.kind)).collect();
            given.sort_by(|one, other| one.0.cmp(&other.0));
            found.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!(found, given);
            seen += given.len();
        }
        assert_eq!(seen, (4 * 3 + 3 + 2 * 3) + 3 * (1 + 1 + 2 * 2));
    }

    #[test]
    fn what_is_no_resource_based_policy_is_told_and_has_no_source() {
        for (policy, good, sources) in [
            (json!("Unknown"), true, 0),
            (json!({"document": {}}), true, 1),
            (json!({"configMapKeyRef": {}}), true, 1),
            (json!({"document": null}), true, 1),
            (json!("unknown"), false, 0),
            (json!({}), false, 0),
            (json!({"managedPolicyArn": "a"}), false, 0),
            (json!({"document": {}, "configMapKeyRef": {}}), false, 0),
            (json!(null), false, 0),
        ] {
            let object = json!({"spec": {"repositories": [7, {"policy": policy}]}});
            let [given] = &documents(&object)[..] else { panic!("{policy}") };
            assert_eq!(given.path, "spec.repositories[1].policy");
            assert_eq!((given.shapeless().is_none(), given.sources().len()), (good, sources), "{policy}");
        }
    }
}
