//! `iam-verdict`.

use std::hint::black_box;

use iam_verdict::{Context, Decision, Environment, NamedPolicy, Policy, Principal, Request, evaluate};

use crate::{Answer, Question};

pub struct Prepared(Environment);

impl Prepared {
    pub fn new(policy: &str) -> Self {
        let policy = Policy::parse(policy).expect("the policy is well formed");
        Self(Environment { identity: vec![NamedPolicy::known("app", policy)], ..Environment::default() })
    }

    pub fn question(&self, question: &Question) -> Request {
        Request {
            principal: Principal::from_arn(question.principal),
            action: question.action.into(),
            resource: question.resource.into(),
            context: Context::new(),
        }
    }

    pub fn answer(&self, request: &Request) -> Answer {
        match evaluate(black_box(&self.0), black_box(request)).decision {
            Decision::Allowed => Answer::Allow,
            Decision::ExplicitlyDenied => Answer::ExplicitDeny,
            Decision::ImplicitlyDenied => Answer::ImplicitDeny,
            Decision::Unknown => panic!("the request is complete"),
        }
    }
}

pub fn from_strings(policy: &str, question: &Question) -> Answer {
    let prepared = Prepared::new(black_box(policy));
    prepared.answer(&prepared.question(black_box(question)))
}
