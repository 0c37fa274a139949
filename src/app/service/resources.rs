//! The database, the object store, the keyring and the clock of a service, and the parts that are made of them.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::task::JoinHandle;

use crate::{
    app::{database, database_clock, starting::step},
    clock::Clock,
    erasure::{copies::Copies, keys::Keys, ledger_signer::LedgerSigner, restore},
    ingest::Ingest,
    ledger::{Signer, Verifier},
    line::client::LineApi,
    media::Reach,
    objects::Objects,
    pool,
    seal::Keyring,
    web::webhook::ChannelRegistry,
    worker::Worker,
};

/// Connections that the dashboard and the worker share. The lanes of the committer and the live listener have their own.
const CONNECTIONS: u32 = 16;

/// Resources that nearly every part of a service needs; each part gets clones.
pub(super) struct Resources {
    pub(super) pool: PgPool,
    pub(super) clock: Clock,
    pub(super) keyring: Keyring,
    pub(super) objects: Objects,
    /// For parts that have connections of their own.
    database: PgConnectOptions,
}

/// The ledger, opened after the missing erasures of a restored database were replayed.
pub(super) struct Ledger {
    /// Public key of its signatures.
    pub(super) key: String,
    pub(super) signer: LedgerSigner,
    /// Number of repeated erasures.
    pub(super) replayed: usize,
}

impl Resources {
    /// Checks the object store, switches to the role that cannot change the ledger, and sets the clock by the database's.
    pub(super) async fn open(
        database: PgConnectOptions,
        objects: Objects,
        keyring: Keyring,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        step("the object store");
        objects
            .check()
            .await
            .context("objects cannot be written, read and deleted")?;
        step("the database");
        let database = database::restricted(database)
            .await
            .context("the database cannot be reached")?;
        let pool = pool::open(database.clone(), CONNECTIONS);
        database_clock::follow(&pool, &clock)
            .await
            .context("the database's clock cannot be read")?;
        Ok(Self {
            pool,
            clock,
            keyring,
            objects,
            database,
        })
    }

    /// Repeats the erasures that a restored database lacks. `copies` are places in addition to the object store.
    pub(super) async fn open_ledger(
        &self,
        signer: Signer,
        copies: Vec<Objects>,
    ) -> anyhow::Result<Ledger> {
        let key = signer.vkey();
        let verifier = Verifier::from_vkey(&key)?;
        let copies = Copies::new(self.objects.clone(), copies, verifier);
        step("the ledger in the database and its copies");
        let replayed = restore::replay(&self.pool, &self.clock, &copies).await?;
        let (pool, clock) = (self.pool.clone(), self.clock.clone());
        Ok(Ledger {
            key,
            signer: LedgerSigner::new(pool, clock, Arc::new(signer), copies),
            replayed,
        })
    }

    /// Checks the keyring, and makes spare keys.
    pub(super) async fn supply_keys(&self) -> anyhow::Result<Keys> {
        step("the keyring");
        self.keyring
            .check()
            .await
            .context("keys cannot be made, read and destroyed")?;
        let (pool, clock) = (self.pool.clone(), self.clock.clone());
        let keys = Keys::new(pool, clock, self.keyring.clone());
        keys.supply().await.context("spare keys cannot be made")?;
        Ok(keys)
    }

    pub(super) async fn load_channels(&self) -> anyhow::Result<ChannelRegistry> {
        step("the database");
        ChannelRegistry::load(&self.pool, self.keyring.clone())
            .await
            .context("channels cannot be read")
    }

    pub(super) fn make_worker(
        &self,
        line: LineApi,
        reach: Reach,
        stall: Duration,
    ) -> anyhow::Result<Worker> {
        Ok(Worker::new(
            self.pool.clone(),
            self.clock.clone(),
            self.keyring.clone(),
            self.objects.clone(),
            line,
            reach,
        )?
        .with_stall(stall))
    }

    /// Starts the committer, which wakes `worker` after each batch.
    pub(super) fn start_committer(&self, worker: &Worker) -> (Ingest, JoinHandle<()>) {
        let (clock, keyring) = (self.clock.clone(), self.keyring.clone());
        Ingest::start(self.database.clone(), clock, keyring, worker.wake())
    }
}
