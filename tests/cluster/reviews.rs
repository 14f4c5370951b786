//! A client that calls one replica of the webhook directly, as an API server does: TLS, HTTP/1.1, a connection for each
//! call on its way. It counts answers and measures how long they take.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::http::{Request, header};
use ecr_access::webhook::tls;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{RELEASE, image, pod};

/// One replica.
#[derive(Clone)]
pub struct Target {
    address: String,
    connector: TlsConnector,
    body: Bytes,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Answers {
    pub by_status: BTreeMap<u16, u64>,
    /// Connections that broke.
    pub broken: u64,
    times: Vec<Duration>,
    pub took: Duration,
}

impl Target {
    /// Calls go to a replica's `address`, about a pod of `namespace` with so many containers, whose images may be pulled.
    pub fn new(address: &str, namespace: &str, containers: usize) -> Result<Target> {
        Target::sized(&format!("{address}:9443"), namespace, containers, 30)
    }

    /// The same of any server, `address` having its port, and with so many settings in the pod's environment.
    pub fn sized(address: &str, namespace: &str, containers: usize, settings: usize) -> Result<Target> {
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        let mut object = pod("measured", "api", &image("good"));
        let environment: Vec<_> =
            (0..settings).map(|i| json!({"name": format!("SETTING_{i}"), "value": format!("value of setting {i}, {}", "x".repeat(60))})).collect();
        object["spec"]["containers"] = (0..containers)
            .map(|index| json!({"name": format!("c{index}"), "image": image(&format!("good/{index}"))}))
            .collect();
        object["spec"]["containers"][0]["env"] = json!(environment);
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "00000000-0000-0000-0000-000000000000", "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE", "namespace": namespace, "name": "measured", "object": object,
            },
        });
        let (address, body) = (address.to_owned(), Bytes::from(serde_json::to_vec(&review)?));
        Ok(Target { address, connector: TlsConnector::from(Arc::new(config)), body })
    }

    pub fn body_size(&self) -> usize {
        self.body.len()
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(format!("{RELEASE}.{RELEASE}.svc"))?;
        Ok(self.connector.connect(name, stream).await?)
    }

    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await?)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// One call; the HTTP status and how long it took.
    async fn call(&self, sender: &mut SendRequest<Full<Bytes>>) -> Result<(u16, Duration)> {
        let request = Request::post("/validate/pods?timeout=3s")
            .header(header::HOST, format!("{RELEASE}.{RELEASE}.svc"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))?;
        let begin = Instant::now();
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        Ok((status, begin.elapsed()))
    }

    /// `connections` that call one after the other, `calls` in all.
    pub async fn closed_loop(&self, connections: usize, calls: usize) -> Result<Answers> {
        let begin = Instant::now();
        let each = calls.div_ceil(connections);
        let all = try_join_all((0..connections).map(|_| {
            let target = self.clone();
            async move { tokio::spawn(async move { target.paced(each, None).await }).await? }
        }));
        Ok(Answers::merged(all.await?, begin.elapsed()))
    }

    /// `rate` calls a second for so long, whatever becomes of them, over `connections`.
    pub async fn open_loop(&self, connections: usize, rate: f64, length: Duration) -> Result<Answers> {
        let begin = Instant::now();
        let pause = Duration::from_secs_f64(connections as f64 / rate);
        let each = (length.as_secs_f64() / pause.as_secs_f64()).ceil() as usize;
        let all = try_join_all((0..connections).map(|index| {
            let target = self.clone();
            let first = begin + Duration::from_secs(1) + pause.mul_f64(index as f64 / connections as f64);
            async move { tokio::spawn(async move { target.paced(each, Some((first, pause))).await }).await? }
        }));
        Ok(Answers::merged(all.await?, begin.elapsed()))
    }

    /// Calls over one connection; when it breaks, over the next.
    async fn paced(&self, calls: usize, pace: Option<(Instant, Duration)>) -> Result<Answers> {
        let mut answers = Answers::default();
        let mut sender = self.sender().await.context("connecting")?;
        for number in 0..calls {
            if let Some((first, pause)) = pace {
                tokio::time::sleep_until((first + pause * u32::try_from(number)?).into()).await;
            }
            match self.call(&mut sender).await {
                Ok((status, took)) => {
                    *answers.by_status.entry(status).or_default() += 1;
                    answers.times.push(took);
                }
                Err(_) => {
                    answers.broken += 1;
                    sender = self.sender().await.context("connecting again")?;
                }
            }
        }
        Ok(answers)
    }
}

impl Answers {
    fn merged(all: Vec<Answers>, took: Duration) -> Answers {
        let mut sum = Answers { took, ..Answers::default() };
        for one in all {
            one.by_status.iter().for_each(|(status, count)| *sum.by_status.entry(*status).or_default() += count);
            sum.broken += one.broken;
            sum.times.extend(one.times);
        }
        sum.times.sort_unstable();
        sum
    }

    pub fn count(&self) -> u64 {
        self.by_status.values().sum()
    }

    pub fn rate(&self) -> f64 {
        self.count() as f64 / self.took.as_secs_f64()
    }

    /// The time that so many of a thousand answers do not exceed.
    pub fn quantile(&self, per_mille: usize) -> Duration {
        let index = (self.times.len() * per_mille / 1000).min(self.times.len().saturating_sub(1));
        self.times.get(index).copied().unwrap_or_default()
    }

    /// How many answers took longer.
    pub fn later_than(&self, limit: Duration) -> usize {
        self.times.len() - self.times.partition_point(|time| *time <= limit)
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |per_mille| self.quantile(per_mille).as_secs_f64() * 1000.0;
        write!(
            f,
            "{} answers, {:.0}/s, by status {:?}, {} connections broke; p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, most {:.1} ms",
            self.count(),
            self.rate(),
            self.by_status,
            self.broken,
            ms(500),
            ms(990),
            ms(999),
            ms(1000)
        )
    }
}

/// Whom it talks to plays no part in how long it takes; `certificates` is where trust is tested.
#[derive(Debug)]
pub struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
