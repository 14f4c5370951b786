//! A case is a line of `ecr-access evaluate` (`docs/evaluate.md`); this reads it for the engine.

use std::sync::Arc;

use iam_verdict::{Account, Context, Environment, Fact, NamedPolicy, Policy, Principal, Request};
use serde_json::Value;

/// The layers and the request of a line. Panics where the generator wrote nonsense.
pub fn read(case: &Value) -> (Environment, Request) {
    let env = Environment {
        identity: policies(&case["identityPolicies"]),
        boundary: policy(&case["permissionsBoundary"]),
        session: policies(&case["sessionPolicies"]),
        resource: policy(&case["resourcePolicy"]),
        registry: policy(&case["registryPolicy"]),
        scps: levels(&case["serviceControlPolicies"]),
        rcps: levels(&case["resourceControlPolicies"]),
        endpoint: policy(&case["endpointPolicy"]),
        resource_account: match case["resourceAccountId"].as_str() {
            Some(id) => Account::Known(id.to_owned()),
            None => Account::Unknown,
        },
    };
    let request = &case["request"];
    let principal = match &request["principal"] {
        Value::String(text) => Principal::from_text(text).expect("a principal"),
        object => {
            let arns = strings(&object["arns"]);
            Principal {
                account: match object["account"].as_str() {
                    Some("unknown") => Account::Unknown,
                    Some("sameAsResource") => Account::SameAsResource,
                    Some(id) => Account::Known(id.to_owned()),
                    None => arns.first().map_or(Account::Unknown, |arn| Principal::from_arn(arn).account),
                },
                scp_exempt: object["scpExempt"] == Value::Bool(true),
                session_unknown: object["sessionUnknown"] == Value::Bool(true),
                arns,
            }
        }
    };
    let mut context = Context::new();
    for (key, value) in request["context"].as_object().into_iter().flatten() {
        context.set(key, fact(value));
    }
    for key in strings(&case["unknownContext"]) {
        if key == "*" {
            context = context.with_unlisted(Fact::Unknown);
        } else {
            context.set(&key, Fact::Unknown);
        }
    }
    let text = |name: &str| request[name].as_str().expect("a text").to_owned();
    (env, Request { principal, action: text("action"), resource: text("resource"), context })
}

/// What a line says of a context key.
pub fn fact(value: &Value) -> Fact {
    match value {
        Value::String(text) => Fact::value(text),
        Value::Array(_) => Fact::Values(strings(value)),
        object if object["absent"] == true => Fact::Absent,
        object if object["present"] == true => Fact::Present,
        object if object["unknown"] == true => Fact::Unknown,
        object => match &object["absentOr"] {
            Value::String(text) => Fact::AbsentOr(vec![text.clone()]),
            list => Fact::AbsentOr(strings(list)),
        },
    }
}

pub fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

fn named(value: &Value) -> NamedPolicy {
    match value["unreadable"].as_str() {
        Some(fact) => NamedPolicy::unreadable("p", fact),
        None => NamedPolicy::known("p", Arc::new(Policy::from_value(value).expect("a policy"))),
    }
}

fn policies(value: &Value) -> Vec<NamedPolicy> {
    value.as_array().into_iter().flatten().map(named).collect()
}

fn policy(value: &Value) -> Option<NamedPolicy> {
    (!value.is_null()).then(|| named(value))
}

fn levels(value: &Value) -> Vec<Vec<NamedPolicy>> {
    value.as_array().into_iter().flatten().map(policies).collect()
}
