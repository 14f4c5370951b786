//! Fixes are proven: applied to the input as a user would apply them, they turn every Deny into an Allow; and nothing
//! of them can be left out. Over generated clusters, from seeds, so that a failure can be run again: `SEED=17`.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use ecr_forecast::cluster::Subject;
use ecr_forecast::ecr::managed;
use ecr_forecast::facts::missing::MissingFact;
use ecr_forecast::forecast;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict};
use ecr_forecast::policy::compiled::{PolicyObject, PolicyWithDocuments};
use ecr_forecast::report::Report;
use serde_json::{Value, json};

const ARN: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";
const IMAGE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1";
const OWN: &str = "arn:aws:iam::111122223333:role/app";
const OTHER: &str = "arn:aws:iam::444455556666:role/path/app";

/// So many clusters are tried in a normal run, each with every step and action of its fix left out in turn;
/// `CLUSTERS=20000` tries more.
const CLUSTERS: u64 = 1200;

#[test]
fn a_fix_fixes_and_nothing_of_it_can_be_left_out() {
    let mut tried = Tried::default();
    for seed in seeds() {
        let spec = Generator::new(seed).spec(true);
        prove(seed, &spec, &mut tried);
    }
    if std::env::var_os("SEED").is_none() {
        // The clusters are worth something only if they call for every kind of step, at every layer.
        println!("{tried:?}");
        assert!(tried.denied > seeds().len() / 2, "{tried:?}");
        assert!(tried.open < tried.denied / 50, "{tried:?}");
        for kind in ["AddStatement", "NarrowDeny", "ReplaceBoundary", "CreateRepository"] {
            assert!(tried.kinds.iter().any(|known| known == kind), "{kind}: {tried:?}");
        }
        for layer in ["identity", "resource", "registry", "boundary", "scp", "rcp"] {
            assert!(tried.layers.iter().any(|known| known == layer), "{layer}: {tried:?}");
        }
    }
}

#[test]
fn with_facts_that_are_not_known_a_fix_leaves_no_deny() {
    for seed in seeds() {
        let spec = Generator::new(seed).spec(false);
        let report = judge(&spec);
        let fix = fixes(&report);
        if report.verdict != Verdict::Deny || fix.iter().any(|fix| fix["kind"] == "None") {
            continue;
        }
        let fixed = judge(&applied(&spec, &fix));
        assert_ne!(fixed.verdict, Verdict::Deny, "SEED={seed}\n{spec:#}\n{fix:#?}\n{}", told(&fixed));
    }
}

#[derive(Debug, Default)]
struct Tried {
    denied: usize,
    /// Of these, how many end in Unknown.
    open: usize,
    steps: usize,
    kinds: Vec<String>,
    layers: Vec<String>,
}

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let clusters = std::env::var("CLUSTERS").map_or(CLUSTERS, |count| count.parse().unwrap());
            (0..clusters).collect()
        }
    }
}

fn prove(seed: u64, spec: &Value, tried: &mut Tried) {
    let report = judge(spec);
    if report.verdict != Verdict::Deny {
        return;
    }
    tried.denied += 1;
    let fix = fixes(&report);
    let fixed = judge(&applied(spec, &fix));
    // Where a registry policy lets the puller in, nothing has to be added to a repository policy that nobody knows;
    // whether it denies stays open. So does whether a registry policy can deny a login, which AWS does not document.
    let stays_open = fixed.images[0].missing.iter().any(|fact| match fact {
        MissingFact::RepositoryPolicy(arn) => arn == ARN,
        MissingFact::RegistryPolicy { .. } | MissingFact::RegistryDocument(_) => true,
        _ => false,
    });
    tried.open += usize::from(stays_open);
    let good = |report: &Report| {
        let denied = report.images[0].candidates.iter().any(|candidate| candidate.verdict == Verdict::Deny);
        if stays_open { !denied } else { report.verdict == Verdict::Allow }
    };
    let allows = |fix: &[Value]| good(&judge(&applied(spec, fix)));
    assert!(
        !fix.is_empty() && good(&fixed),
        "does not help: SEED={seed}\n{spec:#}\n{fix:#?}\n{}",
        told(&judge(&applied(spec, &fix)))
    );
    tried.steps += fix.len();
    for (index, step) in fix.iter().enumerate() {
        for (word, words) in [("kind", &mut tried.kinds), ("attachTo", &mut tried.layers)] {
            let word = step[word].as_str().unwrap_or_default().to_owned();
            if !words.contains(&word) {
                words.push(word);
            }
        }
        // No wildcard wider than the need.
        if step["kind"] == "AddStatement" {
            let login = step["document"]["Action"] == "ecr:GetAuthorizationToken";
            let resource = &step["document"]["Resource"];
            assert!(
                if step["attachTo"] == "resource" {
                    resource.is_null()
                } else {
                    *resource == if login { "*" } else { ARN }
                },
                "SEED={seed} {step:#}"
            );
            assert!(!step["document"]["Action"].to_string().contains('*'), "SEED={seed} {step:#}");
        }
        let mut without = fix.clone();
        without.remove(index);
        assert!(!allows(&without), "step {index} can be left out: SEED={seed}\n{spec:#}\n{fix:#?}");
        let actions = step["document"]["Action"].as_array().cloned().unwrap_or_default();
        if step["kind"] != "NarrowDeny" {
            for (left_out, action) in actions.iter().enumerate() {
                let mut fewer = fix.clone();
                fewer[index]["document"]["Action"].as_array_mut().unwrap().remove(left_out);
                assert!(!allows(&fewer), "{action} can be left out: SEED={seed}\n{spec:#}\n{step:#}");
            }
        }
    }
}

