//! A fake of the API server for tests, with as much of it as this program asks for: lists in pages, watches, gets, patches
//! with optimistic concurrency, applied statuses, and Events.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// The API server: what it stores, and who watches.
#[derive(Default)]
pub struct FakeApi {
    inner: Mutex<Inner>,
}

/// A patch that was taken.
#[derive(Clone, Debug)]
pub struct Write {
    pub path: String,
    pub manager: String,
    pub body: Value,
    /// When, by both clocks.
    pub taken: (Instant, SystemTime),
}

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<Key, Stored>,
    watches: Vec<(String, UnboundedSender<Vec<u8>>)>,
    /// Resources that are there in these versions alone.
    served: BTreeMap<String, Vec<String>>,
    /// Requests for a resource that are answered with this code.
    codes: BTreeMap<(Requests, String), u16>,
    /// Readers of an object of this resource wait for each other, so that all have read before any of them writes.
    gate: Option<(String, Arc<Barrier>)>,
    /// The label selectors that were asked for, by resource.
    selectors: BTreeMap<String, BTreeSet<String>>,
    writes: Vec<Write>,
    told: Vec<Value>,
}

/// Resource, namespace and name.
type Key = (String, String, String);

/// An object as it is stored: an API server keeps bytes that no parser here takes.
#[derive(Clone)]
struct Stored {
    bytes: Vec<u8>,
    version: u64,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Requests {
    All,
    Watches,
    Writes,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Stands in [`FakeApi::put_bytes`] where the version is to be.
pub const VERSION: &str = "@version@";

impl FakeApi {
    pub fn new() -> Arc<FakeApi> {
        Arc::default()
    }

    /// A client that talks to this.
    pub fn client(self: &Arc<FakeApi>) -> Client {
        let api = Arc::clone(self);
        let service = tower::service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.answer_to(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores an object, as somebody else would, and tells the watches.
    pub fn put(&self, resource: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = VERSION.into();
        self.lock().put(key(resource, &object), object.to_string().as_bytes());
    }

    /// Stores an object as these bytes, in which [`VERSION`] is replaced, and tells the watches.
    pub fn put_bytes(&self, resource: &str, namespace: &str, name: &str, bytes: &[u8]) {
        self.lock().put((resource.to_owned(), namespace.to_owned(), name.to_owned()), bytes);
    }

    /// The same for many at once: the watches get all of them in one piece.
    pub fn put_burst(&self, resource: &str, objects: Vec<(String, String, Vec<u8>)>) {
        let mut inner = self.lock();
        let watches = std::mem::take(&mut inner.watches);
        let mut burst = Vec::new();
        for (namespace, name, bytes) in objects {
            burst.extend(inner.put((resource.to_owned(), namespace, name), &bytes));
        }
        inner.watches = watches;
        inner.send(resource, &burst);
    }

    /// An object as it is now; it has to be there.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Value {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        serde_json::from_slice(&self.lock().objects[&key].bytes).unwrap()
    }

    /// Deletes an object and tells the watches.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut inner = self.lock();
        inner.version += 1;
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let stored = inner.objects.remove(&key).expect("deletes what is there");
        let (before, now) = (stored.version.to_string(), inner.version.to_string());
        // As it was, but for the version.
        let quoted = |version: &str| format!("\"resourceVersion\":\"{version}\"");
        let bytes = replaced(&stored.bytes, quoted(&before).as_bytes(), quoted(&now).as_bytes());
        inner.tell(resource, "DELETED", &bytes);
    }

    /// From now on, requests for this resource are answered with this code; 200 is the normal life.
    pub fn answer(&self, resource: &str, code: u16) {
        self.lock().codes.insert((Requests::All, resource.to_owned()), code);
    }

    /// The same for watches alone, before they begin.
    pub fn answer_watches(&self, resource: &str, code: u16) {
        self.lock().codes.insert((Requests::Watches, resource.to_owned()), code);
    }

    /// The same for patches alone.
    pub fn answer_writes(&self, resource: &str, code: u16) {
        self.lock().codes.insert((Requests::Writes, resource.to_owned()), code);
    }

    /// From now on, this resource is there in these versions of its group alone.
    pub fn serve(&self, resource: &str, versions: &[&str]) {
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        self.lock().served.insert(resource.to_owned(), versions);
    }

    /// Ends the watches of this resource as an API server does that forgot the past.
    pub fn forget(&self, resource: &str) {
        let mut inner = self.lock();
        inner.tell(resource, "ERROR", status(410).to_string().as_bytes());
        inner.watches.retain(|(other, _)| other != resource);
    }

    /// Ends the watches of this resource without a word.
    pub fn hang_up(&self, resource: &str) {
        self.lock().watches.retain(|(other, _)| other != resource);
    }

    /// Lets the next `readers` of an object of this resource wait for each other, once.
    pub fn race(&self, resource: &str, readers: usize) {
        self.lock().gate = Some((resource.to_owned(), Arc::new(Barrier::new(readers))));
    }

    /// The label selectors that lists and watches of this resource asked for.
    pub fn selectors(&self, resource: &str) -> Vec<String> {
        self.lock().selectors.get(resource).into_iter().flatten().cloned().collect()
    }

    /// The patches that were taken, in order, without those of Events.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    /// The Events that were created, in order.
    pub fn told(&self) -> Vec<Value> {
        self.lock().told.clone()
    }

    /// The Events as they are now, with their counts.
    pub fn events(&self) -> Vec<Value> {
        self.lock().of("events").iter().map(|stored| serde_json::from_slice(&stored.bytes).unwrap()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer_to(&self, request: Request<kube::client::Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (answer, gate) = self.lock().answer_to(&parts, &body);
        if let Some(gate) = gate
            && gate.wait().await.is_leader()
        {
            self.lock().gate = None;
        }
        answer
    }
}

impl Inner {
    /// The answer, and what is waited for before it leaves.
    fn answer_to(&mut self, parts: &Parts, body: &[u8]) -> (Answer, Option<Arc<Barrier>>) {
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let (version, rest) = if path[0] == "api" { (path[1], &path[2..]) } else { (path[2], &path[3..]) };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let query: BTreeMap<&str, &str> =
            parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
        let is_served = self.served.get(rest[0]).is_none_or(|versions| versions.iter().any(|one| one == version));
        let code = if is_served { self.code(Requests::All, rest[0]) } else { 404 };
        if code != 200 {
            return (failure(code), None);
        }
        if let ([resource], Some(selector)) = (rest, query.get("labelSelector")) {
            self.selectors.entry((*resource).to_owned()).or_default().insert((*selector).to_owned());
        }
        let key = |resource: &str, name: &str| (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let answer = match (&parts.method, rest) {
            (&Method::POST, ["events"]) => self.create_event(parts.uri.path(), body),
            (&Method::GET, [resource]) if query.get("watch") == Some(&"true") => self.watch(resource, &query),
            (&Method::GET, [resource]) => self.list(resource, &query),
            (&Method::GET, [resource, name]) => {
                let Some(stored) = self.objects.get(&key(resource, name)) else { return (failure(404), None) };
                let gate = self.gate.as_ref().filter(|(of, _)| of == resource).map(|(_, gate)| Arc::clone(gate));
                return (answer(200, stored.bytes.clone()), gate);
            }
            (&Method::PATCH, [resource, name, subresource @ ..]) => {
                self.patch(key(resource, name), subresource, parts, &query, body)
            }
            other => panic!("nothing of this program asks for {other:?}"),
        };
        (answer, None)
    }

    fn list(&self, resource: &str, query: &BTreeMap<&str, &str>) -> Answer {
        let objects = self.of(resource);
        let begin: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
        let end = objects.len().min(begin + query["limit"].parse::<usize>().unwrap());
        let next = if end < objects.len() { end.to_string() } else { String::new() };
        // As the real one does, the items of a list have no kind.
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": next});
        let mut list = format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":["#).into_bytes();
        let items: Vec<&[u8]> = objects[begin..end].iter().map(|object| &object.bytes[..]).collect();
        list.extend(items.join(&b','));
        list.extend(b"]}\n");
        answer(200, list)
    }

    fn watch(&mut self, resource: &str, query: &BTreeMap<&str, &str>) -> Answer {
        let code = self.code(Requests::Watches, resource);
        if code != 200 {
            return failure(code);
        }
        let (sender, receiver) = unbounded();
        // What happened between the list and this watch.
        let since: u64 = query["resourceVersion"].parse().unwrap();
        for object in self.of(resource).iter().filter(|object| object.version > since) {
            sender.unbounded_send(line("ADDED", &object.bytes)).unwrap();
        }
        self.watches.push((resource.to_owned(), sender));
        let frames = receiver.map(|line| Ok(Frame::data(Bytes::from(line))));
        Response::new(BodyExt::boxed(StreamBody::new(frames)))
    }

    fn create_event(&mut self, path: &str, body: &[u8]) -> Answer {
        let event: Value = serde_json::from_slice(body).unwrap();
        let key = key("events", &event);
        assert_eq!(path, format!("/apis/events.k8s.io/v1/namespaces/{}/events", key.1), "an Event goes where it is of");
        assert!(!self.objects.contains_key(&key), "two Events of one name");
        self.put(key, body);
        self.told.push(event.clone());
        answer(201, event.to_string())
    }

    /// A merge patch, and an apply as if it were one: no later apply leaves out what an earlier one said, but for statuses,
    /// which are what was applied last.
    fn patch(
        &mut self,
        key: Key,
        subresource: &[&str],
        parts: &Parts,
        query: &BTreeMap<&str, &str>,
        body: &[u8],
    ) -> Answer {
        let code = self.code(Requests::Writes, &key.0);
        if code != 200 {
            return failure(code);
        }
        let Some(stored) = self.objects.get(&key).cloned() else { return failure(404) };
        let patch: Value = serde_json::from_slice(body).unwrap();
        let object = serde_json::from_slice::<Value>(&stored.bytes);
        let now = object.as_ref().map_or(&Value::Null, |object| &object["metadata"]["resourceVersion"]);
        if patch["metadata"].get("resourceVersion").is_some_and(|expected| expected != now) {
            return failure(409);
        }
        let is_apply = parts.headers["content-type"] == "application/apply-patch+yaml";
        assert_eq!(is_apply, query.get("force") == Some(&"true"), "what is applied is ours, whoever had it");
        if key.0 != "events" {
            let (path, manager) = (parts.uri.path().to_owned(), query["fieldManager"].to_owned());
            let taken = (Instant::now(), SystemTime::now());
            self.writes.push(Write { path, manager, body: patch.clone(), taken });
        }
        // What does not decode here is stored as it was, and so is answered with.
        let Ok(mut object) = object else { return answer(200, stored.bytes) };
        match subresource {
            [] => merge(&mut object, patch),
            ["status"] => {
                assert!(is_apply, "a status is applied");
                object["status"] = patch["status"].clone();
            }
            other => panic!("nothing of this program writes {other:?}"),
        }
        object["metadata"]["resourceVersion"] = VERSION.into();
        self.put(key.clone(), object.to_string().as_bytes());
        answer(200, self.objects[&key].bytes.clone())
    }

    fn code(&self, requests: Requests, resource: &str) -> u16 {
        self.codes.get(&(requests, resource.to_owned())).copied().unwrap_or(200)
    }

    fn of(&self, resource: &str) -> Vec<Stored> {
        self.objects.iter().filter(|((of, ..), _)| of == resource).map(|(_, object)| object.clone()).collect()
    }

    /// Returns the line of a watch about it.
    fn put(&mut self, key: Key, bytes: &[u8]) -> Vec<u8> {
        self.version += 1;
        let version = self.version;
        let bytes = replaced(bytes, VERSION.as_bytes(), version.to_string().as_bytes());
        let resource = key.0.clone();
        let known = self.objects.insert(key, Stored { bytes: bytes.clone(), version }).is_some();
        self.tell(&resource, if known { "MODIFIED" } else { "ADDED" }, &bytes)
    }

    fn tell(&mut self, resource: &str, event: &str, object: &[u8]) -> Vec<u8> {
        let line = line(event, object);
        self.send(resource, &line);
        line
    }

    fn send(&mut self, resource: &str, bytes: &[u8]) {
        self.watches.retain(|(of, watch)| of != resource || watch.unbounded_send(bytes.to_vec()).is_ok());
    }
}

fn key(resource: &str, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (resource.to_owned(), text("namespace"), text("name"))
}

fn line(event: &str, object: &[u8]) -> Vec<u8> {
    [format!(r#"{{"type":"{event}","object":"#).as_bytes(), object, b"}\n"].concat()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Merges as RFC 7386 says, and lists whose items have a name by that name.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(target), Value::Array(patch)) => {
            for value in patch {
                match target.iter_mut().find(|item| item["name"] == value["name"]) {
                    Some(item) => merge(item, value),
                    None => target.push(value),
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": "no", "reason": "No"})
}

fn failure(code: u16) -> Answer {
    answer(code, status(code).to_string())
}

fn answer(code: u16, body: impl Into<Bytes>) -> Answer {
    let body = BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(body.into()))])));
    Response::builder().status(code).body(body).unwrap()
}
