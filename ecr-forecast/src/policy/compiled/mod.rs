//! A policy object, compiled once: whom it selects, who pulls, and every IAM policy parsed.

mod compile;
mod config_map;
mod documents;
mod exemption;
mod object;
pub mod organization_policies;
mod problem;
mod selector;
mod spec;
mod with_documents;

pub(crate) use config_map::ConfigMaps;
pub use config_map::{ConfigMapFacts, label_command};
pub(crate) use documents::DocumentSite;
pub use exemption::Exemption;
pub use object::{PolicyKey, PolicyObject, Scope};
pub use problem::{InventoryError, Problem};
pub use selector::{Label, Selector};
pub use spec::{CompiledPuller, CompiledRole, CompiledSpec};
pub use with_documents::PolicyWithDocuments;
