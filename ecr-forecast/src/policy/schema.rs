//! The schema of `spec`, from its Rust type: the shape that a CustomResourceDefinition takes, and how the two kinds of
//! policies differ.
//!
//! The first paragraph of a doc comment is the description, attributes are the limits, and `parts` is what the attributes
//! name. Every list and string has a limit, since otherwise the API server estimates the cost of a CEL rule by the worst
//! object that fits into a request, and refuses the CRD ("Common Expression Language in Kubernetes", Resource constraints).

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::kind::PolicyKind;
use super::parts::{Document, merge};
use super::rules;
use super::spec::{ClusterEcrAccessPolicySpec, ConfigMapKeyRef, EcrAccessPolicySpec};

/// The schema of `spec` of a kind.
pub(crate) fn spec(kind: PolicyKind) -> Schema {
    match kind {
        PolicyKind::EcrAccessPolicy => {
            let mut schema = structural::<EcrAccessPolicySpec>();
            within_one_namespace(".spec", &mut schema);
            schema
        }
        PolicyKind::ClusterEcrAccessPolicy => structural::<ClusterEcrAccessPolicySpec>(),
    }
}

/// The schema of `document` inside of a resource-based policy, which the API server does not look into.
pub(super) fn document() -> Schema {
    structural::<Document>()
}

/// The schema of `configMapKeyRef` inside of a resource-based policy, which the API server does not look into.
pub(super) fn config_map_key_ref(kind: PolicyKind) -> Schema {
    let mut schema = structural::<ConfigMapKeyRef>();
    if kind.is_namespaced() {
        within_one_namespace(".configMapKeyRef", &mut schema);
    }
    schema
}

/// The schema of a type as the API server takes it ("Extend the Kubernetes API with CustomResourceDefinitions",
/// Specifying a structural schema): every type written out where it is used, and nothing that may be null.
pub fn structural<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().subschema_for::<T>();
    rewrite(&mut schema);
    schema
}

fn rewrite(schema: &mut Schema) {
    without_null(schema);
    words_in_one_list(schema);
    first_paragraph(schema);
    transform_subschemas(&mut rewrite, schema);
}

/// An `Option` is a field that may be left out, not one that may be null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(either)) = schema.get("anyOf")
        && let [Value::Object(given), null] = either.as_slice()
        && *null == json!({"type": "null"})
    {
        let given = given.clone();
        schema.remove("anyOf");
        for (keyword, value) in given {
            // What the field says comes before what its type says.
            schema.ensure_object().entry(keyword).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// The variants of an enum, each of which has a description in Rust, are one `enum`.
pub fn words_in_one_list(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.get("oneOf") else { return };
    let Some(words) = variants.iter().map(|variant| variant.get("const").cloned()).collect::<Option<Vec<Value>>>()
    else {
        return;
    };
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.ensure_object().entry("enum").or_insert(Value::Array(words));
}

/// The first paragraph of a doc comment is for users, in one line; what follows is for readers of the code.
pub fn first_paragraph(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        *text = paragraph.join(" ");
    }
}

/// Turns the schema of a policy of the cluster, which is what the types say, at this path of an object into that of a policy
/// of one namespace.
pub fn within_one_namespace(path: &str, schema: &mut Schema) {
    match path {
        ".spec.serviceAccounts" => merge(json!({
            "description": "The service accounts that this policy is for: those named and those selected, together. A pod \
                without `serviceAccountName` runs as `default`. Left out: every service account of the namespace, \
                `default` included. Example: `{names: [api, worker]}`.",
        }))
        .transform(schema),
        ".spec.exemptions[]" => merge(json!({
            "properties": {
                "namespaces": null,
                "serviceAccounts": {
                    "description": "The service accounts by name, of those that this policy selects. Left out: all of them. \
                        Labels are not asked for on purpose, since whoever may write a service account may label it. \
                        Example: `[legacy]`.",
                },
            },
            "x-kubernetes-validations": null,
        }))
        .transform(schema),
        // Its field `namespace` is there to be refused: pruned silently, it would mean another ConfigMap than its author thinks.
        _ if path.ends_with(".configMapKeyRef") => merge(json!({
            "description": "The policy document is the text of a key of a ConfigMap of this namespace that has the label \
                ecraccess.dev/policy-document: \"true\"; without the label it is not read. A change is in force within a \
                second. One that is missing or malformed leaves the verdict Unknown. Example: \
                `{name: iam-policies, key: app.json}`.",
            "properties": {
                "namespace": {
                    "description": "Refused here: the ConfigMap is looked up in the namespace of the policy.",
                },
            },
            "required": ["name", "key"],
            "x-kubernetes-validations": [rules::OWN_NAMESPACE],
        }))
        .transform(schema),
        _ => {}
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            if let Ok(property) = property.try_into() {
                within_one_namespace(&format!("{path}.{name}"), property);
            }
        }
    }
    if let Some(Ok(items)) = schema.get_mut("items").map(TryInto::try_into) {
        within_one_namespace(&format!("{path}[]"), items);
    }
}
