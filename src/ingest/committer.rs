//! Group commit. One task owns one connection; it takes whatever waits, writes it in one transaction, answers all of
//! it, and takes what has come meanwhile. It never waits for a batch to fill, so a lone webhook pays nothing.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{Arrival, Delivery, arrival::Meaning, batch, memory::Memory, parts::parts};
use crate::{clock::Clock, seal::Keyring};

/// Deliveries that may wait; the next is refused at once.
const MAX_WAITING: usize = 2048;

/// Bytes of bodies that may wait.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Events in one transaction; the last delivery, or part of one, may bring a few more.
const MAX_BATCH: usize = 256;

/// Events of one delivery in one transaction. What has more is stored in several, one after the other.
const MAX_PART: usize = 1024;

/// For connecting, and for one transaction. With the wait before it this must end within the two seconds after which
/// LINE calls a delivery failed.
const DATABASE_LIMIT: Duration = Duration::from_millis(1200);

/// What the committer asks of its connection.
const OPTIONS: [(&str, &str); 10] = [
    // A 200 means it is on the disk, whatever the server's default is; and a batch has to see what was committed
    // while it waited for a lock.
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    // One row that somebody holds costs its own delivery, not its neighbours'; what nobody waits for any more ends.
    ("lock_timeout", "300ms"),
    ("statement_timeout", "1200ms"),
    ("idle_in_transaction_session_timeout", "5s"),
    // Every statement of a batch finds rows by key. A plan made while the tables are small and kept for as long as the
    // connection lives would scan them: measured, a batch slowed down by ten within 10,000 messages.
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// The door to the committer.
#[derive(Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// Why a delivery is not stored, or not known to be. LINE sends it again if redelivery is switched on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// More is waiting than may wait.
    #[error("too much is waiting to be stored")]
    Busy,
    /// The database did not take it, or not in time.
    #[error("the database did not take it")]
    NotStored,
}

struct Waiting {
    delivery: Delivery,
    answer: oneshot::Sender<Result<(), Refused>>,
    _room: OwnedSemaphorePermit,
}

impl Ingest {
    /// Starts the committer on a connection of its own. `stored` is notified after each commit, for the worker. It
    /// ends when the last clone of the answer is dropped and what waits is written.
    pub fn start(
        database: PgConnectOptions,
        clock: Clock,
        keyring: Keyring,
        stored: Arc<Notify>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let committer = Committer {
            database: database.options(OPTIONS),
            clock,
            keyring,
            stored,
            connection: None,
            memory: Memory::new(),
        };
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        let task = tokio::spawn(committer.run(waiting));
        (Self { queue, room }, task)
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
        self.queue
            .try_send(Waiting {
                delivery,
                answer,
                _room: room,
            })
            .map_err(|_| Refused::Busy)?;
        answered.await.unwrap_or(Err(Refused::NotStored))
    }
}

struct Committer {
    database: PgConnectOptions,
    clock: Clock,
    keyring: Keyring,
    stored: Arc<Notify>,
    connection: Option<PgConnection>,
    memory: Memory,
}

impl Committer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        while let Some(first) = waiting.recv().await {
            let mut events = first.delivery.arrivals.len();
            let mut batch = vec![first];
            while events < MAX_BATCH
                && let Ok(next) = waiting.try_recv()
            {
                events += next.delivery.arrivals.len();
                batch.push(next);
            }
            // Whoever gave up was answered 503, or is gone, and will come again: that work is not done twice.
            batch.retain(|one| !one.answer.is_closed());
            self.commit(batch).await;
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    async fn commit(&mut self, batch: Vec<Waiting>) {
        let deliveries: Vec<&Delivery> = batch.iter().map(|one| &one.delivery).collect();
        match self.write(&deliveries).await {
            Ok(()) => batch.into_iter().for_each(|one| one.reply(Ok(()))),
            Err(Trouble::Data | Trouble::Contended) => {
                for one in batch {
                    let outcome = self.alone(&one.delivery).await;
                    one.reply(outcome);
                }
            }
            Err(Trouble::Database) => {
                batch
                    .into_iter()
                    .for_each(|one| one.reply(Err(Refused::NotStored)));
            }
        }
        self.stored.notify_one();
    }

