//! Why a request was decided as it was: computed only when asked.

mod closest;
mod condition;
mod distance;
mod near;

use std::fmt;

use crate::context::Fact;
use crate::decision::{Layer, Outcome};
use crate::document::{Effect, PrincipalEntry, Statement};
use crate::environment::{Environment, NamedPolicy, PolicyState};
use crate::evaluate;
use crate::request::Request;
use crate::statement;
use crate::truth::Truth;
use closest::Closest;

pub use near::{MissCause, MissedPart, NearMiss, nearest_miss};

/// Explains a decision: what every statement of every layer says about the request, and what keeps it from applying.
///
/// ```
/// use iam_verdict::{Environment, NamedPolicy, Policy, Principal, Request, Truth, explain};
///
/// let policy = Policy::parse(r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ecr:*",
///     "Resource": "*", "Condition": {"StringEquals": {"aws:SourceVpc": "vpc-0abc"}}}}"#)?;
/// let env = Environment::new().with_identity(NamedPolicy::known("app", policy));
/// let request = Request::new(Principal::from_arn("arn:aws:iam::111122223333:role/app"), "ecr:ListImages", "*");
/// let explanation = explain(&env, &request);
/// let statement = &explanation.layers[0].policies[0].statements[0];
/// assert_eq!(statement.action.truth, Truth::True);
/// assert_eq!(statement.conditions[0].truth, Truth::False);
/// assert_eq!(explanation.to_string(), "\
/// ImplicitlyDenied by identity
///   identity
///     app #0 (Allow) does not apply
///       no: `StringEquals` of `aws:SourceVpc` wants `vpc-0abc`, the request does not have it
/// nearest: app #0: `StringEquals` of `aws:SourceVpc` wants `vpc-0abc`, the request does not have it
/// ");
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn explain(env: &Environment, request: &Request) -> Explanation {
    let outcome = evaluate::evaluate(env, request);
    let nearest_miss = near::of_outcome(env, request, &outcome);
    let layers = levels(env, request).map(|level| level.explain(env, request)).collect();
    Explanation { outcome, same_account: statement::same_account(env, request), layers, nearest_miss }
}

/// A decision, taken apart. Print it for a person; same input, same text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The decision and what decided it.
    pub outcome: Outcome,
    /// Whether principal and resource are of the same account, so that one of both sides is enough.
    pub same_account: Truth,
    /// The layers that have policies, in the order in which refusals are reported; each level of control policies is one
    /// of its own. Service control policies that do not reach the principal are left out.
    pub layers: Vec<LayerExplanation>,
    /// What came closest to another decision.
    pub nearest_miss: Option<NearMiss>,
}

/// The policies of a layer, or of one of its levels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerExplanation {
    /// The layer.
    pub layer: Layer,
    /// Of control policies: the level, from 0 for the root.
    pub level: Option<usize>,
    /// Whether some statement allows the request; for resource control policies always true, as AWS's own policy does.
    pub allows: Truth,
    /// Whether some statement denies the request.
    pub denies: Truth,
    /// The policies in their order.
    pub policies: Vec<PolicyExplanation>,
}

/// One policy and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyExplanation {
    /// The name of the policy.
    pub policy: String,
    /// For a policy that could not be read: the name of the missing fact.
    pub unreadable: Option<String>,
    /// The statements in their order.
    pub statements: Vec<StatementExplanation>,
}

/// One statement and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatementExplanation {
    /// Sid, or `#index`.
    pub statement: String,
    /// The place of the statement in its document, from 0.
    pub index: usize,
    /// Whether the statement denies.
    pub denies: bool,
    /// Whether it applies: all that follows holds.
    pub applies: Truth,
    /// `Action` or `NotAction`.
    pub action: Finding,
    /// `Resource` or `NotResource`.
    pub resource: Finding,
    /// `Principal` or `NotPrincipal`, where policies of this layer name principals.
    pub principal: Option<Finding>,
    /// The lines of `Condition`, in their order.
    pub conditions: Vec<ConditionFinding>,
}

