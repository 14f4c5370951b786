//! What a text has to look like to be a name, an ARN or a moment: the grammars of [`super::rules`], in Rust.

use super::spec::EVERY_REGION;

/// Is it the ARN of an IAM role, as [`super::rules::ROLE_ARN`] has it?
pub(super) fn is_role_arn(text: &str) -> bool {
    let Some((account, resource)) = iam_arn(text) else {
        return false;
    };
    is_account(account) && resource.strip_prefix("role/").is_some_and(|path| is_path_and_name(path, 64))
}

/// Is it the ARN of a managed policy, as [`super::rules::MANAGED_POLICY_ARN`] has it?
pub(super) fn is_managed_policy_arn(text: &str) -> bool {
    let Some((account, resource)) = iam_arn(text) else {
        return false;
    };
    (account == "aws" || is_account(account))
        && resource.strip_prefix("policy/").is_some_and(|path| is_path_and_name(path, 128))
}

/// Is it the ARN of a policy of an organization or of IAM, as [`super::rules::ORGANIZATION_POLICY_ARN`] has it?
pub(super) fn is_organization_policy_arn(text: &str) -> bool {
    let Some((account, resource)) = global_arn(text, "organizations") else {
        return is_managed_policy_arn(text);
    };
    (account == "aws" || is_account(account))
        && resource.strip_prefix("policy/").is_some_and(|path| {
            !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/-".contains(&b))
        })
}

/// Can a repository's ARN match this pattern, as [`super::rules::REPOSITORY_PATTERN`] has it?
pub(super) fn is_repository_pattern(text: &str) -> bool {
    let wild = |b: u8| matches!(b, b'*' | b'?');
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || wild(b))
    };
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["*"] => true,
        ["arn", partition, "ecr", region, account, resource] => {
            word(partition)
                && word(region)
                && (1..=12).contains(&account.len())
                && account.bytes().all(|b| b.is_ascii_digit() || wild(b))
                && resource.strip_prefix("repository/").is_some_and(|name| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b) || wild(b))
                })
        }
        _ => false,
    }
}

/// Is it the name of a condition key, as [`super::rules::CONTEXT_KEYS`] has it?
pub(super) fn is_condition_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(prefix, name)| {
        !prefix.is_empty()
            && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
            && !name.is_empty()
            && !name.contains('\n')
    })
}

pub(super) fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else { return text == EVERY_REGION };
    !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && words.contains('-')
        && words.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
}

pub(super) fn is_cache_prefix(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b);
    text == "ROOT"
        || ((2..=30).contains(&text.len())
            && text.bytes().all(good)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

pub(super) fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_ascii_control())
}

/// Account and resource of an IAM ARN of any partition.
fn iam_arn(text: &str) -> Option<(&str, &str)> {
    global_arn(text, "iam")
}

/// Account and resource of the ARN of a service without regions, of any partition.
fn global_arn<'a>(text: &'a str, service: &str) -> Option<(&'a str, &'a str)> {
    let (partition, rest) = text.strip_prefix("arn:aws")?.split_once(':')?;
    let rest = rest.strip_prefix(service)?.strip_prefix("::")?;
    if !partition.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return None;
    }
    rest.split_once(':')
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_path_and_name(text: &str, longest_name: usize) -> bool {
    let (path, name) = text.rsplit_once('/').map_or((None, text), |(path, name)| (Some(path), name));
    is_iam_name(name)
        && name.len() <= longest_name
        && path.is_none_or(|path| !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic()))
}

pub(super) fn is_iam_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

pub(super) fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(super) fn is_config_map_key(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(good)
}

pub(super) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && name.len() <= 63 && is_label_value(name)
}

pub(super) fn is_label_value(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text.chars().next().is_none_or(|c| c.is_ascii_alphanumeric())
        && text.chars().next_back().is_none_or(|c| c.is_ascii_alphanumeric())
}

