//! Exemptions of a policy: images that are admitted for a while although they cannot be pulled.

use jiff::Timestamp;

use crate::ecr::image_pattern::ImagePattern;
use crate::policy::compiled::problem::Problem;
use crate::policy::{self, date_time};

/// An exemption, compiled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exemption {
    /// Its name, unique within its policy.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// The moment from which on it is gone.
    pub expires_at: Timestamp,
    namespaces: Option<Vec<String>>,
    service_accounts: Option<Vec<String>>,
    images: Vec<ImagePattern>,
}

impl Exemption {
    /// Reads the exemptions of a spec: the one that ends last first, then by name, since the order of the list is chance.
    ///
    /// # Errors
    /// For an end that is no moment; the schema excludes it.
    pub(crate) fn compile(exemptions: &[policy::Exemption]) -> Result<Vec<Self>, Problem> {
        let mut compiled = Vec::with_capacity(exemptions.len());
        for (index, exemption) in exemptions.iter().enumerate() {
            let path = format!("spec.exemptions[{index}].expiresAt");
            let expires_at = date_time(&exemption.expires_at)
                .ok_or_else(|| Problem::at(&path, format!("`{}` is no moment of RFC 3339", exemption.expires_at)))?;
            compiled.push(Self {
                name: exemption.name.clone(),
                reason: exemption.reason.clone(),
                expires_at,
                namespaces: exemption.namespaces.clone(),
                service_accounts: exemption.service_accounts.clone(),
                images: exemption.images.iter().map(|image| ImagePattern::new(image)).collect(),
            });
        }
        compiled.sort_by(|one, other| (other.expires_at, &one.name).cmp(&(one.expires_at, &other.name)));
        Ok(compiled)
    }

    /// Whether it is still there at the moment `at`.
    #[must_use]
    pub fn is_active(&self, at: Timestamp) -> bool {
        at < self.expires_at
    }

    /// Whether it is for this image of this service account.
    #[must_use]
    pub fn covers(&self, namespace: &str, service_account: &str, image: &str) -> bool {
        let listed = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|known| known == name))
        };
        listed(&self.namespaces, namespace)
            && listed(&self.service_accounts, service_account)
            && self.images.iter().any(|pattern| pattern.matches(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemption(name: &str, expires_at: &str) -> policy::Exemption {
        policy::Exemption {
            name: name.to_owned(),
            images: vec!["host/legacy/*".to_owned()],
            reason: "why".to_owned(),
            expires_at: expires_at.to_owned(),
            ..policy::Exemption::default()
        }
    }

    #[test]
    fn it_is_for_some_images_of_some_accounts() {
        let mut given = exemption("a", "2027-01-01T00:00:00Z");
        let covers = |given: &policy::Exemption, namespace: &str, account: &str, image: &str| {
            Exemption::compile(std::slice::from_ref(given)).unwrap()[0].covers(namespace, account, image)
        };
        assert!(covers(&given, "any", "any", "host/legacy/app:1"));
        assert!(!covers(&given, "any", "any", "host/other/app:1"));
        given.service_accounts = Some(vec!["api".to_owned()]);
        assert!(covers(&given, "any", "api", "host/legacy/app:1"));
        assert!(!covers(&given, "any", "apis", "host/legacy/app:1"));
        given.namespaces = Some(vec!["payments".to_owned()]);
        assert!(covers(&given, "payments", "api", "host/legacy/app:1"));
        assert!(!covers(&given, "any", "api", "host/legacy/app:1"));
    }

    #[test]
    fn it_ends_at_its_end_and_the_one_that_ends_last_comes_first() {
        let given = [
            exemption("b", "2027-01-01T00:00:00Z"),
            exemption("c", "2027-01-01T00:00:01Z"),
            exemption("a", "2027-01-01T01:00:00+01:00"),
        ];
        let compiled = Exemption::compile(&given).unwrap();
        assert_eq!(compiled.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
        let at = |text: &str| compiled[1].is_active(text.parse().unwrap());
        assert!(at("2026-12-31T23:59:59.999999999Z"));
        assert!(!at("2027-01-01T00:00:00Z"));
        let error = Exemption::compile(&[exemption("a", "tomorrow")]).unwrap_err();
        assert_eq!(error.to_string(), "`$.spec.exemptions[0].expiresAt`: `tomorrow` is no moment of RFC 3339");
    }
}
