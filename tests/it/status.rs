//! What people see of a policy, for every condition and Event: golden files in `tests/data/status`, which hold the status
//! as `kubectl get -o yaml` shows it and the Events that are told. `UPDATE_GOLDEN=1 cargo test --test it status` rewrites
//! them; read the diff as a stranger would.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecr_access::api::PolicyStatus;
use ecr_access::controller::denials::told_by;
use ecr_access::controller::events;
use ecr_access::controller::judging;
use ecr_access::controller::metrics::{
    EventLabels, EventResult, ExemptionLabels, ExemptionState, PodVerdict, ReadyLabels, Truth, VerdictLabels,
    WriteLabels, WriteResult,
};
use ecr_access::controller::scan::scan;
use ecr_access::controller::status::desired_status;
use ecr_access::index::subjects::{ClusterWorkloads, ObjectMap, Owner, TrackedObject};
use ecr_access::runtime::events::{EventDraft, MAX_NOTE};
use ecr_access::runtime::metrics::{CallerLabels, Metrics, OutcomeLabels, ReviewLabels, WebhookLabels};
use ecr_access::runtime::watch::health::Health;
use ecr_forecast::cluster::Subject;
use ecr_forecast::forecast_under;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::Options;
use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject};
use ecr_forecast::policy::{Action, PolicyKind};
use golden::Goldens;
use serde_json::{Value, json};

const NOW: &str = "2026-11-23T12:00:00Z";
const MANAGED: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly";
const FOREIGN: &str = "arn:aws:iam::111122223333:policy/ours";

