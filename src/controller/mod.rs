//! The controller: tells in the status of each policy whether it is understood, whom it selects and which pods of the
//! cluster could pull their images now.
//!
//! One task does it all, on the leader alone. It looks at everything whenever something changed, works out what each
//! status should say with pure functions ([`survey`], [`status`]), and writes where the API server says otherwise
//! ([`plan`]). Nothing is remembered that matters: whoever leads next comes to the same result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::api::{self, PolicyStatus};
use crate::forecast;
use crate::index::pods::{Pods, watch_pods};
use crate::index::{Changes, Index, IndexOptions, Source, WatchSignal};
use crate::inventory::PolicyKey;
use metrics::{
    ExemptionLabels, ExemptionState, PodVerdict, ReadyLabels, Truth, VerdictLabels, WriteLabels, WriteResult,
};
use plan::Attempt;
use survey::Survey;

pub mod metrics;
pub mod plan;
pub mod status;
pub mod survey;

pub use metrics::Metrics;

/// Owner of the statuses in `managedFields`.
pub const FIELD_MANAGER: &str = "ecr-access-controller";

/// How the controller works.
#[derive(Clone, Debug, Default)]
pub struct ControllerOptions {
    /// How the pods are watched.
    pub index: IndexOptions,
    /// How pods are judged: as the webhook judges them.
    pub forecast: forecast::Options,
    /// Where to count.
    pub metrics: Metrics,
}

/// Changes of policies, service accounts and namespaces are gathered so long before everything is looked at again.
const GATHER: Duration = Duration::from_millis(100);

/// Changes of pods, which only change counts, are gathered longer.
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
    survey: Survey,
    /// `survey` has counted pods.
    counted: bool,
    /// The changes that `survey` has seen.
    surveyed: Changes,
    attempts: BTreeMap<PolicyKey, Attempt>,
    /// The last failure that was logged.
    failure: Option<String>,
}

