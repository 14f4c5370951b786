//! Facts that are filled together, and what their fillings make of the atoms.

use std::collections::{BTreeSet, HashMap};

/// Atoms that move together, with the combinations they can take.
pub(super) struct Dimension {
    pub(super) facts: Vec<usize>,
    pub(super) atoms: Vec<usize>,
    pub(super) options: Vec<Vec<bool>>,
    pub(super) fillings: Vec<Filling>,
    /// How many labels each of the facts has.
    pub(super) ranges: Vec<usize>,
}

/// One way to fill the facts of a dimension, as far as ways are told apart.
pub(super) struct Filling {
    pub(super) option: usize,
    /// What it makes of each of the facts, by number; none where only all of them together tell something.
    pub(super) labels: Vec<usize>,
}

impl Dimension {
    /// Every option is a filling of its own.
    pub(super) fn plain(facts: Vec<usize>, atoms: Vec<usize>, options: Vec<Vec<bool>>) -> Self {
        let alone = facts.len() == 1;
        let filling = |option| Filling { option, labels: if alone { vec![option] } else { Vec::new() } };
        let fillings = (0..options.len()).map(filling).collect();
        let ranges = vec![options.len(); facts.len()];
        Self { facts, atoms, options, fillings, ranges }
    }

    /// Fillings of several facts, each with its labels and what it makes of the atoms.
    pub(super) fn labelled(facts: Vec<usize>, atoms: Vec<usize>, all: BTreeSet<(Vec<usize>, Vec<bool>)>) -> Self {
        let distinct: BTreeSet<&Vec<bool>> = all.iter().map(|(_, vector)| vector).collect();
        let options: Vec<Vec<bool>> = distinct.into_iter().cloned().collect();
        let place = |vector: &Vec<bool>| options.binary_search(vector).unwrap_or_default();
        let fillings = all.iter().map(|(labels, vector)| Filling { option: place(vector), labels: labels.clone() });
        let range = |at: usize| all.iter().filter_map(|(labels, _)| labels.get(at)).max().map_or(1, |most| most + 1);
        let ranges = (0..facts.len()).map(range).collect();
        Self { fillings: fillings.collect(), facts, atoms, options, ranges }
    }

    /// Lets go of the facts that make no difference: of all where there is one option, and of those, in order, whose
    /// filling the others tell all that matters of. A fact that the others tell altogether stays, as the account that
    /// comes with the principal: it may be the one that settles.
    pub(super) fn without_idle_facts(mut self) -> Self {
        if self.options.len() < 2 {
            return Self::plain(Vec::new(), self.atoms, self.options);
        }
        let mut index = 0;
        while index < self.facts.len() && self.facts.len() > 1 {
            let labelled = self.fillings.iter().all(|filling| !filling.labels.is_empty());
            let is_idle = labelled
                && self.is_told_without(index, |filling| Some(filling.option))
                && !self.is_told_without(index, |filling| filling.labels.get(index).copied());
            if is_idle {
                self.facts = without(&self.facts, index);
                self.ranges = without(&self.ranges, index);
                self.fillings.iter_mut().for_each(|filling| filling.labels = without(&filling.labels, index));
                let mut seen = BTreeSet::new();
                self.fillings.retain(|filling| seen.insert((filling.option, filling.labels.clone())));
            } else {
                index += 1;
            }
        }
        self
    }

    /// Do the labels of the other facts tell this of every filling?
    fn is_told_without(&self, index: usize, this: impl Fn(&Filling) -> Option<usize>) -> bool {
        let mut told = HashMap::new();
        let agrees = |filling: &Filling| {
            let this = this(filling);
            *told.entry(without(&filling.labels, index)).or_insert(this) == this
        };
        self.fillings.iter().all(agrees)
    }
}

/// `list` without the item at `index`.
fn without(list: &[usize], index: usize) -> Vec<usize> {
    list.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, item)| *item).collect()
}
