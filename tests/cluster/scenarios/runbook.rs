//! `docs/runbook.md`, followed to the letter: every block of commands is run as it stands there, and did what the section
//! around it says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::release;
use crate::world::{PATIENCE, REGISTRY, RELEASE, World};

/// Followed when the operator is taken away for good, by [`release::uninstall`] and what comes after it.
const AT_THE_END: [&str; 2] = ["Uninstall", "And the policies too"];
const NAMESPACE: &str = "payments";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ecr-access";
const SECRET: &str = "/api/v1/namespaces/ecr-access/secrets/ecr-access-certificate";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ecr-access/leases/ecr-access-leader";

pub async fn every_command_does_what_it_says(world: &World) -> Result<()> {
    let mut page = Page::read()?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    for file in ["namespace.yaml", "legacy.yaml", "policy.yaml"] {
        world.cluster.kubectl(&["apply", "-f", &docs.join(file).display().to_string()])?;
    }
    until(world, "refused", |code, _| code == 403).await?;

    page.run(world, "Stop it now", 0)?;
    let answer = try_worker(world).await?;
    ensure!(answer.0 == 201 && answer.1.is_empty(), "still judged: {answer:?}");
    page.run(world, "Put it back", 0)?;
    until(world, "refused", |code, _| code == 403).await?;

    let warned = |code: u16, warnings: &str| code == 201 && warnings.contains("/payments/worker");
    page.run(world, "Warn instead of refuse", 0)?;
    until(world, "warned of", warned).await?;
    page.run(world, "Refuse again", 0)?;
    until(world, "refused", |code, _| code == 403).await?;
    page.run(world, "Warn without Helm", 0)?;
    until(world, "warned of", warned).await?;
    during_a_rollout(world, &mut page)?;
    until(world, "refused", |code, _| code == 403).await?;

    page.run(world, "One policy only", 0)?;
    until(world, "warned of", warned).await?;
    page.run(world, "One policy only", 1)?;
    until(world, "refused", |code, _| code == 403).await?;

    page.run(world, "Some images only", 0)?;
    until(world, "exempted", |code, warnings| code == 201 && warnings.contains("exemption incident")).await?;
    page.run(world, "Some images only", 1)?;
    until(world, "refused", |code, _| code == 403).await?;

    a_pod_is_refused(world, &mut page).await?;
    certificate(world, &mut page).await?;
    leader(world, &mut page).await?;

    let leads = async || Ok(leaders(world)? == 1.0);
    world.eventually(PATIENCE, "the one that holds the Lease leads", leads).await?;
    let texts = page.run(world, "Where to look", 0)?;
    ensure!(texts.matches("\nok\n").count() == 2, "two replicas that are ready: {texts}");
    ensure!(texts.matches("\necr_access_leader 1\n").count() == 1, "one leader: {texts}");
    ensure!(texts.contains("\necr_access_reviews_total{"), "{texts}");
    ensure!(texts.matches("\necr_access_watch_failing{kind=\"serviceaccounts\"} 0\n").count() == 2, "{texts}");
    let log = page.run(world, "Where to look", 1)?;
    ensure!(log.matches("\"serving a certificate\"").count() >= 2, "a line of each replica: {log}");

    let judged = page.run(world, "A watch fails", 0)?;
    ensure!(judged.lines().any(|line| line.trim_end() == "EcrAccessPolicy payments/payments-pull"), "{judged}");

    page.run(world, "Out of memory", 0)?;
    page.run(world, "Out of memory", 1)?;
    let deployment = format!("/apis/apps/v1/namespaces/{RELEASE}/deployments/{RELEASE}");
    let limit = world.must("GET", &deployment, None).await?;
    let limit = &limit["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"];
    ensure!(limit == "1Gi", "{limit}");

    locked_out(world, &mut page).await?;
    page.was_followed()
}

/// "Refuse again" exchanges the replicas. Whoever looks at them meanwhile, and until the last of the old ones has gone, is
/// told of those that stay, and of no error.
fn during_a_rollout(world: &World, page: &mut Page) -> Result<()> {
    let before: BTreeSet<String> = world.cluster.replicas().into_iter().map(|replica| replica.pod).collect();
    let mut looked = 0;
    std::thread::scope(|scope| {
        let mut by_another = Page::read()?;
        let rollout = scope.spawn(move || by_another.run(world, "Refuse again", 0));
        let until = Instant::now() + PATIENCE * 2;
        while !rollout.is_finished() || world.cluster.replicas().iter().any(|replica| before.contains(&replica.pod)) {
            ensure!(Instant::now() < until, "the rollout does not end");
            for (title, block) in [("The certificate", 0), ("Where to look", 0), ("Where to look", 1)] {
                let text = page.run(world, title, block)?;
                ensure!(block == 1 || text.contains("\nok\n"), "`{title}`: a replica that is ready: {text}");
            }
            looked += 1;
        }
        rollout.join().map_err(|_| anyhow::anyhow!("it panicked"))?
    })?;
    page.followed.insert(("Refuse again".to_owned(), 0));
    println!("    looked at the replicas {looked} times while they were exchanged");
    ensure!(looked >= 3, "too few to prove anything");
    Ok(())
}

