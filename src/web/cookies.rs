//! The session's cookie, and the device's.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    http::header,
    web::Data,
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
    let mut cookie = cookie(shared, name(shared), String::new());
    cookie.set_max_age(Duration::ZERO);
    cookie
}

/// The token the browser sent, if this service made it. Two at once are none: one of them may be planted.
pub(super) fn token(request: &HttpRequest, shared: &Shared) -> Option<Token> {
    Token::read(only(request, name(shared))?, shared.keyring.attestation())
}

/// The device the browser says to be. Two at once are none.
pub(super) fn known_device(request: &HttpRequest, shared: &Shared) -> Option<Device> {
    let text = only(request, device_name(shared))?;
    Device::read(text, shared.keyring.attestation(), shared.clock.now())
}

/// The value of the one cookie of this name.
fn only<'a>(request: &'a HttpRequest, name: &'a str) -> Option<&'a str> {
    let mut values = named(request, name);
    let value = str::from_utf8(values.next()?).ok()?;
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

/// True if the request comes with a session's cookie that this service made; the session may have ended.
pub(super) fn is_of_a_session(request: &HttpRequest) -> bool {
    let shared = request.app_data::<Data<Shared>>();
    shared.is_some_and(|shared| token(request, shared).is_some())
}

/// True if the browser sent a session's cookie, valid or not.
pub(super) fn has_session(request: &HttpRequest, shared: &Shared) -> bool {
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
