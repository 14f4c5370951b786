//! The smallest changes that turn a Deny into an Allow.
//!
//! They are found by trying: the layer that refuses is changed, and the pull is judged again by the function that
//! judges everything else, until nothing refuses any more. So a step is never proposed that does not help, and every
//! layer that would refuse next has its step.

use std::collections::BTreeMap;
use std::sync::Arc;

use iam_verdict::{Decision, Layer, NearMiss, Outcome};
use jiff::Timestamp;

use crate::diagnose::edit::{self, Statement};
use crate::diagnose::editable_policy::EditablePolicy;
use crate::diagnose::fix::{Fix, FixKind, boundary_name, create_repository};
use crate::diagnose::near_miss::{close, hint};
use crate::ecr::ArnPattern;
use crate::ecr::image::EcrImage;
use crate::ecr::needs::{Need, RequiredRequest};
use crate::facts::declared::{
    Declared, IdentityPolicies, PolicyLevel, PolicySource, Presence, RegistryEntry, RegistryPolicyScope,
    RepositoryEntry, ResourcePolicy,
};
use crate::facts::missing::MissingFact;
use crate::judge::{Existence, Misses, PullEvaluator, PullJudgement, RequestDecision, Verdict};
use crate::puller::Puller;

/// Whatever may have been asked for.
const EVERY_NEED: [Need; 5] = [Need::Pull, Need::Import, Need::Push, Need::List, Need::Console];

/// A pull is tried again at most so often; each time one more layer or statement is changed.
const MAX_ROUNDS: usize = 24;

/// The smallest changes after which every request that is denied to any of the candidates is allowed to it, as far as
/// the rest is known. Empty where nothing is denied.
#[must_use]
pub(crate) fn fixes(
    image: &EcrImage,
    candidates: &[(&Puller, &PullJudgement)],
    declared: &Declared,
    needs: &[Need],
    at: Timestamp,
) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = Vec::new();
    let mut declared = declared.clone();
    for (puller, judgement) in candidates {
        let missing = judgement.existence == Existence::NotFound;
        if !missing && !judgement.answers.iter().any(RequestDecision::is_denied) {
            continue;
        }
        let arn = &puller.principal.arn;
        if arn.partition() != image.partition {
            let why = format!(
                "no policy helps: a role of partition {} cannot pull from one of {}; copy the image to a registry of {0}",
                arn.partition(),
                image.partition
            );
            push(&mut fixes, Fix::other(FixKind::None, why));
            continue;
        }
        let mut search = FixSearch::new(image, puller, &declared, at);
        let mut judgement = (*judgement).clone();
        search.present = missing;
        // What was changed for another candidate may serve this one too.
        let again = missing || !fixes.is_empty();
        for round in 0..MAX_ROUNDS {
            let (puller, declared) = (search.puller(), search.declared());
            let evaluator = PullEvaluator::new(&puller, &declared, at);
            if round > 0 || again {
                judgement = evaluator.judge(image, needs);
            }
            if !search.improve(&judgement, &mut evaluator.misses(image)) {
                break;
            }
        }
        if missing {
            push(&mut fixes, create_repository(image));
        }
        search.fixes().into_iter().for_each(|fix| push(&mut fixes, fix));
        declared = search.declared();
    }
    fixes
}

/// Adds a step; one that is about the same statement as an earlier one goes further than that.
fn push(fixes: &mut Vec<Fix>, fix: Fix) {
    let narrows = fix.kind == FixKind::NarrowDeny;
    let same = |known: &Fix| {
        *known == fix
            || (narrows
                && known.kind == fix.kind
                && (known.attach_to, &known.target, &known.policy, &known.statement)
                    == (fix.attach_to, &fix.target, &fix.policy, &fix.statement))
    };
    match fixes.iter_mut().find(|known| same(known)) {
        Some(known) => *known = fix,
        None => fixes.push(fix),
    }
}

/// A request that no statement denies and that is denied all the same.
struct Refused {
    request: RequiredRequest,
    outcome: Outcome,
    /// The statement that came closest to allowing it.
    miss: Option<NearMiss>,
}

impl Refused {
    fn new(answer: &RequestDecision, misses: &mut Misses<'_>) -> Self {
        Self { request: answer.request.clone(), outcome: answer.outcome.clone(), miss: misses.nearest(answer) }
    }

    fn close(&self) -> Option<&NearMiss> {
        close(self.miss.as_ref())
    }
}

