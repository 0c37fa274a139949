//! Checks before every route: the site that a request comes from, and the headers that restrict an answer.

use reqwest::{Method, Response, header};

use crate::site::{Site, between};

#[tokio::test]
async fn nothing_is_changed_for_another_site() {
    let site = Site::new().await;
    site.operator("keiko", "admin", None).await;
    let keiko = site.visitor("keiko").await;
    let own = format!("http://{}", site.service.address);
    let sites = [
        None,
        Some("same-origin"),
        Some("none"),
        Some("same-site"),
        Some("cross-site"),
    ];
    let origins = [
        None,
        Some("null"),
        Some("https://evil.test"),
        Some(own.as_str()),
    ];
    for path in ["/login", "/logout", "/setup", "/conversations", "/nowhere"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            for site in sites {
                for origin in origins {
                    let mut request = site_request(&keiko, &method, path, site, origin);
                    if path == "/logout" && method == Method::POST {
                        // A foreign cookie, so that the session survives for the other cases.
                        request = request.header(header::COOKIE, "session=none");
                    }
                    let status = request.send().await.unwrap().status().as_u16();
                    let ours = match site {
                        Some(site) => matches!(site, "same-origin" | "none"),
                        None => origin == Some(&own),
                    };
                    assert_eq!(
                        status == 403,
                        !ours,
                        "{method} {path} {site:?} {origin:?}: {status}"
                    );
                }
            }
        }
    }
    assert_eq!(keiko.status("/conversations").await, 200, "still signed in");
    let cross = keiko
        .request(Method::GET, "/conversations")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(
        cross.send().await.unwrap().status(),
        200,
        "a link from elsewhere may lead here"
    );
}

fn site_request(
    keiko: &crate::support::visitor::Visitor,
    method: &Method,
    path: &str,
    site: Option<&str>,
    origin: Option<&str>,
) -> reqwest::RequestBuilder {
    let mut request = keiko.request(method.clone(), path);
    if let Some(site) = site {
        request = request.header("sec-fetch-site", site);
    }
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    request
}

