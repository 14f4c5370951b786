//! The first stage: what is decided, as data. No words are made here, and nothing is looked for that would help.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::Subject;
use crate::ecr::arn::RoleArn;
use crate::ecr::condition_keys::TIME_KEYS;
use crate::ecr::image::{EcrImage, ImageKind, ReferenceError, host_and_port, looks_like_ecr};
use crate::ecr::needs::Need;
use crate::facts::declared::Declared;
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason, Roles};
use crate::inventory::{Inventory, ServiceAccountFacts};
use crate::judge::admission::{Actions, Admission, AdmissionDecision, ExemptionUse};
use crate::judge::options::Options;
use crate::judge::pull_evaluator::PullEvaluator;
use crate::judge::pull_judgement::{Existence, PullJudgement, RequestDecision, Verdict, is_missing, note};
use crate::policy::compiled::{CompiledPuller, CompiledSpec, PolicyObject, PolicyWithDocuments};
use crate::policy::{Action, DEFAULT_ROLE_ANNOTATION};
use crate::puller::{NotKnown, Puller, Pullers, pullers};
use crate::scope;
use crate::select::{Selection, select};

/// A pod's service account was not seen; for this verdict that made no difference, but its image pull secrets might.
pub(crate) const SERVICE_ACCOUNT_NOT_SEEN: &str = "ServiceAccountNotSeen";

/// What was decided about a subject. It holds for every subject of the same namespace and service account with the same
/// images and pull secrets, whatever its name is.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The policy in force.
    pub policy: Option<Arc<PolicyObject>>,
    /// Its spec, where that could be read, with the documents that it names.
    pub(crate) spec: Option<Arc<CompiledSpec>>,
    /// The verdict over all images.
    pub verdict: Verdict,
    /// What admission does about it.
    pub admission: Admission,
    /// Assumptions and observations, see [`note`]; each once.
    pub notes: Vec<&'static str>,
    /// The images, in the order of the subject's.
    pub images: Vec<ImageJudgement>,
    /// As of when it was judged.
    pub(crate) at: Timestamp,
    /// The service account, where it was seen.
    pub(crate) account: Option<Arc<ServiceAccountFacts>>,
    /// Who pulls.
    pub(crate) pullers: Result<Vec<Puller>, NotKnown>,
    /// What is asked of each repository.
    pub(crate) needs: Vec<Need>,
    /// The repositories of the images, each once.
    pub(crate) repositories: Vec<RepositoryJudgement>,
    /// A secret of the pod, or one that its service account lends it, is tried before any credential provider.
    pub(crate) has_secret: bool,
    /// What a Deny and an Unknown do to a pod.
    pub(crate) actions: Actions,
    /// What all images come to.
    pub(crate) admission_decision: AdmissionDecision,
}

/// What was decided about one image.
#[derive(Clone, Debug)]
pub struct ImageJudgement {
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, coarsely.
    pub reason: Reason,
    /// What the verdict goes back to.
    pub(crate) found: Found,
    /// The exemption that covers it, needed or not.
    pub(crate) cover: Option<ExemptionUse>,
}

/// What the verdict on an image goes back to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// The image alone: nothing is pulled from a private registry of ECR.
    Image,
    /// The image, which is none.
    Invalid(ReferenceError),
    /// That its repository is not there, whoever pulls.
    NoRepository(Box<EcrImage>),
    /// That the puller is not known, or that there is none.
    NoPuller,
    /// Its host, which no credential provider matches as it is written.
    Host(Box<UnmatchedHost>),
    /// The repository with this index.
    Repository(usize),
}

/// A host of ECR that no pattern of a stock node's credential provider matches: it has a port or capital letters.
#[derive(Clone, Debug)]
pub(crate) struct UnmatchedHost {
    /// As it is written.
    pub(crate) host: String,
    /// What is not known.
    pub(crate) missing: [MissingFact; 1],
}

impl UnmatchedHost {
    fn of(image: &str) -> Box<Self> {
        let host = host_and_port(image);
        Box::new(Self { host: host.to_owned(), missing: [MissingFact::HostMatch(host.to_owned())] })
    }
}

