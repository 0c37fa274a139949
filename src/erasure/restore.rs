//! Replays erasures after a restore. A database that was restored from a backup is older than the copies of the ledger.
//! Everything that was erased since the backup is erased again before any page can show it, and the ledger continues
//! where the copies end.

mod compare;

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use self::compare::{missing_records, signed_part};
use super::copies::{self, CopiedCheckpoint, Copies};
use crate::{
    clock::Clock,
    ledger::{Hash, Kind, Record, tree::leaf_hash},
    objects::{Objects, Shard},
    records::{
        channels,
        erasures::{self, Cause, Erased, NewErasure},
        holds, keys,
        ledger::{self, Checkpoint},
        messages::{self, Mention, Ref},
        objects,
        subjects::{self, Task},
    },
    watchdog,
};

/// Records replayed in one transaction.
const BATCH_RECORDS: usize = 200;

/// Why the service must not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A copy of the ledger cannot be read, or is damaged.
    #[error(transparent)]
    Copies(#[from] copies::Error),
    /// The ledger in the database is not the beginning of the signed one.
    #[error(
        "the ledger in the database contradicts its signed copy at {0}: it was altered, or belongs to another archive. \
         Nothing was changed. `erasures verify` says where"
    )]
    Contradicted(String),
    /// A record of the copies is not of a form that this version knows.
    #[error(
        "a record in the copies of the ledger cannot be read: it was written by a newer version"
    )]
    Record,
}

/// Replays the erasures whose records the copies have and the database lacks. Returns how many erasures that were; 0 if
/// no record is missing.
///
/// # Errors
/// The database or a copy fails, or they contradict each other. The port must not be opened then, because pages might
/// show erased messages.
pub async fn replay(pool: &PgPool, clock: &Clock, copies: &Copies) -> Result<usize, Error> {
    let (sound, damaged) = copies.sound().await?;
    let mut conn = pool.acquire().await?;
    if let Some(error) = damaged {
        // The damaged copy may have been newer than the sound ones, and the database restored: then erased messages would be shown.
        let newest = ledger::newest_checkpoint(&mut conn).await?;
        let is_known = |copied: &CopiedCheckpoint| {
            newest
                .as_ref()
                .is_some_and(|newest| newest.note == copied.note)
        };
        if !sound.first().is_some_and(|(copied, _)| is_known(copied)) {
            return Err(error.into());
        }
        tracing::error!(%error, "a copy of the ledger cannot be used; another copy agrees with the database");
    }
    if sound.is_empty() {
        return Ok(0);
    }
    let mut tree = signed_part(&mut conn, &sound).await?;
    let records = missing_records(&sound, &tree).await?;
    let leaves: Vec<Hash> = records.iter().map(|record| leaf_hash(record)).collect();
    let now = clock.now();
    let mut erased = 0;
    let requested = requested(&records);
    if !records.is_empty() {
        // In parts, because a restored archive may have millions.
        for shard in Shard::all() {
            keys::may_be_gone(&mut conn, shard.prefix()).await?;
            objects::may_be_gone(&mut conn, shard.prefix()).await?;
            watchdog::progress();
        }
    }
    drop(conn);
    for (records, leaves) in records
        .chunks(BATCH_RECORDS)
        .zip(leaves.chunks(BATCH_RECORDS))
    {
        let mut tx = pool.begin().await?;
        erased += erase(&mut tx, records, &requested, now).await?;
        ledger::append(&mut tx, tree.size(), records, leaves, None, now).await?;
        tx.commit().await?;
        leaves.iter().for_each(|leaf| tree.push(*leaf));
    }
    keep_checkpoints(pool, &sound, now).await?;
    Ok(erased)
}

/// Inserts the checkpoints of the copies that a restored database lacks: it would take the copies for those of another
/// ledger.
async fn keep_checkpoints(
    pool: &PgPool,
    sound: &[(CopiedCheckpoint, Objects)],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut conn = pool.acquire().await?;
    for (copied, _) in sound.iter().rev() {
        if !ledger::has_signed(&mut conn, copied.size, &copied.root).await? {
            let checkpoint = Checkpoint {
                size: i64::try_from(copied.size).unwrap_or(i64::MAX),
                root: copied.root.to_vec(),
                note: copied.note.clone(),
                made_at: now,
            };
            ledger::insert_checkpoint(&mut conn, &checkpoint).await?;
        }
    }
    Ok(())
}

