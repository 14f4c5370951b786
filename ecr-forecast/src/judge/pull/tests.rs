//! Rule by rule: who asks, what is declared, and the decisions that follow.

use std::collections::BTreeMap;

use fixtures::{REGISTRY, ROLE};
use iam_verdict::{Layer, NamedPolicy, Policy};
use serde_json::{Value, json};

use super::*;
use std::sync::Arc;

use jiff::Timestamp;

use crate::ecr::arn::RoleArn;
use crate::ecr::condition_keys::Session;
use crate::ecr::image::ImageKind;
use crate::ecr::{ArnPattern, managed};
use crate::facts::declared::{
    Declared, IdentityPolicies, Organization, PolicyLevel, PolicySource, Presence, RegistryEntry, RegistryPolicyScope,
    RepositoryEntry, ResourcePolicy, SourcedPolicy,
};
use crate::judge::pull_judgement::note;
use crate::judge::timeline::{Budget, Timeline};
use crate::puller::{Puller, PullerIdentity};

const OWN: PolicySource = PolicySource::Document { problem: None };
const FOREIGN_ROLE: &str = "arn:aws:iam::444455556666:role/app";

fn judge(image: &EcrImage, puller: &Puller, declared: &Declared, needs: &[Need], at: Timestamp) -> PullJudgement {
    PullEvaluator::new(puller, declared, at).judge(image, needs)
}

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
        policies.push(SourcedPolicy::new(NamedPolicy::known(*name, Policy::from_value(document).unwrap()), OWN));
    }
    Arc::new(policies)
}

fn allow(action: Value, resource: Value) -> Value {
    fixtures::document(fixtures::allow(action, resource))
}

fn role(arn: &str, identity: Option<Arc<IdentityPolicies>>) -> Puller {
    let principal = PullerIdentity { arn: RoleArn::parse(arn).unwrap(), session: Session::ServiceAccountToken };
    Puller { principal, found_by: "test".into(), identity, fact: None, is_disputed: false }
}

fn at() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

fn ask(image: &EcrImage, puller: &Puller) -> PullJudgement {
    ask_with(image, puller, &Declared::default())
}

fn ask_with(image: &EcrImage, puller: &Puller, declared: &Declared) -> PullJudgement {
    judge(image, puller, declared, &[Need::Pull], at())
}

fn missing(judgement: &PullJudgement) -> Vec<String> {
    judgement.missing.iter().map(ToString::to_string).collect()
}

fn decisions(judgement: &PullJudgement) -> Vec<&'static str> {
    judgement.answers.iter().map(|answer| answer.outcome.decision.as_str()).collect()
}

