//! Documents and patterns made to be slow, at growing sizes: time per byte stays where it is.
#![allow(missing_docs, clippy::expect_used)]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iam_verdict::{Decision, Policy, PolicyType, evaluate, validate};
use serde_json::json;
use support::{ThreadClock, identity, named, request};

const SIZES: [usize; 4] = [125_000, 250_000, 500_000, 1_000_000];

fn documents(c: &mut Criterion<ThreadClock>) {
    let mut group = c.benchmark_group("parse");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let texts = [
            ("open brackets", "[".repeat(size)),
            ("objects in objects", r#"{"a":"#.repeat(size / 5)),
            ("a list of empty lists", format!("[{}[]]", "[],".repeat(size / 3 - 2))),
            ("a string of escapes", format!(r#"{{"Version":"{}"}}"#, r"\n".repeat(size / 2 - 10))),
            ("different unknown keys", keys(size)),
        ];
        for (name, text) in &texts {
            assert!(Policy::parse(text).is_err(), "{name}");
            group.bench_with_input(BenchmarkId::new(*name, size), text, |b, text| {
                b.iter(|| Policy::parse(black_box(text)).is_err());
            });
        }
        let stars = one("*", &"*".repeat(size));
        group.bench_with_input(BenchmarkId::new("a run of stars", size), &stars, |b, text| {
            b.iter(|| Policy::parse(black_box(text)).is_ok());
        });
        let mixed = one("*", &"*a".repeat(size / 2));
        group.bench_with_input(BenchmarkId::new("stars and letters", size), &mixed, |b, text| {
            b.iter(|| Policy::parse(black_box(text)).is_ok());
        });
        let statements: Vec<&str> = vec![r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#; size / 47];
        let many = format!(r#"{{"Statement":[{}]}}"#, statements.join(","));
        group.bench_with_input(BenchmarkId::new("many statements", size), &many, |b, text| {
            b.iter(|| Policy::parse(black_box(text)).is_ok());
        });
        group.bench_with_input(BenchmarkId::new("many statements, validated", size), &many, |b, text| {
            b.iter(|| validate(PolicyType::Identity, black_box(text)));
        });
    }
    group.finish();
    // Beyond the size that is read from text: 100,000 statements that another reader has read.
    let mut group = c.benchmark_group("from_value");
    for count in [12_500, 25_000, 50_000, 100_000] {
        let value = json!({"Statement": vec![json!({"Effect": "Allow", "Action": "*", "Resource": "*"}); count]});
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("statements", count), &value, |b, value| {
            b.iter(|| Policy::from_value(black_box(value)).is_ok());
        });
        let env = identity(vec![iam_verdict::NamedPolicy::known(
            "many",
            Policy::from_value(&value).expect("the policy is well formed"),
        )]);
        let asked = request("ecr:BatchGetImage", "team/app");
        group.bench_with_input(BenchmarkId::new("statements, evaluated", count), &env, |b, env| {
            b.iter(|| evaluate(black_box(env), black_box(&asked)));
        });
    }
}

/// A condition on a long value: the pattern has `size` bytes, and so has the value.
fn patterns(c: &mut Criterion<ThreadClock>) {
    let mut group = c.benchmark_group("match");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let letters = "a".repeat(size);
        for (name, pattern) in [
            ("a star, then a long text that almost fits", format!("*{}b*", "a".repeat(size / 2))),
            ("stars and letters, which do not fit", format!("{}b*", "*a".repeat(size / 2 - 2))),
            ("stars and pairs", format!("{}*", "*ab".repeat(size / 3 - 2))),
            ("stars at ever longer texts", longer(size)),
        ] {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{"StringLike":{{"aws:UserAgent":"{pattern}"}}}}}}}}"#
            );
            let env = identity(vec![named(&text)]);
            let mut asked = request("ecr:BatchGetImage", "team/app");
            asked.context.set("aws:UserAgent", iam_verdict::Fact::value(letters.as_str()));
            assert_ne!(evaluate(&env, &asked).decision, Decision::Unknown);
            group.bench_with_input(BenchmarkId::new(name, size), &env, |b, env| {
                b.iter(|| evaluate(black_box(env), black_box(&asked)));
            });
        }
    }
    group.finish();
    // Single characters have no linear search: the cost is the text times the longest stretch between two stars.
    let mut group = c.benchmark_group("match, text of 2,048 characters");
    let letters = "a".repeat(2_048);
    for stretch in [16, 64, 256, 1_024] {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{"StringLike":{{"aws:UserAgent":"*{}b*"}}}}}}}}"#,
            "a?".repeat(stretch / 2)
        );
        let env = identity(vec![named(&text)]);
        let mut asked = request("ecr:BatchGetImage", "team/app");
        asked.context.set("aws:UserAgent", iam_verdict::Fact::value(letters.as_str()));
        group.throughput(Throughput::Elements(stretch as u64));
        group.bench_with_input(BenchmarkId::new("a stretch of letters and ?", stretch), &env, |b, env| {
            b.iter(|| evaluate(black_box(env), black_box(&asked)));
        });
    }
}

fn keys(size: usize) -> String {
    let keys: Vec<String> = (0..size / 16).map(|n| format!(r#""{n:010}":1"#)).collect();
    format!(r#"{{"Statement":[{{{}}}]}}"#, keys.join(","))
}

fn one(action: &str, resource: &str) -> String {
    format!(r#"{{"Statement":{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}}}"#)
}

fn longer(size: usize) -> String {
    let mut pattern = String::new();
    let mut length = 1;
    while pattern.len() < size / 2 {
        pattern.push('*');
        pattern.push_str(&"a".repeat(length));
        length *= 2;
    }
    pattern.push_str("*b*");
    pattern
}

criterion_group!(name = benches; config = support::criterion(); targets = documents, patterns);
criterion_main!(benches);
