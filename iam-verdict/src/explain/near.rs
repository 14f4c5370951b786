//! The nearest miss: the statement that came closest to another decision, and the one thing that kept it from that.

use std::fmt;

use super::distance::{Distance, same_service};
use super::{StatementExplanation, levels};
use crate::decision::{Decision, Layer, Outcome};
use crate::document::Effect;
use crate::environment::{Environment, PolicyState};
use crate::evaluate;
use crate::request::Request;
use crate::statement;
use crate::truth::Truth;

/// For a request that is not allowed: the statement that came closest to granting it, and the one thing that kept it
/// from applying. For an explicit deny: the statement that denies, and what would have kept it from applying.
///
/// An Allow is looked for in the layer that refuses (of control policies in the levels that refuse) and, where either
/// side of one account may grant, in the resource-based policies too. Statements about the request's action come before
/// those about others of its service; then the fewest elements and lines that do not match win, then the fewest that are
/// not known, then the entry that differs in the fewest fields and characters, then the first. None for an allowed
/// request, and where no statement has anything to do with the request's service.
///
/// ```
/// use iam_verdict::{Environment, MissCause, NamedPolicy, Policy, Principal, Request, nearest_miss};
///
/// let policy = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "ecr:BatchGetImage",
///     "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/team"}}"#)?;
/// let env = Environment::new().with_identity(NamedPolicy::known("app", policy));
/// let request = Request::new(
///     Principal::from_arn("arn:aws:iam::111122223333:role/app"),
///     "ecr:BatchGetImage",
///     "arn:aws:ecr:us-east-1:111122223333:repository/team/app",
/// );
/// let near = nearest_miss(&env, &request).unwrap();
/// assert_eq!(near.what, "resource `…:repository/team` is not `…:repository/team/app`");
/// assert_eq!(near.cause, MissCause::Below);
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn nearest_miss(env: &Environment, request: &Request) -> Option<NearMiss> {
    of_outcome(env, request, &evaluate::evaluate(env, request))
}

/// The statement that came closest to another decision, and what kept it from that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearMiss {
    /// The layer of the policy.
    pub layer: Layer,
    /// The name of the policy.
    pub policy: String,
    /// The statement: its Sid, or `#index`.
    pub statement: String,
    /// Whether the statement is a Deny that applies; then [`what`](Self::what) is what would have kept it from applying.
    pub denies: bool,
    /// The one thing, for a person: "resource `…:repository/team` is not `…:repository/team/app`".
    pub what: String,
    /// Which part of the statement it is.
    pub part: MissedPart,
    /// What it is, for a program.
    pub cause: MissCause,
    /// The context key as written, where it is a line of a condition.
    pub key: Option<String>,
    /// How many further things keep the statement from applying.
    pub further: usize,
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.policy, self.statement, self.what)?;
        match self.further {
            0 => Ok(()),
            further => write!(f, ", and {further} more"),
        }
    }
}

/// The part of a statement that kept it from applying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissedPart {
    /// Action or NotAction.
    Action,
    /// Resource or NotResource.
    Resource,
    /// Principal or NotPrincipal.
    Principal,
    /// A Condition.
    Condition,
}

impl MissedPart {
    /// The lower-case word that [`Display`](fmt::Display) prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Resource => "resource",
            Self::Principal => "principal",
            Self::Condition => "condition",
        }
    }
}

