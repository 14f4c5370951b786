//! From the spec of a policy object to what verdicts are made of. Documents are parsed here, once.
//!
//! A document that is malformed is a problem and leaves its one policy unreadable, under the name of a missing fact; the
//! rest of the object works on. Documents are read leniently, as AWS reads what it has stored; what AWS would not store is
//! the webhook's affair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::cluster::config_map::{ConfigMapKey, ConfigMapName};
use crate::ecr::arn::RoleArn;
use crate::ecr::{ArnPattern, ContextValues, managed};
use crate::facts::declared::{
    BOUNDARY, Declared, FindManaged, IdentityPolicies, Missing, Organization, PolicyLevel, PolicySource, Presence,
    RegistryEntry, RegistryPolicyScope, RepositoryEntry, ResourcePolicy, SourcedPolicy, managed_policy, name_of,
};
use crate::facts::missing::MissingFact;
use crate::policy::compiled::exemption::Exemption;
use crate::policy::compiled::organization_policies;
use crate::policy::compiled::problem::{Problem, Remark, document_problem};
use crate::policy::compiled::spec::{CompiledPuller, CompiledRole, CompiledSpec};
use crate::policy::rules::ONE_SOURCE;
use crate::policy::{
    self, ConfigMapKeyRef, DocumentSource, EVERY_REGION, Identity, OrganizationLevel, PolicyScope, RegistryDeclaration,
    RepositoryDeclaration,
};

/// Compiles a spec and collects what is wrong with parts of it on the way.
pub(crate) struct Compiler<'a> {
    /// The object's namespace, where its ConfigMaps are.
    namespace: Option<&'a str>,
    /// In the order of the spec.
    pub remarks: Vec<Remark>,
}

impl<'a> Compiler<'a> {
    /// For an object in `namespace`, where it has one.
    pub const fn new(namespace: Option<&'a str>) -> Self {
        Self { namespace, remarks: Vec::new() }
    }

    /// # Errors
    /// What leaves nothing to judge by; the rules of the schema exclude it.
    pub fn spec(&mut self, spec: &policy::EcrAccessPolicySpec) -> Result<CompiledSpec, Problem> {
        let puller = self.puller("spec.puller", &spec.puller)?;
        let declared = self.declared(spec);
        let exemptions = Exemption::compile(spec.exemptions.as_deref().unwrap_or_default())?;
        Ok(CompiledSpec { puller, declared: Arc::new(declared), exemptions })
    }

    fn puller(&mut self, path: &str, puller: &policy::Puller) -> Result<CompiledPuller, Problem> {
        match (&puller.service_account, &puller.role, &puller.nodes) {
            (Some(account), None, None) => {
                let path = format!("{path}.serviceAccount");
                let mut roles = Vec::new();
                for (index, role) in account.roles.iter().flatten().enumerate() {
                    roles.push(self.role(&format!("{path}.roles[{index}]"), &role.arn, role.identity.as_ref())?);
                }
                let nodes = account.fallback_nodes.as_deref().unwrap_or_default();
                Ok(CompiledPuller::ServiceAccount {
                    annotation: account.role_annotation().to_owned(),
                    identity: self.identity(&path, account.identity.as_ref())?,
                    roles,
                    default_role: match &account.default_role_arn {
                        Some(arn) => Some(role_arn(&format!("{path}.defaultRoleArn"), arn)?),
                        None => None,
                    },
                    fallback_nodes: self.roles(&format!("{path}.fallbackNodes"), nodes)?,
                    falls_back_to_node: account.falls_back_to_node.unwrap_or(true),
                })
            }
            (None, Some(role), None) => {
                let role = self.role(&format!("{path}.role"), &role.arn, role.identity.as_ref())?;
                Ok(CompiledPuller::Role(role))
            }
            (None, None, Some(nodes)) => Ok(CompiledPuller::Nodes(self.roles(&format!("{path}.nodes"), nodes)?)),
            _ => Err(Problem::at(path, "exactly one of serviceAccount, role and nodes must be given")),
        }
    }

    fn roles(&mut self, path: &str, roles: &[policy::RolePuller]) -> Result<Vec<CompiledRole>, Problem> {
        let of = |(index, node): (usize, &policy::RolePuller)| {
            let role = self.role(&format!("{path}[{index}]"), &node.arn, node.identity.as_ref())?;
            Ok(CompiledRole { labels: node.labels.clone().unwrap_or_default(), ..role })
        };
        roles.iter().enumerate().map(of).collect()
    }

