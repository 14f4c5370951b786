//! JSON manifests: a stream of objects, as kubectl reads it, with an eye for keys that occur twice.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::{Segment, render};
use super::problems::Firsts;
use super::yaml::{Document, DuplicateKey, YamlError};

/// Reads the objects of a JSON stream, `{…}{…}`. The second part is where and why it ended early.
pub fn parse_stream(text: &str) -> (Vec<Document>, Option<YamlError>) {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Document>();
    let error = loop {
        match stream.next() {
            None => break None,
            Some(Ok(document)) => documents.push(document),
            Some(Err(error)) => {
                let full = error.to_string();
                // serde_json ends its text with the position, which is given apart here.
                let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message);
                break Some(YamlError { line: error.line(), message: message.to_owned() });
            }
        }
    };
    (documents, error)
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut path, mut duplicates) = (Vec::new(), Firsts::default());
        let value = Seed { path: &mut path, duplicates: &mut duplicates }.deserialize(deserializer)?;
        Ok(Document { value: Some(value), duplicates })
    }
}

struct Seed<'a> {
    /// Where the value stands. Spelled out only where it is told: it can be long.
    path: &'a mut Vec<Segment>,
    duplicates: &'a mut Firsts<DuplicateKey>,
}

impl Seed<'_> {
    fn again(&mut self) -> Seed<'_> {
        Seed { path: self.path, duplicates: self.duplicates }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.path.push(Segment::Index(items.len()));
            let item = access.next_element_seed(self.again())?;
            self.path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut written = HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            let again = !written.insert(key.clone());
            self.path.push(Segment::Key(key));
            if again {
                let path = &*self.path;
                self.duplicates.push_with(|| DuplicateKey { path: render(path), line: 0 });
            }
            let value = access.next_value_seed(self.again())?;
            if let Some(Segment::Key(key)) = self.path.pop() {
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_of_objects() {
        let (documents, error) = parse_stream("{\"a\": 1}\n{\"b\": [{\"c\": 1, \"c\": 2.5}]}\n");
        assert_eq!(error, None);
        let values: Vec<_> = documents.iter().map(|d| d.value.clone().unwrap()).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"b": [{"c": 2.5}]})]);
        assert_eq!(documents[1].duplicates.kept(), [DuplicateKey { path: "b[0].c".to_owned(), line: 0 }]);
    }

    #[test]
    fn of_keys_that_are_given_again_and_again_the_first_are_named_and_the_rest_is_counted() {
        let text = format!("{{\"{}\": [0, {{{}}}]}}", "k".repeat(200_000), vec!["\"a\": 1"; 20_000].join(","));
        let (documents, error) = parse_stream(&text);
        assert_eq!(error, None);
        let duplicates = &documents[0].duplicates;
        assert_eq!((duplicates.kept().len(), duplicates.count()), (100, 19_999));
        let longest = duplicates.kept().iter().map(|key| key.path.len()).max();
        assert_eq!(longest, Some(crate::cli::check::problems::LONGEST));
    }

    #[test]
    fn what_came_before_an_error_is_kept() {
        let (documents, error) = parse_stream("{\"a\": 1}\n\n{\"b\": }");
        assert_eq!(documents.len(), 1);
        assert_eq!(error, Some(YamlError { line: 3, message: "expected value".to_owned() }));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let (_, error) = parse_stream(&"[".repeat(100_000));
        assert_eq!(error.unwrap().message, "recursion limit exceeded");
    }
}
