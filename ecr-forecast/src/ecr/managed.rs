//! The AWS managed policies, built in: the names of all, and the documents of those that say something of ECR.
//!
//! `managed-policies.tsv` has one policy a line. Of those that say nothing of ECR the name is enough: they grant nothing and deny
//! nothing that a pull asks for. The others are files as IAM serves them: ARN, default version, date, document. A document
//! is parsed when it is first asked for, and never again. A file of the user's may take the place of what is built in.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use iam_verdict::{Policy, mistyped};
use serde::Deserialize;

/// A managed policy that is known.
#[derive(Clone, Copy, Debug)]
pub struct Managed {
    /// Its version, for example `v3`.
    pub version: &'static str,
    /// The compiled document; one without statements where it says nothing of ECR.
    pub policy: &'static Arc<Policy>,
    /// It was asked for in another partition than the one it was taken from; AWS keeps the texts alike, but does not
    /// promise it.
    pub other_partition: bool,
}

/// What is known of a policy beside its document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    /// The ARN in the partition `aws`.
    arn: String,
    /// The version, for example `v3`.
    version: String,
    /// When AWS made this version (RFC 3339, or the date alone).
    updated: String,
}

/// Why a file of managed policies is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    /// No JSON, or no JSON of this shape.
    #[error("the file is no list of managed policies: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An entry is no policy of AWS, or its document is none.
    #[error("`{0}` is no AWS managed policy with a document that can be read")]
    Entry(String),
    /// Policies were looked up before.
    #[error("managed policies are in use already")]
    InUse,
}

/// Takes a file of the user's: `{"asOf": "2026-12", "policies": [{"arn", "version", "updated", "document"}]}`. Its entries
/// come before those that are built in; one without a document says nothing of ECR. To be called before the first look-up.
///
/// # Errors
/// When the file is malformed, or when it comes too late.
pub fn put(text: &str) -> Result<(), ManagedError> {
    let file: UserFile = serde_json::from_str(text)?;
    let mut set = Set::built_in();
    set.as_of = file.as_of;
    for given in file.policies {
        let refused = || ManagedError::Entry(given.arn.clone());
        let path = given.arn.strip_prefix(AWS).ok_or_else(refused)?;
        let policy = match &given.document {
            Some(document) => Arc::new(Policy::from_value(document).map_err(|_| refused())?),
            None => nothing().ok_or_else(refused)?,
        };
        let about = About { arn: given.arn.clone(), version: given.version.clone(), updated: given.updated.clone() };
        let text = given.document.as_ref().map(|document| Text::Given(document.clone()));
        let loaded = OnceLock::from(Some(policy));
        set.entries.insert(path.to_owned(), Entry { about, text, loaded });
    }
    SET.set(set).map_err(|_| ManagedError::InUse)
}

/// How many policies are known, and as of when: `1582 AWS managed policies as of 2026-10`.
#[must_use]
pub fn summary() -> String {
    // Before the first look-up there is no set: it is not made to be counted.
    static BUILT_IN: LazyLock<String> = LazyLock::new(|| summary_of(TABLE.lines().skip(1).count(), as_of()));
    SET.get().map_or_else(|| BUILT_IN.clone(), |set| summary_of(set.entries.len(), &set.as_of))
}

fn summary_of(count: usize, as_of: &str) -> String {
    format!("{count} AWS managed policies as of {as_of}")
}

/// Finds a managed policy by its ARN, in any partition. None: not known, so what it allows is not known.
#[must_use]
pub fn find(arn: &str) -> Option<Managed> {
    let (other_partition, path) = path(arn)?;
    // The same name under another path is another policy.
    let entry = set().entries.get(path)?;
    Some(Managed { version: &entry.about.version, policy: entry.policy()?, other_partition })
}

/// The document of a managed policy; none where it is not known, and where it says nothing of ECR.
#[must_use]
pub fn document(arn: &str) -> Option<serde_json::Value> {
    set().entries.get(path(arn)?.1)?.document()
}

/// The ARNs of all policies whose documents are known, in the partition `aws`, in the order of their paths and names.
pub fn arns() -> impl Iterator<Item = &'static str> {
    set().entries.values().filter(|entry| entry.text.is_some()).map(|entry| entry.about.arn.as_str())
}