    fn role(&mut self, path: &str, arn: &str, identity: Option<&Identity>) -> Result<CompiledRole, Problem> {
        let identity = self.identity(path, identity)?;
        Ok(CompiledRole { arn: role_arn(&format!("{path}.arn"), arn)?, identity, labels: BTreeMap::new() })
    }

    fn identity(&mut self, path: &str, identity: Option<&Identity>) -> Result<Option<Arc<IdentityPolicies>>, Problem> {
        let Some(identity) = identity else { return Ok(None) };
        let path = format!("{path}.identity");
        let mut compiled = IdentityPolicies::default();
        for (index, entry) in identity.policies.iter().enumerate() {
            compiled.push(self.entry(&format!("{path}.policies[{index}]"), entry, managed_policy)?);
        }
        if compiled.policies().is_empty() {
            return Err(Problem::at(&format!("{path}.policies"), "at least one policy must be given"));
        }
        if let Some(boundary) = &identity.permissions_boundary {
            compiled.set_boundary(self.boundary(&format!("{path}.permissionsBoundary"), boundary)?);
        }
        if let Some(tags) = &identity.tags {
            compiled.set_tags(tags.clone());
        }
        Ok(Some(Arc::new(compiled)))
    }

    fn boundary(&mut self, path: &str, boundary: &DocumentSource) -> Result<SourcedPolicy, Problem> {
        let arn = boundary.managed_policy_arn.as_deref();
        let name = arn.map_or(BOUNDARY, name_of);
        self.sourced(path, name, boundary, managed_policy)
    }

    fn entry(&mut self, path: &str, entry: &policy::PolicyEntry, find: FindManaged) -> Result<SourcedPolicy, Problem> {
        self.sourced(path, &entry.name, &entry.source, find)
    }

    fn sourced(
        &mut self,
        path: &str,
        name: &str,
        source: &DocumentSource,
        find: FindManaged,
    ) -> Result<SourcedPolicy, Problem> {
        match (&source.document, &source.managed_policy_arn, &source.config_map_key_ref) {
            (Some(document), None, None) => {
                Ok(self.document(&format!("{path}.document"), name, MissingFact::Document, document))
            }
            (None, Some(arn), None) => Ok(self.managed(&format!("{path}.managedPolicyArn"), name, arn, find)),
            (None, None, Some(reference)) => Ok(self.config_map(path, name, reference)),
            _ => Err(Problem::at(path, ONE_SOURCE)),
        }
    }

    /// A malformed document leaves the policy unreadable; `missing` makes of its name what is missing then.
    fn document(&mut self, path: &str, name: &str, missing: Missing, document: &Value) -> SourcedPolicy {
        SourcedPolicy::of_document(name, document, missing, |error| {
            let problem = document_problem(path, error);
            let text = problem.to_string();
            self.remarks.push(Remark::Problem(problem));
            text
        })
    }

    /// A policy whose document stands in a ConfigMap; the reference is in the entry at `path`.
    fn config_map(&mut self, path: &str, name: &str, reference: &ConfigMapKeyRef) -> SourcedPolicy {
        // The rules of the schema let the cluster kind alone name a namespace, and there always.
        let namespace = self.namespace.or(reference.namespace.as_deref()).unwrap_or_default();
        let config_map = ConfigMapName { namespace: namespace.to_owned(), name: reference.name.clone() };
        let at = ConfigMapKey { config_map, key: reference.key.clone() };
        self.remarks.push(Remark::Reference { path: format!("{path}.configMapKeyRef"), at: at.clone() });
        SourcedPolicy::reference(name, at)
    }

    fn managed(&mut self, path: &str, name: &str, arn: &str, find: FindManaged) -> SourcedPolicy {
        let policy = SourcedPolicy::managed(name, arn, find);
        if policy.missing.is_some() {
            let hint = managed::hint(arn);
            let message = format!("managed policy `{arn}` is not built into this version{hint}; give its document");
            self.remarks.push(Remark::Unresolved(Problem::at(path, message)));
        }
        policy
    }

