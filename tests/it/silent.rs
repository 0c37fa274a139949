//! Connections to PostgreSQL that are silent without being closed.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use line_chat_archive::seal::Cipher;
use tempfile::TempDir;

use crate::support::{
    balancer::Balancer,
    world::{self, World},
};

/// Within this time everything works again.
const SOON: Duration = Duration::from_secs(25);

/// A service that reaches its database through a balancer.
async fn behind_a_balancer() -> anyhow::Result<(Balancer, World)> {
    let (balancer, database) = Balancer::before(&world::database().await?)?;
    let home = TempDir::new()?;
    let mut world = World::with(home, database, Cipher::Sealed, |parts| {
        parts.stall = Duration::from_secs(2);
    })
    .await?;
    world.operator("mia", "admin", None).await?;
    world.service.work();
    Ok((balancer, world))
}

/// Waits until a query returns this number, and says how long that took.
async fn until(world: &World, query: &'static str, number: i64) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut db = world.owner().await?;
    let waiting = async {
        while sqlx::query_scalar::<_, i64>(query)
            .fetch_one(&mut db)
            .await?
            != number
        {
            // Leases end, and what failed is tried again.
            world.clock.advance(Duration::from_millis(20));
        }
        anyhow::Ok(begun.elapsed())
    };
    tokio::time::timeout(SOON, waiting).await.context(query)?
}

/// Waits until the stream of a page says that something changed.
async fn changed(
    stream: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin),
) -> anyhow::Result<()> {
    let mut said = String::new();
    while !said.contains("event: changed") {
        let next = tokio::time::timeout(SOON, stream.next()).await;
        said += std::str::from_utf8(&next.context("no change was told")?.context("an end")??)?;
    }
    Ok(())
}

/// Ten times all connections fall silent, each time at another point of the work.
#[tokio::test(flavor = "multi_thread")]
async fn files_keys_and_pages_go_on_after_connections_fell_silent() {
    async fn test() -> anyhow::Result<()> {
        let (balancer, world) = behind_a_balancer().await?;
        let mia = world.visitor("mia").await;
        let aoi = world.shop.user("Aoi");
        let mut slowest = [Duration::ZERO; 3];
        for round in 0..10 {
            let text = aoi.sends_text("hello").make();
            let photo = aoi.sends_image(vec![7; 1000]).make();
            let load = async {
                let begun = Instant::now();
                let unsend = aoi.unsends(&text).make();
                for event in [&text, &photo, &unsend] {
                    while !world
                        .shop
                        .deliver(std::slice::from_ref(event))
                        .await
                        .acknowledged()
                    {
                        ensure!(begun.elapsed() < SOON, "webhooks are not stored");
                    }
                }
                Ok(begun.elapsed())
            };
            let silence = async {
                for _ in 0..round * 100 {
                    tokio::task::yield_now().await;
                }
                balancer.hang();
            };
            let (door, ()) = tokio::join!(load, silence);
            let files = until(
                &world,
                "select count(*) from attachment where original_state <> 'kept'",
                0,
            )
            .await?;
            let keys = until(
                &world,
                "select count(*) from erasure where keys_gone_at is null",
                0,
            )
            .await?;
            assert_eq!(mia.get("/conversations").await.status(), 200);
            for (slowest, took) in slowest.iter_mut().zip([door?, files, keys]) {
                *slowest = took.max(*slowest);
            }
        }
        eprintln!("again after at most: door, files, keys {slowest:?}");
        assert_eq!(world.count("select count(*) from attachment").await?, 10);
        assert_eq!(world.count("select count(*) from erasure").await?, 10);
        Ok(())
    }
    test().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_pages_are_told_of_changes_after_their_connection_fell_silent() {
    async fn test() -> anyhow::Result<()> {
        let (balancer, world) = behind_a_balancer().await?;
        let mia = world.visitor("mia").await;
        let page = mia.page("/conversations").await;
        let mark = page.split_once("data-live=\"").context("a mark")?.1;
        let mark = mark.split_once('"').context("an end")?.0;
        let mut stream = mia.get(&format!("/live?since={mark}")).await.bytes_stream();
        let aoi = world.shop.user("Aoi");
        aoi.sends_text("one").await?;
        changed(&mut stream).await?;
        balancer.hang();
        let text = aoi.sends_text("two").make();
        while !world
            .shop
            .deliver(std::slice::from_ref(&text))
            .await
            .acknowledged()
        {}
        let begun = Instant::now();
        changed(&mut stream).await?;
        eprintln!("told after {:?}", begun.elapsed());
        Ok(())
    }
    test().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_silent_connections() {
    let (balancer, world) = behind_a_balancer().await.unwrap();
    world
        .shop
        .user("Aoi")
        .sends_image(vec![7; 1000])
        .await
        .unwrap();
    balancer.hang();
    let begun = Instant::now();
    world.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
}
