//! The rules that types cannot express, once: for the API server in CEL (Common Expression Language), for manifests
//! that never met an API server in Rust, with the same message.
//!
//! `tests/data/refused` holds an object for each rule; the same expectation is tested against both.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

use super::spec::{
    ConfigMapKeyRef, EVERY_REGION, EcrAccessPolicySpec, Identity, OrganizationLevel, PolicyEntry, Puller,
    RegistryDeclaration, RepositoryDeclaration, ResourcePolicy, RolePuller, ServiceAccountSelection,
};
use super::{AnyPolicy, DecodeError, PolicyKind};

mod exemptions;

pub use exemptions::{
    ACCOUNTS_OF_NAMESPACES, EXEMPTION_NAME, EXEMPTION_REASON, IMAGE_PATTERN, NAMESPACE_NAME, date_time,
};

/// A rule of the schema: an expression over `self`, and what a user reads where it is false. It is written as an entry of
/// `x-kubernetes-validations`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rule {
    /// The CEL expression.
    #[serde(rename = "rule")]
    pub cel: &'static str,
    /// One line, for the person who wrote the object.
    pub message: &'static str,
    /// The field to blame, relative to `self`; empty for `self`.
    #[serde(rename = "fieldPath", skip_serializing_if = "str::is_empty")]
    pub field: &'static str,
}

/// `onUnknown` is at most `onDeny`. Where it is left out it follows `onDeny`, so only a value given can be wrong.
pub const UNKNOWN_AT_MOST_DENY: Rule = Rule {
    cel: "!has(self.onUnknown) || {'Audit': 0, 'Warn': 1, 'Reject': 2}[self.onUnknown] <= \
          {'Audit': 0, 'Warn': 1, 'Reject': 2}[has(self.onDeny) ? self.onDeny : 'Reject']",
    message: "onUnknown must not be stricter than onDeny (Audit < Warn < Reject): a pod whose permissions are not known \
              cannot be treated worse than one that is certainly denied",
    field: ".onUnknown",
};

/// `puller` has exactly one field.
pub const ONE_PULLER: Rule = Rule {
    cel: "[has(self.serviceAccount), has(self.role), has(self.nodes)].exists_one(given, given)",
    message: "exactly one of serviceAccount, role and nodes must be given: nodes where the role of the node pulls (stock \
              EKS), serviceAccount for kubelets that pull with service-account tokens, role for one fixed role such as a \
              Fargate pod execution role",
    field: "",
};

/// `serviceAccounts` says something when it is there.
pub const SELECTS_SOMETHING: Rule = Rule {
    cel: "has(self.names) || has(self.selector)",
    message: "names, selector or both must be given; leave serviceAccounts out to select every service account",
    field: "",
};

/// A service account's name ("Object Names and IDs", DNS Subdomain Names).
pub const SERVICE_ACCOUNT_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    message: "must be the name of a service account: lower-case letters, digits, - and ., without its namespace",
    field: "",
};

