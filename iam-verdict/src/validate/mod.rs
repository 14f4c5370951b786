//! The strict validator: what AWS refuses when a policy is stored, found beforehand, with the place and a hint.

use std::collections::BTreeSet;

use crate::arn;
use crate::condition::operator::{Operator, Test};
use crate::condition::value::{self, Instant, Network, Number};
use crate::condition::variable;
use crate::document::{DocumentError, Path, Policy, field, no_repeats, object, one_of, scalars, string, strings};
use crate::json::{self, Json};

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
        [
            Self::Identity,
            Self::Boundary,
            Self::Session,
            Self::Resource,
            Self::Registry,
            Self::Scp,
            Self::Rcp,
            Self::Trust,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }

    /// Whether a statement names principals.
    const fn names_principals(self) -> bool {
        matches!(self, Self::Resource | Self::Registry | Self::Rcp | Self::Trust)
    }
}

/// Whether AWS would take `text` as a policy of this type ("Grammar of the IAM JSON policy language", and the pages of
/// the policy types). Size quotas are not looked at: they depend on where the policy is stored and who owns it.
///
/// ```
/// use iam_verdict::{validate, PolicyType};
/// let text = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "repository/app"}]}"#;
/// let error = validate(PolicyType::Identity, text).unwrap_err();
/// assert_eq!(error.path, "$.Statement[0].Resource");
/// ```
///
/// # Errors
/// The first thing in document order that AWS would refuse. Time is linear in the length of the text; its size (1 MiB)
/// and depth (64) are bounded.
pub fn validate(kind: PolicyType, text: &str) -> Result<(), DocumentError> {
    let json = json::read(text).map_err(|error| DocumentError::new("$", format!("not JSON: {error}")))?;
    let path = Path::root();
    characters(&json, &path)?;
    // What evaluation refuses is refused here too, so that a valid document always compiles.
    Policy::parse(text)?;
    let fields = object(&json, &path)?;
    let modern = field(fields, "Version").is_some_and(|version| *version == Json::String("2012-10-17".into()));
    let at = path.field("Statement");
    let mut sids = BTreeSet::new();
    match field(fields, "Statement") {
        Some(Json::Array(items)) if items.is_empty() => {
            Err(DocumentError::new(at, "the list is empty").hint("write at least one statement"))
        }
        Some(Json::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                Checker { kind, modern }.statement(item, &at.index(index), &mut sids)?;
            }
            Ok(())
        }
        Some(single) => Checker { kind, modern }.statement(single, &at, &mut sids),
        None => Ok(()),
    }
}

/// The characters a policy may have: tab, line feed, carriage return, U+0020 to U+00FF.
fn characters(json: &Json, path: &Path<'_>) -> Result<(), DocumentError> {
    let check = |text: &str| match text.chars().find(|c| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')) {
        Some(c) => Err(DocumentError::new(path, format!("`{}` is not a character of policies", c.escape_unicode()))
            .hint("tab, line feed, carriage return and U+0020 to U+00FF are")),
        None => Ok(()),
    };
    match json {
        Json::String(text) => check(text),
        Json::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| characters(item, &path.index(index)))
        }
        Json::Object(fields) => fields.iter().try_for_each(|(key, item)| {
            check(key)?;
            characters(item, &path.field(key))
        }),
        _ => Ok(()),
    }
}

struct Checker {
    kind: PolicyType,
    modern: bool,
}

