//! Environments that are aware of grammar and boundaries: what just matches beside what just misses.

use serde_json::{Map, Value, json};

use crate::random::Random;

pub const OURS: &str = "111122223333";
pub const THEIRS: &str = "444455556666";

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Text,
    Several,
    Arn,
    Ip,
    Number,
    Date,
    Bool,
    Binary,
}

/// Context keys, with what they hold.
const KEYS: [(&str, Type); 22] = [
    ("aws:PrincipalTag/team", Type::Text),
    ("aws:ResourceTag/team", Type::Text),
    ("ecr:ResourceTag/tier", Type::Text),
    ("aws:username", Type::Text),
    ("aws:PrincipalAccount", Type::Text),
    ("aws:SourceVpce", Type::Text),
    ("aws:TagKeys", Type::Several),
    ("x:Labels", Type::Several),
    ("aws:CalledVia", Type::Several),
    ("aws:PrincipalArn", Type::Arn),
    ("aws:SourceArn", Type::Arn),
    ("aws:SourceIp", Type::Ip),
    ("aws:VpcSourceIp", Type::Ip),
    ("aws:MultiFactorAuthAge", Type::Number),
    ("s3:max-keys", Type::Number),
    ("aws:CurrentTime", Type::Date),
    ("aws:EpochTime", Type::Date),
    ("aws:TokenIssueTime", Type::Date),
    ("aws:SecureTransport", Type::Bool),
    ("aws:MultiFactorAuthPresent", Type::Bool),
    ("aws:ViaAWSService", Type::Bool),
    ("x:Blob", Type::Binary),
];

/// What the case under construction has settled on.
struct Story<'a> {
    random: &'a mut Random,
    action: String,
    resource: String,
    principals: Vec<String>,
    account: &'static str,
    /// The keys that policies read, with a value each.
    keys: Vec<(&'static str, Type, String)>,
    open: bool,
    unreadable: usize,
}

/// A line of `ecr-access evaluate`.
pub fn case(random: &mut Random) -> Value {
    let open = random.percent(40);
    let account = if random.percent(75) { OURS } else { THEIRS };
    let resource = match random.below(12) {
        0 => "*".to_owned(),
        1 => "arn:aws:s3:::bucket/team/key".to_owned(),
        2 => format!("arn:aws:logs:us-east-1:{account}:log-group:app:stream"),
        3 => format!("arn:aws:ecr:us-east-1:{account}:repository/app"),
        _ => format!("arn:aws:ecr:us-east-1:{account}:repository/team/app"),
    };
    let action = random.text(&["ecr:BatchGetImage", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "s3:GetObject"]);
    let (principal, principals) = principal(random, open, resource.contains(account));
    let count = 1 + random.below(3);
    let keys = (0..count)
        .map(|_| {
            let (key, kind) = *random.pick(&KEYS);
            (key, kind, value(random, kind))
        })
        .collect();
    let mut story = Story { random, action, resource, principals, account, keys, open, unreadable: 0 };
    let mut case = story.layers();
    let mut context = Map::new();
    let mut unknown = Vec::new();
    let several: Vec<(&str, Type, String)> = story.keys.clone();
    for (key, kind, held) in several {
        if context.keys().any(|other: &String| other.eq_ignore_ascii_case(key)) || unknown.contains(&json!(key)) {
            continue;
        }
        let key = story.spelled(key);
        match story.fact(kind, held) {
            Some(Value::Null) => unknown.push(json!(key)),
            Some(fact) => {
                context.insert(key, fact);
            }
            None => {}
        }
    }
    if story.open && story.random.percent(4) {
        unknown.push(json!("*"));
    }
    case["request"] =
        json!({"principal": principal, "action": story.action, "resource": story.resource, "context": context});
    if !unknown.is_empty() {
        case["unknownContext"] = Value::Array(unknown);
    }
    if story.random.percent(85) {
        case["resourceAccountId"] = json!(account);
    }
    case
}

