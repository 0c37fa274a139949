//! Measures the webhook endpoint next to strangers: 8,000 slow connections, gzip bombs, failed sign-ins and unread
//! pipelines at the same time, while signed webhooks come, each on its own connection. Fails if the latency, the number
//! of refusals or the memory exceeds its limit.

mod attacks;
#[path = "../webhooks/bodies.rs"]
#[expect(dead_code, reason = "a part of what the benchmarks share")]
mod bodies;
mod service;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use tokio::{task::JoinSet, time::sleep};

use attacks::Tally;
use bodies::{Feed, Requests, Senders};
use service::Service;

/// The number of webhooks a second.
const RATE: u32 = 200;

/// Measures the webhook endpoint next to attacks.
#[derive(Parser)]
struct Arguments {
    /// Duration of the attack in seconds
    #[arg(long, default_value_t = 40)]
    seconds: u32,
    /// Number of connections that are held open by sending bytes slowly
    #[arg(long, default_value_t = 8000)]
    slow: usize,
    /// Seconds for which the service may rest before its memory is measured again
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Parent directory of the database and the files; has to be on a disk
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        say("This takes minutes: cargo bench --bench strangers");
        return Ok(());
    }
    service::raise_open_files();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let service = Service::start(&arguments.directory).await?;
    let webhooks = (RATE * arguments.seconds) as usize;
    let requests = Requests::write(1, webhooks * 2, 1, Senders::Drawn);
    let within = Duration::from_secs(arguments.seconds.into());

    let alone = measure(&service, Feed::of(&requests, 0..webhooks), within).await?;
    sleep(Duration::from_secs(2)).await;
    let idle = service.memory()?;

    let tally = Arc::new(Tally::default());
    let mut strangers = JoinSet::new();
    attacks::begin(
        &mut strangers,
        service.address,
        arguments.slow,
        tally.clone(),
    );
    // All attacks run before the first webhook is measured.
    sleep(Duration::from_secs(5)).await;
    let beside = measure(
        &service,
        Feed::of(&requests, webhooks..webhooks * 2),
        within,
    )
    .await?;
    let attacked = service.memory()?;
    say(&tally.to_string());
    strangers.shutdown().await;
    sleep(Duration::from_secs(arguments.rest)).await;
    let rested = service.memory()?;

    say("| webhooks at 200/s | p50 ms | p99 ms | slowest ms | refused | RSS MiB |");
    say("|---|--:|--:|--:|--:|--:|");
    for (name, outcome, memory) in [
        ("alone", &alone, idle),
        ("beside strangers", &beside, attacked),
    ] {
        say(&format!(
            "| {name} | {:.1} | {:.1} | {:.1} | {} | {memory} |",
            outcome.quantile(0.5),
            outcome.quantile(0.99),
            outcome.quantile(1.0),
            outcome.refused,
        ));
    }
    say(&format!(
        "RSS after {} s of rest: {rested} MiB",
        arguments.rest
    ));
    ensure!(
        beside.refused == 0,
        "{} webhooks were refused",
        beside.refused
    );
    ensure!(beside.quantile(0.99) < 500.0, "the p99 is above 500 ms");
    ensure!(attacked < 300, "{attacked} MiB while attacked");
    ensure!(
        rested <= idle + 64,
        "{rested} MiB a minute later, {idle} before"
    );
    service.stop()
}

/// The latencies and refusals of the webhooks.
#[derive(Default)]
struct Outcome {
    refused: usize,
    millis: Vec<f64>,
}

impl Outcome {
    fn quantile(&self, part: f64) -> f64 {
        let last = self.millis.len().saturating_sub(1);
        let nth = (last as f64 * part).round() as usize;
        self.millis.get(nth).copied().unwrap_or_default()
    }
}

/// Sends webhooks at a steady rate, each on its own connection, and waits for all answers.
async fn measure(service: &Service, feed: Feed<'_>, within: Duration) -> Result<Outcome> {
    let (begun, count) = (Instant::now(), (RATE as f64 * within.as_secs_f64()) as u32);
    let mut asked = JoinSet::new();
    for nth in 0..count {
        let due = begun + within * nth / count;
        sleep(due.saturating_duration_since(Instant::now())).await;
        let Some(request) = feed.take() else { break };
        asked.spawn(attacks::webhook(service.address, request.to_vec(), due));
    }
    let mut outcome = Outcome::default();
    while let Some(answer) = asked.join_next().await {
        match answer? {
            Some(took) => outcome.millis.push(took.as_secs_f64() * 1000.0),
            None => outcome.refused += 1,
        }
    }
    outcome.millis.sort_unstable_by(f64::total_cmp);
    Ok(outcome)
}

#[expect(clippy::print_stdout, reason = "this is the result")]
fn say(text: &str) {
    println!("{text}");
}
