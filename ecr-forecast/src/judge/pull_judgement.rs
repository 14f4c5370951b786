//! What is decided about one puller and one repository.

use std::fmt;

use iam_verdict::{Decision, Outcome};
use schemars::JsonSchema;
use serde::Serialize;

use crate::ecr::image::EcrImage;
use crate::ecr::needs::RequiredRequest;
use crate::facts::declared::{Declared, Presence};
use crate::facts::missing::MissingFact;

/// The outcome for an image or a pod.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Hash, Serialize)]
#[schemars(inline)]
pub enum Verdict {
    /// The pull is permitted, whatever the facts that are not known turn out to be.
    Allow,
    /// The pull is refused, whatever the facts that are not known turn out to be.
    Deny,
    /// It depends on facts that are not known.
    Unknown,
    /// No policy selects the pod, or the pod is never judged.
    NotSelected,
    /// The image is not in ECR (of images only).
    OutOfScope,
}

impl Verdict {
    /// The word as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Unknown => "Unknown",
            Self::NotSelected => "NotSelected",
            Self::OutOfScope => "OutOfScope",
        }
    }

    /// Folds the outcomes of things that must all work: one Deny denies, else one Unknown leaves it open (RES-13).
    #[must_use]
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().fold(Self::Allow, |all, one| match (all, one) {
            (Self::Deny, _) | (_, Self::Deny) => Self::Deny,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            _ => Self::Allow,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Notes: assumptions and observations that a verdict carries. Stable words, part of the report.
pub mod note {
    /// The role that pulls is obtained by a token, and whether it trusts the cluster is not judged.
    pub const TRUST_NOT_KNOWN: &str = "TrustNotKnown";
    /// The service account names a role that would pull if kubelets used its token; by this policy they do not.
    pub const ANNOTATION_IGNORED: &str = "AnnotationIgnored";
    /// The control plane's pods, the operator's own and mirror pods are left alone, whatever they pull.
    pub const NEVER_JUDGED: &str = "NeverJudged";
    /// The host of an image is almost one of ECR's: it is not judged, and no registry has that name.
    pub const LOOKS_LIKE_ECR: &str = "LooksLikeEcr";
    /// No repository policy is declared, which asserts that none grants or denies.
    pub const NO_REPOSITORY_POLICY_DECLARED: &str = "NoRepositoryPolicyDeclared";
    /// A repository policy is declared and a registry policy is not, which counts as none.
    pub const NO_REGISTRY_POLICY_DECLARED: &str = "NoRegistryPolicyDeclared";
    /// The puller's role is of another partition than the registry, and no policy reaches across partitions.
    pub const PULLER_OF_OTHER_PARTITION: &str = "PullerOfOtherPartition";
    /// `ecr:BatchImportUpstreamImage` is not allowed: what is cached can be pulled, and nothing newer.
    pub const NO_IMPORT: &str = "NoBatchImportUpstreamImage";
    /// The verdict holds on nodes whose kubelet pulls with service-account tokens; on others the node's role pulls.
    pub const SERVICE_ACCOUNT_PULL_ASSUMED: &str = "ServiceAccountPullAssumed";
    /// `ecr:BatchCheckLayerAvailability` is not allowed, which no pull needs.
    pub const NO_BATCH_CHECK: &str = "NoBatchCheckLayerAvailability";
    /// A managed policy was named by its ARN in another partition than the built-in text comes from.
    pub const MANAGED_POLICY_OF_OTHER_PARTITION: &str = "ManagedPolicyOfOtherPartition";
    /// Several sources have the role that pulls, and do not say the same: the first in their order was heard.
    pub const ROLE_SOURCES_DIFFER: &str = "RoleSourcesDiffer";
    /// The image's host has a port; it was judged without.
    pub const PORT_IN_HOST: &str = "PortInHost";
    /// The image's host has upper-case letters, which kubelet's `matchImages` may not match.
    pub const UPPER_CASE_HOST: &str = "UpperCaseHost";
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestDecision {
    /// What was asked.
    pub request: RequiredRequest,
    /// The decision and what decided it.
    pub outcome: Outcome,
}

impl RequestDecision {
    /// Whether the request is certainly allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.outcome.decision == Decision::Allowed
    }

    /// Whether the request is certainly refused.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        is_denied(self.outcome.decision)
    }
}

/// Whether a decision is a certain refusal, by whatever.
#[must_use]
pub(crate) const fn is_denied(decision: Decision) -> bool {
    matches!(decision, Decision::ExplicitlyDenied | Decision::ImplicitlyDenied)
}

/// What the repository's being there, or not, did to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Existence {
    /// Nothing.
    Settled,
    /// The registry has no such repository, and no cache rule makes one.
    NotFound,
    /// What the cache of an upstream registry holds already can be pulled; nobody knows whether that is so here.
    OnlyIfCached,
}

/// What was decided about one puller and one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullJudgement {
    /// Any request denied is Deny, all allowed is Allow, else Unknown.
    pub verdict: Verdict,
    /// The requests, in the order a pull makes them, then those of further needs.
    pub answers: Vec<RequestDecision>,
    /// The facts that would settle an Unknown.
    pub missing: Vec<MissingFact>,
    /// Words of [`note`].
    pub notes: Vec<&'static str>,
    /// What the repository's presence did to the verdict.
    pub existence: Existence,
    /// Some decision depends on the time, or may.
    pub reads_clock: bool,
}

impl PullJudgement {
    /// Whether what is denied is denied to the pull alone, which an image pull secret may make up for: a secret pushes
    /// nothing.
    #[must_use]
    pub fn is_by_pull(&self) -> bool {
        is_by_pull(self.answers.iter().map(|answer| (&answer.request, answer.outcome.decision)))
    }
}

/// See [`PullJudgement::is_by_pull`].
pub(crate) fn is_by_pull<'a>(decisions: impl Iterator<Item = (&'a RequiredRequest, Decision)>) -> bool {
    let mut denied =
        decisions.filter(|(_, decision)| is_denied(*decision)).map(|(request, _)| request.need.is_pull()).peekable();
    denied.peek().is_some() && denied.all(|by_pull| by_pull)
}

/// Whether the repository of an image is declared to be missing, and no pull-through cache rule would make it: then
/// nobody can pull it.
#[must_use]
pub(crate) fn is_missing(image: &EcrImage, declared: &Declared) -> bool {
    declared.repository(image).and_then(|entry| entry.presence) == Some(Presence::Missing)
        && !is_cached(image, declared)
}

/// Whether a pull-through cache rule covers the repository of an image.
pub(crate) fn is_cached(image: &EcrImage, declared: &Declared) -> bool {
    let registry = declared.registry(&image.account, &image.region);
    registry.is_some_and(|registry| registry.pull_through(&image.repository).is_some())
}
