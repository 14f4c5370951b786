//! How far a word is from the one that was meant: mistakes of typing.

/// How many letters are missing, too many or others between two words (Levenshtein), where these are at most `most`.
///
/// ```
/// use iam_verdict::mistyped;
/// assert_eq!(mistyped("ecr:BatchGetImages", "ecr:BatchGetImage", 2), Some(1));
/// assert_eq!(mistyped("ecr:PutImage", "ecr:BatchGetImage", 2), None);
/// ```
#[must_use]
pub fn mistyped(one: &str, other: &str, most: usize) -> Option<usize> {
    // A letter has at most four bytes.
    if one.len().abs_diff(other.len()) > most.saturating_mul(4) {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (at, a) in one.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        let mut least = left;
        for (b, cell) in other.chars().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            (diagonal, *cell) = (above, left);
            least = least.min(left);
        }
        // What is too far by now comes no nearer.
        if least > most {
            return None;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_of_letters() {
        for (one, other, most, distance) in [
            ("abc", "abc", 0, Some(0)),
            ("abc", "abd", 1, Some(1)),
            ("abc", "ac", 1, Some(1)),
            ("abc", "xabc", 1, Some(1)),
            ("abc", "xbd", 1, None),
            ("abc", "xbd", 2, Some(2)),
            ("", "ab", 2, Some(2)),
            ("", "abc", 2, None),
            ("äöü", "äou", 2, Some(2)),
            ("é", "e", 1, Some(1)),
            ("kitten", "sitting", 3, Some(3)),
            ("kitten", "sitting", 2, None),
            ("", "", 0, Some(0)),
        ] {
            assert_eq!(mistyped(one, other, most), distance, "{one} {other}");
            assert_eq!(mistyped(other, one, most), distance, "{other} {one}");
        }
    }
}
