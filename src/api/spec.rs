//! The `spec` of both kinds, as Rust types.
//!
//! What a field means to a user stands in [`super::schema`]; here stands what code needs to know. A field that is left
//! out is `None` and keeps that meaning: defaults are applied by the accessors, so that "not said" stays visible.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::status::PolicyStatus;

/// Names who pulls for the service accounts of one namespace, and which IAM policies that principal has.
///
/// The derived kind is [`EcrAccessPolicy`]. Its CRD is in [`super::crds`], not in the derive, which cannot limit every
/// list and string.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "ecraccess.dev",
    version = "v1alpha1",
    kind = "EcrAccessPolicy",
    plural = "ecraccesspolicies",
    singular = "ecraccesspolicy",
    shortname = "eap",
    namespaced,
    status = "PolicyStatus",
    schema = "disabled",
    derive = "PartialEq",
    doc = "Names who pulls for the service accounts of one namespace, and which IAM policies that principal has."
)]
#[serde(rename_all = "camelCase")]
pub struct EcrAccessPolicySpec {
    /// Which service accounts are meant; `None` means every one of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccountSelection>,
    /// Who pulls: exactly one of its fields is set.
    pub puller: Puller,
    /// What is known of repositories, by pattern of their ARN; the first entry that matches counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<RepositoryDeclaration>>,
    /// What is known of registries; no two entries have the same account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registries: Option<Vec<RegistryDeclaration>>,
    /// The organization policies in force; `None` means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Organization>,
    /// Values of condition keys that admission cannot know. An empty list: the key is not in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<BTreeMap<String, Vec<String>>>,
    /// Images that are admitted for a while although they cannot be pulled; no two have the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemptions: Option<Vec<Exemption>>,
    /// What a verdict Deny does at admission; see [`EcrAccessPolicySpec::on_deny`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_deny: Option<Action>,
    /// What a verdict Unknown does at admission; see [`EcrAccessPolicySpec::on_unknown`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<Action>,
}

impl EcrAccessPolicySpec {
    /// What a verdict Deny does at admission: `onDeny`, or [`Action::Reject`] where it is left out.
    pub fn on_deny(&self) -> Action {
        self.on_deny.unwrap_or(Action::Reject)
    }

    /// What a verdict Unknown does at admission: `onUnknown`, or [`Action::Warn`] where it is left out, and never more
    /// than [`EcrAccessPolicySpec::on_deny`].
    ///
    /// `onDeny: Audit` alone therefore audits everything: who wants to try a policy silently writes one line.
    pub fn on_unknown(&self) -> Action {
        self.on_unknown.unwrap_or(Action::Warn).min(self.on_deny())
    }
}

/// The spec of the cluster-wide kind: the same fields plus the namespaces that it covers.
///
/// The derived kind is [`ClusterEcrAccessPolicy`].
#[derive(Clone, CustomResource, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "ecraccess.dev",
    version = "v1alpha1",
    kind = "ClusterEcrAccessPolicy",
    plural = "clusterecraccesspolicies",
    singular = "clusterecraccesspolicy",
    shortname = "ceap",
    status = "PolicyStatus",
    schema = "disabled",
    derive = "PartialEq",
    doc = "Names who pulls for the service accounts of many namespaces, and which IAM policies that principal has."
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEcrAccessPolicySpec {
    /// The fields that both kinds have.
    #[serde(flatten)]
    pub policy: EcrAccessPolicySpec,
    /// The namespaces that are covered; `None` means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Which service accounts a policy is for: the union of both fields, at least one of which is set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSelection {
    /// By name; at least one when given. A name outranks a selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// By the service account's own labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Who pulls, that is the IAM principal which Amazon ECR sees: exactly one field is set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Puller {
    /// The kubelets are configured to pull with service-account tokens (KEP-4412).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountPuller>,
    /// One role pulls, whatever the service account says: a Fargate pod execution role, or a mapping kept by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RolePuller>,
    /// The node pulls, and which one is not known at admission: each of these roles is a candidate. At least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<RolePuller>>,
}

/// The annotation that names a service account's role where [`ServiceAccountPuller::role_annotation`] is left out.
pub const DEFAULT_ROLE_ANNOTATION: &str = "eks.amazonaws.com/ecr-role-arn";

