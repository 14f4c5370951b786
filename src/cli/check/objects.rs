//! From the objects of the input to the inventory and to what is judged on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ecr_forecast::cluster::config_map::ConfigMapName;
use ecr_forecast::cluster::{Subject, SubjectError, WorkloadKind};
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::policy::check::{self, CheckResult};
use ecr_forecast::policy::compiled::{ConfigMapFacts, PolicyObject, label_command};
use ecr_forecast::policy::{self, API_VERSION, POLICY_DOCUMENT_LABEL};
use ecr_forecast::text::{Unit, cut};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::api::{self, GROUP};

use super::origin::Origin;
use super::problems::{ByObject, CheckProblem, Firsts, LONGEST, Problems};
use super::read::Loaded;
use super::report::SkippedObject;

/// Everything that was understood of the input.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What verdicts depend on.
    pub inventory: Inventory,
    /// Pods and workloads, in the order of the input.
    pub subjects: Vec<Subject>,
    /// What a person should know and what is no error, such as an object that is given twice.
    pub notes: Firsts<String>,
    /// Objects with containers that were not judged.
    pub skipped: Firsts<SkippedObject>,
    /// How many objects of the kinds that matter here there were.
    pub objects: usize,
    /// ConfigMaps without the label of policy documents, as `ConfigMap/namespace/name`.
    unlabelled: BTreeSet<String>,
}

/// Sorts the input into an inventory and subjects. Objects without a namespace are in `namespace`.
///
/// Kinds that have no part in a pull are left aside without a word. An object that is given twice counts as the last
/// one given, as with `kubectl apply`.
pub fn gather(loaded: Vec<Loaded>, namespace: &str, at: Timestamp, problems: &mut Problems) -> Gathered {
    let mut found = Vec::new();
    for Loaded { origin, value } in loaded {
        flatten(origin, value, None, &mut found);
    }
    // Problems are told in the order of the input, so each is found with the number of its object.
    let mut numbered = ByObject::default();
    let mut at_hand = Problems::default();
    let (mut known, mut skipped) = (Vec::new(), Firsts::default());
    for (number, entry) in found.into_iter().enumerate() {
        match entry {
            Ok((origin, value)) => match identify(origin, value, namespace, &mut at_hand) {
                Identified::Known(object) => known.push((number, *object)),
                Identified::Skipped(object) => skipped.push(object),
                Identified::Nothing => {}
            },
            Err(problem) => at_hand.push(problem),
        }
        numbered.take(number, std::mem::take(&mut at_hand));
    }

    let mut gathered = Gathered { objects: known.len(), skipped, ..Gathered::default() };
    let mut last: HashMap<String, (usize, Origin)> = HashMap::new();
    for (number, object) in &known {
        let Some(reference) = object.reference() else { continue };
        let told = object.shown();
        if let Some((_, first)) = last.insert(reference, (*number, object.origin.clone())) {
            let second = &object.origin;
            let note = || format!("{told} is given twice: the one in {second} replaces the one in {first}");
            gathered.notes.push_with(note);
        }
    }
    // What is wrong with a document in a ConfigMap shows when a policy names it.
    let (config_maps, others): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|(_, object)| object.kind == Kind::ConfigMap);
    let mut of_config_maps = BTreeSet::new();
    for (number, object) in config_maps.into_iter().chain(others) {
        let latest = object.reference().and_then(|reference| last.get(&reference).map(|(latest, _)| *latest));
        if latest.is_none_or(|latest| latest == number) {
            of_config_maps.extend(take(object, at, &mut gathered, &mut at_hand));
            numbered.take(number, std::mem::take(&mut at_hand));
        }
    }
    for InConfigMap { reference, path, message } in of_config_maps {
        if let Some((number, origin)) = last.get(&reference) {
            let mut problem = Problems::default();
            problem.push(CheckProblem::new(origin, Some(&reference), &path, &message));
            numbered.take(*number, problem);
        }
    }
    let notes = unlabelled(&gathered, &last);
    gathered.notes.append(notes);
    problems.append(numbered.finish());
    gathered
}

/// Something that is wrong with a ConfigMap, seen from a policy that names it.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct InConfigMap {
    reference: String,
    path: String,
    message: String,
}

