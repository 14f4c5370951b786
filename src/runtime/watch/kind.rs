//! Rows of a table of kinds: how the objects of one kind are addressed, and which of them are wanted.

use ecr_forecast::text::{Unit, cut, escaped};

/// A kind of objects, as the API server is asked for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version of the group that is asked for first.
    pub version: &'static str,
    /// Versions that are asked for where that one is not served, of a kind that is [`optional`](Kind::optional).
    pub others: &'static [&'static str],
    /// `kind` of its objects.
    pub kind: &'static str,
    /// The resource, as it stands in paths. It names the kind in logs and metrics.
    pub plural: &'static str,
    /// Its objects are in namespaces.
    pub namespaced: bool,
    /// Only objects of this namespace; none: of every one.
    pub within: Option<&'static str>,
    /// Only objects with these labels, such as `team=a`.
    pub labels: Option<&'static str>,
    /// Only objects with these fields, such as `status.phase!=Failed`.
    pub fields: Option<&'static str>,
    /// The API server may not have it, or not give it out to us, today, never, or no more: then it has no objects.
    pub optional: bool,
    /// Objects per page of a list, at most.
    pub page_size: u32,
}

/// Objects per page that the API server's own tools ask for.
pub const PAGE_SIZE: u32 = 500;

/// A name that no object can have, so that it is not put into a URL.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no name of an object")]
pub struct NameError(pub String);

impl Kind {
    /// Every object of a kind that is in namespaces.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Kind {
        Kind {
            group,
            version,
            others: &[],
            kind,
            plural,
            namespaced: true,
            within: None,
            labels: None,
            fields: None,
            optional: false,
            page_size: PAGE_SIZE,
        }
    }

    /// Every object of a kind that is in no namespace.
    pub const fn of_cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Kind {
        Kind { namespaced: false, ..Kind::namespaced(group, version, kind, plural) }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The name of the resource with its group, as the CustomResourceDefinition of one is named.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The path of the objects in a namespace, or without one of those that the row is about.
    ///
    /// # Errors
    /// When `namespace` is no name.
    pub fn path(&self, namespace: Option<&str>) -> Result<String, NameError> {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let scope = match namespace.or(self.within).filter(|_| self.namespaced) {
            Some(namespace) => format!("namespaces/{}/", segment(namespace)?),
            None => String::new(),
        };
        Ok(format!("{root}/{}/{scope}{}", self.api_version(), self.plural))
    }
}

/// A name as part of a path: what the names of objects are made of ("Object Names and IDs"), nothing else. Nothing is
/// escaped on the way to the API server.
///
/// # Errors
/// When it is anything else.
pub fn segment(name: &str) -> Result<&str, NameError> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !name.is_empty() && name.chars().all(known) && name != "." && name != ".." {
        Ok(name)
    } else {
        Err(NameError(escaped(&cut(name, 260, Unit::Bytes)).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_get_into_a_path() {
        assert_eq!(segment("api-0.x"), Ok("api-0.x"));
        for name in ["", ".", "..", "a/b", "a?b", "Ü", "a b", "a%2fb", "A"] {
            assert_eq!(segment(name), Err(NameError(name.to_owned())));
        }
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let accounts = Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
        assert_eq!(accounts.path(None).unwrap(), "/api/v1/serviceaccounts");
        assert_eq!(accounts.path(Some("shop")).unwrap(), "/api/v1/namespaces/shop/serviceaccounts");
        assert_eq!(accounts.path(Some("../x")), Err(NameError("../x".to_owned())));
        let jobs = Kind { within: Some("default"), ..Kind::namespaced("batch", "v1", "Job", "jobs") };
        assert_eq!(jobs.path(None).unwrap(), "/apis/batch/v1/namespaces/default/jobs");
        assert_eq!(jobs.path(Some("shop")).unwrap(), "/apis/batch/v1/namespaces/shop/jobs");
        assert_eq!((jobs.api_version(), jobs.resource()), ("batch/v1".to_owned(), "jobs.batch".to_owned()));
        let namespaces = Kind::of_cluster("", "v1", "Namespace", "namespaces");
        assert_eq!(namespaces.path(Some("shop")).unwrap(), "/api/v1/namespaces");
        assert_eq!((namespaces.api_version(), namespaces.resource()), ("v1".to_owned(), "namespaces".to_owned()));
    }
}
