//! Who pulls the images of a service account.

use std::fmt;
use std::sync::Arc;

use crate::annotation::{MisspeltAnnotation, misspelt_annotation};
use crate::ecr::arn::RoleArn;
use crate::ecr::condition_keys::Session;
use crate::facts::declared::IdentityPolicies;
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason};
use crate::inventory::ServiceAccountFacts;
use crate::policy::compiled::{CompiledPuller, CompiledRole, CompiledSpec};

/// A candidate: somebody who may be the one that ECR sees when the kubelet pulls.
#[derive(Clone, Debug)]
pub(crate) struct Puller {
    /// Who it is.
    pub who: PullerIdentity,
    /// How it was found, for a person: `annotation eks.amazonaws.com/ecr-role-arn`.
    pub found_by: String,
    /// Its identity-based policies; none where they are declared nowhere.
    pub identity: Option<Arc<IdentityPolicies>>,
}

/// The IAM principal of a puller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullerIdentity {
    /// A role.
    Role {
        /// Its ARN.
        arn: RoleArn,
        /// How its credentials are obtained.
        session: Session,
    },
    /// The role behind a service account, whose ARN nobody declared.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for PullerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { arn, .. } => f.write_str(arn.as_str()),
            Self::ServiceAccount { namespace, name } => write!(f, "service account {namespace}/{name}"),
        }
    }
}

/// Who pulls the images of a service account.
#[derive(Clone, Debug)]
pub(crate) enum Pullers {
    /// One of these.
    Candidates(Vec<Puller>),
    /// Somebody who is not known.
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

/// The candidates for the service account `namespace/name`, whose object is `account` if it was seen (RES-4, RES-5).
#[must_use]
pub(crate) fn pullers(
    spec: &CompiledSpec,
    namespace: &str,
    name: &str,
    account: Option<&ServiceAccountFacts>,
) -> Pullers {
    match &spec.puller {
        CompiledPuller::Role(CompiledRole { arn, identity }) => Pullers::Candidates(vec![Puller {
            who: PullerIdentity::Role { arn: arn.clone(), session: Session::FixedRole },
            found_by: "spec.puller.role".to_owned(),
            identity: identity.clone(),
        }]),
        CompiledPuller::Nodes(nodes) => match candidates_of_nodes(nodes, nodes, "spec.puller.nodes") {
            Some(candidates) => Pullers::Candidates(candidates),
            None => Pullers::NotKnown(node_not_known("the node's role pulls, and none is declared".to_owned())),
        },
        CompiledPuller::ServiceAccount { annotation, identity, roles, default_role, fallback_nodes } => {
            let mapping = Mapping {
                annotation,
                identity: identity.as_ref(),
                roles,
                default_role: default_role.as_ref(),
                fallback_nodes,
            };
            mapping.pullers(namespace, name, account)
        }
    }
}

/// How service accounts come by the roles that pull for them.
struct Mapping<'a> {
    annotation: &'a str,
    identity: Option<&'a Arc<IdentityPolicies>>,
    roles: &'a [CompiledRole],
    default_role: Option<&'a RoleArn>,
    fallback_nodes: &'a [CompiledRole],
}

