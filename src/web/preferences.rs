//! The preferences of a browser: its time zone and its theme, from two cookies that the page's script sets.

use std::convert::Infallible;

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use chrono_tz::Tz;

use super::http::cookies;

/// Preferences of one browser; they have no effect on others.
#[derive(Clone, Copy)]
pub(super) struct Preferences {
    /// Times are shown in this zone; UTC until the browser has sent one.
    pub(super) zone: Tz,
    /// `light` or `dark`; empty: the system's setting.
    pub(super) theme: &'static str,
}

impl FromRequest for Preferences {
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let cookie = |name| cookies::first(request, name);
        std::future::ready(Ok(Self {
            zone: cookie("zone")
                .and_then(|zone| zone.parse().ok())
                .unwrap_or(Tz::UTC),
            theme: match cookie("theme") {
                Some("light") => "light",
                Some("dark") => "dark",
                _ => "",
            },
        }))
    }
}
