//! What `check` says of bad input: all of it, word for word, in `tests/data/bad-input`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it bad_input` writes the answers; read the diff as somebody who made the mistake.

use std::fs;
use std::path::Path;

use fixtures::ROLE;
use golden::Goldens;

use crate::check::program;

const AT: &str = "2026-11-23T00:00:00Z";

/// A policy that pulls `team/app`, its service account and a pod. Each case changes a text in it.
const GOOD: &str = r#"apiVersion: ecraccess.dev/v1alpha1
kind: EcrAccessPolicy
metadata: {name: pull, namespace: payments}
spec:
  serviceAccounts: {names: [api]}
  puller:
    role:
      arn: arn:aws:iam::111122223333:role/app
      identity:
        policies:
        - name: app-pull
          document:
            Version: "2012-10-17"
            Statement:
            - {Effect: Allow, Action: "ecr:GetAuthorizationToken", Resource: "*"}
            - {Effect: Allow, Action: ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], Resource: "arn:aws:ecr:us-east-1:111122223333:repository/team/*"}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: api, namespace: payments}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: payments}
spec:
  serviceAccountName: api
  containers:
  - {name: app, image: "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1"}
"#;

const IMAGE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1";

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let with = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "`{from}` is not in it");
        GOOD.replacen(from, to, 1).into_bytes()
    };
    let document = |text: &str| {
        let (head, rest) = GOOD.split_once("          document:\n").unwrap();
        let (_, tail) = rest.split_once("---\n").unwrap();
        format!("{head}          document: '{text}'\n---\n{tail}").into_bytes()
    };
    let second = |spec: &str| {
        format!("{GOOD}---\napiVersion: ecraccess.dev/v1alpha1\nkind: EcrAccessPolicy\nmetadata: {{name: other, namespace: payments}}\nspec:\n{spec}")
            .into_bytes()
    };
    let below = |spec: &str| with("  puller:\n", &format!("{spec}  puller:\n"));
    // A list of so many repositories that the document has a million characters, and two.
    let large = |repositories: usize| {
        let resources: Vec<String> =
            (0..repositories).map(|n| format!("\"arn:aws:ecr:us-east-1:111122223333:repository/r{n:05}\"")).collect();
        let resources = resources.join(",");
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"ecr:*","Resource":[{resources}]}}]}}"#
        )
    };
    assert!((1_000_000..1_048_576).contains(&large(19_000).len()));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain(GOOD.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    vec![
        ("broken-yaml", with("names: [api]", "names: [api")),
        ("tab-in-indentation", with("  puller:", "\tpuller:")),
        ("unclosed-quote", with("\"2012-10-17\"", "\"2012-10-17")),
        ("binary", b"\x00\x01\x02\xffELF".to_vec()),
        ("utf-16", utf16),
        ("alias-bomb", {
            let levels = (1..9).map(|n| {
                let previous = vec![format!("*a{}", n - 1); 10].join(", ");
                format!("a{n}: &a{n} [{previous}]\n")
            });
            format!("a0: &a0 [x]\n{}", levels.collect::<String>()).into_bytes()
        }),
        ("other-version", with("v1alpha1", "v1beta1")),
        ("other-kind", with("kind: EcrAccessPolicy", "kind: EcrAccesspolicy")),
        ("field-misspelled", with("serviceAccounts:", "serviceAccount:")),
        (
            "field-of-another-level",
            below("  permissionsBoundary: {managedPolicyArn: \"arn:aws:iam::aws:policy/PowerUserAccess\"}\n"),
        ),
        ("action-misspelled", below("  onDeny: reject\n")),
        ("unknown-stricter-than-deny", below("  onDeny: Warn\n  onUnknown: Reject\n")),
        ("two-pullers", with("    role:", "    serviceAccount: {}\n    role:")),
        ("role-with-a-typo", with(ROLE, "arn:aws:iam:111122223333:role/app")),
        ("role-without-its-type", with(ROLE, "arn:aws:iam::111122223333:app")),
        ("role-that-is-a-user", with(ROLE, "arn:aws:iam::111122223333:user/app")),
        ("role-that-is-a-session", with(ROLE, "arn:aws:sts::111122223333:assumed-role/app/i-1")),
        ("account-of-eleven-digits", with(ROLE, "arn:aws:iam::11112222333:role/app")),
        (
            "account-that-is-a-number",
            below("  registries: [{accountId: 111122223333, pullThroughCache: [{prefix: docker-hub}]}]\n"),
        ),
        (
            "account-that-is-octal",
            below("  registries: [{accountId: 012345670123, pullThroughCache: [{prefix: docker-hub}]}]\n"),
        ),
        (
            "presence-misspelled",
            below("  repositories: [{match: \"arn:aws:ecr:*:*:repository/*\", presence: missing}]\n"),
        ),
        (
            "repository-policy-misspelled",
            below("  repositories: [{match: \"arn:aws:ecr:*:*:repository/*\", policy: unknown}]\n"),
        ),
        ("context-that-is-no-list", below("  context: {\"aws:SourceVpc\": vpc-1}\n")),
        ("tag-that-is-a-boolean", with("        policies:\n", "        tags: {prod: yes}\n        policies:\n")),
        ("annotation-with-a-typo", {
            let role = "    role:\n      arn: arn:aws:iam::111122223333:role/app\n";
            let roles = "    serviceAccount:\n      roles:\n      - arn: arn:aws:iam::111122223333:role/app\n";
            let identity = GOOD.split_once(role).unwrap().1.split_once("---\n").unwrap().0;
            let indented: String = identity.lines().map(|line| format!("  {line}\n")).collect();
            GOOD.replacen(role, roles, 1)
                .replacen(identity, &indented, 1)
                .replacen(
                    "metadata: {name: api, namespace: payments}",
                    "metadata: {name: api, namespace: payments, annotations: {eks.amazonaws.com/ecr-role-arm: \"arn:aws:iam::111122223333:role/app\"}}",
                    1,
                )
                .into_bytes()
        }),
        (
            "two-policies-that-conflict",
            second(
                "  serviceAccounts: {names: [api]}\n  puller: {role: {arn: \"arn:aws:iam::111122223333:role/other\", identity: {policies: [{name: none, managedPolicyArn: \"arn:aws:iam::aws:policy/AWSDenyAll\"}]}}}\n",
            ),
        ),
        ("policy-given-twice", {
            let again = GOOD.split_once("---\n").unwrap().0.replace("team/*", "team/other");
            format!("{GOOD}---\n{again}").into_bytes()
        }),
        ("document-of-1-mb", document(&large(19_000))),
        ("document-of-2-mb", document(&large(38_000))),
        (
            "document-of-1-mb-broken",
            document(&large(19_000).replacen("\"Effect\":\"Allow\"", "\"Effect\":\"Allowed\"", 1)),
        ),
        ("document-of-1-mb-of-nothing", document(&"x".repeat(1_000_000))),
        ("document-nested-deeply", document(&format!(r#"{{"Version":"2012-10-17","Statement":{}}}"#, nested(2_000)))),
        (
            "document-with-a-key-twice",
            document(
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Effect":"Deny","Action":"ecr:*","Resource":"*"}]}"#,
            ),
        ),
        ("document-that-is-percent-encoded", document("%7B%22Version%22%3A%20%222012-10-17%22%7D")),
        ("document-without-resource", with(", Resource: \"*\"}", "}")),
        ("document-with-a-principal", with(", Resource: \"*\"}", ", Resource: \"*\", Principal: \"*\"}")),
        (
            "document-with-a-misspelled-element",
            with("Action: \"ecr:GetAuthorizationToken\"", "Actions: \"ecr:GetAuthorizationToken\""),
        ),
        ("document-with-a-date-for-version", with("Version: \"2012-10-17\"", "Version: 2012-10-18")),
        (
            "managed-policy-by-name",
            with(
                "          document:\n            Version: \"2012-10-17\"\n",
                "          managedPolicyArn: PullOnly\n          document:\n            Version: \"2012-10-17\"\n",
            ),
        ),
        (
            "image-of-5000-characters",
            with(IMAGE, &format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{}:1", "a".repeat(4_953))),
        ),
        ("image-of-5000-characters-elsewhere", with(IMAGE, &format!("registry.example.org/{}:1", "a".repeat(4_977)))),
        ("image-with-upper-case", with(IMAGE, "111122223333.dkr.ecr.us-east-1.amazonaws.com/Team/App:1")),
        ("image-with-a-scheme", with(IMAGE, "https://111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1")),
        (
            "image-with-control-characters",
            with(IMAGE, "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app\\u0007\\n:1"),
        ),
        ("image-that-is-a-number", with(&format!("\"{IMAGE}\""), "12")),
        ("pod-without-containers", with("  containers:\n  - {", "  container:\n  - {")),
        ("longest-names", {
            let (name, container) = ("n".repeat(253), "c".repeat(63));
            let repository = format!("{}/{}", "a".repeat(120), "b".repeat(120));
            String::from_utf8(with(
                "metadata: {name: app, namespace: payments}",
                &format!("metadata: {{name: {name}, namespace: payments}}"),
            ))
            .unwrap()
            .replace(
                &format!("{{name: app, image: \"{IMAGE}\"}}"),
                &format!(
                    "{{name: {container}, image: \"111122223333.dkr.ecr.us-east-1.amazonaws.com/{repository}:{}\"}}",
                    "t".repeat(128)
                ),
            )
            .replace(ROLE, &format!("arn:aws:iam::111122223333:role/{}/{}", "p".repeat(400), "r".repeat(64)))
            .into_bytes()
        }),
    ]
}

#[test]
fn every_answer_is_as_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad-input");
    let cases = cases();
    assert!(cases.len() >= 40);
    let mut goldens = Goldens::default();
    for (name, input) in &cases {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("input.yaml"), input).unwrap();
        let run = program(directory.path(), &["check", "-f", "input.yaml", "--at", AT], b"");
        assert!(!run.stderr.contains("panicked"), "{name}: {}", run.stderr);
        let answer = format!("{}--- standard error\n{}--- exit code {}\n", run.stdout, run.stderr, run.code);
        // Whoever made a mistake should not have to look for it.
        assert!(answer.len() <= 6_000, "{name}: {} bytes are no message: {answer}", answer.len());
        goldens.hold(folder.join(format!("{name}.txt")), &answer);
    }
    goldens.finish_folder(folder);
}

#[test]
fn the_good_one_is_good() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("input.yaml"), GOOD).unwrap();
    let run = program(directory.path(), &["check", "-f", "input.yaml", "--at", AT], b"");
    assert_eq!((run.stderr.as_str(), run.code), ("", 0), "{}", run.stdout);
    assert!(run.stdout.contains("1 allow"), "{}", run.stdout);
}
