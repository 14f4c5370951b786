//! What a verdict does to the object.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::options::Options;
use crate::judge::pull_judgement::Verdict;
use crate::policy::Action;
use crate::policy::compiled::Exemption;

/// What happens to the object at admission.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Hash, Serialize)]
#[schemars(inline)]
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
pub(crate) struct Actions {
    pub(crate) on_deny: Action,
    pub(crate) on_unknown: Action,
}

impl Actions {
    /// Nobody hears of anything.
    pub(crate) const NONE: Self = Self { on_deny: Action::Audit, on_unknown: Action::Audit };

    /// What a policy wants, within what the options allow (RES-15).
    pub(crate) fn new(on_deny: Action, on_unknown: Action, options: &Options) -> Self {
        let on_deny = on_deny.min(options.max_action);
        Self { on_deny, on_unknown: on_unknown.min(on_deny) }
    }

    pub(crate) fn on(self, verdict: Verdict) -> Option<Action> {
        match verdict {
            Verdict::Deny => Some(self.on_deny),
            Verdict::Unknown => Some(self.on_unknown),
            _ => None,
        }
    }
}

/// The exemption that an image is under.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "exemption")]
pub struct ExemptionUse {
    /// Its name in `spec.exemptions`.
    pub name: String,
    /// The moment from which on it is gone, in UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Timestamp,
    /// Why it is there.
    #[serde(skip)]
    pub reason: String,
}

impl From<&Exemption> for ExemptionUse {
    fn from(exemption: &Exemption) -> Self {
        let Exemption { name, expires_at, reason, .. } = exemption;
        Self { name: name.clone(), expires_at: *expires_at, reason: reason.clone() }
    }
}

/// What all images of an object come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AdmissionDecision {
    /// What happens to a pod; none where nothing is refused or in doubt.
    pub(crate) action: Option<Action>,
    /// Without its exemptions it would be refused.
    pub(crate) spared: bool,
}

impl AdmissionDecision {
    /// The strictest action of any image, each with its verdict and whether it is exempted. An exemption makes a refusal a
    /// warning, and nothing else milder.
    pub(crate) fn of(images: impl Iterator<Item = (Verdict, bool)> + Clone, actions: Actions) -> Self {
        let strictest = |exempt: bool| {
            let of = |(verdict, exempted)| {
                let action = actions.on(verdict)?;
                Some(if exempt && exempted { action.min(Action::Warn) } else { action })
            };
            images.clone().filter_map(of).max()
        };
        let action = strictest(true);
        Self { action, spared: action != strictest(false) }
    }
}
