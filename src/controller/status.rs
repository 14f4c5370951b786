//! What the status of a policy should say. Pure: the same policy, the same pods, the same words.

use ecr_forecast::ecr::managed;
use ecr_forecast::policy::Action;
use ecr_forecast::policy::compiled::{CompiledSpec, PolicyWithDocuments, Problem};
use ecr_forecast::text::{Unit, cut, escaped};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::scan::{PolicyCounts, Tie};
use crate::api::PolicyStatus;
use crate::api::conditions::{
    CHANGE_AHEAD, CONFLICTED, IDENTITY_WITHOUT_ROLE, POLICIES_RESOLVED, READY, REASON_CONFIG_MAP_NOT_FOUND,
    REASON_INVALID_DOCUMENT, REASON_NO_CONFLICT, REASON_NODE_PULLS, REASON_POLICY_NOT_FOUND, REASON_READY,
    REASON_RESOLVED, REASON_SAME_RANK, REASON_UNSUPPORTED_SPEC, REASON_VERDICT_WILL_CHANGE, STALLED,
};

/// Problems that a message spells out; more are counted. A message is read by people, and in a terminal.
const MAX_PROBLEMS: usize = 3;

/// Bytes of a message at most; the API server accepts 32,768 ("Condition", meta/v1).
const MAX_MESSAGE: usize = 4096;

/// The status of `policy`, given what `counts` found in the cluster.
///
/// `before` is the present status: a condition that keeps its status keeps its `lastTransitionTime`, and as long as the
/// pods or the workloads are not known, what is found by them stays as it is. `at` is now.
pub fn desired_status(
    policy: &PolicyWithDocuments,
    counts: &PolicyCounts,
    before: Option<&PolicyStatus>,
    at: jiff::Timestamp,
) -> PolicyStatus {
    let generation = policy.object.generation;
    let (problems, unresolved) = (policy.problems(), policy.unresolved());
    let ready = ready(policy, &problems, &unresolved, counts);
    let condition = |kind: &str, found: Finding| {
        let since = before
            .and_then(|before| find(before, kind))
            .filter(|condition| condition.status == found.status)
            .map_or_else(|| Time(whole_seconds(at)), |condition| condition.last_transition_time.clone());
        Condition {
            type_: kind.to_owned(),
            status: found.status.to_owned(),
            reason: found.reason.to_owned(),
            message: line(&found.message),
            observed_generation: generation,
            last_transition_time: since,
        }
    };
    let mut status = PolicyStatus {
        observed_generation: generation,
        conditions: vec![
            condition(READY, ready.clone()),
            condition(POLICIES_RESOLVED, resolved(policy, &problems, &unresolved)),
            condition(CONFLICTED, conflicted(&counts.ties)),
        ],
        service_accounts: counts.service_accounts,
        exemptions: counts.exemptions.clone(),
        ..PolicyStatus::default()
    };
    status
        .conditions
        .extend(counts.without_role.as_ref().map(|found| condition(IDENTITY_WITHOUT_ROLE, without_role(found))));
    // Time alone does not make it ready: whoever waits need not wait.
    if !is_ready(&status) {
        status.conditions.push(condition(STALLED, Finding { status: "True", ..ready }));
    }
    let nothing = PolicyStatus::default();
    let kept = before.unwrap_or(&nothing);
    status.pods = if counts.pods_known { counts.pods } else { kept.pods };
    status.workloads = if counts.workloads_known { counts.workloads } else { kept.workloads };
    if counts.is_complete() {
        status.denials.clone_from(&counts.denials);
        status.denials_omitted = counts.denials_omitted;
        status.advice.clone_from(&counts.advice);
        status.advice_omitted = counts.advice_omitted;
        status.next_transition = counts.upcoming_change.as_ref().map(|upcoming_change| upcoming_change.at);
        status.conditions.extend(ahead(counts).map(|found| condition(CHANGE_AHEAD, found)));
    } else {
        status.denials.clone_from(&kept.denials);
        status.denials_omitted = kept.denials_omitted;
        status.advice.clone_from(&kept.advice);
        status.advice_omitted = kept.advice_omitted;
        status.next_transition = kept.next_transition;
        status.conditions.extend(find(kept, CHANGE_AHEAD).cloned());
    }
    for exemption in status.exemptions.iter_mut().filter(|_| !counts.pods_known) {
        let known = kept.exemptions.iter().find(|known| known.name == exemption.name);
        exemption.pods = known.map_or(0, |known| known.pods);
    }
    // A document of an author may have texts of any length, and must not be able to make the status invalid by them.
    status.within_limits()
}