/// ` (did you mean …?)` for an ARN that is not known, where one is close: the name under another path or in another case,
/// of another account, or a few letters off.
pub(crate) fn hint(arn: &str) -> String {
    match closest(arn) {
        Some(close) => format!(" (did you mean `{close}`?)"),
        None => String::new(),
    }
}

fn closest(arn: &str) -> Option<&'static str> {
    let (head, path) = arn.split_once(":policy/")?;
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let of_aws = head.ends_with(":aws");
    // Letter by letter is compared only what may be one of AWS's.
    let most = match name.len() {
        0..8 => 0,
        8..20 => 2,
        _ => 3,
    };
    let distance = |entry: &Entry| {
        let known = entry.about.arn.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        if known == name { Some(0) } else { mistyped(&known, &name, most).filter(|_| of_aws) }
    };
    let found = set().entries.values().filter_map(|entry| Some((distance(entry)?, entry.about.arn.as_str())));
    found.min().map(|(_, arn)| arn)
}

const AWS: &str = "arn:aws:iam::aws:policy/";

/// Whether an ARN of AWS's is of another partition than `aws`, and its path and name.
fn path(arn: &str) -> Option<(bool, &str)> {
    let (partition, path) = arn.strip_prefix("arn:")?.split_once(":iam::aws:policy/")?;
    (partition == "aws" || partition.starts_with("aws-")).then_some((partition != "aws", path))
}

static SET: OnceLock<Set> = OnceLock::new();

fn set() -> &'static Set {
    SET.get_or_init(Set::built_in)
}

/// All policies, by path and name.
struct Set {
    as_of: String,
    entries: BTreeMap<String, Entry>,
}

/// One policy and, once it was asked for, what it says.
struct Entry {
    about: About,
    /// None: it says nothing of ECR.
    text: Option<Text>,
    loaded: OnceLock<Option<Arc<Policy>>>,
}

enum Text {
    /// A file of the folder.
    BuiltIn(&'static str),
    /// The document in a file of the user's.
    Given(serde_json::Value),
}

#[derive(Deserialize)]
struct File {
    document: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserFile {
    as_of: String,
    policies: Vec<UserEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserEntry {
    arn: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    updated: String,
    document: Option<serde_json::Value>,
}

impl Set {
    fn built_in() -> Self {
        let documents: BTreeMap<&str, &'static str> = FILES.iter().copied().collect();
        let entry = |line: &str| {
            let mut fields = line.split('\t');
            let (path, version, updated) = (fields.next()?, fields.next()?, fields.next()?);
            let name = path.rsplit('/').next()?;
            let text = documents.get(name).filter(|_| fields.next() == Some("d")).map(|text| Text::BuiltIn(text));
            let arn = format!("{AWS}{path}");
            let about = About { arn, version: version.to_owned(), updated: updated.to_owned() };
            Some((path.to_owned(), Entry { about, text, loaded: OnceLock::new() }))
        };
        Self { as_of: as_of().to_owned(), entries: TABLE.lines().skip(1).filter_map(entry).collect() }
    }
}

/// As of when the table is, which its first line says.
fn as_of() -> &'static str {
    let said = TABLE.lines().next().and_then(|line| line.split_once("as of "));
    said.and_then(|(_, rest)| rest.split(':').next()).unwrap_or_default()
}

impl Entry {
    /// A test reads every file, so none of them is malformed; if one were, its policy would count as not known.
    fn policy(&self) -> Option<&Arc<Policy>> {
        let load = || match &self.text {
            None => nothing(),
            Some(_) => Policy::from_value(&self.document()?).ok().map(Arc::new),
        };
        self.loaded.get_or_init(load).as_ref()
    }

    fn document(&self) -> Option<serde_json::Value> {
        match self.text.as_ref()? {
            Text::BuiltIn(text) => serde_json::from_str::<File>(text).ok().map(|file| file.document),
            Text::Given(document) => Some(document.clone()),
        }
    }
}

/// What all policies say of ECR that say nothing of it.
fn nothing() -> Option<Arc<Policy>> {
    static NOTHING: OnceLock<Option<Arc<Policy>>> = OnceLock::new();
    let empty = || Policy::parse(r#"{"Version": "2012-10-17", "Statement": []}"#).ok().map(Arc::new);
    NOTHING.get_or_init(empty).clone()
}

const TABLE: &str = include_str!("managed-policies.tsv");

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("managed-policies/", $name, ".json")))),+]
    };
}

