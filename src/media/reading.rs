//! Reads and opens a whole object in memory.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use super::Media;
use crate::{
    objects::{self, ObjectKey},
    records::{self, failure::Internal},
    seal::{SealContext, key_of, stream},
};

impl Media {
    /// Reads and opens an object that is in use.
    ///
    /// # Errors
    /// [`objects::Error::NotFound`] if the object is not, or no longer, in use.
    pub(super) async fn read(&self, key: ObjectKey) -> Result<Vec<u8>, Internal> {
        let text = key.to_string();
        let mut conn = self.pool.acquire().await?;
        let head = records::objects::head(&mut conn, &text).await?;
        drop(conn);
        let head = head.ok_or(objects::Error::NotFound)?;
        let wrapping = key_of(&head).ok_or(objects::Error::NotFound)?;
        let data_key = self.keyring.find(wrapping).await?.open_data_key(&head)?;
        let (sealed, body) = self.objects.get(key, None).await?;
        let body = body.map(|piece| piece.map_err(Internal::from));
        let all = 0..stream::plain_size(sealed);
        let plain = stream::open(&data_key, SealContext::Object(&text), all, sealed, body);
        let pieces: Vec<Bytes> = plain.try_collect().await?;
        Ok(pieces.concat())
    }
}
