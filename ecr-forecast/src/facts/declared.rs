//! What is said of the AWS side, by a policy object above all: the policies of a principal, repositories, registries, the
//! organization and condition keys. Compiled once, shared by every verdict that rests on it.
//!
//! Each field that may be left out is an `Option`, and none never means "nothing": it means that nobody said, which
//! [`judge`](mod@crate::judge) resolves by the rules of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iam_verdict::{DocumentError, DocumentErrorKind, NamedPolicy, Policy, PolicyState};
use serde_json::Value;

use crate::cluster::config_map::{ConfigMapKey, ConfigMapName};
use crate::ecr::image::EcrImage;
use crate::ecr::{ArnPattern, ContextValues, managed};
use crate::facts::cause_code::CauseCode;
use crate::facts::known::{Known, Unread};
use crate::facts::missing::MissingFact;

/// A policy document that stands in another object.
#[derive(Clone, Debug)]
pub(crate) struct PolicyDocument {
    /// Compiled, once for all who name it.
    pub policy: Arc<Policy>,
    /// As it stands there.
    pub text: Arc<str>,
}

impl PartialEq for PolicyDocument {
    /// A text is compiled once, and as long as it stays it is not compiled again.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy)
    }
}

/// Where a policy comes from, which decides how it can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// A document of the user's own.
    Document {
        /// What is wrong with it, where it is malformed.
        problem: Option<String>,
    },
    /// A document of the user's own that stands in a ConfigMap.
    ConfigMap(ConfigMapKey),
    /// A managed policy, named by ARN.
    Managed {
        /// The ARN as it was written.
        arn: String,
        /// It names another partition than the built-in text comes from.
        other_partition: bool,
    },
}

/// A policy and where it comes from.
#[derive(Clone, Debug)]
pub struct SourcedPolicy {
    /// The policy, or that it could not be read.
    pub policy: NamedPolicy,
    /// Its source.
    pub source: PolicySource,
    /// Its document as compact JSON; none of a managed policy, whose text is built in, and of one that is malformed.
    pub text: Option<Arc<str>>,
    /// What is missing where it could not be read; the engine calls it by its text.
    pub missing: Option<MissingFact>,
    /// Why the document could not be read where it stands, in another object.
    pub(crate) unread: Option<Box<Unread>>,
}

impl SourcedPolicy {
    /// A policy with its source.
    #[must_use]
    pub const fn new(policy: NamedPolicy, source: PolicySource) -> Self {
        Self { policy, source, text: None, missing: None, unread: None }
    }

    /// A policy that could not be read, and what is missing of it.
    #[must_use]
    pub fn unread(name: &str, missing: MissingFact, source: PolicySource) -> Self {
        let policy = NamedPolicy::unreadable(name, missing.to_string());
        Self { policy, source, text: None, missing: Some(missing), unread: None }
    }

    /// A policy with its document, as text or as JSON, read leniently, as AWS reads what it has stored. A malformed one
    /// leaves the policy unread: `missing` makes of its name what is missing then, and `problem` says what is wrong.
    pub(crate) fn of_document(
        name: &str,
        document: &Value,
        missing: Missing,
        problem: impl FnOnce(&DocumentError) -> String,
    ) -> Self {
        let parsed = match document {
            Value::String(text) => Policy::parse(text),
            value => Policy::from_value(value),
        };
        match parsed {
            Ok(policy) => Self::new(NamedPolicy::known(name, policy), PolicySource::Document { problem: None })
                .with_text(match document {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                }),
            Err(error) => {
                let missing = match error.kind {
                    DocumentErrorKind::TooDeep => MissingFact::DocumentTooDeep,
                    _ => missing,
                };
                let source = PolicySource::Document { problem: Some(problem(&error)) };
                Self::unread(name, missing(name.to_owned()), source)
            }
        }
    }

    /// A managed policy. One that is not built in could not be read.
    pub(crate) fn managed(name: &str, arn: &str, find: FindManaged) -> Self {
        let source = |other_partition| PolicySource::Managed { arn: arn.to_owned(), other_partition };
        match find(arn) {
            Some((policy, other_partition)) => Self::new(NamedPolicy::known(name, policy), source(other_partition)),
            None => Self::unread(name, MissingFact::ManagedPolicy(arn.to_owned()), source(false)),
        }
    }