/// Notes of ConfigMaps that are in the input, and that policies name in vain.
fn unlabelled(gathered: &Gathered, given: &HashMap<String, (usize, Origin)>) -> Firsts<String> {
    let (label, value) = POLICY_DOCUMENT_LABEL;
    let mut notes = Firsts::default();
    for policy in gathered.inventory.policies() {
        let named: BTreeSet<&ConfigMapName> = policy.references().map(|at| &at.config_map).collect();
        for name in named {
            let reference = format!("ConfigMap/{name}");
            if let Some((_, origin)) = given.get(&reference).filter(|_| gathered.unlabelled.contains(&reference)) {
                notes.push_with(|| {
                    format!(
                        "{origin}: {reference}: {} names it, and it has no label {label}: \"{value}\", so it counts as \
                         not there, as in a cluster; {}",
                        policy.key,
                        label_command(name)
                    )
                });
            }
        }
    }
    notes
}

/// The kinds that have a part in a pull.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Policy(policy::PolicyKind),
    ServiceAccount,
    Namespace,
    ConfigMap,
    Pod,
    Workload,
}

impl Kind {
    /// By API group and kind, in any version but for the kinds of this program: what is read of the others is the
    /// same in all of them.
    fn of(group: &str, kind: &str) -> Option<Kind> {
        match (group, kind) {
            ("", "ServiceAccount") => Some(Kind::ServiceAccount),
            ("", "Namespace") => Some(Kind::Namespace),
            ("", "ConfigMap") => Some(Kind::ConfigMap),
            ("", "Pod") => Some(Kind::Pod),
            _ if is_workload(group, kind) => Some(Kind::Workload),
            _ => policy::PolicyKind::from_name(kind).map(Kind::Policy),
        }
    }

    fn is_namespaced(self) -> bool {
        !matches!(self, Kind::Namespace | Kind::Policy(policy::PolicyKind::ClusterEcrAccessPolicy))
    }
}

/// `extensions` is where `apps` was before it had a group of its own.
fn is_workload(group: &str, kind: &str) -> bool {
    let group = if group == "extensions" { "apps" } else { group };
    WorkloadKind::from_name(kind).is_some_and(|known| known.group() == group)
}

/// An object of a kind that matters, with its name and place known.
struct Object {
    origin: Origin,
    kind: Kind,
    kind_name: String,
    /// None for cluster-scoped kinds.
    namespace: Option<String>,
    /// None where the API server would make it from `generateName`.
    name: Option<String>,
    value: Value,
}

impl Object {
    /// `Kind/namespace/name`, where it has a name.
    fn reference(&self) -> Option<String> {
        let name = self.name.as_deref()?;
        Some(match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{name}", self.kind_name),
            None => format!("{}/{name}", self.kind_name),
        })
    }

    /// The same for a person, no longer than a problem shows of it: a name can be of any length, and problems many.
    fn shown(&self) -> String {
        let [kind, namespace, name] = [Some(&self.kind_name), self.namespace.as_ref(), self.name.as_ref()]
            .map(|part| part.map(|p| cut(p, LONGEST, Unit::Bytes)));
        let (kind, namespace) = (kind.unwrap_or_default(), namespace.map(|namespace| format!("/{namespace}")));
        match name {
            Some(name) => format!("{kind}{}/{name}", namespace.unwrap_or_default()),
            None => kind.into_owned(),
        }
    }

    fn problem(&self, path: &str, message: &str) -> CheckProblem {
        CheckProblem::new(&self.origin, Some(&self.shown()), path, message)
    }
}

