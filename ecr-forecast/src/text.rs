//! Texts that a stranger wrote, on their way to a person: what of them is shown as it is, and how they are shortened.
//!
//! A name, an image or the text of a policy ends up in terminals, in warnings and Events, and in statuses. There it must
//! not move the cursor, begin a line of its own, turn the direction of what stands beside it, or hide a difference
//! between two texts that look alike.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character shows as itself and changes nothing around it.
///
/// Harmful are control characters (`Cc`), the separators of lines and paragraphs (`Zl`, `Zp`), what has the property
/// `Bidi_Control` or `Default_Ignorable_Code_Point` (Unicode, "PropList.txt", "DerivedCoreProperties.txt"), and the
/// marks of interlinear annotation. Variation selectors, the joiners of emoji and tag characters are among the second:
/// no name and no image has them, and whole messages can be hidden in them. They are written out, so nothing is lost.
pub(crate) fn is_harmless(c: char) -> bool {
    // Nearly every text is of these.
    if matches!(c, ' '..='~') {
        return true;
    }
    !(c.is_control()
        || matches!(c,
            // Soft hyphen, combining grapheme joiner, Arabic letter mark.
            '\u{ad}' | '\u{34f}' | '\u{61c}'
            // Fillers of Hangul and Khmer, which show as nothing or as a blank.
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{3164}' | '\u{ffa0}'
            // Variation selectors of Mongolian.
            | '\u{180b}'..='\u{180f}'
            // Zero-width spaces and joiners, marks of direction.
            | '\u{200b}'..='\u{200f}'
            // Separators of lines and paragraphs; embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // Word joiner, invisible operators, isolates of direction, deprecated formats.
            | '\u{2060}'..='\u{206f}'
            // Variation selectors; zero-width no-break space; annotations.
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            // Formats of shorthand and of musical notation.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Tags, more variation selectors, and what is set aside for more of their kind.
            | '\u{e0000}'..='\u{e0fff}'))
}

/// The text in one line, with every character that is not harmless written out: `\n`, `\u{202e}`.
///
/// What was escaped once stays as it is.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        }
    }
    Cow::Owned(out)
}

/// As [`escaped`], for a text of several lines, which stay lines.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || is_harmless(c)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(escaped).collect();
    Cow::Owned(lines.join("\n"))
}

/// What the limit of a text counts.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Of UTF-8.
    Bytes,
    /// Unicode code points, as `maxLength` of a schema does (JSON Schema Validation, "6.3.1 maxLength").
    Characters,
}

/// The text in at most `longest` of a unit; of a longer one the beginning, and `…` as its end. No character is cut in two.
///
/// `longest` has room for `…`, which is one character of three bytes.
pub fn cut(text: &str, longest: usize, unit: Unit) -> Cow<'_, str> {
    let whole = match unit {
        Unit::Bytes => head(text, longest),
        Unit::Characters => first(text, longest),
    };
    if whole.len() == text.len() {
        return Cow::Borrowed(text);
    }
    let beginning = match unit {
        Unit::Bytes => head(whole, longest.saturating_sub('…'.len_utf8())),
        Unit::Characters => first(whole, longest.saturating_sub(1)),
    };
    Cow::Owned(format!("{beginning}…"))
}

/// The beginning of the text, of at most `longest` bytes. No character is cut in two.
pub fn head(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The first `count` characters of the text.
fn first(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// One or more of each kind that is not harmless, for the tests of whatever shows a text.
pub const HARMFUL: &str = "\t\r\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{34f}\u{61c}\u{115f}\u{17b4}\u{180e}\u{200b}\u{200c}\
    \u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2064}\u{2066}\u{2067}\u{2068}\
    \u{2069}\u{206f}\u{3164}\u{fe0f}\u{feff}\u{fffb}\u{1d173}\u{e0001}\u{e0041}\u{e007f}\u{e0100}";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of each kind, by its first and last.
    const TABLE: &[(u32, u32)] = &[
        (0x00, 0x1f),
        (0x7f, 0x9f),
        (0xad, 0xad),
        (0x34f, 0x34f),
        (0x61c, 0x61c),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x2028, 0x202e),
        (0x2060, 0x206f),
        (0x3164, 0x3164),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfffb),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
    ];

    #[test]
    fn what_is_harmful_is_the_table_and_nothing_else() {
        for code in 0..=u32::from(char::MAX) {
            let Some(c) = char::from_u32(code) else { continue };
            let listed = TABLE.iter().any(|(first, last)| (*first..=*last).contains(&code));
            assert_eq!(is_harmless(c), !listed, "U+{code:04X}");
        }
        assert!(!HARMFUL.chars().any(is_harmless));
    }

    #[test]
    fn each_kind_is_written_out_and_the_rest_stays() {
        assert_eq!(escaped("a\nb\t\u{1b}[31m\u{7f}\u{9b}"), r"a\nb\t\u{1b}[31m\u{7f}\u{9b}");
        assert_eq!(escaped("\u{61c}\u{200b}\u{200f}\u{202e}\u{2066}"), r"\u{61c}\u{200b}\u{200f}\u{202e}\u{2066}");
        assert_eq!(escaped("\u{feff}\u{ad}\u{e0041}\u{fe0f}"), r"\u{feff}\u{ad}\u{e0041}\u{fe0f}");
        let fine = "zażółć 漢字 עברית العربية é 🚢 …«»";
        assert!(matches!(escaped(fine), Cow::Borrowed(text) if text == fine));
    }

    #[test]
    fn lines_stay_lines_where_they_may() {
        assert_eq!(escaped_lines("a\r\nb\u{2028}c\n"), "a\\r\nb\\u{2028}c\n");
        assert!(matches!(escaped_lines("a\nb\n"), Cow::Borrowed("a\nb\n")));
    }

    #[test]
    fn a_cut_text_is_of_whole_characters_within_the_limit() {
        use Unit::{Bytes, Characters};
        assert_eq!(cut("abcdef", 6, Bytes), "abcdef");
        assert_eq!(cut("abcdefg", 6, Bytes), "abc…");
        assert_eq!(cut("äöüäöü", 8, Bytes), "äö…");
        assert_eq!(cut("abcd", 3, Bytes), "…");
        assert_eq!(cut("äöüäöü", 6, Characters), "äöüäöü");
        assert_eq!(cut("äöüäöüä", 6, Characters), "äöüäö…");
        assert_eq!(cut("ab", 1, Characters), "…");
        assert_eq!((head("äöü", 3), head("äöü", 1), head("äöü", 9)), ("ä", "", "äöü"));
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_comes_out_harmless_and_stays_so(text in any::<String>(), longest in 3usize..40) {
            let once = escaped(&text).into_owned();
            prop_assert!(once.chars().all(is_harmless));
            prop_assert_eq!(&escaped(&once), &once);
            prop_assert!(escaped_lines(&text).chars().all(|c| c == '\n' || is_harmless(c)));
            prop_assert_eq!(escaped_lines(&text).matches('\n').count(), text.matches('\n').count());
            for unit in [Unit::Bytes, Unit::Characters] {
                let length = |text: &str| match unit {
                    Unit::Bytes => text.len(),
                    Unit::Characters => text.chars().count(),
                };
                let short = cut(&text, longest, unit);
                prop_assert!(length(&short) <= longest);
                prop_assert!(text.starts_with(short.trim_end_matches('…')));
                prop_assert_eq!(short == text, length(&text) <= longest);
            }
        }
    }
}
