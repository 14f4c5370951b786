//! The policies of AWS Organizations that AWS itself made, built in: `FullAWSAccess` and `RCPFullAWSAccess`.

use std::sync::{Arc, LazyLock};

use iam_verdict::Policy;

use crate::ecr::managed;

/// What an organization attaches everywhere when it begins to use service control policies ("Service control policies
/// (SCPs)", FullAWSAccess).
const FULL_ACCESS: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

/// What cannot be detached as long as resource control policies are in use ("Resource control policies (RCPs)",
/// RCPFullAWSAccess).
const RCP_FULL_ACCESS: &str = r#"{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}"#;

/// Finds the document of an organization's policy by its ARN, in any partition: one of AWS's own, or a managed policy of
/// IAM, whose text some organizations use as a service control policy. With it goes whether the text was taken from
/// another partition. None: not built in, so what it allows is not known.
#[must_use]
pub fn find(arn: &str) -> Option<(Arc<Policy>, bool)> {
    static FULL: LazyLock<Option<Arc<Policy>>> = LazyLock::new(|| Policy::parse(FULL_ACCESS).ok().map(Arc::new));
    static RCP_FULL: LazyLock<Option<Arc<Policy>>> =
        LazyLock::new(|| Policy::parse(RCP_FULL_ACCESS).ok().map(Arc::new));
    let path = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":organizations::aws:policy/"));
    match path {
        Some((_, "service_control_policy/p-FullAWSAccess")) => Some((FULL.clone()?, false)),
        Some((_, "resource_control_policy/p-RCPFullAWSAccess")) => Some((RCP_FULL.clone()?, false)),
        Some(_) => None,
        None => managed::find(arn).map(|found| (Arc::clone(found.policy), found.other_partition)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_of_aws_are_built_in() {
        for arn in [
            "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess",
            "arn:aws-us-gov:organizations::aws:policy/service_control_policy/p-FullAWSAccess",
            "arn:aws:organizations::aws:policy/resource_control_policy/p-RCPFullAWSAccess",
            "arn:aws:iam::aws:policy/AdministratorAccess",
        ] {
            assert!(find(arn).is_some(), "{arn}");
        }
        for arn in [
            "arn:aws:organizations::111122223333:policy/o-abc/service_control_policy/p-FullAWSAccess",
            "arn:aws:organizations::aws:policy/service_control_policy/p-Other",
            "arn:aws:iam::aws:policy/FullAWSAccess",
        ] {
            assert!(find(arn).is_none(), "{arn}");
        }
    }
}
