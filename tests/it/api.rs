//! The CRDs: what is in `crds/` is what the program prints, the schema keeps its promises, and the Rust rules refuse
//! what the API server refuses, for the same reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ecr_access::api::{self, PolicyStatus};
use ecr_access::cli::crd;
use ecr_forecast::policy::{self, PolicyKind};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Deserialize;
use serde_json::{Value, json};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The schema of the only version, as JSON.
fn schema(crd: &CustomResourceDefinition) -> Value {
    json!(crd).pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default()
}

/// Calls `look` with every node of a schema and its path.
fn walk(path: &str, node: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, node);
    for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, look);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(each) = node.get(keyword).filter(|each| each.is_object()) {
            walk(&format!("{path}{suffix}"), each, look);
        }
    }
}

fn walk_all(mut look: impl FnMut(&str, &Value)) {
    for crd in api::crds() {
        walk(&crd.spec.names.kind, &schema(&crd), &mut look);
    }
}

#[test]
fn the_files_in_crds_are_what_the_program_prints() {
    let mut printed = String::new();
    for crd in api::crds() {
        let path = file("crds").join(crd::file_name(&crd));
        let stored = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            stored == crd::yaml(&crd).unwrap(),
            "{} is stale: run `ecr-access crd --output-dir crds`",
            path.display()
        );
        printed.push_str("---\n");
        printed.push_str(&stored);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ecr-access")).arg("crd").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), printed);
    let files = std::fs::read_dir(file("crds")).unwrap().count();
    assert_eq!(files, api::crds().len(), "crds/ holds the CRDs and nothing else");
}

#[test]
fn crd_writes_the_same_files_into_a_directory_and_reports_one_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let run = |to: &Path| {
        Command::new(env!("CARGO_BIN_EXE_ecr-access")).args(["crd", "--output-dir"]).arg(to).output().unwrap()
    };
    assert!(run(directory.path()).status.success());
    for crd in api::crds() {
        let name = crd::file_name(&crd);
        assert_eq!(
            std::fs::read(directory.path().join(&name)).unwrap(),
            std::fs::read(file("crds").join(&name)).unwrap()
        );
    }
    let failed = run(&directory.path().join("missing"));
    assert_eq!(failed.status.code(), Some(2));
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(message.starts_with("error: `") && message.contains("missing"), "{message}");
}

#[test]
fn the_yaml_reads_back_as_the_crd_and_survives_a_template_engine() {
    for crd in api::crds() {
        let yaml = crd::yaml(&crd).unwrap();
        assert_eq!(serde_saphyr::from_str::<CustomResourceDefinition>(&yaml).unwrap(), crd);
        assert!(!yaml.contains("{{"), "Helm would take it for a template");
        // Client-side apply keeps a copy in an annotation, which may have 256 KiB.
        assert!(yaml.len() < 200_000, "{} bytes", yaml.len());
    }
}

#[test]
fn every_list_map_and_string_has_a_limit() {
    walk_all(|path, node| {
        let limited = |keyword: &str| node[keyword].as_i64().is_some_and(|limit| limit > 0);
        match node["type"].as_str() {
            Some("array") => assert!(limited("maxItems"), "{path}"),
            Some("string") => assert!(limited("maxLength") || node["enum"].is_array(), "{path}"),
            Some("object") if node["additionalProperties"].is_object() => {
                assert!(limited("maxProperties"), "{path}")
            }
            Some("object" | "integer" | "boolean") => {}
            Some(other) => panic!("{path}: nobody thought of the type {other}"),
            None => {
                assert_eq!(node["x-kubernetes-preserve-unknown-fields"], true, "{path}");
                assert!(limited("maxLength") && limited("maxProperties"), "{path}");
            }
        }
    });
}

#[test]
fn every_property_is_described_in_whole_sentences() {
    walk_all(|path, node| {
        // The API server takes no description there.
        if path.ends_with("Policy.metadata") {
            return;
        }
        let description = node["description"].as_str().unwrap_or_default();
        assert!(description.len() >= 10 && description.ends_with('.'), "{path}: {description:?}");
        assert!(!description.contains("  ") && !description.contains('\n'), "{path}: {description:?}");
    });
}

