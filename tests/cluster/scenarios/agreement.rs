//! Webhook, controller and `check` agree: the scenarios of `tests/data/scenarios`, all at once on one API server.
//!
//! Each gets a namespace of its own, with its pod twice: `app` is there before any policy and is counted in status, `try`
//! is asked for in a dry run once the policies are in force.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};

use crate::scenario::{self, NAMESPACE, NOW, Scenario};
use crate::world::{Answer, PATIENCE, World, policies};

/// So many cases are under way at once: most of their time they wait.
const AT_ONCE: usize = 48;
const DENIED: &str = "admission webhook \"pods.ecraccess.dev\" denied the request: ";

pub async fn webhook_status_and_check_agree(world: &World) -> Result<()> {
    let all = scenario::all();
    let cases = chosen(&all);
    ensure!(cases.len() * 3 >= all.len(), "only {} of {} scenarios fit a cluster", cases.len(), all.len());
    let reports = check(&cases)?;

    run(&cases, |case| case.run(world, &reports)).await
}

/// Does the same for every case, many at once, and tells of all that went wrong.
async fn run<'a, F: Future<Output = Result<()>>>(cases: &'a [Case], act: impl Fn(&'a Case) -> F) -> Result<()> {
    let acts = cases.iter().map(|case| {
        let act = act(case);
        async move { act.await.err().map(|error| format!("{}: {error:#}", case.title)) }
    });
    let wrong: Vec<String> =
        stream::iter(acts).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    ensure!(wrong.is_empty(), "{} of {}:\n    {}", wrong.len(), cases.len(), wrong.join("\n    "));
    Ok(())
}

/// A third of all scenarios: each that fits with its first near miss, then with its second, and so on.
fn chosen(all: &[Scenario]) -> Vec<Case> {
    let mut miss = 0;
    let mut fitting: Vec<(usize, &Scenario)> = Vec::new();
    for scenario in all {
        miss = if scenario.misses.is_some() { miss + 1 } else { 0 };
        if fits(scenario) {
            fitting.push((miss, scenario));
        }
    }
    fitting.sort_by_key(|(miss, _)| *miss);
    fitting.truncate(all.len().div_ceil(3));
    fitting.iter().enumerate().map(|(number, (_, scenario))| Case::new(number, scenario)).collect()
}

/// Whether the API server would have this cluster, and only this cluster depends on it.
fn fits(scenario: &Scenario) -> bool {
    let kind = |name: &str| scenario.objects.iter().any(|object| object["kind"] == name);
    let text = serde_json::to_string(&scenario.objects).unwrap_or_default();
    let pod = scenario.subject();
    // Bad documents are refused, an account or namespace that is missing refuses the pod, ages cannot be given, ephemeral
    // containers come later, and the moment is another one.
    !scenario.files_only
        && !scenario.expect.has_problems()
        && kind("ServiceAccount")
        && kind("Namespace")
        && !kind("ClusterEcrAccessPolicy")
        && pod["kind"] == "Pod"
        && pod["metadata"]["namespace"] == NAMESPACE
        && pod["metadata"]["annotations"].is_null()
        && pod["spec"]["ephemeralContainers"].is_null()
        && scenario.args.is_empty()
        && scenario.now == NOW
        && !["creationTimestamp", "CurrentTime", "EpochTime", "\"namespace\":\"shop\""]
            .iter()
            .any(|word| text.contains(word))
}

