//! HTTP: routes, limits, the deadline, and the guard against panics.
//!
//! Whatever goes wrong after a request could be read is answered with the request's uid, admitted and with a warning: a
//! webhook that cannot judge must not stand in the way.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::FutureExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Webhook;
use super::cluster::Cluster;
use super::message::{Answer, Request};
use super::policies;
use super::review::{Reviewer, Work};
use crate::runtime::metrics::{Metrics, OutcomeLabels, ReviewLabels, WebhookLabels};

/// What a request may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request to its answer. Shorter than `timeoutSeconds` of the webhook configuration, so
    /// that our own words arrive rather than the API server's "context deadline exceeded".
    pub deadline: Duration,
    /// Bytes of one body. The API server takes objects up to 3 MiB, but an escaped string in JSON can be six times as
    /// long, and an update carries the object twice.
    pub body: usize,
    /// Bytes of all bodies together; more have to wait.
    pub bodies: usize,
    /// How long a request waits for its share of `bodies` before it is turned away.
    pub patience: Duration,
    /// Bodies from so many bytes on are worked on in a thread of their own.
    pub big: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            deadline: Duration::from_secs(2),
            body: 40 << 20,
            bodies: 64 << 20,
            patience: Duration::from_millis(500),
            big: 32 << 10,
        }
    }
}

/// The unit of the memory budget. Small enough for a usual review to take few, and a semaphore has to count them all.
const UNIT: usize = 1 << 10;

struct Server<C> {
    reviewer: Arc<Reviewer<C>>,
    limits: Limits,
    budget: Arc<Semaphore>,
    metrics: Metrics,
}

/// The routes of all webhooks.
pub fn router<C: Cluster>(reviewer: Reviewer<C>, limits: Limits, metrics: Metrics) -> Router {
    // A body of the greatest size must fit into the budget, or it would never get its share.
    let units = limits.bodies.max(limits.body).div_ceil(UNIT);
    let budget = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
    let server = Arc::new(Server { reviewer: Arc::new(reviewer), limits, budget, metrics });
    Webhook::ALL
        .into_iter()
        .fold(Router::new(), |router, webhook| {
            let handler = move |State(server): State<Arc<Server<C>>>, body: Body| async move {
                server.handle(webhook, body).await
            };
            router.route(webhook.path(), post(handler))
        })
        // The limit is our own: it counts, and it says what it is.
        .layer(DefaultBodyLimit::disable())
        .with_state(server)
}

/// Why a request gets no review as its answer.
enum Turned {
    TooLarge,
    Slow,
    Overloaded,
    Malformed(String),
    Bug,
}

impl<C: Cluster> Server<C> {
    async fn handle(&self, webhook: Webhook, body: Body) -> Response {
        let started = Instant::now();
        let _in_flight = Counted::new(&self.metrics.in_flight, 1);
        match self.answer(webhook, body, started + self.limits.deadline).await {
            Ok(answer) => {
                let duration = self.metrics.review_duration.get_or_create(&WebhookLabels { webhook: webhook.as_str() });
                duration.observe(started.elapsed().as_secs_f64());
                self.count(webhook, &answer);
                ([(header::CONTENT_TYPE, "application/json")], answer.to_bytes()).into_response()
            }
            Err(turned) => self.turn_away(webhook, &turned),
        }
    }

