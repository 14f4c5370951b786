//! One read for many who ask at the same time.
//!
//! Before a rejection leaves, the API server is asked again. A hundred pods that are to be rejected at once would ask it
//! a hundred times the same, at the very moment at which it is busiest, and a read that comes too late admits a pod. So
//! of each thing one read is on its way at most, and whoever asks meanwhile waits for the next one and shares it.
//! Nobody is given the answer of a read that began before he asked: what he wants to know may have changed since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

/// Reads by what they are of.
pub struct SingleFlight<K, T> {
    things: Arc<Mutex<BTreeMap<K, Thing<T>>>>,
}

/// One thing that is read.
struct Thing<T> {
    /// Held by the read that is on its way.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The read that has not begun.
    next: Option<Shared<BoxFuture<'static, T>>>,
    /// How many wait for a read of this thing, begun or not; the last one clears up.
    waiting: usize,
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self { things: Arc::default() }
    }
}

impl<K: Clone + Ord + Send + 'static, T: Clone + Send + Sync + 'static> SingleFlight<K, T> {
    /// The answer of a read of `key` that began after this call. `read` is called if nobody else's is.
    pub async fn read<F>(&self, key: K, read: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        let answer = {
            let mut things = lock(&self.things);
            let thing =
                things.entry(key.clone()).or_insert_with(|| Thing { turn: Arc::default(), next: None, waiting: 0 });
            thing.waiting += 1;
            match &thing.next {
                Some(next) => next.clone(),
                None => {
                    let next = begin(Arc::clone(&self.things), Arc::clone(&thing.turn), key.clone(), read);
                    thing.next.insert(next.boxed().shared()).clone()
                }
            }
        };
        // Also when this future is dropped before it is done.
        let _waiting = Waiting { things: &self.things, key };
        answer.await
    }
}

/// Waits for its turn; from then on whoever asks wants a later read.
async fn begin<K: Ord, T, F: Future<Output = T>>(
    things: Arc<Mutex<BTreeMap<K, Thing<T>>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    key: K,
    read: impl FnOnce() -> F,
) -> T {
    let _turn = turn.lock().await;
    if let Some(thing) = lock(&things).get_mut(&key) {
        thing.next = None;
    }
    read().await
}

struct Waiting<'a, K: Ord, T> {
    things: &'a Mutex<BTreeMap<K, Thing<T>>>,
    key: K,
}

impl<K: Ord, T> Drop for Waiting<'_, K, T> {
    fn drop(&mut self) {
        let mut things = lock(self.things);
        if let Some(thing) = things.get_mut(&self.key) {
            thing.waiting -= 1;
            if thing.waiting == 0 {
                things.remove(&self.key);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Reads that say which one they are, and end when they are let.
    #[derive(Clone)]
    struct Reads {
        begun: Arc<AtomicUsize>,
        let_go: Arc<Semaphore>,
        shared: Arc<SingleFlight<&'static str, usize>>,
    }

    impl Reads {
        fn new() -> Self {
            Self { begun: Arc::default(), let_go: Arc::new(Semaphore::new(0)), shared: Arc::default() }
        }

        fn ask(&self, key: &'static str) -> tokio::task::JoinHandle<usize> {
            let Self { begun, let_go, shared } = self.clone();
            let read = move || async move {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                let_go.acquire().await.unwrap().forget();
                number
            };
            tokio::spawn(async move { shared.read(key, read).await })
        }

        /// Lets everybody who can go on go on.
        async fn settle(&self) {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn who_asks_during_a_read_shares_the_next_one() {
        let reads = Reads::new();
        let first = reads.ask("a");
        reads.settle().await;
        let later: Vec<_> = (0..50).map(|_| reads.ask("a")).collect();
        reads.settle().await;
        assert_eq!(reads.begun.load(Ordering::SeqCst), 1, "the second read waits for the first one");
        reads.let_go.add_permits(2);
        assert_eq!(first.await.unwrap(), 0);
        for answer in join_all(later).await {
            assert_eq!(answer.unwrap(), 1, "the read that began after the question");
        }
        assert_eq!(reads.begun.load(Ordering::SeqCst), 2);
        assert!(lock(&reads.shared.things).is_empty());
    }

    #[tokio::test]
    async fn other_things_do_not_wait() {
        let reads = Reads::new();
        let (a, b) = (reads.ask("a"), reads.ask("b"));
        reads.settle().await;
        assert_eq!(reads.begun.load(Ordering::SeqCst), 2);
        reads.let_go.add_permits(2);
        assert_ne!(a.await.unwrap(), b.await.unwrap());
    }

    #[tokio::test]
    async fn who_gives_up_holds_up_nobody() {
        let reads = Reads::new();
        let first = reads.ask("a");
        reads.settle().await;
        let (second, third) = (reads.ask("a"), reads.ask("a"));
        reads.settle().await;
        first.abort();
        second.abort();
        reads.settle().await;
        reads.let_go.add_permits(1);
        assert_eq!(third.await.unwrap(), 1, "the read that nobody waited for any more was given up");
        assert!(lock(&reads.shared.things).is_empty());
    }
}
