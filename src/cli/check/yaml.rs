//! YAML as kubectl reads it: the text of one document becomes the JSON value that the API server would get.
//!
//! kubectl reads YAML 1.1 scalars (through `sigs.k8s.io/yaml` and `go-yaml` 2), not those of YAML 1.2: a plain `yes`,
//! `on` or `n` is a boolean, `012` is the number ten, `1_000` is a thousand. A reader that judges `enabled: yes` or
//! `accountId: 012345678901` differently from kubectl would judge another object than the cluster does, so the scalars
//! are resolved here, on the parser's events, and not by the defaults of a YAML 1.2 library. Syntax is YAML 1.2's,
//! whose differences (a few escapes and indicator rules) do not change the meaning of what both accept.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::path::{Segment, render};
use super::problems::Firsts;

/// Nodes of one document, aliases expanded. A manifest has thousands; a document that needs more is an alias bomb.
const MAX_NODES: usize = 1_000_000;

/// Nodes that aliases may add to the input of one run.
const MAX_COPIES: usize = MAX_NODES;

/// Bytes of text that aliases may add to the input of one run: a bomb can be one long text as well as many short ones.
const MAX_COPIED: usize = 64 << 20;

/// Why a document is no YAML that becomes JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct YamlError {
    /// The line in the document's text, from 1.
    pub line: usize,
    /// What is wrong, lower case.
    pub message: String,
}

/// A key that occurs twice in one mapping. kubectl takes the last one and says nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DuplicateKey {
    /// The field, such as `spec.puller`.
    pub path: String,
    /// The line of the second occurrence, from 1; 0 where the position is not known.
    pub line: usize,
}

/// One document as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The value; `None` where there is nothing but comments.
    pub value: Option<Value>,
    /// Keys that occur more than once.
    pub duplicates: Firsts<DuplicateKey>,
}

/// What a value costs to copy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Cost {
    nodes: usize,
    /// Of texts and keys.
    bytes: usize,
}

/// What anchors and aliases have added so far to the text that was read: shared by all documents of a run, since each of
/// many small ones can be a bomb of its own.
#[derive(Debug, Default)]
pub struct Expansion {
    copied: Cost,
}

impl Expansion {
    /// Asks to copy a value.
    fn take(&mut self, cost: Cost, line: usize) -> Result<(), YamlError> {
        self.copied.nodes = self.copied.nodes.saturating_add(cost.nodes);
        self.copied.bytes = self.copied.bytes.saturating_add(cost.bytes);
        let most = if self.copied.nodes > MAX_COPIES {
            format!("{MAX_COPIES} values")
        } else if self.copied.bytes > MAX_COPIED {
            format!("{} MiB of text", MAX_COPIED >> 20)
        } else {
            return Ok(());
        };
        Err(YamlError { line, message: format!("the aliases of the input expand to more than {most}") })
    }
}

/// Reads the text of one document: what stands between two `---` lines. See [`parse_within`].
///
/// # Errors
/// As [`parse_within`].
pub fn parse(text: &str) -> Result<Document, YamlError> {
    parse_within(text, &mut Expansion::default())
}

/// Reads the text of one of several documents, whose aliases together may add no more than `expansion` lets them.
///
/// # Errors
/// Text that is not YAML, or that has no JSON form: a mapping with a `null` or structured key, `.nan`, `!!binary`, an
/// alias that contains itself; more than a million nodes; anchors and aliases that expand to more than a million values
/// or 64 MiB of text.
pub fn parse_within(text: &str, expansion: &mut Expansion) -> Result<Document, YamlError> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        path: Vec::new(),
        duplicates: Firsts::default(),
        cost: Cost::default(),
        expansion,
    };
    let mut value = None;
    while let Some((event, line)) = builder.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            _ if value.is_some() => {
                return Err(YamlError { line, message: "a second document without `---` before it".to_owned() });
            }
            event => value = Some(builder.node(event, line)?),
        }
    }
    // A document of comments alone is one empty plain scalar to some inputs, and no node at all to others.
    let value = value.filter(|value| !value.is_null());
    Ok(Document { value, duplicates: builder.duplicates })
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// By the parser's anchor id: the value, and what a copy of it costs.
    anchors: HashMap<usize, (Value, Cost)>,
    path: Vec<Segment>,
    duplicates: Firsts<DuplicateKey>,
    /// Of all that was read so far.
    cost: Cost,
    expansion: &'a mut Expansion,
}

