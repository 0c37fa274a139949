//! Every input of a request is validated before it is used: any value in an address, a form or a cookie is refused or
//! ignored, and no request fails with an internal error.

use std::{collections::BTreeSet, process::Command};

use line_chat_archive::fake_line::pictures;
use reqwest::{Method, header};
use uuid::Uuid;

use crate::{site::Site, support::visitor::Visitor};

/// A route, and the fields of its query or form with a valid value each. `{…}` in the path stands for an id in
/// [`world`].
pub type Route = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Every route of the service; see [`every_route_is_in_the_list`].
pub const ROUTES: &[Route] = &[
    ("GET", "/", &[]),
    ("GET", "/login", &[("next", "/holds")]),
    (
        "POST",
        "/login",
        &[("login", "nobody"), ("password", "x"), ("next", "/holds")],
    ),
    ("GET", "/setup", &[("token", "x")]),
    (
        "POST",
        "/setup",
        &[
            ("token", "x"),
            ("login", "a"),
            ("password", "b"),
            ("again", "b"),
        ],
    ),
    (
        "GET",
        "/conversations",
        &[
            ("channel", "shop"),
            ("before", "0-00000000000000000000000000000007"),
        ],
    ),
    (
        "GET",
        "/conversations/{id}",
        &[
            ("channel", "shop"),
            ("list", "0-00000000000000000000000000000007"),
            ("before", "0-00000000000000000000000000000007"),
        ],
    ),
    (
        "GET",
        "/conversations/{id}/media",
        &[
            ("of", "links"),
            ("asked", "1"),
            ("before", "0-00000000000000000000000000000007"),
            ("channel", "shop"),
            ("list", "0-00000000000000000000000000000007"),
        ],
    ),
    ("POST", "/conversations/{id}/fetch", &[]),
    ("GET", "/conversations/{id}/picture", &[("v", "x")]),
    ("GET", "/contacts/{id}/picture", &[("v", "x")]),
    ("GET", "/attachments/{id}", &[]),
    ("GET", "/attachments/{id}/preview", &[("x", "2")]),
    ("POST", "/attachments/{id}/fetch", &[]),
    ("GET", "/missing", &[("asked", "1")]),
    (
        "POST",
        "/missing",
        &[("channel", "1"), ("from", "2026-01-01"), ("to", "")],
    ),
    ("GET", "/live", &[("since", "x")]),
    (
        "GET",
        "/erasures",
        &[
            ("channel", "shop"),
            ("cause", "unsend"),
            ("state", "gone"),
            ("from", "2026-01-01"),
            ("to", "2026-12-31"),
            ("before", "0-00000000000000000000000000000007"),
        ],
    ),
    (
        "GET",
        "/erasures.csv",
        &[
            ("channel", "shop"),
            ("cause", "unsend"),
            ("state", "gone"),
            ("from", "2026-01-01"),
            ("to", "2026-12-31"),
            ("before", "0-00000000000000000000000000000007"),
        ],
    ),
    ("GET", "/erasures/{id}", &[]),
    ("GET", "/erasures/{id}/receipt", &[("kind", "erased")]),
    ("GET", "/retention", &[]),
    (
        "POST",
        "/retention",
        &[("channel", "1"), ("kind", "text"), ("days", "30")],
    ),
    ("GET", "/retention/{id}", &[]),
    ("POST", "/retention/{id}/on", &[]),
    ("POST", "/retention/{id}/off", &[]),
    ("GET", "/holds", &[]),
    (
        "POST",
        "/holds",
        &[
            ("conversation", "00000000-0000-0000-0000-000000000007"),
            ("reason", "case"),
            ("covers", "rules"),
        ],
    ),
    (
        "GET",
        "/holds/{id}",
        &[("before", "0-00000000000000000000000000000007")],
    ),
    ("POST", "/holds/{id}/lift", &[]),
    ("GET", "/messages/{id}/erase", &[]),
    ("POST", "/messages/{id}/erase", &[("reason", "x")]),
    ("GET", "/conversations/{id}/erase", &[]),
    ("POST", "/conversations/{id}/erase", &[("reason", "x")]),
    ("GET", "/contacts/{id}/requests", &[]),
    ("POST", "/contacts/{id}/erase", &[("sure", "yes")]),
    ("POST", "/contacts/{id}/export", &[]),
    ("GET", "/exports/{id}", &[]),
    ("GET", "/static/{file}", &[("v", "x")]),
    ("GET", "/healthz", &[]),
    ("GET", "/readyz", &[]),
    ("GET", "/readyz/pages", &[]),
    ("POST", "/webhook/{channel}", &[]),
    // This ends the session, so it comes last.
    ("POST", "/logout", &[]),
];

