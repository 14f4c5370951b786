//! The lints themselves: of the document, of one statement, and across statements.

use std::collections::{BTreeMap, BTreeSet};

use super::cover::{self, Budget};
use super::facts::{ActionFacts, GlobalKey, global_key};
use super::lints::{LintId, Lints};
use crate::condition::operator::{Comparison, Operator, Quantifier, Test};
use crate::condition::value::{Instant, Network, Number, parse_bool};
use crate::element::{Path, field};
use crate::json::Json;
use crate::key;
use crate::pattern::{Pattern, Wildcards};
use crate::quote::Quoted;
use crate::validate::{PolicyType, grammar};
use crate::variable;

/// A statement as the lints look at it.
pub(super) struct Statement<'a> {
    /// Its place in the list; none where `Statement` is one object.
    pub(super) index: Option<usize>,
    fields: &'a [(String, Json)],
    sid: &'a str,
    allows: bool,
    action: Option<Clause<'a>>,
    resource: Option<Clause<'a>>,
    principal: Option<(&'static str, &'a Json)>,
    lines: Vec<Line<'a>>,
}

/// `Action`, `NotAction`, `Resource` or `NotResource`.
struct Clause<'a> {
    name: &'static str,
    entries: Vec<&'a str>,
    list: bool,
}

/// One key under one operator.
struct Line<'a> {
    operator: Operator,
    name: &'a str,
    key: &'a str,
    /// The key in lower case.
    lower: String,
    values: Vec<&'a str>,
    list: bool,
}

impl<'a> Statement<'a> {
    pub(super) fn read(json: &'a Json, index: Option<usize>) -> Option<Self> {
        let Json::Object(fields) = json else { return None };
        let text = |name| match field(fields, name) {
            Some(Json::String(text)) => text.as_str(),
            _ => "",
        };
        let principal = ["Principal", "NotPrincipal"];
        Some(Self {
            index,
            fields,
            sid: text("Sid"),
            allows: text("Effect") == "Allow",
            action: Clause::read(fields, ["Action", "NotAction"]),
            resource: Clause::read(fields, ["Resource", "NotResource"]),
            principal: principal.into_iter().find_map(|name| Some((name, field(fields, name)?))),
            lines: lines(fields),
        })
    }

    fn label(&self) -> String {
        match (self.sid, self.index) {
            ("", index) => format!("`#{}`", index.unwrap_or(0)),
            (sid, _) => Quoted(sid).to_string(),
        }
    }

    fn place(&self, statements: &Path<'_>) -> String {
        match self.index {
            Some(index) => statements.index(index).to_string(),
            None => statements.to_string(),
        }
    }
}

impl<'a> Clause<'a> {
    fn read(fields: &'a [(String, Json)], names: [&'static str; 2]) -> Option<Self> {
        let (name, json) = names.into_iter().find_map(|name| Some((name, field(fields, name)?)))?;
        let (entries, list) = texts(json);
        Some(Self { name, entries, list })
    }

    fn negated(&self) -> bool {
        self.name.starts_with("Not")
    }

    fn has_star(&self) -> bool {
        self.entries.iter().any(|entry| is_star(entry))
    }

    /// Calls `look` with each entry and its place.
    fn each(&self, statement: &Path<'_>, mut look: impl FnMut(&'a str, &Path<'_>)) {
        let at = statement.field(self.name);
        for (index, entry) in self.entries.iter().enumerate() {
            if self.list { look(entry, &at.index(index)) } else { look(entry, &at) }
        }
    }
}

fn texts(json: &Json) -> (Vec<&str>, bool) {
    fn scalar(json: &Json) -> Option<&str> {
        match json {
            Json::String(text) | Json::Number(text) => Some(text),
            Json::Bool(true) => Some("true"),
            Json::Bool(false) => Some("false"),
            _ => None,
        }
    }
    match json {
        Json::Array(items) => (items.iter().filter_map(scalar).collect(), true),
        single => (scalar(single).into_iter().collect(), false),
    }
}

