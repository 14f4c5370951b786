//! One watch as a stream that never ends: events, and failures with a pause behind each.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::api::ApiResource;
use kube::core::Status;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::time::Instant;

use super::object::Raw;

/// What comes out of a watch.
#[derive(Debug)]
pub enum Signal {
    /// An object changed, or a list begins, goes on or ends.
    Event(Event<Raw>),
    /// The watch failed and tries again after a pause.
    Failed(Failure),
}

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
    pause: Duration,
    /// The API server asked for a pause of at least this, and gets it up to [`LONG`].
    asked: Duration,
    /// The watch cannot be taken up where it stood, however often that is tried.
    lost: bool,
}

/// An API server that restarts is heard again soon; asking a closed door is cheap for both sides.
const SHORT: Duration = Duration::from_secs(2);

/// An API server that answers with an error is left alone for longer: it may be the work that it cannot do.
const LONG: Duration = Duration::from_secs(10);

/// How a watch is made.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Objects per page of a list.
    pub page_size: u32,
    /// Seconds after which the API server ends a watch and it is taken up again where it stood.
    ///
    /// It bounds how long a connection that died without a word (a failed load balancer) can go unnoticed.
    pub timeout: u32,
    /// Only objects with these fields, such as `status.phase!=Failed`.
    pub fields: Option<String>,
    /// Only objects with these labels, such as `team=a`.
    pub labels: Option<String>,
}

/// Watches all objects of one kind, in every namespace, for ever.
pub fn watch(client: Client, resource: ApiResource, options: WatchOptions) -> impl Stream<Item = Signal> + Send {
    // A list and a watch behind it rather than a streaming list: this works on every API server, and pages bound the
    // memory that a big list takes. `MostRecent` (the default) is a consistent read: after a restart no verdict is
    // older than the restart.
    let mut config = watcher::Config::default().page_size(options.page_size).timeout(options.timeout);
    config.field_selector = options.fields;
    config.label_selector = options.labels;
    let api = Api::<Raw>::all_with(client, &resource);
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let events = begin();
    // Routine failures do not count with the others: a list behind an outage need not wait for as long as the outage.
    let backoffs = (Backoff::default(), Backoff::default());
    stream::unfold((events, backoffs, None), move |(mut events, mut backoffs, pause)| {
        let (resource, begin) = (resource.clone(), begin.clone());
        async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            match events.next().await? {
                Ok(event) => Some((Signal::Event(event), (events, backoffs, None))),
                Err(error) => {
                    let failure = failure(&resource, &error);
                    let backoff = if failure.routine { &mut backoffs.1 } else { &mut backoffs.0 };
                    let pause = backoff.next(Instant::now(), failure.pause).max(failure.asked);
                    // kube's watcher would ask for the same version again and again.
                    if failure.lost {
                        events = begin();
                    }
                    Some((Signal::Failed(failure), (events, backoffs, Some(pause))))
                }
            }
        }
    })
}

/// Pauses that double, and start over after a quiet time.
///
/// Success does not reset them: a list that works and a watch behind it that fails at once would otherwise list all
/// objects again and again as fast as it can.
#[derive(Debug, Default)]
pub struct Backoff {
    last: Option<(Instant, Duration)>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const QUIET: Duration = Duration::from_secs(30);

    /// The pause after a failure at `now`, at most `longest`.
    pub fn next(&mut self, now: Instant, longest: Duration) -> Duration {
        let pause = match self.last {
            Some((at, pause)) if now.duration_since(at) < pause + Backoff::QUIET => (pause * 2).min(longest),
            _ => Backoff::FIRST,
        };
        self.last = Some((now, pause));
        pause
    }
}

fn failure(resource: &ApiResource, error: &watcher::Error) -> Failure {
    let what = if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    };
    let (step, cause) = match error {
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", error),
        watcher::Error::WatchError(status) => return answered("watch", &what, status),
        watcher::Error::NoResourceVersion => {
            return Failure {
                kind: "version".to_owned(),
                message: format!("cannot watch {what}: the API server sends no resource version"),
                routine: false,
                refused: false,
                pause: LONG,
                asked: Duration::ZERO,
                lost: false,
            };
        }
    };
    match cause {
        kube::Error::Api(status) if status.code == 404 && !resource.group.is_empty() => Failure {
            kind: format!("{step} 404"),
            message: format!("the CustomResourceDefinition {what} is not installed"),
            routine: false,
            refused: true,
            pause: SHORT,
            asked: Duration::ZERO,
            lost: false,
        },
        kube::Error::Api(status) => {
            // 504 is how the API server says that it has never seen this version, which an etcd that was put back from
            // a backup may not reach for long.
            let lost = matches!(error, watcher::Error::WatchStartFailed(_)) && matches!(status.code, 410 | 504);
            Failure { lost, ..answered(step, &what, status) }
        }
        error => Failure {
            kind: step.to_owned(),
            message: format!("cannot {step} {what}: {}", causes(error)),
            routine: false,
            refused: false,
            pause: SHORT,
            asked: Duration::ZERO,
            lost: false,
        },
    }
}

