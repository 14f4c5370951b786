//! Three-valued logic (strong Kleene).

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

/// True, false, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds, whatever the facts that are not known turn out to be.
    True,
    /// It does not hold, whatever they turn out to be.
    False,
    /// It depends on them.
    Unknown,
}

impl Truth {
    /// `true`, `false` or `unknown`, as [`Display`](fmt::Display) prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Unknown => "unknown",
        }
    }

    /// What two readings of the same fact have in common.
    pub(crate) fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }

    /// Whether any of the items is true.
    pub(crate) fn any<T>(items: impl IntoIterator<Item = T>, mut test: impl FnMut(T) -> Self) -> Self {
        let mut result = Self::False;
        for item in items {
            match test(item) {
                Self::True => return Self::True,
                Self::Unknown => result = Self::Unknown,
                Self::False => {}
            }
        }
        result
    }

    /// Whether all of the items are true.
    pub(crate) fn all<T>(items: impl IntoIterator<Item = T>, mut test: impl FnMut(T) -> Self) -> Self {
        !Self::any(items, |item| !test(item))
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl BitAnd for Truth {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }
}

impl BitOr for Truth {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        !(!self & !other)
    }
}
