//! An object of any kind as JSON, decoded by itself by one function, [`decode`], wherever it comes from: the page of a
//! list, the line of a watch, a get, a review. So an object decodes everywhere or nowhere.
//!
//! `managedFields` are never looked into: the API server stores them as they were sent, nested to any depth, with bytes
//! that are no UTF-8. What is left can still be nested deeper than serde_json goes; of such an object the parts that decode
//! are kept, see [`Unreadable`].

use std::collections::BTreeMap;

use serde::de::DeserializeSeed;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::cut::{Cursor, CutError};
use super::decode_error::DecodeError;
use super::prune::{Part, pruned};

/// Annotation of `kubectl apply`: the whole object once more, of no use here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of any kind as JSON, without `managedFields` and the annotation of `kubectl apply`.
#[derive(Clone, Debug)]
pub struct Raw {
    address: Address,
    value: Value,
}

impl Raw {
    /// Takes the JSON of one object. Whatever it is, there is a `Raw` of it.
    pub fn new(mut value: Value) -> Raw {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
        let text = |field: &str| {
            value.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).map(str::to_owned)
        };
        let address = Address {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            version: text("resourceVersion"),
        };
        Raw { address, value }
    }

    /// `metadata.name`; `None` for what is no object of Kubernetes.
    pub fn name(&self) -> Option<&str> {
        self.address.name.as_deref().filter(|name| !name.is_empty())
    }

    /// `metadata.namespace`; `None` for objects of the cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.address.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Option<&str> {
        self.address.uid.as_deref()
    }

    /// `metadata.resourceVersion`: differs whenever the object does.
    pub fn version(&self) -> Option<&str> {
        self.address.version.as_deref().filter(|version| !version.is_empty())
    }

    /// `metadata.generation`: counts changes of the spec; only kinds with a status have it.
    pub fn generation(&self) -> Option<i64> {
        self.value.get("metadata")?.get("generation")?.as_i64()
    }

    /// `metadata.labels`; values that are no text are left out.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.text_map("labels")
    }

    /// `metadata.annotations`; values that are no text are left out.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.text_map("annotations")
    }

    /// The object as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The object as JSON, with the `apiVersion` and `kind` that items of a list may lack.
    pub fn into_value(mut self, api_version: &str, kind: &str) -> Value {
        if let Some(object) = self.value.as_object_mut() {
            object.entry("apiVersion").or_insert_with(|| api_version.into());
            object.entry("kind").or_insert_with(|| kind.into());
        }
        self.value
    }

    fn text_map(&self, field: &str) -> BTreeMap<String, String> {
        let map = self.value.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        Part::OBJECT.deserialize(deserializer).map(Raw::new)
    }
}

/// The bytes of one object, decoded; whatever JSON it is, an object of Kubernetes or not.
///
/// # Errors
/// When it is no JSON, has bytes that are no UTF-8, or is nested deeper than serde_json goes (128 levels), outside
/// `metadata.managedFields`. The error quotes nothing of the object.
pub fn decode(bytes: &[u8]) -> Result<Raw, DecodeError> {
    serde_json::from_slice(bytes).map_err(|error| DecodeError::of(&error))
}

/// An object as it came.
#[derive(Clone, Debug)]
pub enum Item {
    /// It decodes.
    Object(Raw),
    /// It is there, and cannot be read.
    Unreadable(Unreadable),
}

/// An object that does not decode.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What of it decodes: all but what is nested too deeply, where nothing else is wrong with it; otherwise of its
    /// members, and of those of its `spec`, each by itself. In the place of what does not stands `false`, which nobody
    /// expects there, so that it counts as what cannot be understood and not as left out.
    pub rest: Raw,
    /// Nothing else is wrong with it than its depth.
    pub too_deep: bool,
    /// Why it does not.
    pub error: DecodeError,
}

impl Item {
    /// The bytes of one object; `None` for what has no name, and so is no object of Kubernetes.
    pub fn decode(bytes: &[u8]) -> Option<Item> {
        let item = match decode(bytes) {
            Ok(raw) => Item::Object(raw),
            Err(error) => Item::Unreadable(match pruned(bytes) {
                Ok(value) => Unreadable { rest: Raw::new(value), too_deep: true, error },
                Err(_) => Unreadable { rest: rest(bytes).ok()?, too_deep: false, error },
            }),
        };
        item.raw().name().is_some().then_some(item)
    }

    /// The object, or what of it decodes: its name and resource version, if nothing else.
    pub fn raw(&self) -> &Raw {
        match self {
            Item::Object(raw) | Item::Unreadable(Unreadable { rest: raw, .. }) => raw,
        }
    }
}

impl From<Raw> for Item {
    fn from(raw: Raw) -> Item {
        Item::Object(raw)
    }
}

