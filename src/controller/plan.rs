//! When a status is written: at once what people wait for, rarely what only counts.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::PolicyStatus;
use crate::api::conditions::{POLICIES_RESOLVED, READY};

/// Counts and advice alone are written at most this often per policy: pods come and go all the time.
pub const COUNTS_EVERY: Duration = Duration::from_secs(10);

/// Two writes of one policy are never closer. It matters only where another program fights over the status.
const CLOSEST: Duration = Duration::from_millis(500);

/// So long a write is given to come back by the watch before it is written again.
const ECHO: Duration = Duration::from_secs(2);

/// The longest pause between two attempts that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What was tried last for one policy.
#[derive(Clone, Debug)]
pub struct Attempt {
    at: Instant,
    /// What the API server took; `None` when it did not.
    written: Option<PolicyStatus>,
    failures: u32,
}

impl Attempt {
    /// The API server took `status`.
    pub fn succeeded(status: PolicyStatus, at: Instant) -> Attempt {
        Attempt { at, written: Some(status), failures: 0 }
    }

    /// A write failed, after what `before` tells.
    pub fn failed(before: Option<&Attempt>, at: Instant) -> Attempt {
        Attempt { at, written: None, failures: before.map_or(0, |before| before.failures).saturating_add(1) }
    }

    /// What was written so lately that the watch may not have told of it yet.
    pub fn recent(&self, now: Instant) -> Option<&PolicyStatus> {
        self.written.as_ref().filter(|_| now < self.at + ECHO)
    }

    fn retry_at(&self) -> Instant {
        let pause = CLOSEST.saturating_mul(2u32.saturating_pow(self.failures.min(10)));
        self.at + if self.failures == 0 { CLOSEST } else { pause.min(LONGEST_PAUSE) }
    }
}

/// When to write `desired`: an instant, which may have passed, or `None` while the API server has it already.
///
/// `stored` is the status in the API server as the watch last told, `last` the last attempt of this process.
pub fn due(
    desired: &PolicyStatus,
    stored: Option<&PolicyStatus>,
    last: Option<&Attempt>,
    now: Instant,
) -> Option<Instant> {
    if stored.is_some_and(|stored| same(desired, stored)) {
        return None;
    }
    let Some(last) = last else { return Some(now) };
    if last.recent(now).is_some_and(|written| same(desired, written)) {
        return Some(last.at + ECHO);
    }
    // While the watch lags behind, the own write tells better than the watch what a reader sees.
    let stored = last.recent(now).or(stored);
    if stored.is_none_or(|stored| urgent(desired, stored)) {
        Some(last.retry_at())
    } else {
        Some(last.retry_at().max(last.at + COUNTS_EVERY))
    }
}

/// Do both say the same, whenever they began to?
pub fn same(one: &PolicyStatus, other: &PolicyStatus) -> bool {
    let timeless = |status: &PolicyStatus| {
        let mut status = status.clone();
        for condition in &mut status.conditions {
            condition.last_transition_time.0 = jiff::Timestamp::UNIX_EPOCH;
        }
        status
    };
    timeless(one) == timeless(other)
}

