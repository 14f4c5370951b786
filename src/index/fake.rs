//! An API server for tests, of the few requests that this program makes: lists in pages, watches, gets, apply of a
//! status, and Events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{Request, Response};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use serde_json::{Value, json};

/// The API server: what it stores, and who watches.
#[derive(Default)]
pub struct FakeApi {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    /// By resource, namespace and name.
    objects: BTreeMap<(String, String, String), Stored>,
    watches: Vec<(String, UnboundedSender<Vec<u8>>)>,
    /// Resources that are there in these versions alone.
    served: BTreeMap<String, Vec<String>>,
    /// Resources that answer with this code.
    codes: BTreeMap<String, u16>,
    /// Resources whose watches, and those alone, answer with this code.
    refused_watches: BTreeMap<String, u16>,
    /// The label selectors that were asked for, by resource.
    selectors: BTreeMap<String, BTreeSet<String>>,
    applied: Vec<(String, Value)>,
    told: Vec<Value>,
}

/// An object as it is stored: an API server keeps bytes that no parser here takes.
#[derive(Clone)]
struct Stored {
    bytes: Vec<u8>,
    version: u64,
}

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
            async move { Ok::<_, std::convert::Infallible>(api.answer_to(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores an object and tells the watches.
    pub fn put(&self, resource: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = VERSION.into();
        let (_, namespace, name) = key(resource, &object);
        self.put_bytes(resource, &namespace, &name, object.to_string().as_bytes());
    }

    /// Stores an object as these bytes, in which [`VERSION`] is replaced, and tells the watches.
    pub fn put_bytes(&self, resource: &str, namespace: &str, name: &str, bytes: &[u8]) {
        self.lock().put(resource, namespace, name, bytes);
    }

    /// The same for many at once: the watches get all of them in one piece.
    pub fn put_burst(&self, resource: &str, objects: Vec<(String, String, Vec<u8>)>) {
        let mut inner = self.lock();
        let watches = std::mem::take(&mut inner.watches);
        let mut burst = Vec::new();
        for (namespace, name, bytes) in objects {
            burst.extend(inner.put(resource, &namespace, &name, &bytes));
        }
        inner.watches = watches;
        inner.send(resource, &burst);
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
        self.lock().codes.insert(resource.to_owned(), code);
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

    /// From now on, watches of this resource are answered with this code before they begin.
    pub fn refuse_watches(&self, resource: &str, code: Option<u16>) {
        let mut inner = self.lock();
        match code {
            Some(code) => inner.refused_watches.insert(resource.to_owned(), code),
            None => inner.refused_watches.remove(resource),
        };
    }

    /// Ends the watches of this resource without a word.
    pub fn hang_up(&self, resource: &str) {
        self.lock().watches.retain(|(other, _)| other != resource);
    }

    /// The label selectors that lists and watches of this resource asked for.
    pub fn selectors(&self, resource: &str) -> Vec<String> {
        self.lock().selectors.get(resource).into_iter().flatten().cloned().collect()
    }

    /// What was applied to statuses, in order: path and body.
    pub fn applied(&self) -> Vec<(String, Value)> {
        self.lock().applied.clone()
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

    async fn answer_to(
        &self,
        request: Request<kube::client::Body>,
    ) -> Response<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>> {
        let (parts, body) = request.into_parts();
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let rest = if path[0] == "api" { &path[2..] } else { &path[3..] };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let query: BTreeMap<&str, &str> =
            parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
        let body = body.collect().await.unwrap().to_bytes();
        let mut inner = self.lock();
        let is_served = inner.served.get(rest[0]).is_none_or(|versions| versions.iter().any(|one| one == path[2]));
        let code = if is_served { inner.codes.get(rest[0]).copied().unwrap_or(200) } else { 404 };
        if code != 200 {
            return full(code, status(code));
        }
        if let ([resource], Some(selector)) = (rest, query.get("labelSelector")) {
            inner.selectors.entry((*resource).to_owned()).or_default().insert((*selector).to_owned());
        }
        match rest {
            ["events"] if parts.method == "POST" => {
                let event: Value = serde_json::from_slice(&body).unwrap();
                let key = key("events", &event);
                assert_eq!(key.1, namespace, "an Event is in the namespace that it is posted to");
                assert!(!inner.objects.contains_key(&key), "two Events of one name");
                inner.put("events", &key.1, &key.2, &body);
                inner.told.push(event.clone());
                full(201, event)
            }
            ["events", name] if parts.method == "PATCH" => {
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let key = ("events".to_owned(), namespace.to_owned(), (*name).to_owned());
                let Some(event) = inner.objects.get_mut(&key) else { return full(404, status(404)) };
                let mut value: Value = serde_json::from_slice(&event.bytes).unwrap();
                value["series"] = patch["series"].clone();
                event.bytes = value.to_string().into_bytes();
                full(200, value)
            }
            [resource] if query.get("watch") == Some(&"true") => {
                if let Some(code) = inner.refused_watches.get(*resource) {
                    return full(*code, status(*code));
                }
                let (sender, receiver) = unbounded();
                // What happened between the list and this watch.
                let since: u64 = query["resourceVersion"].parse().unwrap();
                for object in inner.of(resource).iter().filter(|object| object.version > since) {
                    sender.unbounded_send(line("ADDED", &object.bytes)).unwrap();
                }
                inner.watches.push(((*resource).to_owned(), sender));
                let frames = receiver.map(|line| Ok(Frame::data(Bytes::from(line))));
                Response::new(BodyExt::boxed(StreamBody::new(frames)))
            }
            [resource] => {
                let objects = inner.of(resource);
                let begin: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
                let end = objects.len().min(begin + query["limit"].parse::<usize>().unwrap());
                let next = if end < objects.len() { end.to_string() } else { String::new() };
                // As the real one does, the items of a list have no kind.
                let metadata = json!({"resourceVersion": inner.version.to_string(), "continue": next});
                let mut list =
                    format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":["#).into_bytes();
                let items: Vec<&[u8]> = objects[begin..end].iter().map(|object| &object.bytes[..]).collect();
                list.extend(items.join(&b','));
                list.extend(b"]}\n");
                whole(200, list)
            }
            [resource, name, rest @ ..] => {
                let key = ((*resource).to_owned(), namespace.to_owned(), (*name).to_owned());
                let Some(stored) = inner.objects.get(&key).cloned() else { return full(404, status(404)) };
                if parts.method != "PATCH" {
                    return whole(200, stored.bytes);
                }
                assert_eq!(rest, ["status"], "nothing but the status is written");
                assert_eq!(parts.headers["content-type"], "application/apply-patch+yaml");
                assert_eq!((query["fieldManager"], query["force"]), ("ecr-access-controller", "true"));
                let body: Value = serde_json::from_slice(&body).unwrap();
                inner.applied.push((parts.uri.path().to_owned(), body.clone()));
                // What does not decode here is stored as it was, and so is answered with.
                let Ok(mut object) = serde_json::from_slice::<Value>(&stored.bytes) else {
                    return whole(200, stored.bytes);
                };
                object["status"] = body["status"].clone();
                object["metadata"]["resourceVersion"] = VERSION.into();
                inner.put(resource, &key.1, &key.2, object.to_string().as_bytes());
                whole(200, inner.objects[&key].bytes.clone())
            }
            [] => full(404, status(404)),
        }
    }
}

impl Inner {
    fn of(&self, resource: &str) -> Vec<Stored> {
        self.objects.iter().filter(|((of, ..), _)| of == resource).map(|(_, object)| object.clone()).collect()
    }

    /// Returns the line of a watch about it.
    fn put(&mut self, resource: &str, namespace: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
        self.version += 1;
        let version = self.version;
        let bytes = replaced(bytes, VERSION.as_bytes(), version.to_string().as_bytes());
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let known = self.objects.insert(key, Stored { bytes: bytes.clone(), version }).is_some();
        self.tell(resource, if known { "MODIFIED" } else { "ADDED" }, &bytes)
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

/// A policy that decodes.
pub fn policy(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": "2026-11-23T00:00:00Z"
        },
        "spec": {"puller": {"nodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity": {"policies": [{"name": "pull", "document": {
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]
        }}]}}]}}
    })
}

fn key(resource: &str, object: &Value) -> (String, String, String) {
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

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": "no", "reason": "No"})
}

fn full(code: u16, value: Value) -> Response<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>> {
    whole(code, value.to_string().into_bytes())
}

fn whole(code: u16, bytes: Vec<u8>) -> Response<http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>> {
    let frame = Ok(Frame::data(Bytes::from(bytes)));
    let body = BodyExt::boxed(StreamBody::new(stream::iter([frame])));
    Response::builder().status(code).body(body).unwrap()
}
