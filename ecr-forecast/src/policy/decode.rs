//! Reading an object strictly: what this binary does not understand is refused with its path, never ignored.
//!
//! An unknown field may be a restriction that a newer version introduced. Judging without it would be a guess, so the
//! whole object is refused and its verdicts are Unknown.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::Schema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::FieldError;
use super::kind::PolicyKind;
use super::parts::UNKNOWN;
use super::schema;
use super::spec::{ClusterEcrAccessPolicySpec, EcrAccessPolicySpec};
use super::violations::{config_map_violations, violations};
use crate::text::{Unit, cut};

/// `apiVersion` as it stands in a manifest.
pub const API_VERSION: &str = "ecraccess.dev/v1alpha1";

/// After so many errors of one object no more are looked for: nobody reads them, and a list of wrong items can be long.
pub const MOST: usize = 1000;

/// Bytes of a key that are shown in a path. The keys of a mapping may be of any length, and each of its items names them.
const KEY_SHOWN: usize = 256;

/// Reads the spec of an object of `kind`, whole as the API server sends it or as a manifest has it. One of a namespace selects
/// no namespaces.
///
/// # Errors
/// The first thing, in document order of the schema, that makes the object unusable: an unknown or missing field, a
/// value of another type, a word that is no choice, or a broken rule of [`super::rules`]. Limits of length are the API
/// server's affair: a CRD that is newer may allow more, and that harms nobody here. `metadata` and `status` are not read.
pub fn decode(kind: PolicyKind, object: &Value) -> Result<ClusterEcrAccessPolicySpec, FieldError> {
    let mut found = Vec::new();
    Walk { kind, limits: false, found: &mut found }.object(object);
    match found.into_iter().next() {
        Some(error) => Err(error),
        None => {
            let spec = build(kind, object)?;
            violations(kind, object, &spec).into_iter().next().map_or(Ok(spec), Err)
        }
    }
}

/// Everything that an API server with these CRDs would refuse in the spec of an object of `kind`, up to a bound; empty
/// where it would take it.
///
/// For manifests that are judged offline. Unlike [`decode`] it looks at the limits of length too.
pub fn validate(kind: PolicyKind, object: &Value) -> Vec<FieldError> {
    let mut found = Vec::new();
    Walk { kind, limits: true, found: &mut found }.object(object);
    // Only an object of the right shape can be held against the rules, as with the API server.
    if found.is_empty() {
        match build(kind, object) {
            Ok(spec) => found = violations(kind, object, &spec),
            Err(error) => found.push(error),
        }
    }
    found
}

/// Everything that is wrong with a `configMapKeyRef` of an object of `kind`, by paths that begin behind it: for the one
/// place where an API server does not look into it.
pub(super) fn validate_config_map_key_ref(kind: PolicyKind, reference: &Value) -> Vec<FieldError> {
    let mut found = Vec::new();
    Walk { kind, limits: true, found: &mut found }.value("", of_kind(kind, &INNER_CONFIG_MAPS), reference);
    if found.is_empty() {
        match serde_json::from_value(reference.clone()) {
            Ok(reference) => found = config_map_violations(kind, &reference),
            Err(error) => found.push(FieldError { path: String::new(), message: error.to_string() }),
        }
    }
    found
}

/// From JSON of the right shape to the Rust types.
fn build(kind: PolicyKind, object: &Value) -> Result<ClusterEcrAccessPolicySpec, FieldError> {
    fn spec<T: DeserializeOwned>(object: &Value) -> Result<T, FieldError> {
        let value = object.get("spec").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        serde_json::from_value(value)
            .map_err(|error| FieldError { path: "spec".to_owned(), message: error.to_string() })
    }
    match kind {
        PolicyKind::EcrAccessPolicy => {
            let policy: EcrAccessPolicySpec = spec(object)?;
            Ok(ClusterEcrAccessPolicySpec { policy, namespace_selector: None })
        }
        PolicyKind::ClusterEcrAccessPolicy => spec(object),
    }
}

/// The schemas of the specs, in the order of [`PolicyKind::ALL`].
static SPECS: LazyLock<[Shape; 2]> = LazyLock::new(|| PolicyKind::ALL.map(|kind| Shape::of(schema::spec(kind))));

static INNER_DOCUMENT: LazyLock<Shape> = LazyLock::new(|| Shape::of(schema::document()));

