//! Who pulls: `spec.puller`, and the IAM policies that a principal has.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::parts::{
    Document, KEY_LENGTH, ManagedPolicyArn, NAME_LENGTH, NamespaceName, NodeLabels, RoleArn, Tags, fixed_role,
    one_source,
};
use super::super::rules;

/// Who pulls, that is the IAM principal which Amazon ECR sees: exactly one field is set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rules::ONE_PULLER]))]
pub struct Puller {
    /// The role of the service account pulls: the one in its annotation, else `defaultRoleArn`, else those of
    /// `fallbackNodes`. For kubelets whose ECR credential provider is configured with service account tokens
    /// (`tokenAttributes`, KEP-4412). `{}` is enough where every default fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountPuller>,
    /// One role pulls, whatever the service account says: a Fargate pod execution role, or a mapping that is kept by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = fixed_role)]
    pub role: Option<RolePuller>,
    /// The role of the node pulls. Which node a pod will run on is not known when it is created, so every role listed is a
    /// candidate whose `labels` do not keep the pod away: a pod that can pull by all of them is allowed, by none denied, by
    /// some Unknown. List the roles of all node groups that these pods can run on. Example:
    /// `[{arn: "arn:aws:iam::111122223333:role/node", identity: {policies:
    /// [{name: pull, managedPolicyArn: "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}]}}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["arn"])
    )]
    pub nodes: Option<Vec<RolePuller>>,
}

/// The annotation that names a service account's role where [`ServiceAccountPuller::role_annotation`] is left out.
pub const DEFAULT_ROLE_ANNOTATION: &str = "eks.amazonaws.com/ecr-role-arn";

/// The role is found by the service account: its annotation, else the default role.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountPuller {
    /// Key of the annotation on the service account that holds the ARN of its role. Default:
    /// `eks.amazonaws.com/ecr-role-arn`, which the ECR credential provider reads.
    ///
    /// See [`ServiceAccountPuller::role_annotation`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = KEY_LENGTH), extend("x-kubernetes-validations" = [rules::QUALIFIED_NAME]))]
    pub role_annotation: Option<String>,
    /// The IAM policies of the role of these service accounts: of every role that has none of its own under `roles`. It
    /// makes no role: for a service account that has none, by annotation or `defaultRoleArn`, the node pulls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// IAM policies per role, where service accounts map to different roles. No two entries have the same ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["arn"])
    )]
    pub roles: Option<Vec<MappedRole>>,
    /// The role that pulls for a service account without the annotation: what the environment variable AWS_ECR_ROLE_ARN of
    /// the credential provider says. Left out: then `fallbackNodes` pull. Example:
    /// `arn:aws:iam::111122223333:role/default-pull`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<RoleArn>")]
    pub default_role_arn: Option<String>,
    /// The roles of the nodes: who pulls for a service account that has no role by annotation or `defaultRoleArn`, or whose
    /// annotation is empty, from version 1.35 of the credential provider on. Every role listed is a candidate, as in
    /// `puller.nodes`. Left out: not known, so that the verdict is Unknown. Example:
    /// `[{arn: "arn:aws:iam::111122223333:role/node"}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["arn"])
    )]
    pub fallback_nodes: Option<Vec<RolePuller>>,
    /// Whether the node pulls for a service account without a role. Default: true, as version 1.35 of the credential
    /// provider does. `false`, for versions before it: then nobody does, and the pull is anonymous and fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub falls_back_to_node: Option<bool>,
}

impl ServiceAccountPuller {
    /// Key of the annotation with the role ARN: `roleAnnotation`, or `eks.amazonaws.com/ecr-role-arn`.
    pub fn role_annotation(&self) -> &str {
        self.role_annotation.as_deref().unwrap_or(DEFAULT_ROLE_ANNOTATION)
    }
}

/// A role and its IAM policies.
///
/// One entry of `puller.serviceAccount.roles`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MappedRole {
    /// The role's ARN, as the annotation has it. Example: `arn:aws:iam::111122223333:role/app`.
    #[schemars(with = "RoleArn")]
    pub arn: String,
    /// The role's IAM policies. Left out: those of `serviceAccount.identity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// The role of some nodes and its IAM policies.
