//! The grammar of single strings in a policy: actions, ARNs, principals, variables, condition keys and values.

use crate::arn;
use crate::condition::operator::{Operator, Test};
use crate::condition::value::{self, Instant, Network, Number};
use crate::pattern::{Pattern, Wildcards};
use crate::quote::Quoted;
use crate::variable;

/// Why a string is refused.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    fn bare(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
}

/// The keys that a `Principal` object may have.
pub(crate) const PRINCIPAL_KINDS: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];

/// `*`, or `service:Name` with wildcards in the name alone ("IAM JSON policy elements: Action").
pub(crate) fn action(text: &str) -> Result<(), Fault> {
    if text == "*" {
        return Ok(());
    }
    let Some((service, name)) = text.split_once(':') else {
        return Err(Fault::new(
            format!("{} is not an action", Quoted(text)),
            "write `service:Name`, for example `ecr:BatchGetImage`, or `*` alone",
        ));
    };
    if service.contains(['*', '?']) {
        return Err(Fault::new(
            format!("{} has a wildcard in the service prefix", Quoted(text)),
            "name the service, or write `*` alone",
        ));
    }
    let good = !service.is_empty()
        && service.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'?' | b'-' | b'_'));
    if good {
        return Ok(());
    }
    let hint = if text.contains("${") {
        "actions have no variables"
    } else {
        "write `service:Name` with letters, digits, `-` and `_`, in the name also `*` and `?`"
    };
    Err(Fault::new(format!("{} is not an action", Quoted(text)), hint))
}

/// What a trust policy may be about, lower-cased: assuming the role, and what is done on the way
/// ("Role trust policies", "Pass session tags in AWS STS").
const TRUST_ACTIONS: [&str; 6] = [
    "sts:assumerole",
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:tagsession",
    "sts:setsourceidentity",
    "sts:setcontext",
];

/// An action of a trust policy. A pattern has to stay within the family, which its text before the wildcard shows.
pub(crate) fn trust_action(text: &str) -> Result<(), Fault> {
    let lower = text.to_ascii_lowercase();
    let start = lower.split(['*', '?']).next().unwrap_or_default();
    let within = ["sts:assume", "sts:tag", "sts:set"].iter().any(|family| start.starts_with(family));
    let is_pattern = start.len() < lower.len();
    let hits = || {
        let pattern = Pattern::new(&lower, Wildcards::Free, false, false);
        TRUST_ACTIONS.iter().any(|action| pattern.matches_plain(action))
    };
    if TRUST_ACTIONS.contains(&lower.as_str()) || (is_pattern && within && lower.len() <= 128 && hits()) {
        return Ok(());
    }
    Err(Fault::new(
        format!("{} is not an action of trust policies", Quoted(text)),
        "use `sts:AssumeRole`, `sts:AssumeRoleWithSAML`, `sts:AssumeRoleWithWebIdentity`, `sts:TagSession`, `sts:SetSourceIdentity` or `sts:SetContext`",
    ))
}

/// A principal under one of the [`PRINCIPAL_KINDS`] ("AWS JSON policy elements: Principal").
pub(crate) fn principal(kind: &str, text: &str) -> Result<(), Fault> {
    let good = match kind {
        "AWS" => text == "*" || arn::is_account_id(text) || is_principal_arn(text) || is_unique_id(text),
        "Service" => is_host(text),
        "Federated" => is_host(text.split('/').next().unwrap_or_default()) || is_provider_arn(text),
        "CanonicalUser" => text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => false,
    };
    if good {
        return Ok(());
    }
    let hint = match kind {
        "AWS" if text.contains(['*', '?']) => {
            "principals have no wildcards: use `\"*\"` and a condition on `aws:PrincipalArn`"
        }
        "AWS" if text.contains(":group/") => "a group is not a principal: name its users, or a role",
        "AWS" => "write an account id of twelve digits, `*`, or the ARN of a root user, user, role or session",
        "Service" => "write the host name of a service, for example `ecs-tasks.amazonaws.com`",
        "Federated" => "write the ARN of a SAML or OIDC provider, or a host name such as `accounts.google.com`",
        _ => "write the 64 hexadecimal digits of a canonical user id",
    };
    Err(Fault::new(format!("{} is not a principal of type `{kind}`", Quoted(text)), hint))
}