fn lines(fields: &[(String, Json)]) -> Vec<Line<'_>> {
    let mut all = Vec::new();
    let Some(Json::Object(operators)) = field(fields, "Condition") else { return all };
    for (name, block) in operators {
        let (Some(operator), Json::Object(block)) = (Operator::parse(name), block) else { continue };
        for (key, values) in block {
            let (values, list) = texts(values);
            all.push(Line { operator, name, key, lower: key.to_ascii_lowercase(), values, list });
        }
    }
    all
}

impl<'a> Line<'a> {
    fn is_string(&self) -> bool {
        matches!(self.operator.test, Test::StringEquals | Test::StringEqualsIgnoreCase | Test::StringLike)
    }

    /// Whether the line needs the key to be there.
    fn wants_key(&self) -> bool {
        let Operator { quantifier, test, negated, if_exists } = self.operator;
        let single_null = test == Test::Null && quantifier == Quantifier::One;
        !single_null && !if_exists && quantifier != Quantifier::All && (!negated || quantifier == Quantifier::Any)
    }

    /// What a line of `Null` asks: the key is absent, or present; none for other lines and for both.
    fn null(&self) -> Option<bool> {
        let first = parse_bool(self.values.first()?)?;
        let same = self.values.iter().all(|value| parse_bool(value) == Some(first));
        let single = self.operator.quantifier == Quantifier::One;
        (self.operator.test == Test::Null && single && same).then_some(first)
    }

    fn each(&self, statement: &Path<'_>, mut look: impl FnMut(&'a str, &Path<'_>)) {
        let condition = statement.field("Condition");
        let operator = condition.field(self.name);
        let at = operator.field(self.key);
        for (index, value) in self.values.iter().enumerate() {
            if self.list { look(value, &at.index(index)) } else { look(value, &at) }
        }
    }

    fn at<T>(&self, statement: &Path<'_>, look: impl FnOnce(&Path<'_>) -> T) -> T {
        let condition = statement.field("Condition");
        let operator = condition.field(self.name);
        look(&operator.field(self.key))
    }
}

fn is_star(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b == b'*')
}

/// The variables of a text, and what stands around them.
fn variables(text: &str) -> (Vec<variable::Variable>, String) {
    let (mut found, mut around, mut rest) = (Vec::new(), String::new(), text);
    while let Some(start) = rest.find("${") {
        around.push_str(rest.get(..start).unwrap_or_default());
        rest = rest.get(start..).unwrap_or_default();
        match variable::parse(rest) {
            Some((parsed, tail)) => {
                if let variable::Parsed::Variable(variable) = parsed {
                    found.push(variable);
                }
                rest = tail;
            }
            None => {
                around.push_str("${");
                rest = rest.get(2..).unwrap_or_default();
            }
        }
    }
    around.push_str(rest);
    (found, around)
}

/// Lints of the document as a whole.
pub(super) fn document(lints: &mut Lints<'_>, fields: &[(String, Json)], text: &str, path: &Path<'_>) {
    let kind = lints.linter.kind;
    if field(fields, "Version").is_none() {
        lints.add(
            LintId::MissingVersion,
            path,
            "without `Version` the language is the one of 2008, which has no policy variables",
            "write `\"Version\": \"2012-10-17\"`",
        );
    }
    if field(fields, "Id").is_some() && !matches!(kind, PolicyType::Resource | PolicyType::Registry) {
        lints.add(
            LintId::IdInIdentity,
            path.field("Id"),
            "the grammar has `Id` in resource-based policies only",
            "remove the element",
        );
    }
    // "IAM and AWS STS quotas": white space does not count.
    let (quota, what) = match kind {
        PolicyType::Identity => (6_144, "a managed policy; the inline policies of a role may have 10,240 together"),
        PolicyType::Boundary => (6_144, "a managed policy"),
        PolicyType::Session => (2_048, "a session policy"),
        PolicyType::Resource | PolicyType::Registry => (10_240, "the policy of an ECR repository or registry"),
        PolicyType::Scp => (5_120, "a service control policy, unless the quota was raised"),
        PolicyType::Rcp => (5_120, "a resource control policy"),
        PolicyType::Trust => (2_048, "a trust policy, unless the quota was raised"),
    };
    let size = text.chars().filter(|c| !c.is_ascii_whitespace()).count();
    if size > quota && !lints.linter.aws_owned {
        lints.add(
            LintId::Quota,
            path,
            format!("{size} characters without white space; the quota is {quota} for {what}"),
            "use patterns, or split the document",
        );
    }
}