impl Checker {
    fn statement<'a>(
        &self,
        json: &'a Json,
        path: &Path<'_>,
        sids: &mut BTreeSet<&'a str>,
    ) -> Result<(), DocumentError> {
        let fields = object(json, path)?;
        if let Some(sid) = field(fields, "Sid") {
            self.sid(string(sid, &path.field("Sid"))?, &path.field("Sid"), sids)?;
        }
        self.principal(fields, path)?;
        if let Some((name, json)) = one_of(fields, path, "Action", "NotAction")? {
            self.each(json, &path.field(name), |text, path| self.action(text, path))?;
            if self.kind == PolicyType::Rcp && name == "NotAction" {
                return Err(DocumentError::new(path.field(name), "a resource control policy has no `NotAction`"));
            }
            if self.kind == PolicyType::Trust && name == "NotAction" {
                return Err(DocumentError::new(path.field(name), "a trust policy has no `NotAction`")
                    .hint("write `\"Action\": \"sts:AssumeRole\"`"));
            }
        }
        match (one_of(fields, path, "Resource", "NotResource")?, self.kind) {
            (Some((name, _)), PolicyType::Trust) => {
                return Err(DocumentError::new(path.field(name), format!("a trust policy has no `{name}`"))
                    .hint("its resource is the role itself: remove the element"));
            }
            (None, PolicyType::Trust | PolicyType::Resource) => {}
            (None, _) => {
                return Err(DocumentError::new(path, "neither `Resource` nor `NotResource` is there"));
            }
            (Some((name, json)), _) => self.each(json, &path.field(name), |text, path| self.resource(text, path))?,
        }
        if let Some(json) = field(fields, "Condition") {
            self.conditions(json, &path.field("Condition"))?;
        }
        let allows = field(fields, "Effect") == Some(&Json::String("Allow".into()));
        if self.kind == PolicyType::Rcp && !allows && has_star(fields) {
            return Err(DocumentError::new(path.field("Action"), "`Action` of a resource control policy is not `*`")
                .hint("name a service, for example `ecr:*`"));
        }
        if self.kind == PolicyType::Rcp && allows && !is_full_access(fields) {
            return Err(DocumentError::new(path.field("Effect"), "a resource control policy denies only")
                .hint("the allow-all policy `RCPFullAWSAccess` is attached everywhere already"));
        }
        Ok(())
    }

    fn sid<'a>(&self, sid: &'a str, path: &Path<'_>, sids: &mut BTreeSet<&'a str>) -> Result<(), DocumentError> {
        // Services with resource-based policies of their own allow more characters, spaces among them ("Sid").
        let free = matches!(self.kind, PolicyType::Resource | PolicyType::Registry);
        if !free && !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(
                DocumentError::new(path, format!("`{sid}` is not a Sid")).hint("use letters A-Z, a-z and digits")
            );
        }
        if !sid.is_empty() && !sids.insert(sid) {
            return Err(DocumentError::new(path, format!("the Sid `{sid}` stands in two statements")));
        }
        Ok(())
    }

    /// A string or a list of at least one.
    fn each(
        &self,
        json: &Json,
        path: &Path<'_>,
        check: impl Fn(&str, &Path<'_>) -> Result<(), DocumentError>,
    ) -> Result<(), DocumentError> {
        let texts = strings(json, path)?;
        if texts.is_empty() {
            return Err(DocumentError::new(path, "the list is empty"));
        }
        let single = matches!(json, Json::String(_));
        texts
            .iter()
            .enumerate()
            .try_for_each(|(index, text)| if single { check(text, path) } else { check(text, &path.index(index)) })
    }

    fn principal(&self, fields: &[(String, Json)], path: &Path<'_>) -> Result<(), DocumentError> {
        let Some((name, json)) = one_of(fields, path, "Principal", "NotPrincipal")? else {
            if self.kind.names_principals() {
                return Err(DocumentError::new(
                    path,
                    format!("`Principal` is missing in a {} policy", self.kind.as_str()),
                ));
            }
            return Ok(());
        };
        let at = path.field(name);
        if !self.kind.names_principals() {
            return Err(DocumentError::new(at, format!("a policy of type {} has no `{name}`", self.kind.as_str()))
                .hint("it applies to whoever it is attached to: remove the element"));
        }
        if self.kind == PolicyType::Rcp && (name == "NotPrincipal" || *json != Json::String("*".into())) {
            return Err(DocumentError::new(at, "a resource control policy has `\"Principal\": \"*\"` and no other"));
        }
        if name == "NotPrincipal" && field(fields, "Effect") == Some(&Json::String("Allow".into())) {
            return Err(DocumentError::new(at, "`NotPrincipal` stands with `Deny` only"));
        }
        let Json::Object(kinds) = json else {
            if self.kind == PolicyType::Trust {
                return Err(DocumentError::new(at, "a trust policy does not take `\"*\"` alone")
                    .hint("write `{\"AWS\": \"*\"}`"));
            }
            return Ok(());
        };
        if kinds.is_empty() {
            return Err(DocumentError::new(at, "no principal is named"));
        }
        for (kind, json) in kinds {
            self.each(json, &at.field(kind), |text, path| {
                if is_principal(kind, text) {
                    return Ok(());
                }
                let error = DocumentError::new(path, format!("`{text}` is not a principal of type `{kind}`"));
                Err(if kind == "AWS" && text.contains(['*', '?']) {
                    error.hint("principals have no wildcards: use `\"*\"` and a condition on `aws:PrincipalArn`")
                } else {
                    error
                })
            })?;
        }
        Ok(())
    }

    fn action(&self, text: &str, path: &Path<'_>) -> Result<(), DocumentError> {
        if self.kind == PolicyType::Trust {
            return trust_action(text, path);
        }
        if text == "*" {
            return Ok(());
        }
        let Some((service, name)) = text.split_once(':') else {
            return Err(DocumentError::new(path, format!("`{text}` is not an action"))
                .hint("write `service:Name`, or `*` alone"));
        };
        if service.contains(['*', '?']) {
            return Err(DocumentError::new(path, format!("`{text}` has a wildcard in the service prefix"))
                .hint("name the service, or write `*` alone"));
        }
        let good = !service.is_empty()
            && service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'?' | b'-' | b'_'));
        if good { Ok(()) } else { Err(DocumentError::new(path, format!("`{text}` is not an action"))) }
    }

    fn resource(&self, text: &str, path: &Path<'_>) -> Result<(), DocumentError> {
        self.variables(text, path)?;
        if text == "*" { Ok(()) } else { is_arn_pattern(text, path) }
    }

    /// Every `${` begins a variable or an escape.
    fn variables(&self, text: &str, path: &Path<'_>) -> Result<(), DocumentError> {
        let mut rest = text;
        while let Some(start) = rest.find("${").filter(|_| self.modern) {
            rest = rest.get(start..).unwrap_or_default();
            match variable::parse(rest) {
                Some((_, tail)) => rest = tail,
                None => {
                    let shown: String = rest.chars().take(40).collect();
                    return Err(DocumentError::new(path, format!("`{shown}` is not a policy variable"))
                        .hint("write `${key}` or `${key, 'default'}`; `${$}` is a dollar sign"));
                }
            }
        }
        Ok(())
    }

    fn conditions(&self, json: &Json, path: &Path<'_>) -> Result<(), DocumentError> {
        for (name, block) in object(json, path)? {
            let at = path.field(name);
            let operator = Operator::parse(name).ok_or_else(|| DocumentError::new(at, "not a condition operator"))?;
            if let Some(spelled) = Operator::canonical(name).filter(|spelled| spelled != name) {
                return Err(DocumentError::new(at, format!("`{name}` is not a condition operator"))
                    .hint(format!("did you mean `{spelled}`?")));
            }
            let lines = object(block, &at)?;
            no_repeats(lines, &at)?;
            if lines.is_empty() {
                return Err(DocumentError::new(at, "no condition key is named"));
            }
            for (key, values) in lines {
                let at = at.field(key);
                match key.split_once(':') {
                    Some((prefix, name))
                        if !prefix.is_empty() && !name.is_empty() && !key.contains(['*', '?', '$']) => {}
                    _ => {
                        return Err(DocumentError::new(at, format!("`{key}` is not a condition key"))
                            .hint("keys have a prefix, for example `aws:SourceIp`"));
                    }
                }
                let texts = scalars(values, &at)?;
                if texts.is_empty() {
                    return Err(DocumentError::new(at, "the list is empty"));
                }
                for (index, text) in texts.iter().enumerate() {
                    let place = at.index(index);
                    self.value(operator, text, if matches!(values, Json::Array(_)) { &place } else { &at })?;
                }
            }
        }
        Ok(())
    }

    fn value(&self, operator: Operator, text: &str, path: &Path<'_>) -> Result<(), DocumentError> {
        let has_variable = self.modern && text.contains("${");
        let (good, wanted) = match operator.test {
            Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike => return self.variables(text, path),
            Test::Arn if text == "*" => return Ok(()),
            Test::Arn if has_variable => return self.variables(text, path),
            Test::Arn => return is_arn_pattern(text, path),
            Test::Bool if has_variable => return self.variables(text, path),
            Test::Bool | Test::Null => (value::parse_bool(text).is_some(), "`true` or `false`"),
            Test::Numeric(_) => (Number::parse(text).is_some(), "a number such as `10` or `0.5`"),
            Test::Date(_) => {
                (Instant::parse(text).is_some(), "a date such as `2024-06-01T00:00:00Z`, or epoch seconds")
            }
            Test::Ip => (Network::parse(text).is_some(), "an address or a CIDR block such as `203.0.113.0/24`"),
            Test::Binary => (value::parse_base64(text).is_some(), "base-64"),
        };
        if good { Ok(()) } else { Err(DocumentError::new(path, format!("`{text}` is not {wanted}"))) }
    }
}

