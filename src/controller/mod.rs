//! The controller: tells in the status of each policy whether it is understood, whom it selects and which pods and
//! workloads of the cluster could pull their images now, and by Events what changed.
//!
//! One task does it all, on the leader alone. It looks at everything whenever something changed, and when a condition on
//! the date is due to change a verdict, or an exemption to end. It works out what each status should say with pure
//! functions ([`scan`], [`status`]), writes where the API server says otherwise ([`plan`]), and then tells what is new
//! ([`events`]). Nothing is remembered that matters: whoever leads next comes to the same result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ecr_forecast::cluster::WorkloadKind;
use ecr_forecast::judge::Options;
use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject};
use ecr_forecast::policy::{self, Action};
use futures::{StreamExt, stream};
use kube::Client;
use kube::api::{Patch, PatchParams};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::api::{self, PolicyStatus};
use crate::index::pods::{Pods, watch_pods};
use crate::index::subjects::ClusterWorkloads;
use crate::index::workloads::{Workloads, watch_workloads};
use crate::index::{Changes, Index, IndexOptions, Snapshot, WatchSignal, kinds};
use crate::runtime::events::EventDraft;
use crate::runtime::watch::answer::AnswerError;
use crate::runtime::watch::kind::segment;
use crate::runtime::watch::reader::Reader;
use denials::FirstDenial;
use judged::Memory;
use judging::Failing;
use metrics::{
    EventLabels, EventResult, ExemptionLabels, ExemptionState, PodVerdict, ReadyLabels, Truth, VerdictLabels,
    WriteLabels, WriteResult,
};
use plan::Attempt;
use recorder::{EventOutcome, Recorder};
use scan::BackgroundScan;

pub mod ahead;
pub mod denials;
pub mod events;
pub mod expected_outcome;
pub mod judged;
pub mod judging;
pub mod metrics;
pub mod plan;
pub mod recorder;
pub mod scan;
pub mod status;

pub use metrics::Metrics;

/// Owner of the statuses in `managedFields`.
pub const FIELD_MANAGER: &str = "ecr-access-controller";

/// How the controller works.
#[derive(Clone, Debug, Default)]
pub struct ControllerOptions {
    /// How the pods are watched.
    pub index: IndexOptions,
    /// How pods are judged: as the webhook judges them.
    pub forecast: Options,
    /// Where to count.
    pub metrics: Metrics,
    /// The name of this replica, which its Events carry.
    pub instance: String,
}

/// Changes of policies, service accounts and namespaces are gathered so long before everything is looked at again.
const GATHER: Duration = Duration::from_millis(100);

/// Changes of pods and workloads, which only change counts, are gathered longer.
const GATHER_PODS: Duration = Duration::from_secs(1);

/// How often the leadership is looked at when nothing else happens.
const LEADERSHIP: Duration = Duration::from_millis(500);

/// Requests at a time, and the longest time for one.
const WRITES: usize = 8;
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until `token` is cancelled. `leader` tells at any time whether this process may write.
pub async fn run(
    client: Client,
    index: Arc<Index>,
    leader: impl Fn() -> bool + Send + Sync,
    options: ControllerOptions,
    token: CancellationToken,
) {
    let work = async {
        index.wait_until_synced().await;
        loop {
            while !leader() {
                tokio::time::sleep(LEADERSHIP).await;
            }
            tracing::info!("leading: this replica writes the statuses of policies");
            options.metrics.leader.set(1);
            Term::new(&client, &index, &leader, &options).lead().await;
            options.metrics.resign();
            index.health().forget(kinds::of_leader().map(|kind| kind.plural));
            tracing::info!("no longer leading");
        }
    };
    // Everything written is whole in itself, so the work may be dropped at any point.
    if token.run_until_cancelled(work).await.is_none() {
        options.metrics.resign();
    }
}

