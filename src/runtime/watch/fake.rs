//! A fake server for tests of whatever reads bytes: it gives the answers that a test wrote out, piece by piece, whatever it is
//! asked, and notes what that was. [`crate::runtime::fake`] is an API server, which neither drips nor breaks nor lies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use futures::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;

/// How an answer goes on behind its pieces.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// It ends.
    End,
    /// It neither ends nor goes on.
    Hang,
    /// The connection breaks.
    Break,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub pieces: Vec<Vec<u8>>,
    pub then: Then,
}

impl Answer {
    pub fn new(code: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { code, pieces: vec![body.into()], then: Then::End }
    }

    pub fn then(self, then: Then) -> Answer {
        Answer { then, ..self }
    }

    /// Comes byte by byte.
    pub fn dripping(self) -> Answer {
        Answer { pieces: self.pieces.concat().chunks(1).map(<[u8]>::to_vec).collect(), ..self }
    }
}

/// Whatever was asked, in order.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// Gives these answers in their order, and behind them none.
pub fn server(answers: Vec<Answer>) -> (Client, Asked) {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        noted.lock().unwrap().push(request.uri().to_string());
        let answer = answers.lock().unwrap().pop_front();
        async move {
            let Some(answer) = answer else { return std::future::pending().await };
            let pieces = stream::iter(answer.pieces).map(|piece| Ok(Frame::data(Bytes::from(piece))));
            let end = match answer.then {
                Then::End => stream::empty().boxed(),
                Then::Hang => stream::pending().boxed(),
                Then::Break => stream::iter([Err(std::io::Error::other("connection reset"))]).boxed(),
            };
            let body = StreamBody::new(pieces.chain(end));
            Ok::<_, std::convert::Infallible>(Response::builder().status(answer.code).body(body).unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}
