//! Somebody who may not: a process with an address of its own that calls replicas without any credential, or keeps the
//! processors busy and calls nobody. It is this program once more, so that what it takes can be told from what we take.
//!
//! Everything is bounded, in time and in number.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use axum::http::{Request, header};
use ecr_access::webhook::tls;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::reviews::AnyCertificate;
use crate::world::{RELEASE, image, pod};

/// The task of the process.
const TASK: &str = "ECR_ACCESS_STRANGER";
/// However fast it is answered.
const MOST_CALLS: u64 = 2_000_000;
/// Connections that were closed are opened again after this.
const AGAIN: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);

/// What it does.
#[derive(Debug, Deserialize, Serialize)]
pub enum Task {
    /// Calls each target over so many connections, as fast as it is answered: three quarters of them with pods of 500
    /// containers that are to be refused, most of the rest with pods of service accounts that are not there, each
    /// another, and one in sixteen with a uid of 8 MiB.
    Flood { source: String, targets: Vec<String>, namespace: String, connections: usize, seconds: u64 },
    /// Holds so many connections with each target and says nothing.
    Idle { source: String, targets: Vec<String>, connections: usize, seconds: u64 },
    /// Takes so many seconds of the processors, evenly.
    Busy { processor_seconds: f64, seconds: u64 },
}

/// What became of it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Told {
    /// Calls by what was sent and the status that came back.
    pub answers: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that the other side closed, or did not open.
    pub closed: u64,
    /// Seconds of the processors.
    pub processor_seconds: f64,
}

/// A stranger at work, until it is done or dropped.
pub struct Stranger(Option<Child>);

impl Stranger {
    /// Starts one.
    pub fn start(task: &Task) -> Result<Stranger> {
        // As many files as it may have.
        let script = "ulimit -S -n \"$(ulimit -H -n)\"; exec \"$0\"";
        let child = Command::new("bash")
            .args(["-c", script])
            .arg(std::env::current_exe()?)
            .env(TASK, serde_json::to_string(task)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a stranger")?;
        Ok(Stranger(Some(child)))
    }

    /// Waits until it is done.
    pub async fn told(mut self) -> Result<Told> {
        let child = self.0.take().context("it was started")?;
        // Its time is bounded, and what it prints fits into a pipe.
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
        if !output.status.success() {
            bail!("the stranger ended ({})", output.status);
        }
        serde_json::from_slice(&output.stdout).context("what it tells")
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Does the task that the environment has, if any, and tells of it. `false` where there is none.
pub fn is_one() -> Result<bool> {
    let Ok(task) = std::env::var(TASK) else { return Ok(false) };
    let task: Task = serde_json::from_str(&task)?;
    let mut told = match task {
        Task::Busy { processor_seconds, seconds } => busy(processor_seconds, Duration::from_secs(seconds)),
        task => tokio::runtime::Runtime::new()?.block_on(call(task))?,
    };
    told.processor_seconds = own_processor_seconds()?;
    println!("{}", serde_json::to_string(&told)?);
    Ok(true)
}

async fn call(task: Task) -> Result<Told> {
    let tally = Arc::new(Tally::default());
    let mut tasks = Vec::new();
    match task {
        Task::Flood { source, targets, namespace, connections, seconds } => {
            let until = Instant::now() + Duration::from_secs(seconds);
            let bodies = Arc::new(Bodies::new(&namespace)?);
            for target in targets {
                for index in 0..connections {
                    let (source, target) = (source.clone(), target.clone());
                    let (bodies, tally) = (Arc::clone(&bodies), Arc::clone(&tally));
                    tasks.push(tokio::spawn(
                        async move { flood(&source, &target, index, &bodies, &tally, until).await },
                    ));
                }
            }
        }
        Task::Idle { source, targets, connections, seconds } => {
            let until = Instant::now() + Duration::from_secs(seconds);
            for target in targets {
                for _ in 0..connections {
                    let (source, target, tally) = (source.clone(), target.clone(), Arc::clone(&tally));
                    tasks.push(tokio::spawn(async move { hold(&source, &target, &tally, until).await }));
                }
            }
        }
        Task::Busy { .. } => {}
    }
    for task in tasks {
        task.await?;
    }
    Ok(tally.told())
}

#[derive(Default)]
struct Tally {
    answers: std::sync::Mutex<BTreeMap<String, u64>>,
    calls: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
}

impl Tally {
    fn answered(&self, what: &str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *answers.entry(format!("{what} {status}")).or_default() += 1;
    }

    fn told(&self) -> Told {
        Told {
            answers: self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            opened: self.opened.load(Ordering::Relaxed),
            closed: self.closed.load(Ordering::Relaxed),
            processor_seconds: 0.0,
        }
    }
}

/// What is sent.
struct Bodies {
    wide: Bytes,
    /// Before and behind the name of the service account.
    invented: (String, String),
    uid: Bytes,
}

impl Bodies {
    fn new(namespace: &str) -> Result<Bodies> {
        let review = |object: serde_json::Value| {
            json!({
                "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                "request": {
                    "uid": "00000000-0000-0000-0000-000000000000", "operation": "CREATE", "namespace": namespace,
                    "kind": {"group": "", "version": "v1", "kind": "Pod"}, "name": "forged", "object": object,
                },
            })
            .to_string()
        };
        let mut wide = pod("forged", "api", "");
        let container = |index| json!({"name": format!("c{index}"), "image": image(&format!("bad/{index}"))});
        wide["spec"]["containers"] = (0..500).map(container).collect();
        let invented = review(pod("forged", "@account@", &image("bad")));
        let (before, after) = invented.split_once("@account@").context("an account")?;
        let uid = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {"uid": "u".repeat(8 << 20), "operation": "CREATE", "object": {"spec": 7}},
        });
        Ok(Bodies {
            wide: Bytes::from(review(wide)),
            invented: (before.to_owned(), after.to_owned()),
            uid: Bytes::from(uid.to_string()),
        })
    }

