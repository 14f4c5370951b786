//! One decision over all layers.
//!
//! Every statement that applies sets a bit: "identity allows", "boundary allows", "denied", … The decision is a
//! function of these bits that grows with each of them (the denial aside), so two sets, the bits that are certain and
//! the bits that are possible, bound every reading of the facts. Where both give the same decision it is final, found
//! in one pass; where they part, [`settle`](crate::settle) looks at the readings one by one.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::arn;
use crate::document::{Clause, Effect, PrincipalClause, PrincipalEntry, Statement};
use crate::index::Action;
use crate::request::{Account, Decision, Environment, Layer, NamedPolicy, Outcome, PolicyState, Principal, Request};
use crate::settle;
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
    let (decision, layer, source) = judge(env, request, settle::decide);
    Outcome {
        decision,
        layer,
        policy: source.map(|(policy, _)| Arc::clone(&policy.name)),
        statement: source.and_then(|(_, statement)| statement).map(|statement| Arc::clone(&statement.label)),
    }
}

/// As [`evaluate`], the decision alone, without the names of policy and statement. Cheapest where it is definite without looking at
/// several readings.
#[must_use]
pub fn decide(env: &Environment, request: &Request) -> Decision {
    judge(env, request, settle::decide).0
}

/// Whether the request is allowed, where one look tells: true and false hold for every filling of the facts that are not
/// known. None where the fillings would have to be looked at one by one, which is what makes a decision about unknown
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

/// A set of things that are granted, and whether something is denied.
pub(crate) type Bits = u128;

/// The bits.
pub(crate) mod bit {
    use super::Bits;

    pub(crate) const IDENTITY: Bits = 1;
    pub(crate) const BOUNDARY: Bits = 1 << 1;
    pub(crate) const SESSION: Bits = 1 << 2;
    /// A resource-based policy names the user, the session, or everyone.
    pub(crate) const DIRECT: Bits = 1 << 3;
    /// A resource-based policy names the role.
    pub(crate) const ROLE: Bits = 1 << 4;
    /// A resource-based policy names the account.
    pub(crate) const ACCOUNT: Bits = 1 << 5;
    pub(crate) const ENDPOINT: Bits = 1 << 6;
    pub(crate) const DENY: Bits = 1 << 7;
    pub(crate) const ANY_RESOURCE: Bits = DIRECT | ROLE | ACCOUNT;

    /// "The level of service control policies allows"; levels beyond 119 share none and never allow.
    pub(crate) const fn scp(level: usize) -> Bits {
        if level < 120 { 1 << (8 + level) } else { 0 }
    }
}

/// Where a policy stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) layer: Layer,
    /// What an applying Allow grants; for resource-based policies the principal's form decides.
    pub(crate) grants: Bits,
}

/// What the layers need, apart from what statements say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Granted because the layer has no policies.
    pub(crate) given: Bits,
    /// What every grant needs: all levels, and the endpoint.
    pub(crate) needed: Bits,
}

impl Frame {
    pub(crate) fn new(env: &Environment, principal: &Principal) -> Self {
        let mut given = 0;
        if env.boundary.is_none() {
            given |= bit::BOUNDARY;
        }
        if env.session.is_empty() {
            given |= bit::SESSION;
        }
        if env.endpoint.is_none() {
            given |= bit::ENDPOINT;
        }
        let levels = if principal.scp_exempt { 0 } else { env.scps.len() };
        let needed = (0..levels).fold(bit::ENDPOINT, |sum, level| sum | bit::scp(level));
        Self { given, needed }
    }

    /// Whether the bits grant the request, denials aside.
    ///
    /// IAM-EVAL-4 (same account) and IAM-EVAL-5 (cross account).
    pub(crate) fn grants(&self, bits: Bits, same_account: bool) -> bool {
        let bits = bits | self.given;
        let has = |wanted: Bits| bits & wanted == wanted;
        let unlimited = has(bit::BOUNDARY | bit::SESSION);
        let identity = has(bit::IDENTITY) && unlimited;
        let granted = if same_account {
            identity || has(bit::DIRECT) || (has(bit::ROLE) && unlimited)
        } else {
            identity && bits & bit::ANY_RESOURCE != 0
        };
        granted && has(self.needed)
    }

