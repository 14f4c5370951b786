//! Which answer and which statement a denial tells of: the first that is denied, the one that came closest to allowing it.

use iam_verdict::{Layer, MissCause, MissedPart, NearMiss};

use crate::diagnose::edit;
use crate::ecr::needs::RequiredRequest;
use crate::facts::declared::SourcedPolicy;
use crate::judge::{PullJudgement, RequestDecision};
use crate::puller::Puller;

/// The answer that a message speaks of: the first request that is denied.
#[must_use]
pub(crate) fn first_denied(pull: &PullJudgement) -> Option<&RequestDecision> {
    pull.answers.iter().find(|answer| answer.is_denied())
}

/// The statement that came closest, where it is worth telling of: one that grants the action, if only the rest of it
/// applied.
#[must_use]
pub(crate) fn close(miss: Option<&NearMiss>) -> Option<&NearMiss> {
    miss.filter(|miss| miss.part != MissedPart::Action)
}

/// What is almost right in the statement that came closest to allowing `ask`: a path without what is below it, another
/// account's root.
///
/// `repository` is the policy of the repository, where it is known.
#[must_use]
pub(crate) fn hint(
    request: &RequiredRequest,
    miss: Option<&NearMiss>,
    puller: &Puller,
    repository: Option<&SourcedPolicy>,
) -> Option<String> {
    let miss = close(miss)?;
    // The engine's own words have told of every other difference.
    if !matches!(miss.cause, MissCause::Resource | MissCause::Below | MissCause::Principal) {
        return None;
    }
    let document = match miss.layer {
        Layer::Identity => {
            let mut entries = puller.identity.iter().flat_map(|identity| identity.policies());
            // The built-in ones are long, and nobody can correct them.
            entries.find(|entry| *entry.policy.name == *miss.policy && entry.text.is_some())?.document()?
        }
        Layer::Boundary => {
            let boundary = puller.identity.as_ref()?.boundary()?;
            boundary.text.as_ref()?;
            boundary.document()?
        }
        Layer::Resource => repository?.document()?,
        _ => return None,
    };
    let (_, statement) = edit::find(&document, &miss.statement)?;
    let arn = &puller.principal.arn;
    match miss.part {
        MissedPart::Resource if !request.is_login() => edit::resource_hint(&statement, &request.resource),
        MissedPart::Principal => edit::principal_hint(&statement, arn.as_str(), arn.account()),
        _ => None,
    }
}
