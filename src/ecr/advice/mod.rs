//! Why a verdict is what it is, as stable codes, and the smallest change that would make it Allow.

use std::fmt;

use iam_verdict::{Decision, Layer, MissedPart, NearMiss};
use serde::Serialize;

use super::image::EcrImage;
use super::judge::{Answer, Existence, Judgement, Puller, Verdict};
use super::needs::{self, Need};

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

/// Why an image has its verdict, finely. Stable words, part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum CauseCode {
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
    /// The registry is another account's, whose repository policy does not allow it.
    RepositoryPolicyDoesNotAllow,
    /// The registry has no such repository, and no pull-through cache rule makes one.
    RepositoryNotFound,
    /// What the pull-through cache holds already can be pulled, and whether it holds this image is not known.
    OnlyIfCached,
    /// The image is no image reference.
    InvalidImage,
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
    /// A managed policy is not built in.
    ManagedPolicyNotFound,
    /// The registry is another account's, and its repository policy is not known.
    RepositoryPolicyNotKnown,
    /// The registry policy is not known, or what it does to a login is not documented.
    RegistryPolicyNotKnown,
    /// The account of the puller is not known, and it matters.
    AccountNotKnown,
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
    pub fn of_fact(fact: &str) -> Self {
        match fact.split_once(':') {
            Some(("document", _)) => Self::DocumentMalformed,
            Some(("policy", _)) => Self::ManagedPolicyNotFound,
            Some(("role", _)) => Self::RoleNotInInventory,
            Some(("repositoryPolicy", _)) => Self::RepositoryPolicyNotKnown,
            Some(("registryPolicy", _)) => Self::RegistryPolicyNotKnown,
            Some(("presence", _)) => Self::OnlyIfCached,
            Some(("serviceAccount", _)) => Self::ServiceAccountNotFound,
            None if fact == "account" => Self::AccountNotKnown,
            _ => Self::ConditionNotKnown,
        }
    }
}

/// One change that helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// What kind of change.
    pub kind: FixKind,
    /// The layer whose policy changes.
    pub attach_to: Option<&'static str>,
    /// The policy to change; none where a new one is as good.
    pub policy: Option<String>,
    /// The statement to add.
    pub document: Option<Statement>,
    /// Why this helps, for a person.
    pub why: String,
}

/// The kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum FixKind {
    /// Add the statement.
    AddStatement,
    /// Take the action or the repository out of a Deny.
    NarrowDeny,
    /// Make the repository.
    CreateRepository,
    /// Give the service account its role.
    SetAnnotation,
    /// No change of a policy helps.
    None,
}

