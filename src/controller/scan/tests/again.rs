//! A second look finds what a first one would, and judges nothing again that rests on the same.

use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::ecr::arn::RoleArn;
use ecr_forecast::facts::{RoleFact, Source};
use ecr_forecast::judge::Options;
use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::compiled::ConfigMapFacts;

use super::*;

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

/// What both kinds of looks find, which is the same; how many of what `memory` holds was there before.
fn looked(
    memory: &mut Memory,
    inventory: &Inventory,
    cluster_workloads: &ClusterWorkloads,
    at: jiff::Timestamp,
) -> (BackgroundScan, usize) {
    let options = Options::default();
    let before = memory.clone();
    let again = scan_again(memory, inventory, cluster_workloads, at, &options);
    let fresh = scan(inventory, cluster_workloads, at, &options);
    assert_eq!(again.all_counts, fresh.all_counts);
    (again, memory.shared_with(&before))
}

#[test]
fn what_rests_on_the_same_is_judged_once() {
    let names: Vec<String> = (0..40).map(|n| format!("pod-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "api", "secret/app")).collect();
    let inventory = inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api")]);
    let mut memory = Memory::default();
    assert_eq!(looked(&mut memory, &inventory, &pods(&many), at(NOW)).1, 0);
    assert_eq!(memory.judgements(), 1, "forty pods ask for the same");
    assert_eq!(looked(&mut memory, &inventory, &pods(&many), at("2026-11-24T00:00:00Z")).1, 1);
    // Every part of what is asked tells questions apart.
    let mut all = vec![tracked("Pod", "a", "api", "secret/app"), tracked("Pod", "b", "other", "secret/app")];
    all.push(tracked("Deployment", "c", "api", "secret/app"));
    all.push(tracked("Pod", "d", "api", "secret/other"));
    let mut never = tracked("Pod", "e", "api", "secret/app");
    never.subject.images[0].never = true;
    let mut secret = tracked("Pod", "f", "api", "secret/app");
    secret.subject.pull_secrets.push("registry".to_owned());
    let mut two = tracked("Pod", "g", "api", "secret/app");
    two.subject.images.push(never.subject.images[0].clone());
    let mut elsewhere = tracked("Pod", "h", "api", "secret/app");
    elsewhere.subject.namespace = "elsewhere".to_owned();
    let mut picky = tracked("Pod", "i", "api", "secret/app");
    let spec = json!({"spec": {"nodeSelector": {"group": "gpu"}}});
    picky.subject.placement = Subject::from_pod(&spec).unwrap().placement;
    all.extend([never, secret, two, elsewhere, picky]);
    assert_eq!(
        looked(&mut memory, &inventory, &with_workloads(vec![], all), at("2026-11-22T00:00:00Z")).1,
        0,
        "time went back"
    );
    assert_eq!(memory.judgements(), 8, "no policy is for the one elsewhere");
    looked(&mut memory, &inventory, &pods(&[]), at(NOW));
    assert_eq!(memory.judgements(), 0, "nobody asks any more");
}

#[test]
fn what_changes_is_judged_again() {
    let (pods, mut memory) = (pods(&[("a", "api", "secret/app"), ("b", "worker", "team/app")]), Memory::default());
    let mut inventory =
        inventory(vec![policy("everyone", OLD, json!({}))], &[("payments", "api"), ("payments", "worker")]);
    let mut denied = |inventory: &Inventory| {
        let (scan, kept) = looked(&mut memory, inventory, &pods, at(NOW));
        (scan.all_counts().map(|counts| counts.pods.denied).sum::<i64>(), kept)
    };
    assert_eq!((denied(&inventory), denied(&inventory)), ((1, 0), (1, 2)));
    let with_secret = ServiceAccountFacts {
        namespace: "payments".to_owned(),
        name: "api".to_owned(),
        annotations: role_of("api"),
        image_pull_secrets: vec!["registry".to_owned()],
        ..ServiceAccountFacts::default()
    };
    inventory.put_service_account(with_secret);
    assert_eq!(denied(&inventory), (0, 1), "the account of one of them");
    inventory.remove_service_account("payments", "api");
    assert_eq!(denied(&inventory), (0, 1), "it is gone");
    inventory.put_policy(with_statements("young", json!({"serviceAccounts": {"names": ["worker"]}}), json!([])));
    assert_eq!(denied(&inventory), (1, 1), "another policy is in force for the other");
    inventory.put_policy(with_statements(
        "young",
        json!({"serviceAccounts": {"names": ["worker"]}}),
        json!([allow("*", "*")]),
    ));
    assert_eq!(denied(&inventory), (0, 1), "the policy itself");
    // A policy on trial has a judgement of its own.
    inventory.put_policy(with_statements("trial", json!({"onDeny": "Audit"}), json!([])));
    assert_eq!(denied(&inventory), (1, 2), "of one the service account is not known");
    assert_eq!(denied(&inventory), (1, 4));
}

#[test]
fn a_document_in_a_config_map_that_changes_is_judged_again() {
    let reference = json!({"puller": {"serviceAccount": {"identity": {"policies": [
        {"name": "pull", "configMapKeyRef": {"name": "iam", "key": "app.json"}}]}}}});
    let mut inventory = inventory(vec![policy("everyone", OLD, reference)], &[("payments", "api")]);
    let config_map = |version: &str, statement: Value| {
        let document = fixtures::document(statement).to_string();
        let mut object = fixtures::config_map("iam", json!({"app.json": document}));
        object["metadata"]["resourceVersion"] = version.into();
        ConfigMapFacts::from_json(&object).unwrap().unwrap()
    };
    let (pods, mut memory) = (pods(&[("a", "api", "team/app")]), Memory::default());
    let mut counts = |inventory: &Inventory| {
        let (scan, kept) = looked(&mut memory, inventory, &pods, at(NOW));
        let VerdictCounts { allowed, denied, unknown } = of(&scan, "everyone").pods;
        ([allowed, denied, unknown], kept)
    };
    assert_eq!(counts(&inventory), ([0, 0, 1], 0));
    inventory.put_config_map(config_map("1", allow("*", "*")));
    assert_eq!(counts(&inventory), ([1, 0, 0], 0));
    inventory.put_config_map(config_map("1", allow("*", "*")));
    assert_eq!(counts(&inventory), ([1, 0, 0], 1), "the same version again");
    inventory.put_config_map(config_map("2", allow("*", "*")));
    assert_eq!(counts(&inventory), ([1, 0, 0], 1), "another version, and the same text");
    inventory.put_config_map(config_map("3", allow("s3:*", "*")));
    assert_eq!(counts(&inventory), ([0, 1, 0], 0));
    let name = ConfigMapName { namespace: "payments".to_owned(), name: "iam".to_owned() };
    inventory.remove_config_map(&name);
    assert_eq!(counts(&inventory), ([0, 0, 1], 0), "gone");
}

#[test]
fn a_role_that_some_source_has_is_judged_again_where_it_changes() {
    let bare = json!({"puller": {"serviceAccount": {}}});
    let mut inventory = inventory(vec![policy("everyone", OLD, bare)], &[("payments", "api"), ("payments", "worker")]);
    let source = Source::new(1, "file roles.yaml");
    let role = |name: &str| RoleArn::parse(&role_of(name)["eks.amazonaws.com/ecr-role-arn"]).unwrap();
    let fact = |name: &str, statement: Value| {
        RoleFact::new(role(name), source.clone()).with_document("pull", &fixtures::document(json!([statement])))
    };
    let (pods, mut memory) = (pods(&[("a", "api", "team/app"), ("b", "worker", "team/app")]), Memory::default());
    let mut counts = |inventory: &Inventory, time: &str| {
        let (scan, kept) = looked(&mut memory, inventory, &pods, at(time));
        let VerdictCounts { allowed, denied, unknown } = of(&scan, "everyone").pods;
        ([allowed, denied, unknown], kept)
    };
    assert_eq!(counts(&inventory, NOW), ([0, 0, 2], 0));
    assert!(inventory.put_role(fact("api", allow("*", "*"))));
    assert_eq!(counts(&inventory, NOW), ([1, 0, 1], 1), "that of the other is still not known");
    assert!(!inventory.put_role(fact("api", allow("*", "*")).as_of(at(NOW))));
    assert_eq!(counts(&inventory, NOW), ([1, 0, 1], 2), "the same as of later");
    let mut until = allow("*", "*");
    until["Condition"] = json!({"DateLessThan": {"aws:CurrentTime": "2026-11-25T00:00:00Z"}});
    assert!(inventory.put_role(fact("api", until)));
    assert_eq!(counts(&inventory, NOW), ([1, 0, 1], 1));
    assert_eq!(counts(&inventory, "2026-11-26T00:00:00Z"), ([0, 1, 1], 1), "its time is over");
    assert!(inventory.remove_role(&role("api"), &source));
    assert_eq!(counts(&inventory, "2026-11-26T00:00:00Z"), ([0, 0, 2], 1), "gone");
}

/// What is told of a denial may change with the time although the verdict does not.
#[test]
fn under_a_date_it_is_judged_again_and_an_exemption_holds_until_its_end() {
    let exemption =
        json!({"name": "legacy", "images": ["*/secret/*"], "reason": "why", "expiresAt": "2026-12-01T00:00:00Z"});
    let plain = policy("plain", OLD, json!({"serviceAccounts": {"names": ["api"]}, "exemptions": [exemption]}));
    let mut statements = allow("ecr:*", "arn:aws:ecr:*:*:repository/team/*");
    statements["Condition"] = json!({"DateLessThan": {"aws:CurrentTime": "2026-11-25T00:00:00Z"}});
    let dated = with_statements("dated", json!({}), json!([statements]));
    let inventory = inventory(vec![plain, dated], &[("payments", "api"), ("payments", "worker")]);
    let pods = pods(&[("a", "api", "secret/app"), ("b", "worker", "secret/app")]);
    let mut memory = Memory::default();
    let mut kept = |time: &str| looked(&mut memory, &inventory, &pods, at(time)).1;
    assert_eq!(kept(NOW), 0);
    assert_eq!(kept(NOW), 2, "at the same moment");
    assert_eq!(kept("2026-11-24T00:00:00Z"), 1, "the one without a date");
    assert_eq!(kept("2026-11-30T23:59:59Z"), 1);
    assert_eq!(kept("2026-12-01T00:00:00Z"), 0, "the exemption is over");
    assert_eq!(kept("2026-12-02T00:00:00Z"), 1);
}

/// Statements for so many windows of a day that no look reaches the end of them.
#[test]
fn what_has_too_many_dates_is_looked_at_again_in_time() {
    let mut statements = vec![allow("ecr:*", "*")];
    for day in 0..400 {
        let action = if day % 2 == 0 { "ecr:GetAuthorizationToken" } else { "ecr:BatchGetImage" };
        let moment = |day: i64| (at(NOW) + jiff::SignedDuration::from_hours(24 * day)).to_string();
        statements.push(json!({"Effect": "Deny", "Action": action, "Resource": "*", "Condition": {
            "DateGreaterThanEquals": {"aws:CurrentTime": moment(day)}, "DateLessThan": {"aws:CurrentTime": moment(day + 1)}}}));
    }
    let inventory = inventory(vec![with_statements("many", json!({}), json!(statements))], &[("payments", "api")]);
    let scan = look(&inventory, &pods(&[("a", "api", "team/app")]));
    let counts = of(&scan, "many");
    assert_eq!((counts.pods.denied, &counts.upcoming_change, scan.next_transition()), (1, &None, None));
    let again = scan.look_again(at(NOW)).unwrap();
    assert!(again > at(NOW) && again < at("2027-12-01T00:00:00Z"), "{again}");
}

/// Neither asks for another image or another account: what tells them apart stands in objects that the question names.
#[test]
fn an_annotation_and_a_label_that_change_are_seen() {
    const ROLE: &str = "arn:aws:iam::111122223333:role/app";
    let documents =
        |statements: Value| json!([{"name": "pull", "document": {"Version": "2012-10-17", "Statement": statements}}]);
    let mapped = json!({"puller": {"serviceAccount": {"roles": [
        {"arn": ROLE, "identity": {"policies": documents(json!([allow("*", "*")]))}}],
        "identity": {"policies": documents(json!([]))}}}});
    let mut inventory = inventory(vec![policy("mapped", OLD, mapped)], &[]);
    let annotated = |value: &str| ServiceAccountFacts {
        namespace: "payments".to_owned(),
        name: "api".to_owned(),
        annotations: BTreeMap::from([("eks.amazonaws.com/ecr-role-arn".to_owned(), value.to_owned())]),
        ..ServiceAccountFacts::default()
    };
    let (pods, mut memory) = (pods(&[("a", "api", "team/app")]), Memory::default());
    let mut counts = |inventory: &Inventory| {
        let (scan, kept) = looked(&mut memory, inventory, &pods, at(NOW));
        let names = scan.all_counts.iter().filter(|(_, counts)| counts.pods != VerdictCounts::default());
        (names.map(|(key, counts)| (key.name.clone(), counts.pods.allowed)).collect::<Vec<_>>(), kept)
    };
    let found = |name: &str, allowed: i64| vec![(name.to_owned(), allowed)];
    inventory.put_namespace("payments".to_owned(), BTreeMap::new());
    inventory.put_service_account(annotated(ROLE));
    assert_eq!((counts(&inventory), counts(&inventory)), ((found("mapped", 1), 0), (found("mapped", 1), 1)));
    inventory.put_service_account(annotated("arn:aws:iam::111122223333:role/other"));
    assert_eq!(counts(&inventory), (found("mapped", 0), 0), "the annotation names another role");
    inventory.put_service_account(annotated(ROLE));
    assert_eq!(counts(&inventory), (found("mapped", 1), 0), "and the first one again");
    // Of cluster policies the label of the namespace decides, which no question has in it.
    let key = PolicyKey {
        kind: PolicyKind::EcrAccessPolicy,
        namespace: Some("payments".to_owned()),
        name: "mapped".to_owned(),
    };
    inventory.remove_policy(&key);
    for (name, statements) in [("open", json!([allow("*", "*")])), ("shut", json!([]))] {
        inventory.put_policy(cluster_policy(name, &documents(statements)));
    }
    let label = |value: &str| BTreeMap::from([("policy".to_owned(), value.to_owned())]);
    for (value, allowed) in [("open", 1), ("shut", 0), ("open", 1)] {
        inventory.put_namespace("payments".to_owned(), label(value));
        assert_eq!(counts(&inventory), (found(value, allowed), 0), "{value}");
    }
    assert_eq!(counts(&inventory), (found("open", 1), 1));
}

/// A policy for namespaces whose label `policy` has its name.
fn cluster_policy(name: &str, policies: &Value) -> PolicyObject {
    PolicyObject::from_json(json!({"kind": "ClusterEcrAccessPolicy", "metadata": {"name": name, "uid": name}, "spec": {
        "namespaceSelector": {"matchLabels": {"policy": name}},
        "puller": {"serviceAccount": {"identity": {"policies": policies}}}}}))
    .unwrap()
}
