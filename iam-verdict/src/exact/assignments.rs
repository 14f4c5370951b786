//! The combinations of truth values that the assignments of one open key produce.

use std::collections::BTreeSet;

use super::answers::{Question, answers};
use super::atom::Atom;
use super::count::at;
use crate::clause::Entry;
use crate::condition::operator::{Quantifier, Test};
use crate::condition::{Condition, Kind, value};
use crate::context::{Context, Fact};
use crate::key;
use crate::pattern::{self, Pattern, Token};
use crate::request::Request;
use crate::truth::Truth;
use crate::variable::Resolved;

/// Values of a variable that are told apart in one line.
const MAX_VALUES: usize = 32;
/// Pieces of a text that are tried as the value of a variable.
const MAX_PIECES: usize = 2_000;

/// What an atom makes of the answers.
enum Formula {
    Constant(bool),
    Question(usize),
    Any(Vec<Formula>),
    All(Vec<Formula>),
    Not(Box<Formula>),
}

impl Formula {
    fn eval(&self, answers: &[bool]) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Question(index) => at(answers, *index),
            Self::Any(items) => items.iter().any(|item| item.eval(answers)),
            Self::All(items) => items.iter().all(|item| item.eval(answers)),
            Self::Not(item) => !item.eval(answers),
        }
    }
}

/// What combines the truth of an atom for single values into that for several.
enum Role {
    /// A condition on the key itself.
    Line(Quantifier),
    /// It reads the key as a variable: this for several values.
    Other(bool),
}

/// The atoms that read one open key and no other.
pub(super) struct Assignments<'a> {
    pub(super) key: &'a str,
    pub(super) atoms: &'a [Atom<'a>],
    pub(super) request: &'a Request,
    /// Some policy reads the key with a set operator.
    pub(super) listed: bool,
}

