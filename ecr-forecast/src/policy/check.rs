//! What is wrong with a policy object beyond its schema and rules: IAM documents that AWS would not take, each with its path.
//!
//! Refused is what cannot be judged (a document that does not parse) and what AWS certainly does not store. A false refusal
//! stops a rollout, so the rest is a warning: what only the service decides that stores the policy (see `is_doubtful`),
//! managed policies that are not built in, entries that never count, and exemptions that have ended.

use std::collections::BTreeSet;

use iam_verdict::{DocumentError, DocumentErrorKind, Policy, PolicyType, StatementElement};
use jiff::Timestamp;
use serde_json::Value;

use super::compiled::organization_policies;
use super::decode::{SHAPE, validate_config_map_key_ref};
use super::documents::{GivenPolicy, Source, documents, items};
use super::grammar::date_time;
use super::kind::PolicyKind;
use crate::ecr::image_pattern::ImagePattern;
use crate::ecr::{ArnPattern, managed};

/// What may be wrong with an object, each with its field: policies first, each in the order of the schema. Plain JSON is read: an object that this version
/// cannot decode may hold documents that it can read.
pub fn checks(object: &Value) -> Vec<(String, PolicyCheck<'_>)> {
    PolicyChecks::of(object).found
}

/// What the webhook would say when this object was created at the moment `at`, of what can be judged all the same: for
/// manifests that are looked at before they are applied. Each comes with its field. Managed policies that are not built in, and
/// service accounts without a role, are left to the verdicts.
///
/// `text` finds what stands in a ConfigMap, given a namespace where the reference has one, a name and a key; it is none
/// where verdicts say enough. No webhook looks at ConfigMaps, so here is the one place where such a document meets the
/// grammar of its type; what is wrong with it is a warning.
pub fn remarks<'t>(
    object: &Value,
    at: Timestamp,
    text: impl Fn(Option<&str>, &str, &str) -> Option<&'t str>,
) -> Vec<(String, CheckResult)> {
    let checks = checks(object).into_iter();
    let in_config_map = |kind: PolicyType, reference: &Value| {
        let part = |name: &str| reference.get(name).and_then(Value::as_str);
        let (name, key) = (part("name")?, part("key")?);
        let document = Value::from(text(part("namespace"), name, key)?);
        let what = format!("key {key} of ConfigMap {name}");
        match check_document(kind, &document) {
            CheckResult::Refused(word, message) if parses(&document) => {
                let message =
                    format!("{what}: {message}; AWS does not store such a policy, and no webhook looks at ConfigMaps");
                Some(CheckResult::Warning(word, message))
            }
            CheckResult::Warning(word, message) => Some(CheckResult::Warning(word, format!("{what}: {message}"))),
            CheckResult::Good | CheckResult::Refused(..) => None,
        }
    };
    let remark = |(field, check): (String, PolicyCheck<'_>)| {
        let result = match (&check, check.check(at)) {
            (PolicyCheck::InConfigMap(kind, reference), _) => in_config_map(*kind, reference)?,
            (PolicyCheck::Managed(_) | PolicyCheck::WithoutRole, _)
            | (_, CheckResult::Good | CheckResult::Warning("UnknownManagedPolicy", _)) => return None,
            (PolicyCheck::Document(_, document), CheckResult::Refused(word, message)) if parses(document) => {
                CheckResult::Refused(word, format!("{message}; the webhook of the cluster refuses it"))
            }
            // Whoever reads the manifest strictly has found it already.
            (_, CheckResult::Refused(..)) => return None,
            (_, warning @ CheckResult::Warning(..)) => warning,
        };
        Some((field, result))
    };
    checks.filter_map(remark).collect()
}

