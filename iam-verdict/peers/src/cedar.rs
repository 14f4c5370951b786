//! `cedar-policy`, with the five statements in its own language.
//!
//! Cedar has no wildcards over actions: `ecr:Describe*` is a list, and `ecr:*` is every action, as there are no others.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::str::FromStr;
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use crate::{Answer, Question};

/// The five statements.
pub const POLICY: &str = r#"
permit (principal, action == Action::"ecr:GetAuthorizationToken", resource);
permit (principal, action in [Action::"ecr:BatchGetImage", Action::"ecr:GetDownloadUrlForLayer"], resource)
    when { resource.arn like "arn:aws:ecr:*:*:repository/team/*" };
permit (principal, action in [Action::"ecr:DescribeImages", Action::"ecr:DescribeRepositories",
    Action::"ecr:DescribeRegistry"], resource);
forbid (principal, action, resource) when { resource.arn like "arn:aws:ecr:*:*:repository/team/secret" };
permit (principal, action == Action::"ecr:BatchGetImage", resource)
    when { resource.arn like "arn:aws:ecr:*:*:repository/abac/*" && resource has team && principal has team
        && resource.team == principal.team };
"#;

pub struct Prepared {
    authorizer: Authorizer,
    policies: PolicySet,
}

impl Prepared {
    pub fn new(policy: &str) -> Self {
        let policies = PolicySet::from_str(policy).expect("the policy is well formed");
        Self { authorizer: Authorizer::new(), policies }
    }

    pub fn question(&self, question: &Question) -> (Request, Entities) {
        let [role, action, repository] = &*TYPES;
        let resource = entity(repository, question.resource);
        let arn = RestrictedExpression::new_string(question.resource.to_owned());
        let attributes = HashMap::from([("arn".to_owned(), arn)]);
        let entities = [
            Entity::new(resource.clone(), attributes, HashSet::new()).expect("the attributes are well formed"),
            Entity::new_no_attrs(entity(role, question.principal), HashSet::new()),
        ];
        let request = Request::new(
            entity(role, question.principal),
            entity(action, question.action),
            resource,
            Context::empty(),
            None,
        );
        (
            request.expect("there is no schema to fail"),
            Entities::from_entities(entities, None).expect("the entities are different"),
        )
    }

    pub fn answer(&self, (request, entities): &(Request, Entities)) -> Answer {
        let response =
            self.authorizer.is_authorized(black_box(request), black_box(&self.policies), black_box(entities));
        match response.decision() {
            Decision::Allow => Answer::Allow,
            Decision::Deny if response.diagnostics().reason().next().is_some() => Answer::ExplicitDeny,
            Decision::Deny => Answer::ImplicitDeny,
        }
    }
}

/// The types of entities are no strings of the request: they are read once.
static TYPES: LazyLock<[EntityTypeName; 3]> = LazyLock::new(|| {
    ["Role", "Action", "Repository"].map(|name| EntityTypeName::from_str(name).expect("the type is well formed"))
});

fn entity(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

pub fn from_strings(policy: &str, question: &Question) -> Answer {
    let prepared = Prepared::new(black_box(policy));
    prepared.answer(&prepared.question(black_box(question)))
}
