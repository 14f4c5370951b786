//! The programs of the control plane, as `tests/cluster/build.sh` builds them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Where the programs are.
#[derive(Clone)]
pub struct Programs {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
    pub kubectl: PathBuf,
    pub helm: PathBuf,
}

impl Programs {
    /// Builds them, or finds them built. Minutes the first time; it says so on standard error.
    pub fn build() -> Result<Programs> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/build.sh");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("starting {}", script.display()))?;
        if !output.status.success() {
            bail!("{} failed ({})", script.display(), output.status);
        }
        let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        Ok(Programs {
            etcd: folder.join("etcd"),
            kube_apiserver: folder.join("kube-apiserver"),
            kube_controller_manager: folder.join("kube-controller-manager"),
            kubectl: folder.join("kubectl"),
            helm: folder.join("helm"),
        })
    }
}