    /// Keeps the document, for whoever proposes a change of it.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Arc<str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// A policy whose document stands in a ConfigMap, before it is looked up there.
    pub(crate) fn reference(name: &str, at: ConfigMapKey) -> Self {
        Self::unread(name, MissingFact::ConfigMap(at.clone()), PolicySource::ConfigMap(at))
    }

    /// The same with its document looked up where it stands; of one that stands in the policy object itself there is
    /// nothing to look up.
    fn looked_up(&self, documents: &LookUp<'_>) -> Self {
        let PolicySource::ConfigMap(at) = &self.source else { return self.clone() };
        match documents(at).value {
            Ok(PolicyDocument { policy, text }) => {
                let policy = NamedPolicy::known(Arc::clone(&self.policy.name), policy);
                Self::new(policy, self.source.clone()).with_text(text)
            }
            Err(unread) => Self { unread: Some(Box::new(unread)), ..Self::reference(&self.policy.name, at.clone()) },
        }
    }

    /// Why the document could not be read where it stands, for a person.
    pub(crate) fn why_unread(&self) -> Option<String> {
        let Unread { wrong, why, .. } = self.unread.as_deref()?;
        let Some((cause, path)) = wrong else { return Some(why.clone()) };
        let what = if *cause == CauseCode::DocumentTooDeep { "not read" } else { "malformed" };
        let object = config_map(&self.source).map(|name| format!("ConfigMap/{name} ")).unwrap_or_default();
        Some(format!("policy {} is {what}: {object}`{path}`: {why}", self.policy.name))
    }

    /// The document; none where it could not be read, or was not kept.
    #[must_use]
    pub fn document(&self) -> Option<Value> {
        match (&self.source, &self.text) {
            (PolicySource::Managed { arn, .. }, _) => managed::document(arn),
            (PolicySource::Document { .. } | PolicySource::ConfigMap(_), text) => {
                serde_json::from_str(text.as_deref()?).ok()
            }
        }
    }
}

impl PartialEq for SourcedPolicy {
    /// By what is written: one text is one policy.
    fn eq(&self, other: &Self) -> bool {
        (&self.policy.name, &self.source, &self.text, &self.missing)
            == (&other.policy.name, &other.source, &other.text, &other.missing)
    }
}

/// What a permissions boundary is called where it is a document, which has no name.
pub(crate) const BOUNDARY: &str = "permissionsBoundary";

/// What a managed policy is called: the end of its ARN.
pub(crate) fn name_of(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, name)| name)
}

/// What is missing of a malformed document, which is called by its name or its place.
pub(crate) type Missing = fn(String) -> MissingFact;

/// Finds a built-in policy by its ARN, and whether it was asked for in another partition than it was taken from.
pub(crate) type FindManaged = fn(&str) -> Option<(Arc<Policy>, bool)>;

/// Finds AWS's policies for principals.
pub(crate) fn managed_policy(arn: &str) -> Option<(Arc<Policy>, bool)> {
    managed::find(arn).map(|found| (Arc::clone(found.policy), found.other_partition))
}

/// Finds the document that stands under a key of a ConfigMap.
pub(crate) type LookUp<'a> = dyn Fn(&ConfigMapKey) -> Known<PolicyDocument> + 'a;

/// All that is said of one principal: its identity-based policies, its permissions boundary and its tags.
#[derive(Clone, Debug, Default)]
pub struct IdentityPolicies {
    policies: Vec<SourcedPolicy>,
    boundary: Option<SourcedPolicy>,
    tags: Option<BTreeMap<String, String>>,
    condition_keys: BTreeSet<String>,
}

impl PartialEq for IdentityPolicies {
    /// In whatever order the policies stand.
    fn eq(&self, other: &Self) -> bool {
        (&self.tags, &self.boundary, self.by_name()) == (&other.tags, &other.boundary, other.by_name())
    }
}

impl IdentityPolicies {
    /// Adds an identity-based policy.
    pub fn push(&mut self, sourced: SourcedPolicy) {
        self.condition_keys.extend(condition_keys(&sourced.policy).map(str::to_owned));
        self.policies.push(sourced);
    }

