//! The table of the kinds that are watched: a row says how a kind is asked for and what is kept of it, and is all there is
//! to add for another kind.

use ecr_forecast::cluster::WorkloadKind;
use ecr_forecast::policy::PolicyKind;

use super::memory::{self, Memory, ObjectName, Put, Touched};
use crate::api::{GROUP, VERSION};
use crate::runtime::watch::kind::{Kind, PAGE_SIZE};
use crate::runtime::watch::object::Item;

/// A kind that verdicts rest on.
#[derive(Clone, Copy, Debug)]
pub struct WatchedKind {
    /// How it is asked for: group, version, resource, scope, which of its objects, and whether it may be absent.
    pub kind: Kind,
    /// Readiness waits for the first list of it, and whoever starts over waits for the next one. Not so of what may be
    /// absent: it must never hold back the rest.
    pub awaited: bool,
    /// What an object comes to; nothing of one that counts as not there.
    pub keep: fn(Item) -> Option<Put>,
    /// Forgets the object of this name.
    pub remove: fn(&mut Memory, ObjectName) -> Touched,
}

/// Everything that a verdict depends on.
pub const KINDS: &[WatchedKind] = &[
    WatchedKind {
        kind: policies(PolicyKind::EcrAccessPolicy),
        awaited: true,
        keep: |item| memory::policy(PolicyKind::EcrAccessPolicy, item),
        remove: |memory, name| memory::remove_policy(memory, PolicyKind::EcrAccessPolicy, name),
    },
    WatchedKind {
        kind: policies(PolicyKind::ClusterEcrAccessPolicy),
        awaited: true,
        keep: |item| memory::policy(PolicyKind::ClusterEcrAccessPolicy, item),
        remove: |memory, name| memory::remove_policy(memory, PolicyKind::ClusterEcrAccessPolicy, name),
    },
    WatchedKind {
        kind: SERVICE_ACCOUNTS,
        awaited: true,
        keep: |item| memory::service_account(&item),
        remove: |memory, name| memory::remove_service_account(memory, &name),
    },
    WatchedKind {
        kind: NAMESPACES,
        awaited: true,
        keep: |item| memory::namespace(&item),
        remove: |memory, name| memory::remove_namespace(memory, &name),
    },
    WatchedKind {
        kind: CONFIG_MAPS,
        awaited: true,
        keep: |item| memory::config_map(&item),
        remove: memory::remove_config_map,
    },
];

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
    use std::collections::BTreeSet;

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
        let all: Vec<Kind> = KINDS.iter().map(|row| row.kind).chain(of_leader()).collect();
        let names: BTreeSet<&str> = all.iter().map(|kind| kind.plural).collect();
        assert_eq!(names.len(), all.len(), "metrics and progress go by this name");
        assert!(KINDS.iter().all(|row| !(row.awaited && row.kind.optional)), "what may be absent holds nothing back");
        for kind in WorkloadKind::ALL {
            assert_eq!((workloads(kind).group, workloads(kind).kind), (kind.group(), kind.as_str()));
        }
    }
}
