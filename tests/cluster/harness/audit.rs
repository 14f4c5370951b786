//! The API server's audit log: who asked what, and when.

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

/// One request that was answered, or a watch that began.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The pod whose token was used.
    pub pod: String,
    /// `get`, `list`, `watch`, `patch`, …
    pub verb: String,
    /// Such as `pods` or `ecraccesspolicies/status`.
    pub resource: String,
    /// When the request arrived.
    pub at: Timestamp,
    /// The HTTP code of the answer.
    pub code: u64,
}

impl Entry {
    /// It changed something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && (200..300).contains(&self.code)
    }
}

/// Reads all of it. A line that is being written is left for the next time.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    complete.lines().map(entry).collect()
}

fn entry(line: &str) -> Result<Entry> {
    let event: Value = serde_json::from_str(line).with_context(|| format!("an audit event: {line}"))?;
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (resource, part) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    Ok(Entry {
        pod: text("/user/extra/authentication.kubernetes.io~1pod-name/0"),
        verb: text("/verb"),
        resource: if part.is_empty() { resource } else { format!("{resource}/{part}") },
        at: text("/requestReceivedTimestamp").parse().context("a time")?,
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0),
    })
}
