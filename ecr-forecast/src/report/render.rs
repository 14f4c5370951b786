//! The third stage: words. From a judgement and its diagnosis to what people and programs are told.

use crate::cluster::{ImageUse, Subject};
use crate::diagnose::{Diagnosis, Fix, RepositoryDiagnosis};
use crate::ecr::image::{ReferenceError, looks_like_ecr};
use crate::facts::Reason;
use crate::judge::{Found, ImageJudgement, Judgement, PullJudgement, RepositoryJudgement, RequestDecision, Verdict};
use crate::policy::compiled::PolicyKey;
use crate::puller::Puller;
use crate::report::compose;
use crate::report::explain::{self, WorstCandidate};
use crate::report::texts::Texts;
use crate::report::types::{Candidate, DecisionReport, ImageReport, Report};

/// Tells of `subject` what was judged and diagnosed; when it changes by itself is told by whoever wants to know.
#[must_use]
pub fn render(subject: &Subject, judgement: &Judgement, diagnosis: &Diagnosis) -> Report {
    let pullers = judgement.pullers.as_deref().unwrap_or_default();
    let candidates = |found: &RepositoryJudgement| -> Vec<Candidate> {
        pullers.iter().zip(&found.pulls).map(|(puller, pull)| candidate(puller, pull)).collect()
    };
    let case = Case {
        subject,
        judgement,
        diagnosis,
        key: judgement.policy.as_ref().map(|policy| &policy.key),
        candidates: judgement.repositories.iter().map(candidates).collect(),
    };
    let images = subject.images.iter().zip(&judgement.images);
    Report {
        kind: subject.kind.clone(),
        namespace: subject.namespace.clone(),
        name: subject.name.clone(),
        policy: case.key.cloned(),
        verdict: judgement.verdict,
        admission: judgement.admission,
        notes: judgement.notes.clone(),
        images: images.map(|(used, image)| case.image(used, image)).collect(),
        next_transition: None,
        actions: judgement.actions,
        template: subject.template,
    }
}

/// What one report is made of.
struct Case<'a> {
    subject: &'a Subject,
    judgement: &'a Judgement,
    diagnosis: &'a Diagnosis,
    key: Option<&'a PolicyKey>,
    /// The candidates of each repository.
    candidates: Vec<Vec<Candidate>>,
}

