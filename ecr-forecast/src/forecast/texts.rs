//! The texts of an image, before they are put together, and the parts of a message.

/// What there is to say about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// Complete in itself, at most [`MAX_LINE`](super::MAX_LINE) bytes.
    pub(super) line: String,
    /// So many bytes of it say which object and container it is about; none where that was shortened.
    pub(super) place: usize,
    /// What the closest statement lacks.
    pub(super) detail: Option<String>,
    /// The fix in words; may be too long for a message.
    pub(super) fix: Option<String>,
}

/// What follows the first line of a message, each part a line or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) detail: String,
    pub(super) further: String,
    pub(super) fix: String,
}

impl Parts {
    /// The whole message.
    pub(super) fn after(&self, line: &str) -> String {
        let mut text = line.to_owned();
        for part in [&self.detail, &self.further, &self.fix] {
            if !part.is_empty() {
                text.push('\n');
                text.push_str(part);
            }
        }
        text
    }
}
