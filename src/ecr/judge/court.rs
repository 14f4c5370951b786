//! One puller before one repository after another: which policies and facts bear upon each request.

use std::collections::{BTreeMap, BTreeSet};

use iam_verdict::{Account, Decision, Environment, NamedPolicy, Outcome, PolicyState, Principal, Request};
use jiff::Timestamp;

use super::hearing::{Hearing, Missing, open};
use super::{Answer, Existence, Judgement, Puller, Verdict, Who, is_cached, note};
use crate::ecr::arn::RoleArn;
use crate::ecr::context::{Facts, PROVIDER_SESSION, Session, Target, asks_for_session_only, contexts};
use crate::ecr::declared::{
    Declared, PolicyLevel, Presence, RegistryEntry, RegistryPolicyScope, RepositoryEntry, ResourcePolicy,
    condition_keys,
};
use crate::ecr::image::EcrImage;
use crate::ecr::missing::MissingFact;
use crate::ecr::needs::{self, Ask, Need};

/// A name for what a policy that was not declared at all would be called.
const REPOSITORY_POLICY: &str = "repositoryPolicy";
const REGISTRY_POLICY: &str = "registryPolicy";

/// The condition keys that tell the time.
const TIME_KEYS: [&str; 2] = ["aws:currenttime", "aws:epochtime"];

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
    /// What is missing of these policies.
    unread: Vec<MissingFact>,
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
    /// What is missing of the policies of this side.
    unread: Vec<MissingFact>,
}

/// The hearings of one puller about one repository, by what they are about.
struct Hearings<'c, 'p> {
    court: &'c Court<'c>,
    place: &'p Place<'p>,
    login: Option<Hearing>,
    repository: Option<Hearing>,
    import: Option<Hearing>,
    creation: Option<Hearing>,
}

