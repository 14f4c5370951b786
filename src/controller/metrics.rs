//! What the controller tells Prometheus.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The controller's metrics; cheap to clone, every clone counts the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// `ecr_access_status_writes_total{result}`.
    pub status_writes: Family<WriteLabels, Counter>,
    /// `ecr_access_policies{ready}`.
    pub policies: Family<ReadyLabels, Gauge>,
    /// `ecr_access_pods{verdict}`.
    pub pods: Family<VerdictLabels, Gauge>,
    /// `ecr_access_exemptions{state}`.
    pub exemptions: Family<ExemptionLabels, Gauge>,
    /// `ecr_access_workloads{verdict}`.
    pub workloads: Family<VerdictLabels, Gauge>,
    /// `ecr_access_next_transition_timestamp_seconds`.
    pub next_transition: Gauge,
    /// `ecr_access_events_total{result}`.
    pub events: Family<EventLabels, Counter>,
    /// `ecr_access_events_waiting`.
    pub events_waiting: Gauge,
    /// `ecr_access_leader`.
    pub leader: Gauge,
}

/// How a write of a status ended.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WriteLabels {
    /// `written`, `gone` (the policy was deleted meanwhile) or `failed`.
    pub result: WriteResult,
}

/// See [`WriteLabels`].
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[allow(non_camel_case_types, missing_docs, reason = "the names are label values")]
pub enum WriteResult {
    written,
    gone,
    failed,
}

/// How an Event ended.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct EventLabels {
    /// `written`, `failed`, or `limited` (held back by the rate limit and not tried again).
    pub result: EventResult,
}

/// See [`EventLabels`].
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[allow(non_camel_case_types, missing_docs, reason = "the names are label values")]
pub enum EventResult {
    written,
    failed,
    limited,
}

/// Whether policies are in force.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReadyLabels {
    /// The status of the condition `Ready`.
    pub ready: Truth,
}

/// See [`ReadyLabels`].
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names are label values")]
pub enum Truth {
    True,
    False,
}

/// What the pods and workloads of the cluster would be told now.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct VerdictLabels {
    /// The verdict; what no policy selects is not counted.
    pub verdict: PodVerdict,
}

/// See [`VerdictLabels`].
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names are label values")]
pub enum PodVerdict {
    Allow,
    Deny,
    Unknown,
}

/// Whether exemptions let anything in.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ExemptionLabels {
    /// `active`, or `expired` for one that has ended and stands in its policy still.
    pub state: ExemptionState,
}

/// See [`ExemptionLabels`].
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[allow(non_camel_case_types, missing_docs, reason = "the names are label values")]
pub enum ExemptionState {
    active,
    expired,
}

impl Metrics {
    /// Makes the metrics known to `registry`, which has the prefix `ecr_access`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "status_writes",
            "Policy statuses written to the API server, by how it ended (written, gone, failed)",
            self.status_writes.clone(),
        );
        registry.register(
            "policies",
            "Policies by the status of their condition Ready; only the leader counts",
            self.policies.clone(),
        );
        registry.register(
            "pods",
            "Pods that are not terminated and that a policy selects, by the verdict they would get now; only the leader counts",
            self.pods.clone(),
        );
        registry.register(
            "exemptions",
            "Exemptions in the policies, by state: active, or expired and still written down; only the leader counts",
            self.exemptions.clone(),
        );
        registry.register(
            "workloads",
            "Workloads that a policy selects, by the verdict that their pods would get now; only the leader counts",
            self.workloads.clone(),
        );
        registry.register(
            "next_transition_timestamp_seconds",
            "Unix time at which a condition on the date changes a verdict next, or an exemption in use ends, 0 where none will; only the leader knows",
            self.next_transition.clone(),
        );
        registry.register(
            "events",
            "Events told, by how it ended (written, failed, limited: held back by the rate limit)",
            self.events.clone(),
        );
        registry.register(
            "events_waiting",
            "Denials that the rate limit holds back from being told by an Event for now; only the leader tells",
            self.events_waiting.clone(),
        );
        registry.register("leader", "1 on the replica that writes statuses, else 0", self.leader.clone());
    }

    /// Forgets what only a leader knows.
    pub fn resign(&self) {
        self.leader.set(0);
        self.policies.clear();
        self.pods.clear();
        self.exemptions.clear();
        self.workloads.clear();
        self.next_transition.set(0);
        self.events_waiting.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_their_names_and_labels() {
        let mut registry = Registry::with_prefix("ecr_access");
        let metrics = Metrics::default();
        metrics.register(&mut registry);
        metrics.status_writes.get_or_create(&WriteLabels { result: WriteResult::written }).inc();
        metrics.policies.get_or_create(&ReadyLabels { ready: Truth::True }).set(2);
        metrics.pods.get_or_create(&VerdictLabels { verdict: PodVerdict::Deny }).set(3);
        metrics.exemptions.get_or_create(&ExemptionLabels { state: ExemptionState::expired }).set(4);
        metrics.workloads.get_or_create(&VerdictLabels { verdict: PodVerdict::Unknown }).set(4);
        metrics.events.get_or_create(&EventLabels { result: EventResult::limited }).inc();
        metrics.next_transition.set(1_800_000_000);
        metrics.leader.set(1);
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        for line in [
            "ecr_access_status_writes_total{result=\"written\"} 1",
            "ecr_access_policies{ready=\"True\"} 2",
            "ecr_access_pods{verdict=\"Deny\"} 3",
            "ecr_access_exemptions{state=\"expired\"} 4",
            "ecr_access_workloads{verdict=\"Unknown\"} 4",
            "ecr_access_events_total{result=\"limited\"} 1",
            "ecr_access_next_transition_timestamp_seconds 1800000000",
            "ecr_access_leader 1",
        ] {
            assert!(text().contains(line), "{line} is not in\n{}", text());
        }
        metrics.resign();
        assert!(!text().contains("ecr_access_pods{") && text().contains("ecr_access_leader 0"), "{}", text());
    }
}
