//! `channel add | list | rotate-secret | limit | remove`.

use anyhow::{Context, bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use super::{ask, keys};
use crate::{
    clock::Clock,
    config::{Credentials, Places, access_token, channel_secret},
    media::LARGEST_MIB,
    records::{
        attested::Found,
        channels::{self, Door},
        jobs,
    },
    seal::Keyring,
    web::typed,
};

mod list;

pub use list::list;

/// Characters of a channel's name.
const LONGEST_NAME: usize = 100;

/// Reads a new channel's slug: up to 63 of `a-z`, `0-9` and `-`.
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

/// Reads a new channel's name.
///
/// # Errors
/// It is blank, longer than 100 characters or has hidden characters.
pub fn name(text: &str) -> anyhow::Result<String> {
    typed::line(text, LONGEST_NAME).context("the name cannot be taken")
}

/// Adds a channel. What the environment does not say is asked for, or read from standard input: the secret, then the token.
/// `slug` and `name` were read by [`slug()`] and [`name()`].
///
/// # Errors
/// The slug is taken, no secret is given, or it is that of another channel, or the database cannot be used.
pub async fn add(
    places: &Places,
    slug: &str,
    name: Option<&str>,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let name = name.unwrap_or(slug);
    let (secret, token) = for_new(given)?;
    keys::with_attested(places, async |db, keyring| {
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
        ensure!(
            added.is_some(),
            "the slug {slug} is taken, or was by a channel that is removed"
        );
        say(&format!(
            "Added. Its webhook path is /webhook/{slug}; a running service knows it within a second."
        ));
        Ok(())
    })
    .await
}

/// Secret and token of a new channel. With the secret in the environment and no terminal standard input is not read: it may
/// be somebody else's, of a loop in a script, say.
fn for_new(given: &Credentials) -> anyhow::Result<(SecretString, Option<SecretString>)> {
    let (secret, token) = (given.secret()?, given.token()?);
    let asks = secret.is_none() || ask::at_terminal();
    let secret = match secret {
        Some(secret) => secret,
        None => {
            let typed = filled(ask::secret("Channel secret: ")?);
            channel_secret(typed.with_context(|| format!("no channel secret was given: {HOW}"))?)?
        }
    };
    let token = match token {
        None if asks => filled(ask::secret("Channel access token (empty: add it later): ")?),
        token => token,
    };
    Ok((secret, token.map(access_token).transpose()?))
}

/// How secrets are given.
const HOW: &str = "set LINE_CHANNEL_SECRET and LINE_CHANNEL_ACCESS_TOKEN, or write them to standard input, the secret as the \
                   first line and the token as the second";

/// Adds a secret beside the present ones, or with `finish` drops all but the newest. A given access token replaces the
/// present one; given alone, the secrets stay as they are.
///
/// # Errors
/// There is no such channel, nothing is given, or the database cannot be used.
pub async fn rotate_secret(
    places: &Places,
    slug: &str,
    finish: bool,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let (secret, token) = match finish {
        // A secret in the environment is most likely the one that was given before, or another channel's.
        true => (None, None),
        false => for_rotation(given)?,
    };
    if finish && (given.secret()?.is_some() || given.token()?.is_some()) {
        say(
            "With --finish no secret and no token is taken: those in the environment were not used.",
        );
    }
    keys::with_attested(places, async |db, keyring| {
        let mut tx = db.begin().await?;
        channels::lock_secrets(&mut tx).await?;
        let id = find(&mut tx, keyring, slug).await?;
        let mut said = vec![];
        if let Some(token) = &token {
            let other = who_has(&mut tx, keyring, Given::Token(token)).await?;
            match other {
                Some(other) if other == slug => {
                    ensure!(
                        secret.is_some(),
                        "{slug} has this access token already: {UNCHANGED}"
                    );
                    said.push("The channel has this access token already.".to_owned());
                }
                Some(other) => {
                    bail!("this is the access token of the channel {other}: {UNCHANGED}")
                }
                None => {
                    channels::set_token(&mut tx, keyring, id, token).await?;
                    said.push("Access token replaced.".to_owned());
                }
            }
            if secret.is_none() {
                said.push("The channel's secrets stay as they are.".to_owned());
            }
        }
        if let Some(secret) = &secret {
            match who_has(&mut tx, keyring, Given::Secret(secret)).await? {
                Some(other) if other == slug => {
                    ensure!(
                        token.is_some(),
                        "{slug} has this secret already: {UNCHANGED}"
                    );
                    said.push("The channel has this secret already.".to_owned());
                }
                Some(other) => bail!("this is the secret of the channel {other}: {UNCHANGED}"),
                None => {
                    let now = Clock::system().now();
                    channels::add_secret(&mut tx, keyring, id, secret, now).await?;
                    said.push(
                        "Secret added. Old secrets stay valid until `rotate-secret --finish`."
                            .to_owned(),
                    );
                }
            }
        }
        if finish {
            let dropped = channels::drop_old_secrets(&mut tx, id).await?;
            said.push(format!(
                "Dropped {dropped}; the newest secret alone is valid."
            ));
        }
        tx.commit().await?;
        for line in &said {
            say(line);
        }
        Ok(())
    })
    .await
}

/// A channel's new secret and token: from the environment, else typed.
fn for_rotation(
    given: &Credentials,
) -> anyhow::Result<(Option<SecretString>, Option<SecretString>)> {
    let (secret, token) = (given.secret()?, given.token()?);
    if secret.is_some() || token.is_some() {
        return Ok((secret, token));
    }
    let secret = ask::secret("New channel secret (empty: keep the present ones): ")?;
    let secret = filled(secret).map(channel_secret).transpose()?;
    let token = ask::secret("New channel access token (empty: keep the present one): ")?;
    let token = filled(token).map(access_token).transpose()?;
    ensure!(
        secret.is_some() || token.is_some(),
        "neither was given, and nothing was changed: {HOW}. An empty line keeps what there is"
    );
    Ok((secret, token))
}

/// Says up to how many MiB a file of a channel is kept; `None`: up to the archive's own limit.
///
/// # Errors
/// There is no such channel, or the database cannot be used.
pub async fn limit(
    places: &Places,
    slug: &str,
    mib: Option<u32>,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    keys::with_attested(places, async |db, keyring| {
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
pub async fn remove(places: &Places, slug: &str, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    keys::with_attested(places, async |db, keyring| {
    let mut tx = db.begin().await?;
    // A rotation that has found the channel would give it a secret and a token again.
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

/// The number of a channel that is not removed.
///
/// # Errors
/// No channel has this slug, or its row was not written by this program.
pub(super) async fn find(
    db: &mut PgConnection,
    keyring: &Keyring,
    slug: &str,
) -> anyhow::Result<i32> {
    match channels::find(db, keyring, slug).await? {
        Found::Yes(id) => Ok(id),
        Found::No => {
            let mut channels = channels::list_all(db).await?.into_iter();
            let removed = channels.find_map(|one| one.removed_at.filter(|_| one.slug == slug));
            match removed {
                Some(at) => bail!(
                    "the channel {slug} was removed at {}: its conversations can be read, and nothing else",
                    at.format("%F %H:%M UTC")
                ),
                None => bail!("there is no channel {slug}: `channel list` lists them"),
            }
        }
        Found::Forged => bail!(
            "the database's row of channel {slug} was not written by this program. If you restored a backup of an \
             earlier version, see `line-chat-archive attest`; else somebody has written to the database"
        ),
    }
}

/// The end of a refusal.
const UNCHANGED: &str = "nothing was changed. If LINE_CHANNEL_SECRET or LINE_CHANNEL_ACCESS_TOKEN is set in this shell, unset \
                         both to be asked, or set those of this channel";

/// A secret or token as LINE's console gives it.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    Secret(&'a SecretString),
    Token(&'a SecretString),
}

/// The slug of the channel that has a secret or an access token, if one has.
pub(super) async fn who_has(
    db: &mut PgConnection,
    keyring: &Keyring,
    given: Given<'_>,
) -> anyhow::Result<Option<String>> {
    match given {
        Given::Secret(secret) => {
            let doors = channels::doors(db, keyring).await?;
            let sought = secret.expose_secret().as_bytes();
            let has = |door: &Door| {
                let mut secrets = door.secrets.iter();
                secrets.any(|secret| secret.expose_secret() == sought)
            };
            Ok(doors.into_iter().find(has).map(|door| door.slug))
        }
        Given::Token(token) => {
            for channel in channels::list(db).await? {
                let found = jobs::token(db, keyring, channel.id).await;
                // One that cannot be opened is another.
                let found = found.ok().flatten();
                if found.is_some_and(|found| found.expose_secret() == token.expose_secret()) {
                    return Ok(Some(channel.slug));
                }
            }
            Ok(None)
        }
    }
}

fn filled(secret: SecretString) -> Option<SecretString> {
    Some(secret).filter(|secret| !secret.expose_secret().is_empty())
}