/// The moment that a text names as the format `date-time` of the API server has it: a date and a time of RFC 3339 with
/// `T` between them, and an offset.
pub(crate) fn date_time(text: &str) -> Option<jiff::Timestamp> {
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

pub(super) fn is_exemption_name(text: &str) -> bool {
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(end) && text.ends_with(end) && text.chars().all(|c| end(c) || matches!(c, '-' | '.'))
}

pub(super) fn is_image_pattern(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '*')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@*-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_is_told_from_everything_that_looks_like_one() {
        for arn in [
            "arn:aws:iam::111122223333:role/app",
            "arn:aws-cn:iam::111122223333:role/app",
            "arn:aws-us-gov:iam::111122223333:role/a/deep/path/app",
            "arn:aws-eusc:iam::111122223333:role/aws-service-role/x.amazonaws.com/App_+=,.@-1",
        ] {
            assert!(is_role_arn(arn), "{arn}");
        }
        for arn in [
            "",
            "app",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role//app",
            "arn:aws:iam::111122223333:role/app/",
            "arn:aws:iam::111122223333:role/app app",
            "arn:aws:iam::11112222333:role/app",
            "arn:aws:iam::aws:role/app",
            "arn:aws:iam:us-east-1:111122223333:role/app",
            "arn:AWS:iam::111122223333:role/app",
            "arn:aws:iam::111122223333:user/app",
            "arn:aws:iam::111122223333:instance-profile/app",
            "arn:aws:sts::111122223333:assumed-role/app/session",
            "arn:aws:iam::111122223333:role/app\n",
            &format!("arn:aws:iam::111122223333:role/{}", "a".repeat(65)),
        ] {
            assert!(!is_role_arn(arn), "{arn}");
        }
    }

    #[test]
    fn a_managed_policy_is_of_aws_or_of_an_account() {
        assert!(is_managed_policy_arn("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"));
        assert!(is_managed_policy_arn("arn:aws-cn:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"));
        assert!(is_managed_policy_arn("arn:aws:iam::111122223333:policy/mine"));
        assert!(!is_managed_policy_arn("arn:aws:iam::amazon:policy/mine"));
        assert!(!is_managed_policy_arn("arn:aws:iam::111122223333:role/mine"));
        assert!(!is_managed_policy_arn("AmazonEC2ContainerRegistryPullOnly"));
        assert!(!is_managed_policy_arn("arn:aws:iam::aws:policy/"));
    }

    #[test]
    fn an_organizations_policy_has_an_arn_of_its_own() {
        for arn in [
            "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess",
            "arn:aws-us-gov:organizations::aws:policy/resource_control_policy/p-RCPFullAWSAccess",
            "arn:aws:organizations::111122223333:policy/o-abc123/service_control_policy/p-1a2b3c",
            "arn:aws:iam::aws:policy/AdministratorAccess",
        ] {
            assert!(is_organization_policy_arn(arn), "{arn}");
        }
        for arn in [
            "FullAWSAccess",
            "p-FullAWSAccess",
            "arn:aws:organizations::aws:policy/",
            "arn:aws:organizations::aws:ou/o-abc123/ou-ab12-1",
            "arn:aws:organizations:us-east-1:aws:policy/service_control_policy/p-FullAWSAccess",
        ] {
            assert!(!is_organization_policy_arn(arn), "{arn}");
        }
    }

    #[test]
    fn a_pattern_of_repositories_can_match_one() {
        for pattern in [
            "*",
            "arn:aws:ecr:us-east-1:111122223333:repository/app",
            "arn:aws:ecr:us-east-1:111122223333:repository/*",
            "arn:*:ecr:*:*:repository/team-?/a_b.c/*",
            "arn:aws-cn:ecr:cn-*:11112222????:repository/docker-hub/library/nginx",
        ] {
            assert!(is_repository_pattern(pattern), "{pattern}");
        }
        for pattern in [
            "",
            "team/*",
            "repository/team/*",
            "arn:aws:ecr:us-east-1:111122223333:team/app",
            "arn:aws:ecr:us-east-1:111122223333:repository/",
            "arn:aws:ecr:us-east-1:111122223333:repository/App",
            "arn:aws:ecr:us-east-1:1111222233334:repository/app",
            "arn:aws:ecr:us-east-1::repository/app",
            "arn:aws:ecr:us-east-1:111122223333:repository/app:1.0",
            "arn:aws:s3:us-east-1:111122223333:repository/app",
            "111122223333.dkr.ecr.us-east-1.amazonaws.com/app",
        ] {
            assert!(!is_repository_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn names_of_regions_prefixes_keys_and_levels() {
        for (region, holds) in [
            ("us-east-1", true),
            ("us-gov-west-1", true),
            ("ap-southeast-10", true),
            ("eusc-de-east-1", true),
            ("*", true),
            ("", false),
            ("us-east", false),
            ("us-1", false),
            ("us-*", false),
            ("us-east-1a", false),
            ("US-EAST-1", false),
        ] {
            assert_eq!(is_region(region), holds, "{region}");
        }
        for (prefix, holds) in [
            ("docker-hub", true),
            ("ROOT", true),
            ("ab", true),
            ("team-a/quay/", true),
            ("a", false),
            ("Docker", false),
            ("root*", false),
            ("/ab", false),
            (&"a".repeat(30), true),
            (&"a".repeat(31), false),
        ] {
            assert_eq!(is_cache_prefix(prefix), holds, "{prefix}");
        }
        for (key, holds) in [
            ("aws:SourceVpc", true),
            ("aws:PrincipalTag/cost center", true),
            ("oidc.eks.us-east-1.amazonaws.com/id/0123:sub", true),
            ("SourceVpc", false),
            ("aws:", false),
            (":SourceVpc", false),
            ("a b:c", false),
            ("aws:a\nb", false),
        ] {
            assert_eq!(is_condition_key(key), holds, "{key}");
        }
        assert!(is_plain_name("Prod OU (é)") && !is_plain_name("") && !is_plain_name("a\tb"));
    }

    #[test]
    fn names_follow_the_rules_of_kubernetes() {
        for (name, holds) in [
            ("api", true),
            ("a.b-c.d", true),
            ("", false),
            ("Api", false),
            ("a..b", false),
            ("-a", false),
            ("a/b", false),
        ] {
            assert_eq!(is_dns_subdomain(name), holds, "{name}");
        }
        assert!(is_dns_label("team-a") && !is_dns_label("team.a"));
        for (key, holds) in [
            ("app.json", true),
            ("A_b-c", true),
            ("...", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
        ] {
            assert_eq!(is_config_map_key(key), holds, "{key}");
        }
        for (key, holds) in [
            ("eks.amazonaws.com/ecr-role-arn", true),
            ("Role_arn", true),
            ("", false),
            ("x/", false),
            ("/x", false),
            ("X.com/y", false),
            ("a/b/c", false),
            ("é", false),
        ] {
            assert_eq!(is_qualified_name(key), holds, "{key}");
        }
        assert!(is_qualified_name(&"a".repeat(63)) && !is_qualified_name(&"a".repeat(64)));
        for (value, holds) in [("", true), ("a", true), ("a_b.C", true), ("-a", false), ("a b", false), ("a.", false)] {
            assert_eq!(is_label_value(value), holds, "{value}");
        }
    }

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