/// A key of an annotation or label ("Labels and Selectors", Syntax and character set).
pub const QUALIFIED_NAME: Rule = Rule {
    cel: "self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
          [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
    message: "must be the key of a label or annotation: an optional DNS prefix with a slash and a name of at most 63 \
              characters, such as eks.amazonaws.com/ecr-role-arn",
    field: "",
};

/// The value of a label ("Labels and Selectors", Syntax and character set).
pub const LABEL_VALUE: Rule = Rule {
    cel: "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
    message: "must be the value of a label: at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
    field: "",
};

/// Values and operator of a selector's expression fit ("Labels and Selectors", Set-based requirement).
pub const OPERATOR_TAKES_VALUES: Rule = Rule {
    cel: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 \
          : !has(self.values) || size(self.values) == 0",
    message: "values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist",
    field: "",
};

/// The ARN of an IAM role ("IAM identifiers", IAM ARNs), in any partition.
pub const ROLE_ARN: Rule = Rule {
    cel: "self.matches('^arn:aws[a-z0-9-]*:iam::[0-9]{12}:role/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,64}$')",
    message: "must be the ARN of an IAM role, arn:PARTITION:iam::ACCOUNT:role/NAME, such as \
              arn:aws:iam::111122223333:role/app; an assumed-role session or an instance profile is none",
    field: "",
};

/// The ARN of a managed policy ("IAM identifiers", IAM ARNs), of AWS or of a customer, in any partition.
///
/// One of a customer is well-formed though no document of it is known: its layer is Unknown, which is not an error.
pub const MANAGED_POLICY_ARN: Rule = Rule {
    cel: "self.matches('^arn:aws[a-z0-9-]*:iam::(aws|[0-9]{12}):policy/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,128}$')",
    message: "must be the ARN of a managed policy, arn:PARTITION:iam::aws:policy/NAME, such as \
              arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    field: "",
};

/// The name of an IAM policy ("IAM and AWS STS quotas", IAM name requirements), so that the real name can be used.
pub const POLICY_NAME: Rule = Rule {
    cel: "self.matches('^[A-Za-z0-9_+=,.@-]+$')",
    message: "must be a name as IAM takes it: letters, digits and _ + = , . @ -",
    field: "",
};

/// The ARN of an organization's policy, of AWS or of a management account ("Actions, resources, and condition keys for
/// AWS Organizations", Resource types), or of a managed policy of IAM, whose document some keep there as well.
pub const ORGANIZATION_POLICY_ARN: Rule = Rule {
    cel: "self.matches('^arn:aws[a-z0-9-]*:organizations::(aws|[0-9]{12}):policy/[A-Za-z0-9_/-]+$') \
          || self.matches('^arn:aws[a-z0-9-]*:iam::(aws|[0-9]{12}):policy/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,128}$')",
    message: "must be the ARN of an organization's policy, such as \
              arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess, or of a managed policy of IAM",
    field: "",
};

/// The name of something in AWS Organizations, which takes nearly every character: fit to be shown in one line.
pub const PLAIN_NAME: Rule = Rule {
    cel: "self.matches('^[^[:cntrl:]]+$')",
    message: "must be a name of at least one character, without line breaks and other control characters",
    field: "",
};

/// The keys of tags ("Tags for AWS Identity and Access Management resources", Rules for tagging).
pub const TAG_KEYS: Rule = Rule {
    cel: "self.all(key, key.size() >= 1 && key.size() <= 128)",
    message: "must be a map from tag keys of 1 to 128 characters to values",
    field: "",
};

/// An ARN pattern that a repository's ARN can match ("Resource types defined by Amazon Elastic Container Registry"). A
/// repository's name has no upper-case letters, so that a pattern with one would never match.
pub const REPOSITORY_PATTERN: Rule = Rule {
    cel: "self == '*' || self.matches('^arn:[a-z0-9*?-]+:ecr:[a-z0-9*?-]+:[0-9*?]{1,12}:repository/[a-z0-9._/*?-]+$')",
    message: "must be the pattern of a repository ARN, arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME in lower case with * \
              and ? as wildcards, such as arn:aws:ecr:us-east-1:111122223333:repository/team/*, or * alone",
    field: "",
};

/// An account id ("View AWS account identifiers").
pub const ACCOUNT_ID: Rule = Rule {
    cel: "self.matches('^[0-9]{12}$')",
    message: "must be an account id of twelve digits, in quotes, such as \"111122223333\"",
    field: "",
};

/// A region's code ("AWS Regions"), or every one.
pub const REGION: Rule = Rule {
    cel: "self == '*' || self.matches('^[a-z]+(-[a-z]+)+-[0-9]+$')",
    message: "must be the code of a region, such as us-east-1, or * for every region",
    field: "",
};

/// The prefix of a pull-through cache rule (Amazon ECR API Reference, "CreatePullThroughCacheRule").
pub const CACHE_PREFIX: Rule = Rule {
    cel: "self == 'ROOT' || self.matches('^[a-z0-9][a-z0-9._/-]{1,29}$')",
    message: "must be the prefix of a pull-through cache rule, 2 to 30 lower-case letters, digits and . _ - /, such as \
              docker-hub, or ROOT",
    field: "",
};

/// The names of condition keys ("IAM JSON policy elements: Condition", The request context).
pub const CONTEXT_KEYS: Rule = Rule {
    cel: "self.all(key, key.matches('^[A-Za-z0-9._/-]+:.+$'))",
    message: "must be a map from condition keys with their prefix, such as aws:SourceVpc or aws:PrincipalTag/team, to lists \
              of values",
    field: "",
};

/// The name of a ConfigMap ("Object Names and IDs", DNS Subdomain Names).
pub const CONFIG_MAP_NAME: Rule = Rule {
    cel: SERVICE_ACCOUNT_NAME.cel,
    message: "must be the name of a ConfigMap: lower-case letters, digits, - and ., without its namespace",
    field: "",
};

/// A key of a ConfigMap ("ConfigMaps", ConfigMap object).
pub const CONFIG_MAP_KEY: Rule = Rule {
    cel: "self.matches('^[-._A-Za-z0-9]+$') && self != '.' && self != '..'",
    message: "must be a key of the ConfigMap: letters, digits, -, _ and ., such as app.json",
    field: "",
};

/// A policy of a namespace reads no other namespace's ConfigMaps: whoever may write one there need not be trusted here.
pub const OWN_NAMESPACE: Rule = Rule {
    cel: "!has(self.namespace)",
    message: "must be left out: the ConfigMap is looked up in the namespace of the policy; only a ClusterEcrAccessPolicy \
              names one",
    field: ".namespace",
};

/// What a user reads where a policy entry has none or several of its sources. CEL cannot see a `document` (it has no
/// fixed type), so the schema says it with `oneOf` and the API server answers in its own words.
pub const ONE_SOURCE: &str = "must have exactly one of document, managedPolicyArn and configMapKeyRef";

/// What a user reads where a list is there and empty that must not be.
const NONE_GIVEN: &str = "must have at least one entry";

/// Every rule that `policy` breaks, in the order of its fields. Empty where the API server would take it.
///
/// Lengths and types are not looked at here, see [`super::decode`].
pub fn violations(policy: &AnyPolicy) -> Vec<DecodeError> {
    let mut found = Violations { kind: policy.kind(), found: Vec::new() };
    let spec = policy.spec();
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
        found.unless(context.keys().all(|key| is_condition_key(key)), "spec.context", &CONTEXT_KEYS);
    }
    let cluster = policy.kind() == PolicyKind::ClusterEcrAccessPolicy;
    found.exemptions("spec.exemptions", spec.exemptions.as_deref().unwrap_or_default(), cluster);
    found.actions("spec", spec);
    if let Some(selector) = policy.namespace_selector() {
        found.selector("spec.namespaceSelector", selector);
    }
    found.found
}

