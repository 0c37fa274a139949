//! Headers on every answer; a handler that needs another value sets its own first.

use actix_web::{http::header, middleware::DefaultHeaders};
use url::Url;

use super::stickers;

/// No script, style, picture, form or frame but our own; strings can't become script (Trusted Types).
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What a page may use of the device: nothing but the whole screen, and a small window, for a video.
pub(super) const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(self), \
    geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), payment=(), \
    picture-in-picture=(self), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), \
    xr-spatial-tracking=()";

/// The policy of a page that shows pictures of stickers: pictures may come from LINE's host of stickers too.
pub(super) fn with_stickers() -> (header::HeaderName, String) {
    let pictures = format!("img-src 'self' {}", stickers::HOST);
    (
        header::CONTENT_SECURITY_POLICY,
        CSP.replace("img-src 'self'", &pictures),
    )
}

/// Wraps an app so that each of its answers, errors and redirects included, has the security headers. It has to be
/// outside of everything that answers. An app whose public address is https tells browsers to come by https only.
pub fn headers(public_url: &Url) -> DefaultHeaders {
    let headers = DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, CSP))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // With `no-referrer` Chromium, and Safari before 16.4, send `Origin: null` with our own forms. Over plain http at
        // a name other than localhost `Sec-Fetch-Site` is not sent, and nothing else says that a form is ours.
        .add((header::REFERRER_POLICY, "same-origin"))
        .add((header::PERMISSIONS_POLICY, PERMISSIONS))
        .add(("cross-origin-opener-policy", "same-origin"))
        .add(("cross-origin-resource-policy", "same-origin"))
        .add((header::CACHE_CONTROL, "no-store"));
    if public_url.scheme() != "https" {
        return headers;
    }
    headers.add((
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=31536000; includeSubDomains",
    ))
}
