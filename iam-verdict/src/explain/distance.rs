//! How far an entry is from matching what was asked.

use crate::pattern::{Pattern, Wildcards};
use crate::typing::mistyped;

/// How far an entry is from matching: the fields that differ, then the characters that nothing covers.
pub(super) type Distance = (usize, usize);
/// Further than anything that can be compared.
pub(super) const FAR: Distance = (usize::MAX, usize::MAX);

/// Fields of an ARN before the resource.
pub(super) const FIELDS: usize = 5;

/// Whether a part of an ARN matches; variables are replaced already, so that only their escapes are left.
pub(super) fn free(pattern: &str, text: &str) -> bool {
    pattern == text || Pattern::new(pattern, Wildcards::Free, true, false).matches_plain(text)
}

/// The number of fields that differ (the resource is one), then what is not covered in the resource.
pub(super) fn distance(entry: &str, asked: &str) -> Distance {
    let (Some(wanted), Some(has)) = (Arn::of(entry), Arn::of(asked)) else {
        return (FIELDS + 2, uncovered(entry, asked));
    };
    let fields = wanted.differing(&has).count();
    if free(wanted.resource, has.resource) {
        return (fields, 0);
    }
    (fields + 1, 1 + uncovered(wanted.resource, has.resource))
}

/// The characters between the common start and the common end: of the entry those that are no wildcards, of the text all
/// where no star takes them.
fn uncovered(entry: &str, text: &str) -> usize {
    let (mut entry, mut text): (Vec<char>, Vec<char>) = (entry.chars().collect(), text.chars().collect());
    let same = |(a, b): &(&char, &char)| a == b && **a != '*';
    let start = entry.iter().zip(&text).take_while(same).count();
    entry.drain(..start);
    text.drain(..start);
    let end = entry.iter().rev().zip(text.iter().rev()).take_while(same).count();
    entry.truncate(entry.len() - end);
    text.truncate(text.len() - end);
    let star = entry.contains(&'*');
    entry.iter().filter(|c| !matches!(c, '*' | '?')).count() + if star { 0 } else { text.len() }
}

/// Whether an entry of `Action` is about the service of an action.
pub(super) fn same_service(entry: &str, action: &str) -> bool {
    fn service(text: &str) -> &str {
        text.split_once(':').map_or(text, |(service, _)| service)
    }
    service(entry).eq_ignore_ascii_case(service(action))
}

pub(super) fn action_distance(entry: &str, action: &str) -> usize {
    uncovered(&entry.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// For an entry that is the action but for one or two letters, the first of which is right: how many.
pub(super) fn typos(entry: &str, action: &str) -> Option<usize> {
    if entry.contains(['*', '?']) || !entry.chars().zip(action.chars()).take(1).all(|(a, b)| a.eq_ignore_ascii_case(&b))
    {
        return None;
    }
    mistyped(&entry.to_ascii_lowercase(), &action.to_ascii_lowercase(), 2)
}

/// The six fields of an ARN.
pub(super) struct Arn<'a> {
    fields: [&'a str; FIELDS],
    pub(super) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// IAM-RES-5: fields that are left out at the end are `*`.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let fields =
            [parts.next()?, parts.next()?, parts.next()?, parts.next().unwrap_or("*"), parts.next().unwrap_or("*")];
        (fields.first() == Some(&"arn")).then(|| Self { fields, resource: parts.next().unwrap_or("*") })
    }

    pub(super) fn field(&self, index: usize) -> &'a str {
        self.fields.get(index).copied().unwrap_or_default()
    }

    /// The indices of the fields before the resource that do not match.
    pub(super) fn differing(&self, has: &Self) -> impl Iterator<Item = usize> {
        (0..self.fields.len()).filter(|index| !free(self.field(*index), has.field(*index)))
    }
}
