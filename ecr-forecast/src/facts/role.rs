//! IAM roles as facts: what a source says of one, and which of several sources is heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::ecr::arn::RoleArn;
use crate::facts::declared::{BOUNDARY, IdentityPolicies, SourcedPolicy, managed_policy, name_of};
use crate::facts::known::{AsOf, Known, Unread};
use crate::facts::missing::MissingFact;
use crate::facts::source::Source;

/// An IAM role as one source has it.
#[derive(Clone, Debug)]
pub struct RoleFact {
    arn: RoleArn,
    policies: Known<Arc<IdentityPolicies>, Source>,
}

impl RoleFact {
    /// A role of which `source` says that it has no policies; what else it says is added to it.
    #[must_use]
    pub fn new(arn: RoleArn, source: Source) -> Self {
        Self { arn, policies: Known { value: Ok(Arc::default()), from: source, as_of: None } }
    }

    /// A role that `source` has, and of which it cannot be read what it says, for the reason `why`: its policies are not known.
    #[must_use]
    pub fn unreadable(arn: RoleArn, source: Source, why: impl Into<String>) -> Self {
        let way_out = format!("correct what {source} says of {arn}");
        let unread = Unread { wrong: None, why: why.into(), way_out };
        Self { arn, policies: Known { value: Err(unread), from: source, as_of: None } }
    }

    /// As of when the source said so. It is told, and changes no verdict.
    #[must_use]
    pub fn as_of(mut self, at: Timestamp) -> Self {
        self.policies.as_of = Some(AsOf::Time(at));
        self
    }

    /// Adds a policy with its document, which is a text or JSON. A malformed one is a policy that could not be read, and the
    /// others count.
    #[must_use]
    pub fn with_document(self, name: &str, document: &Value) -> Self {
        self.with(|policies| policies.push(written(name, document)))
    }

    /// Adds a managed policy, which is called by the end of its ARN. One that is not built in could not be read.
    #[must_use]
    pub fn with_managed_policy(self, arn: &str) -> Self {
        self.with(|policies| policies.push(managed(arn)))
    }

    /// The permissions boundary is this document.
    #[must_use]
    pub fn with_boundary(self, document: &Value) -> Self {
        self.with(|policies| policies.set_boundary(written(BOUNDARY, document)))
    }

    /// The permissions boundary is this managed policy.
    #[must_use]
    pub fn with_managed_boundary(self, arn: &str) -> Self {
        self.with(|policies| policies.set_boundary(managed(arn)))
    }

    /// The role has these tags and no others. Where that is not said its tags are not known.
    #[must_use]
    pub fn with_tags(self, tags: BTreeMap<String, String>) -> Self {
        self.with(|policies| policies.set_tags(tags))
    }

    fn with(mut self, change: impl FnOnce(&mut IdentityPolicies)) -> Self {
        if let Ok(policies) = &mut self.policies.value {
            change(Arc::make_mut(policies));
        }
        self
    }

    /// Whether every verdict comes out the same with `other` in the place of this.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.policies.value, &other.policies.value) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(one, other) || one == other,
            (one, other) => one == other,
        }
    }

    /// Its policies; none where they could not be read.
    pub(crate) fn identity(&self) -> Option<&Arc<IdentityPolicies>> {
        self.policies.value.as_ref().ok()
    }

    /// Why they could not be read.
    pub(crate) fn unread(&self) -> Option<&Unread> {
        self.policies.value.as_ref().err()
    }

    /// What says so.
    pub(crate) const fn source(&self) -> &Source {
        &self.policies.from
    }

    /// The same for a person, with as of when: `file roles.yaml`.
    pub(crate) fn told_by(&self) -> String {
        match &self.policies.as_of {
            Some(AsOf::Time(at)) => format!("{} as of {at}", self.source()),
            Some(AsOf::Version(_)) | None => self.source().to_string(),
        }
    }
}

/// A policy whose document the source has. It is kept as JSON is written, so that two that say the same are the same.
fn written(name: &str, document: &Value) -> SourcedPolicy {
    let policy = SourcedPolicy::of_document(name, document, MissingFact::Document, ToString::to_string);
    match policy.document() {
        Some(document) => policy.with_text(document.to_string()),
        None => policy,
    }
}

fn managed(arn: &str) -> SourcedPolicy {
    SourcedPolicy::managed(name_of(arn), arn, managed_policy)
}

/// What all sources say of roles, found by ARN. A clone shares everything and never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles(Arc<BTreeMap<String, Vec<Arc<RoleFact>>>>);