/// Values as they appear in an address: percent-encoded.
const NASTY: &[&str] = &[
    "",
    "%00",
    "%00%00",
    "a%00b",
    "%ff",
    "%C0%80",
    "%ED%A0%80",
    "%F4%90%80%80",
    "%",
    "%zz",
    "%0d%0aX-Injected:%201",
    "%E2%80%AE",
    "%EF%BB%BF",
    "-1",
    "0",
    "-200000-01-01",
    "%2B200000-01-01",
    "0000-00-00",
    "9999-12-31",
    "262142-12-31",
    "1000000000000000000000000000000",
    "9223372036854775808-00000000000000000000000000000007",
    "-62135596800000001-00000000000000000000000000000007",
    "253402300799999999-ffffffffffffffffffffffffffffffff",
    "NaN",
    "1e308",
    "null",
    "true",
    "%27%20or%201%3D1--",
    "..%2f..%2fetc%2fpasswd",
    "%7B%7D",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "00000000-0000-0000-0000-000000000000",
    "%F0%9F%98%80",
    "shop%00",
];

/// The paths of the routes in the source: the first string after `.route(` and `resource(`.
fn routes_in(source: &str) -> BTreeSet<String> {
    [".route(", "resource("]
        .iter()
        .flat_map(|call| source.split(call).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// Method and path of every route whose handler is in `src/web/governance`.
pub fn routes_of_governance() -> Vec<(&'static str, &'static str)> {
    // Between a path and the next one stand its handlers.
    let paths: BTreeSet<String> = include_str!("../../src/web/routes.rs")
        .split("\"/")
        .filter_map(|rest| rest.split_once('"'))
        .filter(|(_, handlers)| handlers.contains("governance::"))
        .map(|(path, _)| format!("/{path}"))
        .collect();
    ROUTES
        .iter()
        .filter(|(_, path, _)| paths.contains(*path))
        .map(|(method, path, _)| (*method, *path))
        .collect()
}

#[test]
fn every_route_is_in_the_list() {
    let in_source: BTreeSet<_> = [
        include_str!("../../src/web/routes.rs"),
        include_str!("../../src/app/service.rs"),
    ]
    .into_iter()
    .flat_map(routes_in)
    .collect();
    assert!(in_source.len() > 30, "{in_source:?}");
    let listed: BTreeSet<String> = ROUTES
        .iter()
        .map(|(_, path, _)| (*path).to_owned())
        .collect();
    assert_eq!(in_source, listed);
}

/// A site with one row for everything that a path can name, and an administrator.
pub async fn world() -> (Site, Visitor) {
    let site = Site::new().await;
    let aoi = site.shop.user("Aoi");
    aoi.sends_image(pictures::photo(1, 60, 40)).await.unwrap();
    let regretted = aoi.sends_text("oh").await.unwrap();
    aoi.unsends(&regretted).await.unwrap();
    let admin = site.admin().await;
    let id = |of: &'static str| {
        let site = &site;
        async move { site.one::<Uuid>(of).await.to_string() }
    };
    let conversation = id("select id from conversation").await;
    let contact = id("select id from contact").await;
    let rule = [("channel", "1"), ("kind", "any"), ("days", "3000")];
    let hold = [
        ("conversation", conversation.as_str()),
        ("reason", "case"),
        ("covers", "unsends"),
    ];
    for (path, form) in [
        ("/retention", &rule[..]),
        ("/holds", &hold),
        (&format!("/contacts/{contact}/export"), &[]),
    ] {
        assert_eq!(admin.post(path, form).await.status(), 303, "{path}");
    }
    site.run_jobs().await;
    (site, admin)
}

/// The value of `{…}` in `path` for this site.
async fn named(site: &Site, path: &str) -> String {
    let query = match path.split('/').nth(1) {
        Some("conversations") => "select id::text from conversation",
        Some("contacts") => "select id::text from contact",
        Some("attachments") => "select id::text from attachment",
        Some("erasures") => "select id::text from erasure",
        Some("retention") => "select id::text from retention_rule",
        Some("holds") => "select id::text from hold",
        Some("messages") => "select id::text from message",
        Some("exports") => "select id::text from subject_request",
        Some("static") => return "app.css".to_owned(),
        _ => return "shop".to_owned(),
    };
    site.one(query).await
}

async fn ask(visitor: &Visitor, method: &str, path: &str, fields: &str) -> u16 {
    let what = format!("{method} {path} {fields}");
    let request = match method {
        "GET" => visitor.request(Method::GET, &format!("{path}?{fields}")),
        _ => visitor
            .request(Method::POST, path)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(fields.to_owned()),
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert!(status < 500, "{what}: {status}");
    assert!(answer.headers().get("x-injected").is_none(), "{what}");
    if status == 400 {
        let page = answer.text().await.unwrap();
        assert!(
            page.contains("The address or the form could not be read."),
            "{what}"
        );
    }
    status
}

/// A query or form in which one field is `value`, and all others are valid.
fn with(fields: &[(&str, &str)], name: &str, value: &str) -> String {
    let fields = fields.iter().map(|(other, good)| {
        let value = if *other == name { value } else { good };
        format!("{other}={value}")
    });
    fields.collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn nothing_that_a_request_says_makes_it_fail() {
    let (site, admin) = world().await;
    let long = "x".repeat(6000);
    let nasty: Vec<&str> = NASTY.iter().copied().chain([long.as_str()]).collect();
    for (method, route, fields) in ROUTES {
        let place = route.split_once('{').map(|(before, rest)| {
            let (_, after) = rest.split_once('}').unwrap();
            (before, after)
        });
        let path = match place {
            Some((before, after)) => format!("{before}{}{after}", named(&site, route).await),
            None => (*route).to_owned(),
        };
        let good = with(fields, "", "");
        if let Some((before, after)) = place {
            for value in &nasty {
                ask(&admin, method, &format!("{before}{value}{after}"), &good).await;
            }
        }
        for (name, taken) in *fields {
            for value in &nasty {
                ask(&admin, method, &path, &with(fields, name, value)).await;
            }
            for odd in [
                format!("{good}&{name}={taken}"),
                format!("{name}={taken}&{name}=%00"),
                format!("{name}[]={taken}"),
                format!("{name}[a]={taken}"),
                name.to_string(),
                format!("{good}&%00=%00&={taken}&&&"),
            ] {
                ask(&admin, method, &path, &odd).await;
            }
        }
        if fields.is_empty() {
            for odd in ["a=%00", "%ff", "&&=&"] {
                ask(&admin, method, &path, odd).await;
            }
        }
    }
}

#[tokio::test]
async fn nor_does_anything_that_a_header_says() {
    let (site, admin) = world().await;
    let session = admin.cookie.clone().unwrap();
    let attachment = named(&site, "/attachments/").await;
    let conversation = named(&site, "/conversations/").await;
    let values: [&[u8]; 9] = [
        b"",
        b"\xff\xfe",
        b"\"",
        b"%00",
        b"-1",
        b"=;,",
        b"Etc/GMT+99",
        b"bytes=18446744073709551616-",
        &[b'9'; 4000],
    ];
    for path in [
        "/erasures?from=2026-01-01",
        "/live",
        "/readyz",
        &format!("/attachments/{attachment}"),
        &format!("/conversations/{conversation}"),
    ] {
        for name in [
            "zone",
            "theme",
            "range",
            "if-range",
            "last-event-id",
            "x-forwarded-for",
            "x-forwarded-proto",
            "accept",
            "accept-language",
            "x-refresh",
            "sec-fetch-dest",
            "if-none-match",
            "if-modified-since",
        ] {
            for value in values {
                let mut request = site.stranger().request(Method::GET, path);
                let mut cookie = session.clone().into_bytes();
                if matches!(name, "zone" | "theme") {
                    cookie.extend([b"; ", name.as_bytes(), b"=", value].concat());
                } else {
                    request = request.header(name, header::HeaderValue::from_bytes(value).unwrap());
                }
                let cookie = header::HeaderValue::from_bytes(&cookie).unwrap();
                let answer = request.header(header::COOKIE, cookie).send().await.unwrap();
                let status = answer.status().as_u16();
                assert!(status < 500, "{path} {name} {value:?}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_period_and_a_cause_that_are_none_are_not_asked_for() {
    let (_site, admin) = world().await;
    let rows = |page: &str| page.matches("<td class=\"asked\">").count();
    let all = rows(&admin.page("/erasures").await);
    assert!(all > 0);
    for odd in [
        "cause=%00",
        "cause=Unsend",
        "from=-200000-01-01",
        "to=%2B200000-01-01",
        "state=x",
    ] {
        let page = admin.page(&format!("/erasures?{odd}")).await;
        assert_eq!(rows(&page), all, "{odd}");
        assert!(
            !page.contains("Show all"),
            "{odd} is not repeated as if it were asked for"
        );
        let table = admin.page(&format!("/erasures.csv?{odd}")).await;
        assert_eq!(table.lines().count(), all + 1, "{odd}");
    }
    assert_eq!(rows(&admin.page("/erasures?cause=retention").await), 0);
}

#[tokio::test]
async fn a_reason_or_a_name_is_something_that_can_be_read() {
    let (site, admin) = world().await;
    let conversation = named(&site, "/conversations/").await;
    let holds = "select count(*) from hold";
    let before: i64 = site.one(holds).await;
    for blank in [
        "",
        "%20",
        "%00%00",
        "%00",
        "%01",
        "%C2%85",
        "%E2%80%8B",
        "%EF%BB%BF",
        "%E3%80%80",
        "%E3%85%A4",
        "%E2%A0%80",
        "%E2%80%8D",
        "case%00",
        "%E2%80%AEcase",
        "%0A",
        "%1B[31mcase",
    ] {
        let form = format!("conversation={conversation}&reason={blank}&covers=rules");
        assert_eq!(ask(&admin, "POST", "/holds", &form).await, 400, "{blank}");
    }
    assert_eq!(site.one::<i64>(holds).await, before);
    let nowhere = tempfile::tempdir().unwrap();
    for blank in ["", " ", "\u{200b}", "a\nb\u{1b}[31m", &"x".repeat(101)] {
        let output = Command::new(env!("CARGO_BIN_EXE_line-chat-archive"))
            .args(["channel", "add", "shop", "--name", blank])
            .env("LINE_CHANNEL_SECRET", "x")
            .env("DATA_DIR", nowhere.path().join("data"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{blank:?}");
        assert!(
            said.contains("the name cannot be taken"),
            "{blank:?}: {said}"
        );
    }
}
