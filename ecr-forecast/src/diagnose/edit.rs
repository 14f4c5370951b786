//! Policy documents as text: the statement to add, and a Deny that leaves one puller or one repository out.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::ecr::ArnPattern;
use crate::ecr::needs::{self, RequiredRequest};

/// An object that is ready to paste, with its members in the order in which people write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement(Vec<(String, Value)>);

/// The elements of a statement in the order of the AWS pages ("IAM JSON policy elements reference").
const ELEMENTS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

impl Statement {
    /// A statement that allows `actions` on `resource`.
    pub(crate) fn allow(actions: &[&str], resource: &str) -> Self {
        Self::of(json!({"Effect": "Allow", "Action": one_or_more(actions), "Resource": resource}))
    }

    /// A statement of a repository policy, which has no `Resource`, or with one of a registry policy.
    pub(crate) fn grant(actions: &[&str], role: &str, resource: Option<&str>) -> Self {
        let mut statement = json!({"Effect": "Allow", "Principal": {"AWS": role}, "Action": one_or_more(actions)});
        if let (Some(resource), Some(members)) = (resource, statement.as_object_mut()) {
            members.insert("Resource".to_owned(), Value::from(resource));
        }
        Self::of(statement)
    }

    /// One member and its value: an annotation.
    #[must_use]
    pub fn annotation(key: &str, value: &str) -> Self {
        Self(vec![(key.to_owned(), Value::from(value))])
    }

    /// Whatever is an object, in the order of a statement.
    pub(crate) fn of(value: Value) -> Self {
        let Value::Object(members) = value else { return Self(Vec::new()) };
        let place = |key: &str| ELEMENTS.iter().position(|known| *known == key).unwrap_or(ELEMENTS.len());
        let mut members: Vec<(String, Value)> = members.into_iter().collect();
        members.sort_by_key(|(key, _)| place(key));
        Self(members)
    }

