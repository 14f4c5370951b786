//! The table of the kinds that are watched.

use ecr_forecast::cluster::WorkloadKind;
use ecr_forecast::policy::PolicyKind;

use crate::api::{GROUP, VERSION};
use crate::runtime::watch::kind::{Kind, PAGE_SIZE};

/// Terminated pods pull nothing any more: the API server leaves them out, and sends a delete when a pod terminates.
const NOT_TERMINATED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// [`ecr_forecast::policy::POLICY_DOCUMENT_LABEL`] as a selector.
const WITH_DOCUMENTS: &str = "ecraccess.dev/policy-document=true";

/// Objects per page of what has pod templates. They are big; this bounds the memory for them.
const BIG: u32 = 200;

/// ServiceAccounts.
pub const SERVICE_ACCOUNTS: Kind = Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
/// Namespaces.
pub const NAMESPACES: Kind = Kind::of_cluster("", "v1", "Namespace", "namespaces");
/// ConfigMaps with policy documents.
pub const CONFIG_MAPS: Kind =
    Kind { labels: Some(WITH_DOCUMENTS), ..Kind::namespaced("", "v1", "ConfigMap", "configmaps") };
/// Pods that are not terminated.
pub const PODS: Kind =
    Kind { fields: Some(NOT_TERMINATED), page_size: BIG, ..Kind::namespaced("", "v1", "Pod", "pods") };

/// The policies of a kind.
pub const fn policies(kind: PolicyKind) -> Kind {
    let row = Kind::namespaced(GROUP, VERSION, kind.as_str(), kind.plural());
    Kind { namespaced: kind.is_namespaced(), ..row }
}

/// The workloads of a kind.
pub const fn workloads(kind: WorkloadKind) -> Kind {
    let row = match kind {
        WorkloadKind::Deployment => Kind::namespaced("apps", "v1", "Deployment", "deployments"),
        WorkloadKind::StatefulSet => Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets"),
        WorkloadKind::DaemonSet => Kind::namespaced("apps", "v1", "DaemonSet", "daemonsets"),
        WorkloadKind::CronJob => Kind::namespaced("batch", "v1", "CronJob", "cronjobs"),
        WorkloadKind::Job => Kind::namespaced("batch", "v1", "Job", "jobs"),
        WorkloadKind::ReplicaSet => Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets"),
        WorkloadKind::ReplicationController => {
            Kind::namespaced("", "v1", "ReplicationController", "replicationcontrollers")
        }
    };
    Kind { page_size: BIG, ..row }
}

/// What only the leader watches.
pub fn of_leader() -> impl Iterator<Item = Kind> {
    std::iter::once(PODS).chain(WorkloadKind::ALL.into_iter().map(workloads))
}

const _: () = assert!(BIG <= PAGE_SIZE);

#[cfg(test)]
mod tests {
    use ecr_forecast::policy::{API_VERSION, POLICY_DOCUMENT_LABEL};
    use kube::api::ApiResource;

    use super::*;
    use crate::api::{ClusterEcrAccessPolicy, EcrAccessPolicy};

    #[test]
    fn rows_say_what_the_types_say() {
        assert_eq!(CONFIG_MAPS.labels.unwrap().split_once('='), Some(POLICY_DOCUMENT_LABEL));
        let erased = [ApiResource::erase::<EcrAccessPolicy>(&()), ApiResource::erase::<ClusterEcrAccessPolicy>(&())];
        for (kind, resource) in PolicyKind::ALL.into_iter().zip(erased) {
            let row = policies(kind);
            assert_eq!((row.kind, row.plural), (kind.as_str(), kind.plural()));
            assert_eq!(row.api_version(), API_VERSION);
            assert_eq!(
                (row.kind, row.plural, row.api_version()),
                (&*resource.kind, &*resource.plural, resource.api_version)
            );
            assert_eq!(row.namespaced, kind == PolicyKind::EcrAccessPolicy);
        }
        for kind in WorkloadKind::ALL {
            assert_eq!((workloads(kind).group, workloads(kind).kind), (kind.group(), kind.as_str()));
        }
    }
}
