//! What the fuzz targets do with their bytes. Shared with `tests/it/fuzz.rs`, which replays the corpus on a stable
//! compiler.
//!
//! Each takes its bytes twice: as they are, and as the plan of a JSON text that is right but for its depth and for bytes
//! that are no UTF-8. Whatever holds such a text must be taken apart.

use ecr_access::runtime::watch::decode_error::DecodeError;
use ecr_access::runtime::watch::object::{Address, Item, decode};
use ecr_access::runtime::watch::place;
use ecr_access::runtime::watch::prune::pruned;
use ecr_access::runtime::watch::reader::{Line, line, page};
use ecr_access::webhook::Webhook;
use ecr_access::webhook::message::Request;
use ecr_access::webhook::policies;
use ecr_access::webhook::review_input::ReviewInput;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;

/// Bytes of an answer at most, escaped.
const LONGEST_ANSWER: usize = 6 * (64 << 10);

/// A page of a list: each element is returned, in order and byte for byte, and decodes as everywhere else.
pub fn list_page(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let Ok(page) = page(&body) {
        page.items.iter().for_each(|item| an_object(item));
        // Where all of it decodes, it is the same list.
        if let Some(items) = plain(data).as_ref().and_then(|list| list.get("items")?.as_array().cloned()) {
            assert_eq!(page.items.len(), items.len());
            for (bytes, item) in page.items.iter().zip(&items) {
                assert_eq!(&serde_json::from_slice::<Value>(bytes).expect("a part of what decodes"), item);
            }
        }
    }
    let elements: Vec<Vec<u8>> = data.split(|byte| *byte == b'\n').map(grown).collect();
    let head = r#" {"kind":"PodList", "metadata":{"x":{"resourceVersion":"no"},"resourceVersion":"7" ,"continue":"next"},"items" :[ "#;
    let list = joined(&[head.as_bytes(), &elements.join(&b" ,\n"[..]), b"] }\n"]);
    let page = page(&list).expect("it is a list");
    assert_eq!((page.version.as_str(), page.next.as_deref()), ("7", Some("next")));
    assert_eq!(page.items, elements);
    // The others are the same bytes; a list of thousands, each looked at everywhere, is one run that could be thousands.
    if let Some(element) = elements.get(data.len() % elements.len()) {
        everywhere(element);
    }
}

/// A line of a watch: the object is the one that was sent, byte for byte.
pub fn watch_line(data: &[u8]) {
    if let Ok(Line::Apply(object) | Line::Delete(object)) = line(&Bytes::copy_from_slice(data)) {
        an_object(&object);
        assert!(data.windows(object.len()).any(|part| part == object));
    }
    let (first, object) = match data.split_first() {
        Some((first, rest)) => (*first, grown(rest)),
        None => (0, grown(data)),
    };
    let kind = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "NEW"][usize::from(first) % 6];
    let told = format!(r#""type":"{kind}""#);
    let text = match first % 2 {
        0 => joined(&[b"{", told.as_bytes(), b",\"object\":", &object, b"}"]),
        _ => joined(&[b"{\"object\" : ", &object, b" ,", told.as_bytes(), b"}"]),
    };
    match (kind, line(&text)) {
        ("ADDED" | "MODIFIED", Ok(Line::Apply(bytes))) | ("DELETED", Ok(Line::Delete(bytes))) => {
            assert_eq!(bytes, object);
        }
        ("BOOKMARK", Ok(Line::Bookmark(version))) => {
            assert_eq!(version, Address::read(&object).expect("an object").version);
        }
        // What is told of is no object.
        ("BOOKMARK", Err(_)) => assert!(Address::read(&object).is_err()),
        ("ERROR", Ok(Line::Error(_))) | ("NEW", Ok(Line::Other)) => {}
        (kind, other) => panic!("{kind}: {other:?}"),
    }
    everywhere(&object);
}

