//! One puller before one repository after another.

use std::collections::BTreeSet;

use iam_verdict::{Account, Environment, NamedPolicy, Principal};
use jiff::Timestamp;

use crate::ecr::arn::RoleArn;
use crate::ecr::condition_keys::{PROVIDER_SESSION, Session};
use crate::facts::declared::{Declared, PolicyLevel, condition_keys};
use crate::facts::missing::MissingFact;
use crate::judge::pull_judgement::note;
use crate::puller::{Puller, PullerIdentity};

/// One puller and what is declared beside it, ready to judge one repository after another.
#[derive(Debug)]
pub(crate) struct PullEvaluator<'a> {
    pub(crate) puller: &'a Puller,
    pub(crate) declared: &'a Declared,
    pub(crate) at: Timestamp,
    pub(crate) principal: Principal,
    /// Everything but the resource side, which each request arranges for itself.
    pub(crate) environment: Environment,
    /// Policies of the resource's organization, which bind only what is the registry's.
    pub(crate) rcps: Vec<Vec<NamedPolicy>>,
    /// The condition keys of all policies but those of the resource side.
    pub(crate) keys: BTreeSet<&'a str>,
    /// What is missing of these policies.
    pub(crate) unread: Vec<MissingFact>,
}

impl<'a> PullEvaluator<'a> {
    /// Prepares to judge what `puller` may do at the time `at`.
    #[must_use]
    pub fn new(puller: &'a Puller, declared: &'a Declared, at: Timestamp) -> Self {
        let mut keys: BTreeSet<&str> = puller.identity.iter().flat_map(|identity| identity.condition_keys()).collect();
        let mut unread: Vec<MissingFact> = match &puller.identity {
            Some(identity) => identity.missing().cloned().collect(),
            None => vec![identity_fact(&puller.principal)],
        };
        let mut levels = |levels: &'a [PolicyLevel]| -> Vec<Vec<NamedPolicy>> {
            let level = |level: &'a PolicyLevel| {
                unread.extend(level.policies.iter().filter_map(|sourced| sourced.missing.clone()));
                let policies = level.policies.iter().map(|sourced| &sourced.policy);
                keys.extend(policies.clone().flat_map(condition_keys));
                policies.cloned().collect()
            };
            levels.iter().map(level).collect()
        };
        let scps = levels(&declared.organization.scps);
        let rcps = levels(&declared.organization.rcps);
        let environment = Environment {
            identity: match &puller.identity {
                Some(identity) => identity.policies().iter().map(|sourced| sourced.policy.clone()).collect(),
                None => vec![NamedPolicy::unreadable("identity", identity_fact(&puller.principal).to_string())],
            },
            boundary: puller.identity.as_ref().and_then(|i| i.boundary()).map(|boundary| boundary.policy.clone()),
            scps,
            ..Environment::default()
        };
        Self { puller, declared, at, principal: principal(&puller.principal), environment, rcps, keys, unread }
    }

    /// What every verdict about this puller rests on.
    pub(crate) fn notes(&self) -> Vec<&'static str> {
        let mut notes = Vec::new();
        if self.puller.principal.session == Session::ServiceAccountToken {
            notes.extend([note::SERVICE_ACCOUNT_PULL_ASSUMED, note::TRUST_NOT_KNOWN]);
        }
        if self.puller.identity.as_ref().is_some_and(|identity| identity.has_other_partition()) {
            notes.push(note::MANAGED_POLICY_OF_OTHER_PARTITION);
        }
        if self.puller.is_disputed {
            notes.push(note::ROLE_SOURCES_DIFFER);
        }
        notes
    }

    /// The role that pulls.
    pub(crate) fn role(&self) -> &'a RoleArn {
        &self.puller.principal.arn
    }
}

/// The principal that policies name.
fn principal(principal: &PullerIdentity) -> Principal {
    let PullerIdentity { arn, session } = principal;
    let by_token = *session == Session::ServiceAccountToken;
    let mut arns = vec![arn.as_str().to_owned()];
    arns.extend(by_token.then(|| arn.session(PROVIDER_SESSION)));
    Principal {
        arns,
        account: Account::Known(arn.account().to_owned()),
        session_unknown: !by_token,
        ..Principal::default()
    }
}

fn identity_fact(principal: &PullerIdentity) -> MissingFact {
    MissingFact::Role(principal.arn.clone())
}
