//! Parses `DATABASE_URL`, requires TLS for a connection over a network, and says why a database cannot be reached.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use anyhow::{anyhow, ensure};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// Parses `DATABASE_URL`. A server on another machine has to use TLS: the default is `sslmode=require`, while
/// PostgreSQL's own default (`prefer`) continues unencrypted with any server that says it has no TLS.
///
/// # Errors
/// It is not a PostgreSQL URL, names several hosts, or allows less than `sslmode=require` for another machine.
pub fn parse(url: &str) -> anyhow::Result<PgConnectOptions> {
    let odd = || anyhow!("DATABASE_URL is not of the form postgres://user:password@host/database");
    let parsed = Url::parse(url).map_err(|_| odd())?;
    // The parser below accepts any scheme.
    ensure!(["postgres", "postgresql"].contains(&parsed.scheme()), odd());
    let mut names_tls = parsed.query_pairs().map(|(name, _)| name);
    let names_tls = names_tls.any(|name| ["sslmode", "ssl-mode"].contains(&&*name));
    let options: PgConnectOptions = url.parse().map_err(|_| odd())?;
    if stays_here(&options) {
        return Ok(options);
    }
    ensure!(
        !options.get_host().contains(','),
        "DATABASE_URL names several hosts: name only the primary server"
    );
    if demands_tls(options.get_ssl_mode()) {
        return Ok(options);
    }
    ensure!(
        !names_tls,
        "DATABASE_URL lets the connection to another machine be unencrypted: the password and all that is \
         archived could be read on the way. Write sslmode=verify-full with sslrootcert=FILE, or at least sslmode=require"
    );
    Ok(options.ssl_mode(PgSslMode::Require))
}

