//! A case, read for the naive evaluator.

use iam_oracle::{Policies, Policy, Request};
use iam_verdict::Decision;
use serde_json::Value;

/// The layers of a line.
pub fn policies(case: &Value) -> Policies {
    Policies {
        identity: list(&case["identityPolicies"]),
        boundary: single(&case["permissionsBoundary"]),
        session: list(&case["sessionPolicies"]),
        resource: single(&case["resourcePolicy"]),
        registry: single(&case["registryPolicy"]),
        scps: levels(&case["serviceControlPolicies"]),
        rcps: levels(&case["resourceControlPolicies"]),
        endpoint: single(&case["endpointPolicy"]),
    }
}

/// What a line says of the request, its context and its principal's names aside.
pub fn request(case: &Value) -> Request {
    let text = |name: &str| case["request"][name].as_str().expect("a text").to_owned();
    Request { action: text("action"), resource: text("resource"), scp_exempt: is_exempt(case), ..Request::default() }
}

/// Whether service control policies do not reach the principal; a service has no account that they are of.
pub fn is_exempt(case: &Value) -> bool {
    let principal = &case["request"]["principal"];
    principal["scpExempt"] == Value::Bool(true) || principal.as_str().is_some_and(|text| !text.starts_with("arn:"))
}

/// The naive evaluator's decision in the engine's words.
pub fn decide(policies: &Policies, request: &Request) -> Decision {
    match iam_oracle::decide(policies, request) {
        iam_oracle::Decision::Allowed => Decision::Allowed,
        iam_oracle::Decision::ExplicitlyDenied => Decision::ExplicitlyDenied,
        iam_oracle::Decision::ImplicitlyDenied => Decision::ImplicitlyDenied,
    }
}

fn policy(value: &Value) -> Policy {
    match value["unreadable"].as_str() {
        Some(fact) => Policy::Unreadable(fact.to_owned()),
        None => Policy::Document(value.clone()),
    }
}

fn single(value: &Value) -> Option<Policy> {
    (!value.is_null()).then(|| policy(value))
}

fn list(value: &Value) -> Vec<Policy> {
    value.as_array().into_iter().flatten().map(policy).collect()
}

fn levels(value: &Value) -> Vec<Vec<Policy>> {
    value.as_array().into_iter().flatten().map(list).collect()
}