/// Every rule that a reference to a ConfigMap breaks in an object of `kind`, by paths that begin behind it.
pub(super) fn config_map_violations(kind: PolicyKind, reference: &ConfigMapKeyRef) -> Vec<DecodeError> {
    let mut found = Violations { kind, found: Vec::new() };
    found.config_map("", reference);
    found.found
}

/// Collects what is wrong with an object of a kind, each with its path.
struct Violations {
    kind: PolicyKind,
    found: Vec<DecodeError>,
}

impl Violations {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.found.push(DecodeError { path: path.to_owned(), message: message.into() });
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
        self.unless(selection.names.is_some() || selection.selector.is_some(), path, &SELECTS_SOMETHING);
        if let Some(names) = &selection.names {
            self.names(&format!("{path}.names"), names, is_dns_subdomain, &SERVICE_ACCOUNT_NAME);
        }
        if let Some(selector) = &selection.selector {
            self.selector(&format!("{path}.selector"), selector);
        }
    }

    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        for (key, value) in selector.match_labels.iter().flatten() {
            let path = format!("{path}.matchLabels[{key}]");
            self.unless(is_qualified_name(key), &path, &QUALIFIED_NAME);
            self.unless(is_label_value(value), &path, &LABEL_VALUE);
        }
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            let values = expression.values.as_deref().unwrap_or_default();
            let wants_values = matches!(expression.operator.as_str(), "In" | "NotIn");
            self.unless(wants_values != values.is_empty(), &path, &OPERATOR_TAKES_VALUES);
            self.unless(is_qualified_name(&expression.key), &format!("{path}.key"), &QUALIFIED_NAME);
            for (index, value) in values.iter().enumerate() {
                self.unless(is_label_value(value), &format!("{path}.values[{index}]"), &LABEL_VALUE);
            }
        }
    }

    fn puller(&mut self, path: &str, puller: &Puller) {
        let given = [puller.service_account.is_some(), puller.role.is_some(), puller.nodes.is_some()];
        self.unless(given.into_iter().filter(|given| *given).count() == 1, path, &ONE_PULLER);
        if let Some(account) = &puller.service_account {
            let path = format!("{path}.serviceAccount");
            if let Some(key) = &account.role_annotation {
                self.unless(is_qualified_name(key), &format!("{path}.roleAnnotation"), &QUALIFIED_NAME);
            }
            self.identity(&path, account.identity.as_ref());
            let roles = account.roles.as_deref().unwrap_or_default();
            for (index, role) in roles.iter().enumerate() {
                let path = format!("{path}.roles[{index}]");
                self.unless(is_role_arn(&role.arn), &format!("{path}.arn"), &ROLE_ARN);
                self.identity(&path, role.identity.as_ref());
            }
            self.unique(&format!("{path}.roles"), roles.iter().map(|role| role.arn.as_str()));
            if let Some(arn) = &account.default_role_arn {
                self.unless(is_role_arn(arn), &format!("{path}.defaultRoleArn"), &ROLE_ARN);
            }
            let nodes = account.fallback_nodes.as_deref().unwrap_or_default();
            self.node_roles(&format!("{path}.fallbackNodes"), nodes);
        }
        if let Some(role) = &puller.role {
            let path = format!("{path}.role");
            self.unless(is_role_arn(&role.arn), &format!("{path}.arn"), &ROLE_ARN);
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
            self.unless(is_role_arn(&node.arn), &format!("{path}.arn"), &ROLE_ARN);
            self.identity(&path, node.identity.as_ref());
        }
        self.unique(path, nodes.iter().map(|node| node.arn.as_str()));
    }

    fn identity(&mut self, path: &str, identity: Option<&Identity>) {
        let Some(identity) = identity else { return };
        let path = format!("{path}.identity");
        self.policies(&format!("{path}.policies"), &identity.policies, true, |found, path, entry| {
            found.unless(is_iam_name(&entry.name), &format!("{path}.name"), &POLICY_NAME);
            found.managed_policy(path, entry.managed_policy_arn.as_deref());
        });
        if let Some(boundary) = &identity.permissions_boundary {
            let path = format!("{path}.permissionsBoundary");
            self.one_source(
                &path,
                boundary.document.is_some(),
                boundary.managed_policy_arn.as_deref(),
                boundary.config_map_key_ref.as_ref(),
            );
            self.managed_policy(&path, boundary.managed_policy_arn.as_deref());
        }
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
            self.one_source(
                &path,
                entry.document.is_some(),
                entry.managed_policy_arn.as_deref(),
                entry.config_map_key_ref.as_ref(),
            );
            each(self, &path, entry);
        }
        self.unique(path, entries.iter().map(|entry| entry.name.as_str()));
    }

    /// A policy has one source; where that is a ConfigMap, it can be named like this.
    fn one_source(&mut self, path: &str, document: bool, arn: Option<&str>, config_map: Option<&ConfigMapKeyRef>) {
        let given = [document, arn.is_some(), config_map.is_some()];
        if given.into_iter().filter(|given| *given).count() != 1 {
            self.add(path, ONE_SOURCE);
        }
        if let Some(config_map) = config_map {
            self.config_map(&format!("{path}.configMapKeyRef"), config_map);
        }
    }

    fn config_map(&mut self, path: &str, config_map: &ConfigMapKeyRef) {
        if self.kind == PolicyKind::EcrAccessPolicy {
            self.unless(config_map.namespace.is_none(), path, &OWN_NAMESPACE);
        }
        if let Some(namespace) = &config_map.namespace {
            self.unless(is_dns_label(namespace), &format!("{path}.namespace"), &NAMESPACE_NAME);
        }
        self.unless(is_dns_subdomain(&config_map.name), &format!("{path}.name"), &CONFIG_MAP_NAME);
        self.unless(is_config_map_key(&config_map.key), &format!("{path}.key"), &CONFIG_MAP_KEY);
    }

    fn resource_policy(&mut self, path: &str, policy: Option<&ResourcePolicy>) {
        if let Some(ResourcePolicy::ConfigMap { config_map_key_ref }) = policy {
            self.config_map(&format!("{path}.policy.configMapKeyRef"), config_map_key_ref);
        }
    }

    fn managed_policy(&mut self, path: &str, arn: Option<&str>) {
        if let Some(arn) = arn {
            self.unless(is_managed_policy_arn(arn), &format!("{path}.managedPolicyArn"), &MANAGED_POLICY_ARN);
        }
    }

    fn tags(&mut self, path: &str, tags: Option<&BTreeMap<String, String>>) {
        let good = tags.into_iter().flat_map(BTreeMap::keys).all(|key| (1..=128).contains(&key.chars().count()));
        self.unless(good, &format!("{path}.tags"), &TAG_KEYS);
    }

    fn repositories(&mut self, path: &str, repositories: &[RepositoryDeclaration]) {
        for (index, repository) in repositories.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(is_repository_pattern(&repository.pattern), &format!("{path}.match"), &REPOSITORY_PATTERN);
            self.resource_policy(&path, repository.policy.as_ref());
            self.tags(&path, repository.tags.as_ref());
        }
    }

    fn registries(&mut self, path: &str, registries: &[RegistryDeclaration]) {
        for (index, registry) in registries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(is_account(&registry.account_id), &format!("{path}.accountId"), &ACCOUNT_ID);
            self.unless(is_region(registry.region()), &format!("{path}.region"), &REGION);
            self.resource_policy(&path, registry.policy.as_ref());
            let path = format!("{path}.pullThroughCache");
            let rules = registry.pull_through_cache.as_deref().unwrap_or_default();
            for (index, rule) in rules.iter().enumerate() {
                self.unless(is_cache_prefix(&rule.prefix), &format!("{path}[{index}].prefix"), &CACHE_PREFIX);
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
            self.unless(is_plain_name(&level.level), &format!("{path}.level"), &PLAIN_NAME);
            let path = format!("{path}.policies");
            self.policies(&path, &level.policies, at_least_one_policy, |found, path, entry| {
                found.unless(is_plain_name(&entry.name), &format!("{path}.name"), &PLAIN_NAME);
                if let Some(arn) = &entry.managed_policy_arn {
                    let path = format!("{path}.managedPolicyArn");
                    found.unless(is_organization_policy_arn(arn), &path, &ORGANIZATION_POLICY_ARN);
                }
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

    fn actions(&mut self, path: &str, spec: &EcrAccessPolicySpec) {
        let too_strict = spec.on_unknown.is_some_and(|on_unknown| on_unknown > spec.on_deny());
        self.unless(!too_strict, path, &UNKNOWN_AT_MOST_DENY);
    }
}

/// Is it the ARN of an IAM role, as [`ROLE_ARN`] has it?
pub fn is_role_arn(text: &str) -> bool {
    let Some((account, resource)) = iam_arn(text) else {
        return false;
    };
    is_account(account) && resource.strip_prefix("role/").is_some_and(|path| is_path_and_name(path, 64))
}

/// Is it the ARN of a managed policy, as [`MANAGED_POLICY_ARN`] has it?
pub fn is_managed_policy_arn(text: &str) -> bool {
    let Some((account, resource)) = iam_arn(text) else {
        return false;
    };
    (account == "aws" || is_account(account))
        && resource.strip_prefix("policy/").is_some_and(|path| is_path_and_name(path, 128))
}

/// Is it the ARN of a policy of an organization or of IAM, as [`ORGANIZATION_POLICY_ARN`] has it?
pub fn is_organization_policy_arn(text: &str) -> bool {
    let Some((account, resource)) = global_arn(text, "organizations") else {
        return is_managed_policy_arn(text);
    };
    (account == "aws" || is_account(account))
        && resource.strip_prefix("policy/").is_some_and(|path| {
            !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/-".contains(&b))
        })
}

/// Can a repository's ARN match this pattern, as [`REPOSITORY_PATTERN`] has it?
pub fn is_repository_pattern(text: &str) -> bool {
    let wild = |b: u8| matches!(b, b'*' | b'?');
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || wild(b))
    };
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["*"] => true,
        ["arn", partition, "ecr", region, account, resource] => {
            word(partition)
                && word(region)
                && (1..=12).contains(&account.len())
                && account.bytes().all(|b| b.is_ascii_digit() || wild(b))
                && resource.strip_prefix("repository/").is_some_and(|name| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b) || wild(b))
                })
        }
        _ => false,
    }
}

