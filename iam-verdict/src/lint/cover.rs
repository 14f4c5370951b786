//! Whether one pattern covers another: whatever the narrow one matches, the wide one matches too. The answer `true` is
//! always right; `false` may mean that it was not seen.

/// Patterns beyond this many bytes are compared for equality alone.
const MAX_BYTES: usize = 1024;

/// Steps that comparisons may still take, over a whole document: lists of entries are compared pair by pair, and a
/// hostile document has many. When it is used up, nothing covers anything any more.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn new(steps: usize) -> Self {
        Self(steps)
    }

    pub(super) const fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, steps: usize) {
        self.0 = self.0.saturating_sub(steps);
    }
}

/// Covers among entries of `Action`: free wildcards, letters in either case.
pub(super) fn action(wide: &str, narrow: &str, budget: &mut Budget) -> bool {
    budget.spend(1);
    wide == "*" || wide.eq_ignore_ascii_case(narrow) || glob(wide, narrow, u8::eq_ignore_ascii_case, budget)
}

/// Covers among entries of `Resource` (IAM-RES-2, IAM-RES-4, IAM-RES-6).
pub(super) fn resource(wide: &str, narrow: &str, budget: &mut Budget) -> bool {
    budget.spend(1);
    if wide == "*" || wide == narrow {
        return true;
    }
    if wide.len() > MAX_BYTES || narrow.len() > MAX_BYTES {
        return false;
    }
    budget.spend((wide.len() + narrow.len()) / 8);
    // Variables may have any value, or none; short ARNs are completed, and then match more than they show.
    let plain = |text: &str| text.starts_with("arn:") && !text.contains("${");
    if !plain(wide) || !plain(narrow) || narrow.matches(':').count() < 5 {
        return false;
    }
    // A star inside one of the first five fields does not cross the colon; one that ends its field does.
    let free = wide.splitn(6, ':').take(5).all(|field| !field.trim_end_matches('*').contains(['*', '?']));
    free && glob(wide, narrow, u8::eq, budget)
}

/// The wildcards of `narrow` count as letters that only a star (or, for `?`, a `?`) of `wide` takes.
fn glob(wide: &str, narrow: &str, same: fn(&u8, &u8) -> bool, budget: &mut Budget) -> bool {
    if !wide.is_ascii() || !narrow.is_ascii() || wide.len() > MAX_BYTES || narrow.len() > MAX_BYTES {
        return false;
    }
    let (wide, narrow) = (wide.as_bytes(), narrow.as_bytes());
    let (mut w, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = narrow.get(n) {
        budget.spend(1);
        if budget.is_spent() {
            return false;
        }
        match wide.get(w) {
            Some(b'*') => {
                star = Some((w + 1, n));
                w += 1;
            }
            Some(b'?') if *letter != b'*' => {
                w += 1;
                n += 1;
            }
            Some(wanted) if same(wanted, letter) && *letter != b'*' => {
                w += 1;
                n += 1;
            }
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (w, n) = (after, from + 1);
            }
        }
    }
    wide.iter().skip(w).all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Pattern, Wildcards, words};

    /// Whatever is said to be covered is covered, by all short texts.
    #[test]
    fn what_is_covered_is_covered() {
        let texts = words(&['a', 'b'], 5);
        let patterns = words(&['a', '*', '?'], 4);
        let matches: Vec<Vec<bool>> = patterns
            .iter()
            .map(|pattern| {
                let pattern = Pattern::new(pattern, Wildcards::Free, false, true);
                texts.iter().map(|text| pattern.matches_plain(text)).collect()
            })
            .collect();
        let mut covered = 0;
        for (wide, wide_hits) in patterns.iter().zip(&matches) {
            for (narrow, narrow_hits) in patterns.iter().zip(&matches) {
                if action(wide, narrow, &mut Budget::new(1000)) {
                    covered += 1;
                    let holds = wide_hits.iter().zip(narrow_hits).all(|(wide, narrow)| *wide || !*narrow);
                    assert!(holds, "{wide} {narrow}");
                }
            }
        }
        assert!(covered > 1000, "{covered}");
    }

    #[test]
    fn a_spent_budget_covers_nothing() {
        let mut budget = Budget::new(3);
        assert!(!action("ecr:*", "ecr:BatchGetImage", &mut budget));
        assert!(budget.is_spent());
    }

    #[test]
    fn resources_are_compared_with_their_fields() {
        let repo = "arn:aws:ecr:us-east-1:111122223333:repository/team/*";
        for (wide, narrow, expected) in [
            ("*", repo, true),
            ("arn:aws:ecr:*:*:repository/*", repo, true),
            ("arn:aws:ecr:*:repository/team/*", repo, true),
            ("arn:aws:ecr:us-*:*:repository/*", repo, true),
            ("arn:aws:ecr:us-*-1:*:repository/*", repo, false),
            ("arn:aws:ecr:u?-east-1:*:repository/*", repo, false),
            ("arn:aws:ecr:us-east-1:111122223333:repository/team/app", repo, false),
            ("arn:aws:ecr:*:*:repository/${aws:username}", "arn:aws:ecr:*:*:repository/a", false),
            (repo, "*", false),
            ("arn:aws:ecr:*", "arn:aws:ecr", false),
            ("arn:aws:ecr:*:*:repository/T*", repo, false),
        ] {
            assert_eq!(resource(wide, narrow, &mut Budget::new(1000)), expected, "{wide} {narrow}");
        }
    }
}
