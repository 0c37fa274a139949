//! `channel add | list | rotate-secret | limit | fetch-again | remove`.

use anyhow::{Context, bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use super::{ask, keys};
use crate::{
    clock::Clock,
    config::{Credentials, StorageConfig},
    media::LARGEST_MIB,
    records::{
        attested::Found,
        channels::{self, ChannelSecrets},
    },
    seal::Keyring,
    web::typed,
};

mod credentials;
mod fetch_again;
mod list;

pub use fetch_again::{FetchAgain, fetch_again};
pub use list::list;

/// Longest name of a channel, in characters.
const LONGEST_NAME: usize = 100;

/// Parses a new channel's slug: 1 to 63 of `a-z`, `0-9` and `-`, not beginning with `-`.
///
/// # Errors
/// It has another form.
pub fn slug(text: &str) -> anyhow::Result<String> {
    let form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !text.is_empty() && text.len() <= 63 && !text.starts_with('-') && text.chars().all(form),
        "a slug has up to 63 of a-z, 0-9 and -, and does not begin with -"
    );
    Ok(text.to_owned())
}

/// Parses a new channel's name: one line of 1 to 100 characters.
///
/// # Errors
/// It is blank, longer than 100 characters or has hidden characters.
pub fn name(text: &str) -> anyhow::Result<String> {
    typed::line(text, LONGEST_NAME).context("the name cannot be taken")
}

/// Parses the largest size of one file: a whole number of MiB, from 1 to [`LARGEST_MIB`].
///
/// # Errors
/// It is something else.
pub fn mib(text: &str) -> anyhow::Result<u32> {
    let read = text.parse::<u32>().ok();
    let read = read.filter(|mib| (1..=LARGEST_MIB).contains(mib));
    read.with_context(|| {
        format!(
            "write the largest size of one file as a whole number of MiB, from 1 to {LARGEST_MIB}"
        )
    })
}

/// Adds a channel. Credentials that the environment does not contain are asked for, or read from standard input: first
/// the secret, then the token. A taken slug is refused before the prompts. `slug` and `name` have been parsed by
/// [`slug()`] and [`name()`].
///
/// # Errors
/// The slug is taken, no secret is given, the secret or the token is that of another channel, or the database cannot be
/// used.
pub async fn add(
    storage: &StorageConfig,
    slug: &str,
    name: Option<&str>,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let name = name.unwrap_or(slug);
    let piped = ask::if_piped(|| credentials::for_new(given))?;
    keys::with_attested(storage, async |db, keyring| {
        let is_taken = channels::known(db, slug).await?.is_some();
        ensure!(!is_taken, taken_message(slug));
        let (secret, token) = match piped {
            Some(read) => read,
            None => credentials::for_new(given)?,
        };
        let now = Clock::system().now();
        let mut tx = db.begin().await?;
        channels::lock_secrets(&mut tx).await?;
        let mut others = vec![who_has(&mut tx, keyring, Given::Secret(&secret)).await?];
        if let Some(token) = &token {
            others.push(who_has(&mut tx, keyring, Given::Token(token)).await?);
        }
        if let Some(other) = others.into_iter().flatten().next() {
            bail!(
                "this is the secret or the access token of the channel {other}, and each of LINE's channels has its own: \
                 {UNCHANGED}"
            );
        }
        let token = token.as_ref();
        let added = channels::add(&mut tx, keyring, slug, name, &secret, token, now).await?;
        tx.commit().await?;
        ensure!(added.is_some(), taken_message(slug));
        say(&format!(
            "Added. Its webhook path is /webhook/{slug}; a running service knows it within a second."
        ));
        Ok(())
    })
    .await
}

fn taken_message(slug: &str) -> String {
    format!("the slug {slug} is taken, or was by a channel that is removed: choose another one")
}

