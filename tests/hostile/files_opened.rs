//! Each hostile file is kept, shown in its conversation and opened by its link: nothing in it runs, and it causes no
//! request to another host.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use line_chat_archive::fake_line::{Draft, User};

use crate::{
    all,
    canary::Canary,
    downloads::Downloads,
    files::{self, Hostile, Sent},
    memory,
    support::browser::Browser,
    world::{PAGE_TIMEOUT, World},
};

/// The types that the browser may show; all others are saved.
const SHOWN: [&str; 9] = [
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "video/mp4",
    "audio/mp4",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
];

/// The limit of the additional memory in bytes: a picture at the limit has 256 MB of pixels, and is scaled down next to
/// them, while this process also serves all files and pages (272 to 292 MiB were measured).
const ROOM: u64 = 340 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_a_file_acts_wherever_it_is_opened() {
    let world = World::new().await.expect("a world");
    opened(&world).await.expect("the test");
    world.stop().await;
}

async fn opened(world: &World) -> anyhow::Result<()> {
    let canary = Canary::new().await;
    let files = files::all(&canary.url());
    ensure!(files.len() >= 200, "{} files", files.len());
    let kept = keep(world, &files).await?;

    let browser = world.desk().await?;
    let downloads = Downloads::of(&browser).await?;
    browser.requests().await?;
    for conversation in world.conversations().await? {
        shown(
            &browser,
            &format!("{}/conversations/{conversation}", world.site()),
        )
        .await?;
    }
    let visitor = world.visitor("mia").await;
    let mut saved = 0;
    let mut at = browser.eval("location.href").await?;
    for (id, message) in world.attachments().await? {
        let name = &kept[&message];
        let path = format!("/attachments/{id}");
        let answer = visitor.get(&path).await;
        let of = |name: &str| {
            let value = answer.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap_or_default())
        };
        ensure!(answer.status() == 200, "{name}: {}", answer.status());
        ensure!(of("x-content-type-options") == "nosniff", "{name}");
        ensure!(of("cache-control") == "no-store", "{name}");
        let policy = of("content-security-policy");
        ensure!(policy == "sandbox; default-src 'none'", "{name}: {policy}");
        let shows = SHOWN.contains(&of("content-type"));
        ensure!(
            shows != of("content-disposition").starts_with("attachment; "),
            "{name}: {:?}",
            answer.headers()
        );
        ensure!(
            shows || of("content-type") == "application/octet-stream",
            "{name}"
        );

        browser
            .goto(&format!("{}{path}", world.site()))
            .await
            .with_context(|| name.clone())?;
        let page = "[location.href, document.contentType, document.title,
            document.scripts.length, document.documentElement.className]";
        let page = browser.eval(page).await.with_context(|| name.clone())?;
        let is = |n: usize| page[n].as_str().unwrap_or_default();
        ensure!(is(4) != "hacked" && is(2) != "hacked", "{name}: {page}");
        if shows {
            ensure!(is(0).ends_with(&path), "{name}: {page}");
            ensure!(
                SHOWN.contains(&is(1)) || is(1) == "text/html" && page[3] == 0,
                "{name}: {page}"
            );
        } else {
            saved += 1;
            ensure!(page[0] == at, "{name} is not saved but opened: {page}");
        }
        at = page[0].clone();
    }
    ensure!(saved > 100, "{saved} were saved");
    downloads.all(1).await?;
    ensure!(downloads.astray()?.is_empty(), "{:?}", downloads.astray()?);
    for url in browser.requests().await? {
        let inside = url.starts_with(&world.site()) || url.starts_with("data:");
        ensure!(inside, "{url} was asked for");
    }
    ensure!(canary.hits().await == 0, "the canary was asked");
    Ok(())
}

