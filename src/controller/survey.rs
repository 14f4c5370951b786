//! One look at the whole cluster: every service account, every workload and every pod, each once, counted for the
//! policy that it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ahead::{Turn, Turning};
use super::denials::{Denials, First};
use crate::api::status::MAX_ADVICE;
use crate::api::{Action, AdviceEntry, Denial, ExemptionStatus, VerdictCounts};
use crate::forecast::{self, Advice, Report, Uses, Verdict};
use crate::index::subjects::{Held, Population};
use crate::inventory::{Exemption, Inventory, PolicyKey, PolicyObject};
use crate::puller::{self, Selection};

/// What was found, by policy.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    tallies: BTreeMap<PolicyKey, Tally>,
}

/// What was found for one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// `metadata.uid` of the policy that was looked at.
    pub uid: Option<String>,
    /// `metadata.generation` of it.
    pub generation: Option<i64>,
    /// For how many service accounts the policy is in force (an auditing one: would be).
    pub service_accounts: i64,
    /// Names in `serviceAccounts.names` that no service account of the policy's namespace has. Not an error: the account
    /// may come later; but often it is a misspelt name.
    pub absent_names: Vec<String>,
    /// Service accounts that another policy of the same rank selects too, ordered by account.
    pub ties: Vec<Tie>,
    /// The pods were counted; without it `pods` says nothing.
    pub pods_known: bool,
    /// Pods by verdict.
    pub pods: VerdictCounts,
    /// The workloads were counted; without it `workloads` says nothing.
    pub workloads_known: bool,
    /// Workloads by verdict.
    pub workloads: VerdictCounts,
    /// The first denials in their order, at most [`MAX_DENIALS`](crate::api::status::MAX_DENIALS). These and what follows
    /// say nothing unless pods and workloads are known.
    pub denials: Vec<Denial>,
    /// Denials behind those.
    pub denials_omitted: i64,
    /// The first denial of each service account, repository and cause, listed or not.
    pub firsts: Vec<First>,
    /// What changes by itself next.
    pub turn: Option<Turn>,
    /// What is worth changing in the policy, lints before grants, at most [`MAX_ADVICE`]. It changes nothing else here.
    pub advice: Vec<AdviceEntry>,
    /// Advice behind those.
    pub advice_omitted: i64,
    /// The policy's exemptions by name. Which of them are active is known without the pods.
    pub exemptions: Vec<ExemptionStatus>,
}

/// Another policy that selects the same service account with the same rank.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tie {
    /// Namespace and name, as `ns/name`.
    pub account: String,
    /// The other policy.
    pub other: PolicyKey,
    /// This policy is the older one, which is in force.
    pub won: bool,
}

impl Tally {
    /// Pods and workloads were counted.
    pub fn is_complete(&self) -> bool {
        self.pods_known && self.workloads_known
    }
}

impl Survey {
    /// What was found for this policy; `None` where the look was at another version of its spec, or at none.
    pub fn tally(&self, policy: &PolicyObject) -> Option<&Tally> {
        self.tallies.get(&policy.key).filter(|tally| tally.uid == policy.uid && tally.generation == policy.generation)
    }

    /// Every policy's.
    pub fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.values()
    }

    /// When the next verdict changes by itself.
    pub fn next_transition(&self) -> Option<jiff::Timestamp> {
        self.tallies().filter_map(|tally| tally.turn.as_ref()).map(|turn| turn.at).min()
    }

    /// When a look finds something else although nothing happened, after a look at `now`: a verdict changes by itself, or
    /// an exemption ends, whether anybody makes use of it or not.
    pub fn look_again(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let turns = self.tallies().filter_map(|tally| tally.turn.as_ref()).map(|turn| turn.look_again(now));
        let active = self.tallies().flat_map(|tally| &tally.exemptions).filter(|exemption| exemption.active);
        turns.chain(active.filter_map(|exemption| exemption.expires_at.parse().ok())).min()
    }
}

/// What is gathered for one policy until everything was judged.
struct Gathered {
    uses: Uses,
    denials: Denials,
    turning: Turning,
}

/// Looks at everything in `inventory` and at the pods and workloads that are known.
pub fn survey(
    inventory: &Inventory,
    population: &Population,
    at: jiff::Timestamp,
    options: &forecast::Options,
) -> Survey {
    let mut survey = Survey::default();
    for policy in inventory.policies() {
        let tally = Tally {
            uid: policy.uid.clone(),
            generation: policy.generation,
            pods_known: population.pods.is_some(),
            workloads_known: population.workloads.is_some(),
            exemptions: exemptions(policy, at),
            ..Tally::default()
        };
        survey.tallies.insert(policy.key.clone(), tally);
    }
    count_accounts(&mut survey, inventory, options);
    // Gathered by policy, so that advice is worked out once, and for each repository once.
    let mut gathered: BTreeMap<&PolicyKey, Gathered> = inventory
        .policies()
        .map(|policy| {
            let uses = Uses::of(policy);
            (&policy.key, Gathered { uses, denials: Denials::default(), turning: Turning::default() })
        })
        .collect();
    let mut note = |key: &PolicyKey, held: &Arc<Held>, report: &Report| {
        let (Some(tally), Some(gathered)) = (survey.tallies.get_mut(key), gathered.get_mut(key)) else { return };
        let counts = if held.subject.template { &mut tally.workloads } else { &mut tally.pods };
        count(counts, report.verdict);
        if !held.subject.template {
            tally.count_exemptions(report);
        }
        gathered.uses.add(inventory, &held.subject);
        gathered.turning.add(held, report, at);
        if report.verdict == Verdict::Deny {
            gathered.denials.add(held, population.root(held), report);
        }
    };
    // Workloads before their pods: what is told of a denial speaks of the workload, where that is denied too.
    for held in
        subjects(population).filter(|held| !held.subject.mirror && !never_judged(&held.subject.namespace, options))
    {
        let report = forecast::forecast(inventory, &held.subject, at, options);
        if let Some(key) = &report.policy {
            note(key, held, &report);
        }
        for policy in audits(inventory, &held.subject.namespace, &held.subject.service_account) {
            let report = forecast::forecast_under(policy, inventory, &held.subject, at, options);
            note(&policy.key, held, &report);
        }
    }
    for policy in inventory.policies() {
        let (Some(gathered), Some(tally)) = (gathered.remove(&policy.key), survey.tallies.get_mut(&policy.key)) else {
            continue;
        };
        if !tally.is_complete() {
            continue;
        }
        (tally.denials, tally.denials_omitted, tally.firsts) = gathered.denials.finish();
        tally.turn = gathered.turning.finish(policy, inventory, population, at, options);
        let lints = forecast::lints_of(policy).into_iter();
        lints.chain(gathered.uses.grants(&options.requires)).for_each(|advice| tally.advise(advice));
    }
    survey
}

