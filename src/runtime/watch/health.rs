//! How the watches are: what was listed once, what fails and for how long, and what of it cannot be read.
//!
//! Each kind goes by the name of its resource. What is said here is for people and for machines that call people; no
//! verdict is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use super::event::Event;
use super::failure::Failure;
use super::object::{Item, Unreadable};
use super::source::Signal;

/// A watch that fails for so long is told of. An API server that restarts takes less.
pub const FAILING_AFTER: Duration = Duration::from_secs(60);

/// An object that cannot be read is named in the log this often per kind at most; all of them are counted.
const NAMED_EVERY: Duration = Duration::from_secs(60);

/// How far the watch of a kind is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// A list was complete once. It stays so when the watch fails later: the last state is used on.
    pub listed: bool,
    /// Why the watch does not work at the moment.
    pub failure: Option<Failure>,
    /// The first failure after which nothing worked.
    pub since: Option<Instant>,
    /// It has failed for [`FAILING_AFTER`], and that was told.
    pub failing: bool,
}

/// What a signal means for the [`Health`] of its kind, apart from the objects in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// A list was completed.
    Listed,
    /// It works: something came from a watch, or it stands.
    Works,
    /// It does not work.
    Failed(Failure),
}

/// The state of the watches.
pub struct Health {
    progress: watch::Sender<BTreeMap<&'static str, Progress>>,
    unreadable: Mutex<BTreeMap<&'static str, Unread>>,
    /// `ecr_access_watch_failing{kind}`.
    failing: Family<KindLabels, Gauge>,
    /// `ecr_access_unreadable_objects{kind}`.
    unreadable_objects: Family<KindLabels, Gauge>,
}

/// The label of what is told by kind.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabels {
    kind: &'static str,
}

/// What cannot be read of a kind.
#[derive(Default)]
struct Unread {
    /// By namespace and name.
    now: BTreeSet<(String, String)>,
    /// Of the list that is being received.
    listing: Option<BTreeSet<(String, String)>>,
    /// What had no name, since the last list began.
    nameless: usize,
    named: Option<Instant>,
}

impl Signal {
    /// `None` for what proves nothing: a list that begins or goes on may never be complete.
    pub fn note(&self) -> Option<Note> {
        match self {
            Signal::Event(Event::InitDone) => Some(Note::Listed),
            Signal::Event(Event::Apply(_) | Event::Delete(_)) | Signal::Works => Some(Note::Works),
            Signal::Event(Event::Init | Event::InitApply(_)) | Signal::Nameless => None,
            Signal::Failed(failure) => Some(Note::Failed(failure.clone())),
        }
    }
}

impl Health {
    /// Of these kinds, none of which was listed.
    pub fn new(kinds: impl IntoIterator<Item = &'static str>) -> Health {
        let progress: BTreeMap<_, _> = kinds.into_iter().map(|kind| (kind, Progress::default())).collect();
        let health = Health {
            unreadable: Mutex::default(),
            failing: Family::default(),
            unreadable_objects: Family::default(),
            progress: watch::Sender::new(BTreeMap::new()),
        };
        for kind in progress.keys() {
            health.gauge(&health.failing, kind, 0);
            health.gauge(&health.unreadable_objects, kind, 0);
        }
        health.progress.send_replace(progress);
        health
    }

