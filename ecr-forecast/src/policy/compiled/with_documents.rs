//! A policy object together with the documents that it names, looked up where they stand.

use std::sync::Arc;

use crate::facts::Known;
use crate::facts::declared::PolicyDocument;
use crate::policy::compiled::config_map::ConfigMaps;
use crate::policy::compiled::object::PolicyObject;
use crate::policy::compiled::problem::{Problem, Remark};
use crate::policy::compiled::spec::CompiledSpec;

/// A policy object and the documents that it names in ConfigMaps, as one inventory has them: what verdicts are made of.
#[derive(Clone, Debug)]
pub struct PolicyWithDocuments {
    /// The object.
    pub object: Arc<PolicyObject>,
    /// Its spec, every document in its place.
    spec: Option<Arc<CompiledSpec>>,
    /// What was found for each reference, in their order.
    documents: Vec<Known<PolicyDocument>>,
}

impl PolicyWithDocuments {
    /// Looks up what the object names. Nothing is compiled but what nobody asked for before.
    pub(crate) fn look_up(object: &Arc<PolicyObject>, config_maps: &ConfigMaps) -> Self {
        let documents: Vec<_> = object.references().map(|at| config_maps.document(at)).collect();
        let spec = match &object.body {
            Ok(spec) if documents.is_empty() => Some(Arc::clone(spec)),
            Ok(spec) => Some(Arc::new(spec.looked_up(&|at| config_maps.document(at)))),
            Err(_) => None,
        };
        Self { object: Arc::clone(object), spec, documents }
    }

    /// The object with no ConfigMap there.
    #[must_use]
    pub fn alone(object: PolicyObject) -> Self {
        Self::look_up(&Arc::new(object), &ConfigMaps::default())
    }

    /// What verdicts are made of.
    ///
    /// # Errors
    /// Why the spec could not be read (`UnsupportedSpec`: the verdicts are Unknown).
    pub fn spec(&self) -> Result<&Arc<CompiledSpec>, &str> {
        match (&self.spec, &self.object.body) {
            (Some(spec), _) | (None, Ok(spec)) => Ok(spec),
            (None, Err(why)) => Err(why),
        }
    }

    /// Whether every verdict under it comes out as under `other`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.object, &other.object)
            && self.documents.len() == other.documents.len()
            && self.documents.iter().zip(&other.documents).all(|(one, other)| one.is_same(other))
    }

    /// What is wrong with the object: why its spec could not be read, and every malformed document, also where that stands
    /// in a ConfigMap.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.visit(|remark, found| match (remark, found) {
            (Remark::Problem(problem), _) => problems.push(problem.clone()),
            (Remark::Reference { .. }, Some(known)) => {
                let problem = Problem::in_config_map(known);
                // Once, however many policies are read from there.
                problems.extend(problem.filter(|problem| !problems.contains(problem)));
            }
            _ => {}
        });
        problems
    }

    /// Managed policies that are not built in and documents that are not in their ConfigMaps, so what they allow is not
    /// known.
    #[must_use]
    pub fn unresolved(&self) -> Vec<Problem> {
        let mut unresolved = Vec::new();
        self.visit(|remark, found| match (remark, found) {
            (Remark::Unresolved(problem), _) => unresolved.push(problem.clone()),
            (Remark::Reference { path, .. }, Some(known)) => {
                unresolved.extend(Problem::missing_config_map(path, known));
            }
            _ => {}
        });
        unresolved
    }

    /// Each remark in the order of the spec, a reference with what was found for it.
    fn visit<'a>(&'a self, mut see: impl FnMut(&'a Remark, Option<&'a Known<PolicyDocument>>)) {
        let mut documents = self.documents.iter();
        for remark in &self.object.remarks {
            let found = if matches!(remark, Remark::Reference { .. }) { documents.next() } else { None };
            see(remark, found);
        }
    }
}
