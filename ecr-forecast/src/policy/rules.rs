//! The rules that types cannot express, in CEL (Common Expression Language) for the API server, with the message that a user
//! reads. `violations.rs` holds manifests that never met an API server against the same, in Rust.
//!
//! `tests/data/refused` holds an object for each rule; the same expectation is tested against both.

use serde::Serialize;

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
pub(crate) const UNKNOWN_AT_MOST_DENY: Rule = Rule {
    cel: "!has(self.onUnknown) || {'Audit': 0, 'Warn': 1, 'Reject': 2}[self.onUnknown] <= \
          {'Audit': 0, 'Warn': 1, 'Reject': 2}[has(self.onDeny) ? self.onDeny : 'Reject']",
    message: "onUnknown must not be stricter than onDeny (Audit < Warn < Reject): a pod whose permissions are not known \
              cannot be treated worse than one that is certainly denied",
    field: ".onUnknown",
};

/// `puller` has exactly one field.
pub(crate) const ONE_PULLER: Rule = Rule {
    cel: "[has(self.serviceAccount), has(self.role), has(self.nodes)].exists_one(given, given)",
    message: "exactly one of serviceAccount, role and nodes must be given: nodes where the role of the node pulls (stock \
              EKS), serviceAccount for kubelets that pull with service-account tokens, role for one fixed role such as a \
              Fargate pod execution role",
    field: "",
};

/// `serviceAccounts` says something when it is there.
pub(crate) const SELECTS_SOMETHING: Rule = Rule {
    cel: "has(self.names) || has(self.selector)",
    message: "names, selector or both must be given; leave serviceAccounts out to select every service account",
    field: "",
};

/// A service account's name ("Object Names and IDs", DNS Subdomain Names).
pub(crate) const SERVICE_ACCOUNT_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    message: "must be the name of a service account: lower-case letters, digits, - and ., without its namespace",
    field: "",
};

