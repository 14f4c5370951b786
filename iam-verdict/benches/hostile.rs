//! What hostile documents cost, over growing sizes: twice the bytes should take twice the time, and the depth none.
//! `cargo bench -p iam-verdict --bench hostile`

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iam_verdict::{Policy, PolicyType, lint, problems};

/// A document of about `size` bytes in which `item` is repeated.
fn filled(before: &str, item: impl Fn(usize) -> String, after: &str, size: usize) -> String {
    let mut text = before.to_owned();
    let mut index = 0;
    while text.len() + after.len() < size {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&item(index));
        index += 1;
    }
    text + after
}

fn documents(size: usize) -> Vec<(&'static str, String)> {
    let head = r#"{"Version":"2012-10-17","Statement":["#;
    let one = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","#;
    vec![
        ("nesting", "[".repeat(size)),
        ("empty statements", filled(head, |_| "{}".into(), "]}", size)),
        ("good statements", filled(head, |_| r#"{"Effect":"Allow","Action":"a:b","Resource":"*"}"#.into(), "]}", size)),
        (
            "Sids",
            filled(head, |i| format!(r#"{{"Sid":"S{i}","Effect":"Deny","Action":"a:b","Resource":"*"}}"#), "]}", size),
        ),
        ("elements", filled("{", |i| format!(r#""k{i}":1"#), "}", size)),
        ("stars", format!(r#"{one}"NotAction":"{}"}}}}"#, "*".repeat(size)).replace(r#""Action":"a:b","#, "")),
        (
            "condition keys",
            filled(&format!(r#"{one}"Condition":{{"StringLike":{{"#), |i| format!(r#""aws:k{i}":"v*""#), "}}}}", size),
        ),
        (
            "patterns",
            filled(
                r#"{"Statement":{"Effect":"Allow","Resource":"*","Action":["#,
                |i| format!(r#""a:b{i}*c*""#),
                "]}}",
                size,
            ),
        ),
        (
            "open variables",
            format!(r#"{one}"NotResource":"arn:aws:s3:::{}}}"}}}}"#, "${".repeat(size / 2))
                .replace(r#""Resource":"*","#, ""),
        ),
    ]
}

fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostile");
    group.sample_size(10);
    for size in [125_000, 250_000, 500_000, 1_000_000] {
        for (name, text) in documents(size) {
            group.throughput(Throughput::Bytes(u64::try_from(text.len()).expect("a length")));
            group.bench_with_input(BenchmarkId::new(name, size), &text, |bencher, text| {
                bencher.iter(|| {
                    let said = problems(PolicyType::Identity, black_box(text)).len();
                    said + lint(PolicyType::Identity, text).len() + usize::from(Policy::parse(text).is_ok())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, hostile);
criterion_main!(benches);
