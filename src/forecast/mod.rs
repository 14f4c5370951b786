//! The one function that judges: webhook, controller and command line all call [`forecast`].
//!
//! Its answer depends on the inventory, the subject, the time and the options, and on nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iam_verdict::Decision;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::api::Action;
use crate::ecr::advice::{self, CauseCode, Fix, FixKind, Reason};
use crate::ecr::declared::{Declared, ResourcePolicy, Unread};
use crate::ecr::image::{EcrImage, ImageKind, ReferenceError};
use crate::ecr::judge::{self, Court, Existence, Judgement, Puller, note};
use crate::ecr::missing::MissingFact;
use crate::ecr::needs::Need;
use crate::inventory::{CompiledPuller, CompiledSpec, Inventory, PolicyKey, PolicyObject};
use crate::puller::{self, IRSA_ANNOTATION, NotKnown, Pullers, Selection, pullers, select};

mod admission;
mod advise;
mod config_maps;
mod explain;
mod message;
mod subject;

pub use self::config_maps::config_maps;
pub use crate::ecr::judge::Verdict;
use admission::{Actions, Ruling};
pub use admission::{Admission, ExemptionUse};
pub use advise::{Advice, AdviceKind, Uses, advise, lints_of};
use message::middle;
pub use message::{MAX_LINE, MAX_MESSAGE};
pub use subject::{ContainerKind, ImageUse, Subject, SubjectError};

/// A pod's service account was not seen; for this verdict that made no difference, but its image pull secrets might.
const SERVICE_ACCOUNT_NOT_SEEN: &str = "ServiceAccountNotSeen";

/// At most so many warnings leave with one review; further images are counted in the last one. The API server cuts
/// warnings that are longer than 4096 characters together.
const MAX_WARNINGS: usize = 8;

/// At most so many changes of decisions are looked at to find one of the verdict.
const MAX_CHANGES: usize = 32;

/// Fixes are tried for at most so many repositories of one subject, which bounds the time that they take.
const MAX_FIXED: usize = 64;

/// At most so many declared roles are tried in the place of the one that cannot pull.
const MAX_OTHERS: usize = 16;

/// What the one who asks decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// No policy does more than this.
    pub max_action: Action,
    /// The operator's own namespace, whose pods are never judged.
    pub operator_namespace: Option<String>,
    /// What is wanted of each repository beside the pull. The command line asks for it; admission never does, since
    /// pushes use other credentials than the kubelet's.
    pub requires: Vec<Need>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_action: Action::Reject, operator_namespace: None, requires: Vec::new() }
    }
}

/// The outcome for one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `Pod`, `Deployment`, …
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The policy in force; in the report `EcrAccessPolicy/NAMESPACE/NAME` or `ClusterEcrAccessPolicy/NAME`.
    pub policy: Option<PolicyKey>,
    /// The verdict over all images.
    pub verdict: Verdict,
    /// What admission does about it.
    pub admission: Admission,
    /// Assumptions and observations, see [`note`].
    pub notes: Vec<String>,
    /// The images, in the order of the subject's.
    pub images: Vec<ImageReport>,
    /// When the verdict changes by itself, because a policy has a condition on the time, or what admission does about it,
    /// because an exemption ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_transition: Option<Timestamp>,
    /// What a Deny and an Unknown do to a pod.
    #[serde(skip)]
    actions: Actions,
    /// The subject is the pod template of a workload.
    #[serde(skip)]
    template: bool,
}

/// The outcome for one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageReport {
    /// The field that holds the image.
    pub field: String,
    /// The container or volume.
    pub container: String,
    /// The image as written.
    pub image: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, coarsely.
    pub reason: Reason,
    /// The facts that would settle an Unknown.
    pub missing: Vec<MissingFact>,
    /// What a user sees, for this image alone.
    pub message: String,
    /// Everybody who may pull it, with the requests that were judged.
    pub candidates: Vec<Candidate>,
    /// Why, finely.
    pub cause: Option<CauseCode>,
    /// What would help.
    pub fix: Vec<Fix>,
    /// The exemption that lets it in all the same, where it is not certain that it can be pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<ExemptionUse>,
    /// The parts that messages are put together from.
    #[serde(skip)]
    texts: Texts,
}

