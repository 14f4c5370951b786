//! What is told by Events. Pure: the status before, the status now, and what is new between them.
//!
//! A denial is told at the workload that suffers it, since that is where its team looks, with the policy as the related
//! object; the policy's own Events are about the policy. A policy that only audits is no business of the teams, so its
//! denials are told at the policy, where its author looks.

use ecr_forecast::judge::Verdict;
use ecr_forecast::policy;
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::report::{ImageReport, Report};
use k8s_openapi::api::core::v1::ObjectReference;

use super::ahead::UpcomingChange;
use super::denials::FirstDenial;
use super::status::find;
use crate::api::PolicyStatus;
use crate::api::conditions::{CHANGE_AHEAD, CONFLICTED, POLICIES_RESOLVED, READY, REASON_PULL_WOULD_FAIL};
use crate::runtime::events::{EventDraft, note as line};

/// What changed in the status of `policy` that people wait for or have to know.
///
/// `before` is the status that the API server had, `None` for the first status of an object: then only what is wrong is
/// told. Whoever leads next sees the same `before`, so nothing is told twice. `upcoming_change` is what `now` says of the time ahead.
pub fn transitions(
    policy: &PolicyObject,
    before: Option<&PolicyStatus>,
    now: &PolicyStatus,
    upcoming_change: Option<&UpcomingChange>,
) -> Vec<EventDraft> {
    let was = |kind: &str| before.and_then(|before| find(before, kind));
    let mut told = Vec::new();
    let mut tell = |warning, reason: &str, note: String| {
        let (reason, regarding) = (reason.to_owned(), reference(policy));
        told.push(EventDraft { warning, reason, action: "Reconcile", note: line(&note), regarding, related: None });
    };
    for is in &now.conditions {
        let was = was(&is.type_);
        let differs = was.is_none_or(|was| (&was.status, &was.reason) != (&is.status, &is.reason));
        let turned_good = was.is_some_and(|was| was.status != is.status);
        let good = is.status == "True";
        match is.type_.as_str() {
            READY if !good && differs => tell(true, &is.reason, format!("cannot be used as written: {}", is.message)),
            READY if good && turned_good => tell(false, &is.reason, format!("in force: {}", is.message)),
            // What is wrong with the whole object is told by the condition Ready.
            POLICIES_RESOLVED if !super::status::is_ready(now) => {}
            POLICIES_RESOLVED if !good && differs => {
                tell(true, &is.reason, format!("verdicts may be Unknown because of this: {}", is.message));
            }
            POLICIES_RESOLVED if good && turned_good && before.is_some_and(super::status::is_ready) => {
                tell(false, &is.reason, is.message.clone());
            }
            CONFLICTED if good && differs => tell(true, &is.reason, is.message.clone()),
            CONFLICTED if !good && turned_good => tell(false, &is.reason, is.message.clone()),
            // Once per instant.
            CHANGE_AHEAD if differs || before.is_none_or(|before| before.next_transition != now.next_transition) => {
                tell(upcoming_change.is_some_and(UpcomingChange::is_bad), &is.reason, is.message.clone());
            }
            _ => {}
        }
    }
    told
}

/// The first denial of a service account, repository and cause; `report` is what was found of `first.tracked`. `None` where
/// it is denied no more. `audits`: the policy takes no action, whatever it finds.
pub fn denial(policy: &PolicyObject, first: &FirstDenial, report: &Report, audits: bool) -> Option<EventDraft> {
    let denied = |image: &&ImageReport| {
        image.verdict == Verdict::Deny && image.exemption.is_none() && image.image == first.image
    };
    let image = report.images.iter().find(denied)?;
    let workload = ObjectReference {
        api_version: Some(first.about.api_version.clone()),
        kind: Some(first.about.kind.clone()),
        namespace: Some(first.tracked.subject.namespace.clone()),
        name: Some(first.about.name.clone()),
        uid: Some(first.about.uid.clone()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    };
    let policy = reference(policy);
    let (regarding, related) = if audits { (policy, workload) } else { (workload, policy) };
    Some(EventDraft {
        warning: true,
        reason: REASON_PULL_WOULD_FAIL.to_owned(),
        action: "Forecast",
        note: line(&image.message),
        regarding,
        related: Some(related),
    })
}

/// The policy as an Event refers to it.
fn reference(policy: &PolicyObject) -> ObjectReference {
    ObjectReference {
        api_version: Some(policy::API_VERSION.to_owned()),
        kind: Some(policy.key.kind.as_str().to_owned()),
        namespace: policy.key.namespace.clone(),
        name: Some(policy.key.name.clone()),
        uid: policy.uid.clone(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status with these conditions: type, status, reason and message.
    fn status(conditions: &[(&str, &str, &str, &str)]) -> PolicyStatus {
        let condition = |(kind, status, reason, message): &(&str, &str, &str, &str)| {
            let condition = json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-11-23T00:00:00Z"});
            serde_json::from_value(condition).unwrap()
        };
        PolicyStatus { conditions: conditions.iter().map(condition).collect(), ..PolicyStatus::default() }
    }

    /// What is wrong in another way than before is news, though it is as wrong as before; other words for it are none.
    #[test]
    fn another_reason_is_news_and_another_message_is_none() {
        let metadata = json!({"name": "pull", "namespace": "payments", "uid": "u"});
        let policy =
            PolicyObject::from_json(json!({"kind": "EcrAccessPolicy", "metadata": metadata, "spec": {}})).unwrap();
        for (kind, truth, warning) in [
            (READY, "False", true),
            (POLICIES_RESOLVED, "False", true),
            (CONFLICTED, "True", true),
            (CHANGE_AHEAD, "True", false),
        ] {
            let with = |reason: &str, message: &str| {
                let mut conditions = vec![(kind, truth, reason, message)];
                if kind != READY {
                    conditions.push((READY, "True", "Ready", ""));
                }
                status(&conditions)
            };
            let told = |now: &PolicyStatus| -> Vec<(bool, String)> {
                let draft = transitions(&policy, Some(&with("Before", "words")), now, None);
                draft.into_iter().map(|draft| (draft.warning, draft.reason)).collect()
            };
            assert_eq!(told(&with("After", "words")), [(warning, "After".to_owned())], "{kind}");
            assert_eq!(told(&with("Before", "other words")), [], "{kind}");
        }
    }
}
