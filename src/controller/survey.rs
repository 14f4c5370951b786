//! One look at the whole cluster: every service account and every pod, each once, counted for the policy that it
//! belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::status::{MAX_ADVICE, MAX_DENIALS};
use crate::api::{Action, AdviceEntry, Denial, ExemptionStatus, VerdictCounts};
use crate::forecast::{self, Advice, ImageReport, Report, Subject, Uses, Verdict};
use crate::index::pods::PodName;
use crate::inventory::{Exemption, Inventory, PolicyKey, PolicyObject};
use crate::puller::{self, Selection};

/// What was found, by policy.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    tallies: BTreeMap<PolicyKey, Tally>,
}

/// What was found for one policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// `metadata.uid` of the policy that was looked at.
    pub uid: Option<String>,
    /// `metadata.generation` of it.
    pub generation: Option<i64>,
    /// For how many service accounts the policy is in force (an auditing one: would be).
    pub service_accounts: i64,
    /// Names in `serviceAccounts.names` that no service account of the policy's namespace has. Not an error: the account
    /// may come later; but often it is a misspelt name.
    pub absent_names: Vec<String>,
    /// Service accounts that another policy of the same rank selects too, ordered by account.
    pub ties: Vec<Tie>,
    /// The pods were counted. Without it the fields below say nothing.
    pub pods_known: bool,
    /// Pods by verdict.
    pub pods: VerdictCounts,
    /// The first denials in their order, at most [`MAX_DENIALS`].
    pub denials: BTreeSet<Denial>,
    /// Denials behind those.
    pub denials_omitted: i64,
    /// What is worth changing in the policy, lints before grants, at most [`MAX_ADVICE`]. It changes nothing else here.
    pub advice: Vec<AdviceEntry>,
    /// Advice behind those.
    pub advice_omitted: i64,
    /// The policy's exemptions by name. Which of them are active is known without the pods.
    pub exemptions: Vec<ExemptionStatus>,
}

/// Another policy that selects the same service account with the same rank.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tie {
    /// Namespace and name, as `ns/name`.
    pub account: String,
    /// The other policy.
    pub other: PolicyKey,
    /// This policy is the older one, which is in force.
    pub won: bool,
}

impl Survey {
    /// What was found for this policy; `None` where the look was at another version of its spec, or at none.
    pub fn tally(&self, policy: &PolicyObject) -> Option<&Tally> {
        self.tallies.get(&policy.key).filter(|tally| tally.uid == policy.uid && tally.generation == policy.generation)
    }

    /// Every policy's.
    pub fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.values()
    }
}

/// Looks at everything in `inventory` and at `pods`; `None` while the pods are not known.
pub fn survey(
    inventory: &Inventory,
    pods: Option<&BTreeMap<PodName, Arc<Subject>>>,
    at: jiff::Timestamp,
    options: &forecast::Options,
) -> Survey {
    let mut survey = Survey::default();
    // Reports name policies by their text.
    let mut by_name = BTreeMap::new();
    for policy in inventory.policies() {
        let tally = Tally {
            uid: policy.uid.clone(),
            generation: policy.generation,
            pods_known: pods.is_some(),
            exemptions: exemptions(policy, at),
            ..Tally::default()
        };
        by_name.insert(policy.key.to_string(), policy.key.clone());
        survey.tallies.insert(policy.key.clone(), tally);
    }
    count_accounts(&mut survey, inventory, options);
    let Some(pods) = pods else { return survey };
    // Pulls are gathered by policy, so that advice is worked out once, and for each repository once.
    let mut uses: BTreeMap<&PolicyKey, Uses> =
        inventory.policies().map(|policy| (&policy.key, Uses::of(policy))).collect();
    for subject in pods.values() {
        if never_judged(&subject.namespace, options) || subject.mirror {
            continue;
        }
        let report = forecast::forecast(inventory, subject, at, options);
        if let Some(key) = report.policy.as_ref().and_then(|name| by_name.get(name)) {
            if let Some(tally) = survey.tallies.get_mut(key) {
                tally.count(subject, &report);
            }
            uses.get_mut(key).into_iter().for_each(|uses| uses.add(inventory, subject));
        }
        for policy in audits(inventory, &subject.namespace, &subject.service_account) {
            let report = forecast::forecast_under(policy, inventory, subject, at, options);
            if let Some(tally) = survey.tallies.get_mut(&policy.key) {
                tally.count(subject, &report);
            }
            uses.get_mut(&policy.key).into_iter().for_each(|uses| uses.add(inventory, subject));
        }
    }
    for policy in inventory.policies() {
        if let (Some(uses), Some(tally)) = (uses.get(&policy.key), survey.tallies.get_mut(&policy.key)) {
            let lints = forecast::lints_of(policy).into_iter();
            lints.chain(uses.grants(&options.requires)).for_each(|advice| tally.advise(advice));
        }
    }
    survey
}

