//! The schema of a whole object, as the API server takes it: what every object has, and `spec` and `status` by their types.

use ecr_forecast::policy::parts::{LABEL_LENGTH, NAME_LENGTH, merge};
use ecr_forecast::policy::schema::{structural, within_one_namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::Resource;
use schemars::transform::Transform;
use schemars::{JsonSchema, Schema};
use serde_json::json;

use super::policies::EcrAccessPolicy;

/// The schema of the objects of a kind, by their type.
pub(super) fn of<K: JsonSchema + Resource<DynamicType = ()>>() -> JSONSchemaProps {
    typed(object::<K>())
}

/// The schema of an `EcrAccessPolicy`, which differs from the other kind of policy where the same types are used.
pub(super) fn of_one_namespace() -> JSONSchemaProps {
    typed(object_of_one_namespace())
}

pub(super) fn object_of_one_namespace() -> Schema {
    let mut schema = object::<EcrAccessPolicy>();
    within_one_namespace("", &mut schema);
    schema
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
