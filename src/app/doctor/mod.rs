//! `doctor`: checks the installation and its settings. The output contains no message content, no secret, and no
//! address that may contain a secret.

mod channels;
mod clock;
mod damage;
mod database;
mod machine;

use std::{process::ExitCode, time::Duration};

use sqlx::PgConnection;
use tokio::time::timeout;

use super::{
    counted::counted,
    database::{Database, Purpose, with},
    failure, keys,
    stores::{Stores, in_time},
};
use crate::{
    config::{Serve, StorageConfig},
    erasure::copies::Copies,
    ledger::Verifier,
    line::client::LineApi,
    records,
};

/// How long the copies of the ledger are read.
const COPIES_TIMEOUT: Duration = Duration::from_secs(40);

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but the administrator should know about it.
    Warning,
    /// The service cannot keep what it promises in this state.
    Bad,
}

/// Result of a check.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// How serious it is.
    pub level: Level,
    /// The checked item and its state.
    pub what: String,
    /// The consequence and the remedy; empty if there is nothing to say.
    pub advice: String,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self::new(Level::Ok, what, "")
    }

    fn new(level: Level, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level,
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// A finding with `problem` and all of `names`, or the finding `ok_text` if `names` is empty.
    fn if_any(names: &[String], ok_text: &str, level: Level, problem: &str, advice: &str) -> Self {
        match names {
            [] => Self::ok(ok_text),
            names => Self::new(level, format!("{problem}: {}", names.join(", ")), advice),
        }
    }
}

/// Runs all checks and prints a line for each. The exit code is 0 if no finding is bad, else 1. With `strict`, the exit
/// code is 1 for warnings too. A failure to reach LINE is a warning.
///
/// # Errors
/// The database cannot be reached or read.
pub async fn doctor(
    storage: &StorageConfig,
    serve: &Serve,
    strict: bool,
    say: &dyn Fn(&str),
) -> anyhow::Result<ExitCode> {
    let findings = with(storage, Purpose::Look, async |database| {
        check(storage, serve, database).await
    })
    .await?;
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    for Finding {
        level,
        what,
        advice,
    } in &findings
    {
        let word = match level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Bad => "bad    ",
        };
        match &**advice {
            "" => say(&format!("{word}  {what}")),
            advice => say(&format!("{word}  {what}: {advice}")),
        }
    }
    let (bad, warnings) = (count(Level::Bad), count(Level::Warning));
    say(&format!(
        "{} checks: {bad} bad, {}",
        findings.len(),
        counted(warnings, "warning")
    ));
    let fails = bad > 0 || strict && warnings > 0;
    Ok(ExitCode::from(u8::from(fails)))
}

/// Runs all checks. If the database has the schema of another version, it leaves out the checks that need the keyring.
///
/// # Errors
/// As [`doctor`].
pub async fn check(
    storage: &StorageConfig,
    serve: &Serve,
    database: &Database,
) -> anyhow::Result<Vec<Finding>> {
    let mut db = database.connect().await?;
    let (schema_finding, is_current) = database::schema(&mut db).await?;
    let mut findings = vec![schema_finding];
    findings.push(database::transport(&database.options));
    findings.extend(database::check(&mut db).await?);
    findings.push(clock::check(&mut db).await?);
    findings.extend(object_store(storage, &mut db).await);
    findings.extend(machine::check(storage));
    findings.push(public_url(serve));
    if is_current {
        findings.extend(keyring_checks(storage, serve, &mut db).await?);
    }
    Ok(findings)
}

/// Checks the object store and the copies of the ledger. Nothing without this archive's secret key: the check of the
/// keyring says why it cannot be used.
async fn object_store(storage: &StorageConfig, db: &mut PgConnection) -> Vec<Finding> {
    let Ok(secret) = keys::secret(storage) else {
        return vec![];
    };
    if !keys::matches_secret(&secret, db).await.unwrap_or(true) {
        return vec![];
    }
    let stores = match Stores::open_in_time(storage, db, Purpose::Look).await {
        Ok(stores) => stores,
        Err(error) => {
            let what = "the object store or a copy of the ledger cannot be opened";
            return vec![Finding::new(Level::Bad, what, failure::in_words(&error))];
        }
    };
    let checked = match stores.objects.check().await {
        Ok(()) => Finding::ok("the object store writes, reads and deletes"),
        Err(error) => Finding::new(
            Level::Bad,
            "the object store failed the test (write, read, delete)",
            error.to_string(),
        ),
    };
    let Ok(verifier) = Verifier::from_vkey(&keys::signer(&secret).vkey()) else {
        return vec![checked];
    };
    vec![
        checked,
        ledger_copies(&stores.ledger_copies(verifier)).await,
    ]
}

/// Reads the copies of the ledger, as far as the time allows.
async fn ledger_copies(copies: &Copies) -> Finding {
    match timeout(COPIES_TIMEOUT, copies.verify()).await {
        Ok(Ok(())) => Finding::ok("the copies of the ledger are whole"),
        Ok(Err(error)) => Finding::new(
            Level::Bad,
            "a copy of the ledger cannot be used",
            error.to_string(),
        ),
        Err(_) => Finding::ok(
            "the copies of the ledger are too long to be read here: `erasures verify` reads them",
        ),
    }
}

/// Checks that LINE can send webhooks to PUBLIC_URL.
fn public_url(serve: &Serve) -> Finding {
    match &serve.public_url {
        Some(url) if url.scheme() == "https" => Finding::ok(format!("PUBLIC_URL is {url}")),
        Some(url) => Finding::new(
            Level::Bad,
            format!("PUBLIC_URL is {url}"),
            "LINE sends webhooks only to https URLs",
        ),
        None => Finding::new(
            Level::Warning,
            "PUBLIC_URL is not set",
            "give this command the same PUBLIC_URL as `serve`, so that it can be compared with the webhook URL that is set at LINE",
        ),
    }
}

/// Checks that need the keyring: of the keyring itself, and of each channel.
async fn keyring_checks(
    storage: &StorageConfig,
    serve: &Serve,
    db: &mut PgConnection,
) -> anyhow::Result<Vec<Finding>> {
    let keyring = match in_time(keys::open(storage, db, Purpose::Look)).await {
        Ok(keyring) => keyring,
        Err(error) => {
            let what = "the keyring cannot be opened";
            return Ok(vec![Finding::new(
                Level::Bad,
                what,
                failure::in_words(&error),
            )]);
        }
    };
    let mut findings = vec![match keyring.check().await {
        Ok(()) => Finding::ok("the keyring makes, finds and destroys keys"),
        Err(error) => Finding::new(
            Level::Bad,
            "the keyring failed the test (make, find, destroy)",
            error.to_string(),
        ),
    }];
    findings.extend(damage::check(db, &keyring).await?);
    let line = LineApi::new(serve.line_api_url.clone(), serve.line_data_api_url.clone())?;
    let channels = records::channels::list(db).await?;
    if channels.is_empty() {
        let advice = "add one: line-chat-archive channel add <slug>";
        findings.push(Finding::new(Level::Warning, "there is no channel", advice));
    }
    for channel in &channels {
        findings.extend(channels::check(db, &keyring, channel, &line, serve).await?);
    }
    Ok(findings)
}
