//! What GitOps tools and `kubectl apply` do with the chart, done by hand: see `docs/gitops.md`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::runbook;
use crate::world::{PATIENCE, RELEASE, World, image, pull_document, spec};

const BUNDLE: &str = "deploy/ecr-access.yaml";
/// How long helm waits before it gives up.
const PATIENCE_OF_HELM: Duration = Duration::from_secs(40);
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ecr-access";

/// Every variant of the chart is taken by the API server's strictest reading: no field that it does not know, none twice.
pub async fn every_variant_passes_strict_validation(world: &World) -> Result<()> {
    let mut variants = vec![None];
    for entry in std::fs::read_dir(crate::chart().join("ci"))? {
        variants.push(Some(entry?.path()));
    }
    ensure!(variants.len() >= 6, "{variants:?}");
    for variant in variants {
        let mut arguments = vec!["template".to_owned(), "other".to_owned(), crate::chart().display().to_string()];
        arguments.extend(["--namespace".to_owned(), RELEASE.to_owned()]);
        arguments.extend(variant.iter().map(|file| format!("--values={}", file.display())));
        // Their definitions are not here: the Prometheus operator's, and cert-manager's.
        arguments.push("--set=serviceMonitor.enabled=false".to_owned());
        let render = world.cluster.helm(&arguments)?;
        let known = |object: &&str| !object.contains("\napiVersion: cert-manager.io/");
        let render = render.split("\n---\n").filter(known).collect::<Vec<_>>().join("\n---\n");
        // The definitions are the installed release's.
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-"];
        let output = world.cluster.kubectl_output(&apply, Some(&render))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() && said.is_empty(), "{variant:?}: {said}");
        // It can tell.
        let wrong = render.replacen("automountServiceAccountToken:", "automountServiceAccountTokens:", 1);
        let output = world.cluster.kubectl_output(&apply, Some(&wrong))?;
        ensure!(!output.status.success(), "{variant:?}: a field that does not exist was taken");
    }
    // A dry run leaves nothing.
    let left = world.must("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", None).await?;
    ensure!(!left.to_string().contains("\"other-ecr-access"), "{left}");
    Ok(())
}

/// `helm --wait` asks kstatus, the library by which Flux tells health, and for custom resources it knows conditions only.
pub async fn health_of_policies(world: &World) -> Result<()> {
    world.namespace("health", &["api"]).await?;
    let chart = world.cluster.directory.join("policies-chart");
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: policies\nversion: 0.1.0\n")?;
    let timeout = format!("{}s", PATIENCE_OF_HELM.as_secs());
    let install = |namespace: &str, spec: Value| -> Result<()> {
        let policy = json!({
            "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy", "metadata": {"name": "pull"}, "spec": spec,
        });
        std::fs::write(chart.join("templates/policy.yaml"), policy.to_string())?;
        let chart = chart.display().to_string();
        world
            .cluster
            .helm(&["upgrade", "--install", "policies", &chart, "-n", namespace, "--wait", "--timeout", &timeout])
            .map(drop)
    };
    let document = pull_document(&["good"]);
    install("health", spec(document.clone()))?;
    let policy = "/apis/ecraccess.dev/v1alpha1/namespaces/health/ecraccesspolicies/pull";
    let seen = world.must("GET", policy, None).await?;
    ensure!(seen["status"]["observedGeneration"] == seen["metadata"]["generation"], "waited for too little: {seen}");

    // Malformed, and in a namespace that the policy webhook leaves alone, so it is stored: not healthy, and known at once,
    // long before the time is up.
    let mut malformed = document;
    malformed["Statement"][0]["Effect"] = json!("Alow");
    let begin = std::time::Instant::now();
    let error = install("kube-system", spec(malformed)).err().context("a policy that is not in force is no success")?;
    let error = format!("{error:#}");
    ensure!(
        error.contains("resource EcrAccessPolicy/kube-system/pull not ready. status: Failed, message: spec.puller."),
        "{error}"
    );
    ensure!(begin.elapsed() < PATIENCE_OF_HELM / 2, "it waited for {:?}", begin.elapsed());
    world.cluster.helm(&["uninstall", "policies", "-n", "kube-system"])?;
    world.cluster.helm(&["uninstall", "policies", "-n", "health"]).map(drop)
}

