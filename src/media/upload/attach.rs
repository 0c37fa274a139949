//! Attaches a finished object to its attachment or profile: the transaction that decides whether a download is kept.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::super::{Media, fetch_error::FetchError};
use super::UploadTarget;
use crate::{
    line::client::Document,
    objects::ObjectKey,
    records::{
        jobs::{self, Job},
        media::{self, Part, State},
        missing, notify, objects,
        people::{self, Subject},
    },
};

/// A finished object that is not attached yet.
pub(super) struct Kept {
    pub key: ObjectKey,
    pub media_type: Option<String>,
    pub size: u64,
    pub placeholder: Option<Vec<u8>>,
}

/// The fence: one short transaction that attaches the object if the message exists and the job and the object are still
/// our own, and changes nothing otherwise.
pub(super) async fn attach(
    media: &Media,
    job: &Job,
    target: UploadTarget<'_>,
    kept: Kept,
) -> Result<(), FetchError> {
    let now = media.clock.now();
    let mut tx = media.pool.begin().await?;
    let (state, before) = lock_target(&mut tx, media, target).await?;
    let ours = match target {
        UploadTarget::Preview(.., true) => jobs::renew(&mut tx, job, now + objects::LEASE).await?,
        _ => jobs::finish(&mut tx, job).await?,
    };
    if state != Some(State::Waiting) || !ours || !objects::keep(&mut tx, kept.key, now).await? {
        return Err(FetchError::Lost);
    }
    give_to_target(&mut tx, target, &kept, now).await?;
    if let Some(before) = before {
        objects::discard(&mut tx, before, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Locks the target. Returns the state of its file, `None` if the message is erased, and the object that it has now.
async fn lock_target(
    conn: &mut PgConnection,
    media: &Media,
    target: UploadTarget<'_>,
) -> Result<(Option<State>, Option<ObjectKey>), FetchError> {
    Ok(match target {
        UploadTarget::Original(id) => (
            media::lock(conn, id, Part::Original).await?,
            missing::original_key(conn, id).await?,
        ),
        UploadTarget::Preview(id, ..) => (
            media::lock(conn, id, Part::Preview).await?,
            media::preview_key(conn, id).await?,
        ),
        UploadTarget::Picture(subject, address) => {
            let before = lock_picture(conn, media, subject, address).await?;
            (Some(State::Waiting), before)
        }
    })
}

/// Locks a contact or group whose picture was fetched from `address`. Returns the object of the picture that it has now.
async fn lock_picture(
    conn: &mut PgConnection,
    media: &Media,
    subject: Subject,
    address: &str,
) -> Result<Option<ObjectKey>, FetchError> {
    let known = people::lock(conn, &media.keyring, subject)
        .await?
        .ok_or(FetchError::Lost)?;
    let before = known.picture_key();
    let said = known.document.and_then(Document::new);
    // The picture may have been removed or replaced since the fetch began.
    if said.and_then(|said| said.picture_url()).as_deref() != Some(address) {
        return Err(FetchError::Lost);
    }
    Ok(before)
}

async fn give_to_target(
    conn: &mut PgConnection,
    target: UploadTarget<'_>,
    kept: &Kept,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (key, media_type) = (kept.key, kept.media_type.as_deref());
    match target {
        UploadTarget::Original(id) => {
            media::keep_original(conn, id, key, media_type, kept.size).await?;
            media::hurry_preview(conn, id, now).await?;
            notify::attachment_changed(conn, id).await
        }
        UploadTarget::Preview(id, previews, early) => {
            let preview = media::Preview {
                media_type,
                smaller: previews.smaller,
                pixels: previews.pixels,
                placeholder: kept.placeholder.as_deref(),
                early,
            };
            media::keep_preview(conn, id, key, preview).await?;
            notify::attachment_changed(conn, id).await
        }
        UploadTarget::Picture(subject, _) => {
            people::set_picture(conn, subject, Some((key, media_type))).await?;
            people::notify(conn, subject).await
        }
    }
}
