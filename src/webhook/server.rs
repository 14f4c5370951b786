//! HTTP: routes, limits, the deadline, and the guard against panics.
//!
//! Whatever goes wrong after a request could be read is answered with the request's uid, admitted and with a warning: a
//! webhook that cannot judge must not stand in the way.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::FutureExt;
use http_body_util::BodyExt;
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
    /// Reviews that are worked on at a time; more have to wait.
    pub turns: usize,
    /// How long a request waits for its first turn, and for its share of `bodies`, before it is turned away. Whoever
    /// has to wait longer would only make everybody behind it wait as well.
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
            turns: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            patience: Duration::from_millis(25),
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
    turns: Arc<Semaphore>,
    told_of_overload: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// The routes of all webhooks.
pub fn router<C: Cluster>(reviewer: Reviewer<C>, limits: Limits, metrics: Metrics) -> Router {
    // A body of the greatest size must fit into the budget, or it would never get its share.
    let units = limits.bodies.max(limits.body).div_ceil(UNIT);
    let budget = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
    let turns = Arc::new(Semaphore::new(limits.turns.clamp(1, Semaphore::MAX_PERMITS)));
    let server = Arc::new(Server {
        reviewer: Arc::new(reviewer),
        limits,
        budget,
        turns,
        told_of_overload: Mutex::default(),
        metrics,
    });
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
        let first = self.wait(&self.turns, 1, deadline).await?;
        let work = if bytes.len() < self.limits.big { Work::here() } else { Work::elsewhere(Arc::clone(&share)) };
        let work = work.in_turns(Arc::clone(&self.turns), first);

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

    /// Reads a body, within the limits of one and of all together. Of the budget for all it takes what has arrived, not
    /// what was announced: whoever sends slowly keeps nobody out.
    async fn read(&self, mut body: Body, deadline: Instant) -> Result<(Bytes, Share), Turned> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > self.limits.body {
            return Err(Turned::TooLarge);
        }
        let mut bytes = Vec::with_capacity(announced.min(self.limits.big));
        let mut share = Share { permit: None, counted: Counted::new(&self.metrics.bytes_in_flight, 0) };
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Turned::Malformed(format!("the body cannot be read: {error}"))),
                Ok(None) => return Ok((Bytes::from(bytes), share)),
                Err(_) => return Err(Turned::Slow),
            };
            let Some(data) = frame.data_ref() else { continue };
            let size = bytes.len().saturating_add(data.len());
            if size > self.limits.body {
                return Err(Turned::TooLarge);
            }
            let more = size.div_ceil(UNIT) - bytes.len().div_ceil(UNIT);
            if more > 0 {
                let more = u32::try_from(more).map_err(|_| Turned::TooLarge)?;
                // Two that have half of what they need each do not wait for each other for long: the one that came first
                // gives up first, and the other goes on.
                share.add(self.wait(&self.budget, more, deadline).await?);
            }
            share.counted.add(data.len());
            bytes.extend_from_slice(data);
        }
    }

    /// Once a second.
    fn may_tell_of_overload(&self) -> bool {
        let mut told = self.told_of_overload.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = told.is_none_or(|at| now >= at + Duration::from_secs(1));
        if may {
            *told = Some(now);
        }
        may
    }

    /// Waits for permits, but not long.
    async fn wait(&self, from: &Arc<Semaphore>, n: u32, deadline: Instant) -> Result<OwnedSemaphorePermit, Turned> {
        if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(n) {
            return Ok(permit);
        }
        let until = deadline.min(Instant::now() + self.limits.patience);
        match timeout_at(until, Arc::clone(from).acquire_many_owned(n)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Turned::Overloaded),
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
                ("overloaded", StatusCode::TOO_MANY_REQUESTS, "too much is being worked on, try again".to_owned())
            }
            Turned::Malformed(problem) => ("malformed", StatusCode::BAD_REQUEST, problem.clone()),
            Turned::Bug => ("bug", StatusCode::INTERNAL_SERVER_ERROR, "an internal error".to_owned()),
        };
        self.metrics.refused.get_or_create(&OutcomeLabels { outcome }).inc();
        // A line for each would be work at the worst moment.
        if !matches!(turned, Turned::Overloaded) {
            tracing::warn!(%webhook, outcome, text, "a request was turned away");
        } else if self.may_tell_of_overload() {
            tracing::warn!(%webhook, "requests are turned away, as more comes in than can be worked on; told once a second");
        }
        let mut response = (status, format!("ecr-access: {text}\n")).into_response();
        if matches!(turned, Turned::Overloaded) {
            // The API server tries again after so many seconds, within the timeout that it gives a webhook.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The part of the memory budget that a body takes.
struct Share {
    permit: Option<OwnedSemaphorePermit>,
    counted: Counted,
}

impl Share {
    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
    }
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

    fn add(&mut self, more: usize) {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.gauge.inc_by(more);
        self.by += more;
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
