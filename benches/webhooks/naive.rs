//! A simple handler in Rust, as one would write it first: verify the signature, one INSERT for each event through a
//! pool of 20 connections, answer 200.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use line_chat_archive::line::signature;
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::bodies::{PATH, SECRET};

#[derive(Deserialize)]
struct Webhook<'a> {
    destination: &'a str,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    webhook_event_id: &'a str,
    timestamp: i64,
    #[serde(borrow)]
    source: Source<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    user_id: &'a str,
}

/// Serves until it is killed. The port and the database come from the environment, as for every app.
pub fn serve() -> Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    actix_web::rt::System::new().block_on(async move {
        let pool = PgPoolOptions::new()
            .max_connections(20)
            .connect_with(PgConnectOptions::new())
            .await?;
        let pool = web::Data::new(pool);
        HttpServer::new(move || {
            App::new()
                .app_data(pool.clone())
                .route(PATH, web::post().to(receive))
        })
        .bind(("127.0.0.1", port))?
        .run()
        .await
        .context("serving")
    })
}

async fn receive(request: HttpRequest, body: web::Bytes, pool: web::Data<PgPool>) -> HttpResponse {
    let signature = request.headers().get("x-line-signature");
    if !signature.is_some_and(|given| signature::verify(SECRET.as_bytes(), &body, given.as_bytes()))
    {
        return HttpResponse::Unauthorized().finish();
    }
    match keep(&body, &pool).await {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

async fn keep(body: &[u8], pool: &PgPool) -> Result<()> {
    let webhook: Webhook<'_> = serde_json::from_slice(body)?;
    for raw in webhook.events {
        let event: Event<'_> = serde_json::from_str(raw.get())?;
        sqlx::query(
            "insert into webhook_event (webhook_event_id, destination, user_id, occurred_at, payload)
             values ($1, $2, $3, $4, $5::text::jsonb) on conflict do nothing",
        )
        .bind(event.webhook_event_id)
        .bind(webhook.destination)
        .bind(event.source.user_id)
        .bind(event.timestamp)
        .bind(raw.get())
        .execute(pool)
        .await?;
    }
    Ok(())
}
