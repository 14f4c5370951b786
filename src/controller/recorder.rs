//! Writes Events, not too many of them, and none twice.
//!
//! The same said again within the hour that an API server keeps Events is a count on the one that is there.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject};
use kube::Client;
use tokio::time::Instant;

use super::denials::{FirstDenial, told_by};
use super::metrics::{EventLabels, EventResult, Metrics};
use crate::api::PolicyStatus;
use crate::runtime::events::{EventDraft, EventWriter};
use crate::runtime::watch::answer::AnswerError;

/// `reportingController` of every Event.
pub const REPORTING_CONTROLLER: &str = "ecraccess.dev/controller";

/// How long an API server keeps Events by default (`--event-ttl`): what was told longer ago than that, and was gone for
/// so long, is news again.
const KEPT: Duration = Duration::from_secs(3600);

/// At most so many denials of one policy are remembered as told; with more, new ones are not told.
const MAX_TOLD: usize = 10_000;

/// The longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How an attempt to tell ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventOutcome {
    /// It is told, or the API server does not want to hear of it: no second attempt.
    Done,
    /// Too many Events lately.
    Limited,
    /// The API server does not take Events at the moment.
    Failed,
    /// This process no longer leads.
    Fenced,
}

/// One Event that was written.
struct Series {
    name: String,
    /// How often it was told, and when last.
    count: i32,
    at: Instant,
}

/// Writes Events during one time of leading.
pub struct Recorder {
    events: EventWriter,
    metrics: Metrics,
    limits: Limits,
    memory: Memory,
    /// What was told, by what it says.
    series: HashMap<u64, Series>,
    /// The last failure that was logged.
    failure: Option<String>,
}

impl Recorder {
    /// `instance` is the name of this replica's pod.
    pub fn new(client: Client, instance: &str, metrics: Metrics) -> Recorder {
        Recorder {
            events: EventWriter::new(client, REPORTING_CONTROLLER, instance),
            metrics,
            limits: Limits::default(),
            memory: Memory::default(),
            series: HashMap::new(),
            failure: None,
        }
    }

    /// Forgets policies that are gone.
    pub fn retain(&mut self, exists: impl Fn(&PolicyKey) -> bool) {
        self.limits.policies.retain(|key, _| exists(key));
        self.memory.policies.retain(|key, _| exists(key));
    }

