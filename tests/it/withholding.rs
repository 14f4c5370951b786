//! Nobody is denied because something was not known: facts of generated environments are withheld one by one, and a
//! verdict either stays or becomes Unknown.
//!
//! A fact is withheld by saying that it is not known (`policy: Unknown`, a document that cannot be read, tags or presence
//! left out, a condition key not given, an object not seen), never by deleting what the closed world of the contract
//! asserts: without `repositories`, for example, there is no repository policy.
//!
//! `make test-long` runs a hundred thousand environments, `WITHHOLD_CASES=n` so many.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ecr_forecast::cluster::Subject;
use ecr_forecast::forecast;
use ecr_forecast::inventory::{Inventory, ServiceAccountFacts};
use ecr_forecast::judge::{Options, Verdict};
use ecr_forecast::policy::compiled::PolicyObject;
use ecr_forecast::report::Report;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};

const OWN: &str = "111122223333";
const OTHER: &str = "444455556666";

#[test]
fn a_verdict_stays_or_becomes_unknown() {
    // Unoptimised, one verdict takes a millisecond or two.
    let many = std::env::var("WITHHOLD_CASES").ok().and_then(|text| text.parse().ok());
    let (cases, most) = many.map_or((2000, 5), |cases| (cases, usize::MAX));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tally = RefCell::new(BTreeMap::<String, u32>::new());
    let count = |what: String| *tally.borrow_mut().entry(what).or_default() += 1;
    let tape = proptest::collection::vec(any::<u8>(), 160);
    let result = runner.run(&(tape, any::<u64>()), |(tape, order)| {
        let mut environment = Environment::read(&mut Tape::new(&tape));
        let mut before = environment.judge();
        count(format!("start {}", before.verdict));
        let first = environment.clone();
        let facts: Vec<Fact> = shuffled(environment.facts(), order).into_iter().take(most).collect();
        for (number, fact) in facts.iter().enumerate() {
            environment.withhold(fact);
            let after = environment.judge();
            hold(fact, &before, &after).map_err(|why| TestCaseError::fail(told(&why, &first, &facts[..=number])))?;
            if after.verdict != before.verdict {
                count(format!("{} becomes {}", before.verdict, after.verdict));
                count(format!("settled by {}", fact.kind()));
            }
            before = after;
        }
        count(format!("end {}", before.verdict));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // What was found shows little where nothing was at stake.
    let tally = tally.into_inner();
    let times = |what: &str| tally.get(what).copied().unwrap_or_default();
    let all: u32 = ["Allow", "Deny", "Unknown"].iter().map(|verdict| times(&format!("start {verdict}"))).sum();
    for (what, least) in [
        ("start Allow", 8),
        ("start Deny", 8),
        ("start Unknown", 8),
        ("Allow becomes Unknown", 5),
        ("Deny becomes Unknown", 5),
    ] {
        assert!(
            times(what) * 100 >= all * least,
            "{what}: {} of {all}, at least {least} % wanted: {tally:#?}",
            times(what)
        );
    }
    for kind in Fact::KINDS {
        assert!(times(&format!("settled by {kind}")) > 0, "`{kind}` never mattered: {tally:#?}");
    }
}

fn told(why: &str, first: &Environment, facts: &[Fact]) -> String {
    let facts: Vec<String> = facts.iter().map(|fact| format!("{fact:?}")).collect();
    format!("{why}\nof: {}\nwithheld, the last of which did it:\n{}", first.text(), facts.join("\n"))
}

/// The verdict of the whole and that of each image stays, or becomes Unknown.
fn hold(fact: &Fact, before: &Report, after: &Report) -> Result<(), String> {
    let stays = |before: Verdict, after: Verdict| match before {
        // Where nobody knows which policy is in force, an image that needs no pull is allowed all the same.
        Verdict::NotSelected => after != Verdict::Deny,
        // A repository of which nobody says that it is missing is taken to be there (RES-11).
        Verdict::Deny if matches!(fact, Fact::Presence(..)) => true,
        before => after == before || after == Verdict::Unknown,
    };
    if !stays(before.verdict, after.verdict) {
        return Err(format!("{} becomes {}", before.verdict, after.verdict));
    }
    for (before, after) in before.images.iter().zip(&after.images) {
        if !stays(before.verdict, after.verdict) {
            return Err(format!("{}: {} becomes {}: {}", before.field, before.verdict, after.verdict, after.message));
        }
    }
    Ok(())
}

/// A fact that can be withheld, by where it stands in the object of that index.
#[derive(Clone, Debug)]
enum Fact {
    /// A policy document becomes one that cannot be read.
    Document(usize, String),
    /// A managed policy becomes one that is not built in.
    Managed(usize, String),
    /// A resource policy becomes `Unknown`.
    ResourcePolicy(usize, String),
    /// Tags are left out.
    Tags(usize, String),
    /// The presence is left out.
    Presence(usize, String),
    /// A condition key is not given.
    Context(usize, String),
    /// The identity of a role is left out.
    Identity(usize, String),
    /// One more node may pull, of which nothing is known.
    Nodes(usize, String),
    /// The object was not seen.
    Unseen(usize),
}

impl Fact {
    const KINDS: [&str; 9] =
        ["document", "managed", "resource policy", "tags", "presence", "context", "identity", "nodes", "unseen"];

    const fn kind(&self) -> &'static str {
        match self {
            Self::Document(..) => "document",
            Self::Managed(..) => "managed",
            Self::ResourcePolicy(..) => "resource policy",
            Self::Tags(..) => "tags",
            Self::Presence(..) => "presence",
            Self::Context(..) => "context",
            Self::Identity(..) => "identity",
            Self::Nodes(..) => "nodes",
            Self::Unseen(..) => "unseen",
        }
    }
}

/// Objects and a pod.
#[derive(Clone)]
struct Environment {
    objects: Vec<Option<Value>>,
    pod: Value,
}

impl Environment {
    fn judge(&self) -> Report {
        let mut inventory = Inventory::default();
        for object in self.objects.iter().flatten() {
            match object["kind"].as_str().unwrap() {
                "ServiceAccount" => inventory.put_service_account(ServiceAccountFacts::from_json(object).unwrap()),
                "Namespace" => {
                    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
                    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
                    inventory.put_namespace("payments".to_owned(), labels.collect());
                }
                _ => {
                    let policy = PolicyObject::from_json(object.clone()).unwrap();
                    // A spec that is not understood would make everything Unknown and show nothing.
                    assert!(policy.body.is_ok(), "{:?}: {object}", policy.body);
                    inventory.put_policy(policy);
                }
            }
        }
        let at = "2026-11-23T00:00:00Z".parse().unwrap();
        forecast(&inventory, &Subject::from_pod(&self.pod).unwrap(), at, &Options::default())
    }

    fn text(&self) -> String {
        let objects: Vec<String> = self.objects.iter().flatten().chain([&self.pod]).map(Value::to_string).collect();
        objects.join("\n")
    }

    /// Everything that can be withheld.
    fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (index, object) in self.objects.iter().enumerate() {
            let object = object.as_ref().unwrap();
            match object["kind"].as_str().unwrap() {
                // A secret that it may lend its pods is told by a note and changes no verdict; see RES-12, which
                // speaks of labels and annotations alone.
                "ServiceAccount" if object["imagePullSecrets"].is_null() => facts.push(Fact::Unseen(index)),
                "Namespace" => facts.push(Fact::Unseen(index)),
                "EcrAccessPolicy" | "ClusterEcrAccessPolicy" => walk(&object["spec"], "/spec", index, &mut facts),
                _ => {}
            }
        }
        facts
    }

    fn withhold(&mut self, fact: &Fact) {
        let remove = |objects: &mut Vec<Option<Value>>, index: usize, pointer: &str| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let Some(parent) = objects[index].as_mut().unwrap().pointer_mut(parent) else { return };
            let name = name.replace("~1", "/");
            parent.as_object_mut().unwrap().remove(&name);
        };
        let set = |objects: &mut Vec<Option<Value>>, index: usize, pointer: &str, value: Value| {
            // What it stands in may be withheld already.
            if let Some(place) = objects[index].as_mut().unwrap().pointer_mut(pointer) {
                *place = value;
            }
        };
        let objects = &mut self.objects;
        match fact {
            Fact::Document(index, pointer) => {
                set(objects, *index, pointer, json!({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]}));
            }
            Fact::Managed(index, pointer) => {
                set(objects, *index, pointer, json!(format!("arn:aws:iam::{OWN}:policy/of-our-own")));
            }
            Fact::ResourcePolicy(index, pointer) => set(objects, *index, pointer, json!("Unknown")),
            Fact::Tags(index, pointer)
            | Fact::Presence(index, pointer)
            | Fact::Context(index, pointer)
            | Fact::Identity(index, pointer) => remove(objects, *index, pointer),
            Fact::Nodes(index, pointer) => {
                let nodes = objects[*index].as_mut().unwrap().pointer_mut(pointer).unwrap();
                nodes.as_array_mut().unwrap().push(json!({"arn": format!("arn:aws:iam::{OWN}:role/another-node")}));
            }
            Fact::Unseen(index) => objects[*index] = None,
        }
    }
}

