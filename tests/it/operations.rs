//! The pages for those who operate it, against what they describe: `rbac.md`, `gitops.md` with its examples, and the
//! one-file bundle. `runbook.md` is followed on a real control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ecr_access::api::PolicyStatus;
use ecr_access::controller::scan::{PolicyCounts, Tie};
use ecr_access::controller::status::desired_status;
use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject, PolicyWithDocuments};
use serde_json::{Value, json};

use crate::chart::{FULL_NAME, NAMESPACE, all, chart, helm, named, objects, read, root, template, template_in};

const PAGES: [&str; 3] = ["rbac.md", "runbook.md", "gitops.md"];

fn page(name: &str) -> String {
    read(root().join("docs").join(name))
}

// ---------------------------------------------------------------------------------------------- rbac.md

/// Group, resource, name, verbs.
type Right = (String, String, String, Vec<String>);

/// The rows of the tables behind `heading` up to the next blank line after them.
fn rights_in_page(heading: &str) -> BTreeSet<Right> {
    let text = page("rbac.md");
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("rbac.md has no `{heading}`"));
    let rows =
        rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let rights: BTreeSet<Right> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [group, resource, name, verbs, why] = cells[..] else { panic!("five cells: {row}") };
            assert!(why.len() >= 8, "no reason: {row}");
            let mut verbs: Vec<String> = verbs.split(", ").map(str::to_owned).collect();
            verbs.sort();
            (group.to_owned(), resource.to_owned(), name.to_owned(), verbs)
        })
        .collect();
    assert!(!rights.is_empty(), "{heading}");
    rights
}

fn rights_in_role(role: &Value) -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let mut verbs = texts(&rule["verbs"]);
        verbs.sort();
        let mut names = texts(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for name in &names {
                    // The page speaks of a release named as the README names it.
                    let name = name.replace(FULL_NAME, "ecr-access");
                    assert!(
                        rights.insert((group.clone(), resource.clone(), name.clone(), verbs.clone())),
                        "{resource} twice"
                    );
                }
            }
        }
    }
    rights
}

/// A right that somebody adds to the chart needs its row, with a reason.
#[test]
fn the_operators_rights_are_the_ones_that_the_page_lists() {
    let objects = objects(&template(&[]));
    let addresses = format!("{FULL_NAME}-api-servers");
    for (heading, kind, name) in [
        ("In the cluster:", "ClusterRole", FULL_NAME),
        ("In its own namespace:", "Role", FULL_NAME),
        ("In the namespace `default`:", "Role", &addresses),
    ] {
        let rendered = rights_in_role(named(&objects, kind, name));
        let listed = rights_in_page(heading);
        let missing: Vec<&Right> = rendered.difference(&listed).collect();
        let gone: Vec<&Right> = listed.difference(&rendered).collect();
        assert!(
            missing.is_empty() && gone.is_empty(),
            "docs/rbac.md, `{heading}`: not listed {missing:?}, listed and not rendered {gone:?}"
        );
    }
    // Nothing else is bound to it.
    let bound: BTreeSet<&str> = ["ClusterRoleBinding", "RoleBinding"]
        .iter()
        .flat_map(|kind| all(&objects, kind))
        .map(|binding| binding["roleRef"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(bound, BTreeSet::from([FULL_NAME, addresses.as_str()]));
}

#[test]
fn the_defaults_of_aggregation_are_the_ones_that_the_page_lists() {
    let values: Value = serde_saphyr::from_str(&read(chart().join("values.yaml"))).unwrap();
    let text = page("rbac.md");
    for name in ["aggregateToView", "aggregateToEdit", "aggregateToAdmin"] {
        let row = format!("| `rbac.{name}` | `{}` |", values["rbac"][name]);
        assert!(text.contains(&row), "{row}");
    }
}

// ---------------------------------------------------------------------------------------------- the bundle

#[test]
fn the_bundle_is_the_chart_with_its_defaults() {
    let output = Command::new(root().join("hack/bundle.sh")).env("HELM", helm()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    assert!(made == read(root().join("deploy/ecr-access.yaml")), "deploy/ecr-access.yaml differs; run `make bundle`");

    let bundle = objects(&made);
    let kinds: Vec<&str> = bundle.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["Namespace", "CustomResourceDefinition", "CustomResourceDefinition"]);
    // The chart's own render, in another order and with the namespace.
    let mut rendered = Vec::new();
    let arguments =
        ["template", "ecr-access", chart().to_str().unwrap(), "--namespace", "ecr-access"].map(str::to_owned);
    let output = Command::new(helm()).args(arguments).env("KUBECONFIG", "/dev/null").output().unwrap();
    rendered.extend(objects(&String::from_utf8(output.stdout).unwrap()).iter().map(Value::to_string));
    let mut rest: Vec<String> = bundle[1..].iter().map(Value::to_string).collect();
    rendered.sort();
    rest.sort();
    assert!(rendered == rest, "the bundle has something else than the chart");

    let image = format!("ecr-access:{}", env!("CARGO_PKG_VERSION"));
    let deployment = all(&bundle, "Deployment")[0];
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], image);
    // By this label the definitions are left alone when the rest is deleted.
    for object in &bundle {
        let component = &object["metadata"]["labels"]["app.kubernetes.io/component"];
        assert_eq!(component == "crds", object["kind"] == "CustomResourceDefinition", "{}", object["metadata"]["name"]);
    }
}

