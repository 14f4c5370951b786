//! Tells people about the certificate: by an Event on its Secret, and by a condition of the Service that it is served
//! under (the operator has no object of its own that could carry one).

use k8s_openapi::api::core::v1::{ObjectReference, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use ecr_forecast::text::{cut, escaped};

/// The type of the condition in `status.conditions` of the Service.
pub const CONDITION: &str = "ecraccess.dev/CertificateUsable";
/// Owner of the condition in `managedFields`.
const FIELD_MANAGER: &str = "ecr-access-certificates";
/// `reportingController` of Events.
const CONTROLLER: &str = "ecraccess.dev/certificates";
/// The API server takes notes up to 1,024 bytes.
const NOTE: usize = 1000;

/// What can happen to the certificate that somebody should read about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happened {
    /// A new one was written.
    Renewed,
    /// What the Secret holds cannot be used.
    Unusable,
}

impl Happened {
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Happened::Renewed => ("Normal", "CertificateRenewed", "Renew"),
            Happened::Unusable => ("Warning", "CertificateUnusable", "Load"),
        }
    }
}

/// Whether the certificate can be used, as a condition says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Usable {
    /// `True` or `False` of the condition.
    pub is: bool,
    /// A word for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Where to tell.
#[derive(Clone)]
pub struct Notices {
    events: Api<Event>,
    services: Api<Service>,
    service: String,
    /// The name of this replica.
    instance: String,
}

impl Notices {
    /// Events go to `namespace`, where the Secret is, the condition to its Service `service`. `instance` is this replica.
    pub fn new(client: Client, namespace: &str, service: &str, instance: &str) -> Notices {
        Notices {
            events: Api::namespaced(client.clone(), namespace),
            services: Api::namespaced(client, namespace),
            service: service.to_owned(),
            instance: instance.to_owned(),
        }
    }

    /// Tells by an Event on `secret`.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn event(&self, secret: &Secret, happened: Happened, note: &str) -> Result<(), kube::Error> {
        let now = jiff::Timestamp::now();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let (type_, reason, action) = happened.words();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: secret.metadata.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(type_.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(line(note)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(name),
                namespace: secret.metadata.namespace.clone(),
                uid: secret.metadata.uid.clone(),
                ..ObjectReference::default()
            }),
            ..Event::default()
        };
        self.events.create(&PostParams::default(), &event).await.map(drop)
    }

    /// Says in the condition whether the certificate can be used. A condition that says so already is left alone, with
    /// its reason and its time.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn condition(&self, usable: &Usable) -> Result<(), kube::Error> {
        let service = self.services.get(&self.service).await?;
        let conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
        let stored = conditions.iter().find(|condition| condition.type_ == CONDITION);
        let status = if usable.is { "True" } else { "False" };
        let same_status = stored.filter(|stored| stored.status == status);
        let message = escaped(&usable.message);
        let same = |stored: &Condition| stored.reason == usable.reason && stored.message == message;
        if same_status.is_some_and(|stored| usable.reason == REASON || same(stored)) {
            return Ok(());
        }
        let condition = Condition {
            type_: CONDITION.to_owned(),
            status: status.to_owned(),
            reason: usable.reason.to_owned(),
            message: message.into_owned(),
            last_transition_time: same_status
                .map_or_else(|| Time(jiff::Timestamp::now()), |stored| stored.last_transition_time.clone()),
            observed_generation: None,
        };
        let patch = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.service},
            "status": {"conditions": [condition]},
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.services.patch_status(&self.service, &params, &Patch::Apply(&patch)).await.map(drop)
    }
}

/// The reason while there is nothing to say.
pub const REASON: &str = "InService";

/// A note as the API server takes it.
fn line(note: &str) -> String {
    cut(&escaped(note), NOTE).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_harmless_line_as_long_as_the_api_server_takes() {
        assert_eq!(line("short"), "short");
        assert_eq!(line("a\nb\u{202e}"), r"a\nb\u{202e}");
        assert!(line(ecr_forecast::text::HARMFUL).chars().all(ecr_forecast::text::is_harmless));
        let long = line(&"é".repeat(900));
        assert!(long.ends_with("é…") && long.len() <= 1024, "{}", long.len());
    }
}
