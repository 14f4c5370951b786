//! What the API server knows and a verdict depends on, in memory: watches of policies, service accounts, namespaces and
//! labelled ConfigMaps feed one [`Inventory`], which anybody can read at any time without waiting.
//!
//! One task owns the inventory, applies events as they come and publishes each state as a whole, so that a reader sees
//! all of an event or nothing of it. There is no debounce on this path: an edit is in force as soon as the API server
//! has told of it. Pods and workloads are watched apart, by the leader alone: see [`pods`] and [`workloads`].

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ecr_forecast::inventory::Inventory;
use ecr_forecast::policy::compiled::PolicyKey;
use futures::{FutureExt, Stream, StreamExt, stream};
use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runtime::watch::backoff::Backoff;
use crate::runtime::watch::health::{Health, Note, Progress};
use crate::runtime::watch::kind::{Kind, PAGE_SIZE};
use crate::runtime::watch::source::{self, MARGIN, Signal};
use crate::runtime::watch::timeouts;
use kinds::{KINDS, WatchedKind};
use state::State;

pub mod kinds;
pub mod memory;
pub mod pods;
mod state;
pub mod subjects;
pub mod workloads;

#[cfg(test)]
mod attacked;

pub use crate::runtime::watch::failure::Failure;
pub use crate::runtime::watch::source::Signal as WatchSignal;
pub use crate::runtime::watch::timeouts::client;
pub use memory::{Observed, config_map_facts, policy_object};
pub use state::Changes;

/// How the API server is watched.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// What is watched.
    pub kinds: &'static [WatchedKind],
    /// Objects per page of a list, at most; a kind may have less.
    pub page_size: u32,
    /// Seconds after which a watch is renewed: a connection that died silently is noticed a few seconds later.
    pub watch_timeout: u32,
    /// How long the API server may take to begin an answer, and to go on with one that is no watch.
    pub answer_timeout: Duration,
}

impl Default for IndexOptions {
    fn default() -> IndexOptions {
        let answer_timeout = Duration::from_secs(30);
        IndexOptions { kinds: KINDS, page_size: PAGE_SIZE, watch_timeout: 60, answer_timeout }
    }
}

impl IndexOptions {
    /// A row of the table with pages that are no bigger than these.
    pub(crate) fn row(&self, kind: Kind) -> Kind {
        Kind { page_size: kind.page_size.min(self.page_size), ..kind }
    }
}

/// How often the watches are looked at, for how long they have failed.
const LOOK: Duration = Duration::from_secs(1);

/// Everything a verdict depends on, kept up to date in the background.
pub struct Index {
    client: Client,
    kinds: &'static [WatchedKind],
    current: ArcSwap<Snapshot>,
    changes: watch::Sender<Changes>,
    health: Health,
}

/// One consistent state of the index.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// What verdicts are computed from.
    pub inventory: Arc<Inventory>,
    /// What stands about each policy in the API server; the controller compares its own result with it.
    pub observed: Arc<BTreeMap<PolicyKey, Arc<Observed>>>,
}

impl Index {
    /// Starts the watches in the background; they end when `token` is cancelled. Needs a running tokio runtime, and a
    /// client as [`client`] makes it.
    pub fn start(client: Client, options: IndexOptions, token: CancellationToken) -> Arc<Index> {
        let watch = Duration::from_secs(options.watch_timeout.into()) + MARGIN;
        let timeouts = timeouts::Timeouts { answer: options.answer_timeout, watch };
        let index = Arc::new(Index::new(timeouts::guarded(client, timeouts), options.kinds));
        let looking = Arc::clone(&index);
        let look = async move {
            loop {
                tokio::time::sleep(LOOK).await;
                looking.health.look(Instant::now());
            }
        };
        tokio::spawn(token.clone().run_until_cancelled_owned(look));
        tokio::spawn(supervise(Arc::clone(&index), options, token));
        index
    }

    fn new(client: Client, kinds: &'static [WatchedKind]) -> Index {
        Index {
            client,
            kinds,
            current: ArcSwap::default(),
            changes: watch::Sender::new(Changes::default()),
            health: Health::new(kinds.iter().map(|row| row.kind).chain(kinds::of_leader()).map(|kind| kind.plural)),
        }
    }

    /// The client of the watches, for whoever watches something else.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The inventory as of now. Never waits.
    pub fn snapshot(&self) -> Arc<Inventory> {
        Arc::clone(&self.current.load().inventory)
    }

