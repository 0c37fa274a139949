//! What a browser prefers: its time zone and its theme, from two cookies its script sets.

use std::convert::Infallible;

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use chrono_tz::Tz;

use super::cookies;

/// Preferences of the browser; they matter to nobody else.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// Times are shown in this zone; UTC until the browser has told.
    pub(super) zone: Tz,
    /// `light` or `dark`; empty: as the system.
    pub(super) theme: &'static str,
}

impl FromRequest for Look {
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let cookie = |name| cookies::values(request, name).next();
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
