//! Which ConfigMaps the verdict on a pod depends on.

use std::collections::BTreeSet;

use crate::cluster::Subject;
use crate::cluster::config_map::ConfigMapName;
use crate::inventory::Inventory;
use crate::policy::compiled::PolicyObject;
use crate::puller::{Pullers, pullers};
use crate::select::{Selection, select};

/// The ConfigMaps, there or not, with documents of whoever may pull the images of `subject`, and of what else the policy
/// object in force for it declares. Where that depends on labels that were not seen, those of every policy that may be.
///
/// A role that certainly does not pull has documents of its own, which are left out.
#[must_use]
pub fn config_maps(inventory: &Inventory, subject: &Subject) -> BTreeSet<ConfigMapName> {
    let mut names = BTreeSet::new();
    match select(inventory, &subject.namespace, &subject.service_account) {
        Selection::None => {}
        Selection::Policy { policy, .. } => gather(&policy, inventory, subject, &mut names),
        Selection::Unclear { possible, .. } => {
            possible.iter().for_each(|policy| gather(policy, inventory, subject, &mut names));
        }
    }
    names
}

fn gather(policy: &PolicyObject, inventory: &Inventory, subject: &Subject, names: &mut BTreeSet<ConfigMapName>) {
    let Ok(spec) = &policy.body else { return };
    names.extend(spec.declared.config_maps().cloned());
    let (namespace, account) = (subject.namespace.as_str(), subject.service_account.as_str());
    let facts = inventory.service_account(namespace, account).map(|facts| &**facts);
    if let Pullers::Candidates(candidates) = pullers(spec, namespace, account, facts) {
        let identities = candidates.iter().filter_map(|candidate| candidate.identity.as_deref());
        names.extend(identities.flat_map(|identity| identity.config_maps()).cloned());
    }
}