/// Is the condition `Ready` of this status `True`?
pub fn is_ready(status: &PolicyStatus) -> bool {
    find(status, READY).is_some_and(|condition| condition.status == "True")
}

/// The condition of this type.
pub fn find<'a>(status: &'a PolicyStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// What a condition says.
#[derive(Clone)]
struct Finding {
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn ready(policy: &PolicyWithDocuments, problems: &[Problem], unresolved: &[Problem], counts: &PolicyCounts) -> Finding {
    match policy.spec() {
        Err(error) => {
            let problems = if problems.is_empty() { error.to_owned() } else { list(problems) };
            Finding { status: "False", reason: REASON_UNSUPPORTED_SPEC, message: problems }
        }
        Ok(_) if !problems.is_empty() => {
            Finding { status: "False", reason: REASON_INVALID_DOCUMENT, message: list(problems) }
        }
        Ok(spec) => {
            let message = in_force(policy, spec, unresolved.len(), counts);
            Finding { status: "True", reason: REASON_READY, message }
        }
    }
}

fn in_force(policy: &PolicyWithDocuments, spec: &CompiledSpec, unresolved: usize, counts: &PolicyCounts) -> String {
    let declared = spec.documents().count();
    let policies = match declared.saturating_sub(unresolved) {
        _ if spec.identities().next().is_none() => "no IAM policy is declared, so verdicts are Unknown".to_owned(),
        count if count == declared => format!("{} resolved", plural(count, "IAM policy", "IAM policies")),
        count => format!("{count} of {} resolved", plural(declared, "IAM policy", "IAM policies")),
    };
    let accounts = match usize::try_from(counts.service_accounts).unwrap_or_default() {
        0 => "no service account selected".to_owned(),
        count => format!("{} selected", plural(count, "service account", "service accounts")),
    };
    // An auditing policy is tried beside the one that is in force: it selects, but it does not decide.
    let audit = if policy.object.on_deny == Action::Audit { "; audit only" } else { "" };
    format!("{policies}; {accounts}{}{audit}", absent(&counts.absent_names))
}

fn absent(names: &[String]) -> String {
    let mut shown: Vec<&str> = names.iter().take(MAX_PROBLEMS).map(String::as_str).collect();
    let more = match names.len().saturating_sub(MAX_PROBLEMS) {
        0 => String::new(),
        more => format!("{more} more"),
    };
    if shown.is_empty() {
        return String::new();
    }
    if !more.is_empty() {
        shown.push(&more);
    }
    format!("; not there yet: {}", shown.join(", "))
}

fn resolved(policy: &PolicyWithDocuments, problems: &[Problem], unresolved: &[Problem]) -> Finding {
    match policy.spec() {
        Err(_) => Finding {
            status: "False",
            reason: REASON_UNSUPPORTED_SPEC,
            message: "the spec cannot be read, see the condition Ready".to_owned(),
        },
        Ok(_) if !problems.is_empty() => {
            Finding { status: "False", reason: REASON_INVALID_DOCUMENT, message: list(problems) }
        }
        Ok(_) if !unresolved.is_empty() => {
            let of_config_map = unresolved.iter().any(|problem| problem.is_missing_config_map);
            let reason = if of_config_map { REASON_CONFIG_MAP_NOT_FOUND } else { REASON_POLICY_NOT_FOUND };
            Finding { status: "False", reason, message: list(unresolved) }
        }
        Ok(_) => Finding {
            status: "True",
            reason: REASON_RESOLVED,
            message: format!("every IAM policy that the spec names was read; known are {}", managed::summary()),
        },
    }
}

fn without_role((count, first): &(i64, String)) -> Finding {
    let accounts = plural(usize::try_from(*count).unwrap_or_default(), "service account", "service accounts");
    Finding {
        status: "True",
        reason: REASON_NODE_PULLS,
        message: format!(
            "{accounts} without a role ({first}{}): the node pulls for them, and serviceAccount.identity does not count; \
             annotate them with their role, or declare fallbackNodes",
            if *count > 1 { ", …" } else { "" }
        ),
    }
}

fn conflicted(ties: &[Tie]) -> Finding {
    let Some(first) = ties.first() else {
        return Finding {
            status: "False",
            reason: REASON_NO_CONFLICT,
            message: "no other policy of the same rank selects the same service accounts".to_owned(),
        };
    };
    let accounts: std::collections::BTreeSet<_> = ties.iter().map(|tie| &tie.account).collect();
    let others: std::collections::BTreeSet<_> = ties.iter().map(|tie| &tie.other).collect();
    let more_accounts = match accounts.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let more_others = match others.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {} as well", plural(more, "other policy", "other policies")),
    };
    let winner = if first.won { "this policy" } else { "that one" };
    Finding {
        status: "True",
        reason: REASON_SAME_RANK,
        message: format!(
            "{} selects service account {}{more_accounts} with the same rank{more_others}; {winner} is older and in \
             force there; select accounts by name, or by selectors that do not overlap",
            first.other, first.account
        ),
    }
}

