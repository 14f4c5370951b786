//! How statements name principals.

use serde_json::Value;

use crate::policies::{Kind, Policies, texts};
use crate::request::Request;

/// How a resource-based policy may name the principal.
#[derive(Clone, Copy, Default)]
pub(crate) struct Named {
    pub(crate) direct: bool,
    pub(crate) role: bool,
    pub(crate) account: bool,
}

pub(crate) fn names(policies: &Policies, request: &Request, kind: Kind, statement: &Value) -> Named {
    let everyone = Named { direct: true, ..Named::default() };
    let nobody = Named::default();
    if kind == Kind::Attached {
        return everyone;
    }
    match (&statement["Principal"], &statement["NotPrincipal"]) {
        (Value::Null, Value::Null) => {
            if kind == Kind::Guard {
                everyone
            } else {
                nobody
            }
        }
        (Value::Null, not) => {
            let has_boundary = policies.boundary.is_some();
            if statement["Effect"] == "Deny" && has_boundary {
                return everyone;
            }
            let listed = clause_names(request, not);
            if listed.direct || listed.role { nobody } else { everyone }
        }
        (clause, _) => clause_names(request, clause),
    }
}

fn clause_names(request: &Request, clause: &Value) -> Named {
    let mut named = Named::default();
    if clause == "*" {
        named.direct = true;
        return named;
    }
    for (kind, entries) in clause.as_object().unwrap() {
        for entry in texts(entries) {
            if kind != "AWS" {
                named.direct |= request.arns.contains(&entry);
            } else if entry == "*" {
                named.direct = true;
            } else if let Some(account) = account_named(&entry) {
                named.account |= request.account == account;
                named.direct |= request
                    .arns
                    .iter()
                    .any(|arn| arn.contains(":iam::") && account_named(arn).as_deref() == Some(&account));
            } else if entry.contains(":iam::") && entry.splitn(6, ':').nth(5).unwrap_or("").starts_with("role/") {
                named.role |= has_role(request, &entry);
            } else {
                named.direct |= request.arns.contains(&entry);
            }
        }
    }
    named
}

/// The account of `111122223333` or `arn:aws:iam::111122223333:root`.
fn account_named(entry: &str) -> Option<String> {
    let digits = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    if digits(entry) {
        return Some(entry.to_owned());
    }
    let parts: Vec<&str> = entry.split(':').collect();
    let root = parts.len() == 6 && parts[0] == "arn" && parts[2..4] == ["iam", ""] && parts[5] == "root";
    (root && !parts[4].is_empty()).then(|| parts[4].to_owned())
}

fn has_role(request: &Request, wanted: &str) -> bool {
    if request.arns.iter().any(|arn| arn == wanted) {
        return true;
    }
    // A name is one role of the account: a role without a path, or of a session, is meant whatever path is written.
    let plain = without_path(wanted);
    let roles: Vec<&String> =
        request.arns.iter().filter(|arn| arn.contains(":iam::") && arn.contains(":role/")).collect();
    roles.iter().any(|role| **role == plain)
        || (roles.is_empty() && request.arns.iter().any(|arn| role_of(arn).as_deref() == Some(plain.as_str())))
}

/// `arn:aws:iam::111122223333:role/team/app` without `team/`.
fn without_path(role: &str) -> String {
    let (head, rest) = role.split_once(":role/").unwrap_or((role, ""));
    format!("{head}:role/{}", rest.rsplit('/').next().unwrap_or(""))
}

/// The role of a session, which tells no path: `arn:aws:sts::111122223333:assumed-role/app/x` gives `arn:aws:iam::111122223333:role/app`.
#[must_use]
pub fn role_of(session: &str) -> Option<String> {
    let parts: Vec<&str> = session.splitn(6, ':').collect();
    if parts.len() != 6 || parts[0] != "arn" || parts[2..4] != ["sts", ""] {
        return None;
    }
    let pieces: Vec<&str> = parts[5].splitn(3, '/').collect();
    (pieces.len() == 3 && pieces[0] == "assumed-role")
        .then(|| format!("arn:{}:iam::{}:role/{}", parts[1], parts[4], pieces[1]))
}

/// The account in an ARN.
pub(crate) fn account_of(arn: &str) -> Option<String> {
    arn.split(':').nth(4).filter(|account| !account.is_empty()).map(str::to_owned)
}
