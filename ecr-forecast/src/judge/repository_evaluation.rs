//! One puller and one repository: the requests of a pull, each with the policies and facts that bear upon it, decided and
//! folded into a verdict.

use std::collections::{BTreeMap, BTreeSet};

use iam_verdict::{Account, Decision, Environment, NamedPolicy, NearMiss, Outcome, PolicyState, Request};

use crate::ecr::arn::RoleArn;
use crate::ecr::aws_registries;
use crate::ecr::condition_keys::{Facts, TIME_KEYS, Target, asks_for_session_only, contexts};
use crate::ecr::image::EcrImage;
use crate::ecr::needs::{self, Need, RequiredRequest};
use crate::facts::declared::{
    Presence, RegistryEntry, RegistryPolicyScope, RepositoryEntry, ResourcePolicy, condition_keys,
};
use crate::facts::missing::MissingFact;
use crate::judge::pull_evaluator::PullEvaluator;
use crate::judge::pull_judgement::{Existence, RequestDecision, Verdict, is_cached, is_denied, note};
use crate::judge::request_evaluation::{Missing, RequestEvaluation, Time};

/// A name for what a policy that was not declared at all would be called.
const REPOSITORY_POLICY: &str = "repositoryPolicy";
const REGISTRY_POLICY: &str = "registryPolicy";

/// One puller before one repository. Requests that differ in their action alone share their evaluation.
#[derive(Debug)]
pub(crate) struct RepositoryEvaluation<'a> {
    evaluator: &'a PullEvaluator<'a>,
    place: ResourceSide<'a>,
    /// Whether the repository, with the tag that is pulled, is there; none where that is not known.
    presence: Option<Presence>,
    /// A pull-through cache rule covers the repository.
    cached: bool,
    /// When the requests are made.
    time: Time,
    login: Option<RequestEvaluation>,
    repository: Option<RequestEvaluation>,
    import: Option<RequestEvaluation>,
    creation: Option<RequestEvaluation>,
}

/// What is known of one repository's side, seen from one puller.
#[derive(Debug)]
struct ResourceSide<'a> {
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

impl<'a> RepositoryEvaluation<'a> {
    /// Prepares to judge what the puller of `evaluator` can do with the repository of `image`; adds to `notes` what the
    /// verdict rests on.
    pub(crate) fn new(evaluator: &'a PullEvaluator<'a>, image: &'a EcrImage, notes: &mut Vec<&'static str>) -> Self {
        let entry = evaluator.declared.repository(image);
        let registry = evaluator.declared.registry(&image.account, &image.region);
        Self {
            evaluator,
            place: ResourceSide::new(evaluator, image, entry, registry, notes),
            presence: entry.and_then(|entry| entry.presence),
            cached: is_cached(image, evaluator.declared),
            time: Time::At(evaluator.at),
            login: None,
            repository: None,
            import: None,
            creation: None,
        }
    }

    /// The requests that these needs make, in the order of a pull.
    pub(crate) fn requests(&self, needs: &[Need]) -> Vec<RequiredRequest> {
        // RES-11: what is not in the cache yet must be imported, and its repository made.
        let mut asked = needs.to_vec();
        if self.cached && self.presence != Some(Presence::Present) && needs.contains(&Need::Pull) {
            asked.insert(0, Need::Pull);
            asked.insert(1, Need::Import);
        }
        needs::requests(self.place.image, &asked)
    }

    /// Whether nobody knows if the pull makes this request at all.
    pub(crate) fn is_conditional(&self, request: &RequiredRequest) -> bool {
        request.need == Need::Import && self.presence.is_none()
    }

    /// Whether the repository is not there, and nothing makes it: then no decision matters.
    pub(crate) fn is_missing(&self) -> bool {
        self.presence == Some(Presence::Missing) && !self.cached
    }

