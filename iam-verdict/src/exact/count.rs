//! Counting through combinations, and flags by number.

/// Worlds that are looked at before the decision is left to the bounds.
pub(crate) const MAX_WORLDS: usize = 1 << 16;

/// The next number in a mixed radix, lowest digit first; false after the last.
pub(super) fn count_up(digits: &mut [usize], sizes: impl Iterator<Item = usize>) -> bool {
    for (digit, size) in digits.iter_mut().zip(sizes) {
        *digit += 1;
        if *digit < size {
            return true;
        }
        *digit = 0;
    }
    false
}

pub(crate) fn set(flags: &mut [bool], at: usize, value: bool) {
    if let Some(flag) = flags.get_mut(at) {
        *flag = value;
    }
}

pub(super) fn at(flags: &[bool], index: usize) -> bool {
    flags.get(index).copied().unwrap_or(false)
}