    fn declared(&mut self, spec: &policy::EcrAccessPolicySpec) -> Declared {
        let repositories = spec.repositories.iter().flatten().enumerate();
        let registries = spec.registries.iter().flatten().enumerate();
        let mut declared = Declared {
            repositories: repositories.map(|(index, entry)| self.repository(index, entry)).collect(),
            registries: registries.map(|(index, entry)| self.registry(index, entry)).collect(),
            organization: Organization::default(),
            context: self.context(spec.context.as_ref()),
        };
        // Server-side apply by several authors leaves the order of a keyed list to chance, so it must not decide: an
        // entry for the region itself comes before one for all.
        declared.registries.sort_by_key(|entry| entry.region == EVERY_REGION);
        if let Some(organization) = &spec.organization {
            let mut levels = |field: &str, levels: &Option<Vec<OrganizationLevel>>| {
                let levels = levels.as_deref().unwrap_or_default();
                self.levels(&format!("spec.organization.{field}"), levels)
            };
            declared.organization.scps = levels("serviceControlPolicies", &organization.service_control_policies);
            declared.organization.rcps = levels("resourceControlPolicies", &organization.resource_control_policies);
        }
        declared
    }

    fn repository(&mut self, index: usize, entry: &RepositoryDeclaration) -> RepositoryEntry {
        let name = format!("repositories[{index}].policy");
        RepositoryEntry {
            pattern: ArnPattern::new(entry.pattern.as_str()),
            policy: entry
                .policy
                .as_ref()
                .map(|policy| self.resource_policy(&name, MissingFact::RepositoryDocument, policy)),
            tags: entry.tags.clone(),
            presence: entry.presence.map(|presence| match presence {
                policy::Presence::Present => Presence::Present,
                policy::Presence::Missing => Presence::Missing,
            }),
        }
    }

    fn registry(&mut self, index: usize, entry: &RegistryDeclaration) -> RegistryEntry {
        let name = format!("registries[{index}].policy");
        RegistryEntry {
            account: entry.account_id.clone(),
            region: entry.region().to_owned(),
            policy: entry
                .policy
                .as_ref()
                .map(|policy| self.resource_policy(&name, MissingFact::RegistryDocument, policy)),
            scope: match entry.policy_scope() {
                PolicyScope::V1 => RegistryPolicyScope::V1,
                PolicyScope::V2 => RegistryPolicyScope::V2,
            },
            pull_through_prefixes: entry.pull_through_cache.iter().flatten().map(|rule| rule.prefix.clone()).collect(),
        }
    }

    /// A policy of `spec`, which is called by its place there.
    fn resource_policy(&mut self, name: &str, missing: Missing, policy: &policy::ResourcePolicy) -> ResourcePolicy {
        match policy {
            policy::ResourcePolicy::Unreadable(_) => ResourcePolicy::Unknown,
            policy::ResourcePolicy::Document { document } => ResourcePolicy::Policy(Box::new(self.document(
                &format!("spec.{name}.document"),
                name,
                missing,
                document,
            ))),
            policy::ResourcePolicy::ConfigMap { config_map_key_ref } => {
                ResourcePolicy::Policy(Box::new(self.config_map(&format!("spec.{name}"), name, config_map_key_ref)))
            }
        }
    }

    fn levels(&mut self, path: &str, levels: &[OrganizationLevel]) -> Vec<PolicyLevel> {
        let mut compiled = Vec::new();
        for (index, level) in levels.iter().enumerate() {
            let mut policies = Vec::new();
            for (nth, entry) in level.policies.iter().enumerate() {
                match self.entry(&format!("{path}[{index}].policies[{nth}]"), entry, organization_policies::find) {
                    Ok(policy) => policies.push(policy),
                    // A policy that cannot be read, rather than one that is not there: that could deny.
                    Err(problem) => {
                        let source = PolicySource::Document { problem: Some(problem.to_string()) };
                        let missing = MissingFact::Document(entry.name.clone());
                        policies.push(SourcedPolicy::unread(&entry.name, missing, source));
                        self.remarks.push(Remark::Problem(problem));
                    }
                }
            }
            compiled.push(PolicyLevel { level: level.level.clone(), policies });
        }
        compiled
    }

    /// Keys have no case. One that is given twice is not declared at all: nobody can say which was meant.
    fn context(&mut self, given: Option<&BTreeMap<String, Vec<String>>>) -> ContextValues {
        let mut context = ContextValues::default();
        let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for key in given.into_iter().flat_map(BTreeMap::keys) {
            if !seen.insert(key.to_ascii_lowercase()) {
                twice.insert(key.to_ascii_lowercase());
                let message = "the key is given twice, since condition keys have no case; it counts as left out";
                let problem = Problem::at(&format!("spec.context[{key}]"), message);
                self.remarks.push(Remark::Problem(problem));
            }
        }
        for (key, values) in given.into_iter().flatten() {
            if !twice.contains(&key.to_ascii_lowercase()) {
                context.set(key, values.clone());
            }
        }
        context
    }
}