/// What decodes of an object that does not as a whole, see [`Unreadable::rest`].
fn rest(bytes: &[u8]) -> Result<Raw, CutError> {
    let part = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Bool(false));
    let address = Address::read(bytes)?;
    let mut members = Map::new();
    each_member(bytes, |key, value| {
        let value = match key {
            "metadata" => {
                let mut deserializer = serde_json::Deserializer::from_slice(value);
                let metadata = Part::METADATA.deserialize(&mut deserializer);
                metadata.unwrap_or_else(|_| address.to_metadata())
            }
            "spec" => {
                let mut parts = Map::new();
                match each_member(value, |key, value| drop(parts.insert(key.to_owned(), part(value)))) {
                    Ok(()) => Value::Object(parts),
                    Err(_) => part(value),
                }
            }
            _ => part(value),
        };
        members.insert(key.to_owned(), value);
    })?;
    Ok(Raw::new(Value::Object(members)))
}

/// Calls `member` with each member of an object; one whose key is not plain text is left out.
fn each_member(bytes: &[u8], mut member: impl FnMut(&str, &[u8])) -> Result<(), CutError> {
    Cursor::new(bytes).object(|key, cursor| -> Result<(), CutError> {
        let value = cursor.value()?;
        if let Ok(key) = std::str::from_utf8(key) {
            member(key, value);
        }
        Ok(())
    })
}

/// What addresses an object and orders its versions, read from one that may not decode.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Address {
    /// `metadata.name`.
    pub name: Option<String>,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub version: Option<String>,
}

impl Address {
    /// Reads the metadata and ignores everything else. A field that is no text is left out.
    ///
    /// # Errors
    /// When this is no JSON object; never for its depth or for bytes that are no UTF-8.
    pub fn read(bytes: &[u8]) -> Result<Address, CutError> {
        let (mut address, mut cursor) = (Address::default(), Cursor::new(bytes));
        cursor.object(|key, cursor| -> Result<(), CutError> {
            let value = cursor.value()?;
            if key != b"metadata" {
                return Ok(());
            }
            // Of several the last counts, as when all of it is decoded.
            address = Address::default();
            if !value.starts_with(b"{") {
                return Ok(());
            }
            Cursor::new(value).object(|key, cursor| -> Result<(), CutError> {
                let field = match key {
                    b"name" => &mut address.name,
                    b"namespace" => &mut address.namespace,
                    b"uid" => &mut address.uid,
                    b"resourceVersion" => &mut address.version,
                    _ => return cursor.value().map(drop),
                };
                *field = serde_json::from_slice(cursor.value()?).ok();
                Ok(())
            })
        })?;
        cursor.end().map(|()| address)
    }

