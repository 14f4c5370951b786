//! The `status` that the controller writes, the same for both kinds.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use crate::text::escaped;

/// At most so many [`PolicyStatus::denials`] are listed, the rest is counted: a status stays small with any number of pods.
pub const MAX_DENIALS: usize = 20;
/// At most so many [`PolicyStatus::advice`] are listed, the rest is counted.
pub const MAX_ADVICE: usize = 10;

/// At most so many exemptions a policy has, and with them its status.
pub const MAX_EXEMPTIONS: usize = 32;

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

/// What the controller found out about a policy, as of `observed_generation`.
///
/// Written by server-side apply, and only when it changes. It decides nothing: the webhook never reads it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStatus {
    /// `metadata.generation` of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// See [`super::conditions`]; at most one of each type.
    pub conditions: Vec<Condition>,
    /// How many service accounts select this policy, that is for how many it is the winner.
    pub service_accounts: i64,
    /// How many pods that are not terminated have which verdict under this policy.
    pub pods: VerdictCounts,
    /// How many workloads have which verdict, by their pod templates. Those that another object controls, and Jobs that
    /// have ended, are not counted.
    pub workloads: VerdictCounts,
    /// What would be denied now, sorted, at most [`MAX_DENIALS`].
    pub denials: Vec<Denial>,
    /// How many denials are not listed.
    pub denials_omitted: i64,
    /// What is worth changing although it denies no pod, at most [`MAX_ADVICE`]. It changes no verdict and no condition.
    pub advice: Vec<AdviceEntry>,
    /// How many pieces of advice are not listed.
    pub advice_omitted: i64,
    /// Every exemption of the spec by name, and what it does now; at most [`MAX_EXEMPTIONS`].
    pub exemptions: Vec<ExemptionStatus>,
    /// When a verdict that is counted here changes by itself, because of a condition on the date, or what admission does
    /// about it, because an exemption ends.
    #[serde(skip_serializing_if = "Option::is_none")]
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
            cut(&mut advice.target, TARGET_LENGTH);
            cut(&mut advice.policy, POLICY_LENGTH);
            cut(&mut advice.message, ADVICE_LENGTH);
            advice.document.take_if(|document| document.chars().count() > ADVISED_LENGTH);
        }
        self.exemptions.truncate(MAX_EXEMPTIONS);
        for condition in &mut self.conditions {
            cut(&mut condition.message, MESSAGE_LENGTH);
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

/// Cuts `text` to `longest` characters, the last of which is then `…`.
fn cut(text: &mut String, longest: usize) {
    // Bytes are at least as many as characters, and cheaper to count.
    if text.len() > longest && text.chars().count() > longest {
        *text = text.chars().take(longest.saturating_sub(1)).chain(['…']).collect();
    }
}

/// How many have which verdict.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerdictCounts {
    /// Verdict Allow.
    pub allowed: i64,
    /// Verdict Deny.
    pub denied: i64,
    /// Verdict Unknown.
    pub unknown: i64,
}

/// A workload, or a pod that belongs to none, that could not pull one of its images now.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Denial {
    /// The namespace.
    pub namespace: String,
    /// The service account that pods run as.
    pub service_account: String,
    /// Kind of the workload, such as `Deployment`, or `Pod`.
    pub kind: String,
    /// Name of the workload or pod.
    pub name: String,
    /// How many pods of it are there and would be denied. 0: only its template would.
    pub pods: i64,
    /// The image, as the pod names it.
    pub image: String,
    /// ARN of the image's repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The first action that is not allowed, such as `ecr:BatchGetImage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// A stable code for why, such as `RepositoryNotInResource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Name of the exemption that lets it in all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<String>,
}

impl Denial {
    /// Writes out what is not harmless in an image, and cuts what a pod may name at any length to what the schema allows.
    /// Rows are told apart as they are stored, so this comes before they are compared.
    pub fn cut(&mut self) {
        // First as well, so that an image of megabytes costs no more than a short one.
        cut(&mut self.image, IMAGE_LENGTH);
        if let Cow::Owned(image) = escaped(&self.image) {
            self.image = image;
            cut(&mut self.image, IMAGE_LENGTH);
        }
        if let Some(repository) = &mut self.repository {
            cut(repository, REPOSITORY_LENGTH);
        }
    }
}

/// What is worth changing in a policy although it denies no pod: a grant beyond the need, or what a document says in vain.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdviceEntry {
    /// What the IAM policy is attached to, such as a role's ARN.
    pub target: String,
    /// Name of the IAM policy, as the spec has it.
    pub policy: String,
    /// A stable code: `BroaderThanNeeded`, or the id of a lint such as `needs-star-resource`.
    pub code: String,
    /// The same for a person, in one line.
    pub message: String,
    /// For a grant beyond the need: the policy that would do for what is pulled now, as JSON, where it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// An exemption of the spec, as of now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExemptionStatus {
    /// Its name in the spec.
    pub name: String,
    /// Its end, in UTC.
    pub expires_at: String,
    /// It has not ended yet.
    pub active: bool,
    /// How many pods that are not terminated have an image that cannot be pulled, or may not be, and that it covers.
    pub pods: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{HARMFUL, is_harmless};

    #[test]
    fn the_texts_of_a_denial_are_cut_to_whole_characters() {
        let mut row =
            Denial { image: "é".repeat(3000), repository: Some("x".repeat(REPOSITORY_LENGTH)), ..Denial::default() };
        row.cut();
        assert_eq!(row.repository.as_ref().unwrap().len(), REPOSITORY_LENGTH);
        assert!(row.image.chars().count() == IMAGE_LENGTH && row.image.ends_with('…'));
        row.image = format!("a{HARMFUL}b");
        row.cut();
        assert!(row.image.chars().all(is_harmless) && row.image.contains(r"\u{202e}"), "{}", row.image);
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
