//! One statement and the request: whether it applies, and by which form it names the principal.

use crate::arn;
use crate::clause::Clause;
use crate::decision::Layer;
use crate::document::{Effect, PrincipalClause, PrincipalEntry, Statement};
use crate::environment::Environment;
use crate::layers::{Bits, Place, bit};
use crate::principal::Account;
use crate::request::Request;
use crate::truth::Truth;

/// Action, resource and conditions of a statement; the principal is asked for separately.
pub(crate) fn applies(layer: Layer, statement: &Statement, request: &Request) -> Truth {
    if !statement.action.matches_action(&request.action) {
        return Truth::False;
    }
    applies_beyond_action(layer, statement, request)
}

/// As [`applies`], of a statement about the action.
pub(crate) fn applies_beyond_action(layer: Layer, statement: &Statement, request: &Request) -> Truth {
    let resource = resource_applies(layer, statement.resource.as_ref(), request);
    if resource == Truth::False {
        return Truth::False;
    }
    // IAM-COND-1: all lines must hold.
    resource & Truth::all(&statement.conditions, |condition| condition.evaluate(&request.context))
}

/// IAM-RES-7: a repository policy that names no resource means its repository; elsewhere the element is required, and
/// a statement without it applies to nothing.
pub(crate) fn resource_applies(layer: Layer, clause: Option<&Clause>, request: &Request) -> Truth {
    match clause {
        Some(clause) => clause.matches_resource(&request.resource, &request.context),
        None => Truth::from(matches!(layer, Layer::Resource | Layer::Registry)),
    }
}

/// By which form a statement names the principal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms {
    pub(crate) direct: Truth,
    pub(crate) role: Truth,
    pub(crate) account: Truth,
}

impl Forms {
    pub(crate) const EVERYONE: Self = Self { direct: Truth::True, role: Truth::False, account: Truth::False };
    const NOBODY: Self = Self { direct: Truth::False, role: Truth::False, account: Truth::False };

    pub(crate) fn any(self) -> Truth {
        self.direct | self.role | self.account
    }

    /// The bits an Allow sets, with how certain each is.
    pub(crate) fn grants(self, place: Place) -> [(Bits, Truth); 3] {
        match place.layer {
            Layer::Resource | Layer::Registry => {
                [(bit::DIRECT, self.direct), (bit::ROLE, self.role), (bit::ACCOUNT, self.account)]
            }
            _ => [(place.grants, self.any()), (0, Truth::False), (0, Truth::False)],
        }
    }
}

/// How a statement names the principal. Policies attached to the principal name nobody and mean their principal.
pub(crate) fn principal_forms(layer: Layer, statement: &Statement, env: &Environment, request: &Request) -> Forms {
    match (layer, &statement.principal) {
        (Layer::Identity | Layer::Boundary | Layer::Session | Layer::Scp, _) | (Layer::Rcp | Layer::Endpoint, None) => {
            Forms::EVERYONE
        }
        (_, None) => Forms::NOBODY,
        (_, Some(clause)) => clause_forms(clause, statement.effect, env, request),
    }
}

pub(crate) fn clause_forms(clause: &PrincipalClause, effect: Effect, env: &Environment, request: &Request) -> Forms {
    let mut forms = Forms::NOBODY;
    for entry in &clause.entries {
        match entry {
            PrincipalEntry::Everyone => forms.direct = Truth::True,
            PrincipalEntry::Account(id) => {
                forms.account = forms.account | is_account(id, env, request);
                // The root user itself is named by the same text.
                let root = |arn: &String| arn::account_of_root(arn) == Some(id);
                if request.principal.arns.iter().any(root) {
                    forms.direct = Truth::True;
                }
            }
            PrincipalEntry::Arn(wanted) => {
                let truth = is_arn(wanted, env, request);
                if arn::is_role(wanted) {
                    forms.role = forms.role | truth;
                } else {
                    forms.direct = forms.direct | truth;
                }
            }
            PrincipalEntry::Other(wanted) => {
                let named = request.principal.arns.iter().any(|arn| **arn == **wanted);
                forms.direct = forms.direct | Truth::from(named);
            }
        }
    }
    if !clause.negated {
        return forms;
    }
    // IAM-PRIN-7: with a boundary, a Deny with NotPrincipal denies whoever is listed.
    if effect == Effect::Deny && env.boundary.is_some() {
        return Forms::EVERYONE;
    }
    // IAM-PRIN-6: to list the account exempts its root user, not its users and roles.
    Forms { direct: !(forms.direct | forms.role), ..Forms::NOBODY }
}

/// The account of the principal, where it is known by number.
pub(crate) fn principal_account<'a>(env: &'a Environment, request: &'a Request) -> Option<&'a str> {
    match &request.principal.account {
        Account::Known(id) => Some(id),
        Account::SameAsResource => resource_account(env, request),
        Account::Outside => None,
        Account::Unknown => request.principal.arns.iter().find_map(|arn| arn::account(arn)),
    }
}

/// The account of the resource, where it is known by number.
pub(crate) fn resource_account<'a>(env: &'a Environment, request: &'a Request) -> Option<&'a str> {
    match &env.resource_account {
        Account::Known(id) => Some(id),
        _ => arn::account(&request.resource),
    }
}

/// Whether principal and resource are of the same account. An action without a resource belongs to the caller's.
pub(crate) fn same_account(env: &Environment, request: &Request) -> Truth {
    // IAM-EVAL-11: a caller without an account has no side of its own that would have to allow.
    if matches!(request.principal.account, Account::SameAsResource | Account::Outside)
        || env.resource_account == Account::SameAsResource
    {
        return Truth::True;
    }
    match (principal_account(env, request), resource_account(env, request)) {
        (_, None) if request.resource == "*" => Truth::True,
        (Some(principal), Some(resource)) => Truth::from(principal == resource),
        _ => Truth::Unknown,
    }
}

fn is_account(id: &str, env: &Environment, request: &Request) -> Truth {
    match principal_account(env, request) {
        _ if request.principal.account == Account::Outside => Truth::False,
        Some(account) => Truth::from(account == id),
        None => Truth::Unknown,
    }
}

/// Whether the principal has this ARN.
fn is_arn(wanted: &str, env: &Environment, request: &Request) -> Truth {
    let principal = &request.principal;
    // IAM-PRIN-3: a role's name is its own in the account, so that a path which is left out makes no other role.
    if principal.arns.iter().any(|arn| arn == wanted || arn::is_role_of_name(arn, wanted)) {
        return Truth::True;
    }
    let has_role = principal.arns.iter().any(|arn| arn::is_role(arn));
    if !has_role && principal.arns.iter().any(|arn| arn::session_may_be_of(arn, wanted)) {
        return Truth::True;
    }
    let open = principal.arns.is_empty()
        || (principal.session_unknown && principal.arns.iter().any(|role| arn::session_may_be_of(wanted, role)));
    let elsewhere = principal.account == Account::Outside
        || matches!((principal_account(env, request), arn::account(wanted)), (Some(a), Some(b)) if a != b);
    if open && !elsewhere { Truth::Unknown } else { Truth::False }
}
