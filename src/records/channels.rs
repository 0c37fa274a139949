//! Channels, their secrets and tokens. Secrets leave this file only as [`SecretSlice`] and [`SecretString`].

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sqlx::{FromRow, PgConnection};

use super::{
    attested::{Found, channel_facts},
    locks,
};
use crate::seal::{Keyring, SealContext};

/// A channel as pages and commands show it.
#[derive(FromRow, Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The archive's own number.
    pub id: i32,
    /// The part of the webhook URL that names the channel.
    pub slug: String,
    /// Name that operators gave it.
    pub name: String,
    /// True if it has an access token, so that media and profiles can be fetched.
    pub has_token: bool,
    /// Number of valid channel secrets.
    pub secrets: i64,
    /// When LINE last refused the token.
    pub token_refused_at: Option<DateTime<Utc>>,
    /// When a delivery was last stored, to within a minute.
    pub last_webhook_at: Option<DateTime<Utc>>,
    /// Largest original that is kept, in bytes; `None`: the archive's own limit.
    pub largest_file: Option<i64>,
    /// When it was removed; `None`: it was not.
    pub removed_at: Option<DateTime<Utc>>,
    /// Its active retention rules, such as `image 30 days, text 90 days`; `None`: no rule is active.
    pub rules: Option<String>,
}

/// All channels that are not removed, by slug.
pub async fn list(db: &mut PgConnection) -> sqlx::Result<Vec<Channel>> {
    let mut channels = list_all(db).await?;
    channels.retain(|channel| channel.removed_at.is_none());
    Ok(channels)
}

/// All channels by slug, removed ones at the end.
pub async fn list_all(db: &mut PgConnection) -> sqlx::Result<Vec<Channel>> {
    sqlx::query_as(
        "select id, slug, name, access_token is not null as has_token, token_refused_at, last_webhook_at, largest_file,
                removed_at, (select count(*) from channel_secret s where s.channel_id = channel.id) as secrets,
                (select string_agg(kind || ' ' || days || ' days', ', ' order by kind) from retention_rule r
                 where r.channel_id = channel.id and switched_on_at is not null and switched_off_at is null) as rules
         from channel order by removed_at is not null, slug",
    )
    .fetch_all(db)
    .await
}

/// A channel and the secrets with which the webhook handler verifies signatures.
pub struct ChannelSecrets {
    /// The channel.
    pub channel_id: i32,
    /// Its slug.
    pub slug: String,
    /// Its channel secrets, the newest first.
    pub secrets: Vec<SecretSlice<u8>>,
}

/// The secrets of all channels that are not removed. A secret that cannot be opened, because it was sealed with another
/// secret key, is left out, and an error is logged.
pub async fn all_secrets(
    db: &mut PgConnection,
    keyring: &Keyring,
) -> sqlx::Result<Vec<ChannelSecrets>> {
    let rows: Vec<(i32, String, Vec<Vec<u8>>)> = sqlx::query_as(
        "select c.id, c.slug, array_agg(s.secret order by s.added_at desc)
         from channel c join channel_secret s on s.channel_id = c.id
         where c.removed_at is null group by c.id",
    )
    .fetch_all(db)
    .await?;
    let secrets_of = |(channel_id, slug, secrets): (i32, String, Vec<Vec<u8>>)| {
        ChannelSecrets {
        channel_id,
        slug,
        secrets: secrets
            .into_iter()
            .filter_map(|sealed| {
                let opened = keyring
                    .secrets()
                    .open(SealContext::ChannelSecret(channel_id), &sealed);
                if opened.is_err() {
                    tracing::error!(
                        channel = channel_id,
                        "a channel secret cannot be opened: it was sealed with another key than SECRET_KEY_FILE"
                    );
                }
                opened.ok().map(SecretSlice::from)
            })
            .collect(),
    }
    };
    Ok(rows.into_iter().map(secrets_of).collect())
}

/// Takes a lock that only one transaction can hold, until the transaction ends. Callers take it before they check
/// whether another channel has the same secret or token, and hold it until the secret is added.
pub async fn lock_secrets(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(locks::CHANNEL_SECRETS)
        .execute(db)
        .await
        .map(drop)
}

