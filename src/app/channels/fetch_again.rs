//! `channel fetch-again`.

use anyhow::ensure;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use sqlx::Connection;
use uuid::Uuid;

use super::find;
use crate::{
    app::{counted::counted, erasures, failure, keys},
    config::StorageConfig,
    records::{
        database_clock,
        refetch::{self, Period},
    },
};

/// A channel and a period of days in UTC.
#[derive(clap::Args, Debug, Clone)]
pub struct FetchAgain {
    /// The channel's slug
    slug: String,
    /// Only files that were sent on or after this day (UTC, YYYY-MM-DD)
    #[arg(long, value_parser = day)]
    from: Option<NaiveDate>,
    /// Only files that were sent on or before this day (UTC, YYYY-MM-DD)
    #[arg(long, value_parser = day)]
    to: Option<NaiveDate>,
}

fn day(text: &str) -> Result<NaiveDate, String> {
    erasures::day(text).map_err(|error| failure::in_words(&error))
}

/// Queues the failed and gone files of a channel, which were sent in a period, to be fetched again by the running
/// service. Files above the channel's limit are left out.
///
/// # Errors
/// There is no such channel, the period ends before it begins, or the database cannot be used.
pub async fn fetch_again(
    storage: &StorageConfig,
    given: &FetchAgain,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    if let (Some(from), Some(to)) = (given.from, given.to) {
        ensure!(from <= to, "--from {from} is after --to {to}");
    }
    let period = Period {
        from: given.from.map(beginning),
        until: given
            .to
            .and_then(|day| day.checked_add_days(Days::new(1)))
            .map(beginning),
    };
    keys::with_attested(storage, async |db, keyring| {
        let channel = find(db, keyring, &given.slug).await?;
        // The worker goes by the database's time: with this machine's, jobs would wait for as long as its clock is ahead.
        let now = database_clock::read(db).await?;
        let mut files = 0;
        let mut next = Some(Uuid::nil());
        while let Some(after) = next {
            let mut tx = db.begin().await?;
            let batch = refetch::retry_period(&mut tx, channel, period, after, now).await?;
            tx.commit().await?;
            files += batch.files;
            next = batch.next;
        }
        say(&match files {
            0 => "No file is missing that can be fetched again.".to_owned(),
            _ => format!(
                "A running service fetches {} again.",
                counted(files, "file")
            ),
        });
        Ok(())
    })
    .await
}

/// The moment at which a day begins in UTC.
fn beginning(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}
