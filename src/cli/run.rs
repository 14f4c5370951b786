//! `ecr-access run`: puts the operator together and runs it until it is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use ecr_forecast::judge::Options;
use ecr_forecast::policy::Action;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::outcome::Outcome;
use crate::controller::{self, ControllerOptions};
use crate::index::{self, Index, IndexOptions};
use crate::runtime::callers::{ApiServers, Cidr};
use crate::runtime::guarded::files::{self, Connections};
use crate::runtime::heartbeat::Heartbeat;
use crate::runtime::leader::Leader;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Readiness;
use crate::runtime::seldom::Seldom;
use crate::runtime::telemetry::{self, LogFormat};
use crate::runtime::{admin, shutdown};
use crate::webhook::certificates::{CertificateManager, Mode, Place};
use crate::webhook::cluster::LiveCluster;
use crate::webhook::limits::Limits;
use crate::webhook::review::Reviewer;
use crate::webhook::tls::{self, CertResolver};
use crate::webhook::{api_servers, selftest, server};

/// How long work that nobody waits for any more may hold up the exit.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Arguments of `ecr-access run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The Helm chart sets all of these. Outside a cluster, KUBECONFIG (or ~/.kube/config) says which cluster it is, and the
Secret, the Lease and the webhook configuration must be there.")]
pub struct RunArgs {
    /// The operator's own namespace, whose pods are never judged
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    namespace: String,
    /// This replica's name in the leader election
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pod_name: String,
    /// Where the webhook listens, HTTPS
    #[arg(long, default_value = "0.0.0.0:9443", value_name = "IP:PORT")]
    webhook_address: SocketAddr,
    /// Where /livez, /readyz and /metrics are, HTTP
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "IP:PORT")]
    admin_address: SocketAddr,
    /// Addresses that the API servers call from, besides those that the Service `kubernetes` in `default` has: half of what
    /// the webhook can do is kept for them
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    api_server_cidrs: Vec<Cidr>,
    /// The Secret that keeps the webhook's certificate; must be there, may be empty
    #[arg(long, value_name = "NAME")]
    certificate_secret: String,
    /// Who makes the certificate: `own`, this program, or `given`, somebody else such as cert-manager, who also keeps caBundle
    #[arg(long, default_value = "own", value_enum)]
    certificate_mode: Mode,
    /// The ValidatingWebhookConfiguration whose caBundle is kept up to date
    #[arg(long, value_name = "NAME")]
    webhook_configuration: String,
    /// The Service that the API server calls: the certificate is for NAME.NAMESPACE.svc
    #[arg(long, value_name = "NAME")]
    service_name: String,
    /// The Lease of the leader election; must be there, may be empty
    #[arg(long, value_name = "NAME")]
    lease: String,
    /// No policy does more than this: Warn or Audit takes the teeth out of all of them at once
    #[arg(long, default_value = "Reject", value_name = "Reject|Warn|Audit")]
    max_action: Action,
    /// How log lines look
    #[arg(long, default_value_t = LogFormat::Json, value_enum)]
    log_format: LogFormat,
    /// error, warn, info, debug, trace, or a filter such as `info,kube=debug`; the variable RUST_LOG wins. What users
    /// wrote into objects is logged at no level
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// Seconds to serve on after SIGTERM, until every API server knows that this replica is going
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    shutdown_delay: u16,
}

/// Runs the operator until SIGTERM or SIGINT.
pub fn run(args: RunArgs) -> Outcome {
    if let Err(error) = telemetry::init(args.log_format, &args.log_level) {
        eprintln!("error: {error}");
        return Outcome::BadInput;
    }
    // A panic is a line of the log like any other, and like any other it must not fill it.
    std::panic::set_hook(Box::new(|panic| {
        static PANICKED: Seldom = Seldom::new();
        if let Some(held_back) = PANICKED.may_tell() {
            telemetry::log_panic(panic, held_back);
        }
    }));
    let connections = Connections::within(files::raise_limit());
    // One provider of cryptography for everything in this process. The error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread more than reviews are worked on at a time: it takes in requests and turns away those that are too many.
    let threads = Limits::default().turns + 1;
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return Outcome::BadInput;
        }
    };
    let outcome = match runtime.block_on(operate(args, connections)) {
        Ok(()) => {
            tracing::info!("stopped");
            Outcome::Clean
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped by an error");
            Outcome::BadInput
        }
    };
    runtime.shutdown_timeout(LAST_WORDS);
    outcome
}

