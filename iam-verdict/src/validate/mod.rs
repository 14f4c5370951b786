//! The strict validator: what AWS refuses when a policy is stored, found beforehand, with the place and a hint.

pub(crate) mod grammar;

use std::collections::{BTreeMap, BTreeSet};

use crate::condition::operator::Operator;
use crate::document::Policy;
use crate::element::{
    DocumentError, Path, exclusive, field, missing_action, not_a_string, repeated, unknown_field, unknown_operator,
};
use crate::json::{self, Json};
use crate::quote::Quoted;
use grammar::Fault;

/// What a document is used for: each use has its own grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyType {
    /// Attached to a user, group or role.
    Identity,
    /// A permissions boundary.
    Boundary,
    /// Passed when a session is made.
    Session,
    /// Attached to a resource, such as an ECR repository.
    Resource,
    /// Attached to an ECR registry.
    Registry,
    /// A service control policy.
    Scp,
    /// A resource control policy.
    Rcp,
    /// The trust policy of a role.
    Trust,
}

impl PolicyType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Identity,
        Self::Boundary,
        Self::Session,
        Self::Resource,
        Self::Registry,
        Self::Scp,
        Self::Rcp,
        Self::Trust,
    ];

    /// The lower-case word for the type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Boundary => "boundary",
            Self::Session => "session",
            Self::Resource => "resource",
            Self::Registry => "registry",
            Self::Scp => "scp",
            Self::Rcp => "rcp",
            Self::Trust => "trust",
        }
    }

    /// The type that [`as_str`](Self::as_str) calls `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The type in a sentence.
    const fn phrase(self) -> &'static str {
        match self {
            Self::Identity => "an identity policy",
            Self::Boundary => "a permissions boundary",
            Self::Session => "a session policy",
            Self::Resource => "a resource policy",
            Self::Registry => "a registry policy",
            Self::Scp => "a service control policy",
            Self::Rcp => "a resource control policy",
            Self::Trust => "a trust policy",
        }
    }

    /// Whether a statement names principals.
    pub(crate) const fn names_principals(self) -> bool {
        matches!(self, Self::Resource | Self::Registry | Self::Rcp | Self::Trust)
    }

    /// Whether the policy lives in AWS Organizations.
    const fn is_of_organizations(self) -> bool {
        matches!(self, Self::Scp | Self::Rcp)
    }
}

/// [`problems`] names at most this many.
pub const MAX_PROBLEMS: usize = 100;

