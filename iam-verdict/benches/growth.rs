//! Cost of one decision against the number of statements, of actions, and of policies.
#![allow(missing_docs)]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use iam_verdict::{Decision, evaluate};
use support::{ThreadClock, identity, named, request};

fn growth(c: &mut Criterion<ThreadClock>) {
    let asked = request("ecr:BatchGetImage", "team/app");
    let mut run = |name: &str, size: usize, statements: &[String]| {
        let env = identity(vec![named(&format!(r#"{{"Statement": [{}]}}"#, statements.join(",")))]);
        assert_ne!(evaluate(&env, &asked).decision, Decision::Unknown);
        c.bench_with_input(BenchmarkId::new(name, size), &size, |b, _| {
            b.iter(|| evaluate(black_box(&env), black_box(&asked)));
        });
    };
    let allow = |action: &str, resource: &str| {
        format!(r#"{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}"#)
    };
    for size in [1, 10, 100, 1_000, 10_000] {
        let other: Vec<String> = (0..size).map(|n| allow(&format!("s{n}:Get*"), "*")).collect();
        run("statements about other actions", size, &other);
        let same: Vec<String> =
            (0..size).map(|n| allow("ecr:BatchGetImage", &format!("arn:aws:ecr:*:*:repository/other-{n}"))).collect();
        run("statements about the action", size, &same);
        let names: Vec<String> = (0..size).map(|n| format!(r#""s{n}:Get{n}""#)).collect();
        let one = format!(r#"{{"Effect": "Allow", "Action": [{}], "Resource": "*"}}"#, names.join(","));
        run("actions in one statement", size, &[one]);
    }
    for size in [1, 10, 100, 1_000] {
        let env = identity((0..size).map(|_| named(support::FIVE)).collect());
        assert_eq!(evaluate(&env, &asked).decision, Decision::Allowed);
        c.bench_with_input(BenchmarkId::new("policies", size), &size, |b, _| {
            b.iter(|| evaluate(black_box(&env), black_box(&asked)));
        });
    }
}

criterion_group!(name = benches; config = support::criterion(); targets = growth);
criterion_main!(benches);
