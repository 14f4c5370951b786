//! When a decision changes by the mere passing of time.

use std::collections::BTreeSet;

use crate::condition::{Condition, Kind};
use crate::decision::Decision;
use crate::environment::{Environment, PolicyState};
use crate::evaluate;
use crate::layers;
use crate::request::Request;
use crate::statement;
use crate::time;
use crate::truth::Truth;

/// Instants at which a decision is looked at; documents with more are hostile.
const MAX_INSTANTS: usize = 1_000;
/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

/// A change of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The first second of the new decision, since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// The decision from then on.
    pub decision: Decision,
}

/// The next second after `now` (seconds since 1970-01-01T00:00:00Z) at which the decision is another one, `Unknown`
/// included; none where no passing of time changes it.
///
/// `aws:CurrentTime` and `aws:EpochTime` are set from the instant that is looked at, in place of what the request says
/// of them; every other fact stays as it is. Time moves in whole seconds, as `aws:EpochTime` does, so that a policy's
/// `12:00:00.5Z` shows its effect at 12:00:01. Only Date and Numeric operators tell instants apart: a string operator or
/// a variable on these keys is not followed ([`validate`](crate::validate) and its lints are where that is said).
///
/// At most 1,000 instants are looked at. Beyond that the last of them is given with its decision, which may be the
/// same: ask again then.
///
/// ```
/// use iam_verdict::{Decision, Environment, NamedPolicy, Policy, Principal, Request, next_transition};
///
/// let policy = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
///     "Condition": {"DateLessThan": {"aws:CurrentTime": "2024-06-01T00:00:00Z"}}}}"#)?;
/// let env = Environment::new().with_identity(NamedPolicy::known("until-june", policy));
/// let request = Request::new(
///     Principal::from_arn("arn:aws:iam::111122223333:role/app"),
///     "ecr:BatchGetImage",
///     "arn:aws:ecr:us-east-1:111122223333:repository/app",
/// );
/// let change = next_transition(&env, &request, 1_700_000_000).unwrap();
/// assert_eq!((change.at, change.decision), (1_717_200_000, Decision::ImplicitlyDenied));
/// assert_eq!(next_transition(&env, &request, change.at), None);
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn next_transition(env: &Environment, request: &Request, now: i64) -> Option<Transition> {
    let now = time::clamp(now);
    let instants = instants(env, request, now);
    if instants.is_empty() {
        return None;
    }
    let mut request = request.clone();
    let mut decide = |at: i64| {
        request.context.set_time(at);
        evaluate::decide(env, &request)
    };
    let current = decide(now);
    for (count, at) in instants.into_iter().enumerate() {
        let decision = decide(at);
        if decision != current || count + 1 == MAX_INSTANTS {
            return Some(Transition { at, decision });
        }
    }
    None
}

/// The seconds after `now` (since 1970-01-01T00:00:00Z) at which the decision may be another one, in order, each once.
/// Between two of them it stays: for callers that look at several decisions together, and set the time of their requests
/// themselves ([`Context::set_time`](crate::Context::set_time)). There may be two for each date in a document.
///
/// ```
/// use iam_verdict::{Environment, NamedPolicy, Policy, Principal, Request, change_instants};
///
/// let policy = Policy::parse(r#"{"Statement": {"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
///     "Condition": {"DateLessThan": {"aws:CurrentTime": "2024-06-01T00:00:00Z"}}}}"#)?;
/// let env = Environment::new().with_identity(NamedPolicy::known("until-june", policy));
/// let request = Request::new(Principal::from_arn("arn:aws:iam::111122223333:role/app"), "ecr:ListImages", "*");
/// assert_eq!(change_instants(&env, &request, 1_700_000_000), [1_717_200_000, 1_717_200_001]);
/// # Ok::<(), iam_verdict::DocumentError>(())
/// ```
#[must_use]
pub fn change_instants(env: &Environment, request: &Request, now: i64) -> Vec<i64> {
    instants(env, request, time::clamp(now)).into_iter().collect()
}

