//! `ecr-access evaluate` as a program: every field of `docs/evaluate.md`, bad lines, streams and exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use fixtures::ROLE;
use serde_json::{Value, json};

const REPO: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";

fn start(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ecr-access"))
        .arg("evaluate")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Standard output and exit code for this standard input.
fn run(args: &[&str], input: &[u8]) -> (String, i32) {
    let mut child = start(args);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// The answers to lines, which are one each.
fn answers(lines: &[Value]) -> Vec<Value> {
    let input: Vec<String> = lines.iter().map(Value::to_string).collect();
    let (output, _) = run(&[], input.join("\n").as_bytes());
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), lines.len());
    answers
}

/// A line that is allowed, with these fields in place of its own.
fn line(changes: &Value) -> Value {
    let mut line = json!({
        "request": {"principal": ROLE, "action": "ecr:BatchGetImage", "resource": REPO, "context": {}},
        "identityPolicies": [allow(json!({}))],
        "resourceAccountId": "111122223333",
    });
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
        line.pointer_mut(&parent).unwrap()[field] = value.clone();
    }
    line
}

fn policy(statement: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

fn allow(condition: Value) -> Value {
    policy(json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*", "Condition": condition}))
}

/// A statement of a resource-based policy that allows whom `principal` names.
fn grant(principal: Value) -> Value {
    policy(json!({"Effect": "Allow", "Principal": principal, "Action": "ecr:*", "Resource": "*"}))
}

/// Asserts decision and missing facts of each line.
fn assert_decisions(cases: &[(Value, &str, &[&str])]) {
    let lines: Vec<Value> = cases.iter().map(|(changes, ..)| line(changes)).collect();
    for ((changes, decision, missing), answer) in cases.iter().zip(answers(&lines)) {
        assert_eq!(answer["decision"], *decision, "{changes}: {answer}");
        assert_eq!(answer["missing"], json!(missing), "{changes}: {answer}");
    }
}

/// Asserts path and message of the error of each line.
fn assert_errors(cases: &[(Value, &str, &str)]) {
    let lines: Vec<Value> = cases.iter().map(|(changes, ..)| line(changes)).collect();
    for ((changes, path, message), answer) in cases.iter().zip(answers(&lines)) {
        assert_eq!(answer, json!({"error": {"path": path, "message": message}}), "{changes}");
    }
}

#[test]
fn principals_in_every_form() {
    let none = json!([]);
    let by = |principal: &str, named: Value| json!({"request/principal": principal, "resourcePolicy": grant(named), "identityPolicies": none});
    let session = "arn:aws:sts::111122223333:assumed-role/app/s-1";
    let federated = "arn:aws:sts::111122223333:federated-user/ann";
    let user = "arn:aws:iam::111122223333:user/ann";
    let root = "arn:aws:iam::111122223333:root";
    assert_decisions(&[
        (by(ROLE, json!({"AWS": ROLE})), "Allowed", &[]),
        (by(ROLE, json!({"AWS": "arn:aws:iam::111122223333:role/App"})), "ImplicitlyDenied", &[]),
        (by(session, json!({"AWS": session})), "Allowed", &[]),
        (by(session, json!({"AWS": ROLE})), "Allowed", &[]),
        (by(session, json!({"AWS": "arn:aws:sts::111122223333:assumed-role/app/s-2"})), "ImplicitlyDenied", &[]),
        (by(user, json!({"AWS": user})), "Allowed", &[]),
        (by(user, json!({"AWS": root})), "ImplicitlyDenied", &[]),
        (by(federated, json!({"AWS": federated})), "Allowed", &[]),
        (by(federated, json!({"AWS": user})), "ImplicitlyDenied", &[]),
        (by(root, json!({"AWS": "111122223333"})), "Allowed", &[]),
        (by("111122223333", json!({"AWS": root})), "Allowed", &[]),
        (by("444455556666", json!({"AWS": "111122223333"})), "ImplicitlyDenied", &[]),
        (by("ecs.amazonaws.com", json!({"Service": "ecs.amazonaws.com"})), "Allowed", &[]),
        (by("ecs.amazonaws.com", json!({"Service": "eks.amazonaws.com"})), "ImplicitlyDenied", &[]),
        (by("ecs.amazonaws.com", json!({"AWS": "111122223333"})), "ImplicitlyDenied", &[]),
        (by("*", json!("*")), "Allowed", &[]),
        (by("*", json!({"AWS": "*"})), "Allowed", &[]),
        (by("*", json!({"AWS": "111122223333"})), "ImplicitlyDenied", &[]),
    ]);
}

#[test]
fn principals_that_are_not_known() {
    let by = |principal: Value, policies: Value| json!({"request/principal": principal, "resourcePolicy": grant(json!({"AWS": ROLE})), "identityPolicies": policies});
    let both = json!([allow(json!({}))]);
    let none = json!([]);
    let foreign = "arn:aws:iam::444455556666:role/app";
    let session = "arn:aws:sts::111122223333:assumed-role/app/s-1";
    let named_session = |principal: Value| json!({"request/principal": principal, "resourcePolicy": grant(json!({"AWS": session})), "identityPolicies": []});
    let scp = json!([[policy(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))]]);
    assert_decisions(&[
        (by(json!({"arns": [ROLE]}), none.clone()), "Allowed", &[]),
        (by(json!({"arns": [foreign]}), both.clone()), "ImplicitlyDenied", &[]),
        (by(json!({"arns": [ROLE], "account": "111122223333", "scpExempt": null}), none.clone()), "Allowed", &[]),
        (by(json!({"arns": [], "account": "sameAsResource"}), both.clone()), "Allowed", &[]),
        (by(json!({"arns": [], "account": "sameAsResource"}), none.clone()), "Unknown", &["principal"]),
        (by(json!({"account": "444455556666"}), both.clone()), "ImplicitlyDenied", &[]),
        (by(json!({}), both.clone()), "Unknown", &["account"]),
        (by(json!({"account": "none"}), none.clone()), "ImplicitlyDenied", &[]),
        (named_session(json!({"arns": [ROLE, session]})), "Allowed", &[]),
        (named_session(json!({"arns": [ROLE]})), "ImplicitlyDenied", &[]),
        (named_session(json!({"arns": [ROLE], "sessionUnknown": true})), "Unknown", &["principal"]),
        (json!({"serviceControlPolicies": scp, "request/principal": {"arns": [ROLE]}}), "ImplicitlyDenied", &[]),
        (
            json!({"serviceControlPolicies": scp, "request/principal": {"arns": [ROLE], "scpExempt": true}}),
            "Allowed",
            &[],
        ),
        // The account of an ARN that has none, and of a resource that has none.
        (
            json!({"request/resource": "arn:aws:s3:::bucket", "request/action": "ecr:X", "resourceAccountId": null}),
            "Unknown",
            &["resourceAccount"],
        ),
        (json!({"resourceAccountId": null}), "Allowed", &[]),
    ]);
}

#[test]
fn facts_of_the_context() {
    let needs = |operator: &str, key: &str, value: Value, rest: Value| {
        let mut changes = json!({"identityPolicies": [allow(json!({operator: {key: value}}))]});
        changes.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        changes
    };
    let vpc = |rest: Value| needs("StringEquals", "aws:SourceVpc", json!("vpc-1"), rest);
    let mfa = |rest: Value| needs("BoolIfExists", "aws:MultiFactorAuthPresent", json!("true"), rest);
    let age = |value: Value| {
        needs(
            "NumericEquals",
            "aws:MultiFactorAuthAge",
            json!("9007199254740993"),
            json!({"request/context": {"aws:multifactorauthage": value}}),
        )
    };
    assert_decisions(&[
        (vpc(json!({})), "ImplicitlyDenied", &[]),
        (vpc(json!({"request/context": null})), "ImplicitlyDenied", &[]),
        (vpc(json!({"request/context": {"AWS:sourceVPC": "vpc-1"}})), "Allowed", &[]),
        (vpc(json!({"request/context": {"aws:SourceVpc": ["vpc-1"]}})), "Allowed", &[]),
        (vpc(json!({"request/context": {"aws:SourceVpc": []}})), "ImplicitlyDenied", &[]),
        (vpc(json!({"request/context": {"aws:SourceVpc": {"unknown": true}}})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"request/context": {"aws:SourceVpc": {"present": true}}})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"request/context": {"aws:SourceVpc": {"absent": true}}})), "ImplicitlyDenied", &[]),
        (vpc(json!({"request/context": {"aws:SourceVpc": {"absentOr": "vpc-1"}}})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"request/context": {"aws:SourceVpc": {"absentOr": ["vpc-2"]}}})), "ImplicitlyDenied", &[]),
        (vpc(json!({"unknownContext": ["AWS:SOURCEVPC"]})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"unknownContext": ["*"]})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"unknownContext": "*"})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"unknownContext": "aws:SourceVpc"})), "Unknown", &["aws:SourceVpc"]),
        (vpc(json!({"unknownContext": ["aws:SourceIp"]})), "ImplicitlyDenied", &[]),
        (vpc(json!({"unknownContext": null})), "ImplicitlyDenied", &[]),
        (vpc(json!({"unknownContext": ["*"], "request/context": {"aws:SourceVpc": "vpc-1"}})), "Allowed", &[]),
        (mfa(json!({"request/context": {"aws:MultiFactorAuthPresent": {"absentOr": ["true"]}}})), "Allowed", &[]),
        (mfa(json!({"request/context": {"aws:MultiFactorAuthPresent": true}})), "Allowed", &[]),
        (mfa(json!({"request/context": {"aws:MultiFactorAuthPresent": false}})), "ImplicitlyDenied", &[]),
        // Numbers are text as they are spelled: no rounding.
        (age(json!(9_007_199_254_740_993_u64)), "Allowed", &[]),
        (age(json!(9_007_199_254_740_992_u64)), "ImplicitlyDenied", &[]),
    ]);
}

