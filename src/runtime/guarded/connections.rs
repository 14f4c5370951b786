//! The connections that are open, and which of them makes room for a new one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runtime::callers::{ApiServers, Standing};

/// The connections that are open. When there are as many as may be, a new one takes the place of one that is idle:
/// clients that connect and say nothing keep nobody out. Of the idle ones, those of strangers go first, then those of the
/// address that has most of them, then the one that has been idle for the longest. One that was answered this very moment
/// is not idle.
pub struct Table {
    most: usize,
    /// How long after an answer a connection is not idle yet.
    rest: Duration,
    api_servers: Arc<ApiServers>,
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
    next: AtomicU64,
}

/// How long after an answer a connection is not idle yet: the answer may not be on its way before, and whoever asks one
/// thing after the other is about to ask the next. Nobody holds many places by it: each takes a hundred requests a second.
const REST: Duration = Duration::from_millis(10);

/// What happens on a connection.
pub struct Activity {
    address: IpAddr,
    state: Mutex<ActivityState>,
    /// Cancelled to make room.
    pub close: CancellationToken,
}

struct ActivityState {
    /// Requests that began.
    requests: u64,
    /// Of these, the ones that are being answered.
    busy: usize,
    /// Since when nothing is being answered.
    idle_since: Instant,
}

/// A connection's place; free again when dropped.
pub struct Slot {
    all: Arc<Table>,
    number: u64,
    /// What happens on it.
    pub activity: Arc<Activity>,
}

/// One that could make room.
struct Candidate {
    number: u64,
    address: IpAddr,
    busy: bool,
    idle_since: Instant,
}

impl Table {
    /// For so many connections at a time.
    pub fn new(most: usize, api_servers: Arc<ApiServers>) -> Arc<Table> {
        Table::with_rest(most, api_servers, REST)
    }

