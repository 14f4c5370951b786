//! A small JSON reader that keeps what policies need and other readers drop: the order of keys, repeated keys, and the
//! exact spelling of numbers. Depth and size are bounded, time is linear.
//!
//! A `Visitor` of `serde_json` that builds the same tree was measured beside it, and is slower by a quarter: see
//! `docs/adr/0011-a-json-reader-of-our-own.md`.

use std::borrow::Cow;
use std::fmt;

use crate::quote::Quoted;

/// More lists and objects inside of each other are refused: a policy needs six levels.
pub(crate) const MAX_DEPTH: usize = 64;
/// Texts beyond this many bytes are refused; the largest AWS managed policies have about 100 KB.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// A JSON value, whose texts are owned, or borrowed from what was read ([`Borrowed`]).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<S = String> {
    Null,
    Bool(bool),
    /// As spelled.
    Number(S),
    String(S),
    Array(Vec<Json<S>>),
    /// In order, repeated keys kept.
    Object(Vec<(S, Json<S>)>),
}

/// A JSON value that owns only the texts that have escapes.
pub(crate) type Borrowed<'a> = Json<Cow<'a, str>>;

impl<S> Json<S> {
    /// The kind of value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Why a text is not a JSON value, or none that is read.
#[derive(Debug)]
pub(crate) enum JsonError {
    /// The text is wrong there.
    Text { line: usize, column: usize, message: String },
    /// A list or an object opens there inside of [`MAX_DEPTH`] others.
    TooDeep { line: usize, column: usize },
    /// As [`TooDeep`](Self::TooDeep), in a value that has no lines.
    ValueTooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deep = format!("the document nests deeper than {MAX_DEPTH} levels");
        match self {
            Self::Text { line, column, message } => write!(f, "{message} at line {line} column {column}"),
            Self::TooDeep { line, column } => write!(f, "{deep} at line {line} column {column}"),
            Self::ValueTooDeep => write!(f, "{deep}"),
        }
    }
}

/// Reads one JSON value that fills the whole text.
pub(crate) fn read<'a, S: From<Cow<'a, str>>>(text: &'a str) -> Result<Json<S>, JsonError> {
    let mut reader = Reader { text, at: 0 };
    if text.len() > MAX_BYTES {
        let message = format!("the document has more than {MAX_BYTES} bytes");
        return Err(JsonError::Text { line: 1, column: 1, message });
    }
    let value = reader.value(0).map_err(|error| *error)?;
    reader.blank();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(*reader.error("text follows the document")),
    }
}

/// Takes over a value that `serde_json` read; repeated keys are gone by then.
pub(crate) fn from_value(value: &serde_json::Value, depth: usize) -> Result<Borrowed<'_>, JsonError> {
    if depth >= MAX_DEPTH && (value.is_array() || value.is_object()) {
        return Err(JsonError::ValueTooDeep);
    }
    Ok(match value {
        serde_json::Value::Null => Json::Null,
        serde_json::Value::Bool(b) => Json::Bool(*b),
        serde_json::Value::Number(n) => Json::Number(Cow::Owned(n.to_string())),
        serde_json::Value::String(s) => Json::String(Cow::Borrowed(s)),
        serde_json::Value::Array(items) => {
            Json::Array(items.iter().map(|item| from_value(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(map) => Json::Object(
            map.iter()
                .map(|(key, item)| Ok((Cow::Borrowed(key.as_str()), from_value(item, depth + 1)?)))
                .collect::<Result<_, JsonError>>()?,
        ),
    })
}

/// Errors are boxed: what is returned for each value stays small.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, message: impl Into<String>) -> Box<JsonError> {
        let (line, column) = self.place();
        Box::new(JsonError::Text { line, column, message: message.into() })
    }

    /// Line and column, from 1 on.
    fn place(&self) -> (usize, usize) {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        // In characters: bytes that continue a character do not count.
        let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').filter(|b| (**b & 0xc0) != 0x80).count();
        (line, column)
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self, wanted: &str) -> Box<JsonError> {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            None => self.error(format!("the document ends where {wanted} should stand")),
            Some('\u{feff}') => self.error("a byte order mark stands before the document; save it without"),
            Some(c) => self.error(format!("{} stands where {wanted} should", Quoted(c.encode_utf8(&mut [0; 4])))),
        }
    }

    fn value<S: From<Cow<'a, str>>>(&mut self, depth: usize) -> Result<Json<S>, Box<JsonError>> {
        self.blank();
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => {
                let (line, column) = self.place();
                Err(Box::new(JsonError::TooDeep { line, column }))
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?.into())),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)] {
                    if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.unexpected("a value"))
            }
        }
    }

    fn object<S: From<Cow<'a, str>>>(&mut self, depth: usize) -> Result<Json<S>, Box<JsonError>> {
        self.at += 1;
        let mut fields = Vec::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a quoted key"));
            }
            let key = self.string()?.into();
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            fields.push((key, value));
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(fields));
                }
                _ => return Err(self.unexpected("`,` or `}`")),
            }
        }
    }

    fn array<S: From<Cow<'a, str>>>(&mut self, depth: usize) -> Result<Json<S>, Box<JsonError>> {
        self.at += 1;
        let mut items = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    fn number<S: From<Cow<'a, str>>>(&mut self) -> Result<Json<S>, Box<JsonError>> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.peek();
        let whole = self.digits();
        if whole == 0 || (whole > 1 && first == Some(b'0')) {
            self.at = start;
            return Err(self.error("not a JSON number"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        Ok(Json::Number(Cow::Borrowed(self.text.get(start..self.at).unwrap_or_default()).into()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Box<JsonError>> {
        self.at += 1;
        let mut out = Cow::Borrowed("");
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let length = plain(rest.as_bytes());
            let run = rest.get(..length).unwrap_or_default();
            self.at += length;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    // Without escapes, the value is what stands in the text.
                    return Ok(if out.is_empty() { Cow::Borrowed(run) } else { out + run });
                }
                Some(b'\\') => {
                    self.at += 1;
                    out += run;
                    out.to_mut().push(self.escape()?);
                }
                Some(_) => return Err(self.error("a control character stands in a string")),
                None => return Err(self.error("the document ends in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Box<JsonError>> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let high = self.hex()?;
                if !(0xd800..0xe000).contains(&high) {
                    return char::from_u32(high).ok_or_else(|| self.error("not a character"));
                }
                // A character beyond U+FFFF is written as two escapes.
                if high < 0xdc00 && self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u")) {
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return char::from_u32(code).ok_or_else(|| self.error("not a character"));
                    }
                }
                return Err(self.error("half of a surrogate pair stands alone"));
            }
            _ => return Err(self.error("what follows the backslash is not an escape of JSON")),
        };
        self.at += 1;
        Ok(c)
    }

    fn hex(&mut self) -> Result<u32, Box<JsonError>> {
        let digits =
            self.text.get(self.at..self.at.saturating_add(4)).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|d| u32::from_str_radix(d, 16).ok()) {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => Err(self.error("`\\u` wants four hexadecimal digits")),
        }
    }
}