/// Is the difference one that people or scripts wait for?
fn urgent(desired: &PolicyStatus, stored: &PolicyStatus) -> bool {
    let visible = |status: &PolicyStatus| {
        let conditions: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| {
                // What is wrong with the object is in these messages; all others count pods or service accounts, which
                // come and go.
                let wrong =
                    [READY, POLICIES_RESOLVED].contains(&condition.type_.as_str()) && condition.status != "True";
                let message = if wrong { condition.message.clone() } else { String::new() };
                (condition.type_.clone(), condition.status.clone(), condition.reason.clone(), message)
            })
            .collect();
        (status.observed_generation, conditions)
    };
    visible(desired) != visible(stored)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::api::conditions::{CHANGE_AHEAD, CONFLICTED};
    use crate::api::{AdviceEntry, VerdictCounts};

    fn status(ready: &str, message: &str, allowed: i64) -> PolicyStatus {
        PolicyStatus {
            observed_generation: Some(1),
            conditions: vec![Condition {
                type_: READY.to_owned(),
                status: ready.to_owned(),
                reason: "Reason".to_owned(),
                message: message.to_owned(),
                observed_generation: Some(1),
                last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            }],
            pods: VerdictCounts { allowed, ..VerdictCounts::default() },
            ..PolicyStatus::default()
        }
    }

    #[test]
    fn times_make_no_difference_everything_else_does() {
        let one = status("True", "fine", 1);
        let mut other = one.clone();
        other.conditions[0].last_transition_time = Time("2026-11-23T00:00:00Z".parse().unwrap());
        assert!(same(&one, &other));
        assert!(!same(&one, &status("True", "fine", 2)));
        assert!(!same(&one, &status("True", "better", 1)));
        assert!(!same(&one, &PolicyStatus { denials_omitted: 1, ..one.clone() }));
    }

    #[test]
    fn nothing_is_written_that_is_there_already() {
        let now = Instant::now();
        let desired = status("True", "fine", 1);
        assert_eq!(due(&desired, Some(&desired), None, now), None);
        let failed = Attempt::failed(None, now);
        assert_eq!(due(&desired, Some(&desired), Some(&failed), now), None);
    }

    #[test]
    fn the_first_status_and_the_first_after_a_change_of_leader_are_written_at_once() {
        let now = Instant::now();
        assert_eq!(due(&status("True", "fine", 1), None, None, now), Some(now));
        assert_eq!(due(&status("True", "fine", 1), Some(&status("True", "fine", 7)), None, now), Some(now));
    }

    #[test]
    fn conditions_do_not_wait_for_the_next_round_of_counts() {
        let at = Instant::now();
        let written = status("True", "2 service accounts", 1);
        let last = Attempt::succeeded(written.clone(), at);
        let now = at + Duration::from_secs(1);
        let when = |desired| due(&desired, Some(&written), Some(&last), now);
        assert_eq!(when(status("True", "2 service accounts", 2)), Some(at + COUNTS_EVERY));
        assert_eq!(when(status("True", "3 service accounts", 1)), Some(at + COUNTS_EVERY));
        let advised = PolicyStatus { advice: vec![AdviceEntry::default()], ..written.clone() };
        assert_eq!(when(advised), Some(at + COUNTS_EVERY));
        assert!(when(status("False", "broken", 1)).unwrap() <= now);
        let next = PolicyStatus { observed_generation: Some(2), ..written.clone() };
        assert!(when(next).unwrap() <= now);
        let mut reason = written.clone();
        reason.conditions[0].reason = "Other".to_owned();
        assert!(when(reason).unwrap() <= now);
    }

    #[test]
    fn messages_that_count_wait_and_a_condition_that_comes_or_goes_does_not() {
        let at = Instant::now();
        let now = at + Duration::from_secs(1);
        let with = |kind: &str, message: &str| {
            let mut status = status("True", "fine", 1);
            let ready = status.conditions[0].clone();
            status.conditions.push(Condition { type_: kind.to_owned(), message: message.to_owned(), ..ready });
            status
        };
        for kind in [CONFLICTED, CHANGE_AHEAD] {
            let written = with(kind, "and 1 more");
            let last = Attempt::succeeded(written.clone(), at);
            let when = |desired| due(&desired, Some(&written), Some(&last), now).unwrap();
            assert_eq!(when(with(kind, "and 2 more")), at + COUNTS_EVERY, "{kind}");
            assert!(when(status("True", "fine", 1)) <= now, "{kind}");
        }
    }

    #[test]
    fn a_new_message_of_a_refused_policy_is_written_at_once() {
        let at = Instant::now();
        let written = status("False", "field a", 0);
        let last = Attempt::succeeded(written.clone(), at);
        let now = at + Duration::from_secs(1);
        assert!(due(&status("False", "field b", 0), Some(&written), Some(&last), now).unwrap() <= now);
    }

    #[test]
    fn a_write_is_not_repeated_while_the_watch_lags_behind_but_it_is_when_it_was_lost() {
        let at = Instant::now();
        let stale = status("False", "old", 0);
        let desired = status("True", "fine", 1);
        let last = Attempt::succeeded(desired.clone(), at);
        let soon = at + Duration::from_millis(100);
        assert_eq!(due(&desired, Some(&stale), Some(&last), soon), Some(at + ECHO));
        let later = at + ECHO;
        assert!(due(&desired, Some(&stale), Some(&last), later).unwrap() <= later);
    }

    #[test]
    fn counts_behind_a_write_wait_even_while_the_watch_lags_behind() {
        let at = Instant::now();
        let stale = status("False", "old", 0);
        let last = Attempt::succeeded(status("True", "fine", 1), at);
        let now = at + Duration::from_millis(700);
        assert_eq!(due(&status("True", "fine", 2), Some(&stale), Some(&last), now), Some(at + COUNTS_EVERY));
    }

    #[test]
    fn failures_back_off_up_to_a_minute_and_nobody_is_fought_without_pause() {
        let at = Instant::now();
        let desired = status("True", "fine", 1);
        let mut last = None;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let failed = Attempt::failed(last.as_ref(), at);
            pauses.push((due(&desired, None, Some(&failed), at).unwrap() - at).as_secs());
            last = Some(failed);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // Someone else overwrote what was written: not before the shortest pause.
        let last = Attempt::succeeded(status("False", "theirs", 0), at);
        assert_eq!(due(&desired, Some(&status("False", "theirs", 0)), Some(&last), at), Some(at + CLOSEST));
    }
}