fn text<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_forbids_what_it_does_not_need() {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_text("hello").await.unwrap();
    let admin = site.admin().await;
    let id: uuid::Uuid = site.one("select id from conversation").await;
    for (path, status) in [
        ("/", 303),
        ("/login", 200),
        ("/conversations", 200),
        (&format!("/conversations/{id}") as &str, 200),
        ("/conversations/not-an-id", 404),
        ("/conversations?before=nonsense", 404),
        ("/erasures", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/readyz/pages", 200),
        ("/nowhere", 404),
        ("/setup?token=x", 404),
        ("/webhook/shop", 404),
        ("/login/../../etc/passwd", 404),
    ] {
        let answer = admin.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        let csp = text(&answer, "content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "object-src 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(
                csp.split("; ").any(|directive| directive == part),
                "{path}: {csp}"
            );
        }
        assert!(
            !csp.contains("unsafe") && !csp.contains("http"),
            "{path}: {csp}"
        );
        assert_eq!(text(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(text(&answer, "referrer-policy"), "same-origin", "{path}");
        let permissions = text(&answer, "permissions-policy");
        for feature in ["camera", "microphone", "geolocation", "payment", "usb"] {
            let off = format!("{feature}=()");
            assert!(
                permissions.split(", ").any(|one| one == off),
                "{path}: {permissions}"
            );
        }
        assert_eq!(
            text(&answer, "cross-origin-opener-policy"),
            "same-origin",
            "{path}"
        );
        assert_eq!(
            text(&answer, "cross-origin-resource-policy"),
            "same-origin",
            "{path}"
        );
        assert_eq!(text(&answer, "cache-control"), "no-store", "{path}");
        let body = answer.text().await.unwrap();
        for inline in [" style=", " onclick=", " onload=", "javascript:", "<style"] {
            assert!(!body.contains(inline), "{path}: {inline}");
        }
    }
}

#[tokio::test]
async fn only_what_is_the_same_for_everybody_is_kept_by_browsers() {
    let site = Site::new().await;
    let stranger = site.stranger();
    let page = stranger.page("/login").await;
    let files: Vec<_> = ["href", "src"]
        .iter()
        .flat_map(|attribute| between(&page, &format!("{attribute}=\"/static/"), "\""))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let path = format!("/static/{file}");
        let answer = stranger.get(&path).await;
        assert_eq!(
            text(&answer, "cache-control"),
            "public, max-age=31536000, immutable",
            "{path}"
        );
        assert_eq!(text(&answer, "x-content-type-options"), "nosniff");
        let (plain, _) = path.split_once('?').unwrap();
        assert_eq!(
            text(&stranger.get(plain).await, "cache-control"),
            "no-store",
            "without its checksum"
        );
    }
    for missing in [
        "/static/",
        "/static/nothing.js",
        "/static/..%2fsrc%2flib.rs",
        "/static/../Cargo.toml",
    ] {
        assert_eq!(stranger.status(missing).await, 404, "{missing}");
    }
}

#[tokio::test]
async fn a_failing_database_is_told_without_its_words() {
    let site = Site::new().await;
    let admin = site.admin().await;
    let mut db = site.db().await;
    sqlx::query("alter table conversation rename to lost")
        .execute(&mut db)
        .await
        .unwrap();
    let answer = admin.get("/conversations").await;
    assert_eq!(answer.status(), 500);
    assert_eq!(text(&answer, "cache-control"), "no-store");
    let page = answer.text().await.unwrap();
    for word in [
        "relation",
        "conversation\"",
        "42P01",
        "sqlx",
        "panicked",
        "src/",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert_eq!(between(&page, "Id of this answer: <code>", "<").len(), 1);
}

#[tokio::test]
async fn what_is_refused_has_the_headers_too() {
    let site = Site::new().await;
    let answer = site
        .stranger()
        .request(Method::POST, "/login")
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    assert!(text(&answer, "content-security-policy").contains("default-src 'none'"));
    assert_eq!(text(&answer, "cache-control"), "no-store");
}

/// For browsers that do not send `Sec-Fetch-Site`, the `Origin` decides, and its scheme counts.
#[tokio::test]
async fn the_other_scheme_of_the_same_host_is_another_site() {
    let status = async |site: &Site, host: &str, origin: &str, proto: Option<&str>| {
        let visitor = site.stranger();
        let mut request = site_request(&visitor, &Method::POST, "/logout", None, Some(origin))
            .header(header::HOST, host);
        if let Some(proto) = proto {
            request = request.header("x-forwarded-proto", proto);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let site = Site::new().await;
    let own = site.service.address.to_string();
    for (host, origin, proto, expected) in [
        (own.as_str(), format!("http://{own}"), None, 303),
        (&own, format!("https://{own}"), None, 403),
        (&own, format!("https://{own}"), Some("https"), 403),
        ("archive.test", "http://archive.test".into(), None, 303),
        ("archive.test", "https://archive.test".into(), None, 403),
        (
            "archive.test",
            "https://archive.test".into(),
            Some("https"),
            303,
        ),
        (
            "archive.test",
            "http://archive.test".into(),
            Some("https"),
            403,
        ),
    ] {
        let answered = status(&site, host, &origin, proto).await;
        assert_eq!(answered, expected, "{host} {origin} {proto:?}");
    }
    let site = Site::seen_at("https://archive.test").await;
    for (origin, expected) in [
        ("https://archive.test", 303),
        ("http://archive.test", 403),
        ("https://archive.test:8443", 403),
    ] {
        for proto in [None, Some("http"), Some("https")] {
            let answered = status(&site, "archive.test", origin, proto).await;
            assert_eq!(answered, expected, "{origin} {proto:?}");
        }
    }
}

#[tokio::test]
async fn what_fails_is_named_to_this_machine_only() {
    let ready = async |site: &Site, forwarded: &[(&str, &str)]| {
        let stranger = site.stranger();
        let mut request = stranger.request(Method::GET, "/readyz/pages");
        for (name, value) in forwarded {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let elsewhere = [
        &[("x-forwarded-for", "203.0.113.9")][..],
        &[("x-forwarded-for", "127.0.0.1, 203.0.113.9")],
        &[("x-forwarded-for", "unknown")],
        &[
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=203.0.113.9"),
        ],
        &[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "203.0.113.9"),
        ],
        &[("forwarded", "for=127.0.0.1")],
        &[("x-real-ip", "203.0.113.9")],
        &[("x-forwarded-proto", "https")],
        &[("via", "1.1 proxy")],
    ];
    let site = Site::new().await;
    let all = "database answers\nobjects answers\nkeyring answers\n";
    for local in [&[][..], &[("x-forwarded-for", "127.0.0.1")]] {
        assert_eq!(ready(&site, local).await, (200, all.to_owned()));
    }
    for headers in elsewhere {
        let answer = ready(&site, headers).await;
        assert_eq!(answer, (200, "ready\n".to_owned()), "{headers:?}");
    }
    let broken = Site::new().await;
    broken.bucket.breaks();
    let (status, text) = ready(&broken, &[]).await;
    assert_eq!(status, 503);
    assert!(text.contains("objects does not answer"), "{text}");
    for headers in elsewhere {
        let answer = ready(&broken, headers).await;
        assert_eq!(answer, (503, "not ready\n".to_owned()), "{headers:?}");
    }
}
