//! One look at the whole cluster: every service account, every workload and every pod, each once, counted for the
//! policy that it belongs to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ecr_forecast::cluster::Subject;
use ecr_forecast::diagnose::{self, Advice, Uses};
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict};
use ecr_forecast::policy::Action;
use ecr_forecast::policy::compiled::{Exemption, PolicyKey, PolicyObject, PolicyWithDocuments};
use ecr_forecast::scope;
use ecr_forecast::select::{self, Selection};
use ecr_forecast::text::escaped;

use super::ahead::{UpcomingChange, UpcomingChanges};
use super::denials::{Denials, FirstDenial};
use super::judged::{Judged, Memory, ScanQuestion};
use crate::api::status::MAX_ADVICE;
use crate::api::{AdviceEntry, Denial, ExemptionStatus, VerdictCounts};
use crate::index::subjects::{ClusterWorkloads, TrackedObject};

/// What was found, by policy.
#[derive(Clone, Debug, Default)]
pub struct BackgroundScan {
    all_counts: BTreeMap<PolicyKey, PolicyCounts>,
}

/// What was found for one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyCounts {
    /// `metadata.uid` of the policy that was looked at.
    pub uid: Option<String>,
    /// `metadata.generation` of it.
    pub generation: Option<i64>,
    /// For how many service accounts the policy is in force (an auditing one: would be).
    pub service_accounts: i64,
    /// Names in `serviceAccounts.names` that no service account of the policy's namespace has. Not an error: the account
    /// may come later; but often it is a misspelt name.
    pub absent_names: Vec<String>,
    /// How many of the service accounts have no role, so that `serviceAccount.identity` is not about them, and the first.
    pub without_role: Option<(i64, String)>,
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
    pub firsts: Vec<FirstDenial>,
    /// What changes by itself next.
    pub upcoming_change: Option<UpcomingChange>,
    /// Where there are too many dates to look at: until when nothing changes that `upcoming_change` does not say.
    pub looked_until: Option<jiff::Timestamp>,
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

impl PolicyCounts {
    fn count_account(&mut self, policy: &PolicyObject, account: &ServiceAccountFacts) {
        self.service_accounts += 1;
        if policy.body.as_ref().is_ok_and(|spec| spec.puller.has_no_role_for(&account.annotations)) {
            let first = || (0, format!("{}/{}", account.namespace, account.name));
            self.without_role.get_or_insert_with(first).0 += 1;
        }
    }

    /// Pods and workloads were counted.
    pub fn is_complete(&self) -> bool {
        self.pods_known && self.workloads_known
    }
}

impl BackgroundScan {
    /// What was found for this policy; `None` where the look was at another version of its spec, or at none.
    pub fn counts(&self, policy: &PolicyObject) -> Option<&PolicyCounts> {
        self.all_counts
            .get(&policy.key)
            .filter(|counts| counts.uid == policy.uid && counts.generation == policy.generation)
    }

    /// Every policy's.
    pub fn all_counts(&self) -> impl Iterator<Item = &PolicyCounts> {
        self.all_counts.values()
    }

    /// When the next verdict changes by itself.
    pub fn next_transition(&self) -> Option<jiff::Timestamp> {
        self.all_counts()
            .filter_map(|counts| counts.upcoming_change.as_ref())
            .map(|upcoming_change| upcoming_change.at)
            .min()
    }

    /// When a look finds something else although nothing happened, after a look at `now`: a verdict changes by itself, or
    /// an exemption ends, whether anybody makes use of it or not.
    pub fn look_again(&self, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let turns = self
            .all_counts()
            .filter_map(|counts| counts.upcoming_change.as_ref())
            .map(|upcoming_change| upcoming_change.look_again(now));
        let turns = turns.chain(self.all_counts().filter_map(|counts| counts.looked_until));
        let active = self.all_counts().flat_map(|counts| &counts.exemptions).filter(|exemption| exemption.active);
        turns.chain(active.filter_map(|exemption| exemption.expires_at.parse().ok())).min()
    }
}

/// What is gathered for one policy until everything was judged.
struct Gathered {
    uses: Uses,
    denials: Denials,
    upcoming_changes: UpcomingChanges,
}

