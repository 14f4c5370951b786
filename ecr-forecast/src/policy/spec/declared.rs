//! What is known of repositories, registries and the organization.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::parts::{Tags, UNKNOWN, merge, of_organization};
use super::super::rules;
use super::{ConfigMapKeyRef, PolicyEntry};

/// What is known of the repositories that a pattern matches.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryDeclaration {
    /// Pattern of repository ARNs, in which `*` stands for any text and `?` for one character; `*` alone is every
    /// repository. Example: `arn:aws:ecr:us-east-1:111122223333:repository/shared/*`.
    // A repository's name has at most 256 characters.
    #[serde(rename = "match")]
    #[schemars(length(max = 400), extend("x-kubernetes-validations" = [rules::REPOSITORY_PATTERN]))]
    pub pattern: String,
    /// The repository policy: `{document: …}` with a mapping or a string that holds its JSON text, `{configMapKeyRef: …}` as
    /// for the policies of a role, or the word `Unknown` where there may be one that nobody here can read. Left out: this
    /// entry says nothing of it, so that there is none. Example: `{document: {Version: "2012-10-17", Statement: [{Effect:
    /// Allow, Principal: "*", Action: "ecr:BatchGetImage"}]}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ResourcePolicy>,
    /// The repository's tags: the values of aws:ResourceTag/KEY and ecr:ResourceTag/KEY in conditions. Left out: not known.
    /// `{}`: there are none. Example: `{tier: gold}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Tags>")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether these repositories exist. `Missing`: a pull fails, unless a pull-through cache creates the repository. Left
    /// out: not known, and assumed wherever a pull-through cache does not make a difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
}

/// A resource-based policy: its document, where that stands, or the word `Unknown`.
///
/// A type of a schema cannot say it, so keywords do of which each looks at values of one type alone; of what is required
/// one thing has to be there, which any text has.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
#[schemars(
    with = "Value",
    extend(
        "x-kubernetes-preserve-unknown-fields" = true,
        "pattern" = format!("^{UNKNOWN}$"),
        "maxLength" = UNKNOWN.len(),
        "maxProperties" = 1,
        "anyOf" = [{"required": ["document"]}, {"required": ["configMapKeyRef"]}],
    )
)]
pub enum ResourcePolicy {
    /// There may be a policy, and nobody says what is in it.
    Unreadable(UnknownWord),
    /// This document.
    Document {
        /// The policy document: a mapping, or a string that holds the JSON text.
        document: Value,
    },
    /// The document in a ConfigMap.
    ConfigMap {
        /// Where it stands.
        #[serde(rename = "configMapKeyRef")]
        config_map_key_ref: ConfigMapKeyRef,
    },
}

/// The word `Unknown`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum UnknownWord {
    /// As it stands in a manifest.
    #[default]
    Unknown,
}

/// Whether a repository exists.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Presence {
    /// It exists.
    Present,
    /// It does not exist (yet).
    Missing,
}

/// The region of a registry where [`RegistryDeclaration::region`] is left out: every region.
pub const EVERY_REGION: &str = "*";

/// The registry of one account, in one region or in all of them.
///
/// What is known of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryDeclaration {
    /// The account that owns the registry: twelve digits in quotes, since YAML takes them for a number otherwise. Example:
    /// `"111122223333"`.
    #[schemars(length(max = 12), extend("x-kubernetes-validations" = [rules::ACCOUNT_ID]))]
    pub account_id: String,
    /// The region, or `*` (default) for every region of the account. Example: `us-east-1`.
    ///
    /// See [`RegistryDeclaration::region`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = [rules::REGION], "default" = EVERY_REGION))]
    pub region: Option<String>,
    /// The registry policy: `{document: …}` with a mapping or a string that holds its JSON text, `{configMapKeyRef: …}` as
    /// for the policies of a role, or the word `Unknown` where there may be one that nobody here can read. Left out: there
    /// is none. Example: `{document: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "ecr:*",
    /// Resource: "*"}]}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ResourcePolicy>,
    /// What the registry policy decides. `V2` (default): every request to ECR. `V1`, of registries that were never switched:
    /// replication, import from an upstream and creation of repositories alone. `aws ecr get-account-setting --name
    /// REGISTRY_POLICY_SCOPE` tells which.
    ///
    /// See [`RegistryDeclaration::policy_scope`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "V2"))]
    pub policy_scope: Option<PolicyScope>,
    /// The registry's pull-through cache rules. Below their prefixes a repository or image that is not there yet is fetched
    /// from upstream, which needs ecr:BatchImportUpstreamImage and, for a new repository, ecr:CreateRepository. Example:
    /// `[{prefix: docker-hub}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["prefix"])
    )]
    pub pull_through_cache: Option<Vec<PullThroughRule>>,
}

impl RegistryDeclaration {
    /// The region: `region`, or `*`.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(EVERY_REGION)
    }

    /// What the registry policy decides: `policyScope`, or [`PolicyScope::V2`].
    pub fn policy_scope(&self) -> PolicyScope {
        self.policy_scope.unwrap_or(PolicyScope::V2)
    }
}

/// What a registry policy decides ("Private registry permissions in Amazon ECR", registry policy scope).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum PolicyScope {
    /// Replication, import from an upstream and creation of repositories alone.
    V1,
    /// Every action of ECR.
    V2,
}

/// A pull-through cache rule.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PullThroughRule {
    /// What the names of the cached repositories begin with, up to a slash; `ROOT` for every repository that no other rule
    /// covers. Example: `docker-hub`.
    #[schemars(length(max = 30), extend("x-kubernetes-validations" = [rules::CACHE_PREFIX]))]
    pub prefix: String,
}

/// The organization policies over the accounts concerned.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    /// Service control policies over the account of the puller, root first. Every level must allow a request, so list
    /// FullAWSAccess where it is attached. Left out or `[]`: none apply, as in the management account. Example: `[{level:
    /// root, policies: [{name: FullAWSAccess, managedPolicyArn:
    /// "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"}]}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["level"]),
        transform = merge(json!({"items": {"properties": {"policies": {"minItems": 1}}}}))
    )]
    pub service_control_policies: Option<Vec<OrganizationLevel>>,
    /// Resource control policies over the account of the registry, root first. RCPFullAWSAccess, which is attached
    /// everywhere, may be left out. Left out or `[]`: none apply. Example: `[{level: root, policies: [{name: org-only,
    /// document: {Version: "2012-10-17", Statement: [{Effect: Deny, Principal: "*", Action: "ecr:*", Resource: "*"}]}}]}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["level"])
    )]
    pub resource_control_policies: Option<Vec<OrganizationLevel>>,
}

/// The root, an organizational unit or the account.
///
/// And the policies that are attached to it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationLevel {
    /// Names the level in messages. Unique in its list. Example: `root`, `ou-ab12-workloads`.
    #[schemars(length(max = 128), extend("x-kubernetes-validations" = [rules::PLAIN_NAME]))]
    pub level: String,
    /// The policies attached to this level itself, not those it inherits. No two of the same name.
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]),
        transform = of_organization
    )]
    pub policies: Vec<PolicyEntry>,
}