    /// Makes the metrics known to `registry`, which has the prefix `ecr_access`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "watch_failing",
            "1 for a kind of objects whose watch has failed for a minute: what is known of it gets old",
            self.failing.clone(),
        );
        registry.register(
            "unreadable_objects",
            "Objects that the API server has and that cannot be decoded, so that what depends on them is not known",
            self.unreadable_objects.clone(),
        );
    }

    /// What each watch is doing, now and whenever that changes.
    pub fn progress(&self) -> watch::Receiver<BTreeMap<&'static str, Progress>> {
        self.progress.subscribe()
    }

    /// The watches that have failed for [`FAILING_AFTER`], and why.
    pub fn failing(&self) -> BTreeMap<&'static str, Failure> {
        let progress = self.progress.borrow();
        let failing = progress.iter().filter(|(_, progress)| progress.failing);
        failing.filter_map(|(kind, progress)| Some((*kind, progress.failure.clone()?))).collect()
    }

    /// Takes what a signal says of the watch of a kind.
    pub fn note(&self, kind: &'static str, note: Note) {
        self.progress.send_if_modified(|kinds| {
            let progress = kinds.entry(kind).or_default();
            match note {
                Note::Failed(failure) => fail(kind, progress, failure),
                Note::Listed | Note::Works => self.recover(kind, progress, note == Note::Listed),
            }
        });
    }

    fn recover(&self, kind: &'static str, progress: &mut Progress, listed: bool) -> bool {
        let failure = progress.failure.take();
        let recovered = failure.is_some();
        if progress.failing || failure.is_some_and(|failure| !failure.routine) {
            tracing::info!(source = kind, "the watch works again");
        }
        if std::mem::take(&mut progress.failing) {
            self.gauge(&self.failing, kind, 0);
        }
        progress.since = None;
        let first = listed && !progress.listed;
        progress.listed |= listed;
        first || recovered
    }

    /// Looks at the clock: which watches have failed for [`FAILING_AFTER`] as of `now`.
    pub fn look(&self, now: Instant) {
        self.progress.send_if_modified(|kinds| {
            let mut news = false;
            for (kind, progress) in kinds.iter_mut().filter(|(_, progress)| !progress.failing) {
                let Some(failure) = &progress.failure else { continue };
                if progress.since.is_none_or(|since| now.saturating_duration_since(since) < FAILING_AFTER) {
                    continue;
                }
                let what = if progress.listed { "the last state is used on" } else { "nothing is known of it" };
                tracing::error!(source = kind, "the watch has failed for a minute, {what}: {}", failure.message);
                (progress.failing, news) = (true, true);
                self.gauge(&self.failing, kind, 1);
            }
            news
        });
    }

    /// Takes what a signal of a kind says of objects that cannot be read.
    pub fn see(&self, kind: &'static str, signal: &Signal) {
        let mut unreadable = self.lock();
        let unread = unreadable.entry(kind).or_default();
        match signal {
            Signal::Event(Event::Init) => (unread.listing, unread.nameless) = (Some(BTreeSet::new()), 0),
            Signal::Event(Event::InitDone) => unread.now = unread.listing.take().unwrap_or_default(),
            Signal::Event(Event::InitApply(Item::Unreadable(object))) => {
                tell(kind, unread, object);
                unread.listing.get_or_insert_default().insert(name(&object.rest));
            }
            Signal::Event(Event::Apply(Item::Unreadable(object))) => {
                tell(kind, unread, object);
                unread.now.insert(name(&object.rest));
            }
            Signal::Event(Event::Apply(Item::Object(raw)) | Event::Delete(Item::Object(raw)))
                if !unread.now.is_empty() =>
            {
                unread.now.remove(&name(raw));
            }
            Signal::Event(Event::Delete(Item::Unreadable(object))) => drop(unread.now.remove(&name(&object.rest))),
            Signal::Nameless => unread.nameless += 1,
            Signal::Event(_) | Signal::Works | Signal::Failed(_) => return,
        }
        self.gauge(&self.unreadable_objects, kind, unread.now.len() + unread.nameless);
    }

    /// These are no longer watched.
    pub fn forget(&self, kinds: impl IntoIterator<Item = &'static str>) {
        for kind in kinds {
            self.lock().remove(kind);
            self.gauge(&self.failing, kind, 0);
            self.gauge(&self.unreadable_objects, kind, 0);
            self.progress
                .send_if_modified(|kinds| std::mem::take(kinds.entry(kind).or_default()) != Progress::default());
        }
    }

    fn gauge(&self, family: &Family<KindLabels, Gauge>, kind: &'static str, value: usize) {
        family.get_or_create(&KindLabels { kind }).set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Unread>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `true` when it is another failure than before.
fn fail(kind: &'static str, progress: &mut Progress, mut failure: Failure) -> bool {
    let news = progress.failure.as_ref().is_none_or(|before| before.kind != failure.kind);
    if news && failure.routine {
        tracing::debug!(source = kind, "{}", failure.message);
    } else if news {
        tracing::warn!(
            source = kind,
            "{}; trying again, further failures of this kind are not logged",
            failure.message
        );
    }
    // Where a warning went out, the end of it is told too.
    failure.routine &= progress.failure.as_ref().is_none_or(|before| before.routine);
    progress.failure = Some(failure);
    progress.since.get_or_insert_with(Instant::now);
    news
}

/// Names an object that cannot be read, and nothing of what is in it.
fn tell(kind: &'static str, unread: &mut Unread, object: &Unreadable) {
    let now = Instant::now();
    if unread.named.is_some_and(|named| now.duration_since(named) < NAMED_EVERY) {
        return;
    }
    unread.named = Some(now);
    let (namespace, name) = name(&object.rest);
    tracing::warn!(
        source = kind,
        namespace,
        name,
        "an object cannot be decoded, and what depends on it is not known: {}; others are counted and not named for a \
         minute",
        object.error
    );
}

fn name(raw: &super::object::Raw) -> (String, String) {
    (raw.namespace().unwrap_or_default().to_owned(), raw.name().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::answer::AnswerError;
    use super::super::failure::Step;
    use super::super::kind::Kind;
    use super::*;

    const THINGS: &str = "things";

    fn failure() -> Failure {
        let kind = Kind::namespaced("", "v1", "Thing", THINGS);
        Failure::new(&kind, Step::List, &AnswerError::Transport("connection refused".to_owned()))
    }

    fn item(name: &str, readable: bool) -> Item {
        let spec = if readable { "{}".to_owned() } else { "[".repeat(200) + &"]".repeat(200) };
        let text = format!(r#"{{"metadata":{{"name":"{name}","namespace":"shop"}},"spec":{spec}}}"#);
        Item::decode(text.as_bytes()).unwrap()
    }

    fn gauges(health: &Health) -> String {
        let mut registry = Registry::default();
        health.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_watch_that_fails_for_a_minute_is_told_until_it_works() {
        let health = Health::new([THINGS, "others"]);
        let failing = |health: &Health| health.failing().into_keys().collect::<Vec<_>>();
        assert!(gauges(&health).contains("watch_failing{kind=\"things\"} 0"), "{}", gauges(&health));
        health.note(THINGS, Note::Failed(failure()));
        let begin = Instant::now();
        health.look(begin + FAILING_AFTER - Duration::from_secs(1));
        assert_eq!(failing(&health), [""; 0]);
        // Another failure meanwhile, and lists that begin, are no sign of life.
        health.note(THINGS, Note::Failed(Failure { kind: "another".to_owned(), routine: true, ..failure() }));
        for event in [Event::Init, Event::InitApply(item("a", true))] {
            assert_eq!(Signal::Event(event).note(), None);
        }
        health.look(begin + FAILING_AFTER + Duration::from_secs(1));
        assert_eq!(failing(&health), [THINGS]);
        assert!(gauges(&health).contains("watch_failing{kind=\"things\"} 1"), "{}", gauges(&health));
        assert!(gauges(&health).contains("watch_failing{kind=\"others\"} 0"), "{}", gauges(&health));
        for note in [
            Signal::Works.note(),
            Signal::Event(Event::InitDone).note(),
            Signal::Event(Event::Apply(item("a", true))).note(),
        ] {
            health.note(THINGS, note.unwrap());
            assert_eq!(failing(&health), [""; 0]);
            assert!(gauges(&health).contains("watch_failing{kind=\"things\"} 0"), "{}", gauges(&health));
            health.note(THINGS, Note::Failed(failure()));
            health.look(Instant::now() + FAILING_AFTER + Duration::from_secs(1));
            assert_eq!(failing(&health), [THINGS], "from now on again");
        }
        health.forget([THINGS]);
        assert_eq!(failing(&health), [""; 0]);
        assert!(gauges(&health).contains("watch_failing{kind=\"things\"} 0"), "{}", gauges(&health));
    }

    #[test]
    fn a_list_counts_once_and_for_ever() {
        let health = Health::new([THINGS]);
        let listed = |health: &Health| health.progress().borrow()[THINGS].listed;
        health.note(THINGS, Note::Works);
        assert!(!listed(&health));
        health.note(THINGS, Note::Listed);
        health.note(THINGS, Note::Failed(failure()));
        assert!(listed(&health));
        assert_eq!(health.progress().borrow()[THINGS].failure, Some(failure()));
    }

    #[test]
    fn what_cannot_be_read_is_counted_as_long_as_it_is_there() {
        let health = Health::new([THINGS]);
        let see = |event| health.see(THINGS, &Signal::Event(event));
        let counted = |count: usize| {
            let line = format!("unreadable_objects{{kind=\"things\"}} {count}");
            assert!(gauges(&health).contains(&line), "{line}: {}", gauges(&health));
        };
        counted(0);
        see(Event::Init);
        see(Event::InitApply(item("a", false)));
        see(Event::InitApply(item("b", true)));
        counted(0);
        see(Event::InitDone);
        counted(1);
        see(Event::Apply(item("a", false)));
        see(Event::Apply(item("c", false)));
        health.see(THINGS, &Signal::Nameless);
        counted(3);
        see(Event::Apply(item("a", true)));
        counted(2);
        see(Event::Delete(item("c", false)));
        counted(1);
        see(Event::Init);
        counted(0);
        see(Event::InitDone);
        health.see(THINGS, &Signal::Failed(failure()));
        counted(0);
    }
}