fn has_star(fields: &[(String, Json)]) -> bool {
    match field(fields, "Action") {
        Some(Json::Array(items)) => items.iter().any(|item| *item == Json::String("*".into())),
        item => item == Some(&Json::String("*".into())),
    }
}

/// `RCPFullAWSAccess`, the one resource control policy that allows.
fn is_full_access(fields: &[(String, Json)]) -> bool {
    let star = |name| match field(fields, name) {
        Some(Json::Array(items)) => items.iter().all(|item| *item == Json::String("*".into())),
        Some(item) => *item == Json::String("*".into()),
        None => false,
    };
    star("Principal") && star("Action") && star("Resource") && field(fields, "Condition").is_none()
}

/// A trust policy is about assuming the role.
fn trust_action(text: &str, path: &Path<'_>) -> Result<(), DocumentError> {
    let lower = text.to_ascii_lowercase();
    let known = [
        "sts:assumerole",
        "sts:assumerolewithsaml",
        "sts:assumerolewithwebidentity",
        "sts:tagsession",
        "sts:setsourceidentity",
        "sts:setcontext",
    ];
    let pattern = ["sts:assumerole", "sts:tag", "sts:set"].iter().any(|start| lower.starts_with(start))
        && lower.contains(['*', '?']);
    if known.contains(&lower.as_str()) || pattern {
        Ok(())
    } else {
        Err(DocumentError::new(path, format!("`{text}` is not an action of trust policies"))
            .hint("use `sts:AssumeRole`, `sts:AssumeRoleWithSAML`, `sts:AssumeRoleWithWebIdentity`, `sts:TagSession`, `sts:SetSourceIdentity` or `sts:SetContext`"))
    }
}

