//! One puller before one repository as time goes on.

use iam_verdict::Decision;
use jiff::Timestamp;

use crate::ecr::image::EcrImage;
use crate::ecr::needs::RequiredRequest;
use crate::judge::pull_evaluator::PullEvaluator;
use crate::judge::pull_judgement::{Existence, PullJudgement, RequestDecision, Verdict, is_by_pull, is_denied};
use crate::judge::repository_evaluation::RepositoryEvaluation;
use crate::judge::request_evaluation::Time;

/// What may be spent on looking ahead, in units of about a microsecond.
#[derive(Debug)]
pub(crate) struct Budget(pub usize);

impl Budget {
    /// Spends so much; none where that is not there any more.
    #[must_use]
    pub fn spend(&mut self, work: usize) -> Option<()> {
        self.0 = self.0.checked_sub(work)?;
        Some(())
    }
}

/// What is so until some moment, and perhaps beyond it; none says that it stays for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lasting<T> {
    /// What is so.
    pub what: T,
    /// The first moment at which it may be otherwise.
    pub until: Option<Timestamp>,
}

/// The earlier of two moments, where none is never.
#[must_use]
pub(crate) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// What the decisions of one puller about one repository come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PullState {
    /// The verdict.
    pub verdict: Verdict,
    /// What the repository's presence did to it.
    pub existence: Existence,
    /// What is denied is denied to the pull alone, which an image pull secret may make up for.
    pub by_pull: bool,
}

/// The decisions of one puller about one repository, looked at from one moment to a later one.
#[derive(Debug)]
pub(crate) struct Timeline<'a> {
    evaluation: RepositoryEvaluation<'a>,
    /// The requests, those that change at the fewest moments first; where one alone decides, that one.
    leaves: Vec<Leaf>,
    /// Somebody wants to know whether the pull alone is denied.
    wants_by_pull: bool,
}

/// One request and its decision at the moment that was looked at last.
#[derive(Debug)]
struct Leaf {
    request: RequiredRequest,
    decision: Decision,
    /// The seconds at which the decision may change.
    instants: Vec<i64>,
    /// So many of them have passed.
    passed: usize,
}

impl<'a> Timeline<'a> {
    /// Begins with what was judged by `evaluator`; none where the budget does not reach. With `has_secret` the object has an
    /// image pull secret.
    #[must_use]
    pub fn new(
        evaluator: &'a PullEvaluator<'a>,
        image: &'a EcrImage,
        judgement: &PullJudgement,
        has_secret: bool,
        budget: &mut Budget,
    ) -> Option<Self> {
        let mut evaluation = RepositoryEvaluation::new(evaluator, image, &mut Vec::new());
        let wants_by_pull = has_secret && judgement.answers.iter().any(|answer| !answer.request.need.is_pull());
        let mut answers: Vec<&RequestDecision> = judgement.answers.iter().collect();
        answers.sort_by_key(|answer| !answer.is_denied());
        let mut leaves = Vec::with_capacity(answers.len());
        for answer in answers {
            let leaf = Leaf::new(&mut evaluation, answer, budget)?;
            // Denied for ever, it leaves the others nothing to decide.
            let decides = answer.is_denied() && leaf.instants.is_empty() && !evaluation.is_conditional(&leaf.request);
            if decides && !wants_by_pull {
                return Some(Self { evaluation, leaves: vec![leaf], wants_by_pull });
            }
            leaves.push(leaf);
        }
        leaves.sort_by_key(|leaf| leaf.instants.len());
        Some(Self { evaluation, leaves, wants_by_pull })
    }

    /// What the decisions come to at `at`, which is not before the moment of the look before; none where the budget does
    /// not reach. No more of them is looked at than it takes to be sure.
    #[must_use]
    pub fn look(&mut self, at: Timestamp, budget: &mut Budget) -> Option<Lasting<PullState>> {
        if self.evaluation.is_missing() {
            let what = PullState { verdict: Verdict::Deny, existence: Existence::NotFound, by_pull: false };
            return Some(Lasting { what, until: None });
        }
        let mut until = None;
        for leaf in &mut self.leaves {
            let lasting = leaf.look(&mut self.evaluation, at, budget)?;
            // One request denied denies, whatever becomes of the others.
            if !self.wants_by_pull && is_denied(lasting.what) && !self.evaluation.is_conditional(&leaf.request) {
                let what = PullState {
                    verdict: Verdict::Deny,
                    existence: Existence::Settled,
                    by_pull: leaf.request.need.is_pull(),
                };
                return Some(Lasting { what, until: lasting.until });
            }
            until = earlier(until, lasting.until);
        }
        let decisions = self.leaves.iter().map(|leaf| (&leaf.request, leaf.decision));
        let (verdict, existence) = self.evaluation.fold(decisions.clone());
        let what = PullState { verdict, existence, by_pull: is_by_pull(decisions) };
        Some(Lasting { what, until })
    }
}

impl Leaf {
    fn new(evaluation: &mut RepositoryEvaluation<'_>, answer: &RequestDecision, budget: &mut Budget) -> Option<Self> {
        let RequestDecision { request, outcome } = answer;
        // One look with the time not known often tells that no moment matters; to gather them takes longer.
        let settled = outcome.decision != Decision::Unknown && evaluation.is_settled(request);
        let instants = if settled { Vec::new() } else { evaluation.instants(request) };
        budget.spend(1 + instants.len() / 16)?;
        Some(Self { request: request.clone(), decision: outcome.decision, instants, passed: 0 })
    }

    fn look(
        &mut self,
        evaluation: &mut RepositoryEvaluation<'_>,
        at: Timestamp,
        budget: &mut Budget,
    ) -> Option<Lasting<Decision>> {
        let passed = self.instants.partition_point(|instant| *instant <= at.as_second());
        if passed != self.passed {
            budget.spend(1 + self.instants.len() / 8)?;
            self.decision = evaluation.decision(&self.request, Time::At(at));
            self.passed = passed;
        }
        let until = self.instants.get(passed).and_then(|instant| Timestamp::from_second(*instant).ok());
        Some(Lasting { what: self.decision, until })
    }
}
