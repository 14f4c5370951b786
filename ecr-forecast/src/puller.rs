//! From a service account to the policy that is in force for it, and to whoever pulls its images.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::ecr::advice::{CauseCode, Fix, Reason, Statement};
use crate::ecr::arn::RoleArn;
use crate::ecr::context::Session;
use crate::ecr::judge::{IdentityPolicies, Puller, Who};
use crate::ecr::missing::MissingFact;
use crate::inventory::{
    CompiledPuller, CompiledRole, CompiledSpec, Inventory, Label, PolicyKey, PolicyObject, ServiceAccountFacts,
};
use crate::policy::{Action, PolicyKind};

/// How closely a policy names a service account. Closer ranks win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// By name.
    Name,
    /// By labels.
    Selector,
    /// Not at all: the policy selects every service account.
    Everyone,
    /// Its selection could not be read.
    Unreadable,
}

/// Which policy is in force for a service account.
#[derive(Clone, Debug)]
pub enum Selection {
    /// None.
    None,
    /// This one.
    Policy {
        /// The winner.
        policy: Arc<PolicyObject>,
        /// How it selects the service account.
        rank: Rank,
        /// Policies of the same rank that lost by age alone.
        tied: Vec<PolicyKey>,
    },
    /// It depends on labels that were not seen.
    Unclear {
        /// Every policy that may be in force, strongest first.
        possible: Vec<Arc<PolicyObject>>,
        /// It may also be that none is.
        maybe_none: bool,
        /// The facts that would settle it.
        missing: Vec<MissingFact>,
    },
}

/// Whether, and how closely, a policy selects a service account. Outer none: certainly not. The flag says whether the
/// selection is certain.
///
/// `onDeny: Audit` makes no difference here; [`select`] passes such policies over.
#[must_use]
pub fn covers(policy: &PolicyObject, inventory: &Inventory, namespace: &str, name: &str) -> Option<(Rank, bool)> {
    if policy.key.namespace.as_deref().is_some_and(|own| own != namespace) {
        return None;
    }
    let in_namespace = match &policy.scope.namespaces {
        Some(selector) if policy.key.kind == PolicyKind::ClusterEcrAccessPolicy => {
            selector.matches(|key| inventory.namespace_label(namespace, key))
        }
        _ => Some(true),
    };
    let in_namespace = match in_namespace {
        Some(false) => return None,
        other => other.is_some(),
    };
    if policy.scope.unreadable {
        return Some((Rank::Unreadable, in_namespace));
    }
    if policy.scope.names.iter().any(|listed| listed == name) {
        return Some((Rank::Name, in_namespace));
    }
    if policy.scope.is_everyone() {
        return Some((Rank::Everyone, in_namespace));
    }
    let account = inventory.service_account(namespace, name);
    let label = |key: &str| account.map_or(Label::Unknown, |account| Label::of(&account.labels, key));
    match policy.scope.selector.as_ref()?.matches(label) {
        Some(true) => Some((Rank::Selector, in_namespace)),
        Some(false) => None,
        None => Some((Rank::Selector, false)),
    }
}

/// Selects the policy for a service account: a namespaced policy before a cluster one, a name before a selector before
/// neither, then the oldest, then by name. Policies with `onDeny: Audit` take no part. RES-3.
#[must_use]
pub fn select(inventory: &Inventory, namespace: &str, name: &str) -> Selection {
    let mut found: Vec<(Rank, bool, &Arc<PolicyObject>)> = inventory
        .policies_for(namespace)
        .filter(|policy| policy.on_deny != Action::Audit)
        .filter_map(|policy| covers(policy, inventory, namespace, name).map(|(rank, sure)| (rank, sure, policy)))
        .collect();
    found.sort_by(|(left_rank, _, left), (right_rank, _, right)| {
        class(*left_rank, left).cmp(&class(*right_rank, right)).then_with(|| by_age(left, right))
    });
    let winner = found.iter().position(|(_, sure, _)| *sure);
    match winner.and_then(|index| found.get(index)) {
        Some((rank, _, policy)) if winner == Some(0) => {
            let same = |other: &&(Rank, bool, &Arc<PolicyObject>)| {
                other.1 && other.2.key != policy.key && class(other.0, other.2) == class(*rank, policy)
            };
            let tied = found.iter().filter(same).map(|(_, _, other)| other.key.clone()).collect();
            Selection::Policy { policy: Arc::clone(policy), rank: *rank, tied }
        }
        None if found.is_empty() => Selection::None,
        _ => {
            let reach = winner.map_or(found.len(), |index| index + 1);
            let mut missing = Vec::new();
            if inventory.service_account(namespace, name).is_none() {
                missing.push(service_account(namespace, name));
            }
            if inventory.namespace(namespace).is_none() {
                missing.push(MissingFact::Namespace(namespace.to_owned()));
            }
            Selection::Unclear {
                possible: found.iter().take(reach).map(|(_, _, policy)| Arc::clone(policy)).collect(),
                maybe_none: winner.is_none(),
                missing,
            }
        }
    }
}