/// What is missing where a pull secret may do what the puller cannot.
static PULL_SECRET: [MissingFact; 1] = [MissingFact::ImagePullSecret];

/// What was decided about one repository, for all images of it.
#[derive(Clone, Debug)]
pub(crate) struct RepositoryJudgement {
    pub(crate) image: EcrImage,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
    pub(crate) missing: Vec<MissingFact>,
    /// What each puller can do, in the order of the pullers.
    pub(crate) pulls: Vec<PullJudgement>,
}

/// Judges a subject at the time `at`.
#[must_use]
pub fn judge(inventory: &Inventory, subject: &Subject, at: Timestamp, options: &Options) -> Judgement {
    if subject.mirror || scope::is_left_alone(&subject.namespace, options.operator_namespace.as_deref()) {
        return Judgement { notes: vec![note::NEVER_JUDGED], ..Judgement::not_selected(at) };
    }
    match select(inventory, &subject.namespace, &subject.service_account) {
        Selection::None => Judgement::not_selected(at),
        Selection::Policy { policy, .. } => {
            judge_under(&inventory.with_documents(&policy), inventory, subject, at, options)
        }
        Selection::Unclear { possible, maybe_none, missing } => {
            let case = Case::new(inventory, subject, at, options);
            case.unclear(&possible, maybe_none, missing)
        }
    }
}

/// Judges a subject as if `policy` were in force for it: for policies that are tried out with `onDeny: Audit`, and
/// take no part in selection.
#[must_use]
pub fn judge_under(
    policy: &PolicyWithDocuments,
    inventory: &Inventory,
    subject: &Subject,
    at: Timestamp,
    options: &Options,
) -> Judgement {
    Case::new(inventory, subject, at, options).under(policy)
}

impl Judgement {
    /// What the policy in force declares of the AWS side, where it is known.
    pub(crate) fn spec(&self) -> Option<&CompiledSpec> {
        self.spec.as_deref()
    }

    /// The facts that would settle an Unknown.
    #[must_use]
    pub fn missing<'a>(&'a self, image: &'a ImageJudgement) -> &'a [MissingFact] {
        match (&image.found, &self.pullers) {
            (Found::NoPuller, Err(_)) if image.reason == Reason::PullSecret => &PULL_SECRET,
            (Found::NoPuller, Err(not_known)) => &not_known.missing,
            (Found::Host(host), _) => &host.missing,
            (Found::Repository(index), _) => self.repositories.get(*index).map_or(&[], |found| &found.missing),
            _ => &[],
        }
    }

    /// The roles that may pull of which the policy in force declares nothing: what is known of them is what the inventory has.
    pub fn undeclared_roles(&self) -> impl Iterator<Item = &RoleArn> {
        let undeclared = |puller: &&Puller| puller.fact.is_some() || puller.identity.is_none();
        self.pullers.iter().flatten().filter(undeclared).map(|puller| &puller.principal.arn)
    }

    /// Whether some policy that it may rest on has a condition on the time, so that a judgement of now may be another one
    /// later.
    #[must_use]
    pub fn reads_clock(&self) -> bool {
        let facts = self.pullers.iter().flatten().filter_map(|puller| puller.fact.as_ref()?.identity());
        let mut keys = facts.flat_map(|identity| identity.condition_keys());
        keys.any(|key| TIME_KEYS.contains(&key)) || self.spec().is_some_and(CompiledSpec::reads_clock)
    }

    /// The requests of an image and their decisions, puller by puller.
    pub fn answers(&self, image: &ImageJudgement) -> impl Iterator<Item = &RequestDecision> {
        let found = match image.found {
            Found::Repository(index) => self.repositories.get(index),
            _ => None,
        };
        found.into_iter().flat_map(|found| &found.pulls).flat_map(|pull| &pull.answers)
    }

