use super::*;
use crate::inventory::ServiceAccountFacts;
use proptest::prelude::*;
use serde_json::{Value, json};

const IMAGE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1";
const ROLE: &str = "arn:aws:iam::111122223333:role/app";

fn at() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

/// A namespaced policy `payments/payments-pull` whose spec is `spec`.
fn policy(spec: Value) -> PolicyObject {
    PolicyObject::from_json(json!({"kind": "EcrAccessPolicy",
        "metadata": {"name": "payments-pull", "namespace": "payments"}, "spec": spec}))
    .unwrap()
}

fn statements_of(statements: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn allow(action: Value, resource: Value) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

/// A spec with the role `app` and one document.
fn by_role(statements: Value) -> Value {
    json!({"puller": {"role": {"arn": ROLE,
        "identity": {"policies": [{"name": "app-pull", "document": statements_of(statements)}]}}}})
}

fn world(spec: Value) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.put_namespace("payments".into(), [].into());
    inventory.put_service_account(ServiceAccountFacts {
        namespace: "payments".into(),
        name: "api".into(),
        ..ServiceAccountFacts::default()
    });
    inventory.put_policy(policy(spec));
    inventory
}

fn pod(images: &[&str]) -> Subject {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    Subject::from_pod(&json!({"metadata": {"namespace": "payments", "name": "api-0"},
        "spec": {"serviceAccountName": "api", "containers": containers}}))
    .unwrap()
}

fn judge_in(inventory: &Inventory, subject: &Subject) -> Report {
    forecast(inventory, subject, at(), &Options::default())
}

fn judge(spec: Value, images: &[&str]) -> Report {
    judge_in(&world(spec), &pod(images))
}

#[test]
fn probe() {
    let specs = [
        by_role(json!([allow(json!("ecr:GetAuthorizationToken"), json!("*")), allow(json!("ecr:*"), json!("arn:aws:ecr:us-east-1:111122223333:repository/team"))])),
        by_role(json!([allow(json!("ecr:*"), json!("arn:aws:ecr:us-east-1:111122223333:repository/team/app"))])),
        by_role(json!([allow(json!("s3:*"), json!("*"))])),
        by_role(json!([allow(json!("ecr:List*"), json!("*"))])),
        by_role(json!([allow(json!("*"), json!("*")), {"Sid": "NoPulls", "Effect": "Deny", "Action": "ecr:Batch*", "Resource": "*"}])),
        by_role(json!([{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}])),
        by_role(json!([{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}}])),
        by_role(json!([allow(json!("*"), json!("*"))])),
        json!({"puller": {"serviceAccount": {}}}),
        json!({"puller": {"role": {"arn": ROLE}}}),
        json!({"puller": {"nodes": []}}),
    ];
    for spec in specs {
        let report = judge(spec, &[IMAGE, "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/other:1"]);
        println!("{:?} {:?} {:?} {:?} len {}", report.verdict, report.admission, report.images[0].reason, report.images[0].cause, report.denial_message().len());
        println!("{}", report.denial_message());
        println!("W {:?}", report.warnings());
        println!("N {:?}\n", report.notes);
    }
}
