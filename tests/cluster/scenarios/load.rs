//! One replica under more than it can do: calls are answered or turned away in time, slow clients keep nobody out, and
//! memory does not grow. The small versions are part of the tests, the big ones are `make load`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;

use crate::bare::BareServer;
use crate::harness::kubelet::ReplicaView;
use crate::reviews::Target;
use crate::stranger::processor_seconds;
use crate::world::{RELEASE, World, image, pull_document, spec};

/// What a call may take under overload, turned away or not, where nobody else uses the processors.
const IN_TIME: Duration = Duration::from_millis(100);
/// The chart's `timeoutSeconds`: whoever is answered later was admitted already.
const TIMEOUT: Duration = Duration::from_secs(3);

struct Size {
    /// Reviews for the look at memory.
    reviews: usize,
    slow_clients: usize,
    /// How long overload and slow clients last.
    length: Duration,
    /// What nine of ten calls take at most under overload.
    in_time: Duration,
}

/// A part of the tests, which run beside anything: here a call must be answered as long as anybody waits for it. How fast that is
/// shows [`big`].
pub async fn small(world: &World) -> Result<()> {
    measure(world, &Size { reviews: 3_000, slow_clients: 200, length: Duration::from_secs(4), in_time: TIMEOUT }).await
}

pub async fn big(world: &World) -> Result<()> {
    let reviews = std::env::var("REVIEWS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    measure(world, &Size { reviews, slow_clients: 1_000, length: Duration::from_secs(15), in_time: IN_TIME }).await
}

async fn measure(world: &World, size: &Size) -> Result<()> {
    world.operator_settled(2).await?;
    world.namespace("load", &["api"]).await?;
    world.policy("load", "pull", spec(pull_document(&["good/*"]))).await?;
    world.until_refused("load", "api", &image("bad")).await?;
    let before = restarts(world);
    let replica = world.cluster.replicas().into_iter().next().context("a replica")?;
    let target = Target::new(&replica.address, "load", 1)?;
    println!("    reviews of {} bytes; resident {} MiB before", target.body_size(), resident(&replica)? >> 20);

    // Memory, over many reviews.
    let tenth = size.reviews.div_ceil(10);
    let mut memory = Vec::new();
    let mut capacity: f64 = 0.0;
    for _ in 0..10 {
        let answers = target.closed_loop(16, tenth).await?;
        ensure!(answers.by_status.keys().all(|status| matches!(status, 200 | 429)), "{answers}");
        capacity = capacity.max(answers.rate());
        memory.push(resident(&replica)? >> 20);
    }
    println!("    {} reviews: at most {capacity:.0}/s; resident MiB after each tenth: {memory:?}", tenth * 10);
    let (first, last) = (memory.first().context("measured")?, memory.last().context("measured")?);
    ensure!(*last <= first + 16, "memory grows: {memory:?}");

    // Three times of what it holds: pods with many containers, so that judging is what there is too much of, and not the
    // work of the client beside it.
    let wide = Target::new(&replica.address, "load", 60)?;
    let held = wide.closed_loop(4, size.reviews / 10).await?;
    let answers = wide.open_loop(100, held.rate() * 3.0, size.length).await?;
    let late = answers.later_than(IN_TIME);
    println!("    pods of 60 containers ({} bytes), four at a time: {held}", wide.body_size());
    println!("    three times as many, {:.0}/s: {answers}; {late} later than {IN_TIME:?}", held.rate() * 3.0);
    println!("    resident {} MiB, peak {} MiB", resident(&replica)? >> 20, peak(&replica)? >> 20);
    ensure!(answers.by_status.keys().all(|status| matches!(status, 200 | 429)), "{answers}");
    ensure!(answers.broken == 0, "{answers}");
    // Whether the last of them are in time depends on who else uses the processors; most of them must be.
    ensure!(answers.quantile(900) <= size.in_time, "{answers}");

    // Clients that connect and say little.
    let slow = tokio::spawn(slow_clients(target.clone(), size.slow_clients, size.length));
    let begin = Instant::now();
    let mut normal = Vec::new();
    while begin.elapsed() < size.length {
        normal.push(target.closed_loop(1, 20).await?);
    }
    let open = slow.await??;
    let worst = normal.iter().map(|answers| answers.quantile(1000)).max().unwrap_or_default();
    let median = normal.iter().map(|answers| answers.quantile(500)).min().unwrap_or_default();
    let count: u64 = normal.iter().map(crate::reviews::Answers::count).sum();
    println!(
        "    {open} slow clients; {count} other reviews meanwhile, p50 {:.1} ms, most {:.1} ms; resident {} MiB, peak {} MiB",
        median.as_secs_f64() * 1000.0,
        worst.as_secs_f64() * 1000.0,
        resident(&replica)? >> 20,
        peak(&replica)? >> 20
    );
    let wrong = normal.iter().find(|answers| !answers.by_status.keys().eq([&200]) || answers.broken != 0);
    ensure!(wrong.is_none(), "of twenty reviews one after the other: {}", wrong.context("one")?);
    ensure!(peak(&replica)? < 256 << 20, "it needs {} MiB", peak(&replica)? >> 20);
    ensure!(restarts(world) == before, "a replica was started again");
    world.must("DELETE", "/api/v1/namespaces/load", None).await.map(drop)
}

fn restarts(world: &World) -> u32 {
    world.cluster.replicas().iter().map(|replica| replica.restarts).sum()
}

/// Clients that send a byte now and then: a third of them in the headers, a third in a body that they say is long, a
/// third says nothing at all. Whoever is thrown out comes again. Returns how many there were.
async fn slow_clients(target: Target, count: usize, length: Duration) -> Result<usize> {
    let until = Instant::now() + length;
    let clients = (0..count).map(|index| {
        let target = target.clone();
        tokio::spawn(async move {
            while Instant::now() < until {
                let Ok(mut stream) = target.connect().await else { continue };
                let head = format!("POST /validate/pods HTTP/1.1\r\nHost: {RELEASE}\r\n");
                let begin: &[u8] = match index % 3 {
                    0 => head.as_bytes(),
                    1 => &format!("{head}Content-Length: 40000000\r\n\r\n").into_bytes(),
                    _ => b"",
                };
                while Instant::now() < until && stream.write_all(begin).await.is_ok() {
                    let byte: &[u8] = if index % 3 == 2 { b"" } else { b"x" };
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if stream.write_all(byte).await.is_err() || stream.flush().await.is_err() {
                        break;
                    }
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.await?;
    }
    Ok(count)
}

// ---------------------------------------------------------------------------------------------- memory

/// Bytes in memory now.
pub fn resident(replica: &ReplicaView) -> Result<u64> {
    status(replica, "VmRSS:")
}

/// Bytes in memory at most since the start.
pub fn peak(replica: &ReplicaView) -> Result<u64> {
    status(replica, "VmHWM:")
}

fn status(replica: &ReplicaView, field: &str) -> Result<u64> {
    let text = std::fs::read_to_string(entry_of(replica.pid)?.join("status"))?;
    let number = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next());
    Ok(number.context("a size")?.parse::<u64>()? << 10)
}

/// The entry of a process in `/proc`, which has the outer ids, while we know the inner one.
fn entry_of(pid: u32) -> Result<PathBuf> {
    let ours = std::fs::read_link("/proc/self/ns/pid")?;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if inner_id(&path) == Some(pid) && std::fs::read_link(path.join("ns/pid")).ok().as_ref() == Some(&ours) {
            return Ok(path);
        }
    }
    anyhow::bail!("the process {pid} is not found")
}

/// The innermost id of the process, or of the thread, of an entry.
fn inner_id(entry: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(entry.join("status")).ok()?;
    let ids = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_whitespace().next_back()?.parse().ok()
}

// ---------------------------------------------------------------------------------------------- cost of a review

/// Rounds of each server, in turns; the least of them counts.
const ROUNDS: usize = 3;

/// What a review costs of the processors beside a server that does nothing but read it, both of them on a processor of
/// their own, for a pod of half a kilobyte and one of four.
pub async fn cost(world: &World) -> Result<()> {
    world.operator_settled(2).await?;
    world.namespace("cost", &["api"]).await?;
    world.policy("cost", "pull", spec(pull_document(&["good/*"]))).await?;
    world.until_refused("cost", "api", &image("bad")).await?;
    let reviews = std::env::var("REVIEWS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000) / 4;
    let replica = world.cluster.replicas().into_iter().next().context("a replica")?;
    let bare = BareServer::start()?;
    let pinned = pin(replica.pid, 0).and_then(|()| pin(bare.pid(), 0)).and_then(|()| pin(std::process::id(), 1));
    println!(
        "    {reviews} reviews over 8 connections, the least of {ROUNDS} rounds; {}",
        pinned
            .map_or_else(|error| format!("on any processor: {error:#}"), |()| "each side on one processor".to_owned())
    );
    println!("    | review | ours | bare server | ours to bare |");
    println!("    |---|---:|---:|---:|");
    for settings in [0, 30] {
        let of_ours = Target::sized(&format!("{}:9443", replica.address), "cost", 1, settings)?;
        let of_bare = Target::sized(&bare.address.to_string(), "cost", 1, settings)?;
        let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            ours = ours.min(microseconds(&of_ours, replica.pid, reviews).await?);
            theirs = theirs.min(microseconds(&of_bare, bare.pid(), reviews).await?);
        }
        println!("    | {} bytes | {ours:.1} µs | {theirs:.1} µs | {:.2} |", of_ours.body_size(), ours / theirs);
        // For `hack/cost_profile.py`, which looks into the process from outside meanwhile.
        if std::env::var_os("PROFILE").is_some() {
            for (name, target, pid) in [("ours", &of_ours, replica.pid), ("bare", &of_bare, bare.pid())] {
                println!("    profile {name} {} {}", target.body_size(), entry_of(pid)?.display());
                target.closed_loop(8, reviews).await?;
                println!("    profiled {name} {}", target.body_size());
            }
        }
    }
    world.must("DELETE", "/api/v1/namespaces/cost", None).await.map(drop)
}

/// Processor time of the process for each of so many reviews, all of which have to be answered.
async fn microseconds(target: &Target, pid: u32, reviews: usize) -> Result<f64> {
    let stat = entry_of(pid)?.join("stat");
    let taken = || processor_seconds(&std::fs::read_to_string(&stat)?);
    // Whatever is slower the first time.
    target.closed_loop(8, reviews / 10).await?;
    let before = taken()?;
    let answers = target.closed_loop(8, reviews).await?;
    ensure!(answers.by_status.keys().eq([&200]) && answers.broken == 0, "{answers}");
    Ok((taken()? - before) * 1e6 / answers.count() as f64)
}

/// Keeps all threads of a process on one processor.
fn pin(pid: u32, processor: usize) -> Result<()> {
    for task in std::fs::read_dir(entry_of(pid)?.join("task"))? {
        let thread = inner_id(&task?.path()).context("a thread")?.to_string();
        let output = Command::new("taskset").args(["-p", "-c", &processor.to_string(), &thread]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
