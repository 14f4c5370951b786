//! The kubelet's part, played thinly, for the operator's own pods and no others.
//!
//! What is played: a Node with heartbeats, the scheduler's binding, starting the container, its address, probes, status,
//! termination. The container is the real program, with the pod's own arguments, environment, service account token,
//! and read-only root, in a network and a mount namespace per pod; it cannot tell the difference.
//! What is not there: images, cgroups, users, and of the kubelet's own port all but reading logs ([`logs`]). A pod that
//! needs something else that is not played (another kind of volume, several containers) is refused loudly instead of being
//! run differently.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Container, Node, Pod, Probe, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::control_plane::{API_SERVER_PORT, ControlPlane};
use super::namespace::{self, API_SERVER_ADDRESS};
use super::{http, logs};

/// The node's name.
pub const NODE: &str = "node-1";
/// Which pods are ours.
const SELECTOR: &str = "app.kubernetes.io/name=ecr-access";
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often a status is reported again that the API server shows differently.
const INSIST: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(50);
const TOKEN_LIFE: Duration = Duration::from_secs(3607);

/// Runs in the background until dropped.
pub struct FakeKubelet {
    node: Arc<NodeState>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// A replica that runs now.
#[derive(Clone, Debug)]
pub struct ReplicaView {
    pub pod: String,
    pub namespace: String,
    /// The pod's address.
    pub address: String,
    /// The process's id, in our namespace of process ids.
    pub pid: u32,
    /// What the program printed.
    pub log: PathBuf,
    /// How often it was started again.
    pub restarts: u32,
}

struct NodeState {
    client: Client,
    binary: PathBuf,
    directory: PathBuf,
    ca_certificate: PathBuf,
    next_address: Mutex<u32>,
    replicas: Mutex<BTreeMap<String, ReplicaView>>,
    /// Pods whose containers are left alone whatever their liveness probes say.
    spared: Mutex<BTreeSet<String>>,
}

impl FakeKubelet {
    /// Registers the node and begins to take pods. `binary` is what a pod's container runs.
    pub async fn start(
        client: Client,
        control_plane: &ControlPlane,
        binary: &Path,
        directory: &Path,
    ) -> Result<FakeKubelet> {
        let node = Arc::new(NodeState {
            client: client.clone(),
            binary: binary.canonicalize().with_context(|| format!("the operator's program {}", binary.display()))?,
            directory: directory.to_path_buf(),
            ca_certificate: control_plane.ca_certificate.clone(),
            next_address: Mutex::new(2),
            replicas: Mutex::default(),
            spared: Mutex::default(),
        });
        register_node(&client).await.context("registering the node")?;
        let logs = directory.join("logs");
        let logs = async {
            if let Err(error) = logs::serve(logs).await {
                eprintln!("kubelet: logs cannot be read: {error:#}");
            }
        };
        let tasks = vec![tokio::spawn(beat(client)), tokio::spawn(take_pods(node.clone())), tokio::spawn(logs)];
        Ok(FakeKubelet { node, tasks })
    }

    /// The replicas that run now.
    pub fn replicas(&self) -> Vec<ReplicaView> {
        self.node.replicas.lock().map(|replicas| replicas.values().cloned().collect()).unwrap_or_default()
    }

    /// See `Cluster::spare`.
    pub fn spare(&self, pod: &str, is: bool) {
        if let Ok(mut spared) = self.node.spared.lock() {
            if is {
                spared.insert(pod.to_owned())
            } else {
                spared.remove(pod)
            };
        }
    }
}

impl Drop for FakeKubelet {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

// ---------------------------------------------------------------------------------------------- the node

async fn register_node(client: &Client) -> Result<()> {
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
    }))?;
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &node).await?;
    report_node(client).await
}

async fn report_node(client: &Client) -> Result<()> {
    let now = jiff::Timestamp::now();
    let resources = json!({"cpu": "8", "memory": "16Gi", "pods": "110"});
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": API_SERVER_ADDRESS}, {"type": "Hostname", "address": NODE}],
        "capacity": resources, "allocatable": resources,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "played by the tests",
            "lastHeartbeatTime": seconds(now), "lastTransitionTime": seconds(now)}],
    }});
    Api::<Node>::all(client.clone()).patch_status(NODE, &PatchParams::default(), &Patch::Strategic(status)).await?;
    let lease: Lease = serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": NODE},
        "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": format!("{now:.6}")},
    }))?;
    Api::<Lease>::namespaced(client.clone(), "kube-node-lease")
        .patch(NODE, &PatchParams::apply("kubelet").force(), &Patch::Apply(lease))
        .await?;
    Ok(())
}

