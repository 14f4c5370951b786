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

/// What the pods of the cluster would be told now.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct VerdictLabels {
    /// The pod's verdict; pods that no policy selects are not counted.
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
        registry.register("leader", "1 on the replica that writes statuses, else 0", self.leader.clone());
    }

    /// Forgets what only a leader knows.
    pub fn resign(&self) {
        self.leader.set(0);
        self.policies.clear();
        self.pods.clear();
        self.exemptions.clear();
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
            "ecr_access_leader 1",
        ] {
            assert!(text().contains(line), "{line} is not in\n{}", text());
        }
        metrics.resign();
        assert!(!text().contains("ecr_access_pods{") && text().contains("ecr_access_leader 0"), "{}", text());
    }
}
