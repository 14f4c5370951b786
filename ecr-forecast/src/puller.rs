//! Who pulls the images of a service account.

use std::fmt;
use std::sync::Arc;

use crate::annotation::{MisspeltAnnotation, misspelt_annotation};
use crate::cluster::{Placement, Subject};
use crate::ecr::arn::RoleArn;
use crate::ecr::condition_keys::Session;
use crate::facts::declared::IdentityPolicies;
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason, RoleFact, Roles};
use crate::inventory::ServiceAccountFacts;
use crate::policy::compiled::{CompiledPuller, CompiledRole, CompiledSpec};

/// A candidate: somebody who may be the one that ECR sees when the kubelet pulls.
#[derive(Clone, Debug)]
pub(crate) struct Puller {
    /// Who it is.
    pub principal: PullerIdentity,
    /// How it was found, for a person, and its policies where these are not the policy object's:
    /// `annotation eks.amazonaws.com/ecr-role-arn; policies from file roles.yaml`.
    pub found_by: String,
    /// Its identity-based policies; none where they are not known.
    pub identity: Option<Arc<IdentityPolicies>>,
    /// What a source says of it; none where the policy object declares its policies, and where nobody has it.
    pub fact: Option<Arc<RoleFact>>,
    /// Another source says something else.
    pub is_disputed: bool,
}

impl Puller {
    /// With what is known of its policies, by the order of who says so (RES-17): what the policy object declares for it, else
    /// what the first source has of the role, else nothing.
    fn new(
        principal: PullerIdentity,
        mut found_by: String,
        declared: Option<&Arc<IdentityPolicies>>,
        roles: &Roles,
    ) -> Self {
        let fact = if declared.is_some() { None } else { roles.first(&principal.arn) };
        let other = fact.and_then(|fact| roles.otherwise(fact));
        let identity = fact.map_or(declared, |fact| fact.identity()).cloned();
        if let Some(fact) = fact {
            found_by.push_str("; policies from ");
            found_by.push_str(&fact.told_by());
        }
        if let Some(other) = other {
            found_by.push_str(&format!(", {} says otherwise", other.told_by()));
        }
        Self { principal, found_by, identity, fact: fact.cloned(), is_disputed: other.is_some() }
    }
}

/// The IAM principal of a puller: a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullerIdentity {
    /// Its ARN.
    pub arn: RoleArn,
    /// How its credentials are obtained.
    pub session: Session,
}

impl fmt::Display for PullerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.arn.as_str())
    }
}

/// Who pulls the images of a service account.
#[derive(Clone, Debug)]
pub(crate) enum Pullers {
    /// One of these.
    Candidates(Vec<Puller>),
    /// Somebody who is not known, or nobody.
    NotKnown(NotKnown),
}

/// Why the puller is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotKnown {
    /// The coarse code.
    pub reason: Reason,
    /// The fine code.
    pub cause: CauseCode,
    /// The missing facts.
    pub missing: Vec<MissingFact>,
    /// The same for a person.
    pub why: String,
    /// What would name the role, where that is what is missing.
    pub annotation: Option<Box<AnnotationWanted>>,
    /// Nobody pulls with credentials, whatever else turns out: the pull is anonymous and fails.
    pub fails: bool,
}

/// An annotation of a service account that would name the role that pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnnotationWanted {
    /// The service account's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The annotation.
    pub key: String,
    /// The role that was perhaps meant.
    pub role: Option<RoleArn>,
    /// What to do, for a person.
    pub why: String,
}

/// The candidates for a pod or workload, whose service account is `account` if it was seen (RES-4, RES-5).
#[must_use]
pub(crate) fn pullers(
    spec: &CompiledSpec,
    subject: &Subject,
    account: Option<&ServiceAccountFacts>,
    roles: &Roles,
) -> Pullers {
    match &spec.puller {
        CompiledPuller::Role(CompiledRole { arn, identity, .. }) => {
            let principal = PullerIdentity { arn: arn.clone(), session: Session::FixedRole };
            let found_by = "spec.puller.role".to_owned();
            Pullers::Candidates(vec![Puller::new(principal, found_by, identity.as_ref(), roles)])
        }
        CompiledPuller::Nodes(nodes) => {
            candidates_of_nodes(nodes, nodes, "spec.puller.nodes", &subject.placement, roles).unwrap_or_else(|| {
                Pullers::NotKnown(node_not_known("the node's role pulls, and none is declared".to_owned()))
            })
        }
        CompiledPuller::ServiceAccount {
            annotation,
            identity,
            roles: listed,
            default_role,
            fallback_nodes,
            falls_back_to_node,
        } => {
            let mapping = Mapping {
                annotation,
                identity: identity.as_ref(),
                listed,
                default_role: default_role.as_ref(),
                fallback_nodes,
                falls_back_to_node: *falls_back_to_node,
                subject,
                roles,
            };
            mapping.pullers(account)
        }
    }
}

