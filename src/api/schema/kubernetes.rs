//! From the schema of a Rust type to that of a CustomResourceDefinition: its shape, what every object has, how the two
//! kinds of policies differ, and conditions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::Resource;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::parts::{LABEL_LENGTH, Moment, NAME_LENGTH, merge};
use crate::api::rules;
use crate::api::status::MESSAGE_LENGTH;

/// The schema of a type as the API server takes it ("Extend the Kubernetes API with CustomResourceDefinitions",
/// Specifying a structural schema): every type written out where it is used, and nothing that may be null.
pub(super) fn structural<T: JsonSchema>() -> Schema {
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
fn words_in_one_list(schema: &mut Schema) {
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
fn first_paragraph(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        *text = paragraph.join(" ");
    }
}

/// As the typed schema has it. Every keyword is known to it: a test holds the two against each other.
pub(super) fn typed(schema: Schema) -> JSONSchemaProps {
    serde_json::from_value(schema.to_value()).unwrap_or_default()
}

/// The schema of a whole object, by the type of its kind.
pub(super) fn object<K: JsonSchema + Resource<DynamicType = ()>>() -> Schema {
    let mut schema = structural::<K>();
    let mut change = merge(json!({
        "properties": {
            "apiVersion": {
                "description": format!("Version of this API: `{}`.", K::api_version(&())),
                "type": "string",
                "maxLength": NAME_LENGTH,
            },
            "kind": {
                "description": format!("Kind of this object: `{}`.", K::kind(&())),
                "type": "string",
                "maxLength": LABEL_LENGTH,
            },
            // The API server knows it by itself and takes nothing here, not even a description.
            "metadata": {"description": null, "properties": null},
        },
        "required": ["apiVersion", "kind", "spec"],
    }));
    change.transform(&mut schema);
    schema
}

/// Turns the schema of a policy of the cluster, which is what the types say, at this path of an object into that of a policy
/// of one namespace.
pub(super) fn within_one_namespace(path: &str, schema: &mut Schema) {
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

/// One aspect of this policy's state.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "the shape of a type of k8s-openapi, never a value")]
pub(in crate::api) struct Condition {
    /// Which aspect. Example: `Ready`.
    #[schemars(rename = "type", length(max = 316))]
    type_: String,
    /// Whether it holds.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    status: String,
    /// A stable word for why. Example: `UnsupportedSpec`.
    #[schemars(length(max = 1024))]
    reason: String,
    /// The same for a person.
    #[schemars(length(max = MESSAGE_LENGTH))]
    message: String,
    /// metadata.generation of the spec that this condition is about.
    #[schemars(range(min = 0))]
    observed_generation: Option<i64>,
    /// When the condition last changed.
    last_transition_time: Moment,
}
