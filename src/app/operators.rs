//! `operator add | list | disable | enable | reset-password`, and `attest`.

use anyhow::{bail, ensure};

use super::{ask, channels, keys, table::table};
use crate::{
    clock::Clock,
    config::StorageConfig,
    records::{
        attest,
        attested::Found,
        login::Login,
        operators::{self, NewOperator},
    },
    web::{password, security_log},
};

/// Adds an operator. The password is read from standard input, or asked for. A taken login and an absent channel are
/// refused before the prompt.
///
/// # Errors
/// The login is taken or not valid, a channel does not exist, the password is too short, or the database or the secret
/// key cannot be used.
pub async fn add(
    storage: &StorageConfig,
    login: &str,
    role: &str,
    slugs: &[String],
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    Login::new(login)?;
    let piped = ask::if_piped(new_hash)?;
    let taken_message = || format!("the login {login} is taken");
    keys::with_attested(storage, async |db, keyring| {
        let mut ids = vec![];
        for slug in slugs {
            ids.push(channels::find_any(db, keyring, slug).await?);
        }
        let same = operators::disabled_at(db, keyring, login).await?;
        ensure!(same == Found::No, taken_message());
        let hash = match piped {
            Some(hash) => hash,
            None => new_hash()?,
        };
        let new = NewOperator {
            login,
            password_hash: &hash,
            role,
            channels: (!ids.is_empty()).then_some(&ids[..]),
        };
        let added = operators::add(db, keyring, &new, Clock::system().now()).await?;
        let Some(id) = added else {
            bail!(taken_message());
        };
        security_log::by_command("operator added", id);
        let sight = match slugs {
            [] => "all channels".to_owned(),
            slugs => slugs.join(", "),
        };
        say(&format!("Added {login}: role {role}, sees {sight}. They sign in on the dashboard with this password."));
        if !operators::any_admin(db).await? {
            say(
                "There is no administrator yet: use the link that `serve` prints at its start, or add one with --role admin.",
            );
        }
        Ok(())
    })
    .await
}

/// Reads a new password, and returns its hash.
fn new_hash() -> anyhow::Result<String> {
    Ok(password::hash(&ask::new_password()?)?)
}

/// Lists the operators.
///
/// # Errors
/// The database or the secret key cannot be used.
pub async fn list(storage: &StorageConfig, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    keys::with_attested(storage, async |db, keyring| {
        let rows: Vec<_> = operators::list(db, keyring)
            .await?
            .iter()
            .map(row)
            .collect();
        for line in table(["role", "channels", "state", "login"], &rows) {
            say(&line);
        }
        Ok(())
    })
    .await
}

fn row(operator: &operators::Operator) -> [String; 4] {
    let state = match operator.disabled_at {
        _ if !operator.is_genuine => "not written by this program: cannot sign in".to_owned(),
        Some(at) => format!("disabled at {}", at.format("%F %H:%M UTC")),
        None => "active".to_owned(),
    };
    [
        operator.role.escape_debug().to_string(),
        seen(operator.channels.as_deref()),
        state,
        operator.login.escape_debug().to_string(),
    ]
}

/// The channels that an operator sees, as text; `None`: all channels.
fn seen(channels: Option<&[String]>) -> String {
    channels.map_or("all channels".to_owned(), |slugs| slugs.join(","))
}

/// Disables an operator and ends their sessions.
///
/// # Errors
/// No operator has this login, they are disabled already, or the database or the secret key cannot be used.
pub async fn disable(
    storage: &StorageConfig,
    login: &str,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    keys::with_attested(storage, async |db, keyring| {
        let done = operators::disable(db, keyring, login, Clock::system().now()).await?;
        if done == Found::No
            && let Found::Yes(Some(at)) = operators::disabled_at(db, keyring, login).await?
        {
            bail!(
                "{login} is disabled already, since {}",
                at.format("%F %H:%M UTC")
            );
        }
        let id = changed(done, || {
            format!("there is no operator {login}: `operator list` lists them")
        })?;
        security_log::by_command("operator disabled", id);
        say("Disabled; their sessions have ended. `operator enable` takes it back.");
        if !operators::any_admin(db).await? {
            say(
                "There is no administrator now: the next start of `serve` prints a link that makes one, or add one with --role \
                 admin.",
            );
        }
        Ok(())
    })
    .await
}

