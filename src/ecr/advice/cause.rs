//! Why an image has its verdict, as a code that a page of `docs/reasons/` explains.

use std::fmt;

use iam_verdict::{Decision, Layer, MissCause, MissedPart, NearMiss, Outcome};
use serde::Serialize;

use super::super::context::is_tag;
use super::super::judge::{Answer, Existence, Misses, PullJudgement, Puller, Verdict, Who};
use super::super::missing::MissingFact;
use super::super::needs::{self, Ask, Need};
use super::{close, first_denied};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why an image has its verdict, finely. Stable words, part of the report; `docs/reasons/` has a page for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum CauseCode {
            $($(#[$doc])* $name,)*
        }

        impl CauseCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// A statement grants the action, on other repositories.
    RepositoryNotInResource,
    /// Some action of a pull is granted, this one is not.
    ActionNotGranted,
    /// Nothing of what a pull needs is granted.
    NoPolicyGrantsPull,
    /// A statement denies the action.
    ExplicitDeny,
    /// `ecr:GetAuthorizationToken` is granted on a repository, where it means nothing: it needs `Resource: "*"`.
    TokenOnRepository,
    /// A statement grants the action, under a condition that does not hold.
    ConditionNotMet,
    /// A statement grants the action to what has a certain tag, which the repository or the role does not have.
    TagMissing,
    /// The pull-through cache would have to import the image or make its repository, which is not allowed.
    ImportNotAllowed,
    /// The permissions boundary does not allow it.
    BoundaryDoesNotAllow,
    /// A level of the organization has no service control policy that allows it.
    ScpDoesNotAllow,
    /// The registry is another account's, whose repository policy does not allow it.
    RepositoryPolicyDoesNotAllow,
    /// The registry is another account's, whose registry policy does not allow it.
    RegistryPolicyDoesNotAllow,
    /// The puller is of another partition than the registry.
    PullerOfOtherPartition,
    /// The service account names a role for its pods; images are pulled by another one.
    IrsaRoleDoesNotPull,
    /// An annotation of the service account is almost the one that names the puller, and is not read.
    AnnotationAlmostRight,
    /// Another declared role may pull, and it is not the one that does.
    RightsOnAnotherRole,
    /// The registry has no such repository, and no pull-through cache rule makes one.
    RepositoryNotFound,
    /// What the pull-through cache holds already can be pulled, and whether it holds this image is not known.
    OnlyIfCached,
    /// The image is no image reference.
    InvalidImage,
    /// The puller is denied, and an image pull secret may make the pull work all the same.
    PullSecret,
    /// The service account has no role, and no policies are declared for it.
    NoRoleMapped,
    /// The role annotation of the service account is not a role ARN.
    AnnotationIsNoRole,
    /// The role annotation of the service account is empty, which leaves the pull to the node's role.
    NodePulls,
    /// The candidates differ: some can pull, some cannot.
    CandidatesDiffer,
    /// The policies of the role are declared nowhere.
    RoleNotInInventory,
    /// The service account was not seen.
    ServiceAccountNotFound,
    /// Which policy applies depends on labels that were not seen.
    SelectionNotKnown,
    /// The policy object has a spec that this version does not understand.
    UnsupportedSpec,
    /// A policy document is malformed.
    DocumentMalformed,
    /// A policy document nests deeper than any policy does, and is not read.
    DocumentTooDeep,
    /// A managed policy is not built in.
    ManagedPolicyNotFound,
    /// A ConfigMap that should hold a policy document is not there, or has no such key.
    ConfigMapNotFound,
    /// The registry is another account's, and its repository policy is not known.
    RepositoryPolicyNotKnown,
    /// The registry policy is not known, or what it does to a login is not documented.
    RegistryPolicyNotKnown,
    /// The account of the puller is not known, and it matters.
    AccountNotKnown,
    /// The ARN of the puller, or the name of its session, is not known, and a policy names principals by it.
    PrincipalNotKnown,
    /// A condition asks for something that admission does not know.
    ConditionNotKnown,
}

impl fmt::Display for CauseCode {
    /// The word as reports have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl CauseCode {
    /// The cause that a missing fact stands for.
    #[must_use]
    pub const fn of_fact(fact: &MissingFact) -> Self {
        match fact {
            MissingFact::Document(_) | MissingFact::RepositoryDocument(_) | MissingFact::RegistryDocument(_) => {
                Self::DocumentMalformed
            }
            MissingFact::DocumentTooDeep(_) => Self::DocumentTooDeep,
            // One that is there and malformed is told apart by whoever knows why it was not read.
            MissingFact::ConfigMap(_) => Self::ConfigMapNotFound,
            MissingFact::ManagedPolicy(_) => Self::ManagedPolicyNotFound,
            MissingFact::PullerRole => Self::NoRoleMapped,
            MissingFact::Role(_) => Self::RoleNotInInventory,
            MissingFact::RepositoryPolicy(_) => Self::RepositoryPolicyNotKnown,
            MissingFact::RegistryPolicy { .. } => Self::RegistryPolicyNotKnown,
            MissingFact::Presence(_) => Self::OnlyIfCached,
            MissingFact::ServiceAccount { .. } => Self::ServiceAccountNotFound,
            MissingFact::Namespace(_) => Self::SelectionNotKnown,
            MissingFact::Spec(_) => Self::UnsupportedSpec,
            MissingFact::Node => Self::NodePulls,
            MissingFact::ImagePullSecret => Self::PullSecret,
            MissingFact::Account => Self::AccountNotKnown,
            MissingFact::Principal => Self::PrincipalNotKnown,
            MissingFact::ConditionKey(_) => Self::ConditionNotKnown,
        }
    }
}

/// The cause of a Deny or an Unknown, as far as it lies with the puller's rights; `partition` is the registry's.
#[must_use]
pub fn cause(
    judgement: &PullJudgement,
    misses: &mut Misses<'_>,
    puller: &Puller,
    partition: &str,
) -> Option<CauseCode> {
    match judgement.existence {
        Existence::NotFound => return Some(CauseCode::RepositoryNotFound),
        Existence::OnlyIfCached if judgement.answers.iter().all(|a| a.ask.need == Need::Import || a.is_allowed()) => {
            return Some(CauseCode::OnlyIfCached);
        }
        _ => {}
    }
    match judgement.verdict {
        Verdict::Deny => {
            if matches!(&puller.who, Who::Role { arn, .. } if arn.partition() != partition) {
                return Some(CauseCode::PullerOfOtherPartition);
            }
            let by_identity = |answer: &Answer| {
                answer.outcome.decision == Decision::ImplicitlyDenied && answer.outcome.layer == Some(Layer::Identity)
            };
            // A repository policy that leaves it to the identity policies grants nothing by itself.
            let mut nothing_close = |answer: &Answer| {
                let miss = misses.nearest(answer);
                miss.is_none_or(|miss| matches!(miss.part, MissedPart::Action | MissedPart::Principal))
            };
            if judgement.answers.iter().all(by_identity) && judgement.answers.iter().all(&mut nothing_close) {
                return Some(CauseCode::NoPolicyGrantsPull);
            }
            first_denied(judgement).map(|answer| cause_of_answer(answer, misses.nearest(answer).as_ref()))
        }
        Verdict::Unknown => judgement.missing.first().map(CauseCode::of_fact),
        _ => None,
    }
}

fn cause_of_answer(answer: &Answer, miss: Option<&NearMiss>) -> CauseCode {
    if answer.outcome.decision == Decision::ExplicitlyDenied {
        return CauseCode::ExplicitDeny;
    }
    match refusing_layer(&answer.ask, &answer.outcome) {
        Some(Layer::Resource) => return CauseCode::RepositoryPolicyDoesNotAllow,
        Some(Layer::Registry) => return CauseCode::RegistryPolicyDoesNotAllow,
        Some(Layer::Boundary) => return CauseCode::BoundaryDoesNotAllow,
        Some(Layer::Scp) => return CauseCode::ScpDoesNotAllow,
        _ => {}
    }
    match close(miss) {
        Some(miss) => match miss.part {
            MissedPart::Resource if answer.ask.action == needs::LOGIN => CauseCode::TokenOnRepository,
            MissedPart::Resource => CauseCode::RepositoryNotInResource,
            MissedPart::Condition if is_missing_tag(miss) => CauseCode::TagMissing,
            MissedPart::Condition => CauseCode::ConditionNotMet,
            _ => CauseCode::ActionNotGranted,
        },
        None if answer.ask.need == Need::Import => CauseCode::ImportNotAllowed,
        None => CauseCode::ActionNotGranted,
    }
}

/// The layer that refuses. What a repository that is to be made lacks is the registry policy: it has none of its own.
#[must_use]
pub fn refusing_layer(ask: &Ask, outcome: &Outcome) -> Option<Layer> {
    match outcome.layer {
        Some(Layer::Resource) if ask.action == needs::CREATE => Some(Layer::Registry),
        layer => layer,
    }
}

/// Whether what a condition misses is a tag of the repository or of the role that is not there.
fn is_missing_tag(miss: &NearMiss) -> bool {
    miss.cause == MissCause::KeyAbsent && miss.key.as_deref().is_some_and(is_tag)
}

#[cfg(test)]
mod tests {
    use super::super::super::arn::RoleArn;
    use super::super::super::declared::{ConfigMapKey, ConfigMapName};
    use super::*;

    #[test]
    fn missing_facts_have_causes() {
        const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/a";
        let text = str::to_owned;
        let role = RoleArn::parse("arn:aws:iam::111122223333:role/app").unwrap();
        let config_map = ConfigMapName { namespace: text("payments"), name: text("iam") };
        let key = ConfigMapKey { config_map, key: text("app.json") };
        for (fact, words, cause) in [
            (MissingFact::Document(text("app")), "document:app", CauseCode::DocumentMalformed),
            (MissingFact::DocumentTooDeep(text("app")), "documentTooDeep:app", CauseCode::DocumentTooDeep),
            (
                MissingFact::DocumentTooDeep(text("repositories[0].policy")),
                "documentTooDeep:repositories[0].policy",
                CauseCode::DocumentTooDeep,
            ),
            (MissingFact::ConfigMap(key), "configMap:payments/iam/app.json", CauseCode::ConfigMapNotFound),
            (
                MissingFact::RepositoryDocument(text("repositories[0].policy")),
                "repositoryPolicy:repositories[0].policy",
                CauseCode::DocumentMalformed,
            ),
            (
                MissingFact::RegistryDocument(text("registries[12].policy")),
                "registryPolicy:registries[12].policy",
                CauseCode::DocumentMalformed,
            ),
            (
                MissingFact::ManagedPolicy(text("arn:aws:iam::aws:policy/X")),
                "policy:arn:aws:iam::aws:policy/X",
                CauseCode::ManagedPolicyNotFound,
            ),
            (MissingFact::Role(role), "role:arn:aws:iam::111122223333:role/app", CauseCode::RoleNotInInventory),
            (
                MissingFact::RepositoryPolicy(text(REPOSITORY)),
                "repositoryPolicy:arn:aws:ecr:us-east-1:111122223333:repository/a",
                CauseCode::RepositoryPolicyNotKnown,
            ),
            (
                MissingFact::RegistryPolicy { account: text("111122223333"), region: text("us-east-1") },
                "registryPolicy:111122223333/us-east-1",
                CauseCode::RegistryPolicyNotKnown,
            ),
            (
                MissingFact::Presence(text(REPOSITORY)),
                "presence:arn:aws:ecr:us-east-1:111122223333:repository/a",
                CauseCode::OnlyIfCached,
            ),
            (MissingFact::Account, "account", CauseCode::AccountNotKnown),
            (MissingFact::Principal, "principal", CauseCode::PrincipalNotKnown),
            (
                MissingFact::ServiceAccount { namespace: text("payments"), name: text("api") },
                "serviceAccount:payments/api",
                CauseCode::ServiceAccountNotFound,
            ),
            (MissingFact::ConditionKey(text("aws:SourceIp")), "aws:SourceIp", CauseCode::ConditionNotKnown),
            (MissingFact::ConditionKey(text("role:tier")), "role:tier", CauseCode::ConditionNotKnown),
        ] {
            assert_eq!((CauseCode::of_fact(&fact), fact.to_string().as_str()), (cause, words), "{fact:?}");
        }
    }
}
