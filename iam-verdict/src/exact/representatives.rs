//! Texts that stand for all others: one for each way in which patterns can tell texts apart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::pattern::{Pattern, Token};

/// Steps of the automaton that finds which patterns can match one text together.
const MAX_STEPS: usize = 40_000;

/// Texts of which each class has `each` members (all, where it has fewer). A class is what no pattern tells apart;
/// texts in `known` are classes of their own and left out. None where the search is too long.
pub(super) fn representatives(patterns: &[&Pattern], known: &BTreeSet<&str>, each: usize) -> Option<Vec<String>> {
    let mut alphabet = BTreeSet::from([':']);
    let mut automata = Vec::new();
    for pattern in patterns {
        let fold = pattern.folds();
        let mut cells = Vec::new();
        for token in pattern.tokens() {
            match token {
                Token::Text(text) => {
                    for c in text.chars() {
                        alphabet.insert(c);
                        if fold {
                            alphabet.extend(other_cases(c));
                        }
                    }
                    cells.extend(text.chars().map(|c| Cell::Char { c, fold }));
                }
                Token::One => cells.push(Cell::One { colon: true }),
                Token::OneInside => cells.push(Cell::One { colon: false }),
                Token::Any => cells.push(Cell::Star { colon: true }),
                Token::AnyInside => cells.push(Cell::Star { colon: false }),
                Token::Variable(_) => return None,
            }
        }
        automata.push(cells);
    }
    // Characters that stand for all that no pattern spells, and that no known text has.
    let spelled: BTreeSet<char> = known.iter().flat_map(|text| text.chars()).collect();
    let fresh: Vec<char> =
        ('\u{e000}'..).filter(|c| !alphabet.contains(c) && !spelled.contains(c)).take(each).collect();
    alphabet.extend(fresh);
    // Known texts may come first in every class.
    let visits = each + known.len();
    let start: Vec<BTreeSet<usize>> = automata.iter().map(|cells| reach(cells, [0])).collect();
    let mut seen: BTreeMap<Vec<BTreeSet<usize>>, usize> = BTreeMap::new();
    let mut found: BTreeMap<Vec<bool>, Vec<String>> = BTreeMap::new();
    let mut work = VecDeque::from([(start, String::new())]);
    let mut steps = 0;
    while let Some((state, text)) = work.pop_front() {
        let count = seen.entry(state.clone()).or_default();
        if *count >= visits {
            continue;
        }
        *count += 1;
        let signature =
            state.iter().zip(&automata).map(|(places, cells)| places.contains(&cells.len())).collect::<Vec<bool>>();
        let class = found.entry(signature).or_default();
        if class.len() < each && !known.contains(text.as_str()) {
            class.push(text.clone());
        }
        for c in &alphabet {
            steps += automata.len() + 1;
            let next: Vec<BTreeSet<usize>> =
                state.iter().zip(&automata).map(|(places, cells)| reach(cells, advance(cells, places, *c))).collect();
            if seen.get(&next).is_none_or(|count| *count < visits) {
                work.push_back((next, format!("{text}{c}")));
            }
        }
        if steps > MAX_STEPS {
            return None;
        }
    }
    Some(found.into_values().flatten().collect())
}

/// The letters that differ from `c` in case alone.
fn other_cases(c: char) -> impl Iterator<Item = char> {
    // Signs whose lower case is an ordinary letter.
    let sign = match c.to_lowercase().next() {
        Some('k') => Some('\u{212a}'),
        Some('å') => Some('\u{212b}'),
        Some('ω') => Some('\u{2126}'),
        _ => None,
    };
    c.to_lowercase().chain(c.to_uppercase()).chain(sign)
}

/// One character of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Char { c: char, fold: bool },
    One { colon: bool },
    Star { colon: bool },
}

fn advance(cells: &[Cell], places: &BTreeSet<usize>, c: char) -> Vec<usize> {
    let step = |place: &usize| match cells.get(*place)? {
        Cell::Char { c: wanted, fold } => {
            (*wanted == c || (*fold && wanted.to_lowercase().eq(c.to_lowercase()))).then_some(place + 1)
        }
        Cell::One { colon } => (*colon || c != ':').then_some(place + 1),
        Cell::Star { colon } => (*colon || c != ':').then_some(*place),
    };
    places.iter().filter_map(step).collect()
}

/// The places that can be reached without a character.
fn reach(cells: &[Cell], places: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for mut place in places {
        all.insert(place);
        while let Some(Cell::Star { .. }) = cells.get(place) {
            place += 1;
            all.insert(place);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Wildcards;

    fn classes(patterns: &[(&str, bool)], known: &[&str], each: usize) -> BTreeSet<Vec<bool>> {
        let patterns: Vec<Pattern> =
            patterns.iter().map(|(text, fold)| Pattern::new(text, Wildcards::Free, false, *fold)).collect();
        let known = known.iter().copied().collect();
        let texts = representatives(&patterns.iter().collect::<Vec<_>>(), &known, each).unwrap();
        assert!(texts.iter().all(|text| !known.contains(text.as_str())));
        texts.iter().map(|text| patterns.iter().map(|pattern| pattern.matches_plain(text)).collect()).collect()
    }

    #[test]
    fn every_class_has_a_witness() {
        assert_eq!(classes(&[("a*", false), ("*b", false)], &[], 1).len(), 4);
        assert_eq!(classes(&[("a*", false), ("ab*", false)], &[], 1).len(), 3);
        // Three spellings of `ab` in other cases are told apart by the two others.
        assert_eq!(classes(&[("ab", true), ("a*", false), ("*b", false)], &["ab"], 1).len(), 7);
        // What only the empty text is.
        assert_eq!(classes(&[("*", false), ("?*", false)], &[""], 1).len(), 1);
    }

    #[test]
    fn classes_have_as_many_members_as_asked_for() {
        let any = Pattern::new("a*", Wildcards::Free, false, false);
        assert_eq!(representatives(&[&any], &BTreeSet::new(), 3).unwrap().len(), 6);
        let single = Pattern::new("a", Wildcards::Free, false, false);
        assert_eq!(representatives(&[&single], &BTreeSet::new(), 3).unwrap().len(), 4);
    }
}
