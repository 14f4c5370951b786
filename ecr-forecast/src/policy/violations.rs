//! Which of [`super::rules`] a policy object breaks, for manifests that never met an API server.

use std::collections::{BTreeMap, BTreeSet};

use iam_verdict::PolicyType;
use serde::Deserialize;
use serde_json::Value;

use super::PolicyKind;
use super::documents::{GivenPolicy, GivenSource, Source, documents};
use super::error::FieldError;
use super::grammar::{
    date_time, is_account, is_cache_prefix, is_condition_key, is_config_map_key, is_dns_label, is_dns_subdomain,
    is_exemption_name, is_iam_name, is_image_pattern, is_label_value, is_managed_policy_arn,
    is_organization_policy_arn, is_plain_name, is_qualified_name, is_region, is_repository_pattern, is_role_arn,
};
use super::label_selector::LabelSelector;
use super::rules::{self, Rule};
use super::spec::{
    ClusterEcrAccessPolicySpec, ConfigMapKeyRef, EcrAccessPolicySpec, Exemption, Identity, OrganizationLevel,
    PolicyEntry, Puller, RegistryDeclaration, RepositoryDeclaration, RolePuller, ServiceAccountSelection,
};

/// What a user reads where a list is there and empty that must not be.
const NONE_GIVEN: &str = "must have at least one entry";

/// What a user reads where a moment is none: the words of the API server, and more.
const NO_MOMENT: &str = "must be of type date-time, as RFC 3339 has it, such as 2027-03-31T00:00:00Z";

/// Every rule that an object of `kind` breaks, `spec` being its spec: in the order of its fields, what gives the text of its
/// policies last. Empty where the API server would take it.
///
/// Lengths and types are not looked at here, see [`super::decode`].
pub(super) fn violations(kind: PolicyKind, object: &Value, spec: &ClusterEcrAccessPolicySpec) -> Vec<FieldError> {
    let mut found = Violations { kind, found: Vec::new() };
    let ClusterEcrAccessPolicySpec { policy: spec, namespace_selector } = spec;
    if let Some(selection) = &spec.service_accounts {
        found.selection("spec.serviceAccounts", selection);
    }
    found.puller("spec.puller", &spec.puller);
    found.repositories("spec.repositories", spec.repositories.as_deref().unwrap_or_default());
    found.registries("spec.registries", spec.registries.as_deref().unwrap_or_default());
    if let Some(organization) = &spec.organization {
        let path = "spec.organization";
        let levels = organization.service_control_policies.as_deref().unwrap_or_default();
        found.levels(&format!("{path}.serviceControlPolicies"), levels, true);
        let levels = organization.resource_control_policies.as_deref().unwrap_or_default();
        found.levels(&format!("{path}.resourceControlPolicies"), levels, false);
    }
    if let Some(context) = &spec.context {
        found.unless(context.keys().all(|key| is_condition_key(key)), "spec.context", &rules::CONTEXT_KEYS);
    }
    let cluster = kind == PolicyKind::ClusterEcrAccessPolicy;
    found.exemptions("spec.exemptions", spec.exemptions.as_deref().unwrap_or_default(), cluster);
    found.actions("spec", spec);
    if let Some(selector) = namespace_selector {
        found.selector("spec.namespaceSelector", selector);
    }
    documents(object).iter().for_each(|policy| found.sources(policy));
    found.found
}

/// Every rule that a reference to a ConfigMap breaks in an object of `kind`, by paths that begin behind it.
pub(super) fn config_map_violations(kind: PolicyKind, reference: &ConfigMapKeyRef) -> Vec<FieldError> {
    let mut found = Violations { kind, found: Vec::new() };
    found.config_map("", reference);
    found.found
}

/// Collects what is wrong with an object of a kind, each with its path.
struct Violations {
    kind: PolicyKind,
    found: Vec<FieldError>,
}

