//! Explanations and nearest misses, by what they say.

use super::*;
use crate::{Account, Context, Policy, Principal};

const REPO: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";
const ROLE: &str = "arn:aws:iam::111122223333:role/app";

fn policy(statements: &str) -> NamedPolicy {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": {statements}}}"#);
    NamedPolicy::known("p", Policy::parse(&text).unwrap())
}

fn allow(resource: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"ecr:*","Resource":"{resource}"}}"#)
}

fn pull() -> Request {
    Request::new(Principal::from_arn(ROLE), "ecr:BatchGetImage", REPO)
}

fn told(env: &Environment, request: &Request) -> Option<(MissCause, String)> {
    nearest_miss(env, request).map(|near| (near.cause, near.to_string()))
}

/// The nearest miss of identity policies.
fn near(statements: &str, request: &Request) -> Option<(MissCause, String)> {
    told(&Environment::new().with_identity(policy(statements)), request)
}

fn assert_near(statements: &str, request: &Request, cause: MissCause, what: &str) {
    assert_eq!(near(statements, request), Some((cause, what.to_owned())), "{statements}");
}

#[test]
fn a_resource_names_what_differs() {
    for (entry, cause, what) in [
        (
            "arn:aws:ecr:us-east-1:111122223333:repository/team",
            MissCause::Below,
            "p #0: resource `…:repository/team` is not `…:repository/team/app`",
        ),
        (
            "arn:aws:ecr:*:*:repository/other/*",
            MissCause::Resource,
            "p #0: resource `…:*:*:repository/other/*` is not `…:us-east-1:111122223333:repository/team/app`",
        ),
        (
            "arn:aws:ecr:eu-west-1:111122223333:repository/team/*",
            MissCause::Region,
            "p #0: resource `arn:aws:ecr:eu-west-1:111122223333:repository/team/*` names region `eu-west-1`, not `us-east-1`",
        ),
        (
            "arn:aws:ecr:*:444455556666:repository/*",
            MissCause::Account,
            "p #0: resource `arn:aws:ecr:*:444455556666:repository/*` names account `444455556666`, not `111122223333`",
        ),
        (
            "arn:aws-cn:ecr:eu-*:111122223333:repository/*",
            MissCause::Partition,
            "p #0: resource `arn:aws-cn:ecr:eu-*:111122223333:repository/*` names partition `aws-cn`, not `aws`, and \
             region `eu-*`, not `us-east-1`",
        ),
        (
            "arn:aws:s3:::*",
            MissCause::Service,
            "p #0: resource `arn:aws:s3:::*` names service `s3`, not `ecr`, and region ``, not `us-east-1`, and account \
             ``, not `111122223333`",
        ),
        (
            "arn:aws:ecr:us-east-1:111122223333:repository/Team/*",
            MissCause::Case,
            "p #0: resource `…:repository/Team/*` is not `…:repository/team/app`: upper and lower case differ",
        ),
        (
            "arn:aws:ecr:us-east-1:111122223333:team/*",
            MissCause::MissingType,
            "p #0: resource `…:team/*` is not `…:repository/team/app`: `repository/` is missing before the name",
        ),
        (
            "arn:aws:ecr:us-east-1:111122223333:repository/${aws:PrincipalTag/team}/*",
            MissCause::VariableWithoutValue,
            "p #0: resource `arn:aws:ecr:us-east-1:111122223333:repository/${aws:PrincipalTag/team}/*` reads \
             `aws:PrincipalTag/team`, of which the request has no single value",
        ),
        (
            "repository/team/app",
            MissCause::Resource,
            "p #0: resource `repository/team/app` is not `arn:aws:ecr:us-east-1:111122223333:repository/team/app`",
        ),
    ] {
        assert_near(&allow(entry), &pull(), cause, what);
    }
    let tagged = pull().with("aws:PrincipalTag/team", Fact::value("*"));
    let entry = "arn:aws:ecr:us-east-1:111122223333:repository/${aws:PrincipalTag/team}/app";
    let env = Environment::new().with_identity(policy(&allow(entry)));
    let explanation = explain(&env, &tagged);
    let resource = &explanation.layers[0].policies[0].statements[0].resource;
    let text = "arn:aws:ecr:us-east-1:111122223333:repository/*/app".to_owned();
    assert_eq!(resource.resolved, Some(Resolution::Text(text)));
    // A star in a value is no wildcard, here neither.
    assert_eq!((resource.truth, resource.cause), (Truth::False, Some(MissCause::Resource)));
}

