//! May this puller pull this image? The requests of a pull, decided one by one and folded into a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use iam_verdict::{
    Account, Decision, Environment, NamedPolicy, NearMiss, Outcome, PolicyState, Principal, Request, evaluate,
    nearest_miss,
};
use jiff::Timestamp;
use serde::Serialize;

use super::arn::RoleArn;
use super::context::{Facts, PROVIDER_SESSION, Session, Target, asks_for_session_only, contexts};
use super::declared::{
    Declared, PolicyLevel, Presence, RegistryEntry, RegistryPolicyScope, RepositoryEntry, ResourcePolicy,
    condition_keys,
};
use super::image::EcrImage;
use super::needs::{self, Ask, Need};

pub use super::declared::{IdentityPolicies, PolicySource};

/// The outcome for an image or a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
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

    /// Folds the outcomes of things that must all work: one Deny denies, else one Unknown leaves it open.
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
    /// The puller has no role ARN; its account is taken to be the registry's.
    pub const SAME_ACCOUNT_ASSUMED: &str = "SameAccountAssumed";
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
    /// The image's host has a port; it was judged without.
    pub const PORT_IN_HOST: &str = "PortInHost";
    /// The image's host has upper-case letters, which kubelet's `matchImages` may not match.
    pub const UPPER_CASE_HOST: &str = "UpperCaseHost";
}

/// A candidate: somebody who may be the one that ECR sees when the kubelet pulls.
#[derive(Clone, Debug)]
pub struct Puller {
    /// Who it is.
    pub who: Who,
    /// How it was found, for a person: `annotation eks.amazonaws.com/ecr-role-arn`.
    pub found_by: String,
    /// Its identity-based policies; none where they are declared nowhere.
    pub identity: Option<Arc<IdentityPolicies>>,
}

/// The IAM principal of a puller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A role.
    Role {
        /// Its ARN.
        arn: RoleArn,
        /// How its credentials are obtained.
        session: Session,
    },
    /// The role behind a service account, whose ARN nobody declared.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { arn, .. } => f.write_str(arn.as_str()),
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
        }
    }
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub ask: Ask,
    /// The decision and what decided it.
    pub outcome: Outcome,
    /// For an implicit denial: the statement that came closest.
    pub miss: Option<NearMiss>,
}

impl Answer {
    /// Whether the request is certainly allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.outcome.decision == Decision::Allowed
    }

    /// Whether the request is certainly refused.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.outcome.decision, Decision::ExplicitlyDenied | Decision::ImplicitlyDenied)
    }
}

/// What the repository's being there, or not, did to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Existence {
    /// Nothing.
    Settled,
    /// The registry has no such repository, and no cache rule makes one.
    NotFound,
    /// What the cache of an upstream registry holds already can be pulled; nobody knows whether that is so here.
    OnlyIfCached,
}

/// What was found out about one puller and one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Any request denied is Deny, all allowed is Allow, else Unknown.
    pub verdict: Verdict,
    /// The requests, in the order a pull makes them, then those of further needs.
    pub answers: Vec<Answer>,
    /// The facts that would settle an Unknown.
    pub missing: Vec<String>,
    /// Words of [`note`].
    pub notes: Vec<&'static str>,
    /// What the repository's presence did to the verdict.
    pub existence: Existence,
    /// When the decision of some request changes by itself next.
    pub next_change: Option<Timestamp>,
}

/// Judges whether `puller` can do with the repository of `image` what `needs` say, at the time `at`.
///
/// All that the judgement depends on is in the arguments: to see what a change of a policy does, change it there and
/// judge again.
#[must_use]
pub fn judge(image: &EcrImage, puller: &Puller, declared: &Declared, needs: &[Need], at: Timestamp) -> Judgement {
    Court::new(puller, declared, at).judge(image, needs)
}

/// Whether the repository of an image is declared to be missing, and no pull-through cache rule would make it: then
/// nobody can pull it.
#[must_use]
pub fn is_missing(image: &EcrImage, declared: &Declared) -> bool {
    declared.repository(image).and_then(|entry| entry.presence) == Some(Presence::Missing)
        && !is_cached(image, declared)
}

/// Whether a pull-through cache rule covers the repository of an image.
fn is_cached(image: &EcrImage, declared: &Declared) -> bool {
    let registry = declared.registry(&image.account, &image.region);
    registry.is_some_and(|registry| registry.pull_through(&image.repository).is_some())
}

/// A name for what a policy that was not declared at all would be called.
const REPOSITORY_POLICY: &str = "repositoryPolicy";
const REGISTRY_POLICY: &str = "registryPolicy";

/// One puller and what is declared beside it, ready to judge one repository after another.
#[derive(Debug)]
pub struct Court<'a> {
    puller: &'a Puller,
    declared: &'a Declared,
    at: Timestamp,
    principal: Principal,
    /// Everything but the resource side, which each request arranges for itself.
    environment: Environment,
    /// Policies of the resource's organization, which bind only what is the registry's.
    rcps: Vec<Vec<NamedPolicy>>,
    /// The condition keys of all policies but those of the resource side.
    keys: BTreeSet<&'a str>,
}

/// What is known of one repository's side, seen from one puller.
struct Place<'a> {
    image: &'a EcrImage,
    /// The puller's account is the registry's: what its own policies allow is enough.
    same_account: bool,
    repository: Option<NamedPolicy>,
    registry: Option<NamedPolicy>,
    registry_scope: RegistryPolicyScope,
    /// The registry policy of the puller's own account, which may or may not bear upon a login.
    registry_of_login: Option<NamedPolicy>,
    tags: Option<&'a BTreeMap<String, String>>,
    keys: BTreeSet<String>,
}

/// One request with all that bears upon it.
struct Hearing {
    environment: Environment,
    /// One for each reading of the facts that were declared as alternatives.
    requests: Vec<Request>,
}

