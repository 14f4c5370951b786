//! The values of condition keys that a policy object declares.

use std::collections::BTreeMap;

/// The condition keys that the user knows of, with their values.
///
/// Several values of a key that holds one are alternatives; of a key that holds several they are its values. No value
/// says that the key is not in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextValues(BTreeMap<String, Values>);

/// A key as it was written, and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values {
    written: String,
    values: Vec<String>,
}

impl ContextValues {
    /// Sets the values of a key. Keys are compared without regard to case; the last one set counts.
    pub fn set(&mut self, key: &str, values: Vec<String>) {
        self.0.insert(key.to_ascii_lowercase(), Values { written: key.to_owned(), values });
    }

    /// The values of a key, where the user gave it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(|found| found.values.as_slice())
    }

    /// How the user wrote a key.
    #[must_use]
    pub fn written(&self, key: &str) -> Option<&str> {
        self.0.get(&key.to_ascii_lowercase()).map(|found| found.written.as_str())
    }

    /// The keys, lower-cased and sorted, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, found)| (key.as_str(), found.values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keys_have_no_case() {
        let mut context = ContextValues::default();
        context.set("aws:SourceVpc", vec!["vpc-1".into()]);
        assert_eq!(context.get("AWS:sourcevpc"), Some(["vpc-1".to_owned()].as_slice()));
        assert_eq!(context.written("aws:sourcevpc"), Some("aws:SourceVpc"));
        context.set("AWS:SOURCEVPC", vec![]);
        assert_eq!(context.get("aws:SourceVpc"), Some([].as_slice()));
        assert_eq!(context.get("aws:SourceVpce"), None);
    }
}
