//! One decision on prepared objects: plain, in a large policy, through all layers, and with facts that are not known.
#![allow(missing_docs)]

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use iam_verdict::{Decision, Environment, Fact, Request, decide, evaluate, missing};
use support::{FIVE, ThreadClock, identity, named, request};

fn bench(c: &mut Criterion<ThreadClock>, name: &str, env: &Environment, request: &Request, expected: Decision) {
    assert_eq!(evaluate(env, request).decision, expected, "{name}");
    c.bench_function(name, |b| b.iter(|| evaluate(black_box(env), black_box(request))));
}

fn plain(c: &mut Criterion<ThreadClock>) {
    let env = identity(vec![named(FIVE)]);
    let allowed = request("ecr:BatchGetImage", "team/app");
    bench(c, "five statements/allow", &env, &allowed, Decision::Allowed);
    bench(
        c,
        "five statements/explicit deny",
        &env,
        &request("ecr:BatchGetImage", "team/secret"),
        Decision::ExplicitlyDenied,
    );
    bench(c, "five statements/implicit deny", &env, &request("ecr:BatchGetImage", "other"), Decision::ImplicitlyDenied);
    c.bench_function("five statements/allow, decide", |b| b.iter(|| decide(black_box(&env), black_box(&allowed))));
}

fn read_only_access(c: &mut Criterion<ThreadClock>) {
    let env = identity(vec![named(&support::read_only_access())]);
    for (name, action, expected) in [
        ("ReadOnlyAccess/ecr:BatchGetImage", "ecr:BatchGetImage", Decision::Allowed),
        ("ReadOnlyAccess/exact name", "access-analyzer:GetAnalyzer", Decision::Allowed),
        ("ReadOnlyAccess/last service", "xray:GetTraceSummaries", Decision::Allowed),
        ("ReadOnlyAccess/not listed", "ecr:PutImage", Decision::ImplicitlyDenied),
        ("ReadOnlyAccess/no such service", "nothing:GetIt", Decision::ImplicitlyDenied),
    ] {
        bench(c, name, &env, &request(action, "team/app"), expected);
    }
}

const EVERYTHING: &str =
    r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
const EVERYONE: &str =
    r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}"#;
const REPOSITORY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]},
    {"Effect": "Deny", "Principal": "*", "Action": "ecr:DeleteRepository"}]}"#;
const BOUNDARY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["ecr:*", "s3:*", "logs:*"], "Resource": "*"},
    {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}"#;

fn layers(c: &mut Criterion<ThreadClock>) {
    let allowed = request("ecr:BatchGetImage", "team/app");
    let alone = identity(vec![named(FIVE)]);
    bench(c, "layers/identity alone", &alone, &allowed, Decision::Allowed);
    let all = Environment {
        boundary: Some(named(BOUNDARY)),
        session: vec![named(EVERYTHING)],
        resource: Some(named(REPOSITORY)),
        registry: Some(named(REPOSITORY)),
        scps: vec![vec![named(EVERYTHING)], vec![named(EVERYTHING)]],
        rcps: vec![vec![named(EVERYONE)]],
        endpoint: Some(named(EVERYONE)),
        ..alone
    };
    bench(c, "layers/all", &all, &allowed, Decision::Allowed);
}

/// `keys` statements that allow if a key has a value, the key not known.
fn open(c: &mut Criterion<ThreadClock>) {
    for keys in [1, 2, 4, 6, 7, 20] {
        let statements: Vec<String> = (0..keys)
            .map(|key| {
                format!(
                    r#"{{"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {{"StringEquals": {{"aws:PrincipalTag/{key}": ["a", "b"]}}}}}}"#
                )
            })
            .collect();
        let env = identity(vec![named(&format!(r#"{{"Statement": [{}]}}"#, statements.join(",")))]);
        let mut request = request("ecr:BatchGetImage", "team/app");
        request.context = std::mem::take(&mut request.context).with_unlisted(Fact::Unknown);
        bench(c, &format!("unknown/{keys} keys"), &env, &request, Decision::Unknown);
        c.bench_function(&format!("unknown/{keys} keys, missing"), |b| {
            b.iter(|| missing(black_box(&env), black_box(&request)));
        });
    }
}

criterion_group!(name = benches; config = support::criterion(); targets = plain, read_only_access, layers, open);
criterion_main!(benches);
