//! Bytes become objects: files of messages, their previews, pictures of people and groups; and their end.
//!
//! A fetch never holds a transaction. It writes down its object before the first byte, streams, and then finds out in
//! one short transaction whether the message still lives and the job is still its own. If not, it takes its object
//! away again: a download never outlives an unsend.

mod address;
mod decode;
mod external;
mod landing;
mod miss;
mod original;
mod picture;
mod preview;
mod purge;
mod reading;
mod reconcile;
mod thumbnail;

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::{
    clock::Clock,
    line::client::LineApi,
    objects::{self, Objects},
    seal::{self, Keyring},
};
pub use decode::Unreadable;
use external::External;
pub use external::Reach;
pub use original::LARGEST_MIB;
pub use purge::MANY;
pub use reconcile::Mended;
pub use thumbnail::{Previews, previews};

/// How long a job is claimed for. Fetches renew it as they go; longer than any silence they wait through.
pub const LEASE: Duration = Duration::from_secs(60);

/// What failed on our side. Says nothing of any content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The bucket.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] seal::Error),
    /// No HTTPS client could be made.
    #[error("no HTTPS client could be made; are the machine's root certificates installed?")]
    Tls,
}

/// Fetches files for claimed jobs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Media {
    pool: PgPool,
    clock: Clock,
    keyring: Keyring,
    objects: Objects,
    line: LineApi,
    external: External,
    /// One image is decoded at a time: each may take 256 MiB.
    decoder: Arc<Semaphore>,
}

impl Media {
    /// `reach` says how far pictures and content from addresses outside LINE's API may be fetched.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        keyring: Keyring,
        objects: Objects,
        line: LineApi,
        reach: Reach,
    ) -> Result<Self, Error> {
        Ok(Self {
            pool,
            clock,
            keyring,
            objects,
            line,
            external: External::new(reach).map_err(|_| Error::Tls)?,
            decoder: Arc::new(Semaphore::new(1)),
        })
    }
}
