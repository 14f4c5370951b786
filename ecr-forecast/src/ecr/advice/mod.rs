//! Why a verdict is what it is, as stable codes, and the smallest change that would make it Allow.

use std::fmt;

use iam_verdict::{Layer, MissCause, MissedPart, NearMiss};
use serde::Serialize;

use super::declared::SourcedPolicy;
use super::judge::{Answer, PullJudgement, Puller, Who};
use super::needs::Ask;

mod cause;
mod edit;
mod fix;
mod grants;
mod lints;

pub use super::cause_code::CauseCode;
pub use cause::{cause, refusing_layer};
pub use edit::Statement;
pub use fix::{Fix, FixKind, create_repository, fixes};
pub use grants::{Document, Elsewhere, Excess, excess, minimal};
pub use lints::lints;

/// Why an image has its verdict, coarsely. Stable words, part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Reason {
    /// Every request of the pull is allowed.
    Allowed,
    /// A request of the pull is denied.
    ActionDenied,
    /// `imagePullPolicy: Never`: nothing is pulled.
    NoPull,
    /// ECR Public, where anonymous pulls work.
    PublicRegistry,
    /// Another registry.
    NotEcr,
    /// The image is no image reference; the kubelet refuses it.
    InvalidImage,
    /// The registry has no such repository.
    RepositoryNotFound,
    /// It is not known which role pulls.
    NoRole,
    /// The role of the node decides, and the node is not known.
    DependsOnNode,
    /// An image pull secret may make the pull work although the puller is denied.
    PullSecret,
    /// It depends on facts that are not known.
    FactsMissing,
}

impl fmt::Display for Reason {
    /// The word as reports have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The answer that a message speaks of: the first request that is denied.
#[must_use]
pub fn first_denied(pull: &PullJudgement) -> Option<&Answer> {
    pull.answers.iter().find(|answer| answer.is_denied())
}

/// The statement that came closest, where it is worth telling of: one that grants the action, if only the rest of it
/// applied.
#[must_use]
pub fn close(miss: Option<&NearMiss>) -> Option<&NearMiss> {
    miss.filter(|miss| miss.part != MissedPart::Action)
}

/// What is almost right in the statement that came closest to allowing `ask`: a path without what is below it, another
/// account's root.
///
/// `repository` is the policy of the repository, where it is known.
#[must_use]
pub fn hint(ask: &Ask, miss: Option<&NearMiss>, puller: &Puller, repository: Option<&SourcedPolicy>) -> Option<String> {
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
    match (miss.part, &puller.who) {
        (MissedPart::Resource, _) if !ask.is_login() => edit::resource_hint(&statement, &ask.resource),
        (MissedPart::Principal, Who::Role { arn, .. }) => edit::principal_hint(&statement, arn.as_str(), arn.account()),
        _ => None,
    }
}