    async fn answer(&self, webhook: Webhook, body: Body, deadline: Instant) -> Result<Answer, Turned> {
        let (bytes, share) = self.read(body, deadline).await?;
        let share: Arc<dyn Any + Send + Sync> = Arc::new(share);
        let work = if bytes.len() < self.limits.big { Work::here() } else { Work::elsewhere(Arc::clone(&share)) };

        let parse = AssertUnwindSafe(work.run(move || Request::parse(&bytes))).catch_unwind();
        let request = match timeout_at(deadline, parse).await {
            Ok(Ok(Ok(request))) => request,
            Ok(Ok(Err(error))) => return Err(Turned::Malformed(error.to_string())),
            Ok(Err(_)) => return Err(Turned::Bug),
            Err(_) => return Err(Turned::Slow),
        };

        let uid = request.uid.clone();
        let review = AssertUnwindSafe(self.review(webhook, request, &work)).catch_unwind();
        let answer = match timeout_at(deadline, review).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                tracing::error!(%webhook, uid, panic = text_of(&*panic), "a bug: a review panicked");
                let warning = "ecr-access: Unknown: an internal error stopped the review, so nothing was judged; \
                               please report it, the webhook's log has the details";
                Answer::unknown(&uid, "Panic", warning.to_owned())
            }
            Err(_) => {
                tracing::warn!(%webhook, uid, "a review did not end within its deadline");
                let seconds = self.limits.deadline.as_secs_f64();
                Answer::unknown(
                    &uid,
                    "Deadline",
                    format!(
                        "ecr-access: Unknown: the review did not end within {seconds} s, so nothing was judged; it is admitted"
                    ),
                )
            }
        };
        // What was shared out is held until here, and by work that nobody waits for any more until that is done.
        drop(share);
        Ok(answer)
    }

    async fn review(&self, webhook: Webhook, request: Request, work: &Work) -> Answer {
        match webhook {
            Webhook::Pods | Webhook::Workloads => self.reviewer.review(webhook, request, Timestamp::now(), work).await,
            Webhook::Policies => work.run(move || policies::review(&request, Timestamp::now())).await,
        }
    }

    /// Reads a body, within the limits of one and of all together.
    async fn read(&self, body: Body, deadline: Instant) -> Result<(Bytes, Share), Turned> {
        let limit = self.limits.body;
        // Without a length it could be as long as is allowed. Taking the whole share before the first byte means that no
        // two requests, each with half of what it needs, can wait for each other.
        let size = body.size_hint().upper().map_or(limit, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
        if size > limit {
            return Err(Turned::TooLarge);
        }
        let units = u32::try_from(size.div_ceil(UNIT)).map_err(|_| Turned::TooLarge)?;
        let permit = Arc::clone(&self.budget).acquire_many_owned(units);
        let permit = match timeout_at(deadline.min(Instant::now() + self.limits.patience), permit).await {
            Ok(Ok(permit)) => permit,
            _ => return Err(Turned::Overloaded),
        };
        let held = i64::try_from(size).unwrap_or(i64::MAX);
        let share = Share { _permit: permit, _counted: Counted::new(&self.metrics.bytes_in_flight, held) };
        match timeout_at(deadline, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), share)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Turned::TooLarge),
            Ok(Err(error)) => Err(Turned::Malformed(format!("the body cannot be read: {error}"))),
            Err(_) => Err(Turned::Slow),
        }
    }

    fn count(&self, webhook: Webhook, answer: &Answer) {
        let outcome = &answer.outcome;
        let labels = ReviewLabels {
            webhook: webhook.as_str(),
            verdict: outcome.verdict.clone(),
            admission: outcome.admission.clone(),
            reason: outcome.reason.clone(),
        };
        self.metrics.reviews.get_or_create(&labels).inc();
        tracing::debug!(
            %webhook,
            uid = answer.uid,
            verdict = outcome.verdict,
            admission = outcome.admission,
            reason = outcome.reason,
            "reviewed"
        );
    }

    fn turn_away(&self, webhook: Webhook, turned: &Turned) -> Response {
        let megabytes = self.limits.body >> 20;
        let (outcome, status, text) = match turned {
            Turned::TooLarge => {
                ("too_large", StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {megabytes} MiB"))
            }
            Turned::Slow => ("slow", StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time".to_owned()),
            Turned::Overloaded => {
                ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "too much is being worked on, try again".to_owned())
            }
            Turned::Malformed(problem) => ("malformed", StatusCode::BAD_REQUEST, problem.clone()),
            Turned::Bug => ("bug", StatusCode::INTERNAL_SERVER_ERROR, "an internal error".to_owned()),
        };
        self.metrics.refused.get_or_create(&OutcomeLabels { outcome }).inc();
        tracing::warn!(%webhook, outcome, text, "a request was turned away");
        (status, format!("ecr-access: {text}\n")).into_response()
    }
}

/// The part of the memory budget that a body takes.
struct Share {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Adds to a gauge for as long as it lives.
struct Counted {
    gauge: Gauge,
    by: i64,
}

impl Counted {
    fn new(gauge: &Gauge, by: i64) -> Counted {
        gauge.inc_by(by);
        Counted { gauge: gauge.clone(), by }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec_by(self.by);
    }
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}