/// What there is to say about an image.
#[derive(Clone, Debug, Default, PartialEq)]
struct Texts {
    /// Complete in itself, at most [`MAX_LINE`] bytes.
    line: String,
    /// What the closest statement lacks.
    detail: Option<String>,
    /// The fix in words; may be too long for a message.
    fix: Option<String>,
}

/// Somebody who may pull an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The role ARN, or `service account NAMESPACE/NAME`.
    pub principal: String,
    /// How it was found.
    pub found_by: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The requests of the pull.
    pub decisions: Vec<DecisionReport>,
}

/// One IAM request and its decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionReport {
    /// The action.
    pub action: &'static str,
    /// The resource ARN or `*`.
    pub resource: String,
    /// `Allowed`, `ExplicitlyDenied`, `ImplicitlyDenied` or `Unknown`.
    #[serde(serialize_with = "decision_word")]
    pub decision: Decision,
    /// The deciding layer.
    pub layer: Option<&'static str>,
    /// The deciding policy.
    pub policy: Option<String>,
    /// The deciding statement: its Sid, or `#index`.
    pub statement: Option<String>,
    /// What the request is needed for, where that is not the pull of an image that is there.
    #[serde(skip_serializing_if = "is_pull")]
    pub need: Need,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_pull(need: &Need) -> bool {
    *need == Need::Pull
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn decision_word<S: Serializer>(decision: &Decision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(decision.as_str())
}

/// Why a container keeps its pod from being admitted (a cause of a Kubernetes `Status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The field of the image.
    pub field: String,
    /// What is wrong, in one line.
    pub message: String,
}

/// Judges a subject at the time `at`.
#[must_use]
pub fn forecast(inventory: &Inventory, subject: &Subject, at: Timestamp, options: &Options) -> Report {
    let own = options.operator_namespace.as_deref() == Some(subject.namespace.as_str());
    if subject.mirror || own || subject.namespace == "kube-system" {
        return Case::new(inventory, subject, at).not_selected();
    }
    let case = Case::new(inventory, subject, at);
    match select(inventory, &subject.namespace, &subject.service_account) {
        Selection::None => case.not_selected(),
        Selection::Policy { policy, .. } => case.under(&policy, options),
        Selection::Unclear { possible, maybe_none, missing } => case.unclear(&possible, maybe_none, missing, options),
    }
}

/// Judges a subject as if `policy` were in force for it: for policies that are tried out with `onDeny: Audit`, and
/// take no part in selection.
#[must_use]
pub fn forecast_under(
    policy: &PolicyObject,
    inventory: &Inventory,
    subject: &Subject,
    at: Timestamp,
    options: &Options,
) -> Report {
    Case::new(inventory, subject, at).under(policy, options)
}

/// One subject on its way to a report.
#[derive(Clone, Copy)]
struct Case<'a> {
    inventory: &'a Inventory,
    subject: &'a Subject,
    at: Timestamp,
}

/// What is in force for the subject.
struct Bench<'a> {
    /// Who pulls.
    pullers: Result<&'a [Puller], &'a NotKnown>,
    /// The spec of the policy, where it is known.
    spec: Option<&'a CompiledSpec>,
    /// What is declared beside the puller; nothing where the policy itself is not known.
    declared: &'a Declared,
    /// What is asked of each repository.
    needs: &'a [Need],
}

/// What was found out about all images of the subject.
struct Hearing {
    images: Vec<ImageReport>,
    notes: Vec<&'static str>,
    /// When the decision of some request changes by itself next, or an exemption ends.
    next_change: Option<Timestamp>,
}

/// What was found out about one repository, shared by all images of it.
struct Finding {
    /// The ARN of the repository.
    repository: String,
    verdict: Verdict,
    reason: Reason,
    missing: Vec<MissingFact>,
    diagnosis: Diagnosis,
    candidates: Vec<Candidate>,
    notes: Vec<&'static str>,
    /// When the decision of some request changes by itself next.
    next_change: Option<Timestamp>,
    /// The candidate that messages speak of.
    spokesman: Option<(usize, Judgement)>,
}

/// Why a verdict is no Allow, and what would make it one.
#[derive(Default)]
struct Diagnosis {
    cause: Option<CauseCode>,
    /// What is almost right in the statement that came closest.
    hint: Option<String>,
    /// What else there is to say.
    remark: Option<String>,
    fix: Vec<Fix>,
}

