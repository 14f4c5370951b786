//! Who asks, and of which account.

use crate::arn;

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
        if let Some(role) = arn::role_of_session(arn) {
            arns.push(role);
        }
        arns.push(arn.to_owned());
        let account = match arn::account(arn) {
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
        if arn::is_account_id(text) {
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