/// Everything that is judged: workloads that no other object controls, and pods.
fn subjects(population: &Population) -> impl Iterator<Item = &Arc<Held>> {
    let workloads = population.workloads.iter().flatten().flat_map(|(_, map)| map.values());
    let pods = population.pods.iter().flat_map(|map| map.values());
    workloads.filter(|held| held.owner.is_none()).chain(pods)
}

fn count(counts: &mut VerdictCounts, verdict: Verdict) {
    match verdict {
        Verdict::Allow => counts.allowed += 1,
        Verdict::Deny => counts.denied += 1,
        Verdict::Unknown => counts.unknown += 1,
        _ => {}
    }
}

/// Namespaces whose pods no policy is for, as [`forecast::forecast`] has it.
fn never_judged(namespace: &str, options: &forecast::Options) -> bool {
    namespace == "kube-system" || options.operator_namespace.as_deref() == Some(namespace)
}

/// The auditing policies that certainly cover a service account. They take no part in the selection: each is judged
/// beside the policy that is in force.
fn audits<'a>(
    inventory: &'a Inventory,
    namespace: &'a str,
    name: &'a str,
) -> impl Iterator<Item = &'a Arc<PolicyObject>> {
    inventory
        .policies_for(namespace)
        .filter(|policy| policy.on_deny == Action::Audit)
        .filter(move |policy| matches!(puller::covers(policy, inventory, namespace, name), Some((_, true))))
}

fn count_accounts(survey: &mut Survey, inventory: &Inventory, options: &forecast::Options) {
    for account in inventory.service_accounts().filter(|account| !never_judged(&account.namespace, options)) {
        let (namespace, name) = (account.namespace.as_str(), account.name.as_str());
        if let Selection::Policy { policy, tied, .. } = puller::select(inventory, namespace, name) {
            let tie =
                |other: &PolicyKey, won| Tie { account: format!("{namespace}/{name}"), other: other.clone(), won };
            for loser in &tied {
                if let Some(tally) = survey.tallies.get_mut(loser) {
                    tally.ties.push(tie(&policy.key, false));
                }
            }
            if let Some(tally) = survey.tallies.get_mut(&policy.key) {
                tally.service_accounts += 1;
                tally.ties.extend(tied.iter().map(|loser| tie(loser, true)));
            }
        }
        for policy in audits(inventory, namespace, name) {
            if let Some(tally) = survey.tallies.get_mut(&policy.key) {
                tally.service_accounts += 1;
            }
        }
    }
    for policy in inventory.policies() {
        if let (Some(namespace), Some(tally)) = (&policy.key.namespace, survey.tallies.get_mut(&policy.key)) {
            let absent = |name: &&String| inventory.service_account(namespace, name).is_none();
            tally.absent_names = policy.scope.names.iter().filter(absent).cloned().collect();
        }
    }
}

impl Tally {
    /// Counts a pod for each exemption that it makes use of, once.
    fn count_exemptions(&mut self, report: &Report) {
        let used = || report.images.iter().filter_map(|image| image.exemption.as_ref());
        for known in &mut self.exemptions {
            known.pods += i64::from(used().any(|used| used.name == known.name));
        }
    }

    fn advise(&mut self, advice: Advice) {
        if self.advice.len() == MAX_ADVICE {
            self.advice_omitted += 1;
        } else {
            self.advice.push(entry(advice));
        }
    }
}

/// The exemptions of a policy as of `at`, by name, before any pod is counted.
fn exemptions(policy: &PolicyObject, at: jiff::Timestamp) -> Vec<ExemptionStatus> {
    let of = |exemption: &Exemption| ExemptionStatus {
        name: exemption.name.clone(),
        expires_at: exemption.expires_at.to_string(),
        active: exemption.is_active(at),
        pods: 0,
    };
    let mut exemptions: Vec<_> = policy.body.iter().flat_map(|spec| &spec.exemptions).map(of).collect();
    exemptions.sort_by(|one, other| one.name.cmp(&other.name));
    exemptions
}

/// Advice as the status has it, cut like the rest of the status where it is too long.
fn entry(advice: Advice) -> AdviceEntry {
    let line = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    AdviceEntry {
        target: line(advice.target),
        policy: line(advice.policy),
        code: advice.code.to_owned(),
        message: line(advice.message),
        document: advice.document.and_then(|document| serde_json::to_string(&document).ok()),
    }
}

#[cfg(test)]
mod tests;
