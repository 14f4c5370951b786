//! One background scan of a cluster in memory, and one pod under statements with dates, in processor time.
//!
//! `cargo bench --bench scan` measures each case several times over and prints the least, since whatever else runs on the
//! machine only adds to it. Processor time is read from `/proc/self/stat`, which counts hundredths of a second: each
//! measurement repeats its case for at least one second.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a bench may stop when its own data is wrong")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ecr_access::controller::judged::Memory;
use ecr_access::controller::scan::{scan, scan_again};
use ecr_access::index::subjects::{ClusterWorkloads, ObjectMap, Owner, TrackedObject};
use ecr_forecast::cluster::Subject;
use ecr_forecast::diagnose::diagnose;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict, judge};
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::report::render;
use jiff::Timestamp;
use serde_json::{Value, json};

const NAMESPACES: usize = 50;
const WORKLOADS: usize = 500;
const PODS: usize = 5_000;

fn main() {
    // `cargo test --benches` asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let inventory = inventory();
    let options = Options::default();
    let look = |name: &str, population: &ClusterWorkloads, denied: i64| {
        let found = scan(&inventory, population, now(), &options);
        let sum = |of: fn(&ecr_access::controller::scan::PolicyCounts) -> i64| found.all_counts().map(of).sum::<i64>();
        assert_eq!((sum(|tally| tally.pods.denied), sum(|tally| tally.pods.unknown)), (denied, 0), "{name}");
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let first = millis(least(3, || black_box(scan(&inventory, population, now(), &options))));
        let mut memory = Memory::default();
        let mut look = || black_box(scan_again(&mut memory, &inventory, population, now(), &options));
        look();
        let again = millis(least(3, look));
        println!("{name:64} {first:>10.1} ms, {again:>10.1} ms with what the look before it found");
    };
    look("a scan: 5,000 pods of 500 workloads, half denied", &replicas(), PODS as i64 / 2);
    look("a scan: 5,000 pods that are all different, half denied", &different(), PODS as i64 / 2);
    stages();
}

/// What each stage costs, of a pod under policies with dates and under the same ones without.
fn stages() {
    println!(
        "\n{:52} {:>9} {:>11} {:>10} {:>8}  next change",
        "microseconds", "judge", "next change", "diagnose", "render"
    );
    let cases = [
        ("denied", Verdict::Deny, "secret/app", login_windows(20, false)),
        ("denied, 200", Verdict::Deny, "secret/app", login_windows(200, false)),
        ("denied, 800", Verdict::Deny, "secret/app", login_windows(800, false)),
        ("allowed until a date", Verdict::Allow, "team/app", login_windows(20, false)),
        ("allowed at all times", Verdict::Allow, "team/app", login_windows(20, true)),
        ("allowed at all times, 200", Verdict::Allow, "team/app", login_windows(200, true)),
        ("allowed at all times, 800", Verdict::Allow, "team/app", login_windows(800, true)),
        ("denied in turns", Verdict::Deny, "team/app", in_turns(20)),
        ("denied in turns, 200", Verdict::Deny, "team/app", in_turns(200)),
        ("denied in turns, 800", Verdict::Deny, "team/app", in_turns(800)),
    ];
    for (name, verdict, repository, statements) in cases {
        let mut undated = statements.clone();
        undated.iter_mut().filter_map(Value::as_object_mut).for_each(|statement| drop(statement.remove("Condition")));
        let dated = case(&format!("{name}, under dates"), &statements, repository);
        let plain = case(&format!("{name}, the same statements without dates"), &undated, repository);
        assert_eq!(dated.0, verdict, "{name}");
        println!("  times as much: {:.2}, up to the judgement alone {:.2}", dated.1 / plain.1, dated.2 / plain.2);
    }
}

