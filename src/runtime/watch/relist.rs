//! From the events of a watch to what changed, for any kind of object.
//!
//! A watch begins with a list, and begins again whenever the API server has forgotten where it stood. What the new
//! list lacks was deleted meanwhile, without any event. Nothing is taken away before the new list is complete: a
//! verdict never sees half a list.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Event;

/// What to do to the stored objects of one kind.
#[derive(Debug, Eq, PartialEq)]
pub struct Change<K, V> {
    /// New or changed objects.
    pub put: Vec<(K, V)>,
    /// Objects that are gone.
    pub removed: Vec<K>,
    /// A list was completed: all objects of the kind are known now.
    pub listed: bool,
}

impl<K, V> Change<K, V> {
    fn none() -> Change<K, V> {
        Change { put: Vec::new(), removed: Vec::new(), listed: false }
    }

    /// Nothing was put, nothing removed.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.removed.is_empty()
    }
}

/// Follows the watch of one kind: which keys are stored, and the list that is being received.
#[derive(Debug)]
pub struct Relist<K, V> {
    known: BTreeSet<K>,
    listing: Option<BTreeMap<K, V>>,
}

impl<K, V> Default for Relist<K, V> {
    fn default() -> Relist<K, V> {
        Relist { known: BTreeSet::new(), listing: None }
    }
}

impl<K: Clone + Ord, V> Relist<K, V> {
    /// Takes one event. `None` as the value of an object means that it is not wanted, as if it were deleted.
    pub fn apply(&mut self, event: Event<(K, Option<V>)>) -> Change<K, V> {
        let mut change = Change::none();
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply((key, value)) => {
                let listing = self.listing.get_or_insert_default();
                match value {
                    Some(value) => drop(listing.insert(key, value)),
                    None => drop(listing.remove(&key)),
                }
            }
            Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                let known: BTreeSet<K> = listing.keys().cloned().collect();
                change.removed = self.known.difference(&known).cloned().collect();
                change.put = listing.into_iter().collect();
                change.listed = true;
                self.known = known;
            }
            Event::Apply((key, Some(value))) => {
                self.known.insert(key.clone());
                change.put.push((key, value));
            }
            Event::Apply((key, None)) | Event::Delete((key, _)) => {
                if self.known.remove(&key) {
                    change.removed.push(key);
                }
            }
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Watch = Relist<&'static str, u32>;

    fn listed(watch: &mut Watch, objects: &[(&'static str, Option<u32>)]) -> Change<&'static str, u32> {
        assert_eq!(watch.apply(Event::Init), Change::none());
        for object in objects {
            assert_eq!(watch.apply(Event::InitApply(*object)), Change::none(), "half a list must not be seen");
        }
        watch.apply(Event::InitDone)
    }

    #[test]
    fn a_list_is_put_at_once_when_it_is_complete() {
        let change = listed(&mut Watch::default(), &[("b", Some(2)), ("a", Some(1)), ("skipped", None)]);
        assert_eq!(change, Change { put: vec![("a", 1), ("b", 2)], removed: vec![], listed: true });
    }

    #[test]
    fn what_a_new_list_lacks_is_removed() {
        let mut watch = Watch::default();
        listed(&mut watch, &[("a", Some(1)), ("b", Some(2))]);
        watch.apply(Event::Apply(("c", Some(3))));
        let change = listed(&mut watch, &[("b", Some(5)), ("d", Some(4))]);
        assert_eq!(change, Change { put: vec![("b", 5), ("d", 4)], removed: vec!["a", "c"], listed: true });
    }

    #[test]
    fn a_list_that_broke_off_leaves_everything_as_it_was() {
        let mut watch = Watch::default();
        listed(&mut watch, &[("a", Some(1))]);
        watch.apply(Event::Init);
        watch.apply(Event::InitApply(("half", Some(9))));
        // The API server hangs up, the watch begins again.
        assert_eq!(
            listed(&mut watch, &[("a", Some(1))]),
            Change { put: vec![("a", 1)], removed: vec![], listed: true }
        );
    }

    #[test]
    fn deletes_and_unwanted_objects_are_removed_once() {
        let mut watch = Watch::default();
        listed(&mut watch, &[("a", Some(1)), ("b", Some(2))]);
        let removed = |key| Change { put: vec![], removed: vec![key], listed: false };
        assert_eq!(watch.apply(Event::Delete(("a", Some(1)))), removed("a"));
        assert!(watch.apply(Event::Delete(("a", Some(1)))).is_empty());
        assert_eq!(watch.apply(Event::Apply(("b", None))), removed("b"));
        assert!(watch.apply(Event::Apply(("never seen", None))).is_empty());
        // Nothing is left for the next list to remove.
        assert_eq!(listed(&mut watch, &[]), Change { put: vec![], removed: vec![], listed: true });
    }
}
