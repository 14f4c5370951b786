//! What is open in a decision, as far as statements ask for it.

use crate::clause::Clause;
use crate::condition::Condition;
use crate::document::{Effect, PrincipalClause};
use crate::statement::Forms;
use crate::truth::Truth;

/// Something whose truth is open.
#[derive(Clone, PartialEq)]
pub(super) enum Atom<'a> {
    Condition(&'a Condition),
    Resource(&'a Clause),
    /// A principal clause names the principal by this form (or, for a Deny, by any).
    Principal(&'a PrincipalClause, Effect, Form),
    SameAccount,
    /// Drawn by an unreadable policy.
    Drawn(usize),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Direct,
    Role,
    Account,
    Any,
}

impl Form {
    pub(super) fn of(self, forms: Forms) -> Truth {
        match self {
            Self::Direct => forms.direct,
            Self::Role => forms.role,
            Self::Account => forms.account,
            Self::Any => forms.any(),
        }
    }
}
