//! `testcluster up`: a real control plane on this machine, until it is stopped. See `harness`.

#[allow(dead_code, reason = "the tests use the rest")]
mod harness;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use harness::programs::Programs;
use harness::{Cluster, namespace, tool_environment};

/// A Kubernetes control plane for trying ecr-access, without root and without a container runtime.
#[derive(Parser)]
struct Arguments {
    /// Where its files are put: kubeconfig, `kubectl` and `helm`, logs.
    #[arg(long, global = true, default_value = ".cluster")]
    directory: PathBuf,
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run one in the foreground until Ctrl-C or `down`.
    Up {
        /// The operator's program. Default: the one built beside this program.
        #[arg(long)]
        binary: Option<PathBuf>,
    },
    /// Stop the one that runs.
    Down,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Action::Down => down(&arguments.directory),
        Action::Up { binary } => {
            if !namespace::inside() {
                if running(&arguments.directory).is_some() {
                    bail!("one is running already; stop it with `testcluster down`");
                }
                // Inside there is no internet to build from.
                Programs::build()?;
            }
            namespace::enter()?;
            up(&arguments.directory, binary)
        }
    }
}

#[tokio::main]
async fn up(directory: &Path, binary: Option<PathBuf>) -> Result<()> {
    // First of all: as the first process of our namespace we are not ended by signals that we do not handle.
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    std::fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    clear(&directory)?;
    std::fs::write(directory.join("pid"), namespace::outer_pid()?.to_string())?;

    let work = async {
        let programs = Programs::build()?;
        let binary = binary.map_or_else(binary_beside_us, Ok)?;
        let begin = Instant::now();
        let cluster = Cluster::start(&directory, programs, &binary).await?;
        write_wrappers(&cluster)?;
        std::os::unix::fs::symlink(binary.canonicalize()?, directory.join("ecr-access"))?;
        std::fs::write(directory.join("ready"), "")?;
        println!("The control plane is up ({:.1} s). Use it, from another terminal:", begin.elapsed().as_secs_f32());
        println!("  export PATH={}:$PATH", directory.display());
        println!("  kubectl get nodes");
        println!("Stop it with Ctrl-C here, or with `testcluster down`.");
        loop {
            if let Some(trouble) = cluster.trouble() {
                bail!(trouble);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let result: Result<()> = tokio::select! {
        result = work => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if result.is_ok() {
        clear(&directory)?;
    } else {
        let _ = std::fs::remove_file(directory.join("pid"));
        let _ = std::fs::remove_file(directory.join("ready"));
    }
    // What still runs is ended by the kernel with this process: it is the first of its namespace.
    result
}

fn down(directory: &Path) -> Result<()> {
    let Some(pid) = running(directory) else {
        println!("No cluster runs here.");
        return Ok(());
    };
    Command::new("kill").args(["-TERM", &pid.to_string()]).status()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while Path::new(&format!("/proc/{pid}")).exists() {
        if Instant::now() > deadline {
            Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("The cluster is gone.");
    Ok(())
}

/// The id of the process that `up` left, if it still is one of ours.
fn running(directory: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(directory.join("pid")).ok()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    String::from_utf8_lossy(&command).contains("testcluster").then_some(pid)
}

fn clear(directory: &Path) -> Result<()> {
    for name in ["pid", "ready", "kubeconfig", "kubectl", "helm", "ecr-access"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    for name in ["etcd", "logs", "pki", "pods", "tool-cache"] {
        let _ = std::fs::remove_dir_all(directory.join(name));
    }
    Ok(())
}

/// `kubectl` and `helm` for people outside of the namespaces.
fn write_wrappers(cluster: &Cluster) -> Result<()> {
    let pid = namespace::outer_pid()?;
    let environment: String = tool_environment(&cluster.kubeconfig, &cluster.directory)
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.display()))
        .collect();
    for (name, program) in [("kubectl", &cluster.programs.kubectl), ("helm", &cluster.programs.helm)] {
        let path = cluster.directory.join(name);
        let text = format!(
            "#!/bin/sh\n\
             # {name} in the network namespace of the test cluster.\n\
             {environment}\
             exec nsenter --target {pid} --user --net --preserve-credentials -- '{}' \"$@\"\n",
            program.display()
        );
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn binary_beside_us() -> Result<PathBuf> {
    // target/debug/examples/testcluster and target/debug/ecr-access
    let us = std::env::current_exe()?;
    let folder = us.parent().and_then(Path::parent).context("this program is in target/…/examples")?;
    Ok(folder.join("ecr-access"))
}
