//! One request, decided under every reading of the facts that were declared as alternatives.

use iam_verdict::{Decision, Environment, NearMiss, Outcome, Request, evaluate, nearest_miss, next_transition};
use jiff::Timestamp;

use crate::ecr::missing::MissingFact;

/// One request with all that bears upon it.
pub(super) struct Hearing {
    pub(super) environment: Environment,
    /// One for each reading of the facts that were declared as alternatives.
    pub(super) requests: Vec<Request>,
    /// The time of the requests, where a condition reads it.
    pub(super) clock: Option<Timestamp>,
}

impl Hearing {
    /// Turns to another action.
    pub(super) fn ask(&mut self, action: &str) {
        for request in self.requests.iter_mut().filter(|request| request.action != action) {
            action.clone_into(&mut request.action);
        }
    }

    /// The decision over all readings, which must agree; adds to `missing` what would settle it otherwise, as `fact` makes
    /// it of the engine's name for it.
    pub(super) fn decide(&self, missing: &mut Missing, fact: impl Fn(String) -> MissingFact) -> Outcome {
        let outcomes: Vec<Outcome> = self.requests.iter().map(|request| evaluate(&self.environment, request)).collect();
        let count = |decision| outcomes.iter().filter(|outcome| outcome.decision == decision).count();
        let allowed = count(Decision::Allowed);
        let unknown = count(Decision::Unknown);
        if unknown > 0 || (allowed > 0 && allowed < outcomes.len()) {
            for (request, outcome) in self.requests.iter().zip(&outcomes) {
                if outcome.decision == Decision::Unknown {
                    missing.extend(iam_verdict::missing(&self.environment, request).facts.into_iter().map(&fact));
                }
            }
            missing.extend(self.deciding_alternatives(&outcomes).into_iter().map(&fact));
            return open();
        }
        // Where readings are denied in different ways, the milder one holds in any case.
        let milder = outcomes.iter().find(|outcome| outcome.decision == Decision::ImplicitlyDenied);
        milder.or(outcomes.first()).cloned().unwrap_or_else(open)
    }

    /// The keys with alternative values on which the decision depends: two readings differ in that key alone.
    fn deciding_alternatives(&self, outcomes: &[Outcome]) -> Vec<String> {
        let allowed = |outcome: &Outcome| match outcome.decision {
            Decision::Allowed => Some(true),
            Decision::Unknown => None,
            Decision::ExplicitlyDenied | Decision::ImplicitlyDenied => Some(false),
        };
        let mut found: Vec<String> = Vec::new();
        for (index, (one, outcome)) in self.requests.iter().zip(outcomes).enumerate() {
            for (other, other_outcome) in self.requests.iter().zip(outcomes).skip(index + 1) {
                if allowed(outcome) == allowed(other_outcome) {
                    continue;
                }
                let mut differing =
                    one.context.iter().zip(other.context.iter()).filter(|(a, b)| a != b).map(|((key, _), _)| key);
                if let (Some(key), None) = (differing.next(), differing.next())
                    && !found.iter().any(|known| known == key)
                {
                    found.push(key.to_owned());
                }
            }
        }
        found
    }

    pub(super) fn nearest_miss(&self) -> Option<NearMiss> {
        let denied = |request: &&Request| evaluate(&self.environment, request).decision == Decision::ImplicitlyDenied;
        nearest_miss(&self.environment, self.requests.iter().find(denied)?)
    }

    /// When the decision changes by itself next, because a condition reads the time.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let now = self.clock?.as_second();
        let changes = self.requests.iter().filter_map(|request| next_transition(&self.environment, request, now));
        changes.filter_map(|change| Timestamp::from_second(change.at).ok()).min()
    }
}

/// Missing facts, each once, in the order in which they were found.
#[derive(Default)]
pub(super) struct Missing {
    pub(super) facts: Vec<MissingFact>,
}

impl Missing {
    pub(super) fn add(&mut self, fact: MissingFact) {
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    pub(super) fn extend(&mut self, facts: impl IntoIterator<Item = MissingFact>) {
        facts.into_iter().for_each(|fact| self.add(fact));
    }
}

pub(super) fn open() -> Outcome {
    Outcome { decision: Decision::Unknown, layer: None, policy: None, statement: None }
}