    /// The inventory as of now, with what stands about the policies in the API server.
    pub fn view(&self) -> Snapshot {
        Snapshot::clone(&self.current.load())
    }

    /// Is everything listed that readiness waits for? Once `true` it stays so.
    pub fn synced(&self) -> bool {
        self.is_listed(&self.health.progress().borrow())
    }

    fn is_listed(&self, progress: &BTreeMap<&'static str, Progress>) -> bool {
        let mut awaited = self.kinds.iter().filter(|row| row.awaited);
        awaited.all(|row| progress.get(row.kind.plural).is_some_and(|progress| progress.listed))
    }

    /// Waits until [`Index::synced`].
    pub async fn wait_until_synced(&self) {
        // The sender lives as long as `self`.
        let _ = self.health.progress().wait_for(|progress| self.is_listed(progress)).await;
    }

    /// Why the index is not synced, for people, one line; `None` when it is.
    pub fn not_synced_reason(&self) -> Option<String> {
        let progress = self.health.progress();
        let progress = progress.borrow();
        let waiting: Vec<String> = self
            .kinds
            .iter()
            .filter(|row| row.awaited)
            .map(|row| (row.kind.plural, progress.get(row.kind.plural)))
            .filter(|(_, progress)| progress.is_none_or(|progress| !progress.listed))
            .map(|(kind, progress)| match progress.and_then(|progress| progress.failure.as_ref()) {
                Some(failure) => failure.message.clone(),
                None => format!("{kind} are not listed yet"),
            })
            .collect();
        (!waiting.is_empty()).then(|| waiting.join("; "))
    }

    /// What the watch of a kind is doing.
    pub fn progress(&self, plural: &str) -> Progress {
        self.health.progress().borrow().get(plural).cloned().unwrap_or_default()
    }

