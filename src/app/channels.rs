//! `channel add | list | rotate-secret | limit | remove`.

use anyhow::{Context, bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

use super::{database::Database, keys};
use crate::{
    clock::Clock,
    config::{Credentials, Places},
    records::{
        attested::Found,
        channels::{self, Channel},
    },
    seal::Keyring,
    web::typed,
};

/// Characters of a channel's name.
const LONGEST_NAME: usize = 100;

/// Adds a channel. What the environment does not say is asked for.
///
/// # Errors
/// The slug is taken or of the wrong form, the name is blank, too long or has hidden characters, no secret is given, or the database cannot be used.
pub async fn add(
    places: &Places,
    slug: &str,
    name: Option<&str>,
    given: &Credentials,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !slug.is_empty() && slug.len() <= 63 && !slug.starts_with('-') && slug.chars().all(form),
        "a slug has up to 63 of a-z, 0-9 and -, and does not begin with -"
    );
    let name = match name {
        Some(name) => typed::line(name, LONGEST_NAME).context("the name cannot be taken")?,
        None => slug.to_owned(),
    };
    let secret = secret(given)?;
    let token = match given.token() {
        Some(token) => Some(token),
        None => ask("Channel access token (empty: add it later): ").ok(),
    };
    let token = token.filter(|token| !token.expose_secret().is_empty());
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let now = Clock::system().now();
    let keyring = keys::open_attested(places, &mut db).await?;
    let mut tx = db.begin().await?;
    let added = channels::add(&mut tx, &keyring, slug, &name, &secret, token.as_ref(), now).await?;
    tx.commit().await?;
    ensure!(
        added.is_some(),
        "the slug {slug} is taken, or was by a channel that is removed"
    );
    say(&format!(
        "Added. Its webhook path is /webhook/{slug}; a running service knows it within a second."
    ));
    drop(db);
    database.close().await
}

/// Lists the channels.
///
/// # Errors
/// The database cannot be used.
pub async fn list(places: &Places, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    for channel in channels::list(&mut db).await? {
        say(&line_of(&channel));
    }
    drop(db);
    database.close().await
}

/// One line, whatever somebody has written to the database.
fn line_of(channel: &Channel) -> String {
    let token = match (channel.has_token, channel.token_refused_at) {
        (false, _) => "no access token".to_owned(),
        (true, Some(at)) => format!("access token refused by LINE at {at}"),
        (true, None) => "access token".to_owned(),
    };
    let heard = channel
        .last_webhook_at
        .map_or("never".to_owned(), |at| at.to_string());
    format!(
        "{}\t{}\t{} secret(s)\t{token}\tlast webhook: {heard}",
        channel.slug.escape_debug(),
        channel.name.escape_debug(),
        channel.secrets
    )
}

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
    let token = given.token();
    let secret = match given.secret() {
        _ if finish => None,
        None if token.is_some() => None,
        _ => Some(secret(given)?),
    };
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let id = find(&mut db, &keyring, slug).await?;
    if let Some(secret) = secret {
        channels::add_secret(&mut db, &keyring, id, &secret, Clock::system().now()).await?;
        say("Secret added. Old secrets stay valid until `rotate-secret --finish`.");
    }
    if let Some(token) = token {
        channels::set_token(&mut db, &keyring, id, &token).await?;
        say("Access token replaced.");
    }
    if finish {
        let dropped = channels::drop_old_secrets(&mut db, id).await?;
        say(&format!(
            "Dropped {dropped}; the newest secret alone is valid."
        ));
    }
    drop(db);
    database.close().await
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
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let id = find(&mut db, &keyring, slug).await?;
    channels::limit(&mut db, id, mib.map(|mib| i64::from(mib) << 20)).await?;
    say(&match mib {
        Some(mib) => format!(
            "Files above {mib} MiB are not fetched from now on. Operators can have one fetched after all, where it is shown."
        ),
        None => "Files are kept up to 2048 MiB.".to_owned(),
    });
    drop(db);
    database.close().await
}

/// Removes a channel; its conversations stay readable.
///
/// # Errors
/// There is no such channel, or the database cannot be used.
pub async fn remove(places: &Places, slug: &str, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let id = find(&mut db, &keyring, slug).await?;
    let mut tx = db.begin().await?;
    channels::remove(&mut tx, id, Clock::system().now()).await?;
    tx.commit().await?;
    say(
        "Removed: its webhooks are refused, its secrets and token deleted. Its conversations stay readable.",
    );
    drop(db);
    database.close().await
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
        Found::No => bail!("there is no channel {slug}"),
        Found::Forged => bail!(
            "the database's row of channel {slug} was not written by this program. If you restored a backup of an \
             earlier version, see `line-chat-archive attest`; else somebody has written to the database"
        ),
    }
}

fn secret(given: &Credentials) -> anyhow::Result<SecretString> {
    let secret = match given.secret() {
        Some(secret) => secret,
        None => ask("Channel secret: ")?,
    };
    ensure!(
        !secret.expose_secret().is_empty(),
        "a channel secret is needed"
    );
    Ok(secret)
}

fn ask(prompt: &str) -> anyhow::Result<SecretString> {
    let answer = rpassword::prompt_password(prompt)
        .context("nothing to ask on: give LINE_CHANNEL_SECRET and LINE_CHANNEL_ACCESS_TOKEN")?;
    Ok(SecretString::from(answer.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_whatever_name_is_one_line() {
        let channel = Channel {
            id: 1,
            slug: "shop".to_owned(),
            name: "คุณ\n\u{1b}[2Jother\tname".to_owned(),
            has_token: false,
            secrets: 1,
            token_refused_at: None,
            last_webhook_at: None,
        };
        let line = line_of(&channel);
        assert!(
            line.starts_with("shop\tคุณ\\n\\u{1b}[2Jother\\tname\t1"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
