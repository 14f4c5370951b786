//! Which policy object is in force for a service account.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::facts::missing::MissingFact;
use crate::inventory::Inventory;
use crate::policy::compiled::{Label, PolicyKey, PolicyObject};
use crate::policy::{Action, PolicyKind};

/// How closely a policy names a service account. Closer ranks win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// By name.
    Name,
    /// By labels.
    Selector,
    /// Not at all: the policy selects every service account.
    Everyone,
    /// Its selection could not be read.
    Unreadable,
}

/// Which policy is in force for a service account.
#[derive(Clone, Debug)]
pub enum Selection {
    /// None.
    None,
    /// This one.
    Policy {
        /// The winner.
        policy: Arc<PolicyObject>,
        /// How it selects the service account.
        rank: Rank,
        /// Policies of the same rank that lost by age alone.
        tied: Vec<PolicyKey>,
    },
    /// It depends on labels that were not seen.
    Unclear {
        /// Every policy that may be in force, strongest first.
        possible: Vec<Arc<PolicyObject>>,
        /// It may also be that none is.
        maybe_none: bool,
        /// The facts that would settle it.
        missing: Vec<MissingFact>,
    },
}

/// Whether, and how closely, a policy selects a service account. Outer none: certainly not. The flag says whether the
/// selection is certain.
///
/// `onDeny: Audit` makes no difference here; [`select`] passes such policies over.
#[must_use]
pub fn covers(policy: &PolicyObject, inventory: &Inventory, namespace: &str, name: &str) -> Option<(Rank, bool)> {
    if policy.key.namespace.as_deref().is_some_and(|own| own != namespace) {
        return None;
    }
    let in_namespace = match &policy.scope.namespaces {
        Some(selector) if policy.key.kind == PolicyKind::ClusterEcrAccessPolicy => {
            selector.matches(|key| inventory.namespace_label(namespace, key))
        }
        _ => Some(true),
    };
    let in_namespace = match in_namespace {
        Some(false) => return None,
        other => other.is_some(),
    };
    if policy.scope.unreadable {
        return Some((Rank::Unreadable, in_namespace));
    }
    if policy.scope.names.iter().any(|listed| listed == name) {
        return Some((Rank::Name, in_namespace));
    }
    if policy.scope.is_everyone() {
        return Some((Rank::Everyone, in_namespace));
    }
    let account = inventory.service_account(namespace, name);
    let label = |key: &str| account.map_or(Label::Unknown, |account| Label::of(&account.labels, key));
    match policy.scope.selector.as_ref()?.matches(label) {
        Some(true) => Some((Rank::Selector, in_namespace)),
        Some(false) => None,
        None => Some((Rank::Selector, false)),
    }
}

/// Selects the policy for a service account: a namespaced policy before a cluster one, a name before a selector before
/// neither, then the oldest, then by name. Policies with `onDeny: Audit` take no part. RES-3.
#[must_use]
pub fn select(inventory: &Inventory, namespace: &str, name: &str) -> Selection {
    let mut found: Vec<(Rank, bool, &Arc<PolicyObject>)> = inventory
        .policies_for(namespace)
        .filter(|policy| policy.on_deny != Action::Audit)
        .filter_map(|policy| covers(policy, inventory, namespace, name).map(|(rank, sure)| (rank, sure, policy)))
        .collect();
    found.sort_by(|(left_rank, _, left), (right_rank, _, right)| {
        class(*left_rank, left).cmp(&class(*right_rank, right)).then_with(|| by_age(left, right))
    });
    let winner = found.iter().position(|(_, sure, _)| *sure);
    match winner.and_then(|index| found.get(index)) {
        Some((rank, _, policy)) if winner == Some(0) => {
            let same = |other: &&(Rank, bool, &Arc<PolicyObject>)| {
                other.1 && other.2.key != policy.key && class(other.0, other.2) == class(*rank, policy)
            };
            let tied = found.iter().filter(same).map(|(_, _, other)| other.key.clone()).collect();
            Selection::Policy { policy: Arc::clone(policy), rank: *rank, tied }
        }
        None if found.is_empty() => Selection::None,
        _ => {
            let reach = winner.map_or(found.len(), |index| index + 1);
            let mut missing = Vec::new();
            if inventory.service_account(namespace, name).is_none() {
                missing.push(MissingFact::service_account(namespace, name));
            }
            if inventory.namespace(namespace).is_none() {
                missing.push(MissingFact::Namespace(namespace.to_owned()));
            }
            Selection::Unclear {
                possible: found.iter().take(reach).map(|(_, _, policy)| Arc::clone(policy)).collect(),
                maybe_none: winner.is_none(),
                missing,
            }
        }
    }
}

/// What precedes age in the order of policies. A policy whose selection could not be read comes after all others, so
/// that it harms nobody who has another one.
fn class(rank: Rank, policy: &PolicyObject) -> (bool, PolicyKind, Rank) {
    (rank == Rank::Unreadable, policy.key.kind, rank)
}

