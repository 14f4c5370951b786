//! Who can pull what, through the public interface alone: policies and pods as manifests have them, verdicts out.

use ecr_forecast::cluster::Subject;
use ecr_forecast::forecast;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Admission, Options, Verdict};
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::report::Report;
use serde_json::{Value, json};

/// The example "Accessing One Amazon ECR Repository" of the AWS page "Amazon Elastic Container Registry Identity-Based
/// Policy Examples".
const ONE_REPOSITORY: &str = r#"{
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "ListImagesInRepository", "Effect": "Allow", "Action": ["ecr:ListImages"],
         "Resource": "arn:aws:ecr:us-east-1:123456789012:repository/my-repo"},
        {"Sid": "GetAuthorizationToken", "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"},
        {"Sid": "ManageRepositoryContents", "Effect": "Allow",
         "Action": ["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer",
            "ecr:GetRepositoryPolicy", "ecr:DescribeRepositories", "ecr:ListImages", "ecr:DescribeImages",
            "ecr:BatchGetImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"],
         "Resource": "arn:aws:ecr:us-east-1:123456789012:repository/my-repo"}
    ]
}"#;

/// The example "Using the Amazon ECR Console" of the same page.
const CONSOLE: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [
    "ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer",
    "ecr:GetRepositoryPolicy", "ecr:DescribeRepositories", "ecr:ListImages", "ecr:DescribeImages", "ecr:BatchGetImage"],
    "Resource": "*"}]}"#;

/// What names the role that pulls, of the account that the repositories belong to.
const ANNOTATED: &[(&str, &str)] = &[("eks.amazonaws.com/ecr-role-arn", "arn:aws:iam::123456789012:role/app")];

/// A cluster with one namespace `shop`, one service account `web` and one policy for it.
fn cluster(puller: Value, annotations: &[(&str, &str)]) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.put_namespace("shop".into(), [].into());
    inventory.put_service_account(ServiceAccountFacts {
        namespace: "shop".into(),
        name: "web".into(),
        annotations: annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..ServiceAccountFacts::default()
    });
    let object = json!({"apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
        "metadata": {"name": "pull", "namespace": "shop"},
        "spec": {"serviceAccounts": {"names": ["web"]}, "puller": puller}});
    inventory.put_policy(PolicyObject::from_json(object).expect("a policy object"));
    inventory
}

fn identity(document: &str) -> Value {
    json!({"policies": [{"name": "app", "document": document}]})
}

fn pull(inventory: &Inventory, image: &str) -> Report {
    let pod = json!({"metadata": {"name": "web-0", "namespace": "shop"},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "web", "image": image}]}});
    let subject = Subject::from_pod(&pod).expect("a pod");
    let at = "2026-11-23T00:00:00Z".parse().expect("a time");
    forecast(inventory, &subject, at, &Options::default())
}

fn repository(name: &str) -> String {
    format!("123456789012.dkr.ecr.us-east-1.amazonaws.com/{name}:1")
}

fn cause(report: &Report) -> String {
    report.images[0].cause.map(|cause| cause.to_string()).unwrap_or_default()
}

#[test]
fn the_example_for_one_repository() {
    for puller in [
        json!({"serviceAccount": {"identity": identity(ONE_REPOSITORY)}}),
        json!({"role": {"arn": "arn:aws:iam::123456789012:role/node", "identity": identity(ONE_REPOSITORY)}}),
    ] {
        let inventory = cluster(puller, ANNOTATED);
        let report = pull(&inventory, &repository("my-repo"));
        assert_eq!((report.verdict, report.admission), (Verdict::Allow, Admission::Admitted));
        for other in ["my-other-repo", "my-repo2", "my-rep", "my-repo/app"] {
            let report = pull(&inventory, &repository(other));
            assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Rejected), "{other}");
            assert_eq!(cause(&report), "RepositoryNotInResource", "{other}");
            let line = report.denial_message().lines().next().unwrap_or_default().to_owned();
            assert!(line.contains("ecr:BatchGetImage") && line.contains(&format!("repository/{other}")), "{line}");
        }
        // Another region or account is another repository.
        let report = pull(&inventory, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/my-repo");
        assert_eq!(report.verdict, Verdict::Deny);
    }
}