/// One element of a statement and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The element as the statement has it: `Action`, `NotResource`, …
    pub element: &'static str,
    /// Whether the element matches the request.
    pub truth: Truth,
    /// The entry that matches, else the one that came closest, as written; none for an element without entries.
    pub entry: Option<String>,
    /// The entry with its policy variables replaced, where it has any.
    pub resolved: Option<Resolution>,
    /// What the request has: an action, a resource, an ARN.
    pub asked: String,
    /// What keeps the element from matching; none where it matches.
    pub cause: Option<MissCause>,
    /// All of this in words.
    pub what: String,
    /// How far the entry is from matching.
    distance: distance::Distance,
    /// A principal that is named by its account alone.
    delegates: bool,
}

/// One line of a Condition block and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConditionFinding {
    /// The operator as written.
    pub operator: String,
    /// The context key as written.
    pub key: String,
    /// What the policy compares the key with.
    pub wanted: Vec<Wanted>,
    /// What is known of the key.
    pub has: Fact,
    /// Whether the line holds.
    pub truth: Truth,
    /// What keeps the line from holding; none where it holds.
    pub cause: Option<MissCause>,
    /// All of this in words.
    pub what: String,
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// As written.
    pub written: String,
    /// With its policy variables replaced, where it has any.
    pub resolved: Option<Resolution>,
}

/// What becomes of a text with policy variables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// This text.
    Text(String),
    /// Nothing: this context key has no value (or several), so that the text matches nothing.
    NoValue(String),
    /// The value of this context key is not known.
    NotKnown(String),
}

/// The policies of a layer or level.
struct Level<'a> {
    layer: Layer,
    level: Option<usize>,
    policies: Box<dyn Iterator<Item = &'a NamedPolicy> + 'a>,
}

/// All levels that have a say, in reporting order.
fn levels<'a>(env: &'a Environment, request: &Request) -> impl Iterator<Item = Level<'a>> {
    fn of<'a>(layer: Layer, policies: impl IntoIterator<Item = &'a NamedPolicy> + 'a) -> Option<Level<'a>> {
        let mut policies = policies.into_iter().peekable();
        policies.peek()?;
        Some(Level { layer, level: None, policies: Box::new(policies) })
    }
    fn each<'a>(layer: Layer, levels: &'a [Vec<NamedPolicy>]) -> impl Iterator<Item = Level<'a>> {
        levels.iter().enumerate().map(move |(index, policies)| Level {
            layer,
            level: Some(index),
            policies: Box::new(policies.iter()),
        })
    }
    let scps: &[Vec<NamedPolicy>] = if request.principal.scp_exempt { &[] } else { &env.scps };
    let first = [
        of(Layer::Identity, &env.identity),
        of(Layer::Resource, &env.resource),
        of(Layer::Registry, &env.registry),
        of(Layer::Boundary, &env.boundary),
        of(Layer::Session, &env.session),
    ];
    (first.into_iter().flatten())
        .chain(each(Layer::Scp, scps))
        .chain(each(Layer::Rcp, &env.rcps))
        .chain(of(Layer::Endpoint, &env.endpoint))
}

impl Level<'_> {
    fn explain(self, env: &Environment, request: &Request) -> LayerExplanation {
        let layer = self.layer;
        let policies: Vec<_> =
            self.policies.map(|policy| PolicyExplanation::new(layer, policy, env, request)).collect();
        let some = |denies: bool| {
            Truth::any(&policies, |policy| match policy.unreadable {
                Some(_) => Truth::Unknown,
                None => Truth::any(policy.statements.iter().filter(|s| s.denies == denies), |s| s.applies),
            })
        };
        // IAM-EVAL-8: the allow-all policy is part of each level of resource control policies.
        let allows = if layer == Layer::Rcp { Truth::True } else { some(false) };
        LayerExplanation { layer, level: self.level, allows, denies: some(true), policies }
    }
}

impl PolicyExplanation {
    fn new(layer: Layer, policy: &NamedPolicy, env: &Environment, request: &Request) -> Self {
        let (unreadable, statements) = match &policy.policy {
            PolicyState::Unreadable(fact) => (Some(fact.clone()), Vec::new()),
            PolicyState::Known(document) => {
                let explain = |(index, statement)| StatementExplanation::new(layer, index, statement, env, request);
                (None, document.statements.iter().enumerate().map(explain).collect())
            }
        };
        Self { policy: policy.name.to_string(), unreadable, statements }
    }
}

