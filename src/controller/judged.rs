//! What was judged, shared by all objects of which the same is asked, and kept from one look to the next as long as it
//! rests on the same.
//!
//! The replicas of a workload ask for the same images as the same service account, so they are judged once. What is kept
//! rests on the policy object and the documents that it names in ConfigMaps, on the service account, on what the inventory
//! has of roles whose policies the policy object does not declare, on the images and whether there is a pull secret, and,
//! where a condition reads it, on the time. Which policy is in force is found out at each look. Nothing here is remembered
//! that the objects would not give again: it is a matter of time spent alone.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ecr_forecast::cluster::Subject;
use ecr_forecast::diagnose::causes;
use ecr_forecast::ecr::arn::RoleArn;
use ecr_forecast::facts::{CauseCode, RoleFact};
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{ImageJudgement, Judgement, NextChange, Options, Verdict, judge_under};
use ecr_forecast::policy::compiled::{PolicyKey, PolicyObject, PolicyWithDocuments};
use jiff::Timestamp;

use super::expected_outcome::ExpectedOutcome;
use crate::index::subjects::TrackedObject;

/// What is kept of a judgement.
#[derive(Debug)]
pub struct Judged {
    /// The verdict, and whether exemptions let it pass.
    pub expected: ExpectedOutcome,
    /// When it changes by itself.
    pub next: NextChange,
    /// The exemptions that are made use of, by name.
    pub exemptions: Vec<String>,
    /// The images that are denied.
    pub denied: Vec<DeniedImage>,
    policy: Arc<PolicyWithDocuments>,
    account: Option<Arc<ServiceAccountFacts>>,
    /// What the inventory had of the roles whose policies the policy does not declare.
    roles: Vec<(RoleArn, Option<Arc<RoleFact>>)>,
    /// As of when it was judged.
    at: Timestamp,
    /// It holds at that moment alone, since some condition reads the time.
    momentary: bool,
    /// From when on an exemption is over.
    until: Option<Timestamp>,
}

/// What there is to tell of an image that is denied.
#[derive(Debug)]
pub struct DeniedImage {
    /// Which of the subject's images it is.
    pub index: usize,
    /// The ARN of the repository, where there is one.
    pub repository: Option<String>,
    /// The first action that is denied.
    pub action: Option<&'static str>,
    /// Why.
    pub cause: Option<CauseCode>,
    /// The exemption that lets it in all the same.
    pub exemption: Option<String>,
}

impl Judged {
    fn new(
        policy: &Arc<PolicyWithDocuments>,
        inventory: &Inventory,
        subject: &Subject,
        at: Timestamp,
        options: &Options,
    ) -> Self {
        let judgement = judge_under(policy, inventory, subject, at, options);
        let mut exemptions: Vec<String> = Vec::new();
        for used in judgement.images.iter().filter_map(ImageJudgement::exemption) {
            if !exemptions.contains(&used.name) {
                exemptions.push(used.name.clone());
            }
        }
        let spec = policy.spec().ok();
        let active = spec.into_iter().flat_map(|spec| &spec.exemptions).filter(|exemption| exemption.is_active(at));
        Self {
            expected: ExpectedOutcome::of(&judgement),
            next: judgement.next_change(),
            exemptions,
            denied: denied(&judgement),
            policy: Arc::clone(policy),
            account: inventory.service_account(&subject.namespace, &subject.service_account).cloned(),
            roles: judgement.undeclared_roles().map(|arn| (arn.clone(), inventory.role(arn).cloned())).collect(),
            at,
            momentary: judgement.reads_clock(),
            until: active.map(|exemption| exemption.expires_at).min(),
        }
    }

    /// The policy under which it was judged.
    pub fn policy(&self) -> &PolicyObject {
        &self.policy.object
    }

    /// Whether it would come out the same at `at`, which is not before.
    fn holds(
        &self,
        policy: &Arc<PolicyWithDocuments>,
        account: Option<&Arc<ServiceAccountFacts>>,
        inventory: &Inventory,
        at: Timestamp,
    ) -> bool {
        let same_account = match (&self.account, account) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        let same_roles = self.roles.iter().all(|(arn, before)| match (before, inventory.role(arn)) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        });
        let in_time = at == self.at || (at > self.at && !self.momentary && self.until.is_none_or(|until| at < until));
        Arc::ptr_eq(&self.policy, policy) && same_account && same_roles && in_time
    }
}

