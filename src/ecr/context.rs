//! What admission knows of the condition keys of a pull ("AWS global condition context keys", "Actions, resources, and
//! condition keys for Amazon ECR").
//!
//! A key that AWS may set on the request, with a value nobody knows yet, is Unknown. A key that AWS never sets on it is
//! Absent: one of another service, or an invented one like `ecr:RepositoryName`.

use iam_verdict::{Context, Fact};
use jiff::Timestamp;

/// The facts of one request that condition keys are made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose credentials they are.
    pub session: Session,
    /// The ARN of the role, where there is one.
    pub principal_arn: Option<&'a str>,
    /// The account of the principal, where it is known.
    pub principal_account: Option<&'a str>,
    /// The account of the resource: the registry's, or for login the puller's own.
    pub resource_account: Option<&'a str>,
    /// The region of the endpoint, which is the image's.
    pub region: &'a str,
    /// The request is about a repository (login is not), so tags of that repository may be in it.
    pub repository: bool,
    /// When the request is made.
    pub at: Timestamp,
}

/// How the puller got its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// The kubelet's credential provider assumed the role with a service-account token.
    ServiceAccountToken,
    /// An EC2 instance's role. Its session is named after the instance, which is not known.
    Node,
    /// A role that is named by hand: a Fargate pod execution role, or anything else.
    FixedRole,
}

/// The context of a request, with the keys that the policies in play use (lower case) and no others.
#[must_use]
pub fn context<'k>(keys: impl IntoIterator<Item = &'k str>, facts: &Facts<'_>) -> Context {
    // A key that the policies use and that was not asked for would be a mistake here; Unknown keeps it harmless.
    let mut context = Context::new().with_unlisted(Fact::Unknown);
    for key in keys {
        context.set(key, fact(key, facts));
    }
    context
}

/// What is known of one key. Keys are compared without regard to case, and `aws:PrincipalTag/team` by its first half.
#[must_use]
pub fn fact(key: &str, facts: &Facts<'_>) -> Fact {
    let key = key.to_ascii_lowercase();
    let Some((service, name)) = key.split_once(':') else { return Fact::Absent };
    let name = name.split('/').next().unwrap_or(name);
    let by_token = facts.session == Session::ServiceAccountToken;
    let known = |value: Option<&str>| value.map_or(Fact::Present, one);
    match (service, name) {
        ("aws", "principalarn") => known(facts.principal_arn),
        ("aws", "principalaccount") => known(facts.principal_account),
        ("aws", "principaltype") => one("AssumedRole"),
        // Role tags are not declared yet; a Kubernetes token carries no tags of its own.
        ("aws", "principaltag") => Fact::Unknown,
        ("aws", "userid" | "tokenissuetime") => Fact::Present,
        ("aws", "federatedprovider") if by_token => Fact::Present,
        ("aws", "federatedprovider") => Fact::Unknown,
        ("aws", "resourceaccount") => known(facts.resource_account),
        ("aws", "requestedregion") => one(facts.region),
        ("aws", "securetransport") => one("true"),
        ("aws", "currenttime") => one(&facts.at.to_string()),
        ("aws", "epochtime") => one(&facts.at.as_second().to_string()),
        // Temporary credentials that were made without MFA: AWS pages tell both of `false` and of no key.
        ("aws", "multifactorauthpresent") => Fact::AbsentOr(vec!["false".to_owned()]),
        ("aws", "viaawsservice" | "principalisawsservice") => one("false"),
        ("aws", "viaawsmcpservice" | "ismcpserviceaction") => Fact::AbsentOr(vec!["false".to_owned()]),
        // Tags of the repository are not declared yet, and login is about no repository.
        ("aws" | "ecr", "resourcetag") if facts.repository => Fact::Unknown,
        ("aws" | "ecr", "resourcetag") => Fact::Absent,
        // Set by instance credentials, which never are those of a service-account token.
        ("aws", "ec2instancesourcevpc" | "ec2instancesourceprivateipv4")
        | ("ec2", "sourceinstancearn" | "roledelivery")
            if !by_token =>
        {
            Fact::Unknown
        }
        ("aws", "ec2instancesourcevpc" | "ec2instancesourceprivateipv4") => Fact::Absent,
        ("aws", name) if NEVER_ON_A_PULL.contains(&name) => Fact::Absent,
        // The organization, the network path, the user agent, and whatever AWS adds next.
        ("aws", _) => Fact::Unknown,
        // Claims of an identity provider, `oidc.eks.…:sub`: set when the role is assumed; AWS does not say that they
        // are gone afterwards.
        (provider, _) if provider.contains('.') => Fact::Unknown,
        _ => Fact::Absent,
    }
}

/// Global keys that a role session's own call to ECR does not carry, lower case.
const NEVER_ON_A_PULL: [&str; 19] = [
    "username",
    "multifactorauthage",
    "calledvia",
    "calledviafirst",
    "calledvialast",
    "calledviaawsmcp",
    "principalservicename",
    "principalservicenameslist",
    "sourcearn",
    "sourceaccount",
    "sourceowner",
    "sourceorgid",
    "sourceorgpaths",
    "sourceidentity",
    "referer",
    "assumedroot",
    "chatbotsourcearn",
    // Of requests that tag something.
    "requesttag",
    "tagkeys",
];

