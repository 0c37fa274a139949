//! Streams the zip of an export into the bucket. The zip is sealed while it is written, so that the plain zip is never
//! whole anywhere.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions, write::StreamWriter};

use super::{Error, Exports};
use crate::{
    objects::{ObjectKey, Writer},
    records,
    seal::stream::Sealer,
};

/// An export that is being written to the bucket.
pub(super) struct Out<'a> {
    pub(super) exports: &'a Exports,
    pub(super) key: ObjectKey,
    pub(super) zip: ZipWriter<StreamWriter<Pipe>>,
    pub(super) pipe: Pipe,
    pub(super) sealer: Sealer,
    pub(super) writer: Writer,
    pub(super) renewed: DateTime<Utc>,
}

impl Out<'_> {
    pub(super) fn begin(&mut self, name: &str) -> Result<(), Error> {
        // Media files are compressed already.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(true);
        Ok(self.zip.start_file(name, options)?)
    }

    pub(super) async fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.zip.write_all(bytes)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let now = self.exports.clock.now();
        if now >= self.renewed + records::objects::RENEW_INTERVAL {
            let mut conn = self.exports.pool.acquire().await?;
            if !records::objects::renew(&mut conn, self.key, now + records::objects::LEASE).await? {
                return Err(Error::Withdrawn);
            }
            self.renewed = now;
        }
        let sealed = self.sealer.push(&self.pipe.take())?;
        match sealed.is_empty() {
            true => Ok(()),
            false => Ok(self.writer.write(sealed).await?),
        }
    }

    pub(super) async fn finish(mut self) -> Result<(), Error> {
        self.zip.finish()?;
        let rest: Bytes = self.sealer.push(&self.pipe.take())?;
        if !rest.is_empty() {
            self.writer.write(rest).await?;
        }
        self.writer.write(self.sealer.finish()?).await?;
        Ok(self.writer.finish().await?)
    }
}

/// The bytes that the zip writer has produced and that are not sealed yet.
#[derive(Clone, Default)]
pub(super) struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Pipe {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