impl<'a, L: Fn() -> bool + Sync> Term<'a, L> {
    fn new(client: &'a Client, index: &'a Index, leader: &'a L, options: &'a ControllerOptions) -> Term<'a, L> {
        Term {
            client,
            index,
            leader,
            options,
            pods: Pods::default(),
            survey: Survey::default(),
            counted: false,
            surveyed: Changes::default(),
            attempts: BTreeMap::new(),
            failure: None,
        }
    }

    /// Works until this process no longer leads.
    async fn lead(mut self) {
        let signals = watch_pods(self.index.client(), &self.options.index).ready_chunks(256);
        tokio::pin!(signals);
        let mut changed = self.index.changed();
        let mut leadership = tokio::time::interval(LEADERSHIP);
        leadership.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pod_failure = None;
        // When to look at everything again, and when to write what is due. The first look waits for the pods, but not
        // long: where they cannot be watched, the conditions are written all the same.
        let mut look_at = Some(Instant::now() + GATHER_PODS);
        let mut write_at: Option<Instant> = None;
        // Looking takes a share of the time and no more, however much there is to look at and however often it changes.
        let mut look_not_before = Instant::now();
        loop {
            let look = look_at.map(|at| at.max(look_not_before));
            let wake = look.into_iter().chain(write_at).min();
            tokio::select! {
                _ = leadership.tick() => {
                    if !(self.leader)() {
                        return;
                    }
                }
                Some(batch) = signals.next() => {
                    if self.take_pods(batch, &mut pod_failure) {
                        let gather = if self.counted { GATHER_PODS } else { Duration::ZERO };
                        look_at = earlier(look_at, Instant::now() + gather);
                    }
                }
                // The index is alive as long as this borrows it, so this never fails.
                Ok(()) = changed.changed() => {
                    let news = *changed.borrow_and_update();
                    let now = Instant::now();
                    if news.policies != self.surveyed.policies || news.surroundings != self.surveyed.surroundings {
                        look_at = earlier(look_at, now + GATHER);
                    } else {
                        write_at = earlier(write_at, now + GATHER);
                    }
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    let begin = Instant::now();
                    if look.is_some_and(|at| at <= begin) {
                        look_at = None;
                        self.look().await;
                        look_not_before = Instant::now() + begin.elapsed() * 4;
                    }
                    write_at = self.write().await;
                }
            }
        }
    }

    /// Applies what the pod watch told. `true` when a verdict may differ now.
    fn take_pods(&mut self, batch: Vec<WatchSignal>, failure: &mut Option<String>) -> bool {
        let mut changed = false;
        for signal in batch {
            match signal {
                WatchSignal::Event(event) => changed |= self.pods.apply(event),
                WatchSignal::Failed(failed) => {
                    if !failed.routine && failure.as_ref() != Some(&failed.kind) {
                        tracing::warn!(
                            "{}; pods in the status of policies may be out of date; trying again, further failures of \
                             this kind are not logged",
                            failed.message
                        );
                        *failure = Some(failed.kind);
                    }
                }
            }
        }
        changed
    }

    /// Judges every pod and counts. The work is done beside the tasks that answer requests.
    async fn look(&mut self) {
        let changes = *self.index.changed().borrow();
        let inventory = self.index.snapshot();
        let pods = self.pods.subjects();
        self.counted = pods.is_some();
        let options = self.options.forecast.clone();
        let at = jiff::Timestamp::now();
        let work = tokio::task::spawn_blocking(move || survey::survey(&inventory, pods.as_deref(), at, &options));
        match work.await {
            Ok(survey) => {
                self.count(&survey);
                self.survey = survey;
            }
            Err(error) => {
                tracing::error!(%error, "a bug stopped the judging of pods; the statuses are kept as they are")
            }
        }
        self.surveyed = changes;
    }

    fn count(&self, survey: &Survey) {
        let mut sum = api::VerdictCounts::default();
        for tally in survey.tallies() {
            sum.allowed += tally.pods.allowed;
            sum.denied += tally.pods.denied;
            sum.unknown += tally.pods.unknown;
        }
        let pods =
            [(PodVerdict::Allow, sum.allowed), (PodVerdict::Deny, sum.denied), (PodVerdict::Unknown, sum.unknown)];
        for (verdict, count) in pods {
            self.options.metrics.pods.get_or_create(&VerdictLabels { verdict }).set(count);
        }
        let exemptions = || survey.tallies().flat_map(|tally| &tally.exemptions);
        let active = exemptions().filter(|exemption| exemption.active).count();
        let counts =
            [(ExemptionState::active, active), (ExemptionState::expired, exemptions().count().saturating_sub(active))];
        for (state, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.options.metrics.exemptions.get_or_create(&ExemptionLabels { state }).set(count);
        }
    }

    /// Writes every status that is due; returns when the next one will be.
    async fn write(&mut self) -> Option<Instant> {
        let view = self.index.view();
        let at = jiff::Timestamp::now();
        let now = Instant::now();
        let mut next = None;
        let mut writes = Vec::new();
        let mut ready = [(Truth::True, 0), (Truth::False, 0)];
        self.attempts.retain(|key, _| view.observed.contains_key(key));
        for policy in view.inventory.policies() {
            let stored = view.observed.get(&policy.key).and_then(|observed| observed.status.as_ref());
            let last = self.attempts.get(&policy.key);
            let before = last.and_then(|last| last.recent(now)).or(stored);
            // A policy that came after the last look is in the next one.
            let Some(tally) = self.survey.tally(policy) else { continue };
            let desired = status::desired_status(policy, tally, before, at);
            let [(_, yes), (_, no)] = &mut ready;
            *(if status::is_ready(&desired) { yes } else { no }) += 1;
            match plan::due(&desired, stored, last, now) {
                None => {}
                Some(when) if when <= now => writes.push((policy.key.clone(), desired)),
                Some(when) => next = earlier(next, when),
            }
        }
        for (ready, count) in ready {
            self.options.metrics.policies.get_or_create(&ReadyLabels { ready }).set(count);
        }
        let (client, leader) = (self.client, self.leader);
        let mut results = stream::iter(writes.into_iter().map(|(key, desired)| async move {
            // Looked at once more before each write: a write takes time, and a leadership may end meanwhile.
            let outcome = if leader() { Some(write_status(client, &key, &desired).await) } else { None };
            (key, desired, outcome)
        }))
        .buffer_unordered(WRITES);
        let mut outcomes = Vec::new();
        while let Some((key, desired, outcome)) = results.next().await {
            if let Some(outcome) = outcome {
                outcomes.push((key, desired, outcome, Instant::now()));
            }
        }
        drop(results);
        for (key, desired, outcome, at) in outcomes {
            let result = self.note(&key, desired, outcome, at);
            self.options.metrics.status_writes.get_or_create(&WriteLabels { result }).inc();
            if result == WriteResult::failed {
                next = earlier(next, at + GATHER);
            }
        }
        next
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

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer within {} seconds", WRITE_TIMEOUT.as_secs())]
    Timeout,
}