/// Adds a channel with its first secret. `None` if the slug is taken, even by a removed channel: the messages in that
/// channel's conversations came from another channel.
pub async fn add(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
    name: &str,
    secret: &SecretString,
    token: Option<&SecretString>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i32>> {
    let id: Option<i32> = sqlx::query_scalar(
        "insert into channel (slug, name, created_at) values ($1, $2, $3) on conflict do nothing returning id",
    )
    .bind(slug)
    .bind(name)
    .bind(now)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(id) = id {
        attest(db, keyring, id, slug).await?;
        add_secret(db, keyring, id, secret, now).await?;
        if let Some(token) = token {
            set_token(db, keyring, id, token).await?;
        }
    }
    Ok(id)
}

fn seal(
    keyring: &Keyring,
    context: SealContext<'_>,
    secret: &SecretString,
) -> sqlx::Result<Vec<u8>> {
    let sealed = keyring
        .secrets()
        .seal(context, secret.expose_secret().as_bytes());
    sealed.map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Adds a secret beside those that are valid.
pub async fn add_secret(
    db: &mut PgConnection,
    keyring: &Keyring,
    channel_id: i32,
    secret: &SecretString,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("insert into channel_secret (channel_id, secret, added_at) values ($1, $2, $3)")
        .bind(channel_id)
        .bind(seal(
            keyring,
            SealContext::ChannelSecret(channel_id),
            secret,
        )?)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes all secrets but the newest. Returns how many.
pub async fn drop_old_secrets(db: &mut PgConnection, channel_id: i32) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from channel_secret where channel_id = $1
         and added_at < (select max(added_at) from channel_secret where channel_id = $1)",
    )
    .bind(channel_id)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Sets the access token and clears LINE's refusal of the earlier one, so that the channel's jobs run again.
pub async fn set_token(
    db: &mut PgConnection,
    keyring: &Keyring,
    channel_id: i32,
    token: &SecretString,
) -> sqlx::Result<()> {
    sqlx::query(
        "update channel set access_token = $2, token_refused_at = null,
             paused_until = case when token_refused_at is null then paused_until end where id = $1",
    )
    .bind(channel_id)
    .bind(seal(keyring, SealContext::AccessToken(channel_id), token)?)
    .execute(db)
    .await?;
    Ok(())
}

/// The channel access token; `None`: the channel has none. A token that cannot be opened, because it was sealed with
/// another secret key, is an error: jobs that need it are tried again with back-off.
pub async fn token(
    db: &mut PgConnection,
    keyring: &Keyring,
    channel_id: i32,
) -> sqlx::Result<Option<SecretString>> {
    let bytes: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("select access_token from channel where id = $1")
            .bind(channel_id)
            .fetch_optional(db)
            .await?;
    let Some(sealed) = bytes.flatten() else {
        return Ok(None);
    };
    let context = SealContext::AccessToken(channel_id);
    let opened = keyring.secrets().open(context, &sealed);
    let opened = opened.map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(String::from_utf8(opened).ok().map(SecretString::from))
}

/// Sets the largest original that the channel keeps, in bytes; `None`: the archive's own limit.
pub async fn limit(db: &mut PgConnection, id: i32, bytes: Option<i64>) -> sqlx::Result<()> {
    sqlx::query("update channel set largest_file = $2 where id = $1")
        .bind(id)
        .bind(bytes)
        .execute(db)
        .await?;
    Ok(())
}

/// The number of a channel, removed or not.
pub async fn known(db: &mut PgConnection, slug: &str) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar("select id from channel where slug = $1")
        .bind(slug)
        .fetch_optional(db)
        .await
}

/// The slugs of channels, removed or not.
pub async fn slugs(db: &mut PgConnection, ids: &[i32]) -> sqlx::Result<Vec<(i32, String)>> {
    sqlx::query_as("select id, slug from channel where id = any($1)")
        .bind(ids)
        .fetch_all(db)
        .await
}

/// As [`find`], but for a removed channel too.
pub async fn find_any(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
) -> sqlx::Result<Found<i32>> {
    found(
        db,
        keyring,
        slug,
        "select id, mac from channel where slug = $1",
    )
    .await
}

/// The number of a channel that is not removed. [`Found::Forged`] if its MAC is missing or wrong: a database writer may
/// have given the slug to another channel.
///
/// Webhooks do not need this check: a channel's secrets are sealed for its number, so an exchanged slug leads to 401.
pub async fn find(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
) -> sqlx::Result<Found<i32>> {
    let query = "select id, mac from channel where slug = $1 and removed_at is null";
    found(db, keyring, slug, query).await
}

async fn found(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
    query: &'static str,
) -> sqlx::Result<Found<i32>> {
    let row: Option<(i32, Option<Vec<u8>>)> =
        sqlx::query_as(query).bind(slug).fetch_optional(db).await?;
    Ok(match row {
        None => Found::No,
        Some((id, mac)) if is_genuine(keyring, id, slug, mac.as_deref()) => Found::Yes(id),
        Some(_) => Found::Forged,
    })
}

fn is_genuine(keyring: &Keyring, id: i32, slug: &str, mac: Option<&[u8]>) -> bool {
    let facts = channel_facts(id, slug);
    mac.is_some_and(|mac| keyring.attestation().verify(&facts, mac))
}

async fn attest(db: &mut PgConnection, keyring: &Keyring, id: i32, slug: &str) -> sqlx::Result<()> {
    sqlx::query("update channel set mac = $2 where id = $1")
        .bind(id)
        .bind(keyring.attestation().mac(&channel_facts(id, slug)))
        .execute(db)
        .await
        .map(drop)
}

/// The slugs of channels whose MAC is missing or wrong.
pub(super) async fn unattested(
    db: &mut PgConnection,
    keyring: &Keyring,
) -> sqlx::Result<Vec<String>> {
    let mut rows: Vec<(i32, String, Option<Vec<u8>>)> =
        sqlx::query_as("select id, slug, mac from channel order by slug")
            .fetch_all(db)
            .await?;
    rows.retain(|(id, slug, mac)| !is_genuine(keyring, *id, slug, mac.as_deref()));
    Ok(rows.into_iter().map(|(_, slug, _)| slug).collect())
}

/// Writes a MAC for every channel, over the row as it is.
pub(super) async fn accept_all(db: &mut PgConnection, keyring: &Keyring) -> sqlx::Result<()> {
    let rows: Vec<(i32, String)> = sqlx::query_as("select id, slug from channel")
        .fetch_all(&mut *db)
        .await?;
    for (id, slug) in rows {
        attest(db, keyring, id, &slug).await?;
    }
    Ok(())
}

/// Removes a channel: its secrets and token are deleted, its webhooks refused; its conversations stay.
pub async fn remove(
    db: &mut PgConnection,
    channel_id: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from channel_secret where channel_id = $1")
        .bind(channel_id)
        .execute(&mut *db)
        .await?;
    sqlx::query("update channel set removed_at = $2, access_token = null where id = $1")
        .bind(channel_id)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

/// Records that deliveries of these channels were stored at `now`.
pub async fn record_last_webhook(
    db: &mut PgConnection,
    channel_ids: &[i32],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update channel set last_webhook_at = $2 where id = any($1)")
        .bind(channel_ids)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}
