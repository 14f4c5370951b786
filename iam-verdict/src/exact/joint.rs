//! Several open keys that policies compare with each other, filled together.

use std::collections::BTreeSet;

use super::assignments::{Substituted, Values, substituted, values};
use super::atom::Atom;
use super::count::count_up;
use super::representatives::representatives;
use crate::clause::Clause;
use crate::condition::operator::Test;
use crate::condition::{Condition, Kind};
use crate::context::{Context, Fact};
use crate::pattern::{Pattern, Token};
use crate::request::Request;
use crate::truth::Truth;

/// Assignments that are looked at.
const MAX_ASSIGNMENTS: usize = 4_096;

/// The atoms that read at least one of some open keys, and no other open one. The keys hold one value each.
pub(super) struct Joint<'a> {
    pub(super) keys: &'a [String],
    pub(super) atoms: &'a [Atom<'a>],
    pub(super) request: &'a Request,
}

impl Joint<'_> {
    /// Every assignment of the keys that the atoms can tell apart, as a number for each key, with what it makes of the
    /// atoms. None where the keys are compared in another way than for being equal.
    ///
    /// A text is told apart by the patterns and by which other keys hold it. So it is enough that each key can take, of
    /// every class of texts that patterns make, as many members as there are keys.
    pub(super) fn assignments(&self) -> Option<BTreeSet<(Vec<usize>, Vec<bool>)>> {
        let mut patterns = Vec::new();
        let mut known = BTreeSet::new();
        for atom in self.atoms {
            match atom {
                Atom::Condition(condition) if self.is_ours(&condition.key) => {
                    self.own(condition, &mut patterns, &mut known)?;
                }
                Atom::Condition(condition) => self.other(condition, &mut known)?,
                Atom::Resource(clause) => self.resource(clause, &mut known)?,
                _ => return None,
            }
        }
        // What an open key may hold for certain, the others may hold too.
        for key in self.keys {
            if let Fact::AbsentOr(given) = self.request.context.lookup(key) {
                known.extend(given.iter().cloned());
            }
        }
        let (wild, plain): (Vec<&Pattern>, Vec<&Pattern>) =
            patterns.iter().partition(|pattern| pattern.folds() || pattern.literal().is_none());
        known.extend(plain.into_iter().filter_map(Pattern::literal).map(str::to_owned));
        let others = representatives(&wild, &known.iter().map(String::as_str).collect(), self.keys.len())?;
        let values: Vec<Fact> = known.into_iter().chain(others).map(Fact::value).collect();
        let options: Vec<Vec<Fact>> = self.keys.iter().map(|key| self.options(key, &values)).collect();
        let count = options.iter().try_fold(1_usize, |product, options| product.checked_mul(options.len()))?;
        if count > MAX_ASSIGNMENTS {
            return None;
        }
        let mut chosen = vec![0; self.keys.len()];
        let mut all = BTreeSet::new();
        let mut context = self.request.context.clone();
        loop {
            for ((key, options), choice) in self.keys.iter().zip(&options).zip(&chosen) {
                context.set(key, options.get(*choice)?.clone());
            }
            let vector = self.atoms.iter().map(|atom| self.holds(atom, &context)).collect::<Option<_>>()?;
            all.insert((chosen.clone(), vector));
            if !count_up(&mut chosen, options.iter().map(Vec::len)) {
                return Some(all);
            }
        }
    }

    fn is_ours(&self, key: &str) -> bool {
        self.keys.iter().any(|ours| ours == key)
    }

    fn options(&self, key: &str, values: &[Fact]) -> Vec<Fact> {
        match self.request.context.lookup(key) {
            Fact::AbsentOr(given) => vec![Fact::Absent, Fact::Values(given.clone())],
            Fact::Present => values.to_vec(),
            _ => std::iter::once(Fact::Absent).chain(values.iter().cloned()).collect(),
        }
    }

    fn holds(&self, atom: &Atom<'_>, context: &Context) -> Option<bool> {
        let truth = match atom {
            Atom::Condition(condition) => condition.evaluate(context),
            Atom::Resource(clause) => clause.matches_resource(&self.request.resource, context),
            _ => Truth::Unknown,
        };
        (truth != Truth::Unknown).then_some(truth == Truth::True)
    }

    /// A condition on one of the keys: its patterns, and the texts that stand for an absent variable.
    fn own(&self, condition: &Condition, patterns: &mut Vec<Pattern>, known: &mut BTreeSet<String>) -> Option<()> {
        let test = condition.operator.test;
        for value in &condition.values {
            match &value.kind {
                _ if test == Test::Null => {}
                Kind::NoArn => {}
                Kind::Pattern(_) if test == Test::Bool => return None,
                Kind::Pattern(pattern) => match substituted(pattern, test, &self.request.context) {
                    Substituted::Pattern(pattern) => patterns.push(pattern),
                    Substituted::Nothing => {}
                    Substituted::Open => match pattern.tokens() {
                        [Token::Variable(variable)] if test != Test::Arn && !pattern.folds() => {
                            known.extend(variable.default.iter().map(|text| text.to_string()));
                        }
                        _ => return None,
                    },
                },
                _ => return None,
            }
        }
        Some(())
    }

    /// A condition on a key that is known, with one of the keys as a variable.
    fn other(&self, condition: &Condition, known: &mut BTreeSet<String>) -> Option<()> {
        let Fact::Values(texts) = self.request.context.lookup(&condition.key) else { return None };
        for text in texts {
            for value in &condition.values {
                match &value.kind {
                    Kind::NoArn => {}
                    Kind::Pattern(pattern) if condition.operator.test != Test::Bool => {
                        self.variable(pattern, condition.operator.test, text, known)?;
                    }
                    _ => return None,
                }
            }
        }
        Some(())
    }

    fn resource(&self, clause: &Clause, known: &mut BTreeSet<String>) -> Option<()> {
        let resource = &self.request.resource;
        for entry in clause.entries.iter().filter(|_| resource != "*") {
            for pattern in [Some(&entry.pattern), entry.completed.as_deref()].into_iter().flatten() {
                self.variable(pattern, Test::StringLike, resource, known)?;
            }
        }
        Some(())
    }

    /// The values with which a pattern matches a text.
    fn variable(&self, pattern: &Pattern, test: Test, text: &str, known: &mut BTreeSet<String>) -> Option<()> {
        let mut ours = pattern.variables().filter(|variable| self.is_ours(&variable.key)).map(|variable| &variable.key);
        let Some(first) = ours.next() else { return Some(()) };
        if pattern.folds() || ours.any(|other| other != first) {
            return None;
        }
        if let Values::These(values) = values(first, pattern, test, text, &self.request.context)? {
            known.extend(values.into_iter().map(str::to_owned));
        }
        Some(())
    }
}
