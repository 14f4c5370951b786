//! What a user reads, for every cause: golden files in `tests/data/messages`, which hold the refusal (or the warning)
//! of one pod each, and in `tests/data/warnings`, which hold what is said to whoever applies a Deployment of such pods.
//! `UPDATE_GOLDEN=1 cargo test --test it messages` rewrites them; read the diff as a stranger would.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ecr_forecast::cluster::Subject;
use ecr_forecast::facts::CauseCode;
use ecr_forecast::forecast;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict, note};
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::report::{MAX_LINE, MAX_MESSAGE, Report};
use fixtures::ROLE;
use golden::Goldens;
use serde_json::{Value, json};

const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";
const OTHER: &str = "arn:aws:iam::444455556666:role/app";

/// A pod and the world around it.
struct Case {
    spec: Value,
    /// None: the service account was not seen.
    annotations: Option<Value>,
    image: String,
    secrets: bool,
}

impl Case {
    fn new(spec: Value) -> Self {
        let image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1.4.2".to_owned();
        Self { spec, annotations: Some(json!({})), image, secrets: false }
    }

    fn annotated(mut self, annotations: Value) -> Self {
        self.annotations = Some(annotations);
        self
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    fn report(&self) -> Report {
        judge("Pod", "payments", "api-5f7d8b9c6-x2x7p", "app", self)
    }
}

fn judge(kind: &str, namespace: &str, name: &str, container: &str, case: &Case) -> Report {
    let mut inventory = Inventory::default();
    inventory.put_namespace(namespace.into(), [].into());
    if let Some(annotations) = &case.annotations {
        let account = json!({"metadata": {"namespace": namespace, "name": "api", "annotations": annotations}});
        inventory.put_service_account(ServiceAccountFacts::from_json(&account).unwrap());
    }
    let policy = fixtures::policy("pull").metadata("namespace", namespace).spec(case.spec.clone());
    inventory.put_policy(PolicyObject::from_json(policy.object()).unwrap());
    let secrets = if case.secrets { json!([{"name": "registry"}]) } else { json!([]) };
    let spec = json!({"serviceAccountName": "api", "imagePullSecrets": secrets,
        "containers": [{"name": container, "image": case.image}]});
    let object = |spec: Value| json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec});
    let subject = match kind {
        "Pod" => Subject::from_pod(&object(spec)).unwrap(),
        _ => Subject::from_workload(&object(json!({"template": {"spec": spec}}))).unwrap().unwrap(),
    };
    forecast(&inventory, &subject, "2026-11-23T00:00:00Z".parse().unwrap(), &Options::default())
}

fn identity(statements: Value) -> Value {
    fixtures::identity("app-pull", statements)
}

fn role(arn: &str, statements: Value) -> Value {
    json!({"puller": {"role": {"arn": arn, "identity": identity(statements)}}})
}

fn pull(resource: &str) -> Value {
    fixtures::pulls_of(resource)
}

fn everything() -> Value {
    json!({"Effect": "Allow", "Action": "*", "Resource": "*"})
}

fn nothing() -> Value {
    json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})
}

fn when(condition: Value) -> Value {
    json!([pull("*")[0], {"Sid": "Pull", "Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": condition}])
}

fn document(statement: Value) -> Value {
    json!({"document": fixtures::document(statement)})
}

fn cached(presence: &str) -> Value {
    json!([{"match": REPOSITORY, "presence": presence}])
}

fn registry() -> Value {
    json!([{"accountId": "111122223333", "pullThroughCache": [{"prefix": "team"}]}])
}

fn scp(statement: Value) -> Value {
    let full = "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess";
    let mut services = document(statement);
    services["name"] = json!("services");
    json!({"serviceControlPolicies": [
        {"level": "root", "policies": [{"name": "FullAWSAccess", "managedPolicyArn": full}]},
        {"level": "workloads", "policies": [services]}]})
}

