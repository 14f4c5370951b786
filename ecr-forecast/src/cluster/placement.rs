//! On which nodes a pod can run, as far as it says so itself ("Assigning Pods to Nodes").

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a pod asks of the node that it runs on.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub struct Placement {
    /// `spec.nodeName`.
    node: Option<String>,
    /// `spec.nodeSelector`.
    selector: BTreeMap<String, String>,
    /// `requiredDuringSchedulingIgnoredDuringExecution` of the node affinity: one of the terms holds.
    terms: Vec<Vec<Requirement>>,
}

/// One line of a term of the node affinity.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: String,
    values: BTreeSet<String>,
}

/// The label that holds the name of a node ("Well-Known Labels, Annotations and Taints").
const HOSTNAME: &str = "kubernetes.io/hostname";

impl Placement {
    /// Reads the spec of a pod. What has another form than the API's asks for nothing.
    pub(crate) fn of(spec: &Value) -> Self {
        let selector = spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten();
        let selector = selector.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let terms = spec.pointer(required).and_then(Value::as_array);
        Self {
            node: spec.get("nodeName").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned),
            selector: selector.collect(),
            terms: terms.into_iter().flatten().map(term).collect(),
        }
    }

    /// Whether the pod certainly runs on no node that has these labels: it asks for another value of a label that is there.
    /// A label that is not there says nothing.
    pub(crate) fn excludes(&self, labels: &BTreeMap<String, String>) -> bool {
        let differs = |key: &str, wanted: &str| labels.get(key).is_some_and(|value| value != wanted);
        let elsewhere = |term: &Vec<Requirement>| term.iter().any(|line| line.excludes(labels));
        self.node.as_deref().is_some_and(|node| differs(HOSTNAME, node))
            || self.selector.iter().any(|(key, wanted)| differs(key, wanted))
            || (!self.terms.is_empty() && self.terms.iter().all(elsewhere))
    }
}

fn term(term: &Value) -> Vec<Requirement> {
    let list = |name: &str| term.get(name).and_then(Value::as_array).into_iter().flatten();
    let lines = list("matchExpressions").filter_map(|line| Requirement::of(line, None));
    // Of the fields of a node there is one to be asked for: its name.
    lines.chain(list("matchFields").filter_map(|line| Requirement::of(line, Some("metadata.name")))).collect()
}

impl Requirement {
    fn of(line: &Value, field: Option<&str>) -> Option<Self> {
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        let key = match (text("key")?, field) {
            (key, Some(field)) if key == field => HOSTNAME,
            (_, Some(_)) => return None,
            (key, None) => key,
        };
        let values = line.get("values").and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            key: key.to_owned(),
            operator: text("operator")?.to_owned(),
            values: values.filter_map(|value| value.as_str().map(str::to_owned)).collect(),
        })
    }

    fn excludes(&self, labels: &BTreeMap<String, String>) -> bool {
        let Some(value) = labels.get(&self.key) else { return false };
        // A label that is no number meets neither comparison; of a bound that is none nobody knows.
        let compared = |holds: fn(&i64, &i64) -> bool| {
            let bound = self.values.first().and_then(|bound| bound.parse::<i64>().ok());
            bound.is_some_and(|bound| value.parse().map_or(true, |value: i64| !holds(&value, &bound)))
        };
        match self.operator.as_str() {
            "In" => !self.values.contains(value),
            "NotIn" => self.values.contains(value),
            "DoesNotExist" => true,
            "Gt" => compared(i64::gt),
            "Lt" => compared(i64::lt),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn excluded(spec: Value) -> bool {
        let labels = [("team", "gpu"), ("size", "8"), ("zone", "a"), (HOSTNAME, "ip-10-0-0-1")];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Placement::of(&spec).excludes(&labels)
    }

    fn affinity(terms: Value) -> Value {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        json!({"affinity": {"nodeAffinity": required}})
    }

    fn line(key: &str, operator: &str, values: &[&str]) -> Value {
        json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}])
    }

    #[test]
    fn another_value_of_a_label_that_is_there_excludes() {
        for (spec, excludes) in [
            (json!({}), false),
            (json!({"nodeSelector": {"team": "web"}}), true),
            (json!({"nodeSelector": {"team": "gpu", "zone": "b"}}), true),
            (json!({"nodeSelector": {"team": "gpu"}}), false),
            (json!({"nodeSelector": {"arch": "arm64"}}), false),
            (json!({"nodeSelector": "team"}), false),
            (json!({"nodeName": "ip-10-0-0-2"}), true),
            (json!({"nodeName": "ip-10-0-0-1"}), false),
            (json!({"nodeName": ""}), false),
            (affinity(line("team", "In", &["web", "db"])), true),
            (affinity(line("team", "In", &["web", "gpu"])), false),
            (affinity(line("arch", "In", &["arm64"])), false),
            (affinity(line("team", "NotIn", &["gpu"])), true),
            (affinity(line("team", "NotIn", &["web"])), false),
            (affinity(line("team", "Exists", &[])), false),
            (affinity(line("team", "DoesNotExist", &[])), true),
            (affinity(line("arch", "DoesNotExist", &[])), false),
            (affinity(line("size", "Gt", &["8"])), true),
            (affinity(line("size", "Gt", &["7"])), false),
            (affinity(line("size", "Lt", &["8"])), true),
            (affinity(line("size", "Lt", &["9"])), false),
            (affinity(line("team", "Gt", &["1"])), true),
            (affinity(line("size", "Gt", &["many"])), false),
            (affinity(line("size", "Between", &["1"])), false),
            // Terms are alternatives, the lines of one hold together.
            (
                affinity(json!([{"matchExpressions": [{"key": "team", "operator": "In", "values": ["web"]}]},
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}])),
                false,
            ),
            (
                affinity(json!([{"matchExpressions": [{"key": "team", "operator": "In", "values": ["web"]}]},
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}])),
                true,
            ),
            (
                affinity(json!([{"matchExpressions": [{"key": "team", "operator": "In", "values": ["gpu"]},
                {"key": "zone", "operator": "In", "values": ["b"]}]}])),
                true,
            ),
            (affinity(json!([])), false),
            (affinity(json!([{}])), false),
            (
                affinity(
                    json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["ip-10-0-0-2"]}]}]),
                ),
                true,
            ),
            (
                affinity(
                    json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["ip-10-0-0-1"]}]}]),
                ),
                false,
            ),
            (
                json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
                "preference": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["web"]}]}}]}}}),
                false,
            ),
        ] {
            assert_eq!(excluded(spec.clone()), excludes, "{spec}");
        }
    }

    #[test]
    fn without_labels_nothing_is_excluded() {
        let spec = json!({"nodeName": "x", "nodeSelector": {"team": "web"}});
        assert!(!Placement::of(&spec).excludes(&BTreeMap::new()));
    }
}