/// Labels with dots between them.
fn is_host(text: &str) -> bool {
    text.contains('.')
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// The unique id that AWS stores in place of a principal which was deleted since.
fn is_unique_id(text: &str) -> bool {
    text.len() >= 16
        && text.len() <= 128
        && text.starts_with('A')
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn is_provider_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return false };
    let named = |prefix: &str| resource.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    is_partition(partition)
        && arn::is_account_id(account)
        && (named("saml-provider/") || named("oidc-provider/"))
        && !resource.contains(['*', '?', ' '])
}

/// The ARN of a root user, user, role, session or federated user; without wildcards.
fn is_principal_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts.as_slice() else { return false };
    let named = |prefix: &str| resource.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    if *service == "iam" && *account == "cloudfront" {
        // What CloudFront calls itself in the policies of buckets; the one principal with spaces.
        return is_partition(partition) && named("user/CloudFront Origin Access Identity ");
    }
    let good = match *service {
        "iam" => *resource == "root" || named("user/") || named("role/"),
        "sts" => {
            named("assumed-role/") && resource.matches('/').count() == 2 && !resource.ends_with('/')
                || named("federated-user/")
        }
        _ => false,
    };
    good && is_partition(partition) && arn::is_account_id(account) && !text.contains(['*', '?', ' ', '$'])
}

fn is_partition(text: &str) -> bool {
    (text == "aws" || text.starts_with("aws-")) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

const ARN_FORM: &str = "write `arn:partition:service:region:account:resource`";

/// An entry of `Resource` or `NotResource` other than `*` ("IAM JSON policy elements: Resource").
pub(crate) fn resource_arn(text: &str) -> Result<(), Fault> {
    arn_pattern(text, false)
}

/// A value of an ARN operator other than `*`: here each field may have wildcards, the service too ("IAM JSON policy
/// elements: Condition operators").
fn condition_arn(text: &str) -> Result<(), Fault> {
    arn_pattern(text, true)
}

fn arn_pattern(text: &str, wild_service: bool) -> Result<(), Fault> {
    let refuse = |why: &str, hint: &str| Err(Fault::new(format!("{} {why}", Quoted(text)), hint));
    let Some(rest) = text.strip_prefix("arn:") else {
        return refuse("is not an ARN", ARN_FORM);
    };
    let fields = arn_fields(rest);
    let (partition, service) = match fields.as_slice() {
        [partition, service, ..] => (*partition, *service),
        ["*"] if wild_service => return Ok(()),
        _ => return refuse("is not a whole ARN", ARN_FORM),
    };
    let wild = partition.contains(['*', '?'])
        && partition.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'*' | b'?'));
    if !wild && !is_partition(partition) {
        return refuse("does not name a partition", "partitions are `aws`, `aws-cn`, `aws-us-gov`, …, or `*`");
    }
    let wild = service.contains(['*', '?']);
    if wild && !wild_service {
        return refuse("has a wildcard in its service field", "name the service");
    }
    let letters =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || (wild && matches!(b, b'*' | b'?'));
    if service.is_empty() || !service.bytes().all(letters) {
        return refuse("does not name a service", "write the service in lower case, for example `ecr`");
    }
    // A `*` at the end of a field reaches beyond the colon, so that fields may be left out behind it.
    let reaching = fields.iter().skip(1).any(|field| field.ends_with('*'));
    let [_, _, .., resource] = fields.as_slice() else { return Ok(()) };
    if fields.len() < 5 {
        // IAM-RES-5: AWS completes what is left out, and stores it so; but an S3 bucket stands behind five colons.
        let completed = !wild_service && service != "s3";
        return if reaching || completed { Ok(()) } else { refuse("is not a whole ARN", ARN_FORM) };
    }
    if resource.is_empty() {
        return refuse("does not name a resource", ARN_FORM);
    }
    Ok(())
}

/// What of the ARN in a policy no ARN of AWS has, and what to write: AWS stores it all the same.
pub(crate) fn odd_field(text: &str) -> Option<(&'static str, &'static str)> {
    let fields = arn_fields(text.strip_prefix("arn:")?);
    let [_, _, region, account, _] = fields.as_slice() else { return None };
    let open = |field: &str| field.is_empty() || field.contains(['*', '?', '$']);
    if !open(region) && !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Some(("a region", "write for example `us-east-1`, or `*`"));
    }
    // AWS itself is an account too, under a few names.
    let of_aws = matches!(*account, "aws" | "cloudfront" | "third-party") || account.starts_with("aws-");
    (!open(account) && !of_aws && !arn::is_account_id(account))
        .then_some(("an account", "an account id has twelve digits"))
}

