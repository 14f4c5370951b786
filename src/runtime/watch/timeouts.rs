//! Bounds on the silence of the API server. A connection can be alive and carry nothing, for as long as a firewall or a
//! proxy that lost its state lives; without a bound, a list or the start of a watch waits on it for ever.

use std::time::Duration;

use axum::http::{Request, Response};
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use kube::{Client, Config};

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the head of an answer, and for each further piece of a list.
    pub answer: Duration,
    /// For each further piece of a watch: longer than the API server lets a watch live.
    pub watch: Duration,
}

/// An answer that did not begin in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
pub struct NoAnswerError(Duration);

/// A client for watches.
///
/// kube's own retries of 429, 503 and 504 are off: they are up to 1,000 seconds apart and wait for as long as any
/// `Retry-After` says, and nobody would see that nothing works. The watches pause and try again by themselves.
///
/// # Errors
/// When no client can be made of `config`.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    Client::try_from(config)
}

/// The same client, giving up on answers that are later than `timeouts`.
pub fn guarded(client: Client, timeouts: Timeouts) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
            let answer = tokio::time::timeout(timeouts.answer, client.send(request)).await;
            let answer: Response<Body> =
                answer.map_err(|_| kube::Error::Service(NoAnswerError(timeouts.answer).into()))??;
            let idle = if is_watch { timeouts.watch } else { timeouts.answer };
            Ok::<_, kube::Error>(answer.map(|body| StreamBody::new(pieces(body, idle).boxed())))
        }
    });
    Client::new(service, namespace)
}

/// The pieces of a body; one that does not come within `idle` is an error and the last.
fn pieces(body: Body, idle: Duration) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
    stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(idle, body.frame()).await {
            Ok(frame) => Some((frame?.map_err(Into::into), Some(body))),
            Err(_) => Some((Err(NoAnswerError(idle).into()), None)),
        }
    })
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends the head at once or never, and then a byte, and another one at once or never.
    fn server(head: bool, piece: bool, timeouts: Timeouts) -> Client {
        let after = |comes: bool| async move {
            if !comes {
                std::future::pending::<()>().await;
            }
        };
        let service = tower::service_fn(move |_: Request<Body>| async move {
            after(head).await;
            let pieces = stream::iter([true, piece]).then(move |comes| async move {
                after(comes).await;
                Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"x")))
            });
            Ok::<_, std::convert::Infallible>(Response::new(StreamBody::new(pieces.boxed())))
        });
        guarded(Client::new(service, "default"), timeouts)
    }

    async fn ask(client: &Client, path: &str) -> Result<usize, String> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = client.send(request).await.map_err(|error| error.to_string())?;
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok(body.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_api_server_is_given_up() {
        let (list, watch) = ("/api/v1/pods", "/api/v1/pods?limit=5&watch=true");
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(3600));
        let impatient = Timeouts { answer: short, watch: long };
        for path in [list, watch] {
            assert_eq!(ask(&server(true, true, impatient), path).await, Ok(2));
            let error = ask(&server(false, true, impatient), path).await.unwrap_err();
            assert_eq!(error, "ServiceError: no answer within 0.05 s");
        }
        assert!(ask(&server(true, false, impatient), list).await.is_err());
        // A watch may be silent for longer than an answer.
        let waiting =
            tokio::time::timeout(short * 4, async { ask(&server(true, false, impatient), watch).await }).await;
        assert!(waiting.is_err(), "{waiting:?}");
        assert!(ask(&server(true, false, Timeouts { answer: long, watch: short }), watch).await.is_err());
    }
}