/// One level of an organization.
struct Level {
    name: String,
    policies: Vec<EditablePolicy>,
}

/// Everything that a change can be made to, for one puller and one repository.
struct FixSearch<'a> {
    image: &'a EcrImage,
    arn: String,
    at: Timestamp,
    before: &'a Puller,
    declared_before: &'a Declared,
    identity: Vec<EditablePolicy>,
    boundary: Option<EditablePolicy>,
    repository: Option<EditablePolicy>,
    registry: Option<EditablePolicy>,
    scps: Vec<Level>,
    rcps: Vec<Level>,
    /// The repository was made.
    present: bool,
}

impl<'a> FixSearch<'a> {
    fn new(image: &'a EcrImage, before: &'a Puller, declared: &'a Declared, at: Timestamp) -> Self {
        let resource = |policy: Option<&ResourcePolicy>| match policy {
            Some(ResourcePolicy::Policy(sourced)) => Some(EditablePolicy::new((**sourced).clone())),
            _ => None,
        };
        let levels = |levels: &[PolicyLevel]| {
            let level = |level: &PolicyLevel| Level {
                name: level.level.clone(),
                policies: level.policies.iter().cloned().map(EditablePolicy::new).collect(),
            };
            levels.iter().map(level).collect()
        };
        let identity = before.identity.as_deref();
        Self {
            image,
            arn: image.arn().to_string(),
            at,
            before,
            declared_before: declared,
            identity: identity
                .into_iter()
                .flat_map(IdentityPolicies::policies)
                .cloned()
                .map(EditablePolicy::new)
                .collect(),
            boundary: identity.and_then(IdentityPolicies::boundary).cloned().map(EditablePolicy::new),
            repository: resource(declared.repository(image).and_then(|entry| entry.policy.as_ref())),
            registry: resource(
                declared.registry(&image.account, &image.region).and_then(|entry| entry.policy.as_ref()),
            ),
            scps: levels(&declared.organization.scps),
            rcps: levels(&declared.organization.rcps),
            present: false,
        }
    }

