//! Something there is only so much of, shared by who calls: turns at the processor, bytes of bodies, reads.
//!
//! [`Shares`] says who may take how much, [`Pool`] makes callers wait for it. Half is reserved for API servers, and a
//! caller that is none may have a quarter at most; see [`super::callers`] for when that holds. Where nobody is known
//! for an API server, one caller alone may have three quarters, so that another one always finds something.
//!
//! There may be more than is worth taking: four turns at two processors, so that a quarter is one. Then API servers
//! together, or one caller where nobody is known for one, take no more than is `enough`.
//!
//! What somebody has is never taken from him, so a reserve is kept free rather than lent.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::callers::{Caller, Standing};

/// How many of one caller may wait; more are turned away at once. Waiting costs memory, and each that waits is looked at
/// when something becomes free.
const LINE: usize = 256;

/// Who has how much.
#[derive(Debug)]
pub struct Shares {
    total: usize,
    /// What one caller must be able to have where nobody is an API server.
    one: usize,
    /// What API servers together, or one caller where nobody is one, have at most.
    enough: usize,
    taken: usize,
    /// What callers have that are no API servers.
    by_others: usize,
    /// The same by address; who has nothing is not in it.
    each: HashMap<IpAddr, usize>,
}

impl Shares {
    /// Of `total`, of which one caller must be able to have `one` while nothing is reserved, and whoever is not held to a
    /// stranger's share no more than is `enough`.
    pub fn new(total: usize, one: usize, enough: usize) -> Shares {
        let total = total.max(one).max(1);
        let enough = enough.max(one).clamp(1, total);
        Shares { total, one, enough, taken: 0, by_others: 0, each: HashMap::new() }
    }

    /// The most that this caller may ever have at a time.
    pub fn most(&self, caller: Caller) -> usize {
        match caller.standing {
            Standing::ApiServer => self.enough,
            Standing::Apart => (self.total / 4).max(1),
            Standing::Equal => (self.total - self.total / 4).max(self.one).min(self.enough),
        }
    }

    /// What this caller has.
    fn has(&self, caller: Caller) -> usize {
        self.each.get(&caller.address).copied().unwrap_or(0)
    }

    fn is_free(&self, n: usize) -> bool {
        self.taken.saturating_add(n) <= self.total
    }

    /// Whether the caller may have so much more but for what others have.
    fn is_within(&self, caller: Caller, n: usize) -> bool {
        let reserve = match caller.standing {
            Standing::ApiServer => return (self.taken - self.by_others).saturating_add(n) <= self.enough,
            Standing::Apart => self.total / 2,
            Standing::Equal => 0,
        };
        self.has(caller).saturating_add(n) <= self.most(caller)
            && self.by_others.saturating_add(n) <= self.total - reserve
    }

    /// Takes so much, where the caller may.
    pub fn take(&mut self, caller: Caller, n: usize) -> bool {
        let may = self.is_free(n) && self.is_within(caller, n);
        if may {
            self.taken += n;
            if caller.standing != Standing::ApiServer {
                self.by_others += n;
                *self.each.entry(caller.address).or_default() += n;
            }
        }
        may
    }

    /// Gives back what was taken as this caller.
    pub fn give_back(&mut self, caller: Caller, n: usize) {
        self.taken = self.taken.saturating_sub(n);
        if caller.standing == Standing::ApiServer {
            return;
        }
        self.by_others = self.by_others.saturating_sub(n);
        if let Some(has) = self.each.get_mut(&caller.address) {
            *has = has.saturating_sub(n);
            if *has == 0 {
                self.each.remove(&caller.address);
            }
        }
    }
}

/// [`Shares`] that can be waited for.
#[derive(Debug)]
pub struct Pool(Mutex<State>);

#[derive(Debug)]
struct State {
    shares: Shares,
    /// In the order in which they came.
    line: Vec<Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    caller: Caller,
    n: usize,
    /// Told when it has what it waits for.
    tell: oneshot::Sender<()>,
}

impl Pool {
    /// See [`Shares::new`]; everything is worth taking.
    pub fn new(total: usize, one: usize) -> Arc<Pool> {
        Pool::of(Shares::new(total, one, usize::MAX))
    }

    /// Of these.
    pub fn of(shares: Shares) -> Arc<Pool> {
        Arc::new(Pool(Mutex::new(State { shares, line: Vec::new(), next: 0 })))
    }