    /// Sets the permissions boundary; without one the principal has none.
    pub fn set_boundary(&mut self, boundary: SourcedPolicy) {
        self.condition_keys.extend(condition_keys(&boundary.policy).map(str::to_owned));
        self.boundary = Some(boundary);
    }

    /// Declares the principal's tags: an empty map says that it has none.
    pub fn set_tags(&mut self, tags: BTreeMap<String, String>) {
        self.tags = Some(tags);
    }

    /// The same with every document looked up where it stands.
    pub(crate) fn looked_up(self: &Arc<Self>, documents: &LookUp<'_>) -> Arc<Self> {
        if self.config_maps().next().is_none() {
            return Arc::clone(self);
        }
        let mut all = Self { tags: self.tags.clone(), ..Self::default() };
        self.policies.iter().for_each(|sourced| all.push(sourced.looked_up(documents)));
        self.boundary.iter().for_each(|sourced| all.set_boundary(sourced.looked_up(documents)));
        Arc::new(all)
    }

    /// The identity-based policies, in the order they were added.
    #[must_use]
    pub fn policies(&self) -> &[SourcedPolicy] {
        &self.policies
    }

    /// The permissions boundary.
    #[must_use]
    pub const fn boundary(&self) -> Option<&SourcedPolicy> {
        self.boundary.as_ref()
    }

    /// The principal's tags; none where they are not known.
    #[must_use]
    pub const fn tags(&self) -> Option<&BTreeMap<String, String>> {
        self.tags.as_ref()
    }

    /// The condition keys that these policies use, lower-cased and sorted.
    pub fn condition_keys(&self) -> impl Iterator<Item = &str> {
        self.condition_keys.iter().map(String::as_str)
    }

    /// What is wrong with the document of this name.
    #[must_use]
    pub fn problem(&self, name: &str) -> Option<&str> {
        match &self.policies.iter().find(|sourced| *sourced.policy.name == *name)?.source {
            PolicySource::Document { problem } => problem.as_deref(),
            PolicySource::ConfigMap(_) | PolicySource::Managed { .. } => None,
        }
    }

    /// What is missing of policies that could not be read.
    pub fn missing(&self) -> impl Iterator<Item = &MissingFact> {
        self.all().filter_map(|sourced| sourced.missing.as_ref())
    }

    /// The ConfigMaps that these policies are read from.
    pub fn config_maps(&self) -> impl Iterator<Item = &ConfigMapName> {
        self.all().filter_map(|sourced| config_map(&sourced.source))
    }

    /// A managed policy was named in another partition than the built-in text comes from.
    #[must_use]
    pub fn has_other_partition(&self) -> bool {
        let other = |source: &PolicySource| matches!(source, PolicySource::Managed { other_partition: true, .. });
        self.all().any(|sourced| other(&sourced.source))
    }

    fn by_name(&self) -> Vec<&SourcedPolicy> {
        let mut policies: Vec<&SourcedPolicy> = self.policies.iter().collect();
        policies.sort_by(|one, other| one.policy.name.cmp(&other.policy.name));
        policies
    }

    /// The policies, the boundary last.
    fn all(&self) -> impl Iterator<Item = &SourcedPolicy> {
        self.policies.iter().chain(&self.boundary)
    }
}

fn config_map(source: &PolicySource) -> Option<&ConfigMapName> {
    match source {
        PolicySource::ConfigMap(at) => Some(&at.config_map),
        PolicySource::Document { .. } | PolicySource::Managed { .. } => None,
    }
}

/// The condition keys that a policy uses, lower-cased; none where it could not be read.
pub(crate) fn condition_keys(policy: &NamedPolicy) -> impl Iterator<Item = &str> {
    let document = match &policy.policy {
        PolicyState::Known(document) => Some(document),
        PolicyState::Unreadable(_) => None,
    };
    document.into_iter().flat_map(|document| document.condition_keys())
}

/// What a policy object declares beside the puller.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// `spec.repositories`: the first entry that matches counts.
    pub repositories: Vec<RepositoryEntry>,
    /// `spec.registries`: the first entry of the account and region counts.
    pub registries: Vec<RegistryEntry>,
    /// `spec.organization`.
    pub organization: Organization,
    /// `spec.context`.
    pub context: ContextValues,
}