/// How service accounts come by the roles that pull for them.
struct Mapping<'a> {
    annotation: &'a str,
    identity: Option<&'a Arc<IdentityPolicies>>,
    listed: &'a [CompiledRole],
    default_role: Option<&'a RoleArn>,
    fallback_nodes: &'a [CompiledRole],
    falls_back_to_node: bool,
    subject: &'a Subject,
    /// What the inventory has of roles.
    roles: &'a Roles,
}

impl Mapping<'_> {
    fn pullers(&self, account: Option<&ServiceAccountFacts>) -> Pullers {
        let annotation = self.annotation;
        let Subject { namespace, service_account: name, .. } = self.subject;
        let Some(account) = account else {
            return Pullers::NotKnown(NotKnown {
                reason: Reason::FactsMissing,
                cause: CauseCode::ServiceAccountNotFound,
                missing: vec![MissingFact::service_account(namespace, name)],
                why: format!(
                    "service account {namespace}/{name} was not found, so its annotation {annotation} is not known"
                ),
                annotation: None,
                fails: false,
            });
        };
        match (account.annotations.get(annotation).map(String::as_str), self.default_role) {
            // Present and empty: the credential provider leaves the pull to the node, before any default.
            (Some(""), _) => self.without_a_role(
                CauseCode::NodePulls,
                format!("annotation {annotation} of service account {namespace}/{name} is empty"),
                None,
            ),
            (Some(value), _) => match RoleArn::parse(value) {
                Some(arn) => self.role(arn, format!("annotation {annotation}")),
                // The provider asks for this role all the same, and falls back to nobody where it gets none.
                None => Pullers::NotKnown(NotKnown {
                    reason: Reason::NoRole,
                    cause: CauseCode::AnnotationIsNoRole,
                    missing: Vec::new(),
                    why: format!(
                        "annotation {annotation} of service account {namespace}/{name} is no role ARN: `{value}`"
                    ),
                    annotation: Some(match RoleArn::parse(value.trim()) {
                        Some(arn) => {
                            self.annotate(Some(arn), format!("take the white space out of annotation {annotation}"))
                        }
                        None => self.annotate(
                            None,
                            format!("annotation {annotation} must be like arn:aws:iam::111122223333:role/NAME"),
                        ),
                    }),
                    fails: true,
                }),
            },
            (None, Some(arn)) => self.role(arn.clone(), "spec.puller.serviceAccount.defaultRoleArn".to_owned()),
            (None, None) => {
                let misspelt = misspelt_annotation(annotation, account);
                let cause = misspelt.as_ref().map_or(CauseCode::NodePulls, MisspeltAnnotation::cause);
                let hint = misspelt.as_ref().map(|found| format!(" ({})", found.why(annotation))).unwrap_or_default();
                self.without_a_role(
                    cause,
                    format!("service account {namespace}/{name} has no role{hint}"),
                    misspelt.and_then(|found| found.role),
                )
            }
        }
    }

    /// A role that the token is exchanged for, with its own policies, else those of the service account.
    fn role(&self, arn: RoleArn, found_by: String) -> Pullers {
        let declared = identity_of(&arn, self.declared_roles()).or(self.identity);
        let principal = PullerIdentity { arn, session: Session::ServiceAccountToken };
        Pullers::Candidates(vec![Puller::new(principal, found_by, declared, self.roles)])
    }

    /// The nodes pull for a service account without a role, where the credential provider falls back to them; `why` says
    /// why it has none, and `role` is the one that was perhaps meant.
    fn without_a_role(&self, cause: CauseCode, why: String, role: Option<RoleArn>) -> Pullers {
        let annotation =
            Some(self.annotate(role, format!("name the role that pulls in annotation {}", self.annotation)));
        if !self.falls_back_to_node {
            let cause = if cause == CauseCode::NodePulls { CauseCode::NoCredentials } else { cause };
            let why = format!("{why}, and the credential provider does not fall back to the node (fallsBackToNode)");
            let not_known =
                NotKnown { reason: Reason::NoRole, cause, missing: Vec::new(), why, annotation, fails: true };
            return Pullers::NotKnown(not_known);
        }
        let found_by = "spec.puller.serviceAccount.fallbackNodes";
        let Subject { placement, .. } = self.subject;
        let nodes = candidates_of_nodes(self.fallback_nodes, self.declared_roles(), found_by, placement, self.roles);
        nodes.unwrap_or_else(|| {
            let why = format!("{why}, so the node's role pulls, which is not known (fallbackNodes can tell)");
            Pullers::NotKnown(NotKnown { cause, annotation, ..node_not_known(why) })
        })
    }

    fn annotate(&self, role: Option<RoleArn>, why: String) -> Box<AnnotationWanted> {
        let Subject { namespace, service_account: name, .. } = self.subject;
        let (namespace, name) = (namespace.clone(), name.clone());
        Box::new(AnnotationWanted { namespace, name, key: self.annotation.to_owned(), role, why })
    }

    fn declared_roles(&self) -> impl Iterator<Item = &CompiledRole> + Clone {
        self.listed.iter().chain(self.fallback_nodes)
    }
}

