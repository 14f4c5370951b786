//! Patterns of image references, by which exemptions name images.

use crate::ecr::arn_pattern::ArnPattern;
use crate::ecr::image::ImageKind;

/// A pattern of image references: `*` stands for any text, `/` and `:` included.
///
/// It is held against the reference as a pod has it, and against the reference without tag and digest: `HOST/app` is the
/// image whatever its tag, `HOST/app:1.*` only some of its tags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImagePattern(ArnPattern);

impl ImagePattern {
    /// Takes any text for a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(ArnPattern::new(text))
    }

    /// Whether the pattern matches an image reference.
    #[must_use]
    pub fn matches(&self, image: &str) -> bool {
        self.0.matches(image) || self.0.matches(without_tag_and_digest(image))
    }

    /// Whether an image of Amazon ECR can match at all, as far as the registry's host tells.
    #[must_use]
    pub fn may_be_of_ecr(&self) -> bool {
        let text = self.0.as_str();
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        if host.contains('*') {
            return true;
        }
        let of_ecr = matches!(
            ImageKind::of(&format!("{host}/repository")),
            ImageKind::Private(_) | ImageKind::Invalid { ecr: true, .. }
        );
        of_ecr && !path.is_empty()
    }
}

fn without_tag_and_digest(image: &str) -> &str {
    let named = image.split_once('@').map_or(image, |(named, _)| named);
    match named.rsplit_once(':') {
        // A colon before the last slash is that of a port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";

    #[test]
    fn a_pattern_is_for_an_image_whatever_its_tag_unless_it_names_one() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (pattern, image, expected) in [
            ("legacy/*", "legacy/app:1.4.2".to_owned(), true),
            ("legacy/*", "legacy/a/b".to_owned(), true),
            ("legacy/*", "legacy".to_owned(), false),
            ("legacy/*", "other/app".to_owned(), false),
            ("legacy/app", "legacy/app".to_owned(), true),
            ("legacy/app", "legacy/app:1".to_owned(), true),
            ("legacy/app", format!("legacy/app@{digest}"), true),
            ("legacy/app", format!("legacy/app:1@{digest}"), true),
            ("legacy/app", "legacy/application:1".to_owned(), false),
            ("legacy/app:1.*", "legacy/app:1.4.2".to_owned(), true),
            ("legacy/app:1.*", "legacy/app:2".to_owned(), false),
            ("*", "legacy/app:1".to_owned(), true),
        ] {
            let (pattern, image) = (ImagePattern::new(&format!("{HOST}/{pattern}")), format!("{HOST}/{image}"));
            assert_eq!(pattern.matches(&image), expected, "{pattern:?} {image}");
        }
        assert!(ImagePattern::new("*.dkr.ecr.*/legacy/*").matches(&format!("{HOST}/legacy/app:1")));
        assert!(ImagePattern::new("*/app").matches(&format!("{HOST}:443/legacy/app:1")));
        assert!(!ImagePattern::new(&format!("{HOST}/app")).matches(&format!("{HOST}:443/app")));
        // A question mark is none of an image's characters, and no wildcard that anybody may write.
        assert!(!ImagePattern::new("legacy/*").matches(&format!("{HOST}/legacy/app")));
    }

    #[test]
    fn tells_a_pattern_that_no_image_of_ecr_matches() {
        for (pattern, expected) in [
            (format!("{HOST}/legacy/*"), true),
            (format!("{HOST}/*"), true),
            ("*".to_owned(), true),
            ("*/legacy/*".to_owned(), true),
            ("*.amazonaws.com/legacy/*".to_owned(), true),
            (HOST.to_owned(), false),
            ("legacy/*".to_owned(), false),
            ("legacy".to_owned(), false),
            ("docker.io/library/*".to_owned(), false),
            ("public.ecr.aws/docker/*".to_owned(), false),
            (format!("https://{HOST}/legacy/*"), false),
        ] {
            assert_eq!(ImagePattern::new(&pattern).may_be_of_ecr(), expected, "{pattern}");
        }
    }
}