impl<'a> Court<'a> {
    /// Prepares to judge what `puller` may do.
    #[must_use]
    pub fn new(puller: &'a Puller, declared: &'a Declared, at: Timestamp) -> Self {
        let mut keys: BTreeSet<&str> = puller.identity.iter().flat_map(|identity| identity.condition_keys()).collect();
        let mut levels = |levels: &'a [PolicyLevel]| -> Vec<Vec<NamedPolicy>> {
            let level = |level: &'a PolicyLevel| {
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
                Some(identity) => identity.policies().to_vec(),
                None => vec![NamedPolicy::unreadable("identity", identity_fact(&puller.who))],
            },
            boundary: puller.identity.as_ref().and_then(|i| i.boundary()).map(|boundary| boundary.policy.clone()),
            scps,
            ..Environment::default()
        };
        Self { puller, declared, at, principal: principal(&puller.who), environment, rcps, keys }
    }

    /// Judges what the puller can do with the repository of `image`.
    #[must_use]
    pub fn judge(&self, image: &EcrImage, needs: &[Need]) -> Judgement {
        let entry = self.declared.repository(image);
        let registry = self.declared.registry(&image.account, &image.region);
        let presence = entry.and_then(|entry| entry.presence);
        let cached = is_cached(image, self.declared);
        let mut notes = self.notes();
        let place = self.place(image, entry, registry, &mut notes);

        // Design 6.1.8: what is not in the cache yet must be imported, and its repository made.
        let mut asked = needs.to_vec();
        if cached && presence != Some(Presence::Present) && needs.contains(&Need::Pull) {
            asked.insert(0, Need::Pull);
            asked.insert(1, Need::Import);
        }
        let mut missing = Missing::default();
        let mut import_missing = Missing::default();
        let mut next_change = None;
        let mut answers = Vec::with_capacity(asked.len() + 3);
        for ask in needs::asks(image, &asked) {
            let conditional = ask.need == Need::Import && presence.is_none();
            let facts = if conditional { &mut import_missing } else { &mut missing };
            let (answer, change) = self.answer(&place, ask, facts);
            next_change = earlier(next_change, change);
            answers.push(answer);
        }
        let fold = |conditional: bool| {
            let of = |answer: &&Answer| (answer.ask.need == Need::Import && presence.is_none()) == conditional;
            Verdict::all(answers.iter().filter(of).map(verdict_of))
        };
        let (verdict, existence) = match (presence, fold(false), fold(true)) {
            (Some(Presence::Missing), ..) if !cached => (Verdict::Deny, Existence::NotFound),
            (_, Verdict::Deny, _) => (Verdict::Deny, Existence::Settled),
            (_, sure, Verdict::Allow) => (sure, Existence::Settled),
            _ => (Verdict::Unknown, Existence::OnlyIfCached),
        };
        if existence == Existence::OnlyIfCached {
            missing.add(format!("presence:{}", image.arn()));
            missing.extend(import_missing);
        }
        if verdict == Verdict::Allow {
            notes.extend(self.advice(&place, cached, &answers));
        }
        // A Deny does not depend on what is missing.
        let missing = if verdict == Verdict::Unknown { missing.facts } else { Vec::new() };
        Judgement { verdict, answers, missing, notes, existence, next_change }
    }

    /// What every verdict about this puller rests on.
    fn notes(&self) -> Vec<&'static str> {
        let mut notes = Vec::new();
        let by_token = |who: &Who| {
            matches!(who, Who::ServiceAccount { .. } | Who::Role { session: Session::ServiceAccountToken, .. })
        };
        if by_token(&self.puller.who) {
            notes.push(note::SERVICE_ACCOUNT_PULL_ASSUMED);
        }
        if matches!(self.puller.who, Who::ServiceAccount { .. }) {
            notes.push(note::SAME_ACCOUNT_ASSUMED);
        }
        if self.puller.identity.as_ref().is_some_and(|identity| identity.has_other_partition()) {
            notes.push(note::MANAGED_POLICY_OF_OTHER_PARTITION);
        }
        notes
    }

    /// Design 6.1.5: the resource side of one repository.
    fn place<'p>(
        &self,
        image: &'p EcrImage,
        entry: Option<&'p RepositoryEntry>,
        registry: Option<&'p RegistryEntry>,
        notes: &mut Vec<&'static str>,
    ) -> Place<'p>
    where
        'a: 'p,
    {
        let other_partition = self.role().is_some_and(|arn| arn.partition() != image.partition);
        let same_account = !other_partition && self.role().is_none_or(|arn| arn.account() == image.account);
        let registry_policy = registry.and_then(|registry| Some((registry, registry.policy.as_ref()?)));
        let repository = match entry.and_then(|entry| entry.policy.as_ref()) {
            // A policy of one partition cannot name a principal of another.
            _ if other_partition => {
                notes.push(note::PULLER_OF_OTHER_PARTITION);
                None
            }
            Some(policy) => {
                if registry_policy.is_none() && matches!(policy, ResourcePolicy::Policy(_)) {
                    notes.push(note::NO_REGISTRY_POLICY_DECLARED);
                }
                Some(named(policy, REPOSITORY_POLICY, || repository_fact(image)))
            }
            // With the puller's policies declared, leaving out the repository's asserts that there is none. Without
            // them everything is open already, and declaring them settles both.
            None if same_account => {
                if self.puller.identity.is_some() {
                    notes.push(note::NO_REPOSITORY_POLICY_DECLARED);
                }
                None
            }
            None => Some(NamedPolicy::unreadable(REPOSITORY_POLICY, repository_fact(image))),
        };
        let registry_named = |(registry, policy): (&RegistryEntry, &ResourcePolicy)| {
            named(policy, REGISTRY_POLICY, || registry_fact(&registry.account, &image.region))
        };
        let registry_of_login = match self.role() {
            None => registry,
            Some(_) if other_partition || same_account => registry.filter(|_| same_account),
            Some(arn) => self.declared.registry(arn.account(), &image.region),
        };
        let registry_of_login = registry_of_login
            .filter(|registry| registry.scope == RegistryPolicyScope::V2)
            .and_then(|registry| Some(registry_named((registry, registry.policy.as_ref()?))));
        let mut place = Place {
            image,
            same_account,
            repository,
            registry: registry_policy.filter(|_| !other_partition).map(registry_named),
            registry_scope: registry.map(|registry| registry.scope).unwrap_or_default(),
            registry_of_login,
            tags: entry.and_then(|entry| entry.tags.as_ref()),
            keys: BTreeSet::new(),
        };
        if entry.and_then(|entry| entry.presence) == Some(Presence::Missing) {
            // What is not there has no tags.
            place.tags = Some(&NO_TAGS);
        }
        let policies = place.repository.iter().chain(&place.registry).chain(&place.registry_of_login);
        place.keys = policies.flat_map(condition_keys).map(str::to_owned).collect();
        place
    }

    /// Decides one request; adds to `missing` what would settle it.
    fn answer(&self, place: &Place<'_>, ask: Ask, missing: &mut Missing) -> (Answer, Option<Timestamp>) {
        let mut hearing = self.hearing(place, &ask);
        let mut outcome = hearing.decide(missing);
        let mut next_change = hearing.next_change();
        let denied =
            |outcome: &Outcome| matches!(outcome.decision, Decision::ExplicitlyDenied | Decision::ImplicitlyDenied);
        if denied(&outcome) && matches!(self.puller.who, Who::ServiceAccount { .. }) {
            // Design 6.1.4: that the puller is of the registry's account is assumed, and never causes a Deny.
            let elsewhere = self.elsewhere(place, &ask);
            if !denied(&elsewhere.decide(&mut Missing::default())) {
                missing.add("account".to_owned());
                outcome = open();
            }
        }
        if let (true, false, Some(policy)) = (ask.is_login(), denied(&outcome), &place.registry_of_login) {
            // Whether a registry policy can deny a login is not documented; that it cannot grant one is.
            hearing.environment.registry = Some(policy.clone());
            let decision = hearing.decide(&mut Missing::default()).decision;
            next_change = earlier(next_change, hearing.next_change());
            hearing.environment.registry = None;
            let may_deny = decision == Decision::ExplicitlyDenied
                || (decision == Decision::Unknown && outcome.decision == Decision::Allowed);
            if may_deny {
                missing.add(registry_fact(self.login_account(place), &place.image.region));
                outcome = open();
            }
        }
        let miss = if outcome.decision == Decision::ImplicitlyDenied { hearing.nearest_miss() } else { None };
        (Answer { ask, outcome, miss }, next_change)
    }

    /// What is refused although a pull does not need it at once.
    fn advice(&self, place: &Place<'_>, cached: bool, answers: &[Answer]) -> Vec<&'static str> {
        let refused = |action: &'static str, need: Need| {
            let ask = Ask { action, resource: place.image.arn().to_string(), need };
            !answers.iter().any(|answer| answer.ask.action == action)
                && self.answer(place, ask, &mut Missing::default()).0.is_denied()
        };
        let mut notes = Vec::new();
        if refused(needs::ADVISORY, Need::Push) {
            notes.push(note::NO_BATCH_CHECK);
        }
        if cached && refused(needs::IMPORT, Need::Import) {
            notes.push(note::NO_IMPORT);
        }
        notes
    }

    /// Arranges the layers and the context for one request.
    fn hearing(&self, place: &Place<'_>, ask: &Ask) -> Hearing {
        let mut environment = self.environment.clone();
        let login = ask.is_login();
        if login {
            // Asked in the puller's own account, where no policy of a repository has a say.
            environment.resource_account = Account::SameAsResource;
        } else {
            environment.resource_account = place.account(self.role());
            let by_registry_v1 = matches!(ask.need, Need::Import);
            if place.registry_scope == RegistryPolicyScope::V2 || by_registry_v1 {
                environment.registry.clone_from(&place.registry);
            }
            match (&place.repository, ask.action) {
                // A repository that is to be made has no policy yet; then what is not known is the registry's.
                (Some(NamedPolicy { policy: PolicyState::Unreadable(_), .. }), needs::CREATE)
                    if place.registry.is_none() && !place.same_account =>
                {
                    let fact = registry_fact(&place.image.account, &place.image.region);
                    environment.registry = Some(NamedPolicy::unreadable(REGISTRY_POLICY, fact));
                }
                (_, needs::CREATE) => {}
                (repository, _) => environment.resource.clone_from(repository),
            }
        }
        if !login || place.same_account {
            environment.rcps.clone_from(&self.rcps);
        }
        let role = self.role();
        let facts = Facts {
            session: match &self.puller.who {
                Who::Role { session, .. } => *session,
                Who::ServiceAccount { .. } => Session::ServiceAccountToken,
            },
            principal_arn: role.map(RoleArn::as_str),
            // The account of a puller without a role is an assumption, and no condition may deny because of it.
            principal_account: role.map(RoleArn::account),
            principal_tags: self.puller.identity.as_ref().and_then(|identity| identity.tags()),
            resource_account: if login { role.map(RoleArn::account) } else { Some(&place.image.account) },
            region: &place.image.region,
            target: match ask.action {
                needs::LOGIN => Target::Login,
                needs::CREATE => Target::Creation,
                action => Target::Repository { tags: place.tags, importing: action == needs::IMPORT },
            },
            user_id_by_session: user_id_by_session(&environment),
            declared: &self.declared.context,
            at: self.at,
        };
        let own = place.keys.iter().map(String::as_str).filter(|key| !self.keys.contains(key));
        let keys = self.keys.iter().copied().chain(own);
        let request = |context| Request {
            principal: self.principal.clone(),
            action: ask.action.to_owned(),
            resource: ask.resource.clone(),
            context,
        };
        Hearing { environment, requests: contexts(keys, &facts).into_iter().map(request).collect() }
    }

    /// The same request of a puller whose account is not known; denied only where it is denied whichever it is.
    fn elsewhere(&self, place: &Place<'_>, ask: &Ask) -> Hearing {
        let mut hearing = self.hearing(place, ask);
        for request in &mut hearing.requests {
            request.principal.account = Account::Unknown;
        }
        // Across accounts a repository policy that was not declared may allow whatever the puller's own policies do; so
        // these alone tell, as they do within one account. One that was declared tells for itself.
        if place.repository.is_some() && !ask.is_login() {
            hearing.environment.resource_account = Account::Known(place.image.account.clone());
        }
        hearing
    }

    fn role(&self) -> Option<&'a RoleArn> {
        match &self.puller.who {
            Who::Role { arn, .. } => Some(arn),
            Who::ServiceAccount { .. } => None,
        }
    }

    fn login_account<'p>(&self, place: &'p Place<'_>) -> &'p str
    where
        'a: 'p,
    {
        self.role().map_or(place.image.account.as_str(), RoleArn::account)
    }
}

