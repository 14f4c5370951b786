//! The fillings of what a case leaves open: for each unknown fact a list of candidates that the policies can tell
//! apart, and the decisions of all their combinations.

use std::collections::{BTreeMap, BTreeSet};

use iam_oracle::{Draw, Kind, Policies, Request, role_of};
use iam_verdict::{Decision, Fact};
use serde_json::Value;

use crate::random::Random;
use crate::{line, plain};

/// One thing that a filling settles.
#[derive(Clone, Debug)]
enum Assign {
    Key(String, Vec<String>),
    /// ARNs, account, and whether the resource is the account's (where that follows).
    Principal(Vec<String>, String, Option<bool>),
    Draw(String, Draw),
    Same(bool),
}

/// Facts that are filled together.
pub struct Dimension {
    /// Their names; key names are lower-case.
    facts: Vec<String>,
    /// Each filling with what it makes of each of the facts.
    options: Vec<(Vec<usize>, Assign)>,
}

/// Everything that a case leaves open.
pub struct Open<'a> {
    case: &'a Value,
    policies: Policies,
    /// The request as far as it is known.
    base: Request,
    pub dimensions: Vec<Dimension>,
    /// Whether some line reads an open key in a way that IAM-UNK-3 excepts from exactness.
    pub excepted: bool,
}

/// A line of a condition, or a Resource element.
enum Part<'a> {
    Line { operator: &'a str, key: String, values: &'a Value, modern: bool },
    Resource { statement: &'a Value, modern: bool },
}

impl Part<'_> {
    fn holds(&self, request: &Request) -> bool {
        match self {
            Self::Line { operator, key, values, modern } => {
                iam_oracle::line_holds(request, operator, key, values, *modern)
            }
            Self::Resource { statement, modern } => {
                iam_oracle::resource_applies(request, Kind::Attached, statement, *modern)
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        let of = |value: &Value| match value {
            Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            Value::String(text) => vec![text.clone()],
            Value::Null => Vec::new(),
            other => vec![other.to_string()],
        };
        match self {
            Self::Line { values: Value::Array(items), .. } => items.iter().flat_map(of).collect(),
            Self::Line { values, .. } => of(values),
            Self::Resource { statement, .. } => {
                // Variables stand after the fifth colon.
                let tail = |text: String| text.splitn(6, ':').nth(5).unwrap_or_default().to_owned();
                of(&statement["Resource"]).into_iter().chain(of(&statement["NotResource"])).map(tail).collect()
            }
        }
    }

    fn modern(&self) -> bool {
        match self {
            Self::Line { modern, .. } | Self::Resource { modern, .. } => *modern,
        }
    }

    fn variables(&self, base: &Request) -> Vec<String> {
        self.texts().iter().flat_map(|text| iam_oracle::variables(text, base, self.modern()).0).collect()
    }

    fn keys(&self, base: &Request) -> BTreeSet<String> {
        let mut keys: BTreeSet<String> = self.variables(base).into_iter().collect();
        if let Self::Line { key, .. } = self {
            keys.insert(key.clone());
        }
        keys
    }
}

/// Every policy of the case.
fn policies(case: &Value) -> Vec<&Value> {
    let mut all = Vec::new();
    for name in ["identityPolicies", "sessionPolicies"] {
        all.extend(case[name].as_array().into_iter().flatten());
    }
    for name in ["permissionsBoundary", "resourcePolicy", "registryPolicy", "endpointPolicy"] {
        all.extend((!case[name].is_null()).then_some(&case[name]));
    }
    let exempt = plain::is_exempt(case);
    for name in ["serviceControlPolicies", "resourceControlPolicies"] {
        if exempt && name.starts_with("service") {
            continue;
        }
        all.extend(case[name].as_array().into_iter().flatten().flat_map(|level| level.as_array().unwrap()));
    }
    all
}

fn statements(policy: &Value) -> Vec<&Value> {
    match &policy["Statement"] {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        single => vec![single],
    }
}

fn parts(case: &Value) -> Vec<Part<'_>> {
    let mut all = Vec::new();
    for policy in policies(case) {
        let modern = policy["Version"] == "2012-10-17";
        for statement in statements(policy) {
            all.push(Part::Resource { statement, modern });
            for (operator, lines) in statement["Condition"].as_object().into_iter().flatten() {
                for (key, values) in lines.as_object().unwrap() {
                    all.push(Part::Line { operator, key: key.to_ascii_lowercase(), values, modern });
                }
            }
        }
    }
    all
}

