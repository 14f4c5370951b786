//! What is asked, by whom, under which facts, and which policies take part.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::document::Policy;

/// The outcome of one request.
///
/// The first three are the words of the AWS page "Policy evaluation logic". `Unknown` is ours: some filling of the
/// facts that are not known allows the request, and another one denies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Every reading of the facts allows the request.
    Allowed,
    /// In every reading some statement denies the request by name.
    ExplicitlyDenied,
    /// No reading allows the request.
    ImplicitlyDenied,
    /// Some reading allows the request and some reading denies it; see [`missing`](crate::missing).
    Unknown,
}

impl Decision {
    /// The word that [`Display`](fmt::Display) prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::ExplicitlyDenied => "ExplicitlyDenied",
            Self::ImplicitlyDenied => "ImplicitlyDenied",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of policy that takes part in a decision, in the order in which refusals are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Policies attached to the principal.
    Identity,
    /// The policy of the resource itself (an ECR repository policy, an S3 bucket policy).
    Resource,
    /// A second resource-based policy that covers the whole registry (ECR registry policy, scope V2).
    Registry,
    /// The permissions boundary of the principal.
    Boundary,
    /// Policies passed when the session was made.
    Session,
    /// Service control policies of the principal's account, by level.
    Scp,
    /// Resource control policies of the resource's account, by level.
    Rcp,
    /// The policy of the VPC endpoint that the request goes through.
    Endpoint,
}

impl Layer {
    /// The lower-case word that [`Display`](fmt::Display) prints.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Resource => "resource",
            Self::Registry => "registry",
            Self::Boundary => "boundary",
            Self::Session => "session",
            Self::Scp => "scp",
            Self::Rcp => "rcp",
            Self::Endpoint => "endpoint",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of one context key of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The key is in the request with these values. One value for a single-valued key; an empty list is a multivalued
    /// key without values, which counts as absent.
    Values(Vec<String>),
    /// The key is not in the request.
    Absent,
    /// Either the key is not in the request, or it has exactly these values (`aws:MultiFactorAuthPresent` of a role
    /// session: absent or `false`).
    AbsentOr(Vec<String>),
    /// The key is in the request; its value is not known.
    Present,
    /// Neither presence nor value is known.
    Unknown,
}

impl Fact {
    /// The fact of a key with one value.
    #[must_use]
    pub fn value(value: impl Into<String>) -> Self {
        Self::Values(vec![value.into()])
    }

    /// Whether the fact leaves a choice.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::AbsentOr(_) | Self::Present | Self::Unknown)
    }
}

/// The facts of a request by context key. Keys are case-insensitive ("IAM JSON policy elements: Condition").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    facts: BTreeMap<String, Fact>,
    unlisted: Fact,
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    /// A complete context without any key: a key that is not set is [`Fact::Absent`].
    #[must_use]
    pub const fn new() -> Self {
        Self { facts: BTreeMap::new(), unlisted: Fact::Absent }
    }

    /// Says what holds of every key that is not set, for example [`Fact::Unknown`].
    #[must_use]
    pub fn with_unlisted(mut self, fact: Fact) -> Self {
        self.unlisted = fact;
        self
    }

    /// Sets what is known of `key`, in place of what was set before.
    pub fn set(&mut self, key: &str, fact: Fact) -> &mut Self {
        self.facts.insert(key.to_ascii_lowercase(), fact);
        self
    }

    /// As [`set`](Self::set), for building a context in one expression.
    #[must_use]
    pub fn with(mut self, key: &str, fact: Fact) -> Self {
        self.set(key, fact);
        self
    }

    /// What is known of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> &Fact {
        if key.bytes().any(|b| b.is_ascii_uppercase()) {
            self.lookup(&key.to_ascii_lowercase())
        } else {
            self.lookup(key)
        }
    }

    /// As [`get`](Self::get) for a key that is lower-case already.
    pub(crate) fn lookup(&self, key: &str) -> &Fact {
        self.facts.get(key).unwrap_or(&self.unlisted)
    }

    /// The keys that were set, lower-cased and sorted, with what is known of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.facts.iter().map(|(key, fact)| (key.as_str(), fact))
    }
}

/// A policy and the name it is reported by.
#[derive(Clone, Debug)]
pub struct NamedPolicy {
    /// How outcomes call this policy.
    pub name: String,
    /// The document, or that it could not be read.
    pub policy: PolicyState,
}

impl NamedPolicy {
    /// A policy that was read.
    #[must_use]
    pub fn known(name: impl Into<String>, policy: impl Into<Arc<Policy>>) -> Self {
        Self { name: name.into(), policy: PolicyState::Known(policy.into()) }
    }