/// A policy statement, ready to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    effect: &'static str,
    action: OneOrMore,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum OneOrMore {
    One(&'static str),
    More(Vec<&'static str>),
}

impl Statement {
    fn allow(actions: Vec<&'static str>, resource: &str) -> Self {
        let action = match actions.as_slice() {
            [one] => OneOrMore::One(one),
            _ => OneOrMore::More(actions),
        };
        Self { effect: "Allow", action, resource: resource.to_owned() }
    }
}

/// The answer that a message speaks of: the first request that is denied.
#[must_use]
pub fn first_denied(judgement: &Judgement) -> Option<&Answer> {
    judgement.answers.iter().find(|answer| answer.is_denied())
}

/// The cause of a Deny or an Unknown.
#[must_use]
pub fn cause(judgement: &Judgement) -> Option<CauseCode> {
    match judgement.existence {
        Existence::NotFound => return Some(CauseCode::RepositoryNotFound),
        Existence::OnlyIfCached if judgement.answers.iter().all(|a| a.ask.need == Need::Import || a.is_allowed()) => {
            return Some(CauseCode::OnlyIfCached);
        }
        _ => {}
    }
    match judgement.verdict {
        Verdict::Deny => {
            let nothing_close = |answer: &Answer| {
                answer.outcome.decision == Decision::ImplicitlyDenied
                    && answer.miss.as_ref().is_none_or(|miss| miss.part == MissedPart::Action)
            };
            if judgement.answers.iter().all(nothing_close) {
                return Some(CauseCode::NoPolicyGrantsPull);
            }
            first_denied(judgement).map(cause_of_answer)
        }
        Verdict::Unknown => judgement.missing.first().map(|fact| CauseCode::of_fact(fact)),
        _ => None,
    }
}

fn cause_of_answer(answer: &Answer) -> CauseCode {
    if answer.outcome.decision == Decision::ExplicitlyDenied {
        return CauseCode::ExplicitDeny;
    }
    if answer.outcome.layer == Some(Layer::Resource) {
        return CauseCode::RepositoryPolicyDoesNotAllow;
    }
    match answer.miss.as_ref().map(|miss| miss.part) {
        Some(MissedPart::Resource) if answer.ask.action == needs::LOGIN => CauseCode::TokenOnRepository,
        Some(MissedPart::Resource) => CauseCode::RepositoryNotInResource,
        Some(MissedPart::Condition) => CauseCode::ConditionNotMet,
        _ => CauseCode::ActionNotGranted,
    }
}

/// The smallest changes that turn a Deny into an Allow as far as the puller's own policies go.
#[must_use]
pub fn fixes(judgement: &Judgement, puller: &Puller) -> Vec<Fix> {
    let mut fixes = narrowings(judgement, puller);
    let implicit = |answer: &&Answer| answer.outcome.decision == Decision::ImplicitlyDenied;
    let lacking: Vec<&Answer> = judgement.answers.iter().filter(implicit).collect();
    let policy = policy_to_extend(&lacking, puller);
    let (login, repository): (Vec<&Answer>, Vec<&Answer>) =
        lacking.into_iter().partition(|answer| answer.ask.action == needs::LOGIN);
    for answers in [login, repository] {
        let Some(first) = answers.first() else { continue };
        let actions: Vec<&'static str> = answers.iter().map(|answer| answer.ask.action).collect();
        let why = match close(first) {
            Some(miss) => format!("statement {} of policy {} does not: {}", miss.statement, miss.policy, miss.what),
            None => format!("no statement allows {}", actions.join(" and ")),
        };
        fixes.push(Fix {
            kind: FixKind::AddStatement,
            attach_to: Some(Layer::Identity.as_str()),
            policy: policy.clone(),
            document: Some(Statement::allow(actions, &first.ask.resource)),
            why,
        });
    }
    fixes
}

/// The fix for a repository that is not there.
#[must_use]
pub fn create_repository(image: &EcrImage) -> Fix {
    let EcrImage { account, region, repository, .. } = image;
    Fix {
        kind: FixKind::CreateRepository,
        attach_to: None,
        policy: None,
        document: None,
        why: format!(
            "create repository {repository} in the registry of account {account} in {region}, or correct the image"
        ),
    }
}

/// The statement that is worth telling of: one that grants the action, if only the rest of it applied.
#[must_use]
pub fn close(answer: &Answer) -> Option<&NearMiss> {
    answer.miss.as_ref().filter(|miss| miss.part != MissedPart::Action)
}

/// The user's own document that is closest to granting; managed policies cannot be edited.
fn policy_to_extend(lacking: &[&Answer], puller: &Puller) -> Option<String> {
    let documents: Vec<&str> = puller.identity.iter().flat_map(|identity| identity.documents()).collect();
    let closest = lacking
        .iter()
        .filter_map(|answer| answer.miss.as_ref())
        .map(|miss| miss.policy.as_str())
        .find(|name| documents.contains(name));
    closest.or(documents.first().copied()).map(str::to_owned)
}

/// One fix for each statement that denies.
fn narrowings(judgement: &Judgement, puller: &Puller) -> Vec<Fix> {
    let denied = |answer: &&Answer| answer.outcome.decision == Decision::ExplicitlyDenied;
    // In the order of the answers, each statement once.
    let mut statements: Vec<(&str, &str, Vec<&'static str>, Option<Layer>)> = Vec::new();
    for answer in judgement.answers.iter().filter(denied) {
        let policy = answer.outcome.policy.as_deref().unwrap_or_default();
        let statement = answer.outcome.statement.as_deref().unwrap_or_default();
        match statements.iter_mut().find(|known| (known.0, known.1) == (policy, statement)) {
            Some((_, _, actions, _)) => actions.push(answer.ask.action),
            None => statements.push((policy, statement, vec![answer.ask.action], answer.outcome.layer)),
        }
    }
    let own = |name: &str| puller.identity.iter().flat_map(|identity| identity.documents()).any(|own| own == name);
    let fix = |(policy, statement, actions, layer): (&str, &str, Vec<&str>, Option<Layer>)| Fix {
        kind: FixKind::NarrowDeny,
        attach_to: layer.map(Layer::as_str),
        policy: Some(policy.to_owned()),
        document: None,
        why: if own(policy) {
            let actions = actions.join(" and ");
            format!("take {actions} out of the Deny in statement {statement} of policy {policy}, or exempt this puller")
        } else {
            format!("detach managed policy {policy}, whose statement {statement} denies {}", actions.join(" and "))
        },
    };
    statements.into_iter().map(fix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_facts_have_causes() {
        for (fact, cause) in [
            ("document:app", CauseCode::DocumentMalformed),
            ("policy:arn:aws:iam::aws:policy/X", CauseCode::ManagedPolicyNotFound),
            ("role:arn:aws:iam::111122223333:role/app", CauseCode::RoleNotInInventory),
            ("repositoryPolicy:arn:aws:ecr:us-east-1:111122223333:repository/a", CauseCode::RepositoryPolicyNotKnown),
            ("registryPolicy:111122223333/us-east-1", CauseCode::RegistryPolicyNotKnown),
            ("presence:arn:aws:ecr:us-east-1:111122223333:repository/a", CauseCode::OnlyIfCached),
            ("account", CauseCode::AccountNotKnown),
            ("serviceAccount:payments/api", CauseCode::ServiceAccountNotFound),
            ("aws:SourceIp", CauseCode::ConditionNotKnown),
        ] {
            assert_eq!(CauseCode::of_fact(fact), cause, "{fact}");
        }
    }

    #[test]
    fn a_statement_is_ready_to_paste() {
        let json = |statement| serde_json::to_string(&statement).unwrap();
        assert_eq!(
            json(Statement::allow(vec!["ecr:GetAuthorizationToken"], "*")),
            r#"{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}"#
        );
        assert_eq!(
            json(Statement::allow(vec!["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "arn")),
            r#"{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn"}"#
        );
    }
}
