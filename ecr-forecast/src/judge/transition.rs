//! When a judgement changes by itself. It belongs to the first stage: decisions alone are looked at, at the moments alone
//! that the documents in play name, and no longer than a budget lasts.

use jiff::Timestamp;

use crate::facts::declared::Declared;
use crate::judge::admission::{Actions, AdmissionDecision};
use crate::judge::judgement::{Found, Judgement, RepositoryJudgement};
use crate::judge::pull_evaluator::PullEvaluator;
use crate::judge::pull_judgement::{Existence, Verdict};
use crate::judge::timeline::{Budget, Lasting, Timeline, earlier};
use crate::policy::Action;

/// What may be spent on looking ahead of one judgement. A verdict that holds through twenty windows of time, each of which
/// changes decisions, takes half of it.
const BUDGET: usize = 2048;

/// When verdict or action of a judgement is another one by the mere passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextChange {
    /// Never.
    Never,
    /// At this moment, and not before.
    At(Timestamp),
    /// Not before this moment; what comes then was not looked at, since there are too many dates.
    NotBefore(Timestamp),
}

impl NextChange {
    /// The moment of the change, where it is known.
    #[must_use]
    pub const fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::NotBefore(_) => None,
        }
    }
}

impl Judgement {
    /// The first moment at which verdict or action is another one than now (RES-16). The decision of a request may change, and an
    /// exemption end, without that.
    #[must_use]
    pub fn next_change(&self) -> NextChange {
        let nothing = Declared::default();
        let declared = self.spec().map_or(&nothing, |spec| &spec.declared);
        let candidates = self.pullers.as_deref().unwrap_or_default();
        let dated = |found: &&RepositoryJudgement| found.pulls.iter().any(|pull| pull.reads_clock);
        if !self.images.iter().any(|image| image.cover.is_some()) && !self.repositories.iter().any(|one| dated(&one)) {
            return NextChange::Never;
        }
        let evaluators: Vec<PullEvaluator<'_>> =
            candidates.iter().map(|puller| PullEvaluator::new(puller, declared, self.at)).collect();
        let mut ahead = Ahead::new(self, &evaluators);
        let now = State { verdict: self.verdict, action: self.admission_decision.action };
        let mut at = self.at;
        loop {
            // Where the budget ends, nothing changed so far.
            let Some(state) = ahead.look(at) else { return NextChange::NotBefore(at) };
            if state.what != now {
                return NextChange::At(at);
            }
            let Some(next) = state.until else { return NextChange::Never };
            at = next;
        }
    }
}

/// What a change is a change of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    verdict: Verdict,
    action: Option<Action>,
}

/// The images of a judgement as time goes on.
struct Ahead<'a> {
    actions: Actions,
    has_secret: bool,
    budget: Budget,
    /// What all images come to that no time changes.
    fixed: State,
    /// The others.
    parts: Vec<Part<'a>>,
}

/// Images that have one verdict at all times, and may change together.
struct Part<'a> {
    verdict: VerdictInTime<'a>,
    /// Until when each of the images is exempted, where it is.
    covers: Vec<Option<Timestamp>>,
}

enum VerdictInTime<'a> {
    /// The same at all times.
    Fixed(Verdict),
    /// That of a repository; with the first look it has a timeline for each puller.
    Of { found: &'a RepositoryJudgement, evaluators: &'a [PullEvaluator<'a>], timelines: Vec<Timeline<'a>> },
}