impl Mapping<'_> {
    fn pullers(&self, namespace: &str, name: &str, account: Option<&ServiceAccountFacts>) -> Pullers {
        let annotation = self.annotation;
        let Some(account) = account else {
            return Pullers::NotKnown(NotKnown {
                reason: Reason::FactsMissing,
                cause: CauseCode::ServiceAccountNotFound,
                missing: vec![MissingFact::service_account(namespace, name)],
                why: format!(
                    "service account {namespace}/{name} was not found, so its annotation {annotation} is not known"
                ),
                annotation: None,
            });
        };
        match (account.annotations.get(annotation).map(String::as_str), self.default_role) {
            // Present and empty: the credential provider leaves the pull to the node, before any default.
            (Some(""), _) => self.nodes().unwrap_or_else(|| {
                let why = format!(
                    "annotation {annotation} of service account {namespace}/{name} is empty, so the node's role pulls, \
                     which is not known"
                );
                Pullers::NotKnown(NotKnown {
                    annotation: Some(self.annotate(
                        (namespace, name),
                        None,
                        format!("name the role that pulls in annotation {annotation}"),
                    )),
                    ..node_not_known(why)
                })
            }),
            (Some(value), _) => match RoleArn::parse(value) {
                Some(arn) => self.role(arn, format!("annotation {annotation}")),
                None => Pullers::NotKnown(NotKnown {
                    reason: Reason::NoRole,
                    cause: CauseCode::AnnotationIsNoRole,
                    missing: vec![MissingFact::PullerRole],
                    why: format!(
                        "annotation {annotation} of service account {namespace}/{name} is no role ARN: `{value}`"
                    ),
                    annotation: Some(match RoleArn::parse(value.trim()) {
                        Some(arn) => self.annotate(
                            (namespace, name),
                            Some(arn),
                            format!("take the white space out of annotation {annotation}"),
                        ),
                        None => self.annotate(
                            (namespace, name),
                            None,
                            format!("annotation {annotation} must be like arn:aws:iam::111122223333:role/NAME"),
                        ),
                    }),
                }),
            },
            (None, Some(arn)) => self.role(arn.clone(), "spec.puller.serviceAccount.defaultRoleArn".to_owned()),
            (None, None) => self.nodes().unwrap_or_else(|| self.service_account(namespace, name, account)),
        }
    }

    /// A role that the token is exchanged for, with its own policies, else those of the service account.
    fn role(&self, arn: RoleArn, found_by: String) -> Pullers {
        let identity = identity_of(&arn, self.declared_roles()).or(self.identity).cloned();
        let who = PullerIdentity::Role { arn, session: Session::ServiceAccountToken };
        Pullers::Candidates(vec![Puller { who, found_by, identity }])
    }

    /// The nodes that pull for a service account without a role; none where none are declared.
    fn nodes(&self) -> Option<Pullers> {
        candidates_of_nodes(self.fallback_nodes, self.declared_roles(), "spec.puller.serviceAccount.fallbackNodes")
            .map(Pullers::Candidates)
    }

    /// The service account itself, where its policies are declared without a role.
    fn service_account(&self, namespace: &str, name: &str, account: &ServiceAccountFacts) -> Pullers {
        match self.identity {
            Some(identity) => Pullers::Candidates(vec![Puller {
                who: PullerIdentity::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() },
                found_by: "spec.puller.serviceAccount.identity".to_owned(),
                identity: Some(Arc::clone(identity)),
            }]),
            None => {
                let annotation = self.annotation;
                let misspelt = misspelt_annotation(annotation, account);
                let hint = misspelt.as_ref().map(|found| format!(": {}", found.why(annotation))).unwrap_or_default();
                Pullers::NotKnown(NotKnown {
                    reason: Reason::NoRole,
                    cause: misspelt.as_ref().map_or(CauseCode::NoRoleMapped, MisspeltAnnotation::cause),
                    missing: vec![MissingFact::PullerRole],
                    why: format!("no role is mapped to service account {namespace}/{name}{hint}"),
                    annotation: Some(self.annotate(
                        (namespace, name),
                        misspelt.and_then(|found| found.role),
                        format!("name the role that pulls in annotation {annotation}"),
                    )),
                })
            }
        }
    }

    fn annotate(&self, (namespace, name): (&str, &str), role: Option<RoleArn>, why: String) -> Box<AnnotationWanted> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Box::new(AnnotationWanted { namespace, name, key: self.annotation.to_owned(), role, why })
    }

    fn declared_roles(&self) -> impl Iterator<Item = &CompiledRole> + Clone {
        self.roles.iter().chain(self.fallback_nodes)
    }
}

/// The identity-based policies that are declared beside a role, wherever it is listed.
fn identity_of<'a>(
    arn: &RoleArn,
    declared: impl IntoIterator<Item = &'a CompiledRole>,
) -> Option<&'a Arc<IdentityPolicies>> {
    declared.into_iter().filter(|role| role.arn == *arn).find_map(|role| role.identity.as_ref())
}

/// Every listed role is a candidate, since a node is not chosen at admission. None where the list is empty.
fn candidates_of_nodes<'a>(
    nodes: &[CompiledRole],
    declared: impl IntoIterator<Item = &'a CompiledRole> + Clone,
    found_by: &str,
) -> Option<Vec<Puller>> {
    let candidate = |node: &CompiledRole| Puller {
        who: PullerIdentity::Role { arn: node.arn.clone(), session: Session::Node },
        found_by: found_by.to_owned(),
        identity: node.identity.as_ref().or_else(|| identity_of(&node.arn, declared.clone())).cloned(),
    };
    (!nodes.is_empty()).then(|| nodes.iter().map(candidate).collect())
}

fn node_not_known(why: String) -> NotKnown {
    NotKnown {
        reason: Reason::DependsOnNode,
        cause: CauseCode::NodePulls,
        missing: vec![MissingFact::Node],
        why,
        annotation: None,
    }
}

/// The declared roles that could pull in the place of those that do, for a diagnosis: whom an almost right annotation
/// names first, then the others with policies of their own.
#[must_use]
pub(crate) fn others(spec: &CompiledSpec, account: &ServiceAccountFacts) -> Vec<Puller> {
    let CompiledPuller::ServiceAccount { annotation, identity, roles, .. } = &spec.puller else { return Vec::new() };
    let named = misspelt_annotation(annotation, account).and_then(|found| found.role);
    let by_token = |arn: &RoleArn, identity: Option<&Arc<IdentityPolicies>>| Puller {
        who: PullerIdentity::Role { arn: arn.clone(), session: Session::ServiceAccountToken },
        found_by: format!("annotation {annotation}"),
        identity: identity.cloned(),
    };
    let first = named.as_ref().map(|arn| by_token(arn, identity_of(arn, roles).or(identity.as_ref())));
    let rest = roles.iter().filter(|role| named.as_ref() != Some(&role.arn) && role.identity.is_some());
    first.into_iter().chain(rest.map(|role| by_token(&role.arn, role.identity.as_ref()))).collect()
}