fn judge(spec: &Value) -> Report {
    let mut inventory = Inventory::default();
    inventory.put_namespace("payments".into(), [].into());
    inventory.put_service_account(ServiceAccountFacts {
        namespace: "payments".into(),
        name: "api".into(),
        annotations: [("eks.amazonaws.com/ecr-role-arn".to_owned(), OWN.to_owned())].into(),
        ..ServiceAccountFacts::default()
    });
    let object = json!({"kind": "EcrAccessPolicy", "metadata": {"name": "p", "namespace": "payments"}, "spec": spec});
    let object = PolicyObject::from_json(object).unwrap();
    let problems = PolicyWithDocuments::alone(object.clone()).problems();
    assert!(problems.is_empty(), "{problems:?}\n{spec:#}");
    inventory.put_policy(object);
    let pod = json!({"metadata": {"namespace": "payments", "name": "app"},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": IMAGE}]}});
    let at = "2026-11-23T00:00:00Z".parse().unwrap();
    forecast(&inventory, &Subject::from_pod(&pod).unwrap(), at, &Options::default())
}

fn fixes(report: &Report) -> Vec<Value> {
    serde_json::to_value(&report.images[0].fix).unwrap().as_array().unwrap().clone()
}

fn told(report: &Report) -> String {
    let decisions = report.images[0].candidates.iter().map(|c| format!("{} {:#?}", c.principal, c.decisions));
    format!("{} {:?}\n{}", report.verdict, report.images[0].missing, decisions.collect::<Vec<_>>().join("\n"))
}

/// The input with the steps of a fix, as a person would take them who only reads the report.
fn applied(spec: &Value, fix: &[Value]) -> Value {
    let mut spec = spec.clone();
    // Steps that make something new come last, since policies are named by the places of those that are there.
    let is_new = |step: &&Value| step["policy"].is_null();
    for step in fix.iter().filter(|step| !is_new(step)) {
        change(&mut spec, step);
    }
    for step in fix.iter().filter(is_new) {
        add(&mut spec, step);
    }
    clear(&mut spec);
    spec
}

/// Takes out what was only marked, so that labels like `#1` kept their meaning.
fn clear(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item != "REMOVED");
            items.iter_mut().for_each(clear);
        }
        Value::Object(members) => {
            members.values_mut().for_each(clear);
            // A principal whose last policy was detached has one that says nothing of images.
            if let Some(Value::Array(policies)) = members.get_mut("policies")
                && policies.is_empty()
            {
                policies.push(json!({"name": "none", "document":
                    {"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}}));
            }
        }
        _ => {}
    }
}

fn statements(document: &mut Value) -> &mut Vec<Value> {
    if !document["Statement"].is_array() {
        let single = document["Statement"].take();
        document["Statement"] = json!([single]);
    }
    document["Statement"].as_array_mut().unwrap()
}

fn change(spec: &mut Value, step: &Value) {
    let name = step["policy"].as_str().unwrap();
    let target = step["target"].as_str().unwrap();
    let holder: &mut Value = match step["attachTo"].as_str().unwrap() {
        "identity" => policy(&mut identity(spec, target)["policies"], name),
        "boundary" => &mut identity(spec, target)["permissionsBoundary"],
        "resource" | "registry" => {
            let (list, rest) = name.split_once('[').unwrap();
            let index: usize = rest.split_once(']').unwrap().0.parse().unwrap();
            &mut spec[list][index]["policy"]
        }
        layer => policy(level(spec, layer, target), name),
    };
    match (step["kind"].as_str().unwrap(), step["statement"].as_str()) {
        ("AddStatement", None) => statements(&mut holder["document"]).push(step["document"].clone()),
        ("NarrowDeny", None) => *holder = json!("REMOVED"),
        ("NarrowDeny", Some(label)) => replace(&mut holder["document"], label, &step["document"]),
        ("ReplaceBoundary", label) => {
            if let Some(arn) = holder["managedPolicyArn"].as_str() {
                *holder = json!({"document": managed::document(arn).unwrap()});
            }
            match label {
                Some(label) => replace(&mut holder["document"], label, &step["document"]),
                None => statements(&mut holder["document"]).push(step["document"].clone()),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn replace(document: &mut Value, label: &str, with: &Value) {
    let called = |(index, statement): (usize, &Value)| match statement["Sid"].as_str() {
        Some(sid) => sid == label,
        None => label == format!("#{index}"),
    };
    let statements = statements(document);
    let index = statements.iter().enumerate().position(called).unwrap();
    statements[index] = if with.is_null() { json!("REMOVED") } else { with.clone() };
}

fn add(spec: &mut Value, step: &Value) {
    let target = step["target"].as_str().unwrap();
    let document = || json!({"Version": "2012-10-17", "Statement": [step["document"]]});
    let entry = |count: usize| json!({"name": format!("new-{count}"), "document": document()});
    match step["attachTo"].as_str() {
        Some("identity") => {
            let policies = identity(spec, target)["policies"].as_array_mut().unwrap();
            policies.push(entry(policies.len()));
        }
        Some("resource") => {
            let entry = exactly(spec, target);
            match &mut entry["policy"] {
                Value::Object(policy) => statements(policy.get_mut("document").unwrap()).push(step["document"].clone()),
                policy => *policy = json!({"document": document()}),
            }
        }
        Some("registry") => {
            let (account, region) = target.trim_start_matches("registry ").split_once('/').unwrap();
            let registries = list(spec, "registries");
            let found = registries.iter().find(|entry| entry["accountId"] == account).cloned();
            let mut entry = found.unwrap_or(json!({"accountId": account}));
            registries.retain(|entry| entry["accountId"] != account);
            entry["region"] = json!(region);
            match &mut entry["policy"] {
                Value::Object(policy) => statements(policy.get_mut("document").unwrap()).push(step["document"].clone()),
                policy => *policy = json!({"document": document()}),
            }
            registries.push(entry);
        }
        Some(layer @ ("scp" | "rcp")) => {
            let policies = level(spec, layer, target).as_array_mut().unwrap();
            policies.push(entry(policies.len()));
        }
        None if step["kind"] == "CreateRepository" => {
            let entry = exactly(spec, target);
            entry["presence"] = json!("Present");
            if entry["tags"].is_null() {
                entry["tags"] = json!({});
            }
        }
        other => panic!("{other:?} {step}"),
    }
}

/// The entry of one repository alone, before all others.
fn exactly<'a>(spec: &'a mut Value, arn: &str) -> &'a mut Value {
    let repositories = list(spec, "repositories");
    let found = repositories.iter().find(|entry| matches(entry["match"].as_str().unwrap(), arn)).cloned();
    if found.as_ref().is_none_or(|entry| entry["match"] != arn) {
        let mut entry = found.unwrap_or(json!({}));
        entry["match"] = json!(arn);
        repositories.insert(0, entry);
    }
    repositories.iter_mut().find(|entry| entry["match"] == arn).unwrap()
}

fn matches(pattern: &str, arn: &str) -> bool {
    pattern == arn || pattern.strip_suffix('*').is_some_and(|prefix| arn.starts_with(prefix))
}

fn list<'a>(spec: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if !spec[field].is_array() {
        spec[field] = json!([]);
    }
    spec[field].as_array_mut().unwrap()
}

fn identity<'a>(spec: &'a mut Value, target: &str) -> &'a mut Value {
    let puller = &mut spec["puller"];
    if puller["role"].is_object() {
        assert_eq!(puller["role"]["arn"], target);
        return &mut puller["role"]["identity"];
    }
    if puller["nodes"].is_array() {
        let nodes = puller["nodes"].as_array_mut().unwrap();
        return &mut nodes.iter_mut().find(|node| node["arn"] == target).unwrap()["identity"];
    }
    assert_eq!(target, OWN);
    &mut puller["serviceAccount"]["identity"]
}

fn level<'a>(spec: &'a mut Value, layer: &str, target: &str) -> &'a mut Value {
    let field = if layer == "scp" { "serviceControlPolicies" } else { "resourceControlPolicies" };
    let levels = spec["organization"][field].as_array_mut().unwrap();
    &mut levels.iter_mut().find(|level| level["level"] == target).unwrap()["policies"]
}

