//! Group commit: a lane writes the deliveries that wait for it in one transaction, and each one alone if that fails for
//! one of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};
use uuid::Uuid;

use super::{
    Delivery, IncomingEvent, batch,
    incoming_event::EventKind,
    item::Error,
    memory::{Epoch, Memory},
};
use crate::{clock::Clock, records::door, seal::Keyring};

/// Events in one transaction. The last delivery taken, or part of one, may exceed this: it has up to 1,024 events
/// itself.
const BATCH_EVENTS: usize = 256;

/// Time limit for one transaction, including the connection if it has to be made. Together with the wait in the queue
/// this must end within the two seconds after which LINE considers a delivery failed.
const DATABASE_TIMEOUT: Duration = Duration::from_millis(1200);

/// After a batch that erases, a lane pauses for this many times as long as the batch took, at most [`MAX_PAUSE`], so
/// that the other lanes stay fast while thousands of messages are unsent one after the other. Deliveries that arrive
/// during the pause are written as one batch, so the more messages are unsent at once, the less the pause costs.
const PAUSE_FACTOR: u32 = 3;
const MAX_PAUSE: Duration = Duration::from_millis(12);

/// Options of the lane's connection.
const OPTIONS: [(&str, &str); 10] = [
    // A 200 means that the delivery is on disk, whatever the server's default is; and a batch has to see rows that were
    // committed while it waited for a lock.
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    // A row that another transaction holds fails only the delivery that needs it, not the rest of the batch; and a
    // statement ends once no caller waits for it.
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

/// Why a delivery is not stored, or not known to be stored. LINE sends it again if redelivery is switched on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full: too many deliveries or bytes are waiting (backpressure).
    #[error("the queue is full")]
    Busy,
    /// The database refused it, failed, or did not answer in time.
    #[error("the database did not store the delivery")]
    NotStored,
}

/// Work that waits for a lane.
pub(super) enum Queued {
    /// A delivery to be stored.
    Delivery(Waiting),
    /// A readiness check asks whether the lane can commit.
    Probe(oneshot::Sender<Result<(), Refused>>),
}

/// A delivery that waits to be written.
pub(super) struct Waiting {
    /// The delivery to write.
    pub delivery: Delivery,
    /// Receives the outcome.
    pub answer: oneshot::Sender<Result<(), Refused>>,
    /// Its share of the limit on waiting bytes, given back on drop.
    pub _room: OwnedSemaphorePermit,
}

/// A task that owns one database connection. It takes the deliveries that wait, up to [`BATCH_EVENTS`], writes them in
/// one transaction, answers them, and begins again. It never waits for a batch to fill, so a single delivery is not
/// delayed.
pub(super) struct Lane {
    id: Uuid,
    database: PgConnectOptions,
    clock: Clock,
    keyring: Keyring,
    memory: Arc<Memory>,
    stored: Arc<Notify>,
    connection: Option<PgConnection>,
}

impl Lane {
    /// Makes a lane, which connects in [`Lane::run`].
    pub fn new(
        database: PgConnectOptions,
        clock: Clock,
        keyring: Keyring,
        memory: Arc<Memory>,
        stored: Arc<Notify>,
    ) -> Self {
        Self {
            id: Uuid::new_v4(),
            database: database.options(OPTIONS),
            clock,
            keyring,
            memory,
            stored,
            connection: None,
        }
    }

