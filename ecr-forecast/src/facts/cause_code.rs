//! The stable codes of why an image has its verdict.

use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why an image has its verdict, finely. Stable words, part of the report; `docs/reasons/` has a page for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum CauseCode {
            $($(#[$doc])* $name,)*
        }

        impl CauseCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// A statement grants the action, on other repositories.
    RepositoryNotInResource,
    /// Some action of a pull is granted, this one is not.
    ActionNotGranted,
    /// Nothing of what a pull needs is granted.
    NoPolicyGrantsPull,
    /// A statement denies the action.
    ExplicitDeny,
    /// `ecr:GetAuthorizationToken` is granted on a repository, where it means nothing: it needs `Resource: "*"`.
    TokenOnRepository,
    /// A statement grants the action, under a condition that does not hold.
    ConditionNotMet,
    /// A statement grants the action to what has a certain tag, which the repository or the role does not have.
    TagMissing,
    /// The pull-through cache would have to import the image or make its repository, which is not allowed.
    ImportNotAllowed,
    /// The permissions boundary does not allow it.
    BoundaryDoesNotAllow,
    /// A level of the organization has no service control policy that allows it.
    ScpDoesNotAllow,
    /// The registry is another account's, whose repository policy does not allow it.
    RepositoryPolicyDoesNotAllow,
    /// The registry is another account's, whose registry policy does not allow it.
    RegistryPolicyDoesNotAllow,
    /// The puller is of another partition than the registry.
    PullerOfOtherPartition,
    /// The service account names a role for its pods; images are pulled by another one.
    IrsaRoleDoesNotPull,
    /// An annotation of the service account is almost the one that names the puller, and is not read.
    AnnotationAlmostRight,
    /// Another declared role may pull, and it is not the one that does.
    RightsOnAnotherRole,
    /// The registry has no such repository, and no pull-through cache rule makes one.
    RepositoryNotFound,
    /// What the pull-through cache holds already can be pulled, and whether it holds this image is not known.
    OnlyIfCached,
    /// The image is no image reference.
    InvalidImage,
    /// The puller is denied, and an image pull secret may make the pull work all the same.
    PullSecret,
    /// The service account has no role, and the credential provider does not fall back to the node's.
    NoCredentials,
    /// The role annotation of the service account is not a role ARN.
    AnnotationIsNoRole,
    /// The service account has no role, which leaves the pull to the node's, and it is not known which one that is.
    NodePulls,
    /// The host is ECR's, and no credential provider of a stock node matches it as it is written.
    HostNotMatchedByProvider,
    /// The candidates differ: some can pull, some cannot.
    CandidatesDiffer,
    /// The policies of the role are declared nowhere.
    RoleNotInInventory,
    /// The service account was not seen.
    ServiceAccountNotFound,
    /// Which policy applies depends on labels that were not seen.
    SelectionNotKnown,
    /// The policy object has a spec that this version does not understand.
    UnsupportedSpec,
    /// A policy document is malformed.
    DocumentMalformed,
    /// A policy document nests deeper than any policy does, and is not read.
    DocumentTooDeep,
    /// A managed policy is not built in.
    ManagedPolicyNotFound,
    /// A ConfigMap that should hold a policy document is not there, or has no such key.
    ConfigMapNotFound,
    /// The registry is another account's, and its repository policy is not known.
    RepositoryPolicyNotKnown,
    /// The registry policy is not known, or what it does to a login is not documented.
    RegistryPolicyNotKnown,
    /// The ARN of the puller, or the name of its session, is not known, and a policy names principals by it.
    PrincipalNotKnown,
    /// A condition asks for something that admission does not know.
    ConditionNotKnown,
}

displayed_as_named!(CauseCode);
