//! Exact decisions where facts are not known.
//!
//! What stays open after the first look is a set of *atoms*: lines of conditions, resource patterns with variables,
//! principals. Atoms of one context key move together, because the key has one filling: for each key the combinations
//! of truth values that some filling produces are found from the values that the policies compare it with, and the
//! decision is taken for every combination over all keys. A combination that no filling produces may slip in where
//! atoms read several unknown keys at once; then a decision may stay Unknown that could be settled, never the reverse.

mod answers;
mod atom;
pub(crate) mod count;
mod dimension;
mod fillings;
pub(crate) mod model;
mod readings;
mod together;
mod witness;

use crate::decision::Decision;
use crate::environment::Environment;
use crate::request::Request;
use model::Model;

/// The decision over all readings; `bound` is what is certain without looking at them (Unknown or ImplicitlyDenied).
pub(crate) fn decide(env: &Environment, request: &Request, bound: Decision) -> Decision {
    match Model::new(env, request).readings() {
        None => bound,
        Some(readings) => {
            let allowed = readings.iter().filter(|decision| **decision == Decision::Allowed).count();
            if allowed == readings.len() {
                Decision::Allowed
            } else if allowed > 0 {
                Decision::Unknown
            } else if readings.iter().all(|decision| *decision == Decision::ExplicitlyDenied) {
                Decision::ExplicitlyDenied
            } else {
                Decision::ImplicitlyDenied
            }
        }
    }
}
