//! ConfigMaps that hold policy documents: what is kept of one, and what a reference to one of its keys finds.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use iam_verdict::{DocumentError, DocumentErrorKind, Policy};
use serde_json::Value;

use crate::cluster::config_map::{ConfigMapKey, ConfigMapName};
use crate::facts::declared::PolicyDocument;
use crate::facts::{AsOf, CauseCode, Known, Unread, Version};
use crate::policy::POLICY_DOCUMENT_LABEL;
use crate::policy::compiled::problem::{InventoryError, Problem, document_problem};
use crate::policy::parts::DOCUMENT_LENGTH;

/// Keys of a ConfigMap that a message names; more are counted.
const MAX_NAMED: usize = 5;

/// Whether a ConfigMap carries the label without which it counts as not there.
#[must_use]
pub(crate) fn is_labelled(object: &Value) -> bool {
    let (label, value) = POLICY_DOCUMENT_LABEL;
    let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
    labels.and_then(|labels| labels.get(label)).and_then(Value::as_str) == Some(value)
}

/// What lets a ConfigMap be read: the command that labels it.
#[must_use]
pub fn label_command(name: &ConfigMapName) -> String {
    let (label, value) = POLICY_DOCUMENT_LABEL;
    format!("kubectl label configmap -n {} {} {label}={value}", name.namespace, name.name)
}

/// What a verdict may depend on of a ConfigMap: the texts below `data`, each compiled when a verdict first rests on it
/// and then once for all.
#[derive(Clone, Debug)]
pub struct ConfigMapFacts {
    /// Which one it is.
    pub name: ConfigMapName,
    /// The state of the object that it was read in; none in a file.
    pub as_of: Option<Arc<Version>>,
    entries: BTreeMap<String, Entry>,
    /// Why it cannot be read.
    unreadable: Option<String>,
}

/// What stands under a key.
#[derive(Clone, Debug)]
enum Entry {
    Text(Arc<Stored>),
    /// In `binaryData`, which is not kept.
    Binary,
    /// A text of so many characters, which is more than any document has and is not kept.
    TooLong(usize),
}

#[derive(Debug)]
struct Stored {
    text: Arc<str>,
    /// With the first look: of what no policy names, however much a tenant labels, no more than the text is kept.
    compiled: OnceLock<Result<Arc<Policy>, DocumentError>>,
}

impl ConfigMapFacts {
    /// Reads a ConfigMap object; `None` for one without the label, which counts as not there.
    ///
    /// # Errors
    /// When `metadata.name` is missing.
    pub fn from_json(object: &Value) -> Result<Option<Self>, InventoryError> {
        let metadata = object.get("metadata");
        let text = |field: &str| {
            let text = metadata.and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let name = ConfigMapName {
            namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
            name: text("name").ok_or(InventoryError::NoName)?,
        };
        if !is_labelled(object) {
            return Ok(None);
        }
        let fields = |field: &str| object.get(field).and_then(Value::as_object).into_iter().flatten();
        let most = usize::try_from(DOCUMENT_LENGTH).unwrap_or(usize::MAX);
        let mut entries = BTreeMap::new();
        for (key, value) in fields("data") {
            let Some(text) = value.as_str() else { continue };
            let entry = match text.chars().count() {
                length if length > most => Entry::TooLong(length),
                _ => Entry::Text(Arc::new(Stored { text: text.into(), compiled: OnceLock::new() })),
            };
            entries.insert(key.clone(), entry);
        }
        entries.extend(fields("binaryData").map(|(key, _)| (key.clone(), Entry::Binary)));
        let version = |resource_version| Arc::new(Version { uid: text("uid"), resource_version });
        Ok(Some(Self { name, as_of: text("resourceVersion").map(version), entries, unreadable: None }))
    }

    /// The ConfigMap, of which this is what could be read: nothing is known of its keys, for the reason `why`.
    #[must_use]
    pub fn unreadable(self, why: String) -> Self {
        Self { entries: BTreeMap::new(), unreadable: Some(why), ..self }
    }

    /// Whether it is certainly the object that `other` was read from, unchanged.
    fn is_same_version(&self, other: &Self) -> bool {
        self.as_of.is_some() && (&self.name, &self.as_of) == (&other.name, &other.as_of)
    }

    /// Takes over what was compiled already of texts that did not change.
    fn inherit(&mut self, before: &Self) {
        for (key, entry) in &mut self.entries {
            if let (Entry::Text(now), Some(Entry::Text(then))) = (&*entry, before.entries.get(key))
                && now.text == then.text
            {
                *entry = Entry::Text(Arc::clone(then));
            }
        }
    }

    /// The text under a key, where there is one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.entries.get(key)? {
            Entry::Text(stored) => Some(&stored.text),
            Entry::Binary | Entry::TooLong(_) => None,
        }
    }

    fn keys(&self) -> String {
        let named: Vec<String> = self.entries.keys().take(MAX_NAMED).map(|key| format!("`{key}`")).collect();
        match (named.as_slice(), self.entries.len().saturating_sub(MAX_NAMED)) {
            ([], _) => "it is empty".to_owned(),
            (named, 0) => format!("it has {}", named.join(", ")),
            (named, more) => format!("it has {} and {more} more", named.join(", ")),
        }
    }
}

