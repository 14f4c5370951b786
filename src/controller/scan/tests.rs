//! Looks at small clusters.

use ecr_forecast::cluster::Subject;
use ecr_forecast::judge::{NextChange, Options};
use serde_json::{Value, json};

use super::*;
use crate::api::status::MAX_DENIALS;
use crate::index::subjects::{ObjectMap, Owner};

mod again;

const NOW: &str = "2026-11-23T12:00:00Z";

/// A policy that lets its service accounts pull repositories named `team/*`.
fn policy(name: &str, created: &str, spec: Value) -> PolicyObject {
    let team = fixtures::identity("pull", fixtures::pulls_of("arn:aws:ecr:*:*:repository/team/*"));
    let mut policy = fixtures::policy(name)
        .metadata("generation", 1)
        .metadata("uid", name)
        .metadata("creationTimestamp", created)
        .identity(team);
    for (field, value) in spec.as_object().unwrap() {
        policy = policy.with(field, value.clone());
    }
    PolicyObject::from_json(policy.object()).unwrap()
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
            annotations: role_of(name),
            ..ServiceAccountFacts::default()
        });
    }
    inventory
}

/// The annotation of a service account whose role has its name.
fn role_of(account: &str) -> BTreeMap<String, String> {
    let arn = format!("arn:aws:iam::111122223333:role/{account}");
    BTreeMap::from([("eks.amazonaws.com/ecr-role-arn".to_owned(), arn)])
}

/// An object of this kind, with one image of this repository.
fn tracked(kind: &str, name: &str, account: &str, repository: &str) -> TrackedObject {
    let image = fixtures::image(repository);
    let spec = json!({"serviceAccountName": account, "containers": [{"name": "app", "image": image}]});
    let subject = if kind == "Pod" {
        Subject::from_pod(&fixtures::pod(name, spec)).unwrap()
    } else {
        Subject::from_workload(&fixtures::workload(kind, name, spec)).unwrap().unwrap()
    };
    TrackedObject { subject, uid: format!("uid-{name}"), ..TrackedObject::default() }
}

fn owned(mut tracked: TrackedObject, kind: &str, name: &str) -> TrackedObject {
    let (kind, uid) = (kind.to_owned(), format!("uid-{name}"));
    tracked.owner = Some(Owner { kind, name: name.to_owned(), uid, ..Owner::default() });
    tracked
}

fn map(objects: Vec<TrackedObject>) -> Arc<ObjectMap> {
    let named =
        |tracked: TrackedObject| ((tracked.subject.namespace.clone(), tracked.subject.name.clone()), Arc::new(tracked));
    Arc::new(objects.into_iter().map(named).collect())
}

/// Pods by name, account and repository; no workloads.
fn pods(pods: &[(&str, &str, &str)]) -> ClusterWorkloads {
    let pods = pods.iter().map(|(name, account, repository)| tracked("Pod", name, account, repository)).collect();
    ClusterWorkloads { pods: Some(map(pods)), workloads: Some(vec![]) }
}

fn unknown() -> ClusterWorkloads {
    ClusterWorkloads::default()
}

fn look(inventory: &Inventory, cluster_workloads: &ClusterWorkloads) -> BackgroundScan {
    scan(inventory, cluster_workloads, NOW.parse().unwrap(), &Options::default())
}

fn of<'a>(scan: &'a BackgroundScan, name: &str) -> &'a PolicyCounts {
    scan.all_counts.iter().find(|(key, _)| key.name == name).unwrap().1
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
    let scan = look(&inventory, &pods);
    let counted = |name| {
        let counts = of(&scan, name);
        (counts.service_accounts, counts.pods.allowed, counts.pods.denied, counts.pods.unknown)
    };
    assert_eq!(counted("by-name"), (1, 1, 1, 0));
    assert_eq!(counted("everyone"), (2, 2, 0, 0));
    assert!(of(&scan, "everyone").denials.is_empty());
    assert_eq!(
        of(&scan, "by-name").denials,
        [Denial {
            namespace: "payments".to_owned(),
            service_account: "api".to_owned(),
            kind: "Pod".to_owned(),
            name: "b".to_owned(),
            pods: 1,
            image: "111122223333.dkr.ecr.us-east-1.amazonaws.com/secret/app:1".to_owned(),
            repository: Some("arn:aws:ecr:us-east-1:111122223333:repository/secret/app".to_owned()),
            action: Some("ecr:BatchGetImage".to_owned()),
            cause: Some("RepositoryNotInResource".to_owned()),
            exemption: None,
        }]
    );
}