/// Every built-in policy, alone, on a repository of the same account. A policy that is not listed grants nothing.
#[test]
fn what_managed_policies_allow() {
    let pulls = [
        "AIDevOpsAgentActionsPolicy",
        "AWSAppRunnerServicePolicyForECRAccess",
        "AWSSupportServiceRolePolicy",
        "AdministratorAccess",
        "AmazonDataZoneSageMakerEnvironmentRolePermissionsBoundary",
        "AmazonEC2ContainerRegistryFullAccess",
        "AmazonEC2ContainerRegistryPowerUser",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEC2ContainerRegistryReadOnly",
        "AmazonEC2ContainerServiceforEC2Role",
        "AmazonECSTaskExecutionRolePolicy",
        "AmazonEKSFargatePodExecutionRolePolicy",
        "AmazonInspector2ServiceRolePolicy",
        "AmazonRedshiftAllCommandsFullAccess",
        "AmazonSageMakerCanvasFullAccess",
        "AmazonSageMakerFullAccess",
        "AmazonSageMakerHyperPodInferenceAccess",
        "AmazonSageMakerModelCustomizationCoreAccess",
        "AmazonSageMakerServiceCatalogProductsCodeBuildServiceRolePolicy",
        "EC2InstanceProfileForImageBuilderECRContainerBuilds",
        "PowerUserAccess",
        "ReadOnlyAccess",
        "SageMakerStudioAdminIAMDefaultExecutionPolicy",
        "SageMakerStudioAdminIAMPermissiveExecutionPolicy",
        "SageMakerStudioUserIAMDefaultExecutionPolicy",
        "SageMakerStudioUserIAMPermissiveExecutionPolicy",
    ];
    // Each was looked at by hand: what it denies, it denies without a condition.
    let denies = [
        "AWSIAMIdentityCenterAllowListForIdentityContext",
        "AmazonDataZoneEnvironmentRolePermissionsBoundary",
        "AmazonSecurityLakePermissionsBoundary",
        "IAMAuditRootUserCredentials",
        "IAMCreateRootUserPassword",
        "IAMDeleteRootUserCredentials",
        "S3UnlockBucketPolicy",
        "SQSUnlockQueuePolicy",
    ];
    let (mut allowed, mut denied, mut open) = (0, 0, 0);
    for arn in managed::arns() {
        let found = managed::find(arn).unwrap();
        let mut policies = IdentityPolicies::default();
        let source = PolicySource::Managed { arn: arn.to_owned(), other_partition: false };
        policies.push(SourcedPolicy::new(NamedPolicy::known("managed", Arc::clone(found.policy)), source));
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
            "AWSECRPullThroughCache_ServiceRolePolicy" | "SageMakerStudioProjectRoleMachineLearningPolicy" => {
                assert_ne!(judgement.verdict, Verdict::Deny, "{name}");
            }
            // Conditions on what a kubelet does not send, and on tags that are not known.
            "AWSMcpServiceActionsFullAccess" | "SageMakerStudioProjectUserRolePermissionsBoundary" => {
                assert_ne!(judgement.verdict, Verdict::Allow, "{name}");
            }
            name if denies.contains(&name) => {
                assert_eq!(judgement.verdict, Verdict::Deny, "{name}");
                assert!(decisions(&judgement).contains(&"ExplicitlyDenied"), "{name}");
                denied += 1;
            }
            name if pulls.contains(&name) => {
                assert_eq!(judgement.verdict, Verdict::Allow, "{name}");
                allowed += 1;
            }
            name => {
                assert_eq!(judgement.verdict, Verdict::Deny, "{name}");
                let expected = match name {
                    "AWSDenyAll" => ["ExplicitlyDenied"; 3],
                    "AWSCompromisedKeyQuarantineV2" | "AWSCompromisedKeyQuarantineV3" => {
                        ["ExplicitlyDenied", "ImplicitlyDenied", "ImplicitlyDenied"]
                    }
                    // Pulls from repositories of EKS itself.
                    "AmazonEKSLocalOutpostClusterPolicy" => ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied"],
                    "AmazonEKSWorkerNodePolicy" | "SecurityAudit" | "ViewOnlyAccess" => ["ImplicitlyDenied"; 3],
                    _ => {
                        assert!(!decisions(&judgement).contains(&"ExplicitlyDenied"), "{name}");
                        denied += 1;
                        continue;
                    }
                };
                assert_eq!(decisions(&judgement), expected, "{name}");
                denied += 1;
            }
        }
    }
    assert_eq!((allowed, open, denied), (26, 1, 66));
}

#[test]
fn pull_only_is_enough_and_noted() {
    let pull_only =
        allow(json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]), json!("*"));
    let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("pull", pull_only)]))));
    assert_eq!(judgement.verdict, Verdict::Allow);
    assert_eq!(
        judgement.notes,
        [
            note::SERVICE_ACCOUNT_PULL_ASSUMED,
            note::TRUST_NOT_KNOWN,
            note::NO_REPOSITORY_POLICY_DECLARED,
            note::NO_BATCH_CHECK
        ]
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
    assert_eq!(missing(&judgement), ["repositoryPolicy:arn:aws:ecr:us-east-1:111122223333:repository/team/app"]);
    assert!(!judgement.notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED));

    let login = identity(&[("login", allow(json!("ecr:GetAuthorizationToken"), json!("*")))]);
    let judgement = ask(&team_app(), &role(FOREIGN_ROLE, Some(login)));
    assert_eq!(judgement.verdict, Verdict::Deny);
    assert_eq!(decisions(&judgement), ["Allowed", "ImplicitlyDenied", "ImplicitlyDenied"]);
    assert_eq!(judgement.answers[1].outcome.layer, Some(Layer::Identity));
}

#[test]
fn no_policy_reaches_across_partitions() {
    let all = identity(&[("all", allow(json!("*"), json!("*")))]);
    let chinese = image("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app");
    for declared in [Declared::default(), declared_policy(grants(json!("*"), json!("ecr:*")))] {
        let judgement = ask_with(&chinese, &role(ROLE, Some(Arc::clone(&all))), &declared);
        assert_eq!(judgement.verdict, Verdict::Deny);
        assert_eq!(layers(&judgement), [Some("identity"), Some("resource"), Some("resource")]);
        assert!(judgement.notes.contains(&note::PULLER_OF_OTHER_PARTITION));
    }
    let role_of_china = role("arn:aws-cn:iam::111122223333:role/app", Some(all));
    assert_eq!(ask(&chinese, &role_of_china).verdict, Verdict::Allow);
}

