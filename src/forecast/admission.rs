//! What a verdict does to the object.

use std::fmt;

use serde::Serialize;

use super::{Options, Verdict};
use crate::api::Action;

/// What happens to the object at admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Admission {
    /// It is admitted without a word.
    Admitted,
    /// It is admitted, and its author is warned.
    Warned,
    /// It is refused.
    Rejected,
}

impl Admission {
    /// The word as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "Admitted",
            Self::Warned => "Warned",
            Self::Rejected => "Rejected",
        }
    }
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens on a Deny and on an Unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Actions {
    pub(super) on_deny: Action,
    pub(super) on_unknown: Action,
}

impl Actions {
    /// Nobody hears of anything.
    pub(super) const NONE: Self = Self { on_deny: Action::Audit, on_unknown: Action::Audit };

    /// What a policy wants, within what the options allow.
    pub(super) fn new(on_deny: Action, on_unknown: Action, options: &Options) -> Self {
        let on_deny = on_deny.min(options.max_action);
        Self { on_deny, on_unknown: on_unknown.min(on_deny) }
    }

    pub(super) fn on(self, verdict: Verdict) -> Option<Action> {
        match verdict {
            Verdict::Deny => Some(self.on_deny),
            Verdict::Unknown => Some(self.on_unknown),
            _ => None,
        }
    }
}
