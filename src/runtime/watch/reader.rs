//! Lists, watches and gets of the API server as bytes, so that one object that cannot be read stops no other.
//!
//! Everything that a tenant can write is read here, and by nothing of `kube` that decodes: its client wants a whole answer
//! to be UTF-8 and 128 levels deep at most, and writes what does not decode into the log.

use std::collections::VecDeque;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use ecr_forecast::text::{Unit, cut, escaped};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes};
use kube::Client;
use kube::api::{GetParams, ListParams, WatchParams};
use kube::client::Body;
use serde_json::Value;

use super::answer::{AnswerError, Status};
use super::cut::{Cursor, CutError};
use super::kind::{Kind, segment};
use super::lines::Lines;
use super::object::{self, Item};

/// Bytes of an answer, and of a line of a watch, at most. An object has 1.5 MiB in an API server as it comes, and 8 MiB
/// where its etcd takes that.
pub const MAX_BYTES: usize = 32 << 20;

/// Bytes of an answer with an error that are read.
const MAX_STATUS: usize = 64 << 10;

/// Bytes of the API server's own words that go into a message.
const MAX_MESSAGE: usize = 512;

/// How long a list or an object may take to come, whatever pieces it comes in.
const WHOLE: Duration = Duration::from_secs(120);

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// The bytes of each object, none of which was decoded.
    pub items: VecDeque<Bytes>,
    /// Where the next page begins; none behind the last.
    pub next: Option<String>,
    /// The version of the list, from which a watch goes on.
    pub version: String,
}

/// What a line of a watch says.
#[derive(Debug, Eq, PartialEq)]
pub enum Line {
    /// An object came or changed: its bytes.
    Apply(Bytes),
    /// An object is gone: its bytes as it was.
    Delete(Bytes),
    /// Nothing changed up to this version.
    Bookmark(Option<String>),
    /// The watch cannot go on.
    Error(Status),
    /// What a newer API server may tell.
    Other,
}

/// Reads the API server. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    client: Client,
}

impl Reader {
    /// Through `client`.
    pub fn new(client: Client) -> Reader {
        Reader { client }
    }

    /// An object as it is now, never from a cache; `None` where there is none, or no such resource.
    ///
    /// # Errors
    /// As the API server answers, and when it answers with what is no object.
    pub async fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<Option<Item>, AnswerError> {
        let request = kube::core::Request::new(kind.path(namespace)?);
        // Without a resource version the API server answers with the latest state.
        let request = request.get(segment(name)?, &GetParams::default());
        let body = match self.ask(request?).await {
            Ok(body) => whole(body).await?,
            Err(AnswerError::Status(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let nothing = AnswerError::Unexpected { expected: "object", error: CutError::Value { at: 0 } };
        Item::decode(&body).map(Some).ok_or(nothing)
    }

    /// A page of a list, of at most `limit` objects: the first as of now, or the one that begins where another one said.
    ///
    /// # Errors
    /// As the API server answers, when the page has more than [`MAX_BYTES`], and when it is none.
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        limit: u32,
        from: Option<&str>,
    ) -> Result<Page, AnswerError> {
        let parameters = ListParams {
            label_selector: kind.labels.map(str::to_owned),
            field_selector: kind.fields.map(str::to_owned),
            limit: Some(limit),
            continue_token: from.map(str::to_owned),
            ..ListParams::default()
        };
        let request = kube::core::Request::new(kind.path(namespace)?).list(&parameters);
        let body = self.ask(request?).await?;
        page(&whole(body).await?)
    }

    /// What changes behind `version`, as lines for [`line()`], until the API server ends it after `timeout` seconds.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn watch(&self, kind: &Kind, version: &str, timeout: u32) -> Result<Lines, AnswerError> {
        let parameters = WatchParams {
            label_selector: kind.labels.map(str::to_owned),
            field_selector: kind.fields.map(str::to_owned),
            timeout: Some(timeout),
            ..WatchParams::default()
        };
        let request = kube::core::Request::new(kind.path(None)?).watch(&parameters, version);
        let body = self.ask(request?).await?;
        Ok(Lines::new(body, MAX_BYTES))
    }

    /// Makes a request that writes. What the API server answers with is the object, which somebody else may have a part in,
    /// so it is not looked at.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn write(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<(), AnswerError> {
        let body = self.ask(request?).await?;
        // Read, so that the connection can be used again. The head said that it is done.
        let _ = whole(body).await;
        Ok(())
    }

    /// The body of an answer that is no error.
    async fn ask(&self, mut request: Request<Vec<u8>>) -> Result<Body, AnswerError> {
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // A watch that is compressed is compressed line by line (Kubernetes 1.37), which no decoder here takes.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = self.client.send(request.map(Body::from)).await.map_err(|error| AnswerError::transport(&error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let (head, body) = answer.into_parts();
        Err(AnswerError::Status(Status::of(head.status, &head.headers, &beginning(body).await)))
    }
}