fn one(value: &str) -> Fact {
    Fact::Values(vec![value.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(session: Session) -> Facts<'static> {
        Facts {
            session,
            principal_arn: Some("arn:aws:iam::111122223333:role/app"),
            principal_account: Some("111122223333"),
            resource_account: Some("444455556666"),
            region: "us-east-1",
            repository: true,
            at: "2026-11-23T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn the_table() {
        let values = |v: &str| Fact::Values(vec![v.to_owned()]);
        let or_false = || Fact::AbsentOr(vec!["false".to_owned()]);
        // key, service-account token, fixed role
        let cases = [
            (
                "aws:PrincipalArn",
                values("arn:aws:iam::111122223333:role/app"),
                values("arn:aws:iam::111122223333:role/app"),
            ),
            ("aws:principalaccount", values("111122223333"), values("111122223333")),
            ("aws:PrincipalType", values("AssumedRole"), values("AssumedRole")),
            ("aws:PrincipalTag/team", Fact::Unknown, Fact::Unknown),
            ("aws:userid", Fact::Present, Fact::Present),
            ("aws:username", Fact::Absent, Fact::Absent),
            ("aws:FederatedProvider", Fact::Present, Fact::Unknown),
            ("oidc.eks.us-east-1.amazonaws.com/id/ABC:sub", Fact::Unknown, Fact::Unknown),
            ("aws:PrincipalOrgID", Fact::Unknown, Fact::Unknown),
            ("aws:ResourceAccount", values("444455556666"), values("444455556666")),
            ("aws:ResourceOrgPaths", Fact::Unknown, Fact::Unknown),
            ("aws:RequestedRegion", values("us-east-1"), values("us-east-1")),
            ("aws:SecureTransport", values("true"), values("true")),
            ("aws:CurrentTime", values("2026-11-23T00:00:00Z"), values("2026-11-23T00:00:00Z")),
            ("aws:EpochTime", values("1795392000"), values("1795392000")),
            ("aws:TokenIssueTime", Fact::Present, Fact::Present),
            ("aws:MultiFactorAuthPresent", or_false(), or_false()),
            ("aws:MultiFactorAuthAge", Fact::Absent, Fact::Absent),
            ("aws:SourceIp", Fact::Unknown, Fact::Unknown),
            ("aws:SourceVpce", Fact::Unknown, Fact::Unknown),
            ("ec2:SourceInstanceArn", Fact::Absent, Fact::Unknown),
            ("aws:Ec2InstanceSourceVpc", Fact::Absent, Fact::Unknown),
            ("ec2:RoleDelivery", Fact::Absent, Fact::Unknown),
            ("ec2:InstanceType", Fact::Absent, Fact::Absent),
            ("aws:ViaAWSService", values("false"), values("false")),
            ("aws:CalledVia", Fact::Absent, Fact::Absent),
            ("aws:SourceIdentity", Fact::Absent, Fact::Absent),
            ("aws:UserAgent", Fact::Unknown, Fact::Unknown),
            ("aws:ResourceTag/tier", Fact::Unknown, Fact::Unknown),
            ("ecr:ResourceTag/tier", Fact::Unknown, Fact::Unknown),
            ("aws:RequestTag/tier", Fact::Absent, Fact::Absent),
            ("aws:TagKeys", Fact::Absent, Fact::Absent),
            ("aws:SomethingNew", Fact::Unknown, Fact::Unknown),
            ("ecr:RepositoryName", Fact::Absent, Fact::Absent),
            ("s3:prefix", Fact::Absent, Fact::Absent),
            ("nonsense", Fact::Absent, Fact::Absent),
        ];
        for (key, token, fixed) in cases {
            assert_eq!(fact(key, &facts(Session::ServiceAccountToken)), token, "{key}");
            assert_eq!(fact(key, &facts(Session::FixedRole)), fixed, "{key}");
        }
    }

    #[test]
    fn login_has_no_repository_tags() {
        let login = Facts { repository: false, ..facts(Session::FixedRole) };
        assert_eq!(fact("aws:ResourceTag/tier", &login), Fact::Absent);
        assert_eq!(fact("ecr:ResourceTag/tier", &login), Fact::Absent);
    }

    #[test]
    fn a_puller_without_a_role_is_somebody() {
        let nobody = Facts {
            principal_arn: None,
            principal_account: None,
            resource_account: None,
            ..facts(Session::ServiceAccountToken)
        };
        for key in ["aws:PrincipalArn", "aws:PrincipalAccount", "aws:ResourceAccount"] {
            assert_eq!(fact(key, &nobody), Fact::Present, "{key}");
        }
    }

    #[test]
    fn a_context_has_the_keys_that_were_asked_for() {
        let context = context(["aws:sourceip", "aws:username"], &facts(Session::FixedRole));
        assert_eq!(context.get("aws:SourceIp"), &Fact::Unknown);
        assert_eq!(context.get("aws:username"), &Fact::Absent);
        assert_eq!(context.get("aws:other"), &Fact::Unknown);
    }
}
