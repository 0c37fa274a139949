//! Content encodings: refused in requests, used for pages, but not where the compressed length could reveal a secret.

use std::{
    collections::HashSet,
    io::{Read, Write},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use reqwest::{Method, header};

use crate::site::Site;

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_body_that_would_unpack_is_refused_on_every_route_and_unread() {
    let site = Site::new().await;
    let mika = site.admin().await;
    let bomb = packed(&vec![b'a'; 4 << 20]);
    let small = packed(b"login=mika&password=a+password+of+mika");
    for path in [
        "/login",
        "/logout",
        "/setup",
        "/holds",
        "/retention",
        "/webhook/shop",
        "/webhook/nowhere",
        "/nowhere",
    ] {
        for encoding in [
            "gzip",
            "GZIP",
            "br",
            "deflate",
            "zstd",
            "x-gzip",
            "identity, gzip",
            "",
        ] {
            for body in [&bomb, &small] {
                let request = mika
                    .request(Method::POST, path)
                    .header("sec-fetch-site", "same-origin")
                    .header(header::CONTENT_ENCODING, encoding)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(body.clone());
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 415, "{path} {encoding:?}");
                assert!(
                    answer
                        .headers()
                        .contains_key(header::CONTENT_SECURITY_POLICY)
                );
            }
        }
    }
    assert_eq!(mika.status("/conversations").await, 200, "still signed in");
}

#[tokio::test]
async fn pages_are_compressed_for_who_takes_it_but_not_where_a_secret_stands_beside_what_was_said()
{
    let site = Site::new().await;
    let mika = site.admin().await;
    let get = async |path: &str, accepts: &str| {
        let request = mika.request(Method::GET, path);
        let request = request.header(header::ACCEPT_ENCODING, accepts);
        let answer = request.send().await.unwrap();
        let encoding = answer.headers().get(header::CONTENT_ENCODING);
        let encoding = encoding.map(|value| value.to_str().unwrap().to_owned());
        (encoding, answer.bytes().await.unwrap())
    };
    for path in ["/conversations", "/erasures", "/holds", "/static/app.css"] {
        let (encoding, packed) = get(path, "gzip").await;
        assert_eq!(encoding.as_deref(), Some("gzip"), "{path}");
        let mut page = vec![];
        GzDecoder::new(&packed[..]).read_to_end(&mut page).unwrap();
        let (plain, same) = get(path, "identity").await;
        assert!(plain.is_none_or(|encoding| encoding != "gzip"), "{path}");
        assert!(
            packed.len() * 2 < same.len(),
            "{path}: {} of {}",
            packed.len(),
            same.len()
        );
        assert_eq!(page[..64], same[..64], "{path}");
    }
    for path in ["/login?next=/conversations", "/setup?token=abc"] {
        let (encoding, _) = get(path, "gzip, deflate, br").await;
        assert!(encoding.is_none_or(|encoding| encoding != "gzip"), "{path}");
    }
}

#[tokio::test]
async fn the_same_page_has_many_lengths() {
    let site = Site::new().await;
    let mika = site.admin().await;
    let mut lengths = HashSet::new();
    for _ in 0..20 {
        let answer = mika.get("/conversations").await;
        let padding = answer.headers().get("x-padding").unwrap();
        lengths.insert(padding.len());
    }
    assert!(lengths.len() > 5, "{lengths:?}");
}