/// Namespaces whose pods no policy is for, as [`forecast::forecast`] has it.
fn never_judged(namespace: &str, options: &forecast::Options) -> bool {
    namespace == "kube-system" || options.operator_namespace.as_deref() == Some(namespace)
}

/// The auditing policies that certainly cover a service account. They take no part in the selection: each is judged
/// beside the policy that is in force.
fn audits<'a>(
    inventory: &'a Inventory,
    namespace: &'a str,
    name: &'a str,
) -> impl Iterator<Item = &'a Arc<PolicyObject>> {
    inventory
        .policies_for(namespace)
        .filter(|policy| policy.on_deny == Action::Audit)
        .filter(move |policy| matches!(puller::covers(policy, inventory, namespace, name), Some((_, true))))
}

fn count_accounts(survey: &mut Survey, inventory: &Inventory, options: &forecast::Options) {
    for account in inventory.service_accounts().filter(|account| !never_judged(&account.namespace, options)) {
        let (namespace, name) = (account.namespace.as_str(), account.name.as_str());
        if let Selection::Policy { policy, tied, .. } = puller::select(inventory, namespace, name) {
            let tie =
                |other: &PolicyKey, won| Tie { account: format!("{namespace}/{name}"), other: other.clone(), won };
            for loser in &tied {
                if let Some(tally) = survey.tallies.get_mut(loser) {
                    tally.ties.push(tie(&policy.key, false));
                }
            }
            if let Some(tally) = survey.tallies.get_mut(&policy.key) {
                tally.service_accounts += 1;
                tally.ties.extend(tied.iter().map(|loser| tie(loser, true)));
            }
        }
        for policy in audits(inventory, namespace, name) {
            if let Some(tally) = survey.tallies.get_mut(&policy.key) {
                tally.service_accounts += 1;
            }
        }
    }
    for policy in inventory.policies() {
        if let (Some(namespace), Some(tally)) = (&policy.key.namespace, survey.tallies.get_mut(&policy.key)) {
            let absent = |name: &&String| inventory.service_account(namespace, name).is_none();
            tally.absent_names = policy.scope.names.iter().filter(absent).cloned().collect();
        }
    }
}

impl Tally {
    fn count(&mut self, subject: &Subject, report: &Report) {
        match report.verdict {
            Verdict::Allow => self.pods.allowed += 1,
            Verdict::Deny => self.pods.denied += 1,
            Verdict::Unknown => self.pods.unknown += 1,
            _ => return,
        }
        self.count_exemptions(report);
        for image in report.images.iter().filter(|image| image.verdict == Verdict::Deny) {
            self.denials.insert(denial(subject, image));
            if self.denials.len() > MAX_DENIALS {
                self.denials.pop_last();
                self.denials_omitted += 1;
            }
        }
    }

    /// Counts a pod for each exemption that it makes use of, once.
    fn count_exemptions(&mut self, report: &Report) {
        let used = || report.images.iter().filter_map(|image| image.exemption.as_ref());
        for known in &mut self.exemptions {
            known.pods += i64::from(used().any(|used| used.name == known.name));
        }
    }

    fn advise(&mut self, advice: Advice) {
        if self.advice.len() == MAX_ADVICE {
            self.advice_omitted += 1;
        } else {
            self.advice.push(entry(advice));
        }
    }
}

/// The exemptions of a policy as of `at`, by name, before any pod is counted.
fn exemptions(policy: &PolicyObject, at: jiff::Timestamp) -> Vec<ExemptionStatus> {
    let of = |exemption: &Exemption| ExemptionStatus {
        name: exemption.name.clone(),
        expires_at: exemption.expires_at.to_string(),
        active: exemption.is_active(at),
        pods: 0,
    };
    let mut exemptions: Vec<_> = policy.body.iter().flat_map(|spec| &spec.exemptions).map(of).collect();
    exemptions.sort_by(|one, other| one.name.cmp(&other.name));
    exemptions
}