/// Is it the name of a condition key, as [`CONTEXT_KEYS`] has it?
pub fn is_condition_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(prefix, name)| {
        !prefix.is_empty()
            && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
            && !name.is_empty()
            && !name.contains('\n')
    })
}

fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return text == EVERY_REGION };
    !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && words.contains('-')
        && words.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
}

fn is_cache_prefix(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b);
    text == "ROOT"
        || ((2..=30).contains(&text.len())
            && text.bytes().all(good)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_ascii_control())
}

/// Account and resource of an IAM ARN of any partition.
fn iam_arn(text: &str) -> Option<(&str, &str)> {
    global_arn(text, "iam")
}

/// Account and resource of the ARN of a service without regions, of any partition.
fn global_arn<'a>(text: &'a str, service: &str) -> Option<(&'a str, &'a str)> {
    let (partition, rest) = text.strip_prefix("arn:aws")?.split_once(':')?;
    let rest = rest.strip_prefix(service)?.strip_prefix("::")?;
    if !partition.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return None;
    }
    rest.split_once(':')
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_path_and_name(text: &str, longest_name: usize) -> bool {
    let (path, name) = text.rsplit_once('/').map_or((None, text), |(path, name)| (Some(path), name));
    is_iam_name(name)
        && name.len() <= longest_name
        && path.is_none_or(|path| !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic()))
}

