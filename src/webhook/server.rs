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
use axum::extract::{DefaultBodyLimit, Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::FutureExt;
use http_body_util::BodyExt;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, timeout_at};

use super::allotment::{Allotment, Allotments, UNIT};
use super::cluster::Cluster;
use super::limits::Limits;
use super::message::{Answer, Request};
use super::review::{CpuPermit, Reviewer};
use super::{Webhook, policies};
use crate::runtime::callers::{Caller, Standing};
use crate::runtime::metrics::{CallerLabels, Metrics, OutcomeLabels, ReviewLabels, WebhookLabels};
use crate::runtime::seldom::{Seldom, beginning};
use crate::runtime::shares::Permit;
use crate::runtime::telemetry::said_by;

struct Server<C> {
    reviewer: Arc<Reviewer<C>>,
    limits: Limits,
    allotments: Arc<Allotments>,
    metrics: Metrics,
}

/// The routes of all webhooks.
pub fn router<C: Cluster>(reviewer: Reviewer<C>, limits: Limits, metrics: Metrics) -> Router {
    let allotments = Allotments::new(&limits);
    let server = Arc::new(Server { reviewer: Arc::new(reviewer), limits, allotments, metrics });
    Webhook::ALL
        .into_iter()
        .fold(Router::new(), |router, webhook| {
            let handler = move |State(server): State<Arc<Server<C>>>, request: HttpRequest| async move {
                // The server of the port says who calls; without one nobody is anybody.
                let caller = request.extensions().get::<Caller>().copied().unwrap_or_default();
                let time = server.limits.time_for(request.uri().query(), caller.standing);
                server.handle(webhook, caller, request.into_body(), time).await
            };
            router.route(webhook.path(), post(handler))
        })
        // The limit is our own: it counts, and it says what it is.
        .layer(DefaultBodyLimit::disable())
        .with_state(server)
}

/// Why a request gets no review as its answer.
enum Rejection {
    /// Bytes that it may have at most.
    TooLarge(usize),
    Slow,
    Overloaded,
    /// A stranger has its share already.
    Share,
    Malformed(String),
    Bug,
}

impl<C: Cluster> Server<C> {
    async fn handle(&self, webhook: Webhook, caller: Caller, body: Body, time: Duration) -> Response {
        let started = Instant::now();
        let _in_flight = Counted::new(&self.metrics.in_flight, 1);
        let label = if caller.standing == Standing::ApiServer { "api_server" } else { "other" };
        self.metrics.calls.get_or_create(&CallerLabels { caller: label }).inc();
        match self.answer(webhook, caller, body, started, time).await {
            Ok(answer) => {
                let duration = self.metrics.review_duration.get_or_create(&WebhookLabels { webhook: webhook.as_str() });
                duration.observe(started.elapsed().as_secs_f64());
                self.count(webhook, &answer);
                ([(header::CONTENT_TYPE, "application/json")], answer.to_bytes()).into_response()
            }
            Err(turned) => self.turn_away(webhook, caller, &turned),
        }
    }

