//! The IAM policies that a policy object declares, one after another, each with what it is attached to.

use std::fmt;

use iam_verdict::PolicyType;

use crate::ecr::ArnPattern;
use crate::ecr::arn::RoleArn;
use crate::ecr::condition_keys::TIME_KEYS;
use crate::facts::declared::{
    IdentityPolicies, PolicyLevel, RegistryEntry, ResourcePolicy, SourcedPolicy, condition_keys,
};
use crate::policy::compiled::spec::{CompiledPuller, CompiledRole, CompiledSpec};

/// A declared IAM policy and its place.
#[derive(Clone, Copy, Debug)]
pub struct DocumentSite<'a> {
    /// What kind of policy it is there.
    pub kind: PolicyType,
    /// What it is attached to.
    pub holder: Holder<'a>,
    /// The policy, which may be one that could not be read.
    pub policy: &'a SourcedPolicy,
}

/// What a declared IAM policy is attached to. Displayed as reports name it.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// The roles of service accounts, whichever they are: `service accounts`.
    ServiceAccounts,
    /// A role: its ARN.
    Role(&'a RoleArn),
    /// The repositories that a pattern matches: the pattern.
    Repositories(&'a ArnPattern),
    /// A registry: `registry ACCOUNT/REGION`.
    Registry(&'a RegistryEntry),
    /// A level of the organization: its name.
    Level(&'a str),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccounts => f.write_str("service accounts"),
            Self::Role(arn) => f.write_str(arn.as_str()),
            Self::Repositories(pattern) => f.write_str(pattern.as_str()),
            Self::Registry(entry) => write!(f, "registry {}/{}", entry.account, entry.region),
            Self::Level(level) => f.write_str(level),
        }
    }
}

impl CompiledSpec {
    /// All that is declared of IAM policies: of principals, roles first, then of repositories, registries and the
    /// organization.
    pub fn documents(&self) -> impl Iterator<Item = DocumentSite<'_>> {
        let declared = &self.declared;
        let repositories = declared.repositories.iter().filter_map(|entry| {
            let policy = sourced(entry.policy.as_ref())?;
            Some(DocumentSite { kind: PolicyType::Resource, holder: Holder::Repositories(&entry.pattern), policy })
        });
        let registries = declared.registries.iter().filter_map(|entry| {
            let policy = sourced(entry.policy.as_ref())?;
            Some(DocumentSite { kind: PolicyType::Registry, holder: Holder::Registry(entry), policy })
        });
        let organization = &declared.organization;
        let levels = levels(PolicyType::Scp, &organization.scps).chain(levels(PolicyType::Rcp, &organization.rcps));
        let of_principals = self.identities().flat_map(|(holder, identity)| of_principal(holder, identity));
        of_principals.chain(repositories).chain(registries).chain(levels)
    }

    /// What is declared of principals, each by itself.
    pub fn identities(&self) -> impl Iterator<Item = (Holder<'_>, &IdentityPolicies)> {
        let (shared, first, second): (_, &[CompiledRole], &[CompiledRole]) = match &self.puller {
            CompiledPuller::ServiceAccount { identity, roles, fallback_nodes, .. } => {
                (identity.as_deref(), roles, fallback_nodes)
            }
            CompiledPuller::Role(role) => (None, std::slice::from_ref(role), &[]),
            CompiledPuller::Nodes(roles) => (None, roles, &[]),
        };
        let roles = first.iter().chain(second);
        let roles = roles.filter_map(|role| Some((Holder::Role(&role.arn), role.identity.as_deref()?)));
        roles.chain(shared.map(|identity| (Holder::ServiceAccounts, identity)))
    }

    /// Whether some policy has a condition on the time, so that a verdict of now may be another one later.
    pub(crate) fn reads_clock(&self) -> bool {
        let mut keys = self.documents().flat_map(|site| condition_keys(&site.policy.policy));
        keys.any(|key| TIME_KEYS.contains(&key))
    }
}

fn of_principal<'a>(holder: Holder<'a>, identity: &'a IdentityPolicies) -> impl Iterator<Item = DocumentSite<'a>> {
    let policies = identity.policies().iter();
    let policies = policies.map(move |policy| DocumentSite { kind: PolicyType::Identity, holder, policy });
    policies.chain(identity.boundary().map(|policy| DocumentSite { kind: PolicyType::Boundary, holder, policy }))
}

fn levels(kind: PolicyType, levels: &[PolicyLevel]) -> impl Iterator<Item = DocumentSite<'_>> {
    levels.iter().flat_map(move |level| {
        let holder = Holder::Level(&level.level);
        level.policies.iter().map(move |policy| DocumentSite { kind, holder, policy })
    })
}

fn sourced(policy: Option<&ResourcePolicy>) -> Option<&SourcedPolicy> {
    match policy {
        Some(ResourcePolicy::Policy(sourced)) => Some(sourced),
        Some(ResourcePolicy::Unknown) | None => None,
    }
}
