//! What callers of the webhook share, and what one of them has of it for one request.
//!
//! Turns at the processor, bytes of bodies and fresh reads are [`Pool`]s: half of each is reserved for API servers, as
//! [`crate::runtime::shares`] says. Before any of that, a stranger waits to enter ([`Allotments::enter`]): a request
//! that is not read yet costs nothing but its connection, and whoever sends a flood slows itself down there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;
use crate::runtime::callers::{Caller, Standing};
use crate::runtime::shares::{Permit, Pool, Shares};

/// The unit of the memory budget. Small enough for a usual review to take few.
pub const UNIT: usize = 1 << 10;

/// Requests of strangers that have entered: a quarter of these for one of them, a half for all. Few, so that whoever
/// has entered has its turn soon.
const MAX_ENTERED_STRANGERS: usize = 32;
/// How long a stranger's request waits to enter, and then for its turn. Longer than others do, as its waiting holds up
/// nobody, and its turns are rare.
const STRANGERS_LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The longest that a stranger's turn stays taken after its work.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Addresses whose reads are counted apart.
const ADDRESSES: usize = 1024;

/// What all callers share.
#[derive(Debug)]
pub struct Allotments {
    entered_strangers: Arc<Pool>,
    /// Bodies, in units of [`UNIT`] bytes.
    pub bodies: Arc<Pool>,
    /// Pieces of work at a time.
    pub turns: Arc<Pool>,
    /// Fresh reads at a time.
    reads: Arc<Pool>,
    unknown: Mutex<Rates>,
    begin: Instant,
    /// How many times as long as it lasted a stranger's turn stays taken after it.
    pause: u32,
}

impl Allotments {
    /// As much as `limits` say.
    pub fn new(limits: &Limits) -> Arc<Allotments> {
        // A body of the greatest size must fit into the budget, or it would never get its share.
        let units = |bytes: usize| bytes.div_ceil(UNIT);
        let turns = limits.turns.max(1);
        Arc::new(Allotments {
            entered_strangers: Pool::new(MAX_ENTERED_STRANGERS, 1),
            bodies: Pool::new(units(limits.bodies), units(limits.body)),
            turns: Pool::of(Shares::new(turns, 1, limits.processors)),
            reads: Pool::new(limits.reads, 1),
            unknown: Mutex::new(Rates::new(limits.unknown_reads)),
            begin: Instant::now(),
            pause: u32::try_from(turns.div_ceil(limits.processors.max(1)) - 1).unwrap_or(u32::MAX),
        })
    }

    /// Lets a request in, before anything of its body is read. Only strangers wait, until they have few others inside;
    /// `None` where that took too long.
    pub async fn enter(&self, caller: Caller, deadline: Instant) -> Option<Option<Permit>> {
        if !caller.is_apart() {
            return Some(None);
        }
        let until = deadline.min(Instant::now() + STRANGERS_LONGEST_WAIT);
        let entered = self.entered_strangers.take(caller, 1, until).await;
        if entered.is_none() {
            // Whoever found the line too long.
            tokio::time::sleep_until(until).await;
        }
        entered.map(Some)
    }

    /// Keeps a stranger waiting who is turned away: to be so at once would only be a reason to come again at once.
    pub async fn hold_up(&self, caller: Caller) {
        if caller.is_apart() {
            tokio::time::sleep(STRANGERS_LONGEST_WAIT).await;
        }
    }

    /// Whether a read may be made for what memory does not know, and perhaps nobody else does.
    pub fn may_ask_for_unknown(&self, caller: Caller) -> bool {
        let mut rates = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        rates.may(caller, self.begin.elapsed())
    }
}

/// What one request has of it.
#[derive(Clone, Debug)]
pub struct Allotment {
    /// What it is a part of.
    pub of: Arc<Allotments>,
    /// Who makes the request.
    pub caller: Caller,
}

impl Allotment {
    /// Until when this caller waits for what is not free: for so long at most, or longer where it is a stranger.
    pub fn until(&self, longest_wait: Duration, deadline: Instant) -> Instant {
        let longest_wait = if self.caller.is_apart() { longest_wait.max(STRANGERS_LONGEST_WAIT) } else { longest_wait };
        deadline.min(Instant::now() + longest_wait)
    }

