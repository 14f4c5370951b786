//! Texts for people, with their limits: the first line is complete in itself and has at most 400 bytes, a whole message
//! at most 900. A limit never cuts a character in two, and no text of a user brings along what is not harmless.

use crate::text::{escaped, head};

/// Longest first line of a message, and longest warning, in bytes.
pub const MAX_LINE: usize = 400;
/// Longest message, in bytes.
pub const MAX_MESSAGE: usize = 900;

const GAP: &str = "...";

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Never shortened.
    Words(String),
    /// An ARN, an image: shortened in its middle, first.
    Long(String),
    /// A name: shortened in its middle when that did not do.
    Name(String),
}

impl Piece {
    pub(crate) fn words(text: &str) -> Self {
        Self::Words(text.to_owned())
    }

    /// Takes a text that a user wrote; see [`clean`].
    pub(crate) fn long(text: &str) -> Self {
        Self::Long(clean(text))
    }

    /// Takes a text that a user wrote; see [`clean`].
    pub(crate) fn name(text: &str) -> Self {
        Self::Name(clean(text))
    }

    fn text(&self) -> &str {
        match self {
            Self::Words(text) | Self::Long(text) | Self::Name(text) => text,
        }
    }
}

/// `Deployment payments/api`
pub(crate) fn object(kind: &str, namespace: &str, name: &str) -> Vec<Piece> {
    vec![Piece::name(kind), Piece::words(" "), Piece::name(namespace), Piece::words("/"), Piece::name(name)]
}

/// Whether a line has at most `limit` bytes with nothing shortened.
pub(crate) fn fits(pieces: &[Piece], limit: usize) -> bool {
    pieces.iter().map(|piece| piece.text().len()).sum::<usize>() <= limit
}

/// Puts a line together in at most `limit` bytes: long pieces give way first, then names, both evenly.
pub(crate) fn line(pieces: &[Piece], limit: usize) -> String {
    const ENOUGH_OF_LONG: usize = 40;
    const ENOUGH: usize = 16;
    let whole = usize::MAX;
    // What is left of (long pieces, names): the first of these that fits.
    let with = |long: usize, name: usize| -> usize { pieces.iter().map(|piece| shown(piece, long, name)).sum() };
    let (long, name) = if with(whole, whole) <= limit {
        (whole, whole)
    } else if with(ENOUGH_OF_LONG, whole) <= limit {
        (largest(ENOUGH_OF_LONG, limit, |cap| with(cap, whole)), whole)
    } else if with(ENOUGH_OF_LONG, ENOUGH) <= limit {
        (ENOUGH_OF_LONG, largest(ENOUGH, limit, |cap| with(ENOUGH_OF_LONG, cap)))
    } else {
        (largest(ENOUGH, limit, |cap| with(cap, ENOUGH)), ENOUGH)
    };
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Words(words) => text.push_str(words),
            Piece::Long(value) => text.push_str(&middle(value, long)),
            Piece::Name(value) => text.push_str(&middle(value, name)),
        }
    }
    head(&text, limit).to_owned()
}

fn shown(piece: &Piece, long: usize, name: usize) -> usize {
    let length = piece.text().len();
    match piece {
        Piece::Words(_) => length,
        Piece::Long(_) => length.min(long),
        Piece::Name(_) => length.min(name),
    }
}

/// The largest cap between `least` and `limit` with which the line fits.
fn largest(least: usize, limit: usize, length_with: impl Fn(usize) -> usize) -> usize {
    (least..=limit).rev().find(|cap| length_with(*cap) <= limit).unwrap_or(least)
}

/// Shortens a text to `limit` bytes by leaving out its middle.
pub(crate) fn middle(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let Some(room) = limit.checked_sub(GAP.len()) else { return head(text, limit).to_owned() };
    // The end of an ARN tells more than its beginning.
    let front = head(text, room / 2);
    let back = tail(text, room - room / 2);
    format!("{front}{GAP}{back}")
}

/// The last bytes of a text, whole characters only.
fn tail(text: &str, limit: usize) -> &str {
    let start = text.char_indices().map(|(at, _)| at).find(|start| text.len() - start <= limit).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Makes a text fit for a line: what is not harmless in it is written out. Only as much of it is kept as a message can
/// show, so that a text of megabytes costs no more than a short one.
pub(crate) fn clean(text: &str) -> String {
    escaped(&middle(text, MAX_MESSAGE)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leaves_out_the_middle() {
        assert_eq!(middle("abcdefghij", 10), "abcdefghij");
        assert_eq!(middle("abcdefghij", 8), "ab...hij");
        assert_eq!(middle("äöüäöü", 9), "ä...ü");
        assert_eq!(middle("abc", 2), "ab");
        assert_eq!(tail("äöü", 3), "ü");
    }

    #[test]
    fn long_pieces_give_way_before_names() {
        let pieces = [Piece::name(&"n".repeat(50)), Piece::words(" pulls "), Piece::long(&"l".repeat(400))];
        let text = line(&pieces, 120);
        assert!(text.starts_with(&"n".repeat(50)), "{text}");
        assert_eq!(text.len(), 120);
        assert!(text.contains("..."));
    }

    #[test]
    fn control_characters_do_not_get_through() {
        assert_eq!(clean("a\nb\u{7f}c\u{202e}d\u{2028}e"), r"a\nb\u{7f}c\u{202e}d\u{2028}e");
    }

    proptest! {
        #[test]
        fn a_line_holds_its_limit(parts in proptest::collection::vec(("\\PC{0,300}", 0..3), 0..12), limit in 0usize..500) {
            let pieces: Vec<Piece> = parts.iter().map(|(text, kind)| match kind {
                0 => Piece::Words(clean(text)),
                1 => Piece::long(text),
                _ => Piece::name(text),
            }).collect();
            let text = line(&pieces, limit);
            prop_assert!(text.len() <= limit);
            let all: usize = pieces.iter().map(|piece| piece.text().len()).sum();
            if all <= limit { prop_assert_eq!(text.len(), all); }
        }
    }
}