    /// Folds the decisions of all requests into the verdict on the repository.
    pub(crate) fn fold<'d>(
        &self,
        decisions: impl Iterator<Item = (&'d RequiredRequest, Decision)> + Clone,
    ) -> (Verdict, Existence) {
        let fold = |conditional: bool| {
            let of = decisions.clone().filter(|(request, _)| self.is_conditional(request) == conditional);
            Verdict::all(of.map(|(_, decision)| verdict_of(decision)))
        };
        match (fold(false), fold(true)) {
            _ if self.is_missing() => (Verdict::Deny, Existence::NotFound),
            (Verdict::Deny, _) => (Verdict::Deny, Existence::Settled),
            (sure, Verdict::Allow) => (sure, Existence::Settled),
            _ => (Verdict::Unknown, Existence::OnlyIfCached),
        }
    }

    /// Decides one request; adds to `missing` what would settle it.
    pub(crate) fn outcome(&mut self, request: &RequiredRequest, missing: &mut Missing) -> Outcome {
        let mut evaluation = self.take(request);
        let fact = |name| self.fact(name);
        let mut outcome = evaluation.decide(missing, fact);
        if let (true, false, Some(policy)) =
            (request.is_login(), is_denied(outcome.decision), &self.place.registry_of_login)
        {
            // Whether a registry policy can deny a login is not documented; that it cannot grant one is.
            let decision = under_registry(&mut evaluation, policy, |evaluation| {
                evaluation.decide(&mut Missing::unwanted(), fact).decision
            });
            let may_deny = decision == Decision::ExplicitlyDenied
                || (decision == Decision::Unknown && outcome.decision == Decision::Allowed);
            if may_deny {
                missing.add(registry_fact(self.login_account(), &self.place.image.region));
                outcome = Outcome::unknown();
            }
        }
        self.keep(request, evaluation);
        outcome
    }

    /// The statement that came closest to allowing what is denied although no statement denies it.
    pub(crate) fn nearest_miss(&mut self, answer: &RequestDecision) -> Option<NearMiss> {
        if answer.outcome.decision != Decision::ImplicitlyDenied {
            return None;
        }
        let evaluation = self.take(&answer.request);
        let miss = evaluation.nearest_miss();
        self.keep(&answer.request, evaluation);
        miss
    }

    /// What is refused although a pull does not need it at once.
    pub(crate) fn advice(&mut self, answers: &[RequestDecision]) -> Vec<&'static str> {
        let (cached, resource) = (self.cached, self.place.image.arn().to_string());
        let mut refused = |action: &'static str, need: Need| {
            let request = RequiredRequest { action, resource: resource.clone(), need };
            !answers.iter().any(|answer| answer.request.action == action)
                && is_denied(self.outcome(&request, &mut Missing::unwanted()).decision)
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

    /// Whether some request that was looked at reads the time.
    pub(crate) fn reads_clock(&self) -> bool {
        let evaluations = [&self.login, &self.repository, &self.import, &self.creation];
        evaluations.into_iter().flatten().any(RequestEvaluation::reads_clock)
    }