impl Status {
    /// From an answer with an error. Its body may be anything: a proxy answers in its own words.
    fn of(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Status {
        let mut status = match object::decode(body) {
            Ok(raw) if raw.value().is_object() => Status::read(raw.value()),
            _ => Status { message: words(&String::from_utf8_lossy(body)), ..Status::default() },
        };
        status.code = code.as_u16();
        if status.message.is_empty() {
            status.message = code.canonical_reason().unwrap_or("no reason is given").to_owned();
        }
        let seconds = headers.get(header::RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        status.retry_after = status.retry_after.max(Duration::from_secs(seconds.unwrap_or(0)));
        status
    }

    /// From a `metav1.Status`; whatever is not as it should be is left out.
    fn read(value: &Value) -> Status {
        let seconds = value.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
        let code = value.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        Status {
            code: code.unwrap_or(0),
            message: words(value.get("message").and_then(Value::as_str).unwrap_or_default()),
            retry_after: Duration::from_secs(seconds.unwrap_or(0)),
        }
    }
}

/// Cuts a list into its objects.
///
/// # Errors
/// When it is no list.
pub fn page(body: &Bytes) -> Result<Page, AnswerError> {
    let (mut items, mut version, mut next) = (None, None, None);
    let mut cursor = Cursor::new(body);
    let cut = cursor.object(|key, cursor| -> Result<(), CutError> {
        match key {
            b"metadata" => cursor.object(|key, cursor| -> Result<(), CutError> {
                let value = cursor.value()?;
                match key {
                    b"resourceVersion" => version = text(value),
                    b"continue" => next = text(value),
                    _ => {}
                }
                Ok(())
            }),
            b"items" => {
                let mut found = VecDeque::new();
                if !cursor.null() {
                    cursor.array(|item| -> Result<(), CutError> {
                        found.push_back(body.slice_ref(item));
                        Ok(())
                    })?;
                }
                items = Some(found);
                Ok(())
            }
            _ => cursor.value().map(drop),
        }
    });
    let unexpected = |error| AnswerError::Unexpected { expected: "list", error };
    cut.and_then(|()| cursor.end()).map_err(unexpected)?;
    // What is no list must not be taken for an empty one.
    let items = items.ok_or(unexpected(CutError::Expected { expected: "`items`", at: body.len() }))?;
    Ok(Page { items, next, version: version.ok_or(AnswerError::NoVersion)? })
}

/// Cuts a line of a watch.
///
/// # Errors
/// When it is no event.
pub fn line(line: &Bytes) -> Result<Line, AnswerError> {
    let (mut kind, mut object) = (None, None);
    let mut cursor = Cursor::new(line);
    let cut = cursor.object(|key, cursor| -> Result<(), CutError> {
        let value = cursor.value()?;
        match key {
            b"type" => kind = text(value),
            b"object" => object = Some(line.slice_ref(value)),
            _ => {}
        }
        Ok(())
    });
    let unexpected = |error| AnswerError::Unexpected { expected: "event", error };
    cut.and_then(|()| cursor.end()).map_err(unexpected)?;
    let status = |bytes: &[u8]| object::decode(bytes).map(|raw| Status::read(raw.value())).unwrap_or_default();
    let (kind, object) = match (kind, object) {
        (Some(kind), Some(object)) => (kind, object),
        // The API server gave up in the middle.
        _ => return Ok(Line::Error(status(line))),
    };
    Ok(match kind.as_str() {
        "ADDED" | "MODIFIED" => Line::Apply(object),
        "DELETED" => Line::Delete(object),
        "BOOKMARK" => Line::Bookmark(object::Address::read(&object).map_err(unexpected)?.version),
        "ERROR" => Line::Error(status(&object)),
        _ => Line::Other,
    })
}

/// A text that is not empty.
fn text(value: &[u8]) -> Option<String> {
    serde_json::from_slice(value).ok().filter(|text: &String| !text.is_empty())
}

/// All of a body.
async fn whole(mut body: Body) -> Result<Bytes, AnswerError> {
    let gather = async {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut all = Vec::with_capacity(announced.min(MAX_BYTES));
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|error| AnswerError::transport(&error))?.into_data().unwrap_or_default();
            if all.len() + data.len() > MAX_BYTES {
                return Err(AnswerError::TooLarge(MAX_BYTES));
            }
            all.extend_from_slice(&data);
        }
        Ok(all.into())
    };
    let late = |_| AnswerError::Transport(format!("no whole answer within {} s", WHOLE.as_secs()));
    tokio::time::timeout(WHOLE, gather).await.map_err(late)?
}

