//! What a tenant stores blinds nobody: objects that a parser stumbles over, of every watched kind, while the watches run
//! and before a replica starts. `ATTACKS` in the environment chooses rows, such as `Pod/deep,ConfigMap`.

mod crowd;
mod ledger;
mod objects;
mod reviews;
mod rights;

pub use reviews::what_cannot_be_read_is_unknown;
pub use reviews::{a_document_that_is_too_deep_is_refused_by_name, a_pod_is_judged_whatever_its_managed_fields};
pub use rights::a_right_taken_away_is_noticed;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::availability::metric;
use super::{faults, release};
use crate::harness::http;
use crate::world::{PATIENCE, RELEASE, World, image, pods, pull_document};
use crowd::{counted, default_account, judged};
use ledger::{Ledger, Moment};
use objects::{
    Attack, DOCUMENT_LEVELS, Kind, Tenant, cluster_policy, config_map, counted_object, declared, deep_document,
    from_config_map, is_as_meant, namespace, policy, service_account, with_managed_fields,
};

/// The namespace of the attacker, behind those of everybody else in every list.
const EVIL: &str = "attacks-x-evil";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/ecr-access";
/// Objects with this label are not shown to the webhook of policies: as if they had come while it was away.
const UNSEEN: &str = "attacks-unseen";

pub async fn what_a_tenant_stores_blinds_nobody(world: &World) -> Result<()> {
    let mut ledger = Ledger::new();
    world.operator_settled(2).await?;
    let clock = Clock::new();
    crowd::make(world).await?;
    let tenant = prepare(world, &ledger).await?;
    clock.tell("the others are made");
    let looked = at_every_moment(world, tenant, &mut ledger, &clock).await;
    // Whatever was found: nothing of it may be in the way of others.
    release::upgrade(world, &["--force-conflicts"])?;
    clean_up(world, &ledger).await.context("clean up")?;
    clock.tell("cleaned up");
    looked?;
    ledger.close()
}

async fn at_every_moment(world: &World, tenant: Tenant<'_>, ledger: &mut Ledger, clock: &Clock) -> Result<()> {
    let all_seen = leave_unseen(world).await?;
    crowd::burst(world, store(world, tenant, ledger)).await?;
    world.must("PATCH", CONFIGURATION, Some(&all_seen)).await?;
    clock.tell("the burst is over");
    look(world, ledger, Moment::Burst).await?;
    clock.tell("looked");

    let pages = faults::everything_can_be_listed(world).await.map_err(|error| format!("{error:#}"));
    for kind in Kind::all().into_iter().filter(|kind| !matches!(kind, Kind::Workload(_))) {
        ledger.note_kind(kind, Moment::Pages, pages.clone().map_err(anyhow::Error::msg));
    }
    clock.tell("looked at small pages");

    ledger.note_all(Moment::Restart, restart(world).await);
    clock.tell("restarted");
    crowd::come(world, Moment::Restart).await?;
    look(world, ledger, Moment::Restart).await?;
    clock.tell("looked");

    crowd::come(world, Moment::Fail).await?;
    release::upgrade(world, &["--set=webhook.failurePolicy=Fail"])?;
    // The API server takes a moment to see its new configuration.
    tokio::time::sleep(Duration::from_secs(1)).await;
    look(world, ledger, Moment::Fail).await?;
    ledger.note_all(Moment::Fail, crowd::logs_are_clean(world).context("the logs"));
    clock.tell("looked, under Fail");
    Ok(())
}

/// Tells how far it is, and when.
struct Clock(Instant);

impl Clock {
    fn new() -> Clock {
        Clock(Instant::now())
    }

    fn tell(&self, what: &str) {
        println!("    {:>5.1} s: {what}", self.0.elapsed().as_secs_f32());
    }
}

/// What an attack is tried on: by the account of a namespace one is judged.
struct Own {
    namespace: String,
    account: String,
}

fn own(kind: Kind, attack: Attack) -> Own {
    let word = attack.as_str();
    let (namespace, account) = match kind {
        Kind::ServiceAccount => (EVIL.to_owned(), format!("account-{word}")),
        Kind::ConfigMap => (EVIL.to_owned(), format!("map-{word}")),
        Kind::Policy => (EVIL.to_owned(), format!("policy-{word}")),
        Kind::ClusterPolicy => (format!("attacks-z-{word}"), "default".to_owned()),
        Kind::Namespace => (format!("attacks-y-{word}"), "default".to_owned()),
        Kind::Pod | Kind::Workload(_) => (EVIL.to_owned(), "api".to_owned()),
    };
    Own { namespace, account }
}