/// The five fields behind `arn:`; colons inside `${…}` do not end a field (IAM-VAR-8).
pub(crate) fn arn_fields(text: &str) -> Vec<&str> {
    // Beyond the last brace nothing is closed: looked up once, so that a text full of `${` costs no more than its length.
    let last_brace = text.rfind('}').unwrap_or(0);
    let mut fields = Vec::with_capacity(5);
    let (mut start, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while let Some(b) = bytes.get(at) {
        match b {
            b':' if fields.len() < 4 => {
                fields.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            b'$' if at < last_brace && bytes.get(at + 1) == Some(&b'{') => {
                at += bytes.iter().skip(at).position(|b| *b == b'}').unwrap_or(0);
            }
            _ => {}
        }
        at += 1;
    }
    fields.push(text.get(start..).unwrap_or_default());
    fields
}

/// Every `${` begins a variable or an escape ("IAM policy elements: Variables and tags").
pub(crate) fn variables(text: &str) -> Result<(), Fault> {
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        rest = rest.get(start..).unwrap_or_default();
        match variable::parse(rest) {
            Some((_, tail)) => rest = tail,
            None => {
                let end = rest.find('}').map_or(rest.len(), |end| end + 1);
                let shown = rest.get(..end).unwrap_or(rest);
                return Err(Fault::new(
                    format!("{} is not a policy variable", Quoted(shown)),
                    "write `${key}` or `${key, 'default'}`; `${$}` is a dollar sign",
                ));
            }
        }
    }
    Ok(())
}

/// `prefix:name`, where the name of a tag may follow ("IAM JSON policy elements: Condition").
pub(crate) fn condition_key(key: &str) -> Result<(), Fault> {
    let refuse = |hint: &str| Err(Fault::new(format!("{} is not a condition key", Quoted(key)), hint));
    if key.contains(['*', '?', '$']) {
        return refuse("keys have neither wildcards nor variables");
    }
    // One without a prefix is stored, and no request has it: a lint says so.
    let Some((prefix, name)) = key.split_once(':') else {
        return if key.is_empty() || key.contains(char::is_whitespace) {
            refuse("write `prefix:name`, for example `aws:SourceIp`")
        } else {
            Ok(())
        };
    };
    // The keys of tags have spaces, other keys do not.
    let before_tag = name.split('/').next().unwrap_or_default();
    if prefix.is_empty()
        || before_tag.is_empty()
        || prefix.contains(char::is_whitespace)
        || before_tag.contains(char::is_whitespace)
    {
        return refuse("write `prefix:name`, for example `aws:SourceIp`");
    }
    Ok(())
}

/// A value of a condition, as text ("IAM JSON policy elements: Condition operators"); `modern` says whether the policy
/// has variables.
pub(crate) fn condition_value(operator: Operator, text: &str, modern: bool) -> Result<(), Fault> {
    let has_variable = text.contains("${");
    let (good, wanted) = match operator.test {
        Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike => {
            return if modern { variables(text) } else { Ok(()) };
        }
        Test::Arn if text == "*" => return Ok(()),
        Test::Arn if modern && has_variable => return variables(text),
        Test::Arn => return condition_arn(text),
        Test::Bool if modern && has_variable => return variables(text),
        Test::Bool | Test::Null => (value::parse_bool(text).is_some(), "`true` or `false`"),
        Test::Numeric(_) => (Number::parse(text).is_some(), "a number such as `10` or `0.5`"),
        Test::Date(_) => (Instant::parse(text).is_some(), "a date such as `2024-06-01T00:00:00Z`, or epoch seconds"),
        Test::Ip => (Network::parse(text).is_some(), "an address or a CIDR block such as `203.0.113.0/24`"),
        Test::Binary => (value::parse_base64(text).is_some(), "base-64"),
    };
    if good {
        return Ok(());
    }
    let message = format!("{} is not {wanted}", Quoted(text));
    Err(if has_variable {
        Fault::new(message, "variables stand in string and ARN operators only")
    } else {
        Fault::bare(message)
    })
}