    async fn answer(
        &self,
        webhook: Webhook,
        caller: Caller,
        body: Body,
        started: Instant,
        time: Duration,
    ) -> Result<Answer, Rejection> {
        let deadline = started + time;
        let most = if caller.is_apart() { self.limits.stranger_body } else { self.limits.body };
        // Before anything is waited for: what will not be read need not come in.
        if announced(&body) > most {
            self.allotments.hold_up(caller).await;
            return Err(Rejection::TooLarge(most));
        }
        let allotment = Allotment { of: Arc::clone(&self.allotments), caller };
        let _inside = self.allotments.enter(caller, deadline).await.ok_or(Rejection::Share)?;
        let (bytes, share) = self.read(body, &allotment, most, deadline).await?;
        let share: Arc<dyn Any + Send + Sync> = Arc::new(share);
        let first = allotment
            .turn(allotment.until(self.limits.longest_wait, deadline))
            .await
            .ok_or_else(|| overload(caller))?;
        let work =
            if bytes.len() < self.limits.big { CpuPermit::here() } else { CpuPermit::elsewhere(Arc::clone(&share)) };
        let work = work.in_turns(allotment, first);

        let parse = AssertUnwindSafe(work.run(move || Request::parse(&bytes))).catch_unwind();
        let request = match timeout_at(deadline, parse).await {
            Ok(Ok(Ok(request))) => request,
            Ok(Ok(Err(error))) => return Err(Rejection::Malformed(error.to_string())),
            Ok(Err(_)) => return Err(Rejection::Bug),
            Err(_) => return Err(Rejection::Slow),
        };

        let uid = request.uid.clone();
        let until = started + Limits::time_for_reads(time);
        let review = AssertUnwindSafe(self.review(webhook, request, until, &work)).catch_unwind();
        let answer = match timeout_at(deadline, review).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                static PANICKED: Seldom = Seldom::new();
                if let Some(held_back) = PANICKED.may_tell() {
                    let panic = said_by(&*panic);
                    tracing::error!(%webhook, uid, panic, held_back, "a bug: a review panicked");
                }
                let warning = "ecr-access: Unknown: an internal error stopped the review, so nothing was judged; \
                               please report it, the webhook's log has the details";
                Answer::unknown(&uid, "Panic", warning.to_owned())
            }
            Err(_) => {
                static LATE: Seldom = Seldom::new();
                if let Some(held_back) = LATE.may_tell() {
                    tracing::warn!(%webhook, uid, held_back, "a review did not end within its deadline");
                }
                let seconds = time.as_secs_f64();
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

    async fn review(&self, webhook: Webhook, request: Request, until: Instant, work: &CpuPermit) -> Answer {
        match webhook {
            Webhook::Pods | Webhook::Workloads => {
                self.reviewer.review(webhook, request, Timestamp::now(), until, work).await
            }
            Webhook::Policies => work.run(move || policies::review(&request, Timestamp::now())).await,
        }
    }

    /// Reads a body, within the limits of one and of all together. Of the budget for all it takes what has arrived, not
    /// what was announced: whoever sends slowly keeps nobody out.
    async fn read(
        &self,
        mut body: Body,
        allotment: &Allotment,
        most: usize,
        deadline: Instant,
    ) -> Result<(Bytes, Share), Rejection> {
        let mut bytes = Vec::with_capacity(announced(&body).min(self.limits.big));
        let mut share = Share { permit: None, counted: Counted::new(&self.metrics.bytes_in_flight, 0) };
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Rejection::Malformed(format!("the body cannot be read: {error}"))),
                Ok(None) => return Ok((Bytes::from(bytes), share)),
                Err(_) => return Err(Rejection::Slow),
            };
            let Some(data) = frame.data_ref() else { continue };
            let size = bytes.len().saturating_add(data.len());
            if size > most {
                return Err(Rejection::TooLarge(most));
            }
            let more = size.div_ceil(UNIT) - bytes.len().div_ceil(UNIT);
            if more > 0 {
                let until = allotment.until(self.limits.longest_wait, deadline);
                // Two that have half of what they need each do not wait for each other for long: the one that came first
                // gives up first, and the other goes on.
                let permit = allotment.of.bodies.take(allotment.caller, more, until).await;
                share.add(permit.ok_or_else(|| overload(allotment.caller))?);
            }
            share.counted.add(data.len());
            bytes.extend_from_slice(data);
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

    fn turn_away(&self, webhook: Webhook, caller: Caller, turned: &Rejection) -> Response {
        let (outcome, status, text) = match turned {
            Rejection::TooLarge(most) => {
                ("too_large", StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {} MiB", most >> 20))
            }
            Rejection::Slow => ("slow", StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time".to_owned()),
            Rejection::Overloaded => {
                ("overloaded", StatusCode::TOO_MANY_REQUESTS, "too much is being worked on, try again".to_owned())
            }
            Rejection::Share => (
                "share",
                StatusCode::TOO_MANY_REQUESTS,
                "this address is not known for an API server's, and asks for more than its share".to_owned(),
            ),
            // An error of the parser may quote a whole body.
            Rejection::Malformed(problem) => ("malformed", StatusCode::BAD_REQUEST, beginning(problem)),
            Rejection::Bug => ("bug", StatusCode::INTERNAL_SERVER_ERROR, "an internal error".to_owned()),
        };
        self.metrics.refused.get_or_create(&OutcomeLabels { outcome }).inc();
        if let Some(held_back) = turned.line().may_tell() {
            tracing::warn!(%webhook, outcome, text, address = %caller.address, held_back, "a request was turned away");
        }
        let mut response = (status, format!("ecr-access: {text}\n")).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            // The API server tries again after so many seconds, within the timeout that it gives a webhook.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Why a caller gets nothing now.
fn overload(caller: Caller) -> Rejection {
    if caller.is_apart() { Rejection::Share } else { Rejection::Overloaded }
}

/// Bytes that a body will have at least.
fn announced(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

impl Rejection {
    /// How often its line may be written: one kind does not keep another one out of the log.
    fn line(&self) -> &'static Seldom {
        static LINES: [Seldom; 6] = [const { Seldom::new() }; 6];
        let [too_large, slow, overloaded, share, malformed, bug] = &LINES;
        match self {
            Rejection::TooLarge(_) => too_large,
            Rejection::Slow => slow,
            Rejection::Overloaded => overloaded,
            Rejection::Share => share,
            Rejection::Malformed(_) => malformed,
            Rejection::Bug => bug,
        }
    }
}

/// The part of the memory budget that a body takes.
struct Share {
    permit: Option<Permit>,
    counted: Counted,
}

impl Share {
    fn add(&mut self, more: Permit) {
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
