//! What is kept: plain structs and all the SQL. Functions over `&mut PgConnection`; no HTTP, no policy.

pub mod channels;
pub mod conversations;
pub mod doctor;
pub mod erasure_list;
pub mod erasures;
pub mod events;
pub mod exports;
pub mod gallery;
pub mod holds;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod media;
pub mod messages;
pub mod missing;
pub mod objects;
pub mod operators;
pub mod people;
pub mod places;
pub mod retention;
pub mod rewraps;
pub mod sealed;
pub mod sessions;
pub mod subjects;
pub mod timeline;
pub mod trace;
