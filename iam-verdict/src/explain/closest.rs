//! Which entry of an element came closest, and how it differs.

use super::distance::{Arn, Distance, FAR, FIELDS, action_distance, distance, free, same_service, typos};
use super::{MissCause, Resolution, condition};
use crate::clause::{Clause, Entry};
use crate::pattern::{Pattern, Wildcards};
use crate::request::Request;
use crate::truth::Truth;
use crate::variable::Resolved;

/// Names of the fields of an ARN before the resource.
const FIELD_NAMES: [(&str, MissCause); FIELDS] = [
    ("`arn:`", MissCause::Resource),
    ("partition", MissCause::Partition),
    ("service", MissCause::Service),
    ("region", MissCause::Region),
    ("account", MissCause::Account),
];

/// The entry of an element that decides, or came closest.
pub(super) struct Closest {
    pub(super) entry: Option<String>,
    pub(super) resolved: Option<Resolution>,
    pub(super) cause: MissCause,
    pub(super) distance: Distance,
    /// In words, where the element matches.
    pub(super) hit: String,
    /// In words, where it does not.
    pub(super) miss: String,
}

impl Closest {
    pub(super) fn action(clause: &Clause, action: &str) -> Self {
        let matching = clause.entries.iter().find(|entry| entry.pattern.matches_plain(action));
        // Of thousands of entries few are of the service in question; the others need no comparison.
        let rank = |entry: &&Entry| {
            let text = &*entry.text;
            if !same_service(text, action) {
                return (true, usize::MAX, usize::MAX);
            }
            (false, typos(text, action).unwrap_or(usize::MAX), action_distance(text, action))
        };
        let closest = matching.or_else(|| clause.entries.iter().min_by_key(rank));
        let Some(entry) = closest else { return Self::none("action", clause, action) };
        let text = &*entry.text;
        let (cause, distance) = match typos(text, action) {
            Some(letters) => (MissCause::ActionSpelling, (0, letters)),
            None => (MissCause::Action, (1, action_distance(text, action))),
        };
        let mut closest = Self {
            entry: Some(text.to_owned()),
            resolved: None,
            cause,
            distance,
            hit: format!("action `{text}` covers `{action}`"),
            miss: format!("action `{text}` is not `{action}`"),
        };
        if cause == MissCause::ActionSpelling && !clause.negated {
            closest.miss.push_str(": the spelling differs");
        }
        closest.negate(clause, "NotAction", action);
        closest
    }

    pub(super) fn resource(clause: &Clause, request: &Request) -> Self {
        let asked = request.resource.as_str();
        let matching = clause.entries.iter().find(|entry| {
            let patterns = std::iter::once(&entry.pattern).chain(entry.completed.as_deref());
            Truth::any(patterns, |pattern| pattern.matches(asked, &request.context)) == Truth::True
        });
        let closest =
            matching.or_else(|| clause.entries.iter().min_by_key(|entry| distance(&literal(entry, request), asked)));
        let Some(entry) = closest else { return Self::none("resource", clause, asked) };
        let text = &*entry.text;
        let resolved = resolution(entry, request);
        let compared = literal(entry, request);
        let (cause, miss) = match &resolved {
            Some(Resolution::NoValue(key)) => (
                MissCause::VariableWithoutValue,
                format!("resource `{text}` reads `{key}`, of which the request has no single value"),
            ),
            Some(Resolution::NotKnown(key)) => {
                (MissCause::NotKnown, format!("resource `{text}` reads `{key}`, which is not known"))
            }
            _ => difference(text, &compared, request),
        };
        let mut closest = Self {
            entry: Some(text.to_owned()),
            resolved,
            cause,
            distance: distance(&compared, asked),
            hit: format!("resource `{text}` covers `{asked}`"),
            miss,
        };
        closest.negate(clause, "NotResource", asked);
        closest
    }

    fn none(word: &str, clause: &Clause, asked: &str) -> Self {
        Self {
            entry: None,
            resolved: None,
            cause: MissCause::NoEntries,
            distance: FAR,
            hit: if clause.negated { format!("no {word} is excepted, `{asked}` neither") } else { String::new() },
            miss: format!("no {word} is listed"),
        }
    }