/// The role is found by the service account: its annotation, else the default role.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountPuller {
    /// Key of the annotation with the role ARN; see [`ServiceAccountPuller::role_annotation`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_annotation: Option<String>,
    /// The IAM policies of every role here that has none of its own in `roles`, and of an account without any role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// IAM policies per role, by its ARN, where accounts map to different roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<MappedRole>>,
    /// The role that pulls for a service account without the annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_role_arn: Option<String>,
    /// The roles of the nodes that pull for a service account without any role; no two have the same ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_nodes: Option<Vec<RolePuller>>,
}

impl ServiceAccountPuller {
    /// Key of the annotation with the role ARN: `roleAnnotation`, or [`DEFAULT_ROLE_ANNOTATION`].
    pub fn role_annotation(&self) -> &str {
        self.role_annotation.as_deref().unwrap_or(DEFAULT_ROLE_ANNOTATION)
    }
}

/// A role with IAM policies of its own, one entry of `puller.serviceAccount.roles`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MappedRole {
    /// The role's ARN; no two entries have the same.
    pub arn: String,
    /// The role's IAM policies; `None`: those of the service account's `identity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// A role that pulls whatever the service account says: `puller.role`, or the role of some nodes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolePuller {
    /// The role's ARN.
    pub arn: String,
    /// The role's IAM policies; `None`: not known, so every verdict is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// The identity side of a principal: its identity-based policies, what bounds them, and its tags.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// All of them; at least one, no two of the same name.
    pub policies: Vec<PolicyEntry>,
    /// The permissions boundary; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<PermissionsBoundary>,
    /// The principal's tags. `None`: not known; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A permissions boundary: exactly one of the fields is set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionsBoundary {
    /// The policy document: a mapping, or a string that holds the JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<serde_json::Value>,
    /// The ARN of an AWS managed policy, one of those built into this binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_policy_arn: Option<String>,
    /// Where the document stands in a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// One IAM policy of an identity or of a level of the organization: exactly one of `document`, `managed_policy_arn` and
/// `config_map_key_ref` is set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyEntry {
    /// Names the entry in messages; unique within its list.
    pub name: String,
    /// The policy document: a mapping, or a string that holds the JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<serde_json::Value>,
    /// The ARN of an AWS managed policy, one of those built into this binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_policy_arn: Option<String>,
    /// Where the document stands in a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// The label without which a ConfigMap is not read, and its value: one watch by label sees these and no others.
pub const POLICY_DOCUMENT_LABEL: (&str, &str) = ("ecraccess.dev/policy-document", "true");

/// A key of a ConfigMap that carries [`POLICY_DOCUMENT_LABEL`]; its text is a policy document.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's namespace: given in the cluster kind, and only there. The namespaced kind looks into its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The ConfigMap's name.
    pub name: String,
    /// The key below `data`.
    pub key: String,
}

/// What is known of the repositories that a pattern matches.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryDeclaration {
    /// A repository ARN in which `*` and `?` are wildcards, or `*` alone.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The repository policy; `None`: the entry says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ResourcePolicy>,
    /// The repository's tags. `None`: not known; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether the repository exists; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
}

/// A resource-based policy: its document, where that stands, or the word `Unknown`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ResourcePolicy {
    /// There may be a policy, and nobody says what is in it.
    Unreadable(UnknownWord),
    /// This document.
    Document {
        /// The policy document: a mapping, or a string that holds the JSON text.
        document: serde_json::Value,
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Presence {
    /// It exists.
    Present,
    /// It does not exist (yet).
    Missing,
}

/// The region of a registry where [`RegistryDeclaration::region`] is left out: every region.
pub const EVERY_REGION: &str = "*";

/// What is known of the registry of one account, in one region or in all of them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryDeclaration {
    /// The account that owns the registry: twelve digits.
    pub account_id: String,
    /// The region; see [`RegistryDeclaration::region`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The registry policy; `None`: the entry says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ResourcePolicy>,
    /// What the registry policy decides; see [`RegistryDeclaration::policy_scope`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_scope: Option<PolicyScope>,
    /// The pull-through cache rules; no two have the same prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_through_cache: Option<Vec<PullThroughRule>>,
}

