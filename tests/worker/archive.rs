//! A world with a bucket that can be made to fail. Messages come through the webhook; unsends call `erasure::erase`.

use std::{ops::Deref, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use line_chat_archive::{
    clock::Clock,
    erasure::{self, keys::Keys},
    fake_line::Event,
    line::client::LineApi,
    media::Reach,
    objects::{ObjectKey, Objects, Shard},
    records::{
        channels,
        erasures::{self, Cause, NewErasure},
        holds,
        media::{self, Attachment},
    },
    seal::{Cipher, Keyring, SealContext},
    worker::Worker,
};
use sqlx::{PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    support::{
        keys::{keyring, opened, opened_object, written_of},
        world::{self, World},
    },
};

pub(crate) struct Archive {
    world: World,
    /// Connections as the owner of the database; the worker has its own, with fewer privileges.
    pub(crate) pool: PgPool,
    pub(crate) bucket: Bucket,
    pub(crate) objects: Objects,
    pub(crate) worker: Worker,
    pub(crate) channel_id: i32,
}

impl Deref for Archive {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Archive {
    pub(crate) async fn new() -> Self {
        let (home, database) = (TempDir::new().unwrap(), world::database().await.unwrap());
        let bucket = Bucket::new().await;
        let objects = bucket.objects.clone();
        let pool = PgPoolOptions::new().connect_lazy_with(database.clone());
        let world = World::with(home, database, Cipher::Sealed, |parts| {
            parts.objects = objects.clone();
        });
        let world = world.await.unwrap();
        let channel_id = sqlx::query_scalar("select id from channel")
            .fetch_one(&pool)
            .await
            .unwrap();
        Self {
            worker: world.service.worker.clone(),
            world,
            pool,
            bucket,
            objects,
            channel_id,
        }
    }

    /// Stops the service, and closes all connections: a test that makes many archives would otherwise take all that the server has.
    pub(crate) async fn stop(self) {
        self.pool.close().await;
        self.world.stop().await;
    }

    /// The directory of the keyring.
    pub(crate) fn keyring_dir(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Gives the channel an access token.
    pub(crate) async fn has_token(&self, token: String) {
        let mut conn = self.pool.acquire().await.unwrap();
        channels::set_token(&mut conn, &self.keyring, self.channel_id, &token.into())
            .await
            .unwrap();
    }

    /// Another worker on the same archive, with its own database connections.
    pub(crate) async fn another_worker(&self, reach: Reach) -> Worker {
        self.worker_with_data_host(self.line.url(), reach).await
    }

    pub(crate) async fn worker_with_data_host(&self, data: &str, reach: Reach) -> Worker {
        let options = (*self.pool.connect_options()).clone();
        let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
        let hosts = [self.line.url(), data].map(|url| Url::parse(url).unwrap());
        let keyring = keyring(self.home.path());
        supply(&pool, &self.clock, &keyring).await;
        worker(&pool, &self.clock, &keyring, &self.objects, hosts, reach)
    }

    pub(crate) async fn work(&self) -> usize {
        self.worker.run_until_idle().await.unwrap()
    }

    /// Runs the worker `times` times, and moves the clock by `step` before each run.
    pub(crate) async fn work_on(&self, times: u32, step: Duration) {
        for _ in 0..times {
            self.clock.advance(step);
            self.work().await;
        }
    }

    /// Receives a message with a file, without the jobs that fetch its sender's profile. Returns the attachment's id.
    pub(crate) async fn receives(&self, event: &Event) -> Uuid {
        self.deliver(std::slice::from_ref(event)).await.unwrap();
        sqlx::query("delete from job where attachment_id is null")
            .execute(&self.pool)
            .await
            .unwrap();
        let query = "select a.id from attachment a join message m on m.id = a.message_id where m.message_id = $1";
        sqlx::query_scalar(query)
            .bind(event.message_id())
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Locks the attachment, as an unsend does that has begun.
    pub(crate) async fn holding(&self, attachment: Uuid) -> Transaction<'static, Postgres> {
        let mut tx = self.pool.begin().await.unwrap();
        holds::enter(&mut tx).await.unwrap();
        let message: Uuid = sqlx::query_scalar("select message_id from attachment where id = $1")
            .bind(attachment)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        erasures::lock(&mut tx, &[message]).await.unwrap();
        tx
    }

    /// Unsends the message of the attachment in this transaction; returns the id of its erasure.
    pub(crate) async fn unsent(
        &self,
        mut tx: Transaction<'static, Postgres>,
        attachment: Uuid,
    ) -> Uuid {
        let (target, message_id, conversation): (Uuid, String, Uuid) = sqlx::query_as(
            "select m.id, m.message_id, m.conversation_id
             from message m join attachment a on a.message_id = m.id where a.id = $1",
        )
        .bind(attachment)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        let now = self.clock.now();
        let erasure = NewErasure {
            webhook_event_id: Some("unsend"),
            ..NewErasure::of(
                self.channel_id,
                conversation,
                target,
                Some(&message_id),
                now,
            )
        };
        let erased = erasure::erase(&mut tx, &[erasure], Cause::Unsend, now).await;
        assert_eq!(erased.unwrap(), 1);
        tx.commit().await.unwrap();
        erasure.id
    }

    pub(crate) async fn unsends(&self, attachment: Uuid) -> Uuid {
        let tx = self.holding(attachment).await;
        self.unsent(tx, attachment).await
    }

    pub(crate) async fn attachment(&self, id: Uuid) -> Attachment {
        let mut conn = self.pool.acquire().await.unwrap();
        media::attachment(&mut conn, id).await.unwrap().unwrap()
    }

    /// The state of both files and their reasons, such as `kept, failed unreadable`.
    pub(crate) async fn states(&self, attachment: Uuid) -> String {
        self.text(
            "select concat_ws(' ', original_state, original_reason) || ', '
                 || concat_ws(' ', preview_state, preview_reason) from attachment where id = $1",
            attachment,
        )
        .await
    }

    /// The text that a query returns for the row `id`.
    pub(crate) async fn text(&self, sql: &'static str, id: Uuid) -> String {
        sqlx::query_scalar(sql)
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn jobs(&self) -> i64 {
        self.count("select count(*) from job").await
    }

    pub(crate) async fn objects_gone_at(&self, erasure: Uuid) -> Option<DateTime<Utc>> {
        sqlx::query_scalar("select objects_gone_at from erasure where id = $1")
            .bind(erasure)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The bytes of an object, decrypted.
    pub(crate) async fn bytes(&self, key: Option<ObjectKey>) -> Bytes {
        let key = key.unwrap();
        let (_, body) = self.objects.get(key, None).await.unwrap();
        let chunks: Vec<Bytes> = body.try_collect().await.unwrap();
        let key = key.to_string();
        let head: Vec<u8> = sqlx::query_scalar("select sealed_key from object where key = $1")
            .bind(&key)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let plain = opened_object(&self.keyring, &key, &head, chunks.concat()).await;
        plain.unwrap().into()
    }

    /// A document, decrypted.
    pub(crate) async fn opened(&self, context: SealContext<'_>, sealed: &[u8]) -> Vec<u8> {
        opened(&self.keyring, context, sealed).await.unwrap()
    }

    /// The keys of all complete objects in the bucket.
    pub(crate) async fn listed(&self) -> Vec<ObjectKey> {
        self.objects.list(Shard::WHOLE).try_collect().await.unwrap()
    }

    /// Whether `bytes` bytes of an object have arrived and are written, encrypted, to an unfinished file in the bucket.
    pub(crate) fn has_written(&self, bytes: usize) -> bool {
        self.bucket.half_written() == written_of(bytes) as u64
    }

    /// The number of keys that are known to be missing or damaged.
    pub(crate) async fn damaged_keys(&self) -> i64 {
        let count = "select count(*) from keyring_key where damaged_at is not null";
        let count = sqlx::query_scalar(count).fetch_one(&self.pool);
        count.await.unwrap()
    }

    /// Checks that the bucket has `count` objects, that each has a row in the state `kept`, and that no other row
    /// exists.
    pub(crate) async fn holds_only(&self, count: usize) {
        let rows: Vec<(String, String)> =
            // A lost object keeps its row: it may come back.
            sqlx::query_as("select key, state from object where lost_at is null order by key")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let mut keys: Vec<String> = self
            .listed()
            .await
            .iter()
            .map(ToString::to_string)
            .collect();
        keys.sort();
        let kept: Vec<_> = keys
            .into_iter()
            .map(|key| (key, "kept".to_owned()))
            .collect();
        assert_eq!(rows, kept);
        assert_eq!(rows.len(), count);
        assert_eq!(self.bucket.files().await, count);
    }
}

pub(crate) use crate::support::until::until;

pub(crate) fn worker(
    pool: &PgPool,
    clock: &Clock,
    keyring: &Keyring,
    objects: &Objects,
    [api, data]: [Url; 2],
    reach: Reach,
) -> Worker {
    let line = LineApi::new(api, data).unwrap();
    let (pool, clock, keyring) = (pool.clone(), clock.clone(), keyring.clone());
    Worker::new(pool, clock, keyring, objects.clone(), line, reach).unwrap()
}

async fn supply(pool: &PgPool, clock: &Clock, keyring: &Keyring) {
    let keys = Keys::new(pool.clone(), clock.clone(), keyring.clone());
    keys.supply().await.unwrap();
}
