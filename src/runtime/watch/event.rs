//! What a watch tells of the objects of one kind.

/// A list, and what changes behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<T> {
    /// A list begins, the first one or another one.
    Init,
    /// An object of the list.
    InitApply(T),
    /// The list is complete.
    InitDone,
    /// An object came or changed.
    Apply(T),
    /// An object is gone.
    Delete(T),
}

impl<T> Event<T> {
    /// The same about something else; `None` where `f` finds nothing to say.
    pub fn filter_map<U>(self, f: impl FnOnce(T) -> Option<U>) -> Option<Event<U>> {
        Some(match self {
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
            Event::InitApply(object) => Event::InitApply(f(object)?),
            Event::Apply(object) => Event::Apply(f(object)?),
            Event::Delete(object) => Event::Delete(f(object)?),
        })
    }
}
