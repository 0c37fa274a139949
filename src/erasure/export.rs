//! A copy for a person of what is kept of them: a zip with `data.json` and `media/…`, sealed like every other object.
//!
//! It is written as it is read, a piece at a time; nothing of it is ever on a disk unsealed. Its object is on record before
//! the first byte. If something in it is erased while it is made, its end finds that it is not wanted any more; then its
//! object is taken away, and another one is made.

mod out;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use zip::ZipWriter;

use self::out::{Out, Pipe};
use crate::{
    clock::Clock,
    objects::{self, ObjectKey, Objects},
    records::{
        exports::{self, Item},
        keys, objects as rows,
        subjects::{self, Task},
        timeline,
    },
    seal::{
        self, Keyring, Place, key_of,
        stream::{self, Sealer},
    },
};

/// How long an export can be downloaded.
const KEPT: TimeDelta = TimeDelta::days(7);
/// An export that was not written to for this long is made anew.
const LEASE: Duration = Duration::from_secs(60);
/// A lease is renewed when it is this old.
const RENEW: TimeDelta = TimeDelta::seconds(10);
/// An export that failed is tried again after this time: each attempt writes all of it.
const AGAIN: TimeDelta = TimeDelta::seconds(60);
/// Messages read at a time.
const MANY: i64 = 200;

/// What failed on our side. Says nothing of any content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The bucket.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] seal::Error),
    /// The archive could not be put together.
    #[error("the zip could not be written")]
    Zip,
    /// Something in it was erased while it was made.
    #[error("the export is not wanted any more")]
    Withdrawn,
}

impl Error {
    /// True if a file can be read no more, and no other attempt will change that.
    fn is_final(&self) -> bool {
        match self {
            Self::Objects(error) => {
                matches!(error, objects::Error::NotFound | objects::Error::Corrupt)
            }
            Self::Keyring(error) => error.is_final(),
            _ => false,
        }
    }
}

impl From<zip::result::ZipError> for Error {
    fn from(_: zip::result::ZipError) -> Self {
        Self::Zip
    }
}

impl From<io::Error> for Error {
    fn from(_: io::Error) -> Self {
        Self::Zip
    }
}

/// Makes exports. Clones share everything.
#[derive(Clone, Debug)]
pub struct Exports {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    objects: Objects,
    /// Requests whose export has failed here, and when it is tried again.
    failed: Arc<Mutex<HashMap<Uuid, DateTime<Utc>>>>,
}