impl Assignments<'_> {
    /// Every combination of truth values that an assignment of the key produces (a superset where that is not known).
    pub(super) fn combinations(&self) -> Option<Vec<Vec<bool>>> {
        let fact = self.request.context.lookup(self.key);
        let mut all: BTreeSet<Vec<bool>> = BTreeSet::new();
        if matches!(fact, Fact::AbsentOr(_) | Fact::Unknown) {
            all.extend(self.with(Fact::Absent));
        }
        match fact {
            Fact::AbsentOr(values) => all.extend(self.with(Fact::Values(values.clone()))),
            _ => all.extend(self.present()?),
        }
        Some(all.into_iter().collect())
    }

    /// The truth of all atoms under one definite fact, both values where that leaves an atom open.
    fn with(&self, fact: Fact) -> Vec<Vec<bool>> {
        let mut context = self.request.context.clone();
        context.set(self.key, fact);
        let request = Request { context, ..self.request.clone() };
        let mut all = vec![Vec::new()];
        for atom in self.atoms {
            let truth = match atom {
                Atom::Condition(condition) => condition.evaluate(&request.context),
                Atom::Resource(clause) => clause.matches_resource(&request.resource, &request.context),
                _ => Truth::Unknown,
            };
            let values: &[bool] = match truth {
                Truth::True => &[true],
                Truth::False => &[false],
                Truth::Unknown => &[false, true],
            };
            all =
                values.iter().flat_map(|value| all.iter().map(|held| [held.as_slice(), &[*value]].concat())).collect();
        }
        all
    }

    /// The combinations when the key is present with some value or values.
    fn present(&self) -> Option<BTreeSet<Vec<bool>>> {
        let several = key::is_multivalued(self.key) || (self.listed && !key::is_single(self.key));
        let mut questions = Vec::new();
        let mut formulas = Vec::new();
        for atom in self.atoms {
            formulas.push(match atom {
                Atom::Condition(condition) if *condition.key == *self.key => {
                    self.own(condition, several, &mut questions)?
                }
                // IAM-VAR-9: as a variable it has no value, whatever its values are; `several` puts in what that makes.
                _ if key::is_multivalued(self.key) => Formula::Constant(false),
                Atom::Condition(condition) => self.other(condition, &mut questions)?,
                Atom::Resource(clause) => {
                    let entries =
                        clause.entries.iter().map(|entry| self.entry(entry, &mut questions)).collect::<Option<_>>()?;
                    negate(clause.negated, Formula::Any(entries))
                }
                _ => return None,
            });
        }
        let answers = answers(&questions)?;
        let each: BTreeSet<Vec<bool>> =
            answers.iter().map(|answers| formulas.iter().map(|formula| formula.eval(answers)).collect()).collect();
        if several { self.several(&each) } else { Some(each) }
    }

    /// The key may have several values: combine those of single values by the set operators.
    fn several(&self, each: &BTreeSet<Vec<bool>>) -> Option<BTreeSet<Vec<bool>>> {
        let alone = !key::is_multivalued(self.key);
        let roles: Vec<Role> = self.atoms.iter().map(|atom| self.role(atom)).collect::<Option<_>>()?;
        let first = |vector: &Vec<bool>| {
            let one = |(value, role): (&bool, &Role)| match role {
                Role::Line(Quantifier::One) => *value && alone,
                Role::Other(value_of_none) if !alone => *value_of_none,
                _ => *value,
            };
            vector.iter().zip(&roles).map(one).collect()
        };
        let mut closed: BTreeSet<Vec<bool>> = each.iter().map(first).collect();
        let singles: Vec<Vec<bool>> = closed.iter().cloned().collect();
        let mut work = singles.clone();
        while let Some(vector) = work.pop() {
            for single in &singles {
                let combine = |((a, b), role): ((&bool, &bool), &Role)| match role {
                    Role::Line(Quantifier::All) => *a && *b,
                    Role::Line(Quantifier::Any) => *a || *b,
                    Role::Line(Quantifier::One) => false,
                    Role::Other(value) => *value,
                };
                let combined: Vec<bool> = vector.iter().zip(single).zip(&roles).map(combine).collect();
                if closed.insert(combined.clone()) {
                    work.push(combined);
                }
            }
            if closed.len() > 4096 {
                return None;
            }
        }
        Some(closed)
    }

    /// What becomes of an atom where the key has several values.
    fn role(&self, atom: &Atom<'_>) -> Option<Role> {
        match atom {
            // Presence is the same for all assignments here.
            Atom::Condition(condition) if condition.operator.test == Test::Null && *condition.key == *self.key => {
                Some(Role::Line(Quantifier::Any))
            }
            Atom::Condition(condition) if *condition.key == *self.key => {
                Some(Role::Line(condition.operator.quantifier))
            }
            // IAM-VAR-9: the variable has no value then.
            atom => {
                let several = Fact::Values(vec![String::new(), String::new()]);
                let context = self.request.context.clone().with(self.key, several);
                let truth = match atom {
                    Atom::Condition(condition) => condition.evaluate(&context),
                    Atom::Resource(clause) => clause.matches_resource(&self.request.resource, &context),
                    _ => Truth::Unknown,
                };
                (truth != Truth::Unknown).then_some(Role::Other(truth == Truth::True))
            }
        }
    }

    /// A condition on the key itself.
    fn own(&self, condition: &Condition, several: bool, questions: &mut Vec<Question>) -> Option<Formula> {
        if condition.operator.test == Test::Null {
            let holds = condition.with_values(&[String::new()], &self.request.context);
            return Some(Formula::Constant(holds == Truth::True));
        }
        let mut any = Vec::new();
        for value in &condition.values {
            let question = match (&value.kind, condition.operator.test) {
                (Kind::Pattern(pattern), test) => match substituted(pattern, test, &self.request.context) {
                    // IAM-VAR-2: of a Bool with a variable only the booleans count.
                    Substituted::Pattern(pattern) if test == Test::Bool => {
                        match pattern.literal().and_then(value::parse_bool) {
                            Some(flag) => Question::Bool(flag),
                            None => continue,
                        }
                    }
                    Substituted::Pattern(pattern) => Question::Pattern(pattern),
                    Substituted::Nothing => continue,
                    // The key is compared with itself.
                    Substituted::Open if !several && self.is_itself(pattern) => match test {
                        Test::Arn => Question::Pattern(Pattern::arn("*", false)?),
                        Test::Bool => return None,
                        _ => {
                            any.push(Formula::Constant(true));
                            continue;
                        }
                    },
                    Substituted::Open => return None,
                },
                (Kind::Number(Some(number)), Test::Numeric(comparison)) => Question::Number(comparison, number.clone()),
                (Kind::Date(Some(instant)), Test::Date(comparison)) => Question::Date(comparison, *instant),
                (Kind::Network(Some(network)), _) => Question::Network(*network),
                (Kind::Bool(Some(flag)), _) => Question::Bool(*flag),
                (Kind::Binary(Some(bytes)), _) => Question::Binary(bytes.clone()),
                _ => continue,
            };
            any.push(ask(questions, question));
        }
        Some(negate(condition.operator.negated, Formula::Any(any)))
    }

    fn is_itself(&self, pattern: &Pattern) -> bool {
        matches!(pattern.tokens(), [Token::Variable(variable)] if *variable.key == *self.key)
    }

    /// A condition on another key, which is known, with the key as a variable.
    fn other(&self, condition: &Condition, questions: &mut Vec<Question>) -> Option<Formula> {
        let Fact::Values(values) = self.request.context.lookup(&condition.key) else { return None };
        let test = condition.operator.test;
        let mut per_value = Vec::new();
        for text in values {
            let mut any = Vec::new();
            for wanted in &condition.values {
                any.push(match &wanted.kind {
                    Kind::Pattern(_) if test == Test::Bool && value::parse_bool(text).is_none() => {
                        Formula::Constant(false)
                    }
                    Kind::Pattern(pattern) => self.pattern(pattern, test, text, questions)?,
                    Kind::Bool(flag) => Formula::Constant(flag.is_some() && *flag == value::parse_bool(text)),
                    _ => Formula::Constant(false),
                });
            }
            per_value.push(negate(condition.operator.negated, Formula::Any(any)));
        }
        Some(match condition.operator.quantifier {
            Quantifier::Any => Formula::Any(per_value),
            Quantifier::All => Formula::All(per_value),
            // IAM-SET-4
            Quantifier::One if per_value.len() != 1 || key::is_multivalued(&condition.key) => Formula::Constant(false),
            Quantifier::One => Formula::All(per_value),
        })
    }

    fn entry(&self, entry: &Entry, questions: &mut Vec<Question>) -> Option<Formula> {
        let resource = &self.request.resource;
        if resource == "*" {
            return Some(Formula::Constant(entry.pattern.is_any()));
        }
        let mut any = vec![self.pattern(&entry.pattern, Test::StringLike, resource, questions)?];
        if let Some(completed) = &entry.completed {
            any.push(self.pattern(completed, Test::StringLike, resource, questions)?);
        }
        Some(Formula::Any(any))
    }

    /// A pattern with the key as a variable, against a text.
    fn pattern(&self, pattern: &Pattern, test: Test, text: &str, questions: &mut Vec<Question>) -> Option<Formula> {
        let literal = |piece: &str| Pattern::from_tokens(vec![Token::Text(piece.into())], pattern.folds());
        Some(match values(self.key, pattern, test, text, &self.request.context)? {
            Values::Any(matches) => Formula::Constant(matches),
            Values::These(values) => {
                Formula::Any(values.iter().map(|piece| ask(questions, Question::Pattern(literal(piece)))).collect())
            }
        })
    }
}

