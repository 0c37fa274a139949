//! A database that cannot be used now, though it answers: its role may not sign in, or has no connections left.

use std::time::Duration;

use anyhow::Context;
use line_chat_archive::seal::Cipher;
use sqlx::{ConnectOptions, Connection, Executor};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::world::{self, World};

/// The role that services work as; every other test here works as the superuser.
const ROLE: &str = "line_chat_archive";

/// A webhook is answered after a second and a half, and a page after five.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_pages_are_503_while_the_role_cannot_connect() {
    async fn test() -> anyhow::Result<()> {
        let database = world::database().await?;
        let mut admin = database.connect().await?;
        let member = format!("grant line_chat_archive_app to {ROLE}");
        admin.execute(&*member.leak()).await?;
        let home = TempDir::new()?;
        let world = World::with(home, database.username(ROLE), Cipher::Sealed, |_| ()).await?;
        world.operator("mia", "admin", None).await?;
        let mia = world.visitor("mia").await;
        let aoi = world.shop.user("Aoi");
        for (begin, end) in [
            ("nologin", "login"),
            ("connection limit 0", "connection limit -1"),
        ] {
            assert_eq!(mia.status("/conversations").await, 200);
            let [begin, end] = [begin, end].map(|change| {
                let change = format!(
                    "alter role {ROLE} {change};
                     select pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}'"
                );
                &*change.leak()
            });
            admin.execute(sqlx::raw_sql(begin)).await?;
            for path in ["/conversations", "/erasures", "/conversations"] {
                let answer = mia.get(path).await;
                assert_eq!(answer.status(), 503, "{begin}: {path}");
                assert!(answer.headers().contains_key("retry-after"), "{path}");
            }
            let text = aoi.sends_text("hello").make();
            let send = || world.shop.deliver(std::slice::from_ref(&text));
            assert_eq!(send().await.status, 503, "{begin}");
            assert_eq!(mia.status("/readyz").await, 503, "{begin}");
            assert_eq!(mia.status("/readyz/pages").await, 503, "{begin}");
            admin.execute(sqlx::raw_sql(end)).await?;
            let again = async {
                while !send().await.acknowledged() || mia.status("/conversations").await != 200 {}
            };
            timeout(SOON, again).await.context(end)?;
        }
        admin.close().await?;
        world.stop().await;
        Ok(())
    }
    test().await.unwrap();
}
