//! A cookie's name is compared byte for byte: other sites of the domain can set cookies that browsers send here too.

use reqwest::{
    Method,
    header::{COOKIE, HeaderValue},
};

use crate::{
    site::{Site, set_cookie},
    support::{visitor::Visitor, world::PASSWORD},
};

/// The status of a page that is requested with these cookies.
async fn status(visitor: &Visitor, cookies: &[u8]) -> u16 {
    let cookies = HeaderValue::from_bytes(cookies).unwrap();
    let request = visitor
        .request(Method::GET, "/conversations")
        .header(COOKIE, cookies);
    request.send().await.unwrap().status().as_u16()
}

/// For names that begin with `__Host-`, and for no others, browsers require https and refuse a `Domain`: if a server
/// decoded percent escapes or dropped white space to get such a name, every host of the domain could set it.
#[tokio::test]
async fn only_the_very_name_is_the_sessions_cookie() {
    let site = Site::seen_at("https://archive.test/").await;
    site.operator("keiko", "operator", None).await;
    let own = site.visitor("keiko").await.cookie.unwrap();
    let token = own.strip_prefix("__Host-session=").unwrap();
    let stranger = site.stranger();
    assert_eq!(status(&stranger, own.as_bytes()).await, 200);
    for name in [
        "%5F%5FHost-session",
        "__Host%2dsession",
        "__Host-sessio%6E",
        "\u{2003}__Host-session",
        "\u{a0}__Host-session",
        "\u{85}__Host-session",
        "__Host-session\u{3000}",
        "__host-session",
        "session",
    ] {
        let planted = format!("{name}={token}");
        assert_eq!(
            status(&stranger, planted.as_bytes()).await,
            303,
            "{name:?} opens nothing"
        );
        for both in [format!("{own}; {planted}"), format!("{planted}; {own}")] {
            assert_eq!(
                status(&stranger, both.as_bytes()).await,
                200,
                "{name:?} takes nothing away"
            );
        }
    }
    let twice = format!("{own}; {own}");
    assert_eq!(
        status(&stranger, twice.as_bytes()).await,
        303,
        "of two, none"
    );
}

#[tokio::test]
async fn a_cookie_that_cannot_be_read_takes_no_other_away() {
    let site = Site::new().await;
    site.operator("keiko", "operator", None).await;
    let own = site.visitor("keiko").await.cookie.unwrap();
    // The third is Shift_JIS, as older sites of a company may use it.
    for other in [
        &b"x=\xff\xfe"[..],
        b"\xff",
        b"shop=\x83\x65\x83\x58\x83\x67",
        b"x",
        b"=x",
        b";;",
    ] {
        for both in [
            [own.as_bytes(), b"; ", other],
            [other, b"; ", own.as_bytes()],
        ] {
            assert_eq!(
                status(&site.stranger(), &both.concat()).await,
                200,
                "{other:?}"
            );
        }
    }
}

#[tokio::test]
async fn only_the_very_name_makes_a_device_known() {
    let site = Site::seen_at("https://archive.test/").await;
    site.operator("keiko", "operator", None).await;
    let first = site.stranger().sign_in("keiko", PASSWORD).await;
    let device = set_cookie(&first, "__Host-device").unwrap();
    // Attempts from this machine are counted by login, so these close the login to all but known devices.
    for _ in 0..5 {
        site.stranger().sign_in("keiko", "guess").await;
    }
    let mut browser = site.stranger();
    browser.cookie = Some(device.replace("__Host-", "%5F%5FHost-"));
    assert_eq!(browser.sign_in("keiko", PASSWORD).await.status(), 429);
    browser.cookie = Some(device);
    assert_eq!(browser.sign_in("keiko", PASSWORD).await.status(), 303);
}