impl StatementExplanation {
    fn new(layer: Layer, index: usize, statement: &Statement, env: &Environment, request: &Request) -> Self {
        let action = Finding::action(statement, request);
        let resource = Finding::resource(layer, statement, request);
        let principal = Finding::principal(layer, statement, env, request);
        let conditions: Vec<_> =
            statement.conditions.iter().map(|line| ConditionFinding::new(line, &request.context)).collect();
        let named = principal.as_ref().map_or_else(
            || statement::principal_forms(layer, statement, env, request).any(),
            |principal| principal.truth,
        );
        let lines = Truth::all(&conditions, |line| line.truth);
        Self {
            statement: statement.label.to_string(),
            index,
            denies: statement.effect == Effect::Deny,
            applies: action.truth & resource.truth & named & lines,
            action,
            resource,
            principal,
            conditions,
        }
    }
}

impl Finding {
    fn action(statement: &Statement, request: &Request) -> Self {
        let clause = &statement.action;
        let truth = Truth::from(clause.matches_action(&request.action));
        let closest = Closest::action(clause, &request.action);
        Self::of(if clause.negated { "NotAction" } else { "Action" }, truth, closest, &request.action)
    }

    fn resource(layer: Layer, statement: &Statement, request: &Request) -> Self {
        let truth = statement::resource_applies(layer, statement.resource.as_ref(), request);
        match &statement.resource {
            None => Self {
                element: "Resource",
                truth,
                entry: None,
                resolved: None,
                asked: request.resource.clone(),
                cause: (truth != Truth::True).then_some(MissCause::NoResource),
                what: match truth {
                    // IAM-RES-7
                    Truth::True => "there is no `Resource`, which means the resource of the policy".to_owned(),
                    _ => "there is no `Resource`".to_owned(),
                },
                distance: distance::FAR,
                delegates: false,
            },
            Some(clause) => {
                let closest = Closest::resource(clause, request);
                Self::of(if clause.negated { "NotResource" } else { "Resource" }, truth, closest, &request.resource)
            }
        }
    }

    fn of(element: &'static str, truth: Truth, closest: Closest, asked: &str) -> Self {
        let matches = truth == Truth::True;
        Self {
            element,
            truth,
            entry: closest.entry,
            resolved: closest.resolved,
            asked: asked.to_owned(),
            cause: (!matches).then_some(if truth == Truth::Unknown { MissCause::NotKnown } else { closest.cause }),
            what: if matches { closest.hit } else { closest.miss },
            distance: closest.distance,
            delegates: false,
        }
    }

    fn principal(layer: Layer, statement: &Statement, env: &Environment, request: &Request) -> Option<Self> {
        if matches!(layer, Layer::Identity | Layer::Boundary | Layer::Session | Layer::Scp) {
            return None;
        }
        let forms = statement::principal_forms(layer, statement, env, request);
        let truth = forms.any();
        let asked = request.principal.arns.last().map_or("(not known)", String::as_str).to_owned();
        let Some(clause) = &statement.principal else {
            // Attached to resources and naming nobody, a statement applies to nobody; policies of the organization and
            // of endpoints mean everyone.
            return (truth != Truth::True).then(|| Self {
                element: "Principal",
                truth,
                entry: None,
                resolved: None,
                asked,
                cause: Some(MissCause::NoPrincipal),
                what: "there is no `Principal`".to_owned(),
                distance: distance::FAR,
                delegates: false,
            });
        };
        let names: Vec<&str> = clause.entries.iter().map(entry_text).collect();
        let who = format!("the principal `{asked}`");
        let (cause, what) = if clause.negated {
            let listed = listed(names.iter().copied());
            match truth {
                Truth::True => (MissCause::Principal, format!("{who} is not excepted by {listed}")),
                _ => (MissCause::Excepted, format!("{who} is excepted by {listed}")),
            }
        } else {
            let wildcard = names.iter().find(|name| name.len() > 1 && name.contains('*'));
            let cased =
                names.iter().find(|name| request.principal.arns.iter().any(|arn| arn.eq_ignore_ascii_case(name)));
            match (truth, cased, wildcard) {
                (Truth::True, ..) if forms.direct != Truth::True && forms.role != Truth::True => (
                    MissCause::Delegates,
                    format!("{who} is named by its account, which leaves it to identity policies"),
                ),
                (Truth::True, ..) => (MissCause::Principal, format!("{who} is named")),
                (Truth::False, Some(name), _) => {
                    (MissCause::Case, format!("{who} is not `{name}`: upper and lower case differ"))
                }
                (Truth::False, None, Some(name)) => (
                    MissCause::PrincipalWildcard,
                    format!("{who} is not `{name}`: ARNs of principals have no wildcards"),
                ),
                _ => (MissCause::Principal, format!("{who} is not {}", listed(names.iter().copied()))),
            }
        };
        let what = if truth == Truth::Unknown { format!("{what}, as far as is known") } else { what };
        Some(Self {
            element: if clause.negated { "NotPrincipal" } else { "Principal" },
            truth,
            entry: clause.entries.first().map(|entry| entry_text(entry).to_owned()),
            resolved: None,
            asked,
            cause: (truth != Truth::True).then_some(if truth == Truth::Unknown { MissCause::NotKnown } else { cause }),
            what,
            distance: distance::FAR,
            delegates: cause == MissCause::Delegates,
        })
    }
}

