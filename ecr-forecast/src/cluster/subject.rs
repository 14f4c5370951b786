//! What is judged: a pod, or the pod template of a workload, reduced to what pulls depend on.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::placement::Placement;
use crate::cluster::workload_kind::WorkloadKind;

/// A pod or a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `Pod`, `Deployment`, …
    pub kind: String,
    /// The namespace; `default` where the object names none. A review knows better and may overwrite it.
    pub namespace: String,
    /// The name; of an object that is still to be named, its `generateName` with a `*`.
    pub name: String,
    /// The service account; `default` where the pod names none.
    pub service_account: String,
    /// Every image, in the order containers, init containers, ephemeral containers, volumes.
    pub images: Vec<ImageUse>,
    /// The names of the image pull secrets that the pod itself names.
    pub pull_secrets: Vec<String>,
    /// Which nodes it can run on.
    pub placement: Placement,
    /// The pod mirrors a static pod: the kubelet runs it whatever the API server says.
    pub mirror: bool,
    /// The pod template of a workload: never rejected, its Deny is a warning.
    pub template: bool,
}

/// What uses an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerKind {
    /// A container.
    #[default]
    Container,
    /// An init container.
    InitContainer,
    /// An ephemeral container.
    EphemeralContainer,
    /// An image volume.
    Volume,
}

impl ContainerKind {
    /// As messages call it: `init container`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::InitContainer => "init container",
            Self::EphemeralContainer => "ephemeral container",
            Self::Volume => "volume",
        }
    }
}

/// One image of a pod and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUse {
    /// What uses it.
    pub kind: ContainerKind,
    /// The field that holds it, as a path from the object: `spec.containers[0].image`.
    pub field: String,
    /// The name of the container or volume.
    pub container: String,
    /// The image reference as written.
    pub image: String,
    /// The pull policy is `Never`.
    pub never: bool,
}