#[test]
fn login_is_granted_on_a_star_alone() {
    let login = Request::new(Principal::from_arn(ROLE), "ecr:GetAuthorizationToken", "*");
    assert_near(
        r#"{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"arn:aws:ecr:*:*:*"}"#,
        &login,
        MissCause::OnlyOnStar,
        "p #0: resource `arn:aws:ecr:*:*:*` is not `*`, and `ecr:GetAuthorizationToken` is only ever granted on `*`",
    );
}

#[test]
fn the_closest_statement_wins() {
    let repo = "arn:aws:ecr:us-east-1:111122223333:repository";
    // One missed element beats two; statements about the action beat others; the closest entry beats the first.
    let two_and_one = format!(
        r#"[{{"Sid":"Two","Effect":"Allow","Action":"ecr:*","Resource":"{repo}/team","Condition":{{"Bool":{{"aws:SecureTransport":"true"}}}}}},
            {{"Sid":"One","Effect":"Allow","Action":"ecr:*","Resource":"{repo}/x"}}]"#
    );
    assert_near(
        &two_and_one,
        &pull(),
        MissCause::Resource,
        "p One: resource `…:repository/x` is not `…:repository/team/app`",
    );
    let other_action = format!(
        r#"[{{"Sid":"Login","Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}},
            {{"Sid":"Far","Effect":"Allow","Action":"ecr:*","Resource":"{repo}/x","Condition":{{"Bool":{{"aws:SecureTransport":"true"}}}}}}]"#
    );
    assert_near(
        &other_action,
        &pull(),
        MissCause::Resource,
        "p Far: resource `…:repository/x` is not `…:repository/team/app`, and 1 more",
    );
    let closer = format!(
        r#"[{{"Sid":"A","Effect":"Allow","Action":"ecr:*","Resource":"{repo}/x"}},
            {{"Sid":"B","Effect":"Allow","Action":"ecr:*","Resource":["{repo}/tea","{repo}/team/ap"]}},
            {{"Sid":"C","Effect":"Allow","Action":"ecr:*","Resource":"{repo}/team/bpp"}}]"#
    );
    assert_near(
        &closer,
        &pull(),
        MissCause::Resource,
        "p B: resource `…:repository/team/ap` is not `…:repository/team/app`",
    );
    // One wrong field is closer than two.
    let fields = r#"[{"Sid":"Two","Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:eu-west-1:444455556666:repository/team/app"},
        {"Sid":"One","Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:eu-west-1:111122223333:repository/team/app"}]"#;
    assert_eq!(near(fields, &pull()).unwrap().0, MissCause::Region);
    // A misspelled action is about the action, and the statement on the repository is closer than the one on everything.
    let spelled = format!(
        r#"[{{"Sid":"Put","Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}},
            {{"Sid":"Get","Effect":"Allow","Action":["ecr:ListImages","ecr:BatchGetImages"],"Resource":"{repo}/*"}}]"#
    );
    assert_near(
        &spelled,
        &pull(),
        MissCause::ActionSpelling,
        "p Get: action `ecr:BatchGetImages` is not `ecr:BatchGetImage`: the spelling differs",
    );
    let layers = Request { action: "ecr:GetDownloadUrlForLayer".into(), ..pull() };
    let others = format!(
        r#"[{{"Sid":"Login","Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}},
            {{"Sid":"Get","Effect":"Allow","Action":"ecr:BatchGetImage","Resource":"{repo}/*"}}]"#
    );
    assert_near(
        &others,
        &layers,
        MissCause::Action,
        "p Get: action `ecr:BatchGetImage` is not `ecr:GetDownloadUrlForLayer`",
    );
    assert_eq!(near(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#, &pull()), None);
    assert_eq!(near(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#, &pull()), None);
    assert_eq!(near("[]", &pull()), None);
}

#[test]
fn conditions_tell_absent_keys_from_other_values() {
    let line = |condition: &str| {
        format!(r#"{{"Effect":"Allow","Action":"ecr:*","Resource":"*","Condition":{{{condition}}}}}"#)
    };
    let tag = |fact| pull().with("aws:PrincipalTag/t", fact);
    let equals = line(r#""StringEquals":{"aws:PrincipalTag/t":["a","b"]}"#);
    let wants = "p #0: `StringEquals` of `aws:PrincipalTag/t` wants `a` or `b`";
    for (fact, cause, rest) in [
        (Fact::Absent, MissCause::KeyAbsent, "the request does not have it"),
        (Fact::value("c"), MissCause::OtherValue, "the request has `c`"),
        (Fact::value("A"), MissCause::Case, "the request has `A`: upper and lower case differ"),
        (
            Fact::Values(vec!["a".into(), "c".into()]),
            MissCause::NeedsSetOperator,
            "the request has several values, which needs a set operator",
        ),
        (Fact::Unknown, MissCause::NotKnown, "the request's value is not known"),
        (Fact::AbsentOr(vec!["a".into()]), MissCause::NotKnown, "the request does not have it or has `a`"),
    ] {
        assert_near(&equals, &tag(fact), cause, &format!("{wants}, {rest}"));
    }
    assert_near(
        &line(r#""StringNotEquals":{"aws:PrincipalTag/t":"a"}"#),
        &tag(Fact::value("a")),
        MissCause::OtherValue,
        "p #0: `StringNotEquals` of `aws:PrincipalTag/t` wants other than `a`, the request has `a`",
    );
    assert_near(
        &line(r#""NumericLessThan":{"aws:MultiFactorAuthAge":["10abc"]}"#),
        &pull().with("aws:MultiFactorAuthAge", Fact::value("9")),
        MissCause::OtherValue,
        "p #0: `NumericLessThan` of `aws:MultiFactorAuthAge` wants `10abc` (no number), the request has `9`",
    );
    assert_near(
        &line(r#""StringEquals":{"aws:ResourceTag/t":"${aws:PrincipalTag/t}"}"#),
        &tag(Fact::value("blue")).with("aws:ResourceTag/t", Fact::value("red")),
        MissCause::OtherValue,
        "p #0: `StringEquals` of `aws:ResourceTag/t` wants `${aws:PrincipalTag/t}` (`blue`), the request has `red`",
    );
    assert_near(
        &line(r#""StringEquals":{"aws:ResourceTag/t":"${aws:PrincipalTag/t}"}"#),
        &pull().with("aws:ResourceTag/t", Fact::value("red")),
        MissCause::OtherValue,
        "p #0: `StringEquals` of `aws:ResourceTag/t` wants `${aws:PrincipalTag/t}` (`aws:PrincipalTag/t` has no single \
         value), the request has `red`",
    );
    assert_near(
        &line(r#""StringEquals":{"aws:TagKeys":"a"}"#),
        &pull().with("aws:TagKeys", Fact::value("a")),
        MissCause::NeedsSetOperator,
        "p #0: `StringEquals` of `aws:TagKeys` wants `a`, a key that can have several values, which needs a set operator",
    );
}

#[test]
fn a_refusal_is_explained_from_the_layer_that_refuses() {
    let everything = || policy(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let elsewhere = || policy(&allow("arn:aws:ecr:eu-west-1:*:*"));
    let open = || Environment::new().with_identity(everything());
    let places = [
        (Layer::Boundary, open().with_boundary(elsewhere())),
        (Layer::Session, open().with_session(elsewhere())),
        (Layer::Scp, open().with_scp_level([everything()]).with_scp_level([elsewhere()])),
        (Layer::Endpoint, open().with_endpoint(elsewhere())),
        (Layer::Identity, Environment::new().with_identity(elsewhere())),
    ];
    for (layer, env) in places {
        let near = nearest_miss(&env, &pull()).unwrap();
        assert_eq!((near.layer, near.cause), (layer, MissCause::Region));
    }
    // Across accounts the side that refuses is the one to look at.
    let closer = policy(&format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{ROLE}"}},"Action":"ecr:*"}}"#));
    let across = Account::known("444455556666");
    let env = Environment::new().with_identity(elsewhere()).with_resource(closer).with_resource_account(across.clone());
    assert_eq!(nearest_miss(&env, &pull()).unwrap().layer, Layer::Identity);
    let stranger =
        policy(r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/App"},"Action":"ecr:*"}"#);
    let env = open().with_resource(stranger).with_resource_account(across);
    assert_eq!(
        told(&env, &pull()).unwrap(),
        (
            MissCause::Case,
            format!(
                "p #0: the principal `{ROLE}` is not `arn:aws:iam::111122223333:role/App`: upper and lower case differ"
            )
        )
    );
    // IAM-EVAL-4: naming the account delegates.
    let account = policy(r#"{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"ecr:*"}"#);
    assert_eq!(told(&Environment::new().with_resource(account), &pull()).unwrap().0, MissCause::Delegates);
}

#[test]
fn a_deny_tells_what_would_have_kept_it_away() {
    let deny = |rest: &str| {
        format!(r#"[{{"Effect":"Allow","Action":"*","Resource":"*"}},{{"Sid":"No","Effect":"Deny",{rest}}}]"#)
    };
    let request = pull().with("aws:SourceVpc", Fact::value("vpc-1"));
    for (rest, cause, what) in [
        (
            r#""Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-0abc"}}"#,
            MissCause::ConditionHolds,
            "p No: `StringNotEquals` of `aws:SourceVpc` wants other than `vpc-0abc`, the request has `vpc-1`: this holds",
        ),
        (
            r#""Action":"*","NotResource":"arn:aws:ecr:*:*:repository/public/*""#,
            MissCause::Resource,
            "p No: `NotResource` does not except `arn:aws:ecr:us-east-1:111122223333:repository/team/app`",
        ),
        (
            r#""NotAction":"s3:*","Resource":"*""#,
            MissCause::Action,
            "p No: `NotAction` does not except `ecr:BatchGetImage`",
        ),
        (
            r#""Action":"ecr:Batch*","Resource":"*""#,
            MissCause::NoCondition,
            "p No: action `ecr:Batch*` covers `ecr:BatchGetImage`, without condition",
        ),
    ] {
        assert_near(&deny(rest), &request, cause, what);
        assert!(nearest_miss(&Environment::new().with_identity(policy(&deny(rest))), &request).unwrap().denies);
    }
}

#[test]
fn a_text_for_people() {
    let identity = policy(
        r#"[{"Effect":"Allow","Action":"ecr:Batch*","Resource":"*"},{"Effect":"Allow","Action":"s3:*","Resource":"*"},
            {"Sid":"No","Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]"#,
    );
    let env = Environment::new()
        .with_identity(identity)
        .with_boundary(NamedPolicy::unreadable("b", "boundary:b"))
        .with_scp_level([policy(&allow("arn:aws:ecr:us-west-1:*:*"))]);
    let request = pull().with_context(Context::new().with_unlisted(Fact::Unknown));
    let explanation = explain(&env, &request);
    assert_eq!(
        explanation.to_string(),
        "ImplicitlyDenied by scp\n  identity\n    p #0 (Allow) applies\n    p No (Deny) may apply\n      open: `Bool` of \
         `aws:SecureTransport` wants `false`, the request's value is not known\n    p: 1 statement is about other actions\n  \
         boundary\n    b is not readable: boundary:b\n  scp level 0\n    p #0 (Allow) does not apply\n      no: resource \
         `arn:aws:ecr:us-west-1:*:*` names region `us-west-1`, not `us-east-1`\nnearest: p #0: resource `arn:aws:ecr:us-west-1:*:*` \
         names region `us-west-1`, not `us-east-1`\n"
    );
    assert_eq!(explanation, explain(&env, &request));
}

/// Whatever stands in documents and requests: no cut inside a character, no arithmetic below zero.
#[test]
fn texts_of_any_alphabet_are_explained() {
    let texts = [
        "",
        "*",
        "é",
        "arn:",
        "arn:é:::",
        "日本:*",
        "arn:aws:ecr:é:1:repository/日本",
        "${aws:é}",
        "${*}é",
        "a:é",
        "🦀🦀:🦀",
        "ecr:É",
        "?",
        "::::::",
    ];
    for entry in texts {
        for asked in texts {
            let clause = |element: &str, not: &str| {
                policy(&format!(
                    r#"[{{"Effect":"Allow","{not}Action":["{entry}","{asked}é"],"{element}":["{entry}","é{asked}"],
                        "Condition":{{"StringLike":{{"{entry}":["{entry}"]}}}}}},
                        {{"Effect":"Allow","Action":"*","{element}":["{entry}"],"Principal":{{"AWS":"{entry}"}}}}]"#
                ))
            };
            for env in [
                Environment::new().with_identity(clause("Resource", "")),
                Environment::new().with_identity(clause("NotResource", "Not")),
                Environment::new().with_resource(clause("Resource", "")),
            ] {
                let request = Request::new(Principal::from_arn(asked), asked, asked).with(asked, Fact::value(entry));
                let explanation = explain(&env, &request);
                assert!(explanation.to_string().starts_with(explanation.outcome.decision.as_str()));
            }
        }
    }
}
