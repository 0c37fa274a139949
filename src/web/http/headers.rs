//! The security headers of every response. A header that a handler has set itself stays as it is.

use actix_web::{http::header, middleware::DefaultHeaders};
use url::Url;

use crate::web::conversation::stickers;

/// Allows scripts, styles, pictures, media, connections and forms of our own origin only, and no frames. Strings cannot
/// become script (Trusted Types).
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The features of the browser that a page may use: only fullscreen and picture-in-picture, for a video.
pub(in crate::web) const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(self), \
    geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), payment=(), \
    picture-in-picture=(self), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), \
    xr-spatial-tracking=()";

/// The content security policy of a page that shows stickers: it allows pictures from LINE's sticker host too.
pub(in crate::web) fn with_stickers() -> (header::HeaderName, String) {
    let pictures = format!("img-src 'self' {}", stickers::HOST);
    (
        header::CONTENT_SECURITY_POLICY,
        CSP.replace("img-src 'self'", &pictures),
    )
}

/// Wraps an app so that each response, errors and redirects included, has the security headers. It has to wrap
/// everything that responds. If `public_url` is https, browsers are told to use https only (HSTS, one year).
pub fn headers(public_url: &Url) -> DefaultHeaders {
    let headers = DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, CSP))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // With `no-referrer` Chromium, and Safari before 16.4, send `Origin: null` with our own forms. Over plain http
        // at a name other than localhost, browsers do not send `Sec-Fetch-Site`, and only `Origin` shows that a form
        // comes from our own page.
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