/// Lints of one statement.
pub(super) fn statement(lints: &mut Lints<'_>, statement: &Statement<'_>, path: &Path<'_>) {
    actions(lints, statement, path);
    resources(lints, statement, path);
    principals(lints, statement, path);
    empty(lints, statement, path);
    let known = all_known(lints, statement);
    for line in &statement.lines {
        if lints.full() {
            return;
        }
        keys(lints, &known, line, path);
        values(lints, line, path);
    }
    together(lints, statement, path);
}

fn actions(lints: &mut Lints<'_>, statement: &Statement<'_>, path: &Path<'_>) {
    let Some(clause) = &statement.action else { return };
    clause.each(path, |entry, at| {
        if clause.negated() && is_star(entry) {
            lints.add(
                LintId::MatchesNothing,
                at,
                "`NotAction` with `*` leaves no action: the statement never applies",
                "list what is to be excepted, or remove the statement",
            );
        }
        let Some(service) = entry.split_once(':').and_then(|(prefix, _)| lints.service(prefix)) else { return };
        let found = matched(lints, entry);
        if found.is_empty() {
            let hint = match closest(entry, service.prefix, service.actions) {
                Some(close) => format!("did you mean `{}:{close}`?", service.prefix),
                None => format!("look it up among the actions of `{}`", service.prefix),
            };
            lints.add(LintId::UnknownAction, at, format!("{} is no action of its service", Quoted(entry)), hint);
            return;
        }
        if clause.negated() || found.iter().any(|action| action.resource_level) {
            return;
        }
        let scoped = match &statement.resource {
            Some(resource) => !resource.negated() && !resource.has_star(),
            None => lints.linter.kind == PolicyType::Resource,
        };
        if scoped {
            let effect = if statement.allows { "grants" } else { "denies" };
            let (message, hint) = if lints.linter.kind == PolicyType::Resource {
                ("is not about the resource", "grant it in an identity policy, with `\"Resource\": \"*\"`")
            } else {
                ("knows no resources", "give it a statement with `\"Resource\": \"*\"`")
            };
            lints.add(
                LintId::NeedsStarResource,
                at,
                format!("{} {message}: this statement never {effect} it", Quoted(entry)),
                hint,
            );
        }
    });
    redundant(lints, clause, path, cover::action);
}

/// The known actions that an entry of `Action` matches.
fn matched<'a>(lints: &Lints<'a>, entry: &str) -> Vec<&'a ActionFacts<'a>> {
    let Some((prefix, name)) = entry.split_once(':') else { return Vec::new() };
    let Some(service) = lints.service(prefix) else { return Vec::new() };
    let pattern = Pattern::new(name, Wildcards::Free, false, true);
    service.actions.iter().filter(|action| pattern.matches_plain(action.name)).collect()
}

/// The action whose name has the longest beginning in common with `entry`.
fn closest<'a>(entry: &str, prefix: &str, actions: &[ActionFacts<'a>]) -> Option<&'a str> {
    let name = entry.get(prefix.len() + 1..)?;
    let common = |known: &str| known.bytes().zip(name.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let close = |action: &&ActionFacts<'_>| common(action.name) * 3 >= action.name.len() * 2;
    let best = actions.iter().filter(close);
    best.max_by_key(|action| (common(action.name), std::cmp::Reverse(action.name.len()))).map(|action| action.name)
}

/// Whether one entry covers another.
type Covers = fn(&str, &str, &mut Budget) -> bool;