impl fmt::Display for MissedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What keeps a part of a statement from matching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum MissCause {
            $($(#[$doc])* $name,)*
        }

        impl MissCause {
            /// The name of the variant, a stable word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

causes! {
    /// Another action.
    Action,
    /// The action but for a letter or two.
    ActionSpelling,
    /// The `Not` form lists it.
    Excepted,
    /// The element has no entries.
    NoEntries,
    /// The statement has no `Resource`.
    NoResource,
    /// The action has no resource and is granted on `*` alone.
    OnlyOnStar,
    /// The ARN names another partition.
    Partition,
    /// The ARN names another service.
    Service,
    /// The ARN names another region.
    Region,
    /// The ARN names another account.
    Account,
    /// Only upper and lower case differ.
    Case,
    /// The type of the resource is missing before its name: `team/app` for `repository/team/app`.
    MissingType,
    /// The ARN names the path, and the request is for something below it: `team` for `team/app`.
    Below,
    /// Another resource.
    Resource,
    /// A policy variable in the resource has no value.
    VariableWithoutValue,
    /// Another principal.
    Principal,
    /// The statement of a resource-based policy names nobody.
    NoPrincipal,
    /// A wildcard in the ARN of a principal, which has no effect.
    PrincipalWildcard,
    /// The statement names the account alone, which leaves the decision to identity policies.
    Delegates,
    /// The request does not have the condition key.
    KeyAbsent,
    /// The request has another value.
    OtherValue,
    /// Several values meet an operator without `ForAllValues` or `ForAnyValue`.
    NeedsSetOperator,
    /// The value that decides is not known.
    NotKnown,
    /// A condition of a Deny holds.
    ConditionHolds,
    /// A Deny has no condition that could keep it from applying.
    NoCondition,
}

impl fmt::Display for MissCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As [`nearest_miss`], for an outcome that is there already.
pub(super) fn of_outcome(env: &Environment, request: &Request, outcome: &Outcome) -> Option<NearMiss> {
    match outcome.decision {
        Decision::Allowed => None,
        Decision::ExplicitlyDenied => denied(env, request),
        Decision::ImplicitlyDenied | Decision::Unknown => refused(env, request, outcome),
    }
}

/// How far a statement is from applying, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    other_action: bool,
    missed: usize,
    open: usize,
    distance: Distance,
}

fn refused(env: &Environment, request: &Request, outcome: &Outcome) -> Option<NearMiss> {
    let same = statement::same_account(env, request);
    let layers: &[Layer] = match outcome.layer {
        // IAM-EVAL-4, IAM-EVAL-5: in one account either side grants.
        None | Some(Layer::Identity) if same != Truth::False => &[Layer::Identity, Layer::Resource, Layer::Registry],
        None | Some(Layer::Identity) => &[Layer::Identity],
        // IAM-EVAL-10
        Some(Layer::Resource | Layer::Registry) => &[Layer::Resource, Layer::Registry],
        Some(Layer::Boundary) => &[Layer::Boundary],
        Some(Layer::Session) => &[Layer::Session],
        Some(Layer::Scp) => &[Layer::Scp],
        Some(Layer::Rcp) => &[Layer::Rcp],
        Some(Layer::Endpoint) => &[Layer::Endpoint],
    };
    let mut best: Option<(Rank, NearMiss)> = None;
    for level in levels(env, request).filter(|level| layers.contains(&level.layer)) {
        let layer = level.layer;
        let mut in_level: Option<(Rank, NearMiss)> = None;
        let mut allows = false;
        for policy in level.policies {
            let PolicyState::Known(document) = &policy.policy else { continue };
            for (index, statement) in document.statements.iter().enumerate() {
                if statement.effect == Effect::Deny {
                    continue;
                }
                let action = &statement.action;
                if !action.matches_action(&request.action)
                    && !action.entries.iter().any(|entry| same_service(&entry.text, &request.action))
                {
                    continue;
                }
                let explained = StatementExplanation::new(layer, index, statement, env, request);
                match miss(&explained) {
                    Some((rank, mut near)) if in_level.as_ref().is_none_or(|(held, _)| rank < *held) => {
                        near.layer = layer;
                        near.policy = policy.name.to_string();
                        in_level = Some((rank, near));
                    }
                    Some(_) => {}
                    None => allows |= explained.applies == Truth::True,
                }
            }
        }
        // IAM-EVAL-7: a level that allows is not the one that refuses.
        if allows && layer == Layer::Scp {
            continue;
        }
        if let Some((rank, near)) = in_level
            && best.as_ref().is_none_or(|(held, _)| rank < *held)
        {
            best = Some((rank, near));
        }
    }
    best.map(|(_, near)| near)
}

/// What keeps an Allow from granting; none where nothing does.
fn miss(statement: &StatementExplanation) -> Option<(Rank, NearMiss)> {
    let other_action =
        statement.action.truth != Truth::True && statement.action.cause != Some(MissCause::ActionSpelling);
    let elements = [(MissedPart::Action, &statement.action), (MissedPart::Resource, &statement.resource)];
    let principal = statement.principal.iter().map(|finding| (MissedPart::Principal, finding));
    let elements = elements.into_iter().chain(principal).map(|(part, finding)| {
        // IAM-EVAL-4: to name the account grants nothing by itself.
        let truth = if finding.delegates { Truth::False } else { finding.truth };
        (truth, part, finding.cause, &finding.what, finding.distance, None)
    });
    let lines = statement
        .conditions
        .iter()
        .map(|line| (line.truth, MissedPart::Condition, line.cause, &line.what, (0, 0), Some(&line.key)));
    let mut all: Vec<_> = elements.chain(lines).filter(|(truth, ..)| *truth != Truth::True).collect();
    // What certainly does not match comes before what is not known.
    all.sort_by_key(|(truth, ..)| *truth != Truth::False);
    let missed = all.iter().filter(|(truth, ..)| *truth == Truth::False).count();
    let (_, part, cause, what, distance, key) = all.first()?;
    // Of statements about other actions the one on the resource in question is closer.
    let distance = match part {
        MissedPart::Action if other_action => {
            (usize::from(statement.resource.entry.as_deref() == Some("*")), distance.1)
        }
        _ => *distance,
    };
    let rank = Rank { other_action, missed, open: all.len() - missed, distance };
    let near = NearMiss {
        layer: Layer::Identity,
        policy: String::new(),
        statement: statement.statement.clone(),
        denies: false,
        what: (*what).clone(),
        part: *part,
        cause: cause.unwrap_or(MissCause::Delegates),
        key: key.cloned(),
        further: all.len() - 1,
    };
    Some((rank, near))
}

/// The first statement that denies, and what would have kept it from applying: best a condition, then an exception.
fn denied(env: &Environment, request: &Request) -> Option<NearMiss> {
    for level in levels(env, request) {
        let layer = level.layer;
        for policy in level.policies {
            let PolicyState::Known(document) = &policy.policy else { continue };
            for (index, statement) in document.statements.iter().enumerate() {
                if statement.effect == Effect::Allow || !statement.action.matches_action(&request.action) {
                    continue;
                }
                let explained = StatementExplanation::new(layer, index, statement, env, request);
                if explained.applies != Truth::True {
                    continue;
                }
                let (part, cause, what) = keeps(&explained);
                let line = explained.conditions.first().filter(|_| part == MissedPart::Condition);
                return Some(NearMiss {
                    key: line.map(|line| line.key.clone()),
                    layer,
                    policy: policy.name.to_string(),
                    statement: explained.statement,
                    denies: true,
                    what,
                    part,
                    cause,
                    further: 0,
                });
            }
        }
    }
    None
}

fn keeps(statement: &StatementExplanation) -> (MissedPart, MissCause, String) {
    if let Some(line) = statement.conditions.first() {
        return (MissedPart::Condition, MissCause::ConditionHolds, format!("{}: this holds", line.what));
    }
    let excepting = |element: &str| element.starts_with("Not");
    if let Some(principal) = statement.principal.as_ref().filter(|finding| excepting(finding.element)) {
        return (MissedPart::Principal, MissCause::Principal, principal.what.clone());
    }
    if excepting(statement.resource.element) {
        return (MissedPart::Resource, MissCause::Resource, statement.resource.what.clone());
    }
    if excepting(statement.action.element) {
        return (MissedPart::Action, MissCause::Action, statement.action.what.clone());
    }
    if statement.resource.entry.as_deref().is_some_and(|entry| entry != "*") {
        return (
            MissedPart::Resource,
            MissCause::NoCondition,
            format!("{}, without condition", statement.resource.what),
        );
    }
    (MissedPart::Action, MissCause::NoCondition, format!("{}, without condition", statement.action.what))
}