/// Takes `List`s apart. The items of a typed list, such as `PodList`, may lack what the list says of them.
fn flatten(
    origin: Origin,
    mut value: Value,
    inherited: Option<(&str, &str)>,
    found: &mut Vec<Result<(Origin, Value), CheckProblem>>,
) {
    let Value::Object(fields) = &mut value else {
        let message = format!("must be a mapping with `apiVersion` and `kind`, not {}", type_of(&value));
        return found.push(Err(CheckProblem::new(&origin, None, "", &message)));
    };
    if let Some((api_version, kind)) = inherited {
        fields.entry("apiVersion").or_insert_with(|| Value::from(api_version));
        fields.entry("kind").or_insert_with(|| Value::from(kind));
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let list = kind.strip_suffix("List").filter(|item| item.is_empty() || fields.contains_key("items"));
    let Some(item_kind) = list else { return found.push(Ok((origin, value))) };
    match fields.remove("items") {
        Some(Value::Array(items)) => {
            let inherited = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
            for (index, item) in items.into_iter().enumerate() {
                let place = match &origin.item {
                    Some(outer) => format!("{outer}.items[{index}]"),
                    None => format!("items[{index}]"),
                };
                flatten(Origin { item: Some(place), ..origin.clone() }, item, inherited, found);
            }
        }
        None | Some(Value::Null) => {}
        Some(other) => {
            let message = format!("must be a list, not {}", type_of(&other));
            found.push(Err(CheckProblem::new(&origin, Some(&kind), "items", &message)));
        }
    }
}

/// What an object of the input is.
enum Identified {
    /// It has a part in a pull.
    Known(Box<Object>),
    /// It makes pods in a way that is not known here.
    Skipped(SkippedObject),
    /// It has no part here, or is told of as a problem.
    Nothing,
}

fn identify(origin: Origin, value: Value, namespace: &str, problems: &mut Problems) -> Identified {
    let before = problems.count();
    let skipped = match skipped(&origin, &value) {
        Some(skipped) => Identified::Skipped(skipped),
        None => Identified::Nothing,
    };
    match known(origin, value, namespace, problems) {
        Some(object) => Identified::Known(Box::new(object)),
        None if problems.count() == before => skipped,
        None => Identified::Nothing,
    }
}

/// An object whose kind is not known and that has containers somewhere: whoever runs a Rollout or a Knative Service must not take
/// silence for an Allow.
fn skipped(origin: &Origin, value: &Value) -> Option<SkippedObject> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (kind, api_version) = (text("kind")?, text("apiVersion")?);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if Kind::of(group, kind).is_some() {
        return None;
    }
    let path = containers(value)?;
    let part = |name: &str| value.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
    let place =
        part("namespace").map(|namespace| format!("/{}", cut(namespace, LONGEST, Unit::Bytes))).unwrap_or_default();
    let object = match part("name").or(part("generateName")) {
        Some(name) => {
            format!("{origin}: {}{place}/{}", cut(kind, LONGEST, Unit::Bytes), cut(name, LONGEST, Unit::Bytes))
        }
        None => origin.to_string(),
    };
    let [api_version, kind, path] = [api_version, kind, &path].map(|text| cut(text, LONGEST, Unit::Bytes).into_owned());
    Some(SkippedObject { object, api_version, kind, path })
}

/// Where containers with images stand, the first that is found; a reader of YAML has bounded the depth.
fn containers(value: &Value) -> Option<String> {
    // The steps that lead somewhere, each with the one before it: a path is only made of the place that is found.
    let mut steps: Vec<(Option<usize>, Step<'_>)> = Vec::new();
    let mut open = vec![(None, value)];
    while let Some((last, value)) = open.pop() {
        let first = steps.len();
        match value {
            Value::Object(fields) => {
                let has_image = |container: &Value| container.get("image").is_some_and(Value::is_string);
                let found = fields.iter().find(|(key, value)| match value {
                    Value::Array(items) => *key == "containers" && items.iter().any(has_image),
                    value => *key == "container" && has_image(value),
                });
                if let Some((key, _)) = found {
                    steps.push((last, Step::Key(key)));
                    return Some(path_to(&steps, first));
                }
                steps.extend(fields.keys().map(|key| (last, Step::Key(key))));
                let inside = (first..).map(Some).zip(fields.values()).collect::<Vec<_>>();
                open.extend(inside.into_iter().rev());
            }
            Value::Array(items) => {
                steps.extend((0..items.len()).map(|index| (last, Step::Index(index))));
                let inside = (first..).map(Some).zip(items).collect::<Vec<_>>();
                open.extend(inside.into_iter().rev());
            }
            _ => {}
        }
    }
    None
}

/// A step into a value.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn path_to(steps: &[(Option<usize>, Step<'_>)], last: usize) -> String {
    let mut way = Vec::new();
    let mut next = steps.get(last);
    while let Some((before, step)) = next {
        way.push(step);
        next = before.and_then(|before| steps.get(before));
    }
    let mut text = String::new();
    for step in way.into_iter().rev() {
        match step {
            Step::Key(key) => super::path::push_key(&mut text, &cut(key, LONGEST, Unit::Bytes)),
            Step::Index(index) => super::path::push_index(&mut text, *index),
        }
    }
    text
}