/// Advice as the status has it, cut like the rest of the status where it is too long.
fn entry(advice: Advice) -> AdviceEntry {
    let line = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    AdviceEntry {
        target: line(advice.target),
        policy: line(advice.policy),
        code: advice.code.to_owned(),
        message: line(advice.message),
        document: advice.document.and_then(|document| serde_json::to_string(&document).ok()),
    }
}

/// Characters that the CRD allows for these fields. A pod may name an image of any length, and must not be able to make
/// the status of a policy invalid by it.
const MAX_IMAGE: usize = 1024;
const MAX_ARN: usize = 512;

fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn denial(subject: &Subject, image: &ImageReport) -> Denial {
    let decisions = || image.candidates.iter().flat_map(|candidate| &candidate.decisions);
    let denied = decisions().find(|decision| matches!(decision.decision, "ExplicitlyDenied" | "ImplicitlyDenied"));
    // The token is asked for on `*`, everything else on the repository.
    let repository = decisions().find(|decision| decision.resource != "*");
    Denial {
        namespace: subject.namespace.clone(),
        service_account: subject.service_account.clone(),
        pod: subject.name.clone(),
        image: clip(&image.image, MAX_IMAGE),
        repository: repository.map(|decision| clip(&decision.resource, MAX_ARN)),
        action: denied.map(|decision| decision.action.to_owned()),
        cause: image.cause.map(|cause| cause.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::inventory::ServiceAccountFacts;

    const NOW: &str = "2026-11-23T12:00:00Z";

    /// A policy that lets its service accounts pull repositories named `team/*`.
    fn policy(name: &str, created: &str, spec: Value) -> PolicyObject {
        let mut whole = json!({"puller": {"serviceAccount": {"identity": {"policies": [{"name": "pull", "document": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
                {
                    "Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    "Resource": "arn:aws:ecr:*:*:repository/team/*"
                }
            ]
        }}]}}}});
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        let metadata =
            json!({"name": name, "namespace": "payments", "generation": 1, "uid": name, "creationTimestamp": created});
        PolicyObject::from_json(json!({"kind": "EcrAccessPolicy", "metadata": metadata, "spec": whole})).unwrap()
    }

    fn inventory(policies: Vec<PolicyObject>, accounts: &[(&str, &str)]) -> Inventory {
        let mut inventory = Inventory::default();
        for policy in policies {
            inventory.put_policy(policy);
        }
        for (namespace, name) in accounts {
            inventory.put_namespace((*namespace).to_owned(), BTreeMap::new());
            inventory.put_service_account(ServiceAccountFacts {
                namespace: (*namespace).to_owned(),
                name: (*name).to_owned(),
                ..ServiceAccountFacts::default()
            });
        }
        inventory
    }

    fn pods(pods: &[(&str, &str, &str)]) -> BTreeMap<PodName, Arc<Subject>> {
        pods.iter()
            .map(|(name, account, repository)| {
                let image = format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{repository}:1");
                let pod = json!({
                    "metadata": {"name": name, "namespace": "payments"},
                    "spec": {"serviceAccountName": account, "containers": [{"name": "app", "image": image}]}
                });
                (("payments".to_owned(), (*name).to_owned()), Arc::new(Subject::from_pod(&pod).unwrap()))
            })
            .collect()
    }

    fn look(inventory: &Inventory, pods: Option<&BTreeMap<PodName, Arc<Subject>>>) -> Survey {
        survey(inventory, pods, NOW.parse().unwrap(), &forecast::Options::default())
    }

    fn of<'a>(survey: &'a Survey, name: &str) -> &'a Tally {
        survey.tallies.iter().find(|(key, _)| key.name == name).unwrap().1
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const YOUNG: &str = "2026-02-01T00:00:00Z";

    #[test]
    fn each_pod_is_counted_once_for_the_policy_that_is_in_force() {
        let by_name = policy("by-name", YOUNG, json!({"serviceAccounts": {"names": ["api"]}}));
        let inventory = inventory(
            vec![by_name, policy("everyone", OLD, json!({}))],
            &[("payments", "api"), ("payments", "worker"), ("payments", "cron"), ("other", "api")],
        );
        let pods = pods(&[
            ("a", "api", "team/app"),
            ("b", "api", "secret/app"),
            ("c", "worker", "team/app"),
            ("d", "worker", "team/other"),
        ]);
        let survey = look(&inventory, Some(&pods));
        let counted = |name| {
            let tally = of(&survey, name);
            (tally.service_accounts, tally.pods.allowed, tally.pods.denied, tally.pods.unknown)
        };
        assert_eq!(counted("by-name"), (1, 1, 1, 0));
        assert_eq!(counted("everyone"), (2, 2, 0, 0));
        assert!(of(&survey, "everyone").denials.is_empty());
        assert_eq!(
            of(&survey, "by-name").denials.iter().collect::<Vec<_>>(),
            [&Denial {
                namespace: "payments".to_owned(),
                service_account: "api".to_owned(),
                pod: "b".to_owned(),
                image: "111122223333.dkr.ecr.us-east-1.amazonaws.com/secret/app:1".to_owned(),
                repository: Some("arn:aws:ecr:us-east-1:111122223333:repository/secret/app".to_owned()),
                action: Some("ecr:BatchGetImage".to_owned()),
                cause: Some("RepositoryNotInResource".to_owned()),
            }]
        );
    }

    #[test]
    fn pods_that_nothing_is_known_of_are_not_counted_as_zero() {
        let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
        assert!(!of(&look(&inventory, None), "everyone").pods_known);
        assert_eq!(of(&look(&inventory, None), "everyone").service_accounts, 1);
        assert!(of(&look(&inventory, Some(&BTreeMap::new())), "everyone").pods_known);
    }

    #[test]
    fn the_first_denials_are_listed_and_the_rest_is_counted_in_any_order() {
        let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
        let names: Vec<String> = (0..30).map(|index| format!("pod-{index:02}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "api", "secret/app")).collect();
        let survey = look(&inventory, Some(&pods(&many)));
        let tally = of(&survey, "everyone");
        assert_eq!((tally.pods.denied, tally.denials.len(), tally.denials_omitted), (30, 20, 10));
        let listed: Vec<_> = tally.denials.iter().map(|denial| denial.pod.as_str()).collect();
        assert_eq!(listed, names[..20]);
    }

    #[test]
    fn a_denial_keeps_within_the_lengths_of_the_crd_whatever_a_pod_names() {
        let long = format!("secret/{}", "é".repeat(3000));
        let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
        let survey = look(&inventory, Some(&pods(&[("a", "api", long.as_str())])));
        let denial = of(&survey, "everyone").denials.first().unwrap();
        assert_eq!(denial.image.chars().count(), MAX_IMAGE);
        assert!(denial.image.ends_with('…'));
        assert_eq!(clip(&"x".repeat(MAX_ARN), MAX_ARN).len(), MAX_ARN);
    }

    #[test]
    fn a_policy_that_cannot_be_read_makes_its_own_pods_unknown_and_no_others() {
        let broken = policy("broken", OLD, json!({"serviceAccounts": {"names": ["api"]}, "puller": {"nobody": {}}}));
        let inventory =
            inventory(vec![broken, policy("fine", OLD, json!({}))], &[("payments", "api"), ("payments", "worker")]);
        let survey = look(&inventory, Some(&pods(&[("a", "api", "team/app"), ("b", "worker", "team/app")])));
        assert_eq!(of(&survey, "broken").pods, VerdictCounts { unknown: 1, ..VerdictCounts::default() });
        assert_eq!(of(&survey, "fine").pods, VerdictCounts { allowed: 1, ..VerdictCounts::default() });
    }

    #[test]
    fn a_tie_is_seen_from_both_sides_and_names_do_not_tie_with_the_rest() {
        let selection = |name: &str| json!({"serviceAccounts": {"names": [name]}});
        let inventory = inventory(
            vec![
                policy("old", OLD, selection("api")),
                policy("young", YOUNG, selection("api")),
                policy("everyone", OLD, json!({})),
            ],
            &[("payments", "api"), ("payments", "worker")],
        );
        let survey = look(&inventory, None);
        let ties = |name| {
            let ties = of(&survey, name).ties.iter();
            ties.map(|tie| (tie.account.as_str(), tie.other.name.as_str(), tie.won)).collect::<Vec<_>>()
        };
        assert_eq!(ties("old"), [("payments/api", "young", true)]);
        assert_eq!(ties("young"), [("payments/api", "old", false)]);
        assert!(ties("everyone").is_empty());
        assert_eq!(of(&survey, "old").service_accounts, 1);
        assert_eq!(of(&survey, "young").service_accounts, 0);
    }

    #[test]
    fn an_auditing_policy_is_judged_beside_the_one_in_force_and_conflicts_with_nobody() {
        let audit = policy(
            "audit",
            OLD,
            json!({"onDeny": "Audit", "puller": {"serviceAccount": {"identity": {
                "policies": [{"name": "none", "document": {"Version": "2012-10-17", "Statement": [
                    {"Effect": "Deny", "Action": "*", "Resource": "*"}
                ]}}]
            }}}}),
        );
        let inventory = inventory(vec![audit, policy("in-force", YOUNG, json!({}))], &[("payments", "api")]);
        let survey = look(&inventory, Some(&pods(&[("a", "api", "team/app")])));
        assert_eq!(of(&survey, "in-force").pods, VerdictCounts { allowed: 1, ..VerdictCounts::default() });
        assert_eq!(of(&survey, "audit").pods, VerdictCounts { denied: 1, ..VerdictCounts::default() });
        assert_eq!((of(&survey, "audit").service_accounts, of(&survey, "in-force").service_accounts), (1, 1));
        assert!(of(&survey, "audit").ties.is_empty() && of(&survey, "in-force").ties.is_empty());
    }

    #[test]
    fn the_operators_namespace_is_left_alone_and_names_that_nobody_has_are_told() {
        let names = json!({"serviceAccounts": {"names": ["api", "wroker"]}});
        let inventory = inventory(vec![policy("names", OLD, names)], &[("payments", "api"), ("other", "wroker")]);
        let pods = pods(&[("a", "api", "team/app")]);
        let survey = look(&inventory, Some(&pods));
        assert_eq!(of(&survey, "names").absent_names, ["wroker"]);
        assert_eq!((of(&survey, "names").service_accounts, of(&survey, "names").pods.allowed), (1, 1));
        let options =
            forecast::Options { operator_namespace: Some("payments".to_owned()), ..forecast::Options::default() };
        let survey = super::survey(&inventory, Some(&pods), NOW.parse().unwrap(), &options);
        assert_eq!((of(&survey, "names").service_accounts, of(&survey, "names").pods), (0, VerdictCounts::default()));
    }

    #[test]
    fn exemptions_are_told_with_the_pods_that_make_use_of_them() {
        let exemption = |name: &str, image: &str, end: &str| json!({"name": name, "images": [format!("*/{image}")], "reason": "why", "expiresAt": end});
        let exempting = policy(
            "exempting",
            OLD,
            json!({"exemptions": [
                exemption("z-secret", "secret/*", "2027-01-01T01:00:00+01:00"),
                exemption("team", "team/*", "2027-01-01T00:00:00Z"),
                exemption("ended", "other/*", NOW)]}),
        );
        let inventory = inventory(vec![exempting], &[("payments", "api")]);
        let pods = pods(&[
            ("a", "api", "team/app"),
            ("b", "api", "secret/app"),
            ("c", "api", "secret/other"),
            ("d", "api", "other/app"),
        ]);
        let told = |pods| -> Vec<(String, String, bool, i64)> {
            let survey = look(&inventory, pods);
            let exemptions = of(&survey, "exempting").exemptions.clone().into_iter();
            exemptions.map(|one| (one.name, one.expires_at, one.active, one.pods)).collect()
        };
        let expected = |secret| {
            [
                ("ended", NOW, false, 0),
                ("team", "2027-01-01T00:00:00Z", true, 0),
                ("z-secret", "2027-01-01T00:00:00Z", true, secret),
            ]
            .map(|(name, end, active, pods)| (name.to_owned(), end.to_owned(), active, pods))
        };
        // Of a pod that can pull nothing is let pass.
        assert_eq!(told(Some(&pods)), expected(2));
        assert_eq!(told(None), expected(0));
        // What a status counts stays what it is.
        assert_eq!(of(&look(&inventory, Some(&pods)), "exempting").pods.denied, 3);
    }

    fn with_statements(name: &str, more: Value, statements: Value) -> PolicyObject {
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        let mut spec = json!({"puller": {"serviceAccount": {"identity": {
            "policies": [{"name": "pull", "document": document}]}}}});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        policy(name, OLD, spec)
    }

    fn allow(action: &str, resource: &str) -> Value {
        json!({"Effect": "Allow", "Action": action, "Resource": resource})
    }

    fn codes(tally: &Tally) -> Vec<(&str, &str)> {
        tally.advice.iter().map(|advice| (advice.target.as_str(), advice.code.as_str())).collect()
    }

    #[test]
    fn advice_is_about_what_each_policys_own_pods_pull_and_changes_no_verdict() {
        let (world, running) = (|policies| inventory(policies, &[("payments", "api")]), pods);
        let broad = |name, more| with_statements(name, more, json!([allow("ecr:*", "*")]));
        let inventory = inventory(
            vec![
                broad("in-force", json!({"serviceAccounts": {"names": ["api"]}})),
                broad("audit", json!({"onDeny": "Audit", "serviceAccounts": {"names": ["worker"]}})),
                broad("unused", json!({"serviceAccounts": {"names": ["nobody"]}})),
                policy("everyone", YOUNG, json!({})),
            ],
            &[("payments", "api"), ("payments", "worker")],
        );
        let pods = pods(&[("a", "api", "team/app"), ("b", "api", "team/app"), ("c", "worker", "team/work")]);
        let survey = look(&inventory, Some(&pods));
        assert_eq!(codes(of(&survey, "in-force")), [("service account payments/api", "BroaderThanNeeded")]);
        assert_eq!(codes(of(&survey, "audit")), [("service account payments/worker", "BroaderThanNeeded")]);
        assert!(codes(of(&survey, "unused")).is_empty() && codes(of(&survey, "everyone")).is_empty());
        let [advice] = of(&survey, "in-force").advice.as_slice() else { panic!("one") };
        assert!(advice.policy == "pull" && advice.message.contains("the one repository in use"), "{advice:?}");
        // What is advised is enough, and nothing is left to advise.
        let document: Value = serde_json::from_str(advice.document.as_ref().unwrap()).unwrap();
        let followed = with_statements("followed", json!({}), document["Statement"].clone());
        let survey = look(&world(vec![followed]), Some(&running(&[("a", "api", "team/app")])));
        let tally = of(&survey, "followed");
        assert_eq!((tally.pods.allowed, tally.pods.denied, tally.advice.len()), (1, 0, 0));
    }

    #[test]
    fn a_lint_is_told_without_a_pod_and_nothing_is_told_before_pods_are_known() {
        let token =
            json!([allow("ecr:GetAuthorizationToken", "arn:aws:ecr:us-east-1:111122223333:repository/my\nrepo")]);
        let inventory = inventory(vec![with_statements("page", json!({}), token)], &[]);
        assert!(of(&look(&inventory, None), "page").advice.is_empty());
        let survey = look(&inventory, Some(&BTreeMap::new()));
        let [advice] = of(&survey, "page").advice.as_slice() else { panic!("{survey:?}") };
        assert_eq!((advice.target.as_str(), advice.code.as_str()), ("service accounts", "needs-star-resource"));
        assert!(advice.message.starts_with("`$.Statement[0].") && advice.document.is_none(), "{advice:?}");
        assert!(!advice.message.contains(char::is_control), "{advice:?}");
    }

    #[test]
    fn the_first_advice_is_listed_lints_before_grants_and_the_rest_is_counted() {
        let statements = json!([allow("ecr:GetAuthorizationToken", "arn:aws:ecr:*:*:*"), allow("ecr:*", "*")]);
        let names: Vec<String> = (0..30).map(|index| format!("account-{index:02}")).collect();
        let accounts: Vec<_> = names.iter().map(|name| ("payments", name.as_str())).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), "team/app")).collect();
        let inventory = inventory(vec![with_statements("broad", json!({}), statements)], &accounts);
        let survey = look(&inventory, Some(&pods(&many)));
        let tally = of(&survey, "broad");
        assert_eq!((tally.advice.len(), tally.advice_omitted, tally.pods.allowed), (MAX_ADVICE, 21, 30));
        assert_eq!(codes(tally)[0], ("service accounts", "needs-star-resource"));
        assert_eq!(codes(tally)[9], ("service account payments/account-08", "BroaderThanNeeded"));
    }

    #[test]
    fn what_was_found_holds_for_that_version_of_the_policy_alone() {
        let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[]);
        let survey = look(&inventory, None);
        let mut edited = policy("everyone", OLD, json!({}));
        assert!(survey.tally(&edited).is_some());
        edited.generation = Some(2);
        assert!(survey.tally(&edited).is_none());
    }
}