/// What has to be there before: namespaces, rights, accounts, policies that name what is to come.
async fn prepare<'a>(world: &'a World, ledger: &Ledger) -> Result<Tenant<'a>> {
    world.namespace(EVIL, &[]).await?;
    let tenant = Tenant::of(world, "mallory", EVIL).await?;
    let post = async |kind: Kind, object: Value| world.must("POST", &kind.path(EVIL), Some(&object)).await.map(drop);
    post(Kind::ServiceAccount, service_account("api", "good")).await?;
    post(Kind::Policy, policy("api", &["api"], &declared("good"))).await?;
    for kind in Kind::all_counted() {
        let counter = kind.counter();
        post(Kind::ServiceAccount, service_account(&counter, "good")).await?;
        let mut warn = policy(&counter, &[&counter], &declared("good"));
        warn["spec"]["onDeny"] = json!("Warn");
        post(Kind::Policy, warn).await?;
    }
    let accounts: Vec<String> =
        [Attack::Deep, Attack::NotUtf8].map(|attack| own(Kind::ServiceAccount, attack).account).into();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    post(Kind::Policy, policy("accounts", &accounts, &declared("good"))).await?;
    for (kind, attack) in ledger.rows() {
        let Own { namespace: place, account } = own(*kind, *attack);
        match kind {
            Kind::ConfigMap => {
                post(Kind::ServiceAccount, service_account(&account, "good")).await?;
                post(Kind::Policy, policy(&account, &[&account], &from_config_map(&account))).await?;
            }
            Kind::Policy => post(Kind::ServiceAccount, service_account(&account, "good")).await?,
            Kind::ClusterPolicy => {
                post(Kind::Namespace, namespace(&place, &place)).await?;
                default_account(world, &place).await?;
            }
            _ => {}
        }
    }
    Ok(tenant)
}

/// The objects with which something is wrong.
async fn store(world: &World, tenant: Tenant<'_>, ledger: &Ledger) -> Result<()> {
    let admin = Tenant { world, user: None };
    for (kind, attack) in ledger.rows() {
        let Own { namespace: place, account } = own(*kind, *attack);
        let object = match (kind, attack) {
            (Kind::ServiceAccount, _) => service_account(&account, "good"),
            (Kind::ConfigMap, _) => config_map(&account, "good"),
            (Kind::Policy, Attack::Document) => unseen(policy(
                &account,
                &[&account],
                &json!({"name": "app", "document": deep_document(DOCUMENT_LEVELS)}),
            )),
            (Kind::Policy, _) => policy(&account, &[&account], &declared("good")),
            (Kind::ClusterPolicy, Attack::Document) => {
                unseen(cluster_policy(&place, &place, deep_document(DOCUMENT_LEVELS)))
            }
            (Kind::ClusterPolicy, _) => cluster_policy(&place, &place, pull_document(&["good"])),
            (Kind::Namespace, _) => namespace(&place, "tier"),
            (Kind::Pod | Kind::Workload(_), _) => counted_object(*kind, attack.as_str(), &kind.counter(), "bad"),
        };
        let bytes = match attack {
            Attack::Document => serde_json::to_vec(&object)?,
            _ => with_managed_fields(&object, *attack)?,
        };
        let by = if matches!(kind, Kind::ClusterPolicy | Kind::Namespace) { admin } else { tenant };
        by.store(&kind.path(EVIL), bytes).await.with_context(|| format!("{kind:?} {attack:?}"))?;
        let name = object["metadata"]["name"].as_str().context("a name")?;
        if !is_as_meant(world, *kind, &format!("{}/{name}", kind.path(EVIL)), *attack).await? {
            println!("    the API server puts {} {} right", kind.as_str(), attack.as_str());
        }
    }
    Ok(())
}

fn unseen(mut object: Value) -> Value {
    object["metadata"]["labels"] = json!({UNSEEN: "yes"});
    object
}

/// Everything, at one moment.
async fn look(world: &World, ledger: &mut Ledger, moment: Moment) -> Result<()> {
    ledger.note_all(moment, both_are_ready(world).await);
    // Whatever happened is in force by then; what is wrong still is told.
    let until = Instant::now() + Duration::from_secs(10);
    crowd::look(world, ledger, moment, until).await?;
    if moment == Moment::Burst {
        // By the account that it makes itself a namespace is usable.
        for (kind, attack) in ledger.rows() {
            if *kind == Kind::Namespace {
                default_account(world, &own(*kind, *attack).namespace).await?;
            }
        }
    }
    for row in ledger.rows().to_vec() {
        let found = crowd::in_time(until, async || itself(world, row.0, row.1).await);
        ledger.note(row, moment, found.await);
    }
    let of = |kind: Kind| ledger.rows().iter().filter(|(of, _)| *of == kind).count();
    let expected: Vec<_> = Kind::all_counted().into_iter().map(|kind| (kind, "denied", of(kind))).collect();
    counted(world, ledger, moment, EVIL, &expected).await?;
    ledger.note_all(moment, no_watch_fails(world));
    Ok(())
}

/// What is said of pods that the object itself is about.
async fn itself(world: &World, kind: Kind, attack: Attack) -> Result<()> {
    let Own { namespace, account } = own(kind, attack);
    match (kind, attack) {
        // What it says of the puller's rights is not known, and why.
        (Kind::Policy | Kind::ClusterPolicy, Attack::Document) => {
            for repository in ["good", "bad"] {
                world
                    .try_pod(&namespace, &account, &image(repository))
                    .await?
                    .warned_with(&["not known whether", "the document nests deeper than 64 levels"])?;
            }
            Ok(())
        }
        (Kind::Pod | Kind::Workload(_), _) => reviews::judged_at_the_door(world, &namespace, kind, attack).await,
        _ => judged(world, &namespace, &account, "good", "bad").await,
    }
}