impl<'a> Case<'a> {
    fn new(inventory: &'a Inventory, subject: &'a Subject, at: Timestamp) -> Self {
        Self { inventory, subject, at }
    }

    fn not_selected(&self) -> Report {
        self.report(None, Verdict::NotSelected, Admission::Admitted, Vec::new(), Vec::new(), Actions::NONE)
    }

    fn unclear(
        &self,
        possible: &[Arc<PolicyObject>],
        maybe_none: bool,
        missing: Vec<MissingFact>,
        options: &Options,
    ) -> Report {
        let names: Vec<String> = possible.iter().map(|policy| policy.key.to_string()).collect();
        let not_known = NotKnown {
            reason: Reason::FactsMissing,
            cause: CauseCode::SelectionNotKnown,
            why: format!("whether {} applies depends on labels that were not found", names.join(" or ")),
            missing,
            fix: Vec::new(),
        };
        // The mildest policy that may be in force; with none of them, nothing would happen at all.
        let mildest = |actions: &dyn Fn(&PolicyObject) -> Action| {
            possible.iter().map(|policy| actions(policy)).min().unwrap_or(Action::Audit)
        };
        let on_deny = mildest(&|policy| policy.on_deny);
        let on_unknown = mildest(&|policy| policy.on_unknown);
        let cap = if maybe_none { Action::Warn } else { Action::Reject };
        let actions = Actions::new(on_deny.min(cap), on_unknown, options);
        let bench = Bench { pullers: Err(&not_known), spec: None, declared: &Declared::default(), needs: &[] };
        self.judge(None, &bench, actions)
    }

    fn under(&self, policy: &PolicyObject, options: &Options) -> Report {
        let actions = Actions::new(policy.on_deny, policy.on_unknown, options);
        let key = policy.key.clone();
        let spec = match &policy.body {
            Ok(spec) => spec,
            Err(error) => {
                let not_known = NotKnown {
                    reason: Reason::FactsMissing,
                    cause: CauseCode::UnsupportedSpec,
                    missing: vec![MissingFact::Spec(key.to_string())],
                    why: format!("{key} cannot be read: {error}"),
                    fix: Vec::new(),
                };
                let bench = Bench { pullers: Err(&not_known), spec: None, declared: &Declared::default(), needs: &[] };
                return self.judge(Some(key), &bench, actions);
            }
        };
        let Subject { namespace, service_account, .. } = self.subject;
        let account = self.inventory.service_account(namespace, service_account);
        let mut needs = vec![Need::Pull];
        needs.extend(&options.requires);
        let bench = |pullers| Bench { pullers, spec: Some(spec), declared: &spec.declared, needs: &needs };
        match pullers(spec, namespace, service_account, account.map(Arc::as_ref)) {
            Pullers::Candidates(candidates) => self.judge(Some(key), &bench(Ok(&candidates)), actions),
            Pullers::NotKnown(not_known) => self.judge(Some(key), &bench(Err(&not_known)), actions),
        }
    }

    fn judge(&self, policy: Option<PolicyKey>, bench: &Bench<'_>, actions: Actions) -> Report {
        let object = &policy.as_ref().map(ToString::to_string).unwrap_or_default();
        let Hearing { images, mut notes, next_change } = self.hear(bench, object);
        let verdict = Verdict::all(images.iter().map(|image| image.verdict));
        if verdict == Verdict::Deny && self.account().is_none() {
            notes.push(SERVICE_ACCOUNT_NOT_SEEN);
        }
        let ruling = Ruling::of(&images, actions);
        let admission = match ruling.action {
            None | Some(Action::Audit) => Admission::Admitted,
            Some(Action::Reject) if !self.subject.template => Admission::Rejected,
            // A service account often comes after the workload that names it.
            Some(_) if self.subject.template && !images.iter().any(speaks_up) => Admission::Admitted,
            Some(_) => Admission::Warned,
        };
        let next_transition = self.next_transition(bench, actions, (verdict, ruling.action), next_change);
        let mut report = self.report(policy, verdict, admission, notes, images, actions);
        report.next_transition = next_transition;
        report
    }

