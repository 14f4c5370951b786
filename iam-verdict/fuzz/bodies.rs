//! What the fuzz targets do with their bytes. Shared with `tests/corpus.rs`, which replays the corpus on a stable
//! compiler.

use iam_verdict::{
    Context, Decision, Environment, Fact, Linter, MAX_LINTS, MAX_PROBLEMS, NamedPolicy, Policy, PolicyType, Principal,
    Request, ServiceFacts, decide, evaluate, explain, missing, nearest_miss, problems, validate,
};
use serde_json::{Value, json};

#[path = "../tests/support/mod.rs"]
mod support;

/// Whatever is said of a document, however long, is short.
const LONGEST_MESSAGE: usize = 2000;

/// `Policy::parse` ends, with a short message or with a policy that `Policy::from_value` reads too.
pub fn parse(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Err(error) => assert!(error.to_string().len() < LONGEST_MESSAGE, "{error}"),
        Ok(policy) => {
            // Numbers beyond the range of floats are the one thing that the other reader does not take.
            let Ok(value) = serde_json::from_str::<Value>(text) else { return };
            let other = Policy::from_value(&value).expect("both readers take the document");
            assert!(policy.condition_keys().eq(other.condition_keys()));
        }
    }
}

/// The first byte is the policy type; the validator and the linter end and agree with each other and with the parser.
pub fn validate_and_lint(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let kind = PolicyType::ALL[usize::from(*first) % PolicyType::ALL.len()];
    let all = problems(kind, text);
    assert!(all.len() <= MAX_PROBLEMS);
    assert_eq!(validate(kind, text).err().as_ref(), all.first());
    let parsed = Policy::parse(text);
    if all.is_empty() {
        assert!(parsed.is_ok(), "a document without problems is no policy");
    }
    let services = [ServiceFacts {
        prefix: "ecr",
        actions: &[
            iam_verdict::ActionFacts { name: "GetAuthorizationToken", resource_level: false, keys: &[] },
            iam_verdict::ActionFacts { name: "BatchGetImage", resource_level: true, keys: &["ecr:ResourceTag/"] },
        ],
    }];
    let lints = Linter::new(kind).services(&services).lint(text);
    assert!(lints.len() <= MAX_LINTS && (parsed.is_ok() || lints.is_empty()));
    for said in all.iter().map(ToString::to_string).chain(lints.iter().map(ToString::to_string)) {
        assert!(said.len() < LONGEST_MESSAGE, "{said}");
    }
}

/// A case in the format of the conformance cases: the answers agree, and a definite one stays when facts become known.
pub fn evaluate_case(data: &[u8]) {
    let Ok(case) = serde_json::from_slice::<Value>(data) else { return };
    let Ok((env, request)) = support::case(&case) else { return };
    let outcome = evaluate(&env, &request);
    assert_eq!(decide(&env, &request), outcome.decision);
    assert_eq!(format!("{:?}", explain(&env, &request)), format!("{:?}", explain(&env, &request)));
    let _ = nearest_miss(&env, &request);
    let facts = missing(&env, &request).facts;
    assert_eq!(facts.is_empty(), outcome.decision != Decision::Unknown, "{facts:?}");
    for filling in [Fact::Absent, Fact::value("a"), Fact::value("true"), Fact::value("arn:aws:iam::1:role/a")] {
        let mut known = request.clone();
        let open: Vec<String> =
            (known.context.iter()).filter(|(_, fact)| **fact == Fact::Unknown).map(|(key, _)| key.to_owned()).collect();
        for key in open {
            known.context.set(&key, filling.clone());
        }
        let filled = evaluate(&env, &known).decision;
        let allowed = |decision| decision == Decision::Allowed;
        if outcome.decision != Decision::Unknown && filled != Decision::Unknown {
            assert_eq!(allowed(outcome.decision), allowed(filled), "{filling:?}");
        }
    }
}

/// Pattern, line feed, text: `StringLike` agrees with the obvious matcher, and `Resource` ends.
pub fn pattern(data: &[u8]) {
    let Some((pattern, text)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    if pattern.len() > 200 || text.len() > 400 {
        return;
    }
    // Version 2008-10-17 has no variables: `${…}` is text, to the obvious matcher too.
    let like = json!({"Version": "2008-10-17", "Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*",
        "Condition": {"StringLike": {"aws:userid": pattern}}}});
    let expected = if glob(pattern, text) { Decision::Allowed } else { Decision::ImplicitlyDenied };
    assert_eq!(ask(&like, "*", &[("aws:userid", text)]), expected);
    let resource = |version: &str| json!({"Version": version, "Statement": {"Effect": "Allow", "Action": "a:b", "Resource": pattern}});
    let decision = ask(&resource("2008-10-17"), text, &[]);
    // What a resource pattern matches, the same pattern with free stars matches.
    if decision == Decision::Allowed && text != "*" && !is_short_arn(pattern) {
        assert!(glob(pattern, text), "{pattern:?} {text:?}");
    }
    ask(&resource("2012-10-17"), text, &[("aws:username", "a")]);
}