/// As [`SPECS`].
static INNER_CONFIG_MAPS: LazyLock<[Shape; 2]> =
    LazyLock::new(|| PolicyKind::ALL.map(|kind| Shape::of(schema::config_map_key_ref(kind))));

/// The keywords of a schema that values are held against.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Shape {
    #[serde(rename = "type")]
    type_: Option<String>,
    properties: Option<BTreeMap<String, Shape>>,
    additional_properties: Option<Box<Shape>>,
    items: Option<Box<Shape>>,
    required: Vec<String>,
    #[serde(rename = "enum")]
    choices: Option<Vec<Value>>,
    max_length: Option<u64>,
    max_items: Option<u64>,
    max_properties: Option<u64>,
    pattern: Option<String>,
    default: Option<Value>,
}

impl Shape {
    /// A test holds every schema against this type, so that none is read as one that allows nothing.
    fn of(schema: Schema) -> Self {
        serde_json::from_value(schema.to_value()).unwrap_or_default()
    }
}

/// The one of both that is of this kind.
fn of_kind<T>(kind: PolicyKind, [namespaced, cluster]: &[T; 2]) -> &T {
    match kind {
        PolicyKind::EcrAccessPolicy => namespaced,
        PolicyKind::ClusterEcrAccessPolicy => cluster,
    }
}

/// Holds a value against its schema. Words are those of the API server, so that people find the same explanations.
struct Walk<'a> {
    kind: PolicyKind,
    limits: bool,
    found: &'a mut Vec<FieldError>,
}

impl Walk<'_> {
    fn add(&mut self, path: &str, message: String) {
        if !self.full() {
            self.found.push(FieldError { path: path.to_owned(), message });
        }
    }

    fn full(&self) -> bool {
        self.found.len() >= MOST
    }

    fn object(&mut self, object: &Value) {
        let Some(fields) = object.as_object() else {
            return self.add("", format!("must be an object, not {}", type_of(object)));
        };
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", self.kind.as_str())] {
            match fields.get(name) {
                Some(Value::String(given)) if given == expected => {}
                Some(given) => self.add(name, format!("must be `{expected}`, not `{}`", plain(given))),
                // Items of a typed list have neither.
                None => {}
            }
        }
        for name in fields.keys() {
            if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&name.as_str()) {
                self.add(name, format!("unknown field `{name}`"));
            }
        }
        match fields.get("spec") {
            Some(spec) => self.value("spec", of_kind(self.kind, &SPECS), spec),
            None => self.add("spec", "Required value".to_owned()),
        }
    }

    fn value(&mut self, path: &str, schema: &Shape, value: &Value) {
        if self.full() {
            return;
        }
        match (schema.type_.as_deref(), value) {
            (Some("object"), Value::Object(fields)) => self.fields(path, schema, fields),
            (Some("array"), Value::Array(items)) => self.items(path, schema, items),
            (Some("string"), Value::String(text)) => self.text(path, schema, text),
            (Some("boolean"), Value::Bool(_)) => {}
            (None, _) if schema.pattern.is_some() => self.resource_policy(path, value),
            // Apart from those, the one place without a type is a policy document.
            (None, Value::Object(fields)) => self.at_most(path, "properties", schema.max_properties, fields.len()),
            (None, Value::String(text)) => self.at_most(path, "characters", schema.max_length, text.chars().count()),
            (None, _) => {
                self.add(path, format!("must be a mapping, or a string with JSON text, not {}", type_of(value)));
            }
            (Some(expected), _) => {
                // The usual mistakes: an account id without quotes, a single value where a list is wanted.
                let hint = match (expected, value) {
                    ("string", Value::Number(_) | Value::Bool(_)) => "; quote it",
                    ("array", Value::String(_)) => "; write [value]",
                    _ => "",
                };
                self.add(path, format!("must be of type {expected}, not {}{hint}", type_of(value)));
            }
        }
    }

    /// `{document: …}`, `{configMapKeyRef: …}` or the word `Unknown`.
    fn resource_policy(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(word) if word == UNKNOWN => {}
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = format!("{path}.{name}");
                    match name.as_str() {
                        "document" => self.value(&path, &INNER_DOCUMENT, value),
                        "configMapKeyRef" => self.value(&path, of_kind(self.kind, &INNER_CONFIG_MAPS), value),
                        _ => self.add(&path, format!("unknown field `{name}`")),
                    }
                }
                if fields.contains_key("document") == fields.contains_key("configMapKeyRef") {
                    self.add(path, ONE_OF_TWO.to_owned());
                }
            }
            _ => self.add(path, SHAPE.to_owned()),
        }
    }

    fn fields(&mut self, path: &str, schema: &Shape, fields: &serde_json::Map<String, Value>) {
        self.at_most(path, "properties", schema.max_properties, fields.len());
        if let Some(each) = &schema.additional_properties {
            for (key, value) in fields {
                self.value(&format!("{path}[{}]", cut(key, KEY_SHOWN, Unit::Bytes)), each, value);
            }
            return;
        }
        for name in &schema.required {
            if !fields.contains_key(name) {
                self.add(&format!("{path}.{name}"), "Required value".to_owned());
            }
        }
        for (name, value) in fields {
            let path = format!("{path}.{name}");
            match schema.properties.as_ref().and_then(|properties| properties.get(name)) {
                // The API server drops a null where the schema has a default to put there.
                Some(known) if value.is_null() && known.default.is_some() => {}
                Some(known) => self.value(&path, known, value),
                None => self.add(&path, format!("unknown field `{name}`")),
            }
        }
    }

    fn items(&mut self, path: &str, schema: &Shape, items: &[Value]) {
        self.at_most(path, "items", schema.max_items, items.len());
        if let Some(each) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.value(&format!("{path}[{index}]"), each, item);
            }
        }
    }

    fn text(&mut self, path: &str, schema: &Shape, text: &str) {
        self.at_most(path, "characters", schema.max_length, text.chars().count());
        if let Some(choices) = &schema.choices
            && !choices.iter().any(|choice| choice == text)
        {
            let choices: Vec<String> = choices.iter().map(|choice| choice.to_string()).collect();
            self.add(path, format!("Unsupported value: {text:?}: supported values: {}", choices.join(", ")));
        }
    }

    fn at_most(&mut self, path: &str, what: &str, limit: Option<u64>, given: usize) {
        if let Some(limit) = limit
            && self.limits
            && u64::try_from(given).is_ok_and(|given| given > limit)
        {
            self.add(path, format!("Too many: {given}: must have at most {limit} {what}"));
        }
    }
}