/// The identity-based policies that are declared beside a role, wherever it is listed.
fn identity_of<'a>(
    arn: &RoleArn,
    declared: impl IntoIterator<Item = &'a CompiledRole> + Clone,
) -> Option<&'a Arc<IdentityPolicies>> {
    let exact = declared.clone().into_iter().filter(|role| role.arn == *arn);
    let same = declared.into_iter().filter(|role| role.arn.is_same_role(arn));
    exact.chain(same).find_map(|role| role.identity.as_ref())
}

/// Every listed role is a candidate whose nodes the pod can run on, since a node is not chosen at admission. None where the
/// list is empty.
fn candidates_of_nodes<'a>(
    nodes: &[CompiledRole],
    declared: impl IntoIterator<Item = &'a CompiledRole> + Clone,
    found_by: &str,
    placement: &Placement,
    roles: &Roles,
) -> Option<Pullers> {
    let candidate = |node: &CompiledRole| {
        let declared = node.identity.as_ref().or_else(|| identity_of(&node.arn, declared.clone()));
        let principal = PullerIdentity { arn: node.arn.clone(), session: Session::Node };
        Puller::new(principal, found_by.to_owned(), declared, roles)
    };
    let can_run = |node: &&CompiledRole| !placement.excludes(&node.labels);
    let candidates: Vec<Puller> = nodes.iter().filter(can_run).map(candidate).collect();
    match (nodes.is_empty(), candidates.is_empty()) {
        (true, _) => None,
        // Rather a node that nobody declared than one that the pod keeps away from.
        (_, true) => Some(Pullers::NotKnown(node_not_known(format!(
            "the node's role pulls, and no node of {found_by} has the labels that the pod asks for"
        )))),
        _ => Some(Pullers::Candidates(candidates)),
    }
}

fn node_not_known(why: String) -> NotKnown {
    NotKnown {
        reason: Reason::DependsOnNode,
        cause: CauseCode::NodePulls,
        missing: vec![MissingFact::Node],
        why,
        annotation: None,
        fails: false,
    }
}

/// The declared roles that could pull in the place of those that do, for a diagnosis: whom an almost right annotation
/// names first, then the others with policies of their own. What the inventory has of roles takes no part: a judgement
/// rests on the roles that may pull, and on no others.
#[must_use]
pub(crate) fn others(spec: &CompiledSpec, account: &ServiceAccountFacts) -> Vec<Puller> {
    let CompiledPuller::ServiceAccount { annotation, identity, roles, .. } = &spec.puller else { return Vec::new() };
    let named = misspelt_annotation(annotation, account).and_then(|found| found.role);
    let nothing = Roles::default();
    let by_token = |arn: &RoleArn, identity: Option<&Arc<IdentityPolicies>>| {
        let principal = PullerIdentity { arn: arn.clone(), session: Session::ServiceAccountToken };
        Puller::new(principal, format!("annotation {annotation}"), identity, &nothing)
    };
    let first = named.as_ref().map(|arn| by_token(arn, identity_of(arn, roles).or(identity.as_ref())));
    let is_named = |role: &CompiledRole| named.as_ref().is_some_and(|named| named.is_same_role(&role.arn));
    let rest = roles.iter().filter(|role| !is_named(role) && role.identity.is_some());
    first.into_iter().chain(rest.map(|role| by_token(&role.arn, role.identity.as_ref()))).collect()
}

