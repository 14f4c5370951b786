//! Reads the case format: one JSON object per case, see `every_case_gives_the_expected_decision`.
#![allow(dead_code)]

use iam_verdict::{Account, Context, Environment, Fact, NamedPolicy, Policy, Principal, Request};
use serde_json::Value;

/// The layers and the request of a case.
pub fn case(case: &Value) -> Result<(Environment, Request), String> {
    let mut env = Environment {
        identity: policies(&case["identityPolicies"], "identity")?,
        boundary: policy(&case["permissionsBoundary"], "boundary")?,
        session: policies(&case["sessionPolicies"], "session")?,
        resource: policy(&case["resourcePolicy"], "resource")?,
        registry: policy(&case["registryPolicy"], "registry")?,
        scps: levels(&case["serviceControlPolicies"], "scp")?,
        rcps: levels(&case["resourceControlPolicies"], "rcp")?,
        endpoint: policy(&case["endpointPolicy"], "endpoint")?,
        resource_account: Account::Unknown,
    };
    if let Some(account) = case["resourceAccountId"].as_str() {
        env.resource_account = Account::Known(account.to_owned());
    }
    let request = &case["request"];
    let text = |name: &str| request[name].as_str().map(str::to_owned).ok_or(format!("`request.{name}` is missing"));
    let mut principal = match &request["principal"] {
        Value::String(text) => Principal::from_text(text).ok_or(format!("`{text}` names no principal"))?,
        Value::Null => Principal::default(),
        Value::Array(arns) => Principal {
            arns: arns.iter().filter_map(|arn| arn.as_str().map(str::to_owned)).collect(),
            ..Principal::default()
        },
        other => return Err(format!("`request.principal` is {other}")),
    };
    match request["principalAccount"].as_str() {
        Some("SameAsResource") => principal.account = Account::SameAsResource,
        Some(account) => principal.account = Account::Known(account.to_owned()),
        None => {}
    }
    principal.scp_exempt |= request["scpExempt"] == Value::Bool(true);
    principal.session_unknown = request["sessionUnknown"] == Value::Bool(true);
    let mut context = Context::new();
    for (key, value) in request["context"].as_object().into_iter().flatten() {
        context.set(key, Fact::Values(values(value)?));
    }
    for key in case["unknownContext"].as_array().into_iter().flatten() {
        context.set(key.as_str().unwrap_or_default(), Fact::Unknown);
    }
    for key in case["presentContext"].as_array().into_iter().flatten() {
        context.set(key.as_str().unwrap_or_default(), Fact::Present);
    }
    for (key, value) in case["absentOrContext"].as_object().into_iter().flatten() {
        context.set(key, Fact::AbsentOr(values(value)?));
    }
    Ok((env, Request { principal, action: text("action")?, resource: text("resource")?, context }))
}

fn values(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or("not a string".into())).collect()
        }
        other => Err(format!("a context value is {other}")),
    }
}

fn named(value: &Value, name: String) -> Result<NamedPolicy, String> {
    // A string in place of a document: the policy could not be read, and this is the name of the fact.
    if let Value::String(fact) = value {
        return Ok(NamedPolicy::unreadable(name, fact.clone()));
    }
    let policy = Policy::from_value(value).map_err(|error| format!("{name}: {error}"))?;
    Ok(NamedPolicy::known(name, policy))
}

fn policies(value: &Value, name: &str) -> Result<Vec<NamedPolicy>, String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().enumerate().map(|(index, item)| named(item, format!("{name}[{index}]"))).collect()
}

fn policy(value: &Value, name: &str) -> Result<Option<NamedPolicy>, String> {
    if value.is_null() { Ok(None) } else { named(value, name.to_owned()).map(Some) }
}

fn levels(value: &Value, name: &str) -> Result<Vec<Vec<NamedPolicy>>, String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().enumerate().map(|(index, item)| policies(item, &format!("{name}[{index}]"))).collect()
}