/// The files by the names of their policies.
const FILES: &[(&str, &str)] = files![
    "AIDevOpsAgentAccessPolicy",
    "AIDevOpsAgentActionsPolicy",
    "AIOpsAssistantPolicy",
    "AWSAppRunnerServicePolicyForECRAccess",
    "AWSCleanRoomsMLFullAccess",
    "AWSCodeBuildAdminAccess",
    "AWSCodePipeline_FullAccess",
    "AWSCompromisedKeyQuarantineV2",
    "AWSCompromisedKeyQuarantineV3",
    "AWSConfigServiceRolePolicy",
    "AWSDenyAll",
    "AWSECRPullThroughCache_ServiceRolePolicy",
    "AWSElasticBeanstalkEKSImageBuild",
    "AWSElasticBeanstalkServiceRolePolicy",
    "AWSIAMIdentityCenterAllowListForIdentityContext",
    "AWSManagedServicesDeploymentToolkitPolicy",
    "AWSMcpServiceActionsFullAccess",
    "AWSRefactoringToolkitFullAccess",
    "AWSResilienceHubAsssessmentExecutionPolicy",
    "AWSResilienceHubV2AssessmentExecutionPolicy",
    "AWSResourceExplorerServiceRolePolicy",
    "AWSRoboMaker_FullAccess",
    "AWSSecurityHubV2ServiceRolePolicy",
    "AWSServiceRoleForImageBuilder",
    "AWSSupportServiceRolePolicy",
    "AWSTransformApplicationECSDeploymentPolicy",
    "AWSWellArchitectedAgentResourceScanningServiceRolePolicy",
    "AWS_ConfigRole",
    "AccessAnalyzerServiceRolePolicy",
    "AdministratorAccess",
    "AdministratorAccess-Amplify",
    "AmazonBraketFullAccess",
    "AmazonBraketJobsExecutionPolicy",
    "AmazonDataZoneEnvironmentRolePermissionsBoundary",
    "AmazonDataZoneSageMakerEnvironmentRolePermissionsBoundary",
    "AmazonDataZoneSageMakerManageAccessRolePolicy",
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
    "AmazonInspector2ServiceRolePolicy",
    "AmazonRedshiftAllCommandsFullAccess",
    "AmazonSSMManagedInstanceCore",
    "AmazonSageMakerAdmin-ServiceCatalogProductsServiceRolePolicy",
    "AmazonSageMakerCanvasFullAccess",
    "AmazonSageMakerFullAccess",
    "AmazonSageMakerHyperPodInferenceAccess",
    "AmazonSageMakerModelCustomizationCoreAccess",
    "AmazonSageMakerModelRegistryFullAccess",
    "AmazonSageMakerReadOnly",
    "AmazonSageMakerServiceCatalogProductsCodeBuildServiceRolePolicy",
    "AmazonSageMakerServiceCatalogProductsLambdaServiceRolePolicy",
    "AmazonSecurityLakePermissionsBoundary",
    "AssuranceServiceRolePolicy",
    "BedrockAgentCoreFullAccess",
    "CloudWatchOmniAWSIntegrationPolicy",
    "EC2ImageBuilderExecutionPolicy",
    "EC2ImageBuilderLifecycleExecutionPolicy",
    "EC2InstanceProfileForImageBuilderECRContainerBuilds",
    "ECRReplicationServiceRolePolicy",
    "ECRTemplateServiceRolePolicy",
    "IAMAuditRootUserCredentials",
    "IAMCreateRootUserPassword",
    "IAMDeleteRootUserCredentials",
    "PowerUserAccess",
    "ROSAKubeControllerPolicy",
    "ROSAWorkerInstancePolicy",
    "ReadOnlyAccess",
    "ResourceGroupsTaggingAPITagUntagSupportedResources",
    "S3UnlockBucketPolicy",
    "SQSUnlockQueuePolicy",
    "SageMakerStudioAdminIAMDefaultExecutionPolicy",
    "SageMakerStudioAdminIAMPermissiveExecutionPolicy",
    "SageMakerStudioProjectProvisioningRolePolicy",
    "SageMakerStudioProjectRoleMachineLearningPolicy",
    "SageMakerStudioProjectUserRolePermissionsBoundary",
    "SageMakerStudioProjectUserRolePolicy",
    "SageMakerStudioUserIAMDefaultExecutionPolicy",
    "SageMakerStudioUserIAMPermissiveExecutionPolicy",
    "SecurityAudit",
    "SupportUser",
    "ViewOnlyAccess",
    "WellArchitectedAgentResourceScanning",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_there_and_every_document_parses() {
        assert_eq!(summary(), "1582 AWS managed policies as of 2026-10");
        let built_in = Set::built_in();
        assert_eq!(summary_of(built_in.entries.len(), &built_in.as_of), summary(), "counted without being made");
        assert_eq!(arns().count(), FILES.len());
        for entry in set().entries.values() {
            let About { arn, version, updated } = &entry.about;
            assert!(entry.policy().is_some(), "{arn}");
            assert!(version.starts_with('v') && updated.len() == "2026-10-01".len(), "{arn}");
        }
        for (name, text) in FILES {
            let file: serde_json::Value = serde_json::from_str(text).unwrap();
            let about = &set().entries[file["arn"].as_str().unwrap().strip_prefix(AWS).unwrap()].about;
            assert_eq!(about.arn.rsplit('/').next(), Some(*name));
            assert_eq!(Some(about.version.as_str()), file["defaultVersionId"].as_str(), "{name}");
            assert!(file["updateDate"].as_str().unwrap().starts_with(&about.updated), "{name}");
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
        let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, names);
    }

    #[test]
    fn finds_by_arn_in_any_partition() {
        let found = find("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly").unwrap();
        assert!(!found.other_partition);
        assert_eq!(found.version, "v1");
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

    /// Policies of ordinary node roles.
    #[test]
    fn a_policy_that_says_nothing_of_ecr_is_known() {
        for path in [
            "CloudWatchAgentServerPolicy",
            "service-role/AmazonEBSCSIDriverPolicy",
            "AmazonS3ReadOnlyAccess",
            "AmazonEKSVPCResourceController",
            "AWSXRayDaemonWriteAccess",
        ] {
            let arn = format!("{AWS}{path}");
            assert!(find(&arn).is_some(), "{arn}");
            assert_eq!(document(&arn), None, "{arn}");
        }
        assert!(find("arn:aws:iam::aws:policy/AmazonEBSCSIDriverPolicy").is_none(), "its path is part of it");
    }

    #[test]
    fn a_name_that_is_almost_right_has_a_hint() {
        let read_only = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
        let execution = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
        for (arn, close) in [
            ("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnlY", Some(read_only)),
            ("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistyReadOnly", Some(read_only)),
            ("arn:aws-cn:iam::aws:policy/AmazonEC2ContainerRegistryReadonly", Some(read_only)),
            ("arn:aws:iam::111122223333:policy/AmazonEC2ContainerRegistryReadOnly", Some(read_only)),
            ("arn:aws:iam::aws:policy/AmazonECSTaskExecutionRolePolicy", Some(execution)),
            ("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistry", None),
            ("arn:aws:iam::111122223333:policy/AmazonEC2ContainerRegistryReadOnlyX", None),
            ("arn:aws:iam::111122223333:policy/ours", None),
            ("nothing", None),
        ] {
            assert_eq!(closest(arn), close, "{arn}");
        }
    }

    #[test]
    fn a_file_of_the_users_is_read_strictly() {
        let refused = |text: &str| put(text).unwrap_err().to_string();
        assert!(refused("{}").starts_with("the file is no list of managed policies: "));
        let of_a_user = r#"{"asOf": "2027-01", "policies": [{"arn": "arn:aws:iam::111122223333:policy/ours"}]}"#;
        assert!(refused(of_a_user).starts_with("`arn:aws:iam::111122223333:policy/ours` is no AWS managed policy"));
        let malformed = r#"{"asOf": "2027-01", "policies": [{"arn": "arn:aws:iam::aws:policy/New", "document": {"Statement": 7}}]}"#;
        assert!(refused(malformed).starts_with("`arn:aws:iam::aws:policy/New` is no AWS managed policy"));
        assert!(set().entries.contains_key("AdministratorAccess"));
        assert_eq!(refused(r#"{"asOf": "2027-01", "policies": []}"#), "managed policies are in use already");
    }
}
