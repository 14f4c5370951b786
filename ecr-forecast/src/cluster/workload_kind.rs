//! The kinds of Kubernetes that make pods from a template ("Workloads").

/// A kind that makes pods from a template.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum WorkloadKind {
    /// `apps/v1`.
    Deployment,
    /// `apps/v1`.
    StatefulSet,
    /// `apps/v1`.
    DaemonSet,
    /// `batch/v1`.
    CronJob,
    /// `batch/v1`.
    Job,
    /// `apps/v1`.
    ReplicaSet,
    /// `v1`.
    ReplicationController,
}

impl WorkloadKind {
    /// All of them. Of two that could name the same pods, the one that people write comes first.
    pub const ALL: [WorkloadKind; 7] = [
        WorkloadKind::Deployment,
        WorkloadKind::StatefulSet,
        WorkloadKind::DaemonSet,
        WorkloadKind::CronJob,
        WorkloadKind::Job,
        WorkloadKind::ReplicaSet,
        WorkloadKind::ReplicationController,
    ];

    /// `kind` of its objects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::DaemonSet => "DaemonSet",
            WorkloadKind::CronJob => "CronJob",
            WorkloadKind::Job => "Job",
            WorkloadKind::ReplicaSet => "ReplicaSet",
            WorkloadKind::ReplicationController => "ReplicationController",
        }
    }

    /// API group of its objects.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicaSet => "apps",
            WorkloadKind::CronJob | WorkloadKind::Job => "batch",
            WorkloadKind::ReplicationController => "",
        }
    }

    /// The kind of this name; `None` where it is none of them.
    #[must_use]
    pub fn from_name(kind: &str) -> Option<WorkloadKind> {
        WorkloadKind::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    /// The fields that lead to the pod template of an object.
    #[must_use]
    pub const fn template(self) -> &'static [&'static str] {
        match self {
            WorkloadKind::CronJob => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        }
    }
}