/// The object with its kind, namespace and name; nothing for kinds that have no part here, and for bad metadata.
fn known(origin: Origin, mut value: Value, namespace: &str, problems: &mut Problems) -> Option<Object> {
    let mut header = |name: &str| match value.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Null | Value::String(_)) | None => {
            problems.push(CheckProblem::new(&origin, None, name, "is missing"));
            None
        }
        Some(other) => {
            let message = format!("must be a string, not {}", type_of(other));
            problems.push(CheckProblem::new(&origin, None, name, &message));
            None
        }
    };
    let (kind_name, api_version) = (header("kind")?, header("apiVersion")?);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = Kind::of(group, &kind_name);
    let ours = matches!(kind, Some(Kind::Policy(_)));
    if group == GROUP && !ours {
        let message = format!("`{kind_name}` is not a kind of {API_VERSION}: EcrAccessPolicy, ClusterEcrAccessPolicy");
        problems.push(CheckProblem::new(&origin, Some(&kind_name), "kind", &message));
        return None;
    }
    if ours && api_version != API_VERSION {
        let message = format!("must be `{API_VERSION}`, not `{api_version}`");
        problems.push(CheckProblem::new(&origin, Some(&kind_name), "apiVersion", &message));
        return None;
    }
    let kind = kind?;

    let mut bad = |path: &str, message: String| {
        problems.push(CheckProblem::new(&origin, Some(&kind_name), path, &message));
    };
    let metadata = match value.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(Value::Null) | None => {
            bad("metadata.name", "is missing".to_owned());
            return None;
        }
        Some(other) => {
            bad("metadata", format!("must be a mapping, not {}", type_of(other)));
            return None;
        }
    };
    let mut text = |metadata: &Map<String, Value>, name: &str| match metadata.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(Value::Null | Value::String(_)) | None => Ok(None),
        Some(other) => {
            bad(&format!("metadata.{name}"), format!("must be a string, not {}; quote it", type_of(other)));
            Err(())
        }
    };
    let name = text(metadata, "name").ok()?;
    let generated = text(metadata, "generateName").ok()?;
    let given = text(metadata, "namespace").ok()?;
    if name.is_none() && (generated.is_none() || !matches!(kind, Kind::Pod | Kind::Workload)) {
        bad("metadata.name", "is missing".to_owned());
        return None;
    }
    let namespace = kind.is_namespaced().then(|| given.unwrap_or_else(|| namespace.to_owned()));
    match &namespace {
        Some(namespace) => metadata.insert("namespace".to_owned(), Value::from(namespace.as_str())),
        None => metadata.remove("namespace"),
    };
    Some(Object { origin, kind, kind_name, namespace, name, value })
}

/// Returns what a policy finds wrong with the ConfigMaps that it names.
fn take(object: Object, at: Timestamp, gathered: &mut Gathered, problems: &mut Problems) -> Vec<InConfigMap> {
    match object.kind {
        Kind::Policy(kind) => return take_policy(kind, object, at, gathered, problems),
        Kind::ConfigMap => take_config_map(&object, gathered, problems),
        Kind::ServiceAccount => {
            let before = problems.count();
            for field in ["labels", "annotations"] {
                string_map(&object, field, problems);
            }
            // With a label or annotation that is not text, what the account says is not known: it counts as not seen.
            if before == problems.count() {
                match ServiceAccountFacts::from_json(&object.value) {
                    Ok(facts) => gathered.inventory.put_service_account(facts),
                    Err(error) => problems.push(object.problem("", &error.to_string())),
                }
            }
        }
        Kind::Namespace => {
            let before = problems.count();
            let labels = string_map(&object, "labels", problems);
            if before == problems.count()
                && let Some(name) = object.name
            {
                gathered.inventory.put_namespace(name, labels);
            }
        }
        Kind::Pod | Kind::Workload => {
            let subject = match object.kind {
                Kind::Pod => Subject::from_pod(&object.value).map(Some),
                _ => Subject::from_workload(&object.value),
            };
            match subject {
                Ok(subject) => {
                    missing_images(&object, problems);
                    gathered.subjects.extend(subject);
                }
                Err(SubjectError::Type { field, expected }) => {
                    problems.push(object.problem(&field, &format!("must be {expected}")));
                }
            }
        }
    }
    Vec::new()
}

/// Only one with the label is kept, as in the cluster. The usual mistakes are a label that is a boolean and a document that
/// is a mapping: the API server refuses both.
fn take_config_map(object: &Object, gathered: &mut Gathered, problems: &mut Problems) {
    let before = problems.count();
    string_map(object, "labels", problems);
    match ConfigMapFacts::from_json(&object.value) {
        Ok(Some(facts)) => {
            for (key, value) in object.value.get("data").and_then(Value::as_object).into_iter().flatten() {
                if !value.is_string() {
                    let path = format!("data[{}]", Value::from(key.as_str()));
                    let message = format!("must be a string, not {}; write the JSON text behind `|`", type_of(value));
                    problems.push(object.problem(&path, &message));
                }
            }
            if before == problems.count() {
                gathered.inventory.put_config_map(facts);
            }
        }
        Ok(None) => gathered.unlabelled.extend(object.reference()),
        Err(error) => problems.push(object.problem("", &error.to_string())),
    }
}