    fn not_selected(at: Timestamp) -> Self {
        Self {
            policy: None,
            spec: None,
            verdict: Verdict::NotSelected,
            admission: Admission::Admitted,
            notes: Vec::new(),
            images: Vec::new(),
            at,
            account: None,
            pullers: Ok(Vec::new()),
            needs: Vec::new(),
            repositories: Vec::new(),
            has_secret: false,
            actions: Actions::NONE,
            admission_decision: AdmissionDecision { action: None, spared: false },
        }
    }
}

impl ImageJudgement {
    /// The exemption that lets it in all the same, where it is not certain that it can be pulled.
    #[must_use]
    pub fn exemption(&self) -> Option<&ExemptionUse> {
        self.cover.as_ref().filter(|_| matches!(self.verdict, Verdict::Deny | Verdict::Unknown))
    }
}

impl RepositoryJudgement {
    /// The candidate that messages speak of, by its index: whoever is worst off speaks for all.
    pub(crate) fn worst_candidate(&self) -> Option<usize> {
        [Verdict::Deny, Verdict::Unknown, Verdict::Allow]
            .into_iter()
            .find_map(|worst| self.pulls.iter().position(|pull| pull.verdict == worst))
    }
}

/// One subject on its way to a judgement.
struct Case<'a> {
    subject: &'a Subject,
    account: Option<&'a Arc<ServiceAccountFacts>>,
    roles: &'a Roles,
    at: Timestamp,
    options: &'a Options,
}

impl<'a> Case<'a> {
    fn new(inventory: &'a Inventory, subject: &'a Subject, at: Timestamp, options: &'a Options) -> Self {
        let account = inventory.service_account(&subject.namespace, &subject.service_account);
        Self { subject, account, roles: inventory.roles(), at, options }
    }

    fn unclear(self, possible: &[Arc<PolicyObject>], maybe_none: bool, missing: Vec<MissingFact>) -> Judgement {
        let names: Vec<String> = possible.iter().map(|policy| policy.key.to_string()).collect();
        let not_known = NotKnown {
            reason: Reason::FactsMissing,
            cause: CauseCode::SelectionNotKnown,
            why: format!("whether {} applies depends on labels that were not found", names.join(" or ")),
            missing,
            annotation: None,
            fails: false,
        };
        // The mildest policy that may be in force; with none of them, nothing would happen at all.
        let mildest = |actions: &dyn Fn(&PolicyObject) -> Action| {
            possible.iter().map(|policy| actions(policy)).min().unwrap_or(Action::Audit)
        };
        let on_deny = mildest(&|policy| policy.on_deny);
        let on_unknown = mildest(&|policy| policy.on_unknown);
        let cap = if maybe_none { Action::Warn } else { Action::Reject };
        let actions = Actions::new(on_deny.min(cap), on_unknown, self.options);
        self.judge(None, Err(not_known), actions)
    }

    fn under(self, policy: &PolicyWithDocuments) -> Judgement {
        let PolicyObject { key, on_deny, on_unknown, .. } = &*policy.object;
        let actions = Actions::new(*on_deny, *on_unknown, self.options);
        let pullers = match policy.spec() {
            Ok(spec) => match pullers(spec, self.subject, self.account.map(Arc::as_ref), self.roles) {
                Pullers::Candidates(candidates) => Ok(candidates),
                Pullers::NotKnown(not_known) => Err(not_known),
            },
            Err(error) => Err(NotKnown {
                reason: Reason::FactsMissing,
                cause: CauseCode::UnsupportedSpec,
                missing: vec![MissingFact::Spec(key.to_string())],
                why: format!("{key} cannot be read: {error}"),
                annotation: None,
                fails: false,
            }),
        };
        self.judge(Some(policy), pullers, actions)
    }

