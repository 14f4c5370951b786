//! Policy variables: `${key}`, `${key, 'default'}` and the escapes `${*}`, `${?}`, `${$}`
//! ("IAM policy elements: Variables and tags").

use crate::context::{Context, Fact};
use crate::key;

/// A reference to a context key inside a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// The context key, lower-cased.
    pub(crate) key: Box<str>,
    /// The context key as written.
    pub(crate) written: Box<str>,
    /// What stands for an absent key.
    pub(crate) default: Option<Box<str>>,
}

/// What a variable stands for in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved<'a> {
    Text(&'a str),
    /// The key has no value, or several.
    Nothing,
    Unknown,
}

impl Variable {
    /// IAM-VAR-4, IAM-VAR-5, IAM-VAR-7: the value of a single-valued key, else the default, else nothing.
    pub(crate) fn resolve<'a>(&'a self, context: &'a Context) -> Resolved<'a> {
        self.resolve_fact(context.lookup(&self.key))
    }

    /// As [`resolve`](Self::resolve), for a fact of the key that is given.
    pub(crate) fn resolve_fact<'a>(&'a self, fact: &'a Fact) -> Resolved<'a> {
        let absent = || self.default.as_deref().map_or(Resolved::Nothing, Resolved::Text);
        if key::is_multivalued(&self.key) {
            return match fact {
                Fact::Values(values) if values.is_empty() => absent(),
                Fact::Values(_) | Fact::Present => Resolved::Nothing,
                Fact::Absent => absent(),
                Fact::AbsentOr(_) | Fact::Unknown if self.default.is_none() => Resolved::Nothing,
                Fact::AbsentOr(_) | Fact::Unknown => Resolved::Unknown,
            };
        }
        match fact {
            Fact::Values(values) => match values.as_slice() {
                [] => absent(),
                [value] => Resolved::Text(value),
                _ => Resolved::Nothing,
            },
            Fact::Absent => absent(),
            Fact::AbsentOr(values) => match (values.as_slice(), &self.default) {
                ([], _) => absent(),
                ([value], Some(default)) if **value == **default => Resolved::Text(value),
                ([_, _, ..], None) => Resolved::Nothing,
                _ => Resolved::Unknown,
            },
            Fact::Present | Fact::Unknown => Resolved::Unknown,
        }
    }
}

/// What starts with `${`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// `${*}`, `${?}` or `${$}`: the character itself, never a wildcard.
    Escape(char),
    Variable(Variable),
}

/// Reads the variable at the start of `text` and gives what follows it; none where the text is no variable, which is
/// then taken literally.
pub(crate) fn parse(text: &str) -> Option<(Parsed, &str)> {
    let inner = text.strip_prefix("${")?;
    for escape in ['*', '?', '$'] {
        if let Some(rest) = inner.strip_prefix(escape).and_then(|rest| rest.strip_prefix('}')) {
            return Some((Parsed::Escape(escape), rest));
        }
    }
    let end = inner.find(['}', ',', '$', '{', '\'', '*', '?'])?;
    let key = inner.get(..end)?;
    if key.is_empty() || key != key.trim() {
        return None;
    }
    let rest = inner.get(end..)?;
    let written: Box<str> = key.into();
    let key = key.to_ascii_lowercase().into_boxed_str();
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((Parsed::Variable(Variable { key, written, default: None }), rest));
    }
    // IAM-VAR-4: comma, space, and the default in single quotes.
    let quoted = rest.strip_prefix(", '")?;
    let (default, rest) = quoted.split_once('\'')?;
    let rest = rest.strip_prefix('}')?;
    Some((Parsed::Variable(Variable { key, written, default: Some(default.into()) }), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(key: &str, default: Option<&str>) -> Parsed {
        Parsed::Variable(Variable {
            key: key.to_ascii_lowercase().into(),
            written: key.into(),
            default: default.map(Into::into),
        })
    }

    #[test]
    fn reads_variables_defaults_and_escapes() {
        assert_eq!(parse("${aws:UserName}/x"), Some((variable("aws:UserName", None), "/x")));
        assert_eq!(
            parse("${aws:PrincipalTag/team, 'a b'}"),
            Some((variable("aws:PrincipalTag/team", Some("a b")), ""))
        );
        assert_eq!(parse("${*}"), Some((Parsed::Escape('*'), "")));
        assert_eq!(parse("${$}x"), Some((Parsed::Escape('$'), "x")));
        for text in ["${", "${}", "${a", "${a,'b'}", "${a, b}", "${a, 'b}", "$a", "${ a}", "${a${b}}", "${**}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
