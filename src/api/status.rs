//! The `status` that the controller writes, the same for both kinds.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::transform::Transform;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use ecr_forecast::policy::MAX_EXEMPTIONS;
use ecr_forecast::policy::parts::{LABEL_LENGTH, Moment, NAME_LENGTH, merge};
use ecr_forecast::text::{Unit, cut, escaped};

/// At most so many [`PolicyStatus::denials`] are listed, the rest is counted: a status stays small with any number of pods.
pub const MAX_DENIALS: usize = 20;
/// At most so many [`PolicyStatus::advice`] are listed, the rest is counted.
pub const MAX_ADVICE: usize = 10;

/// Longest `message` of a condition, in characters.
pub const MESSAGE_LENGTH: usize = 32_768;
/// Longest image of a [`Denial`], in characters. Kubernetes has no limit for the image of a pod.
pub const IMAGE_LENGTH: usize = 1024;
/// Longest repository ARN of a [`Denial`], in characters.
pub const REPOSITORY_LENGTH: usize = 512;
/// Longest target of an [`AdviceEntry`], in characters: a role ARN or a pattern of repository ARNs fits.
pub const TARGET_LENGTH: usize = 1024;
/// Longest name of an IAM policy in an [`AdviceEntry`], in characters.
pub const POLICY_LENGTH: usize = 512;
/// Longest message of an [`AdviceEntry`], in characters.
pub const ADVICE_LENGTH: usize = 1024;
/// Longest document of an [`AdviceEntry`], in characters: the quota of a managed policy ("IAM and AWS STS quotas").
pub const ADVISED_LENGTH: usize = 6144;

/// What the operator found out. Written by the operator alone.
///
/// As of `observed_generation`, by server-side apply, and only when it changes. It decides nothing: the webhook never reads
/// it.
// Tools that wait for an object take one without any status for finished, and one whose generation was not observed for
// unfinished (kstatus; "CRD Status Convention").
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(!default, extend("default" = {"observedGeneration": -1}), transform = nothing_required)]
pub struct PolicyStatus {
    /// metadata.generation of the spec that this status is about. -1: the operator has not seen it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub observed_generation: Option<i64>,
    /// `Ready`: pods are judged by this policy. `PoliciesResolved`: every IAM policy it names can be read. `Conflicted`:
    /// another policy of the same rank selects the same service account. `Stalled`, only while `Ready` is `False`: somebody
    /// has to change the policy. `ChangeAhead`, where it is there: verdicts change by themselves within a day.
    /// `IdentityWithoutRole`, where it is there: `serviceAccount.identity` does not count for some service accounts.
    ///
    /// See [`super::conditions`].
    #[schemars(
        with = "Vec<ConditionSchema>",
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// How many service accounts this policy decides for.
    #[schemars(range(min = 0))]
    pub service_accounts: i64,
    /// How many pods that have not terminated have which verdict under this policy.
    pub pods: VerdictCounts,
    /// How many workloads have which verdict under this policy, by their pod templates. A ReplicaSet of a Deployment, and
    /// whatever else another object controls, is not counted, nor is a Job that has ended.
    #[schemars(transform = of_workloads)]
    pub workloads: VerdictCounts,
    /// Workloads, and pods that belong to none, that could not pull one of their images if they had to now.
    ///
    /// Sorted, at most [`MAX_DENIALS`].
    #[schemars(length(max = MAX_DENIALS), extend("x-kubernetes-list-type" = "atomic"))]
    pub denials: Vec<Denial>,
    /// How many more denials there are than are listed.
    #[schemars(range(min = 0))]
    pub denials_omitted: i64,
    /// What is worth changing in the IAM policies of the spec. It changes no verdict and no condition. Judged by the pods and
    /// workloads that are there now: what comes once a month may need more.
    ///
    /// At most [`MAX_ADVICE`].
    #[schemars(length(max = MAX_ADVICE), extend("x-kubernetes-list-type" = "atomic"))]
    pub advice: Vec<AdviceEntry>,
    /// How many more pieces of advice there are than are listed.
    #[schemars(range(min = 0))]
    pub advice_omitted: i64,
    /// Every exemption of the spec, by name, and what it does now.
    ///
    /// At most [`MAX_EXEMPTIONS`].
    #[schemars(length(max = MAX_EXEMPTIONS), extend("x-kubernetes-list-type" = "atomic"))]
    pub exemptions: Vec<ExemptionStatus>,
    /// When a verdict that is counted here changes by itself, because an IAM policy has a condition on the date, or when an
    /// exemption in use ends. The counts follow at that instant. Example: `2026-12-01T00:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    pub next_transition: Option<jiff::Timestamp>,
}

