//! The table of routes: every page, in the order of the navigation bar.

use actix_web::{
    HttpResponse,
    guard::{self, Guard},
    web,
};

use super::{Error, auth, conversation, files, governance, health, see_other};

/// Adds every route except the webhook endpoint.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PathConfig::default().error_handler(|_, _| Error::NotFound.into()))
        .app_data(web::QueryConfig::default().error_handler(|_, _| Error::Unreadable.into()))
        .app_data(
            web::FormConfig::default()
                .limit(16 * 1024)
                .error_handler(|_, _| Error::Unreadable.into()),
        )
        .route("/", read().to(async || see_other("/conversations")))
        .service(
            web::resource("/login")
                .route(read().to(auth::login::page))
                .route(web::post().to(auth::login::sign_in)),
        )
        .route("/logout", web::post().to(auth::login::sign_out))
        .service(
            web::resource("/setup")
                .route(read().to(auth::setup::page))
                .route(web::post().to(auth::setup::make)),
        )
        .route("/conversations", read().to(conversation::pages::list))
        .route(
            "/conversations/{id}",
            read().to(conversation::pages::conversation),
        )
        .route(
            "/conversations/{id}/media",
            read().to(conversation::gallery::page),
        )
        .route(
            "/conversations/{id}/fetch",
            web::post().to(files::fetch::conversation),
        )
        .route(
            "/conversations/{id}/picture",
            read().to(files::attachments::conversation_picture),
        )
        .route(
            "/contacts/{id}/picture",
            read().to(files::attachments::contact_picture),
        )
        .route("/attachments/{id}", read().to(files::attachments::original))
        .route(
            "/attachments/{id}/preview",
            read().to(files::attachments::preview),
        )
        .route(
            "/attachments/{id}/fetch",
            web::post().to(files::fetch::again),
        )
        .service(
            web::resource("/missing")
                .route(read().to(files::fetch::page))
                .route(web::post().to(files::fetch::period)),
        )
        .route("/live", web::get().to(conversation::live::stream))
        .route("/erasures", read().to(governance::erasures::page))
        .route("/erasures.csv", read().to(governance::erasures_csv::file))
        .route("/erasures/{id}", read().to(governance::erasure::page))
        .route(
            "/erasures/{id}/receipt",
            read().to(governance::erasure::receipt),
        )
        .service(
            web::resource("/retention")
                .route(read().to(governance::retention::page))
                .route(web::post().to(governance::retention::add)),
        )
        .route("/retention/{id}", read().to(governance::retention::preview))
        .route(
            "/retention/{id}/on",
            web::post().to(governance::retention::on),
        )
        .route(
            "/retention/{id}/off",
            web::post().to(governance::retention::off),
        )
        .service(
            web::resource("/holds")
                .route(read().to(governance::holds::page))
                .route(web::post().to(governance::holds::set)),
        )
        .route("/holds/{id}", read().to(governance::holds::withheld))
        .route("/holds/{id}/lift", web::post().to(governance::holds::lift))
        .service(
            web::resource("/messages/{id}/erase")
                .route(read().to(governance::orders::page))
                .route(web::post().to(governance::orders::erase)),
        )
        .service(
            web::resource("/conversations/{id}/erase")
                .route(read().to(governance::orders::conversation_page))
                .route(web::post().to(governance::orders::erase_conversation)),
        )
        .route(
            "/contacts/{id}/requests",
            read().to(governance::requests::page),
        )
        .route(
            "/contacts/{id}/erase",
            web::post().to(governance::requests::erase),
        )
        .route(
            "/contacts/{id}/export",
            web::post().to(governance::requests::export),
        )
        .route("/exports/{id}", read().to(files::attachments::export))
        .route("/static/{file}", read().to(files::assets::file))
        .route("/healthz", read().to(health::alive))
        .route("/readyz", read().to(health::door))
        .route("/readyz/pages", read().to(health::pages))
        .default_service(web::route().to(async || Err::<HttpResponse, _>(Error::NotFound)));
}

/// A route for GET and HEAD.
fn read() -> actix_web::Route {
    web::route().guard(guard::fn_guard(|context| {
        guard::Get().check(context) || guard::Head().check(context)
    }))
}