/// The API server answered, with an error.
fn answered(step: &str, what: &str, status: &Status) -> Failure {
    let (code, message) = (status.code, &status.message);
    let (message, pause) = match code {
        403 => (format!("not allowed to {step} {what}, see the operator's ClusterRole: {message}"), LONG),
        // An ordinary thing after a restart of the API server; a list follows.
        410 => (format!("the API server no longer knows where the watch of {what} stood: {message}"), LONG),
        _ => (format!("cannot {step} {what}: {message} (code {code})"), LONG),
    };
    let refused = matches!(code, 401 | 403 | 404 | 405);
    let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let asked = Duration::from_secs(asked.into()).min(LONG);
    Failure { kind: format!("{step} {code}"), message, routine: code == 410, refused, pause, asked, lost: false }
}

/// An error with what caused it, as far as that says more.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::super::object::core_resource;
    use super::*;
    use crate::api::PolicyKind;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_over_after_a_quiet_time() {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for longest in [LONG; 8].into_iter().chain([SHORT, LONG]) {
            let pause = backoff.next(now, longest);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 2000, 4000]);
        assert_eq!(backoff.next(now + Backoff::QUIET, LONG), Backoff::FIRST);
    }

    #[test]
    fn what_caused_an_error_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Layer {
            text: &'static str,
            source: Option<Box<Layer>>,
        }
        let refused = Layer { text: "connection refused", source: None };
        let connect = Layer { text: "client error (Connect)", source: Some(Box::new(refused)) };
        let service = Layer { text: "ServiceError: client error (Connect)", source: Some(Box::new(connect)) };
        assert_eq!(causes(&service), "ServiceError: client error (Connect): connection refused");
    }

    fn api_error(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[test]
    fn missing_crds_and_missing_rights_are_said_in_plain_words() {
        let policies = PolicyKind::EcrAccessPolicy.resource();
        let missing = failure(&policies, &watcher::Error::InitialListFailed(api_error(404, "404 page not found")));
        assert_eq!(missing.message, "the CustomResourceDefinition ecraccesspolicies.ecraccess.dev is not installed");
        let forbidden = failure(
            &core_resource("Pod", "pods"),
            &watcher::Error::WatchStartFailed(api_error(403, "pods is forbidden: …")),
        );
        assert_eq!(forbidden.kind, "watch 403");
        assert!(forbidden.refused && missing.refused);
        let busy = failure(&policies, &watcher::Error::InitialListFailed(api_error(429, "later")));
        assert!(!busy.refused);
        assert_eq!(
            forbidden.message,
            "not allowed to watch pods, see the operator's ClusterRole: pods is forbidden: …"
        );
    }

    #[test]
    fn a_pause_that_the_api_server_asks_for_is_kept_within_reason() {
        let pods = core_resource("Pod", "pods");
        let asked = |code, seconds| {
            let details: StatusDetails =
                serde_json::from_value(serde_json::json!({"retryAfterSeconds": seconds})).unwrap();
            let status = Status::failure("busy", "TooManyRequests").with_code(code).with_details(details);
            failure(&pods, &watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed()))).asked
        };
        assert_eq!([asked(429, 3), asked(503, 0), asked(429, 3600)], [Duration::from_secs(3), Duration::ZERO, LONG]);
    }

    #[test]
    fn a_watch_that_cannot_be_taken_up_is_told_from_one_that_can() {
        let pods = core_resource("Pod", "pods");
        let lost = |code| failure(&pods, &watcher::Error::WatchStartFailed(api_error(code, "x"))).lost;
        assert_eq!([410, 504, 429, 500, 503, 403].map(lost), [true, true, false, false, false, false]);
        // In the middle of a watch, and of a list, kube's watcher lists again by itself.
        let gone = *Status::failure("gone", "Expired").with_code(410).boxed();
        assert!(!failure(&pods, &watcher::Error::WatchError(gone.boxed())).lost);
        assert!(!failure(&pods, &watcher::Error::InitialListFailed(api_error(410, "x"))).lost);
    }

    #[test]
    fn failures_of_one_kind_have_one_name_whatever_they_say() {
        let pods = core_resource("Pod", "pods");
        let kind =
            |code, message: &str| failure(&pods, &watcher::Error::InitialListFailed(api_error(code, message))).kind;
        assert_eq!(kind(500, "etcd is away since 1 s"), kind(500, "etcd is away since 2 s"));
        assert_ne!(kind(500, "x"), kind(503, "x"));
    }
}
