//! The spec of a policy object, compiled: what verdicts are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ecr::arn::RoleArn;
use crate::facts::declared::{Declared, IdentityPolicies, LookUp, SourcedPolicy};
use crate::facts::missing::MissingFact;
use crate::policy::compiled::exemption::Exemption;

/// The part of a spec that verdicts are made of.
#[derive(Clone, Debug)]
pub struct CompiledSpec {
    /// The puller.
    pub puller: CompiledPuller,
    /// What is declared of the AWS side.
    pub declared: Arc<Declared>,
    /// What is admitted for a while although it cannot be pulled; the one that ends last comes first.
    pub exemptions: Vec<Exemption>,
}

impl CompiledSpec {
    /// The same with every document looked up where it stands.
    pub(crate) fn looked_up(&self, documents: &LookUp<'_>) -> Self {
        let identity = |identity: &Option<Arc<IdentityPolicies>>| identity.as_ref().map(|all| all.looked_up(documents));
        let role = |role: &CompiledRole| CompiledRole { identity: identity(&role.identity), ..role.clone() };
        let roles = |roles: &[CompiledRole]| roles.iter().map(role).collect();
        let puller = match &self.puller {
            CompiledPuller::ServiceAccount {
                annotation,
                identity: shared,
                roles: own,
                default_role,
                fallback_nodes,
                falls_back_to_node,
            } => CompiledPuller::ServiceAccount {
                annotation: annotation.clone(),
                identity: identity(shared),
                roles: roles(own),
                default_role: default_role.clone(),
                fallback_nodes: roles(fallback_nodes),
                falls_back_to_node: *falls_back_to_node,
            },
            CompiledPuller::Role(fixed) => CompiledPuller::Role(role(fixed)),
            CompiledPuller::Nodes(nodes) => CompiledPuller::Nodes(roles(nodes)),
        };
        Self { puller, declared: self.declared.looked_up(documents), exemptions: self.exemptions.clone() }
    }

    /// The policy whose document could not be read where it stands, which is this fact; none for any other fact.
    pub(crate) fn unread(&self, fact: &MissingFact) -> Option<&SourcedPolicy> {
        let policies = || self.documents().map(|site| site.policy);
        matches!(fact, MissingFact::ConfigMap(_))
            .then(|| policies().find(|policy| policy.unread.is_some() && policy.missing.as_ref() == Some(fact)))
            .flatten()
    }
}

/// `spec.puller`.
#[derive(Clone, Debug)]
pub enum CompiledPuller {
    /// The kubelet exchanges the service account's token for a role.
    ServiceAccount {
        /// The annotation that names the role.
        annotation: String,
        /// The policies of the service account's role, whichever it is.
        identity: Option<Arc<IdentityPolicies>>,
        /// Policies of particular roles; they come before `identity`.
        roles: Vec<CompiledRole>,
        /// The role of service accounts without the annotation.
        default_role: Option<RoleArn>,
        /// The roles of the nodes that pull for service accounts without a role; empty where none are declared.
        fallback_nodes: Vec<CompiledRole>,
        /// Whether nodes pull for service accounts without a role at all.
        falls_back_to_node: bool,
    },
    /// One fixed role.
    Role(CompiledRole),
    /// The nodes: which of them a pod will run on is not known at admission.
    Nodes(Vec<CompiledRole>),
}

impl CompiledPuller {
    /// Whether policies are declared for the role of a service account that has none by these annotations: the node pulls for
    /// it, and nobody said which.
    #[must_use]
    pub fn has_no_role_for(&self, annotations: &BTreeMap<String, String>) -> bool {
        let Self::ServiceAccount { annotation, identity, default_role, fallback_nodes, falls_back_to_node, .. } = self
        else {
            return false;
        };
        let named = annotations.get(annotation);
        let role = named.map_or(default_role.is_some(), |value| !value.is_empty());
        identity.is_some() && !role && fallback_nodes.is_empty() && *falls_back_to_node
    }
}

/// A role and its policies.
#[derive(Clone, Debug)]
pub struct CompiledRole {
    /// The role.
    pub arn: RoleArn,
    /// Its identity-based policies, where they are declared.
    pub identity: Option<Arc<IdentityPolicies>>,
    /// The labels that all of its nodes have, of a role of nodes.
    pub labels: BTreeMap<String, String>,
}
