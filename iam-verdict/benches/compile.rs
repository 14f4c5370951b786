//! From text to a policy, beside `serde_json` reading the same text.
#![allow(missing_docs, clippy::expect_used)]

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use iam_verdict::evaluate;
use support::{FIVE, ThreadClock, identity, named, policy, request};

fn compile(c: &mut Criterion<ThreadClock>) {
    for (name, text) in [("five statements", FIVE), ("ReadOnlyAccess", &support::read_only_access())] {
        c.bench_function(&format!("{name}/policy"), |b| b.iter(|| policy(black_box(text))));
        c.bench_function(&format!("{name}/serde_json::Value"), |b| {
            b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(text)).expect("the text is JSON"));
        });
    }
    c.bench_function("five statements/from strings to outcome", |b| {
        b.iter(|| {
            evaluate(&identity(vec![named(black_box(FIVE))]), &request(black_box("ecr:BatchGetImage"), "team/app"))
        });
    });
}

criterion_group!(name = benches; config = support::criterion(); targets = compile);
criterion_main!(benches);
