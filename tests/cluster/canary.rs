//! Texts in objects that no log may ever hold.
//!
//! A scenario that writes a text where users write theirs makes it by [`canary`]: nothing else is to be done. At the end of
//! a run every log of the operator is searched for all of them, whoever wrote them.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::world::RELEASE;

/// What they all begin with: letters and digits, so that it may stand in an image tag, a label, a Sid or a role's name.
const MARK: &str = "canary7f3e91";

/// A text for one place, such as `env`. Letters and digits where the place allows no others.
pub fn canary(place: &str) -> String {
    format!("{MARK}{place}")
}

/// A line of a log with a canary in it.
struct Escaped {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Fails where a canary stands in what the operator's replicas printed to files of `folder`, in any spelling.
pub fn search(folder: &Path) -> Result<()> {
    let spellings = spellings();
    let (mut escaped, mut count, mut lines) = (Vec::new(), 0_usize, 0_usize);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with(&format!("{RELEASE}-")) {
            continue;
        }
        let mut reader = BufReader::new(File::open(&path)?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line).with_context(|| name.clone())? == 0 {
                break;
            }
            lines += 1;
            let text = String::from_utf8_lossy(&line);
            let lower = text.to_ascii_lowercase();
            if let Some(at) = spellings.iter().find_map(|spelling| lower.find(spelling.as_str())) {
                count += 1;
                if escaped.len() < 5 {
                    let shown = around(&text, at);
                    escaped.push(Escaped { file: name.clone(), line: number, text: shown });
                }
            }
        }
    }
    ensure!(lines > 0, "the operator logged nothing at all in {}", folder.display());
    let shown: Vec<String> = escaped.iter().map(ToString::to_string).collect();
    ensure!(count == 0, "{count} of {lines} lines hold what a user wrote:\n      {}", shown.join("\n      "));
    Ok(())
}

/// The beginning of the line, which says who wrote it, and what stands around the place.
fn around(text: &str, at: usize) -> String {
    let near: String = text.chars().skip(at.saturating_sub(60)).take(160).collect();
    format!("{} … {near}", text.chars().take(140).collect::<String>())
}

/// The mark as a text, and as a program prints bytes that it does not take for one. In lower case.
fn spellings() -> Vec<String> {
    let bytes = MARK.as_bytes();
    let numbers = |separator: &str| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
    let mut spellings =
        vec![MARK.to_owned(), numbers(", "), numbers(","), bytes.iter().map(|byte| format!("{byte:02x}")).collect()];
    // Of base 64 what does not depend on its neighbours, at each of the three places at which it can begin.
    for before in 0..3 {
        let padded: Vec<u8> = std::iter::repeat_n(b' ', before).chain(bytes.iter().copied()).collect();
        let text = base64(&padded);
        let certain = (before * 8).div_ceil(6)..(padded.len() * 8 / 6);
        spellings.extend(text.get(certain).map(str::to_ascii_lowercase));
    }
    spellings
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |at: usize| usize::from(bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1));
    let digits = (0..bytes.len() * 8).step_by(6);
    digits.map(|at| char::from(DIGITS[(at..at + 6).fold(0, |digit, at| digit << 1 | bits(at))])).collect()
}

/// Shows that [`search`] finds what is there, in each spelling: a search that finds nothing must not be one that cannot.
pub fn self_test(folder: &Path) -> Result<()> {
    let text = canary("env");
    let bytes = text.as_bytes();
    let numbers = format!("{bytes:?}");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let encoded = ["", "x", "xy"].map(|before| base64(format!("{before}{text}").as_bytes()));
    let log = folder.join(format!("{RELEASE}-0.log"));
    std::fs::create_dir_all(folder)?;
    for spelled in [&text, &text.to_uppercase(), &numbers, &hex].into_iter().chain(&encoded) {
        std::fs::write(&log, format!("fine\n{{\"message\":\"{spelled}\"}}\n"))?;
        ensure!(search(folder).is_err(), "`{spelled}` is not found");
    }
    std::fs::write(&log, "fine\n")?;
    search(folder)?;
    Ok(std::fs::remove_dir_all(folder)?)
}