/// An erasure that has to be done again, from its record in the ledger.
struct ReplayedErasure {
    channel_id: i32,
    record: Record,
}

impl ReplayedErasure {
    /// The `nth` word, from 0, of the record's trigger: an id or a reason.
    fn word(&self, nth: usize) -> Option<&str> {
        self.record.trigger.as_deref()?.split(' ').nth(nth)
    }

    fn id(&self, nth: usize) -> Uuid {
        let word = self.word(nth).unwrap_or_default();
        word.parse().unwrap_or_default()
    }

    fn cause(&self) -> Cause<'_> {
        match self.record.cause.as_deref() {
            Some("retention") => Cause::Retention(self.id(0)),
            Some("subject") => Cause::Subject(self.id(0)),
            Some("operator") => Cause::Operator(self.id(0), self.word(1).unwrap_or("other")),
            _ => Cause::Unsend,
        }
    }

    fn requested_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let asked = self.record.asked_at;
        asked
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(now)
    }

    fn erasure<'a>(
        &'a self,
        erased: Erased<'a>,
        target: Uuid,
        now: DateTime<Utc>,
    ) -> NewErasure<'a> {
        let unsend = matches!(self.cause(), Cause::Unsend);
        NewErasure {
            id: self.record.erasure,
            channel_id: self.channel_id,
            erased,
            target,
            conversation_id: self.record.conversation,
            webhook_event_id: self.word(0).filter(|_| unsend),
            requested_at: self.requested_at(now),
        }
    }

    /// The erasure of the message `message_id`; `None` if `refs` does not have it.
    fn erasure_of_message<'a>(
        &'a self,
        message_id: &'a str,
        refs: &[Ref],
        now: DateTime<Utc>,
    ) -> Option<NewErasure<'a>> {
        let found = refs
            .iter()
            .find(|found| found.channel_id == self.channel_id && found.message_id == message_id)?;
        let mut erasure = self.erasure(Erased::Message(message_id), found.id, now);
        erasure.conversation_id = found.conversation_id;
        Some(erasure)
    }
}

/// Ids of the erasures that have a `Requested` record.
fn requested(records: &[Vec<u8>]) -> HashSet<Uuid> {
    let records = records.iter().filter_map(|bytes| Record::parse(bytes));
    let requested = records.filter(|record| record.kind == Kind::Requested);
    requested.map(|record| record.erasure).collect()
}

async fn erase(
    db: &mut PgConnection,
    records: &[Vec<u8>],
    requested: &HashSet<Uuid>,
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    let asked = erasures_to_replay(db, records, requested).await?;
    holds::enter(db).await?;
    let refs = lock_message_refs(db, &asked, now).await?;
    let Plan {
        withheld,
        groups,
        people,
    } = Plan::new(&asked, &refs, now);
    // The message is withheld if the backup has the hold; otherwise it is erased like any unsend.
    super::erase(db, &withheld, Cause::Unsend, now).await?;
    for group in groups.into_values() {
        erase_group(db, group, now).await?;
    }
    for person in people {
        erase_person(db, person, now).await?;
    }
    Ok(asked.len())
}

/// The erasures that the records ask for, ordered by channel and message id.
async fn erasures_to_replay(
    db: &mut PgConnection,
    records: &[Vec<u8>],
    requested: &HashSet<Uuid>,
) -> Result<Vec<ReplayedErasure>, Error> {
    let mut asked = vec![];
    for bytes in records {
        let record = Record::parse(bytes).ok_or(Error::Record)?;
        // A message that was withheld and erased later is replayed as erased.
        let counts = match record.kind {
            Kind::Requested => true,
            Kind::Withheld => !requested.contains(&record.erasure),
            _ => false,
        };
        let Some(slug) = record.channel.as_ref().filter(|_| counts) else {
            continue;
        };
        // A channel that is not in the backup has no content there.
        if let Some(channel_id) = channels::known(db, slug).await? {
            asked.push(ReplayedErasure { channel_id, record });
        }
    }
    asked.sort_by(|one, other| {
        let key =
            |replayed: &ReplayedErasure| (replayed.channel_id, replayed.record.message_id.clone());
        key(one).cmp(&key(other))
    });
    Ok(asked)
}