/// Adds a channel secret beside the present ones, or with `finish` deletes all but the newest. A given access token
/// replaces the present one. If only a token is given, the secrets stay as they are.
///
/// # Errors
/// There is no such channel, nothing is given, the secret or the token is that of another channel, or the database
/// cannot be used.
pub async fn rotate_secret(
    storage: &StorageConfig,
    slug: &str,
    finish: bool,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let piped = match finish {
        // A secret in the environment is most likely an old one or another channel's, so it is not used.
        true => Some((None, None)),
        false => ask::if_piped(|| credentials::for_rotation(given))?,
    };
    if finish && (given.secret()?.is_some() || given.token()?.is_some()) {
        say(
            "With --finish no secret and no token is taken: those in the environment were not used.",
        );
    }
    keys::with_attested(storage, async |db, keyring| {
        // A person is told of a wrong slug before the prompts.
        find(db, keyring, slug).await?;
        let (secret, token) = match piped {
            Some(read) => read,
            None => credentials::for_rotation(given)?,
        };
        let rotation = Rotation {
            slug,
            secret,
            token,
            finish,
        };
        let mut tx = db.begin().await?;
        channels::lock_secrets(&mut tx).await?;
        let said = rotation.apply(&mut tx, keyring).await?;
        tx.commit().await?;
        for line in &said {
            say(line);
        }
        Ok(())
    })
    .await
}

/// The changes to a channel's credentials.
struct Rotation<'a> {
    slug: &'a str,
    secret: Option<SecretString>,
    token: Option<SecretString>,
    /// Deletes all secrets but the newest.
    finish: bool,
}

impl Rotation<'_> {
    /// Makes the changes, and returns a line about each.
    async fn apply(&self, db: &mut PgConnection, keyring: &Keyring) -> anyhow::Result<Vec<String>> {
        let id = find(db, keyring, self.slug).await?;
        let mut said = vec![];
        if let Some(token) = &self.token {
            said.push(self.replace_token(db, keyring, id, token).await?);
            if self.secret.is_none() {
                said.push("The channel's secrets stay as they are.".to_owned());
            }
        }
        if let Some(secret) = &self.secret {
            said.push(self.add_secret(db, keyring, id, secret).await?);
        }
        if self.finish {
            let dropped = channels::drop_old_secrets(db, id).await?;
            said.push(format!(
                "Dropped {dropped}; the newest secret alone is valid. Press Verify in LINE's console now: if it fails, that \
                 secret is mistyped, and `channel rotate-secret {}` takes the right one.",
                self.slug
            ));
        }
        Ok(said)
    }

    async fn replace_token(
        &self,
        db: &mut PgConnection,
        keyring: &Keyring,
        id: i32,
        token: &SecretString,
    ) -> anyhow::Result<String> {
        let slug = self.slug;
        match who_has(db, keyring, Given::Token(token)).await? {
            Some(other) if other == slug => {
                ensure!(
                    self.secret.is_some(),
                    "{slug} has this access token already: {UNCHANGED}"
                );
                Ok("The channel has this access token already.".to_owned())
            }
            Some(other) => bail!("this is the access token of the channel {other}: {UNCHANGED}"),
            None => {
                channels::set_token(db, keyring, id, token).await?;
                Ok("Access token replaced.".to_owned())
            }
        }
    }

    async fn add_secret(
        &self,
        db: &mut PgConnection,
        keyring: &Keyring,
        id: i32,
        secret: &SecretString,
    ) -> anyhow::Result<String> {
        let slug = self.slug;
        match who_has(db, keyring, Given::Secret(secret)).await? {
            Some(other) if other == slug => {
                ensure!(
                    self.token.is_some(),
                    "{slug} has this secret already: {UNCHANGED}"
                );
                Ok("The channel has this secret already.".to_owned())
            }
            Some(other) => bail!("this is the secret of the channel {other}: {UNCHANGED}"),
            None => {
                let now = Clock::system().now();
                channels::add_secret(db, keyring, id, secret, now).await?;
                Ok(
                    "Secret added. Old secrets stay valid until `rotate-secret --finish`."
                        .to_owned(),
                )
            }
        }
    }
}

