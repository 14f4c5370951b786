//! The review of a policy object: refuses an IAM document that is malformed, when it is applied and with its path.
//!
//! The API server has checked the object against schema and CEL rules by then. Those cannot read IAM: this can. A
//! document that is in place already is never a reason: whoever adds a label to an old object, or mends one of two broken
//! documents, is not stopped.

use iam_verdict::{DocumentError, PolicyType};
use serde_json::Value;

use super::message::{Answer, FieldCause, Outcome, Refusal, Request};
use crate::api;
use crate::ecr::managed;

/// At most so many documents are named in one refusal.
const MOST: usize = 8;

/// Answers a request about a policy object. Pure.
pub fn review(request: &Request) -> Answer {
    let nothing = |reason| Answer::admitted(&request.uid, Outcome::new("Allow", "Admitted", reason));
    let ours = request.kind.group == api::GROUP && api::PolicyKind::from_name(&request.kind.kind).is_some();
    let whole = matches!(request.sub_resource.as_deref(), None | Some(""));
    if !ours || !whole || !matches!(request.operation.as_str(), "CREATE" | "UPDATE") {
        return nothing("NotApplicable");
    }
    let stored: Vec<&Value> = match request.operation.as_str() {
        "UPDATE" => entries(&request.old_object).into_iter().map(|(_, entry)| entry).collect(),
        _ => Vec::new(),
    };
    let given = |field: &'static str| {
        let known: Vec<&Value> = stored.iter().filter_map(|entry| entry.get(field)).collect();
        entries(&request.object).into_iter().filter_map(move |(path, entry)| {
            let value = entry.get(field).filter(|value| !value.is_null() && !known.contains(value))?;
            Some((format!("{path}.{field}"), value))
        })
    };
    let causes: Vec<FieldCause> = given("document")
        .filter_map(|(field, document)| {
            let error = check(document).err()?;
            Some(FieldCause { reason: "FieldValueInvalid", message: describe(&error), field })
        })
        .collect();
    if !causes.is_empty() {
        return refuse(request, causes);
    }
    let mut answer = nothing("Valid");
    answer.warnings =
        given("managedPolicyArn").filter_map(|(field, arn)| unknown_managed(&field, arn.as_str()?)).collect();
    if !answer.warnings.is_empty() {
        answer.outcome = Outcome::new("Allow", "Warned", "UnknownManagedPolicy");
    }
    answer
}

/// Every entry of an identity's `policies`, with its path.
fn entries(object: &Value) -> Vec<(String, &Value)> {
    fn identity<'a>(path: &str, holder: Option<&'a Value>, out: &mut Vec<(String, &'a Value)>) {
        let policies = holder.and_then(|holder| holder.pointer("/identity/policies")).and_then(Value::as_array);
        for (index, entry) in policies.into_iter().flatten().enumerate() {
            out.push((format!("{path}.identity.policies[{index}]"), entry));
        }
    }
    let mut out = Vec::new();
    let account = object.pointer("/spec/puller/serviceAccount");
    identity("spec.puller.serviceAccount", account, &mut out);
    let roles = account.and_then(|account| account.get("roles")).and_then(Value::as_array);
    for (index, role) in roles.into_iter().flatten().enumerate() {
        identity(&format!("spec.puller.serviceAccount.roles[{index}]"), Some(role), &mut out);
    }
    identity("spec.puller.role", object.pointer("/spec/puller/role"), &mut out);
    out
}

/// A document is a mapping, or a string with JSON text, of which every byte counts.
fn check(document: &Value) -> Result<(), DocumentError> {
    match document {
        Value::String(text) => iam_verdict::validate(PolicyType::Identity, text),
        other => iam_verdict::validate(PolicyType::Identity, &other.to_string()),
    }
}

/// `$.Statement[0].Effect: message (hint)`.
fn describe(error: &DocumentError) -> String {
    let hint = error.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}: {}{hint}", error.path, error.message)
}

fn unknown_managed(field: &str, arn: &str) -> Option<String> {
    if managed::find(arn).is_some() {
        return None;
    }
    Some(format!(
        "{field}: `{arn}` is none of the AWS managed policies that this version of ecr-access knows: verdicts that depend on \
         it are Unknown; write its document out instead"
    ))
}