/// Lets a disabled operator sign in again, with the password they had.
///
/// # Errors
/// No operator has this login, they are not disabled, or the database or the secret key cannot be used.
pub async fn enable(
    storage: &StorageConfig,
    login: &str,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    keys::with_attested(storage, async |db, keyring| {
        let done = operators::enable(db, keyring, login).await?;
        if done == Found::No
            && let Found::Yes(None) = operators::disabled_at(db, keyring, login).await?
        {
            bail!("{login} is not disabled");
        }
        let id = changed(done, || {
            format!("there is no operator {login}: `operator list` lists them")
        })?;
        security_log::by_command("operator enabled", id);
        say("Enabled: they can sign in with the password they had. `operator reset-password` gives another.");
        Ok(())
    })
    .await
}

/// Sets a new password and ends the operator's sessions.
///
/// # Errors
/// No operator has this login, the password is too short, or the database or the secret key cannot be used.
pub async fn reset_password(
    storage: &StorageConfig,
    login: &str,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let piped = ask::if_piped(new_hash)?;
    let absent = || format!("there is no operator {login}: `operator list` lists them");
    keys::with_attested(storage, async |db, keyring| {
        // A person is told of a wrong login before the prompt.
        changed(operators::disabled_at(db, keyring, login).await?, absent)?;
        let hash = match piped {
            Some(hash) => hash,
            None => new_hash()?,
        };
        let done = operators::set_password(db, keyring, login, &hash).await?;
        let id = changed(done, absent)?;
        security_log::by_command("password reset", id);
        say("Set; their sessions have ended.");
        let operators = operators::list(db, keyring).await?;
        let them = operators.iter().find(|operator| operator.id == id);
        if them.is_some_and(|operator| operator.disabled_at.is_some()) {
            say("They are disabled and cannot sign in until `operator enable`.");
        }
        Ok(())
    })
    .await
}

/// The result of a change or look-up; an error if the operator is absent or forged.
fn changed<T>(done: Found<T>, absent: impl FnOnce() -> String) -> anyhow::Result<T> {
    match done {
        Found::Yes(found) => Ok(found),
        Found::No => bail!(absent()),
        Found::Forged => bail!(
            "the database's row of this operator was not written by this program, so nobody can sign in with it. If you \
             restored a backup of an earlier version, see `line-chat-archive attest`; else somebody has written to the \
             database"
        ),
    }
}

/// Lists the operators and channels whose rows this program did not write. With `accept` it writes a MAC for each row
/// as it is now, so that the rows are trusted from now on.
///
/// # Errors
/// There are such rows and `accept` is false, or the database or the secret key cannot be used.
pub async fn attest(
    storage: &StorageConfig,
    accept: bool,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    keys::with_attested(storage, async |db, keyring| {
        let unattested = attest::unattested(db, keyring).await?;
        for operator in operators::list(db, keyring).await? {
            if !operator.is_genuine {
                say(&format!(
                    "operator {}\t{}\t{}",
                    operator.login.escape_debug(),
                    operator.role.escape_debug(),
                    seen(operator.channels.as_deref())
                ));
            }
        }
        for slug in &unattested.channels {
            say(&format!("channel {}", slug.escape_debug()));
        }
        if unattested.is_empty() {
            say("Every operator and channel was written by this program.");
        } else if accept {
            attest::accept_all(db, keyring).await?;
            say("Accepted as they are in the database.");
        }
        ensure!(
            unattested.is_empty() || accept,
            "nothing was changed. If you know each of them, accept them with --accept"
        );
        Ok(())
    })
    .await
}
