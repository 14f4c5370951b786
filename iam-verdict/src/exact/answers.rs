//! Questions about one value of a context key, and the answers that a value can give together.

use std::collections::BTreeSet;

use super::count::MAX_WORLDS;
use super::representatives::representatives;
use crate::condition::operator::Comparison;
use crate::condition::value;
use crate::pattern::Pattern;

/// A question about one value of a key.
#[derive(Clone, PartialEq)]
pub(super) enum Question {
    Pattern(Pattern),
    Number(Comparison, value::Number),
    Date(Comparison, value::Instant),
    Network(value::Network),
    Bool(bool),
    Binary(Vec<u8>),
}

impl Question {
    /// The answer for a text.
    fn answer(&self, text: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches_plain(text),
            Self::Number(comparison, wanted) => {
                value::Number::parse(text).is_some_and(|number| comparison.holds(number.cmp(wanted)))
            }
            Self::Date(comparison, wanted) => {
                value::Instant::parse(text).is_some_and(|instant| comparison.holds(instant.cmp(wanted)))
            }
            Self::Network(network) => value::Network::address(text).is_some_and(|address| network.holds(&address)),
            Self::Bool(flag) => value::parse_bool(text) == Some(*flag),
            Self::Binary(bytes) => value::parse_base64(text).as_ref() == Some(bytes),
        }
    }

    fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::Pattern(pattern) => Some(pattern),
            _ => None,
        }
    }
}

/// Every combination of answers that one value can give (a superset where a key is read as text with wildcards and as
/// another type: these are then taken to be independent).
pub(super) fn answers(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let patterns = || questions.iter().filter_map(Question::pattern);
    // Letters in one case and without wildcards: such texts are looked at themselves, under every type.
    let exact = |pattern: &&Pattern| !pattern.folds();
    let known: BTreeSet<&str> = patterns().filter(exact).filter_map(Pattern::literal).collect();
    let concrete = known.iter().map(|text| questions.iter().map(|question| question.answer(text)).collect());
    let mut others = texts(questions, &known)?;
    type Family = fn(&[Question]) -> Option<Vec<Vec<bool>>>;
    for family in [numbers as Family, dates, networks, booleans, binaries] {
        let vectors = family(questions)?;
        others = others
            .iter()
            .flat_map(|held| vectors.iter().map(|vector| held.iter().zip(vector).map(|(a, b)| *a || *b).collect()))
            .collect();
        if others.len() > MAX_WORLDS {
            return None;
        }
    }
    distinct(concrete.chain(others))
}

/// What patterns make of texts that are none of the known ones.
fn texts(questions: &[Question], known: &BTreeSet<&str>) -> Option<Vec<Vec<bool>>> {
    let wild: Vec<&Pattern> = questions
        .iter()
        .filter_map(Question::pattern)
        .filter(|pattern| pattern.folds() || pattern.literal().is_none())
        .collect();
    let plain = |pattern: &Pattern| wild.contains(&pattern);
    let vector = |text: &String| {
        let answer =
            |question: &Question| question.pattern().is_some_and(|pattern| plain(pattern) && question.answer(text));
        questions.iter().map(answer).collect()
    };
    // Too many known texts to look for others beside each: then a class may be looked at that has no other text.
    let texts = representatives(&wild, known, 1).or_else(|| representatives(&wild, &BTreeSet::new(), 1))?;
    distinct(texts.iter().map(vector))
}

fn distinct(vectors: impl IntoIterator<Item = Vec<bool>>) -> Option<Vec<Vec<bool>>> {
    let all: BTreeSet<Vec<bool>> = vectors.into_iter().collect();
    Some(all.into_iter().collect())
}

fn numbers(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    ordered(questions, |question| match question {
        Question::Number(comparison, number) => Some((*comparison, number)),
        _ => None,
    })
}

fn dates(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    ordered(questions, |question| match question {
        Question::Date(comparison, instant) => Some((*comparison, instant)),
        _ => None,
    })
}

/// On each constant, between the constants, and a text that is of no such type.
fn ordered<'a, T: Ord + 'a>(
    questions: &'a [Question],
    pick: impl Fn(&'a Question) -> Option<(Comparison, &'a T)>,
) -> Option<Vec<Vec<bool>>> {
    let constants: BTreeSet<&T> =
        questions.iter().filter_map(|question| pick(question).map(|(_, constant)| constant)).collect();
    let rank = |constant: &T| 2 * constants.iter().take_while(|other| **other < constant).count() + 1;
    let none = vec![false; questions.len()];
    if constants.is_empty() {
        return Some(vec![none]);
    }
    let places = (0..=2 * constants.len()).map(|place| {
        let holds = |question: &'a Question| {
            pick(question).is_some_and(|(comparison, constant)| comparison.holds(place.cmp(&rank(constant))))
        };
        questions.iter().map(holds).collect()
    });
    distinct(places.chain([none]))
}

fn networks(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let networks = questions.iter().filter_map(|question| match question {
        Question::Network(network) => Some(network),
        _ => None,
    });
    let mut starts = BTreeSet::new();
    for network in networks {
        starts.insert((network.v6, network.first));
        let top = if network.v6 { u128::MAX } else { u128::from(u32::MAX) };
        if network.last < top {
            starts.insert((network.v6, network.last + 1));
        }
    }
    let vectors = starts.into_iter().map(|(v6, address)| {
        let address = value::Network { v6, first: address, last: address };
        questions
            .iter()
            .map(|question| matches!(question, Question::Network(network) if network.holds(&address)))
            .collect()
    });
    distinct(vectors.chain([vec![false; questions.len()]]))
}

fn booleans(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    if !questions.iter().any(|question| matches!(question, Question::Bool(_))) {
        return Some(vec![vec![false; questions.len()]]);
    }
    let vector = |flag| questions.iter().map(|question| *question == Question::Bool(flag)).collect();
    distinct([vector(true), vector(false), vec![false; questions.len()]])
}

fn binaries(questions: &[Question]) -> Option<Vec<Vec<bool>>> {
    let vectors = questions
        .iter()
        .filter(|question| matches!(question, Question::Binary(_)))
        .map(|chosen| questions.iter().map(|question| question == chosen).collect());
    distinct(vectors.chain([vec![false; questions.len()]]))
}