fn refuse(request: &Request, mut causes: Vec<FieldCause>) -> Answer {
    let more = causes.len().saturating_sub(MOST);
    causes.truncate(MOST);
    let lines: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    let mut message = lines.join("; ");
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    let mut answer = Answer::admitted(&request.uid, Outcome::new("Deny", "Rejected", "MalformedDocument"));
    answer.refusal = Some(Refusal {
        code: 422,
        reason: "Invalid",
        message,
        group: request.kind.group.clone(),
        kind: request.kind.kind.clone(),
        name: request.name.clone(),
        causes,
    });
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::GroupKind;
    use super::*;

    fn object(policies: Value) -> Value {
        json!({"spec": {"puller": {"serviceAccount": {"identity": {"policies": policies}}}}})
    }

    fn good() -> Value {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]})
    }

    fn bad() -> Value {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Permit", "Action": "ecr:*", "Resource": "*"}]})
    }

    fn ask(operation: &str, object: Value, old_object: Value) -> Answer {
        review(&Request {
            uid: "u".to_owned(),
            kind: GroupKind { group: "ecraccess.dev".to_owned(), kind: "EcrAccessPolicy".to_owned() },
            operation: operation.to_owned(),
            name: "pull".to_owned(),
            object,
            old_object,
            ..Request::default()
        })
    }

    fn causes(answer: &Answer) -> Vec<&str> {
        answer.refusal.iter().flat_map(|refusal| &refusal.causes).map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn a_malformed_document_is_refused_with_its_path() {
        let answer = ask(
            "CREATE",
            object(json!([{"name": "a", "document": good()}, {"name": "b", "document": bad()}])),
            Value::Null,
        );
        assert_eq!(causes(&answer), ["spec.puller.serviceAccount.identity.policies[1].document"]);
        let refusal = answer.refusal.unwrap();
        let expected = "spec.puller.serviceAccount.identity.policies[1].document: $.Statement[0].Effect: ";
        assert!(refusal.message.starts_with(expected), "{}", refusal.message);
        assert_eq!((refusal.code, refusal.reason), (422, "Invalid"));
    }

    #[test]
    fn a_string_is_read_as_json_text() {
        let text = |text: &str| ask("CREATE", object(json!([{"name": "a", "document": text}])), Value::Null).allowed();
        assert!(text(&good().to_string()));
        assert!(!text(&bad().to_string()));
        assert!(!text("no json"));
    }

    #[test]
    fn every_place_of_a_document_is_looked_at() {
        let identity = json!({"policies": [{"name": "a", "document": bad()}]});
        let spec = json!({"spec": {"puller": {
            "serviceAccount": {"identity": identity, "roles": [{"arn": "x"}, {"arn": "y", "identity": identity}]},
            "role": {"arn": "z", "identity": identity}}}});
        assert_eq!(
            causes(&ask("CREATE", spec, Value::Null)),
            [
                "spec.puller.serviceAccount.identity.policies[0].document",
                "spec.puller.serviceAccount.roles[1].identity.policies[0].document",
                "spec.puller.role.identity.policies[0].document"
            ]
        );
    }

    #[test]
    fn what_is_stored_already_is_no_reason_to_refuse() {
        let old = object(json!([{"name": "a", "document": bad()}]));
        assert!(ask("UPDATE", old.clone(), old.clone()).allowed());
        // Moved behind another one, and renamed.
        let moved = object(json!([{"name": "new", "document": good()}, {"name": "renamed", "document": bad()}]));
        assert!(ask("UPDATE", moved, old.clone()).allowed());
        let mut worse = bad();
        worse["Statement"][0]["Effect"] = json!("Allowed");
        let answer = ask("UPDATE", object(json!([{"name": "a", "document": worse}])), old.clone());
        assert_eq!(causes(&answer), ["spec.puller.serviceAccount.identity.policies[0].document"]);
        // On a create there is nothing stored, whatever the request says.
        assert!(!ask("CREATE", old.clone(), old).allowed());
    }

    #[test]
    fn a_managed_policy_that_is_not_known_is_a_warning() {
        let answer = ask(
            "CREATE",
            object(json!([
                {"name": "a", "managedPolicyArn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"},
                {"name": "b", "managedPolicyArn": "arn:aws:iam::aws:policy/Invented"}])),
            Value::Null,
        );
        assert!(answer.allowed());
        assert_eq!(answer.warnings.len(), 1);
        assert!(
            answer.warnings[0].starts_with(
                "spec.puller.serviceAccount.identity.policies[1].managedPolicyArn: `arn:aws:iam::aws:policy/Invented` is none"
            ),
            "{}",
            answer.warnings[0]
        );
    }

    #[test]
    fn other_kinds_status_and_deletes_are_none_of_its_business() {
        let request = |operation: &str, kind: &str, sub: Option<&str>| Request {
            uid: "u".to_owned(),
            kind: GroupKind { group: "ecraccess.dev".to_owned(), kind: kind.to_owned() },
            operation: operation.to_owned(),
            sub_resource: sub.map(str::to_owned),
            object: object(json!([{"name": "a", "document": bad()}])),
            ..Request::default()
        };
        assert!(!review(&request("CREATE", "ClusterEcrAccessPolicy", None)).allowed());
        assert!(review(&request("DELETE", "EcrAccessPolicy", None)).allowed());
        assert!(review(&request("UPDATE", "EcrAccessPolicy", Some("status"))).allowed());
        assert!(review(&request("CREATE", "IamRole", None)).allowed());
    }

    #[test]
    fn a_long_list_of_refusals_is_cut() {
        let many: Vec<Value> = (0..20).map(|i| json!({"name": format!("p{i}"), "document": bad()})).collect();
        let answer = ask("CREATE", object(Value::Array(many)), Value::Null);
        assert_eq!(causes(&answer).len(), MOST);
        assert!(answer.refusal.unwrap().message.ends_with("; and 12 more"));
    }
}
