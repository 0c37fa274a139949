//! `/readyz` says whether webhooks are stored, `/readyz/pages` whether pages have all they need.

use std::{fs, time::Duration};

use anyhow::Context;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::time::timeout;

use crate::harness::{T, run};

/// A result may be reused for two seconds, and a lane connects again with its next delivery.
const SOON: Duration = Duration::from_secs(10);

/// Waits until `/readyz` and the webhook endpoint give the same answer, this one.
async fn door_answers(t: &T, status: u16) -> anyhow::Result<()> {
    let stranger = t.stranger();
    let same = async {
        for person in 0.. {
            let person = t.shop.user(&format!("person {person}"));
            let events = [person.follows().make(), person.sends_text("hello").make()];
            let webhook = t.shop.deliver(&events).await.status;
            if webhook == status && stranger.status("/readyz").await == status {
                return;
            }
        }
    };
    timeout(SOON, same)
        .await
        .with_context(|| format!("both answer {status}"))
}

/// While something is wrong with the database, the door says so; afterwards it is open again.
async fn closed_by(
    t: &T,
    admin: &mut PgConnection,
    begin: &'static str,
    end: &'static str,
) -> anyhow::Result<()> {
    door_answers(t, 200).await?;
    admin.execute(begin).await?;
    door_answers(t, 503).await.context(begin)?;
    admin.execute(end).await?;
    door_answers(t, 200).await.context(end)
}

#[tokio::test]
async fn the_door_is_closed_where_webhooks_are_refused() {
    run(async |t| {
        let mut inside = t.owner().await?;
        for table in ["message", "event"] {
            let begin = format!("begin; lock table {table} in access exclusive mode");
            closed_by(t, &mut inside, begin.leak(), "commit").await?;
        }
        inside.close().await?;
        // Not as a guest of the database that takes no guests.
        let name = t.database.get_database().context("a name")?;
        let mut outside = t.database.clone().database("postgres").connect().await?;
        // Connections that are open keep their setting.
        let renew = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        );
        for (begin, end) in [
            (
                "set default_transaction_read_only = on",
                "reset default_transaction_read_only",
            ),
            ("allow_connections false", "allow_connections true"),
        ] {
            let [begin, end] =
                [begin, end].map(|change| format!("alter database {name} {change}; {renew}"));
            closed_by(t, &mut outside, begin.leak(), end.leak()).await?;
        }
        outside.close().await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn without_its_objects_the_door_is_open_and_the_pages_are_not() {
    run(async |t| {
        let stranger = t.stranger();
        assert_eq!(stranger.status("/readyz/pages").await, 200);
        let (place, away) = (t.home.path().join("objects"), t.home.path().join("away"));
        fs::rename(&place, &away)?;
        fs::write(&place, "")?;
        let noticed = async {
            while stranger.status("/readyz/pages").await != 503 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, noticed)
            .await
            .context("pages are not ready")?;
        door_answers(t, 200).await?;
        fs::remove_file(&place)?;
        fs::rename(&away, &place)?;
        Ok(())
    })
    .await;
}
