//! The second stage: why a judgement is no Allow, and what would make it one. It costs a multiple of the first, so it is
//! asked for only where somebody reads the answer.

use iam_verdict::NearMiss;

use crate::annotation::{self, IRSA_ANNOTATION};
use crate::diagnose::fix::{Fix, FixKind, create_repository};
use crate::diagnose::fix_search::fixes;
use crate::diagnose::{cause, edit, near_miss};
use crate::facts::declared::{Declared, ResourcePolicy};
use crate::facts::missing::MissingFact;
use crate::facts::{CauseCode, Reason, Unread};
use crate::judge::{Found, ImageJudgement, Judgement, PullEvaluator, PullJudgement, RepositoryJudgement, Verdict};
use crate::policy::compiled::CompiledPuller;
use crate::puller::{self, AnnotationWanted, Puller};

/// Fixes are tried for at most so many repositories of one subject, which bounds the time that they take.
pub(crate) const MAX_FIXED: usize = 64;

/// At most so many declared roles are tried in the place of the one that cannot pull.
const MAX_OTHERS: usize = 16;

/// Why the images of a judgement have their verdicts, and what would help.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// Of the judgement's repositories, in their order.
    pub(crate) repositories: Vec<RepositoryDiagnosis>,
}

/// Why the verdict on a repository is no Allow, and what would make it one.
#[derive(Clone, Debug, Default)]
pub(crate) struct RepositoryDiagnosis {
    pub(crate) cause: Option<CauseCode>,
    /// The statement that came closest to allowing the first request that is denied.
    pub(crate) miss: Option<NearMiss>,
    /// What is almost right in that statement.
    pub(crate) hint: Option<String>,
    /// What else there is to say.
    pub(crate) remark: Option<String>,
    pub(crate) fix: Vec<Fix>,
}

/// Diagnoses a judgement. All that it depends on is in the judgement.
#[must_use]
pub fn diagnose(judgement: &Judgement) -> Diagnosis {
    let of = |(index, found): (usize, &RepositoryJudgement)| {
        let Some(case) = Case::new(judgement, found) else { return RepositoryDiagnosis::default() };
        let mut diagnosis = case.cause();
        case.help(&mut diagnosis, index < MAX_FIXED);
        diagnosis
    };
    Diagnosis { repositories: judgement.repositories.iter().enumerate().map(of).collect() }
}

/// The causes alone, of the images that are denied; none for the others.
#[must_use]
pub fn causes(judgement: &Judgement) -> Vec<Option<CauseCode>> {
    let mut known: Vec<Option<Option<CauseCode>>> = vec![None; judgement.repositories.len()];
    let mut of = |image: &ImageJudgement| {
        let Found::Repository(index) = image.found else { return Diagnosis::default().cause(judgement, image) };
        let found = judgement.repositories.get(index)?;
        let known = known.get_mut(index)?;
        *known.get_or_insert_with(|| Case::new(judgement, found)?.cause().cause)
    };
    let denied = |image: &ImageJudgement| (image.verdict == Verdict::Deny).then(|| of(image)).flatten();
    judgement.images.iter().map(denied).collect()
}

impl Diagnosis {
    /// Why an image has its verdict, as a code.
    pub(crate) fn cause(&self, judgement: &Judgement, image: &ImageJudgement) -> Option<CauseCode> {
        match &image.found {
            Found::Image => None,
            Found::Invalid(_) => Some(CauseCode::InvalidImage),
            Found::NoRepository(_) => Some(CauseCode::RepositoryNotFound),
            Found::NoPuller if image.reason == Reason::PullSecret => Some(CauseCode::PullSecret),
            Found::NoPuller => judgement.pullers.as_ref().err().map(|not_known| not_known.cause),
            Found::Host(_) => Some(CauseCode::HostNotMatchedByProvider),
            Found::Repository(index) => self.repositories.get(*index)?.cause,
        }
    }

