//! A bucket that is used only while it has its mark: one that is made anew under the same name is empty, and what is not
//! found there is not gone.

use std::{ops::Range, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::{S3, Writer};
use crate::{
    marked::{Mark, Marking},
    objects::{Body, Error, Keys, ObjectKey, Shard},
};

/// The object that holds the mark.
const NAME: &str = "archive/mark";

/// A write does not look for the mark again this soon.
const PROVEN_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::objects) struct MarkedS3 {
    s3: S3,
    mark: Option<Mark>,
    /// When the mark was found last.
    proven: Mutex<Option<Instant>>,
}

impl MarkedS3 {
    pub(in crate::objects) async fn open(s3: S3, marking: Marking) -> Result<Self, Error> {
        let makes = matches!(marking, Marking::Make(_));
        let opened = Self {
            s3,
            mark: match marking {
                Marking::Make(mark) | Marking::Require(mark) => Some(mark),
                Marking::Unmarked | Marking::MakeUnmarked => None,
            },
            proven: Mutex::default(),
        };
        if let Some(mark) = opened.mark.as_ref().filter(|_| makes)
            && opened.s3.read_named(NAME).await?.is_none()
        {
            opened.s3.write_named(NAME, mark.text().into()).await?;
        }
        opened.prove().await?;
        Ok(opened)
    }

    /// Checks that the bucket has its mark now.
    async fn prove(&self) -> Result<(), Error> {
        let Some(mark) = &self.mark else {
            return Ok(());
        };
        match self.s3.read_named(NAME).await? {
            Some(found) if mark.is(&String::from_utf8_lossy(&found)) => {
                *self.proven.lock().await = Some(Instant::now());
                Ok(())
            }
            _ => Err(Error::Unmarked(mark.text().trim_end().to_owned())),
        }
    }

    /// As [`MarkedS3::prove`], unless the mark was found a moment ago.
    async fn prove_for_write(&self) -> Result<(), Error> {
        let proven = *self.proven.lock().await;
        match proven.is_some_and(|at| at.elapsed() < PROVEN_FOR) {
            true => Ok(()),
            false => self.prove().await,
        }
    }

    pub(in crate::objects) async fn put(&self, key: ObjectKey) -> Result<Writer, Error> {
        self.prove_for_write().await?;
        self.s3.put(key).await
    }

    pub(in crate::objects) async fn get(
        &self,
        key: ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<(u64, Body), Error> {
        let got = self.s3.get(key, range).await;
        if let Err(Error::NotFound) = got {
            self.prove().await?;
        }
        got
    }

    pub(in crate::objects) async fn purge(&self, key: ObjectKey) -> Result<(), Error> {
        self.s3.purge(key).await?;
        self.prove().await
    }

    pub(in crate::objects) async fn write_named(
        &self,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        self.prove_for_write().await?;
        self.s3.write_named(name, bytes).await
    }

    pub(in crate::objects) async fn read_named(
        &self,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let read = self.s3.read_named(name).await?;
        if read.is_none() {
            self.prove().await?;
        }
        Ok(read)
    }

    pub(in crate::objects) async fn purge_named(&self, name: &str) -> Result<(), Error> {
        self.s3.purge_named(name).await?;
        self.prove().await
    }

    pub(in crate::objects) async fn has(&self, key: ObjectKey) -> Result<bool, Error> {
        let has = self.s3.has(key).await?;
        if !has {
            self.prove().await?;
        }
        Ok(has)
    }

    pub(in crate::objects) fn list(&self, shard: Shard) -> Keys {
        self.s3.list(shard)
    }

    pub(in crate::objects) fn traces(&self, shard: Shard) -> Keys {
        self.s3.traces(shard)
    }

    pub(in crate::objects) async fn check(&self, key: ObjectKey) -> Result<(), Error> {
        self.s3.check(key).await
    }
}