    /// The first layer in reporting order that does not allow.
    fn refusing(&self, bits: Bits, same: Truth) -> Option<Layer> {
        let bits = bits | self.given;
        let has = |wanted: Bits| bits & wanted == wanted;
        let by_resource = bits & (bit::DIRECT | bit::ROLE) != 0;
        if !has(bit::IDENTITY) && (same == Truth::False || !by_resource) {
            return Some(Layer::Identity);
        }
        if same == Truth::False && bits & bit::ANY_RESOURCE == 0 {
            return Some(Layer::Resource);
        }
        let direct = same != Truth::False && has(bit::DIRECT);
        if !has(bit::BOUNDARY) && !direct {
            return Some(Layer::Boundary);
        }
        if !has(bit::SESSION) && !direct {
            return Some(Layer::Session);
        }
        if !has(self.needed & !bit::ENDPOINT) {
            return Some(Layer::Scp);
        }
        (!has(bit::ENDPOINT)).then_some(Layer::Endpoint)
    }
}

/// Every policy with its place, in reporting order.
pub(crate) fn places<'a>(
    env: &'a Environment,
    principal: &Principal,
) -> impl Iterator<Item = (Place, &'a NamedPolicy)> {
    let place = |layer, grants| move |policy| (Place { layer, grants }, policy);
    let scps: &[Vec<NamedPolicy>] = if principal.scp_exempt { &[] } else { &env.scps };
    let levels = scps.iter().enumerate();
    env.identity
        .iter()
        .map(place(Layer::Identity, bit::IDENTITY))
        .chain(env.resource.iter().map(place(Layer::Resource, 0)))
        .chain(env.registry.iter().map(place(Layer::Registry, 0)))
        .chain(env.boundary.iter().map(place(Layer::Boundary, bit::BOUNDARY)))
        .chain(env.session.iter().map(place(Layer::Session, bit::SESSION)))
        .chain(levels.flat_map(move |(level, policies)| policies.iter().map(place(Layer::Scp, bit::scp(level)))))
        // IAM-EVAL-8: RCPFullAWSAccess is implicit, so that an Allow grants nothing more.
        .chain(env.rcps.iter().flatten().map(place(Layer::Rcp, 0)))
        .chain(env.endpoint.iter().map(place(Layer::Endpoint, bit::ENDPOINT)))
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
    settle: fn(&Environment, &Request, Decision) -> Decision,
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
        settle(env, request, if ever { Decision::Unknown } else { Decision::ImplicitlyDenied })
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

/// What a policy that could not be read may grant.
pub(crate) fn unreadable_grants(place: Place) -> Bits {
    match place.layer {
        Layer::Resource | Layer::Registry => bit::ANY_RESOURCE,
        _ => place.grants,
    }
}

/// Action, resource and conditions of a statement; the principal is asked for separately.
pub(crate) fn applies(layer: Layer, statement: &Statement, request: &Request) -> Truth {
    if !statement.action.matches_action(&request.action) {
        return Truth::False;
    }
    applies_beyond_action(layer, statement, request)
}

/// As [`applies`], of a statement about the action.
fn applies_beyond_action(layer: Layer, statement: &Statement, request: &Request) -> Truth {
    let resource = resource_applies(layer, statement.resource.as_ref(), request);
    if resource == Truth::False {
        return Truth::False;
    }
    // IAM-COND-1: all lines must hold.
    resource & Truth::all(&statement.conditions, |condition| condition.evaluate(&request.context))
}

/// IAM-RES-7: a repository policy that names no resource means its repository; elsewhere the element is required, and
/// a statement without it applies to nothing.
pub(crate) fn resource_applies(layer: Layer, clause: Option<&Clause>, request: &Request) -> Truth {
    match clause {
        Some(clause) => clause.matches_resource(&request.resource, &request.context),
        None => Truth::from(matches!(layer, Layer::Resource | Layer::Registry)),
    }
}

/// By which form a statement names the principal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms {
    pub(crate) direct: Truth,
    pub(crate) role: Truth,
    pub(crate) account: Truth,
}

impl Forms {
    pub(crate) const EVERYONE: Self = Self { direct: Truth::True, role: Truth::False, account: Truth::False };
    const NOBODY: Self = Self { direct: Truth::False, role: Truth::False, account: Truth::False };

    pub(crate) fn any(self) -> Truth {
        self.direct | self.role | self.account
    }

    /// The bits an Allow sets, with how certain each is.
    pub(crate) fn grants(self, place: Place) -> [(Bits, Truth); 3] {
        match place.layer {
            Layer::Resource | Layer::Registry => {
                [(bit::DIRECT, self.direct), (bit::ROLE, self.role), (bit::ACCOUNT, self.account)]
            }
            _ => [(place.grants, self.any()), (0, Truth::False), (0, Truth::False)],
        }
    }
}

