//! Scenarios on a real API server, from a real Helm install. See `harness` for how it gets there.
//!
//! `cargo test --test cluster [-- FILTER] [--list] [--long]`; `--long` runs what takes minutes, and only that. With `KUBECONFIG` set, that cluster is used, and the image that
//! `ECR_ACCESS_IMAGE` (`repository:tag`) names; what needs a control plane of our own is then skipped, and said to be.

// A test may stop at what it did not expect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod admissions;
mod bare;
mod canary;
#[allow(dead_code, reason = "the program `testcluster` uses the rest")]
mod harness;
mod reviews;
#[allow(dead_code, reason = "the tests of `check` use the rest")]
#[path = "../scenario/mod.rs"]
mod scenario;
mod scenarios;
mod stranger;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use harness::programs::Programs;
use harness::{Cluster, namespace};
use scenarios::{Needs, Scenario};
use world::{RELEASE, World};

fn main() -> ExitCode {
    match stranger::is_one().and_then(|is_one| Ok(is_one || bare::is_one()?)) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("a process of a test: {error:?}");
            return ExitCode::FAILURE;
        }
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cluster tests: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let long = arguments.iter().any(|argument| argument == "--long");
    let chosen: Vec<_> = scenarios::all()
        .into_iter()
        .filter(|scenario| matches!(scenario.needs, Needs::OurOwnAndTime) == long)
        .filter(|scenario| filters.is_empty() || filters.iter().any(|filter| scenario.name.contains(filter.as_str())))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return Ok(true);
    }
    if chosen.is_empty() {
        return Ok(true);
    }
    if Cluster::given().is_none() {
        if !namespace::inside() {
            // Inside there is no internet to build from.
            Programs::build()?;
        }
        namespace::enter()?;
    }
    let directory = std::env::temp_dir().join(format!("ecr-access-cluster-{}", namespace::outer_pid()?));
    std::fs::create_dir_all(&directory)?;
    let passed = run_in(&directory, chosen)?;
    if passed {
        std::fs::remove_dir_all(&directory)?;
    } else {
        eprintln!("The logs of this run are in {}", directory.join("logs").display());
    }
    Ok(passed)
}

#[tokio::main]
async fn run_in(directory: &Path, chosen: Vec<Scenario>) -> Result<bool> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = run_all(directory, chosen) => result,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn run_all(directory: &Path, chosen: Vec<Scenario>) -> Result<bool> {
    canary::self_test(&directory.join("canary"))?;
    let begin = Instant::now();
    let programs = Programs::build()?;
    let cluster = match Cluster::given() {
        Some(kubeconfig) => {
            eprintln!("cluster tests: on the cluster of KUBECONFIG={}", kubeconfig.display());
            Cluster::connect(kubeconfig, programs, directory).await?
        }
        None => Cluster::start(directory, programs, Path::new(env!("CARGO_BIN_EXE_ecr-access"))).await?,
    };
    let before = scenarios::release::objects(&cluster)?;
    install(&cluster).context("helm install")?;
    let world = World { cluster };
    world.operator_ready(2).await?;
    println!("\nrunning {} tests (ready after {:.1} s)", chosen.len(), begin.elapsed().as_secs_f32());

    let (last, chosen): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|scenario| matches!(scenario.needs, Needs::Uninstalled));
    let mut count = Count::default();
    for scenario in chosen {
        run_one(&world, &scenario, &mut count).await?;
    }
    // It takes away what the others stand on.
    count.say("release::uninstall", scenarios::release::uninstall(&world, &before).await);
    for scenario in last {
        run_one(&world, &scenario, &mut count).await?;
    }
    if world.cluster.is_own() {
        count.say("canary::no_log_holds_what_a_user_wrote", canary::search(&directory.join("logs")));
    }
    let Count { passed, failed, skipped } = count;
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} skipped; finished in {:.1} s\n",
        failed.len(),
        begin.elapsed().as_secs_f32()
    );
    failed.iter().for_each(|name| println!("    {name}"));
    Ok(failed.is_empty())
}

#[derive(Default)]
struct Count {
    passed: u32,
    failed: Vec<&'static str>,
    skipped: u32,
}

impl Count {
    /// Says how something ended that belongs to every run.
    fn say(&mut self, name: &'static str, result: Result<()>) {
        match result {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(error) => {
                println!("test {name} ... FAILED\n    {error:#}");
                self.failed.push(name);
            }
        }
    }
}

/// Runs a scenario and says how it ended. An error of its own only where nothing more can be run.
async fn run_one(world: &World, scenario: &Scenario, count: &mut Count) -> Result<()> {
    if !matches!(scenario.needs, Needs::AnyCluster) && !world.cluster.is_own() {
        println!("test {} ... SKIPPED: needs a control plane of our own, not KUBECONFIG's", scenario.name);
        count.skipped += 1;
        return Ok(());
    }
    let begin = Instant::now();
    let result = (scenario.run)(world).await;
    let seconds = begin.elapsed().as_secs_f32();
    match result {
        Ok(()) => {
            println!("test {} ... ok ({seconds:.1} s)", scenario.name);
            count.passed += 1;
        }
        Err(error) => {
            println!("test {} ... FAILED ({seconds:.1} s)\n    {error:#}", scenario.name);
            count.failed.push(scenario.name);
        }
    }
    world.cluster.trouble().map_or(Ok(()), |trouble| bail!(trouble))
}

fn install(cluster: &Cluster) -> Result<()> {
    let mut arguments: Vec<String> = ["install", RELEASE].map(str::to_owned).into();
    arguments.push(chart().display().to_string());
    arguments.extend(["--namespace", RELEASE, "--create-namespace"].map(str::to_owned));
    arguments.extend(image_arguments()?);
    cluster.helm(&arguments).map(drop)
}

/// The image for a cluster that pulls one.
pub fn image_arguments() -> Result<Vec<String>> {
    let Ok(image) = std::env::var("ECR_ACCESS_IMAGE") else { return Ok(Vec::new()) };
    let (repository, tag) = image.rsplit_once(':').context("ECR_ACCESS_IMAGE is not of the form repository:tag")?;
    Ok(vec![format!("--set=image.repository={repository}"), format!("--set=image.tag={tag}")])
}

/// The chart that is tested.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/ecr-access")
}
