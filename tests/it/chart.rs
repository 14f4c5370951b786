//! The Helm chart, rendered by the real `helm`: what comes out is deterministic, least-privileged, complete for tools that
//! compare it with the live objects, and cannot be configured into locking a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use ecr_access::api::EcrAccessPolicy;
use serde_json::{Value, json};

const RELEASE: &str = "release";
pub(crate) const NAMESPACE: &str = "operator-ns";
/// The chart's name for everything in the release above.
pub(crate) const FULL_NAME: &str = "release-ecr-access";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn chart() -> PathBuf {
    root().join("charts/ecr-access")
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a directory whose names end as given, sorted.
fn files(directory: impl AsRef<Path>, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.to_str().unwrap().ends_with(suffix))
        .collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The pinned `helm`, built on first use.
pub(crate) fn helm() -> &'static Path {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    HELM.get_or_init(|| {
        if let Some(bin) = std::env::var_os("ECR_ACCESS_CLUSTER_BIN") {
            return Path::new(&bin).join("helm");
        }
        let output = Command::new(root().join("tests/cluster/build.sh")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("helm")
    })
}

/// Runs `helm` with nothing of the user's own configuration.
fn run(arguments: &[&str]) -> Output {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    let home = HOME.get_or_init(|| tempfile::tempdir().unwrap()).path();
    let mut command = Command::new(helm());
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, home);
    }
    command.env("KUBECONFIG", "/dev/null").env_remove("HELM_NAMESPACE").args(arguments).output().unwrap()
}

