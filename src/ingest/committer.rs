//! The committer: puts deliveries into lanes, which write them.
//!
//! Deliveries wait in *lanes*; each lane writes the deliveries that wait for it in one transaction ([`Lane`]). Nearly
//! all events are new messages without files in known conversations. They have a lane of their own, so that deliveries
//! that take many statements (a new contact, a file, an unsend) do not delay them. Those go to the general lanes, by
//! their conversation, so that two lanes rarely want the same rows. Where they do, they wait for each other's row locks
//! as two replicas do.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use futures_util::future::try_join_all;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use super::{
    Delivery,
    delivery::{MAX_EVENTS, MAX_QUEUED_BYTES},
    fast_path,
    lane::{Lane, Queued, Refused, Waiting},
    memory::Memory,
    split::split,
};
use crate::{clock::Clock, seal::Keyring};

/// Deliveries that may wait for one lane; the next one is refused at once (backpressure).
const MAX_QUEUED: usize = 2048;

/// Lanes for all deliveries that the fast path does not take. With a single lane the database would be idle while a
/// batch is prepared, and no batch would be prepared while the database works.
const GENERAL_LANES: usize = 2;

/// Memory that is set aside for a delivery; given back on drop.
pub struct Room(OwnedSemaphorePermit);

/// A handle to the committer. Clones share its lanes.
#[derive(Clone)]
pub struct Ingest {
    fast: mpsc::Sender<Queued>,
    general: [mpsc::Sender<Queued>; GENERAL_LANES],
    room: Arc<Semaphore>,
    clock: Clock,
    keyring: Keyring,
    memory: Arc<Memory>,
}

impl Ingest {
    /// Starts the committer, on connections of its own. It notifies `stored` after each batch, for the worker. It ends
    /// when the last clone of the returned handle is dropped and all waiting deliveries are written.
    pub fn start(
        database: PgConnectOptions,
        clock: Clock,
        keyring: Keyring,
        stored: Arc<Notify>,
    ) -> (Self, JoinHandle<()>) {
        let memory = Arc::new(Memory::new());
        let mut lanes = JoinSet::new();
        let mut lane = || {
            let (queue, waiting) = mpsc::channel(MAX_QUEUED);
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
        let (fast, general) = (lane(), std::array::from_fn(|_| lane()));
        let ingest = Self {
            fast,
            general,
            room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES)),
            clock,
            keyring,
            memory,
        };
        // A lane that panics ends all lanes.
        let ended = async move { while let Some(Ok(())) = lanes.join_next().await {} };
        (ingest, tokio::spawn(ended))
    }

    /// Sets memory aside for a delivery, before it is read: it takes more memory than its body.
    ///
    /// # Errors
    /// [`Refused::Busy`] if too much is waiting.
    pub fn reserve(&self, bytes: usize) -> Result<Room, Refused> {
        let bytes = u32::try_from(bytes).map_err(|_| Refused::Busy)?;
        let room = self.room.clone().try_acquire_many_owned(bytes);
        room.map(Room).map_err(|_| Refused::Busy)
    }

    /// Stores a delivery; `Ok` means that it is committed now or was stored before. The caller may drop the future at
    /// any time: the delivery may then be stored or not, and sending it again is idempotent.
    ///
    /// # Errors
    /// [`Refused::Busy`] if too much is waiting: nothing of the delivery is stored, except earlier parts of one that
    /// was divided. [`Refused::NotStored`] if the database failed: some of it may be stored.
    pub async fn store(&self, delivery: Delivery, room: Room) -> Result<(), Refused> {
        let Room(mut room) = room;
        let mut parts = split(delivery, MAX_EVENTS);
        let last = parts.pop();
        for part in parts {
            let its = part.bytes.min(room.num_permits());
            let its = room.split(its).ok_or(Refused::Busy)?;
            self.store_part(part, its).await?;
        }
        match last {
            Some(last) => self.store_part(last, room).await,
            None => Ok(()),
        }
    }

    /// Tries whether a delivery could be stored now: each lane commits a row.
    ///
    /// # Errors
    /// As [`Ingest::store`].
    pub async fn probe(&self) -> Result<(), Refused> {
        let probes = [&self.fast].into_iter().chain(&self.general).map(|lane| {
            let (answer, answered) = oneshot::channel();
            let queued = lane
                .try_send(Queued::Probe(answer))
                .map_err(|_| Refused::Busy);
            async move {
                queued?;
                answered.await.unwrap_or(Err(Refused::NotStored))
            }
        });
        try_join_all(probes).await.map(drop)
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
        lane.try_send(Queued::Delivery(waiting))
            .map_err(|_| Refused::Busy)?;
        answered.await.unwrap_or(Err(Refused::NotStored))
    }

    fn lane_of(&self, delivery: &Delivery) -> &mpsc::Sender<Queued> {
        if fast_path::takes(&self.memory, &self.keyring, delivery, self.clock.now()) {
            return &self.fast;
        }
        let mut hasher = DefaultHasher::new();
        let first = delivery.events.first();
        (delivery.channel_id, first.map(|one| &one.source)).hash(&mut hasher);
        &self.general[(hasher.finish() % GENERAL_LANES as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::ingest::IncomingEvent;
    use crate::seal::{Cipher, DirectoryKeyStore, SecretKey};

    /// The database accepts connections and never answers, as a server does that is stopped or unreachable.
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
        let key_store = DirectoryKeyStore::open(dir.path()).expect("a key store");
        let keyring = Keyring::new(&SecretKey::random(), Arc::new(key_store), Cipher::Sealed);
        let (ingest, task) = Ingest::start(database, Clock::system(), keyring, Arc::default());
        let delivery = |bytes| Delivery {
            channel_id: 1,
            events: vec![IncomingEvent::read("{}", Clock::system().now())],
            bytes,
        };
        let store = async |bytes| {
            let room = ingest.reserve(bytes)?;
            ingest.store(delivery(bytes), room).await
        };
        assert_eq!(store(MAX_QUEUED_BYTES + 1).await, Err(Refused::Busy));

        let all = join_all((0..3 * MAX_QUEUED).map(|_| store(700))).await;
        let busy = all.iter().filter(|one| **one == Err(Refused::Busy)).count();
        let refused = all
            .iter()
            .filter(|one| **one == Err(Refused::NotStored))
            .count();
        assert_eq!(busy + refused, 3 * MAX_QUEUED);
        assert!(busy >= MAX_QUEUED, "{busy} turned away at once");
        assert_eq!(
            ingest.room.available_permits(),
            MAX_QUEUED_BYTES,
            "all memory is given back"
        );
        drop(ingest);
        task.await.expect("an end");
    }
}
