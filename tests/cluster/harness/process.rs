//! Programs that run beside us until we end.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// From SIGTERM to SIGKILL. An API server waits for a minute for whoever watches it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program in the background. Killed when dropped; and by the kernel if we cannot.
pub struct Daemon {
    name: String,
    log: PathBuf,
    running: Mutex<(Command, Child)>,
}

impl Daemon {
    /// Starts `command`, its output in `folder/NAME.log`.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Result<Daemon> {
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
        Ok(Daemon { name: name.to_owned(), log, running: Mutex::new((command, child)) })
    }

    /// Ends the program as a service manager does, by SIGTERM and after some patience by SIGKILL, and starts it again.
    /// Blocks until it has ended.
    pub fn restart(&self) -> Result<()> {
        let mut running = self.running.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        let (command, child) = &mut *running;
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        let until = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        *child = command.spawn().with_context(|| format!("starting {} again", self.name))?;
        Ok(())
    }

    /// Says how it ended, if it has, with the end of its log.
    pub fn ended(&self) -> Option<String> {
        // Not while it is being restarted.
        let mut running = self.running.try_lock().ok()?;
        let status = running.1.try_wait().ok()??;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>().join("\n");
        Some(format!("{} ended ({status}); the end of {}:\n{tail}", self.name, self.log.display()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(mut running) = self.running.lock() {
            let _ = running.1.kill();
            let _ = running.1.wait();
        }
    }
}