fn by_age(left: &PolicyObject, right: &PolicyObject) -> Ordering {
    // An object without a creation time counts as the youngest.
    let age = |policy: &PolicyObject| (policy.creation.is_none(), policy.creation);
    age(left).cmp(&age(right)).then_with(|| left.key.name.cmp(&right.key.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::inventory::ServiceAccountFacts;

    fn policy(name: &str, cluster: bool, created: Option<&str>, spec: Value) -> PolicyObject {
        let policy = if cluster { fixtures::cluster_policy(name) } else { fixtures::policy(name) };
        let policy = policy.metadata("creationTimestamp", created).spec(spec).or_role();
        PolicyObject::from_json(policy.object()).unwrap()
    }

    fn account(labels: Value, annotations: Value) -> ServiceAccountFacts {
        let account = fixtures::marked(fixtures::service_account("api"), labels, annotations);
        ServiceAccountFacts::from_json(&account).unwrap()
    }

    fn by_name() -> Value {
        json!({"serviceAccounts": {"names": ["api"]}})
    }

    fn by_label() -> Value {
        json!({"serviceAccounts": {"selector": {"matchLabels": {"team": "payments"}}}})
    }

    const OLD: Option<&str> = Some("2026-01-01T00:00:00Z");
    const NEW: Option<&str> = Some("2026-06-01T00:00:00Z");

    fn inventory(policies: Vec<PolicyObject>) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.put_namespace("payments".into(), [("tier".to_owned(), "gold".to_owned())].into());
        inventory.put_service_account(account(json!({"team": "payments"}), json!({})));
        for policy in policies {
            inventory.put_policy(policy);
        }
        inventory
    }

    fn winner(policies: Vec<PolicyObject>) -> String {
        match select(&inventory(policies), "payments", "api") {
            Selection::None => "none".to_owned(),
            Selection::Policy { policy, tied, .. } => format!("{} {}", policy.key.name, tied.len()),
            Selection::Unclear { .. } => "unclear".to_owned(),
        }
    }

    #[test]
    fn precedence() {
        let none = json!({});
        let cases: Vec<(&str, Vec<PolicyObject>)> = vec![
            ("none", vec![]),
            ("none", vec![policy("a", false, OLD, json!({"serviceAccounts": {"names": ["other"]}}))]),
            (
                "none",
                vec![policy("a", false, OLD, json!({"serviceAccounts": {"selector": {"matchLabels": {"team": "x"}}}}))],
            ),
            // A namespaced policy before a cluster one, whatever their ranks.
            ("ns 0", vec![policy("cluster", true, OLD, by_name()), policy("ns", false, NEW, none.clone())]),
            // A name before a selector before neither, whatever their age.
            (
                "name 0",
                vec![
                    policy("all", false, OLD, none.clone()),
                    policy("label", false, OLD, by_label()),
                    policy("name", false, NEW, by_name()),
                ],
            ),
            ("label 0", vec![policy("all", false, OLD, none.clone()), policy("label", false, NEW, by_label())]),
            // A name counts for those it names, beside a selector too.
            (
                "both 0",
                vec![
                    policy(
                        "both",
                        false,
                        NEW,
                        json!({"serviceAccounts": {"names": ["api"], "selector": {"matchLabels": {"x": "y"}}}}),
                    ),
                    policy("label", false, OLD, by_label()),
                ],
            ),
            // The oldest, then by name; an object without a creation time is the youngest. Only this is a tie.
            ("old 1", vec![policy("new", false, NEW, by_name()), policy("old", false, OLD, by_name())]),
            ("a 1", vec![policy("b", false, OLD, by_name()), policy("a", false, OLD, by_name())]),
            ("z 1", vec![policy("a", false, None, by_name()), policy("z", false, NEW, by_name())]),
            // A trial run takes no part, nor does it tie.
            (
                "real 0",
                vec![
                    policy("trial", false, OLD, json!({"serviceAccounts": {"names": ["api"]}, "onDeny": "Audit"})),
                    policy("real", false, NEW, none.clone()),
                ],
            ),
            ("none", vec![policy("trial", false, OLD, json!({"onDeny": "Audit"}))]),
            // Namespaces of cluster policies.
            (
                "gold 0",
                vec![
                    policy("gold", true, OLD, json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}})),
                    policy("lead", true, OLD, json!({"namespaceSelector": {"matchLabels": {"tier": "lead"}}})),
                ],
            ),
            // A policy whose selection cannot be read harms nobody who has another one.
            (
                "cluster 0",
                vec![
                    policy("broken", false, OLD, json!({"serviceAccounts": 7})),
                    policy("cluster", true, NEW, none.clone()),
                ],
            ),
            ("broken 0", vec![policy("broken", false, OLD, json!({"serviceAccounts": 7}))]),
        ];
        for (index, (expected, policies)) in cases.into_iter().enumerate() {
            let mut reversed = policies.clone();
            reversed.reverse();
            assert_eq!(winner(policies), expected, "case {index}");
            assert_eq!(winner(reversed), expected, "case {index}, reversed");
        }
    }

    #[test]
    fn labels_that_were_not_seen_leave_selection_open_only_where_they_matter() {
        let mut inventory = Inventory::default();
        inventory.put_policy(policy("label", false, OLD, by_label()));
        let Selection::Unclear { possible, maybe_none, missing } = select(&inventory, "payments", "api") else {
            panic!("clear")
        };
        assert_eq!((possible.len(), maybe_none), (1, true));
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(missing, ["serviceAccount:payments/api", "namespace:payments"]);
        inventory.put_policy(policy("all", false, OLD, json!({})));
        let Selection::Unclear { possible, maybe_none, .. } = select(&inventory, "payments", "api") else {
            panic!("clear")
        };
        assert_eq!((possible.len(), maybe_none), (2, false));
        inventory.put_policy(policy("name", false, OLD, by_name()));
        assert!(matches!(select(&inventory, "payments", "api"), Selection::Policy { .. }));

        let mut inventory = Inventory::default();
        inventory.put_policy(policy(
            "gold",
            true,
            OLD,
            json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}}),
        ));
        assert!(matches!(select(&inventory, "payments", "api"), Selection::Unclear { .. }));
        let by_label = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "payments"}}});
        let mut inventory = Inventory::default();
        inventory.put_policy(policy("named", true, OLD, by_label));
        assert!(matches!(select(&inventory, "payments", "api"), Selection::Policy { .. }));
        assert!(matches!(select(&inventory, "other", "api"), Selection::None));
    }
}