#[cfg(test)]
mod tests {
    use fixtures::ROLE;
    use serde_json::{Value, json};

    use super::*;
    use crate::facts::Source;
    use crate::policy::compiled::PolicyObject;

    fn spec(puller: Value) -> Arc<CompiledSpec> {
        PolicyObject::from_json(fixtures::policy("p").with("puller", puller).object()).unwrap().body.unwrap()
    }

    fn account(labels: Value, annotations: Value) -> ServiceAccountFacts {
        let account = fixtures::marked(fixtures::service_account("api"), labels, annotations);
        ServiceAccountFacts::from_json(&account).unwrap()
    }

    fn subject() -> Subject {
        Subject { namespace: "payments".to_owned(), service_account: "api".to_owned(), ..Subject::default() }
    }

    fn found(puller: Value, account: Option<&ServiceAccountFacts>) -> Result<(String, String, bool), NotKnown> {
        let spec = spec(puller);
        match pullers(&spec, &subject(), account, &Roles::default()) {
            Pullers::Candidates(candidates) => {
                let [puller] = candidates.as_slice() else { panic!("{candidates:?}") };
                Ok((puller.principal.to_string(), puller.found_by.clone(), puller.identity.is_some()))
            }
            Pullers::NotKnown(not_known) => Err(not_known),
        }
    }

    fn identity() -> Value {
        json!({"policies": [{"name": "p", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}]})
    }

    #[test]
    fn who_pulls() {
        let key = "eks.amazonaws.com/ecr-role-arn";
        let plain = account(json!({}), json!({}));
        let annotated =
            account(json!({}), json!({key: ROLE, "eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/irsa"}));
        let custom = account(json!({}), json!({"x/role": ROLE}));
        let default = "arn:aws:iam::111122223333:role/default";
        let by_annotation = "annotation eks.amazonaws.com/ecr-role-arn";
        let cases = [
            (json!({"role": {"arn": ROLE}}), &plain, (ROLE, "spec.puller.role", false)),
            (json!({"role": {"arn": ROLE, "identity": identity()}}), &annotated, (ROLE, "spec.puller.role", true)),
            (json!({"serviceAccount": {}}), &annotated, (ROLE, by_annotation, false)),
            (json!({"serviceAccount": {"identity": identity()}}), &annotated, (ROLE, by_annotation, true)),
            (json!({"serviceAccount": {"roleAnnotation": "x/role"}}), &custom, (ROLE, "annotation x/role", false)),
            (
                json!({"serviceAccount": {"roles": [{"arn": ROLE, "identity": identity()}]}}),
                &annotated,
                (ROLE, by_annotation, true),
            ),
            (
                json!({"serviceAccount": {"roles": [{"arn": default, "identity": identity()}]}}),
                &annotated,
                (ROLE, by_annotation, false),
            ),
            (
                json!({"serviceAccount": {"roles": [{"arn": ROLE}], "identity": identity()}}),
                &annotated,
                (ROLE, by_annotation, true),
            ),
            (json!({"serviceAccount": {"defaultRoleArn": default}}), &annotated, (ROLE, by_annotation, false)),
            (
                json!({"serviceAccount": {"defaultRoleArn": default, "identity": identity()}}),
                &plain,
                (default, "spec.puller.serviceAccount.defaultRoleArn", true),
            ),
        ];
        for (puller, account, (principal, by, declared)) in cases {
            assert_eq!(
                found(puller.clone(), Some(account)),
                Ok((principal.to_owned(), by.to_owned(), declared)),
                "{puller}"
            );
        }
        // A fixed role needs no service account.
        assert!(found(json!({"role": {"arn": ROLE}}), None).is_ok());
    }

