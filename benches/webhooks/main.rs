//! Webhooks a second: the whole archive beside the handlers that LINE's samples suggest, turn and turn about on one
//! PostgreSQL. `docs/benchmarks.md` says how to read what it prints.

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
    /// How often each app takes its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each measurement takes, after a second to warm up
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Only these apps
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [App::Ours, App::New, App::Naive, App::Node, App::Python])]
    only: Vec<App>,
    /// One round, short and small: to see that all works
    #[arg(long)]
    quick: bool,
    /// Only load this app for 30 seconds, for a profiler to look at
    #[arg(long, value_enum, value_name = "APP")]
    profile: Option<App>,
    /// Where the database is made; has to be on a disk
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Be this app
    #[arg(long, value_enum, hide = true)]
    serve: Option<App>,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
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
    say(&bench
        .compare(&apps, if arguments.quick { 1 } else { arguments.rounds })
        .await?);
    if apps.contains(&App::Ours) {
        let rounds = if arguments.quick { 1 } else { arguments.rounds };
        say(&bench.sealing(rounds).await?);
        say(&bench.steady().await?);
        say(&bench.erasing().await?);
        say(&bench.soak().await?);
    }
    say(&bench.honesty());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is the result")]
fn say(text: &str) {
    println!("{text}");
}
