//! Measures webhooks a second: the whole archive next to the handlers that LINE's samples suggest, in turn on one
//! PostgreSQL. `docs/benchmarks.md` explains the output.

mod apps;
mod bodies;
mod ground;
mod load;
mod measures;
mod naive;
mod own;
mod peers;
mod report;
mod usage;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use line_chat_archive::seal::Cipher;

use apps::App;
use ground::Ground;
use measures::Bench;

/// Measures webhooks a second of several apps on one PostgreSQL.
#[derive(Parser)]
struct Arguments {
    /// Number of turns for each app
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Duration of each measurement in seconds, after a second to warm up
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Only these apps
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [App::Ours, App::New, App::Naive, App::Node, App::Python])]
    only: Vec<App>,
    /// Only these measurements
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Measure::ALL)]
    measure: Vec<Measure>,
    /// One round, short and small, to check that everything works
    #[arg(long)]
    quick: bool,
    /// Only load this app for 30 seconds, for a profiler
    #[arg(long, value_enum, value_name = "APP")]
    profile: Option<App>,
    /// Parent directory of the database; has to be on a disk
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Run as this app
    #[arg(long, value_enum, hide = true)]
    serve: Option<App>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// The measurements.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// The archive next to the small handlers
    Compare,
    /// The archive next to the archive with a cipher that does nothing
    Sealing,
    /// The archive at a steady rate
    Steady,
    /// The archive at a steady rate while messages are unsent
    Erasing,
    /// The archive for a long time
    Soak,
}

impl Measure {
    const ALL: [Self; 5] = [
        Self::Compare,
        Self::Sealing,
        Self::Steady,
        Self::Erasing,
        Self::Soak,
    ];
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.serve == Some(App::Naive) {
        return naive::serve();
    }
    match arguments.serve {
        Some(App::Sealed) => return own::serve(Cipher::Sealed),
        Some(App::Null) => return own::serve(Cipher::Null),
        _ => {}
    }
    if !arguments.bench {
        say("This takes minutes: cargo bench --bench webhooks");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let ground = Ground::start(&arguments.directory).await?;
        let done = tokio::select! {
            done = run(&arguments, &ground) => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        ground.stop().await?;
        done
    })
}

async fn run(arguments: &Arguments, ground: &Ground) -> Result<()> {
    let (mut apps, mut versions) = (vec![], vec![]);
    for app in arguments
        .profile
        .map_or(arguments.only.clone(), |app| vec![app])
    {
        match peers::prepare(app) {
            Ok(version) => {
                apps.push(app);
                versions.extend(version);
            }
            Err(error) => eprintln!("{} is left out: {error:#}", app.key()),
        }
    }
    let mut bench = Bench::new(ground, arguments.seconds, arguments.quick);
    if let Some(app) = arguments.profile {
        return bench.profile(app).await;
    }
    say(&report::facts(ground, &versions)?);
    if ground.in_memory()? {
        say("**The database is in memory: these numbers say nothing of a disk.**\n");
    }
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    for measure in Measure::ALL {
        if !arguments.measure.contains(&measure)
            || measure != Measure::Compare && !apps.contains(&App::Ours)
        {
            continue;
        }
        say(&match measure {
            Measure::Compare => bench.compare(&apps, rounds).await?,
            Measure::Sealing => bench.sealing(rounds).await?,
            Measure::Steady => bench.steady().await?,
            Measure::Erasing => bench.erasing().await?,
            Measure::Soak => bench.soak().await?,
        });
    }
    say(&bench.honesty());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is the result")]
fn say(text: &str) {
    println!("{text}");
}
