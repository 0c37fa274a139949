//! `operator add | list | disable | reset-password`.

use std::io::{BufRead, IsTerminal, stdin};

use anyhow::{Context, ensure};

use super::database::Database;
use crate::{
    clock::Clock,
    config::Places,
    records::{
        channels,
        operators::{self, NewOperator},
    },
    web::password,
};

/// Adds an operator. The password is read from standard input, or asked for.
///
/// # Errors
/// The login is taken, a channel does not exist, the password is too short, or the database cannot be used.
pub async fn add(
    places: &Places,
    login: &str,
    role: &str,
    slugs: &[String],
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let hash = password::hash(&password()?)?;
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let mut ids = vec![];
    for slug in slugs {
        let id = channels::find(&mut db, slug).await?;
        ids.push(id.with_context(|| format!("there is no channel {slug}"))?);
    }
    let new = NewOperator {
        login,
        password_hash: &hash,
        role,
        channels: (!ids.is_empty()).then_some(&ids[..]),
    };
    let added = operators::add(&mut db, &new, Clock::system().now()).await?;
    ensure!(added.is_some(), "the login {login} is taken");
    say("Added.");
    drop(db);
    database.close().await
}

/// Lists the operators.
///
/// # Errors
/// The database cannot be used.
pub async fn list(places: &Places, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    for operator in operators::list(&mut db).await? {
        let channels = operator
            .channels
            .map_or("all channels".to_owned(), |slugs| slugs.join(","));
        let state = operator
            .disabled_at
            .map_or("".to_owned(), |at| format!("\tdisabled at {at}"));
        say(&format!(
            "{}\t{}\t{channels}{state}",
            operator.login, operator.role
        ));
    }
    drop(db);
    database.close().await
}

/// Disables an operator and ends their sessions.
///
/// # Errors
/// There is none of this login, or the database cannot be used.
pub async fn disable(places: &Places, login: &str, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let done = operators::disable(&mut db, login, Clock::system().now()).await?;
    ensure!(done, "there is no active operator {login}");
    say("Disabled; their sessions have ended.");
    drop(db);
    database.close().await
}

/// Sets a new password and ends the operator's sessions.
///
/// # Errors
/// There is none of this login, the password is too short, or the database cannot be used.
pub async fn reset_password(
    places: &Places,
    login: &str,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let hash = password::hash(&password()?)?;
    let database = Database::open(places).await?;
    let mut db = database.connect().await?;
    let done = operators::set_password(&mut db, login, &hash).await?;
    ensure!(done, "there is no operator {login}");
    say("Set; their sessions have ended.");
    drop(db);
    database.close().await
}

fn password() -> anyhow::Result<String> {
    if stdin().is_terminal() {
        return Ok(rpassword::prompt_password("Password: ")?);
    }
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
