//! One request, decided under every reading of the facts that were declared as alternatives.

use iam_verdict::{
    Decision, Environment, Fact, NearMiss, Outcome, Request, allows_at_sight, change_instants, evaluate, nearest_miss,
};
use jiff::Timestamp;

use crate::ecr::condition_keys as context;
use crate::facts::missing::MissingFact;

/// When requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// At this moment.
    At(Timestamp),
    /// At any: what is decided then is so at all times.
    Any,
}

/// One request with all that bears upon it.
#[derive(Debug)]
pub(crate) struct RequestEvaluation {
    pub(crate) environment: Environment,
    /// One for each reading of the facts that were declared as alternatives.
    pub(crate) requests: Vec<Request>,
    /// The keys that tell the time, as far as some condition reads them.
    clock: Vec<&'static str>,
    /// The time of the requests.
    time: Time,
}

impl RequestEvaluation {
    /// Requests that are made at `at`; `clock` are the keys among theirs that tell so.
    pub(crate) const fn new(
        environment: Environment,
        requests: Vec<Request>,
        clock: Vec<&'static str>,
        at: Timestamp,
    ) -> Self {
        Self { environment, requests, clock, time: Time::At(at) }
    }

    /// Turns to another action.
    pub(crate) fn set_action(&mut self, action: &str) {
        for request in self.requests.iter_mut().filter(|request| request.action != action) {
            action.clone_into(&mut request.action);
        }
    }

    /// Turns to another time.
    pub(crate) fn set_time(&mut self, time: Time) {
        if self.time == time {
            return;
        }
        self.time = time;
        for key in &self.clock {
            let fact = match time {
                Time::At(at) => context::time(key, at).unwrap_or(Fact::Present),
                Time::Any => Fact::Present,
            };
            for request in &mut self.requests {
                request.context.set(key, fact.clone());
            }
        }
    }

    /// Whether some condition reads the time.
    pub(crate) fn reads_clock(&self) -> bool {
        !self.clock.is_empty()
    }

    /// Whether the request is allowed under every reading, or under none, where one look at each tells.
    pub(crate) fn allows_at_sight(&self) -> Option<bool> {
        let mut worlds = self.requests.iter().map(|request| allows_at_sight(&self.environment, request));
        let first = worlds.next()??;
        worlds.all(|other| other == Some(first)).then_some(first)
    }

    /// The seconds after `now` at which the decision may be another one, in order.
    pub(crate) fn instants(&self, now: i64) -> Vec<i64> {
        match self.requests.first() {
            Some(request) if self.reads_clock() => change_instants(&self.environment, request, now),
            _ => Vec::new(),
        }
    }

    /// The decision over all worlds, which must agree; adds to `missing` what would settle it otherwise, as `fact` makes
    /// it of the engine's name for it.
    pub(crate) fn decide(&self, missing: &mut Missing, fact: impl Fn(String) -> MissingFact) -> Outcome {
        let outcomes: Vec<Outcome> = self.requests.iter().map(|request| evaluate(&self.environment, request)).collect();
        let count = |decision| outcomes.iter().filter(|outcome| outcome.decision == decision).count();
        let allowed = count(Decision::Allowed);
        let unknown = count(Decision::Unknown);
        if unknown > 0 || (allowed > 0 && allowed < outcomes.len()) {
            if !missing.wanted {
                return Outcome::unknown();
            }
            for (request, outcome) in self.requests.iter().zip(&outcomes) {
                if outcome.decision == Decision::Unknown {
                    missing.extend(iam_verdict::missing(&self.environment, request).facts.into_iter().map(&fact));
                }
            }
            missing.extend(self.deciding_alternatives(&outcomes).into_iter().map(&fact));
            return Outcome::unknown();
        }
        // Where worlds are denied in different ways, the milder one holds in any case.
        let milder = outcomes.iter().find(|outcome| outcome.decision == Decision::ImplicitlyDenied);
        milder.or(outcomes.first()).cloned().unwrap_or_else(Outcome::unknown)
    }

    /// The keys with alternative values on which the decision depends: two worlds differ in that key alone.
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

    /// The statement that came closest to allowing what is denied although no statement denies it.
    pub(crate) fn nearest_miss(&self) -> Option<NearMiss> {
        let denied = |request: &&Request| evaluate(&self.environment, request).decision == Decision::ImplicitlyDenied;
        nearest_miss(&self.environment, self.requests.iter().find(denied)?)
    }
}

/// Missing facts, each once, in the order in which they were found.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) facts: Vec<MissingFact>,
    /// Somebody reads them. To find them costs more than the decision.
    wanted: bool,
}

impl Missing {
    /// To be told of.
    pub(crate) const fn wanted() -> Self {
        Self { facts: Vec::new(), wanted: true }
    }

    /// Of no interest.
    pub(crate) const fn unwanted() -> Self {
        Self { facts: Vec::new(), wanted: false }
    }

    pub(crate) fn add(&mut self, fact: MissingFact) {
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    pub(crate) fn extend(&mut self, facts: impl IntoIterator<Item = MissingFact>) {
        facts.into_iter().for_each(|fact| self.add(fact));
    }
}