/// Whether the connection is a unix socket or the loopback interface.
pub fn stays_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    if options.get_socket().is_some() || host.starts_with('/') {
        return true;
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => {
            let mapped = address.to_ipv4_mapped();
            address == Ipv6Addr::LOCALHOST || mapped.is_some_and(|address| address.is_loopback())
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether nothing is sent without TLS.
pub fn demands_tls(mode: PgSslMode) -> bool {
    matches!(
        mode,
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
    )
}

/// Why a connection could not be opened, and what to do. The error's own text is not passed on: it may contain the
/// address with the password.
pub fn unreachable_message(error: &sqlx::Error) -> String {
    let why = match error {
        sqlx::Error::Tls(_) => {
            return "no TLS with the database, or its certificate is not the one that DATABASE_URL demands: a server on \
                    another machine has to offer TLS"
                .to_owned();
        }
        sqlx::Error::PoolTimedOut => {
            return "the database does not answer in time: check DATABASE_URL".to_owned();
        }
        sqlx::Error::Io(error) if is_unknown_host(error) => " (host name not found)".to_owned(),
        sqlx::Error::Io(error) => format!(" ({})", error.kind()),
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => {
                ": the server refused the login (user name, password, or its pg_hba.conf)"
                    .to_owned()
            }
            Some("3D000") => ": the server has no such database".to_owned(),
            Some(code) => format!(" (SQLSTATE {code})"),
            None => String::new(),
        },
        _ => String::new(),
    };
    format!("the database cannot be reached{why}: check DATABASE_URL")
}

/// Whether a host name could not be looked up. The standard library has no stable error kind for this, only a text.
fn is_unknown_host(error: &io::Error) -> bool {
    let text = error.to_string();
    text.starts_with("failed to lookup address information")
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;

    use super::*;
    use crate::embedded::Scratch;

    #[tokio::test]
    async fn a_database_that_cannot_be_reached_is_explained_without_the_password() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch
            .create_database("reached")
            .await
            .expect("a database");
        // No name server is asked about a label of more than 63 characters.
        let unknown = format!("postgres://u:hush@{}.invalid/archive", "a".repeat(64));
        for (options, words) in [
            (
                options.clone().username("hush").password("hush"),
                "refused the login (user name, password",
            ),
            (options.database("hush"), "has no such database"),
            (parse(&unknown).expect("a URL"), "(host name not found)"),
            (
                parse("postgres://u:hush@127.0.0.1:1/archive").expect("a URL"),
                "(connection refused)",
            ),
        ] {
            let refused = options.connect().await.expect_err(words);
            let message = unreachable_message(&refused);
            assert!(message.contains(words), "{words}: {message}");
            assert!(message.ends_with(": check DATABASE_URL"), "{message}");
            assert!(!message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn another_machine_is_reached_with_tls_or_not_at_all() {
        for (url, demanded) in [
            ("postgres://u:p@db.example.com/archive", PgSslMode::Require),
            ("postgres://u:p@192.0.2.7:6432/archive", PgSslMode::Require),
            ("postgres://u:p@[2001:db8::7]/archive", PgSslMode::Require),
            (
                "postgres://u:p@localhost.example.com/archive",
                PgSslMode::Require,
            ),
            (
                "postgres://u:p@127.0.0.1.example.com/archive",
                PgSslMode::Require,
            ),
            ("postgres://u:p@0.0.0.0/archive", PgSslMode::Require),
            (
                "postgres://localhost/archive?host=db.example.com",
                PgSslMode::Require,
            ),
            (
                "postgres://localhost/archive?hostaddr=192.0.2.7",
                PgSslMode::Require,
            ),
            (
                "postgres://db.example.com/a?sslmode=require",
                PgSslMode::Require,
            ),
            (
                "postgres://db.example.com/a?ssl-mode=verify-ca",
                PgSslMode::VerifyCa,
            ),
            (
                "postgres://db.example.com/a?sslmode=verify-full",
                PgSslMode::VerifyFull,
            ),
            (
                "postgres://db.example.com/a?sslmode=disable&sslmode=require",
                PgSslMode::Require,
            ),
        ] {
            let options = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let mode = options.get_ssl_mode();
            assert_eq!(format!("{mode:?}"), format!("{demanded:?}"), "{url}");
            assert!(!stays_here(&options), "{url}");
        }
        for mode in ["disable", "allow", "prefer"] {
            for name in ["sslmode", "ssl-mode"] {
                for url in [
                    format!("postgres://u:hush@db.example.com/archive?{name}={mode}"),
                    format!("postgres://u:hush@[2001:db8::7]/archive?{name}={mode}"),
                    format!("postgres://u:hush@localhost/a?host=db.example.com&{name}={mode}"),
                    format!("postgres://u:hush@db.example.com/a?{name}=require&{name}={mode}"),
                ] {
                    let refused = parse(&url).expect_err(&url).to_string();
                    for word in ["sslmode=verify-full", "sslmode=require"] {
                        assert!(refused.contains(word), "{url}: {refused}");
                    }
                    assert!(!refused.contains("hush"), "{refused}");
                }
            }
        }
    }

    #[test]
    fn a_connection_on_this_machine_needs_no_tls() {
        for url in [
            "postgres://u:p@localhost/archive",
            "postgres://u:p@LOCALHOST:5433/archive?sslmode=disable",
            "postgres://u:p@127.0.0.1/archive",
            "postgres://u:p@127.8.9.10/archive?sslmode=prefer",
            "postgres://u:p@[::1]/archive",
            "postgres://u:p@[::ffff:127.0.0.1]/archive?sslmode=disable",
            "postgres:///archive?host=/var/run/postgresql",
            "postgres://%2Fvar%2Frun%2Fpostgresql/archive?sslmode=disable",
            "postgres://db.example.com/archive?host=/var/run/postgresql&sslmode=disable",
        ] {
            let options = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert!(stays_here(&options), "{url}");
        }
    }

    #[test]
    fn several_hosts_and_other_texts_are_refused_without_the_password() {
        for (url, word) in [
            (
                "postgres://u:hush@a.example.com,b.example.com/archive",
                "several hosts",
            ),
            (
                "postgres://u:hush@localhost,b.example.com/archive",
                "several hosts",
            ),
            (
                "postgres://u:hush@localhost/a?host=localhost,b.example.com",
                "several hosts",
            ),
            ("host=db.example.com password=hush", "of the form"),
            ("mysql://u:hush@localhost/archive", "of the form"),
            ("postgres://u:hush@a:5432,b:5432/archive", "of the form"),
            (
                "postgres://u:hush@db.example.com/archive?sslmode=maybe",
                "of the form",
            ),
        ] {
            let refused = parse(url).expect_err(url).to_string();
            assert!(refused.contains(word), "{url}: {refused}");
            assert!(!refused.contains("hush"), "{refused}");
        }
    }
}
