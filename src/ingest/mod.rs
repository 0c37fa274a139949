//! Stores webhook events: the committer collects the deliveries of all connections, writes many of them in one
//! transaction, and acknowledges each one after the commit.

mod batch;
mod committer;
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

pub use committer::Ingest;
pub use incoming_event::IncomingEvent;
pub use lane::Refused;

/// The events of one webhook delivery whose signature was verified.
pub struct Delivery {
    /// The archive's id of the channel whose secret signed it.
    pub channel_id: i32,
    /// Its events, in LINE's order.
    pub events: Vec<IncomingEvent>,
    /// Length of the body in bytes: counts against the queue's limit while the delivery waits.
    pub bytes: usize,
}

impl Delivery {
    /// True if the delivery has an unsend.
    fn erases(&self) -> bool {
        let is_unsend =
            |one: &IncomingEvent| matches!(one.kind, incoming_event::EventKind::Unsend(_));
        self.events.iter().any(is_unsend)
    }
}