fn entry_text(entry: &PrincipalEntry) -> &str {
    match entry {
        PrincipalEntry::Everyone => "*",
        PrincipalEntry::Account(text) | PrincipalEntry::Arn(text) | PrincipalEntry::Other(text) => text,
    }
}

/// `a` or `b` or 3 more
fn listed<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = texts.len().saturating_sub(3);
    let mut all: Vec<String> = texts.take(3).map(|text| format!("`{text}`")).collect();
    if more > 0 {
        all.push(format!("{more} more"));
    }
    if all.is_empty() { "any of no values".to_owned() } else { all.join(" or ") }
}

impl fmt::Display for Explanation {
    /// The decision, then each statement about the action and what does not match. Statements about other actions are
    /// counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome.decision)?;
        if let Some(layer) = self.outcome.layer {
            write!(f, " by {layer}")?;
        }
        writeln!(f)?;
        match self.same_account {
            Truth::True => {}
            Truth::False => writeln!(f, "  cross account: both sides have to allow")?,
            Truth::Unknown => writeln!(f, "  not known whether principal and resource are of one account")?,
        }
        for layer in &self.layers {
            match layer.level {
                None => writeln!(f, "  {}", layer.layer)?,
                Some(level) => writeln!(f, "  {} level {level}", layer.layer)?,
            }
            for policy in &layer.policies {
                policy.fmt(f)?;
            }
        }
        match &self.nearest_miss {
            Some(near) => writeln!(f, "nearest: {near}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PolicyExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fact) = &self.unreadable {
            return writeln!(f, "    {} is not readable: {fact}", self.policy);
        }
        let mut elsewhere = 0_usize;
        for statement in &self.statements {
            if statement.action.truth == Truth::False {
                elsewhere += 1;
                continue;
            }
            let effect = if statement.denies { "Deny" } else { "Allow" };
            let applies = match statement.applies {
                Truth::True => "applies",
                Truth::False => "does not apply",
                Truth::Unknown => "may apply",
            };
            writeln!(f, "    {} {} ({effect}) {applies}", self.policy, statement.statement)?;
            let elements = std::iter::once(&statement.resource).chain(&statement.principal);
            let elements = elements.map(|finding| (finding.truth, &finding.what));
            let lines = statement.conditions.iter().map(|line| (line.truth, &line.what));
            for (truth, what) in elements.chain(lines) {
                match truth {
                    Truth::True => {}
                    Truth::False => writeln!(f, "      no: {what}")?,
                    Truth::Unknown => writeln!(f, "      open: {what}")?,
                }
            }
        }
        if elsewhere > 0 {
            let (plural, verb) = if elsewhere == 1 { ("", "is") } else { ("s", "are") };
            writeln!(f, "    {}: {elsewhere} statement{plural} {verb} about other actions", self.policy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