/// Looks at everything in `inventory` and at the pods and workloads that are known.
pub fn scan(
    inventory: &Inventory,
    cluster_workloads: &ClusterWorkloads,
    at: jiff::Timestamp,
    options: &Options,
) -> BackgroundScan {
    scan_again(&mut Memory::default(), inventory, cluster_workloads, at, options)
}

/// The same, with what `memory` holds of the look before: what rests on the same is not judged again.
pub fn scan_again(
    memory: &mut Memory,
    inventory: &Inventory,
    cluster_workloads: &ClusterWorkloads,
    at: jiff::Timestamp,
    options: &Options,
) -> BackgroundScan {
    let mut scan = BackgroundScan::default();
    let policies = memory.look_up(inventory);
    for policy in inventory.policies() {
        let counts = PolicyCounts {
            uid: policy.uid.clone(),
            generation: policy.generation,
            pods_known: cluster_workloads.pods.is_some(),
            workloads_known: cluster_workloads.workloads.is_some(),
            exemptions: exemptions(policy, at),
            ..PolicyCounts::default()
        };
        scan.all_counts.insert(policy.key.clone(), counts);
    }
    let mut selected = Selected { inventory, by_account: HashMap::new() };
    count_accounts(&mut scan, &mut selected, options);
    // Gathered by policy, so that advice is worked out once, and for each repository once.
    let mut gathered: BTreeMap<&PolicyKey, Gathered> = policies
        .iter()
        .map(|(key, policy)| {
            let uses = Uses::of(PolicyWithDocuments::clone(policy));
            (key, Gathered { uses, denials: Denials::default(), upcoming_changes: UpcomingChanges::default() })
        })
        .collect();
    let mut judged: HashMap<ScanQuestion, Vec<Arc<Judged>>> = HashMap::new();
    // Workloads before their pods: what is told of a denial speaks of the workload, where that is denied too.
    for tracked in subjects(cluster_workloads) {
        let Subject { namespace, service_account, mirror, template, .. } = &tracked.subject;
        if *mirror || scope::is_left_alone(namespace, options.operator_namespace.as_deref()) {
            continue;
        }
        let question = ScanQuestion::of(tracked);
        let all = judged.entry(question.clone()).or_insert_with(|| {
            let judge = |policy: &Arc<PolicyObject>| {
                if let Some(gathered) = gathered.get_mut(&policy.key) {
                    gathered.uses.add(inventory, &tracked.subject);
                }
                Some(memory.judged(&question, policies.get(&policy.key)?, inventory, at, options))
            };
            selected.of(namespace, service_account).all().filter_map(judge).collect()
        });
        for judged in all {
            let key = &judged.policy().key;
            let (Some(counts), Some(gathered)) = (scan.all_counts.get_mut(key), gathered.get_mut(key)) else {
                continue;
            };
            count(if *template { &mut counts.workloads } else { &mut counts.pods }, judged.expected.verdict);
            if !template {
                counts.count_exemptions(judged);
            }
            gathered.upcoming_changes.add(tracked, judged, at);
            if !judged.denied.is_empty() {
                gathered.denials.add(tracked, cluster_workloads.root(tracked), judged);
            }
        }
    }
    memory.keep(judged);
    for (key, policy) in &policies {
        let (Some(gathered), Some(counts)) = (gathered.remove(key), scan.all_counts.get_mut(key)) else {
            continue;
        };
        if !counts.is_complete() {
            continue;
        }
        (counts.denials, counts.denials_omitted, counts.firsts) = gathered.denials.finish();
        counts.looked_until = gathered.upcoming_changes.looked_until();
        counts.upcoming_change = gathered.upcoming_changes.finish(policy, inventory, cluster_workloads, at, options);
        let lints = diagnose::lints_of(policy).into_iter();
        let look_alikes = gathered.uses.look_alikes();
        look_alikes
            .chain(lints)
            .chain(gathered.uses.grants(&options.requires))
            .for_each(|advice| counts.advise(advice));
    }
    scan
}

/// Which policies are for a service account, found out once for each.
struct Selected<'a> {
    inventory: &'a Inventory,
    by_account: HashMap<(String, String), Arc<Policies>>,
}

