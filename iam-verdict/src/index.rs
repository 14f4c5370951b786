//! Finds the statements of a policy that speak of an action, without looking at the others.
//!
//! Every entry of an Action element begins with literal text: all of `ecr:BatchGetImage`, the `ecr:Describe` of
//! `ecr:Describe*`, nothing of `*`. These beginnings are sorted. Those that an action begins with are found by one
//! binary search: the greatest beginning that is not above the action, and from there each beginning's own longest
//! beginning, for whatever lies between a beginning of the action and the action itself begins with it too.

use crate::clause::Clause;
use crate::pattern::Token;

/// Actions beyond this many bytes are looked for without the index; AWS has none of half the length.
const LONGEST: usize = 128;
/// Statements about one action beyond this many are looked for without the index.
const MOST: usize = 32;

/// An action with its letters lower-cased.
pub(crate) struct Action<'a> {
    pub(crate) text: &'a str,
    lower: [u8; LONGEST],
}

impl<'a> Action<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut lower = [0; LONGEST];
        for (to, from) in lower.iter_mut().zip(text.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        Self { text, lower }
    }

    /// None where the action is too long, or where its letters have forms beyond ASCII.
    fn lower(&self) -> Option<&[u8]> {
        let lower = self.lower.get(..self.text.len())?;
        lower.is_ascii().then_some(lower)
    }
}

/// The entries of all Action and NotAction elements of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// The beginnings, lower-cased, one after the other.
    text: Box<[u8]>,
    /// Sorted by their text.
    keys: Box<[Key]>,
    /// The statements with NotAction, in order.
    negated: Box<[u32]>,
}

/// The literal beginning of one entry.
#[derive(Clone, Copy, Debug)]
struct Key {
    /// The first sixteen bytes, which decide most comparisons.
    head: u128,
    start: u32,
    length: u32,
    /// The longest beginning of this one, or one that is equal.
    parent: Option<u32>,
    statement: u32,
    rest: Rest,
}

/// What follows the beginning.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    Anything,
    /// Only the pattern of this entry can tell.
    Entry(u32),
}

impl Index {
    /// Of the action clauses of a policy's statements, in order. None where there is more than 32-bit numbers count.
    pub(crate) fn new<'a>(clauses: impl Iterator<Item = &'a Clause> + Clone) -> Option<Self> {
        let entries = || clauses.clone().flat_map(|clause| &clause.entries);
        let mut text: Vec<u8> = Vec::with_capacity(entries().map(|entry| entry.text.len()).sum());
        let mut keys = Vec::with_capacity(entries().count());
        let mut negated = Vec::new();
        for (at, clause) in (0_u32..).zip(clauses.clone()) {
            if clause.negated {
                negated.push(at);
            }
            for (number, entry) in (0_u32..).zip(&clause.entries) {
                let (beginning, rest) = match entry.pattern.tokens() {
                    [] => ("", Rest::Nothing),
                    [Token::Any] => ("", Rest::Anything),
                    [Token::Text(all)] => (&**all, Rest::Nothing),
                    [Token::Text(beginning), Token::Any] => (&**beginning, Rest::Anything),
                    [Token::Text(beginning), ..] => (&**beginning, Rest::Entry(number)),
                    _ => ("", Rest::Entry(number)),
                };
                // A letter beyond ASCII may be the other case of one within.
                let (beginning, rest) =
                    if beginning.is_ascii() { (beginning, rest) } else { ("", Rest::Entry(number)) };
                let (start, length) = (text.len(), beginning.len());
                text.extend_from_slice(beginning.as_bytes());
                let beginning = text.get_mut(start..)?;
                beginning.make_ascii_lowercase();
                let head = head(beginning);
                let (start, length) = (u32::try_from(start).ok()?, u32::try_from(length).ok()?);
                keys.push(Key { head, start, length, parent: None, statement: at, rest });
            }
        }
        keys.sort_by(|a, b| a.head.cmp(&b.head).then_with(|| slice(&text, a).cmp(slice(&text, b))));
        let mut open: Vec<u32> = Vec::new();
        let mut parents = Vec::with_capacity(keys.len());
        for (at, key) in (0_u32..).zip(&keys) {
            let begins = |other: &u32| {
                let other = usize::try_from(*other).ok().and_then(|other| keys.get(other));
                other.is_some_and(|other| slice(&text, key).starts_with(slice(&text, other)))
            };
            while open.pop_if(|other| !begins(other)).is_some() {}
            parents.push(open.last().copied());
            open.push(at);
        }
        for (key, parent) in keys.iter_mut().zip(parents) {
            key.parent = parent;
        }
        Some(Self { text: text.into(), keys: keys.into(), negated: negated.into() })
    }

    /// The statements about an action, in order; `clause` gives the action clause of a statement. None where the index
    /// does not tell: then each is to be asked.
    pub(crate) fn find<'a>(&self, clause: impl Fn(usize) -> Option<&'a Clause>, action: &Action<'_>) -> Option<Found> {
        let lower = action.lower()?;
        let wanted = head(lower);
        let above = self
            .keys
            .partition_point(|key| key.head < wanted || (key.head == wanted && slice(&self.text, key) <= lower));
        let mut next = above.checked_sub(1);
        let mut named = Found::default();
        while let Some(key) = next.and_then(|at| self.keys.get(at)) {
            next = key.parent.and_then(|parent| usize::try_from(parent).ok());
            let begins = lower.starts_with(slice(&self.text, key));
            let hit = begins
                && match key.rest {
                    Rest::Nothing => slice(&self.text, key).len() == lower.len(),
                    Rest::Anything => true,
                    Rest::Entry(number) => {
                        let clause = usize::try_from(key.statement).ok().and_then(&clause)?;
                        let number = usize::try_from(number).ok()?;
                        clause.entries.get(number)?.pattern.matches_plain(action.text)
                    }
                };
            if hit {
                named.insert(key.statement)?;
            }
        }
        if self.negated.is_empty() {
            return Some(named);
        }
        let is_negated = |at: &u32| self.negated.binary_search(at).is_ok();
        let mut found = Found::default();
        for at in named.iter().filter(|at| !is_negated(at)) {
            found.insert(at)?;
        }
        for at in self.negated.iter().filter(|at| !named.contains(**at)) {
            found.insert(*at)?;
        }
        Some(found)
    }
}

