//! A second evaluator, written from the rules of `docs/iam-semantics.md` and the AWS pages they cite: it reads the JSON
//! of the policies on every request, compiles nothing and shares no code with the crate. Slow and obvious on purpose.
//!
//! It decides one *reading*: every fact is given.

use std::collections::BTreeMap;

use iam_verdict::Decision;
use serde_json::{Map, Value};

/// Every fact of a request, given.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Values by lower-case key; a key that is not there, or has no values, is absent.
    pub context: BTreeMap<String, Vec<String>>,
    /// The ARNs of the principal: role and session, or the user.
    pub arns: Vec<String>,
    /// The principal's account.
    pub account: String,
    /// Whether the resource is the account's.
    pub same: bool,
    /// What policies that could not be read say, by the name of the fact.
    pub draws: BTreeMap<String, Draw>,
}

/// What a policy that could not be read says of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draw {
    Nothing,
    Deny,
    /// It allows everyone, the user or the session.
    Direct,
    /// It allows the role (a resource-based policy).
    Role,
    /// It allows the account (a resource-based policy).
    Account,
}

/// How a resource-based policy may name the principal.
#[derive(Clone, Copy, Default)]
struct Named {
    direct: bool,
    role: bool,
    account: bool,
}

/// What the statements of some policies say.
#[derive(Clone, Copy, Default)]
struct Said {
    denied: bool,
    allowed: Named,
}

impl Said {
    fn allows(self) -> bool {
        self.allowed.direct || self.allowed.role || self.allowed.account
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Attached to the principal: identity, boundary, session, SCP.
    Attached,
    /// Resource-based: repository, registry.
    Resource,
    /// RCP and endpoint: a missing Principal means everyone.
    Guard,
}

/// The decision of one reading of a case.
pub fn decide(case: &Value, reading: &Reading) -> Decision {
    let say = |kind: Kind, policies: Vec<&Value>| {
        let mut said = Said::default();
        for policy in policies {
            let one = policy_says(case, reading, kind, policy);
            said.denied |= one.denied;
            said.allowed.direct |= one.allowed.direct;
            said.allowed.role |= one.allowed.role;
            said.allowed.account |= one.allowed.account;
        }
        said
    };
    let identity = say(Kind::Attached, list(&case["identityPolicies"]));
    let boundary = say(Kind::Attached, single(&case["permissionsBoundary"]));
    let session = say(Kind::Attached, list(&case["sessionPolicies"]));
    let mut owner = single(&case["resourcePolicy"]);
    owner.extend(single(&case["registryPolicy"]));
    let resource = say(Kind::Resource, owner);
    let endpoint = say(Kind::Guard, single(&case["endpointPolicy"]));
    let exempt = is_exempt(case);
    let scps: Vec<Said> = if exempt {
        Vec::new()
    } else {
        list(&case["serviceControlPolicies"]).into_iter().map(|level| say(Kind::Attached, list(level))).collect()
    };
    let rcps: Vec<Said> =
        list(&case["resourceControlPolicies"]).into_iter().map(|level| say(Kind::Guard, list(level))).collect();

    let denied = [identity, boundary, session, resource, endpoint].iter().any(|said| said.denied)
        || scps.iter().any(|said| said.denied)
        || rcps.iter().any(|said| said.denied);
    if denied {
        return Decision::ExplicitlyDenied;
    }
    let unlimited = (case["permissionsBoundary"].is_null() || boundary.allows())
        && (list(&case["sessionPolicies"]).is_empty() || session.allows());
    let by_identity = identity.allows() && unlimited;
    let granted = if reading.same {
        by_identity || resource.allowed.direct || (resource.allowed.role && unlimited)
    } else {
        by_identity && resource.allows()
    };
    let organization = scps.iter().all(|level| level.allows());
    let way = case["endpointPolicy"].is_null() || endpoint.allows();
    if granted && organization && way { Decision::Allowed } else { Decision::ImplicitlyDenied }
}

/// Whether service control policies reach the principal; a service has no account that they are of.
pub fn is_exempt(case: &Value) -> bool {
    let principal = &case["request"]["principal"];
    principal["scpExempt"] == Value::Bool(true) || principal.as_str().is_some_and(|text| !text.starts_with("arn:"))
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map(|items| items.iter().collect()).unwrap_or_default()
}

fn single(value: &Value) -> Vec<&Value> {
    if value.is_null() { Vec::new() } else { vec![value] }
}

/// A value, or the values of a list.
fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        single => vec![single],
    }
}