    fn judge(
        self,
        policy: Option<&PolicyWithDocuments>,
        pullers: Result<Vec<Puller>, NotKnown>,
        actions: Actions,
    ) -> Judgement {
        let mut needs = vec![Need::Pull];
        needs.extend(&self.options.requires);
        let has_secret = !self.subject.pull_secrets.is_empty()
            || self.account.is_some_and(|account| !account.image_pull_secrets.is_empty());
        let spec = policy.and_then(|policy| policy.spec().ok());
        let nothing = Declared::default();
        let declared = spec.map_or(&nothing, |spec| &spec.declared);
        let candidates = pullers.as_deref().unwrap_or_default();
        let evaluators: Vec<PullEvaluator<'_>> =
            candidates.iter().map(|puller| PullEvaluator::new(puller, declared, self.at)).collect();
        let mut notes: Vec<&'static str> = Vec::new();
        let mut note = |note: &'static str| {
            if !notes.contains(&note) {
                notes.push(note);
            }
        };
        let mut repositories: Vec<RepositoryJudgement> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let mut images = Vec::with_capacity(self.subject.images.len());
        for used in &self.subject.images {
            let (verdict, reason, found) = match (ImageKind::of(&used.image), &pullers) {
                _ if used.never => (Verdict::Allow, Reason::NoPull, Found::Image),
                (ImageKind::Public, _) => (Verdict::Allow, Reason::PublicRegistry, Found::Image),
                (kind @ (ImageKind::Other | ImageKind::Invalid { ecr: false, .. }), _) => {
                    if looks_like_ecr(&used.image) {
                        note(note::LOOKS_LIKE_ECR);
                    }
                    let reason = if kind == ImageKind::Other { Reason::NotEcr } else { Reason::InvalidImage };
                    (Verdict::OutOfScope, reason, Found::Image)
                }
                // A pull secret is kept for a registry, not for a pattern, and may do what no provider does.
                (ImageKind::Private(image), _) if (image.port || image.upper_case_host) && !has_secret => {
                    (Verdict::Unknown, Reason::FactsMissing, Found::Host(UnmatchedHost::of(&used.image)))
                }
                (ImageKind::Private(image), Err(_)) if is_missing(&image, declared) => {
                    (Verdict::Deny, Reason::RepositoryNotFound, Found::NoRepository(Box::new(image)))
                }
                (ImageKind::Invalid { ecr: true, error }, Err(not_known)) if not_known.fails => {
                    (Verdict::Deny, Reason::InvalidImage, Found::Invalid(error))
                }
                // RES-12.
                (ImageKind::Private(_), Err(not_known)) if not_known.fails && has_secret => {
                    (Verdict::Unknown, Reason::PullSecret, Found::NoPuller)
                }
                (ImageKind::Invalid { ecr: true, .. } | ImageKind::Private(_), Err(not_known)) => {
                    let verdict = if not_known.fails { Verdict::Deny } else { Verdict::Unknown };
                    (verdict, not_known.reason, Found::NoPuller)
                }
                (ImageKind::Invalid { ecr: true, error }, Ok(_)) => {
                    (Verdict::Deny, Reason::InvalidImage, Found::Invalid(error))
                }
                (ImageKind::Private(image), Ok(_)) => {
                    if image.port {
                        note(note::PORT_IN_HOST);
                    }
                    if image.upper_case_host {
                        note(note::UPPER_CASE_HOST);
                    }
                    let index = *known.entry(image.arn().to_string()).or_insert_with(|| {
                        repositories.push(RepositoryJudgement::new(image, &evaluators, &needs, has_secret));
                        repositories.len() - 1
                    });
                    let Some(found) = repositories.get(index) else { continue };
                    found.pulls.iter().flat_map(|pull| &pull.notes).for_each(|told| note(told));
                    if spec.is_some_and(|spec| self.is_annotation_ignored(spec)) {
                        note(note::ANNOTATION_IGNORED);
                    }
                    (found.verdict, found.reason, Found::Repository(index))
                }
            };
            let cover = spec.and_then(|spec| self.cover(spec, &used.image));
            images.push(ImageJudgement { verdict, reason, found, cover });
        }
        drop(evaluators);
        let verdict = Verdict::all(images.iter().map(|image| image.verdict));
        if verdict == Verdict::Deny && self.account.is_none() {
            note(SERVICE_ACCOUNT_NOT_SEEN);
        }
        let admission_decision =
            AdmissionDecision::of(images.iter().map(|image| (image.verdict, image.cover.is_some())), actions);
        let mut judgement = Judgement {
            policy: policy.map(|policy| Arc::clone(&policy.object)),
            spec: spec.cloned(),
            verdict,
            admission: Admission::Admitted,
            notes,
            images,
            at: self.at,
            account: self.account.cloned(),
            pullers,
            needs,
            repositories,
            has_secret,
            actions,
            admission_decision,
        };
        judgement.admission = judgement.admits(self.subject.template);
        judgement
    }

    /// Whether the service account names a role that this policy says does not pull: where kubelets use tokens, it does.
    fn is_annotation_ignored(&self, spec: &CompiledSpec) -> bool {
        let role = self.account.and_then(|account| account.annotations.get(DEFAULT_ROLE_ANNOTATION));
        !matches!(spec.puller, CompiledPuller::ServiceAccount { .. }) && role.is_some_and(|role| !role.is_empty())
    }

    /// The exemption of an image. It is for what the policy says, never for what the object carries.
    fn cover(&self, spec: &CompiledSpec, image: &str) -> Option<ExemptionUse> {
        let Subject { namespace, service_account, .. } = self.subject;
        let mut active = spec.exemptions.iter().filter(|exemption| exemption.is_active(self.at));
        active.find(|exemption| exemption.covers(namespace, service_account, image)).map(ExemptionUse::from)
    }
}

