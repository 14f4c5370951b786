//! An API server for tests, of the few requests that keep single, named objects: get, merge patch and apply, with
//! optimistic concurrency.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use axum::http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// Objects by their path.
#[derive(Default)]
pub struct FakeApi {
    inner: Mutex<Inner>,
    /// Readers of this path wait for each other, so that all of them have read before any of them writes.
    gate: Mutex<Option<(String, Arc<Barrier>)>>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<String, Value>,
    writes: Vec<String>,
    /// When the last write was taken.
    written: Option<(Instant, SystemTime)>,
    created: Vec<(String, Value)>,
    refused: BTreeMap<String, u16>,
}

impl FakeApi {
    pub fn new() -> Arc<FakeApi> {
        Arc::default()
    }

    pub fn client(self: &Arc<FakeApi>) -> Client {
        let api = Arc::clone(self);
        let service = tower::service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Stores an object, as somebody else would.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut inner = self.inner.lock().unwrap();
        inner.version += 1;
        object["metadata"]["resourceVersion"] = json!(inner.version.to_string());
        inner.objects.insert(path.to_owned(), object);
    }

    pub fn get(&self, path: &str) -> Value {
        self.inner.lock().unwrap().objects[path].clone()
    }

    /// The paths that were written to, in order.
    pub fn writes(&self) -> Vec<String> {
        self.inner.lock().unwrap().writes.clone()
    }

    /// When the last write was taken, by both clocks.
    pub fn written(&self) -> (Instant, SystemTime) {
        self.inner.lock().unwrap().written.unwrap()
    }

    /// What was created, with the paths, in order. It is not stored.
    pub fn created(&self) -> Vec<(String, Value)> {
        self.inner.lock().unwrap().created.clone()
    }

    /// Answers writes of `path` with this code from now on, or takes them again.
    pub fn refuse(&self, path: &str, code: Option<u16>) {
        let refused = &mut self.inner.lock().unwrap().refused;
        match code {
            Some(code) => drop(refused.insert(path.to_owned(), code)),
            None => drop(refused.remove(path)),
        }
    }

    /// Lets the next `readers` of `path` wait for each other, once.
    pub fn race(&self, path: &str, readers: usize) {
        *self.gate.lock().unwrap() = Some((path.to_owned(), Arc::new(Barrier::new(readers))));
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if parts.method == Method::POST {
            let object: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            self.inner.lock().unwrap().created.push((path, object.clone()));
            return full(201, &object);
        }
        let Some(object) = self.inner.lock().unwrap().objects.get(&path).cloned() else { return failure(404) };
        if parts.method == Method::GET {
            let gate = self.gate.lock().unwrap().clone().filter(|(at, _)| *at == path);
            if let Some((_, barrier)) = gate
                && barrier.wait().await.is_leader()
            {
                *self.gate.lock().unwrap() = None;
            }
            return full(200, &object);
        }
        assert_eq!(parts.method, Method::PATCH);
        let patch: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        let mut inner = self.inner.lock().unwrap();
        if let Some(code) = inner.refused.get(&path) {
            return failure(*code);
        }
        let mut object = inner.objects[&path].clone();
        let expected = patch["metadata"].get("resourceVersion");
        if expected.is_some_and(|expected| *expected != object["metadata"]["resourceVersion"]) {
            return failure(409);
        }
        merge(&mut object, patch);
        inner.version += 1;
        object["metadata"]["resourceVersion"] = json!(inner.version.to_string());
        inner.objects.insert(path.clone(), object.clone());
        inner.writes.push(path);
        inner.written = Some((Instant::now(), SystemTime::now()));
        full(200, &object)
    }
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

fn failure(code: u16) -> Response<Full<Bytes>> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Test"});
    full(code, &status)
}

fn full(code: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::new(Bytes::from(body.to_string()))).unwrap()
}