/// The policies of a service account.
struct Policies {
    /// The one in force, and those that lost to it by age alone; none where that is not known.
    in_force: Option<(Arc<PolicyObject>, Vec<PolicyKey>)>,
    /// Those that are tried out, each beside the one in force.
    audits: Vec<Arc<PolicyObject>>,
}

impl Policies {
    /// All that pods of the service account are counted for.
    fn all(&self) -> impl Iterator<Item = &Arc<PolicyObject>> {
        self.in_force.iter().map(|(policy, _)| policy).chain(&self.audits)
    }
}

impl Selected<'_> {
    fn of(&mut self, namespace: &str, name: &str) -> Arc<Policies> {
        let account = (namespace.to_owned(), name.to_owned());
        let inventory = self.inventory;
        let found = self.by_account.entry(account).or_insert_with(|| {
            let in_force = match select::select(inventory, namespace, name) {
                Selection::Policy { policy, tied, .. } => Some((policy, tied)),
                Selection::None | Selection::Unclear { .. } => None,
            };
            Arc::new(Policies { in_force, audits: audits(inventory, namespace, name).cloned().collect() })
        });
        Arc::clone(found)
    }
}

/// Everything that is judged: workloads that no other object controls, and pods.
fn subjects(cluster_workloads: &ClusterWorkloads) -> impl Iterator<Item = &Arc<TrackedObject>> {
    let workloads = cluster_workloads.workloads.iter().flatten().flat_map(|(_, map)| map.values());
    let pods = cluster_workloads.pods.iter().flat_map(|map| map.values());
    workloads.filter(|tracked| tracked.owner.is_none()).chain(pods)
}

fn count(counts: &mut VerdictCounts, verdict: Verdict) {
    match verdict {
        Verdict::Allow => counts.allowed += 1,
        Verdict::Deny => counts.denied += 1,
        Verdict::Unknown => counts.unknown += 1,
        _ => {}
    }
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
        .filter(move |policy| matches!(select::covers(policy, inventory, namespace, name), Some((_, true))))
}

fn count_accounts(scan: &mut BackgroundScan, selected: &mut Selected<'_>, options: &Options) {
    let inventory = selected.inventory;
    let own = options.operator_namespace.as_deref();
    for account in inventory.service_accounts().filter(|account| !scope::is_left_alone(&account.namespace, own)) {
        let (namespace, name) = (account.namespace.as_str(), account.name.as_str());
        let policies = selected.of(namespace, name);
        if let Some((policy, tied)) = &policies.in_force {
            let tie =
                |other: &PolicyKey, won| Tie { account: format!("{namespace}/{name}"), other: other.clone(), won };
            for loser in tied {
                if let Some(counts) = scan.all_counts.get_mut(loser) {
                    counts.ties.push(tie(&policy.key, false));
                }
            }
            if let Some(counts) = scan.all_counts.get_mut(&policy.key) {
                counts.count_account(policy, account);
                counts.ties.extend(tied.iter().map(|loser| tie(loser, true)));
            }
        }
        for policy in &policies.audits {
            if let Some(counts) = scan.all_counts.get_mut(&policy.key) {
                counts.count_account(policy, account);
            }
        }
    }
    for policy in inventory.policies() {
        if let (Some(namespace), Some(counts)) = (&policy.key.namespace, scan.all_counts.get_mut(&policy.key)) {
            let absent = |name: &&String| inventory.service_account(namespace, name).is_none();
            counts.absent_names = policy.scope.names.iter().filter(absent).cloned().collect();
        }
    }
}

impl PolicyCounts {
    /// Counts a pod for each exemption that it makes use of, once.
    fn count_exemptions(&mut self, judged: &Judged) {
        for known in &mut self.exemptions {
            known.pods += i64::from(judged.exemptions.contains(&known.name));
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
    AdviceEntry {
        target: escaped(&advice.target).into_owned(),
        policy: escaped(&advice.policy).into_owned(),
        code: advice.code.to_owned(),
        message: escaped(&advice.message).into_owned(),
        document: advice.document.and_then(|document| serde_json::to_string(&document).ok()),
    }
}

#[cfg(test)]
mod tests;
