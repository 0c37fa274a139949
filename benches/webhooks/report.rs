//! Writes the results as Markdown.

use std::fs;

use crate::{apps::App, ground::Ground, load::Outcome, usage::Spent};

/// The result of one measurement.
pub struct Sample {
    /// The app that was measured.
    pub app: App,
    /// The number of connections at the same time.
    pub connections: usize,
    /// The number of events in each webhook.
    pub events: usize,
    /// The number of acknowledged webhooks a second.
    pub rate: f64,
    p50: f64,
    p99: f64,
    app_micros: f64,
    postgres_micros: f64,
    others_cores: f64,
    memory: f64,
}

impl Sample {
    /// The sample of a series of requests that cost `spent`, after which the app used `memory` MiB.
    pub fn of(
        app: App,
        connections: usize,
        events: usize,
        outcome: &Outcome,
        spent: Spent,
        memory: f64,
    ) -> Self {
        let micros = |seconds: f64| seconds * 1e6 / (outcome.acknowledged.max(1) as f64);
        Self {
            app,
            connections,
            events,
            rate: outcome.rate(),
            p50: outcome.quantile(0.5),
            p99: outcome.quantile(0.99),
            app_micros: micros(spent.app),
            postgres_micros: micros(spent.postgres),
            others_cores: spent.others / outcome.took.as_secs_f64(),
            memory,
        }
    }
}

/// The machine, the disk and the versions, as a Markdown list.
pub fn facts(ground: &Ground, peers: &[String]) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let mut lines = vec![
        format!("{cores} cores ({model}), shared by the app, PostgreSQL and the sender"),
        format!(
            "PostgreSQL {}, durability as it comes (fsync on)",
            ground.version
        ),
        format!(
            "the disk makes 8 KiB durable in {:.2} ms",
            ground.sync_time()?
        ),
    ];
    lines.extend(peers.iter().cloned());
    Ok(lines.iter().map(|line| format!("- {line}\n")).collect())
}

/// The table of all samples: a row for each app, number of connections and number of events.
pub fn table(samples: &[Sample]) -> String {
    let mut shapes: Vec<(usize, usize)> = vec![];
    let mut apps: Vec<App> = vec![];
    for sample in samples {
        let shape = (sample.events, sample.connections);
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
        if !apps.contains(&sample.app) {
            apps.push(sample.app);
        }
    }
    let mut table = String::from(
        "| connections | events each | app | webhooks/s | p50 ms | p99 ms | app CPU µs | PostgreSQL CPU µs | MiB | busy elsewhere |\n\
         |--:|--:|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (events, connections) in shapes {
        for app in &apps {
            let of = |value: fn(&Sample) -> f64| {
                let these = samples.iter().filter(|s| {
                    s.app == *app && s.events == events && s.connections == connections
                });
                Spread::of(these.map(value))
            };
            let Some(rate) = of(|s| s.rate) else { continue };
            let median = |value| of(value).map_or(0.0, |spread| spread.median);
            let spread = |value| of(value).map(|spread| spread.show(2)).unwrap_or_default();
            table += &format!(
                "| {connections} | {events} | {} | {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.1} |\n",
                app.title(),
                rate.show(0),
                spread(|s| s.p50),
                spread(|s| s.p99),
                median(|s| s.app_micros),
                median(|s| s.postgres_micros),
                median(|s| s.memory),
                median(|s| s.others_cores),
            );
        }
    }
    table
}

/// The median of a few measurements, and their range.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: (values.get((values.len().checked_sub(1)?) / 2)?
                + values.get(values.len() / 2)?)
                / 2.0,
            least: *values.first()?,
            most: *values.last()?,
        })
    }

    fn show(&self, digits: usize) -> String {
        format!(
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.least, self.most
        )
    }
}