fn policy<'a>(policies: &'a mut Value, name: &str) -> &'a mut Value {
    policies.as_array_mut().unwrap().iter_mut().find(|policy| policy["name"] == name).unwrap()
}

/// Makes clusters from a seed (xorshift64*).
struct Generator {
    state: u64,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut generator = Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 };
        for _ in 0..8 {
            generator.next();
        }
        generator
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick(&mut self, values: &[Value]) -> Value {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()].clone()
    }

    /// A cluster; with `known` one of which everything is known.
    fn spec(&mut self, known: bool) -> Value {
        let role = if self.one_in(3) { OTHER } else { OWN };
        let identity = self.identity(known);
        let mut spec = match self.below(if known { 4 } else { 5 }) {
            0 => {
                let second = json!({"arn": "arn:aws:iam::111122223333:role/second", "identity": self.identity(known)});
                json!({"puller": {"nodes": [{"arn": role, "identity": identity}, second]}})
            }
            4 => json!({"puller": {"serviceAccount": {"identity": identity}}}),
            _ => json!({"puller": {"role": {"arn": role, "identity": identity}}}),
        };
        if known || self.one_in(2) {
            spec["context"] = json!({"aws:SourceVpc": ["vpc-1"]});
        }
        if known || self.one_in(2) {
            let mut entry = json!({"match": self.pick(&[json!(ARN), json!("arn:aws:ecr:*")]), "tags": self.tags()});
            if entry["match"] == "arn:aws:ecr:*" {
                entry["match"] = json!("arn:aws:ecr:us-east-1:111122223333:repository/team/*");
            }
            if !self.one_in(3) {
                entry["policy"] = if known || self.one_in(2) {
                    json!({"document": self.document(2, Place::Repository)})
                } else {
                    json!("Unknown")
                };
            }
            if known || self.one_in(2) {
                entry["presence"] = self.pick(&[json!("Present"), json!("Present"), json!("Missing")]);
            }
            spec["repositories"] = json!([entry]);
        }
        if self.one_in(3) {
            let mut entry = json!({"accountId": "111122223333", "policyScope": self.pick(&[json!("V1"), json!("V2")])});
            if self.one_in(2) {
                entry["policy"] = json!({"document": self.document(2, Place::Registry)});
            }
            if self.one_in(2) {
                entry["pullThroughCache"] = json!([{"prefix": "team"}]);
            }
            spec["registries"] = json!([entry]);
        }
        if self.one_in(3) {
            let levels = 1 + self.below(2);
            let scps: Vec<Value> = (0..levels).map(|n| self.level(n, Place::Scp)).collect();
            spec["organization"] = json!({"serviceControlPolicies": scps});
            if self.one_in(2) {
                spec["organization"]["resourceControlPolicies"] = json!([self.level(0, Place::Rcp)]);
            }
        }
        spec
    }

    fn level(&mut self, n: u64, place: Place) -> Value {
        let mut policies = vec![];
        if place == Place::Scp && !self.one_in(3) {
            policies.push(json!({"name": "FullAWSAccess",
                "managedPolicyArn": "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess"}));
        }
        if policies.is_empty() || self.one_in(2) {
            policies.push(json!({"name": "guard", "document": self.document(2, place)}));
        }
        json!({"level": format!("level-{n}"), "policies": policies})
    }

    fn identity(&mut self, known: bool) -> Value {
        let mut policies = vec![json!({"name": "app-pull", "document": self.document(3, Place::Identity)})];
        if self.one_in(4) {
            let managed = [
                "AmazonEKSWorkerNodePolicy",
                "AmazonEC2ContainerRegistryPullOnly",
                "AWSCompromisedKeyQuarantineV3",
                "SecurityAudit",
            ];
            let name = managed[usize::try_from(self.below(4)).unwrap()];
            policies.push(json!({"name": name, "managedPolicyArn": format!("arn:aws:iam::aws:policy/{name}")}));
            if self.one_in(3) {
                policies.remove(0);
            }
        }
        let mut identity = json!({"policies": policies});
        if known || self.one_in(2) {
            identity["tags"] = self.tags();
        }
        if self.one_in(4) {
            identity["permissionsBoundary"] = if self.one_in(3) {
                let name =
                    self.pick(&[json!("PowerUserAccess"), json!("AmazonEKSWorkerNodePolicy"), json!("AWSDenyAll")]);
                json!({"managedPolicyArn": format!("arn:aws:iam::aws:policy/{}", name.as_str().unwrap())})
            } else {
                json!({"document": self.document(2, Place::Identity)})
            };
        }
        identity
    }

    fn tags(&mut self) -> Value {
        self.pick(&[json!({}), json!({"team": "payments"}), json!({"team": "other", "tier": "gold"})])
    }

    fn document(&mut self, most: u64, place: Place) -> Value {
        let count = 1 + self.below(most);
        let statements: Vec<Value> = (0..count).map(|n| self.statement(n, place)).collect();
        let statements =
            if statements.len() == 1 && self.one_in(2) { statements[0].clone() } else { json!(statements) };
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    fn statement(&mut self, n: u64, place: Place) -> Value {
        let deny = place == Place::Rcp || self.one_in(if place == Place::Identity { 5 } else { 4 });
        let mut statement = json!({"Effect": if deny { "Deny" } else { "Allow" }});
        if self.one_in(2) {
            statement["Sid"] = json!(format!("S{n}"));
        }
        let pull = json!(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]);
        let action = self.pick(&[
            json!("*"),
            json!("ecr:*"),
            json!(["ecr:*", "s3:*"]),
            json!("ecr:Batch*"),
            json!("ecr:Get*"),
            json!("ecr:GetAuthorizationToken"),
            json!(["ecr:GetAuthorizationToken", "ecr:batchgetimage"]),
            json!("ecr:BatchGetImage"),
            json!("ecr:PutImage"),
            json!(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]),
            json!("s3:*"),
            pull.clone(),
            pull,
        ]);
        if self.one_in(10) {
            statement["NotAction"] = self.pick(&[json!("iam:*"), json!(["s3:*", "ecr:PutImage"])]);
        } else {
            statement["Action"] = action;
        }
        if matches!(place, Place::Repository | Place::Registry | Place::Rcp) {
            let principal = self.pick(&[
                json!("*"),
                json!({"AWS": "*"}),
                json!({"AWS": OWN}),
                json!({"AWS": [OTHER, OWN]}),
                json!({"AWS": "444455556666"}),
                json!({"AWS": "arn:aws:iam::444455556666:root"}),
                json!({"AWS": "arn:aws:iam::111122223333:role/second"}),
                json!({"AWS": "arn:aws:iam::777788889999:root"}),
            ]);
            if deny && place != Place::Rcp && self.one_in(4) {
                statement["NotPrincipal"] = json!({"AWS": "arn:aws:iam::777788889999:role/else"});
            } else {
                statement["Principal"] = if place == Place::Rcp { json!("*") } else { principal };
            }
        }
        if place != Place::Repository {
            let resource = self.pick(&[
                json!("*"),
                json!("*"),
                json!("*"),
                json!(ARN),
                json!([ARN, "arn:aws:ecr:us-east-1:111122223333:repository/else"]),
                json!("arn:aws:ecr:*:*:repository/team/*"),
                json!("arn:aws:ecr:us-east-1:111122223333:repository/team"),
                json!("arn:aws:ecr:eu-west-1:111122223333:repository/team/*"),
                json!("arn:aws:ecr:us-east-1:111122223333:team/app"),
            ]);
            let field = if self.one_in(12) { "NotResource" } else { "Resource" };
            statement[field] = resource;
        }
        if self.one_in(4) {
            statement["Condition"] = self.pick(&[
                json!({"StringEquals": {"aws:ResourceTag/team": "payments"}}),
                json!({"StringEquals": {"aws:PrincipalTag/team": "payments"}}),
                json!({"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}),
                json!({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),
                json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}}),
                json!({"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/admin"}}),
                json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}, "Bool": {"aws:SecureTransport": "true"}}),
                json!({"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}),
            ]);
        }
        statement
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Identity,
    Repository,
    Registry,
    Scp,
    Rcp,
}