    fn role(&self) -> Option<&'a str> {
        Some(self.before.principal.arn.as_str())
    }

    /// The puller with all changes.
    fn puller(&self) -> Puller {
        let mut puller = self.before.clone();
        if let Some(known) = &self.before.identity {
            let mut identity = IdentityPolicies::default();
            self.identity.iter().filter_map(EditablePolicy::compiled).for_each(|policy| identity.push(policy));
            if let Some(boundary) = self.boundary.as_ref().and_then(EditablePolicy::compiled) {
                identity.set_boundary(boundary);
            }
            if let Some(tags) = known.tags() {
                identity.set_tags(tags.clone());
            }
            puller.identity = Some(Arc::new(identity));
        }
        puller
    }

    /// What is declared, with all changes.
    fn declared(&self) -> Declared {
        let mut declared = self.declared_before.clone();
        let touched = |editable: &&EditablePolicy| editable.is_touched();
        let policy =
            |editable: &EditablePolicy| editable.compiled().map(|policy| ResourcePolicy::Policy(Box::new(policy)));
        if self.present || self.repository.iter().any(|editable| editable.is_touched()) {
            let entry = self.declared_before.repository(self.image);
            let changed = self.repository.as_ref().filter(touched).and_then(policy);
            declared.repositories.insert(
                0,
                RepositoryEntry {
                    pattern: ArnPattern::new(self.arn.as_str()),
                    policy: changed.or_else(|| entry.and_then(|entry| entry.policy.clone())),
                    // A repository that was just made has no tags.
                    tags: match entry.and_then(|entry| entry.tags.clone()) {
                        None if self.present => Some(BTreeMap::new()),
                        tags => tags,
                    },
                    presence: if self.present {
                        Some(Presence::Present)
                    } else {
                        entry.and_then(|entry| entry.presence)
                    },
                },
            );
        }
        if let Some(changed) = self.registry.as_ref().filter(touched).and_then(policy) {
            let EcrImage { account, region, .. } = self.image;
            let entry = self.declared_before.registry(account, region);
            declared.registries.insert(
                0,
                RegistryEntry {
                    account: account.clone(),
                    region: region.clone(),
                    policy: Some(changed),
                    scope: entry.map_or(RegistryPolicyScope::V2, |entry| entry.scope),
                    pull_through_prefixes: entry.map(|entry| entry.pull_through_prefixes.clone()).unwrap_or_default(),
                },
            );
        }
        declared.organization.scps = compiled(&self.scps);
        declared.organization.rcps = compiled(&self.rcps);
        declared
    }

    /// Makes the change that the judgement calls for next. False: there is none, or none is needed.
    fn improve(&mut self, judgement: &PullJudgement, misses: &mut Misses<'_>) -> bool {
        let denied: Vec<&RequestDecision> = judgement.answers.iter().filter(|answer| answer.is_denied()).collect();
        let explicit = denied.iter().find(|answer| answer.outcome.decision == Decision::ExplicitlyDenied);
        if let Some(first) = explicit {
            let same = |answer: &&&RequestDecision| answer.outcome == first.outcome;
            let requests: Vec<&RequiredRequest> = denied.iter().filter(same).map(|answer| &answer.request).collect();
            return self.narrow(first, &requests);
        }
        if let Some(first) = denied.first() {
            let layer = first.outcome.layer;
            let same = denied.iter().filter(|answer| answer.outcome.layer == layer);
            let refused: Vec<Refused> = same.map(|answer| Refused::new(answer, misses)).collect();
            return self.add(layer.unwrap_or(Layer::Identity), &refused.iter().collect::<Vec<_>>());
        }
        self.open_resource_side(judgement)
    }

    /// Across accounts both sides must allow. What the other one says is not known; the puller's is in order now.
    fn open_resource_side(&mut self, judgement: &PullJudgement) -> bool {
        let known = |policy: Option<&ResourcePolicy>| matches!(policy, Some(ResourcePolicy::Policy(_)));
        let entry = self.declared_before.repository(self.image);
        let of_this = |fact: &MissingFact| match fact {
            MissingFact::RepositoryPolicy(arn) => *arn == self.arn,
            MissingFact::RegistryPolicy { .. } | MissingFact::RegistryDocument(_) => true,
            _ => false,
        };
        let other_account = self.before.principal.arn.account() != self.image.account;
        if judgement.verdict != Verdict::Unknown
            || !other_account
            || known(entry.and_then(|entry| entry.policy.as_ref()))
            || self.repository.is_some()
            || !judgement.missing.iter().all(of_this)
        {
            return false;
        }
        // With a policy that says nothing, what it has to say shows as denied.
        self.repository = Some(EditablePolicy::fresh());
        true
    }

    fn add(&mut self, layer: Layer, answers: &[&Refused]) -> bool {
        match layer {
            Layer::Identity => self.add_to_identity(answers),
            Layer::Boundary => self.add_to_boundary(answers),
            Layer::Resource | Layer::Registry => self.add_to_resource(answers),
            Layer::Scp => self.add_to_scps(answers),
            // RCPs allow by themselves, and no session or endpoint policy takes part.
            _ => false,
        }
    }

    fn add_to_identity(&mut self, answers: &[&Refused]) -> bool {
        if self.before.identity.is_none() {
            return false;
        }
        let closest = answers.iter().filter_map(|answer| answer.close()).map(|miss| miss.policy.as_str());
        let can_edit = |editable: &EditablePolicy| editable.is_editable() && !editable.detached;
        let named =
            |name: &str| self.identity.iter().position(|editable| can_edit(editable) && editable.name() == name);
        // One that was extended before, else the closest, else the first that is the user's own, else a new one.
        let index = self.identity.iter().position(|editable| !editable.added.is_empty());
        let index =
            index.or_else(|| closest.clone().find_map(named)).or_else(|| self.identity.iter().position(can_edit));
        let index = index.unwrap_or_else(|| {
            self.identity.push(EditablePolicy::fresh());
            self.identity.len() - 1
        });
        let why = why_identity(answers, self.before);
        let Some(editable) = self.identity.get_mut(index) else { return false };
        add_allows(editable, answers, why)
    }

    fn add_to_boundary(&mut self, answers: &[&Refused]) -> bool {
        let Some(editable) = &mut self.boundary else { return false };
        let why = format!(
            "{} does not allow {}, and a principal may do no more than its boundary allows",
            boundary_name(editable.name()),
            listed(&actions_of(answers))
        );
        add_allows(editable, answers, why)
    }

    fn add_to_resource(&mut self, answers: &[&Refused]) -> bool {
        let Some(role) = self.role() else { return false };
        let for_registry =
            |answer: &&&Refused| edit::is_creation(&answer.request) || answer.outcome.layer == Some(Layer::Registry);
        let (registry, repository): (Vec<&Refused>, Vec<&Refused>) =
            answers.iter().partition(|answer| for_registry(answer));
        let mut changed = false;
        if !repository.is_empty() {
            let why =
                why_resource(&repository, self.before, self.repository.as_ref(), &self.image.account, "repository");
            let editable = self.repository.get_or_insert_with(EditablePolicy::fresh);
            let statement = Statement::grant(&actions_of(&repository), role, None);
            let requests: Vec<&RequiredRequest> = repository.iter().map(|answer| &answer.request).collect();
            changed |= editable.add(&statement, &requests, || why);
        }
        if !registry.is_empty() {
            let why = why_resource(&registry, self.before, self.registry.as_ref(), &self.image.account, "registry");
            let editable = self.registry.get_or_insert_with(EditablePolicy::fresh);
            let statement = Statement::grant(&actions_of(&registry), role, Some(&self.arn));
            let requests: Vec<&RequiredRequest> = registry.iter().map(|answer| &answer.request).collect();
            changed |= editable.add(&statement, &requests, || why);
        }
        changed
    }

    /// Every level must allow. Which of them do not is seen with each alone in force.
    fn add_to_scps(&mut self, answers: &[&Refused]) -> bool {
        let puller = self.puller();
        let mut declared = self.declared();
        let levels = std::mem::take(&mut declared.organization.scps);
        let mut changed = false;
        for (index, level) in levels.into_iter().enumerate() {
            declared.organization.scps = vec![level];
            let judgement = PullEvaluator::new(&puller, &declared, self.at).judge(self.image, &EVERY_NEED);
            let refused = |answer: &&&Refused| {
                let here = judgement.answers.iter().find(|here| here.request.action == answer.request.action);
                here.is_some_and(|here| here.outcome.layer == Some(Layer::Scp) && here.is_denied())
            };
            let refused: Vec<&Refused> = answers.iter().filter(refused).copied().collect();
            let Some(level) = self.scps.get_mut(index).filter(|_| !refused.is_empty()) else { continue };
            let why = format!(
                "no service control policy at level {} allows {}, and every level must",
                level.name,
                listed(&actions_of(&refused))
            );
            let at = level.policies.iter().position(|editable| editable.is_editable() && !editable.detached);
            let at = at.unwrap_or_else(|| {
                level.policies.push(EditablePolicy::fresh());
                level.policies.len() - 1
            });
            let Some(editable) = level.policies.get_mut(at) else { continue };
            changed |= add_allows(editable, &refused, why);
        }
        changed
    }

    /// The level of the organization whose statement denies, seen with each level alone in force: policies of several
    /// levels may have one name.
    fn denying_level(&self, layer: Layer, answer: &RequestDecision) -> Option<usize> {
        if !matches!(layer, Layer::Scp | Layer::Rcp) {
            return None;
        }
        let puller = self.puller();
        let mut declared = self.declared();
        let organization = std::mem::take(&mut declared.organization);
        let levels = if layer == Layer::Scp { organization.scps } else { organization.rcps };
        levels.into_iter().position(|level| {
            let alone = vec![level];
            if layer == Layer::Scp {
                declared.organization.scps = alone;
            } else {
                declared.organization.rcps = alone;
            }
            let judgement = PullEvaluator::new(&puller, &declared, self.at).judge(self.image, &EVERY_NEED);
            judgement
                .answers
                .iter()
                .any(|here| here.request.action == answer.request.action && here.outcome == answer.outcome)
        })
    }

    fn narrow(&mut self, answer: &RequestDecision, requests: &[&RequiredRequest]) -> bool {
        let (Some(policy), Some(label)) = (&answer.outcome.policy, &answer.outcome.statement) else { return false };
        let role = self.role();
        let level = answer.outcome.layer.and_then(|layer| self.denying_level(layer, answer));
        let mut changed = false;
        let mut change = |editable: &mut EditablePolicy, own: bool, detachable: bool| {
            if *editable.name() != **policy || editable.detached {
                return;
            }
            if editable.is_managed() && detachable {
                let known = editable.document().and_then(|document| edit::find(&document, label));
                if known.is_some() {
                    editable.detached = true;
                    editable.narrowed.push((
                        label.to_string(),
                        requests.iter().map(|request| (*request).clone()).collect(),
                        None,
                    ));
                    changed = true;
                }
                return;
            }
            changed |= editable.narrow(label, requests, role, own);
        };
        let Some(layer) = answer.outcome.layer else { return false };
        let (own, detachable) = (
            matches!(layer, Layer::Identity | Layer::Boundary),
            matches!(layer, Layer::Identity | Layer::Scp | Layer::Rcp),
        );
        self.policies_mut(layer, level).iter_mut().for_each(|editable| change(editable, own, detachable));
        changed
    }

    /// The policies of a layer; of an organization those of one level.
    fn policies_mut<'s>(&'s mut self, layer: Layer, level: Option<usize>) -> &'s mut [EditablePolicy] {
        let of_level = |levels: &'s mut Vec<Level>| {
            level.and_then(|level| levels.get_mut(level)).map(|level| level.policies.as_mut_slice()).unwrap_or_default()
        };
        match layer {
            Layer::Identity => &mut self.identity,
            Layer::Boundary => self.boundary.as_mut_slice(),
            Layer::Resource => self.repository.as_mut_slice(),
            Layer::Registry => self.registry.as_mut_slice(),
            Layer::Scp => of_level(&mut self.scps),
            Layer::Rcp => of_level(&mut self.rcps),
            _ => &mut [],
        }
    }

    /// The changes as steps, in the order of the layers: the puller's own side first.
    fn fixes(&self) -> Vec<Fix> {
        let mut fixes = Vec::new();
        let puller = self.before.principal.to_string();
        let EcrImage { account, region, .. } = self.image;
        let registry = format!("registry {account}/{region}");
        for (layer, level, editable) in self.policies() {
            let (target, role) = match layer {
                Layer::Identity | Layer::Boundary => (puller.as_str(), None),
                Layer::Resource => (self.arn.as_str(), self.role()),
                Layer::Registry => (registry.as_str(), self.role()),
                _ => (level, None),
            };
            let source = self.before.fact.as_ref().map(|fact| fact.source().to_string());
            let source = source.filter(|_| matches!(layer, Layer::Identity | Layer::Boundary));
            let steps = steps(editable, layer, target, role, &self.arn);
            fixes.extend(steps.into_iter().map(|step| Fix { source: source.clone(), ..step }));
        }
        fixes
    }

    /// Every policy with its layer and, of an organization's, the name of its level: the puller's own side first.
    fn policies<'s>(&'s self) -> impl Iterator<Item = (Layer, &'s str, &'s EditablePolicy)> {
        let plain =
            |layer: Layer, policies: &'s [EditablePolicy]| policies.iter().map(move |editable| (layer, "", editable));
        let of_levels = |layer: Layer, levels: &'s [Level]| {
            let of_level = move |level: &'s Level| {
                level.policies.iter().map(move |editable| (layer, level.name.as_str(), editable))
            };
            levels.iter().flat_map(of_level)
        };
        plain(Layer::Identity, &self.identity)
            .chain(plain(Layer::Resource, self.repository.as_slice()))
            .chain(plain(Layer::Registry, self.registry.as_slice()))
            .chain(plain(Layer::Boundary, self.boundary.as_slice()))
            .chain(of_levels(Layer::Scp, &self.scps))
            .chain(of_levels(Layer::Rcp, &self.rcps))
    }
}