impl Case<'_> {
    fn image(&self, used: &ImageUse, image: &ImageJudgement) -> ImageReport {
        let Self { judgement, diagnosis, .. } = self;
        let fix = diagnosis.fix(judgement, image);
        let mut texts = self.texts(used, image, &fix);
        let place = explain::place_text(self.subject, used);
        texts.place = if texts.line.starts_with(&place) { place.len() } else { 0 };
        let parts = compose::parts(&texts, &[], &self.subject.namespace);
        let candidates = match image.found {
            Found::Repository(index) => self.candidates.get(index),
            _ => None,
        };
        ImageReport {
            field: used.field.clone(),
            container: used.container.clone(),
            image: used.image.clone(),
            verdict: image.verdict,
            reason: image.reason,
            missing: judgement.missing(image).to_vec(),
            message: parts.after(&texts.line),
            candidates: candidates.cloned().unwrap_or_default(),
            cause: diagnosis.cause(judgement, image),
            fix,
            exemption: image.exemption().cloned(),
            texts,
            parts,
        }
    }

    fn texts(&self, used: &ImageUse, image: &ImageJudgement, fix: &[Fix]) -> Texts {
        let subject = self.subject;
        match (&image.found, &self.judgement.pullers) {
            (Found::Image, _) => settled(image.reason, &used.image),
            (Found::Host(host), _) => explain::host_not_matched(subject, used, &host.host, fix),
            (Found::Invalid(error), _) => explain::invalid(subject, used, &why_invalid(*error)),
            (Found::NoRepository(image), _) => explain::not_found(subject, used, &image.arn().to_string(), fix, None),
            (Found::NoPuller, Err(not_known)) => {
                let cause = self.diagnosis.cause(self.judgement, image).unwrap_or(not_known.cause);
                explain::no_puller(subject, used, (image.verdict, &not_known.why), cause, fix)
            }
            (Found::Repository(index), Ok(pullers)) => {
                let found = self.judgement.repositories.get(*index);
                let diagnosis = self.diagnosis.repositories.get(*index);
                match (found, diagnosis) {
                    (Some(found), Some(diagnosis)) => self.of_repository(used, (*index, found), diagnosis, pullers),
                    _ => Texts::default(),
                }
            }
            _ => Texts::default(),
        }
    }

    fn of_repository(
        &self,
        used: &ImageUse,
        (index, found): (usize, &RepositoryJudgement),
        diagnosis: &RepositoryDiagnosis,
        pullers: &[Puller],
    ) -> Texts {
        let spoken = found.worst_candidate().and_then(|at| Some((pullers.get(at)?, found.pulls.get(at)?)));
        let Some((puller, pull)) = spoken else { return Texts::default() };
        let worst = WorstCandidate {
            pull,
            puller,
            cause: diagnosis.cause,
            miss: diagnosis.miss.as_ref(),
            hint: diagnosis.hint.as_deref(),
            remark: diagnosis.remark.as_deref(),
            several: pullers.len() > 1,
        };
        let (subject, fix, key) = (self.subject, diagnosis.fix.as_slice(), self.key);
        match (found.verdict, found.reason) {
            (Verdict::Deny, Reason::RepositoryNotFound) => {
                explain::not_found(subject, used, &found.image.arn().to_string(), fix, key)
            }
            (Verdict::Deny, _) => explain::denied(subject, used, &worst, fix, key),
            (Verdict::Unknown, Reason::DependsOnNode) => {
                let candidates = self.candidates.get(index).map(Vec::as_slice).unwrap_or_default();
                explain::depends_on_node(subject, used, candidates, fix, key)
            }
            (Verdict::Unknown, Reason::PullSecret) => explain::pull_secret(subject, used, &worst, fix, key),
            (Verdict::Unknown, _) => {
                explain::open(subject, used, &worst, (&found.missing, self.judgement.spec()), (fix, key))
            }
            _ => explain::allowed(used, &worst),
        }
    }
}

/// Of an image that nobody has to pull from a private registry of ECR.
fn settled(reason: Reason, image: &str) -> Texts {
    let line = match reason {
        Reason::InvalidImage if looks_like_ecr(image) => {
            "not an image reference, the kubelet answers InvalidImageName; its host is almost one of Amazon ECR: not judged"
        }
        Reason::NotEcr if looks_like_ecr(image) => {
            "no registry has this name, which is almost one of Amazon ECR: not judged"
        }
        Reason::NoPull => "imagePullPolicy is Never: nothing is pulled",
        Reason::PublicRegistry => "ECR Public: anonymous pulls work",
        Reason::InvalidImage => "not an image reference, and not of Amazon ECR: not judged",
        _ => "not an image of Amazon ECR: not judged",
    };
    Texts { line: line.to_owned(), ..Texts::default() }
}

fn why_invalid(error: ReferenceError) -> String {
    match error {
        // The kubelet would ask for it; the registry cannot have it.
        ReferenceError::PathTooShort => error.to_string(),
        _ => format!("not an image reference, the kubelet answers InvalidImageName: {error}"),
    }
}

fn candidate(puller: &Puller, pull: &PullJudgement) -> Candidate {
    let decision = |answer: &RequestDecision| DecisionReport {
        action: answer.request.action,
        resource: answer.request.resource.clone(),
        decision: answer.outcome.decision,
        layer: answer.outcome.layer.map(iam_verdict::Layer::as_str),
        policy: answer.outcome.policy.as_deref().map(str::to_owned),
        statement: answer.outcome.statement.as_deref().map(str::to_owned),
        need: answer.request.need,
    };
    Candidate {
        principal: puller.principal.to_string(),
        found_by: puller.found_by.clone(),
        verdict: pull.verdict,
        decisions: pull.answers.iter().map(decision).collect(),
    }
}
