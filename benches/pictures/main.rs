//! Measures how fast webhooks are answered while files are fetched and previews are made: alone, next to photos, and
//! next to hostile files. `docs/benchmarks.md` explains the output.

#[path = "../webhooks/bodies.rs"]
#[expect(dead_code, reason = "a part of what the benchmarks share")]
mod bodies;
#[path = "../../tests/hostile/files/mod.rs"]
#[expect(
    clippy::unwrap_used,
    reason = "files of the tests: what cannot be made is a mistake"
)]
mod files;
#[path = "../webhooks/load.rs"]
#[expect(dead_code, reason = "a part of what the benchmarks share")]
mod load;
#[path = "../thumbnails/photos.rs"]
mod photos;
mod serve;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use line_chat_archive::{
    embedded::Embedded,
    fake_line::{Channel, Draft, FakeLine, User},
};
use sqlx::{Connection, PgConnection};

use bodies::{Feed, Requests, Senders};
use files::{Hostile, Sent};

/// Measures how fast webhooks are answered next to files.
#[derive(Parser)]
struct Arguments {
    /// Webhooks a second, with text messages
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Duration of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Parent directory of the database and the files; has to be on a disk
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Run as the service
    #[arg(long, hide = true)]
    serve: bool,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.serve {
        return serve::serve();
    }
    if !arguments.bench {
        say("This takes minutes: cargo bench --bench pictures");
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let home = tempfile::TempDir::with_prefix_in("bench-pictures-", &arguments.directory)?;
    let database = Embedded::start(home.path(), &|line| eprintln!("{line}")).await?;
    let line = FakeLine::start()?;
    let shop = line.channel("Shop");
    let mut db = PgConnection::connect_with(&database.connect_options("archive")).await?;
    let mut service = Service::start(home.path(), &database, &line, &shop)?;
    shop.webhook_to(&format!("http://{}/webhook/shop", service.address));

    let hostile = files::all("http://127.0.0.1:9/");
    let photos = (0..20).map(photos::photo).collect::<Result<Vec<_>>>()?;
    let photos: Vec<Bytes> = photos.into_iter().map(Bytes::from).collect();
    let count = hostile.len();
    let plain = Bytes::from(vec![7; 100_000]);
    let plain = (0..count).map(|_| Sending::File(plain.clone()));
    let harmless = (0..count).map(|n| Sending::Photo(photos[n % photos.len()].clone()));
    let hostile = hostile.into_iter().map(Sending::Hostile);
    let beside: [(&str, Vec<Sending>); 4] = [
        ("nothing", vec![]),
        ("files of 100 kB", plain.collect()),
        ("files made to do harm", hostile.collect()),
        ("photos of 12 megapixels", harmless.collect()),
    ];

    let texts = (arguments.rate * arguments.seconds) as usize;
    let requests = Requests::write(1, texts * 5, 1, Senders::Drawn);
    let within = Duration::from_secs(arguments.seconds.into());
    let warm = Feed::of(&requests, 0..texts);
    load::closed(service.address, 16, &warm, Duration::MAX).await?;
    say("| beside | files | p50 ms | p99 ms | slowest ms | peak MiB | all done after s |");
    say("|---|--:|--:|--:|--:|--:|--:|");
    for (n, (name, files)) in beside.into_iter().enumerate() {
        let (count, begun) = (files.len(), Instant::now());
        service.mark()?;
        let feed = Feed::of(&requests, texts * (n + 1)..texts * (n + 2));
        let sending = send(&shop, name, files, within);
        let outcome = load::steady(service.address, 16, &feed, arguments.rate, within).await?;
        ensure!(outcome.refused == 0, "{} were refused", outcome.refused);
        ensure!(
            sending.join().is_ok_and(|sent| sent.is_ok()),
            "a file could not be sent"
        );
        let mut left = 1_i64;
        while left > 0 {
            ensure!(begun.elapsed() < 10 * within, "{left} jobs are left");
            sleep(Duration::from_millis(20));
            let jobs = "select count(*) from job where attachment_id is not null";
            left = sqlx::query_scalar(jobs).fetch_one(&mut db).await?;
        }
        say(&format!(
            "| {name} | {count} | {:.2} | {:.2} | {:.2} | {} | {:.1} |",
            outcome.quantile(0.5),
            outcome.quantile(0.99),
            outcome.quantile(1.0),
            service.peak()? >> 20,
            begun.elapsed().as_secs_f64(),
        ));
    }
    let waiting = "select count(*) from attachment where original_state = 'waiting'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut db).await?;
    ensure!(waiting == 0, "{waiting} files are not there");
    db.close().await?;
    drop(service);
    database.stop().await?;
    Ok(())
}

/// A file to send.
enum Sending {
    /// A file that is not a picture.
    File(Bytes),
    /// A photo of 12 megapixels.
    Photo(Bytes),
    /// A file whose content is not what it pretends to be; as a picture or a video it is also its own preview.
    Hostile(Hostile),
}

/// Sends files at a steady rate over `within`, from its own thread.
fn send(
    shop: &Channel,
    name: &str,
    files: Vec<Sending>,
    within: Duration,
) -> thread::JoinHandle<Result<()>> {
    let person = shop.user(name);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (begun, count) = (Instant::now(), files.len() as u32);
        for (n, file) in (0..).zip(files) {
            let due = begun + within * n / count;
            sleep(due.saturating_duration_since(Instant::now()));
            let draft = draft(&person, file);
            runtime.block_on(async { draft.await })?;
        }
        Ok(())
    })
}

fn draft(person: &User, file: Sending) -> Draft {
    let hostile = match file {
        Sending::File(bytes) => return person.sends_file("plain.bin", bytes),
        Sending::Photo(bytes) => return person.sends_image(bytes),
        Sending::Hostile(hostile) => hostile,
    };
    let bytes = Bytes::from(hostile.bytes);
    let draft = match hostile.sent {
        Sent::Image => person.sends_image(bytes.clone()).previewed_by(bytes),
        Sent::Video => person.sends_video(bytes.clone(), 1_000).previewed_by(bytes),
        Sent::Audio => person.sends_audio(bytes, 1_000),
        Sent::File => person.sends_file(&hostile.name, bytes),
    };
    draft.served_as(hostile.declared)
}

/// The service, in its own process.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    fn start(
        home: &std::path::Path,
        database: &Embedded,
        line: &FakeLine,
        shop: &Channel,
    ) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let database = database.connect_options("archive");
        let socket = database.get_socket().context("a socket")?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .env("LISTEN", address.to_string())
            .env("DATA_DIR", home)
            .env("PGHOST", socket)
            .env("PGPORT", database.get_port().to_string())
            .env("PGUSER", database.get_username())
            .env("PGDATABASE", "archive")
            .env("LINE", line.url())
            .env("SHOP_SECRET", shop.secret())
            .env("SHOP_TOKEN", shop.access_token())
            .spawn()?;
        let service = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            sleep(Duration::from_millis(20));
        }
        Ok(service)
    }

    /// Resets the peak of its memory.
    fn mark(&mut self) -> Result<()> {
        Ok(fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        )?)
    }

    /// The peak of its memory since the last reset, in bytes.
    fn peak(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.split_whitespace().next());
        Ok(kib.context("VmHWM")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "this is the result")]
fn say(text: &str) {
    println!("{text}");
}
