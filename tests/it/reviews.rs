//! Reviews whose objects do not decode, or only in part: whatever a tenant wrote into an object, the question is answered
//! under its uid, a pod is never lost for it and a policy never stored.

use std::time::Duration;

use axum::http::StatusCode;
use ecr_access::webhook::limits::Limits;
use serde_json::{Value, json};

use crate::fake_cluster::{FakeCluster, Objects};
use crate::webhook::{
    Asked, PODS, POLICIES, ROLE, allowed, annotation, app, by_config_map, payments, policy, review, send, warnings,
};

const WORKLOADS: &str = "/validate/workloads";

/// As compact JSON, in which parts are easily exchanged.
fn compact(name: &str) -> String {
    serde_json::from_slice::<Value>(&review(name)).unwrap().to_string()
}

/// JSON of so many levels.
fn nested(levels: usize) -> Vec<u8> {
    format!("{}1{}", r#"{"f:x":"#.repeat(levels), "}".repeat(levels)).into_bytes()
}

/// What no decoder of a whole review takes: too deep for it, and no UTF-8.
fn bad() -> [Vec<u8>; 3] {
    [nested(200), nested(20_000), b"{\"f:\xff\xfe\":\"\xff\"}".to_vec()]
}

/// Puts `value` for each `mark` of `text`.
fn filled(text: &str, mark: &str, value: &[u8]) -> Vec<u8> {
    assert!(text.contains(mark), "{mark}");
    let parts: Vec<&[u8]> = text.split(mark).map(str::as_bytes).collect();
    parts.join(value)
}

async fn ask(path: &str, body: Vec<u8>) -> Asked {
    // A verdict is what counts here, on whatever machine.
    let limits = Limits { deadline: Duration::from_secs(60), ..Limits::default() };
    send(&app(&FakeCluster::synced(payments()), limits).0, path, body).await
}

// ---- managedFields ----

#[tokio::test]
async fn whatever_stands_in_managed_fields_changes_no_answer() {
    for (path, name) in [(PODS, "deny"), (PODS, "allow"), (PODS, "update-new-image"), (POLICIES, "policy-malformed")] {
        let text = compact(name);
        let plain = ask(path, text.clone().into_bytes()).await.response();
        let marked = text.replace(r#""metadata":{"#, r#""metadata":{"managedFields":[{"fieldsV1":MARK}],"#);
        for fields in bad() {
            assert_eq!(ask(path, filled(&marked, "MARK", &fields)).await.response(), plain, "{name}");
        }
    }
}

#[tokio::test]
async fn managed_fields_of_3_mb_are_passed_over() {
    let deep = nested(200_000);
    assert!(deep.len() > 1 << 20);
    let many = [&b"["[..], &deep, b",", &deep, b",", &deep, b"]"].concat();
    let marked = compact("deny").replace(r#""metadata":{"#, r#""metadata":{"managedFields":MARK,"#);
    let response = ask(PODS, filled(&marked, "MARK", &many)).await.response();
    assert_eq!((allowed(&response), annotation(&response, "verdict")), (false, "Deny"));
}

// ---- pods and workloads ----

#[tokio::test]
async fn a_pod_that_does_not_decode_is_unknown_by_name() {
    let marked = compact("deny").replace(r#""spec":{"#, r#""spec":{"a":[0,MARK],"#);
    for value in bad() {
        let response = ask(PODS, filled(&marked, "MARK", &value)).await.response();
        assert_eq!(response["uid"], json!("deny-1"));
        assert!(allowed(&response));
        assert_eq!((annotation(&response, "verdict"), annotation(&response, "reason")), ("Unknown", "Unreadable"));
        let [warning] = &*warnings(&response) else { panic!("{response:#}") };
        assert!(
            warning.starts_with("ecr-access: Unknown: pod payments/api-0 cannot be read: ")
                && warning.contains("`spec.a[1]"),
            "{warning}"
        );
        assert!(warning.len() < 300, "{warning}");
    }
    let template = json!({"spec": {"containers": [{"name": "app", "image": "MARK"}]}});
    let object = json!({"kind": "Deployment", "metadata": {"name": "api"}, "spec": {"template": template}});
    let text = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "operation": "CREATE",
        "namespace": "payments", "name": "api", "object": object}});
    let body = filled(&text.to_string(), "\"MARK\"", &nested(200));
    let response = ask(WORKLOADS, body).await.response();
    assert!(warnings(&response)[0].starts_with("ecr-access: Unknown: Deployment payments/api cannot be read: "));
}

#[tokio::test]
async fn what_need_not_be_read_is_not() {
    let deep = nested(200);
    for (name, reason) in [
        ("kube-system", "Excluded"),
        ("own-namespace", "Excluded"),
        ("other-kind", "NotApplicable"),
        ("delete", "NotApplicable"),
    ] {
        let marked = compact(name).replace(r#""metadata":{"#, r#""metadata":{"a":MARK,"#);
        let response = ask(PODS, filled(&marked, "MARK", &deep)).await.response();
        assert_eq!((annotation(&response, "reason"), warnings(&response).len()), (reason, 0), "{name}");
    }
}

#[tokio::test]
async fn the_images_of_a_pod_whose_stored_state_does_not_decode_are_all_judged() {
    let text = compact("update-unchanged");
    let (before, after) = text.split_once(r#""oldObject":"#).unwrap();
    let marked = format!(r#"{before}"oldObject":{}"#, after.replacen(r#""spec":{"#, r#""spec":{"a":MARK,"#, 1));
    let unchanged = ask(PODS, text.clone().into_bytes()).await.response();
    assert_eq!(annotation(&unchanged, "reason"), "Unchanged");
    for value in bad() {
        let response = ask(PODS, filled(&marked, "MARK", &value)).await.response();
        assert_eq!((allowed(&response), annotation(&response, "verdict")), (false, "Deny"), "{response:#}");
    }
}

// ---- the envelope ----

#[tokio::test]
async fn whatever_stands_beside_the_objects_leaves_the_question_readable() {
    let brackets = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
    let text = compact("deny");
    for value in bad().into_iter().chain([brackets]) {
        for (from, to) in [
            (r#""options":{"#, r#""options":{"a":MARK,"#),
            (r#""userInfo":{"#, r#""userInfo":{"extra":MARK,"#),
            (r#""dryRun":false"#, r#""dryRun":MARK"#),
            (r#""apiVersion":"admission.k8s.io/v1""#, r#""new":MARK,"apiVersion":"admission.k8s.io/v1""#),
            (r#""name":"api-0","namespace":"payments","object""#, r#""name":MARK,"namespace":"payments","object""#),
        ] {
            let marked = text.replace(from, to);
            let response = ask(PODS, filled(&marked, "MARK", &value)).await.response();
            assert_eq!((&response["uid"], allowed(&response)), (&json!("deny-1"), false), "{to}");
        }
        // Without a namespace no policy is found, which says so.
        let marked = text.replace(r#""namespace":"payments","object""#, r#""namespace":MARK,"object""#);
        let response = ask(PODS, filled(&marked, "MARK", &value)).await.response();
        assert_eq!(annotation(&response, "verdict"), "NotSelected");
        // The object itself.
        let marked = text.replace(r#""object":{"#, r#""object":MARK,"was":{"#);
        let response = ask(PODS, filled(&marked, "MARK", &value)).await.response();
        assert_eq!((&response["uid"], allowed(&response)), (&json!("deny-1"), true));
        assert_eq!(annotation(&response, "reason"), "Unreadable");
    }
}

#[tokio::test]
async fn what_is_no_review_with_a_uid_is_a_bad_request() {
    let text = compact("deny");
    let long = "u".repeat(65);
    for body in [
        "[".repeat(200_000),
        text[..text.len() - 1].to_owned(),
        format!("{text}]"),
        text.replace("deny-1", ""),
        text.replace("deny-1", &long),
        text.replace(r#""deny-1""#, "[[[]]]"),
        text.replace(r#""request":{"#, r#""request":7,"was":{"#),
    ] {
        let asked = ask(PODS, body.into_bytes()).await;
        assert_eq!(asked.status, StatusCode::BAD_REQUEST, "{}", asked.text);
        assert!(asked.text.len() < 200, "{}", asked.text);
    }
}

// ---- policies ----

const PLACE: &str = "spec.puller.nodes[0].identity.policies[0].document";

/// A review of a policy with `document` in it, and of one with `old` in its place before.
fn policy_review(operation: &str, document: &[u8], old: Option<&[u8]>) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&review("policy-malformed")).unwrap();
    let request = &mut review["request"];
    request["operation"] = json!(operation);
    let mut object = |mark: &str| {
        let place = "/object/spec/puller/nodes/0/identity/policies/0/document";
        *request.pointer_mut(place).unwrap() = json!(mark);
        request["object"].clone()
    };
    let stored = old.map_or(Value::Null, |_| object("OLD"));
    object("NEW");
    request["oldObject"] = stored;
    let text = filled(&review.to_string(), "\"NEW\"", b"NEW");
    let text = String::from_utf8(text).unwrap().replace("\"OLD\"", "OLD");
    let (before, rest) = text.split_once("NEW").unwrap();
    match (rest.split_once("OLD"), old) {
        (Some((between, after)), Some(old)) => {
            [before.as_bytes(), document, between.as_bytes(), old, after.as_bytes()].concat()
        }
        _ => [before.as_bytes(), document, rest.as_bytes()].concat(),
    }
}

const GOOD: &[u8] = br#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}"#;

const DEEP_OF_2008: &str = r#"{"Version":"2008-10-17","Statement":MARK}"#;

/// A document of so many levels.
fn document(levels: usize) -> Vec<u8> {
    let inner = format!("{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    format!(r#"{{"Version":"2012-10-17","Statement":{inner}}}"#).into_bytes()
}

#[tokio::test]
async fn a_document_that_nests_too_deeply_is_refused_by_name() {
    let string = |levels| serde_json::to_vec(&Value::from(String::from_utf8(document(levels)).unwrap())).unwrap();
    let response = ask(POLICIES, policy_review("CREATE", GOOD, None)).await.response();
    assert!(allowed(&response), "{response:#}");
    for (levels, written) in [
        (65, document(65)),
        (118, document(118)),
        (119, document(119)),
        (200, document(200)),
        (100_000, document(100_000)),
        (65, string(65)),
        (10_000, string(10_000)),
    ] {
        let response = ask(POLICIES, policy_review("CREATE", &written, None)).await.response();
        assert_eq!((&response["uid"], allowed(&response)), (&json!("policy-2"), false), "{levels}");
        assert_eq!(annotation(&response, "reason"), "DocumentTooDeep", "{levels}");
        let status = &response["status"];
        assert_eq!(
            (&status["code"], &status["details"]["causes"][0]["field"]),
            (&json!(422), &json!(PLACE)),
            "{levels}"
        );
        let message = status["message"].as_str().unwrap();
        let begin = format!("{PLACE}: $: the document nests deeper than 64 levels");
        assert!(message.starts_with(&begin) && message.ends_with(" [DocumentTooDeep]"), "{message}");
    }
    // What is no deeper is told what else is wrong with it.
    let response = ask(POLICIES, policy_review("CREATE", &document(64), None)).await.response();
    assert_eq!(annotation(&response, "reason"), "MalformedDocument");
}

#[tokio::test]
async fn levels_are_those_of_the_document_wherever_it_stands() {
    for (levels, reason) in [(64, "MalformedDocument"), (65, "DocumentTooDeep"), (200, "DocumentTooDeep")] {
        let text = compact("policy-malformed")
            .replace(r#""spec":{"#, r#""spec":{"repositories":[{"match":"*","policy":{"document":MARK}}],"#);
        let mended = text.replace("Permit", "Allow");
        let response = ask(POLICIES, filled(&mended, "MARK", &document(levels))).await.response();
        assert_eq!(annotation(&response, "reason"), reason, "{levels}: {response:#}");
        let field = response["status"]["details"]["causes"][0]["field"].as_str().unwrap();
        assert_eq!(field, "spec.repositories[0].policy.document");
    }
}

#[tokio::test]
async fn a_policy_that_does_not_decode_is_refused_with_the_place() {
    let text = compact("policy-good").replace(r#""spec":{"#, r#""spec":{"color":[MARK],"#);
    for value in bad() {
        let response = ask(POLICIES, filled(&text, "MARK", &value)).await.response();
        assert!(!allowed(&response));
        assert_eq!((&response["status"]["code"], annotation(&response, "reason")), (&json!(422), "Unreadable"));
        let field = response["status"]["details"]["causes"][0]["field"].as_str().unwrap();
        assert!(field.starts_with("spec.color[0]") && field.len() < 200, "{field}");
    }
}

#[tokio::test]
async fn what_is_stored_and_does_not_decode_stands_in_nobodys_way() {
    for worse in [document(200), b"\"\xff\"".to_vec()] {
        // It can be mended, it can be deleted, and a finalizer or a label can go.
        let response = ask(POLICIES, policy_review("UPDATE", GOOD, Some(&worse))).await.response();
        assert!(allowed(&response) && warnings(&response).is_empty(), "{response:#}");
        let body = policy_review("DELETE", b"null", Some(&worse));
        assert!(allowed(&ask(POLICIES, body).await.response()));
        let body = policy_review("UPDATE", &worse, Some(&worse));
        let labelled = [b"\"labels\":{}".to_vec(), b"\"labels\":{\"a\":\"b\"}".to_vec()];
        let at = body.windows(labelled[0].len()).position(|window| window == labelled[0]).unwrap();
        let body = [&body[..at], &labelled[1], &body[at + labelled[0].len()..]].concat();
        let response = ask(POLICIES, body).await.response();
        assert!(allowed(&response), "{response:#}");
        assert_eq!(
            warnings(&response),
            [
                "ecr-access: EcrAccessPolicy payments/pull cannot be read, no more than what was stored before: its verdicts are Unknown"
            ]
        );
        // Another one in its place is as bad as a first one.
        let other =
            if worse.starts_with(b"{") { filled(DEEP_OF_2008, "MARK", &nested(200)) } else { b"\"\xfe\"".to_vec() };
        assert!(!allowed(&ask(POLICIES, policy_review("UPDATE", &other, Some(&worse))).await.response()));
        assert!(!allowed(&ask(POLICIES, policy_review("UPDATE", &worse, Some(GOOD))).await.response()));
    }
}

#[tokio::test]
async fn what_is_wrong_beside_a_document_that_was_too_deep_before_is_told_and_can_be_mended() {
    let with = |second: &str| {
        let policies = format!(r#"[{{"name":"deep","document":MARK}},{{"name":"b","document":{second}}}]"#);
        format!(
            r#"{{"kind":"EcrAccessPolicy","spec":{{"puller":{{"role":{{"identity":{{"policies":{policies}}}}}}}}}}}"#
        )
    };
    let ask = async |old: &str, new: &str| {
        let text = format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","operation":"UPDATE",
                "kind":{{"group":"ecraccess.dev","kind":"EcrAccessPolicy"}},"name":"pull","object":{},"oldObject":{}}}}}"#,
            with(new),
            with(old)
        );
        ask(POLICIES, filled(&text, "MARK", &document(300))).await.response()
    };
    let good = std::str::from_utf8(GOOD).unwrap();
    let bad = good.replace("Allow", "Permit");
    let mended = ask(&bad, good).await;
    assert!(allowed(&mended), "{mended:#}");
    assert_eq!(annotation(&mended, "reason"), "Unreadable");
    let broken = ask(good, &bad).await;
    assert_eq!((allowed(&broken), annotation(&broken, "reason")), (false, "MalformedDocument"));
    let causes = broken["status"]["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 1, "{broken:#}");
    assert_eq!(causes[0]["field"], "spec.puller.role.identity.policies[1].document");
}

#[tokio::test]
async fn a_stored_document_that_nests_too_deeply_makes_its_own_verdicts_unknown() {
    let deep: Value = serde_json::from_slice(&document(100)).unwrap();
    let identity = |document: Value| {
        let roles = json!([{"arn": ROLE, "identity": {"policies": [{"name": "pull", "document": document}]}}]);
        json!({"puller": {"serviceAccount": {"roles": roles}}})
    };
    let of = |spec: Value| {
        let mut objects = payments();
        objects.policies = vec![policy(Some("payments"), "pull", "1", "*", spec)];
        objects
    };
    let mut in_config_map = by_config_map("1", Some("*"));
    in_config_map.config_maps[0]["data"] = json!({"app.json": deep.to_string()});
    let cases: [(&str, Objects); 4] = [
        ("mapping", of(identity(deep.clone()))),
        ("string", of(identity(json!(deep.to_string())))),
        ("repository", of(json!({"repositories": [{"match": "*", "policy": {"document": deep}}]}))),
        ("ConfigMap", in_config_map),
    ];
    for (what, objects) in cases {
        let mut objects = objects;
        let pull = json!({"role": {"arn": ROLE, "identity": {"policies": [
            {"name": "pull", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}]}}});
        let more = json!({"serviceAccounts": {"names": ["plain"]}, "puller": pull});
        objects.policies.push(policy(Some("payments"), "other", "2", "*", more));
        let (app, _) = app(&FakeCluster::synced(objects), Limits::default());
        let response = send(&app, PODS, review("deny")).await.response();
        assert_eq!((allowed(&response), annotation(&response, "verdict")), (true, "Unknown"), "{what}: {response:#}");
        let warning = warnings(&response).concat();
        assert!(warning.contains("[DocumentTooDeep]") && warning.contains("nests"), "{what}: {warning}");
        let response = send(&app, PODS, review("unknown")).await.response();
        assert_eq!(annotation(&response, "verdict"), "Allow", "{what}: {response:#}");
    }
}

// ---- the size of an answer ----

#[tokio::test]
async fn a_refusal_lists_32_causes_and_counts_the_others() {
    let mut big: Value = serde_json::from_slice(&review("deny")).unwrap();
    let containers: Vec<Value> = (0..8_000)
        .map(|n| json!({"name": format!("c{n}"), "image": format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/other/app-{}:1", n % 50)}))
        .collect();
    big["request"]["object"]["spec"]["containers"] = json!(containers);
    let asked = ask(PODS, big.to_string().into_bytes()).await;
    assert!(asked.text.len() < 32 << 10, "{} bytes", asked.text.len());
    let response = asked.response();
    let causes = response["status"]["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 33);
    assert_eq!(causes[31]["field"], json!("spec.containers[31].image"));
    assert_eq!(causes[32], json!({"reason": "FieldValueForbidden", "message": "7968 more causes are not listed"}));
}

#[tokio::test]
async fn a_refusal_is_short_however_long_what_it_quotes() {
    let mut object: Value = serde_json::from_slice(&review("policy-malformed")).unwrap();
    let key = |n: usize| format!("AWS:{n}{}", "\"".repeat(100_000));
    let context: serde_json::Map<String, Value> =
        (0..8).flat_map(|n| [(key(n), json!([])), (key(n).to_lowercase(), json!([]))]).collect();
    object["request"]["object"]["spec"]["context"] = json!(context);
    object["request"]["name"] = json!("n".repeat(1000));
    let asked = ask(POLICIES, object.to_string().into_bytes()).await;
    assert!(!allowed(&asked.response()));
    assert!(asked.text.len() < 64 << 10, "{} bytes", asked.text.len());
}