fn redundant(lints: &mut Lints<'_>, clause: &Clause<'_>, path: &Path<'_>, covers: Covers) {
    for (index, narrow) in clause.entries.iter().enumerate() {
        for (other, wide) in clause.entries.iter().enumerate() {
            if index == other {
                continue;
            }
            if lints.full() || lints.budget.is_spent() {
                return;
            }
            let budget = &mut lints.budget;
            // Of two entries that cover each other the first is kept.
            if covers(wide, narrow, budget) && (other < index || !covers(narrow, wide, budget)) {
                let at = path.field(clause.name);
                lints.add(
                    LintId::RedundantEntry,
                    at.index(index),
                    format!("{} is covered by {}", Quoted(narrow), Quoted(wide)),
                    "remove one of them",
                );
                break;
            }
        }
    }
}

fn resources(lints: &mut Lints<'_>, statement: &Statement<'_>, path: &Path<'_>) {
    let Some(clause) = &statement.resource else { return };
    let modern = lints.modern;
    clause.each(path, |entry, at| {
        if clause.negated() && is_star(entry) {
            lints.add(
                LintId::MatchesNothing,
                at,
                "`NotResource` with `*` leaves no resource: the statement never applies",
                "list what is to be excepted, or remove the statement",
            );
        }
        old_variables(lints, entry, at);
        odd(lints, entry, at);
        if !modern || !entry.contains("${") {
            return short(lints, entry, at);
        }
        let fields = grammar::arn_fields(entry.strip_prefix("arn:").unwrap_or(entry));
        if let Some(head) = fields.iter().take(4).find(|field| !variables(field).0.is_empty()) {
            lints.add(
                LintId::VariableInArnHead,
                at,
                format!("variables work behind the fifth colon only; {} is literal text here", Quoted(head)),
                "write `*` in this field and compare the key in a condition",
            );
        }
        multivalued(lints, entry, at);
    });
    redundant(lints, clause, path, cover::resource);
}

/// IAM-VAR-1.
fn old_variables(lints: &mut Lints<'_>, text: &str, at: &Path<'_>) {
    if lints.modern || !text.contains("${") {
        return;
    }
    if let Some(variable) = variables(text).0.first() {
        lints.add(
            LintId::VariableInOldVersion,
            at,
            format!(
                "{} is literal text: this version of the language has no variables",
                Quoted(&format!("${{{}}}", variable.written))
            ),
            "write `\"Version\": \"2012-10-17\"`",
        );
    }
}

/// IAM-VAR-9.
fn multivalued(lints: &mut Lints<'_>, text: &str, at: &Path<'_>) {
    if let Some(variable) = variables(text).0.iter().find(|v| v.default.is_none() && key::is_multivalued(&v.key)) {
        lints.add(
            LintId::MultivaluedVariable,
            at,
            format!(
                "{} holds several values and cannot be a variable: this text matches nothing",
                Quoted(&variable.written)
            ),
            "compare the key in a condition, with a set operator",
        );
    }
}

/// A region or an account that is none: no request has such an ARN ("Access Analyzer policy check reference": invalid ARN
/// region, invalid ARN account).
fn odd(lints: &mut Lints<'_>, entry: &str, at: &Path<'_>) {
    if let Some((what, hint)) = grammar::odd_field(entry) {
        lints.add(LintId::OddArn, at, format!("{} does not name {what}: it matches nothing", Quoted(entry)), hint);
    }
}

/// IAM-RES-5.
fn short(lints: &mut Lints<'_>, entry: &str, at: &Path<'_>) {
    let short = entry.starts_with("arn:") && entry.matches(':').count() < 5;
    if short {
        lints.add(
            LintId::ShortArn,
            at,
            format!(
                "{} has fewer than six fields; what AWS puts in the missing ones depends on the place",
                Quoted(entry)
            ),
            "write all six, with `*` where anything is meant",
        );
    }
}

fn principals(lints: &mut Lints<'_>, statement: &Statement<'_>, path: &Path<'_>) {
    let Some((name, json)) = statement.principal else { return };
    if !statement.allows || !lints.linter.kind.names_principals() {
        return;
    }
    let at = path.field(name);
    if name == "NotPrincipal" {
        lints.add(
            LintId::AllowNotPrincipal,
            at,
            "`NotPrincipal` with `Allow` grants to everyone else in the world, the anonymous included",
            "name the principals to allow",
        );
    } else if lints.linter.kind != PolicyType::Rcp && is_everyone(json) && statement.lines.is_empty() {
        lints.add(
            LintId::OpenPrincipal,
            at,
            "everyone in every AWS account is allowed",
            "name the principals, or add a condition, for example on `aws:PrincipalOrgID`",
        );
    }
}

