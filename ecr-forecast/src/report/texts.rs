//! The texts of an image, before they are put together, and the parts of a message.

/// What there is to say about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    /// Complete in itself, at most [`MAX_LINE`](crate::report::message::MAX_LINE) bytes.
    pub(crate) line: String,
    /// So many bytes of it say which object and container it is about; none where that was shortened.
    pub(crate) place: usize,
    /// What the closest statement lacks.
    pub(crate) detail: Option<String>,
    /// The fix in words; may be too long for a message.
    pub(crate) fix: Option<String>,
}

/// What follows the first line of a message, each part a line or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) detail: String,
    pub(crate) further: String,
    pub(crate) fix: String,
}

impl Parts {
    /// The whole message.
    pub(crate) fn after(&self, line: &str) -> String {
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