impl WriteError {
    fn is_gone(&self) -> bool {
        matches!(self, WriteError::Api(kube::Error::Api(status)) if status.code == 404)
    }

    /// Failures of the same kind are logged once.
    fn kind(&self) -> String {
        match self {
            WriteError::Api(kube::Error::Api(status)) => status.code.to_string(),
            WriteError::Api(_) => "transport".to_owned(),
            WriteError::Timeout => "timeout".to_owned(),
        }
    }
}

/// Applies one status to the status subresource. The fields are this program's own, so they are taken by force.
async fn write_status(client: &Client, key: &PolicyKey, status: &PolicyStatus) -> Result<(), WriteError> {
    let resource = Source::Policies(key.kind).resource();
    let api: Api<DynamicObject> = match &key.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let body = apply_body(key, status);
    match tokio::time::timeout(WRITE_TIMEOUT, api.patch_status(&key.name, &params, &Patch::Apply(&body))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(WriteError::Timeout),
    }
}

/// The whole of what is applied: nothing but the status.
fn apply_body(key: &PolicyKey, status: &PolicyStatus) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": api::API_VERSION,
        "kind": key.kind.as_str(),
        "metadata": {"name": key.name},
        "status": status,
    })
}

fn earlier(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::{Value, json};

    use super::*;
    use crate::index::fake::{FakeApi, policy};

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Running {
        api: Arc<FakeApi>,
        index: Arc<Index>,
        leader: Arc<AtomicBool>,
        options: ControllerOptions,
        _guard: tokio_util::sync::DropGuard,
    }

    /// Runs index and controller against an API server that has these policies.
    fn start(policies: Vec<Value>, leading: bool) -> Running {
        let api = FakeApi::new();
        for policy in policies {
            api.put("ecraccesspolicies", policy);
        }
        let token = CancellationToken::new();
        let leader = Arc::new(AtomicBool::new(leading));
        let index = Index::start(api.client(), IndexOptions::default(), token.clone());
        let is_leader = Arc::clone(&leader);
        let options = ControllerOptions::default();
        tokio::spawn(run(
            api.client(),
            Arc::clone(&index),
            move || is_leader.load(Ordering::SeqCst),
            options.clone(),
            token.clone(),
        ));
        Running { api, index, leader, options, _guard: token.drop_guard() }
    }

    async fn until(what: &str, is: impl Fn() -> bool) {
        let waiting = async {
            while !is() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    fn ready(applied: &Value) -> (&str, &str) {
        let conditions = applied["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        (ready["status"].as_str().unwrap(), ready["reason"].as_str().unwrap())
    }

    #[tokio::test]
    async fn every_policy_gets_its_status_once_and_a_broken_one_harms_no_other() {
        let mut broken = policy("payments", "broken");
        broken["spec"]["puller"]["node"] = json!({});
        let running = start(vec![broken, policy("payments", "fine")], true);
        until("both statuses", || running.api.applied().len() >= 2).await;
        // The echo of both writes arrives and must cause no third.
        tokio::time::sleep(GATHER * 5).await;
        let mut applied = running.api.applied();
        assert_eq!(applied.len(), 2, "{applied:#?}");
        applied.sort_by(|one, other| one.0.cmp(&other.0));
        let base = "/apis/ecraccess.dev/v1alpha1/namespaces/payments/ecraccesspolicies";
        assert_eq!(applied[0].0, format!("{base}/broken/status"));
        assert_eq!(applied[1].0, format!("{base}/fine/status"));
        assert_eq!(ready(&applied[0].1), ("False", "UnsupportedSpec"));
        assert_eq!(ready(&applied[1].1), ("True", "Ready"));
        assert_eq!(applied[1].1["apiVersion"], "ecraccess.dev/v1alpha1");
        assert_eq!(applied[1].1["kind"], "EcrAccessPolicy");
        assert_eq!(applied[1].1["metadata"], json!({"name": "fine"}), "nothing of the metadata is owned");
        assert_eq!(applied[1].1.get("spec"), None);
    }

    #[tokio::test]
    async fn pods_are_counted_in_the_first_status_and_later_not_more_often_than_allowed() {
        let running = start(vec![policy("payments", "a")], false);
        running.api.put("serviceaccounts", json!({"metadata": {"name": "api", "namespace": "payments"}}));
        let pod = |name: &str| {
            let image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1";
            json!({
                "metadata": {"name": name, "namespace": "payments"},
                "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": image}]}
            })
        };
        running.api.put("pods", pod("api-0"));
        running.leader.store(true, Ordering::SeqCst);
        let gauge = || running.options.metrics.pods.get_or_create(&VerdictLabels { verdict: PodVerdict::Allow }).get();
        until("the pod is counted", || gauge() == 1).await;
        running.api.put("pods", pod("api-1"));
        until("both pods are counted", || gauge() == 2).await;
        let counts = |applied: &[(String, Value)]| -> Vec<_> {
            applied.iter().map(|(_, body)| body["status"]["pods"]["allowed"].as_i64().unwrap()).collect()
        };
        // The second pod changes counts alone, and those wait.
        assert_eq!(counts(&running.api.applied()), [1]);
    }

    #[tokio::test]
    async fn an_edit_is_in_the_status_within_a_second() {
        let running = start(vec![policy("payments", "a")], true);
        until("the first status", || running.api.applied().len() == 1).await;
        let begin = Instant::now();
        let mut edited = policy("payments", "a");
        edited["metadata"]["generation"] = 2.into();
        edited["spec"] = json!({"puller": 7});
        running.api.put("ecraccesspolicies", edited);
        until("the second status", || running.api.applied().len() == 2).await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        let (_, applied) = &running.api.applied()[1];
        assert_eq!(ready(applied).0, "False");
        assert_eq!(applied["status"]["observedGeneration"], 2);
    }

    #[tokio::test]
    async fn only_the_leader_writes() {
        let running = start(vec![policy("payments", "a")], false);
        tokio::time::sleep(LEADERSHIP * 2).await;
        assert!(running.api.applied().is_empty());
        assert_eq!(running.options.metrics.leader.get(), 0);
        running.leader.store(true, Ordering::SeqCst);
        until("the status of the new leader", || running.api.applied().len() == 1).await;
        assert_eq!(running.options.metrics.leader.get(), 1);
        running.leader.store(false, Ordering::SeqCst);
        until("the end of the term", || running.options.metrics.leader.get() == 0).await;
        running.api.put("ecraccesspolicies", policy("payments", "b"));
        tokio::time::sleep(LEADERSHIP).await;
        assert_eq!(running.api.applied().len(), 1);
    }

    #[tokio::test]
    async fn a_new_leader_finds_everything_said_and_writes_nothing() {
        let first = start(vec![policy("payments", "a")], true);
        until("the status", || first.api.applied().len() == 1).await;
        let status = first.api.applied()[0].1["status"].clone();
        let mut stored = policy("payments", "a");
        stored["status"] = status;
        let second = start(vec![stored], true);
        until("the second leader has looked", || {
            second.options.metrics.policies.get_or_create(&ReadyLabels { ready: Truth::True }).get() == 1
        })
        .await;
        tokio::time::sleep(GATHER * 5).await;
        assert!(second.api.applied().is_empty(), "{:#?}", second.api.applied());
    }

    #[tokio::test]
    async fn a_status_that_somebody_else_changed_is_put_right() {
        let running = start(vec![policy("payments", "a")], true);
        until("the status", || running.api.applied().len() == 1).await;
        let mut tampered = policy("payments", "a");
        tampered["status"] = json!({"observedGeneration": 1, "serviceAccounts": 99});
        running.api.put("ecraccesspolicies", tampered);
        until("the status again", || running.api.applied().len() == 2).await;
        assert_eq!(running.api.applied()[1].1["status"]["serviceAccounts"], 0);
    }

    #[tokio::test]
    async fn writes_that_fail_are_tried_again() {
        let running = start(vec![policy("payments", "a")], false);
        let failed =
            || running.options.metrics.status_writes.get_or_create(&WriteLabels { result: WriteResult::failed }).get();
        // Synced first, so that only the writes fail.
        running.index.wait_until_synced().await;
        running.api.answer("ecraccesspolicies", 500);
        running.leader.store(true, Ordering::SeqCst);
        until("a failed write", || failed() >= 1).await;
        running.api.answer("ecraccesspolicies", 200);
        until("the status", || running.api.applied().len() == 1).await;
    }
}
