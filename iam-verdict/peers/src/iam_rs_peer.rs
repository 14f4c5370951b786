//! `iam-rs`.

use std::hint::black_box;

use iam_rs::{Arn, Decision, IAMPolicy, IAMRequest, PolicyEvaluator, Principal, PrincipalId};

use crate::{Answer, Question};

pub struct Prepared(PolicyEvaluator);

impl Prepared {
    pub fn new(policy: &str) -> Self {
        Self(PolicyEvaluator::with_policies(vec![IAMPolicy::from_json(policy).expect("the policy is well formed")]))
    }

    pub fn question(&self, question: &Question) -> IAMRequest {
        IAMRequest::new(
            Principal::Aws(PrincipalId::String(question.principal.to_owned())),
            question.action,
            Arn::parse(question.resource).expect("the resource is an ARN"),
        )
    }

    pub fn answer(&self, request: &IAMRequest) -> Answer {
        let result = black_box(&self.0).evaluate(black_box(request)).expect("the request is well formed");
        match result.decision {
            Decision::Allow => Answer::Allow,
            Decision::Deny => Answer::ExplicitDeny,
            Decision::NotApplicable => Answer::ImplicitDeny,
        }
    }
}

pub fn from_strings(policy: &str, question: &Question) -> Answer {
    let prepared = Prepared::new(black_box(policy));
    prepared.answer(&prepared.question(black_box(question)))
}
