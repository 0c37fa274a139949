//! The embedded PostgreSQL may die under the service: killed, or by a full disk.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use line_chat_archive::fake_line::{Channel, Event, FakeLine};
use rustix::process::Signal;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    archive,
    process::{Home, LONGEST, Running, get, is_root, signal},
    surroundings::Mounted,
};

/// How often PostgreSQL is killed; the variable `KILLS` sets another number.
const KILLS: usize = 5;
const FULL_DISKS: usize = 3;
const PEOPLE: usize = 4;

const DIED: &str = "PostgreSQL has died";
const RUNS_AGAIN: &str = "PostgreSQL runs again";
const NOT_STARTED: &str = "PostgreSQL could not be started again";

/// The answers to webhooks so far.
#[derive(Default)]
struct Answers {
    acknowledged: Vec<Event>,
    /// Since the last outage began: when each webhook was sent and answered, and with which status.
    latest: Vec<(Instant, Instant, u16)>,
}

impl Answers {
    /// The first acknowledgement after `ended` and after a refusal, of a webhook that was sent after both.
    fn again(&self, ended: Instant) -> Option<Instant> {
        let mut refusals = self.latest.iter().filter(|(.., status)| *status == 503);
        let (_, refused, _) = refusals.next()?;
        let again = self
            .latest
            .iter()
            .find(|(sent, _, status)| *status == 200 && sent >= refused && *sent >= ended);
        again.map(|(_, answered, _)| *answered)
    }
}

/// A service with a channel, to which people write without a pause.
struct Busy {
    serve: Running,
    shop: Channel,
    answers: Arc<Mutex<Answers>>,
    is_over: Arc<AtomicBool>,
    people: Vec<JoinHandle<()>>,
    _line: FakeLine,
}

