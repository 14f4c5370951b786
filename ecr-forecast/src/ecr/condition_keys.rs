//! What admission knows of the condition keys of a pull ("AWS global condition context keys", "Actions, resources, and
//! condition keys for Amazon ECR").
//!
//! A key that AWS may set on the request, with a value nobody knows yet, is Unknown. A key that AWS never sets on it is
//! Absent: one of another service, or an invented one like `ecr:RepositoryName`. What the user declares in
//! `spec.context` comes before both.

use std::collections::BTreeMap;

use iam_verdict::{Context, Fact, is_multivalued_key};
use jiff::Timestamp;

use crate::ecr::context_values::ContextValues;

/// Requests are judged under at most so many combinations of alternative values. Keys beyond that have some value that
/// is not known, which leaves open at least as much.
const MAX_WORLDS: usize = 64;

/// The facts of one request that condition keys are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Whose credentials they are.
    pub session: Session,
    /// The ARN of the role, where there is one.
    pub principal_arn: Option<&'a str>,
    /// The account of the principal, where it is known.
    pub principal_account: Option<&'a str>,
    /// The tags of the role, where they are known.
    pub principal_tags: Option<&'a BTreeMap<String, String>>,
    /// The account of the resource: the registry's, or for login the puller's own.
    pub resource_account: Option<&'a str>,
    /// The region of the endpoint, which is the image's.
    pub region: &'a str,
    /// What the request is about.
    pub target: Target<'a>,
    /// Every text that the policies in play compare `aws:userid` with depends on the session's name alone, see
    /// [`asks_for_session_only`].
    pub user_id_by_session: bool,
    /// The keys that the user knows of.
    pub declared: &'a ContextValues,
    /// When the request is made.
    pub at: Timestamp,
}

/// What a request is about, which decides on the tags in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// No resource: `ecr:GetAuthorizationToken`.
    Login,
    /// A repository.
    Repository {
        /// Its tags, where they are known; a repository that is not there yet has none.
        tags: Option<&'a BTreeMap<String, String>>,
        /// Amazon ECR checks the permission while it fills its cache.
        importing: bool,
    },
    /// A repository that is about to be made while the cache is filled.
    Creation,
}

/// How the puller got its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// The kubelet's credential provider assumed the role with a service-account token.
    ServiceAccountToken,
    /// An EC2 instance's role. Its session is named after the instance, which is not known.
    Node,
    /// A role that is named by hand: a Fargate pod execution role, or anything else.
    FixedRole,
}

/// The session name that the ECR credential provider of kubelet gives itself.
pub(crate) const PROVIDER_SESSION: &str = "ecr-credential-provider";

/// Whether a text compares the same with `ROLEID:ecr-credential-provider` whatever the id of the role is: an id has
/// neither `:` nor anything that a `*` does not match.
#[must_use]
pub(crate) fn asks_for_session_only(text: &str) -> bool {
    if text.contains("${") || text.contains('?') {
        return false;
    }
    match text.rsplit_once(':') {
        // `*:ecr-*`
        Some((head, _)) if !head.is_empty() && head.bytes().all(|b| b == b'*') => true,
        // Another session, of whichever role.
        Some((_, session)) if !text.contains('*') => !session.eq_ignore_ascii_case(PROVIDER_SESSION),
        Some(_) => false,
        // Without its colon a text is a whole id of something else, unless it begins with `*`: `*-provider`.
        None => {
            let rest = text.trim_start_matches('*');
            !rest.contains('*') && rest.len() <= PROVIDER_SESSION.len() || !text.contains('*')
        }
    }
}

/// The contexts of a request, with the keys that the policies in play use (lower case) and no others: one for each
/// combination of values that the user declared as alternatives, so one where there are none.
#[must_use]
pub(crate) fn contexts<'k>(keys: impl IntoIterator<Item = &'k str>, facts: &Facts<'_>) -> Vec<Context> {
    // A key that the policies use and that was not asked for would be a mistake here; Unknown keeps it harmless.
    let mut contexts = vec![Context::new().with_unlisted(Fact::Unknown)];
    for key in keys {
        match alternatives(key, facts) {
            Some(values) if values.len() * contexts.len() <= MAX_WORLDS => {
                let with =
                    |context: &Context| values.iter().map(|value| context.clone().with(key, one(value))).collect();
                contexts = contexts.iter().flat_map(|context| -> Vec<Context> { with(context) }).collect();
            }
            Some(_) => set(&mut contexts, key, &Fact::Present),
            None => set(&mut contexts, key, &fact(key, facts)),
        }
    }
    contexts
}

