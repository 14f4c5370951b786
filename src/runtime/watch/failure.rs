//! What a watch that fails says of it, and how long it is left alone.

use std::time::Duration;

use super::answer::{AnswerError, Status};
use super::kind::Kind;

/// Why a watch failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Failures of the same kind are logged once, however often they come.
    pub kind: String,
    /// For people: what failed, and where it can be told what to do.
    pub message: String,
    /// An ordinary thing that settles itself: worth no warning.
    pub routine: bool,
    /// The API server does not give out this kind to us: no right to it, or no such kind.
    pub refused: bool,
    /// The longest pause before the next attempt.
    pub(super) pause: Duration,
    /// The API server asked for a pause of at least this, and gets it up to [`LONG`].
    pub(super) asked: Duration,
}

/// An API server that restarts is heard again soon; asking a closed door is cheap for both sides.
pub(super) const SHORT: Duration = Duration::from_secs(2);

/// An API server that answers with an error is left alone for longer: it may be the work that it cannot do.
pub(super) const LONG: Duration = Duration::from_secs(10);

/// What was tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    List,
    Watch,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Step::List => "list",
            Step::Watch => "watch",
        }
    }
}

impl Failure {
    /// A list or the start of a watch that did not work.
    pub(super) fn new(kind: &Kind, step: Step, error: &AnswerError) -> Failure {
        let (what, word) = (kind.resource(), step.as_str());
        match error {
            AnswerError::Status(status) if status.code == 404 && !kind.group.is_empty() => Failure {
                kind: format!("{word} 404"),
                message: format!("the CustomResourceDefinition {what} is not installed"),
                routine: false,
                refused: true,
                pause: SHORT,
                asked: Duration::ZERO,
            },
            AnswerError::Status(status) => Failure::answered(kind, step, status),
            AnswerError::Unexpected { .. } | AnswerError::NoVersion | AnswerError::TooLarge(_) => Failure {
                kind: format!("{word} answer"),
                pause: LONG,
                ..Failure::ended(kind, step, &error.to_string())
            },
            AnswerError::Transport(_) | AnswerError::Name(_) | AnswerError::Request(_) => {
                Failure::ended(kind, step, &error.to_string())
            }
        }
    }

    /// The API server answered, with an error.
    pub(super) fn answered(kind: &Kind, step: Step, status: &Status) -> Failure {
        let (code, message, what, word) = (status.code, &status.message, kind.resource(), step.as_str());
        let message = match code {
            403 => format!("not allowed to {word} {what}, see the operator's ClusterRole: {message}"),
            // An ordinary thing after a restart of the API server; a list follows.
            410 => format!("the API server no longer knows where the watch of {what} stood: {message}"),
            _ => format!("cannot {word} {what}: {message} (code {code})"),
        };
        Failure {
            kind: format!("{word} {code}"),
            message,
            routine: code == 410,
            refused: matches!(code, 401 | 403 | 404 | 405),
            pause: LONG,
            asked: status.retry_after.min(LONG),
        }
    }

    /// There was no answer, or what began to come broke off.
    pub(super) fn ended(kind: &Kind, step: Step, why: &str) -> Failure {
        let word = step.as_str();
        Failure {
            kind: word.to_owned(),
            message: format!("cannot {word} {}: {why}", kind.resource()),
            routine: false,
            refused: false,
            pause: SHORT,
            asked: Duration::ZERO,
        }
    }
}

#[cfg(test)]
impl Failure {
    /// One like any other.
    pub(crate) fn of_test(kind: &Kind) -> Failure {
        Failure::ended(kind, Step::List, "connection refused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Kind = Kind::namespaced("", "v1", "Pod", "pods");
    const POLICIES: Kind = Kind::namespaced("ecraccess.dev", "v1alpha1", "EcrAccessPolicy", "ecraccesspolicies");

    fn status(code: u16, message: &str) -> AnswerError {
        AnswerError::Status(Status { code, message: message.to_owned(), ..Status::default() })
    }

    #[test]
    fn missing_crds_and_missing_rights_are_said_in_plain_words() {
        let missing = Failure::new(&POLICIES, Step::List, &status(404, "404 page not found"));
        assert_eq!(missing.message, "the CustomResourceDefinition ecraccesspolicies.ecraccess.dev is not installed");
        let forbidden = Failure::new(&PODS, Step::Watch, &status(403, "pods is forbidden: …"));
        assert_eq!(forbidden.kind, "watch 403");
        assert!(forbidden.refused && missing.refused);
        assert!(!Failure::new(&POLICIES, Step::List, &status(429, "later")).refused);
        assert_eq!(
            forbidden.message,
            "not allowed to watch pods, see the operator's ClusterRole: pods is forbidden: …"
        );
    }

    #[test]
    fn a_pause_that_the_api_server_asks_for_is_kept_within_reason() {
        let asked = |code, seconds| {
            let status = Status { code, message: "busy".to_owned(), retry_after: Duration::from_secs(seconds) };
            Failure::new(&PODS, Step::Watch, &AnswerError::Status(status)).asked
        };
        assert_eq!([asked(429, 3), asked(503, 0), asked(429, 3600)], [Duration::from_secs(3), Duration::ZERO, LONG]);
    }

    #[test]
    fn failures_of_one_kind_have_one_name_whatever_they_say() {
        let kind = |code, message: &str| Failure::new(&PODS, Step::List, &status(code, message)).kind;
        assert_eq!(kind(500, "etcd is away since 1 s"), kind(500, "etcd is away since 2 s"));
        assert_ne!(kind(500, "x"), kind(503, "x"));
    }
}