/// Sets the largest size, in MiB, up to which a channel's files are stored; `None`: the archive's own limit.
///
/// # Errors
/// There is no such channel, or the database cannot be used.
pub async fn limit(
    storage: &StorageConfig,
    slug: &str,
    mib: Option<u32>,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    keys::with_attested(storage, async |db, keyring| {
    let id = find(db, keyring, slug).await?;
    channels::limit(db, id, mib.map(|mib| i64::from(mib) << 20)).await?;
    say(&match mib {
        Some(mib) => format!(
            "Files above {mib} MiB are not fetched from now on. Operators can have one fetched after all, where it is shown."
        ),
        None => format!("Files are kept up to {LARGEST_MIB} MiB."),
    });
        Ok(())
    })
    .await
}

/// Removes a channel; its conversations stay readable.
///
/// # Errors
/// There is no such channel, or the database cannot be used.
pub async fn remove(storage: &StorageConfig, slug: &str, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    keys::with_attested(storage, async |db, keyring| {
    let mut tx = db.begin().await?;
    // Without this lock a rotation that has already found the channel could give it a secret and a token again.
    channels::lock_secrets(&mut tx).await?;
    let id = find(&mut tx, keyring, slug).await?;
    channels::remove(&mut tx, id, Clock::system().now()).await?;
    tx.commit().await?;
    say(
        "Removed: its webhooks are refused, its secrets and token deleted. Its conversations stay readable.",
    );
        Ok(())
    })
    .await
}

/// The database id of a channel that is not removed.
///
/// # Errors
/// No channel has this slug, or its row was not written by this program.
pub(super) async fn find(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
) -> anyhow::Result<i32> {
    if let Found::Yes(id) = channels::find(db, keyring, slug).await? {
        return Ok(id);
    }
    let id = find_any(db, keyring, slug).await?;
    let removed = channels::list_all(db).await?.into_iter();
    let removed = removed
        .filter(|one| one.id == id)
        .find_map(|one| one.removed_at);
    match removed {
        Some(at) => bail!(
            "the channel {slug} was removed at {}: its conversations can be read, and nothing else",
            at.format("%F %H:%M UTC")
        ),
        None => Ok(id),
    }
}

/// As [`find`], but for a removed channel too: its conversations can be read.
///
/// # Errors
/// As [`find`].
pub(super) async fn find_any(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
) -> anyhow::Result<i32> {
    match channels::find_any(db, keyring, slug).await? {
        Found::Yes(id) => Ok(id),
        Found::No => bail!("there is no channel {slug}: `channel list` lists them"),
        Found::Forged => bail!(
            "the database's row of channel {slug} was not written by this program. If you restored a backup of an \
             earlier version, see `line-chat-archive attest`; else somebody has written to the database"
        ),
    }
}

/// End of the error messages about credentials that a channel has already.
const UNCHANGED: &str = "nothing was changed. If LINE_CHANNEL_SECRET or LINE_CHANNEL_ACCESS_TOKEN is set in this shell, unset \
                         both to be asked, or set those of this channel";

/// A channel secret or an access token, as LINE's console shows it.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    Secret(&'a SecretString),
    Token(&'a SecretString),
}

/// The slug of the channel that has this secret or access token; `None` if no channel has it.
pub(super) async fn who_has(
    db: &mut PgConnection,
    keyring: &Keyring,
    given: Given<'_>,
) -> anyhow::Result<Option<String>> {
    match given {
        Given::Secret(secret) => {
            let all = channels::all_secrets(db, keyring).await?;
            let sought = secret.expose_secret().as_bytes();
            let has = |channel: &ChannelSecrets| {
                let mut secrets = channel.secrets.iter();
                secrets.any(|secret| secret.expose_secret() == sought)
            };
            Ok(all.into_iter().find(has).map(|channel| channel.slug))
        }
        Given::Token(token) => {
            for channel in channels::list(db).await? {
                let found = channels::token(db, keyring, channel.id).await;
                // A token that cannot be opened counts as another one.
                let found = found.ok().flatten();
                if found.is_some_and(|found| found.expose_secret() == token.expose_secret()) {
                    return Ok(Some(channel.slug));
                }
            }
            Ok(None)
        }
    }
}