/// A cluster at some moment.
#[derive(Default)]
struct Cluster {
    policies: Vec<Value>,
    accounts: Vec<&'static str>,
    /// Kind, name, repository, and how many pods of it there are.
    workloads: Vec<(&'static str, &'static str, &'static str, usize)>,
    /// Name and repository.
    pods: Vec<(String, &'static str)>,
    /// What is not watched as it should be.
    failing: judging::Failing,
}

impl Cluster {
    fn new(policies: Vec<Value>) -> Cluster {
        Cluster { policies, accounts: vec!["api"], ..Cluster::default() }
    }

    fn workload(mut self, kind: &'static str, name: &'static str, repository: &'static str, pods: usize) -> Cluster {
        self.workloads.push((kind, name, repository, pods));
        self
    }

    fn failing(mut self, kind: &'static str) -> Cluster {
        self.failing.insert(kind, format!("cannot watch {kind}: connection refused"));
        self
    }

    fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.put_namespace("payments".to_owned(), [].into());
        for name in &self.accounts {
            let mut annotations = json!({"eks.amazonaws.com/ecr-role-arn": "arn:aws:iam::111122223333:role/app"});
            if *name == "bare" {
                annotations = json!({});
            }
            let account = json!({"metadata": {"namespace": "payments", "name": name, "annotations": annotations}});
            inventory.put_service_account(ServiceAccountFacts::from_json(&account).unwrap());
        }
        for policy in &self.policies {
            inventory.put_policy(PolicyObject::from_json(policy.clone()).unwrap());
        }
        inventory
    }

    fn cluster_workloads(&self) -> ClusterWorkloads {
        let mut pods: Vec<TrackedObject> =
            self.pods.iter().map(|(name, repository)| held("Pod", name, repository)).collect();
        let mut kinds: Vec<(&'static str, Vec<TrackedObject>)> = Vec::new();
        for (kind, name, repository, count) in &self.workloads {
            let workload = held(kind, name, repository);
            pods.extend((0..*count).map(|index| {
                let mut pod = held("Pod", &format!("{name}-{index}"), repository);
                pod.owner = Some(workload.reference());
                pod
            }));
            match kinds.iter_mut().find(|(known, _)| known == kind) {
                Some((_, objects)) => objects.push(workload),
                None => kinds.push((kind, vec![workload])),
            }
        }
        let workloads = kinds.into_iter().map(|(kind, objects)| (kind, map(objects))).collect();
        ClusterWorkloads { pods: Some(map(pods)), workloads: Some(workloads) }
    }
}

fn map(objects: Vec<TrackedObject>) -> Arc<ObjectMap> {
    let named = |held: TrackedObject| (("payments".to_owned(), held.subject.name.clone()), Arc::new(held));
    Arc::new(objects.into_iter().map(named).collect())
}

fn held(kind: &str, name: &str, repository: &str) -> TrackedObject {
    let image = format!("111122223333.dkr.ecr.us-east-1.amazonaws.com/{repository}:1.4.2");
    let spec = json!({"serviceAccountName": "api", "containers": [{"name": "app", "image": image}]});
    let metadata = json!({"namespace": "payments", "name": name});
    let (api_version, subject) = if kind == "Pod" {
        ("v1", Subject::from_pod(&json!({"metadata": metadata, "spec": spec})).unwrap())
    } else {
        let template = json!({"spec": spec});
        let spec = match kind {
            "CronJob" => json!({"jobTemplate": {"spec": {"template": template}}}),
            _ => json!({"template": template}),
        };
        let workload = json!({"kind": kind, "metadata": metadata, "spec": spec});
        let api_version = if kind == "CronJob" { "batch/v1" } else { "apps/v1" };
        (api_version, Subject::from_workload(&workload).unwrap().unwrap())
    };
    TrackedObject { subject, api_version: api_version.to_owned(), uid: format!("uid-{name}"), owner: None::<Owner> }
}

fn object(name: &str, created: &str, spec: Value) -> Value {
    let policy = fixtures::policy(name).metadata("generation", 1).metadata("uid", format!("uid-{name}"));
    policy.metadata("creationTimestamp", created).spec(spec).object()
}

/// The policy that the case is about.
fn pull(spec: Value) -> Value {
    object("pull", "2026-11-01T00:00:00Z", spec)
}

fn with(policies: Value) -> Value {
    json!({"puller": {"serviceAccount": {"identity": {"policies": policies}}}})
}

/// May pull `team/app`, as long as the condition holds.
fn document(condition: Option<Value>) -> Value {
    let mut statements = fixtures::pulls_of(fixtures::repository("team/app"));
    if let Some(condition) = condition {
        statements[1]["Condition"] = condition;
    }
    fixtures::document(statements)
}

fn team() -> Value {
    with(json!([{"name": "app-pull", "document": document(None)}]))
}

fn team_when(condition: Value) -> Value {
    with(json!([{"name": "app-pull", "document": document(Some(condition))}]))
}

fn on_trial(mut spec: Value) -> Value {
    spec["onDeny"] = json!("Audit");
    spec
}

fn malformed() -> Value {
    with(json!([{"name": "app-pull", "document":
        {"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "ecr:*", "Resource": "*"}]}}]))
}

fn unsupported() -> Value {
    let mut spec = team();
    spec["puller"]["serviceAccount"]["externalId"] = json!("x");
    spec
}

fn shared() -> Value {
    with(
        json!([{"name": "app-pull", "document": document(None)}, {"name": "shared", "configMapKeyRef": {"name": "iam-policies", "key": "app.json"}}]),
    )
}

fn two(arn: &str) -> Value {
    with(json!([{"name": "app-pull", "document": document(None)}, {"name": "more", "managedPolicyArn": arn}]))
}

/// Name of the file, what it is about, the cluster before (for whose status was written), and the cluster now.
fn cases() -> Vec<(&'static str, &'static str, Option<Cluster>, Cluster)> {
    let fine = || Cluster::new(vec![pull(team())]).workload("Deployment", "web", "team/app", 2);
    let twin = || object("twin", "2026-11-02T00:00:00Z", team());
    let older = || object("older", "2026-10-02T00:00:00Z", team());
    let date = |operator: &str, date: &str| {
        Cluster::new(vec![pull(team_when(json!({operator: {"aws:CurrentTime": date}})))])
            .workload("Deployment", "web", "team/app", 3)
            .workload("CronJob", "report", "team/app", 0)
    };
    let exempting = |end: &str| {
        let mut spec = team();
        spec["exemptions"] = json!([{"name": "on-the-move", "images": ["*/team/worker"], "reason": "moves to the new registry",
            "expiresAt": end}]);
        Cluster::new(vec![pull(spec)]).workload("Deployment", "worker", "team/worker", 2)
    };
    let mut many = Cluster::new(vec![pull(team())]);
    many.pods = (0..25).map(|index| (format!("job-{index:02}"), "other/job")).collect();
    let mut bare = fine();
    bare.accounts.push("bare");
    let mut absent = Cluster::new(vec![pull(team())]);
    absent.policies[0]["spec"]["serviceAccounts"] = json!({"names": ["api", "wroker"]});
    let mut cluster = Cluster::new(vec![pull(malformed())]).workload("Deployment", "web", "team/app", 0);
    cluster.policies[0]["kind"] = json!("ClusterEcrAccessPolicy");
    cluster.policies[0]["metadata"]["namespace"].take();
    vec![
        ("in-force", "A policy in force", None, fine()),
        (
            "in-force-still",
            "Nothing changed but counts",
            Some(fine()),
            fine().workload("Deployment", "api", "team/app", 1),
        ),
        ("audit", "A policy on trial", None, Cluster::new(vec![pull(on_trial(team()))])),
        ("names-not-there", "A service account that is not there", None, absent),
        ("without-a-role", "A service account without a role comes", Some(fine()), bare),
        (
            "nothing-declared",
            "A role whose policies are declared nowhere",
            None,
            Cluster::new(vec![pull(json!({"puller": {"role": {"arn": "arn:aws:iam::111122223333:role/app"}}}))])
                .workload("Deployment", "web", "team/app", 1),
        ),
        (
            "unsupported-first",
            "A field of a newer version, from the beginning",
            None,
            Cluster::new(vec![pull(unsupported())]),
        ),
        ("unsupported", "A field of a newer version comes", Some(fine()), Cluster::new(vec![pull(unsupported())])),
        ("malformed", "A document becomes malformed", Some(fine()), Cluster::new(vec![pull(malformed())])),
        (
            "malformed-otherwise",
            "What is wrong becomes another thing",
            Some(Cluster::new(vec![pull(unsupported())])),
            Cluster::new(vec![pull(malformed())]),
        ),
        ("mended", "It is mended", Some(Cluster::new(vec![pull(malformed())])), fine()),
        ("cluster-kind", "A cluster policy with a malformed document, from the beginning", None, cluster),
        (
            "not-found-first",
            "A managed policy that is not built in, from the beginning",
            None,
            Cluster::new(vec![pull(two(FOREIGN))]),
        ),
        (
            "config-map-not-found",
            "A ConfigMap is named that is not there",
            Some(fine()),
            Cluster::new(vec![pull(shared())]),
        ),
        (
            "not-found",
            "A managed policy that is not built in comes",
            Some(fine()),
            Cluster::new(vec![pull(two(FOREIGN))]),
        ),
        (
            "resolved",
            "It is one that is built in",
            Some(Cluster::new(vec![pull(two(FOREIGN))])),
            Cluster::new(vec![pull(two(MANAGED))]),
        ),
        (
            "conflict-won",
            "A younger policy of the same rank comes",
            Some(fine()),
            Cluster::new(vec![pull(team()), twin()]),
        ),
        (
            "conflict-lost",
            "An older policy of the same rank is there from the beginning",
            None,
            Cluster::new(vec![pull(team()), older()]),
        ),
        ("conflict-over", "The other policy goes", Some(Cluster::new(vec![pull(team()), twin()])), fine()),
        (
            "denied",
            "A Deployment that cannot pull comes, and another one of the same image",
            Some(fine()),
            fine().workload("Deployment", "worker", "team/worker", 20).workload(
                "StatefulSet",
                "worker-too",
                "team/worker",
                1,
            ),
        ),
        (
            "denied-still",
            "What was told stays denied, and what is new is told",
            Some(fine().workload("Deployment", "worker", "team/worker", 1)),
            fine().workload("Deployment", "worker", "team/worker", 9).workload("CronJob", "report", "team/report", 0),
        ),
        (
            "denied-on-trial",
            "A policy on trial would deny",
            None,
            Cluster::new(vec![pull(on_trial(team()))]).workload("Deployment", "worker", "team/worker", 1),
        ),
        (
            "watch-failing",
            "Service accounts and pods are not watched any more",
            Some(fine()),
            fine().failing("serviceaccounts").failing("pods").failing("ecraccesspolicies"),
        ),
        ("counts-out-of-date", "CronJobs are not watched any more", Some(fine()), fine().failing("cronjobs")),
        ("denied-many", "More denials than are listed", None, many),
        ("ahead-far", "An allow ends in a week", None, date("DateLessThan", "2026-11-30T00:00:00Z")),
        (
            "ahead-deny",
            "An allow ends tomorrow",
            Some(date("DateLessThan", "2026-11-30T00:00:00Z")),
            date("DateLessThan", "2026-11-24T00:00:00Z"),
        ),
        ("ahead-allow", "An allow begins tomorrow", None, date("DateGreaterThanEquals", "2026-11-24T00:00:00Z")),
        ("exempted", "What is denied is exempted", None, exempting("2027-03-31T00:00:00Z")),
        (
            "exempted-ends",
            "The exemption ends tomorrow",
            Some(exempting("2027-03-31T00:00:00Z")),
            exempting("2026-11-24T00:00:00Z"),
        ),
        ("exempted-ended", "The exemption has ended", Some(exempting("2026-11-24T00:00:00Z")), exempting(NOW)),
        (
            "ahead-still",
            "The same instant is still ahead",
            Some(date("DateLessThan", "2026-11-24T00:00:00Z")),
            date("DateLessThan", "2026-11-24T00:00:00Z"),
        ),
    ]
}

/// The status and the Events of the policy `pull` of a cluster whose status was `before`.
fn see(cluster: &Cluster, before: Option<&PolicyStatus>) -> (PolicyStatus, Vec<EventDraft>) {
    let (inventory, cluster_workloads, options) =
        (cluster.inventory(), cluster.cluster_workloads(), Options::default());
    let at = NOW.parse().unwrap();
    let found = scan(&inventory, &cluster_workloads, at, &options);
    let key = |kind: PolicyKind, namespace: Option<&str>| PolicyKey {
        kind,
        namespace: namespace.map(str::to_owned),
        name: "pull".to_owned(),
    };
    let policy = inventory
        .policy(&key(PolicyKind::EcrAccessPolicy, Some("payments")))
        .or_else(|| inventory.policy(&key(PolicyKind::ClusterEcrAccessPolicy, None)))
        .unwrap();
    let counts = found.counts(policy).unwrap();
    let status = desired_status(&inventory.with_documents(policy), counts, before, at);
    let status = judging::with_watches(status, policy, &cluster.failing, before, at);
    let mut news = events::transitions(policy, before, &status, counts.upcoming_change.as_ref());
    let rows = before.iter().flat_map(|before| &before.denials).filter(|row| row.exemption.is_none());
    let told: BTreeSet<u64> = rows.map(told_by).collect();
    for first in counts.firsts.iter().filter(|first| !told.contains(&first.key)) {
        let report = forecast_under(policy, &inventory, &first.tracked.subject, at, &options);
        news.extend(events::denial(policy, first, &report, policy.on_deny == Action::Audit));
    }
    (status, news)
}

fn text(title: &str, status: &PolicyStatus, news: &[EventDraft]) -> String {
    let mut text = format!("# {title}\n");
    text.push_str(&serde_saphyr::to_string(&json!({"status": status})).unwrap());
    for one in news {
        let kind = if one.warning { "Warning" } else { "Normal" };
        let object = |of: &k8s_openapi::api::core::v1::ObjectReference| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            let namespace = of.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
            format!("{} {namespace}{}", part(&of.kind), part(&of.name))
        };
        let related = one.related.as_ref().map(|of| format!(", related {}", object(of))).unwrap_or_default();
        write!(text, "\n{kind} {} of {}{related}\n  {}\n", one.reason, object(&one.regarding), one.note).unwrap();
    }
    if news.is_empty() {
        text.push_str("\nno Event\n");
    }
    text
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/status")
}

#[test]
fn every_status_and_event_reads_as_reviewed() {
    let mut goldens = Goldens::default();
    for (name, title, before, now) in cases() {
        let before = before.map(|before| see(&before, None).0);
        let (status, news) = see(&now, before.as_ref());
        for one in &news {
            assert!(one.note.len() <= MAX_NOTE && !one.note.contains(char::is_control), "{name}: {one:?}");
            assert!(
                one.reason.len() <= 128 && one.reason.chars().all(|c| c.is_ascii_alphanumeric()),
                "{name}: {one:?}"
            );
        }
        let actual = text(title, &status, &news);
        goldens.hold(folder().join(format!("{name}.txt")), &actual);
    }
    goldens.finish_folder(folder());
}

/// The words of `src/api/conditions.rs`: those of conditions, and those of reasons.
fn words() -> (BTreeSet<String>, BTreeSet<String>) {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/conditions.rs")).unwrap();
    let mut words = (BTreeSet::new(), BTreeSet::new());
    for line in source.lines() {
        let Some((name, value)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": &str = ")) else {
            continue;
        };
        let word = value.trim_matches(['"', ';']).to_owned();
        if name.starts_with("REASON_") {
            words.1.insert(word)
        } else {
            words.0.insert(word)
        };
    }
    assert!(words.0.len() >= 4 && words.1.len() >= 9, "{words:?}");
    words
}

#[test]
fn every_condition_and_reason_is_shown_and_documented() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md")).unwrap();
    let shown: String =
        cases().iter().map(|(name, ..)| fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap()).collect();
    let (conditions, reasons) = words();
    for word in &conditions {
        assert!(shown.contains(&format!("type: {word}\n")), "condition {word} is in no golden file");
        assert!(page.contains(&format!("`{word}`")), "condition {word} is not in docs/status.md");
    }
    for word in &reasons {
        let condition = shown.contains(&format!("reason: {word}\n"));
        let event = ["Normal", "Warning"].iter().any(|kind| shown.contains(&format!("\n{kind} {word} of ")));
        assert!(condition || event, "reason {word} is in no golden file");
        assert!(page.contains(&format!("`{word}`")), "reason {word} is not in docs/status.md");
    }
}

/// Everything that `/metrics` has, by name and type. What has labels is shown only once something was counted.
fn metrics() -> Vec<(String, String)> {
    let metrics = Metrics::new();
    let outcome = OutcomeLabels { outcome: "x" };
    let verdict = || "x".to_owned();
    metrics
        .reviews
        .get_or_create(&ReviewLabels { webhook: "x", verdict: verdict(), admission: verdict(), reason: verdict() })
        .inc();
    metrics.review_duration.get_or_create(&WebhookLabels { webhook: "x" }).observe(1.0);
    for family in [&metrics.refused, &metrics.confirmations, &metrics.connections, &metrics.admin_connections] {
        family.get_or_create(&outcome).inc();
    }
    metrics.calls.get_or_create(&CallerLabels { caller: "x" }).inc();
    let leader = ecr_access::controller::Metrics::default();
    leader.status_writes.get_or_create(&WriteLabels { result: WriteResult::written }).inc();
    leader.policies.get_or_create(&ReadyLabels { ready: Truth::True }).set(1);
    for family in [&leader.pods, &leader.workloads] {
        family.get_or_create(&VerdictLabels { verdict: PodVerdict::Allow }).set(1);
    }
    leader.exemptions.get_or_create(&ExemptionLabels { state: ExemptionState::active }).set(1);
    leader.events.get_or_create(&EventLabels { result: EventResult::written }).inc();
    metrics.register(|registry| leader.register(registry));
    metrics.register(|registry| Health::new(["pods"]).register(registry));
    let text = metrics.text().unwrap();
    let of = |line: &str, word: &str| {
        line.strip_prefix(&format!("# {word} "))
            .and_then(|rest| rest.split_once(' '))
            .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
    };
    let helps: Vec<(String, String)> = text.lines().filter_map(|line| of(line, "HELP")).collect();
    let types: Vec<(String, String)> = text.lines().filter_map(|line| of(line, "TYPE")).collect();
    let names = |list: &[(String, String)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&helps), names(&types));
    assert!(helps.iter().all(|(_, help)| help.len() > 10), "{helps:?}");
    let suffix = |kind: &str| match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    types.into_iter().map(|(name, kind)| (format!("{name}{}", suffix(&kind)), kind)).collect()
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md")).unwrap();
    let documented: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `ecr_access_"))
        .map(|rest| {
            let mut cells = rest.split(" | ");
            let name = cells.next().unwrap().trim_end_matches('`');
            (format!("ecr_access_{name}"), cells.next().unwrap().to_owned())
        })
        .collect();
    assert_eq!(documented, metrics().into_iter().collect());
}

/// What `promtool check metrics` would complain about ("Metric and label naming", Prometheus).
#[test]
fn metrics_are_named_as_prometheus_asks() {
    for (name, kind) in metrics() {
        assert!(name.starts_with("ecr_access_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(!name.contains("__") && !name.contains(&format!("_{kind}_")), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        for unit in ["milliseconds", "ms", "minutes", "kilobytes"] {
            assert!(!name.split('_').any(|part| part == unit), "{name}: base units only");
        }
        if name.contains("duration") || name.contains("timestamp") {
            assert!(name.ends_with("_seconds"), "{name}");
        }
    }
}
