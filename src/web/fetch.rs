//! `POST /attachments/{id}/fetch`: a file that was too large, or could not be had, is asked for once more.

use actix_web::{HttpResponse, web};
use uuid::Uuid;

use super::{Error, Shared, detached, list::Place, see_other, session::Viewer};
use crate::records::media;

/// `POST /attachments/{id}/fetch`
pub(super) async fn again(
    shared: web::Data<Shared>,
    viewer: Viewer,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Error> {
    detached(async move {
        let now = shared.clock.now();
        let mut tx = shared.pool.begin().await?;
        let place = media::place(&mut tx, &viewer.session.channels, *id).await?;
        let (conversation, message, at) = place.ok_or(Error::NotFound)?;
        // Asked for twice, it is fetched once: the page shows how it stands.
        media::want(&mut tx, &viewer.session.channels, *id, now).await?;
        tx.commit().await?;
        Ok(see_other(&Place::default().message(
            conversation,
            message,
            at,
        )))
    })
    .await
}
