//! The AdmissionReview of `admission.k8s.io/v1`, in and out (Kubernetes documentation, "Dynamic Admission Control").
//!
//! A review is read twice: here all but its objects, of which only the bytes are taken, and each object by itself
//! ([`decode`]) where it is asked for. So whatever stands in an object, however deep
//! it is nested and whether it is text or not, the question has its uid and can be answered.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Bytes;
use serde::Serialize;

use crate::runtime::watch::cut::{Cursor, CutError};
use crate::runtime::watch::decode_error::DecodeError;
use crate::runtime::watch::object::{Raw, decode};

use ecr_forecast::text::{Unit, cut, escaped, escaped_lines, head};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Characters of a uid at most: the API server's have 36.
const MAX_UID: usize = 64;

/// Causes that a refusal lists at most; one more counts the others.
pub const MAX_CAUSES: usize = 32;

/// Bytes of all causes together at most, beyond which they are counted too. Those about images take less; the path of a
/// field of a policy holds what its author wrote.
const MAX_CAUSES_BYTES: usize = 32 << 10;

/// Bytes of the message of a refusal at most.
const MAX_MESSAGE: usize = 4096;

/// Bytes of any other text of an answer at most.
const MAX_SHOWN: usize = 1024;

/// Warnings of an answer at most. With all of these limits, an answer has at most 64 KiB before it is escaped.
const MAX_WARNINGS: usize = 16;

/// Bytes of any other text of a request at most, as it is written; the longest names have 253.
const MAX_TEXT: usize = 1024;

/// What the API server asks. A text that is none, or that is longer than any is, counts as empty.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Identifies the question; the answer repeats it. Never empty, and at most 64 characters.
    pub uid: String,
    /// The kind of the object.
    pub kind: GroupKind,
    /// The part of the object that the request is for, such as `ephemeralcontainers`; empty for the whole.
    pub sub_resource: String,
    /// The object's name; empty where the API server is to make one from `generateName`.
    pub name: String,
    /// The object's namespace; empty for an object of the cluster.
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The bytes of the object as it would be stored: one JSON value, which may not decode. Empty where there is none.
    pub object: Bytes,
    /// The bytes of the object as it is stored, on `UPDATE` and `DELETE`.
    pub old_object: Bytes,
}

/// Group and kind of an object.
#[derive(Clone, Debug, Default)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, such as `Pod`.
    pub kind: String,
}

/// Why a body is no AdmissionReview that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No JSON, or no JSON of this shape.
    #[error("the body is no AdmissionReview: {0}")]
    Json(#[from] CutError),
    /// JSON of another kind.
    #[error("the body is no AdmissionReview of {API_VERSION}: it has apiVersion `{api_version}` and kind `{kind}`")]
    Kind {
        /// What was given, empty where nothing was.
        api_version: String,
        /// What was given, empty where nothing was.
        kind: String,
    },
    /// Nothing is asked.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// The answer could not be matched to the question.
    #[error("the AdmissionReview's request has no uid")]
    NoUid,
    /// No API server asks like this, and the answer and the log would repeat it.
    #[error("the uid of the AdmissionReview's request has more than {MAX_UID} characters")]
    LongUid,
}

impl Request {
    /// Reads the body of a call, without looking into its objects.
    ///
    /// # Errors
    /// When the body is no AdmissionReview of `admission.k8s.io/v1` with a request and its uid; never for what stands in an
    /// object.
    pub fn parse(body: &Bytes) -> Result<Request, MessageError> {
        let (mut api_version, mut kind, mut request) = (String::new(), String::new(), None);
        let mut cursor = Cursor::new(body);
        cursor.object(|key, cursor| -> Result<(), CutError> {
            match key {
                b"apiVersion" => api_version = text(cursor.value()?),
                b"kind" => kind = text(cursor.value()?),
                b"request" if cursor.peek() == Some(b'{') => request = Some(Request::read(body, cursor)?),
                _ => drop(cursor.value()?),
            }
            Ok(())
        })?;
        cursor.end()?;
        if api_version != API_VERSION || kind != KIND {
            return Err(MessageError::Kind { api_version: shortened(&api_version), kind: shortened(&kind) });
        }
        let request = request.ok_or(MessageError::NoRequest)?;
        match request.uid.chars().take(MAX_UID + 1).count() {
            0 => Err(MessageError::NoUid),
            1..=MAX_UID => Ok(request),
            _ => Err(MessageError::LongUid),
        }
    }

