//! Amazon ECR: image references, what a pull needs, which condition keys its requests have, AWS managed policies.

pub mod arn;
mod arn_pattern;
pub(crate) mod aws_registries;
pub mod condition_keys;
mod context_values;
pub mod image;
pub mod image_pattern;
pub mod managed;
pub mod needs;

pub use arn_pattern::ArnPattern;
pub use context_values::ContextValues;
