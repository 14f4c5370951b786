//! What is told of a judgement: the report of `check`, and the texts of admission and Events.

use std::collections::BTreeSet;

use iam_verdict::Decision;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::diagnose::Fix;
use crate::ecr::needs::Need;
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason};
use crate::judge::{Actions, Admission, AdmissionDecision, ExemptionUse, Verdict};
use crate::policy::compiled::PolicyKey;
use crate::report::texts::{Parts, Texts};

/// The outcome for one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `Pod`, `Deployment`, …
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The policy in force; in the report `EcrAccessPolicy/NAMESPACE/NAME` or `ClusterEcrAccessPolicy/NAME`.
    pub policy: Option<PolicyKey>,
    /// The verdict over all images.
    pub verdict: Verdict,
    /// What admission does about it.
    pub admission: Admission,
    /// Assumptions and observations, see [`note`](crate::judge::note).
    pub notes: Vec<&'static str>,
    /// The images, in the order of the subject's.
    pub images: Vec<ImageReport>,
    /// When the verdict changes by itself, because a policy has a condition on the time, or what admission does about it,
    /// because an exemption ends. None where that is never, or not known: see [`NextChange`](crate::judge::NextChange).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<Timestamp>,
    /// What a Deny and an Unknown do to a pod.
    #[serde(skip)]
    pub(crate) actions: Actions,
    /// The subject is the pod template of a workload.
    #[serde(skip)]
    pub(crate) template: bool,
}

/// The outcome for one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageReport {
    /// The field that holds the image.
    pub field: String,
    /// The container or volume.
    pub container: String,
    /// The image as written.
    pub image: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, coarsely.
    pub reason: Reason,
    /// The facts that would settle an Unknown.
    pub missing: Vec<MissingFact>,
    /// What a user sees, for this image alone.
    pub message: String,
    /// Everybody who may pull it, with the requests that were judged.
    pub candidates: Vec<Candidate>,
    /// Why, finely.
    pub cause: Option<CauseCode>,
    /// What would help.
    pub fix: Vec<Fix>,
    /// The exemption that lets it in all the same, where it is not certain that it can be pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<ExemptionUse>,
    /// The parts that messages are put together from.
    #[serde(skip)]
    pub(crate) texts: Texts,
    /// What the message has of them.
    #[serde(skip)]
    pub(crate) parts: Parts,
}

/// Somebody who may pull an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The role ARN, or `service account NAMESPACE/NAME`.
    pub principal: String,
    /// How it was found.
    pub found_by: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The requests of the pull.
    pub decisions: Vec<DecisionReport>,
}

/// One IAM request and its decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionReport {
    /// The action.
    pub action: &'static str,
    /// The resource ARN or `*`.
    pub resource: String,
    /// `Allowed`, `ExplicitlyDenied`, `ImplicitlyDenied` or `Unknown`.
    #[serde(serialize_with = "decision_word")]
    pub decision: Decision,
    /// The deciding layer.
    pub layer: Option<&'static str>,
    /// The deciding policy.
    pub policy: Option<String>,
    /// The deciding statement: its Sid, or `#index`.
    pub statement: Option<String>,
    /// What the request is needed for, where that is not the pull of an image that is there.
    #[serde(skip_serializing_if = "is_pull")]
    pub need: Need,
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
        let spared = !self.template && self.ruling().spared;
        self.used().filter(move |_| spared && self.admission == Admission::Warned)
    }

    /// The exemptions of the images, each once.
    pub(crate) fn used(&self) -> impl Iterator<Item = &ExemptionUse> {
        let mut seen = BTreeSet::new();
        self.images.iter().filter_map(|image| image.exemption.as_ref()).filter(move |used| seen.insert(&used.name))
    }

    pub(crate) fn ruling(&self) -> AdmissionDecision {
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