/// Why an object cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// A field has another type than the API's.
    #[error("`{field}` must be {expected}")]
    Type {
        /// The field's path.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// The lists of a pod spec that hold containers.
const CONTAINER_LISTS: [(&str, ContainerKind); 3] = [
    ("containers", ContainerKind::Container),
    ("initContainers", ContainerKind::InitContainer),
    ("ephemeralContainers", ContainerKind::EphemeralContainer),
];

impl Subject {
    /// Reads a Pod. Fields that pulls do not depend on are not looked at.
    ///
    /// # Errors
    /// When a field that is looked at has another type than the API's.
    pub fn from_pod(pod: &Value) -> Result<Self, SubjectError> {
        let mut subject = Self::from_template(pod, "Pod", pod, "")?;
        let mirror = pod.pointer("/metadata/annotations").and_then(|a| a.get("kubernetes.io/config.mirror"));
        subject.mirror = mirror.is_some();
        Ok(subject)
    }

    /// Reads a workload with a pod template, of one of [`WorkloadKind::ALL`]. None for every other kind.
    ///
    /// # Errors
    /// When a field that is looked at has another type than the API's.
    pub fn from_workload(object: &Value) -> Result<Option<Self>, SubjectError> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let Some(path) = WorkloadKind::from_name(kind).map(WorkloadKind::template) else { return Ok(None) };
        let mut template = object;
        let mut prefix = String::new();
        for step in path {
            let field = format!("{prefix}{step}");
            let Some(next) = template.get(step).filter(|value| !value.is_null()) else {
                // A ReplicationController may have no template; then it makes no pods of its own.
                return Ok(Some(Self { template: true, ..Self::named(object, kind) }));
            };
            if !next.is_object() {
                return Err(SubjectError::Type { field, expected: "an object" });
            }
            template = next;
            prefix = format!("{field}.");
        }
        let mut subject = Self::from_template(object, kind, template, &prefix)?;
        subject.template = true;
        Ok(Some(subject))
    }

    /// What an update from `old` leaves to be judged: the images that `old` lacks, wherever it has the others.
    ///
    /// The pods of a template are new ones and pull all of its images. So every image is judged where the service
    /// account, the image pull secrets or the nodes are others, and one that was never pulled counts as new.
    #[must_use]
    pub fn changed_since(mut self, old: &Self) -> Self {
        if self.template
            && (&self.service_account, &self.pull_secrets, &self.placement)
                != (&old.service_account, &old.pull_secrets, &old.placement)
        {
            return self;
        }
        let pulled = |used: &&ImageUse| !(self.template && used.never);
        let known: BTreeSet<&str> = old.images.iter().filter(pulled).map(|used| used.image.as_str()).collect();
        self.images.retain(|used| !known.contains(used.image.as_str()));
        self
    }

    fn named(object: &Value, kind: &str) -> Self {
        let metadata = |field: &str| {
            let value = object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
            value.filter(|text| !text.is_empty())
        };
        Self {
            kind: kind.to_owned(),
            namespace: metadata("namespace").unwrap_or("default").to_owned(),
            name: match (metadata("name"), metadata("generateName")) {
                (Some(name), _) => name.to_owned(),
                (None, Some(prefix)) => format!("{prefix}*"),
                (None, None) => String::new(),
            },
            service_account: "default".to_owned(),
            ..Self::default()
        }
    }

    fn from_template(object: &Value, kind: &str, template: &Value, prefix: &str) -> Result<Self, SubjectError> {
        let mut subject = Self::named(object, kind);
        let prefix = format!("{prefix}spec");
        let null = Value::Null;
        let spec = template.get("spec").unwrap_or(&null);
        if !(spec.is_object() || spec.is_null()) {
            return Err(SubjectError::Type { field: prefix, expected: "an object" });
        }
        // `serviceAccount` is the deprecated name of the same field, which the API server keeps equal.
        let account = text(spec, "serviceAccountName", &prefix)?.filter(|name| !name.is_empty());
        let account = match account {
            Some(name) => Some(name),
            None => text(spec, "serviceAccount", &prefix)?.filter(|name| !name.is_empty()),
        };
        if let Some(name) = account {
            subject.service_account = name.to_owned();
        }
        subject.placement = Placement::of(spec);
        let secrets = list(spec, "imagePullSecrets", &prefix)?.iter().enumerate();
        subject.pull_secrets = secrets
            .map(|(index, secret)| {
                let name = text(secret, "name", &format!("{prefix}.imagePullSecrets[{index}]"))?;
                Ok(name.unwrap_or_default().to_owned())
            })
            .collect::<Result<_, _>>()?;
        for (name, kind) in CONTAINER_LISTS {
            for (index, container) in list(spec, name, &prefix)?.iter().enumerate() {
                let path = format!("{prefix}.{name}[{index}]");
                subject.add(kind, container, container, ("imagePullPolicy", "image"), (&path, &path))?;
            }
        }
        for (index, volume) in list(spec, "volumes", &prefix)?.iter().enumerate() {
            let Some(image) = volume.get("image").filter(|image| !image.is_null()) else { continue };
            let path = format!("{prefix}.volumes[{index}]");
            let within = format!("{path}.image");
            subject.add(ContainerKind::Volume, volume, image, ("pullPolicy", "reference"), (&path, &within))?;
        }
        Ok(subject)
    }

    /// Adds what `holder` says in these two fields; `named`, at the first of the paths, has the name.
    fn add(
        &mut self,
        kind: ContainerKind,
        named: &Value,
        holder: &Value,
        (pull_policy, field): (&str, &str),
        (named_path, path): (&str, &str),
    ) -> Result<(), SubjectError> {
        let image = text(holder, field, path)?.unwrap_or_default();
        if image.is_empty() {
            // In a template a mutating webhook may still fill it in; in a pod the API server refuses it.
            return Ok(());
        }
        self.images.push(ImageUse {
            kind,
            field: format!("{path}.{field}"),
            container: text(named, "name", named_path)?.unwrap_or_default().to_owned(),
            image: image.to_owned(),
            never: text(holder, pull_policy, path)? == Some("Never"),
        });
        Ok(())
    }
}

fn text<'a>(object: &'a Value, field: &str, path: &str) -> Result<Option<&'a str>, SubjectError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SubjectError::Type { field: format!("{path}.{field}"), expected: "a string" }),
    }
}

