//! The review of a pod or of the pod template of a workload: from the request to the answer.
//!
//! Memory judges. Two things are read fresh from the API server, each at most once in a review: a service account or a
//! namespace that memory has not seen, and, before a rejection leaves, whatever could turn it. A workload is never
//! rejected; the warning that its pods could not pull is confirmed in the same way, since a policy and the Deployment
//! that it is for often arrive in one apply.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ecr_forecast::cluster::{ObjectRef, Subject};
use ecr_forecast::diagnose::diagnose;
use ecr_forecast::inventory::Inventory;
use ecr_forecast::judge::{Admission, Judgement, Options, Verdict, depends_on, judge, note};
use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject};
use ecr_forecast::report::{Report, render};
use futures::future::try_join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Webhook;
use super::absent::Absent;
use super::allotment::{Allotment, ProcessorTurn};
use super::cluster::{Cluster, MAX_CONFIG_MAPS, Read, ReadError};
use super::message::{Answer, FieldCause, MAX_CAUSES, Outcome, Refusal, Request};
use super::review_input::{ReviewInput, describe};
use crate::index::policy_object;
use crate::runtime::metrics::{Metrics, OutcomeLabels};
use crate::runtime::seldom::{Seldom, beginning};
use crate::runtime::shares::Permit;
use crate::runtime::watch::object::Item;

/// Judges pods and workloads against what a [`Cluster`] knows.
pub struct Reviewer<C> {
    cluster: C,
    options: Options,
    metrics: Metrics,
    /// Service accounts and namespaces that were not there a moment ago.
    absent: Absent,
}

/// How work that takes the processor is done, so that it does not hold up other requests.
///
/// Work is done in turns: only so much of it at a time, while threads that only move bytes keep one for themselves. A
/// review keeps its turn from one piece of work to the next, until it waits for something.
#[derive(Default)]
pub struct CpuPermit {
    /// `None`: on the spot. Otherwise on a thread of its own, which keeps this alive until it is done, even when nobody
    /// waits for it any more.
    held: Option<Arc<dyn Any + Send + Sync>>,
    /// Whose turns, and reads, they are; without it nothing need be waited for.
    allotment: Option<Allotment>,
    turn: Mutex<Option<ProcessorTurn>>,
}

impl CpuPermit {
    /// Work that is small: done on the spot.
    pub fn here() -> CpuPermit {
        CpuPermit::default()
    }

    /// Work that is big: done on a thread for blocking work. `held` is what must not be given back before it is done,
    /// such as the share of a memory budget.
    pub fn elsewhere(held: Arc<dyn Any + Send + Sync>) -> CpuPermit {
        CpuPermit { held: Some(held), ..CpuPermit::default() }
    }

    /// The same, in turns, the first of which was waited for.
    pub fn in_turns(self, allotment: Allotment, first: ProcessorTurn) -> CpuPermit {
        CpuPermit { allotment: Some(allotment), turn: Mutex::new(Some(first)), ..self }
    }

    /// Gives the turn to others, before something is waited for.
    pub fn release(&self) {
        drop(self.take());
    }

