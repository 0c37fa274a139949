//! Checks for damage: reads the keys now, and reports what the last scrub has found.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use sqlx::PgConnection;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Finding, Level};
use crate::{
    app::counted::counted,
    clock::Clock,
    records::scrubs,
    seal::{self, Keyring},
};

/// Keys that are read at most, how many at once, and for how long.
const MOST_KEYS: i64 = 20_000;
const AT_ONCE: usize = 16;
const READ_FOR: Duration = Duration::from_secs(10);

/// Names of damaged files that one line has at most.
const MOST_NAMES: usize = 10;

pub(super) async fn check(db: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Vec<Finding>> {
    let keys = keys(db, keyring).await?;
    let report = scrubs::report(db).await?;
    let scrub = match report.finished_at {
        None => Finding::ok("no scrub of all keys and objects has ended yet"),
        Some(at) => Finding::ok(format!(
            "last scrub at {}: {} and {} of {} MiB were read",
            at.format("%F %T UTC"),
            counted(report.keys, "key"),
            counted(report.objects, "object"),
            report.bytes >> 20
        )),
    };
    let objects = match report.damaged_objects {
        0 => Finding::ok("no object is known to be missing or damaged"),
        damaged => Finding::new(
            Level::Bad,
            format!("{} missing or damaged", counted(damaged, "object")),
            "LINE has not got them any more, or they are being fetched again. A copy of the objects, put back, is noticed \
             within six hours",
        ),
    };
    Ok(vec![keys, scrub, objects])
}

/// Reads as many keys as the time allows, and names the files of those that are missing or damaged.
async fn keys(db: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Finding> {
    let now = Clock::system().now();
    let keys = scrubs::keys(db, Uuid::nil(), MOST_KEYS).await?;
    let all = keys.len();
    let mut read = stream::iter(keys)
        .map(async |key| (key, keyring.verify(key.id).await))
        .buffer_unordered(AT_ONCE);
    let (end, mut well, mut damaged) = (Instant::now() + READ_FOR, 0_usize, BTreeMap::new());
    while let Ok(Some((key, outcome))) = timeout_at(end, read.next()).await {
        match outcome {
            Ok(()) => well += 1,
            Err(seal::Error::NoKey) if !key.is_expected(now) => well += 1,
            Err(error) if error.is_permanent() => {
                *damaged.entry(keyring.file_of(key.id)).or_insert(0_usize) += 1;
            }
            Err(error) => {
                let what = "the keys could not be read";
                return Ok(Finding::new(Level::Bad, what, error.to_string()));
            }
        }
    }
    if damaged.is_empty() {
        return Ok(Finding::ok(match well == all {
            true => format!("{} can be read", counted(well, "key")),
            false => format!(
                "{} can be read; the scrub reads the others",
                counted(well, "key")
            ),
        }));
    }
    let lost: usize = damaged.values().sum();
    let more = damaged.len().saturating_sub(MOST_NAMES);
    let names: Vec<&str> = damaged
        .keys()
        .take(MOST_NAMES)
        .map(String::as_str)
        .collect();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Ok(Finding::new(
        Level::Bad,
        format!(
            "{} missing or damaged, in the keyring's {}{more}",
            counted(lost, "key"),
            names.join(", ")
        ),
        "the conversations that they are for cannot be read: look at the disk, and at who could write there. A file that is put \
         back as it was is used again",
    ))
}