#[test]
fn a_role_without_declared_policies_is_unknown() {
    let judgement = ask(&team_app(), &role(ROLE, None));
    assert_eq!(judgement.verdict, Verdict::Unknown);
    assert_eq!(missing(&judgement), [format!("role:{ROLE}")]);
    assert_eq!(decisions(&judgement), ["Unknown"; 3]);
}

#[test]
fn a_condition_that_cannot_be_known_is_unknown_and_named() {
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]});
    let judgement = ask(&team_app(), &role(ROLE, Some(identity(&[("p", document)]))));
    assert_eq!(judgement.verdict, Verdict::Unknown);
    assert!(
        missing(&judgement).iter().any(|fact| fact.eq_ignore_ascii_case("aws:SourceIp")),
        "{:?}",
        judgement.missing
    );
}

#[test]
fn an_unreadable_policy_is_unknown_beside_what_is_certain() {
    let with = |document: Value| {
        let mut policies = IdentityPolicies::default();
        policies.push(SourcedPolicy::unread("bad", MissingFact::Document("bad".to_owned()), OWN));
        policies.push(SourcedPolicy::new(NamedPolicy::known("good", Policy::from_value(&document).unwrap()), OWN));
        ask(&team_app(), &role(ROLE, Some(Arc::new(policies))))
    };
    // It might deny what the other allows.
    let judgement = with(allow(json!("ecr:*"), json!("*")));
    assert_eq!((judgement.verdict, missing(&judgement)), (Verdict::Unknown, vec!["document:bad".to_owned()]));
    // It cannot allow what the other denies.
    let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]});
    let judgement = with(deny);
    assert_eq!((judgement.verdict, missing(&judgement)), (Verdict::Deny, vec![]));
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

const ARN: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";

fn everything() -> Value {
    allow(json!("ecr:*"), json!("*"))
}

fn login() -> Value {
    allow(json!("ecr:GetAuthorizationToken"), json!("*"))
}

fn base() -> Value {
    allow(json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]), json!("*"))
}

fn by_role(document: Value) -> Puller {
    role(ROLE, Some(identity(&[("p", document)])))
}

fn foreign(document: Value) -> Puller {
    role(FOREIGN_ROLE, Some(identity(&[("p", document)])))
}

fn sourced(name: &str, document: &Value) -> SourcedPolicy {
    SourcedPolicy::new(NamedPolicy::known(name, Policy::from_value(document).unwrap()), OWN)
}

fn resource_policy(statements: Value) -> ResourcePolicy {
    ResourcePolicy::Policy(Box::new(sourced("resource", &json!({"Version": "2012-10-17", "Statement": statements}))))
}

fn grants(principal: Value, action: Value) -> ResourcePolicy {
    resource_policy(json!([{"Effect": "Allow", "Principal": principal, "Action": action}]))
}

/// A policy of a registry, which names resources.
fn registry_policy(effect: &str, action: Value) -> ResourcePolicy {
    resource_policy(json!([{"Effect": effect, "Principal": "*", "Action": action, "Resource": "*"}]))
}

fn entry(policy: Option<ResourcePolicy>, presence: Option<Presence>) -> RepositoryEntry {
    RepositoryEntry { pattern: ArnPattern::new("*"), policy, tags: None, presence }
}

fn registry(policy: Option<ResourcePolicy>, prefixes: &[&str]) -> RegistryEntry {
    RegistryEntry {
        account: "111122223333".into(),
        region: "us-east-1".into(),
        policy,
        scope: RegistryPolicyScope::V2,
        pull_through_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
    }
}

fn declared(repositories: Vec<RepositoryEntry>, registries: Vec<RegistryEntry>) -> Declared {
    Declared { repositories, registries, ..Declared::default() }
}

fn layers(judgement: &PullJudgement) -> Vec<Option<&'static str>> {
    judgement.answers.iter().map(|answer| answer.outcome.layer.map(Layer::as_str)).collect()
}