    /// The same as a value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.iter().cloned().collect::<Map<String, Value>>())
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn one_or_more(texts: &[&str]) -> Value {
    match texts {
        [one] => Value::from(*one),
        _ => Value::from(texts.to_vec()),
    }
}

/// The statements of a document: AWS takes a single one for a list of one.
pub(crate) fn statements_mut(document: &mut Value) -> Option<&mut Vec<Value>> {
    let statements = document.get_mut("Statement")?;
    if !statements.is_array() {
        let single = statements.take();
        *statements = Value::Array(vec![single]);
    }
    statements.as_array_mut()
}

/// The statement that reports call `label`: by its Sid, or `#index`.
pub(crate) fn find(document: &Value, label: &str) -> Option<(usize, Value)> {
    let statements = match document.get("Statement")? {
        Value::Array(statements) => statements.iter().collect(),
        single => vec![single],
    };
    let called = |index: usize, statement: &Value| match statement.get("Sid").and_then(Value::as_str) {
        Some(sid) if !sid.is_empty() => sid == label,
        _ => label == format!("#{index}"),
    };
    let mut found = statements.into_iter().enumerate().filter(|(index, statement)| called(*index, statement));
    found.next().map(|(index, statement)| (index, statement.clone()))
}

/// The entries of an element that holds one text or several.
pub(crate) fn entries(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// For whom a Deny is narrowed.
pub(crate) struct CarveOut<'a> {
    /// The requests that it must not deny.
    pub(crate) requests: Vec<&'a RequiredRequest>,
    /// The ARN of the puller's role, where there is one.
    pub(crate) role: Option<&'a str>,
    /// The policy is the puller's own, so that leaving the puller out would leave nothing.
    pub(crate) own: bool,
}

/// A Deny statement that no longer denies the requests, and still denies as much else as can be said in one statement.
/// None: nothing of it would be left, or it cannot be said.
pub(crate) fn narrow(statement: &Value, exemption: &CarveOut<'_>) -> Option<Value> {
    let CarveOut { requests, role, own } = exemption;
    let (role, own) = (*role, *own);
    let mut narrowed = statement.clone();
    let members = narrowed.as_object_mut()?;
    if let (false, Some(role)) = (own, role) {
        // Others' policies bind others too: only this puller is let through.
        except_principal(members, role)?;
        return Some(narrowed);
    }
    let login = requests.iter().any(|request| request.is_login());
    let resource = requests.iter().find(|request| !request.is_login()).map(|request| request.resource.as_str());
    let resources: Vec<String> = entries(members.get("Resource")).into_iter().map(str::to_owned).collect();
    if let (false, Some(arn)) = (login, resource) {
        if resources.iter().any(|entry| entry == "*") && members.get("Principal").is_none() {
            members.remove("Resource");
            members.insert("NotResource".to_owned(), Value::from(arn));
            return Some(narrowed);
        }
        if members.contains_key("NotResource") {
            append(members, "NotResource", &[arn]);
            return Some(narrowed);
        }
    }
    let actions: Vec<&str> = requests.iter().map(|request| request.action).collect();
    if members.contains_key("NotAction") {
        append(members, "NotAction", &actions);
        return Some(narrowed);
    }
    let (hit, rest): (Vec<&str>, Vec<&str>) = entries(statement.get("Action"))
        .into_iter()
        .partition(|entry| actions.iter().any(|action| matches_action(entry, action)));
    if hit.iter().all(|entry| !entry.contains(['*', '?'])) {
        if rest.is_empty() {
            return None;
        }
        members.insert("Action".to_owned(), one_or_more(&rest));
        return Some(narrowed);
    }
    // Everything, or everything of the service where only its repositories are meant.
    let of_ecr = !resources.is_empty() && resources.iter().all(|entry| is_repository(entry));
    if hit.contains(&"*") || (of_ecr && hit.iter().any(|entry| entry.eq_ignore_ascii_case("ecr:*"))) {
        members.remove("Action");
        members.insert("NotAction".to_owned(), one_or_more(&actions));
        return Some(narrowed);
    }
    except_principal(members, role?)?;
    Some(narrowed)
}

/// Whether a pattern of actions matches; they have no case.
fn matches_action(pattern: &str, action: &str) -> bool {
    ArnPattern::new(pattern.to_ascii_lowercase()).matches(&action.to_ascii_lowercase())
}

fn is_repository(pattern: &str) -> bool {
    let mut parts = pattern.splitn(6, ':');
    parts.next() == Some("arn") && parts.nth(1) == Some("ecr")
}

/// Adds `ArnNotEquals` of `aws:PrincipalArn`: the lines of a condition hold together, and the values of a negated
/// operator all count ("Conditions with multiple context keys or values").
fn except_principal(members: &mut Map<String, Value>, role: &str) -> Option<()> {
    const OPERATOR: &str = "ArnNotEquals";
    const KEY: &str = "aws:PrincipalArn";
    let same = |known: &String, wanted: &str| known.eq_ignore_ascii_case(wanted);
    let conditions = members.entry("Condition").or_insert_with(|| json!({})).as_object_mut()?;
    let operator = conditions.keys().find(|known| same(known, OPERATOR)).cloned().unwrap_or(OPERATOR.to_owned());
    let lines = conditions.entry(operator).or_insert_with(|| json!({})).as_object_mut()?;
    let key = lines.keys().find(|known| same(known, KEY)).cloned().unwrap_or(KEY.to_owned());
    append(lines, &key, &[role]);
    Some(())
}

/// Appends to an element that holds one text or several, each once.
fn append(members: &mut Map<String, Value>, element: &str, more: &[&str]) {
    let mut all: Vec<&str> = entries(members.get(element));
    for text in more {
        if !all.contains(text) {
            all.push(text);
        }
    }
    let all = one_or_more(&all);
    members.insert(element.to_owned(), all);
}

/// What keeps the resource of a statement from being `wanted`, where it is one thing.
pub(crate) fn resource_hint(statement: &Value, wanted: &str) -> Option<String> {
    entries(statement.get("Resource")).into_iter().find_map(|entry| arn_hint(entry, wanted))
}

/// One entry of `Resource` against the ARN that is asked for.
fn arn_hint(entry: &str, wanted: &str) -> Option<String> {
    if entry.trim() != entry {
        return Some("there is white space around the ARN".to_owned());
    }
    let has: Vec<&str> = entry.splitn(6, ':').collect();
    let wants: Vec<&str> = wanted.splitn(6, ':').collect();
    let ([has_head @ .., has_name], [head @ .., name]) = (has.as_slice(), wants.as_slice()) else { return None };
    let matches = |(pattern, text): (&&str, &&str)| ArnPattern::new(*pattern).matches(text);
    let same = has_head.len() == head.len() && has_head.iter().zip(head).all(matches);
    if same { name_hint(has_name, name) } else { None }
}

/// The last field of an ARN, `repository/NAME`, against the one that is asked for.
fn name_hint(has: &str, wanted: &str) -> Option<String> {
    let matches = |pattern: &str| ArnPattern::new(pattern).matches(wanted);
    let below = wanted.strip_prefix(has).is_some_and(|rest| rest.starts_with('/'));
    if has.starts_with('/') && matches(&format!("repository{has}")) {
        Some("`repository` is missing before the name".to_owned())
    } else if matches(&format!("repository/{has}")) {
        Some("`repository/` is missing before the name".to_owned())
    } else if below || has.strip_suffix('/').is_some_and(|has| wanted.starts_with(has)) {
        let has = has.trim_end_matches('/');
        Some(format!("`{has}` is that repository alone; what is below it is `{has}/*`"))
    } else if has.strip_suffix("/*") == Some(wanted) {
        Some(format!("`{has}` is what is below `{wanted}`, and not that repository itself"))
    } else if has.rsplit_once([':', '@']).is_some_and(|(name, _)| matches(name)) {
        Some("a tag or digest is no part of a repository's ARN".to_owned())
    } else {
        None
    }
}

/// What keeps the principal of a statement from being the role, where that is worth telling.
pub(crate) fn principal_hint(statement: &Value, role: &str, account: &str) -> Option<String> {
    let principal = statement.get("Principal")?;
    let named = match principal {
        Value::Object(members) => entries(members.get("AWS")),
        other => entries(Some(other)),
    };
    named.into_iter().find_map(|entry| {
        let parts: Vec<&str> = entry.splitn(6, ':').collect();
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        match parts.as_slice() {
            [one] if one.len() == 12 && one.bytes().all(|b| b.is_ascii_digit()) => {
                Some(format!("it names account {one}, and the puller is of account {account}"))
            }
            [one] if one.starts_with("AROA") => {
                Some(format!("it names {one}, the id of a role that was deleted: name the new role"))
            }
            [_, _, "iam", _, other, "root"] if *other != account => {
                Some(format!("it names account {other}, and the puller is of account {account}"))
            }
            [_, _, "iam", _, other, name] if name.starts_with("role/") && last(name) == last(role) => {
                Some(if *other == account {
                    format!("it names `{entry}`: the path of the role differs")
                } else {
                    format!("it names the role of that name in account {other}, and the puller is of account {account}")
                })
            }
            [_, _, "iam", _, _, name] if name.contains('*') => {
                Some("a principal has no wildcards but a lone `*`".to_owned())
            }
            _ => None,
        }
    })
}

/// Whether an action is about a repository that is to be made.
pub(crate) fn is_creation(request: &RequiredRequest) -> bool {
    request.action == needs::CREATE
}

#[cfg(test)]
mod tests {
    use fixtures::ROLE;