/// Not there while nothing changes: most policies have no condition on the date, and need not be told so.
fn ahead(counts: &PolicyCounts) -> Option<Finding> {
    let message = counts.upcoming_change.as_ref()?.tell()?;
    Some(Finding { status: "True", reason: REASON_VERDICT_WILL_CHANGE, message })
}

/// Problems as one line, each with its path.
fn list(problems: &[Problem]) -> String {
    let mut parts: Vec<String> = problems.iter().take(MAX_PROBLEMS).map(said).collect();
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join("; ")
}

/// Paths without `$.`: the field as `kubectl explain` names it, after the object where that is another one.
fn said(problem: &Problem) -> String {
    let object = problem.object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
    format!("{object}{}: {}", problem.path.strip_prefix("$.").unwrap_or(&problem.path), problem.message)
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// One line within the limit: the texts of an author are quoted in it.
pub(super) fn line(message: &str) -> String {
    cut(&escaped(message), MAX_MESSAGE, Unit::Bytes).into_owned()
}

/// `metav1.Time` has no fractions of a second.
pub(super) fn whole_seconds(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use fixtures::ROLE;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{AdviceEntry, Denial, VerdictCounts};
    use crate::controller::ahead::{Group, UpcomingChange};
    use crate::controller::expected_outcome::ExpectedOutcome;
    use ecr_forecast::judge::Verdict;
    use ecr_forecast::policy::PolicyKind;
    use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject};

    fn policy(spec: Value) -> PolicyWithDocuments {
        let object = fixtures::policy("pull").metadata("generation", 3).spec(spec).object();
        PolicyWithDocuments::alone(PolicyObject::from_json(object).unwrap())
    }

    fn document(effect: &str) -> Value {
        fixtures::document(json!([fixtures::statement(effect, "ecr:*", "*")]))
    }

    /// A policy with these entries as the service account's identity.
    fn with(policies: Value) -> PolicyWithDocuments {
        policy(json!({"puller": {"serviceAccount": {"identity": {"policies": policies}}}}))
    }

    /// A policy that has nothing wrong with it.
    fn fine() -> PolicyWithDocuments {
        with(json!([{"name": "a", "document": document("Allow")}]))
    }

    fn at(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-23T12:00:00.75Z";

    fn desired(policy: &PolicyWithDocuments, counts: &PolicyCounts) -> PolicyStatus {
        desired_status(policy, counts, None, at(NOW))
    }

    fn found<'a>(status: &'a PolicyStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
        let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        assert_eq!(condition.observed_generation, Some(3));
        (&condition.status, &condition.reason, &condition.message)
    }

    const PULL_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly";
    const NO_SUCH: &str = "arn:aws:iam::aws:policy/NoSuchPolicy";

    #[test]
    fn a_policy_in_force_tells_what_was_read_and_whom_it_selects() {
        let two = json!([{"name": "a", "document": document("Allow")}, {"name": "b", "managedPolicyArn": PULL_ONLY}]);
        let role = json!({"puller": {"role": {"arn": ROLE}}});
        let audit = json!({"onDeny": "Audit", "puller": {"role": {"arn": ROLE, "identity": fixtures::identity("a", fixtures::everything())}}});
        let unresolved =
            json!([{"name": "a", "document": document("Allow")}, {"name": "b", "managedPolicyArn": NO_SUCH}]);
        let absent = || ["a", "b", "c", "d", "e"].map(str::to_owned);
        let everywhere = json!({
            "puller": {"nodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity": {
                "policies": [{"name": "a", "document": document("Allow")}],
                "permissionsBoundary": {"managedPolicyArn": NO_SUCH}}}]},
            "repositories": [{"match": "*", "policy": {"document": document("Allow")}}, {"match": "*", "policy": "Unknown"}],
            "registries": [{"accountId": "111122223333", "policy": {"document": document("Deny")}}],
            "organization": {
                "serviceControlPolicies": [{"level": "root", "policies": [{"name": "a", "document": document("Allow")}]}],
                "resourceControlPolicies": [{"level": "root", "policies": [{"name": "a", "document": document("Deny")}]}]}});
        let table = [
            (with(two.clone()), 3, vec![], "2 IAM policies resolved; 3 service accounts selected"),
            (
                with(json!([{"name": "a", "document": document("Deny")}])),
                1,
                vec![],
                "1 IAM policy resolved; 1 service account selected",
            ),
            (with(two.clone()), 0, vec![], "2 IAM policies resolved; no service account selected"),
            (
                with(two.clone()),
                1,
                absent()[..1].to_vec(),
                "2 IAM policies resolved; 1 service account selected; not there yet: a",
            ),
            (
                with(two),
                1,
                absent().to_vec(),
                "2 IAM policies resolved; 1 service account selected; not there yet: a, b, c, 2 more",
            ),
            (with(unresolved), 1, vec![], "1 of 2 IAM policies resolved; 1 service account selected"),
            (
                policy(role),
                2,
                vec![],
                "no IAM policy is declared, so verdicts are Unknown; 2 service accounts selected",
            ),
            (policy(audit), 2, vec![], "1 IAM policy resolved; 2 service accounts selected; audit only"),
            (policy(everywhere), 2, vec![], "5 of 6 IAM policies resolved; 2 service accounts selected"),
        ];
        for (policy, service_accounts, absent_names, message) in table {
            let status = desired(&policy, &PolicyCounts { service_accounts, absent_names, ..PolicyCounts::default() });
            assert_eq!(found(&status, READY), ("True", "Ready", message));
            assert!(is_ready(&status));
            assert!(status.conditions.iter().all(|condition| condition.type_ != STALLED));
            assert_eq!(status.service_accounts, service_accounts);
            assert_eq!(status.observed_generation, Some(3));
        }
    }

    #[test]
    fn service_accounts_without_a_role_are_told_of() {
        let policy = fine();
        let counts = |without_role| PolicyCounts { service_accounts: 3, without_role, ..PolicyCounts::default() };
        let status = desired(&policy, &counts(Some((2, "payments/api".to_owned()))));
        let (is, reason, message) = found(&status, IDENTITY_WITHOUT_ROLE);
        assert_eq!((is, reason), ("True", "NodePulls"));
        assert!(
            message.starts_with("2 service accounts without a role (payments/api, …): the node pulls"),
            "{message}"
        );
        assert!(is_ready(&status), "the policy is in force for the others");
        assert!(find(&desired(&policy, &counts(None)), IDENTITY_WITHOUT_ROLE).is_none());
    }

    #[test]
    fn a_malformed_document_is_named_by_its_path() {
        let status = desired(&with(json!([{"name": "a", "document": document("Permit")}])), &PolicyCounts::default());
        let (ready, reason, message) = found(&status, READY);
        assert_eq!((ready, reason), ("False", "InvalidDocument"));
        let path = "spec.puller.serviceAccount.identity.policies[0].document.Statement[0].Effect: ";
        assert!(message.starts_with(path), "{message}");
        assert!(message.contains("Allow"), "{message}");
        assert_eq!(found(&status, POLICIES_RESOLVED), ("False", "InvalidDocument", message));
        assert_eq!(found(&status, STALLED), ("True", "InvalidDocument", message), "nobody need wait for it");
        assert!(!is_ready(&status));
    }

    #[test]
    fn only_the_first_problems_are_spelt_out() {
        let entries: Vec<_> =
            (0..6).map(|index| json!({"name": format!("p{index}"), "document": document("Permit")})).collect();
        let status = desired(&with(json!(entries)), &PolicyCounts::default());
        let (.., message) = found(&status, READY);
        assert!(message.contains("policies[2]") && !message.contains("policies[3]"), "{message}");
        assert!(message.ends_with("; 3 more"), "{message}");
    }

    #[test]
    fn a_spec_that_this_version_does_not_know_says_where() {
        let table = [
            (json!({"puller": {"nodes": []}}), "spec.puller.nodes: "),
            (json!({"puller": {"role": {"arn": 7}}}), "spec.puller.role.arn: "),
            (json!({"puller": {"role": {"arn": ROLE}}, "colour": "red"}), "spec.colour: "),
        ];
        for (spec, path) in table {
            let status = desired(&policy(spec), &PolicyCounts::default());
            let (ready, reason, message) = found(&status, READY);
            assert_eq!((ready, reason), ("False", "UnsupportedSpec"));
            assert!(message.starts_with(path), "{message}");
            assert_eq!(found(&status, POLICIES_RESOLVED).0, "False");
        }
    }

    #[test]
    fn a_managed_policy_that_is_not_built_in_leaves_the_policy_in_force() {
        let status = desired(&with(json!([{"name": "a", "managedPolicyArn": NO_SUCH}])), &PolicyCounts::default());
        let (resolved, reason, message) = found(&status, POLICIES_RESOLVED);
        assert_eq!((resolved, reason), ("False", "PolicyNotFound"));
        assert!(message.contains(NO_SUCH) && message.starts_with("spec.puller."), "{message}");
        assert!(is_ready(&status));
    }

    #[test]
    fn a_config_map_that_is_not_there_or_malformed_is_told_with_the_way_out() {
        use ecr_forecast::inventory::Inventory;
        use ecr_forecast::policy::compiled::ConfigMapFacts;
        let reference = |key: &str| json!({"name": key, "configMapKeyRef": {"name": "iam", "key": key}});
        let subject = with(json!([{"name": "a", "managedPolicyArn": NO_SUCH}, reference("app.json"), reference("b")]));
        let key = subject.object.key.clone();
        let status = desired(&subject, &PolicyCounts { service_accounts: 1, ..PolicyCounts::default() });
        let (resolved, reason, message) = found(&status, POLICIES_RESOLVED);
        assert_eq!((resolved, reason), ("False", "ConfigMapNotFound"));
        let path =
            "spec.puller.serviceAccount.identity.policies[1].configMapKeyRef: there is no ConfigMap payments/iam";
        assert!(message.contains(path), "{message}");
        assert!(
            message.contains("kubectl label configmap -n payments iam ecraccess.dev/policy-document=true"),
            "{message}"
        );
        let (ready, _, message) = found(&status, READY);
        assert_eq!((ready, message), ("True", "0 of 3 IAM policies resolved; 1 service account selected"));

        let mut inventory = Inventory::default();
        inventory.put_policy(PolicyObject::clone(&subject.object));
        let data = json!({"app.json": "{", "b": document("Allow").to_string()});
        let object = fixtures::config_map("iam", data);
        inventory.put_config_map(ConfigMapFacts::from_json(&object).unwrap().unwrap());
        let subject = inventory.with_documents(inventory.policy(&key).unwrap());
        let status = desired(&subject, &PolicyCounts::default());
        for kind in [READY, POLICIES_RESOLVED] {
            let (holds, reason, message) = found(&status, kind);
            assert_eq!((holds, reason), ("False", "InvalidDocument"));
            assert!(message.starts_with("ConfigMap/payments/iam: data[\"app.json\"]: not JSON"), "{message}");
        }
    }

    fn tie(account: &str, other: &str, won: bool) -> Tie {
        let other = PolicyKey {
            kind: PolicyKind::EcrAccessPolicy,
            namespace: Some("payments".to_owned()),
            name: other.to_owned(),
        };
        Tie { account: format!("payments/{account}"), other, won }
    }

    #[test]
    fn a_tie_is_told_to_both_sides() {
        let subject = fine();
        let conflict = |ties| {
            let status = desired(&subject, &PolicyCounts { ties, ..PolicyCounts::default() });
            let (status, reason, message) = found(&status, CONFLICTED);
            (status.to_owned(), reason.to_owned(), message.to_owned())
        };
        let (status, reason, _) = conflict(vec![]);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NoConflict"));
        let (status, reason, message) = conflict(vec![tie("api", "other", true)]);
        assert_eq!((status.as_str(), reason.as_str()), ("True", "SameRank"));
        assert_eq!(
            message,
            "EcrAccessPolicy/payments/other selects service account payments/api with the same rank; this policy is older \
             and in force there; select accounts by name, or by selectors that do not overlap"
        );
        let (_, _, message) = conflict(vec![tie("api", "other", false)]);
        assert!(message.contains("; that one is older and in force there; "), "{message}");
        let (_, _, message) =
            conflict(vec![tie("api", "other", false), tie("api", "third", false), tie("worker", "other", false)]);
        assert!(
            message.contains("payments/api and 1 more with the same rank and 1 other policy as well; "),
            "{message}"
        );
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let fine = fine();
        let broken = with(json!([{"name": "a", "document": document("Permit")}]));
        let time = |status: &PolicyStatus, kind: &str| {
            status.conditions.iter().find(|condition| condition.type_ == kind).unwrap().last_transition_time.0
        };
        let first = desired_status(&fine, &PolicyCounts::default(), None, at(NOW));
        assert_eq!(time(&first, READY), at("2026-11-23T12:00:00Z"), "whole seconds");
        let later = at("2026-11-23T13:00:00Z");
        let more = PolicyCounts { service_accounts: 5, ..PolicyCounts::default() };
        let second = desired_status(&fine, &more, Some(&first), later);
        assert_ne!(found(&second, READY).2, found(&first, READY).2);
        assert_eq!(time(&second, READY), time(&first, READY), "another message, the same status");
        let third = desired_status(&broken, &more, Some(&second), later);
        assert_eq!(time(&third, READY), later);
        assert_eq!(time(&third, CONFLICTED), time(&first, CONFLICTED));
    }

    #[test]
    fn counts_stay_as_they_are_until_the_pods_are_known() {
        let fine = fine();
        let denial = Denial { name: "api-0".to_owned(), ..Denial::default() };
        let before = PolicyStatus {
            pods: VerdictCounts { allowed: 41, denied: 1, unknown: 2 },
            workloads: VerdictCounts { allowed: 3, ..VerdictCounts::default() },
            denials: vec![denial.clone()],
            denials_omitted: 7,
            ..PolicyStatus::default()
        };
        let unknown = desired_status(&fine, &PolicyCounts::default(), Some(&before), at(NOW));
        assert_eq!((unknown.pods, unknown.workloads, unknown.denials_omitted), (before.pods, before.workloads, 7));
        assert_eq!(unknown.denials, before.denials);
        // The pods are known, the workloads are not yet: who owns a pod is not known either.
        let pods = PolicyCounts { pods_known: true, ..PolicyCounts::default() };
        let half = desired_status(&fine, &pods, Some(&before), at(NOW));
        assert_eq!((half.pods, half.workloads), (VerdictCounts::default(), before.workloads));
        assert_eq!((half.denials, half.denials_omitted), (before.denials.clone(), 7));
        let none = PolicyCounts { pods_known: true, workloads_known: true, ..PolicyCounts::default() };
        let known = desired_status(&fine, &none, Some(&before), at(NOW));
        assert_eq!((known.pods, known.denials_omitted), (VerdictCounts::default(), 0));
        assert!(known.denials.is_empty());
        let counted = PolicyCounts {
            pods_known: true,
            workloads_known: true,
            pods: VerdictCounts { denied: 1, ..VerdictCounts::default() },
            denials: vec![denial.clone()],
            denials_omitted: 2,
            ..PolicyCounts::default()
        };
        let known = desired_status(&fine, &counted, None, at(NOW));
        assert_eq!((known.pods.denied, known.denials, known.denials_omitted), (1, vec![denial], 2));
    }

    #[test]
    fn a_change_ahead_is_told_while_there_is_one_and_is_kept_while_nothing_is_known() {
        let fine = fine();
        let group = Group {
            from: ExpectedOutcome { verdict: Verdict::Allow, exempted: false },
            to: ExpectedOutcome { verdict: Verdict::Deny, exempted: false },
            workloads: 1,
            pods: 3,
            first: ("Deployment".to_owned(), "payments/api".to_owned()),
        };
        let upcoming_change = UpcomingChange { at: at("2026-11-24T00:00:00Z"), groups: vec![group] };
        let known = PolicyCounts { pods_known: true, workloads_known: true, ..PolicyCounts::default() };
        let ahead = desired(&fine, &PolicyCounts { upcoming_change: Some(upcoming_change.clone()), ..known.clone() });
        assert_eq!(ahead.next_transition, Some(upcoming_change.at));
        assert_eq!(
            found(&ahead, CHANGE_AHEAD),
            (
                "True",
                "VerdictWillChange",
                "at 2026-11-24T00:00:00Z, because an IAM policy has a condition on the date: 1 workload and 3 pods turn \
                 from Allow to Deny (first Deployment payments/api)"
            )
        );
        let unknown = desired_status(&fine, &PolicyCounts::default(), Some(&ahead), at(NOW));
        assert_eq!(
            (unknown.next_transition, find(&unknown, CHANGE_AHEAD)),
            (Some(upcoming_change.at), find(&ahead, CHANGE_AHEAD))
        );
        // Far away: the instant alone.
        let far = PolicyCounts {
            upcoming_change: Some(UpcomingChange { groups: vec![], ..upcoming_change.clone() }),
            ..known.clone()
        };
        let far = desired_status(&fine, &far, Some(&ahead), at(NOW));
        assert_eq!((far.next_transition, find(&far, CHANGE_AHEAD)), (Some(upcoming_change.at), None));
        let over = desired_status(&fine, &known, Some(&ahead), at(NOW));
        assert_eq!((over.next_transition, over.conditions.len()), (None, 3));
    }

    #[test]
    fn advice_stays_as_it_is_until_the_pods_are_known_and_touches_no_condition() {
        let fine = fine();
        let advice = |message: &str| vec![AdviceEntry { message: message.to_owned(), ..AdviceEntry::default() }];
        let before = PolicyStatus { advice: advice("old"), advice_omitted: 7, ..PolicyStatus::default() };
        let unknown = desired_status(&fine, &PolicyCounts::default(), Some(&before), at(NOW));
        assert_eq!((&unknown.advice, unknown.advice_omitted), (&before.advice, 7));
        let none = PolicyCounts { pods_known: true, workloads_known: true, ..PolicyCounts::default() };
        let quiet = desired_status(&fine, &none, Some(&before), at(NOW));
        assert_eq!((quiet.advice.len(), quiet.advice_omitted), (0, 0));
        let some = PolicyCounts { advice: advice(&"é".repeat(5000)), advice_omitted: 2, ..none };
        let told = desired_status(&fine, &some, Some(&before), at(NOW));
        assert_eq!((told.advice.len(), told.advice_omitted), (1, 2));
        assert!(told.advice[0].message.ends_with("é…"), "cut");
        assert!(is_ready(&told));
        assert_eq!((&told.conditions, told.pods), (&quiet.conditions, quiet.pods));
    }

    #[test]
    fn messages_stay_within_what_the_api_server_accepts() {
        let long = "ü".repeat(40_000);
        assert!(line(&long).len() <= MAX_MESSAGE);
        assert_eq!(line("short"), "short");
    }

    #[test]
    fn what_an_author_wrote_changes_nothing_around_it() {
        use ecr_forecast::text::HARMFUL;
        let status = desired_status(
            &with(json!([{"name": "a", "document": document(&format!("x\n{HARMFUL}y"))}])),
            &PolicyCounts::default(),
            None,
            at(NOW),
        );
        let ready = find(&status, READY).unwrap();
        assert!(ready.message.contains("x\\n"), "it is quoted: {}", ready.message);
        for condition in &status.conditions {
            assert_eq!(escaped(&condition.message), condition.message, "{condition:?}");
        }
    }
}
