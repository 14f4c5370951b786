//! An element that lists patterns: actions or resources.

use std::sync::Arc;

use crate::context::Context;
use crate::pattern::{Pattern, Wildcards};
use crate::truth::Truth;

/// `Action`, `NotAction`, `Resource` or `NotResource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) negated: bool,
    pub(crate) entries: Box<[Entry]>,
}

/// One entry of a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) text: Arc<str>,
    pub(crate) pattern: Pattern,
    /// The pattern with the missing fields of a short ARN.
    pub(crate) completed: Option<Box<Pattern>>,
}

impl Clause {
    /// Whether an action matches; never Unknown, actions have no variables.
    pub(crate) fn matches_action(&self, action: &str) -> bool {
        self.entries.iter().any(|entry| entry.pattern.matches_plain(action)) != self.negated
    }

    /// Whether a resource matches.
    pub(crate) fn matches_resource(&self, resource: &str, context: &Context) -> Truth {
        let hit = Truth::any(&self.entries, |entry| entry.matches_resource(resource, context));
        if self.negated { !hit } else { hit }
    }
}

impl Entry {
    /// The entry of an Action element.
    pub(crate) fn action(text: &str) -> Self {
        let text = Arc::from(text);
        let pattern = Pattern::shared(&text, Wildcards::Free, false, true);
        Self { text, pattern, completed: None }
    }

    /// The entry of a Resource element; `variables` says whether the policy has Version 2012-10-17.
    pub(crate) fn resource(text: &str, variables: bool) -> Self {
        let text: Arc<str> = Arc::from(text);
        let pattern = Pattern::shared(&text, Wildcards::Resource, variables, false);
        // IAM-RES-5: fields that an ARN leaves out at its end are completed with `*`.
        let short = text.starts_with("arn:") && text.matches(':').count() < 5;
        let completed = short.then(|| {
            let missing = 5 - text.matches(':').count();
            Box::new(Pattern::new(&format!("{text}{}", ":*".repeat(missing)), Wildcards::Resource, variables, false))
        });
        Self { text, pattern, completed }
    }

    pub(crate) fn matches_resource(&self, resource: &str, context: &Context) -> Truth {
        // IAM-RES-6: an action without resource-level support is granted on `*` alone.
        if resource == "*" {
            return Truth::from(self.pattern.is_any());
        }
        let completed = || self.completed.as_ref().map_or(Truth::False, |pattern| pattern.matches(resource, context));
        match self.pattern.matches(resource, context) {
            Truth::True => Truth::True,
            other => other | completed(),
        }
    }
}