impl Place<'_> {
    /// The account that owns the repository. With its partition, an account never equals one of another partition.
    fn account(&self, role: Option<&RoleArn>) -> Account {
        let EcrImage { account, partition, .. } = self.image;
        match role {
            None => Account::SameAsResource,
            Some(arn) if arn.partition() != *partition => Account::Known(format!("{partition}:{account}")),
            Some(_) => Account::Known(account.clone()),
        }
    }
}

impl Hearing {
    /// The decision over all readings, which must agree; adds to `missing` what would settle it otherwise.
    fn decide(&self, missing: &mut Missing) -> Outcome {
        let outcomes: Vec<Outcome> = self.requests.iter().map(|request| evaluate(&self.environment, request)).collect();
        let count = |decision| outcomes.iter().filter(|outcome| outcome.decision == decision).count();
        let allowed = count(Decision::Allowed);
        let unknown = count(Decision::Unknown);
        if unknown > 0 || (allowed > 0 && allowed < outcomes.len()) {
            for (request, outcome) in self.requests.iter().zip(&outcomes) {
                if outcome.decision == Decision::Unknown {
                    missing.extend_with(iam_verdict::missing(&self.environment, request).facts);
                }
            }
            missing.extend_with(self.deciding_alternatives(&outcomes));
            return open();
        }
        // Where readings are denied in different ways, the milder one holds in any case.
        let milder = outcomes.iter().find(|outcome| outcome.decision == Decision::ImplicitlyDenied);
        milder.or(outcomes.first()).cloned().unwrap_or_else(open)
    }

    /// The keys with alternative values on which the decision depends: two readings differ in that key alone.
    fn deciding_alternatives(&self, outcomes: &[Outcome]) -> Vec<String> {
        let allowed = |outcome: &Outcome| match outcome.decision {
            Decision::Allowed => Some(true),
            Decision::Unknown => None,
            Decision::ExplicitlyDenied | Decision::ImplicitlyDenied => Some(false),
        };
        let mut found: Vec<String> = Vec::new();
        for (index, (one, outcome)) in self.requests.iter().zip(outcomes).enumerate() {
            for (other, other_outcome) in self.requests.iter().zip(outcomes).skip(index + 1) {
                if allowed(outcome) == allowed(other_outcome) {
                    continue;
                }
                let mut differing =
                    one.context.iter().zip(other.context.iter()).filter(|(a, b)| a != b).map(|((key, _), _)| key);
                if let (Some(key), None) = (differing.next(), differing.next())
                    && !found.iter().any(|known| known == key)
                {
                    found.push(key.to_owned());
                }
            }
        }
        found
    }

    fn nearest_miss(&self) -> Option<NearMiss> {
        let denied = |request: &&Request| evaluate(&self.environment, request).decision == Decision::ImplicitlyDenied;
        nearest_miss(&self.environment, self.requests.iter().find(denied)?)
    }

    /// When the decision changes by itself next.
    fn next_change(&self) -> Option<Timestamp> {
        None
    }
}

/// Names of missing facts, each once, in the order in which they were found.
#[derive(Default)]
struct Missing {
    facts: Vec<String>,
}