    /// A policy that exists, or may exist, and could not be read; `fact` names what is missing.
    #[must_use]
    pub fn unreadable(name: impl Into<String>, fact: impl Into<String>) -> Self {
        Self { name: name.into(), policy: PolicyState::Unreadable(fact.into()) }
    }
}

/// Whether the document of a policy is known.
#[derive(Clone, Debug)]
pub enum PolicyState {
    /// The compiled document.
    Known(Arc<Policy>),
    /// The document could not be read: it may allow, deny, or say nothing. Holds the name of the missing fact, for
    /// example `repositoryPolicy:ARN`.
    Unreadable(String),
}

/// The account of the principal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Account {
    /// This account id (twelve digits).
    Known(String),
    /// Not known: the request may be same account or cross account.
    #[default]
    Unknown,
    /// Not known by number, but the same as the resource's.
    SameAsResource,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The ARNs by which a resource-based policy may name the principal: the role ARN and the session ARN, or the ARN
    /// of a user. May be empty when they are not known; then every statement that names an ARN may match.
    pub arns: Vec<String>,
    /// The account of the principal.
    pub account: Account,
    /// Service control policies do not apply: a principal of the management account, or a service-linked role.
    pub scp_exempt: bool,
    /// The principal is a session of the role in `arns`, and the session's name is not known: a statement that names a
    /// session of this role may match.
    pub session_unknown: bool,
}

impl Principal {
    /// The principal with one ARN: a user, a role, or a role session (whose role ARN is derived; a session ARN does
    /// not tell the role's path, so a role with a path wants both ARNs in [`arns`](Self::arns)).
    #[must_use]
    pub fn from_arn(arn: &str) -> Self {
        let mut arns = Vec::with_capacity(2);
        if let Some(role) = crate::arn::role_of_session(arn) {
            arns.push(role);
        }
        arns.push(arn.to_owned());
        let account = match crate::arn::account(arn) {
            Some(account) => Account::Known(account.to_owned()),
            None => Account::Unknown,
        };
        Self { arns, account, ..Self::default() }
    }
}

/// One IAM request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub principal: Principal,
    /// The action with its service prefix, for example `ecr:BatchGetImage`.
    pub action: String,
    /// The ARN of the resource, or `*` for an action without resource-level support.
    pub resource: String,
    /// The condition keys of the request.
    pub context: Context,
}

/// The policies that take part in a decision, by layer. The default has none of them.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Identity-based policies of the principal.
    pub identity: Vec<NamedPolicy>,
    /// The permissions boundary, if there is one.
    pub boundary: Option<NamedPolicy>,
    /// Session policies; none means that the session is not limited.
    pub session: Vec<NamedPolicy>,
    /// The policy of the resource.
    pub resource: Option<NamedPolicy>,
    /// The policy of the registry that holds the resource.
    pub registry: Option<NamedPolicy>,
    /// Service control policies by level, root first. No levels: none apply. A level that does not allow denies.
    pub scps: Vec<Vec<NamedPolicy>>,
    /// Resource control policies by level, root first. The allow-all policy is implicit at every level.
    pub rcps: Vec<Vec<NamedPolicy>>,
    /// The policy of the VPC endpoint, if the request goes through one that has a policy.
    pub endpoint: Option<NamedPolicy>,
    /// The account that owns the resource.
    pub resource_account: Account,
}

/// A decision and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// The deciding layer: the one that granted, or the first explicit deny, or the first layer that does not allow
    /// (in the order of [`Layer`]). None when the decision is [`Decision::Unknown`].
    pub layer: Option<Layer>,
    /// The name of the deciding policy, where one statement decided.
    pub policy: Option<String>,
    /// The deciding statement: its Sid, or `#index` where it has none.
    pub statement: Option<String>,
}

/// The facts that would settle an Unknown decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Names of facts: context keys (lower-cased), the facts of unreadable policies, `principal`, `account`.
    pub facts: Vec<String>,
    /// Whether no proper subset settles. False beyond the bound of exact evaluation, where `facts` are all facts in
    /// play.
    pub minimal: bool,
}

/// The statement that came closest to granting a request, and the one thing that kept it from applying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The layer of the policy.
    pub layer: Layer,
    /// The name of the policy.
    pub policy: String,
    /// The statement: its Sid, or `#index`.
    pub statement: String,
    /// What does not match, for a person: "resource `…:repository/team` is not `…:repository/team/app`".
    pub what: String,
    /// Which part of the statement does not match.
    pub part: MissedPart,
}

/// The part of a statement that kept it from applying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