impl<'a> Court<'a> {
    /// Prepares to judge what `puller` may do.
    #[must_use]
    pub fn new(puller: &'a Puller, declared: &'a Declared, at: Timestamp) -> Self {
        let mut keys: BTreeSet<&str> = puller.identity.iter().flat_map(|identity| identity.condition_keys()).collect();
        let mut unread: Vec<MissingFact> = match &puller.identity {
            Some(identity) => identity.missing().cloned().collect(),
            None => vec![identity_fact(&puller.who)],
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
                Some(identity) => identity.policies().to_vec(),
                None => vec![NamedPolicy::unreadable("identity", identity_fact(&puller.who).to_string())],
            },
            boundary: puller.identity.as_ref().and_then(|i| i.boundary()).map(|boundary| boundary.policy.clone()),
            scps,
            ..Environment::default()
        };
        Self { puller, declared, at, principal: principal(&puller.who), environment, rcps, keys, unread }
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
        let mut hearings = Hearings::new(self, &place);
        let mut answers = Vec::with_capacity(asked.len() + 3);
        for ask in needs::asks(image, &asked) {
            let conditional = ask.need == Need::Import && presence.is_none();
            let facts = if conditional { &mut import_missing } else { &mut missing };
            let (answer, change) = self.answer(&mut hearings, ask, facts);
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
            missing.add(MissingFact::Presence(image.arn().to_string()));
            missing.extend(import_missing.facts);
        }
        if verdict == Verdict::Allow {
            notes.extend(self.advice(&mut hearings, cached, &answers));
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
        let mut unread = Vec::new();
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
                Some(named(policy, REPOSITORY_POLICY, || repository_fact(image), &mut unread))
            }
            // With the puller's policies declared, leaving out the repository's asserts that there is none. Without
            // them everything is open already, and declaring them settles both.
            None if same_account => {
                if self.puller.identity.is_some() {
                    notes.push(note::NO_REPOSITORY_POLICY_DECLARED);
                }
                None
            }
            None => Some(not_known(REPOSITORY_POLICY, repository_fact(image), &mut unread)),
        };
        let mut registry_named = |(registry, policy): (&RegistryEntry, &ResourcePolicy)| {
            named(policy, REGISTRY_POLICY, || registry_fact(&registry.account, &image.region), &mut unread)
        };
        let registry_of_login = match self.role() {
            None => registry,
            Some(_) if other_partition || same_account => registry.filter(|_| same_account),
            Some(arn) => self.declared.registry(arn.account(), &image.region),
        };
        let registry_of_login = registry_of_login
            .filter(|registry| registry.scope == RegistryPolicyScope::V2)
            .and_then(|registry| Some(registry_named((registry, registry.policy.as_ref()?))));
        let registry_of_repository = registry_policy.filter(|_| !other_partition).map(registry_named);
        if let (Some(NamedPolicy { policy: PolicyState::Unreadable(_), .. }), None, false) =
            (&repository, &registry_of_repository, same_account)
        {
            // Of a repository that is to be made, see `hearing`.
            unread.push(registry_fact(&image.account, &image.region));
        }
        let mut place = Place {
            image,
            same_account,
            repository,
            registry: registry_of_repository,
            registry_scope: registry.map(|registry| registry.scope).unwrap_or_default(),
            registry_of_login,
            tags: entry.and_then(|entry| entry.tags.as_ref()),
            keys: BTreeSet::new(),
            unread,
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
    fn answer(&self, hearings: &mut Hearings<'_, '_>, ask: Ask, missing: &mut Missing) -> (Answer, Option<Timestamp>) {
        let place = hearings.place;
        let fact = |name| self.fact(place, name);
        let hearing = hearings.of(&ask);
        let mut outcome = hearing.decide(missing, fact);
        let mut next_change = hearing.next_change();
        let denied =
            |outcome: &Outcome| matches!(outcome.decision, Decision::ExplicitlyDenied | Decision::ImplicitlyDenied);
        // Design 6.1.4: that the puller is of the registry's account is assumed, and never causes a Deny. What nobody
        // allows in one account nobody allows across accounts, which takes both sides; a statement that denies by
        // account may be about another one.
        let by_statement = outcome.decision == Decision::ExplicitlyDenied;
        if by_statement && matches!(self.puller.who, Who::ServiceAccount { .. }) {
            let elsewhere = self.elsewhere(place, &ask);
            if !denied(&elsewhere.decide(&mut Missing::default(), fact)) {
                missing.add(MissingFact::Account);
                outcome = open();
            }
        }
        if let (true, false, Some(policy)) = (ask.is_login(), denied(&outcome), &place.registry_of_login) {
            // Whether a registry policy can deny a login is not documented; that it cannot grant one is.
            hearing.environment.registry = Some(policy.clone());
            let decision = hearing.decide(&mut Missing::default(), fact).decision;
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

    /// What the engine calls by this name. A key that the user declared is one, whatever its name looks like: no other key
    /// that could be taken for a fact of another kind is ever open.
    fn fact(&self, place: &Place<'_>, name: String) -> MissingFact {
        if let Some(written) = self.declared.context.written(&name) {
            return MissingFact::ConditionKey(written.to_owned());
        }
        let mut unread = self.unread.iter().chain(&place.unread);
        match unread.find(|fact| fact.to_string() == name) {
            Some(fact) => fact.clone(),
            None if name == "account" => MissingFact::Account,
            None if name == "principal" => MissingFact::Principal,
            None => MissingFact::ConditionKey(name),
        }
    }

    /// What is refused although a pull does not need it at once.
    fn advice(&self, hearings: &mut Hearings<'_, '_>, cached: bool, answers: &[Answer]) -> Vec<&'static str> {
        let mut refused = |action: &'static str, need: Need| {
            let ask = Ask { action, resource: hearings.place.image.arn().to_string(), need };
            !answers.iter().any(|answer| answer.ask.action == action)
                && self.answer(hearings, ask, &mut Missing::default()).0.is_denied()
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
                    environment.registry = Some(NamedPolicy::unreadable(REGISTRY_POLICY, fact.to_string()));
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
        // A time that the user declared does not pass.
        let reads_time = |key: &str| TIME_KEYS.contains(&key) && self.declared.context.get(key).is_none();
        let clock = keys.clone().any(reads_time).then_some(self.at);
        let request = |context| Request {
            principal: self.principal.clone(),
            action: ask.action.to_owned(),
            resource: ask.resource.clone(),
            context,
        };
        let requests = contexts(keys, &facts).into_iter().map(request).collect();
        Hearing { environment, requests, clock }
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

impl<'c, 'p> Hearings<'c, 'p> {
    fn new(court: &'c Court<'c>, place: &'p Place<'p>) -> Self {
        Self { court, place, login: None, repository: None, import: None, creation: None }
    }

    /// The hearing of a request. Requests that differ in their action alone share one.
    fn of(&mut self, ask: &Ask) -> &mut Hearing {
        let slot = match ask.action {
            needs::LOGIN => &mut self.login,
            needs::CREATE => &mut self.creation,
            needs::IMPORT => &mut self.import,
            _ => &mut self.repository,
        };
        let hearing = slot.get_or_insert_with(|| self.court.hearing(self.place, ask));
        hearing.ask(ask.action);
        hearing
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

static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
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

/// A declared policy as the engine takes it; adds to `unread` what is missing of it.
fn named(
    policy: &ResourcePolicy,
    name: &str,
    fact: impl FnOnce() -> MissingFact,
    unread: &mut Vec<MissingFact>,
) -> NamedPolicy {
    match policy {
        ResourcePolicy::Policy(sourced) => {
            unread.extend(sourced.missing.clone());
            sourced.policy.clone()
        }
        ResourcePolicy::Unknown => not_known(name, fact(), unread),
    }
}

fn not_known(name: &str, fact: MissingFact, unread: &mut Vec<MissingFact>) -> NamedPolicy {
    let policy = NamedPolicy::unreadable(name, fact.to_string());
    unread.push(fact);
    policy
}

fn identity_fact(who: &Who) -> MissingFact {
    match who {
        Who::Role { arn, .. } => MissingFact::Role(arn.clone()),
        Who::ServiceAccount { .. } => MissingFact::PullerRole,
    }
}

fn repository_fact(image: &EcrImage) -> MissingFact {
    MissingFact::RepositoryPolicy(image.arn().to_string())
}

fn registry_fact(account: &str, region: &str) -> MissingFact {
    MissingFact::RegistryPolicy { account: account.to_owned(), region: region.to_owned() }
}
