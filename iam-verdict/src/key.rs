//! What is known of condition keys as such.

/// Keys that hold several values ("AWS global condition context keys": value type *multivalued*), lower-cased.
const MULTIVALUED: [&str; 7] = [
    "aws:calledvia",
    "aws:principalorgpaths",
    "aws:principalservicenameslist",
    "aws:resourceorgpaths",
    "aws:sourceorgpaths",
    "aws:tagkeys",
    "aws:vpceorgpaths",
];

/// Whether a global condition key is known to hold several values ("AWS global condition context keys", value type
/// *multivalued*). Keys have no case. Of keys of services nothing is known here: false.
///
/// ```
/// assert!(iam_verdict::is_multivalued_key("aws:TagKeys"));
/// assert!(!iam_verdict::is_multivalued_key("aws:SourceIp"));
/// ```
#[must_use]
pub fn is_multivalued_key(key: &str) -> bool {
    MULTIVALUED.iter().any(|multivalued| multivalued.eq_ignore_ascii_case(key))
}

/// Whether a key (lower-cased) is known to hold several values. Such a key needs a set operator and cannot be a
/// policy variable, even where a request carries one value.
pub(crate) fn is_multivalued(key: &str) -> bool {
    key.starts_with("aws:") && MULTIVALUED.contains(&key)
}

/// Whether a key (lower-cased) is known to hold one value: the other global keys.
pub(crate) fn is_single(key: &str) -> bool {
    key.starts_with("aws:") && !is_multivalued(key)
}
