//! The whole way from a policy object and a pod to a report and its texts.

use std::collections::BTreeMap;

use fixtures::{ROLE, allow, document as statements_of, everything, identity};
use iam_verdict::Decision;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cluster::ImageUse;
use crate::diagnose::{AdviceKind, FixKind, MAX_FIXED, Uses, advise};
use crate::ecr::needs::Need;
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason};
use crate::inventory::ServiceAccountFacts;
use crate::judge::{Admission, NextChange, Verdict};
use crate::policy::Action;
use crate::policy::compiled::ConfigMapFacts;
use crate::report::{ImageReport, MAX_LINE, MAX_MESSAGE};

mod exemptions;
mod roles;
mod transitions;

const IMAGE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1";

fn at() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

/// A namespaced policy `payments/payments-pull` whose spec is `spec`.
fn policy(spec: Value) -> PolicyObject {
    PolicyObject::from_json(fixtures::policy("payments-pull").spec(spec).object()).unwrap()
}

/// What is missing of an image, as the report has it.
fn lacking(image: &ImageReport) -> Vec<String> {
    image.missing.iter().map(ToString::to_string).collect()
}

/// A spec with the role `app` and one document.
fn by_role(statements: Value) -> Value {
    json!({"puller": {"role": {"arn": ROLE,
        "identity": identity("app-pull", statements)}}})
}

fn world(spec: Value) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.put_namespace("payments".into(), [].into());
    inventory.put_service_account(ServiceAccountFacts {
        namespace: "payments".into(),
        name: "api".into(),
        ..ServiceAccountFacts::default()
    });
    inventory.put_policy(policy(spec));
    inventory
}

fn pod(images: &[&str]) -> Subject {
    Subject::from_pod(&fixtures::pod("api-0", fixtures::pod_spec("api", images.iter().copied()))).unwrap()
}

fn judge_in(inventory: &Inventory, subject: &Subject) -> Report {
    forecast(inventory, subject, at(), &Options::default())
}

fn judge(spec: Value, images: &[&str]) -> Report {
    judge_in(&world(spec), &pod(images))
}

/// Login is allowed, and pulls of `repository`.
fn pulls_of(repository: &str) -> Value {
    fixtures::pulls_of(fixtures::repository(repository))
}

fn nothing() -> Value {
    json!([allow(json!("s3:*"), json!("*"))])
}

fn open_ended() -> Value {
    json!([{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}])
}

#[test]
fn the_message_of_a_refusal() {
    let other = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/other";
    let report = judge(by_role(pulls_of("team")), &[IMAGE, "nginx", other]);
    assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Rejected));
    let first = "Pod payments/api-0, container c0: cannot pull 111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1: \
        arn:aws:iam::111122223333:role/app (spec.puller.role) is not allowed to call ecr:BatchGetImage on \
        arn:aws:ecr:us-east-1:111122223333:repository/team/app: no identity policy allows it, closest is statement Pull \
        of policy app-pull [RepositoryNotInResource]";
    let detail = "statement Pull: resource `…:repository/team` is not `…:repository/team/app` (`repository/team` is that \
        repository alone; what is below it is `repository/team/*`); also denied: ecr:GetDownloadUrlForLayer";
    let fix = "fix: add to policy app-pull in EcrAccessPolicy/payments/payments-pull: {\"Effect\":\"Allow\",\
        \"Action\":[\"ecr:BatchGetImage\",\"ecr:GetDownloadUrlForLayer\"],\
        \"Resource\":\"arn:aws:ecr:us-east-1:111122223333:repository/team/app\"}";
    assert_eq!(report.denial_message(), format!("{first}\n{detail}\nfurther containers: c2\n{fix}"));
    assert_eq!(report.images[0].message, format!("{first}\n{detail}\n{fix}"));
    let causes = report.causes();
    let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(fields, ["spec.containers[0].image", "spec.containers[2].image"]);
    assert_eq!(causes[0].message, first);
    assert_eq!(report.warnings(), Vec::<String>::new());
    // The same input gives the same bytes.
    assert_eq!(judge(by_role(pulls_of("team")), &[IMAGE, "nginx", other]), report);
}

#[test]
fn the_message_of_an_explicit_deny() {
    let report = judge(
        by_role(json!([allow(json!("*"), json!("*")),
            {"Sid": "NoPulls", "Effect": "Deny", "Action": "ecr:Batch*", "Resource": "*"}])),
        &[IMAGE],
    );
    assert_eq!(
        report.denial_message(),
        "Pod payments/api-0, container c0: cannot pull 111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1: \
         arn:aws:iam::111122223333:role/app (spec.puller.role) is denied ecr:BatchGetImage on \
         arn:aws:ecr:us-east-1:111122223333:repository/team/app by statement NoPulls of identity policy app-pull \
         [ExplicitDeny]\n\
         fix: replace statement NoPulls of policy app-pull in EcrAccessPolicy/payments/payments-pull with: \
         {\"Sid\":\"NoPulls\",\"Effect\":\"Deny\",\"Action\":\"ecr:Batch*\",\
         \"NotResource\":\"arn:aws:ecr:us-east-1:111122223333:repository/team/app\"}"
    );
    assert_eq!(report.images[0].cause, Some(CauseCode::ExplicitDeny));
}

#[test]
fn the_message_of_an_image_that_is_none() {
    let report = judge(by_role(everything()), &["111122223333.dkr.ecr.us-east-1.amazonaws.com/Team/app"]);
    assert_eq!(
        report.denial_message(),
        "Pod payments/api-0, container c0: cannot pull 111122223333.dkr.ecr.us-east-1.amazonaws.com/Team/app: not an \
         image reference, the kubelet answers InvalidImageName: a repository name is lower case [InvalidImage]\n\
         fix: correct the image reference"
    );
}