pub(crate) fn template_in(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut all = vec!["template", RELEASE, chart.to_str().unwrap(), "--namespace", namespace];
    all.extend(arguments);
    let output = run(&all);
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

pub(crate) fn template(arguments: &[&str]) -> String {
    template_in(NAMESPACE, arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// A render as objects. Duplicate keys are errors of the parser.
pub(crate) fn objects(render: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(render)
        .unwrap_or_else(|error| panic!("{error}\n{render}"))
        .into_iter()
        .filter(|object| !object.is_null())
        .collect()
}

pub(crate) fn all<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = all(objects, kind);
    assert_eq!(found.len(), 1, "objects of kind {kind}");
    found[0]
}

pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    all(objects, kind)
        .into_iter()
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Every variant that the chart promises to render: the defaults and `ci/*-values.yaml`.
fn variants() -> BTreeMap<String, Vec<String>> {
    let mut variants = BTreeMap::from([("default".to_owned(), Vec::new())]);
    for file in files(chart().join("ci"), "-values.yaml") {
        let path = file.to_str().unwrap().to_owned();
        variants.insert(name_of(&file).to_owned(), vec!["--values".to_owned(), path]);
    }
    assert!(variants.len() >= 5, "{variants:?}");
    variants
}

fn render_variant(arguments: &[String]) -> String {
    template(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The value of `--flag=value` among the operator's arguments.
fn flag<'a>(container: &'a Value, flag: &str) -> &'a str {
    let prefix = format!("--{flag}=");
    container["args"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|argument| argument.as_str().unwrap().strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no --{flag} in {}", container["args"]))
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn lint_finds_nothing() {
    for (variant, mut arguments) in variants() {
        let chart = chart();
        arguments.splice(0..0, ["lint", "--strict", chart.to_str().unwrap()].map(str::to_owned));
        let output = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{variant}: {text}");
        assert!(!text.contains("[WARNING]"), "{variant}: {text}");
    }
}

/// Renders differ between two runs where templates make keys, passwords or dates, and between `helm template` and
/// `helm upgrade` where they look at the cluster. Hooks become something else in GitOps tools.
#[test]
fn every_render_is_the_same_twice() {
    for (variant, arguments) in variants() {
        let render = render_variant(&arguments);
        assert!(render == render_variant(&arguments), "{variant} differs from itself");
        for word in ["caBundle", "helm.sh/hook", "BEGIN CERTIFICATE", "PRIVATE KEY"] {
            // But for the authority of somebody else's certificate, where the user gives it.
            assert!(
                !render.contains(word) || (word, variant.as_str()) == ("caBundle", "secret-values.yaml"),
                "{variant} has `{word}`"
            );
        }
    }
    for file in files(chart().join("templates"), "") {
        // Comments may speak of what is not done.
        let source = read(&file);
        let actions = source
            .split("{{")
            .skip(1)
            .map(|rest| rest.split("}}").next().unwrap_or_default())
            .filter(|action| !action.trim_start_matches(['-', ' ']).starts_with("/*"));
        for action in actions {
            let words: BTreeSet<&str> = action.split(|character: char| !character.is_alphanumeric()).collect();
            for word in [
                "lookup",
                "genCA",
                "genCAWithKey",
                "genPrivateKey",
                "genSelfSignedCert",
                "genSelfSignedCertWithKey",
                "genSignedCert",
                "genSignedCertWithKey",
                "derivePassword",
                "randAlpha",
                "randAlphaNum",
                "randAscii",
                "randBytes",
                "randInt",
                "randNumeric",
                "shuffle",
                "uuidv4",
                "now",
                "ago",
                "htpasswd",
                "bcrypt",
                "encryptAES",
                "getHostByName",
                "Revision",
                "IsInstall",
                "IsUpgrade",
            ] {
                assert!(!words.contains(word), "{}: `{word}` in `{action}`", file.display());
            }
        }
    }
}

#[test]
fn own_namespace_and_kube_system_stay_out_of_reach() {
    let attempts: &[&[&str]] = &[
        &[],
        &["--set", "webhook.namespaceSelector=null"],
        &["--set-json", "webhook.namespaceSelector={}"],
        &["--set-json", r#"webhook.namespaceSelector={"matchExpressions":[]}"#],
        &["--set-json", r#"webhook.namespaceSelector={"matchLabels":{"kubernetes.io/metadata.name":"operator-ns"}}"#],
        &[
            "--set-json",
            r#"webhook.namespaceSelector={"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"In","values":["operator-ns","kube-system"]}]}"#,
        ],
        &["--set", "fullnameOverride=other", "--set", "webhook.failurePolicy=Fail"],
    ];
    for namespace in [NAMESPACE, "kube-system"] {
        for attempt in attempts {
            let objects = objects(&template_in(namespace, attempt).unwrap());
            for webhook in one(&objects, "ValidatingWebhookConfiguration")["webhooks"].as_array().unwrap() {
                let selector = &webhook["namespaceSelector"];
                let first = &selector["matchExpressions"][0];
                assert_eq!(first["key"], "kubernetes.io/metadata.name", "{attempt:?}");
                assert_eq!(first["operator"], "NotIn", "{attempt:?}");
                let values: BTreeSet<&str> =
                    first["values"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                assert_eq!(values, BTreeSet::from(["kube-system", namespace]), "{attempt:?}");
            }
        }
    }
}

#[test]
fn users_narrow_the_webhooks_for_pods_and_workloads_alone() {
    let objects = objects(&template(&[
        "--set-json",
        r#"webhook.namespaceSelector={"matchLabels":{"team":"a"},"matchExpressions":[{"key":"k","operator":"Exists"}]}"#,
        "--set-json",
        r#"webhook.objectSelector={"matchLabels":{"tier":"b"}}"#,
        "--set-json",
        r#"webhook.matchConditions=[{"name":"mine","expression":"true"}]"#,
        "--set-json",
        r#"webhook.workloads.objectSelector={"matchLabels":{"tier":"c"}}"#,
        "--set-json",
        r#"webhook.workloads.matchConditions=[{"name":"theirs","expression":"true"}]"#,
    ]));
    let webhooks = &one(&objects, "ValidatingWebhookConfiguration")["webhooks"];
    let conditions = |webhook: &Value| -> Vec<String> {
        webhook["matchConditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| condition["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(webhooks[0]["namespaceSelector"]["matchLabels"], json!({"team": "a"}));
    assert_eq!(webhooks[0]["namespaceSelector"]["matchExpressions"][1], json!({"key": "k", "operator": "Exists"}));
    assert_eq!(webhooks[0]["objectSelector"], json!({"matchLabels": {"tier": "b"}}));
    assert_eq!(conditions(&webhooks[0]), ["spec-changed", "no-mirror-pod", "image-in-ecr", "mine"]);
    // A workload has other labels than its pods, and another place for its images.
    assert_eq!(webhooks[1]["namespaceSelector"], webhooks[0]["namespaceSelector"]);
    assert_eq!(webhooks[1]["objectSelector"], json!({"matchLabels": {"tier": "c"}}));
    assert_eq!(conditions(&webhooks[1]), ["template-changed", "no-controller", "image-in-ecr", "theirs"]);
    // A malformed policy is refused wherever it is.
    assert_eq!(webhooks[2]["objectSelector"], json!({}));
    assert_eq!(webhooks[2]["namespaceSelector"]["matchLabels"], Value::Null);
    assert_eq!(conditions(&webhooks[2]), ["spec-changed"]);
}

/// What only warns can hold nothing up, and can be left out.
#[test]
fn the_webhook_for_workloads_never_fails_a_request() {
    let policies = |arguments: &[&str]| -> Vec<(String, String)> {
        let objects = objects(&template(arguments));
        let webhooks = one(&objects, "ValidatingWebhookConfiguration")["webhooks"].as_array().unwrap().clone();
        let text = |webhook: &Value, field: &str| webhook[field].as_str().unwrap().to_owned();
        webhooks.iter().map(|webhook| (text(webhook, "name"), text(webhook, "failurePolicy"))).collect()
    };
    let expected = |webhooks: &[(&str, &str)]| -> Vec<(String, String)> {
        webhooks.iter().map(|(name, policy)| ((*name).to_owned(), (*policy).to_owned())).collect()
    };
    let (pods, workloads, objects) = ("pods.ecraccess.dev", "workloads.ecraccess.dev", "policies.ecraccess.dev");
    assert_eq!(
        policies(&["--set=webhook.failurePolicy=Fail"]),
        expected(&[(pods, "Fail"), (workloads, "Ignore"), (objects, "Fail")])
    );
    assert_eq!(
        policies(&["--set=webhook.workloads.enabled=false"]),
        expected(&[(pods, "Ignore"), (objects, "Ignore")])
    );
}

/// What the API server would default is rendered, so that no tool sees a difference; what the operator applies is not.
#[test]
fn webhook_configuration_is_complete() {
    let objects = objects(&template(&[]));
    let configuration = one(&objects, "ValidatingWebhookConfiguration");
    assert_eq!(configuration["metadata"]["name"], FULL_NAME);
    let webhooks = configuration["webhooks"].as_array().unwrap();
    let expected = [
        (
            "pods.ecraccess.dev",
            "/validate/pods",
            json!([
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"},
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/ephemeralcontainers"], "operations": ["UPDATE"], "scope": "Namespaced"},
            ]),
        ),
        (
            "workloads.ecraccess.dev",
            "/validate/workloads",
            json!([
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["daemonsets", "deployments", "replicasets", "statefulsets"], "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"},
                {"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["cronjobs", "jobs"], "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"},
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["replicationcontrollers"], "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"},
            ]),
        ),
        (
            "policies.ecraccess.dev",
            "/validate/policies",
            json!([{"apiGroups": ["ecraccess.dev"], "apiVersions": ["v1alpha1"],
                "resources": ["clusterecraccesspolicies", "ecraccesspolicies"], "operations": ["CREATE", "UPDATE"], "scope": "*"}]),
        ),
    ];
    assert_eq!(webhooks.len(), expected.len());
    for (webhook, (name, path, rules)) in webhooks.iter().zip(expected) {
        let keys: BTreeSet<&str> = webhook.as_object().unwrap().keys().map(String::as_str).collect();
        let complete = [
            "admissionReviewVersions",
            "clientConfig",
            "failurePolicy",
            "matchConditions",
            "matchPolicy",
            "name",
            "namespaceSelector",
            "objectSelector",
            "rules",
            "sideEffects",
            "timeoutSeconds",
        ];
        assert_eq!(keys, BTreeSet::from(complete), "{name}");
        assert_eq!(webhook["name"], name);
        assert_eq!(webhook["rules"], rules, "{name}");
        assert_eq!(
            webhook["clientConfig"],
            json!({"service": {"name": FULL_NAME, "namespace": NAMESPACE, "path": path, "port": 443}})
        );
        assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
        assert_eq!(webhook["failurePolicy"], "Ignore");
        assert_eq!(webhook["matchPolicy"], "Equivalent");
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["timeoutSeconds"], 3);
        assert_eq!(webhook["objectSelector"], json!({}));
    }
    // An expression that fails at run time admits the pod silently: whatever may be absent is read by `?` and `orValue`.
    // The real API server's answers to them are tested with the cluster.
    let conditions = &webhooks[0]["matchConditions"];
    assert_eq!(
        conditions[2]["expression"],
        "(object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([])).exists(c, \
         c.?image.orValue('').matches('(?i)[.]dkr[.-]ecr')) \
         || object.spec.?volumes.orValue([]).exists(v, v.?image.reference.orValue('').matches('(?i)[.]dkr[.-]ecr'))"
    );
    assert_eq!(
        conditions[1]["expression"],
        "!('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))"
    );
    assert_eq!(conditions[0]["expression"], "request.operation != 'UPDATE' || object.?spec != oldObject.?spec");
}

/// The whole list, so that a new right is seen in review.
#[test]
fn rights_are_the_reviewed_ones() {
    for (variant, arguments) in variants() {
        let objects = objects(&render_variant(&arguments));
        if variant == "own-rbac-values.yaml" {
            for kind in ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"] {
                assert!(all(&objects, kind).is_empty(), "{kind}");
            }
            assert_eq!(one(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], "operator");
            continue;
        }
        let name = one(&objects, "Deployment")["metadata"]["name"].as_str().unwrap();
        let secret = flag(container(one(&objects, "Deployment")), "certificate-secret");
        // A certificate that somebody else makes is only read.
        let keeps = if secret == format!("{name}-certificate") { json!(["get", "patch"]) } else { json!(["get"]) };
        assert_eq!(
            named(&objects, "ClusterRole", name)["rules"],
            json!([
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
                {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": ["ecraccess.dev"], "resources": ["clusterecraccesspolicies", "ecraccesspolicies"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["replicationcontrollers"], "verbs": ["list", "watch"]},
                {"apiGroups": ["apps"], "resources": ["daemonsets", "deployments", "replicasets", "statefulsets"], "verbs": ["list", "watch"]},
                {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": ["list", "watch"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
                {"apiGroups": ["ecraccess.dev"], "resources": ["clusterecraccesspolicies/status", "ecraccesspolicies/status"], "verbs": ["patch"]},
                {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "resourceNames": [name], "verbs": keeps},
            ]),
            "{variant}"
        );
        assert_eq!(
            named(&objects, "Role", name)["rules"],
            json!([
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": keeps},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [format!("{name}-leader")], "verbs": ["get", "patch"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
                {"apiGroups": [""], "resources": ["services"], "resourceNames": [name], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["services/status"], "resourceNames": [name], "verbs": ["patch"]},
            ]),
            "{variant}"
        );
        // In `default` nothing but the addresses of API servers, and not at all where that is not wanted.
        let addresses = format!("{name}-api-servers");
        let found = variant != "everything-values.yaml";
        assert_eq!(all(&objects, "Role").len(), 1 + usize::from(found), "{variant}");
        let mut bindings = vec![("ClusterRoleBinding", "ClusterRole", name), ("RoleBinding", "Role", name)];
        if found {
            let role = named(&objects, "Role", &addresses);
            assert_eq!(role["metadata"]["namespace"], "default");
            assert_eq!(
                role["rules"],
                json!([{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]}])
            );
            assert_eq!(named(&objects, "RoleBinding", &addresses)["metadata"]["namespace"], "default");
            bindings.push(("RoleBinding", "Role", addresses.as_str()));
        }
        assert_eq!(all(&objects, "RoleBinding").len(), bindings.len() - 1, "{variant}");
        for (binding, role, name) in bindings {
            let binding = named(&objects, binding, name);
            assert_eq!(
                binding["roleRef"],
                json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name})
            );
            let account = one(&objects, "ServiceAccount")["metadata"]["name"].as_str().unwrap();
            assert_eq!(
                binding["subjects"],
                json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}])
            );
        }
    }
}

/// The roles for people: what they may do, and who gets them without a binding.
#[test]
fn roles_for_people_are_aggregated_only_when_asked() {
    const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";
    let reading = json!({"apiGroups": ["ecraccess.dev"], "resources": ["clusterecraccesspolicies", "ecraccesspolicies"], "verbs": ["get", "list", "watch"]});
    let aggregated = |arguments: &[&str]| -> BTreeSet<String> {
        let objects = objects(&template(arguments));
        let mut found = BTreeSet::new();
        for role in all(&objects, "ClusterRole") {
            let name = role["metadata"]["name"].as_str().unwrap();
            assert!(role.get("aggregationRule").is_none(), "{name}");
            for (label, value) in role["metadata"]["labels"].as_object().unwrap() {
                if let Some(to) = label.strip_prefix(AGGREGATE) {
                    assert_eq!(value, "true");
                    found.insert(format!("{name} to {to}"));
                }
            }
        }
        found
    };
    let set = |names: &[&str]| names.iter().map(|name| format!("{FULL_NAME}-{name}")).collect::<BTreeSet<_>>();
    assert_eq!(aggregated(&[]), set(&["view to view"]), "reading only, unless somebody asks for more");
    assert_eq!(aggregated(&["--set", "rbac.aggregateToView=false"]), set(&[]));
    assert_eq!(aggregated(&["--set", "rbac.aggregateToEdit=true"]), set(&["view to view", "edit to edit"]));
    assert_eq!(aggregated(&["--set", "rbac.aggregateToAdmin=true"]), set(&["view to view", "edit to admin"]));

    let objects = objects(&template(&[]));
    let rules = |name: &str| named(&objects, "ClusterRole", &format!("{FULL_NAME}-{name}"))["rules"].clone();
    let status = |kinds: &[&str]| json!({"apiGroups": ["ecraccess.dev"], "resources": kinds, "verbs": ["get"]});
    assert_eq!(
        rules("view"),
        json!([reading, status(&["clusterecraccesspolicies/status", "ecraccesspolicies/status"])])
    );
    assert_eq!(
        rules("edit"),
        json!([
            {"apiGroups": ["ecraccess.dev"], "resources": ["ecraccesspolicies"],
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]},
            status(&["ecraccesspolicies/status"]),
        ]),
        "the cluster kind is the administrators', the status the operator's"
    );
}

/// The parts of every variant fit together: names in arguments are names of objects, ports exist, selectors select.
#[test]
fn every_variant_fits_together() {
    for (variant, arguments) in variants() {
        let objects = objects(&render_variant(&arguments));
        let mut seen = BTreeSet::new();
        for object in &objects {
            let id = format!("{} {}", object["kind"], object["metadata"]["name"]);
            assert!(seen.insert(id.clone()), "{variant}: {id} twice");
            if object["kind"] != "ConfigMap" {
                let labels = &object["metadata"]["labels"];
                assert_eq!(labels["app.kubernetes.io/name"], "ecr-access", "{variant}: {id}");
                assert_eq!(labels["app.kubernetes.io/instance"], RELEASE, "{variant}: {id}");
                assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm", "{variant}: {id}");
                assert_eq!(labels["app.kubernetes.io/part-of"], "ecr-access", "{variant}: {id}");
                assert_eq!(labels["app.kubernetes.io/version"], env!("CARGO_PKG_VERSION"), "{variant}: {id}");
            }
        }

        let deployment = one(&objects, "Deployment");
        let container = container(deployment);
        let secret = flag(container, "certificate-secret");
        let given = container["args"].as_array().unwrap().contains(&json!("--certificate-mode=given"));
        if given {
            assert!(objects.iter().all(|object| object["kind"] != "Secret"), "{variant}");
        } else {
            let secret = named(&objects, "Secret", secret);
            assert_eq!((&secret["data"], &secret["stringData"]), (&Value::Null, &Value::Null), "{variant}");
            assert_eq!(secret["type"], "Opaque", "{variant}");
        }
        assert_eq!(named(&objects, "Lease", flag(container, "lease"))["spec"], json!({}), "{variant}");
        named(&objects, "ValidatingWebhookConfiguration", flag(container, "webhook-configuration"));
        let service = named(&objects, "Service", flag(container, "service-name"));

        let ports: BTreeMap<&str, u64> = container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_u64().unwrap()))
            .collect();
        for (name, address) in [("webhook", "webhook-address"), ("admin", "admin-address")] {
            let address: std::net::SocketAddr = flag(container, address).parse().unwrap();
            assert_eq!(u64::from(address.port()), ports[name], "{variant}");
            assert!(address.ip().is_unspecified(), "{variant}");
        }
        for (probe, path) in [("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
            assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "admin"}), "{variant}");
        }

        let pod_labels = deployment["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
        let mut selectors = vec![&deployment["spec"]["selector"]["matchLabels"], &service["spec"]["selector"]];
        selectors.extend(
            all(&objects, "PodDisruptionBudget").iter().map(|budget| &budget["spec"]["selector"]["matchLabels"]),
        );
        selectors
            .extend(all(&objects, "NetworkPolicy").iter().map(|policy| &policy["spec"]["podSelector"]["matchLabels"]));
        selectors.extend(all(&objects, "Service").iter().map(|service| &service["spec"]["selector"]));
        for selector in selectors {
            // A Deployment's selector cannot be changed by an upgrade: name, instance and component, for ever.
            assert_eq!(selector.as_object().unwrap().len(), 3, "{variant}");
            for (key, value) in selector.as_object().unwrap() {
                assert_eq!(pod_labels.get(key), Some(value), "{variant}: {key}");
            }
        }
        for monitor in all(&objects, "ServiceMonitor") {
            let selected = |service: &&Value| {
                let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
                wanted.iter().all(|(key, value)| &service["metadata"]["labels"][key] == value)
            };
            let services: Vec<&Value> = all(&objects, "Service").into_iter().filter(selected).collect();
            assert_eq!(services.len(), 1, "{variant}: the webhook's Service must not be scraped");
            assert_eq!(services[0]["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"]);
        }

        let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
        assert_eq!(all(&objects, "PodDisruptionBudget").len(), usize::from(replicas > 1), "{variant}");
    }
}