// ---------------------------------------------------------------------------------------------- examples

fn example(name: &str) -> String {
    read(root().join("docs/examples/gitops").join(name))
}

/// What the tools' own definitions would check is not here; kinds, names, paths and values are.
#[test]
fn examples_for_gitops_hold_together() {
    let known: BTreeMap<&str, &[(&str, &str)]> = BTreeMap::from([
        ("argocd-applications.yaml", &[("argoproj.io/v1alpha1", "Application")][..]),
        ("argocd-cm.yaml", &[("v1", "ConfigMap")]),
        (
            "flux.yaml",
            &[
                ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
                ("v1", "Namespace"),
                ("source.toolkit.fluxcd.io/v1", "GitRepository"),
                ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
            ],
        ),
        ("kustomize/kustomization.yaml", &[("kustomize.config.k8s.io/v1beta1", "Kustomization")]),
    ]);
    let folder = root().join("docs/examples/gitops");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.insert("kustomize/kustomization.yaml".to_owned());
    assert_eq!(found, known.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());

    let mut values = Vec::new();
    for (name, kinds) in &known {
        // Duplicate keys are errors of the parser.
        let objects = objects(&example(name));
        let seen: BTreeSet<(&str, &str)> = objects
            .iter()
            .map(|object| (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()))
            .collect();
        assert_eq!(seen, kinds.iter().copied().collect(), "{name}");
        let names: BTreeSet<&str> = objects.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
        for object in &objects {
            for dependency in object["spec"]["dependsOn"].as_array().into_iter().flatten() {
                assert!(names.contains(dependency["name"].as_str().unwrap()), "{name}: {dependency}");
            }
            let chart = match object["kind"].as_str() {
                Some("HelmRelease") => &object["spec"]["chart"]["spec"]["chart"],
                Some("Application") if object["metadata"]["name"] == "ecr-access" => &object["spec"]["source"]["path"],
                _ => continue,
            };
            assert!(root().join(chart.as_str().unwrap()).join("Chart.yaml").exists(), "{name}: {chart}");
            let spec = &object["spec"];
            values.push(
                if spec["values"].is_null() { &spec["source"]["helm"]["valuesObject"] } else { &spec["values"] }
                    .clone(),
            );
            let version = format!("v{}", env!("CARGO_PKG_VERSION"));
            assert!(name != &"argocd-applications.yaml" || spec["source"]["targetRevision"] == version, "{spec}");
        }
    }
    assert_eq!(values.len(), 2);
    for values in values {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, values.to_string().as_bytes()).unwrap();
        let rendered = template_in(NAMESPACE, &["--values", file.path().to_str().unwrap()]);
        let rendered = objects(&rendered.unwrap_or_else(|error| panic!("{values}: {error}")));
        let image = &all(&rendered, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"];
        assert!(image.as_str().unwrap().starts_with(values["image"]["repository"].as_str().unwrap()), "{image}");
    }

    let kustomization = &objects(&example("kustomize/kustomization.yaml"))[0];
    let base = root().join("docs/examples/gitops/kustomize").join(kustomization["resources"][0].as_str().unwrap());
    assert!(base.join("kustomization.yaml").exists() && base.join("ecr-access.yaml").exists());
}

// ---------------------------------------------------------------------------------------------- health

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // JSON's escapes are Lua's too, but for `\u` and `\/`, which serde_json writes for control characters only.
        Value::String(text) => json!(text).to_string(),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let mut text = "{".to_owned();
            for (key, value) in map {
                write!(text, "[{}] = {}, ", json!(key), lua(value)).unwrap();
            }
            text + "}"
        }
    }
}

/// Status and message, as the script has them for each object. By the interpreter that Argo CD has inside.
fn health(script: &str, objects: &[Value]) -> Vec<(String, String)> {
    let mut program = format!("local function check(obj)\n{script}\nend\n");
    for object in objects {
        writeln!(program, "do local h = check({}); print(h.status); print(h.message) end", lua(object)).unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), program).unwrap();
    let mut go = Command::new("go");
    go.args(["tool", "-C"]).arg(root().join("tests/lua")).arg("glua").arg(file.path());
    let output = go.output().unwrap_or_else(|error| panic!("`go`, which the cluster tests need too: {error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), objects.len() * 2, "{text}{errors}");
    lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

/// The object with the status that the controller writes for it.
fn with_status(effect: &str, entry: &Value, counts: &PolicyCounts, behind: i64) -> Value {
    let document =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": "ecr:*", "Resource": "*"}]});
    let mut policies = vec![json!({"name": "a", "document": document})];
    policies.extend(entry.is_object().then(|| entry.clone()));
    let mut object = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
        "metadata": {"name": "pull", "namespace": "payments", "generation": 3},
        "spec": {"puller": {"nodes": [{"arn": "arn:aws:iam::111122223333:role/node", "identity": {"policies": policies}}]}},
    });
    let policy = PolicyWithDocuments::alone(PolicyObject::from_json(object.clone()).unwrap());
    let status: PolicyStatus = desired_status(&policy, counts, None, "2026-11-23T12:00:00Z".parse().unwrap());
    object["status"] = serde_json::to_value(status).unwrap();
    object["metadata"]["generation"] = json!(3 + behind);
    object
}

