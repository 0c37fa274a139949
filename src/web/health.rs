//! Health checks: whether the process is alive, whether it takes webhooks, and whether its pages have all they need.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, web};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{Error, Shared, detached, webhook::Webhook};
use crate::watchdog::watch;

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// How long a result is reused: a check writes to the object store, and strangers can request one as often as they
/// like.
const PROBE_MAX_AGE: Duration = Duration::from_secs(2);

/// A part that does not answer within this time counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests wait for the check that runs. Strangers may request it on every connection there is: while the
/// object store was silent, their waiting requests left no connection for webhooks.
const MAX_WAITING_REQUESTS: usize = 8;

/// Beyond this age, a result says nothing any more to a request that may not wait.
const LAST_MAX_AGE: Duration = Duration::from_secs(30);

/// The checks so far of so many parts.
pub(super) struct Checks<const N: usize> {
    /// The last check and when it ended.
    last: Mutex<Option<(Instant, [bool; N])>>,
    /// One permit, held by the request that runs the check.
    checking: Semaphore,
    waiting: Semaphore,
    /// Parts whose last check has not ended: one that hangs is not checked again beside itself.
    running: [Arc<AtomicBool>; N],
}

impl<const N: usize> Default for Checks<N> {
    fn default() -> Self {
        Self {
            last: Mutex::new(None),
            checking: Semaphore::new(1),
            waiting: Semaphore::new(MAX_WAITING_REQUESTS),
            running: std::array::from_fn(|_| Arc::default()),
        }
    }
}

impl<const N: usize> Checks<N> {
    fn last(&self) -> MutexGuard<'_, Option<(Instant, [bool; N])>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last result, if it is younger than this.
    fn within(&self, age: Duration) -> Option<[bool; N]> {
        let last = *self.last();
        last.filter(|(at, _)| at.elapsed() < age)
            .map(|(_, parts)| parts)
    }

    /// A result that is recent, or else made now. If enough requests wait for one already, the last result; if that is
    /// too old, no part counts as answering.
    async fn result(&self, check: impl Future<Output = [bool; N]>) -> [bool; N] {
        if let Some(parts) = self.within(PROBE_MAX_AGE) {
            return parts;
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return self.within(LAST_MAX_AGE).unwrap_or([false; N]);
        };
        let _turn = self.checking.acquire().await;
        // Made while this request waited for its turn.
        if let Some(parts) = self.within(PROBE_MAX_AGE) {
            return parts;
        }
        let parts = check.await;
        *self.last() = Some((Instant::now(), parts));
        parts
    }

    /// Whether a part answers in time. A check that takes too long goes on alone, and removes what it has written; until it
    /// ends, the part counts as silent.
    async fn answers(
        &self,
        part: usize,
        check: impl Future<Output = bool> + Send + 'static,
    ) -> bool {
        answers(&self.running[part], check).await
    }
}

/// Marks a part as being checked, until it is dropped.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

async fn answers(
    running: &Arc<AtomicBool>,
    check: impl Future<Output = bool> + Send + 'static,
) -> bool {
    if running.swap(true, Ordering::AcqRel) {
        return false;
    }
    let running = Running(Arc::clone(running));
    let check = tokio::spawn(async move {
        let answered = check.await;
        drop(running);
        answered
    });
    matches!(timeout(PROBE_TIMEOUT, check).await, Ok(Ok(true)))
}

/// `GET /readyz`: 200 if webhooks are stored now: every lane of the committer commits a row, and keys are left. It says nothing
/// of the object store, without which webhooks are stored too. Only a request from this machine is told which part fails.
pub(super) async fn door(
    request: HttpRequest,
    shared: web::Data<Shared>,
    webhook: web::Data<Webhook>,
) -> Result<HttpResponse, Error> {
    let local = shared.proxies.is_local(&request);
    detached(async move {
        let (ingest, keyring) = (webhook.ingest.clone(), shared.keyring.clone());
        let database = async move { ingest.probe().await.is_ok() };
        let keys = async move { keyring.has_spare() || keyring.check().await.is_ok() };
        let checks = &shared.door;
        let check =
            async { tokio::join!(checks.answers(0, database), checks.answers(1, keys)).into() };
        let parts = checks.result(check).await;
        let words = [
            ("database", ["stores webhooks", "does not store webhooks"]),
            ("keys", ["are left", "are used up"]),
        ];
        Ok(answer(local, parts, words))
    })
    .await
}

/// `GET /readyz/pages`: 200 if the database, the object store and the keyring answer. As [`door`], it names a part to this machine
/// only.
pub(super) async fn pages(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Error> {
    const ANSWERS: [&str; 2] = ["answers", "does not answer"];
    let local = shared.proxies.is_local(&request);
    detached(async move {
        let [one, two, three] = [(); 3].map(|()| shared.clone());
        let database = async move {
            let asked = watch(PROBE_TIMEOUT, sqlx::query("select 1").execute(&one.pool));
            matches!(asked.await, Ok(Ok(_)))
        };
        let objects = async move { two.objects.check().await.is_ok() };
        let keyring = async move { three.keyring.check().await.is_ok() };
        let checks = &shared.checks;
        let check = async {
            tokio::join!(
                checks.answers(0, database),
                checks.answers(1, objects),
                checks.answers(2, keyring)
            )
            .into()
        };
        let parts = checks.result(check).await;
        Ok(answer(
            local,
            parts,
            ["database", "objects", "keyring"].map(|part| (part, ANSWERS)),
        ))
    })
    .await
}

/// The response for these parts: their names, each with the text for a passing and for a failing part.
fn answer<const N: usize>(
    local: bool,
    parts: [bool; N],
    words: [(&str, [&str; 2]); N],
) -> HttpResponse {
    let ready = parts.iter().all(|is_well| *is_well);
    let mut response = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    let lines = parts
        .iter()
        .zip(words)
        .map(|(is_well, (part, [passing, failing]))| {
            format!("{part} {}\n", if *is_well { passing } else { failing })
        });
    let text = match (local, ready) {
        (true, _) => lines.collect(),
        (false, true) => "ready\n".to_owned(),
        (false, false) => "not ready\n".to_owned(),
    };
    response
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn requests_do_not_all_wait_for_a_check_that_hangs() {
        let (checks, silent) = (Arc::new(Checks::<3>::default()), Arc::new(Notify::new()));
        let asks = || {
            let (checks, silent) = (Arc::clone(&checks), Arc::clone(&silent));
            let check = async move {
                silent.notified().await;
                [true; 3]
            };
            tokio::spawn(async move { checks.result(check).await })
        };
        let waiting: Vec<_> = (0..MAX_WAITING_REQUESTS).map(|_| asks()).collect();
        while checks.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            let at_once = timeout(PROBE_TIMEOUT, asks()).await.expect("no wait");
            assert_eq!(at_once.expect("an answer"), [false; 3], "none is known");
        }
        silent.notify_one();
        for one in waiting {
            assert_eq!(
                one.await.expect("an answer"),
                [true; 3],
                "one check for all"
            );
        }
        assert_eq!(asks().await.expect("an answer"), [true; 3]);
    }
}
