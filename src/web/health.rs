//! For those who watch over the service: is it alive, can it work.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use tokio::{sync::Mutex, time::Instant};

use super::{Error, Shared, detached};

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// Whether the database, the bucket and the keyring answered, and when they were asked.
pub(super) type Last = Mutex<Option<(Instant, [bool; 3])>>;

/// Asking writes to the bucket, so a stranger gets the last answer for this long.
const FRESH: Duration = Duration::from_secs(2);

/// `GET /readyz`: the database, the bucket and the keyring answer; 503 and which of them does not.
pub(super) async fn ready(shared: web::Data<Shared>) -> Result<HttpResponse, Error> {
    detached(async move {
        let mut last = shared.ready.lock().await;
        let (_, all) = match *last {
            Some(last) if last.0.elapsed() < FRESH => last,
            _ => {
                let database = sqlx::query("select 1").execute(&shared.pool).await.is_ok();
                let objects = shared.objects.check().await.is_ok();
                let keyring = shared.keyring.check().await.is_ok();
                *last.insert((Instant::now(), [database, objects, keyring]))
            }
        };
        let mut response = if all.iter().all(|answers| *answers) {
            HttpResponse::Ok()
        } else {
            HttpResponse::ServiceUnavailable()
        };
        let [database, objects, keyring] = all.map(word);
        let text = format!("database {database}\nobjects {objects}\nkeyring {keyring}\n");
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