fn texts(value: &Value) -> Vec<String> {
    one_or_many(value)
        .into_iter()
        .map(|item| match item {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

fn policy_says(case: &Value, reading: &Reading, kind: Kind, policy: &Value) -> Said {
    let mut said = Said::default();
    if let Some(name) = policy["unreadable"].as_str() {
        match reading.draws[name] {
            Draw::Nothing => {}
            Draw::Deny => said.denied = true,
            Draw::Direct => said.allowed.direct = true,
            Draw::Role => said.allowed.role = true,
            Draw::Account => said.allowed.account = true,
        }
        return said;
    }
    let modern = policy["Version"] == "2012-10-17";
    for statement in one_or_many(&policy["Statement"]) {
        let named = names(case, reading, kind, statement);
        if !(named.direct || named.role || named.account)
            || !action_applies(case, statement)
            || !resource_applies(case, reading, kind, statement, modern)
            || !conditions_hold(reading, statement, modern)
        {
            continue;
        }
        if statement["Effect"] == "Deny" {
            said.denied = true;
        } else {
            said.allowed.direct |= named.direct;
            said.allowed.role |= named.role;
            said.allowed.account |= named.account;
        }
    }
    said
}

fn action_applies(case: &Value, statement: &Value) -> bool {
    let action = lower(case["request"]["action"].as_str().unwrap());
    let matches = |wanted: &Value| {
        let pattern = lower(wanted.as_str().unwrap());
        glob(&free_pattern(&pattern), &chars(&action))
    };
    if statement["Action"].is_null() {
        !one_or_many(&statement["NotAction"]).into_iter().any(matches)
    } else {
        one_or_many(&statement["Action"]).into_iter().any(matches)
    }
}

pub fn resource_applies(case: &Value, reading: &Reading, kind: Kind, statement: &Value, modern: bool) -> bool {
    let resource = case["request"]["resource"].as_str().unwrap();
    let matches = |wanted: &Value| {
        let wanted = wanted.as_str().unwrap();
        if resource == "*" {
            return !wanted.is_empty() && wanted.chars().all(|c| c == '*');
        }
        let mut spellings = vec![wanted.to_owned()];
        let colons = wanted.chars().filter(|c| *c == ':').count();
        if wanted.starts_with("arn:") && colons < 5 {
            let mut completed = wanted.to_owned();
            for _ in colons..5 {
                completed.push_str(":*");
            }
            spellings.push(completed);
        }
        spellings.iter().any(|wanted| match resource_pattern(wanted, reading, modern) {
            Some(pattern) => glob(&pattern, &chars(resource)),
            None => false,
        })
    };
    match (&statement["Resource"], &statement["NotResource"]) {
        (Value::Null, Value::Null) => kind == Kind::Resource,
        (Value::Null, not) => !one_or_many(not).into_iter().any(matches),
        (positive, _) => one_or_many(positive).into_iter().any(matches),
    }
}

// Principals.

fn names(case: &Value, reading: &Reading, kind: Kind, statement: &Value) -> Named {
    let everyone = Named { direct: true, ..Named::default() };
    let nobody = Named::default();
    if kind == Kind::Attached {
        return everyone;
    }
    match (&statement["Principal"], &statement["NotPrincipal"]) {
        (Value::Null, Value::Null) => {
            if kind == Kind::Guard {
                everyone
            } else {
                nobody
            }
        }
        (Value::Null, not) => {
            let has_boundary = !case["permissionsBoundary"].is_null();
            if statement["Effect"] == "Deny" && has_boundary {
                return everyone;
            }
            let listed = clause_names(reading, not);
            if listed.direct || listed.role { nobody } else { everyone }
        }
        (clause, _) => clause_names(reading, clause),
    }
}

fn clause_names(reading: &Reading, clause: &Value) -> Named {
    let mut named = Named::default();
    if clause == "*" {
        named.direct = true;
        return named;
    }
    for (kind, entries) in clause.as_object().unwrap() {
        for entry in texts(entries) {
            if kind != "AWS" {
                named.direct |= reading.arns.contains(&entry);
            } else if entry == "*" {
                named.direct = true;
            } else if let Some(account) = account_named(&entry) {
                named.account |= reading.account == account;
                named.direct |= reading
                    .arns
                    .iter()
                    .any(|arn| arn.contains(":iam::") && account_named(arn).as_deref() == Some(&account));
            } else if entry.contains(":iam::") && entry.splitn(6, ':').nth(5).unwrap_or("").starts_with("role/") {
                named.role |= has_role(reading, &entry);
            } else {
                named.direct |= reading.arns.contains(&entry);
            }
        }
    }
    named
}

/// The account of `111122223333` or `arn:aws:iam::111122223333:root`.
fn account_named(entry: &str) -> Option<String> {
    let digits = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    if digits(entry) {
        return Some(entry.to_owned());
    }
    let parts: Vec<&str> = entry.split(':').collect();
    let root = parts.len() == 6 && parts[0] == "arn" && parts[2..4] == ["iam", ""] && parts[5] == "root";
    (root && !parts[4].is_empty()).then(|| parts[4].to_owned())
}

fn has_role(reading: &Reading, wanted: &str) -> bool {
    if reading.arns.iter().any(|arn| arn == wanted) {
        return true;
    }
    // A session alone means the role without a path.
    let knows_role = reading.arns.iter().any(|arn| arn.contains(":iam::") && arn.contains(":role/"));
    !knows_role && reading.arns.iter().any(|arn| role_of(arn).as_deref() == Some(wanted))
}

/// `arn:aws:sts::111122223333:assumed-role/app/x` gives `arn:aws:iam::111122223333:role/app`.
pub fn role_of(session: &str) -> Option<String> {
    let parts: Vec<&str> = session.splitn(6, ':').collect();
    if parts.len() != 6 || parts[0] != "arn" || parts[2..4] != ["sts", ""] {
        return None;
    }
    let pieces: Vec<&str> = parts[5].splitn(3, '/').collect();
    (pieces.len() == 3 && pieces[0] == "assumed-role")
        .then(|| format!("arn:{}:iam::{}:role/{}", parts[1], parts[4], pieces[1]))
}

// Conditions.

fn conditions_hold(reading: &Reading, statement: &Value, modern: bool) -> bool {
    let none = Map::new();
    let block = statement["Condition"].as_object().unwrap_or(&none);
    block.iter().all(|(operator, lines)| {
        lines.as_object().unwrap().iter().all(|(key, values)| line_holds(reading, operator, key, values, modern))
    })
}

/// Whether one line of a condition holds.
pub fn line_holds(reading: &Reading, operator: &str, key: &str, wanted: &Value, modern: bool) -> bool {
    let key = key.to_ascii_lowercase();
    let nothing = Vec::new();
    let values = reading.context.get(&key).unwrap_or(&nothing);
    let wanted = texts(wanted);
    let mut name = operator.to_ascii_lowercase();
    if name == "null" {
        let absent = values.is_empty();
        return wanted.iter().any(|text| lower(text) == if absent { "true" } else { "false" });
    }
    let all = name.strip_prefix("forallvalues:").map(str::to_owned);
    let any = name.strip_prefix("foranyvalue:").map(str::to_owned);
    let (every, some) = (all.is_some(), any.is_some());
    name = all.or(any).unwrap_or(name);
    let bare = name.strip_suffix("ifexists").map(str::to_owned);
    let if_exists = bare.is_some();
    name = bare.unwrap_or(name);
    let negated = name.contains("not");
    if values.is_empty() {
        return if every {
            true
        } else if some {
            if_exists
        } else {
            if_exists || negated
        };
    }
    let one = |value: &String| {
        let hit = wanted.iter().any(|wanted| value_matches(reading, &name, value, wanted, modern));
        hit != negated
    };
    if every {
        values.iter().all(one)
    } else if some {
        values.iter().any(one)
    } else {
        values.len() == 1 && !multivalued(&key) && one(&values[0])
    }
}

/// The global keys that AWS calls multivalued.
pub fn multivalued(key: &str) -> bool {
    [
        "aws:calledvia",
        "aws:principalorgpaths",
        "aws:principalservicenameslist",
        "aws:resourceorgpaths",
        "aws:sourceorgpaths",
        "aws:tagkeys",
        "aws:vpceorgpaths",
    ]
    .contains(&key)
}

/// Whether a value of the request matches one of the policy; `name` is lower-case, negation is the caller's.
fn value_matches(reading: &Reading, name: &str, value: &str, wanted: &str, modern: bool) -> bool {
    match name {
        "stringequals" | "stringnotequals" => {
            substitute(wanted, reading, modern).is_some_and(|wanted| plain(&wanted) == value)
        }
        "stringequalsignorecase" | "stringnotequalsignorecase" => {
            substitute(wanted, reading, modern).is_some_and(|wanted| lower(&plain(&wanted)) == lower(value))
        }
        "stringlike" | "stringnotlike" => substitute(wanted, reading, modern).is_some_and(|wanted| {
            let pattern: Vec<Piece> = wanted.into_iter().map(wild).collect();
            glob(&pattern, &chars(value))
        }),
        "arnequals" | "arnlike" | "arnnotequals" | "arnnotlike" => {
            substitute(wanted, reading, modern).is_some_and(|wanted| arn_matches(&wanted, value))
        }
        "numericequals" | "numericnotequals" => compare_numbers(value, wanted).is_some_and(|order| order == 0),
        "numericlessthan" => compare_numbers(value, wanted).is_some_and(|order| order < 0),
        "numericlessthanequals" => compare_numbers(value, wanted).is_some_and(|order| order <= 0),
        "numericgreaterthan" => compare_numbers(value, wanted).is_some_and(|order| order > 0),
        "numericgreaterthanequals" => compare_numbers(value, wanted).is_some_and(|order| order >= 0),
        "dateequals" | "datenotequals" => compare_dates(value, wanted).is_some_and(|order| order == 0),
        "datelessthan" => compare_dates(value, wanted).is_some_and(|order| order < 0),
        "datelessthanequals" => compare_dates(value, wanted).is_some_and(|order| order <= 0),
        "dategreaterthan" => compare_dates(value, wanted).is_some_and(|order| order > 0),
        "dategreaterthanequals" => compare_dates(value, wanted).is_some_and(|order| order >= 0),
        "ipaddress" | "notipaddress" => ip_in(value, wanted),
        "binaryequals" => match (base64(value), base64(wanted)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        "bool" => {
            let Some(wanted) = substitute(wanted, reading, modern) else { return false };
            let (value, wanted) = (lower(value), lower(&plain(&wanted)));
            value == wanted && (value == "true" || value == "false")
        }
        other => panic!("the oracle has no operator {other}"),
    }
}

// Patterns.

/// A piece of a text after variables are substituted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    /// Written in the policy: `*` and `?` may be wildcards.
    Written(char),
    /// Substituted or escaped: always itself.
    Literal(char),
    Star {
        colons: bool,
    },
    One {
        colons: bool,
    },
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn plain(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Written(c) | Piece::Literal(c) => *c,
            _ => panic!("wildcards are not made yet"),
        })
        .collect()
}

fn wild(piece: Piece) -> Piece {
    match piece {
        Piece::Written('*') => Piece::Star { colons: true },
        Piece::Written('?') => Piece::One { colons: true },
        Piece::Written(c) => Piece::Literal(c),
        other => other,
    }
}

fn free_pattern(text: &str) -> Vec<Piece> {
    text.chars().map(Piece::Written).map(wild).collect()
}

/// Puts values in the place of variables; none where a variable has no value.
fn substitute(text: &str, reading: &Reading, modern: bool) -> Option<Vec<Piece>> {
    let text = chars(text);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match if modern { variable(&text[at..], reading) } else { Plain } {
            Plain => {
                pieces.push(Piece::Written(text[at]));
                at += 1;
            }
            Stands(length, value) => {
                pieces.extend(value.chars().map(Piece::Literal));
                at += length;
            }
            Nothing => return None,
        }
    }
    Some(pieces)
}

enum Variable {
    Plain,
    /// So many characters stand for this text.
    Stands(usize, String),
    Nothing,
}
use Variable::{Nothing, Plain, Stands};

fn variable(text: &[char], reading: &Reading) -> Variable {
    if text.len() < 4 || text[0] != '$' || text[1] != '{' {
        return Plain;
    }
    if text[3] == '}' && ['*', '?', '$'].contains(&text[2]) {
        return Stands(4, text[2].to_string());
    }
    let mut at = 2;
    let mut key = String::new();
    loop {
        match text.get(at) {
            None | Some('$' | '{' | '\'' | '*' | '?') => return Plain,
            Some('}' | ',') => break,
            Some(c) => key.push(*c),
        }
        at += 1;
    }
    if key.is_empty() || key.trim() != key {
        return Plain;
    }
    let mut default = None;
    if text[at] == ',' {
        if text.get(at + 1) != Some(&' ') || text.get(at + 2) != Some(&'\'') {
            return Plain;
        }
        at += 3;
        let mut value = String::new();
        loop {
            match text.get(at) {
                None => return Plain,
                Some('\'') => break,
                Some(c) => value.push(*c),
            }
            at += 1;
        }
        at += 1;
        if text.get(at) != Some(&'}') {
            return Plain;
        }
        default = Some(value);
    }
    let length = at + 1;
    let key = key.to_ascii_lowercase();
    let values = reading.context.get(&key).cloned().unwrap_or_default();
    if values.is_empty() {
        match default {
            Some(default) => Stands(length, default),
            None => Nothing,
        }
    } else if values.len() == 1 && !multivalued(&key) {
        Stands(length, values[0].clone())
    } else {
        Nothing
    }
}

/// In a Resource, variables stand after the fifth colon, and before it a wildcard stays inside its field unless a star
/// ends the field.
fn resource_pattern(text: &str, reading: &Reading, modern: bool) -> Option<Vec<Piece>> {
    let text = chars(text);
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut colons = 0;
    while at < text.len() {
        if colons >= 5 {
            let rest: String = text[at..].iter().collect();
            pieces.extend(substitute(&rest, reading, modern)?.into_iter().map(wild));
            break;
        }
        match text[at] {
            '*' => {
                let mut end = at;
                while text.get(end) == Some(&'*') {
                    end += 1;
                }
                let ends_field = end == text.len() || text[end] == ':';
                pieces.push(Piece::Star { colons: ends_field });
                at = end - 1;
            }
            '?' => pieces.push(Piece::One { colons: false }),
            c => pieces.push(Piece::Literal(c)),
        }
        if text[at] == ':' {
            colons += 1;
        }
        at += 1;
    }
    Some(pieces)
}

/// The six fields of ARNs one by one; the last may hold colons. What is no ARN matches nothing.
fn arn_matches(wanted: &[Piece], value: &str) -> bool {
    let value: Vec<&str> = value.splitn(6, ':').collect();
    if value.len() != 6 || value[0] != "arn" {
        return false;
    }
    // IAM-VAR-8: stars alone are any ARN.
    if !wanted.is_empty() && wanted.iter().all(|piece| *piece == Piece::Written('*')) {
        return true;
    }
    let mut fields: Vec<Vec<Piece>> = vec![Vec::new()];
    for piece in wanted {
        let colon = matches!(piece, Piece::Written(':') | Piece::Literal(':'));
        if colon && fields.len() < 6 {
            fields.push(Vec::new());
        } else {
            fields.last_mut().unwrap().push(wild(*piece));
        }
    }
    fields.len() == 6 && fields.iter().zip(&value).all(|(field, value)| glob(field, &chars(value)))
}

/// Tries everything.
fn glob(pattern: &[Piece], text: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        Piece::Literal(c) | Piece::Written(c) => text.first() == Some(c) && glob(rest, &text[1..]),
        Piece::One { colons } => text.first().is_some_and(|c| *colons || *c != ':') && glob(rest, &text[1..]),
        Piece::Star { colons } => {
            glob(rest, text) || (text.first().is_some_and(|c| *colons || *c != ':') && glob(pattern, &text[1..]))
        }
    }
}

