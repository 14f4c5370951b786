//! What changes by itself: the next instant at which a condition on the date turns a verdict, or an exemption ends, and
//! what turns then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ecr_forecast::inventory::Inventory;
use ecr_forecast::judge::{NextChange, Options, Verdict, judge_under};
use ecr_forecast::policy::compiled::PolicyWithDocuments;
use jiff::{SignedDuration, Timestamp};

use super::expected_outcome::ExpectedOutcome;
use super::judged::Judged;
use crate::index::subjects::{ClusterWorkloads, Owner, TrackedObject};

/// So long ahead it is told what will change. An instant that is found later than that is told when it is found.
pub const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// The next change of a policy's verdicts.
#[derive(Clone, Debug, PartialEq)]
pub struct UpcomingChange {
    /// When. Later than the time of the look.
    pub at: Timestamp,
    /// What turns into what, the worst first. Empty while it is more than [`AHEAD`] away.
    pub groups: Vec<Group>,
}

/// Pods and workloads that turn from one expected outcome to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What holds until then.
    pub from: ExpectedOutcome,
    /// What holds from then on.
    pub to: ExpectedOutcome,
    /// How many workloads.
    pub workloads: u64,
    /// How many pods.
    pub pods: u64,
    /// One of them: kind, and `namespace/name`.
    pub first: (String, String),
}

/// The subjects of one policy whose verdicts change next, while they are gathered.
#[derive(Debug, Default)]
pub struct UpcomingChanges {
    at: Option<Timestamp>,
    subjects: Vec<(Arc<TrackedObject>, Arc<Judged>)>,
    looked_until: Option<Timestamp>,
}

impl UpcomingChanges {
    /// Adds what was found of `tracked` at `now`.
    pub fn add(&mut self, tracked: &Arc<TrackedObject>, judged: &Arc<Judged>, now: Timestamp) {
        let at = match judged.next {
            NextChange::At(at) if at > now => at,
            NextChange::NotBefore(at) if at > now => {
                self.looked_until = Some(self.looked_until.map_or(at, |earliest| earliest.min(at)));
                return;
            }
            _ => return,
        };
        if self.at.is_some_and(|earliest| earliest < at) {
            return;
        }
        if self.at != Some(at) {
            self.at = Some(at);
            self.subjects.clear();
        }
        self.subjects.push((Arc::clone(tracked), Arc::clone(judged)));
    }

    /// Until when it was looked for changes of every one; none where it was looked to the end of time.
    pub fn looked_until(&self) -> Option<Timestamp> {
        self.looked_until
    }

    /// Judges them at that instant, where it is near.
    pub fn finish(
        self,
        policy: &PolicyWithDocuments,
        inventory: &Inventory,
        cluster_workloads: &ClusterWorkloads,
        now: Timestamp,
        options: &Options,
    ) -> Option<UpcomingChange> {
        let at = self.at?;
        let mut groups: BTreeMap<(u8, u8), Group> = BTreeMap::new();
        // What was judged together is judged together again.
        let mut then: HashMap<*const Judged, ExpectedOutcome> = HashMap::new();
        if at.duration_since(now) <= AHEAD {
            for (tracked, judged) in &self.subjects {
                let from = judged.expected;
                let judge = || ExpectedOutcome::of(&judge_under(policy, inventory, &tracked.subject, at, options));
                let to = *then.entry(Arc::as_ptr(judged)).or_insert_with(judge);
                if to == from {
                    continue;
                }
                let group = groups.entry((to.badness(), from.badness())).or_insert_with(|| {
                    let Owner { kind, name, .. } =
                        cluster_workloads.root(tracked).unwrap_or_else(|| tracked.reference());
                    let first = (kind, format!("{}/{name}", tracked.subject.namespace));
                    Group { from, to, workloads: 0, pods: 0, first }
                });
                let count = if tracked.subject.template { &mut group.workloads } else { &mut group.pods };
                *count += 1;
            }
        }
        Some(UpcomingChange { at, groups: groups.into_values().collect() })
    }
}

impl UpcomingChange {
    /// When a look finds something else than the look before: the instant itself, and the moment from which on it is
    /// told.
    pub fn look_again(&self, now: Timestamp) -> Timestamp {
        let told_from = self.at.checked_sub(AHEAD).unwrap_or(self.at);
        if told_from > now { told_from } else { self.at }
    }

    /// What turns, for a person; `None` where there is nothing to tell yet.
    pub fn tell(&self) -> Option<String> {
        let groups: Vec<String> = self.groups.iter().map(Group::tell).collect();
        (!groups.is_empty()).then(|| {
            let verdicts = self.groups.iter().any(|group| group.from.verdict != group.to.verdict);
            let exemptions = self.groups.iter().any(|group| group.from.verdict == group.to.verdict);
            let why = match (verdicts, exemptions) {
                (true, true) => "an IAM policy has a condition on the date, and an exemption ends",
                (false, _) => "an exemption ends",
                (true, false) => "an IAM policy has a condition on the date",
            };
            format!("at {}, because {why}: {}", self.at, groups.join("; "))
        })
    }

    /// Does something turn to Deny, with nothing that exempts it?
    pub fn is_bad(&self) -> bool {
        self.groups.iter().any(|group| group.to == ExpectedOutcome { verdict: Verdict::Deny, exempted: false })
    }
}

impl Group {
    fn tell(&self) -> String {
        let plural = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let counts: Vec<String> =
            [plural(self.workloads, "workload"), plural(self.pods, "pod")].into_iter().flatten().collect();
        let verb = if self.workloads + self.pods == 1 { "turns" } else { "turn" };
        let (kind, name) = &self.first;
        let first = if self.workloads + self.pods == 1 { "" } else { "first " };
        format!("{} {verb} from {} to {} ({first}{kind} {name})", counts.join(" and "), self.from, self.to)
    }
}
