//! Security events in the log: sign-ins and refusals, with the operator and the client's address.
//!
//! A stranger can cause most of them as often as they like, so each kind has a rate limit: the first [`BURST`] of a
//! minute are logged one by one, at once, and the rest as a count when the minute is over. No event is logged as an
//! error. No event has a login, password or token in it: people type passwords into the field of the login. This log is
//! not an audit trail. Such a record of all actions, which loses none, belongs beside this log, because the callers of
//! [`SecurityLog::note`] have the facts that it needs.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    Error as ActixError, HttpMessage, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
    middleware::Next,
    web::Data,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::web::{Error, Shared, error, log_window::Window};
use crate::{clock::Clock, live::Live};

/// Events of one kind that are logged one by one within one minute.
const BURST: u64 = 10;
/// Interval at which the counts of minutes that are over are logged.
const SUMMARY: Duration = Duration::from_secs(60);

/// A kind of security event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A sign-in with the right password, which began a session.
    SignedIn,
    /// A wrong password, or a login that does not exist.
    SignInFailed,
    /// A request that was answered 429.
    Throttled,
    /// A signed-in operator requested something that their role does not allow.
    RoleRefused,
    /// A request from a page of another site.
    CrossSite,
    /// An operator signed out.
    SignedOut,
    /// The open requests of a session (live streams, downloads) were cut because the session had ended.
    SessionEnded,
    /// The first operator was made with the setup link.
    SetupUsed,
    /// A row of an operator, session or setup link was ignored because this program did not write it.
    ForgedRow,
}

/// All kinds, in the order of their declaration.
const KINDS: [Event; 9] = [
    Event::SignedIn,
    Event::SignInFailed,
    Event::Throttled,
    Event::RoleRefused,
    Event::CrossSite,
    Event::SignedOut,
    Event::SessionEnded,
    Event::SetupUsed,
    Event::ForgedRow,
];

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::Throttled => "throttled",
            Self::RoleRefused => "role_refused",
            Self::CrossSite => "cross_site_refused",
            Self::SignedOut => "signed_out",
            Self::SessionEnded => "session_ended",
            Self::SetupUsed => "setup_link_used",
            Self::ForgedRow => "forged_row",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::SignedIn => "signed in",
            Self::SignInFailed => "a sign-in failed",
            Self::Throttled => "too many tries: refused",
            Self::RoleRefused => "refused: the operator's role does not allow it",
            Self::CrossSite => "refused: the request came from another site",
            Self::SignedOut => "signed out",
            Self::SessionEnded => "a stream or download was cut: its session has ended",
            Self::SetupUsed => "the setup link was used: the first operator was made",
            Self::ForgedRow => {
                "a row of an operator, session or setup link was not written by this program: ignored; the command attest lists such operators"
            }
        }
    }

    /// How many events are logged one by one within one minute. Kinds that need a right password have a limit above
    /// what a person can cause, so that no sign-in disappears in a count.
    fn burst(self) -> u64 {
        match self {
            Self::SignedIn | Self::SignedOut | Self::SetupUsed => 1000,
            _ => BURST,
        }
    }

    fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::SignInFailed
                | Self::Throttled
                | Self::RoleRefused
                | Self::CrossSite
                | Self::ForgedRow
        )
    }
}

/// Logs events with a rate limit for each kind; one for the whole server.
#[derive(Default)]
pub struct SecurityLog(Mutex<[Window; KINDS.len()]>);

impl SecurityLog {
    /// Logs an event, or only counts it if there were many of its kind within the minute. `operator`: the account,
    /// where it is known. `from`: the client's address.
    pub(in crate::web) fn note(
        &self,
        event: Event,
        operator: Option<Uuid>,
        from: Option<IpAddr>,
        now: DateTime<Utc>,
    ) {
        let (is_logged, more) = self.windows()[event as usize].count(now, event.burst());
        if let Some(more) = more {
            summary(event, more);
        }
        if !is_logged {
            return;
        }
        let (kind, words) = (event.name(), event.words());
        let operator = operator.map(tracing::field::display);
        let address = from.map(tracing::field::display);
        match event.is_refusal() {
            true => tracing::warn!(event = kind, operator, address, "{words}"),
            false => tracing::info!(event = kind, operator, address, "{words}"),
        }
    }

    /// Logs the counts of minutes that are over.
    fn summarize(&self, now: DateTime<Utc>) {
        for event in KINDS {
            let more = self.windows()[event as usize].close(now, event.burst());
            if let Some(more) = more {
                summary(event, more);
            }
        }
    }

    /// Logs the counts of minutes that are over, also those of failed pages, until `live` is closed. It is a task of
    /// its own because it has to go on while the database is away, when most pages fail.
    pub(in crate::web) async fn keep_summarizing(self: Arc<Self>, clock: Clock, live: Live) {
        let mut minute = tokio::time::interval(SUMMARY);
        loop {
            tokio::select! {
                () = live.closed() => return,
                _ = minute.tick() => {
                    self.summarize(clock.now());
                    error::summarize(Clock::system().now());
                }
            }
        }
    }

    fn windows(&self) -> MutexGuard<'_, [Window; KINDS.len()]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn summary(event: Event, more: u64) {
    let (kind, words) = (event.name(), event.words());
    match event.is_refusal() {
        true => tracing::warn!(event = kind, more, "{words} (more within a minute)"),
        false => tracing::info!(event = kind, more, "{words} (more within a minute)"),
    }
}

/// Logs a change to an operator that the machine's administrator made with a command; `what` is the log message.
pub fn by_command(what: &'static str, operator: Uuid) {
    tracing::info!(event = "operator_changed", %operator, "{what}");
}

/// The signed-in operator's id, for the log: put into a request's extensions once the session is found.
pub(in crate::web) struct SignedInAs(pub(in crate::web) Uuid);

/// Middleware: refusals (403 and 429) of any handler or inner middleware are logged.
pub async fn security_events(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let answer = next.call(request).await?;
    if let Some(event) = refusal(answer.response()) {
        note(answer.request(), event);
    }
    Ok(answer)
}

fn refusal<B>(answer: &HttpResponse<B>) -> Option<Event> {
    match answer.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(Event::Throttled),
        StatusCode::FORBIDDEN => {
            let error = answer.error().and_then(|error| error.as_error::<Error>());
            match error {
                Some(Error::Forbidden) => Some(Event::RoleRefused),
                // The CSRF check answers 403 without an attached error.
                _ => Some(Event::CrossSite),
            }
        }
        _ => None,
    }
}

fn note(request: &HttpRequest, event: Event) {
    let Some(shared) = request.app_data::<Data<Shared>>() else {
        return;
    };
    let operator = request.extensions().get::<SignedInAs>().map(|who| who.0);
    shared.note(event, operator, shared.proxies.client_of(request));
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_minute_has_ten_lines_of_a_kind_and_a_count() {
        let log = SecurityLog::default();
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let window = |event: Event| log.windows()[event as usize];
        for n in 0..25 {
            log.note(Event::SignInFailed, None, None, at(n));
        }
        assert_eq!(window(Event::SignInFailed).count, 25);
        assert_eq!(window(Event::SignedIn).count, 0, "kinds are apart");
        assert_eq!(
            log.windows()[Event::SignInFailed as usize].close(at(59), BURST),
            None
        );
        let more = log.windows()[Event::SignInFailed as usize].close(at(60), BURST);
        assert_eq!(more, Some(15));
        assert_eq!(window(Event::SignInFailed).count, 0);
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        for (n, event) in KINDS.into_iter().enumerate() {
            assert_eq!(event as usize, n);
        }
    }
}
