//! What is worth changing although everything can be pulled: grants beyond the need, and what documents say in vain.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cluster::Subject;
use crate::diagnose::grants::{Document, Elsewhere, Excess, excess, minimal};
use crate::diagnose::lints;
use crate::ecr::condition_keys::Session;
use crate::ecr::image::{EcrImage, ImageKind, looks_like_ecr};
use crate::ecr::needs::{CREATE, Need};
use crate::facts::declared::{Declared, PolicySource, SourcedPolicy};
use crate::inventory::Inventory;
use crate::judge::note;
use crate::policy::compiled::{DocumentSite, PolicyWithDocuments};
use crate::puller::{Puller, Pullers, pullers};
use crate::select::{Selection, select};

/// One piece of advice. It changes no verdict.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "advice")]
pub struct Advice {
    /// What it is about.
    pub kind: AdviceKind,
    /// A stable word: the id of the lint, or the kind. In a report the kind tells, and the end of the message.
    #[serde(skip)]
    pub code: &'static str,
    /// The policy object that declares the policy.
    pub object: String,
    /// What the policy is attached to: a role ARN or `service accounts`, a pattern of
    /// repository ARNs, `registry ACCOUNT/REGION`, or the level of the organization.
    pub target: String,
    /// The policy.
    pub policy: String,
    /// What is wrong with the policy. A lint begins with the path in the document and ends with its id, which docs/lints.md
    /// explains.
    pub message: String,
    /// A policy that would do for every image that the results pull with this principal.
    #[schemars(with = "Option<Map<String, Value>>")]
    pub document: Option<Document>,
}

/// The kinds of advice. Stable words, part of the report.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[schemars(inline)]
pub enum AdviceKind {
    /// A policy grants more than the pulls that are made with it need.
    BroaderThanNeeded,
    /// A document has something without effect, or with another effect than it seems.
    Lint,
    /// The host of an image is almost one of ECR, and the image is not judged.
    LooksLikeEcr,
}

/// At most so many images are told of whose hosts are almost ECR's.
const MAX_LOOK_ALIKES: usize = 8;

/// Of so many repositories a policy's grants are tried, per principal. More repositories would hardly tell more, and they
/// would not fit one IAM policy anyway ("IAM and AWS STS quotas", 6,144 characters).
const MAX_TRIED: usize = 100;

/// What is pulled under one policy object, gathered subject by subject.
#[derive(Clone, Debug)]
pub struct Uses {
    policy: PolicyWithDocuments,
    by_principal: BTreeMap<String, Use>,
    /// Images whose hosts are almost ECR's, each with the service account that it was met with first.
    look_alikes: BTreeMap<String, String>,
}

/// The images that are pulled with one principal, by the ARN of their repository.
#[derive(Clone, Debug)]
struct Use {
    puller: Puller,
    images: BTreeMap<String, EcrImage>,
}

/// Advice on the policies with which the images of `subjects` are pulled, in the order of policy objects and principals.
/// What `requires` asks for beside the pull is no excess.
#[must_use]
pub fn advise(inventory: &Inventory, subjects: &[Subject], requires: &[Need]) -> Vec<Advice> {
    let mut uses: BTreeMap<String, Uses> = BTreeMap::new();
    for subject in subjects {
        let Selection::Policy { policy, .. } = select(inventory, &subject.namespace, &subject.service_account) else {
            continue;
        };
        uses.entry(policy.key.to_string())
            .or_insert_with(|| Uses::of(inventory.with_documents(&policy)))
            .add(inventory, subject);
    }
    let mut advice: Vec<Advice> = uses.values().flat_map(|uses| uses.grants(requires)).collect();
    advice.extend(inventory.policies().flat_map(|policy| lints_of(&inventory.with_documents(policy))));
    advice
}

/// The lints of every document in a policy object, each document once.
#[must_use]
pub fn lints_of(policy: &PolicyWithDocuments) -> Vec<Advice> {
    let Ok(spec) = policy.spec() else { return Vec::new() };
    let mut found: Vec<Advice> = Vec::new();
    for DocumentSite { kind, holder, policy: sourced } in spec.documents() {
        let Some(text) = &sourced.text else { continue };
        for lint in lints(kind, text) {
            let advice = Advice {
                kind: AdviceKind::Lint,
                code: lint.id.as_str(),
                object: policy.object.key.to_string(),
                target: holder.to_string(),
                policy: sourced.policy.name.to_string(),
                message: format!("`{}`: {} ({}) [{}]", lint.path, lint.message, lint.hint, lint.id.as_str()),
                document: None,
            };
            if !found.contains(&advice) {
                found.push(advice);
            }
        }
    }
    found
}

impl Uses {
    /// Nothing so far.
    #[must_use]
    pub const fn of(policy: PolicyWithDocuments) -> Uses {
        Uses { policy, by_principal: BTreeMap::new(), look_alikes: BTreeMap::new() }
    }

