//! Content encodings: requests may not use any, and pages are compressed with gzip.

use actix_web::{
    Error as ActixError, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    middleware::{Compress, Next},
};

use super::cookies;

/// Maximum number of random bytes by which a response is made longer.
const PADDING: usize = 128;

/// Middleware: a request with an encoded body is answered 415 before its body is read. A limit on a body's
/// size would otherwise apply only after decompression: 61 kB of gzip became 60 MB (RUSTSEC-2026-0447,
/// RUSTSEC-2026-0448).
pub async fn refuse_encoded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let refused = HttpResponse::UnsupportedMediaType()
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .force_close()
            .body("encoded bodies are not accepted\n");
        return Ok(request.into_response(refused).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Middleware, outside of [`compression`]: a response to a request without a session's cookie is not
/// compressed: each response that is being compressed holds 350 kB and a thread. While 2,000 connections requested the
/// stylesheet, they took 800 MB of memory, and a webhook took 5 s.
pub async fn uncompressed_for_strangers(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    if !cookies::is_of_a_session(request.request()) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    next.call(request).await
}

/// Compresses pages with gzip for clients that accept it.
pub fn compression() -> Compress {
    Compress::default()
}

/// Middleware, inside [`compression`], against the BREACH attack. The pages of sign-in and setup, which hold a secret
/// beside text from the address, are not compressed. The length of every other response, except those to webhooks,
/// varies by up to [`PADDING`] bytes, so that an attacker who places a guess in a page cannot confirm it by how well
/// the page compresses.
pub async fn unguessable(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let secret = matches!(request.path(), "/login" | "/setup");
    let webhook = request.path().starts_with("/webhook/");
    let mut answer = next.call(request).await?;
    let headers = answer.headers_mut();
    if secret {
        headers.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    } else if !webhook {
        let padding = "0".repeat(rand::random_range(0..=PADDING));
        if let Ok(padding) = HeaderValue::try_from(padding) {
            headers.insert(HeaderName::from_static("x-padding"), padding);
        }
    }
    Ok(answer)
}
