//! Who says what is known of AWS, where no policy object does.

use std::fmt;

use crate::cluster::ObjectRef;

/// Where facts come from that no policy object declares: a file, an object of the cluster, AWS itself. Displayed as it is
/// called.
///
/// Of several sources that have one fact the first in their order is heard: the one with the lowest number, then the first
/// by name. It is no matter of chance, nor of which came first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Source {
    order: u8,
    name: String,
    object: Option<ObjectRef>,
}

impl Source {
    /// A source that is no object of the cluster, such as `file roles.yaml`.
    #[must_use]
    pub fn new(order: u8, name: impl Into<String>) -> Self {
        Self { order, name: name.into(), object: None }
    }

    /// An object of the cluster, called by its name: verdicts rest on it.
    #[must_use]
    pub fn of_object(order: u8, object: ObjectRef) -> Self {
        Self { order, name: object.to_string(), object: Some(object) }
    }

    /// The object that it is.
    pub(crate) const fn object(&self) -> Option<&ObjectRef> {
        self.object.as_ref()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