impl Exports {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring, objects: Objects) -> Self {
        Self {
            pool,
            clock,
            keyring,
            objects,
            failed: Arc::default(),
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<Uuid, DateTime<Utc>>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the exports that are asked for, and ends those whose time is over. Returns how many.
    ///
    /// # Errors
    /// The first one, after all others were tried: a bucket that fails for one person's file keeps nobody else waiting.
    /// That export is made anew after [`AGAIN`].
    pub async fn work(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let over = exports::expire(&mut conn, now - KEPT, now).await?;
        let tasks = exports::due(&mut conn).await?;
        drop(conn);
        let (mut done, mut failed) = (usize::try_from(over).unwrap_or(usize::MAX), None);
        self.failed().retain(|_, again| *again > now);
        for task in tasks {
            if self.failed().contains_key(&task.id) {
                continue;
            }
            done += 1;
            match self.make(&task).await {
                Ok(()) | Err(Error::Withdrawn) => {}
                Err(error @ Error::Database(_)) => return Err(error),
                Err(error) => {
                    self.failed().insert(task.id, now + AGAIN);
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(done), Err)
    }

    async fn make(&self, task: &Task) -> Result<(), Error> {
        let key = ObjectKey::new();
        match self.write(task, key).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let mut conn = self.pool.acquire().await?;
                rows::discard(&mut conn, key, self.clock.now()).await?;
                Err(error)
            }
        }
    }

    async fn write(&self, task: &Task, key: ObjectKey) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !exports::begin(&mut tx, task.id, key).await? {
            return Err(Error::Withdrawn);
        }
        let taken = keys::key_for(&mut tx, &self.keyring, task.id, 1, now).await?;
        let (data_key, head) = taken.key.new_data_key()?;
        rows::begin(&mut tx, key, None, &head, now, now + LEASE).await?;
        tx.commit().await?;
        self.keyring.claimed(task.id, taken.key.id());

        let pipe = Pipe::default();
        let mut file = Out {
            exports: self,
            key,
            zip: ZipWriter::new_stream(pipe.clone()),
            pipe,
            sealer: Sealer::new(&data_key, Place::Object(&key.to_string())),
            writer: self.objects.put(key).await?,
            renewed: now,
        };
        let media = self.data(task, &mut file).await?;
        let mut missing = vec![];
        for (name, object) in media {
            match self.media(&name, &object, &mut file).await {
                Err(error) if error.is_final() => missing.push(name),
                done => done?,
            }
        }
        if !missing.is_empty() {
            file.begin("missing.txt")?;
            let list = missing.join("\n");
            let text = format!("These files could not be read, or not to their end:\n{list}\n");
            file.put(text.as_bytes()).await?;
        }
        file.finish().await?;

        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !exports::finish(&mut tx, task.id, key, now).await?
            || !rows::keep(&mut tx, key, now).await?
        {
            return Err(Error::Withdrawn);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Writes `data.json`, and says which objects belong under which names.
    async fn data(&self, task: &Task, file: &mut Out<'_>) -> Result<Vec<(String, String)>, Error> {
        let mut conn = self.pool.acquire().await?;
        let person = exports::person(&mut conn, &self.keyring, task).await?;
        let memberships = exports::memberships(&mut conn, task).await?;
        let mut media = vec![];
        let picture = person.picture_key.map(|key| {
            media.push(("media/picture.jpg".to_owned(), key));
            "media/picture.jpg"
        });
        let head = json!({
            "user_id": person.user_id,
            "follows": person.follows,
            "first_seen_at": person.first_seen_at,
            "profile": document(person.profile.as_deref()),
            "picture": picture,
            "memberships": memberships.iter().map(|one| json!({
                "kind": one.kind, "id": one.source_id, "present": one.present, "since": one.changed_at,
            })).collect::<Vec<_>>(),
        });
        file.begin("data.json")?;
        file.put(format!("{{\"person\":{head},\n\"messages\":[").as_bytes())
            .await?;
        let until = self.clock.now();
        for events in [false, true] {
            if events {
                file.put(b"],\n\"events\":[").await?;
            }
            let (mut from, mut first) = (subjects::START, true);
            loop {
                let found = match events {
                    false => subjects::messages(&mut conn, task, until, from, MANY).await?,
                    true => subjects::events(&mut conn, task, until, from, MANY).await?,
                };
                let Some(last) = found.last() else {
                    break;
                };
                from = last.end();
                let ids: Vec<Uuid> = found.iter().map(|one| one.id).collect();
                for (item, value) in self.items(&mut conn, &ids, events).await? {
                    file.put(if first { b"\n" } else { b",\n" }).await?;
                    first = false;
                    let mut value = value;
                    if let Some(object) = &item.original_key {
                        let name = name(&item);
                        value["file"] = json!(name);
                        media.push((name, object.clone()));
                    }
                    file.put(value.to_string().as_bytes()).await?;
                }
            }
        }
        file.put(b"]}\n").await?;
        Ok(media)
    }

    async fn items(
        &self,
        conn: &mut sqlx::PgConnection,
        ids: &[Uuid],
        events: bool,
    ) -> Result<Vec<(Item, Value)>, Error> {
        let items = match events {
            true => exports::events(conn, &self.keyring, ids).await?,
            false => exports::messages(conn, ids).await?,
        };
        let mut revisions = match events {
            true => vec![],
            false => timeline::revisions(conn, &self.keyring, ids).await?,
        };
        let values = items.into_iter().map(|item| {
            let said: Vec<Value> = revisions
                .extract_if(.., |revision| revision.message_id == item.id)
                .map(|revision| {
                    json!({
                        "at": revision.occurred_at,
                        "edited": revision.edited,
                        "event": document(revision.content.as_deref()),
                    })
                })
                .collect();
            let mut value = json!({
                "id": item.line_id,
                "kind": item.kind,
                "at": item.occurred_at,
                "received_at": item.received_at,
                "in": { "kind": item.place, "id": item.source_id },
            });
            match events {
                true => value["event"] = document(item.content.as_deref()),
                false => value["revisions"] = json!(said),
            }
            (item, value)
        });
        Ok(values.collect())
    }

    /// Puts one object into the zip. One that is gone by now was erased; the end finds that out.
    async fn media(&self, name: &str, object: &str, file: &mut Out<'_>) -> Result<(), Error> {
        let mut conn = self.pool.acquire().await?;
        let head = rows::head(&mut conn, object).await?;
        drop(conn);
        let (Some(key), Some(head)) = (ObjectKey::parse(object), head) else {
            return Ok(());
        };
        let wrapping = key_of(&head).ok_or(seal::Error::Unreadable)?;
        let data_key = self.keyring.find(wrapping).await?.open_data_key(&head)?;
        let (sealed, body) = self.objects.get(key, None).await?;
        let body = body.map(|piece| piece.map_err(Error::from));
        let all = 0..stream::plain_size(sealed);
        let plain = stream::open(&data_key, Place::Object(object), all, sealed, body);
        let mut plain = std::pin::pin!(plain);
        file.begin(name)?;
        while let Some(piece) = plain.next().await {
            file.put(&piece?).await?;
        }
        Ok(())
    }
}

/// JSON as it is; what is none, as text; what cannot be opened any more, as nothing.
fn document(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
    })
}

/// Under LINE's id. LINE's are digits, but nobody has promised it, and who has a channel's secret chooses: any other goes
/// under our own id, so that no two files have one name, which a zip refuses.
fn name(item: &Item) -> String {
    let id = &item.line_id;
    let is_lines = (1..=40).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    let id = match is_lines {
        true => id.clone(),
        false => item.id.to_string(),
    };
    let ending = match &*item.kind {
        "image" => "jpg",
        "video" => "mp4",
        "audio" => "m4a",
        _ => "bin",
    };
    format!("media/{id}.{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two entries of one name cannot be in a zip, and a channel's secret is enough to choose ids.
    #[test]
    fn no_two_files_of_an_export_have_one_name() {
        let long = "1".repeat(70_000);
        let ids = [
            "468789577898262530",
            "4687-89577898262530",
            "picture",
            "",
            "-",
            "１",
            "a",
            "A",
            &long,
        ];
        let names = (0..).zip(ids).map(|(n, id)| {
            let item = Item {
                id: Uuid::from_u128(n),
                line_id: id.to_owned(),
                kind: "image".to_owned(),
                occurred_at: DateTime::UNIX_EPOCH,
                received_at: DateTime::UNIX_EPOCH,
                place: "user".to_owned(),
                source_id: String::new(),
                original_key: None,
                content: None,
            };
            name(&item).to_ascii_lowercase()
        });
        let mut names: Vec<_> = names.collect();
        assert_eq!(names[0], "media/468789577898262530.jpg");
        assert!(names.iter().all(|name| name.len() < 100));
        names.push("media/picture.jpg".to_owned());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ids.len() + 1);
    }
}
