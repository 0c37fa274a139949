//! An event becomes records: deliveries of all connections are taken together and written in one transaction, and
//! each is acknowledged once that is committed.

pub mod arrival;
mod batch;
mod committer;
mod keys;
mod known;
mod lane;
mod memory;
mod others;
mod parts;
mod places;
mod plain;

pub use arrival::Arrival;
pub use committer::Ingest;
pub use lane::Refused;

/// What one verified webhook request brought.
pub struct Delivery {
    /// The channel whose secret signed it.
    pub channel_id: i32,
    /// Its events, in the order they came.
    pub arrivals: Vec<Arrival>,
    /// Length of the request's body: what it weighs while it waits.
    pub bytes: usize,
}

impl Delivery {
    /// True if it has an unsend.
    fn erases(&self) -> bool {
        let is_unsend = |one: &Arrival| matches!(one.meaning, arrival::Meaning::Unsend(_));
        self.arrivals.iter().any(is_unsend)
    }
}