/// The facts below `value`, which stands at `pointer` in the object of that index.
fn walk(value: &Value, pointer: &str, index: usize, facts: &mut Vec<Fact>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let pointer = format!("{pointer}/{}", name.replace('/', "~1"));
                match name.as_str() {
                    "document" => {
                        facts.push(Fact::Document(index, pointer));
                        continue;
                    }
                    "managedPolicyArn" => facts.push(Fact::Managed(index, pointer.clone())),
                    "tags" => facts.push(Fact::Tags(index, pointer.clone())),
                    "presence" => facts.push(Fact::Presence(index, pointer.clone())),
                    "policy" => facts.push(Fact::ResourcePolicy(index, pointer.clone())),
                    "context" => {
                        let keys = value.as_object().unwrap().keys();
                        facts.extend(
                            keys.map(|key| Fact::Context(index, format!("{pointer}/{}", key.replace('/', "~1")))),
                        );
                    }
                    "nodes" | "fallbackNodes" => facts.push(Fact::Nodes(index, pointer.clone())),
                    // Not that of all roles of service accounts: without it, the account itself has no role.
                    "identity" if !pointer.ends_with("/serviceAccount/identity") => {
                        facts.push(Fact::Identity(index, pointer.clone()));
                    }
                    _ => {}
                }
                walk(value, &pointer, index, facts);
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                walk(item, &format!("{pointer}/{position}"), index, facts);
            }
        }
        _ => {}
    }
}

