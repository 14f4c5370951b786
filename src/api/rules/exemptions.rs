//! The rules of exemptions.

use super::super::spec::Exemption;
use super::{Rule, SERVICE_ACCOUNT_NAME, Violations, is_dns_subdomain, is_plain_name};

/// The name of an exemption: a word to be told and searched for.
pub const EXEMPTION_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    message: "must be a name of lower-case letters, digits, - and ., such as legacy-images",
    field: "",
};

/// The characters of image references ("distribution", Reference grammar), and `*`.
pub const IMAGE_PATTERN: Rule = Rule {
    cel: "self.matches('^[A-Za-z0-9*][A-Za-z0-9._:/@*-]*$')",
    message: "must be an image reference in which * stands for any text, such as \
              111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*",
    field: "",
};

/// Why an exemption is there, fit to be shown in one line.
pub const EXEMPTION_REASON: Rule = Rule {
    cel: "self.matches('^[^[:cntrl:]]*[^[:cntrl:] ][^[:cntrl:]]*$')",
    message: "must say why in one line, without line breaks and other control characters: whoever reads the warning sees it",
    field: "",
};

/// The name of a namespace ("Object Names and IDs", RFC 1123 Label Names).
pub const NAMESPACE_NAME: Rule = Rule {
    cel: "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    message: "must be the name of a namespace: lower-case letters, digits and -",
    field: "",
};

/// Everywhere in the cluster somebody may make a service account of any name.
pub const ACCOUNTS_OF_NAMESPACES: Rule = Rule {
    cel: "!has(self.serviceAccounts) || has(self.namespaces)",
    message: "serviceAccounts must come with namespaces: in any other namespace its owners may make an account of that name, \
              and exempt themselves",
    field: "",
};

/// What a user reads where a moment is none: the words of the API server, and more.
const NO_MOMENT: &str = "must be of type date-time, as RFC 3339 has it, such as 2027-03-31T00:00:00Z";

impl Violations {
    /// Looks at the exemptions of a policy, of the cluster kind or not.
    pub(super) fn exemptions(&mut self, path: &str, exemptions: &[Exemption], cluster: bool) {
        for (index, exemption) in exemptions.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Exemption { name, namespaces, service_accounts, images, reason, expires_at } = exemption;
            self.unless(is_exemption_name(name), &format!("{path}.name"), &EXEMPTION_NAME);
            if let Some(namespaces) = namespaces {
                let is_name = |name: &str| is_dns_subdomain(name) && !name.contains('.');
                self.names(&format!("{path}.namespaces"), namespaces, is_name, &NAMESPACE_NAME);
            }
            if let Some(accounts) = service_accounts {
                self.names(&format!("{path}.serviceAccounts"), accounts, is_dns_subdomain, &SERVICE_ACCOUNT_NAME);
                self.unless(!cluster || namespaces.is_some(), &path, &ACCOUNTS_OF_NAMESPACES);
            }
            self.names(&format!("{path}.images"), images, is_image_pattern, &IMAGE_PATTERN);
            let told = is_plain_name(reason) && !reason.trim_matches(' ').is_empty();
            self.unless(told, &format!("{path}.reason"), &EXEMPTION_REASON);
            if date_time(expires_at).is_none() {
                self.add(&format!("{path}.expiresAt"), NO_MOMENT);
            }
        }
        self.unique(path, exemptions.iter().map(|exemption| exemption.name.as_str()));
    }
}

/// The moment that a text names as the format `date-time` of the API server has it: a date and a time of RFC 3339 with
/// `T` between them, and an offset.
pub fn date_time(text: &str) -> Option<jiff::Timestamp> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c.to_ascii_uppercase() }).collect();
    let rest = shape.strip_prefix("0000-00-00T00:00:00")?;
    let fraction = rest.strip_prefix('.').map(|rest| (rest, rest.trim_start_matches('0')));
    let offset = match fraction {
        // Nanoseconds are as far as anybody counts.
        Some((digits, offset)) if (1..=9).contains(&(digits.len() - offset.len())) => offset,
        Some(_) => return None,
        None => rest,
    };
    if !matches!(offset, "Z" | "+00:00" | "-00:00") {
        return None;
    }
    text.to_ascii_uppercase().parse().ok()
}

fn is_exemption_name(text: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(end) && text.ends_with(end) && text.chars().all(|c| end(c) || matches!(c, '-' | '.'))
}

fn is_image_pattern(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '*')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@*-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_and_a_time_with_its_offset() {
        for (text, moment) in [
            ("2027-03-31T00:00:00Z", Some("2027-03-31T00:00:00Z")),
            ("2027-03-31t00:00:00z", Some("2027-03-31T00:00:00Z")),
            ("2027-03-31T00:00:00.5Z", Some("2027-03-31T00:00:00.5Z")),
            ("2027-03-31T02:00:00+02:00", Some("2027-03-31T00:00:00Z")),
            ("2027-03-31T00:00:00-00:30", Some("2027-03-31T00:30:00Z")),
            ("2027-03-31", None),
            ("2027-03-31T00:00Z", None),
            ("2027-03-31T00:00:00", None),
            ("2027-03-31 00:00:00Z", None),
            ("2027-02-30T00:00:00Z", None),
            ("2027-03-31T25:00:00Z", None),
            ("2027-03-31T00:00:00.Z", None),
            ("2027-03-31T00:00:00Z[UTC]", None),
            ("in March", None),
            ("", None),
        ] {
            assert_eq!(date_time(text), moment.map(|moment| moment.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn names_and_images_of_exemptions() {
        for (name, holds) in
            [("legacy-images", true), ("a", true), ("v1.2", true), ("", false), ("Legacy", false), ("a-", false)]
        {
            assert_eq!(is_exemption_name(name), holds, "{name}");
        }
        for (image, holds) in [
            ("111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*", true),
            ("*", true),
            ("host:443/App_1/x:1.*@sha256:0", true),
            ("", false),
            ("/legacy", false),
            ("host/legacy?", false),
            ("host/a b", false),
        ] {
            assert_eq!(is_image_pattern(image), holds, "{image}");
        }
    }
}
