//! The JSON of an object without `managedFields`, and, where it is nested too deeply to decode, without what is too deep.
//!
//! What is never looked into is said here, once, for objects that decode and for those that do not.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::decode_error::DecodeError;

/// Lists and objects inside of each other that are kept. Less than serde_json goes, and more than anything has that is
/// meant to be read.
const LEVELS: usize = 100;

/// Decodes an object as [`decode`](super::object::decode) does, `managedFields` left out, but with `false` for whatever
/// stands inside of 100 lists and objects.
///
/// # Errors
/// When it is no JSON, or has bytes that are no UTF-8 outside of what is left out. The error quotes nothing of the object.
pub fn pruned(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Part { levels: Some(LEVELS), ..Part::OBJECT }.deserialize(&mut deserializer);
    value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| DecodeError::of(&error))
}

/// A part of an object, to be decoded without `metadata.managedFields`.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Levels that are kept; all of them where this is `None`, so that the decoder's own limit counts.
    levels: Option<usize>,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Object,
    Metadata,
    Anywhere,
}

impl Part {
    /// All of an object.
    pub(super) const OBJECT: Part = Part { levels: None, place: Place::Object };
    /// All of its `metadata`.
    pub(super) const METADATA: Part = Part { levels: None, place: Place::Metadata };

    fn inside(self, place: Place) -> Part {
        Part { levels: self.levels.map(|levels| levels.saturating_sub(1)), place }
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match (self.levels, self.place) {
            (Some(0), _) => deserializer.deserialize_ignored_any(IgnoredAny).map(|IgnoredAny| Value::Bool(false)),
            // Nothing further down is left out.
            (None, Place::Anywhere) => Value::deserialize(deserializer),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = match (self.place, key.as_str()) {
                (Place::Object, "metadata") => Place::Metadata,
                (Place::Metadata, "managedFields") => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => Place::Anywhere,
            };
            let value = map.next_value_seed(self.inside(place))?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(self.inside(Place::Anywhere))? {
            all.push(element);
        }
        Ok(Value::Array(all))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::object::decode;
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_is_deep_is_left_out_and_the_rest_is_as_it_was() {
        let with = |deep: &str| format!(r#"{{"a":[{deep},{{"b":-7}}],"c":1.5,"d":[true,null,"é",7]}}"#);
        for levels in [98, 99, 126, 200, 100_000] {
            let value = pruned(with(&nested(levels)).as_bytes()).unwrap();
            assert_eq!(value["d"], json!([true, null, "é", 7]), "{levels}");
            assert_eq!((&value["a"][1], &value["c"]), (&json!({"b": -7}), &json!(1.5)));
            assert_eq!(value["a"][0].to_string().matches('[').count(), 98, "{levels}");
        }
        let shallow = with(&nested(97));
        assert_eq!(
            Some(&pruned(shallow.as_bytes()).unwrap()),
            decode(shallow.as_bytes()).ok().as_ref().map(|raw| raw.value())
        );
    }

    #[test]
    fn managed_fields_are_not_looked_into_and_what_is_no_text_is_an_error() {
        let text = |metadata: &[u8], spec: &[u8]| [b"{\"metadata\":{", metadata, b"},\"spec\":", spec, b"}"].concat();
        let value = pruned(&text(b"\"managedFields\":[\"\xff\"],\"name\":\"a\"", b"{\"managedFields\":7}")).unwrap();
        assert_eq!(value, json!({"metadata": {"name": "a"}, "spec": {"managedFields": 7}}));
        for spec in [&b"\"\xff\""[..], b"{\"managedFields\":\"\xff\"}", b"1e999", b"1} {"] {
            assert!(matches!(pruned(&text(b"", spec)), Err(DecodeError::Json { line: 1, .. })));
        }
    }
}
