//! ConfigMaps that hold policy documents: what is kept of one, and what a reference to one of its keys finds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use iam_verdict::{DocumentError, DocumentErrorKind, Policy};
use serde_json::Value;

use crate::cluster::config_map::{ConfigMapKey, ConfigMapName};
use crate::facts::CauseCode;
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

/// What a verdict may depend on of a ConfigMap: the texts below `data`, each parsed when a policy asks for it and then
/// once for all who ask.
#[derive(Clone, Debug)]
pub struct ConfigMapFacts {
    /// Which one it is.
    pub name: ConfigMapName,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// The resource version it was read at, to tell whether a later read is newer.
    pub resource_version: Option<String>,
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
    parsed: OnceLock<Result<Arc<Policy>, DocumentError>>,
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
                _ => Entry::Text(Arc::new(Stored { text: text.into(), parsed: OnceLock::new() })),
            };
            entries.insert(key.clone(), entry);
        }
        entries.extend(fields("binaryData").map(|(key, _)| (key.clone(), Entry::Binary)));
        let (uid, resource_version) = (text("uid"), text("resourceVersion"));
        Ok(Some(Self { name, uid, resource_version, entries, unreadable: None }))
    }

    /// The ConfigMap, of which this is what could be read: nothing is known of its keys, for the reason `why`.
    #[must_use]
    pub fn unreadable(self, why: String) -> Self {
        Self { entries: BTreeMap::new(), unreadable: Some(why), ..self }
    }

    /// Whether it is certainly the object that `other` was read from, unchanged.
    #[must_use]
    pub fn is_same_version(&self, other: &Self) -> bool {
        self.resource_version.is_some()
            && (&self.name, &self.uid, &self.resource_version) == (&other.name, &other.uid, &other.resource_version)
    }

    /// Takes over what was parsed already of texts that did not change.
    pub(crate) fn inherit(&mut self, before: &Self) {
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

/// A document that was read.
pub(crate) struct Found {
    /// Shared by all who name it.
    pub policy: Arc<Policy>,
    /// As it stands there.
    pub text: Arc<str>,
}

/// Why a document was not read.
pub(crate) enum NotFound {
    /// There is nothing, in words that follow the place where it is named; and what to do.
    Missing {
        /// What is not there.
        why: String,
        /// The way out.
        way_out: String,
    },
    /// There is something, and it is no policy that is read.
    Unread {
        /// What is wrong with the ConfigMap.
        problem: Problem,
        /// The same as a code.
        cause: CauseCode,
    },
}

impl ConfigMaps {
    pub fn get(&self, name: &ConfigMapName) -> Option<&Arc<ConfigMapFacts>> {
        self.0.get(name)
    }

    /// Puts and removes; returns the names of those that differ now.
    pub fn change(&mut self, put: Vec<ConfigMapFacts>, removed: &[ConfigMapName]) -> BTreeSet<ConfigMapName> {
        let mut changed = BTreeSet::new();
        for name in removed.iter().filter(|name| self.0.contains_key(name)) {
            changed.insert(name.clone());
        }
        let put: Vec<ConfigMapFacts> = put
            .into_iter()
            .filter(|facts| self.0.get(&facts.name).is_none_or(|known| !known.is_same_version(facts)))
            .collect();
        if changed.is_empty() && put.is_empty() {
            return changed;
        }
        let maps = Arc::make_mut(&mut self.0);
        for name in &changed {
            maps.remove(name);
        }
        for mut facts in put {
            if let Some(known) = maps.get(&facts.name) {
                facts.inherit(known);
            }
            changed.insert(facts.name.clone());
            maps.insert(facts.name.clone(), Arc::new(facts));
        }
        changed
    }

    /// What a reference finds.
    pub fn document(&self, at: &ConfigMapKey) -> Result<Found, NotFound> {
        let ConfigMapKey { config_map: name, key } = at;
        let (label, value) = POLICY_DOCUMENT_LABEL;
        let Some(facts) = self.0.get(name) else {
            return Err(NotFound::Missing {
                why: format!("there is no ConfigMap {name} with the label {label}={value}"),
                way_out: format!("label the ConfigMap, where it is there: {}", label_command(name)),
            });
        };
        let malformed = |field: &str, message: String| {
            let path = format!("{field}[{}]", Value::from(key.as_str()));
            let problem = Problem::at(&path, message).of(format!("ConfigMap/{name}"));
            Err(NotFound::Unread { problem, cause: CauseCode::DocumentMalformed })
        };
        if let Some(why) = &facts.unreadable {
            return Err(NotFound::Missing {
                why: format!("of ConfigMap {name} nothing is known: {why}"),
                way_out: format!("write ConfigMap {name} anew"),
            });
        }
        match facts.entries.get(key) {
            None => Err(NotFound::Missing {
                why: format!("ConfigMap {name} has no key `{key}`: {}", facts.keys()),
                way_out: format!("add the key {key} to ConfigMap {name}, or name another one in configMapKeyRef"),
            }),
            Some(Entry::Binary) => malformed(
                "binaryData",
                "is not read: a policy document is text below `data` (a file that is no UTF-8 becomes binaryData)"
                    .to_owned(),
            ),
            Some(Entry::TooLong(length)) => {
                malformed("data", format!("is {length} characters long; a document has at most {DOCUMENT_LENGTH}"))
            }
            Some(Entry::Text(stored)) => {
                let parsed = stored.parsed.get_or_init(|| Policy::parse(&stored.text).map(Arc::new));
                match parsed {
                    Ok(policy) => Ok(Found { policy: Arc::clone(policy), text: Arc::clone(&stored.text) }),
                    Err(error) => {
                        let place = format!("data[{}]", Value::from(key.as_str()));
                        let problem = document_problem(&place, error).of(format!("ConfigMap/{name}"));
                        let cause = match error.kind {
                            DocumentErrorKind::TooDeep => CauseCode::DocumentTooDeep,
                            _ => CauseCode::DocumentMalformed,
                        };
                        Err(NotFound::Unread { problem, cause })
                    }
                }
            }
        }
    }
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
        match maps.document(&at(key)) {
            Ok(found) => found.text.to_string(),
            Err(NotFound::Missing { why, way_out }) => format!("{why} / {way_out}"),
            Err(NotFound::Unread { problem, .. }) => problem.to_string(),
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
        maps.change(vec![facts("1", Value::Object(many))], &[]);
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
        maps.change(vec![facts("2", json!({"long": long, "cut": "{", "app.json": broken.to_string()}))], &[]);
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
        maps.change(
            vec![facts("3", json!({"app.json": good()})).unreadable("it is nested too deeply".to_owned())],
            &[],
        );
        assert_eq!(
            said(&maps, "app.json"),
            "of ConfigMap shop/iam nothing is known: it is nested too deeply / write ConfigMap shop/iam anew"
        );
    }

    #[test]
    fn a_text_is_parsed_once_however_often_the_object_around_it_changes() {
        let mut maps = ConfigMaps::default();
        let changed = maps.change(vec![facts("1", json!({"a": good(), "b": "{"}))], &[]);
        assert_eq!(changed, BTreeSet::from([name()]));
        let before = maps.document(&at("a")).ok().unwrap().policy;
        assert!(maps.change(vec![facts("1", json!({"a": "{"}))], &[]).is_empty(), "the same version");
        assert_eq!(maps.change(vec![facts("2", json!({"a": good(), "b": good()}))], &[]).len(), 1);
        assert!(Arc::ptr_eq(&before, &maps.document(&at("a")).ok().unwrap().policy));
        assert_eq!(said(&maps, "b"), good());
        maps.change(vec![facts("3", json!({"a": good().replace(':', ": ")}))], &[]);
        assert!(!Arc::ptr_eq(&before, &maps.document(&at("a")).ok().unwrap().policy));
        assert_eq!(maps.change(vec![], &[name(), name()]).len(), 1);
        assert!(maps.change(vec![], &[name()]).is_empty());
    }
}
