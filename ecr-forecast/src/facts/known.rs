//! A fact with where it comes from and as of when.

use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::config_map::ConfigMapKey;
use crate::facts::cause_code::CauseCode;

/// Something that a verdict rests on, as one place has it: a key of a ConfigMap, where nothing else is said.
#[derive(Clone, Debug)]
pub(crate) struct Known<T, S = ConfigMapKey> {
    /// It, or why it cannot be read.
    pub value: Result<T, Unread>,
    /// Where it stands.
    pub from: S,
    /// As of when; none where nothing is there, and where that has neither version nor time, as in a file.
    pub as_of: Option<AsOf>,
}

/// As of when a fact was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum AsOf {
    /// In this state of the object that has it: one state says one thing.
    Version(Arc<Version>),
    /// At this time.
    Time(Timestamp),
}

/// Why a fact cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unread {
    /// What is wrong with it, and where in its object as a JSON path; none where it is not there.
    pub wrong: Option<(CauseCode, String)>,
    /// Why, for a person.
    pub why: String,
    /// What can be done.
    pub way_out: String,
}

/// A state of an object of the API server ("API Concepts", Resource versions).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

impl<T: PartialEq, S: PartialEq> Known<T, S> {
    /// Whether a verdict comes out the same with `other` in the place of this.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_state = matches!(self.as_of, Some(AsOf::Version(_))) && self.as_of == other.as_of;
        self.from == other.from && (same_state || self.value == other.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config_map::ConfigMapName;

    fn known(key: &str, version: Option<&str>, value: Result<u8, &str>) -> Known<u8> {
        let config_map = ConfigMapName { namespace: "shop".to_owned(), name: "iam".to_owned() };
        let as_of = version.map(|text| Version { uid: Some("u".to_owned()), resource_version: text.to_owned() });
        Known {
            value: value.map_err(|why| Unread { wrong: None, why: why.to_owned(), way_out: String::new() }),
            from: ConfigMapKey { config_map, key: key.to_owned() },
            as_of: as_of.map(|version| AsOf::Version(Arc::new(version))),
        }
    }

    #[test]
    fn it_is_the_same_in_one_state_of_its_object_and_where_it_says_the_same() {
        let one = known("a", Some("1"), Ok(1));
        for (other, same) in [
            (known("a", Some("1"), Ok(1)), true),
            (known("a", Some("2"), Ok(1)), true),
            (known("a", Some("2"), Ok(2)), false),
            (known("b", Some("1"), Ok(1)), false),
            (known("a", None, Ok(2)), false),
            (known("a", None, Err("gone")), false),
        ] {
            assert_eq!((one.is_same(&other), other.is_same(&one)), (same, same), "{other:?}");
        }
        // In one moment two things may have been said.
        let timed = |value| Known { as_of: Some(AsOf::Time(Timestamp::UNIX_EPOCH)), ..known("a", None, value) };
        assert!(timed(Ok(1)).is_same(&timed(Ok(1))) && !timed(Ok(1)).is_same(&timed(Ok(2))));
        // What has no version is told by what it says alone.
        assert!(!known("a", None, Ok(1)).is_same(&known("a", None, Ok(2))));
        assert!(known("a", None, Err("gone")).is_same(&known("a", None, Err("gone"))));
        assert!(!known("a", None, Err("gone")).is_same(&known("a", None, Err("no key"))));
    }
}