/// How many bytes stand before the first quote, backslash or control character; eight are looked at at once.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut length = 0;
    for eight in eights {
        let word = u64::from_le_bytes(*eight);
        // The high bit of a byte is set where the byte is zero; the lowest such bit is right, those above may not be.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let special = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if special != 0 {
            return length + usize::try_from(special.trailing_zeros() / 8).unwrap_or_default();
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_repeats_and_spelling() {
        let value: Result<Json, _> =
            read(r#" {"b": 1.50, "a": [true, null, "A\n\ud83d\ude00"], "b": 012e}"#.replace("012e", "1e3").as_str());
        let Ok(Json::Object(fields)) = value else { panic!("{value:?}") };
        let keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "b"]);
        assert_eq!(fields[0].1, Json::Number("1.50".into()));
        assert_eq!(fields[2].1, Json::Number("1e3".into()));
        let Json::Array(items) = &fields[1].1 else { panic!() };
        assert_eq!(items[2], Json::String("A\n😀".into()));
    }

    #[test]
    fn refuses_what_json_refuses() {
        for text in
            ["", "{", "[1,]", "{\"a\" 1}", "01", "\"\\ud800\"", "\"a\nb\"", "{} {}", "nul", "\"\\u12\"", "-", "1."]
        {
            assert!(read::<String>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "[".repeat(500_000);
        let error = read::<String>(&deep).unwrap_err();
        assert_eq!(error.to_string(), "the document nests deeper than 64 levels at line 1 column 65");
        assert!(read::<String>(&" ".repeat(MAX_BYTES + 1)).unwrap_err().to_string().contains("bytes"));
    }

    #[test]
    fn both_readers_count_the_same_levels() {
        for (levels, inside, is_read) in
            [(63, "{}", true), (64, "1", true), (64, "", true), (64, "{}", false), (65, "", false)]
        {
            let text = format!("{}{inside}{}", "[".repeat(levels), "]".repeat(levels));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read::<String>(&text).is_ok(), is_read, "{levels} {inside}");
            assert_eq!(from_value(&value, 0).is_ok(), is_read, "{levels} {inside}");
        }
    }

    #[test]
    fn strings_end_at_the_first_special_character() {
        for special in ['"', '\\', '\n', '\0', '\u{1f}'] {
            for before in 0..20 {
                for ordinary in ['a', ' ', '!', '#', '[', ']', '\u{7f}', 'é', '\u{80}', '\u{10ffff}'] {
                    let text = ordinary.to_string().repeat(before);
                    assert_eq!(
                        plain(format!("{text}{special}{ordinary}\"").as_bytes()),
                        text.len(),
                        "{text:?} {special:?}"
                    );
                }
            }
        }
        assert_eq!(plain("no end at all".as_bytes()), 13);
        let borrowed: Borrowed<'_> = read(r#"["plain", "a\nb"]"#).unwrap();
        let Json::Array(items) = borrowed else { panic!() };
        assert!(matches!(items[0], Json::String(Cow::Borrowed("plain"))), "{items:?}");
        assert_eq!(items[1], Json::String("a\nb".into()));
    }

    #[test]
    fn errors_tell_the_place() {
        assert_eq!(
            read::<String>("{\n  \"a\": x}").unwrap_err().to_string(),
            "`x` stands where a value should at line 2 column 8"
        );
    }
}
