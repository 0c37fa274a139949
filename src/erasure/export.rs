//! A copy for a person of what is kept of them: a zip with `data.json` and `media/…`, sealed like every other object.
//!
//! It is written as it is read, a piece at a time; nothing of it is ever on a disk unsealed. Its object is on record before
//! the first byte. If something in it is erased while it is made, its end finds that it is not wanted any more; then its
//! object is taken away, and another one is made.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions, write::StreamWriter};

use crate::{
    clock::Clock,
    objects::{self, ObjectKey, Objects, Writer},
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
}

impl Exports {
    /// Takes its handles.
    pub fn new(pool: PgPool, clock: Clock, keyring: Keyring, objects: Objects) -> Self {
        Self {
            pool,
            clock,
            keyring,
            objects,
        }
    }

    /// Makes the exports that are asked for, and ends those whose time is over. Returns how many.
    ///
    /// # Errors
    /// The first one; that export is made anew another time.
    pub async fn work(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let mut conn = self.pool.acquire().await?;
        let over = exports::expire(&mut conn, now - KEPT, now).await?;
        let tasks = exports::due(&mut conn).await?;
        drop(conn);
        let mut done = usize::try_from(over).unwrap_or(usize::MAX);
        for task in tasks {
            done += 1;
            match self.make(&task).await {
                Ok(()) | Err(Error::Withdrawn) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
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
        for (name, object) in media {
            self.media(&name, &object, &mut file).await?;
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
            let (mut from, mut first) = ((Uuid::nil(), DateTime::UNIX_EPOCH), true);
            let mut seen: Vec<Uuid> = vec![];
            loop {
                let found = match events {
                    false => subjects::messages(&mut conn, task, until, from, MANY).await?,
                    true => subjects::events(&mut conn, task, until, from, MANY).await?,
                };
                // Those at the very time where the last page ended come again.
                let ids: Vec<Uuid> = found.iter().map(|one| one.id).collect();
                let new: Vec<Uuid> = ids
                    .iter()
                    .filter(|id| !seen.contains(id))
                    .copied()
                    .collect();
                for (item, value) in self.items(&mut conn, &new, events).await? {
                    file.put(if first { b"\n" } else { b",\n" }).await?;
                    first = false;
                    let mut value = value;
                    if let Some(object) = item.original_key {
                        let name = name(&item.kind, &item.line_id);
                        value["file"] = json!(name);
                        media.push((name, object));
                    }
                    file.put(value.to_string().as_bytes()).await?;
                }
                match found.last() {
                    Some(last) if !new.is_empty() => {
                        from = (last.conversation_id, last.occurred_at)
                    }
                    _ => break,
                }
                seen = ids;
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

/// An export on its way into the bucket.
struct Out<'a> {
    exports: &'a Exports,
    key: ObjectKey,
    zip: ZipWriter<StreamWriter<Pipe>>,
    pipe: Pipe,
    sealer: Sealer,
    writer: Writer,
    renewed: DateTime<Utc>,
}

impl Out<'_> {
    fn begin(&mut self, name: &str) -> Result<(), Error> {
        // Media is compressed as it is.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(true);
        Ok(self.zip.start_file(name, options)?)
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.zip.write_all(bytes)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let now = self.exports.clock.now();
        if now >= self.renewed + RENEW {
            let mut conn = self.exports.pool.acquire().await?;
            if !rows::renew(&mut conn, self.key, now + LEASE).await? {
                return Err(Error::Withdrawn);
            }
            self.renewed = now;
        }
        let sealed = self.sealer.push(&self.pipe.take())?;
        match sealed.is_empty() {
            true => Ok(()),
            false => Ok(self.writer.write(sealed).await?),
        }
    }

    async fn finish(mut self) -> Result<(), Error> {
        self.zip.finish()?;
        let rest: Bytes = self.sealer.push(&self.pipe.take())?;
        if !rest.is_empty() {
            self.writer.write(rest).await?;
        }
        self.writer.write(self.sealer.finish()?).await?;
        Ok(self.writer.finish().await?)
    }
}

/// What the zip has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Pipe {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
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

/// LINE's ids are digits, but nobody has promised it.
fn name(kind: &str, id: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    let ending = match kind {
        "image" => "jpg",
        "video" => "mp4",
        "audio" => "m4a",
        _ => "bin",
    };
    format!("media/{id}.{ending}")
}
