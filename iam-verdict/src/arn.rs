//! The few things evaluation reads from an ARN ("Amazon Resource Names (ARNs)"): `arn:partition:service:region:account:resource`.

/// The account field of an ARN; none where it is empty or the text is no ARN.
pub(crate) fn account(arn: &str) -> Option<&str> {
    let mut rest = arn.strip_prefix("arn:")?;
    for _ in 0..3 {
        rest = after_colon(rest)?.1;
    }
    let (account, _) = after_colon(rest)?;
    (!account.is_empty()).then_some(account)
}

/// What stands before the first colon and after it. Fields are short: a plain loop is faster than a prepared search.
fn after_colon(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == b':')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Whether `text` is twelve digits.
pub(crate) fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The account of `arn:…:iam::ACCOUNT:root`.
pub(crate) fn account_of_root(arn: &str) -> Option<&str> {
    let account = account(arn)?;
    (is_iam(arn, "iam") && arn.splitn(6, ':').nth(5) == Some("root")).then_some(account)
}

/// `arn:P:sts::A:assumed-role/NAME/SESSION` read as `(P, A, NAME, SESSION)`.
pub(crate) fn session_parts(arn: &str) -> Option<(&str, &str, &str, &str)> {
    if !is_iam(arn, "sts") {
        return None;
    }
    let partition = arn.split(':').nth(1)?;
    let resource = arn.splitn(6, ':').nth(5)?;
    let (name, session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
    Some((partition, account(arn)?, name, session))
}

/// The ARN of the role of a session. A session ARN leaves out the path of its role, so this is the role without a path.
pub(crate) fn role_of_session(arn: &str) -> Option<String> {
    let (partition, account, name, _) = session_parts(arn)?;
    Some(format!("arn:{partition}:iam::{account}:role/{name}"))
}

/// Whether the ARN names a role.
pub(crate) fn is_role(arn: &str) -> bool {
    is_iam(arn, "iam") && arn.splitn(6, ':').nth(5).is_some_and(|resource| resource.starts_with("role/"))
}

/// Whether the role of a principal, whose path may have been left out, is the one that a policy names. Names are unique in
/// an account whatever their paths ("IAM identifiers"), so a name alone is enough; a path that is known is compared.
pub(crate) fn is_role_of_name(principal: &str, named: &str) -> bool {
    let (Some(role), Some(wanted)) = (role_parts(principal), role_parts(named)) else { return false };
    (role.0, role.2) == (wanted.0, wanted.2) && (role.1.is_empty() || role.1 == wanted.1)
}

/// `arn:P:iam::A:role/PATH/NAME` read as what stands before the path, the path, and the name.
fn role_parts(arn: &str) -> Option<(&str, &str, &str)> {
    let at = arn.find(":role/")? + ":role/".len();
    let (head, rest) = is_role(arn).then(|| arn.split_at_checked(at))??;
    let (path, name) = rest.rsplit_once('/').unwrap_or(("", rest));
    Some((head, path, name))
}

/// Whether the session ARN `session` can be one of the role `role`: same partition and account, and the
/// last part of the role's path.
pub(crate) fn session_may_be_of(session: &str, role: &str) -> bool {
    let Some((partition, of, name, _)) = session_parts(session) else { return false };
    let there = role.split(':').nth(1) == Some(partition) && account(role) == Some(of);
    is_role(role) && there && role.rsplit('/').next() == Some(name)
}

/// Whether the ARN is one of this global service: principals have no region.
fn is_iam(arn: &str, service: &str) -> bool {
    let mut parts = arn.split(':');
    parts.next() == Some("arn")
        && parts.next().is_some()
        && parts.next() == Some(service)
        && parts.next().is_some_and(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accounts() {
        assert_eq!(account("arn:aws:iam::111122223333:role/a"), Some("111122223333"));
        assert_eq!(account("arn:aws:s3:::bucket"), None);
        assert_eq!(account("111122223333"), None);
        assert_eq!(account_of_root("arn:aws-cn:iam::111122223333:root"), Some("111122223333"));
        assert_eq!(account_of_root("arn:aws:iam::111122223333:role/root"), None);
    }

    #[test]
    fn derives_the_role_of_a_session() {
        let session = "arn:aws:sts::111122223333:assumed-role/app/s-1";
        assert_eq!(role_of_session(session).as_deref(), Some("arn:aws:iam::111122223333:role/app"));
        assert_eq!(role_of_session("arn:aws:iam::111122223333:role/app"), None);
        assert!(session_may_be_of(session, "arn:aws:iam::111122223333:role/path/app"));
        assert!(!session_may_be_of(session, "arn:aws:iam::111122223333:role/other"));
        assert!(!session_may_be_of(session, "arn:aws:iam:us-east-1:111122223333:role/app"));
        assert!(!session_may_be_of(session, "arn:aws-cn:iam::111122223333:role/app"));
    }

    #[test]
    fn a_path_that_is_left_out_makes_no_other_role() {
        let plain = "arn:aws:iam::111122223333:role/app";
        let deep = "arn:aws:iam::111122223333:role/eks/pods/app";
        for (principal, named, same) in [
            (plain, plain, true),
            (plain, deep, true),
            (deep, plain, false),
            (deep, deep, true),
            (deep, "arn:aws:iam::111122223333:role/eks/app", false),
            (plain, "arn:aws:iam::111122223333:role/eks/pods/app2", false),
            (plain, "arn:aws:iam::111122223333:role/app/other", false),
            (plain, "arn:aws:iam::444455556666:role/eks/pods/app", false),
            (plain, "arn:aws-cn:iam::111122223333:role/eks/pods/app", false),
            (plain, "arn:aws:iam::111122223333:user/app", false),
            (plain, "arn:aws:iam::111122223333:user/x:role/app", false),
        ] {
            assert_eq!(is_role_of_name(principal, named), same, "{principal} {named}");
        }
    }
}