/// What precedes age in the order of policies. A policy whose selection could not be read comes after all others, so
/// that it harms nobody who has another one.
fn class(rank: Rank, policy: &PolicyObject) -> (bool, PolicyKind, Rank) {
    (rank == Rank::Unreadable, policy.key.kind, rank)
}

fn by_age(left: &PolicyObject, right: &PolicyObject) -> Ordering {
    // An object without a creation time counts as the youngest.
    let age = |policy: &PolicyObject| (policy.creation.is_none(), policy.creation);
    age(left).cmp(&age(right)).then_with(|| left.key.name.cmp(&right.key.name))
}

/// Who pulls the images of a service account.
#[derive(Clone, Debug)]
pub enum Pullers {
    /// One of these.
    Candidates(Vec<Puller>),
    /// Somebody who is not known.
    NotKnown(NotKnown),
}

/// Why the puller is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotKnown {
    /// The coarse code.
    pub reason: Reason,
    /// The fine code.
    pub cause: CauseCode,
    /// The missing facts.
    pub missing: Vec<MissingFact>,
    /// The same for a person.
    pub why: String,
    /// What can be done.
    pub fix: Vec<Fix>,
}

/// The candidates for the service account `namespace/name`, whose object is `account` if it was seen (RES-4, RES-5).
#[must_use]
pub fn pullers(spec: &CompiledSpec, namespace: &str, name: &str, account: Option<&ServiceAccountFacts>) -> Pullers {
    match &spec.puller {
        CompiledPuller::Role(CompiledRole { arn, identity }) => Pullers::Candidates(vec![Puller {
            who: Who::Role { arn: arn.clone(), session: Session::FixedRole },
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
                missing: vec![service_account(namespace, name)],
                why: format!(
                    "service account {namespace}/{name} was not found, so its annotation {annotation} is not known"
                ),
                fix: Vec::new(),
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
                    fix: vec![self.annotate(
                        (namespace, name),
                        None,
                        format!("name the role that pulls in annotation {annotation}"),
                    )],
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
                    fix: vec![match RoleArn::parse(value.trim()) {
                        Some(arn) => self.annotate(
                            (namespace, name),
                            Some(arn.as_str()),
                            format!("take the white space out of annotation {annotation}"),
                        ),
                        None => self.annotate(
                            (namespace, name),
                            None,
                            format!("annotation {annotation} must be like arn:aws:iam::111122223333:role/NAME"),
                        ),
                    }],
                }),
            },
            (None, Some(arn)) => self.role(arn.clone(), "spec.puller.serviceAccount.defaultRoleArn".to_owned()),
            (None, None) => self.nodes().unwrap_or_else(|| self.service_account(namespace, name, account)),
        }
    }

    /// A role that the token is exchanged for, with its own policies, else those of the service account.
    fn role(&self, arn: RoleArn, found_by: String) -> Pullers {
        let identity = identity_of(&arn, self.declared_roles()).or(self.identity).cloned();
        let who = Who::Role { arn, session: Session::ServiceAccountToken };
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
                who: Who::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() },
                found_by: "spec.puller.serviceAccount.identity".to_owned(),
                identity: Some(Arc::clone(identity)),
            }]),
            None => {
                let annotation = self.annotation;
                let almost = almost(annotation, account);
                let hint = almost.as_ref().map(|almost| format!(": {}", almost.why(annotation))).unwrap_or_default();
                let arn = almost.as_ref().and_then(|almost| almost.role.as_ref());
                Pullers::NotKnown(NotKnown {
                    reason: Reason::NoRole,
                    cause: almost.as_ref().map_or(CauseCode::NoRoleMapped, Almost::cause),
                    missing: vec![MissingFact::PullerRole],
                    why: format!("no role is mapped to service account {namespace}/{name}{hint}"),
                    fix: vec![self.annotate(
                        (namespace, name),
                        arn.map(RoleArn::as_str),
                        format!("name the role that pulls in annotation {annotation}"),
                    )],
                })
            }
        }
    }

    /// The step that names the role, where it is known.
    fn annotate(&self, (namespace, name): (&str, &str), role: Option<&str>, why: String) -> Fix {
        let annotation = role.map(|role| Statement::annotation(self.annotation, role));
        Fix::set_annotation(format!("ServiceAccount/{namespace}/{name}"), annotation, why)
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
        who: Who::Role { arn: node.arn.clone(), session: Session::Node },
        found_by: found_by.to_owned(),
        identity: node.identity.as_ref().or_else(|| identity_of(&node.arn, declared.clone())).cloned(),
    };
    (!nodes.is_empty()).then(|| nodes.iter().map(candidate).collect())
}

