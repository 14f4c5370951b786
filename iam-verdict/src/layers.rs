//! The layers of a decision: which policies there are, what each grants, and which grants a request needs.

use crate::decision::Layer;
use crate::environment::{Environment, NamedPolicy};
use crate::principal::Principal;
use crate::truth::Truth;

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
    pub(crate) fn refusing(&self, bits: Bits, same: Truth) -> Option<Layer> {
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

/// What a policy that could not be read may grant.
pub(crate) fn unreadable_grants(place: Place) -> Bits {
    match place.layer {
        Layer::Resource | Layer::Registry => bit::ANY_RESOURCE,
        _ => place.grants,
    }
}