#[test]
fn across_accounts_both_sides_must_allow() {
    let both = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
    for (principal, verdict) in [
        (json!("*"), Verdict::Allow),
        (json!({"AWS": FOREIGN_ROLE}), Verdict::Allow),
        (json!({"AWS": "arn:aws:iam::444455556666:root"}), Verdict::Allow),
        (json!({"AWS": "444455556666"}), Verdict::Allow),
        (json!({"AWS": "arn:aws:sts::444455556666:assumed-role/app/ecr-credential-provider"}), Verdict::Allow),
        (json!({"AWS": "arn:aws:iam::111122223333:root"}), Verdict::Deny),
        (json!({"AWS": "arn:aws:iam::444455556666:role/other"}), Verdict::Deny),
    ] {
        let declared = declared(vec![entry(Some(grants(principal.clone(), both.clone())), None)], vec![]);
        let judgement = ask_with(&team_app(), &foreign(everything()), &declared);
        assert_eq!(judgement.verdict, verdict, "{principal}");
        assert!(judgement.notes.contains(&note::NO_REGISTRY_POLICY_DECLARED));
        // What the registry's side allows is not enough.
        let judgement = ask_with(&team_app(), &foreign(login()), &declared);
        assert_eq!(judgement.verdict, Verdict::Deny, "{principal}");
    }
    let half = declared(vec![entry(Some(grants(json!("*"), json!("ecr:BatchGetImage"))), None)], vec![]);
    let judgement = ask_with(&team_app(), &foreign(everything()), &half);
    assert_eq!(decisions(&judgement), ["Allowed", "Allowed", "ImplicitlyDenied"]);
    assert_eq!(layers(&judgement), [Some("identity"), Some("identity"), Some("resource")]);
    // The session of a node has a name that nobody knows.
    let sts = json!({"AWS": "arn:aws:sts::444455556666:assumed-role/app/i-0abc"});
    let by_session = declared_policy(grants(sts, both));
    let node = Puller { principal: session(FOREIGN_ROLE, Session::Node), ..foreign(everything()) };
    assert_eq!(ask_with(&team_app(), &node, &by_session).verdict, Verdict::Unknown);
}

fn declared_policy(policy: ResourcePolicy) -> Declared {
    declared(vec![entry(Some(policy), None)], vec![])
}

fn session(arn: &str, session: Session) -> PullerIdentity {
    PullerIdentity { arn: RoleArn::parse(arn).unwrap(), session }
}