/// The one-file bundle, where nothing of ecr-access is.
pub async fn the_bundle(world: &World) -> Result<()> {
    runbook::at_the_end(world, "And the policies too", 0)?;
    ensure!(
        world
            .cluster
            .kubectl(&["api-resources", "--api-group=ecraccess.dev", "-o", "name", "--cached=false"])?
            .is_empty(),
        "the definitions are still there"
    );

    apply(world)?;
    world.operator_ready(2).await?;
    world.namespace("bundle", &["api"]).await?;
    world.policy("bundle", "pull", spec(pull_document(&["good"]))).await?;
    let refused = async || Ok(world.try_pod("bundle", "api", &image("bad")).await?.code == 403);
    world.eventually(PATIENCE, "pods are judged", refused).await?;

    // Applied again, it changes nothing: not what the operator wrote into the objects, and no pod is exchanged.
    world.eventually(PATIENCE, "somebody leads", async || Ok(state(world).await?["leader"].is_string())).await?;
    let before = state(world).await?;
    no_difference(world)?;
    apply(world)?;
    no_difference(world)?;
    let after = state(world).await?;
    ensure!(before == after, "before {before}\nafter {after}");
    world.try_pod("bundle", "api", &image("bad")).await?.refused_with(&[&image("bad")])?;

    // With an image of one's own, by kustomize, as the example does.
    let rendered = world.cluster.shell("kubectl kustomize docs/examples/gitops/kustomize", &[])?;
    let rendered = String::from_utf8(rendered.stdout)?;
    let own = "image: 111122223333.dkr.ecr.us-east-1.amazonaws.com/platform/ecr-access:";
    ensure!(rendered.matches(own).count() == 1 && !rendered.contains("image: ecr-access:"), "{rendered}");
    let output = world.cluster.kubectl_output(
        &["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"],
        Some(&rendered),
    )?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // Taken away, but for the definitions and the policies.
    world.cluster.kubectl(&["delete", "-f", &bundle(), "-l", "app.kubernetes.io/component!=crds", "--timeout=120s"])?;
    ensure!(world.call("GET", CONFIGURATION, None).await?.code == 404, "the webhook configuration is still there");
    world.try_pod("bundle", "api", &image("bad")).await?.admitted()?;
    let policy = "/apis/ecraccess.dev/v1alpha1/namespaces/bundle/ecraccesspolicies/pull";
    ensure!(world.call("GET", policy, None).await?.ok(), "the policy is gone");
    let gone = async || Ok(world.cluster.replicas().is_empty());
    world.eventually(PATIENCE, "the operator is gone", gone).await.map(drop)
}

fn bundle() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(BUNDLE).display().to_string()
}

fn apply(world: &World) -> Result<()> {
    let output =
        world.cluster.kubectl_output(&["apply", "--server-side", "--validate=strict", "-f", &bundle()], None)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A warning would be here, of a deprecated field for example.
    ensure!(output.status.success() && said.is_empty(), "{said}");
    Ok(())
}

/// By server-side apply, as Argo CD (`ServerSideDiff`) and Flux compare, and by what kubectl compares without it.
fn no_difference(world: &World) -> Result<()> {
    for how in [&["diff", "--server-side"][..], &["diff"]] {
        let arguments: Vec<&str> = how.iter().copied().chain(["-f"]).collect();
        let bundle = bundle();
        let arguments: Vec<&str> = arguments.into_iter().chain([bundle.as_str()]).collect();
        let output = world.cluster.kubectl_output(&arguments, None)?;
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(0), "{how:?}: {text}{errors}");
    }
    Ok(())
}

/// What an apply could disturb: the certificate, who trusts it, who leads, which pods run.
async fn state(world: &World) -> Result<Value> {
    let secret = world.must("GET", "/api/v1/namespaces/ecr-access/secrets/ecr-access-certificate", None).await?;
    ensure!(secret["data"]["tls.crt"].is_string(), "{secret}");
    let configuration = world.must("GET", CONFIGURATION, None).await?;
    ensure!(configuration["webhooks"][0]["clientConfig"]["caBundle"].is_string(), "{configuration}");
    let lease =
        world.must("GET", "/apis/coordination.k8s.io/v1/namespaces/ecr-access/leases/ecr-access-leader", None).await?;
    let leader = &lease["spec"]["holderIdentity"];
    let leader = if leader.as_str().is_some_and(str::is_empty) { &Value::Null } else { leader };
    let deployment = world.must("GET", "/apis/apps/v1/namespaces/ecr-access/deployments/ecr-access", None).await?;
    Ok(json!({
        "secret": secret["metadata"]["resourceVersion"],
        "configuration": configuration["metadata"]["resourceVersion"],
        "leader": leader,
        "terms": lease["spec"]["leaseTransitions"],
        "deployment": deployment["metadata"]["generation"],
        "replicas": world.cluster.replicas().iter().map(|replica| replica.pod.clone()).collect::<Vec<_>>(),
    }))
}
