//! Registries that AWS owns and lets everybody read: those that EKS takes its own images from, and the like.
//!
//! Their repository policies are AWS's affair and open, so what the puller's own side allows decides. As of 2026-11, from "View
//! Amazon container image registries for Amazon EKS add-ons" (one account for most regions, one of its own for each region
//! that has to be opted into), "Amazon ECR repository hosting GuardDuty agent" (by region, for EKS and for Fargate), and the
//! registry that Bottlerocket pulls its own containers from.

use std::sync::{Arc, LazyLock};

use iam_verdict::{NamedPolicy, Policy};

/// The accounts. One owns nothing but such registries, so the region does not matter.
const ACCOUNTS: [&str; 89] = [
    // EKS
    "602401143452",
    "877085696533",
    "800184023465",
    "533267051163",
    "900889452093",
    "296578399912",
    "491585149902",
    "151610086707",
    "333609536671",
    "121268973566",
    "761377655185",
    "900612956339",
    "590381155156",
    "455263428931",
    "066635153087",
    "759879836304",
    "558608220178",
    "730335286997",
    "918309763551",
    "961992271922",
    "151742754352",
    "013241004608",
    "725322719131",
    "608367168043",
    "187977181151",
    "249663109785",
    "676585237158",
    // GuardDuty, the agent for EKS
    "039403964562",
    "113643092156",
    "610108029387",
    "618745550137",
    "001188825231",
    "601769779514",
    "109118265657",
    "373421517865",
    "031903291036",
    "591382732059",
    "673884943994",
    "941219317354",
    "366771026645",
    "409493279830",
    "718440343717",
    "584580519942",
    "011662287384",
    "617474730032",
    "781592569369",
    "732248494576",
    "810724417379",
    "790429075973",
    "541829937850",
    "528450769569",
    "531047660167",
    "379032919888",
    "750462861327",
    "292660727137",
    // GuardDuty, the agent for Fargate
    "733349766148",
    "665651866788",
    "251508486986",
    "950823858135",
    "354763396469",
    "000014521398",
    "892757235363",
    "684579721401",
    "593207742271",
    "307168627858",
    "694911143906",
    "758426053663",
    "591436053604",
    "323658145986",
    "529164026651",
    "174946120834",
    "005257825471",
    "510637619217",
    "533107202818",
    "914738172881",
    "273192626886",
    "258348409381",
    "536382113932",
    "266869475730",
    "919611009337",
    "197869348890",
    "251357961535",
    "870907303882",
    "156041399949",
    "054037130133",
    "339712888787",
    "311141559934",
    "259886477082",
    // Bottlerocket
    "328549459982",
];

/// Whether the registry of this account is one that AWS owns and everybody reads.
#[must_use]
pub(crate) fn is_of_aws(account: &str) -> bool {
    ACCOUNTS.contains(&account)
}

/// What stands for the policy of a repository there; none never happens, as a test shows.
#[must_use]
pub(crate) fn open_policy() -> Option<NamedPolicy> {
    static OPEN: LazyLock<Option<Arc<Policy>>> = LazyLock::new(|| Policy::parse(TEXT).ok().map(Arc::new));
    OPEN.clone().map(|policy| NamedPolicy::known("repository policy of AWS", policy))
}

/// What everybody may do there.
const TEXT: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Everybody", "Effect": "Allow", "Principal": "*",
    "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]}]}"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn accounts_are_accounts_each_once() {
        assert!(ACCOUNTS.iter().all(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit())));
        assert_eq!(ACCOUNTS.iter().collect::<BTreeSet<_>>().len(), ACCOUNTS.len());
        assert!(open_policy().is_some());
    }

    #[test]
    fn the_registries_of_eks_are_of_aws() {
        for account in ["602401143452", "877085696533", "918309763551", "013241004608", "694911143906", "328549459982"]
        {
            assert!(is_of_aws(account), "{account}");
        }
        for account in ["111122223333", "602401143453", "60240114345", "", "aws"] {
            assert!(!is_of_aws(account), "{account}");
        }
    }
}