    /// Which of the denials are still to be told: those that no status lists and no Event of this time of leading told.
    pub fn untold<'a>(
        &mut self,
        policy: &PolicyObject,
        stored: Option<&PolicyStatus>,
        firsts: &'a [FirstDenial],
        now: Instant,
    ) -> Vec<&'a FirstDenial> {
        self.memory.untold(policy, stored, firsts, now)
    }

    /// A denial of `policy` is told.
    pub fn told(&mut self, policy: &PolicyKey, key: u64, now: Instant) {
        self.memory.told(policy, key, now);
    }

    /// Tells `draft` about `policy`, if `leader` still says so and not too much was told of late.
    pub async fn tell(&mut self, policy: &PolicyKey, draft: &EventDraft, leader: impl Fn() -> bool) -> EventOutcome {
        let now = Instant::now();
        if !leader() {
            return EventOutcome::Fenced;
        }
        if !self.limits.take(policy, now) {
            return EventOutcome::Limited;
        }
        self.series.retain(|_, series| series.at + KEPT > now);
        let outcome = match tokio::time::timeout(TIMEOUT, self.write(draft)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AnswerError::Transport("no answer in time".to_owned())),
        };
        let (result, told) = match outcome {
            Ok(()) => {
                if self.failure.take().is_some() {
                    tracing::info!("Events can be written again");
                }
                (EventResult::written, EventOutcome::Done)
            }
            Err(error) => {
                let refused = error.code().is_some_and(|code| (400..500).contains(&code) && code != 429);
                self.log(policy, &error);
                (EventResult::failed, if refused { EventOutcome::Done } else { EventOutcome::Failed })
            }
        };
        self.metrics.events.get_or_create(&EventLabels { result }).inc();
        told
    }

    async fn write(&mut self, draft: &EventDraft) -> Result<(), AnswerError> {
        let said = said(draft);
        if let Some(series) = self.series.get_mut(&said) {
            let count = series.count.saturating_add(1);
            match self.events.count(draft, &series.name, count).await {
                Ok(()) => {
                    (series.count, series.at) = (count, Instant::now());
                    return Ok(());
                }
                // Somebody cleared it away.
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        let name = self.events.create(draft).await?;
        self.series.insert(said, Series { name, count: 1, at: Instant::now() });
        Ok(())
    }

    fn log(&mut self, policy: &PolicyKey, error: &AnswerError) {
        let kind = error.code().map_or_else(|| "transport".to_owned(), |code| code.to_string());
        if self.failure.as_ref() != Some(&kind) {
            let error = error.of_write();
            tracing::warn!(%policy, "cannot write an Event: {error}; further failures of this kind are not logged");
            self.failure = Some(kind);
        }
    }
}

/// Events that say the same are one series.
fn said(draft: &EventDraft) -> u64 {
    let mut hasher = DefaultHasher::new();
    let of = &draft.regarding;
    (draft.warning, &draft.reason, &draft.note, &of.kind, &of.namespace, &of.name, &of.uid).hash(&mut hasher);
    hasher.finish()
}

/// Which denials were told, by policy.
///
/// What stands in the status was told before, whoever wrote it. Where a status that is older than this time of leading
/// does not list all denials, those that are there at the first look count as told too. Either way a change of leader
/// repeats nothing.
#[derive(Default)]
struct Memory {
    policies: BTreeMap<PolicyKey, Remembered>,
}

struct Remembered {
    uid: Option<String>,
    /// Told denials, and when they were last there.
    keys: HashMap<u64, Instant>,
}

impl Memory {
    fn untold<'a>(
        &mut self,
        policy: &PolicyObject,
        stored: Option<&PolicyStatus>,
        firsts: &'a [FirstDenial],
        now: Instant,
    ) -> Vec<&'a FirstDenial> {
        if self.policies.get(&policy.key).is_none_or(|known| known.uid != policy.uid) {
            let mut keys: HashMap<u64, Instant> = HashMap::new();
            if let Some(stored) = stored {
                // What was exempted was not told.
                let told = stored.denials.iter().filter(|row| row.exemption.is_none());
                keys.extend(told.map(|row| (told_by(row), now)));
                if stored.denials_omitted > 0 {
                    keys.extend(firsts.iter().map(|first| (first.key, now)));
                }
            }
            self.policies.insert(policy.key.clone(), Remembered { uid: policy.uid.clone(), keys });
        }
        let Some(known) = self.policies.get_mut(&policy.key) else { return Vec::new() };
        let mut untold = Vec::new();
        for first in firsts {
            match known.keys.get_mut(&first.key) {
                Some(seen) => *seen = now,
                None => untold.push(first),
            }
        }
        known.keys.retain(|_, seen| *seen + KEPT > now);
        untold.truncate(MAX_TOLD.saturating_sub(known.keys.len()));
        untold
    }

    fn told(&mut self, policy: &PolicyKey, key: u64, now: Instant) {
        if let Some(known) = self.policies.get_mut(policy) {
            known.keys.insert(key, now);
        }
    }
}

/// How many Events may be written: per policy, and by all together.
#[derive(Default)]
struct Limits {
    all: Option<Bucket>,
    policies: BTreeMap<PolicyKey, Bucket>,
}

/// At once, and then one each so often.
const OF_ALL: (u32, Duration) = (100, Duration::from_secs(1));
const OF_ONE: (u32, Duration) = (20, REFILL);

/// After this time a policy may tell one more.
pub const REFILL: Duration = Duration::from_secs(30);

impl Limits {
    fn take(&mut self, policy: &PolicyKey, now: Instant) -> bool {
        let all = self.all.get_or_insert_with(|| Bucket::full(OF_ALL, now));
        let one = self.policies.entry(policy.clone()).or_insert_with(|| Bucket::full(OF_ONE, now));
        // Both or none.
        let free = all.refill(OF_ALL, now) && one.refill(OF_ONE, now);
        if free {
            all.tokens -= 1;
            one.tokens -= 1;
        }
        free
    }
}