async fn operate(args: RunArgs, connections: Connections) -> anyhow::Result<()> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = args.namespace,
        webhook_connections = connections.webhook,
        admin_connections = connections.admin,
        "starting"
    );
    let config = config().await?;
    let client = Client::try_from(config.clone()).context("cannot make a client of the API server")?;
    let metrics = Metrics::new();
    // `stop` ends everything but the election, which gives the Lease back when nobody writes any more.
    let (stop, resign) = (CancellationToken::new(), CancellationToken::new());
    // However this function ends, nothing goes on without it.
    let _guards = (stop.clone().drop_guard(), resign.clone().drop_guard());

    let watching = index::client(config).context("cannot make a client of the API server")?;
    let index = Index::start(watching, IndexOptions::default(), stop.clone());
    metrics.register(|registry| index.health().register(registry));
    let serving = CertResolver::new();
    let (leader, election) =
        Leader::elect(client.clone(), &args.namespace, &args.lease, &args.pod_name, resign.clone());
    let place = Place {
        mode: args.certificate_mode,
        namespace: args.namespace.clone(),
        secret: args.certificate_secret,
        service: args.service_name,
        configuration: args.webhook_configuration,
        replica: args.pod_name.clone(),
    };
    let is_leader = {
        let leader = leader.clone();
        Box::new(move || leader.is_leader_now())
    };
    let manager = CertificateManager::new(client.clone(), place, serving.clone(), metrics.clone(), is_leader);
    let certificate = manager.state();
    let engine = selftest::run();
    if let Err(problem) = &engine {
        tracing::error!(problem, "the engine does not pass its self-test, so this replica never becomes ready");
    }
    let readiness =
        Readiness::new().with("certificate", move || certificate.check()).with("engine", move || engine.clone());
    let readiness = {
        let index = index.clone();
        readiness.with("index", move || index.not_synced_reason().map_or(Ok(()), Err))
    };

    let heartbeat = Heartbeat::new();
    tokio::spawn(heartbeat.clone().beat());
    let address = args.admin_address;
    let admin = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let routes = admin::router(heartbeat, readiness.clone(), metrics.clone());
    let admin = admin::serve(admin.into_std()?, routes, connections.admin, metrics.clone(), stop.clone())
        .context("cannot start the admin port")?;
    let admin = tokio::spawn(admin);

    let judging =
        Options { max_action: args.max_action, operator_namespace: Some(args.namespace.clone()), ..Options::default() };
    let reviewer = Reviewer::new(LiveCluster::new(index.clone(), client.clone()), judging.clone(), metrics.clone());
    let router = server::router(reviewer, Limits::default(), metrics.clone());
    let router = shutdown::closing_connections(router, readiness.clone());
    let address = args.webhook_address;
    let webhook = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let api_servers = ApiServers::new(args.api_server_cidrs);
    tokio::spawn(api_servers::follow(client.clone(), api_servers.clone(), metrics.clone(), stop.clone()));
    let tls = tls::server_config(serving)?;
    let webhook = tls::serve(webhook, tls, router, connections.webhook, api_servers, metrics.clone(), stop.clone());
    let webhook = tokio::spawn(webhook);
    let manager = tokio::spawn(manager.run(stop.clone()));

    let election = tokio::spawn(election);
    let options = ControllerOptions { forecast: judging, instance: args.pod_name, ..ControllerOptions::default() };
    metrics.register(|registry| options.metrics.register(registry));
    let controller = controller::run(client, index, move || leader.is_leader_now(), options, stop.clone());
    let controller = tokio::spawn(controller);

    let signalled = tokio::spawn(shutdown::on_signal(
        readiness.clone(),
        stop.clone(),
        Duration::from_secs(args.shutdown_delay.into()),
    ));
    // Whichever ends, all end.
    let tasks = [
        watch("admin port", &stop, flat(admin)),
        watch("webhook", &stop, plain(webhook)),
        watch("certificate manager", &stop, plain(manager)),
        watch("controller", &stop, plain(controller)),
        watch("signals", &stop, flat(signalled)),
    ];
    let ended = futures::future::join_all(tasks).await;
    resign.cancel();
    watch("leader election", &resign, plain(election)).await?;
    ended.into_iter().collect()
}

