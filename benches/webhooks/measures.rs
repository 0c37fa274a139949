//! The measurements, and their order.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    apps::{App, Running},
    bodies::{Feed, PEOPLE, Requests, Senders},
    ground::Ground,
    load::{self, Outcome},
    report::{self, Sample},
    usage::{Spent, memory},
};

const WARM_UP: Duration = Duration::from_secs(1);
/// The number of events in each webhook of the second kind.
const SEVERAL: usize = 5;

/// One run of the benchmark.
pub struct Bench<'a> {
    ground: &'a Ground,
    within: Duration,
    quick: bool,
    started: usize,
    /// The numbers of events that were acknowledged and stored.
    events: (u64, u64),
}

impl<'a> Bench<'a> {
    /// A run in which each measurement takes `seconds`.
    pub fn new(ground: &'a Ground, seconds: f64, quick: bool) -> Self {
        Self {
            ground,
            within: Duration::from_secs_f64(if quick { 1.0 } else { seconds }),
            quick,
            started: 0,
            events: (0, 0),
        }
    }

    /// Measures every app in every round, each time with a new process and an empty database.
    pub async fn compare(&mut self, apps: &[App], rounds: usize) -> Result<String> {
        // Enough for 80,000 webhooks a second with one event each, and for 15,000 with several.
        let seconds = self.within + WARM_UP;
        let enough = |rate: usize| rate * seconds.as_secs_f64().ceil() as usize;
        let single = Requests::write(1, enough(80_000), 1, Senders::Drawn);
        let several = Requests::write(2, enough(15_000), SEVERAL, Senders::Drawn);
        let mut samples = vec![];
        for round in 0..rounds {
            for nth in 0..apps.len() {
                let app = apps[(nth + round) % apps.len()];
                eprintln!("round {} of {rounds}: {}", round + 1, app.key());
                let mut running = self.start(app).await?;
                if app == App::New {
                    let strangers = Requests::write(3, enough(50_000), 1, Senders::InTurn(PEOPLE));
                    let feed = Feed::all(&strangers);
                    samples.push(self.sample(app, &mut running, 64, &feed).await?);
                } else {
                    let feed = Feed::all(&single);
                    for connections in [64, 16, 1] {
                        samples.push(self.sample(app, &mut running, connections, &feed).await?);
                    }
                    samples.push(
                        self.sample(app, &mut running, 64, &Feed::all(&several))
                            .await?,
                    );
                }
                self.stop(running).await?;
            }
        }
        Ok(report::table(&samples))
    }

    /// Measures the same archive with encryption and with a cipher that does nothing, in turn.
    pub async fn sealing(&mut self, rounds: usize) -> Result<String> {
        let seconds = (self.within + WARM_UP).as_secs_f64().ceil() as usize;
        let requests = Requests::write(1, 80_000 * seconds, 1, Senders::Drawn);
        let mut samples = vec![];
        let mut ratios = vec![];
        for round in 0..rounds {
            let mut rates = vec![];
            for app in [App::Sealed, App::Null] {
                eprintln!("sealing, round {} of {rounds}: {}", round + 1, app.key());
                let mut running = self.start(app).await?;
                let feed = Feed::all(&requests);
                let sample = self.sample(app, &mut running, 64, &feed).await?;
                rates.push(sample.rate);
                samples.push(sample);
                self.stop(running).await?;
            }
            ratios.push(rates[1] / rates[0]);
        }
        ratios.sort_by(f64::total_cmp);
        let ratios: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        Ok(format!(
            "{}\nWithout sealing it is faster by a factor of (one for each round): {}.\n",
            report::table(&samples),
            ratios.join(", ")
        ))
    }

    /// Measures the archive at 500 webhooks a second.
    pub async fn steady(&mut self) -> Result<String> {
        let rate = 500;
        let seconds = if self.quick { 3 } else { 20 };
        let requests = Requests::write(1, rate * (seconds + 1), 1, Senders::Drawn);
        let mut running = self.start(App::Ours).await?;
        self.ground.settle().await?;
        let (feed, within) = (Feed::all(&requests), Duration::from_secs(seconds as u64));
        let outcome = load::steady(running.address, 64, &feed, rate as u32, within).await?;
        running.acknowledged += outcome.acknowledged;
        self.stop(running).await?;
        Ok(format!(
            "line-chat-archive at a steady {rate} webhooks/s for {seconds} s, counted from when each was due: \
             p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms.\n",
            outcome.quantile(0.5),
            outcome.quantile(0.99),
            outcome.quantile(1.0),
        ))
    }

