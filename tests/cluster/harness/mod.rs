//! A real Kubernetes control plane on one machine, without root, without a container runtime, without the internet.
//!
//! etcd, kube-apiserver and kube-controller-manager run in namespaces of their own (`namespace`). Everything that decides
//! something is the real thing: admission, RBAC, TLS, Deployments, Services, EndpointSlices, garbage collection. The one
//! part that is played is the kubelet's, and only for the operator's own pods ([`kubelet::FakeKubelet`]); every other pod
//! stays `Pending`, which is all that admission needs.
//!
//! [`Cluster`] is what tests and the `testcluster` program use. A `KUBECONFIG` in the environment means another cluster.

pub mod audit;
pub mod control_plane;
pub mod fault_proxy;
pub mod http;
pub mod kubelet;
pub mod logs;
pub mod namespace;
pub mod pki;
pub mod process;
pub mod programs;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use control_plane::ControlPlane;
use kubelet::FakeKubelet;
use programs::Programs;

/// A cluster to test against: a control plane of our own, or the one that `KUBECONFIG` names.
pub struct Cluster {
    /// A client with all rights.
    pub client: Client,
    /// A kubeconfig file with all rights.
    pub kubeconfig: PathBuf,
    /// kubectl, helm and the rest.
    pub programs: Programs,
    /// Logs, keys and data of this run.
    pub directory: PathBuf,
    own: Option<Own>,
}

struct Own {
    // Dropped in this order: the kubelet would miss the API server.
    kubelet: FakeKubelet,
    control_plane: ControlPlane,
}

impl Cluster {
    /// The kubeconfig of another cluster that the user wants to be used, if any.
    pub fn given() -> Option<PathBuf> {
        // Inside the namespaces nobody but us can have set it, and there it means nothing.
        let value = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty())?;
        (!namespace::inside()).then(|| PathBuf::from(value))
    }

    /// Starts a control plane and the operator's kubelet in `directory`. Needs [`namespace::enter`] first.
    pub async fn start(directory: &Path, programs: Programs, binary: &Path) -> Result<Cluster> {
        let control_plane = ControlPlane::start(directory, &programs).await?;
        let kubeconfig = control_plane.kubeconfig.clone();
        let client = client(&kubeconfig).await?;
        let kubelet = FakeKubelet::start(client.clone(), &control_plane, binary, directory).await?;
        let own = Some(Own { kubelet, control_plane });
        Ok(Cluster { client, kubeconfig, programs, directory: directory.to_path_buf(), own })
    }

    /// Uses the cluster of `kubeconfig`.
    pub async fn connect(kubeconfig: PathBuf, programs: Programs, directory: &Path) -> Result<Cluster> {
        let client = client(&kubeconfig).await?;
        Ok(Cluster { client, kubeconfig, programs, directory: directory.to_path_buf(), own: None })
    }

    /// Whether the control plane is ours, so that the operator's binary runs here and can be looked at.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// What went wrong with the programs that should be running, if anything.
    pub fn trouble(&self) -> Option<String> {
        self.own.as_ref().and_then(|own| own.control_plane.trouble())
    }

    /// Restarts the API server of a control plane of our own, and returns when it answers again.
    pub async fn restart_api_server(&self) -> Result<()> {
        let own = self.own.as_ref().context("only a control plane of our own is restarted")?;
        own.control_plane.restart_api_server().await
    }

    /// A pod that is spared is not started again when its liveness probe fails: as on a node whose kubelet stands still too.
    pub fn spare(&self, pod: &str, spared: bool) {
        if let Some(own) = &self.own {
            own.kubelet.spare(pod, spared);
        }
    }

    /// What the API server of a control plane of our own recorded of the operator's requests so far, oldest first.
    pub fn audit(&self) -> Result<Vec<audit::Entry>> {
        let own = self.own.as_ref().context("only a control plane of our own has an audit log that can be read")?;
        audit::read(&own.control_plane.audit_log)
    }

    /// The addresses of the operator's running replicas, and the files with what they print.
    pub fn replicas(&self) -> Vec<kubelet::ReplicaView> {
        self.own.as_ref().map(|own| own.kubelet.replicas()).unwrap_or_default()
    }

    /// Runs kubectl to its end; not to exit with 0 is an error that carries what it printed.
    pub fn kubectl<I: AsRef<OsStr>>(&self, arguments: &[I]) -> Result<String> {
        succeeded("kubectl", self.kubectl_output(arguments, None)?)
    }

    /// Runs kubectl with `input` on its standard input, whatever its exit code.
    pub fn kubectl_output<I: AsRef<OsStr>>(&self, arguments: &[I], input: Option<&str>) -> Result<Output> {
        run(Command::new(&self.programs.kubectl).args(arguments).envs(self.environment()), input)
    }

    /// Runs helm to its end; not to exit with 0 is an error that carries what it printed.
    pub fn helm<I: AsRef<OsStr>>(&self, arguments: &[I]) -> Result<String> {
        succeeded("helm", run(Command::new(&self.programs.helm).args(arguments).envs(self.environment()), None)?)
    }

    /// Runs lines for the shell in the root of the repository, as a person would, with kubectl, helm and the folders of
    /// `more` on the path. The first line that fails ends it.
    pub fn shell(&self, script: &str, more: &[&Path]) -> Result<Output> {
        let mut folders: Vec<PathBuf> = more.iter().map(|folder| folder.to_path_buf()).collect();
        folders.extend(self.programs.kubectl.parent().map(Path::to_path_buf));
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).current_dir(env!("CARGO_MANIFEST_DIR"));
        run(command.envs(self.environment()).env("PATH", std::env::join_paths(folders)?), None)
    }

    /// The environment in which kubectl and helm talk to this cluster and leave the user's own files alone.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        tool_environment(&self.kubeconfig, &self.directory)
    }
}

/// See [`Cluster::environment`].
pub fn tool_environment(kubeconfig: &Path, directory: &Path) -> Vec<(&'static str, PathBuf)> {
    let cache = directory.join("tool-cache");
    vec![
        ("KUBECONFIG", kubeconfig.to_path_buf()),
        ("KUBECACHEDIR", cache.join("kubectl")),
        ("HELM_CACHE_HOME", cache.join("helm-cache")),
        ("HELM_CONFIG_HOME", cache.join("helm-config")),
        ("HELM_DATA_HOME", cache.join("helm-data")),
    ]
}

/// A client that tries each request once: one that tries again hides what is to be counted.
pub async fn client_without_retries(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

async fn config(kubeconfig: &Path) -> Result<kube::Config> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    Ok(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
}

fn run(command: &mut Command, input: Option<&str>) -> Result<Output> {
    use std::io::Write as _;
    use std::process::Stdio;
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", program.to_string_lossy()))?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // A program that does not read all of it says why in its own output.
        let _ = pipe.write_all(input.as_bytes());
    }
    Ok(child.wait_with_output()?)
}

fn succeeded(program: &str, output: Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{program} failed ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