    /// How all watches are: these, and those of the leader, which notes them here.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Tells of changes: [`Changes`] counts them, so that nothing is lost by looking late.
    ///
    /// The snapshot is published before its change is told.
    pub fn changed(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// Publishes a state: first the snapshot, then the news of it.
    fn publish(&self, state: &State) {
        let before = *self.changes.borrow();
        if before == state.changes() {
            return;
        }
        self.current.store(Arc::new(Snapshot {
            inventory: Arc::new(state.memory().inventory.clone()),
            observed: Arc::new(state.memory().observed.clone()),
        }));
        self.changes.send_replace(state.changes());
    }
}

/// Signals that are applied before the result is published, when so many are there already. It bounds how long a flood
/// of events can hold back the first of them.
const BATCH: usize = 256;

/// The longest pause between two runs of the watches that a bug stopped.
const PANIC_PAUSE: Duration = Duration::from_secs(10);

/// Runs the watches until `token` is cancelled. A panic, which only a bug causes, starts them over.
async fn supervise(index: Arc<Index>, options: IndexOptions, token: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let signals = stream::select_all(index.kinds.iter().map(|row| {
            let kind = options.row(row.kind);
            source::watch(index.client.clone(), kind, options.watch_timeout).map(move |signal| (row, signal)).boxed()
        }));
        let run = AssertUnwindSafe(follow(&index, signals)).catch_unwind();
        let ended = token.run_until_cancelled(run).await;
        match ended {
            None => return,
            Some(Ok(())) => tracing::error!("the watches ended, which they never should; starting them over"),
            Some(Err(_)) => tracing::error!("a bug stopped the watches; starting them over"),
        }
        let pause = backoff.next(Instant::now(), PANIC_PAUSE);
        if token.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Applies signals to a new state and publishes it.
///
/// Until each kind is listed that readiness waits for, the published snapshot stays incomplete; after a restart by
/// [`supervise`] the snapshot of before is kept until everything is listed again that was in it, but for what fails and
/// may be absent.
async fn follow(index: &Index, signals: impl Stream<Item = (&'static WatchedKind, Signal)>) {
    let mut state = State::continuing(*index.changes.borrow());
    let was_listed = |row: &&WatchedKind| row.awaited || index.progress(row.kind.plural).listed;
    let mut unlisted: BTreeSet<&str> = index.kinds.iter().filter(was_listed).map(|row| row.kind.plural).collect();
    let batches = signals.ready_chunks(BATCH);
    tokio::pin!(batches);
    while let Some(batch) = batches.next().await {
        let mut notes = Vec::new();
        for (row, signal) in batch {
            index.health.see(row.kind.plural, &signal);
            notes.extend(signal.note().map(|note| (row, note)));
            if let Signal::Event(event) = signal {
                state.apply(row, event);
            }
        }
        for (row, note) in &notes {
            if *note == Note::Listed || (!row.awaited && matches!(note, Note::Failed(_))) {
                unlisted.remove(row.kind.plural);
            }
        }
        if unlisted.is_empty() || !index.synced() {
            index.publish(&state);
        }
        // After publishing: who is told that everything is listed must find it in the snapshot.
        for (row, note) in notes {
            index.health.note(row.kind.plural, note);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use fixtures::stored_policy;
    use serde_json::json;

    use super::*;
    use crate::runtime::fake::FakeApi;
    use crate::runtime::watch::event::Event;
    use crate::runtime::watch::object::Raw;
    use ecr_forecast::cluster::config_map::ConfigMapName;

    const TIMEOUTS: Duration = Duration::from_secs(20);

    fn start(api: &Arc<FakeApi>) -> (Arc<Index>, tokio_util::sync::DropGuard) {
        let token = CancellationToken::new();
        let options = IndexOptions { page_size: 2, ..IndexOptions::default() };
        (Index::start(api.client(), options, token.clone()), token.drop_guard())
    }

    /// Waits until the index says so, told by its own notifications.
    async fn until(index: &Index, what: &str, is: impl Fn(&Inventory) -> bool) {
        let mut changed = index.changed();
        let waiting = async {
            while !is(&index.snapshot()) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(TIMEOUTS, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    async fn synced(index: &Index) {
        tokio::time::timeout(TIMEOUTS, index.wait_until_synced()).await.expect("the index never synced");
    }

    fn names(inventory: &Inventory) -> Vec<String> {
        inventory.policies().map(|policy| policy.key.name.clone()).collect()
    }

    #[tokio::test]
    async fn everything_is_listed_page_by_page_before_the_index_is_synced() {
        let api = FakeApi::new();
        for name in ["a", "b", "c", "d", "e"] {
            api.put("ecraccesspolicies", stored_policy("payments", name));
        }
        api.put("serviceaccounts", json!({"metadata": {"name": "api", "namespace": "payments"}}));
        api.put("namespaces", json!({"metadata": {"name": "payments", "labels": {"team": "a"}}}));
        let document = r#"{"Version": "2012-10-17", "Statement": []}"#;
        let labels = json!({"ecraccess.dev/policy-document": "true"});
        api.put(
            "configmaps",
            json!({"metadata": {"name": "iam", "namespace": "payments", "labels": labels}, "data": {"a": document}}),
        );
        let (index, _guard) = start(&api);
        assert!(!index.synced());
        let waiting = index.not_synced_reason().unwrap();
        assert!(waiting.contains("configmaps are not listed yet"), "{waiting}");
        assert!(index.not_synced_reason().unwrap().contains("serviceaccounts are not listed yet"));
        synced(&index).await;
        assert_eq!(index.not_synced_reason(), None);
        let snapshot = index.snapshot();
        assert_eq!(names(&snapshot), ["a", "b", "c", "d", "e"]);
        assert!(snapshot.service_account("payments", "api").is_some());
        assert_eq!(snapshot.namespace("payments").unwrap()["team"], "a");
        let name = ConfigMapName { namespace: "payments".to_owned(), name: "iam".to_owned() };
        assert_eq!(snapshot.config_map(&name).unwrap().text("a"), Some(document));
        assert_eq!(api.selectors("configmaps"), ["ecraccess.dev%2Fpolicy-document%3Dtrue"], "no others are asked for");
    }

    #[tokio::test]
    async fn an_edit_is_in_force_at_once_and_a_delete_too() {
        let api = FakeApi::new();
        api.put("ecraccesspolicies", stored_policy("payments", "a"));
        let (index, _guard) = start(&api);
        synced(&index).await;
        let begin = Instant::now();
        api.put("ecraccesspolicies", stored_policy("payments", "b"));
        until(&index, "b is there", |inventory| names(inventory) == ["a", "b"]).await;
        api.delete("ecraccesspolicies", "payments", "a");
        until(&index, "a is gone", |inventory| names(inventory) == ["b"]).await;
        api.put(
            "serviceaccounts",
            json!({"metadata": {"name": "api", "namespace": "payments", "annotations": {"role": "arn"}}}),
        );
        until(&index, "the account is there", |inventory| inventory.service_account("payments", "api").is_some()).await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_policy_that_does_not_decode_stops_no_watch() {
        let api = FakeApi::new();
        let mut broken = stored_policy("payments", "broken");
        broken["spec"] = json!("nothing like it");
        broken["metadata"]["labels"] = json!([7]);
        api.put("ecraccesspolicies", broken.clone());
        api.put("ecraccesspolicies", stored_policy("payments", "fine"));
        let (index, _guard) = start(&api);
        synced(&index).await;
        assert_eq!(names(&index.snapshot()), ["broken", "fine"]);
        broken["metadata"]["name"] = "broken-too".into();
        api.put("ecraccesspolicies", broken);
        api.put("ecraccesspolicies", stored_policy("payments", "fine-too"));
        until(&index, "the watch goes on", |inventory| names(inventory).len() == 4).await;
    }

    #[tokio::test]
    async fn without_the_crds_the_index_says_so_and_syncs_when_they_come() {
        let api = FakeApi::new();
        api.answer("clusterecraccesspolicies", 404);
        let (index, _guard) = start(&api);
        let mut progress = index.health.progress();
        let plural = "clusterecraccesspolicies";
        let failed = progress.wait_for(|kinds| {
            let mut others = KINDS.iter().map(|row| row.kind.plural).filter(|other| *other != plural);
            kinds[plural].failure.is_some() && others.all(|other| kinds[other].listed)
        });
        drop(tokio::time::timeout(TIMEOUTS, failed).await.unwrap().unwrap());
        assert_eq!(
            index.not_synced_reason().unwrap(),
            "the CustomResourceDefinition clusterecraccesspolicies.ecraccess.dev is not installed"
        );
        assert!(!index.synced());
        api.answer("clusterecraccesspolicies", 200);
        synced(&index).await;
        assert_eq!(index.progress(plural), Progress { listed: true, ..Progress::default() });
    }

    #[tokio::test]
    async fn what_was_deleted_while_the_watch_was_broken_disappears_and_the_rest_never_does() {
        let api = FakeApi::new();
        api.put("ecraccesspolicies", stored_policy("payments", "stays"));
        api.put("ecraccesspolicies", stored_policy("payments", "goes"));
        let (index, _guard) = start(&api);
        synced(&index).await;
        // The API server forgets where the watch stood, and for a while it does not even list.
        api.answer("ecraccesspolicies", 503);
        api.forget("ecraccesspolicies");
        api.delete("ecraccesspolicies", "payments", "goes");
        let mut progress = index.health.progress();
        let failed = progress.wait_for(|kinds| kinds["ecraccesspolicies"].failure.is_some());
        drop(tokio::time::timeout(TIMEOUTS, failed).await.unwrap().unwrap());
        assert!(index.synced(), "the last state is used on");
        assert_eq!(names(&index.snapshot()), ["goes", "stays"]);
        api.answer("ecraccesspolicies", 200);
        until(&index, "the deleted policy is gone", |inventory| {
            assert!(names(inventory).contains(&"stays".to_owned()));
            names(inventory) == ["stays"]
        })
        .await;
    }

    #[tokio::test]
    async fn a_watch_that_is_told_410_at_its_start_lists_again() {
        let api = FakeApi::new();
        api.put("ecraccesspolicies", stored_policy("payments", "a"));
        let (index, _guard) = start(&api);
        synced(&index).await;
        // From now on no watch can be taken up where it stood, as after the backup of an etcd was put back.
        api.answer_watches("ecraccesspolicies", 410);
        api.hang_up("ecraccesspolicies");
        api.put("ecraccesspolicies", stored_policy("payments", "b"));
        until(&index, "what was missed is listed", |inventory| names(inventory) == ["a", "b"]).await;
        api.answer_watches("ecraccesspolicies", 200);
        api.put("ecraccesspolicies", stored_policy("payments", "c"));
        until(&index, "the watch works again", |inventory| names(inventory) == ["a", "b", "c"]).await;
    }

    /// A list of these objects, as the watch of a kind tells it.
    fn listed(row: &'static WatchedKind, objects: Vec<serde_json::Value>) -> Vec<(&'static WatchedKind, Signal)> {
        let objects = objects.into_iter().map(|value| Event::InitApply(Raw::new(value).into()));
        let events = [Event::Init].into_iter().chain(objects).chain([Event::InitDone]);
        events.map(|event| (row, Signal::Event(event))).collect()
    }

    #[tokio::test]
    async fn a_bug_starts_the_watches_over_and_keeps_the_last_state_until_then() {
        let index = Index::new(FakeApi::new().client(), KINDS);
        let row = |plural: &str| KINDS.iter().find(|row| row.kind.plural == plural).unwrap();
        let mut signals: Vec<_> = KINDS.iter().flat_map(|row| listed(row, vec![])).collect();
        signals.extend(listed(row("ecraccesspolicies"), vec![stored_policy("payments", "a")]));
        follow(&index, stream::iter(signals)).await;
        assert!(index.synced());
        assert_eq!(names(&index.snapshot()), ["a"]);
        // Begun again: one source is listed, the others are not yet.
        let before = *index.changes.borrow();
        follow(&index, stream::iter(listed(row("namespaces"), vec![json!({"metadata": {"name": "x"}})]))).await;
        assert_eq!(names(&index.snapshot()), ["a"]);
        assert_eq!(*index.changes.borrow(), before);
    }

    /// A kind of nobody's, whose objects are kept as namespaces.
    static WITH_WIDGETS: LazyLock<Vec<WatchedKind>> = LazyLock::new(|| {
        let kind = Kind::of_cluster("example.com", "v1", "Widget", "widgets");
        let kind = Kind { optional: true, others: &["v1beta1"], ..kind };
        let namespaces = KINDS.iter().find(|row| row.kind == kinds::NAMESPACES).unwrap();
        let widgets = WatchedKind { kind, awaited: false, ..*namespaces };
        KINDS.iter().copied().chain([widgets]).collect()
    });

    #[tokio::test(start_paused = true)]
    async fn an_optional_kind_is_followed_whenever_it_is_there_and_holds_nothing_back() {
        let api = FakeApi::new();
        api.serve("widgets", &[]);
        let token = CancellationToken::new();
        let _guard = token.clone().drop_guard();
        let index = Index::start(api.client(), IndexOptions { kinds: &WITH_WIDGETS, ..IndexOptions::default() }, token);
        synced(&index).await;
        let widget = |name: &str| api.put("widgets", json!({"metadata": {"name": name, "labels": {"team": "a"}}}));
        let has = |name: &'static str| move |inventory: &Inventory| inventory.namespace(name).is_some();
        let lacks = |name: &'static str| move |inventory: &Inventory| inventory.namespace(name).is_none();

        api.serve("widgets", &["v1beta1"]);
        widget("first");
        until(&index, "it comes after the start, in its other version", has("first")).await;
        widget("second");
        until(&index, "it is watched", has("second")).await;
        api.serve("widgets", &["v1"]);
        api.hang_up("widgets");
        widget("third");
        until(&index, "it changes its version", has("third")).await;
        assert!(has("first")(&index.snapshot()), "and nothing was lost meanwhile");
        api.serve("widgets", &[]);
        api.hang_up("widgets");
        until(&index, "it goes, and all of it", lacks("third")).await;
        assert!(lacks("first")(&index.snapshot()));
        // Absent for longer than a watch may fail.
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!((index.health().failing(), index.synced()), (BTreeMap::new(), true));
        api.serve("widgets", &["v1beta1"]);
        until(&index, "it comes again", has("first")).await;
    }

    #[tokio::test]
    async fn what_may_be_absent_holds_back_no_start_and_no_beginning_anew() {
        let index = Index::new(FakeApi::new().client(), &WITH_WIDGETS);
        let [.., widgets] = WITH_WIDGETS.as_slice() else { panic!("no rows") };
        let namespace = |name: &str| vec![json!({"metadata": {"name": name}})];
        let required = || KINDS.iter().flat_map(|row| listed(row, vec![])).collect::<Vec<_>>();
        let with = |more: Vec<_>| stream::iter(required().into_iter().chain(more).collect::<Vec<_>>());
        follow(&index, with(vec![])).await;
        assert!(index.synced(), "it was never listed");
        follow(&index, with(listed(widgets, namespace("a")))).await;
        assert!(index.snapshot().namespace("a").is_some());
        // Begun again: what was there is kept until it is listed again, or fails.
        follow(&index, with(vec![])).await;
        assert!(index.snapshot().namespace("a").is_some());
        let failed = Failure::of_test(&widgets.kind);
        follow(&index, with(vec![(widgets, Signal::Failed(failed))])).await;
        assert!(index.snapshot().namespace("a").is_none(), "others are not held back by it");
    }
}
