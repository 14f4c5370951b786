//! Properties that hold whatever the policies say: what must not matter does not, and what can move a decision moves
//! it one way only. Cases come from the generator of the differential test, by seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]
#![allow(dead_code)]

#[path = "oracle/generate.rs"]
mod generate;
#[path = "oracle/line.rs"]
mod line;
#[path = "oracle/random.rs"]
mod random;

use iam_verdict::{Decision, Policy, decide};
use proptest::prelude::*;
use random::Random;
use serde_json::{Map, Value, json};

fn decision(case: &Value) -> Decision {
    let (env, request) = line::read(case);
    decide(&env, &request)
}

fn case(seed: u64) -> (Value, Random) {
    let mut random = Random::new(seed);
    (generate::case(&mut random), random)
}

fn is_denial(decision: Decision) -> bool {
    matches!(decision, Decision::ExplicitlyDenied | Decision::ImplicitlyDenied)
}

/// Every policy of the case that was read.
fn policies(case: &mut Value) -> Vec<&mut Value> {
    let mut all = Vec::new();
    for (name, layer) in case.as_object_mut().unwrap() {
        match name.as_str() {
            "identityPolicies" | "sessionPolicies" => all.extend(layer.as_array_mut().unwrap()),
            "permissionsBoundary" | "resourcePolicy" | "registryPolicy" | "endpointPolicy" => all.push(layer),
            "serviceControlPolicies" | "resourceControlPolicies" => {
                all.extend(layer.as_array_mut().unwrap().iter_mut().flat_map(|level| level.as_array_mut().unwrap()));
            }
            _ => {}
        }
    }
    all.retain(|policy| policy["unreadable"].is_null());
    all
}

fn statements(policy: &mut Value) -> &mut Vec<Value> {
    if !policy["Statement"].is_array() {
        policy["Statement"] = json!([policy["Statement"].take()]);
    }
    policy["Statement"].as_array_mut().unwrap()
}

/// Shuffles, and repeats one item now and then.
fn shake(items: &mut Vec<Value>, random: &mut Random) {
    for at in (1..items.len()).rev() {
        items.swap(at, random.below(at + 1));
    }
    if !items.is_empty() && random.percent(50) {
        let copy = items[random.below(items.len())].clone();
        items.insert(random.below(items.len() + 1), copy);
    }
}

fn shake_inside(value: &mut Value, random: &mut Random) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(|item| shake_inside(item, random));
            shake(items, random);
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| shake_inside(field, random)),
        _ => {}
    }
}

fn other_case(text: &str, random: &mut Random) -> String {
    let flip = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(|c| if random.percent(50) { flip(c) } else { c }).collect()
}

