//! Leader election over a `Lease` of `coordination.k8s.io/v1`, with a fence: whether this replica leads is judged by the
//! clock, not by the last message.
//!
//! The Lease comes with the installation and is only ever read and patched. Each write carries the resource version that
//! was read, so of two replicas that want it, one gets a conflict. A replica leads until [`FENCE`] after the *start* of
//! its last successful write, and another one takes over only after it has seen the Lease unchanged for [`DURATION`]:
//! the gap between the two is what a paused or cut-off leader has to notice in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::telemetry::write_error;

/// How long the others wait for a holder that is not heard of.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often the holder writes.
pub const RENEW: Duration = Duration::from_secs(5);
/// How long after the start of a successful write the writer counts itself as leader.
pub const FENCE: Duration = Duration::from_secs(10);

const FIELD_MANAGER: &str = "ecr-access-lease";

/// Whether this replica leads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leader {
    until: Arc<Mutex<Until>>,
}

/// Both clocks must agree: the monotonic one stands still while a machine sleeps, the other one can be set.
#[derive(Clone, Copy, Debug)]
enum Until {
    Never,
    Forever,
    At(Instant, SystemTime),
}

impl Leader {
    /// Takes part in the election for the Lease `namespace`/`name` as `identity` until `stop` is cancelled, then gives
    /// the Lease back so that another replica can take it at once.
    ///
    /// The returned future does the work and ends after `stop`; the [`Leader`] can be asked at any time.
    pub fn elect(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        stop: CancellationToken,
    ) -> (Leader, impl Future<Output = ()> + Send + 'static) {
        let leader = Leader::with(Until::Never);
        let election = Election {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            leader: leader.clone(),
            seen: None,
        };
        (leader, election.run(stop))
    }

    /// Always leads: for a single process without a Lease.
    pub fn always() -> Leader {
        Leader::with(Until::Forever)
    }

    /// Whether this replica leads at this moment. To be asked right before each write.
    pub fn is_leader_now(&self) -> bool {
        self.is_leader_at(Instant::now(), SystemTime::now())
    }

    fn with(until: Until) -> Leader {
        Leader { until: Arc::new(Mutex::new(until)) }
    }

    fn is_leader_at(&self, monotonic: Instant, wall: SystemTime) -> bool {
        match *self.until.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Never => false,
            Until::Forever => true,
            Until::At(instant, time) => monotonic < instant && wall < time,
        }
    }

    fn set(&self, until: Until) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    leader: Leader,
    /// The Lease as last read, and since when, by the monotonic clock, it has been like that.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Election {
    async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            // A request that hangs must not keep the next attempt waiting for longer than the fence allows.
            match tokio::time::timeout(RENEW, self.attempt()).await {
                Ok(Ok(())) => failing = false,
                outcome => {
                    let error = match outcome {
                        Ok(Err(error)) => write_error(&error),
                        _ => "no answer in time".to_owned(),
                    };
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            lease = self.name,
                            error,
                            "cannot read or write the lease of the leader election"
                        );
                    }
                }
            }
            // Shorter than a renewal when following, so that a Lease that was given back is taken soon.
            let pause = if self.leader.is_leader_now() { RENEW } else { RENEW / 2 };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
            }
        }
        if self.leader.is_leader_now() {
            // First stop leading, then say so.
            self.leader.set(Until::Never);
            if let Err(error) = tokio::time::timeout(RENEW, self.release()).await.unwrap_or(Ok(())) {
                tracing::debug!(error = write_error(&error), "the lease was not given back, it will expire");
            }
        }
    }

    async fn attempt(&mut self) -> Result<(), kube::Error> {
        let lease = self.leases.get(&self.name).await?;
        let spec = lease.spec.unwrap_or_default();
        let now = Instant::now();
        let unchanged_since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => now,
        };
        self.seen = Some((spec.clone(), unchanged_since));
        if !may_take(&spec, &self.identity, now.duration_since(unchanged_since)) {
            self.leader.set(Until::Never);
            return Ok(());
        }
        let mine = spec.holder_identity.as_deref() == Some(&self.identity);
        let time = MicroTime(jiff::Timestamp::now());
        let transitions = spec.lease_transitions.unwrap_or(0);
        let (monotonic, wall) = (Instant::now(), SystemTime::now());
        let wanted = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if mine { spec.acquire_time.or_else(|| Some(time.clone())) } else { Some(time.clone()) },
            renew_time: Some(time),
            lease_transitions: Some(if mine { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        };
        match self.write(lease.metadata.resource_version, json!(wanted)).await {
            Ok(()) => {
                if !mine {
                    tracing::info!(lease = self.name, identity = self.identity, "leading");
                }
                self.leader.set(Until::At(monotonic + FENCE, wall + FENCE));
                Ok(())
            }
            // Somebody else wrote in between. What that means is seen at the next attempt; the fence stays where it is.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get(&self.name).await?;
        if lease.spec.and_then(|spec| spec.holder_identity).as_deref() != Some(&self.identity) {
            return Ok(());
        }
        self.write(lease.metadata.resource_version, json!({"holderIdentity": ""})).await
    }

    async fn write(&self, resource_version: Option<String>, spec: serde_json::Value) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {"resourceVersion": resource_version}, "spec": spec});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.leases.patch(&self.name, &params, &Patch::Merge(&patch)).await.map(drop)
    }
}

