//! The committer: what is stored together, and by whom.
//!
//! Deliveries wait in *lanes*, each of which writes all that waits for it in one transaction ([`Lane`]). New messages
//! without files in chats that are known, which is nearly all that comes, have a lane of their own: what takes many
//! statements (somebody new, a file, an unsend) does not hold them up. Those go to others, by their chat, so that two
//! lanes hardly ever want the same rows. Where they do it is as with two replicas.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use super::{
    Delivery,
    lane::{Lane, Refused, Waiting},
    memory::Memory,
    parts::parts,
    plain,
};
use crate::{clock::Clock, seal::Keyring};

/// Deliveries that may wait for one lane; the next is refused at once.
const MAX_WAITING: usize = 2048;

/// Bytes of bodies that may wait.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Events of one delivery in one transaction. What has more is stored in several, one after the other.
const MAX_PART: usize = 1024;

/// Lanes for what is not plain. With one the database waits while a batch is prepared, and the other way round.
const LONG: usize = 2;

/// The door to the committer.
#[derive(Clone)]
pub struct Ingest {
    plain: mpsc::Sender<Waiting>,
    long: [mpsc::Sender<Waiting>; LONG],
    room: Arc<Semaphore>,
    clock: Clock,
    keyring: Keyring,
    memory: Arc<Memory>,
}

impl Ingest {
    /// Starts the committer, on connections of its own. `stored` is notified after each commit, for the worker. It
    /// ends when the last clone of the answer is dropped and what waits is written.
    pub fn start(
        database: PgConnectOptions,
        clock: Clock,
        keyring: Keyring,
        stored: Arc<Notify>,
    ) -> (Self, JoinHandle<()>) {
        let memory = Arc::new(Memory::new());
        let mut lanes = JoinSet::new();
        let mut lane = || {
            let (queue, waiting) = mpsc::channel(MAX_WAITING);
            let lane = Lane::new(
                database.clone(),
                clock.clone(),
                keyring.clone(),
                Arc::clone(&memory),
                Arc::clone(&stored),
            );
            lanes.spawn(lane.run(waiting));
            queue
        };
        let (plain, long) = (lane(), std::array::from_fn(|_| lane()));
        let ingest = Self {
            plain,
            long,
            room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)),
            clock,
            keyring,
            memory,
        };
        // One that panics ends all.
        let ended = async move { while let Some(Ok(())) = lanes.join_next().await {} };
        (ingest, tokio::spawn(ended))
    }

    /// Stores a delivery; `Ok` means committed, or known from before. The wait may be given up at any time: the
    /// delivery is then stored or not, and safe to send again.
    ///
    /// # Errors
    /// [`Refused`]; nothing of a delivery refused as `Busy` is stored, of one refused as `NotStored` something may be.
    pub async fn store(&self, delivery: Delivery) -> Result<(), Refused> {
        let bytes = u32::try_from(delivery.bytes).map_err(|_| Refused::Busy)?;
        let mut room = self
            .room
            .clone()
            .try_acquire_many_owned(bytes)
            .map_err(|_| Refused::Busy)?;
        let mut parts = parts(delivery, MAX_PART);
        let last = parts.pop();
        for part in parts {
            let its = room.split(part.bytes).ok_or(Refused::Busy)?;
            self.store_part(part, its).await?;
        }
        match last {
            Some(last) => self.store_part(last, room).await,
            None => Ok(()),
        }
    }

    async fn store_part(
        &self,
        delivery: Delivery,
        room: OwnedSemaphorePermit,
    ) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        let lane = self.lane_of(&delivery);
        let waiting = Waiting {
            delivery,
            answer,
            _room: room,
        };
        lane.try_send(waiting).map_err(|_| Refused::Busy)?;
        answered.await.unwrap_or(Err(Refused::NotStored))
    }

    fn lane_of(&self, delivery: &Delivery) -> &mpsc::Sender<Waiting> {
        if plain::is_plain(&self.memory, &self.keyring, delivery, self.clock.now()) {
            return &self.plain;
        }
        let mut hasher = DefaultHasher::new();
        let first = delivery.arrivals.first();
        (delivery.channel_id, first.map(|one| &one.source.place)).hash(&mut hasher);
        &self.long[(hasher.finish() % LONG as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::ingest::Arrival;
    use crate::seal::{Cipher, Directory, SecretKey};

    /// A database that takes connections and says nothing, as a server does that is stopped or out of reach.
    #[tokio::test]
    async fn before_a_silent_database_what_waits_is_bounded_and_refused() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let database = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port);
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Directory::open(dir.path()).expect("a shelf");
        let keyring = Keyring::new(&SecretKey::random(), Arc::new(shelf), Cipher::Sealed);
        let (ingest, task) = Ingest::start(database, Clock::system(), keyring, Arc::default());
        let delivery = |bytes| Delivery {
            channel_id: 1,
            arrivals: vec![Arrival::read("{}", Clock::system().now())],
            bytes,
        };
        assert_eq!(
            ingest.store(delivery(MAX_WAITING_BYTES + 1)).await,
            Err(Refused::Busy)
        );

        let all = join_all((0..3 * MAX_WAITING).map(|_| ingest.store(delivery(700)))).await;
        let busy = all.iter().filter(|one| **one == Err(Refused::Busy)).count();
        let refused = all
            .iter()
            .filter(|one| **one == Err(Refused::NotStored))
            .count();
        assert_eq!(busy + refused, 3 * MAX_WAITING);
        assert!(busy >= MAX_WAITING, "{busy} turned away at once");
        assert_eq!(
            ingest.room.available_permits(),
            MAX_WAITING_BYTES,
            "all memory is given back"
        );
        drop(ingest);
        task.await.expect("an end");
    }
}