#[test]
fn pods_that_nothing_is_known_of_are_not_counted_as_zero() {
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
    assert!(!of(&look(&inventory, &unknown()), "everyone").pods_known);
    assert_eq!(of(&look(&inventory, &unknown()), "everyone").service_accounts, 1);
    assert!(of(&look(&inventory, &pods(&[])), "everyone").pods_known);
}

#[test]
fn the_first_denials_are_listed_and_the_rest_is_counted_in_any_order() {
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
    let names: Vec<String> = (0..30).map(|index| format!("pod-{index:02}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "api", "secret/app")).collect();
    let scan = look(&inventory, &pods(&many));
    let counts = of(&scan, "everyone");
    assert_eq!((counts.pods.denied, counts.denials.len(), counts.denials_omitted), (30, MAX_DENIALS, 10));
    assert_eq!(counts.firsts.len(), 1, "one service account, repository and cause");
    let listed: Vec<_> = counts.denials.iter().map(|denial| denial.name.as_str()).collect();
    assert_eq!(listed, names[..20]);
}

#[test]
fn a_denial_keeps_within_the_lengths_of_the_crd_whatever_a_pod_names() {
    let long = format!("secret/{}", "é".repeat(3000));
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
    let scan = look(&inventory, &pods(&[("a", "api", long.as_str())]));
    let denial = of(&scan, "everyone").denials.first().unwrap();
    assert_eq!(denial.image.chars().count(), crate::api::status::IMAGE_LENGTH);
    assert!(denial.image.ends_with('…'));
}

fn with_workloads(kinds: Vec<(&'static str, Vec<TrackedObject>)>, pods: Vec<TrackedObject>) -> ClusterWorkloads {
    let workloads = kinds.into_iter().map(|(kind, objects)| (kind, map(objects))).collect();
    ClusterWorkloads { pods: Some(map(pods)), workloads: Some(workloads) }
}

#[test]
fn a_workload_and_its_pods_are_one_denial_and_are_told_once() {
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
    let pod =
        |name: &str, set: &str, repository: &str| owned(tracked("Pod", name, "api", repository), "ReplicaSet", set);
    let mut two = pod("web-1-b", "web-1", "secret/web");
    // The same image in two containers of a pod is one pod.
    two.subject.images.push(two.subject.images[0].clone());
    let cluster_workloads = with_workloads(
        vec![
            (
                "Deployment",
                vec![
                    tracked("Deployment", "api", "api", "team/app"),
                    tracked("Deployment", "web", "api", "secret/web"),
                ],
            ),
            (
                "ReplicaSet",
                vec![
                    owned(tracked("ReplicaSet", "api-1", "api", "secret/api"), "Deployment", "api"),
                    owned(tracked("ReplicaSet", "web-1", "api", "secret/web"), "Deployment", "web"),
                ],
            ),
        ],
        vec![
            pod("web-1-a", "web-1", "secret/web"),
            two,
            // Left from before the Deployment was mended.
            pod("api-1-a", "api-1", "secret/api"),
            tracked("Pod", "alone", "api", "secret/web"),
        ],
    );
    let scan = look(&inventory, &cluster_workloads);
    let counts = of(&scan, "everyone");
    assert_eq!(counts.workloads, VerdictCounts { allowed: 1, denied: 1, unknown: 0 }, "owned ones are not counted");
    assert_eq!(counts.pods, VerdictCounts { denied: 4, ..VerdictCounts::default() });
    let rows: Vec<_> = counts
        .denials
        .iter()
        .map(|row| {
            (
                row.kind.as_str(),
                row.name.as_str(),
                row.pods,
                row.repository.as_deref().unwrap().rsplit_once(':').unwrap().1,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("Deployment", "api", 1, "repository/secret/api"),
            ("Deployment", "web", 2, "repository/secret/web"),
            ("Pod", "alone", 1, "repository/secret/web"),
        ]
    );
    let mut told: Vec<_> =
        counts.firsts.iter().map(|first| (first.about.name.as_str(), first.tracked.subject.name.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [("api", "api-1-a"), ("web", "web")], "the workload speaks, where it is denied too");
}

#[test]
fn before_the_workloads_are_known_pods_are_counted_and_nothing_is_listed() {
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
    let mut cluster_workloads = pods(&[("a", "api", "secret/app")]);
    cluster_workloads.workloads = None;
    let scan = look(&inventory, &cluster_workloads);
    let counts = of(&scan, "everyone");
    assert_eq!((counts.pods.denied, counts.workloads_known, counts.is_complete()), (1, false, false));
    assert!(counts.denials.is_empty() && counts.firsts.is_empty());
}

/// Allowed for these repositories from, or until, these dates.
fn dated(entries: &[(&str, &str, &str)]) -> PolicyObject {
    let mut statements = vec![allow("ecr:GetAuthorizationToken", "*")];
    for (operator, date, repository) in entries {
        let mut statement = allow("ecr:*", &format!("arn:aws:ecr:*:*:repository/{repository}"));
        statement["Condition"] = json!({*operator: {"aws:CurrentTime": date}});
        statements.push(statement);
    }
    with_statements("dated", json!({}), json!(statements))
}

/// The controller looks again at the instant that it is told: one that has come must not be told.
#[test]
fn an_instant_that_has_come_is_not_ahead() {
    let spec = dated(&[("DateLessThan", "2026-11-24T06:00:00Z", "team/app")]);
    let inventory = inventory(vec![spec], &[("payments", "api")]);
    let (at, options): (jiff::Timestamp, _) = ("2026-11-24T06:00:00Z".parse().unwrap(), Options::default());
    let tracked = Arc::new(tracked("Pod", "a", "api", "team/app"));
    let policy = inventory.policies().next().unwrap();
    let policy = Arc::new(inventory.with_documents(policy));
    let question = ScanQuestion::of(&tracked);
    let judged_at = |at: &str| Memory::default().judged(&question, &policy, &inventory, at.parse().unwrap(), &options);
    assert_eq!(judged_at(NOW).next, NextChange::At(at));
    let found = |judged: &Arc<Judged>, now: jiff::Timestamp| {
        let mut upcoming_changes = UpcomingChanges::default();
        upcoming_changes.add(&tracked, judged, now);
        upcoming_changes.finish(&policy, &inventory, &unknown(), now, &options)
    };
    assert_eq!(found(&judged_at(NOW), at), None);
    assert!(found(&judged_at(NOW), NOW.parse().unwrap()).is_some_and(|upcoming_change| upcoming_change.at == at));
}

#[test]
fn the_next_change_is_the_earliest_and_what_it_turns_is_told_a_day_ahead() {
    let spec = dated(&[
        ("DateLessThan", "2026-11-24T06:00:00Z", "team/until"),
        ("DateGreaterThan", "2026-11-24T06:00:00Z", "team/from"),
        ("DateLessThan", "2026-12-24T00:00:00Z", "team/later"),
    ]);
    let inventory = inventory(vec![spec], &[("payments", "api")]);
    let cluster_workloads = with_workloads(
        vec![(
            "Deployment",
            vec![
                tracked("Deployment", "until", "api", "team/until"),
                tracked("Deployment", "later", "api", "team/later"),
            ],
        )],
        vec![
            owned(tracked("Pod", "until-1", "api", "team/until"), "Deployment", "until"),
            owned(tracked("Pod", "until-2", "api", "team/until"), "Deployment", "until"),
            tracked("Pod", "from", "api", "team/from"),
        ],
    );
    let look_at = |at: &str| scan(&inventory, &cluster_workloads, at.parse().unwrap(), &Options::default());
    let upcoming_change = |scan: &BackgroundScan| of(scan, "dated").upcoming_change.clone();
    let next = |scan: &BackgroundScan, at: &str| scan.look_again(at.parse().unwrap()).map(|at| at.to_string());

    let early = "2026-11-20T00:00:00Z";
    let far = look_at(early);
    assert_eq!(upcoming_change(&far).unwrap().at.to_string(), "2026-11-24T06:00:00Z");
    assert_eq!(upcoming_change(&far).unwrap().tell(), None, "four days ahead nothing is told");
    assert_eq!(next(&far, early).as_deref(), Some("2026-11-23T06:00:00Z"), "but it is looked at again in time");

    let near = look_at(NOW);
    assert_eq!(
        upcoming_change(&near).unwrap().tell().as_deref(),
        Some(
            "at 2026-11-24T06:00:00Z, because an IAM policy has a condition on the date: 1 workload and 2 pods turn from \
             Allow to Deny (first Deployment payments/until)"
        ),
        "`from` turns later: that date itself is not greater than it"
    );
    assert!(upcoming_change(&near).unwrap().is_bad());
    assert_eq!(next(&near, NOW).as_deref(), Some("2026-11-24T06:00:00Z"));
    assert_eq!(near.next_transition(), upcoming_change(&near).map(|upcoming_change| upcoming_change.at));

    // At that very instant: what was foretold is so, and the next change is a later one.
    let there = look_at("2026-11-24T06:00:00Z");
    assert_eq!(of(&there, "dated").workloads, VerdictCounts { allowed: 1, denied: 1, unknown: 0 });
    let after = upcoming_change(&there).unwrap();
    assert!(after.at > "2026-11-24T06:00:00Z".parse().unwrap(), "{after:?}");
    assert_eq!(after.at.to_string(), "2026-11-24T06:00:01Z", "dates are compared by the second");
    assert!(after.tell().unwrap().contains("1 pod turns from Deny to Allow (Pod payments/from)"), "{after:?}");
    assert!(!after.is_bad());
    // Nothing is looked for again when nothing is left to change.
    let last = look_at("2026-12-25T00:00:00Z");
    assert_eq!((upcoming_change(&last), last.look_again("2026-12-25T00:00:00Z".parse().unwrap())), (None, None));
}

#[test]
fn a_policy_that_cannot_be_read_makes_its_own_pods_unknown_and_no_others() {
    let broken = policy("broken", OLD, json!({"serviceAccounts": {"names": ["api"]}, "puller": {"nobody": {}}}));
    let inventory =
        inventory(vec![broken, policy("fine", OLD, json!({}))], &[("payments", "api"), ("payments", "worker")]);
    let scan = look(&inventory, &pods(&[("a", "api", "team/app"), ("b", "worker", "team/app")]));
    assert_eq!(of(&scan, "broken").pods, VerdictCounts { unknown: 1, ..VerdictCounts::default() });
    assert_eq!(of(&scan, "fine").pods, VerdictCounts { allowed: 1, ..VerdictCounts::default() });
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
    let scan = look(&inventory, &unknown());
    let ties = |name| {
        let ties = of(&scan, name).ties.iter();
        ties.map(|tie| (tie.account.as_str(), tie.other.name.as_str(), tie.won)).collect::<Vec<_>>()
    };
    assert_eq!(ties("old"), [("payments/api", "young", true)]);
    assert_eq!(ties("young"), [("payments/api", "old", false)]);
    assert!(ties("everyone").is_empty());
    assert_eq!(of(&scan, "old").service_accounts, 1);
    assert_eq!(of(&scan, "young").service_accounts, 0);
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
    let scan = look(&inventory, &pods(&[("a", "api", "team/app")]));
    assert_eq!(of(&scan, "in-force").pods, VerdictCounts { allowed: 1, ..VerdictCounts::default() });
    assert_eq!(of(&scan, "audit").pods, VerdictCounts { denied: 1, ..VerdictCounts::default() });
    assert_eq!((of(&scan, "audit").service_accounts, of(&scan, "in-force").service_accounts), (1, 1));
    assert!(of(&scan, "audit").ties.is_empty() && of(&scan, "in-force").ties.is_empty());
}

#[test]
fn accounts_for_which_the_node_pulls_are_counted_where_policies_of_a_role_are_declared() {
    let declared = policy("declared", OLD, json!({}));
    let mut nodes = policy("nodes", OLD, json!({})).clone();
    if let Ok(spec) = &mut nodes.body {
        Arc::make_mut(spec).puller = policy(
            "x",
            OLD,
            json!({"puller": {"serviceAccount": {"fallbackNodes":
            [{"arn": "arn:aws:iam::111122223333:role/node"}]}}}),
        )
        .body
        .unwrap()
        .puller
        .clone();
    }
    for (policy, counted) in [(declared, Some((2, "payments/cron".to_owned()))), (nodes, None)] {
        let name = policy.key.name.clone();
        let mut inventory = inventory(vec![policy], &[("payments", "api")]);
        for (account, annotations) in [("cron", vec![]), ("worker", vec![("eks.amazonaws.com/ecr-role-arn", "")])] {
            inventory.put_service_account(ServiceAccountFacts {
                namespace: "payments".to_owned(),
                name: account.to_owned(),
                annotations: annotations.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
                ..ServiceAccountFacts::default()
            });
        }
        let scan = look(&inventory, &pods(&[("a", "api", "team/app")]));
        assert_eq!((of(&scan, &name).without_role.clone(), of(&scan, &name).service_accounts), (counted, 3), "{name}");
    }
}

#[test]
fn the_operators_namespace_is_left_alone_and_names_that_nobody_has_are_told() {
    let names = json!({"serviceAccounts": {"names": ["api", "wroker"]}});
    let inventory = inventory(vec![policy("names", OLD, names)], &[("payments", "api"), ("other", "wroker")]);
    let pods = pods(&[("a", "api", "team/app")]);
    let scan = look(&inventory, &pods);
    assert_eq!(of(&scan, "names").absent_names, ["wroker"]);
    assert_eq!((of(&scan, "names").service_accounts, of(&scan, "names").pods.allowed), (1, 1));
    let options = Options { operator_namespace: Some("payments".to_owned()), ..Options::default() };
    let scan = super::scan(&inventory, &pods, NOW.parse().unwrap(), &options);
    assert_eq!((of(&scan, "names").service_accounts, of(&scan, "names").pods), (0, VerdictCounts::default()));
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
        let scan = look(&inventory, pods);
        let exemptions = of(&scan, "exempting").exemptions.clone().into_iter();
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
    assert_eq!(told(&pods), expected(2));
    assert_eq!(told(&unknown()), expected(0));
    // The end of one is seen although no pod makes use of it.
    let again = look(&inventory, &unknown()).look_again(NOW.parse().unwrap());
    assert_eq!(again, Some("2027-01-01T00:00:00Z".parse().unwrap()));
    // What a status counts stays what it is. What is exempted is told by its row, and by no Event.
    let scan = look(&inventory, &pods);
    let counts = of(&scan, "exempting");
    assert_eq!((counts.pods.denied, counts.denials.len(), counts.firsts.len()), (3, 3, 1));
    let by: Vec<_> = counts.denials.iter().map(|row| row.exemption.as_deref()).collect();
    assert_eq!(by, [Some("z-secret"), Some("z-secret"), None]);
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

fn codes(counts: &PolicyCounts) -> Vec<(&str, &str)> {
    counts.advice.iter().map(|advice| (advice.target.as_str(), advice.code.as_str())).collect()
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
    let scan = look(&inventory, &pods);
    assert_eq!(codes(of(&scan, "in-force")), [("arn:aws:iam::111122223333:role/api", "BroaderThanNeeded")]);
    assert_eq!(codes(of(&scan, "audit")), [("arn:aws:iam::111122223333:role/worker", "BroaderThanNeeded")]);
    assert!(codes(of(&scan, "unused")).is_empty() && codes(of(&scan, "everyone")).is_empty());
    let [advice] = of(&scan, "in-force").advice.as_slice() else { panic!("one") };
    assert!(advice.policy == "pull" && advice.message.contains("the one repository in use"), "{advice:?}");
    // What is advised is enough, and nothing is left to advise.
    let document: Value = serde_json::from_str(advice.document.as_ref().unwrap()).unwrap();
    let followed = with_statements("followed", json!({}), document["Statement"].clone());
    let scan = look(&world(vec![followed]), &running(&[("a", "api", "team/app")]));
    let counts = of(&scan, "followed");
    assert_eq!((counts.pods.allowed, counts.pods.denied, counts.advice.len()), (1, 0, 0));
}

#[test]
fn a_lint_is_told_without_a_pod_and_nothing_is_told_before_pods_are_known() {
    let token = json!([allow("ecr:GetAuthorizationToken", "arn:aws:ecr:us-east-1:111122223333:repository/my\nrepo")]);
    let inventory = inventory(vec![with_statements("page", json!({}), token)], &[]);
    assert!(of(&look(&inventory, &unknown()), "page").advice.is_empty());
    let scan = look(&inventory, &pods(&[]));
    let [advice] = of(&scan, "page").advice.as_slice() else { panic!("{scan:?}") };
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
    let scan = look(&inventory, &pods(&many));
    let counts = of(&scan, "broad");
    assert_eq!((counts.advice.len(), counts.advice_omitted, counts.pods.allowed), (MAX_ADVICE, 21, 30));
    assert_eq!(codes(counts)[0], ("service accounts", "needs-star-resource"));
    assert_eq!(codes(counts)[9], ("arn:aws:iam::111122223333:role/account-08", "BroaderThanNeeded"));
}

#[test]
fn what_was_found_holds_for_that_version_of_the_policy_alone() {
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[]);
    let scan = look(&inventory, &unknown());
    let mut edited = policy("everyone", OLD, json!({}));
    assert!(scan.counts(&edited).is_some());
    edited.generation = Some(2);
    assert!(scan.counts(&edited).is_none());
}
