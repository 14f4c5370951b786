//! What is asked, by whom, and under which facts.

use crate::context::{Context, Fact};
use crate::principal::Principal;

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
