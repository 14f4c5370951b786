//! What the attributes of the types name: values that are a plain text, list or map in Rust and more than that in the
//! schema, the types of Kubernetes with limits, and what an attribute cannot say by itself.
//!
//! The types here are shapes, never values: `#[schemars(with = "…")]` of a field names them.

use std::collections::BTreeMap;

use schemars::transform::Transform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::rules;

/// In place of a resource-based policy: nobody says what is in it.
pub(crate) const UNKNOWN: &str = "Unknown";
/// Longest ARN of a role or managed policy: 512 characters of path, 128 of name, and what stands before.
const ARN_LENGTH: u64 = 700;
/// Longest name that is a DNS subdomain.
pub const NAME_LENGTH: u64 = 253;
/// Longest label or annotation key: a DNS subdomain, a slash, 63 characters.
pub(crate) const KEY_LENGTH: u64 = 317;
/// Longest label value, and longest name that is a DNS label.
pub const LABEL_LENGTH: u64 = 63;
/// Most tags of a role or repository ("IAM and AWS STS quotas", "Amazon ECR service quotas").
const MOST_TAGS: u64 = 50;
/// Longest document as text, in characters. IAM takes 10,240 characters without white space, a repository policy may have 20,480.
pub(crate) const DOCUMENT_LENGTH: i64 = 65_536;
/// Most elements of a document. The grammar knows three.
const DOCUMENT_ELEMENTS: u64 = 8;

/// The ARN of a role.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = ARN_LENGTH, "x-kubernetes-validations" = [rules::ROLE_ARN]))]
pub enum RoleArn {}

/// ARN of an AWS managed policy whose document is built in; the partition does not matter. One that is not built in leaves
/// the verdict Unknown: give its `document`. Example: `arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly`.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = ARN_LENGTH, "x-kubernetes-validations" = [rules::MANAGED_POLICY_ARN]))]
pub(crate) enum ManagedPolicyArn {}

/// ARN of a policy whose document is built in: FullAWSAccess or RCPFullAWSAccess of AWS Organizations, or an AWS managed
/// policy of IAM. One that is not built in leaves the verdict Unknown: give its `document`. Example:
/// `arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess`.
#[derive(JsonSchema)]
#[schemars(
    with = "String",
    extend("maxLength" = ARN_LENGTH, "x-kubernetes-validations" = [rules::ORGANIZATION_POLICY_ARN])
)]
enum OrganizationPolicyArn {}

/// The policy document: a mapping, or a string that holds its JSON text. The API server sorts the keys of a mapping and
/// drops duplicate ones; a string keeps every byte, so the checks of an exact text apply to it. Example:
/// `{Version: "2012-10-17", Statement: [{Effect: Allow, Action: "ecr:*", Resource: "*"}]}`.
///
/// It has no type: a structural schema cannot say "object or string". The operator's webhook checks the document itself.
#[derive(JsonSchema)]
#[schemars(
    with = "Value",
    extend(
        "x-kubernetes-preserve-unknown-fields" = true,
        "maxLength" = DOCUMENT_LENGTH,
        "maxProperties" = DOCUMENT_ELEMENTS,
    )
)]
pub enum Document {}

/// Labels of nodes, each with its value.
#[derive(JsonSchema)]
#[schemars(
    with = "BTreeMap<String, LabelValue>",
    extend("maxProperties" = 32)
)]
pub(crate) enum NodeLabels {}

/// The label's value; may be empty.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = LABEL_LENGTH, "x-kubernetes-validations" = [rules::LABEL_VALUE]))]
enum LabelValue {}

/// Tags of a role or repository ("Tags for AWS Identity and Access Management resources", Rules for tagging).
#[derive(JsonSchema)]
#[schemars(
    with = "BTreeMap<String, TagValue>",
    extend("maxProperties" = MOST_TAGS, "x-kubernetes-validations" = [rules::TAG_KEYS])
)]
pub(crate) enum Tags {}

/// The tag's value; may be empty.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = 256))]
enum TagValue {}

/// The values that the key may have.
#[derive(JsonSchema)]
#[schemars(with = "Vec<ContextValue>", extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
pub enum ContextValues {}

/// A value, as a policy document would have it.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = 1024))]
enum ContextValue {}

/// Name of a service account, without its namespace.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = NAME_LENGTH, "x-kubernetes-validations" = [rules::SERVICE_ACCOUNT_NAME]))]
pub(crate) enum ServiceAccountName {}

/// Name of a namespace.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = LABEL_LENGTH, "x-kubernetes-validations" = [rules::NAMESPACE_NAME]))]
pub(crate) enum NamespaceName {}

/// A pattern of image references.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("maxLength" = 512, "x-kubernetes-validations" = [rules::IMAGE_PATTERN]))]
pub enum ImagePattern {}

/// A date and a time, as RFC 3339 has them.
#[derive(JsonSchema)]
#[schemars(with = "String", extend("format" = "date-time", "maxLength" = 64))]
pub enum Moment {}

/// A policy has one source. CEL cannot see a property without a type, so this is said in the schema's own words.
pub(crate) fn one_source(schema: &mut Schema) {
    let each = ["document", "managedPolicyArn", "configMapKeyRef"].map(|source| json!({"required": [source]}));
    schema.insert("oneOf".to_owned(), json!(each));
}

/// A list of policies that are attached to a level of an organization, of which names and ARNs are others than IAM's.
pub(crate) fn of_organization(policies: &mut Schema) {
    let arn = OrganizationPolicyArn::json_schema(&mut SchemaGenerator::default());
    let mut change = merge(json!({"items": {"properties": {
        "name": {"x-kubernetes-validations": [rules::PLAIN_NAME]},
        "managedPolicyArn": arn,
    }}}));
    change.transform(policies);
}

/// A role that pulls, and is none of nodes.
pub(crate) fn fixed_role(role: &mut Schema) {
    let mut change = merge(json!({"properties": {
        "arn": {"description": "The role's ARN. Example: `arn:aws:iam::111122223333:role/fargate-pull`."},
        "identity": {
            "description": "The role's IAM policies. Left out: not known, so that every verdict is Unknown.",
        },
        "labels": null,
    }}));
    change.transform(role);
}

/// Changes a schema as a JSON merge patch does (RFC 7396): objects are merged, null removes, everything else replaces.
pub fn merge(change: Value) -> impl Transform {
    move |schema: &mut Schema| merge_into(schema.ensure_object(), &change)
}

fn merge_into(fields: &mut Map<String, Value>, change: &Value) {
    for (name, change) in change.as_object().into_iter().flatten() {
        match (fields.get_mut(name), change) {
            (_, Value::Null) => {
                fields.remove(name);
            }
            (Some(Value::Object(inner)), Value::Object(_)) => merge_into(inner, change),
            _ => {
                fields.insert(name.clone(), change.clone());
            }
        }
    }
}
