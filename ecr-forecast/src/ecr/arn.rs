//! The ARN of an IAM role ("IAM identifiers": `arn:partition:iam::account:role/path/name`).

use std::fmt;

/// A role ARN with its parts at hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    text: String,
    partition: String,
    account: String,
    name: String,
}

impl RoleArn {
    /// Reads a role ARN; none when `text` is something else. Role names have up to 64 characters of `[\w+=,.@-]`, paths
    /// up to 512 printable ASCII characters ("IAM and AWS STS quotas").
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next()? != "arn" {
            return None;
        }
        let partition = parts.next()?;
        let service = parts.next()?;
        let region = parts.next()?;
        let account = parts.next()?;
        let path = parts.next()?.strip_prefix("role/")?;
        let name = path.rsplit('/').next()?;
        let partition_ok = (partition == "aws" || partition.starts_with("aws-"))
            && partition.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let account_ok = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let name_ok = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
        let path_ok = path.len() <= 512 + 64 && path.bytes().all(|b| b.is_ascii_graphic());
        (partition_ok && service == "iam" && region.is_empty() && account_ok && name_ok && path_ok).then(|| Self {
            text: text.to_owned(),
            partition: partition.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The whole ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The partition, for example `aws` or `aws-cn`.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The account id: twelve digits.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The name without the path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both name one role: names are unique in an account ("IAM identifiers"), so a path that one of them leaves out
    /// makes no other role.
    #[must_use]
    pub(crate) fn is_same_role(&self, other: &Self) -> bool {
        let path = |arn: &Self| arn.text.split_once(":role/").map_or(0, |(_, path)| path.len()) != arn.name.len();
        let whole = self.text == other.text || !path(self) || !path(other);
        whole && (&self.partition, &self.account, &self.name) == (&other.partition, &other.account, &other.name)
    }

    /// The ARN of a session of this role. It leaves out the role's path ("IAM JSON policy elements: Principal").
    #[must_use]
    pub fn session(&self, session: &str) -> String {
        format!("arn:{}:sts::{}:assumed-role/{}/{session}", self.partition, self.account, self.name)
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_roles_with_and_without_path() {
        let role = RoleArn::parse("arn:aws-cn:iam::111122223333:role/team/app").unwrap();
        assert_eq!((role.partition(), role.account(), role.name()), ("aws-cn", "111122223333", "app"));
        assert_eq!(role.session("s"), "arn:aws-cn:sts::111122223333:assumed-role/app/s");
        assert_eq!(RoleArn::parse("arn:aws:iam::111122223333:role/app").unwrap().name(), "app");
    }

    #[test]
    fn a_path_that_is_left_out_makes_no_other_role() {
        let role = |path: &str| RoleArn::parse(&format!("arn:aws:iam::111122223333:role/{path}")).unwrap();
        for (one, other, same) in [
            ("app", "app", true),
            ("app", "team/app", true),
            ("team/app", "team/app", true),
            ("team/app", "shop/app", false),
            ("app", "team/app2", false),
        ] {
            assert_eq!(role(one).is_same_role(&role(other)), same, "{one} {other}");
            assert_eq!(role(other).is_same_role(&role(one)), same, "{other} {one}");
        }
        let elsewhere = RoleArn::parse("arn:aws:iam::444455556666:role/team/app").unwrap();
        assert!(!role("app").is_same_role(&elsewhere));
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "app",
            "arn:aws:iam::111122223333:user/app",
            "arn:aws:iam::11112222333:role/app",
            "arn:aws:iam::1111222233334:role/app",
            "arn:aws:iam:us-east-1:111122223333:role/app",
            "arn:aws:sts::111122223333:assumed-role/app/s",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role/team/",
            "arn:aws:iam::111122223333:role/a b",
            "arn:evil:iam::111122223333:role/app",
            " arn:aws:iam::111122223333:role/app",
            "arn:aws:iam::111122223333:role/app\n",
        ] {
            assert_eq!(RoleArn::parse(text), None, "{text:?}");
        }
        assert!(RoleArn::parse(&format!("arn:aws:iam::111122223333:role/{}", "a".repeat(64))).is_some());
        assert!(RoleArn::parse(&format!("arn:aws:iam::111122223333:role/{}", "a".repeat(65))).is_none());
    }
}