/// IAM-TIME-1: the seconds after `now` at which some line of some condition may change its truth: where the policy's instant begins,
/// and the second after it. Between two of them nothing changes.
fn instants(env: &Environment, request: &Request, now: i64) -> BTreeSet<i64> {
    let mut all = BTreeSet::new();
    for (place, policy) in layers::places(env, &request.principal) {
        let PolicyState::Known(document) = &policy.policy else { continue };
        for statement in &document.statements {
            // A statement about something else has no say at any time.
            if !statement.action.matches_action(&request.action)
                || statement::principal_forms(place.layer, statement, env, request).any() == Truth::False
            {
                continue;
            }
            for condition in &statement.conditions {
                for nanos in breakpoints(condition) {
                    let first = nanos.div_euclid(NANOS);
                    let whole = nanos.rem_euclid(NANOS) == 0;
                    // A breakpoint between two seconds shows at the later one, and no second equals it.
                    let seconds = if whole { [first, first + 1] } else { [first + 1, first + 1] };
                    all.extend(seconds.into_iter().filter_map(|second| i64::try_from(second).ok()));
                }
            }
        }
    }
    all.into_iter().filter(|at| *at > now && time::clamp(*at) == *at).collect()
}

/// The instants that a line tells apart, in nanoseconds.
fn breakpoints(condition: &Condition) -> impl Iterator<Item = i128> + '_ {
    let key = &*condition.key;
    let reads_time = key == time::CURRENT_TIME || key == time::EPOCH_TIME;
    condition.values.iter().filter(move |_| reads_time).filter_map(move |value| match &value.kind {
        Kind::Date(Some(instant)) => Some(instant.0),
        // `aws:CurrentTime` is no number and matches none.
        Kind::Number(Some(_)) if key == time::EPOCH_TIME => nanoseconds(&value.text),
        _ => None,
    })
}

