//! Why an image has its verdict, as a code that a page of `docs/reasons/` explains.

use iam_verdict::{Decision, Layer, MissCause, MissedPart, NearMiss, Outcome};

use crate::diagnose::near_miss::{close, first_denied};
use crate::ecr::condition_keys::is_tag;
use crate::ecr::needs::{self, Need, RequiredRequest};
use crate::facts::CauseCode;
use crate::facts::missing::MissingFact;
use crate::judge::{Existence, Misses, PullJudgement, RequestDecision, Verdict};
use crate::puller::Puller;

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
            MissingFact::HostMatch(_) => Self::HostNotMatchedByProvider,
            MissingFact::Role(_) => Self::RoleNotInInventory,
            MissingFact::RepositoryPolicy(_) => Self::RepositoryPolicyNotKnown,
            MissingFact::RegistryPolicy { .. } => Self::RegistryPolicyNotKnown,
            MissingFact::Presence(_) => Self::OnlyIfCached,
            MissingFact::ServiceAccount { .. } => Self::ServiceAccountNotFound,
            MissingFact::Namespace(_) => Self::SelectionNotKnown,
            MissingFact::Spec(_) => Self::UnsupportedSpec,
            MissingFact::Node => Self::NodePulls,
            MissingFact::ImagePullSecret => Self::PullSecret,
            MissingFact::Principal => Self::PrincipalNotKnown,
            MissingFact::ConditionKey(_) => Self::ConditionNotKnown,
        }
    }
}

/// The cause of a Deny or an Unknown, as far as it lies with the puller's rights; `partition` is the registry's.
#[must_use]
pub(crate) fn cause(
    judgement: &PullJudgement,
    misses: &mut Misses<'_>,
    puller: &Puller,
    partition: &str,
) -> Option<CauseCode> {
    match judgement.existence {
        Existence::NotFound => return Some(CauseCode::RepositoryNotFound),
        Existence::OnlyIfCached
            if judgement.answers.iter().all(|a| a.request.need == Need::Import || a.is_allowed()) =>
        {
            return Some(CauseCode::OnlyIfCached);
        }
        _ => {}
    }
    match judgement.verdict {
        Verdict::Deny => {
            if puller.principal.arn.partition() != partition {
                return Some(CauseCode::PullerOfOtherPartition);
            }
            let by_identity = |answer: &RequestDecision| {
                answer.outcome.decision == Decision::ImplicitlyDenied && answer.outcome.layer == Some(Layer::Identity)
            };
            // A repository policy that leaves it to the identity policies grants nothing by itself.
            let mut nothing_close = |answer: &RequestDecision| {
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

fn cause_of_answer(answer: &RequestDecision, miss: Option<&NearMiss>) -> CauseCode {
    if answer.outcome.decision == Decision::ExplicitlyDenied {
        return CauseCode::ExplicitDeny;
    }
    match refusing_layer(&answer.request, &answer.outcome) {
        Some(Layer::Resource) => return CauseCode::RepositoryPolicyDoesNotAllow,
        Some(Layer::Registry) => return CauseCode::RegistryPolicyDoesNotAllow,
        Some(Layer::Boundary) => return CauseCode::BoundaryDoesNotAllow,
        Some(Layer::Scp) => return CauseCode::ScpDoesNotAllow,
        _ => {}
    }
    match close(miss) {
        Some(miss) => match miss.part {
            MissedPart::Resource if answer.request.action == needs::LOGIN => CauseCode::TokenOnRepository,
            MissedPart::Resource => CauseCode::RepositoryNotInResource,
            MissedPart::Condition if is_missing_tag(miss) => CauseCode::TagMissing,
            MissedPart::Condition => CauseCode::ConditionNotMet,
            _ => CauseCode::ActionNotGranted,
        },
        None if answer.request.need == Need::Import => CauseCode::ImportNotAllowed,
        None => CauseCode::ActionNotGranted,
    }
}

/// The layer that refuses. What a repository that is to be made lacks is the registry policy: it has none of its own.
#[must_use]
pub(crate) fn refusing_layer(request: &RequiredRequest, outcome: &Outcome) -> Option<Layer> {
    match outcome.layer {
        Some(Layer::Resource) if request.action == needs::CREATE => Some(Layer::Registry),
        layer => layer,
    }
}

/// Whether what a condition misses is a tag of the repository or of the role that is not there.
fn is_missing_tag(miss: &NearMiss) -> bool {
    miss.cause == MissCause::KeyAbsent && miss.key.as_deref().is_some_and(is_tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config_map::{ConfigMapKey, ConfigMapName};
    use crate::ecr::arn::RoleArn;

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
            (
                MissingFact::HostMatch(text("x.dkr.ecr.y:443")),
                "matchImages:x.dkr.ecr.y:443",
                CauseCode::HostNotMatchedByProvider,
            ),
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