    /// The first moment at which verdict or action is another one than now. The decision of a request may change, and an
    /// exemption end, without that.
    fn next_transition(
        &self,
        bench: &Bench<'_>,
        actions: Actions,
        now: (Verdict, Option<Action>),
        next_change: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let mut change = next_change;
        for _ in 0..MAX_CHANGES {
            let at = change?;
            let later = Self { at, ..*self }.hear(bench, "");
            let verdict = Verdict::all(later.images.iter().map(|image| image.verdict));
            if (verdict, Ruling::of(&later.images, actions).action) != now {
                return Some(at);
            }
            change = later.next_change.filter(|next| *next > at);
        }
        // Whoever asks again at this moment learns of the next ones.
        change
    }

    /// Judges every image.
    fn hear(&self, bench: &Bench<'_>, object: &str) -> Hearing {
        let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
        let mut notes: Vec<&'static str> = Vec::new();
        let mut images = Vec::with_capacity(self.subject.images.len());
        let candidates = bench.pullers.unwrap_or_default();
        let courts: Vec<Court<'_>> =
            candidates.iter().map(|puller| Court::new(puller, bench.declared, self.at)).collect();
        for used in &self.subject.images {
            let report = match (ImageKind::of(&used.image), bench.pullers) {
                _ if used.never => self.settled(used, Verdict::Allow, Reason::NoPull),
                (ImageKind::Public, _) => self.settled(used, Verdict::Allow, Reason::PublicRegistry),
                (ImageKind::Other, _) => self.settled(used, Verdict::OutOfScope, Reason::NotEcr),
                (ImageKind::Invalid { ecr: false, .. }, _) => {
                    self.settled(used, Verdict::OutOfScope, Reason::InvalidImage)
                }
                (ImageKind::Private(image), Err(_)) if judge::is_missing(&image, bench.declared) => {
                    self.not_found(used, &image)
                }
                (ImageKind::Invalid { ecr: true, .. } | ImageKind::Private(_), Err(not_known)) => {
                    self.not_known(used, not_known)
                }
                (ImageKind::Invalid { ecr: true, error }, Ok(_)) => self.invalid(used, error),
                (ImageKind::Private(image), Ok(candidates)) => {
                    if image.port {
                        notes.push(note::PORT_IN_HOST);
                    }
                    if image.upper_case_host {
                        notes.push(note::UPPER_CASE_HOST);
                    }
                    let known = findings.len();
                    let finding = findings
                        .entry(image.arn().to_string())
                        .or_insert_with(|| self.find(&image, candidates, &courts, bench, known < MAX_FIXED));
                    notes.extend(&finding.notes);
                    self.found(used, finding, candidates, bench.declared, object)
                }
            };
            images.push(report);
        }
        if let Some(spec) = bench.spec {
            images.iter_mut().for_each(|image| image.exemption = self.exemption(spec, image));
        }
        let ends = images.iter().filter_map(|image| Some(image.exemption.as_ref()?.expires_at));
        let next_change = findings.values().filter_map(|finding| finding.next_change).chain(ends).min();
        Hearing { images, notes, next_change }
    }

    /// The exemption of an image that needs one. It is for what the policy says, never for what the object carries.
    fn exemption(&self, spec: &CompiledSpec, image: &ImageReport) -> Option<ExemptionUse> {
        let needed = matches!(image.verdict, Verdict::Deny | Verdict::Unknown);
        let Subject { namespace, service_account, .. } = self.subject;
        let mut active = spec.exemptions.iter().filter(|exemption| needed && exemption.is_active(self.at));
        active.find(|exemption| exemption.covers(namespace, service_account, &image.image)).map(ExemptionUse::from)
    }

    fn report(
        &self,
        policy: Option<PolicyKey>,
        verdict: Verdict,
        admission: Admission,
        notes: Vec<&'static str>,
        images: Vec<ImageReport>,
        actions: Actions,
    ) -> Report {
        let mut once: Vec<String> = Vec::new();
        for note in notes {
            if !once.iter().any(|known| known == note) {
                once.push(note.to_owned());
            }
        }
        Report {
            kind: self.subject.kind.clone(),
            namespace: self.subject.namespace.clone(),
            name: self.subject.name.clone(),
            policy,
            verdict,
            admission,
            notes: once,
            images,
            next_transition: None,
            actions,
            template: self.subject.template,
        }
    }

    fn account(&self) -> Option<&Arc<crate::inventory::ServiceAccountFacts>> {
        self.inventory.service_account(&self.subject.namespace, &self.subject.service_account)
    }

    /// A secret of the pod, or one that its service account lends it, is tried before any credential provider.
    fn has_pull_secret(&self) -> bool {
        !self.subject.pull_secrets.is_empty()
            || self.account().is_some_and(|account| !account.image_pull_secrets.is_empty())
    }