/// A decimal number of seconds in nanoseconds, rounded up where it has more than nine decimals; none where it lies
/// beyond all dates.
fn nanoseconds(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    if whole.len() > 15 {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
    let nine = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let mut nanos = nine.fold(0, |sum, digit| sum * 10 + i128::from(digit.saturating_sub(b'0')));
    // What the tenth decimal and those after it say is only that the breakpoint lies between two seconds.
    if nanos == 0 && fraction.bytes().any(|digit| digit != b'0') {
        nanos = 1;
    }
    Some(sign * (whole * NANOS + nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fact, NamedPolicy, Policy, Principal};

    /// 2024-06-01T00:00:00Z.
    const JUNE: i64 = 1_717_200_000;

    fn pull() -> Request {
        Request::new(Principal::from_arn("arn:aws:iam::111122223333:role/app"), "ecr:BatchGetImage", "*")
    }

    fn env(statements: &str) -> Environment {
        let policy = Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)).unwrap();
        Environment::new().with_identity(NamedPolicy::known("p", policy))
    }

    fn allow(condition: &str) -> Environment {
        env(&format!(r#"{{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{{{condition}}}}}"#))
    }

    fn deny(condition: &str) -> Environment {
        env(&format!(
            r#"{{"Effect":"Allow","Action":"*","Resource":"*"}},
               {{"Effect":"Deny","Action":"ecr:*","Resource":"*","Condition":{{{condition}}}}}"#
        ))
    }

    /// The obvious way: every second.
    fn scanned(env: &Environment, request: &Request, now: i64, until: i64) -> Option<Transition> {
        let at = |at| evaluate::decide(env, &request.clone().with_context(request.context.clone().with_time(at)));
        let current = at(now);
        (now + 1..=until).map(|second| Transition { at: second, decision: at(second) }).find(|t| t.decision != current)
    }

    /// IAM-TIME-1
    #[test]
    fn every_operator_and_notation_changes_at_its_second() {
        let operators = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"];
        let dates = [
            "2024-06-01T00:00:05Z",
            "2024-06-01T00:00:05.5Z",
            "2024-06-01T02:00:05+02:00",
            "1717200005",
            "2024-06-01",
            "1717199999",
        ];
        let numbers = ["1717200005", "1717200005.5", "1717200005.00000000001", "+01717200005", "1717200009.0"];
        let mut changes = 0;
        for operator in operators {
            for suffix in ["", "IfExists"] {
                let date = |key: &str, value: &str| format!(r#""Date{operator}{suffix}":{{"{key}":"{value}"}}"#);
                let number = |value: &str| format!(r#""Numeric{operator}{suffix}":{{"aws:EpochTime":"{value}"}}"#);
                let lines =
                    (dates.iter().flat_map(|value| [date("aws:CurrentTime", value), date("AWS:epochtime", value)]))
                        .chain(numbers.iter().map(|value| number(value)));
                for line in lines {
                    for env in [allow(&line), deny(&line)] {
                        for now in [JUNE - 2, JUNE, JUNE + 4, JUNE + 5, JUNE + 6] {
                            let found = next_transition(&env, &pull(), now);
                            assert_eq!(found, scanned(&env, &pull(), now, JUNE + 20), "{line} at {now}");
                            changes += usize::from(found.is_some());
                        }
                    }
                }
            }
        }
        assert!(changes > 200, "{changes}");
    }

    #[test]
    fn both_keys_move_and_the_other_facts_stay() {
        // A window of four seconds by two keys, with a fact that is not known inside it.
        let window = r#""DateGreaterThanEquals":{"aws:CurrentTime":"2024-06-01T00:00:03Z"},"NumericLessThan":{"aws:EpochTime":1717200007},
            "StringEquals":{"aws:SourceVpc":"vpc-1"}"#;
        let request = pull().with("aws:SourceVpc", Fact::Unknown);
        let first = next_transition(&allow(window), &request, JUNE).unwrap();
        assert_eq!((first.at, first.decision), (JUNE + 3, Decision::Unknown));
        let second = next_transition(&allow(window), &request, first.at).unwrap();
        assert_eq!((second.at, second.decision), (JUNE + 7, Decision::ImplicitlyDenied));
        assert_eq!(next_transition(&allow(window), &request, second.at), None);
        // What the request says of the time gives way.
        let stale = request.with("aws:CurrentTime", Fact::value("1999-01-01T00:00:00Z"));
        assert_eq!(next_transition(&allow(window), &stale, JUNE), Some(first));
    }

    #[test]
    fn what_time_does_not_decide_has_no_transition() {
        let june = r#""DateLessThan":{"aws:CurrentTime":"2024-06-01T00:00:00Z"}"#;
        let elsewhere = env(&format!(
            r#"{{"Effect":"Allow","Action":"*","Resource":"*"}},
               {{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{{{june}}}}}"#
        ));
        assert_eq!(next_transition(&elsewhere, &pull(), 0), None);
        // Another key, a text that is no date, a number for a date's key, and years that no date reaches.
        for line in [
            r#""DateLessThan":{"aws:TokenIssueTime":"2024-06-01"}"#,
            r#""DateLessThan":{"aws:CurrentTime":"tomorrow"}"#,
            r#""NumericLessThan":{"aws:CurrentTime":"1717200000"}"#,
            r#""NumericLessThan":{"aws:EpochTime":"99999999999999999999999999"}"#,
            r#""DateLessThan":{"aws:EpochTime":"999999999999999999"}"#,
        ] {
            assert_eq!(next_transition(&deny(line), &pull(), 0), None, "{line}");
        }
        let past = next_transition(&deny(june), &pull(), i64::MIN).unwrap();
        assert_eq!((past.at, past.decision), (JUNE, Decision::Allowed));
        assert_eq!(next_transition(&deny(june), &pull(), i64::MAX), None);
    }

    #[test]
    fn a_hostile_number_of_dates_is_bounded() {
        let seconds: Vec<String> =
            (0..2 * MAX_INSTANTS).map(|second| format!("\"{}\"", 100_000 + 2 * second)).collect();
        // Never true, so that every instant would be looked at.
        let line = format!(r#""DateEquals":{{"aws:EpochTime":[{}]}},"Bool":{{"aws:x":"true"}}"#, seconds.join(","));
        let found = next_transition(&allow(&line), &pull(), 0).unwrap();
        assert_eq!((found.at, found.decision), (100_000 + 2 * 500 - 1, Decision::ImplicitlyDenied));
    }
}