#[test]
fn pods_are_restricted() {
    for (variant, arguments) in variants() {
        let objects = objects(&render_variant(&arguments));
        let deployment = one(&objects, "Deployment");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{variant}");
        assert_eq!(pod["securityContext"]["runAsUser"], 65532, "{variant}");
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}), "{variant}");
        assert_eq!(
            container(deployment)["securityContext"],
            json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}}),
            "{variant}"
        );
        assert_eq!(
            container(deployment)["resources"]["limits"]["cpu"],
            Value::Null,
            "{variant}: throttled answers are late"
        );
        assert_eq!(
            deployment["spec"]["strategy"]["rollingUpdate"],
            json!({"maxSurge": 1, "maxUnavailable": 0}),
            "{variant}"
        );
    }
}

/// What the chart writes on the command line is what the program takes.
#[test]
fn every_argument_is_known_to_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_ecr-access")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let objects = objects(&template(&[]));
    let arguments = container(one(&objects, "Deployment"))["args"].as_array().unwrap();
    assert_eq!(arguments[0], "run");
    for argument in &arguments[1..] {
        let name = argument.as_str().unwrap().split('=').next().unwrap();
        assert!(help.contains(&format!("{name} ")), "`{name}` is not in:\n{help}");
    }
    assert!(help.contains("--api-server-cidrs <"), "it is an argument only where there are ranges:\n{help}");
    for variable in container(one(&objects, "Deployment"))["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(help.contains(name), "`{name}` is not in:\n{help}");
    }
}

