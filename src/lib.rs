//! An archive for the chats of LINE Official Accounts: every acknowledged message is kept, every unsent one is erased.
//!
//! `ARCHITECTURE.md` describes the modules, their layers and the path of a message; `tests/floors.rs` enforces which
//! module may import which.

pub mod app;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod erasure;
pub mod exports;
pub mod fake_line;
pub mod ingest;
pub mod ledger;
pub mod line;
pub mod live;
pub mod marked;
pub mod media;
pub mod objects;
pub mod people;
pub mod pool;
pub mod records;
pub mod seal;
pub mod telemetry;
pub mod watchdog;
pub mod web;
pub mod worker;

/// The migrations of the database schema. One static, because each use of the macro would embed them again.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
