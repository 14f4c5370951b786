//! The second stage: why a verdict is no Allow, as stable codes, and the smallest change that would make it one.

mod advise;
mod cause;
mod diagnosis;
mod edit;
mod editable_policy;
mod fix;
mod fix_search;
mod grants;
mod lints;
mod near_miss;

pub use advise::{Advice, AdviceKind, Uses, advise, lints_of};
pub(crate) use cause::{cause, refusing_layer};
#[cfg(test)]
pub(crate) use diagnosis::MAX_FIXED;
pub(crate) use diagnosis::RepositoryDiagnosis;
pub use diagnosis::{Diagnosis, causes, diagnose};
pub use edit::Statement;
pub(crate) use fix::LAYERS;
pub use fix::{Fix, FixKind};
pub use grants::Document;
pub(crate) use lints::lints;
pub(crate) use near_miss::{close, first_denied};
