//! Explanations say what evaluation says: over every case there is.

#![allow(clippy::expect_used, clippy::panic)]

mod support;

use iam_verdict::{Decision, Explanation, Layer, Truth, explain, nearest_miss};
use serde_json::Value;

/// The statement that the outcome names.
fn deciding(explanation: &Explanation) -> Option<(bool, Truth)> {
    let outcome = &explanation.outcome;
    let layers = explanation.layers.iter().filter(|layer| Some(layer.layer) == outcome.layer);
    let policies =
        layers.flat_map(|layer| &layer.policies).filter(|policy| Some(&*policy.policy) == outcome.policy.as_deref());
    let mut statements = policies.flat_map(|policy| &policy.statements);
    let found = statements.find(|statement| Some(&*statement.statement) == outcome.statement.as_deref())?;
    Some((found.denies, found.applies))
}

#[test]
fn explanations_agree_with_decisions() {
    let mut counts = [0; 4];
    let mut near_misses = 0;
    let mut named = 0;
    for line in include_str!("data/cases.jsonl").lines().chain(include_str!("data/own.jsonl").lines()) {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let id = &case["id"];
        let (env, request) = support::case(&case).expect("a case has the documented form");
        let explanation = explain(&env, &request);
        let outcome = &explanation.outcome;
        assert_eq!(outcome.decision.as_str(), case["expected"], "{id}");
        assert_eq!(explanation.nearest_miss, nearest_miss(&env, &request), "{id}");
        assert_eq!(explanation.to_string(), explain(&env, &request).to_string(), "{id}");
        let near = explanation.nearest_miss.as_ref();
        let denied = explanation.layers.iter().any(|layer| layer.denies == Truth::True);
        match outcome.decision {
            Decision::Allowed => {
                assert_eq!(near, None, "{id}");
                assert!(!denied, "{id}");
                // Where each world has a grant of its own, nobody is named.
                if outcome.statement.is_some() {
                    assert_eq!(deciding(&explanation), Some((false, Truth::True)), "{id}");
                    named += 1;
                }
                counts[0] += 1;
            }
            Decision::ExplicitlyDenied => {
                // Where each world has a deny of its own, nobody is named.
                assert_eq!(denied, outcome.statement.is_some(), "{id}");
                if denied {
                    assert_eq!(deciding(&explanation), Some((true, Truth::True)), "{id}");
                    let near = near.unwrap_or_else(|| panic!("{id}: a deny has something that keeps it"));
                    assert_eq!(
                        (Some(&*near.policy), Some(&*near.statement)),
                        (outcome.policy.as_deref(), outcome.statement.as_deref()),
                        "{id}"
                    );
                    assert!(near.denies, "{id}");
                }
                counts[1] += 1;
            }
            Decision::ImplicitlyDenied => {
                assert!(!denied, "{id}");
                if let Some(near) = near {
                    assert!(!near.denies && !near.what.is_empty(), "{id}");
                    let sides = [Layer::Identity, Layer::Resource, Layer::Registry];
                    let layer = outcome.layer.expect("a refusal has a layer");
                    assert!(
                        near.layer == layer || (sides.contains(&near.layer) && sides.contains(&layer)),
                        "{id}: {near:?}"
                    );
                    near_misses += 1;
                }
                // The refusing layer has no level that allows, where it is one of those that have to.
                if let Some(layer) = outcome
                    .layer
                    .filter(|layer| matches!(layer, Layer::Boundary | Layer::Session | Layer::Scp | Layer::Endpoint))
                {
                    let mut levels = explanation.layers.iter().filter(|level| level.layer == layer);
                    assert!(levels.any(|level| level.allows != Truth::True), "{id}");
                }
                counts[2] += 1;
            }
            Decision::Unknown => counts[3] += 1,
        }
    }
    assert!(
        counts.iter().all(|count| *count > 20) && near_misses > 100 && named > 100,
        "{counts:?} {near_misses} {named}"
    );
}