impl Declared {
    /// The ConfigMaps that policies of repositories, registries and the organization are read from.
    pub fn config_maps(&self) -> impl Iterator<Item = &ConfigMapName> {
        let repositories = self.repositories.iter().map(|entry| &entry.policy);
        let registries = self.registries.iter().map(|entry| &entry.policy);
        let resource = repositories.chain(registries).filter_map(|policy| match policy {
            Some(ResourcePolicy::Policy(sourced)) => Some(&sourced.source),
            Some(ResourcePolicy::Unknown) | None => None,
        });
        let levels = self.organization.scps.iter().chain(&self.organization.rcps);
        resource.chain(levels.flat_map(|level| &level.policies).map(|sourced| &sourced.source)).filter_map(config_map)
    }

    /// The same with every document looked up where it stands.
    pub(crate) fn looked_up(self: &Arc<Self>, documents: &LookUp<'_>) -> Arc<Self> {
        if self.config_maps().next().is_none() {
            return Arc::clone(self);
        }
        let mut all = Self::clone(self);
        let repositories = all.repositories.iter_mut().map(|entry| &mut entry.policy);
        let registries = all.registries.iter_mut().map(|entry| &mut entry.policy);
        for policy in repositories.chain(registries) {
            if let Some(ResourcePolicy::Policy(sourced)) = policy {
                **sourced = sourced.looked_up(documents);
            }
        }
        let levels = all.organization.scps.iter_mut().chain(&mut all.organization.rcps);
        for sourced in levels.flat_map(|level| &mut level.policies) {
            *sourced = sourced.looked_up(documents);
        }
        Arc::new(all)
    }

    /// The first entry whose pattern matches the repository's ARN.
    #[must_use]
    pub fn repository(&self, image: &EcrImage) -> Option<&RepositoryEntry> {
        if self.repositories.is_empty() {
            return None;
        }
        let arn = image.arn().to_string();
        self.repositories.iter().find(|entry| entry.pattern.matches(&arn))
    }

    /// The first entry of an account and region.
    #[must_use]
    pub fn registry(&self, account: &str, region: &str) -> Option<&RegistryEntry> {
        self.registries.iter().find(|entry| entry.is_of(account, region))
    }
}

/// One entry of `spec.repositories`.
#[derive(Clone, Debug)]
pub struct RepositoryEntry {
    /// Which repositories it is about.
    pub pattern: ArnPattern,
    /// The repository policy; none where the entry says nothing of it.
    pub policy: Option<ResourcePolicy>,
    /// The tags of the repository; none where they are not known, empty where it has none.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether the repository, with the tag that is pulled, is there; none where that is not known.
    pub presence: Option<Presence>,
}

/// What is declared of a resource-based policy.
#[derive(Clone, Debug)]
pub enum ResourcePolicy {
    /// This policy (which may be one that could not be read).
    Policy(Box<SourcedPolicy>),
    /// `policy: Unknown`: there may be one, and nobody knows what it says.
    Unknown,
}

/// Whether a repository is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It is there, and so is the tag or digest that is pulled.
    Present,
    /// It is not there.
    Missing,
}

/// One entry of `spec.registries`.
#[derive(Clone, Debug)]
pub struct RegistryEntry {
    /// The account of the registry: twelve digits.
    pub account: String,
    /// The region, or `*` for every region.
    pub region: String,
    /// The registry policy; none where the entry says nothing of it.
    pub policy: Option<ResourcePolicy>,
    /// Which actions the registry policy decides.
    pub scope: RegistryPolicyScope,
    /// The prefixes of the pull-through cache rules, `ROOT` among them.
    pub pull_through_prefixes: Vec<String>,
}

/// The prefix of a pull-through cache rule that covers every repository which no other rule covers ("Creating a pull
/// through cache rule in Amazon ECR").
pub(crate) const ROOT_PREFIX: &str = "ROOT";

impl RegistryEntry {
    /// Whether the entry is about this account and region.
    #[must_use]
    pub fn is_of(&self, account: &str, region: &str) -> bool {
        self.account == account && (self.region == "*" || self.region == region)
    }

