//! What a pull depends on of Kubernetes, as plain values.

pub mod config_map;
mod object_ref;
mod placement;
mod subject;
mod workload_kind;

pub use object_ref::ObjectRef;
pub(crate) use placement::Placement;
pub use subject::{ContainerKind, ImageUse, Subject, SubjectError};
pub use workload_kind::WorkloadKind;