/// IAM-PRIN-1.
fn is_everyone(json: &Json) -> bool {
    match json {
        Json::String(text) => text == "*",
        Json::Object(kinds) => field(kinds, "AWS").is_some_and(|aws| texts(aws).0.contains(&"*")),
        _ => false,
    }
}

/// What AWS stores of a condition although it asks for nothing.
fn empty(lints: &mut Lints<'_>, statement: &Statement<'_>, path: &Path<'_>) {
    let Some(Json::Object(operators)) = field(statement.fields, "Condition") else { return };
    let at = path.field("Condition");
    for (name, block) in operators {
        let Json::Object(block) = block else { continue };
        let at = at.field(name);
        if block.is_empty() {
            lints.add(
                LintId::EmptyCondition,
                at,
                "no condition key is named: this holds for every request",
                "name the keys, or remove the operator",
            );
        }
        for (key, values) in block {
            if matches!(values, Json::Array(items) if items.is_empty()) {
                let message = format!("no value is given for {}", Quoted(key));
                lints.add(LintId::EmptyCondition, at.field(key), message, "write at least one value");
            }
        }
    }
}

fn keys(lints: &mut Lints<'_>, known: &[(&str, &ActionFacts<'_>)], line: &Line<'_>, path: &Path<'_>) {
    line.at(path, |at| {
        if !line.lower.contains(':') {
            return lints.add(
                LintId::KeyWithoutPrefix,
                at,
                format!("{} is no condition key: it is absent in every request", Quoted(line.key)),
                "keys have a prefix, for example `aws:SourceIp`",
            );
        }
        if line.lower.starts_with("aws:") {
            match global_key(&line.lower) {
                GlobalKey::Known => {}
                GlobalKey::WithoutTag => {
                    return lints.add(
                        LintId::MissingTagKey,
                        at,
                        format!("{} does not say which tag", Quoted(line.key)),
                        format!("write `{}/` and the key of the tag", line.key.trim_end_matches('/')),
                    );
                }
                GlobalKey::Unknown => {
                    return lints.add(
                        LintId::UnknownGlobalKey,
                        at,
                        format!("{} is no global condition key: it is absent in every request", Quoted(line.key)),
                        "look the key up among the global condition keys",
                    );
                }
            }
        }
        if !known.is_empty() && known.iter().all(|(prefix, action)| action.carries(prefix, &line.lower) == Some(false))
        {
            let outcome = match (line.operator.test, line.wants_key()) {
                (Test::Null, _) => "the line only asks whether it is there",
                (_, true) => "the statement never applies",
                (_, false) => "the line always holds",
            };
            lints.add(
                LintId::KeyNeverSent,
                at,
                format!("requests for these actions never carry {}: {outcome}", Quoted(line.key)),
                "look up which condition keys the action has",
            );
        }
        if key::is_multivalued(&line.lower)
            && line.operator.quantifier == Quantifier::One
            && line.operator.test != Test::Null
        {
            lints.add(
                LintId::MultivaluedKey,
                at,
                format!("{} holds several values: without a set operator the line does not match it", Quoted(line.key)),
                format!("write `ForAnyValue:{0}` or `ForAllValues:{0}`", line.name),
            );
        }
        if line.is_string() && matches!(line.lower.as_str(), "aws:currenttime" | "aws:epochtime") {
            lints.add(
                LintId::StringOperatorOnTime,
                at,
                format!("{} is compared as text, not as a time", Quoted(line.key)),
                "use a Date operator",
            );
        }
    });
}