    /// The candidates' role names, kinds of session, whether policies are declared, and how they were found.
    fn nodes(puller: Value, account: Option<&ServiceAccountFacts>) -> Vec<(String, Session, bool, String)> {
        let spec = spec(puller);
        let found = pullers(&spec, &subject(), account, &Roles::default());
        let Pullers::Candidates(candidates) = found else { panic!("not known") };
        let told = |puller: Puller| {
            let PullerIdentity { arn, session } = puller.principal;
            (arn.name().to_owned(), session, puller.identity.is_some(), puller.found_by)
        };
        candidates.into_iter().map(told).collect()
    }

    #[test]
    fn every_node_is_a_candidate() {
        let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
        let listed = json!([{"arn": arn("one"), "identity": identity()}, {"arn": arn("two")}]);
        let by = |found_by: &str, session| {
            vec![
                ("one".to_owned(), session, true, found_by.to_owned()),
                ("two".to_owned(), session, false, found_by.to_owned()),
            ]
        };
        // Nodes need no service account.
        assert_eq!(nodes(json!({"nodes": listed}), None), by("spec.puller.nodes", Session::Node));

        let key = "eks.amazonaws.com/ecr-role-arn";
        let plain = account(json!({}), json!({}));
        let empty = account(json!({}), json!({key: ""}));
        let annotated = account(json!({}), json!({key: ROLE}));
        let fallback = by("spec.puller.serviceAccount.fallbackNodes", Session::Node);
        // The policies of the service account are not a node's.
        let spec = json!({"serviceAccount": {"fallbackNodes": listed, "identity": identity()}});
        assert_eq!(nodes(spec.clone(), Some(&plain)), fallback);
        assert_eq!(nodes(spec.clone(), Some(&empty)), fallback);
        let by_annotation = vec![("app".to_owned(), Session::ServiceAccountToken, true, format!("annotation {key}"))];
        assert_eq!(nodes(spec, Some(&annotated)), by_annotation);
        // An empty annotation comes before any default, a missing one after it.
        let spec = json!({"serviceAccount": {"fallbackNodes": listed, "defaultRoleArn": ROLE}});
        assert_eq!(nodes(spec.clone(), Some(&empty)), fallback);
        assert_eq!(nodes(spec, Some(&plain))[0].1, Session::ServiceAccountToken);
        // Policies are declared of a role wherever it is listed.
        let spec = json!({"serviceAccount": {"fallbackNodes": listed,
            "roles": [{"arn": arn("two"), "identity": identity()}]}});
        assert_eq!(nodes(spec, Some(&plain)).iter().map(|node| node.2).collect::<Vec<_>>(), [true, true]);
    }

    /// RES-17.
    #[test]
    fn what_the_policy_object_declares_comes_before_what_the_inventory_has() {
        let arn = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
        let fact = |name: &str, file: &str, statements: Value| {
            let source = Source::new(1, format!("file {file}"));
            let fact = RoleFact::new(RoleArn::parse(&arn(name)).unwrap(), source);
            fact.with_document("in-a-file", &fixtures::document(statements))
        };
        let mut roles = Roles::default();
        for name in ["app", "one"] {
            roles.put(fact(name, "b.yaml", json!([])));
        }
        roles.put(fact("one", "a.yaml", fixtures::everything()));
        let told = |puller: Value, annotations: Value| -> Vec<String> {
            let found = pullers(&spec(puller), &subject(), Some(&account(json!({}), annotations)), &roles);
            let Pullers::Candidates(candidates) = found else { panic!("{found:?}") };
            let policies = |puller: &Puller| {
                let policies = puller.identity.iter().flat_map(|identity| identity.policies());
                policies.map(|sourced| sourced.policy.name.to_string()).collect::<Vec<_>>().join(" ")
            };
            let told = |puller: &Puller| format!("{}: {} {}", puller.found_by, policies(puller), puller.is_disputed);
            candidates.iter().map(told).collect()
        };
        let key = "eks.amazonaws.com/ecr-role-arn";
        let by_file = "policies from file b.yaml: in-a-file false";
        let disputed = "policies from file a.yaml, file b.yaml says otherwise: in-a-file true";
        let none = || json!({});
        assert_eq!(told(json!({"role": {"arn": ROLE}}), none()), [format!("spec.puller.role; {by_file}")]);
        let declared = json!({"role": {"arn": ROLE, "identity": identity()}});
        assert_eq!(told(declared, none()), ["spec.puller.role: p false"]);
        let nodes = json!([{"arn": arn("one")}, {"arn": arn("two")}, {"arn": arn("app"), "identity": identity()}]);
        let expected = [
            format!("spec.puller.nodes; {disputed}"),
            "spec.puller.nodes:  false".to_owned(),
            "spec.puller.nodes: p false".to_owned(),
        ];
        assert_eq!(told(json!({"nodes": nodes}), none()), expected);
        let annotated = json!({key: arn("team/app")});
        for (spec, expected) in [
            (json!({}), format!("annotation {key}; {by_file}")),
            (json!({"identity": identity()}), format!("annotation {key}: p false")),
            (json!({"roles": [{"arn": ROLE}]}), format!("annotation {key}; {by_file}")),
            (json!({"roles": [{"arn": ROLE, "identity": identity()}]}), format!("annotation {key}: p false")),
        ] {
            assert_eq!(told(json!({"serviceAccount": spec}), annotated.clone()), [expected]);
        }
        let fallback = told(json!({"serviceAccount": {"fallbackNodes": [{"arn": arn("app")}]}}), none());
        assert_eq!(fallback, [format!("spec.puller.serviceAccount.fallbackNodes; {by_file}")]);
    }

