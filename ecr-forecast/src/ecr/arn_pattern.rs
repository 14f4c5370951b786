//! Patterns over ARNs, as a policy object names repositories.

/// A pattern over a whole ARN: `*` stands for any characters, `?` for one. Case matters, as it does in ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArnPattern(String);

impl ArnPattern {
    /// Takes any text for a pattern.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches the whole of `arn`. Takes time linear in the product of the lengths at worst.
    #[must_use]
    pub fn matches(&self, arn: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = arn.chars().collect();
        let (mut p, mut t) = (0, 0);
        // Where to go on when what follows the last `*` does not match: after it, one character further.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(c) = text.get(t) {
            match pattern.get(p) {
                Some('*') => {
                    p += 1;
                    retry = Some((p, t));
                    continue;
                }
                Some(wanted) if *wanted == '?' || wanted == c => {
                    p += 1;
                    t += 1;
                    continue;
                }
                _ => {}
            }
            let Some((after, from)) = retry else { return false };
            p = after;
            t = from + 1;
            retry = Some((after, from + 1));
        }
        pattern.iter().skip(p).all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arn_patterns() {
        let arn = "arn:aws:ecr:us-east-1:111122223333:repository/shared/app";
        for (pattern, matches) in [
            (arn, true),
            ("*", true),
            ("**", true),
            ("arn:aws:ecr:us-east-1:111122223333:repository/shared/*", true),
            ("arn:aws:ecr:us-east-1:111122223333:repository/shared/app*", true),
            ("arn:aws:ecr:*:111122223333:repository/*/app", true),
            ("arn:aws:ecr:us-east-?:*:repository/*app", true),
            ("*app*ap?", false),
            ("*p*p", true),
            ("arn:aws:ecr:us-east-1:111122223333:repository/shared", false),
            ("arn:aws:ecr:us-east-1:111122223333:repository/shared/", false),
            ("arn:aws:ecr:us-east-1:111122223333:repository/shared/app?", false),
            ("arn:aws:ecr:us-east-1:111122223333:repository/Shared/*", false),
            ("repository/shared/app", false),
            ("", false),
        ] {
            assert_eq!(ArnPattern::new(pattern).matches(arn), matches, "{pattern}");
        }
        assert!(ArnPattern::new("").matches(""));
        assert!(ArnPattern::new("*").matches(""));
    }
}
