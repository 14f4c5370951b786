//! An annotation of a service account that was perhaps meant to name the role that pulls.

use iam_verdict::mistyped;

use crate::ecr::arn::RoleArn;
use crate::facts::CauseCode;
use crate::inventory::ServiceAccountFacts;

/// An annotation of a service account that looks as if it should have named the role that pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MisspeltAnnotation {
    /// The annotation as it is.
    pub key: String,
    /// The role that it names, where it names one.
    pub role: Option<RoleArn>,
}

/// What names the role of a pod's own calls ("IAM roles for service accounts"). The kubelet does not read it.
pub(crate) const IRSA_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

/// Longest key of an annotation ("Annotations", Syntax and character set): the prefix, a slash and the name.
const LONGEST_KEY: usize = 253 + 1 + 63;

impl MisspeltAnnotation {
    /// The cause that it is.
    #[must_use]
    pub fn cause(&self) -> CauseCode {
        if self.key == IRSA_ANNOTATION { CauseCode::IrsaRoleDoesNotPull } else { CauseCode::AnnotationAlmostRight }
    }

    /// The same for a person.
    #[must_use]
    pub fn why(&self, annotation: &str) -> String {
        if self.key == IRSA_ANNOTATION {
            format!("its annotation {IRSA_ANNOTATION} is for what its pods do themselves; images want {annotation}")
        } else {
            format!("its annotation {} is not read; {annotation} is", self.key)
        }
    }
}

/// The annotation that was perhaps meant to be `annotation`: the same but for case, white space, underscores or a few
/// letters; else one that names a role and says that it is for ECR; else the one of IRSA.
#[must_use]
pub(crate) fn misspelt_annotation(annotation: &str, account: &ServiceAccountFacts) -> Option<MisspeltAnnotation> {
    if account.annotations.contains_key(annotation) {
        return None;
    }
    let plain = |key: &str| key.trim().to_ascii_lowercase().replace('_', "-");
    let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = plain(annotation);
    let is_default = annotation == crate::policy::DEFAULT_ROLE_ANNOTATION;
    let closeness = |key: &str, value: &str| {
        let given = plain(key);
        let role = RoleArn::parse(value.trim()).is_some();
        let for_ecr = is_default && role && given.contains("ecr") && given.contains("role");
        match () {
            // It is another annotation of Amazon EKS, however close.
            () if key == IRSA_ANNOTATION => (is_default && role).then_some(3),
            () if given == wanted => Some(0),
            () if (given.len() <= LONGEST_KEY && mistyped(&given, &wanted, 2).is_some())
                || (role && name(&given) == name(&wanted)) =>
            {
                Some(1)
            }
            () if for_ecr => Some(2),
            () => None,
        }
    };
    let found = account.annotations.iter().filter_map(|(key, value)| Some((closeness(key, value)?, key, value)));
    let (_, key, value) = found.min()?;
    Some(MisspeltAnnotation { key: key.clone(), role: RoleArn::parse(value.trim()) })
}

#[cfg(test)]
mod tests {
    use fixtures::ROLE;
    use serde_json::{Value, json};

    use super::*;

    fn account(annotations: Value) -> ServiceAccountFacts {
        let account = fixtures::marked(fixtures::service_account("api"), json!({}), annotations);
        ServiceAccountFacts::from_json(&account).unwrap()
    }

    #[test]
    fn an_annotation_that_is_almost_right() {
        let default = crate::policy::DEFAULT_ROLE_ANNOTATION;
        let of = |annotation: &str, annotations: Value| {
            misspelt_annotation(annotation, &account(annotations)).map(|found| (found.key.clone(), found.cause()))
        };
        for key in [
            "eks.amazonaws.com/ecr-role",
            "eks.amazonaws.com/ECR-role-arn",
            "eks.amazonaws.com/ecr_role_arn",
            "eks.amazonaws.com/ecr-role-arn ",
            "eks.amazonaws.com/ecr-rolearn",
            "eks.amazon.com/ecr-role-arn",
            "ecr-role-arn",
            "ecr.amazonaws.com/role-arn",
        ] {
            let found = of(default, json!({key: ROLE, "other": "x"}));
            assert_eq!(found, Some((key.to_owned(), CauseCode::AnnotationAlmostRight)), "{key}");
        }
        let irsa = json!({"eks.amazonaws.com/role-arn": ROLE});
        assert_eq!(of(default, irsa.clone()), Some((IRSA_ANNOTATION.to_owned(), CauseCode::IrsaRoleDoesNotPull)));
        // The one that says more comes before the one of IRSA.
        let both = json!({"eks.amazonaws.com/role-arn": ROLE, "eks.amazonaws.com/ecr-role": ROLE});
        assert_eq!(of(default, both).map(|found| found.1), Some(CauseCode::AnnotationAlmostRight));
        for annotations in [
            json!({}),
            json!({default: ROLE, "eks.amazonaws.com/ecr-role": ROLE}),
            json!({default: ""}),
            json!({"eks.amazonaws.com/sts-regional-endpoints": "true"}),
            json!({"ecr.example.com/role-of-team": "owner"}),
            json!({"eks.amazonaws.com/role-arn": "app"}),
        ] {
            assert_eq!(of(default, annotations.clone()), None, "{annotations}");
        }
        // An annotation of the cluster's own is not mistaken for the default one.
        assert_eq!(of("example.com/puller", json!({default: ROLE})), None);
        assert_eq!(of("example.com/puller", irsa), None);
        assert!(of("example.com/puller", json!({"example.com/pullers": "x"})).is_some());
    }
}
