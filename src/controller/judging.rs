//! What the status of a policy says of watches that fail: what is known gets old, and nobody would see it. Pure.

use std::collections::BTreeMap;

use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::compiled::PolicyObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::status::{find, line, whole_seconds};
use crate::api::PolicyStatus;
use crate::api::conditions::{JUDGING, REASON_COUNTS_OUT_OF_DATE, REASON_WATCH_FAILING};
use crate::index::kinds::{self, CONFIG_MAPS, NAMESPACES};

/// The watches that have failed for a minute, by the name of the resource, each with what is wrong.
pub type Failing = BTreeMap<&'static str, String>;

/// `status` with the condition [`JUDGING`] where what the policy's verdicts rest on is not watched as it should be.
///
/// `before` is the present status, `at` is now.
pub fn with_watches(
    mut status: PolicyStatus,
    policy: &PolicyObject,
    failing: &Failing,
    before: Option<&PolicyStatus>,
    at: jiff::Timestamp,
) -> PolicyStatus {
    let counted: Vec<&str> = kinds::of_leader().map(|kind| kind.plural).collect();
    let facts = said(failing.iter().filter(|(kind, _)| !counted.contains(kind) && rests_on(policy, kind)));
    let counts = said(failing.iter().filter(|(kind, _)| counted.contains(kind)));
    let (reason, message) = match (facts, counts) {
        (Some(facts), _) => (REASON_WATCH_FAILING, format!("verdicts may rest on what is out of date: {facts}")),
        (None, Some(counts)) => {
            (REASON_COUNTS_OUT_OF_DATE, format!("pods are judged, but what is counted may be out of date: {counts}"))
        }
        (None, None) => return status,
    };
    let since = before
        .and_then(|before| find(before, JUDGING))
        .map_or_else(|| Time(whole_seconds(at)), |condition| condition.last_transition_time.clone());
    status.conditions.push(Condition {
        type_: JUDGING.to_owned(),
        status: "False".to_owned(),
        reason: reason.to_owned(),
        message: line(&message),
        observed_generation: policy.generation,
        last_transition_time: since,
    });
    status
}

/// Whether a verdict of this policy may be another one by objects of this kind.
///
/// Whom a policy is in force for depends on the others that select: a namespaced one comes before every cluster policy, so
/// that nothing of those, and no label of a namespace, matters to it.
fn rests_on(policy: &PolicyObject, kind: &str) -> bool {
    let of_cluster = policy.key.kind == PolicyKind::ClusterEcrAccessPolicy;
    if kind == CONFIG_MAPS.plural {
        return policy.references().next().is_some();
    }
    of_cluster || (kind != NAMESPACES.plural && kind != PolicyKind::ClusterEcrAccessPolicy.plural())
}

/// The first of them, and how many more there are.
fn said<'a>(mut failing: impl Iterator<Item = (&'a &'static str, &'a String)>) -> Option<String> {
    let (_, first) = failing.next()?;
    let more: Vec<&str> = failing.map(|(kind, _)| *kind).collect();
    Some(if more.is_empty() {
        format!("for more than a minute, {first}")
    } else {
        format!("for more than a minute, {first}; the same for {}", more.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(policy: fixtures::Policy) -> PolicyObject {
        PolicyObject::from_json(policy.metadata("generation", 3).or_role().object()).unwrap()
    }

    fn namespaced() -> PolicyObject {
        read(fixtures::policy("pull"))
    }

    fn status_of(
        policy: &PolicyObject,
        failing: &[&'static str],
        before: Option<&PolicyStatus>,
        at: &str,
    ) -> PolicyStatus {
        let failing = failing.iter().map(|kind| (*kind, format!("cannot watch {kind}"))).collect();
        with_watches(PolicyStatus::default(), policy, &failing, before, at.parse().unwrap())
    }

    const NOW: &str = "2026-11-23T12:00:00.75Z";

    fn reason(policy: &PolicyObject, failing: &[&'static str]) -> Option<String> {
        let status = status_of(policy, failing, None, NOW);
        find(&status, JUDGING).map(|condition| condition.reason.clone())
    }

    #[test]
    fn a_policy_is_told_of_what_its_verdicts_rest_on_and_of_nothing_else() {
        let cluster = read(fixtures::cluster_policy("pull"));
        let reference = json!({"policies": [{"name": "app", "configMapKeyRef": {"name": "iam", "key": "app.json"}}]});
        let naming = read(fixtures::policy("pull").role(reference));
        for (kind, concerned) in [
            ("serviceaccounts", [true, true, true]),
            ("ecraccesspolicies", [true, true, true]),
            ("clusterecraccesspolicies", [false, false, true]),
            ("namespaces", [false, false, true]),
            ("configmaps", [false, true, false]),
        ] {
            let found = [&namespaced(), &naming, &cluster].map(|policy| reason(policy, &[kind]));
            assert_eq!(found, concerned.map(|yes| yes.then(|| "WatchFailing".to_owned())), "{kind}");
        }
        for kind in ["pods", "cronjobs"] {
            assert_eq!(reason(&namespaced(), &[kind]).as_deref(), Some("CountsOutOfDate"));
        }
        assert_eq!(reason(&namespaced(), &[]), None);
        assert_eq!(reason(&namespaced(), &["pods", "serviceaccounts"]).as_deref(), Some("WatchFailing"));
    }

    #[test]
    fn the_condition_says_what_fails_and_since_when() {
        let first = status_of(&namespaced(), &["serviceaccounts"], None, NOW);
        let condition = find(&first, JUDGING).unwrap();
        assert_eq!((condition.status.as_str(), condition.observed_generation), ("False", Some(3)));
        let message = "verdicts may rest on what is out of date: for more than a minute, cannot watch serviceaccounts";
        assert_eq!(condition.message, message);
        let all = ["serviceaccounts", "ecraccesspolicies"];
        let later = status_of(&namespaced(), &all, Some(&first), "2026-11-23T13:00:00Z");
        let later = find(&later, JUDGING).unwrap();
        assert!(later.message.ends_with("cannot watch ecraccesspolicies; the same for serviceaccounts"), "{later:?}");
        assert_eq!(later.last_transition_time, condition.last_transition_time);
        assert_eq!(condition.last_transition_time.0, "2026-11-23T12:00:00Z".parse().unwrap());
    }
}