#[test]
fn values_reach_the_operator() {
    for action in ["Reject", "Warn", "Audit"] {
        let objects = objects(&template(&["--set", &format!("maxAction={action}")]));
        assert_eq!(flag(container(one(&objects, "Deployment")), "max-action"), action);
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    for (arguments, image) in [
        (vec![], format!("ecr-access:{}", env!("CARGO_PKG_VERSION"))),
        (vec!["image.tag=v2".to_owned()], "ecr-access:v2".to_owned()),
        (vec!["image.tag=v2".to_owned(), format!("image.digest={digest}")], format!("ecr-access:v2@{digest}")),
    ] {
        let arguments: Vec<&str> = arguments.iter().flat_map(|value| ["--set", value.as_str()]).collect();
        assert_eq!(container(one(&objects(&template(&arguments)), "Deployment"))["image"], image);
    }
    let everything = variants()["everything-values.yaml"].clone();
    let objects_with_ranges = objects(&render_variant(&everything));
    assert_eq!(flag(container(one(&objects_with_ranges, "Deployment")), "api-server-cidrs"), "10.0.0.0/28,fd00::/64");
    let objects = objects(&template(&[
        "--set",
        "extraArgs[0]=--some-flag=1",
        "--set",
        "podLabels.a=b",
        "--set",
        "commonLabels.c=d",
    ]));
    let deployment = one(&objects, "Deployment");
    assert_eq!(container(deployment)["args"].as_array().unwrap().last().unwrap(), "--some-flag=1");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["a"], "b");
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["c"], "d", "{}", object["kind"]);
    }
}