/// A review: the question is read whatever stands in its objects, which are the bytes that were sent, and it is answered.
pub fn review(data: &[u8]) {
    if let Ok(request) = Request::parse(&Bytes::copy_from_slice(data)) {
        an_answer(&request);
        if let Some(review) = plain(data) {
            assert_eq!(review["request"]["uid"], request.uid);
        }
    }
    let (first, rest) = data.split_first().unwrap_or((&0, data));
    let (object, old) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(at) => (grown(&rest[..at]), grown(&rest[at..])),
        None => (grown(rest), grown(&[])),
    };
    let operation = ["CREATE", "UPDATE", "DELETE"][usize::from(*first) % 3];
    let (group, kind) = KINDS[usize::from(*first) / 3 % KINDS.len()];
    let head = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1","kind":{{"group":"{group}","kind":"{kind}"}},"operation":"{operation}","namespace":"a","userInfo":"#
    );
    let (before, behind) = (b",\"object\":", b", \"oldObject\": ");
    let text = joined(&[head.as_bytes(), &old, before, &object, behind, &old, b" ,\"name\":", &old, b"}}"]);
    let request = Request::parse(&text).expect("a question with a uid");
    assert_eq!((request.uid.as_str(), request.kind.kind.as_str()), ("u-1", kind));
    assert_eq!((&request.object, &request.old_object), (&Bytes::from(object.clone()), &Bytes::from(old)));
    an_answer(&request);
    everywhere(&object);
}

const KINDS: [(&str, &str); 5] = [
    ("", "Pod"),
    ("apps", "Deployment"),
    ("ecraccess.dev", "EcrAccessPolicy"),
    ("ecraccess.dev", "ClusterEcrAccessPolicy"),
    ("batch", "CronJob"),
];

/// An object decodes in a review exactly where it decodes in a page and in a line of a watch: there is one function, and
/// all of them hand it the same bytes.
fn everywhere(object: &[u8]) {
    an_object(object);
    let list = joined(&[b"{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[", object, b"]}"]);
    let event = joined(&[b"{\"type\":\"ADDED\",\"object\":", object, b"}"]);
    let head = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","object":"#;
    let asked = joined(&[head.as_bytes(), object, b"}}"]);
    let page = page(&list).expect("it is a list");
    let Ok(Line::Apply(event)) = line(&event) else { panic!("it is an event") };
    let request = Request::parse(&asked).expect("it is a review");
    let expected = decoded(object);
    assert_eq!(request.decoded().map(|raw| raw.value().clone()), expected);
    assert_eq!((decoded(&page.items[0]), decoded(&event)), (expected.clone(), expected));
}