/// For which values of a key a pattern matches a text.
pub(super) enum Values<'t> {
    /// For all, or for none.
    Any(bool),
    /// For these; where the pattern folds, for these in any case.
    These(BTreeSet<&'t str>),
}

/// Which values of a key make a pattern match a text? A value that does is a piece of the text, so the pieces are tried.
pub(super) fn values<'t>(
    key: &str,
    pattern: &Pattern,
    test: Test,
    text: &'t str,
    context: &Context,
) -> Option<Values<'t>> {
    let mut tokens = Vec::new();
    let mut reads = false;
    for token in pattern.tokens() {
        match token {
            Token::Variable(variable) if *variable.key == *key => {
                reads = true;
                tokens.push(token.clone());
            }
            Token::Variable(variable) => match variable.resolve(context) {
                Resolved::Text(value) => tokens.push(Token::Text(value.into())),
                Resolved::Nothing => return Some(Values::Any(false)),
                Resolved::Unknown => return None,
            },
            other => tokens.push(other.clone()),
        }
    }
    let pattern = Pattern::from_tokens(tokens, pattern.folds());
    let matches = |value: &str| {
        let put = |token: &Token| match token {
            Token::Variable(_) => Token::Text(value.into()),
            other => other.clone(),
        };
        let tokens: Vec<Token> = pattern.tokens().iter().map(put).collect();
        if test == Test::Arn {
            pattern::arn_fields(tokens).is_some_and(|pattern| pattern.matches_plain(text))
        } else {
            Pattern::from_tokens(tokens, pattern.folds()).matches_plain(text)
        }
    };
    if !reads {
        return Some(Values::Any(matches("")));
    }
    let mut values: BTreeSet<&str> = BTreeSet::new();
    for (tried, piece) in pieces(&pattern, text).enumerate() {
        if tried >= MAX_PIECES || values.len() > MAX_VALUES {
            return None;
        }
        if !values.contains(piece) && matches(piece) {
            values.insert(piece);
        }
    }
    Some(Values::These(values))
}

