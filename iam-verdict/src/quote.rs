//! User input in messages: in backticks, on one line, and short, however long the input is.

use std::fmt;

/// Characters shown at most; the rest becomes `…`.
pub(crate) const MAX_SHOWN: usize = 100;

/// Displays a text in backticks (an empty one in words), with control characters escaped and at most [`MAX_SHOWN`] characters of it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("an empty string");
        }
        write!(f, "`{}`", Clipped(self.0))
    }
}

/// As [`Quoted`], without the backticks.
pub(crate) struct Clipped<'a>(pub(crate) &'a str);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (shown, c) in self.0.chars().enumerate() {
            if shown == MAX_SHOWN {
                return f.write_char('…');
            }
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_odd_input_is_shown_short_and_on_one_line() {
        assert_eq!(Quoted("").to_string(), "an empty string");
        assert_eq!(Quoted("a b").to_string(), "`a b`");
        assert_eq!(Quoted("a\n\u{7f}b").to_string(), "`a\\n\\u{7f}b`");
        assert_eq!(Quoted(&"é".repeat(100)).to_string(), format!("`{}`", "é".repeat(100)));
        assert_eq!(Quoted(&"é".repeat(101)).to_string(), format!("`{}…`", "é".repeat(100)));
    }
}
