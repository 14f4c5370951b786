//! One decision: on prepared objects, and from strings.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use iam_verdict::{
    Context, Decision, Environment, Fact, NamedPolicy, Policy, Principal, Request, decide, evaluate, missing,
};

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
    {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": "arn:aws:ecr:*:*:repository/team/*"},
    {"Effect": "Allow", "Action": "ecr:Describe*", "Resource": "*"},
    {"Effect": "Deny", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/secret"},
    {"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "arn:aws:ecr:*:*:repository/abac/*",
     "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}}]}"#;

fn environment() -> Environment {
    let policy = Policy::parse(POLICY).expect("the policy is well formed");
    Environment { identity: vec![NamedPolicy::known("app", policy)], ..Environment::default() }
}

fn request(repository: &str) -> Request {
    Request {
        principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
        action: "ecr:BatchGetImage".into(),
        resource: format!("arn:aws:ecr:us-east-1:111122223333:repository/{repository}"),
        context: Context::new(),
    }
}

fn decisions(c: &mut Criterion) {
    let env = environment();
    for (name, repository, expected) in [
        ("allow", "team/app", Decision::Allowed),
        ("explicit deny", "team/secret", Decision::ExplicitlyDenied),
        ("implicit deny", "other", Decision::ImplicitlyDenied),
    ] {
        let request = request(repository);
        assert_eq!(decide(&env, &request), expected);
        c.bench_function(&format!("prepared/{name}"), |b| b.iter(|| decide(black_box(&env), black_box(&request))));
    }
    c.bench_function("from strings/allow", |b| b.iter(|| evaluate(&environment(), &request(black_box("team/app")))));
    let mut open = request("abac/app");
    open.context = Context::new().with_unlisted(Fact::Unknown);
    assert_eq!(decide(&env, &open), Decision::Unknown);
    c.bench_function("prepared/unknown", |b| b.iter(|| decide(black_box(&env), black_box(&open))));
    c.bench_function("missing", |b| b.iter(|| missing(black_box(&env), black_box(&open))));
}

criterion_group!(benches, decisions);
criterion_main!(benches);
