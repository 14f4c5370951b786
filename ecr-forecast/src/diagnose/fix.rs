//! A change that helps, and its words.

use iam_verdict::Layer;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::diagnose::edit::Statement;
use crate::ecr::image::EcrImage;

/// The words for a layer in the report, and none.
pub(crate) const LAYERS: [Option<&str>; 9] = [
    Some(Layer::Identity.as_str()),
    Some(Layer::Resource.as_str()),
    Some(Layer::Registry.as_str()),
    Some(Layer::Boundary.as_str()),
    Some(Layer::Session.as_str()),
    Some(Layer::Scp.as_str()),
    Some(Layer::Rcp.as_str()),
    Some(Layer::Endpoint.as_str()),
    None,
];

/// One step; all steps together let every denied request of the image be allowed, as far as the rest is known.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "fix")]
pub struct Fix {
    /// What kind of change.
    pub kind: FixKind,
    /// The layer whose policy changes.
    #[schemars(with = "Option<String>", extend("enum" = LAYERS))]
    pub attach_to: Option<&'static str>,
    /// What the policy is attached to: a role ARN, a repository ARN, `registry
    /// ACCOUNT/REGION`, the level of the organization; of `SetAnnotation` `ServiceAccount/NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub target: Option<String>,
    /// The policy to change; null where a new one is to be made.
    pub policy: Option<String>,
    /// The key of a ConfigMap, as `NAMESPACE/NAME/KEY`, where the document of that policy stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub config_map: Option<String>,
    /// The source that has the policies of the role, where the policy object does not declare them.
    #[serde(skip)]
    pub(crate) source: Option<String>,
    /// The statement that `document` takes the place of; without a document it is to be removed. A `NarrowDeny` without it
    /// detaches the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub statement: Option<String>,
    /// The statement to add, or to put in the place of `statement`; of `SetAnnotation` the annotation.
    #[schemars(with = "Option<Map<String, Value>>")]
    pub document: Option<Statement>,
    /// Why this helps, for a person.
    pub why: String,
}

/// The kinds of changes.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Hash, Serialize)]
#[schemars(inline)]
pub enum FixKind {
    /// Add the statement.
    AddStatement,
    /// Let a Deny leave out the puller, the repository or the actions.
    NarrowDeny,
    /// AWS's own policy is the permissions boundary, which cannot be edited: set one that is like it, with the
    /// statement added.
    ReplaceBoundary,
    /// Make the repository.
    CreateRepository,
    /// Give the service account its role.
    SetAnnotation,
    /// No change of a policy helps.
    None,
}

impl Fix {
    /// A change that is no policy's.
    #[must_use]
    pub const fn other(kind: FixKind, why: String) -> Self {
        Self {
            kind,
            attach_to: None,
            target: None,
            policy: None,
            config_map: None,
            source: None,
            statement: None,
            document: None,
            why,
        }
    }

    /// Sets an annotation of a service account.
    #[must_use]
    pub fn set_annotation(service_account: String, annotation: Option<Statement>, why: String) -> Self {
        Self { target: Some(service_account), document: annotation, ..Self::other(FixKind::SetAnnotation, why) }
    }
}

impl Fix {
    /// What to do, up to the document that is to be pasted. `object` is the policy object that declares the puller's
    /// policies; with `whose` the principal is named, which a reader wants to know where there are several.
    #[must_use]
    pub fn instruction(&self, object: Option<&str>, whose: bool) -> String {
        let target = self.target.as_deref().unwrap_or_default();
        let of = if whose { format!(" of {target}") } else { String::new() };
        let stands = self.config_map.as_ref().map(|at| format!(" in ConfigMap {at}")).unwrap_or_default();
        let declared = match (&self.source, object) {
            (Some(source), _) => format!(" in {source}"),
            (None, Some(object)) if stands.is_empty() => format!(" in {object}"),
            _ => stands.clone(),
        };
        let layer = |layer: Layer| self.attach_to == Some(layer.as_str());
        let policy = match &self.policy {
            Some(policy) if layer(Layer::Identity) => format!("policy {policy}{of}{declared}"),
            Some(policy) if layer(Layer::Boundary) => format!("{}{of}{declared}", boundary_name(policy)),
            _ if layer(Layer::Resource) => format!("the repository policy of {target}{stands}"),
            _ if layer(Layer::Registry) => format!("the policy of {target}{stands}"),
            Some(policy) if layer(Layer::Scp) => format!("service control policy {policy} at level {target}{stands}"),
            Some(policy) if layer(Layer::Rcp) => format!("resource control policy {policy} at level {target}{stands}"),
            None if layer(Layer::Scp) => format!("a new service control policy at level {target}"),
            None if layer(Layer::Identity) => format!("a new policy of {target}{declared}"),
            Some(policy) => format!("policy {policy}"),
            None => "a new policy".to_owned(),
        };
        match (self.kind, &self.statement, &self.document) {
            (FixKind::AddStatement, _, Some(_)) => format!("add to {policy}"),
            (FixKind::NarrowDeny, Some(statement), Some(_)) => {
                format!("replace statement {statement} of {policy} with")
            }
            (FixKind::NarrowDeny, Some(statement), None) => format!("remove statement {statement} of {policy}"),
            (FixKind::NarrowDeny, None, _) => format!("detach {policy}"),
            (FixKind::ReplaceBoundary, None, Some(_)) => format!("replace {policy} by one with the added statement"),
            (FixKind::ReplaceBoundary, Some(statement), Some(_)) => {
                format!("replace {policy} by one whose statement {statement} is")
            }
            (FixKind::ReplaceBoundary, Some(statement), None) => {
                format!("replace {policy} by one without its statement {statement}")
            }
            (FixKind::SetAnnotation, _, Some(Statement { .. })) => format!("annotate {target} with"),
            _ => self.why.clone(),
        }
    }

    /// The same with the document.
    #[must_use]
    pub fn text(&self, object: Option<&str>, whose: bool) -> String {
        let instruction = self.instruction(object, whose);
        match self.document.as_ref().and_then(|document| serde_json::to_string(document).ok()) {
            Some(document) => format!("{instruction}: {document}"),
            None => instruction,
        }
    }
}

/// The fix for a repository that is not there.
#[must_use]
pub(crate) fn create_repository(image: &EcrImage) -> Fix {
    let EcrImage { account, region, repository, .. } = image;
    let why = format!(
        "create repository {repository} in the registry of account {account} in {region}, or correct the image"
    );
    Fix { target: Some(image.arn().to_string()), ..Fix::other(FixKind::CreateRepository, why) }
}

/// A boundary that is a document has no name but its field's.
pub(crate) fn boundary_name(name: &str) -> String {
    if name == "permissionsBoundary" {
        "the permissions boundary".to_owned()
    } else {
        format!("permissions boundary {name}")
    }
}