/// One time of leading, with all that is known during it.
struct Term<'a, L> {
    client: &'a Client,
    index: &'a Index,
    leader: &'a L,
    options: &'a ControllerOptions,
    pods: Pods,
    workloads: Workloads,
    scan: BackgroundScan,
    /// What was judged for it, for the next one.
    memory: Memory,
    /// `scan` has counted pods and workloads.
    counted: bool,
    /// The changes that `scan` has seen.
    scanned: Changes,
    /// When to look again although nothing happened: a verdict changes by itself.
    look_again: Option<jiff::Timestamp>,
    attempts: BTreeMap<PolicyKey, Attempt>,
    recorder: Recorder,
    /// The watches that have failed for a minute, as the statuses have it.
    failing: Failing,
    /// The last failure of writes that was logged.
    failure: Option<String>,
}

/// A signal of the pods, or of the workloads of a kind.
type Signal = (Option<WorkloadKind>, WatchSignal);

impl<'a, L: Fn() -> bool + Sync> Term<'a, L> {
    fn new(client: &'a Client, index: &'a Index, leader: &'a L, options: &'a ControllerOptions) -> Term<'a, L> {
        Term {
            client,
            index,
            leader,
            options,
            pods: Pods::default(),
            workloads: Workloads::default(),
            scan: BackgroundScan::default(),
            memory: Memory::default(),
            counted: false,
            scanned: Changes::default(),
            look_again: None,
            attempts: BTreeMap::new(),
            recorder: Recorder::new(client.clone(), &options.instance, options.metrics.clone()),
            failing: Failing::new(),
            failure: None,
        }
    }

    /// Works until this process no longer leads.
    async fn lead(mut self) {
        let pods = watch_pods(self.index.client(), &self.options.index).map(|signal| (None, signal));
        let workloads =
            watch_workloads(&self.index.client(), &self.options.index).map(|(kind, signal)| (Some(kind), signal));
        let signals = stream::select(pods, workloads).ready_chunks(256);
        tokio::pin!(signals);
        let mut changed = self.index.changed();
        let mut leadership = tokio::time::interval(LEADERSHIP);
        leadership.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When to look at everything again, and when to write what is due. The first look waits for pods and workloads,
        // but not long: where they cannot be watched, the conditions are written all the same.
        let mut look_at = Some(Instant::now() + GATHER_PODS);
        let mut write_at: Option<Instant> = None;
        // Looking takes a share of the time and no more, however much there is to look at and however often it changes.
        let mut look_not_before = Instant::now();
        loop {
            let look = look_at.map(|at| at.max(look_not_before));
            // Not longer than an hour, since the clock of the wall may be set.
            let again = self.look_again.map(|at| Instant::now() + until(at).min(Duration::from_secs(3600)));
            let wake = look.into_iter().chain(write_at).chain(again).min();
            tokio::select! {
                _ = leadership.tick() => {
                    if !(self.leader)() {
                        return;
                    }
                    let (to_tell, to_count) = self.look_at_watches();
                    if to_tell {
                        write_at = earlier(write_at, Instant::now());
                    }
                    if to_count {
                        look_at = earlier(look_at, Instant::now());
                    }
                }
                Some(batch) = signals.next() => {
                    if self.take(batch) {
                        let gather = if self.counted { GATHER_PODS } else { Duration::ZERO };
                        look_at = earlier(look_at, Instant::now() + gather);
                    }
                }
                // The index is alive as long as this borrows it, so this never fails.
                Ok(()) = changed.changed() => {
                    let draft = *changed.borrow_and_update();
                    let now = Instant::now();
                    if draft.policies != self.scanned.policies || draft.surroundings != self.scanned.surroundings {
                        look_at = earlier(look_at, now + GATHER);
                    } else {
                        write_at = earlier(write_at, now + GATHER);
                    }
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let begin = Instant::now();
                    if self.look_again.is_some_and(|at| until(at).is_zero()) {
                        self.look_again = None;
                        look_at = earlier(look_at, begin);
                    }
                    if look_at.is_some_and(|at| at.max(look_not_before) <= begin) {
                        look_at = None;
                        self.look().await;
                        look_not_before = Instant::now() + begin.elapsed() * 4;
                    }
                    write_at = self.write().await;
                }
            }
        }
    }

    /// Applies what the watches of pods and workloads told. `true` when a verdict may differ now.
    fn take(&mut self, batch: Vec<Signal>) -> bool {
        let mut changed = false;
        for (kind, signal) in batch {
            let health = self.index.health();
            let row = kind.map_or(kinds::PODS, kinds::workloads).plural;
            health.see(row, &signal);
            let note = signal.note();
            changed |= match (kind, signal) {
                (None, WatchSignal::Event(event)) => self.pods.apply(event),
                (Some(kind), WatchSignal::Event(event)) => self.workloads.apply(kind, event),
                (Some(kind), WatchSignal::Failed(failed)) => failed.refused && self.workloads.refuse(kind),
                (_, WatchSignal::Failed(_) | WatchSignal::Works | WatchSignal::Nameless) => false,
            };
            if let Some(note) = note {
                health.note(row, note);
            }
        }
        changed
    }

    /// Looks which watches have failed for a minute. `true` where the statuses have to tell of others than before, and where
    /// there is something else to count.
    fn look_at_watches(&mut self) -> (bool, bool) {
        let mut failing = self.index.health().failing();
        let mut left_out = false;
        for kind in WorkloadKind::ALL {
            let row = kinds::workloads(kind).plural;
            // What may not be looked at any more is left out, as if it never had been allowed.
            if failing.get(row).is_some_and(|failure| failure.refused) {
                failing.remove(row);
                left_out |= self.workloads.give_up(kind);
            }
        }
        let other = !failing.keys().eq(self.failing.keys());
        if other {
            self.failing = failing.into_iter().map(|(kind, failure)| (kind, failure.message)).collect();
        }
        (other, left_out)
    }

    /// Judges every pod and workload and counts. The work is done beside the tasks that answer requests.
    async fn look(&mut self) {
        let changes = *self.index.changed().borrow();
        let inventory = self.index.snapshot();
        let cluster_workloads = ClusterWorkloads { pods: self.pods.objects(), workloads: self.workloads.objects() };
        self.counted = cluster_workloads.pods.is_some() && cluster_workloads.workloads.is_some();
        let options = self.options.forecast.clone();
        let at = jiff::Timestamp::now();
        let mut memory = std::mem::take(&mut self.memory);
        let work = tokio::task::spawn_blocking(move || {
            (scan::scan_again(&mut memory, &inventory, &cluster_workloads, at, &options), memory)
        });
        match work.await {
            Ok((scan, memory)) => {
                self.memory = memory;
                self.count(&scan);
                self.look_again = scan.look_again(at);
                self.scan = scan;
            }
            // What it said may quote a policy or a pod; where it was is in the log already.
            Err(_) => tracing::error!("a bug stopped the judging of pods; the statuses are kept as they are"),
        }
        self.scanned = changes;
    }

    fn count(&self, scan: &BackgroundScan) {
        let sum = |of: fn(&scan::PolicyCounts) -> api::VerdictCounts| {
            scan.all_counts().map(of).fold(api::VerdictCounts::default(), |sum, one| api::VerdictCounts {
                allowed: sum.allowed + one.allowed,
                denied: sum.denied + one.denied,
                unknown: sum.unknown + one.unknown,
            })
        };
        let metrics = &self.options.metrics;
        for (family, sum) in
            [(&metrics.pods, sum(|counts| counts.pods)), (&metrics.workloads, sum(|counts| counts.workloads))]
        {
            let counts =
                [(PodVerdict::Allow, sum.allowed), (PodVerdict::Deny, sum.denied), (PodVerdict::Unknown, sum.unknown)];
            for (verdict, count) in counts {
                family.get_or_create(&VerdictLabels { verdict }).set(count);
            }
        }
        metrics.next_transition.set(scan.next_transition().map_or(0, jiff::Timestamp::as_second));
        let exemptions = || scan.all_counts().flat_map(|counts| &counts.exemptions);
        let active = exemptions().filter(|exemption| exemption.active).count();
        let counts =
            [(ExemptionState::active, active), (ExemptionState::expired, exemptions().count().saturating_sub(active))];
        for (state, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.exemptions.get_or_create(&ExemptionLabels { state }).set(count);
        }
    }

    /// Writes every status that is due, and tells what is new; returns when there will be more to do.
    async fn write(&mut self) -> Option<Instant> {
        let view = self.index.view();
        let at = jiff::Timestamp::now();
        let now = Instant::now();
        let mut next = None;
        let mut writes = Vec::new();
        let mut ready = [(Truth::True, 0), (Truth::False, 0)];
        self.attempts.retain(|key, _| view.observed.contains_key(key));
        self.recorder.retain(|key| view.observed.contains_key(key));
        let mut pending = PendingEvents::default();
        for policy in view.inventory.policies() {
            let stored = view.observed.get(&policy.key).and_then(|observed| observed.status.as_ref());
            let last = self.attempts.get(&policy.key);
            let before = last.and_then(|last| last.recent(now)).or(stored);
            // A policy that came after the last look is in the next one.
            let Some(counts) = self.scan.counts(policy) else { continue };
            let desired = status::desired_status(&view.inventory.with_documents(policy), counts, before, at);
            let desired = judging::with_watches(desired, policy, &self.failing, before, at);
            let [(_, yes), (_, no)] = &mut ready;
            *(if status::is_ready(&desired) { yes } else { no }) += 1;
            // Asked before the first write of this term: what stood in the status then was told.
            let untold = match counts.is_complete() {
                true => self.recorder.untold(policy, stored, &counts.firsts, now).into_iter().cloned().collect(),
                false => Vec::new(),
            };
            match plan::due(&desired, stored, last, now) {
                None => pending.untold.push((Arc::clone(policy), untold)),
                Some(when) if when <= now => {
                    let draft = events::transitions(policy, before, &desired, counts.upcoming_change.as_ref());
                    writes.push((Arc::clone(policy), desired, draft, untold));
                }
                Some(when) => next = earlier(next, when),
            }
        }
        for (ready, count) in ready {
            self.options.metrics.policies.get_or_create(&ReadyLabels { ready }).set(count);
        }
        let (client, leader) = (self.client, self.leader);
        let mut results = stream::iter(writes.into_iter().map(|(policy, desired, draft, untold)| async move {
            // Looked at once more before each write: a write takes time, and a leadership may end meanwhile.
            let outcome = if leader() { Some(write_status(client, &policy.key, &desired).await) } else { None };
            (policy, desired, outcome, draft, untold)
        }))
        .buffer_unordered(WRITES);
        let mut outcomes = Vec::new();
        while let Some((policy, desired, outcome, draft, untold)) = results.next().await {
            if let Some(outcome) = outcome {
                outcomes.push((policy, desired, outcome, draft, untold, Instant::now()));
            }
        }
        drop(results);
        for (policy, desired, outcome, draft, untold, at) in outcomes {
            let result = self.note(&policy.key, desired, outcome, at);
            self.options.metrics.status_writes.get_or_create(&WriteLabels { result }).inc();
            match result {
                // What is told stands in the status already, so that no other leader tells it again.
                WriteResult::written => {
                    pending.draft.extend(draft.into_iter().map(|draft| (policy.key.clone(), draft)));
                    pending.untold.push((policy, untold));
                }
                WriteResult::failed => next = earlier(next, at + GATHER),
                WriteResult::gone => {}
            }
        }
        let again = self.tell(&view, pending).await;
        next.into_iter().chain(again).min()
    }

    /// Tells what is new; returns when to go on with what the rate limit or a failure held back.
    async fn tell(&mut self, view: &Snapshot, pending: PendingEvents) -> Option<Instant> {
        let metrics = &self.options.metrics;
        let mut draft = pending.draft.into_iter();
        while let Some((key, one)) = draft.next() {
            match self.recorder.tell(&key, &one, self.leader).await {
                EventOutcome::Done => {}
                EventOutcome::Limited => {
                    metrics.events.get_or_create(&EventLabels { result: EventResult::limited }).inc();
                }
                // The status says it; an API server in trouble is not asked to take more.
                EventOutcome::Failed => {
                    let rest = u64::try_from(draft.len()).unwrap_or(u64::MAX);
                    metrics.events.get_or_create(&EventLabels { result: EventResult::failed }).inc_by(rest);
                    return Some(Instant::now() + recorder::REFILL);
                }
                EventOutcome::Fenced => return None,
            }
        }
        let judging = &self.options.forecast;
        let at = jiff::Timestamp::now();
        let (mut waiting, mut failed) = (0, false);
        for (policy, firsts) in pending.untold {
            let audits = policy.on_deny.min(judging.max_action) == Action::Audit;
            let mut firsts = firsts.iter();
            while let Some(first) = firsts.next() {
                let report =
                    ecr_forecast::forecast_under(&policy, &view.inventory, &first.tracked.subject, at, judging);
                let Some(draft) = events::denial(&policy, first, &report, audits) else { continue };
                let told = if failed {
                    EventOutcome::Failed
                } else {
                    self.recorder.tell(&policy.key, &draft, self.leader).await
                };
                match told {
                    EventOutcome::Done => self.recorder.told(&policy.key, first.key, Instant::now()),
                    EventOutcome::Limited | EventOutcome::Failed => {
                        failed |= told == EventOutcome::Failed;
                        waiting += 1 + i64::try_from(firsts.len()).unwrap_or(i64::MAX - 1);
                        break;
                    }
                    EventOutcome::Fenced => return None,
                }
            }
        }
        metrics.events_waiting.set(waiting);
        (waiting > 0).then(|| Instant::now() + recorder::REFILL)
    }

    fn note(
        &mut self,
        key: &PolicyKey,
        desired: PolicyStatus,
        outcome: Result<(), WriteError>,
        at: Instant,
    ) -> WriteResult {
        match outcome {
            Ok(()) => {
                tracing::debug!(policy = %key, "status written");
                if self.failure.take().is_some() {
                    tracing::info!("statuses can be written again");
                }
                self.attempts.insert(key.clone(), Attempt::succeeded(desired, at));
                WriteResult::written
            }
            Err(error) if error.is_gone() => {
                // The watch will tell of the delete; if it does not, this is tried again later.
                self.attempts.insert(key.clone(), Attempt::failed(self.attempts.get(key), at));
                WriteResult::gone
            }
            Err(error) => {
                let kind = error.kind();
                if self.failure.as_ref() != Some(&kind) {
                    tracing::warn!(
                        policy = %key,
                        "cannot write the status: {error}; trying again, further failures of this kind are not logged"
                    );
                    self.failure = Some(kind);
                }
                self.attempts.insert(key.clone(), Attempt::failed(self.attempts.get(key), at));
                WriteResult::failed
            }
        }
    }
}

