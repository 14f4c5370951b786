//! The rules that types cannot express, once: for the API server in CEL (Common Expression Language), for manifests
//! that never met an API server in Rust, with the same message.
//!
//! `tests/data/refused` holds an object for each rule; the same expectation is tested against both.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::spec::{EcrAccessPolicySpec, Identity, Puller, ServiceAccountSelection};
use super::{AnyPolicy, DecodeError};

/// A rule of the schema: an expression over `self`, and what a user reads where it is false.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The CEL expression.
    pub cel: &'static str,
    /// One line, for the person who wrote the object.
    pub message: &'static str,
    /// The field to blame, relative to `self`; empty for `self`.
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
    cel: "[has(self.serviceAccount), has(self.role)].exists_one(given, given)",
    message: "exactly one of serviceAccount and role must be given: serviceAccount for kubelets that pull with \
              service-account tokens, role for one fixed role such as a Fargate pod execution role",
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

/// What a user reads where a policy entry has neither or both of its sources. CEL cannot see a `document` (it has no
/// fixed type), so the schema says it with `oneOf` and the API server answers in its own words.
const ONE_SOURCE: &str = "must have exactly one of document and managedPolicyArn";

/// Every rule that `policy` breaks, in the order of its fields. Empty where the API server would take it.
///
/// Lengths and types are not looked at here, see [`super::decode`].
pub fn violations(policy: &AnyPolicy) -> Vec<DecodeError> {
    let mut found = Violations::default();
    let spec = policy.spec();
    if let Some(selection) = &spec.service_accounts {
        found.selection("spec.serviceAccounts", selection);
    }
    found.puller("spec.puller", &spec.puller);
    found.actions("spec", spec);
    if let Some(selector) = policy.namespace_selector() {
        found.selector("spec.namespaceSelector", selector);
    }
    found.0
}

/// Collects what is wrong, each with its path.
#[derive(Default)]
struct Violations(Vec<DecodeError>);

impl Violations {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(DecodeError { path: path.to_owned(), message: message.into() });
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
            let path = format!("{path}.names");
            if names.is_empty() {
                self.add(&path, "must have at least one entry");
            }
            for (index, name) in names.iter().enumerate() {
                self.unless(is_dns_subdomain(name), &format!("{path}[{index}]"), &SERVICE_ACCOUNT_NAME);
            }
            self.unique(&path, names.iter().map(String::as_str));
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
        self.unless(puller.service_account.is_some() != puller.role.is_some(), path, &ONE_PULLER);
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
        }
        if let Some(role) = &puller.role {
            let path = format!("{path}.role");
            self.unless(is_role_arn(&role.arn), &format!("{path}.arn"), &ROLE_ARN);
            self.identity(&path, role.identity.as_ref());
        }
    }

    fn identity(&mut self, path: &str, identity: Option<&Identity>) {
        let Some(identity) = identity else { return };
        let path = format!("{path}.identity.policies");
        if identity.policies.is_empty() {
            self.add(&path, "must have at least one entry");
        }
        for (index, entry) in identity.policies.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.unless(is_iam_name(&entry.name), &format!("{path}.name"), &POLICY_NAME);
            if entry.document.is_some() == entry.managed_policy_arn.is_some() {
                self.add(&path, ONE_SOURCE);
            }
            if let Some(arn) = &entry.managed_policy_arn {
                self.unless(is_managed_policy_arn(arn), &format!("{path}.managedPolicyArn"), &MANAGED_POLICY_ARN);
            }
        }
        self.unique(&path, identity.policies.iter().map(|entry| entry.name.as_str()));
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

/// Account and resource of an IAM ARN of any partition.
fn iam_arn(text: &str) -> Option<(&str, &str)> {
    let (partition, rest) = text.strip_prefix("arn:aws")?.split_once(":iam::")?;
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
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
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