impl<'a> Open<'a> {
    pub fn new(case: &'a Value) -> Self {
        let mut base = plain::request(case);
        let mut open: BTreeMap<String, Fact> = BTreeMap::new();
        for (key, value) in case["request"]["context"].as_object().unwrap() {
            let key = key.to_ascii_lowercase();
            match line::fact(value) {
                Fact::Absent => {
                    base.context.insert(key, Vec::new());
                }
                Fact::Values(values) => {
                    base.context.insert(key, values);
                }
                fact => {
                    open.insert(key, fact);
                }
            }
        }
        let parts = parts(case);
        let unknown = line::strings(&case["unknownContext"]);
        for key in &unknown {
            open.insert(key.to_ascii_lowercase(), Fact::Unknown);
        }
        if open.remove("*").is_some() {
            for part in &parts {
                for key in part.keys(&base) {
                    if !base.context.contains_key(&key) {
                        open.entry(key).or_insert(Fact::Unknown);
                    }
                }
            }
        }
        let mut this = Self { case, policies: plain::policies(case), base, dimensions: Vec::new(), excepted: false };
        this.keys(&parts, &open);
        this.principal();
        for policy in policies(case) {
            if let Some(name) = policy["unreadable"].as_str() {
                let resource = [&case["resourcePolicy"], &case["registryPolicy"]].contains(&policy);
                // RCPs grant nothing; elsewhere the form of the principal makes no difference.
                let draws = if resource {
                    vec![Draw::Nothing, Draw::Deny, Draw::Direct, Draw::Role, Draw::Account]
                } else {
                    vec![Draw::Nothing, Draw::Deny, Draw::Direct]
                };
                let option = |(index, draw): (usize, &Draw)| (vec![index], Assign::Draw(name.to_owned(), *draw));
                let options = draws.iter().enumerate().map(option).collect();
                this.dimensions.push(Dimension { facts: vec![name.to_owned()], options });
            }
        }
        this
    }

