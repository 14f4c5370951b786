//! Pods whose policy object says who pulls and nothing of policies: they are judged by what stands in a file.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which `clippy.toml` knows only by `#[test]`"
)]

use ecr_forecast::cluster::Subject;
use ecr_forecast::facts::CauseCode;
use ecr_forecast::forecast;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict};
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::report::{ImageReport, Report};
use fixtures::{NAMESPACE, ROLE, ROLE_ANNOTATION};
use role_file::{RoleFile, RoleFileError};
use serde_json::{Value, json};

const ROLES: &str = include_str!("roles.yaml");

/// A service account for each role of the file, and one policy object for all, which declares no IAM policy.
fn world() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.put_namespace(NAMESPACE.to_owned(), [].into());
    for name in ["app", "broken", "odd", "bounded", "tagged", "empty"] {
        let annotations = json!({ROLE_ANNOTATION: format!("arn:aws:iam::111122223333:role/{name}")});
        let account = fixtures::marked(fixtures::service_account(name), json!({}), annotations);
        inventory.put_service_account(ServiceAccountFacts::from_json(&account).unwrap());
    }
    inventory.put_policy(policy(json!({"serviceAccount": {}})));
    inventory
}

fn policy(puller: Value) -> PolicyObject {
    PolicyObject::from_json(fixtures::policy("pull").with("puller", puller).object()).unwrap()
}

fn with_file() -> Inventory {
    let mut inventory = world();
    RoleFile::new(1, "roles.yaml").read(ROLES, &mut inventory).unwrap();
    inventory
}

fn judge(inventory: &Inventory, account: &str, repository: &str) -> Report {
    let image = fixtures::image(repository);
    let pod = fixtures::pod("api-0", fixtures::pod_spec(account, [image.as_str()]));
    let at = "2026-11-23T00:00:00Z".parse().unwrap();
    forecast(inventory, &Subject::from_pod(&pod).unwrap(), at, &Options::default())
}

fn image(report: &Report) -> &ImageReport {
    &report.images[0]
}

fn missing(report: &Report) -> Vec<String> {
    image(report).missing.iter().map(ToString::to_string).collect()
}

#[test]
fn what_stands_in_the_file_allows_and_denies_and_is_told_as_that_of_the_file() {
    let inventory = with_file();
    let report = judge(&inventory, "app", "team/app");
    assert_eq!(report.verdict, Verdict::Allow, "{}", image(&report).message);
    let found_by = "annotation eks.amazonaws.com/ecr-role-arn; policies from file roles.yaml";
    assert_eq!(image(&report).candidates[0].found_by, found_by);
    assert_eq!(image(&report).candidates[0].decisions[1].statement.as_deref(), Some("Pull"));

    let report = judge(&inventory, "app", "shop/app");
    assert_eq!(
        report.denial_message(),
        "Pod payments/api-0, container c0: cannot pull 111122223333.dkr.ecr.us-east-1.amazonaws.com/shop/app:1: \
         arn:aws:iam::111122223333:role/app (annotation eks.amazonaws.com/ecr-role-arn; policies from file roles.yaml) is not \
         allowed to call ecr:BatchGetImage on arn:aws:ecr:us-east-1:111122223333:repository/shop/app: no identity policy \
         allows it [RepositoryNotInResource]\n\
         statement Pull of policy app-pull: resource `…:repository/team/*` is not `…:repository/shop/app`; also denied: \
         ecr:GetDownloadUrlForLayer\n\
         fix: add to policy app-pull in file roles.yaml: {\"Effect\":\"Allow\",\"Action\":[\"ecr:BatchGetImage\",\
         \"ecr:GetDownloadUrlForLayer\"],\"Resource\":\"arn:aws:ecr:us-east-1:111122223333:repository/shop/app\"}"
    );
    let report = judge(&inventory, "app", "team/secret");
    let message = report.denial_message();
    assert!(message.contains("by statement NoSecrets of identity policy app-pull [ExplicitDeny]"), "{message}");
    assert!(message.ends_with("fix: remove statement NoSecrets of policy app-pull in file roles.yaml"), "{message}");
}

#[test]
fn every_part_of_an_entry_counts() {
    let inventory = with_file();
    let verdict = |account: &str| judge(&inventory, account, "team/app").verdict;
    assert_eq!(verdict("tagged"), Verdict::Allow);
    assert_eq!(verdict("empty"), Verdict::Deny, "a role without policies");
    let report = judge(&inventory, "bounded", "team/app");
    assert_eq!((report.verdict, image(&report).cause), (Verdict::Deny, Some(CauseCode::BoundaryDoesNotAllow)));
    let unbounded: Vec<&str> = ROLES.lines().filter(|line| !line.contains("permissionsBoundary")).collect();
    let mut inventory = world();
    RoleFile::new(1, "roles.yaml").read(&unbounded.join("\n"), &mut inventory).unwrap();
    assert_eq!(judge(&inventory, "bounded", "team/app").verdict, Verdict::Allow, "the boundary alone denied it");
}

