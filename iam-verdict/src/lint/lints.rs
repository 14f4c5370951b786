//! What lints are: their names, how bad they are, who looks for them, and what was found.

use std::fmt;

use super::cover::Budget;
use super::facts::ServiceFacts;
use crate::validate::PolicyType;

/// [`Linter::lint`] gives at most this many, and at most half as many notes, so that they never crowd out warnings.
pub const MAX_LINTS: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Correct, and could be written better.
    Note,
    /// Something has no effect, or another effect than it seems.
    Warning,
}

impl Severity {
    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

/// Something about a document that AWS accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lint {
    /// Which lint it is.
    pub id: LintId,
    /// A JSON path, for example `$.Statement[0].Action`.
    pub path: String,
    /// What is the case.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Lint {
    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.id.severity()
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} `{}`: {} ({}) [{}]",
            self.severity().as_str(),
            self.path,
            self.message,
            self.hint,
            self.id.as_str()
        )
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $word:literal $severity:ident;)*) => {
        /// The lints. The words are stable: they may be used to silence one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum LintId {
            $($(#[$doc])* $name,)*
        }

        impl LintId {
            /// Every lint, in the order of `docs/lints.md`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word, for example `unknown-action`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

ids! {
    /// An action that its service does not have.
    UnknownAction "unknown-action" Warning;
    /// An action without resource-level support that is scoped to resources.
    NeedsStarResource "needs-star-resource" Warning;
    /// A condition key that requests for the statement's actions never carry.
    KeyNeverSent "key-never-sent" Warning;
    /// A key `aws:…` that is no global condition key.
    UnknownGlobalKey "unknown-global-key" Warning;
    /// A tag condition without the tag's key.
    MissingTagKey "missing-tag-key" Warning;
    /// A wildcard in a value that is compared literally.
    WildcardInExactValue "wildcard-in-exact-value" Warning;
    /// Conditions that contradict each other.
    ContradictoryConditions "contradictory-conditions" Warning;
    /// `NotAction` or `NotResource` with `*`: nothing is left.
    MatchesNothing "matches-nothing" Warning;
    /// A condition that holds in every case.
    AlwaysTrue "always-true" Warning;
    /// A negated pattern operator with `*`: no value passes.
    NegatedStar "negated-star" Warning;
    /// An `Allow` that a `Deny` without conditions covers.
    ShadowedAllow "shadowed-allow" Warning;
    /// `ForAllValues` in an `Allow`, which holds when the key is absent.
    ForAllValuesAllow "for-all-values-allow" Warning;
    /// A multivalued key without a set operator.
    MultivaluedKey "multivalued-key" Warning;
    /// A multivalued key as a policy variable.
    MultivaluedVariable "multivalued-variable" Warning;
    /// A policy variable in a version of the language that has none.
    VariableInOldVersion "variable-in-old-version" Warning;
    /// A policy variable in one of the first five fields of an ARN.
    VariableInArnHead "variable-in-arn-head" Warning;
    /// A policy variable under `Bool`.
    VariableInBool "variable-in-bool" Note;
    /// A string operator on a time key.
    StringOperatorOnTime "string-operator-on-time" Warning;
    /// Private addresses for `aws:SourceIp`.
    PrivateSourceIp "private-source-ip" Warning;
    /// An ARN with fewer than six fields.
    ShortArn "short-arn" Warning;
    /// An ARN whose region or account is none.
    OddArn "odd-arn" Warning;
    /// An operator without keys, or a key without values.
    EmptyCondition "empty-condition" Warning;
    /// A condition key without a prefix.
    KeyWithoutPrefix "key-without-prefix" Warning;
    /// `NotPrincipal` with `Allow`.
    AllowNotPrincipal "allow-not-principal" Warning;
    /// An `Allow` for everyone, without a condition.
    OpenPrincipal "open-principal" Warning;
    /// Two statements that say the same.
    DuplicateStatement "duplicate-statement" Note;
    /// One Sid in two statements.
    DuplicateSid "duplicate-sid" Note;
    /// An entry that another entry of the list covers.
    RedundantEntry "redundant-entry" Note;
    /// No `Version`, which means the old one.
    MissingVersion "missing-version" Note;
    /// `Id` in a policy that is not resource-based.
    IdInIdentity "id-in-identity" Note;
    /// A document beyond the size quota of its type.
    Quota "quota" Warning;
}

/// Lints a document; knows services only as far as it is told.
///
/// ```
/// use iam_verdict::{Linter, PolicyType};
/// let text = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
///     "Condition": {"StringEquals": {"aws:PrincipalTag/team": "data-*"}}}]}"#;
/// let lints = Linter::new(PolicyType::Identity).lint(text);
/// assert_eq!(lints[0].id.as_str(), "wildcard-in-exact-value");
/// assert_eq!(lints[0].path, r#"$.Statement[0].Condition.StringEquals["aws:PrincipalTag/team"]"#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Linter<'a> {
    pub(super) kind: PolicyType,
    services: &'a [ServiceFacts<'a>],
    pub(super) aws_owned: bool,
}

impl<'a> Linter<'a> {
    /// A linter for documents of this type.
    #[must_use]
    pub const fn new(kind: PolicyType) -> Self {
        Self { kind, services: &[], aws_owned: false }
    }

    /// With what is known of these services; lints about actions and keys of others are left out.
    #[must_use]
    pub const fn services(mut self, services: &'a [ServiceFacts<'a>]) -> Self {
        self.services = services;
        self
    }

    /// The document is AWS's own (a managed policy): quotas do not apply.
    #[must_use]
    pub const fn aws_owned(mut self) -> Self {
        self.aws_owned = true;
        self
    }
}

/// What was found, and what comparisons may still cost.
pub(super) struct Lints<'a> {
    pub(super) linter: Linter<'a>,
    pub(super) modern: bool,
    pub(super) found: Vec<Lint>,
    pub(super) budget: Budget,
}

impl<'a> Lints<'a> {
    pub(super) const fn new(linter: Linter<'a>, modern: bool) -> Self {
        Self { linter, modern, found: Vec::new(), budget: Budget::new(10_000_000) }
    }

    pub(super) fn add(
        &mut self,
        id: LintId,
        path: impl fmt::Display,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let notes = || self.found.iter().filter(|lint| lint.severity() == Severity::Note).count();
        let crowded = id.severity() == Severity::Note && notes() >= MAX_LINTS / 2;
        if !self.full() && !crowded {
            self.found.push(Lint { id, path: path.to_string(), message: message.into(), hint: hint.into() });
        }
    }

    pub(super) fn full(&self) -> bool {
        self.found.len() >= MAX_LINTS
    }

    pub(super) fn service(&self, prefix: &str) -> Option<&'a ServiceFacts<'a>> {
        self.linter.services.iter().find(|service| service.prefix.eq_ignore_ascii_case(prefix))
    }
}