fn role_arn(path: &str, text: &str) -> Result<RoleArn, Problem> {
    RoleArn::parse(text).ok_or_else(|| Problem::at(path, format!("`{text}` is not the ARN of an IAM role")))
}

#[cfg(test)]
mod tests {
    use fixtures::{ROLE, document, statement};
    use iam_verdict::{NamedPolicy, PolicyState};
    use serde_json::json;

    use super::*;
    use crate::policy::compiled::PolicyWithDocuments;
    use crate::policy::compiled::object::PolicyObject;

    fn object(spec: Value) -> PolicyObject {
        PolicyObject::from_json(fixtures::policy("pull").spec(spec).or_role().object()).unwrap()
    }

    fn declared(spec: Value) -> Arc<Declared> {
        let object = object(spec);
        assert_eq!((problems(&object), unresolved(&object)), (vec![], vec![]));
        Arc::clone(&object.body.unwrap().declared)
    }

    fn problems(object: &PolicyObject) -> Vec<Problem> {
        PolicyWithDocuments::alone(object.clone()).problems()
    }

    fn unresolved(object: &PolicyObject) -> Vec<Problem> {
        PolicyWithDocuments::alone(object.clone()).unresolved()
    }

    fn paths(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.path.as_str()).collect()
    }

    fn good() -> Value {
        document(json!([{"Effect": "Deny", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]))
    }

    fn bad() -> Value {
        document(json!([statement("Maybe", "*", "*")]))
    }

    /// The missing fact of a policy that could not be read.
    fn fact(policy: &NamedPolicy) -> Option<&str> {
        match &policy.policy {
            PolicyState::Known(_) => None,
            PolicyState::Unreadable(fact) => Some(fact),
        }
    }

    #[test]
    fn nodes_are_compiled_each_with_its_identity() {
        let pull_only = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly";
        let nodes = json!([
            {"arn": ROLE, "identity": {"policies": [{"name": "p", "managedPolicyArn": pull_only}]}},
            {"arn": "arn:aws:iam::111122223333:role/bare"}
        ]);
        let shown = |roles: &[CompiledRole]| -> Vec<_> {
            roles.iter().map(|role| (role.arn.as_str().to_owned(), role.identity.is_some())).collect()
        };
        let expected = [(ROLE.to_owned(), true), ("arn:aws:iam::111122223333:role/bare".to_owned(), false)];
        match &object(json!({"puller": {"nodes": nodes}})).body.unwrap().puller {
            CompiledPuller::Nodes(roles) => assert_eq!(shown(roles), expected),
            other => panic!("{other:?}"),
        }
        match &object(json!({"puller": {"serviceAccount": {"fallbackNodes": nodes}}})).body.unwrap().puller {
            CompiledPuller::ServiceAccount { fallback_nodes, .. } => assert_eq!(shown(fallback_nodes), expected),
            other => panic!("{other:?}"),
        }
    }

    fn identity(identity: Value) -> (PolicyObject, Arc<IdentityPolicies>) {
        let object = object(json!({"puller": {"role": {"arn": ROLE, "identity": identity}}}));
        let identity = match &object.body.as_ref().unwrap().puller {
            CompiledPuller::Role(CompiledRole { identity: Some(identity), .. }) => Arc::clone(identity),
            other => panic!("{other:?}"),
        };
        (object, identity)
    }

    #[test]
    fn a_boundary_and_tags_belong_to_the_identity() {
        let policies = json!([{"name": "p", "document": document(json!([]))}]);
        let (_, plain) = identity(json!({"policies": policies}));
        assert!(plain.boundary().is_none());
        assert_eq!(plain.tags(), None);
        let arn = "arn:aws:iam::aws:policy/AdministratorAccess";
        let (_, bounded) = identity(
            json!({"policies": policies, "permissionsBoundary": {"managedPolicyArn": arn}, "tags": {"a": "b"}}),
        );
        let boundary = bounded.boundary().unwrap();
        assert_eq!((&*boundary.policy.name, fact(&boundary.policy)), ("AdministratorAccess", None));
        assert_eq!(bounded.tags(), Some(&BTreeMap::from([("a".to_owned(), "b".to_owned())])));
        let (_, none) = identity(json!({"policies": policies, "tags": {}}));
        assert_eq!(none.tags(), Some(&BTreeMap::new()));

        let (object, broken) = identity(json!({"policies": policies, "permissionsBoundary": {"document": bad()}}));
        assert_eq!(fact(&broken.boundary().unwrap().policy), Some("document:permissionsBoundary"));
        let path = "$.spec.puller.role.identity.permissionsBoundary.document.Statement[0].Effect";
        assert_eq!(paths(&problems(&object)), [path]);
        let arn = "arn:aws:iam::111122223333:policy/mine";
        let (object, foreign) =
            identity(json!({"policies": policies, "permissionsBoundary": {"managedPolicyArn": arn}}));
        assert_eq!(fact(&foreign.boundary().unwrap().policy), Some("policy:arn:aws:iam::111122223333:policy/mine"));
        assert_eq!(paths(&unresolved(&object)), ["$.spec.puller.role.identity.permissionsBoundary.managedPolicyArn"]);
    }

    #[test]
    fn repositories_keep_their_order_and_what_they_do_not_say() {
        let declared = declared(json!({"repositories": [
            {"match": "arn:aws:ecr:*:111122223333:repository/a", "policy": {"document": good().to_string()}, "tags": {}},
            {"match": "*", "policy": "Unknown", "presence": "Missing", "tags": {"tier": "gold"}},
            {"match": "arn:aws:ecr:*:*:repository/*", "presence": "Present"}
        ]}));
        let [first, second, third] = declared.repositories.as_slice() else { panic!("{declared:?}") };
        let Some(ResourcePolicy::Policy(policy)) = &first.policy else { panic!("{first:?}") };
        assert_eq!((&*policy.policy.name, fact(&policy.policy)), ("repositories[0].policy", None));
        assert_eq!((&first.tags, first.presence), (&Some(BTreeMap::new()), None));
        assert!(matches!(second.policy, Some(ResourcePolicy::Unknown)));
        assert_eq!((second.pattern.as_str(), second.presence), ("*", Some(Presence::Missing)));
        assert_eq!(second.tags.as_ref().unwrap()["tier"], "gold");
        assert!(third.policy.is_none() && third.tags.is_none());
        assert_eq!(third.presence, Some(Presence::Present));
    }

    #[test]
    fn a_registry_of_the_region_comes_before_one_of_every_region() {
        let declared = declared(json!({"registries": [
            {"accountId": "111122223333", "policy": {"document": good()}},
            {"accountId": "111122223333", "region": "us-east-1", "policy": "Unknown", "policyScope": "V1",
             "pullThroughCache": [{"prefix": "docker-hub"}, {"prefix": "ROOT"}]}
        ]}));
        let entry = declared.registry("111122223333", "us-east-1").unwrap();
        assert_eq!(
            (entry.scope, entry.pull_through_prefixes.join(" ")),
            (RegistryPolicyScope::V1, "docker-hub ROOT".into())
        );
        assert!(matches!(entry.policy, Some(ResourcePolicy::Unknown)));
        let entry = declared.registry("111122223333", "eu-west-1").unwrap();
        assert_eq!((entry.region.as_str(), entry.scope), ("*", RegistryPolicyScope::V2));
        let Some(ResourcePolicy::Policy(policy)) = &entry.policy else { panic!("{entry:?}") };
        assert_eq!(&*policy.policy.name, "registries[0].policy");
    }

    #[test]
    fn organization_policies_may_be_named_by_arn() {
        let full = "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess";
        let declared = declared(json!({"organization": {
            "serviceControlPolicies": [
                {"level": "root", "policies": [{"name": "FullAWSAccess", "managedPolicyArn": full}]},
                {"level": "Prod OU", "policies": [{"name": "guard rails", "document": good()}]}],
            "resourceControlPolicies": [{"level": "root", "policies": []}]}}));
        let levels = &declared.organization.scps;
        assert_eq!(levels.iter().map(|level| level.level.as_str()).collect::<Vec<_>>(), ["root", "Prod OU"]);
        assert!(levels.iter().flat_map(|level| &level.policies).all(|policy| fact(&policy.policy).is_none()));
        assert_eq!(&*levels[1].policies[0].policy.name, "guard rails");
        assert_eq!(declared.organization.rcps[0].policies.len(), 0);
    }

    #[test]
    fn a_malformed_document_leaves_one_layer_unreadable_wherever_it_stands() {
        let object = object(json!({
            "repositories": [{"match": "*", "policy": {"document": bad()}}, {"match": "*", "policy": {"document": good()}}],
            "registries": [{"accountId": "111122223333", "policy": {"document": "{"}}],
            "organization": {
                "serviceControlPolicies": [{"level": "root", "policies": [{"name": "scp", "document": bad()}]}],
                "resourceControlPolicies": [{"level": "root", "policies": [{"name": "rcp", "document": bad()}]}]}}));
        assert_eq!(
            paths(&problems(&object)),
            [
                "$.spec.repositories[0].policy.document.Statement[0].Effect",
                "$.spec.registries[0].policy.document",
                "$.spec.organization.serviceControlPolicies[0].policies[0].document.Statement[0].Effect",
                "$.spec.organization.resourceControlPolicies[0].policies[0].document.Statement[0].Effect",
            ]
        );
        let declared = &object.body.unwrap().declared;
        let resource = |policy: &Option<ResourcePolicy>| match policy {
            Some(ResourcePolicy::Policy(policy)) => fact(&policy.policy).map(str::to_owned),
            other => panic!("{other:?}"),
        };
        let unreadable = |name: &str| Some(name.to_owned());
        assert_eq!(resource(&declared.repositories[0].policy), unreadable("repositoryPolicy:repositories[0].policy"));
        assert_eq!(resource(&declared.repositories[1].policy), None);
        assert_eq!(resource(&declared.registries[0].policy), unreadable("registryPolicy:registries[0].policy"));
        assert_eq!(fact(&declared.organization.scps[0].policies[0].policy), Some("document:scp"));
        assert_eq!(fact(&declared.organization.rcps[0].policies[0].policy), Some("document:rcp"));
    }

    #[test]
    fn a_document_that_nests_too_deeply_leaves_one_layer_unreadable_by_that_name() {
        let deep =
            |levels| json!({"Version": "2012-10-17", "Id": (2..levels).fold(json!([]), |inner, _| json!([inner]))});
        let object = object(json!({
            "repositories": [{"match": "*", "policy": {"document": deep(65)}}, {"match": "*", "policy": {"document": deep(64)}}],
            "registries": [{"accountId": "111122223333", "policy": {"document": deep(100).to_string()}}],
            "organization": {"serviceControlPolicies": [{"level": "root", "policies": [{"name": "scp", "document": deep(65)}]}]}}));
        let told: Vec<String> = problems(&object).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "`$.spec.repositories[0].policy.document`: the document nests deeper than 64 levels (a policy needs six)",
                "`$.spec.repositories[1].policy.document.Id`: a string should stand here, not a list",
                "`$.spec.registries[0].policy.document`: the document nests deeper than 64 levels at line 1 column 70 (a policy \
                 needs six)",
                "`$.spec.organization.serviceControlPolicies[0].policies[0].document`: the document nests deeper than 64 levels \
                 (a policy needs six)",
            ]
        );
        let declared = &object.body.unwrap().declared;
        let resource = |policy: &Option<ResourcePolicy>| match policy {
            Some(ResourcePolicy::Policy(policy)) => fact(&policy.policy).unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(resource(&declared.repositories[0].policy), "documentTooDeep:repositories[0].policy");
        assert_eq!(resource(&declared.repositories[1].policy), "repositoryPolicy:repositories[1].policy");
        assert_eq!(resource(&declared.registries[0].policy), "documentTooDeep:registries[0].policy");
        assert_eq!(fact(&declared.organization.scps[0].policies[0].policy), Some("documentTooDeep:scp"));
    }

    #[test]
    fn a_context_key_given_twice_counts_as_left_out() {
        let context =
            &declared(json!({"context": {"aws:SourceVpc": ["vpc-1", "vpc-2"], "aws:SourceVpce": []}})).context;
        assert_eq!(context.get("AWS:sourcevpc"), Some(["vpc-1".to_owned(), "vpc-2".to_owned()].as_slice()));
        assert_eq!(context.get("aws:SourceVpce"), Some([].as_slice()));

        let object =
            object(json!({"context": {"aws:SourceVpc": ["vpc-1"], "AWS:SourceVPC": ["vpc-2"], "aws:a": ["b"]}}));
        assert_eq!(paths(&problems(&object)), ["$.spec.context[aws:SourceVpc]"]);
        let context = &object.body.unwrap().declared.context;
        assert_eq!(context.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["aws:a"]);
    }
}