fn denied(judgement: &Judgement) -> Vec<DeniedImage> {
    if judgement.verdict != Verdict::Deny {
        return Vec::new();
    }
    let causes = causes(judgement);
    let images = judgement.images.iter().zip(causes).enumerate();
    let of = |(index, (image, cause)): (usize, (&ImageJudgement, Option<CauseCode>))| {
        let answers = || judgement.answers(image);
        (image.verdict == Verdict::Deny).then(|| DeniedImage {
            index,
            // The token is asked for on `*`, everything else on the repository.
            repository: answers()
                .find(|answer| answer.request.resource != "*")
                .map(|answer| answer.request.resource.clone()),
            action: answers().find(|answer| answer.is_denied()).map(|answer| answer.request.action),
            cause,
            exemption: image.exemption().map(|used| used.name.clone()),
        })
    };
    images.filter_map(of).collect()
}

/// Everything of an object that a judgement depends on.
#[derive(Clone, Debug)]
pub struct ScanQuestion(Arc<TrackedObject>);

impl ScanQuestion {
    /// What is asked of this object.
    pub fn of(tracked: &Arc<TrackedObject>) -> Self {
        Self(Arc::clone(tracked))
    }

    fn parts(&self) -> impl Hash + PartialEq {
        let Subject { namespace, service_account, pull_secrets, placement, template, .. } = &self.0.subject;
        (namespace, service_account, placement, pull_secrets.is_empty(), *template)
    }

    fn images(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.subject.images.iter().map(|used| (used.image.as_str(), used.never))
    }
}

impl PartialEq for ScanQuestion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.parts() == other.parts() && self.images().eq(other.images()))
    }
}

impl Eq for ScanQuestion {}

impl Hash for ScanQuestion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
        self.images().for_each(|image| image.hash(state));
    }
}

/// What was judged at the look before.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    known: HashMap<ScanQuestion, Vec<Arc<Judged>>>,
    policies: BTreeMap<PolicyKey, Arc<PolicyWithDocuments>>,
}

impl Memory {
    /// Every policy with the documents that it names: the one of before where nothing differs, which is how what was judged
    /// under it is known to hold.
    pub fn look_up(&mut self, inventory: &Inventory) -> BTreeMap<PolicyKey, Arc<PolicyWithDocuments>> {
        let mut before = std::mem::take(&mut self.policies);
        let look_up = |policy: &Arc<PolicyObject>| {
            let now = inventory.with_documents(policy);
            let same = before.remove(&policy.key).filter(|before| before.is_same(&now));
            (policy.key.clone(), same.unwrap_or_else(|| Arc::new(now)))
        };
        self.policies = inventory.policies().map(look_up).collect();
        self.policies.clone()
    }

    /// What is known of a question under one policy; else it is judged.
    pub fn judged(
        &self,
        question: &ScanQuestion,
        policy: &Arc<PolicyWithDocuments>,
        inventory: &Inventory,
        at: Timestamp,
        options: &Options,
    ) -> Arc<Judged> {
        let subject = &question.0.subject;
        let account = inventory.service_account(&subject.namespace, &subject.service_account);
        let mut known = self.known.get(question).into_iter().flatten();
        match known.find(|judged| judged.holds(policy, account, inventory, at)) {
            Some(judged) => Arc::clone(judged),
            None => Arc::new(Judged::new(policy, inventory, subject, at, options)),
        }
    }

    /// Keeps what this look found, and nothing else: what nobody asked for any more is forgotten.
    pub fn keep(&mut self, found: impl IntoIterator<Item = (ScanQuestion, Vec<Arc<Judged>>)>) {
        self.known = found.into_iter().collect();
    }
}

#[cfg(test)]
impl Memory {
    /// How many judgements it holds.
    pub fn judgements(&self) -> usize {
        self.known.values().map(Vec::len).sum()
    }

    /// How many of them `other` holds too.
    pub fn shared_with(&self, other: &Self) -> usize {
        let tracked = |judged: &&Arc<Judged>| other.known.values().flatten().any(|known| Arc::ptr_eq(known, judged));
        self.known.values().flatten().filter(tracked).count()
    }
}