#[test]
fn argo_cd_is_told_the_health_that_the_page_promises() {
    let fine = PolicyCounts { service_accounts: 1, ..PolicyCounts::default() };
    let other = PolicyKey {
        kind: PolicyKind::EcrAccessPolicy,
        namespace: Some("payments".to_owned()),
        name: "other".to_owned(),
    };
    let tie = Tie { account: "payments/api".to_owned(), other, won: false };
    let conflict = PolicyCounts { ties: vec![tie], ..fine.clone() };
    let unknown = json!({"name": "b", "managedPolicyArn": "arn:aws:iam::aws:policy/NoSuchPolicy"});
    let mut new = with_status("Allow", &Value::Null, &fine, 0);
    new.as_object_mut().unwrap().remove("status");
    let mut empty = new.clone();
    empty["status"] = json!({"observedGeneration": 3, "conditions": []});
    let cases = [
        (with_status("Allow", &Value::Null, &fine, 0), "Healthy", "1 IAM policy resolved; 1 service account selected"),
        (
            with_status("Allow", &Value::Null, &fine, 1),
            "Progressing",
            "the operator has not looked at this generation yet",
        ),
        (with_status("Permit", &Value::Null, &fine, 0), "Degraded", "InvalidDocument: spec.puller.nodes[0]"),
        (with_status("Permit", &Value::Null, &fine, 1), "Progressing", "the operator has not"),
        (
            with_status("Allow", &unknown, &fine, 0),
            "Healthy",
            "1 of 2 IAM policies resolved; 1 service account selected; PolicyNotFound: spec.",
        ),
        (
            with_status("Allow", &Value::Null, &conflict, 0),
            "Healthy",
            "1 IAM policy resolved; 1 service account selected; SameRank: EcrAccessPolicy/payments/other",
        ),
        (new, "Progressing", "the operator has not"),
        (empty, "Progressing", "the operator has not"),
    ];
    let objects: Vec<Value> = cases.iter().map(|(object, ..)| object.clone()).collect();
    let found = health(&example("health.lua"), &objects);
    for ((status, message), (object, expected, begin)) in found.iter().zip(&cases) {
        assert!(status == expected && message.starts_with(begin), "{status}: {message}\n{object}");
    }
}

#[test]
fn argocd_cm_has_the_script_for_both_kinds() {
    let map = &self::objects(&example("argocd-cm.yaml"))[0];
    let script = example("health.lua");
    for kind in ["EcrAccessPolicy", "ClusterEcrAccessPolicy"] {
        assert_eq!(map["data"][format!("resource.customizations.health.ecraccess.dev_{kind}")], script);
    }
    let applications = map["data"]["resource.customizations.health.argoproj.io_Application"].as_str().unwrap();
    let healthy = json!({"status": {"health": {"status": "Healthy", "message": "m"}}});
    let found = health(applications, &[healthy, json!({"status": {"health": {"status": "Degraded"}}}), json!({})]);
    let expected = [("Healthy", "m"), ("Degraded", ""), ("Progressing", "")];
    assert_eq!(found, expected.map(|(status, message)| (status.to_owned(), message.to_owned())));
}

// ---------------------------------------------------------------------------------------------- links

/// A link of a page leads to a file, and to a heading of it where it names one.
#[test]
fn links_of_the_pages_lead_somewhere() {
    let anchor = |heading: &str| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let mut seen = 0;
    for name in PAGES {
        let text = page(name);
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path: PathBuf = if file.is_empty() { Path::new(name).into() } else { file.into() };
            let path = root().join("docs").join(path);
            assert!(path.exists(), "docs/{name} links to {target}");
            if !heading.is_empty() {
                let there = read(&path).lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(there, "docs/{name} links to {target}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen}");
}

#[test]
fn metrics_that_the_runbook_names_exist() {
    let sources = ["src/runtime/metrics.rs", "src/controller/metrics.rs", "src/runtime/watch/health.rs"]
        .map(|path| read(root().join(path)))
        .join("\n");
    let text = page("runbook.md");
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("| `ecr_access_")) {
        let name = line.split('`').nth(1).unwrap();
        assert!(sources.contains(&format!("`{name}")), "`{name}` is no metric");
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn defaults_in_the_charts_readme_are_the_charts() {
    let values: Value = serde_saphyr::from_str(&read(chart().join("values.yaml"))).unwrap();
    let mut seen = 0;
    for line in read(chart().join("README.md")).lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let default = cells[2].trim_matches('`');
        for name in cells[1].split(", ") {
            let pointer = format!("/{}", name.trim_matches('`').replace('.', "/"));
            let value = values.pointer(&pointer).unwrap_or_else(|| panic!("no value {name}"));
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(text, default, "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}