fn shuffled(mut facts: Vec<Fact>, mut seed: u64) -> Vec<Fact> {
    for place in (1..facts.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        facts.swap(place, usize::try_from(seed >> 33).unwrap() % (place + 1));
    }
    facts
}

/// A source of choices. It shrinks with the bytes, whose zeroes are the first choices.
struct Tape<'a> {
    bytes: std::iter::Copied<std::slice::Iter<'a, u8>>,
}

impl<'a> Tape<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter().copied() }
    }

    fn number(&mut self, below: u8) -> u8 {
        self.bytes.next().unwrap_or_default() % below
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.number(n) == n - 1
    }

    fn pick<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[usize::from(self.number(u8::try_from(choices.len()).unwrap()))]
    }

    fn text(&mut self, choices: &[&str]) -> String {
        (*self.pick(choices)).to_owned()
    }
}

const IMAGES: [&str; 6] = [
    "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:1",
    "111122223333.dkr.ecr.us-east-1.amazonaws.com/cache/library/nginx:1",
    "444455556666.dkr.ecr.us-east-1.amazonaws.com/team/app:1",
    "444455556666.dkr.ecr.us-east-1.amazonaws.com/cache/library/nginx:1",
    "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/web:1",
    "docker.io/library/nginx:1",
];
const RESOURCES: [&str; 6] = [
    "*",
    "arn:aws:ecr:us-east-1:111122223333:repository/team/*",
    "arn:aws:ecr:*:*:repository/*",
    "arn:aws:ecr:us-east-1:444455556666:repository/*",
    "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*",
    "arn:aws:ecr:*:*:repository/cache/*",
];
const ACTIONS: [&str; 8] = [
    "ecr:*",
    "ecr:BatchGetImage",
    "ecr:Get*",
    "ecr:Batch*",
    "ecr:BatchImportUpstreamImage",
    "ecr:CreateRepository",
    "ecr:GetAuthorizationToken",
    "ecr:PutImage",
];
const MANAGED: [&str; 6] = [
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEKSWorkerNodePolicy",
    "AWSCompromisedKeyQuarantineV3",
    "PowerUserAccess",
    "service-role/ROSAWorkerInstancePolicy",
];

