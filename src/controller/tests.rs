//! The controller as a whole, against an API server of few words.

use std::sync::atomic::{AtomicBool, Ordering};

use fixtures::stored_policy;
use serde_json::{Value, json};

use super::*;
use crate::runtime::fake::{FakeApi, VERSION, Write};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than anything that could still be under way: where time is paused, it passes as soon as nobody has anything to
/// do, however slow the machine is.
const LONG: Duration = Duration::from_secs(600);

struct Running {
    api: Arc<FakeApi>,
    index: Arc<Index>,
    leader: Arc<AtomicBool>,
    options: ControllerOptions,
    _guard: tokio_util::sync::DropGuard,
}

/// Runs index and controller against an API server that has these policies.
fn start(policies: Vec<Value>, leading: bool) -> Running {
    start_on(FakeApi::new(), policies, leading)
}

fn start_on(api: Arc<FakeApi>, policies: Vec<Value>, leading: bool) -> Running {
    start_while(api, policies, leading, |_| true)
}

/// As [`start_on`], with a lease that is lost once `holds` says so, too.
fn start_while(
    api: Arc<FakeApi>,
    policies: Vec<Value>,
    leading: bool,
    holds: impl Fn(&FakeApi) -> bool + Send + Sync + 'static,
) -> Running {
    for policy in policies {
        api.put("ecraccesspolicies", policy);
    }
    let token = CancellationToken::new();
    let leader = Arc::new(AtomicBool::new(leading));
    let index = Index::start(api.client(), IndexOptions::default(), token.clone());
    let (is_leader, lease) = (Arc::clone(&leader), Arc::clone(&api));
    let options = ControllerOptions { instance: "replica-0".to_owned(), ..ControllerOptions::default() };
    tokio::spawn(run(
        api.client(),
        Arc::clone(&index),
        move || is_leader.load(Ordering::SeqCst) && holds(&lease),
        options.clone(),
        token.clone(),
    ));
    Running { api, index, leader, options, _guard: token.drop_guard() }
}

