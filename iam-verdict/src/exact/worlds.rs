//! The worlds of a model: the decision in each, and which facts tell them apart.

use std::collections::HashMap;

use super::count::{MAX_WORLDS, at, count_up, set};
use super::model::{Live, MAX_ATOMS, Model};
use crate::decision::Decision;
use crate::layers::bit;

/// Facts in play up to which decisions are exact.
const MAX_FACTS: usize = 6;

impl Model<'_> {
    /// The decision of every world, in mixed radix over the dimensions; none beyond the bound.
    pub(crate) fn worlds(&self) -> Option<Vec<Decision>> {
        if self.facts.len() > MAX_FACTS || self.atoms.len() > MAX_ATOMS {
            return None;
        }
        let count = self.dimensions.iter().try_fold(1_usize, |product, dimension| {
            product.checked_mul(dimension.options.len()).filter(|product| *product <= MAX_WORLDS)
        })?;
        let mut chosen = vec![0_usize; self.dimensions.len()];
        let mut truth = vec![false; self.atoms.len()];
        let mut decisions = Vec::with_capacity(count);
        for _ in 0..count {
            for (dimension, option) in self.dimensions.iter().zip(&chosen) {
                for (atom, value) in dimension.atoms.iter().zip(dimension.options.get(*option).into_iter().flatten()) {
                    set(&mut truth, *atom, *value);
                }
            }
            decisions.push(self.world(&truth));
            count_up(&mut chosen, self.dimensions.iter().map(|dimension| dimension.options.len()));
        }
        Some(decisions)
    }

    fn world(&self, truth: &[bool]) -> Decision {
        let holds = |live: &&Live| live.atoms.iter().all(|atom| at(truth, *atom));
        let bits = self.live.iter().filter(holds).fold(self.certain, |sum, live| sum | live.sets);
        let same = match self.same {
            Ok(same) => same,
            Err(atom) => at(truth, atom),
        };
        if bits & bit::DENY != 0 {
            Decision::ExplicitlyDenied
        } else if self.frame.grants(bits, same) {
            Decision::Allowed
        } else {
            Decision::ImplicitlyDenied
        }
    }

    /// Whether the decision is definite as soon as the `kept` facts are known.
    pub(crate) fn settles(&self, worlds: &[Decision], kept: &[bool]) -> bool {
        let mut groups: HashMap<usize, bool> = HashMap::new();
        let mut chosen = vec![0_usize; self.dimensions.len()];
        loop {
            let mut world = 0;
            let mut stride = 1;
            // The labels of the kept facts as one number.
            let mut group = 0_usize;
            for (dimension, assignment) in self.dimensions.iter().zip(&chosen) {
                let Some(assignment) = dimension.assignments.get(*assignment) else { continue };
                world += assignment.option * stride;
                stride *= dimension.options.len().max(1);
                let mut put = |label: usize, range: usize| group = group.wrapping_mul(range).wrapping_add(label);
                if assignment.labels.is_empty() {
                    if dimension.facts.iter().all(|fact| at(kept, *fact)) {
                        put(assignment.option, dimension.options.len());
                    }
                    continue;
                }
                for ((fact, label), range) in dimension.facts.iter().zip(&assignment.labels).zip(&dimension.ranges) {
                    if at(kept, *fact) {
                        put(*label, *range);
                    }
                }
            }
            let allowed = worlds.get(world) == Some(&Decision::Allowed);
            if *groups.entry(group).or_insert(allowed) != allowed {
                return false;
            }
            let sizes = self.dimensions.iter().map(|dimension| dimension.assignments.len());
            if !count_up(&mut chosen, sizes) {
                return true;
            }
        }
    }

    /// Assignments of all dimensions, where they are few enough to look at each.
    pub(crate) fn is_small(&self) -> bool {
        let sizes = self.dimensions.iter().map(|dimension| dimension.assignments.len());
        sizes
            .into_iter()
            .try_fold(1_usize, |product, size| product.checked_mul(size))
            .is_some_and(|all| all <= MAX_WORLDS)
    }
}
