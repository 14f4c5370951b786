//! One line of a Condition block in words.

use super::{ConditionFinding, MissCause, Resolution, Wanted, listed};
use crate::condition::operator::{Quantifier, Test};
use crate::condition::{Condition, Kind, Value};
use crate::context::{Context, Fact};
use crate::key;
use crate::pattern::Pattern;
use crate::truth::Truth;
use crate::variable::{self, Parsed, Resolved, Variable};

impl ConditionFinding {
    pub(super) fn new(line: &Condition, context: &Context) -> Self {
        let has = context.lookup(&line.key).clone();
        let truth = line.evaluate(context);
        let wanted: Vec<Wanted> = line
            .values
            .iter()
            .map(|value| Wanted {
                written: value.text.to_string(),
                resolved: match &value.kind {
                    Kind::Pattern(pattern) => resolution(&value.text, pattern, context),
                    _ => None,
                },
            })
            .collect();
        let (cause, given) = given(line, &has, truth, context);
        let texts: Vec<String> = line.values.iter().zip(&wanted).map(|(value, wanted)| words(value, wanted)).collect();
        let negation = if line.operator.negated { "other than " } else { "" };
        let what = format!("`{}` of `{}` wants {negation}{}, {given}", line.name, line.written, join(&texts));
        Self {
            operator: line.name.to_string(),
            key: line.written.to_string(),
            wanted,
            has,
            truth,
            cause: (truth != Truth::True).then_some(cause),
            what,
        }
    }
}

/// What the request has, and why the line does not hold.
fn given(line: &Condition, has: &Fact, truth: Truth, context: &Context) -> (MissCause, String) {
    let single = line.operator.quantifier == Quantifier::One && line.operator.test != Test::Null;
    match has {
        Fact::Absent => (MissCause::KeyAbsent, "the request does not have it".to_owned()),
        Fact::Values(values) if values.is_empty() => {
            (MissCause::KeyAbsent, "the request has no value of it".to_owned())
        }
        Fact::Values(values) if single && values.len() > 1 => {
            (MissCause::NeedsSetOperator, "the request has several values, which needs a set operator".to_owned())
        }
        Fact::Values(_) if single && key::is_multivalued(&line.key) => {
            (MissCause::NeedsSetOperator, "a key that can have several values, which needs a set operator".to_owned())
        }
        Fact::Values(values) => {
            let text =
                format!("the request has {}", join(&values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>()));
            let missed = truth == Truth::False && !line.operator.negated;
            // Other values would have to be equal but for their letters' case.
            let cased = |value: &String| {
                line.values.iter().any(|wanted| match &wanted.kind {
                    Kind::Pattern(pattern) if !pattern.has_variables() && !pattern.folds() => {
                        let folded = Pattern::from_tokens(pattern.tokens().to_vec(), true);
                        folded.matches(value, context) == Truth::True
                    }
                    _ => false,
                })
            };
            if missed && values.iter().any(cased) && line.operator.test != Test::Bool {
                (MissCause::Case, format!("{text}: upper and lower case differ"))
            } else if truth == Truth::Unknown {
                (MissCause::NotKnown, text)
            } else {
                (MissCause::OtherValue, text)
            }
        }
        Fact::AbsentOr(values) => (
            if truth == Truth::Unknown { MissCause::NotKnown } else { MissCause::OtherValue },
            format!(
                "the request does not have it or has {}",
                join(&values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>())
            ),
        ),
        Fact::Present | Fact::Unknown => (MissCause::NotKnown, "the request's value is not known".to_owned()),
    }
}

/// `a`, or `${k}` (`v`), and what is wrong with it.
fn words(value: &Value, wanted: &Wanted) -> String {
    let written = &wanted.written;
    let note = match (&wanted.resolved, &value.kind) {
        (Some(Resolution::Text(text)), _) => format!(" (`{text}`)"),
        (Some(Resolution::NoValue(key)), _) => format!(" (`{key}` has no single value)"),
        (Some(Resolution::NotKnown(key)), _) => format!(" (`{key}` is not known)"),
        (None, Kind::Number(None)) => " (no number)".to_owned(),
        (None, Kind::Date(None)) => " (no date)".to_owned(),
        (None, Kind::Network(None)) => " (no address)".to_owned(),
        (None, Kind::Bool(None)) => " (neither true nor false)".to_owned(),
        (None, Kind::Binary(None)) => " (no base-64)".to_owned(),
        (None, _) => String::new(),
    };
    format!("`{written}`{note}")
}

/// As [`listed`], for texts that are quoted already.
fn join(texts: &[String]) -> String {
    let more = texts.len().saturating_sub(3);
    let mut all: Vec<&str> = texts.iter().take(3).map(String::as_str).collect();
    let rest = format!("{more} more");
    if more > 0 {
        all.push(&rest);
    }
    if all.is_empty() { listed(std::iter::empty()) } else { all.join(" or ") }
}

/// A text with its variables replaced; none where it has none.
pub(super) fn resolution(text: &str, pattern: &Pattern, context: &Context) -> Option<Resolution> {
    if !pattern.has_variables() {
        return None;
    }
    let without = |wanted: fn(&Resolved<'_>) -> bool| {
        pattern
            .variables()
            .find(|variable| wanted(&variable.resolve(context)))
            .map(|variable| variable.written.to_string())
    };
    if let Some(key) = without(|resolved| *resolved == Resolved::Nothing) {
        return Some(Resolution::NoValue(key));
    }
    if let Some(key) = without(|resolved| *resolved == Resolved::Unknown) {
        return Some(Resolution::NotKnown(key));
    }
    Some(Resolution::Text(replace(text, |variable| match variable.resolve(context) {
        Resolved::Text(text) => text.to_owned(),
        Resolved::Nothing | Resolved::Unknown => String::new(),
    })))
}

/// Puts other texts in the place of variables; escapes stay as they are.
pub(super) fn replace(text: &str, mut with: impl FnMut(&Variable) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        match variable::parse(from) {
            Some((Parsed::Variable(variable), tail)) => {
                out.push_str(&with(&variable));
                rest = tail;
            }
            Some((Parsed::Escape(_), tail)) => {
                out.push_str(from.strip_suffix(tail).unwrap_or_default());
                rest = tail;
            }
            None => {
                out.push_str("${");
                rest = from.strip_prefix("${").unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}
