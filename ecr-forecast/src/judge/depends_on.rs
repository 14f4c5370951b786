//! What a verdict rests on of the cluster.

use std::collections::BTreeSet;

use crate::cluster::{ObjectRef, Subject};
use crate::inventory::Inventory;
use crate::judge::judgement::Judgement;
use crate::policy::PolicyKind;
use crate::policy::compiled::PolicyObject;
use crate::puller::{Pullers, pullers};
use crate::select::{Selection, select};

/// What may turn the judgement on `subject`, made on this inventory: to be read once more before bad news is told.
///
/// A list of the namespace's policies rather than the one that decided: a fix is as often a *new* policy, more
/// specific than the one that denies, as a change of the old one, and both may have come with the pod in one
/// `kubectl apply`. A list is also one request where reading each known policy would be many, and the only way to
/// see one that was deleted or that memory has not seen. Cluster policies and the namespace's labels matter only
/// where no policy of the namespace decides, since that one always wins. Of ConfigMaps those count with documents of
/// whoever may pull, and of what else the policy in force declares; where that depends on labels that were not seen, those
/// of every policy that may be. A role that certainly does not pull has documents of its own, which are left out. What a
/// source says of a role that may pull counts where that source is an object.
#[must_use]
pub fn depends_on(inventory: &Inventory, subject: &Subject, judgement: &Judgement) -> BTreeSet<ObjectRef> {
    let (namespace, name) = (subject.namespace.clone(), subject.service_account.clone());
    let mut needed = BTreeSet::from([
        ObjectRef::Policies(Some(namespace.clone())),
        ObjectRef::ServiceAccount { namespace: namespace.clone(), name },
    ]);
    let namespaced = judgement.policy.as_ref().is_some_and(|policy| policy.key.kind == PolicyKind::EcrAccessPolicy);
    if !namespaced {
        needed.extend([ObjectRef::Namespace(namespace), ObjectRef::Policies(None)]);
    }
    needed.extend(facts(inventory, subject));
    needed
}

/// The ConfigMaps, there or not, and the objects of other sources that count.
fn facts(inventory: &Inventory, subject: &Subject) -> BTreeSet<ObjectRef> {
    let mut needed = BTreeSet::new();
    match select(inventory, &subject.namespace, &subject.service_account) {
        Selection::None => {}
        Selection::Policy { policy, .. } => gather(&policy, inventory, subject, &mut needed),
        Selection::Unclear { possible, .. } => {
            possible.iter().for_each(|policy| gather(policy, inventory, subject, &mut needed));
        }
    }
    needed
}

fn gather(policy: &PolicyObject, inventory: &Inventory, subject: &Subject, needed: &mut BTreeSet<ObjectRef>) {
    let Ok(spec) = &policy.body else { return };
    needed.extend(spec.declared.config_maps().cloned().map(ObjectRef::ConfigMap));
    let account = inventory.service_account(&subject.namespace, &subject.service_account).map(|facts| &**facts);
    if let Pullers::Candidates(candidates) = pullers(spec, subject, account, inventory.roles()) {
        let identities = candidates.iter().filter_map(|candidate| candidate.identity.as_deref());
        needed.extend(identities.flat_map(|identity| identity.config_maps()).cloned().map(ObjectRef::ConfigMap));
        let facts = candidates.iter().filter_map(|candidate| candidate.fact.as_ref());
        needed.extend(facts.filter_map(|fact| fact.source().object()).cloned());
    }
}
