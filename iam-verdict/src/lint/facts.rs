//! What the caller knows of services. The engine itself knows none: it is for any service's actions and keys.

/// A service, as its page in the *Service Authorization Reference* describes it.
///
/// ```
/// use iam_verdict::{ActionFacts, Linter, PolicyType, ServiceFacts};
/// let services = [ServiceFacts {
///     prefix: "ecr",
///     actions: &[
///         ActionFacts { name: "GetAuthorizationToken", resource_level: false, keys: &[] },
///         ActionFacts { name: "BatchGetImage", resource_level: true, keys: &["aws:ResourceTag/", "ecr:ResourceTag/"] },
///     ],
/// }];
/// let text = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:BatchGetImages", "Resource": "*"}]}"#;
/// let lints = Linter::new(PolicyType::Identity).services(&services).lint(text);
/// assert_eq!(lints[0].id.as_str(), "unknown-action");
/// assert_eq!(lints[0].hint, "did you mean `ecr:BatchGetImage`?");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ServiceFacts<'a> {
    /// The prefix of its actions, lower-case, for example `ecr`.
    pub prefix: &'a str,
    /// All of its actions: what is not listed does not exist.
    pub actions: &'a [ActionFacts<'a>],
}

/// An action of a service.
#[derive(Clone, Copy, Debug)]
pub struct ActionFacts<'a> {
    /// The name without the prefix.
    pub name: &'a str,
    /// Whether a statement may scope it to resources; otherwise it is granted on `*` alone.
    pub resource_level: bool,
    /// The condition keys that its page lists for it: those of the service, and of the global ones `aws:RequestTag/`,
    /// `aws:ResourceTag/` and `aws:TagKeys`. A slash at the end stands for any tag. Other global keys need no mention.
    pub keys: &'a [&'a str],
}

impl ActionFacts<'_> {
    /// Whether a request for this action may carry the key (lower-cased) of the prefix `service`; none where that is
    /// not known.
    pub(crate) fn carries(&self, service: &str, key: &str) -> Option<bool> {
        let listed = || {
            self.keys.iter().any(|known| {
                let same = |head: &str| head.eq_ignore_ascii_case(known);
                if known.ends_with('/') { key.get(..known.len()).is_some_and(same) } else { same(key) }
            })
        };
        let prefix = key.split(':').next().unwrap_or_default();
        if is_of_session(key) {
            None
        } else if prefix == "aws" {
            is_of_tags(key).then(listed)
        } else if prefix == service {
            Some(listed())
        } else {
            // No request carries the keys of another service.
            Some(false)
        }
    }
}

/// Global keys that come with some actions only.
fn is_of_tags(key: &str) -> bool {
    key == "aws:tagkeys" || key.starts_with("aws:requesttag/") || key.starts_with("aws:resourcetag/")
}

/// Keys that come with the caller's session and so with requests to any service: those of identity providers, and a few
/// of the services that hand out credentials ("AWS global condition context keys": properties of the role session).
fn is_of_session(key: &str) -> bool {
    let prefix = key.split(':').next().unwrap_or_default();
    prefix.contains(['.', '/'])
        || matches!(
            prefix,
            "saml" | "sts" | "iam" | "cognito-identity" | "identitystore" | "glue" | "ssm" | "lambda" | "ec2"
        )
}

/// The global condition keys, lower-cased; a slash at the end stands for any tag ("AWS global condition context keys").
const GLOBAL: [&str; 53] = [
    "aws:assumedroot",
    "aws:calledvia",
    "aws:calledviaawsmcp",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:chatbotsourcearn",
    "aws:currenttime",
    "aws:ec2instancesourceprivateipv4",
    "aws:ec2instancesourcevpc",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:ismcpserviceaction",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:signinsessionarn",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:tagkeys",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "aws:viaawsmcpservice",
    "aws:viaawsservice",
    "aws:vpceaccount",
    "aws:vpceorgid",
    "aws:vpceorgpaths",
    "aws:vpcsourceip",
];

/// What is wrong with a global key (lower-cased, with its prefix `aws:`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GlobalKey {
    Known,
    /// `aws:ResourceTag` without `/` and the tag's key.
    WithoutTag,
    Unknown,
}

pub(crate) fn global_key(key: &str) -> GlobalKey {
    let tagged = |known: &&str| known.ends_with('/');
    if GLOBAL
        .iter()
        .filter(|known| tagged(known))
        .any(|known| key.strip_prefix(known).is_some_and(|tag| !tag.is_empty()))
    {
        return GlobalKey::Known;
    }
    if GLOBAL.iter().filter(|known| tagged(known)).any(|known| key.trim_end_matches('/') == known.trim_end_matches('/'))
    {
        return GlobalKey::WithoutTag;
    }
    if GLOBAL.contains(&key) { GlobalKey::Known } else { GlobalKey::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_global_keys() {
        for (key, expected) in [
            ("aws:sourceip", GlobalKey::Known),
            ("aws:principaltag/team", GlobalKey::Known),
            ("aws:principaltag/", GlobalKey::WithoutTag),
            ("aws:principaltag", GlobalKey::WithoutTag),
            ("aws:sourceips", GlobalKey::Unknown),
            ("aws:tagkeys/x", GlobalKey::Unknown),
        ] {
            assert_eq!(global_key(key), expected, "{key}");
        }
    }

    #[test]
    fn knows_which_keys_an_action_carries() {
        let action = ActionFacts { name: "A", resource_level: true, keys: &["ecr:ResourceTag/", "aws:TagKeys"] };
        for (key, expected) in [
            ("ecr:resourcetag/team", Some(true)),
            ("ecr:resourcetag", Some(false)),
            ("ecr:repositoryname", Some(false)),
            ("aws:tagkeys", Some(true)),
            ("aws:requesttag/a", Some(false)),
            ("aws:sourceip", None),
            ("s3:prefix", Some(false)),
            ("saml:sub", None),
            ("oidc.eks.eu-west-1.amazonaws.com/id/x:sub", None),
        ] {
            assert_eq!(action.carries("ecr", key), expected, "{key}");
        }
    }
}