    /// What would help.
    pub(crate) fn fix(&self, judgement: &Judgement, image: &ImageJudgement) -> Vec<Fix> {
        match &image.found {
            Found::Image => Vec::new(),
            Found::Invalid(error) => vec![Fix::other(FixKind::None, format!("correct the image reference: {error}"))],
            Found::NoRepository(image) => vec![create_repository(image)],
            Found::Host(host) => {
                let plain = host.host.split(':').next().unwrap_or_default().to_ascii_lowercase();
                vec![Fix::other(FixKind::None, format!("write the host as {plain}"))]
            }
            Found::NoPuller => {
                let wanted = judgement.pullers.as_ref().err().and_then(|not_known| not_known.annotation.as_deref());
                wanted.map(annotate).into_iter().collect()
            }
            Found::Repository(index) => {
                self.repositories.get(*index).map(|found| found.fix.clone()).unwrap_or_default()
            }
        }
    }
}

/// The step that names the role that pulls, where it is known.
fn annotate(wanted: &AnnotationWanted) -> Fix {
    let AnnotationWanted { namespace, name, key, role, why } = wanted;
    let annotation = role.as_ref().map(|role| edit::Statement::annotation(key, role.as_str()));
    Fix::set_annotation(format!("ServiceAccount/{namespace}/{name}"), annotation, why.clone())
}

/// One repository, with the candidate that speaks for all.
#[derive(Clone, Copy)]
struct Case<'a> {
    judgement: &'a Judgement,
    found: &'a RepositoryJudgement,
    declared: &'a Declared,
    puller: &'a Puller,
    pull: &'a PullJudgement,
}

impl<'a> Case<'a> {
    /// None of a repository that can be pulled from. Where policy or puller are not known there are no repositories.
    fn new(judgement: &'a Judgement, found: &'a RepositoryJudgement) -> Option<Self> {
        let spoken = found.worst_candidate().filter(|_| found.verdict != Verdict::Allow)?;
        Some(Self {
            judgement,
            found,
            declared: &judgement.spec()?.declared,
            puller: judgement.pullers.as_ref().ok()?.get(spoken)?,
            pull: found.pulls.get(spoken)?,
        })
    }

    /// Looks for why the candidate that speaks for all cannot pull.
    fn cause(self) -> RepositoryDiagnosis {
        let mut diagnosis = RepositoryDiagnosis::default();
        let evaluator = PullEvaluator::new(self.puller, self.declared, self.judgement.at);
        let mut misses = evaluator.misses(&self.found.image);
        diagnosis.cause = cause::cause(self.pull, &mut misses, self.puller, self.found.image.partition);
        let unread = self.pull.missing.first().and_then(|fact| self.unread(fact));
        if let (Verdict::Unknown, Some(Unread { wrong: Some((cause, _)), .. })) = (self.pull.verdict, unread) {
            // A document in a ConfigMap that is there and is no policy that is read.
            diagnosis.cause = Some(*cause);
        }
        diagnosis.miss = near_miss::first_denied(self.pull).and_then(|answer| misses.nearest(answer));
        if self.pull.verdict == Verdict::Deny {
            self.somebody_else(&mut diagnosis);
        }
        match self.found.reason {
            Reason::DependsOnNode => diagnosis.cause = Some(CauseCode::CandidatesDiffer),
            Reason::PullSecret => diagnosis.cause = Some(CauseCode::PullSecret),
            _ => {}
        }
        diagnosis
    }

    /// Looks for what would let all candidates pull; `search`: by trying changes of policies too.
    fn help(self, diagnosis: &mut RepositoryDiagnosis, search: bool) {
        let policy = self.declared.repository(&self.found.image).and_then(|entry| entry.policy.as_ref());
        let policy = match policy {
            Some(ResourcePolicy::Policy(sourced)) => Some(&**sourced),
            _ => None,
        };
        diagnosis.hint = near_miss::first_denied(self.pull)
            .and_then(|answer| near_miss::hint(&answer.request, diagnosis.miss.as_ref(), self.puller, policy));
        if self.pull.verdict == Verdict::Unknown {
            // What stands somewhere and could not be read: what to do is known, whatever the rest comes to.
            let unread: Vec<&Unread> = self.pull.missing.iter().filter_map(|fact| self.unread(fact)).collect();
            diagnosis.fix =
                unread.into_iter().map(|unread| Fix::other(FixKind::None, unread.way_out.clone())).collect();
        }
        if search && diagnosis.fix.is_empty() {
            let pullers = self.judgement.pullers.as_deref().unwrap_or_default();
            let all: Vec<(&Puller, &PullJudgement)> = pullers.iter().zip(&self.found.pulls).collect();
            let Judgement { needs, at, .. } = self.judgement;
            diagnosis.fix = fixes(&self.found.image, &all, self.declared, needs, *at);
            let boundary = self.puller.identity.as_ref().and_then(|identity| identity.boundary());
            if let (Verdict::Deny, true, Some(boundary)) = (self.pull.verdict, diagnosis.fix.is_empty(), boundary) {
                // Of a policy of AWS's that says nothing of ECR no more is known, and a document in its place would lose it.
                let why = format!(
                    "{} as the permissions boundary says nothing of ECR: give the role another one",
                    boundary.policy.name
                );
                diagnosis.fix = vec![Fix::other(FixKind::None, why)];
            }
        } else if !search && self.pull.verdict == Verdict::Deny && self.found.reason != Reason::DependsOnNode {
            let why = format!("not looked for: {MAX_FIXED} other repositories of this object have theirs");
            diagnosis.fix = vec![Fix::other(FixKind::None, why)];
        }
    }