struct Bucket {
    tokens: u32,
    /// Since when tokens are owed.
    since: Instant,
}

impl Bucket {
    fn full((most, _): (u32, Duration), now: Instant) -> Bucket {
        Bucket { tokens: most, since: now }
    }

    /// Adds what is owed. `true` when there is a token.
    fn refill(&mut self, (most, each): (u32, Duration), now: Instant) -> bool {
        while self.tokens < most && now.duration_since(self.since) >= each {
            self.tokens += 1;
            self.since += each;
        }
        if self.tokens == most {
            self.since = now;
        }
        self.tokens > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::api::Denial;
    use crate::index::subjects::{Owner, TrackedObject};
    use ecr_forecast::policy::PolicyKind;

    fn key(name: &str) -> PolicyKey {
        PolicyKey { kind: PolicyKind::EcrAccessPolicy, namespace: Some("payments".to_owned()), name: name.to_owned() }
    }

    fn draft(name: &str, note: &str) -> EventDraft {
        EventDraft {
            warning: true,
            reason: "Reason".to_owned(),
            action: "Test",
            note: note.to_owned(),
            regarding: ObjectReference {
                name: Some(name.to_owned()),
                namespace: Some("payments".to_owned()),
                ..ObjectReference::default()
            },
            related: None,
        }
    }

    #[test]
    fn what_says_the_same_of_the_same_object_is_one_series() {
        assert_eq!(said(&draft("api", "n")), said(&draft("api", "n")));
        assert_ne!(said(&draft("api", "n")), said(&draft("api", "m")));
        assert_ne!(said(&draft("api", "n")), said(&draft("web", "n")));
    }

    #[tokio::test]
    async fn the_same_said_again_is_a_count_and_what_was_cleared_away_is_said_anew() {
        let api = crate::runtime::fake::FakeApi::new();
        let mut recorder = Recorder::new(api.client(), "", Metrics::default());
        let mut tell = async |note: &str, leads: bool| recorder.tell(&key("pull"), &draft("api", note), || leads).await;
        assert_eq!(
            (tell("n", true).await, tell("n", true).await, tell("m", true).await),
            (EventOutcome::Done, EventOutcome::Done, EventOutcome::Done)
        );
        assert_eq!(tell("n", false).await, EventOutcome::Fenced);
        let counts = || {
            let events = api.events();
            events.iter().map(|event| event["series"]["count"].as_i64().unwrap_or(1)).collect::<Vec<_>>()
        };
        assert_eq!(counts(), [2, 1], "in the order of the telling");
        let first = api.events()[0]["metadata"]["name"].as_str().unwrap().to_owned();
        api.delete("events", "payments", &first);
        assert_eq!(tell("n", true).await, EventOutcome::Done);
        assert_eq!(counts(), [1, 1]);
    }

    #[test]
    fn a_policy_that_has_much_to_say_is_heard_by_and_by_and_leaves_room_for_others() {
        let begin = Instant::now();
        let mut limits = Limits::default();
        let mut burst =
            |policy: &str, at: Duration| (0..1000).take_while(|_| limits.take(&key(policy), begin + at)).count();
        assert_eq!(burst("loud", Duration::ZERO), 20);
        assert_eq!(burst("loud", Duration::from_secs(29)), 0);
        assert_eq!(burst("loud", Duration::from_secs(65)), 2);
        assert_eq!(burst("other", Duration::from_secs(65)), 20);
        assert_eq!(burst("loud", Duration::from_secs(90)), 1, "what was left over counts on");
        assert_eq!(burst("loud", Duration::from_secs(24 * 3600)), 20, "no more than the burst is saved up");
        let together: usize = (0..100).map(|one| burst(&format!("p{one}"), Duration::from_secs(24 * 3600))).sum();
        assert_eq!(together, 80);
    }

    /// A policy, and with it what its tenant makes it say, uses up its own room and nobody else's.
    #[tokio::test(start_paused = true)]
    async fn what_one_policy_may_tell_is_limited_while_all_together_have_room() {
        let api = crate::runtime::fake::FakeApi::new();
        let mut recorder = Recorder::new(api.client(), "", Metrics::default());
        let mut tell = async |policy: &str, count: usize| {
            let mut told = Vec::new();
            for index in 0..count {
                let draft = draft(policy, &format!("{policy} {index} {}", api.told().len()));
                told.push(recorder.tell(&key(policy), &draft, || true).await);
            }
            told.iter().filter(|told| **told == EventOutcome::Done).count()
        };
        assert_eq!((tell("loud", 30).await, tell("quiet", 3).await, tell("loud", 3).await), (20, 3, 0));
        assert_eq!(api.told().len(), 23, "what is limited is not written");
        tokio::time::advance(REFILL).await;
        assert_eq!((tell("loud", 3).await, tell("quiet", 1).await), (1, 1));
    }

    fn policy(uid: &str) -> PolicyObject {
        PolicyObject::from_json(fixtures::policy("pull").metadata("uid", uid).object()).unwrap()
    }

    fn row(account: &str) -> Denial {
        Denial { service_account: account.to_owned(), cause: Some("c".to_owned()), ..Denial::default() }
    }

    fn firsts(accounts: &[&str]) -> Vec<FirstDenial> {
        let first = |account: &&str| FirstDenial {
            key: told_by(&row(account)),
            about: Owner::default(),
            image: String::new(),
            tracked: Arc::new(TrackedObject::default()),
        };
        accounts.iter().map(first).collect()
    }

    fn status(accounts: &[&str], omitted: i64) -> PolicyStatus {
        let denials = accounts.iter().map(|account| row(account)).collect();
        PolicyStatus { denials, denials_omitted: omitted, ..PolicyStatus::default() }
    }

    #[test]
    fn what_stands_in_the_status_was_told_and_the_rest_is_told_once() {
        let now = Instant::now();
        let mut memory = Memory::default();
        let firsts = firsts(&["a", "b", "c"]);
        let keys = |untold: Vec<&FirstDenial>| untold.iter().map(|first| first.key).collect::<Vec<_>>();
        let mut stored = status(&["b", "c"], 0);
        stored.denials[1].exemption = Some("for-a-while".to_owned());
        let all = keys(firsts.iter().collect());
        assert_eq!(keys(memory.untold(&policy("u"), Some(&stored), &firsts, now)), [all[0], all[2]]);
        memory.told(&policy("u").key, all[0], now);
        assert_eq!(keys(memory.untold(&policy("u"), Some(&stored), &firsts, now)), [all[2]]);
        // An object of the same name, but another one.
        assert_eq!(keys(memory.untold(&policy("v"), None, &firsts, now)), all);
    }

    #[test]
    fn a_new_leader_repeats_nothing_that_a_full_status_left_out() {
        let now = Instant::now();
        let mut memory = Memory::default();
        assert!(memory.untold(&policy("u"), Some(&status(&["a"], 1)), &firsts(&["a", "b"]), now).is_empty());
        assert_eq!(memory.untold(&policy("u"), Some(&status(&["a"], 1)), &firsts(&["a", "b", "c"]), now).len(), 1);
    }

    #[test]
    fn what_comes_and_goes_is_told_again_when_it_was_away_for_an_hour() {
        let begin = Instant::now();
        let mut memory = Memory::default();
        let (some, none) = (firsts(&["a"]), firsts(&[]));
        let mut look = |firsts: &[FirstDenial], minutes: u64| {
            let now = begin + Duration::from_secs(60 * minutes);
            let untold: Vec<u64> =
                memory.untold(&policy("u"), None, firsts, now).iter().map(|first| first.key).collect();
            untold.iter().for_each(|key| memory.told(&policy("u").key, *key, now));
            untold.len()
        };
        assert_eq!(
            (look(&some, 0), look(&none, 10), look(&some, 50), look(&none, 60), look(&some, 109)),
            (1, 0, 0, 0, 0)
        );
        assert_eq!((look(&none, 120), look(&none, 170), look(&some, 171)), (0, 0, 1));
    }
}