/// What is to be told by Events.
#[derive(Default)]
struct PendingEvents {
    /// What changed in statuses that were written just now.
    draft: Vec<(PolicyKey, EventDraft)>,
    /// Denials that were not told yet, by policies whose status says of them already.
    untold: Vec<(Arc<PolicyObject>, Vec<FirstDenial>)>,
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("{}", .0.of_write())]
    Api(#[from] AnswerError),
    #[error("no answer within {} seconds", WRITE_TIMEOUT.as_secs())]
    Timeout,
}

impl WriteError {
    fn is_gone(&self) -> bool {
        matches!(self, WriteError::Api(error) if error.code() == Some(404))
    }

    /// Failures of the same kind are logged once.
    fn kind(&self) -> String {
        match self {
            WriteError::Api(error) => error.code().map_or_else(|| "transport".to_owned(), |code| code.to_string()),
            WriteError::Timeout => "timeout".to_owned(),
        }
    }
}

/// Applies one status to the status subresource. The fields are this program's own, so they are taken by force.
async fn write_status(client: &Client, key: &PolicyKey, status: &PolicyStatus) -> Result<(), WriteError> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let at = kinds::policies(key.kind).path(key.namespace.as_deref()).map_err(AnswerError::Name)?;
    let name = segment(&key.name).map_err(AnswerError::Name)?;
    let body = Patch::Apply(apply_body(key, status));
    let request = kube::core::Request::new(at).patch_subresource("status", name, &params, &body);
    match tokio::time::timeout(WRITE_TIMEOUT, Reader::new(client.clone()).write(request)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(WriteError::Timeout),
    }
}

/// The whole of what is applied: nothing but the status.
fn apply_body(key: &PolicyKey, status: &PolicyStatus) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": policy::API_VERSION,
        "kind": key.kind.as_str(),
        "metadata": {"name": key.name},
        "status": status,
    })
}

/// How long it is until `at`; zero when it has passed.
fn until(at: jiff::Timestamp) -> Duration {
    at.duration_since(jiff::Timestamp::now()).try_into().unwrap_or(Duration::ZERO)
}

fn earlier(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

#[cfg(test)]
mod tests;