impl Violations {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.found.push(FieldError { path: path.to_owned(), message: message.into() });
    }

    fn unless(&mut self, holds: bool, path: &str, rule: &Rule) {
        if !holds {
            self.add(&format!("{path}{}", rule.field), rule.message);
        }
    }

    fn unique<'a>(&mut self, path: &str, values: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (index, value) in values.enumerate() {
            if !seen.insert(value) {
                self.add(&format!("{path}[{index}]"), format!("Duplicate value: {value:?}"));
            }
        }
    }

    fn selection(&mut self, path: &str, selection: &ServiceAccountSelection) {
        self.unless(selection.names.is_some() || selection.selector.is_some(), path, &rules::SELECTS_SOMETHING);
        if let Some(names) = &selection.names {
            self.names(&format!("{path}.names"), names, is_dns_subdomain, &rules::SERVICE_ACCOUNT_NAME);
        }
        if let Some(selector) = &selection.selector {
            self.selector(&format!("{path}.selector"), selector);
        }
    }

    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        for (key, value) in selector.match_labels.iter().flatten() {
            let path = format!("{path}.matchLabels[{key}]");
            self.unless(is_qualified_name(key), &path, &rules::QUALIFIED_NAME);
            self.unless(is_label_value(value), &path, &rules::LABEL_VALUE);
        }
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            let values = expression.values.as_deref().unwrap_or_default();
            let wants_values = matches!(expression.operator.as_str(), "In" | "NotIn");
            self.unless(wants_values != values.is_empty(), &path, &rules::OPERATOR_TAKES_VALUES);
            self.unless(is_qualified_name(&expression.key), &format!("{path}.key"), &rules::QUALIFIED_NAME);
            for (index, value) in values.iter().enumerate() {
                self.unless(is_label_value(value), &format!("{path}.values[{index}]"), &rules::LABEL_VALUE);
            }
        }
    }

    fn puller(&mut self, path: &str, puller: &Puller) {
        let given = [puller.service_account.is_some(), puller.role.is_some(), puller.nodes.is_some()];
        self.unless(given.into_iter().filter(|given| *given).count() == 1, path, &rules::ONE_PULLER);
        if let Some(account) = &puller.service_account {
            let path = format!("{path}.serviceAccount");
            if let Some(key) = &account.role_annotation {
                self.unless(is_qualified_name(key), &format!("{path}.roleAnnotation"), &rules::QUALIFIED_NAME);
            }
            self.identity(&path, account.identity.as_ref());
            let roles = account.roles.as_deref().unwrap_or_default();
            for (index, role) in roles.iter().enumerate() {
                let path = format!("{path}.roles[{index}]");
                self.unless(is_role_arn(&role.arn), &format!("{path}.arn"), &rules::ROLE_ARN);
                self.identity(&path, role.identity.as_ref());
            }
            self.unique(&format!("{path}.roles"), roles.iter().map(|role| role.arn.as_str()));
            if let Some(arn) = &account.default_role_arn {
                self.unless(is_role_arn(arn), &format!("{path}.defaultRoleArn"), &rules::ROLE_ARN);
            }
            let nodes = account.fallback_nodes.as_deref().unwrap_or_default();
            self.node_roles(&format!("{path}.fallbackNodes"), nodes);
        }
        if let Some(role) = &puller.role {
            let path = format!("{path}.role");
            self.unless(is_role_arn(&role.arn), &format!("{path}.arn"), &rules::ROLE_ARN);
            self.identity(&path, role.identity.as_ref());
        }
        if let Some(nodes) = &puller.nodes {
            let path = format!("{path}.nodes");
            if nodes.is_empty() {
                self.add(&path, NONE_GIVEN);
            }
            self.node_roles(&path, nodes);
        }
    }

    fn node_roles(&mut self, path: &str, nodes: &[RolePuller]) {
        for (index, node) in nodes.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(is_role_arn(&node.arn), &format!("{path}.arn"), &rules::ROLE_ARN);
            self.identity(&path, node.identity.as_ref());
            for (key, value) in node.labels.iter().flatten() {
                self.unless(is_label_value(value), &format!("{path}.labels[{key}]"), &rules::LABEL_VALUE);
            }
        }
        self.unique(path, nodes.iter().map(|node| node.arn.as_str()));
    }

    fn identity(&mut self, path: &str, identity: Option<&Identity>) {
        let Some(identity) = identity else { return };
        let path = format!("{path}.identity");
        self.policies(&format!("{path}.policies"), &identity.policies, true, |found, path, entry| {
            found.unless(is_iam_name(&entry.name), &format!("{path}.name"), &rules::POLICY_NAME);
        });
        self.tags(&path, identity.tags.as_ref());
    }

    /// A list of policies; `each` looks at what differs from list to list.
    fn policies(
        &mut self,
        path: &str,
        entries: &[PolicyEntry],
        at_least_one: bool,
        each: impl Fn(&mut Self, &str, &PolicyEntry),
    ) {
        if entries.is_empty() && at_least_one {
            self.add(path, NONE_GIVEN);
        }
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            each(self, &path, entry);
        }
        self.unique(path, entries.iter().map(|entry| entry.name.as_str()));
    }

    /// A policy has one source, of which a reference and an ARN look like this. What stands in place of a resource-based
    /// policy was held to its shape before.
    fn sources(&mut self, policy: &GivenPolicy<'_>) {
        let sources = policy.sources();
        if sources.len() != 1 && !policy.is_resource_based() {
            self.add(&policy.path, rules::ONE_SOURCE);
        }
        for GivenSource { path, source } in sources {
            match source {
                Source::Document(_) => {}
                Source::ConfigMap(reference) => match ConfigMapKeyRef::deserialize(reference) {
                    Ok(reference) => self.config_map(&path, &reference),
                    Err(error) => self.add(&path, error.to_string()),
                },
                Source::Managed(arn) if matches!(policy.kind, PolicyType::Scp | PolicyType::Rcp) => {
                    self.unless(is_organization_policy_arn(arn), &path, &rules::ORGANIZATION_POLICY_ARN);
                }
                Source::Managed(arn) => self.unless(is_managed_policy_arn(arn), &path, &rules::MANAGED_POLICY_ARN),
            }
        }
    }

    fn config_map(&mut self, path: &str, config_map: &ConfigMapKeyRef) {
        if self.kind == PolicyKind::EcrAccessPolicy {
            self.unless(config_map.namespace.is_none(), path, &rules::OWN_NAMESPACE);
        }
        if let Some(namespace) = &config_map.namespace {
            self.unless(is_dns_label(namespace), &format!("{path}.namespace"), &rules::NAMESPACE_NAME);
        }
        self.unless(is_dns_subdomain(&config_map.name), &format!("{path}.name"), &rules::CONFIG_MAP_NAME);
        self.unless(is_config_map_key(&config_map.key), &format!("{path}.key"), &rules::CONFIG_MAP_KEY);
    }

    fn tags(&mut self, path: &str, tags: Option<&BTreeMap<String, String>>) {
        let good = tags.into_iter().flat_map(BTreeMap::keys).all(|key| (1..=128).contains(&key.chars().count()));
        self.unless(good, &format!("{path}.tags"), &rules::TAG_KEYS);
    }

    fn repositories(&mut self, path: &str, repositories: &[RepositoryDeclaration]) {
        for (index, repository) in repositories.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(
                is_repository_pattern(&repository.pattern),
                &format!("{path}.match"),
                &rules::REPOSITORY_PATTERN,
            );
            self.tags(&path, repository.tags.as_ref());
        }
    }

    fn registries(&mut self, path: &str, registries: &[RegistryDeclaration]) {
        for (index, registry) in registries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(is_account(&registry.account_id), &format!("{path}.accountId"), &rules::ACCOUNT_ID);
            self.unless(is_region(registry.region()), &format!("{path}.region"), &rules::REGION);
            let path = format!("{path}.pullThroughCache");
            let rules = registry.pull_through_cache.as_deref().unwrap_or_default();
            for (index, rule) in rules.iter().enumerate() {
                self.unless(is_cache_prefix(&rule.prefix), &format!("{path}[{index}].prefix"), &rules::CACHE_PREFIX);
            }
            self.unique(&path, rules.iter().map(|rule| rule.prefix.as_str()));
        }
        let keys: Vec<String> =
            registries.iter().map(|registry| format!("{} {}", registry.account_id, registry.region())).collect();
        self.unique(path, keys.iter().map(String::as_str));
    }

    fn levels(&mut self, path: &str, levels: &[OrganizationLevel], at_least_one_policy: bool) {
        for (index, level) in levels.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(is_plain_name(&level.level), &format!("{path}.level"), &rules::PLAIN_NAME);
            let path = format!("{path}.policies");
            self.policies(&path, &level.policies, at_least_one_policy, |found, path, entry| {
                found.unless(is_plain_name(&entry.name), &format!("{path}.name"), &rules::PLAIN_NAME);
            });
        }
        self.unique(path, levels.iter().map(|level| level.level.as_str()));
    }

    /// At least one, none of them twice, and each as `rule` has it.
    fn names(&mut self, path: &str, names: &[String], holds: impl Fn(&str) -> bool, rule: &Rule) {
        if names.is_empty() {
            self.add(path, NONE_GIVEN);
        }
        for (index, name) in names.iter().enumerate() {
            self.unless(holds(name), &format!("{path}[{index}]"), rule);
        }
        self.unique(path, names.iter().map(String::as_str));
    }

    /// Looks at the exemptions of a policy, of the cluster kind or not.
    fn exemptions(&mut self, path: &str, exemptions: &[Exemption], cluster: bool) {
        for (index, exemption) in exemptions.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Exemption { name, namespaces, service_accounts, images, reason, expires_at } = exemption;
            self.unless(is_exemption_name(name), &format!("{path}.name"), &rules::EXEMPTION_NAME);
            if let Some(namespaces) = namespaces {
                let is_name = |name: &str| is_dns_subdomain(name) && !name.contains('.');
                self.names(&format!("{path}.namespaces"), namespaces, is_name, &rules::NAMESPACE_NAME);
            }
            if let Some(accounts) = service_accounts {
                self.names(
                    &format!("{path}.serviceAccounts"),
                    accounts,
                    is_dns_subdomain,
                    &rules::SERVICE_ACCOUNT_NAME,
                );
                self.unless(!cluster || namespaces.is_some(), &path, &rules::ACCOUNTS_OF_NAMESPACES);
            }
            self.names(&format!("{path}.images"), images, is_image_pattern, &rules::IMAGE_PATTERN);
            let told = is_plain_name(reason) && !reason.trim_matches(' ').is_empty();
            self.unless(told, &format!("{path}.reason"), &rules::EXEMPTION_REASON);
            if date_time(expires_at).is_none() {
                self.add(&format!("{path}.expiresAt"), NO_MOMENT);
            }
        }
        self.unique(path, exemptions.iter().map(|exemption| exemption.name.as_str()));
    }

    fn actions(&mut self, path: &str, spec: &EcrAccessPolicySpec) {
        let too_strict = spec.on_unknown.is_some_and(|on_unknown| on_unknown > spec.on_deny());
        self.unless(!too_strict, path, &rules::UNKNOWN_AT_MOST_DENY);
    }
}
