//! Programs that run beside us until we end.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result};

/// A program in the background. Killed when dropped; and by the kernel if we cannot.
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Daemon {
    /// Starts `command`, its output in `folder/NAME.log`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Daemon> {
        std::fs::create_dir_all(folder)?;
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // A group of its own: Ctrl-C is for us, and we end things in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Daemon { name: name.to_owned(), log, child: Mutex::new(child) })
    }

    /// Says how it ended, if it has, with the end of its log.
    pub fn ended(&self) -> Option<String> {
        let mut child = self.child.lock().ok()?;
        let status = child.try_wait().ok()??;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>().join("\n");
        Some(format!("{} ended ({status}); the end of {}:\n{tail}", self.name, self.log.display()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