/// What a resource-based policy looks like.
pub(super) const SHAPE: &str = "must be {document: …} with the policy, {configMapKeyRef: …} that says where it stands, or the word \
                         Unknown";

/// A resource-based policy with none or both of its sources.
const ONE_OF_TWO: &str = "must have exactly one of document and configMapKeyRef";

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rules;
    use super::*;

    fn object(spec: Value) -> Value {
        json!({"apiVersion": API_VERSION, "kind": "EcrAccessPolicy", "metadata": {"name": "x"}, "spec": spec})
    }

    fn error(spec: Value) -> String {
        decode(PolicyKind::EcrAccessPolicy, &object(spec)).unwrap_err().to_string()
    }

    #[test]
    fn unknown_fields_are_named_with_their_path_at_any_depth() {
        let entry = json!({"name": "a", "managedPolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess", "expires": 1});
        let puller = json!({"serviceAccount": {"roles": [
            {"arn": "arn:aws:iam::111122223333:role/a", "identity": {"policies": [entry]}}]}});
        assert_eq!(
            error(json!({"puller": puller})),
            "`spec.puller.serviceAccount.roles[0].identity.policies[0].expires`: unknown field `expires`"
        );
        assert_eq!(
            error(json!({"puller": {"serviceAccount": {}}, "namespaceSelector": {}})),
            "`spec.namespaceSelector`: unknown field `namespaceSelector`"
        );
        assert_eq!(
            error(json!({"puller": {"serviceAccount": {}}, "serviceAccounts": {"selector": {"matchLabel": {}}}})),
            "`spec.serviceAccounts.selector.matchLabel`: unknown field `matchLabel`"
        );
    }

    #[test]
    fn an_object_that_is_wrong_throughout_is_not_looked_at_to_its_end() {
        let items = vec![json!(7); 50_000];
        let object = object(json!({"puller": {"serviceAccount": {}}, "context": {"k".repeat(100_000): items}}));
        let found = validate(PolicyKind::EcrAccessPolicy, &object);
        assert_eq!(found.len(), MOST);
        assert!(found.iter().all(|error| error.path.len() < 2 * KEY_SHOWN), "{}", found[0].path);
    }

    #[test]
    fn the_other_errors_name_their_path_too() {
        assert_eq!(error(json!({})), "`spec.puller`: Required value");
        assert_eq!(error(json!({"puller": []})), "`spec.puller`: must be of type object, not array");
        assert_eq!(
            error(json!({"puller": {"role": {"arn": 7}}})),
            "`spec.puller.role.arn`: must be of type string, not number; quote it"
        );
        assert_eq!(
            error(json!({"puller": {"serviceAccount": {}}, "onDeny": "reject"})),
            "`spec.onDeny`: Unsupported value: \"reject\": supported values: \"Reject\", \"Warn\", \"Audit\""
        );
        assert_eq!(
            error(json!({"puller": {"serviceAccount": {}}, "context": {"aws:SourceVpc": "vpc-0abc"}})),
            "`spec.context[aws:SourceVpc]`: must be of type array, not string; write [value]"
        );
        let policy = |policy: Value| {
            error(json!({"puller": {"serviceAccount": {}}, "repositories": [{"match": "*", "policy": policy}]}))
        };
        let neither = format!("`spec.repositories[0].policy`: {SHAPE}");
        assert_eq!([json!("unknown"), json!(null), json!(["Unknown"])].map(policy), [&*neither; 3]);
        assert_eq!(
            [
                json!({}),
                json!({"document": {}, "configMapKeyRef": {"name": "a", "key": "b"}}),
                json!({"configMapKeyRef": {"name": "a"}}),
                json!({"configMapKeyRef": {"name": "a", "key": "b", "namespace": "c"}}),
                json!({"document": {}, "name": "x"}),
                json!({"document": 5})
            ]
            .map(policy),
            [
                "`spec.repositories[0].policy`: must have exactly one of document and configMapKeyRef",
                "`spec.repositories[0].policy`: must have exactly one of document and configMapKeyRef",
                "`spec.repositories[0].policy.configMapKeyRef.key`: Required value",
                &format!("`spec.repositories[0].policy.configMapKeyRef.namespace`: {}", rules::OWN_NAMESPACE.message),
                "`spec.repositories[0].policy.name`: unknown field `name`",
                "`spec.repositories[0].policy.document`: must be a mapping, or a string with JSON text, not number"
            ]
        );
        let entry = json!({"name": "a", "document": 5});
        assert_eq!(
            error(json!({"puller": {"serviceAccount": {"identity": {"policies": [entry]}}}})),
            "`spec.puller.serviceAccount.identity.policies[0].document`: \
             must be a mapping, or a string with JSON text, not number"
        );
        assert_eq!(
            decode(PolicyKind::EcrAccessPolicy, &json!([])).unwrap_err().to_string(),
            "``: must be an object, not array"
        );
    }

    #[test]
    fn every_schema_is_read() {
        for kind in PolicyKind::ALL {
            for schema in [schema::spec(kind), schema::document(), schema::config_map_key_ref(kind)] {
                serde_json::from_value::<Shape>(schema.to_value()).unwrap();
            }
        }
    }

    #[test]
    fn limits_of_length_are_no_reason_not_to_understand_an_object() {
        let names: Vec<String> = (0..1000).map(|i| format!("a{i}")).collect();
        let object = object(json!({"puller": {"serviceAccount": {}}, "serviceAccounts": {"names": names}}));
        assert!(decode(PolicyKind::EcrAccessPolicy, &object).is_ok());
        let found = validate(PolicyKind::EcrAccessPolicy, &object);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "`spec.serviceAccounts.names`: Too many: 1000: must have at most 256 items");
    }

    #[test]
    fn a_null_is_nothing_where_a_default_stands_by_and_an_error_elsewhere() {
        assert!(
            decode(PolicyKind::EcrAccessPolicy, &object(json!({"puller": {"serviceAccount": {}}, "onDeny": null})))
                .is_ok()
        );
        assert_eq!(
            error(json!({"puller": {"serviceAccount": {}}, "onUnknown": null})),
            "`spec.onUnknown`: must be of type string, not null"
        );
    }
}