/// Whether AWS would take `text` as a policy of this type ("Grammar of the IAM JSON policy language", and the pages of
/// the policy types). Size quotas are not looked at, they are a matter of [`lint`](crate::lint()): they depend on where
/// the policy is stored and who owns it.
///
/// ```
/// use iam_verdict::{validate, PolicyType};
/// let text = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "repository/app"}]}"#;
/// let error = validate(PolicyType::Identity, text).unwrap_err();
/// assert_eq!(error.path, "$.Statement[0].Resource");
/// ```
///
/// # Errors
/// The first of the [`problems`].
pub fn validate(kind: PolicyType, text: &str) -> Result<(), DocumentError> {
    match find(kind, text, 1).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Everything for which AWS would refuse `text` as a policy of this type, [`MAX_PROBLEMS`] at most; empty exactly where
/// [`validate`] is content. A document without problems is one that [`Policy::parse`](crate::Policy::parse) reads.
///
/// Time is linear in the length of the text (but for a logarithm); its size (1 MiB) and depth (64) are bounded, and so
/// is the length of each message.
///
/// ```
/// use iam_verdict::{problems, PolicyType};
/// let text = r#"{"Statement": [{"Sid": "a b", "Effect": "allow", "Action": "ecr:*", "Resource": "*"}]}"#;
/// let paths: Vec<_> = problems(PolicyType::Identity, text).into_iter().map(|problem| problem.path).collect();
/// assert_eq!(paths, ["$.Statement[0].Sid", "$.Statement[0].Effect"]);
/// ```
#[must_use]
pub fn problems(kind: PolicyType, text: &str) -> Vec<DocumentError> {
    find(kind, text, MAX_PROBLEMS)
}

fn find(kind: PolicyType, text: &str, limit: usize) -> Vec<DocumentError> {
    let json = match json::read(text) {
        Ok(json) => json,
        Err(error) => return vec![error.into()],
    };
    let mut checker = Checker { kind, modern: false, limit, found: Vec::new(), sids: BTreeSet::new() };
    checker.document(&json);
    let mut found = checker.found;
    if found.is_empty() {
        // A safety net, so that a document without problems always compiles.
        found.extend(Policy::compile(&json).err());
    }
    found
}

const STATEMENT: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

struct Checker<'a> {
    kind: PolicyType,
    /// Version 2012-10-17, which has variables.
    modern: bool,
    limit: usize,
    found: Vec<DocumentError>,
    sids: BTreeSet<&'a str>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, problem: DocumentError) {
        if !self.full() {
            self.found.push(problem);
        }
    }

    fn fault(&mut self, path: &Path<'_>, fault: Fault) {
        let problem = DocumentError::new(path, fault.message);
        self.report(match fault.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    fn full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn document(&mut self, json: &'a Json) {
        let path = Path::root();
        self.characters(json, &path);
        let Some(fields) = self.object(json, &path) else { return };
        self.elements(fields, &path, &["Version", "Id", "Statement"]);
        self.version(fields, &path);
        if let Some(id) = field(fields, "Id") {
            self.string(id, &path.field("Id"));
        }
        let at = path.field("Statement");
        match field(fields, "Statement") {
            None => self.report(DocumentError::new(path, "`Statement` is missing")),
            Some(Json::Array(items)) => {
                if items.is_empty() {
                    self.report(DocumentError::new(at, "the list is empty").hint("write at least one statement"));
                }
                for (index, item) in items.iter().enumerate() {
                    if self.full() {
                        return;
                    }
                    self.statement(item, &at.index(index), items.len() == 1);
                }
            }
            Some(single) => self.statement(single, &at, true),
        }
    }

    /// The characters a policy may have: tab, line feed, carriage return, U+0020 to U+00FF.
    fn characters(&mut self, json: &Json, path: &Path<'_>) {
        match json {
            Json::String(text) => self.check_characters(text, path),
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.characters(item, &path.index(index));
                }
            }
            Json::Object(fields) => {
                for (key, item) in fields {
                    self.check_characters(key, path);
                    self.characters(item, &path.field(key));
                }
            }
            _ => {}
        }
    }

    fn check_characters(&mut self, text: &str, path: &Path<'_>) {
        if let Some(c) = text.chars().find(|c| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')) {
            let problem = DocumentError::new(path, format!("`{}` is not a character of policies", c.escape_unicode()));
            self.report(problem.hint("tab, line feed, carriage return and U+0020 to U+00FF are"));
        }
    }

    fn version(&mut self, fields: &'a [(String, Json)], path: &Path<'_>) {
        let at = path.field("Version");
        let current = "write `\"Version\": \"2012-10-17\"`";
        let Some(json) = field(fields, "Version") else {
            if self.kind.is_of_organizations() {
                let message = format!("`Version` is missing; {} has to have it", self.kind.phrase());
                self.report(DocumentError::new(path, message).hint(current));
            }
            return;
        };
        match self.string(json, &at) {
            None => {}
            Some("2012-10-17") => self.modern = true,
            Some("2008-10-17") if self.kind.is_of_organizations() => self.report(
                DocumentError::new(at, format!("{} has the Version `2012-10-17` and no other", self.kind.phrase()))
                    .hint(current),
            ),
            Some("2008-10-17") => {}
            Some(other) => self.report(
                DocumentError::new(at, format!("{} is not a version of the policy language", Quoted(other)))
                    .hint("write `2012-10-17`"),
            ),
        }
    }

    fn statement(&mut self, json: &'a Json, path: &Path<'_>, alone: bool) {
        let Some(fields) = self.object(json, path) else { return };
        self.elements(fields, path, &STATEMENT);
        if let Some(sid) = field(fields, "Sid") {
            self.sid(sid, &path.field("Sid"));
        }
        self.effect(fields, path, alone);
        self.principal(fields, path);
        self.actions(fields, path, alone);
        self.resources(fields, path);
        if let Some(json) = field(fields, "Condition") {
            self.conditions(json, &path.field("Condition"));
        }
    }

    fn sid(&mut self, json: &'a Json, path: &Path<'_>) {
        let Some(sid) = self.string(json, path) else { return };
        // Services with resource-based policies of their own allow more characters, spaces among them ("Sid").
        let free = matches!(self.kind, PolicyType::Resource | PolicyType::Registry);
        if !free && !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            self.report(
                DocumentError::new(path, format!("{} is not a Sid", Quoted(sid)))
                    .hint("use letters A-Z, a-z and digits"),
            );
        }
        // The empty Sid is as good as none, in any number of statements. ECR stores one Sid in two statements; a lint says so.
        if !free && !sid.is_empty() && !self.sids.insert(sid) {
            self.report(
                DocumentError::new(path, format!("the Sid {} stands in two statements", Quoted(sid)))
                    .hint("give each statement its own, or none"),
            );
        }
    }

    fn effect(&mut self, fields: &'a [(String, Json)], path: &Path<'_>, alone: bool) {
        let at = path.field("Effect");
        let Some(json) = field(fields, "Effect") else {
            self.report(DocumentError::new(path, "`Effect` is missing").hint("write `Allow` or `Deny`"));
            return;
        };
        match self.string(json, &at) {
            None | Some("Deny") => {}
            Some("Allow") => {
                if self.kind == PolicyType::Rcp && !(alone && is_full_access(fields)) {
                    self.report(
                        DocumentError::new(at, "a resource control policy denies only")
                            .hint("the allow-all policy `RCPFullAWSAccess` is attached everywhere already"),
                    );
                }
            }
            Some(other) => self.report(
                DocumentError::new(at, format!("{} is not an effect", Quoted(other)))
                    .hint("write `Allow` or `Deny`, with this capital letter"),
            ),
        }
    }

    fn principal(&mut self, fields: &'a [(String, Json)], path: &Path<'_>) {
        let absent = field(fields, "Principal").is_none() && field(fields, "NotPrincipal").is_none();
        if absent && self.kind.names_principals() {
            let message = format!("`Principal` is missing; {} says whom a statement is about", self.kind.phrase());
            self.report(DocumentError::new(path, message).hint(match self.kind {
                PolicyType::Rcp => "write `\"Principal\": \"*\"`",
                _ => "write for example `{\"AWS\": \"111122223333\"}`",
            }));
        }
        let Some((name, json)) = self.one_of(fields, path, "Principal", "NotPrincipal") else { return };
        let at = path.field(name);
        if !self.kind.names_principals() {
            self.report(
                DocumentError::new(at, format!("{} has no `{name}`", self.kind.phrase()))
                    .hint("it applies to whoever it is attached to: remove the element"),
            );
            return;
        }
        if self.kind == PolicyType::Rcp {
            if name == "NotPrincipal" || !is_star(json) {
                self.report(
                    DocumentError::new(at, "a resource control policy has `\"Principal\": \"*\"` and no other")
                        .hint("except principals by a condition, for example on `aws:PrincipalOrgID`"),
                );
            }
            return;
        }
        if name == "NotPrincipal" && self.kind == PolicyType::Trust {
            self.report(
                DocumentError::new(at, "a trust policy has no `NotPrincipal`")
                    .hint("deny with `\"Principal\": {\"AWS\": \"*\"}` and a condition on `aws:PrincipalArn`"),
            );
            return;
        }
        if name == "NotPrincipal" && is_effect(fields, "Allow") {
            self.report(
                DocumentError::new(at, "`NotPrincipal` stands with `Deny` only").hint("name the principals to allow"),
            );
            return;
        }
        match json {
            Json::String(text) if text == "*" => {
                if self.kind == PolicyType::Trust {
                    self.report(
                        DocumentError::new(at, "a trust policy does not take `\"*\"` alone")
                            .hint("write `{\"AWS\": \"*\"}`, with a condition"),
                    );
                }
            }
            Json::String(other) => self.report(
                DocumentError::new(at, format!("{} is not a principal", Quoted(other)))
                    .hint("write `\"*\"` or an object such as `{\"AWS\": \"arn:…\"}`"),
            ),
            Json::Object(kinds) => self.principals(kinds, &at),
            other => self.report(
                DocumentError::new(at, format!("`\"*\"` or an object should stand here, not {}", other.kind()))
                    .hint("write for example `{\"AWS\": [\"111122223333\"]}`"),
            ),
        }
    }

    fn principals(&mut self, kinds: &'a [(String, Json)], path: &Path<'_>) {
        if kinds.is_empty() {
            self.report(DocumentError::new(path, "no principal is named"));
        }
        self.elements(kinds, path, &grammar::PRINCIPAL_KINDS);
        for (kind, json) in kinds.iter().filter(|(kind, _)| grammar::PRINCIPAL_KINDS.contains(&kind.as_str())) {
            self.each(json, &path.field(kind), |text| grammar::principal(kind, text));
        }
    }

    fn actions(&mut self, fields: &'a [(String, Json)], path: &Path<'_>, alone: bool) {
        let (action, negated) = (field(fields, "Action"), field(fields, "NotAction"));
        let Some((name, json)) = self.one_of(fields, path, "Action", "NotAction") else {
            if action.is_none() && negated.is_none() {
                self.report(missing_action(path));
            }
            return;
        };
        let at = path.field(name);
        match self.kind {
            PolicyType::Rcp if name == "NotAction" => {
                self.report(
                    DocumentError::new(at, "a resource control policy has no `NotAction`").hint("list the actions"),
                );
            }
            PolicyType::Trust if name == "NotAction" => {
                self.report(
                    DocumentError::new(at, "a trust policy has no `NotAction`")
                        .hint("write `\"Action\": \"sts:AssumeRole\"`"),
                );
                return;
            }
            _ => {}
        }
        let full_access = alone && is_full_access(fields);
        let kind = self.kind;
        self.each(json, &at, |text| match kind {
            PolicyType::Trust => grammar::trust_action(text),
            PolicyType::Rcp if text == "*" && name == "Action" && !full_access => Err(Fault::new(
                "`Action` of a resource control policy is not `*`",
                "name a service, for example `ecr:*`",
            )),
            _ => grammar::action(text),
        });
    }

    fn resources(&mut self, fields: &'a [(String, Json)], path: &Path<'_>) {
        let found = field(fields, "Resource").or(field(fields, "NotResource"));
        let Some((name, json)) = self.one_of(fields, path, "Resource", "NotResource") else {
            if found.is_none() && !matches!(self.kind, PolicyType::Trust | PolicyType::Resource) {
                self.report(
                    DocumentError::new(path, "neither `Resource` nor `NotResource` is there")
                        .hint("write `\"Resource\": \"*\"` or the ARN of a resource"),
                );
            }
            return;
        };
        let at = path.field(name);
        if self.kind == PolicyType::Trust {
            self.report(
                DocumentError::new(at, format!("a trust policy has no `{name}`"))
                    .hint("its resource is the role itself: remove the element"),
            );
            return;
        }
        // "Private repository policies in Amazon ECR": the repository is implied, and ECR refuses to be told.
        if self.kind == PolicyType::Resource && is_about_repository(fields) {
            self.report(
                DocumentError::new(at, format!("the policy of an ECR repository has no `{name}`"))
                    .hint("its resource is the repository itself: remove the element"),
            );
            return;
        }
        let modern = self.modern;
        self.each(json, &at, |text| {
            if modern {
                grammar::variables(text)?;
            }
            if text == "*" { Ok(()) } else { grammar::resource_arn(text) }
        });
    }

    fn conditions(&mut self, json: &'a Json, path: &Path<'_>) {
        let Some(operators) = self.object(json, path) else { return };
        self.no_repeats(operators, path);
        for (name, block) in operators {
            if self.full() {
                return;
            }
            let at = path.field(name);
            match (Operator::parse(name), Operator::canonical(name)) {
                (Some(operator), Some(spelled)) if spelled == *name => self.block(operator, block, &at),
                _ => self.report(unknown_operator(name, &at)),
            }
        }
    }

    fn block(&mut self, operator: Operator, json: &'a Json, path: &Path<'_>) {
        let Some(lines) = self.object(json, path) else { return };
        // AWS stores an operator without keys, and a key without values: lints say what comes of them.
        let mut seen = BTreeMap::new();
        for (key, values) in lines {
            if self.full() {
                return;
            }
            let at = path.field(key);
            // Condition keys are the same in either case, so that two spellings are one key twice.
            if let Some(first) = seen.insert(key.to_ascii_lowercase(), key) {
                let problem = repeated(key, path);
                self.report(if first == key {
                    problem
                } else {
                    problem.hint("keys are the same in either case: merge the two")
                });
                continue;
            }
            if let Err(fault) = grammar::condition_key(key) {
                self.fault(&at, fault);
                continue;
            }
            match values {
                Json::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        if self.full() {
                            return;
                        }
                        self.value(operator, item, &at.index(index));
                    }
                }
                single => self.value(operator, single, &at),
            }
        }
    }

    fn value(&mut self, operator: Operator, json: &'a Json, path: &Path<'_>) {
        let text = match json {
            Json::String(text) | Json::Number(text) => text.as_str(),
            Json::Bool(true) => "true",
            Json::Bool(false) => "false",
            other => {
                let message = format!("a string, a number or a boolean should stand here, not {}", other.kind());
                self.report(DocumentError::new(path, message));
                return;
            }
        };
        if let Err(fault) = grammar::condition_value(operator, text, self.modern) {
            self.fault(path, fault);
        }
    }

    fn object(&mut self, json: &'a Json, path: &Path<'_>) -> Option<&'a [(String, Json)]> {
        match json {
            Json::Object(fields) => Some(fields),
            other => {
                self.report(DocumentError::new(path, format!("an object should stand here, not {}", other.kind())));
                None
            }
        }
    }

    fn string(&mut self, json: &'a Json, path: &Path<'_>) -> Option<&'a str> {
        match json {
            Json::String(text) => Some(text),
            other => {
                self.report(not_a_string(other, path, "a string"));
                None
            }
        }
    }

    /// A string or a list of at least one.
    fn each(&mut self, json: &'a Json, path: &Path<'_>, check: impl Fn(&str) -> Result<(), Fault>) {
        match json {
            Json::String(text) => {
                if let Err(fault) = check(text) {
                    self.fault(path, fault);
                }
            }
            Json::Array(items) => {
                if items.is_empty() {
                    self.report(DocumentError::new(path, "the list is empty").hint("write at least one entry"));
                }
                for (index, item) in items.iter().enumerate() {
                    if self.full() {
                        return;
                    }
                    let at = path.index(index);
                    if let Some(Err(fault)) = self.string(item, &at).map(&check) {
                        self.fault(&at, fault);
                    }
                }
            }
            other => self.report(not_a_string(other, path, "a string or a list of strings")),
        }
    }

    /// Only these elements, and each once: AWS refuses repeats, and readers that take the first or the last would differ.
    fn elements(&mut self, fields: &'a [(String, Json)], path: &Path<'_>, known: &[&str]) {
        for (key, _) in fields.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            if self.full() {
                return;
            }
            self.report(unknown_field(key, path, known));
        }
        self.no_repeats(fields, path);
    }

    fn no_repeats(&mut self, fields: &'a [(String, Json)], path: &Path<'_>) {
        let mut seen = BTreeSet::new();
        for (key, _) in fields {
            if self.full() {
                return;
            }
            if !seen.insert(key.as_str()) {
                self.report(repeated(key, path));
            }
        }
    }

    /// The element and its `Not` form exclude each other.
    fn one_of(
        &mut self,
        fields: &'a [(String, Json)],
        path: &Path<'_>,
        name: &'static str,
        negated: &'static str,
    ) -> Option<(&'static str, &'a Json)> {
        match (field(fields, name), field(fields, negated)) {
            (Some(_), Some(_)) => {
                self.report(exclusive(path, name, negated));
                None
            }
            (Some(json), None) => Some((name, json)),
            (None, Some(json)) => Some((negated, json)),
            (None, None) => None,
        }
    }
}

