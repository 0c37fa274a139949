//! Health checks for monitoring: whether the process is alive, and whether it can work.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, web};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{Error, Shared, detached};

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
const WAITING: usize = 8;

/// Whether the database, the object store and the keyring answered.
type Parts = [bool; 3];

/// Beyond this age, a result says nothing any more to a request that may not wait.
const LAST_MAX_AGE: Duration = Duration::from_secs(30);

/// The checks so far.
pub(super) struct Checks {
    /// The last check and when it ended.
    last: Mutex<Option<(Instant, Parts)>>,
    /// One place: for the request that checks.
    checking: Semaphore,
    waiting: Semaphore,
    /// Parts whose last check has not ended: one that hangs is not checked again beside itself.
    running: [AtomicBool; 3],
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            last: Mutex::new(None),
            checking: Semaphore::new(1),
            waiting: Semaphore::new(WAITING),
            running: [const { AtomicBool::new(false) }; 3],
        }
    }
}

impl Checks {
    fn last(&self) -> MutexGuard<'_, Option<(Instant, Parts)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last result, if it is younger than this.
    fn within(&self, age: Duration) -> Option<Parts> {
        let last = *self.last();
        last.filter(|(at, _)| at.elapsed() < age)
            .map(|(_, parts)| parts)
    }

    /// A result that is recent, or else made now. If enough requests wait for one already, the last result; if that is
    /// too old, no part counts as answering.
    async fn result(&self, check: impl Future<Output = Parts>) -> Parts {
        if let Some(parts) = self.within(PROBE_MAX_AGE) {
            return parts;
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return self.within(LAST_MAX_AGE).unwrap_or([false; 3]);
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
}

/// Marks a part as being checked, until it is dropped.
struct Running(web::Data<Shared>, usize);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.checks.running[self.1].store(false, Ordering::Release);
    }
}

/// Whether a part answers in time. A check that takes too long goes on alone, and removes what it has written; until it
/// ends, the part counts as silent.
async fn answers(
    shared: web::Data<Shared>,
    part: usize,
    check: impl Future<Output = bool> + Send + 'static,
) -> bool {
    if shared.checks.running[part].swap(true, Ordering::AcqRel) {
        return false;
    }
    let running = Running(shared, part);
    let check = tokio::spawn(async move {
        let answered = check.await;
        drop(running);
        answered
    });
    matches!(timeout(PROBE_TIMEOUT, check).await, Ok(Ok(true)))
}

/// Checks all parts at the same time.
async fn check(shared: web::Data<Shared>) -> Parts {
    let [one, two, three] = [(); 3].map(|()| shared.clone());
    let database = async move { sqlx::query("select 1").execute(&one.pool).await.is_ok() };
    let objects = async move { two.objects.check().await.is_ok() };
    let keyring = async move { three.keyring.check().await.is_ok() };
    tokio::join!(
        answers(shared.clone(), 0, database),
        answers(shared.clone(), 1, objects),
        answers(shared, 2, keyring)
    )
    .into()
}

/// `GET /readyz`: 200 if the database, the object store and the keyring answer; 503 if one of them does not. Only
/// a request from this machine is told which one.
pub(super) async fn ready(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Error> {
    let local = shared.proxies.is_local(&request);
    detached(async move {
        let all = shared.checks.result(check(shared.clone())).await;
        let ready = all.iter().all(|answers| *answers);
        let mut response = if ready {
            HttpResponse::Ok()
        } else {
            HttpResponse::ServiceUnavailable()
        };
        let [database, objects, keyring] = all.map(word);
        let text = match (local, ready) {
            (true, _) => format!("database {database}\nobjects {objects}\nkeyring {keyring}\n"),
            (false, true) => "ready\n".to_owned(),
            (false, false) => "not ready\n".to_owned(),
        };
        Ok(response
            .content_type("text/plain; charset=utf-8")
            .body(text))
    })
    .await
}

fn word(answers: bool) -> &'static str {
    if answers {
        "answers"
    } else {
        "does not answer"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn requests_do_not_all_wait_for_a_check_that_hangs() {
        let (checks, silent) = (Arc::new(Checks::default()), Arc::new(Notify::new()));
        let asks = || {
            let (checks, silent) = (Arc::clone(&checks), Arc::clone(&silent));
            let check = async move {
                silent.notified().await;
                [true; 3]
            };
            tokio::spawn(async move { checks.result(check).await })
        };
        let waiting: Vec<_> = (0..WAITING).map(|_| asks()).collect();
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