/// The statuses that were applied, in order: paths and bodies. The controller writes nothing else.
fn applied(api: &FakeApi) -> Vec<(String, Value)> {
    let status = |write: Write| {
        assert_eq!((write.manager.as_str(), write.path.ends_with("/status")), ("ecr-access-controller", true));
        (write.path, write.body)
    };
    api.writes().into_iter().map(status).collect()
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn ready(applied: &Value) -> (&str, &str) {
    let conditions = applied["status"]["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
    (ready["status"].as_str().unwrap(), ready["reason"].as_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_policy_gets_its_status_once_and_a_broken_one_harms_no_other() {
    let mut broken = stored_policy("payments", "broken");
    broken["spec"]["puller"]["node"] = json!({});
    let running = start(vec![broken, stored_policy("payments", "fine")], true);
    until("both statuses", || applied(&running.api).len() >= 2).await;
    // The echo of both writes arrives and must cause no third.
    tokio::time::sleep(LONG).await;
    let mut applied = applied(&running.api);
    assert_eq!(applied.len(), 2, "{applied:#?}");
    applied.sort_by(|one, other| one.0.cmp(&other.0));
    let base = "/apis/ecraccess.dev/v1alpha1/namespaces/payments/ecraccesspolicies";
    assert_eq!(applied[0].0, format!("{base}/broken/status"));
    assert_eq!(applied[1].0, format!("{base}/fine/status"));
    assert_eq!(ready(&applied[0].1), ("False", "UnsupportedSpec"));
    assert_eq!(ready(&applied[1].1), ("True", "Ready"));
    assert_eq!(applied[1].1["apiVersion"], "ecraccess.dev/v1alpha1");
    assert_eq!(applied[1].1["kind"], "EcrAccessPolicy");
    assert_eq!(applied[1].1["metadata"], json!({"name": "fine"}), "nothing of the metadata is owned");
    assert_eq!(applied[1].1.get("spec"), None);
}

#[tokio::test(start_paused = true)]
async fn pods_are_counted_in_the_first_status_and_later_not_more_often_than_allowed() {
    let running = start(vec![stored_policy("payments", "a")], false);
    running.api.put("serviceaccounts", fixtures::service_account("api"));
    let pod = |name: &str| fixtures::pod(name, fixtures::pod_spec("api", [&*fixtures::image("team/app")]));
    running.api.put("pods", pod("api-0"));
    running.leader.store(true, Ordering::SeqCst);
    let gauge = || running.options.metrics.pods.get_or_create(&VerdictLabels { verdict: PodVerdict::Allow }).get();
    until("the pod is counted", || gauge() == 1).await;
    running.api.put("pods", pod("api-1"));
    until("both pods are counted", || gauge() == 2).await;
    let counts = |applied: &[(String, Value)]| -> Vec<_> {
        applied.iter().map(|(_, body)| body["status"]["pods"]["allowed"].as_i64().unwrap()).collect()
    };
    // The second pod changes counts alone, and those wait.
    assert_eq!(counts(&applied(&running.api)), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_in_the_status_within_a_second() {
    let running = start(vec![stored_policy("payments", "a")], true);
    until("the first status", || applied(&running.api).len() == 1).await;
    // A machine that is busy with something else may be late for once. Late each time is ours.
    let mut times = Vec::new();
    for generation in 2..=6 {
        let before = applied(&running.api).len();
        let begin = Instant::now();
        let mut edited = stored_policy("payments", "a");
        edited["metadata"]["generation"] = generation.into();
        edited["spec"] = json!({"puller": generation});
        running.api.put("ecraccesspolicies", edited);
        until("the next status", || applied(&running.api).len() > before).await;
        times.push(begin.elapsed());
        if begin.elapsed() < Duration::from_secs(1) {
            break;
        }
    }
    assert!(times.last().is_some_and(|time| *time < Duration::from_secs(1)), "{times:?}");
    let (_, applied) = &applied(&running.api)[1];
    assert_eq!(ready(applied).0, "False");
    assert_eq!(applied["status"]["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let running = start(vec![stored_policy("payments", "a")], false);
    tokio::time::sleep(LONG).await;
    assert!(applied(&running.api).is_empty());
    assert_eq!(running.options.metrics.leader.get(), 0);
    running.leader.store(true, Ordering::SeqCst);
    until("the status of the new leader", || applied(&running.api).len() == 1).await;
    assert_eq!(running.options.metrics.leader.get(), 1);
    running.leader.store(false, Ordering::SeqCst);
    until("the end of the term", || running.options.metrics.leader.get() == 0).await;
    running.api.put("ecraccesspolicies", stored_policy("payments", "b"));
    tokio::time::sleep(LONG).await;
    assert_eq!(applied(&running.api).len(), 1);
}

/// A look at everything may find much to write, and a lease may be lost meanwhile.
#[tokio::test(start_paused = true)]
async fn the_lease_is_asked_before_each_write() {
    let policies = (0..WRITES * 4).map(|index| stored_policy("payments", &format!("p{index}"))).collect();
    let running = start_while(FakeApi::new(), policies, false, |api| applied(api).is_empty());
    running.index.wait_until_synced().await;
    running.leader.store(true, Ordering::SeqCst);
    until("a first status", || !applied(&running.api).is_empty()).await;
    tokio::time::sleep(LONG).await;
    // Those that were under way when the lease was lost, and no more.
    assert!(applied(&running.api).len() <= WRITES, "{}", applied(&running.api).len());
    assert_eq!(running.options.metrics.leader.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_finds_everything_said_and_writes_nothing() {
    let first = start(vec![stored_policy("payments", "a")], true);
    until("the status", || applied(&first.api).len() == 1).await;
    let status = applied(&first.api)[0].1["status"].clone();
    let mut stored = stored_policy("payments", "a");
    stored["status"] = status;
    let second = start(vec![stored], true);
    until("the second leader has looked", || {
        second.options.metrics.policies.get_or_create(&ReadyLabels { ready: Truth::True }).get() == 1
    })
    .await;
    tokio::time::sleep(LONG).await;
    assert!(applied(&second.api).is_empty(), "{:#?}", applied(&second.api));
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_else_changed_is_put_right() {
    let running = start(vec![stored_policy("payments", "a")], true);
    until("the status", || applied(&running.api).len() == 1).await;
    let mut tampered = stored_policy("payments", "a");
    tampered["status"] = json!({"observedGeneration": 1, "serviceAccounts": 99});
    running.api.put("ecraccesspolicies", tampered);
    until("the status again", || applied(&running.api).len() == 2).await;
    assert_eq!(applied(&running.api)[1].1["status"]["serviceAccounts"], 0);
}

#[tokio::test(start_paused = true)]
async fn writes_that_fail_are_tried_again() {
    let running = start(vec![stored_policy("payments", "a")], false);
    let failed =
        || running.options.metrics.status_writes.get_or_create(&WriteLabels { result: WriteResult::failed }).get();
    // Synced first, so that only the writes fail.
    running.index.wait_until_synced().await;
    running.api.answer("ecraccesspolicies", 500);
    running.leader.store(true, Ordering::SeqCst);
    until("a failed write", || failed() >= 1).await;
    running.api.answer("ecraccesspolicies", 200);
    until("the status", || applied(&running.api).len() == 1).await;
}

fn deployment(name: &str, repository: &str) -> Value {
    let spec = fixtures::pod_spec("api", [&*fixtures::image(repository)]);
    let mut deployment = fixtures::workload("Deployment", name, spec);
    deployment["metadata"]["uid"] = format!("uid-{name}").into();
    deployment
}

/// A pod of the ReplicaSet `NAME-1` of the Deployment `NAME`, and that ReplicaSet.
fn replica(api: &FakeApi, name: &str, repository: &str) {
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true}]);
    let set = format!("{name}-1");
    let metadata = json!({"name": set, "namespace": "payments", "uid": format!("uid-{set}"), "ownerReferences": owner("Deployment", name)});
    api.put("replicasets", json!({"metadata": metadata, "spec": {"replicas": 1}}));
    let mut pod = fixtures::pod(&format!("{set}-x"), fixtures::pod_spec("api", [&*fixtures::image(repository)]));
    pod["metadata"]["uid"] = "uid-pod".into();
    pod["metadata"]["ownerReferences"] = owner("ReplicaSet", &set);
    api.put("pods", pod);
}

/// A policy that lets pull `team/app` until `end`, and nothing else.
fn until_then(end: jiff::Timestamp) -> Value {
    let mut policy = stored_policy("payments", "pull");
    let statement = &mut policy["spec"]["puller"]["nodes"][0]["identity"]["policies"][0]["document"]["Statement"][0];
    statement["Condition"] = json!({"DateLessThan": {"aws:CurrentTime": end.to_string()}});
    policy
}

/// Allows the token, and `team/app` alone.
fn narrow() -> Value {
    let mut policy = stored_policy("payments", "pull");
    policy["spec"]["puller"]["nodes"][0]["identity"] = fixtures::identity(
        "pull",
        json!([
            fixtures::allow("ecr:GetAuthorizationToken", "*"),
            fixtures::allow("ecr:*", "arn:aws:ecr:*:*:repository/team/app")
        ]),
    );
    policy
}

fn last(running: &Running) -> Value {
    applied(&running.api).last().map(|(_, body)| body["status"].clone()).unwrap_or_default()
}

fn told(api: &FakeApi) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |event: &Value| {
        let regarding = &event["regarding"];
        let regarding = format!("{}/{}", text(&regarding["kind"]), text(&regarding["name"]));
        (text(&event["type"]), text(&event["reason"]), regarding)
    };
    api.told().iter().map(of).collect()
}

fn news(kind: &str, reason: &str, regarding: &str) -> (String, String, String) {
    (kind.to_owned(), reason.to_owned(), regarding.to_owned())
}

#[tokio::test]
async fn workloads_are_counted_and_told_with_their_pods_and_a_kind_that_may_not_be_listed_stops_nothing() {
    let running = start(vec![narrow()], false);
    running.api.put("serviceaccounts", fixtures::service_account("api"));
    running.api.answer("cronjobs", 403);
    running.api.put("deployments", deployment("fine", "team/app"));
    running.api.put("deployments", deployment("broken", "secret/app"));
    replica(&running.api, "broken", "secret/app");
    running.leader.store(true, Ordering::SeqCst);
    until("a status that counts", || last(&running)["workloads"]["denied"] == 1).await;
    let status = last(&running);
    assert_eq!(status["workloads"], json!({"allowed": 1, "denied": 1, "unknown": 0}));
    assert_eq!(status["pods"], json!({"allowed": 0, "denied": 1, "unknown": 0}));
    let [denial] = status["denials"].as_array().unwrap().as_slice() else { panic!("{status}") };
    assert_eq!(
        (&denial["kind"], &denial["name"], &denial["pods"]),
        (&json!("Deployment"), &json!("broken"), &json!(1))
    );
    until("the Event", || !running.api.told().is_empty()).await;
    let [event] = running.api.told().try_into().unwrap();
    assert_eq!(event["apiVersion"], "events.k8s.io/v1");
    assert_eq!(event["metadata"]["namespace"], "payments");
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("PullWouldFail")));
    let regarding = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "payments", "name": "broken", "uid": "uid-broken"});
    assert_eq!(event["regarding"], regarding);
    assert_eq!((&event["related"]["kind"], &event["related"]["uid"]), (&json!("EcrAccessPolicy"), &json!("uid-pull")));
    let note = event["note"].as_str().unwrap();
    assert!(note.starts_with("Deployment payments/broken, container c0: cannot pull "), "{note}");
    assert_eq!(
        (&event["reportingController"], &event["reportingInstance"]),
        (&json!("ecraccess.dev/controller"), &json!("replica-0"))
    );
}

/// The condition `Judging` of the last status that was written: reason and message.
fn judging(running: &Running) -> Option<(String, String)> {
    let conditions = last(running)["conditions"].as_array().unwrap().clone();
    let judging = conditions.into_iter().find(|condition| condition["type"] == "Judging")?;
    assert_eq!(judging["status"], "False");
    Some((judging["reason"].as_str()?.to_owned(), judging["message"].as_str()?.to_owned()))
}

/// Waits until a watch of this kind has failed, and lets a minute pass.
async fn fails_for_a_minute(running: &Running, kind: &'static str) {
    let mut progress = running.index.health().progress();
    let failed = progress.wait_for(|kinds| kinds[kind].failure.is_some());
    drop(tokio::time::timeout(TIMEOUT, failed).await.unwrap().unwrap());
    running.index.health().look(Instant::now() + crate::runtime::watch::health::FAILING_AFTER);
}

#[tokio::test]
async fn a_watch_that_fails_for_a_minute_is_in_the_statuses_until_it_works() {
    let running = start(vec![stored_policy("payments", "a")], true);
    until("the first status", || applied(&running.api).len() == 1).await;
    assert_eq!(judging(&running), None);
    running.api.answer("serviceaccounts", 403);
    running.api.hang_up("serviceaccounts");
    fails_for_a_minute(&running, "serviceaccounts").await;
    until("the failure is told", || judging(&running).is_some()).await;
    let (reason, message) = judging(&running).unwrap();
    assert_eq!(reason, "WatchFailing");
    assert!(message.contains("not allowed to watch serviceaccounts"), "{message}");
    assert!(running.index.synced() && running.index.not_synced_reason().is_none(), "a healthy replica stays ready");
    running.api.answer("serviceaccounts", 200);
    until("it is over", || judging(&running).is_none()).await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_leaves_out_its_kind_and_its_return_brings_it_back() {
    let running = start(vec![narrow()], false);
    running.api.put("serviceaccounts", fixtures::service_account("api"));
    running.api.put("deployments", deployment("broken", "secret/app"));
    running.api.put("statefulsets", deployment("kept", "team/app"));
    running.leader.store(true, Ordering::SeqCst);
    let counts = |allowed: u64, denied: u64| json!({"allowed": allowed, "denied": denied, "unknown": 0});
    until("both are counted", || last(&running)["workloads"] == counts(1, 1)).await;
    running.api.answer("deployments", 403);
    running.api.hang_up("deployments");
    fails_for_a_minute(&running, "deployments").await;
    until("it is left out", || last(&running)["workloads"] == counts(1, 0)).await;
    assert_eq!(judging(&running), None, "what is counted is not out of date");
    running.api.put("deployments", deployment("other", "secret/app"));
    running.api.answer("deployments", 200);
    until("all of it is counted again", || last(&running)["workloads"] == counts(1, 2)).await;
    // Any other failure may be over soon: what was counted stays, and is told to be old.
    running.api.answer("statefulsets", 503);
    running.api.hang_up("statefulsets");
    fails_for_a_minute(&running, "statefulsets").await;
    until("it is told", || judging(&running).is_some()).await;
    assert_eq!(judging(&running).unwrap().0, "CountsOutOfDate");
    assert_eq!(last(&running)["workloads"], counts(1, 2));
}

#[tokio::test]
async fn what_the_api_server_answers_to_a_write_need_not_be_readable() {
    let api = FakeApi::new();
    let deep = format!("{}1{}", r#"{"f:x":"#.repeat(200), "}".repeat(200));
    for (name, field) in [("fields", "managedFields"), ("spec", "deep")] {
        let mut object = stored_policy("payments", name);
        object["metadata"]["resourceVersion"] = VERSION.into();
        let place = if name == "spec" { &mut object["spec"] } else { &mut object["metadata"] };
        place[field] = "@".into();
        let bytes = object.to_string().replace("\"@\"", &deep).into_bytes();
        assert!(serde_json::from_slice::<Value>(&bytes).is_err());
        api.put_bytes("ecraccesspolicies", "payments", name, &bytes);
    }
    let running = start_on(api, vec![], true);
    let writes = |result| running.options.metrics.status_writes.get_or_create(&WriteLabels { result }).get();
    until("both statuses", || writes(WriteResult::written) >= 2).await;
    assert_eq!(writes(WriteResult::failed), 0);
    let of = |name: &str| {
        let applied = applied(&running.api);
        applied.into_iter().find(|(path, _)| path.ends_with(&format!("/{name}/status"))).unwrap().1
    };
    assert_eq!(ready(&of("fields")), ("True", "Ready"));
    let unreadable = of("spec");
    assert_eq!(ready(&unreadable), ("False", "UnsupportedSpec"));
    assert_eq!(unreadable["status"]["observedGeneration"], 1);
    let message = unreadable["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("spec.deep: unknown field"), "{message}");
}

#[tokio::test]
async fn what_happens_to_a_policy_is_told_once_and_a_new_leader_repeats_nothing() {
    let running = start(vec![narrow()], true);
    running.api.put("serviceaccounts", fixtures::service_account("api"));
    until("the status", || applied(&running.api).len() == 1).await;
    assert_eq!(told(&running.api), [], "a policy that is in force from the beginning is no news");
    let mut broken = stored_policy("payments", "pull");
    broken["metadata"]["generation"] = 2.into();
    broken["spec"] = json!({"puller": 7});
    running.api.put("ecraccesspolicies", broken);
    until("the first Event", || told(&running.api).len() == 1).await;
    let mut mended = narrow();
    mended["metadata"]["generation"] = 3.into();
    mended["status"] = last(&running);
    running.api.put("deployments", deployment("broken", "secret/app"));
    running.api.put("ecraccesspolicies", mended);
    let expected = [
        news("Warning", "UnsupportedSpec", "EcrAccessPolicy/pull"),
        news("Normal", "Ready", "EcrAccessPolicy/pull"),
        news("Warning", "PullWouldFail", "Deployment/broken"),
    ];
    until("all Events", || told(&running.api).len() == 3).await;
    assert_eq!(told(&running.api), expected);

    // Another leader, on the same API server.
    running.leader.store(false, Ordering::SeqCst);
    until("the end of the term", || running.options.metrics.leader.get() == 0).await;
    running.leader.store(true, Ordering::SeqCst);
    until("the next term has looked", || {
        running.options.metrics.workloads.get_or_create(&VerdictLabels { verdict: PodVerdict::Deny }).get() == 1
    })
    .await;
    // The same repository and cause once more is no news; another one is, and comes after whatever would be repeated.
    running.api.put("deployments", deployment("another", "secret/app"));
    running.api.put("deployments", deployment("third", "other/app"));
    until("one Event more", || told(&running.api).len() > 3).await;
    assert_eq!(told(&running.api)[3..], [news("Warning", "PullWouldFail", "Deployment/third")]);
    assert!(running.api.events().iter().all(|event| event["series"].is_null()), "{:#?}", running.api.events());
}

#[tokio::test(start_paused = true)]
async fn only_a_leader_tells_and_what_an_api_server_refuses_is_tried_again() {
    let running = start(vec![narrow()], true);
    running.api.put("serviceaccounts", fixtures::service_account("api"));
    running.api.put("deployments", deployment("broken", "secret/app"));
    running.api.answer("events", 500);
    let count = |result| running.options.metrics.events.get_or_create(&EventLabels { result }).get();
    until("a failed Event", || count(EventResult::failed) == 1).await;
    assert_eq!(running.options.metrics.events_waiting.get(), 1);
    running.api.answer("events", 200);
    // Tried again with the next round.
    running.api.put("deployments", deployment("fine", "team/app"));
    until("the Event", || told(&running.api).len() == 1).await;
    until("none waits", || running.options.metrics.events_waiting.get() == 0).await;
    assert_eq!(count(EventResult::written), 1);
}

#[tokio::test]
async fn a_condition_on_the_date_changes_the_counts_without_an_edit_and_is_told_ahead() {
    // Whole seconds, as people write them.
    let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 8).unwrap();
    let running = start(vec![until_then(end)], false);
    running.api.put("serviceaccounts", fixtures::service_account("api"));
    running.api.put("deployments", deployment("api", "team/app"));
    running.leader.store(true, Ordering::SeqCst);
    until("the status", || !applied(&running.api).is_empty()).await;
    let status = last(&running);
    assert_eq!((&status["nextTransition"], &status["workloads"]["allowed"]), (&json!(end.to_string()), &json!(1)));
    let ahead = status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "ChangeAhead");
    let message = ahead.unwrap()["message"].as_str().unwrap();
    assert!(message.ends_with("1 workload turns from Allow to Deny (Deployment payments/api)"), "{message}");
    assert_eq!(running.options.metrics.next_transition.get(), end.as_second());
    until("the Event ahead", || told(&running.api).len() == 1).await;
    assert_eq!(told(&running.api), [news("Warning", "VerdictWillChange", "EcrAccessPolicy/pull")]);
    until("the verdict turns", || last(&running)["workloads"]["denied"] == 1).await;
    assert!(jiff::Timestamp::now() >= end && last(&running)["nextTransition"].is_null(), "{}", last(&running));
    until("the denial is told", || told(&running.api).len() == 2).await;
    assert_eq!(told(&running.api)[1], news("Warning", "PullWouldFail", "Deployment/api"));
    assert_eq!(running.options.metrics.next_transition.get(), 0);
}

/// No label holds anything that a tenant can make many of.
#[tokio::test]
async fn a_thousand_namespaces_have_as_many_series_as_one() {
    let series = async |namespaces: usize| {
        let mut policies = Vec::new();
        let api = FakeApi::new();
        for index in 0..namespaces {
            let namespace = format!("tenant-{index}");
            let mut policy = narrow();
            policy["metadata"]["namespace"] = namespace.clone().into();
            policies.push(policy);
            api.put("namespaces", json!({"metadata": {"name": namespace}}));
            api.put("serviceaccounts", json!({"metadata": {"name": "api", "namespace": namespace}}));
            for (name, repository) in [("fine", "team/app"), ("broken", "secret/app")] {
                let mut deployment = deployment(name, repository);
                deployment["metadata"]["namespace"] = namespace.clone().into();
                api.put("deployments", deployment);
            }
        }
        let running = start_on(api, policies, true);
        until("every status is written", || applied(&running.api).len() >= namespaces).await;
        let denied = VerdictLabels { verdict: PodVerdict::Deny };
        until("everything is counted", || {
            running.options.metrics.workloads.get_or_create(&denied).get() == i64::try_from(namespaces).unwrap()
        })
        .await;
        until("Events are told", || !running.api.told().is_empty()).await;
        let mut registry = prometheus_client::registry::Registry::default();
        running.options.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("tenant-"), "{text}");
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let one: std::collections::BTreeSet<String> = series(1).await;
    let thousand = series(1000).await;
    // How writes end is chance; that there are no more ways than these is not.
    let more: Vec<_> = thousand.difference(&one).filter(|name| !name.contains("_total{result=")).collect();
    assert!(more.is_empty(), "{more:?}");
    assert!(thousand.len() <= 20, "{thousand:#?}");
}