impl<'a> Builder<'a> {
    /// The next event that is not a comment, with its line.
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, YamlError> {
        loop {
            match self.events.next_event() {
                None => return Ok(None),
                Some(Err(error)) => return Err(scan_error(&error)),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, line_of(&span)))),
            }
        }
    }

    /// The event where a node, an end or nothing else is due.
    fn expect(&mut self, line: usize) -> Result<(Event<'a>, usize), YamlError> {
        self.next()?.ok_or_else(|| YamlError { line, message: "the document ends too early".to_owned() })
    }

    /// The value that starts with `event`.
    ///
    /// The recursion is bounded: the parser refuses more than 255 open collections of either style.
    fn node(&mut self, event: Event<'a>, line: usize) -> Result<Value, YamlError> {
        let before = self.cost;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(Cost { nodes: 1, bytes: text.len() }, line)?;
                let value = scalar(&text, style, tag.as_deref()).map_err(|message| YamlError { line, message })?;
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.count(Cost { nodes: 1, bytes: 0 }, line)?;
                (self.sequence(line)?, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                self.count(Cost { nodes: 1, bytes: 0 }, line)?;
                (self.mapping(line)?, anchor)
            }
            Event::Alias(id) => {
                let Some((value, cost)) = self.anchors.get(&id) else {
                    return Err(YamlError { line, message: "an alias stands inside its own anchor".to_owned() });
                };
                let cost = *cost;
                // Before it is copied, not after.
                self.expansion.take(cost, line)?;
                let value = value.clone();
                self.count(cost, line)?;
                (value, 0)
            }
            _ => return Err(YamlError { line, message: "a value is missing".to_owned() }),
        };
        if anchor != 0 {
            let cost =
                Cost { nodes: self.cost.nodes - before.nodes, bytes: self.cost.bytes.saturating_sub(before.bytes) };
            // What is kept for aliases is a copy too: of anchors inside each other, one for each level.
            self.expansion.take(cost, line)?;
            self.anchors.insert(anchor, (value.clone(), cost));
        }
        Ok(value)
    }

    fn sequence(&mut self, mut line: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.expect(line)?;
            line = at;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            self.path.push(Segment::Index(items.len()));
            items.push(self.node(event, at)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, mut line: usize) -> Result<Value, YamlError> {
        let mut map = Map::new();
        // Not the keys of `map`: a key that a merge brought may be overridden without being written twice.
        let mut written = HashSet::new();
        loop {
            let (event, at) = self.expect(line)?;
            line = at;
            if event == Event::MappingEnd {
                return Ok(Value::Object(map));
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, at)?;
            let (event, value_at) = self.expect(at)?;
            if merge {
                let value = self.node(event, value_at)?;
                merge_into(&mut map, value).map_err(|message| YamlError { line: value_at, message })?;
                continue;
            }
            let key = key_text(key).map_err(|message| YamlError { line: at, message })?;
            self.path.push(Segment::Key(key));
            if let Some(Segment::Key(key)) = self.path.last()
                && !written.insert(key.clone())
            {
                let path = &self.path;
                self.duplicates.push_with(|| DuplicateKey { path: render(path), line: at });
            }
            let value = self.node(event, value_at)?;
            if let Some(Segment::Key(key)) = self.path.pop() {
                map.insert(key, value);
            }
        }
    }

    fn count(&mut self, cost: Cost, line: usize) -> Result<(), YamlError> {
        self.cost.nodes = self.cost.nodes.saturating_add(cost.nodes);
        self.cost.bytes = self.cost.bytes.saturating_add(cost.bytes);
        if self.cost.nodes > MAX_NODES {
            return Err(YamlError { line, message: format!("more than {MAX_NODES} values once aliases are expanded") });
        }
        Ok(())
    }
}

/// `<<: *anchor`, as go-yaml 2 does it: at the place where it stands, of a list the earlier mappings win.
fn merge_into(map: &mut Map<String, Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(other) => map.extend(other),
        Value::Array(items) => {
            for item in items.into_iter().rev() {
                let Value::Object(other) = item else {
                    return Err("`<<` takes a mapping or a list of mappings".to_owned());
                };
                map.extend(other);
            }
        }
        _ => return Err("`<<` takes a mapping or a list of mappings".to_owned()),
    }
    Ok(())
}