    /// A batch has failed for what one of its deliveries holds: each alone, and of the bad one each event alone. What
    /// PostgreSQL refuses is kept as an event of which nothing but the bytes is known; but not a message, which its
    /// unsend could not find there, and not an unsend, which would be acknowledged and not done. Those are refused.
    async fn alone(&mut self, delivery: &Delivery) -> Result<(), Refused> {
        match self.write(&[delivery]).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Database | Trouble::Contended) => return Err(Refused::NotStored),
            Err(Trouble::Data) => {}
        }
        let mut outcome = Ok(());
        for arrival in &delivery.arrivals {
            let single = |arrival| Delivery {
                channel_id: delivery.channel_id,
                arrivals: vec![arrival],
                bytes: 0,
            };
            let again = single(arrival.clone());
            match self.write(&[&again]).await {
                Ok(()) => continue,
                Err(Trouble::Database) => return Err(Refused::NotStored),
                Err(Trouble::Data) if matches!(arrival.meaning, Meaning::Other { .. }) => {}
                Err(Trouble::Data | Trouble::Contended) => {
                    outcome = Err(Refused::NotStored);
                    continue;
                }
            }
            let unreadable = single(Arrival::unreadable(arrival.raw.clone(), self.clock.now()));
            self.write(&[&unreadable])
                .await
                .map_err(|_| Refused::NotStored)?;
        }
        outcome
    }

    async fn write(&mut self, deliveries: &[&Delivery]) -> Result<(), Trouble> {
        if deliveries
            .iter()
            .all(|delivery| delivery.arrivals.is_empty())
        {
            return Ok(());
        }
        let now = self.clock.now();
        // Taken out while in use: if the transaction fails half-way or the time is up, the connection is closed and
        // not used again, because nobody knows what it still has open.
        let (connection, outcome) = match timeout(DATABASE_LIMIT, async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    // What is remembered was read from another connection, perhaps of another server: after a
                    // failover or a restore the rows may not be there.
                    self.memory = Memory::new();
                    PgConnection::connect_with(&self.database).await?
                }
            };
            let memory = &mut self.memory;
            let outcome =
                batch::write(&mut connection, memory, &self.keyring, deliveries, now).await;
            Ok::<_, batch::Error>((connection, outcome))
        })
        .await
        {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => return Err(Trouble::of(&error)),
            Err(_) => {
                tracing::error!("the database did not answer in time; deliveries were refused");
                return Err(Trouble::Database);
            }
        };
        match outcome {
            Ok(()) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                // Nothing has failed but that a key was lacking: the connection is as good as before.
                if matches!(error, batch::Error::NoKey) {
                    self.connection = Some(connection);
                }
                Err(Trouble::of(&error))
            }
        }
    }
}

impl Waiting {
    fn reply(self, outcome: Result<(), Refused>) {
        // Nobody listens if the request has timed out.
        let _ = self.answer.send(outcome);
    }
}

enum Trouble {
    /// The database is not there, or not able.
    Database,
    /// The database refuses what a delivery holds.
    Data,
    /// Somebody else holds what a delivery needs.
    Contended,
}

impl Trouble {
    /// SQLSTATE classes 22 (data exception), 23 (constraint) and 54 (limit) speak of the data, 40 (rolled back, as
    /// after a deadlock) and 55 (lock not available) of others. The error's text may hold data: only the code is logged.
    fn of(error: &batch::Error) -> Self {
        let batch::Error::Database(error) = error else {
            tracing::error!(reason = %error, "a batch was not stored");
            return match error {
                batch::Error::NoKey => Trouble::Contended,
                _ => Trouble::Database,
            };
        };
        let code = error.as_database_error().and_then(|e| e.code());
        tracing::error!(
            sqlstate = code.as_deref().unwrap_or("none"),
            "a batch was not stored"
        );
        match code.as_deref().and_then(|code| code.get(..2)) {
            Some("22" | "23" | "54") => Trouble::Data,
            Some("40" | "55") => Trouble::Contended,
            _ => match error {
                sqlx::Error::Encode(_) | sqlx::Error::RowNotFound => Trouble::Data,
                _ => Trouble::Database,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
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