impl Environment {
    fn read(tape: &mut Tape<'_>) -> Self {
        let roles: Vec<String> =
            (0..3).map(|n| format!("arn:aws:iam::{}:role/r{n}", if tape.one_in(3) { OTHER } else { OWN })).collect();
        let mut account = json!({"kind": "ServiceAccount", "metadata": {"name": "api", "namespace": "payments",
            "labels": {"team": tape.text(&["pay", "pay", "shop"])}}});
        match tape.number(6) {
            0..=2 => account["metadata"]["annotations"] = json!({"eks.amazonaws.com/ecr-role-arn": roles[0]}),
            3 => account["metadata"]["annotations"] = json!({"eks.amazonaws.com/ecr-role-arn": ""}),
            _ => {}
        }
        if tape.one_in(12) {
            account["imagePullSecrets"] = json!([{"name": "registry"}]);
        }
        let mut spec = json!({"puller": puller(tape, &roles)});
        match tape.number(4) {
            0 => spec["serviceAccounts"] = json!({"names": ["api"]}),
            1 => spec["serviceAccounts"] = json!({"selector": {"matchLabels": {"team": "pay"}}}),
            _ => {}
        }
        declarations(tape, &mut spec, &roles);
        let mut namespace = json!({"kind": "Namespace", "metadata": {"name": "payments", "labels": {}}});
        let mut policy = json!({"kind": "EcrAccessPolicy", "metadata": {"name": "pull", "namespace": "payments"}});
        if tape.one_in(4) {
            policy = json!({"kind": "ClusterEcrAccessPolicy", "metadata": {"name": "pull"}});
            spec["namespaceSelector"] = json!({"matchLabels": {"env": "prod"}});
            namespace["metadata"]["labels"] = json!({"env": tape.text(&["prod", "prod", "prod", "test"])});
        }
        policy["apiVersion"] = json!("ecraccess.dev/v1alpha1");
        policy["spec"] = spec;
        let containers: Vec<Value> = (0..=tape.number(2))
            .map(|n| {
                let pull = tape.text(&["IfNotPresent", "Always", "IfNotPresent", "IfNotPresent", "Never"]);
                json!({"name": format!("c{n}"), "image": tape.pick(&IMAGES), "imagePullPolicy": pull})
            })
            .collect();
        let mut pod = json!({"metadata": {"name": "app", "namespace": "payments"},
            "spec": {"serviceAccountName": "api", "containers": containers}});
        if tape.one_in(12) {
            pod["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
        }
        Self { objects: vec![Some(namespace), Some(account), Some(policy)], pod }
    }
}

fn puller(tape: &mut Tape<'_>, roles: &[String]) -> Value {
    let named = |tape: &mut Tape<'_>, role: &String| {
        let mut role = json!({"arn": role});
        if !tape.one_in(8) {
            role["identity"] = identity(tape);
        }
        role
    };
    match tape.number(3) {
        0 => json!({"role": named(tape, &roles[0])}),
        1 => {
            let nodes: Vec<Value> =
                roles.iter().take(1 + usize::from(tape.number(2))).map(|role| named(tape, role)).collect();
            json!({"nodes": nodes})
        }
        _ => {
            let mut account = json!({});
            if tape.one_in(2) {
                account["roles"] = json!([{"arn": roles[0], "identity": identity(tape)}]);
            } else {
                account["identity"] = identity(tape);
            }
            if tape.one_in(3) {
                account["defaultRoleArn"] = json!(roles[1]);
            }
            if tape.one_in(3) {
                account["fallbackNodes"] = json!([named(tape, &roles[2])]);
            }
            json!({"serviceAccount": account})
        }
    }
}

fn identity(tape: &mut Tape<'_>) -> Value {
    let mut policies = vec![json!({"name": "p0", "document": generous(tape)})];
    for n in 1..=tape.number(3) {
        policies.push(entry(tape, &format!("p{n}")));
    }
    let mut identity = json!({"policies": policies});
    if tape.one_in(3) {
        let mut boundary = entry(tape, "boundary");
        boundary.as_object_mut().unwrap().remove("name");
        identity["permissionsBoundary"] = boundary;
    }
    tags(tape, &mut identity, "team");
    identity
}

fn tags(tape: &mut Tape<'_>, holder: &mut Value, key: &str) {
    match tape.number(4) {
        0 | 3 => holder["tags"] = json!({key: tape.text(&["team", "pay"])}),
        1 => holder["tags"] = json!({}),
        _ => {}
    }
}