/// Both replicas say so, now.
async fn both_are_ready(world: &World) -> Result<()> {
    let replicas = world.cluster.replicas();
    ensure!(replicas.len() >= 2, "{} replicas run", replicas.len());
    let ready = async || {
        let mut ready = 0;
        for replica in world.cluster.replicas() {
            let answer = http::get(format!("{}:8080", replica.address).parse()?, "/readyz", Duration::from_secs(5));
            ready += usize::from(answer.is_ok_and(|answer| answer.status == 200));
        }
        Ok(ready == 2)
    };
    world.eventually(Duration::from_secs(10), "both replicas are ready", ready).await.map(drop)
}

/// Both replicas go, and others come.
async fn restart(world: &World) -> Result<()> {
    let before: BTreeSet<String> = world.cluster.replicas().into_iter().map(|replica| replica.pod).collect();
    world.cluster.kubectl(&[
        "delete",
        "pods",
        "-n",
        RELEASE,
        "-l",
        "app.kubernetes.io/component=operator",
        "--wait=false",
    ])?;
    let others = async || {
        let now: BTreeSet<String> = world.cluster.replicas().into_iter().map(|replica| replica.pod).collect();
        Ok(now.len() == 2 && now.is_disjoint(&before))
    };
    world.eventually(PATIENCE, "both replicas are new ones", others).await?;
    world.operator_ready(2).await.context("after a restart")
}

/// Each replica says of each kind that its watch does not fail.
fn no_watch_fails(world: &World) -> Result<()> {
    for replica in world.cluster.replicas() {
        let kinds = http::get(format!("{}:8080", replica.address).parse()?, "/metrics", Duration::from_secs(5))?;
        let series = kinds.body.lines().filter(|line| line.starts_with("ecr_access_watch_failing{")).count();
        ensure!(series >= 5, "{} tells of {series} watches", replica.pod);
        let failing = metric(&replica.address, "ecr_access_watch_failing{")?;
        ensure!(failing == 0.0, "{failing} watches of {} fail", replica.pod);
    }
    Ok(())
}

/// From now on objects with the label [`UNSEEN`] are not shown to the webhook of policies. Returns the patch that ends it.
async fn leave_unseen(world: &World) -> Result<Value> {
    let live = world.must("GET", CONFIGURATION, None).await?;
    let mut webhooks = live["webhooks"].clone();
    let before = json!({"webhooks": webhooks});
    for webhook in webhooks.as_array_mut().context("webhooks")? {
        if webhook["name"] == "policies.ecraccess.dev" {
            webhook["objectSelector"] = json!({"matchExpressions": [{"key": UNSEEN, "operator": "DoesNotExist"}]});
        }
    }
    world.must("PATCH", CONFIGURATION, Some(&json!({"webhooks": webhooks}))).await?;
    let malformed = unseen(policy("unseen", &["nobody"], &json!({"name": "app", "document": "{"})));
    let path = format!("{}?dryRun=All", Kind::Policy.path(EVIL));
    let gets_in = async || Ok(world.call("POST", &path, Some(&malformed)).await?.ok());
    world.eventually(PATIENCE, "the policies' webhook is blind to the label", gets_in).await?;
    Ok(before)
}

async fn clean_up(world: &World, ledger: &Ledger) -> Result<()> {
    for name in ["attacks-edited", "attacks-tier"] {
        world.call("DELETE", &format!("{}/{name}", Kind::ClusterPolicy.path("")), None).await?;
    }
    world.call("DELETE", &format!("{}?gracePeriodSeconds=0", pods(EVIL)), None).await?;
    world.call("DELETE", &format!("{}?gracePeriodSeconds=0", pods(crowd::HONEST)), None).await?;
    let mut namespaces: BTreeSet<String> =
        [EVIL, crowd::HONEST, crowd::EDITED, crowd::RELABELLED].map(str::to_owned).into();
    namespaces.extend(crowd::places());
    for (kind, attack) in ledger.rows() {
        let place = own(*kind, *attack).namespace;
        if *kind == Kind::ClusterPolicy {
            world.call("DELETE", &format!("{}/{place}", kind.path("")), None).await?;
        }
        namespaces.insert(place);
    }
    for namespace in &namespaces {
        world.call("DELETE", &format!("/api/v1/namespaces/{namespace}"), None).await?;
    }
    // While they are there, a client that reads a list of namespaces, as these tests do, cannot.
    let gone = async || {
        for (kind, attack) in ledger.rows() {
            if *kind == Kind::Namespace {
                let path = format!("/api/v1/namespaces/{}", own(*kind, *attack).namespace);
                if world.raw(None, "GET", &path, "application/json", Vec::new()).await?.code != 404 {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    };
    world.eventually(PATIENCE, "the namespaces with something wrong are gone", gone).await?;
    world.operator_ready(2).await
}
