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
use super::context::{Facts, Session, Target, contexts};
use super::declared::{
    Declared, PolicyLevel, Presence, RegistryEntry, RegistryPolicyScope, RepositoryEntry, ResourcePolicy,
    condition_keys,
};
use super::image::EcrImage;
use super::needs::{self, Ask, Need};

pub use super::declared::{IdentityPolicies, PolicySource};

/// The session name that the ECR credential provider of kubelet gives itself.
const PROVIDER_SESSION: &str = "ecr-credential-provider";

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

    /// The same request of a puller whose account is not known.
    fn elsewhere(&self, place: &Place<'_>, ask: &Ask) -> Hearing {
        let mut hearing = self.hearing(place, ask);
        if !ask.is_login() {
            hearing.environment.resource_account = Account::Known(place.image.account.clone());
            if place.repository.is_none() && ask.action != needs::CREATE {
                let fact = repository_fact(place.image);
                hearing.environment.resource = Some(NamedPolicy::unreadable(REPOSITORY_POLICY, fact));
            }
            for request in &mut hearing.requests {
                request.principal.account = Account::Unknown;
            }
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
    fn the_same_account_number_in_another_partition_is_another_account() {
        let all = identity(&[("all", allow(json!("*"), json!("*")))]);
        let chinese = image("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app");
        assert_eq!(ask(&chinese, &role(ROLE, Some(all))).verdict, Verdict::Unknown);
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