    /// Connects, and writes deliveries until all senders are dropped and the queue is empty.
    pub async fn run(mut self, mut waiting: mpsc::Receiver<Queued>) {
        // Now, and not with the first delivery: each new connection clears the memory that all lanes share.
        if let Ok(Ok((connection, _))) = timeout(DATABASE_TIMEOUT, self.connect()).await {
            self.connection = Some(connection);
        }
        while let Some(first) = waiting.recv().await {
            let (mut count, mut batch, mut probes) = (0, vec![], vec![]);
            let mut next = Some(first);
            while let Some(queued) = next {
                match queued {
                    Queued::Delivery(one) => {
                        count += one.delivery.events.len();
                        batch.push(one);
                    }
                    Queued::Probe(answer) => probes.push(answer),
                }
                next = (count < BATCH_EVENTS)
                    .then(|| waiting.try_recv().ok())
                    .flatten();
            }
            // A closed answer means that the handler answered 503 or that LINE hung up. LINE sends the delivery again,
            // so it is dropped here: otherwise the work would be done twice.
            batch.retain(|one| !one.answer.is_closed());
            let erases = batch.iter().any(|one| one.delivery.erases());
            let begun = Instant::now();
            self.commit(batch).await;
            if !probes.is_empty() {
                let outcome = self.on_connection(Work::Probe).await;
                for answer in probes {
                    let _ = answer.send(outcome.as_ref().map_err(|_| Refused::NotStored).copied());
                }
            }
            if erases {
                tokio::time::sleep((begun.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE)).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// Connects and clears the memory. A new connection may lead to another server: after a failover or a restore the
    /// remembered rows may not exist. A lane that still has a connection to the previous server can commit nothing
    /// there.
    async fn connect(&self) -> sqlx::Result<(PgConnection, Epoch)> {
        let connection = PgConnection::connect_with(&self.database).await?;
        Ok((connection, self.memory.clear()))
    }

    async fn commit(&mut self, batch: Vec<Waiting>) {
        let deliveries: Vec<&Delivery> = batch.iter().map(|one| &one.delivery).collect();
        match self.write(&deliveries).await {
            Ok(()) => batch.into_iter().for_each(|one| one.reply(Ok(()))),
            Err(Trouble::Data | Trouble::Contended) => {
                for one in batch {
                    let outcome = self.write_alone(&one.delivery).await;
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

    /// Writes one delivery of a batch that failed because of data, a lock or a missing key. If PostgreSQL refuses the
    /// delivery's data, its events are written one by one, and a refused event is kept as an `other` event with its
    /// bytes. Messages and unsends are refused instead: an unsend could not find a message kept like that, and an
    /// unsend kept like that would be acknowledged without being carried out.
    async fn write_alone(&mut self, delivery: &Delivery) -> Result<(), Refused> {
        match self.write(&[delivery]).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Database | Trouble::Contended) => return Err(Refused::NotStored),
            Err(Trouble::Data) => {}
        }
        let mut outcome = Ok(());
        for event in &delivery.events {
            let single = |event| Delivery {
                channel_id: delivery.channel_id,
                events: vec![event],
                bytes: 0,
            };
            let again = single(event.clone());
            match self.write(&[&again]).await {
                Ok(()) => continue,
                Err(Trouble::Database) => return Err(Refused::NotStored),
                Err(Trouble::Data) if matches!(event.kind, EventKind::Other { .. }) => {}
                Err(Trouble::Data | Trouble::Contended) => {
                    outcome = Err(Refused::NotStored);
                    continue;
                }
            }
            let unreadable = single(IncomingEvent::unreadable(
                event.raw.clone(),
                self.clock.now(),
            ));
            self.write(&[&unreadable])
                .await
                .map_err(|_| Refused::NotStored)?;
        }
        outcome
    }

    async fn write(&mut self, deliveries: &[&Delivery]) -> Result<(), Trouble> {
        if deliveries.iter().all(|delivery| delivery.events.is_empty()) {
            return Ok(());
        }
        self.on_connection(Work::Write(deliveries)).await
    }

    async fn on_connection(&mut self, work: Work<'_>) -> Result<(), Trouble> {
        let now = self.clock.now();
        // The connection is taken out while in use. If the transaction fails half-way or the time is up, it is closed
        // and not used again, because it may still have a transaction open.
        let kept = self.connection.take();
        let outcome = timeout(DATABASE_TIMEOUT, async {
            let (mut connection, epoch) = match kept {
                Some(connection) => (connection, self.memory.epoch()),
                None => self.connect().await?,
            };
            let (memory, keyring) = (&self.memory, &self.keyring);
            let outcome = match work {
                Work::Write(deliveries) => {
                    batch::write(&mut connection, memory, epoch, keyring, deliveries, now).await
                }
                Work::Probe => door::try_to_write(&mut connection, self.id, now)
                    .await
                    .map_err(Error::from),
            };
            Ok::<_, Error>((connection, outcome))
        });
        match outcome.await {
            Ok(Ok((connection, Ok(())))) => {
                self.connection = Some(connection);
                Ok(())
            }
            // Only a key was missing, no statement failed: the connection can be used again.
            Ok(Ok((connection, Err(error @ Error::NoKey)))) => {
                self.connection = Some(connection);
                Err(Trouble::of(&error))
            }
            Ok(Ok((_, Err(error))) | Err(error)) => Err(Trouble::of(&error)),
            Err(_) => {
                tracing::error!("the database did not answer in time; deliveries were refused");
                Err(Trouble::Database)
            }
        }
    }
}

impl Waiting {
    fn reply(self, outcome: Result<(), Refused>) {
        // `send` fails if the handler has stopped waiting.
        let _ = self.answer.send(outcome);
    }
}

/// Work for a lane's connection.
enum Work<'a> {
    /// Writes deliveries in one transaction.
    Write(&'a [&'a Delivery]),
    /// Tries whether deliveries could be written.
    Probe,
}

enum Trouble {
    /// The database cannot be reached, or cannot work.
    Database,
    /// The database refuses the data of a delivery.
    Data,
    /// Another transaction holds a row that a delivery needs, or no key is available.
    Contended,
}

impl Trouble {
    /// SQLSTATE classes 22 (data exception), 23 (constraint) and 54 (limit) mean that the data is at fault; 40 (rolled
    /// back, as after a deadlock) and 55 (lock not available) mean that another transaction is. The error's text may
    /// contain data, so only the code is logged.
    fn of(error: &Error) -> Self {
        let Error::Database(error) = error else {
            tracing::error!(reason = %error, "a batch was not stored");
            return match error {
                Error::NoKey => Trouble::Contended,
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
