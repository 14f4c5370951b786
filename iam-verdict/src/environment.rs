//! The policies that take part in a decision, by layer.

use std::sync::Arc;

use crate::document::Policy;
use crate::principal::Account;

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

    /// Adds the next level of service control policies, root first.
    #[must_use]
    pub fn with_scp_level(mut self, policies: impl IntoIterator<Item = NamedPolicy>) -> Self {
        self.scps.push(policies.into_iter().collect());
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
