//! What the benches share: a clock and policies.
#![allow(missing_docs, dead_code, clippy::expect_used)]

use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use iam_verdict::{Context, Environment, NamedPolicy, Policy, Principal, Request};

/// Processor time of the thread, so that a busy machine changes the figures little.
pub struct ThreadClock;

impl Measurement for ThreadClock {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Short runs: the figures are to show ratios and growth.
pub fn criterion() -> Criterion<ThreadClock> {
    Criterion::default()
        .with_measurement(ThreadClock)
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
}

/// Five statements about ECR.
pub const FIVE: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
    {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": "arn:aws:ecr:*:*:repository/team/*"},
    {"Effect": "Allow", "Action": "ecr:Describe*", "Resource": "*"},
    {"Effect": "Deny", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/secret"},
    {"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "arn:aws:ecr:*:*:repository/abac/*",
     "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}}]}"#;

/// The AWS managed policy, about 95,000 characters.
pub fn read_only_access() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../ecr-forecast/src/ecr/managed-policies/ReadOnlyAccess.json");
    let text = std::fs::read_to_string(path).expect("the managed policies are part of the workspace");
    let value: serde_json::Value = serde_json::from_str(&text).expect("the file is JSON");
    value.get("document").expect("the file holds a document").to_string()
}

pub fn policy(text: &str) -> Policy {
    Policy::parse(text).expect("the policy is well formed")
}

pub fn named(text: &str) -> NamedPolicy {
    NamedPolicy::known("app", policy(text))
}

pub fn identity(policies: Vec<NamedPolicy>) -> Environment {
    Environment { identity: policies, ..Environment::default() }
}

pub fn request(action: &str, repository: &str) -> Request {
    Request {
        principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
        action: action.into(),
        resource: format!("arn:aws:ecr:us-east-1:111122223333:repository/{repository}"),
        context: Context::new(),
    }
}