    /// A turn, or `None` where it is not its turn before `until`.
    pub async fn turn(&self, until: Instant) -> Option<ProcessorTurn> {
        let permit = self.of.turns.take(self.caller, 1, until).await?;
        Some(ProcessorTurn { permit: Some(permit), since: Instant::now(), pause: self.of.pause })
    }

    /// So many reads at a time, or `None` where they are not its before `until`.
    pub async fn reads(&self, n: usize, until: Instant) -> Option<Permit> {
        let n = n.min(self.of.reads.most(self.caller));
        self.of.reads.take(self.caller, n, until).await
    }
}

/// A turn at the processor.
///
/// There may be more turns than processors, or a quarter of them would be none. API servers take no more than there are
/// processors. A stranger's turn is worth more than its share of them then, so it stays taken for a while after the work,
/// which thereby takes no more of the time.
#[derive(Debug)]
pub struct ProcessorTurn {
    permit: Option<Permit>,
    since: Instant,
    pause: u32,
}

impl Drop for ProcessorTurn {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let pause = self.since.elapsed().saturating_mul(self.pause).min(LONGEST_PAUSE);
        if !permit.caller().is_apart() || pause.is_zero() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(pause).await;
                drop(permit);
            });
        }
    }
}

/// How often each caller may do something in a second, and all of them together four times as often. Twice as much at
/// once.
#[derive(Debug)]
struct Rates {
    rate: u32,
    all: Bucket,
    each: HashMap<IpAddr, Bucket>,
}

/// What was done lately: it becomes less by a rate.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// In thousandths.
    level: u64,
    at: Duration,
}

impl Bucket {
    /// `rate` in a second, twice as many at once.
    fn may(&mut self, rate: u32, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_sub(passed.saturating_mul(rate.into()));
        self.at = now;
        self.level.saturating_add(1000) <= 2000 * u64::from(rate)
    }

    fn add(&mut self) {
        self.level = self.level.saturating_add(1000);
    }
}

impl Rates {
    fn new(rate: u32) -> Rates {
        Rates { rate, all: Bucket::default(), each: HashMap::new() }
    }

