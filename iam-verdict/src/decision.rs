//! What comes out: a decision, the layer, policy and statement that decided it, and the facts that would settle it.

use std::fmt;
use std::sync::Arc;

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
