//! Namespaces of our own: user (so that no root is needed), network (so that ports are free and addresses are ours),
//! mount, and process ids (so that when we end, however we end, the kernel ends everything that we started).

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const MARK: &str = "ECR_ACCESS_IN_NAMESPACE";

/// The API server's address: on `lo`, because EndpointSlices and pods cannot use a loopback address.
pub const API_SERVER_ADDRESS: &str = "10.99.0.1";

/// Whether this process already is inside.
pub fn inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this same program again inside new namespaces, and there sets up the network. Returns only inside.
///
/// Call it first, before there are threads: it replaces the process.
pub fn enter() -> Result<()> {
    if !inside() {
        let program = std::env::current_exe().context("finding this program")?;
        let error = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"])
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(MARK, "1")
            .exec();
        return Err(error).context("starting `unshare` (from util-linux), which makes the namespaces");
    }
    ip(&["link", "set", "lo", "up"]).context("the network namespace cannot be set up")?;
    ip(&["address", "replace", &format!("{API_SERVER_ADDRESS}/32"), "dev", "lo"])
}

/// This process's id as seen by those outside, for `nsenter`.
///
/// `/proc` is still the outer one, and names processes by their outer ids.
pub fn outer_pid() -> Result<u32> {
    let link = std::fs::read_link("/proc/self").context("reading /proc/self")?;
    Ok(link.to_string_lossy().parse()?)
}

/// Connects the network namespace of process `pid` with ours: there `eth0` with `address`, here `interface`.
pub fn connect(pid: u32, interface: &str, address: &str) -> Result<()> {
    ip(&["link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", &pid.to_string()])?;
    ip(&["address", "add", API_SERVER_ADDRESS, "peer", &format!("{address}/32"), "dev", interface])?;
    ip(&["link", "set", interface, "up"])
}

/// Another address of ours, for somebody who is not the API server. Pods answer to it by their default route.
pub fn add_address(address: &str) -> Result<()> {
    ip(&["address", "replace", &format!("{address}/32"), "dev", "lo"])
}

/// A place for short-lived data that vanishes with the namespaces.
pub fn mount_tmpfs(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)?;
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(path))
}

/// Takes [`mount_tmpfs`]'s place away, also from those who still use it.
pub fn unmount(path: &Path) -> Result<()> {
    run(Command::new("umount").arg("--lazy").arg(path))
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