/// The ConfigMaps that were seen, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigMaps(Arc<BTreeMap<ConfigMapName, Arc<ConfigMapFacts>>>);

impl ConfigMaps {
    pub fn get(&self, name: &ConfigMapName) -> Option<&Arc<ConfigMapFacts>> {
        self.0.get(name)
    }

    /// Adds one, or replaces the one of the same name. `false` where that is there already, in the same version.
    pub fn put(&mut self, mut facts: ConfigMapFacts) -> bool {
        let known = self.0.get(&facts.name);
        if known.is_some_and(|known| known.is_same_version(&facts)) {
            return false;
        }
        if let Some(known) = known {
            facts.inherit(known);
        }
        Arc::make_mut(&mut self.0).insert(facts.name.clone(), Arc::new(facts));
        true
    }

    /// Removes one. `false` where it is not there.
    pub fn remove(&mut self, name: &ConfigMapName) -> bool {
        self.0.contains_key(name) && Arc::make_mut(&mut self.0).remove(name).is_some()
    }

    /// What stands under a key.
    pub fn document(&self, at: &ConfigMapKey) -> Known<PolicyDocument> {
        let facts = self.0.get(&at.config_map);
        let value = match facts {
            Some(facts) => facts.document(at),
            None => {
                let (label, value) = POLICY_DOCUMENT_LABEL;
                let name = &at.config_map;
                missing(
                    format!("there is no ConfigMap {name} with the label {label}={value}"),
                    format!("label the ConfigMap, where it is there: {}", label_command(name)),
                )
            }
        };
        Known { value, from: at.clone(), as_of: facts.and_then(|facts| facts.as_of.clone()).map(AsOf::Version) }
    }
}

impl ConfigMapFacts {
    fn document(&self, at: &ConfigMapKey) -> Result<PolicyDocument, Unread> {
        let ConfigMapKey { config_map: name, key } = at;
        let wrong = |cause: CauseCode, path: String, why: String| {
            Err(Unread { wrong: Some((cause, path)), why, way_out: format!("correct key {key} of ConfigMap {name}") })
        };
        let malformed = |field: &str, why: String| {
            wrong(CauseCode::DocumentMalformed, format!("$.{field}[{}]", Value::from(key.as_str())), why)
        };
        if let Some(why) = &self.unreadable {
            return missing(
                format!("of ConfigMap {name} nothing is known: {why}"),
                format!("write ConfigMap {name} anew"),
            );
        }
        match self.entries.get(key) {
            None => missing(
                format!("ConfigMap {name} has no key `{key}`: {}", self.keys()),
                format!("add the key {key} to ConfigMap {name}, or name another one in configMapKeyRef"),
            ),
            Some(Entry::Binary) => malformed(
                "binaryData",
                "is not read: a policy document is text below `data` (a file that is no UTF-8 becomes binaryData)"
                    .to_owned(),
            ),
            Some(Entry::TooLong(length)) => {
                malformed("data", format!("is {length} characters long; a document has at most {DOCUMENT_LENGTH}"))
            }
            Some(Entry::Text(stored)) => {
                let compiled = stored.compiled.get_or_init(|| Policy::parse(&stored.text).map(Arc::new));
                match compiled {
                    Ok(policy) => Ok(PolicyDocument { policy: Arc::clone(policy), text: Arc::clone(&stored.text) }),
                    Err(error) => {
                        let place = format!("data[{}]", Value::from(key.as_str()));
                        let Problem { path, message, .. } = document_problem(&place, error);
                        let cause = match error.kind {
                            DocumentErrorKind::TooDeep => CauseCode::DocumentTooDeep,
                            _ => CauseCode::DocumentMalformed,
                        };
                        wrong(cause, path, message)
                    }
                }
            }
        }
    }
}

