//! What a judgement comes to: whether pods come to run.

use std::fmt;

use ecr_forecast::judge::{ImageJudgement, Judgement, Verdict};

/// A verdict, and whether exemptions let it pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExpectedOutcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Every image that the verdict goes back to is exempted.
    pub exempted: bool,
}

impl ExpectedOutcome {
    /// What a judgement comes to.
    pub fn of(judgement: &Judgement) -> ExpectedOutcome {
        let verdict = judgement.verdict;
        let open = matches!(verdict, Verdict::Deny | Verdict::Unknown);
        let mut blamed = judgement.images.iter().filter(|image| image.verdict == verdict);
        ExpectedOutcome { verdict, exempted: open && blamed.all(|image: &ImageJudgement| image.exemption().is_some()) }
    }

    /// 0 is the worst; another one for each outcome that can be told apart.
    pub(super) fn badness(self) -> u8 {
        match (self.verdict, self.exempted) {
            (Verdict::Deny, false) => 0,
            (Verdict::Unknown, false) => 1,
            (Verdict::Deny, true) => 2,
            (Verdict::Unknown, true) => 3,
            _ => 4,
        }
    }
}

impl fmt::Display for ExpectedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.verdict.as_str(), if self.exempted { " (exempted)" } else { "" })
    }
}