/// A pod without containers pulls nothing, so a misspelled `containers` would pass as `Allow`. The API server refuses
/// both; here they are problems.
fn missing_images(object: &Object, problems: &mut Problems) {
    let prefix = match object.kind_name.as_str() {
        "Pod" => "spec",
        "CronJob" => "spec.jobTemplate.spec.template.spec",
        _ => "spec.template.spec",
    };
    let spec = prefix.split('.').try_fold(&object.value, |value, step| value.get(step));
    match spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array).map(Vec::as_slice) {
        // Only a ReplicationController may do without a template.
        None if object.kind_name == "ReplicationController" && object.value.pointer("/spec/template").is_none() => {}
        None | Some([]) => problems.push(object.problem(&format!("{prefix}.containers"), "is missing")),
        // In the template of a workload the image may be left to a mutating webhook.
        Some(containers) if object.kind == Kind::Pod => {
            for (index, container) in containers.iter().enumerate() {
                if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
                    problems.push(object.problem(&format!("{prefix}.containers[{index}].image"), "is missing"));
                }
            }
        }
        Some(_) => {}
    }
}

/// A policy goes into the inventory whatever is wrong with it, as in the cluster: its verdicts are Unknown then.
fn take_policy(
    kind: policy::PolicyKind,
    object: Object,
    at: Timestamp,
    gathered: &mut Gathered,
    problems: &mut Problems,
) -> Vec<InConfigMap> {
    let found = api::validate(kind, &object.value);
    let shape_is_bad = !found.is_empty();
    for error in &found {
        problems.push(object.problem(&error.path, &error.message));
    }
    let reference = object.name.as_ref().map(|_| object.shown());
    let origin = object.origin.clone();
    let text = |namespace: Option<&str>, name: &str, key: &str| {
        let namespace = object.namespace.as_deref().or(namespace)?.to_owned();
        gathered.inventory.config_map(&ConfigMapName { namespace, name: name.to_owned() })?.text(key)
    };
    for (field, remark) in check::remarks(&object.value, at, text) {
        let told = |message: &str| CheckProblem::new(&origin, reference.as_deref(), &field, message);
        match remark {
            CheckResult::Good => {}
            // What the cluster would not take must not look as if all were well here.
            CheckResult::Refused(_, message) => problems.push(told(&message)),
            CheckResult::Warning(_, message) => gathered.notes.push_with(|| told(&message).to_string()),
        }
    }
    let mut of_config_maps = Vec::new();
    match PolicyObject::from_json(object.value) {
        Ok(policy) => {
            let key = policy.key.clone();
            gathered.inventory.put_policy(policy);
            let Some(policy) = gathered.inventory.policy(&key) else { return of_config_maps };
            let policy = gathered.inventory.with_documents(policy);
            for (index, problem) in policy.problems().iter().enumerate() {
                if let Some(reference) = &problem.object {
                    let path = problem.path.strip_prefix("$.").unwrap_or(&problem.path).to_owned();
                    let (reference, message) = (reference.clone(), problem.message.clone());
                    of_config_maps.push(InConfigMap { reference, path, message });
                    continue;
                }
                // The first one says why the whole does not decode, which was told above.
                let told = shape_is_bad && policy.spec().is_err() && index == 0;
                if !told {
                    let path = problem.path.strip_prefix("$.").unwrap_or(&problem.path);
                    problems.push(CheckProblem::new(&origin, reference.as_deref(), path, &problem.message));
                }
            }
        }
        Err(error) => problems.push(CheckProblem::new(&origin, reference.as_deref(), "", &error.to_string())),
    }
    of_config_maps
}

/// A map of strings in the metadata. `team: yes` and `port: 80` are the usual mistakes: the API server refuses them.
fn string_map(object: &Object, field: &str, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let path = format!("metadata.{field}");
    match object.value.get("metadata").and_then(|metadata| metadata.get(field)) {
        None | Some(Value::Null) => {}
        Some(Value::Object(fields)) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) => {
                        map.insert(key.clone(), text.clone());
                    }
                    Value::Null => {
                        map.insert(key.clone(), String::new());
                    }
                    other => {
                        let mut path = path.clone();
                        super::path::push_key(&mut path, key);
                        let message = format!("must be a string, not {}; quote it", type_of(other));
                        problems.push(object.problem(&path, &message));
                    }
                }
            }
        }
        Some(other) => problems.push(object.problem(&path, &format!("must be a mapping, not {}", type_of(other)))),
    }
    map
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
