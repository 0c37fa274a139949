//! The cookies of sessions and devices.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    http::header,
    web::Data,
};

use crate::web::{
    Shared, Token,
    auth::device::{self, Device},
};

/// With https, the prefix `__Host-` makes browsers insist on `Secure`, `Path=/` and no `Domain`.
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
pub(in crate::web) fn session(shared: &Shared, token: &Token) -> Cookie<'static> {
    cookie(shared, name(shared), token.text().to_owned())
}

/// The cookie that makes a browser a known device; outlives the session.
pub(in crate::web) fn device(shared: &Shared, device: &Device) -> Cookie<'static> {
    let value = device.write(shared.keyring.attestation());
    let mut cookie = cookie(shared, device_name(shared), value);
    cookie.set_max_age(Duration::seconds(device::LIFETIME.num_seconds()));
    cookie
}

/// A cookie by which the browser deletes the session's cookie.
pub(in crate::web) fn removal(shared: &Shared) -> Cookie<'static> {
    let mut cookie = cookie(shared, name(shared), String::new());
    cookie.set_max_age(Duration::ZERO);
    cookie
}

/// The token that the browser sent, if this service made it. `None` if there are two cookies: one may be planted.
pub(in crate::web) fn token(request: &HttpRequest, shared: &Shared) -> Option<Token> {
    Token::read(only(request, name(shared))?, shared.keyring.attestation())
}

/// The device of the cookie that the browser sent, if it is valid. `None` if there are two cookies.
pub(in crate::web) fn known_device(request: &HttpRequest, shared: &Shared) -> Option<Device> {
    let text = only(request, device_name(shared))?;
    Device::read(text, shared.keyring.attestation(), shared.clock.now())
}

/// The value of the cookie of this name; `None` if there are several.
fn only<'a>(request: &'a HttpRequest, name: &'a str) -> Option<&'a str> {
    let mut values = named(request, name);
    let value = str::from_utf8(values.next()?).ok()?;
    values.next().is_none().then_some(value)
}

/// The value of the first cookie of this name. Not for cookies on which access depends.
pub(in crate::web) fn first<'a>(request: &'a HttpRequest, name: &'a str) -> Option<&'a str> {
    str::from_utf8(named(request, name).next()?).ok()
}

/// The values of the cookies of this name, as they were sent.
///
/// Names are compared byte for byte. actix decodes `%5F%5FHost-session` and drops Unicode's white space around a name.
/// Browsers do not apply the rules of `__Host-` to such names, so another host of the domain could set a cookie that
/// only this service would read as `__Host-session`. actix also ignores all cookies if one of them is not UTF-8.
fn named<'a>(request: &'a HttpRequest, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let headers = request.headers().get_all(header::COOKIE);
    let pairs = headers.flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.strip_prefix(b" ").unwrap_or(pair);
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

/// True if the request has a session's cookie that this service made; the session may have ended.
pub(in crate::web) fn is_of_a_session(request: &HttpRequest) -> bool {
    let shared = request.app_data::<Data<Shared>>();
    shared.is_some_and(|shared| token(request, shared).is_some())
}

/// True if the browser sent a session's cookie, valid or not.
pub(in crate::web) fn has_session(request: &HttpRequest, shared: &Shared) -> bool {
    named(request, name(shared)).next().is_some()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_two_of_a_name_are_none() {
        for (headers, all, one) in [
            (&["session=a"][..], &["a"][..], Some("a")),
            (
                &["zone=Asia/Tokyo; session=a;theme=dark"],
                &["a"],
                Some("a"),
            ),
            (&["x=session=b", "session=a"], &["a"], Some("a")),
            // Names and values are compared as they were sent.
            (&[" session=a"], &["a"], Some("a")),
            (&["session =a", "  session=a", "\tsession=a"], &[], None),
            (&["session=a; session=b"], &["a", "b"], None),
            (&["session=a", "session=b"], &["a", "b"], None),
            (&["session=a=b"], &["a=b"], Some("a=b")),
            (&["session="], &[""], Some("")),
            (
                &["my_session=a; sessions=b; %73ession=c; session"],
                &[],
                None,
            ),
            (&["Session=a"], &[], None),
            (&[";;=;"], &[], None),
            (&[], &[], None),
        ] {
            let mut request = TestRequest::default();
            for header in headers {
                request = request.append_header((header::COOKIE, *header));
            }
            let request = request.to_http_request();
            let found: Vec<_> = named(&request, "session")
                .map(|value| str::from_utf8(value).unwrap())
                .collect();
            assert_eq!(found, all, "{headers:?}");
            assert_eq!(only(&request, "session"), one, "{headers:?}");
        }
    }
}