    /// The prefix of the pull-through cache rule that covers a repository: the longest that matches, by whole path
    /// segments and with at least one more below it, else `ROOT`.
    #[must_use]
    pub fn pull_through(&self, repository: &str) -> Option<&str> {
        let prefixes = || self.pull_through_prefixes.iter().map(String::as_str);
        let below = |prefix: &str| {
            let rest = repository.strip_prefix(prefix.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| !rest.is_empty())
        };
        prefixes()
            .filter(|prefix| *prefix != ROOT_PREFIX && below(prefix))
            .max_by_key(|prefix| prefix.len())
            .or_else(|| prefixes().find(|prefix| *prefix == ROOT_PREFIX))
    }
}

/// Which actions a registry policy decides ("Private registry permissions in Amazon ECR").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RegistryPolicyScope {
    /// Only `ecr:ReplicateImage`, `ecr:BatchImportUpstreamImage` and `ecr:CreateRepository`.
    V1,
    /// Every action.
    #[default]
    V2,
}

/// The policies of the organization, root first. No level means that none apply.
#[derive(Clone, Debug, Default)]
pub struct Organization {
    /// Service control policies of the puller's account.
    pub scps: Vec<PolicyLevel>,
    /// Resource control policies of the registry's account.
    pub rcps: Vec<PolicyLevel>,
}

/// The policies attached at one level: the root, an organizational unit, or the account.
#[derive(Clone, Debug)]
pub struct PolicyLevel {
    /// How the user calls the level.
    pub level: String,
    /// Its policies.
    pub policies: Vec<SourcedPolicy>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecr::image::ImageKind;

    fn registry(account: &str, region: &str, prefixes: &[&str]) -> RegistryEntry {
        RegistryEntry {
            account: account.into(),
            region: region.into(),
            policy: None,
            scope: RegistryPolicyScope::V2,
            pull_through_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        }
    }

    #[test]
    fn a_prefix_covers_whole_path_segments() {
        let entry = registry("111122223333", "*", &["docker-hub", "team/hub", "docker-hub/library"]);
        for (repository, prefix) in [
            ("docker-hub/nginx", Some("docker-hub")),
            ("docker-hub/library/nginx", Some("docker-hub/library")),
            ("docker-hub/library", Some("docker-hub")),
            ("team/hub/a/b", Some("team/hub")),
            ("docker-hub", None),
            ("docker-hub-2/nginx", None),
            ("my/docker-hub/nginx", None),
            ("team/app", None),
        ] {
            assert_eq!(entry.pull_through(repository), prefix, "{repository}");
        }
        let root = registry("111122223333", "*", &["ROOT", "docker-hub"]);
        assert_eq!(root.pull_through("docker-hub/nginx"), Some("docker-hub"));
        assert_eq!(root.pull_through("anything"), Some("ROOT"));
    }

    #[test]
    fn the_first_entry_counts() {
        let declared = Declared {
            registries: vec![
                registry("111122223333", "us-east-1", &["one"]),
                registry("111122223333", "*", &["two"]),
                registry("111122223333", "eu-west-1", &["three"]),
            ],
            repositories: ["*/shared/*", "*"]
                .into_iter()
                .map(|pattern| RepositoryEntry {
                    pattern: ArnPattern::new(pattern),
                    policy: None,
                    tags: None,
                    presence: None,
                })
                .collect(),
            ..Declared::default()
        };
        let prefix =
            |account, region| declared.registry(account, region).map(|entry| entry.pull_through_prefixes.clone());
        assert_eq!(prefix("111122223333", "us-east-1"), Some(vec!["one".to_owned()]));
        assert_eq!(prefix("111122223333", "eu-west-1"), Some(vec!["two".to_owned()]));
        assert_eq!(prefix("444455556666", "us-east-1"), None);
        let pattern = |repository: &str| {
            let text = format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{repository}");
            let ImageKind::Private(image) = ImageKind::of(&text) else { panic!("{text}") };
            declared.repository(&image).map(|entry| entry.pattern.as_str().to_owned())
        };
        assert_eq!(pattern("shared/app").as_deref(), Some("*/shared/*"));
        assert_eq!(pattern("team/app").as_deref(), Some("*"));
    }
}