/// Delivers all files and runs the worker, while others write: every webhook is acknowledged, and the memory is
/// bounded. Returns the name of each file by its message id.
async fn keep(world: &World, files: &[Hostile]) -> anyhow::Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    let mut events = vec![];
    for (n, some) in files.chunks(30).enumerate() {
        let person = world.shop.user(&format!("Person {n}"));
        for (m, file) in some.iter().enumerate() {
            let event = sends(&person, file, m).make();
            let name = format!("{} as {:?}, {}", file.name, file.sent, file.declared);
            names.insert(event.message_id().to_owned(), name);
            events.push(event);
        }
    }
    // Other tests' memory must not be counted.
    let _turn = memory::TURN.lock().await;
    let before = memory::mark();
    for some in events.chunks(20) {
        world.deliver(some).await?;
    }
    let idle = writes(world, |written| written < 500).await?;
    let worker = world.service.worker.clone();
    let working = tokio::spawn(async move { worker.run_until_idle().await });
    // 500 are enough, unless they are to be measured; the rest of the time belongs to the worker.
    let goes_on = |written| !working.is_finished() && (all() || written < 500);
    let meanwhile = writes(world, goes_on).await?;
    working.await??;
    ensure!(meanwhile.len() > 10, "{} meanwhile", meanwhile.len());
    let taken = memory::most().saturating_sub(before);
    eprintln!(
        "{} files: {} MiB above {} MiB. The door answers in (p50, p99): idle {:?}, meanwhile {:?} ({} webhooks)",
        files.len(),
        taken >> 20,
        before >> 20,
        quantiles(&idle),
        quantiles(&meanwhile),
        meanwhile.len()
    );
    ensure!(taken < ROOM, "{} MiB more", taken >> 20);
    let pool = &world.service.pool;
    let waiting = async || -> anyhow::Result<i64> {
        let count = sqlx::query_scalar("select count(*) from job");
        Ok(count.fetch_one(pool).await?)
    };
    // Jobs that a busy machine could not finish in time are tried again later, and so are previews that are no pictures.
    for _ in 0..8 {
        if waiting().await? > 0 {
            world.clock.advance(Duration::from_secs(3600));
            world.run_jobs().await?;
        }
    }
    let waiting = waiting().await?;
    ensure!(waiting == 0, "{waiting} jobs are left");
    let kept: Vec<String> = sqlx::query_scalar(
        "select m.message_id from attachment a join message m on m.id = a.message_id
         where a.original_state = 'kept' and a.preview_state <> 'waiting'",
    )
    .fetch_all(pool)
    .await?;
    let kept: HashSet<String> = kept.into_iter().collect();
    for (id, name) in &names {
        ensure!(kept.contains(id), "{name} is not kept");
    }
    Ok(names)
}

/// Delivers one message after another, each of which must be acknowledged. Returns the sorted durations.
async fn writes(world: &World, goes_on: impl Fn(usize) -> bool) -> anyhow::Result<Vec<Duration>> {
    let writer = world.shop.user("Writer");
    let mut took = vec![];
    while goes_on(took.len()) {
        let event = writer.sends_text("meanwhile").make();
        let begun = Instant::now();
        world.deliver(&[event]).await?;
        took.push(begun.elapsed());
    }
    took.sort();
    Ok(took)
}

/// The median and the 99th percentile.
fn quantiles(sorted: &[Duration]) -> [Duration; 2] {
    [50, 99].map(|part| sorted[(sorted.len() * part / 100).min(sorted.len() - 1)])
}

/// The message with the file, and with the file itself or unreadable bytes as its preview.
fn sends(person: &User, file: &Hostile, n: usize) -> Draft {
    let bytes = file.bytes.clone();
    let draft = match file.sent {
        Sent::Image => person.sends_image(bytes.clone()),
        Sent::Video => person.sends_video(bytes.clone(), 1_000),
        Sent::Audio => person.sends_audio(bytes, 1_000),
        Sent::File => person.sends_file(&file.name, bytes),
    };
    let draft = draft.served_as(file.declared);
    match (file.sent, n % 2) {
        (Sent::Image | Sent::Video, 0) => draft.previewed_by(file.bytes.clone()),
        (Sent::Image | Sent::Video, _) => draft.previewed_by(&b"no picture"[..]),
        _ => draft,
    }
}

/// Opens a conversation, and loads and plays everything in it.
async fn shown(browser: &Browser, page: &str) -> anyhow::Result<()> {
    browser.goto(page).await?;
    let loaded = "[...document.images].every(image => {
        image.loading = 'eager';
        return !image.getAttribute('src') || image.complete; })";
    browser.wait_until(loaded, PAGE_TIMEOUT).await?;
    // Each player plays, or reports that it cannot.
    let played = "Promise.all([...document.querySelectorAll('video, audio')].map(player => {
        player.muted = true;
        return player.play().then(() => 1, () => 0); })).then(all => [all.length])";
    browser.eval(played).await?;
    let hacked = browser
        .eval("document.title === 'hacked' || document.querySelector('.hacked, script:not([src])')?.outerHTML || null")
        .await?;
    ensure!(hacked.is_null() || hacked == false, "{page}: {hacked}");
    Ok(())
}
