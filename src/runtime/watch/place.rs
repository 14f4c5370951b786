//! Where in an object its JSON cannot be decoded: a path for whoever wrote it.

use ecr_forecast::text::escaped;

use super::cut::{Cursor, CutError};
use super::decode_error::DecodeError;

/// Steps that a path has at most. What cannot be decoded is often nested deeply.
const MAX_STEPS: usize = 12;

/// Bytes of a key that a path shows. A user chose it.
const MAX_KEY: usize = 63;

/// The path of the innermost value that holds the byte at which `decode(object)` failed, or of one that holds that value
/// where it is more than 12 steps away: `spec.containers[0].image`; empty for the object itself.
///
/// Its keys are a user's words: they are short and have no control characters, and do not belong in a log.
pub fn path(object: &[u8], error: DecodeError) -> String {
    let (mut path, mut value, mut at) = (String::new(), object, offset(object, error));
    for _ in 0..MAX_STEPS {
        let Some(step) = Step::to(value, at) else { break };
        path.push_str(&step.shown(path.is_empty()));
        (value, at) = (step.value, step.at);
    }
    path
}

/// From an object or a list to one of its parts.
struct Step<'a> {
    /// Of a member; an element has none.
    key: Option<&'a [u8]>,
    index: usize,
    value: &'a [u8],
    /// The byte that is looked for, from the beginning of `value`.
    at: usize,
}

/// Ends the search.
enum End<'a> {
    Found(Step<'a>),
    Cut,
}

impl From<CutError> for End<'_> {
    fn from(_: CutError) -> Self {
        End::Cut
    }
}

impl<'a> Step<'a> {
    /// To the part that holds the byte `at` of `whole`; none where it is in no part.
    fn to(whole: &'a [u8], at: usize) -> Option<Step<'a>> {
        let mut index = 0;
        let mut look = |key: Option<&'a [u8]>, value: &'a [u8]| {
            let start = value.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
            if (start..start + value.len()).contains(&at) {
                return Err(End::Found(Step { key, index, value, at: at - start }));
            }
            index += 1;
            Ok(())
        };
        let mut cursor = Cursor::new(whole);
        let end = if cursor.peek() == Some(b'[') {
            cursor.array(|element| look(None, element))
        } else {
            cursor.object(|key, cursor| look(Some(key), cursor.value()?))
        };
        match end {
            Err(End::Found(step)) => Some(step),
            Err(End::Cut) | Ok(()) => None,
        }
    }

    fn shown(&self, is_first: bool) -> String {
        let Some(key) = self.key else { return format!("[{}]", self.index) };
        let text = String::from_utf8_lossy(key.get(..MAX_KEY).unwrap_or(key));
        let text = escaped(&text).into_owned();
        let text = if key.len() > MAX_KEY { format!("{text}...") } else { text };
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        match (is_plain, is_first) {
            (true, true) => text,
            (true, false) => format!(".{text}"),
            (false, _) => format!("[{text}]"),
        }
    }
}

/// Bytes before the one at which decoding failed.
fn offset(object: &[u8], error: DecodeError) -> usize {
    let DecodeError::Json { line, column } = error;
    let lines = object.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    lines.map(<[u8]>::len).sum::<usize>() + column.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::super::object::decode;
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", r#"{"x":"#.repeat(levels), "}".repeat(levels))
    }

    fn failing(object: &[u8]) -> String {
        path(object, decode(object).unwrap_err())
    }

    #[test]
    fn the_path_of_what_cannot_be_decoded() {
        let with = |spec: &[u8]| [&b"{\"kind\":\"Pod\",\n \"spec\": "[..], spec, b", \"z\":[]}"].concat();
        for (spec, expected) in [
            (&b"{\"a\":[1,{\"b\":\"\xff\"}]}"[..], "spec.a[1].b"),
            (b"[[\"\xff\"]]", "spec[0][0]"),
            (b"{\"a.b/c\":{\"d\":\"\xff\"}}", "spec[a.b/c].d"),
            (b"{\"a\":1,\"\xff\":2}", "spec"),
            (b"{\"a\x7f\":\"\\ud800\"}", "spec[a\\u{7f}]"),
            (b"{\"n\":1e999}", "spec.n"),
        ] {
            assert_eq!(failing(&with(spec)), expected, "{}", String::from_utf8_lossy(spec));
        }
        let deep = nested(200);
        assert_eq!(failing(&with(deep.as_bytes())), format!("spec{}", ".x".repeat(MAX_STEPS - 1)));
        let long = format!("{{\"{}\":{deep}}}", "k".repeat(100));
        assert!(failing(&with(long.as_bytes())).starts_with(&format!("spec[{}...].x.x", "k".repeat(63))));
        assert_eq!(failing(b"7 8"), "");
        assert_eq!(failing(b"{"), "");
    }
}
