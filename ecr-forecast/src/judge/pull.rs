//! May this puller pull this image? The requests of a pull, decided one by one, and folded into a verdict.

use iam_verdict::NearMiss;

use crate::ecr::image::EcrImage;
use crate::ecr::needs::Need;
use crate::facts::missing::MissingFact;
use crate::judge::pull_evaluator::PullEvaluator;
use crate::judge::pull_judgement::{Existence, PullJudgement, RequestDecision, Verdict};
use crate::judge::repository_evaluation::RepositoryEvaluation;
use crate::judge::request_evaluation::Missing;

impl<'a> PullEvaluator<'a> {
    /// Judges what the puller can do with the repository of `image`.
    #[must_use]
    pub fn judge(&self, image: &EcrImage, needs: &[Need]) -> PullJudgement {
        let mut notes = self.notes();
        let mut evaluation = RepositoryEvaluation::new(self, image, &mut notes);
        let requests = evaluation.requests(needs);
        let (mut missing, mut import_missing) = (Missing::wanted(), Missing::wanted());
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let facts = if evaluation.is_conditional(&request) { &mut import_missing } else { &mut missing };
            let outcome = evaluation.outcome(&request, facts);
            answers.push(RequestDecision { request, outcome });
        }
        let (verdict, existence) =
            evaluation.fold(answers.iter().map(|answer| (&answer.request, answer.outcome.decision)));
        if existence == Existence::OnlyIfCached {
            missing.add(MissingFact::Presence(image.arn().to_string()));
            missing.extend(import_missing.facts);
        }
        let reads_clock = evaluation.reads_clock();
        if verdict == Verdict::Allow {
            notes.extend(evaluation.advice(&answers));
        }
        // A Deny does not depend on what is missing.
        let missing = if verdict == Verdict::Unknown { missing.facts } else { Vec::new() };
        PullJudgement { verdict, answers, missing, notes, existence, reads_clock }
    }

    /// Tells of what the repository of `image` is denied by, statement by statement.
    #[must_use]
    pub fn misses(&'a self, image: &'a EcrImage) -> Misses<'a> {
        Misses(RepositoryEvaluation::new(self, image, &mut Vec::new()))
    }
}

/// The statements that came closest to allowing what one puller is denied of one repository.
#[derive(Debug)]
pub(crate) struct Misses<'a>(RepositoryEvaluation<'a>);

impl Misses<'_> {
    /// The statement that came closest to allowing this; none where a statement denies it, and where none has anything
    /// to do with it.
    #[must_use]
    pub fn nearest(&mut self, answer: &RequestDecision) -> Option<NearMiss> {
        self.0.nearest_miss(answer)
    }
}

#[cfg(test)]
mod tests;