    /// The object as it would be stored; `null` where there is none.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn decoded(&self) -> Result<Raw, DecodeError> {
        decode(given(&self.object))
    }

    /// The object as it is stored; `null` where there is none.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn decoded_old(&self) -> Result<Raw, DecodeError> {
        decode(given(&self.old_object))
    }

    /// Takes the value of `request`.
    fn read<'a>(body: &'a Bytes, cursor: &mut Cursor<'a>) -> Result<Request, CutError> {
        let mut request = Request::default();
        cursor.object(|key, cursor| {
            let field = match key {
                b"kind" if cursor.peek() == Some(b'{') => {
                    request.kind = GroupKind::read(cursor)?;
                    return Ok(());
                }
                b"uid" => {
                    // However long it is: that is what is wrong with it then.
                    request.uid = serde_json::from_slice(cursor.value()?).unwrap_or_default();
                    return Ok(());
                }
                b"object" => {
                    request.object = body.slice_ref(cursor.value()?);
                    return Ok(());
                }
                b"oldObject" => {
                    request.old_object = body.slice_ref(cursor.value()?);
                    return Ok(());
                }
                b"subResource" => &mut request.sub_resource,
                b"name" => &mut request.name,
                b"namespace" => &mut request.namespace,
                b"operation" => &mut request.operation,
                _ => return cursor.value().map(drop),
            };
            *field = text(cursor.value()?);
            Ok(())
        })?;
        Ok(request)
    }
}

impl GroupKind {
    fn read(cursor: &mut Cursor<'_>) -> Result<GroupKind, CutError> {
        let mut kind = GroupKind::default();
        cursor.object(|key, cursor| -> Result<(), CutError> {
            let value = cursor.value()?;
            match key {
                b"group" => kind.group = text(value),
                b"kind" => kind.kind = text(value),
                _ => {}
            }
            Ok(())
        })?;
        Ok(kind)
    }
}

fn given(object: &[u8]) -> &[u8] {
    if object.is_empty() { b"null" } else { object }
}

/// A text of a request; empty where it is none, and where it is longer than any is.
fn text(value: &[u8]) -> String {
    if value.len() > MAX_TEXT {
        return String::new();
    }
    serde_json::from_slice(value).unwrap_or_default()
}

/// The answer to a [`Request`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request's uid.
    pub uid: String,
    /// `None` admits the object.
    pub refusal: Option<Refusal>,
    /// Shown to whoever made the request, one line each.
    pub warnings: Vec<String>,
    /// Recorded in the audit log, under the webhook's name.
    pub audit: BTreeMap<&'static str, String>,
    /// What is counted.
    pub outcome: Outcome,
}

/// Why an object is refused, as the fields of a `metav1.Status`.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP code, such as 403.
    pub code: u16,
    /// The word for programs, such as `Forbidden`.
    pub reason: &'static str,
    /// The text for people; the API server puts the webhook's name before it.
    pub message: String,
    /// What was refused.
    pub group: String,
    /// What was refused; a resource for `Forbidden`, a kind for `Invalid`, as the API server's own messages do.
    pub kind: String,
    /// What was refused.
    pub name: String,
    /// One per field; the first [`MAX_CAUSES`] are listed.
    pub causes: Vec<FieldCause>,
    /// How many there are beside these. With those that are not listed they are counted in a last cause.
    pub more: usize,
}

/// A field that is a cause of a refusal.
#[derive(Clone, Debug)]
pub struct FieldCause {
    /// One of the API's words: `FieldValueForbidden`, `FieldValueInvalid`.
    pub reason: &'static str,
    /// The text for people.
    pub message: String,
    /// The path, such as `spec.containers[0].image`.
    pub field: String,
}

