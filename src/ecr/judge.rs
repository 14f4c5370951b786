//! May this puller pull this image? The requests of a pull, decided one by one and folded into a verdict.

use std::fmt;
use std::sync::Arc;

use iam_verdict::{
    Account, Decision, Environment, NamedPolicy, NearMiss, Outcome, Principal, Request, evaluate, missing, nearest_miss,
};
use jiff::Timestamp;
use serde::Serialize;

use super::arn::RoleArn;
use super::context::{Facts, Session, context};
use super::image::EcrImage;
use super::needs::{self, Ask};

pub use super::declared::{IdentityPolicies, PolicySource};

/// The session name that the ECR credential provider of kubelet gives itself.
const PROVIDER_SESSION: &str = "ecr-credential-provider";

/// The outcome for an image or a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Verdict {
    /// The pull is permitted, whatever the facts that are not known turn out to be.
    Allow,
    /// The pull is refused, whatever the facts that are not known turn out to be.
    Deny,
    /// It depends on facts that are not known.
    Unknown,
    /// No policy selects the pod, or the pod is never judged.
    NotSelected,
    /// The image is not in ECR (of images only).
    OutOfScope,
}

impl Verdict {
    /// The word as reports have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Unknown => "Unknown",
            Self::NotSelected => "NotSelected",
            Self::OutOfScope => "OutOfScope",
        }
    }

    /// Folds the outcomes of things that must all work: one Deny denies, else one Unknown leaves it open.
    #[must_use]
    pub fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().fold(Self::Allow, |all, one| match (all, one) {
            (Self::Deny, _) | (_, Self::Deny) => Self::Deny,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            _ => Self::Allow,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Notes: assumptions and observations that a verdict carries. Stable words, part of the report.
pub mod note {
    /// The puller has no role ARN; its account is taken to be the registry's.
    pub const SAME_ACCOUNT_ASSUMED: &str = "SameAccountAssumed";
    /// No repository policy is declared, which asserts that none grants or denies.
    pub const NO_REPOSITORY_POLICY_DECLARED: &str = "NoRepositoryPolicyDeclared";
    /// The verdict holds on nodes whose kubelet pulls with service-account tokens; on others the node's role pulls.
    pub const SERVICE_ACCOUNT_PULL_ASSUMED: &str = "ServiceAccountPullAssumed";
    /// `ecr:BatchCheckLayerAvailability` is not allowed, which no pull needs.
    pub const NO_BATCH_CHECK: &str = "NoBatchCheckLayerAvailability";
    /// A managed policy was named by its ARN in another partition than the built-in text comes from.
    pub const MANAGED_POLICY_OF_OTHER_PARTITION: &str = "ManagedPolicyOfOtherPartition";
    /// The image's host has a port; it was judged without.
    pub const PORT_IN_HOST: &str = "PortInHost";
    /// The image's host has upper-case letters, which kubelet's `matchImages` may not match.
    pub const UPPER_CASE_HOST: &str = "UpperCaseHost";
}

/// A candidate: somebody who may be the one that ECR sees when the kubelet pulls.
#[derive(Clone, Debug)]
pub struct Puller {
    /// Who it is.
    pub who: Who,
    /// How it was found, for a person: `annotation eks.amazonaws.com/ecr-role-arn`.
    pub found_by: String,
    /// Its identity-based policies; none where they are declared nowhere.
    pub identity: Option<Arc<IdentityPolicies>>,
}

/// The IAM principal of a puller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A role.
    Role {
        /// Its ARN.
        arn: RoleArn,
        /// How its credentials are obtained.
        session: Session,
    },
    /// The role behind a service account, whose ARN nobody declared.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { arn, .. } => f.write_str(arn.as_str()),
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
        }
    }
}

/// One request of the pull and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub ask: Ask,
    /// The decision and what decided it.
    pub outcome: Outcome,
    /// For an implicit denial: the statement that came closest.
    pub miss: Option<NearMiss>,
}

impl Answer {
    /// Whether the request is certainly refused.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.outcome.decision, Decision::ExplicitlyDenied | Decision::ImplicitlyDenied)
    }
}