fn is_star(json: &Json) -> bool {
    matches!(json, Json::String(text) if text == "*")
}

fn is_effect(fields: &[(String, Json)], effect: &str) -> bool {
    matches!(field(fields, "Effect"), Some(Json::String(text)) if text == effect)
}

/// The statement of `RCPFullAWSAccess`, the one resource control policy that allows.
fn is_full_access(fields: &[(String, Json)]) -> bool {
    let star = |name| match field(fields, name) {
        Some(Json::Array(items)) => matches!(items.as_slice(), [item] if is_star(item)),
        Some(item) => is_star(item),
        None => false,
    };
    is_effect(fields, "Allow")
        && star("Principal")
        && star("Action")
        && star("Resource")
        && field(fields, "Condition").is_none()
}

/// Whether every action of the statement is one of ECR, so that the policy can only be that of a repository.
fn is_about_repository(fields: &[(String, Json)]) -> bool {
    let of_ecr = |json: &Json| matches!(json, Json::String(text) if text.to_ascii_lowercase().starts_with("ecr:"));
    match field(fields, "Action") {
        Some(Json::Array(items)) => !items.is_empty() && items.iter().all(of_ecr),
        Some(single) => of_ecr(single),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(statement: &str) -> String {
        format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#)
    }

    fn refused(kind: PolicyType, text: &str) -> String {
        match validate(kind, text) {
            Ok(()) => panic!("accepted as {kind:?}: {text}"),
            Err(error) => error.path,
        }
    }

    #[test]
    fn refuses_what_loose_validators_accept() {
        use PolicyType::Identity;
        let one = |fields: &str| with(&format!(r#"{{"Effect": "Allow", {fields}}}"#));
        assert_eq!(refused(Identity, r#"{"Statement": []}"#), "$.Statement");
        let twice = r#"{"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"}"#;
        assert_eq!(refused(Identity, &with(&format!("{twice}, {twice}"))), "$.Statement[1].Sid");
        for (fields, path) in [
            (r#""Sid": "a-b", "Action": "*", "Resource": "*""#, "$.Statement[0].Sid"),
            (r#""Sid": "a b", "Action": "*", "Resource": "*""#, "$.Statement[0].Sid"),
            (r#""Action": [], "Resource": "*""#, "$.Statement[0].Action"),
            (r#""Action": "*", "Resource": []"#, "$.Statement[0].Resource"),
            (r#""Action": "*", "Resource": "foo""#, "$.Statement[0].Resource"),
            (r#""Action": "*", "Resource": "arn:aws:*:us-east-1:111122223333:x""#, "$.Statement[0].Resource"),
            (r#""Action": "*", "Resource": ["*", "arn:aws"]"#, "$.Statement[0].Resource[1]"),
            (r#""Action": "*", "Resource": "arn:aws:s3::bucket""#, "$.Statement[0].Resource"),
            (r#""Action": "*:*", "Resource": "*""#, "$.Statement[0].Action"),
            (r#""Action": "ec*:Get", "Resource": "*""#, "$.Statement[0].Action"),
            (r#""Action": "ecr", "Resource": "*""#, "$.Statement[0].Action"),
            (r#""Action": "ecr:Get Image", "Resource": "*""#, "$.Statement[0].Action"),
            (r#""Action": "*", "NotAction": "a:b", "Resource": "*""#, "$.Statement[0]"),
            (r#""Action": "*""#, "$.Statement[0]"),
            (r#""Action": "*", "Resource": "*", "Principal": "*""#, "$.Statement[0].Principal"),
            (r#""Action": "*", "Action": "*", "Resource": "*""#, "$.Statement[0].Action"),
            (r#""Action": "*", "Resource": "*", "Foo": 1"#, "$.Statement[0].Foo"),
            (r#""Action": "*", "Resource": "arn:aws:s3:::${aws:username""#, "$.Statement[0].Resource"),
            (r#""Action": "*", "Resource": "*", "Sid": "\u0141""#, "$.Statement[0].Sid"),
        ] {
            assert_eq!(refused(Identity, &one(fields)), path, "{fields}");
        }
    }

    #[test]
    fn checks_conditions() {
        let with_condition = |condition: &str| {
            with(&format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {{{condition}}}}}"#))
        };
        for bad in [
            r#""StringContains": {"aws:a": "b"}"#,
            r#""stringequals": {"aws:a": "b"}"#,
            r#""NullIfExists": {"aws:a": "true"}"#,
            r#""ForAllValues:NullIfExists": {"aws:a": "true"}"#,
            r#""Null": {"aws:a": "yes"}"#,
            r#""Bool": {"aws:a": "1"}"#,
            r#""IpAddress": {"aws:SourceIp": "10.0.0.0/33"}"#,
            r#""NumericEquals": {"aws:a": "10abc"}"#,
            r#""DateLessThan": {"aws:CurrentTime": "yesterday"}"#,
            r#""ArnLike": {"aws:a": "role/x"}"#,
            r#""BinaryEquals": {"aws:a": "!"}"#,
            r#""StringEquals": {"": "b"}"#,
            r#""StringEquals": {"aws:a": "b", "aws:a": "c"}"#,
            r#""StringEquals": {"aws:a": "b"}, "StringEquals": {"aws:c": "b"}"#,
            r#""StringEquals": {"aws:a": {"b": 1}}"#,
            r#""StringEquals": {"aws:a": "${aws:b, c}"}"#,
        ] {
            assert!(validate(PolicyType::Identity, &with_condition(bad)).is_err(), "{bad}");
        }
        for good in [
            "",
            r#""StringEquals": {"aws:a": ["b", 1, true]}"#,
            // What AWS stores, odd as it is: a lint says so.
            r#""ForAllValues:Null": {"aws:a": "true"}, "ForAnyValue:Null": {"aws:a": "false"}"#,
            r#""StringEquals": {}"#,
            r#""StringEquals": {"aws:a": []}"#,
            r#""StringEquals": {"a": "b"}"#,
            r#""ArnLike": {"aws:a": "arn:aws:iam::1111:role/x"}"#,
            r#""ForAnyValue:StringLikeIfExists": {"aws:a": "${aws:b, 'c'}"}"#,
            r#""NumericEquals": {"aws:a": 1.5}, "Bool": {"aws:b": true}, "Null": {"aws:c": "False"}"#,
            r#""DateLessThan": {"aws:CurrentTime": "1717200000"}, "IpAddress": {"aws:SourceIp": ["::/0", "10.1.2.3"]}"#,
            r#""ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}, "StringLike": {"oidc.eks.eu-west-1.amazonaws.com/id/X:sub": "a*"}"#,
        ] {
            assert_eq!(validate(PolicyType::Identity, &with_condition(good)), Ok(()), "{good}");
        }
    }

    #[test]
    fn accepts_what_the_grammar_accepts() {
        for text in [
            r#"{"Statement": {"Sid": "", "Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}}"#.to_owned(),
            r#"{"Id": "x", "Version": "2008-10-17", "Statement": {"Effect": "Allow", "Action": "S3:Get?bject", "Resource": "arn:*:s3:::b/${x"}}"#.to_owned(),
            with(r#"{"Effect": "Deny", "Action": "ecr:*", "NotResource": ["arn:aws:ecr:*:repository/x", "arn:aws:ecr:us-*:1*:repository/*"]}"#),
            with(r#"{"Sid": "", "Effect": "Allow", "Action": "*", "Resource": "*"}, {"Sid": "", "Effect": "Deny", "Action": "a:b", "Resource": "*"}"#),
        ] {
            assert_eq!(validate(PolicyType::Identity, &text), Ok(()), "{text}");
        }
    }

    #[test]
    fn knows_the_policy_types() {
        use PolicyType::{Boundary, Identity, Rcp, Registry, Resource, Scp, Session, Trust};
        let rows: &[(&str, &[PolicyType])] = &[
            (r#"{"Effect":"Allow","Action":"a:b","Resource":"*"}"#, &[Identity, Boundary, Session, Scp]),
            (r#"{"Effect":"Allow","Action":"a:b","Resource":"*","Principal":"*"}"#, &[Resource, Registry]),
            (r#"{"Effect":"Allow","Action":"a:b","Principal":{"AWS":"111122223333"}}"#, &[Resource]),
            (r#"{"Effect":"Deny","Action":"a:*","Resource":"*","Principal":"*"}"#, &[Resource, Registry, Rcp]),
            (r#"{"Effect":"Deny","Action":"*","Resource":"*","Principal":"*"}"#, &[Resource, Registry]),
            (r#"{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}"#, &[Resource, Registry, Rcp]),
            (r#"{"Effect":"Deny","NotAction":"a:b","Resource":"*","Principal":"*"}"#, &[Resource, Registry]),
            (
                r#"{"Effect":"Deny","Action":"a:b","Resource":"*","NotPrincipal":{"AWS":"111122223333"}}"#,
                &[Resource, Registry],
            ),
            (r#"{"Effect":"Allow","Action":"a:b","Resource":"*","NotPrincipal":{"AWS":"111122223333"}}"#, &[]),
            (
                r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}"#,
                &[Resource, Trust],
            ),
            (r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"}"#, &[Resource]),
            (r#"{"Effect":"Allow","Action":"sts:GetCallerIdentity","Principal":{"AWS":"*"}}"#, &[Resource]),
            (r#"{"Effect":"Allow","Action":"a:b","Principal":{"AWS":"arn:aws:iam::111122223333:role/*"}}"#, &[]),
            (r#"{"Effect":"Allow","Action":"a:b","Principal":{"AWS":"foo"}}"#, &[]),
            (r#"{"Effect":"Allow","Action":"a:b","Principal":{"AWS":[]}}"#, &[]),
            (r#"{"Effect":"Allow","Action":"a:b","Principal":{}}"#, &[]),
            (
                r#"{"Effect":"Allow","Action":"a:b","Principal":{"AWS":["AROAEXAMPLEID1234567","arn:aws:sts::111122223333:assumed-role/r/s"]}}"#,
                &[Resource],
            ),
        ];
        for (statement, fits) in rows {
            for kind in [Identity, Boundary, Session, Resource, Registry, Scp, Rcp, Trust] {
                assert_eq!(validate(kind, &with(statement)).is_ok(), fits.contains(&kind), "{kind:?} {statement}");
            }
        }
    }

    #[test]
    fn hostile_documents_end_quickly() {
        let statement = r#"{"Effect":"Allow","Action":"a:b","Resource":"*"}"#;
        let many = with(&vec![statement; 18_000].join(","));
        assert_eq!(validate(PolicyType::Identity, &many), Ok(()));
        let stars = format!(
            r#"{{"Statement":{{"Effect":"Allow","Action":"a:b","Resource":"arn:aws:s3:::{}"}}}}"#,
            "*".repeat(1_000_000)
        );
        assert_eq!(validate(PolicyType::Identity, &stars), Ok(()));
        let keys: Vec<String> = (0..50_000).map(|index| format!(r#""aws:k{index}":"v""#)).collect();
        let wide = with(&format!(
            r#"{{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{{"StringEquals":{{{}}}}}}}"#,
            keys.join(",")
        ));
        assert_eq!(validate(PolicyType::Identity, &wide), Ok(()));
    }
}