fn set(contexts: &mut [Context], key: &str, fact: &Fact) {
    for context in contexts {
        context.set(key, fact.clone());
    }
}

/// The values of a key that holds one, where the user declared several.
fn alternatives<'a>(key: &str, facts: &Facts<'a>) -> Option<&'a [String]> {
    let values = declared(&key.to_ascii_lowercase(), facts)?;
    (values.len() > 1 && !is_multivalued_key(key)).then_some(values)
}

/// What is known of one key. Keys are compared without regard to case, and `aws:PrincipalTag/team` by its first half.
#[must_use]
pub(crate) fn fact(key: &str, facts: &Facts<'_>) -> Fact {
    let key = key.to_ascii_lowercase();
    match declared(&key, facts) {
        None => derived(&key, facts),
        Some([]) => Fact::Absent,
        Some([value]) => one(value),
        Some(values) if is_multivalued_key(&key) => Fact::Values(values.to_vec()),
        Some(_) => Fact::Present,
    }
}

/// What the user declared of a key (lower case). His word comes before what is known otherwise, since he may know
/// better; but what he says of the repository and its registry is not said of a login, which is about neither.
fn declared<'a>(key: &str, facts: &Facts<'a>) -> Option<&'a [String]> {
    let of_resource = match key {
        "aws:resourceaccount" => true,
        "aws:resourceorgid" => facts.declared.get("aws:principalorgid").is_some(),
        "aws:resourceorgpaths" => facts.declared.get("aws:principalorgpaths").is_some(),
        _ => tag_of(key, &["aws:resourcetag", "ecr:resourcetag"]).is_some(),
    };
    match facts.target {
        Target::Login if of_resource => None,
        _ => facts.declared.get(key),
    }
}

/// What admission can tell of a key (lower case).
fn derived(key: &str, facts: &Facts<'_>) -> Fact {
    if tag_of(key, &["aws:principaltag"]).is_some_and(|name| !name.is_empty()) {
        return principal_tag(key, facts);
    }
    if tag_of(key, &["aws:resourcetag", "ecr:resourcetag"]).is_some_and(|name| !name.is_empty()) {
        return resource_tag(key, facts);
    }
    let Some((service, name)) = key.split_once(':') else { return Fact::Absent };
    let name = name.split('/').next().unwrap_or(name);
    let known = |value: Option<&str>| value.map_or(Fact::Present, one);
    let importing = matches!(facts.target, Target::Creation | Target::Repository { importing: true, .. });
    match (service, name) {
        ("aws", "principalarn") => known(facts.principal_arn),
        ("aws", "principalaccount") => known(facts.principal_account),
        ("aws", "principaltype") => one("AssumedRole"),
        // `ROLEID:SESSION`: nobody declares the id of a role, but here any id will do.
        ("aws", "userid") if facts.session == Session::ServiceAccountToken && facts.user_id_by_session => {
            one(&format!("ROLE-ID:{PROVIDER_SESSION}"))
        }
        ("aws", "userid" | "tokenissuetime") => Fact::Present,
        ("aws", "federatedprovider") => match facts.session {
            Session::ServiceAccountToken => Fact::Present,
            Session::Node => Fact::Absent,
            Session::FixedRole => Fact::Unknown,
        },
        ("aws", "resourceaccount") => known(facts.resource_account),
        // Two accounts are of one organization where they are the same one.
        ("aws", "resourceorgid") => same_organization("aws:principalorgid", facts),
        ("aws", "resourceorgpaths") => same_organization("aws:principalorgpaths", facts),
        ("aws", "requestedregion") => one(facts.region),
        ("aws", "securetransport") => one("true"),
        ("aws", "currenttime" | "epochtime") => time(key, facts.at).unwrap_or(Fact::Present),
        // Temporary credentials that were made without MFA: AWS pages tell both of `false` and of no key.
        ("aws", "multifactorauthpresent") => Fact::AbsentOr(vec!["false".to_owned()]),
        // Whether Amazon ECR asks in its own name while it fills its cache is not documented.
        ("aws", "viaawsservice" | "calledvia" | "calledviafirst" | "calledvialast") if importing => Fact::Unknown,
        ("aws", "viaawsservice" | "principalisawsservice") => one("false"),
        ("aws", "viaawsmcpservice" | "ismcpserviceaction") => Fact::AbsentOr(vec!["false".to_owned()]),
        // A repository creation template may give the new repository tags.
        ("aws", "requesttag" | "tagkeys") if facts.target == Target::Creation => Fact::Unknown,
        // Set by the credentials of an instance, and by no others.
        ("aws", "ec2instancesourcevpc" | "ec2instancesourceprivateipv4")
        | ("ec2", "sourceinstancearn" | "roledelivery") => match facts.session {
            Session::ServiceAccountToken => Fact::Absent,
            Session::Node => Fact::Present,
            Session::FixedRole => Fact::Unknown,
        },
        ("aws", name) if NEVER_ON_A_PULL.contains(&name) => Fact::Absent,
        // The organization, the network path, the user agent, and whatever AWS adds next.
        ("aws", _) => Fact::Unknown,
        // Claims of an identity provider, `oidc.eks.…:sub`: set when the role is assumed; AWS does not say that they
        // are gone afterwards. The credentials of an instance never had any.
        (provider, _) if provider.contains('.') && facts.session != Session::Node => Fact::Unknown,
        _ => Fact::Absent,
    }
}