/// What a review came to, in words of fixed lists: the labels of its metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// `Allow`, `Deny`, `Unknown` or `NotSelected`.
    pub verdict: String,
    /// `Admitted`, `Warned` or `Rejected`.
    pub admission: String,
    /// Why.
    pub reason: String,
}

impl Outcome {
    /// From its three words.
    pub fn new(verdict: &str, admission: &str, reason: &str) -> Outcome {
        Outcome { verdict: verdict.to_owned(), admission: admission.to_owned(), reason: reason.to_owned() }
    }
}

impl Answer {
    /// Admits without a word.
    pub fn admitted(uid: &str, outcome: Outcome) -> Answer {
        let audit = BTreeMap::from([("verdict", outcome.verdict.clone()), ("reason", outcome.reason.clone())]);
        Answer { uid: uid.to_owned(), refusal: None, warnings: Vec::new(), audit, outcome }
    }

    /// Admits because this program could not do its work. Never silently, and never a refusal: whoever cannot judge must
    /// not stand in the way.
    pub fn unknown(uid: &str, reason: &str, warning: String) -> Answer {
        let mut answer = Answer::admitted(uid, Outcome::new("Unknown", "Warned", reason));
        answer.warnings.push(warning);
        answer
    }

    /// Whether the object is admitted.
    pub fn allowed(&self) -> bool {
        self.refusal.is_none()
    }

    /// The body of the response.
    pub fn to_bytes(&self) -> Vec<u8> {
        let status = self.refusal.as_ref().map(|refusal| Status {
            status: "Failure",
            code: refusal.code,
            reason: refusal.reason,
            message: escaped_lines(head(&refusal.message, MAX_MESSAGE)),
            details: Details {
                name: head(&refusal.name, MAX_SHOWN),
                group: head(&refusal.group, MAX_SHOWN),
                kind: head(&refusal.kind, MAX_SHOWN),
                causes: refusal.listed(),
            },
        });
        let review = ResponseReview {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid: &self.uid,
                allowed: status.is_none(),
                status,
                // The API server drops a warning that has a control character in it, so none leaves with one.
                warnings: self
                    .warnings
                    .iter()
                    .take(MAX_WARNINGS)
                    .map(|warning| escaped(head(warning, MAX_SHOWN)))
                    .collect(),
                audit_annotations: self.audit.iter().map(|(key, text)| (*key, head(text, MAX_SHOWN))).collect(),
            },
        };
        // Strings and numbers only: there is nothing in it that cannot be written as JSON.
        serde_json::to_vec(&review).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: Cow<'a, str>,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause<'a>>,
}

/// A [`FieldCause`] as it is sent.
#[derive(Serialize)]
struct Cause<'a> {
    reason: &'static str,
    message: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: Cow<'a, str>,
}

impl Refusal {
    fn listed(&self) -> Vec<Cause<'_>> {
        let (mut listed, mut bytes) = (Vec::new(), 0);
        for FieldCause { reason, message, field } in self.causes.iter().take(MAX_CAUSES) {
            let (message, field) = (head(message, MAX_SHOWN), head(field, MAX_SHOWN));
            bytes += message.len() + field.len();
            if bytes > MAX_CAUSES_BYTES {
                break;
            }
            listed.push(Cause { reason, message: escaped_lines(message), field: escaped(field) });
        }
        let more = self.more + self.causes.len() - listed.len();
        if let Some(cause) = self.causes.last().filter(|_| more > 0) {
            let message = format!("{more} more causes are not listed").into();
            listed.push(Cause { reason: cause.reason, message, field: "".into() });
        }
        listed
    }
}