impl Judgement {
    /// What admission does. The pod template of a workload is never refused.
    fn admits(&self, template: bool) -> Admission {
        match self.admission_decision.action {
            None | Some(Action::Audit) => Admission::Admitted,
            Some(Action::Reject) if !template => Admission::Rejected,
            // A service account often comes after the workload that names it.
            Some(_) if template && !self.images.iter().any(|image| speaks_up(image.verdict, self.missing(image))) => {
                Admission::Admitted
            }
            Some(_) => Admission::Warned,
        }
    }
}

/// Whether an image of a template is worth a warning: not when only its service account is still to come.
pub(crate) fn speaks_up(verdict: Verdict, missing: &[MissingFact]) -> bool {
    match verdict {
        Verdict::Deny => true,
        Verdict::Unknown => !missing.iter().any(|fact| matches!(fact, MissingFact::ServiceAccount { .. })),
        _ => false,
    }
}

impl RepositoryJudgement {
    /// Asks every candidate and folds their verdicts: they must agree.
    fn new(image: EcrImage, evaluators: &[PullEvaluator<'_>], needs: &[Need], has_secret: bool) -> Self {
        let pulls: Vec<PullJudgement> = evaluators.iter().map(|evaluator| evaluator.judge(&image, needs)).collect();
        let agree = |verdict| pulls.iter().all(|pull| pull.verdict == verdict);
        let differ = ![Verdict::Allow, Verdict::Deny, Verdict::Unknown].into_iter().any(agree);
        let not_found = pulls.iter().any(|pull| pull.existence == Existence::NotFound);
        let (mut verdict, mut reason) = match (agree(Verdict::Allow), agree(Verdict::Deny)) {
            (true, _) => (Verdict::Allow, Reason::Allowed),
            (_, true) if not_found => (Verdict::Deny, Reason::RepositoryNotFound),
            (_, true) => (Verdict::Deny, Reason::ActionDenied),
            _ if differ => (Verdict::Unknown, Reason::DependsOnNode),
            _ => (Verdict::Unknown, Reason::FactsMissing),
        };
        let mut missing = Vec::new();
        if differ {
            missing.push(MissingFact::Node);
        }
        if verdict == Verdict::Unknown {
            for fact in pulls.iter().flat_map(|pull| &pull.missing) {
                if !missing.contains(fact) {
                    missing.push(fact.clone());
                }
            }
        }
        // RES-12: a secret is tried before any credential of the puller; but it makes no repository, and it pushes nothing.
        if verdict == Verdict::Deny && !not_found && has_secret && pulls.iter().any(PullJudgement::is_by_pull) {
            (verdict, reason) = (Verdict::Unknown, Reason::PullSecret);
            missing = vec![MissingFact::ImagePullSecret];
        }
        Self { image, verdict, reason, missing, pulls }
    }
}
