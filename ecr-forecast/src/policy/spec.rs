//! The `spec` of both kinds, as Rust types.
//!
//! The first paragraph of a field's comment is what `kubectl explain` tells a user; what follows it is for readers of the
//! code. A field that is left out is `None` and keeps that meaning: defaults are applied by the accessors, so that "not
//! said" stays visible.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::label_selector::LabelSelector;
use super::parts::{ContextValues, ImagePattern, LABEL_LENGTH, Moment, NamespaceName, ServiceAccountName};
use super::rules;

mod declared;
mod puller;

pub use declared::{
    EVERY_REGION, Organization, OrganizationLevel, PolicyScope, Presence, PullThroughRule, RegistryDeclaration,
    RepositoryDeclaration, ResourcePolicy, UnknownWord,
};
pub use puller::{
    ConfigMapKeyRef, DEFAULT_ROLE_ANNOTATION, DocumentSource, Identity, MappedRole, POLICY_DOCUMENT_LABEL, PolicyEntry,
    Puller, RolePuller, ServiceAccountPuller,
};

/// At most so many exemptions a policy has.
pub const MAX_EXEMPTIONS: usize = 32;

/// Who pulls, for which service accounts, and what a verdict does to a pod.
///
/// `spec` of the kind `EcrAccessPolicy`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rules::UNKNOWN_AT_MOST_DENY]))]
pub struct EcrAccessPolicySpec {
    /// The service accounts that this policy is for: those named and those selected, together. A pod without
    /// `serviceAccountName` runs as `default`. Left out: every service account of the namespaces covered, `default`
    /// included. Example: `{names: [api, worker]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccountSelection>,
    /// Who pulls: the IAM principal that Amazon ECR sees. Exactly one field. On a stock EKS cluster the kubelet pulls with
    /// the role of the node, and `nodes` is right; the roles of IRSA (eks.amazonaws.com/role-arn) and EKS Pod Identity are
    /// for the containers' own calls and take no part in pulling images. On Fargate it is the pod execution role: `role`.
    /// Choose `serviceAccount` only where the kubelet's ECR credential provider is configured to use service account
    /// tokens.
    pub puller: Puller,
    /// What is known of repositories: policy, tags, whether they exist. The first entry whose `match` fits a repository
    /// counts for it, so put the narrow ones first. For a repository that no entry fits, it is taken for certain that it
    /// has no repository policy, as long as the puller's `identity` is declared and in the same account. Example:
    /// `[{match: "arn:aws:ecr:us-east-1:111122223333:repository/shared/*", presence: Present}]`.
    // The order decides, so that half a list of one author and half of another would mean something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "atomic"))]
    pub repositories: Option<Vec<RepositoryDeclaration>>,
    /// What is known of private registries: their registry policy and pull-through cache rules. Entries are told apart by
    /// `accountId` and `region`; one that names the region of an image comes before one for every region. Example:
    /// `[{accountId: "111122223333", pullThroughCache: [{prefix: docker-hub}]}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["accountId", "region"])
    )]
    pub registries: Option<Vec<RegistryDeclaration>>,
    /// The policies of AWS Organizations that are in force for these pulls, level by level: for the root, for every
    /// organizational unit on the way down, and for the account. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Organization>,
    /// Values of condition keys that nobody can know when a pod is created, such as the network the request comes from.
    /// Several values of a key that has one are alternatives; `[]` says that the key is not in the request. A key that is
    /// left out keeps a verdict that depends on it Unknown. Numbers and booleans are written in quotes. Example:
    /// `{"aws:SourceVpc": [vpc-0abc]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<BTreeMap<String, ContextValues>>",
        extend("maxProperties" = 50, "x-kubernetes-validations" = [rules::CONTEXT_KEYS])
    )]
    pub context: Option<BTreeMap<String, Vec<String>>>,
    /// Images that are admitted for a while although they cannot be pulled, or may not be: a refusal becomes a warning that
    /// tells of the exemption, its reason and its end. Verdict and status stay as they are. Nothing that a pod, a service
    /// account or a namespace carries exempts anything: only what is written here. Example: `[{name: legacy-images, images:
    /// ["111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*"], reason: registry moves in March, expiresAt:
    /// "2027-03-31T00:00:00Z"}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = MAX_EXEMPTIONS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub exemptions: Option<Vec<Exemption>>,
    /// What happens to a pod that could not pull one of its images. `Reject` (default): it is refused, with the reason and
    /// the fix. `Warn`: it is admitted, and its author sees a warning. `Audit`: it is admitted silently, status and metrics
    /// count it; such a policy takes no part in the selection between policies, so that a new one can be tried beside the
    /// one in force.
    ///
    /// See [`EcrAccessPolicySpec::on_deny`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Reject", "Warn", "Audit"], "default" = "Reject"))]
    pub on_deny: Option<Action>,
    /// What happens to a pod for which some fact is missing, so that nobody can say whether it could pull. `Warn`, `Audit`
    /// or `Reject`, as for onDeny and never stricter than it. Left out: `Warn`, or `Audit` where onDeny is `Audit`.
    ///
    /// See [`EcrAccessPolicySpec::on_unknown`] for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Warn", "Audit", "Reject"]))]
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

