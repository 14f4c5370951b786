//! When a verdict changes by itself: always right or not told, however many dates there are.

use super::*;

const BEGIN: i64 = 1_795_392_000;

/// 2026-11-23T00:00:00Z and so many days.
fn day(days: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + days * 86_400).unwrap()
}

fn dated(effect: &str, action: &str, resource: &str, conditions: Value) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource, "Condition": conditions})
}

/// From one day until another.
fn window(from: i64, until: i64) -> Value {
    json!({"DateGreaterThanEquals": {"aws:CurrentTime": day(from).to_string()},
        "DateLessThan": {"aws:CurrentTime": day(until).to_string()}})
}

fn next(spec: Value, images: &[&str]) -> NextChange {
    crate::judge::judge(&world(spec), &pod(images), at(), &Options::default()).next_change()
}

/// The login is allowed in every second of so many windows of a day.
fn windows(count: i64) -> Vec<Value> {
    (0..count).map(|n| dated("Allow", "ecr:GetAuthorizationToken", "*", window(2 * n, 2 * n + 1))).collect()
}

/// What one statement of `pulls_of` says, alone.
fn pulls(repository: &str) -> Value {
    pulls_of(repository)[1].clone()
}

#[test]
fn changes_of_decisions_that_leave_the_verdict_are_none() {
    let mut statements = windows(200);
    statements.push(pulls("other"));
    assert_eq!(next(by_role(json!(statements)), &[IMAGE]), NextChange::Never, "it is denied at every date");
    // With the pull allowed, the login decides: from the first day on it is denied.
    let mut statements = windows(200);
    statements.push(pulls("team/*"));
    assert_eq!(next(by_role(json!(statements)), &[IMAGE]), NextChange::At(day(1)));
    // What is allowed without a date stays so whatever else is allowed.
    let mut statements = windows(200);
    statements.extend([pulls("team/*"), allow(json!("ecr:GetAuthorizationToken"), json!("*"))]);
    assert_eq!(next(by_role(json!(statements)), &[IMAGE]), NextChange::Never);
}

/// Two requests are denied in turns, so that one of them is at every moment until the end.
#[test]
fn of_very_many_changes_none_is_told_rather_than_a_wrong_one() {
    let denied_in_turns = |count: i64| {
        let mut statements = vec![allow(json!("ecr:*"), json!("*"))];
        for n in 0..count {
            let action = if n % 2 == 0 { "ecr:GetAuthorizationToken" } else { "ecr:BatchGetImage" };
            statements.push(dated("Deny", action, "*", window(n, n + 1)));
        }
        by_role(json!(statements))
    };
    for count in [1, 2, 20] {
        assert_eq!(next(denied_in_turns(count), &[IMAGE]), NextChange::At(day(count)), "{count}");
    }
    let NextChange::NotBefore(so_far) = next(denied_in_turns(400), &[IMAGE]) else { panic!() };
    assert!(so_far > day(2) && so_far < day(400), "{so_far}");
    let report = judge(denied_in_turns(400), &[IMAGE]);
    assert_eq!((report.verdict, report.next_transition), (Verdict::Deny, None));
    // The moment at which to go on is as good as now.
    let later = crate::judge::judge(&world(denied_in_turns(400)), &pod(&[IMAGE]), so_far, &Options::default());
    assert!(matches!(later.next_change(), NextChange::NotBefore(at) if at > so_far), "{:?}", later.next_change());
}

#[test]
fn many_images_under_many_dates_cost_what_one_does() {
    let mut statements: Vec<Value> =
        (0..400).map(|n| dated("Deny", "ecr:*", "*", window(3 * n + 1, 3 * n + 2))).collect();
    statements.push(allow(json!("ecr:*"), json!("*")));
    let images: Vec<String> = (0..300).map(|n| IMAGE.replace("app", &format!("app-{n}"))).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    // More than the budget: nothing is told, and nothing is said to be certain either.
    assert_eq!(next(by_role(json!(statements)), &images), NextChange::NotBefore(at()));
    assert_eq!(next(by_role(json!(statements)), &[IMAGE]), NextChange::At(day(1)));
}

