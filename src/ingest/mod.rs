//! Stores webhook events: the committer collects the deliveries of all connections, writes many of them in one
//! transaction, and acknowledges each one after the commit.

mod batch;
mod committer;
mod delivery;
mod directory;
mod fast_path;
pub mod incoming_event;
mod item;
mod keys;
mod lane;
mod memory;
mod message_events;
mod other_events;
mod split;
mod ttl_map;

pub use committer::{Ingest, Room};
pub use delivery::Delivery;
pub use incoming_event::IncomingEvent;
pub use lane::Refused;