/// The principal as the line has it, and the ARNs that policies may name.
fn principal(random: &mut Random, open: bool, resource_has_account: bool) -> (Value, Vec<String>) {
    let role = format!("arn:aws:iam::{OURS}:role/app");
    let deep = format!("arn:aws:iam::{OURS}:role/team/app");
    let session = format!("arn:aws:sts::{OURS}:assumed-role/app/pod-1");
    let user = format!("arn:aws:iam::{OURS}:user/ann");
    let root = format!("arn:aws:iam::{OURS}:root");
    let exempt = random.percent(15);
    if open && random.percent(25) {
        return match random.below(4) {
            0 => (json!({"arns": [], "account": OURS, "scpExempt": exempt}), vec![role, session, user, deep]),
            1 => (json!({"arns": [], "account": "unknown"}), vec![role, session, user, deep]),
            2 if resource_has_account => {
                (json!({"arns": [], "account": "sameAsResource", "scpExempt": exempt}), vec![role, session, user])
            }
            2 => (json!({"arns": []}), vec![role, session, user]),
            _ => (json!({"arns": [deep], "sessionUnknown": true, "scpExempt": exempt}), vec![deep, session, role]),
        };
    }
    match random.below(10) {
        0 => (json!(role), vec![role, session]),
        1 => (json!(user), vec![user]),
        2 => (json!(root), vec![root, role]),
        3 => (json!({"arns": [deep, session], "scpExempt": exempt}), vec![deep, session, role]),
        4 => (json!({"arns": [session], "account": OURS}), vec![session, role, deep]),
        5 => {
            let other = random.text(&["ecs.amazonaws.com", "cognito-identity.amazonaws.com", "79a59df900b949e55d96"]);
            if other.contains('.') && random.percent(50) {
                (json!(other), vec![other])
            } else {
                (json!({"arns": [other], "account": OURS, "scpExempt": exempt}), vec![other])
            }
        }
        _ => (json!(session), vec![session, role]),
    }
}

fn value(random: &mut Random, kind: Type) -> String {
    match kind {
        Type::Text | Type::Several => {
            random.text(&["a", "b", "ab", "A", "team", "team", "a*", "", "b?", "team/app", OURS])
        }
        Type::Arn => match random.below(6) {
            0 => format!("arn:aws:iam::{OURS}:role/team/app"),
            1 => format!("arn:aws:iam::{THEIRS}:role/app"),
            2 => "arn:aws:s3:::bucket".to_owned(),
            3 => "team".to_owned(),
            _ => format!("arn:aws:iam::{OURS}:role/app"),
        },
        Type::Ip => random.text(&[
            "203.0.113.0",
            "203.0.113.5",
            "203.0.112.255",
            "203.0.114.0",
            "0.0.0.0",
            "255.255.255.255",
            "2001:db8::1",
            "2001:DB8:0:0::1",
            "2001:db9::",
            "::",
            "none",
        ]),
        Type::Number => random.text(&[
            "0",
            "-0",
            "10",
            "10.0",
            "9",
            "11",
            "9.99",
            "10.01",
            "-10",
            "9007199254740993",
            "9007199254740992",
            "10abc",
            "",
        ]),
        Type::Date => random.text(&[
            "2024-06-01T00:00:00Z",
            "2024-05-31T23:59:59Z",
            "2024-06-01T00:00:01Z",
            "1717200000",
            "1717199999",
            "1717200001",
            "2024-06-01T02:00:00+02:00",
            "2024-06-01",
            "2024-06",
            "2024",
            "2024-02-30",
            "never",
        ]),
        Type::Bool => random.text(&["true", "false", "True", "FALSE", "yes"]),
        Type::Binary => random.text(&["QmluYXJ5", "b3RoZXI=", "b3RoZXI", ""]),
    }
}

/// A text that differs a little.
fn near(random: &mut Random, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len() + 1);
    let mut changed = chars.clone();
    match random.below(6) {
        0 => changed.insert(at, 'x'),
        1 if at < chars.len() => {
            changed.remove(at);
        }
        2 if at < chars.len() => {
            let c = changed[at];
            changed[at] = if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        }
        3 => changed.insert(at, ':'),
        4 if at < chars.len() => changed[at] = 'x',
        _ => changed.push('/'),
    }
    changed.into_iter().collect()
}