// Values.

/// Digits and perhaps a point between digits, aligned and compared as texts.
fn compare_numbers(a: &str, b: &str) -> Option<i32> {
    let read = |text: &str| {
        let negative = text.starts_with('-');
        let digits = text.trim_start_matches(['-', '+']);
        if text.len() - digits.len() > 1 {
            return None;
        }
        let parts: Vec<&str> = digits.split('.').collect();
        let good = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        if parts.len() > 2 || !parts.iter().all(good) {
            return None;
        }
        let fraction = parts.get(1).copied().unwrap_or("");
        let aligned = format!("{:0>60}{:0<60}", parts[0], fraction);
        let zero = aligned.chars().all(|c| c == '0');
        Some((negative && !zero, aligned))
    };
    let ((a_negative, a), (b_negative, b)) = (read(a)?, read(b)?);
    let size = match a.cmp(&b) {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    };
    Some(match (a_negative, b_negative) {
        (false, false) => size,
        (true, true) => -size,
        (true, false) => -1,
        (false, true) => 1,
    })
}

fn compare_dates(a: &str, b: &str) -> Option<i128> {
    let (a, b) = (microseconds(a)?, microseconds(b)?);
    Some((a - b).signum())
}

/// Since 1970, by counting days one by one.
fn microseconds(text: &str) -> Option<i128> {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if digits(text.trim_start_matches('-')) && text.trim_start_matches('-').len() != 4 {
        return text.parse::<i128>().ok().map(|seconds| seconds * 1_000_000);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let widths = [4, 2, 2];
    if parts.len() > 3 || !parts.iter().zip(widths).all(|(part, width)| digits(part) && part.len() == width) {
        return None;
    }
    let part = |index: usize| parts.get(index).map_or(1, |part| part.parse::<i128>().unwrap());
    let (year, month, day) = (part(0), part(1), part(2));
    let leap = |year: i128| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = |year: i128, month: i128| match month {
        2 => 28 + i128::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || day < 1 || day > length(year, month) {
        return None;
    }
    let mut days = 0;
    for passed in 1970..year {
        days += 365 + i128::from(leap(passed));
    }
    for coming in year..1970 {
        days -= 365 + i128::from(leap(coming));
    }
    for passed in 1..month {
        days += length(year, passed);
    }
    days += day - 1;
    let mut seconds = days * 86_400;
    let mut micros = 0;
    if let Some(time) = time {
        if parts.len() != 3 {
            return None;
        }
        let (clock, east) = if let Some(clock) = time.strip_suffix('Z') {
            (clock, 0)
        } else {
            let at = time.find(['+', '-'])?;
            let (hours, minutes) = time[at + 1..].split_once(':')?;
            if !digits(hours) || !digits(minutes) || hours.len() != 2 || minutes.len() != 2 {
                return None;
            }
            let (hours, minutes) = (hours.parse::<i128>().ok()?, minutes.parse::<i128>().ok()?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let sign = if time.as_bytes()[at] == b'+' { 1 } else { -1 };
            (&time[..at], sign * (hours * 60 + minutes) * 60)
        };
        let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let fields: Vec<&str> = whole.split(':').collect();
        let two = |part: &&str| digits(part) && part.len() == 2;
        if !(2..=3).contains(&fields.len()) || !fields.iter().all(two) || !digits(fraction) {
            return None;
        }
        if clock.contains('.') && fields.len() != 3 {
            return None;
        }
        let field = |index: usize| fields.get(index).map_or(0, |field| field.parse::<i128>().unwrap());
        if field(0) > 23 || field(1) > 59 || field(2) > 59 {
            return None;
        }
        seconds += field(0) * 3600 + field(1) * 60 + field(2) - east;
        micros = format!("{fraction:0<6}")[..6].parse().ok()?;
    }
    Some(seconds * 1_000_000 + micros)
}

/// The bits of an address, written out.
pub fn address_bits(text: &str) -> Option<String> {
    if text.contains(':') {
        let halves: Vec<&str> = text.split("::").collect();
        let groups = |half: &str| -> Option<Vec<u32>> {
            if half.is_empty() {
                return Some(Vec::new());
            }
            half.split(':')
                .map(|group| {
                    let good = (1..=4).contains(&group.len()) && group.chars().all(|c| c.is_ascii_hexdigit());
                    good.then(|| u32::from_str_radix(group, 16).unwrap())
                })
                .collect()
        };
        let mut all = groups(halves[0])?;
        match halves.len() {
            1 => {}
            2 => {
                let tail = groups(halves[1])?;
                if all.len() + tail.len() > 7 {
                    return None;
                }
                while all.len() + tail.len() < 8 {
                    all.push(0);
                }
                all.extend(tail);
            }
            _ => return None,
        }
        (all.len() == 8).then(|| all.iter().map(|group| format!("{group:016b}")).collect())
    } else {
        let parts: Vec<&str> = text.split('.').collect();
        let mut bits = String::new();
        for part in &parts {
            let good = !part.is_empty()
                && part.chars().all(|c| c.is_ascii_digit())
                && (*part == "0" || !part.starts_with('0'));
            let number: u32 = if good { part.parse().ok()? } else { return None };
            if number > 255 {
                return None;
            }
            bits.push_str(&format!("{number:08b}"));
        }
        (parts.len() == 4).then_some(bits)
    }
}

fn ip_in(value: &str, wanted: &str) -> bool {
    let Some(value) = address_bits(value) else { return false };
    let (network, length) = match wanted.split_once('/') {
        Some((network, length)) => (network, Some(length)),
        None => (wanted, None),
    };
    let Some(network) = address_bits(network) else { return false };
    let length: usize = match length {
        None => network.len(),
        Some(text) => {
            let good =
                !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            match text.parse() {
                Ok(length) if good => length,
                _ => return false,
            }
        }
    };
    length <= network.len() && network.len() == value.len() && network[..length] == value[..length]
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = String::new();
    for c in body.chars() {
        bits.push_str(&format!("{:06b}", DIGITS.find(c)?));
    }
    let whole = bits.len() / 8 * 8;
    if bits[whole..].contains('1') || bits.len() - whole >= 6 {
        return None;
    }
    Some((0..whole).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap()).collect())
}

/// The keys (lower-case) of the variables in a text, and the text with the values that the reading has.
pub fn variables(text: &str, reading: &Reading, modern: bool) -> (Vec<String>, String) {
    let all = chars(text);
    let mut keys = Vec::new();
    let mut shown = String::new();
    let mut at = 0;
    while at < all.len() {
        let length = if modern {
            match variable(&all[at..], reading) {
                Plain => 0,
                Stands(length, value) => {
                    shown.push_str(&value);
                    length
                }
                Nothing => all[at..].iter().position(|c| *c == '}').map_or(0, |end| end + 1),
            }
        } else {
            0
        };
        if length == 0 {
            shown.push(all[at]);
            at += 1;
            continue;
        }
        if length > 4 || ![Some('*'), Some('?'), Some('$')].contains(&all.get(at + 2).copied()) {
            let key: String = all[at + 2..at + length].iter().take_while(|c| **c != '}' && **c != ',').collect();
            keys.push(key.to_ascii_lowercase());
        }
        at += length;
    }
    (keys, shown)
}