/// The sum of what the replicas say about leading.
fn leaders(world: &World) -> Result<f64> {
    let replicas = world.cluster.replicas();
    replicas.iter().map(|replica| super::availability::metric(&replica.address, "ecr_access_leader ")).sum()
}

async fn a_pod_is_refused(world: &World, page: &mut Page) -> Result<()> {
    const TITLE: &str = "A pod is refused";
    let template = json!({
        "metadata": {"labels": {"app": "worker"}},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "worker", "image": worker()}]},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"},
        "spec": {"selector": {"matchLabels": {"app": "worker"}}, "template": template},
    });
    let deployments = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
    world.must("POST", &deployments, Some(&deployment)).await?;
    let events = format!("/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=reason=FailedCreate");
    let told =
        async || Ok(world.must("GET", &events, None).await?["items"].as_array().is_some_and(|all| !all.is_empty()));
    world.eventually(PATIENCE, "an event of the ReplicaSet", told).await?;
    let text = page.run(world, TITLE, 0)?;
    ensure!(text.contains("[RepositoryNotInResource]") && text.contains("fix: "), "{text}");

    let policy = format!("{}/payments-pull", crate::world::policies(NAMESPACE));
    let counted = async || Ok(world.must("GET", &policy, None).await?["status"]["pods"]["denied"] == 1);
    world.eventually(PATIENCE, "the pod that is there is counted", counted).await?;
    let text = page.run(world, TITLE, 1)?;
    ensure!(text.contains("Ready=True Ready: ") && text.contains("PoliciesResolved=True Resolved: "), "{text}");
    ensure!(text.contains("Pod/legacy ") && text.contains(" ecr:BatchGetImage RepositoryNotInResource"), "{text}");

    let text = page.run(world, TITLE, 2)?;
    ensure!(text.contains("pod/api created (server dry run)"), "{text}");

    // 1: something is denied.
    let output = page.output(world, TITLE, 3)?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(output.status.code() == Some(1) && report["summary"]["deny"] == 1, "{report}");
    world.must("DELETE", &format!("{deployments}/worker"), None).await.map(drop)
}

async fn certificate(world: &World, page: &mut Page) -> Result<()> {
    let text = page.run(world, "The certificate", 0)?;
    ensure!(
        text.matches("\nok\n").count() == 2 && text.contains("ecr_access_certificate_expiry_timestamp_seconds 1"),
        "{text}"
    );
    // The page speaks of a difference that stays.
    let mut difference = String::new();
    let same = async || {
        let output = page.output(world, "The certificate", 1)?;
        difference = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(output.status.success() && difference.is_empty())
    };
    let same = world.eventually(PATIENCE, "the configuration has the authority of the Secret", same).await;
    same.with_context(|| difference.clone())?;

    for block in 0..2 {
        let before = world.must("GET", SECRET, None).await?["data"]["tls.crt"].clone();
        page.run(world, "A new certificate", block)?;
        let exchanged = async || {
            if block == 0 {
                let answer = try_worker(world).await?;
                ensure!(answer.0 == 403, "a review was lost while certificates changed: {answer:?}");
            }
            let data = world.must("GET", SECRET, None).await?["data"].clone();
            let configuration = world.must("GET", CONFIGURATION, None).await?;
            let webhooks = configuration["webhooks"].as_array().context("webhooks")?;
            let published = webhooks.iter().all(|webhook| webhook["clientConfig"]["caBundle"] == data["ca.crt"]);
            Ok(data["tls.crt"].is_string() && data["tls.crt"] != before && published)
        };
        world.eventually(PATIENCE, "another certificate is there, and its authority published", exchanged).await?;
        until(world, "refused", |code, _| code == 403).await?;
    }
    world.operator_ready(2).await
}

async fn leader(world: &World, page: &mut Page) -> Result<()> {
    let holder = async || {
        let lease = world.must("GET", LEASE, None).await?;
        anyhow::Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    };
    // Replicas of before give the lead back when they end.
    world.operator_settled(2).await?;
    let settled = async || {
        let holder = holder().await?;
        Ok(world.cluster.replicas().iter().any(|replica| replica.pod == holder))
    };
    world.eventually(PATIENCE, "one of the two that stay leads", settled).await?;
    let before = holder().await?;
    let text = page.run(world, "The leader", 0)?;
    ensure!(text.starts_with(&format!("{before} 2")), "{text}");
    let text = page.run(world, "The leader", 1)?;
    ensure!(text.lines().any(|line| line.split_whitespace().take(2).eq([NAMESPACE, "payments-pull"])), "{text}");
    page.run(world, "The leader", 2)?;
    let passed_on = async || {
        let now = holder().await?;
        Ok(!now.is_empty() && now != before)
    };
    world.eventually(PATIENCE, "another replica leads", passed_on).await?;
    world.operator_settled(2).await
}