    #[test]
    fn nobody_knows_who_pulls() {
        let key = "eks.amazonaws.com/ecr-role-arn";
        let everything = json!({"serviceAccount": {"defaultRoleArn": ROLE, "identity": identity()}});
        let empty = account(json!({}), json!({key: ""}));
        let plain = account(json!({}), json!({}));
        let cases = [
            // An empty annotation means the node, before any default.
            (everything.clone(), Some(&empty), Reason::DependsOnNode, CauseCode::NodePulls, "node"),
            (everything, None, Reason::FactsMissing, CauseCode::ServiceAccountNotFound, "serviceAccount:payments/api"),
            (json!({"serviceAccount": {}}), Some(&plain), Reason::DependsOnNode, CauseCode::NodePulls, "node"),
            // The policies of a role make none.
            (
                json!({"serviceAccount": {"identity": identity()}}),
                Some(&plain),
                Reason::DependsOnNode,
                CauseCode::NodePulls,
                "node",
            ),
            (
                json!({"serviceAccount": {"fallsBackToNode": true}}),
                Some(&plain),
                Reason::DependsOnNode,
                CauseCode::NodePulls,
                "node",
            ),
        ];
        for (puller, account, reason, cause, missing) in cases {
            let not_known = found(puller, account).unwrap_err();
            let [fact] = not_known.missing.as_slice() else { panic!("{not_known:?}") };
            assert_eq!((not_known.reason, not_known.cause, fact.to_string().as_str()), (reason, cause, missing));
            assert!(!not_known.fails);
        }
        let not_known = found(json!({"serviceAccount": {}}), Some(&plain)).unwrap_err();
        assert_eq!(
            not_known.why,
            "service account payments/api has no role, so the node's role pulls, which is not known (fallbackNodes can tell)"
        );
        let annotation = not_known.annotation.unwrap();
        assert_eq!((annotation.key.as_str(), annotation.role), (key, None));
    }

    #[test]
    fn nobody_pulls_with_credentials() {
        let key = "eks.amazonaws.com/ecr-role-arn";
        let before = json!({"serviceAccount": {"fallsBackToNode": false, "identity": identity(),
            "fallbackNodes": [{"arn": ROLE, "identity": identity()}]}});
        let stock = json!({"serviceAccount": {"defaultRoleArn": ROLE, "fallbackNodes": [{"arn": ROLE}]}});
        for (puller, annotations, cause) in [
            (&before, json!({}), CauseCode::NoCredentials),
            (&before, json!({key: ""}), CauseCode::NoCredentials),
            (&before, json!({"eks.amazonaws.com/ecr-role": ROLE}), CauseCode::AnnotationAlmostRight),
            (&before, json!({"eks.amazonaws.com/role-arn": ROLE}), CauseCode::IrsaRoleDoesNotPull),
            (&stock, json!({key: "app"}), CauseCode::AnnotationIsNoRole),
            (&stock, json!({key: format!("{ROLE} ")}), CauseCode::AnnotationIsNoRole),
            (&stock, json!({key: "arn:aws:iam::111122223333:user/app"}), CauseCode::AnnotationIsNoRole),
        ] {
            let nobody = found(puller.clone(), Some(&account(json!({}), annotations.clone()))).unwrap_err();
            assert_eq!((nobody.cause, nobody.fails, nobody.missing.len()), (cause, true, 0), "{annotations}");
            assert!(nobody.annotation.is_some(), "{annotations}");
        }
        // A role is one whether or not there is something to fall back to.
        let annotated = account(json!({}), json!({key: ROLE}));
        assert!(found(before, Some(&annotated)).is_ok());
    }

