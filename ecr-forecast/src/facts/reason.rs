//! Why an image has its verdict, coarsely.

use schemars::JsonSchema;
use serde::Serialize;

/// Why an image has its verdict, coarsely. Stable words, part of the report.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Hash, Serialize)]
#[schemars(inline)]
pub enum Reason {
    /// Every request of the pull is allowed.
    Allowed,
    /// A request of the pull is denied.
    ActionDenied,
    /// `imagePullPolicy: Never`: nothing is pulled.
    NoPull,
    /// ECR Public, where anonymous pulls work.
    PublicRegistry,
    /// Another registry.
    NotEcr,
    /// The image is no image reference; the kubelet refuses it.
    InvalidImage,
    /// The registry has no such repository.
    RepositoryNotFound,
    /// It is not known which role pulls.
    NoRole,
    /// The role of the node decides, and the node is not known.
    DependsOnNode,
    /// An image pull secret may make the pull work although the puller is denied.
    PullSecret,
    /// It depends on facts that are not known.
    FactsMissing,
}

displayed_as_named!(Reason);