async fn locked_out(world: &World, page: &mut Page) -> Result<()> {
    release::upgrade(world, &["--set=webhook.failurePolicy=Fail", "--set=replicaCount=0"])?;
    world.operator_ready(0).await?;
    let gone = async || Ok(world.cluster.replicas().is_empty());
    world.eventually(PATIENCE, "the operator's processes end", gone).await?;
    let answer = world.try_pod(NAMESPACE, "api", &worker()).await?;
    ensure!(
        answer.code == 500
            && answer.message().starts_with("Internal error occurred: failed calling webhook \"pods.ecraccess.dev\": "),
        "{answer:?}"
    );
    // Who is never affected.
    for (namespace, image) in
        [("kube-system", worker()), (RELEASE, worker()), (NAMESPACE, "docker.io/library/busybox:1".to_owned())]
    {
        world.try_pod(namespace, "default", &image).await?.admitted().with_context(|| namespace.to_owned())?;
    }
    page.run(world, "Locked out", 0)?;
    // The API server takes a moment to see its new configuration.
    until(world, "admitted", |code, _| code == 201).await?;
    page.run(world, "Locked out", 1)?;
    release::upgrade(world, &["--force-conflicts"])?;
    world.operator_ready(2).await?;
    until(world, "refused", |code, _| code == 403).await
}

fn worker() -> String {
    format!("{REGISTRY}/payments/worker:1.4.2")
}

/// The code, and the warnings, for the pod of `docs/examples/worker.yaml`.
async fn try_worker(world: &World) -> Result<(u16, String)> {
    let answer = world.try_pod(NAMESPACE, "api", &worker()).await?;
    Ok((answer.code, answer.warnings.join("\n")))
}

/// Waits until the answer to that pod is as wanted.
async fn until(world: &World, what: &str, wanted: impl Fn(u16, &str) -> bool) -> Result<()> {
    let mut seen = (0, String::new());
    let asked = world.eventually(PATIENCE, what, async || {
        seen = try_worker(world).await?;
        Ok(wanted(seen.0, &seen.1))
    });
    let asked = asked.await;
    asked.map(drop).with_context(|| format!("{seen:?}"))
}

/// Runs a block of `docs/runbook.md` at the end of a cluster's life, where no scenario follows it.
pub fn at_the_end(world: &World, title: &str, block: usize) -> Result<()> {
    ensure!(AT_THE_END.contains(&title), "`{title}` is followed by the scenario of this module");
    Page::read()?.run(world, title, block).map(drop)
}

/// The sections of the page, with their blocks of commands.
struct Page {
    sections: Vec<(String, Vec<String>)>,
    followed: BTreeSet<(String, usize)>,
}

impl Page {
    fn read() -> Result<Page> {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbook.md"))?;
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        let mut open = false;
        for line in text.lines() {
            match (line, sections.last_mut()) {
                ("```sh", Some((_, blocks))) if !open => {
                    blocks.push(String::new());
                    open = true;
                }
                ("```", _) if open => open = false,
                (line, Some((_, blocks))) if open => {
                    let block = blocks.last_mut().context("a block")?;
                    block.push_str(line);
                    block.push('\n');
                }
                (line, _) if line.starts_with("```") => bail!("`{line}`: commands are in blocks of `sh`, in a section"),
                (line, _) => {
                    if let Some(title) = line.strip_prefix("## ") {
                        sections.push((title.to_owned(), Vec::new()));
                    }
                }
            }
        }
        ensure!(!open && sections.len() > 10, "the page is not read as it should be: {sections:?}");
        Ok(Page { sections, followed: BTreeSet::new() })
    }

    /// Runs a block, which has to succeed, and returns what it printed on standard output.
    fn run(&mut self, world: &World, title: &str, block: usize) -> Result<String> {
        let output = self.output(world, title, block)?;
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`{title}`, block {block}: {}\n{text}{errors}", output.status);
        Ok(text.into_owned())
    }

    fn output(&mut self, world: &World, title: &str, block: usize) -> Result<Output> {
        let (_, blocks) =
            self.sections.iter().find(|(found, _)| found == title).with_context(|| format!("no section `{title}`"))?;
        let script = blocks.get(block).with_context(|| format!("`{title}` has no block {block}"))?;
        self.followed.insert((title.to_owned(), block));
        let program = Path::new(env!("CARGO_BIN_EXE_ecr-access")).parent().context("a folder")?;
        world.cluster.shell(script, &[program])
    }

    /// Every block was run, but for those of the end.
    fn was_followed(&self) -> Result<()> {
        for (title, blocks) in &self.sections {
            for block in 0..blocks.len() {
                ensure!(
                    AT_THE_END.contains(&title.as_str()) || self.followed.contains(&(title.clone(), block)),
                    "nobody follows `{title}`, block {block}"
                );
            }
        }
        Ok(())
    }
}
