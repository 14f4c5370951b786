//! Label selectors as a manifest has them ("Labels and Selectors", Set-based requirements).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::{KEY_LENGTH, LABEL_LENGTH};
use super::rules;

/// A label selector, with limits.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Labels that all must be there with exactly this value. Example: `{team: payments}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, LabelValueRequired>>", extend("maxProperties" = 32))]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Requirements that all must hold, beside matchLabels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// One requirement on a label. Example: `{key: tier, operator: In, values: [web, api]}`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rules::OPERATOR_TAKES_VALUES]))]
pub struct LabelSelectorRequirement {
    /// The label's key. Example: `tier`.
    #[schemars(length(max = KEY_LENGTH), extend("x-kubernetes-validations" = [rules::QUALIFIED_NAME]))]
    pub key: String,
    /// `In` and `NotIn` compare with values (a label that is not there is NotIn), `Exists` and `DoesNotExist` ask for the key
    /// alone.
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    pub operator: String,
    /// Values for In and NotIn; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<Vec<LabelValue>>",
        length(max = 64),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Option<Vec<String>>,
}

/// The value that the label must have.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = LABEL_LENGTH, "x-kubernetes-validations" = [rules::LABEL_VALUE]))]
enum LabelValueRequired {}

/// A value of the label.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = LABEL_LENGTH, "x-kubernetes-validations" = [rules::LABEL_VALUE]))]
enum LabelValue {}
