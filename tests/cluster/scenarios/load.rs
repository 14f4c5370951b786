//! One replica under more than it can do: calls are answered or turned away in time, slow clients keep nobody out, and
//! memory does not grow. The small versions are part of the tests, the big ones are `make load`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;

use crate::harness::kubelet::ReplicaView;
use crate::reviews::Target;
use crate::world::{RELEASE, World, image, pull_document, spec};

/// What a call may take under overload, turned away or not.
const IN_TIME: Duration = Duration::from_millis(100);

struct Size {
    /// Reviews for the look at memory.
    reviews: usize,
    slow_clients: usize,
    /// How long overload and slow clients last.
    length: Duration,
}

pub async fn small(world: &World) -> Result<()> {
    measure(world, &Size { reviews: 3_000, slow_clients: 200, length: Duration::from_secs(4) }).await
}

pub async fn big(world: &World) -> Result<()> {
    let reviews = std::env::var("REVIEWS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    measure(world, &Size { reviews, slow_clients: 1_000, length: Duration::from_secs(15) }).await
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
    ensure!(answers.quantile(900) <= IN_TIME, "{answers}");

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

/// `/proc` names processes by their outer ids, the replica is known by the inner one.
fn status(replica: &ReplicaView, field: &str) -> Result<u64> {
    let ours = std::fs::read_link("/proc/self/ns/pid")?;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(text) = std::fs::read_to_string(path.join("status")) else { continue };
        let value =
            |field: &str| text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next_back());
        if value("NSpid:") != Some(&replica.pid.to_string()) {
            continue;
        }
        if std::fs::read_link(path.join("ns/pid")).ok().as_ref() == Some(&ours) {
            let number = text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next());
            return Ok(number.context("a size")?.parse::<u64>()? << 10);
        }
    }
    anyhow::bail!("the process of {} is not found", replica.pod)
}
