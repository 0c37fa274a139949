//! An archive without a webhook endpoint: a function writes the rows that the committer writes for a message.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use line_chat_archive::{
    MIGRATOR,
    clock::Clock,
    embedded::Scratch,
    erasure::keys::Keys,
    fake_line::{Channel, Event, FakeLine},
    line::client::LineApi,
    media::Reach,
    objects::{ObjectKey, Objects, Shard},
    records::{
        channels,
        media::{self, Attachment},
    },
    seal::{Keyring, SealContext},
    worker::Worker,
};
use sqlx::{PgPool, Postgres, Transaction, postgres::PgPoolOptions};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    keys::{keyring, opened, opened_object, written_of},
};

static TEMPLATE: OnceCell<()> = OnceCell::const_new();

pub(crate) struct Archive {
    pub(crate) line: FakeLine,
    pub(crate) shop: Channel,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) bucket: Bucket,
    pub(crate) keyring: Keyring,
    pub(crate) objects: Objects,
    pub(crate) worker: Worker,
    /// The directory of the keyring.
    dir: tempfile::TempDir,
    pub(crate) channel_id: i32,
}

impl Archive {
    pub(crate) async fn new() -> Self {
        let scratch = Scratch::shared().await.unwrap();
        TEMPLATE
            .get_or_init(async || {
                let options = scratch.create_database("worker").await.unwrap();
                let pool = PgPool::connect_with(options).await.unwrap();
                MIGRATOR.run(&pool).await.unwrap();
                pool.close().await;
            })
            .await;
        let options = scratch.create_database_from("worker").await.unwrap();
        let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
        let line = FakeLine::start().unwrap();
        let shop = line.channel("Shop");
        let clock = Clock::manual("2026-10-20T09:00:00Z".parse().unwrap());
        let bucket = Bucket::new().await;
        let objects = bucket.objects.clone();
        let dir = tempfile::tempdir().unwrap();
        let keyring = keyring(dir.path());
        let channel_id = sqlx::query_scalar(
            "insert into channel (slug, name) values ('shop', 'Shop') returning id",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        supply(&pool, &clock, &keyring).await;
        let url = Url::parse(line.url()).unwrap();
        let hosts = [url.clone(), url];
        let worker = worker(&pool, &clock, &keyring, &objects, hosts, Reach::Anywhere);
        let archive = Self {
            keyring,
            line,
            shop,
            pool,
            clock,
            bucket,
            objects,
            worker,
            dir,
            channel_id,
        };
        archive.has_token(archive.shop.access_token()).await;
        archive
    }

    /// The directory of the keyring.
    pub(crate) fn keyring_dir(&self) -> &std::path::Path {
        self.dir.path()
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
        let keyring = crate::keys::keyring(self.dir.path());
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

    /// Writes the rows that the committer writes for a message with a file. Returns the attachment's id.
    pub(crate) async fn receives(&self, event: &Event) -> Uuid {
        let json = event.value();
        let kind = json["message"]["type"].as_str().unwrap().to_owned();
        let provider = json["message"]["contentProvider"]["type"]
            .as_str()
            .unwrap_or("line");
        let (message, attachment, conversation) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
        let now = self.clock.now();
        let key = self.keyring.take(conversation, 1).unwrap().key;
        let content = key.seal(SealContext::Message(message), event.json().as_bytes());
        let previewed = kind == "image" || kind == "video";
        let mut tx = self.pool.begin().await.unwrap();
        sqlx::query(
            "insert into message (id, channel_id, message_id, conversation_id, kind, occurred_at)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(message)
        .bind(self.channel_id)
        .bind(event.message_id())
        .bind(conversation)
        .bind(&kind)
        .bind(now)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "insert into revision (message_id, webhook_event_id, occurred_at, edited, content)
             values ($1, $2, $3, false, $4)",
        )
        .bind(message)
        .bind(event.webhook_event_id())
        .bind(now)
        .bind(content.unwrap())
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "insert into attachment (id, message_id, channel_id, kind, provider, preview_state)
             values ($1, $2, $3, $4, $5, case when $6 then 'waiting' else 'none' end)",
        )
        .bind(attachment)
        .bind(message)
        .bind(self.channel_id)
        .bind(&kind)
        .bind(provider)
        .bind(previewed)
        .execute(&mut *tx)
        .await
        .unwrap();
        for (job, wanted) in [("original", true), ("preview", previewed)] {
            sqlx::query(
                "insert into job (kind, channel_id, attachment_id, run_at, asks_line, large, flow)
                 select $1, $2, $3, $4, $6 = 'line', $1 = 'original' and $7 in ('video', 'file'), hashtext($8)
                 where $5",
            )
            .bind(job)
            .bind(self.channel_id)
            .bind(attachment)
            .bind(now)
            .bind(wanted)
            .bind(provider)
            .bind(&kind)
            .bind(json["source"]["userId"].as_str())
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        attachment
    }

    /// Locks the attachment, as an unsend does that has begun.
    pub(crate) async fn holding(&self, attachment: Uuid) -> Transaction<'static, Postgres> {
        let mut tx = self.pool.begin().await.unwrap();
        sqlx::query("select from attachment where id = $1 for update")
            .bind(attachment)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx
    }

    /// Writes the rows that an unsend writes; returns the id of its erasure.
    pub(crate) async fn unsent(
        &self,
        mut tx: Transaction<'static, Postgres>,
        attachment: Uuid,
    ) -> Uuid {
        let erasure = Uuid::now_v7();
        let now = self.clock.now();
        sqlx::query(
            "with found as (
                 update object set state = 'purge', erasure_id = $1, next_attempt_at = $3
                 where attachment_id = $2 returning key)
             insert into erasure (id, channel_id, message_id, cause, requested_at, objects_found)
             select $1, m.channel_id, m.message_id, 'unsend', $3, (select count(*) from found)
             from message m join attachment a on a.message_id = m.id where a.id = $2",
        )
        .bind(erasure)
        .bind(attachment)
        .bind(now)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "delete from message where id = (select message_id from attachment where id = $1)",
        )
        .bind(attachment)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        erasure
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

    /// Checks that the bucket has `count` objects, that each has a row in the state `kept`, and that no other row
    /// exists.
    pub(crate) async fn holds_only(&self, count: usize) {
        let rows: Vec<(String, String)> =
            sqlx::query_as("select key, state from object order by key")
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

/// Yields to other tasks until `condition` holds.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it never came to be");
}

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