    /// Measures the archive at 500 webhooks a second, alone and while 10,000 messages are unsent one after the other.
    pub async fn erasing(&mut self) -> Result<String> {
        let rate = 500;
        let seconds = if self.quick { 3 } else { 25 };
        let within = Duration::from_secs(seconds as u64);
        let requests = Requests::write(1, 2 * rate * (seconds + 1), 1, Senders::Drawn);
        let said = Requests::write(4, if self.quick { 500 } else { 10_000 }, 1, Senders::Drawn);
        let unsends = said.unsends();
        let mut running = self.start(App::Ours).await?;
        self.send(&mut running, 64, &Feed::all(&said), Duration::MAX)
            .await?;
        self.ground.settle().await?;
        let half = requests.count() / 2;
        let alone = Feed::of(&requests, 0..half);
        let alone = load::steady(running.address, 64, &alone, rate as u32, within).await?;
        self.ground.settle().await?;
        let (feed, erased) = (Feed::of(&requests, half..2 * half), Feed::all(&unsends));
        let (beside, erased) = tokio::join!(
            load::steady(running.address, 64, &feed, rate as u32, within),
            load::closed(running.address, 1, &erased, Duration::MAX),
        );
        let (beside, erased) = (beside?, erased?);
        ensure!(
            erased.acknowledged == unsends.count() as u64,
            "an unsend was refused"
        );
        running.acknowledged += alone.acknowledged + beside.acknowledged;
        running.acknowledged -= erased.acknowledged;
        self.stop(running).await?;
        Ok(format!(
            "line-chat-archive at a steady {rate} webhooks/s for {seconds} s: p50 {:.2} ms and p99 {:.2} ms alone, \
             {:.2} and {:.2} ms while {} messages were unsent one after the other ({:.0} a second) and their keys \
             destroyed.\n",
            alone.quantile(0.5),
            alone.quantile(0.99),
            beside.quantile(0.5),
            beside.quantile(0.99),
            erased.acknowledged,
            erased.rate(),
        ))
    }

    /// Sends the archive very many webhooks on 64 connections: does it use more memory, does it slow down?
    pub async fn soak(&mut self) -> Result<String> {
        let stretch = if self.quick { 5_000 } else { 50_000 };
        let requests = Requests::write(1, 10 * stretch, 1, Senders::Drawn);
        let mut running = self.start(App::Ours).await?;
        self.ground.settle().await?;
        let mut table = format!(
            "line-chat-archive, {} webhooks by 64 connections, one stretch after the other:\n\n\
             | webhooks | webhooks/s | p99 ms | MiB |\n|--:|--:|--:|--:|\n| 0 | | | {:.1} |\n",
            10 * stretch,
            memory(running.id)
        );
        for nth in 0..10 {
            let feed = Feed::of(&requests, nth * stretch..(nth + 1) * stretch);
            let outcome = load::closed(running.address, 64, &feed, Duration::MAX).await?;
            running.acknowledged += outcome.acknowledged;
            table += &format!(
                "| {} | {:.0} | {:.2} | {:.1} |\n",
                (nth + 1) * stretch,
                outcome.rate(),
                outcome.quantile(0.99),
                memory(running.id)
            );
        }
        self.stop(running).await?;
        Ok(table)
    }

    /// Loads one app for 30 seconds, for a profiler.
    pub async fn profile(&mut self, app: App) -> Result<()> {
        let requests = Requests::write(
            1,
            1_000_000,
            1,
            if app == App::New {
                Senders::InTurn(PEOPLE)
            } else {
                Senders::Drawn
            },
        );
        let mut running = self.start(app).await?;
        eprintln!(
            "the app is process {}, PostgreSQL {}",
            running.id, self.ground.postmaster
        );
        let feed = Feed::all(&requests);
        let outcome = load::closed(running.address, 64, &feed, Duration::from_secs(30)).await?;
        running.acknowledged += outcome.acknowledged;
        eprintln!("{:.0} webhooks/s", outcome.rate());
        self.stop(running).await
    }

    /// Says how many events were acknowledged and how many were stored; the numbers have to be equal.
    pub fn honesty(&self) -> String {
        let (acknowledged, stored) = self.events;
        format!(
            "Of all apps together {acknowledged} events were acknowledged and {stored} stored.\n"
        )
    }

    async fn start(&mut self, app: App) -> Result<Running> {
        self.started += 1;
        let mut running = Running::start(app, self.ground, self.started).await?;
        if app.knows_everybody() {
            let everybody = Requests::write(0, PEOPLE / SEVERAL, SEVERAL, Senders::InTurn(0));
            self.send(&mut running, 64, &Feed::all(&everybody), Duration::MAX)
                .await?;
        }
        Ok(running)
    }

    async fn stop(&mut self, running: Running) -> Result<()> {
        let acknowledged = running.acknowledged;
        let stored = u64::try_from(running.stop(self.ground).await?)?;
        ensure!(
            acknowledged == stored,
            "{acknowledged} events were acknowledged, {stored} are stored"
        );
        self.events = (self.events.0 + acknowledged, self.events.1 + stored);
        Ok(())
    }

    async fn sample(
        &self,
        app: App,
        running: &mut Running,
        connections: usize,
        feed: &Feed<'_>,
    ) -> Result<Sample> {
        self.ground.settle().await?;
        self.send(running, connections, feed, WARM_UP).await?;
        let before = Spent::now(running.id, self.ground.postmaster);
        let outcome = self.send(running, connections, feed, self.within).await?;
        let spent = Spent::now(running.id, self.ground.postmaster).since(before);
        Ok(Sample::of(
            app,
            connections,
            feed.events(),
            &outcome,
            spent,
            memory(running.id),
        ))
    }

    async fn send(
        &self,
        running: &mut Running,
        connections: usize,
        feed: &Feed<'_>,
        within: Duration,
    ) -> Result<Outcome> {
        let outcome = load::closed(running.address, connections, feed, within).await?;
        ensure!(
            outcome.refused == 0,
            "{} webhooks were refused",
            outcome.refused
        );
        running.acknowledged += outcome.acknowledged * feed.events() as u64;
        Ok(outcome)
    }
}
