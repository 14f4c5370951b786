//! Log lines that somebody else can cause, as often as he likes.
//!
//! A line for each malformed request is a way to fill a disk and to hide what matters. So each kind of line has a
//! [`Seldom`] of its own: a few at once, then one every few seconds, which says how many were held back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ecr_forecast::text::{Unit, cut, escaped};

/// So many lines of a kind at once.
const BURST: u32 = 5;
/// After these, one in so much time.
const PERIOD: Duration = Duration::from_secs(5);

/// How often one kind of line may be written. Meant for a `static` beside the line.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Lines written of which the period has not passed.
    recent: u32,
    /// When the last of these periods began.
    since: Option<Instant>,
    held_back: u64,
}

impl Seldom {
    /// Nothing was written yet.
    pub const fn new() -> Seldom {
        Seldom(Mutex::new(State { recent: 0, since: None, held_back: 0 }))
    }

    /// Whether a line may be written now, and if so, how many were not since the last one.
    pub fn may_tell(&self) -> Option<u64> {
        self.may_tell_at(Instant::now())
    }

    fn may_tell_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = state.since {
            let periods = now.saturating_duration_since(since).as_secs() / PERIOD.as_secs();
            let passed = u32::try_from(periods).unwrap_or(u32::MAX);
            state.recent = state.recent.saturating_sub(passed);
            state.since = if state.recent == 0 { None } else { since.checked_add(PERIOD.saturating_mul(passed)) };
        }
        if state.recent >= BURST {
            state.held_back += 1;
            return None;
        }
        state.recent += 1;
        state.since = state.since.or(Some(now));
        Some(std::mem::take(&mut state.held_back))
    }
}

/// The beginning of what somebody else wrote, on one line: what is logged of it, or said of it in an error.
pub fn beginning(text: &str) -> String {
    const MOST: usize = 400;
    cut(&escaped(&cut(text, MOST, Unit::Bytes)), MOST, Unit::Bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_then_one_in_a_while_and_none_is_forgotten() {
        let (seldom, begin) = (Seldom::new(), Instant::now());
        let tell = |milliseconds| seldom.may_tell_at(begin + Duration::from_millis(milliseconds));
        assert_eq!((0..5).map(|_| tell(0)).collect::<Vec<_>>(), vec![Some(0); 5]);
        assert_eq!((0..1000).filter_map(&tell).count(), 0);
        assert_eq!(tell(4_999), None);
        assert_eq!(tell(5_000), Some(1001));
        assert_eq!(tell(9_999), None);
        assert_eq!(tell(10_000), Some(1));
        // In silence it recovers, and no further than to the beginning.
        assert_eq!((0..10).filter_map(|_| tell(100_000)).collect::<Vec<_>>(), [0; 5]);
        // A day at a thousand a second: one in five seconds, and all are counted.
        let seldom = Seldom::new();
        let told = (0..86_400).filter_map(|second| seldom.may_tell_at(begin + Duration::from_secs(second)));
        let (mut lines, mut held_back) = (0_u64, 0);
        told.for_each(|held| (lines, held_back) = (lines + 1, held_back + held));
        assert!((17_280..17_290).contains(&lines) && lines + held_back > 86_390, "{lines} {held_back}");
    }

    #[test]
    fn what_others_wrote_is_cut_and_on_one_line() {
        assert_eq!(beginning("short"), "short");
        assert_eq!(beginning("a\nb\u{1b}c\u{202e}"), r"a\nb\u{1b}c\u{202e}");
        let long = beginning(&"ü".repeat(8 << 20));
        assert!(long.len() <= 400 && long.ends_with("ü…"), "{long}");
    }
}
