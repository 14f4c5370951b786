//! Tells people about the certificate: by an Event on its Secret, and by a condition of the Service that it is served
//! under (the operator has no object of its own that could carry one).

use k8s_openapi::api::core::v1::{ObjectReference, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use ecr_forecast::text::escaped;

use crate::runtime::events::{EventDraft, EventWriter, note};
use crate::runtime::telemetry::write_error;
use crate::runtime::watch::answer::AnswerError;

/// The type of the condition in `status.conditions` of the Service.
pub const CONDITION: &str = "ecraccess.dev/CertificateUsable";
/// Owner of the condition in `managedFields`.
const FIELD_MANAGER: &str = "ecr-access-certificates";
/// `reportingController` of Events.
const CONTROLLER: &str = "ecraccess.dev/certificates";

/// What can happen to the certificate that somebody should read about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happened {
    /// A new one was written.
    Renewed,
    /// What the Secret holds cannot be used.
    Unusable,
}

impl Happened {
    /// Whether it is a warning, its reason, and what was being done.
    fn words(self) -> (bool, &'static str, &'static str) {
        match self {
            Happened::Renewed => (false, "CertificateRenewed", "Renew"),
            Happened::Unusable => (true, "CertificateUnusable", "Load"),
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

/// Why something was not told.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The Event was not written.
    #[error(transparent)]
    Event(#[from] AnswerError),
    /// An object was not read, or the condition not written.
    #[error(transparent)]
    Object(#[from] kube::Error),
}

impl NoticeError {
    /// As it is logged: an answer to a write may repeat what was written.
    pub fn of_write(&self) -> String {
        match self {
            NoticeError::Event(error) => error.of_write(),
            NoticeError::Object(error) => write_error(error),
        }
    }
}

/// Where to tell.
pub struct Notices {
    events: EventWriter,
    services: Api<Service>,
    service: String,
}

impl Notices {
    /// Events go to the namespace of the Secret, the condition to the Service `service` of `namespace`. `instance` is this
    /// replica.
    pub fn new(client: Client, namespace: &str, service: &str, instance: &str) -> Notices {
        Notices {
            events: EventWriter::new(client.clone(), CONTROLLER, instance),
            services: Api::namespaced(client, namespace),
            service: service.to_owned(),
        }
    }

    /// Tells by an Event on `secret`.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn event(&self, secret: &Secret, happened: Happened, text: &str) -> Result<(), NoticeError> {
        let (warning, reason, action) = happened.words();
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: secret.metadata.name.clone(),
            namespace: secret.metadata.namespace.clone(),
            uid: secret.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let (reason, note) = (reason.to_owned(), note(text));
        let draft = EventDraft { warning, reason, action, note, regarding, related: None };
        Ok(self.events.create(&draft).await.map(drop)?)
    }

    /// Says in the condition whether the certificate can be used. A condition that says so already is left alone, with
    /// its reason and its time.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn condition(&self, usable: &Usable) -> Result<(), NoticeError> {
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
        Ok(self.services.patch_status(&self.service, &params, &Patch::Apply(&patch)).await.map(drop)?)
    }
}

/// The reason while there is nothing to say.
pub const REASON: &str = "InService";