fn list<'a>(object: &'a Value, field: &str, path: &str) -> Result<&'a [Value], SubjectError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(SubjectError::Type { field: format!("{path}.{field}"), expected: "a list" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({
            "metadata": {"namespace": "payments", "name": "api-0"},
            "spec": {
                "serviceAccountName": "api",
                "initContainers": [{"name": "init", "image": "i/i"}],
                "containers": [
                    {"name": "app", "image": "a/a", "imagePullPolicy": "Never"},
                    {"name": "side", "image": "b/b", "imagePullPolicy": "Always"}],
                "ephemeralContainers": [{"name": "debug", "image": "e/e"}],
                "volumes": [
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "data", "image": {"reference": "v/v", "pullPolicy": "Never"}}],
                "imagePullSecrets": [{"name": "s"}],
            }
        })
    }

    #[test]
    fn finds_images_in_all_four_places() {
        let subject = Subject::from_pod(&pod()).unwrap();
        assert_eq!(
            (subject.kind.as_str(), subject.namespace.as_str(), subject.name.as_str()),
            ("Pod", "payments", "api-0")
        );
        assert_eq!(subject.service_account, "api");
        assert_eq!(subject.pull_secrets, ["s"]);
        assert!(!subject.mirror && !subject.template);
        let images: Vec<_> = subject
            .images
            .iter()
            .map(|i| (i.field.as_str(), i.kind.as_str(), i.container.as_str(), i.image.as_str(), i.never))
            .collect();
        assert_eq!(
            images,
            [
                ("spec.containers[0].image", "container", "app", "a/a", true),
                ("spec.containers[1].image", "container", "side", "b/b", false),
                ("spec.initContainers[0].image", "init container", "init", "i/i", false),
                ("spec.ephemeralContainers[0].image", "ephemeral container", "debug", "e/e", false),
                ("spec.volumes[1].image.reference", "volume", "data", "v/v", true),
            ]
        );
    }

    #[test]
    fn fills_in_what_the_api_server_would() {
        let subject = Subject::from_pod(&json!({"metadata": {"generateName": "api-"}, "spec": {}})).unwrap();
        assert_eq!((subject.namespace.as_str(), subject.name.as_str()), ("default", "api-*"));
        assert_eq!(subject.service_account, "default");
        let subject = Subject::from_pod(&json!({"spec": {"serviceAccountName": "", "serviceAccount": "old"}})).unwrap();
        assert_eq!(subject.service_account, "old");
        let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
        assert!(Subject::from_pod(&mirror).unwrap().mirror);
    }

    #[test]
    fn says_which_field_is_wrong() {
        for (spec, field) in [
            (json!(1), "spec"),
            (json!({"containers": {}}), "spec.containers"),
            (json!({"containers": [{"image": 1}]}), "spec.containers[0].image"),
            (json!({"containers": [{"image": "a", "name": 1}]}), "spec.containers[0].name"),
            (json!({"volumes": [{"image": {"reference": []}}]}), "spec.volumes[0].image.reference"),
            (json!({"serviceAccountName": 1}), "spec.serviceAccountName"),
        ] {
            let error = Subject::from_pod(&json!({"spec": spec})).unwrap_err();
            assert!(matches!(&error, SubjectError::Type { field: found, .. } if found == field), "{error}");
        }
    }

    #[test]
    fn an_update_is_judged_by_its_new_images() {
        let mut new = pod();
        new["spec"]["containers"][1]["image"] = json!("new/new");
        // An image that moves to another container is not new.
        new["spec"]["containers"][0]["image"] = json!("e/e");
        let new = Subject::from_pod(&new).unwrap().changed_since(&Subject::from_pod(&pod()).unwrap());
        let images: Vec<&str> = new.images.iter().map(|used| used.image.as_str()).collect();
        assert_eq!(images, ["new/new"]);
    }

    #[test]
    fn a_template_is_judged_anew_when_its_pods_pull_as_somebody_else() {
        let template = |change: &dyn Fn(&mut Value)| {
            let mut spec = pod()["spec"].clone();
            change(&mut spec);
            Subject::from_workload(&json!({"kind": "Deployment", "spec": {"template": {"spec": spec}}}))
                .unwrap()
                .unwrap()
        };
        let left = |change: &dyn Fn(&mut Value)| {
            let left = template(change).changed_since(&template(&|_| {})).images;
            left.into_iter().map(|used| used.image).collect::<Vec<_>>()
        };
        assert_eq!(left(&|_| {}), ["a/a", "v/v"], "nobody has shown that what was never pulled can be");
        assert_eq!(left(&|spec| spec["containers"][1]["image"] = json!("new/new")), ["a/a", "new/new", "v/v"]);
        let all = ["a/a", "b/b", "i/i", "e/e", "v/v"];
        assert_eq!(left(&|spec| spec["serviceAccountName"] = json!("other")), all);
        assert_eq!(left(&|spec| spec["imagePullSecrets"] = json!([{"name": "t"}])), all);
        assert_eq!(left(&|spec| spec["imagePullSecrets"] = json!(null)), all);
        // A pod stays who it is, and an image that it names is on its node.
        let mut other = pod();
        other["spec"]["serviceAccountName"] = json!("other");
        let other = Subject::from_pod(&other).unwrap().changed_since(&Subject::from_pod(&pod()).unwrap());
        assert!(other.images.is_empty());
    }

    #[test]
    fn workloads_have_full_paths() {
        let spec = pod()["spec"].clone();
        for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"] {
            let object = json!({"kind": kind, "metadata": {"name": "w", "namespace": "n"}, "spec": {"template": {"spec": spec}}});
            let subject = Subject::from_workload(&object).unwrap().unwrap();
            assert_eq!(subject.images[0].field, "spec.template.spec.containers[0].image");
            assert!(subject.template && subject.kind == kind && subject.service_account == "api");
        }
        let cron = json!({"kind": "CronJob", "metadata": {"name": "w"},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}});
        let subject = Subject::from_workload(&cron).unwrap().unwrap();
        assert_eq!(subject.images[4].field, "spec.jobTemplate.spec.template.spec.volumes[1].image.reference");
        assert_eq!(Subject::from_workload(&json!({"kind": "Service"})), Ok(None));
        let empty = Subject::from_workload(&json!({"kind": "ReplicationController", "spec": {}})).unwrap().unwrap();
        assert!(empty.template && empty.images.is_empty());
        assert!(Subject::from_workload(&json!({"kind": "Job", "spec": {"template": 1}})).is_err());
    }
}