    /// For the `Not` form a match is a miss.
    fn negate(&mut self, clause: &Clause, element: &str, asked: &str) {
        if clause.negated {
            self.hit = format!("`{element}` does not except `{asked}`");
            if !matches!(self.cause, MissCause::NotKnown) {
                self.miss = format!("`{element}` excepts `{asked}`");
                self.cause = MissCause::Excepted;
            }
            self.distance = (0, 0);
        }
    }
}

/// How a resource that does not match differs, as code and in words. `written` is the entry, `entry` the same without
/// variables.
fn difference(written: &str, entry: &str, request: &Request) -> (MissCause, String) {
    let asked = request.resource.as_str();
    if asked == "*" {
        // IAM-RES-6
        let action = &request.action;
        return (
            MissCause::OnlyOnStar,
            format!("resource `{written}` is not `*`, and `{action}` is only ever granted on `*`"),
        );
    }
    let (short, cut) = shorten(written, asked);
    let plain = format!("resource `{short}` is not `{cut}`");
    if Pattern::new(entry, Wildcards::Resource, true, true).matches_plain(asked) {
        return (MissCause::Case, format!("{plain}: upper and lower case differ"));
    }
    let (Some(wanted), Some(has)) = (Arn::of(entry), Arn::of(asked)) else {
        return (MissCause::Resource, plain);
    };
    let differing: Vec<usize> = wanted.differing(&has).collect();
    if free(wanted.resource, has.resource) {
        let Some(first) = differing.first() else { return (MissCause::Resource, plain) };
        let cause = FIELD_NAMES.get(*first).map_or(MissCause::Resource, |(_, cause)| *cause);
        let words: Vec<String> = differing
            .iter()
            .filter_map(|index| {
                let (name, _) = FIELD_NAMES.get(*index)?;
                Some(format!("{name} `{}`, not `{}`", wanted.field(*index), has.field(*index)))
            })
            .collect();
        return (cause, format!("resource `{written}` names {}", words.join(", and ")));
    }
    if !differing.is_empty() {
        return (MissCause::Resource, plain);
    }
    // `team/app` where `repository/team/app` is meant.
    if let Some((kind, _)) = has.resource.split_once('/')
        && !wanted.resource.contains(&format!("{kind}/"))
        && free(&format!("{kind}/{}", wanted.resource), has.resource)
    {
        return (MissCause::MissingType, format!("{plain}: `{kind}/` is missing before the name"));
    }
    if free(&format!("{}/*", wanted.resource), has.resource) {
        return (MissCause::Below, plain);
    }
    (MissCause::Resource, plain)
}

/// The entry with variables replaced, where it has any.
fn resolution(entry: &Entry, request: &Request) -> Option<Resolution> {
    condition::resolution(&entry.text, &entry.pattern, &request.context)
}

/// The entry as a pattern without variables; wildcards in values are escaped, so that they stay literal.
fn literal(entry: &Entry, request: &Request) -> String {
    if !entry.pattern.has_variables() {
        return entry.text.to_string();
    }
    condition::replace(&entry.text, |variable| match variable.resolve(&request.context) {
        Resolved::Text(text) => escape(text),
        Resolved::Nothing | Resolved::Unknown => format!("${{{}}}", variable.written),
    })
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => out.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            c => out.push(c),
        }
    }
    out
}

/// Leaves out the fields that two ARNs share.
fn shorten(entry: &str, text: &str) -> (String, String) {
    let mut cut = 0;
    for ((at, a), b) in entry.char_indices().zip(text.chars()) {
        if a != b {
            break;
        }
        if a == ':' && entry.starts_with("arn:") {
            cut = at;
        }
    }
    match (entry.get(cut..), text.get(cut..)) {
        (Some(entry), Some(text)) if cut > 4 => (format!("…{entry}"), format!("…{text}")),
        _ => (entry.to_owned(), text.to_owned()),
    }
}
