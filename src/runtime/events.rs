//! Events of `events.k8s.io/v1`, made and written in one place for whoever has something to tell.
//!
//! Not by kube's own recorder, which counts everything of one reason about one object as the same, whatever it says.

use ecr_forecast::text::{Unit, cut, escaped, head};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};

use super::watch::answer::AnswerError;
use super::watch::kind::{Kind, segment};
use super::watch::reader::Reader;

const EVENTS: Kind = Kind::namespaced("events.k8s.io", "v1", "Event", "events");

/// Bytes of a note at most ("Event", events.k8s.io/v1).
pub const MAX_NOTE: usize = 1024;

/// Longest `reportingInstance` ("Event", events.k8s.io/v1).
const INSTANCE_LENGTH: usize = 128;

/// Longest part of an Event's name before its dot: the name of an object may be as long as the whole may be.
const PREFIX_LENGTH: usize = 200;

/// One thing to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct EventDraft {
    /// Something is wrong, or will be.
    pub warning: bool,
    /// A stable word for what happened.
    pub reason: String,
    /// What was being done when it was noticed.
    pub action: &'static str,
    /// The same for a person, as [`note`] makes it.
    pub note: String,
    /// Where it is shown.
    pub regarding: ObjectReference,
    /// What else it is about.
    pub related: Option<ObjectReference>,
}

/// One line within the limit, with nothing harmful in it: `kubectl describe` puts notes into a table.
pub fn note(text: &str) -> String {
    cut(&escaped(&text.trim_end().replace('\n', "; ")), MAX_NOTE, Unit::Bytes).into_owned()
}

/// Writes Events under one name.
pub struct EventWriter {
    reader: Reader,
    controller: &'static str,
    instance: String,
}

impl EventWriter {
    /// `controller` is the `reportingController` of every Event, `instance` the name of this replica's pod.
    pub fn new(client: Client, controller: &'static str, instance: &str) -> EventWriter {
        // The API server wants one.
        let instance = if instance.is_empty() { "ecr-access" } else { head(instance, INSTANCE_LENGTH) };
        EventWriter { reader: Reader::new(client), controller, instance: instance.to_owned() }
    }

    /// Writes a new Event. Returns its name.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn create(&self, draft: &EventDraft) -> Result<String, AnswerError> {
        let event = self.event(draft, jiff::Timestamp::now());
        let body = serde_json::to_vec(&event).map_err(kube::core::request::Error::SerializeBody)?;
        self.reader.write(requests(draft)?.create(&PostParams::default(), body)).await?;
        Ok(event.metadata.name.unwrap_or_default())
    }

    /// Says on the Event `name`, which was made from the same draft, that it happened once more, `count` times in all.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn count(&self, draft: &EventDraft, name: &str, count: i32) -> Result<(), AnswerError> {
        let series = EventSeries { count, last_observed_time: MicroTime(jiff::Timestamp::now()) };
        let patch = Patch::Merge(serde_json::json!({"series": series}));
        self.reader.write(requests(draft)?.patch(segment(name)?, &PatchParams::default(), &patch)).await
    }

    fn event(&self, draft: &EventDraft, now: jiff::Timestamp) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(name(draft, now)),
                namespace: Some(namespace(draft).to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(self.controller.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(draft.action.to_owned()),
            reason: Some(draft.reason.clone()),
            regarding: Some(draft.regarding.clone()),
            related: draft.related.clone(),
            note: Some(draft.note.clone()),
            type_: Some(if draft.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }
}

fn requests(draft: &EventDraft) -> Result<kube::core::Request, AnswerError> {
    Ok(kube::core::Request::new(EVENTS.path(Some(namespace(draft)))?))
}

/// Events about objects of the cluster are in this namespace ("Event", events.k8s.io/v1).
fn namespace(draft: &EventDraft) -> &str {
    draft.regarding.namespace.as_deref().unwrap_or("default")
}

/// The object's name and the time, as other programs name their Events: `kubectl describe` shows them in this order.
fn name(draft: &EventDraft, now: jiff::Timestamp) -> String {
    let prefix = head(draft.regarding.name.as_deref().unwrap_or_default(), PREFIX_LENGTH);
    // A name of a subdomain: no part of it begins or ends with a mark.
    let prefix = prefix.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{prefix}.{:016x}", now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use ecr_forecast::text::HARMFUL;

    use super::*;

    #[test]
    fn a_name_is_one_whatever_it_is_about_and_sorts_by_time() {
        let draft = |name: &str| EventDraft {
            warning: true,
            reason: "Reason".to_owned(),
            action: "Test",
            note: String::new(),
            regarding: ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() },
            related: None,
        };
        let now = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000);
        for object in ["api", &"x".repeat(253), &format!("{}.y", "x".repeat(199)), &format!("{}-.y", "x".repeat(198))] {
            let name = name(&draft(object), now);
            assert!(name.len() <= 253, "{name}");
            assert!(name.split('.').all(|part| !part.is_empty() && !part.ends_with('-')), "{name}");
        }
        let later = now + jiff::SignedDuration::from_nanos(1);
        assert!(name(&draft("api"), now) < name(&draft("api"), later));
    }

    #[test]
    fn a_note_is_one_harmless_line_as_long_as_the_api_server_takes() {
        assert_eq!(note("short"), "short");
        assert_eq!(note("a\nb\u{202e}\n"), r"a; b\u{202e}");
        assert_eq!(escaped(&note(HARMFUL)), note(HARMFUL));
        let long = note(&"é".repeat(900));
        assert!(long.len() <= MAX_NOTE && long.len() > MAX_NOTE - 4 && long.ends_with("é…"), "{}", long.len());
        assert_eq!(note(&"x".repeat(MAX_NOTE)).len(), MAX_NOTE);
    }
}
