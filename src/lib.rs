//! An archive for the chats of LINE Official Accounts: what was acknowledged is kept, what was unsent is gone.
//!
//! `ARCHITECTURE.md` shows the rooms and the way of a message through them; `tests/floors.rs` keeps the floors apart.

pub mod app;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod erasure;
pub mod fake_line;
pub mod ingest;
pub mod ledger;
pub mod line;
pub mod live;
pub mod media;
pub mod objects;
pub mod people;
pub mod records;
pub mod seal;
pub mod telemetry;
pub mod web;
pub mod worker;

/// The database's schema. One static, because each use of the macro would compile it in again.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
