//! A definite outcome on prepared objects allocates nothing.
#![allow(missing_docs, clippy::unwrap_used)]

use allocation_counter::measure;
use iam_verdict::{Context, Decision, Environment, Fact, NamedPolicy, Policy, Principal, Request, decide, evaluate};

/// One statement of each kind of condition, and of principal.
const CONDITIONS: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ecr:Batch*", "Resource": "arn:aws:ecr:*:*:repository/team/*", "Condition": {
        "StringEquals": {"aws:PrincipalTag/team": "${aws:ResourceTag/team}"},
        "StringLike": {"aws:UserAgent": "*kubelet*"},
        "StringEqualsIgnoreCase": {"aws:RequestedRegion": "EU-central-1"},
        "NumericLessThan": {"aws:MultiFactorAuthAge": "3600.5"},
        "DateGreaterThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"},
        "Bool": {"aws:SecureTransport": "true"},
        "BinaryEquals": {"app:blob": "QmluYXJ5"},
        "IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]},
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/app"},
        "ForAllValues:StringLike": {"aws:TagKeys": ["t*", "u*"]},
        "Null": {"aws:TokenIssueTime": "true"}}}]}"#;
const REPOSITORY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": ["444455556666", "arn:aws:iam::111122223333:role/app"]}, "Action": "ecr:BatchGetImage"},
    {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::111122223333:role/other"}, "Action": "ecr:*"},
    {"Effect": "Allow", "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:role/other"}, "NotAction": "s3:*"}]}"#;
const EVERYTHING: &str = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}"#;

fn named(text: &str) -> NamedPolicy {
    NamedPolicy::known("p", Policy::parse(text).unwrap())
}

/// As [`EVERYTHING`], among so many actions that there is an index.
fn indexed() -> NamedPolicy {
    let statements: Vec<String> = (0..20)
        .map(|n| format!(r#"{{"Effect": "Allow", "Action": ["service{n}:Get*", "ecr:*"], "Resource": "*"}}"#))
        .collect();
    named(&format!(r#"{{"Statement": [{}]}}"#, statements.join(",")))
}

fn environment() -> Environment {
    Environment {
        identity: vec![named(CONDITIONS), indexed()],
        boundary: Some(indexed()),
        session: vec![named(EVERYTHING)],
        resource: Some(named(REPOSITORY)),
        scps: vec![vec![named(EVERYTHING)], vec![indexed()]],
        rcps: vec![vec![named(EVERYTHING)]],
        endpoint: Some(named(EVERYTHING)),
        ..Environment::default()
    }
}

fn request(principal: &str, action: &str) -> Request {
    let facts = [
        ("aws:PrincipalTag/team", "a"),
        ("aws:ResourceTag/team", "a"),
        ("aws:UserAgent", "kubelet/1.35"),
        ("aws:RequestedRegion", "eu-central-1"),
        ("aws:MultiFactorAuthAge", "0300"),
        ("aws:CurrentTime", "2026-01-01T00:00:00Z"),
        ("aws:SecureTransport", "true"),
        ("app:blob", "QmluYXJ5"),
        ("aws:SourceIp", "2001:db8::1"),
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:role/app"),
        ("aws:TagKeys", "team"),
    ];
    Request {
        principal: Principal::from_arn(principal),
        action: action.into(),
        resource: "arn:aws:ecr:eu-central-1:111122223333:repository/team/app".into(),
        context: facts.iter().fold(Context::new(), |context, (key, value)| context.with(key, Fact::value(*value))),
    }
}

#[test]
fn a_definite_outcome_allocates_nothing() {
    let (all, conditions) =
        (environment(), Environment { identity: vec![named(CONDITIONS)], ..Environment::default() });
    let app = "arn:aws:iam::111122223333:role/app";
    for (env, principal, action, expected) in [
        (&conditions, app, "ecr:BatchGetImage", Decision::Allowed),
        (&all, app, "ecr:BatchGetImage", Decision::Allowed),
        (&all, "arn:aws:sts::111122223333:assumed-role/other/s", "ecr:BatchGetImage", Decision::ExplicitlyDenied),
        (&all, app, "s3:GetObject", Decision::ImplicitlyDenied),
        (
            &all,
            app,
            "s3:GetObjectWithANameThatIsLongerThanTheIndexTakes".repeat(3).as_str(),
            Decision::ImplicitlyDenied,
        ),
    ] {
        let request = request(principal, action);
        let mut decisions = (Decision::Unknown, Decision::Unknown);
        let counts = measure(|| decisions = (evaluate(env, &request).decision, decide(env, &request)));
        assert_eq!(decisions, (expected, expected), "{principal} {action}");
        assert_eq!(counts.count_total, 0, "{principal} {action}: {counts:?}");
    }
    // The counter counts: to make a policy allocates.
    assert!(measure(|| drop(named(EVERYTHING))).count_total > 0);
}