/// Asks now and then: many ask at once, and what they wait for takes seconds.
async fn in_time(what: &str, mut ask: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + 2 * PATIENCE;
    while !ask().await? {
        ensure!(Instant::now() < until, "not within {:?}: {what}", 2 * PATIENCE);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

struct Case {
    title: String,
    namespace: String,
    objects: Vec<Value>,
}

impl Case {
    fn new(number: usize, scenario: &Scenario) -> Self {
        let namespace = format!("scenario-{number}");
        let mut objects = scenario.objects.clone();
        for object in &mut objects {
            let field = if object["kind"] == "Namespace" { "name" } else { "namespace" };
            object["metadata"][field] = json!(namespace);
        }
        // The same pod under a second name.
        let mut tried = scenario.subject().clone();
        tried["metadata"] = json!({"name": "try", "namespace": namespace});
        objects.push(tried);
        Self { title: scenario.title(), namespace, objects }
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    fn pod(&self, name: &str) -> Result<&Value> {
        self.of_kind("Pod").find(|pod| pod["metadata"]["name"] == name).context("a pod")
    }

    async fn run(&self, world: &World, reports: &Reports) -> Result<()> {
        self.set_up(world).await.context("set up")?;
        self.policies(world).await.context("policies")?;
        self.webhook(world, reports).await.context("webhook")?;
        self.status(world, reports).await.context("status")?;
        self.delete(world).await.context("delete")
    }

    async fn set_up(&self, world: &World) -> Result<()> {
        for namespace in self.of_kind("Namespace") {
            world.must("POST", "/api/v1/namespaces", Some(namespace)).await?;
        }
        let accounts = format!("/api/v1/namespaces/{}/serviceaccounts", self.namespace);
        for account in self.of_kind("ServiceAccount") {
            world.must("POST", &accounts, Some(account)).await?;
        }
        // The controller manager makes the account `default`, which one pod runs as.
        let default = format!("{accounts}/default");
        in_time("account `default`", async || Ok(world.call("GET", &default, None).await?.ok())).await?;
        world.must("POST", &self.pods(""), Some(self.pod("app")?)).await.map(drop)
    }

    async fn policies(&self, world: &World) -> Result<()> {
        for policy in self.of_kind("EcrAccessPolicy") {
            world.must("POST", &policies(&self.namespace), Some(policy)).await?;
        }
        Ok(())
    }

    /// What the webhook says of `try` is what `check` says of it.
    async fn webhook(&self, world: &World, reports: &Reports) -> Result<()> {
        let report = reports.of(self, "try")?;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = world.call("POST", &self.pods("?dryRun=All"), Some(self.pod("try")?)).await?;
            match agree(&answer, report) {
                Ok(()) => return Ok(()),
                // The policies are in force within a second; a busy machine may take longer.
                Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(500)).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// The policy in force counts `app`, and tells of a denial what `check` tells.
    async fn status(&self, world: &World, reports: &Reports) -> Result<()> {
        let report = reports.of(self, "app")?;
        let count = |verdict: &str| u64::from(report["verdict"] == verdict);
        let expected = json!({"allowed": count("Allow"), "denied": count("Deny"), "unknown": count("Unknown")});
        let none = json!({"allowed": 0, "denied": 0, "unknown": 0});
        for policy in self.of_kind("EcrAccessPolicy") {
            let name = policy["metadata"]["name"].as_str().context("a name")?;
            let in_force = report["policy"] == format!("EcrAccessPolicy/{}/{name}", self.namespace);
            // On trial a policy is judged beside the winner, which `check` does not tell.
            if !in_force && policy["spec"]["onDeny"] == "Audit" {
                continue;
            }
            let expected = if in_force { &expected } else { &none };
            let path = format!("{}/{name}", policies(&self.namespace));
            let mut status = Value::Null;
            in_time("the pod is counted", async || {
                let live = world.must("GET", &path, None).await?;
                status = live["status"].clone();
                Ok(status["observedGeneration"] == live["metadata"]["generation"] && status["pods"] == *expected)
            })
            .await
            .with_context(|| format!("pods {expected}, but {status}"))?;
            let denied: Vec<&Value> = images(report).filter(|image| in_force && image["verdict"] == "Deny").collect();
            let denials = status["denials"].as_array().cloned().unwrap_or_default();
            ensure!(denials.is_empty() == denied.is_empty(), "denials {denials:?} of {denied:?}");
            for denial in &denials {
                let image = denied.iter().find(|image| image["image"] == denial["image"]).context("of no image")?;
                ensure!(
                    denial["kind"] == "Pod" && denial["name"] == "app" && denial["cause"] == image["cause"],
                    "{denial} of {image}"
                );
            }
        }
        Ok(())
    }

    /// Namespaces are emptied by and by; what comes next should not have to wait for that.
    async fn delete(&self, world: &World) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        world.must("DELETE", &path, None).await?;
        let gone = async || Ok(world.call("GET", &path, None).await?.code == 404);
        in_time("the namespace is gone", gone).await
    }

    fn pods(&self, query: &str) -> String {
        format!("/api/v1/namespaces/{}/pods{query}", self.namespace)
    }
}

/// The same verdict, in the same words.
fn agree(answer: &Answer, report: &Value) -> Result<()> {
    let open: Vec<&Value> =
        images(report).filter(|image| image["verdict"] == "Deny" || image["verdict"] == "Unknown").collect();
    let line = |image: &Value| image["message"].as_str().and_then(|text| text.lines().next()).map(str::to_owned);
    // A host that is almost ECR's is a note in a report. The webhook warns of it where the API server's filter lets it through.
    let (almost, warnings): (Vec<&String>, Vec<&String>) =
        answer.warnings.iter().partition(|warning| warning.ends_with("[LooksLikeEcr]"));
    let noted = report["notes"].as_array().is_some_and(|notes| notes.iter().any(|note| note == "LooksLikeEcr"));
    ensure!(almost.is_empty() || noted, "the webhook: {almost:?}, without a note: {report}");
    match report["admission"].as_str() {
        Some("Rejected") => {
            let blamed: Vec<&Value> = open.into_iter().filter(|image| image["verdict"] == report["verdict"]).collect();
            let message = answer.message().strip_prefix(DENIED);
            let message = message.with_context(|| format!("check rejects, the webhook: {answer:?}"))?;
            if let [image] = blamed.as_slice() {
                ensure!(image["message"] == message, "check says: {}\nwebhook says: {message}", image["message"]);
            }
            let causes: Vec<(Option<String>, Option<String>)> = answer.body["details"]["causes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|cause| (cause["field"].as_str().map(str::to_owned), cause["message"].as_str().map(str::to_owned)))
                .collect();
            let expected: Vec<_> =
                blamed.iter().map(|image| (image["field"].as_str().map(str::to_owned), line(image))).collect();
            ensure!(causes == expected, "causes {causes:?}, not {expected:?}");
            ensure!(message.lines().next().map(str::to_owned) == expected[0].1, "line 1 of: {message}");
        }
        Some("Warned") => {
            ensure!(answer.ok(), "check warns, the webhook: {answer:?}");
            let expected: Vec<String> = open.into_iter().filter_map(line).collect();
            ensure!(warnings.iter().copied().eq(&expected), "check warns: {expected:?}\nwebhook: {warnings:?}");
        }
        _ => ensure!(answer.ok() && warnings.is_empty(), "check admits, the webhook: {answer:?}"),
    }
    Ok(())
}

fn images(report: &Value) -> impl Iterator<Item = &Value> {
    report["images"].as_array().into_iter().flatten()
}

/// What `check` says, by namespace and pod.
struct Reports(BTreeMap<(String, String), Value>);

impl Reports {
    fn of(&self, case: &Case, pod: &str) -> Result<&Value> {
        self.0.get(&(case.namespace.clone(), pod.to_owned())).context("no report")
    }
}

/// One run of `check` over the objects of all cases.
fn check(cases: &[Case]) -> Result<Reports> {
    let objects: Vec<&Value> = cases.iter().flat_map(|case| &case.objects).collect();
    let input = serde_json::to_vec(&json!({"apiVersion": "v1", "kind": "List", "items": objects}))?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_ecr-access"))
        .args(["check", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Hints on the policies, which are as they should be here.
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().context("standard input")?;
    // It reads everything before it prints anything.
    stdin.write_all(&input)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["problems"] == json!([]), "{}", report["problems"]);
    let mut reports = BTreeMap::new();
    for result in report["results"].as_array().context("results")? {
        let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        if reports.insert((text("namespace"), text("name")), result.clone()).is_some() {
            bail!("two reports of {}/{}", text("namespace"), text("name"));
        }
    }
    Ok(Reports(reports))
}
