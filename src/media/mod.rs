//! Fetches the files of messages, their previews, and pictures of contacts and groups; stores them as objects; purges
//! objects. A fetch never holds a transaction open. It inserts its object row before the first byte, streams the bytes,
//! and then checks in one short transaction whether the message still exists and the job is still its own. If not, it
//! deletes its object again: a download never outlives an unsend.

mod address;
mod decode;
mod external;
mod fetch_error;
mod original;
mod page;
mod picture;
mod preview;
mod purge;
mod reading;
mod reconcile;
mod scrub;
mod thumbnail;
mod upload;

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::{clock::Clock, line::client::LineApi, objects::Objects, seal::Keyring};
pub use decode::Unreadable;
use external::External;
pub use external::Reach;
pub use original::LARGEST_MIB;
pub use purge::BATCH_OBJECTS;
pub use reconcile::Reconciled;
pub use scrub::scrub_pause;
pub use thumbnail::{Previews, previews};

/// The HTTPS client could not be created.
#[derive(Debug, thiserror::Error)]
#[error("no HTTPS client could be made; are the machine's root certificates installed?")]
pub struct NoTls;

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
    /// `reach` limits the addresses outside LINE's API that pictures and content may be fetched from.
    ///
    /// # Errors
    /// [`NoTls`] if the HTTPS client cannot be created.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        keyring: Keyring,
        objects: Objects,
        line: LineApi,
        reach: Reach,
    ) -> Result<Self, NoTls> {
        Ok(Self {
            pool,
            clock,
            keyring,
            objects,
            line,
            external: External::new(reach).map_err(|_| NoTls)?,
            decoder: Arc::new(Semaphore::new(1)),
        })
    }
}