impl Missing {
    fn add(&mut self, fact: String) {
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    fn extend_with(&mut self, facts: Vec<String>) {
        facts.into_iter().for_each(|fact| self.add(fact));
    }

    fn extend(&mut self, other: Self) {
        self.extend_with(other.facts);
    }
}

static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn open() -> Outcome {
    Outcome { decision: Decision::Unknown, layer: None, policy: None, statement: None }
}

fn verdict_of(answer: &Answer) -> Verdict {
    match answer.outcome.decision {
        Decision::Allowed => Verdict::Allow,
        Decision::Unknown => Verdict::Unknown,
        Decision::ExplicitlyDenied | Decision::ImplicitlyDenied => Verdict::Deny,
    }
}

/// The principal that policies name.
fn principal(who: &Who) -> Principal {
    match who {
        Who::Role { arn, session } => {
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
        Who::ServiceAccount { .. } => Principal { account: Account::SameAsResource, ..Principal::default() },
    }
}

/// Whether every text that a policy compares `aws:userid` with depends on the name of the session alone.
fn user_id_by_session(environment: &Environment) -> bool {
    let Environment { identity, boundary, session, resource, registry, scps, rcps, endpoint, .. } = environment;
    let single = [boundary, resource, registry, endpoint].into_iter().flatten();
    let levels = scps.iter().chain(rcps).flatten();
    let alone = |policy: &NamedPolicy| match &policy.policy {
        PolicyState::Known(document) if document.condition_keys().any(|key| key == "aws:userid") => {
            document.compared_with("aws:userid").is_some_and(|texts| texts.into_iter().all(asks_for_session_only))
        }
        _ => true,
    };
    identity.iter().chain(session).chain(single).chain(levels).all(alone)
}

fn named(policy: &ResourcePolicy, name: &str, fact: impl FnOnce() -> String) -> NamedPolicy {
    match policy {
        ResourcePolicy::Policy(sourced) => sourced.policy.clone(),
        ResourcePolicy::Unknown => NamedPolicy::unreadable(name, fact()),
    }
}

fn identity_fact(who: &Who) -> String {
    match who {
        Who::Role { arn, .. } => format!("role:{arn}"),
        Who::ServiceAccount { .. } => "role".to_owned(),
    }
}

fn repository_fact(image: &EcrImage) -> String {
    format!("{REPOSITORY_POLICY}:{}", image.arn())
}

fn registry_fact(account: &str, region: &str) -> String {
    format!("{REGISTRY_POLICY}:{account}/{region}")
}

#[cfg(test)]
mod tests {
    use super::super::declared::{ArnPattern, Organization, SourcedPolicy};
    use super::super::image::ImageKind;
    use super::super::managed;
    use super::*;
    use iam_verdict::{Layer, Policy};
    use serde_json::{Value, json};

    const REGISTRY: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
    const ROLE: &str = "arn:aws:iam::111122223333:role/app";
    const OWN: PolicySource = PolicySource::Document { problem: None };
    const FOREIGN_ROLE: &str = "arn:aws:iam::444455556666:role/app";

    fn image(text: &str) -> EcrImage {
        match ImageKind::of(text) {
            ImageKind::Private(image) => image,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn team_app() -> EcrImage {
        image(&format!("{REGISTRY}/team/app:1"))
    }

    fn identity(documents: &[(&str, Value)]) -> Arc<IdentityPolicies> {
        let mut policies = IdentityPolicies::default();
        for (name, document) in documents {
            policies.push(NamedPolicy::known(*name, Policy::from_value(document).unwrap()), OWN);
        }
        Arc::new(policies)
    }

    fn allow(action: Value, resource: Value) -> Value {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})
    }

    fn role(arn: &str, identity: Option<Arc<IdentityPolicies>>) -> Puller {
        let who = Who::Role { arn: RoleArn::parse(arn).unwrap(), session: Session::ServiceAccountToken };
        Puller { who, found_by: "test".into(), identity }
    }

    fn at() -> Timestamp {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn ask(image: &EcrImage, puller: &Puller) -> Judgement {
        ask_with(image, puller, &Declared::default())
    }

    fn ask_with(image: &EcrImage, puller: &Puller, declared: &Declared) -> Judgement {
        judge(image, puller, declared, &[Need::Pull], at())
    }

    fn decisions(judgement: &Judgement) -> Vec<&'static str> {
        judgement.answers.iter().map(|answer| answer.outcome.decision.as_str()).collect()
    }

    /// Every built-in policy, alone, on a repository of the same account. A policy that is not listed grants nothing.
    #[test]
    fn what_managed_policies_allow() {
        let pulls = [
            "AWSAppRunnerServicePolicyForECRAccess",
            "AdministratorAccess",
            "AmazonEC2ContainerRegistryFullAccess",
            "AmazonEC2ContainerRegistryPowerUser",
            "AmazonEC2ContainerRegistryPullOnly",
            "AmazonEC2ContainerRegistryReadOnly",
            "AmazonEC2ContainerServiceforEC2Role",
            "AmazonECSTaskExecutionRolePolicy",
            "AmazonEKSFargatePodExecutionRolePolicy",
            "AmazonSageMakerFullAccess",
            "EC2InstanceProfileForImageBuilderECRContainerBuilds",
            "PowerUserAccess",
            "ReadOnlyAccess",
        ];
        let (mut allowed, mut denied, mut open) = (0, 0, 0);
        for arn in managed::arns() {
            let found = managed::find(arn).unwrap();
            let mut policies = IdentityPolicies::default();
            let source = PolicySource::Managed { arn: arn.to_owned(), other_partition: false };
            policies.push(NamedPolicy::known("managed", Arc::clone(found.policy)), source);
            let judgement = ask(&team_app(), &role(ROLE, Some(Arc::new(policies))));
            let name = arn.rsplit('/').next().unwrap();
            match name {
                // Repository tags are not known, and these grant by tag.
                "ROSAWorkerInstancePolicy" => {
                    assert_eq!(judgement.verdict, Verdict::Unknown, "{name}");
                    assert_eq!(decisions(&judgement), ["Allowed", "Unknown", "Unknown"], "{name}");
                    open += 1;
                }
                // A condition that compares with a policy variable: never a denial.
                "AWSECRPullThroughCache_ServiceRolePolicy" => assert_ne!(judgement.verdict, Verdict::Deny, "{name}"),
                name if pulls.contains(&name) => {
                    assert_eq!(judgement.verdict, Verdict::Allow, "{name}");
                    allowed += 1;
                }
                name => {
                    assert_eq!(judgement.verdict, Verdict::Deny, "{name}");
                    let explicit = match name {
                        "AWSDenyAll" => ["ExplicitlyDenied"; 3],
                        "AWSCompromisedKeyQuarantineV2" | "AWSCompromisedKeyQuarantineV3" => {
                            ["ExplicitlyDenied", "ImplicitlyDenied", "ImplicitlyDenied"]
                        }
                        // Pulls from repositories of EKS itself.
                        "AmazonEKSLocalOutpostClusterPolicy" => ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied"],
                        _ => ["ImplicitlyDenied"; 3],
                    };
                    assert_eq!(decisions(&judgement), explicit, "{name}");
                    denied += 1;
                }
            }
        }
        assert_eq!((allowed, open, denied), (13, 1, 21));
    }

    #[test]
    fn pull_only_is_enough_and_noted() {
        let pull_only =
            allow(json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]), json!("*"));
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("pull", pull_only)]))));
        assert_eq!(judgement.verdict, Verdict::Allow);
        assert_eq!(
            judgement.notes,
            [note::SERVICE_ACCOUNT_PULL_ASSUMED, note::NO_REPOSITORY_POLICY_DECLARED, note::NO_BATCH_CHECK]
        );
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("all", allow(json!("ecr:*"), json!("*")))]))));
        assert!(!judgement.notes.contains(&note::NO_BATCH_CHECK));
        assert_eq!(judgement.answers[0].outcome.layer, Some(Layer::Identity));
    }

    #[test]
    fn across_accounts_the_repository_policy_is_not_known_but_a_refusing_identity_denies() {
        let all = identity(&[("all", allow(json!("ecr:*"), json!("*")))]);
        let judgement = ask(&team_app(), &role(FOREIGN_ROLE, Some(all)));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert_eq!(decisions(&judgement), ["Allowed", "Unknown", "Unknown"]);
        assert_eq!(judgement.missing, ["repositoryPolicy:arn:aws:ecr:us-east-1:111122223333:repository/team/app"]);
        assert!(!judgement.notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED));

        let login = identity(&[("login", allow(json!("ecr:GetAuthorizationToken"), json!("*")))]);
        let judgement = ask(&team_app(), &role(FOREIGN_ROLE, Some(login)));
        assert_eq!(judgement.verdict, Verdict::Deny);
        assert_eq!(decisions(&judgement), ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied"]);
        assert_eq!(judgement.answers[1].outcome.layer, Some(Layer::Identity));
    }

    #[test]
    fn no_policy_reaches_across_partitions() {
        let all = identity(&[("all", allow(json!("*"), json!("*")))]);
        let chinese = image("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app");
        for declared in [Declared::default(), declared_policy(grants(json!("*"), json!("ecr:*")))] {
            let judgement = ask_with(&chinese, &role(ROLE, Some(Arc::clone(&all))), &declared);
            assert_eq!(judgement.verdict, Verdict::Deny);
            assert_eq!(layers(&judgement), [Some("identity"), Some("resource"), Some("resource")]);
            assert!(judgement.notes.contains(&note::PULLER_OF_OTHER_PARTITION));
        }
        let role_of_china = role("arn:aws-cn:iam::111122223333:role/app", Some(all));
        assert_eq!(ask(&chinese, &role_of_china).verdict, Verdict::Allow);
    }

    #[test]
    fn a_role_without_declared_policies_is_unknown() {
        let judgement = ask(&team_app(), &role(ROLE, None));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert_eq!(judgement.missing, [format!("role:{ROLE}")]);
        assert_eq!(decisions(&judgement), ["Unknown"; 3]);
    }

    fn service_account(document: Value) -> Puller {
        let who = Who::ServiceAccount { namespace: "payments".into(), name: "api".into() };
        Puller { who, found_by: "test".into(), identity: Some(identity(&[("p", document)])) }
    }

    #[test]
    fn the_assumed_account_allows_and_never_denies() {
        let judgement = ask(&team_app(), &service_account(allow(json!("ecr:*"), json!("*"))));
        assert_eq!(judgement.verdict, Verdict::Allow);
        assert!(judgement.notes.contains(&note::SAME_ACCOUNT_ASSUMED));
        // Denied if, and only if, the assumption were true, or the ARN were known.
        for key in ["aws:PrincipalAccount", "aws:PrincipalArn", "aws:ResourceAccount"] {
            let value = if key == "aws:PrincipalArn" { ROLE } else { "111122223333" };
            let document = json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
                {"Effect": "Deny", "Action": "ecr:GetAuthorizationToken", "Resource": "*",
                    "Condition": {"StringEquals": {key: value}}}]});
            let judgement = ask(&team_app(), &service_account(document));
            assert_eq!(judgement.verdict, Verdict::Unknown, "{key}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_known_is_unknown_and_named() {
        let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]});
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("p", document)]))));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert!(
            judgement.missing.iter().any(|fact| fact.eq_ignore_ascii_case("aws:SourceIp")),
            "{:?}",
            judgement.missing
        );
    }

    #[test]
    fn an_unreadable_policy_is_unknown_beside_what_is_certain() {
        let with = |document: Value| {
            let mut policies = IdentityPolicies::default();
            policies.push(NamedPolicy::unreadable("bad", "document:bad"), OWN);
            policies.push(NamedPolicy::known("good", Policy::from_value(&document).unwrap()), OWN);
            ask(&team_app(), &role(ROLE, Some(Arc::new(policies))))
        };
        // It might deny what the other allows.
        let judgement = with(allow(json!("ecr:*"), json!("*")));
        assert_eq!((judgement.verdict, judgement.missing), (Verdict::Unknown, vec!["document:bad".to_owned()]));
        // It cannot allow what the other denies.
        let deny =
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]});
        let judgement = with(deny);
        assert_eq!((judgement.verdict, judgement.missing), (Verdict::Deny, vec![]));
    }

    #[test]
    fn one_denied_request_denies_whatever_else_is_unknown() {
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
            {"Effect": "Deny", "Action": "ecr:GetDownloadUrlForLayer", "Resource": "*"}]});
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("p", document)]))));
        assert_eq!(judgement.verdict, Verdict::Deny);
        assert!(judgement.missing.is_empty());
    }

    const ARN: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";

    fn everything() -> Value {
        allow(json!("ecr:*"), json!("*"))
    }

    fn login() -> Value {
        allow(json!("ecr:GetAuthorizationToken"), json!("*"))
    }

    fn base() -> Value {
        allow(json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]), json!("*"))
    }

    fn by_role(document: Value) -> Puller {
        role(ROLE, Some(identity(&[("p", document)])))
    }

    fn foreign(document: Value) -> Puller {
        role(FOREIGN_ROLE, Some(identity(&[("p", document)])))
    }

    fn sourced(name: &str, document: &Value) -> SourcedPolicy {
        SourcedPolicy::new(NamedPolicy::known(name, Policy::from_value(document).unwrap()), OWN)
    }

    fn resource_policy(statements: Value) -> ResourcePolicy {
        ResourcePolicy::Policy(sourced("resource", &json!({"Version": "2012-10-17", "Statement": statements})))
    }

    fn grants(principal: Value, action: Value) -> ResourcePolicy {
        resource_policy(json!([{"Effect": "Allow", "Principal": principal, "Action": action}]))
    }

    /// A policy of a registry, which names resources.
    fn registry_policy(effect: &str, action: Value) -> ResourcePolicy {
        resource_policy(json!([{"Effect": effect, "Principal": "*", "Action": action, "Resource": "*"}]))
    }

    fn entry(policy: Option<ResourcePolicy>, presence: Option<Presence>) -> RepositoryEntry {
        RepositoryEntry { pattern: ArnPattern::new("*"), policy, tags: None, presence }
    }

    fn registry(policy: Option<ResourcePolicy>, prefixes: &[&str]) -> RegistryEntry {
        RegistryEntry {
            account: "111122223333".into(),
            region: "us-east-1".into(),
            policy,
            scope: RegistryPolicyScope::V2,
            pull_through_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        }
    }

    fn declared(repositories: Vec<RepositoryEntry>, registries: Vec<RegistryEntry>) -> Declared {
        Declared { repositories, registries, ..Declared::default() }
    }

    fn layers(judgement: &Judgement) -> Vec<Option<&'static str>> {
        judgement.answers.iter().map(|answer| answer.outcome.layer.map(Layer::as_str)).collect()
    }

    #[test]
    fn across_accounts_both_sides_must_allow() {
        let both = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
        for (principal, verdict) in [
            (json!("*"), Verdict::Allow),
            (json!({"AWS": FOREIGN_ROLE}), Verdict::Allow),
            (json!({"AWS": "arn:aws:iam::444455556666:root"}), Verdict::Allow),
            (json!({"AWS": "444455556666"}), Verdict::Allow),
            (json!({"AWS": "arn:aws:sts::444455556666:assumed-role/app/ecr-credential-provider"}), Verdict::Allow),
            (json!({"AWS": "arn:aws:iam::111122223333:root"}), Verdict::Deny),
            (json!({"AWS": "arn:aws:iam::444455556666:role/other"}), Verdict::Deny),
        ] {
            let declared = declared(vec![entry(Some(grants(principal.clone(), both.clone())), None)], vec![]);
            let judgement = ask_with(&team_app(), &foreign(everything()), &declared);
            assert_eq!(judgement.verdict, verdict, "{principal}");
            assert!(judgement.notes.contains(&note::NO_REGISTRY_POLICY_DECLARED));
            // What the registry's side allows is not enough.
            let judgement = ask_with(&team_app(), &foreign(login()), &declared);
            assert_eq!(judgement.verdict, Verdict::Deny, "{principal}");
        }
        let half = declared(vec![entry(Some(grants(json!("*"), json!("ecr:BatchGetImage"))), None)], vec![]);
        let judgement = ask_with(&team_app(), &foreign(everything()), &half);
        assert_eq!(decisions(&judgement), ["Allowed", "Allowed", "ImplicitlyDenied"]);
        assert_eq!(layers(&judgement), [Some("identity"), Some("identity"), Some("resource")]);
        // The session of a node has a name that nobody knows.
        let sts = json!({"AWS": "arn:aws:sts::444455556666:assumed-role/app/i-0abc"});
        let by_session = declared_policy(grants(sts, both));
        let node = Puller { who: session(FOREIGN_ROLE, Session::Node), ..foreign(everything()) };
        assert_eq!(ask_with(&team_app(), &node, &by_session).verdict, Verdict::Unknown);
    }

    fn declared_policy(policy: ResourcePolicy) -> Declared {
        declared(vec![entry(Some(policy), None)], vec![])
    }

    fn session(arn: &str, session: Session) -> Who {
        Who::Role { arn: RoleArn::parse(arn).unwrap(), session }
    }

    #[test]
    fn in_one_account_either_side_allows_and_login_is_the_identitys() {
        let both = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
        let by_name = declared_policy(grants(json!({"AWS": ROLE}), both.clone()));
        assert_eq!(ask_with(&team_app(), &by_role(login()), &by_name).verdict, Verdict::Allow);
        let nothing = by_role(allow(json!("s3:*"), json!("*")));
        let judgement = ask_with(&team_app(), &nothing, &by_name);
        assert_eq!(decisions(&judgement), ["ImplicitlyDenied", "Allowed", "Allowed"]);
        // A repository policy that allows login grants none.
        let all = declared_policy(grants(json!("*"), json!("ecr:*")));
        assert_eq!(decisions(&ask_with(&team_app(), &nothing, &all)).first(), Some(&"ImplicitlyDenied"));
        // The account's own root delegates to its identity policies, and no more.
        let root = declared_policy(grants(json!({"AWS": "arn:aws:iam::111122223333:root"}), both));
        assert_eq!(ask_with(&team_app(), &by_role(login()), &root).verdict, Verdict::Deny);
        let deny = resource_policy(json!([{"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}]));
        let judgement = ask_with(&team_app(), &by_role(everything()), &declared_policy(deny));
        assert_eq!(decisions(&judgement), ["Allowed", "ExplicitlyDenied", "Allowed"]);
        assert_eq!(layers(&judgement)[1], Some("resource"));
    }

    #[test]
    fn what_is_said_of_the_repository_policy() {
        let fact = format!("repositoryPolicy:{ARN}");
        for (policy, same, across, noted) in [
            // An entry that says nothing of the policy is as good as none.
            (None, Verdict::Allow, Verdict::Unknown, true),
            // `Unknown` withdraws the assertion that there is none.
            (Some(ResourcePolicy::Unknown), Verdict::Unknown, Verdict::Unknown, false),
        ] {
            let declared = declared(vec![entry(policy.clone(), Some(Presence::Present))], vec![]);
            let judgement = ask_with(&team_app(), &by_role(everything()), &declared);
            assert_eq!(judgement.verdict, same, "{policy:?}");
            assert_eq!(judgement.notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED), noted, "{policy:?}");
            if same == Verdict::Unknown {
                assert_eq!(judgement.missing, [fact.clone()]);
            }
            let judgement = ask_with(&team_app(), &foreign(everything()), &declared);
            assert_eq!((judgement.verdict, judgement.missing), (across, vec![fact.clone()]), "{policy:?}");
        }
        // The first entry that matches counts, not the one that says more.
        let first = RepositoryEntry { pattern: ArnPattern::new("*team/*"), ..entry(None, None) };
        let denies = grants(json!("*"), json!("ecr:*"));
        let both = declared(vec![first, entry(Some(denies), None)], vec![]);
        assert!(
            ask_with(&team_app(), &by_role(everything()), &both).notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED)
        );
    }

    #[test]
    fn a_registry_policy_is_a_second_resource_policy() {
        let both = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
        let with = |policy: Option<ResourcePolicy>, scope| {
            let entry = entry(Some(grants(json!("*"), json!("ecr:DescribeImages"))), None);
            declared(vec![entry], vec![RegistryEntry { scope, ..registry(policy, &[]) }])
        };
        use RegistryPolicyScope::{V1, V2};
        for (policy, scope, same, across) in [
            (registry_policy("Allow", both.clone()), V2, Verdict::Allow, Verdict::Allow),
            // In its first version it decides neither manifests nor layers.
            (registry_policy("Allow", both.clone()), V1, Verdict::Allow, Verdict::Deny),
            (registry_policy("Deny", both.clone()), V2, Verdict::Deny, Verdict::Deny),
            (registry_policy("Deny", both), V1, Verdict::Allow, Verdict::Deny),
            (ResourcePolicy::Unknown, V2, Verdict::Unknown, Verdict::Unknown),
            (ResourcePolicy::Unknown, V1, Verdict::Allow, Verdict::Deny),
        ] {
            let declared = with(Some(policy.clone()), scope);
            let judgement = ask_with(&team_app(), &by_role(everything()), &declared);
            assert_eq!(judgement.verdict, same, "{policy:?} {scope:?}");
            assert!(!judgement.notes.contains(&note::NO_REGISTRY_POLICY_DECLARED));
            assert_eq!(
                ask_with(&team_app(), &foreign(everything()), &declared).verdict,
                across,
                "{policy:?} {scope:?}"
            );
        }
        // Of another region it says nothing.
        let elsewhere = image("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app");
        let denies = with(Some(registry_policy("Deny", json!("ecr:*"))), V2);
        assert_eq!(ask_with(&elsewhere, &by_role(everything()), &denies).verdict, Verdict::Allow);
    }

    #[test]
    fn whether_a_registry_policy_denies_login_is_not_documented() {
        let only_login = registry_policy("Deny", json!("ecr:GetAuthorizationToken"));
        let judgement = ask_with(
            &team_app(),
            &by_role(everything()),
            &declared(vec![], vec![registry(Some(only_login.clone()), &[])]),
        );
        assert_eq!(decisions(&judgement), ["Unknown", "Allowed", "Allowed"]);
        assert_eq!(judgement.missing, ["registryPolicy:111122223333/us-east-1"]);
        // One that denies the rest too denies the pull; an identity that does not allow login denies it anyway.
        let everything_denied = registry_policy("Deny", json!("ecr:*"));
        let denied = declared(vec![], vec![registry(Some(everything_denied), &[])]);
        assert_eq!(ask_with(&team_app(), &by_role(everything()), &denied).verdict, Verdict::Deny);
        let without = by_role(allow(json!("ecr:Batch*"), json!("*")));
        let denied = declared(vec![], vec![registry(Some(only_login.clone()), &[])]);
        assert_eq!(decisions(&ask_with(&team_app(), &without, &denied))[0], "ImplicitlyDenied");
        // It is the registry of the puller's own account that a login is asked of.
        let grant = || vec![entry(Some(grants(json!("*"), json!("ecr:*"))), None)];
        let of_image = declared(grant(), vec![registry(Some(only_login.clone()), &[])]);
        assert_eq!(ask_with(&team_app(), &foreign(everything()), &of_image).verdict, Verdict::Allow);
        let own = RegistryEntry { account: "444455556666".into(), ..registry(Some(only_login), &[]) };
        let of_puller = declared(grant(), vec![own]);
        let judgement = ask_with(&team_app(), &foreign(everything()), &of_puller);
        assert_eq!(judgement.missing, ["registryPolicy:444455556666/us-east-1"]);
        // What it allows is no login.
        let allows = declared(vec![], vec![registry(Some(registry_policy("Allow", json!("ecr:*"))), &[])]);
        assert_eq!(decisions(&ask_with(&team_app(), &without, &allows))[0], "ImplicitlyDenied");
    }

    #[test]
    fn boundary_and_organization_limit() {
        let bounded = |document: Value| {
            let mut policies = IdentityPolicies::default();
            policies.push(NamedPolicy::known("p", Policy::from_value(&everything()).unwrap()), OWN);
            policies.set_boundary(sourced("limit", &document));
            role(ROLE, Some(Arc::new(policies)))
        };
        let judgement = ask(&team_app(), &bounded(allow(json!("s3:*"), json!("*"))));
        assert_eq!(layers(&judgement), [Some("boundary"); 3]);
        assert_eq!(ask(&team_app(), &bounded(everything())).verdict, Verdict::Allow);

        let level = |name: &str, documents: &[Value]| PolicyLevel {
            level: name.to_owned(),
            policies: documents.iter().map(|document| sourced(name, document)).collect(),
        };
        let organization = |scps, rcps| Declared { organization: Organization { scps, rcps }, ..Declared::default() };
        let all = allow(json!("*"), json!("*"));
        let deny = |action: &str| {
            json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}]})
        };
        let scp = |action: &str| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]});
        let verdict = |declared: &Declared| {
            let judgement = ask_with(&team_app(), &by_role(everything()), declared);
            let layer = judgement.answers.iter().find(|answer| answer.is_denied()).map(|answer| answer.outcome.layer);
            (judgement.verdict, layer.flatten())
        };
        let open = level("root", std::slice::from_ref(&all));
        assert_eq!(verdict(&organization(vec![open.clone()], vec![])), (Verdict::Allow, None));
        // Every level must allow.
        let narrow = level("ou", &[allow(json!("s3:*"), json!("*"))]);
        assert_eq!(verdict(&organization(vec![open.clone(), narrow], vec![])), (Verdict::Deny, Some(Layer::Scp)));
        let guard = level("ou", &[all, scp("ecr:GetAuthorizationToken")]);
        assert_eq!(verdict(&organization(vec![open, guard], vec![])), (Verdict::Deny, Some(Layer::Scp)));
        let rcp = |action| organization(vec![], vec![level("root", &[deny(action)])]);
        assert_eq!(verdict(&rcp("ecr:BatchGetImage")), (Verdict::Deny, Some(Layer::Rcp)));
        assert_eq!(verdict(&rcp("ecr:GetAuthorizationToken")), (Verdict::Deny, Some(Layer::Rcp)));
        // A login is asked in the puller's account, to which the policies of the registry's account do not apply.
        let mut across = rcp("ecr:GetAuthorizationToken");
        across.repositories = vec![entry(Some(grants(json!("*"), json!("ecr:*"))), None)];
        assert_eq!(ask_with(&team_app(), &foreign(everything()), &across).verdict, Verdict::Allow);
    }

    /// Design 6.1.8: presence, whether a cache rule covers the repository, what is granted, verdict.
    #[test]
    fn presence_and_the_cache() {
        use Presence::{Missing, Present};
        use Verdict::{Allow, Deny, Unknown};
        let imports = allow(
            json!([
                "ecr:GetAuthorizationToken",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
                "ecr:BatchImportUpstreamImage"
            ]),
            json!("*"),
        );
        let (base, all, some) = (base(), everything(), imports);
        let hub = image(&format!("{REGISTRY}/hub/library/nginx"));
        for (presence, covered, document, verdict, existence, asked) in [
            (None, false, &base, Allow, Existence::Settled, 3),
            (Some(Present), false, &base, Allow, Existence::Settled, 3),
            (Some(Missing), false, &all, Deny, Existence::NotFound, 3),
            (Some(Present), true, &base, Allow, Existence::Settled, 3),
            (Some(Missing), true, &base, Deny, Existence::Settled, 5),
            (Some(Missing), true, &some, Deny, Existence::Settled, 5),
            (Some(Missing), true, &all, Allow, Existence::Settled, 5),
            (None, true, &all, Allow, Existence::Settled, 5),
            (None, true, &some, Unknown, Existence::OnlyIfCached, 5),
            (None, true, &base, Unknown, Existence::OnlyIfCached, 5),
            (None, true, &login(), Deny, Existence::Settled, 5),
        ] {
            let prefixes: &[&str] = if covered { &["hub"] } else { &["other"] };
            let declared = declared(vec![entry(None, presence)], vec![registry(None, prefixes)]);
            let judgement = ask_with(&hub, &by_role(document.clone()), &declared);
            let case = format!("{presence:?} {covered} {document}");
            assert_eq!(
                (judgement.verdict, judgement.existence, judgement.answers.len()),
                (verdict, existence, asked),
                "{case}"
            );
            let presence_fact = vec![format!("presence:{}", hub.arn())];
            assert_eq!(judgement.missing, if verdict == Unknown { presence_fact } else { vec![] }, "{case}");
            let noted = covered && presence == Some(Present);
            assert_eq!(judgement.notes.contains(&note::NO_IMPORT), noted, "{case}");
        }
    }

    #[test]
    fn what_may_fill_the_cache() {
        let hub = image(&format!("{REGISTRY}/hub/library/nginx"));
        let import = json!("ecr:BatchImportUpstreamImage");
        let both = json!(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]);
        for (repository, of_registry, scope, expected) in [
            // A repository policy grants imports, and does not exist before its repository.
            (Some(grants(json!("*"), both.clone())), None, RegistryPolicyScope::V2, ["Allowed", "ImplicitlyDenied"]),
            (None, Some(registry_policy("Allow", both.clone())), RegistryPolicyScope::V2, ["Allowed", "Allowed"]),
            (None, Some(registry_policy("Allow", both.clone())), RegistryPolicyScope::V1, ["Allowed", "Allowed"]),
            (None, Some(registry_policy("Allow", import)), RegistryPolicyScope::V2, ["Allowed", "ImplicitlyDenied"]),
            (None, None, RegistryPolicyScope::V2, ["ImplicitlyDenied", "ImplicitlyDenied"]),
        ] {
            let registry = RegistryEntry { scope, ..registry(of_registry, &["hub"]) };
            let declared = declared(vec![entry(repository, Some(Presence::Missing))], vec![registry]);
            let judgement = ask_with(&hub, &by_role(base()), &declared);
            assert_eq!(decisions(&judgement).get(3..), Some(expected.as_slice()), "{declared:?}");
        }
        // Across accounts nobody knows what a registry allows that was not declared.
        let cached = declared(vec![], vec![registry(None, &["hub"])]);
        let judgement = ask_with(&hub, &foreign(everything()), &cached);
        assert_eq!(decisions(&judgement), ["Allowed", "Unknown", "Unknown", "Unknown", "Unknown"]);
        assert!(
            judgement.missing.contains(&"registryPolicy:111122223333/us-east-1".to_owned()),
            "{:?}",
            judgement.missing
        );
    }

    #[test]
    fn tags_decide_where_they_are_known() {
        let by_tag = |key: &str| {
            json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
                {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"StringEquals": {key: "gold"}}}]})
        };
        let tags = |value: &str| BTreeMap::from([("tier".to_owned(), value.to_owned())]);
        let repository = by_tag("aws:ResourceTag/tier");
        for (known, verdict) in [
            (None, Verdict::Unknown),
            (Some(tags("gold")), Verdict::Allow),
            (Some(tags("lead")), Verdict::Deny),
            (Some(BTreeMap::new()), Verdict::Deny),
        ] {
            let entry = RepositoryEntry { tags: known.clone(), ..entry(None, None) };
            let judgement = ask_with(&team_app(), &by_role(repository.clone()), &declared(vec![entry], vec![]));
            assert_eq!(judgement.verdict, verdict, "{known:?}");
            let mut policies = IdentityPolicies::default();
            let document = by_tag("aws:PrincipalTag/tier");
            policies.push(NamedPolicy::known("p", Policy::from_value(&document).unwrap()), OWN);
            if let Some(tags) = known.clone() {
                policies.set_tags(tags);
            }
            assert_eq!(ask(&team_app(), &role(ROLE, Some(Arc::new(policies)))).verdict, verdict, "{known:?}");
        }
        // A repository that is not there yet has no tags, whatever the entry says of its like.
        let missing = RepositoryEntry { tags: Some(tags("gold")), ..entry(None, Some(Presence::Missing)) };
        let hub = image(&format!("{REGISTRY}/hub/library/nginx"));
        let judgement = ask_with(&hub, &by_role(repository), &declared(vec![missing], vec![registry(None, &["hub"])]));
        assert_eq!(judgement.verdict, Verdict::Deny);
    }

    #[test]
    fn alternatives_must_agree() {
        let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}}}]});
        let within = |values: &[&str]| {
            let mut declared = Declared::default();
            declared.context.set("AWS:SourceVpc", values.iter().map(|value| (*value).to_owned()).collect());
            let judgement = ask_with(&team_app(), &by_role(document.clone()), &declared);
            (judgement.verdict, judgement.missing)
        };
        assert_eq!(within(&["vpc-1"]), (Verdict::Allow, vec![]));
        assert_eq!(within(&["vpc-1", "vpc-2"]), (Verdict::Allow, vec![]));
        assert_eq!(within(&["vpc-1", "vpc-3"]), (Verdict::Unknown, vec!["aws:sourcevpc".to_owned()]));
        assert_eq!(within(&["vpc-3", "vpc-4"]), (Verdict::Deny, vec![]));
        assert_eq!(within(&[]), (Verdict::Deny, vec![]));
    }

    #[test]
    fn further_needs_are_asked_beside_the_pull() {
        let judgement = judge(
            &team_app(),
            &by_role(allow(json!(["ecr:Get*", "ecr:Batch*", "ecr:List*"]), json!("*"))),
            &Declared::default(),
            &[Need::Pull, Need::List, Need::Push],
            at(),
        );
        assert_eq!(judgement.verdict, Verdict::Deny);
        let refused: Vec<_> = judgement
            .answers
            .iter()
            .filter(|answer| answer.is_denied())
            .map(|answer| (answer.ask.action, answer.ask.need))
            .collect();
        assert_eq!(
            refused,
            [
                ("ecr:InitiateLayerUpload", Need::Push),
                ("ecr:UploadLayerPart", Need::Push),
                ("ecr:CompleteLayerUpload", Need::Push),
                ("ecr:PutImage", Need::Push)
            ]
        );
    }

    #[test]
    fn the_assumed_account_is_not_held_against_the_puller() {
        let root = json!({"AWS": "arn:aws:iam::111122223333:root"});
        let deny = json!({"Effect": "Deny", "Principal": root, "Action": "ecr:BatchGetImage"});
        let but_others = json!([deny, {"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}]);
        let judgement =
            ask_with(&team_app(), &service_account(everything()), &declared_policy(resource_policy(but_others)));
        assert_eq!((judgement.verdict, judgement.missing), (Verdict::Unknown, vec!["account".to_owned()]));
        // Where others are not let in either, it is denied all the same.
        let alone = declared_policy(resource_policy(json!([deny])));
        assert_eq!(ask_with(&team_app(), &service_account(everything()), &alone).verdict, Verdict::Deny);
        // Whichever its account is.
        let deny = resource_policy(json!([{"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}]));
        let judgement = ask_with(&team_app(), &service_account(everything()), &declared_policy(deny));
        assert_eq!(judgement.verdict, Verdict::Deny);
    }

    #[test]
    fn what_is_certain_without_the_role_is_certain() {
        let puller = role(ROLE, None);
        let deny = resource_policy(json!([{"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}]));
        assert_eq!(ask_with(&team_app(), &puller, &declared_policy(deny)).verdict, Verdict::Deny);
        let allow = grants(json!("*"), json!("ecr:*"));
        assert_eq!(ask_with(&team_app(), &puller, &declared_policy(allow)).verdict, Verdict::Unknown);
        let missing = declared(vec![entry(None, Some(Presence::Missing))], vec![]);
        assert_eq!(ask_with(&team_app(), &puller, &missing).existence, Existence::NotFound);
    }

    #[test]
    fn verdicts_fold() {
        use Verdict::{Allow, Deny, OutOfScope, Unknown};
        for (verdicts, all) in [
            (vec![], Allow),
            (vec![Allow, OutOfScope], Allow),
            (vec![Allow, Unknown, Allow], Unknown),
            (vec![Unknown, Deny], Deny),
            (vec![Deny, Unknown], Deny),
        ] {
            assert_eq!(Verdict::all(verdicts.clone()), all, "{verdicts:?}");
        }
    }
}