    fn keys(&mut self, parts: &[Part<'_>], open: &BTreeMap<String, Fact>) {
        let read: Vec<BTreeSet<String>> = parts.iter().map(|part| part.keys(&self.base)).collect();
        let mut lists: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for key in open.keys() {
            lists.insert(key, candidates(self.case, &self.base, parts, key));
        }
        // A key that a line compares with another open key may hold what the other holds.
        for keys in &read {
            let both: Vec<&String> = keys.iter().filter(|key| open.contains_key(*key)).collect();
            if both.len() > 1 {
                let union: BTreeSet<String> = both.iter().flat_map(|key| lists[*key].clone()).collect();
                for key in both {
                    lists.insert(open.get_key_value(key).unwrap().0, union.iter().cloned().collect());
                }
            }
        }
        for (key, fact) in open {
            let mine: Vec<usize> = (0..parts.len()).filter(|index| read[*index].contains(key)).collect();
            if mine.is_empty() {
                continue;
            }
            let alone =
                mine.iter().all(|index| read[*index].iter().filter(|other| open.contains_key(*other)).count() == 1);
            let sets = parts.iter().any(|part| {
                matches!(part, Part::Line { operator, key: own, .. } if own == key && operator.to_lowercase().starts_with("for"))
            });
            let several = iam_oracle::is_multivalued(key) || (sets && !key.starts_with("aws:"));
            self.excepted |= !alone || mixed(parts, &mine, key, &self.base, several);
            let mut fillings: Vec<Vec<String>> = Vec::new();
            if !matches!(fact, Fact::Present) {
                fillings.push(Vec::new());
            }
            let mut values: Vec<Vec<String>> = Vec::new();
            match fact {
                Fact::AbsentOr(given) => fillings.push(given.clone()),
                _ => values = lists[key].iter().map(|value| vec![value.clone()]).collect(),
            }
            // What the other open keys of the same lines may hold meanwhile.
            let mut beside: Vec<Option<(String, Vec<String>)>> = vec![None];
            for other in
                mine.iter().flat_map(|index| &read[*index]).filter(|other| *other != key).collect::<BTreeSet<_>>()
            {
                if open.contains_key(other) {
                    beside.push(Some((other.clone(), Vec::new())));
                    beside.extend(lists[other].iter().take(60).map(|value| Some((other.clone(), vec![value.clone()]))));
                }
            }
            let distinct = |fillings: Vec<Vec<String>>| {
                let mut seen = BTreeSet::new();
                let mut kept = Vec::new();
                for filling in fillings {
                    let mut request = self.base.clone();
                    request.context.insert(key.clone(), filling.clone());
                    let mut vector: Vec<bool> = Vec::new();
                    for other in &beside {
                        if let Some((other, values)) = other {
                            request.context.insert(other.clone(), values.clone());
                        }
                        vector.extend(mine.iter().map(|index| parts[*index].holds(&request)));
                    }
                    if seen.insert(vector) {
                        kept.push(filling);
                    }
                }
                kept
            };
            let singles = distinct(values);
            if several {
                let mut lists = singles.clone();
                for _ in 0..2 {
                    let longer = lists
                        .iter()
                        .flat_map(|list| singles.iter().map(|one| [list.as_slice(), one.as_slice()].concat()));
                    let all: Vec<_> = lists.iter().cloned().chain(longer).collect();
                    lists = distinct(all.into_iter().take(300).collect());
                }
                fillings.extend(lists);
            } else {
                fillings.extend(singles);
            }
            let fillings = distinct(fillings);
            let option = |(index, filling): (usize, Vec<String>)| (vec![index], Assign::Key(key.clone(), filling));
            let options = fillings.into_iter().enumerate().map(option).collect();
            self.dimensions.push(Dimension { facts: vec![key.clone()], options });
        }
    }

    fn principal(&mut self) {
        let case = self.case;
        let principal = &case["request"]["principal"];
        let resource = case["request"]["resource"].as_str().unwrap();
        let number = |arn: &str| arn.split(':').nth(4).filter(|id| !id.is_empty()).map(str::to_owned);
        let owner = case["resourceAccountId"].as_str().map(str::to_owned).or_else(|| number(resource));
        let mut arns = match principal {
            Value::String(arn) => vec![arn.clone()],
            object => line::strings(&object["arns"]),
        };
        if let (Value::String(session), Some(role)) = (principal, role_of(principal.as_str().unwrap_or(""))) {
            arns = vec![role, session.clone()];
        }
        if principal.as_str().is_some_and(|text| !text.starts_with("arn:")) {
            // A service has no side of its own that would have to allow.
            self.base.same_account = true;
            self.base.arns = arns;
            return;
        }
        let given = principal["account"].as_str().filter(|id| id.len() == 12).map(str::to_owned);
        let same_account = principal["account"] == "sameAsResource";
        let account =
            if same_account { owner.clone() } else { given.or_else(|| arns.iter().find_map(|arn| number(arn))) };
        let same = |account: &str| -> Option<bool> {
            if same_account || (owner.is_none() && resource == "*") {
                Some(true)
            } else {
                owner.as_ref().map(|owner| owner == account)
            }
        };
        if owner.is_none() && resource != "*" && !same_account {
            let options = [true, false].into_iter().enumerate().map(|(index, same)| (vec![index], Assign::Same(same)));
            self.dimensions.push(Dimension { facts: vec!["resourceaccount".into()], options: options.collect() });
        }
        let unknown_session = principal["sessionUnknown"] == true;
        if !arns.is_empty() && !unknown_session {
            let account = account.expect("a principal with ARNs has an account");
            if let Some(same) = same(&account) {
                self.base.same_account = same;
            }
            self.base.arns = arns;
            self.base.account = account;
            return;
        }
        // Who it can be: whoever policies name, and somebody they do not.
        let mut named = BTreeSet::new();
        let mut accounts: BTreeSet<String> = BTreeSet::new();
        for policy in policies(case) {
            for statement in statements(policy) {
                for clause in [&statement["Principal"], &statement["NotPrincipal"]] {
                    for entries in clause.as_object().into_iter().flat_map(|map| map.values()) {
                        let entries = match entries {
                            Value::Array(items) => items.iter().collect(),
                            single => vec![single],
                        };
                        for entry in entries.into_iter().filter_map(Value::as_str) {
                            accounts.extend(number(entry).into_iter().filter(|id| id.len() == 12));
                            if entry.len() == 12 && !entry.contains(':') {
                                accounts.insert(entry.to_owned());
                            }
                            named.insert(entry.to_owned());
                        }
                    }
                }
            }
        }
        let of =
            |arn: &String, kind: &str| arn.starts_with("arn:") && arn.contains(kind) && arn.matches(':').count() >= 5;
        let roles: Vec<&String> = named.iter().filter(|arn| of(arn, ":role/") && arn.contains(":iam:")).collect();
        let sessions: Vec<&String> =
            named.iter().filter(|arn| of(arn, ":assumed-role/") && role_of(arn).is_some()).collect();
        let mut people: Vec<Vec<String>> = Vec::new();
        // Partition and account.
        let start = |arn: &str| arn.splitn(6, ':').take(5).collect::<Vec<_>>().join(":");
        let last = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
        if unknown_session {
            let role = arns[0].clone();
            let account = number(&role).unwrap();
            people.push(vec![role.clone(), format!("arn:aws:sts::{account}:assumed-role/{}/(other)", last(&role))]);
            for session in &sessions {
                let plain = role_of(session).unwrap();
                if last(&plain) == last(&role) && start(&plain) == start(&role) {
                    people.push(vec![role.clone(), (*session).clone()]);
                }
            }
        } else {
            for role in &roles {
                people.push(vec![(*role).clone()]);
            }
            for session in &sessions {
                let plain = role_of(session).unwrap();
                people.push(vec![(*session).clone(), plain.replace(":role/", ":role/(other)/")]);
                people.push(vec![(*session).clone(), plain.clone()]);
                for role in &roles {
                    if start(role) == start(&plain) && last(role) == last(&plain) {
                        people.push(vec![(*session).clone(), (*role).clone()]);
                    }
                }
            }
            for arn in &named {
                let other = !roles.contains(&arn) && !sessions.contains(&arn) && !arn.ends_with(":root");
                if other && arn.starts_with("arn:") && arn.matches(':').count() >= 5 {
                    people.push(vec![arn.clone()]);
                }
            }
        }
        // Nobody's: an ARN has six fields, and its account twelve digits.
        let proper = |arn: &String| {
            let account = number(arn).unwrap_or_default();
            arn.splitn(6, ':').count() == 6 && account.len() == 12 && account.chars().all(|c| c.is_ascii_digit())
        };
        people.retain(|arns| arns.iter().all(proper));
        accounts.extend(owner.clone());
        accounts.insert("999999999999".into());
        let mut all: Vec<(Vec<String>, String)> = Vec::new();
        for person in people {
            let home = number(&person[0]);
            match (&account, home) {
                (Some(account), Some(home)) if *account != home => {}
                (Some(account), _) => all.push((person, account.clone())),
                (None, Some(home)) => all.push((person, home)),
                // Without an account in the ARN the account is another question.
                (None, None) => all.extend(accounts.iter().map(|account| (person.clone(), account.clone()))),
            }
        }
        if !unknown_session {
            match &account {
                Some(account) => all.push((vec!["(nobody)".into()], account.clone())),
                None => all.extend(accounts.iter().map(|id| (vec!["(nobody)".into()], id.clone()))),
            }
        }
        let places: Vec<&String> =
            all.iter().map(|(_, account)| account).collect::<BTreeSet<_>>().into_iter().collect();
        let mut options = Vec::new();
        for (index, (arns, account)) in all.iter().enumerate() {
            let place = places.iter().position(|place| *place == account).unwrap();
            options.push((vec![index, place], Assign::Principal(arns.clone(), account.clone(), same(account))));
        }
        let mut facts = vec!["principal".to_owned(), "account".to_owned()];
        if account.is_some() {
            facts.truncate(1);
            options.iter_mut().for_each(|(labels, _)| labels.truncate(1));
        }
        self.dimensions.push(Dimension { facts, options });
    }

    /// How many fillings there are.
    pub fn count(&self) -> usize {
        self.dimensions.iter().fold(1, |product: usize, dimension| product.saturating_mul(dimension.options.len()))
    }

    /// How many facts can be filled in more than one way.
    pub fn facts(&self) -> usize {
        self.dimensions
            .iter()
            .filter(|dimension| dimension.options.len() > 1)
            .map(|dimension| dimension.facts.len())
            .sum()
    }

    fn decide(&self, chosen: &[usize], request: &mut Request) -> Decision {
        for (dimension, option) in self.dimensions.iter().zip(chosen) {
            match &dimension.options[*option].1 {
                Assign::Key(key, values) => {
                    request.context.insert(key.clone(), values.clone());
                }
                Assign::Principal(arns, account, same) => {
                    request.arns.clone_from(arns);
                    request.account.clone_from(account);
                    if let Some(same) = same {
                        request.same_account = *same;
                    }
                }
                Assign::Draw(name, draw) => {
                    request.draws.insert(name.clone(), *draw);
                }
                Assign::Same(same) => request.same_account = *same,
            }
        }
        plain::decide(&self.policies, request)
    }

    /// The decision of every filling.
    pub fn all(&self) -> Vec<(Vec<usize>, Decision)> {
        let mut request = self.base.clone();
        let mut chosen = vec![0; self.dimensions.len()];
        let mut all = Vec::new();
        loop {
            all.push((chosen.clone(), self.decide(&chosen, &mut request)));
            let mut at = 0;
            loop {
                let Some(dimension) = self.dimensions.get(at) else { return all };
                chosen[at] += 1;
                if chosen[at] < dimension.options.len() {
                    break;
                }
                chosen[at] = 0;
                at += 1;
            }
        }
    }

    /// The decisions of some fillings.
    pub fn some(&self, random: &mut Random, count: usize) -> Vec<(Vec<usize>, Decision)> {
        let mut request = self.base.clone();
        let mut one = || {
            let chosen: Vec<usize> =
                self.dimensions.iter().map(|dimension| random.below(dimension.options.len())).collect();
            let decision = self.decide(&chosen, &mut request);
            (chosen, decision)
        };
        (0..count).map(|_| one()).collect()
    }

    /// Two fillings that agree in the named facts and not in the decision, if there are such.
    pub fn unsettled(&self, all: &[(Vec<usize>, Decision)], facts: &[String]) -> bool {
        let mut groups: BTreeMap<Vec<usize>, bool> = BTreeMap::new();
        for (chosen, decision) in all {
            let mut group = Vec::new();
            for (dimension, option) in self.dimensions.iter().zip(chosen) {
                for (fact, label) in dimension.facts.iter().zip(&dimension.options[*option].0) {
                    if facts.iter().any(|named| named.eq_ignore_ascii_case(fact)) {
                        group.push(*label);
                    }
                }
            }
            let allowed = *decision == Decision::Allowed;
            if *groups.entry(group).or_insert(allowed) != allowed {
                return true;
            }
        }
        false
    }

    /// What a filling says, for messages.
    pub fn show(&self, chosen: &[usize]) -> String {
        let one = |(dimension, option): (&Dimension, &usize)| format!("{:?}", dimension.options[*option].1);
        self.dimensions.iter().zip(chosen).map(one).collect::<Vec<_>>().join(", ")
    }
}

/// What IAM-UNK-3 excepts in lines that read the key alone: one key read as two types, a variable in Bool.
fn mixed(parts: &[Part<'_>], mine: &[usize], key: &str, base: &Request, several: bool) -> bool {
    let mut types = BTreeSet::new();
    // What is searched for texts that several patterns match is bounded.
    let mut length = 0;
    for index in mine {
        if parts[*index].variables(base).iter().any(|variable| variable == key) {
            types.insert("text");
        }
        if let Part::Line { operator, key: own, .. } = &parts[*index] {
            let operator = operator.to_lowercase();
            let operator = operator.rsplit(':').next().unwrap();
            let kind = ["numeric", "date", "bool", "binary", "ipaddress", "notip", "null"]
                .iter()
                .find(|kind| operator.starts_with(*kind))
                .map_or("text", |kind| if *kind == "notip" { "ipaddress" } else { kind });
            if own == key && kind != "null" {
                types.insert(kind);
            }
            if own == key && kind == "text" {
                length += parts[*index].texts().iter().map(String::len).sum::<usize>();
            }
            // Compared with itself, otherwise than as a whole.
            let itself = parts[*index].variables(base).iter().any(|variable| variable == key);
            let whole = |text: &String| {
                text.starts_with("${") && text.matches(['{', '*', '?']).count() == 1 && text.ends_with('}')
            };
            if own == key
                && itself
                && (several
                    || kind == "bool"
                    || !parts[*index].texts().iter().all(|text| whole(text) || !text.contains("${")))
            {
                return true;
            }
        }
    }
    types.len() > 1 || length > 150
}

/// Values of a key that the policies can tell apart.
fn candidates(case: &Value, base: &Request, parts: &[Part<'_>], key: &str) -> Vec<String> {
    let mut all: BTreeSet<String> =
        ["", "~", "true", "false", "TRUE", "team", "a"].iter().map(|text| (*text).to_owned()).collect();
    let mut patterns: Vec<String> = Vec::new();
    for part in parts {
        if !part.variables(base).iter().any(|variable| variable == key) {
            continue;
        }
        // The key is a variable: pieces of what it is compared with.
        let compared: Vec<String> = match part {
            Part::Resource { .. } => {
                let resource = case["request"]["resource"].as_str().unwrap();
                vec![resource.splitn(6, ':').nth(5).unwrap_or_default().to_owned()]
            }
            Part::Line { key: own, .. } => base.context.get(own).cloned().unwrap_or_default(),
        };
        let folds = matches!(part, Part::Line { operator, .. } if operator.to_lowercase().contains("ignorecase"));
        let mut mine = BTreeSet::new();
        for text in compared {
            for pattern in part.texts() {
                pieces(&pattern.to_lowercase(), key, &text, &mut mine);
            }
        }
        if folds {
            mine.iter().for_each(|piece| variants(piece, &mut all));
        }
        all.extend(mine);
    }
    for part in parts {
        let Part::Line { operator, key: own, modern, .. } = part else { continue };
        if own != key {
            continue;
        }
        let operator = operator.to_lowercase();
        for text in part.texts() {
            let text = iam_oracle::variables(&text, base, *modern).1;
            if operator.contains("numeric") {
                numbers(&text, &mut all);
            } else if operator.contains("date") {
                dates(&text, &mut all);
            } else if operator.contains("ipaddress") {
                addresses(&text, &mut all);
            } else {
                if operator.contains("arn") {
                    all.insert("arn:aws:~:::~".into());
                    if let Some((_, rest)) = text.split_once(':') {
                        patterns.push(format!("arn:{rest}"));
                        all.insert(format!("arn:{rest}"));
                    }
                }
                if operator.contains("ignorecase") {
                    variants(&text, &mut all);
                }
                all.insert(format!("{text}~"));
                all.insert(text.clone());
                patterns.push(text);
            }
        }
    }
    // What two patterns match together.
    let wild: Vec<&String> = patterns.iter().filter(|pattern| pattern.contains(['*', '?'])).collect();
    // A question mark is any character, or, where it was escaped, itself.
    let mut put = |text: String| {
        all.insert(text.replace('?', "~"));
        all.insert(text);
    };
    for a in &wild {
        for fill in ["", "~", "/", "*"] {
            put(a.replace('*', fill));
        }
        for b in &patterns {
            let head = |text: &str| text.split('*').next().unwrap_or_default().to_owned();
            let tail = |text: &str| text.rsplit('*').next().unwrap_or_default().to_owned();
            let middle = |text: &str| text.trim_matches('*').replace('*', "");
            for (x, y) in [(a.as_str(), b.as_str()), (b.as_str(), a.as_str())] {
                put(format!("{}{}", head(x), tail(y)));
                put(format!("{}{}{}", head(x), middle(y), tail(x)));
                put(format!("{}{}{}", head(x), middle(y), tail(y)));
                put(format!("{}~{}", head(x), tail(y)));
                // Fields of one ARN in the places of the other's wildcards.
                let (x_fields, y_fields): (Vec<&str>, Vec<&str>) =
                    (x.splitn(6, ':').collect(), y.splitn(6, ':').collect());
                if x_fields.len() == 6 && y_fields.len() == 6 {
                    let field = |(x, y): (&&str, &&str)| {
                        let chosen = if x.contains(['*', '?']) { y } else { x };
                        chosen.replace('*', "")
                    };
                    put(x_fields.iter().zip(&y_fields).map(field).collect::<Vec<_>>().join(":"));
                }
                // Characters of one in the places of the other's question marks.
                if x.chars().count() == y.chars().count() {
                    let merged = x.chars().zip(y.chars()).map(|(a, b)| {
                        if a == '?' {
                            if b == '*' || b == '?' { '~' } else { b }
                        } else if a == '*' {
                            '~'
                        } else {
                            a
                        }
                    });
                    put(merged.collect());
                }
                if let Some(at) = x.chars().position(|c| c == '?') {
                    for c in y.chars() {
                        put(x
                            .chars()
                            .enumerate()
                            .map(|(index, own)| if index == at { c } else { own })
                            .filter(|c| *c != '*')
                            .collect());
                    }
                }
            }
        }
    }
    all.into_iter().collect()
}

/// The pieces of the text that stand between the neighbours that a variable of the pattern has.
fn pieces(pattern: &str, key: &str, text: &str, all: &mut BTreeSet<String>) {
    let chars: Vec<char> = text.chars().collect();
    let folded: Vec<char> = chars.iter().map(char::to_ascii_lowercase).collect();
    for (at, _) in pattern.match_indices(&format!("${{{key}")) {
        let before = pattern[..at].chars().last();
        let after = pattern[at..].split_once('}').and_then(|(_, rest)| rest.chars().next());
        let wild = |c: &Option<char>| matches!(c, Some('*' | '?' | '}' | '$'));
        let starts = |from: usize| wild(&before) || before == from.checked_sub(1).map(|at| folded[at]);
        let ends = |to: usize| wild(&after) || after == folded.get(to).copied();
        for from in (0..=chars.len()).filter(|from| starts(*from)) {
            for to in (from..=chars.len()).filter(|to| ends(*to)) {
                all.insert(chars[from..to].iter().collect());
            }
        }
    }
}

fn variants(text: &str, all: &mut BTreeSet<String>) {
    all.insert(text.to_owned());
    all.insert(text.to_uppercase());
    all.insert(text.to_lowercase());
    all.insert(format!("{text}~"));
    let flip = |c: char| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    for at in 0..text.chars().count().min(8) {
        all.insert(text.chars().enumerate().map(|(index, c)| if index == at { flip(c) } else { c }).collect());
    }
}

fn numbers(text: &str, all: &mut BTreeSet<String>) {
    all.insert(text.to_owned());
    all.insert(format!("{text}1"));
    all.insert(format!("{text}.5"));
    all.insert("-0.5".into());
    if let Some(fraction) = text.contains('.').then(|| text.to_owned()) {
        all.insert(format!("{fraction}5"));
        all.insert(format!("{fraction}01"));
    }
    if let Ok(number) = text.split('.').next().unwrap_or_default().parse::<i128>() {
        for moved in -1..=1 {
            all.insert((number + moved).to_string());
            all.insert(format!("{}.5", number + moved));
            all.insert(format!("{}.995", number + moved));
        }
    }
}

fn dates(text: &str, all: &mut BTreeSet<String>) {
    all.insert(text.to_owned());
    for base in [1_717_200_000_i64, 1_704_067_200, 1_717_199_999, 1_717_200_001] {
        for moved in [-86_400, -1, 0, 1, 86_400] {
            all.insert((base + moved).to_string());
        }
    }
    if let Ok(seconds) = text.parse::<i64>() {
        all.extend([seconds - 1, seconds + 1].map(|seconds| seconds.to_string()));
    }
    all.insert("2024-05-31T23:59:59.5Z".into());
    all.insert("2024-06-01T00:00:00.5Z".into());
}

fn addresses(text: &str, all: &mut BTreeSet<String>) {
    let address = text.split('/').next().unwrap_or_default();
    all.insert(address.to_owned());
    // In a block and not in the half of it, whatever the prefixes are.
    if let Some(bits) = iam_oracle::address_bits(address) {
        for at in [0, 7, 22, 23, 31, 32, 127].into_iter().filter(|at| *at < bits.len()) {
            let flip = |(index, bit): (usize, char)| {
                if index == at && bit == '0' {
                    '1'
                } else if index == at {
                    '0'
                } else {
                    bit
                }
            };
            let flipped: String = bits.chars().enumerate().map(flip).collect();
            let group = |from: usize, width: usize| u32::from_str_radix(&flipped[from..from + width], 2).unwrap();
            all.insert(if bits.len() == 32 {
                (0..4).map(|index| group(index * 8, 8).to_string()).collect::<Vec<_>>().join(".")
            } else {
                (0..8).map(|index| format!("{:x}", group(index * 16, 16))).collect::<Vec<_>>().join(":")
            });
        }
    }
    for address in [
        "0.0.0.0",
        "127.255.255.255",
        "128.0.0.0",
        "202.255.255.255",
        "203.0.0.0",
        "203.0.111.255",
        "203.0.112.0",
        "203.0.112.255",
        "203.0.113.0",
        "203.0.113.1",
        "203.0.113.5",
        "203.0.113.6",
        "203.0.113.255",
        "203.0.114.0",
        "203.0.114.1",
        "203.0.115.0",
        "203.0.115.255",
        "203.0.116.0",
        "203.255.255.255",
        "204.0.0.0",
        "254.255.255.255",
        "255.0.0.0",
        "255.255.253.255",
        "255.255.254.0",
        "255.255.255.0",
        "255.255.255.255",
        "0.255.255.255",
        "0.0.1.255",
        "0.0.2.0",
        "0.0.1.0",
        "0.0.0.255",
        "0.0.0.1",
        "1.0.0.0",
        "::",
        "::1",
        "2001:db8::",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db9::",
        "2001:db9::1",
        "2001:db9:8000::",
        "2001:db8:8000::",
        "2000::",
        "7fff::",
        "8000::",
        "ffff::",
        "2001:dff::",
        "2001:e00::",
        "20ff::",
        "2100::",
        "0:1::",
        "ff::",
        "100::",
        "0:ffff::",
        "1::",
        "2001::",
        "2002::",
        "2001:c00::",
    ] {
        all.insert(address.to_owned());
    }
}