    fn with_rest(most: usize, api_servers: Arc<ApiServers>, rest: Duration) -> Arc<Table> {
        Arc::new(Table { most, rest, api_servers, open: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// A place for one more, or `None` where no connection can make room for it.
    ///
    /// A stranger that is held to its share ([`Standing::Apart`]) has a quarter of the places, and together with all
    /// others a half; one more takes the place of one of its own, or of theirs. An API server takes a stranger's place
    /// also where that one is being answered.
    pub fn take(self: &Arc<Table>, address: IpAddr) -> Option<Slot> {
        let standing = self.api_servers.standing(address);
        let mut open = lock(&self.open);
        let number = match standing {
            Standing::Apart => self.of_share(&open, address)?,
            _ => None,
        };
        let number = match number {
            None if open.len() >= self.most => Some(self.of_all(&open, standing)?),
            number => number,
        };
        if let Some(activity) = number.and_then(|number| open.remove(&number)) {
            activity.close.cancel();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let state = ActivityState { requests: 0, busy: 0, idle_since: Instant::now() };
        let activity = Arc::new(Activity { address, state: Mutex::new(state), close: CancellationToken::new() });
        open.insert(number, Arc::clone(&activity));
        drop(open);
        Some(Slot { all: Arc::clone(self), number, activity })
    }

    /// Which connection makes room for a stranger that is within its share only with it: `Some(None)` where there is room
    /// within the share, `None` where nobody makes any.
    fn of_share(&self, open: &BTreeMap<u64, Arc<Activity>>, address: IpAddr) -> Option<Option<u64>> {
        // Nothing can be beyond a share yet.
        if open.len() < self.most / 4 {
            return Some(None);
        }
        let others =
            self.candidates(open, |activity| self.api_servers.standing(activity.address) != Standing::ApiServer);
        let own = others.iter().filter(|other| other.address == address).count();
        if own >= (self.most / 4).max(1) {
            return idlest(others.iter().filter(|other| other.address == address && !other.busy)).map(Some);
        }
        if others.len() >= (self.most / 2).max(1) {
            return idlest(others.iter().filter(|other| !other.busy)).map(Some);
        }
        Some(None)
    }

    fn of_all(&self, open: &BTreeMap<u64, Arc<Activity>>, standing: Standing) -> Option<u64> {
        let all = self.candidates(open, |_| true);
        let is_server = |candidate: &&Candidate| self.api_servers.standing(candidate.address) == Standing::ApiServer;
        let (servers, others): (Vec<_>, Vec<_>) = all.iter().partition(is_server);
        let idle = |some: &[&Candidate]| idlest(some.iter().copied().filter(|candidate| !candidate.busy));
        let found = idle(&others);
        match standing {
            Standing::ApiServer => found.or_else(|| idlest(others.iter().copied())).or_else(|| idle(&servers)),
            Standing::Equal => found.or_else(|| idle(&servers)),
            Standing::Apart => found,
        }
    }

    fn candidates(&self, open: &BTreeMap<u64, Arc<Activity>>, keep: impl Fn(&Activity) -> bool) -> Vec<Candidate> {
        let kept = open.iter().filter(|(_, activity)| keep(activity));
        kept.map(|(number, activity)| {
            let ActivityState { requests, busy, idle_since } = *activity.lock();
            let busy = busy > 0 || (requests > 0 && idle_since.elapsed() < self.rest);
            Candidate { number: *number, address: activity.address, busy, idle_since }
        })
        .collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.open).len()
    }
}

/// Of the address that has most of them, the one that has been idle for the longest.
fn idlest<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone) -> Option<u64> {
    let mut each: HashMap<IpAddr, usize> = HashMap::new();
    for candidate in candidates.clone() {
        *each.entry(candidate.address).or_default() += 1;
    }
    let order = |candidate: &&Candidate| {
        let of_address = each.get(&candidate.address).copied().unwrap_or(0);
        (std::cmp::Reverse(of_address), candidate.idle_since, candidate.number)
    };
    candidates.min_by_key(order).map(|candidate| candidate.number)
}

/// What there is to say about a connection on which nothing has happened for too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quiet {
    /// No request has ever come.
    Silent,
    /// None has come any more.
    Idle,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, ActivityState> {
        lock(&self.state)
    }

    /// Ends when no request has come for too long: for `first` after the beginning, for `next` after the last one was
    /// answered.
    pub async fn until_quiet(&self, first: Duration, next: Duration) -> Quiet {
        loop {
            let (quiet, wait) = {
                let state = self.lock();
                let (quiet, most) = if state.requests == 0 { (Quiet::Silent, first) } else { (Quiet::Idle, next) };
                let idle = if state.busy > 0 { Duration::ZERO } else { state.idle_since.elapsed() };
                (quiet, most.saturating_sub(idle))
            };
            if wait.is_zero() {
                return quiet;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.all.open).remove(&self.number);
    }
}

/// A request that is being answered.
pub struct Busy(Arc<Activity>);

impl Busy {
    /// From now on until it is dropped.
    pub fn new(activity: &Arc<Activity>) -> Busy {
        let mut state = activity.lock();
        state.requests += 1;
        state.busy += 1;
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        state.idle_since = Instant::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MOST: usize = 40;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// Nobody is known for an API server. What was answered is idle at once, unless a test is about that.
    fn table() -> Arc<Table> {
        Table::with_rest(MOST, ApiServers::nobody(), Duration::ZERO)
    }

    /// 10.0.0.1 is an API server, and has called.
    fn table_with_server() -> Arc<Table> {
        let servers = ApiServers::nobody();
        servers.replace(BTreeSet::from([ip(1)]));
        servers.call(ip(1));
        Table::with_rest(MOST, servers, Duration::ZERO)
    }

    fn take(table: &Arc<Table>, address: u8, n: usize) -> Vec<Slot> {
        (0..n).map(|_| table.take(ip(address)).expect("there is room")).collect()
    }

    fn closed(slots: &[Slot]) -> Vec<usize> {
        slots.iter().enumerate().filter(|(_, slot)| slot.activity.close.is_cancelled()).map(|(at, _)| at).collect()
    }

    fn busy(slots: &[Slot]) -> Vec<Busy> {
        slots.iter().map(|slot| Busy::new(&slot.activity)).collect()
    }

    #[test]
    fn a_new_connection_takes_the_place_of_the_one_that_was_idle_for_longest() {
        let all = table();
        let slots = take(&all, 2, MOST);
        // The first is being answered, the second was until now.
        let answering = Busy::new(&slots[0].activity);
        drop(Busy::new(&slots[1].activity));
        let new = take(&all, 2, 1);
        assert_eq!(closed(&slots), [2]);
        assert_eq!(all.len(), MOST);
        drop((slots, new, answering));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn where_all_are_being_answered_there_is_no_room() {
        let all = table();
        let slots = take(&all, 2, MOST);
        let answered = busy(&slots);
        assert!(all.take(ip(3)).is_none());
        drop(answered);
        assert!(all.take(ip(3)).is_some());
    }

    /// Its answer may not have been written: whoever got it would find a connection that broke.
    #[tokio::test(start_paused = true)]
    async fn one_that_was_answered_this_very_moment_makes_no_room() {
        let all = Table::new(MOST, ApiServers::nobody());
        let slots = take(&all, 2, MOST);
        let answered = busy(&slots[1..]);
        drop(Busy::new(&slots[0].activity));
        assert!(all.take(ip(2)).is_none() && all.take(ip(3)).is_none());
        assert!(closed(&slots).is_empty());
        tokio::time::advance(REST).await;
        assert!(all.take(ip(3)).is_some());
        assert_eq!(closed(&slots), [0], "its moment has passed");
        // Who never asked is idle from the beginning.
        drop(slots);
        drop(answered);
        let silent = take(&all, 2, MOST);
        assert!(all.take(ip(3)).is_some());
        assert_eq!(closed(&silent), [0]);
    }

    #[test]
    fn whoever_has_most_makes_room_first() {
        let all = table();
        let few = take(&all, 2, 3);
        let many = take(&all, 3, MOST - 3);
        // One after the other, each longer idle than the next; those that came before them are left alone.
        let new = take(&all, 2, 5);
        assert_eq!((closed(&few), closed(&many)), (vec![], vec![0, 1, 2, 3, 4]));
        // Until nobody has more than another one who wants more; whoever has few keeps them.
        let more = take(&all, 4, 30);
        let left = |slots: &[Slot]| slots.len() - closed(slots).len();
        let lefts = [left(&few) + left(&new), left(&many), left(&more)];
        assert_eq!((lefts[0], lefts[1] + lefts[2]), (8, 32));
        assert!(lefts[1].abs_diff(lefts[2]) <= 2, "{lefts:?}");
    }

    #[test]
    fn a_stranger_beside_an_api_server_has_a_quarter_and_all_of_them_a_half() {
        let all = table_with_server();
        let first = take(&all, 2, MOST / 4);
        let more = take(&all, 2, 2);
        assert_eq!((closed(&first), closed(&more)), (vec![0, 1], vec![]), "its own make room");
        let others = [take(&all, 3, MOST / 4), take(&all, 4, 1)];
        assert_eq!(all.len(), MOST / 2);
        assert_eq!(closed(&first), [0, 1, 2], "one of those that have most");
        // Being answered helps nobody beyond the share.
        let answered = [busy(&first), busy(&more), busy(&others[0]), busy(&others[1])];
        assert!(all.take(ip(2)).is_none() && all.take(ip(5)).is_none());
        let server = take(&all, 1, MOST / 2);
        assert_eq!(all.len(), MOST);
        drop((answered, server));
    }

    #[test]
    fn strangers_never_take_the_place_of_an_api_server_and_it_takes_theirs() {
        let all = table_with_server();
        let server = take(&all, 1, MOST - 3);
        let stranger = take(&all, 2, 3);
        assert!(closed(&server).is_empty());
        let next = take(&all, 3, 1);
        assert_eq!((closed(&server), closed(&stranger)), (vec![], vec![0]));
        let answered = (busy(&stranger), busy(&next), busy(&server));
        assert!(all.take(ip(2)).is_none());
        // A place of theirs, although it is being answered.
        let more = take(&all, 1, 3);
        assert!(closed(&server).is_empty());
        assert_eq!(closed(&stranger).len() + closed(&next).len(), 4);
        let answered = (answered, busy(&more));
        assert!(all.take(ip(1)).is_none(), "only API servers are left, and all are being answered");
        drop(answered);
        assert!(all.take(ip(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_idleness_have_their_ends() {
        let (first, next) = (Duration::from_millis(30), Duration::from_millis(60));
        let all = table();
        let slot = all.take(ip(2)).unwrap();
        let begin = Instant::now();
        assert_eq!(slot.activity.until_quiet(first, next).await, Quiet::Silent);
        assert!(begin.elapsed() >= first);
        let answering = Busy::new(&slot.activity);
        let quiet = slot.activity.until_quiet(first, next);
        tokio::pin!(quiet);
        assert!(tokio::time::timeout(next * 3, &mut quiet).await.is_err(), "it is being answered");
        drop(answering);
        let begin = Instant::now();
        assert_eq!(quiet.await, Quiet::Idle);
        assert!(begin.elapsed() >= next);
    }
}