/// The actions a statement is about with the prefixes of their services; empty where one of them is not known.
fn all_known<'a>(lints: &Lints<'a>, statement: &Statement<'_>) -> Vec<(&'a str, &'a ActionFacts<'a>)> {
    let Some(clause) = statement.action.as_ref().filter(|clause| !clause.negated()) else { return Vec::new() };
    let mut all = BTreeMap::new();
    for entry in &clause.entries {
        let found = matched(lints, entry);
        let Some(service) = entry.split_once(':').and_then(|(prefix, _)| lints.service(prefix)) else {
            return Vec::new();
        };
        if found.is_empty() {
            return Vec::new();
        }
        all.extend(found.into_iter().map(|action| ((service.prefix, action.name), action)));
    }
    all.into_iter().map(|((prefix, _), action)| (prefix, action)).collect()
}

fn values(lints: &mut Lints<'_>, line: &Line<'_>, path: &Path<'_>) {
    let Operator { test, negated, .. } = line.operator;
    line.each(path, |value, at| {
        if lints.full() {
            return;
        }
        if line.is_string() || test == Test::Arn {
            old_variables(lints, value, at);
            if lints.modern {
                multivalued(lints, value, at);
            }
        }
        match test {
            Test::StringEquals | Test::StringEqualsIgnoreCase => {
                let around = if lints.modern { variables(value).1 } else { value.to_owned() };
                if around.contains('*') {
                    let like = line.name.replacen("EqualsIgnoreCase", "Like", 1).replacen("Equals", "Like", 1);
                    lints.add(
                        LintId::WildcardInExactValue,
                        at,
                        format!("`{}` compares literally: `*` in {} is a star", line.name, Quoted(value)),
                        format!("use `{like}`, or write `${{*}}` where a star is meant"),
                    );
                }
            }
            Test::StringLike | Test::Arn if negated && is_star(value) => lints.add(
                LintId::NegatedStar,
                at,
                format!("every value matches `*`: `{}` holds only where the key is absent", line.name),
                "ask for absence with `Null`",
            ),
            Test::Bool if lints.modern && value.contains("${") => lints.add(
                LintId::VariableInBool,
                at,
                "AWS's pages disagree on whether `Bool` has variables",
                "compare with `StringEquals`",
            ),
            Test::Arn => {
                odd(lints, value, at);
                short(lints, value, at);
            }
            _ => {}
        }
    });
    always_true(lints, line, path);
    private(lints, line, path);
}

fn always_true(lints: &mut Lints<'_>, line: &Line<'_>, path: &Path<'_>) {
    let both = |wanted| line.values.iter().any(|value| parse_bool(value) == Some(wanted));
    if !both(true) || !both(false) {
        return;
    }
    let message = match line.operator.test {
        Test::Null if line.operator.quantifier == Quantifier::Any => {
            "`ForAnyValue:Null` with both values only asks whether the key is there"
        }
        Test::Null => "`Null` with both values holds for every request",
        Test::Bool => "`Bool` with both values only asks whether the key is there",
        _ => return,
    };
    line.at(path, |at| lints.add(LintId::AlwaysTrue, at, message, "keep one value, or remove the line"));
}

fn private(lints: &mut Lints<'_>, line: &Line<'_>, path: &Path<'_>) {
    if line.lower != "aws:sourceip" || line.operator.test != Test::Ip || line.values.is_empty() {
        return;
    }
    let private: Vec<Network> =
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"].into_iter().filter_map(Network::parse).collect();
    let is_private =
        |value: &&str| Network::parse(value).is_some_and(|network| private.iter().any(|block| block.holds(&network)));
    if line.values.iter().all(is_private) {
        line.at(path, |at| {
            lints.add(
                LintId::PrivateSourceIp,
                at,
                "`aws:SourceIp` is a public address, and absent behind a VPC endpoint: no private address is ever seen",
                "use `aws:VpcSourceIp`, `aws:SourceVpc` or `aws:SourceVpce`",
            );
        });
    }
}