async fn beat(client: Client) {
    loop {
        if let Err(error) = report_node(&client).await {
            eprintln!("kubelet: the heartbeat failed: {error:#}");
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

// ---------------------------------------------------------------------------------------------- pods

async fn take_pods(node: Arc<NodeState>) {
    let pods = Api::<Pod>::all(node.client.clone());
    let mut events = watcher(pods, watcher::Config::default().labels(SELECTOR)).default_backoff().boxed();
    let mut running: BTreeMap<String, watch::Sender<Pod>> = BTreeMap::new();
    while let Some(event) = events.next().await {
        let pod = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => pod,
            Ok(watcher::Event::Delete(pod)) => {
                // Its task sees the sender go and ends the process.
                running.remove(&pod.uid().unwrap_or_default());
                continue;
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
            Err(error) => {
                eprintln!("kubelet: watching pods: {error}");
                continue;
            }
        };
        let uid = pod.uid().unwrap_or_default();
        if let Some(sender) = running.get(&uid) {
            sender.send_replace(pod);
            continue;
        }
        let (sender, receiver) = watch::channel(pod);
        running.insert(uid, sender);
        let node = node.clone();
        tokio::spawn(async move {
            let name = receiver.borrow().name_any();
            if let Err(error) = run_pod(&node, receiver).await {
                eprintln!("kubelet: pod {name}: {error:#}");
            }
            if let Ok(mut replicas) = node.replicas.lock() {
                replicas.remove(&name);
            }
        });
    }
}

async fn run_pod(node: &NodeState, mut pod: watch::Receiver<Pod>) -> Result<()> {
    let first = pod.borrow().clone();
    let (namespace, name) = (first.namespace().context("a pod has a namespace")?, first.name_any());
    let api = Api::<Pod>::namespaced(node.client.clone(), &namespace);
    bind(&api, &first).await.context("binding it to the node")?;

    let index = {
        let mut next = node.next_address.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        *next += 1;
        *next - 1
    };
    let address = format!("10.99.{}.{}", index / 250, index % 250);
    let container = sole_container(&first)?;
    let folder = node.directory.join("pods").join(&name);
    write_service_account(node, &first, &folder).await.context("its service account token")?;
    let mut token_due = Instant::now() + TOKEN_LIFE * 4 / 5;

    let mut restarts = 0;
    let mut reported = Value::Null;
    'start: loop {
        let log = node.directory.join("logs").join(format!("{name}.log"));
        let interface = format!("pod{index}-{restarts}");
        let mut process = start_container(node, &first, container, &address, &interface, &folder, &log)
            .with_context(|| format!("starting container `{}`", container.name))?;
        let started = jiff::Timestamp::now();
        if let Ok(mut replicas) = node.replicas.lock() {
            let view = ReplicaView {
                pod: name.clone(),
                namespace: namespace.clone(),
                address: address.clone(),
                pid: process.id(),
                log,
                restarts,
            };
            replicas.insert(name.clone(), view);
        }
        let mut startup = ProbeState::new(container.startup_probe.as_ref(), container, &address, false)?;
        let mut readiness = ProbeState::new(container.readiness_probe.as_ref(), container, &address, false)?;
        let mut liveness = ProbeState::new(container.liveness_probe.as_ref(), container, &address, true)?;
        let mut stopping = false;
        let mut insist_at = Instant::now() + INSIST;
        loop {
            let exited = process.try_wait()?;
            startup.tick().await;
            if startup.good {
                readiness.tick().await;
                liveness.tick().await;
            }
            let ready = exited.is_none() && startup.good && readiness.good;
            let status = pod_status(&first, container, &address, started, restarts, ready, startup.good, exited);
            // As the real one does, it insists: after an outage the node controller declares pods not ready.
            let contradicted = Instant::now() > insist_at && is_ready(&pod.borrow()) != ready;
            if status != reported || contradicted {
                insist_at = Instant::now() + INSIST;
                match report_pod(&api, &name, status.clone()).await {
                    Ok(()) => reported = status,
                    // The API server is away. The container goes on, and it is told later.
                    Err(error) => eprintln!("kubelet: pod {name}: {error:#}"),
                }
            }
            if let Some(exited) = exited {
                eprintln!("kubelet: container of {name} ended ({exited}); starting it again");
                break;
            }
            let spared = node.spared.lock().is_ok_and(|spared| spared.contains(&name));
            if (startup.failed || liveness.failed) && !spared {
                eprintln!("kubelet: a probe of {name} failed; starting its container again");
                terminate(&mut process, Duration::from_secs(5)).await?;
                break;
            }
            if Instant::now() > token_due {
                write_service_account(node, &first, &folder).await?;
                token_due = Instant::now() + TOKEN_LIFE * 4 / 5;
            }
            // The sender goes when the pod is gone from the API: somebody forced it out.
            let gone = pod.has_changed().is_err();
            let leaving = pod.borrow_and_update().metadata.deletion_timestamp.is_some();
            if gone || leaving {
                stopping = true;
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        if stopping {
            let grace = pod.borrow().metadata.deletion_grace_period_seconds.unwrap_or(30);
            let until = Instant::now() + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            pre_stop(container, until).await?;
            terminate(&mut process, until.saturating_duration_since(Instant::now())).await?;
            break 'start;
        }
        restarts += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for _ in 0..100 {
        match api.delete(&name, &DeleteParams::default().grace_period(0)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => eprintln!("kubelet: removing pod {name} from the API: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("it cannot be removed from the API")
}

async fn bind(api: &Api<Pod>, pod: &Pod) -> Result<()> {
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
        return Ok(());
    }
    let name = pod.name_any();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    });
    let _: Value = api.create_subresource("binding", &name, &PostParams::default(), &binding).await?;
    Ok(())
}

fn sole_container(pod: &Pod) -> Result<&Container> {
    let spec = pod.spec.as_ref().context("a pod has a spec")?;
    match spec.containers.as_slice() {
        [container] if spec.init_containers.as_ref().is_none_or(Vec::is_empty) => Ok(container),
        _ => bail!("this kubelet plays pods of one container only"),
    }
}

async fn write_service_account(node: &NodeState, pod: &Pod, folder: &Path) -> Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: i64::try_from(TOKEN_LIFE.as_secs()).ok(),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(node.client.clone(), &namespace);
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
    let token = answer.status.and_then(|status| status.token).context("the API server answers with a token")?;
    std::fs::create_dir_all(folder)?;
    // Replaced in one step, as the kubelet does: a reader sees the old or the new one.
    std::fs::write(folder.join("token.new"), token)?;
    std::fs::rename(folder.join("token.new"), folder.join("token"))?;
    std::fs::copy(&node.ca_certificate, folder.join("ca.crt"))?;
    std::fs::write(folder.join("namespace"), namespace)?;
    Ok(())
}

// ---------------------------------------------------------------------------------------------- the container

/// Sets up the mount namespace and the network, then becomes the container's program.
///
/// Arguments: the pod's address, the API server's, the service account folder, whether the root is read-only, the paths
/// of empty volumes, `--`, the program and its arguments. Says `ready` when there is a network namespace to connect.
const CONTAINER: &str = r#"
set -eu
address=$1 api=$2 account=$3 read_only=$4
shift 4
echo ready
read -r _
ip link set lo up
ip address add "$address" peer "$api/32" dev eth0
ip link set eth0 up
ip route add default via "$api" dev eth0
# What a process may open where nobody raised it.
ulimit -S -n 1024
var_run=$(readlink -f /var/run)
mount -t tmpfs tmpfs "$var_run"
mkdir -p "$var_run/secrets/kubernetes.io/serviceaccount"
mount --bind "$account" "$var_run/secrets/kubernetes.io/serviceaccount"
while [ "$1" != -- ]; do
  mount -t tmpfs tmpfs "$1"
  shift
done
shift
if [ "$read_only" = true ]; then mount -o remount,bind,ro /; fi
exec "$@"
"#;

fn start_container(
    node: &NodeState,
    pod: &Pod,
    container: &Container,
    address: &str,
    interface: &str,
    folder: &Path,
    log: &Path,
) -> Result<Child> {
    let environment = container_environment(pod, container, address)?;
    let expand = |text: &String| expand(text, &environment);
    let read_only = container.security_context.as_ref().and_then(|context| context.read_only_root_filesystem);
    let file = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", CONTAINER, "container"])
        .args([address, API_SERVER_ADDRESS])
        .arg(folder)
        .arg(read_only.unwrap_or(false).to_string())
        .args(empty_volumes(pod, container)?)
        .args(["--", "env", "-i"])
        .args(environment.iter().map(|(name, value)| format!("{name}={value}")));
    match container.command.as_deref() {
        Some([program, ..]) if !program.is_empty() => {
            // The image has one program, whatever its path in the image.
            command.arg(&node.binary).args(container.command.iter().flatten().skip(1).map(expand));
        }
        _ => {
            command.arg(&node.binary);
        }
    }
    let mut child = command
        .args(container.args.iter().flatten().map(expand))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(file.try_clone()?)
        .process_group(0)
        .spawn()?;

    let mut stdin = child.stdin.take().context("piped")?;
    let mut stdout = BufReader::new(child.stdout.take().context("piped")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    if line.trim_end() != "ready" {
        bail!("`unshare` did not start; see {}", log.display());
    }
    namespace::connect(child.id(), interface, address)?;
    writeln!(stdin)?;
    // What it prints from here on goes to the log, by a thread that ends with it.
    let mut file = file;
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut file));
    Ok(child)
}

fn container_environment(pod: &Pod, container: &Container, address: &str) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOSTNAME".to_owned(), pod.name_any()),
        ("KUBERNETES_SERVICE_HOST".to_owned(), API_SERVER_ADDRESS.to_owned()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), API_SERVER_PORT.to_string()),
    ]);
    for variable in container.env.iter().flatten() {
        let field = variable.value_from.as_ref().map(|from| from.field_ref.as_ref());
        let value = match field {
            None => expand(variable.value.as_deref().unwrap_or_default(), &environment),
            Some(Some(field)) => match field.field_path.as_str() {
                "metadata.name" => pod.name_any(),
                "metadata.namespace" => pod.namespace().unwrap_or_default(),
                "metadata.uid" => pod.uid().unwrap_or_default(),
                "spec.serviceAccountName" => {
                    pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
                }
                "spec.nodeName" => NODE.to_owned(),
                "status.podIP" => address.to_owned(),
                "status.hostIP" => API_SERVER_ADDRESS.to_owned(),
                other => bail!("this kubelet does not play the field `{other}` of variable {}", variable.name),
            },
            Some(None) => bail!("this kubelet does not play the source of variable {}", variable.name),
        };
        environment.insert(variable.name.clone(), value);
    }
    Ok(environment)
}