///
/// Or `puller.role`: a role that pulls whatever the service account says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolePuller {
    /// ARN of the node's role, not of its instance profile. Example: `arn:aws:iam::111122223333:role/node`.
    #[schemars(with = "RoleArn")]
    pub arn: String,
    /// The role's IAM policies. Left out: not known, so that its verdict is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Labels that all nodes of the role have, those there and those still to come. A pod whose `nodeName` (against
    /// `kubernetes.io/hostname`), `nodeSelector` or required node affinity asks for another value of one of them is not pulled
    /// for by this role; a label that is left out excludes no pod. Example: `{eks.amazonaws.com/nodegroup: gpu}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NodeLabels>")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The identity side of a principal: its identity-based policies, what bounds them, and its tags.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Every identity-based policy, inline and attached, since what is not listed is not granted. At least one, no two of
    /// the same name.
    #[schemars(
        length(min = 1, max = 30),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub policies: Vec<PolicyEntry>,
    /// The permissions boundary: the role can do at most what it allows. Exactly one of `document`, `managedPolicyArn` and
    /// `configMapKeyRef`. Left out: there is none. Example: `{managedPolicyArn: "arn:aws:iam::aws:policy/PowerUserAccess"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<DocumentSource>,
    /// The role's tags: the values of aws:PrincipalTag/KEY in conditions. Left out: not known. `{}`: there are none.
    /// Example: `{team: payments}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Tags>")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// What gives the text of a policy: exactly one of the fields is set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = one_source)]
pub struct DocumentSource {
    /// The policy document: a mapping, or a string that holds the JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Document>", description = "")]
    pub document: Option<serde_json::Value>,
    /// The ARN of an AWS managed policy, one of those built into this binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ManagedPolicyArn>", description = "")]
    pub managed_policy_arn: Option<String>,
    /// Where the document stands in a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(description = "")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// One policy: a name, and exactly one of `document`, `managedPolicyArn` and `configMapKeyRef`.
///
/// It is one of an identity, or of a level of the organization.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = one_source)]
pub struct PolicyEntry {
    /// Names the policy in messages; the name it has in AWS is best. Unique in its list. Example: `app-pull`.
    #[schemars(length(max = 128), extend("x-kubernetes-validations" = [rules::POLICY_NAME]))]
    pub name: String,
    /// What gives its text.
    #[serde(flatten)]
    pub source: DocumentSource,
}

/// The label without which a ConfigMap is not read, and its value: one watch by label sees these and no others.
pub const POLICY_DOCUMENT_LABEL: (&str, &str) = ("ecraccess.dev/policy-document", "true");

/// The policy document is the text of a key of a ConfigMap that has the label ecraccess.dev/policy-document: "true"; without
/// the label it is not read. A change is in force within a second. One that is missing or malformed leaves the verdict
/// Unknown. Example: `{namespace: platform, name: iam-policies, key: app.json}`.
///
/// The label is [`POLICY_DOCUMENT_LABEL`].
// As in the cluster kind, where `namespace` is required; what the other kind says instead is in `policy::schema`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "key", "namespace"]))]
pub struct ConfigMapKeyRef {
    /// Namespace of the ConfigMap. Example: `platform`.
    ///
    /// Given in the cluster kind, and only there. The namespaced kind looks into its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NamespaceName>")]
    pub namespace: Option<String>,
    /// Name of the ConfigMap. Example: `iam-policies`.
    #[schemars(length(max = NAME_LENGTH), extend("x-kubernetes-validations" = [rules::CONFIG_MAP_NAME]))]
    pub name: String,
    /// Key below `data` whose value is the JSON text of the document. Example: `app.json`.
    #[schemars(length(max = NAME_LENGTH), extend("x-kubernetes-validations" = [rules::CONFIG_MAP_KEY]))]
    pub key: String,
}
