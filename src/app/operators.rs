//! `operator add | list | disable | reset-password`, and `attest`.

use std::io::{BufRead, IsTerminal, stdin};

use anyhow::{bail, ensure};
use uuid::Uuid;

use super::{channels, database::Database, keys};
use crate::{
    clock::Clock,
    config::Places,
    records::{
        attest,
        attested::Found,
        login::Login,
        operators::{self, NewOperator},
    },
    web::{password, security_log},
};

/// Adds an operator. The password is read from standard input, or asked for.
///
/// # Errors
/// The login is taken or no login, a channel does not exist, the password is too short, or the database or the secret key
/// cannot be used.
pub async fn add(
    places: &Places,
    login: &str,
    role: &str,
    slugs: &[String],
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    Login::new(login)?;
    let hash = password::hash(&password()?)?;
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let mut ids = vec![];
    for slug in slugs {
        ids.push(channels::find(&mut db, &keyring, slug).await?);
    }
    let new = NewOperator {
        login,
        password_hash: &hash,
        role,
        channels: (!ids.is_empty()).then_some(&ids[..]),
    };
    let added = operators::add(&mut db, &keyring, &new, Clock::system().now()).await?;
    let Some(id) = added else {
        bail!("the login {login} is taken");
    };
    security_log::by_command("operator added", id);
    say("Added.");
    drop(db);
    database.close().await
}

/// Lists the operators.
///
/// # Errors
/// The database or the secret key cannot be used.
pub async fn list(places: &Places, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    for operator in operators::list(&mut db, &keyring).await? {
        let channels = operator
            .channels
            .map_or("all channels".to_owned(), |slugs| slugs.join(","));
        let state = operator
            .disabled_at
            .map_or("".to_owned(), |at| format!("\tdisabled at {at}"));
        let forged = match operator.is_genuine {
            true => "",
            false => "\tnot written by this program: cannot sign in",
        };
        say(&format!(
            "{}\t{}\t{channels}{state}{forged}",
            operator.login.escape_debug(),
            operator.role.escape_debug()
        ));
    }
    drop(db);
    database.close().await
}

/// Disables an operator and ends their sessions.
///
/// # Errors
/// No operator has this login, or the database or the secret key cannot be used.
pub async fn disable(places: &Places, login: &str, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let done = operators::disable(&mut db, &keyring, login, Clock::system().now()).await?;
    let id = changed(done, || format!("there is no active operator {login}"))?;
    security_log::by_command("operator disabled", id);
    say("Disabled; their sessions have ended.");
    drop(db);
    database.close().await
}

/// Sets a new password and ends the operator's sessions.
///
/// # Errors
/// No operator has this login, the password is too short, or the database or the secret key cannot be used.
pub async fn reset_password(
    places: &Places,
    login: &str,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let hash = password::hash(&password()?)?;
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let done = operators::set_password(&mut db, &keyring, login, &hash).await?;
    let id = changed(done, || format!("there is no operator {login}"))?;
    security_log::by_command("password reset", id);
    say("Set; their sessions have ended.");
    drop(db);
    database.close().await
}

fn changed(done: Found<Uuid>, absent: impl FnOnce() -> String) -> anyhow::Result<Uuid> {
    match done {
        Found::Yes(id) => Ok(id),
        Found::No => bail!(absent()),
        Found::Forged => bail!(
            "the database's row of this operator was not written by this program, so nobody can sign in with it. If you \
             restored a backup of an earlier version, see `line-chat-archive attest`; else somebody has written to the \
             database"
        ),
    }
}

/// Lists the operators and channels whose rows this program did not write, and with `accept` believes them from now on.
///
/// # Errors
/// There are some and `accept` is false, or the database or the secret key cannot be used.
pub async fn attest(places: &Places, accept: bool, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let keyring = keys::open_attested(places, &mut db).await?;
    let unattested = attest::unattested(&mut db, &keyring).await?;
    for operator in operators::list(&mut db, &keyring).await? {
        if !operator.is_genuine {
            let channels = operator
                .channels
                .map_or("all channels".to_owned(), |slugs| slugs.join(","));
            say(&format!(
                "operator {}\t{}\t{channels}",
                operator.login.escape_debug(),
                operator.role.escape_debug()
            ));
        }
    }
    for slug in &unattested.channels {
        say(&format!("channel {}", slug.escape_debug()));
    }
    if unattested.is_empty() {
        say("Every operator and channel was written by this program.");
    } else if accept {
        attest::accept_all(&mut db, &keyring).await?;
        say("Accepted as they are in the database.");
    }
    drop(db);
    database.close().await?;
    ensure!(
        unattested.is_empty() || accept,
        "nothing was changed. If you know each of them, accept them with --accept"
    );
    Ok(())
}

fn password() -> anyhow::Result<String> {
    if stdin().is_terminal() {
        return Ok(rpassword::prompt_password("Password: ")?);
    }
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