    /// Does the work. A panic of the work goes on in the caller.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = match (self.take(), &self.allotment) {
            (None, Some(allotment)) => match allotment.turn(Instant::now() + LONGEST_WAIT).await {
                Some(turn) => Some(turn),
                // Whoever is given no turn at all has a deadline, which tells him so.
                None => std::future::pending().await,
            },
            (turn, _) => turn,
        };
        let Some(held) = self.held.clone() else {
            let done = work();
            self.keep(turn);
            return done;
        };
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            (done, turn)
        });
        match task.await {
            Ok((done, turn)) => {
                self.keep(turn);
                done
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and will never start it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Waits, but not beyond `until`, until so many reads may be on their way.
    async fn reads(&self, n: usize, until: Instant) -> Result<Option<Permit>, ReadError> {
        let Some(allotment) = &self.allotment else { return Ok(None) };
        allotment.reads(n, until).await.map(Some).ok_or(ReadError::Busy)
    }

    /// Whether something may be read that memory does not know.
    fn may_ask_for_unknown(&self) -> bool {
        self.allotment.as_ref().is_none_or(|allotment| allotment.of.may_ask_for_unknown(allotment.caller))
    }

    /// Whether nobody knows its caller for an API server while API servers are known.
    fn is_of_stranger(&self) -> bool {
        self.allotment.as_ref().is_some_and(|allotment| allotment.caller.is_apart())
    }

    fn take(&self) -> Option<ProcessorTurn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, turn: Option<ProcessorTurn>) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

/// Longer than any review may take.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

impl<C: Cluster> Reviewer<C> {
    /// Judges with `options`, whose `operator_namespace` is left alone.
    pub fn new(cluster: C, options: Options, metrics: Metrics) -> Reviewer<C> {
        Reviewer { cluster, options, metrics, absent: Absent::default() }
    }

    /// Answers a request of `webhook` about a pod or a workload, as of `at`. It waits for the API server until `until`.
    ///
    /// It never refuses because of a failure of its own: what it cannot read is admitted with a warning.
    pub async fn review(
        self: &Arc<Self>,
        webhook: Webhook,
        request: Request,
        at: Timestamp,
        until: Instant,
        work: &CpuPermit,
    ) -> Answer {
        let uid = request.uid.clone();
        let question = {
            let own = self.options.operator_namespace.clone();
            work.run(move || ReviewInput::of(webhook, request, own.as_deref())).await
        };
        match question {
            ReviewInput::Nothing(outcome) => Answer::admitted(&uid, outcome),
            ReviewInput::Unreadable { what, why } => {
                static UNREADABLE: Seldom = Seldom::new();
                if let Some(held_back) = UNREADABLE.may_tell() {
                    let what = beginning(&what);
                    tracing::warn!(uid, what, held_back, "an object was not understood and is admitted");
                }
                let warning =
                    format!("ecr-access: Unknown: {what} cannot be read: {why}, so its images were not judged");
                Answer::unknown(&uid, "Unreadable", warning)
            }
            ReviewInput::Judge(subject) => self.judge(&uid, Arc::new(subject), at, until, work).await,
        }
    }

    async fn judge(
        self: &Arc<Self>,
        uid: &str,
        subject: Arc<Subject>,
        at: Timestamp,
        until: Instant,
        work: &CpuPermit,
    ) -> Answer {
        let Some(snapshot) = self.cluster.snapshot() else {
            let warning = format!(
                "ecr-access: Unknown: {} is admitted unjudged, the webhook has just been started and knows no policies yet",
                describe(&subject)
            );
            return Answer::unknown(uid, "NotSynced", warning);
        };
        let mut review_inventory = ReviewInventory { inventory: (*snapshot).clone(), fresh: BTreeSet::new() };
        self.fill_gaps(&mut review_inventory, &subject, until, work).await;
        let mut judgement = self.judge_with(&review_inventory, &subject, at, work).await;
        // Few rounds: what decides after the first may be a cluster policy that was not read then, and what decides now
        // may name other ConfigMaps.
        while is_to_be_confirmed(&subject, &judgement) {
            let missing = review_inventory.not_fresh(depends_on(&review_inventory.inventory, &subject, &judgement));
            if missing.is_empty() {
                break;
            }
            if let Err(error) = self.confirm(&mut review_inventory, missing, until, work).await {
                self.count_confirmation("failed");
                return unconfirmed(uid, &subject, &judgement, &error);
            }
            judgement = self.judge_with(&review_inventory, &subject, at, work).await;
        }
        if review_inventory.fresh.contains(&ObjectRef::Policies(Some(subject.namespace.clone()))) {
            let turned = !is_to_be_confirmed(&subject, &judgement);
            self.count_confirmation(if turned { "changed" } else { "confirmed" });
        }
        let mut answer = decided(uid, &judgement);
        if !is_told(&judgement) {
            return answer;
        }
        // Why, and what would help, is looked for once, when it is certain what is told.
        let report = work.run(move || render(&subject, &judgement, &diagnose(&judgement))).await;
        if report.exemptions().next().is_some() {
            self.metrics.exempted.inc();
        }
        put_words(&mut answer, &report);
        // A flood of reviews that a stranger makes up is no flood of lines.
        if answer.refusal.is_some() && !work.is_of_stranger() {
            let policy = report.policy.as_ref().map(ToString::to_string);
            let (kind, reason) = (&report.kind, &answer.outcome.reason);
            let [namespace, name] = [&report.namespace, &report.name].map(|text| beginning(text));
            tracing::info!(uid, kind, namespace, name, policy, reason, "refused");
        }
        answer
    }

    async fn judge_with(
        self: &Arc<Self>,
        review_inventory: &ReviewInventory,
        subject: &Arc<Subject>,
        at: Timestamp,
        work: &CpuPermit,
    ) -> Judgement {
        let (reviewer, inventory, subject) =
            (Arc::clone(self), review_inventory.inventory.clone(), Arc::clone(subject));
        work.run(move || judge(&inventory, &subject, at, &reviewer.options)).await
    }

    /// Reads the service account and the namespace where memory has not seen them and a policy could ask for them. A
    /// read that fails leaves the gap, and with it what depends on it Unknown. So does one that found nothing a moment
    /// ago, and one too many for a stranger.
    async fn fill_gaps(
        &self,
        review_inventory: &mut ReviewInventory,
        subject: &Subject,
        until: Instant,
        work: &CpuPermit,
    ) {
        let mut missing = review_inventory.gaps(subject);
        missing.retain(|what| !self.absent.has(&what.to_string()));
        if missing.is_empty() || !work.may_ask_for_unknown() {
            return;
        }
        work.release();
        match self.read(&missing, until, work).await {
            Ok(done) => {
                let absent =
                    |(_, read): &&(ObjectRef, Read)| matches!(read, Read::ServiceAccount(None) | Read::Namespace(None));
                self.absent.extend(done.iter().filter(absent).map(|(what, _)| what.to_string()));
                review_inventory.apply(done);
            }
            Err(error) => {
                static GAP: Seldom = Seldom::new();
                if let Some(held_back) = GAP.may_tell() {
                    let namespace = beginning(&subject.namespace);
                    let error = error.in_log();
                    tracing::warn!(error, namespace, held_back, "a gap in memory could not be filled");
                }
            }
        }
    }

    /// Reads what could turn a rejection, and puts it over what memory has.
    async fn confirm(
        &self,
        review_inventory: &mut ReviewInventory,
        missing: BTreeSet<ObjectRef>,
        until: Instant,
        work: &CpuPermit,
    ) -> Result<(), ReadError> {
        let asked = missing
            .iter()
            .chain(&review_inventory.fresh)
            .filter(|what| matches!(what, ObjectRef::ConfigMap(_)))
            .count();
        if asked > MAX_CONFIG_MAPS {
            return Err(ReadError::TooManyConfigMaps(asked));
        }
        let unknown = missing.iter().any(|what| review_inventory.is_gap(what));
        if unknown && !work.may_ask_for_unknown() {
            return Err(ReadError::Busy);
        }
        work.release();
        let done = self.read(&missing, until, work).await?;
        // Compiling policies takes the processor too.
        let mut known = std::mem::take(review_inventory);
        *review_inventory = work
            .run(move || {
                known.apply(done);
                known
            })
            .await;
        Ok(())
    }

    async fn read(
        &self,
        what: &BTreeSet<ObjectRef>,
        until: Instant,
        work: &CpuPermit,
    ) -> Result<Vec<(ObjectRef, Read)>, ReadError> {
        let _reads = work.reads(what.len(), until).await?;
        let mut reads = Vec::with_capacity(what.len());
        for what in what {
            reads.push(async move { Ok((what.clone(), self.cluster.get(what).await?)) });
        }
        tokio::time::timeout_at(until, try_join_all(reads)).await.map_err(|_| ReadError::Timeout)?
    }

    fn count_confirmation(&self, outcome: &'static str) {
        self.metrics.confirmations.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

/// What a review knows: memory, with what was read fresh put over it.
#[derive(Default)]
struct ReviewInventory {
    inventory: Inventory,
    fresh: BTreeSet<ObjectRef>,
}

impl ReviewInventory {
    /// What memory has not seen and a policy could ask for.
    fn gaps(&self, subject: &Subject) -> BTreeSet<ObjectRef> {
        let (namespace, name) = (subject.namespace.clone(), subject.service_account.clone());
        let account = ObjectRef::ServiceAccount { namespace: namespace.clone(), name };
        let kinds = || self.inventory.policies_for(&subject.namespace).map(|policy| policy.key.kind);
        let mut gaps = BTreeSet::new();
        // Nearly always neither is one, and then no policy is looked at.
        if self.is_gap(&account) && kinds().next().is_some() {
            gaps.insert(account);
        }
        // Only cluster policies look at the labels of a namespace.
        let labels = ObjectRef::Namespace(namespace);
        if self.is_gap(&labels) && kinds().any(|kind| kind == PolicyKind::ClusterEcrAccessPolicy) {
            gaps.insert(labels);
        }
        gaps
    }

    /// Whether it is a service account or a namespace that is not known.
    fn is_gap(&self, what: &ObjectRef) -> bool {
        match what {
            ObjectRef::ServiceAccount { namespace, name } => self.inventory.service_account(namespace, name).is_none(),
            ObjectRef::Namespace(name) => self.inventory.namespace(name).is_none(),
            ObjectRef::Policies(_) | ObjectRef::ConfigMap(_) | ObjectRef::Fact { .. } => false,
        }
    }

    /// Of what a verdict rests on, what can be read and was not read in this review.
    fn not_fresh(&self, mut what: BTreeSet<ObjectRef>) -> BTreeSet<ObjectRef> {
        what.retain(|what| what.is_read_fresh() && !self.fresh.contains(what));
        what
    }

    /// Puts what was read over memory. It was read after memory was looked at, so it is at least as new.
    fn apply(&mut self, done: Vec<(ObjectRef, Read)>) {
        for (what, read) in done {
            self.fresh.insert(what.clone());
            match (what, read) {
                (_, Read::ServiceAccount(Some(facts))) => self.inventory.put_service_account(facts),
                (ObjectRef::ServiceAccount { namespace, name }, _) => {
                    self.inventory.remove_service_account(&namespace, &name);
                }
                (ObjectRef::Namespace(name), Read::Namespace(Some(labels))) => {
                    self.inventory.put_namespace(name, labels);
                }
                (ObjectRef::Namespace(name), _) => self.inventory.remove_namespace(&name),
                (_, Read::ConfigMap(Some(facts))) => {
                    self.inventory.put_config_map(facts);
                }
                (ObjectRef::ConfigMap(name), _) => {
                    self.inventory.remove_config_map(&name);
                }
                (ObjectRef::Policies(namespace), Read::Policies(policies)) => {
                    self.replace_policies(namespace, policies);
                }
                (ObjectRef::Policies(_) | ObjectRef::Fact { .. }, _) => {}
            }
        }
    }

    /// These are all policies of the namespace, or without one all of the cluster.
    fn replace_policies(&mut self, namespace: Option<String>, objects: Vec<Item>) {
        let kind = PolicyKind::within(namespace.as_deref());
        let mut gone: BTreeMap<PolicyKey, Arc<PolicyObject>> = self
            .inventory
            .policies_for(namespace.as_deref().unwrap_or_default())
            .filter(|policy| policy.key.kind == kind)
            .map(|policy| (policy.key.clone(), Arc::clone(policy)))
            .collect();
        for object in objects {
            let namespace = namespace.clone();
            let Some(name) = object.raw().name() else { continue };
            let key = PolicyKey { kind, namespace, name: name.to_owned() };
            let known = gone.remove(&key);
            if known.is_some_and(|known| known.resource_version.as_deref() == object.raw().version()) {
                continue;
            }
            match policy_object(kind, object) {
                Ok(policy) => self.inventory.put_policy(policy),
                // An object with a name and a kind is always read; should that change, its absence is what is true of it.
                Err(error) => {
                    tracing::warn!(policy = %key, %error, "a policy cannot be read");
                    self.inventory.remove_policy(&key);
                }
            }
        }
        for key in gone.keys() {
            self.inventory.remove_policy(key);
        }
    }
}

/// An answer that has what was decided, and no words yet.
fn decided(uid: &str, judgement: &Judgement) -> Answer {
    let outcome = Outcome {
        verdict: judgement.verdict.to_string(),
        admission: judgement.admission.to_string(),
        reason: reason(judgement),
    };
    let mut answer = Answer::admitted(uid, outcome);
    if let Some(policy) = &judgement.policy {
        answer.audit.insert("policy", policy.key.to_string());
    }
    answer
}

/// Whether the author of the object is told anything: nothing of images that can be pulled, or that are not judged.
fn is_told(judgement: &Judgement) -> bool {
    judgement.admission != Admission::Admitted || judgement.notes.contains(&note::LOOKS_LIKE_ECR)
}

/// Puts what people read into an answer: a refusal, or warnings.
fn put_words(answer: &mut Answer, report: &Report) {
    let exemptions: Vec<&str> = report.exemptions().map(|used| used.name.as_str()).collect();
    if !exemptions.is_empty() {
        answer.audit.insert("exemptions", exemptions.join(","));
    }
    match report.admission {
        Admission::Admitted | Admission::Warned => answer.warnings = report.warnings(),
        Admission::Rejected => {
            let causes = report.causes();
            let more = causes.len().saturating_sub(MAX_CAUSES);
            answer.refusal = Some(Refusal {
                code: 403,
                reason: "Forbidden",
                message: report.denial_message(),
                group: String::new(),
                kind: "pods".to_owned(),
                name: report.name.clone(),
                causes: causes
                    .into_iter()
                    .take(MAX_CAUSES)
                    .map(|cause| FieldCause {
                        reason: "FieldValueForbidden",
                        message: cause.message,
                        field: cause.field,
                    })
                    .collect(),
                more,
            });
        }
    }
}

/// The reason of the first image that has the pod's verdict.
fn reason(judgement: &Judgement) -> String {
    if judgement.verdict == Verdict::NotSelected {
        return "NotSelected".to_owned();
    }
    let deciding = judgement.images.iter().find(|image| image.verdict == judgement.verdict);
    deciding.or(judgement.images.first()).map_or_else(|| "NoImages".to_owned(), |image| image.reason.to_string())
}

/// Whether a judgement says what nobody should hear from memory alone: a rejection, or that the pods of a workload could
/// not pull.
fn is_to_be_confirmed(subject: &Subject, judgement: &Judgement) -> bool {
    match judgement.admission {
        Admission::Rejected => true,
        Admission::Warned => subject.template && judgement.verdict == Verdict::Deny,
        Admission::Admitted => false,
    }
}

/// What would have been refused or warned of, had it been confirmed.
fn unconfirmed(uid: &str, subject: &Subject, judgement: &Judgement, error: &ReadError) -> Answer {
    let Subject { kind, namespace, name, .. } = subject;
    static UNCONFIRMED: Seldom = Seldom::new();
    if let Some(held_back) = UNCONFIRMED.may_tell() {
        let [kind, namespace, name] = [kind, namespace, name].map(|text| beginning(text));
        let error = error.in_log();
        tracing::warn!(error, kind, namespace, name, held_back, "a verdict could not be confirmed");
    }
    let what = describe(subject);
    let warning = if subject.template {
        format!(
            "ecr-access: Unknown: the pods of {what} could not pull an image as far as is known, but that could not be \
             confirmed ({error})"
        )
    } else {
        format!(
            "ecr-access: Unknown: {what} would be refused, but that could not be confirmed ({error}); it is admitted"
        )
    };
    let mut answer = Answer::unknown(uid, "NotConfirmed", warning);
    if let Some(policy) = &judgement.policy {
        answer.audit.insert("policy", policy.key.to_string());
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_no_read_tells_of_is_not_asked_for() {
        let account = ObjectRef::ServiceAccount { namespace: "payments".to_owned(), name: "api".to_owned() };
        let fact = ObjectRef::Fact { kind: "IamRole".to_owned(), namespace: None, name: "app".to_owned() };
        let needed = BTreeSet::from([account.clone(), fact]);
        let mut review_inventory = ReviewInventory::default();
        assert_eq!(review_inventory.not_fresh(needed.clone()), BTreeSet::from([account.clone()]));
        review_inventory.fresh.insert(account);
        assert!(review_inventory.not_fresh(needed).is_empty());
    }

    #[tokio::test]
    async fn a_panic_of_work_goes_on_in_the_caller_wherever_it_is_done() {
        for work in [CpuPermit::here(), CpuPermit::elsewhere(Arc::new(()))] {
            let caught = AssertUnwindSafe(work.run(|| panic!("for the test"))).catch_unwind().await;
            let panic = caught.map(|()| "nothing").unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"for the test"));
        }
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_what_it_holds_until_it_is_done() {
        struct Hold(Arc<AtomicBool>);
        impl Drop for Hold {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let given_back = Arc::new(AtomicBool::new(false));
        let work = CpuPermit::elsewhere(Arc::new(Hold(given_back.clone())));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (done, finished) = tokio::sync::oneshot::channel();
        let run = work.run(move || {
            begin.send(()).unwrap();
            wait.recv().unwrap();
            done.send(()).unwrap();
        });
        // Asked for once, the work begins; then nobody waits for it any more.
        let mut run = Box::pin(run);
        assert!(futures::poll!(&mut run).is_pending());
        begun.await.unwrap();
        drop(run);
        drop(work);
        assert!(!given_back.load(Ordering::SeqCst));
        go.send(()).unwrap();
        finished.await.unwrap();
        while !given_back.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}