/// Inserts or locks the `message_ref` rows of the messages in the records, with the tombstones of those that were
/// unsent.
async fn lock_message_refs(
    db: &mut PgConnection,
    asked: &[ReplayedErasure],
    now: DateTime<Utc>,
) -> Result<Vec<Ref>, Error> {
    let mut mentions: Vec<Mention<'_>> = asked
        .iter()
        .filter_map(|replayed| {
            Some(Mention {
                channel_id: replayed.channel_id,
                message_id: replayed.record.message_id.as_deref()?,
                conversation_id: replayed.record.conversation,
                occurred_at: None,
                unsent_at: matches!(replayed.cause(), Cause::Unsend)
                    .then(|| replayed.requested_at(now)),
            })
        })
        .collect();
    mentions.dedup_by(|one, other| {
        (one.channel_id, one.message_id) == (other.channel_id, other.message_id)
    });
    match mentions.is_empty() {
        true => Ok(vec![]),
        false => Ok(messages::lock_message_refs(db, &mentions).await?),
    }
}

/// The erasures of one batch of records, by the way in which they are done.
#[derive(Default)]
struct Plan<'a> {
    withheld: Vec<NewErasure<'a>>,
    /// Messages and events, by channel, cause and trigger: those of a group are erased together.
    groups: BTreeMap<(i32, &'a str, &'a str), Group<'a>>,
    people: Vec<&'a ReplayedErasure>,
}

type Group<'a> = Vec<(&'a ReplayedErasure, NewErasure<'a>)>;

impl<'a> Plan<'a> {
    fn new(asked: &'a [ReplayedErasure], refs: &[Ref], now: DateTime<Utc>) -> Self {
        let mut plan = Self::default();
        for replayed in asked {
            let record = &replayed.record;
            match (&record.message_id, record.event) {
                (Some(message_id), _) => {
                    let Some(erasure) = replayed.erasure_of_message(message_id, refs, now) else {
                        continue;
                    };
                    match record.kind {
                        Kind::Withheld => plan.withheld.push(erasure),
                        _ => plan.add_to_group(replayed, erasure),
                    }
                }
                (None, Some(event)) => {
                    plan.add_to_group(replayed, replayed.erasure(Erased::Event, event, now));
                }
                (None, None) => plan.people.push(replayed),
            }
        }
        plan
    }

    fn add_to_group(&mut self, replayed: &'a ReplayedErasure, erasure: NewErasure<'a>) {
        let record = &replayed.record;
        let unsend = matches!(replayed.cause(), Cause::Unsend);
        let trigger = record.trigger.as_deref().filter(|_| !unsend);
        let group = (
            replayed.channel_id,
            record.cause.as_deref().unwrap_or_default(),
            trigger.unwrap_or_default(),
        );
        self.groups
            .entry(group)
            .or_default()
            .push((replayed, erasure));
    }
}

async fn erase_group(
    db: &mut PgConnection,
    group: Group<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let Some((first, _)) = group.first() else {
        return Ok(());
    };
    let (cause, channel_id) = (first.cause(), first.channel_id);
    let ids: Vec<&str> = group
        .iter()
        .filter_map(|(replayed, _)| replayed.record.message_id.as_deref())
        .collect();
    if !matches!(cause, Cause::Unsend) {
        messages::insert_tombstones(db, channel_id, &ids, cause.word(), now).await?;
    }
    let erasures: Vec<_> = group.into_iter().map(|(_, erasure)| erasure).collect();
    super::erase_again(db, &erasures, cause, now).await
}

/// Erases what is known of a contact.
async fn erase_person(
    db: &mut PgConnection,
    replayed: &ReplayedErasure,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let task = Task {
        id: replayed.id(0),
        channel_id: replayed.channel_id,
        contact_id: replayed.id(1),
        erase_requested_at: Some(replayed.requested_at(now)),
    };
    let person = replayed.erasure(Erased::Person, task.contact_id, now);
    let done = erasures::insert(db, &[person], replayed.cause(), now).await?;
    for one in &done {
        subjects::empty(db, &task, one, now).await?;
    }
    super::append_replayed_record(db, &done, now).await
}