#[test]
fn a_time_that_is_declared_stands_still_beside_one_that_passes() {
    let dates = |key: &str, operator: &str, value: Value| json!({operator: {key: value}});
    let both = |current: Value| {
        let by_current = dates("aws:CurrentTime", "DateLessThan", json!(day(5).to_string()));
        let by_epoch = dates("aws:EpochTime", "NumericLessThan", json!((BEGIN + 10 * 86_400).to_string()));
        let mut spec = by_role(json!([
            dated("Allow", "ecr:GetAuthorizationToken", "*", by_current),
            dated("Allow", "ecr:BatchGetImage", "*", by_epoch),
            allow(json!("ecr:GetDownloadUrlForLayer"), json!("*")),
        ]));
        spec["context"] = current;
        spec
    };
    assert_eq!(next(both(json!({})), &[IMAGE]), NextChange::At(day(5)));
    let declared = json!({"aws:CurrentTime": [day(0).to_string()]});
    assert_eq!(next(both(declared), &[IMAGE]), NextChange::At(day(10)));
}

/// The obvious way: everything is judged again at each second at which anything may change.
fn looked_for(inventory: &Inventory, subject: &Subject, days: i64) -> Option<Timestamp> {
    let state = |at: Timestamp| {
        let judgement = crate::judge::judge(inventory, subject, at, &Options::default());
        (judgement.verdict, judgement.admission_decision.action)
    };
    let now = state(at());
    let seconds = (0..=days).flat_map(|day| [0, 1].map(|more| BEGIN + day * 86_400 + more));
    seconds.filter(|second| *second > BEGIN).map(|at| Timestamp::from_second(at).unwrap()).find(|at| state(*at) != now)
}

/// A statement of one of some kinds, with up to two dates.
fn statement() -> impl Strategy<Value = Value> {
    let actions = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:*"];
    let resources = ["*", "arn:aws:ecr:*:*:repository/team/*", "arn:aws:ecr:*:*:repository/other/*"];
    let operators = ["LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals", "Equals", "NotEquals"];
    let line = (0..6usize, 0..9i64, any::<bool>()).prop_map(move |(operator, on, epoch)| {
        let (key, value) = if epoch {
            ("aws:EpochTime", day(on).as_second().to_string())
        } else {
            ("aws:CurrentTime", day(on).to_string())
        };
        (format!("Date{}", operators[operator]), key, value)
    });
    let parts = (0..4usize, 0..3usize, 0..4u8, proptest::collection::vec(line, 0..3), any::<bool>());
    parts.prop_map(move |(action, resource, effect, lines, open)| {
        let mut conditions = json!({});
        for (operator, key, value) in lines {
            conditions[operator] = json!({key: value});
        }
        if open && effect == 1 {
            conditions["StringEquals"] = json!({"aws:SourceVpc": "vpc-1"});
        }
        dated(if effect == 0 { "Deny" } else { "Allow" }, actions[action], resources[resource], conditions)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 160 } else { 4000 }))]

    /// Nodes and roles, pull secrets and exemptions, several images.
    #[test]
    fn the_next_change_is_the_first(
        first in proptest::collection::vec(statement(), 1..7),
        second in proptest::collection::vec(statement(), 1..4),
        nodes in any::<bool>(),
        secret in any::<bool>(),
        images in 1..4usize,
        ends in proptest::option::of(1..8i64),
    ) {
        let document = |statements: &[Value]| json!([{"name": "p", "document": statements_of(json!(statements))}]);
        let node = |name: &str, statements: &[Value]| {
            json!({"arn": format!("arn:aws:iam::111122223333:role/{name}"), "identity": {"policies": document(statements)}})
        };
        let mut spec = if nodes {
            json!({"puller": {"nodes": [node("one", &first), node("two", &second)]}})
        } else {
            by_role(json!(first))
        };
        if let Some(ends) = ends {
            spec["exemptions"] = json!([{"name": "legacy", "images": ["*/other/*"], "reason": "why", "expiresAt": day(ends).to_string()}]);
        }
        let other = IMAGE.replace("team", "other");
        let all = [IMAGE, &*other, "nginx"];
        let mut subject = pod(&all[..images]);
        if secret {
            subject.pull_secrets.push("registry".to_owned());
        }
        let inventory = world(spec);
        let judgement = crate::judge::judge(&inventory, &subject, at(), &Options::default());
        let expected = looked_for(&inventory, &subject, 9);
        let found = judgement.next_change();
        prop_assert_eq!(found.at(), expected);
        prop_assert_eq!(found == NextChange::Never, expected.is_none());
    }
}