fn service_account(namespace: &str, name: &str) -> MissingFact {
    MissingFact::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn node_not_known(why: String) -> NotKnown {
    NotKnown {
        reason: Reason::DependsOnNode,
        cause: CauseCode::NodePulls,
        missing: vec![MissingFact::Node],
        why,
        fix: Vec::new(),
    }
}

/// An annotation of a service account that looks as if it should have named the role that pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Almost {
    /// The annotation as it is.
    pub key: String,
    /// The role that it names, where it names one.
    pub role: Option<RoleArn>,
}

/// What names the role of a pod's own calls ("IAM roles for service accounts"). The kubelet does not read it.
pub const IRSA_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

impl Almost {
    /// The cause that it is.
    #[must_use]
    pub fn cause(&self) -> CauseCode {
        if self.key == IRSA_ANNOTATION { CauseCode::IrsaRoleDoesNotPull } else { CauseCode::AnnotationAlmostRight }
    }

    /// The same for a person.
    #[must_use]
    pub fn why(&self, annotation: &str) -> String {
        if self.key == IRSA_ANNOTATION {
            format!("its annotation {IRSA_ANNOTATION} is for what its pods do themselves; images want {annotation}")
        } else {
            format!("its annotation {} is not read; {annotation} is", self.key)
        }
    }
}

/// The annotation that was perhaps meant to be `annotation`: the same but for case, white space, underscores or a few
/// letters; else one that names a role and says that it is for ECR; else the one of IRSA.
#[must_use]
pub fn almost(annotation: &str, account: &ServiceAccountFacts) -> Option<Almost> {
    if account.annotations.contains_key(annotation) {
        return None;
    }
    let plain = |key: &str| key.trim().to_ascii_lowercase().replace('_', "-");
    let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = plain(annotation);
    let is_default = annotation == crate::policy::DEFAULT_ROLE_ANNOTATION;
    let closeness = |key: &str, value: &str| {
        let given = plain(key);
        let role = RoleArn::parse(value.trim()).is_some();
        let for_ecr = is_default && role && given.contains("ecr") && given.contains("role");
        match () {
            // It is another annotation of Amazon EKS, however close.
            () if key == IRSA_ANNOTATION => (is_default && role).then_some(3),
            () if given == wanted => Some(0),
            () if is_within(&given, &wanted, 2) || (role && name(&given) == name(&wanted)) => Some(1),
            () if for_ecr => Some(2),
            () => None,
        }
    };
    let found = account.annotations.iter().filter_map(|(key, value)| Some((closeness(key, value)?, key, value)));
    let (_, key, value) = found.min()?;
    Some(Almost { key: key.clone(), role: RoleArn::parse(value.trim()) })
}

