//! The `status` that the controller writes, the same for both kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

/// At most so many [`PolicyStatus::denials`] are listed, the rest is counted: a status stays small with any number of pods.
pub const MAX_DENIALS: usize = 20;

/// Longest `message` of a condition, in characters.
pub const MESSAGE_LENGTH: usize = 32_768;
/// Longest image of a [`Denial`], in characters. Kubernetes has no limit for the image of a pod.
pub const IMAGE_LENGTH: usize = 1024;
/// Longest repository ARN of a [`Denial`], in characters.
pub const REPOSITORY_LENGTH: usize = 512;

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
    /// The pods that would be denied now, sorted, at most [`MAX_DENIALS`].
    pub denials: Vec<Denial>,
    /// How many denials are not listed.
    pub denials_omitted: i64,
}

impl PolicyStatus {
    /// The same status, cut to what the schema allows, so that the API server cannot refuse it.
    ///
    /// Denials beyond [`MAX_DENIALS`] are counted in `denials_omitted`, long texts end in `…`.
    #[must_use]
    pub fn within_limits(mut self) -> PolicyStatus {
        let omitted = self.denials.len().saturating_sub(MAX_DENIALS);
        self.denials.truncate(MAX_DENIALS);
        self.denials_omitted = self.denials_omitted.saturating_add(i64::try_from(omitted).unwrap_or(i64::MAX));
        for denial in &mut self.denials {
            cut(&mut denial.image, IMAGE_LENGTH);
            if let Some(repository) = &mut denial.repository {
                cut(repository, REPOSITORY_LENGTH);
            }
        }
        for condition in &mut self.conditions {
            cut(&mut condition.message, MESSAGE_LENGTH);
        }
        self
    }
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

/// A pod of the cluster that could not pull one of its images now.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Denial {
    /// The pod's namespace.
    pub namespace: String,
    /// The service account that it runs as.
    pub service_account: String,
    /// The pod's name.
    pub pod: String,
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
