//! What is known of AWS, and what is not: declared policies, repositories and registries, and the facts that are missing.

mod cause_code;
pub mod declared;
pub mod missing;
mod reason;

pub use cause_code::CauseCode;
pub use reason::Reason;
