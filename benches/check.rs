//! `ecr-access check` as a program on a thousand manifests, and one verdict in memory: how it grows with images and with
//! policies, every layer declared.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a bench may stop when its own data is wrong")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, Stdio};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ecr_forecast::cluster::Subject;
use ecr_forecast::forecast;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict};
use ecr_forecast::policy::compiled::PolicyObject;
use fixtures::{PULL, ROLE, document};
use serde_json::{Value, json};

/// A policy object that declares every layer, with so many identity-based policies.
fn policy(policies: usize) -> Value {
    let allow = |action: Value, resource: &str| document(json!([fixtures::allow(action, resource)]));
    let mut identity: Vec<Value> = (1..policies)
        .map(|n| {
            let resource = format!("arn:aws:ecr:*:111122223333:repository/other-{n}/*");
            json!({"name": format!("p{n}"), "document": allow(json!(PULL), &resource)})
        })
        .collect();
    let mut own = allow(json!(PULL), "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*");
    own["Statement"][0]["Condition"] = json!({"StringEquals": {"aws:ResourceTag/tier": "gold", "aws:SourceVpc": "vpc-1"}, "DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}});
    identity.push(json!({"name": "own", "document": own}));
    identity.push(json!({"name": "login", "document": allow(json!("ecr:GetAuthorizationToken"), "*")}));
    let everything = allow(json!("*"), "*");
    let guard = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}, "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/admin"}}}]});
    let rcp = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "ecr:*", "Resource": "*",
        "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalAccount": "111122223333"}}}]});
    let level = |name: &str| json!({"level": name, "policies": [{"name": "full", "document": everything}, {"name": "guard", "document": guard}]});
    let spec = json!({
        "puller": {"serviceAccount": {"identity": {"policies": identity, "tags": {"team": "team"},
            "permissionsBoundary": {"managedPolicyArn": "arn:aws:iam::aws:policy/PowerUserAccess"}}}},
        "repositories": [
            {"match": "arn:aws:ecr:*:*:repository/elsewhere/*", "presence": "Present"},
            {"match": "arn:aws:ecr:*:111122223333:repository/*", "tags": {"tier": "gold"}, "presence": "Present",
             "policy": {"document": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "ecr:Batch*"}]}}}],
        "registries": [{"accountId": "111122223333", "policyScope": "V2", "pullThroughCache": [{"prefix": "team"}],
            "policy": {"document": {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "ecr:Delete*", "Resource": "*"}]}}}],
        "organization": {"serviceControlPolicies": [level("root"), level("workloads"), level("account")],
            "resourceControlPolicies": [{"level": "root", "policies": [{"name": "ours", "document": rcp}]}]},
        "context": {"aws:SourceVpc": ["vpc-1"]},
    });
    fixtures::policy("pull").spec(spec).object()
}

fn account() -> Value {
    fixtures::marked(fixtures::service_account("api"), json!({}), json!({fixtures::ROLE_ANNOTATION: ROLE}))
}

fn inventory(policies: usize) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.put_policy(PolicyObject::from_json(policy(policies)).expect("a policy"));
    inventory.put_service_account(ServiceAccountFacts::from_json(&account()).expect("an account"));
    inventory
}

fn pod(images: usize) -> Value {
    let images: Vec<String> = (0..images).map(|n| fixtures::image(&format!("team/app-{n}"))).collect();
    fixtures::pod("app", fixtures::pod_spec("api", images.iter().map(String::as_str)))
}

fn verdicts(criterion: &mut Criterion) {
    let at = "2026-11-23T00:00:00Z".parse().expect("a moment");
    let mut judge = |group: &str, label: usize, policies: usize, images: usize| {
        let (inventory, subject) = (inventory(policies), Subject::from_pod(&pod(images)).expect("a pod"));
        let options = Options::default();
        let report = forecast(&inventory, &subject, at, &options);
        assert_eq!(report.verdict, Verdict::Allow, "{:?}", report.images.first());
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(images as u64));
        group.bench_with_input(BenchmarkId::from_parameter(label), &subject, |bencher, subject| {
            bencher.iter(|| black_box(forecast(&inventory, black_box(subject), at, &options)));
        });
        group.finish();
    };
    for images in [1, 10, 30, 100, 300] {
        judge("every layer, images", images, 3, images);
    }
    for policies in [1, 10, 30, 100] {
        judge("every layer, 30 images, identity policies", policies, policies, 30);
    }
}

/// A thousand manifests in one file: 900 pods, 50 policies, 50 service accounts.
fn manifests() -> String {
    let mut text = String::new();
    for n in 0..50 {
        let mut policy = policy(3);
        policy["metadata"]["namespace"] = json!(format!("team-{n}"));
        let mut account = account();
        (account["apiVersion"], account["kind"]) = (json!("v1"), json!("ServiceAccount"));
        account["metadata"]["namespace"] = json!(format!("team-{n}"));
        for object in [policy, account] {
            writeln!(text, "---\n{}", serde_saphyr::to_string(&object).expect("YAML")).expect("a string");
        }
    }
    for n in 0..900 {
        let mut pod = pod(2);
        pod["apiVersion"] = json!("v1");
        pod["metadata"] = json!({"namespace": format!("team-{}", n % 50), "name": format!("app-{n}")});
        writeln!(text, "---\n{}", serde_saphyr::to_string(&pod).expect("YAML")).expect("a string");
    }
    text
}

fn program(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("all.yaml"), manifests()).expect("a file");
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_ecr-access"))
            .args(["check", "-o", "json", "--at", "2026-11-23T00:00:00Z", "-f"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout.len()
    };
    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Elements(1000)).sample_size(20);
    group.bench_function("1000 manifests", |bencher| bencher.iter(|| black_box(run())));
    group.finish();
}

criterion_group!(benches, verdicts, program);
criterion_main!(benches);
