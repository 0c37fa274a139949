//! LINE's words: webhook envelopes and events, ids, signatures, and a client of its API. Imports nothing of ours.

pub mod client;
pub mod envelope;
pub mod event;
pub mod message;
pub mod signature;
