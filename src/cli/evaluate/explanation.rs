//! The explanation of a decision as JSON.

use iam_verdict::{
    ConditionFinding, Explanation, Fact, Finding, LayerExplanation, NearMiss, PolicyExplanation, Resolution,
    StatementExplanation, Wanted,
};
use serde::Serialize;
use serde_json::{Value, json};

/// What `--explain` adds to an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// What came closest to another decision.
    pub nearest_miss: Option<NearestMiss>,
    /// All layers, policies, statements and lines.
    pub explanation: Whole,
}

/// The statement that came closest to another decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearestMiss {
    layer: &'static str,
    policy: String,
    statement: String,
    effect: &'static str,
    part: &'static str,
    cause: &'static str,
    what: String,
    further: usize,
}

/// An explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Whole {
    same_account: &'static str,
    layers: Vec<Layer>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Layer {
    layer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<usize>,
    allows: &'static str,
    denies: &'static str,
    policies: Vec<Policy>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Policy {
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Statement {
    statement: String,
    effect: &'static str,
    applies: &'static str,
    action: Element,
    resource: Element,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Element>,
    conditions: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Element {
    element: &'static str,
    matches: &'static str,
    entry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<Value>,
    request: String,
    cause: Option<&'static str>,
    what: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    operator: String,
    key: String,
    wanted: Vec<WantedValue>,
    request: Value,
    holds: &'static str,
    cause: Option<&'static str>,
    what: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct WantedValue {
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<Value>,
}

impl From<&Explanation> for Explained {
    fn from(explanation: &Explanation) -> Self {
        Self {
            nearest_miss: explanation.nearest_miss.as_ref().map(NearestMiss::from),
            explanation: Whole {
                same_account: explanation.same_account.as_str(),
                layers: explanation.layers.iter().map(Layer::from).collect(),
            },
        }
    }
}

impl From<&NearMiss> for NearestMiss {
    fn from(near: &NearMiss) -> Self {
        Self {
            layer: near.layer.as_str(),
            policy: near.policy.clone(),
            statement: near.statement.clone(),
            effect: effect(near.denies),
            part: near.part.as_str(),
            cause: near.cause.as_str(),
            what: near.what.clone(),
            further: near.further,
        }
    }
}

impl From<&LayerExplanation> for Layer {
    fn from(layer: &LayerExplanation) -> Self {
        Self {
            layer: layer.layer.as_str(),
            level: layer.level,
            allows: layer.allows.as_str(),
            denies: layer.denies.as_str(),
            policies: layer.policies.iter().map(Policy::from).collect(),
        }
    }
}

impl From<&PolicyExplanation> for Policy {
    fn from(policy: &PolicyExplanation) -> Self {
        Self {
            policy: policy.policy.clone(),
            unreadable: policy.unreadable.clone(),
            statements: policy.statements.iter().map(Statement::from).collect(),
        }
    }
}

impl From<&StatementExplanation> for Statement {
    fn from(statement: &StatementExplanation) -> Self {
        Self {
            statement: statement.statement.clone(),
            effect: effect(statement.denies),
            applies: statement.applies.as_str(),
            action: Element::from(&statement.action),
            resource: Element::from(&statement.resource),
            principal: statement.principal.as_ref().map(Element::from),
            conditions: statement.conditions.iter().map(Line::from).collect(),
        }
    }
}

impl From<&Finding> for Element {
    fn from(finding: &Finding) -> Self {
        Self {
            element: finding.element,
            matches: finding.truth.as_str(),
            entry: finding.entry.clone(),
            resolved: finding.resolved.as_ref().and_then(resolved),
            request: finding.asked.clone(),
            cause: finding.cause.map(iam_verdict::MissCause::as_str),
            what: finding.what.clone(),
        }
    }
}

impl From<&ConditionFinding> for Line {
    fn from(line: &ConditionFinding) -> Self {
        Self {
            operator: line.operator.clone(),
            key: line.key.clone(),
            wanted: line.wanted.iter().map(WantedValue::from).collect(),
            request: fact(&line.has),
            holds: line.truth.as_str(),
            cause: line.cause.map(iam_verdict::MissCause::as_str),
            what: line.what.clone(),
        }
    }
}

impl From<&Wanted> for WantedValue {
    fn from(wanted: &Wanted) -> Self {
        Self { value: wanted.written.clone(), resolved: wanted.resolved.as_ref().and_then(resolved) }
    }
}

fn effect(denies: bool) -> &'static str {
    if denies { "Deny" } else { "Allow" }
}

/// The text, or the key that has no value, or whose value is not known.
fn resolved(resolution: &Resolution) -> Option<Value> {
    match resolution {
        Resolution::Text(text) => Some(json!(text)),
        Resolution::NoValue(key) => Some(json!({"noValue": key})),
        Resolution::NotKnown(key) => Some(json!({"unknown": key})),
        _ => None,
    }
}

/// A fact as a line writes it.
fn fact(fact: &Fact) -> Value {
    match fact {
        Fact::Values(values) => json!(values),
        Fact::Absent => json!({"absent": true}),
        Fact::AbsentOr(values) => json!({"absentOr": values}),
        Fact::Present => json!({"present": true}),
        Fact::Unknown => json!({"unknown": true}),
    }
}