impl<'a> Ahead<'a> {
    fn new(judgement: &'a Judgement, evaluators: &'a [PullEvaluator<'a>]) -> Self {
        let actions = judgement.actions;
        let mut parts: Vec<Part<'a>> = judgement
            .repositories
            .iter()
            .map(|found| {
                let dated = found.pulls.iter().any(|pull| pull.reads_clock);
                let verdict = if dated {
                    VerdictInTime::Of { found, evaluators, timelines: Vec::new() }
                } else {
                    VerdictInTime::Fixed(found.verdict)
                };
                Part { verdict, covers: Vec::new() }
            })
            .collect();
        for image in &judgement.images {
            let cover = image.cover.as_ref().map(|cover| cover.expires_at);
            match image.found {
                Found::Repository(index) if parts.get(index).is_some() => {
                    parts.get_mut(index).into_iter().for_each(|part| part.covers.push(cover));
                }
                _ => parts.push(Part { verdict: VerdictInTime::Fixed(image.verdict), covers: vec![cover] }),
            }
        }
        let mut fixed = State { verdict: Verdict::Allow, action: None };
        parts.retain(|part| {
            let exempted = part.covers.iter().any(Option::is_some);
            let VerdictInTime::Fixed(verdict) = part.verdict else { return true };
            if !exempted || actions.on(verdict).is_none() {
                fixed = fixed.and(State::of(verdict, false, actions));
            }
            exempted && actions.on(verdict).is_some()
        });
        // One that is denied may settle all, and then the others need not be looked at.
        parts.sort_by_key(|part| match &part.verdict {
            VerdictInTime::Fixed(verdict) => *verdict != Verdict::Deny,
            VerdictInTime::Of { found, .. } => found.verdict != Verdict::Deny,
        });
        Self { actions, has_secret: judgement.has_secret, budget: Budget(BUDGET), fixed, parts }
    }

    /// What holds at `at`, and until when. None where the budget does not reach.
    fn look(&mut self, at: Timestamp) -> Option<Lasting<State>> {
        let worst = State { verdict: Verdict::Deny, action: Some(self.actions.on_deny) };
        let mut sum = Lasting { what: self.fixed, until: None };
        if sum.what == worst {
            return Some(sum);
        }
        self.budget.spend(1 + self.parts.len() / 8)?;
        for index in 0..self.parts.len() {
            let Some(part) = self.parts.get_mut(index) else { continue };
            let one = part.look(at, self.actions, self.has_secret, &mut self.budget)?;
            if one.what == worst {
                // Nothing of the others matters. It is looked at first from now on, as it may last.
                self.parts.swap(0, index);
                return Some(one);
            }
            sum = Lasting { what: sum.what.and(one.what), until: earlier(sum.until, one.until) };
        }
        Some(sum)
    }
}

impl Part<'_> {
    fn look(
        &mut self,
        at: Timestamp,
        actions: Actions,
        has_secret: bool,
        budget: &mut Budget,
    ) -> Option<Lasting<State>> {
        let Lasting { what: verdict, until } = self.verdict.look(at, has_secret, budget)?;
        // An exemption is over at its end, and none begins.
        let ends = self.covers.iter().map(|cover| cover.filter(|end| at < *end));
        let exempted = ends.clone().all(|end| end.is_some());
        let until =
            if exempted && actions.on(verdict).is_some() { earlier(until, ends.flatten().min()) } else { until };
        Some(Lasting { what: State::of(verdict, exempted, actions), until })
    }
}

impl VerdictInTime<'_> {
    fn look(&mut self, at: Timestamp, has_secret: bool, budget: &mut Budget) -> Option<Lasting<Verdict>> {
        let Self::Of { found, evaluators, timelines } = self else {
            let Self::Fixed(verdict) = self else { return None };
            return Some(Lasting { what: *verdict, until: None });
        };
        if timelines.is_empty() {
            for (evaluator, pull) in evaluators.iter().zip(&found.pulls) {
                timelines.push(Timeline::new(evaluator, &found.image, pull, has_secret, budget)?);
            }
        }
        let mut until = None;
        let (mut allowed, mut denied) = (None, None);
        let (mut not_found, mut by_pull) = (false, false);
        for timeline in timelines {
            let Lasting { what, until: this } = timeline.look(at, budget)?;
            match what.verdict {
                Verdict::Allow => allowed = allowed.or(Some(this)),
                Verdict::Deny => denied = denied.or(Some(this)),
                // Candidates must agree.
                _ => return Some(Lasting { what: Verdict::Unknown, until: this }),
            }
            if let (Some(one), Some(other)) = (allowed, denied) {
                return Some(Lasting { what: Verdict::Unknown, until: earlier(one, other) });
            }
            not_found |= what.existence == Existence::NotFound;
            by_pull |= what.by_pull;
            until = earlier(until, this);
        }
        let what = match denied {
            None => Verdict::Allow,
            Some(_) if has_secret && !not_found && by_pull => Verdict::Unknown,
            Some(_) => Verdict::Deny,
        };
        Some(Lasting { what, until })
    }
}

impl State {
    fn of(verdict: Verdict, exempted: bool, actions: Actions) -> Self {
        Self { verdict, action: AdmissionDecision::of([(verdict, exempted)].into_iter(), actions).action }
    }

    /// Both together.
    fn and(self, other: Self) -> Self {
        Self { verdict: Verdict::all([self.verdict, other.verdict]), action: self.action.max(other.action) }
    }
}