/// A key's text: JSON has no other keys, so kubectl spells booleans and numbers out.
fn key_text(key: Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("a key is empty".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a key is a list or a mapping, which JSON does not know".to_owned()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let core = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
    let wanted = match (core.as_deref(), tag, style) {
        // A tag that YAML does not define, and `!`: the text as it stands.
        (None, Some(_), _) | (Some("str"), ..) => return Ok(Value::String(text.to_owned())),
        (None, None, ScalarStyle::Plain) => None,
        (None, None, _) => return Ok(Value::String(text.to_owned())),
        (Some("timestamp"), ..) => return Ok(Value::String(text.to_owned())),
        (Some(name @ ("bool" | "int" | "float" | "null")), ..) => Some(name),
        (Some(name), ..) => return Err(format!("the tag `!!{name}` is not supported")),
    };
    let value = resolve(text)?;
    let found = match &value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        _ => "str",
    };
    match wanted {
        Some("float") if found == "int" => Ok(value),
        Some(wanted) if wanted != found => Err(format!("`{text}` is not a `!!{wanted}`")),
        _ => Ok(value),
    }
}

/// The value of a plain scalar by the rules of go-yaml 2 (YAML 1.1 without base 60).
fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return Err(format!("`{text}` has no JSON form; quote it if text is meant")),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'.') => float(&without_separators(text)),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let plain = text.replace('_', "");
            integer(&plain).or_else(|| is_float(&plain).then(|| float(&plain)).flatten())
        }
        _ => None,
    };
    Ok(number.map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// Without the underscores that stand between digits, as in `.1_000`.
fn without_separators(text: &str) -> String {
    let digit = |neighbour: Option<char>| neighbour.is_some_and(|c| c.is_ascii_digit());
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut before = None;
    while let Some(character) = characters.next() {
        if character != '_' || !digit(before) || !digit(characters.peek().copied()) {
            plain.push(character);
        }
        before = Some(character);
    }
    plain
}

/// An integer of 64 bits with the prefixes of Go: `0x`, `0o`, `0b`, and a bare `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let (negative, signed, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, true, rest),
        None => match text.strip_prefix('+') {
            Some(rest) => (false, true, rest),
            None => (false, false, text),
        },
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, rest)
    } else {
        (10, lower.as_str())
    };
    // Rust would take a second sign here.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    if signed && i64::try_from(magnitude).is_err() {
        return None;
    }
    Some(Number::from(magnitude))
}

/// Whether `text` has the form `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    mantissa && exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)))
}