#[test]
fn every_list_says_how_it_is_merged() {
    walk_all(|path, node| {
        if node["type"] == "array" {
            let merge = node["x-kubernetes-list-type"].as_str().unwrap_or_default();
            assert!(["atomic", "set", "map"].contains(&merge), "{path}: {merge:?}");
            for key in node["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
                let required = node["items"]["required"].as_array().unwrap();
                let default = &node["items"]["properties"][key.as_str().unwrap()]["default"];
                assert!(
                    required.contains(key) != default.is_string(),
                    "{path}: the key {key} of a list-map must be required or have a default"
                );
            }
        }
    });
}

#[test]
fn every_cel_rule_has_a_message_of_one_line() {
    let mut rules = Vec::new();
    walk_all(|path, node| {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(message.len() > 20 && !message.contains('\n'), "{path}: {message:?}");
            rules.push((path.to_owned(), rule["rule"].as_str().unwrap().to_owned()));
        }
    });
    let different: BTreeSet<&str> = rules.iter().map(|(_, rule)| rule.as_str()).collect();
    // A rule that gets lost on the way into the schema shows here.
    assert_eq!((rules.len(), different.len()), (194, 25), "{rules:#?}");
}

/// A manifest that uses every field of its kind, as far as they can stand together.
fn everything(kind: PolicyKind) -> Value {
    objects().into_iter().find(|(other, _)| *other == kind).unwrap().1
}

