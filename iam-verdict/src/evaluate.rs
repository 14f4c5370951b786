//! One decision over all layers.
//!
//! Every statement that applies sets a bit: "identity allows", "boundary allows", "denied", … The decision is a
//! function of these bits that grows with each of them (the denial aside), so two sets, the bits that are certain and
//! the bits that are possible, bound every reading of the facts. Where both give the same decision it is final, found
//! in one pass; where they part, [`settle`](crate::settle) looks at the worlds one by one.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::decision::{Decision, Layer, Outcome};
use crate::document::{Effect, Statement};
use crate::environment::{Environment, NamedPolicy, PolicyState};
use crate::exact;
use crate::index::Action;
use crate::layers::{Bits, Frame, Place, bit, places, unreadable_grants};
use crate::request::Request;
use crate::statement::{Forms, applies_beyond_action, principal_forms, same_account};
use crate::truth::Truth;

/// Decides one request.
///
/// The decision is sound for every filling of the facts that are not known, and exact while at most six of them are in
/// play ([`missing`](crate::missing) names them).
///
/// ```
/// use std::sync::Arc;
/// use iam_verdict::{evaluate, Context, Decision, Environment, NamedPolicy, Policy, Principal, Request};
///
/// let policy = Policy::parse(r#"{"Version": "2012-10-17", "Statement": [
///     {"Effect": "Allow", "Action": "ecr:Batch*", "Resource": "arn:aws:ecr:*:*:repository/team/*"}]}"#)?;
/// let env = Environment { identity: vec![NamedPolicy::known("app-pull", policy)], ..Environment::default() };
/// let request = Request {
///     principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
///     action: "ecr:BatchGetImage".into(),
///     resource: "arn:aws:ecr:us-east-1:111122223333:repository/team/app".into(),
///     context: Context::new(),
/// };
/// let outcome = evaluate(&env, &request);
/// assert_eq!(outcome.decision, Decision::Allowed);
/// assert_eq!((outcome.policy.as_deref(), outcome.statement.as_deref()), (Some("app-pull"), Some("#0")));
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn evaluate(env: &Environment, request: &Request) -> Outcome {
    let (decision, layer, source) = judge(env, request, exact::decide);
    Outcome {
        decision,
        layer,
        policy: source.map(|(policy, _)| Arc::clone(&policy.name)),
        statement: source.and_then(|(_, statement)| statement).map(|statement| Arc::clone(&statement.label)),
    }
}

/// As [`evaluate`], the decision alone, without the names of policy and statement. Cheapest where it is definite without looking at
/// several worlds.
#[must_use]
pub fn decide(env: &Environment, request: &Request) -> Decision {
    judge(env, request, exact::decide).0
}

/// Whether the request is allowed, where one look tells: true and false hold for every filling of the facts that are not
/// known. None where the assignments would have to be looked at one by one, which is what makes a decision about unknown
/// facts expensive; [`decide`] may still find one.
///
/// ```
/// use iam_verdict::{Environment, Fact, NamedPolicy, Policy, Principal, Request, allows_at_sight};
///
/// let policy = Policy::parse(r#"{"Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
///     {"Effect": "Deny", "Action": "ecr:PutImage", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}"#)?;
/// let env = Environment::new().with_identity(NamedPolicy::known("app", policy));
/// let of = |action| {
///     let request = Request::new(Principal::from_arn("arn:aws:iam::111122223333:role/app"), action, "*");
///     allows_at_sight(&env, &request.with("aws:SecureTransport", Fact::Present))
/// };
/// assert_eq!((of("ecr:ListImages"), of("s3:GetObject"), of("ecr:PutImage")), (Some(true), Some(false), None));
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn allows_at_sight(env: &Environment, request: &Request) -> Option<bool> {
    // What no filling allows is denied, by whatever.
    match judge(env, request, |_, _, bound| bound).0 {
        Decision::Allowed => Some(true),
        Decision::ImplicitlyDenied | Decision::ExplicitlyDenied => Some(false),
        Decision::Unknown => None,
    }
}

type Source<'a> = (&'a NamedPolicy, Option<&'a Statement>);

/// What the statements looked at so far say.
#[derive(Default)]
struct Tally<'a> {
    certain: Bits,
    possible: Bits,
    by_identity: Option<Source<'a>>,
    by_resource: Option<(Layer, Source<'a>, Bits)>,
    may_deny: Option<Layer>,
}

