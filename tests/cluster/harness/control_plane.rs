//! etcd, kube-apiserver and kube-controller-manager.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::namespace::{self, API_SERVER_ADDRESS};
use super::pki::Pki;
use super::process::Daemon;
use super::programs::Programs;

/// The API server's port.
pub const API_SERVER_PORT: u16 = 6443;
const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";
const START: Duration = Duration::from_secs(90);
/// Who asked what and when, of the operator alone.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "Metadata", "users": ["system:serviceaccount:ecr-access:ecr-access"]},
    {"level": "None"}
  ]
}"#;

/// The running programs; they end with it.
pub struct ControlPlane {
    /// For a user with all rights.
    pub kubeconfig: PathBuf,
    /// What a client of the API server trusts.
    pub ca_certificate: PathBuf,
    // In the order in which they are ended.
    daemons: [Daemon; 3],
    data: PathBuf,
    /// What the API server records of the operator's requests, one JSON object per line.
    pub audit_log: PathBuf,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = namespace::unmount(&self.data);
    }
}

impl ControlPlane {
    /// Starts it in `directory` and returns when it answers.
    pub async fn start(directory: &Path, programs: &Programs) -> Result<ControlPlane> {
        let logs = directory.join("logs");
        let data = directory.join("etcd");
        namespace::mount_tmpfs(&data)?;
        let mut etcd = Command::new(&programs.etcd);
        etcd.arg(format!("--data-dir={}", data.join("data").display()))
            .arg(format!("--listen-client-urls={ETCD}"))
            .arg(format!("--advertise-client-urls={ETCD}"))
            .arg(format!("--listen-peer-urls={ETCD_PEER}"))
            .arg(format!("--initial-advertise-peer-urls={ETCD_PEER}"))
            .arg(format!("--initial-cluster=default={ETCD_PEER}"))
            // 2 MiB is what the API server is ready to send; etcd's own default would be 1.5 MiB.
            .args(["--unsafe-no-fsync", "--log-level=warn", "--max-request-bytes=2097152"]);
        let etcd = Daemon::start("etcd", &logs, etcd)?;

        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let pki = Pki::generate(&directory.join("pki"), &[API_SERVER_ADDRESS, "127.0.0.1", "10.96.0.1"], &names)?;
        let audit_log = logs.join("audit.log");
        let audit_policy = directory.join("pki").join("audit-policy.json");
        std::fs::write(&audit_policy, AUDIT_POLICY)?;
        let mut api_server = Command::new(&programs.kube_apiserver);
        api_server
            .arg(format!("--etcd-servers={ETCD}"))
            .arg(format!("--bind-address={API_SERVER_ADDRESS}"))
            .arg(format!("--advertise-address={API_SERVER_ADDRESS}"))
            .arg(format!("--secure-port={API_SERVER_PORT}"))
            .arg(format!("--tls-cert-file={}", pki.server_certificate.display()))
            .arg(format!("--tls-private-key-file={}", pki.server_key.display()))
            .arg(format!("--service-account-key-file={}", pki.service_account_public_key.display()))
            .arg(format!("--service-account-signing-key-file={}", pki.service_account_key.display()))
            .arg(format!("--token-auth-file={}", pki.tokens.display()))
            .arg(format!("--audit-policy-file={}", audit_policy.display()))
            .arg(format!("--audit-log-path={}", audit_log.display()))
            .args([
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=RBAC",
                // Services are resolved to their endpoints here: there is no kube-proxy.
                "--enable-aggregator-routing=true",
                // Names of nodes mean nothing here.
                "--kubelet-preferred-address-types=InternalIP",
            ]);
        let api_server = Daemon::start("kube-apiserver", &logs, api_server)?;

        let kubeconfig = write_kubeconfig(directory, "kubeconfig", &pki, &pki.admin_token)?;
        let for_controllers =
            write_kubeconfig(&directory.join("pki"), "kube-controller-manager", &pki, &pki.controller_manager_token)?;
        let deadline = Instant::now() + START;
        wait_until_ready(&kubeconfig, deadline, &[&etcd, &api_server]).await?;

        let mut controller_manager = Command::new(&programs.kube_controller_manager);
        controller_manager
            .arg(format!("--kubeconfig={}", for_controllers.display()))
            .arg(format!("--root-ca-file={}", pki.ca_certificate.display()))
            .arg(format!("--service-account-private-key-file={}", pki.service_account_key.display()))
            .args([
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                "--bind-address=127.0.0.1",
                // Nobody else has to be spared here, and namespaces go in many small steps.
                "--kube-api-qps=1000",
                "--kube-api-burst=2000",
            ]);
        let controller_manager = Daemon::start("kube-controller-manager", &logs, controller_manager)?;
        Ok(ControlPlane {
            kubeconfig,
            ca_certificate: pki.ca_certificate,
            daemons: [controller_manager, api_server, etcd],
            data,
            audit_log,
        })
    }

    /// Restarts the API server and returns when it answers again.
    pub async fn restart_api_server(&self) -> Result<()> {
        let [_, api_server, _] = &self.daemons;
        // It waits for the process; the tasks of whoever calls go on meanwhile.
        tokio::task::block_in_place(|| api_server.restart())?;
        wait_until_ready(&self.kubeconfig, Instant::now() + START, &[api_server]).await
    }

    /// What ended that should not have.
    pub fn trouble(&self) -> Option<String> {
        self.daemons.iter().find_map(Daemon::ended)
    }
}

fn write_kubeconfig(folder: &Path, name: &str, pki: &Pki, token: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let document = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ecr-access-test", "cluster": {
            "server": format!("https://{API_SERVER_ADDRESS}:{API_SERVER_PORT}"),
            "certificate-authority": pki.ca_certificate,
        }}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "ecr-access-test", "context": {"cluster": "ecr-access-test", "user": "user"}}],
        "current-context": "ecr-access-test",
    });
    // JSON is YAML.
    std::fs::write(&path, serde_json::to_string_pretty(&document)?)?;
    Ok(path)
}

async fn wait_until_ready(kubeconfig: &Path, deadline: Instant, needed: &[&Daemon]) -> Result<()> {
    let client = super::client(kubeconfig).await?;
    loop {
        let request = axum::http::Request::get("/readyz").body(Vec::new())?;
        let error = match client.request_text(request).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if let Some(ended) = needed.iter().find_map(|daemon| daemon.ended()) {
            bail!(ended);
        }
        if Instant::now() > deadline {
            bail!("the API server was not ready after {} s: {error}", START.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
