//! The AdmissionReview of `admission.k8s.io/v1`, in and out (Kubernetes documentation, "Dynamic Admission Control").
//!
//! Objects stay plain JSON: a field of a type that this program does not expect must not become a failed call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// What the API server asks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Identifies the question; the answer repeats it. Never empty.
    pub uid: String,
    /// The kind of the object.
    pub kind: GroupKind,
    /// The part of the object that the request is for, such as `ephemeralcontainers`.
    pub sub_resource: Option<String>,
    /// The object's name; empty where the API server is to make one from `generateName`.
    pub name: String,
    /// The object's namespace; empty for an object of the cluster.
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The object as it would be stored.
    pub object: Value,
    /// The object as it is stored, on `UPDATE` and `DELETE`.
    pub old_object: Value,
}

/// Group and kind of an object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GroupKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, such as `Pod`.
    pub kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    request: Option<Request>,
}

/// Why a body is no AdmissionReview that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No JSON, or no JSON of this shape.
    #[error("the body is no AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
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
}

impl Request {
    /// Reads the body of a call.
    ///
    /// # Errors
    /// When the body is no AdmissionReview of `admission.k8s.io/v1` with a request and its uid.
    pub fn parse(body: &[u8]) -> Result<Request, MessageError> {
        let envelope: Envelope = serde_json::from_slice(body)?;
        let (api_version, kind) = (envelope.api_version.unwrap_or_default(), envelope.kind.unwrap_or_default());
        if api_version != API_VERSION || kind != KIND {
            return Err(MessageError::Kind { api_version: shortened(&api_version), kind: shortened(&kind) });
        }
        let request = envelope.request.ok_or(MessageError::NoRequest)?;
        if request.uid.is_empty() { Err(MessageError::NoUid) } else { Ok(request) }
    }
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
    /// One per field.
    pub causes: Vec<FieldCause>,
}

/// A field that is a cause of a refusal.
#[derive(Clone, Debug, Serialize)]
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
            message: &refusal.message,
            details: Details {
                name: &refusal.name,
                group: &refusal.group,
                kind: &refusal.kind,
                causes: &refusal.causes,
            },
        });
        let review = ResponseReview {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid: &self.uid,
                allowed: status.is_none(),
                status,
                warnings: self.warnings.iter().map(|warning| one_line(warning)).collect(),
                audit_annotations: &self.audit,
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
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'a BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: &'a str,
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
    #[serde(skip_serializing_if = "<[FieldCause]>::is_empty")]
    causes: &'a [FieldCause],
}

/// The API server drops a warning that has a control character in it, so none leaves with one.
fn one_line(warning: &str) -> String {
    warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a stranger sent, fit for an error message.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(body: &Value) -> String {
        Request::parse(body.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_body_that_is_no_review_is_told_what_it_is() {
        assert!(Request::parse(b"no json").unwrap_err().to_string().starts_with("the body is no AdmissionReview: "));
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
        assert_eq!(error(&review(json!({"name": "x"}))), "the AdmissionReview's request has no uid");
    }

    #[test]
    fn an_answer_has_the_shape_that_the_api_server_reads() {
        let mut answer = Answer::unknown("u-1", "Deadline", "too\nlate\u{7}".to_owned());
        let body: Value = serde_json::from_slice(&answer.to_bytes()).unwrap();
        assert_eq!(
            body,
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
                "uid": "u-1", "allowed": true, "warnings": ["too late "],
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
