//! Exemptions: what they let in, what they say, and when they end.

use super::*;

/// `spec` with one exemption, `legacy`, of [`IMAGE`] for these service accounts until `end`.
fn exempting(mut spec: Value, accounts: Value, end: &str) -> Value {
    let mut exemption = json!({"name": "legacy", "images": ["*/team/*"], "reason": "moves in March", "expiresAt": end});
    if !accounts.is_null() {
        exemption["serviceAccounts"] = accounts;
    }
    spec["exemptions"] = json!([exemption]);
    spec
}

const LATER: &str = "2027-03-31T00:00:00Z";

#[test]
fn an_exemption_admits_with_a_warning_and_leaves_the_verdict() {
    let plain = judge(by_role(nothing()), &[IMAGE]);
    let report = judge(exempting(by_role(nothing()), json!(["api"]), LATER), &[IMAGE]);
    assert_eq!((plain.verdict, plain.admission), (Verdict::Deny, Admission::Rejected));
    assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Warned));
    let used = report.images[0].exemption.clone().unwrap();
    assert_eq!(json!(used), json!({"name": "legacy", "expiresAt": LATER}));
    assert_eq!(report.images[0].message, plain.images[0].message);
    let line = plain.images[0].message.lines().next().unwrap();
    let exempted = "Pod payments/api-0 is admitted all the same, until 2027-03-31T00:00:00Z, by exemption legacy of \
                    EcrAccessPolicy/payments/payments-pull: moves in March";
    assert_eq!(report.warnings(), [line, exempted]);
    assert_eq!(report.exemptions().collect::<Vec<_>>(), [&used]);
    assert_eq!((report.denial_message(), report.causes()), (String::new(), Vec::new()), "nothing is refused");
    // What is not certain, too, and what is no image reference.
    let mut open = exempting(by_role(open_ended()), Value::Null, LATER);
    open["onUnknown"] = json!("Reject");
    let report = judge(open, &[IMAGE]);
    assert_eq!((report.verdict, report.admission), (Verdict::Unknown, Admission::Warned));
    let report = judge(exempting(by_role(nothing()), Value::Null, LATER), &[&IMAGE.replace("app", "App")]);
    assert_eq!((report.images[0].reason, report.admission), (Reason::InvalidImage, Admission::Warned));
    assert_eq!(report.exemptions().count(), 1);
}

#[test]
fn an_exemption_is_for_what_it_names_alone() {
    let other = IMAGE.replace("team", "other");
    // Another image of the pod is refused, and it alone is blamed.
    let report = judge(exempting(by_role(nothing()), Value::Null, LATER), &[IMAGE, &other]);
    assert_eq!(report.admission, Admission::Rejected);
    let fields: Vec<String> = report.causes().into_iter().map(|cause| cause.field).collect();
    assert_eq!(fields, ["spec.containers[1].image"]);
    assert!(
        report.denial_message().contains("container c1: cannot pull") && !report.denial_message().contains("further")
    );
    assert_eq!(report.exemptions().count(), 0, "it let nothing in");
    // Refused because of an Unknown, beside a Deny that is exempted.
    let mut spec = exempting(by_role(open_ended()), Value::Null, LATER);
    spec["onUnknown"] = json!("Reject");
    spec["repositories"] = json!([{"match": "*/team/app", "presence": "Missing"}]);
    spec["repositories"][0]["match"] = json!("arn:aws:ecr:us-east-1:111122223333:repository/team/app");
    let report = judge(spec, &[IMAGE, &other]);
    assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Rejected));
    assert!(report.denial_message().starts_with("Pod payments/api-0, container c1: not known whether "));
    // Other accounts.
    let report = judge(exempting(by_role(nothing()), json!(["worker"]), LATER), &[IMAGE]);
    assert_eq!((report.admission, report.images[0].exemption.as_ref()), (Admission::Rejected, None));
    // What can be pulled needs none.
    let report = judge(exempting(by_role(everything()), Value::Null, LATER), &[IMAGE]);
    assert_eq!((report.admission, report.images[0].exemption.as_ref()), (Admission::Admitted, None));
}

