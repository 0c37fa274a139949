//! Parses `DATABASE_URL`, and requires TLS for a connection over a network.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{anyhow, ensure};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// Parses `DATABASE_URL`. A server on another machine has to use TLS: the default is `sslmode=require`, while
/// PostgreSQL's own default (`prefer`) continues unencrypted with any server that says it has no TLS.
///
/// # Errors
/// It is not such an address, names several hosts, or allows less than `sslmode=require` for another machine.
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
        "DATABASE_URL names several hosts: name one, that of the server that may be written to"
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_stays_on_this_machine_needs_no_tls() {
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