    #[test]
    fn nodes_that_the_pod_keeps_away_from_are_no_candidates() {
        let node = |name: &str, labels: Value| json!({"arn": format!("arn:aws:iam::111122223333:role/{name}"), "labels": labels});
        let listed =
            json!([node("gpu", json!({"group": "gpu"})), node("web", json!({"group": "web"})), node("any", json!({}))]);
        let plain = account(json!({}), json!({}));
        for puller in [json!({"nodes": listed}), json!({"serviceAccount": {"fallbackNodes": listed}})] {
            let spec = spec(puller);
            let names = |pod: Value| {
                let subject = Subject::from_pod(&json!({"spec": pod})).unwrap();
                match pullers(&spec, &subject, Some(&plain), &Roles::default()) {
                    Pullers::Candidates(candidates) => {
                        candidates.iter().map(|puller| puller.principal.arn.name()).collect::<Vec<_>>().join(" ")
                    }
                    Pullers::NotKnown(not_known) => not_known.cause.to_string(),
                }
            };
            assert_eq!(names(json!({})), "gpu web any");
            assert_eq!(names(json!({"nodeSelector": {"group": "gpu"}})), "gpu any");
            assert_eq!(names(json!({"nodeSelector": {"group": "db"}})), "any");
            assert_eq!(names(json!({"nodeSelector": {"zone": "a"}})), "gpu web any");
        }
        let spec = spec(json!({"nodes": [node("gpu", json!({"group": "gpu"}))]}));
        let elsewhere = Subject::from_pod(&json!({"spec": {"nodeSelector": {"group": "web"}}})).unwrap();
        let Pullers::NotKnown(not_known) = pullers(&spec, &elsewhere, None, &Roles::default()) else {
            panic!("a node that it keeps away from")
        };
        assert_eq!((not_known.cause, not_known.fails), (CauseCode::NodePulls, false));
    }

    #[test]
    fn the_policies_of_a_role_are_found_with_and_without_its_path() {
        let key = "eks.amazonaws.com/ecr-role-arn";
        let arn = |path: &str| format!("arn:aws:iam::111122223333:role/{path}");
        for (declared, named, found_it) in [
            ("app", "eks/app", true),
            ("eks/app", "app", true),
            ("eks/app", "eks/app", true),
            ("eks/app", "web/app", false),
            ("app", "eks/app2", false),
        ] {
            let puller = json!({"serviceAccount": {"roles": [{"arn": arn(declared), "identity": identity()}]}});
            let annotated = account(json!({}), json!({key: arn(named)}));
            assert_eq!(found(puller, Some(&annotated)).unwrap().2, found_it, "{declared} {named}");
        }
    }

    #[test]
    fn what_would_name_the_role_is_told() {
        let default = crate::policy::DEFAULT_ROLE_ANNOTATION;
        let wanted = Some((default.to_owned(), RoleArn::parse(ROLE)));
        let wrong = account(json!({}), json!({"eks.amazonaws.com/ecr-role": ROLE}));
        let not_known = found(json!({"serviceAccount": {}}), Some(&wrong)).unwrap_err();
        assert_eq!((not_known.cause, not_known.fails), (CauseCode::AnnotationAlmostRight, false));
        assert_eq!(
            not_known.why,
            "service account payments/api has no role (its annotation eks.amazonaws.com/ecr-role is not read; \
             eks.amazonaws.com/ecr-role-arn is), so the node's role pulls, which is not known (fallbackNodes can tell)"
        );
        assert_eq!(not_known.annotation.map(|wanted| (wanted.key, wanted.role)), wanted);
        // Padding around a good ARN is taken out.
        let padded = account(json!({}), json!({default: format!("{ROLE} ")}));
        let not_known = found(json!({"serviceAccount": {}}), Some(&padded)).unwrap_err();
        assert_eq!(not_known.cause, CauseCode::AnnotationIsNoRole);
        assert_eq!(not_known.annotation.map(|wanted| (wanted.key, wanted.role)), wanted);
    }
}