#[test]
fn layers_that_are_absent_null_unreadable_or_text() {
    let other = policy(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}));
    let unreadable = |name: &str| json!({"unreadable": name});
    let mut cases = Vec::new();
    let missing: [&[&str]; 8] = [&["x:0"], &["x:1"], &["x:2"], &["x:3"], &["x:4"], &["x:5"], &["x:6"], &["x:7"]];
    let places = [
        ("identityPolicies", 1),
        ("permissionsBoundary", 0),
        ("sessionPolicies", 1),
        ("resourcePolicy", 0),
        ("registryPolicy", 0),
        ("endpointPolicy", 0),
        ("serviceControlPolicies", 2),
        ("resourceControlPolicies", 2),
    ];
    let nested = |depth: usize, policy: Value| (0..depth).fold(policy, |inner, _| json!([inner]));
    for ((index, (field, depth)), missing) in places.into_iter().enumerate().zip(missing) {
        let with = |policy: Value| json!({field: nested(depth, policy)});
        // Whether a policy about another service takes the request away.
        let limits = matches!(
            field,
            "identityPolicies"
                | "permissionsBoundary"
                | "sessionPolicies"
                | "endpointPolicy"
                | "serviceControlPolicies"
        );
        let refused = if limits { "ImplicitlyDenied" } else { "Allowed" };
        cases.push((with(unreadable(&format!("x:{index}"))), "Unknown", missing));
        cases.push((with(other.clone()), refused, &[]));
        cases.push((with(json!(other.to_string())), refused, &[]));
        cases.push((
            json!({field: null}),
            if field == "identityPolicies" { "ImplicitlyDenied" } else { "Allowed" },
            &[],
        ));
    }
    // Empty lists: no session policies, no levels, but a level without policies allows nothing.
    cases.push((
        json!({"sessionPolicies": [], "serviceControlPolicies": [], "resourceControlPolicies": [[]]}),
        "Allowed",
        &[],
    ));
    cases.push((json!({"serviceControlPolicies": [[]]}), "ImplicitlyDenied", &[]));
    assert_decisions(&cases);
}

