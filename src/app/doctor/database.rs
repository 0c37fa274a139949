//! Checks of PostgreSQL: committed data is durable, and the server's own files do not keep deleted content.

use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{Finding, Level};
use crate::{
    MIGRATOR,
    app::database_url,
    records::doctor::{self, Setting},
};

/// The oldest version that the service is tested with.
const OLDEST: u32 = 15;

/// The accepted values of one PostgreSQL setting.
struct Rule {
    name: &'static str,
    /// The accepted values; the advice names the first one.
    fine: &'static [&'static str],
    level: Level,
    why: &'static str,
}

const fn rule(
    level: Level,
    name: &'static str,
    fine: &'static [&'static str],
    why: &'static str,
) -> Rule {
    Rule {
        name,
        fine,
        level,
        why,
    }
}

const DURABLE: &str = "what was acknowledged can be lost in a crash";
const LOGGED: &str = "the server's log can hold what people wrote, and keeps it after an unsend";
const KEPT: &str = "files of the server hold on to deleted bytes for longer";

/// Settings of extensions (`auto_explain`, `pgaudit`) are checked only where the extension is loaded.
const RULES: &[Rule] = &[
    rule(Level::Bad, "fsync", &["on"], DURABLE),
    rule(Level::Bad, "full_page_writes", &["on"], DURABLE),
    rule(
        Level::Warning,
        "synchronous_commit",
        &["on", "local", "remote_write", "remote_apply"],
        "the service sets its own, but what other programs commit can be lost",
    ),
    rule(Level::Bad, "log_error_verbosity", &["terse"], LOGGED),
    rule(
        Level::Bad,
        "log_min_error_statement",
        &["panic", "fatal", "log"],
        LOGGED,
    ),
    rule(Level::Bad, "log_statement", &["none"], LOGGED),
    rule(Level::Bad, "log_duration", &["off"], LOGGED),
    rule(Level::Bad, "log_min_duration_statement", &["-1"], LOGGED),
    rule(Level::Bad, "log_min_duration_sample", &["-1"], LOGGED),
    rule(Level::Bad, "log_transaction_sample_rate", &["0"], LOGGED),
    rule(Level::Bad, "log_parameter_max_length", &["0"], LOGGED),
    rule(
        Level::Bad,
        "log_parameter_max_length_on_error",
        &["0"],
        LOGGED,
    ),
    rule(
        Level::Bad,
        "auto_explain.log_parameter_max_length",
        &["0"],
        LOGGED,
    ),
    rule(Level::Bad, "pgaudit.log_parameter", &["off"], LOGGED),
    rule(Level::Warning, "wal_recycle", &["off"], KEPT),
    // A restore up to the latest commit needs this setting on, so it is reported without a warning.
    rule(
        Level::Ok,
        "archive_mode",
        &["off"],
        "archived write-ahead log keeps what it holds until you delete it",
    ),
];

/// The largest `min_wal_size` without a warning, in MB.
const MIN_WAL_SIZE: u32 = 80;

/// Checks that the database has the schema of this version; the second value is `true` only if it has.
pub(super) async fn schema(db: &mut PgConnection) -> sqlx::Result<(Finding, bool)> {
    let there = doctor::migrations(db).await?;
    let ours: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    let what = "the database's schema";
    Ok(if there == ours {
        (Finding::ok(format!("{what} is of this version")), true)
    } else if there.iter().all(|version| ours.contains(version)) {
        let advice = "`serve` and `migrate` bring it up to date";
        (
            Finding::new(
                Level::Bad,
                format!("{what} is older than this program"),
                advice,
            ),
            false,
        )
    } else {
        let advice = "use the program that made it, or a newer one";
        (
            Finding::new(
                Level::Bad,
                format!("{what} is newer than this program"),
                advice,
            ),
            false,
        )
    })
}

/// Checks whether the connection to the database could be read on the network.
pub(super) fn transport(options: &PgConnectOptions) -> Finding {
    if database_url::stays_here(options) {
        return Finding::ok("the connection to the database does not leave this machine");
    }
    match options.get_ssl_mode() {
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => Finding::ok(
            "the connection to the database is encrypted, and the server's certificate is checked",
        ),
        PgSslMode::Require => Finding::new(
            Level::Warning,
            "the connection to the database is encrypted, but the server's certificate is not checked",
            "another machine could take the server's place; sslmode=verify-full with sslrootcert=FILE in DATABASE_URL",
        ),
        _ => Finding::new(
            Level::Bad,
            "the connection to the database may be unencrypted",
            "what is archived can be read on the way; sslmode=verify-full, or at least require, in DATABASE_URL",
        ),
    }
}

pub(super) async fn check(db: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let mut findings = settings(db).await?;
    findings.push(replication_slots(db).await?);
    findings.extend(statistics(db).await?);
    findings.push(word_indexes(db).await?);
    findings.extend(ledger_rights(db).await?);
    Ok(findings)
}

