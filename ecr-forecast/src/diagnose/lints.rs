//! The lints of the engine with what is known of Amazon ECR ("Actions, resources, and condition keys for Amazon ECR").

use iam_verdict::{ActionFacts, Lint, LintId, Linter, PolicyType, ServiceFacts, Severity};

/// What a request about a repository may carry; ECR's page lists fewer of them for some actions.
const KEYS: &[&str] = &["aws:ResourceTag/", "ecr:ResourceTag/", "aws:RequestTag/", "aws:TagKeys", "ecr:AccountSetting"];

const fn action(name: &'static str) -> ActionFacts<'static> {
    ActionFacts { name, resource_level: true, keys: KEYS }
}

/// The actions that were known when this was written. Those of the registry itself count as having resource-level
/// support here, which keeps the lints silent about them.
const ACTIONS: &[ActionFacts<'static>] = &[
    ActionFacts { name: "GetAuthorizationToken", resource_level: false, keys: &[] },
    action("BatchCheckLayerAvailability"),
    action("BatchDeleteImage"),
    action("BatchGetImage"),
    action("BatchGetRepositoryScanningConfiguration"),
    action("BatchImportUpstreamImage"),
    action("CompleteLayerUpload"),
    action("CreatePullThroughCacheRule"),
    action("CreateRepository"),
    action("CreateRepositoryCreationTemplate"),
    action("DeleteLifecyclePolicy"),
    action("DeletePullThroughCacheRule"),
    action("DeleteRegistryPolicy"),
    action("DeleteRepository"),
    action("DeleteRepositoryCreationTemplate"),
    action("DeleteRepositoryPolicy"),
    action("DescribeImageReplicationStatus"),
    action("DescribeImageScanFindings"),
    action("DescribeImages"),
    action("DescribePullThroughCacheRules"),
    action("DescribeRegistry"),
    action("DescribeRepositories"),
    action("DescribeRepositoryCreationTemplates"),
    action("GetAccountSetting"),
    action("GetDownloadUrlForLayer"),
    action("GetImageCopyStatus"),
    action("GetLifecyclePolicy"),
    action("GetLifecyclePolicyPreview"),
    action("GetRegistryPolicy"),
    action("GetRegistryScanningConfiguration"),
    action("GetRepositoryPolicy"),
    action("InitiateLayerUpload"),
    action("ListImages"),
    action("ListTagsForResource"),
    action("PutAccountSetting"),
    action("PutImage"),
    action("PutImageScanningConfiguration"),
    action("PutImageTagMutability"),
    action("PutLifecyclePolicy"),
    action("PutRegistryPolicy"),
    action("PutRegistryScanningConfiguration"),
    action("PutReplicationConfiguration"),
    action("ReplicateImage"),
    action("SetRepositoryPolicy"),
    action("StartImageScan"),
    action("StartLifecyclePolicyPreview"),
    action("TagResource"),
    action("UntagResource"),
    action("UpdateImageStorageClass"),
    action("UpdatePullThroughCacheRule"),
    action("UpdateRepositoryCreationTemplate"),
    action("UploadLayerPart"),
    action("ValidatePullThroughCacheRule"),
];

const SERVICES: &[ServiceFacts<'static>] = &[ServiceFacts { prefix: "ecr", actions: ACTIONS }];

/// The warnings about a document of this type: what has no effect, or another one than it seems. Notes on style are
/// left out. An action that is not listed here may be newer than this list, so it is told of only where it looks like
/// one that is.
#[must_use]
pub(crate) fn lints(kind: PolicyType, text: &str) -> Vec<Lint> {
    let certain = |lint: &Lint| {
        lint.severity() == Severity::Warning
            && (lint.id != LintId::UnknownAction || lint.hint.starts_with("did you mean"))
    };
    Linter::new(kind).services(SERVICES).lint(text).into_iter().filter(certain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_know_amazon_ecr() {
        let ids = |statement: &str| -> Vec<&str> {
            let text = format!(r#"{{"Version": "2012-10-17", "Statement": {statement}}}"#);
            lints(PolicyType::Identity, &text).iter().map(|lint| lint.id.as_str()).collect()
        };
        let repository = "arn:aws:ecr:us-east-1:111122223333:repository/a";
        let of = |action: &str, resource: &str, more: &str| {
            ids(&format!(r#"{{"Effect": "Allow", "Action": "ecr:{action}", "Resource": "{resource}"{more}}}"#))
        };
        assert_eq!(of("GetAuthorizationToken", repository, ""), ["needs-star-resource"]);
        assert_eq!(of("BatchGetImages", "*", ""), ["unknown-action"]);
        assert_eq!(of("SomethingEntirelyNew", "*", ""), [""; 0], "it may be newer than the list");
        let never = r#", "Condition": {"StringEquals": {"ecr:repositoryName": "a"}}"#;
        assert_eq!(of("BatchGetImage", repository, never), ["key-never-sent"]);
        let tag = r#", "Condition": {"StringEquals": {"ecr:ResourceTag/team": "a"}}"#;
        assert_eq!(of("BatchGetImage", repository, tag), [""; 0]);
        assert_eq!(of("GetAuthorizationToken", "*", tag), ["key-never-sent"]);
        assert_eq!(of("*", "*", ""), [""; 0]);
        // A single statement without a version: a matter of style, in a note.
        assert!(
            lints(PolicyType::Identity, r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#)
                .is_empty()
        );
    }
}