/// A pattern that matches the text.
fn pattern(random: &mut Random, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let from = random.below(chars.len() + 1);
    let to = from + random.below(chars.len() + 1 - from);
    let piece = |range: &[char]| range.iter().collect::<String>();
    match random.below(6) {
        0 => "*".to_owned(),
        1 => format!("{}*", piece(&chars[..from])),
        2 => format!("{}*{}", piece(&chars[..from]), piece(&chars[to..])),
        3 if from < chars.len() => format!("{}?{}", piece(&chars[..from]), piece(&chars[from + 1..])),
        4 => format!("*{}*", piece(&chars[from..to])),
        _ => text.to_owned(),
    }
}

impl Story<'_> {
    fn layers(&mut self) -> Value {
        let mut case = json!({});
        let crosses = self.account == THEIRS;
        let identity: Vec<Value> = (0..1 + self.random.below(2)).map(|_| self.policy("identity", 8)).collect();
        if self.random.percent(92) {
            case["identityPolicies"] = json!(identity);
        }
        if self.random.percent(25) {
            case["permissionsBoundary"] = self.policy("boundary", 45);
        }
        if self.random.percent(20) {
            let count = 1 + self.random.below(2);
            case["sessionPolicies"] = (0..count).map(|_| self.policy("session", 45)).collect();
        }
        if self.random.percent(if crosses { 85 } else { 40 }) {
            case["resourcePolicy"] = self.policy("resource", 0);
        }
        if self.random.percent(12) {
            case["registryPolicy"] = self.policy("registry", 0);
        }
        if self.random.percent(12) {
            case["endpointPolicy"] = self.policy("endpoint", 50);
        }
        for (layer, share) in [("serviceControlPolicies", 25), ("resourceControlPolicies", 15)] {
            if self.random.percent(share) {
                let levels = 1 + self.random.below(2);
                let kind = if layer == "serviceControlPolicies" { "scp" } else { "rcp" };
                let level = |story: &mut Self| -> Value {
                    let policies = 1 + story.random.below(2);
                    (0..policies).map(|_| story.policy(kind, 60)).collect()
                };
                case[layer] = (0..levels).map(|_| level(self)).collect();
            }
        }
        case
    }

    /// A policy; `all` in a hundred allow everything beside what they say.
    fn policy(&mut self, kind: &str, all: usize) -> Value {
        if self.open && self.random.percent(3) {
            self.unreadable += 1;
            return json!({"unreadable": format!("policy{}", self.unreadable)});
        }
        let attached = matches!(kind, "identity" | "boundary" | "session" | "scp");
        let modern = self.random.percent(80);
        let mut statements: Vec<Value> = Vec::new();
        if self.random.percent(all) {
            let mut statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
            if !attached {
                statement["Principal"] = json!("*");
            }
            statements.push(statement);
        }
        for _ in 0..1 + self.random.below(2) {
            statements.push(self.statement(kind));
        }
        let mut policy = json!({});
        policy["Statement"] =
            if statements.len() == 1 && self.random.percent(30) { statements.remove(0) } else { json!(statements) };
        if modern {
            policy["Version"] = json!("2012-10-17");
        } else if self.random.percent(50) {
            policy["Version"] = json!("2008-10-17");
        }
        policy
    }

    fn statement(&mut self, kind: &str) -> Value {
        let deny = self.random.percent(if kind == "rcp" { 90 } else { 22 });
        let mut statement = json!({"Effect": if deny { "Deny" } else { "Allow" }});
        let not = self.random.percent(12);
        let hit = self.random.percent(90) != not;
        statement[if not { "NotAction" } else { "Action" }] = self.entries(hit, Self::action);
        let bare = matches!(kind, "resource" | "registry") && self.random.percent(40) || self.random.percent(1);
        if !bare {
            let not = self.random.percent(12);
            let hit = self.random.percent(88) != not;
            statement[if not { "NotResource" } else { "Resource" }] = self.entries(hit, Self::resource);
        }
        let named = match kind {
            "resource" | "registry" => self.random.percent(98),
            "rcp" | "endpoint" => self.random.percent(60),
            _ => false,
        };
        if named {
            let not = self.random.percent(if deny { 35 } else { 6 });
            statement[if not { "NotPrincipal" } else { "Principal" }] = self.principal_clause();
        }
        let lines = match self.random.below(10) {
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        };
        let mut block = json!({});
        for _ in 0..lines {
            let (operator, key, values) = self.line();
            block[operator][key] = values;
        }
        if lines > 0 {
            statement["Condition"] = block;
        }
        statement
    }

    /// One text or a list; hits in one of them, or in none.
    fn entries(&mut self, hit: bool, make: fn(&mut Self, bool) -> String) -> Value {
        let mut all = vec![json!(make(self, hit))];
        while self.random.percent(25) {
            let other = json!(make(self, false));
            let at = self.random.below(all.len() + 1);
            all.insert(at, other);
        }
        if all.len() == 1 && self.random.percent(60) { all.remove(0) } else { json!(all) }
    }

    fn action(&mut self, hit: bool) -> String {
        let action = self.action.clone();
        if !hit {
            return match self.random.below(3) {
                0 => "ecr:PutImage".to_owned(),
                1 => format!("{action}s"),
                _ => near(self.random, &action),
            };
        }
        match self.random.below(5) {
            0 => "*".to_owned(),
            1 => action.to_uppercase(),
            2 => action.to_lowercase(),
            3 => {
                let (service, name) = action.split_once(':').expect("an action");
                format!("{service}:{}", pattern(self.random, name))
            }
            _ => action,
        }
    }

    fn resource(&mut self, hit: bool) -> String {
        let resource = self.resource.clone();
        if resource == "*" {
            return match (hit, self.random.below(3)) {
                (true, _) => "*".to_owned(),
                (_, 0) => "arn:aws:ecr:*:*:*".to_owned(),
                (_, 1) => "?".to_owned(),
                _ => format!("arn:aws:ecr:us-east-1:{OURS}:repository/app"),
            };
        }
        if self.random.percent(25) {
            return self.with_variables(&resource);
        }
        if !hit && self.random.percent(50) {
            return near(self.random, &resource);
        }
        let mut fields: Vec<String> = resource.splitn(6, ':').map(str::to_owned).collect();
        let text = match self.random.below(8) {
            0 => "*".to_owned(),
            1 => resource.clone(),
            2 => {
                // A star that ends a field may stand for several.
                let from = 1 + self.random.below(4);
                let to = from + self.random.below(5 - from);
                fields.splice(from..=to, ["*".to_owned()]);
                fields.join(":")
            }
            3 => {
                fields.truncate(2 + self.random.below(4));
                fields.join(":")
            }
            4 => {
                let at = self.random.below(6);
                fields[at] = pattern(self.random, &fields[at].clone());
                fields.join(":")
            }
            5 => {
                fields[3] = "*".to_owned();
                fields[4] = "*".to_owned();
                fields[5] = pattern(self.random, &fields[5].clone());
                fields.join(":")
            }
            6 => pattern(self.random, &resource),
            _ => format!("{}*", resource.strip_suffix("app").unwrap_or(&resource)),
        };
        if hit { text } else { near(self.random, &text) }
    }

    /// The text with some part of it in variables.
    fn with_variables(&mut self, text: &str) -> String {
        let (key, _, held) = self.random.pick(&self.keys).clone();
        let default = match self.random.below(8) {
            0 => ", 'team'",
            1 => ", 'a b'",
            _ => "",
        };
        let variable = match self.random.below(16) {
            0 => "${*}".to_owned(),
            1 => "${$}".to_owned(),
            2 => "${?}".to_owned(),
            3 => "${ bad}".to_owned(),
            _ => format!("${{{}{default}}}", self.spelled(key)),
        };
        if !held.is_empty() && text.contains(&held) && self.random.percent(70) {
            text.replacen(&held, &variable, 1)
        } else if text.contains("team") && self.random.percent(80) {
            let text = text.replacen("team", &variable, 1);
            match self.random.below(4) {
                0 => text.replace("/app", "/*"),
                1 => text.replace("app", "a??"),
                _ => text,
            }
        } else {
            match self.random.below(4) {
                0 => format!("{variable}*"),
                1 => format!("{text}{variable}"),
                2 => format!("{variable}{variable}"),
                _ => variable,
            }
        }
    }

    fn principal_clause(&mut self) -> Value {
        if self.random.percent(30) {
            return if self.random.percent(50) { json!("*") } else { json!({"AWS": "*"}) };
        }
        let mut entries = Vec::new();
        let mut others = json!({});
        for _ in 0..1 + self.random.below(2) {
            let named = self.random.pick(&self.principals).clone();
            let entry = match self.random.below(10) {
                0 => OURS.to_owned(),
                1 => format!("arn:aws:iam::{OURS}:root"),
                2 => {
                    self.random.text(&[THEIRS, "arn:aws:iam::444455556666:root", "arn:aws:iam::444455556666:role/app"])
                }
                3 => near(self.random, &named),
                4 => format!("arn:aws:sts::{OURS}:assumed-role/app/pod-2"),
                _ => named,
            };
            if entry.starts_with("arn:") || entry.chars().all(|c| c.is_ascii_digit()) {
                entries.push(entry);
            } else {
                let kind = self.random.text(&["Service", "Federated", "CanonicalUser"]);
                others[kind] = json!(entry);
            }
        }
        if entries.len() == 1 && self.random.percent(50) {
            others["AWS"] = json!(entries[0]);
        } else if !entries.is_empty() {
            others["AWS"] = json!(entries);
        }
        others
    }

    fn spelled(&mut self, key: &str) -> String {
        match self.random.below(8) {
            0 => key.to_lowercase(),
            1 => key.to_uppercase(),
            _ => key.to_owned(),
        }
    }

    /// Operator, key and values of a line of a condition.
    fn line(&mut self) -> (String, String, Value) {
        let (key, kind, held) = if self.random.percent(92) {
            self.random.pick(&self.keys).clone()
        } else {
            let (key, kind) = *self.random.pick(&KEYS);
            (key, kind, value(self.random, kind))
        };
        let key = self.spelled(key);
        if self.random.percent(10) {
            // One draw for both, so that what follows is what it was before set operators stood here.
            let line = self.random.text(&[
                "Null true",
                "Null false",
                "Null True",
                "ForAllValues:Null true",
                "ForAllValues:Null false",
                "ForAnyValue:Null false",
                "ForAnyValue:Null true",
            ]);
            let (operator, value) = line.split_once(' ').expect("an operator and a value");
            return (operator.to_owned(), key, json!(value));
        }
        // Now and then an operator of another type than the key's.
        let kind = if self.random.percent(4) { self.random.pick(&KEYS).1 } else { kind };
        let base = match kind {
            Type::Text | Type::Several => self.random.text(&[
                "StringEquals",
                "StringLike",
                "StringEqualsIgnoreCase",
                "StringNotEquals",
                "StringNotLike",
                "StringNotEqualsIgnoreCase",
            ]),
            Type::Arn => {
                self.random.text(&["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "StringLike", "StringEquals"])
            }
            Type::Ip => self.random.text(&["IpAddress", "NotIpAddress"]),
            Type::Number => {
                let suffix = self.random.text(&[
                    "Equals",
                    "NotEquals",
                    "LessThan",
                    "LessThanEquals",
                    "GreaterThan",
                    "GreaterThanEquals",
                ]);
                format!("Numeric{suffix}")
            }
            Type::Date => {
                let suffix = self.random.text(&[
                    "Equals",
                    "NotEquals",
                    "LessThan",
                    "LessThanEquals",
                    "GreaterThan",
                    "GreaterThanEquals",
                ]);
                format!("Date{suffix}")
            }
            Type::Bool => "Bool".to_owned(),
            Type::Binary => "BinaryEquals".to_owned(),
        };
        let several = key.eq_ignore_ascii_case("aws:TagKeys")
            || key.eq_ignore_ascii_case("x:Labels")
            || key.eq_ignore_ascii_case("aws:CalledVia");
        let prefix = if self.random.percent(if several { 85 } else { 4 }) {
            self.random.text(&["ForAllValues:", "ForAnyValue:"])
        } else {
            String::new()
        };
        let suffix = if self.random.percent(20) { "IfExists" } else { "" };
        let mut operator = format!("{prefix}{base}{suffix}");
        if self.random.percent(4) {
            operator = operator.to_lowercase();
        }
        let mut values = vec![self.wanted(kind, &base, &held)];
        while self.random.percent(20) {
            let other = value(self.random, kind);
            values.push(self.wanted(kind, &base, &other));
        }
        if self.random.percent(1) {
            values.clear();
        }
        let values = if values.len() == 1 && self.random.percent(60) { json!(values[0]) } else { json!(values) };
        (operator, key, values)
    }

    /// A value of a policy that matches `held`, or just misses.
    fn wanted(&mut self, kind: Type, base: &str, held: &str) -> Value {
        if self.random.percent(15) {
            return json!(value(self.random, kind));
        }
        match kind {
            Type::Text | Type::Several | Type::Arn => {
                let text = match self.random.below(8) {
                    0 => near(self.random, held),
                    1 | 2 => self.with_variables(held),
                    3 if base.contains("IgnoreCase") => held.to_uppercase(),
                    3..6 if base.contains("Like") || base.starts_with("Arn") => match kind {
                        Type::Arn => {
                            let mut fields: Vec<String> = held.splitn(6, ':').map(str::to_owned).collect();
                            let at = self.random.below(fields.len());
                            fields[at] = pattern(self.random, &fields[at].clone());
                            fields.join(":")
                        }
                        _ => pattern(self.random, held),
                    },
                    6 if base.contains("Like") => pattern(self.random, held),
                    _ => held.to_owned(),
                };
                json!(text)
            }
            Type::Ip => {
                let length = self.random.text(&["", "/32", "/24", "/23", "/0", "/1", "/128", "/33", "/8"]);
                json!(format!("{held}{length}"))
            }
            Type::Number => match held.parse::<i64>() {
                Ok(number) if self.random.percent(50) => {
                    let moved = number + i64::try_from(self.random.below(3)).expect("small") - 1;
                    if self.random.percent(50) { json!(moved) } else { json!(format!("{moved}.0")) }
                }
                _ => json!(held),
            },
            Type::Bool if self.random.percent(6) => {
                let (key, ..) = self.random.pick(&self.keys).clone();
                json!(format!("${{{key}}}"))
            }
            Type::Bool if self.random.percent(30) => json!(self.random.percent(50)),
            _ => json!(held),
        }
    }

    /// What the request says of a key; null: in `unknownContext`.
    fn fact(&mut self, kind: Type, held: String) -> Option<Value> {
        if self.open && self.random.percent(75) {
            return Some(match self.random.below(8) {
                0 => json!({"present": true}),
                1 => json!({"absentOr": [held]}),
                2 => json!({"unknown": true}),
                3 if kind == Type::Several => json!({"absentOr": [held, "a"]}),
                _ => Value::Null,
            });
        }
        match self.random.below(12) {
            0 => None,
            1 => Some(json!({"absent": true})),
            2 => Some(json!([])),
            3 | 4 if kind == Type::Several => Some(json!([held, value(self.random, kind)])),
            3 if kind == Type::Text && self.random.percent(30) => Some(json!([held, "b"])),
            4 => Some(json!([held])),
            5 => Some(json!(value(self.random, kind))),
            _ => Some(json!(held)),
        }
    }
}