/// The first explicit deny, which ends the search (IAM-EVAL-2).
type Denial<'a> = (Layer, Source<'a>);

impl<'a> Tally<'a> {
    fn policy(
        &mut self,
        place: Place,
        policy: &'a NamedPolicy,
        action: &Action<'_>,
        env: &Environment,
        request: &Request,
    ) -> ControlFlow<Denial<'a>> {
        match &policy.policy {
            PolicyState::Known(document) => document.about(action, |statement| {
                let applies = applies_beyond_action(place.layer, statement, request);
                if applies == Truth::False {
                    return ControlFlow::Continue(());
                }
                let forms = principal_forms(place.layer, statement, env, request);
                self.statement(place, (policy, Some(statement)), statement.effect, applies, forms)
            }),
            PolicyState::Unreadable(_) => {
                self.possible |= unreadable_grants(place) | bit::DENY;
                self.may_deny = self.may_deny.or(Some(place.layer));
                ControlFlow::Continue(())
            }
        }
    }

    fn statement(
        &mut self,
        place: Place,
        source: Source<'a>,
        effect: Effect,
        applies: Truth,
        forms: Forms,
    ) -> ControlFlow<Denial<'a>> {
        if effect == Effect::Deny {
            match applies & forms.any() {
                Truth::True => return ControlFlow::Break((place.layer, source)),
                Truth::Unknown => {
                    self.possible |= bit::DENY;
                    self.may_deny = self.may_deny.or(Some(place.layer));
                }
                Truth::False => {}
            }
            return ControlFlow::Continue(());
        }
        for (form, truth) in forms.grants(place) {
            match truth & applies {
                Truth::True => {
                    self.certain |= form;
                    self.possible |= form;
                    if place.layer == Layer::Identity {
                        self.by_identity = self.by_identity.or(Some(source));
                    } else if form & bit::ANY_RESOURCE != 0 && self.by_resource.is_none_or(|(.., held)| form < held) {
                        self.by_resource = Some((place.layer, source, form));
                    }
                }
                Truth::Unknown => self.possible |= form,
                Truth::False => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// Judges the request; `settle` decides what the bounds, of which it gets what is certain, leave open.
fn judge<'a>(
    env: &'a Environment,
    request: &Request,
    exact: fn(&Environment, &Request, Decision) -> Decision,
) -> (Decision, Option<Layer>, Option<Source<'a>>) {
    let frame = Frame::new(env, &request.principal);
    let same = same_account(env, request);
    let action = Action::new(&request.action);
    let mut tally = Tally::default();
    // `try_for_each` runs the chain of layers as loops one after the other, which `for` does not.
    let all = places(env, &request.principal)
        .try_for_each(|(place, policy)| tally.policy(place, policy, &action, env, request));
    if let ControlFlow::Break((layer, source)) = all {
        return (Decision::ExplicitlyDenied, Some(layer), Some(source));
    }
    let Tally { certain, possible, by_identity, by_resource, may_deny } = tally;
    let granted =
        |bits| (same != Truth::False && frame.grants(bits, true), same != Truth::True && frame.grants(bits, false));
    let always = match (granted(certain), same) {
        ((in_same, _), Truth::True) => in_same,
        ((_, across), Truth::False) => across,
        ((in_same, across), Truth::Unknown) => in_same && across,
    };
    let (in_same, across) = granted(possible);
    let ever = in_same || across;
    let decision = if !ever && possible & bit::DENY == 0 {
        Decision::ImplicitlyDenied
    } else if always && possible & bit::DENY == 0 {
        Decision::Allowed
    } else {
        exact(env, request, if ever { Decision::Unknown } else { Decision::ImplicitlyDenied })
    };
    match decision {
        Decision::Allowed => {
            let path = bit::IDENTITY | bit::BOUNDARY | bit::SESSION;
            let through_identity = (certain | frame.given) & path == path;
            match by_resource {
                Some((layer, source, _)) if !through_identity => (decision, Some(layer), Some(source)),
                _ => (decision, Some(Layer::Identity), by_identity),
            }
        }
        Decision::ImplicitlyDenied => (decision, frame.refusing(possible, same).or(Some(Layer::Identity)), None),
        // In each reading another statement may be the one that denies.
        Decision::ExplicitlyDenied => (decision, may_deny, None),
        Decision::Unknown => (decision, None, None),
    }
}