/// Prints a line; returns the verdict, the microseconds of all stages, and those of the first with the next change.
fn case(name: &str, statements: &[Value], repository: &str) -> (Verdict, f64, f64) {
    let mut inventory = Inventory::default();
    inventory.put_policy(PolicyObject::from_json(policy("team-0", json!(statements))).expect("a policy"));
    inventory.put_service_account(account("team-0", "api"));
    let subject = Subject::from_pod(&object("team-0", "api", "app", &[repository.to_owned()])).expect("a pod");
    let options = Options::default();
    let judgement = judge(&inventory, &subject, now(), &options);
    let diagnosis = diagnose(&judgement);
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let judged = micros(least(1, || black_box(judge(&inventory, &subject, now(), &options))));
    let changed = micros(least(1, || black_box(judgement.next_change())));
    let diagnosed = micros(least(1, || black_box(diagnose(&judgement))));
    let rendered = micros(least(1, || black_box(render(&subject, &judgement, &diagnosis))));
    println!(
        "{name:52} {judged:>9.1} {changed:>11.1} {diagnosed:>10.1} {rendered:>8.1}  {:?}",
        judgement.next_change()
    );
    (judgement.verdict, judged + changed + diagnosed + rendered, judged + changed)
}

fn now() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().expect("a moment")
}

/// The least processor time of one run, over so many measurements.
fn least<T>(measurements: usize, mut run: impl FnMut() -> T) -> Duration {
    let enough = Duration::from_millis(if measurements > 1 { 1000 } else { 300 });
    let measure = |_| {
        let (begin, mut runs) = (processor_time(), 0u32);
        loop {
            let kept = run();
            runs += 1;
            // Reading the clock is no part of it, however short a run is.
            let spent = if runs.is_power_of_two() || runs.is_multiple_of(64) {
                processor_time() - begin
            } else {
                Duration::ZERO
            };
            drop(kept);
            if spent >= enough {
                return spent / runs;
            }
        }
    };
    (0..measurements).map(measure).min().expect("a measurement")
}

/// What this process has used so far, of which one thread does the work ("proc_pid_stat(5)", utime and stime).
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = text.rsplit_once(") ").expect("a name in brackets").1;
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// A policy and ten service accounts in each namespace; the policy lets them pull what is below `team/`.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    for namespace in (0..NAMESPACES).map(|n| format!("team-{n}")) {
        let statements = fixtures::pulls_of(fixtures::repository("team/*"));
        inventory.put_policy(PolicyObject::from_json(policy(&namespace, statements)).expect("a policy"));
        for n in 0..WORKLOADS / NAMESPACES {
            inventory.put_service_account(account(&namespace, &format!("account-{n}")));
        }
    }
    inventory
}

fn policy(namespace: &str, statements: Value) -> Value {
    let policy = fixtures::policy("pull").metadata("namespace", namespace).metadata("uid", namespace);
    policy.metadata("generation", 1).identity(fixtures::identity("pull", statements)).object()
}

fn account(namespace: &str, name: &str) -> ServiceAccountFacts {
    let role = format!("arn:aws:iam::111122223333:role/{namespace}-{name}");
    let role = json!({fixtures::ROLE_ANNOTATION: role});
    let mut account = fixtures::marked(fixtures::service_account(name), json!({}), role);
    account["metadata"]["namespace"] = json!(namespace);
    ServiceAccountFacts::from_json(&account).expect("an account")
}

/// One statement for pulls from `team/` until a date, and so many windows of time in which a statement allows the login;
/// with `always` one does at all times.
fn login_windows(windows: usize, always: bool) -> Vec<Value> {
    let pull = json!({"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/team/*",
        "Condition": {"DateLessThan": {"aws:CurrentTime": "2240-01-01T00:00:00Z"}}});
    let login = |condition: Value| json!({"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*", "Condition": condition});
    let mut statements = vec![pull];
    statements.extend((10..windows + 10).map(|n| login(window(n))));
    statements.extend(always.then(|| login(json!({}))));
    statements
}