/// Lints of several lines of one statement.
fn together(lints: &mut Lints<'_>, statement: &Statement<'_>, path: &Path<'_>) {
    let mut by_key: BTreeMap<&str, Vec<&Line<'_>>> = BTreeMap::new();
    for line in &statement.lines {
        by_key.entry(&line.lower).or_default().push(line);
    }
    for lines in by_key.values() {
        if lints.full() {
            return;
        }
        if let Some((line, why)) = contradiction(lines) {
            line.at(path, |at| {
                lints.add(
                    LintId::ContradictoryConditions,
                    at,
                    format!("{why}: the statement never applies"),
                    "lines of a statement hold together; for alternatives write two statements",
                );
            });
        }
        if statement.allows && !lines.iter().any(|line| line.wants_key() || line.null() == Some(false)) {
            let open = |line: &&&Line<'_>| line.operator.quantifier == Quantifier::All;
            if let Some(line) = lines.iter().find(open) {
                line.at(path, |at| {
                    lints.add(
                        LintId::ForAllValuesAllow,
                        at,
                        format!(
                            "`{}` holds when the key is absent: requests without {} are allowed",
                            line.name,
                            Quoted(line.key)
                        ),
                        format!("add {}", Quoted(&format!("\"Null\": {{\"{}\": \"false\"}}", line.key))),
                    );
                });
            }
        }
    }
}

/// Why lines on one key cannot hold together, and the line that shows it.
fn contradiction<'a>(lines: &[&'a Line<'a>]) -> Option<(&'a Line<'a>, String)> {
    let absent = lines.iter().any(|line| line.null() == Some(true));
    if let Some(line) = lines.iter().find(|line| absent && line.wants_key()) {
        let why = format!("`Null` asks that {} is absent, `{}` that it is there", Quoted(line.key), line.name);
        return Some((line, why));
    }
    let exact = |line: &&&'a Line<'a>, negated| {
        line.operator.test == Test::StringEquals
            && line.operator.quantifier == Quantifier::One
            && line.operator.negated == negated
            && !line.values.is_empty()
            && !line.values.iter().any(|value| value.contains("${"))
    };
    let wanted = lines.iter().find(|line| exact(line, false) && !line.operator.if_exists);
    let unwanted = lines.iter().find(|line| exact(line, true));
    if let (Some(wanted), Some(unwanted)) = (wanted, unwanted) {
        let excluded: std::collections::BTreeSet<&str> = unwanted.values.iter().copied().collect();
        if wanted.values.iter().all(|value| excluded.contains(value)) {
            let why = format!("`{}` excludes every value that `{}` asks for", unwanted.name, wanted.name);
            return Some((unwanted, why));
        }
    }
    bounds(lines, |line, value| match line.operator.test {
        Test::Numeric(comparison) => Some((comparison, Number::parse(value)?)),
        _ => None,
    })
    .or_else(|| {
        bounds(lines, |line, value| match line.operator.test {
            Test::Date(comparison) => Some((comparison, Instant::parse(value)?)),
            _ => None,
        })
    })
}

/// Lower and upper bounds that leave no value. Of several values in a line one may match, so that the loosest counts.
fn bounds<'a, T: Ord>(
    lines: &[&'a Line<'a>],
    read: impl Fn(&Line<'_>, &str) -> Option<(Comparison, T)>,
) -> Option<(&'a Line<'a>, String)> {
    let mut lower: Vec<(&'a Line<'a>, T, bool)> = Vec::new();
    let mut upper: Vec<(&'a Line<'a>, T, bool)> = Vec::new();
    for line in lines {
        let plain = line.operator.quantifier == Quantifier::One && !line.operator.negated && !line.operator.if_exists;
        if !plain {
            continue;
        }
        let values: Option<Vec<(Comparison, T)>> = line.values.iter().map(|value| read(line, value)).collect();
        let Some(values) = values else { continue };
        let Some(comparison) = values.first().map(|(comparison, _)| *comparison) else { continue };
        let limits = values.into_iter().map(|(_, limit)| limit);
        match comparison {
            Comparison::Greater | Comparison::GreaterEquals => {
                lower.extend(limits.min().map(|limit| (*line, limit, comparison == Comparison::Greater)));
            }
            Comparison::Less | Comparison::LessEquals => {
                upper.extend(limits.max().map(|limit| (*line, limit, comparison == Comparison::Less)));
            }
            Comparison::Equals => {}
        }
    }
    // At most four operators make bounds, in either case of letters a few more: the pairs are few.
    for (above, low, open_low) in lower.iter().take(8) {
        for (below, high, open_high) in upper.iter().take(8) {
            if low > high || (low == high && (*open_low || *open_high)) {
                return Some((below, format!("`{}` and `{}` leave no value", above.name, below.name)));
            }
        }
    }
    None
}

