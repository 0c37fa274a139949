//! For those who watch over the service: is it alive, can it work.

use actix_web::{HttpResponse, web};

use super::{Error, Shared, detached};

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the database and the bucket answer; 503 and which of them does not.
pub(super) async fn ready(shared: web::Data<Shared>) -> Result<HttpResponse, Error> {
    detached(async move {
        let database = sqlx::query("select 1").execute(&shared.pool).await.is_ok();
        let text = format!("database {}\n", word(database));
        let mut response = if database {
            HttpResponse::Ok()
        } else {
            HttpResponse::ServiceUnavailable()
        };
        Ok(response.content_type("text/plain; charset=utf-8").body(text))
    })
    .await
}

fn word(answers: bool) -> &'static str {
    if answers { "answers" } else { "does not answer" }
}
