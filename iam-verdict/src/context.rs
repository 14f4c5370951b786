//! What is known of the context keys of a request.

use std::collections::BTreeMap;

use crate::time;

/// What is known of one context key of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The key is in the request with these values. One value for a single-valued key; an empty list is a multivalued
    /// key without values, which counts as absent.
    Values(Vec<String>),
    /// The key is not in the request.
    Absent,
    /// Either the key is not in the request, or it has exactly these values (`aws:MultiFactorAuthPresent` of a role
    /// session: absent or `false`).
    AbsentOr(Vec<String>),
    /// The key is in the request; its value is not known.
    Present,
    /// Neither presence nor value is known.
    Unknown,
}

impl Fact {
    /// The fact of a key with one value.
    #[must_use]
    pub fn value(value: impl Into<String>) -> Self {
        Self::Values(vec![value.into()])
    }

    /// Whether the fact leaves a choice.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::AbsentOr(_) | Self::Present | Self::Unknown)
    }
}

/// The facts of a request by context key. Keys are case-insensitive ("IAM JSON policy elements: Condition").
///
/// ```
/// use iam_verdict::{Context, Fact};
/// // Complete: what is not set is absent. `with_unlisted` says otherwise.
/// let mut context = Context::new().with_unlisted(Fact::Unknown);
/// context.set("aws:SourceIp", Fact::value("192.0.2.1"));
/// context.set("aws:MultiFactorAuthPresent", Fact::AbsentOr(vec!["false".into()]));
/// assert_eq!(context.get("AWS:sourceip"), &Fact::value("192.0.2.1"));
/// assert_eq!(context.get("aws:SourceVpc"), &Fact::Unknown);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    facts: BTreeMap<String, Fact>,
    unlisted: Fact,
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    /// A complete context without any key: a key that is not set is [`Fact::Absent`].
    #[must_use]
    pub const fn new() -> Self {
        Self { facts: BTreeMap::new(), unlisted: Fact::Absent }
    }

    /// Says what holds of every key that is not set, for example [`Fact::Unknown`].
    #[must_use]
    pub fn with_unlisted(mut self, fact: Fact) -> Self {
        self.unlisted = fact;
        self
    }

    /// Sets what is known of `key`, in place of what was set before.
    pub fn set(&mut self, key: &str, fact: Fact) -> &mut Self {
        self.facts.insert(key.to_ascii_lowercase(), fact);
        self
    }

    /// As [`set`](Self::set), for building a context in one expression.
    #[must_use]
    pub fn with(mut self, key: &str, fact: Fact) -> Self {
        self.set(key, fact);
        self
    }

    /// What is known of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> &Fact {
        if key.bytes().any(|b| b.is_ascii_uppercase()) {
            self.lookup(&key.to_ascii_lowercase())
        } else {
            self.lookup(key)
        }
    }

    /// Sets the two keys that tell the time, which move together: `aws:EpochTime` and `aws:CurrentTime`.
    ///
    /// The engine reads no clock. Instants outside the years 0 to 9999, which have no date of four digits, count as the
    /// nearest that has one.
    ///
    /// ```
    /// use iam_verdict::{Context, Fact};
    /// let mut context = Context::new();
    /// context.set_time(1_717_200_000);
    /// assert_eq!(context.get("aws:CurrentTime"), &Fact::value("2024-06-01T00:00:00Z"));
    /// assert_eq!(context.get("aws:EpochTime"), &Fact::value("1717200000"));
    /// ```
    pub fn set_time(&mut self, epoch_seconds: i64) -> &mut Self {
        let seconds = time::clamp(epoch_seconds);
        self.set(time::EPOCH_TIME, Fact::value(seconds.to_string()));
        self.set(time::CURRENT_TIME, Fact::value(time::text(seconds)))
    }

    /// As [`set_time`](Self::set_time), for a chain of calls.
    #[must_use]
    pub fn with_time(mut self, epoch_seconds: i64) -> Self {
        self.set_time(epoch_seconds);
        self
    }

    /// As [`get`](Self::get) for a key that is lower-case already.
    pub(crate) fn lookup(&self, key: &str) -> &Fact {
        self.facts.get(key).unwrap_or(&self.unlisted)
    }

    /// The keys that were set, lower-cased and sorted, with what is known of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.facts.iter().map(|(key, fact)| (key.as_str(), fact))
    }
}