/// Who pulls, for which service accounts, and what a verdict does to a pod.
///
/// `spec` of the kind `ClusterEcrAccessPolicy`: the fields of the namespaced kind and the namespaces that are covered.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEcrAccessPolicySpec {
    /// The fields that both kinds have.
    #[serde(flatten)]
    pub policy: EcrAccessPolicySpec,
    /// The namespaces that this policy covers, by their labels. Left out: every namespace. Pods of kube-system and of the
    /// operator's own namespace are never judged. Example: `{matchLabels: {team: payments}}`. A single namespace can be
    /// chosen by the label kubernetes.io/metadata.name, which every namespace has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Which service accounts a policy is for: the union of both fields, at least one of which is set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rules::SELECTS_SOMETHING]))]
pub struct ServiceAccountSelection {
    /// Service accounts by name. They need not exist yet. A name outranks a selector where several policies meet. Example:
    /// `[api, worker]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<Vec<ServiceAccountName>>",
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Option<Vec<String>>,
    /// Service accounts by their own labels (not by the labels of their pods). `{}` selects all. Example: `{matchLabels:
    /// {team: payments}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Some images, for some service accounts, until a moment.
///
/// Pods are let in for a while although an image of theirs cannot be pulled, or may not be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rules::ACCOUNTS_OF_NAMESPACES]))]
pub struct Exemption {
    /// Names the exemption in warnings. Unique in its list. Example: `legacy-images`.
    #[schemars(length(max = LABEL_LENGTH), extend("x-kubernetes-validations" = [rules::EXEMPTION_NAME]))]
    pub name: String,
    /// The namespaces by name, of those that this policy covers. Left out: all of them. Example: `[payments]`.
    ///
    /// In the cluster kind alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<Vec<NamespaceName>>",
        length(min = 1, max = 64),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub namespaces: Option<Vec<String>>,
    /// The service accounts of `namespaces` by name, of those that this policy selects. Left out: all of them. Only together
    /// with `namespaces`, since elsewhere anybody may make an account of that name. Example: `[legacy]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<Vec<ServiceAccountName>>",
        length(min = 1, max = 64),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub service_accounts: Option<Vec<String>>,
    /// The images: references as pods have them, in which `*` stands for any text. One without a tag is for every tag.
    /// Example: `["111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*"]`.
    #[schemars(with = "Vec<ImagePattern>", length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub images: Vec<String>,
    /// Why, in one line, for whoever reads the warning. Example: `On the nodes' disks until the registry has moved,
    /// PLAT-1042`.
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = [rules::EXEMPTION_REASON]))]
    pub reason: String,
    /// The moment from which on the exemption is gone, without an edit. Example: `2027-03-31T00:00:00Z`.
    #[schemars(with = "Moment")]
    pub expires_at: String,
}

/// What a verdict does at admission, from the mildest to the strictest: `Audit < Warn < Reject`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
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
