//! Watches of the API server for any kind of object: lists and watches that never end and never stop at one object.

pub mod cut;
pub mod guard;
pub mod object;
pub mod relist;
pub mod source;
