//! The log lines of pages that failed or were refused, of which there may be any number.

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};

use crate::{clock::Clock, web::log_window::Window};

/// Failed pages, and refused pages, that are logged one by one within a minute: strangers can cause both.
pub(super) const BURST: u64 = 60;
static FAILED: Mutex<Window> = Mutex::new(Window::NEW);
static REFUSED: Mutex<Window> = Mutex::new(Window::NEW);

fn window(kind: &'static Mutex<Window>) -> MutexGuard<'static, Window> {
    kind.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one page. Returns whether it is logged, and how many were not logged in the minute before, if that has just
/// been closed. Uses the system's clock: an error has no other, and only the number of log lines depends on it.
fn logged(kind: &'static Mutex<Window>) -> (bool, Option<u64>) {
    window(kind).count(Clock::system().now(), BURST)
}

/// Logs how many more pages failed or were refused than were logged, in minutes that are over at `now` on the system's
/// clock. Without this function the count waits for the next page that fails, and is lost if none does.
pub(in crate::web) fn summarize(now: DateTime<Utc>) {
    let [failed, refused] = [&FAILED, &REFUSED].map(|kind| window(kind).close(now, BURST));
    if let Some(more) = failed {
        more_failed(more);
    }
    if let Some(more) = refused {
        more_refused(more);
    }
}

fn more_failed(more: u64) {
    tracing::error!(more, "pages failed (more within a minute)");
}

fn more_refused(more: u64) {
    tracing::debug!(more, "pages were refused (more within a minute)");
}

/// Logs a page that failed, for this cause or with this SQLSTATE.
pub(super) fn failed(id: &str, status: StatusCode, cause: Option<&str>, sqlstate: Option<&str>) {
    let (is_logged, more) = logged(&FAILED);
    if let Some(more) = more {
        more_failed(more);
    }
    if is_logged {
        tracing::error!(
            id,
            status = status.as_u16(),
            cause,
            sqlstate,
            "a page failed"
        );
    }
}

/// Logs a page that was refused, if such pages are logged at all.
pub(super) fn refused(id: &str, status: StatusCode) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (is_logged, more) = logged(&REFUSED);
    if let Some(more) = more {
        more_refused(more);
    }
    if is_logged {
        tracing::debug!(id, status = status.as_u16(), "a page was refused");
    }
}
