//! Integration tests: the whole service against a real PostgreSQL, a real bucket and the pretend LINE.

mod acknowledged;
mod corpus;
mod door;
mod events;
mod harness;
mod traces;
mod unsend;
