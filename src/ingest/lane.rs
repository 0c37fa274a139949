//! Group commit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};

use super::{
    Arrival, Delivery,
    arrival::Meaning,
    batch,
    memory::{Epoch, Memory},
};
use crate::{clock::Clock, seal::Keyring};

/// Events in one transaction; the last delivery, or part of one, may bring a few more.
const MAX_BATCH: usize = 256;

/// For connecting, and for one transaction. With the wait before it this must end within the two seconds after which
/// LINE calls a delivery failed.
const DATABASE_LIMIT: Duration = Duration::from_millis(1200);

/// After a batch that erases a lane rests for so many times as long as that took, and no longer than the other: nobody who
/// writes meanwhile is to notice that thousands are unsent one after the other. What waits is taken in one batch then, so
/// the more is unsent at once the less the rest counts.
const REST: u32 = 3;
const MAX_REST: Duration = Duration::from_millis(12);

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

/// A delivery that waits to be written.
pub(super) struct Waiting {
    /// The delivery.
    pub delivery: Delivery,
    /// Where its outcome goes.
    pub answer: oneshot::Sender<Result<(), Refused>>,
    /// The room it takes while it waits.
    pub _room: OwnedSemaphorePermit,
}

/// One task that owns one connection. It takes whatever waits for it, writes it in one transaction, answers all of it,
/// and takes what has come meanwhile. It never waits for a batch to fill, so a lone webhook pays nothing.
pub(super) struct Lane {
    database: PgConnectOptions,
    clock: Clock,
    keyring: Keyring,
    memory: Arc<Memory>,
    stored: Arc<Notify>,
    connection: Option<PgConnection>,
}

impl Lane {
    /// Takes its handles; connects when it has something to write.
    pub fn new(
        database: PgConnectOptions,
        clock: Clock,
        keyring: Keyring,
        memory: Arc<Memory>,
        stored: Arc<Notify>,
    ) -> Self {
        Self {
            database: database.options(OPTIONS),
            clock,
            keyring,
            memory,
            stored,
            connection: None,
        }
    }

    /// Connects, and writes what comes, until nothing can come any more and all of it is written.
    pub async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        // Now, and not with the first delivery: a connection that comes later makes all lanes forget what they know.
        if let Ok(Ok((connection, _))) = timeout(DATABASE_LIMIT, self.connect()).await {
            self.connection = Some(connection);
        }
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
            let erases = batch.iter().any(|one| one.delivery.erases());
            let begun = Instant::now();
            self.commit(batch).await;
            if erases {
                tokio::time::sleep((begun.elapsed() * REST).min(MAX_REST)).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// A new connection may lead to another server: after a failover or a restore the rows that are remembered may not be
    /// there. What still has a connection to the one before can commit nothing there any more.
    async fn connect(&self) -> sqlx::Result<(PgConnection, Epoch)> {
        let connection = PgConnection::connect_with(&self.database).await?;
        Ok((connection, self.memory.begin_anew()))
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
        let kept = self.connection.take();
        let outcome = timeout(DATABASE_LIMIT, async {
            let (mut connection, epoch) = match kept {
                Some(connection) => (connection, self.memory.epoch()),
                None => self.connect().await?,
            };
            let (memory, keyring) = (&self.memory, &self.keyring);
            let outcome =
                batch::write(&mut connection, memory, epoch, keyring, deliveries, now).await;
            Ok::<_, batch::Error>((connection, outcome))
        });
        match outcome.await {
            Ok(Ok((connection, Ok(())))) => {
                self.connection = Some(connection);
                Ok(())
            }
            // Nothing has failed but that a key was lacking: the connection is as good as before.
            Ok(Ok((connection, Err(error @ batch::Error::NoKey)))) => {
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