#[test]
fn in_one_account_either_side_allows_and_login_is_the_identitys() {
    let both = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
    let by_name = declared_policy(grants(json!({"AWS": ROLE}), both.clone()));
    assert_eq!(ask_with(&team_app(), &by_role(login()), &by_name).verdict, Verdict::Allow);
    let nothing = by_role(allow(json!("s3:*"), json!("*")));
    let judgement = ask_with(&team_app(), &nothing, &by_name);
    assert_eq!(decisions(&judgement), ["ImplicitlyDenied", "Allowed", "Allowed"]);
    // A repository policy that allows login grants none.
    let all = declared_policy(grants(json!("*"), json!("ecr:*")));
    assert_eq!(decisions(&ask_with(&team_app(), &nothing, &all)).first(), Some(&"ImplicitlyDenied"));
    // The account's own root delegates to its identity policies, and no more.
    let root = declared_policy(grants(json!({"AWS": "arn:aws:iam::111122223333:root"}), both));
    assert_eq!(ask_with(&team_app(), &by_role(login()), &root).verdict, Verdict::Deny);
    let deny = resource_policy(json!([{"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}]));
    let judgement = ask_with(&team_app(), &by_role(everything()), &declared_policy(deny));
    assert_eq!(decisions(&judgement), ["Allowed", "ExplicitlyDenied", "Allowed"]);
    assert_eq!(layers(&judgement)[1], Some("resource"));
}

#[test]
fn what_is_said_of_the_repository_policy() {
    let fact = format!("repositoryPolicy:{ARN}");
    for (policy, same, across, noted) in [
        // An entry that says nothing of the policy is as good as none.
        (None, Verdict::Allow, Verdict::Unknown, true),
        // `Unknown` withdraws the assertion that there is none.
        (Some(ResourcePolicy::Unknown), Verdict::Unknown, Verdict::Unknown, false),
    ] {
        let declared = declared(vec![entry(policy.clone(), Some(Presence::Present))], vec![]);
        let judgement = ask_with(&team_app(), &by_role(everything()), &declared);
        assert_eq!(judgement.verdict, same, "{policy:?}");
        assert_eq!(judgement.notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED), noted, "{policy:?}");
        if same == Verdict::Unknown {
            assert_eq!(missing(&judgement), std::slice::from_ref(&fact));
        }
        let judgement = ask_with(&team_app(), &foreign(everything()), &declared);
        assert_eq!((judgement.verdict, missing(&judgement)), (across, vec![fact.clone()]), "{policy:?}");
    }
    // The first entry that matches counts, not the one that says more.
    let first = RepositoryEntry { pattern: ArnPattern::new("*team/*"), ..entry(None, None) };
    let denies = grants(json!("*"), json!("ecr:*"));
    let both = declared(vec![first, entry(Some(denies), None)], vec![]);
    assert!(ask_with(&team_app(), &by_role(everything()), &both).notes.contains(&note::NO_REPOSITORY_POLICY_DECLARED));
}

#[test]
fn a_registry_policy_is_a_second_resource_policy() {
    let both = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
    let with = |policy: Option<ResourcePolicy>, scope| {
        let entry = entry(Some(grants(json!("*"), json!("ecr:DescribeImages"))), None);
        declared(vec![entry], vec![RegistryEntry { scope, ..registry(policy, &[]) }])
    };
    use RegistryPolicyScope::{V1, V2};
    for (policy, scope, same, across) in [
        (registry_policy("Allow", both.clone()), V2, Verdict::Allow, Verdict::Allow),
        // In its first version it decides neither manifests nor layers.
        (registry_policy("Allow", both.clone()), V1, Verdict::Allow, Verdict::Deny),
        (registry_policy("Deny", both.clone()), V2, Verdict::Deny, Verdict::Deny),
        (registry_policy("Deny", both), V1, Verdict::Allow, Verdict::Deny),
        (ResourcePolicy::Unknown, V2, Verdict::Unknown, Verdict::Unknown),
        (ResourcePolicy::Unknown, V1, Verdict::Allow, Verdict::Deny),
    ] {
        let declared = with(Some(policy.clone()), scope);
        let judgement = ask_with(&team_app(), &by_role(everything()), &declared);
        assert_eq!(judgement.verdict, same, "{policy:?} {scope:?}");
        assert!(!judgement.notes.contains(&note::NO_REGISTRY_POLICY_DECLARED));
        assert_eq!(ask_with(&team_app(), &foreign(everything()), &declared).verdict, across, "{policy:?} {scope:?}");
    }
    // Of another region it says nothing.
    let elsewhere = image("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app");
    let denies = with(Some(registry_policy("Deny", json!("ecr:*"))), V2);
    assert_eq!(ask_with(&elsewhere, &by_role(everything()), &denies).verdict, Verdict::Allow);
}

#[test]
fn whether_a_registry_policy_denies_login_is_not_documented() {
    let only_login = registry_policy("Deny", json!("ecr:GetAuthorizationToken"));
    let judgement =
        ask_with(&team_app(), &by_role(everything()), &declared(vec![], vec![registry(Some(only_login.clone()), &[])]));
    assert_eq!(decisions(&judgement), ["Unknown", "Allowed", "Allowed"]);
    assert_eq!(missing(&judgement), ["registryPolicy:111122223333/us-east-1"]);
    // One that denies the rest too denies the pull; an identity that does not allow login denies it anyway.
    let everything_denied = registry_policy("Deny", json!("ecr:*"));
    let denied = declared(vec![], vec![registry(Some(everything_denied), &[])]);
    assert_eq!(ask_with(&team_app(), &by_role(everything()), &denied).verdict, Verdict::Deny);
    let without = by_role(allow(json!("ecr:Batch*"), json!("*")));
    let denied = declared(vec![], vec![registry(Some(only_login.clone()), &[])]);
    assert_eq!(decisions(&ask_with(&team_app(), &without, &denied))[0], "ImplicitlyDenied");
    // It is the registry of the puller's own account that a login is asked of.
    let grant = || vec![entry(Some(grants(json!("*"), json!("ecr:*"))), None)];
    let of_image = declared(grant(), vec![registry(Some(only_login.clone()), &[])]);
    assert_eq!(ask_with(&team_app(), &foreign(everything()), &of_image).verdict, Verdict::Allow);
    let own = RegistryEntry { account: "444455556666".into(), ..registry(Some(only_login), &[]) };
    let of_puller = declared(grant(), vec![own]);
    let judgement = ask_with(&team_app(), &foreign(everything()), &of_puller);
    assert_eq!(missing(&judgement), ["registryPolicy:444455556666/us-east-1"]);
    // What it allows is no login.
    let allows = declared(vec![], vec![registry(Some(registry_policy("Allow", json!("ecr:*"))), &[])]);
    assert_eq!(decisions(&ask_with(&team_app(), &without, &allows))[0], "ImplicitlyDenied");
}

#[test]
fn boundary_and_organization_limit() {
    let bounded = |document: Value| {
        let mut policies = IdentityPolicies::default();
        policies.push(SourcedPolicy::new(NamedPolicy::known("p", Policy::from_value(&everything()).unwrap()), OWN));
        policies.set_boundary(sourced("limit", &document));
        role(ROLE, Some(Arc::new(policies)))
    };
    let judgement = ask(&team_app(), &bounded(allow(json!("s3:*"), json!("*"))));
    assert_eq!(layers(&judgement), [Some("boundary"); 3]);
    assert_eq!(ask(&team_app(), &bounded(everything())).verdict, Verdict::Allow);

    let level = |name: &str, documents: &[Value]| PolicyLevel {
        level: name.to_owned(),
        policies: documents.iter().map(|document| sourced(name, document)).collect(),
    };
    let organization = |scps, rcps| Declared { organization: Organization { scps, rcps }, ..Declared::default() };
    let all = allow(json!("*"), json!("*"));
    let deny = |action: &str| {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}]})
    };
    let scp = |action: &str| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}]});
    let verdict = |declared: &Declared| {
        let judgement = ask_with(&team_app(), &by_role(everything()), declared);
        let layer = judgement.answers.iter().find(|answer| answer.is_denied()).map(|answer| answer.outcome.layer);
        (judgement.verdict, layer.flatten())
    };
    let open = level("root", std::slice::from_ref(&all));
    assert_eq!(verdict(&organization(vec![open.clone()], vec![])), (Verdict::Allow, None));
    // Every level must allow.
    let narrow = level("ou", &[allow(json!("s3:*"), json!("*"))]);
    assert_eq!(verdict(&organization(vec![open.clone(), narrow], vec![])), (Verdict::Deny, Some(Layer::Scp)));
    let guard = level("ou", &[all, scp("ecr:GetAuthorizationToken")]);
    assert_eq!(verdict(&organization(vec![open, guard], vec![])), (Verdict::Deny, Some(Layer::Scp)));
    let rcp = |action| organization(vec![], vec![level("root", &[deny(action)])]);
    assert_eq!(verdict(&rcp("ecr:BatchGetImage")), (Verdict::Deny, Some(Layer::Rcp)));
    assert_eq!(verdict(&rcp("ecr:GetAuthorizationToken")), (Verdict::Deny, Some(Layer::Rcp)));
    // A login is asked in the puller's account, to which the policies of the registry's account do not apply.
    let mut across = rcp("ecr:GetAuthorizationToken");
    across.repositories = vec![entry(Some(grants(json!("*"), json!("ecr:*"))), None)];
    assert_eq!(ask_with(&team_app(), &foreign(everything()), &across).verdict, Verdict::Allow);
}