/// Lints of one statement against the others.
pub(super) fn across(lints: &mut Lints<'_>, statements: &[Statement<'_>], path: &Path<'_>) {
    let mut seen: BTreeMap<String, &Statement<'_>> = BTreeMap::new();
    let mut sids: BTreeSet<&str> = BTreeSet::new();
    for statement in statements {
        if lints.full() {
            return;
        }
        if !statement.sid.is_empty() && !sids.insert(statement.sid) {
            lints.add(
                LintId::DuplicateSid,
                statement.place(path),
                format!("an earlier statement has the Sid {} too", Quoted(statement.sid)),
                "give each statement its own, or none",
            );
        }
        match seen.get(&meaning(statement)) {
            Some(first) => lints.add(
                LintId::DuplicateStatement,
                statement.place(path),
                format!("says the same as statement {}", first.label()),
                "remove one of them",
            ),
            None => {
                seen.insert(meaning(statement), statement);
            }
        }
    }
    let denies: Vec<&Statement<'_>> =
        statements.iter().filter(|statement| !statement.allows && statement.lines.is_empty()).collect();
    for allow in statements.iter().filter(|statement| statement.allows) {
        for deny in &denies {
            if lints.full() {
                return;
            }
            match shadows(lints, deny, allow) {
                None => return,
                Some(false) => {}
                Some(true) => {
                    lints.add(
                        LintId::ShadowedAllow,
                        allow.place(path),
                        format!("statement {} denies all of this, without a condition", deny.label()),
                        "remove the statement, or narrow the `Deny`",
                    );
                    break;
                }
            }
        }
    }
}

/// The fields of a statement but for its Sid, in one order.
fn meaning(statement: &Statement<'_>) -> String {
    let mut fields: Vec<&(String, Json)> = statement.fields.iter().filter(|(name, _)| name != "Sid").collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    format!("{fields:?}")
}

/// Whether `deny` denies whatever `allow` allows; none where the budget of comparisons is used up.
fn shadows(lints: &mut Lints<'_>, deny: &Statement<'_>, allow: &Statement<'_>) -> Option<bool> {
    let everyone = |statement: &Statement<'_>| {
        statement.principal.is_none_or(|(name, json)| name == "Principal" && is_everyone(json))
    };
    if !everyone(deny) && deny.principal != allow.principal {
        return Some(false);
    }
    let (Some(wide), Some(narrow)) = (&deny.action, &allow.action) else { return Some(false) };
    if !covers(lints, wide, narrow, cover::action)? {
        return Some(false);
    }
    match (&deny.resource, &allow.resource) {
        (None, None) => Some(true),
        (Some(wide), None) => Some(!wide.negated() && wide.has_star()),
        // Without `Resource` the policy's own resource is meant.
        (None, Some(_)) => Some(lints.linter.kind == PolicyType::Resource),
        (Some(wide), Some(narrow)) => covers(lints, wide, narrow, cover::resource),
    }
}

fn covers(lints: &mut Lints<'_>, wide: &Clause<'_>, narrow: &Clause<'_>, entry_covers: Covers) -> Option<bool> {
    if wide.negated() || narrow.entries.is_empty() {
        return Some(false);
    }
    if wide.has_star() || narrow.negated() {
        return Some(wide.has_star());
    }
    for narrow in &narrow.entries {
        let mut covered = false;
        for wide in &wide.entries {
            if lints.budget.is_spent() {
                return None;
            }
            if entry_covers(wide, narrow, &mut lints.budget) {
                covered = true;
                break;
            }
        }
        if !covered {
            return Some(false);
        }
    }
    Some(true)
}