#[test]
fn the_report_as_json() {
    let report = judge(by_role(pulls_of("team")), &[IMAGE]);
    let repository = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";
    let decision = |action: &str, resource: &str, decision: &str, policy: Value, statement: Value| {
        json!({"action": action, "resource": resource, "decision": decision, "layer": "identity",
            "policy": policy, "statement": statement})
    };
    let expected = json!({
        "kind": "Pod", "namespace": "payments", "name": "api-0", "policy": "EcrAccessPolicy/payments/payments-pull",
        "verdict": "Deny", "admission": "Rejected", "notes": ["NoRepositoryPolicyDeclared"],
        "images": [{
            "field": "spec.containers[0].image", "container": "c0", "image": IMAGE,
            "verdict": "Deny", "reason": "ActionDenied", "missing": [], "message": report.images[0].message,
            "candidates": [{
                "principal": ROLE, "foundBy": "spec.puller.role", "verdict": "Deny",
                "decisions": [
                    decision("ecr:GetAuthorizationToken", "*", "Allowed", json!("app-pull"), json!("Login")),
                    decision("ecr:BatchGetImage", repository, "ImplicitlyDenied", Value::Null, Value::Null),
                    decision("ecr:GetDownloadUrlForLayer", repository, "ImplicitlyDenied", Value::Null, Value::Null),
                ]}],
            "cause": "RepositoryNotInResource",
            "fix": [{
                "kind": "AddStatement", "attachTo": "identity", "target": ROLE, "policy": "app-pull",
                "document": {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": repository},
                "why": "statement Pull of policy app-pull does not: resource `…:repository/team` is not \
                    `…:repository/team/app`; `repository/team` is that repository alone; what is below it is `repository/team/*`",
            }],
        }],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    // Field order is part of the format.
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.starts_with(r#"{"kind":"Pod","namespace":"payments","name":"api-0","policy":"#), "{text}");
    assert!(text.contains(r#""document":{"Effect":"Allow","Action":["#), "{text}");
}

#[test]
fn causes_and_their_fixes() {
    let repository = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";
    let cases = [
        (pulls_of("team"), CauseCode::RepositoryNotInResource, vec![FixKind::AddStatement]),
        (nothing(), CauseCode::NoPolicyGrantsPull, vec![FixKind::AddStatement, FixKind::AddStatement]),
        (json!([allow(json!("ecr:*"), json!(repository))]), CauseCode::TokenOnRepository, vec![FixKind::AddStatement]),
        (
            json!([allow(json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage"]), json!("*"))]),
            CauseCode::ActionNotGranted,
            vec![FixKind::AddStatement],
        ),
        (
            json!([{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
                "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}}]),
            CauseCode::ConditionNotMet,
            vec![FixKind::AddStatement, FixKind::AddStatement],
        ),
        (
            json!([allow(json!("ecr:*"), json!("*")), {"Effect": "Deny", "Action": "*", "Resource": "*"}]),
            CauseCode::ExplicitDeny,
            vec![FixKind::NarrowDeny],
        ),
        (
            json!([{"Effect": "Deny", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}]),
            CauseCode::ExplicitDeny,
            // Nothing allows the login either.
            vec![FixKind::NarrowDeny, FixKind::AddStatement, FixKind::AddStatement],
        ),
    ];
    for (statements, cause, kinds) in cases {
        let report = judge(by_role(statements.clone()), &[IMAGE]);
        let image = &report.images[0];
        assert_eq!(image.cause, Some(cause), "{statements}");
        assert_eq!(image.fix.iter().map(|fix| fix.kind).collect::<Vec<_>>(), kinds, "{statements}");
    }
}

/// Whatever a fix says to add makes the pod admitted.
#[test]
fn a_fix_fixes() {
    for statements in [pulls_of("team"), nothing(), json!([allow(json!("ecr:Batch*"), json!("*"))])] {
        let report = judge(by_role(statements.clone()), &[IMAGE]);
        assert_eq!(report.verdict, Verdict::Deny);
        let mut fixed = statements.as_array().unwrap().clone();
        for fix in &report.images[0].fix {
            assert_eq!((fix.attach_to, fix.policy.as_deref()), (Some("identity"), Some("app-pull")));
            fixed.push(serde_json::to_value(&fix.document).unwrap());
        }
        let report = judge(by_role(json!(fixed)), &[IMAGE]);
        assert_eq!((report.verdict, report.admission), (Verdict::Allow, Admission::Admitted), "{fixed:?}");
    }
}

#[test]
fn a_fix_never_edits_a_managed_policy() {
    let spec = |policies: Value| json!({"puller": {"role": {"arn": ROLE, "identity": {"policies": policies}}}});
    let quarantine = json!({"name": "q", "managedPolicyArn": "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"});
    let pull = json!({"name": "all", "document": statements_of(everything())});
    let report = judge(spec(json!([quarantine, pull])), &[IMAGE]);
    assert!(report.images[0].fix[0].why.starts_with("detach policy q, "), "{}", report.images[0].fix[0].why);
    let minimal = json!({"name": "node", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"});
    let report = judge(spec(json!([minimal])), &[IMAGE]);
    assert_eq!(report.images[0].fix[0].policy, None);
    assert!(report.denial_message().contains(
        "fix: add to a new policy of arn:aws:iam::111122223333:role/app in EcrAccessPolicy/payments/payments-pull: {"
    ));
}

/// What is advised in the place of a broad policy is enough for the same pods, and nothing is left to advise then.
#[test]
fn advice_names_what_would_do() {
    let subject = pod(&[IMAGE, "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/other:2", "nginx"]);
    let advise = |inventory: &Inventory, requires: &[Need]| advise(inventory, std::slice::from_ref(&subject), requires);
    let inventory = world(by_role(everything()));
    let advice = advise(&inventory, &[]);
    assert_eq!(advice.len(), 1);
    let first = &advice[0];
    assert_eq!(
        (first.kind, first.policy.as_str(), first.target.as_str()),
        (AdviceKind::BroaderThanNeeded, "app-pull", ROLE)
    );
    assert_eq!(first.object, "EcrAccessPolicy/payments/payments-pull");
    assert_eq!(
        first.message,
        "allows ecr:PutImage, ecr:BatchDeleteImage, ecr:DeleteRepository, ecr:SetRepositoryPolicy and ecr:TagResource, \
         none of which a pull needs; and pulls of more than the 2 repositories in use, from registries of every account"
    );
    let minimal = serde_json::to_value(&first.document).unwrap();
    let inventory = world(by_role(minimal["Statement"].clone()));
    assert_eq!(judge_in(&inventory, &subject).verdict, Verdict::Allow);
    assert_eq!(advise(&inventory, &[]), []);
    // Pushes were asked for, so the right to make them is no excess; what else is needed then is not said.
    let pushes = advise(&world(by_role(everything())), &[Need::Push]);
    assert!(!pushes[0].message.contains("PutImage") && pushes[0].document.is_none(), "{pushes:?}");
    // Lints are told of every document, whether or not anybody pulls with it.
    let token = allow(json!("ecr:GetAuthorizationToken"), json!("arn:aws:ecr:*:*:*"));
    let advice = crate::diagnose::advise(&world(by_role(json!([token]))), &[], &[]);
    assert_eq!(advice.iter().map(|advice| advice.kind).collect::<Vec<_>>(), [AdviceKind::Lint]);
    assert!(advice[0].message.starts_with("`$.Statement[0]."), "{}", advice[0].message);
    assert!(advice[0].message.ends_with("[needs-star-resource]"), "{}", advice[0].message);
}

/// Beyond a hundred repositories not each is tried, and nothing is called excess that one of the others may need.
#[test]
fn grants_are_tried_on_a_bounded_number_of_repositories() {
    let images = |count: usize| -> Vec<String> {
        (0..count).map(|n| format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app-{n:03}:1")).collect()
    };
    let inventory = world(by_role(json!([
        allow(json!(["ecr:CreateRepository", "ecr:PutImage"]), json!("*")),
        allow(json!("ecr:BatchImportUpstreamImage"), json!("arn:aws:ecr:*:*:repository/team/app-100")),
    ])));
    let advised = |count: usize| {
        let images = images(count);
        let subject = pod(&images.iter().map(String::as_str).collect::<Vec<_>>());
        let advice = advise(&inventory, &[subject], &[]);
        assert_eq!(advice.len(), 1, "{advice:?}");
        let document = serde_json::to_value(&advice[0].document).unwrap();
        (advice[0].message.clone(), document["Statement"][1]["Resource"].as_array().unwrap().len())
    };
    assert_eq!(
        advised(100),
        ("allows ecr:PutImage and ecr:CreateRepository, none of which a pull needs".to_owned(), 100)
    );
    assert_eq!(advised(101), ("allows ecr:PutImage, which no pull needs".to_owned(), 101));
}

/// However many repositories a pod names, fixes are looked for a bounded number of times.
#[test]
fn fixes_are_looked_for_a_bounded_number_of_times() {
    let images: Vec<String> =
        (0..MAX_FIXED + 2).map(|n| format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app-{n}:1")).collect();
    let report = judge(by_role(nothing()), &images.iter().map(String::as_str).collect::<Vec<_>>());
    let kinds = |image: &ImageReport| image.fix.iter().map(|fix| fix.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&report.images[MAX_FIXED - 1]), [FixKind::AddStatement; 2]);
    assert_eq!(kinds(&report.images[MAX_FIXED]), [FixKind::None]);
    assert!(report.images.iter().all(|image| image.cause == Some(CauseCode::NoPolicyGrantsPull)));
}

#[test]
fn images_that_need_no_permission() {
    let cases = [
        ("nginx", Verdict::OutOfScope, Reason::NotEcr),
        ("quay.io/a/b", Verdict::OutOfScope, Reason::NotEcr),
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com.evil.io/a/b", Verdict::OutOfScope, Reason::NotEcr),
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com./a/b", Verdict::OutOfScope, Reason::InvalidImage),
        ("quay.io/A/b", Verdict::OutOfScope, Reason::InvalidImage),
        ("public.ecr.aws/a/b", Verdict::Allow, Reason::PublicRegistry),
    ];
    for (image, verdict, reason) in cases {
        let report = judge(by_role(nothing()), &[image]);
        assert_eq!((report.images[0].verdict, report.images[0].reason), (verdict, reason), "{image}");
        assert_eq!((report.verdict, report.admission), (Verdict::Allow, Admission::Admitted), "{image}");
    }
    let mut never = pod(&[IMAGE, "111122223333.dkr.ecr.us-east-1.amazonaws.com/Team/app"]);
    never.images.iter_mut().for_each(|image| image.never = true);
    let report = judge_in(&world(by_role(nothing())), &never);
    assert_eq!(report.verdict, Verdict::Allow);
    assert!(report.images.iter().all(|image| image.reason == Reason::NoPull));
}

#[test]
fn notes_about_hosts() {
    for (image, noted) in [
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com:443/team/app", "PortInHost"),
        ("111122223333.DKR.ecr.us-east-1.amazonaws.com/team/app", "UpperCaseHost"),
    ] {
        let report = judge(by_role(everything()), &[image]);
        assert_eq!(report.images[0].cause, Some(CauseCode::HostNotMatchedByProvider), "{image}");
        assert_eq!((report.verdict, report.admission, report.notes.len()), (Verdict::Unknown, Admission::Warned, 0));
        let mut with_secret = pod(&[image]);
        with_secret.pull_secrets = vec!["registry".to_owned()];
        let report = judge_in(&world(by_role(everything())), &with_secret);
        assert_eq!(report.notes, [noted, "NoRepositoryPolicyDeclared"]);
        assert_eq!(report.verdict, Verdict::Allow);
    }
}

/// What the API server's filter lets through is told at admission.
#[test]
fn a_host_that_is_almost_ecrs_is_warned_of() {
    let report = judge(by_role(everything()), &["nginx", "11112222333.dkr.ecr.us-east-1.amazonaws.com/team/app"]);
    assert_eq!((report.verdict, report.admission), (Verdict::Allow, Admission::Admitted));
    assert_eq!(report.notes, ["LooksLikeEcr"]);
    let warnings = report.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("11112222333.dkr.ecr") && warnings[0].ends_with(" [LooksLikeEcr]"), "{warnings:?}");
    assert_eq!(judge(by_role(everything()), &["nginx"]).warnings(), [""; 0]);
    // The scan tells of it too, in the advice of the policy.
    let world = world(by_role(everything()));
    let policy = world.policies().next().unwrap();
    let mut uses = Uses::of(world.with_documents(policy));
    uses.add(&world, &pod(&["nginx", "11112222333.dkr.ecr.us-east-1.amazonaws.com/team/app", IMAGE]));
    let advice: Vec<_> = uses.look_alikes().map(|advice| (advice.code, advice.target)).collect();
    assert_eq!(advice, [("LooksLikeEcr", "11112222333.dkr.ecr.us-east-1.amazonaws.com/team/app".to_owned())]);
}

#[test]
fn a_pull_secret_turns_a_deny_into_unknown_and_nothing_else() {
    let mut of_pod = pod(&[IMAGE]);
    of_pod.pull_secrets = vec!["registry".to_owned()];
    let mut lent = world(by_role(nothing()));
    lent.put_service_account(ServiceAccountFacts {
        namespace: "payments".into(),
        name: "api".into(),
        image_pull_secrets: vec!["regcred".into()],
        ..ServiceAccountFacts::default()
    });
    for report in [judge_in(&world(by_role(nothing())), &of_pod), judge_in(&lent, &pod(&[IMAGE]))] {
        let image = &report.images[0];
        assert_eq!((report.verdict, report.admission), (Verdict::Unknown, Admission::Warned));
        assert_eq!((image.reason, image.missing.as_slice()), (Reason::PullSecret, &[MissingFact::ImagePullSecret][..]));
        assert_eq!(image.cause, Some(CauseCode::PullSecret));
        // What is wrong without the secret is still told.
        assert_eq!(image.candidates[0].verdict, Verdict::Deny);
        assert_eq!(image.fix.len(), 2);
        assert!(report.warnings()[0].contains("only an image pull secret can pull"), "{:?}", report.warnings());
    }
    assert_eq!(judge_in(&world(by_role(everything())), &of_pod).verdict, Verdict::Allow);
    let open = judge_in(&world(by_role(open_ended())), &of_pod);
    assert_eq!(open.images[0].reason, Reason::FactsMissing);
    // No secret makes an image reference of what is none.
    let mut invalid = pod(&["https://111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app"]);
    invalid.pull_secrets = vec!["registry".to_owned()];
    assert_eq!(judge_in(&world(by_role(everything())), &invalid).verdict, Verdict::Deny);
}

#[test]
fn actions_and_what_caps_them() {
    use Action::{Audit, Reject, Warn};
    use Admission::{Admitted, Rejected, Warned};
    // statements, onDeny, onUnknown, maximum, admission
    let deny = [
        (Reject, Warn, Reject, Rejected),
        (Reject, Warn, Warn, Warned),
        (Reject, Warn, Audit, Admitted),
        (Warn, Warn, Reject, Warned),
        (Warn, Audit, Reject, Warned),
    ];
    let unknown = [
        (Reject, Warn, Reject, Warned),
        (Reject, Reject, Reject, Rejected),
        (Reject, Reject, Warn, Warned),
        (Reject, Audit, Reject, Admitted),
        (Warn, Warn, Audit, Admitted),
    ];
    for (statements, table, verdict) in [(nothing(), deny, Verdict::Deny), (open_ended(), unknown, Verdict::Unknown)] {
        for (on_deny, on_unknown, max_action, admission) in table {
            let mut spec = by_role(statements.clone());
            spec["onDeny"] = json!(on_deny);
            spec["onUnknown"] = json!(on_unknown);
            let options = Options { max_action, ..Options::default() };
            let report = forecast(&world(spec), &pod(&[IMAGE]), at(), &options);
            assert_eq!((report.verdict, report.admission), (verdict, admission), "{on_deny} {on_unknown} {max_action}");
            assert_eq!(report.warnings().is_empty(), admission != Warned);
            assert!(!report.denial_message().is_empty());
        }
    }
}

#[test]
fn a_policy_on_trial_is_judged_only_when_asked() {
    let mut spec = by_role(nothing());
    spec["onDeny"] = json!("Audit");
    let inventory = world(spec);
    let report = judge_in(&inventory, &pod(&[IMAGE]));
    assert_eq!((report.verdict, &report.policy), (Verdict::NotSelected, &None));
    let policy = inventory.policies().next().unwrap();
    let report = forecast_under(policy, &inventory, &pod(&[IMAGE]), at(), &Options::default());
    assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Admitted));
}

#[test]
fn pods_that_are_never_judged() {
    let not_selected = |report: &Report| {
        assert_eq!((report.verdict, report.admission), (Verdict::NotSelected, Admission::Admitted));
        assert_eq!((&report.policy, report.images.len()), (&None, 0));
    };
    let inventory = world(by_role(nothing()));
    let mut mirror = pod(&[IMAGE]);
    mirror.mirror = true;
    not_selected(&judge_in(&inventory, &mirror));
    let own = Options { operator_namespace: Some("payments".into()), ..Options::default() };
    not_selected(&forecast(&inventory, &pod(&[IMAGE]), at(), &own));
    let mut elsewhere = pod(&[IMAGE]);
    elsewhere.namespace = "other".into();
    not_selected(&judge_in(&inventory, &elsewhere));

    let everywhere = PolicyObject::from_json(json!({"kind": "ClusterEcrAccessPolicy", "metadata": {"name": "all"},
        "spec": by_role(nothing())}))
    .unwrap();
    let mut inventory = Inventory::default();
    inventory.put_policy(everywhere);
    let key = judge_in(&inventory, &elsewhere).policy.unwrap();
    assert_eq!(key.to_string(), "ClusterEcrAccessPolicy/all");
    elsewhere.namespace = "kube-system".into();
    not_selected(&judge_in(&inventory, &elsewhere));
}

#[test]
fn who_is_not_known_is_unknown_and_named() {
    let key = "eks.amazonaws.com/ecr-role-arn";
    let with_annotation = |value: &str| {
        let mut inventory = world(json!({"puller": {"serviceAccount": {}}}));
        inventory.put_service_account(ServiceAccountFacts {
            namespace: "payments".into(),
            name: "api".into(),
            annotations: [(key.to_owned(), value.to_owned())].into(),
            ..ServiceAccountFacts::default()
        });
        inventory
    };
    let mut unseen = world(json!({"puller": {"serviceAccount": {}}}));
    unseen.remove_service_account("payments", "api");
    let cases = [
        (
            world(json!({"puller": {"serviceAccount": {}}})),
            Reason::DependsOnNode,
            "node",
            "service account payments/api has no role",
        ),
        (with_annotation(""), Reason::DependsOnNode, "node", "so the node's role pulls, which is not known"),
        (unseen, Reason::FactsMissing, "serviceAccount:payments/api", "service account payments/api was not found"),
        (
            with_annotation(ROLE),
            Reason::FactsMissing,
            "role:arn:aws:iam::111122223333:role/app",
            "is not in the inventory",
        ),
        (
            world(json!({"puller": {"nodes": []}})),
            Reason::FactsMissing,
            "spec:EcrAccessPolicy/payments/payments-pull",
            "$.spec.puller.nodes",
        ),
    ];
    for (inventory, reason, missing, words) in cases {
        let report = judge_in(&inventory, &pod(&[IMAGE, "nginx"]));
        assert_eq!((report.verdict, report.admission), (Verdict::Unknown, Admission::Warned), "{words}");
        assert_eq!((report.images[0].reason, lacking(&report.images[0])), (reason, vec![missing.to_owned()]));
        assert_eq!(report.images[1].verdict, Verdict::OutOfScope);
        let warnings = report.warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains(words), "{warnings:?}");
        // Without an image of ECR nothing depends on it.
        assert_eq!(judge_in(&inventory, &pod(&["nginx", "public.ecr.aws/a/b"])).verdict, Verdict::Allow);
    }
}

#[test]
fn an_unclear_selection_is_unknown_and_mild() {
    let mut spec = by_role(nothing());
    spec["serviceAccounts"] = json!({"selector": {"matchLabels": {"team": "payments"}}});
    spec["onUnknown"] = json!("Reject");
    let mut inventory = Inventory::default();
    inventory.put_policy(policy(spec));
    let report = judge_in(&inventory, &pod(&[IMAGE]));
    assert_eq!((report.verdict, report.admission), (Verdict::Unknown, Admission::Warned));
    assert_eq!(report.policy, None);
    assert_eq!(lacking(&report.images[0]), ["serviceAccount:payments/api", "namespace:payments"]);
    assert_eq!(report.images[0].cause, Some(CauseCode::SelectionNotKnown));
}

#[test]
fn a_fixed_role_is_judged_without_its_service_account() {
    let mut inventory = world(by_role(nothing()));
    inventory.remove_service_account("payments", "api");
    let report = judge_in(&inventory, &pod(&[IMAGE]));
    assert_eq!(report.verdict, Verdict::Deny);
    assert!(report.notes.contains(&"ServiceAccountNotSeen"));
}

/// A spec with nodes of these names and what each may do.
fn by_nodes(nodes: &[(&str, Value)]) -> Value {
    let node = |(name, statements): &(&str, Value)| {
        json!({"arn": format!("arn:aws:iam::111122223333:role/{name}"),
            "identity": {"policies": [{"name": "p", "document": statements_of(statements.clone())}]}})
    };
    json!({"puller": {"nodes": nodes.iter().map(node).collect::<Vec<_>>()}})
}

#[test]
fn nodes_must_agree() {
    use Reason::{ActionDenied, Allowed, DependsOnNode, FactsMissing};
    let facts = |facts: &[&str]| facts.iter().map(|fact| (*fact).to_owned()).collect::<Vec<_>>();
    let cases = [
        (vec![everything(), everything()], Verdict::Allow, Allowed, facts(&[])),
        (vec![nothing(), nothing()], Verdict::Deny, ActionDenied, facts(&[])),
        (vec![everything(), nothing()], Verdict::Unknown, DependsOnNode, facts(&["node"])),
        (vec![nothing(), everything(), nothing()], Verdict::Unknown, DependsOnNode, facts(&["node"])),
        (vec![open_ended(), everything()], Verdict::Unknown, DependsOnNode, facts(&["node", "aws:sourceip"])),
        (vec![open_ended(), open_ended()], Verdict::Unknown, FactsMissing, facts(&["aws:sourceip"])),
    ];
    for (nodes, verdict, reason, missing) in cases {
        let names = ["one", "two", "three"];
        let nodes: Vec<(&str, Value)> = names.into_iter().zip(nodes).collect();
        let report = judge(by_nodes(&nodes), &[IMAGE]);
        let image = &report.images[0];
        assert_eq!((image.verdict, image.reason), (verdict, reason), "{nodes:?}");
        let lower: Vec<String> = lacking(image).iter().map(|fact| fact.to_ascii_lowercase()).collect();
        assert_eq!(lower, missing, "{nodes:?}");
        assert_eq!(image.cause == Some(CauseCode::CandidatesDiffer), reason == DependsOnNode, "{nodes:?}");
        assert_eq!(image.candidates.len(), nodes.len());
    }
    let report = judge(by_nodes(&[("good", everything()), ("bad", nothing()), ("worse", nothing())]), &[IMAGE]);
    let message = &report.images[0].message;
    assert_eq!(
        message.lines().next().unwrap(),
        "Pod payments/api-0, container c0: whether 111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1 can be pulled \
         depends on the node: arn:aws:iam::111122223333:role/good can pull it, arn:aws:iam::111122223333:role/bad (+1 more) \
         cannot [CandidatesDiffer]"
    );
    let told = |image: &ImageReport| image.fix.iter().map(|fix| fix.target.clone()).collect::<Vec<_>>();
    let role = |name: &str| Some(format!("arn:aws:iam::111122223333:role/{name}"));
    assert_eq!(told(&report.images[0]), [role("bad"), role("bad"), role("worse"), role("worse")]);
}

/// A spec that also declares repositories and registries.
fn with(mut spec: Value, repositories: Value, registries: Value) -> Value {
    spec["repositories"] = repositories;
    spec["registries"] = registries;
    spec
}

#[test]
fn a_repository_that_is_not_there_is_denied_to_everyone() {
    let missing = json!([{"match": "*", "presence": "Missing"}]);
    let mut secret = pod(&[IMAGE]);
    secret.pull_secrets = vec!["registry".to_owned()];
    for spec in [by_role(everything()), by_role(nothing()), json!({"puller": {"serviceAccount": {}}})] {
        for subject in [&pod(&[IMAGE]), &secret] {
            let report = judge_in(&world(with(spec.clone(), missing.clone(), json!([]))), subject);
            let image = &report.images[0];
            assert_eq!((image.verdict, image.reason), (Verdict::Deny, Reason::RepositoryNotFound));
            assert_eq!(image.cause, Some(CauseCode::RepositoryNotFound));
            // The rights that lack too are told with it.
            let more = usize::from(spec == by_role(nothing())) * 2;
            assert_eq!((image.fix[0].kind, image.fix.len()), (FixKind::CreateRepository, 1 + more));
            let message = report.denial_message();
            assert_eq!(
                message.split("; then").next().unwrap(),
                "Pod payments/api-0, container c0: cannot pull 111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1: there \
                 is no arn:aws:ecr:us-east-1:111122223333:repository/team/app, and no pull-through cache rule makes it \
                 [RepositoryNotFound]\n\
                 fix: create repository team/app in the registry of account 111122223333 in us-east-1, or correct the image"
            );
        }
    }
    // Nothing is pulled, so nothing is missed.
    let mut never = pod(&[IMAGE]);
    never.images[0].never = true;
    assert_eq!(judge_in(&world(with(by_role(everything()), missing, json!([]))), &never).verdict, Verdict::Allow);
}

#[test]
fn what_only_works_from_the_cache_is_unknown() {
    let registries = json!([{"accountId": "111122223333", "pullThroughCache": [{"prefix": "team"}]}]);
    let pulls = json!([allow(
        json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]),
        json!("*")
    )]);
    let report = judge(with(by_role(pulls), json!([]), registries.clone()), &[IMAGE]);
    let image = &report.images[0];
    assert_eq!((image.verdict, image.reason), (Verdict::Unknown, Reason::FactsMissing));
    assert_eq!(image.cause, Some(CauseCode::OnlyIfCached));
    assert!(image.message.contains("works only for what is already cached"), "{}", image.message);
    let json = serde_json::to_value(&image.candidates[0].decisions).unwrap();
    let needs: Vec<_> = json.as_array().unwrap().iter().map(|decision| decision["need"].as_str()).collect();
    assert_eq!(needs, [None, None, None, Some("Import"), Some("Import")]);
    // A secret changes nothing about an Unknown.
    let report = judge(with(by_role(everything()), json!([]), registries), &[IMAGE]);
    assert_eq!(report.verdict, Verdict::Allow);
}

#[test]
fn a_verdict_that_changes_by_itself_says_when() {
    let until = |action: &str, moment: &str| {
        json!({"Effect": "Allow", "Action": action, "Resource": "*",
            "Condition": {"DateLessThan": {"aws:CurrentTime": moment}}})
    };
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let next = |statements: Value| judge(by_role(statements), &[IMAGE]).next_transition;
    assert_eq!(next(everything()), None);
    assert_eq!(next(json!([until("ecr:*", "2027-01-01T00:00:00Z")])), at("2027-01-01T00:00:00Z"));
    // The first of several.
    let both = json!([until("ecr:Get*", "2027-06-01T00:00:00Z"), until("ecr:Batch*", "2027-02-01T00:00:00Z")]);
    assert_eq!(next(both), at("2027-02-01T00:00:00Z"));
    // A decision that changes without the verdict: layers are never allowed.
    assert_eq!(next(json!([until("ecr:BatchGetImage", "2027-01-01T00:00:00Z")])), None);
    // Allowed by one of two until the later of them.
    let either = json!([until("ecr:*", "2027-01-01T00:00:00Z"), until("ecr:*", "2027-03-01T00:00:00Z")]);
    assert_eq!(next(either), at("2027-03-01T00:00:00Z"));
    // A denial of login hides that of the manifest; both must end before the verdict is another one.
    let from = |action: &str, moment: &str| {
        json!({"Effect": "Allow", "Action": action, "Resource": "*",
            "Condition": {"DateGreaterThanEquals": {"aws:CurrentTime": moment}}})
    };
    let both = json!([from("ecr:Get*", "2027-01-01T00:00:00Z"), from("ecr:Batch*", "2027-02-01T00:00:00Z")]);
    let report = judge(by_role(both), &[IMAGE]);
    assert_eq!((report.verdict, report.next_transition), (Verdict::Deny, at("2027-02-01T00:00:00Z")));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["nextTransition"], json!("2027-02-01T00:00:00Z"));
}

#[test]
fn further_needs_count_when_they_are_asked_for() {
    let options = |requires: &[Need]| Options { requires: requires.to_vec(), ..Options::default() };
    let ask = |subject: &Subject, requires: &[Need]| {
        forecast(&world(by_role(pulls_of("team/app"))), subject, at(), &options(requires))
    };
    assert_eq!(ask(&pod(&[IMAGE]), &[]).verdict, Verdict::Allow);
    let report = ask(&pod(&[IMAGE]), &[Need::Push]);
    assert_eq!(report.verdict, Verdict::Deny);
    let denied: Vec<_> =
        report.images[0].candidates[0].decisions.iter().filter(|d| d.decision == Decision::ImplicitlyDenied).collect();
    assert_eq!(denied.len(), 5);
    assert!(denied.iter().all(|decision| decision.need == Need::Push));
    // No secret of the pod pushes anything.
    let mut secret = pod(&[IMAGE]);
    secret.pull_secrets = vec!["registry".to_owned()];
    assert_eq!(ask(&secret, &[Need::Push]).verdict, Verdict::Deny);
    assert_eq!(ask(&secret, &[Need::Console, Need::List]).verdict, Verdict::Deny);
    assert_eq!(ask(&pod(&["nginx", "public.ecr.aws/a/b"]), &[Need::Push]).verdict, Verdict::Allow);
}

#[test]
fn a_condition_that_asks_for_no_tag_misses_none_whatever_it_compares_with() {
    for (key, cause) in [
        ("aws:ResourceTag/tier", CauseCode::TagMissing),
        ("ECR:resourcetag/tier", CauseCode::TagMissing),
        ("ecr:RepositoryName", CauseCode::ConditionNotMet),
    ] {
        let mut spec = by_role(json!([allow(json!("ecr:GetAuthorizationToken"), json!("*")),
            {"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"StringEquals": {key: "resourcetag/"}}}]));
        spec["repositories"] = json!([{"match": "*", "tags": {}}]);
        assert_eq!(judge(spec, &[IMAGE]).images[0].cause, Some(cause), "{key}");
    }
}

/// The user declares what no service of AWS sets; however the key is called, it is a condition key.
#[test]
fn a_condition_key_is_one_whatever_other_fact_it_is_called_like() {
    let prefixes = ["document", "policy", "presence", "repositoryPolicy", "role", "spec", "namespace"];
    let more = ["configMap", "registryPolicy", "serviceAccount"];
    let keys = prefixes.iter().chain(&more).map(|prefix| format!("{prefix}:tier"));
    for key in keys.chain(["repositoryPolicy:repositories[0].policy".to_owned()]) {
        let mut spec = by_role(json!([{"Effect": "Allow", "Action": "ecr:*", "Resource": "*",
            "Condition": {"StringEquals": {&*key: "gold"}}}]));
        spec["context"] = json!({&*key: ["gold", "silver"]});
        let report = judge(spec, &[IMAGE]);
        let image = &report.images[0];
        assert_eq!(image.missing, [MissingFact::ConditionKey(key.clone())], "{key}");
        assert_eq!(image.cause, Some(CauseCode::ConditionNotKnown), "{key}");
        assert!(
            image.message.ends_with(&format!(": {key} is not known at admission [ConditionNotKnown]")),
            "{}",
            image.message
        );
        assert_eq!((report.verdict, report.warnings().len()), (Verdict::Unknown, 1), "{key}: one line, no way out");
    }
}

#[test]
fn a_malformed_document_is_told_with_its_path() {
    let spec = json!({"puller": {"role": {"arn": ROLE, "identity": {"policies": [
        {"name": "app-pull", "document": {"Version": "2012-10-17", "Statement": [{"Effect": "Maybe", "Action": "*", "Resource": "*"}]}}]}}}});
    let report = judge(spec, &[IMAGE]);
    let image = &report.images[0];
    assert_eq!((report.verdict, lacking(image)), (Verdict::Unknown, vec!["document:app-pull".to_owned()]));
    assert_eq!(image.cause, Some(CauseCode::DocumentMalformed));
    let path = "$.spec.puller.role.identity.policies[0].document.Statement[0].Effect";
    assert!(image.message.contains(path), "{}", image.message);
}

#[test]
fn a_config_map_that_is_not_there_is_told_with_the_way_out() {
    let reference = |name: &str| json!({"name": name, "configMapKeyRef": {"name": name, "key": "app.json"}});
    let spec =
        json!({"puller": {"role": {"arn": ROLE, "identity": {"policies": [reference("iam"), reference("more")]}}}});
    let report = judge(spec.clone(), &[IMAGE, IMAGE]);
    let image = &report.images[0];
    assert_eq!(lacking(image), ["configMap:payments/iam/app.json", "configMap:payments/more/app.json"]);
    assert_eq!((report.verdict, image.cause), (Verdict::Unknown, Some(CauseCode::ConfigMapNotFound)));
    let command = "kubectl label configmap -n payments iam ecraccess.dev/policy-document=true";
    assert_eq!(image.fix.len(), 2, "{:?}", image.fix);
    assert!(image.message.contains(command), "{}", image.message);
    let warnings = report.warnings();
    assert_eq!(
        warnings.iter().map(|line| line.matches(command).count()).collect::<Vec<_>>(),
        [0, 0, 1],
        "{warnings:?}"
    );
    assert!(warnings[2].starts_with("fix: label the ConfigMap"), "{warnings:?}");

    let mut inventory = world(spec);
    let broken = json!({"metadata": {"name": "iam", "namespace": "payments",
        "labels": {"ecraccess.dev/policy-document": "true"}}, "data": {"app.json": "{"}});
    inventory.put_config_map(ConfigMapFacts::from_json(&broken).unwrap().unwrap());
    let image = &judge_in(&inventory, &pod(&[IMAGE])).images[0];
    assert_eq!(image.cause, Some(CauseCode::DocumentMalformed));
    assert!(image.message.contains("ConfigMap/payments/iam `$.data[\"app.json\"]`: not JSON"), "{}", image.message);
}

#[test]
fn a_template_is_warned_of_and_never_refused() {
    let workload = |spec: Value| {
        Subject::from_workload(&json!({"kind": "Deployment", "metadata": {"name": "api", "namespace": "payments"},
            "spec": {"template": {"spec": spec}}}))
        .unwrap()
        .unwrap()
    };
    let subject = workload(json!({"serviceAccountName": "api", "containers": [{"name": "app", "image": IMAGE}]}));
    let report = judge_in(&world(by_role(nothing())), &subject);
    assert_eq!((report.verdict, report.admission), (Verdict::Deny, Admission::Warned));
    assert_eq!(report.images[0].field, "spec.template.spec.containers[0].image");
    let warnings = report.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("Deployment payments/api, container app: cannot pull "));
    let refused = "Deployment payments/api is admitted, but its pods will be refused; fix: ";
    assert!(warnings[1].starts_with(refused), "{warnings:?}");
    let mut spec = by_role(open_ended());
    spec["onUnknown"] = json!("Reject");
    let report = judge_in(&world(spec), &subject);
    assert_eq!(report.admission, Admission::Warned);
    assert!(report.warnings()[1].starts_with(refused.trim_end_matches("; fix: ")), "{:?}", report.warnings());
    // A fix that is not for all of them says for which.
    let fixes = |images: &[&str]| {
        let template = Subject { kind: "Deployment".into(), template: true, ..pod(images) };
        judge_in(&world(by_role(pulls_of("none"))), &template).warnings().pop().unwrap()
    };
    assert!(fixes(&[IMAGE, IMAGE]).contains(" will be refused; fix: add to policy app-pull "));
    assert!(
        fixes(&[IMAGE, &IMAGE.replace("app", "b")]).contains(" will be refused; fix for c0: add to policy app-pull ")
    );
    // Its pods are admitted: nothing more is said.
    let mut spec = by_role(nothing());
    spec["onDeny"] = json!("Warn");
    assert_eq!(judge_in(&world(spec), &subject).warnings(), warnings[..1]);
    let audit = Options { max_action: Action::Audit, ..Options::default() };
    let report = forecast(&world(by_role(nothing())), &subject, at(), &audit);
    assert_eq!((report.admission, report.warnings()), (Admission::Admitted, Vec::new()));
    // Its service account may still be to come.
    let mut unseen = world(json!({"puller": {"serviceAccount": {}}}));
    unseen.remove_service_account("payments", "api");
    let report = judge_in(&unseen, &subject);
    assert_eq!((report.verdict, report.admission), (Verdict::Unknown, Admission::Admitted));
    assert!(report.warnings().is_empty());
}

#[test]
fn every_place_is_named() {
    let subject = Subject::from_pod(&json!({"metadata": {"namespace": "payments", "name": "p"}, "spec": {
        "serviceAccountName": "api",
        "containers": [{"name": "a", "image": IMAGE}],
        "initContainers": [{"name": "b", "image": IMAGE}],
        "ephemeralContainers": [{"name": "c", "image": IMAGE}],
        "volumes": [{"name": "d", "image": {"reference": IMAGE}}],
    }}))
    .unwrap();
    let report = judge_in(&world(by_role(nothing())), &subject);
    let heads: Vec<&str> = report.images.iter().map(|i| i.message.split(':').next().unwrap()).collect();
    assert_eq!(
        heads,
        [
            "Pod payments/p, container a",
            "Pod payments/p, init container b",
            "Pod payments/p, ephemeral container c",
            "Pod payments/p, volume d",
        ]
    );
    assert!(report.denial_message().contains("\nfurther containers: b, c, d\n"));
}

#[test]
fn warnings_stay_few() {
    let images: Vec<String> = (0..20).map(|n| format!("{}{n}", IMAGE.trim_end_matches('1'))).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let report = judge(by_role(open_ended()), &images);
    let warnings = report.warnings();
    assert_eq!(warnings.len(), 9);
    assert_eq!(warnings[8], "and 12 more images of Pod payments/api-0");
    assert!(warnings.iter().map(String::len).sum::<usize>() <= 4096);
}

/// A text of the given length that tells its ends.
fn long(length: usize) -> String {
    let mut text = "a".repeat(length.saturating_sub(1));
    text.push('z');
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_hold_their_limits_and_keep_what_matters(
        (namespace, name, container) in (1usize..=63, 1usize..=253, 1usize..=63),
        (repository, tag, role_path, policy_name, sid) in (2usize..=255, 1usize..=128, 1usize..=510, 1usize..=128, 0usize..=300),
        containers in 1usize..40,
        by_account in any::<bool>(),
        kind in 0usize..4,
        junk in "\\PC{0,40}",
    ) {
        let (namespace, policy_name) = (long(namespace), long(policy_name));
        let image = format!("111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com/{}:{}", long(repository), long(tag));
        let role = format!("arn:aws-us-gov:iam::111122223333:role/{}/{}", long(role_path), long(64));
        let sid = if sid == 0 { json!(null) } else { json!(format!("S{}{junk}", long(sid))) };
        let mut statement = match kind {
            0 => json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/other"}),
            1 => json!({"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}),
            2 => json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}),
            _ => json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": {"StringLike": {"aws:UserAgent": junk}}}),
        };
        if !sid.is_null() { statement["Sid"] = sid; }
        let identity = json!({"policies": [{"name": policy_name, "document": statements_of(json!([statement]))}]});
        let puller = if by_account {
            json!({"serviceAccount": {"identity": identity}})
        } else {
            json!({"role": {"arn": role, "identity": identity}})
        };
        let mut inventory = Inventory::default();
        inventory.put_policy(PolicyObject::from_json(json!({"kind": "EcrAccessPolicy",
            "metadata": {"name": long(253), "namespace": namespace}, "spec": {"puller": puller}})).unwrap());
        let annotations = if by_account { [("eks.amazonaws.com/ecr-role-arn".to_owned(), role)].into() } else { [].into() };
        inventory.put_service_account(ServiceAccountFacts { namespace: namespace.clone(), name: "api".into(), annotations, ..ServiceAccountFacts::default() });
        let list: Vec<Value> = (0..containers).map(|_| json!({"name": long(container), "image": image})).collect();
        let subject = Subject::from_pod(&json!({"metadata": {"namespace": namespace, "name": long(name)},
            "spec": {"serviceAccountName": "api", "containers": list}})).unwrap();
        let report = judge_in(&inventory, &subject);
        let expected = if kind == 3 { Verdict::Unknown } else { Verdict::Deny };
        prop_assert_eq!(report.verdict, expected);
        let message = report.denial_message();
        let first = message.lines().next().unwrap();
        prop_assert!(first.len() <= MAX_LINE && message.len() <= MAX_MESSAGE, "{} {}", first.len(), message.len());
        prop_assert!(message.chars().all(|c| c == '\n' || !c.is_control()));
        if kind < 3 {
            prop_assert!(first.contains("ecr:GetAuthorizationToken on *") && first.contains("identity"), "{}", message);
            prop_assert!(message.lines().last().unwrap().starts_with("fix: "), "{}", message);
            let last = message.lines().last().unwrap();
            prop_assert!(last.contains("ecr-access check") || last.ends_with('}') || last.contains("Deny in statement"), "{}", last);
        }
        if containers > 1 {
            prop_assert!(message.contains("more") || message.contains("further containers: "), "{}", message);
        }
        for image in &report.images {
            prop_assert!(image.message.len() <= MAX_MESSAGE);
        }
        for cause in report.causes() {
            prop_assert!(cause.message.len() <= MAX_LINE && !cause.message.contains('\n'));
        }
        // As a pod, and as the template of a workload.
        let template = Subject { kind: "ReplicationController".into(), template: true, ..subject };
        for report in [report, judge_in(&inventory, &template)] {
            let warnings = report.warnings();
            for warning in &warnings {
                prop_assert!(warning.len() <= MAX_LINE && !warning.chars().any(char::is_control));
            }
            // From here on the API server cuts every warning to 256 characters.
            prop_assert!(warnings.iter().map(String::len).sum::<usize>() <= 4096);
        }
    }

    #[test]
    fn whatever_a_pod_says_is_judged_without_a_panic(image in "\\PC{0,60}|.{0,20}", name in ".{0,80}") {
        let subject = Subject {
            kind: "Pod".into(), namespace: "payments".into(), name: name.clone(), service_account: "api".into(),
            images: vec![
                ImageUse { field: "spec.containers[0].image".into(), container: name, image: image.clone(), ..ImageUse::default() },
                ImageUse { field: "f".into(), container: "c".into(), image: format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{image}"), ..ImageUse::default() },
            ],
            ..Subject::default()
        };
        let report = judge_in(&world(by_role(nothing())), &subject);
        prop_assert_eq!(report.images.len(), 2);
        let line = report.denial_message().lines().next().unwrap_or_default().to_owned();
        prop_assert!(line.len() <= MAX_LINE && !line.chars().any(char::is_control));
    }
}
