//! A request of which everything is known.

use std::collections::BTreeMap;

use crate::principal::account_of;

/// A request of which everything is known.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The action with its service prefix, for example `ecr:BatchGetImage`.
    pub action: String,
    /// The ARN of the resource, or `*` for an action without resource-level support.
    pub resource: String,
    /// Values by lower-case key; a key that is not there, or has no values, is absent.
    pub context: BTreeMap<String, Vec<String>>,
    /// The ARNs of the principal: the user; role and session; a session alone, whose role then has no path. Of a service
    /// its name.
    pub arns: Vec<String>,
    /// The principal's account: twelve digits, or nothing for a service.
    pub account: String,
    /// Whether the resource is of the principal's account, so that one side is enough. Of a service: true.
    pub same_account: bool,
    /// Whether service control policies do not reach the principal: a principal of the management account, or a service.
    pub scp_exempt: bool,
    /// What policies that could not be read say, by the name of the fact ([`Policy::Unreadable`]).
    ///
    /// [`Policy::Unreadable`]: crate::Policy::Unreadable
    pub draws: BTreeMap<String, Draw>,
}

/// What a policy that could not be read says of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draw {
    /// No statement of it applies.
    Nothing,
    /// It denies the request.
    Deny,
    /// It allows everyone, the user or the session.
    Direct,
    /// It allows the role (a resource-based policy).
    Role,
    /// It allows the account (a resource-based policy).
    Account,
}

impl Request {
    /// The request of a user, a role, or a session (whose role has no path) without condition keys. A resource without
    /// an account, and `*`, are of the principal's.
    #[must_use]
    pub fn new(principal: &str, action: &str, resource: &str) -> Self {
        let account = account_of(principal).unwrap_or_default();
        Self {
            action: action.to_owned(),
            resource: resource.to_owned(),
            arns: vec![principal.to_owned()],
            same_account: account_of(resource).is_none_or(|owner| owner == account),
            account,
            ..Self::default()
        }
    }

    /// With these values of a context key.
    #[must_use]
    pub fn with<const N: usize>(mut self, key: &str, values: [&str; N]) -> Self {
        self.context.insert(key.to_ascii_lowercase(), values.map(str::to_owned).into());
        self
    }

    /// The values of a key (lower-case); none where it is absent.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.context.get(key).map_or(&[], Vec::as_slice)
    }
}

/// Whether a context key (lower-case) is one of the global keys that AWS calls multivalued.
#[must_use]
pub fn is_multivalued(key: &str) -> bool {
    [
        "aws:calledvia",
        "aws:principalorgpaths",
        "aws:principalservicenameslist",
        "aws:resourceorgpaths",
        "aws:sourceorgpaths",
        "aws:tagkeys",
        "aws:vpceorgpaths",
    ]
    .contains(&key)
}
