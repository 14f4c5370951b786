//! What the oracle's own types mean.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use iam_oracle::{Decision, Draw, Kind, Policies, Policy, Request, decide, resource_applies};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::111122223333:role/app";
const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";
const ELSEWHERE: &str = "arn:aws:ecr:us-east-1:444455556666:repository/team/app";

fn allow(principal: Option<&str>) -> Policy {
    let mut statement = json!({"Effect": "Allow", "Action": "ecr:BatchGetImage"});
    match principal {
        Some(principal) => statement["Principal"] = json!({"AWS": principal}),
        None => statement["Resource"] = json!("*"),
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).into()
}

fn pull(resource: &str) -> Request {
    Request::new(ROLE, "ecr:BatchGetImage", resource)
}

#[test]
fn either_side_of_an_account_grants_and_both_sides_of_two() {
    let identity = Policies { identity: vec![allow(None)], ..Policies::default() };
    let resource = Policies { resource: Some(allow(Some("444455556666"))), ..Policies::default() };
    let own = Policies { resource: Some(allow(Some(ROLE))), ..Policies::default() };
    let both = Policies { resource: Some(allow(Some("111122223333"))), ..identity.clone() };
    assert_eq!(decide(&identity, &pull(REPOSITORY)), Decision::Allowed);
    assert_eq!(decide(&own, &pull(REPOSITORY)), Decision::Allowed);
    assert_eq!(decide(&resource, &pull(REPOSITORY)), Decision::ImplicitlyDenied);
    assert_eq!(decide(&identity, &pull(ELSEWHERE)), Decision::ImplicitlyDenied);
    assert_eq!(decide(&own, &pull(ELSEWHERE)), Decision::ImplicitlyDenied);
    assert_eq!(decide(&both, &pull(ELSEWHERE)), Decision::Allowed);
    assert_eq!(decide(&Policies::default(), &pull(REPOSITORY)), Decision::ImplicitlyDenied);
    let session = Request::new("arn:aws:sts::111122223333:assumed-role/app/pod", "ecr:BatchGetImage", REPOSITORY);
    assert_eq!(decide(&own, &session), Decision::Allowed);
}

#[test]
fn a_policy_that_could_not_be_read_says_what_the_request_says() {
    let unreadable = Some(Policy::Unreadable("repository".to_owned()));
    let policies =
        Policies { resource: unreadable, boundary: Some(json!({"Statement": []}).into()), ..Policies::default() };
    let mut request = pull(REPOSITORY);
    let mut with = |draw| {
        request.draws.insert("repository".to_owned(), draw);
        decide(&policies, &request)
    };
    assert_eq!(with(Draw::Nothing), Decision::ImplicitlyDenied);
    assert_eq!(with(Draw::Deny), Decision::ExplicitlyDenied);
    // A boundary that allows nothing limits what is granted to the role, and not what is granted to the session itself.
    assert_eq!(with(Draw::Role), Decision::ImplicitlyDenied);
    assert_eq!(with(Draw::Direct), Decision::Allowed);
    assert_eq!(with(Draw::Account), Decision::ImplicitlyDenied);
}

#[test]
fn control_policies_limit_whom_they_reach() {
    let deny = json!({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}});
    let policies = Policies { identity: vec![allow(None)], scps: vec![vec![deny.into()]], ..Policies::default() };
    let request = pull(REPOSITORY);
    assert_eq!(decide(&policies, &request), Decision::ExplicitlyDenied);
    assert_eq!(decide(&policies, &Request { scp_exempt: true, ..request }), Decision::Allowed);
}

#[test]
fn a_statement_without_a_resource_is_about_that_of_its_policy() {
    let statement = Value::Null;
    assert!(resource_applies(&pull(REPOSITORY), Kind::Resource, &statement, true));
    assert!(!resource_applies(&pull(REPOSITORY), Kind::Attached, &statement, true));
    assert!(!resource_applies(&pull(REPOSITORY), Kind::Guard, &statement, true));
}

#[test]
fn shares_no_code_with_what_is_held_against_it() {
    let manifest = include_str!("../Cargo.toml");
    let (_, after) = manifest.split_once("[dependencies]\n").unwrap();
    let names: Vec<&str> =
        after.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| line.split(" = ").next()).collect();
    assert_eq!(names, ["serde_json"]);
    assert_eq!(manifest.matches("dependencies").count(), 1, "{manifest}");
}