/// The pieces of `text` that the first variable of the pattern can stand for, judged by its neighbours.
fn pieces<'t>(pattern: &Pattern, text: &'t str) -> impl Iterator<Item = &'t str> {
    let at = pattern.tokens().iter().position(|token| matches!(token, Token::Variable(_))).unwrap_or_default();
    let neighbour = |index: Option<usize>| index.and_then(|index| pattern.tokens().get(index));
    let plain = |token: Option<&Token>| match token {
        Some(Token::Text(text)) if !pattern.folds() => Some(text.clone()),
        _ => None,
    };
    let before = plain(neighbour(at.checked_sub(1)));
    let after = plain(neighbour(Some(at + 1)));
    let first = at == 0;
    let last = at + 1 == pattern.tokens().len();
    let places = move || text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let starts = places().filter(move |from| {
        (!first || *from == 0)
            && before.as_ref().is_none_or(|before| text.get(..*from).is_some_and(|head| head.ends_with(&**before)))
    });
    let ends: Vec<usize> = places()
        .filter(|to| {
            (!last || *to == text.len())
                && after.as_ref().is_none_or(|after| text.get(*to..).is_some_and(|tail| tail.starts_with(&**after)))
        })
        .collect();
    starts.flat_map(move |from| {
        let mine: Vec<&'t str> = ends.iter().filter_map(|to| text.get(from..*to)).collect();
        mine
    })
}

fn negate(negated: bool, formula: Formula) -> Formula {
    if negated { Formula::Not(Box::new(formula)) } else { formula }
}

fn ask(questions: &mut Vec<Question>, question: Question) -> Formula {
    Formula::Question(match questions.iter().position(|known| *known == question) {
        Some(index) => index,
        None => {
            questions.push(question);
            questions.len() - 1
        }
    })
}

pub(super) enum Substituted {
    Pattern(Pattern),
    Nothing,
    Open,
}

pub(super) fn substituted(pattern: &Pattern, test: Test, context: &Context) -> Substituted {
    if !pattern.has_variables() {
        return Substituted::Pattern(pattern.clone());
    }
    let mut tokens = Vec::new();
    let mut open = false;
    for token in pattern.tokens() {
        match token {
            Token::Variable(variable) => match variable.resolve(context) {
                Resolved::Text(text) => tokens.push(Token::Text(text.into())),
                Resolved::Nothing => return Substituted::Nothing,
                Resolved::Unknown => open = true,
            },
            other => tokens.push(other.clone()),
        }
    }
    if open {
        Substituted::Open
    } else if test == Test::Arn {
        pattern::arn_fields(tokens).map_or(Substituted::Nothing, Substituted::Pattern)
    } else {
        Substituted::Pattern(Pattern::from_tokens(tokens, pattern.folds()))
    }
}