#[test]
fn login_on_a_repository_grants_nothing() {
    let mut document: Value = serde_json::from_str(ONE_REPOSITORY).expect("JSON");
    let statements = document["Statement"].as_array_mut().expect("a list");
    statements.retain(|statement| statement["Sid"] != "GetAuthorizationToken");
    let puller = json!({"serviceAccount": {"identity": identity(&document.to_string())}});
    let report = pull(&cluster(puller, ANNOTATED), &repository("my-repo"));
    assert_eq!(report.verdict, Verdict::Deny);
    assert_eq!(cause(&report), "TokenOnRepository");
    assert!(
        report.denial_message().contains(r#"{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}"#)
    );
}

#[test]
fn the_example_for_the_console_can_pull() {
    let puller = json!({"serviceAccount": {"identity": identity(CONSOLE)}});
    assert_eq!(pull(&cluster(puller, ANNOTATED), &repository("anything/at/all")).verdict, Verdict::Allow);
}

#[test]
fn the_role_that_the_annotation_names_decides_the_account() {
    let key = "eks.amazonaws.com/ecr-role-arn";
    let puller = || json!({"serviceAccount": {"identity": identity(CONSOLE)}});
    let own = pull(&cluster(puller(), ANNOTATED), &repository("my-repo"));
    assert_eq!(own.verdict, Verdict::Allow);
    assert_eq!(own.images[0].candidates[0].principal, "arn:aws:iam::123456789012:role/app");
    // The annotation for containers plays no part in pulls.
    let irsa = pull(
        &cluster(puller(), &[("eks.amazonaws.com/role-arn", "arn:aws:iam::999999999999:role/app")]),
        &repository("my-repo"),
    );
    assert_eq!((irsa.verdict, cause(&irsa).as_str()), (Verdict::Unknown, "IrsaRoleDoesNotPull"));
    assert!(irsa.images[0].candidates.is_empty());
    // Across accounts the repository policy has a say, and is not known.
    let foreign = pull(&cluster(puller(), &[(key, "arn:aws:iam::999999999999:role/app")]), &repository("my-repo"));
    assert_eq!((foreign.verdict, cause(&foreign).as_str()), (Verdict::Unknown, "RepositoryPolicyNotKnown"));
    let refused = json!({"serviceAccount": {"identity": identity(ONE_REPOSITORY)}});
    let refused = pull(&cluster(refused, &[(key, "arn:aws:iam::999999999999:role/app")]), &repository("my-other-repo"));
    assert_eq!(refused.verdict, Verdict::Deny);
}

#[test]
fn managed_policies_by_arn() {
    let with = |name: &str, partition: &str, image: &str| {
        let arn = format!("arn:{partition}:iam::aws:policy/{name}");
        let role = format!("arn:{partition}:iam::123456789012:role/node");
        let identity = json!({"policies": [{"name": "managed", "managedPolicyArn": arn}]});
        pull(&cluster(json!({"role": {"arn": role, "identity": identity}}), &[]), image)
    };
    let image = repository("my-repo");
    for (name, verdict, expected) in [
        ("AmazonEC2ContainerRegistryPullOnly", Verdict::Allow, ""),
        ("AmazonEC2ContainerRegistryReadOnly", Verdict::Allow, ""),
        ("ReadOnlyAccess", Verdict::Allow, ""),
        ("PowerUserAccess", Verdict::Allow, ""),
        ("AmazonEKSWorkerNodePolicy", Verdict::Deny, "NoPolicyGrantsPull"),
        ("SecurityAudit", Verdict::Deny, "NoPolicyGrantsPull"),
        ("AWSCompromisedKeyQuarantineV3", Verdict::Deny, "ExplicitDeny"),
        ("service-role/ROSAWorkerInstancePolicy", Verdict::Unknown, "ConditionNotKnown"),
        ("NoSuchPolicy", Verdict::Unknown, "ManagedPolicyNotFound"),
    ] {
        let report = with(name, "aws", &image);
        assert_eq!((report.verdict, cause(&report).as_str()), (verdict, expected), "{name}");
    }
    let pull_only = "AmazonEC2ContainerRegistryPullOnly";
    assert!(with(pull_only, "aws", &image).notes.contains(&"NoBatchCheckLayerAvailability"));
    let china = with(pull_only, "aws-cn", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/my-repo");
    assert_eq!(china.verdict, Verdict::Allow);
    assert!(china.notes.contains(&"ManagedPolicyOfOtherPartition"));
}

#[test]
fn ecr_public_needs_no_permission() {
    let puller = json!({"serviceAccount": {"identity": identity(ONE_REPOSITORY)}});
    let inventory = cluster(puller, ANNOTATED);
    assert_eq!(pull(&inventory, "public.ecr.aws/docker/library/nginx:1").verdict, Verdict::Allow);
    // A path that looks public is private all the same.
    assert_eq!(pull(&inventory, &repository("public.ecr.aws/foo")).verdict, Verdict::Deny);
}

#[test]
fn a_document_may_be_a_mapping_or_its_text() {
    let text = json!({"role": {"arn": "arn:aws:iam::123456789012:role/node", "identity": identity(ONE_REPOSITORY)}});
    let mut mapping = text.clone();
    mapping["role"]["identity"]["policies"][0]["document"] = serde_json::from_str(ONE_REPOSITORY).expect("JSON");
    for image in [repository("my-repo"), repository("my-other-repo")] {
        assert_eq!(pull(&cluster(text.clone(), &[]), &image), pull(&cluster(mapping.clone(), &[]), &image));
    }
}