/// Whether two texts are at most `most` insertions, deletions and replacements apart (Levenshtein).
fn is_within(one: &str, other: &str, most: usize) -> bool {
    if one.len().abs_diff(other.len()) > most || one.len() > 253 + 64 {
        return false;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (b, cell) in other.bytes().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().is_some_and(|distance| *distance <= most)
}

/// The declared roles that could pull in the place of those that do, for a diagnosis: whom an almost right annotation
/// names first, then the others with policies of their own.
#[must_use]
pub fn others(spec: &CompiledSpec, account: &ServiceAccountFacts) -> Vec<Puller> {
    let CompiledPuller::ServiceAccount { annotation, identity, roles, .. } = &spec.puller else { return Vec::new() };
    let named = almost(annotation, account).and_then(|almost| almost.role);
    let by_token = |arn: &RoleArn, identity: Option<&Arc<IdentityPolicies>>| Puller {
        who: Who::Role { arn: arn.clone(), session: Session::ServiceAccountToken },
        found_by: format!("annotation {annotation}"),
        identity: identity.cloned(),
    };
    let first = named.as_ref().map(|arn| by_token(arn, identity_of(arn, roles).or(identity.as_ref())));
    let rest = roles.iter().filter(|role| named.as_ref() != Some(&role.arn) && role.identity.is_some());
    first.into_iter().chain(rest.map(|role| by_token(&role.arn, role.identity.as_ref()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecr::advice::FixKind;
    use serde_json::{Value, json};

    const ROLE: &str = "arn:aws:iam::111122223333:role/app";

    fn policy(name: &str, cluster: bool, created: Option<&str>, spec: Value) -> PolicyObject {
        let mut spec = spec;
        if spec.get("puller").is_none() {
            spec["puller"] = json!({"role": {"arn": ROLE}});
        }
        let mut metadata = json!({"name": name, "creationTimestamp": created});
        if !cluster {
            metadata["namespace"] = json!("payments");
        }
        let kind = if cluster { "ClusterEcrAccessPolicy" } else { "EcrAccessPolicy" };
        PolicyObject::from_json(json!({"kind": kind, "metadata": metadata, "spec": spec})).unwrap()
    }

    fn account(labels: Value, annotations: Value) -> ServiceAccountFacts {
        ServiceAccountFacts::from_json(&json!({"metadata":
            {"name": "api", "namespace": "payments", "labels": labels, "annotations": annotations}}))
        .unwrap()
    }

    fn by_name() -> Value {
        json!({"serviceAccounts": {"names": ["api"]}})
    }

    fn by_label() -> Value {
        json!({"serviceAccounts": {"selector": {"matchLabels": {"team": "payments"}}}})
    }

    const OLD: Option<&str> = Some("2026-01-01T00:00:00Z");
    const NEW: Option<&str> = Some("2026-06-01T00:00:00Z");

    fn inventory(policies: Vec<PolicyObject>) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.put_namespace("payments".into(), [("tier".to_owned(), "gold".to_owned())].into());
        inventory.put_service_account(account(json!({"team": "payments"}), json!({})));
        for policy in policies {
            inventory.put_policy(policy);
        }
        inventory
    }

    fn winner(policies: Vec<PolicyObject>) -> String {
        match select(&inventory(policies), "payments", "api") {
            Selection::None => "none".to_owned(),
            Selection::Policy { policy, tied, .. } => format!("{} {}", policy.key.name, tied.len()),
            Selection::Unclear { .. } => "unclear".to_owned(),
        }
    }

    #[test]
    fn precedence() {
        let none = json!({});
        let cases: Vec<(&str, Vec<PolicyObject>)> = vec![
            ("none", vec![]),
            ("none", vec![policy("a", false, OLD, json!({"serviceAccounts": {"names": ["other"]}}))]),
            (
                "none",
                vec![policy("a", false, OLD, json!({"serviceAccounts": {"selector": {"matchLabels": {"team": "x"}}}}))],
            ),
            // A namespaced policy before a cluster one, whatever their ranks.
            ("ns 0", vec![policy("cluster", true, OLD, by_name()), policy("ns", false, NEW, none.clone())]),
            // A name before a selector before neither, whatever their age.
            (
                "name 0",
                vec![
                    policy("all", false, OLD, none.clone()),
                    policy("label", false, OLD, by_label()),
                    policy("name", false, NEW, by_name()),
                ],
            ),
            ("label 0", vec![policy("all", false, OLD, none.clone()), policy("label", false, NEW, by_label())]),
            // A name counts for those it names, beside a selector too.
            (
                "both 0",
                vec![
                    policy(
                        "both",
                        false,
                        NEW,
                        json!({"serviceAccounts": {"names": ["api"], "selector": {"matchLabels": {"x": "y"}}}}),
                    ),
                    policy("label", false, OLD, by_label()),
                ],
            ),
            // The oldest, then by name; an object without a creation time is the youngest. Only this is a tie.
            ("old 1", vec![policy("new", false, NEW, by_name()), policy("old", false, OLD, by_name())]),
            ("a 1", vec![policy("b", false, OLD, by_name()), policy("a", false, OLD, by_name())]),
            ("z 1", vec![policy("a", false, None, by_name()), policy("z", false, NEW, by_name())]),
            // A trial run takes no part, nor does it tie.
            (
                "real 0",
                vec![
                    policy("trial", false, OLD, json!({"serviceAccounts": {"names": ["api"]}, "onDeny": "Audit"})),
                    policy("real", false, NEW, none.clone()),
                ],
            ),
            ("none", vec![policy("trial", false, OLD, json!({"onDeny": "Audit"}))]),
            // Namespaces of cluster policies.
            (
                "gold 0",
                vec![
                    policy("gold", true, OLD, json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}})),
                    policy("lead", true, OLD, json!({"namespaceSelector": {"matchLabels": {"tier": "lead"}}})),
                ],
            ),
            // A policy whose selection cannot be read harms nobody who has another one.
            (
                "cluster 0",
                vec![
                    policy("broken", false, OLD, json!({"serviceAccounts": 7})),
                    policy("cluster", true, NEW, none.clone()),
                ],
            ),
            ("broken 0", vec![policy("broken", false, OLD, json!({"serviceAccounts": 7}))]),
        ];
        for (index, (expected, policies)) in cases.into_iter().enumerate() {
            let mut reversed = policies.clone();
            reversed.reverse();
            assert_eq!(winner(policies), expected, "case {index}");
            assert_eq!(winner(reversed), expected, "case {index}, reversed");
        }
    }

    #[test]
    fn labels_that_were_not_seen_leave_selection_open_only_where_they_matter() {
        let mut inventory = Inventory::default();
        inventory.put_policy(policy("label", false, OLD, by_label()));
        let Selection::Unclear { possible, maybe_none, missing } = select(&inventory, "payments", "api") else {
            panic!("clear")
        };
        assert_eq!((possible.len(), maybe_none), (1, true));
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(missing, ["serviceAccount:payments/api", "namespace:payments"]);
        inventory.put_policy(policy("all", false, OLD, json!({})));
        let Selection::Unclear { possible, maybe_none, .. } = select(&inventory, "payments", "api") else {
            panic!("clear")
        };
        assert_eq!((possible.len(), maybe_none), (2, false));
        inventory.put_policy(policy("name", false, OLD, by_name()));
        assert!(matches!(select(&inventory, "payments", "api"), Selection::Policy { .. }));

        let mut inventory = Inventory::default();
        inventory.put_policy(policy(
            "gold",
            true,
            OLD,
            json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}}),
        ));
        assert!(matches!(select(&inventory, "payments", "api"), Selection::Unclear { .. }));
        let by_label = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "payments"}}});
        let mut inventory = Inventory::default();
        inventory.put_policy(policy("named", true, OLD, by_label));
        assert!(matches!(select(&inventory, "payments", "api"), Selection::Policy { .. }));
        assert!(matches!(select(&inventory, "other", "api"), Selection::None));
    }

    fn found(puller: Value, account: Option<&ServiceAccountFacts>) -> Result<(String, String, bool), NotKnown> {
        let policy = policy("p", false, OLD, json!({"puller": puller}));
        match pullers(&policy.body.unwrap(), "payments", "api", account) {
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
        let policy = policy("p", false, OLD, json!({"puller": puller}));
        let Pullers::Candidates(candidates) = pullers(&policy.body.unwrap(), "payments", "api", account) else {
            panic!("not known")
        };
        let told = |puller: Puller| match puller.who {
            Who::Role { arn, session } => (arn.name().to_owned(), session, puller.identity.is_some(), puller.found_by),
            Who::ServiceAccount { .. } => panic!("no role"),
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
        assert_eq!(not_known.fix[0].kind, FixKind::SetAnnotation);
        assert_eq!(not_known.fix[0].document, None);
    }

    #[test]
    fn an_annotation_that_is_almost_right() {
        let default = crate::policy::DEFAULT_ROLE_ANNOTATION;
        let of = |annotation: &str, annotations: Value| {
            almost(annotation, &account(json!({}), annotations)).map(|almost| (almost.key.clone(), almost.cause()))
        };
        for key in [
            "eks.amazonaws.com/ecr-role",
            "eks.amazonaws.com/ECR-role-arn",
            "eks.amazonaws.com/ecr_role_arn",
            "eks.amazonaws.com/ecr-role-arn ",
            "eks.amazonaws.com/ecr-rolearn",
            "eks.amazon.com/ecr-role-arn",
            "ecr-role-arn",
            "ecr.amazonaws.com/role-arn",
        ] {
            let found = of(default, json!({key: ROLE, "other": "x"}));
            assert_eq!(found, Some((key.to_owned(), CauseCode::AnnotationAlmostRight)), "{key}");
        }
        let irsa = json!({"eks.amazonaws.com/role-arn": ROLE});
        assert_eq!(of(default, irsa.clone()), Some((IRSA_ANNOTATION.to_owned(), CauseCode::IrsaRoleDoesNotPull)));
        // The one that says more comes before the one of IRSA.
        let both = json!({"eks.amazonaws.com/role-arn": ROLE, "eks.amazonaws.com/ecr-role": ROLE});
        assert_eq!(of(default, both).map(|found| found.1), Some(CauseCode::AnnotationAlmostRight));
        for annotations in [
            json!({}),
            json!({default: ROLE, "eks.amazonaws.com/ecr-role": ROLE}),
            json!({default: ""}),
            json!({"eks.amazonaws.com/sts-regional-endpoints": "true"}),
            json!({"ecr.example.com/role-of-team": "owner"}),
            json!({"eks.amazonaws.com/role-arn": "app"}),
        ] {
            assert_eq!(of(default, annotations.clone()), None, "{annotations}");
        }
        // An annotation of the cluster's own is not mistaken for the default one.
        assert_eq!(of("example.com/puller", json!({default: ROLE})), None);
        assert_eq!(of("example.com/puller", irsa), None);
        assert!(of("example.com/puller", json!({"example.com/pullers": "x"})).is_some());

        let wrong = account(json!({}), json!({"eks.amazonaws.com/ecr-role": ROLE}));
        let not_known = found(json!({"serviceAccount": {}}), Some(&wrong)).unwrap_err();
        assert_eq!(not_known.cause, CauseCode::AnnotationAlmostRight);
        assert_eq!(
            not_known.why,
            "no role is mapped to service account payments/api: its annotation eks.amazonaws.com/ecr-role is not read; \
             eks.amazonaws.com/ecr-role-arn is"
        );
        assert_eq!(not_known.fix[0].document, Some(Statement::annotation(default, ROLE)));
        // Padding around a good ARN is taken out.
        let padded = account(json!({}), json!({default: format!("{ROLE} ")}));
        let not_known = found(json!({"serviceAccount": {}}), Some(&padded)).unwrap_err();
        assert_eq!(not_known.cause, CauseCode::AnnotationIsNoRole);
        assert_eq!(not_known.fix[0].document, Some(Statement::annotation(default, ROLE)));
    }

    #[test]
    fn a_distance_of_letters() {
        for (one, other, most, within) in [
            ("abc", "abc", 0, true),
            ("abc", "abd", 1, true),
            ("abc", "ac", 1, true),
            ("abc", "xabc", 1, true),
            ("abc", "xbd", 1, false),
            ("abc", "xbd", 2, true),
            ("", "ab", 2, true),
            ("", "abc", 2, false),
        ] {
            assert_eq!(is_within(one, other, most), within, "{one} {other}");
            assert_eq!(is_within(other, one, most), within, "{other} {one}");
        }
    }
}
