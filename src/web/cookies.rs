//! The session's cookie, and the device's.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    http::header,
};

use super::{
    Shared, Token,
    device::{self, Device},
};

/// Behind https the name itself makes browsers insist on `Secure`, `Path=/` and no `Domain`.
fn name(shared: &Shared) -> &'static str {
    if shared.is_https() {
        "__Host-session"
    } else {
        "session"
    }
}

fn device_name(shared: &Shared) -> &'static str {
    if shared.is_https() {
        "__Host-device"
    } else {
        "device"
    }
}

fn cookie(shared: &Shared, name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(shared.is_https())
        .same_site(SameSite::Lax)
        .finish()
}

/// The cookie for a new session; ends with the browser, or with the session itself.
pub(super) fn session(shared: &Shared, token: &Token) -> Cookie<'static> {
    cookie(shared, name(shared), token.text().to_owned())
}

/// The cookie that makes a browser a known device; outlives the session.
pub(super) fn device(shared: &Shared, device: &Device) -> Cookie<'static> {
    let value = device.write(shared.keyring.attestation());
    let mut cookie = cookie(shared, device_name(shared), value);
    cookie.set_max_age(Duration::seconds(device::LIFETIME.num_seconds()));
    cookie
}

/// Takes the session's cookie back.
pub(super) fn removal(shared: &Shared) -> Cookie<'static> {
    let mut cookie = session(shared, &Token::claimed(""));
    cookie.set_max_age(Duration::ZERO);
    cookie
}

/// The token the browser sent. Two at once are none: one of them may be planted.
pub(super) fn token(request: &HttpRequest, shared: &Shared) -> Option<Token> {
    only(request, name(shared)).map(|token| Token::claimed(&token))
}

/// The device the browser says to be. Two at once are none.
pub(super) fn known_device(request: &HttpRequest, shared: &Shared) -> Option<Device> {
    let text = only(request, device_name(shared))?;
    Device::read(&text, shared.keyring.attestation(), shared.clock.now())
}

/// The value of the one cookie of this name.
fn only(request: &HttpRequest, name: &str) -> Option<String> {
    let mut values = named(request, name);
    let value = str::from_utf8(values.next()?).ok()?.to_owned();
    values.next().is_none().then_some(value)
}

/// The value of the first cookie of this name, for what decides nothing.
pub(super) fn first<'a>(request: &'a HttpRequest, name: &'a str) -> Option<&'a str> {
    str::from_utf8(named(request, name).next()?).ok()
}

/// The values of the cookies of this name, as they were sent.
///
/// Names are compared byte for byte. actix decodes `%5F%5FHost-session` and drops Unicode's white space around a name:
/// browsers ask nothing of such names, so another host of the domain could set a cookie that is `__Host-session` here only.
/// And it takes none of the cookies where one of them is no UTF-8.
fn named<'a>(request: &'a HttpRequest, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let headers = request.headers().get_all(header::COOKIE);
    let pairs = headers.flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.strip_prefix(b" ").unwrap_or(pair);
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

/// True if the browser sent a session's cookie, valid or not.
pub(super) fn has_session(request: &HttpRequest, shared: &Shared) -> bool {
    named(request, name(shared)).next().is_some()
}