#[test]
fn time_is_given_and_the_next_transition_asked_for() {
    let until = allow(json!({"DateLessThan": {"aws:CurrentTime": "2026-11-23T00:00:00.5Z"}}));
    let asked = |rest: Value| {
        let mut changes = json!({"identityPolicies": [until]});
        changes.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        line(&changes)
    };
    let told = answers(&[
        asked(json!({"at": "2026-11-22T00:00:00Z"})),
        asked(json!({"at": "2026-11-22T01:00:00+01:00", "nextTransition": true})),
        asked(json!({"at": "2026-11-23T00:00:01Z", "nextTransition": true})),
        asked(json!({"nextTransition": false})),
    ]);
    assert_eq!(told[0]["decision"], "Allowed");
    assert_eq!(told[0].get("nextTransition"), None);
    assert_eq!(told[1]["nextTransition"], json!({"at": "2026-11-23T00:00:01Z", "decision": "ImplicitlyDenied"}));
    assert_eq!(told[2]["decision"], "ImplicitlyDenied");
    assert_eq!(told[2].get("nextTransition"), Some(&Value::Null));
    // Nothing is derived where the line does not ask.
    assert_eq!(told[3]["decision"], "ImplicitlyDenied");
    assert_errors(&[
        (json!({"nextTransition": true}), "$.nextTransition", "needs `at`, the time to look from"),
        (json!({"nextTransition": 1}), "$.nextTransition", "must be true or false"),
        (json!({"at": "tomorrow"}), "$.at", "`tomorrow` is not a time such as `2026-11-23T00:00:00Z`"),
        (json!({"at": 1_700_000_000}), "$.at", "must be a string (write `\"1700000000\"`)"),
        (json!({"at": "2026-11-23T00:00:00.5Z"}), "$.at", "`2026-11-23T00:00:00.5Z` has a fraction of a second"),
        (
            json!({"at": "2026-11-23T00:00:00Z", "request/context": {"aws:epochtime": 5}}),
            "$.at",
            "`aws:EpochTime` follows from `at` and cannot be given beside it",
        ),
    ]);
}