/// The beginning of a body, as far as it comes.
async fn beginning(mut body: Body) -> Vec<u8> {
    let mut all = Vec::new();
    let gather = async {
        while let Some(Ok(frame)) = body.frame().await
            && all.len() < MAX_STATUS
        {
            all.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    };
    // The code says the most of it.
    let _ = tokio::time::timeout(WHOLE, gather).await;
    all.truncate(MAX_STATUS);
    all
}

/// As one line that is not too long.
fn words(text: &str) -> String {
    escaped(&cut(text.trim(), MAX_MESSAGE, Unit::Bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::{Answer, Then, server};
    use super::*;
    use crate::runtime::telemetry::causes;

    const JOBS: Kind = Kind::namespaced("batch", "v1", "Job", "jobs");

    async fn failed(answer: Answer) -> AnswerError {
        let (client, _) = server(vec![answer]);
        Reader::new(client).get(&JOBS, Some("shop"), "nightly").await.unwrap_err()
    }

    fn refused(code: u16, message: &str, seconds: u64) -> AnswerError {
        let retry_after = Duration::from_secs(seconds);
        AnswerError::Status(Status { code, message: message.to_owned(), retry_after })
    }

    #[tokio::test]
    async fn an_object_is_read_by_its_name_whatever_is_in_its_managed_fields() {
        let deep = format!("{}1{}", r#"{"x":"#.repeat(200), "}".repeat(200));
        let object = |more: &str| {
            Answer::new(200, format!(r#"{{"metadata":{{"name":"nightly","managedFields":[{deep}]}}{more}}}"#))
        };
        let deep_spec = format!(r#","spec":{deep}"#);
        let (client, asked) = server(vec![object(""), object(&deep_spec), Answer::new(404, "")]);
        let reader = Reader::new(client);
        let get = || reader.get(&JOBS, Some("shop"), "nightly");
        assert!(matches!(get().await, Ok(Some(Item::Object(_)))));
        assert!(matches!(get().await, Ok(Some(Item::Unreadable(_)))));
        assert!(get().await.unwrap().is_none());
        assert_eq!(asked.lock().unwrap()[0], "/apis/batch/v1/namespaces/shop/jobs/nightly");
        for (namespace, name) in [("shop", "a/b"), ("shop?", "x")] {
            let error = reader.get(&JOBS, Some(namespace), name).await.unwrap_err();
            assert!(matches!(error, AnswerError::Name(_)), "{error:?}");
        }
        assert_eq!(asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn answers_with_an_error_are_understood_whatever_stands_in_them() {
        let status = |more: serde_json::Value| {
            let mut status = json!({"kind": "Status", "message": "not now\nplease", "code": 1});
            status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            status.to_string()
        };
        let later = status(json!({"details": {"retryAfterSeconds": 3}}));
        assert_eq!(failed(Answer::new(429, later)).await, refused(429, "not now\\nplease", 3));
        let odd = status(json!({"message": 7, "details": [], "code": "x"}));
        assert_eq!(failed(Answer::new(503, odd)).await, refused(503, "Service Unavailable", 0));
        assert_eq!(failed(Answer::new(500, "proxy\tis sad")).await, refused(500, "proxy\\tis sad", 0));
        assert_eq!(failed(Answer::new(500, b"\xff".to_vec())).await, refused(500, "\u{fffd}", 0));
        assert_eq!(failed(Answer::new(301, "")).await, refused(301, "Moved Permanently", 0));
        let AnswerError::Status(long) = failed(Answer::new(500, vec![b'x'; MAX_STATUS * 2])).await else { panic!() };
        assert!(long.message.len() == MAX_MESSAGE && long.message.ends_with("x…"), "{}", long.message);
        let half = Answer::new(403, "half").then(Then::Break);
        assert_eq!(failed(half).await, refused(403, "half", 0));
    }

    #[tokio::test]
    async fn what_is_no_object_and_what_breaks_off_is_an_error() {
        for text in ["7", "", "{\"metadata\":{}}"] {
            assert!(matches!(failed(Answer::new(200, text)).await, AnswerError::Unexpected { .. }), "{text}");
        }
        let broken = failed(Answer::new(200, "{\"meta").then(Then::Break)).await;
        assert_eq!(broken, AnswerError::Transport("ServiceError: connection reset".to_owned()));
        let huge = failed(Answer::new(200, vec![b' '; MAX_BYTES + 1])).await;
        assert_eq!(huge, AnswerError::TooLarge(MAX_BYTES));
    }

    #[test]
    fn a_delay_is_read_from_the_header_too() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        let status = Status::of(StatusCode::TOO_MANY_REQUESTS, &headers, b"Too many requests");
        assert_eq!(AnswerError::Status(status), refused(429, "Too many requests", 7));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(Status::of(StatusCode::OK, &headers, b"").retry_after, Duration::ZERO);
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
}
