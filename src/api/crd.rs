//! The CustomResourceDefinitions, from the table of kinds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::kinds::{Column, KINDS, Kind};
use super::names::{GROUP, VERSION};

/// The CRD of every kind, the namespaced policy first. The same value on every call.
pub fn crds() -> Vec<CustomResourceDefinition> {
    KINDS.iter().map(crd).collect()
}

fn crd(kind: &Kind) -> CustomResourceDefinition {
    CustomResourceDefinition {
        metadata: ObjectMeta { name: Some(format!("{}.{GROUP}", kind.plural)), ..ObjectMeta::default() },
        spec: CustomResourceDefinitionSpec {
            group: GROUP.to_owned(),
            scope: if kind.namespaced { "Namespaced" } else { "Cluster" }.to_owned(),
            names: CustomResourceDefinitionNames {
                categories: Some(vec!["ecraccess".to_owned()]),
                kind: kind.name.to_owned(),
                list_kind: Some(format!("{}List", kind.name)),
                plural: kind.plural.to_owned(),
                short_names: Some(vec![kind.short_name.to_owned()]),
                singular: Some(kind.name.to_lowercase()),
            },
            versions: vec![CustomResourceDefinitionVersion {
                name: VERSION.to_owned(),
                served: true,
                storage: true,
                schema: Some(CustomResourceValidation { open_api_v3_schema: Some((kind.schema)()) }),
                subresources: Some(CustomResourceSubresources {
                    status: Some(CustomResourceSubresourceStatus(serde_json::json!({}))),
                    scale: None,
                }),
                additional_printer_columns: Some(kind.columns.iter().map(column).collect()),
                ..CustomResourceDefinitionVersion::default()
            }],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn column(column: &Column) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: column.name.to_owned(),
        type_: column.type_.to_owned(),
        json_path: column.path.to_owned(),
        priority: column.wide.then_some(1),
        description: Some(column.about.to_owned()),
        format: None,
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResource;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    use super::super::policies::ClusterEcrAccessPolicy;
    use super::super::schema::{object, object_of_one_namespace, of, typed};
    use super::*;
    use ecr_forecast::policy::schema::structural;
    use ecr_forecast::policy::{Action, EcrAccessPolicySpec, parts, rules};

    /// A keyword that the typed schema does not know, such as one with a spelling mistake, is lost without a word.
    #[test]
    fn no_keyword_is_lost_on_the_way_to_the_typed_schema() {
        fn same(path: &str, derived: &Value, typed: &Value) {
            match (derived, typed) {
                (Value::Object(derived), Value::Object(typed)) => {
                    assert!(derived.keys().eq(typed.keys()), "{path}: {:?} {:?}", derived.keys(), typed.keys());
                    for (name, value) in derived {
                        same(&format!("{path}.{name}"), value, &typed[name]);
                    }
                }
                (Value::Array(derived), Value::Array(typed)) => {
                    assert_eq!(derived.len(), typed.len(), "{path}");
                    for (derived, typed) in derived.iter().zip(typed) {
                        same(&format!("{path}[]"), derived, typed);
                    }
                }
                (Value::Number(_), Value::Number(_)) => assert_eq!(derived.as_f64(), typed.as_f64(), "{path}"),
                _ => assert_eq!(derived, typed, "{path}"),
            }
        }
        for derived in [object_of_one_namespace(), object::<ClusterEcrAccessPolicy>()] {
            same("", &derived.clone().to_value(), &json!(typed(derived)));
        }
    }

    /// The order of words is the schema's own, with the default first; which there are is the type's affair.
    #[test]
    fn the_words_of_an_action_are_those_of_the_type() {
        let words = |schema: &Value| {
            let mut words: Vec<String> = serde_json::from_value(schema["enum"].clone()).unwrap();
            words.sort();
            words
        };
        let expected = words(&structural::<Action>().to_value());
        assert_eq!(expected.len(), 3);
        let spec = structural::<EcrAccessPolicySpec>().to_value();
        for field in ["onDeny", "onUnknown"] {
            assert_eq!(words(&spec["properties"][field]), expected, "{field}");
        }
    }

    /// A colour, of which something is declared.
    ///
    /// A kind takes a type like this, and a row.
    #[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, Serialize)]
    #[kube(
        group = "ecraccess.dev",
        version = "v1alpha1",
        kind = "Shade",
        schema = "disabled",
        derive = "JsonSchema",
        doc = "Shade is a kind of this test."
    )]
    #[serde(rename_all = "camelCase")]
    struct ShadeSpec {
        /// The role that
        /// mixes it.
        #[schemars(with = "parts::RoleArn")]
        mixed_by: String,
        /// Those that it goes with.
        ///
        /// For readers of the code.
        #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
        goes_with: Option<Vec<Tone>>,
    }

    /// How it looks.
    #[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
    enum Tone {
        /// As snow.
        Light,
        /// As night.
        Dark,
    }

    #[test]
    fn a_kind_is_a_type_and_a_row() {
        let row = Kind {
            name: "Shade",
            plural: "shades",
            short_name: "es",
            namespaced: false,
            columns: &[],
            schema: of::<Shade>,
        };
        let crd = json!(crd(&row));
        assert_eq!(
            (&crd["metadata"]["name"], &crd["spec"]["scope"]),
            (&json!("shades.ecraccess.dev"), &json!("Cluster"))
        );
        assert_eq!(
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
            json!({
                "description": "Shade is a kind of this test.",
                "type": "object",
                "required": ["apiVersion", "kind", "spec"],
                "properties": {
                    "apiVersion": {"description": "Version of this API: `ecraccess.dev/v1alpha1`.", "type": "string", "maxLength": 253},
                    "kind": {"description": "Kind of this object: `Shade`.", "type": "string", "maxLength": 63},
                    "metadata": {"type": "object"},
                    "spec": {
                        "description": "A colour, of which something is declared.",
                        "type": "object",
                        "required": ["mixedBy"],
                        "properties": {
                            "mixedBy": {
                                "description": "The role that mixes it.",
                                "type": "string",
                                "maxLength": 700,
                                "x-kubernetes-validations": [{"rule": rules::ROLE_ARN.cel, "message": rules::ROLE_ARN.message}],
                            },
                            "goesWith": {
                                "description": "Those that it goes with.",
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 3,
                                "items": {"description": "How it looks.", "type": "string", "enum": ["Light", "Dark"]},
                                "x-kubernetes-list-type": "set",
                            },
                        },
                    },
                },
            })
        );
    }
}