impl Busy {
    fn start(home: &Home) -> Self {
        let line = FakeLine::start().unwrap();
        let shop = line.channel("Shop");
        let mut serve = home.program();
        serve
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("LINE_CHANNEL_SECRET", shop.secret());
        let mut serve = Running::start(serve);
        shop.webhook_to(&format!("{}webhook/default", serve.says("Dashboard: ")));
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let is_over: Arc<AtomicBool> = Arc::default();
        let people = (0..PEOPLE).map(|n| {
            let (shop, answers, is_over) =
                (shop.clone(), Arc::clone(&answers), Arc::clone(&is_over));
            tokio::spawn(async move {
                let person = shop.user(&format!("person {n}"));
                while !is_over.load(Ordering::Acquire) {
                    let text = person.sends_text("hello").make();
                    send(&shop, &answers, &[text]).await;
                }
            })
        });
        Self {
            serve,
            people: people.collect(),
            shop,
            answers,
            is_over,
            _line: line,
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }

    fn count(&self, words: &str) -> usize {
        self.serve.said().matches(words).count()
    }

    /// Waits until so many more messages are acknowledged.
    fn acknowledges(&mut self, more: usize) {
        let count = |answers: &Mutex<Answers>| answers.lock().unwrap().acknowledged.len();
        let enough = count(&self.answers) + more;
        let answers = &self.answers;
        self.serve.until(|| count(answers) >= enough);
    }

    /// Runs `outage`, which returns when it ended for PostgreSQL, and waits until webhooks are acknowledged again.
    /// Returns how long that took.
    async fn survives(&mut self, outage: impl AsyncFnOnce(&mut Self) -> Instant) -> Duration {
        self.answers().latest.clear();
        let ended = outage(self).await;
        let answers = &self.answers;
        let again = || answers.lock().unwrap().again(ended);
        self.serve.until(|| again().is_some());
        again().unwrap() - ended
    }

    /// Lets the people end, compares the database with the answers, and prints the figures.
    async fn is_complete(&mut self, home: &Home, outages: &str, mut took: Vec<Duration>) {
        self.is_over.store(true, Ordering::Release);
        for person in self.people.drain(..) {
            person.await.unwrap();
        }
        let stored = stored(home).await;
        let acknowledged = &self.answers().acknowledged;
        let of = |event: &&Event| stored.get(event.message_id()).copied().unwrap_or_default();
        let lost = acknowledged.iter().filter(|event| of(event) == 0).count();
        let twice = stored.values().filter(|times| **times > 1).count();
        took.sort();
        let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
        // Past the capture of the test runner: these are the figures of docs/reliability.md.
        let _ = writeln!(
            std::io::stderr(),
            "{outages}: {} cycles, {} acknowledged, {lost} lost, {twice} twice; seconds to the first 200: median {:.1}, \
             longest {:.1}",
            took.len(),
            acknowledged.len(),
            median.as_secs_f32(),
            longest.as_secs_f32(),
        );
        assert_eq!((lost, twice), (0, 0));
    }
}

/// Sends a webhook, and again until it is acknowledged, as LINE does.
async fn send(shop: &Channel, answers: &Mutex<Answers>, events: &[Event]) {
    while !try_send(shop, answers, events).await {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn try_send(shop: &Channel, answers: &Mutex<Answers>, events: &[Event]) -> bool {
    let sent = Instant::now();
    let status = shop.deliver(events).await.status;
    let mut answers = answers.lock().unwrap();
    answers.latest.push((sent, Instant::now(), status));
    if status == 200 {
        answers.acknowledged.extend_from_slice(events);
    }
    status == 200
}

/// How many originals of each message the database has.
async fn stored(home: &Home) -> HashMap<String, i64> {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(home.data().join("postgres"))
        .username("line_chat_archive")
        .database("archive");
    let mut db = PgConnection::connect_with(&options).await.unwrap();
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select m.message_id, count(*) from message m join revision r on r.message_id = m.id group by 1",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    rows.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_killed_under_load_again_and_again_is_started_again() {
    let home = Home::new();
    let mut busy = Busy::start(&home);
    let kills = env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut took = vec![];
    for n in 0..kills {
        // Each time at another point of the work.
        busy.acknowledges(100 + 7 * n);
        let killed = home.postmaster().unwrap();
        let outage = busy.survives(async |_| {
            signal(killed, Signal::KILL);
            Instant::now()
        });
        took.push(outage.await);
        busy.serve.says_so_often(RUNS_AGAIN, n + 1);
        assert_ne!(home.postmaster(), Some(killed));
    }
    busy.is_complete(&home, "PostgreSQL killed", took).await;
    assert_eq!(busy.count(NOT_STARTED), 0, "{}", busy.serve.said());
    assert!(busy.serve.stop());
    assert_eq!(
        home.postmaster(),
        None,
        "the one that was started again is stopped"
    );
}

/// Writes a file until the disk is full.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 20, 1 << 12] {
        let piece = vec![7; size];
        let error = loop {
            if let Err(error) = file.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

/// Puts the write-ahead log of a stopped cluster on a disk of its own.
fn log_on_its_own_disk(home: &Home) -> Mounted {
    let wal = home.data().join("postgres/data/pg_wal");
    let aside = wal.with_file_name("pg_wal.aside");
    fs::rename(&wal, &aside).unwrap();
    fs::create_dir(&wal).unwrap();
    let owner = fs::metadata(&aside).unwrap();
    let (uid, gid) = (owner.uid(), owner.gid());
    let disk = Mounted::tmpfs(&wal, &format!("size=96m,mode=700,uid={uid},gid={gid}"));
    let from = aside.join(".");
    let copied = Command::new("cp").arg("-a").args([&from, &wal]).status();
    assert!(copied.unwrap().success());
    disk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_whose_disk_was_full_goes_on_once_there_is_space() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let (serve, _) = archive(&home);
    assert!(serve.stop());
    let _disk = log_on_its_own_disk(&home);
    let mut busy = Busy::start(&home);
    let ballast = home.data().join("postgres/data/pg_wal/ballast");
    let mut took = vec![];
    for _ in 0..FULL_DISKS {
        busy.acknowledges(100);
        let outage = busy.survives(async |busy| {
            let (died, refused) = (busy.count(DIED), busy.count(NOT_STARTED));
            fill(&ballast);
            let talker = busy.shop.user("a talker");
            let mut long = vec![];
            // The rest of the log's present segment has to be filled, too.
            while busy.count(NOT_STARTED) == refused {
                if long.is_empty() {
                    let text = "x".repeat(5000);
                    long.extend((0..300).map(|_| talker.sends_text(&text).make()));
                }
                match try_send(&busy.shop, &busy.answers, &long).await {
                    true => long.clear(),
                    false => sleep(Duration::from_millis(20)).await,
                }
            }
            assert!(busy.count(DIED) > died);
            fs::remove_file(&ballast).unwrap();
            Instant::now()
        });
        took.push(outage.await);
    }
    busy.is_complete(&home, "disk full", took).await;
    let log = home.data().join("postgres/log");
    let logs = fs::read_dir(log).unwrap().map(|entry| entry.unwrap());
    let logged: String = logs
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    let panic = |line: &str| line.contains("PANIC") && line.contains("No space left on device");
    assert!(logged.lines().any(panic), "{logged}");
    assert!(busy.serve.stop());
    assert_eq!(home.postmaster(), None);
}

/// A recovery that waits for a file of the test stands for one that takes long.
#[test]
fn a_postgresql_that_recovers_for_long_is_not_said_to_have_failed() {
    let home = Home::new();
    let (mut serve, dashboard) = archive(&home);
    let address = dashboard
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let (data, go) = (
        home.data().join("postgres/data"),
        home.dir.path().join("go"),
    );
    let owner = fs::metadata(data.join("PG_VERSION")).unwrap();
    let mut settings = File::options()
        .append(true)
        .open(data.join("postgresql.auto.conf"))
        .unwrap();
    let wait = format!("until [ -e {} ]; do sleep 0.1; done; false", go.display());
    writeln!(settings, "hot_standby = off\nrestore_command = '{wait}'").unwrap();
    let wanted = data.join("recovery.signal");
    fs::write(&wanted, "").unwrap();
    chown(&wanted, Some(owner.uid()), Some(owner.gid())).unwrap();
    signal(home.postmaster().unwrap(), Signal::KILL);
    serve.says("PostgreSQL is still starting, perhaps recovering from a crash");
    assert!(!serve.said().contains(RUNS_AGAIN));
    fs::write(&go, "").unwrap();
    serve.says(RUNS_AGAIN);
    // A result of the check may be two seconds old.
    serve.until(|| get(address, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(!serve.said().contains(NOT_STARTED), "{}", serve.said());
    assert!(serve.stop());
    assert_eq!(home.postmaster(), None);
}

/// A signal in the middle of a start.
#[test]
fn a_service_ends_while_its_postgresql_is_started_again() {
    let home = Home::new();
    let (mut serve, _) = archive(&home);
    signal(home.postmaster().unwrap(), Signal::KILL);
    serve.says(DIED);
    assert!(serve.stop());
    // A pid file of the killed one may be left.
    let left = home.postmaster().map(|pid| format!("/proc/{pid}"));
    assert!(left.is_none_or(|process| !Path::new(&process).exists()));
}

/// The ids of all processes of PostgreSQL, the first one's first.
fn processes_of_postgresql(home: &Home) -> Vec<u32> {
    let first = home.postmaster().unwrap();
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    [first].into_iter().chain(children).collect()
}

/// PostgreSQL is there and does nothing, as on a disk that hangs.
#[test]
fn a_service_ends_although_its_postgresql_hangs() {
    let home = Home::new();
    let (serve, _) = archive(&home);
    let hung = processes_of_postgresql(&home);
    assert!(hung.len() > 3);
    hung.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let begun = Instant::now();
    assert!(!serve.stop(), "a PostgreSQL that goes on is an error");
    let took = begun.elapsed();
    hung.iter().for_each(|pid| signal(*pid, Signal::CONT));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let begun = Instant::now();
    while Path::new(&format!("/proc/{}", hung[0])).exists() {
        assert!(begun.elapsed() < LONGEST, "it was told to stop");
        std::thread::yield_now();
    }
}
