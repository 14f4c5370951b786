//! Exact decisions where facts are not known.
//!
//! What stays open after the first look is a set of *atoms*: lines of conditions, resource patterns with variables,
//! principals. Atoms of one context key move together, because the key has one assignment: for each key the combinations
//! of truth values that some assignment produces are found from the values that the policies compare it with, and the
//! decision is taken for every combination over all keys. A combination that no assignment produces may slip in where
//! atoms read several unknown keys at once; then a decision may stay Unknown that could be settled, never the reverse.

mod answers;
mod assignments;
mod atom;
pub(crate) mod count;
mod dimension;
mod joint;
pub(crate) mod model;
mod representatives;
mod worlds;

use crate::decision::Decision;
use crate::environment::Environment;
use crate::request::Request;
use model::Model;

/// The decision over all worlds; `bound` is what is certain without looking at them (Unknown or ImplicitlyDenied).
pub(crate) fn decide(env: &Environment, request: &Request, bound: Decision) -> Decision {
    match Model::new(env, request).worlds() {
        None => bound,
        Some(worlds) => {
            let allowed = worlds.iter().filter(|decision| **decision == Decision::Allowed).count();
            if allowed == worlds.len() {
                Decision::Allowed
            } else if allowed > 0 {
                Decision::Unknown
            } else if worlds.iter().all(|decision| *decision == Decision::ExplicitlyDenied) {
                Decision::ExplicitlyDenied
            } else {
                Decision::ImplicitlyDenied
            }
        }
    }
}
