//! Facts that are filled together, and what their assignments make of the atoms.

use std::collections::{BTreeSet, HashMap};

/// Atoms that move together, with the combinations they can take.
pub(super) struct Dimension {
    pub(super) facts: Vec<usize>,
    pub(super) atoms: Vec<usize>,
    pub(super) options: Vec<Vec<bool>>,
    pub(super) assignments: Vec<Assignment>,
    /// How many labels each of the facts has.
    pub(super) ranges: Vec<usize>,
}

/// One way to fill the facts of a dimension, as far as ways are told apart.
pub(super) struct Assignment {
    pub(super) option: usize,
    /// What it makes of each of the facts, by number; none where only all of them together tell something.
    pub(super) labels: Vec<usize>,
}

impl Dimension {
    /// Every option is an assignment of its own.
    pub(super) fn plain(facts: Vec<usize>, atoms: Vec<usize>, options: Vec<Vec<bool>>) -> Self {
        let alone = facts.len() == 1;
        let assignment = |option| Assignment { option, labels: if alone { vec![option] } else { Vec::new() } };
        let assignments = (0..options.len()).map(assignment).collect();
        let ranges = vec![options.len(); facts.len()];
        Self { facts, atoms, options, assignments, ranges }
    }

    /// Assignments of several facts, each with its labels and what it makes of the atoms.
    pub(super) fn labelled(facts: Vec<usize>, atoms: Vec<usize>, all: BTreeSet<(Vec<usize>, Vec<bool>)>) -> Self {
        let distinct: BTreeSet<&Vec<bool>> = all.iter().map(|(_, vector)| vector).collect();
        let options: Vec<Vec<bool>> = distinct.into_iter().cloned().collect();
        let place = |vector: &Vec<bool>| options.binary_search(vector).unwrap_or_default();
        let assignments =
            all.iter().map(|(labels, vector)| Assignment { option: place(vector), labels: labels.clone() });
        let range = |at: usize| all.iter().filter_map(|(labels, _)| labels.get(at)).max().map_or(1, |most| most + 1);
        let ranges = (0..facts.len()).map(range).collect();
        Self { assignments: assignments.collect(), facts, atoms, options, ranges }
    }

    /// Lets go of the facts that make no difference: of all where there is one option, and of those, in order, whose
    /// assignment the others tell all that matters of. A fact that the others tell altogether stays, as the account that
    /// comes with the principal: it may be the one that settles.
    pub(super) fn without_idle_facts(mut self) -> Self {
        if self.options.len() < 2 {
            return Self::plain(Vec::new(), self.atoms, self.options);
        }
        let mut index = 0;
        while index < self.facts.len() && self.facts.len() > 1 {
            let labelled = self.assignments.iter().all(|assignment| !assignment.labels.is_empty());
            let is_idle = labelled
                && self.is_told_without(index, |assignment| Some(assignment.option))
                && !self.is_told_without(index, |assignment| assignment.labels.get(index).copied());
            if is_idle {
                self.facts = without(&self.facts, index);
                self.ranges = without(&self.ranges, index);
                self.assignments
                    .iter_mut()
                    .for_each(|assignment| assignment.labels = without(&assignment.labels, index));
                let mut seen = BTreeSet::new();
                self.assignments.retain(|assignment| seen.insert((assignment.option, assignment.labels.clone())));
            } else {
                index += 1;
            }
        }
        self
    }

    /// Do the labels of the other facts tell this of every assignment?
    fn is_told_without(&self, index: usize, this: impl Fn(&Assignment) -> Option<usize>) -> bool {
        let mut told = HashMap::new();
        let agrees = |assignment: &Assignment| {
            let this = this(assignment);
            *told.entry(without(&assignment.labels, index)).or_insert(this) == this
        };
        self.assignments.iter().all(agrees)
    }
}

/// `list` without the item at `index`.
fn without(list: &[usize], index: usize) -> Vec<usize> {
    list.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, item)| *item).collect()
}