fn slice<'a>(text: &'a [u8], key: &Key) -> &'a [u8] {
    let start = usize::try_from(key.start).unwrap_or(usize::MAX);
    let length = usize::try_from(key.length).unwrap_or(usize::MAX);
    text.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default()
}

fn head(text: &[u8]) -> u128 {
    if let Some(bytes) = text.first_chunk() {
        return u128::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(text) {
        *to = *from;
    }
    u128::from_be_bytes(bytes)
}

/// A few numbers of statements, ascending.
#[derive(Clone, Copy, Default)]
pub(crate) struct Found {
    numbers: [u32; MOST],
    count: usize,
}

impl Found {
    /// None where there is no room.
    fn insert(&mut self, number: u32) -> Option<()> {
        let at = match self.as_slice().binary_search(&number) {
            Ok(_) => return Some(()),
            Err(at) => at,
        };
        let moved = self.numbers.get_mut(at..=self.count)?;
        moved.rotate_right(1);
        *moved.first_mut()? = number;
        self.count += 1;
        Some(())
    }

    fn contains(&self, number: u32) -> bool {
        self.as_slice().binary_search(&number).is_ok()
    }

    fn as_slice(&self) -> &[u32] {
        self.numbers.get(..self.count).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.as_slice().iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use std::fmt::Write;

    /// The statements about the action by the index and by asking each.
    fn both(policy: &Policy, action: &str) -> (Option<Vec<u32>>, Vec<u32>) {
        let index = Index::new(policy.statements.iter().map(|statement| &statement.action)).unwrap();
        let clause = |at: usize| policy.statements.get(at).map(|statement| &statement.action);
        let found = index.find(clause, &Action::new(action)).map(|found| found.iter().collect());
        let asked = (0..).zip(&policy.statements).filter(|(_, s)| s.action.matches_action(action)).map(|(at, _)| at);
        (found, asked.collect())
    }

    fn policy(statements: impl Iterator<Item = (&'static str, Vec<String>)>) -> Policy {
        let mut text = String::from(r#"{"Statement": ["#);
        for (at, (element, entries)) in statements.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(text, r#"{comma}{{"Effect": "Allow", "{element}": {entries:?}, "Resource": "*"}}"#).unwrap();
        }
        text.push_str("]}");
        Policy::parse(&text).unwrap()
    }

    #[test]
    fn finds_what_asking_each_finds() {
        let letters = ['a', 'B', '*', '?', ':'];
        let mut seed = 7_u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let mut hits = 0;
        for _ in 0..300 {
            let mut word = |longest: usize, of: &[char]| -> String {
                (0..random(longest + 1)).map(|_| of[random(of.len())]).collect()
            };
            let actions: Vec<String> = (0..20).map(|_| word(5, &['A', 'b', ':'])).collect();
            let statements: Vec<_> = (0..12)
                .map(|at| {
                    (if at % 5 == 4 { "NotAction" } else { "Action" }, vec![word(4, &letters), word(12, &letters)])
                })
                .collect();
            let policy = policy(statements.into_iter());
            for action in actions {
                let (found, asked) = both(&policy, &action);
                hits += asked.len();
                assert_eq!(found, Some(asked), "{action} {policy:?}");
            }
        }
        assert!(hits > 1000);
    }

    #[test]
    fn letters_beyond_ascii_fold_as_patterns_do() {
        // U+212A is the sign for kelvin, whose lower case is `k`.
        let policy = policy([("Action", vec!["a:\u{212a}".into()]), ("Action", vec!["a:k".into()])].into_iter());
        assert_eq!(both(&policy, "a:k"), (Some(vec![0, 1]), vec![0, 1]));
        assert_eq!(both(&policy, "a:\u{212a}"), (None, vec![0, 1]));
    }

    #[test]
    fn what_has_no_room_is_left_to_asking_each() {
        let many = policy((0..100).map(|_| ("Action", vec!["a:*".into()])));
        assert_eq!(both(&many, "a:b").0, None);
        assert_eq!(both(&many, "b:b").0, Some(Vec::new()));
        assert_eq!(both(&many, &format!("b:{}", "x".repeat(LONGEST))).0, None);
        let negated = policy((0..100).map(|_| ("NotAction", vec!["a:*".into()])));
        assert_eq!(both(&negated, "b:b").0, None);
    }
}
