//! Watches of the API server for any kind of object: lists and watches that never end and never stop at one object.

pub mod answer;
pub mod backoff;
pub mod cut;
pub mod decode_error;
pub mod event;
pub mod failure;
#[cfg(test)]
mod fake;
pub mod health;
pub mod kind;
pub mod lines;
pub mod object;
pub mod place;
pub mod prune;
pub mod reader;
pub mod relist;
pub mod source;
pub mod timeouts;