    /// The seconds, since 1970-01-01T00:00:00Z and after the evaluator's time, at which the decision of a request may be
    /// another one, in order; between two of them it stays.
    pub(crate) fn instants(&mut self, request: &RequiredRequest) -> Vec<i64> {
        let mut evaluation = self.take(request);
        let now = self.evaluator.at.as_second();
        let mut all = evaluation.instants(now);
        if let (true, Some(policy)) = (request.is_login(), &self.place.registry_of_login) {
            all.extend(under_registry(&mut evaluation, policy, |evaluation| evaluation.instants(now)));
        }
        self.keep(request, evaluation);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Decides one request at another time.
    pub(crate) fn decision(&mut self, request: &RequiredRequest, time: Time) -> Decision {
        self.time = time;
        self.outcome(request, &mut Missing::unwanted()).decision
    }

    /// Whether one look tells that a request is allowed at every time, or refused at every time.
    pub(crate) fn is_settled(&mut self, request: &RequiredRequest) -> bool {
        self.time = Time::Any;
        let mut evaluation = self.take(request);
        let settled = match (evaluation.allows_at_sight(), &self.place.registry_of_login) {
            (Some(true), Some(policy)) if request.is_login() => {
                under_registry(&mut evaluation, policy, |evaluation| evaluation.allows_at_sight() == Some(true))
            }
            (Some(_), _) => true,
            (None, _) => false,
        };
        self.keep(request, evaluation);
        settled
    }

    /// The evaluation of a request.
    fn take(&mut self, request: &RequiredRequest) -> RequestEvaluation {
        let mut evaluation = self.slot(request).take().unwrap_or_else(|| self.evaluation(request));
        evaluation.set_action(request.action);
        evaluation.set_time(self.time);
        evaluation
    }

    fn keep(&mut self, request: &RequiredRequest, evaluation: RequestEvaluation) {
        *self.slot(request) = Some(evaluation);
    }

    fn slot(&mut self, request: &RequiredRequest) -> &mut Option<RequestEvaluation> {
        match request.action {
            needs::LOGIN => &mut self.login,
            needs::CREATE => &mut self.creation,
            needs::IMPORT => &mut self.import,
            _ => &mut self.repository,
        }
    }

    /// Arranges the layers and the context for one request.
    fn evaluation(&self, request: &RequiredRequest) -> RequestEvaluation {
        let Self { evaluator, place, .. } = self;
        let mut environment = evaluator.environment.clone();
        let login = request.is_login();
        if login {
            // Asked in the puller's own account, where no policy of a repository has a say.
            environment.resource_account = Account::SameAsResource;
        } else {
            environment.resource_account = place.account(evaluator.role());
            let by_registry_v1 = matches!(request.need, Need::Import);
            if place.registry_scope == RegistryPolicyScope::V2 || by_registry_v1 {
                environment.registry.clone_from(&place.registry);
            }
            match (&place.repository, request.action) {
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
        // The policies of one's own organization do not reach a registry of AWS's.
        if (!login || place.same_account) && !aws_registries::is_of_aws(&place.image.account) {
            environment.rcps.clone_from(&evaluator.rcps);
        }
        let role = evaluator.role();
        let facts = Facts {
            session: evaluator.puller.principal.session,
            principal_arn: Some(role.as_str()),
            principal_account: Some(role.account()),
            principal_tags: evaluator.puller.identity.as_ref().and_then(|identity| identity.tags()),
            resource_account: Some(if login { role.account() } else { &place.image.account }),
            region: &place.image.region,
            target: match request.action {
                needs::LOGIN => Target::Login,
                needs::CREATE => Target::Creation,
                action => Target::Repository { tags: place.tags, importing: action == needs::IMPORT },
            },
            user_id_by_session: user_id_by_session(&environment),
            declared: &evaluator.declared.context,
            at: evaluator.at,
        };
        let own = place.keys.iter().map(String::as_str).filter(|key| !evaluator.keys.contains(key));
        let keys = evaluator.keys.iter().copied().chain(own);
        // A time that the user declared does not pass.
        let passes =
            |key: &&str| keys.clone().any(|used| used == *key) && evaluator.declared.context.get(key).is_none();
        let clock = TIME_KEYS.into_iter().filter(passes).collect();
        let request = |context| Request {
            principal: evaluator.principal.clone(),
            action: request.action.to_owned(),
            resource: request.resource.clone(),
            context,
        };
        let requests = contexts(keys.clone(), &facts).into_iter().map(request).collect();
        RequestEvaluation::new(environment, requests, clock, evaluator.at)
    }

    /// What the engine calls by this name. A key that the user declared is one, whatever its name looks like: no other key
    /// that could be taken for a fact of another kind is ever open.
    fn fact(&self, name: String) -> MissingFact {
        if let Some(written) = self.evaluator.declared.context.written(&name) {
            return MissingFact::ConditionKey(written.to_owned());
        }
        let mut unread = self.evaluator.unread.iter().chain(&self.place.unread);
        match unread.find(|fact| fact.to_string() == name) {
            Some(fact) => fact.clone(),
            None if name == "principal" => MissingFact::Principal,
            None => MissingFact::ConditionKey(name),
        }
    }

    fn login_account(&self) -> &str {
        self.evaluator.role().account()
    }
}

impl<'a> ResourceSide<'a> {
    /// RES-8: the resource side of one repository.
    fn new(
        evaluator: &PullEvaluator<'a>,
        image: &'a EcrImage,
        entry: Option<&'a RepositoryEntry>,
        registry: Option<&'a RegistryEntry>,
        notes: &mut Vec<&'static str>,
    ) -> Self {
        let role = evaluator.role();
        let other_partition = role.partition() != image.partition;
        let same_account = !other_partition && role.account() == image.account;
        let registry_policy = registry.and_then(|registry| Some((registry, registry.policy.as_ref()?)));
        let mut unread = Vec::new();
        let repository = match entry.and_then(|entry| entry.policy.as_ref()) {
            // A policy of one partition cannot name a principal of another.
            _ if other_partition => {
                notes.push(note::PULLER_OF_OTHER_PARTITION);
                None
            }
            // RES-8: whoever AWS lets in, it lets in everybody; a policy that somebody wrote down for it counts.
            None | Some(ResourcePolicy::Unknown) if !same_account && aws_registries::is_of_aws(&image.account) => {
                aws_registries::open_policy()
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
                if evaluator.puller.identity.is_some() {
                    notes.push(note::NO_REPOSITORY_POLICY_DECLARED);
                }
                None
            }
            None => Some(not_known(REPOSITORY_POLICY, repository_fact(image), &mut unread)),
        };
        let mut registry_named = |(registry, policy): (&RegistryEntry, &ResourcePolicy)| {
            named(policy, REGISTRY_POLICY, || registry_fact(&registry.account, &image.region), &mut unread)
        };
        let registry_of_login = if other_partition || same_account {
            registry.filter(|_| same_account)
        } else {
            evaluator.declared.registry(role.account(), &image.region)
        };
        let registry_of_login = registry_of_login
            .filter(|registry| registry.scope == RegistryPolicyScope::V2)
            .and_then(|registry| Some(registry_named((registry, registry.policy.as_ref()?))));
        let registry_of_repository = registry_policy.filter(|_| !other_partition).map(registry_named);
        if let (Some(NamedPolicy { policy: PolicyState::Unreadable(_), .. }), None, false) =
            (&repository, &registry_of_repository, same_account)
        {
            // Of a repository that is to be made, see `evaluation`.
            unread.push(registry_fact(&image.account, &image.region));
        }
        let policies = repository.iter().chain(&registry_of_repository).chain(&registry_of_login);
        let keys = policies.flat_map(condition_keys).map(str::to_owned).collect();
        Self {
            image,
            same_account,
            repository,
            registry: registry_of_repository,
            registry_scope: registry.map(|registry| registry.scope).unwrap_or_default(),
            registry_of_login,
            // What is not there has no tags.
            tags: match entry.and_then(|entry| entry.presence) {
                Some(Presence::Missing) => Some(&NO_TAGS),
                _ => entry.and_then(|entry| entry.tags.as_ref()),
            },
            keys,
            unread,
        }
    }

    /// The account that owns the repository. With its partition, an account never equals one of another partition.
    fn account(&self, role: &RoleArn) -> Account {
        let EcrImage { account, partition, .. } = self.image;
        let same = role.partition() == *partition;
        Account::Known(if same { account.clone() } else { format!("{partition}:{account}") })
    }
}

/// What `look` finds with the registry policy of the puller's own account in force, which a login is judged without.
fn under_registry<T>(
    evaluation: &mut RequestEvaluation,
    policy: &NamedPolicy,
    look: impl FnOnce(&mut RequestEvaluation) -> T,
) -> T {
    evaluation.environment.registry = Some(policy.clone());
    let found = look(evaluation);
    evaluation.environment.registry = None;
    found
}

static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();

const fn verdict_of(decision: Decision) -> Verdict {
    match decision {
        Decision::Allowed => Verdict::Allow,
        Decision::Unknown => Verdict::Unknown,
        Decision::ExplicitlyDenied | Decision::ImplicitlyDenied => Verdict::Deny,
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

fn repository_fact(image: &EcrImage) -> MissingFact {
    MissingFact::RepositoryPolicy(image.arn().to_string())
}

fn registry_fact(account: &str, region: &str) -> MissingFact {
    MissingFact::RegistryPolicy { account: account.to_owned(), region: region.to_owned() }
}