/// The cluster that this process runs in, or else the one that KUBECONFIG names.
async fn config() -> anyhow::Result<Config> {
    // In a pod the service account is meant, whatever lies in the image's home directory.
    let in_cluster = std::env::var_os("KUBECONFIG").is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if in_cluster {
        Config::incluster().context("cannot use the service account of this pod")
    } else {
        Config::infer().await.context("cannot find a cluster")
    }
}

type Ended = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Waits for a part to end, and takes the others down with it when it ends by itself.
fn watch(
    name: &'static str,
    stop: &CancellationToken,
    part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> Ended {
    let stop = stop.clone();
    Box::pin(async move {
        let ended = part.await.with_context(|| format!("the {name} failed"));
        if !stop.is_cancelled() {
            tracing::error!(part = name, "ended before its time");
            stop.cancel();
            return ended.and_then(|()| anyhow::bail!("the {name} ended before its time"));
        }
        ended
    })
}

async fn plain(task: JoinHandle<()>) -> anyhow::Result<()> {
    task.await.map_err(|error| stopped(&error))
}

async fn flat(task: JoinHandle<std::io::Result<()>>) -> anyhow::Result<()> {
    Ok(task.await.map_err(|error| stopped(&error))??)
}

/// What the panic said may quote what it was about, and where it was is in the log already.
fn stopped(error: &JoinError) -> anyhow::Error {
    if error.is_panic() { anyhow::anyhow!("it panicked") } else { anyhow::anyhow!("it was stopped") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: RunArgs,
    }

    const REQUIRED: [&str; 13] = [
        "ecr-access",
        "--namespace",
        "ecr-access-system",
        "--pod-name",
        "ecr-access-0",
        "--certificate-secret",
        "certificate",
        "--webhook-configuration",
        "ecr-access",
        "--service-name",
        "ecr-access",
        "--lease",
        "ecr-access",
    ];

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let args = Program::try_parse_from(REQUIRED).unwrap().args;
        assert_eq!((args.webhook_address.port(), args.admin_address.port()), (9443, 8080));
        assert_eq!((args.max_action, args.log_format, args.shutdown_delay), (Action::Reject, LogFormat::Json, 10));
        assert_eq!(args.log_level, "info");
        assert!(args.api_server_cidrs.is_empty());
    }

    #[test]
    fn ranges_of_addresses_are_a_list() {
        let given = ["--api-server-cidrs=10.0.0.0/24,fd00::/64", "--api-server-cidrs=192.0.2.1"];
        let args = Program::try_parse_from(REQUIRED.into_iter().chain(given)).unwrap().args;
        let ranges: Vec<String> = args.api_server_cidrs.iter().map(Cidr::to_string).collect();
        assert_eq!(ranges, ["10.0.0.0/24", "fd00::/64", "192.0.2.1/32"]);
        let error =
            Program::try_parse_from(REQUIRED.into_iter().chain(["--api-server-cidrs=10.0.0.0/40"])).err().unwrap();
        assert!(error.to_string().contains("`10.0.0.0/40` is no range of addresses"), "{error}");
    }

    #[test]
    fn an_action_that_is_none_is_refused_with_the_choices() {
        let given = REQUIRED.into_iter().chain(["--max-action", "Deny"]);
        let error = Program::try_parse_from(given).err().unwrap().to_string();
        assert!(error.contains("`Deny` is none of Audit, Warn, Reject"), "{error}");
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_takes_the_others_down() {
        let stop = CancellationToken::new();
        let error = watch("thing", &stop, async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.to_string(), "the thing ended before its time");
        assert!(stop.is_cancelled());
        watch("other", &stop, async { Ok(()) }).await.unwrap();
    }
}
