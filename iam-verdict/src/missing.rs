//! Which facts would settle a decision that is Unknown.

use crate::decision::{Decision, Missing};
use crate::environment::Environment;
use crate::evaluate;
use crate::exact::count::set;
use crate::exact::model::Model;
use crate::request::Request;

/// The facts that would settle an Unknown decision: whatever they turn out to be, the decision is definite then.
///
/// The set is minimal (no proper subset settles) while at most six facts are in play; beyond that it holds all of them.
/// It is empty where the decision is definite already.
#[must_use]
pub fn missing(env: &Environment, request: &Request) -> Missing {
    if evaluate::decide(env, request) != Decision::Unknown {
        return Missing { facts: Vec::new(), minimal: true };
    }
    let model = Model::new(env, request);
    let all = || model.facts.iter().map(|fact| fact.name.clone()).collect();
    let Some(worlds) = model.worlds().filter(|_| model.is_small()) else {
        return Missing { facts: all(), minimal: false };
    };
    // IAM-UNK-5: leave facts out, in order of appearance, as long as the rest settles.
    let mut kept: Vec<bool> = vec![true; model.facts.len()];
    for fact in 0..model.facts.len() {
        set(&mut kept, fact, false);
        if !model.settles(&worlds, &kept) {
            set(&mut kept, fact, true);
        }
    }
    let facts = model.facts.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(fact, _)| fact.name.clone()).collect();
    Missing { facts, minimal: true }
}
