//! The AWS managed policies that matter to image pulls, built in.
//!
//! Each file is one policy as IAM serves it: ARN, default version, date, document. A document is parsed when it is first
//! asked for, and never again.

use std::sync::{Arc, OnceLock};

use iam_verdict::Policy;
use serde::Deserialize;

/// A managed policy that is built in.
#[derive(Clone, Copy, Debug)]
pub struct Managed {
    /// Its version and date.
    pub about: &'static About,
    /// The compiled document.
    pub policy: &'static Arc<Policy>,
    /// It was asked for in another partition than the one it was taken from; AWS keeps the texts alike, but does not
    /// promise it.
    pub other_partition: bool,
}

/// What is known of a built-in policy beside its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The ARN in the partition `aws`.
    pub arn: String,
    /// The version that is built in, for example `v3`.
    pub version: String,
    /// When AWS made this version (RFC 3339).
    pub updated: String,
}

/// Finds a managed policy by its ARN, in any partition. None: not built in, so what it allows is not known.
#[must_use]
pub fn find(arn: &str) -> Option<Managed> {
    let (partition, path) = arn.strip_prefix("arn:")?.split_once(":iam::aws:policy/")?;
    if partition != "aws" && !partition.starts_with("aws-") {
        return None;
    }
    let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
    let entry = entries().iter().find(|entry| entry.name == name)?;
    let loaded = entry.loaded()?;
    // The same name under another path is another policy.
    let same = loaded.about.arn.strip_prefix("arn:aws:iam::aws:policy/") == Some(path);
    same.then_some(Managed { about: &loaded.about, policy: &loaded.policy, other_partition: partition != "aws" })
}

/// The document of a managed policy that is built in.
#[must_use]
pub fn document(arn: &str) -> Option<serde_json::Value> {
    let About { arn, .. } = find(arn)?.about;
    let name = arn.rsplit_once('/').map(|(_, name)| name)?;
    let entry = entries().iter().find(|entry| entry.name == name)?;
    serde_json::from_str::<File>(entry.text).ok().map(|file| file.document)
}

/// The ARNs of all built-in policies in the partition `aws`, sorted by name.
pub fn arns() -> impl Iterator<Item = &'static str> {
    entries().iter().filter_map(|entry| Some(entry.loaded()?.about.arn.as_str()))
}

/// One file and, once it was asked for, what it says.
struct Entry {
    name: &'static str,
    text: &'static str,
    loaded: OnceLock<Option<Loaded>>,
}

struct Loaded {
    about: About,
    policy: Arc<Policy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    arn: String,
    default_version_id: String,
    update_date: String,
    document: serde_json::Value,
}

impl Entry {
    const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, loaded: OnceLock::new() }
    }

    /// A test reads every file, so none of them is malformed; if one were, its policy would count as not built in.
    fn loaded(&self) -> Option<&Loaded> {
        let load = || {
            let file: File = serde_json::from_str(self.text).ok()?;
            Some(Loaded {
                policy: Arc::new(Policy::from_value(&file.document).ok()?),
                about: About { arn: file.arn, version: file.default_version_id, updated: file.update_date },
            })
        };
        self.loaded.get_or_init(load).as_ref()
    }
}

macro_rules! entries {
    ($($name:literal),+ $(,)?) => {
        [$(Entry::new($name, include_str!(concat!("managed-policies/", $name, ".json")))),+]
    };
}

fn entries() -> &'static [Entry] {
    static ENTRIES: [Entry; 36] = entries![
        "AWSAppRunnerServicePolicyForECRAccess",
        "AWSCompromisedKeyQuarantineV2",
        "AWSCompromisedKeyQuarantineV3",
        "AWSDenyAll",
        "AWSECRPullThroughCache_ServiceRolePolicy",
        "AdministratorAccess",
        "AmazonEC2ContainerRegistryFullAccess",
        "AmazonEC2ContainerRegistryPowerUser",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEC2ContainerRegistryReadOnly",
        "AmazonEC2ContainerServiceforEC2Role",
        "AmazonECSTaskExecutionRolePolicy",
        "AmazonEKSClusterPolicy",
        "AmazonEKSComputePolicy",
        "AmazonEKSConnectorServiceRolePolicy",
        "AmazonEKSFargatePodExecutionRolePolicy",
        "AmazonEKSLocalOutpostClusterPolicy",
        "AmazonEKSServiceRolePolicy",
        "AmazonEKSWorkerNodeMinimalPolicy",
        "AmazonEKSWorkerNodePolicy",
        "AmazonEKS_CNI_Policy",
        "AmazonElasticContainerRegistryPublicFullAccess",
        "AmazonElasticContainerRegistryPublicPowerUser",
        "AmazonElasticContainerRegistryPublicReadOnly",
        "AmazonSSMManagedInstanceCore",
        "AmazonSageMakerFullAccess",
        "AmazonSageMakerReadOnly",
        "EC2InstanceProfileForImageBuilderECRContainerBuilds",
        "ECRReplicationServiceRolePolicy",
        "ECRTemplateServiceRolePolicy",
        "PowerUserAccess",
        "ROSAKubeControllerPolicy",
        "ROSAWorkerInstancePolicy",
        "ReadOnlyAccess",
        "SecurityAudit",
        "ViewOnlyAccess",
    ];
    &ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_and_parses() {
        assert_eq!(arns().count(), 36);
        for entry in entries() {
            let loaded = entry.loaded().unwrap_or_else(|| panic!("{} does not parse", entry.name));
            assert_eq!(loaded.about.arn.rsplit('/').next(), Some(entry.name));
            assert!(loaded.about.version.starts_with('v'), "{}", entry.name);
        }
    }

    #[test]
    fn no_file_of_the_folder_is_forgotten() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ecr/managed-policies");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap().replace(".json", ""))
            .collect();
        files.sort();
        let names: Vec<&str> = entries().iter().map(|entry| entry.name).collect();
        assert_eq!(files, names);
    }

    #[test]
    fn finds_by_arn_in_any_partition() {
        let found = find("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly").unwrap();
        assert!(!found.other_partition);
        assert_eq!(found.about.version, "v1");
        let found = find("arn:aws-cn:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy").unwrap();
        assert!(found.other_partition);
        assert!(Arc::ptr_eq(
            found.policy,
            find("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy").unwrap().policy
        ));
        for arn in [
            "",
            "AmazonEC2ContainerRegistryPullOnly",
            "arn:aws:iam::aws:policy/Nothing",
            "arn:aws:iam::aws:policy/AmazonECSTaskExecutionRolePolicy",
            "arn:aws:iam::111122223333:policy/AmazonEC2ContainerRegistryPullOnly",
            "arn:evil:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
        ] {
            assert!(find(arn).is_none(), "{arn}");
        }
    }
}
