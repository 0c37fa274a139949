//! A job that hangs in one queue of the worker delays no other queue, and no sender delays the files of another.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use line_chat_archive::fake_line::{Call, Media, User, pictures::photo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::archive::Archive;

/// How long to wait for a file that must come at once. The hosts below stay silent for longer.
const SOON: Duration = Duration::from_secs(5);

/// A host that accepts connections and never answers.
struct Silent {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let held = open.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                held.lock().await.push(stream);
            }
        });
        Self { address, open }
    }

    async fn taken(&self) -> usize {
        self.open.lock().await.len()
    }
}

/// Receives `count` images of `user` whose URLs are on `host`.
async fn flood(t: &Archive, user: &User, host: &Silent, count: usize) {
    for n in 0..count {
        let url = format!("http://{}/{n}", host.address);
        let image = user.sends_external(Media::Image, &url, None).make();
        t.receives(&image).await;
    }
}

fn running(t: &Archive) -> (CancellationToken, JoinHandle<()>) {
    let (worker, stop) = (t.worker.clone(), CancellationToken::new());
    let stopped = stop.clone();
    (stop, tokio::spawn(async move { worker.run(stopped).await }))
}

/// Waits until the original of `id` is kept.
async fn kept(t: &Archive, id: Uuid, what: &str) {
    let sql = "select original_state from attachment where id = $1";
    let arrives = async {
        while t.text(sql, id).await != "kept" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(SOON, arrives).await.is_ok(),
        "{what} is not kept in time: {}",
        t.states(id).await
    );
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let becomes = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let became = tokio::time::timeout(SOON, becomes).await;
    assert!(became.is_ok(), "{what}: not in time");
}

#[tokio::test]
async fn photos_from_line_do_not_wait_for_two_hundred_images_at_a_silent_host() {
    let t = Archive::new().await;
    let silent = Silent::new().await;
    let (mallory, aoi, ken) = (
        t.shop.user("Mallory"),
        t.shop.user("Aoi"),
        t.shop.user("Ken"),
    );
    let mut photos = vec![];
    for n in 0..5 {
        photos.push(t.receives(&aoi.sends_image(photo(n, 90, 60)).make()).await);
    }
    flood(&t, &mallory, &silent, 200).await;
    let (stop, worker) = running(&t);
    until("the flood is being fetched", async || {
        silent.taken().await > 0
    })
    .await;
    // Files before, during and after the flood: the newest jobs run first.
    for n in 5..10 {
        photos.push(t.receives(&aoi.sends_image(photo(n, 90, 60)).make()).await);
    }
    let voice = t
        .receives(&aoi.sends_audio(&b"sound"[..], 900).make())
        .await;
    let file = t
        .receives(&ken.sends_file("a.pdf", &b"%PDF"[..]).make())
        .await;
    t.worker.wake().notify_one();
    for id in photos.into_iter().chain([voice, file]) {
        kept(&t, id, "LINE's own").await;
    }
    let held = t.count("select count(*) from job where lease is not null and queue = 'external'");
    assert_eq!(held.await, 1, "one at a time of one sender");
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn an_image_elsewhere_does_not_wait_for_those_of_another_sender() {
    let t = Archive::new().await;
    let silent = Silent::new().await;
    let (mallory, ken) = (t.shop.user("Mallory"), t.shop.user("Ken"));
    let url = t.line.elsewhere(photo(1, 90, 60));
    let before = ken.sends_external(Media::Image, &url, None).make();
    let before = t.receives(&before).await;
    flood(&t, &mallory, &silent, 200).await;
    let (stop, worker) = running(&t);
    kept(&t, before, "the older one").await;
    let after = ken.sends_external(Media::Video, &url, Some(&url)).make();
    let after = t.receives(&after).await;
    t.worker.wake().notify_one();
    kept(&t, after, "the newer one").await;
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn previews_elsewhere_that_hang_take_no_slot_from_previews_of_line() {
    let t = Archive::new().await;
    let silent = Silent::new().await;
    let video = t.line.elsewhere(&b"video"[..]);
    // Each from another sender, so that they take all slots of their queue.
    for n in 0..20 {
        let user = t.shop.user(&format!("Mallory {n}"));
        let url = format!("http://{}/{n}", silent.address);
        let event = user.sends_external(Media::Video, &video, Some(&url)).make();
        t.receives(&event).await;
    }
    let (stop, worker) = running(&t);
    until("all slots hang", async || silent.taken().await >= 4).await;
    let aoi = t.shop.user("Aoi");
    let id = t.receives(&aoi.sends_image(photo(1, 90, 60)).make()).await;
    t.worker.wake().notify_one();
    let sql = "select preview_state from attachment where id = $1";
    until("the preview of a photo", async || {
        t.text(sql, id).await == "kept"
    })
    .await;
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn videos_that_come_slowly_take_no_slot_from_photos() {
    let t = Archive::new().await;
    let aoi = t.shop.user("Aoi");
    let mut gates = vec![];
    for n in 0..6 {
        let user = t.shop.user(&format!("Sender {n}"));
        t.receives(&user.sends_video(vec![7; 4096], 900).make())
            .await;
    }
    for _ in 0..4 {
        gates.push(t.line.trouble(Call::Content).held_after(0));
    }
    let (stop, worker) = running(&t);
    for gate in &gates {
        gate.reached().await;
    }
    let id = t.receives(&aoi.sends_image(photo(1, 90, 60)).make()).await;
    t.worker.wake().notify_one();
    kept(&t, id, "a photo").await;
    for gate in &gates {
        gate.open();
    }
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn profiles_that_hang_keep_no_photo_waiting_and_no_single_person() {
    let t = Archive::new().await;
    for n in 0..20 {
        // The first contact has its own flow; all others share one, like members of one group.
        let sql = "with one as (
                insert into contact (id, channel_id, user_id) values ($2, $1, $3) returning id)
            insert into job (kind, channel_id, contact_id, flow, run_at)
            select 'profile', $1, id, $4, '2020-01-01' from one";
        let asked = sqlx::query(sql)
            .bind(t.channel_id)
            .bind(Uuid::now_v7())
            .bind(t.shop.user(&format!("Member {n}")).id().to_owned())
            .bind(if n == 0 { 8 } else { 7 });
        asked.execute(&t.pool).await.unwrap();
    }
    let mut gates = vec![];
    for _ in 0..4 {
        gates.push(t.line.trouble(Call::Profile).held_after(0));
    }
    let (stop, worker) = running(&t);
    for gate in &gates {
        gate.reached().await;
    }
    let alone = "select count(*) from job where flow = 8 and lease is not null";
    assert_eq!(t.count(alone).await, 1, "its turn is among the first");
    let aoi = t.shop.user("Aoi");
    let id = t.receives(&aoi.sends_image(photo(1, 90, 60)).make()).await;
    t.worker.wake().notify_one();
    kept(&t, id, "a photo").await;
    for gate in &gates {
        gate.open();
    }
    stop.cancel();
    worker.await.unwrap();
}
