//! LINE's formats: webhook envelopes, events, messages and signatures; and a client of LINE's API. It imports no other
//! module of this crate.

pub mod client;
pub mod envelope;
pub mod event;
pub mod message;
pub mod other_event;
pub mod raw_fields;
pub mod signature;