/// Everything is allowed, and the login and the manifest are denied in turns.
fn in_turns(windows: usize) -> Vec<Value> {
    let mut statements = vec![json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"})];
    let moment =
        |n: usize| Timestamp::from_second(now().as_second() + 86_400 * n as i64).expect("a moment").to_string();
    for n in 0..windows {
        let action = if n.is_multiple_of(2) { "ecr:GetAuthorizationToken" } else { "ecr:BatchGetImage" };
        statements.push(json!({"Effect": "Deny", "Action": action, "Resource": "*", "Condition": {
            "DateGreaterThanEquals": {"aws:CurrentTime": moment(n)}, "DateLessThan": {"aws:CurrentTime": moment(n + 1)}}}));
    }
    statements
}

/// The first days of a month of 2026 or later.
fn window(n: usize) -> Value {
    let (year, month) = (2026 + n / 12, n % 12 + 1);
    json!({"DateGreaterThan": {"aws:CurrentTime": format!("{year}-{month:02}-01T00:00:00Z")},
        "DateLessThan": {"aws:CurrentTime": format!("{year}-{month:02}-28T00:00:00Z")}})
}

fn object(namespace: &str, account: &str, name: &str, repositories: &[String]) -> Value {
    let images: Vec<String> = repositories.iter().map(|repository| fixtures::image(repository)).collect();
    let mut pod = fixtures::pod(name, fixtures::pod_spec(account, images.iter().map(String::as_str)));
    pod["metadata"]["namespace"] = json!(namespace);
    pod
}

fn held(subject: Subject, owner: Option<(&str, String)>) -> TrackedObject {
    let uid = format!("uid-{}-{}", subject.kind, subject.name);
    let owner = owner.map(|(kind, name)| Owner {
        kind: kind.to_owned(),
        uid: format!("uid-{kind}-{name}"),
        name,
        api_version: "apps/v1".to_owned(),
    });
    TrackedObject { subject, api_version: "v1".to_owned(), uid, owner }
}

fn map(objects: impl IntoIterator<Item = TrackedObject>) -> Arc<ObjectMap> {
    let named = |held: TrackedObject| ((held.subject.namespace.clone(), held.subject.name.clone()), Arc::new(held));
    Arc::new(objects.into_iter().map(named).collect())
}

fn place(n: usize) -> (String, String) {
    (format!("team-{}", n % NAMESPACES), format!("account-{}", n / NAMESPACES % (WORKLOADS / NAMESPACES)))
}

/// Two images of one object; of every second one nobody may pull the second.
fn images(n: usize) -> [String; 2] {
    let second = if n.is_multiple_of(2) { "secret" } else { "team" };
    [format!("team/app-{n}"), format!("{second}/side-{n}")]
}

/// Deployments, each with a ReplicaSet and ten pods.
fn replicas() -> ClusterWorkloads {
    let of = |n: usize, kind: &str, name: &str| {
        let (namespace, account) = place(n);
        let pod = object(&namespace, &account, name, &images(n));
        if kind == "Pod" {
            return Subject::from_pod(&pod).expect("a pod");
        }
        let workload = json!({"kind": kind, "metadata": pod["metadata"], "spec": {"template": {"spec": pod["spec"]}}});
        Subject::from_workload(&workload).expect("a workload").expect("a workload")
    };
    let deployments = (0..WORKLOADS).map(|n| held(of(n, "Deployment", &format!("app-{n}")), None));
    let sets = (0..WORKLOADS).map(|n| {
        let subject = Subject { images: Vec::new(), ..of(n, "ReplicaSet", &format!("app-{n}-1")) };
        held(subject, Some(("Deployment", format!("app-{n}"))))
    });
    let pods = (0..PODS).map(|pod| {
        let n = pod % WORKLOADS;
        held(of(n, "Pod", &format!("app-{n}-1-{pod}")), Some(("ReplicaSet", format!("app-{n}-1"))))
    });
    let workloads = vec![("Deployment", map(deployments)), ("ReplicaSet", map(sets))];
    ClusterWorkloads { pods: Some(map(pods)), workloads: Some(workloads) }
}

/// Pods that belong to nothing.
fn different() -> ClusterWorkloads {
    let pods = (0..PODS).map(|n| {
        let (namespace, account) = place(n);
        let pod = object(&namespace, &account, &format!("app-{n}"), &images(n));
        held(Subject::from_pod(&pod).expect("a pod"), None)
    });
    ClusterWorkloads { pods: Some(map(pods)), workloads: Some(Vec::new()) }
}
