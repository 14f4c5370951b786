//! The facts that a verdict may lack. Each is one case here from where it is found missing to where it is told; its text is
//! for people and reports alone, and nothing reads it back.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::cluster::config_map::ConfigMapKey;
use crate::ecr::arn::RoleArn;

/// A fact that would settle an Unknown. Its text is part of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissingFact {
    /// A service account, with its labels and annotations: `serviceAccount:NAMESPACE/NAME`.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The labels of a namespace: `namespace:NAME`.
    Namespace(String),
    /// The spec of the policy object in force, named by its key: `spec:KEY`.
    Spec(String),
    /// Which node pulls: `node`.
    Node,
    /// Whether a credential provider of the node matches this host: `matchImages:HOST`.
    HostMatch(String),
    /// The policies of this role: `role:ARN`.
    Role(RoleArn),
    /// What an image pull secret permits: `imagePullSecret`.
    ImagePullSecret,
    /// A malformed document of this name, of a principal or of the organization: `document:NAME`.
    Document(String),
    /// A document that nests too deeply, named by its name or by its place in the spec: `documentTooDeep:NAME`.
    DocumentTooDeep(String),
    /// A malformed repository policy, named by its place in the spec: `repositoryPolicy:PLACE`.
    RepositoryDocument(String),
    /// A malformed registry policy, named by its place in the spec: `registryPolicy:PLACE`.
    RegistryDocument(String),
    /// A document in a ConfigMap, which is not there or malformed: `configMap:NAMESPACE/NAME/KEY`.
    ConfigMap(ConfigMapKey),
    /// A managed policy that is not built in: `policy:ARN`.
    ManagedPolicy(String),
    /// The policy of the repository with this ARN: `repositoryPolicy:ARN`.
    RepositoryPolicy(String),
    /// The policy of a registry: `registryPolicy:ACCOUNT/REGION`.
    RegistryPolicy {
        /// The account of the registry.
        account: String,
        /// Its region.
        region: String,
    },
    /// Whether the repository with this ARN has what is pulled already: `presence:ARN`.
    Presence(String),
    /// The ARN of the puller, or the name of its session: `principal`.
    Principal,
    /// The value of a condition key, as it was written.
    ConditionKey(String),
}

impl MissingFact {
    /// A service account.
    pub(crate) fn service_account(namespace: &str, name: &str) -> Self {
        Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for MissingFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount { namespace, name } => write!(f, "serviceAccount:{namespace}/{name}"),
            Self::Namespace(name) => write!(f, "namespace:{name}"),
            Self::Spec(key) => write!(f, "spec:{key}"),
            Self::Node => f.write_str("node"),
            Self::HostMatch(host) => write!(f, "matchImages:{host}"),
            Self::Role(arn) => write!(f, "role:{arn}"),
            Self::ImagePullSecret => f.write_str("imagePullSecret"),
            Self::Document(name) => write!(f, "document:{name}"),
            Self::DocumentTooDeep(name) => write!(f, "documentTooDeep:{name}"),
            Self::RepositoryDocument(at) | Self::RepositoryPolicy(at) => write!(f, "repositoryPolicy:{at}"),
            Self::RegistryDocument(at) => write!(f, "registryPolicy:{at}"),
            Self::ConfigMap(at) => write!(f, "configMap:{at}"),
            Self::ManagedPolicy(arn) => write!(f, "policy:{arn}"),
            Self::RegistryPolicy { account, region } => write!(f, "registryPolicy:{account}/{region}"),
            Self::Presence(arn) => write!(f, "presence:{arn}"),
            Self::Principal => f.write_str("principal"),
            Self::ConditionKey(key) => f.write_str(key),
        }
    }
}

impl Serialize for MissingFact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