fn rename(fields: &mut Map<String, Value>, random: &mut Random) {
    *fields = std::mem::take(fields).into_iter().map(|(key, value)| (other_case(&key, random), value)).collect();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_duplicates_do_not_matter(seed: u64) {
        let (before, mut random) = case(seed);
        let mut after = before.clone();
        policies(&mut after).into_iter().for_each(|policy| shake_inside(policy, &mut random));
        for name in ["identityPolicies", "sessionPolicies", "serviceControlPolicies", "resourceControlPolicies"] {
            if let Some(items) = after[name].as_array_mut() {
                shake(items, &mut random);
            }
        }
        prop_assert_eq!(decision(&before), decision(&after), "{}\n{}", before, after);
    }

    #[test]
    fn an_added_deny_allows_nothing_and_an_added_allow_denies_nothing(seed: u64) {
        let (before, mut random) = case(seed);
        let (mut donor, _) = case(seed.wrapping_add(1));
        let mut gifts: Vec<Value> = policies(&mut donor).into_iter().flat_map(|policy| statements(policy).clone()).collect();
        gifts.push(json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Principal": "*"}));
        for deny in [true, false] {
            let mut after = before.clone();
            let mut homes = policies(&mut after);
            if homes.is_empty() {
                continue;
            }
            let home = random.below(homes.len());
            // The last one applies more often than the others.
            let strong = random.percent(50);
            let mut gift = if strong { gifts[gifts.len() - 1].clone() } else { random.pick(&gifts).clone() };
            if gift["Principal"].is_null() && gift["NotPrincipal"].is_null() {
                gift.as_object_mut().unwrap().retain(|name, _| !name.ends_with("Principal"));
                gift["Principal"] = json!("*");
            }
            gift["Effect"] = json!(if deny { "Deny" } else { "Allow" });
            let all = statements(homes[home]);
            all.insert(random.below(all.len() + 1), gift);
            let (was, is) = (decision(&before), decision(&after));
            if deny {
                prop_assert!(is != Decision::Allowed || was == Decision::Allowed, "{was} to {is}: {after}");
                prop_assert!(is == Decision::ExplicitlyDenied || was != Decision::ExplicitlyDenied, "{was} to {is}: {after}");
            } else {
                prop_assert!(was != Decision::Allowed || is == Decision::Allowed, "{was} to {is}: {after}");
                prop_assert!(was == Decision::ExplicitlyDenied || is != Decision::ExplicitlyDenied, "{was} to {is}: {after}");
            }
        }
    }

    #[test]
    fn keys_and_actions_match_in_any_case(seed: u64) {
        let (before, mut random) = case(seed);
        let mut after = before.clone();
        let action = other_case(before["request"]["action"].as_str().unwrap(), &mut random);
        after["request"]["action"] = json!(action);
        rename(after["request"]["context"].as_object_mut().unwrap(), &mut random);
        for policy in policies(&mut after) {
            for statement in statements(policy) {
                for name in ["Action", "NotAction"] {
                    match &mut statement[name] {
                        Value::String(text) => *text = other_case(text, &mut random),
                        Value::Array(items) => {
                            items.iter_mut().for_each(|item| *item = json!(other_case(item.as_str().unwrap(), &mut random)));
                        }
                        _ => drop(statement.as_object_mut().unwrap().remove(name)),
                    }
                }
                for lines in statement["Condition"].as_object_mut().into_iter().flat_map(|block| block.values_mut()) {
                    let lines = lines.as_object_mut().unwrap();
                    // Two spellings of one key must not become the same name.
                    if lines.len() == 1 {
                        rename(lines, &mut random);
                    }
                }
                if statement["Condition"].is_null() {
                    statement.as_object_mut().unwrap().remove("Condition");
                }
            }
        }
        prop_assert_eq!(decision(&before), decision(&after), "{}\n{}", before, after);
    }

    #[test]
    fn a_statement_may_be_split(seed: u64) {
        let (before, _) = case(seed);
        let mut after = before.clone();
        for policy in policies(&mut after) {
            let all = statements(policy);
            for name in ["Action", "Resource"] {
                *all = std::mem::take(all)
                    .into_iter()
                    .flat_map(|statement| match statement.get(name).and_then(Value::as_array).cloned() {
                        None => vec![statement],
                        Some(items) => items
                            .into_iter()
                            .map(|item| {
                                let mut one = statement.clone();
                                one[name] = item;
                                one
                            })
                            .collect(),
                    })
                    .collect();
            }
        }
        prop_assert_eq!(decision(&before), decision(&after), "{}\n{}", before, after);
    }

    #[test]
    fn forgetting_a_fact_never_turns_a_decision(seed: u64) {
        let (before, mut random) = case(seed);
        let context = before["request"]["context"].as_object().unwrap();
        for (key, value) in context {
            // Several values of a key that holds one are no request that AWS makes.
            let forgotten = match value {
                Value::Array(items) if items.len() > 1 => continue,
                Value::Object(_) => json!({"unknown": true}),
                Value::Array(items) if items.is_empty() => json!({"unknown": true}),
                value => match random.below(3) {
                    0 => json!({"present": true}),
                    1 => json!({"absentOr": value}),
                    _ => json!({"unknown": true}),
                },
            };
            let lists = value.get("absentOr").and_then(Value::as_array).is_some_and(|items| items.len() > 1);
            if lists {
                continue;
            }
            let mut after = before.clone();
            after["request"]["context"][key] = forgotten;
            let (was, is) = (decision(&before), decision(&after));
            let allowed = match was {
                Decision::Allowed => is == Decision::Allowed || is == Decision::Unknown,
                Decision::Unknown => is == Decision::Unknown,
                _ => is_denial(is) || is == Decision::Unknown,
            };
            prop_assert!(allowed, "{} to {} without {}: {}", was, is, key, before);
        }
    }

    /// `X` and `NotX` are each other's complement where every key is known and present.
    #[test]
    fn elements_and_operators_complement(seed: u64) {
        let (mut given, _) = case(seed);
        given["unknownContext"] = Value::Null;
        given["request"]["principal"] = json!("arn:aws:iam::111122223333:user/ann");
        given["resourceAccountId"] = json!("111122223333");
        let resource = given["request"]["resource"].as_str().unwrap();
        if !resource.contains("111122223333") && resource != "*" {
            given["request"]["resource"] = json!("arn:aws:ecr:us-east-1:111122223333:repository/team/app");
        }
        let known = |value: &Value| value.is_string();
        given["request"]["context"].as_object_mut().unwrap().retain(|_, value| known(value));
        let context = given["request"]["context"].clone();
        let alone = |statement: Value, version: &Value| {
            let policy = json!({"Version": version, "Statement": statement});
            decision(&json!({"request": given["request"], "resourceAccountId": "111122223333", "identityPolicies": [policy]}))
        };
        let all = given.clone();
        let mut all = all;
        for policy in policies(&mut all) {
            let version = if policy["Version"].is_null() { json!("2008-10-17") } else { policy["Version"].clone() };
            for statement in statements(policy) {
                let mut pairs = Vec::new();
                for (name, not) in [("Action", "NotAction"), ("Resource", "NotResource")] {
                    for present in [name, not] {
                        if !statement[present].is_null() {
                            let with = |element: &str| {
                                let mut one = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
                                one.as_object_mut().unwrap().remove(name);
                                one[element] = statement[present].clone();
                                one
                            };
                            pairs.push((with(name), with(not)));
                        }
                    }
                }
                for (operator, lines) in statement["Condition"].as_object().into_iter().flatten() {
                    let Some(opposite) = opposite(operator) else { continue };
                    for (key, values) in lines.as_object().unwrap() {
                        let held = context.as_object().unwrap().keys().any(|held| held.eq_ignore_ascii_case(key));
                        if held && !["aws:tagkeys", "aws:calledvia"].contains(&key.to_lowercase().as_str()) {
                            let with = |operator: &str| json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {operator: {key: values}}});
                            pairs.push((with(operator), with(&opposite)));
                        }
                    }
                }
                for (one, other) in pairs {
                    let (a, b) = (alone(one.clone(), &version), alone(other.clone(), &version));
                    prop_assert!((a == Decision::Allowed) != (b == Decision::Allowed), "{a} and {b}: {one} and {other} for {}", given["request"]);
                }
            }
        }
    }
}

/// `StringEquals` for `StringNotEquals` and the reverse; none for set operators, which negate each value.
fn opposite(operator: &str) -> Option<String> {
    if operator.contains(':') {
        return None;
    }
    for (positive, negative) in [
        ("String", "StringNot"),
        ("Arn", "ArnNot"),
        ("NumericE", "NumericNotE"),
        ("DateE", "DateNotE"),
        ("Ip", "NotIp"),
    ] {
        if let Some(rest) = operator.strip_prefix(negative) {
            return Some(format!("{positive}{rest}"));
        }
        if let Some(rest) = operator.strip_prefix(positive) {
            return Some(format!("{negative}{rest}"));
        }
    }
    None
}

/// The generator writes what the parser takes, in both readers.
#[test]
fn generated_documents_are_read() {
    let mut count = 0;
    for seed in 0..200 {
        let (mut case, _) = case(seed);
        for policy in policies(&mut case) {
            assert!(Policy::parse(&policy.to_string()).is_ok(), "{policy}");
            count += 1;
        }
    }
    assert!(count > 200);
}
