//! One line of a Condition block: an operator, a key, and the values it is compared with.

pub(crate) mod operator;
pub(crate) mod value;

use crate::context::{Context, Fact};
use crate::key;
use crate::pattern::{Pattern, Wildcards};
use crate::truth::Truth;
use crate::variable::Variable;
use operator::{Operator, Quantifier, Test};
use value::{Decimal, Instant, Network, Number};

/// An operator applied to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) operator: Operator,
    /// The operator as written.
    pub(crate) name: Box<str>,
    /// Lower-cased.
    pub(crate) key: Box<str>,
    /// The key as written.
    pub(crate) written: Box<str>,
    /// The key is known to hold several values.
    multivalued: bool,
    pub(crate) values: Box<[Value]>,
}

/// A value of a policy with what the operator makes of it; none where it is not of the operator's type, and then it
/// matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) text: Box<str>,
    pub(crate) kind: Kind,
}

/// What an operator compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pattern(Pattern),
    Number(Option<Number>),
    Date(Option<Instant>),
    Network(Option<Network>),
    Bool(Option<bool>),
    Binary(Option<Vec<u8>>),
    /// What no ARN matches, under an ARN operator.
    NoArn,
}

impl Condition {
    /// Compiles a line; `variables` says whether the policy has Version 2012-10-17.
    pub(crate) fn new(operator: Operator, name: &str, key: &str, values: &[String], variables: bool) -> Self {
        let compile = |text: &String| {
            let pattern = |wildcards, fold| Kind::Pattern(Pattern::new(text, wildcards, variables, fold));
            let kind = match operator.test {
                Test::StringEquals => pattern(Wildcards::None, false),
                Test::StringEqualsIgnoreCase => pattern(Wildcards::None, true),
                Test::StringLike => pattern(Wildcards::Free, false),
                Test::Arn => Pattern::arn(text, variables).map_or(Kind::NoArn, Kind::Pattern),
                Test::Numeric(_) => Kind::Number(Number::parse(text)),
                Test::Date(_) => Kind::Date(Instant::parse(text)),
                Test::Ip => Kind::Network(Network::parse(text)),
                Test::Binary => Kind::Binary(value::parse_base64(text)),
                // IAM-VAR-2: the operators page allows variables in Bool, the only type besides strings and ARNs.
                Test::Bool if text.contains("${") => pattern(Wildcards::None, true),
                Test::Bool | Test::Null => Kind::Bool(value::parse_bool(text)),
            };
            Value { text: text.as_str().into(), kind }
        };
        let lower = key.to_ascii_lowercase();
        Self {
            operator,
            name: name.into(),
            multivalued: key::is_multivalued(&lower),
            key: lower.into(),
            written: key.into(),
            values: values.iter().map(compile).collect(),
        }
    }

    /// Whether the line holds under `context`.
    pub(crate) fn evaluate(&self, context: &Context) -> Truth {
        self.evaluate_fact(context.lookup(&self.key), context)
    }

    /// As [`evaluate`](Self::evaluate), with this fact of the line's own key.
    pub(crate) fn evaluate_fact(&self, fact: &Fact, context: &Context) -> Truth {
        match fact {
            Fact::Values(values) => self.with_values(values, context),
            Fact::Absent => self.without_values(),
            Fact::AbsentOr(values) => self.without_values().join(self.with_values(values, context)),
            Fact::Present => self.with_some_value(),
            Fact::Unknown => self.without_values().join(self.with_some_value()),
        }
    }

    /// The key is absent (IAM-COND-5, IAM-COND-6, IAM-COND-7, IAM-SET-2).
    pub(crate) fn without_values(&self) -> Truth {
        Truth::from(match self.operator.quantifier {
            Quantifier::All => true,
            Quantifier::Any => self.operator.if_exists,
            Quantifier::One if self.operator.test == Test::Null => return self.null(true),
            Quantifier::One => self.operator.if_exists || self.operator.negated,
        })
    }

    /// The key is present with these values.
    pub(crate) fn with_values(&self, values: &[String], context: &Context) -> Truth {
        if values.is_empty() {
            return self.without_values();
        }
        match self.operator.quantifier {
            _ if self.operator.test == Test::Null => self.null(false),
            Quantifier::All => Truth::all(values, |value| self.one(value, context)),
            Quantifier::Any => Truth::any(values, |value| self.one(value, context)),
            // IAM-SET-4: several values need a set operator.
            Quantifier::One => match values {
                [value] if !self.multivalued => self.one(value, context),
                _ => Truth::False,
            },
        }
    }

    /// The key is present with a value that is not known.
    fn with_some_value(&self) -> Truth {
        match self.operator.quantifier {
            _ if self.operator.test == Test::Null => self.null(false),
            Quantifier::One if self.multivalued => Truth::False,
            _ => Truth::Unknown,
        }
    }

    fn null(&self, absent: bool) -> Truth {
        Truth::from(self.values.iter().any(|value| value.kind == Kind::Bool(Some(absent))))
    }

    /// One value of the request against the values of the policy: any may match, for negated operators none
    /// (IAM-COND-3, IAM-COND-4).
    pub(crate) fn one(&self, value: &str, context: &Context) -> Truth {
        let hit = match self.operator.test {
            Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike | Test::Arn => {
                Truth::any(&self.values, |wanted| match &wanted.kind {
                    Kind::Pattern(pattern) if self.operator.test == Test::Arn && pattern.has_variables() => {
                        pattern.matches_arn(value, context)
                    }
                    Kind::Pattern(pattern) => pattern.matches(value, context),
                    _ => Truth::False,
                })
            }
            Test::Numeric(comparison) => {
                let number = Decimal::parse(value);
                Truth::from(self.values.iter().any(|wanted| match (&wanted.kind, &number) {
                    (Kind::Number(Some(wanted)), Some(number)) => comparison.holds(number.cmp(&wanted.decimal())),
                    _ => false,
                }))
            }
            Test::Date(comparison) => {
                let instant = Instant::parse(value);
                Truth::from(self.values.iter().any(|wanted| match (&wanted.kind, &instant) {
                    (Kind::Date(Some(wanted)), Some(instant)) => comparison.holds(instant.cmp(wanted)),
                    _ => false,
                }))
            }
            Test::Ip => {
                let address = Network::address(value);
                Truth::from(self.values.iter().any(|wanted| match (&wanted.kind, &address) {
                    (Kind::Network(Some(network)), Some(address)) => network.holds(address),
                    _ => false,
                }))
            }
            Test::Binary => {
                // Each list of bytes has one spelling, as padding is required and spare bits are zero.
                let matches = |wanted: &Value| matches!(wanted.kind, Kind::Binary(Some(_))) && *wanted.text == *value;
                Truth::from(self.values.iter().any(matches))
            }
            Test::Bool => match value::parse_bool(value) {
                None => Truth::False,
                flag => Truth::any(&self.values, |wanted| match &wanted.kind {
                    Kind::Pattern(pattern) => pattern.matches(value, context),
                    kind => Truth::from(*kind == Kind::Bool(flag)),
                }),
            },
            Test::Null => Truth::False,
        };
        if self.operator.negated { !hit } else { hit }
    }

    /// The variables in the values.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.values.iter().flat_map(|value| {
            match &value.kind {
                Kind::Pattern(pattern) => Some(pattern.variables()),
                _ => None,
            }
            .into_iter()
            .flatten()
        })
    }
}