/// What a stranger sent, fit for an error message.
fn shortened(text: &str) -> String {
    escaped(&cut(text, 60, Unit::Bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: impl Into<Vec<u8>>) -> Result<Request, MessageError> {
        Request::parse(&Bytes::from(body.into()))
    }

    fn error(body: &Value) -> String {
        parse(body.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn a_body_that_is_no_review_is_told_what_it_is() {
        assert_eq!(parse("no json").unwrap_err().to_string(), "the body is no AdmissionReview: `{` expected at byte 0");
        assert_eq!(
            parse("{} {}").unwrap_err().to_string(),
            "the body is no AdmissionReview: the end expected at byte 3"
        );
        assert_eq!(
            error(
                &json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "u"}})
            ),
            "the body is no AdmissionReview of admission.k8s.io/v1: it has apiVersion `admission.k8s.io/v1beta1` and kind \
             `AdmissionReview`"
        );
        assert_eq!(
            error(&json!({})),
            "the body is no AdmissionReview of admission.k8s.io/v1: it has apiVersion `` and kind ``"
        );
        let review = |request: Value| json!({"apiVersion": API_VERSION, "kind": KIND, "request": request});
        assert_eq!(error(&review(json!(null))), "the AdmissionReview has no request");
        assert_eq!(error(&review(json!(7))), "the AdmissionReview has no request");
        assert_eq!(error(&review(json!({"uid": ["u"]}))), "the AdmissionReview's request has no uid");
        let uid = |length: usize| review(json!({"uid": "é".repeat(length)}));
        assert_eq!(parse(uid(64).to_string()).unwrap().uid.chars().count(), 64);
        assert_eq!(error(&uid(65)), "the uid of the AdmissionReview's request has more than 64 characters");
        assert_eq!(error(&review(json!({"name": "x"}))), "the AdmissionReview's request has no uid");
        assert_eq!(error(&uid(8 << 20)), "the uid of the AdmissionReview's request has more than 64 characters");
    }

    #[test]
    fn nothing_that_a_stranger_wrote_leaves_with_a_character_that_is_not_harmless() {
        use ecr_forecast::text::HARMFUL;
        let text = format!("a{HARMFUL}b");
        let mut answer = Answer::unknown("u-1", "Deadline", text.clone());
        let told = |answer: &Answer| -> Value { serde_json::from_slice(&answer.to_bytes()).unwrap() };
        let mut texts = vec![told(&answer)["response"]["warnings"][0].as_str().unwrap().to_owned()];
        answer.refusal = Some(Refusal {
            code: 403,
            reason: "Forbidden",
            message: format!("first\n{text}"),
            group: String::new(),
            kind: "pods".to_owned(),
            name: "api".to_owned(),
            more: 0,
            causes: vec![FieldCause { reason: "FieldValueForbidden", message: text.clone(), field: text.clone() }],
        });
        let status = told(&answer)["response"]["status"].clone();
        let message = status["message"].as_str().unwrap();
        texts.push(message.strip_prefix("first\n").unwrap().to_owned());
        let cause = &status["details"]["causes"][0];
        texts.extend(["message", "field"].map(|field| cause[field].as_str().unwrap().to_owned()));
        texts.push(error(&json!({"apiVersion": text, "kind": text})));
        for text in texts {
            assert!(escaped(&text) == text && text.contains(r"\u{ad}"), "{text}");
        }
    }

    #[test]
    fn an_answer_has_the_shape_that_the_api_server_reads() {
        let mut answer = Answer::unknown("u-1", "Deadline", "too\nlate\u{7}".to_owned());
        let body: Value = serde_json::from_slice(&answer.to_bytes()).unwrap();
        assert_eq!(
            body,
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
                "uid": "u-1", "allowed": true, "warnings": [r"too\nlate\u{7}"],
                "auditAnnotations": {"verdict": "Unknown", "reason": "Deadline"}}})
        );
        answer.warnings.clear();
        answer.refusal = Some(Refusal {
            code: 403,
            reason: "Forbidden",
            message: "no".to_owned(),
            group: String::new(),
            kind: "pods".to_owned(),
            name: "api".to_owned(),
            causes: vec![FieldCause {
                reason: "FieldValueForbidden",
                message: "no".to_owned(),
                field: "spec.containers[0].image".to_owned(),
            }],
            more: 0,
        });
        let body: Value = serde_json::from_slice(&answer.to_bytes()).unwrap();
        assert_eq!(
            body["response"]["status"],
            json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "no", "details": {
                "name": "api", "kind": "pods", "causes": [
                    {"reason": "FieldValueForbidden", "message": "no", "field": "spec.containers[0].image"}]}})
        );
        assert_eq!(body["response"]["allowed"], json!(false));
    }
}
