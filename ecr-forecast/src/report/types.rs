//! What is told of a judgement: the report of `check`, and the texts of admission and Events.

use std::collections::BTreeSet;

use iam_verdict::Decision;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::cluster::WorkloadKind;
use crate::diagnose::{Fix, LAYERS};
use crate::ecr::needs::Need;
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason};
use crate::judge::{Actions, Admission, AdmissionDecision, ExemptionUse, Verdict};
use crate::policy::compiled::PolicyKey;
use crate::report::texts::{Parts, Texts};

/// The outcome for one subject.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "result")]
pub struct Report {
    /// `Pod`, `Deployment`, …
    #[schemars(extend("enum" = kinds()))]
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The policy that selects the service account: `EcrAccessPolicy/NAMESPACE/NAME` or `ClusterEcrAccessPolicy/NAME`.
    #[schemars(with = "Option<String>")]
    pub policy: Option<PolicyKey>,
    /// The verdict over all images.
    #[schemars(extend("enum" = ["Allow", "Deny", "Unknown", "NotSelected"]))]
    pub verdict: Verdict,
    /// What the webhook would do. Templates of workloads are never rejected.
    pub admission: Admission,
    /// What the verdict rests on beside facts, such as `TrustNotKnown`.
    ///
    /// Assumptions and observations, see [`note`](crate::judge::note).
    pub notes: Vec<&'static str>,
    /// The images, in the order of the subject's.
    pub images: Vec<ImageReport>,
    /// When the verdict changes by itself, because a policy has a condition on the time, or what happens at admission,
    /// because an exemption ends. Left out where neither ever does, and where there are too many dates
    /// to say.
    ///
    /// See [`NextChange`](crate::judge::NextChange).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub next_transition: Option<Timestamp>,
    /// What a Deny and an Unknown do to a pod.
    #[serde(skip)]
    pub(crate) actions: Actions,
    /// The subject is the pod template of a workload.
    #[serde(skip)]
    pub(crate) template: bool,
}

/// The outcome for one image.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "image")]
pub struct ImageReport {
    /// The full path in the object: `spec.template.spec.containers[0].image`.
    pub field: String,
    /// The container, or the volume that mounts the image.
    pub container: String,
    /// The image as written.
    pub image: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, coarsely.
    pub reason: Reason,
    /// The facts that made it Unknown: condition keys, `role:ARN`, `serviceAccount:NAMESPACE/NAME`,
    /// `configMap:NAMESPACE/NAME/KEY`, `imagePullSecret`, …
    #[schemars(with = "Vec<String>")]
    pub missing: Vec<MissingFact>,
    /// What a user of the cluster would read.
    ///
    /// For this image alone.
    pub message: String,
    /// Everybody who may pull it, with the requests that were judged.
    pub candidates: Vec<Candidate>,
    /// A stable code, finer than `reason`; docs/reasons/ has a page for each.
    #[schemars(with = "Option<String>")]
    pub cause: Option<CauseCode>,
    /// What would help.
    pub fix: Vec<Fix>,
    /// The exemption of the policy that this image is under: a refusal of it is a warning. Left out where there is none, and
    /// where the image can be pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ExemptionUse")]
    pub exemption: Option<ExemptionUse>,
    /// The parts that messages are put together from.
    #[serde(skip)]
    pub(crate) texts: Texts,
    /// What the message has of them.
    #[serde(skip)]
    pub(crate) parts: Parts,
}

/// A principal that may pull the image.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "candidate")]
pub struct Candidate {
    /// A role ARN.
    pub principal: String,
    /// How the principal was found, such as the annotation that names it.
    pub found_by: String,
    /// Its verdict.
    #[schemars(extend("enum" = ["Allow", "Deny", "Unknown"]))]
    pub verdict: Verdict,
    /// The requests of the pull.
    pub decisions: Vec<DecisionReport>,
}

/// The outcome of one IAM request.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "decision")]
pub struct DecisionReport {
    /// The action.
    pub action: &'static str,
    /// The resource ARN or `*`.
    pub resource: String,
    /// What IAM answers.
    #[serde(serialize_with = "decision_word")]
    #[schemars(with = "String", extend("enum" = ["Allowed", "ExplicitlyDenied", "ImplicitlyDenied", "Unknown"]))]
    pub decision: Decision,
    /// The deciding layer.
    #[schemars(with = "Option<String>", extend("enum" = LAYERS))]
    pub layer: Option<&'static str>,
    /// The deciding policy.
    pub policy: Option<String>,
    /// The deciding statement: the Sid, or `#index`.
    pub statement: Option<String>,
    /// What the request is for, where that is not the pull of an image that is there: `Import` fills a pull-through cache,
    /// the others were asked for with `--requires`.
    #[serde(skip_serializing_if = "is_pull")]
    #[schemars(extend("enum" = ["Import", "Push", "List", "Console"]))]
    pub need: Need,
}

/// What a report may be about.
fn kinds() -> Vec<&'static str> {
    std::iter::once("Pod").chain(WorkloadKind::ALL.map(WorkloadKind::as_str)).collect()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_pull(need: &Need) -> bool {
    *need == Need::Pull
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn decision_word<S: Serializer>(decision: &Decision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(decision.as_str())
}

/// Why a container keeps its pod from being admitted (a cause of a Kubernetes `Status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The field of the image.
    pub field: String,
    /// What is wrong, in one line.
    pub message: String,
}

impl Report {
    /// The causes of a refusal, one per image.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        let cause = |image: &ImageReport| Cause { field: image.field.clone(), message: image.texts.line.clone() };
        self.blamed().map(cause).collect()
    }

    /// The exemptions that let the pod in, each once, in the order of the images; none where it would be let in without.
    pub fn exemptions(&self) -> impl Iterator<Item = &ExemptionUse> {
        let spared = !self.template && self.admission_decision().spared;
        self.used().filter(move |_| spared && self.admission == Admission::Warned)
    }

    /// The exemptions of the images, each once.
    pub(crate) fn used(&self) -> impl Iterator<Item = &ExemptionUse> {
        let mut seen = BTreeSet::new();
        self.images.iter().filter_map(|image| image.exemption.as_ref()).filter(move |used| seen.insert(&used.name))
    }

    pub(crate) fn admission_decision(&self) -> AdmissionDecision {
        AdmissionDecision::of(self.images.iter().map(|image| (image.verdict, image.exemption.is_some())), self.actions)
    }

    /// The images that a refusal goes back to, or would: the worst ones that no exemption is for.
    pub(crate) fn blamed(&self) -> impl Iterator<Item = &ImageReport> {
        let bound = || self.images.iter().filter(|image| image.exemption.is_none());
        let worst = Verdict::all(bound().map(|image| image.verdict));
        let blames = matches!(worst, Verdict::Deny | Verdict::Unknown);
        bound().filter(move |image| blames && image.verdict == worst)
    }
}

impl ImageReport {
    /// The message line by line, without the object and the container that it speaks of, and without the fix: for a reader
    /// who sees these beside it.
    pub fn said(&self) -> impl Iterator<Item = &str> {
        let line = self.texts.line.get(self.texts.place..).unwrap_or(&self.texts.line);
        [line, &self.parts.detail].into_iter().filter(|part| !part.is_empty())
    }
}