/// A tag of the role. Session tags are none: neither a Kubernetes token nor an instance profile carries any.
fn principal_tag(key: &str, facts: &Facts<'_>) -> Fact {
    let name = tag_of(key, &["aws:principaltag"]).unwrap_or_default();
    facts.principal_tags.map_or(Fact::Unknown, |tags| tag(tags, name))
}

/// A tag of the repository that the request is about.
fn resource_tag(key: &str, facts: &Facts<'_>) -> Fact {
    let name = tag_of(key, &["aws:resourcetag", "ecr:resourcetag"]).unwrap_or_default();
    match facts.target {
        Target::Login | Target::Creation => Fact::Absent,
        Target::Repository { tags: Some(tags), .. } => tag(tags, name),
        Target::Repository { tags: None, .. } => Fact::Unknown,
    }
}

/// The value of a tag. The names of tags in condition keys have no case; where two tags differ in case alone, which of
/// them AWS compares is not documented.
fn tag(tags: &BTreeMap<String, String>, name: &str) -> Fact {
    let mut values = tags.iter().filter(|(tag, _)| tag.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    match values.next() {
        None => Fact::Absent,
        Some(first) if values.all(|other| other == first) => one(first),
        Some(_) => Fact::Present,
    }
}

/// The name of the tag in a key like `aws:principaltag/team`; none for another key.
fn tag_of<'k>(key: &'k str, prefixes: &[&str]) -> Option<&'k str> {
    prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)?.strip_prefix('/'))
}

/// The condition keys that tell the time, lower case.
pub(crate) const TIME_KEYS: [&str; 2] = ["aws:currenttime", "aws:epochtime"];

/// What one of [`TIME_KEYS`] says at the time `at`; none of any other key.
#[must_use]
pub(crate) fn time(key: &str, at: Timestamp) -> Option<Fact> {
    match key {
        "aws:currenttime" => Some(one(&at.to_string())),
        "aws:epochtime" => Some(one(&at.as_second().to_string())),
        _ => None,
    }
}

/// Whether a condition key is about a tag of the principal or of the resource.
#[must_use]
pub(crate) fn is_tag(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    tag_of(&key, &["aws:principaltag", "aws:resourcetag", "ecr:resourcetag"]).is_some()
}

