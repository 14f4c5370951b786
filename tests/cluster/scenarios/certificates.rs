//! The webhook's certificate is exchanged while it is used, and a bad one stays out of service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ecr_access::webhook::tls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::availability::metric;
use crate::admissions::{Strict, wanted};
use crate::world::{PATIENCE, RELEASE, World};

const SECRET: &str = "/api/v1/namespaces/ecr-access/secrets/ecr-access-certificate";
const SERVICE: &str = "/api/v1/namespaces/ecr-access/services/ecr-access";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ecr-access";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/ecr-access/roles/ecr-access";

/// A new certificate, then a new authority twice, each asked for by taking away from the Secret what is to be made anew.
pub async fn three_rotations(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    let strict = Strict::begin(world, "rotation").await?;
    let requests = [
        json!({"data": {"tls.crt": null, "tls.key": null}}),
        json!({"data": null}),
        json!({"data": {"ca.crt": null, "ca.key": null}}),
    ];
    let rotations = async {
        for request in &requests {
            rotate(world, request).await?;
        }
        Ok(())
    };
    let handshakes = async {
        let mut count = 0_u64;
        let mut rotations = std::pin::pin!(rotations);
        loop {
            tokio::select! {
                result = &mut rotations => return result.map(|()| count),
                shaken = shake_hands(world) => count += shaken?,
            }
        }
    };
    let (count, tally) = strict.admit_during(wanted(), handshakes).await?;
    tally.none_failed("three rotations of the certificate")?;
    println!("    {count} TLS handshakes with single replicas meanwhile, each verified with the published authorities");
    ensure!(count > 20, "too few handshakes to prove anything: {count}");
    let authorities = published(world).await?.matches("BEGIN CERTIFICATE").count();
    ensure!(authorities == 3, "the authorities of a day are trusted: {authorities}");
    strict.end().await
}

/// What cannot be used leaves the one before in service, and is told: by metric, Event and condition.
pub async fn an_unusable_pair_stays_out_of_service(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    let strict = Strict::begin(world, "unusable").await?;
    let secret = world.must("GET", SECRET, None).await?;
    // A key of another certificate; the operator may not put it right.
    let role = world.must("GET", ROLE, None).await?;
    let mut weak = role.clone();
    let rules = weak["rules"].as_array_mut().context("rules")?;
    rules
        .iter_mut()
        .filter(|rule| rule["resources"] == json!(["secrets"]))
        .for_each(|rule| rule["verbs"] = json!(["get"]));
    let (_, tally) = strict
        .admit_during(wanted() / 4, async {
            world.must("PATCH", ROLE, Some(&json!({"rules": weak["rules"]}))).await?;
            world.must("PATCH", SECRET, Some(&json!({"data": {"tls.key": secret["data"]["ca.key"]}}))).await?;
            let usable = async |expected: f64| {
                world
                    .eventually(PATIENCE, "every replica has seen it", async || {
                        let usable = world.cluster.replicas().into_iter().map(|replica| replica.address);
                        let usable: Result<Vec<f64>> =
                            usable.map(|address| metric(&address, "ecr_access_certificate_usable ")).collect();
                        Ok(usable?.iter().all(|usable| *usable == expected))
                    })
                    .await
            };
            usable(0.0).await?;
            let told = condition(world, "False", "KeyMismatch").await?;
            ensure!(told.contains("`tls.key` does not fit its certificate"), "{told}");
            ensure!(told.contains("it cannot be replaced"), "{told}");
            let events = world.cluster.kubectl(&["events", "--for", "secret/ecr-access-certificate", "-n", RELEASE])?;
            ensure!(events.contains("CertificateUnusable") && events.contains("does not fit"), "{events}");
            shake_hands(world).await?;
            // And with the right to, it is put right.
            world.must("PATCH", ROLE, Some(&json!({"rules": role["rules"]}))).await?;
            usable(1.0).await?;
            condition(world, "True", "").await.map(drop)
        })
        .await?;
    tally.none_failed("a pair that does not fit")?;
    strict.end().await
}

/// Asks for a new certificate and waits until every replica serves it.
async fn rotate(world: &World, request: &Value) -> Result<()> {
    let swaps = || -> Result<Vec<f64>> {
        let addresses = world.cluster.replicas().into_iter().map(|replica| replica.address);
        addresses.map(|address| metric(&address, "ecr_access_certificate_swaps_total ")).collect()
    };
    let before = swaps()?;
    world.must("PATCH", SECRET, Some(request)).await?;
    world
        .eventually(PATIENCE, "every replica serves the new certificate", async || {
            Ok(swaps()?.iter().zip(&before).all(|(now, before)| now > before))
        })
        .await
        .map(drop)
}

/// One new connection to each replica, as an API server makes it that trusts what is published now.
async fn shake_hands(world: &World) -> Result<u64> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(published(world).await?.as_bytes()) {
        roots.add(authority?)?;
    }
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    // As late as an API server may be that learns of a change.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut count = 0;
    for replica in world.cluster.replicas() {
        let stream = TcpStream::connect(format!("{}:9443", replica.address)).await?;
        let name = ServerName::try_from(format!("{RELEASE}.{RELEASE}.svc"))?;
        connector.connect(name, stream).await.with_context(|| format!("a handshake with {}", replica.pod))?;
        count += 1;
    }
    Ok(count)
}

/// The authorities that the API server is told to trust, in PEM.
async fn published(world: &World) -> Result<String> {
    let request = axum::http::Request::get(CONFIGURATION).body(Vec::new())?;
    let configuration: k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration =
        world.cluster.client.request(request).await?;
    let webhook = configuration.webhooks.into_iter().flatten().next().context("a webhook")?;
    Ok(String::from_utf8(webhook.client_config.ca_bundle.context("a caBundle")?.0)?)
}

/// Waits for the condition of the Service, and returns its message.
async fn condition(world: &World, status: &str, reason: &str) -> Result<String> {
    let mut message = String::new();
    world
        .eventually(PATIENCE, &format!("the condition is {status}"), async || {
            let service = world.must("GET", SERVICE, None).await?;
            let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.iter().find(|condition| condition["type"] == "ecraccess.dev/CertificateUsable");
            message = found.and_then(|found| found["message"].as_str()).unwrap_or_default().to_owned();
            Ok(found.is_some_and(|found| found["status"] == status && (reason.is_empty() || found["reason"] == reason)))
        })
        .await?;
    Ok(message)
}