/// `$(NAME)` in arguments and values; what is not known stays as it is.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    environment.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

fn empty_volumes(pod: &Pod, container: &Container) -> Result<Vec<String>> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).collect::<Vec<_>>();
    let mut paths = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        if mount.mount_path.ends_with("/secrets/kubernetes.io/serviceaccount") {
            continue;
        }
        let volume = volumes.iter().find(|volume| volume.name == mount.name).context("a mount names a volume")?;
        if volume.empty_dir.is_none() {
            bail!("this kubelet plays empty volumes only, not `{}`", volume.name);
        }
        paths.push(mount.mount_path.clone());
    }
    Ok(paths)
}

async fn pre_stop(container: &Container, until: Instant) -> Result<()> {
    let Some(handler) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else {
        return Ok(());
    };
    let Some(sleep) = &handler.sleep else { bail!("this kubelet plays the preStop action `sleep` only") };
    let wanted = Instant::now() + Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
    tokio::time::sleep_until(wanted.min(until).into()).await;
    Ok(())
}

/// SIGTERM, then patience, then SIGKILL.
async fn terminate(process: &mut Child, grace: Duration) -> Result<()> {
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
    let until = Instant::now() + grace;
    while process.try_wait()?.is_none() {
        if Instant::now() > until {
            process.kill()?;
            process.wait()?;
            break;
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------- probes and status

struct ProbeState {
    target: Option<(SocketAddr, String)>,
    due: Instant,
    period: Duration,
    timeout: Duration,
    failures_allowed: u32,
    failures: u32,
    /// Until then a probe that never succeeded may fail.
    patience: Instant,
    good: bool,
    failed: bool,
}

impl ProbeState {
    /// `good_at_first`: what holds before the first answer. Without a probe, it is good for ever.
    fn new(probe: Option<&Probe>, container: &Container, address: &str, good_at_first: bool) -> Result<ProbeState> {
        let target = probe.map(|probe| probe_target(probe, container, address)).transpose()?;
        let number = |value: Option<i32>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
        let seconds = |value, default| Duration::from_secs(number(value, default).into());
        let period = seconds(probe.and_then(|probe| probe.period_seconds), 10);
        let failures_allowed = number(probe.and_then(|probe| probe.failure_threshold), 3);
        let first = Instant::now() + seconds(probe.and_then(|probe| probe.initial_delay_seconds), 0);
        Ok(ProbeState {
            good: target.is_none() || good_at_first,
            failed: false,
            target,
            due: first,
            period,
            timeout: seconds(probe.and_then(|probe| probe.timeout_seconds), 1),
            failures_allowed,
            failures: 0,
            patience: first + period * failures_allowed,
        })
    }

    async fn tick(&mut self) {
        let Some((address, path)) = self.target.clone() else { return };
        if Instant::now() < self.due {
            return;
        }
        let timeout = self.timeout;
        let answer = tokio::task::spawn_blocking(move || http::get(address, &path, timeout)).await;
        if matches!(answer, Ok(Ok(answer)) if (200..400).contains(&answer.status)) {
            (self.failures, self.good) = (0, true);
            self.due = Instant::now() + self.period;
        } else if self.good {
            self.failures += 1;
            self.good = self.failures < self.failures_allowed;
            self.failed = !self.good;
            self.due = Instant::now() + self.period;
        } else {
            // Not good yet: asked more often than the pod says, so that tests need not wait for a period to end.
            self.failed = Instant::now() > self.patience;
            self.due = Instant::now() + Duration::from_millis(100);
        }
    }
}

fn probe_target(probe: &Probe, container: &Container, address: &str) -> Result<(SocketAddr, String)> {
    let Some(get) = &probe.http_get else { bail!("this kubelet plays HTTP probes only") };
    if get.scheme.as_deref().is_some_and(|scheme| scheme != "HTTP") {
        bail!("this kubelet plays HTTP probes only, not {:?}", get.scheme);
    }
    let port = match &get.port {
        IntOrString::Int(port) => *port,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.with_context(|| format!("no port is named `{name}`"))?.container_port
        }
    };
    Ok((format!("{address}:{port}").parse()?, get.path.clone().unwrap_or_else(|| "/".to_owned())))
}

#[expect(clippy::too_many_arguments, reason = "a pod's status is made of this many facts")]
fn pod_status(
    pod: &Pod,
    container: &Container,
    address: &str,
    started: jiff::Timestamp,
    restarts: u32,
    ready: bool,
    started_up: bool,
    exited: Option<std::process::ExitStatus>,
) -> Value {
    let state = match exited {
        None => json!({"running": {"startedAt": seconds(started)}}),
        Some(status) => {
            json!({"terminated": {"exitCode": status.code().unwrap_or(137), "startedAt": seconds(started)}})
        }
    };
    let yes_if = |yes: bool| if yes { "True" } else { "False" };
    json!({
        "phase": "Running",
        "podIP": address, "podIPs": [{"ip": address}], "hostIP": API_SERVER_ADDRESS,
        "startTime": pod.metadata.creation_timestamp.as_ref().map(|time| seconds(time.0)),
        "conditions": [
            {"type": "Initialized", "status": "True"},
            {"type": "ContainersReady", "status": yes_if(ready)},
            {"type": "Ready", "status": yes_if(ready)},
        ],
        "containerStatuses": [{
            "name": container.name, "image": container.image, "imageID": "", "restartCount": restarts,
            "ready": ready, "started": started_up && exited.is_none(), "state": state,
        }],
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn report_pod(api: &Api<Pod>, name: &str, mut status: Value) -> Result<()> {
    let now = seconds(jiff::Timestamp::now());
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions {
            condition["lastTransitionTime"] = json!(now);
        }
    }
    let patch = Patch::Strategic(json!({"status": status}));
    match api.patch_status(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop).context("reporting its status"),
    }
}

fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