/// A value that cannot work is refused when the chart is installed, with its place.
#[test]
fn bad_values_are_refused() {
    let cases = [
        ("maxAction=reject", "at '/maxAction': value must be one of 'Reject', 'Warn', 'Audit'"),
        ("webhook.failurePolicy=ignore", "at '/webhook/failurePolicy': value must be one of 'Ignore', 'Fail'"),
        ("replicaCount=two", "at '/replicaCount': got string, want integer"),
        ("replicas=3", "additional properties 'replicas' not allowed"),
        ("webhook.caBundle=abc", "at '/webhook': additional properties 'caBundle' not allowed"),
        ("webhook.timeoutSeconds=2", "at '/webhook/timeoutSeconds': minimum: got 2, want 3"),
        ("webhook.port=443", "at '/webhook/port': minimum: got 443"),
        ("image.digest=sha256:abc", "at '/image/digest': 'sha256:abc' does not match pattern"),
        ("image.repository=a@b", "at '/image/repository': 'a@b' does not match pattern"),
        ("fullnameOverride=Upper", "at '/fullnameOverride': 'Upper' does not match pattern"),
        ("commonLabels.a=b/c", "at '/commonLabels/a': 'b/c' does not match pattern"),
        ("bindAddress=127.0.0.1", "at '/bindAddress': value must be one of '0.0.0.0', '[::]'"),
        (
            "shutdownDelaySeconds=45",
            "terminationGracePeriodSeconds is 60: with shutdownDelaySeconds 45 it must be at least 65",
        ),
        ("webhook.matchConditions[0].name=x", "at '/webhook/matchConditions/0': missing property 'expression'"),
        ("extraArgs[0]=--max-action=Reject", "extraArgs: `--max-action=Reject` is set by the chart itself"),
        ("extraEnv[0].name=POD_NAME", "extraEnv: `POD_NAME` is set by the chart itself"),
        (
            "extraArgs[0]=--api-server-cidrs=10.0.0.0/8",
            "extraArgs: `--api-server-cidrs=10.0.0.0/8` is set by the chart itself",
        ),
        ("webhook.apiServerCIDRs={10.0.0.0/8,nodes}", "at '/webhook/apiServerCIDRs/1': 'nodes' does not match pattern"),
        ("webhook.apiServerCIDRs=10.0.0.0/8", "at '/webhook/apiServerCIDRs': got string, want null or array"),
        ("rbac.apiServerAddresses=yes", "at '/rbac/apiServerAddresses': got string, want boolean"),
        ("adminPort=9443", "webhook.port and adminPort are both 9443: they must differ"),
        (
            "podDisruptionBudget.minAvailable=2",
            "podDisruptionBudget.minAvailable is 2 of 2 replicas: no node with a replica could ever be drained",
        ),
        (
            "serviceMonitor.enabled=true,metrics.service.enabled=false",
            "serviceMonitor.enabled needs metrics.service.enabled",
        ),
    ];
    for (values, message) in cases {
        match template_in(NAMESPACE, &["--set", values]) {
            Ok(_) => panic!("`{values}` was taken"),
            Err(error) => assert!(error.contains(message), "`{values}`: {error}"),
        }
    }
    // What Helm itself passes down, and a condition of a parent chart.
    template(&["--set", "global.imageRegistry=x,enabled=true"]);
    // `null` takes a default away.
    template(&[
        "--set",
        "webhook.objectSelector=null,commonLabels=null,podLabels=null,podAnnotations=null,extraObjects=null,topologySpreadConstraints=null,crds.annotations=null",
    ]);
}