#[test]
fn what_the_policy_object_declares_comes_before_the_file() {
    let mut inventory = with_file();
    let identity = fixtures::identity("inline", fixtures::pulls_of(fixtures::repository("shop/app")));
    inventory.put_policy(policy(json!({"serviceAccount": {"roles": [{"arn": ROLE, "identity": identity}]}})));
    for (repository, verdict) in [("shop/app", Verdict::Allow), ("team/app", Verdict::Deny)] {
        let report = judge(&inventory, "app", repository);
        assert_eq!(report.verdict, verdict, "{repository}");
        assert_eq!(image(&report).candidates[0].found_by, "annotation eks.amazonaws.com/ecr-role-arn");
        assert!(!image(&report).message.contains("roles.yaml"), "{}", image(&report).message);
    }
    assert_eq!(judge(&inventory, "tagged", "team/app").verdict, Verdict::Allow, "of another role it declares nothing");
}

#[test]
fn what_is_wrong_in_the_file_makes_its_own_role_unknown_and_no_other() {
    let inventory = with_file();
    let report = judge(&inventory, "broken", "team/app");
    assert_eq!((report.verdict, missing(&report)), (Verdict::Unknown, vec!["document:bad".to_owned()]));
    let message = &image(&report).message;
    assert!(
        message.contains("policies from file roles.yaml): policy bad is malformed: `$.Statement[0].Effect`: "),
        "{message}"
    );
    assert_eq!(image(&report).cause, Some(CauseCode::DocumentMalformed));

    let report = judge(&inventory, "odd", "team/app");
    let role = "arn:aws:iam::111122223333:role/odd";
    assert_eq!((report.verdict, missing(&report)), (Verdict::Unknown, vec![format!("role:{role}")]));
    let message = &image(&report).message;
    let why = format!("what file roles.yaml says of IAM role {role} cannot be read: invalid type: string \"none\"");
    assert!(message.contains(&why), "{message}");
    assert_eq!(judge(&inventory, "app", "team/app").verdict, Verdict::Allow);

    // One that is listed twice says two things.
    let mut inventory = world();
    let twice = format!("{ROLES}- arn: {ROLE}\n");
    RoleFile::new(1, "roles.yaml").read(&twice, &mut inventory).unwrap();
    assert_eq!(judge(&inventory, "app", "team/app").verdict, Verdict::Unknown);
    assert_eq!(judge(&inventory, "tagged", "team/app").verdict, Verdict::Allow);
}

#[test]
fn a_role_that_is_taken_out_of_the_file_is_not_known() {
    let mut inventory = world();
    let not_there = judge(&inventory, "app", "team/app");
    assert_eq!((not_there.verdict, missing(&not_there)), (Verdict::Unknown, vec![format!("role:{ROLE}")]));
    let mut file = RoleFile::new(1, "roles.yaml");
    file.read(ROLES, &mut inventory).unwrap();
    let before = inventory.clone();
    let (_, without) = ROLES.split_at(ROLES.find("- arn: arn:aws:iam::111122223333:role/broken").unwrap());
    file.read(without, &mut inventory).unwrap();
    assert_eq!(judge(&inventory, "app", "team/app"), not_there, "as if it had never been there");
    assert_eq!(judge(&inventory, "tagged", "team/app").verdict, Verdict::Allow);
    assert_eq!(judge(&before, "app", "team/app").verdict, Verdict::Allow, "a clone does not see later changes");
    // Nobody remembers a better past.
    for text in ["a: [", "roles: []", "- {policies: []}"] {
        file.read(ROLES, &mut inventory).unwrap();
        assert_eq!(judge(&inventory, "app", "team/app").verdict, Verdict::Allow);
        let error = file.read(text, &mut inventory).unwrap_err();
        let expected = match error {
            RoleFileError::Yaml(_) => "a: [",
            RoleFileError::NoList => "roles: []",
            RoleFileError::NoArn(_) => "- {policies: []}",
        };
        assert_eq!(text, expected);
        assert_eq!(judge(&inventory, "app", "team/app"), not_there, "{text}");
    }
    file.read(ROLES, &mut inventory).unwrap();
    file.remove(&mut inventory);
    assert_eq!(judge(&inventory, "app", "team/app"), not_there);
}

#[test]
fn of_two_files_that_differ_the_first_is_heard_and_the_other_told_of() {
    let other =
        format!("- arn: {ROLE}\n  managedPolicies: [\"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly\"]\n");
    for first in ["team.yaml", "roles.yaml"] {
        let mut inventory = world();
        for (name, text) in [("roles.yaml", ROLES), ("team.yaml", &other)] {
            RoleFile::new(if name == first { 1 } else { 2 }, name).read(text, &mut inventory).unwrap();
        }
        let report = judge(&inventory, "app", "shop/app");
        let verdict = if first == "team.yaml" { Verdict::Allow } else { Verdict::Deny };
        assert_eq!(report.verdict, verdict);
        assert!(report.notes.contains(&"RoleSourcesDiffer"), "{:?}", report.notes);
        let found_by = &image(&report).candidates[0].found_by;
        let second = if first == "team.yaml" { "roles.yaml" } else { "team.yaml" };
        assert!(
            found_by.ends_with(&format!("; policies from file {first}, file {second} says otherwise")),
            "{found_by}"
        );
        assert!(!judge(&inventory, "tagged", "team/app").notes.contains(&"RoleSourcesDiffer"), "one file has it");
    }
}
