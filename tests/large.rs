//! A very large video, and the service as a process of its own, as in operation: the video arrives complete, can be
//! read in ranges, and is deleted after its unsend, and the service's memory stays small. The video has 64 MiB;
//! `LARGE=2048 cargo test --test large` makes that 2 GiB.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and one that took long says how long"
)]

#[path = "support/process.rs"]
#[expect(dead_code, reason = "the tests of privileges use the rest")]
mod process;

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use line_chat_archive::fake_line::FakeLine;
use process::{Home, Running};
use reqwest::{Client, header, redirect::Policy};

const PASSWORD: &str = "a long enough password";

/// The limit of the service's memory in bytes, whatever it fetches.
const MOST: u64 = 200 << 20;

/// The peak of a process's memory in bytes, if the system reports it.
fn memory(process: &Running) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn objects(data: &Path) -> u64 {
    fn size(path: &Path) -> u64 {
        match fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| size(&entry.unwrap().path())).sum(),
            Err(_) => fs::metadata(path).map_or(0, |file| file.len()),
        }
    }
    size(&data.join("objects"))
}

/// Waits until `look` returns a value, and returns it.
async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let patience = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(patience.elapsed() < Duration::from_secs(1800), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_large_video_is_kept_sought_and_erased_in_little_memory() {
    let mib: usize = env::var("LARGE").map_or(64, |mib| mib.parse().unwrap());
    let mut video = Vec::with_capacity(mib << 20);
    for n in 0..(mib as u64) << 17 {
        video.extend_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    // The first bytes of an MP4 file, so that the page shows a player for it.
    video[..12].copy_from_slice(b"\0\0\0\x18ftypmp42");
    let video = bytes::Bytes::from(video);

    let line = FakeLine::start().unwrap();
    let shop = line.channel("Shop");
    let home = Home::new();
    let data = home.data();
    let mut program = home.program();
    program
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("LINE_API_URL", line.url())
        .env("LINE_DATA_API_URL", line.url())
        .env("LINE_CHANNEL_SECRET", shop.secret())
        .env("LINE_CHANNEL_ACCESS_TOKEN", shop.access_token());
    let mut service = Running::start(program);
    let url = service.says("Dashboard: ").trim_end_matches('/').to_owned();
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut adding = home.program();
    let mut adding = adding
        .args(["operator", "add", "mika", "--role", "admin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(adding.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(adding.wait().unwrap().success());
    let answer = client
        .post(format!("{url}/login"))
        .header(header::ORIGIN, &url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!(
            "login=mika&password={}",
            PASSWORD.replace(' ', "+")
        ))
        .send()
        .await
        .unwrap();
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = async |path: &str| {
        let asked = client
            .get(format!("{url}{path}"))
            .header(header::COOKIE, &cookie);
        let answer = asked
            .header(header::ACCEPT, "text/html")
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap()
    };
    let part = async |path: &str, range: String| {
        let asked = client
            .get(format!("{url}{path}"))
            .header(header::COOKIE, &cookie);
        asked.header(header::RANGE, range).send().await.unwrap()
    };

    shop.webhook_to(&format!("{url}/webhook/default"));
    let aoi = shop.user("Aoi");
    let begun = Instant::now();
    let sent = aoi.sends_video(video.clone(), 3_600_000).await.unwrap();
    let list = page("/conversations").await;
    let at = list.find("/conversations/").unwrap();
    let conversation = list[at..].split(['"', '?']).next().unwrap().to_owned();
    let path = soon("it is kept", async || {
        let page = page(&conversation).await;
        let (_, rest) = page.split_once("src=\"/attachments/")?;
        let id = rest.split(['"', '/', '?']).next()?;
        rest.starts_with(&format!("{id}\""))
            .then(|| format!("/attachments/{id}"))
    })
    .await;
    println!("kept after {:?}", begun.elapsed());
    for nth in 0..20 {
        let first = (video.len() - 70_000) / 19 * nth;
        let answer = part(&path, format!("bytes={first}-{}", first + 69_999)).await;
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "video/mp4");
        let bytes = answer.bytes().await.unwrap();
        assert!(bytes == video[first..first + 70_000], "sought at {first}");
    }
    let mut whole = part(&path, "bytes=0-".to_owned()).await;
    let mut read = 0;
    while let Some(chunk) = whole.chunk().await.unwrap() {
        assert!(chunk == video[read..read + chunk.len()], "at {read}");
        read += chunk.len();
    }
    assert_eq!(read, video.len());
    assert!(objects(&data) > video.len() as u64);

    let begun = Instant::now();
    aoi.unsends(&sent).await.unwrap();
    assert_eq!(part(&path, "bytes=0-9".to_owned()).await.status(), 404);
    soon("its objects are gone", async || {
        // The copies of the ledger are there too, so the directory is not empty.
        (objects(&data) < 1 << 20).then_some(())
    })
    .await;
    println!("gone after {:?}", begun.elapsed());
    if let Some(memory) = memory(&service) {
        println!("{} MiB at most", memory >> 20);
        assert!(memory < MOST, "{} MiB", memory >> 20);
    }
    assert!(service.stop());
}
