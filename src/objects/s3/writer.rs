//! Writes an object to S3: a small one with one request, a larger one as an upload in parts.

use std::fmt;

use bytes::Bytes;
use opendal::Operator;

use super::{Act, Error, PART};

/// Writes one object. Dropped before [`Writer::finish`], it may leave an upload, which a purge aborts.
pub(in crate::objects) struct Writer {
    files: Operator,
    name: String,
    /// `None` after an error: `opendal` may have lost bytes by then, so nothing may be written after it.
    upload: Option<opendal::Writer>,
    size: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.name).finish()
    }
}

impl Writer {
    pub(super) async fn begin(files: Operator, name: String) -> Result<Self, Error> {
        let upload = files.writer_with(&name).chunk(PART).await;
        Ok(Self {
            upload: Some(upload.map_err(|error| Act::Write.failed(&error))?),
            files,
            name,
            size: 0,
        })
    }

    pub(in crate::objects) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        // Taken out during the write: if this future is dropped halfway, nothing may be written after it either.
        let mut upload = self.upload.take().ok_or(Error::NotFound)?;
        self.size += bytes.len() as u64;
        if let Err(error) = upload.write(bytes).await {
            return Err(give_up(upload, &error).await);
        }
        self.upload = Some(upload);
        Ok(())
    }

    /// Completes the upload, and checks that all bytes are there.
    pub(in crate::objects) async fn finish(mut self) -> Result<(), Error> {
        let mut upload = self.upload.take().ok_or(Error::NotFound)?;
        if let Err(error) = upload.close().await {
            return Err(give_up(upload, &error).await);
        }
        let found = self.files.stat(&self.name).await;
        let found = found.map_err(|error| Act::Read.failed(&error))?;
        if found.content_length() == self.size {
            Ok(())
        } else {
            Err(Error::Corrupt)
        }
    }
}

/// Aborts an upload that failed with `error`, and returns that error. If the abort fails too, a purge finds the upload.
async fn give_up(mut upload: opendal::Writer, error: &opendal::Error) -> Error {
    let _ = upload.abort().await;
    Act::Write.failed(error)
}