/// One policy by document or by its managed ARN.
fn entry(tape: &mut Tape<'_>, name: &str) -> Value {
    match tape.number(4) {
        0 => json!({"name": name, "managedPolicyArn": format!("arn:aws:iam::aws:policy/{}", tape.pick(&MANAGED))}),
        1 => json!({"name": name, "document": generous(tape)}),
        _ => json!({"name": name, "document": document(tape, None)}),
    }
}

/// Most of what a pull needs, so that much is at stake.
fn generous(tape: &mut Tape<'_>) -> Value {
    let mut allow = json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
    match tape.number(6) {
        0 => allow["Action"] = json!(["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]),
        1 => allow["Action"] = json!("ecr:GetAuthorizationToken"),
        _ => {}
    }
    if tape.one_in(3) {
        let (operator, key, value) = condition(tape);
        allow["Condition"][operator][key] = value;
    }
    let mut statements = vec![allow];
    if tape.one_in(2) {
        statements.push(statement(tape, None));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn document(tape: &mut Tape<'_>, principals: Option<&[String]>) -> Value {
    let statements: Vec<Value> = (0..=tape.number(2)).map(|_| statement(tape, principals)).collect();
    json!({"Version": tape.text(&["2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17"]), "Statement": statements})
}

fn statement(tape: &mut Tape<'_>, principals: Option<&[String]>) -> Value {
    let mut statement = json!({"Effect": tape.text(&["Allow", "Allow", "Deny"])});
    statement[tape.text(&["Action", "Action", "Action", "NotAction"])] = json!(tape.pick(&ACTIONS));
    match principals {
        None => {
            statement[tape.text(&["Resource", "Resource", "Resource", "NotResource"])] = json!(tape.pick(&RESOURCES))
        }
        Some(roles) => {
            let principal = match tape.number(6) {
                0 => json!("*"),
                1 => json!({"AWS": format!("arn:aws:iam::{OWN}:root")}),
                2 => json!({"AWS": format!("arn:aws:iam::{OTHER}:root")}),
                3 => json!({"AWS": "arn:aws:sts::111122223333:assumed-role/r0/ecr-credential-provider"}),
                _ => json!({"AWS": tape.pick(roles)}),
            };
            let not = statement["Effect"] == "Deny" && tape.one_in(6) && principal != "*";
            statement[if not { "NotPrincipal" } else { "Principal" }] = principal;
        }
    }
    for _ in 0..tape.number(3) {
        let (operator, key, value) = condition(tape);
        statement["Condition"][operator][key] = value;
    }
    statement
}

fn condition(tape: &mut Tape<'_>) -> (String, &'static str, Value) {
    let suffix = if tape.one_in(3) { "IfExists" } else { "" };
    let (operators, key, values): (&[&str], _, &[&str]) = match tape.number(20) {
        0 | 16 | 17 => (&["StringEquals", "StringNotEquals"], "aws:SourceVpc", &["vpc-1", "vpc-2"]),
        1 | 18 => (&["IpAddress", "NotIpAddress"], "aws:SourceIp", &["203.0.113.0/24", "198.51.100.0/24"]),
        2 | 12 | 13 => (&["StringEquals", "StringNotLike"], "aws:PrincipalTag/team", &["team", "pay"]),
        3 | 14 | 15 => (&["StringEquals", "StringNotEquals"], "ecr:ResourceTag/tier", &["team", "pay"]),
        4 | 19 => (&["StringLike", "StringNotEquals"], "aws:PrincipalOrgID", &["o-1", "o-*"]),
        5 => (&["StringEquals", "StringNotEquals"], "aws:ResourceAccount", &[OWN, "${aws:PrincipalAccount}"]),
        6 => (&["Bool"], "aws:MultiFactorAuthPresent", &["true", "false"]),
        7 => (&["ArnLike", "ArnNotLike"], "aws:PrincipalArn", &["arn:aws:iam::*:role/r0", "arn:aws:iam::*:role/r*"]),
        8 => (&["StringEquals", "StringNotEquals"], "aws:RequestedRegion", &["us-east-1", "eu-west-1"]),
        // Of texts that ask for the session alone the outcome is known; one that asks for the role's id as well leaves
        // all of them open, and withholding that one then settles the others.
        9 => (&["StringLike", "StringNotLike"], "aws:userid", &["*:ecr-credential-provider", "*:somebody"]),
        10 => {
            (&["DateLessThan", "DateGreaterThan"], "aws:CurrentTime", &["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])
        }
        _ => {
            let keys = [
                "aws:SourceVpc",
                "aws:PrincipalTag/team",
                "aws:ResourceTag/tier",
                "aws:username",
                "aws:FederatedProvider",
            ];
            return ("Null".to_owned(), *tape.pick::<&'static str>(&keys), json!(tape.text(&["true", "false"])));
        }
    };
    (format!("{}{suffix}", tape.pick(operators)), key, json!(tape.pick(values)))
}

fn declarations(tape: &mut Tape<'_>, spec: &mut Value, roles: &[String]) {
    let mut repositories = Vec::new();
    for _ in 0..tape.number(3) {
        let matches = [
            "arn:aws:ecr:*:*:repository/*",
            "arn:aws:ecr:us-east-1:444455556666:repository/*",
            "arn:aws:ecr:*:111122223333:repository/team/*",
            "arn:aws:ecr:*:*:repository/cache/*",
        ];
        let mut repository = json!({"match": tape.pick(&matches)});
        match tape.number(4) {
            0 => {}
            1 => repository["policy"] = json!("Unknown"),
            _ => repository["policy"] = json!({"document": document(tape, Some(roles))}),
        }
        tags(tape, &mut repository, "tier");
        match tape.number(5) {
            0 => repository["presence"] = json!("Missing"),
            1 | 2 => repository["presence"] = json!("Present"),
            _ => {}
        }
        if repository.as_object().unwrap().len() > 1 {
            repositories.push(repository);
        }
    }
    if !repositories.is_empty() {
        spec["repositories"] = json!(repositories);
    }
    let mut registries: Vec<Value> = Vec::new();
    let mut seen = BTreeSet::new();
    for _ in 0..tape.number(3) {
        let (account, region) = (tape.text(&[OWN, OTHER]), tape.text(&["*", "us-east-1"]));
        if !seen.insert((account.clone(), region.clone())) {
            continue;
        }
        let mut registry = json!({"accountId": account, "region": region, "policyScope": tape.text(&["V2", "V1"])});
        match tape.number(4) {
            0 => registry["policy"] = json!("Unknown"),
            1 | 2 => {
                let mut policy = document(tape, Some(roles));
                for statement in policy["Statement"].as_array_mut().unwrap() {
                    statement["Resource"] = json!(tape.pick(&RESOURCES[..4]));
                }
                registry["policy"] = json!({"document": policy});
            }
            _ => {}
        }
        if tape.one_in(2) {
            registry["pullThroughCache"] = json!([{"prefix": tape.text(&["cache", "ROOT"])}]);
        }
        registries.push(registry);
    }
    if !registries.is_empty() {
        spec["registries"] = json!(registries);
    }
    if tape.one_in(3) {
        let levels: Vec<Value> = (0..=tape.number(2))
            .map(|n| json!({"level": format!("l{n}"), "policies": [{"name": "g", "document": generous(tape)}]}))
            .collect();
        spec["organization"] = json!({"serviceControlPolicies": levels});
        if tape.one_in(2) {
            let mut deny = statement(tape, None);
            deny["Effect"] = json!("Deny");
            deny["Principal"] = json!("*");
            let document = json!({"Version": "2012-10-17", "Statement": [deny]});
            spec["organization"]["resourceControlPolicies"] =
                json!([{"level": "root", "policies": [{"name": "r", "document": document}]}]);
        }
    }
    let mut context = serde_json::Map::new();
    for (key, values) in [
        ("aws:SourceVpc", ["vpc-1", "vpc-3"]),
        ("aws:SourceIp", ["203.0.113.9", "192.0.2.1"]),
        ("aws:PrincipalOrgID", ["o-1", "o-2"]),
    ] {
        match tape.number(6) {
            0 => drop(context.insert(key.to_owned(), json!([values[0]]))),
            1 => drop(context.insert(key.to_owned(), json!([values[1]]))),
            2 => drop(context.insert(key.to_owned(), json!([]))),
            3 => drop(context.insert(key.to_owned(), json!(values))),
            _ => {}
        }
    }
    if !context.is_empty() {
        spec["context"] = Value::Object(context);
    }
}