/// Manifests that use every field together: one for each way to say who pulls.
fn objects() -> Vec<(PolicyKind, Value)> {
    let selector = json!({
        "matchLabels": {"team": "payments", "a.b/c": ""},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["web", "api"]},
            {"key": "old", "operator": "DoesNotExist"}
        ]
    });
    let identity = json!({"policies": [
        {"name": "app-pull", "document": {"Version": "2012-10-17", "Statement": []}},
        {"name": "text", "document": "{\"Version\": \"2012-10-17\", \"Statement\": []}"},
        {"name": "PullOnly", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}
    ]});
    let with_boundary = |boundary: Value| {
        let mut identity = identity.clone();
        identity["permissionsBoundary"] = boundary;
        identity["tags"] = json!({"team": "payments", "cost center": ""});
        identity
    };
    let role =
        |boundary: Value| json!({"arn": "arn:aws:iam::111122223333:role/app", "identity": with_boundary(boundary)});
    let managed = json!({"managedPolicyArn": "arn:aws:iam::aws:policy/PowerUserAccess"});
    let document = json!({"document": {"Version": "2012-10-17", "Statement": []}});
    let levels = json!([
        {"level": "root", "policies": [
            {"name": "Full AWS Access",
             "managedPolicyArn": "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"}]},
        {"level": "account", "policies": [{"name": "guard", "document": {"Version": "2012-10-17", "Statement": []}}]}
    ]);
    let exemption = json!({"name": "legacy-images", "serviceAccounts": ["api"], "reason": "registry moves in March",
        "images": ["111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*"], "expiresAt": "2027-03-31T00:00:00Z"});
    let mut exemption_of_namespaces = exemption.clone();
    exemption_of_namespaces["namespaces"] = json!(["payments", "shop-2"]);
    let by_account = json!({
        "serviceAccounts": {"names": ["api", "worker.v2"], "selector": selector},
        "puller": {"serviceAccount": {
            "roleAnnotation": "eks.amazonaws.com/ecr-role-arn",
            "identity": with_boundary(managed.clone()),
            "roles": [role(managed.clone()), {"arn": "arn:aws:iam::111122223333:role/b", "identity": with_boundary(document.clone())}],
            "defaultRoleArn": "arn:aws:iam::111122223333:role/default-pull",
            "fallsBackToNode": true,
            "fallbackNodes": [role(document.clone()), {"arn": "arn:aws:iam::111122223333:role/node", "labels": {"a.b/group": "web"},
                "identity": with_boundary(managed.clone())}]
        }},
        "repositories": [
            {"match": "arn:aws:ecr:us-east-1:111122223333:repository/shared/*", "policy": document,
             "tags": {"tier": "gold"}, "presence": "Present"},
            {"match": "*", "policy": "Unknown", "presence": "Missing"}
        ],
        "registries": [
            {"accountId": "111122223333", "region": "us-east-1", "policy": document, "policyScope": "V1",
             "pullThroughCache": [{"prefix": "docker-hub"}, {"prefix": "ROOT"}]},
            {"accountId": "111122223333", "region": "*", "policy": "Unknown", "policyScope": "V2"}
        ],
        "organization": {"serviceControlPolicies": levels, "resourceControlPolicies": levels},
        "context": {"aws:SourceVpc": ["vpc-0abc", "vpc-1"], "aws:PrincipalTag/cost center": []},
        "exemptions": [exemption],
        "onDeny": "Reject",
        "onUnknown": "Warn"
    });
    // A boundary has one source, so it takes two objects to show both.
    let bounded = json!({"puller": {"serviceAccount": {"identity": with_boundary(document.clone())}}});
    let fixed = json!({"puller": {"role": role(document.clone())}});
    let by_role = json!({
        "serviceAccounts": {"names": ["api", "worker.v2"]},
        "puller": {"role": role(managed.clone())},
        "exemptions": [exemption_of_namespaces],
        "namespaceSelector": selector
    });
    let nodes = [
        role(document),
        json!({"arn": "arn:aws:iam::111122223333:role/b", "labels": {"a.b/group": "gpu", "empty": ""},
            "identity": with_boundary(managed)}),
    ];
    let by_node = json!({"puller": {"nodes": nodes}});
    // The same with every document in a ConfigMap, of which the cluster kind names the namespace.
    let own = in_config_maps(&by_account, &json!({"name": "iam", "key": "app.json"}));
    let elsewhere = json!({"namespace": "platform", "name": "iam", "key": "app.json"});
    let mut everywhere = by_account.clone();
    // Exemptions of accounts are another thing in the cluster kind.
    everywhere.as_object_mut().unwrap().remove("exemptions");
    let others = [&everywhere, &bounded, &fixed, &by_role, &by_node].map(|spec| in_config_maps(spec, &elsewhere));
    let others = others.map(|spec| (PolicyKind::ClusterEcrAccessPolicy, spec));
    let specs = [
        (PolicyKind::EcrAccessPolicy, by_account),
        (PolicyKind::EcrAccessPolicy, bounded),
        (PolicyKind::EcrAccessPolicy, fixed),
        (PolicyKind::ClusterEcrAccessPolicy, by_role),
        (PolicyKind::ClusterEcrAccessPolicy, by_node),
        (PolicyKind::EcrAccessPolicy, own),
    ];
    specs.into_iter().chain(others).map(|(kind, spec)| (kind, object(kind, &spec))).collect()
}

fn in_config_maps(value: &Value, reference: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| match name.as_str() {
                "document" => ("configMapKeyRef".to_owned(), reference.clone()),
                _ => (name.clone(), in_config_maps(value, reference)),
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => items.iter().map(|item| in_config_maps(item, reference)).collect(),
        other => other.clone(),
    }
}

fn object(kind: PolicyKind, spec: &Value) -> Value {
    json!({
        "apiVersion": policy::API_VERSION,
        "kind": kind.as_str(),
        "metadata": {"name": "everything", "namespace": "payments", "generation": 3, "uid": "u", "resourceVersion": "7",
                     "creationTimestamp": "2026-11-24T00:00:00Z"},
        "spec": spec,
        "status": {
            "observedGeneration": 3,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "in force",
                            "observedGeneration": 3, "lastTransitionTime": "2026-11-24T00:00:00Z"}],
            "serviceAccounts": 2,
            "pods": {"allowed": 41, "denied": 1, "unknown": 0},
            "workloads": {"allowed": 7, "denied": 1, "unknown": 0},
            "denials": [{"namespace": "payments", "serviceAccount": "api", "kind": "Deployment", "name": "api", "pods": 3,
                         "image": "x", "repository": "r", "action": "ecr:BatchGetImage", "cause": "c", "exemption": "e"}],
            "denialsOmitted": 0,
            "advice": [{"target": "t", "policy": "p", "code": "BroaderThanNeeded", "message": "m", "document": "{}"}],
            "adviceOmitted": 0,
            "exemptions": [{"name": "legacy-images", "expiresAt": "2027-03-31T00:00:00Z", "active": true, "pods": 1}],
            "nextTransition": "2026-12-01T00:00:00Z"
        }
    })
}

