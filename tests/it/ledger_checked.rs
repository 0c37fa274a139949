//! `erasures verify` and `export` beside a running service, and on a ledger that lacks records.

use std::time::Duration;

use line_chat_archive::app::{self, erasures::Period};
use sqlx::{ConnectOptions, Executor};

use crate::{
    harness::{T, run},
    ledger::{places, verified},
};

/// Unsends `count` messages, each sealed and signed on its own.
async fn unsends(t: &T, count: usize) -> anyhow::Result<()> {
    let aoi = t.shop.user("Aoi");
    for n in 0..count {
        let text = aoi.sends_text(&format!("text {n}")).await?;
        aoi.unsends(&text).await?;
    }
    t.service.sealer.seal().await?;
    Ok(())
}

/// What somebody does who owns the database.
async fn forced(t: &T, change: &'static str) -> anyhow::Result<()> {
    let mut owner = t.database.connect().await?;
    let mut tx = sqlx::Connection::begin(&mut owner).await?;
    tx.execute("alter table ledger disable trigger all").await?;
    tx.execute(change).await?;
    tx.execute("alter table ledger enable trigger all").await?;
    tx.commit().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_grows_while_it_is_checked_is_not_called_tampered() {
    run(async |t| {
        unsends(t, 1).await?;
        let sealer = t.service.sealer.clone();
        let pool = t.pool().clone();
        let growing = tokio::spawn(async move {
            loop {
                sqlx::query("insert into ledger_pending (record, created_at) values ('{}', now())")
                    .execute(&pool)
                    .await
                    .unwrap();
                sealer.seal().await.unwrap();
            }
        });
        let mut says = vec![];
        for _ in 0..40 {
            says.push(verified(t, None).await?);
        }
        growing.abort();
        let _ = growing.await;
        says.retain(|line| line.starts_with("TAMPERED"));
        assert_eq!(says, [""; 0]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_missing_in_the_middle_is_named() {
    run(async |t| {
        unsends(t, 4).await?;
        forced(t, "delete from ledger where seq = 3").await?;
        let says = verified(t, None).await?;
        assert!(says.starts_with("TAMPERED: record 3"), "{says}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_leaf_that_is_none_is_named() {
    run(async |t| {
        unsends(t, 4).await?;
        forced(t, "update ledger set leaf = '' where seq = 2").await?;
        let says = verified(t, None).await?;
        assert!(says.starts_with("TAMPERED: record 2"), "{says}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_ledger_whose_tail_is_cut_is_not_exported() {
    run(async |t| {
        unsends(t, 4).await?;
        forced(t, "delete from ledger where seq >= 6").await?;
        let home = tempfile::TempDir::new()?;
        let out = home.path().join("export");
        let places = places(t);
        let export = app::erasures::export(&places, &out, Period::default(), None, &|_| ());
        let refused = tokio::time::timeout(Duration::from_secs(20), export).await?;
        assert!(refused.is_err() && !out.exists());
        Ok(())
    })
    .await;
}