async fn settings(db: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let names: Vec<_> = ["server_version_num", "min_wal_size"]
        .into_iter()
        .chain(RULES.iter().map(|rule| rule.name))
        .collect();
    let settings = doctor::settings(db, &names).await?;
    Ok(settings.iter().filter_map(setting).collect())
}

fn setting(setting: &Setting) -> Option<Finding> {
    let value = &*setting.value;
    match &*setting.name {
        "server_version_num" => Some(version(value.parse().unwrap_or_default())),
        "min_wal_size" => Some(min_wal_size(value)),
        name => {
            let rule = RULES.iter().find(|rule| rule.name == name)?;
            Some(judge(rule, value))
        }
    }
}

fn version(number: u32) -> Finding {
    let what = format!("PostgreSQL {}.{}", number / 10_000, number % 10_000);
    if number / 10_000 >= OLDEST {
        Finding::ok(what)
    } else {
        let advice = format!("the service is tested with {OLDEST} and newer");
        Finding::new(Level::Warning, what, advice)
    }
}

fn min_wal_size(value: &str) -> Finding {
    let what = format!("min_wal_size = {value}MB");
    match value.parse::<u32>() {
        Ok(size) if size <= MIN_WAL_SIZE => Finding::ok(what),
        _ => Finding::new(Level::Warning, what, format!("{KEPT}; set it to 32MB")),
    }
}

fn judge(rule: &Rule, value: &str) -> Finding {
    let what = format!("{} = {value}", rule.name);
    match rule.fine.contains(&value) {
        true => Finding::ok(what),
        // Report the value, without advice to change it.
        false if rule.level == Level::Ok => Finding::new(Level::Ok, what, rule.why),
        false => {
            let advice = format!("{}; set it to {}", rule.why, rule.fine[0]);
            Finding::new(rule.level, what, advice)
        }
    }
}

async fn replication_slots(db: &mut PgConnection) -> sqlx::Result<Finding> {
    let idle = doctor::idle_slots(db).await?;
    Ok(match idle {
        0 => Finding::ok("no replication slot is idle"),
        _ => Finding::new(
            Level::Bad,
            match idle {
                1 => "1 replication slot is idle".to_owned(),
                _ => format!("{idle} replication slots are idle"),
            },
            "each keeps the write-ahead log, and what was deleted in it, for ever; drop them",
        ),
    })
}

async fn statistics(db: &mut PgConnection) -> sqlx::Result<[Finding; 2]> {
    let (sampled, kept) = doctor::statistics(db).await?;
    let sampled = Finding::if_any(
        &sampled,
        "no statistics are taken of content",
        Level::Bad,
        "statistics are taken of content",
        "they keep whole values after an unsend; alter table … alter column … set statistics 0",
    );
    let kept = Finding::if_any(
        &kept,
        "no statistics hold content",
        Level::Bad,
        "statistics hold content",
        "set statistics 0 for the column, and delete its rows of pg_statistic",
    );
    Ok([sampled, kept])
}

async fn word_indexes(db: &mut PgConnection) -> sqlx::Result<Finding> {
    Ok(Finding::if_any(
        &doctor::word_indexes(db).await?,
        "no GIN index holds words",
        Level::Bad,
        "GIN indexes hold words",
        "such an index never forgets a word; drop it",
    ))
}

/// Checks whether the service could rewrite the ledger; `None` if the database has no ledger yet.
async fn ledger_rights(db: &mut PgConnection) -> sqlx::Result<Option<Finding>> {
    let ledger = doctor::ledger(db).await?;
    if ledger.is_empty() {
        return Ok(None);
    }
    let open = ledger.into_iter().filter(|(_, open)| *open);
    Ok(Some(Finding::if_any(
        &open.map(|(table, _)| table).collect::<Vec<_>>(),
        "the role of the service cannot rewrite the ledger",
        Level::Warning,
        "the role of the service may change the ledger",
        "a change would be seen by whoever verifies it; a role of its own for the service would not have the right",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_over_a_network_is_judged_by_its_tls() {
        for (url, level) in [
            ("postgres://localhost/archive", Level::Ok),
            ("postgres:///archive?host=/run/postgresql", Level::Ok),
            ("postgres://db.example.com/archive", Level::Warning),
            (
                "postgres://db.example.com/archive?sslmode=verify-full",
                Level::Ok,
            ),
        ] {
            let options = database_url::parse(url).expect(url);
            assert_eq!(transport(&options).level, level, "{url}");
        }
        let url = "postgres://db.example.com/archive?sslmode=prefer";
        let options = url.parse().expect(url);
        assert_eq!(transport(&options).level, Level::Bad);
    }
}