    /// The most that this caller may ever have at a time.
    pub fn most(&self, caller: Caller) -> usize {
        self.lock().shares.most(caller)
    }

    /// So much for this caller, if nobody has to be waited for.
    pub fn try_take(self: &Arc<Pool>, caller: Caller, n: usize) -> Option<Permit> {
        let mut state = self.lock();
        (state.line.is_empty() && state.shares.take(caller, n)).then(|| Permit::new(self, caller, n))
    }

    /// So much for this caller, or `None` where it is not his before `until`.
    pub async fn take(self: &Arc<Pool>, caller: Caller, n: usize, until: Instant) -> Option<Permit> {
        if let Some(permit) = self.try_take(caller, n) {
            return Some(permit);
        }
        let (mut waiting, told) = self.stand_in_line(caller, n)?;
        if timeout_at(until, told).await.is_err() {
            return None;
        }
        waiting.has_it = true;
        Some(Permit::new(self, caller, n))
    }

    fn stand_in_line(self: &Arc<Pool>, caller: Caller, n: usize) -> Option<(Waiting, oneshot::Receiver<()>)> {
        let mut state = self.lock();
        let known = |waiter: &&Waiter| waiter.caller.address == caller.address;
        if caller.standing != Standing::ApiServer && state.line.iter().filter(known).count() >= LINE {
            return None;
        }
        let (tell, told) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.line.push(Waiter { number, caller, n, tell });
        state.serve();
        drop(state);
        Some((Waiting { pool: Arc::clone(self), caller, n, number, has_it: false }, told))
    }

    fn give_back(&self, caller: Caller, n: usize) {
        let mut state = self.lock();
        state.shares.give_back(caller, n);
        state.serve();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives out what is free to those who wait: API servers first, then whoever has least, then whoever came first.
    /// Whoever is next but needs more than is free is waited for, or one who needs much would never get it.
    fn serve(&mut self) {
        while let Some(at) = self.next_in_line() {
            let waiter = self.line.remove(at);
            self.shares.take(waiter.caller, waiter.n);
            // Whoever gave up at this moment gives it back: see [`Waiting`].
            let _ = waiter.tell.send(());
        }
    }

    fn next_in_line(&self) -> Option<usize> {
        let is_server = |waiter: &Waiter| waiter.caller.standing == Standing::ApiServer;
        let within = |waiter: &Waiter| self.shares.is_within(waiter.caller, waiter.n);
        if let Some((at, first)) = self.line.iter().enumerate().find(|(_, waiter)| is_server(waiter)) {
            let free = self.shares.is_free(first.n);
            if free && within(first) {
                return Some(at);
            }
            // What API servers would leave to others all the same is the others'.
            if !free || self.shares.enough == self.shares.total {
                return None;
            }
        }
        let others = self.line.iter().enumerate().filter(|(_, waiter)| !is_server(waiter) && within(waiter));
        let (at, next) = others.min_by_key(|(_, waiter)| (self.shares.has(waiter.caller), waiter.number))?;
        self.shares.is_free(next.n).then_some(at)
    }
}

/// Somebody in the line.
struct Waiting {
    pool: Arc<Pool>,
    caller: Caller,
    n: usize,
    number: u64,
    has_it: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.has_it {
            return;
        }
        let mut state = self.pool.lock();
        let at = state.line.iter().position(|waiter| waiter.number == self.number);
        match at {
            Some(at) => drop(state.line.remove(at)),
            // It was given at the moment at which it was given up.
            None => state.shares.give_back(self.caller, self.n),
        }
        state.serve();
    }
}

/// What somebody has; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    pool: Arc<Pool>,
    caller: Caller,
    n: usize,
}

impl Permit {
    fn new(pool: &Arc<Pool>, caller: Caller, n: usize) -> Permit {
        Permit { pool: Arc::clone(pool), caller, n }
    }

