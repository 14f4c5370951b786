//! Label selectors over labels that may not be known ("Labels and Selectors", set-based requirements).

use std::collections::BTreeMap;

use crate::policy::LabelSelector;

/// What is known of one label of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// The label has this value.
    Is(&'a str),
    /// The object has no such label.
    Absent,
    /// The object was not seen.
    Unknown,
}

impl<'a> Label<'a> {
    /// The label `key` among `labels`.
    #[must_use]
    pub fn of(labels: &'a BTreeMap<String, String>, key: &str) -> Self {
        labels.get(key).map_or(Self::Absent, |value| Self::Is(value))
    }
}

/// A label selector: every requirement has to hold. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Whether the selector matches an object whose labels `label` answers for. `None`: it depends on labels that are
    /// not known.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Label<'a>) -> Option<bool> {
        let mut all = Some(true);
        for requirement in &self.requirements {
            match requirement.holds(label(&requirement.key)) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all = None,
            }
        }
        all
    }

    /// Compiles a selector of the API. None: an operator that this version does not know, or values that do not fit
    /// it; a selector that was never valid must not select by accident.
    pub(crate) fn compile(selector: &LabelSelector) -> Option<Self> {
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values: vec![value.clone()] });
        }
        for expression in selector.match_expressions.iter().flatten() {
            let values = expression.values.clone().unwrap_or_default();
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                _ => return None,
            };
            requirements.push(Requirement { key: expression.key.clone(), operator, values });
        }
        Some(Self { requirements })
    }
}

impl Requirement {
    fn holds(&self, label: Label<'_>) -> Option<bool> {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match (self.operator, label) {
            (_, Label::Unknown) => None,
            (Operator::In, Label::Is(value)) => Some(listed(value)),
            (Operator::In, Label::Absent) => Some(false),
            (Operator::NotIn, Label::Is(value)) => Some(!listed(value)),
            (Operator::NotIn | Operator::DoesNotExist, Label::Absent) => Some(true),
            (Operator::Exists, label) => Some(matches!(label, Label::Is(_))),
            (Operator::DoesNotExist, Label::Is(_)) => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn selector(value: &Value) -> Option<Selector> {
        Selector::compile(&serde_json::from_value(value.clone()).unwrap())
    }

    #[test]
    fn matches_as_kubernetes_does() {
        let labels = BTreeMap::from([("team".to_owned(), "payments".to_owned())]);
        let cases = [
            (json!({}), true),
            (json!({"matchLabels": {"team": "payments"}}), true),
            (json!({"matchLabels": {"team": "other"}}), false),
            (json!({"matchLabels": {"tier": "gold"}}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "payments"]}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["payments"]}]}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), true),
            (
                json!({"matchLabels": {"team": "payments"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
                false,
            ),
        ];
        for (value, expected) in cases {
            let selector = selector(&value).unwrap();
            assert_eq!(selector.matches(|key| Label::of(&labels, key)), Some(expected), "{value}");
        }
    }

    #[test]
    fn unknown_labels_leave_it_open_unless_a_known_one_decides() {
        let two = selector(&json!({"matchLabels": {"a": "1", "b": "2"}})).unwrap();
        assert_eq!(two.matches(|_| Label::Unknown), None);
        assert_eq!(two.matches(|key| if key == "a" { Label::Unknown } else { Label::Absent }), Some(false));
        assert_eq!(Selector::default().matches(|_| Label::Unknown), Some(true));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for value in [
            json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
        ] {
            assert_eq!(selector(&value), None, "{value}");
        }
    }
}