    /// Adds the images of `subject`, which this policy object is for.
    pub fn add(&mut self, inventory: &Inventory, subject: &Subject) {
        let Ok(spec) = self.policy.spec() else { return };
        let Subject { namespace, service_account, .. } = subject;
        let mut images: Vec<(String, EcrImage)> = Vec::new();
        for used in subject.images.iter().filter(|used| !used.never) {
            match ImageKind::of(&used.image) {
                ImageKind::Private(image) => images.push((image.arn().to_string(), image)),
                ImageKind::Other | ImageKind::Invalid { ecr: false, .. } if looks_like_ecr(&used.image) => {
                    let first = || format!("service account {namespace}/{service_account}");
                    self.look_alikes.entry(used.image.clone()).or_insert_with(first);
                }
                _ => {}
            }
        }
        let account = inventory.service_account(namespace, service_account);
        let Pullers::Candidates(candidates) = pullers(spec, subject, account.map(Arc::as_ref), inventory.roles())
        else {
            return;
        };
        for puller in candidates {
            let known = self.by_principal.entry(puller.principal.to_string());
            let known = known.or_insert_with(|| Use { puller, images: BTreeMap::new() });
            known.images.extend(images.iter().cloned());
        }
    }

    /// Grants beyond what was added, in the order of principals. What `requires` asks for beside the pull is no excess.
    pub fn grants<'a>(&'a self, requires: &'a [Need]) -> impl Iterator<Item = Advice> + 'a {
        let spec = self.policy.spec().ok();
        let advice = move |(target, used): (&String, &Use)| {
            spec.map(|spec| used.advice(&self.policy.object.key.to_string(), target, &spec.declared, requires))
        };
        self.by_principal.iter().filter_map(advice).flatten()
    }

    /// Images that are not judged although their hosts are almost ECR's, in their order, the first few.
    pub fn look_alikes(&self) -> impl Iterator<Item = Advice> {
        self.look_alikes.iter().take(MAX_LOOK_ALIKES).map(|(image, account)| Advice {
            kind: AdviceKind::LooksLikeEcr,
            code: note::LOOKS_LIKE_ECR,
            object: self.policy.object.key.to_string(),
            target: image.clone(),
            policy: account.clone(),
            message: format!(
                "no registry has this name, which is almost one of Amazon ECR: not judged [{}]",
                note::LOOKS_LIKE_ECR
            ),
            document: None,
        })
    }
}

impl Use {
    fn advice(&self, object: &str, target: &str, declared: &Declared, requires: &[Need]) -> Vec<Advice> {
        let images: Vec<&EcrImage> = self.images.values().collect();
        let tried = images.get(..MAX_TRIED).unwrap_or(&images);
        if images.is_empty() {
            return Vec::new();
        }
        // The same for each policy of the principal.
        let enough = OnceCell::new();
        let policies = self.puller.identity.iter().flat_map(|identity| identity.policies());
        let told = policies.filter_map(|SourcedPolicy { policy, source, .. }| {
            let mut excess = excess(policy, tried);
            let managed = matches!(source, PolicySource::Managed { .. });
            // A node pulls for others too, and AWS's own policies are about every repository by design.
            if managed || self.puller.principal.session == Session::Node {
                excess.elsewhere = None;
            }
            if requires.contains(&Need::Push) {
                excess.writes.retain(|action| *action != "ecr:PutImage");
            }
            // A repository that was not tried may be created by its first pull.
            if tried.len() < images.len() {
                excess.writes.retain(|action| *action != CREATE);
            }
            (!excess.is_none()).then(|| Advice {
                kind: AdviceKind::BroaderThanNeeded,
                code: "BroaderThanNeeded",
                object: object.to_owned(),
                target: target.to_owned(),
                policy: policy.name.to_string(),
                message: in_words(&excess, images.len()),
                document: requires.is_empty().then(|| enough.get_or_init(|| minimal(&images, declared)).clone()),
            })
        });
        told.collect()
    }
}

fn in_words(excess: &Excess, used: usize) -> String {
    let repositories = if used == 1 { "the one repository".to_owned() } else { format!("the {used} repositories") };
    let mut parts = Vec::new();
    match excess.writes.as_slice() {
        [] => {}
        [first @ .., last] => {
            let rest = if first.is_empty() { String::new() } else { format!("{} and ", first.join(", ")) };
            let which = if first.is_empty() { "which no pull needs" } else { "none of which a pull needs" };
            parts.push(format!("{rest}{last}, {which}"));
        }
    }
    match excess.elsewhere {
        None => {}
        Some(Elsewhere::Registry) => parts.push(format!("pulls of more than {repositories} in use")),
        Some(Elsewhere::EveryAccount) => {
            parts.push(format!("pulls of more than {repositories} in use, from registries of every account"));
        }
    }
    format!("allows {}", parts.join("; and "))
}
