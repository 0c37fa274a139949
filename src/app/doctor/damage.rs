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
    records::{
        lost_objects,
        refetch::{self, GivenUp},
        scrubs,
    },
    seal::{self, Keyring},
};

/// Keys that are read at most, how many at once, and for how long.
const MOST_KEYS: i64 = 20_000;
const AT_ONCE: usize = 16;
const READ_FOR: Duration = Duration::from_secs(10);

/// Names of damaged files that one line has at most.
const MOST_NAMES: i64 = 10;

const LOST_KEYS: &str = "the conversations that they are for cannot be read: look at the disk, and at who could write there. A \
     file that is put back as it was is used again; `keys lost` gives them up";

pub(super) async fn check(db: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Vec<Finding>> {
    let keys = keys(db, keyring).await?;
    let report = scrubs::report(db).await?;
    let scrub = match (report.keys_at, report.objects_at) {
        (Some(keys), Some(objects)) => Finding::ok(format!(
            "last scrub: all keys at {}; all objects at {}, {} of {} MiB",
            keys.format("%F %T UTC"),
            objects.format("%F %T UTC"),
            counted(report.objects, "object"),
            report.bytes >> 20
        )),
        _ => Finding::ok("no scrub of all keys and objects has ended yet"),
    };
    let mut known = scrubs::damaged_keys(db, MOST_NAMES).await?;
    known.dedup_by_key(|id| keyring.file_of(*id));
    let files: Vec<String> = known.iter().map(|id| keyring.file_of(*id)).collect();
    let damaged = scrubs::damaged_objects(db, MOST_NAMES).await?;
    let objects: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    Ok(vec![
        given_up(refetch::count_given_up(db).await?),
        keys,
        scrub,
        lost(lost_objects::count_lost(db).await?),
        Finding::if_any(
            &files,
            "the scrub knows of no damaged key",
            Level::Bad,
            &format!(
                "the scrub has found {} missing or damaged, in the keyring's",
                counted(report.damaged_keys, "key")
            ),
            LOST_KEYS,
        ),
        Finding::if_any(
            &objects,
            "the scrub knows of no missing or damaged object",
            Level::Bad,
            &format!(
                "{} missing or damaged, among them",
                counted(report.damaged_objects, "object")
            ),
            "LINE no longer has them, or they are being fetched again. A copy of the objects, put back, is noticed within six hours",
        ),
    ])
}

/// `lost` objects have to be purged and are missing; erasures wait for `awaited` of them.
fn lost((lost, awaited): (i64, i64)) -> Finding {
    let level = match (lost, awaited) {
        (0, _) => return Finding::ok("no object that has to be purged is missing"),
        (_, 0) => Level::Warning,
        _ => Level::Bad,
    };
    Finding::new(
        level,
        format!(
            "{} to be purged, missing in the object store; erasures wait for {awaited}",
            counted(lost, "object")
        ),
        "if a directory of the object store was moved aside, put it back: its objects are then deleted. `objects lost` names them and \
         gives them up",
    )
}

/// The files that were given up, which no page of a conversation counts.
fn given_up(GivenUp { gone, failed }: GivenUp) -> Finding {
    if gone + failed == 0 {
        return Finding::ok("no file was given up");
    }
    let all = match gone + failed {
        1 => "1 file was given up".to_owned(),
        all => format!("{all} files were given up"),
    };
    Finding::new(
        // No fault of the installation, and often for good.
        Level::Ok,
        format!("{all}: {gone} no longer at LINE, {failed} could not be fetched"),
        "their messages are kept. The dashboard's page Missing files names the conversations; `channel fetch-again` asks for \
         the files again",
    )
}

/// Reads as many keys as the time allows, and names the files of those that are missing or damaged.
async fn keys(db: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<Finding> {
    let now = Clock::system().now();
    let keys = scrubs::keys(db, Uuid::nil(), MOST_KEYS, now).await?;
    let all = keys.len();
    let mut read = stream::iter(keys)
        .map(async |key| (key, keyring.verify(key.id).await))
        .buffer_unordered(AT_ONCE);
    let (end, mut well, mut damaged) = (Instant::now() + READ_FOR, 0_usize, BTreeMap::new());
    while let Ok(Some((key, outcome))) = timeout_at(end, read.next()).await {
        match outcome {
            Ok(()) => well += 1,
            Err(seal::Error::NoKey) if !key.is_expected => well += 1,
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
    let most = usize::try_from(MOST_NAMES).unwrap_or_default();
    let more = damaged.len().saturating_sub(most);
    let names: Vec<&str> = damaged.keys().take(most).map(String::as_str).collect();
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
        LOST_KEYS,
    ))
}
