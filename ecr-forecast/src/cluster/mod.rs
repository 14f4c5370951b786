//! What a pull depends on of Kubernetes, as plain values.

pub mod config_map;
mod object_ref;
mod subject;
mod workload_kind;

pub use object_ref::ObjectRef;
pub use subject::{ContainerKind, ImageUse, Subject, SubjectError};
pub use workload_kind::WorkloadKind;