fn float(text: &str) -> Option<Number> {
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    // Go prints a whole float without a fraction, so the API server reads an integer.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

fn line_of(span: &Span) -> usize {
    span.start.line()
}

fn scan_error(error: &ScanError) -> YamlError {
    let mut message = error.info();
    if let Some(first) = message.get(..1).map(str::to_ascii_lowercase) {
        message.replace_range(..1, &first);
    }
    YamlError { line: error.marker().line(), message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        parse(text).unwrap().value.unwrap()
    }

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        for (text, expected) in [
            ("yes", json!(true)),
            ("On", json!(true)),
            ("y", json!(true)),
            ("N", json!(false)),
            ("off", json!(false)),
            ("yEs", json!("yEs")),
            ("'yes'", json!("yes")),
            ("~", json!(null)),
            ("012", json!(10)),
            ("0o12", json!(10)),
            ("0x1F", json!(31)),
            ("-0x1F", json!(-31)),
            ("0b101", json!(5)),
            ("08", json!(8)),
            ("1_000", json!(1000)),
            ("+5", json!(5)),
            ("--5", json!("--5")),
            ("+-5", json!("+-5")),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("1e999", json!("1e999")),
            ("1:30", json!("1:30")),
            ("012345678901", json!(12_345_678_901_u64)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("2012-10-17", json!("2012-10-17")),
            ("2020-01-01T00:00:00Z", json!("2020-01-01T00:00:00Z")),
            ("!!str 12", json!("12")),
            ("!!float 12", json!(12)),
            ("!!int '12'", json!(12)),
            ("!mine 12", json!("12")),
            (
                "111122223333.dkr.ecr.us-east-1.amazonaws.com/app:1",
                json!("111122223333.dkr.ecr.us-east-1.amazonaws.com/app:1"),
            ),
            ("1.2.3.4", json!("1.2.3.4")),
            ("|\n  a\n  b", json!("a\nb\n")),
        ] {
            assert_eq!(value(&format!("k: {text}\n")), json!({ "k": expected }), "{text}");
        }
    }

    #[test]
    fn a_whole_object_is_what_kubectl_makes_of_it() {
        // Printed by kubectl 1.37: `kubectl label --local -f - x=y -o json`.
        let text = "{a: yes, b: on, c: 012, d: 1_000, e: 0o12, f: 08, g: n, h: 1e3, i: +5, j: 2012-10-17, k: .5, \
            l: 0x1F, m: 012345678901, n2: 012345670123, o: !!str 5, p: 1:30, q: \"yes\", r: -0b11, s: 1.5e400, \
            t: 12e03, y: x, 5: num, 1.5: fl, u: 0b_1_0, v: _1, w: 1__0, x: 0x_1f, z: 18446744073709551616, aa: -0, \
            ab: 1., ac: ~, ad: !foo 12, ae: 0777_, af: 190:20:30, ag: .1_0, ah: 9007199254740993, \
            ai: 123456789012345678901234567890, aj: 0O17, ak: 0B11, al: 1e400}";
        let expected = json!({
            "1.5": "fl", "5": "num", "a": true, "aa": 0, "ab": 1, "ac": null, "ad": "12", "ae": 511,
            "af": "190:20:30", "ag": 0.1, "ah": 9_007_199_254_740_993_u64, "ai": 1.2345678901234568e+29, "aj": 15,
            "ak": 3, "al": "1e400", "b": true, "c": 10, "d": 1000, "e": 10, "f": 8, "g": false, "h": 1000, "i": 5,
            "j": "2012-10-17", "k": 0.5, "l": 31, "m": 12_345_678_901_u64, "n2": 1_402_433_619, "o": "5", "p": "1:30",
            "q": "yes", "r": -3, "s": "1.5e400", "t": 12000, "true": "x", "u": 2, "v": "_1", "w": 10, "x": 31,
            "z": 18_446_744_073_709_552_000_f64
        });
        assert_eq!(value(text), expected);
    }

    #[test]
    fn anchors_blocks_and_quotes_are_what_kubectl_makes_of_them() {
        // Printed by the same command. A merge overrides what stands before it, unlike in YAML 1.2 tools.
        let text = "base: &b {a: 1, c: 2}\nuse:\n  c: 3\n  <<: *b\nlist: [*b]\ndup: 1\ndup: 2\n\
            text: |\n  a\n\n   b\nfold: >-\n  a\n  b\n\n  c\nmulti: a\n  b\nq: \"a\\\n  b\\u00e9\\x41\"\n\
            single: 'it''s'\nemptyv:\nk with space: 1\n\"tab\\t\": 2\n? complexkey\n: v\n";
        let expected = json!({
            "base": {"a": 1, "c": 2}, "complexkey": "v", "dup": 2, "emptyv": null, "fold": "a b\nc", "k with space": 1,
            "list": [{"a": 1, "c": 2}], "multi": "a b", "q": "abéA", "single": "it's", "tab\t": 2,
            "text": "a\n\n b\n", "use": {"a": 1, "c": 2}
        });
        assert_eq!(value(text), expected);
    }

    #[test]
    fn an_octal_looking_account_id_is_octal_only_when_its_digits_allow() {
        assert_eq!(value("k: 012345670123\n"), json!({"k": 1_402_433_619_u64}));
        assert_eq!(value("k: 012345678901\n"), json!({"k": 12_345_678_901_u64}));
    }

    #[test]
    fn keys_become_text() {
        assert_eq!(value("on: 1\n2: b\n1.5: c\n"), json!({"true": 1, "2": "b", "1.5": "c"}));
        assert_eq!(parse("[a]: 1\n").unwrap_err().message, "a key is a list or a mapping, which JSON does not know");
        assert_eq!(parse("~: 1\n").unwrap_err().message, "a key is empty");
    }

    #[test]
    fn anchors_and_merges() {
        let text = "base: &b {a: 1, c: 2}\nuse:\n  <<: *b\n  c: 3\nlist: [*b]\n";
        assert_eq!(value(text), json!({"base": {"a": 1, "c": 2}, "use": {"a": 1, "c": 3}, "list": [{"a": 1, "c": 2}]}));
        assert_eq!(value("x: {<<: [{a: 1}, {a: 2, b: 2}]}\n"), json!({"x": {"a": 1, "b": 2}}));
        assert_eq!(parse("a: &a [*a]\n").unwrap_err().message, "an alias stands inside its own anchor");
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let previous = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        }
        let error = parse(&text).unwrap_err();
        assert_eq!(error.message, "the aliases of the input expand to more than 1000000 values");
    }

    #[test]
    fn a_long_text_costs_its_bytes_each_time_that_an_alias_stands_for_it() {
        let long = "x".repeat(100_000);
        let text = format!("k: &k {long}\nlist:\n{}", "- *k\n".repeat(20_000));
        let mut expansion = Expansion::default();
        let error = parse_within(&text, &mut expansion).unwrap_err();
        assert_eq!(error.message, "the aliases of the input expand to more than 64 MiB of text");
        // One copy is kept for the aliases, and the one that is too much was counted but not made.
        let copies = MAX_COPIED / long.len() + 1;
        assert_eq!(error.line, 2 + copies - 1, "the alias that is too much");
        assert_eq!(expansion.copied, Cost { nodes: copies, bytes: copies * long.len() });
        // As keys, and through a merge.
        for text in [
            format!("k: &k {long}\nlist:\n{}", "- {*k : 1}\n".repeat(20_000)),
            format!("m: &m {{a: {long}}}\nlist:\n{}", "- {<<: *m}\n".repeat(20_000)),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.message, "the aliases of the input expand to more than 64 MiB of text");
            assert!((600..700).contains(&error.line), "{error:?}");
        }
        // What stands there once costs nothing but itself.
        let mut expansion = Expansion::default();
        assert!(parse_within(&format!("a: {long}\nb: [{long}]\n"), &mut expansion).is_ok());
        assert_eq!(expansion.copied, Cost::default());
    }

    #[test]
    fn anchors_inside_each_other_cost_a_copy_each() {
        let long = "x".repeat(1_000_000);
        let open: String = (0..200).map(|level| format!("&a{level} [")).collect();
        let mut expansion = Expansion::default();
        let error = parse_within(&format!("{open}{long}{}", "]".repeat(200)), &mut expansion).unwrap_err();
        assert_eq!(error.message, "the aliases of the input expand to more than 64 MiB of text");
        assert!(expansion.copied.bytes <= MAX_COPIED + long.len(), "{expansion:?}");
    }

    #[test]
    fn documents_share_what_aliases_may_add() {
        let text = format!("k: &k {}\nlist: [*k, *k, *k]\n", "x".repeat(1_000_000));
        let mut expansion = Expansion::default();
        let read = (0..100).map(|_| parse_within(&text, &mut expansion)).take_while(Result::is_ok).count();
        assert_eq!(read, MAX_COPIED / 4_000_000);
        // What has no alias is read all the same.
        assert!(parse_within("a: 1\n", &mut expansion).is_ok());
    }

    #[test]
    fn of_keys_that_are_given_again_and_again_the_first_are_named_and_the_rest_is_counted() {
        let text = format!("? {}\n:\n{}", "k".repeat(200_000), "  a: 1\n".repeat(300_000));
        let duplicates = parse(&text).unwrap().duplicates;
        assert_eq!((duplicates.kept().len(), duplicates.count()), (100, 299_999));
        let longest = duplicates.kept().iter().map(|key| key.path.len()).max();
        assert_eq!(longest, Some(crate::cli::check::problems::LONGEST));
        assert_eq!(duplicates.kept()[0].line, 4);
    }

    #[test]
    fn duplicate_keys_are_found_with_their_path_and_the_last_one_counts() {
        let document = parse("spec:\n  items:\n  - a: 1\n    a: 2\n  x.y: 1\n  x.y: 2\n").unwrap();
        assert_eq!(document.value, Some(json!({"spec": {"items": [{"a": 2}], "x.y": 2}})));
        assert_eq!(
            document.duplicates.kept(),
            [
                DuplicateKey { path: "spec.items[0].a".to_owned(), line: 4 },
                DuplicateKey { path: "spec[\"x.y\"]".to_owned(), line: 6 }
            ]
        );
    }

    #[test]
    fn nothing_but_comments_is_no_value() {
        for text in ["", "\n", "# a\n# b\n", "~\n"] {
            assert_eq!(parse(text).unwrap().value, None, "{text:?}");
        }
    }

    #[test]
    fn errors_have_their_line() {
        let error = parse("a: 1\nb: [\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        let error = parse("a: 1\n  b: 2\n").unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (2, "mapping values are not allowed in this context"));
        assert_eq!(parse("a: .nan\n").unwrap_err().line, 1);
        assert_eq!(parse("a: 1\n...\nb: 2\n").unwrap_err().message, "a second document without `---` before it");
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }
}
