//! The errors of pages, in words for the person who sees them. The cause is only logged, under the id that the page
//! shows.

mod log;
mod remedy;

use std::borrow::Cow;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use askama::Template;

use self::remedy::Words;
pub(super) use self::{log::summarize, remedy::Remedy};
use crate::{records::failure, seal};

/// Why a page was refused or failed.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// Nothing exists at this address, or the viewer may not know that it exists.
    #[error("not found")]
    NotFound,
    /// A setup link that is not valid: used, expired, cut or invented. The page is the same for all of these, so that
    /// it tells a stranger nothing.
    #[error("no such setup link")]
    SetupLink,
    /// The viewer's role does not allow it.
    #[error("forbidden")]
    Forbidden,
    /// A request from another site, or one that does not say where it is from.
    #[error("cross-site request")]
    CrossSite,
    /// No operator is signed in: redirects to sign-in, and then back to this address.
    #[error("sign in first")]
    SignIn(String),
    /// No operator is signed in, and the request is not for a page: it has a session's cookie, and the session has
    /// ended.
    #[error("signed out")]
    SignedOut,
    /// As [`Error::SignedOut`], for a request without a session's cookie.
    #[error("not signed in")]
    NotSignedIn,
    /// A form or address that can't be read.
    #[error("unreadable")]
    Unreadable,
    /// The channel has a retention rule of this kind already.
    #[error("such a rule exists")]
    RuleExists,
    /// A form names a period whose end is before its beginning.
    #[error("reversed period")]
    ReversedPeriod,
    /// A form did not arrive completely in time.
    #[error("too slow")]
    TooSlow,
    /// Too many tries. Has the seconds to wait.
    #[error("too many tries")]
    TooMany(i64),
    /// The database or the object store does not answer. Has a word for the log.
    #[error("unavailable")]
    Unavailable(&'static str),
    /// The object store does not have the file any more, or has other bytes than were written.
    #[error("damaged")]
    Damaged(Remedy),
    /// The key of a file that is in use is missing in the keyring, or damaged.
    #[error("key lost")]
    KeyLost,
    /// A fault of this program. Has a word for the log.
    #[error("internal")]
    Internal(&'static str),
    /// The database refused a statement. Has its SQLSTATE for the log.
    #[error("database")]
    Database(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // The error's message may have values of a row in it, so it is neither shown nor logged.
        match &error {
            sqlx::Error::Io(io) if io.get_ref().is_some_and(|cause| cause.is::<seal::Error>()) => {
                Self::Unavailable("keyring")
            }
            error if failure::is_away(error) || failure::is_busy(error) => {
                Self::Unavailable("database")
            }
            sqlx::Error::Database(refused) => {
                let code = refused.code();
                Self::Database(code.map_or_else(String::new, Cow::into_owned))
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Internal("decode"),
            _ => Self::Internal("sqlx"),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(_: askama::Error) -> Self {
        Self::Internal("template")
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct Page {
    status: u16,
    title: &'static str,
    what: Cow<'static, str>,
    kept: &'static str,
    next: &'static str,
    /// The label of the button to the conversations. Without a session that page redirects to sign-in.
    way: &'static str,
    id: String,
}

const SOON: &str = "Try again in a minute. If it lasts, give an administrator the id below.";
const KEPT: &str = "Nothing in the archive has changed.";

impl Error {
    fn words(&self) -> Words {
        match self {
            Self::NotFound => (
                "Page not found",
                "There is nothing at this address, or your account does not reach it.".into(),
                KEPT,
                "Look for it in the list of conversations. If a colleague sent you the address, ask whether you \
                 should see that channel.",
            ),
            Self::SetupLink => (
                "This link does not work",
                "This setup link has been used, is no longer valid, or was not copied whole."
                    .into(),
                KEPT,
                "If you have an account, sign in. If this archive has no administrator yet, start \
                 “line-chat-archive serve” again on its machine: it prints a new link. If it has one, \
                 “line-chat-archive operator add” makes another account there.",
            ),
            Self::Forbidden => (
                "Not for this account",
                "Your account may not open this page.".into(),
                KEPT,
                "Ask an administrator of this archive for the role you need.",
            ),
            Self::CrossSite => (
                "Refused",
                "The request did not come from a page of this archive.".into(),
                KEPT,
                "Open the page here and try again.",
            ),
            Self::SignIn(_) | Self::SignedOut => (
                "Signed out",
                "Your session has ended.".into(),
                KEPT,
                "Sign in again.",
            ),
            Self::NotSignedIn => (
                "Sign in first",
                "This address is for operators who are signed in.".into(),
                KEPT,
                "Sign in, and open it again.",
            ),
            Self::TooSlow => (
                "Too slow",
                "The form did not arrive in time.".into(),
                KEPT,
                "Go back and send it again.",
            ),
            Self::Unreadable => (
                "Not understood",
                "The address or the form could not be read.".into(),
                KEPT,
                "Go back and try again.",
            ),
            Self::ReversedPeriod => (
                "No such period",
                "The period ends before it begins.".into(),
                "No file was asked for. Nothing in the archive has changed.",
                "Go back and exchange the two days.",
            ),
            Self::RuleExists => (
                "One rule of a kind",
                "The channel has a rule of this kind already.".into(),
                KEPT,
                "Switch that rule off, or withdraw it if it is not on yet. Then add the new one.",
            ),
            Self::TooMany(seconds) => (
                "Too many tries",
                format!("Wait {} and try again.", wait(*seconds)).into(),
                "Your account is not locked.",
                "If it was not you who tried, tell an administrator.",
            ),
            Self::Damaged(remedy) => remedy.words(),
            Self::KeyLost => (
                "The key of this file cannot be read",
                "The file is kept, but its key is missing or damaged.".into(),
                "The file can be opened again as soon as the key's file is put back.",
                "Tell an administrator: “line-chat-archive doctor” names the key's file. The daily check shows it to \
                 compliance staff under Erasures.",
            ),
            Self::Unavailable("objects") => (
                "Files do not answer",
                "The store of the archive's files does not answer at the moment.".into(),
                "Messages are stored and shown as before. Files that arrive now are fetched later.",
                SOON,
            ),
            Self::Unavailable("keyring") => (
                "Keys do not answer",
                "The keyring does not answer, so nothing can be decrypted at the moment.".into(),
                "Messages are stored as long as keys are left that were made before.",
                SOON,
            ),
            Self::Unavailable(_) => (
                "Not answering",
                "The archive's database or its files do not answer at the moment.".into(),
                "What was acknowledged is kept. LINE is told to send again what could not be taken.",
                SOON,
            ),
            Self::Internal(_) | Self::Database(_) => (
                "Internal error",
                "This page could not be made.".into(),
                KEPT,
                "Try again. If it happens again, give an administrator the id below.",
            ),
        }
    }
}

/// A wait in words: seconds up to 90, then minutes, rounded up.
fn wait(seconds: i64) -> String {
    match seconds {
        ..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", (seconds + 59) / 60),
    }
}

impl Error {
    fn log(&self, id: &str, status: StatusCode) {
        match self {
            Self::Unavailable(cause) | Self::Internal(cause) => {
                log::failed(id, status, Some(cause), None)
            }
            Self::Damaged(_) => log::failed(id, status, Some("damaged"), None),
            Self::KeyLost => log::failed(id, status, Some("key lost"), None),
            Self::Database(sqlstate) => log::failed(id, status, None, Some(sqlstate)),
            _ => log::refused(id, status),
        }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::SetupLink => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::SignIn(_) => StatusCode::SEE_OTHER,
            Self::SignedOut | Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::Unreadable | Self::ReversedPeriod => StatusCode::BAD_REQUEST,
            Self::RuleExists => StatusCode::CONFLICT,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::Damaged(_) | Self::KeyLost => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) | Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if let Self::SignIn(next) = self {
            let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            return response
                .insert_header((header::LOCATION, format!("/login?next={next}")))
                .finish();
        }
        let id = format!("{:08x}", rand::random::<u32>());
        self.log(&id, status);
        match self {
            Self::TooMany(seconds) => {
                response.insert_header((header::RETRY_AFTER, *seconds));
            }
            Self::Unavailable(_) | Self::Damaged(_) | Self::KeyLost => {
                response.insert_header((header::RETRY_AFTER, 5));
            }
            _ => {}
        }
        let (title, what, kept, next) = self.words();
        let page = Page {
            status: status.as_u16(),
            title,
            what,
            kept,
            next,
            way: match self {
                Self::SetupLink | Self::SignedOut | Self::NotSignedIn => "Sign in",
                _ => "Show conversations",
            },
            id,
        };
        response
            .content_type("text/html; charset=utf-8")
            .body(page.render().unwrap_or_else(|_| title.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use chrono::TimeDelta;
    use sqlx::{ConnectOptions, Executor};

    use super::{log::BURST, *};
    use crate::{clock::Clock, embedded::Scratch, web::captured::Log};

    #[actix_web::test]
    async fn a_page_tells_no_cause() {
        let error = Error::Database("23505".to_owned());
        let body = to_bytes(error.error_response().into_body())
            .await
            .expect("a body");
        let html = String::from_utf8_lossy(&body);
        assert!(!html.contains("23505"));
        assert!(html.contains("Nothing in the archive has changed."));
    }

    #[actix_web::test]
    async fn a_database_that_cannot_be_used_now_is_503_and_a_refused_statement_500() {
        let scratch = Scratch::shared().await.expect("a cluster");
        let options = scratch
            .create_database("unusable")
            .await
            .expect("a database");
        let mut db = options.connect().await.expect("a connection");
        let unusable = [
            "08006", "25006", "28000", "28P01", "3D000", "53000", "53100", "53200", "53300",
            "53400", "55P03", "57014", "57P01", "57P03", "58030",
        ];
        let refused = ["22P02", "23505", "42703", "42P01", "XX000"];
        let all = unusable.map(|code| (code, 503)).into_iter();
        for (code, status) in all.chain(refused.map(|code| (code, 500))) {
            let raise = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
            let raised = db.execute(sqlx::AssertSqlSafe(raise)).await;
            let error = Error::from(raised.expect_err("an error"));
            // A response would be counted by the log that another test looks at.
            assert_eq!(error.status_code(), status, "{code}");
        }
        let answer = Error::Unavailable("database").error_response();
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        // The server refuses a connection with codes that a statement may have too.
        let absent = options.clone().options([("role", "absent")]);
        let raised = absent.connect().await.expect_err("no such role");
        assert_eq!(Error::from(raised).status_code(), 503);
        for error in [sqlx::Error::WorkerCrashed, sqlx::Error::PoolTimedOut] {
            assert_eq!(Error::from(error).status_code(), 503);
        }
    }

    #[test]
    fn refused_pages_fill_no_log() {
        let (log, _guard) = Log::start();
        for _ in 0..500 {
            Error::NotFound.error_response();
        }
        let lines = log.take().lines().count() as u64;
        assert!(lines > 0 && lines <= 2 * BURST, "{lines} lines");
    }

    #[test]
    fn pages_that_failed_beyond_those_that_are_logged_are_counted_without_another_failure() {
        let (log, _guard) = Log::start();
        for _ in 0..BURST + 5 {
            Error::Unavailable("database").error_response();
        }
        let (text, page) = (log.take(), "a page failed");
        assert!(text.matches(page).count() as u64 <= BURST, "{text}");
        assert!(text.contains("status=503"), "{text}");
        assert!(!text.contains("more="), "the minute is not over: {text}");
        let later = Clock::system().now() + TimeDelta::seconds(61);
        summarize(later);
        let text = log.take();
        // Another test of this process may have caused a failed page too.
        let more = text.split_once("more=").expect("a count").1;
        let more = more.split_whitespace().next().map(str::parse::<u64>);
        let more = more.expect("a count").expect("a number");
        assert!((5..20).contains(&more), "{text}");
        summarize(later);
        assert!(!log.take().contains("pages failed"), "once");
    }

    #[test]
    fn a_wait_is_told_in_words() {
        assert_eq!(wait(1), "a second");
        assert_eq!(wait(64), "64 seconds");
        assert_eq!(wait(900), "15 minutes");
    }
}