impl RegistryDeclaration {
    /// The region: `region`, or [`EVERY_REGION`].
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(EVERY_REGION)
    }

    /// What the registry policy decides: `policyScope`, or [`PolicyScope::V2`].
    pub fn policy_scope(&self) -> PolicyScope {
        self.policy_scope.unwrap_or(PolicyScope::V2)
    }
}

/// What a registry policy decides ("Private registry permissions in Amazon ECR", registry policy scope).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum PolicyScope {
    /// Replication, import from an upstream and creation of repositories alone.
    V1,
    /// Every action of ECR.
    V2,
}

/// A pull-through cache rule.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PullThroughRule {
    /// What the names of the cached repositories begin with, without the slash; `ROOT`: every other repository.
    pub prefix: String,
}

/// Lets pods in for a while although an image of theirs cannot be pulled, or may not be.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exemption {
    /// Names the exemption in messages; unique within its policy.
    pub name: String,
    /// The namespaces that it is for, in the cluster kind alone; `None`: all that the policy covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// The service accounts that it is for, by name; `None`: all that the policy selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Vec<String>>,
    /// The images that it is for: references in which `*` is a wildcard. At least one.
    pub images: Vec<String>,
    /// Why, for whoever reads the warning.
    pub reason: String,
    /// The moment from which on it is gone, as RFC 3339 has it.
    pub expires_at: String,
}

/// The organization policies over the accounts concerned.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    /// Service control policies over the puller's account, root first; `None` and empty: none apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_control_policies: Option<Vec<OrganizationLevel>>,
    /// Resource control policies over the registry's account, root first; `None` and empty: none apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_control_policies: Option<Vec<OrganizationLevel>>,
}

/// The policies attached to the root, to an organizational unit or to the account.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationLevel {
    /// Names the level in messages; unique within its list.
    pub level: String,
    /// The policies attached there, no two of the same name.
    pub policies: Vec<PolicyEntry>,
}

/// What a verdict does at admission, from the mildest to the strictest: `Audit < Warn < Reject`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Action {
    /// The pod is admitted without a word to its author; status and metrics count it.
    Audit,
    /// The pod is admitted, its author sees a warning.
    Warn,
    /// The pod is refused.
    Reject,
}

impl Action {
    /// The word as it stands in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Audit => "Audit",
            Action::Warn => "Warn",
            Action::Reject => "Reject",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Action {
    type Err = UnknownActionError;

    fn from_str(word: &str) -> Result<Action, UnknownActionError> {
        match word {
            "Audit" => Ok(Action::Audit),
            "Warn" => Ok(Action::Warn),
            "Reject" => Ok(Action::Reject),
            _ => Err(UnknownActionError(word.to_owned())),
        }
    }
}

/// A word that is no [`Action`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is none of Audit, Warn, Reject")]
pub struct UnknownActionError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_ordered_from_mild_to_strict() {
        assert!(Action::Audit < Action::Warn && Action::Warn < Action::Reject);
    }

    #[test]
    fn every_action_parses_from_what_it_prints() {
        for action in [Action::Audit, Action::Warn, Action::Reject] {
            assert_eq!(action.to_string().parse(), Ok(action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        assert_eq!("reject".parse::<Action>().unwrap_err().to_string(), "`reject` is none of Audit, Warn, Reject");
    }

    #[test]
    fn an_action_left_out_has_its_default_and_unknown_never_does_more_than_deny() {
        let effective = |on_deny, on_unknown| {
            let spec = EcrAccessPolicySpec { on_deny, on_unknown, ..EcrAccessPolicySpec::default() };
            (spec.on_deny(), spec.on_unknown())
        };
        assert_eq!(effective(None, None), (Action::Reject, Action::Warn));
        assert_eq!(effective(Some(Action::Audit), None), (Action::Audit, Action::Audit));
        assert_eq!(effective(Some(Action::Warn), None), (Action::Warn, Action::Warn));
        assert_eq!(effective(None, Some(Action::Reject)), (Action::Reject, Action::Reject));
        assert_eq!(effective(Some(Action::Warn), Some(Action::Reject)), (Action::Warn, Action::Warn));
    }
}
