//! What is asked, by whom, under which facts, and which policies take part.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::document::Policy;
use crate::time;

/// The outcome of one request.
///
/// The first three are the words of the AWS page "Policy evaluation logic". `Unknown` is ours: some filling of the
/// facts that are not known allows the request, and another one denies it. There will be no fifth.
///
/// ```
/// use iam_verdict::Decision;
/// let may_go_on = |decision| match decision {
///     Decision::Allowed => Some(true),
///     Decision::ExplicitlyDenied | Decision::ImplicitlyDenied => Some(false),
///     Decision::Unknown => None,
/// };
/// assert_eq!(may_go_on(Decision::Unknown), None);
/// assert_eq!(Decision::ImplicitlyDenied.to_string(), "ImplicitlyDenied");
/// ```
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
#[non_exhaustive]
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
///
/// ```
/// use iam_verdict::{Context, Fact};
/// // Complete: what is not set is absent. `with_unlisted` says otherwise.
/// let mut context = Context::new().with_unlisted(Fact::Unknown);
/// context.set("aws:SourceIp", Fact::value("192.0.2.1"));
/// context.set("aws:MultiFactorAuthPresent", Fact::AbsentOr(vec!["false".into()]));
/// assert_eq!(context.get("AWS:sourceip"), &Fact::value("192.0.2.1"));
/// assert_eq!(context.get("aws:SourceVpc"), &Fact::Unknown);
/// ```
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

    /// Sets the two keys that tell the time, which move together: `aws:EpochTime` and `aws:CurrentTime`.
    ///
    /// The engine reads no clock. Instants outside the years 0 to 9999, which have no date of four digits, count as the
    /// nearest that has one.
    ///
    /// ```
    /// use iam_verdict::{Context, Fact};
    /// let mut context = Context::new();
    /// context.set_time(1_717_200_000);
    /// assert_eq!(context.get("aws:CurrentTime"), &Fact::value("2024-06-01T00:00:00Z"));
    /// assert_eq!(context.get("aws:EpochTime"), &Fact::value("1717200000"));
    /// ```
    pub fn set_time(&mut self, epoch_seconds: i64) -> &mut Self {
        let seconds = time::clamp(epoch_seconds);
        self.set(time::EPOCH_TIME, Fact::value(seconds.to_string()));
        self.set(time::CURRENT_TIME, Fact::value(time::text(seconds)))
    }

    /// As [`set_time`](Self::set_time), for a chain of calls.
    #[must_use]
    pub fn with_time(mut self, epoch_seconds: i64) -> Self {
        self.set_time(epoch_seconds);
        self
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
///
/// ```
/// use iam_verdict::{NamedPolicy, Policy, PolicyState};
/// let read = |text: &str| match Policy::parse(text) {
///     Ok(policy) => NamedPolicy::known("app", policy),
///     // A document that cannot be read may say anything.
///     Err(_) => NamedPolicy::unreadable("app", "document:app"),
/// };
/// assert!(matches!(read("{").policy, PolicyState::Unreadable(_)));
/// ```
#[derive(Clone, Debug)]
pub struct NamedPolicy {
    /// How outcomes call this policy. Shared with them, so that an outcome is free of allocation.
    pub name: Arc<str>,
    /// The document, or that it could not be read.
    pub policy: PolicyState,
}

impl NamedPolicy {
    /// A policy that was read.
    #[must_use]
    pub fn known(name: impl Into<Arc<str>>, policy: impl Into<Arc<Policy>>) -> Self {
        Self { name: name.into(), policy: PolicyState::Known(policy.into()) }
    }

    /// A policy that exists, or may exist, and could not be read; `fact` names what is missing.
    #[must_use]
    pub fn unreadable(name: impl Into<Arc<str>>, fact: impl Into<String>) -> Self {
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
#[non_exhaustive]
pub enum Account {
    /// This account id (twelve digits).
    Known(String),
    /// Not known: the request may be same account or cross account.
    #[default]
    Unknown,
    /// Not known by number, but the same as the resource's.
    SameAsResource,
    /// None: an anonymous caller or an AWS service principal. A resource-based policy is enough to grant
    /// ("Cross-account policy evaluation logic" asks for both sides only where the caller has an account).
    Outside,
}

impl Account {
    /// The account with this id.
    #[must_use]
    pub fn known(id: impl Into<String>) -> Self {
        Self::Known(id.into())
    }
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

    /// Reads whatever a Principal element may name: an ARN, an account id (its root user), an AWS service or another
    /// provider by its host name, or `*` for an anonymous caller ("AWS JSON policy elements: Principal"). The last two
    /// belong to no account, and service control policies do not reach them. None where the text is none of these.
    ///
    /// ```
    /// use iam_verdict::{Account, Principal};
    /// let root = Principal::from_text("111122223333").unwrap();
    /// assert_eq!(root.arns, ["arn:aws:iam::111122223333:root"]);
    /// let service = Principal::from_text("ecs.amazonaws.com").unwrap();
    /// assert_eq!(service.account, Account::Outside);
    /// assert!(Principal::from_text("alice").is_none());
    /// ```
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if text.starts_with("arn:") {
            let whole = text.splitn(6, ':').nth(5).is_some_and(|resource| !resource.is_empty());
            return whole.then(|| Self::from_arn(text));
        }
        if crate::arn::is_account_id(text) {
            return Some(Self::from_arn(&format!("arn:aws:iam::{text}:root")));
        }
        let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        let named = text.contains('.') && !text.starts_with('.') && !text.ends_with('.') && text.bytes().all(host);
        let anonymous = text == "*";
        (named || anonymous).then(|| Self {
            arns: vec![text.to_owned()],
            account: Account::Outside,
            scp_exempt: true,
            session_unknown: false,
        })
    }

    /// Adds an ARN by which policies may name this principal, such as the ARN of a role with a path.
    #[must_use]
    pub fn with_arn(mut self, arn: impl Into<String>) -> Self {
        self.arns.push(arn.into());
        self
    }

    /// Says which account the principal is of.
    #[must_use]
    pub fn with_account(mut self, account: Account) -> Self {
        self.account = account;
        self
    }

    /// Says whether service control policies do not apply.
    #[must_use]
    pub fn with_scp_exempt(mut self, exempt: bool) -> Self {
        self.scp_exempt = exempt;
        self
    }

    /// Says that the principal is a session of its role whose name is not known.
    #[must_use]
    pub fn with_session_unknown(mut self, unknown: bool) -> Self {
        self.session_unknown = unknown;
        self
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

impl Request {
    /// A request without condition keys.
    ///
    /// ```
    /// use iam_verdict::{Fact, Principal, Request};
    /// let request = Request::new(
    ///     Principal::from_arn("arn:aws:iam::111122223333:role/app"),
    ///     "ecr:BatchGetImage",
    ///     "arn:aws:ecr:us-east-1:111122223333:repository/team/app",
    /// )
    /// .with("aws:SourceIp", Fact::value("192.0.2.1"));
    /// assert_eq!(request.context.iter().count(), 1);
    /// ```
    #[must_use]
    pub fn new(principal: Principal, action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { principal, action: action.into(), resource: resource.into(), context: Context::new() }
    }

    /// Takes these condition keys in place of those it had.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets what is known of one condition key.
    #[must_use]
    pub fn with(mut self, key: &str, fact: Fact) -> Self {
        self.context.set(key, fact);
        self
    }
}

/// The policies that take part in a decision, by layer. The default has none of them.
///
/// ```
/// use iam_verdict::{Account, Decision, Environment, NamedPolicy, Policy, Principal, Request, evaluate};
///
/// let allow = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}}"#)?;
/// let guard = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}"#)?;
/// let env = Environment::new()
///     .with_identity(NamedPolicy::known("app", allow))
///     .with_scp_level([NamedPolicy::known("root-guard", guard)])
///     .with_resource_account(Account::known("111122223333"));
/// let request = Request::new(
///     Principal::from_arn("arn:aws:iam::111122223333:role/app"),
///     "ecr:BatchGetImage",
///     "arn:aws:ecr:us-east-1:111122223333:repository/team/app",
/// );
/// let outcome = evaluate(&env, &request);
/// assert_eq!(outcome.decision, Decision::ImplicitlyDenied);
/// assert_eq!(outcome.layer.map(|layer| layer.as_str()), Some("scp"));
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
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

impl Environment {
    /// No policies, and the resource's account read from the request's ARN.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an identity-based policy.
    #[must_use]
    pub fn with_identity(mut self, policy: NamedPolicy) -> Self {
        self.identity.push(policy);
        self
    }

    /// Sets the permissions boundary.
    #[must_use]
    pub fn with_boundary(mut self, policy: NamedPolicy) -> Self {
        self.boundary = Some(policy);
        self
    }

    /// Adds a session policy.
    #[must_use]
    pub fn with_session(mut self, policy: NamedPolicy) -> Self {
        self.session.push(policy);
        self
    }

    /// Sets the policy of the resource.
    #[must_use]
    pub fn with_resource(mut self, policy: NamedPolicy) -> Self {
        self.resource = Some(policy);
        self
    }

    /// Sets the policy of the registry that holds the resource.
    #[must_use]
    pub fn with_registry(mut self, policy: NamedPolicy) -> Self {
        self.registry = Some(policy);
        self
    }

    /// Adds the next level of service control policies, root first.
    #[must_use]
    pub fn with_scp_level(mut self, policies: impl IntoIterator<Item = NamedPolicy>) -> Self {
        self.scps.push(policies.into_iter().collect());
        self
    }

    /// Adds the next level of resource control policies, root first.
    #[must_use]
    pub fn with_rcp_level(mut self, policies: impl IntoIterator<Item = NamedPolicy>) -> Self {
        self.rcps.push(policies.into_iter().collect());
        self
    }

    /// Sets the policy of the VPC endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, policy: NamedPolicy) -> Self {
        self.endpoint = Some(policy);
        self
    }

    /// Says which account owns the resource.
    #[must_use]
    pub fn with_resource_account(mut self, account: Account) -> Self {
        self.resource_account = account;
        self
    }
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
    pub policy: Option<Arc<str>>,
    /// The deciding statement: its Sid, or `#index` where it has none.
    pub statement: Option<Arc<str>>,
}

impl Outcome {
    /// [`Decision::Unknown`], for callers that know without asking that nothing is known.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { decision: Decision::Unknown, layer: None, policy: None, statement: None }
    }
}

/// The facts that would settle an Unknown decision.
///
/// ```
/// use iam_verdict::{Environment, Fact, NamedPolicy, Policy, Principal, Request, missing};
/// let policy = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
///     "Condition": {"Bool": {"aws:SecureTransport": "true"}}}}"#)?;
/// let env = Environment::new()
///     .with_identity(NamedPolicy::known("app", policy))
///     .with_boundary(NamedPolicy::unreadable("boundary", "boundary:app"));
/// let request = Request::new(Principal::from_arn("arn:aws:iam::111122223333:role/app"), "ecr:ListImages", "*")
///     .with("aws:SecureTransport", Fact::Present);
/// let missing = missing(&env, &request);
/// assert_eq!(missing.facts, ["boundary:app", "aws:SecureTransport"]);
/// assert!(missing.minimal);
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Names of facts: context keys (lower-cased), the facts of unreadable policies, `principal`, `account`.
    pub facts: Vec<String>,
    /// Whether no proper subset settles. False beyond the bound of exact evaluation, where `facts` are all facts in
    /// play.
    pub minimal: bool,
}
