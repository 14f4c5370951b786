//! A policy that a search for a fix may change, and what it has changed of it so far.

use iam_verdict::{NamedPolicy, Policy};
use serde_json::{Value, json};

use crate::diagnose::edit::{self, CarveOut, Statement};
use crate::ecr::needs::RequiredRequest;
use crate::facts::declared::{PolicySource, SourcedPolicy};

/// A policy that may have to change.
#[derive(Clone)]
pub(crate) struct EditablePolicy {
    pub sourced: SourcedPolicy,
    /// Its document, once it has changed.
    changed: Option<Value>,
    /// It is attached no more.
    pub detached: bool,
    /// Statements to add, by their requests.
    pub added: Vec<RequiredRequest>,
    /// Why the first of them is needed.
    pub why: Option<String>,
    /// Statements that deny, by label: the requests they must not deny, and what stands in their place.
    pub narrowed: Vec<(String, Vec<RequiredRequest>, Option<Value>)>,
}

impl EditablePolicy {
    pub fn new(sourced: SourcedPolicy) -> Self {
        Self { sourced, changed: None, detached: false, added: Vec::new(), why: None, narrowed: Vec::new() }
    }

    /// A policy that is not there yet.
    pub fn fresh() -> Self {
        let policy = NamedPolicy::unreadable(String::new(), String::new());
        let mut editable = Self::new(SourcedPolicy::new(policy, PolicySource::Document { problem: None }));
        editable.changed = Some(json!({"Version": "2012-10-17", "Statement": []}));
        editable
    }

    /// Whether it is yet to be made; every other policy has a name.
    pub fn is_new(&self) -> bool {
        self.name().is_empty()
    }

    pub fn name(&self) -> &str {
        &self.sourced.policy.name
    }

    pub fn is_managed(&self) -> bool {
        matches!(self.sourced.source, PolicySource::Managed { .. })
    }

    /// Whether its owner can add a statement.
    pub fn is_editable(&self) -> bool {
        let own = match &self.sourced.source {
            PolicySource::Document { problem } => problem.is_none(),
            PolicySource::ConfigMap(_) => true,
            PolicySource::Managed { .. } => false,
        };
        own && self.sourced.text.is_some()
    }

    pub fn document(&self) -> Option<Value> {
        self.changed.clone().or_else(|| self.sourced.document())
    }

    pub fn add(&mut self, statement: &Statement, requests: &[&RequiredRequest], why: impl FnOnce() -> String) -> bool {
        let Some(mut document) = self.document() else { return false };
        let Some(statements) = edit::statements_mut(&mut document) else { return false };
        statements.push(statement.to_value());
        self.changed = Some(document);
        self.added.extend(requests.iter().map(|request| (*request).clone()));
        self.why.get_or_insert_with(why);
        true
    }

    /// Lets the statement that denies pass the requests.
    pub fn narrow(&mut self, label: &str, requests: &[&RequiredRequest], role: Option<&str>, own: bool) -> bool {
        let Some(mut document) = self.document() else { return false };
        let Some((index, statement)) = edit::find(&document, label) else { return false };
        if statement.get("Effect").and_then(Value::as_str) != Some("Deny") {
            return false;
        }
        let Some(statements) = edit::statements_mut(&mut document) else { return false };
        let Some(place) = statements.get_mut(index) else { return false };
        // What has been narrowed already is narrowed again from where it began: for all requests at once.
        let known = self.narrowed.iter().position(|(known, ..)| known == label);
        let mut all: Vec<RequiredRequest> =
            known.and_then(|at| self.narrowed.get(at)).map(|n| n.1.clone()).unwrap_or_default();
        let before = all.len();
        all.extend(
            requests
                .iter()
                .filter(|request| !all.contains(request))
                .map(|request| (*request).clone())
                .collect::<Vec<_>>(),
        );
        if all.len() == before {
            return false;
        }
        let original = self.sourced.document().and_then(|document| edit::find(&document, label));
        let original = original.map_or(statement, |(_, statement)| statement);
        let replacement = edit::narrow(&original, &CarveOut { requests: all.iter().collect(), role, own });
        // One that is removed stays in its place and denies nothing, so that labels like `#1` keep their meaning.
        *place = replacement.clone().unwrap_or_else(|| {
            let mut dead = original.clone();
            if let Some(members) = dead.as_object_mut() {
                members.remove("NotAction");
                members.insert("Action".to_owned(), Value::from("none:None"));
            }
            dead
        });
        self.changed = Some(document);
        match known.and_then(|at| self.narrowed.get_mut(at)) {
            Some(entry) => *entry = (label.to_owned(), all, replacement),
            None => self.narrowed.push((label.to_owned(), all, replacement)),
        }
        true
    }

    /// The policy as it is after all changes; none where it is detached.
    pub fn compiled(&self) -> Option<SourcedPolicy> {
        if self.detached {
            return None;
        }
        let Some(document) = &self.changed else { return Some(self.sourced.clone()) };
        let policy = match Policy::from_value(document) {
            Ok(policy) => NamedPolicy::known(self.name(), policy),
            Err(_) => NamedPolicy::unreadable(self.name(), "fix"),
        };
        let source = PolicySource::Document { problem: None };
        Some(SourcedPolicy::new(policy, source).with_text(document.to_string()))
    }

    pub fn is_touched(&self) -> bool {
        self.detached || self.is_new() || !self.added.is_empty() || !self.narrowed.is_empty()
    }
}