/// What was found out about one puller and one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Any request denied is Deny, all allowed is Allow, else Unknown.
    pub verdict: Verdict,
    /// The requests, in the order a pull makes them.
    pub answers: Vec<Answer>,
    /// The facts that would settle an Unknown.
    pub missing: Vec<String>,
    /// Words of [`note`].
    pub notes: Vec<&'static str>,
}

/// Judges whether `puller` can pull `image` at the time `at`.
#[must_use]
pub fn judge(image: &EcrImage, puller: &Puller, at: Timestamp) -> Judgement {
    let asks = needs::pull(image);
    let mut notes = Vec::new();
    if matches!(&puller.who, Who::ServiceAccount { .. } | Who::Role { session: Session::ServiceAccountToken, .. }) {
        notes.push(note::SERVICE_ACCOUNT_PULL_ASSUMED);
    }
    let Some(identity) = &puller.identity else {
        return without_identity(puller, asks, notes);
    };
    if matches!(puller.who, Who::ServiceAccount { .. }) {
        notes.push(note::SAME_ACCOUNT_ASSUMED);
    }
    let mut court = Court::new(image, puller, identity, at);
    if court.same_account {
        notes.push(note::NO_REPOSITORY_POLICY_DECLARED);
    }
    if identity.has_other_partition() {
        notes.push(note::MANAGED_POLICY_OF_OTHER_PARTITION);
    }

    let mut facts = Vec::new();
    let mut answers = Vec::with_capacity(asks.len());
    for ask in asks {
        let request = court.open(&ask);
        let outcome = evaluate(&court.environment, &request);
        if outcome.decision == Decision::Unknown {
            for fact in missing(&court.environment, &request).facts {
                if !facts.contains(&fact) {
                    facts.push(fact);
                }
            }
        }
        let implicit = outcome.decision == Decision::ImplicitlyDenied;
        let miss = if implicit { nearest_miss(&court.environment, &request) } else { None };
        answers.push(Answer { ask, outcome, miss });
    }
    let verdict = Verdict::all(answers.iter().map(|answer| match answer.outcome.decision {
        Decision::Allowed => Verdict::Allow,
        Decision::Unknown => Verdict::Unknown,
        Decision::ExplicitlyDenied | Decision::ImplicitlyDenied => Verdict::Deny,
    }));
    if verdict == Verdict::Allow {
        let request = court.open(&Ask { action: needs::ADVISORY, resource: image.arn().to_string() });
        let decision = evaluate(&court.environment, &request).decision;
        if matches!(decision, Decision::ImplicitlyDenied | Decision::ExplicitlyDenied) {
            notes.push(note::NO_BATCH_CHECK);
        }
    }
    // A Deny does not depend on what is missing.
    let missing = if verdict == Verdict::Unknown { facts } else { Vec::new() };
    Judgement { verdict, answers, missing, notes }
}

/// Nothing is known of what the puller may do.
fn without_identity(puller: &Puller, asks: [Ask; 3], notes: Vec<&'static str>) -> Judgement {
    let fact = match &puller.who {
        Who::Role { arn, .. } => format!("role:{arn}"),
        Who::ServiceAccount { .. } => "role".to_owned(),
    };
    let unknown = Outcome { decision: Decision::Unknown, layer: None, policy: None, statement: None };
    let answers = asks.into_iter().map(|ask| Answer { ask, outcome: unknown.clone(), miss: None }).collect();
    Judgement { verdict: Verdict::Unknown, answers, missing: vec![fact], notes }
}

/// The policies and facts of one puller and one image, ready for its requests.
struct Court<'a> {
    image: &'a EcrImage,
    puller: &'a Puller,
    identity: &'a IdentityPolicies,
    at: Timestamp,
    principal: Principal,
    /// The puller's account is the registry's: what the identity policies allow is enough.
    same_account: bool,
    environment: Environment,
}

