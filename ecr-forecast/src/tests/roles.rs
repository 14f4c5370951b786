//! Roles that the policy object does not declare, and that some source has.

use std::collections::BTreeSet;

use super::*;
use crate::cluster::ObjectRef;
use crate::ecr::arn::RoleArn;
use crate::facts::{RoleFact, Source};
use crate::judge::depends_on;

/// A policy object that says who pulls, and nothing of policies.
fn undeclared() -> Inventory {
    world(json!({"puller": {"role": {"arn": ROLE}}}))
}

fn role() -> RoleArn {
    RoleArn::parse(ROLE).unwrap()
}

fn file() -> Source {
    Source::new(1, "file roles.yaml")
}

fn fact(source: Source, statements: Value) -> RoleFact {
    RoleFact::new(role(), source).with_document("app-pull", &statements_of(statements))
}

#[test]
fn a_verdict_rests_on_the_object_that_says_so_and_a_file_is_none() {
    let mut inventory = undeclared();
    let object = ObjectRef::Fact { kind: "IamRole".to_owned(), namespace: None, name: "app".to_owned() };
    let rests_on = |inventory: &Inventory| -> BTreeSet<ObjectRef> {
        let subject = pod(&[IMAGE]);
        let judgement = crate::judge(inventory, &subject, at(), &Options::default());
        depends_on(inventory, &subject, &judgement)
    };
    let without = rests_on(&inventory);
    inventory.put_role(fact(file(), nothing()));
    assert_eq!(rests_on(&inventory), without);
    inventory.put_role(fact(Source::of_object(0, object.clone()), nothing()));
    let with = rests_on(&inventory);
    assert_eq!(with.difference(&without).collect::<Vec<_>>(), [&object]);
    assert_eq!(object.to_string(), "IamRole app");
    assert!(!object.is_read_fresh() && without.iter().all(ObjectRef::is_read_fresh));
    // What is not heard, since the policy object declares it itself, counts for nothing.
    inventory.put_policy(policy(by_role(everything())));
    assert_eq!(rests_on(&inventory), without);
}

#[test]
fn two_sources_that_differ_are_told_of_and_the_first_is_heard() {
    let mut inventory = undeclared();
    inventory.put_role(fact(Source::new(2, "file a.yaml"), nothing()));
    inventory.put_role(fact(Source::new(1, "file b.yaml"), everything()));
    let report = judge_in(&inventory, &pod(&[IMAGE]));
    assert_eq!(report.verdict, Verdict::Allow);
    assert!(report.notes.contains(&"RoleSourcesDiffer"), "{:?}", report.notes);
    let found_by = "spec.puller.role; policies from file b.yaml, file a.yaml says otherwise";
    assert_eq!(report.images[0].candidates[0].found_by, found_by);
    inventory.put_role(fact(Source::new(2, "file a.yaml"), everything()));
    assert!(!judge_in(&inventory, &pod(&[IMAGE])).notes.contains(&"RoleSourcesDiffer"));
}

#[test]
fn a_role_that_could_not_be_read_is_not_one_that_nobody_has() {
    let mut inventory = undeclared();
    inventory.put_role(RoleFact::unreadable(role(), file(), "`policies` is no list"));
    let report = judge_in(&inventory, &pod(&[IMAGE]));
    assert_eq!((report.verdict, lacking(&report.images[0])), (Verdict::Unknown, vec![format!("role:{ROLE}")]));
    assert_eq!(
        report.images[0].message,
        "Pod payments/api-0, container c0: not known whether 111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1 can be \
         pulled by arn:aws:iam::111122223333:role/app (spec.puller.role; policies from file roles.yaml): what file roles.yaml \
         says of IAM role arn:aws:iam::111122223333:role/app cannot be read: `policies` is no list [RoleNotInInventory]\n\
         fix: correct what file roles.yaml says of arn:aws:iam::111122223333:role/app"
    );
}

#[test]
fn a_date_in_a_policy_that_a_source_has_is_a_date() {
    let mut inventory = undeclared();
    let mut until = allow("ecr:*", "*");
    until["Condition"] = json!({"DateLessThan": {"aws:CurrentTime": "2026-12-01T00:00:00Z"}});
    let judged = |inventory: &Inventory| crate::judge(inventory, &pod(&[IMAGE]), at(), &Options::default());
    inventory.put_role(fact(file(), everything()));
    assert!(!judged(&inventory).reads_clock());
    inventory.put_role(fact(file(), json!([until])));
    let judgement = judged(&inventory);
    assert!(judgement.reads_clock());
    assert_eq!(judgement.next_change(), NextChange::At("2026-12-01T00:00:00Z".parse().unwrap()));
}
