//! The parts that every page shares: its time and its response.

use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;

use super::{Error, Shared, preferences::Preferences, when::Now};

/// The time that all of a page shows, in the browser's time zone.
pub(in crate::web) fn now(shared: &Shared, preferences: Preferences) -> Now {
    Now {
        at: shared.clock.now(),
        zone: preferences.zone,
    }
}

/// The page, with status 200.
pub(in crate::web) fn html(page: &impl Template) -> Result<HttpResponse, Error> {
    html_in(HttpResponse::Ok(), page)
}

/// The page as the body of `response`, which has the status and further headers.
pub(in crate::web) fn html_in(
    mut response: HttpResponseBuilder,
    page: &impl Template,
) -> Result<HttpResponse, Error> {
    Ok(response
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}