/// RES-11: presence, whether a cache rule covers the repository, what is granted, verdict.
#[test]
fn presence_and_the_cache() {
    use Presence::{Missing, Present};
    use Verdict::{Allow, Deny, Unknown};
    let imports = allow(
        json!([
            "ecr:GetAuthorizationToken",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchImportUpstreamImage"
        ]),
        json!("*"),
    );
    let (base, all, some) = (base(), everything(), imports);
    let hub = image(&format!("{REGISTRY}/hub/library/nginx"));
    for (presence, covered, document, verdict, existence, asked) in [
        (None, false, &base, Allow, Existence::Settled, 3),
        (Some(Present), false, &base, Allow, Existence::Settled, 3),
        (Some(Missing), false, &all, Deny, Existence::NotFound, 3),
        (Some(Present), true, &base, Allow, Existence::Settled, 3),
        (Some(Missing), true, &base, Deny, Existence::Settled, 5),
        (Some(Missing), true, &some, Deny, Existence::Settled, 5),
        (Some(Missing), true, &all, Allow, Existence::Settled, 5),
        (None, true, &all, Allow, Existence::Settled, 5),
        (None, true, &some, Unknown, Existence::OnlyIfCached, 5),
        (None, true, &base, Unknown, Existence::OnlyIfCached, 5),
        (None, true, &login(), Deny, Existence::Settled, 5),
    ] {
        let prefixes: &[&str] = if covered { &["hub"] } else { &["other"] };
        let declared = declared(vec![entry(None, presence)], vec![registry(None, prefixes)]);
        let judgement = ask_with(&hub, &by_role(document.clone()), &declared);
        let case = format!("{presence:?} {covered} {document}");
        assert_eq!(
            (judgement.verdict, judgement.existence, judgement.answers.len()),
            (verdict, existence, asked),
            "{case}"
        );
        let presence_fact = vec![format!("presence:{}", hub.arn())];
        assert_eq!(missing(&judgement), if verdict == Unknown { presence_fact } else { vec![] }, "{case}");
        let noted = covered && presence == Some(Present);
        assert_eq!(judgement.notes.contains(&note::NO_IMPORT), noted, "{case}");
    }
}