fn compiled(levels: &[Level]) -> Vec<PolicyLevel> {
    let level = |level: &Level| PolicyLevel {
        level: level.name.clone(),
        policies: level.policies.iter().filter_map(EditablePolicy::compiled).collect(),
    };
    levels.iter().map(level).collect()
}

/// `a, b and c`
fn listed(texts: &[&str]) -> String {
    match texts {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

fn actions_of(answers: &[&Refused]) -> Vec<&'static str> {
    answers.iter().map(|answer| answer.request.action).collect()
}

/// Adds what identity-based policies, boundaries and service control policies say: login on `*`, the rest on the
/// repository.
fn add_allows(editable: &mut EditablePolicy, answers: &[&Refused], why: String) -> bool {
    let (login, repository): (Vec<&Refused>, Vec<&Refused>) =
        answers.iter().partition(|answer| answer.request.is_login());
    let mut changed = false;
    for answers in [login, repository] {
        let Some(first) = answers.first() else { continue };
        let statement = Statement::allow(&actions_of(&answers), &first.request.resource);
        let requests: Vec<&RequiredRequest> = answers.iter().map(|answer| &answer.request).collect();
        changed |= editable.add(&statement, &requests, || why.clone());
    }
    changed
}

/// The steps that one policy takes. `role` is whom the statements of a resource-based policy are for.
fn steps(editable: &EditablePolicy, layer: Layer, target: &str, role: Option<&str>, arn: &str) -> Vec<Fix> {
    let policy = (!editable.is_new()).then(|| editable.name().to_owned());
    let config_map = match &editable.sourced.source {
        PolicySource::ConfigMap(at) => Some(at.to_string()),
        PolicySource::Document { .. } | PolicySource::Managed { .. } => None,
    };
    let name = editable.name();
    let kind = match layer {
        Layer::Resource => "repository policy",
        Layer::Registry => "registry policy",
        Layer::Boundary => "permissions boundary",
        Layer::Scp => "service control policy",
        Layer::Rcp => "resource control policy",
        _ => "policy",
    };
    let replace = layer == Layer::Boundary && editable.is_managed();
    let step = |kind, document, statement, why| Fix {
        kind,
        attach_to: Some(layer.as_str()),
        target: Some(target.to_owned()),
        policy: policy.clone(),
        config_map: config_map.clone(),
        source: None,
        statement,
        document,
        why,
    };
    let mut fixes = Vec::new();
    for (label, requests, replacement) in &editable.narrowed {
        let actions = listed(&requests.iter().map(|request| request.action).collect::<Vec<_>>());
        let document = replacement.clone().map(Statement::of);
        if replace {
            let why = format!(
                "AWS's policy {name} cannot be edited: set a permissions boundary that has no statement {label}, which \
                 denies {actions}"
            );
            fixes.push(step(FixKind::ReplaceBoundary, document, Some(label.clone()), why));
        } else if editable.detached {
            let why = format!("detach policy {name}, whose statement {label} denies {actions}");
            fixes.push(step(FixKind::NarrowDeny, None, None, why));
        } else if document.is_some() {
            let why = format!("statement {label} of {kind} {name} denies {actions}: write it so that it does not");
            fixes.push(step(FixKind::NarrowDeny, document, Some(label.clone()), why));
        } else {
            let why = format!("remove statement {label} of {kind} {name}, which denies {actions}");
            fixes.push(step(FixKind::NarrowDeny, None, Some(label.clone()), why));
        }
    }
    let (login, repository): (Vec<&RequiredRequest>, Vec<&RequiredRequest>) =
        editable.added.iter().partition(|request| request.is_login());
    for requests in [login, repository] {
        let Some(first) = requests.first() else { continue };
        let actions: Vec<&str> = requests.iter().map(|request| request.action).collect();
        let document = match (layer, role) {
            (Layer::Resource, Some(role)) => Statement::grant(&actions, role, None),
            (Layer::Registry, Some(role)) => Statement::grant(&actions, role, Some(arn)),
            _ => Statement::allow(&actions, &first.resource),
        };
        let why = editable.why.clone().unwrap_or_default();
        let (kind, why) = if replace {
            let why =
                format!("{why}; AWS's policy cannot be edited, so set one of your own: the same with this statement");
            (FixKind::ReplaceBoundary, why)
        } else {
            (FixKind::AddStatement, why)
        };
        fixes.push(step(kind, Some(document), None, why));
    }
    fixes
}

fn why_identity<'a>(answers: &[&'a Refused], puller: &Puller) -> String {
    let own = |answer: &'a Refused| answer.close().filter(|miss| miss.layer == Layer::Identity);
    match answers.iter().find_map(|answer| Some((*answer, own(answer)?))) {
        Some((answer, miss)) => {
            let hint = hint(&answer.request, answer.miss.as_ref(), puller, None)
                .map(|hint| format!("; {hint}"))
                .unwrap_or_default();
            format!("statement {} of policy {} does not: {}{hint}", miss.statement, miss.policy, miss.what)
        }
        None => format!("no statement allows {}", listed(&actions_of(answers))),
    }
}

fn why_resource(
    answers: &[&Refused],
    puller: &Puller,
    editable: Option<&EditablePolicy>,
    account: &str,
    of: &str,
) -> String {
    let puller_account = puller.principal.arn.account();
    let both =
        format!("the registry is of account {account} and the puller of {puller_account}, so both must allow it");
    match (editable, answers.iter().find_map(|answer| answer.close())) {
        (None, _) => format!("{both}, and what the policy of the {of} says is not known"),
        (Some(_), Some(miss)) if miss.layer != Layer::Identity => {
            format!("{both}, and statement {} of policy {} does not: {}", miss.statement, miss.policy, miss.what)
        }
        (Some(_), _) => {
            format!("{both}, and no statement of the {of}'s policy allows {}", listed(&actions_of(answers)))
        }
    }
}