/// Every name of the schema is in values.yaml, with a comment, and the other way round.
#[test]
fn every_value_is_documented() {
    fn names(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let fixed = property["additionalProperties"] == json!(false) && property["type"] == "object";
            let is_api_type =
                ["matchLabels", "limits", "kind"].iter().any(|name| property["properties"].get(name).is_some());
            if fixed && !is_api_type {
                names(property, &path, found);
            } else {
                found.insert(path);
            }
        }
    }
    fn leaves(value: &Value, path: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
        match value.as_object() {
            Some(map) if !known.contains(path) => {
                for (name, value) in map {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(value, &path, known, found);
                }
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }
    let schema: Value = serde_json::from_str(&read(chart().join("values.schema.json"))).unwrap();
    let mut known = BTreeSet::new();
    names(&schema, "", &mut known);
    known.retain(|name| name != "global" && name != "enabled");
    let text = read(chart().join("values.yaml"));
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let mut found = BTreeSet::new();
    leaves(&values, "", &known, &mut found);
    assert_eq!(found, known);

    let lines: Vec<&str> = text.lines().collect();
    for name in &known {
        let key = name.rsplit('.').next().unwrap();
        let depth = name.matches('.').count();
        let start = format!("{}{key}:", "  ".repeat(depth));
        let documented = lines.iter().enumerate().any(|(index, line)| {
            line.starts_with(&start) && index > 0 && lines[index - 1].trim_start().starts_with('#')
        });
        assert!(documented || name == "resources", "`{name}` has no comment");
    }
}

/// Turns `0.0` into `0`, everywhere.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0) {
                *value = json!(float as i64);
            }
        }
        _ => {}
    }
}