/// Whether `identity` may take a Lease that this process has seen unchanged for `unchanged`.
///
/// Times written in the Lease are not compared with the own clock: clocks of two machines may differ.
fn may_take(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> bool {
    match spec.holder_identity.as_deref() {
        None | Some("") => true,
        Some(holder) if holder == identity => true,
        Some(_) => {
            let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            unchanged >= seconds.map_or(DURATION, Duration::from_secs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeApi;
    use super::*;

    fn held(holder: &str) -> LeaseSpec {
        LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: Some(15), ..LeaseSpec::default() }
    }

    #[test]
    fn a_lease_is_taken_when_empty_own_or_unchanged_for_its_duration() {
        let second = Duration::from_secs(1);
        assert!(may_take(&LeaseSpec::default(), "a", Duration::ZERO));
        assert!(may_take(&held(""), "a", Duration::ZERO));
        assert!(may_take(&held("a"), "a", Duration::ZERO));
        assert!(!may_take(&held("b"), "a", Duration::ZERO));
        assert!(!may_take(&held("b"), "a", 14 * second));
        assert!(may_take(&held("b"), "a", 15 * second));
    }

    #[test]
    fn leadership_ends_by_either_clock_without_anybody_saying_so() {
        let (instant, time) = (Instant::now(), SystemTime::now());
        let leader = Leader::with(Until::At(instant + FENCE, time + FENCE));
        let second = Duration::from_secs(1);
        assert!(leader.is_leader_at(instant + 9 * second, time + 9 * second));
        assert!(!leader.is_leader_at(instant + 10 * second, time + 9 * second));
        // A machine that slept: its monotonic clock hardly moved.
        assert!(!leader.is_leader_at(instant + second, time + 60 * second));
    }

    #[test]
    fn the_fence_ends_before_anybody_else_may_take_over() {
        assert!(FENCE + RENEW <= DURATION && RENEW < FENCE);
    }

    /// An API server with a lease that nobody has taken.
    fn with_lease() -> Arc<FakeApi> {
        let api = FakeApi::new();
        api.put("leases", json!({"metadata": {"name": "lease", "namespace": "ns"}}));
        api
    }

    fn lease(api: &FakeApi) -> serde_json::Value {
        api.get("leases", "ns", "lease")["spec"].take()
    }

    fn election(api: &Arc<FakeApi>, identity: &str) -> Election {
        Election {
            leases: Api::namespaced(api.client(), "ns"),
            name: "lease".to_owned(),
            identity: identity.to_owned(),
            leader: Leader::with(Until::Never),
            seen: None,
        }
    }

    #[tokio::test]
    async fn of_two_that_see_an_empty_lease_at_once_one_leads() {
        let api = with_lease();
        api.race("leases", 2);
        let (mut a, mut b) = (election(&api, "a"), election(&api, "b"));
        let (one, two) = tokio::join!(a.attempt(), b.attempt());
        one.unwrap();
        two.unwrap();
        assert_eq!(api.writes().len(), 1);
        assert_ne!(a.leader.is_leader_now(), b.leader.is_leader_now());
        // The next round changes nothing but the time of the one that leads.
        let holder = lease(&api)["holderIdentity"].clone();
        a.attempt().await.unwrap();
        b.attempt().await.unwrap();
        assert_eq!(lease(&api)["holderIdentity"], holder);
        assert_eq!(lease(&api)["leaseTransitions"], json!(1));
        assert_ne!(a.leader.is_leader_now(), b.leader.is_leader_now());
    }

    /// Counted from a later moment, or for longer, it would outlast what the others wait for.
    #[tokio::test]
    async fn the_fence_is_counted_from_before_the_write() {
        let api = with_lease();
        let mut election = election(&api, "a");
        // The first write takes the lease, the second one renews it.
        for _ in 0..2 {
            let begin = (Instant::now(), SystemTime::now());
            election.attempt().await.unwrap();
            let until = *election.leader.until.lock().unwrap();
            let Until::At(instant, time) = until else { panic!("{until:?}") };
            let (written_instant, written_time) = api.writes().last().unwrap().taken;
            assert!(begin.0 + FENCE <= instant && instant <= written_instant + FENCE, "{until:?}");
            assert!(begin.1 + FENCE <= time && time <= written_time + FENCE, "{until:?}");
        }
        assert_eq!(api.writes().len(), 2);
    }

    #[tokio::test]
    async fn a_lease_that_was_given_back_is_taken_at_once() {
        let api = with_lease();
        let (mut a, mut b) = (election(&api, "a"), election(&api, "b"));
        a.attempt().await.unwrap();
        b.attempt().await.unwrap();
        assert!(a.leader.is_leader_now() && !b.leader.is_leader_now());
        // Whoever does not hold it gives nothing back.
        b.release().await.unwrap();
        assert_eq!(lease(&api)["holderIdentity"], json!("a"));
        a.release().await.unwrap();
        b.attempt().await.unwrap();
        assert!(b.leader.is_leader_now());
        a.attempt().await.unwrap();
        assert!(!a.leader.is_leader_now(), "it is told at its next look at the latest");
    }
}