#[test]
fn what_may_fill_the_cache() {
    let hub = image(&format!("{REGISTRY}/hub/library/nginx"));
    let import = json!("ecr:BatchImportUpstreamImage");
    let both = json!(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]);
    for (repository, of_registry, scope, expected) in [
        // A repository policy grants imports, and does not exist before its repository.
        (Some(grants(json!("*"), both.clone())), None, RegistryPolicyScope::V2, ["Allowed", "ImplicitlyDenied"]),
        (None, Some(registry_policy("Allow", both.clone())), RegistryPolicyScope::V2, ["Allowed", "Allowed"]),
        (None, Some(registry_policy("Allow", both.clone())), RegistryPolicyScope::V1, ["Allowed", "Allowed"]),
        (None, Some(registry_policy("Allow", import)), RegistryPolicyScope::V2, ["Allowed", "ImplicitlyDenied"]),
        (None, None, RegistryPolicyScope::V2, ["ImplicitlyDenied", "ImplicitlyDenied"]),
    ] {
        let registry = RegistryEntry { scope, ..registry(of_registry, &["hub"]) };
        let declared = declared(vec![entry(repository, Some(Presence::Missing))], vec![registry]);
        let judgement = ask_with(&hub, &by_role(base()), &declared);
        assert_eq!(decisions(&judgement).get(3..), Some(expected.as_slice()), "{declared:?}");
    }
    // Across accounts nobody knows what a registry allows that was not declared.
    let cached = declared(vec![], vec![registry(None, &["hub"])]);
    let judgement = ask_with(&hub, &foreign(everything()), &cached);
    assert_eq!(decisions(&judgement), ["Allowed", "Unknown", "Unknown", "Unknown", "Unknown"]);
    assert!(
        missing(&judgement).contains(&"registryPolicy:111122223333/us-east-1".to_owned()),
        "{:?}",
        judgement.missing
    );
}

#[test]
fn tags_decide_where_they_are_known() {
    let by_tag = |key: &str| {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"StringEquals": {key: "gold"}}}]})
    };
    let tags = |value: &str| BTreeMap::from([("tier".to_owned(), value.to_owned())]);
    let repository = by_tag("aws:ResourceTag/tier");
    for (known, verdict) in [
        (None, Verdict::Unknown),
        (Some(tags("gold")), Verdict::Allow),
        (Some(tags("lead")), Verdict::Deny),
        (Some(BTreeMap::new()), Verdict::Deny),
    ] {
        let entry = RepositoryEntry { tags: known.clone(), ..entry(None, None) };
        let judgement = ask_with(&team_app(), &by_role(repository.clone()), &declared(vec![entry], vec![]));
        assert_eq!(judgement.verdict, verdict, "{known:?}");
        let mut policies = IdentityPolicies::default();
        let document = by_tag("aws:PrincipalTag/tier");
        policies.push(SourcedPolicy::new(NamedPolicy::known("p", Policy::from_value(&document).unwrap()), OWN));
        if let Some(tags) = known.clone() {
            policies.set_tags(tags);
        }
        assert_eq!(ask(&team_app(), &role(ROLE, Some(Arc::new(policies)))).verdict, verdict, "{known:?}");
    }
    // A repository that is not there yet has no tags, whatever the entry says of its like.
    let gone = RepositoryEntry { tags: Some(tags("gold")), ..entry(None, Some(Presence::Missing)) };
    let hub = image(&format!("{REGISTRY}/hub/library/nginx"));
    let judgement = ask_with(&hub, &by_role(repository), &declared(vec![gone], vec![registry(None, &["hub"])]));
    assert_eq!(decisions(&judgement)[1..], ["ImplicitlyDenied"; 4]);
}