#[test]
fn errors_have_paths() {
    let not_a_principal = "`alice` is not an ARN, an account id, the host name of a service, or `*`";
    let scalar = "must be a string, a number or a boolean";
    assert_errors(&[
        (json!({"request": null}), "$.request", "is missing"),
        (json!({"request": []}), "$.request", "must be an object"),
        (json!({"request/principal": null}), "$.request.principal", "is missing"),
        (json!({"request/principal": 5}), "$.request.principal", "must be an ARN or an object"),
        (json!({"request/principal": "alice"}), "$.request.principal", not_a_principal),
        (json!({"request/principal": {"arns": ["alice"]}}), "$.request.principal.arns[0]", not_a_principal),
        (json!({"request/principal": {"arns": ROLE}}), "$.request.principal.arns", "must be a list"),
        (json!({"request/principal": {"AWS": ROLE}}), "$.request.principal.AWS", "unknown field `AWS`"),
        (
            json!({"request/principal": {"account": "1"}}),
            "$.request.principal.account",
            "`1` is not an account id of twelve digits",
        ),
        (json!({"request/action": "BatchGetImage"}), "$.request.action", "`BatchGetImage` is not `service:Action`"),
        (json!({"request/action": ["ecr:a"]}), "$.request.action", "must be a string"),
        (json!({"request/resource": ""}), "$.request.resource", "`` is neither an ARN nor `*`"),
        (json!({"request/resource": 1}), "$.request.resource", "must be a string (write `\"1\"`)"),
        (json!({"request/context": "x"}), "$.request.context", "must be an object"),
        (json!({"request/context": {"aws:SourceIp": [1, {}]}}), "$.request.context[\"aws:SourceIp\"][1]", scalar),
        (
            json!({"request/context": {"a": null}}),
            "$.request.context.a",
            "must be a string, a number or a boolean (a key that the request does not have is left out)",
        ),
        (json!({"request/principal": {"scpExempt": 1}}), "$.request.principal.scpExempt", "must be true or false"),
        (
            json!({"request/context": {"a": {"present": false}}}),
            "$.request.context.a",
            "must be a value, a list of values, or one of {\"present\": true}, {\"absent\": true}, {\"unknown\": true}, \
             {\"absentOr\": […]}",
        ),
        (
            json!({"request/context": {"aws:SourceIp": "192.0.2.1", "aws:sourceip": "192.0.2.1"}}),
            "$.request.context[\"aws:sourceip\"]",
            "the context key is given twice (case does not distinguish keys)",
        ),
        (json!({"request/Principal": ROLE}), "$.request.Principal", "unknown field `Principal`"),
        (
            json!({"resourceAccountId": 111_122_223_333_u64}),
            "$.resourceAccountId",
            "must be a string (write `\"111122223333\"`)",
        ),
        (
            json!({"resourceAccountId": "1111-2222-3333"}),
            "$.resourceAccountId",
            "`1111-2222-3333` is not an account id of twelve digits",
        ),
        (json!({"identityPolicies": {}}), "$.identityPolicies", "must be a list"),
        (json!({"identityPolicies": [null]}), "$.identityPolicies[0]", "an object should stand here, not null"),
        (
            json!({"identityPolicies": ["{"]}),
            "$.identityPolicies[0]",
            "not JSON: the document ends where a quoted key should stand at line 1 column 2",
        ),
        (json!({"permissionsBoundary": []}), "$.permissionsBoundary", "an object should stand here, not a list"),
        (
            json!({"resourcePolicy": {"unreadable": 1}}),
            "$.resourcePolicy.unreadable",
            "must be a string (write `\"1\"`)",
        ),
        (json!({"serviceControlPolicies": [{}]}), "$.serviceControlPolicies[0]", "must be a list"),
        (
            json!({"resourceControlPolicies": [[], [{"Statement": {"Effect": "allow", "Action": "*"}}]]}),
            "$.resourceControlPolicies[1][0].Statement.Effect",
            "`allow` is not an effect (write `Allow` or `Deny`, with this capital letter)",
        ),
        (json!({"unknownContext": {}}), "$.unknownContext", "must be a list"),
        (
            json!({"unknownContext": ["a", "A"]}),
            "$.unknownContext[1]",
            "the context key is given twice (case does not distinguish keys)",
        ),
        (json!({"identityPolicy": []}), "$.identityPolicy", "unknown field `identityPolicy`"),
    ]);
}

