//! Content encodings: requests may not use any, and pages are compressed with gzip.

use actix_web::{
    Error as ActixError, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform},
    http::header::{self, HeaderName, HeaderValue},
    middleware::{Compress, Next, from_fn},
};

use super::cookies;

/// Maximum number of random bytes by which a response is made longer.
const PADDING: usize = 128;

/// Wraps an app so that a request with an encoded body is answered 415 before its body is read. A limit on a body's
/// size would otherwise apply only after decompression: 61 kB of gzip became 60 MB (RUSTSEC-2026-0447,
/// RUSTSEC-2026-0448).
pub fn refuse_encoded<S, B>() -> impl Transform<
    S,
    ServiceRequest,
    Response = ServiceResponse<EitherBody<B>>,
    Error = ActixError,
    InitError = (),
>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = ActixError> + 'static,
    B: MessageBody + 'static,
{
    from_fn(refuse)
}

async fn refuse<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let refused = HttpResponse::UnsupportedMediaType()
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .force_close()
            .body("encoded bodies are not accepted\n");
        return Ok(request.into_response(refused).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Wraps an app, outside of [`compression`], so that a response to a request without a session's cookie is not
/// compressed: each response that is being compressed holds 350 kB and a thread. While 2,000 connections requested the
/// stylesheet, they took 800 MB of memory, and a webhook took 5 s.
pub fn uncompressed_for_strangers<S, B>()
-> impl Transform<S, ServiceRequest, Response = ServiceResponse<B>, Error = ActixError, InitError = ()>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = ActixError> + 'static,
    B: MessageBody + 'static,
{
    from_fn(take_no_encoding)
}

async fn take_no_encoding<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, ActixError> {
    if !cookies::is_of_a_session(request.request()) {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    next.call(request).await
}

/// Compresses pages with gzip for clients that accept it.
pub fn compression() -> Compress {
    Compress::default()
}

/// Wraps an app, inside [`compression`], against the BREACH attack. The pages of sign-in and setup, which hold a secret
/// beside text from the address, are not compressed. The length of every other response, except those to webhooks,
/// varies by up to [`PADDING`] bytes, so that an attacker who places a guess in a page cannot confirm it by how well
/// the page compresses.
pub fn unguessable<S, B>()
-> impl Transform<S, ServiceRequest, Response = ServiceResponse<B>, Error = ActixError, InitError = ()>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = ActixError> + 'static,
    B: MessageBody + 'static,
{
    from_fn(vary)
}

async fn vary<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, ActixError> {
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
