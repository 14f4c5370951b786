//! The engine beside its peers: the same five statements, the same requests, in one run.
//!
//! Only requests on which a peer gives our decision are timed; the run ends with an error where one does not. The
//! engines take turns within each round, so that a busy machine slows all of them alike, and the median of the rounds
//! is reported.

mod cedar;
mod iam_rs_peer;
mod ours;
mod timing;

use timing::Contestant;

/// What was decided, in the words all three can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    ExplicitDeny,
    ImplicitDeny,
}

/// A request as text.
struct Question {
    name: &'static str,
    principal: &'static str,
    action: &'static str,
    resource: &'static str,
    expected: Answer,
}

const QUESTIONS: [Question; 3] = [
    Question {
        name: "allow",
        principal: "arn:aws:iam::111122223333:role/app",
        action: "ecr:BatchGetImage",
        resource: "arn:aws:ecr:us-east-1:111122223333:repository/team/app",
        expected: Answer::Allow,
    },
    Question {
        name: "explicit deny",
        principal: "arn:aws:iam::111122223333:role/app",
        action: "ecr:BatchGetImage",
        resource: "arn:aws:ecr:us-east-1:111122223333:repository/team/secret",
        expected: Answer::ExplicitDeny,
    },
    Question {
        name: "implicit deny",
        principal: "arn:aws:iam::111122223333:role/app",
        action: "ecr:BatchGetImage",
        resource: "arn:aws:ecr:us-east-1:111122223333:repository/other/app",
        expected: Answer::ImplicitDeny,
    },
];

/// The five statements in the language of IAM.
const IAM_POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
    {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "Resource": "arn:aws:ecr:*:*:repository/team/*"},
    {"Effect": "Allow", "Action": "ecr:Describe*", "Resource": "*"},
    {"Effect": "Deny", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/secret"},
    {"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": "arn:aws:ecr:*:*:repository/abac/*",
     "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}}]}"#;

fn main() {
    println!(
        "Nanoseconds, median of {} rounds; in brackets, how many times the time of iam-verdict.\n",
        timing::ROUNDS
    );
    println!("| | iam-verdict | iam-rs 0.8.0 | cedar-policy 4.14.1 |\n|---|---:|---:|---:|");
    let ours = ours::Prepared::new(IAM_POLICY);
    let iam_rs = iam_rs_peer::Prepared::new(IAM_POLICY);
    let cedar = cedar::Prepared::new(cedar::POLICY);
    for question in &QUESTIONS {
        let (a, b, c) = (ours.question(question), iam_rs.question(question), cedar.question(question));
        row(
            &format!("(a) prepared objects, {}", question.name),
            question,
            [&|| ours.answer(&a), &|| iam_rs.answer(&b), &|| cedar.answer(&c)],
        );
    }
    for question in &QUESTIONS {
        row(
            &format!("(b) from strings, {}", question.name),
            question,
            [
                &|| ours::from_strings(IAM_POLICY, question),
                &|| iam_rs_peer::from_strings(IAM_POLICY, question),
                &|| cedar::from_strings(cedar::POLICY, question),
            ],
        );
    }
}

fn row(name: &str, question: &Question, engines: [Contestant<'_, Answer>; 3]) {
    for engine in engines {
        assert_eq!(engine(), question.expected, "{name}");
    }
    let [ours, others @ ..] = timing::medians(engines);
    print!("| {name} | {ours:.0} |");
    for other in others {
        print!(" {other:.0} ({:.1}×) |", other / ours);
    }
    println!();
}
