//! Style sheet, scripts and icon: embedded in the binary, under addresses that change with their content.

use std::{collections::HashMap, sync::LazyLock};

use actix_web::{HttpResponse, http::header, web};
use rust_embed::RustEmbed;
use serde::Deserialize;

use crate::web::Error;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Files;

/// The first 8 bytes of each file's SHA-256 in hexadecimal, by file name.
static CHECKSUMS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    Files::iter()
        .filter_map(|name| {
            let hash = Files::get(&name)?.metadata.sha256_hash();
            let short = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            Some((name.into_owned(), short))
        })
        .collect()
});

/// The address of a file in `static/`.
pub(in crate::web) fn url(name: &str) -> String {
    let checksum = CHECKSUMS.get(name).map_or("", String::as_str);
    format!("/static/{name}?v={checksum}")
}

#[derive(Deserialize)]
pub(in crate::web) struct Query {
    #[serde(default)]
    v: String,
}

/// `GET /static/{file}?v=…`: browsers cache it for a year if `v` is the file's checksum.
pub(in crate::web) async fn file(
    name: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Error> {
    let file = Files::get(&name).ok_or(Error::NotFound)?;
    let mut response = HttpResponse::Ok();
    response.content_type(file.metadata.mimetype());
    if CHECKSUMS.get(name.as_str()) == Some(&query.v) {
        response.insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"));
    }
    Ok(response.body(file.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_carries_the_checksum_of_the_file() {
        let url = url("app.css");
        let (_, checksum) = url.split_once("?v=").expect("a checksum");
        assert_eq!(checksum.len(), 16);
    }
}