    /// Whose it is.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Puts another one of the same pool and caller to this one.
    pub fn merge(&mut self, mut more: Permit) {
        if Arc::ptr_eq(&self.pool, &more.pool) && self.caller == more.caller {
            self.n += std::mem::take(&mut more.n);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.n > 0 {
            self.pool.give_back(self.caller, self.n);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn caller(address: u8, standing: Standing) -> Caller {
        Caller { address: [10, 0, 0, address].into(), standing }
    }

    fn server() -> Caller {
        caller(1, Standing::ApiServer)
    }

    fn apart(address: u8) -> Caller {
        caller(address, Standing::Apart)
    }

    fn equal(address: u8) -> Caller {
        caller(address, Standing::Equal)
    }

    /// Takes one at a time until there is no more.
    fn take_all(shares: &mut Shares, caller: Caller) -> usize {
        (0..).take_while(|_| shares.take(caller, 1)).count()
    }

    #[test]
    fn a_stranger_has_a_quarter_and_all_of_them_a_half() {
        for (total, quarter, half) in [(4, 1, 2), (8, 2, 4), (64, 16, 32), (1000, 250, 500)] {
            let mut shares = Shares::new(total, 1, usize::MAX);
            assert_eq!(take_all(&mut shares, apart(2)), quarter, "of {total}");
            let others: usize = (3..200).map(|address| take_all(&mut shares, apart(address))).sum();
            assert_eq!(quarter + others, half, "of {total}");
            assert_eq!(take_all(&mut shares, server()), total - half, "the reserve of {total}");
        }
    }

    #[test]
    fn an_api_server_may_have_everything() {
        let mut shares = Shares::new(8, 1, usize::MAX);
        assert_eq!(take_all(&mut shares, server()), 8);
        assert!(!shares.take(apart(2), 1) && !shares.take(equal(2), 1));
        shares.give_back(server(), 8);
        assert_eq!(take_all(&mut shares, apart(2)), 2);
    }

    #[test]
    fn where_nobody_is_known_one_alone_is_hardly_held_back_and_leaves_room_for_another() {
        for (total, one, most) in [(4, 1, 3), (8, 1, 6), (1, 1, 1), (64, 40, 48), (64, 60, 60)] {
            let mut shares = Shares::new(total, one, usize::MAX);
            assert_eq!(take_all(&mut shares, equal(2)), most, "of {total}");
            assert_eq!(take_all(&mut shares, equal(3)), total - most, "of {total}");
        }
    }

    #[test]
    fn what_is_more_than_enough_is_for_others() {
        // Four turns at two processors.
        let mut shares = Shares::new(4, 1, 2);
        assert_eq!(take_all(&mut shares, server()), 2);
        assert_eq!(take_all(&mut shares, caller(9, Standing::ApiServer)), 0, "all of them together");
        assert_eq!((take_all(&mut shares, apart(2)), take_all(&mut shares, apart(3))), (1, 1));
        shares.give_back(server(), 1);
        assert_eq!((take_all(&mut shares, apart(4)), take_all(&mut shares, server())), (0, 1));
        let mut shares = Shares::new(4, 1, 2);
        assert_eq!((take_all(&mut shares, equal(2)), take_all(&mut shares, equal(3))), (2, 2));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_leaves_no_trace() {
        let mut shares = Shares::new(8, 1, usize::MAX);
        for _ in 0..3 {
            let callers = [server(), apart(2), apart(3), equal(4)];
            let taken: Vec<usize> = callers.iter().map(|caller| take_all(&mut shares, *caller)).collect();
            assert_eq!(taken, [8, 0, 0, 0]);
            shares.give_back(server(), 8);
            assert!(shares.take(apart(2), 2) && shares.take(apart(3), 1) && shares.take(equal(4), 1));
            for (caller, n) in [(apart(2), 2), (apart(3), 1), (equal(4), 1)] {
                shares.give_back(caller, n);
            }
            assert!(shares.each.is_empty());
            assert_eq!((shares.taken, shares.by_others), (0, 0));
        }
    }

    #[test]
    fn whoever_took_more_before_an_api_server_called_gets_nothing_until_it_is_within_its_share() {
        let mut shares = Shares::new(8, 1, usize::MAX);
        assert_eq!(take_all(&mut shares, equal(2)), 6);
        assert!(!shares.take(apart(2), 1));
        assert_eq!(take_all(&mut shares, server()), 2);
        shares.give_back(equal(2), 5);
        assert_eq!(take_all(&mut shares, apart(2)), 1);
    }

    /// Somebody who waits, for long enough that only being given something ends it.
    fn wait(pool: &Arc<Pool>, caller: Caller, n: usize) -> tokio::task::JoinHandle<Permit> {
        let pool = Arc::clone(pool);
        let until = Instant::now() + Duration::from_secs(60);
        tokio::spawn(async move { pool.take(caller, n, until).await.expect("something becomes free") })
    }

    /// Lets everybody who can go on go on.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_api_server_is_next_whoever_came_before_and_then_whoever_has_least() {
        let pool = Pool::new(4, 1);
        let mut held: Vec<Permit> = (0..3).filter_map(|_| pool.try_take(equal(2), 1)).collect();
        held.push(pool.try_take(equal(3), 1).unwrap());
        let mut waiting = Vec::new();
        for caller in [equal(3), equal(4), server()] {
            waiting.push((caller, wait(&pool, caller, 1)));
            settle().await;
        }
        let mut order = Vec::new();
        let mut kept = Vec::new();
        while !waiting.is_empty() {
            drop(held.pop());
            settle().await;
            let (done, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, task)| task.is_finished());
            waiting = still;
            for (caller, task) in done {
                order.push(caller);
                kept.push(task.await.unwrap());
            }
        }
        // The first to be given back was that of 10.0.0.3, which then has as little as 10.0.0.4 and came before.
        assert_eq!(order, [server(), equal(3), equal(4)]);
    }

    #[tokio::test]
    async fn who_needs_much_is_not_overtaken_for_ever() {
        let pool = Pool::new(4, 1);
        let held: Vec<Permit> = (0..2).filter_map(|_| pool.try_take(server(), 1)).collect();
        let big = wait(&pool, server(), 4);
        settle().await;
        assert!(pool.try_take(server(), 1).is_none() && pool.try_take(apart(2), 1).is_none());
        let small = wait(&pool, apart(2), 1);
        settle().await;
        assert!(!big.is_finished() && !small.is_finished());
        drop(held);
        let big = big.await.unwrap();
        assert!(!small.is_finished());
        drop(big);
        small.await.unwrap();
    }

    #[tokio::test]
    async fn who_has_enough_keeps_nobody_from_the_rest() {
        let pool = Pool::of(Shares::new(4, 1, 2));
        let held: Vec<Permit> = (0..2).filter_map(|_| pool.try_take(server(), 1)).collect();
        let mut more = wait(&pool, server(), 1);
        settle().await;
        let other = wait(&pool, apart(2), 1).await.unwrap();
        assert!(!more.is_finished());
        drop(held);
        drop((&mut more).await.unwrap());
        drop(other);
        assert_eq!(pool.lock().shares.taken, 0);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_line_and_what_it_was_given() {
        let pool = Pool::new(1, 1);
        let held = pool.try_take(server(), 1).unwrap();
        let late = pool.take(server(), 1, Instant::now()).await;
        assert!(late.is_none() && pool.lock().line.is_empty());
        // Given up by dropping, before and after it was given.
        let until = Instant::now() + Duration::from_secs(60);
        let mut before = Box::pin(pool.take(server(), 1, until));
        let mut after = Box::pin(pool.take(server(), 1, until));
        assert!(futures::poll!(&mut before).is_pending() && futures::poll!(&mut after).is_pending());
        drop(before);
        assert_eq!(pool.lock().line.len(), 1);
        drop(held);
        assert_eq!(pool.lock().shares.taken, 1, "it was given");
        drop(after);
        assert_eq!(pool.lock().shares.taken, 0);
    }

    #[tokio::test]
    async fn the_line_of_a_stranger_has_an_end_and_others_stand_behind_it() {
        let pool = Pool::new(4, 1);
        let held: Vec<Permit> = (0..4).filter_map(|_| pool.try_take(server(), 1)).collect();
        let until = Instant::now() + Duration::from_secs(60);
        let mut line: Vec<_> = (0..LINE).map(|_| Box::pin(pool.take(apart(2), 1, until))).collect();
        for waiting in &mut line {
            assert!(futures::poll!(waiting).is_pending());
        }
        assert!(pool.take(apart(2), 1, until).await.is_none(), "at once");
        let mut other = Box::pin(pool.take(apart(3), 1, until));
        assert!(futures::poll!(&mut other).is_pending());
        drop(held);
        assert_eq!(pool.lock().shares.each.len(), 2, "each of the two has one");
        assert!(other.await.is_some());
    }

    #[test]
    fn merged_permits_are_given_back_together() {
        let pool = Pool::new(4, 1);
        let mut permit = pool.try_take(equal(2), 1).unwrap();
        permit.merge(pool.try_take(equal(2), 2).unwrap());
        assert_eq!(pool.lock().shares.taken, 3);
        drop(permit);
        assert_eq!(pool.lock().shares.taken, 0);
    }
}
