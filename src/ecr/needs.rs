//! What a pull asks of IAM ("Actions, resources, and condition keys for Amazon ECR", "Amazon ECR and Amazon EKS").

use super::image::EcrImage;

/// Login. It has no resource type, so only `Resource: "*"` grants it, and it is asked in the puller's own account.
pub const LOGIN: &str = "ecr:GetAuthorizationToken";

/// What a statement about the repository must allow: the manifest, then the layers.
pub const PULL: [&str; 2] = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];

/// Listed by many documents, used by pushes: a pull works without it, and AWS's own
/// `AmazonEC2ContainerRegistryPullOnly` does not have it.
pub const ADVISORY: &str = "ecr:BatchCheckLayerAvailability";

/// One IAM request of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The action with its prefix.
    pub action: &'static str,
    /// The ARN of the repository, or `*`.
    pub resource: String,
}

/// The three requests that a pull of `image` needs, in the order in which they are made.
#[must_use]
pub fn pull(image: &EcrImage) -> [Ask; 3] {
    let arn = image.arn().to_string();
    let [manifest, layers] = PULL;
    [
        Ask { action: LOGIN, resource: "*".to_owned() },
        Ask { action: manifest, resource: arn.clone() },
        Ask { action: layers, resource: arn },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::image::ImageKind;
    use super::*;

    #[test]
    fn a_pull_needs_login_manifest_and_layers() {
        let ImageKind::Private(image) = ImageKind::of("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app")
        else {
            panic!("not ECR")
        };
        let arn = "arn:aws-cn:ecr:cn-north-1:111122223333:repository/team/app";
        let asks: Vec<_> = pull(&image).into_iter().map(|ask| (ask.action, ask.resource)).collect();
        assert_eq!(
            asks,
            [
                ("ecr:GetAuthorizationToken", "*".to_owned()),
                ("ecr:BatchGetImage", arn.to_owned()),
                ("ecr:GetDownloadUrlForLayer", arn.to_owned()),
            ]
        );
    }
}
