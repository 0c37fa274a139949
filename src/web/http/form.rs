//! Reads the body of a form within a time limit.

use std::time::Duration;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use crate::web::Error;

/// Time limit for the body of a form. actix has none: a client that sends a byte every few seconds would hold a
/// connection, and its file descriptor, for ever.
const WITHIN: Duration = Duration::from_secs(10);

/// The fields of a form.
pub(in crate::web) struct FormBody<T>(pub(in crate::web) T);

impl<T: DeserializeOwned + 'static> FromRequest for FormBody<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = web::Form::<T>::from_request(request, payload);
        Box::pin(async move {
            match tokio::time::timeout(WITHIN, form).await {
                Ok(Ok(form)) => Ok(Self(form.into_inner())),
                Ok(Err(_)) => Err(Error::Unreadable),
                Err(_) => Err(Error::TooSlow),
            }
        })
    }
}
