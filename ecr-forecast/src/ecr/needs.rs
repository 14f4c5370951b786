//! What a pull, and what else one may want of a repository, asks of IAM ("Actions, resources, and condition keys for
//! Amazon ECR", "Amazon ECR and Amazon EKS", "IAM permissions required to sync an upstream registry").

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::ecr::image::EcrImage;

/// Login (RES-7). It has no resource type, so only `Resource: "*"` grants it, and it is asked in the puller's own account.
pub(crate) const LOGIN: &str = "ecr:GetAuthorizationToken";

/// What a statement about the repository must allow (RES-7): the manifest, then the layers.
pub(crate) const PULL: [&str; 2] = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];

/// Listed by many documents, used by pushes: a pull works without it, and AWS's own
/// `AmazonEC2ContainerRegistryPullOnly` does not have it.
pub(crate) const ADVISORY: &str = "ecr:BatchCheckLayerAvailability";

/// Fills the cache of an upstream registry with an image that it does not have yet.
pub(crate) const IMPORT: &str = "ecr:BatchImportUpstreamImage";

/// Makes the repository that such an image goes to.
pub(crate) const CREATE: &str = "ecr:CreateRepository";

/// The actions that a push asks for beside those of a pull.
const PUSH: [&str; 5] =
    [ADVISORY, "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"];

/// The actions of the AWS page "Using the Amazon ECR console", login aside.
const CONSOLE: [&str; 7] = [
    ADVISORY,
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetRepositoryPolicy",
    "ecr:DescribeRepositories",
    "ecr:ListImages",
    "ecr:DescribeImages",
    "ecr:BatchGetImage",
];

/// What somebody wants of a repository.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[schemars(inline)]
pub enum Need {
    /// To pull an image that is there.
    Pull,
    /// To pull through the cache what it does not have yet.
    Import,
    /// To push an image, and to pull it.
    Push,
    /// To list the images.
    List,
    /// To look at the repository in the console.
    Console,
}

impl Need {
    /// The word as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "Pull",
            Self::Import => "Import",
            Self::Push => "Push",
            Self::List => "List",
            Self::Console => "Console",
        }
    }

    /// Whether the need is the kubelet's, so that its credentials count.
    #[must_use]
    pub const fn is_pull(self) -> bool {
        matches!(self, Self::Pull | Self::Import)
    }

    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Pull => &PULL,
            Self::Import => &[IMPORT, CREATE],
            Self::Push => &PUSH,
            Self::List => &["ecr:ListImages"],
            Self::Console => &CONSOLE,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One IAM request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredRequest {
    /// The action with its prefix.
    pub action: &'static str,
    /// The ARN of the repository, or `*`.
    pub resource: String,
    /// What it is needed for; the first need that asks for it.
    pub need: Need,
}

impl RequiredRequest {
    /// Whether it asks for a login, which is about no repository.
    #[must_use]
    pub fn is_login(&self) -> bool {
        self.action == LOGIN
    }
}

/// The requests that these needs make of the repository of `image`, each once: login first, then in the order of the
/// needs and of their actions.
#[must_use]
pub(crate) fn requests(image: &EcrImage, needs: &[Need]) -> Vec<RequiredRequest> {
    let arn = image.arn().to_string();
    let mut requests: Vec<RequiredRequest> = Vec::with_capacity(8);
    for &need in needs {
        // To list images with the API takes no login.
        let login = (need != Need::List).then_some((LOGIN, "*"));
        let of_repository = need.actions().iter().map(|action| (*action, arn.as_str()));
        for (action, resource) in login.into_iter().chain(of_repository) {
            if !requests.iter().any(|known| known.action == action) {
                requests.push(RequiredRequest { action, resource: resource.to_owned(), need });
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecr::image::ImageKind;

    fn image() -> EcrImage {
        match ImageKind::of("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app") {
            ImageKind::Private(image) => image,
            other => panic!("{other:?}"),
        }
    }

    fn actions(needs: &[Need]) -> Vec<&'static str> {
        requests(&image(), needs).iter().map(|ask| ask.action.trim_start_matches("ecr:")).collect()
    }

    #[test]
    fn a_pull_needs_login_manifest_and_layers() {
        let arn = "arn:aws-cn:ecr:cn-north-1:111122223333:repository/team/app";
        let requests: Vec<_> =
            requests(&image(), &[Need::Pull]).into_iter().map(|ask| (ask.action, ask.resource, ask.need)).collect();
        assert_eq!(
            requests,
            [
                ("ecr:GetAuthorizationToken", "*".to_owned(), Need::Pull),
                ("ecr:BatchGetImage", arn.to_owned(), Need::Pull),
                ("ecr:GetDownloadUrlForLayer", arn.to_owned(), Need::Pull),
            ]
        );
    }

    #[test]
    fn further_needs_ask_for_what_is_not_asked_yet() {
        let pull = ["GetAuthorizationToken", "BatchGetImage", "GetDownloadUrlForLayer"];
        let and = |more: &[&'static str]| [&pull[..], more].concat();
        assert_eq!(actions(&[Need::Pull, Need::Import]), and(&["BatchImportUpstreamImage", "CreateRepository"]));
        let push = [
            "BatchCheckLayerAvailability",
            "InitiateLayerUpload",
            "UploadLayerPart",
            "CompleteLayerUpload",
            "PutImage",
        ];
        assert_eq!(actions(&[Need::Pull, Need::Push, Need::Pull]), and(&push));
        assert_eq!(actions(&[Need::Pull, Need::List]), and(&["ListImages"]));
        assert_eq!(actions(&[Need::List]), ["ListImages"]);
        assert_eq!(
            actions(&[Need::Pull, Need::Console]),
            and(&[
                "BatchCheckLayerAvailability",
                "GetRepositoryPolicy",
                "DescribeRepositories",
                "ListImages",
                "DescribeImages"
            ])
        );
        let requests = requests(&image(), &[Need::Pull, Need::List, Need::Console]);
        let list = requests.iter().find(|ask| ask.action == "ecr:ListImages").map(|ask| ask.need);
        assert_eq!(list, Some(Need::List));
    }
}
