//! One watch as a stream that never ends: events, and failures with a pause behind each.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::api::ApiResource;
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
}

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
}

/// Watches all objects of one kind, in every namespace, for ever.
pub fn watch(client: Client, resource: ApiResource, options: WatchOptions) -> impl Stream<Item = Signal> + Send {
    // A list and a watch behind it rather than a streaming list: this works on every API server, and pages bound the
    // memory that a big list takes. `MostRecent` (the default) is a consistent read: after a restart no verdict is
    // older than the restart.
    let mut config = watcher::Config::default().page_size(options.page_size).timeout(options.timeout);
    config.field_selector = options.fields;
    let events = watcher(Api::<Raw>::all_with(client, &resource), config).boxed();
    stream::unfold((events, Backoff::default(), None), move |(mut events, mut backoff, pause)| {
        let resource = resource.clone();
        async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            match events.next().await? {
                Ok(event) => Some((Signal::Event(event), (events, backoff, None))),
                Err(error) => {
                    let pause = Some(backoff.next(Instant::now()));
                    Some((Signal::Failed(failure(&resource, &error)), (events, backoff, pause)))
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
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(10);
    const QUIET: Duration = Duration::from_secs(30);

    /// The pause after a failure at `now`.
    pub fn next(&mut self, now: Instant) -> Duration {
        let pause = match self.last {
            Some((at, pause)) if now.duration_since(at) < pause + Backoff::QUIET => (pause * 2).min(Backoff::LONGEST),
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
        watcher::Error::InitialListFailed(error) => ("list", Some(error)),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", Some(error)),
        watcher::Error::WatchError(status) => {
            return Failure {
                kind: format!("watch {}", status.code),
                message: format!("cannot watch {what}: {} (code {})", status.message, status.code),
            };
        }
        watcher::Error::NoResourceVersion => ("watch", None),
    };
    match cause {
        Some(kube::Error::Api(status)) if status.code == 404 && !resource.group.is_empty() => Failure {
            kind: format!("{step} 404"),
            message: format!("the CustomResourceDefinition {what} is not installed"),
        },
        Some(kube::Error::Api(status)) if status.code == 403 => Failure {
            kind: format!("{step} 403"),
            message: format!("not allowed to {step} {what}, see the operator's ClusterRole: {}", status.message),
        },
        Some(kube::Error::Api(status)) => Failure {
            kind: format!("{step} {}", status.code),
            message: format!("cannot {step} {what}: {} (code {})", status.message, status.code),
        },
        Some(error) => Failure { kind: step.to_owned(), message: format!("cannot {step} {what}: {error}") },
        None => Failure { kind: step.to_owned(), message: format!("cannot {step} {what}: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::api::PolicyKind;
    use crate::index::object::core_resource;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_over_after_a_quiet_time() {
        let start = Instant::now();
        let mut now = start;
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = backoff.next(now);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.next(now + Backoff::QUIET), Backoff::FIRST);
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
        assert_eq!(
            forbidden,
            Failure {
                kind: "watch 403".to_owned(),
                message: "not allowed to watch pods, see the operator's ClusterRole: pods is forbidden: …".to_owned()
            }
        );
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
