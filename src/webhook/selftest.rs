//! A look at the judge before it judges: a replica whose engine gives a wrong answer to a question as plain as these must
//! get no requests.

use jiff::Timestamp;
use serde_json::json;

use ecr_forecast::cluster::Subject;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict, judge};
use ecr_forecast::policy::compiled::PolicyObject;

/// One image that is allowed, one that is denied, and one account without any role, which is Unknown.
const CASES: [(&str, &str, Verdict); 3] = [
    ("mapped", "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1", Verdict::Allow),
    ("mapped", "111122223333.dkr.ecr.us-east-1.amazonaws.com/other/app:1", Verdict::Deny),
    ("unmapped", "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1", Verdict::Unknown),
];

/// Judges pods whose verdicts are known.
///
/// # Errors
/// What came out instead, for people.
pub fn run() -> Result<(), String> {
    let role = "arn:aws:iam::111122223333:role/pull";
    let policy = json!({
        "apiVersion": "ecraccess.dev/v1alpha1", "kind": "EcrAccessPolicy",
        "metadata": {"namespace": "self-test", "name": "self-test"},
        "spec": {"puller": {"serviceAccount": {"roles": [{"arn": role, "identity": {"policies": [{"name": "pull", "document": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
                {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/team/*"}]}}]}}]}}}
    });
    let account = |name: &str, annotations: serde_json::Value| {
        let account = json!({"metadata": {"namespace": "self-test", "name": name, "annotations": annotations}});
        ServiceAccountFacts::from_json(&account).map_err(|error| error.to_string())
    };
    let mut inventory = Inventory::default();
    inventory.put_policy(PolicyObject::from_json(policy).map_err(|error| error.to_string())?);
    inventory.put_service_account(account("mapped", json!({"eks.amazonaws.com/ecr-role-arn": role}))?);
    inventory.put_service_account(account("unmapped", json!({}))?);
    for (service_account, image, expected) in CASES {
        let pod = json!({
            "metadata": {"namespace": "self-test", "name": "pod"},
            "spec": {"serviceAccountName": service_account, "containers": [{"name": "app", "image": image}]}
        });
        let subject = Subject::from_pod(&pod).map_err(|error| error.to_string())?;
        let judgement = judge(&inventory, &subject, Timestamp::UNIX_EPOCH, &Options::default());
        if judgement.verdict != expected {
            return Err(format!("{image} as {service_account} is {} instead of {expected}", judgement.verdict));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_judge_passes() {
        assert_eq!(super::run(), Ok(()));
    }
}