impl Roles {
    /// Adds what a source says of a role, or replaces what it said before. Whether that makes a difference to any verdict.
    pub fn put(&mut self, mut fact: RoleFact) -> bool {
        let of_role = self.0.get(&key(&fact.arn)).map(Vec::as_slice).unwrap_or_default();
        let place = of_role.binary_search_by(|known| order(known).cmp(&order(&fact)));
        let known = place.ok().and_then(|place| of_role.get(place));
        let same = known.is_some_and(|known| known.is_same(&fact));
        if let Some(known) = known.filter(|_| same) {
            if known.policies.as_of == fact.policies.as_of {
                return false;
            }
            // What is told of it changes; what was judged by it holds.
            fact.policies.value.clone_from(&known.policies.value);
        }
        let of_role = Arc::make_mut(&mut self.0).entry(key(&fact.arn)).or_default();
        match place.map(|place| of_role.get_mut(place)) {
            Ok(Some(known)) => *known = Arc::new(fact),
            Ok(None) => of_role.push(Arc::new(fact)),
            Err(place) => of_role.insert(place, Arc::new(fact)),
        }
        !same
    }

    /// Forgets what a source says of a role. Whether it said anything.
    pub fn remove(&mut self, arn: &RoleArn, source: &Source) -> bool {
        let key = key(arn);
        let is_gone = |fact: &RoleFact| fact.arn == *arn && fact.source() == source;
        if !self.0.get(&key).is_some_and(|of_role| of_role.iter().any(|fact| is_gone(fact))) {
            return false;
        }
        let roles = Arc::make_mut(&mut self.0);
        if let Some(of_role) = roles.get_mut(&key) {
            of_role.retain(|fact| !is_gone(fact));
            if of_role.is_empty() {
                roles.remove(&key);
            }
        }
        true
    }

    /// Forgets all that a source says. Whether it said anything.
    pub fn remove_source(&mut self, source: &Source) -> bool {
        let said = self.0.values().flatten().filter(|fact| fact.source() == source);
        let said: Vec<RoleArn> = said.map(|fact| fact.arn.clone()).collect();
        said.iter().for_each(|arn| _ = self.remove(arn, source));
        !said.is_empty()
    }

    /// What is said of a role by the first source that has it, with or without its path.
    pub fn first(&self, arn: &RoleArn) -> Option<&Arc<RoleFact>> {
        let first = self.of(arn).next()?;
        let exact = self.of(arn).find(|fact| fact.source() == first.source() && fact.arn == *arn);
        exact.or(Some(first))
    }

    /// What another source says of this role that is not the same.
    pub fn otherwise(&self, fact: &RoleFact) -> Option<&Arc<RoleFact>> {
        self.of(&fact.arn).find(|other| other.source() != fact.source() && !other.is_same(fact))
    }

    /// What is said of a role, in the order of the sources.
    fn of(&self, arn: &RoleArn) -> impl Iterator<Item = &Arc<RoleFact>> {
        let of_role = if self.0.is_empty() { None } else { self.0.get(&key(arn)) };
        of_role.into_iter().flatten().filter(move |fact| fact.arn.is_same_role(arn))
    }
}

/// The order of what is said of one role.
const fn order(fact: &RoleFact) -> (&Source, &RoleArn) {
    (fact.source(), &fact.arn)
}

