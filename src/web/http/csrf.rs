//! CSRF protection: a request that changes something must come from our own pages. Browsers say so in `Sec-Fetch-Site`,
//! older ones in `Origin`, so forms need no CSRF token.

use actix_web::{
    Error as ActixError, HttpRequest, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header},
    middleware::Next,
    web::Data,
};

use super::cookies;
use crate::web::{Error, Shared};

/// Middleware: cross-site POSTs (and all other methods except GET, HEAD and OPTIONS) are answered 403. Webhooks are
/// exempt: they have a signature instead of a cookie.
pub async fn csrf(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if safe || request.path().starts_with("/webhook/") || is_ours(request.request()) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let answer = Error::CrossSite.error_response().map_into_right_body();
    Ok(request.into_response(answer))
}

fn is_ours(request: &HttpRequest) -> bool {
    let shared = request.app_data::<Data<Shared>>();
    may_pass(
        text(request, header::HeaderName::from_static("sec-fetch-site")),
        text(request, header::ORIGIN),
        &origins(request, shared),
        shared.is_some_and(|shared| cookies::has_session(request, shared)),
    )
}

/// The origins of our own pages: that of the public address, and that of the address this request was sent to.
fn origins(request: &HttpRequest, shared: Option<&Data<Shared>>) -> Vec<String> {
    let public = shared.map(|shared| &shared.public_url);
    let behind_tls = shared.and_then(|shared| shared.proxies.says_https(request));
    own_origins(public, text(request, header::HOST), behind_tls)
}

/// The origins of our own pages. `behind_tls`: whether a trusted proxy says that its client uses https. This service
/// itself serves plain HTTP only.
fn own_origins(
    public: Option<&url::Url>,
    host: Option<&str>,
    behind_tls: Option<bool>,
) -> Vec<String> {
    let mut own: Vec<String> = public
        .map(|url| url.origin().ascii_serialization())
        .into_iter()
        .collect();
    let host = host.map(str::to_ascii_lowercase);
    // The public address has one scheme only, and its origin is in the list already.
    if let Some(host) = host.filter(|host| public.is_none_or(|url| authority(url) != *host)) {
        let scheme = match behind_tls {
            Some(true) => "https",
            _ => "http",
        };
        own.push(format!("{scheme}://{host}"));
    }
    own
}

/// A header's text. A value that is not text becomes `?`, which counts as foreign.
fn text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap_or("?"))
}

fn authority(url: &url::Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

/// True if an unsafe request may pass; `own` are the origins of our pages. If the browser sends neither header, a
/// request with a session's cookie is refused.
fn may_pass(site: Option<&str>, origin: Option<&str>, own: &[String], session: bool) -> bool {
    match (site, origin) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => own.iter().any(|own| own == origin),
        (None, None) => !session,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_fetch_site_takes_precedence_over_origin() {
        for origin in [
            None,
            Some("null"),
            Some("https://archive.test"),
            Some("https://evil.test"),
        ] {
            for session in [false, true] {
                let own = ["http://archive.test".to_owned()];
                let passes = |site| may_pass(Some(site), origin, &own, session);
                assert!(passes("same-origin"));
                assert!(passes("none"));
                assert!(!passes("same-site"));
                assert!(!passes("cross-site"));
                assert!(!passes("?"));
            }
        }
    }

    #[test]
    fn an_older_browser_is_judged_by_its_origin() {
        let public = "https://archive.test".parse().expect("a URL");
        let own = own_origins(Some(&public), Some("127.0.0.1:8080"), None);
        let passes = |origin| may_pass(None, Some(origin), &own, true);
        assert!(passes("http://127.0.0.1:8080"));
        assert!(passes("https://archive.test"));
        for foreign in [
            "null",
            "https://evil.test",
            "https://archive.test.evil.test",
            "https://archive.test:8443",
            "http://archive.test",
            "https://127.0.0.1:8080",
            "http://127.0.0.1",
            "http://127.0.0.1:8080/",
            "HTTP://127.0.0.1:8080",
            "ftp://archive.test",
            "",
            "?",
        ] {
            assert!(!passes(foreign), "{foreign}");
        }
    }

    #[test]
    fn our_host_with_another_scheme_is_cross_origin() {
        let https = "https://archive.test".parse().expect("a URL");
        let http = "http://127.0.0.1:8080".parse().expect("a URL");
        for (public, host, behind_tls, origins) in [
            (&https, "archive.test", None, &["https://archive.test"][..]),
            (
                &https,
                "Archive.test",
                Some(false),
                &["https://archive.test"],
            ),
            (
                &https,
                "10.0.0.7:8080",
                None,
                &["https://archive.test", "http://10.0.0.7:8080"],
            ),
            (
                &http,
                "127.0.0.1:8080",
                Some(true),
                &["http://127.0.0.1:8080"],
            ),
            (
                &http,
                "archive.test",
                Some(true),
                &["http://127.0.0.1:8080", "https://archive.test"],
            ),
            (
                &http,
                "archive.test",
                None,
                &["http://127.0.0.1:8080", "http://archive.test"],
            ),
        ] {
            let own = own_origins(Some(public), Some(host), behind_tls);
            assert_eq!(own, origins, "{public} {host} {behind_tls:?}");
        }
    }

    #[test]
    fn a_request_without_both_headers_passes_only_without_a_session() {
        assert!(may_pass(
            None,
            None,
            &["http://archive.test".to_owned()],
            false
        ));
        assert!(!may_pass(
            None,
            None,
            &["http://archive.test".to_owned()],
            true
        ));
    }

    #[test]
    fn a_urls_authority_has_its_port_unless_it_is_the_usual_one() {
        let of = |text: &str| authority(&text.parse().expect("a URL"));
        assert_eq!(of("https://archive.test/"), "archive.test");
        assert_eq!(of("https://archive.test:443"), "archive.test");
        assert_eq!(of("http://u:p@127.0.0.1:8080/x"), "127.0.0.1:8080");
    }
}
