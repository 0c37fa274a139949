//! Health checks for monitoring: whether the process is alive, and whether it can work.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use tokio::{sync::Mutex, time::Instant};

use super::{Error, Shared, detached};

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The last check: when it was made, and whether the database, the object store and the keyring answered.
pub(super) type LastCheck = Mutex<Option<(Instant, [bool; 3])>>;

/// How long a result is reused: a check writes to the object store, and strangers can request one as often as they
/// like.
const PROBE_MAX_AGE: Duration = Duration::from_secs(2);

/// `GET /readyz`: 200 if the database, the object store and the keyring answer; 503 if one of them does not. Only
/// a request from this machine is told which one.
pub(super) async fn ready(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Error> {
    let local = shared.proxies.is_local(&request);
    detached(async move {
        let mut last = shared.ready.lock().await;
        let (_, all) = match *last {
            Some(last) if last.0.elapsed() < PROBE_MAX_AGE => last,
            _ => {
                let database = sqlx::query("select 1").execute(&shared.pool).await.is_ok();
                let objects = shared.objects.check().await.is_ok();
                let keyring = shared.keyring.check().await.is_ok();
                *last.insert((Instant::now(), [database, objects, keyring]))
            }
        };
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