impl PolicyStatus {
    /// The same status, cut to what the schema allows, so that the API server cannot refuse it.
    ///
    /// Denials beyond [`MAX_DENIALS`] and advice beyond [`MAX_ADVICE`] are counted as omitted, long texts end in `…`, and
    /// a document that is too long is left out: half of one is none.
    #[must_use]
    pub fn within_limits(mut self) -> PolicyStatus {
        shorten(&mut self.denials, MAX_DENIALS, &mut self.denials_omitted);
        shorten(&mut self.advice, MAX_ADVICE, &mut self.advice_omitted);
        for denial in &mut self.denials {
            denial.cut();
        }
        for advice in &mut self.advice {
            limit(&mut advice.target, TARGET_LENGTH);
            limit(&mut advice.policy, POLICY_LENGTH);
            limit(&mut advice.message, ADVICE_LENGTH);
            advice.document.take_if(|document| document.chars().count() > ADVISED_LENGTH);
        }
        self.exemptions.truncate(MAX_EXEMPTIONS);
        for condition in &mut self.conditions {
            limit(&mut condition.message, MESSAGE_LENGTH);
        }
        self
    }
}

/// Cuts `list` to `most` items; adds those that go to `omitted`.
fn shorten<T>(list: &mut Vec<T>, most: usize, omitted: &mut i64) {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    *omitted = omitted.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
}

/// Cuts `text` to the `maxLength` of its field.
fn limit(text: &mut String, longest: usize) {
    if let Cow::Owned(short) = cut(text, longest, Unit::Characters) {
        *text = short;
    }
}

/// How many have which verdict.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(!default, transform = nothing_required)]
pub struct VerdictCounts {
    /// Pods that can pull all their images.
    #[schemars(range(min = 0))]
    pub allowed: i64,
    /// Pods that could not pull one of their images if they had to now.
    #[schemars(range(min = 0))]
    pub denied: i64,
    /// Pods for which some fact is missing.
    #[schemars(range(min = 0))]
    pub unknown: i64,
}

/// A workload or pod and its image that could not be pulled.
///
/// A pod stands for itself where it belongs to no workload.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(!default)]
pub struct Denial {
    /// Its namespace.
    #[schemars(length(max = LABEL_LENGTH))]
    pub namespace: String,
    /// The service account that its pods run as.
    #[schemars(length(max = NAME_LENGTH))]
    pub service_account: String,
    /// Kind of the workload, or `Pod`. Example: `Deployment`.
    #[schemars(length(max = LABEL_LENGTH))]
    pub kind: String,
    /// Name of the workload or pod.
    #[schemars(length(max = NAME_LENGTH))]
    pub name: String,
    /// How many such pods of it are there. 0: only its template is like that.
    #[schemars(range(min = 0))]
    pub pods: i64,
    /// The image as the pod names it.
    #[schemars(length(max = IMAGE_LENGTH))]
    pub image: String,
    /// ARN of the image's repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = REPOSITORY_LENGTH))]
    pub repository: Option<String>,
    /// The first action that is not allowed. Example: `ecr:BatchGetImage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub action: Option<String>,
    /// A stable code for why. Example: `RepositoryNotInResource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LABEL_LENGTH))]
    pub cause: Option<String>,
    /// Name of the exemption that lets it in all the same, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LABEL_LENGTH))]
    pub exemption: Option<String>,
}

impl Denial {
    /// Writes out what is not harmless in an image, and cuts what a pod may name at any length to what the schema allows.
    /// Rows are told apart as they are stored, so this comes before they are compared.
    pub fn cut(&mut self) {
        // First as well, so that an image of megabytes costs no more than a short one.
        limit(&mut self.image, IMAGE_LENGTH);
        if let Cow::Owned(image) = escaped(&self.image) {
            self.image = image;
            limit(&mut self.image, IMAGE_LENGTH);
        }
        if let Some(repository) = &mut self.repository {
            limit(repository, REPOSITORY_LENGTH);
        }
    }
}

/// One IAM policy and what is worth changing in it.
///
/// It denies no pod: a grant beyond the need, or what a document says in vain.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(!default)]
pub struct AdviceEntry {
    /// What the IAM policy is attached to. Example: `arn:aws:iam::111122223333:role/app`.
    #[schemars(length(max = TARGET_LENGTH))]
    pub target: String,
    /// Name of the IAM policy, as the spec has it.
    #[schemars(length(max = POLICY_LENGTH))]
    pub policy: String,
    /// A stable code. `BroaderThanNeeded`: it grants more than the pulls need. Otherwise the id of a lint, for what has no
    /// effect or another one than it seems. Example: `needs-star-resource`.
    #[schemars(length(max = LABEL_LENGTH))]
    pub code: String,
    /// The same for a person, in one line.
    #[schemars(length(max = ADVICE_LENGTH))]
    pub message: String,
    /// For `BroaderThanNeeded`: an IAM policy, as JSON, that is enough for every image that these pods and workloads pull
    /// with this target. Left out where it would be too long for one IAM policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = ADVISED_LENGTH))]
    pub document: Option<String>,
}

