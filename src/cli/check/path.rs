//! The place of a value in a manifest, as text: `spec.items[0]["x.y"]`.

use ecr_forecast::text::{Unit, cut};

use super::problems::LONGEST;

/// One step into a value.
pub enum Segment {
    /// To a member of a mapping.
    Key(String),
    /// To an item of a list.
    Index(usize),
}

/// The whole way, in as many bytes as a problem shows of it.
pub fn render(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) => push_key(&mut text, key),
            Segment::Index(index) => push_index(&mut text, *index),
        }
        if text.len() > LONGEST {
            return cut(&text, LONGEST, Unit::Bytes).into_owned();
        }
    }
    text
}

/// Appends a member to a path: `.key`, or `["key"]` where the key is not a plain word.
pub fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !plain {
        path.push_str(&format!("[{}]", serde_json::Value::from(key)));
    } else if path.is_empty() {
        path.push_str(key);
    } else {
        path.push('.');
        path.push_str(key);
    }
}

/// Appends an index to a path: `[3]`.
pub fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}