#[test]
fn a_line_of_any_bytes_is_answered_and_the_next_one_too() {
    let good = line(&json!({"id": "good"})).to_string();
    let deep = format!("{{\"request\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let marked = format!("\u{feff}{good}");
    let mut input = Vec::new();
    let twice = r#"{"id":1,"request":{},"request":{}}"#;
    let keys = good.replace(r#""Effect":"Allow""#, r#""Effect":"Deny","Effect":"Allow""#);
    let half = good.replace(r#""ecr:BatchGetImage""#, r#""ecr:\ud800""#);
    assert!(keys != good && half != good);
    let lines: [&[u8]; 14] = [
        marked.as_bytes(),
        b"",
        b"  \t\r",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"\"text\"",
        b"{} {}",
        twice.as_bytes(),
        keys.as_bytes(),
        half.as_bytes(),
        deep.as_bytes(),
        long.as_bytes(),
        marked.as_bytes(),
    ];
    for line in lines {
        input.extend(line);
        input.extend(b"\r\n");
    }
    // The last line may do without an end.
    input.truncate(input.len() - 2);
    let (output, code) = run(&["-"], &input);
    assert_eq!(code, 2);
    let error = |path: &str, message: &str| json!({"error": {"path": path, "message": message}});
    let with_id = |id: Value, path: &str, message: &str| json!({"id": id, "error": {"path": path, "message": message}});
    let allowed = json!({"id": "good", "decision": "Allowed", "layer": "identity", "policy": "identityPolicies[0]",
        "statement": "#0", "missing": []});
    let expected = [
        allowed.clone(),
        error("$", "line 4: not UTF-8"),
        error("$", "line 5, column 1: not JSON: EOF while parsing an object"),
        error("$", "line 6: must be an object"),
        error("$", "line 7: must be an object"),
        error("$", "line 8, column 4: not JSON: trailing characters"),
        with_id(json!(1), "$.request", "`request` stands twice"),
        with_id(json!("good"), "$.identityPolicies[0].Statement[0].Effect", "`Effect` stands twice (merge the two)"),
        with_id(json!("good"), "$.request.action", "unexpected end of hex escape"),
        error("$.request", "must be an object"),
        error("$", "line 13: longer than 16777216 bytes"),
        allowed,
    ];
    let told: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told, expected);
}

#[test]
fn exit_codes_tell_the_worst_line() {
    let allowed = line(&json!({})).to_string();
    let denied = line(&json!({"identityPolicies": []})).to_string();
    let unknown = line(&json!({"endpointPolicy": {"unreadable": "e"}})).to_string();
    let valid = json!({"validate": {"policyType": "identity", "document": allow(json!({}))}}).to_string();
    let invalid = json!({"validate": {"policyType": "trust", "document": allow(json!({}))}}).to_string();
    for (lines, code) in [
        (vec![], 0),
        (vec![""], 0),
        (vec![&*allowed, &unknown, &valid], 0),
        (vec![&*denied, &allowed], 1),
        (vec![&*allowed, "{}", &denied], 2),
        (vec![&*invalid], 2),
    ] {
        assert_eq!(run(&[], lines.join("\n").as_bytes()).1, code, "{lines:?}");
    }
    let missing = start(&["no-such-file.jsonl"]).wait_with_output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().starts_with("error: `no-such-file.jsonl`: "));
}

#[test]
fn ids_come_back_as_written() {
    let ids = [r#""a\u00e9""#, "1.50", "12345678901234567890123", "null", r#"{"b": [1, 2]}"#];
    let input: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":{id},"validate":1}}"#)).collect();
    let (output, _) = run(&[], input.join("\n").as_bytes());
    for (id, told) in ids.iter().zip(output.lines()) {
        let expected = format!(r#"{{"id":{id},"error":{{"path":"$.validate","message":"must be an object"}}}}"#);
        assert_eq!(told, expected);
    }
    assert_eq!(output.lines().count(), ids.len());
}

#[test]
fn the_validator_is_asked_alone() {
    let asked = |kind: &str, document: Value| json!({"validate": {"policyType": kind, "document": document}});
    let repeated = r#"{"Version":"2012-10-17","Statement":[],"Statement":[]}"#;
    let told = answers(&[
        asked("identity", allow(json!({}))),
        asked("boundary", json!(allow(json!({})).to_string())),
        asked("identity", json!("nothing")),
        asked("identity", json!(repeated)),
        asked("group", json!("{}")),
        json!({"validate": {"policyType": "scp"}}),
        json!({"validate": {"policyType": "scp", "document": {}}, "request": {}}),
    ]);
    assert_eq!(told[0], json!({"valid": true}));
    assert_eq!(told[1], json!({"valid": true}));
    for (answer, path) in
        told.iter().skip(2).zip(["$", "$.Statement", "$.validate.policyType", "$.validate.document", "$.request"])
    {
        assert_eq!(answer["error"]["path"], path, "{answer}");
    }
}

#[test]
fn lints_are_given_where_they_are_asked_for() {
    let starred = allow(json!({"StringEquals": {"aws:PrincipalTag/team": "blue*"}}));
    let asked = |document: &Value, lints: Value| json!({"validate": {"policyType": "identity", "document": document.to_string(), "lints": lints}});
    let told = answers(&[
        asked(&starred, json!(false)),
        asked(&starred, json!(true)),
        asked(&allow(json!({})), json!(true)),
        asked(&json!({}), json!(true)),
        asked(&starred, json!("all")),
    ]);
    assert_eq!(told[0], json!({"valid": true}));
    let lint = &told[1]["lints"][0];
    let path = r#"$.Statement[0].Condition.StringEquals["aws:PrincipalTag/team"]"#;
    assert!(lint["path"].as_str().is_some_and(|place| place.starts_with(path)), "{}", told[1]);
    let fields: Vec<&String> = lint.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["hint", "id", "message", "path", "severity"]);
    assert_eq!(told[2]["valid"], true);
    assert!(told[2]["lints"].is_array(), "{}", told[2]);
    assert_eq!(told[3]["error"]["path"], "$");
    assert_eq!(told[4]["error"], json!({"path": "$.validate.lints", "message": "must be true or false"}));
}

#[test]
fn explanations_are_structured_and_the_same_each_time() {
    let tagged = policy(json!({"Sid": "Team", "Effect": "Allow", "Action": "ecr:Batch*",
        "Resource": "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}}));
    let input = line(&json!({
        "identityPolicies": [tagged],
        "resourceControlPolicies": [[{"unreadable": "rcp:root"}]],
        "request/context": {"aws:PrincipalTag/team": "team"},
    }));
    let (output, _) = run(&["--explain"], input.to_string().as_bytes());
    let told: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(told["decision"], "ImplicitlyDenied");
    assert_eq!(
        told["nearestMiss"],
        json!({"layer": "identity", "policy": "identityPolicies[0]", "statement": "Team", "effect": "Allow", "part": "resource",
            "cause": "Below", "further": 1,
            "what": "resource `…:*:*:repository/${aws:PrincipalTag/team}` is not `…:us-east-1:111122223333:repository/team/app`"})
    );
    assert_eq!(told["explanation"]["sameAccount"], "true");
    let layers = &told["explanation"]["layers"];
    assert_eq!(layers[0]["allows"], "false");
    let statement = &layers[0]["policies"][0]["statements"][0];
    assert_eq!(statement["action"]["matches"], "true");
    assert_eq!(statement["action"]["entry"], "ecr:Batch*");
    assert_eq!(statement["resource"]["resolved"], "arn:aws:ecr:*:*:repository/team");
    assert_eq!(
        statement["conditions"],
        json!([{"operator": "StringEquals", "key": "aws:ResourceTag/team", "holds": "false", "cause": "KeyAbsent",
            "wanted": [{"value": "${aws:PrincipalTag/team}", "resolved": "team"}], "request": {"absent": true},
            "what": "`StringEquals` of `aws:ResourceTag/team` wants `${aws:PrincipalTag/team}` (`team`), the request does not have it"}])
    );
    assert_eq!(
        layers[1],
        json!({"layer": "rcp", "level": 0, "allows": "true", "denies": "unknown",
            "policies": [{"policy": "resourceControlPolicies[0][0]", "unreadable": "rcp:root", "statements": []}]})
    );
    assert_eq!(run(&["--explain"], input.to_string().as_bytes()).0, output);
}

#[test]
fn an_answer_comes_before_the_next_line_is_written() {
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for id in 0..3 {
        writeln!(stdin, "{}", line(&json!({"id": id}))).unwrap();
        let mut told = String::new();
        stdout.read_line(&mut told).unwrap();
        assert!(told.starts_with(&format!(r#"{{"id":{id},"decision":"Allowed""#)), "{told}");
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let lines = format!("{}\n", line(&json!({}))).repeat(2_000);
    // The program ends before all is written.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}