/// How a statement names the principal. Policies attached to the principal name nobody and mean their principal.
pub(crate) fn principal_forms(layer: Layer, statement: &Statement, env: &Environment, request: &Request) -> Forms {
    match (layer, &statement.principal) {
        (Layer::Identity | Layer::Boundary | Layer::Session | Layer::Scp, _) | (Layer::Rcp | Layer::Endpoint, None) => {
            Forms::EVERYONE
        }
        (_, None) => Forms::NOBODY,
        (_, Some(clause)) => clause_forms(clause, statement.effect, env, request),
    }
}

pub(crate) fn clause_forms(clause: &PrincipalClause, effect: Effect, env: &Environment, request: &Request) -> Forms {
    let mut forms = Forms::NOBODY;
    for entry in &clause.entries {
        match entry {
            PrincipalEntry::Everyone => forms.direct = Truth::True,
            PrincipalEntry::Account(id) => {
                forms.account = forms.account | is_account(id, env, request);
                // The root user itself is named by the same text.
                let root = |arn: &String| arn::account_of_root(arn) == Some(id);
                if request.principal.arns.iter().any(root) {
                    forms.direct = Truth::True;
                }
            }
            PrincipalEntry::Arn(wanted) => {
                let truth = is_arn(wanted, env, request);
                if arn::is_role(wanted) {
                    forms.role = forms.role | truth;
                } else {
                    forms.direct = forms.direct | truth;
                }
            }
            PrincipalEntry::Other(wanted) => {
                let named = request.principal.arns.iter().any(|arn| **arn == **wanted);
                forms.direct = forms.direct | Truth::from(named);
            }
        }
    }
    if !clause.negated {
        return forms;
    }
    // IAM-PRIN-7: with a boundary, a Deny with NotPrincipal denies whoever is listed.
    if effect == Effect::Deny && env.boundary.is_some() {
        return Forms::EVERYONE;
    }
    // IAM-PRIN-6: to list the account exempts its root user, not its users and roles.
    Forms { direct: !(forms.direct | forms.role), ..Forms::NOBODY }
}

/// The account of the principal, where it is known by number.
pub(crate) fn principal_account<'a>(env: &'a Environment, request: &'a Request) -> Option<&'a str> {
    match &request.principal.account {
        Account::Known(id) => Some(id),
        Account::SameAsResource => resource_account(env, request),
        Account::Outside => None,
        Account::Unknown => request.principal.arns.iter().find_map(|arn| arn::account(arn)),
    }
}

/// The account of the resource, where it is known by number.
pub(crate) fn resource_account<'a>(env: &'a Environment, request: &'a Request) -> Option<&'a str> {
    match &env.resource_account {
        Account::Known(id) => Some(id),
        _ => arn::account(&request.resource),
    }
}

/// Whether principal and resource are of the same account. An action without a resource belongs to the caller's.
pub(crate) fn same_account(env: &Environment, request: &Request) -> Truth {
    // IAM-EVAL-11: a caller without an account has no side of its own that would have to allow.
    if matches!(request.principal.account, Account::SameAsResource | Account::Outside)
        || env.resource_account == Account::SameAsResource
    {
        return Truth::True;
    }
    match (principal_account(env, request), resource_account(env, request)) {
        (_, None) if request.resource == "*" => Truth::True,
        (Some(principal), Some(resource)) => Truth::from(principal == resource),
        _ => Truth::Unknown,
    }
}

fn is_account(id: &str, env: &Environment, request: &Request) -> Truth {
    match principal_account(env, request) {
        _ if request.principal.account == Account::Outside => Truth::False,
        Some(account) => Truth::from(account == id),
        None => Truth::Unknown,
    }
}

/// Whether the principal has this ARN.
fn is_arn(wanted: &str, env: &Environment, request: &Request) -> Truth {
    let principal = &request.principal;
    if principal.arns.iter().any(|arn| arn == wanted) {
        return Truth::True;
    }
    let has_role = principal.arns.iter().any(|arn| arn::is_role(arn));
    if !has_role && arn::is_role(wanted) {
        // IAM-PRIN-3: a session's role, without a path, where the role itself is not given.
        let plain = wanted.splitn(6, ':').nth(5).is_some_and(|resource| resource.matches('/').count() == 1);
        if plain && principal.arns.iter().any(|arn| arn::session_may_be_of(arn, wanted)) {
            return Truth::True;
        }
    }
    let open = principal.arns.is_empty()
        || (principal.session_unknown && principal.arns.iter().any(|role| arn::session_may_be_of(wanted, role)));
    let elsewhere = principal.account == Account::Outside
        || matches!((principal_account(env, request), arn::account(wanted)), (Some(a), Some(b)) if a != b);
    if open && !elsewhere { Truth::Unknown } else { Truth::False }
}