/// `crds/` is what the program prints; the chart ships the same files and adds nothing but labels and an annotation.
#[test]
fn custom_resource_definitions_are_the_same_everywhere() {
    let originals = files(root().join("crds"), ".yaml");
    let copies = files(chart().join("files/crds"), ".yaml");
    assert_eq!(originals.len(), 2);
    assert_eq!(
        originals.iter().map(|path| name_of(path)).collect::<Vec<_>>(),
        copies.iter().map(|path| name_of(path)).collect::<Vec<_>>()
    );
    for keep in [true, false] {
        let rendered = objects(&template(&["--set", &format!("crds.keep={keep}"), "--set", "crds.annotations.a=b"]));
        let rendered = all(&rendered, "CustomResourceDefinition");
        assert_eq!(rendered.len(), originals.len());
        for (original, copy) in originals.iter().zip(&copies) {
            assert!(read(original) == read(copy), "{} differs; run `make crds`", copy.display());
            let mut expected: Value = serde_saphyr::from_str(&read(original)).unwrap();
            let mut found = rendered
                .iter()
                .find(|crd| crd["metadata"]["name"] == expected["metadata"]["name"])
                .map(|crd| (*crd).clone())
                .unwrap();
            let annotations = found["metadata"]["annotations"].take();
            assert_eq!(annotations["a"], "b");
            assert_eq!(annotations["helm.sh/resource-policy"], if keep { json!("keep") } else { Value::Null });
            for crd in [&mut expected, &mut found] {
                let metadata = crd["metadata"].as_object_mut().unwrap();
                metadata.remove("annotations");
                metadata.remove("labels");
            }
            // Helm writes whole numbers as such, the generated file writes the `minimum: 0` of a schema as `0.0`.
            whole_numbers(&mut expected);
            assert!(found == expected, "{} is changed by the template", original.display());
        }
    }
    assert!(all(&objects(&template(&["--set", "crds.enabled=false"])), "CustomResourceDefinition").is_empty());
}

