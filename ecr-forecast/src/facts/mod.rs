//! What is known of AWS, and what is not: declared policies, repositories and registries, roles as sources have them, and the
//! facts that are missing.

/// What is displayed as its variants are named: the word as reports have it.
macro_rules! displayed_as_named {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self, f)
            }
        }
    };
}

mod cause_code;
pub(crate) mod declared;
mod known;
pub mod missing;
mod reason;
mod role;
mod source;

pub use cause_code::CauseCode;
pub use known::Version;
pub(crate) use known::{AsOf, Known, Unread};
pub use reason::Reason;
pub use role::RoleFact;
pub(crate) use role::Roles;
pub use source::Source;