/// The organization of the resource: the principal's, as far as the user knows it, where both are one account.
fn same_organization(principal_key: &str, facts: &Facts<'_>) -> Fact {
    let same = facts.principal_account.is_some() && facts.principal_account == facts.resource_account;
    match facts.declared.get(principal_key) {
        Some([]) if same => Fact::Absent,
        Some(values) if same && (values.len() == 1 || is_multivalued_key(principal_key)) => {
            Fact::Values(values.to_vec())
        }
        _ => Fact::Unknown,
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

    fn no_tags() -> &'static BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        &NONE
    }

    fn nothing_declared() -> &'static ContextValues {
        static NONE: std::sync::LazyLock<ContextValues> = std::sync::LazyLock::new(ContextValues::default);
        &NONE
    }

    fn declared(values: &[(&str, &[&str])]) -> ContextValues {
        let mut declared = ContextValues::default();
        for (key, values) in values {
            declared.set(key, values.iter().map(|value| (*value).to_owned()).collect());
        }
        declared
    }

    const REPOSITORY: Target<'static> = Target::Repository { tags: None, importing: false };

    fn facts(session: Session) -> Facts<'static> {
        Facts {
            session,
            principal_arn: Some("arn:aws:iam::111122223333:role/app"),
            principal_account: Some("111122223333"),
            principal_tags: None,
            user_id_by_session: false,
            resource_account: Some("444455556666"),
            region: "us-east-1",
            target: REPOSITORY,
            declared: nothing_declared(),
            at: "2026-11-23T00:00:00Z".parse().unwrap(),
        }
    }

    fn value(text: &str) -> Fact {
        Fact::Values(vec![text.to_owned()])
    }

    #[test]
    fn the_table() {
        use Fact::{Absent, Present, Unknown};
        let or_false = || Fact::AbsentOr(vec!["false".to_owned()]);
        let arn = "arn:aws:iam::111122223333:role/app";
        // key, service-account token, node, fixed role
        let same = |fact: Fact| [fact.clone(), fact.clone(), fact];
        let cases = [
            ("aws:PrincipalArn", same(value(arn))),
            ("aws:principalaccount", same(value("111122223333"))),
            ("aws:PrincipalType", same(value("AssumedRole"))),
            ("aws:PrincipalTag/team", same(Unknown)),
            ("aws:userid", same(Present)),
            ("aws:username", same(Absent)),
            ("aws:FederatedProvider", [Present, Absent, Unknown]),
            ("oidc.eks.us-east-1.amazonaws.com/id/ABC:sub", [Unknown, Absent, Unknown]),
            ("aws:PrincipalOrgID", same(Unknown)),
            ("aws:PrincipalOrgPaths", same(Unknown)),
            ("aws:ResourceAccount", same(value("444455556666"))),
            ("aws:ResourceOrgID", same(Unknown)),
            ("aws:ResourceOrgPaths", same(Unknown)),
            ("aws:RequestedRegion", same(value("us-east-1"))),
            ("aws:SecureTransport", same(value("true"))),
            ("aws:CurrentTime", same(value("2026-11-23T00:00:00Z"))),
            ("aws:EpochTime", same(value("1795392000"))),
            ("aws:TokenIssueTime", same(Present)),
            ("aws:MultiFactorAuthPresent", same(or_false())),
            ("aws:MultiFactorAuthAge", same(Absent)),
            ("aws:SourceIp", same(Unknown)),
            ("aws:SourceVpc", same(Unknown)),
            ("aws:SourceVpcArn", same(Unknown)),
            ("aws:SourceVpce", same(Unknown)),
            ("aws:VpcSourceIp", same(Unknown)),
            ("aws:VpceAccount", same(Unknown)),
            ("aws:VpceOrgID", same(Unknown)),
            ("ec2:SourceInstanceArn", [Absent, Present, Unknown]),
            ("aws:Ec2InstanceSourceVpc", [Absent, Present, Unknown]),
            ("aws:Ec2InstanceSourcePrivateIPv4", [Absent, Present, Unknown]),
            ("ec2:RoleDelivery", [Absent, Present, Unknown]),
            ("ec2:InstanceType", same(Absent)),
            ("aws:ViaAWSService", same(value("false"))),
            ("aws:PrincipalIsAWSService", same(value("false"))),
            ("aws:CalledVia", same(Absent)),
            ("aws:SourceIdentity", same(Absent)),
            ("aws:SourceArn", same(Absent)),
            ("aws:UserAgent", same(Unknown)),
            ("aws:ResourceTag/tier", same(Unknown)),
            ("ecr:ResourceTag/tier", same(Unknown)),
            ("aws:RequestTag/tier", same(Absent)),
            ("aws:TagKeys", same(Absent)),
            ("aws:SomethingNew", same(Unknown)),
            ("ecr:RepositoryName", same(Absent)),
            ("s3:prefix", same(Absent)),
            ("nonsense", same(Absent)),
        ];
        for (key, expected) in cases {
            let sessions = [Session::ServiceAccountToken, Session::Node, Session::FixedRole];
            assert_eq!(sessions.map(|session| fact(key, &facts(session))), expected, "{key}");
        }
    }

    #[test]
    fn a_user_id_is_known_by_its_end() {
        for (text, alone) in [
            ("*:ecr-credential-provider", true),
            ("*:i-*", true),
            ("**:*", true),
            ("*", true),
            ("*-provider", true),
            ("AROAEXAMPLE:i-0abc", true),
            ("AIDAEXAMPLE", true),
            ("true", true),
            ("AROAEXAMPLE:ecr-credential-provider", false),
            ("aroaexample:ECR-credential-provider", false),
            ("AROAEXAMPLE:*", false),
            ("AROA*:ecr-credential-provider", false),
            ("AROA*", false),
            ("*A*", false),
            ("?????????????????????:ecr-credential-provider", false),
            ("*EXAMPLEEXAMPLEEXAMPLEEXAMPLE", false),
            ("${aws:PrincipalTag/id}:x", false),
            (":ecr-credential-provider", false),
        ] {
            assert_eq!(asks_for_session_only(text), alone, "{text}");
        }
        let known = |session| Facts { user_id_by_session: true, ..facts(session) };
        assert_eq!(fact("aws:userid", &known(Session::ServiceAccountToken)), value("ROLE-ID:ecr-credential-provider"));
        assert_eq!(fact("aws:userid", &known(Session::Node)), Fact::Present);
    }

    #[test]
    fn tags_of_the_role() {
        let tags = BTreeMap::from([("Team".to_owned(), "payments".to_owned())]);
        let tagged = Facts { principal_tags: Some(&tags), ..facts(Session::Node) };
        assert_eq!(fact("aws:PrincipalTag/team", &tagged), value("payments"));
        assert_eq!(fact("aws:PrincipalTag/tier", &tagged), Fact::Absent);
        // A tag session of Pod Identity would carry this; a kubelet's never does.
        assert_eq!(fact("aws:PrincipalTag/kubernetes-namespace", &tagged), Fact::Absent);
        let untagged = Facts { principal_tags: Some(no_tags()), ..facts(Session::Node) };
        assert_eq!(fact("aws:PrincipalTag/team", &untagged), Fact::Absent);
    }

    #[test]
    fn tags_of_the_repository() {
        let tags = BTreeMap::from([
            ("tier".to_owned(), "gold".to_owned()),
            ("team".to_owned(), "a".to_owned()),
            ("Team".to_owned(), "b".to_owned()),
        ]);
        let target = |target| Facts { target, ..facts(Session::FixedRole) };
        let known = target(Target::Repository { tags: Some(&tags), importing: true });
        for key in ["aws:ResourceTag/Tier", "ecr:ResourceTag/tier"] {
            assert_eq!(fact(key, &known), value("gold"), "{key}");
            assert_eq!(fact(key, &target(Target::Login)), Fact::Absent, "{key}");
            assert_eq!(fact(key, &target(Target::Creation)), Fact::Absent, "{key}");
            assert_eq!(fact(key, &target(REPOSITORY)), Fact::Unknown, "{key}");
        }
        assert_eq!(fact("aws:ResourceTag/other", &known), Fact::Absent);
        // Two tags that differ in case alone.
        assert_eq!(fact("aws:ResourceTag/team", &known), Fact::Present);
    }

    #[test]
    fn filling_the_cache_leaves_open_who_asks() {
        let target = |target| Facts { target, ..facts(Session::Node) };
        let importing = target(Target::Repository { tags: None, importing: true });
        assert_eq!(fact("aws:ViaAWSService", &importing), Fact::Unknown);
        assert_eq!(fact("aws:CalledVia", &target(Target::Creation)), Fact::Unknown);
        assert_eq!(fact("aws:RequestTag/tier", &importing), Fact::Absent);
        assert_eq!(fact("aws:RequestTag/tier", &target(Target::Creation)), Fact::Unknown);
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
    fn the_user_knows_better() {
        let declared = declared(&[
            ("aws:SourceVpc", &["vpc-1"]),
            ("aws:SecureTransport", &["false"]),
            ("aws:SourceIp", &[]),
            ("aws:PrincipalOrgPaths", &["o-1/r-1/", "o-1/r-2/"]),
            ("aws:SourceVpce", &["vpce-1", "vpce-2"]),
            ("ecr:RepositoryName", &["x"]),
            ("aws:ResourceTag/tier", &["gold"]),
            ("aws:ResourceAccount", &["777788889999"]),
        ]);
        let repository = Facts { declared: &declared, ..facts(Session::Node) };
        assert_eq!(fact("aws:sourcevpc", &repository), value("vpc-1"));
        assert_eq!(fact("aws:SecureTransport", &repository), value("false"));
        assert_eq!(fact("aws:SourceIp", &repository), Fact::Absent);
        assert_eq!(
            fact("aws:PrincipalOrgPaths", &repository),
            Fact::Values(vec!["o-1/r-1/".to_owned(), "o-1/r-2/".to_owned()])
        );
        assert_eq!(fact("ecr:RepositoryName", &repository), value("x"));
        // What holds of the repository does not hold of a login.
        let login = Facts { target: Target::Login, ..repository };
        for (key, of_repository, of_login) in [
            ("aws:ResourceTag/tier", "gold", Fact::Absent),
            ("aws:ResourceAccount", "777788889999", value("444455556666")),
        ] {
            assert_eq!(fact(key, &repository), value(of_repository), "{key}");
            assert_eq!(fact(key, &login), of_login, "{key}");
        }
        assert_eq!(fact("aws:SourceVpc", &login), value("vpc-1"));
    }

    #[test]
    fn one_account_is_of_one_organization() {
        let principal = declared(&[("aws:PrincipalOrgID", &["o-1"])]);
        let across = Facts { declared: &principal, ..facts(Session::Node) };
        assert_eq!(fact("aws:ResourceOrgID", &across), Fact::Unknown);
        let within = Facts { resource_account: Some("111122223333"), ..across };
        assert_eq!(fact("aws:ResourceOrgID", &within), value("o-1"));
        assert_eq!(fact("aws:ResourceOrgPaths", &within), Fact::Unknown);
        // A login is about the puller's account, whatever organization the registry is of.
        let both = declared(&[("aws:PrincipalOrgID", &["o-1"]), ("aws:ResourceOrgID", &["o-2"])]);
        let across = Facts { declared: &both, ..across };
        assert_eq!(fact("aws:ResourceOrgID", &across), value("o-2"));
        let login = Facts { target: Target::Login, declared: &both, ..within };
        assert_eq!(fact("aws:ResourceOrgID", &login), value("o-1"));
    }

    #[test]
    fn a_context_has_the_keys_that_were_asked_for() {
        let contexts = contexts(["aws:sourceip", "aws:username"], &facts(Session::FixedRole));
        let [context] = contexts.as_slice() else { panic!("{contexts:?}") };
        assert_eq!(context.get("aws:SourceIp"), &Fact::Unknown);
        assert_eq!(context.get("aws:username"), &Fact::Absent);
        assert_eq!(context.get("aws:other"), &Fact::Unknown);
    }

    #[test]
    fn alternatives_are_combined() {
        let ten: Vec<String> = (0..10).map(|n| format!("v{n}")).collect();
        let mut declared = declared(&[("aws:SourceVpc", &["a", "b"]), ("aws:SourceVpce", &["c", "d", "e"])]);
        declared.set("aws:SourceIp", ten.clone());
        declared.set("aws:UserAgent", ten);
        let facts = Facts { declared: &declared, ..facts(Session::Node) };
        let found = contexts(["aws:sourcevpc", "aws:sourcevpce", "aws:requestedregion"], &facts);
        let pairs: Vec<_> = found
            .iter()
            .map(|context| (context.get("aws:SourceVpc").clone(), context.get("aws:SourceVpce").clone()))
            .collect();
        assert_eq!(pairs.len(), 6);
        assert!(pairs.contains(&(value("b"), value("e"))));
        assert!(found.iter().all(|context| *context.get("aws:RequestedRegion") == value("us-east-1")));
        // Too many of them are some value that is not known.
        let found = contexts(["aws:sourcevpc", "aws:sourceip", "aws:useragent"], &facts);
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|context| *context.get("aws:UserAgent") == Fact::Present));
    }
}
