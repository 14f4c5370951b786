//! A kind that the API server may not have, as other operators' kinds are: it comes after the start, changes its version,
//! goes and comes again. The watches are those of the program, with one row more in their table.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use ecr_access::index::kinds::{KINDS, WatchedKind};
use ecr_access::index::memory::Touched;
use ecr_access::index::{self, Index, IndexOptions};
use ecr_access::runtime::watch::kind::Kind;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::faults::direct;
use crate::world::World;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.optional.example.com";

/// An absent kind is looked for each 10 s; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// The table with a row for widgets, which are kept as namespaces `widget:NAME`.
static WITH_WIDGETS: LazyLock<Vec<WatchedKind>> = LazyLock::new(|| {
    let kind = Kind::of_cluster("optional.example.com", "v1", "Widget", "widgets");
    let widgets = WatchedKind {
        kind: Kind { optional: true, others: &["v1beta1"], ..kind },
        awaited: false,
        keep: |item| {
            let (name, labels) = (kept_as(item.raw().name()?), item.raw().labels());
            Some(Box::new(move |memory| {
                memory.inventory.put_namespace(name, labels);
                Touched::Surroundings
            }))
        },
        remove: |memory, (_, name)| {
            memory.inventory.remove_namespace(&kept_as(&name));
            Touched::Surroundings
        },
    };
    KINDS.iter().copied().chain([widgets]).collect()
});

fn kept_as(name: &str) -> String {
    format!("widget:{name}")
}

/// The versions of the CustomResourceDefinition: the one that is served and stored, and those that are not served any more.
fn versions(served: &str, others: &[&str]) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version =
        |name: &str| json!({"name": name, "served": name == served, "storage": name == served, "schema": schema});
    others.iter().copied().chain([served]).map(version).collect()
}

async fn install(world: &World, version: &str) -> Result<()> {
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    let spec = json!({"group": "optional.example.com", "scope": "Cluster", "names": names, "versions": versions(version, &[])});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.optional.example.com"}, "spec": spec});
    // The one of before may be on its way out.
    world
        .eventually(SOON, "the kind is installed", async || Ok(world.call("POST", CRDS, Some(&crd)).await?.ok()))
        .await?;
    Ok(())
}

async fn create(world: &World, version: &str, name: &str) -> Result<()> {
    let widget = json!({"apiVersion": format!("optional.example.com/{version}"), "kind": "Widget",
        "metadata": {"name": name, "labels": {"team": "a"}}});
    let path = format!("/apis/optional.example.com/{version}/widgets");
    let made = async || Ok(world.call("POST", &path, Some(&widget)).await?.ok());
    world.eventually(SOON, "the API server serves the kind", made).await?;
    Ok(())
}

pub async fn an_optional_kind_comes_and_goes_without_a_restart(world: &World) -> Result<()> {
    let token = CancellationToken::new();
    let _guard = token.clone().drop_guard();
    let options = IndexOptions { kinds: &WITH_WIDGETS, ..IndexOptions::default() };
    let index = Index::start(index::client(direct(world).await?)?, options, token);
    let knows = |name: &str| index.snapshot().namespace(&kept_as(name)).is_some();
    let works = |when: &str| {
        ensure!(index.synced() && index.snapshot().namespace("default").is_some(), "{when}: the rest is as it was");
        ensure!(index.health().failing().is_empty(), "{when}: {:?}", index.health().failing());
        Ok(())
    };
    world.eventually(SOON, "all is known without the kind", async || Ok(index.synced())).await?;

    install(world, "v1beta1").await?;
    create(world, "v1beta1", "first").await?;
    world.eventually(SOON, "it comes after the start", async || Ok(knows("first"))).await?;
    create(world, "v1beta1", "second").await?;
    world.eventually(SOON, "it is watched", async || Ok(knows("second"))).await?;
    works("there")?;

    let newer = json!({"spec": {"versions": versions("v1", &["v1beta1"])}});
    let answer = world.call("PATCH", CRD, Some(&newer)).await?;
    ensure!(answer.ok(), "{answer:?}");
    create(world, "v1", "third").await?;
    world.eventually(SOON, "it changes its version", async || Ok(knows("third"))).await?;
    ensure!(knows("first") && knows("second"), "what was there stays there");
    works("in another version")?;

    ensure!(world.call("DELETE", CRD, None).await?.ok());
    let gone = async || Ok(!["first", "second", "third"].into_iter().any(knows));
    world.eventually(SOON, "it goes, and all of it", gone).await?;
    works("gone")?;

    install(world, "v1").await?;
    create(world, "v1", "fourth").await?;
    world.eventually(SOON, "it comes again", async || Ok(knows("fourth"))).await?;
    ensure!(!knows("first"), "what was before is gone");
    works("there again")?;
    ensure!(world.call("DELETE", CRD, None).await?.ok());
    Ok(())
}