/// A key of an annotation or label ("Labels and Selectors", Syntax and character set).
pub(crate) const QUALIFIED_NAME: Rule = Rule {
    cel: "self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
          [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
    message: "must be the key of a label or annotation: an optional DNS prefix with a slash and a name of at most 63 \
              characters, such as eks.amazonaws.com/ecr-role-arn",
    field: "",
};

/// The value of a label ("Labels and Selectors", Syntax and character set).
pub(crate) const LABEL_VALUE: Rule = Rule {
    cel: "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
    message: "must be the value of a label: at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
    field: "",
};

/// Values and operator of a selector's expression fit ("Labels and Selectors", Set-based requirement).
pub(crate) const OPERATOR_TAKES_VALUES: Rule = Rule {
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
pub(crate) const MANAGED_POLICY_ARN: Rule = Rule {
    cel: "self.matches('^arn:aws[a-z0-9-]*:iam::(aws|[0-9]{12}):policy/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,128}$')",
    message: "must be the ARN of a managed policy, arn:PARTITION:iam::aws:policy/NAME, such as \
              arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    field: "",
};

/// The name of an IAM policy ("IAM and AWS STS quotas", IAM name requirements), so that the real name can be used.
pub(crate) const POLICY_NAME: Rule = Rule {
    cel: "self.matches('^[A-Za-z0-9_+=,.@-]+$')",
    message: "must be a name as IAM takes it: letters, digits and _ + = , . @ -",
    field: "",
};

/// The ARN of an organization's policy, of AWS or of a management account ("Actions, resources, and condition keys for
/// AWS Organizations", Resource types), or of a managed policy of IAM, whose document some keep there as well.
pub(crate) const ORGANIZATION_POLICY_ARN: Rule = Rule {
    cel: "self.matches('^arn:aws[a-z0-9-]*:organizations::(aws|[0-9]{12}):policy/[A-Za-z0-9_/-]+$') \
          || self.matches('^arn:aws[a-z0-9-]*:iam::(aws|[0-9]{12}):policy/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,128}$')",
    message: "must be the ARN of an organization's policy, such as \
              arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess, or of a managed policy of IAM",
    field: "",
};

/// The name of something in AWS Organizations, which takes nearly every character: fit to be shown in one line.
pub(crate) const PLAIN_NAME: Rule = Rule {
    cel: "self.matches('^[^[:cntrl:]]+$')",
    message: "must be a name of at least one character, without line breaks and other control characters",
    field: "",
};

/// The keys of tags ("Tags for AWS Identity and Access Management resources", Rules for tagging).
pub(crate) const TAG_KEYS: Rule = Rule {
    cel: "self.all(key, key.size() >= 1 && key.size() <= 128)",
    message: "must be a map from tag keys of 1 to 128 characters to values",
    field: "",
};

/// An ARN pattern that a repository's ARN can match ("Resource types defined by Amazon Elastic Container Registry"). A
/// repository's name has no upper-case letters, so that a pattern with one would never match.
pub(crate) const REPOSITORY_PATTERN: Rule = Rule {
    cel: "self == '*' || self.matches('^arn:[a-z0-9*?-]+:ecr:[a-z0-9*?-]+:[0-9*?]{1,12}:repository/[a-z0-9._/*?-]+$')",
    message: "must be the pattern of a repository ARN, arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME in lower case with * \
              and ? as wildcards, such as arn:aws:ecr:us-east-1:111122223333:repository/team/*, or * alone",
    field: "",
};

/// An account id ("View AWS account identifiers").
pub(crate) const ACCOUNT_ID: Rule = Rule {
    cel: "self.matches('^[0-9]{12}$')",
    message: "must be an account id of twelve digits, in quotes, such as \"111122223333\"",
    field: "",
};

/// A region's code ("AWS Regions"), or every one.
pub(crate) const REGION: Rule = Rule {
    cel: "self == '*' || self.matches('^[a-z]+(-[a-z]+)+-[0-9]+$')",
    message: "must be the code of a region, such as us-east-1, or * for every region",
    field: "",
};

/// The prefix of a pull-through cache rule (Amazon ECR API Reference, "CreatePullThroughCacheRule").
pub(crate) const CACHE_PREFIX: Rule = Rule {
    cel: "self == 'ROOT' || self.matches('^[a-z0-9][a-z0-9._/-]{1,29}$')",
    message: "must be the prefix of a pull-through cache rule, 2 to 30 lower-case letters, digits and . _ - /, such as \
              docker-hub, or ROOT",
    field: "",
};

/// The names of condition keys ("IAM JSON policy elements: Condition", The request context).
pub(crate) const CONTEXT_KEYS: Rule = Rule {
    cel: "self.all(key, key.matches('^[A-Za-z0-9._/-]+:.+$'))",
    message: "must be a map from condition keys with their prefix, such as aws:SourceVpc or aws:PrincipalTag/team, to lists \
              of values",
    field: "",
};

/// The name of a ConfigMap ("Object Names and IDs", DNS Subdomain Names).
pub(crate) const CONFIG_MAP_NAME: Rule = Rule {
    cel: SERVICE_ACCOUNT_NAME.cel,
    message: "must be the name of a ConfigMap: lower-case letters, digits, - and ., without its namespace",
    field: "",
};

/// A key of a ConfigMap ("ConfigMaps", ConfigMap object).
pub(crate) const CONFIG_MAP_KEY: Rule = Rule {
    cel: "self.matches('^[-._A-Za-z0-9]+$') && self != '.' && self != '..'",
    message: "must be a key of the ConfigMap: letters, digits, -, _ and ., such as app.json",
    field: "",
};

/// A policy of a namespace reads no other namespace's ConfigMaps: whoever may write one there need not be trusted here.
pub(crate) const OWN_NAMESPACE: Rule = Rule {
    cel: "!has(self.namespace)",
    message: "must be left out: the ConfigMap is looked up in the namespace of the policy; only a ClusterEcrAccessPolicy \
              names one",
    field: ".namespace",
};

/// What a user reads where a policy entry has none or several of its sources. CEL cannot see a `document` (it has no
/// fixed type), so the schema says it with `oneOf` and the API server answers in its own words.
pub(crate) const ONE_SOURCE: &str = "must have exactly one of document, managedPolicyArn and configMapKeyRef";

/// The name of an exemption: a word to be told and searched for.
pub(crate) const EXEMPTION_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    message: "must be a name of lower-case letters, digits, - and ., such as legacy-images",
    field: "",
};

/// The characters of image references ("distribution", Reference grammar), and `*`.
pub(crate) const IMAGE_PATTERN: Rule = Rule {
    cel: "self.matches('^[A-Za-z0-9*][A-Za-z0-9._:/@*-]*$')",
    message: "must be an image reference in which * stands for any text, such as \
              111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*",
    field: "",
};

/// Why an exemption is there, fit to be shown in one line.
pub(crate) const EXEMPTION_REASON: Rule = Rule {
    cel: "self.matches('^[^[:cntrl:]]*[^[:cntrl:] ][^[:cntrl:]]*$')",
    message: "must say why in one line, without line breaks and other control characters: whoever reads the warning sees it",
    field: "",
};

/// The name of a namespace ("Object Names and IDs", RFC 1123 Label Names).
pub(crate) const NAMESPACE_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    message: "must be the name of a namespace: lower-case letters, digits and -",
    field: "",
};

/// Everywhere in the cluster somebody may make a service account of any name.
pub(crate) const ACCOUNTS_OF_NAMESPACES: Rule = Rule {
    cel: "!has(self.serviceAccounts) || has(self.namespaces)",
    message: "serviceAccounts must come with namespaces: in any other namespace its owners may make an account of that name, \
              and exempt themselves",
    field: "",
};