    /// Asks every candidate and folds their verdicts: they must agree.
    fn find(
        &self,
        image: &EcrImage,
        candidates: &[Puller],
        courts: &[Court<'_>],
        bench: &Bench<'_>,
        fix: bool,
    ) -> Finding {
        let judgements: Vec<Judgement> = courts.iter().map(|court| court.judge(image, bench.needs)).collect();
        let agree = |verdict| judgements.iter().all(|judgement| judgement.verdict == verdict);
        let differ = ![Verdict::Allow, Verdict::Deny, Verdict::Unknown].into_iter().any(agree);
        let verdict = match (agree(Verdict::Allow), agree(Verdict::Deny)) {
            (true, _) => Verdict::Allow,
            (_, true) => Verdict::Deny,
            _ => Verdict::Unknown,
        };
        // Whoever is worst off speaks for all.
        let spokesman = [Verdict::Deny, Verdict::Unknown, Verdict::Allow]
            .into_iter()
            .find_map(|worst| judgements.iter().position(|judgement| judgement.verdict == worst));
        let spoken = spokesman.and_then(|index| Some((judgements.get(index)?, candidates.get(index)?)));
        let not_found = judgements.iter().any(|judgement| judgement.existence == Existence::NotFound);
        let mut finding = Finding {
            repository: image.arn().to_string(),
            verdict,
            reason: match verdict {
                Verdict::Allow => Reason::Allowed,
                Verdict::Deny if not_found => Reason::RepositoryNotFound,
                Verdict::Deny => Reason::ActionDenied,
                _ if differ => Reason::DependsOnNode,
                _ => Reason::FactsMissing,
            },
            missing: Vec::new(),
            diagnosis: Diagnosis::default(),
            candidates: judgements
                .iter()
                .zip(candidates)
                .map(|(judgement, puller)| candidate(judgement, puller))
                .collect(),
            notes: judgements.iter().flat_map(|judgement| judgement.notes.iter().copied()).collect(),
            next_change: judgements.iter().filter_map(|judgement| judgement.next_change).min(),
            spokesman: spokesman.and_then(|index| Some((index, judgements.get(index)?.clone()))),
        };
        if differ {
            finding.missing.push(MissingFact::Node);
        }
        if verdict == Verdict::Unknown {
            for fact in judgements.iter().flat_map(|judgement| &judgement.missing) {
                if !finding.missing.contains(fact) {
                    finding.missing.push(fact.clone());
                }
            }
        }
        // A secret is tried before any credential of the puller; but it makes no repository, and it pushes nothing.
        let by_pull = |judgement: &Judgement| {
            let denied = |need: fn(Need) -> bool| judgement.answers.iter().any(|a| a.is_denied() && need(a.ask.need));
            denied(Need::is_pull) && !denied(|need| !need.is_pull())
        };
        if verdict == Verdict::Deny && !not_found && self.has_pull_secret() && judgements.iter().any(by_pull) {
            finding.verdict = Verdict::Unknown;
            finding.reason = Reason::PullSecret;
            finding.missing = vec![MissingFact::ImagePullSecret];
        }
        if verdict != Verdict::Allow {
            finding.diagnosis = self.diagnose(image, spoken, bench);
            if fix && finding.diagnosis.fix.is_empty() {
                let all: Vec<(&Puller, &Judgement)> = candidates.iter().zip(&judgements).collect();
                finding.diagnosis.fix = advice::fixes(image, &all, bench.declared, bench.needs, self.at);
            } else if !fix && verdict == Verdict::Deny {
                let why = format!("not looked for: {MAX_FIXED} other repositories of this object have theirs");
                finding.diagnosis.fix = vec![Fix::other(FixKind::None, why)];
            }
        }
        match finding.reason {
            Reason::DependsOnNode => finding.diagnosis.cause = Some(CauseCode::CandidatesDiffer),
            Reason::PullSecret => finding.diagnosis.cause = Some(CauseCode::PullSecret),
            _ => {}
        }
        finding
    }

    /// Looks for why the candidate that speaks for all cannot pull, and for what would let all of them.
    fn diagnose(&self, image: &EcrImage, spoken: Option<(&Judgement, &Puller)>, bench: &Bench<'_>) -> Diagnosis {
        let Some((judgement, puller)) = spoken else { return Diagnosis::default() };
        let mut diagnosis =
            Diagnosis { cause: advice::cause(judgement, puller, image.partition), ..Diagnosis::default() };
        if judgement.verdict == Verdict::Unknown {
            // A document in a ConfigMap that could not be read: what to do is known, whatever the rest comes to.
            let unread: Vec<&Unread> =
                judgement.missing.iter().filter_map(|fact| bench.declared.unread(fact)).collect();
            let first = judgement.missing.first().and_then(|fact| bench.declared.unread(fact));
            if first.is_some_and(|unread| unread.malformed) {
                diagnosis.cause = Some(CauseCode::DocumentMalformed);
            }
            diagnosis.fix =
                unread.into_iter().map(|unread| Fix::other(FixKind::None, unread.way_out.clone())).collect();
        }
        let policy = bench.declared.repository(image).and_then(|entry| entry.policy.as_ref());
        let policy = match policy {
            Some(ResourcePolicy::Policy(sourced)) => Some(sourced),
            _ => None,
        };
        diagnosis.hint = advice::first_denied(judgement).and_then(|answer| advice::hint(answer, puller, policy));
        if judgement.verdict == Verdict::Deny {
            self.somebody_else(&mut diagnosis, image, puller, bench);
        }
        diagnosis
    }

    /// Whether the rights are there, with a role that does not pull.
    fn somebody_else(&self, diagnosis: &mut Diagnosis, image: &EcrImage, puller: &Puller, bench: &Bench<'_>) {
        let (Some(account), Some(spec)) = (self.account(), bench.spec) else { return };
        let nothing_granted = diagnosis.cause == Some(CauseCode::NoPolicyGrantsPull);
        let CompiledPuller::ServiceAccount { annotation, .. } = &spec.puller else {
            let irsa = account.annotations.get(IRSA_ANNOTATION);
            if let Some(irsa) = irsa.filter(|irsa| nothing_granted && **irsa != puller.who.to_string()) {
                diagnosis.cause = Some(CauseCode::IrsaRoleDoesNotPull);
                diagnosis.remark = Some(format!(
                    "{irsa} ({IRSA_ANNOTATION} of service account {}/{}) is for what the pod does itself and pulls \
                     nothing",
                    account.namespace, account.name
                ));
            }
            return;
        };
        let almost = puller::almost(annotation, account);
        let can = |other: &Puller| {
            other.who != puller.who
                && judge::judge(image, other, bench.declared, bench.needs, self.at).verdict == Verdict::Allow
        };
        let other = if almost.is_some() || nothing_granted {
            puller::others(spec, account).into_iter().take(MAX_OTHERS).find(can)
        } else {
            None
        };
        let typed = almost.as_ref().filter(|almost| {
            let named = other
                .as_ref()
                .is_some_and(|other| almost.role.as_ref().map(ToString::to_string) == Some(other.who.to_string()));
            named || nothing_granted || almost.cause() == CauseCode::AnnotationAlmostRight
        });
        if let Some(almost) = typed {
            diagnosis.cause = Some(almost.cause());
            diagnosis.remark =
                Some(format!("service account {}/{}: {}", account.namespace, account.name, almost.why(annotation)));
        } else if let Some(other) = other.as_ref().filter(|_| nothing_granted) {
            diagnosis.cause = Some(CauseCode::RightsOnAnotherRole);
            diagnosis.remark = Some(format!("{}, which is declared too, could pull it", other.who));
        }
        // Where nobody chose the puller, choosing the one that can is the smallest change.
        let unchosen = !account.annotations.contains_key(annotation);
        if let (true, Some(other)) = (unchosen, &other) {
            let role = other.who.to_string();
            diagnosis.fix = vec![Fix::set_annotation(
                format!("ServiceAccount/{}/{}", account.namespace, account.name),
                Some(advice::Statement::annotation(annotation, &role)),
                format!("{role} may pull, and annotation {annotation} lets it"),
            )];
        }
    }

    fn found(
        &self,
        used: &ImageUse,
        finding: &Finding,
        candidates: &[Puller],
        declared: &Declared,
        object: &str,
    ) -> ImageReport {
        let speaker = finding.spokesman.as_ref().and_then(|(index, judgement)| {
            Some(explain::Speaker {
                judgement,
                puller: candidates.get(*index)?,
                cause: finding.diagnosis.cause,
                several: candidates.len() > 1,
                hint: finding.diagnosis.hint.as_deref(),
                remark: finding.diagnosis.remark.as_deref(),
            })
        });
        let fix = &finding.diagnosis.fix;
        let texts = match (finding.verdict, &speaker) {
            (Verdict::Deny, _) if finding.reason == Reason::RepositoryNotFound => {
                explain::not_found(self.subject, used, &finding.repository, fix, object)
            }
            (Verdict::Unknown, Some(_)) if finding.reason == Reason::DependsOnNode => {
                explain::depends_on_node(self.subject, used, &finding.candidates, fix, object)
            }
            (Verdict::Deny, Some(speaker)) => explain::denied(self.subject, used, speaker, fix, object),
            (Verdict::Unknown, Some(speaker)) if finding.reason == Reason::PullSecret => {
                explain::pull_secret(self.subject, used, speaker, fix, object)
            }
            (Verdict::Unknown, Some(speaker)) => {
                explain::open(self.subject, used, speaker, &finding.missing, declared, (fix, object))
            }
            (_, Some(speaker)) => explain::allowed(used, speaker),
            (_, None) => Texts::default(),
        };
        self.image(used, finding.verdict, finding.reason, texts, |report| {
            report.missing.clone_from(&finding.missing);
            report.cause = finding.diagnosis.cause;
            report.fix.clone_from(fix);
            report.candidates.clone_from(&finding.candidates);
        })
    }

    fn settled(&self, used: &ImageUse, verdict: Verdict, reason: Reason) -> ImageReport {
        let line = match reason {
            Reason::NoPull => "imagePullPolicy is Never: nothing is pulled",
            Reason::PublicRegistry => "ECR Public: anonymous pulls work",
            Reason::InvalidImage => "not an image reference, and not of Amazon ECR: not judged",
            _ => "not an image of Amazon ECR: not judged",
        };
        self.image(used, verdict, reason, Texts { line: line.to_owned(), ..Texts::default() }, |_| {})
    }

    fn invalid(&self, used: &ImageUse, error: ReferenceError) -> ImageReport {
        let why = match error {
            // The kubelet would ask for it; the registry cannot have it.
            ReferenceError::PathTooShort => error.to_string(),
            _ => format!("not an image reference, the kubelet answers InvalidImageName: {error}"),
        };
        let texts = explain::invalid(self.subject, used, &why);
        self.image(used, Verdict::Deny, Reason::InvalidImage, texts, |report| {
            report.cause = Some(CauseCode::InvalidImage);
            report.fix = vec![Fix::other(FixKind::None, format!("correct the image reference: {error}"))];
        })
    }

    /// Whoever pulls, there is nothing to be pulled.
    fn not_found(&self, used: &ImageUse, image: &EcrImage) -> ImageReport {
        let fix = vec![advice::create_repository(image)];
        let texts = explain::not_found(self.subject, used, &image.arn().to_string(), &fix, "");
        self.image(used, Verdict::Deny, Reason::RepositoryNotFound, texts, |report| {
            report.cause = Some(CauseCode::RepositoryNotFound);
            report.fix = fix;
        })
    }

    fn not_known(&self, used: &ImageUse, not_known: &NotKnown) -> ImageReport {
        let texts = explain::not_known(self.subject, used, &not_known.why, not_known.cause, &not_known.fix);
        self.image(used, Verdict::Unknown, not_known.reason, texts, |report| {
            report.missing.clone_from(&not_known.missing);
            report.cause = Some(not_known.cause);
            report.fix.clone_from(&not_known.fix);
        })
    }

    fn image(
        &self,
        used: &ImageUse,
        verdict: Verdict,
        reason: Reason,
        texts: Texts,
        fill: impl FnOnce(&mut ImageReport),
    ) -> ImageReport {
        let mut report = ImageReport {
            field: used.field.clone(),
            container: used.container.clone(),
            image: used.image.clone(),
            verdict,
            reason,
            missing: Vec::new(),
            message: explain::compose(&texts, &[], &self.subject.namespace),
            candidates: Vec::new(),
            cause: None,
            fix: Vec::new(),
            exemption: None,
            texts,
        };
        fill(&mut report);
        report
    }
}

fn candidate(judgement: &Judgement, puller: &Puller) -> Candidate {
    let decision = |answer: &judge::Answer| DecisionReport {
        action: answer.ask.action,
        resource: answer.ask.resource.clone(),
        decision: answer.outcome.decision,
        layer: answer.outcome.layer.map(iam_verdict::Layer::as_str),
        policy: answer.outcome.policy.as_deref().map(str::to_owned),
        statement: answer.outcome.statement.as_deref().map(str::to_owned),
        need: answer.ask.need,
    };
    Candidate {
        principal: puller.who.to_string(),
        found_by: puller.found_by.clone(),
        verdict: judgement.verdict,
        decisions: judgement.answers.iter().map(decision).collect(),
    }
}

/// Whether an image of a template is worth a warning: not when only its service account is still to come.
fn speaks_up(image: &ImageReport) -> bool {
    match image.verdict {
        Verdict::Deny => true,
        Verdict::Unknown => !image.missing.iter().any(|fact| matches!(fact, MissingFact::ServiceAccount { .. })),
        _ => false,
    }
}

impl Report {
    /// The message of a refusal: the first line complete in itself and at most [`MAX_LINE`] bytes, the whole at most
    /// [`MAX_MESSAGE`]. Empty where nothing is refused or in doubt.
    #[must_use]
    pub fn denial_message(&self) -> String {
        let blamed: Vec<&ImageReport> = self.blamed().collect();
        let Some((first, others)) = blamed.split_first() else { return String::new() };
        explain::compose(&first.texts, others, &self.namespace)
    }