fn is_iam_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_config_map_key(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(good)
}

fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && name.len() <= 63 && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text.chars().next().is_none_or(|c| c.is_ascii_alphanumeric())
        && text.chars().next_back().is_none_or(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_is_told_from_everything_that_looks_like_one() {
        for arn in [
            "arn:aws:iam::111122223333:role/app",
            "arn:aws-cn:iam::111122223333:role/app",
            "arn:aws-us-gov:iam::111122223333:role/a/deep/path/app",
            "arn:aws-eusc:iam::111122223333:role/aws-service-role/x.amazonaws.com/App_+=,.@-1",
        ] {
            assert!(is_role_arn(arn), "{arn}");
        }
        for arn in [
            "",
            "app",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role//app",
            "arn:aws:iam::111122223333:role/app/",
            "arn:aws:iam::111122223333:role/app app",
            "arn:aws:iam::11112222333:role/app",
            "arn:aws:iam::aws:role/app",
            "arn:aws:iam:us-east-1:111122223333:role/app",
            "arn:AWS:iam::111122223333:role/app",
            "arn:aws:iam::111122223333:user/app",
            "arn:aws:iam::111122223333:instance-profile/app",
            "arn:aws:sts::111122223333:assumed-role/app/session",
            "arn:aws:iam::111122223333:role/app\n",
            &format!("arn:aws:iam::111122223333:role/{}", "a".repeat(65)),
        ] {
            assert!(!is_role_arn(arn), "{arn}");
        }
    }

    #[test]
    fn a_managed_policy_is_of_aws_or_of_an_account() {
        assert!(is_managed_policy_arn("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"));
        assert!(is_managed_policy_arn("arn:aws-cn:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"));
        assert!(is_managed_policy_arn("arn:aws:iam::111122223333:policy/mine"));
        assert!(!is_managed_policy_arn("arn:aws:iam::amazon:policy/mine"));
        assert!(!is_managed_policy_arn("arn:aws:iam::111122223333:role/mine"));
        assert!(!is_managed_policy_arn("AmazonEC2ContainerRegistryPullOnly"));
        assert!(!is_managed_policy_arn("arn:aws:iam::aws:policy/"));
    }

    #[test]
    fn an_organizations_policy_has_an_arn_of_its_own() {
        for arn in [
            "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess",
            "arn:aws-us-gov:organizations::aws:policy/resource_control_policy/p-RCPFullAWSAccess",
            "arn:aws:organizations::111122223333:policy/o-abc123/service_control_policy/p-1a2b3c",
            "arn:aws:iam::aws:policy/AdministratorAccess",
        ] {
            assert!(is_organization_policy_arn(arn), "{arn}");
        }
        for arn in [
            "FullAWSAccess",
            "p-FullAWSAccess",
            "arn:aws:organizations::aws:policy/",
            "arn:aws:organizations::aws:ou/o-abc123/ou-ab12-1",
            "arn:aws:organizations:us-east-1:aws:policy/service_control_policy/p-FullAWSAccess",
        ] {
            assert!(!is_organization_policy_arn(arn), "{arn}");
        }
    }

    #[test]
    fn a_pattern_of_repositories_can_match_one() {
        for pattern in [
            "*",
            "arn:aws:ecr:us-east-1:111122223333:repository/app",
            "arn:aws:ecr:us-east-1:111122223333:repository/*",
            "arn:*:ecr:*:*:repository/team-?/a_b.c/*",
            "arn:aws-cn:ecr:cn-*:11112222????:repository/docker-hub/library/nginx",
        ] {
            assert!(is_repository_pattern(pattern), "{pattern}");
        }
        for pattern in [
            "",
            "team/*",
            "repository/team/*",
            "arn:aws:ecr:us-east-1:111122223333:team/app",
            "arn:aws:ecr:us-east-1:111122223333:repository/",
            "arn:aws:ecr:us-east-1:111122223333:repository/App",
            "arn:aws:ecr:us-east-1:1111222233334:repository/app",
            "arn:aws:ecr:us-east-1::repository/app",
            "arn:aws:ecr:us-east-1:111122223333:repository/app:1.0",
            "arn:aws:s3:us-east-1:111122223333:repository/app",
            "111122223333.dkr.ecr.us-east-1.amazonaws.com/app",
        ] {
            assert!(!is_repository_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn names_of_regions_prefixes_keys_and_levels() {
        for (region, holds) in [
            ("us-east-1", true),
            ("us-gov-west-1", true),
            ("ap-southeast-10", true),
            ("eusc-de-east-1", true),
            ("*", true),
            ("", false),
            ("us-east", false),
            ("us-1", false),
            ("us-*", false),
            ("us-east-1a", false),
            ("US-EAST-1", false),
        ] {
            assert_eq!(is_region(region), holds, "{region}");
        }
        for (prefix, holds) in [
            ("docker-hub", true),
            ("ROOT", true),
            ("ab", true),
            ("team-a/quay/", true),
            ("a", false),
            ("Docker", false),
            ("root*", false),
            ("/ab", false),
            (&"a".repeat(30), true),
            (&"a".repeat(31), false),
        ] {
            assert_eq!(is_cache_prefix(prefix), holds, "{prefix}");
        }
        for (key, holds) in [
            ("aws:SourceVpc", true),
            ("aws:PrincipalTag/cost center", true),
            ("oidc.eks.us-east-1.amazonaws.com/id/0123:sub", true),
            ("SourceVpc", false),
            ("aws:", false),
            (":SourceVpc", false),
            ("a b:c", false),
            ("aws:a\nb", false),
        ] {
            assert_eq!(is_condition_key(key), holds, "{key}");
        }
        assert!(is_plain_name("Prod OU (é)") && !is_plain_name("") && !is_plain_name("a\tb"));
    }

    #[test]
    fn names_follow_the_rules_of_kubernetes() {
        for (name, holds) in [
            ("api", true),
            ("a.b-c.d", true),
            ("", false),
            ("Api", false),
            ("a..b", false),
            ("-a", false),
            ("a/b", false),
        ] {
            assert_eq!(is_dns_subdomain(name), holds, "{name}");
        }
        assert!(is_dns_label("team-a") && !is_dns_label("team.a"));
        for (key, holds) in [
            ("app.json", true),
            ("A_b-c", true),
            ("...", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
        ] {
            assert_eq!(is_config_map_key(key), holds, "{key}");
        }
        for (key, holds) in [
            ("eks.amazonaws.com/ecr-role-arn", true),
            ("Role_arn", true),
            ("", false),
            ("x/", false),
            ("/x", false),
            ("X.com/y", false),
            ("a/b/c", false),
            ("é", false),
        ] {
            assert_eq!(is_qualified_name(key), holds, "{key}");
        }
        assert!(is_qualified_name(&"a".repeat(63)) && !is_qualified_name(&"a".repeat(64)));
        for (value, holds) in [("", true), ("a", true), ("a_b.C", true), ("-a", false), ("a b", false), ("a.", false)] {
            assert_eq!(is_label_value(value), holds, "{value}");
        }
    }
}