/// A role has one name in its account ("IAM identifiers"), and some who name it leave out its path.
fn key(arn: &RoleArn) -> String {
    format!("{}:{}:{}", arn.partition(), arn.account(), arn.name())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::ObjectRef;

    const AWS_PULL: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly";

    fn arn(path: &str) -> RoleArn {
        RoleArn::parse(&format!("arn:aws:iam::111122223333:role/{path}")).unwrap()
    }

    fn file(name: &str) -> Source {
        Source::new(2, format!("file {name}"))
    }

    fn allowing(path: &str, source: Source, action: &str) -> RoleFact {
        RoleFact::new(arn(path), source).with_document("p", &fixtures::document(json!([fixtures::allow(action, "*")])))
    }

    fn heard(roles: &Roles, path: &str) -> Option<String> {
        roles.first(&arn(path)).map(|fact| fact.told_by())
    }

    #[test]
    fn the_first_source_is_heard_whatever_comes_first() {
        let object = ObjectRef::Fact { kind: "IamRole".to_owned(), namespace: None, name: "app".to_owned() };
        let mut facts = vec![
            allowing("app", file("b"), "ecr:*"),
            allowing("app", file("a"), "ecr:*"),
            allowing("app", Source::of_object(1, object), "s3:*"),
        ];
        for _ in 0..facts.len() {
            facts.rotate_left(1);
            let mut roles = Roles::default();
            for fact in facts.clone() {
                assert!(roles.put(fact.clone()));
                assert!(!roles.put(fact), "the same again");
            }
            let mut said = Vec::new();
            while let Some(first) = roles.first(&arn("app")).cloned() {
                let other = roles.otherwise(&first).map(|other| other.told_by()).unwrap_or_default();
                said.push(format!("{} / {other}", first.told_by()));
                assert!(roles.remove_source(first.source()) && !roles.remove_source(first.source()));
            }
            assert_eq!(said, ["IamRole app / file a", "file a / ", "file b / "]);
            assert!(roles.0.is_empty(), "nothing is left of what is gone");
        }
    }

    #[test]
    fn a_role_is_found_with_and_without_its_path() {
        let mut roles = Roles::default();
        for (path, source) in [("app", "file a"), ("eks/app", "file b"), ("eks/web", "file c"), ("app", "file d")] {
            roles.put(allowing(path, Source::new(1, source), "ecr:*"));
        }
        roles
            .put(allowing("eks/app", Source::new(1, "file a"), "ecr:*").as_of("2026-11-23T00:00:00Z".parse().unwrap()));
        assert_eq!(heard(&roles, "app").as_deref(), Some("file a"));
        assert_eq!(
            heard(&roles, "eks/app").as_deref(),
            Some("file a as of 2026-11-23T00:00:00Z"),
            "that with its path"
        );
        assert_eq!(heard(&roles, "web").as_deref(), Some("file c"));
        assert_eq!(heard(&roles, "shop/web"), None, "another path");
        assert_eq!(heard(&roles, "other"), None);
        let (a, b) = (Source::new(1, "file a"), Source::new(1, "file b"));
        assert!(!roles.remove(&arn("app"), &b), "it said nothing of this one");
        assert!(roles.remove(&arn("app"), &a) && roles.remove(&arn("eks/app"), &a));
        assert_eq!(heard(&roles, "app").as_deref(), Some("file b"));
    }

    #[test]
    fn two_that_say_the_same_are_the_same_however_it_is_written() {
        let pull = fixtures::document(json!([fixtures::allow("ecr:*", "*")]));
        let spaced = Value::from(serde_json::to_string_pretty(&pull).unwrap());
        let plain = || RoleFact::new(arn("app"), file("a"));
        let one = || plain().with_document("p", &pull).with_managed_policy(AWS_PULL);
        let tags = || BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let bad = json!({"Statement": [{"Effect": "Maybe"}]});
        for (other, same) in [
            (plain().with_managed_policy(AWS_PULL).with_document("p", &spaced), true),
            (plain().with_document("p", &pull), false),
            (one().with_managed_boundary(AWS_PULL), false),
            (one().with_boundary(&pull), false),
            (one().with_tags(tags()), false),
            (plain().with_document("p", &bad).with_managed_policy(AWS_PULL), false),
            (RoleFact::unreadable(arn("app"), file("b"), "no list").with_tags(tags()), false),
        ] {
            assert_eq!((one().is_same(&other), other.is_same(&one())), (same, same), "{other:?}");
            assert!(other.is_same(&other.clone()));
        }
        assert!(one().with_tags(tags()).is_same(&one().with_tags(tags())));
    }

    #[test]
    fn a_later_look_at_the_same_changes_what_is_told_alone() {
        let at = |text: &str| allowing("app", file("a"), "ecr:*").as_of(text.parse().unwrap());
        let mut roles = Roles::default();
        assert!(roles.put(at("2026-11-23T00:00:00Z")));
        let before = roles.clone();
        assert!(!roles.put(at("2026-11-24T00:00:00Z")), "no verdict changes");
        assert_eq!(heard(&roles, "app").as_deref(), Some("file a as of 2026-11-24T00:00:00Z"));
        assert_eq!(heard(&before, "app").as_deref(), Some("file a as of 2026-11-23T00:00:00Z"), "a clone stays");
        let policies = |roles: &Roles| Arc::clone(roles.first(&arn("app")).unwrap().identity().unwrap());
        assert!(Arc::ptr_eq(&policies(&before), &policies(&roles)));
        assert!(roles.put(allowing("app", file("a"), "s3:*")));
    }
}