/// Paths of all values, list indexes left out.
fn paths(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        // What a user may name freely is no field of ours.
        Value::Object(_)
            if [".matchLabels", ".labels", ".document", ".policy", ".tags", ".context"]
                .iter()
                .any(|free| path.ends_with(free)) => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                into.insert(format!("{path}.{name}"));
                paths(&format!("{path}.{name}"), value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(path, item, into)),
        _ => {}
    }
}

#[test]
fn the_schema_and_the_rust_types_have_the_same_fields() {
    let (mut written, mut declared) = (BTreeSet::new(), BTreeSet::new());
    for (kind, object) in objects() {
        assert_eq!(policy::validate(kind, &object), []);
        // What the types do not have is lost here.
        let spec = json!(policy::decode(kind, &object).unwrap());
        let status = json!(PolicyStatus::deserialize(&object["status"]).unwrap());
        assert_eq!((&spec, &status), (&object["spec"], &object["status"]));
        paths("spec", &spec, &mut written);
        paths("status", &status, &mut written);
    }
    // What the schema has and the types do not shows here.
    walk_all(|path, _| {
        let path = path.replace("[]", "");
        let (_, field) = path.split_once('.').unwrap_or_default();
        if field.starts_with("spec.") || field.starts_with("status.") {
            declared.insert(field.replace("{}", ""));
        }
    });
    let different: Vec<&String> = written.symmetric_difference(&declared).collect();
    assert!(different.is_empty(), "{different:?}");
}

#[test]
fn both_kinds_are_read_alike() {
    for kind in PolicyKind::ALL {
        let spec = policy::decode(kind, &everything(kind)).unwrap();
        assert_eq!(spec.policy.service_accounts.unwrap().names.unwrap().len(), 2);
        assert_eq!(spec.namespace_selector.is_some(), kind == PolicyKind::ClusterEcrAccessPolicy);
        assert_eq!(api::validate(kind, &everything(kind)), []);
    }
}

/// One example for each kind of puller, each with pods that can pull by it.
#[test]
fn every_example_of_a_puller_is_taken_and_its_pods_are_allowed() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(file("docs/examples/pullers")).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        for document in serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(&path).unwrap()).unwrap() {
            if let Some(kind) = PolicyKind::from_name(document["kind"].as_str().unwrap()) {
                assert_eq!(policy::validate(kind, &document), [], "{}", path.display());
            }
        }
        let output = Command::new(env!("CARGO_BIN_EXE_ecr-access"))
            .args(["check", "-o", "json", "--at", "2026-11-23T00:00:00Z", "-f"])
            .arg(&path)
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &report["problems"]), (Some(0), &json!([])), "{}", path.display());
        let verdicts: Vec<&Value> =
            report["results"].as_array().unwrap().iter().map(|result| &result["verdict"]).collect();
        assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| **verdict == "Allow"), "{report:#}");
    }
    names.sort();
    assert_eq!(names, ["fargate.yaml", "nodes.yaml", "other-account.yaml", "service-account.yaml"]);
}

/// The objects that the API server refuses are refused without one, too. `tests/cluster` shows the other half.
#[test]
fn every_refused_object_is_refused_offline_for_the_same_reason() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(file("tests/data/refused"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 50, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let expected = lines.next().unwrap().strip_prefix("# expect: ").expect("first line says what to expect");
        // Where the API server's own words help nobody, the program says it better.
        let expected = lines.next().unwrap().strip_prefix("# offline: ").unwrap_or(expected);
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        let kind = PolicyKind::from_name(object["kind"].as_str().unwrap()).unwrap();
        let errors: Vec<String> =
            policy::validate(kind, &object).iter().map(|error| format!("{}: {}", error.path, error.message)).collect();
        assert!(errors.iter().any(|error| error.contains(expected)), "{}: {errors:#?}", path.display());
    }
}
