//! The session's cookie.

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
};

use super::{Shared, Token};

/// Behind https the name itself makes browsers insist on `Secure`, `Path=/` and no `Domain`.
fn name(shared: &Shared) -> &'static str {
    if shared.is_https() {
        "__Host-session"
    } else {
        "session"
    }
}

/// The cookie for a new session; ends with the browser, or with the session itself.
pub(super) fn session(shared: &Shared, token: &Token) -> Cookie<'static> {
    Cookie::build(name(shared), token.text().to_owned())
        .path("/")
        .http_only(true)
        .secure(shared.is_https())
        .same_site(SameSite::Lax)
        .finish()
}

/// Takes the session's cookie back.
pub(super) fn removal(shared: &Shared) -> Cookie<'static> {
    let mut cookie = session(shared, &Token::claimed(""));
    cookie.set_max_age(Duration::ZERO);
    cookie
}

/// The token the browser sent. Two at once are none: one of them may be planted.
pub(super) fn token(request: &HttpRequest, shared: &Shared) -> Option<Token> {
    let cookies = request.cookies().ok()?;
    let mut tokens = cookies
        .iter()
        .filter(|cookie| cookie.name() == name(shared));
    let token = tokens.next()?;
    tokens
        .next()
        .is_none()
        .then(|| Token::claimed(token.value()))
}

/// True if the browser sent a session's cookie, valid or not.
pub(super) fn has_session(request: &HttpRequest, shared: &Shared) -> bool {
    request
        .cookies()
        .is_ok_and(|cookies| cookies.iter().any(|cookie| cookie.name() == name(shared)))
}
