//! The review of a policy object: refuses an IAM document that AWS would not take, when it is applied and with its path.
//!
//! The API server has checked the object against schema and CEL rules by then. Those cannot read IAM: this can. A
//! document that is in place already is never a reason: whoever adds a label to an old object, or mends one of two broken
//! documents, is not stopped.
//!
//! What is wrong with an object, and whether that is a refusal or a warning, is [`ecr_forecast::policy::check`]'s affair; an
//! object that does not decode is refused here.

use ecr_forecast::policy::PolicyKind;
use ecr_forecast::policy::check::{CheckResult, PolicyCheck, TOO_DEEP, Word, checks};
use jiff::Timestamp;
use serde_json::Value;

use super::message::{Answer, FieldCause, Outcome, Refusal, Request};
use crate::api;
use crate::runtime::watch::cut::member;
use crate::runtime::watch::decode_error::DecodeError;
use crate::runtime::watch::object::Raw;
use crate::runtime::watch::place;
use crate::runtime::watch::prune::pruned;

/// The object does not decode.
const UNREADABLE: Word = "Unreadable";

/// At most so many fields are named in one refusal, and so many warnings are given.
const MOST: usize = 8;

/// Answers a request about a policy object, as of `at`. Pure.
pub fn review(request: &Request, at: Timestamp) -> Answer {
    let nothing = |reason| Answer::admitted(&request.uid, Outcome::new("Allow", "Admitted", reason));
    let ours = request.kind.group == api::GROUP && PolicyKind::from_name(&request.kind.kind).is_some();
    if !ours || !request.sub_resource.is_empty() || !matches!(request.operation.as_str(), "CREATE" | "UPDATE") {
        return nothing("NotApplicable");
    }
    // Of what is nested too deeply the rest is read: it tells which document that is, and what else is wrong.
    let (whole, old) = (request.decoded(), request.decoded_old());
    let rest = |whole: &Result<Raw, DecodeError>, bytes| match whole {
        Ok(_) => Value::Null,
        Err(_) => pruned(bytes).unwrap_or_default(),
    };
    let (given, stored) = (rest(&whole, &request.object), rest(&old, &request.old_object));
    let (given, stored) = (whole.as_ref().map_or(&given, Raw::value), old.as_ref().map_or(&stored, Raw::value));
    let stored = if request.operation == "UPDATE" { checks(stored) } else { Vec::new() };
    let (in_place, given): (Vec<_>, Vec<_>) =
        checks(given).into_iter().partition(|(_, check)| stored.iter().any(|(_, known)| known == check));

    let (mut refused, mut causes, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (field, check) in given {
        match check.check(at) {
            CheckResult::Good => {}
            CheckResult::Refused(reason, message) => {
                refused.push(reason);
                causes.push(FieldCause { reason: "FieldValueInvalid", message, field });
            }
            CheckResult::Warning(reason, message) => warnings.push((reason, format!("{field}: {message}"))),
        }
    }
    if let Some(reason) = refused.first() {
        return refuse(request, reason, causes);
    }
    if let Err(error) = whole {
        let too_deep = |check: &PolicyCheck<'_>| matches!(check.check(at), CheckResult::Refused(TOO_DEEP, _));
        let known = in_place.iter().any(|(_, check)| too_deep(check)) || has_the_stored_spec(request);
        return if known { unread_as_before(request) } else { unread(request, error) };
    }
    let Some((reason, _)) = warnings.first() else { return nothing("Valid") };
    let mut answer = Answer::admitted(&request.uid, Outcome::new("Allow", "Warned", reason));
    let more = warnings.len().saturating_sub(MOST);
    answer.warnings = warnings.into_iter().take(MOST).map(|(_, warning)| warning).collect();
    if more > 0 {
        answer.warnings.push(format!("{more} more fields give reason for a warning"));
    }
    answer
}

/// Whether an update says what is stored already.
fn has_the_stored_spec(request: &Request) -> bool {
    let spec = member(&request.object, b"spec");
    request.operation == "UPDATE" && spec.is_some() && spec == member(&request.old_object, b"spec")
}

/// Lets in what does not decode because of what is stored already: whoever takes a label or a finalizer away, or mends
/// another document, is not stopped.
fn unread_as_before(request: &Request) -> Answer {
    let Request { kind, namespace, name, .. } = request;
    let object = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    let mut answer = Answer::admitted(&request.uid, Outcome::new("Allow", "Warned", UNREADABLE));
    answer.warnings.push(format!(
        "ecr-access: {} {object} cannot be read, no more than what was stored before: its verdicts are Unknown",
        kind.kind
    ));
    answer
}

/// Refuses what does not decode, with the place: nothing could be judged by it.
fn unread(request: &Request, error: DecodeError) -> Answer {
    let path = place::path(&request.object, error);
    let field = if path.is_empty() { request.kind.kind.clone() } else { path };
    let message = "is nested too deeply, or is no text".to_owned();
    refuse(request, UNREADABLE, vec![FieldCause { reason: "FieldValueInvalid", message, field }])
}

fn refuse(request: &Request, reason: Word, mut causes: Vec<FieldCause>) -> Answer {
    let more = causes.len().saturating_sub(MOST);
    causes.truncate(MOST);
    let lines: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    let mut message = lines.join("; ");
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    let mut answer = Answer::admitted(&request.uid, Outcome::new("Deny", "Rejected", reason));
    answer.refusal = Some(Refusal {
        code: 422,
        reason: "Invalid",
        message,
        group: request.kind.group.clone(),
        kind: request.kind.kind.clone(),
        name: request.name.clone(),
        causes,
        more,
    });
    answer
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde_json::json;

    use ecr_forecast::policy::check::remarks;

    use super::super::message::GroupKind;
    use super::*;

    fn object(policies: Value) -> Value {
        json!({"spec": {"puller": {"serviceAccount": {"identity": {"policies": policies}, "defaultRoleArn": "x"}}}})
    }

    fn good() -> Value {
        fixtures::document(fixtures::everything())
    }

    fn bad() -> Value {
        fixtures::document(json!([fixtures::statement("Permit", "ecr:*", "*")]))
    }

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn bytes(object: &Value) -> Bytes {
        object.to_string().into()
    }

    fn ask(operation: &str, object: Value, old_object: Value) -> Answer {
        let request = Request {
            uid: "u".to_owned(),
            kind: GroupKind { group: "ecraccess.dev".to_owned(), kind: "EcrAccessPolicy".to_owned() },
            operation: operation.to_owned(),
            name: "pull".to_owned(),
            object: bytes(&object),
            old_object: bytes(&old_object),
            ..Request::default()
        };
        review(&request, now())
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
    fn policies_of_a_role_that_accounts_may_not_have_are_warned_of_when_they_come() {
        let identity = json!({"policies": [{"name": "a", "document": good()}]});
        let with = |more: Value| {
            let mut account = json!({"identity": identity});
            account.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"spec": {"puller": {"serviceAccount": account}}})
        };
        let told =
            |object: Value, old: Value| ask(if old.is_null() { "CREATE" } else { "UPDATE" }, object, old).warnings;
        let warnings = told(with(json!({})), Value::Null);
        assert!(
            warnings[0].starts_with("spec.puller.serviceAccount.identity: ") && warnings.len() == 1,
            "{warnings:?}"
        );
        for more in [
            json!({"defaultRoleArn": "arn:aws:iam::111122223333:role/app"}),
            json!({"fallbackNodes": [{"arn": "arn:aws:iam::111122223333:role/node"}]}),
            json!({"fallsBackToNode": false}),
        ] {
            assert_eq!(told(with(more.clone()), Value::Null), [""; 0], "{more}");
        }
        assert_eq!(told(with(json!({})), with(json!({}))), [""; 0], "in place already");
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
        let identity = json!({"policies": [], "permissionsBoundary": {"document": bad()}});
        let levels = json!([{"level": "root", "policies": [{"name": "a", "document": bad()}]}]);
        let spec = json!({"spec": {
            "puller": {"serviceAccount": {"fallbackNodes": [{"identity": identity}]}, "nodes": [{}, {"identity": identity}]},
            "repositories": [{"match": "*", "policy": "Unknown"}, {"match": "*", "policy": {"document": bad()}}],
            "registries": [{"policy": {"document": bad()}}],
            "organization": {"serviceControlPolicies": levels, "resourceControlPolicies": levels}}});
        assert_eq!(
            causes(&ask("CREATE", spec, Value::Null)),
            [
                "spec.puller.serviceAccount.fallbackNodes[0].identity.permissionsBoundary.document",
                "spec.puller.nodes[1].identity.permissionsBoundary.document",
                "spec.repositories[1].policy.document",
                "spec.registries[0].policy.document",
                "spec.organization.serviceControlPolicies[0].policies[0].document",
                "spec.organization.resourceControlPolicies[0].policies[0].document"
            ]
        );
    }

    fn repository_policy(policy: Value) -> Answer {
        ask("CREATE", json!({"spec": {"repositories": [{"match": "*", "policy": policy}]}}), Value::Null)
    }

    fn statement(statement: Value) -> Value {
        json!({"document": {"Version": "2012-10-17", "Statement": [statement]}})
    }

    /// What is wrong with a condition is so whatever it is called.
    #[test]
    fn a_condition_key_is_no_element_of_its_name() {
        for key in ["tier", "Sid", "Resource", "NotResource"] {
            let answer = repository_policy(statement(json!({"Effect": "Allow", "Principal": "*", "Action": "ecr:*",
                "Condition": {"DateLessThan": {key: "tomorrow"}}})));
            assert_eq!(causes(&answer), ["spec.repositories[0].policy.document"], "{key}: {answer:?}");
        }
    }

    #[test]
    fn each_document_is_held_against_the_grammar_of_its_type() {
        let with_principal = json!({"Effect": "Allow", "Principal": "*", "Action": "ecr:*"});
        assert_eq!(repository_policy(statement(with_principal.clone())).warnings, [""; 0]);
        assert!(repository_policy(statement(with_principal.clone())).allowed());
        // A repository policy without a principal, an identity's with one, a control policy that allows one action.
        assert!(!repository_policy(statement(json!({"Effect": "Allow", "Action": "ecr:*"}))).allowed());
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
        assert!(!ask("CREATE", object(json!([{"name": "a", "document": document}])), Value::Null).allowed());
        let levels = json!([{"level": "root", "policies": [{"name": "a", "document": document}]}]);
        let organization = json!({"spec": {"organization": {"resourceControlPolicies": levels}}});
        assert!(!ask("CREATE", organization, Value::Null).allowed());
        let registry = json!({"spec": {"registries": [{"accountId": "x", "policy": {"document": document}}]}});
        assert!(ask("CREATE", registry, Value::Null).allowed());
    }

    #[test]
    fn what_only_the_service_can_tell_is_a_warning() {
        let answer = repository_policy(statement(json!({
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/*"}, "Action": "ecr:*"})));
        assert!(answer.allowed());
        let [warning] = answer.warnings.as_slice() else { panic!("{:?}", answer.warnings) };
        let begin = "spec.repositories[0].policy.document: $.Statement[0].Principal.AWS: ";
        assert!(warning.starts_with(begin) && warning.ends_with("; AWS may refuse to store this policy"), "{warning}");
        let answer = repository_policy(statement(json!({
            "Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"})));
        assert!(answer.allowed() && answer.warnings[0].contains("$.Statement[0].Resource: "), "{:?}", answer.warnings);
        // What does not parse is refused, whatever its place.
        assert!(
            !repository_policy(statement(json!({
            "Effect": "Allow", "Principal": {"AWS": 7}, "Action": "ecr:*"})))
            .allowed()
        );
    }

    #[test]
    fn a_resource_policy_is_a_document_or_the_word_unknown() {
        assert!(repository_policy(json!("Unknown")).allowed());
        for policy in [json!("unknown"), json!(7), json!(true), json!({}), json!({"document": {}, "x": 1}), json!(null)]
        {
            assert_eq!(causes(&repository_policy(policy.clone())), ["spec.repositories[0].policy"], "{policy}");
        }
        assert_eq!(causes(&repository_policy(json!({"document": null}))), ["spec.repositories[0].policy.document"]);
    }

    #[test]
    fn an_entry_that_never_counts_is_a_warning() {
        let shadowed = |patterns: &[&str]| {
            let entries: Vec<Value> = patterns.iter().map(|pattern| json!({"match": pattern})).collect();
            let answer = ask("CREATE", json!({"spec": {"repositories": entries}}), Value::Null);
            assert!(answer.allowed());
            answer.warnings
        };
        assert_eq!(
            shadowed(&["a:repository/*", "b", "a:repository/team/*"]),
            [
                "spec.repositories[2]: `a:repository/team/*` never counts: spec.repositories[0] comes first and matches all that \
              it matches"
            ]
        );
        assert_eq!(shadowed(&["*", "a", "b*"]).len(), 2);
        assert_eq!(shadowed(&["a", "a"]).len(), 1);
        assert_eq!(shadowed(&["a/b", "a/*", "a/?", "*"]).len(), 1);
        assert_eq!(shadowed(&["a/?", "a/*"]), [""; 0]);
    }

    #[test]
    fn an_exemption_that_lets_nothing_in_is_a_warning() {
        let host = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
        let with = |image: String, end: &str| {
            let exemption = json!({"name": "legacy", "images": [image], "reason": "why", "expiresAt": end});
            ask("CREATE", json!({"spec": {"exemptions": [exemption]}}), Value::Null)
        };
        let legacy = || format!("{host}/legacy/*");
        assert_eq!(with(legacy(), "2026-11-23T12:00:01Z").warnings, [""; 0]);
        let ended = with(legacy(), "2026-11-23T12:00:00Z");
        assert_eq!(
            ended.warnings,
            [
                "spec.exemptions[0].expiresAt: `2026-11-23T12:00:00Z` is in the past: this exemption lets nothing in, and can be \
              deleted"
            ]
        );
        assert!(ended.allowed());
        assert_eq!(
            with("legacy/*".to_owned(), "2027-01-01T00:00:00Z").warnings,
            [
                "spec.exemptions[0].images[0]: `legacy/*` exempts nothing: no image of Amazon ECR matches it; a pattern has the \
              registry's host, such as 111122223333.dkr.ecr.us-east-1.amazonaws.com/legacy/*"
            ]
        );
    }

    #[test]
    fn a_condition_key_has_no_case() {
        let with = |context: Value| ask("CREATE", json!({"spec": {"context": context}}), Value::Null);
        assert!(with(json!({"aws:SourceVpc": [], "aws:SourceVpce": []})).allowed());
        assert_eq!(causes(&with(json!({"AWS:sourcevpc": [], "aws:SourceVpc": []}))), ["spec.context[aws:SourceVpc]"]);
    }

    #[test]
    fn remarks_are_about_what_can_be_judged() {
        let strict = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]});
        let mut object = object(json!([
            {"name": "a", "document": good()}, {"name": "b", "document": bad()}, {"name": "c", "document": strict},
            {"name": "d", "managedPolicyArn": "arn:aws:iam::aws:policy/Invented"}]));
        let nothing = |_: Option<&str>, _: &str, _: &str| None;
        assert_eq!(remarks(&object, now(), nothing).len(), 1);
        let (field, remark) = &remarks(&object, now(), nothing)[0];
        assert_eq!(field, "spec.puller.serviceAccount.identity.policies[2].document");
        let CheckResult::Refused(_, remark) = remark else { panic!("{remark:?}") };
        let begin = "$.Statement[0].Principal: ";
        assert!(remark.starts_with(begin) && remark.ends_with("; the webhook of the cluster refuses it"), "{remark}");
        object["spec"]["repositories"] = json!([{"match": "*"}, {"match": "a"}, {"match": "b", "policy": 7}]);
        assert_eq!(remarks(&object, now(), nothing).len(), 3);
    }

    #[test]
    fn a_document_in_a_config_map_meets_the_grammar_offline_and_no_webhook() {
        let strict = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}]})
        .to_string();
        let reference = |key: &str| json!({"name": "iam", "key": key});
        let mut object = object(json!([
            {"name": "a", "configMapKeyRef": reference("good")}, {"name": "b", "configMapKeyRef": reference("broken")},
            {"name": "c", "configMapKeyRef": reference("strict")}, {"name": "d", "configMapKeyRef": reference("none")}]));
        object["spec"]["repositories"] = json!([{"match": "*", "policy": {"configMapKeyRef": reference("strict")}}]);
        let good = good().to_string();
        let text = |namespace: Option<&str>, name: &str, key: &str| {
            assert_eq!((namespace, name), (None, "iam"));
            match key {
                "good" => Some(&*good),
                "broken" => Some("{"),
                "strict" => Some(&*strict),
                _ => None,
            }
        };
        // What cannot be parsed is told with the verdicts; a repository policy has a Principal, and doubtful is its Resource.
        let found = remarks(&object, now(), text);
        let [(field, CheckResult::Warning(_, identity)), (other, CheckResult::Warning(_, repository))] =
            found.as_slice()
        else {
            panic!("{found:?}")
        };
        assert_eq!(field, "spec.puller.serviceAccount.identity.policies[2].configMapKeyRef");
        let begin = "key strict of ConfigMap iam: $.Statement[0].Principal: ";
        assert!(identity.starts_with(begin) && identity.ends_with("no webhook looks at ConfigMaps"), "{identity}");
        assert_eq!(other, "spec.repositories[0].policy.configMapKeyRef");
        assert!(repository.starts_with("key strict of ConfigMap iam"), "{repository}");
        assert!(ask("CREATE", object.clone(), Value::Null).allowed());
        assert_eq!(ask("CREATE", object, Value::Null).warnings, [""; 0]);
    }

    #[test]
    fn a_reference_in_a_resource_policy_is_held_to_its_shape() {
        for (reference, field) in [
            (json!({"name": "iam"}), ".key"),
            (json!({"name": "iam", "key": "a/b"}), ".key"),
            (json!({"name": "Iam", "key": "a"}), ".name"),
            (json!({"name": "iam", "key": "a", "namespace": "other"}), ".namespace"),
            (json!({"name": "iam", "key": "a", "optional": true}), ".optional"),
            (json!("iam"), ""),
        ] {
            let answer = repository_policy(json!({"configMapKeyRef": reference}));
            assert_eq!(causes(&answer), [format!("spec.repositories[0].policy.configMapKeyRef{field}")], "{reference}");
        }
        assert!(repository_policy(json!({"configMapKeyRef": {"name": "iam", "key": "a"}})).allowed());
        let spec = json!({"registries": [{"policy": {"configMapKeyRef": {"name": "iam", "key": "a"}}}]});
        let answer = ask("CREATE", json!({"kind": "ClusterEcrAccessPolicy", "spec": spec}), Value::Null);
        assert_eq!(causes(&answer), ["spec.registries[0].policy.configMapKeyRef.namespace"]);
    }

    #[test]
    fn policies_of_the_organization_have_arns_of_their_own() {
        let warnings = |arn: &str| {
            let levels = json!([{"level": "root", "policies": [{"name": "a", "managedPolicyArn": arn}]}]);
            ask("CREATE", json!({"spec": {"organization": {"serviceControlPolicies": levels}}}), Value::Null).warnings
        };
        assert_eq!(warnings("arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"), [""; 0]);
        let other = warnings("arn:aws:organizations::111122223333:policy/o-abc/service_control_policy/p-1");
        assert!(other[0].contains("managedPolicyArn: `arn:aws:organizations::111122223333"), "{other:?}");
        let iam = warnings("arn:aws:iam::aws:policy/AdministratorAccess");
        assert!(iam[0].contains("which AWS Organizations cannot attach"), "{iam:?}");
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
            sub_resource: sub.unwrap_or_default().to_owned(),
            object: bytes(&object(json!([{"name": "a", "document": bad()}]))),
            ..Request::default()
        };
        assert!(!review(&request("CREATE", "ClusterEcrAccessPolicy", None), now()).allowed());
        assert!(review(&request("DELETE", "EcrAccessPolicy", None), now()).allowed());
        assert!(review(&request("UPDATE", "EcrAccessPolicy", Some("status")), now()).allowed());
        assert!(review(&request("CREATE", "IamRole", None), now()).allowed());
    }

    #[test]
    fn a_long_list_of_refusals_is_cut() {
        let many: Vec<Value> = (0..20).map(|i| json!({"name": format!("p{i}"), "document": bad()})).collect();
        let answer = ask("CREATE", object(Value::Array(many)), Value::Null);
        assert_eq!(causes(&answer).len(), MOST);
        assert!(answer.refusal.unwrap().message.ends_with("; and 12 more"));
    }
}