#[test]
fn alternatives_must_agree() {
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}}}]});
    let within = |values: &[&str]| {
        let mut declared = Declared::default();
        declared.context.set("AWS:SourceVpc", values.iter().map(|value| (*value).to_owned()).collect());
        let judgement = ask_with(&team_app(), &by_role(document.clone()), &declared);
        (judgement.verdict, missing(&judgement))
    };
    assert_eq!(within(&["vpc-1"]), (Verdict::Allow, vec![]));
    assert_eq!(within(&["vpc-1", "vpc-2"]), (Verdict::Allow, vec![]));
    assert_eq!(within(&["vpc-1", "vpc-3"]), (Verdict::Unknown, vec!["AWS:SourceVpc".to_owned()]));
    assert_eq!(within(&["vpc-3", "vpc-4"]), (Verdict::Deny, vec![]));
    assert_eq!(within(&[]), (Verdict::Deny, vec![]));
}

#[test]
fn further_needs_are_asked_beside_the_pull() {
    let judgement = judge(
        &team_app(),
        &by_role(allow(json!(["ecr:Get*", "ecr:Batch*", "ecr:List*"]), json!("*"))),
        &Declared::default(),
        &[Need::Pull, Need::List, Need::Push],
        at(),
    );
    assert_eq!(judgement.verdict, Verdict::Deny);
    let refused: Vec<_> = judgement
        .answers
        .iter()
        .filter(|answer| answer.is_denied())
        .map(|answer| (answer.request.action, answer.request.need))
        .collect();
    assert_eq!(
        refused,
        [
            ("ecr:InitiateLayerUpload", Need::Push),
            ("ecr:UploadLayerPart", Need::Push),
            ("ecr:CompleteLayerUpload", Need::Push),
            ("ecr:PutImage", Need::Push)
        ]
    );
}

#[test]
fn what_is_certain_without_the_role_is_certain() {
    let puller = role(ROLE, None);
    let deny = resource_policy(json!([{"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}]));
    assert_eq!(ask_with(&team_app(), &puller, &declared_policy(deny)).verdict, Verdict::Deny);
    let allow = grants(json!("*"), json!("ecr:*"));
    assert_eq!(ask_with(&team_app(), &puller, &declared_policy(allow)).verdict, Verdict::Unknown);
    let gone = declared(vec![entry(None, Some(Presence::Missing))], vec![]);
    assert_eq!(ask_with(&team_app(), &puller, &gone).existence, Existence::NotFound);
}

#[test]
fn decisions_change_with_time() {
    let until = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        "Condition": {"DateLessThan": {"aws:CurrentTime": "2027-01-01T00:00:00Z"}}}]});
    let end: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let (image, puller, nothing) = (team_app(), by_role(until.clone()), Declared::default());
    let evaluator = PullEvaluator::new(&puller, &nothing, at());
    let judgement = evaluator.judge(&image, &[Need::Pull]);
    assert_eq!((judgement.verdict, judgement.reads_clock), (Verdict::Allow, true));
    let mut budget = Budget(1000);
    let mut timeline = Timeline::new(&evaluator, &image, &judgement, false, &mut budget).unwrap();
    let mut look = |at| timeline.look(at, &mut budget).map(|lasting| (lasting.what.verdict, lasting.until)).unwrap();
    assert_eq!(look(at()), (Verdict::Allow, Some(end)));
    // One second later than its end a date may make a difference once more; here it does not.
    let second = end + jiff::SignedDuration::from_secs(1);
    assert_eq!(look(end), (Verdict::Deny, Some(second)));
    assert_eq!(look(second), (Verdict::Deny, None));
    assert_eq!(judge(&image, &puller, &nothing, &[Need::Pull], end).verdict, Verdict::Deny);
    let mut little = Budget(2);
    assert!(Timeline::new(&evaluator, &image, &judgement, false, &mut little).is_none());
    // A time that is declared stands still.
    let mut still = Declared::default();
    still.context.set("aws:CurrentTime", vec!["2026-12-01T00:00:00Z".to_owned()]);
    assert!(!ask_with(&team_app(), &by_role(until), &still).reads_clock);
    assert!(!ask(&team_app(), &by_role(everything())).reads_clock);
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