/// A place in a policy object that may be wrong. Two are equal where they say the same, wherever they stand.
#[derive(Debug, PartialEq)]
pub enum PolicyCheck<'a> {
    /// A policy document of this type.
    Document(PolicyType, &'a Value),
    /// A reference to a document of this type in a ConfigMap. What stands there may be another thing tomorrow.
    InConfigMap(PolicyType, &'a Value),
    /// In place of a resource-based policy, and nothing that one may be.
    Shapeless(&'a Value),
    /// What is wrong with a reference to a ConfigMap where a resource-based policy stands.
    BadReference(String),
    /// The ARN of a managed policy of a principal.
    Managed(&'a str),
    /// The ARN of a policy of the organization.
    Organization(&'a str),
    /// A condition key that was given before in another spelling.
    RepeatedKey(&'a str),
    /// A pattern of repositories whose every match is taken by an earlier entry: its index.
    Shadowed(&'a str, usize),
    /// The IAM policies of service accounts, of which those without an annotation have no role.
    WithoutRole,
    /// The end of an exemption.
    End(&'a str),
    /// A pattern of images of an exemption.
    Exempted(&'a str),
}

/// Why a policy object is refused, as a word for metrics and the audit log.
pub type Word = &'static str;

/// A document, or what stands in its place, is none.
const MALFORMED: Word = "MalformedDocument";
/// A document nests too deeply.
pub const TOO_DEEP: Word = "DocumentTooDeep";

/// What is to be said of a [`PolicyCheck`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckResult {
    /// Nothing.
    Good,
    /// A word for metrics, and the text.
    Refused(Word, String),
    /// A word for metrics, and the text.
    Warning(Word, String),
}

impl PolicyCheck<'_> {
    /// What is to be said of it as of `at`.
    pub fn check(&self, at: Timestamp) -> CheckResult {
        match self {
            PolicyCheck::Document(kind, document) => check_document(*kind, document),
            PolicyCheck::Shapeless(_) => CheckResult::Refused(MALFORMED, SHAPE.to_owned()),
            PolicyCheck::BadReference(message) => CheckResult::Refused(MALFORMED, message.clone()),
            PolicyCheck::Managed(arn) if managed::find(arn).is_none() => unknown_managed(arn),
            PolicyCheck::Organization(arn) if organization_policies::find(arn).is_none() => unknown_managed(arn),
            PolicyCheck::Organization(arn) if arn.contains(":iam::") => CheckResult::Warning(
                "NotOfOrganization",
                format!(
                    "`{arn}` is a managed policy of IAM, which AWS Organizations cannot attach; its text is used as it is"
                ),
            ),
            PolicyCheck::Managed(_) | PolicyCheck::Organization(_) | PolicyCheck::InConfigMap(..) => CheckResult::Good,
            PolicyCheck::WithoutRole => CheckResult::Warning(
                "IdentityWithoutRole",
                "these policies are of the role in the service account's annotation, and make none: for a service account \
                 without it the node pulls, and the verdict is Unknown; declare fallbackNodes or defaultRoleArn"
                    .to_owned(),
            ),
            PolicyCheck::RepeatedKey(key) => {
                let message = format!("`{key}` is given twice: condition keys have no upper and lower case");
                CheckResult::Refused(MALFORMED, message)
            }
            PolicyCheck::Shadowed(pattern, by) => CheckResult::Warning(
                "EntryNeverCounts",
                format!(
                    "`{pattern}` never counts: spec.repositories[{by}] comes first and matches all that it matches"
                ),
            ),
            PolicyCheck::End(end) if date_time(end).is_some_and(|end| end <= at) => CheckResult::Warning(
                "ExemptionEnded",
                format!("`{end}` is in the past: this exemption lets nothing in, and can be deleted"),
            ),
            PolicyCheck::Exempted(pattern) if !ImagePattern::new(pattern).may_be_of_ecr() => CheckResult::Warning(
                "EntryNeverCounts",
                format!(
                    "`{pattern}` exempts nothing: no image of Amazon ECR matches it; a pattern has the registry's host, such \
                     as 111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*"
                ),
            ),
            PolicyCheck::End(_) | PolicyCheck::Exempted(_) => CheckResult::Good,
        }
    }
}

/// What may be wrong with an object, each with its path: policies first, each in the order of the schema.
struct PolicyChecks<'a> {
    kind: PolicyKind,
    found: Vec<(String, PolicyCheck<'a>)>,
}

impl<'a> PolicyChecks<'a> {
    /// Reads the plain JSON: an object that this version cannot decode may hold documents that it can read.
    fn of(object: &'a Value) -> Self {
        let kind = object.get("kind").and_then(Value::as_str).and_then(PolicyKind::from_name);
        let mut checks = Self { kind: kind.unwrap_or(PolicyKind::EcrAccessPolicy), found: Vec::new() };
        documents(object).iter().for_each(|policy| checks.policy(policy));
        let Some(spec) = object.get("spec") else { return checks };
        if let Some(account) = spec.pointer("/puller/serviceAccount") {
            let given = |field: &str| account.get(field).is_some_and(|value| !value.is_null());
            if given("identity") && !["defaultRoleArn", "fallbackNodes", "fallsBackToNode"].into_iter().any(given) {
                checks.found.push(("spec.puller.serviceAccount.identity".to_owned(), PolicyCheck::WithoutRole));
            }
        }
        checks.shadowed(spec.get("repositories"));
        checks.repeated_keys(spec.get("context"));
        for (path, exemption) in items("spec.exemptions", spec.get("exemptions")) {
            for (path, image) in items(&format!("{path}.images"), exemption.get("images")) {
                checks.found.extend(image.as_str().map(|image| (path, PolicyCheck::Exempted(image))));
            }
            let end = exemption.get("expiresAt").and_then(Value::as_str);
            checks.found.extend(end.map(|end| (format!("{path}.expiresAt"), PolicyCheck::End(end))));
        }
        checks
    }

    fn policy(&mut self, policy: &GivenPolicy<'a>) {
        let kind = policy.kind;
        self.found.extend(policy.shapeless().map(|given| (policy.path.clone(), PolicyCheck::Shapeless(given))));
        for given in policy.sources() {
            let check = match given.source {
                Source::Document(document) => PolicyCheck::Document(kind, document),
                Source::ConfigMap(reference) if policy.is_resource_based() => {
                    self.config_map(given.path, kind, reference);
                    continue;
                }
                Source::ConfigMap(reference) => PolicyCheck::InConfigMap(kind, reference),
                Source::Managed(arn) if matches!(kind, PolicyType::Scp | PolicyType::Rcp) => {
                    PolicyCheck::Organization(arn)
                }
                Source::Managed(arn) => PolicyCheck::Managed(arn),
            };
            self.found.push((given.path, check));
        }
    }

    /// The API server does not look into a resource-based policy, so its reference is held to its shape here.
    fn config_map(&mut self, path: String, kind: PolicyType, reference: &'a Value) {
        let errors = validate_config_map_key_ref(self.kind, reference);
        if errors.is_empty() {
            self.found.push((path, PolicyCheck::InConfigMap(kind, reference)));
            return;
        }
        self.found.extend(
            errors.into_iter().map(|error| (format!("{path}{}", error.path), PolicyCheck::BadReference(error.message))),
        );
    }

    fn repeated_keys(&mut self, context: Option<&'a Value>) {
        let mut seen = BTreeSet::new();
        for key in context.and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
            if !seen.insert(key.to_ascii_lowercase()) {
                self.found.push((format!("spec.context[{key}]"), PolicyCheck::RepeatedKey(key)));
            }
        }
    }

    fn shadowed(&mut self, repositories: Option<&'a Value>) {
        let mut earlier: Vec<(&str, ArnPattern)> = Vec::new();
        for (path, entry) in items("spec.repositories", repositories) {
            let pattern = entry.get("match").and_then(Value::as_str).unwrap_or_default();
            // A wildcard of the later pattern is matched as the character that it is. A `?` takes it too, though `*`
            // stands for more than one character.
            let covers = |(text, compiled): &(&str, ArnPattern)| {
                compiled.matches(pattern) && !(text.contains('?') && pattern.contains('*'))
            };
            if let Some(by) = earlier.iter().position(covers) {
                self.found.push((path, PolicyCheck::Shadowed(pattern, by)));
            }
            earlier.push((pattern, ArnPattern::new(pattern)));
        }
    }
}

/// A document is a mapping, or a string with JSON text, of which every byte counts.
fn check_document(kind: PolicyType, document: &Value) -> CheckResult {
    match iam_verdict::validate(kind, &text(document)) {
        Ok(()) => CheckResult::Good,
        Err(error) if parses(document) && is_doubtful(kind, &error) => {
            let message = format!("{}; AWS may refuse to store this policy", describe(&error));
            CheckResult::Warning("DoubtfulDocument", message)
        }
        Err(error) if error.kind == DocumentErrorKind::TooDeep => CheckResult::Refused(TOO_DEEP, describe(&error)),
        Err(error) => CheckResult::Refused(MALFORMED, describe(&error)),
    }
}

fn text(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether verdicts can be made of it.
fn parses(document: &Value) -> bool {
    Policy::parse(&text(document)).is_ok()
}

/// Whether only the service that stores the policy can say that the error is one.
///
/// Identity-based policies, boundaries and the policies of an organization are checked by AWS against one grammar. A
/// resource-based policy is checked by its service: which names of principals still lead to somebody, and what it
/// makes of a `Resource` in a policy of one repository, it decides itself.
fn is_doubtful(kind: PolicyType, error: &DocumentError) -> bool {
    match kind {
        PolicyType::Resource => error.element.is_some(),
        PolicyType::Registry => {
            matches!(error.element, Some(StatementElement::Sid | StatementElement::PrincipalType))
        }
        _ => false,
    }
}

/// `$.Statement[0].Effect: message (hint)`; with the name of its page where the document is not read at all.
fn describe(error: &DocumentError) -> String {
    let hint = error.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let page = if error.kind == DocumentErrorKind::TooDeep { format!(" [{TOO_DEEP}]") } else { String::new() };
    format!("{}: {}{hint}{page}", error.path, error.message)
}

fn unknown_managed(arn: &str) -> CheckResult {
    let message = format!(
        "`{arn}` is none of the AWS managed policies that this version of ecr-access knows{}: verdicts that depend on it are \
         Unknown; write its document out instead",
        managed::hint(arn)
    );
    CheckResult::Warning("UnknownManagedPolicy", message)
}
