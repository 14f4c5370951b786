//! Why a request was decided as it was: computed only when asked.

use std::fmt;

use crate::condition::Condition;
use crate::condition::operator::{Quantifier, Test};
use crate::document::{Clause, Effect, PrincipalEntry, Statement};
use crate::evaluate;
use crate::request::{Decision, Environment, Fact, Layer, MissedPart, NearMiss, Outcome, PolicyState, Request};
use crate::truth::Truth;

/// The Allow statement that came closest to granting a request that is not allowed, and the one thing that kept it from
/// applying.
///
/// Looked for in the layer that refuses, and beside the identity policies in the resource-based ones. The fewest parts
/// that do not match win, then the resource with the longest common start, then the first. None for an allowed request,
/// for an explicit deny (name that statement instead), and where no statement allows anything of the same service.
///
/// ```
/// use iam_verdict::{nearest_miss, Context, Environment, NamedPolicy, Policy, Principal, Request};
///
/// let policy = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "ecr:BatchGetImage",
///     "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/team"}}"#)?;
/// let env = Environment { identity: vec![NamedPolicy::known("app", policy)], ..Environment::default() };
/// let request = Request {
///     principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
///     action: "ecr:BatchGetImage".into(),
///     resource: "arn:aws:ecr:us-east-1:111122223333:repository/team/app".into(),
///     context: Context::new(),
/// };
/// let near = nearest_miss(&env, &request).unwrap();
/// assert_eq!(near.what, "resource `…:repository/team` is not `…:repository/team/app`");
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn nearest_miss(env: &Environment, request: &Request) -> Option<NearMiss> {
    let outcome = evaluate::evaluate(env, request);
    if matches!(outcome.decision, Decision::Allowed | Decision::ExplicitlyDenied) {
        return None;
    }
    let layers: &[Layer] = match outcome.layer {
        None | Some(Layer::Identity) => &[Layer::Identity, Layer::Resource, Layer::Registry],
        Some(Layer::Resource) => &[Layer::Resource, Layer::Registry],
        Some(Layer::Registry) => &[Layer::Registry],
        Some(Layer::Boundary) => &[Layer::Boundary],
        Some(Layer::Session) => &[Layer::Session],
        Some(Layer::Scp) => &[Layer::Scp],
        Some(Layer::Rcp) => &[Layer::Rcp],
        Some(Layer::Endpoint) => &[Layer::Endpoint],
    };
    let mut best: Option<((usize, usize, usize), NearMiss)> = None;
    for (place, policy) in evaluate::places(env, &request.principal) {
        let PolicyState::Known(document) = &policy.policy else { continue };
        let allows = document.statements.iter().filter(|statement| statement.effect == Effect::Allow);
        for statement in allows.filter(|_| layers.contains(&place.layer)) {
            let misses: Vec<Finding> = findings(place.layer, statement, env, request)
                .into_iter()
                .filter(|finding| finding.truth != Truth::True)
                .collect();
            let Some(first) = misses.first() else { continue };
            if first.part == MissedPart::Action && !same_service(&statement.action, &request.action) {
                continue;
            }
            // A missed action is far: such a statement is about something else.
            let distance = misses.len() + if first.part == MissedPart::Action { 2 } else { 0 };
            let rank = (distance, usize::MAX - first.shared, 0);
            if best.as_ref().is_none_or(|(held, _)| rank < *held) {
                let near = NearMiss {
                    layer: place.layer,
                    policy: policy.name.clone(),
                    statement: statement.label.to_string(),
                    what: first.what.clone(),
                    part: first.part,
                };
                best = Some((rank, near));
            }
        }
    }
    best.map(|(_, near)| near)
}

/// What each statement of each layer says about a request. Print it for a person; same input, same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub outcome: Outcome,
    /// Every statement about the request's action, in the order of the layers.
    pub statements: Vec<StatementExplanation>,
    /// Policies that could not be read, by name.
    pub unreadable: Vec<String>,
}

/// One statement and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementExplanation {
    /// The layer of the policy.
    pub layer: Layer,
    /// The name of the policy.
    pub policy: String,
    /// Sid, or `#index`.
    pub statement: String,
    /// Whether the statement denies.
    pub denies: bool,
    /// Whether it applies; none where that depends on facts that are not known.
    pub applies: Option<bool>,
    /// What does not match, or is not known.
    pub reasons: Vec<String>,
}