    fn of(&self, index: usize, call: u64) -> (&'static str, Bytes) {
        match index % 16 {
            15 => ("uid", self.uid.clone()),
            12..15 => ("invented", Bytes::from(format!("{}invented-{call}{}", self.invented.0, self.invented.1))),
            _ => ("wide", self.wide.clone()),
        }
    }
}

async fn flood(source: &str, target: &str, index: usize, bodies: &Bodies, tally: &Tally, until: Instant) {
    while Instant::now() < until {
        let Ok(mut sender) = sender(source, target, tally).await else {
            tally.closed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while Instant::now() < until {
            let call = tally.calls.fetch_add(1, Ordering::Relaxed);
            if call >= MOST_CALLS {
                return;
            }
            let (what, body) = bodies.of(index, call);
            // It is not there to wait: whoever does not answer in the time of a webhook is left.
            match tokio::time::timeout(Duration::from_secs(5), ask(&mut sender, body)).await {
                Ok(Ok(status)) => tally.answered(what, status),
                _ => break,
            }
        }
        tally.closed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, body: Bytes) -> Result<u16> {
    let request = Request::post("/validate/pods?timeout=3s")
        .header(header::HOST, format!("{RELEASE}.{RELEASE}.svc"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

async fn sender(source: &str, target: &str, tally: &Tally) -> Result<SendRequest<Full<Bytes>>> {
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let stream = connect(source, target).await?;
    tally.opened.fetch_add(1, Ordering::Relaxed);
    let name = ServerName::try_from(format!("{RELEASE}.{RELEASE}.svc"))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(CONNECT, shaken).await??;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn connect(source: &str, target: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{source}:0").parse()?)?;
    let stream = tokio::time::timeout(CONNECT, socket.connect(target.parse()?)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn hold(source: &str, target: &str, tally: &Tally, until: Instant) {
    while Instant::now() < until {
        if let Ok(mut stream) = connect(source, target).await {
            tally.opened.fetch_add(1, Ordering::Relaxed);
            let closed = async {
                let mut buffer = [0; 64];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            };
            if tokio::time::timeout_at(until.into(), closed).await.is_err() {
                return;
            }
        }
        tally.closed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(AGAIN).await;
    }
}

/// On every processor, in slices of ten milliseconds.
fn busy(processor_seconds: f64, length: Duration) -> Told {
    const SLICE: Duration = Duration::from_millis(10);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let share = (processor_seconds / length.as_secs_f64() / threads as f64).clamp(0.0, 1.0);
    let until = Instant::now() + length;
    let work = move || {
        while Instant::now() < until {
            let begin = Instant::now();
            while begin.elapsed() < SLICE.mul_f64(share) {
                std::hint::spin_loop();
            }
            std::thread::sleep(SLICE.saturating_sub(begin.elapsed()));
        }
    };
    let threads: Vec<_> = (0..threads).map(|_| std::thread::spawn(work)).collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Told::default()
}

/// In hundredths, of all threads, by the kernel's account.
fn own_processor_seconds() -> Result<f64> {
    processor_seconds(&std::fs::read_to_string("/proc/self/stat")?)
}

/// From the text of `/proc/PID/stat`.
pub fn processor_seconds(stat: &str) -> Result<f64> {
    // The name of the program may have anything in it, and ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').context("a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
