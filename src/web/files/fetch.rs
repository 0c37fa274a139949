//! `POST /attachments/{id}/fetch`: fetches an original again that was too large or could not be fetched.

use actix_web::{HttpResponse, web};
use uuid::Uuid;

use crate::records::media;
use crate::web::{
    Error, Shared, auth::session::Viewer, conversation::list::ListState, detached, see_other,
};

/// `POST /attachments/{id}/fetch`
pub(in crate::web) async fn again(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let now = shared.clock.now();
        let mut tx = viewer.begin(&shared).await?;
        let place = media::place(&mut tx, &viewer.session.channels, *id).await?;
        let (conversation, message, at) = place.ok_or(Error::NotFound)?;
        // Idempotent: if asked twice, the original is fetched once. The page shows its state.
        media::retry_fetch(&mut tx, &viewer.session.channels, *id, now).await?;
        tx.commit().await?;
        Ok(see_other(&ListState::default().message(
            conversation,
            message,
            at,
        )))
    })
    .await
}