fn is_principal(kind: &str, text: &str) -> bool {
    let host = |text: &str| {
        text.contains('.')
            && text.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            })
    };
    match kind {
        "AWS" => {
            text == "*"
                || arn::is_account_id(text)
                || is_principal_arn(text)
                // The unique id that AWS stores for a principal which was deleted since.
                || (text.len() >= 16 && text.starts_with('A') && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()))
        }
        "Service" => host(text) && !text.contains('*'),
        "Federated" => {
            host(text.split('/').next().unwrap_or_default())
                || (text.starts_with("arn:") && text.contains("-provider/") && !text.contains('*'))
        }
        "CanonicalUser" => text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => false,
    }
}

/// The ARN of a root user, user, role, session or federated user; without wildcards.
fn is_principal_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts.as_slice() else { return false };
    let named = |prefix: &str| resource.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    let good = match *service {
        "iam" => *resource == "root" || named("user/") || named("role/"),
        "sts" => {
            named("assumed-role/") && resource.matches('/').count() == 2 && !resource.ends_with('/')
                || named("federated-user/")
        }
        _ => false,
    };
    good && is_partition(partition) && arn::is_account_id(account) && !text.contains(['*', '?', ' '])
}

fn is_partition(text: &str) -> bool {
    (text == "aws" || text.starts_with("aws-")) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// The grammar of ARNs in `Resource` and in ARN operators.
fn is_arn_pattern(text: &str, path: &Path<'_>) -> Result<(), DocumentError> {
    let refuse = |why: &str, hint: &str| Err(DocumentError::new(path, format!("`{text}` {why}")).hint(hint));
    let form = "write `arn:partition:service:region:account:resource`";
    let Some(rest) = text.strip_prefix("arn:") else {
        return refuse("is not an ARN", form);
    };
    let fields: Vec<&str> = rest.splitn(5, ':').collect();
    let (partition, service) = match fields.as_slice() {
        [partition, service, ..] => (*partition, *service),
        _ => return refuse("is not a whole ARN", form),
    };
    let wild = partition.contains(['*', '?'])
        && partition.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'*' | b'?'));
    if !wild && !is_partition(partition) {
        return refuse("does not name a partition", "partitions are `aws`, `aws-cn`, `aws-us-gov`, …, or `*`");
    }
    if service.contains(['*', '?']) {
        return refuse("has a wildcard in its service field", "name the service");
    }
    if service.is_empty() || !service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return refuse("does not name a service", form);
    }
    // A `*` at the end of a field reaches beyond the colon, so that fields may be left out behind it.
    let reaching = fields.iter().skip(2).any(|field| field.ends_with('*'));
    match fields.as_slice() {
        [_, _, _, _, resource] if !resource.is_empty() => {}
        [_, _, _, _, _] => return refuse("does not name a resource", form),
        _ if reaching => {}
        _ => return refuse("is not a whole ARN", form),
    }
    let ([_, _, region, account, _], false) = (fields.as_slice(), reaching && fields.len() < 5) else { return Ok(()) };
    let wild = |field: &str| field.contains(['*', '?', '$']);
    if !region.is_empty()
        && !wild(region)
        && !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return refuse("does not name a region", "write for example `us-east-1`, or `*`");
    }
    if !account.is_empty()
        && !wild(account)
        && *account != "aws"
        && !arn::is_account_id(account)
        && !account.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    {
        return refuse("does not name an account", "an account id has twelve digits");
    }
    Ok(())
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
            (r#""Action": "*", "Resource": ["*", "arn:aws:ecr"]"#, "$.Statement[0].Resource[1]"),
            (r#""Action": "*", "Resource": "arn:aws:ecr:us-east-1:12345:repository/x""#, "$.Statement[0].Resource"),
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
            r#""ForAllValues:Null": {"aws:a": "true"}"#,
            r#""Null": {"aws:a": "yes"}"#,
            r#""Bool": {"aws:a": "1"}"#,
            r#""IpAddress": {"aws:SourceIp": "10.0.0.0/33"}"#,
            r#""NumericEquals": {"aws:a": "10abc"}"#,
            r#""DateLessThan": {"aws:CurrentTime": "yesterday"}"#,
            r#""ArnLike": {"aws:a": "role/x"}"#,
            r#""BinaryEquals": {"aws:a": "!"}"#,
            r#""StringEquals": {"aws:a": []}"#,
            r#""StringEquals": {"a": "b"}"#,
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