/// Explains a decision: every statement about the action, and what keeps it from applying.
#[must_use]
pub fn explain(env: &Environment, request: &Request) -> Explanation {
    let mut statements = Vec::new();
    let mut unreadable = Vec::new();
    for (place, policy) in evaluate::places(env, &request.principal) {
        let document = match &policy.policy {
            PolicyState::Known(document) => document,
            PolicyState::Unreadable(fact) => {
                unreadable.push(fact.clone());
                continue;
            }
        };
        for statement in document.statements.iter().filter(|statement| statement.action.matches_action(&request.action))
        {
            let findings = findings(place.layer, statement, env, request);
            let applies = Truth::all(&findings, |finding| finding.truth);
            statements.push(StatementExplanation {
                layer: place.layer,
                policy: policy.name.clone(),
                statement: statement.label.to_string(),
                denies: statement.effect == Effect::Deny,
                applies: match applies {
                    Truth::True => Some(true),
                    Truth::False => Some(false),
                    Truth::Unknown => None,
                },
                reasons: findings.into_iter().filter(|f| f.truth != Truth::True).map(|f| f.what).collect(),
            });
        }
    }
    Explanation { outcome: evaluate::evaluate(env, request), statements, unreadable }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.outcome.decision)?;
        for fact in &self.unreadable {
            writeln!(f, "  not readable: {fact}")?;
        }
        for statement in &self.statements {
            let effect = if statement.denies { "Deny" } else { "Allow" };
            let applies = match statement.applies {
                Some(true) => "applies",
                Some(false) => "does not apply",
                None => "may apply",
            };
            write!(f, "  {} {} {} ({effect}) {applies}", statement.layer, statement.policy, statement.statement)?;
            for (index, reason) in statement.reasons.iter().enumerate() {
                write!(f, "{} {reason}", if index == 0 { ":" } else { ";" })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// One part of a statement and whether it matches.
struct Finding {
    part: MissedPart,
    truth: Truth,
    what: String,
    /// How much of the closest entry matches, in bytes.
    shared: usize,
}

/// All parts of a statement, in the order in which a reader checks them.
fn findings(layer: Layer, statement: &Statement, env: &Environment, request: &Request) -> Vec<Finding> {
    let mut all = Vec::new();
    let truth = Truth::from(statement.action.matches_action(&request.action));
    let (what, shared) = clause_miss("action", "NotAction", &statement.action, &request.action);
    all.push(Finding { part: MissedPart::Action, truth, what, shared });
    let truth = evaluate::resource_applies(layer, statement.resource.as_ref(), request);
    let (what, shared) = match &statement.resource {
        None => ("there is no `Resource`".to_owned(), 0),
        Some(clause) if request.resource == "*" && !clause.negated => {
            let text = clause.entries.first().map_or("", |entry| &*entry.text);
            (format!("resource `{text}` is not `*`, and `{}` is only ever granted on `*`", request.action), 0)
        }
        Some(clause) => clause_miss("resource", "NotResource", clause, &request.resource),
    };
    let what = if truth == Truth::Unknown { format!("{what}, as far as is known") } else { what };
    all.push(Finding { part: MissedPart::Resource, truth, what, shared });
    if let Some(clause) = &statement.principal {
        let truth = evaluate::principal_forms(layer, statement, env, request).any();
        let names: Vec<String> = clause
            .entries
            .iter()
            .take(3)
            .map(|entry| match entry {
                PrincipalEntry::Everyone => "`*`".to_owned(),
                PrincipalEntry::Account(text) | PrincipalEntry::Arn(text) | PrincipalEntry::Other(text) => {
                    format!("`{text}`")
                }
            })
            .collect();
        let verb = if clause.negated { "is excepted by" } else { "is not" };
        let what = format!("the principal {verb} {}", names.join(" or "));
        all.push(Finding { part: MissedPart::Principal, truth, what, shared: 0 });
    }
    for condition in &statement.conditions {
        let truth = condition.evaluate(&request.context);
        all.push(Finding { part: MissedPart::Condition, truth, what: condition_miss(condition, request), shared: 0 });
    }
    // What certainly does not match comes before what is not known.
    let (certain, other): (Vec<_>, Vec<_>) = all.into_iter().partition(|finding| finding.truth == Truth::False);
    certain.into_iter().chain(other).collect()
}

fn clause_miss(word: &str, negated: &str, clause: &Clause, text: &str) -> (String, usize) {
    let shared = |entry: &str| entry.bytes().zip(text.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let mut closest: Option<(usize, &str)> = None;
    for entry in &clause.entries {
        let length = shared(&entry.text);
        if closest.is_none_or(|(held, _)| length > held) {
            closest = Some((length, &entry.text));
        }
    }
    let Some((length, entry)) = closest else { return (format!("there is no {word}"), 0) };
    if clause.negated {
        return (format!("`{negated}` excepts `{text}`"), length);
    }
    let (entry, text) = shorten(entry, text);
    (format!("{word} `{entry}` is not `{text}`"), length)
}

/// Leaves out the fields that two ARNs share.
fn shorten(entry: &str, text: &str) -> (String, String) {
    let mut cut = 0;
    for ((at, a), b) in entry.char_indices().zip(text.chars()) {
        if a != b {
            break;
        }
        if a == ':' && entry.starts_with("arn:") {
            cut = at;
        }
    }
    match (entry.get(cut..), text.get(cut..)) {
        (Some(entry), Some(text)) if cut > 4 => (format!("…{entry}"), format!("…{text}")),
        _ => (entry.to_owned(), text.to_owned()),
    }
}

fn same_service(clause: &Clause, action: &str) -> bool {
    let service = |text: &str| text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    clause.entries.iter().any(|entry| service(&entry.text) == service(action))
}

fn condition_miss(condition: &Condition, request: &Request) -> String {
    let wanted: Vec<String> = condition.values.iter().take(3).map(|value| format!("`{}`", value.text)).collect();
    let wanted = match condition.values.len() {
        0..=3 => wanted.join(" or "),
        more => format!("{} or {} more", wanted.join(" or "), more - 3),
    };
    let line = format!("`{}` of `{}` wants {wanted}", condition.name, condition.written);
    let has = match request.context.lookup(&condition.key) {
        Fact::Absent => "the request does not have it".to_owned(),
        Fact::Values(values)
            if condition.operator.quantifier == Quantifier::One
                && values.len() > 1
                && condition.operator.test != Test::Null =>
        {
            "the request has several values, which needs a set operator".to_owned()
        }
        Fact::Values(values) => {
            let values: Vec<String> = values.iter().take(3).map(|value| format!("`{value}`")).collect();
            format!("the request has {}", values.join(", "))
        }
        Fact::AbsentOr(_) | Fact::Present | Fact::Unknown => "the request's value is not known".to_owned(),
    };
    format!("{line}, {has}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, NamedPolicy, Policy, Principal};

    fn near(statements: &str, action: &str, resource: &str) -> Option<String> {
        let policy = Policy::parse(&format!(r#"{{"Statement": {statements}}}"#)).unwrap();
        let env = Environment { identity: vec![NamedPolicy::known("p", policy)], ..Environment::default() };
        let request = Request {
            principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
            action: action.into(),
            resource: resource.into(),
            context: Context::new(),
        };
        nearest_miss(&env, &request).map(|near| format!("{} {}", near.statement, near.what))
    }

    const REPO: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";

    #[test]
    fn names_the_closest_statement_and_the_one_thing() {
        let two = r#"[{"Sid":"A","Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:us-east-1:111122223333:repository/x"},
                      {"Sid":"B","Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:us-east-1:111122223333:repository/team"}]"#;
        assert_eq!(
            near(two, "ecr:BatchGetImage", REPO).as_deref(),
            Some("B resource `…:repository/team` is not `…:repository/team/app`")
        );
        let login = r#"{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"arn:aws:ecr:*:*:*"}"#;
        assert_eq!(
            near(login, "ecr:GetAuthorizationToken", "*").as_deref(),
            Some(
                "#0 resource `arn:aws:ecr:*:*:*` is not `*`, and `ecr:GetAuthorizationToken` is only ever granted on `*`"
            )
        );
        let tag = r#"{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/t":"a"}}}"#;
        assert_eq!(
            near(tag, "ecr:BatchGetImage", REPO).as_deref(),
            Some("#0 `StringEquals` of `aws:PrincipalTag/t` wants `a`, the request does not have it")
        );
        let other = r#"{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}"#;
        assert_eq!(
            near(other, "ecr:BatchGetImage", REPO).as_deref(),
            Some("#0 action `ecr:PutImage` is not `ecr:BatchGetImage`")
        );
        assert_eq!(near(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#, "ecr:BatchGetImage", REPO), None);
        assert_eq!(near(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#, "ecr:BatchGetImage", REPO), None);
    }

    #[test]
    fn an_explanation_names_every_statement_about_the_action() {
        let policy = Policy::parse(
            r#"{"Statement": [{"Effect":"Allow","Action":"ecr:Batch*","Resource":"*"},{"Effect":"Allow","Action":"s3:*","Resource":"*"},
                {"Sid":"No","Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#,
        )
        .unwrap();
        let env = Environment { identity: vec![NamedPolicy::known("p", policy)], ..Environment::default() };
        let request = Request {
            principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
            action: "ecr:BatchGetImage".into(),
            resource: REPO.into(),
            context: Context::new().with_unlisted(Fact::Unknown),
        };
        let text = explain(&env, &request).to_string();
        assert_eq!(
            text,
            "Unknown\n  identity p #0 (Allow) applies\n  identity p No (Deny) may apply: `Bool` of `aws:SecureTransport` \
             wants `false`, the request's value is not known\n"
        );
    }
}