fn joined(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn decoded(object: &[u8]) -> Result<Value, DecodeError> {
    decode(object).map(|raw| raw.value().clone())
}

/// What is known of the bytes of an object, whether they decode or not, does not contradict itself.
fn an_object(bytes: &[u8]) {
    let item = Item::decode(bytes);
    match decode(bytes) {
        Ok(raw) => {
            assert_eq!(item.as_ref().map(|item| item.raw().value()), raw.name().map(|_| raw.value()));
            let rest = pruned(bytes).expect("what decodes is read, too, without what is deep");
            if depth(bytes) < 100 && !bytes.windows(LAST_APPLIED.len()).any(|part| part == LAST_APPLIED) {
                assert_eq!(&rest, raw.value());
            }
            // An escape in a key is a key to the one and none to the other.
            if raw.value().is_object() && !bytes.contains(&b'\\') {
                let address = Address::read(bytes).expect("it is an object");
                let text = |field: &str| raw.value().get("metadata")?.get(field)?.as_str().map(str::to_owned);
                let [name, namespace, uid, version] = ["name", "namespace", "uid", "resourceVersion"].map(text);
                assert_eq!(address, Address { name, namespace, uid, version });
            }
        }
        Err(error) => {
            assert!(matches!(item, None | Some(Item::Unreadable(_))));
            let path = place::path(bytes, error);
            assert!(path.len() < 4096 && !path.contains(char::is_control), "{path}");
        }
    }
}

const LAST_APPLIED: &[u8] = b"last-applied-configuration";

/// Whatever is asked, the answer is one that the API server reads, and a deletion is never refused.
fn an_answer(request: &Request) {
    for webhook in Webhook::ALL {
        if let ReviewInput::Unreadable { what, why } = ReviewInput::of(webhook, request.clone(), Some("own")) {
            assert!(what.len() < 4096 && why.len() < 4096);
        }
    }
    let answer = policies::review(request, Timestamp::UNIX_EPOCH);
    assert!(answer.allowed() || request.operation != "DELETE");
    let bytes = answer.to_bytes();
    assert!(bytes.len() <= LONGEST_ANSWER, "{} bytes", bytes.len());
    let answer: Value = serde_json::from_slice(&bytes).expect("an answer is JSON");
    assert_eq!(answer["response"]["uid"], request.uid);
}

/// What any reader takes: JSON of ordinary depth, without repeated keys and escapes, which two readers may see differently.
fn plain(data: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(data).ok().filter(|_| !data.contains(&b'\\'))?;
    // Printed, a repeated key is gone; blanks, and ways to write a number, count for nothing.
    let keys = |text: &[u8]| text.iter().filter(|byte| **byte == b'"').count();
    (keys(data) == keys(value.to_string().as_bytes())).then_some(value)
}

/// How many lists and objects stand inside of each other.
fn depth(json: &[u8]) -> usize {
    let (mut open, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                open += 1;
                most = most.max(open);
            }
            b'}' | b']' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Keys that something is made of.
const KEYS: [&[u8]; 14] = [
    b"metadata",
    b"managedFields",
    b"name",
    b"namespace",
    b"resourceVersion",
    b"spec",
    b"containers",
    b"image",
    b"puller",
    b"document",
    b"kind",
    b"template",
    b"items",
    b"\xff\xfe",
];

/// Writes one JSON value by a plan. It is right in every way but that it may be nested to any depth, and have bytes in its
/// strings that are no UTF-8.
fn grown(plan: &[u8]) -> Vec<u8> {
    let (mut out, mut open, mut plan) = (Vec::new(), Vec::new(), plan.iter().copied());
    // Whether a value stands before in the innermost list or object.
    let mut follows = false;
    while let Some(step) = plan.next() {
        if let (b'}', Some(end)) = (step, open.last().copied()) {
            out.push(end);
            open.pop();
            follows = true;
            if open.is_empty() {
                return out;
            }
            continue;
        }
        if follows {
            out.push(b',');
        }
        if open.last() == Some(&b'}') {
            let key = usize::from(plan.next().unwrap_or(0));
            out.push(b'"');
            out.extend_from_slice(KEYS[key % KEYS.len()]);
            out.extend_from_slice(b"\":");
        }
        follows = true;
        match step {
            b'{' => {
                out.push(b'{');
                open.push(b'}');
                follows = false;
            }
            b'[' => {
                out.push(b'[');
                open.push(b']');
                follows = false;
            }
            // Many at once: depth needs no long plan.
            b'(' => {
                let more = usize::from(plan.next().unwrap_or(0));
                out.extend(std::iter::repeat_n(b'[', 1 + more));
                open.extend(std::iter::repeat_n(b']', 1 + more));
                follows = false;
            }
            b'0'..=b'9' => out.push(step),
            b'-' => out.extend_from_slice(b"-1.5e3"),
            b't' => out.extend_from_slice(b"true"),
            b'n' => out.extend_from_slice(b"null"),
            length => {
                out.push(b'"');
                let text = plan.by_ref().take(usize::from(length) % 16);
                out.extend(text.map(|byte| if byte < b' ' || matches!(byte, b'"' | b'\\') { b'?' } else { byte }));
                out.push(b'"');
            }
        }
        if open.is_empty() {
            return out;
        }
    }
    if out.is_empty() {
        return b"{}".to_vec();
    }
    while let Some(end) = open.pop() {
        out.push(end);
    }
    out
}