/// That there is nothing, in words that follow the place where it is named; and what to do.
const fn missing<T>(why: String, way_out: String) -> Result<T, Unread> {
    Err(Unread { wrong: None, why, way_out })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(version: &str, data: Value) -> ConfigMapFacts {
        let object = json!({
            "metadata": {"name": "iam", "namespace": "shop", "uid": "u", "resourceVersion": version,
                "labels": {"ecraccess.dev/policy-document": "true"}},
            "data": data, "binaryData": {"logo.png": "AAAA"}
        });
        ConfigMapFacts::from_json(&object).unwrap().unwrap()
    }

    fn name() -> ConfigMapName {
        ConfigMapName { namespace: "shop".to_owned(), name: "iam".to_owned() }
    }

    fn at(key: &str) -> ConfigMapKey {
        ConfigMapKey { config_map: name(), key: key.to_owned() }
    }

    fn good() -> String {
        json!({"Version": "2012-10-17", "Statement": []}).to_string()
    }

    fn said(maps: &ConfigMaps, key: &str) -> String {
        let known = maps.document(&at(key));
        match (Problem::in_config_map(&known), known.value) {
            (Some(problem), _) => problem.to_string(),
            (None, Ok(found)) => found.text.to_string(),
            (None, Err(Unread { why, way_out, .. })) => format!("{why} / {way_out}"),
        }
    }

    #[test]
    fn only_a_config_map_with_the_label_is_one() {
        for labels in [json!(null), json!({}), json!({"ecraccess.dev/policy-document": "yes"}), json!("true")] {
            let object = json!({"metadata": {"name": "iam", "labels": labels}, "data": {"a": "{}"}});
            assert!(ConfigMapFacts::from_json(&object).unwrap().is_none(), "{object}");
        }
        assert!(ConfigMapFacts::from_json(&json!({"metadata": {}})).is_err());
    }

    #[test]
    fn what_is_not_found_says_the_way_out() {
        let mut maps = ConfigMaps::default();
        assert_eq!(
            said(&maps, "app.json"),
            "there is no ConfigMap shop/iam with the label ecraccess.dev/policy-document=true / label the ConfigMap, where \
             it is there: kubectl label configmap -n shop iam ecraccess.dev/policy-document=true"
        );
        let many: serde_json::Map<String, Value> = (0..7).map(|n| (format!("{n}.json"), json!(good()))).collect();
        maps.put(facts("1", Value::Object(many)));
        assert_eq!(
            said(&maps, "app.json"),
            "ConfigMap shop/iam has no key `app.json`: it has `0.json`, `1.json`, `2.json`, `3.json`, `4.json` and 3 more / \
             add the key app.json to ConfigMap shop/iam, or name another one in configMapKeyRef"
        );
        assert_eq!(said(&maps, "3.json"), good());
        assert_eq!(
            said(&maps, "logo.png"),
            "ConfigMap/shop/iam `$.binaryData[\"logo.png\"]`: is not read: a policy document is text below `data` (a file \
             that is no UTF-8 becomes binaryData)"
        );
        let long = "x".repeat(65_537);
        let broken =
            json!({"Version": "2012-10-17", "Statement": [{"Effect": "Alow", "Action": "*", "Resource": "*"}]});
        maps.put(facts("2", json!({"long": long, "cut": "{", "app.json": broken.to_string()})));
        assert_eq!(
            said(&maps, "long"),
            "ConfigMap/shop/iam `$.data[\"long\"]`: is 65537 characters long; a document has at most 65536"
        );
        assert!(said(&maps, "cut").contains("`$.data[\"cut\"]`: not JSON: "), "{}", said(&maps, "cut"));
        assert!(said(&maps, "cut").contains("at line 1 column"), "{}", said(&maps, "cut"));
        assert!(
            said(&maps, "app.json")
                .starts_with("ConfigMap/shop/iam `$.data[\"app.json\"].Statement[0].Effect`: `Alow`")
        );
        maps.put(facts("3", json!({"app.json": good()})).unreadable("it is nested too deeply".to_owned()));
        assert_eq!(
            said(&maps, "app.json"),
            "of ConfigMap shop/iam nothing is known: it is nested too deeply / write ConfigMap shop/iam anew"
        );
    }

    #[test]
    fn a_text_is_compiled_once_however_often_the_object_around_it_changes() {
        let mut maps = ConfigMaps::default();
        let policy = |maps: &ConfigMaps| maps.document(&at("a")).value.unwrap().policy;
        assert!(maps.put(facts("1", json!({"a": good(), "b": "{"}))));
        let before = policy(&maps);
        assert!(!maps.put(facts("1", json!({"a": "{"}))), "the same version");
        assert!(maps.put(facts("2", json!({"a": good(), "b": good()}))));
        assert!(Arc::ptr_eq(&before, &policy(&maps)));
        assert_eq!(said(&maps, "b"), good());
        maps.put(facts("3", json!({"a": good().replace(':', ": ")})));
        assert!(!Arc::ptr_eq(&before, &policy(&maps)));
        assert!(maps.remove(&name()));
        assert!(!maps.remove(&name()));
    }

    #[test]
    fn what_nobody_asks_for_is_not_compiled() {
        let mut maps = ConfigMaps::default();
        maps.put(facts("1", json!({"a": good(), "b": good()})));
        maps.document(&at("a")).value.unwrap();
        let compiled = |key: &str| match &maps.get(&name()).unwrap().entries[key] {
            Entry::Text(stored) => stored.compiled.get().is_some(),
            other => panic!("{other:?}"),
        };
        assert_eq!((compiled("a"), compiled("b")), (true, false));
    }
}