#[test]
fn nothing_that_a_tenant_can_write_exempts() {
    let words = json!({"ecraccess.dev/exempt": "true", "ecraccess.dev/exemption": "legacy", "exempt": "legacy",
        "ecraccess.dev/skip": "true"});
    let mut inventory = world(exempting(by_role(nothing()), json!(["legacy"]), LATER));
    let text: BTreeMap<String, String> = serde_json::from_value(words.clone()).unwrap();
    inventory.put_namespace("payments".into(), text.clone());
    inventory.put_service_account(ServiceAccountFacts {
        namespace: "payments".into(),
        name: "api".into(),
        labels: text.clone(),
        annotations: text,
        ..ServiceAccountFacts::default()
    });
    let pod = json!({"metadata": {"namespace": "payments", "name": "api-0", "labels": words, "annotations": words},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": IMAGE}]}});
    let report = judge_in(&inventory, &Subject::from_pod(&pod).unwrap());
    assert_eq!((report.admission, report.images[0].exemption.as_ref()), (Admission::Rejected, None));
}

#[test]
fn an_exemption_ends_by_itself() {
    let spec = || exempting(by_role(nothing()), Value::Null, "2026-11-23T00:00:01Z");
    let report = |at: &str| forecast(&world(spec()), &pod(&[IMAGE]), at.parse().unwrap(), &Options::default());
    let end: Timestamp = "2026-11-23T00:00:01Z".parse().unwrap();
    let before = report("2026-11-23T00:00:00.999Z");
    assert_eq!((before.admission, before.next_transition), (Admission::Warned, Some(end)));
    let after = report("2026-11-23T00:00:01Z");
    assert_eq!((after.admission, after.next_transition), (Admission::Rejected, None));
    assert_eq!(after.images[0].exemption, None);
    // Where its end changes nothing there is no transition: it is not in need, or another one goes on.
    let mut mild = spec();
    mild["onDeny"] = json!("Warn");
    assert_eq!(judge(mild, &[IMAGE]).next_transition, None);
    let mut two = spec();
    let mut longer = two["exemptions"][0].clone();
    longer["name"] = json!("longer");
    longer["expiresAt"] = json!(LATER);
    two["exemptions"].as_array_mut().unwrap().push(longer);
    let report = judge(two, &[IMAGE]);
    assert_eq!(report.images[0].exemption.as_ref().map(|used| used.name.as_str()), Some("longer"));
    assert_eq!(report.next_transition, Some(LATER.parse().unwrap()));
}

#[test]
fn a_workload_under_an_exemption_is_warned_of_its_end() {
    let mut subject = pod(&[IMAGE]);
    (subject.kind, subject.template) = ("Deployment".into(), true);
    let report = judge_in(&world(exempting(by_role(nothing()), Value::Null, LATER)), &subject);
    assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Warned));
    let warnings = report.warnings();
    assert_eq!(
        warnings[1..],
        ["Deployment payments/api-0: its pods are admitted until 2027-03-31T00:00:00Z, by exemption legacy of \
          EcrAccessPolicy/payments/payments-pull: moves in March"]
    );
    // From then on its pods are refused, though it is not.
    assert_eq!(report.next_transition, Some(LATER.parse().unwrap()));
    assert_eq!(report.exemptions().count(), 0, "a template is admitted anyway");
}

#[test]
fn an_exemption_of_the_cluster_kind_is_for_namespaces() {
    let with = |namespaces: Value| {
        let mut spec = exempting(by_role(nothing()), json!(["api"]), LATER);
        spec["exemptions"][0]["namespaces"] = namespaces;
        let mut inventory = world(by_role(nothing()));
        inventory.remove_policy(&policy(by_role(nothing())).key);
        let object = json!({"kind": "ClusterEcrAccessPolicy", "metadata": {"name": "all"}, "spec": spec});
        inventory.put_policy(PolicyObject::from_json(object).unwrap());
        judge_in(&inventory, &pod(&[IMAGE])).admission
    };
    assert_eq!(with(json!(["payments"])), Admission::Warned);
    assert_eq!(with(json!(["shop"])), Admission::Rejected);
    // The schema refuses it; one that got in is not understood, and nobody is refused by what is not understood.
    assert_eq!(with(json!(null)), Admission::Warned);
}