    /// `now` is the time since the beginning.
    fn may(&mut self, caller: Caller, now: Duration) -> bool {
        if caller.standing == Standing::ApiServer {
            return true;
        }
        if self.each.len() >= ADDRESSES && !self.each.contains_key(&caller.address) {
            // Those that may do all again that anybody may.
            self.each.retain(|_, bucket| {
                bucket.may(self.rate, now);
                bucket.level > 0
            });
            if self.each.len() >= ADDRESSES {
                return false;
            }
        }
        let bucket = self.each.entry(caller.address).or_default();
        let may = bucket.may(self.rate, now) && self.all.may(self.rate.saturating_mul(4), now);
        if may {
            bucket.add();
            self.all.add();
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(last: u16, standing: Standing) -> Caller {
        let [high, low] = last.to_be_bytes();
        Caller { address: [10, 0, high, low].into(), standing }
    }

    fn limits(turns: usize, processors: usize) -> Limits {
        Limits { turns, processors, ..Limits::default() }
    }

    #[test]
    fn reads_for_what_is_not_there_have_a_rate_for_each_stranger_and_one_for_all() {
        let mut rates = Rates::new(50);
        let mut count = |caller, seconds| (0..1000).filter(|_| rates.may(caller, Duration::from_secs(seconds))).count();
        let [one, other] = [2, 3].map(|last| caller(last, Standing::Apart));
        assert_eq!((count(one, 0), count(one, 0), count(one, 1)), (100, 0, 50));
        assert_eq!(count(other, 1), 100);
        assert_eq!(count(caller(4, Standing::ApiServer), 1), 1000);
        // Nobody takes from API servers, and many strangers share what one in four of them could have.
        let all: usize = (10..200).map(|last| count(caller(last, Standing::Equal), 10)).sum();
        assert_eq!(all, 400);
    }

    #[test]
    fn addresses_that_come_and_go_are_forgotten() {
        let mut rates = Rates::new(50);
        for last in 0..5000_u16 {
            rates.may(caller(last, Standing::Apart), Duration::from_secs(u64::from(last) / 100));
            assert!(rates.each.len() <= ADDRESSES);
        }
        assert!(rates.may(caller(5000, Standing::Apart), Duration::from_secs(51)));
    }

    #[tokio::test]
    async fn one_stranger_has_a_quarter_of_the_turns_however_few_processors_there_are() {
        for (processors, most) in [(1, 1), (2, 1), (4, 1), (8, 2), (64, 16)] {
            let turns = Limits::turns_for(processors);
            let of = Allotments::new(&limits(turns, processors));
            let stranger = Allotment { of: Arc::clone(&of), caller: caller(2, Standing::Apart) };
            let server = Allotment { of, caller: caller(1, Standing::ApiServer) };
            let now = Instant::now();
            let all = async |allotment: &Allotment| {
                let mut taken = Vec::new();
                while let Some(turn) = allotment.turn(now).await {
                    taken.push(turn);
                }
                taken
            };
            let (strangers, servers) = (all(&stranger).await, all(&server).await);
            let rest = (turns - most).min(processors);
            assert_eq!((strangers.len(), servers.len()), (most, rest), "{processors} processors");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_strangers_turn_stays_taken_for_as_long_as_it_lasted_where_there_are_twice_as_many_as_processors() {
        let of = Allotments::new(&limits(4, 2));
        let stranger = Allotment { of: Arc::clone(&of), caller: caller(2, Standing::Apart) };
        let turn = stranger.turn(Instant::now()).await.unwrap();
        let begin = turn.since;
        let worked = Duration::from_millis(40);
        tokio::time::sleep_until(begin + worked).await;
        drop(turn);
        let next = stranger.turn(begin + Duration::from_secs(30)).await.unwrap();
        assert!(next.since >= begin + 2 * worked, "{:?}", next.since - begin);
        drop(next);
        // An API server's is free at once.
        let server = Allotment { of: Arc::clone(&of), caller: caller(1, Standing::ApiServer) };
        for _ in 0..10 {
            assert!(server.turn(begin).await.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_strangers_wait_to_enter() {
        let of = Allotments::new(&Limits::default());
        let now = Instant::now();
        let stranger = caller(2, Standing::Apart);
        let mut inside = Vec::new();
        for _ in 0..MAX_ENTERED_STRANGERS / 4 {
            inside.push(of.enter(stranger, now + STRANGERS_LONGEST_WAIT).await.unwrap());
        }
        assert!(of.enter(stranger, now + Duration::from_millis(30)).await.is_none());
        assert!(now.elapsed() >= Duration::from_millis(30), "it was kept waiting");
        assert!(of.enter(caller(3, Standing::Apart), now + STRANGERS_LONGEST_WAIT).await.is_some());
        for standing in [Standing::ApiServer, Standing::Equal] {
            for _ in 0..2 * MAX_ENTERED_STRANGERS {
                assert!(of.enter(caller(4, standing), now).await.unwrap().is_none());
            }
        }
        inside.clear();
        assert!(of.enter(stranger, now + STRANGERS_LONGEST_WAIT).await.is_some());
    }

    #[tokio::test]
    async fn reads_of_a_stranger_leave_most_to_api_servers() {
        let of = Allotments::new(&Limits { reads: 16, ..Limits::default() });
        let now = Instant::now();
        let stranger = Allotment { of: Arc::clone(&of), caller: caller(2, Standing::Apart) };
        // One that needs more than its share at once has its share.
        let all = stranger.reads(40, now).await.unwrap();
        assert!(stranger.reads(1, now).await.is_none());
        let server = Allotment { of, caller: caller(1, Standing::ApiServer) };
        assert!(server.reads(12, now).await.is_some() && server.reads(13, now).await.is_none());
        drop(all);
        assert!(stranger.reads(1, now).await.is_some());
    }
}