    use super::*;
    use crate::ecr::needs::Need;

    const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";

    #[test]
    fn a_statement_is_ready_to_paste() {
        let json = |statement| serde_json::to_string(&statement).unwrap();
        assert_eq!(
            json(Statement::allow(&["ecr:GetAuthorizationToken"], "*")),
            r#"{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}"#
        );
        assert_eq!(
            json(Statement::allow(&["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "arn")),
            r#"{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn"}"#
        );
        assert_eq!(
            json(Statement::grant(&["ecr:BatchGetImage"], ROLE, None)),
            format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{ROLE}"}},"Action":"ecr:BatchGetImage"}}"#)
        );
        assert_eq!(
            json(Statement::of(
                json!({"Condition": {}, "Action": "a", "NotResource": "r", "Effect": "Deny", "Sid": "S"})
            )),
            r#"{"Sid":"S","Effect":"Deny","Action":"a","NotResource":"r","Condition":{}}"#
        );
    }

    #[test]
    fn a_deny_is_narrowed_by_as_little_as_can_be_said() {
        let ask = |action: &'static str| RequiredRequest {
            action,
            resource: if action == needs::LOGIN { "*".to_owned() } else { REPOSITORY.to_owned() },
            need: Need::Pull,
        };
        let (login, image, layer) = (ask(needs::LOGIN), ask(needs::PULL[0]), ask(needs::PULL[1]));
        let pull = || vec![&image, &layer];
        let all = || vec![&login, &image, &layer];
        // The statement, whose requests are left out, in the puller's own policy and in one of others.
        let narrowed = |statement: &Value, requests: Vec<&RequiredRequest>, own| {
            narrow(statement, &CarveOut { requests, role: Some(ROLE), own })
        };
        let everything = json!({"Effect": "Deny", "Action": "*", "Resource": "*"});
        let except = json!({"ArnNotEquals": {"aws:PrincipalArn": ROLE}});
        for (statement, requests, own, expected) in [
            (&everything, pull(), true, Some(json!({"Effect": "Deny", "Action": "*", "NotResource": REPOSITORY}))),
            (
                &everything,
                all(),
                true,
                Some(json!({"Effect": "Deny", "Resource": "*",
                    "NotAction": [needs::LOGIN, needs::PULL[0], needs::PULL[1]]})),
            ),
            (
                &everything,
                all(),
                false,
                Some(json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": except})),
            ),
            (
                &json!({"Effect": "Deny", "Action": ["ECR:batchGetImage", "ecr:PutImage"], "Resource": [REPOSITORY]}),
                vec![&image],
                true,
                Some(json!({"Effect": "Deny", "Action": "ecr:PutImage", "Resource": [REPOSITORY]})),
            ),
            (&json!({"Effect": "Deny", "Action": needs::LOGIN, "Resource": "*"}), vec![&login], true, None),
            (
                &json!({"Effect": "Deny", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/team/*"}),
                pull(),
                true,
                Some(json!({"Effect": "Deny", "NotAction": [needs::PULL[0], needs::PULL[1]],
                    "Resource": "arn:aws:ecr:*:*:repository/team/*"})),
            ),
            (
                &json!({"Effect": "Deny", "Action": "ecr:Batch*", "Resource": [REPOSITORY]}),
                vec![&image],
                true,
                Some(json!({"Effect": "Deny", "Action": "ecr:Batch*", "Resource": [REPOSITORY], "Condition": except})),
            ),
            (
                &json!({"Effect": "Deny", "Action": "ecr:*", "NotResource": "arn:a"}),
                pull(),
                true,
                Some(json!({"Effect": "Deny", "Action": "ecr:*", "NotResource": ["arn:a", REPOSITORY]})),
            ),
            (
                &json!({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}),
                vec![&login],
                true,
                Some(json!({"Effect": "Deny", "NotAction": ["s3:*", needs::LOGIN], "Resource": "*"})),
            ),
            (
                &json!({"Effect": "Deny", "Principal": "*", "Action": "*",
                    "Condition": {"arnnotequals": {"AWS:principalarn": "arn:other"}}}),
                pull(),
                false,
                Some(json!({"Effect": "Deny", "Principal": "*", "Action": "*",
                    "Condition": {"arnnotequals": {"AWS:principalarn": ["arn:other", ROLE]}}})),
            ),
        ] {
            assert_eq!(narrowed(statement, requests, own), expected, "{statement}");
        }
    }

    #[test]
    fn near_misses_of_an_arn() {
        let hint = |entry: &str| resource_hint(&json!({"Resource": [entry]}), REPOSITORY).unwrap_or_default();
        for (entry, words) in [
            ("arn:aws:ecr:us-east-1:111122223333:team/app", "`repository/` is missing"),
            ("arn:aws:ecr:us-east-1:111122223333:team/*", "`repository/` is missing"),
            ("arn:aws:ecr:us-east-1:111122223333:other/app", ""),
            ("arn:aws:ecr:us-east-1:111122223333:/team/*", "`repository` is missing"),
            ("arn:aws:ecr:eu-west-1:111122223333:repository/team", ""),
            ("arn:aws:ecr:us-east-1:111122223333:repository/team", "what is below it is `repository/team/*`"),
            ("arn:aws:ecr:us-east-1:111122223333:repository/team/", "what is below it is `repository/team/*`"),
            ("arn:aws:ecr:us-east-1:111122223333:repository/team/app/*", "and not that repository itself"),
            ("arn:aws:ecr:us-east-1:111122223333:repository/team/app:1", "no part of a repository's ARN"),
            (" arn:aws:ecr:us-east-1:111122223333:repository/team/app", "white space"),
            ("arn:aws:ecr:us-east-1:111122223333:repository/other", ""),
            ("arn:aws:ecr:eu-west-1:444455556666:repository/team/app", ""),
            ("repository/team/app", ""),
        ] {
            let hint = hint(entry);
            assert!(hint.contains(words) && hint.is_empty() == words.is_empty(), "{entry}: {hint}");
        }
    }

    #[test]
    fn near_misses_of_a_principal() {
        for (principal, words) in [
            (
                json!({"AWS": "arn:aws:iam::444455556666:root"}),
                "it names account 444455556666, and the puller is of account 111122223333",
            ),
            (json!({"AWS": ["444455556666"]}), "it names account 444455556666"),
            (json!({"AWS": "arn:aws:iam::444455556666:role/app"}), "the role of that name in account 444455556666"),
            (json!({"AWS": "arn:aws:iam::111122223333:role/path/app"}), "the path of the role differs"),
            (json!({"AWS": "AROAEXAMPLEEXAMPLE"}), "a role that was deleted"),
            (json!({"AWS": "arn:aws:iam::111122223333:role/*"}), "no wildcards"),
            (json!({"AWS": "arn:aws:iam::111122223333:role/other"}), ""),
            (json!({"Service": "ecr.amazonaws.com"}), ""),
        ] {
            let hint = principal_hint(&json!({"Principal": principal}), ROLE, "111122223333").unwrap_or_default();
            assert!(hint.contains(words) && hint.is_empty() == words.is_empty(), "{principal}: {hint}");
        }
    }
}