impl<'a> Court<'a> {
    fn new(image: &'a EcrImage, puller: &'a Puller, identity: &'a IdentityPolicies, at: Timestamp) -> Self {
        let (principal, same_account) = match &puller.who {
            Who::Role { arn, session } => {
                let mut arns = vec![arn.as_str().to_owned()];
                if *session == Session::ServiceAccountToken {
                    arns.push(arn.session(PROVIDER_SESSION));
                }
                let principal = Principal {
                    arns,
                    account: Account::Known(arn.account().to_owned()),
                    session_unknown: *session != Session::ServiceAccountToken,
                    ..Principal::default()
                };
                // Account ids are unique within a partition only.
                (principal, arn.account() == image.account && arn.partition() == image.partition)
            }
            Who::ServiceAccount { .. } => {
                (Principal { account: Account::SameAsResource, ..Principal::default() }, true)
            }
        };
        let environment = Environment { identity: identity.policies().to_vec(), ..Environment::default() };
        Self { image, puller, identity, at, principal, same_account, environment }
    }

    /// Arranges the resource side for `ask` and returns the request.
    fn open(&mut self, ask: &Ask) -> Request {
        let login = ask.action == needs::LOGIN;
        let role = match &self.puller.who {
            Who::Role { arn, session } => Some((arn, *session)),
            Who::ServiceAccount { .. } => None,
        };
        if login || self.same_account {
            // Login is asked in the puller's own account, where no repository policy has a say. For a repository of
            // the same account, leaving its policy out asserts that there is none.
            self.environment.resource = None;
            self.environment.resource_account = Account::SameAsResource;
        } else {
            let fact = format!("repositoryPolicy:{}", self.image.arn());
            self.environment.resource = Some(NamedPolicy::unreadable("repositoryPolicy", fact));
            // With its partition, an account never equals one of another partition.
            let foreign = role.is_some_and(|(arn, _)| arn.partition() != self.image.partition);
            let account = &self.image.account;
            self.environment.resource_account =
                Account::Known(if foreign { format!("{}:{account}", self.image.partition) } else { account.clone() });
        }
        let principal_account = role.map(|(arn, _)| arn.account());
        let facts = Facts {
            session: role.map_or(Session::ServiceAccountToken, |(_, session)| session),
            principal_arn: role.map(|(arn, _)| arn.as_str()),
            // The account of a puller without a role is an assumption, and no condition may deny because of it.
            principal_account,
            resource_account: if login { principal_account } else { Some(&self.image.account) },
            region: &self.image.region,
            repository: !login,
            at: self.at,
        };
        Request {
            principal: self.principal.clone(),
            action: ask.action.to_owned(),
            resource: ask.resource.clone(),
            context: context(self.identity.condition_keys(), &facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::ImageKind;
    use super::super::managed;
    use super::*;
    use iam_verdict::{Layer, Policy};
    use serde_json::{Value, json};

    const REGISTRY: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
    const ROLE: &str = "arn:aws:iam::111122223333:role/app";
    const OWN: PolicySource = PolicySource::Document { problem: None };
    const FOREIGN_ROLE: &str = "arn:aws:iam::444455556666:role/app";

    fn image(text: &str) -> EcrImage {
        match ImageKind::of(text) {
            ImageKind::Private(image) => image,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn team_app() -> EcrImage {
        image(&format!("{REGISTRY}/team/app:1"))
    }

    fn identity(documents: &[(&str, Value)]) -> Arc<IdentityPolicies> {
        let mut policies = IdentityPolicies::default();
        for (name, document) in documents {
            policies.push(NamedPolicy::known(*name, Policy::from_value(document).unwrap()), OWN);
        }
        Arc::new(policies)
    }

    fn allow(action: Value, resource: Value) -> Value {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})
    }

    fn role(arn: &str, identity: Option<Arc<IdentityPolicies>>) -> Puller {
        let who = Who::Role { arn: RoleArn::parse(arn).unwrap(), session: Session::ServiceAccountToken };
        Puller { who, found_by: "test".into(), identity }
    }

    fn ask(image: &EcrImage, puller: &Puller) -> Judgement {
        judge(image, puller, "2026-11-23T00:00:00Z".parse().unwrap())
    }

    fn decisions(judgement: &Judgement) -> Vec<&'static str> {
        judgement.answers.iter().map(|answer| answer.outcome.decision.as_str()).collect()
    }

    /// Every built-in policy, alone, on a repository of the same account. A policy that is not listed grants nothing.
    #[test]
    fn what_managed_policies_allow() {
        let pulls = [
            "AWSAppRunnerServicePolicyForECRAccess",
            "AdministratorAccess",
            "AmazonEC2ContainerRegistryFullAccess",
            "AmazonEC2ContainerRegistryPowerUser",
            "AmazonEC2ContainerRegistryPullOnly",
            "AmazonEC2ContainerRegistryReadOnly",
            "AmazonEC2ContainerServiceforEC2Role",
            "AmazonECSTaskExecutionRolePolicy",
            "AmazonEKSFargatePodExecutionRolePolicy",
            "AmazonSageMakerFullAccess",
            "EC2InstanceProfileForImageBuilderECRContainerBuilds",
            "PowerUserAccess",
            "ReadOnlyAccess",
        ];
        let (mut allowed, mut denied, mut open) = (0, 0, 0);
        for arn in managed::arns() {
            let found = managed::find(arn).unwrap();
            let mut policies = IdentityPolicies::default();
            let source = PolicySource::Managed { arn: arn.to_owned(), other_partition: false };
            policies.push(NamedPolicy::known("managed", Arc::clone(found.policy)), source);
            let judgement = ask(&team_app(), &role(ROLE, Some(Arc::new(policies))));
            let name = arn.rsplit('/').next().unwrap();
            match name {
                // Repository tags are not known, and these grant by tag.
                "ROSAWorkerInstancePolicy" => {
                    assert_eq!(judgement.verdict, Verdict::Unknown, "{name}");
                    assert_eq!(decisions(&judgement), ["Allowed", "Unknown", "Unknown"], "{name}");
                    open += 1;
                }
                // A condition that compares with a policy variable: never a denial.
                "AWSECRPullThroughCache_ServiceRolePolicy" => assert_ne!(judgement.verdict, Verdict::Deny, "{name}"),
                name if pulls.contains(&name) => {
                    assert_eq!(judgement.verdict, Verdict::Allow, "{name}");
                    allowed += 1;
                }
                name => {
                    assert_eq!(judgement.verdict, Verdict::Deny, "{name}");
                    let explicit = match name {
                        "AWSDenyAll" => ["ExplicitlyDenied"; 3],
                        "AWSCompromisedKeyQuarantineV2" | "AWSCompromisedKeyQuarantineV3" => {
                            ["ExplicitlyDenied", "ImplicitlyDenied", "ImplicitlyDenied"]
                        }
                        // Pulls from repositories of EKS itself.
                        "AmazonEKSLocalOutpostClusterPolicy" => ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied"],
                        _ => ["ImplicitlyDenied"; 3],
                    };
                    assert_eq!(decisions(&judgement), explicit, "{name}");
                    denied += 1;
                }
            }
        }
        assert_eq!((allowed, open, denied), (13, 1, 21));
    }

    #[test]
    fn pull_only_is_enough_and_noted() {
        let pull_only =
            allow(json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]), json!("*"));
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("pull", pull_only)]))));
        assert_eq!(judgement.verdict, Verdict::Allow);
        assert_eq!(
            judgement.notes,
            [note::SERVICE_ACCOUNT_PULL_ASSUMED, note::NO_REPOSITORY_POLICY_DECLARED, note::NO_BATCH_CHECK]
        );
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("all", allow(json!("ecr:*"), json!("*")))]))));
        assert!(!judgement.notes.contains(&note::NO_BATCH_CHECK));
        assert_eq!(judgement.answers[0].outcome.layer, Some(Layer::Identity));
    }

    #[test]
    fn across_accounts_the_repository_policy_is_not_known_but_a_refusing_identity_denies() {
        let all = identity(&[("all", allow(json!("ecr:*"), json!("*")))]);
        let judgement = ask(&team_app(), &role(FOREIGN_ROLE, Some(all)));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert_eq!(decisions(&judgement), ["Allowed", "Unknown", "Unknown"]);
        assert_eq!(judgement.missing, ["repositoryPolicy:arn:aws:ecr:us-east-1:111122223333:repository/team/app"]);
        assert!(!judgement.notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED));

        let login = identity(&[("login", allow(json!("ecr:GetAuthorizationToken"), json!("*")))]);
        let judgement = ask(&team_app(), &role(FOREIGN_ROLE, Some(login)));
        assert_eq!(judgement.verdict, Verdict::Deny);
        assert_eq!(decisions(&judgement), ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied"]);
        assert_eq!(judgement.answers[1].outcome.layer, Some(Layer::Identity));
    }

    #[test]
    fn the_same_account_number_in_another_partition_is_another_account() {
        let all = identity(&[("all", allow(json!("*"), json!("*")))]);
        let chinese = image("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app");
        assert_eq!(ask(&chinese, &role(ROLE, Some(all))).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_role_without_declared_policies_is_unknown() {
        let judgement = ask(&team_app(), &role(ROLE, None));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert_eq!(judgement.missing, [format!("role:{ROLE}")]);
        assert_eq!(decisions(&judgement), ["Unknown"; 3]);
    }

    fn service_account(document: Value) -> Puller {
        let who = Who::ServiceAccount { namespace: "payments".into(), name: "api".into() };
        Puller { who, found_by: "test".into(), identity: Some(identity(&[("p", document)])) }
    }

    #[test]
    fn the_assumed_account_allows_and_never_denies() {
        let judgement = ask(&team_app(), &service_account(allow(json!("ecr:*"), json!("*"))));
        assert_eq!(judgement.verdict, Verdict::Allow);
        assert!(judgement.notes.contains(&note::SAME_ACCOUNT_ASSUMED));
        // Denied if, and only if, the assumption were true, or the ARN were known.
        for key in ["aws:PrincipalAccount", "aws:PrincipalArn", "aws:ResourceAccount"] {
            let value = if key == "aws:PrincipalArn" { ROLE } else { "111122223333" };
            let document = json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
                {"Effect": "Deny", "Action": "ecr:GetAuthorizationToken", "Resource": "*",
                    "Condition": {"StringEquals": {key: value}}}]});
            let judgement = ask(&team_app(), &service_account(document));
            assert_eq!(judgement.verdict, Verdict::Unknown, "{key}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_known_is_unknown_and_named() {
        let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]});
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("p", document)]))));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert!(
            judgement.missing.iter().any(|fact| fact.eq_ignore_ascii_case("aws:SourceIp")),
            "{:?}",
            judgement.missing
        );
    }

    #[test]
    fn an_unreadable_policy_is_unknown_beside_what_is_certain() {
        let with = |document: Value| {
            let mut policies = IdentityPolicies::default();
            policies.push(NamedPolicy::unreadable("bad", "document:bad"), OWN);
            policies.push(NamedPolicy::known("good", Policy::from_value(&document).unwrap()), OWN);
            ask(&team_app(), &role(ROLE, Some(Arc::new(policies))))
        };
        // It might deny what the other allows.
        let judgement = with(allow(json!("ecr:*"), json!("*")));
        assert_eq!((judgement.verdict, judgement.missing), (Verdict::Unknown, vec!["document:bad".to_owned()]));
        // It cannot allow what the other denies.
        let deny =
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]});
        let judgement = with(deny);
        assert_eq!((judgement.verdict, judgement.missing), (Verdict::Deny, vec![]));
    }

    #[test]
    fn one_denied_request_denies_whatever_else_is_unknown() {
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
            {"Effect": "Deny", "Action": "ecr:GetDownloadUrlForLayer", "Resource": "*"}]});
        let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("p", document)]))));
        assert_eq!(judgement.verdict, Verdict::Deny);
        assert!(judgement.missing.is_empty());
    }

    #[test]
    fn verdicts_fold() {
        use Verdict::{Allow, Deny, OutOfScope, Unknown};
        for (verdicts, all) in [
            (vec![], Allow),
            (vec![Allow, OutOfScope], Allow),
            (vec![Allow, Unknown, Allow], Unknown),
            (vec![Unknown, Deny], Deny),
            (vec![Deny, Unknown], Deny),
        ] {
            assert_eq!(Verdict::all(verdicts.clone()), all, "{verdicts:?}");
        }
    }
}