/// The notes have commands that work: the real names, and a policy that the custom resource takes.
#[test]
fn notes_teach_the_next_step() {
    let chart = chart();
    let notes = |arguments: &[&str]| {
        let mut all = vec!["install", RELEASE, chart.to_str().unwrap(), "--namespace", NAMESPACE, "--dry-run=client"];
        all.extend(arguments);
        let output = run(&all);
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, notes) =
            text.split_once("\nNOTES:\n").unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        notes.to_owned()
    };
    let text = notes(&[]);
    for expected in [
        "kubectl delete validatingwebhookconfiguration release-ecr-access\n",
        "helm upgrade release CHART -n operator-ns --reset-then-reuse-values\n",
        "kube-system and operator-ns.",
        "maxAction is Reject.",
        "tokenAttributes",
    ] {
        assert!(text.contains(expected), "no `{expected}` in:\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 130 && line.trim_end() == line), "{text}");
    let (_, rest) = text.split_once("<<'EOF' | kubectl apply -f -\n").unwrap();
    let (policy, _) = rest.split_once("\nEOF\n").unwrap();
    let policy: EcrAccessPolicy = serde_saphyr::from_str(policy).unwrap();
    assert_eq!(policy.spec.0.puller.nodes.as_ref().map(Vec::len), Some(1));
    assert_eq!(policy.spec.0.on_deny(), ecr_forecast::policy::Action::Warn);

    assert!(
        notes(&["--set", "maxAction=Audit"])
            .contains("maxAction is Audit.\n   Nothing is refused and nobody is warned")
    );
    assert!(notes(&["--set", "crds.enabled=false"]).contains("crds.enabled is false"));
    let closed = notes(&["--set", "webhook.failurePolicy=Fail,replicaCount=1"]);
    assert!(closed.contains("WARNING: webhook.failurePolicy is Fail") && closed.contains("use 2 or more"));
}

#[test]
fn names_stay_within_their_limits() {
    let chart = chart();
    let long = "r".repeat(53); // Helm's own limit
    let output = run(&["template", &long, chart.to_str().unwrap(), "--namespace", NAMESPACE]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for object in objects(&String::from_utf8(output.stdout).unwrap()) {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && !name.ends_with('-'), "{name}");
        for (key, value) in object["metadata"]["labels"].as_object().unwrap() {
            assert!(value.as_str().unwrap().len() <= 63, "{key}: {value}");
        }
    }
}

/// The image is built by the compiler and has the user that everything else names.
#[test]
fn dockerfile_agrees_with_the_rest() {
    let dockerfile = read(root().join("Dockerfile"));
    let value = |name: &str| {
        dockerfile
            .lines()
            .find_map(|line| line.strip_prefix(&format!("ARG {name}=")))
            .unwrap_or_else(|| panic!("no ARG {name}"))
    };
    let toolchain = read(root().join("rust-toolchain.toml"));
    assert!(toolchain.contains(&format!("channel = \"{}\"", value("RUST_VERSION"))), "{toolchain}");
    assert_eq!(value("VERSION"), env!("CARGO_PKG_VERSION"));
    assert!(dockerfile.contains("\nFROM scratch\n"));
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));
    let chart: Value = serde_saphyr::from_str(&read(chart().join("Chart.yaml"))).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    // What the build context keeps: every path that Cargo.toml needs.
    let kept = read(root().join(".dockerignore"));
    for path in ["Cargo.toml", "Cargo.lock", "ecr-forecast", "src", "iam-oracle", "iam-verdict", "benches", "tests"] {
        assert!(kept.lines().any(|line| line == format!("!{path}")), "{path}");
    }
}

/// Whoever makes the certificate, it is for the name that the API server calls, and it is trusted.
#[test]
fn a_certificate_of_somebody_else_is_asked_for_and_trusted() {
    let variants = variants();
    let objects_of = |variant: &str| self::objects(&render_variant(&variants[variant]));
    let objects = objects_of("certmanager-values.yaml");
    let name = one(&objects, "Deployment")["metadata"]["name"].as_str().unwrap();
    let certificate = one(&objects, "Certificate");
    assert_eq!(certificate["spec"]["dnsNames"], json!([format!("{name}.{NAMESPACE}.svc")]));
    assert_eq!(certificate["spec"]["issuerRef"], json!({"name": "platform", "kind": "ClusterIssuer"}));
    let container = container(one(&objects, "Deployment"));
    assert_eq!(certificate["spec"]["secretName"], flag(container, "certificate-secret"));
    let configuration = one(&objects, "ValidatingWebhookConfiguration");
    let from = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(*from, json!(format!("{NAMESPACE}/{}", certificate["metadata"]["name"].as_str().unwrap())));
    // Without an issuer there is one of the release.
    let objects = self::objects(&template(&["--set=webhook.certificate.mode=certManager"]));
    let issuer = one(&objects, "Issuer")["metadata"]["name"].as_str().unwrap();
    assert_eq!(one(&objects, "Certificate")["spec"]["issuerRef"]["name"], issuer);

    let objects = objects_of("secret-values.yaml");
    let configuration = one(&objects, "ValidatingWebhookConfiguration");
    for webhook in configuration["webhooks"].as_array().unwrap() {
        assert!(webhook["clientConfig"]["caBundle"].is_string(), "{webhook}");
    }
    let error = template_in(NAMESPACE, &["--set=webhook.certificate.mode=secret"]).unwrap_err();
    assert!(error.contains("webhook.certificate.secretName must name the Secret"), "{error}");
}