/// The case of a code.
fn case(code: CauseCode) -> Case {
    use CauseCode as C;
    let ecr_role = "eks.amazonaws.com/ecr-role-arn";
    let by_account = |rest: Value| Case::new(json!({"puller": {"serviceAccount": rest}}));
    let mut case = match code {
        C::RepositoryNotInResource => Case::new(role(ROLE, pull("arn:aws:ecr:eu-west-1:111122223333:repository/team/*"))),
        C::ActionNotGranted => Case::new(role(ROLE, json!([pull("*")[0], {"Sid": "Images", "Effect": "Allow", "Action": "ecr:Batch*", "Resource": "*"}]))),
        C::NoPolicyGrantsPull => Case::new(role(ROLE, nothing())),
        C::ExplicitDeny => Case::new(role(ROLE, everything())).with(
            "organization",
            scp(json!([everything(), {"Sid": "RegionGuard", "Effect": "Deny", "NotAction": "iam:*", "Resource": "*",
                "Condition": {"StringNotEquals": {"aws:RequestedRegion": "eu-central-1"}}}])),
        ),
        C::TokenOnRepository => Case::new(role(ROLE, json!({"Sid": "Pull", "Effect": "Allow", "Action": "ecr:*", "Resource": REPOSITORY}))),
        C::ConditionNotMet => Case::new(role(ROLE, when(json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}})))),
        C::TagMissing => Case::new(role(ROLE, when(json!({"StringEquals": {"aws:ResourceTag/team": "payments"}}))))
            .with("repositories", json!([{"match": REPOSITORY, "tags": {}}])),
        C::ImportNotAllowed => Case::new(role(ROLE, pull("*")))
            .with("repositories", cached("Missing"))
            .with("registries", registry()),
        C::BoundaryDoesNotAllow => {
            let mut spec = role(ROLE, everything());
            spec["puller"]["role"]["identity"]["permissionsBoundary"] =
                json!({"managedPolicyArn": "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"});
            Case::new(spec)
        }
        C::ScpDoesNotAllow => Case::new(role(ROLE, everything())).with("organization", scp(nothing())),
        C::RepositoryPolicyDoesNotAllow => Case::new(role(OTHER, everything())).with(
            "repositories",
            json!([{"match": REPOSITORY, "policy": document(json!({"Sid": "Partners", "Effect": "Allow", "Action": "ecr:*",
                "Principal": {"AWS": "arn:aws:iam::777788889999:root"}}))}]),
        ),
        C::RegistryPolicyDoesNotAllow => Case::new(role(OTHER, everything()))
            .with(
                "repositories",
                json!([{"match": REPOSITORY, "presence": "Missing",
                    "policy": document(json!({"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}))}]),
            )
            .with("registries", json!([{"accountId": "111122223333", "pullThroughCache": [{"prefix": "team"}],
                "policy": document(json!({"Sid": "Import", "Effect": "Allow", "Principal": {"AWS": OTHER},
                    "Action": "ecr:BatchImportUpstreamImage", "Resource": "*"}))}])),
        C::PullerOfOtherPartition => Case::new(role("arn:aws-cn:iam::111122223333:role/app", everything())),
        C::IrsaRoleDoesNotPull => Case::new(json!({"puller": {"nodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity":
                {"policies": [{"name": "worker", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"}]}}]}}))
            .annotated(json!({"eks.amazonaws.com/role-arn": ROLE})),
        C::AnnotationAlmostRight => by_account(json!({"identity": identity(pull("*")),
            "fallbackNodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity": identity(nothing())}]}))
        .annotated(json!({"eks.amazonaws.com/ecr-role": ROLE})),
        C::RightsOnAnotherRole => by_account(json!({"roles": [{"arn": ROLE, "identity": identity(pull("*"))}],
            "fallbackNodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity": identity(nothing())}]})),
        C::RepositoryNotFound => Case::new(role(ROLE, pull("*"))).with("repositories", cached("Missing")),
        C::OnlyIfCached => Case::new(role(ROLE, pull("*"))).with("registries", registry()),
        C::InvalidImage => Case::new(role(ROLE, pull("*"))),
        C::PullSecret => Case::new(role(ROLE, nothing())),
        C::NoCredentials => by_account(json!({"fallsBackToNode": false})),
        C::AnnotationIsNoRole => by_account(json!({})).annotated(json!({ecr_role: "arn:aws:iam::111122223333:user/app"})),
        C::NodePulls => by_account(json!({"identity": identity(pull("*"))})),
        C::HostNotMatchedByProvider => Case::new(role(ROLE, pull("*"))),
        C::CandidatesDiffer => Case::new(json!({"puller": {"nodes": [
            {"arn": "arn:aws:iam::111122223333:role/node-a", "identity": identity(pull("*"))},
            {"arn": "arn:aws:iam::111122223333:role/node-b", "identity": identity(json!([pull("*")[0]]))}]}})),
        C::RoleNotInInventory => Case::new(json!({"puller": {"role": {"arn": ROLE}}})),
        C::ServiceAccountNotFound => by_account(json!({"identity": identity(pull("*"))})),
        C::SelectionNotKnown => Case::new(role(ROLE, pull("*")))
            .with("serviceAccounts", json!({"selector": {"matchLabels": {"team": "payments"}}})),
        C::UnsupportedSpec => Case::new(json!({"puller": {"role": {"arn": ROLE}}, "future": true})),
        C::DocumentMalformed => Case::new(role(ROLE, json!({"Effect": "allow", "Action": "*", "Resource": "*"}))),
        C::DocumentTooDeep => {
            let deep = (0..70).fold(json!("*"), |inner, _| json!([inner]));
            Case::new(role(ROLE, json!({"Effect": "Allow", "Action": "*", "Resource": deep})))
        }
        C::ManagedPolicyNotFound => Case::new(json!({"puller": {"role": {"arn": ROLE, "identity":
            {"policies": [{"name": "ours", "managedPolicyArn": "arn:aws:iam::111122223333:policy/ours"}]}}}})),
        C::ConfigMapNotFound => Case::new(json!({"puller": {"role": {"arn": ROLE, "identity":
            {"policies": [{"name": "shared", "configMapKeyRef": {"name": "iam-policies", "key": "app.json"}}]}}}})),
        C::RepositoryPolicyNotKnown => Case::new(role(OTHER, everything())),
        C::RegistryPolicyNotKnown => Case::new(role(ROLE, everything()))
            .with("registries", json!([{"accountId": "111122223333", "policy": "Unknown"}])),
        C::PrincipalNotKnown => {
            let session = "arn:aws:sts::111122223333:assumed-role/app/i-0123456789abcdef0";
            Case::new(json!({"puller": {"nodes": [{"arn": ROLE, "identity": identity(everything())}]}})).with(
                "repositories",
                json!([{"match": REPOSITORY, "policy": document(json!({"Effect": "Deny", "Principal": {"AWS": session}, "Action": "ecr:*"}))}]),
            )
        }
        C::ConditionNotKnown => Case::new(role(ROLE, when(json!({"StringEquals": {"aws:SourceVpc": "vpc-0abc"}})))),
    };
    match code {
        C::InvalidImage => case.image = case.image.replace("team/app", "Team/App"),
        C::HostNotMatchedByProvider => case.image = case.image.replace(".com/", ".com:443/"),
        C::PullSecret => case.secrets = true,
        C::ServiceAccountNotFound | C::SelectionNotKnown => case.annotations = None,
        _ => {}
    }
    case
}

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder)
}

/// What the limits of a message say, whatever it tells.
fn hold_limits(name: &str, message: &str) {
    let line = message.lines().next().unwrap();
    assert!(line.len() <= MAX_LINE, "{name}: {} bytes: {line}", line.len());
    assert!(message.len() <= MAX_MESSAGE, "{name}: {} bytes: {message}", message.len());
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!message.contains(control), "{name}: {message:?}");
}

#[test]
fn the_message_of_every_cause() {
    let mut goldens = Goldens::default();
    for &code in CauseCode::ALL {
        let report = case(code).report();
        let image = &report.images[0];
        assert_eq!(image.cause, Some(code), "{}", image.message);
        assert!(matches!(image.verdict, Verdict::Deny | Verdict::Unknown), "{code}");
        let message = report.denial_message();
        assert_eq!(message, image.message, "{code}");
        hold_limits(&code.to_string(), &message);
        let line = message.lines().next().unwrap();
        assert!(line.ends_with(&format!(" [{code}]")), "{code}: {line}");
        assert!(line.starts_with("Pod payments/api-5f7d8b9c6-x2x7p, container app: "), "{code}: {line}");
        assert_eq!(message.contains("\nfix: "), !image.fix.is_empty(), "{code}: {message}");
        if image.verdict == Verdict::Deny {
            assert!(!image.fix.is_empty(), "{code}: every Deny has a fix");
        }
        if report.admission == ecr_forecast::judge::Admission::Warned {
            // A warning is a line, and of what is missing in the cluster itself the way out is another one.
            let way_out = message.lines().last().filter(|_| code == CauseCode::ConfigMapNotFound);
            assert_eq!(report.warnings(), [line].into_iter().chain(way_out).collect::<Vec<_>>(), "{code}");
        }
        goldens.hold(data("messages").join(format!("{code}.txt")), &format!("{message}\n"));
    }
    goldens.finish();
    assert_eq!(names(&data("messages")), codes_and(&["longest"]));
}

/// Causes that a service account alone can mend which may be applied after the workload.
const ACCOUNT_TO_COME: [CauseCode; 2] = [CauseCode::ServiceAccountNotFound, CauseCode::SelectionNotKnown];

/// What kubectl prints to whoever applies a Deployment.
fn warnings(report: &Report) -> String {
    let warnings = report.warnings();
    for warning in &warnings {
        assert!(warning.len() <= MAX_LINE, "{} bytes: {warning}", warning.len());
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    assert!(warnings.iter().map(String::len).sum::<usize>() <= 4096, "the API server would cut them");
    warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect()
}

#[test]
fn the_warnings_for_a_deployment_of_every_cause() {
    let mut goldens = Goldens::default();
    for &code in CauseCode::ALL {
        let report = judge("Deployment", "payments", "api", "app", &case(code));
        let text = warnings(&report);
        let verdict = report.images[0].verdict;
        assert_eq!(text.is_empty(), ACCOUNT_TO_COME.contains(&code), "{code}: {text}");
        assert!(
            text.is_empty() || text.starts_with("Warning: Deployment payments/api, container app: "),
            "{code}: {text}"
        );
        // By the defaults a pod is refused for a Deny alone.
        let refused =
            text.contains("\nWarning: Deployment payments/api is admitted, but its pods will be refused; fix: ");
        assert_eq!(refused, verdict == Verdict::Deny, "{code}: {text}");
        goldens.hold(data("warnings").join(format!("{code}.txt")), &text);
    }
    // What is admitted by an exemption, with nothing else wrong.
    for (name, kind) in [("exempted-pod", "Pod"), ("exempted-deployment", "Deployment")] {
        let exemption = json!({"name": "legacy-images", "images": ["*/team/*"], "expiresAt": "2027-03-31T00:00:00Z",
            "reason": "On the nodes' disks until the registry has moved, PLAT-1042"});
        let case = case(CauseCode::NoPolicyGrantsPull).with("exemptions", json!([exemption]));
        let text = warnings(&judge(kind, "payments", "api", "app", &case));
        assert_eq!(text.lines().count(), 2, "{text}");
        goldens.hold(data("warnings").join(format!("{name}.txt")), &text);
    }
    goldens.finish_folder(data("warnings"));
}

/// The longest names that the API server and AWS take.
#[test]
fn the_message_with_the_longest_names() {
    let long = |length: usize| "n".repeat(length);
    let role = format!("arn:aws-us-gov:iam::111122223333:role/{}/{}", "p".repeat(510), long(64));
    let host = "111122223333.dkr.ecr.us-gov-west-1.amazonaws.com";
    let mut case = Case::new(json!({"puller": {"role": {"arn": role, "identity": {"policies": [{"name": long(128),
        "document": {"Statement": {"Sid": long(200), "Effect": "Allow", "Action": "ecr:*", "Resource": format!("arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/{}", long(255))}}}]}}}}));
    case.image = format!("{host}/{}:{}@sha256:{}", long(256 - host.len()), long(128), "0".repeat(64));
    let report = judge("Pod", &long(63), &long(253), &long(63), &case);
    assert_eq!(report.verdict, Verdict::Deny, "{}", report.images[0].message);
    let message = report.denial_message();
    hold_limits("longest", &message);
    golden::hold(data("messages").join("longest.txt"), &format!("{message}\n"));
}

fn codes_and(more: &[&str]) -> BTreeSet<String> {
    CauseCode::ALL.iter().map(ToString::to_string).chain(more.iter().map(|name| (*name).to_owned())).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_cause_has_its_page_and_every_page_its_cause() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons");
    let mut pages = names(&folder);
    assert!(pages.remove("README"), "the index is missing");
    // Of notes those have pages that somebody has to do something about.
    let codes = codes_and(&[note::TRUST_NOT_KNOWN, note::ANNOTATION_IGNORED, note::LOOKS_LIKE_ECR]);
    assert_eq!(pages, codes);
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for code in codes {
        assert_eq!(index.matches(&format!("| [{code}]({code}.md) | ")).count(), 1, "the index has {code} once");
        let page = fs::read_to_string(folder.join(format!("{code}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {code}\n\n")), "{code}");
        let parts: Vec<&str> = page.split("\n## ").skip(1).collect();
        let titles: Vec<&str> = parts.iter().map(|part| part.lines().next().unwrap()).collect();
        assert_eq!(titles, ["What it means", "On the node", "How to check", "How to fix"], "{code}");
        assert!(parts.iter().all(|part| part.lines().skip(1).any(|line| !line.trim().is_empty())), "{code}");
        // Links lead somewhere.
        for link in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            assert!(folder.join(link.0).exists(), "{code}: {}", link.0);
        }
    }
}