    /// The warnings for the author of the object: one line each, without control characters.
    ///
    /// Where a document in a ConfigMap could not be read, the way out follows in a line of its own: whoever sees a warning
    /// sees no other part of the message, and a missing label is nothing that anybody guesses.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        if self.admission != Admission::Warned {
            return Vec::new();
        }
        let mut lines: Vec<String> = Vec::new();
        let mut way_out = None;
        let mut more = 0usize;
        for image in &self.images {
            let speaks = match image.verdict {
                Verdict::Deny => true,
                Verdict::Unknown => self.actions.on_unknown >= Action::Warn && (!self.template || speaks_up(image)),
                _ => false,
            };
            if !speaks {
                continue;
            }
            if image.missing.iter().any(|fact| matches!(fact, MissingFact::ConfigMap(_))) {
                way_out = way_out.or(image.texts.fix.as_deref());
            }
            if lines.len() < MAX_WARNINGS {
                lines.push(image.texts.line.clone());
            } else {
                more += 1;
            }
        }
        if more > 0 {
            lines.push(explain::more_images(self, more));
        }
        let ruling = Ruling::of(&self.images, self.actions);
        if self.template && ruling.action == Some(Action::Reject) {
            // Whoever applies a workload sees that it was taken; its pods are refused out of sight.
            lines.push(explain::pods_refused(self, &self.blamed().collect::<Vec<_>>()));
        } else {
            lines.extend(way_out.map(|fix| middle(fix, MAX_LINE)));
            if ruling.spared {
                lines.extend(explain::exempted(self));
            }
        }
        lines
    }

    /// The causes of a refusal, one per image.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        let cause = |image: &ImageReport| Cause { field: image.field.clone(), message: image.texts.line.clone() };
        self.blamed().map(cause).collect()
    }

    /// The exemptions that let the pod in, each once, in the order of the images; none where it would be let in without.
    pub fn exemptions(&self) -> impl Iterator<Item = &ExemptionUse> {
        let spared = !self.template && Ruling::of(&self.images, self.actions).spared;
        self.used().filter(move |_| spared && self.admission == Admission::Warned)
    }

    /// The exemptions of the images, each once.
    fn used(&self) -> impl Iterator<Item = &ExemptionUse> {
        let mut seen = BTreeSet::new();
        self.images.iter().filter_map(|image| image.exemption.as_ref()).filter(move |used| seen.insert(&used.name))
    }

    /// The images that a refusal goes back to, or would: the worst ones that no exemption is for.
    fn blamed(&self) -> impl Iterator<Item = &ImageReport> {
        let bound = || self.images.iter().filter(|image| image.exemption.is_none());
        let worst = Verdict::all(bound().map(|image| image.verdict));
        let blames = matches!(worst, Verdict::Deny | Verdict::Unknown);
        bound().filter(move |image| blames && image.verdict == worst)
    }
}

#[cfg(test)]
mod tests;