fn is_short_arn(pattern: &str) -> bool {
    pattern.starts_with("arn:") && pattern.matches(':').count() < 5
}

/// The obvious matcher, by dynamic programming: row after row, whether the pattern so far matches the text so far.
fn glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for p in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match p {
                '*' => row[at] || (at > 0 && next[at - 1]),
                '?' => at > 0 && row[at - 1],
                p => at > 0 && row[at - 1] && text[at - 1] == p,
            };
        }
        row = next;
    }
    row[text.len()]
}

/// Name, tag and template in three lines: a template equals what the obvious substitution makes of it.
pub fn variables(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let (Some(name), Some(tag), Some(template)) = (lines.next(), lines.next(), lines.next()) else { return };
    let equals = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*",
        "Condition": {"StringEquals": {"aws:userid": template}}}});
    let known = [("aws:username", name), ("aws:principaltag/t", tag)];
    let allowed = |value: &str| ask(&equals, "*", &[known[0], known[1], ("aws:userid", value)]) == Decision::Allowed;
    match expand(template, &known) {
        Some(expanded) => {
            assert!(allowed(&expanded), "{template:?} {expanded:?}");
            assert!(!allowed(&format!("{expanded}x")));
        }
        None => assert!(!allowed(template) && !allowed(""), "{template:?}"),
    }
    // As a pattern, substituted text is literal, and the rest of the template is a pattern: nothing panics.
    let like = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "a:b",
        "Resource": format!("arn:aws:s3:::{template}"), "Condition": {"StringLike": {"aws:userid": template}}}});
    ask(&like, "arn:aws:s3:::a", &[known[0], known[1], ("aws:userid", tag)]);
}

/// Written straight from the rules IAM-VAR-3, 4, 5 and 9: none where a variable has no value.
fn expand(template: &str, known: &[(&str, &str)]) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(c) = ["*", "?", "$"].iter().find(|c| rest[2..].starts_with(&format!("{c}}}"))) {
            out.push_str(c);
            rest = &rest[4..];
            continue;
        }
        let inner = &rest[2..];
        let end = inner.find(['}', ',', '$', '{', '\'', '*', '?']);
        let key = end.map_or("", |end| &inner[..end]);
        let after = end.map_or("", |end| &inner[end..]);
        let (default, tail) = match after.strip_prefix("}") {
            Some(tail) => (None, Some(tail)),
            None => match after.strip_prefix(", '").and_then(|quoted| quoted.split_once('\'')) {
                Some((default, tail)) => (Some(default), tail.strip_prefix('}')),
                None => (None, None),
            },
        };
        let Some(tail) = tail.filter(|_| !key.is_empty() && key.trim() == key) else {
            // No variable: text.
            out.push_str("${");
            rest = inner;
            continue;
        };
        let value = known.iter().find(|(name, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        // The key that is compared is in the request too, and refers to itself.
        if key.eq_ignore_ascii_case("aws:userid") {
            return None;
        }
        out.push_str(value.or(default)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// A document that is printed and read again decides as before.
pub fn round_trip(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = Policy::parse(text) else { return };
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    for printed in [value.to_string(), format!("{value:#}")] {
        let again = Policy::parse(&printed).expect("a printed policy is a policy");
        assert!(policy.condition_keys().eq(again.condition_keys()));
        for (action, resource) in [
            ("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:111122223333:repository/team/app"),
            ("ecr:GetAuthorizationToken", "*"),
            ("s3:GetObject", "arn:aws:s3:::bucket/key"),
        ] {
            for unlisted in [Fact::Absent, Fact::value("true"), Fact::Unknown] {
                let decision = |policy: &Policy| {
                    let env = Environment {
                        identity: vec![NamedPolicy::known("p", policy.clone())],
                        ..Environment::default()
                    };
                    decide(&env, &request(action, resource, Context::new().with_unlisted(unlisted.clone())))
                };
                assert_eq!(decision(&policy), decision(&again));
            }
        }
    }
}

fn ask(policy: &Value, resource: &str, context: &[(&str, &str)]) -> Decision {
    let policy = Policy::from_value(policy).expect("the document is a policy");
    let env = Environment { identity: vec![NamedPolicy::known("p", policy)], ..Environment::default() };
    let mut facts = Context::new();
    for (key, value) in context {
        facts.set(key, Fact::value(*value));
    }
    decide(&env, &request("a:b", resource, facts))
}

fn request(action: &str, resource: &str, context: Context) -> Request {
    Request {
        principal: Principal::from_arn("arn:aws:iam::111122223333:role/app"),
        action: action.into(),
        resource: resource.into(),
        context,
    }
}
