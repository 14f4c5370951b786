//! The third stage: what people and programs are told of a verdict.

mod compose;
mod explain;
mod message;
mod render;
mod texts;
mod types;

pub use message::{MAX_LINE, MAX_MESSAGE};
pub use render::render;
pub use types::{Candidate, Cause, DecisionReport, ImageReport, Report};
