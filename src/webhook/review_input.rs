//! What a request about a pod or a workload comes down to: nothing, something that cannot be read, or images to judge.
//!
//! The webhook configuration lets through little else (`charts/ecr-access`). It is all looked at again here: a
//! configuration can be edited, and a server of an older version called by a newer one.

use ecr_forecast::cluster::{Subject, SubjectError, WorkloadKind};
use ecr_forecast::scope;
use serde_json::Value;

use super::Webhook;
use super::message::{Outcome, Request};
use crate::index::subjects::controller;
use crate::runtime::watch::place;

/// What a request comes down to.
#[derive(Debug)]
pub enum ReviewInput {
    /// There is nothing to judge.
    Nothing(Outcome),
    /// The object could not be read.
    Unreadable {
        /// Which one, such as `pod payments/api-0`.
        what: String,
        /// Why, for whoever wrote it. Not for a log: it may quote the object.
        why: String,
    },
    /// These images of this pod or template.
    Judge(Subject),
}

impl ReviewInput {
    /// Reads what `webhook` is asked. The pods and workloads of `own_namespace` are left alone.
    pub fn of(webhook: Webhook, request: Request, own_namespace: Option<&str>) -> ReviewInput {
        let nothing = |verdict, reason| ReviewInput::Nothing(Outcome::new(verdict, "Admitted", reason));
        if !is_judged(webhook, &request) {
            return nothing("NotSelected", "NotApplicable");
        }
        if scope::is_left_alone(&request.namespace, own_namespace) {
            return nothing("NotSelected", "Excluded");
        }
        let object = match request.decoded() {
            Ok(object) => object,
            Err(error) => {
                let path = place::path(&request.object, error);
                let place = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
                return unreadable(&request, format!("{place} is nested too deeply, or is no text"));
            }
        };
        let object = object.value();
        // Such an object pulls nothing any more, and must be able to go.
        if object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
            return nothing("NotSelected", "Terminating");
        }
        // Whoever owns it was told, or makes it of its own accord and reads no warnings.
        if webhook == Webhook::Workloads && controller(object).is_some() {
            return nothing("NotSelected", "Owned");
        }
        let mut subject = match read(webhook, object) {
            Ok(Some(subject)) => subject,
            Ok(None) => return nothing("NotSelected", "NotApplicable"),
            Err(error) => return unreadable(&request, error.to_string()),
        };
        if subject.mirror {
            return nothing("NotSelected", "Excluded");
        }
        // The request knows better than the object: one that is being created may leave out its namespace, and on some
        // API servers its name too.
        let old = (request.operation == "UPDATE").then(|| request.decoded_old());
        subject.namespace = request.namespace;
        if subject.name.is_empty() {
            subject.name = request.name;
        }
        let Some(old) = old else { return ReviewInput::Judge(subject) };
        // A stored state that cannot be read has no image that is known to have been pulled, so every image is judged: an
        // update must not get an image past that would be refused in a new pod. No API server stores such a pod, other
        // than by its `managedFields`, which are not read.
        let old = old.ok().and_then(|old| read(webhook, old.value()).ok()).flatten();
        let subject = subject.changed_since(&old.unwrap_or_default());
        if subject.images.is_empty() { nothing("Allow", "Unchanged") } else { ReviewInput::Judge(subject) }
    }
}

fn unreadable(request: &Request, why: String) -> ReviewInput {
    let Request { namespace, name, .. } = request;
    let kind = kind_in_words(&request.kind.kind);
    let what =
        if name.is_empty() { format!("a new {kind} in {namespace}") } else { format!("{kind} {namespace}/{name}") };
    ReviewInput::Unreadable { what, why }
}

/// Whether the request is one that `webhook` is for.
fn is_judged(webhook: Webhook, request: &Request) -> bool {
    let kind = (request.kind.group.as_str(), request.kind.kind.as_str());
    let part = request.sub_resource.as_str();
    let ours = match webhook {
        Webhook::Pods => kind == ("", "Pod") && matches!(part, "" | "ephemeralcontainers"),
        Webhook::Workloads => is_workload(kind) && part.is_empty(),
        Webhook::Policies => false,
    };
    ours && matches!(request.operation.as_str(), "CREATE" | "UPDATE")
}

fn read(webhook: Webhook, object: &Value) -> Result<Option<Subject>, SubjectError> {
    match webhook {
        Webhook::Pods => Subject::from_pod(object).map(Some),
        _ => Subject::from_workload(object),
    }
}

fn is_workload(kind: (&str, &str)) -> bool {
    WorkloadKind::ALL.iter().any(|known| (known.group(), known.as_str()) == kind)
}

/// `pod payments/api-0`, `Deployment payments/api`.
pub fn describe(subject: &Subject) -> String {
    format!("{} {}/{}", kind_in_words(&subject.kind), subject.namespace, subject.name)
}

/// A pod is an everyday word; the other kinds go by their names.
fn kind_in_words(kind: &str) -> &str {
    if kind == "Pod" { "pod" } else { kind }
}
