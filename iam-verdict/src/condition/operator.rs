//! Condition operators ("IAM JSON policy elements: Condition operators").

use std::cmp::Ordering;

/// How the values of a key are quantified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    /// No set operator: the key has one value.
    One,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// What is compared, negation aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// An order relation between the value of the request and the one of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equals,
    Less,
    LessEquals,
    Greater,
    GreaterEquals,
}

impl Comparison {
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order == Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessEquals => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterEquals => order != Ordering::Less,
        }
    }
}

/// An operator with its set prefix and `IfExists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) quantifier: Quantifier,
    pub(crate) test: Test,
    /// `Not` in the name: no value of the policy may match.
    pub(crate) negated: bool,
    pub(crate) if_exists: bool,
}

/// Every operator: name, test, negated.
const NAMES: [(&str, Test, bool); 27] = [
    ("StringEquals", Test::StringEquals, false),
    ("StringNotEquals", Test::StringEquals, true),
    ("StringEqualsIgnoreCase", Test::StringEqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Test::StringEqualsIgnoreCase, true),
    ("StringLike", Test::StringLike, false),
    ("StringNotLike", Test::StringLike, true),
    ("NumericEquals", Test::Numeric(Comparison::Equals), false),
    ("NumericNotEquals", Test::Numeric(Comparison::Equals), true),
    ("NumericLessThan", Test::Numeric(Comparison::Less), false),
    ("NumericLessThanEquals", Test::Numeric(Comparison::LessEquals), false),
    ("NumericGreaterThan", Test::Numeric(Comparison::Greater), false),
    ("NumericGreaterThanEquals", Test::Numeric(Comparison::GreaterEquals), false),
    ("DateEquals", Test::Date(Comparison::Equals), false),
    ("DateNotEquals", Test::Date(Comparison::Equals), true),
    ("DateLessThan", Test::Date(Comparison::Less), false),
    ("DateLessThanEquals", Test::Date(Comparison::LessEquals), false),
    ("DateGreaterThan", Test::Date(Comparison::Greater), false),
    ("DateGreaterThanEquals", Test::Date(Comparison::GreaterEquals), false),
    ("Bool", Test::Bool, false),
    ("BinaryEquals", Test::Binary, false),
    ("IpAddress", Test::Ip, false),
    ("NotIpAddress", Test::Ip, true),
    ("ArnEquals", Test::Arn, false),
    ("ArnLike", Test::Arn, false),
    ("ArnNotEquals", Test::Arn, true),
    ("ArnNotLike", Test::Arn, true),
    ("Null", Test::Null, false),
];

impl Operator {
    /// Reads a name; letters in either case, as stored policies have them. None where there is no such operator
    /// (`NullIfExists` among them).
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::One, name),
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ForAllValues") => (Quantifier::All, rest),
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ForAnyValue") => (Quantifier::Any, rest),
            Some(_) => return None,
        };
        let split = rest.len().checked_sub("IfExists".len()).and_then(|at| rest.split_at_checked(at));
        let (base, if_exists) = match split {
            Some((base, suffix)) if suffix.eq_ignore_ascii_case("IfExists") => (base, true),
            _ => (rest, false),
        };
        let (_, test, negated) = NAMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(base))?;
        if *test == Test::Null && if_exists {
            return None;
        }
        Some(Self { quantifier, test: *test, negated: *negated, if_exists })
    }

    /// The name in AWS's spelling.
    pub(crate) fn canonical(name: &str) -> Option<String> {
        let parsed = Self::parse(name)?;
        let prefix = match parsed.quantifier {
            Quantifier::One => "",
            Quantifier::All => "ForAllValues:",
            Quantifier::Any => "ForAnyValue:",
        };
        let base = name.rsplit(':').next().unwrap_or(name);
        let base = if parsed.if_exists { base.get(..base.len() - "IfExists".len())? } else { base };
        let (spelled, ..) = NAMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(base))?;
        Some(format!("{prefix}{spelled}{}", if parsed.if_exists { "IfExists" } else { "" }))
    }

    /// The operator whose name is closest to `name`, for hints.
    pub(crate) fn suggestion(name: &str) -> Option<&'static str> {
        let base = name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase();
        let base = base.strip_suffix("ifexists").unwrap_or(&base).to_owned();
        NAMES
            .iter()
            .map(|(name, ..)| *name)
            .map(|name| (common(&name.to_ascii_lowercase(), &base), name))
            .filter(|(shared, name)| *shared * 3 >= name.len() * 2 || *shared >= 6)
            .max_by_key(|(shared, name)| (*shared, std::cmp::Reverse(name.len())))
            .map(|(_, name)| name)
    }
}

fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names() {
        let operator = Operator::parse("ForAnyValue:StringNotEqualsIgnoreCaseIfExists").unwrap();
        assert_eq!(operator.quantifier, Quantifier::Any);
        assert_eq!(operator.test, Test::StringEqualsIgnoreCase);
        assert!(operator.negated && operator.if_exists);
        assert!(Operator::parse("stringequals").is_some());
        for name in [
            "",
            "StringContains",
            "NullIfExists",
            "ForAnyValue:NullIfExists",
            "ForSome:StringEquals",
            "BinaryNotEquals",
            "IfExists",
        ] {
            assert!(Operator::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn spells_and_suggests() {
        assert_eq!(
            Operator::canonical("foranyvalue:stringlikeifexists").as_deref(),
            Some("ForAnyValue:StringLikeIfExists")
        );
        assert_eq!(Operator::canonical("forallvalues:null").as_deref(), Some("ForAllValues:Null"));
        assert_eq!(Operator::suggestion("StringEqual"), Some("StringEquals"));
        assert_eq!(Operator::suggestion("Frobnicate"), None);
    }
}
