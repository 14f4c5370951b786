//! The decision over all layers.

use serde_json::Value;

use crate::condition::conditions_hold;
use crate::pattern::{chars, free_pattern, glob, lower, resource_pattern};
use crate::policies::{Kind, Policies, Policy, one_or_many};
use crate::principal::{Named, names};
use crate::request::{Draw, Request};

/// The decision of a request of which everything is known ("Policy evaluation logic").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// The request is allowed.
    Allowed,
    /// Some statement denies it.
    ExplicitlyDenied,
    /// No statement denies it, and not all sides that have to allow it do.
    ImplicitlyDenied,
}

/// Decides one request.
///
/// # Panics
/// Where a document is no policy, and where the request does not tell what one that could not be read says.
#[must_use]
pub fn decide(policies: &Policies, request: &Request) -> Decision {
    let say = |kind: Kind, those: &mut dyn Iterator<Item = &Policy>| {
        let mut said = Said::default();
        for policy in those {
            let one = policy_says(policies, request, kind, policy);
            said.denied |= one.denied;
            said.allowed.direct |= one.allowed.direct;
            said.allowed.role |= one.allowed.role;
            said.allowed.account |= one.allowed.account;
        }
        said
    };
    let identity = say(Kind::Attached, &mut policies.identity.iter());
    let boundary = say(Kind::Attached, &mut policies.boundary.iter());
    let session = say(Kind::Attached, &mut policies.session.iter());
    let resource = say(Kind::Resource, &mut policies.resource.iter().chain(&policies.registry));
    let endpoint = say(Kind::Guard, &mut policies.endpoint.iter());
    let scps: Vec<Said> = if request.scp_exempt {
        Vec::new()
    } else {
        policies.scps.iter().map(|level| say(Kind::Attached, &mut level.iter())).collect()
    };
    let rcps: Vec<Said> = policies.rcps.iter().map(|level| say(Kind::Guard, &mut level.iter())).collect();

    let denied = [identity, boundary, session, resource, endpoint].iter().any(|said| said.denied)
        || scps.iter().any(|said| said.denied)
        || rcps.iter().any(|said| said.denied);
    if denied {
        return Decision::ExplicitlyDenied;
    }
    let unlimited =
        (policies.boundary.is_none() || boundary.allows()) && (policies.session.is_empty() || session.allows());
    let by_identity = identity.allows() && unlimited;
    let granted = if request.same_account {
        by_identity || resource.allowed.direct || (resource.allowed.role && unlimited)
    } else {
        by_identity && resource.allows()
    };
    let organization = scps.iter().all(|level| level.allows());
    let way = policies.endpoint.is_none() || endpoint.allows();
    if granted && organization && way { Decision::Allowed } else { Decision::ImplicitlyDenied }
}

/// What the statements of some policies say.
#[derive(Clone, Copy, Default)]
struct Said {
    denied: bool,
    allowed: Named,
}

impl Said {
    fn allows(self) -> bool {
        self.allowed.direct || self.allowed.role || self.allowed.account
    }
}

fn policy_says(policies: &Policies, request: &Request, kind: Kind, policy: &Policy) -> Said {
    let mut said = Said::default();
    let policy = match policy {
        Policy::Document(document) => document,
        Policy::Unreadable(name) => {
            match request.draws[name] {
                Draw::Nothing => {}
                Draw::Deny => said.denied = true,
                Draw::Direct => said.allowed.direct = true,
                Draw::Role => said.allowed.role = true,
                Draw::Account => said.allowed.account = true,
            }
            return said;
        }
    };
    let modern = policy["Version"] == "2012-10-17";
    for statement in one_or_many(&policy["Statement"]) {
        let named = names(policies, request, kind, statement);
        if !(named.direct || named.role || named.account)
            || !action_applies(request, statement)
            || !resource_applies(request, kind, statement, modern)
            || !conditions_hold(request, statement, modern)
        {
            continue;
        }
        if statement["Effect"] == "Deny" {
            said.denied = true;
        } else {
            said.allowed.direct |= named.direct;
            said.allowed.role |= named.role;
            said.allowed.account |= named.account;
        }
    }
    said
}

fn action_applies(request: &Request, statement: &Value) -> bool {
    let action = lower(&request.action);
    let matches = |wanted: &Value| {
        let pattern = lower(wanted.as_str().unwrap());
        glob(&free_pattern(&pattern), &chars(&action))
    };
    if statement["Action"].is_null() {
        !one_or_many(&statement["NotAction"]).into_iter().any(matches)
    } else {
        one_or_many(&statement["Action"]).into_iter().any(matches)
    }
}

/// Whether the `Resource` or `NotResource` of a statement holds; `modern` says whether the policy has Version 2012-10-17.
///
/// # Panics
/// Where the element is no list of texts.
#[must_use]
pub fn resource_applies(request: &Request, kind: Kind, statement: &Value, modern: bool) -> bool {
    let resource = request.resource.as_str();
    let matches = |wanted: &Value| {
        let wanted = wanted.as_str().unwrap();
        if resource == "*" {
            return !wanted.is_empty() && wanted.chars().all(|c| c == '*');
        }
        let mut spellings = vec![wanted.to_owned()];
        let colons = wanted.chars().filter(|c| *c == ':').count();
        if wanted.starts_with("arn:") && colons < 5 {
            let mut completed = wanted.to_owned();
            for _ in colons..5 {
                completed.push_str(":*");
            }
            spellings.push(completed);
        }
        spellings.iter().any(|wanted| match resource_pattern(wanted, request, modern) {
            Some(pattern) => glob(&pattern, &chars(resource)),
            None => false,
        })
    };
    match (&statement["Resource"], &statement["NotResource"]) {
        (Value::Null, Value::Null) => kind == Kind::Resource,
        (Value::Null, not) => !one_or_many(not).into_iter().any(matches),
        (positive, _) => one_or_many(positive).into_iter().any(matches),
    }
}
