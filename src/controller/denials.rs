//! The denials of one policy, as somebody wants to read them: by workload, not by pod.
//!
//! Twenty pods of one Deployment that cannot be pulled are one thing to mend, so they are one row. A pod that belongs to
//! nothing has a row of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::judged::{DeniedImage, Judged};
use crate::api::Denial;
use crate::api::status::MAX_DENIALS;
use crate::index::subjects::{Owner, TrackedObject};

/// Denials while they are gathered.
#[derive(Debug, Default)]
pub struct Denials {
    /// Rows, each with `pods: 0`, and how many pods are behind it.
    rows: BTreeMap<Denial, i64>,
    firsts: BTreeMap<u64, FirstDenial>,
}

/// The first that was found of a service account, repository and cause: who gets to hear of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstDenial {
    /// Stands for service account, repository and cause: see [`told_by`].
    pub key: u64,
    /// The workload or pod, as an Event refers to it.
    pub about: Owner,
    /// The image that cannot be pulled.
    pub image: String,
    /// What was judged: the workload, or a pod of it.
    pub tracked: Arc<TrackedObject>,
}

impl Denials {
    /// Adds what is denied of `tracked`, whose topmost owner is `root`.
    pub fn add(&mut self, tracked: &Arc<TrackedObject>, root: Option<Owner>, judged: &Judged) {
        let about = root.unwrap_or_else(|| tracked.reference());
        let mut rows = BTreeSet::new();
        for denied in &judged.denied {
            let Some(image) = tracked.subject.images.get(denied.index).map(|used| used.image.as_str()) else {
                continue;
            };
            let row = row(tracked, &about, image, denied);
            // What is exempted is meant to be so, and need not be told.
            if row.exemption.is_none() {
                let key = told_by(&row);
                self.firsts.entry(key).or_insert_with(|| FirstDenial {
                    key,
                    about: about.clone(),
                    image: image.to_owned(),
                    tracked: Arc::clone(tracked),
                });
            }
            rows.insert(row);
        }
        for row in rows {
            *self.rows.entry(row).or_default() += i64::from(!tracked.subject.template);
        }
    }

    /// The first rows in their order, at most [`MAX_DENIALS`]; how many are behind them; and the first of each kind.
    pub fn finish(self) -> (Vec<Denial>, i64, Vec<FirstDenial>) {
        let omitted = i64::try_from(self.rows.len().saturating_sub(MAX_DENIALS)).unwrap_or(i64::MAX);
        let rows = self.rows.into_iter().take(MAX_DENIALS).map(|(row, pods)| Denial { pods, ..row }).collect();
        (rows, omitted, self.firsts.into_values().collect())
    }
}

/// What one Event tells of: service account, repository (or the image, where it has none) and cause.
///
/// Rows of a status give the same key, which is how a new leader knows what was told before it.
pub fn told_by(row: &Denial) -> u64 {
    let mut hasher = DefaultHasher::new();
    let of = row.repository.as_ref().unwrap_or(&row.image);
    (&row.namespace, &row.service_account, of, &row.cause).hash(&mut hasher);
    hasher.finish()
}

fn row(tracked: &TrackedObject, about: &Owner, image: &str, denied: &DeniedImage) -> Denial {
    let mut row = Denial {
        namespace: tracked.subject.namespace.clone(),
        service_account: tracked.subject.service_account.clone(),
        kind: about.kind.clone(),
        name: about.name.clone(),
        pods: 0,
        image: image.to_owned(),
        repository: denied.repository.clone(),
        action: denied.action.map(str::to_owned),
        cause: denied.cause.map(|cause| cause.to_string()),
        exemption: denied.exemption.clone(),
    };
    row.cut();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_by_service_account_repository_and_cause_alone() {
        let row = Denial {
            namespace: "payments".to_owned(),
            service_account: "api".to_owned(),
            repository: Some("r".to_owned()),
            cause: Some("c".to_owned()),
            ..Denial::default()
        };
        let same = Denial { name: "other".to_owned(), pods: 3, image: "tag".to_owned(), ..row.clone() };
        assert_eq!(told_by(&row), told_by(&same));
        for other in [
            Denial { namespace: "search".to_owned(), ..row.clone() },
            Denial { service_account: "worker".to_owned(), ..row.clone() },
            Denial { repository: Some("r2".to_owned()), ..row.clone() },
            Denial { cause: Some("c2".to_owned()), ..row.clone() },
            Denial { repository: None, ..row.clone() },
        ] {
            assert_ne!(told_by(&row), told_by(&other), "{other:?}");
        }
    }
}
