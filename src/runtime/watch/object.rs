//! The guard type of every watch: any JSON object, never refused, with what nobody needs already dropped.
//!
//! A typed watch decodes a whole page of a list at once, so that a single object with an unexpected field would stop
//! the watch of all of them. [`Raw`] always decodes; what an object means is found out one by one, afterwards.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::{DynamicResourceScope, GroupVersionKind};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Annotation of `kubectl apply`: the whole object once more, of no use here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of any kind as JSON, without `managedFields` and the annotation of `kubectl apply`.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Only what addresses the object and orders its versions: name, namespace, uid, resource version.
    metadata: Box<ObjectMeta>,
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
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Raw { metadata: Box::new(metadata), value }
    }

    /// `metadata.name`; `None` for what is no object of Kubernetes.
    pub fn name(&self) -> Option<&str> {
        self.metadata.name.as_deref().filter(|name| !name.is_empty())
    }

    /// `metadata.namespace`; `None` for objects of the cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Option<&str> {
        self.metadata.uid.as_deref()
    }

    /// `metadata.resourceVersion`: differs whenever the object does.
    pub fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
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
        Value::deserialize(deserializer).map(Raw::new)
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// How the client addresses a kind of the core group, `v1`.
pub fn core_resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural)
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

    #[test]
    fn a_kind_that_is_there_is_not_replaced() {
        let value = Raw::new(json!({"kind": "Pod", "apiVersion": "v1"})).into_value("v2", "Other");
        assert_eq!(value, json!({"kind": "Pod", "apiVersion": "v1"}));
    }
}