/// An exemption of the spec.
///
/// As of now.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(!default)]
pub struct ExemptionStatus {
    /// Its name in the spec.
    #[schemars(length(max = LABEL_LENGTH))]
    pub name: String,
    /// Its end, in UTC.
    #[schemars(length(max = 64))]
    pub expires_at: String,
    /// Whether it has not ended yet.
    pub active: bool,
    /// How many pods that have not terminated have an image that could not be pulled, or may not be, and that it covers.
    #[schemars(range(min = 0))]
    pub pods: i64,
}

/// One aspect of this policy's state.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "the shape of a type of k8s-openapi, never a value")]
struct ConditionSchema {
    /// Which aspect. Example: `Ready`.
    #[schemars(rename = "type", length(max = 316))]
    type_: String,
    /// Whether it holds.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    status: String,
    /// A stable word for why. Example: `UnsupportedSpec`.
    #[schemars(length(max = 1024))]
    reason: String,
    /// The same for a person.
    #[schemars(length(max = MESSAGE_LENGTH))]
    message: String,
    /// metadata.generation of the spec that this condition is about.
    #[schemars(range(min = 0))]
    observed_generation: Option<i64>,
    /// When the condition last changed.
    last_transition_time: Moment,
}

/// Counts of workloads instead of pods.
fn of_workloads(counts: &mut Schema) {
    let mut change = merge(json!({"properties": {
        "allowed": {"description": "Workloads whose pods can pull all their images."},
        "denied": {"description": "Workloads whose pods could not pull one of their images if they had to now."},
        "unknown": {"description": "Workloads for which some fact is missing."},
    }}));
    change.transform(counts);
}

/// Nothing of it has to be there: who applies a part of it says nothing of the rest.
fn nothing_required(schema: &mut Schema) {
    schema.remove("required");
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecr_forecast::text::HARMFUL;

    #[test]
    fn the_texts_of_a_denial_are_cut_to_whole_characters() {
        let mut row =
            Denial { image: "é".repeat(3000), repository: Some("x".repeat(REPOSITORY_LENGTH)), ..Denial::default() };
        row.cut();
        assert_eq!(row.repository.as_ref().unwrap().len(), REPOSITORY_LENGTH);
        assert!(row.image.chars().count() == IMAGE_LENGTH && row.image.ends_with('…'));
        row.image = format!("a{HARMFUL}b");
        row.cut();
        assert!(escaped(&row.image) == row.image && row.image.contains(r"\u{202e}"), "{}", row.image);
    }

    #[test]
    fn a_status_is_cut_to_what_the_schema_allows() {
        let denial = Denial { image: "é".repeat(2000), repository: Some("r".repeat(512)), ..Denial::default() };
        let status = PolicyStatus { denials: vec![denial; 25], denials_omitted: 3, ..PolicyStatus::default() };
        let status = status.within_limits();
        assert_eq!((status.denials.len(), status.denials_omitted), (MAX_DENIALS, 8));
        assert_eq!(status.denials[0].image.chars().count(), IMAGE_LENGTH);
        assert!(status.denials[0].image.ends_with("é…"));
        assert_eq!(status.denials[0].repository.as_deref(), Some("r".repeat(512).as_str()));
        assert_eq!(status.clone().within_limits(), status, "cutting twice changes nothing");
    }
    #[test]
    fn advice_is_cut_to_what_the_schema_allows_and_a_document_is_whole_or_not_there() {
        let entry = |document: usize| AdviceEntry {
            target: "t".repeat(3000),
            policy: "p".repeat(600),
            message: "é".repeat(1025),
            document: Some("é".repeat(document)),
            ..AdviceEntry::default()
        };
        let mut advice = vec![entry(ADVISED_LENGTH), entry(ADVISED_LENGTH + 1)];
        advice.extend(std::iter::repeat_n(entry(1), 10));
        let status = PolicyStatus { advice, advice_omitted: 1, ..PolicyStatus::default() }.within_limits();
        assert_eq!((status.advice.len(), status.advice_omitted), (MAX_ADVICE, 3));
        let [whole, none, ..] = status.advice.as_slice() else { panic!("{:?}", status.advice) };
        let lengths = [&whole.target, &whole.policy, &whole.message].map(|text| text.chars().count());
        assert_eq!(lengths, [TARGET_LENGTH, POLICY_LENGTH, ADVICE_LENGTH]);
        assert!(whole.message.ends_with("é…"));
        assert_eq!(whole.document, Some("é".repeat(ADVISED_LENGTH)));
        assert_eq!(none.document, None);
        assert_eq!(status.clone().within_limits(), status, "cutting twice changes nothing");
    }
}
