//! What is known of AWS, and what is not: declared policies, repositories and registries, and the facts that are missing.

mod cause_code;
pub mod declared;
mod known;
pub mod missing;
mod reason;

pub use cause_code::CauseCode;
pub use known::Version;
pub(crate) use known::{Known, Unread};
pub use reason::Reason;