#[cfg(test)]
mod tests {
    use fixtures::ROLE;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::compiled::PolicyObject;

    fn spec(puller: Value) -> Arc<CompiledSpec> {
        PolicyObject::from_json(fixtures::policy("p").with("puller", puller).object()).unwrap().body.unwrap()
    }

    fn account(labels: Value, annotations: Value) -> ServiceAccountFacts {
        let account = fixtures::marked(fixtures::service_account("api"), labels, annotations);
        ServiceAccountFacts::from_json(&account).unwrap()
    }

    fn found(puller: Value, account: Option<&ServiceAccountFacts>) -> Result<(String, String, bool), NotKnown> {
        let spec = spec(puller);
        match pullers(&spec, "payments", "api", account) {
            Pullers::Candidates(candidates) => {
                let [puller] = candidates.as_slice() else { panic!("{candidates:?}") };
                Ok((puller.who.to_string(), puller.found_by.clone(), puller.identity.is_some()))
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
            (
                json!({"serviceAccount": {"identity": identity()}}),
                &plain,
                ("service account payments/api", "spec.puller.serviceAccount.identity", true),
            ),
        ];
        for (puller, account, (who, by, declared)) in cases {
            assert_eq!(found(puller.clone(), Some(account)), Ok((who.to_owned(), by.to_owned(), declared)), "{puller}");
        }
        // A fixed role needs no service account.
        assert!(found(json!({"role": {"arn": ROLE}}), None).is_ok());
    }

    /// The candidates' role names, kinds of session, whether policies are declared, and how they were found.
    fn nodes(puller: Value, account: Option<&ServiceAccountFacts>) -> Vec<(String, Session, bool, String)> {
        let spec = spec(puller);
        let Pullers::Candidates(candidates) = pullers(&spec, "payments", "api", account) else { panic!("not known") };
        let told = |puller: Puller| match puller.who {
            PullerIdentity::Role { arn, session } => {
                (arn.name().to_owned(), session, puller.identity.is_some(), puller.found_by)
            }
            PullerIdentity::ServiceAccount { .. } => panic!("no role"),
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

    #[test]
    fn nobody_knows_who_pulls() {
        let key = "eks.amazonaws.com/ecr-role-arn";
        let everything = json!({"serviceAccount": {"defaultRoleArn": ROLE, "identity": identity()}});
        let empty = account(json!({}), json!({key: ""}));
        let wrong = account(json!({}), json!({key: "app"}));
        let plain = account(json!({}), json!({}));
        let cases = [
            // An empty annotation means the node, before any default.
            (everything.clone(), Some(&empty), Reason::DependsOnNode, CauseCode::NodePulls, "node"),
            (everything.clone(), Some(&wrong), Reason::NoRole, CauseCode::AnnotationIsNoRole, "role"),
            (everything, None, Reason::FactsMissing, CauseCode::ServiceAccountNotFound, "serviceAccount:payments/api"),
            (json!({"serviceAccount": {}}), Some(&plain), Reason::NoRole, CauseCode::NoRoleMapped, "role"),
        ];
        for (puller, account, reason, cause, missing) in cases {
            let not_known = found(puller, account).unwrap_err();
            let [fact] = not_known.missing.as_slice() else { panic!("{not_known:?}") };
            assert_eq!((not_known.reason, not_known.cause, fact.to_string().as_str()), (reason, cause, missing));
        }
        let not_known = found(json!({"serviceAccount": {}}), Some(&plain)).unwrap_err();
        assert_eq!(not_known.why, "no role is mapped to service account payments/api");
        let annotation = not_known.annotation.unwrap();
        assert_eq!((annotation.key.as_str(), annotation.role), (key, None));
    }

    #[test]
    fn what_would_name_the_role_is_told() {
        let default = crate::policy::DEFAULT_ROLE_ANNOTATION;
        let wanted = Some((default.to_owned(), RoleArn::parse(ROLE)));
        let wrong = account(json!({}), json!({"eks.amazonaws.com/ecr-role": ROLE}));
        let not_known = found(json!({"serviceAccount": {}}), Some(&wrong)).unwrap_err();
        assert_eq!(not_known.cause, CauseCode::AnnotationAlmostRight);
        assert_eq!(
            not_known.why,
            "no role is mapped to service account payments/api: its annotation eks.amazonaws.com/ecr-role is not read; \
             eks.amazonaws.com/ecr-role-arn is"
        );
        assert_eq!(not_known.annotation.map(|wanted| (wanted.key, wanted.role)), wanted);
        // Padding around a good ARN is taken out.
        let padded = account(json!({}), json!({default: format!("{ROLE} ")}));
        let not_known = found(json!({"serviceAccount": {}}), Some(&padded)).unwrap_err();
        assert_eq!(not_known.cause, CauseCode::AnnotationIsNoRole);
        assert_eq!(not_known.annotation.map(|wanted| (wanted.key, wanted.role)), wanted);
    }
}