    fn to_metadata(&self) -> Value {
        let Address { name, namespace, uid, version } = self;
        serde_json::json!({"name": name, "namespace": namespace, "uid": uid, "resourceVersion": version})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_json_it_is_it_decodes() {
        for text in ["null", "7", "[]", r#""text""#, r#"{"metadata":"text"}"#, r#"{"metadata":{"name":7,"labels":[]}}"#]
        {
            let raw: Raw = serde_json::from_str(text).unwrap();
            assert_eq!(raw.name(), None, "{text}");
            assert_eq!(raw.namespace(), None, "{text}");
            assert!(raw.labels().is_empty(), "{text}");
        }
    }

    #[test]
    fn managed_fields_and_the_annotation_of_kubectl_are_dropped_the_rest_stays() {
        let raw = Raw::new(json!({
            "metadata": {
                "name": "api", "namespace": "payments", "uid": "u", "resourceVersion": "7", "generation": 3,
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {LAST_APPLIED: "{}", "team": "a", "broken": 7},
                "labels": {"app": "api"}
            },
            "spec": {"x": [1, 2]}
        }));
        assert_eq!((raw.name(), raw.namespace(), raw.uid()), (Some("api"), Some("payments"), Some("u")));
        assert_eq!((raw.version(), raw.generation()), (Some("7"), Some(3)));
        assert_eq!(raw.annotations(), BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        assert_eq!(raw.labels(), BTreeMap::from([("app".to_owned(), "api".to_owned())]));
        let value = raw.into_value("v1", "Thing");
        assert_eq!(value["metadata"].get("managedFields"), None);
        assert_eq!((&value["spec"], &value["kind"]), (&json!({"x": [1, 2]}), &json!("Thing")));
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", r#"{"f:x":"#.repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn managed_fields_are_never_looked_into() {
        for fields in [nested(200).into_bytes(), b"{\"f:\xff\xfe\":\"\xff\"}".to_vec()] {
            let text = [
                &br#"{"kind":"Pod","metadata":{"name":"api","managedFields":[{"fieldsV1":"#[..],
                &fields,
                br#"}],"labels":{"a":"b"}},"spec":{"x":1}}"#,
            ]
            .concat();
            let raw = decode(&text).unwrap();
            assert_eq!(raw.name(), Some("api"));
            assert_eq!(
                raw.value(),
                &json!({"kind": "Pod", "metadata": {"name": "api", "labels": {"a": "b"}}, "spec": {"x": 1}})
            );
        }
    }

    #[test]
    fn what_does_not_decode_is_addressed_all_the_same() {
        let address = Address {
            name: Some("api".to_owned()),
            namespace: Some("payments".to_owned()),
            uid: None,
            version: Some("7".to_owned()),
        };
        for spec in [nested(200).into_bytes(), b"\"\xff\"".to_vec()] {
            let text = [
                &br#"{"spec":"#[..],
                &spec,
                br#","metadata":{"labels":{"name":"no"},"name":"api","namespace":"payments","uid":7,"resourceVersion":"7"}}"#,
            ]
            .concat();
            assert!(matches!(decode(&text), Err(DecodeError::Json { line: 1, .. })), "{:?}", decode(&text));
            assert_eq!(Address::read(&text), Ok(address.clone()));
        }
        assert_eq!(Address::read(br#"{"metadata":"text"}"#), Ok(Address::default()));
        assert!(Address::read(b"[]").is_err());
    }

    #[test]
    fn what_decodes_of_an_object_that_does_not_is_kept() {
        let text = r#"{"kind":"EcrAccessPolicy","metadata":{"name":"api","managedFields":[@],"labels":{"a":"b"},"generation":7},
                "spec":{"onDeny":"Warn","puller":@,"serviceAccounts":{"names":["api"]}},"status":{"pods":{}},"data":@}"#;
        let with = |bad: &[u8]| text.split('@').map(str::as_bytes).collect::<Vec<_>>().join(bad);
        let deep = nested(200).into_bytes();
        let no_text = [b"[\"\xff\",", &*deep, b"]"].concat();
        for (bad, is_too_deep) in [(b"\"\xff\"".to_vec(), false), (no_text, false), (deep, true)] {
            let Some(Item::Unreadable(Unreadable { rest, too_deep, error })) = Item::decode(&with(&bad)) else {
                panic!("it decodes")
            };
            assert!(matches!(error, DecodeError::Json { line: 2, .. }), "{error:?}");
            assert_eq!((rest.name(), rest.generation(), too_deep), (Some("api"), Some(7), is_too_deep));
            assert_eq!(rest.labels(), BTreeMap::from([("a".to_owned(), "b".to_owned())]));
            assert_eq!(rest.value()["status"], json!({"pods": {}}));
            let spec = &rest.value()["spec"];
            assert_eq!((&spec["onDeny"], &spec["serviceAccounts"]), (&json!("Warn"), &json!({"names": ["api"]})));
            assert_eq!((spec["puller"] == json!(false), rest.value()["data"] == json!(false)), (!too_deep, !too_deep));
        }
    }

    #[test]
    fn of_metadata_that_do_not_decode_the_address_is_kept() {
        let text =
            [&br#"{"metadata":{"labels":{"a":""#[..], b"\xff", br#""},"name":"api","resourceVersion":"7"}}"#].concat();
        let Some(Item::Unreadable(Unreadable { rest, .. })) = Item::decode(&text) else { panic!("it decodes") };
        assert_eq!((rest.name(), rest.version(), rest.namespace()), (Some("api"), Some("7"), None));
        assert!(rest.labels().is_empty());
    }

    #[test]
    fn what_has_no_name_is_no_object() {
        for text in ["7", "[]", r#"{"metadata":{"name":""}}"#, r#"{"metadata":{}}"#, "nothing"] {
            assert!(Item::decode(text.as_bytes()).is_none(), "{text}");
        }
        let deep = format!(r#"{{"spec":{}}}"#, nested(200));
        assert!(Item::decode(deep.as_bytes()).is_none());
        assert!(matches!(Item::decode(br#"{"metadata":{"name":"x"}}"#), Some(Item::Object(_))));
    }

    #[test]
    fn an_error_quotes_nothing_of_the_object() {
        let error = decode(br#"{"metadata":{"name":"x"},"spec":{"password":hunter2}}"#).unwrap_err().to_string();
        assert!(error.contains("column") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_kind_that_is_there_is_not_replaced() {
        let value = Raw::new(json!({"kind": "Pod", "apiVersion": "v1"})).into_value("v2", "Other");
        assert_eq!(value, json!({"kind": "Pod", "apiVersion": "v1"}));
    }
}
