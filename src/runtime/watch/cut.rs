//! JSON cut into its parts without being decoded: pages of a list, lines of a watch, reviews.
//!
//! What a tenant wrote stands somewhere inside, and may be nested to any depth or be no UTF-8: `managedFields` are stored
//! as they were sent. Decoding a whole page would fail for all of it. `serde::de::IgnoredAny` has neither limit
//! (serde_json ignores a value without recursion and a string without looking at its bytes), so that the parts are
//! found here, and each is decoded by itself.

use serde::de::IgnoredAny;

/// JSON that cannot be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CutError {
    /// Something else was to stand here.
    #[error("{expected} expected at byte {at}")]
    Expected {
        /// What was to stand there.
        expected: &'static str,
        /// Bytes before it.
        at: usize,
    },
    /// No JSON value begins here, or none that ends.
    #[error("no whole JSON value at byte {at}")]
    Value {
        /// Bytes before it.
        at: usize,
    },
}

/// The value of this member of an object; none where there is no such member, or no object. Of several the last counts.
pub fn member<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    let whole = Cursor::new(object).object(|key, cursor| -> Result<(), CutError> {
        let value = cursor.value()?;
        if key == name {
            found = Some(value);
        }
        Ok(())
    });
    found.filter(|_| whole.is_ok())
}

/// A place in JSON text, before a value.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Takes a whole value, and returns its bytes.
    ///
    /// # Errors
    /// When there is no JSON value, or it does not end.
    pub fn value(&mut self) -> Result<&'a [u8], CutError> {
        self.blanks();
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(IgnoredAny)) => {
                let length = values.byte_offset();
                self.at += length;
                Ok(rest.get(..length).unwrap_or_default())
            }
            Some(Err(_)) | None => Err(CutError::Value { at: self.at }),
        }
    }

    /// Takes a whole object: `each` is called before each value, with the key as it is written (between its quotes), and
    /// takes the value.
    ///
    /// # Errors
    /// When there is no object, it does not end, or `each` fails.
    pub fn object<E: From<CutError>>(
        &mut self,
        mut each: impl FnMut(&'a [u8], &mut Cursor<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{', "`{`")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            self.expect(b':', "`:`")?;
            each(key, self)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "`,` or `}`")?;
        }
    }

    /// Takes a whole array: `each` is called with the bytes of each element.
    ///
    /// # Errors
    /// When there is no array, it does not end, or `each` fails.
    pub fn array<E: From<CutError>>(&mut self, mut each: impl FnMut(&'a [u8]) -> Result<(), E>) -> Result<(), E> {
        self.expect(b'[', "`[`")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self.value()?)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    /// Takes `null` where it comes next: an API server may write it for a list without elements.
    pub fn null(&mut self) -> bool {
        self.blanks();
        let is_next = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"null"));
        self.at += if is_next { 4 } else { 0 };
        is_next
    }

    /// The byte that comes next, blanks aside: it tells what kind of value stands here.
    pub fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.bytes.get(self.at).copied()
    }

    /// Makes sure that nothing follows.
    ///
    /// # Errors
    /// When something does.
    pub fn end(&mut self) -> Result<(), CutError> {
        self.blanks();
        if self.at == self.bytes.len() { Ok(()) } else { Err(CutError::Expected { expected: "the end", at: self.at }) }
    }

    /// A string, without its quotes and with its escapes.
    fn key(&mut self) -> Result<&'a [u8], CutError> {
        self.blanks();
        let at = self.at;
        let text = self.value()?;
        text.strip_prefix(b"\"")
            .and_then(|text| text.strip_suffix(b"\""))
            .ok_or(CutError::Expected { expected: "a key", at })
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), CutError> {
        if self.take(byte) { Ok(()) } else { Err(CutError::Expected { expected, at: self.at }) }
    }

    /// Takes `byte` where it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn blanks(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Members<'a> = Vec<(&'a [u8], &'a [u8])>;

    fn members(bytes: &[u8]) -> Result<Members<'_>, CutError> {
        let (mut cursor, mut found) = (Cursor::new(bytes), Vec::new());
        cursor.object(|key, cursor| -> Result<(), CutError> {
            found.push((key, cursor.value()?));
            Ok(())
        })?;
        cursor.end().map(|()| found)
    }

    fn elements(bytes: &[u8]) -> Result<Vec<&[u8]>, CutError> {
        let (mut cursor, mut found) = (Cursor::new(bytes), Vec::new());
        cursor.array(|element| -> Result<(), CutError> {
            found.push(element);
            Ok(())
        })?;
        cursor.end().map(|()| found)
    }

    #[test]
    fn objects_and_arrays_are_cut_at_the_bytes_of_their_parts() {
        let text = br#" { "a" : 1 , "b":[ {"c":"}"} ,2],"a":null,"\"":"x" } "#;
        let expected: Members<'_> =
            vec![(b"a", b"1"), (b"b", br#"[ {"c":"}"} ,2]"#), (b"a", b"null"), (br#"\""#, br#""x""#)];
        assert_eq!(members(text), Ok(expected));
        assert_eq!(
            elements(br#"[ {"c":"}"} ,2, "x" ,true,[]]"#),
            Ok(vec![&br#"{"c":"}"}"#[..], b"2", br#""x""#, b"true", b"[]"])
        );
        assert_eq!((members(b"{}"), elements(b" [ ] ")), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn null_is_taken_where_it_comes_next() {
        let mut cursor = Cursor::new(b" null,[null]");
        assert!(cursor.null());
        assert!(!cursor.null());
        assert_eq!(cursor.end(), Err(CutError::Expected { expected: "the end", at: 5 }));
        assert!(!Cursor::new(b"nul").null());
    }

    #[test]
    fn depth_and_bytes_that_are_no_text_do_not_matter() {
        let deep = format!("{}1{}", r#"{"f:x":"#.repeat(100_000), "}".repeat(100_000));
        let text = [br#"[{"bad":"#, &b"\"\xff\xfe\""[..], b",\"f:\xff\":", deep.as_bytes(), b"},7]"].concat();
        assert_eq!(elements(&text).unwrap().last(), Some(&&b"7"[..]));
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        assert_eq!(member(b"{\"a\":1,\"b\":2,\"a\":{\"b\":3}}", b"a"), Some(&b"{\"b\":3}"[..]));
        for (object, name) in [(&b"{\"a\":1}"[..], &b"b"[..]), (b"[]", b"a"), (b"{\"a\":1", b"a"), (b"", b"a")] {
            assert_eq!(member(object, name), None);
        }
    }

    #[test]
    fn what_is_no_json_says_where() {
        let expected = |expected, at| Err(CutError::Expected { expected, at });
        assert_eq!(members(b"[]"), expected("`{`", 0));
        assert_eq!(members(b"{\"a\" 1}"), expected("`:`", 5));
        assert_eq!(members(b"{\"a\":1 \"b\":2}"), expected("`,` or `}`", 7));
        assert_eq!(members(b"{1:2}"), expected("a key", 1));
        assert_eq!(members(b"{\"a\":}"), Err(CutError::Value { at: 5 }));
        assert_eq!(members(b"{\"a\":{}"), expected("`,` or `}`", 7));
        assert_eq!(members(b"{} x"), expected("the end", 3));
        assert_eq!(elements(b"[1,"), Err(CutError::Value { at: 3 }));
        assert_eq!(elements(b"[\"never closed"), Err(CutError::Value { at: 1 }));
    }
}