    /// Why a document is missing that stands in a ConfigMap, or a role that some source has; none of any other fact.
    fn unread(self, fact: &MissingFact) -> Option<&'a Unread> {
        match fact {
            MissingFact::Role(_) => self.puller.fact.as_ref()?.unread(),
            _ => self.judgement.spec()?.unread(fact)?.unread.as_deref(),
        }
    }

    /// Whether the rights are there, with a role that does not pull.
    fn somebody_else(self, diagnosis: &mut RepositoryDiagnosis) {
        let Judgement { at, needs, .. } = self.judgement;
        let (Some(account), Some(spec)) = (&self.judgement.account, self.judgement.spec()) else { return };
        let nothing_granted = diagnosis.cause == Some(CauseCode::NoPolicyGrantsPull);
        let CompiledPuller::ServiceAccount { annotation, .. } = &spec.puller else {
            let irsa = account.annotations.get(IRSA_ANNOTATION);
            if let Some(irsa) = irsa.filter(|irsa| nothing_granted && **irsa != self.puller.principal.to_string()) {
                diagnosis.cause = Some(CauseCode::IrsaRoleDoesNotPull);
                diagnosis.remark = Some(format!(
                    "{irsa} ({IRSA_ANNOTATION} of service account {}/{}) is for what the pod does itself and pulls \
                     nothing",
                    account.namespace, account.name
                ));
            }
            return;
        };
        let misspelt = annotation::misspelt_annotation(annotation, account);
        let can = |other: &Puller| {
            other.principal != self.puller.principal
                && PullEvaluator::new(other, self.declared, *at).judge(&self.found.image, needs).verdict
                    == Verdict::Allow
        };
        let other = if misspelt.is_some() || nothing_granted {
            puller::others(spec, account).into_iter().take(MAX_OTHERS).find(can)
        } else {
            None
        };
        let typed = misspelt.as_ref().filter(|misspelt| {
            let named = other.as_ref().is_some_and(|other| {
                misspelt.role.as_ref().map(ToString::to_string) == Some(other.principal.to_string())
            });
            named || nothing_granted || misspelt.cause() == CauseCode::AnnotationAlmostRight
        });
        if let Some(misspelt) = typed {
            diagnosis.cause = Some(misspelt.cause());
            diagnosis.remark =
                Some(format!("service account {}/{}: {}", account.namespace, account.name, misspelt.why(annotation)));
        } else if let Some(other) = other.as_ref().filter(|_| nothing_granted) {
            diagnosis.cause = Some(CauseCode::RightsOnAnotherRole);
            diagnosis.remark = Some(format!("{}, which is declared too, could pull it", other.principal));
        }
        // Where nobody chose the puller, choosing the one that can is the smallest change.
        let unchosen = !account.annotations.contains_key(annotation);
        if let (true, Some(other)) = (unchosen, &other) {
            let role = other.principal.to_string();
            diagnosis.fix = vec![Fix::set_annotation(
                format!("ServiceAccount/{}/{}", account.namespace, account.name),
                Some(edit::Statement::annotation(annotation, &role)),
                format!("{role} may pull, and annotation {annotation} lets it"),
            )];
        }
    }
}
